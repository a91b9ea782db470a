//! The built binary at a shell: help, exit codes, `check`, completions; and logging to a stalled stderr.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const MUXLOOP: &str = env!("CARGO_BIN_EXE_muxloop");

/// The binary with a home of its own and nothing else in its environment.
fn muxloop(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MUXLOOP);
    command.args(args).current_dir(dir).env_clear().env("HOME", dir).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    split(muxloop(dir, args).output().unwrap())
}

fn split(output: Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// An empty directory that is gone at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("muxloop-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn help_and_version_go_to_stdout_with_code_0() {
    let dir = Dir::new("help");
    let (code, out, err) = run(&dir.0, &["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("Usage: muxloop [-c FILE]") && out.contains("\n  proxy|expose|daemon "), "{out}");
    for command in ["run", "proxy", "check", "completions", "version", "help"] {
        let (code, out, _) = run(&dir.0, &[command, "--help"]);
        assert_eq!(code, Some(0));
        assert!(out.starts_with(&format!("muxloop {command}: ")), "{out}");
        assert!(out.lines().count() <= 24 && out.lines().all(|line| line.chars().count() <= 80), "{out}");
        assert!(out.contains("\nExamples:\n  "), "{out}");
    }
    let version = concat!("muxloop ", env!("CARGO_PKG_VERSION"), "\n");
    for args in [["--version"], ["-V"], ["version"]] {
        assert_eq!(run(&dir.0, &args), (Some(0), version.to_owned(), String::new()));
    }
}

#[test]
fn a_wrong_command_line_is_code_2_and_two_lines_on_stderr() {
    let dir = Dir::new("usage");
    let (code, out, err) = run(&dir.0, &["chekc"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, "muxloop: unknown command 'chekc'; did you mean 'check'?\nTry 'muxloop --help'.\n");
    let (code, _, err) = run(&dir.0, &["proxy"]);
    assert_eq!(code, Some(2));
    assert!(err.starts_with("muxloop: proxy: --socket PATH is missing (or $MUXLOOP_SOCKET)\n"), "{err}");
    let (code, _, err) = split(muxloop(&dir.0, &[]).env("MUXLOOP_LOG", "loud").output().unwrap());
    assert_eq!(code, Some(2));
    assert!(err.starts_with("muxloop: $MUXLOOP_LOG is 'loud', expected one of: off, error"), "{err}");
}

#[test]
fn a_program_called_proxy_is_the_proxy() {
    let dir = Dir::new("argv0");
    let (code, _, err) = split(muxloop(&dir.0, &[]).arg0("/opt/rmcp-mux-proxy").output().unwrap());
    assert_eq!(code, Some(2));
    assert!(err.starts_with("muxloop: proxy: --socket PATH is missing"), "{err}");
}

#[test]
fn check_prints_every_problem_with_its_place() {
    let dir = Dir::new("check");
    dir.write(
        "bad.toml",
        "[servers.memory]\ncmmd = \"npx\"\nargs = \"x\"\nmax_active_clients = 0\nenv = { TOKEN = 31337 }\n\
         share = \"each\"\n",
    );
    let (code, out, err) = run(&dir.0, &["check", "-c", "bad.toml"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        err,
        "muxloop: bad.toml:1:10: servers.memory: has no 'cmd', expected the program of the MCP server\n\
         bad.toml:2:1: servers.memory.cmmd: unknown key; did you mean 'cmd'?\n\
         bad.toml:3:8: servers.memory.args: expected an array of strings, found a string\n\
         bad.toml:4:22: servers.memory.max_active_clients: is 0, expected an integer from 1 to 32000\n\
         bad.toml:5:17: servers.memory.env.TOKEN: expected a string, found an integer; put it in quotes\n\
         bad.toml:6:9: servers.memory.share: is 'each', expected \"shared\", \"session\" or \
         \"request\"\n\
         6 problems\n"
    );
    let (code, _, err) = run(&dir.0, &["check", "-c", "none.toml"]);
    assert_eq!((code, err.as_str()), (Some(2), "muxloop: none.toml: no such file\n"));
    dir.write("latin1.toml", "");
    fs::write(dir.0.join("latin1.toml"), b"a = \"\xe9\"\n").unwrap();
    let (code, _, err) = run(&dir.0, &["check", "-c", "latin1.toml"]);
    assert_eq!(code, Some(2));
    assert_eq!(
        err,
        "muxloop: latin1.toml:1:6: is not valid UTF-8 from here on; a configuration is UTF-8 text\n"
    );
}

#[test]
fn check_sums_up_a_good_file_and_warns_of_what_has_no_effect() {
    let dir = Dir::new("good");
    dir.write(
        "mux.toml",
        "[servers.a]\ncmd = \"x\"\ntray = true\n[servers.b]\ncmd = \"y\"\nenabled = false\n",
    );
    let (code, out, err) = run(&dir.0, &["check"]);
    let home = dir.0.display();
    assert_eq!(code, Some(0));
    assert_eq!(
        out,
        format!(
            "mux.toml: ok, 2 servers\n  a: x on {home}/.muxloop/run/a.sock\n  b: y on {home}/.muxloop/run/b.sock (disabled)\n"
        )
    );
    assert_eq!(err, "muxloop: mux.toml:3:1: servers.a.tray: has no effect: this version has no tray\n");
}

#[test]
fn a_file_is_found_by_option_variable_and_default_place() {
    let dir = Dir::new("find");
    let (code, _, err) = run(&dir.0, &["check"]);
    let home = dir.0.display();
    assert_eq!(code, Some(2));
    assert_eq!(
        err,
        format!(
            "muxloop: no configuration: name one with -c FILE (looked for mux.toml, \
             mux.json, mux.jsonc, {home}/.config/muxloop/mux.toml, {home}/.config/muxloop/mux.json, \
             {home}/.config/muxloop/mux.jsonc, {home}/.codex/mcp-mux.toml)\n"
        )
    );
    let text = "[servers.a]\ncmd = \"x\"\n";
    let json = "{\"mcpServers\": {\"a\": {\"command\": \"x\"}}}";
    for name in [
        ".codex/mcp-mux.toml",
        ".config/muxloop/mux.jsonc",
        ".config/muxloop/mux.toml",
        "mux.jsonc",
        "mux.json",
        "mux.toml",
    ] {
        dir.write(name, if name.ends_with(".toml") { text } else { json });
        let (code, out, _) = run(&dir.0, &["check"]);
        assert_eq!(code, Some(0));
        let first = out.lines().next().unwrap();
        assert!(first.ends_with("ok, 1 server") && first.contains(name), "{first}");
    }
    dir.write("env.toml", text);
    dir.write("flag.toml", text);
    let first_word = |command: &mut Command| split(command.output().unwrap()).1[..5].to_owned();
    assert_eq!(first_word(muxloop(&dir.0, &["check"]).env("MUXLOOP_CONFIG", "env.toml")), "env.t");
    assert_eq!(
        first_word(muxloop(&dir.0, &["check", "-c", "flag.toml"]).env("MUXLOOP_CONFIG", "env.toml")),
        "flag."
    );
    let (code, out, _) = run(&dir.0, &["check", "-c", "~/flag.toml"]);
    assert_eq!(code, Some(0), "~ expands without a shell: {out}");
}

#[test]
fn run_refuses_a_broken_file_and_unknown_names() {
    let dir = Dir::new("run");
    dir.write("mux.toml", "[servers.memory]\ncmd = \"x\"\n[servers.web]\ncmd = \"x\"\n");
    let (code, _, err) = run(&dir.0, &["--only", "web,memry"]);
    assert_eq!(code, Some(2));
    assert_eq!(
        err,
        "muxloop: --only: no server 'memry', the file has: memory, web; did you mean 'memory'?\n"
    );
    let (code, _, err) = split(muxloop(&dir.0, &["run"]).env("MUXLOOP_EXCEPT", "x").output().unwrap());
    assert_eq!(code, Some(2));
    assert_eq!(err, "muxloop: --except: no server 'x', the file has: memory, web\n");
    let (code, _, err) = run(&dir.0, &["-c", "mux.toml", "--except", "web,memory"]);
    assert_eq!((code, err.as_str()), (Some(2), "muxloop: mux.toml: no server is left to run\n"));
    dir.write("bad.toml", "[servers.a\n");
    let (code, _, err) = run(&dir.0, &["-c", "bad.toml"]);
    assert_eq!((code, err.as_str()), (Some(2), "muxloop: bad.toml:1:11: unclosed table, expected `]`\n"));
}

#[test]
fn the_examples_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Dir::new("examples");
    let mut seen = 0;
    for entry in fs::read_dir(root.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let (code, out, err) = run(&dir.0, &["check", "-c", path.to_str().unwrap()]);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

#[test]
fn the_printed_reference_is_a_file_to_start_from() {
    let dir = Dir::new("reference");
    let (code, out, _) = run(&dir.0, &["help", "config"]);
    assert_eq!(code, Some(0));
    dir.write("mux.toml", &out);
    let (code, _, err) = run(&dir.0, &["check"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn a_reader_that_closes_early_is_no_failure() {
    let dir = Dir::new("pipe");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = muxloop(&dir.0, &["help", "config"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn bash_completes_commands_options_and_words() {
    let dir = Dir::new("bash");
    let (_, script, _) = run(&dir.0, &["completions", "bash"]);
    let complete = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ask = format!(
            "{script}\nCOMP_WORDS=({}) COMP_CWORD={}\n_muxloop\necho \"${{COMPREPLY[*]}}\"\n",
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1
        );
        let output = Command::new("bash").args(["--norc", "-c", &ask]).output();
        output.ok().map(|output| split(output).1.trim().to_owned())
    };
    // The script is for bash users; elsewhere there is nothing to try it with.
    let Some(commands) = complete("muxloop c") else { return };
    assert_eq!(commands, "connect check completions");
    assert_eq!(complete("muxloop proxy --s").unwrap(), "--socket");
    assert_eq!(complete("muxloop --log-level d").unwrap(), "debug");
    assert_eq!(complete("muxloop help conf").unwrap(), "config");
    assert_eq!(complete("muxloop completions z").unwrap(), "zsh");
}

/// Lines that the child of the next two tests logs: more than the queue and a pipe hold.
const LINES: usize = 20_000;

/// Not a test of its own: the process that the next two tests start, with a standard error that nobody reads.
#[test]
fn child_that_logs_to_a_stalled_stderr() {
    if std::env::var_os("MUXLOOP_TEST_STALLED").is_none() {
        return;
    }
    use muxloop::cli::log as logger;
    let levels = logger::Levels { filter: "info".into(), servers: Vec::new() };
    logger::init(&levels, muxloop::config::LogFormat::Text, logger::Mode::Queued);
    for i in 0..LINES {
        log::info!(target: "server::a", "line {i} {}", "x".repeat(60));
        log::debug!(target: "server::a", "never seen");
        logger::flush();
    }
    assert!(logger::pending());
    println!("\nlogged");
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).unwrap();
    // With a reader this drains; without one it must give up by itself.
    while logger::pending() && go == "drain\n" {
        logger::flush();
        thread::yield_now();
    }
    logger::flush_at_exit();
    std::process::exit(7);
}

/// Starts that process and waits until it has logged everything; it must not have blocked.
fn stalled() -> std::process::Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_logs_to_a_stalled_stderr", "--nocapture"])
        .env("MUXLOOP_TEST_STALLED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let found = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == "logged");
        let _ = sender.send(found);
    });
    if receiver.recv_timeout(Duration::from_secs(30)) != Ok(true) {
        let _ = child.kill();
        panic!("logging blocked on a full standard error");
    }
    child
}

#[test]
fn a_stalled_stderr_loses_lines_and_says_how_many() {
    let mut child = stalled();
    let mut stderr = child.stderr.take().unwrap();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    child.stdin.take().unwrap().write_all(b"drain\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let text = reader.join().unwrap();
    let mut kept = 0;
    let mut lost = 0;
    for line in text.lines() {
        let message = line.split_once("Z ").unwrap_or_default().1;
        match message.strip_prefix("WARN  ").and_then(|rest| rest.split_once(" log lines were lost")) {
            Some((number, _)) => lost += number.parse::<usize>().unwrap(),
            None => {
                assert!(message.starts_with(&format!("INFO  server a: line {kept} xxx")), "{line}");
                kept += 1;
            }
        }
    }
    assert!(lost > 0 && text.len() >= 256 << 10, "{kept} kept, {lost} lost, {} bytes", text.len());
    assert_eq!(kept + lost, LINES);
}

#[test]
fn the_end_does_not_wait_for_a_stalled_stderr() {
    let mut child = stalled();
    let (sender, receiver) = mpsc::channel();
    let stderr = child.stderr.take();
    child.stdin.take().unwrap().write_all(b"exit\n").unwrap();
    let pid = child.id();
    thread::spawn(move || {
        let _ = sender.send(child.wait().unwrap().code());
    });
    let code = receiver.recv_timeout(Duration::from_secs(10));
    assert_eq!(code, Ok(Some(7)), "process {pid} still waits for somebody to read its log");
    drop(stderr);
}
