//! Every key of the table: default, valid, invalid; and every check, with exact positions.

use super::keys::{Key, Kind, SERVER, TOP};
use super::*;
use crate::engine::sandbox::{Abilities, Landlock};
use crate::mux::policy::{EraPolicy, Heartbeat, Interactive, Root, Share};

fn ana() -> Surroundings {
    let abilities =
        Abilities { nothing: None, landlock: Landlock::Abi(7), filters_sockets: true, is_root: false };
    Surroundings { home: Some("/home/ana".into()), abilities, ..Default::default() }
}

fn parse(text: &str) -> Result<Loaded, Vec<Problem>> {
    Config::parse("mux.toml", text.as_bytes(), &ana())
}

fn problems(text: &str) -> Vec<String> {
    parse(text).expect_err(text).iter().map(Problem::to_string).collect()
}

/// The one server of a file with these lines, over a minimal `[servers.a]`.
fn server(lines: &str) -> ServerConfig {
    let text = format!("[servers.a]\ncmd = \"x\"\n{lines}\n");
    let mut loaded = parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
    loaded.config.servers.remove(0)
}

/// The problems of such a file; the lines begin at line 3.
fn server_problems(lines: &str) -> Vec<String> {
    problems(&format!("[servers.a]\ncmd = \"x\"\n{lines}\n"))
}

#[test]
fn path_is_login_or_full_paths_and_the_top_one_is_for_servers_without() {
    let surroundings = Surroundings { home: Some("/home/ana".into()), ..Surroundings::default() };
    let parse = |text: &str| Config::parse("mux.toml", text.as_bytes(), &surroundings);
    let own = "path='login'\n[servers.a]\ncmd='x'\nsocket='/a'\npath='~/bin:/b'\n\
               [servers.b]\ncmd='x'\nsocket='/b'\n";
    let config = parse(own).unwrap().config;
    let paths: Vec<_> = config.servers.into_iter().map(|server| server.search_path.unwrap()).collect();
    assert_eq!(paths, [SearchPath::These("/home/ana/bin:/b".into()), SearchPath::Login]);
    let problems = parse("path='logn'\n[servers.a]\ncmd='x'\nsocket='/a'\npath='/a::/b'\n").unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["path", "servers.a.path"]);
    assert!(problems[0].text.contains("expected \"login\" or full paths"), "{}", problems[0].text);
}

#[test]
fn a_minimal_file_has_the_documented_defaults() {
    let loaded = parse("[servers.memory]\ncmd = \"npx\"\n").unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!((config.log_level, config.log_format, config.status_file), (None, None, None));
    let server = &config.servers[0];
    assert_eq!(server.policy, ServerPolicy::new("memory"));
    assert_eq!(server.socket, Path::new("/home/ana/.muxloop/run/memory.sock"));
    assert_eq!(server.spawn, SpawnSpec { program: "npx".into(), ..Default::default() });
    assert_eq!(server.service_name, "memory");
    assert_eq!((server.tray, server.enabled, server.log_level), (false, true, None));
    // The contract itself (features.md A02), so that a changed default cannot pass unseen.
    let policy = &server.policy;
    assert_eq!(policy.max_active_clients, 5);
    assert_eq!(policy.max_in_flight_per_client, 32);
    assert_eq!(policy.max_request_bytes, 1_048_576);
    assert_eq!(policy.request_timeout_ms, 30_000);
    assert_eq!((policy.restart_backoff_ms, policy.restart_backoff_max_ms), (1_000, 30_000));
    assert_eq!((policy.max_restarts, policy.lazy_start), (5, false));
    let heartbeat = Heartbeat { interval_ms: 30_000, timeout_ms: 30_000, failures_max: 3 };
    assert_eq!(policy.heartbeat, Some(heartbeat));
    assert_eq!(
        (policy.share, policy.interactive, policy.era),
        (Share::Shared, Interactive::Off, EraPolicy::Auto)
    );
}

#[test]
fn an_rmcp_mux_file_runs_unchanged() {
    let loaded = parse(
        r#"
[servers.general-memory]
socket = "~/mcp-sockets/general-memory.sock"
cmd = "npx"
args = ["-y", "@modelcontextprotocol/server-memory"]
cwd = "/srv"
env = { TOKEN = "hunter2" }
max_active_clients = 7
lazy_start = true
max_request_bytes = 2048
request_timeout_ms = 45_000
restart_backoff_ms = 500
restart_backoff_max_ms = 10000
max_restarts = 0
tray = true
service_name = "Memory"
log_level = "debug"
status_file = "~/status.json"
heartbeat_interval_ms = 1000
heartbeat_timeout_ms = 900
heartbeat_max_failures = 2
heartbeat_enabled = true
"#,
    )
    .unwrap();
    let server = &loaded.config.servers[0];
    assert_eq!(server.socket, Path::new("/home/ana/mcp-sockets/general-memory.sock"));
    assert_eq!(server.spawn.args, ["-y", "@modelcontextprotocol/server-memory"]);
    assert_eq!(server.spawn.cwd.as_deref(), Some(Path::new("/srv")));
    assert_eq!(server.spawn.env, [("TOKEN".to_owned(), "hunter2".to_owned())]);
    assert_eq!(server.status_file.as_deref(), Some(Path::new("/home/ana/status.json")));
    assert_eq!((server.service_name.as_str(), server.tray), ("Memory", true));
    assert_eq!(server.log_level, Some(LevelFilter::Debug));
    let policy = &server.policy;
    assert_eq!((policy.max_active_clients, policy.lazy_start, policy.max_request_bytes), (7, true, 2048));
    assert_eq!((policy.request_timeout_ms, policy.max_restarts), (45_000, 0));
    assert_eq!((policy.restart_backoff_ms, policy.restart_backoff_max_ms), (500, 10_000));
    assert_eq!(policy.heartbeat, Some(Heartbeat { interval_ms: 1000, timeout_ms: 900, failures_max: 2 }));
    let warnings: Vec<String> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(
        warnings,
        ["mux.toml:15:1: servers.general-memory.tray: has no effect: this version has no tray",]
    );
}

#[test]
fn the_default_of_the_table_is_the_default_of_the_types() {
    for key in SERVER.iter().filter(|key| !key.default.is_empty()) {
        assert_eq!(server(&format!("{} = {}", key.name, key.default)), server(""), "{}", key.name);
    }
}

#[test]
fn every_example_is_valid_and_changes_something() {
    for key in SERVER.iter().filter(|key| is_released(key) && key.name != "cmd") {
        let changed = server(&format!("{} = {}", key.name, key.example));
        assert_ne!(changed, server(""), "{}", key.name);
    }
    for key in TOP.iter().filter(|key| is_released(key)) {
        let text = |line: &str| format!("{line}\n[servers.a]\ncmd = \"x\"\n");
        let with = parse(&text(&format!("{} = {}", key.name, key.example))).unwrap().config;
        assert_ne!(with, parse(&text("")).unwrap().config, "{}", key.name);
    }
}

#[test]
fn every_key_refuses_another_type_at_its_value() {
    for key in SERVER.iter().filter(|key| is_released(key) && key.name != "cmd") {
        let column = key.name.len() + 4;
        let expected = format!(
            "mux.toml:3:{column}: servers.a.{}: expected {}, found a date",
            key.name,
            key.kind.expected()
        );
        assert_eq!(server_problems(&format!("{} = 2026-11-21", key.name)), [expected]);
    }
    for key in TOP.iter().filter(|key| is_released(key)) {
        let found = problems(&format!("{} = 1.5\n[servers.a]\ncmd = \"x\"\n", key.name));
        let column = key.name.len() + 4;
        let expected =
            format!("mux.toml:1:{column}: {}: expected {}, found a float", key.name, key.kind.expected());
        assert_eq!(found, [expected]);
    }
}

#[test]
fn every_integer_refuses_what_is_out_of_range() {
    for key in SERVER {
        let Kind::Integer { min, max, .. } = key.kind else { continue };
        let line = |value: i128| format!("{} = {value}", key.name);
        for value in [i128::from(min) - 1, i128::from(max) + 1] {
            let column = key.name.len() + 4;
            let name = key.name;
            let expected = format!(
                "mux.toml:3:{column}: servers.a.{name}: is {value}, expected an integer from {min} to {max}"
            );
            assert_eq!(server_problems(&line(value)), [expected]);
        }
        for value in [min, max] {
            let bounded = match key.name {
                "request_timeout_max_ms" => "request_timeout_ms = 1\n",
                "restart_backoff_max_ms" => "restart_backoff_ms = 1\n",
                _ => "",
            };
            server(&format!("{bounded}{}", line(i128::from(value))));
        }
    }
    assert_eq!(
        server_problems("max_restarts = 99999999999999999999999999999999999999999999"),
        ["mux.toml:3:16: servers.a.max_restarts: is 99999999999999999999999999999999999999999999, \
             expected an integer from 0 to 4294967295"]
    );
    assert_eq!(server("max_request_bytes = 0x10_00").policy.max_request_bytes, 4096);
}

#[test]
fn every_word_of_every_choice_is_read() {
    for key in SERVER {
        let Kind::Choice(choices) = key.kind else { continue };
        let mut seen = Vec::new();
        for choice in choices.iter().filter(|choice| choice.set.is_some()) {
            let read = server(&format!("{} = \"{}\"", key.name, choice.name));
            assert!(!seen.contains(&read), "{} {}", key.name, choice.name);
            seen.push(read);
        }
    }
    assert_eq!(
        server_problems("interactive = \"per_client\""),
        ["mux.toml:3:15: servers.a.interactive: is 'per_client', expected \"off\", \"serialize\" or \
             \"per-client\"; did you mean 'per-client'?"]
    );
}

#[test]
fn spares_are_for_processes_that_are_not_shared_and_few() {
    for sharing in ["share = \"session\"", "share = \"request\"", "interactive = \"per-client\""] {
        assert_eq!(server(&format!("{sharing}\nspare = 16")).policy.spare, 16);
    }
    assert_eq!(server("spare = 0").policy.spare, 0);
    assert_eq!(
        server_problems("share = \"request\"\nspare = 17"),
        ["mux.toml:4:9: servers.a.spare: is 17, expected an integer from 0 to 16"]
    );
    let warned = parse("[servers.a]\ncmd = \"x\"\nspare = 2\n").unwrap().warnings;
    assert_eq!(
        warned.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "mux.toml:3:9: servers.a.spare: has no effect: all clients share one process; share = \"session\" or \
             \"request\" would give each its own"
        ]
    );
}

#[test]
fn keys_of_later_versions_are_refused_by_name() {
    for key in SERVER.iter().filter(|key| !is_released(key)) {
        let found = server_problems(&format!("{} = {}", key.name, key.example));
        assert_eq!(found.len(), 1, "{}", key.name);
        assert!(
            found[0].starts_with(&format!("mux.toml:3:1: servers.a.{}: is not available in this", key.name))
        );
    }
}

#[test]
fn unknown_keys_name_the_nearest() {
    let text = "log_levle = \"info\"\nserver = 1\ncmd = \"x\"\n[servers.a]\ncmd = \"x\"\ncomand = \"x\"\n\
                command = \"y\"\nmax-active-client = 1\nzzz = 1\nlog_format = \"text\"\n\"a b\" = 1\n";
    assert_eq!(
        problems(text),
        [
            "mux.toml:1:1: log_levle: unknown key; did you mean 'log_level'?",
            "mux.toml:2:1: server: unknown key; did you mean 'servers'?",
            "mux.toml:3:1: cmd: unknown key here, it belongs in a [servers.NAME] table",
            "mux.toml:6:1: servers.a.comand: unknown key; did you mean 'cmd'?",
            "mux.toml:7:1: servers.a.command: unknown key; did you mean 'cmd'?",
            "mux.toml:8:1: servers.a.max-active-client: unknown key; did you mean 'max_active_clients'?",
            "mux.toml:9:1: servers.a.zzz: unknown key, expected one that 'muxloop help config' lists",
            "mux.toml:10:1: servers.a.log_format: unknown key here, it belongs at the top of the file",
            "mux.toml:11:1: servers.a.\"a b\": unknown key, expected one that 'muxloop help config' lists",
        ]
    );
}

#[test]
fn all_problems_of_a_file_are_found_in_its_order() {
    let text = "[servers.a]\nargs = [\"x\", 1]\nsocket = \"\"\nheartbeat_enabled = \"yes\"\n\n\
                [servers.b]\ncmd = \"\"\nenv = { A = 1 }\n";
    assert_eq!(
        problems(text),
        [
            "mux.toml:1:10: servers.a: has no 'cmd', expected the program of the MCP server",
            "mux.toml:2:14: servers.a.args[1]: expected a string, found an integer",
            "mux.toml:3:10: servers.a.socket: is empty, expected some text",
            "mux.toml:4:21: servers.a.heartbeat_enabled: expected true or false, found a string",
            "mux.toml:7:7: servers.b.cmd: is empty, expected some text",
            "mux.toml:8:13: servers.b.env.A: expected a string, found an integer; put it in quotes",
        ]
    );
}

#[test]
fn bounds_follow_what_they_bound_unless_written() {
    assert_eq!(server("restart_backoff_ms = 60000").policy.restart_backoff_max_ms, 60_000);
    assert_eq!(server("request_timeout_ms = 900000").policy.request_timeout_max_ms, 900_000);
    assert_eq!(
        server_problems("restart_backoff_ms = 50\nrestart_backoff_max_ms = 20"),
        [
            "mux.toml:4:26: servers.a.restart_backoff_max_ms: is 20, expected at least restart_backoff_ms, which is 50"
        ]
    );
    assert_eq!(
        server_problems("request_timeout_max_ms = 20"),
        [
            "mux.toml:3:26: servers.a.request_timeout_max_ms: is 20, expected at least request_timeout_ms, which is 30000"
        ]
    );
}

#[test]
fn two_servers_cannot_have_one_socket() {
    let text = "[servers.a]\ncmd='x'\nsocket='/run//s'\n[servers.b]\ncmd='x'\nsocket='/run/s'\n";
    assert_eq!(
        problems(text),
        [
            "mux.toml:6:8: servers.b.socket: '/run/s' is also the socket of servers.a, expected one for each server"
        ]
    );
    let default = "[servers.a]\ncmd='x'\nsocket='~/.muxloop/run/b.sock'\n[servers.b]\ncmd='x'\n";
    assert_eq!(problems(default).len(), 1, "a default place counts too");
    parse(&format!("{text}enabled = false\n")).expect("a disabled server does not listen");
}

#[test]
fn socket_paths_have_the_length_of_the_system() {
    let at = |len: usize| format!("socket = \"/{}\"", "s".repeat(len - 1));
    server(&at(path::SOCKET_PATH_MAX));
    let found = server_problems(&at(path::SOCKET_PATH_MAX + 1));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("mux.toml:3:10: servers.a.socket: is a path of 108 bytes"), "{found:?}");
}

#[test]
fn server_names_are_some_text_without_slash() {
    for name in ["", "a/b", "a\\u0007"] {
        let found = problems(&format!("[servers.\"{name}\"]\ncmd = \"x\"\nsocket = \"/s\"\n"));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].contains("is no server name"), "{found:?}");
    }
    let odd = parse("[servers.\"mémoire 2\"]\ncmd = \"x\"\n").unwrap();
    assert_eq!(odd.config.servers[0].policy.name, "mémoire 2");
}

#[test]
fn roots_are_file_uris() {
    let named = server("roots = [\"file:///a\", { uri = \"file:///b\", name = \"B\" }]").policy.roots;
    let root = |uri: &str, name: Option<&str>| Root { uri: uri.into(), name: name.map(str::to_owned) };
    assert_eq!(named, [root("file:///a", None), root("file:///b", Some("B"))]);
    assert_eq!(
        server_problems("roots = [\"/a\", { nam = \"B\" }, { name = \"B\" }, 1, \"https://x\"]"),
        [
            "mux.toml:3:10: servers.a.roots[0]: '/a' is no file:// URI; did you mean 'file:///a'?",
            "mux.toml:3:18: servers.a.roots[1].nam: unknown key, expected uri or name; did you mean 'name'?",
            "mux.toml:3:31: servers.a.roots[2]: has no 'uri', expected { uri = \"file:///…\", name = \"…\" }",
            "mux.toml:3:47: servers.a.roots[3]: expected a file:// URI or { uri, name }, found an integer",
            "mux.toml:3:50: servers.a.roots[4]: 'https://x' is no file:// URI",
        ]
    );
}

#[test]
fn what_is_not_a_configuration_is_said_in_one_line() {
    let missing = ["mux.toml:1:1: servers: is missing, expected at least one [servers.NAME] table"];
    assert_eq!(problems(""), missing);
    assert_eq!(problems("# nothing\n"), missing);
    assert_eq!(
        problems("[servers]\n"),
        ["mux.toml:1:2: servers: is empty, expected at least one [servers.NAME] table"]
    );
    assert_eq!(
        problems("servers = 1\n"),
        ["mux.toml:1:11: servers: expected [servers.NAME] tables, found an integer"]
    );
    assert_eq!(problems("servers.a = 1\n"), ["mux.toml:1:13: servers.a: expected a table, found an integer"]);
    let json = problems(" {\"mcpServers\": {}}");
    match cfg!(feature = "cli") {
        true => assert_eq!(json, ["mux.toml:1:3: mcpServers: is empty, expected at least one server"]),
        false => assert!(json[0].starts_with("mux.toml:1:1: looks like JSON; this build"), "{json:?}"),
    }
    let utf8 = Config::parse("f", b"a = 1\nb = \"\xff\"\n", &ana()).unwrap_err();
    assert_eq!(utf8[0].to_string(), "f:2:6: is not valid UTF-8 from here on; a configuration is UTF-8 text");
}

#[test]
fn syntax_errors_have_their_place_and_quote_nothing() {
    assert_eq!(
        problems("[servers.a]\nenv = { TOKEN = \"hunter2 }\ncmd = \"x\"\n"),
        [
            "mux.toml:2:27: invalid basic string, expected `\"`",
            "mux.toml:3:1: missing comma between key-value pairs, expected `,`",
        ]
    );
    assert_eq!(
        problems("[servers.a\ncmd = \"x\"\n[servers.b]\nfoo bar\n"),
        ["mux.toml:1:11: unclosed table, expected `]`", "mux.toml:4:5: key with no value, expected `=`",]
    );
    assert_eq!(problems("[servers.a]\ncmd = \"x\"\ncmd = \"y\"\n"), ["mux.toml:3:1: duplicate key"]);
    assert_eq!(problems(&format!("a = {}", "[".repeat(100_000))).len(), 1, "depth is bounded");
}

#[test]
fn marks_and_line_ends_of_other_systems_are_read() {
    let windows = "\u{feff}[servers.a]\r\ncmd = \"x\"\r\nzzz = 1\r\n";
    assert_eq!(
        problems(windows),
        ["mux.toml:3:1: servers.a.zzz: unknown key, expected one that 'muxloop help config' lists"]
    );
}

#[test]
fn servers_and_variables_keep_the_order_of_the_file() {
    let text = "[servers.zeta]\ncmd='x'\nenv={ B='1', A='2' }\n[servers.alpha]\ncmd='x'\n";
    let servers = parse(text).unwrap().config.servers;
    assert_eq!(servers.iter().map(|s| s.policy.name.as_str()).collect::<Vec<_>>(), ["zeta", "alpha"]);
    assert_eq!(servers[0].spawn.env[0].0, "B");
}

#[test]
fn the_program_may_be_in_the_home_directory() {
    let text = "[servers.a]\ncmd = \"~/bin/server\"\n";
    assert_eq!(parse(text).unwrap().config.servers[0].spawn.program, "/home/ana/bin/server");
    let lost = Config::parse("f", b"[servers.a]\ncmd = '~/x'\nsocket = '/s'\n", &Surroundings::default());
    let text = lost.unwrap_err()[0].to_string();
    assert_eq!(text, "f:2:7: servers.a.cmd: starts with '~', but HOME is not set to an absolute path");
}

#[test]
fn debug_output_hides_values_of_the_environment() {
    let loaded = parse("[servers.a]\ncmd='x'\nenv={ TOKEN='hunter2' }\n").unwrap();
    let shown = format!("{loaded:?} {loaded:#?}");
    assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn errors_hide_values_of_the_environment() {
    for text in [
        "[servers.a]\nenv = { TOKEN = 31337 }\n",
        "[servers.a]\nenv = { TOKEN = [\"31337\"] }\n",
        "[servers.a]\nenv = \"TOKEN=31337\"\n",
        "[servers.a]\nenv = { TOKEN = \"31337\\u0000\" }\n",
        "[servers.a]\nenv = { TOKEN = \"31337 }\n",
        "[servers.a]\nenv = { TOKEN = 31337x }\n",
        "[servers.a]\nenv = { TOKEN = \"31337\\q\" }\n",
    ] {
        let found = problems(text).join("\n");
        assert!(!found.contains("31337"), "{found}");
    }
}

#[test]
fn files_that_cannot_be_read_are_one_line() {
    let load = |path: &str| {
        let problems = Config::load(Path::new(path), &ana()).unwrap_err();
        problems.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    assert_eq!(load("/nonexistent/mux.toml"), ["/nonexistent/mux.toml: no such file"]);
    assert_eq!(load("/"), ["/: is a directory, expected a file"]);
    if Path::new("/dev/zero").exists() {
        assert_eq!(
            load("/dev/zero"),
            ["/dev/zero: is larger than 4194304 bytes; a configuration was expected"]
        );
    }
}

#[test]
fn damaged_files_are_refused_with_places_inside_them() {
    let example = include_str!("../../examples/real-servers.toml");
    let check = |bytes: &[u8]| {
        let Err(found) = Config::parse("f", bytes, &ana()) else { return };
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!(!found.is_empty());
        assert!(found.iter().all(|p| p.place.is_some_and(|place| place.line <= lines && place.column >= 1)));
    };
    for end in 0..example.len() {
        check(&example.as_bytes()[..end]);
    }
    // One byte after the other becomes each of those that mean something to TOML, or nothing to anybody.
    for at in (0..example.len()).step_by(3) {
        for byte in *b"\0\n\"'[]{}=.,#\\\xff\xc3" {
            let mut bytes = example.as_bytes().to_vec();
            bytes[at] = byte;
            check(&bytes);
        }
    }
}

fn is_released<T>(key: &Key<T>) -> bool {
    !matches!(key.kind, Kind::Later(_))
}

#[test]
fn a_long_key_is_quoted_only_at_its_beginning() {
    let key = "k".repeat(100_000);
    let begin = format!("\"{}…\"", "k".repeat(60));
    let found = server_problems(&format!("{key} = 1"));
    assert_eq!(
        found,
        [format!(
            "mux.toml:3:1: servers.a.{begin}: unknown key, expected one that 'muxloop help config' lists"
        )]
    );
    let found = problems(&format!("[servers.{key}]\n"));
    assert!(found[0].starts_with(&format!("mux.toml:1:10: servers.{begin}: ")), "{found:.200?}");
}

#[test]
fn no_more_problems_are_told_than_a_person_can_read() {
    let text: String = (0..5_000).map(|n| format!("key{n} = 1\n")).collect();
    let problems = Config::parse("f", text.as_bytes(), &Surroundings::default()).unwrap_err();
    assert_eq!(problems.len(), 100);
}

#[test]
#[cfg(not(feature = "gateway"))]
fn a_build_without_the_merged_endpoint_says_so() {
    let cure = "it needs the feature `gateway` when muxloop is built";
    for text in
        ["gateway.names = 'plain'\n[servers.a]\ncmd = 'x'\n", "[servers.a]\ncmd = 'x'\ntools.deny = ['x']\n"]
    {
        let problems = problems(text);
        assert!(problems.len() == 1 && problems[0].contains(cure), "{problems:?}");
    }
}
