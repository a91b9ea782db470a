//! `muxloop health`: against servers that answer, refuse, hang and are not there.

use crate::fake::{Daemon, Dir, answer, notify};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;

fn opening() -> Value {
    json!({"protocolVersion": "2025-06-18", "capabilities": {"resources": {}, "tools": {"listChanged": true}},
           "serverInfo": {"name": "memory-server", "version": "1.2.0", "title": "x"}})
}

#[test]
fn a_server_that_answers_is_healthy() {
    let dir = Dir::new("healthy");
    let server = Daemon::start(&dir.path("s.sock"), |request, out| {
        // What is sent to every client does not disturb.
        notify(out, "notifications/message", json!({"level": "info", "data": "x"}));
        match request["method"].as_str().unwrap() {
            "initialize" => answer(out, request, Ok(opening())),
            "ping" => answer(out, request, Ok(json!({}))),
            "tools/list" => answer(out, request, Ok(json!({"tools": []}))),
            "notifications/initialized" => {}
            other => panic!("{other}"),
        }
        true
    });
    let (code, out, err) = dir.run(&["health", "--socket", "s.sock"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("s.sock: ok, memory-server 1.2.0 speaks 2025-06-18, initialize "), "{out}");
    assert!(out.contains(" ms, ping ") && out.contains(" ms, tools/list "), "{out}");
    let methods: Vec<Value> =
        server.requests.try_iter().map(|mut request| request["method"].take()).collect();
    assert_eq!(methods, ["initialize", "notifications/initialized", "ping", "tools/list"]);
}

#[test]
fn a_server_of_the_modern_era_is_asked_in_its_own_words() {
    let dir = Dir::new("modern");
    let _server = Daemon::start(&dir.path("s.sock"), |request, out| {
        let version = &request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
        match (request["method"].as_str().unwrap(), version.as_str()) {
            ("server/discover", Some("2026-07-28")) => {
                answer(
                    out,
                    request,
                    Ok(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"prompts": {}}})),
                );
            }
            ("prompts/list", Some("2026-07-28")) => answer(out, request, Ok(json!({"prompts": []}))),
            (method, _) => answer(out, request, Err((-32601, format!("no {method} here")))),
        }
        true
    });
    let (code, out, err) = dir.run(&["health", "--socket", "s.sock"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("s.sock: ok, a server speaks 2026-07-28, server/discover "), "{out}");
    assert!(out.contains("prompts/list"), "{out}");
}

#[test]
fn what_is_wrong_is_said_with_a_code() {
    let dir = Dir::new("ill");
    let ill = |socket: &str, code: i32, words: &str| {
        let (found, out, err) = dir.run(&["health", "--socket", socket, "--timeout", "300"]);
        assert_eq!((found, out.as_str()), (code, ""), "{err}");
        assert_eq!(err, format!("muxloop: {socket}: {words}\n"));
    };
    ill("none.sock", 3, "not running: there is no socket at none.sock");
    let _full = Daemon::start(&dir.path("full.sock"), |request, out| {
        answer(out, request, Err((-32000, "5 clients are connected, and no more may".into())));
        false
    });
    ill("full.sock", 1, "refuses a client: initialize: 5 clients are connected, and no more may");
    let _refuses = Daemon::start(&dir.path("refuses.sock"), |request, out| {
        answer(out, request, Err((-32603, "the server failed: \u{1b}[31mno such file".into())));
        true
    });
    ill("refuses.sock", 1, "refuses a client: initialize: the server failed: no such file");
    let _list = Daemon::start(&dir.path("list.sock"), |request, out| {
        match request["method"].as_str().unwrap() {
            "initialize" => answer(out, request, Ok(opening())),
            "ping" => answer(out, request, Ok(json!({}))),
            "tools/list" => answer(out, request, Err((-32603, "database is locked".into()))),
            _ => {}
        }
        true
    });
    ill("list.sock", 1, "tools/list: database is locked");
    let _hung = UnixListener::bind(dir.path("hung.sock")).unwrap();
    let (code, _, err) = dir.run(&["health", "--socket", "hung.sock", "--timeout", "300"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("muxloop: hung.sock: has not answered initialize for "), "{err}");
}

#[test]
fn servers_of_a_configuration_are_asked_one_by_one() {
    let dir = Dir::new("services");
    dir.write(
        "mux.toml",
        "[servers.a]\ncmd = \"x\"\nsocket = \"a.sock\"\n[servers.b]\ncmd = \"x\"\nsocket = \"beta.sock\"\n\
         [servers.off]\ncmd = \"x\"\nenabled = false\n",
    );
    let _a = Daemon::start(&dir.path("a.sock"), |request, out| {
        match request["method"].as_str().unwrap() {
            "initialize" => answer(out, request, Ok(json!({"protocolVersion": "2024-11-05"}))),
            "ping" => answer(out, request, Ok(json!({}))),
            _ => {}
        }
        true
    });
    assert_eq!(dir.run(&["health", "--service", "a"]).0, 0);
    // By the name that people are shown.
    let (code, _, err) = dir.run(&["health", "-c", "mux.toml", "--service", "beta"]);
    assert_eq!((code, err.as_str()), (3, "muxloop: b: not running: there is no socket at beta.sock\n"));
    let (code, out, err) = dir.run(&["health"]);
    assert!(out.starts_with("a: ok, a server speaks 2024-11-05, initialize"), "{out}");
    assert_eq!((code, err.as_str()), (3, "muxloop: b: not running: there is no socket at beta.sock\n"));
    let (code, _, err) = dir.run(&["health", "--service", "xyz"]);
    assert_eq!((code, err.as_str()), (2, "muxloop: no server 'xyz', the file has: a, b, off\n"));
}

/// The same with nothing pretended: muxloop, and a server that it starts for this.
#[cfg(feature = "demo")]
#[test]
fn a_server_behind_a_real_muxloop_is_healthy() {
    let dir = Dir::new("real");
    let bin = env!("CARGO_BIN_EXE_muxloop");
    for era in ["legacy", "modern"] {
        let socket = dir.path(&format!("{era}.sock"));
        dir.write(
            "mux.toml",
            &format!(
                "[servers.demo]\ncmd = \"{bin}\"\nargs = [\"demo-server\", \"--era\", \"{era}\"]\n\
                 lazy_start = true\nsocket = \"{}\"\n",
                socket.display()
            ),
        );
        let mut muxloop =
            dir.command(&["-c", "mux.toml"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        // It listens before it says so.
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(muxloop.stderr.as_mut().unwrap()),
            &mut line,
        )
        .unwrap();
        let found = dir.run(&["health", "--service", "demo"]);
        let _ = std::process::Command::new("kill").arg(muxloop.id().to_string()).status();
        muxloop.wait().unwrap();
        let (code, out, err) = found;
        assert_eq!((code, err.as_str()), (0, ""), "{era}");
        assert!(out.starts_with("demo: ok, ") && out.contains("tools/list "), "{out}");
    }
}
