//! A server of 2026-07-28 that asks for input, and clients of the revisions before (protocol.md §4.3): they are
//! asked by requests, on every kind of connection.

use crate::events::Client;
use crate::support::{Session, Station, answer, call, code, holds_within, reason, structured, text};
use serde_json::{Value, json};
use std::time::Duration;

fn everything() -> Value {
    json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

fn modern() -> Station {
    Station::demo(&["--era", "modern"], "")
}

fn accept(answer: &str) -> Value {
    json!({ "action": "accept", "content": { "answer": answer } })
}

#[test]
fn questions_come_on_the_stream_of_the_call() {
    let station = modern();
    for version in ["2025-06-18", "2025-11-25"] {
        let session = Session::of(&station, "a", version, everything());
        for (via, method, result, said) in [
            ("elicitation", "elicitation/create", accept("yes"), "yes"),
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
            session.post(&answer(&question, result)).expect(202);
            let messages = http.rest();
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert_eq!((&messages[0]["id"], text(&messages[0])), (&json!(1), said));
            assert!(messages[0]["result"].get("resultType").is_none(), "{messages:?}");
        }
    }
    // The server saw calls only, each with all that it must have.
    let session = Session::of(&station, "a", "2025-11-25", everything());
    assert_eq!(structured(&session.call("whoami", json!({})))["violations"], json!([]));
}

#[test]
fn two_clients_are_asked_at_once_and_nothing_crosses() {
    let station = modern();
    let sessions: Vec<_> = (0..2).map(|_| Session::of(&station, "a", "2025-11-25", everything())).collect();
    let open: Vec<_> = sessions
        .iter()
        .enumerate()
        .map(|(n, session)| {
            let mut http = session.start(&call(1, "ask", json!({ "question": format!("{n}?") })));
            let question = http.message();
            assert!(question["params"].to_string().contains(&format!("{n}?")), "{question}");
            (n, http, question)
        })
        .collect();
    for (n, mut http, question) in open.into_iter().rev() {
        sessions[1 - n].post(&answer(&question, accept("forged"))).expect(202);
        sessions[n].post(&answer(&question, accept(&n.to_string()))).expect(202);
        assert_eq!(text(http.rest().last().unwrap()), n.to_string());
    }
}

#[test]
fn each_question_is_on_the_stream_of_its_own_call() {
    let station = modern();
    let session = Session::of(&station, "a", "2025-11-25", everything());
    let mut open: Vec<_> = (0..3)
        .map(|n| {
            let mut http = session.start(&call(n, "ask", json!({ "question": format!("{n}?") })));
            let question = http.message();
            assert!(question["params"].to_string().contains(&format!("{n}?")), "{question}");
            (http, question)
        })
        .collect();
    for n in [1, 2, 0] {
        let (http, question) = &mut open[n];
        session.post(&answer(question, accept(&n.to_string()))).expect(202);
        let told = http.rest();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["id"], text(&told[0])), (&json!(n), &n.to_string()[..]));
    }
}

#[test]
fn a_page_gets_an_id_and_refusals_reach_whom_they_concern() {
    let station = modern();
    let session = Session::of(&station, "a", "2025-11-25", everything());
    let mut http = session.start(&call(1, "elicit_url", json!({ "url": "https://page.invalid/" })));
    let question = http.message();
    assert_eq!(question["params"]["url"], "https://page.invalid/");
    assert_eq!(question["params"]["elicitationId"].as_str().map(str::len), Some(32));
    session.post(&answer(&question, json!({ "action": "accept" }))).expect(202);
    assert!(http.rest()[0]["result"].is_object());

    let refusal = |question: &Value| json!({ "jsonrpc": "2.0", "id": question["id"], "error": { "code": -1, "message": "not today" } });
    let mut http = session.start(&call(2, "ask", json!({ "via": "elicitation" })));
    let question = http.message();
    session.post(&refusal(&question)).expect(202);
    assert!(http.rest()[0]["result"].to_string().contains("cancel"));
    let mut http = session.start(&call(3, "ask", json!({ "via": "sampling" })));
    let question = http.message();
    session.post(&refusal(&question)).expect(202);
    let told = http.rest();
    assert_eq!((code(&told[0]), reason(&told[0])), (-32603, "input_required"));
    assert!(told[0]["error"]["message"].as_str().unwrap().contains("not today"), "{told:?}");

    // What it did not declare, the server knows and says itself.
    let mute = Session::of(&station, "a", "2025-11-25", json!({}));
    assert_eq!(code(&mute.call("ask", json!({ "via": "sampling" }))), -32603);
}

#[test]
fn a_question_outlives_the_server_that_asked() {
    let station = Station::demo(&["--era", "modern"], "restart_backoff_ms = 100");
    let session = Session::of(&station, "a", "2025-11-25", everything());
    let mut http = session.start(&call(1, "ask", json!({ "question": "still there?" })));
    let question = http.message();
    let pid = || station.control("status", json!({}))["servers"][0]["pid"].as_u64();
    let before = pid().expect("a process");
    Session::open(&station).post(&call(1, "crash", json!({})));
    assert!(holds_within(Duration::from_secs(10), || pid().is_some_and(|pid| pid != before)));
    session.post(&answer(&question, accept("yes"))).expect(202);
    assert_eq!(text(http.rest().last().unwrap()), "yes");
}

#[test]
fn a_client_of_events_is_asked() {
    let station = modern();
    let mut client = Client::greeted(&station, "a", json!({ "sampling": {} }));
    client.post(&call(1, "ask", json!({ "question": "?", "via": "sampling" })));
    let question = client.next();
    assert_eq!(question["method"], "sampling/createMessage");
    let said = json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "sure" } });
    client.post(&answer(&question, said));
    assert_eq!(text(&client.next()), "sure");
}
