//! `rate_limit` (row G09) by every way to a server.

use crate::support::station::PLAIN;
use crate::support::{Ask, Reply, Server, Session, Station, call, modern, reason, text};
use crate::websocket::WebSocket;
use serde_json::{Value, json};
use std::process::Command;

/// One request, and then none for an hour; the wait that is told is the rest of that hour.
const ONE: &str = "rate_limit = { client = \"1/h\" }";
const HOUR_MS: u64 = 3_600_000;

fn limited(station_keys: &str) -> Station {
    Station::start(PLAIN, &[Server::demo("a", &[]).keys(station_keys)])
}

/// How long to wait as the error says; at most an hour, and not much less.
fn wait_ms(answer: &Value) -> u64 {
    assert_eq!(reason(answer), "rate_limited", "{answer}");
    let wait = answer["error"]["data"]["muxloop"]["retryInMs"].as_u64().expect("a number");
    assert!((HOUR_MS - 120_000..=HOUR_MS).contains(&wait), "{wait}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("'a'")), "{answer}");
    wait
}

/// A refusal by HTTP says the same twice.
fn refused(reply: &Reply, id: Value) {
    assert_eq!(reply.status(), 429, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    let answer = reply.json();
    assert_eq!(answer["id"], id);
    let seconds: u64 = reply.header("retry-after").parse().expect("whole seconds");
    assert_eq!(seconds, wait_ms(&answer).div_ceil(1_000));
}

fn echo() -> Value {
    call("e", "echo", json!({ "text": "x" }))
}

#[test]
fn sessions_are_refused_with_429_one_by_one() {
    let station = limited(ONE);
    let (one, two) = (Session::open(&station), Session::open(&station));
    assert_eq!(text(&one.post(&echo()).expect(200).message()), "x");
    for _ in 0..3 {
        refused(&one.post(&echo()), json!("e"));
    }
    // Another client is untouched, until it has had its share.
    assert_eq!(text(&two.post(&echo()).expect(200).message()), "x");
    refused(&two.post(&echo()), json!("e"));
    // Nothing of that came to the server.
    let calls = station.mux.methods("a").iter().filter(|method| *method == "tools/call").count();
    assert_eq!(calls, 2);
    // What muxloop answers itself is not counted, and notifications are taken.
    assert_eq!(one.request(2, "ping", json!({}))["result"], json!({}));
    one.post(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } }))
        .expect(202);
    // A new session is a new client.
    assert_eq!(text(&Session::open(&station).post(&echo()).expect(200).message()), "x");
}

/// Without a session, a client is a connection.
#[test]
fn requests_without_a_session_are_refused_with_429() {
    let station = limited("rate_limit = { client = \"1/h\", server = \"3/h\" }");
    let ask = |id: &str| {
        modern("/servers/a/mcp", id, "tools/call", json!({ "name": "echo", "arguments": { "text": "x" } }))
    };
    let mut http = station.connect();
    assert_eq!(text(&http.ask(&ask("1")).expect(200).message()), "x");
    refused(&http.ask(&ask("2")), json!("2"));
    // The connection goes on, and another is untouched.
    http.ask(&Ask::get("/health")).expect(200);
    for id in ["3", "4"] {
        assert_eq!(text(&station.ask(&ask(id)).expect(200).message()), "x");
    }
    // The limit of the server counts all of them.
    let reply = station.ask(&ask("5")).expect(429);
    let answer = reply.json();
    assert_eq!((&answer["id"], reason(&answer)), (&json!("5"), "rate_limited"));
    let wait = answer["error"]["data"]["muxloop"]["retryInMs"].as_u64().unwrap();
    assert!((HOUR_MS / 3 - 120_000..=HOUR_MS / 3).contains(&wait), "{wait}");
    assert_eq!(reply.header("retry-after"), wait.div_ceil(1_000).to_string());
}

#[test]
fn sockets_are_told_when_to_come_again() {
    let station = limited(ONE);
    let (mut unix, mut web) = (station.mux.client(), WebSocket::client(&station));
    assert_eq!(text(&unix.call("echo", json!({ "text": "x" }))), "x");
    wait_ms(&unix.call("echo", json!({ "text": "x" })));
    assert_eq!(text(&web.call("echo", json!({ "text": "x" }))), "x");
    wait_ms(&web.call("echo", json!({ "text": "x" })));
    // What muxloop answers itself is free.
    assert_eq!(unix.ask("ping", json!({}))["result"], json!({}));
    let mut fresh = station.mux.client();
    assert_eq!(text(&fresh.call("echo", json!({ "text": "x" }))), "x");
}

#[test]
fn a_limit_of_the_server_is_for_all_clients_together() {
    for algorithm in ["bucket", "window"] {
        let station = limited(&format!("rate_limit = {{ server = \"2/h\", algorithm = \"{algorithm}\" }}"));
        let (one, mut two) = (Session::open(&station), station.mux.client());
        assert_eq!(text(&one.post(&echo()).expect(200).message()), "x");
        assert_eq!(text(&two.call("echo", json!({ "text": "x" }))), "x");
        one.post(&echo()).expect(429);
        assert_eq!(reason(&two.call("echo", json!({ "text": "x" }))), "rate_limited", "{algorithm}");
    }
}

/// Whoever waits as long as it was told is served.
#[test]
fn the_wait_that_is_told_is_enough() {
    let other = limited("");
    let mut clock = other.mux.client();
    for keys in ["client = \"4/s\", burst = 1", "client = \"2/s\", algorithm = \"window\""] {
        let station = limited(&format!("rate_limit = {{ {keys} }}"));
        let mut client = station.mux.client();
        let mut refusals = 0;
        for _ in 0..200 {
            let answer = client.call("echo", json!({ "text": "x" }));
            if answer.get("error").is_none() {
                continue;
            }
            refusals += 1;
            assert_eq!(reason(&answer), "rate_limited");
            let wait = answer["error"]["data"]["muxloop"]["retryInMs"].as_u64().unwrap();
            assert!((1..=1_500).contains(&wait), "{wait}");
            // Time itself is what is waited for; the demo server of another station tells it.
            assert!(clock.call("sleep", json!({ "ms": wait + 1 }))["error"].is_null());
            let answer = client.call("echo", json!({ "text": "x" }));
            assert_eq!(answer.get("error"), None, "{keys}: {wait} ms were not enough");
            if refusals == 3 {
                break;
            }
        }
        assert_eq!(refusals, 3);
    }
}

#[test]
fn a_reload_changes_the_limit() {
    let station = limited("");
    let session = Session::open(&station);
    for _ in 0..5 {
        session.post(&echo()).expect(200);
    }
    station.write(PLAIN, &[Server::demo("a", &[]).keys("rate_limit = { server = \"1/h\" }")]);
    station.control("reload", json!({}));
    // The limit counts from now on.
    let session = Session::open(&station);
    session.post(&echo()).expect(200);
    session.post(&echo()).expect(429);
    station.write(PLAIN, &[Server::demo("a", &[])]);
    station.control("reload", json!({}));
    Session::open(&station).post(&echo()).expect(200);
}

#[test]
fn values_that_make_no_sense_are_told_with_their_place() {
    let dir = crate::support::base::mux::Scratch::new();
    for (value, words) in [
        ("{ client = \"10\" }", "rate_limit.client"),
        ("{ client = \"0/s\" }", "rate_limit.client"),
        ("{ client = \"10/d\" }", "rate_limit.client"),
        ("{ client = \"-1/s\" }", "rate_limit.client"),
        ("{ client = 10 }", "rate_limit.client"),
        ("{ server = \"1.5/s\" }", "rate_limit.server"),
        ("{ algorithm = \"leaky\" }", "rate_limit.algorithm"),
        ("{ client = \"1/s\", burst = 0 }", "rate_limit.burst"),
        ("{ clients = \"1/s\" }", "rate_limit.clients"),
        ("\"10/s\"", "rate_limit"),
    ] {
        let text = format!(
            "[servers.a]\nsocket = \"{}/a.sock\"\ncmd = \"cat\"\nrate_limit = {value}\n",
            dir.0.display()
        );
        std::fs::write(dir.0.join("mux.toml"), text).unwrap();
        let mut command: Command = crate::support::base::mux::command(&dir.0);
        let output =
            command.args(["check", "-c", "mux.toml"]).stdout(std::process::Stdio::piped()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{value}: {said}");
        assert!(said.contains("mux.toml:4:") && said.contains(words), "{value}: {said}");
    }
}
