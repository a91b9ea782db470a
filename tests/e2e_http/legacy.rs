//! Streamable HTTP of 2025-03-26 to 2025-11-25: what each request is answered with (protocol.md §3.2).

use crate::support::station::PLAIN;
use crate::support::{
    Ask, Http, PATIENCE, Reply, Server, Session, Station, call, code, holds_within, initialize, reason, rpc,
    structured, text,
};
use muxloop::reactor::sys::signal_process;
use serde_json::{Value, json};

const PATH: &str = "/servers/a/mcp";

/// Status and code of a refusal, which must be JSON and say why.
fn refused(reply: &Reply) -> (u16, i64) {
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{body}");
    (reply.status(), code(&body))
}

#[test]
fn every_version_of_the_handshake_gets_a_session() {
    let station = Station::demo(&[], "");
    for version in ["2025-03-26", "2025-06-18", "2025-11-25", "2024-11-05"] {
        let session = Session::of(&station, "a", version, json!({}));
        assert_eq!(text(&session.call("echo", json!({ "text": version }))), version);
    }
    // An unknown one gets the latest (P06).
    let reply = station.ask(&Ask::post(PATH, &initialize("1999-01-01", json!({})))).expect(200);
    assert_eq!(reply.message()["result"]["protocolVersion"], "2025-11-25");
    let id = reply.header("mcp-session-id");
    assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_graphic()), "P30: {id}");
    let other = station.ask(&Ask::post(PATH, &initialize("2025-11-25", json!({})))).expect(200);
    assert_ne!(other.header("mcp-session-id"), id);
    // All of them together had one process and one handshake (P05).
    assert_eq!(station.mux.methods("a").iter().filter(|method| *method == "initialize").count(), 1);
}

#[test]
fn notifications_and_answers_are_accepted_with_an_empty_body() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let cancelled =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 77 } });
    let unasked = json!({ "jsonrpc": "2.0", "id": 5, "result": {} });
    let failed = json!({ "jsonrpc": "2.0", "id": 5, "error": { "code": 1, "message": "no" } });
    for message in [cancelled, unasked, failed] {
        let reply = session.post(&message).expect(202);
        assert_eq!(reply.body, b"", "P25");
    }
    // None of that concerned the server.
    assert_eq!(structured(&session.call("whoami", json!({})))["violations"], json!([]));
}

#[test]
fn ids_come_back_as_they_were() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    for id in [json!(1), json!("1"), json!(0), json!(-7), json!("ü\"\\"), json!(9_007_199_254_740_993u64)] {
        let answer = session.post(&call(id.clone(), "echo", json!({ "text": "x" }))).expect(200).json();
        assert_eq!(answer["id"], id);
    }
    // Byte for byte, and with line ends in the body.
    let body = "{\r\n \"jsonrpc\":\"2.0\",\n\"id\":1.50e1,\"method\":\"ping\"\n}";
    let reply = station.ask(&session.dress(Ask::post_text(PATH, body))).expect(200);
    assert!(reply.text().contains("\"id\":1.50e1"), "{}", reply.text());
}

#[test]
fn sessions_that_are_missing_unknown_or_deleted_are_refused() {
    let station =
        Station::start(crate::support::station::PLAIN, &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let session = Session::open(&station);
    let ping = rpc(1, "ping", json!({}));
    let get = Ask::get(PATH).header("Accept", "text/event-stream");
    let delete = Ask::new("DELETE", PATH);
    for ask in [Ask::post(PATH, &ping), get.clone(), delete.clone()] {
        assert_eq!(refused(&station.ask(&ask)), (400, -32600), "P29: no session");
        for id in ["nobody", &"0".repeat(32), &session.id.to_uppercase(), &session.id[1..]] {
            let reply = station.ask(&ask.clone().header("Mcp-Session-Id", id));
            assert_eq!(refused(&reply).0, 404, "P29: {id}");
        }
        // It is a session of that server only.
        let mut other = Session::open(&station);
        other.path = "/servers/b/mcp".into();
        assert_eq!(other.post(&ping).status(), 404);
        assert_eq!(other.delete().status(), 404);
        assert_eq!(station.ask(&other.get()).status(), 404);
    }
    // The id of the request is echoed, so that the client knows whose error that is.
    let reply = station.ask(&Ask::post(PATH, &rpc("q", "ping", json!({}))));
    assert_eq!(reply.json()["id"], "q");
    session.post(&ping).expect(200);
    session.delete().expect(200);
    for reply in [session.post(&ping), session.delete(), station.ask(&session.get())] {
        assert_eq!(refused(&reply).0, 404, "P29: deleted");
    }
    // `initialize` within a session that is gone is no new one.
    let again = session.post(&initialize("2025-11-25", json!({})));
    assert_eq!(again.status(), 404);
}

#[test]
fn a_second_initialize_and_requests_before_the_first_answer_are_errors() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let again = session.post(&initialize("2025-11-25", json!({})));
    assert_eq!(code(&again.message()), -32600);
    // The session goes on.
    assert_eq!(text(&session.call("echo", json!({ "text": "on" }))), "on");
}

#[test]
fn the_version_header_must_be_a_version() {
    let station = Station::demo(&[], "");
    let mut session = Session::open(&station);
    for wrong in ["1999-01-01", "latest", "2025-11-26", "2026-07-28", "2025-11-25, 2025-06-18"] {
        session.version = wrong.into();
        let status = session.post(&rpc(1, "ping", json!({}))).status();
        assert_eq!(status, 400, "P31: {wrong}");
        assert_eq!(station.ask(&session.get()).status(), 400, "{wrong}");
    }
    // None is as good as the one that was agreed on.
    session.version = String::new();
    session.post(&rpc(1, "ping", json!({}))).expect(200);
}

#[test]
fn media_types_are_checked() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let ping = session.asks(&rpc(1, "ping", json!({})));
    for (accept, status) in [
        ("application/json, text/event-stream", 200),
        ("*/*", 200),
        ("", 200),
        ("application/*, text/*;q=0.1", 200),
        ("TEXT/EVENT-STREAM , Application/JSON; charset=utf-8", 200),
        ("application/json", 406),
        ("text/event-stream", 406),
        ("text/html", 406),
        ("application/json, text/event-stream;q=0", 406),
    ] {
        let reply = station.ask(&ping.clone().header("Accept", accept));
        assert_eq!(reply.status(), status, "P32: {accept}");
    }
    // Two lines are one list.
    let two = ping.clone().header("Accept", "application/json").another("Accept", "text/event-stream");
    station.ask(&two).expect(200);
    for (kind, status) in [
        ("application/json; charset=utf-8", 200),
        ("Application/Json", 200),
        ("text/plain", 415),
        ("application/json-rpc", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ] {
        let reply = station.ask(&ping.clone().header("Content-Type", kind));
        assert_eq!(reply.status(), status, "P32: {kind}");
    }
    for accept in ["", "application/json", "text/html"] {
        assert_eq!(station.ask(&session.get().header("Accept", accept)).status(), 406, "GET: {accept}");
    }
}

#[test]
fn bodies_that_are_no_message_are_refused() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    for (body, expected) in [
        ("", -32700),
        ("{", -32700),
        ("nonsense", -32700),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} {}", -32700),
        ("\"text\"", -32600),
        ("{}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
    ] {
        let reply = station.ask(&session.dress(Ask::post_text(PATH, body)));
        assert_eq!(refused(&reply), (400, expected), "P32: {body}");
    }
    let deep = format!("{}1{}", "[".repeat(2_000), "]".repeat(2_000));
    assert_eq!(station.ask(&session.dress(Ask::post_text(PATH, &deep))).status(), 400);
    // The session is none the worse for it.
    assert_eq!(text(&session.call("echo", json!({ "text": "on" }))), "on");
}

#[test]
fn arrays_are_for_the_one_version_that_has_them() {
    let station = Station::demo(&[], "");
    let old = Session::of(&station, "a", "2025-03-26", json!({}));
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
    let batch = json!([rpc(1, "ping", json!({})), note, call("1", "echo", json!({ "text": "x" }))]);
    let reply = old.post(&batch).expect(200);
    let mut messages = reply.messages();
    if let [Value::Array(all)] = &messages[..] {
        messages = all.clone();
    }
    let find = |id: Value| messages.iter().find(|message| message["id"] == id).cloned().expect("an answer");
    assert_eq!(messages.len(), 2, "P33: {messages:?}");
    assert_eq!(find(json!(1))["result"], json!({}));
    assert_eq!(text(&find(json!("1"))), "x");
    assert_eq!(old.post(&json!([note, note])).expect(202).body, b"");
    let greeting = initialize("2025-03-26", json!({}));
    for wrong in [json!([]), json!([greeting]), json!([rpc(3, "ping", json!({})), greeting]), json!([1])] {
        assert_eq!(refused(&old.post(&wrong)), (400, -32600), "P33: {wrong}");
    }
    assert_eq!(refused(&station.ask(&Ask::post(PATH, &json!([greeting])))).0, 400);
    for version in ["2025-06-18", "2025-11-25"] {
        let session = Session::of(&station, "a", version, json!({}));
        assert_eq!(refused(&session.post(&batch)), (400, -32600), "P33: {version}");
    }
}

#[test]
fn other_methods_and_paths_are_refused_with_a_hint() {
    let station = Station::demo(&[], "");
    for method in ["PUT", "PATCH", "HEAD", "TRACE", "get"] {
        let reply = station.ask(&Ask::new(method, PATH));
        assert_eq!(reply.status(), 405, "{method}");
        assert_eq!(reply.header("allow"), "GET, POST, DELETE, OPTIONS");
    }
    let reply = station.ask(&Ask::new("POST", "/health"));
    assert_eq!((reply.status(), reply.header("allow")), (405, "GET, HEAD, OPTIONS"));
    for path in
        ["/", "/mcp/x", "/servers/a", "/servers/b/mcp", "/servers/a/mcp/x", "/sse/b", "/%2e%2e/servers"]
    {
        let reply = station.ask(&Ask::get(path));
        assert_eq!(reply.status(), 404, "{path}");
        assert!(reply.text().contains("/servers/a/mcp"), "{}", reply.text());
    }
    assert_eq!(station.ask(&Ask::get("/servers/%61/mcp/?x=1")).status(), 406, "the same path");
}

#[test]
fn health_and_readiness_are_told() {
    let station = Station::demo(&[], "");
    for (path, text) in [("/health", "healthy"), ("/ready", "ready")] {
        let reply = station.ask(&Ask::get(path)).expect(200);
        assert_eq!(reply.json(), json!({ "status": text }));
        let reply = station.ask(&Ask::new("HEAD", path)).expect(200);
        assert_eq!(
            (reply.header("content-length").parse::<usize>().unwrap() > 5, reply.body.len()),
            (true, 0)
        );
    }
}

#[test]
fn too_many_sessions_are_refused_until_one_ends() {
    let head = "http = \"127.0.0.1:0\"\n[session]\nmax_sessions = 2";
    let station = Station::start(head, &[Server::demo("a", &[])]);
    let (one, two) = (Session::open(&station), Session::open(&station));
    let _streams = [one.listen(), two.listen()];
    let hello = Ask::post(PATH, &initialize("2025-11-25", json!({})));
    let refusal = station.ask(&hello).expect(503);
    assert!(refusal.text().contains("session.max_sessions"), "{}", refusal.text());
    assert!(!refusal.header("retry-after").is_empty());
    assert_eq!(station.ask(&Ask::get("/sse/a").header("Accept", "text/event-stream")).status(), 503);
    one.delete().expect(200);
    station.ask(&hello).expect(200);
}

/// Clients of most SDKs leave without DELETE.
#[test]
fn sessions_that_were_left_make_room_for_new_ones() {
    let keys = "share = \"session\"\nmax_active_clients = 3";
    let station = Station::start(PLAIN, &[Server::demo("a", &[]).keys(keys)]);
    let pid = |session: &Session| structured(&session.call("whoami", json!({})))["pid"].as_u64().unwrap();
    let kept = Session::open(&station);
    let mut stream = kept.listen();
    let first = Session::open(&station);
    let process = pid(&first);
    for _ in 0..12 {
        let session = Session::open(&station);
        assert_eq!(text(&session.call("echo", json!({ "text": "here" }))), "here");
    }
    // What has made room is as one that has expired; its process is gone, and its client comes again.
    assert_eq!(first.post(&rpc(1, "ping", json!({}))).status(), 404);
    assert!(holds_within(PATIENCE, || signal_process(process as i32, 0).is_err()), "its process ended");
    let again = Session::open(&station);
    assert_ne!(pid(&again), process);
    kept.call("add_tool", json!({}));
    assert_eq!(stream.message()["method"], "notifications/tools/list_changed");
    let metrics = station.ask(&Ask::get("/metrics")).expect(200).text();
    assert!(metrics.contains("\nmuxloop_http_sessions 3\n"), "{metrics}");
    assert!(metrics.contains("\nmuxloop_http_evicted_sessions_total 12\n"), "{metrics}");
    assert!(metrics.contains("muxloop_clients{server=\"a\"} 3"), "{metrics}");
}

#[test]
fn a_session_that_nobody_uses_ends() {
    let head = "http = \"127.0.0.1:0\"\n[session]\ntimeout = 1";
    let station = Station::start(head, &[Server::demo("a", &[])]);
    let (idle, read) = (Session::open(&station), Session::open(&station));
    let _stream = read.listen();
    // One that is listened to lives on, and so does one that waits for an answer.
    let busy = Session::open(&station);
    let mut http = busy.connect();
    http.send(&busy.asks(&call(1, "sleep", json!({ "ms": 2_500 }))));
    station.mux.wait_log("a session ended");
    assert_eq!(idle.post(&rpc(1, "ping", json!({}))).status(), 404);
    assert_eq!(text(&http.reply().message()), "slept 2500 ms");
    assert_eq!(read.post(&rpc(1, "ping", json!({}))).status(), 200);
    station.mux.assert_logged(1, "a session ended");
}

#[test]
fn a_handshake_that_fails_leaves_no_session() {
    let head = "http = \"127.0.0.1:0\"\n[session]\nmax_sessions = 1";
    let dead = Server::demo("a", &["--die-at-start", "3"]).keys("max_restarts = 1\nrestart_backoff_ms = 1");
    let station = Station::start(head, &[dead]);
    for _ in 0..3 {
        let reply = station.ask(&Ask::post(PATH, &initialize("2025-11-25", json!({}))));
        assert!(!reason(&reply.message()).is_empty());
        assert_eq!(reply.header("mcp-session-id"), "", "{reply:?}");
    }
}

#[test]
fn equal_ids_of_many_sessions_get_their_own_answers() {
    let station = Station::start(
        "http = \"127.0.0.1:0\"\n[session]\nmax_sessions = 100",
        &[Server::demo("a", &[]).keys("max_active_clients = 100")],
    );
    let sessions: Vec<Session> = (0..50).map(|_| Session::open(&station)).collect();
    for round in 0..4 {
        let mut open: Vec<(usize, Http)> = Vec::new();
        for (n, session) in sessions.iter().enumerate() {
            let mut http = session.connect();
            http.send(&session.asks(&call(1, "echo", json!({ "text": format!("{round}-{n}") }))));
            open.push((n, http));
        }
        for (n, mut http) in open.into_iter().rev() {
            let answer = http.reply().expect(200).message();
            assert_eq!(answer["id"], 1);
            assert_eq!(text(&answer), format!("{round}-{n}"));
        }
    }
}
