//! The end of clients, servers and muxloop itself while somebody waits.

use super::*;

const READY: &str = "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
const EVENTS: &str = "GET /sse/a HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn hello() -> String {
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} });
    post("/servers/a/mcp", "", &hello)
}

#[test]
fn a_drain_serves_whom_it_has_and_sends_others_elsewhere() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let kept = bench.ask(READY);
    let answer = bench.take(kept);
    assert!(status(&answer) == "200" && !answer.contains("Connection: close"), "{answer}");
    let asked = bench.ask(&session.post(&call(1, "t")));
    let single = bench.ask(&modern(1, "tools/list"));
    let of_single = bench.link();
    bench.floor.draining = true;
    for ask in [hello(), EVENTS.to_owned(), modern(2, "tools/list")] {
        let conn = bench.ask(&ask);
        let answer = bench.take(conn);
        assert_eq!(status(&answer), "503", "{answer}");
        assert!(answer.contains("Retry-After: ") && answer.contains("Connection: close"), "{answer}");
        assert!(bench.is_closed(conn), "{answer}");
    }
    // A connection of before is told the same, and where it stands.
    bench.send(kept, READY);
    let answer = bench.take(kept);
    assert!(status(&answer) == "503" && answer.contains("Connection: close"), "{answer}");
    // Sessions go on as long as the mux has them.
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled" });
    let conn = bench.ask(&session.post(&note));
    assert_eq!(status(&bench.take(conn)), "202");
    bench.hear(session.link, &result(1, "done"));
    bench.hear(of_single, &result(1, "single"));
    assert!(bench.take(asked).contains("done") && bench.take(single).contains("single"));
    bench.end(session.link);
    let conn = bench.ask(&session.post(&note));
    assert_eq!(status(&bench.take(conn)), "404", "which its client knows to take for the end of a session");
}

#[test]
fn a_request_that_has_begun_to_come_is_told_of_the_end() {
    let mut bench = Bench::new();
    let whole = hello();
    let (in_head, in_body) = (bench.ask(&whole[..20]), bench.ask(&whole[..whole.len() - 5]));
    let idle = bench.conn();
    bench.front.stop(bench.now, &mut bench.floor);
    for conn in [in_head, in_body] {
        let answer = bench.take(conn);
        assert!(status(&answer) == "503" && answer.contains("Retry-After"), "{answer}");
        assert!(answer.contains("Connection: close") && bench.is_closed(conn), "{answer}");
    }
    assert!(bench.is_closed(idle) && bench.take(idle).is_empty());
}

#[test]
fn whoever_waits_in_a_session_that_ends_is_told() {
    for by_mux in [true, false] {
        let mut bench = Bench::new();
        let session = bench.session("2025-03-26");
        let plain = bench.ask(&session.post(&call(1, "t")));
        let stream = bench.ask(&session.post(&call(2, "u")));
        bench.hear(session.link, &progress("u", 1));
        let batch = json!([call(3, "v"), call(4, "w")]);
        let both = bench.ask(&session.post(&batch));
        bench.pass(COMMIT_MS - 1);
        let own = bench.ask(&session.get(""));
        for conn in [stream, own] {
            bench.take(conn);
        }
        bench.hear(session.link, &progress("w", 1));
        bench.take(both);
        match by_mux {
            true => bench.end(session.link),
            false => {
                bench.ask(&session.get("").replacen("GET", "DELETE", 1));
            }
        }
        let answer = bench.take(plain);
        assert!(status(&answer) == "404" && answer.contains("\"id\":1,\"error\""), "{answer}");
        let said = bench.take(stream);
        assert!(said.contains("\"id\":2,\"error\"") && said.ends_with("\r\n0\r\n\r\n"), "{said}");
        let said = bench.take(both);
        assert!(said.contains("\"id\":3,\"error\"") && said.contains("\"id\":4,\"error\""), "{said}");
        assert_eq!(bench.take(own), "0\r\n\r\n");
    }
}

#[test]
fn whoever_waits_on_a_link_that_ends_is_told() {
    for committed in [false, true] {
        let mut bench = Bench::new();
        let conn = bench.ask(&modern(7, "tools/call"));
        let link = bench.link();
        if committed {
            bench.hear(link, &progress("t", 1));
            assert!(bench.take(conn).contains("progress"));
        }
        bench.end(link);
        let said = bench.take(conn);
        assert!(said.contains("\"id\":7,\"error\""), "{said}");
        match committed {
            true => assert!(said.ends_with("\r\n0\r\n\r\n"), "{said}"),
            false => assert_eq!(status(&said), "502"),
        }
        assert!(bench.is_closed(conn));
    }
}

#[test]
fn sessions_of_a_server_that_is_gone_are_served_to_their_end() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let asked = bench.ask(&session.post(&call(1, "t")));
    let events = bench.ask(EVENTS);
    let endpoint = bench.take(events).split("data: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let of_events = bench.link();
    // `a` is another server now, then none.
    for servers in [&[("a", 2), ("b", 1)][..], &[("b", 1)]] {
        bench.front.configure(settings(servers));
        let question = json!({ "jsonrpc": "2.0", "id": 9, "method": "elicitation/create", "params": {} });
        bench.hear(session.link, &question);
        assert!(bench.take(asked).contains("elicitation"));
        bench.delivered(session.link);
        let answer = json!({ "jsonrpc": "2.0", "id": 9, "result": {} });
        let conn = bench.ask(&session.post(&answer));
        assert_eq!(status(&bench.take(conn)), "202");
        assert_eq!(bench.delivered(session.link), [answer.to_string()]);
        let conn = bench.ask(&post(&endpoint, "", &call(1, "t")));
        assert_eq!(status(&bench.take(conn)), "202");
        assert_eq!(bench.delivered(of_events).len(), 1);
        // Nobody else finds it.
        let conn = bench.ask(&hello());
        match servers.len() {
            2 => assert_eq!(bench.take(conn), ""),
            _ => assert_eq!(status(&bench.take(conn)), "404"),
        }
    }
    bench.hear(session.link, &result(1, "done"));
    assert!(bench.take(asked).contains("done"));
    bench.end(session.link);
    let conn = bench.ask(&session.post(&call(2, "t")));
    assert_eq!(status(&bench.take(conn)), "404");
    bench.end(of_events);
    bench.front.configure(settings(&[("b", 1)]));
    assert!(!bench.front.settings.body_max.contains_key(&0), "nothing is left of it");
}
