//! watch, logs and tap: what followers are told, and what they can't do to others.

use serde_json::{Value, json};

use crate::station::{Station, part, result};
use crate::support::mux::Server;
use crate::support::process::figure;
use crate::support::{Client, text};

#[test]
fn a_watcher_is_told_of_changes_only() {
    let station = Station::demo(&[], "");
    station.until_state("a", "ready");
    let mut control = station.control();
    let first = result(control.ask("watch", json!({ "interval_ms": 100 })));
    assert_eq!(part(&first, "a")["clients"], 0);
    let mut client = station.mux.client();
    let news = control.until(|m| m["method"] == "status" && part(&m["params"], "a")["clients"] == 1);
    assert_eq!(news["params"]["clients"], 1);
    assert!(news.get("id").is_none());
    client.call("echo", json!({}));
    control.until(|m| m["method"] == "status" && part(&m["params"], "a")["requests"] == 1);
    control.ask("unwatch", json!({}));
    client.call("echo", json!({}));
    assert!(control.ask("hello", json!({}))["result"].is_object());
}

#[test]
fn log_lines_of_a_crashing_server_outlive_it_and_are_followed() {
    let script = "echo one words from $$ >&2; exec BINARY demo-server --name a";
    let station = Station::start(
        "",
        &[
            Server::script("a", script).keys("restart_backoff_ms = 10\nrestart_backoff_max_ms = 10"),
            Server::demo("b", &["--stderr-flood", "3"]),
        ],
    );
    let mut client = station.mux.client();
    let mut control = station.control();
    let mut first = client.server_pid();
    let old = result(control.ask("logs", json!({ "server": "a", "follow": true })));
    let is_said = |line: &Value| line.get("from").is_none();
    let said: Vec<Value> = old["lines"].as_array().unwrap().iter().filter(|l| is_said(l)).cloned().collect();
    assert_eq!(said.len(), 1, "{old}");
    assert_eq!(said[0]["text"], format!("one words from {first}"));
    assert_eq!(said[0]["server"], "a");
    let stamp = said[0]["ts"].as_str().unwrap();
    assert!(stamp.len() == "2026-01-01T00:00:00.000Z".len() && stamp.ends_with('Z'), "{stamp}");
    for _ in 0..3 {
        client.call("crash", json!({ "code": 9 }));
        let line = control.until(|m| m["method"] == "log" && is_said(&m["params"]));
        let pid = client.server_pid();
        assert_ne!(pid, first);
        assert_eq!(line["params"]["text"], format!("one words from {pid}"));
        first = pid;
    }
    let told = control.until(|m| m["params"]["from"] == "muxloop" && m.to_string().contains("status 9"));
    assert_eq!(told["params"]["server"], "a");
    let all = result(station.control().ask("logs", json!({ "server": "a", "lines": 1000 })));
    let count = all["lines"].as_array().unwrap().iter().filter(|line| is_said(line)).count();
    assert_eq!(count, 4, "{all}");
    let newest = result(station.control().ask("logs", json!({ "lines": 1 })));
    assert_eq!(newest["lines"].as_array().unwrap().len(), 1);
    let others = result(station.control().ask("logs", json!({ "server": "b" })));
    assert!(others["lines"].as_array().unwrap().iter().all(|line| line["server"] == "b"), "{others}");
}

/// Who follows a server by its name goes on when a reload puts another in its place.
#[test]
fn followers_of_a_name_outlive_a_reload() {
    let at = |socket: &str| {
        Server::demo("a", &["--stderr-flood", "1"]).keys(&format!("socket = \"DIR/{socket}.sock\""))
    };
    let station = Station::start("", &[at("one"), Server::demo("b", &[])]);
    station.until_state("a", "ready");
    let mut logs = station.control();
    logs.ask("logs", json!({ "server": "a", "follow": true }));
    let mut tap = station.control();
    tap.ask("tap", json!({ "server": "a" }));
    station.write(&[at("two"), Server::demo("b", &[])]);
    station.ask("reload", json!({}));
    logs.until(|m| m["method"] == "log" && m["params"].get("from").is_none());
    let mut client = Client::connect(&station.mux.path("two.sock"));
    client.greet(json!({}));
    client.call("echo", json!({ "text": "tapped" }));
    tap.until(|m| m["method"] == "tap" && m["params"]["text"].as_str().is_some_and(|t| t.contains("tapped")));
    // Another server that has its place has not its followers.
    station.write(&[Server::demo("c", &["--stderr-flood", "1"]), Server::demo("b", &[])]);
    station.ask("reload", json!({}));
    station.until_state("c", "ready");
    station.mux.client_of("c", json!({})).call("echo", json!({ "text": "unseen" }));
    tap.ask("untap", json!({}));
    logs.ask("unlog", json!({}));
    // A mark for the end of what came.
    for follower in [&mut tap, &mut logs] {
        follower.half_close();
        let strange = follower.rest().iter().filter(|m| m["params"]["server"].as_str() == Some("c")).count();
        assert_eq!(strange, 0);
    }
}

#[test]
fn a_tap_shows_both_sides_of_every_message_without_secrets() {
    let station = Station::start("", &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let mut client = station.mux.client();
    let mut other = station.mux.client_of("b", json!({}));
    let mut control = station.control();
    assert_eq!(control.ask("tap", json!({ "server": "a" }))["result"], json!({}));
    other.call("echo", json!({ "text": "elsewhere" }));
    let arguments =
        json!({ "text": "hello", "password": "hunter2", "nested": [{ "api_key": { "k": "sk-1" } }] });
    let line = json!({ "jsonrpc": "2.0", "id": "my id", "method": "tools/call",
        "params": { "name": "echo", "arguments": arguments } })
    .to_string();
    client.send_line(&line);
    assert_eq!(text(&client.answer(&json!("my id"))), "hello");
    let taps: Vec<Value> = (0..4).map(|_| control.incoming("tap")["params"].clone()).collect();
    let ways: Vec<(&str, &str, &str)> = taps
        .iter()
        .map(|tap| {
            (tap["from"].as_str().unwrap(), tap["to"].as_str().unwrap(), tap["kind"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        ways,
        [
            ("client 1", "muxloop", "request"),
            ("muxloop", "server", "request"),
            ("server", "muxloop", "result"),
            ("muxloop", "client 1", "result"),
        ]
    );
    assert_eq!((&taps[0]["id"], &taps[3]["id"]), (&json!("my id"), &json!("my id")));
    assert_eq!(taps[1]["id"], taps[2]["id"]);
    assert_eq!(taps[0]["bytes"], line.len());
    for tap in &taps {
        assert_eq!(tap["server"], "a");
        let all = tap.to_string();
        assert!(!all.contains("hunter2") && !all.contains("sk-1") && !all.contains("elsewhere"), "{all}");
    }
    assert_eq!(taps[0]["method"], "tools/call");
    let shown: Value = serde_json::from_str(taps[0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(shown["params"]["arguments"]["password"], "[redacted]");
    assert_eq!(shown["params"]["arguments"]["text"], "hello");
    // Long messages are cut, longer ones are told by their size.
    client.call("echo", json!({ "text": "y".repeat(10_000) }));
    let cut = control.incoming("tap")["params"].clone();
    assert_eq!(cut["text"].as_str().unwrap().len(), 4 << 10);
    assert!(cut["bytes"].as_u64().unwrap() > 10_000);
    control.ask("untap", json!({}));
    client.call("echo", json!({ "text": "private" }));
    let rest = control.ask("hello", json!({}));
    assert!(rest["result"].is_object());
}

/// Taps, log lines and watches that nobody reads: dropped, counted, and nobody else notices.
#[test]
fn a_follower_that_never_reads_disturbs_nobody() {
    let station = Station::demo(&[], "");
    let mut client = station.mux.client();
    let mut silent = station.control();
    silent.ask("tap", json!({ "server": "a" }));
    silent.ask("watch", json!({ "interval_ms": 100 }));
    silent.ask("logs", json!({ "follow": true }));
    let before = figure(station.mux.pid, "VmRSS");
    let payload = "z".repeat(5_000);
    for _ in 0..1_500 {
        let answer = client.call("echo", json!({ "text": payload }));
        assert!(answer["result"].is_object());
    }
    let grown = figure(station.mux.pid, "VmRSS").saturating_sub(before);
    assert!(grown < 12_000, "{grown} KiB more");
    // Now it reads: what is there, and with the next how many it missed.
    let taps = std::cell::Cell::new(0u64);
    silent.send_line("{\"id\":\"read\",\"method\":\"hello\"}");
    let count = |message: &Value| {
        taps.set(taps.get() + u64::from(message["method"] == "tap"));
    };
    let mut dropped = 0;
    silent.until(|message| {
        count(message);
        dropped += message["params"]["dropped"].as_u64().unwrap_or(0);
        message["id"] == "read"
    });
    assert_eq!(dropped, 0);
    client.call("echo", json!({ "text": "after" }));
    silent.until(|message| {
        count(message);
        dropped += message["params"]["dropped"].as_u64().unwrap_or(0);
        let text = message["params"]["text"].as_str().unwrap_or("");
        message["params"]["to"] == "client 1" && text.contains("after")
    });
    assert!(dropped > 0);
    // Four taps for each of 1,501 calls, and log lines if there were any.
    assert!(taps.get() + dropped >= 4 * 1_501, "{} and {dropped}", taps.get());
}
