//! Servers and clients of both eras (row B07; protocol.md §3.6, §4; P50).

use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;

use crate::support::mux::Scratch;
use crate::support::{Client, MODERN, Mux, Server, initialize, modern, structured, text};

/// A call by a client of each era is answered.
fn serves_both(mux: &Mux, server: &str) {
    let mut old = mux.client_of(server, json!({}));
    let echoed = old.call("echo", json!({ "text": "old" }));
    assert_eq!(text(&echoed), "old", "{server}");
    let mut new = mux.connect(server);
    let call = modern(json!({ "name": "echo", "arguments": { "text": "new" } }));
    let answer = new.ask("tools/call", call);
    assert_eq!(text(&answer), "new", "{server}: {answer}");
    assert_eq!(answer["result"]["resultType"], "complete", "{server}");
}

fn starts(mux: &Mux, server: &str) -> usize {
    mux.logged(&format!("server {server}: started, pid"))
}

/// P50: whatever a server does on the greeting of the era that it does not speak, clients of both are served; most
/// servers start once, and no start counts as a failure.
#[test]
fn servers_of_any_era_serve_clients_of_both() {
    // Name, options, methods of the handshake as they reached it, processes.
    let (d, i, n) = ("server/discover", "initialize", "notifications/initialized");
    let cases: [(&str, &[&str], &[&str], usize); 8] = [
        ("modern", &["--era", "modern"], &[d], 1),
        ("both", &["--era", "both"], &[d], 1),
        ("refuses", &["--era", "legacy"], &[d, i, n], 1),
        ("exits", &["--era", "legacy-exit"], &[d, i, n], 2),
        ("ignores", &["--era", "legacy", "--no-answer", "server/discover"], &[d, i, n], 1),
        ("slow", &["--era", "legacy", "--slow-start", "2500"], &[d, i, n], 1),
        ("slow-modern", &["--era", "modern", "--slow-start", "2500"], &[d, i], 1),
        ("slow-both", &["--era", "both", "--slow-start", "2500"], &[d, i, d], 2),
    ];
    let servers: Vec<Server> = cases
        .iter()
        .map(|(name, options, _, _)| Server::demo(name, options).keys("startup_timeout_ms = 4000"))
        .collect();
    let mux = Mux::start(&servers);
    for (name, _, handshake, processes) in cases {
        serves_both(&mux, name);
        assert_eq!(mux.methods(name)[..handshake.len()], *handshake, "{name}");
        assert_eq!(starts(&mux, name), processes, "{name}\n{}", mux.log());
    }
    assert_eq!(mux.logged("next start in"), 0);
}

/// What a server was found to speak is kept for the next run, and nothing that is wrong with the file matters.
#[test]
fn the_next_run_knows_the_era() {
    let dir = Arc::new(Scratch::new());
    let file = dir.0.join(".cache/muxloop/eras.json");
    let server = || [Server::demo("a", &["--era", "legacy"])];
    let greetings = |spoil: &dyn Fn()| -> Vec<String> {
        spoil();
        let _ = fs::remove_file(dir.0.join("a.journal"));
        let mut mux = Mux::start_in(dir.clone(), &server());
        serves_both(&mux, "a");
        mux.stop();
        mux.methods("a").into_iter().filter(|m| m == "server/discover" || m == "initialize").collect()
    };
    let searched = ["server/discover", "initialize"];
    assert_eq!(greetings(&|| {}), searched);
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["servers"].as_object().map(serde_json::Map::len), Some(1), "{kept}");
    assert!(!kept.to_string().contains("demo-server"), "no command line is in it: {kept}");
    assert_eq!(greetings(&|| {}), ["initialize"]);
    assert_eq!(greetings(&|| fs::write(&file, "{").unwrap()), searched);
    assert_eq!(greetings(&|| {}), ["initialize"]);
    // A folder that cannot be had.
    let spoil = || {
        fs::remove_dir_all(dir.0.join(".cache")).unwrap();
        fs::write(dir.0.join(".cache"), "in the way").unwrap();
    };
    assert_eq!(greetings(&spoil), searched);
}

/// A finding that has become wrong costs one message or one start, and is replaced.
#[test]
fn a_server_that_changed_its_era_is_found_out() {
    let dir = Arc::new(Scratch::new());
    // The same command line, whatever is in the file.
    let script = "exec BINARY demo-server --journal DIR/a.journal --era \"$(cat DIR/era)\"";
    for (era, greetings) in [
        ("modern", vec!["server/discover"]),
        ("legacy", vec!["server/discover", "initialize"]),
        ("modern", vec!["initialize", "server/discover"]),
        ("modern", vec!["server/discover"]),
    ] {
        fs::write(dir.0.join("era"), era).unwrap();
        let _ = fs::remove_file(dir.0.join("a.journal"));
        let mut mux = Mux::start_in(dir.clone(), &[Server::script("a", script)]);
        serves_both(&mux, "a");
        mux.stop();
        assert_eq!(mux.logged("next start in"), 0);
        let is_greeting = |m: &String| m == "server/discover" || m == "initialize";
        assert_eq!(mux.methods("a").into_iter().filter(is_greeting).collect::<Vec<_>>(), greetings, "{era}");
    }
}

/// A server that speaks both eras is shared in the modern one; its old clients lose nothing by that.
#[test]
fn a_server_of_both_eras_is_shared_in_the_modern_one() {
    let mux = Mux::demo(&["--era", "both"], "");
    let mut old: Client = mux.connect("a");
    old.send(&initialize(1, json!({})));
    assert_eq!(old.answer(&json!(1))["result"]["protocolVersion"], "2025-11-25");
    let me = old.call("whoami", json!({}));
    assert_eq!(structured(&me)["era"], "modern");
    assert_eq!(structured(&me)["violations"], json!([]));
    assert!(me["result"].get("resultType").is_none(), "{me}");
    assert_eq!(
        mux.connect("a").ask("server/discover", modern(json!({})))["result"]["supportedVersions"],
        json!([MODERN])
    );
}
