//! Children that answer in the wrong era, or in none: every client gets an answer, and nobody is hurt.

use serde_json::{Value, json};

use crate::cell::{Kind, refused};
use crate::client::{Client, Front, Version, obliging};
use crate::support::{Server, Station};

const CLIENTS: [(Front, Version); 4] = [
    (Front::Unix, Version::V11),
    (Front::Http, Version::V06),
    (Front::Unix, Version::V26),
    (Front::Http, Version::V26),
];

/// A daemon with a server that answers so.
fn station(kind: Kind, options: &[&str]) -> Station {
    let keys = format!(
        "interactive = \"serialize\"\nera = \"{}\"\nmax_active_clients = 64\nrestart_backoff_ms = 1\nmax_restarts = 2",
        kind.name()
    );
    let options = [&["--era", kind.name()], options].concat();
    Station::start(crate::support::station::PLAIN, &[Server::demo("a", &options).keys(&keys)])
}

fn answering(kind: Kind, method: &str, result: &Value) -> Station {
    station(kind, &["--answer", &format!("{method}={result}")])
}

/// Calls a tool and answers whatever is asked.
fn call(station: &Station, front: Front, version: Version) -> (Value, usize) {
    let mut client = Client::open(station, "a", front, version);
    let dialog = client.converse("tools/call", json!({ "name": "echo", "arguments": {} }), obliging);
    // Everything else goes on.
    let lists = client.ask("prompts/list", json!({}));
    assert!(lists["result"]["prompts"].is_array(), "{lists}");
    (dialog.answer, dialog.by_request.len())
}

#[test]
fn a_legacy_child_that_says_input_required_has_said_its_last() {
    let asks = json!({
        "content": [],
        "resultType": "input_required",
        "inputRequests": { "a": { "method": "roots/list" } },
        "requestState": "s",
    });
    let station = answering(Kind::Legacy, "tools/call", &asks);
    for (front, version) in CLIENTS {
        let (answer, asked) = call(&station, front, version);
        assert_eq!(asked, 0);
        match version.is_modern() {
            // The members mean nothing in its era, but in the client's they would.
            true => assert_eq!(answer["result"]["resultType"], "complete", "{answer}"),
            false => assert_eq!(answer["result"], asks, "within an era nothing is touched"),
        }
    }
}

#[test]
fn a_modern_child_that_does_not_say_what_its_result_is_has_said_all() {
    let plain = json!({ "content": [{ "type": "text", "text": "done" }] });
    let station = answering(Kind::Modern, "tools/call", &plain);
    for (front, version) in CLIENTS {
        let (answer, asked) = call(&station, front, version);
        assert_eq!((&answer["result"], asked), (&plain, 0), "{version:?}");
    }
}

#[test]
fn questions_that_are_none_fail_the_call_of_a_legacy_client() {
    for result in [
        json!({ "resultType": "input_required" }),
        json!({ "resultType": "input_required", "inputRequests": 7, "requestState": "s" }),
        json!({ "resultType": "input_required", "inputRequests": { "a": { "method": "tools/call" } } }),
        json!({ "resultType": "input_required", "inputRequests": { "a": null } }),
        json!({ "resultType": "input_required", "inputRequests": { "a": { "method": "ping", "params": {} } } }),
    ] {
        let station = answering(Kind::Modern, "tools/call", &result);
        for (front, version) in CLIENTS.into_iter().filter(|(_, version)| !version.is_modern()) {
            let (answer, asked) = call(&station, front, version);
            assert_eq!((refused(&answer).as_str(), asked), ("refused -32603", 0), "{result}");
        }
    }
}

#[test]
fn questions_without_end_come_to_one() {
    let asks = json!({
        "resultType": "input_required",
        "inputRequests": { "a": { "method": "roots/list" } },
        "requestState": "s",
    });
    let station = answering(Kind::Modern, "tools/call", &asks);
    for (front, version) in CLIENTS.into_iter().filter(|(_, version)| !version.is_modern()) {
        let (answer, asked) = call(&station, front, version);
        assert_eq!((refused(&answer).as_str(), asked), ("refused -32603", 16), "{answer}");
    }
}

#[test]
fn requests_of_a_modern_child_are_ignored() {
    let station = station(Kind::Modern, &["--asks-unprompted"]);
    for (front, version) in CLIENTS {
        let mut client = Client::open(&station, "a", front, version);
        client.call("echo", json!({}));
        let me = client.call("whoami", json!({}))["result"]["structuredContent"].clone();
        assert_eq!((&me["unprompted"], &me["violations"]), (&json!([]), &json!([])), "{me}");
        assert!(!client.has(|message| message["method"] == "sampling/createMessage"), "P42");
    }
}

/// The handshake of one era answered in the words of the other: everybody is told, or served.
#[test]
fn a_handshake_in_the_wrong_words_leaves_nobody_waiting() {
    let initialized = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "old", "version": "1" },
    });
    let discovered = json!({
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": { "tools": {} },
        "ttlMs": 0,
        "cacheScope": "private",
    });
    for (kind, method, result) in
        [(Kind::Legacy, "initialize", &discovered), (Kind::Modern, "server/discover", &initialized)]
    {
        let station = answering(kind, method, result);
        for (front, version) in CLIENTS {
            let hello = if version.is_modern() { "server/discover" } else { "initialize" };
            let mut client = Client::unopened(&station, "a", front, version);
            let params = if version.is_modern() { json!({}) } else { client.introduction() };
            let answer = client.ask(hello, params);
            match answer.get("error") {
                Some(_) => assert_eq!(refused(&answer), "refused -32603", "{answer}"),
                None => assert!(answer["result"]["capabilities"].is_object(), "{answer}"),
            }
        }
    }
}
