//! Clients that vanish, stall, flood or abandon what they opened: they harm themselves at most, and leave
//! nothing behind. And the end of muxloop while everybody is busy.

use crate::support::station::PLAIN;
use crate::support::{
    Ask, Http, PATIENCE, Server, Session, Station, Watched, call, call_with_progress, code, descendants,
    descriptors, figure, holds_within, initialize, modern, reason, rpc, text,
};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const PATH: &str = "/servers/a/mcp";

/// A station for so many sessions.
fn wide(sessions: usize, timeout: u64, options: &[&str]) -> Station {
    let head = format!("{PLAIN}\n[session]\nmax_sessions = {sessions}\ntimeout = {timeout}");
    let keys = format!("max_active_clients = {sessions}");
    Station::start(&head, &[Server::demo("a", options).keys(&keys)])
}

#[test]
fn a_client_that_vanishes_in_a_body_or_a_stream_leaves_nothing() {
    let station = wide(50, 1, &[]);
    station.ask(&Ask::get("/health")).expect(200);
    let before = descriptors(station.mux.pid);
    let sessions: Vec<Session> = (0..10).map(|_| Session::open(&station)).collect();
    for session in &sessions {
        let ask = session.asks(&call(1, "echo", json!({ "text": "x".repeat(1_000) }))).bytes();
        let mut http = session.connect();
        http.send_bytes(&ask[..ask.len() - 500]);
        let _stream = session.listen();
        let mut open = session.start(&call_with_progress(2, "sleep", json!({ "ms": 500, "steps": 50 }), "t"));
        open.message();
        let mut pending = session.connect();
        pending.send(&session.asks(&call(3, "echo", json!({ "text": "never read" }))));
    }
    // The sessions end when their calls have; then nothing is held for anybody.
    station.mux.wait_logs(10, "a session ended");
    station.until_clients("a", 0);
    assert!(holds_within(PATIENCE, || descriptors(station.mux.pid) <= before));
    let status = station.control("status", json!({}));
    assert_eq!(status["servers"][0]["pending"], 0, "{status}");
}

#[test]
fn a_client_that_reads_nothing_is_cut_and_harms_nobody() {
    let station = Station::demo(&["--era", "both"], "");
    let other = Session::open(&station);
    let session = Session::open(&station);
    // Many large answers, asked for in advance on one connection and never read.
    let big = session.asks(&call(1, "big", json!({ "bytes": 8 << 20 }))).bytes();
    let mut stalled = TcpStream::connect(station.address).unwrap();
    for _ in 0..16 {
        stalled.write_all(&big).unwrap();
    }
    let mut worst = 0;
    for n in 0..200 {
        assert_eq!(text(&other.call("echo", json!({ "text": n.to_string() }))), n.to_string(), "P58");
        worst = worst.max(figure(station.mux.pid, "VmRSS"));
    }
    let gone = holds_within(PATIENCE, || {
        worst = worst.max(figure(station.mux.pid, "VmRSS"));
        station.mux.logged("was closed: it") > 0 || station.mux.logged("does not read") > 0
    });
    assert!(gone, "it is cut");
    assert!(worst < 300 << 10, "at most {worst} KiB of memory");
    // Its session is not lost with the connection.
    session.post(&rpc(1, "ping", json!({}))).expect(200);
}

#[test]
fn many_clients_that_read_nothing_have_a_bound_in_common() {
    let station = wide(50, 300, &[]);
    let other = Session::open(&station);
    let mut reader = other.listen();
    let sessions: Vec<Session> = (0..40).map(|_| Session::open(&station)).collect();
    let stalled: Vec<Http> = sessions.iter().map(Session::listen).collect();
    // Each of them is far from its own bound of 64 MiB.
    let flood = json!({ "level": "info", "text": "x".repeat(500_000), "count": 4 });
    let mut worst = 0;
    for round in 0.. {
        assert!(round < 20, "nobody was closed");
        other.post(&call(1, "log", flood.clone())).expect(200);
        (0..4).for_each(|_| assert_eq!(reader.message()["method"], "notifications/message"));
        worst = worst.max(figure(station.mux.pid, "VmRSS"));
        if station.mux.logged("was closed: it") > 0 {
            break;
        }
    }
    // 256 MiB, what one turn may bring on top before somebody is closed (a round of this test is 80 MiB), what the
    // sessions keep, and the process itself.
    assert!(worst < 450 << 10, "{worst} KiB");
    assert_eq!(text(&other.call("echo", json!({ "text": "x" }))), "x", "P58");
    // Who was cut has a session still.
    for session in &sessions {
        session.post(&rpc(2, "ping", json!({}))).expect(200);
    }
    drop(stalled);
}

#[test]
fn two_hundred_slow_clients_keep_nobody_waiting() {
    let station = wide(100, 300, &[]);
    let session = Session::open(&station);
    let bytes = session.asks(&rpc(1, "ping", json!({}))).bytes();
    let mut slow: Vec<Http> = (0..200).map(|_| station.connect()).collect();
    for at in 0..20 {
        for http in &mut slow {
            http.send_bytes(&bytes[at..=at]);
        }
        assert_eq!(text(&session.call("echo", json!({ "text": "fast" }))), "fast");
    }
    // Those that come to the end are answered like anybody.
    for http in &mut slow[..20] {
        http.expect_answer(false);
        http.send_bytes(&bytes[20..]);
        http.reply().expect(200);
    }
    let before = descriptors(station.mux.pid);
    drop(slow);
    assert!(holds_within(PATIENCE, || descriptors(station.mux.pid) + 200 <= before));
}

#[test]
fn ten_thousand_abandoned_sessions_leave_nothing() {
    let station = wide(20_000, 1, &[]);
    let hello = Ask::post(PATH, &initialize("2025-11-25", json!({})));
    let mut http = station.connect();
    let open = |http: &mut Http, count: usize| {
        for _ in 0..count / 100 {
            let bytes = hello.bytes().repeat(100);
            (0..100).for_each(|_| http.expect_answer(false));
            http.send_bytes(&bytes);
            (0..100).for_each(|_| drop(http.reply().expect(200)));
        }
    };
    // What the first ones cost is not what each of them costs.
    open(&mut http, 500);
    station.until_clients("a", 0);
    let rss = figure(station.mux.pid, "VmRSS");
    open(&mut http, 10_000);
    station.until_clients("a", 0);
    let status = station.control("status", json!({}));
    // This one, two of the server's process, and those that ask for this report.
    assert!(status["connections"].as_u64().unwrap() <= 6, "{status}");
    let grown = figure(station.mux.pid, "VmRSS").saturating_sub(rss);
    assert!(grown < 24 << 10, "{grown} KiB more than the {rss} KiB before");
    http.ask(&hello).expect(200);
}

#[test]
fn streams_that_nobody_reads_keep_no_session() {
    // A connection that is open but never read from: its session is given up all the same.
    let station = wide(10, 1, &["--era", "legacy"]);
    let session = Session::open(&station);
    let stalled = session.listen();
    let other = Session::open(&station);
    let flood = json!({ "level": "info", "text": "x".repeat(100_000), "count": 50 });
    for round in 0.. {
        assert!(round < 100, "the session lives");
        other.post(&call(1, "log", flood.clone())).expect(200);
        // Its time is a second; what nobody reads must not prolong it.
        let ends = holds_within(Duration::from_millis(500), || station.mux.logged("a session ended") > 0);
        if ends {
            break;
        }
    }
    assert_eq!(session.post(&rpc(1, "ping", json!({}))).status(), 404);
    drop(stalled);
}

#[test]
fn a_session_that_asks_more_than_it_may_waits_and_gets_everything() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let asks = |n: u32| call(n, "sleep", json!({ "ms": 20 + n % 7 }));
    let mut open: Vec<Http> = (0..600)
        .map(|n| {
            let mut http = session.connect();
            http.send(&session.asks(&asks(n)));
            http
        })
        .collect();
    for (n, http) in open.iter_mut().enumerate() {
        let answer = http.reply().expect(200).message();
        assert_eq!((&answer["id"], text(&answer)), (&json!(n), &*format!("slept {} ms", 20 + n % 7)));
    }
    // The same with all answers on one stream.
    let mut stream = station.connect();
    stream.start(&Ask::get("/sse/a").header("Accept", "text/event-stream"));
    let endpoint = String::from_utf8(stream.event().unwrap().data).unwrap();
    let mut posts: Vec<Http> = (0..4).map(|_| station.connect()).collect();
    let mut send = |n: usize, message: &Value| posts[n % 4].send(&Ask::post(&endpoint, message));
    send(0, &initialize("2024-11-05", json!({})));
    stream.message();
    (1..=600).for_each(|n| send(n as usize, &asks(n)));
    let mut ids: Vec<u64> = (0..600).map(|_| stream.message()["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=600).collect::<Vec<u64>>());
}

#[test]
fn the_death_of_the_server_answers_everybody() {
    let station = Station::demo(&["--era", "both"], "restart_backoff_ms = 1");
    let mut streaming = station.connect();
    let params = json!({ "name": "sleep", "arguments": { "ms": 60_000, "steps": 6_000 }, "_meta": { "progressToken": 1 } });
    streaming.start(&modern(PATH, "s", "tools/call", params));
    streaming.message();
    let crash = modern(PATH, "c", "tools/call", json!({ "name": "crash", "arguments": {} }));
    let reply = station.ask(&crash);
    assert_eq!((code(&reply.json()), &reply.json()["id"]), (-32603, &json!("c")));
    let last = streaming.rest().pop().expect("an answer on the stream");
    assert_eq!(last["id"], "s");
    assert!(!reason(&last).is_empty(), "{last}");
    station.ask(&modern(PATH, 1, "tools/list", json!({}))).expect(200);
}

#[test]
fn muxloop_stops_while_everybody_is_busy() {
    let mut station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut own = session.listen();
    let mut idle = station.connect();
    idle.ask(&Ask::get("/health")).expect(200);
    let mut pending = session.connect();
    pending.send(&session.asks(&call(1, "sleep", json!({ "ms": 300 }))));
    let mut stream = session.start(&call_with_progress(2, "sleep", json!({ "ms": 300, "steps": 10 }), "t"));
    stream.message();
    let mut events = station.connect();
    events.start(&Ask::get("/sse/a").header("Accept", "text/event-stream"));
    events.event();
    let children: Vec<Watched> = descendants(station.mux.pid).into_iter().map(Watched::new).collect();
    assert!(!children.is_empty());
    station.mux.signal(libc::SIGTERM);
    // What was asked is answered; streams end properly, connections after them.
    let answer = pending.reply();
    assert_eq!((&answer.message()["id"], reason(&answer.message())), (&json!(1), "stopped"));
    assert!(!answer.head.keep_alive);
    let last = stream.rest().pop().expect("an answer on the stream");
    assert_eq!((&last["id"], reason(&last)), (&json!(2), "stopped"));
    assert_eq!(own.rest(), [] as [Value; 0]);
    assert_eq!(events.rest(), [] as [Value; 0]);
    for http in [&mut own, &mut idle, &mut pending, &mut stream, &mut events] {
        http.assert_ends();
    }
    drop((own, idle, pending, stream, events));
    let status = station.mux.ended();
    assert!(status.success(), "{status}");
    for child in children {
        child.assert_ends();
    }
    assert!(TcpStream::connect(station.address).is_err());
}
