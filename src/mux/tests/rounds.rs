//! A modern child asks for input, its legacy client is asked (protocol.md §4.3, P49).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{Root, ServerPolicy};
use serde_json::{Value, json};

fn everything() -> Value {
    json!({ "sampling": { "tools": {} }, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

/// A modern child ready, and a legacy client for each version and capabilities.
fn stage<const N: usize>(policy: ServerPolicy, clients: [(&str, Value); N]) -> (World, Child, [Key; N]) {
    let (mut world, child, [_modern]) = World::modern(policy);
    let clients = clients.map(|(version, capabilities)| {
        let client = world.client();
        world.says(client, initialize(version, capabilities));
        world.hears(client);
        world.says(client, note("notifications/initialized", json!({})));
        client
    });
    (world, child, clients)
}

fn latest<const N: usize>() -> (World, Child, [Key; N]) {
    stage(policy(), std::array::from_fn(|_| ("2025-11-25", everything())))
}

fn form(what: &str) -> Value {
    json!({ "method": "elicitation/create", "params": { "message": what, "requestedSchema": {} } })
}

fn sampling() -> Value {
    json!({ "method": "sampling/createMessage", "params": { "messages": [], "maxTokens": 1 } })
}

fn roots() -> Value {
    json!({ "method": "roots/list" })
}

/// `input_required` with these questions and this state (null: none).
fn input(requests: Value, state: impl Into<Value>) -> Value {
    let mut result = json!({ "resultType": "input_required" });
    let state = state.into();
    if !requests.is_null() {
        result["inputRequests"] = requests;
    }
    if !state.is_null() {
        result["requestState"] = state;
    }
    result
}

fn complete(text: &str) -> Value {
    json!({ "resultType": "complete", "content": [{ "type": "text", "text": text }] })
}

fn accept(n: u64) -> Value {
    json!({ "action": "accept", "content": { "n": n } })
}

/// A client's answer to a question.
fn reply(world: &mut World, client: Key, question: &Value, result: Value) {
    world.says(client, json!({ "id": question["id"], "result": result }));
}

fn refuse(world: &mut World, client: Key, question: &Value, why: &str) {
    world.says(client, json!({ "id": question["id"], "error": { "code": -1, "message": why } }));
}

/// All requests were answered and nothing of a round is left.
#[track_caller]
fn nothing_open(world: &World) {
    let sizes = world.mux.sizes();
    assert_eq!((sizes.requests, sizes.reverse, sizes.timers), (0, 0, 0), "{sizes:?}");
    assert!(world.mux.peers.iter().all(|(_, peer)| peer.kept_bytes == 0 && peer.reverse.is_empty()));
}

/// P49: questions in the order of the server, one final result under the original id, and each time a new id
/// upstream with the answers as they were given and the state as it was written.
#[test]
fn questions_are_asked_and_the_call_is_made_again() {
    for (method, params) in [
        (
            "tools/call",
            json!({ "name": "t", "arguments": { "x": 1.5 }, "_meta": { "progressToken": "p", "k": 1 } }),
        ),
        ("prompts/get", json!({ "name": "t", "_meta": { "progressToken": "p", "k": 1 } })),
        ("resources/read", json!({ "uri": "a:b", "_meta": { "progressToken": "p", "k": 1 } })),
    ] {
        let (mut world, child, [a]) = latest();
        world.says(a, request("call", method, params));
        let first = world.hears_of(child, method);
        let inputs = json!({ "z": form("name?"), "a": sampling(), "m": roots() });
        // As written: serde_json would sort the keys.
        let line =
            json!({ "jsonrpc": "2.0", "id": first["id"], "result": input(json!("INPUTS"), json!("STATE")) });
        let written = format!(r#"{{"z":{},"a":{},"m":{}}}"#, inputs["z"], inputs["a"], inputs["m"]);
        world.says_raw(
            child,
            &line.to_string().replace("\"INPUTS\"", &written).replace("\"STATE\"", r#""s\u0074ate\/""#),
        );
        let asked = world.hears_all(a);
        let methods: Vec<_> = asked.iter().map(|q| q["method"].as_str().unwrap()).collect();
        assert_eq!(methods, ["elicitation/create", "sampling/createMessage", "roots/list"]);
        assert_eq!(asked[0]["params"], inputs["z"]["params"]);
        reply(&mut world, a, &asked[2], json!({ "roots": [] }));
        reply(&mut world, a, &asked[0], accept(1));
        world.silent(child);
        world.says_raw(a, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"n":1.10e2}}}}"#, asked[1]["id"]));
        let line = world.hears_raw(child);
        let answers = r#""inputResponses":{"z":{"action":"accept","content":{"n":1}},"a":{"n":1.10e2},"m":{"roots":[]}},"requestState":"s\u0074ate\/""#;
        assert!(line.contains(answers), "{line}");
        let second: Value = serde_json::from_str(&line).unwrap();
        assert_ne!(second["id"], first["id"]);
        let mut expected = first["params"].clone();
        expected["_meta"]["progressToken"] = second["id"].clone();
        let mut same = second["params"].clone();
        same.as_object_mut().unwrap().retain(|key, _| key != "inputResponses" && key != "requestState");
        assert_eq!(same, expected);
        world.says(
            child,
            note("notifications/progress", json!({ "progressToken": second["id"], "progress": 1 })),
        );
        assert_eq!(world.hears(a)["params"]["progressToken"], "p");
        // The first id is dead.
        world.answers(child, &first, complete("late"));
        world.silent(a);
        world.answers(child, &second, input(json!({ "z": form("again?") }), Value::Null));
        let question = world.hears_of(a, "elicitation/create");
        reply(&mut world, a, &question, accept(2));
        let third = world.hears_of(child, method);
        assert_eq!(third["params"]["inputResponses"], json!({ "z": accept(2) }));
        assert!(third["params"].get("requestState").is_none());
        world.answers(child, &third, complete("done"));
        let told = world.hears(a);
        assert_eq!((&told["id"], &told["result"]["content"][0]["text"]), (&json!("call"), &json!("done")));
        reply(&mut world, a, &question, accept(3));
        world.silent(child);
        nothing_open(&world);
    }
}
