//! Lists that are given without asking the server (rows B08, C05, K03): shared, from a server that rests, and
//! from an earlier run.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::mux::command;
use crate::support::{Mux, PATIENCE, Server, holds_within, text};

/// How often the server was asked for its tools.
fn asked(mux: &Mux) -> usize {
    mux.methods("a").iter().filter(|method| *method == "tools/list").count()
}

fn tools(answer: &Value) -> Vec<String> {
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// The files of the cache.
fn files(mux: &Mux) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(mux.path(".cache/muxloop/lists")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A server whose options are in a file: its command stays the same.
fn versioned(keys: &str) -> Server {
    let script = "exec BINARY demo-server --journal DIR/a.journal $(cat DIR/options)";
    Server::script("a", script).keys("era = \"legacy\"").keys(keys)
}

/// Stops muxloop and starts it again in the same folder.
fn again(mut mux: Mux, servers: &[Server]) -> Mux {
    mux.stop();
    Mux::start_in(mux.dir.clone(), servers)
}

fn report(mux: &Mux) -> Value {
    let status = command(&mux.dir.0)
        .args(["status", "--json", "-c", "mux.toml"])
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&status.stdout).expect("a report");
    report["servers"][0].clone()
}

#[test]
fn a_list_is_asked_for_once() {
    let mux = Mux::demo(&[], "");
    let (mut one, mut two) = (mux.client(), mux.client());
    let first = one.ask("tools/list", json!({}));
    for client in [&mut one, &mut two] {
        let next = client.ask("tools/list", json!({ "_meta": { "k": 1 } }));
        assert_eq!(next["result"], first["result"]);
    }
    assert_eq!(asked(&mux), 1);
}

#[test]
fn a_server_that_rests_answers_for_its_lists() {
    let mux = Mux::demo(&[], "idle_stop_ms = 100");
    let mut one = mux.client();
    let list = tools(&one.ask("tools/list", json!({})));
    mux.wait_log("without use");
    let mut two = mux.client();
    assert_eq!(tools(&two.ask("tools/list", json!({}))), list);
    assert_eq!(mux.logged("started, pid"), 1);
    assert_eq!(text(&two.call("echo", json!({ "text": "x" }))), "x");
    assert_eq!(mux.logged("started, pid"), 2);
    // It was looked at again, and nobody was bothered.
    assert!(holds_within(PATIENCE, || asked(&mux) == 2));
    let bothered = one.fence().into_iter().chain(two.fence());
    let about_tools = bothered.filter(|said| said["method"] == "notifications/tools/list_changed");
    assert_eq!(about_tools.count(), 0);
}

#[test]
fn the_next_run_answers_for_a_lazy_server() {
    let servers = || [Server::demo("a", &[]).keys("lazy_start = true")];
    let mux = Mux::start(&servers());
    let mut client = mux.client();
    let list = tools(&client.ask("tools/list", json!({})));
    drop(client);
    let mux = again(mux, &servers());
    assert_eq!(files(&mux).len(), 1);
    assert_eq!(fs::metadata(&files(&mux)[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = mux.client();
    assert_eq!(tools(&client.ask("tools/list", json!({}))), list);
    let server = report(&mux);
    assert_eq!((&server["state"], &server["tools"]), (&json!("lazy"), &json!(list.len())));
    assert!(server["tool_tokens"].as_u64().unwrap() > 10 * list.len() as u64, "{server}");
    assert_eq!(mux.logged("started, pid"), 0);
}

#[test]
fn another_version_of_a_server_is_noticed() {
    let servers = || [versioned("lazy_start = true")];
    let dir = std::sync::Arc::new(crate::support::mux::Scratch::new());
    fs::write(dir.0.join("options"), "--name one").unwrap();
    let mux = Mux::start_in(dir, &servers());
    let old = tools(&mux.client().ask("tools/list", json!({})));
    fs::write(mux.path("options"), r#"--name two --answer tools/list={"tools":[]}"#).unwrap();
    let mux = again(mux, &servers());
    let mut client = mux.client();
    assert_eq!(tools(&client.ask("tools/list", json!({}))), old);
    assert_eq!(mux.logged("started, pid"), 0);
    client.call("echo", json!({ "text": "x" }));
    client.incoming("notifications/tools/list_changed");
    assert_eq!(tools(&client.ask("tools/list", json!({}))), [] as [String; 0]);
    // That is known to the run after it.
    let mux = again(mux, &servers());
    let mut client = mux.connect("a");
    let hello = client.greet(json!({}));
    assert!(hello.to_string().contains("\"two\""), "{hello}");
    assert_eq!(tools(&client.ask("tools/list", json!({}))), [] as [String; 0]);
    assert_eq!(mux.logged("started, pid"), 0);
}

/// Whatever is in the file: the server is asked, and the file is written anew.
#[test]
fn a_spoilt_file_is_as_none() {
    let servers = || [Server::demo("a", &[]).keys("lazy_start = true")];
    let mut mux = Mux::start(&servers());
    let list = tools(&mux.client().ask("tools/list", json!({})));
    mux = again(mux, &servers());
    let path = files(&mux)[0].clone();
    let good = fs::read(&path).unwrap();
    for bad in [&b""[..], b"\xff", &good[..good.len() - 1], &[&good[..], b" "].concat()] {
        mux.stop();
        fs::write(&path, bad).unwrap();
        mux = Mux::start_in(mux.dir.clone(), &servers());
        assert_eq!(tools(&mux.client().ask("tools/list", json!({}))), list);
        assert_eq!(mux.logged("started, pid"), 1);
        assert!(holds_within(PATIENCE, || fs::read(&path).is_ok_and(|text| text == good)));
    }
}

#[test]
fn no_cache_keeps_nothing() {
    let servers = |keys: &str| [Server::demo("a", &[]).keys("lazy_start = true").keys(keys)];
    let mux = Mux::start(&servers(""));
    mux.client().ask("tools/list", json!({}));
    let mux = again(mux, &servers("no_cache = true"));
    assert_eq!(files(&mux), [] as [PathBuf; 0], "what was there is gone");
    let before = asked(&mux);
    let mut client = mux.client();
    for _ in 0..2 {
        client.ask("tools/list", json!({}));
    }
    assert_eq!(asked(&mux), before + 2);
    assert_eq!(report(&mux)["tools"], Value::Null);
    let mux = again(mux, &servers("no_cache = true"));
    assert_eq!(files(&mux), [] as [PathBuf; 0]);
}
