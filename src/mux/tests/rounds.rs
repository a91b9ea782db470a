//! A modern child asks for input, its legacy client is asked (protocol.md §4.3, P49).

mod ends;
mod walk;

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{Root, ServerPolicy};
use serde_json::{Value, json};

fn everything() -> Value {
    json!({ "sampling": { "tools": {} }, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

/// A modern child ready, and a legacy client for each version and capabilities.
fn stage<const N: usize>(policy: ServerPolicy, clients: [(&str, Value); N]) -> (World, Child, [Key; N]) {
    // Without lists that change, so that nothing else is asked of it.
    let (mut world, child, [_modern]) = World::modern_with(json!({ "tools": {}, "prompts": {} }), policy);
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

/// A client is asked nothing that it did not declare or that its version does not know, and configured roots
/// are told without asking; else the call fails, in words.
#[test]
fn only_what_a_client_can_answer_is_asked() {
    let page = json!({ "method": "elicitation/create",
        "params": { "mode": "url", "message": "look", "url": "https://a/", "elicitationId": "old" } });
    let mut with_tools = sampling();
    with_tools["params"]["tools"] = json!([]);
    let form = form("?");
    for (version, capabilities, question, is_asked) in [
        ("2025-11-25", json!({}), form.clone(), false),
        ("2025-11-25", json!({ "elicitation": {} }), form.clone(), true),
        ("2025-06-18", json!({ "elicitation": {} }), form.clone(), true),
        ("2024-11-05", json!({ "elicitation": {} }), form.clone(), true),
        ("2024-11-05", json!({}), form.clone(), false),
        ("2025-11-25", json!({ "elicitation": { "url": {} } }), form, false),
        ("2025-11-25", json!({ "elicitation": { "url": {} } }), page.clone(), true),
        ("2025-11-25", json!({ "elicitation": {} }), page.clone(), false),
        ("2025-06-18", json!({ "elicitation": { "url": {} } }), page, false),
        ("2024-11-05", json!({ "sampling": {} }), sampling(), true),
        ("2025-11-25", json!({ "elicitation": {} }), sampling(), false),
        ("2025-11-25", json!({ "sampling": {} }), with_tools.clone(), false),
        ("2025-11-25", json!({ "sampling": { "tools": {} } }), with_tools, true),
        ("2024-11-05", json!({ "roots": { "listChanged": true } }), roots(), true),
        ("2025-11-25", json!({ "sampling": {} }), roots(), false),
    ] {
        let (mut world, child, [a, b]) =
            stage(policy(), [(version, capabilities), ("2025-11-25", everything())]);
        world.says(a, call(1, "t"));
        let first = world.hears(child);
        world.answers(child, &first, input(json!({ "k": question }), "s"));
        world.silent(b);
        if !is_asked {
            let failure = world.hears_failure(a, 1, "input_required");
            assert!(failure["error"]["message"].as_str().unwrap().contains(version), "{failure}");
            world.silent(child);
        } else {
            let asked = world.hears_of(a, question["method"].as_str().unwrap());
            if question["params"]["mode"] == "url" {
                let id = asked["params"]["elicitationId"].as_str().unwrap();
                assert!(id.len() == 32 && id != "0".repeat(32), "{id}");
            }
            reply(&mut world, a, &asked, json!({}));
            let second = world.hears(child);
            assert_eq!(second["params"]["inputResponses"], json!({ "k": {} }));
            world.answers(child, &second, complete(""));
            world.hears(a);
        }
        nothing_open(&world);
    }
}

/// What a sampling is about is in blocks that the client's version knows, one in a message before 2025-11-25.
#[test]
fn a_sampling_is_asked_in_the_blocks_of_the_version() {
    let text = json!({ "type": "text", "text": "this" });
    let audio = json!({ "type": "audio", "data": "AA", "mimeType": "audio/wav" });
    let mut question = sampling();
    question["params"]["messages"] = json!([{ "role": "user", "content": [text, audio] }]);
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (mut world, child, [a]) = stage(policy(), [(version, everything())]);
        world.says(a, call(1, "t"));
        let first = world.hears(child);
        world.answers(child, &first, input(json!({ "k": question }), "s"));
        let asked = world.hears_of(a, "sampling/createMessage");
        let messages = &asked["params"]["messages"];
        if version == "2025-11-25" {
            assert_eq!(messages, &question["params"]["messages"]);
            continue;
        }
        assert_eq!(messages[0], json!({ "role": "user", "content": text }), "{version}");
        assert_eq!((&messages[1]["role"], messages.as_array().unwrap().len()), (&json!("user"), 2));
        let is_heard = version > "2024-11-05";
        assert_eq!(messages[1]["content"]["type"], if is_heard { "audio" } else { "text" }, "{version}");
    }
}

/// P14: configured roots are told without asking, alone and beside other questions.
#[test]
fn configured_roots_are_told_without_asking() {
    let policy = ServerPolicy { roots: vec![Root { uri: "file:///a".into(), name: None }], ..policy() };
    let (mut world, child, [a]) = stage(policy, [("2025-11-25", json!({ "elicitation": {} }))]);
    world.says(a, call(1, "t"));
    let first = world.hears(child);
    world.answers(child, &first, input(json!({ "r": roots() }), Value::Null));
    world.silent(a);
    let second = world.hears(child);
    let told = json!({ "roots": [{ "uri": "file:///a" }] });
    assert_eq!(second["params"]["inputResponses"], json!({ "r": told }));
    world.answers(child, &second, input(json!({ "r": roots(), "q": form("?") }), Value::Null));
    let question = world.hears_of(a, "elicitation/create");
    world.silent(a);
    reply(&mut world, a, &question, accept(1));
    let third = world.hears(child);
    assert_eq!(third["params"]["inputResponses"], json!({ "r": told, "q": accept(1) }));
    world.answers(child, &third, complete(""));
    world.hears(a);
    nothing_open(&world);
}

/// What is no question, too many of them, or nothing at all, fails the call and nothing else.
#[test]
fn malformed_rounds_fail_the_call() {
    let many: Value = (0..17).map(|n| (n.to_string(), form("?"))).collect::<serde_json::Map<_, _>>().into();
    for (result, why) in [
        (input(Value::Null, Value::Null), "neither questions nor"),
        (input(json!({}), Value::Null), "neither questions nor"),
        (input(json!([form("?")]), "s"), "`inputRequests` is no object"),
        (input(json!({ "k": form("?") }), 7), "`requestState` is no string"),
        (
            input(json!({ "good": form("?"), "z": { "method": "tools/call", "params": {} } }), "s"),
            "no client can be",
        ),
        (input(json!({ "z": { "method": "elicitation/create" } }), "s"), "has no object `params`"),
        (input(json!({ "z": 7 }), "s"), "is not an object"),
        (input(many, "s"), "more than 16 questions"),
    ] {
        let (mut world, child, [a]) = latest();
        world.says(a, call(1, "t"));
        let first = world.hears(child);
        world.answers(child, &first, result);
        let failure = world.hears_failure(a, 1, "input_required");
        assert!(failure["error"]["message"].as_str().unwrap().contains(why), "{failure}");
        world.silent(a);
        world.silent(child);
        nothing_open(&world);
    }
}

/// protocol.md §1.2.10: a result of a type that a legacy client does not know is no result to it; of
/// `input_required` too, where no client can be asked. One without a type passes.
#[test]
fn other_results_are_not_taken_for_complete_ones() {
    let (mut world, child, [a]) = latest();
    for (id, method, kind) in
        [(1, "tools/call", "task"), (2, "tools/call", "x"), (3, "tools/list", "input_required")]
    {
        world.says(a, request(id, method, json!({ "name": "t" })));
        let asked = world.hears(child);
        world.answers(child, &asked, json!({ "resultType": kind, "requestState": "s", "content": [] }));
        let failure = world.hears_failure(a, id, "result_type");
        assert!(failure["error"]["message"].as_str().unwrap().contains(kind), "{failure}");
    }
    world.says(a, call(4, "t"));
    let asked = world.hears(child);
    world.answers(child, &asked, json!({ "content": [1] }));
    assert_eq!(world.hears(a)["result"], json!({ "content": [1] }));
    // In its own era `input_required` is the client's business.
    let [b] = [world.client()];
    world.says(b, modern(5, "tools/call", json!({ "name": "t" })));
    let asked = world.hears(child);
    world.answers(child, &asked, input(json!({ "k": form("?") }), "s"));
    assert_eq!(world.hears(b)["result"], input(json!({ "k": form("?") }), "s"));
    nothing_open(&world);
}

/// A refused elicitation is a `cancel`; sampling and roots have no such answer: the call fails, and what else
/// was asked for it is withdrawn.
#[test]
fn refusals_are_answers_or_fail_the_call() {
    for (asks, cancels) in [(form("?"), true), (sampling(), false), (roots(), false)] {
        for way in 0..4 {
            let (mut world, child, [a, b]) = latest();
            world.says(b, call("b", "t"));
            let of_b = world.hears(child);
            world.answers(child, &of_b, input(json!({ "k": sampling() }), "b"));
            let asked_b = world.hears(b);
            world.says(a, call(1, "t"));
            let first = world.hears(child);
            world.answers(child, &first, input(json!({ "1": asks, "2": sampling() }), "s"));
            let (question, other) = (world.hears(a), world.hears(a));
            match way {
                0 => refuse(&mut world, a, &question, "the user \"said\" no"),
                1 => reply(&mut world, a, &question, json!([])),
                2 => world
                    .says_raw(a, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":"\x"}}"#, question["id"])),
                _ => {
                    let head =
                        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"#, question["id"]).into_bytes();
                    let line =
                        crate::codec::Overlong { len: 9_999, limit: 1_000, head, tail: b"}}".to_vec() };
                    world.with(|mux, now, out| mux.handle_overlong(now, a, &line, out));
                }
            }
            if cancels {
                reply(&mut world, a, &other, json!({}));
                let second = world.hears(child);
                assert_eq!(second["params"]["inputResponses"]["1"], json!({ "action": "cancel" }));
                world.answers(child, &second, complete(""));
                assert_eq!(world.hears(a)["id"], 1);
            } else {
                assert_eq!(world.hears_of(a, "notifications/cancelled")["params"]["requestId"], other["id"]);
                let failure = world.hears_failure(a, 1, "input_required");
                let text = failure["error"]["message"].as_str().unwrap();
                assert!(text.contains("\"1\\\"") || text.contains(r#"\"1\""#), "{text}");
                assert!(way != 0 || text.contains("no"), "{text}");
                // Too late.
                reply(&mut world, a, &other, json!({}));
                world.silent(child);
            }
            world.silent(a);
            world.silent(b);
            reply(&mut world, b, &asked_b, json!({ "ok": 1 }));
            let again = world.hears(child);
            assert_eq!(again["params"]["inputResponses"], json!({ "k": { "ok": 1 } }));
            world.answers(child, &again, complete(""));
            world.hears(b);
            nothing_open(&world);
        }
    }
}

/// A server that only has a state is asked again, with the state and nothing else, ever more seldom; and not
/// without end.
#[test]
fn a_state_alone_is_brought_back_after_a_pause() {
    let (mut world, child, [a]) = latest();
    world.says(a, call(1, "t"));
    let mut pause = 100;
    for round in 0..16 {
        let asked = world.hears(child);
        assert!(asked["params"].get("inputResponses").is_none());
        if round > 0 {
            assert_eq!(asked["params"]["requestState"], format!("s{}", round - 1));
        }
        world.answers(child, &asked, input(Value::Null, format!("s{round}")));
        world.advance(pause - 1);
        world.silent(child);
        world.advance(1);
        pause = (2 * pause).min(5_000);
    }
    let asked = world.hears(child);
    world.answers(child, &asked, input(Value::Null, "s16"));
    let failure = world.hears_failure(a, 1, "input_required");
    assert!(failure["error"]["message"].as_str().unwrap().contains("16 times"), "{failure}");
    nothing_open(&world);
}
