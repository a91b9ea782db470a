//! The merged endpoint of the built binary: two servers behind one path.

use crate::support::{Server, Session, Station, answer, call, code, modern, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PLAIN: &str = "http = \"127.0.0.1:0\"";

fn two() -> Station {
    Station::start(PLAIN, &[Server::demo("a", &[]), Server::demo("b", &["--era", "modern"])])
}

fn everything() -> Value {
    json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

fn session(station: &Station) -> Session {
    Session::at(station, "/mcp", "2025-11-25", everything())
}

/// All tools, page by page.
fn tools(session: &Session) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut params = json!({});
    loop {
        let result = session.request(2, "tools/list", params)["result"].clone();
        let names = result["tools"].as_array().expect("tools").iter();
        all.extend(names.map(|tool| tool["name"].as_str().unwrap().to_owned()));
        match result.get("nextCursor") {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return all,
        }
    }
}

#[test]
fn tools_of_all_servers_are_behind_one_path_in_both_eras() {
    let station = two();
    let session = session(&station);
    let all = tools(&session);
    for name in ["a__echo", "b__echo"] {
        assert!(all.contains(name), "{all:?}");
        let told = session.call(name, json!({ "text": name }));
        assert_eq!(text(&told), name, "{told}");
        let params = json!({ "name": name, "arguments": { "text": name } });
        let told = station.ask(&modern("/mcp", 3, "tools/call", params)).expect(200).message();
        assert_eq!(text(&told), name, "{told}");
    }
    assert_eq!(code(&session.call("echo", json!({}))), -32602);
}

#[test]
fn questions_reach_the_client_of_the_call() {
    let station = two();
    let session = session(&station);
    let ask = call(1, "b__ask", json!({ "question": "?", "via": "elicitation" }));
    let mut http = session.start(&ask);
    // What the servers have is known only now: that may be told before.
    let question = http.until(|message| message["method"] == "elicitation/create");
    let accept = json!({ "action": "accept", "content": { "answer": "yes" } });
    session.post(&answer(&question, accept)).expect(202);
    let told = http.until(|message| message["id"] == 1);
    assert_eq!(text(&told), "yes", "{told}");
}

#[test]
fn a_server_that_dies_takes_no_other_with_it() {
    let station = two();
    let session = session(&station);
    tools(&session);
    let told = session.call("a__crash", json!({}));
    assert!(told.get("error").is_some(), "{told}");
    assert_eq!(text(&session.call("b__echo", json!({ "text": "still" }))), "still");
}

#[test]
fn changes_of_a_server_and_of_the_file_are_told() {
    let station = two();
    let session = session(&station);
    let before = tools(&session);
    let mut stream = session.listen();
    let is_change = |message: &Value| message["method"] == "notifications/tools/list_changed";
    session.call("b__add_tool", json!({}));
    stream.until(is_change);
    let more = tools(&session);
    assert!(more.len() == before.len() + 1 && more.is_superset(&before), "{more:?}");
    let servers = [Server::demo("a", &[]), Server::demo("b", &["--era", "modern"]), Server::demo("c", &[])];
    station.write(PLAIN, &servers);
    station.control("reload", json!({}));
    stream.until(is_change);
    let after = tools(&session);
    assert!(after.contains("c__echo") && after.contains("a__echo"), "{after:?}");
}
