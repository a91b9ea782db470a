//! Which stream a message goes on, and what is kept for a resume.

use super::*;

/// Event ids and data of a stream, as they were written.
fn events(written: &str) -> Vec<(String, String)> {
    let field =
        |event: &str, name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let blocks = written.split("\n\n");
    blocks
        .filter_map(|event| Some((field(event, "id: ")?, field(event, "data: ").unwrap_or_default())))
        .collect()
}

#[test]
fn each_message_is_on_exactly_one_stream() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let (one, two) = (bench.ask(&session.post(&call(1, "t"))), bench.ask(&session.post(&call(2, "u"))));
    let own = bench.ask(&session.get(""));
    bench.take(own);
    let ask = json!({ "jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {} });
    for (at, (message, place)) in [
        (progress("u", 1), two),
        (progress("t", 1), one),
        // Of no request.
        (changed(), own),
        (progress("w", 1), own),
        // Of the oldest, if it is not known of which.
        (ask.clone(), one),
        (ask.clone(), two),
        (ask.clone(), one),
    ]
    .into_iter()
    .enumerate()
    {
        if at == 5 {
            bench.hear_line(session.link, &String::from_utf8(super::about(b"2")).unwrap());
        }
        bench.hear(session.link, &message);
        for conn in [one, two, own] {
            let written = bench.take(conn);
            assert_eq!(written.contains("\"method\""), conn == place, "P34: {message} {written}");
        }
    }
    // Answers are never on the session's own stream, even if nobody is left to get them.
    bench.vanish(one);
    bench.hear(session.link, &result(1, "late"));
    bench.hear(session.link, &result(9, "of nobody"));
    assert_eq!(bench.take(own), "", "P34");
    bench.hear(session.link, &result(2, "two"));
    assert!(bench.take(two).ends_with("0\r\n\r\n"));
    // Without any request a question goes where it can be read.
    bench.hear(session.link, &ask);
    assert!(bench.take(own).contains("elicitation"));
    // Without the session's own stream, to whoever waits; without anybody, it is kept.
    bench.vanish(own);
    let three = bench.ask(&session.post(&call(3, "x")));
    bench.hear(session.link, &changed());
    assert!(bench.take(three).contains("list_changed"));
    bench.hear(session.link, &result(3, "three"));
    bench.hear(session.link, &changed());
    let own = bench.ask(&session.get(""));
    assert_eq!(bench.take(own).matches("list_changed").count(), 1);
}

#[test]
fn a_request_that_lost_its_client_before_a_stream_waits_for_nobody() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let conn = bench.ask(&session.post(&call(1, "t")));
    bench.vanish(conn);
    bench.hear(session.link, &result(1, "unheard"));
    // The client sends it again, with the same id: it gets the answer to that, and the first is taken back, for
    // nothing would tell its answer from the other.
    let lost = bench.ask(&session.post(&call(2, "t")));
    bench.vanish(lost);
    bench.delivered(session.link);
    let again = bench.ask(&session.post(&call(2, "u")));
    let told = bench.delivered(session.link);
    assert!(told[0].contains("notifications/cancelled") && told[0].contains("\"requestId\":2,"), "{told:?}");
    assert!(told[1].contains("tools/call") && told.len() == 2, "{told:?}");
    bench.hear(session.link, &result(2, "second"));
    let answer = bench.take(again);
    assert!(answer.contains("second"), "{answer}");
}

/// A stream that began can be resumed: its answer may still be fetched, so its ids are in use.
#[test]
fn an_id_whose_stream_can_be_resumed_is_in_use() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let first = bench.ask(&session.post(&call(1, "t")));
    bench.hear(session.link, &progress("t", 1));
    let begun = bench.take(first);
    let last = begun.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an event with an id");
    let resume = format!("Last-Event-ID: {last}\r\n");
    bench.vanish(first);
    let again = bench.ask(&session.post(&call(1, "u")));
    assert_eq!(status(&bench.take(again)), "400");
    bench.hear(session.link, &result(1, "first"));
    let resumed = bench.ask(&session.get(&resume));
    assert!(bench.take(resumed).contains("first"));
}

#[test]
fn an_id_that_is_in_use_is_refused() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let first = bench.ask(&session.post(&call(1, "t")));
    bench.delivered(session.link);
    let second = bench.ask(&session.post(&call(1, "u")));
    let refusal = bench.take(second);
    assert_eq!(status(&refusal), "400", "{refusal}");
    assert!(refusal.contains("-32600") && refusal.contains("\"id\":1"), "{refusal}");
    assert_eq!(bench.delivered(session.link), [] as [String; 0]);
    bench.hear(session.link, &result(1, "first"));
    assert!(bench.take(first).contains("first"));
    // Another session has its own ids, and so has a text that looks like a number.
    let third = bench.ask(&session.post(&call(1, "t")));
    let mut text = call(1, "t");
    text["id"] = json!("1");
    let fourth = bench.ask(&session.post(&text));
    assert_eq!((bench.take(third), bench.take(fourth)), (String::new(), String::new()));
}

#[test]
fn the_store_keeps_the_newest_megabyte() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let conn = bench.ask(&session.post(&call(1, "t")));
    bench.hear(session.link, &progress("t", 0));
    bench.vanish(conn);
    let mut large = progress("t", 1);
    large["params"]["message"] = json!("x".repeat(100_000));
    for n in 1..=20 {
        large["params"]["progress"] = json!(n);
        bench.hear(session.link, &large);
    }
    let resumed = bench.ask(&session.get("Last-Event-ID: 2-1\r\n"));
    let all = events(&bench.take(resumed));
    assert_eq!(all.len(), 10, "as many as fit");
    let ids: Vec<String> = (12..=21).map(|n| format!("2-{n}")).collect();
    assert_eq!(all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), ids, "the newest, in order");
    bench.hear(session.link, &result(1, "done"));
    assert!(bench.take(resumed).contains("done"));
}

#[test]
fn only_the_last_streams_that_ended_are_kept() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    for id in 1..=20 {
        let conn = bench.ask(&session.post(&call(id, "t")));
        bench.hear(session.link, &progress("t", id));
        bench.hear(session.link, &result(id, "done"));
        assert!(bench.take(conn).ends_with("0\r\n\r\n"));
    }
    // One that is kept gives its end and is over; one that is not gives the session's own stream.
    let kept = bench.ask(&session.get("Last-Event-ID: 21-1\r\n"));
    let written = bench.take(kept);
    assert!(written.contains("\"done\"") && written.ends_with("0\r\n\r\n"), "{written}");
    let lost = bench.ask(&session.get("Last-Event-ID: 2-1\r\n"));
    let written = bench.take(lost);
    assert!(!written.contains("done") && !written.ends_with("0\r\n\r\n"), "{written}");
}

/// A call that takes long is no older than its end: its client, which lost the connection, finds the answer,
/// however many others it has been given meanwhile.
#[test]
fn an_answer_that_nobody_has_got_outlasts_those_that_somebody_has() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let long = bench.ask(&session.post(&call(100, "l")));
    bench.hear(session.link, &progress("l", 1));
    let begun = bench.take(long);
    let last = begun.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an event with an id");
    let resume = format!("Last-Event-ID: {last}\r\n");
    bench.vanish(long);
    let quick = |bench: &mut Bench, ids: std::ops::Range<u32>| {
        for id in ids {
            let conn = bench.ask(&session.post(&call(id, "t")));
            bench.hear(session.link, &progress("t", id));
            bench.hear(session.link, &result(id, "done"));
            assert!(bench.take(conn).ends_with("0\r\n\r\n"));
        }
    };
    quick(&mut bench, 1..20);
    bench.hear(session.link, &result(100, "at last"));
    quick(&mut bench, 20..40);
    let resumed = bench.ask(&session.get(&resume));
    let written = bench.take(resumed);
    assert!(written.contains("at last") && written.ends_with("0\r\n\r\n"), "{written}");
}

#[test]
fn a_resume_takes_the_stream_over() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let first = bench.ask(&session.post(&call(1, "t")));
    bench.hear(session.link, &progress("t", 1));
    bench.take(first);
    // The connection broke, but nobody knows yet.
    let second = bench.ask(&session.get("Last-Event-ID: 2-0\r\n"));
    assert!(bench.take(first).ends_with("0\r\n\r\n") && bench.is_closed(first));
    assert_eq!(events(&bench.take(second)).len(), 1);
    bench.vanish(first);
    bench.hear(session.link, &progress("t", 2));
    bench.hear(session.link, &result(1, "done"));
    let written = bench.take(second);
    assert_eq!(events(&written).len(), 2);
    assert!(written.ends_with("0\r\n\r\n") && !bench.is_closed(second));
}

#[test]
fn a_batch_is_answered_as_one_unless_something_comes_before() {
    let mut bench = Bench::new();
    let session = bench.session("2025-03-26");
    let batch = json!([call(1, "t"), changed(), call(2, "u")]);
    let conn = bench.ask(&session.post(&batch));
    assert_eq!(bench.delivered(session.link).len(), 1);
    bench.hear(session.link, &result(2, "two"));
    assert_eq!(bench.take(conn), "");
    bench.hear(session.link, &result(1, "one"));
    let answer = bench.take(conn);
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body, json!([result(2, "two"), result(1, "one")]));
    // With something in between, and with time.
    for by_time in [false, true] {
        let conn = bench.ask(&session.post(&batch));
        bench.hear(session.link, &result(2, "two"));
        match by_time {
            true => bench.pass(COMMIT_MS),
            false => bench.hear(session.link, &progress("t", 1)),
        }
        bench.hear(session.link, &result(1, "one"));
        let written = bench.take(conn);
        assert!(written.contains("text/event-stream") && written.ends_with("0\r\n\r\n"), "{written}");
        assert_eq!(events(&written).len(), if by_time { 2 } else { 3 });
    }
}

#[test]
fn a_handshake_that_fails_leaves_no_session() {
    let mut bench = Bench::new();
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} });
    let conn = bench.ask(&post("/servers/a/mcp", "", &hello));
    let link = bench.link();
    bench.hear(link, &json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": -32603, "message": "dead" } }));
    let answer = bench.take(conn);
    assert!(answer.contains("dead") && !answer.contains("Mcp-Session-Id"), "{answer}");
    assert_eq!((bench.front.sessions(), bench.floor.detached.clone()), (0, vec![link]));
}

#[test]
fn a_client_that_leaves_before_it_knows_its_session_leaves_none() {
    let mut bench = Bench::new();
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} });
    let conn = bench.ask(&post("/servers/a/mcp", "", &hello));
    let link = bench.link();
    bench.vanish(conn);
    assert_eq!((bench.front.sessions(), bench.floor.detached.clone()), (0, vec![link]));
    // Once the stream has begun the client knows it, and can come back for the answer.
    let conn = bench.ask(&post("/servers/a/mcp", "", &hello));
    let link = bench.link();
    bench.pass(COMMIT_MS);
    let head = bench.take(conn);
    let id = head.split("Mcp-Session-Id: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    bench.vanish(conn);
    bench.hear(link, &json!({ "jsonrpc": "2.0", "id": 0, "result": { "protocolVersion": "2025-11-25" } }));
    let session = Opened { id, link };
    let resumed = bench.ask(&session.get("Last-Event-ID: 1-0\r\n"));
    assert!(bench.take(resumed).contains("protocolVersion"));
}

#[test]
fn the_end_of_a_link_ends_what_hangs_on_it() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let (own, pending) = (bench.ask(&session.get("")), bench.ask(&session.post(&call(1, "t"))));
    let streaming = bench.ask(&session.post(&call(2, "u")));
    bench.hear(session.link, &progress("u", 1));
    bench.front.link_closed(bench.now, session.link, &mut bench.floor);
    assert!(bench.take(own).ends_with("0\r\n\r\n") && bench.take(streaming).ends_with("0\r\n\r\n"));
    assert_eq!(status(&bench.take(pending)), "404");
    for conn in [own, pending, streaming] {
        // It was promised to stay.
        assert!(!bench.is_closed(conn));
        bench.vanish(conn);
    }
    let late = bench.ask(&session.post(&call(3, "t")));
    assert_eq!(status(&bench.take(late)), "404");
    // What it still had to say is for nobody.
    bench.hear(session.link, &changed());
}
