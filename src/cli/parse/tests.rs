use super::*;
use crate::cli::table::{COMMANDS, Opt};
use std::os::unix::ffi::OsStringExt;

fn with_env(line: &str, env: &[(&str, &str)]) -> Result<Invocation, String> {
    let args = line.split_whitespace().map(OsString::from);
    parse(args, |name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
}

fn of(line: &str) -> Result<Invocation, String> {
    with_env(line, &[])
}

fn run(line: &str) -> RunOptions {
    match of(line) {
        Ok(Invocation::Run(options)) => options,
        other => panic!("{line}: {other:?}"),
    }
}

fn printed(line: &str) -> String {
    match of(line) {
        Ok(Invocation::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn without_a_word_the_servers_run() {
    assert_eq!(run("muxloop"), RunOptions::default());
    assert_eq!(run("muxloop run"), RunOptions::default());
    let full = RunOptions {
        config: Some("m.toml".into()),
        control: None,
        http: Some("5151".into()),
        insecure_listen: true,
        only: vec!["a".into(), "b".into(), "c".into()],
        except: vec!["b".into()],
        level: Some(LevelFilter::Warn),
        format: Some(LogFormat::Json),
        tui: false,
        record: None,
        serve: None,
    };
    let options = "-c m.toml --only a,b --only c --except=b --log-level WARN --log-format json --http 5151 --insecure-listen";
    assert_eq!(run(&format!("muxloop {options}")), full);
    assert_eq!(run(&format!("/usr/bin/muxloop run {options}")), full);
    assert_eq!(run("muxloop --config=m.toml").config, run("muxloop -cm.toml").config);
}

#[test]
fn a_recording_is_a_run_with_a_file() {
    let recorded = run("muxloop record a.jsonl -c m.toml --only a -v");
    let plain = run("muxloop run -c m.toml --only a -v");
    assert_eq!(recorded, RunOptions { record: Some("a.jsonl".into()), ..plain });
    assert_eq!(of("muxloop replay a.jsonl"), Ok(Invocation::Replay("a.jsonl".into())));
    for command in ["record", "replay"] {
        let error = of(&format!("muxloop {command}")).unwrap_err();
        assert!(error.starts_with(&format!("{command}: FILE is missing, expected a file\n")), "{error}");
    }
    let error = of("muxloop replay a b").unwrap_err();
    assert!(error.starts_with("replay: unexpected argument 'b'"), "{error}");
}

#[test]
fn verbose_raises_the_level() {
    assert_eq!(run("muxloop -v").level, Some(LevelFilter::Debug));
    assert_eq!(run("muxloop -vv").level, Some(LevelFilter::Trace));
    assert_eq!(run("muxloop -v --verbose").level, Some(LevelFilter::Trace));
    assert_eq!(run("muxloop -v --log-level error").level, Some(LevelFilter::Error));
    let level = |line: &str, env: &[(&str, &str)]| match with_env(line, env) {
        Ok(Invocation::Run(options)) => options.level,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(level("muxloop", &[("MUXLOOP_VERBOSE", "2")]), Some(LevelFilter::Trace));
    assert_eq!(level("muxloop -v", &[("MUXLOOP_VERBOSE", "2")]), Some(LevelFilter::Debug));
    let both = [("MUXLOOP_VERBOSE", "2"), ("MUXLOOP_LOG", "warn")];
    assert_eq!(level("muxloop", &both), Some(LevelFilter::Warn), "as with the two options");
    assert_eq!(level("muxloop -v", &both), Some(LevelFilter::Debug));
    assert_eq!(level("muxloop --log-level off", &both), Some(LevelFilter::Off));
}

#[test]
fn variables_stand_in_for_options() {
    let env = [
        ("MUXLOOP_CONFIG", "e.toml"),
        ("MUXLOOP_ONLY", "x, y"),
        ("MUXLOOP_EXCEPT", "y"),
        ("MUXLOOP_LOG", "error"),
        ("MUXLOOP_LOG_FORMAT", "json"),
    ];
    let Ok(Invocation::Run(options)) = with_env("muxloop", &env) else { panic!() };
    assert_eq!(options.config.as_deref(), Some(Path::new("e.toml")));
    assert_eq!((options.only, options.except), (vec!["x".to_owned(), "y".to_owned()], vec!["y".to_owned()]));
    assert_eq!((options.level, options.format), (Some(LevelFilter::Error), Some(LogFormat::Json)));
    let Ok(Invocation::Run(options)) = with_env("muxloop -v -c f.toml --only z", &env) else { panic!() };
    assert_eq!(options.config.as_deref(), Some(Path::new("f.toml")));
    assert_eq!((options.only, options.level), (vec!["z".to_owned()], Some(LevelFilter::Debug)));
    let Ok(Invocation::Run(options)) = with_env("muxloop", &[("MUXLOOP_LOG", "")]) else { panic!() };
    assert_eq!(options, RunOptions::default(), "empty is unset");
    let proxy = with_env("muxloop proxy", &[("MUXLOOP_SOCKET", "/s"), ("MUXLOOP_WAIT", "7")]);
    assert_eq!(proxy, Ok(Invocation::Proxy(ProxyOptions { socket: "/s".into(), wait_ms: 7 })));
}

/// Two values that an option takes.
fn samples(opt: &'static Opt) -> [&'static str; 2] {
    match (opt.words, opt.long) {
        ([.., a, b], _) => [a, b],
        (_, "wait" | "timeout" | "lines" | "sessionTimeout" | "maxRestarts" | "spare") => ["7", "8"],
        (_, "port" | "idle-exit" | "ready-timeout" | "stop-grace" | "max-restarts") => ["7", "8"],
        _ if opt.value.is_empty() => ["true", "false"],
        _ => ["one", "two"],
    }
}

/// A line with one more option, right after the command: what follows a program is the program's.
fn with_option(line: &str, option: &str) -> String {
    let at = line.match_indices(' ').nth(1).map_or(line.len(), |(at, _)| at);
    format!("{} {option}{}", &line[..at], &line[at..])
}

/// Each option of each command, and a command line to which nothing is lacking but it.
fn each_option(mut check: impl FnMut(&'static Opt, &str)) {
    for command in COMMANDS {
        for opt in command.options {
            let mut line = format!("muxloop {}", command.name);
            let operand = command.operand.iter().filter(|operand| operand.required);
            operand.for_each(|operand| line += table::operand_words(operand).first().unwrap_or(&" memory"));
            let others = command.options.iter().filter(|other| other.required && other.long != opt.long);
            others.for_each(|other| line += &format!(" --{}=lacking", other.long));
            check(opt, &line);
        }
    }
}

#[test]
fn every_option_can_be_given_by_its_variable_and_a_flag_overrules_it() {
    let mut seen = 0;
    each_option(|opt, line| {
        let [a, b] = samples(opt);
        let flag = |value: &str| with_option(line, &format!("--{}={value}", opt.long));
        let by_variable = with_env(line, &[(opt.env, a)]);
        assert!(by_variable.is_ok(), "{line}: ${} {by_variable:?}", opt.env);
        assert_eq!(by_variable, of(&flag(a)), "{line}: ${}", opt.env);
        assert_ne!(by_variable, of(line), "{line}: ${} does nothing", opt.env);
        assert_eq!(with_env(&flag(b), &[(opt.env, a)]), of(&flag(b)), "{line}: --{}", opt.long);
        assert_ne!(of(&flag(a)), of(&flag(b)), "{line}: --{}", opt.long);
        if opt.value.is_empty() {
            let bare = with_option(line, &format!("--{}", opt.long));
            assert_eq!(with_env(&bare, &[(opt.env, b)]), by_variable, "{bare}");
            assert_eq!(with_env(line, &[(opt.env, b)]), of(line), "{line}: ${}={b}", opt.env);
        }
        assert_eq!(with_env(line, &[(opt.env, "")]), of(line), "{line}: ${} is empty", opt.env);
        seen += 1;
    });
    assert!(seen > 40, "{seen}");
}

#[test]
fn a_bad_value_of_a_variable_is_told_with_its_name() {
    let mut refused = Vec::new();
    each_option(|opt, line| {
        let bad = |name: &str| (name == opt.env).then(|| OsString::from_vec(b"\xff ,".to_vec()));
        let outcome = parse(line.split_whitespace().map(OsString::from), bad);
        match outcome {
            // A path may be any bytes.
            Ok(_) => assert!(opt.is_path, "{line}: ${}", opt.env),
            Err(error) => {
                assert!(error.contains(&format!("${} is ", opt.env)), "{line}: {error}");
                refused.push(opt.env);
            }
        }
    });
    refused.sort_unstable();
    refused.dedup();
    assert!(refused.len() >= 15, "{refused:?}");
    let error = |line: &str, name: &str| with_env(line, &[(name, "maybe")]).unwrap_err();
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    assert_eq!(
        first(error("muxloop status", "MUXLOOP_JSON")),
        "status: $MUXLOOP_JSON is 'maybe', expected true or false"
    );
    assert_eq!(
        first(error("muxloop", "MUXLOOP_VERBOSE")),
        "$MUXLOOP_VERBOSE is 'maybe', expected true, false, or a number up to 2"
    );
}

#[test]
fn every_variable_is_in_the_help_of_its_command_and_in_the_man_page() {
    for command in COMMANDS {
        for opt in command.options {
            let shown = format!(" [${}]\n", opt.env);
            assert!(help::of(command).contains(&shown), "{}: {}", command.name, opt.env);
            assert!(man::page().contains(&format!("\n.B {}\nStands in for", opt.env)), "{}", opt.env);
        }
    }
}

#[test]
fn the_proxy_has_two_names() {
    let expected = Ok(Invocation::Proxy(ProxyOptions { socket: "/run/a".into(), wait_ms: 50 }));
    assert_eq!(of("muxloop proxy --socket /run/a --wait 50"), expected);
    assert_eq!(of("/opt/rmcp-mux-proxy --socket /run/a --wait 50"), expected);
    assert_eq!(of("muxloop-proxy -s /run/a --wait=50"), expected);
}

#[test]
fn the_demo_server_gets_its_arguments_untouched() {
    let args = ["--help", "-x", "--", "run"].map(OsString::from).to_vec();
    assert_eq!(of("muxloop demo-server --help -x -- run"), Ok(Invocation::DemoServer(args)));
}

#[test]
fn the_doctor_takes_any_number_of_names() {
    let doctor = |line: &str| match of(line) {
        Ok(Invocation::Doctor(options)) => options,
        other => panic!("{line}: {other:?}"),
    };
    let none = DoctorOptions { timeout_ms: 60_000, ..Default::default() };
    assert_eq!(doctor("muxloop doctor"), none);
    let some = DoctorOptions {
        config: Some("m.toml".into()),
        servers: vec!["a".into(), "b".into(), "c".into()],
        json: true,
        timeout_ms: 5_000,
    };
    assert_eq!(doctor("muxloop doctor a -c m.toml b --timeout 5 c --json"), some);
    assert!(of("muxloop doctor --timeout 0").unwrap_err().contains("an integer from 1 to 3600"));
}

#[test]
fn help_is_where_people_look_for_it() {
    for line in ["muxloop --help", "muxloop -h", "muxloop help", "muxloop -c x --help"] {
        assert_eq!(printed(line), help::overview(), "{line}");
    }
    for command in COMMANDS.iter().filter(|command| !command.passes_through) {
        let name = command.name;
        for line in
            [format!("muxloop {name} --help"), format!("muxloop {name} -h"), format!("muxloop help {name}")]
        {
            assert_eq!(printed(&line), help::of(command), "{line}");
        }
    }
    assert!(printed("muxloop help demo-server").contains("muxloop demo-server --help"));
    assert_eq!(printed("muxloop help validate"), printed("muxloop help check"));
    assert_eq!(printed("muxloop help config"), reference::annotated());
    assert_eq!(printed("muxloop help --man"), man::page());
    for line in ["muxloop --version", "muxloop -V", "muxloop version", "muxloop check -V"] {
        assert_eq!(printed(line), version(), "{line}");
    }
}

#[test]
fn what_follows_a_program_is_its_own() {
    let command = |line: &str| match of(line) {
        Ok(Invocation::Daemon(options)) => (options.what.port, options.what.command.join(" ")),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(command("muxloop daemon -p 7 x --port 8 -h a"), (7, "x --port 8 -h a".to_owned()));
    assert_eq!(command("muxloop daemon -p 7 -- x --port 8 -- y"), (7, "x --port 8 -- y".to_owned()));
    assert_eq!(command("muxloop daemon -- -x"), (47_127, "-x".to_owned()));
    let error = of("muxloop daemon --json").unwrap_err();
    assert!(error.starts_with("daemon: CMD is missing, expected -- CMD..."), "{error}");
    let error = of("muxloop daemon --prot 7 x").unwrap_err();
    assert!(error.contains("did you mean '--port'?"), "{error}");
}

#[test]
fn defaults_of_the_daemon_are_those_of_its_page() {
    let Ok(Invocation::Daemon(options)) = of("muxloop daemon x") else { panic!() };
    let what = &options.what;
    let page = include_str!("../../../docs/daemon.md");
    for (option, value) in [
        ("--port PORT", what.port.to_string()),
        ("--host HOST", what.host.clone()),
        ("--idle-exit MS", what.idle_exit_ms.to_string()),
        ("--ready-timeout MS", what.ready_timeout_ms.to_string()),
        ("--stop-grace MS", what.stop_grace_ms.to_string()),
        ("--max-restarts N", what.restarts_max.to_string()),
    ] {
        assert!(page.contains(&format!("{option}` | {value} |")), "{option}");
    }
    assert_eq!((options.stdin_life, options.directory.clone()), (None, None));
    let Ok(Invocation::Daemon(options)) = of("muxloop daemon --host [::1] --stdin-life --no-stdin-life x")
    else {
        panic!()
    };
    assert_eq!((options.what.host.as_str(), options.stdin_life), ("::1", Some(false)));
}

#[test]
fn mistakes_name_what_was_meant() {
    let error = |line: &str| of(line).expect_err(line);
    let first = |line: &str| error(line).lines().next().unwrap_or_default().to_owned();
    assert_eq!(
        error("muxloop chekc"),
        "unknown command 'chekc'; did you mean 'check'?\nTry 'muxloop --help'."
    );
    assert_eq!(first("muxloop zzz"), "unknown command 'zzz'");
    assert_eq!(first("muxloop my.toml"), "unknown command 'my.toml'; did you mean 'muxloop -c my.toml'?");
    assert_eq!(
        error("muxloop --conifg x"),
        "unknown option '--conifg'; did you mean '--config'?\nTry 'muxloop --help'."
    );
    assert_eq!(
        error("muxloop proxy --sokcet x"),
        "proxy: unknown option '--sokcet'; did you mean '--socket'?\nTry 'muxloop proxy --help'."
    );
    assert_eq!(first("muxloop -x"), "unknown option '-x'");
    assert_eq!(first("muxloop -c"), "--config expects a value: --config FILE");
    assert_eq!(first("muxloop -c x check"), "unexpected argument 'check'; a command comes first");
    assert_eq!(first("muxloop check x"), "check: unexpected argument 'x'");
    assert_eq!(first("muxloop proxy"), "proxy: --socket PATH is missing (or $MUXLOOP_SOCKET)");
    assert_eq!(
        first("muxloop proxy -s x --wait 5s"),
        "proxy: --wait is '5s', expected milliseconds, an integer from 0 to 31536000000"
    );
    assert_eq!(
        first("muxloop --log-level debgu"),
        "--log-level is 'debgu', expected one of: off, error, warn, info, debug, trace; did you mean 'debug'?"
    );
    assert_eq!(first("muxloop --only ,"), "--only names no server, expected some, with commas between them");
    assert_eq!(
        first("muxloop completions"),
        "completions: SHELL is missing, expected one of: bash, zsh, fish"
    );
    assert_eq!(
        first("muxloop completions zhs"),
        "completions: unknown SHELL 'zhs', expected one of: bash, zsh, fish; did you mean 'zsh'?"
    );
    assert!(first("muxloop help cofnig").ends_with("did you mean 'config'?"));
    assert_eq!(first("muxloop --verbose=3"), "--verbose is '3', expected true, false, or a number up to 2");
    let wait = with_env("muxloop proxy -s x", &[("MUXLOOP_WAIT", "soon")]).unwrap_err();
    assert!(wait.starts_with("proxy: $MUXLOOP_WAIT is 'soon', expected milliseconds"), "{wait}");
}

#[test]
fn every_command_has_an_invocation() {
    for command in COMMANDS {
        let operand =
            command.operand.iter().flat_map(table::operand_words).next().unwrap_or(match &command.operand {
                Some(_) => "memory",
                None => "",
            });
        let options: Vec<String> =
            command.options.iter().filter(|o| o.required).map(|o| format!("--{} 1", o.long)).collect();
        of(&format!("muxloop {} {operand} {}", command.name, options.join(" "))).unwrap();
    }
}
