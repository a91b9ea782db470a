//! Event streams of sessions (protocol.md §3.2): which message goes on which, and what a resume gives.

use crate::support::{
    Ask, Server, Session, Station, answer, call, call_with_progress, data, reason, rpc, station::PLAIN,
    structured, text,
};
use muxloop::reactor::sys::signal_process;
use serde_json::{Value, json};

fn everything() -> Value {
    json!({ "sampling": {}, "elicitation": {}, "roots": {} })
}

/// A station whose server may ask, and a session that can be asked.
fn asking() -> (Station, Session) {
    let station = Station::demo(&[], "interactive = \"serialize\"");
    let session = Session::of(&station, "a", "2025-11-25", everything());
    (station, session)
}

/// How far each progress message says that a call is.
fn progress(messages: &[Value]) -> Vec<u64> {
    let reports = messages.iter().filter(|message| message["method"] == "notifications/progress");
    reports.map(|message| message["params"]["progress"].as_u64().unwrap()).collect()
}

#[test]
fn an_answer_is_json_unless_something_comes_before_it() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let plain = session.post(&call(1, "sleep", json!({ "ms": 20, "steps": 3 }))).expect(200);
    assert_eq!(plain.header("content-type"), "application/json");
    assert_eq!(plain.header("mcp-session-id"), session.id);
    let mut http = session.start(&call_with_progress(2, "sleep", json!({ "ms": 20, "steps": 3 }), "t"));
    let messages = http.rest();
    assert_eq!(progress(&messages), [1, 2, 3]);
    assert!(messages[..3].iter().all(|message| message["params"]["progressToken"] == "t"), "{messages:?}");
    assert_eq!((text(&messages[3]), messages.len()), ("slept 20 ms", 4), "the answer ends the stream");
    // The connection can be used again.
    assert_eq!(http.ask(&session.asks(&rpc(3, "ping", json!({})))).expect(200).json()["id"], 3);
}

#[test]
fn streams_say_how_they_are_to_be_treated() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut post = session.connect();
    let head = post.start(&session.asks(&call_with_progress(1, "sleep", json!({ "ms": 1 }), "t")));
    let mut get = session.connect();
    for head in [head, get.start(&session.get())] {
        assert_eq!(head.header("cache-control"), "no-cache, no-transform");
        assert_eq!(head.header("x-accel-buffering"), "no");
        assert_eq!(head.header("transfer-encoding"), "chunked");
        assert_eq!(head.header("mcp-session-id"), session.id);
    }
}

#[test]
fn only_new_clients_get_the_priming_event() {
    let station = Station::demo(&["--era", "legacy"], "");
    for (version, primes) in [("2025-03-26", false), ("2025-06-18", false), ("2025-11-25", true)] {
        let session = Session::of(&station, "a", version, json!({}));
        let mut http = session.connect();
        http.start(&session.asks(&call_with_progress(1, "sleep", json!({ "ms": 1 }), "t")));
        let first = http.event().unwrap();
        assert_eq!(first.data.is_empty(), primes, "P36: {version} {first:?}");
        assert_eq!(first.retry.is_some(), primes, "P36: {version} {first:?}");
        assert!(first.id.is_some(), "{version}");
        let mut http = session.connect();
        http.start(&session.get());
        session.call("log", json!({ "text": "x" }));
        assert_eq!(http.event().unwrap().data.is_empty(), primes, "P36: {version}");
    }
}

#[test]
fn what_belongs_to_no_request_goes_to_the_sessions_own_stream() {
    let station = Station::demo(&[], "");
    let (one, two) = (Session::open(&station), Session::open(&station));
    let (mut mine, mut theirs) = (one.listen(), two.listen());
    // A changed list concerns both, and each gets it once.
    let reply = one.post(&call(1, "add_tool", json!({}))).expect(200);
    assert_eq!(reply.messages().len(), 1, "P34: {}", reply.text());
    for http in [&mut mine, &mut theirs] {
        assert_eq!(http.message()["method"], "notifications/tools/list_changed");
    }
    // What comes next is only what comes next: nothing was said twice, no answer came here.
    one.request("own", "resources/subscribe", json!({ "uri": "demo://counter" }));
    one.call("counter_add", json!({ "by": 1 }));
    assert_eq!(mine.message()["method"], "notifications/resources/updated");
    two.call("add_tool", json!({}));
    assert_eq!(mine.message()["method"], "notifications/tools/list_changed", "P34");
    assert_eq!(theirs.message()["method"], "notifications/tools/list_changed", "nobody else's resource");
}

#[test]
fn what_comes_while_nobody_listens_is_kept() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    for _ in 0..2 {
        Session::open(&station).call("add_tool", json!({}));
    }
    let mut http = session.listen();
    assert_eq!(http.message()["method"], "notifications/tools/list_changed");
    session.call("add_tool", json!({}));
    assert_eq!(http.message()["method"], "notifications/tools/list_changed");
}

#[test]
fn a_second_stream_replaces_the_first() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut first = session.listen();
    let mut second = session.listen();
    assert_eq!(first.rest(), [] as [Value; 0]);
    session.call("add_tool", json!({}));
    assert_eq!(second.message()["method"], "notifications/tools/list_changed");
}

#[test]
fn a_resume_gives_exactly_what_was_missed_while_the_call_goes_on() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let steps = json!({ "ms": 600, "steps": 60 });
    let mut http = session.start(&call_with_progress(1, "sleep", steps, "t"));
    // The connection breaks again and again; the call goes on (P11), no event is lost or comes twice (P35).
    let (mut seen, mut breaks) = (Vec::new(), 0);
    let last = loop {
        let message = http.message();
        if message.get("id").is_some() {
            break message;
        }
        seen.push(message["params"]["progress"].as_u64().unwrap());
        if seen.len() % 10 == 5 {
            http = session.resume(&http.last_event_id());
            breaks += 1;
        }
    };
    assert_eq!(seen, (1..=60).collect::<Vec<u64>>());
    assert_eq!((text(&last), breaks), ("slept 600 ms", 6));
    assert_eq!(http.rest(), [] as [Value; 0], "the stream ends with the answer");
    assert!(!station.mux.methods("a").contains(&"notifications/cancelled".to_owned()), "P11");
}

#[test]
fn a_resume_after_the_end_gives_the_answer() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut http = session.start(&call_with_progress("x", "sleep", json!({ "ms": 40, "steps": 4 }), "t"));
    http.message();
    let place = http.last_event_id();
    drop(http);
    // This ends after the other.
    session.call("sleep", json!({ "ms": 300 }));
    for _ in 0..2 {
        let messages = session.resume(&place).rest();
        assert_eq!(progress(&messages), [2, 3, 4]);
        assert_eq!((&messages[3]["id"], messages.len()), (&json!("x"), 4));
    }
    // From the priming event on, all of it; from the end, nothing.
    let stream = place.split('-').next().unwrap();
    assert_eq!(progress(&session.resume(&format!("{stream}-0")).rest()), [1, 2, 3, 4]);
    assert_eq!(session.resume(&format!("{stream}-5")).rest(), [] as [Value; 0]);
}

#[test]
fn a_resume_gives_nothing_of_other_streams_or_sessions() {
    let station = Station::demo(&[], "");
    let (one, two) = (Session::open(&station), Session::open(&station));
    let mut first = one.start(&call_with_progress(1, "sleep", json!({ "ms": 1 }), "first"));
    first.message();
    let place = first.last_event_id();
    first.rest();
    one.start(&call_with_progress(2, "sleep", json!({ "ms": 1 }), "second")).rest();
    let mut theirs = two.start(&call_with_progress(1, "sleep", json!({ "ms": 1 }), "theirs"));
    theirs.rest();
    // Ids are per session: the same place exists in both.
    assert_eq!(place.replace("-1", "-2"), theirs.last_event_id());
    let messages = one.resume(&place).rest();
    assert_eq!(messages.len(), 1, "P35: {messages:?}");
    assert_eq!(messages[0]["id"], 1);
    // A place that there never was is no place: the session's own stream, with what is new.
    for wrong in ["77-1", "2-99", "nonsense", "0-99", "-1", "4294967296-1"] {
        let mut http = one.resume(wrong);
        one.call("add_tool", json!({}));
        let message = http.message();
        assert_eq!(message["method"], "notifications/tools/list_changed", "{wrong}: {message}");
    }
}

#[test]
fn the_sessions_own_stream_can_be_resumed() {
    let station = Station::demo(&[], "");
    let (session, other) = (Session::open(&station), Session::open(&station));
    session.request(1, "resources/subscribe", json!({ "uri": "demo://counter" }));
    let mut http = session.listen();
    other.call("counter_add", json!({}));
    http.message();
    let place = http.last_event_id();
    other.call("add_tool", json!({}));
    http.message();
    drop(http);
    // It was written to the broken connection; the client says that it did not get it.
    let mut http = session.resume(&place);
    let event = http.event().unwrap();
    assert_eq!(data(&event)["method"], "notifications/tools/list_changed");
    other.call("counter_add", json!({}));
    assert_eq!(http.message()["method"], "notifications/resources/updated");
}

#[test]
fn a_server_asks_on_the_stream_of_the_request_and_is_answered_by_post() {
    let (station, session) = asking();
    let mut own = session.listen();
    for (via, method, result, said) in [
        (
            "elicitation",
            "elicitation/create",
            json!({ "action": "accept", "content": { "answer": "yes" } }),
            "yes",
        ),
        (
            "sampling",
            "sampling/createMessage",
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "42" } }),
            "42",
        ),
        ("roots", "roots/list", json!({ "roots": [{ "uri": "file:///home" }] }), "file:///home"),
    ] {
        let mut http = session.start(&call(1, "ask", json!({ "question": "?", "via": via })));
        let question = http.message();
        assert_eq!(question["method"], method);
        let reply = session.post(&answer(&question, result)).expect(202);
        assert_eq!(reply.body, b"", "P25");
        let messages = http.rest();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert_eq!(text(&messages[0]), said, "P15");
    }
    // Nothing of that was on the other stream.
    Session::open(&station).call("add_tool", json!({}));
    assert_eq!(own.message()["method"], "notifications/tools/list_changed", "P34");
}

#[test]
fn a_question_outlives_its_connection() {
    let (_station, session) = asking();
    let mut http = session.start(&call(1, "ask", json!({ "question": "still there?" })));
    let question = http.message();
    let place = http.last_event_id();
    let before = format!("{}-0", place.split('-').next().unwrap());
    drop(http);
    // Asked again from before the question, the same one comes, and its answer ends the stream.
    let mut http = session.resume(&before);
    assert_eq!(http.message(), question);
    session.post(&answer(&question, json!({ "action": "decline" }))).expect(202);
    assert_eq!(http.rest().len(), 1);
}

#[test]
fn nobody_answers_in_the_place_of_another_session() {
    let (station, session) = asking();
    let other = Session::of(&station, "a", "2025-11-25", everything());
    let mut http = session.start(&call(1, "ask", json!({ "question": "who?" })));
    let question = http.message();
    other
        .post(&answer(&question, json!({ "action": "accept", "content": { "answer": "forged" } })))
        .expect(202);
    other.request(2, "ping", json!({}));
    session
        .post(&answer(&question, json!({ "action": "accept", "content": { "answer": "mine" } })))
        .expect(202);
    assert_eq!(text(http.rest().last().unwrap()), "mine");
}

#[test]
fn each_client_has_a_process_of_its_own_if_the_server_says_so() {
    let station = Station::demo(&[], "interactive = \"per-client\"");
    let sessions: Vec<Session> =
        (0..2).map(|_| Session::of(&station, "a", "2025-11-25", everything())).collect();
    // Both are asked at the same time, by questions with the same id.
    let mut open: Vec<_> = sessions
        .iter()
        .enumerate()
        .map(|(n, session)| {
            let mut http = session.start(&call(1, "ask", json!({ "question": format!("{n}?") })));
            let question = http.message();
            assert!(question["params"].to_string().contains(&format!("{n}?")), "{question}");
            (n, session, http, question)
        })
        .collect();
    for (n, session, http, question) in open.iter_mut().rev() {
        let content = json!({ "action": "accept", "content": { "answer": n.to_string() } });
        session.post(&answer(question, content)).expect(202);
        assert_eq!(text(http.rest().last().unwrap()), n.to_string());
    }
}

#[test]
fn a_cancelled_request_ends_without_an_answer() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut http =
        session.start(&call_with_progress(9, "sleep", json!({ "ms": 60_000, "steps": 60_000 }), "t"));
    http.message();
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 9 } });
    session.post(&cancel).expect(202);
    assert_eq!(structured(&session.call("whoami", json!({})))["violations"], json!([]));
    assert!(station.mux.methods("a").contains(&"notifications/cancelled".to_owned()), "P09");
    // One that has said nothing yet does not keep its client waiting.
    let mut silent = session.connect();
    silent.send(&session.asks(&call(10, "sleep", json!({ "ms": 60_000 }))));
    session.request(11, "ping", json!({}));
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 10 } });
    session.post(&cancel).expect(202);
    assert_eq!(silent.reply().expect(200).messages(), [] as [Value; 0]);
}

#[test]
fn the_death_of_the_server_is_told_on_the_stream() {
    let keys = "interactive = \"serialize\"\nrestart_backoff_ms = 1";
    let station = Station::demo(&["--era", "legacy"], keys);
    let session = Session::of(&station, "a", "2025-11-25", everything());
    let mut own = session.listen();
    let mut open = session.start(&call(1, "ask", json!({ "question": "?" })));
    open.message();
    let pid = station.control("status", json!({}))["servers"][0]["pid"].as_i64().unwrap();
    signal_process(pid as i32, libc::SIGKILL).unwrap();
    let messages = open.rest();
    assert_eq!(messages.last().unwrap()["id"], 1);
    assert!(!reason(messages.last().unwrap()).is_empty(), "P22: {messages:?}");
    own.until(|message| message["method"] == "notifications/tools/list_changed");
    assert_eq!(text(&session.call("echo", json!({ "text": "lives" }))), "lives");
}

#[test]
fn the_end_of_a_session_ends_its_streams_and_calls() {
    let station = Station::demo(&[], "");
    let (session, other) = (Session::open(&station), Session::open(&station));
    let mut own = session.listen();
    let mut open =
        session.start(&call_with_progress(1, "sleep", json!({ "ms": 60_000, "steps": 60_000 }), "t"));
    open.message();
    let mut silent = session.connect();
    silent.send(&session.asks(&call(2, "sleep", json!({ "ms": 60_000 }))));
    // The other call is with the server before the session ends.
    session.request(3, "ping", json!({}));
    other.call("echo", json!({ "text": "fence" }));
    session.delete().expect(200);
    assert_eq!(own.rest(), [] as [Value; 0]);
    open.rest();
    silent.reply().expect(404);
    other.call("echo", json!({ "text": "fence" }));
    let cancelled = station.mux.methods("a").iter().filter(|name| *name == "notifications/cancelled").count();
    assert_eq!(cancelled, 2, "P10: {:?}", station.mux.methods("a"));
}

#[test]
fn sessions_of_one_server_never_see_the_other_servers_streams() {
    let station = Station::start(PLAIN, &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let (a, b) = (Session::open(&station), Session::of(&station, "b", "2025-11-25", json!({})));
    let (mut of_a, mut of_b) = (a.listen(), b.listen());
    a.call("add_tool", json!({}));
    assert_eq!(of_a.message()["method"], "notifications/tools/list_changed");
    b.request(1, "resources/subscribe", json!({ "uri": "demo://counter" }));
    b.call("counter_add", json!({}));
    assert_eq!(of_b.message()["method"], "notifications/resources/updated", "nothing of a came before");
    let get =
        Ask::get("/servers/b/mcp").header("Accept", "text/event-stream").header("Mcp-Session-Id", &a.id);
    station.ask(&get).expect(404);
}
