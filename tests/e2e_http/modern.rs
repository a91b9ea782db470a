//! Streamable HTTP of 2026-07-28 (protocol.md §3.3): each POST for itself.

use crate::support::{Ask, Http, Reply, Server, Session, Station, code, modern, rpc, station::PLAIN, text};
use muxloop::reactor::sys::signal_process;
use serde_json::{Value, json};

const PATH: &str = "/servers/a/mcp";

fn station() -> Station {
    Station::demo(&["--era", "both"], "")
}

fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Ask {
    modern(PATH, id, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

fn with_progress(id: impl Into<Value>, arguments: Value, token: &str) -> Ask {
    let params = json!({ "name": "sleep", "arguments": arguments, "_meta": { "progressToken": token } });
    modern(PATH, id, "tools/call", params)
}

fn listen(id: impl Into<Value>, notifications: Value) -> Ask {
    modern(PATH, id, "subscriptions/listen", json!({ "notifications": notifications }))
}

/// Status and code of a refusal.
fn refused(reply: &Reply) -> (u16, i64) {
    (reply.status(), code(&reply.json()))
}

fn subscription(message: &Value) -> &Value {
    match message.get("method") {
        Some(_) => &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        None => &message["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
    }
}

#[test]
fn requests_are_answered_without_a_session() {
    let station = station();
    for id in [json!(1), json!("1"), json!(-5)] {
        let reply = station.ask(&call(id.clone(), "echo", json!({ "text": "hello" }))).expect(200);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("mcp-session-id"), "", "P42");
        assert_eq!(reply.json()["id"], id);
        assert_eq!(text(&reply.json()), "hello");
        assert_eq!(reply.json()["result"]["resultType"], "complete", "P44");
    }
    // A session id means nothing, not even a wrong one; nor does a place to resume at.
    let foreign = call(2, "echo", json!({ "text": "x" })).header("Mcp-Session-Id", "nobody");
    let reply = station.ask(&foreign.header("Last-Event-ID", "1-1")).expect(200);
    assert_eq!((reply.header("mcp-session-id"), text(&reply.json())), ("", "x"));
}

#[test]
fn discovery_and_lists_carry_what_they_must() {
    let station = station();
    let discovered = station.ask(&modern(PATH, 1, "server/discover", json!({}))).expect(200).json();
    let result = &discovered["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]), "P43: {discovered}");
    assert!(result["capabilities"]["tools"].is_object(), "P43: {discovered}");
    assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string(), "P43: {discovered}");
    let template = "resources/templates/list";
    for method in ["server/discover", "tools/list", "prompts/list", "resources/list", template] {
        let answer = station.ask(&modern(PATH, 2, method, json!({}))).expect(200).json();
        assert!(answer["result"]["ttlMs"].as_u64().is_some(), "P44: {method} {answer}");
        assert!(["public", "private"].contains(&answer["result"]["cacheScope"].as_str().unwrap()), "P44");
    }
}

#[test]
fn what_must_be_in_meta_is_missed() {
    let station = station();
    // Not even the version: then only the header says what this wants to be.
    let bare = Ask::post(PATH, &rpc("q", "tools/list", json!({})))
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/list");
    let reply = station.ask(&bare);
    assert_eq!(refused(&reply), (400, -32602), "P38");
    assert_eq!(reply.json()["id"], "q", "P41");
    let version = "io.modelcontextprotocol/protocolVersion";
    let only = rpc("q", "tools/list", json!({ "_meta": { version: "2026-07-28" } }));
    let dressed = |body: &Value| {
        Ask::post(PATH, body).header("MCP-Protocol-Version", "2026-07-28").header("Mcp-Method", "tools/list")
    };
    let reply = station.ask(&dressed(&only));
    assert_eq!((refused(&reply), &reply.json()["id"]), ((400, -32602), &json!("q")), "P38: no capabilities");
    let only = rpc(1, "tools/list", json!({ "_meta": { "io.modelcontextprotocol/clientCapabilities": {} } }));
    assert_eq!(refused(&station.ask(&dressed(&only))), (400, -32602), "P38: no version");
    // Nobody has to say who they are (`modern` does not).
    station.ask(&modern(PATH, 1, "tools/list", json!({}))).expect(200);
}

#[test]
fn unknown_versions_are_told_the_known_ones() {
    let station = station();
    for version in ["2027-01-01", "1999-01-01", "2025-11-25", "DRAFT"] {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let ask =
            modern(PATH, 3, "tools/list", json!({ "_meta": meta })).header("MCP-Protocol-Version", version);
        let reply = station.ask(&ask);
        assert_eq!(refused(&reply), (400, -32022), "P39: {version}");
        let data = reply.json()["error"]["data"].clone();
        assert_eq!(data, json!({ "supported": ["2026-07-28"], "requested": version }), "P39");
    }
}

#[test]
fn headers_must_say_what_the_body_says() {
    let station = station();
    let ask = || call(7, "echo", json!({ "text": "x" }));
    let cases = [
        ask().header("MCP-Protocol-Version", ""),
        ask().header("MCP-Protocol-Version", "2025-11-25"),
        ask().another("MCP-Protocol-Version", "2026-07-28"),
        ask().header("Mcp-Method", ""),
        ask().header("Mcp-Method", "tools/list"),
        ask().header("Mcp-Method", "Tools/Call"),
        ask().another("Mcp-Method", "tools/call"),
        ask().header("Mcp-Name", ""),
        ask().header("Mcp-Name", "Echo"),
        ask().another("Mcp-Name", "echo"),
        ask().header("Mcp-Name", "=?base64?ISEh"),
        ask().header("Mcp-Name", "=?base64?%%%?="),
        ask().header("Mcp-Name", "=?base64?/w==?="),
        ask().header("Mcp-Name", "=?BASE64?ZWNobw==?="),
    ];
    for (n, case) in cases.iter().enumerate() {
        let reply = station.ask(case);
        assert_eq!(refused(&reply), (400, -32020), "P40: case {n}");
        assert_eq!(reply.json()["id"], 7, "P41");
    }
    assert_eq!(station.mux.methods("a").iter().filter(|method| *method == "tools/call").count(), 0);
    for case in [
        ask().header("mcp-name", "echo").header("MCP-METHOD", "tools/call"),
        ask().header("Mcp-Name", "  echo "),
        ask().header("Mcp-Name", "=?base64?ZWNobw==?="),
        ask().header("Mcp-Param-Anything", "at all"),
    ] {
        station.ask(&case).expect(200);
    }
    // Names that a header cannot hold come in base64, and URIs count as names.
    let odd = modern(PATH, 8, "tools/call", json!({ "name": "e\u{e9}\n", "arguments": {} }));
    let reply = station.ask(&odd.header("Mcp-Name", "=?base64?ZcOpCg==?="));
    assert_eq!(code(&reply.json()), -32602, "it reached the server, which has no such tool");
    let read = modern(PATH, 9, "resources/read", json!({ "uri": "demo://counter" }));
    station.ask(&read).expect(200);
    assert_eq!(refused(&station.ask(&read.header("Mcp-Name", "demo://other"))), (400, -32020));
}

#[test]
fn methods_that_are_gone_or_unknown_are_not_found() {
    let station = station();
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "no/such/method",
    ] {
        let reply =
            station.ask(&modern(PATH, "id", method, json!({ "uri": "demo://counter", "level": "info" })));
        assert_eq!(refused(&reply), (404, -32601), "P41: {method} {}", reply.text());
        assert_eq!(reply.json()["id"], "id", "P41: {method}");
        assert_eq!(reply.header("mcp-session-id"), "", "P42: {method}");
    }
}

#[test]
fn only_single_requests_are_taken() {
    let station = station();
    let dressed = |body: &Value| Ask::post(PATH, body).header("MCP-Protocol-Version", "2026-07-28");
    // Notifications mean nothing and are accepted; a cancel by POST is none (protocol.md §3.3).
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(station.ask(&dressed(&cancel)).expect(202).body, b"", "P25");
    for body in [json!([rpc(1, "tools/list", json!({}))]), json!({ "jsonrpc": "2.0", "id": 1, "result": {} })]
    {
        assert_eq!(refused(&station.ask(&dressed(&body))), (400, -32600));
    }
    // There is nothing to GET or DELETE.
    let get =
        Ask::get(PATH).header("Accept", "text/event-stream").header("MCP-Protocol-Version", "2026-07-28");
    assert!(matches!(station.ask(&get).status(), 400 | 405));
    let delete = Ask::new("DELETE", PATH).header("MCP-Protocol-Version", "2026-07-28");
    assert!(matches!(station.ask(&delete).status(), 400 | 405));
}

#[test]
fn a_stream_has_no_ids_and_ends_with_the_answer() {
    let station = station();
    let mut http = station.connect();
    let head = http.start(&with_progress("x", json!({ "ms": 40, "steps": 4 }), "t"));
    assert!(head.is_stream());
    assert_eq!(head.header("mcp-session-id"), "", "P42");
    assert_eq!(head.header("x-accel-buffering"), "no");
    let mut steps = 0;
    while let Some(event) = http.event() {
        assert_eq!((event.id.as_ref(), event.retry), (None, None), "P42: {event:?}");
        let message: Value = serde_json::from_slice(&event.data).unwrap();
        if message["method"] == "notifications/progress" {
            assert_eq!(message["params"]["progressToken"], "t");
            steps += 1;
        } else {
            assert_eq!((&message["id"], text(&message), steps), (&json!("x"), "slept 40 ms", 4));
        }
    }
    http.ask(&call(2, "echo", json!({ "text": "same connection" }))).expect(200);
}

#[test]
fn equal_ids_and_tokens_of_many_requests_are_kept_apart() {
    let station = Station::demo(&["--era", "both"], "max_active_clients = 100");
    let mut open: Vec<Http> = (0..30)
        .map(|n| {
            let mut http = station.connect();
            http.send(&match n % 2 {
                0 => with_progress(1, json!({ "ms": 100 + n, "steps": 2 }), "t"),
                _ => call(1, "echo", json!({ "text": n.to_string() })),
            });
            http
        })
        .collect();
    for (n, http) in open.iter_mut().enumerate().rev() {
        let messages = http.reply().expect(200).messages();
        let said = if n % 2 == 0 { format!("slept {} ms", 100 + n) } else { n.to_string() };
        assert_eq!(text(messages.last().unwrap()), said);
        assert_eq!(messages.len(), if n % 2 == 0 { 3 } else { 1 }, "P08");
    }
}

#[test]
fn a_dropped_connection_cancels_its_request() {
    let station = station();
    let cancels =
        || station.mux.methods("a").iter().filter(|name| *name == "notifications/cancelled").count();
    // With a stream, and before anything was answered.
    let mut streaming = station.connect();
    streaming.start(&with_progress(1, json!({ "ms": 60_000, "steps": 60_000 }), "t"));
    streaming.message();
    let mut silent = station.connect();
    silent.send(&call(2, "sleep", json!({ "ms": 60_000 })));
    let started = || station.mux.methods("a").iter().filter(|name| *name == "tools/call").count();
    assert!(crate::support::holds_within(crate::support::PATIENCE, || started() == 2));
    assert_eq!(cancels(), 0);
    drop(streaming);
    drop(silent);
    station.until_alone(1);
    // Whatever muxloop told the server before is read before this is answered.
    station.ask(&call(3, "echo", json!({ "text": "fence" }))).expect(200);
    assert_eq!(cancels(), 2, "P11: {:?}", station.mux.methods("a"));
    let who = station.ask(&call(4, "whoami", json!({}))).expect(200).json();
    assert_eq!(crate::support::structured(&who)["violations"], json!([]));
}

/// P11: the end of a connection that comes along with its request is the end of that, too.
#[test]
fn a_connection_dropped_with_its_request_cancels_it() {
    let station = station();
    let mut dropped = station.connect();
    dropped.ask(&call(0, "echo", json!({ "text": "ready" }))).expect(200);
    let calls = || station.mux.methods("a").iter().filter(|name| *name == "tools/call").count();
    signal_process(station.mux.pid, libc::SIGSTOP).unwrap();
    // Both are there before either is read.
    dropped.send(&call(1, "sleep", json!({ "ms": 60_000 })));
    drop(dropped);
    signal_process(station.mux.pid, libc::SIGCONT).unwrap();
    let is_over =
        || calls() == 2 && station.mux.methods("a").iter().any(|name| name == "notifications/cancelled");
    // Not only once something is written there, after five seconds.
    let soon = std::time::Duration::from_secs(3);
    assert!(crate::support::holds_within(soon, is_over), "{:?}", station.mux.methods("a"));
    station.until_alone(1);
}

#[test]
fn a_listen_gets_what_it_asked_for_and_nothing_else() {
    let station = station();
    let mut lists = station.connect();
    assert!(lists.start(&listen(7, json!({ "toolsListChanged": true }))).is_stream());
    let mut counter = station.connect();
    counter.start(&listen("7", json!({ "resourceSubscriptions": ["demo://counter"] })));
    for (http, id) in [(&mut lists, json!(7)), (&mut counter, json!("7"))] {
        let first = http.message();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "P45");
        assert_eq!(subscription(&first), &id, "P45: its type, too");
    }
    for _ in 0..2 {
        station.ask(&call(1, "counter_add", json!({}))).expect(200);
        station.ask(&call(1, "add_tool", json!({}))).expect(200);
        let change = lists.message();
        assert_eq!(change["method"], "notifications/tools/list_changed", "P45");
        assert_eq!(subscription(&change), &json!(7));
        let update = counter.message();
        assert_eq!(update["method"], "notifications/resources/updated", "P45");
        assert_eq!(
            (subscription(&update), &update["params"]["uri"]),
            (&json!("7"), &json!("demo://counter"))
        );
    }
}

#[test]
fn a_listen_ends_with_its_connection() {
    let station = station();
    for _ in 0..3 {
        let mut http = station.connect();
        http.start(&listen(1, json!({ "toolsListChanged": true })));
        http.message();
        drop(http);
        station.until_alone(1);
    }
    station.ask(&call(1, "add_tool", json!({}))).expect(200);
}

#[test]
fn an_open_listen_is_completed_when_muxloop_stops() {
    let mut station = station();
    let mut http = station.connect();
    http.start(&listen("sub", json!({ "toolsListChanged": true })));
    http.message();
    station.mux.signal(libc::SIGTERM);
    let messages = http.rest();
    assert_eq!(messages.len(), 1, "P46: {messages:?}");
    assert_eq!((&messages[0]["id"], subscription(&messages[0])), (&json!("sub"), &json!("sub")), "P46");
    assert_eq!(messages[0]["result"]["resultType"], "complete", "P46");
    http.assert_ends();
    drop(http);
    assert!(station.mux.ended().success());
}

#[test]
fn log_messages_come_only_if_asked_for() {
    let station = station();
    let quiet = station.ask(&call(1, "log", json!({ "level": "error", "text": "x" }))).expect(200);
    assert_eq!(quiet.messages().len(), 1, "P47: {}", quiet.text());
    let meta = json!({ "io.modelcontextprotocol/logLevel": "warning" });
    for (level, count) in [("info", 1), ("error", 2)] {
        let arguments = json!({ "level": level, "text": "x" });
        let params = json!({ "name": "log", "arguments": arguments, "_meta": meta });
        let reply = station.ask(&modern(PATH, 2, "tools/call", params)).expect(200);
        assert_eq!(reply.messages().len(), count, "P47: {level} {}", reply.text());
    }
}

#[test]
fn both_eras_use_one_connection_and_one_path() {
    let station = Station::start(
        PLAIN,
        &[Server::demo("a", &["--era", "both"]), Server::demo("b", &["--era", "legacy"])],
    );
    // A modern request and a session of a legacy-only server, one after the other on one connection.
    let session = Session::of(&station, "b", "2025-11-25", json!({}));
    let mut http = station.connect();
    for n in 0..3 {
        let reply = http.ask(&call(n, "echo", json!({ "text": "new" }))).expect(200);
        assert_eq!(text(&reply.json()), "new");
        let reply =
            http.ask(&session.asks(&crate::support::call(n, "echo", json!({ "text": "old" })))).expect(200);
        assert_eq!(text(&reply.json()), "old");
        let ask = modern("/servers/b/mcp", n, "tools/list", json!({}));
        let reply = http.ask(&ask);
        assert!(reply.json()["id"] == n && reply.status() < 500, "{}", reply.text());
    }
}
