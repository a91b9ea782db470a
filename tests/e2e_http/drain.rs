//! A drain, the end of muxloop and a server that is taken out, while clients of every kind wait: each gets its
//! result or is told why not, streams end as they should, and whoever comes is sent elsewhere.

use crate::support::station::PLAIN;
use crate::support::{
    Ask, Http, PATIENCE, Server, Session, Station, answer, call, call_with_progress, descendants,
    holds_within, initialize, modern, reason, rpc, text,
};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::time::Instant;

const NEW: &str = "/servers/b/mcp";

/// Longer than any test.
const LONG_MS: u64 = 600_000;

/// Clients of every kind, each with a call of `ms`.
struct Everybody {
    /// Waits for JSON.
    plain: Http,
    /// A POST that has become a stream, and the session's own one.
    stream: Http,
    own: Http,
    /// A session that waits for nothing, but listens.
    idle: Http,
    idle_session: Session,
    /// HTTP+SSE.
    events: Http,
    /// 2026-07-28, as JSON and as a stream, and a listen.
    single: Http,
    single_stream: Http,
    listen: Http,
    /// A connection between two requests.
    kept: Http,
}

impl Everybody {
    fn of(station: &Station, ms: u64) -> Everybody {
        let sleep = json!({ "ms": ms });
        let steps = json!({ "ms": ms, "steps": ms / 10 });
        let session = Session::open(station);
        let mut plain = session.connect();
        plain.send(&session.asks(&call(1, "sleep", sleep.clone())));
        let mut stream = session.start(&call_with_progress(2, "sleep", steps.clone(), "t"));
        stream.message();
        let own = session.listen();
        let idle_session = Session::open(station);
        let idle = idle_session.listen();
        let mut events = station.connect();
        events.start(&Ask::get("/sse/a").header("Accept", "text/event-stream"));
        let endpoint = String::from_utf8(events.event().unwrap().data).unwrap();
        station.ask(&Ask::post(&endpoint, &initialize("2024-11-05", json!({})))).expect(202);
        events.message();
        station.ask(&Ask::post(&endpoint, &call(3, "sleep", sleep.clone()))).expect(202);
        let mut single = station.connect();
        let params = json!({ "name": "sleep", "arguments": sleep });
        single.send(&modern(NEW, 4, "tools/call", params));
        let mut single_stream = station.connect();
        let params = json!({ "name": "sleep", "arguments": steps, "_meta": { "progressToken": 1 } });
        single_stream.start(&modern(NEW, 5, "tools/call", params));
        single_stream.message();
        let mut listen = station.connect();
        let params = json!({ "notifications": { "toolsListChanged": true } });
        listen.start(&modern(NEW, 6, "subscriptions/listen", params));
        listen.message();
        let mut kept = station.connect();
        kept.ask(&Ask::get("/ready")).expect(200);
        station.until(|report| {
            let pending = |n: usize| report["servers"][n]["pending"].as_u64().unwrap();
            pending(0) == 3 && pending(1) >= 2
        });
        Everybody { plain, stream, own, idle, idle_session, events, single, single_stream, listen, kept }
    }

    /// Everybody who waits gets an answer for which `wanted` holds, and then the end of the stream.
    fn assert_answered(&mut self, wanted: impl Fn(&Value) -> bool) {
        for (id, http) in [(1, &mut self.plain), (4, &mut self.single)] {
            let reply = http.reply();
            let message = reply.message();
            assert!(message["id"] == id && wanted(&message), "{message}");
            assert!(!reply.head.keep_alive, "{reply:?}");
        }
        for (id, http) in [(2, &mut self.stream), (3, &mut self.events), (5, &mut self.single_stream)] {
            let last = http.rest().pop().expect("an answer on the stream");
            assert!(last["id"] == id && wanted(&last), "{last}");
        }
        assert_eq!(self.own.rest(), [] as [Value; 0]);
    }

    fn assert_closed(self) {
        let Everybody { plain, stream, own, idle, events, single, single_stream, listen, kept, .. } = self;
        for mut http in [plain, stream, own, idle, events, single, single_stream, listen, kept] {
            http.assert_ends();
        }
    }
}

fn station() -> Station {
    let many = "max_active_clients = 50";
    Station::start(
        PLAIN,
        &[Server::demo("a", &[]).keys(many), Server::demo("b", &["--era", "both"]).keys(many)],
    )
}

#[test]
fn a_drain_finishes_what_was_asked_and_takes_nobody() {
    let mut station = station();
    let mut everybody = Everybody::of(&station, 2_000);
    station.control("drain", json!({ "timeout_ms": LONG_MS }));
    // Who waits for nothing is let go at once, and knows it from the answers.
    assert_eq!(everybody.idle.rest(), [] as [Value; 0]);
    let ended = everybody.listen.rest();
    assert_eq!((ended.len(), &ended[0]["result"]["resultType"]), (1, &json!("complete")), "{ended:?}");
    everybody.idle_session.post(&rpc(1, "ping", json!({}))).expect(404);
    // New connections are told where muxloop stands.
    let hello = Ask::post("/servers/a/mcp", &initialize("2025-11-25", json!({})));
    let stream = Ask::get("/sse/a").header("Accept", "text/event-stream");
    for ask in [&hello, &stream, &modern(NEW, 9, "tools/list", json!({}))] {
        let refusal = station.ask(ask).expect(503);
        assert!(!refusal.header("retry-after").is_empty() && !refusal.head.keep_alive, "{refusal:?}");
        assert!(refusal.text().contains("stopping"), "{}", refusal.text());
    }
    station.ask(&Ask::get("/health")).expect(200);
    let ready = everybody.kept.ask(&Ask::get("/ready")).expect(503);
    assert!(!ready.head.keep_alive, "{ready:?}");
    everybody.assert_answered(|message| text(message) == "slept 2000 ms");
    let answered = Instant::now();
    everybody.assert_closed();
    assert!(station.mux.ended().success());
    assert!(answered.elapsed().as_secs() < 4, "it waited for something else");
}

#[test]
fn a_drain_that_takes_too_long_tells_everybody() {
    let mut station = station();
    let mut everybody = Everybody::of(&station, LONG_MS);
    station.control("drain", json!({ "timeout_ms": 500 }));
    everybody.assert_answered(|message| reason(message) == "stopped");
    assert_eq!(everybody.idle.rest(), [] as [Value; 0]);
    everybody.listen.rest();
    everybody.assert_closed();
    assert!(station.mux.ended().success());
}

#[test]
fn a_stop_tells_everybody_at_once() {
    let mut station = station();
    let mut everybody = Everybody::of(&station, LONG_MS);
    let mut half = station.connect();
    half.expect_answer(false);
    half.send_bytes(b"GET /health HTTP/1.1\r\nHo");
    // It is there once it has been read, which the answer to a later one shows.
    everybody.kept.ask(&Ask::get("/health")).expect(200);
    station.mux.signal(libc::SIGTERM);
    everybody.assert_answered(|message| reason(message) == "stopped");
    let refusal = half.reply().expect(503);
    assert!(!refusal.header("retry-after").is_empty(), "{refusal:?}");
    assert_eq!(everybody.idle.rest(), [] as [Value; 0]);
    everybody.listen.rest();
    everybody.assert_closed();
    assert!(station.mux.ended().success());
}

#[test]
fn nobody_can_connect_while_the_last_servers_end() {
    let mut station = Station::demo(&["--ignore-term"], "");
    Session::open(&station).call("echo", json!({ "text": "x" }));
    let unread = {
        // Who does not read its end does not keep muxloop.
        let session = Session::open(&station);
        session.listen()
    };
    station.mux.signal(libc::SIGTERM);
    assert!(holds_within(PATIENCE, || TcpStream::connect(station.address).is_err()));
    assert!(!descendants(station.mux.pid).is_empty(), "its server takes longer");
    station.mux.ended();
    drop(unread);
}

#[test]
fn a_server_that_is_taken_out_serves_whom_it_has() {
    let kept = || Server::demo("a", &[]);
    let asks = Server::demo("b", &[]).keys("interactive = \"serialize\"");
    let station = Station::start(PLAIN, &[kept(), asks]);
    let everything = json!({ "elicitation": {} });
    let session = Session::of(&station, "b", "2025-11-25", everything);
    let idle = Session::of(&station, "b", "2025-11-25", json!({}));
    let mut own = idle.listen();
    let mut http = session.start(&call(1, "ask", json!({ "question": "who?" })));
    let question = http.until(|message| message["method"] == "elicitation/create");
    station.write(PLAIN, &[kept()]);
    station.control("reload", json!({}));
    assert_eq!(own.rest(), [] as [Value; 0]);
    let hello = Ask::post("/servers/b/mcp", &initialize("2025-11-25", json!({})));
    station.ask(&hello).expect(404);
    // Its question can still be answered.
    let result = json!({ "action": "accept", "content": { "answer": "me" } });
    session.post(&answer(&question, result)).expect(202);
    let last = http.rest().pop().expect("an answer");
    assert!(last["id"] == 1 && last["result"].is_object(), "{last}");
    assert!(holds_within(PATIENCE, || session.post(&rpc(2, "ping", json!({}))).status() == 404));
    Session::open(&station).call("echo", json!({ "text": "x" }));
}
