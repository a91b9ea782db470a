//! Every field of the report, after real traffic.

use serde_json::{Value, json};

use crate::station::{Station, error, part, result};
use crate::support::mux::Server;
use crate::support::{Client, initialize};

/// Bytes that went over a client's connection, both ways, by its own count.
#[derive(Default)]
struct Bytes {
    sent: u64,
    received: u64,
}

impl Bytes {
    fn say(&mut self, client: &mut Client, message: &Value) {
        let line = message.to_string();
        self.sent += line.len() as u64 + 1;
        client.send_line(&line);
    }

    fn hear(&mut self, client: &mut Client) -> Value {
        let line = client.line().expect("an answer");
        self.received += line.len() as u64 + 1;
        serde_json::from_str(&line).unwrap()
    }
}

fn call(id: u64, tool: &str, arguments: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments } })
}

#[test]
fn hello_says_who_it_is() {
    let station = Station::demo(&[], "");
    let hello = station.ask("hello", json!({}));
    assert_eq!(hello["control"], 1);
    assert_eq!(hello["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(hello["pid"], station.mux.pid);
    let config = station.mux.path("mux.toml").canonicalize().unwrap();
    assert_eq!(hello["config"], config.display().to_string());
}

#[test]
fn the_report_counts_what_clients_did() {
    let station = Station::start(
        "",
        &[
            Server::demo("a", &[]).keys("service_name = \"notes\"\nmax_active_clients = 7"),
            Server::demo("b", &[]).keys("lazy_start = true"),
        ],
    );
    let (mut client, mut bytes) = (station.mux.connect("a"), Bytes::default());
    bytes.say(&mut client, &initialize(0, json!({})));
    bytes.hear(&mut client);
    bytes.say(&mut client, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    for id in 1..=5 {
        bytes.say(&mut client, &call(id, "echo", json!({ "text": "x".repeat(100) })));
        bytes.hear(&mut client);
    }
    bytes.say(&mut client, &call(6, "sleep", json!({ "ms": 60 })));
    bytes.hear(&mut client);
    bytes.say(&mut client, &call(7, "no such tool", json!({})));
    assert!(bytes.hear(&mut client)["error"].is_object());
    bytes.say(&mut client, &call(8, "sleep", json!({ "ms": 600_000 })));
    let report = station.until(|report| part(report, "a")["pending"] == 1);

    assert_eq!(report["control"], 1);
    assert_eq!(report["state"], "up");
    assert_eq!(report["pid"], station.mux.pid);
    assert!(report["uptime_ms"].as_u64().unwrap() > 0);
    assert!(report["rss_bytes"].as_u64().unwrap() > 100_000, "{report}");
    assert!(report["started_at"].as_str().unwrap().ends_with('Z'), "{report}");
    assert_eq!(report["clients"], 1);
    // The client, a child's two, and the control connection.
    assert_eq!(report["connections"], 4, "{report}");
    // `initialize` counts if it had to wait for the server.
    let requests = report["requests"].as_u64().unwrap();
    assert!([8, 9].contains(&requests) && report["errors"] == 1, "{report}");
    assert_eq!(report["malformed"], 0);
    let names: Vec<&Value> = report["servers"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["a", "b"]);

    let server = part(&report, "a");
    assert_eq!(server["service_name"], "notes");
    assert_eq!(server["socket"], station.mux.socket("a").display().to_string());
    assert_eq!((&server["state"], &server["words"]), (&json!("ready"), &json!("")));
    assert_eq!(server["pid"], client_pid(&station), "{server}");
    assert!(server["uptime_ms"].is_u64());
    assert!(server["rss_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(server["instances"], 1);
    assert_eq!((&server["era"], &server["protocol"]), (&json!("legacy"), &json!("2025-11-25")));
    assert_eq!(server["server_name"], "a");
    assert!(server["server_version"].is_string());
    assert_eq!((&server["clients"], &server["max_active_clients"]), (&json!(1), &json!(7)));
    assert_eq!((&server["pending"], &server["queued"]), (&json!(1), &json!(0)));
    assert_eq!((server["requests"].as_u64(), &server["errors"]), (Some(requests), &json!(1)));
    assert_eq!(server["bytes_in"], bytes.sent, "{server}");
    assert_eq!(server["bytes_out"], bytes.received, "{server}");
    let latency = &server["latency_ms"];
    assert!(latency["p50"].as_u64().unwrap() < 60, "{latency}");
    assert!(latency["p99"].as_u64() >= latency["p50"].as_u64(), "{latency}");
    assert_eq!((&server["restarts"], &server["attempt"]), (&json!(0), &json!(0)));
    assert!(server["max_restarts"].is_u64());
    assert_eq!((&server["last_failure"], &server["next_attempt_in_ms"]), (&Value::Null, &Value::Null));
    assert_eq!(server["heartbeat_misses"], 0);
    let recent = server["recent"].as_array().unwrap();
    let newest = &recent[0];
    assert_eq!(newest["method"], "tools/call");
    assert_eq!((&newest["name"], &newest["outcome"]), (&json!("no such tool"), &json!("error")));
    let slept = &recent[1];
    assert_eq!((&slept["name"], &slept["outcome"]), (&json!("sleep"), &json!("ok")));
    assert!(slept["ms"].as_u64().unwrap() >= 50, "{slept}");
    assert!(slept["ago_ms"].is_u64() && slept["client"].is_u64(), "{slept}");
    // What muxloop answers from memory is counted, not listed.
    assert_eq!(recent.len(), 7);

    let lazy = part(&report, "b");
    assert_eq!((&lazy["state"], &lazy["pid"], &lazy["instances"]), (&json!("lazy"), &Value::Null, &json!(0)));
    assert!(lazy["words"].as_str().unwrap().contains("first request"), "{lazy}");
}

/// The server's process as the kernel knows it: muxloop's child that runs this binary as a server.
fn client_pid(station: &Station) -> i32 {
    let children = crate::support::process::descendants(station.mux.pid);
    let is_server = |pid: &i32| muxloop::reactor::procfs::command(*pid).contains("demo-server");
    children.into_iter().find(is_server).expect("the server runs")
}

#[test]
fn a_cancelled_request_and_a_timed_out_one_are_told_apart() {
    let station = Station::demo(&[], "request_timeout_ms = 1000");
    let mut client = station.mux.client();
    let id = client.start("sleep", json!({ "ms": 600_000 }));
    station.until(|report| part(report, "a")["pending"] == 1);
    client.notify("notifications/cancelled", json!({ "requestId": id }));
    let late = client.start("sleep", json!({ "ms": 600_000 }));
    assert_eq!(crate::support::reason(&client.answer(&late)), "timeout");
    let server = station.server("a");
    let outcomes: Vec<&str> =
        server["recent"].as_array().unwrap().iter().map(|r| r["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes[..2], ["timeout", "cancelled"], "{server}");
    assert_eq!(server["errors"], 1, "{server}");
}

#[test]
fn a_crashing_server_is_told_in_words_with_its_next_attempt() {
    let crash = "echo 'Cannot find module x' >&2; exit 3";
    let keys = "max_restarts = 2\nrestart_backoff_ms = 2000\nrestart_backoff_max_ms = 2000";
    let keys = format!("{keys}\nera = \"legacy\"");
    let station = Station::start("", &[Server::script("a", crash).keys(&keys), Server::demo("b", &[])]);
    let server = station.until_state("a", "backoff");
    assert_eq!(station.status()["state"], "degraded");
    assert_eq!((&server["attempt"], &server["max_restarts"]), (&json!(1), &json!(2)), "{server}");
    let left = server["next_attempt_in_ms"].as_u64().unwrap();
    assert!(left <= 2_000, "{server}");
    let words = server["words"].as_str().unwrap();
    for part in ["restarting, attempt 1 of 2 in ", " s: ", "exited with", "3", "Cannot find module x"] {
        assert!(words.contains(part), "{words}");
    }
    assert!(server["last_failure"].as_str().unwrap().contains("Cannot find module x"), "{server}");
    assert_eq!(server["stderr"], json!(["Cannot find module x"]));

    let server = station.until_state("a", "failed");
    assert_eq!((&server["restarts"], &server["attempt"]), (&json!(2), &json!(2)), "{server}");
    let words = server["words"].as_str().unwrap();
    assert!(words.contains("given up after 2 restarts") && words.contains("muxloop start a"), "{words}");
    assert_eq!(server["next_attempt_in_ms"], Value::Null);
    // The lines of all three processes are there.
    assert_eq!(server["stderr"].as_array().unwrap().len(), 3, "{server}");
    let logs = station.ask("logs", json!({ "server": "a" }));
    let said: Vec<&Value> =
        logs["lines"].as_array().unwrap().iter().filter(|line| line.get("from").is_none()).collect();
    assert_eq!(said.len(), 3, "{logs}");
    assert!(logs.to_string().contains("given up"), "{logs}");
    assert_eq!(station.server("b")["state"], "ready");
}

#[test]
fn a_modern_server_says_its_era() {
    let station = Station::start("", &[Server::demo("a", &["--era", "modern"]).keys("era = \"modern\"")]);
    let server = station.until_state("a", "ready");
    assert_eq!((&server["era"], &server["protocol"]), (&json!("modern"), &json!("2026-07-28")), "{server}");
    assert_eq!(server["server_name"], "a", "{server}");
}

#[test]
fn heartbeats_are_reported() {
    let station = Station::demo(&[], "heartbeat_interval_ms = 100\nheartbeat_timeout_ms = 5000");
    let _client = station.mux.client();
    let report = station.until(|report| part(report, "a")["heartbeat_ms"].is_u64());
    assert_eq!(part(&report, "a")["heartbeat_misses"], 0);
}

#[test]
fn errors_name_what_there_is() {
    let station = Station::start("", &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let mut control = station.control();
    let answer = control.ask("restat", json!({}));
    let (code, text) = error(&answer);
    assert_eq!(code, -32601);
    for method in ["hello", "status", "watch", "start", "stop", "restart", "reload", "drain", "logs", "tap"] {
        assert!(text.contains(method), "{text}");
    }
    for method in ["start", "stop", "restart", "tap", "logs"] {
        let answer = control.ask(method, json!({ "server": "c" }));
        let (code, text) = error(&answer);
        assert_eq!(code, -32602, "{answer}");
        assert!(text.contains("'c'") && text.contains("a, b"), "{text}");
    }
    let answer = control.ask("watch", json!({ "interval_ms": 1 }));
    assert!(error(&answer).1.contains("interval_ms"), "{answer}");
    let answer = control.ask("stop", json!({ "sever": "a" }));
    assert_eq!(error(&answer).0, -32602, "{answer}");
    control.send_line("{\"id\":");
    assert_eq!(error(&control.answer(&Value::Null)).0, -32700);
    control.send_line("{\"id\":7}");
    assert_eq!(error(&control.answer(&Value::Null)).0, -32600);
    // Answers come in the order of the questions, under ids as they were written.
    control.send_line("{\"id\":\"x\",\"method\":\"hello\"}\n{\"id\":1e2,\"method\":\"hello\"}");
    assert!(control.line().unwrap().contains("\"id\":\"x\""));
    assert!(control.line().unwrap().contains("\"id\":1e2"));
    assert_eq!(result(control.ask("hello", Value::Null))["control"], 1);
}
