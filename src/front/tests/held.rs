//! Requests that the mux does not want yet, and the end of it all.

use super::*;

#[test]
fn a_held_request_is_delivered_once_and_in_its_order() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    bench.floor.paused.insert(session.link.as_u64());
    let conn = bench.ask(&(session.post(&call(1, "t")) + &session.post(&call(2, "u"))));
    let other = bench.ask(&session.post(&call(3, "v")));
    for _ in 0..3 {
        bench.front.retry_held(bench.now, &mut bench.floor);
        bench.settle();
    }
    assert_eq!(bench.delivered(session.link), [] as [String; 0]);
    // However long that takes, nobody is at fault.
    bench.pass(BODY_MS + IDLE_MS);
    assert!(!bench.is_closed(conn) && bench.take(conn).is_empty());
    bench.floor.paused.clear();
    bench.front.retry_held(bench.now, &mut bench.floor);
    bench.settle();
    let sent = bench.delivered(session.link);
    assert!(sent.len() == 2 && sent[0].contains("\"id\":1") && sent[1].contains("\"id\":3"), "{sent:?}");
    bench.hear(session.link, &result(1, "one"));
    let sent = bench.delivered(session.link);
    assert!(sent.len() == 1 && sent[0].contains("\"id\":2"), "{sent:?}");
    bench.hear(session.link, &result(3, "three"));
    bench.hear(session.link, &result(2, "two"));
    let said = bench.take(conn);
    assert!(said.find("one").unwrap() < said.find("two").unwrap() && !said.contains("three"), "{said}");
    assert!(bench.take(other).contains("three"));
}

#[test]
fn held_messages_of_http_and_sse_stay_messages_of_that() {
    let mut bench = Bench::new();
    let stream = bench.ask("GET /sse/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = bench.take(stream);
    let endpoint = head.split("data: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let link = bench.link();
    bench.floor.paused.insert(link.as_u64());
    let conn = bench.ask(&post(&endpoint, "", &call(1, "t")));
    assert_eq!(bench.take(conn), "");
    bench.floor.paused.clear();
    bench.front.retry_held(bench.now, &mut bench.floor);
    assert_eq!(status(&bench.take(conn)), "202");
    assert_eq!(bench.delivered(link).len(), 1);
}

#[test]
fn whoever_leaves_while_held_is_forgotten() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    bench.floor.paused.insert(session.link.as_u64());
    let conn = bench.ask(&session.post(&call(1, "t")));
    bench.vanish(conn);
    bench.floor.paused.clear();
    bench.front.retry_held(bench.now, &mut bench.floor);
    assert_eq!(bench.delivered(session.link), [] as [String; 0]);
    // And if the session ends first, whoever asked is told.
    bench.floor.paused.insert(session.link.as_u64());
    let conn = bench.ask(&session.post(&call(2, "t")));
    let delete = bench.ask(&session.get("").replacen("GET", "DELETE", 1));
    assert_eq!(status(&bench.take(delete)), "200");
    bench.front.retry_held(bench.now, &mut bench.floor);
    assert_eq!(status(&bench.take(conn)), "404");
}

#[test]
fn a_stop_takes_nothing_more_and_finishes_what_is_asked() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let idle = bench.ask("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    bench.take(idle);
    let pending = bench.ask(&(session.post(&call(1, "t")) + &session.post(&call(2, "u"))));
    let own = bench.ask(&session.get(""));
    let single = bench.ask(&modern(1, "tools/list"));
    let of_single = bench.link();
    bench.delivered(session.link);
    bench.floor.paused.insert(session.link.as_u64());
    let held = bench.ask(&session.post(&call(3, "v")));
    for _ in 0..2 {
        bench.front.stop(bench.now, &mut bench.floor);
    }
    assert!(bench.is_closed(idle) && bench.take(idle).is_empty());
    assert_eq!(status(&bench.take(held)), "503");
    assert!(bench.is_closed(held));
    bench.hear(session.link, &result(1, "one"));
    let answer = bench.take(pending);
    assert!(answer.contains("one") && answer.contains("Connection: close"), "{answer}");
    assert!(bench.is_closed(pending));
    assert_eq!(bench.delivered(session.link), [] as [String; 0], "not what was sent ahead");
    bench.hear(of_single, &result(1, "single"));
    assert!(bench.take(single).contains("single") && bench.is_closed(single));
    // The mux ends its links; the streams end properly.
    bench.take(own);
    bench.front.link_closed(bench.now, session.link, &mut bench.floor);
    assert_eq!(bench.take(own), "0\r\n\r\n");
    assert!(bench.is_closed(own));
    let late = bench.ask("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status(&bench.take(late)), "503");
}
