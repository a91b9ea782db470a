//! Change notifications and log lines between the eras over HTTP (protocol.md §2.7, §4.2, §4.3): listens on a server
//! of the old kind, streams of sessions on one of the new.

use crate::support::{
    Ask, Http, PATIENCE, Session, Station, call, code, holds_within, modern, structured, text,
};
use serde_json::{Value, json};

const PATH: &str = "/servers/a/mcp";
const COUNTER: &str = "demo://counter";

fn new_call(tool: &str, arguments: Value) -> Ask {
    modern(PATH, 1, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// A listen that is acknowledged, with what was honoured.
fn listen(station: &Station, id: Value, notifications: Value) -> (Http, Value) {
    let mut http = station.connect();
    let ask = modern(PATH, id.clone(), "subscriptions/listen", json!({ "notifications": notifications }));
    assert!(http.start(&ask).is_stream());
    let first = http.message();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "P45");
    assert_eq!(subscription(&first), &id, "P45");
    (http, first["params"]["notifications"].clone())
}

fn subscription(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

fn count(station: &Station, method: &str) -> usize {
    station.mux.methods("a").iter().filter(|name| *name == method).count()
}

/// The tool `log` says something at `level`; what a request that wants `wanted` hears of it.
fn log_lines(station: &Station, level: &str, wanted: Option<&str>) -> usize {
    let mut params = json!({ "name": "log", "arguments": { "level": level, "text": "x" } });
    if let Some(wanted) = wanted {
        params["_meta"] = json!({ "io.modelcontextprotocol/logLevel": wanted });
    }
    let messages = station.ask(&modern(PATH, 2, "tools/call", params)).expect(200).messages();
    messages.iter().filter(|message| message["method"] == "notifications/message").count()
}

#[test]
fn a_listen_on_an_old_server_gets_what_it_asked_for() {
    let mut station = Station::demo(&["--era", "legacy"], "");
    let session = Session::open(&station);
    let mut old = session.listen();
    session.request("s", "resources/subscribe", json!({ "uri": COUNTER }));
    let wants = json!({ "toolsListChanged": true, "promptsListChanged": true, "taskIds": [] });
    let (mut lists, honoured) = listen(&station, json!(7), wants);
    assert_eq!(
        honoured,
        json!({ "toolsListChanged": true }),
        "what the server does not announce is left out"
    );
    let wants = json!({ "resourceSubscriptions": [COUNTER, "demo://text/none"] });
    let (mut counter, honoured) = listen(&station, json!("7"), wants);
    assert_eq!(honoured, json!({ "resourceSubscriptions": [COUNTER] }), "what it refuses, too");
    assert_eq!(count(&station, "resources/subscribe"), 2, "P16: one each");
    for _ in 0..2 {
        station.ask(&new_call("counter_add", json!({}))).expect(200);
        for (http, id) in [(&mut counter, json!("7")), (&mut old, Value::Null)] {
            let update = http.message();
            assert_eq!(update["method"], "notifications/resources/updated");
            assert_eq!((subscription(&update), &update["params"]["uri"]), (&id, &json!(COUNTER)));
        }
        session.call("add_tool", json!({}));
        for (http, id) in [(&mut lists, json!(7)), (&mut old, Value::Null)] {
            let change = http.message();
            assert_eq!(change["method"], "notifications/tools/list_changed");
            assert_eq!(subscription(&change), &id);
        }
    }
    // The last who wants the resource takes it back, by leaving.
    session.request("u", "resources/unsubscribe", json!({ "uri": COUNTER }));
    assert_eq!(count(&station, "resources/unsubscribe"), 0);
    drop(counter);
    assert!(holds_within(PATIENCE, || count(&station, "resources/unsubscribe") == 1), "P16");
    drop(old);
    drop(session);
    station.mux.signal(libc::SIGTERM);
    let messages = lists.rest();
    assert_eq!((messages.len(), &messages[0]["id"]), (1, &json!(7)), "P46: {messages:?}");
    assert_eq!(messages[0]["result"]["resultType"], "complete", "P46");
    assert!(station.mux.ended().success());
}

#[test]
fn streams_of_sessions_on_a_new_server_hear_of_changes() {
    let station = Station::demo(&["--era", "modern"], "");
    let sessions = [Session::open(&station), Session::of(&station, "a", "2025-03-26", json!({}))];
    let mut streams = [sessions[0].listen(), sessions[1].listen()];
    let hears_of_tools = |stream: &mut Http| {
        let message = stream.message();
        assert_eq!(message["method"], "notifications/tools/list_changed");
        assert_eq!(message["params"].get("_meta"), None, "P19: without the tag of the listen");
    };
    assert!(holds_within(PATIENCE, || count(&station, "subscriptions/listen") == 1));
    station.ask(&new_call("add_tool", json!({}))).expect(200);
    for stream in &mut streams {
        hears_of_tools(stream);
    }
    let result = sessions[0].request("s", "resources/subscribe", json!({ "uri": COUNTER }));
    assert_eq!(result["result"], json!({}));
    let refused = sessions[0].request("n", "resources/subscribe", json!({ "uri": "demo://text/none" }));
    assert_eq!(code(&refused), -32602);
    sessions[1].call("counter_add", json!({ "by": 1 }));
    let update = streams[0].message();
    assert_eq!(
        (&update["method"], &update["params"]),
        (&json!("notifications/resources/updated"), &json!({ "uri": COUNTER }))
    );
    sessions[0].request("u", "resources/unsubscribe", json!({ "uri": COUNTER }));
    sessions[1].call("counter_add", json!({ "by": 1 }));
    sessions[1].call("add_tool", json!({}));
    // Nothing of the counter any more, and never for the other.
    for stream in &mut streams {
        hears_of_tools(stream);
    }
    for method in ["initialize", "resources/subscribe", "logging/setLevel"] {
        assert_eq!(count(&station, method), 0, "not for a server of the new kind: {method}");
    }
    let who = station.ask(&new_call("whoami", json!({}))).expect(200).json();
    assert_eq!(structured(&who)["violations"], json!([]));
}

#[test]
fn lines_of_an_old_server_are_for_requests_that_ask_for_them() {
    let station = Station::demo(&["--era", "legacy"], "");
    let session = Session::open(&station);
    session.request("l", "logging/setLevel", json!({ "level": "error" }));
    assert_eq!(log_lines(&station, "error", None), 0, "P47");
    assert_eq!(log_lines(&station, "warning", Some("warning")), 1, "the level was raised in time");
    assert_eq!(log_lines(&station, "info", Some("warning")), 0);
    let told = station.mux.methods("a");
    let raised = told.iter().rposition(|method| method == "logging/setLevel").expect("a level");
    assert!(told[raised + 1..].iter().filter(|method| *method == "tools/call").count() >= 2, "{told:?}");
    // The session hears what its own level says.
    let mut stream = session.listen();
    for level in ["warning", "error", "error"] {
        log_lines(&station, level, Some("debug"));
    }
    for _ in 0..3 {
        let line = stream.message();
        assert_eq!(
            (&line["method"], &line["params"]["level"]),
            (&json!("notifications/message"), &json!("error"))
        );
    }
}

#[test]
fn lines_of_a_new_server_come_to_sessions_that_set_a_level() {
    let station = Station::demo(&["--era", "modern"], "");
    let session = Session::open(&station);
    let mut stream = session.listen();
    let log =
        |level: &str| session.post(&call(1, "log", json!({ "level": level, "text": level }))).expect(200);
    assert_eq!(text(&log("emergency").message()), "below the level, not sent");
    assert_eq!(session.request("l", "logging/setLevel", json!({ "level": "warning" }))["result"], json!({}));
    log("info");
    let answer = log("error").message();
    assert_eq!(text(&answer), "sent");
    let line = stream.message();
    assert_eq!(
        (&line["method"], &line["params"]["level"]),
        (&json!("notifications/message"), &json!("error"))
    );
    assert_eq!(log_lines(&station, "error", Some("error")), 1);
    assert_eq!(log_lines(&station, "error", None), 0, "P47");
}
