//! Requests that their client takes back in a session: nothing waits for an answer that does not come.

use super::*;

fn cancel(id: u32) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } })
}

fn is_over(bench: &mut Bench) -> bool {
    bench.pass(2 * SESSION_MS);
    bench.front.sessions() == 0
}

#[test]
fn a_request_that_was_taken_back_ends_without_an_event() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let (first, second) = (bench.ask(&session.post(&call(1, "t"))), bench.ask(&session.post(&call(2, "u"))));
    bench.delivered(session.link);
    let by = bench.ask(&session.post(&cancel(1)));
    assert_eq!(status(&bench.take(by)), "202");
    assert_eq!(bench.delivered(session.link).len(), 1, "the mux is told");
    let answer = bench.take(first);
    assert!(answer.contains("text/event-stream") && answer.ends_with("\r\n\r\n0\r\n\r\n"), "{answer}");
    assert!(!answer.contains("id:"), "nothing to resume: {answer}");
    // Its connection and its id are free again, and what comes late is nobody's.
    bench.hear(session.link, &result(1, "late"));
    bench.send(first, &session.post(&call(1, "t")));
    bench.hear(session.link, &result(1, "anew"));
    let answer = bench.take(first);
    assert!(answer.contains("anew") && !answer.contains("late"), "{answer}");
    bench.hear(session.link, &result(2, "two"));
    assert!(bench.take(second).contains("two"), "the other one is not concerned");
    assert!(is_over(&mut bench));
}

#[test]
fn a_stream_whose_request_was_taken_back_keeps_no_session() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let conn = bench.ask(&session.post(&call(1, "t")));
    bench.hear(session.link, &progress("t", 1));
    bench.ask(&session.post(&cancel(1)));
    // A client that can resume would come again and again for a stream that ends without an answer.
    let written = bench.take(conn);
    assert!(!written.ends_with("0\r\n\r\n"));
    let (_, last) = written.rsplit_once("id: ").unwrap();
    let resume = session.get(&format!("Last-Event-ID: {}\r\n", last.lines().next().unwrap()));
    bench.vanish(conn);
    let conn = bench.ask(&resume);
    assert!(!bench.take(conn).ends_with("0\r\n\r\n"));
    // What was asked because of it is taken back where it was asked, if there is no other stream.
    bench.hear(session.link, &cancel(3));
    assert!(bench.take(conn).contains("notifications/cancelled"));
    assert!(!is_over(&mut bench), "it is read");
    // Whoever has ended its side waits for an answer, and there is none.
    let other = bench.ask(&session.post(&call(2, "u")));
    for (conn, is_over) in [(conn, true), (other, false)] {
        bench.front.ended(conn, &mut bench.floor);
        assert_eq!(bench.is_closed(conn), is_over);
    }
    bench.hear(session.link, &result(2, "two"));
    bench.vanish(conn);
    bench.vanish(other);
    assert!(is_over(&mut bench));
}

#[test]
fn of_an_array_what_was_not_taken_back_is_answered() {
    let mut bench = Bench::new();
    let session = bench.session("2025-03-26");
    let conn = bench.ask(&session.post(&json!([call(1, "t"), call(2, "u")])));
    bench.hear(session.link, &result(2, "two"));
    bench.ask(&session.post(&json!([cancel(1), cancel(7)])));
    let answer = bench.take(conn);
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body, json!([result(2, "two")]));
    // All of it, in itself.
    let conn = bench.ask(&session.post(&json!([call(3, "t"), cancel(3)])));
    assert!(bench.take(conn).ends_with("0\r\n\r\n"));
    assert!(is_over(&mut bench));
}
