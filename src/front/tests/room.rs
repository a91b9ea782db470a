//! Whose place a new session gets when there are too many.

use super::*;

const EVENTS: &str = "GET /sse/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
const SOCKET: &str = "GET /servers/a/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n\
    Sec-WebSocket-Protocol: mcp\r\n\r\n";

fn hello() -> String {
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} });
    post("/servers/a/mcp", "", &hello)
}

/// Whether a session still answers.
fn lives(bench: &mut Bench, session: &Opened) -> bool {
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let conn = bench.ask(&session.post(&note));
    match status(&bench.take(conn)) {
        "202" => true,
        "404" => false,
        other => panic!("{other}"),
    }
}

/// `count` sessions, a second between them.
fn sessions(bench: &mut Bench, count: usize) -> Vec<Opened> {
    let open = |bench: &mut Bench| {
        bench.pass(1_000);
        bench.session("2025-11-25")
    };
    (0..count).map(|_| open(bench)).collect()
}

#[test]
fn the_session_unused_for_longest_makes_room() {
    let mut bench = Bench::new();
    let old = sessions(&mut bench, 8);
    // Each use counts: a message, a stream that has ended, an answer.
    bench.pass(1_000);
    assert!(lives(&mut bench, &old[0]));
    let own = bench.ask(&old[1].get(""));
    bench.pass(1_000);
    bench.vanish(own);
    let conn = bench.ask(&old[2].post(&call(1, "t")));
    bench.pass(1_000);
    bench.hear(old[2].link, &result(1, "done"));
    assert!(bench.take(conn).contains("done"));
    for gone in [3, 4, 5, 6, 7, 0, 1, 2] {
        bench.floor.detached.clear();
        bench.pass(1_000);
        let new = bench.session("2025-11-25");
        assert_eq!(bench.floor.detached, [old[gone].link], "its peer is released");
        assert_eq!(bench.front.sessions(), 8);
        assert!(!lives(&mut bench, &old[gone]) && lives(&mut bench, &new));
    }
}

#[test]
fn whoever_waits_or_listens_keeps_the_place() {
    let mut bench = Bench::new();
    let old = sessions(&mut bench, 5);
    let asked = bench.ask(&old[0].post(&call(1, "t")));
    let own = bench.ask(&old[1].get(""));
    // Its client is gone, but may come for the answer (P11).
    let left = bench.ask(&old[2].post(&call(1, "t")));
    bench.hear(old[2].link, &progress("t", 1));
    bench.vanish(left);
    bench.floor.paused.insert(old[3].link.as_u64());
    let held = bench.ask(&old[3].post(&call(1, "t")));
    let (events, socket) = (bench.ask(EVENTS), bench.ask(SOCKET));
    let fresh = bench.session("2025-11-25");
    assert_eq!(bench.front.sessions(), 8);
    bench.pass(1_000);
    // Two of them are of no use to anybody.
    for gone in [&old[4], &fresh] {
        let conn = bench.ask(EVENTS);
        assert_eq!(status(&bench.take(conn)), "200");
        assert!(!lives(&mut bench, gone));
    }
    for ask in [hello(), EVENTS.to_owned(), SOCKET.to_owned()] {
        let conn = bench.ask(&ask);
        let answer = bench.take(conn);
        assert_eq!(status(&answer), "503", "{answer}");
        assert!(answer.contains("Retry-After: 5") && answer.contains("session.max_sessions"), "{answer}");
    }
    for conn in [asked, own, held, events, socket] {
        assert!(!bench.is_closed(conn));
    }
    bench.hear(old[0].link, &result(1, "done"));
    assert!(bench.take(asked).contains("done"));
    let conn = bench.ask(&hello());
    assert!(!bench.is_closed(conn) && bench.take(conn).is_empty(), "now there is a place");
}

#[test]
fn a_server_that_is_full_gives_up_a_session_of_its_own() {
    let mut bench = Bench::new();
    let other = bench.ask(&hello().replace("/servers/a/", "/servers/b/"));
    let of_other = bench.link();
    bench
        .hear(of_other, &json!({ "jsonrpc": "2.0", "id": 0, "result": { "protocolVersion": "2025-11-25" } }));
    assert_eq!(status(&bench.take(other)), "200");
    let old = sessions(&mut bench, 2);
    bench.floor.full.insert(0);
    bench.session("2025-11-25");
    assert_eq!(bench.floor.detached, [old[0].link]);
    assert!(lives(&mut bench, &old[1]));
    // Without one of its own the server is asked all the same: it says why not.
    bench.floor.full.insert(1);
    bench.floor.detached.clear();
    let own = bench.ask(EVENTS.replace("/a", "/b").as_str());
    assert_eq!((status(&bench.take(own)), &*bench.floor.detached), ("200", &[of_other][..]));
    bench.ask(EVENTS.replace("/a", "/b").as_str());
    assert_eq!(bench.floor.detached, [of_other]);
}
