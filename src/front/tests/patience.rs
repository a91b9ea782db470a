//! What happens when nothing happens.

use super::*;

const HEAD: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n";

#[test]
fn a_head_has_ten_seconds_however_it_trickles() {
    let mut bench = Bench::new();
    let conn = bench.conn();
    for byte in 0..9 {
        bench.send(conn, &HEAD[byte..=byte]);
        bench.pass(1_000);
        assert!(!bench.is_closed(conn), "after {byte} s");
    }
    bench.send(conn, &HEAD[9..12]);
    bench.pass(1_000);
    let answer = bench.take(conn);
    assert_eq!(status(&answer), "408", "{answer}");
    assert!(answer.contains("Connection: close") && bench.is_closed(conn));
}

#[test]
fn who_says_nothing_is_let_go_without_a_word() {
    let mut bench = Bench::new();
    let silent = bench.conn();
    bench.pass(HEAD_MS);
    assert_eq!((bench.take(silent).as_str(), bench.is_closed(silent)), ("", true));
    // After a request there is more time for the next one.
    let idle = bench.ask(&format!("{HEAD}\r\n"));
    assert_eq!(status(&bench.take(idle)), "200");
    bench.pass(IDLE_MS - 1);
    assert!(!bench.is_closed(idle));
    // Its head again has ten seconds.
    bench.send(idle, "GET");
    bench.pass(HEAD_MS - 1);
    assert!(!bench.is_closed(idle));
    bench.pass(1);
    assert_eq!(status(&bench.take(idle)), "408");
}

#[test]
fn a_body_has_a_minute_from_its_head_on() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let ask = session.post(&call(1, "t"));
    let (head, body) = ask.split_at(ask.len() - 20);
    // On a new connection, on one that was idle, and on one whose last body came right before.
    let (fresh, used, busy) = (bench.conn(), bench.ask(&format!("{HEAD}\r\n")), bench.conn());
    let note = session.post(&changed());
    bench.send(busy, &note[..note.len() - 9]);
    for (conn, before) in [(fresh, ""), (used, ""), (busy, &note[note.len() - 9..])] {
        bench.send(conn, &format!("{before}{head}"));
        bench.take(conn);
    }
    bench.delivered(session.link);
    bench.pass(BODY_MS - 1);
    for conn in [fresh, used, busy] {
        assert!(!bench.is_closed(conn));
        bench.send(conn, &body[..1]);
    }
    bench.pass(1);
    for conn in [fresh, used, busy] {
        assert_eq!(status(&bench.take(conn)), "408");
        assert!(bench.is_closed(conn));
    }
    assert_eq!(bench.delivered(session.link), [] as [String; 0]);
}

#[test]
fn an_answer_that_takes_long_begins_without_its_words() {
    let mut bench = Bench::new();
    for (version, primes) in [("2025-11-25", true), ("2025-06-18", false)] {
        let session = bench.session(version);
        let conn = bench.ask(&session.post(&call(1, "t")));
        bench.pass(COMMIT_MS - 1);
        assert_eq!(bench.take(conn), "");
        bench.pass(1);
        let head = bench.take(conn);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"), "{head}");
        assert_eq!(head.contains("data:"), primes, "{version} {head}");
        // It shows that it lives, as long as it takes.
        for _ in 0..5 {
            bench.pass(KEEP_ALIVE_MS);
            let comment = bench.take(conn);
            assert!(comment.contains("\r\n:"), "{comment:?}");
        }
        bench.hear(session.link, &result(1, "late"));
        let end = bench.take(conn);
        assert!(end.contains("\"late\"") && end.ends_with("0\r\n\r\n"), "{end}");
    }
    let conn = bench.ask(&modern(1, "tools/list"));
    bench.pass(COMMIT_MS);
    let head = bench.take(conn);
    assert!(head.contains("text/event-stream") && !head.contains("data:") && !head.contains("id:"), "{head}");
    bench.pass(KEEP_ALIVE_MS);
    assert!(bench.take(conn).contains("\r\n:"));
    let link = bench.link();
    bench.hear(link, &json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32601, "message": "no" } }));
    assert!(bench.take(conn).ends_with("0\r\n\r\n"), "too late for a 404, but said");
}

#[test]
fn a_session_lives_while_it_is_used() {
    let mut bench = Bench::new();
    let (idle, asked, read, stuck) = (
        bench.session("2025-11-25"),
        bench.session("2025-11-25"),
        bench.session("2025-11-25"),
        bench.session("2025-11-25"),
    );
    let pending = bench.ask(&asked.post(&call(1, "t")));
    let stream = bench.ask(&read.get(""));
    let unread = bench.ask(&stuck.get(""));
    bench.floor.unwritten.insert(unread.as_u64(), 1);
    bench.pass(SESSION_MS);
    assert_eq!(bench.front.sessions(), 2, "idle and stuck have ended");
    for link in [idle.link, stuck.link] {
        assert!(bench.floor.detached.contains(&link));
    }
    assert!(bench.is_closed(unread) && !bench.is_closed(stream));
    // Answered, it has its time from then on.
    bench.hear(asked.link, &result(1, "done"));
    assert!(bench.take(pending).contains("done"));
    bench.pass(SESSION_MS);
    bench.pass(SESSION_MS - 1);
    bench.pass(1);
    assert_eq!(bench.front.sessions(), 1, "the one that is listened to");
    bench.vanish(stream);
    bench.pass(2 * SESSION_MS);
    assert_eq!(bench.front.sessions(), 0);
}

#[test]
fn a_session_stays_though_its_reader_is_behind_for_a_moment() {
    let mut bench = Bench::new();
    let stream = bench.ask("GET /sse/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    for second in 1..=3 * SESSION_MS / 1_000 {
        // Bytes are under way at every whole minute, so whenever one could think of looking at it.
        match second % 60 == 0 {
            true => bench.floor.unwritten.insert(stream.as_u64(), 1),
            false => bench.floor.unwritten.remove(&stream.as_u64()),
        };
        bench.pass(1_000);
        assert_eq!(bench.front.sessions(), 1, "after {second} s");
    }
    // Nobody reads it any more.
    bench.floor.unwritten.insert(stream.as_u64(), 1);
    bench.pass(2 * SESSION_MS);
    assert_eq!(bench.front.sessions(), 0);
}

#[test]
fn nothing_is_left_of_connections_and_sessions() {
    let mut bench = Bench::new();
    for round in 0..50 {
        let session = bench.session("2025-11-25");
        let get = bench.ask(&session.get(""));
        let open = bench.ask(&session.post(&call(1, "t")));
        let single = bench.ask(&modern(1, "tools/list"));
        let events = bench.ask("GET /sse/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let half = bench.ask(&HEAD[..10]);
        let mut all = [get, open, single, events, half];
        all.rotate_left(round % 5);
        all.into_iter().for_each(|conn| bench.vanish(conn));
        let delete = session.get("").replacen("GET", "DELETE", 1);
        let conn = bench.ask(&delete);
        assert_eq!(status(&bench.take(conn)), "200");
    }
    let left: Vec<Key> = bench.front.conns.iter().map(|(key, _)| key).collect();
    left.into_iter().for_each(|conn| bench.vanish(conn));
    let front = &bench.front;
    assert_eq!((front.sessions.len(), front.by_id.len(), front.links.len(), front.conns.len()), (0, 0, 0, 0));
    assert_eq!(front.deadline(), None);
    assert!(bench.floor.links.is_empty());
}
