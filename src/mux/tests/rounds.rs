//! A modern child asks for input, its legacy client is asked (protocol.md §4.3, P49).

use super::tables::Chance;
use super::world::*;
use crate::base::Key;
use crate::mux::policy::{Root, ServerPolicy};
use serde_json::{Value, json};
use std::collections::BTreeSet;

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
        ("2025-03-26", json!({ "elicitation": {} }), form.clone(), false),
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

/// P09: a cancel withdraws the questions, or ends the pause, and the child hears nothing of it.
#[test]
fn a_cancelled_call_takes_its_questions_back() {
    for asks in [true, false] {
        let (mut world, child, [a]) = latest();
        world.says(a, call(1, "t"));
        let first = world.hears(child);
        let inputs = if asks { json!({ "1": form("?"), "2": roots() }) } else { Value::Null };
        world.answers(child, &first, input(inputs, "s"));
        let questions = world.hears_all(a);
        world.says(a, cancel(1));
        for question in &questions {
            assert_eq!(world.hears_of(a, "notifications/cancelled")["params"]["requestId"], question["id"]);
        }
        for question in &questions {
            reply(&mut world, a, question, accept(1));
        }
        world.advance(60_000);
        world.silent(a);
        world.silent(child);
        nothing_open(&world);
    }
}

/// A client that leaves is forgotten, with no word to the child. One that only says no more is taken to cancel
/// what it was elicited for, and gets its last answer.
#[test]
fn a_client_that_leaves_takes_its_questions_along() {
    let (mut world, child, [a, b]) = latest();
    for (client, id) in [(a, 1), (b, 2)] {
        world.says(client, call(id, "t"));
        let first = world.hears(child);
        world.answers(child, &first, input(json!({ "1": form("?"), "2": form("!") }), "s"));
        world.hears_all(client);
    }
    world.leaves(a);
    world.silent(child);
    assert_eq!(world.mux.sizes().reverse, 2);
    world.ends_input(b);
    let second = world.hears(child);
    let cancelled = json!({ "action": "cancel" });
    assert_eq!(second["params"]["inputResponses"], json!({ "1": cancelled, "2": cancelled }));
    world.answers(child, &second, input(json!({ "1": form("?") }), "s"));
    world.hears_failure(b, 2, "input_required");
    assert!(world.closed(b).is_some());
    world.advance(1_000_000);
    nothing_open(&world);
}

/// protocol.md §2.8: a call's clock stands still while its client is asked, other calls' clocks run, and
/// within the absolute maximum a silent client is taken to cancel, or the call fails.
#[test]
fn clocks_stand_still_while_the_client_is_asked() {
    for (asks, cancels) in [(form("?"), true), (sampling(), false)] {
        let (mut world, child, [a]) = latest();
        world.says(a, call(1, "t"));
        let first = world.hears(child);
        world.answers(child, &first, input(json!({ "k": asks }), "s"));
        let question = world.hears(a);
        world.says(a, call(2, "other"));
        let other = world.hears(child);
        world.advance(30_000);
        world.hears_failure(a, 2, "timeout");
        assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], other["id"]);
        world.advance(500_000);
        world.silent(a);
        world.advance(41_000);
        assert_eq!(world.hears_of(a, "notifications/cancelled")["params"]["requestId"], question["id"]);
        if cancels {
            let second = world.hears(child);
            assert_eq!(second["params"]["inputResponses"]["k"], json!({ "action": "cancel" }));
            world.advance(28_000);
            world.silent(a);
            world.answers(child, &second, complete("without"));
            assert_eq!(world.hears(a)["id"], 1);
        } else {
            world.hears_failure(a, 1, "input_required");
        }
        world.silent(child);
        nothing_open(&world);
    }
}

/// After the answers the child has its whole time again, but no call outlives the maximum.
#[test]
fn a_call_ends_at_its_maximum() {
    let policy = ServerPolicy { request_timeout_max_ms: 100_000, ..policy() };
    let (mut world, child, [a]) = stage(policy, [("2025-11-25", everything())]);
    world.says(a, call(1, "t"));
    let first = world.hears(child);
    world.answers(child, &first, input(json!({ "k": form("?") }), "s"));
    world.advance(60_000);
    let question = world.hears(a);
    reply(&mut world, a, &question, accept(1));
    let second = world.hears(child);
    world.advance(29_000);
    world.answers(child, &second, input(json!({ "k": form("?"), "l": form("?") }), "s"));
    let questions = world.hears_all(a);
    world.advance(11_000);
    // All end at the maximum: the questions are withdrawn one way or the other, and the call is over.
    let told = world.hears_all(a);
    for question in questions {
        let is_it = |m: &Value| m["params"]["requestId"] == question["id"];
        assert_eq!(told.iter().filter(|m| is_it(m)).count(), 1, "{told:?}");
    }
    assert_eq!(told.last().unwrap()["error"]["data"]["muxloop"]["reason"], "timeout", "{told:?}");
    world.hears_all(child);
    nothing_open(&world);
}

/// P15: an answer of another client, progress on a question, and an answer after the answer change nothing.
#[test]
fn rounds_of_two_clients_do_not_mix() {
    let (mut world, child, [a, b]) = latest();
    let mut open = Vec::new();
    for client in [a, b] {
        world.says(client, call(7, "t"));
        let asked = world.hears(child);
        open.push((client, asked));
    }
    for n in 0..10u64 {
        // Both in a round, answered in either order.
        let mut questions = Vec::new();
        for (client, asked) in &open {
            let mut question = form(&n.to_string());
            question["params"]["_meta"] = json!({ "progressToken": "p" });
            world.answers(child, asked, input(json!({ "k": question }), client.to_string()));
            let question = world.hears_of(*client, "elicitation/create");
            assert!(question["params"].get("_meta").is_none(), "{question}");
            questions.push(question);
        }
        world.silent(a);
        world.silent(b);
        for (at, client) in [(0, b), (1, a)] {
            let id = &questions[at]["id"];
            reply(&mut world, client, &questions[at], accept(99));
            refuse(&mut world, client, &questions[at], "not mine");
            world.says(client, note("notifications/progress", json!({ "progressToken": id, "progress": 1 })));
        }
        world.silent(child);
        for turn in [n as usize % 2, 1 - n as usize % 2] {
            let (client, asked) = &mut open[turn];
            reply(&mut world, *client, &questions[turn], accept(n + turn as u64));
            reply(&mut world, *client, &questions[turn], accept(98));
            *asked = world.hears(child);
            world.silent(child);
            assert_eq!(asked["params"]["inputResponses"], json!({ "k": accept(n + turn as u64) }));
            assert_eq!(asked["params"]["requestState"], client.to_string());
        }
    }
    for (client, asked) in &open {
        world.answers(child, asked, complete(&client.to_string()));
    }
    for client in [a, b] {
        let told = world.hears(client);
        assert_eq!(told["id"], 7);
        assert_eq!(told["result"]["content"][0]["text"], client.to_string());
        world.silent(client);
    }
    nothing_open(&world);
}

/// The child knows nothing of a round: it may end while the client is asked, and the next process is asked
/// again with the answers. A stop is another matter.
#[test]
fn a_round_outlives_the_process() {
    for restarts in [true, false] {
        let (mut world, child, [a, b]) = latest();
        world.says(a, call(1, "t"));
        let first = world.hears(child);
        world.answers(child, &first, input(json!({ "k": form("?") }), "s"));
        let question = world.hears(a);
        world.says(b, call(2, "t"));
        let of_b = world.hears(child);
        world.answers(child, &of_b, input(Value::Null, "b"));
        if restarts {
            world.with(|mux, now, out| mux.restart_server(now, 0, out));
        }
        world.exits(child, "died");
        world.silent(a);
        reply(&mut world, a, &question, accept(1));
        world.advance(1_000);
        let child = world.child();
        world.discover(child, 60_000);
        let mut asked = world.hears_all(child);
        asked.sort_by_key(|m| m["params"]["requestState"].to_string());
        let states: Vec<_> = asked.iter().map(|m| m["params"]["requestState"].as_str().unwrap()).collect();
        assert_eq!(states, ["b", "s"]);
        assert_eq!(asked[1]["params"]["inputResponses"], json!({ "k": accept(1) }));
        world.answers(child, &asked[0], complete(""));
        world.hears(b);
        world.answers(child, &asked[1], input(json!({ "k": form("?"), "l": roots() }), "s"));
        let questions = world.hears_all(a);
        world.with(|mux, now, out| mux.stop_server(now, 0, out));
        for question in &questions {
            assert_eq!(world.hears_of(a, "notifications/cancelled")["params"]["requestId"], question["id"]);
        }
        world.hears_failure(a, 1, "stopped");
        world.exits(child, "stopped");
        nothing_open(&world);
    }
}

/// C02: a call that may be made twice is, with the answers of its round.
#[test]
fn a_repeatable_call_is_made_again_with_its_answers() {
    let (mut world, child, [a]) = latest();
    world.says(a, request("l", "tools/list", json!({})));
    let asked = world.hears(child);
    let tools = json!([{ "name": "t", "annotations": { "readOnlyHint": true } }]);
    world.answers(child, &asked, json!({ "resultType": "complete", "tools": tools }));
    world.hears(a);
    world.says(a, call(1, "t"));
    let first = world.hears(child);
    world.answers(child, &first, input(json!({ "k": form("?") }), "s"));
    let question = world.hears(a);
    reply(&mut world, a, &question, accept(1));
    let second = world.hears(child);
    world.exits(child, "died");
    world.silent(a);
    world.advance(1_000);
    let child = world.child();
    world.discover(child, 60_000);
    let third = world.hears(child);
    assert_eq!(third["params"]["inputResponses"], second["params"]["inputResponses"]);
    assert_eq!(third["params"]["requestState"], "s");
    // A process died under it already, but its rounds go on.
    world.answers(child, &third, input(json!({ "k": form("?") }), "u"));
    let question = world.hears(a);
    reply(&mut world, a, &question, accept(2));
    let fourth = world.hears(child);
    assert_eq!(fourth["params"]["requestState"], "u");
    world.exits(child, "died");
    world.hears_failure(a, 1, "restarting");
    world.advance(2_000);
    let child = world.child();
    world.discover(child, 60_000);
    world.silent(child);
}

/// What has its answers takes the turn that is its client's, and no more than are its client's (B10); what waits
/// meanwhile is not held up by a call whose client is being asked.
#[test]
fn rounds_keep_the_rules_of_the_queue() {
    let policy = ServerPolicy { max_in_flight_per_client: 1, ..policy() };
    let (mut world, child, [a]) = stage(policy, [("2025-11-25", everything())]);
    world.says(a, call(1, "first"));
    world.says(a, call(2, "second"));
    world.says(a, call(3, "third"));
    let first = world.hears(child);
    world.silent(child);
    world.answers(child, &first, input(json!({ "k": form("?") }), "s"));
    let question = world.hears(a);
    let second = world.hears(child);
    assert_eq!(second["params"]["name"], "second");
    reply(&mut world, a, &question, accept(1));
    world.silent(child);
    world.answers(child, &second, complete(""));
    assert_eq!(world.hears(a)["id"], 2);
    let again = world.hears(child);
    assert_eq!(again["params"]["name"], "first");
    world.silent(child);
    world.answers(child, &again, complete(""));
    assert_eq!(world.hears(a)["id"], 1);
    let third = world.hears(child);
    world.answers(child, &third, complete(""));
    world.hears(a);
    world.advance(1_000);
    nothing_open(&world);
}

/// P58: what is kept of a client is bounded: calls, states, and answers.
#[test]
fn what_is_kept_is_bounded() {
    let big = "x".repeat(1 << 20);
    let (mut world, child, [a]) = latest();
    let mut asked = Vec::new();
    for id in 0..5 {
        world.says(a, request(id, "tools/call", json!({ "name": big })));
        asked.push(world.hears(child));
        assert!(world.mux.peers.iter().all(|(_, peer)| peer.kept_bytes <= 4 << 20));
    }
    for call in &asked {
        world.answers(child, call, input(json!({ "k": form("?") }), "s"));
    }
    let told = world.hears_all(a);
    assert!(
        told.iter().any(|m| m["error"]["data"]["muxloop"]["reason"] == "input_required"),
        "{}",
        told.len()
    );
    let questions: Vec<_> = told.into_iter().filter(|m| m["method"].is_string()).collect();
    assert_eq!(questions.len(), 3);
    for question in questions.iter().skip(1) {
        refuse(&mut world, a, question, "no");
        let again = world.hears(child);
        world.answers(child, &again, complete(""));
        world.hears(a);
    }
    reply(&mut world, a, &questions[0], json!({ "content": "y".repeat(4 << 20) }));
    let failure = world.hears_failure(a, 0, "input_required");
    assert!(failure["error"]["message"].as_str().unwrap().contains("longer than"), "{failure}");
    world.says(a, call(9, "t"));
    let call = world.hears(child);
    world.answers(child, &call, input(Value::Null, "z".repeat(5 << 20)));
    world.hears_failure(a, 9, "input_required");
    nothing_open(&world);
}

/// A random life of calls with rounds: what each child and client hears is checked against what is written in
/// names, states and questions, all of which say whose they are.
struct Walk {
    world: World,
    chance: Chance,
    children: Vec<Child>,
    clients: Vec<Walker>,
    next_id: usize,
    /// Calls at a child.
    asked: Vec<(Child, Value)>,
    finished: usize,
}

struct Walker {
    link: Key,
    /// Unanswered calls by id.
    open: BTreeSet<usize>,
    /// Open questions.
    questions: Vec<Value>,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let policy = ServerPolicy { max_in_flight_per_client: 2, max_restarts: 0, ..policy() };
        let (world, child, links) =
            stage(policy, std::array::from_fn::<_, 3, _>(|_| ("2025-11-25", everything())));
        let clients = links.map(|link| Walker { link, open: BTreeSet::new(), questions: Vec::new() }).into();
        let chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        Walk { world, chance, children: vec![child], clients, next_id: 0, asked: Vec::new(), finished: 0 }
    }

    fn step(&mut self, calm: bool) {
        match self.chance.below(if calm { 7 } else { 12 }) {
            0..=2 => self.child_answers(calm),
            3..=5 => self.client_answers(),
            6 => self.world.advance(3_000),
            7 | 8 => self.client_calls(),
            9 => self.client_cancels(),
            10 => self.child_dies(),
            _ => self.client_is_replaced(),
        }
        while self.world.wants_start() {
            let child = self.world.child();
            self.world.discover(child, 1_000_000_000);
            self.children.push(child);
        }
        self.everybody_listens();
    }

    fn client_calls(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        self.next_id += 1;
        client.open.insert(self.next_id);
        self.world.says(client.link, call(self.next_id, &format!("{}-{}", client.link, self.next_id)));
    }

    fn child_answers(&mut self, calm: bool) {
        if self.asked.is_empty() {
            return;
        }
        let (child, asked) = self.asked.swap_remove(self.chance.below(self.asked.len()));
        let name = asked["params"]["name"].as_str().unwrap();
        let round = asked["params"]["requestState"].as_str().map_or(0, |state| state.split('/').count());
        if calm || self.chance.below(3) == 0 {
            return self.world.answers(child, &asked, complete(name));
        }
        let count = self.chance.below(4);
        let state = format!("{name}/{count}{}", "/".repeat(round));
        let question = |n: usize| match n {
            0 => form(&format!("{state}?{n}")),
            _ => {
                json!({ "method": "sampling/createMessage", "params": { "message": format!("{state}?{n}") } })
            }
        };
        let questions: serde_json::Map<_, _> = (0..count).map(|n| (n.to_string(), question(n))).collect();
        self.world.answers(child, &asked, input(questions.into(), state.clone()));
    }

    fn client_answers(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        if client.questions.is_empty() {
            return;
        }
        let question = client.questions.swap_remove(self.chance.below(client.questions.len()));
        let link = client.link;
        match self.chance.below(6) {
            0 => refuse(&mut self.world, link, &question, "no"),
            _ => reply(&mut self.world, link, &question, json!({ "to": question["params"]["message"] })),
        }
    }

    fn client_cancels(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        let Some(id) = client.open.pop_first() else { return };
        self.world.says(client.link, cancel(id));
    }

    fn child_dies(&mut self) {
        let Some(child) = self.children.pop() else { return };
        self.asked.retain(|(other, _)| *other != child);
        self.world.exits(child, "died");
    }

    fn client_is_replaced(&mut self) {
        if self.chance.below(4) > 0 {
            return;
        }
        let at = self.chance.below(self.clients.len());
        self.world.leaves(self.clients[at].link);
        let link = self.world.client();
        self.world.greet(link, everything());
        self.clients[at] = Walker { link, open: BTreeSet::new(), questions: Vec::new() };
    }

    fn everybody_listens(&mut self) {
        for child in self.children.clone() {
            for message in self.world.hears_all(child) {
                if message["method"] == "notifications/cancelled" {
                    let id = &message["params"]["requestId"];
                    self.asked.retain(|(_, asked)| asked["id"] != *id);
                    continue;
                }
                assert_eq!(message["method"], "tools/call", "{message}");
                check_answers(&message["params"]);
                self.asked.push((child, message));
            }
        }
        for client in &mut self.clients {
            for message in self.world.hears_all(client.link) {
                let ours = |name: &Value| name.as_str().unwrap().starts_with(&format!("{}-", client.link));
                if message["method"] == "notifications/cancelled" {
                    let id = &message["params"]["requestId"];
                    let before = client.questions.len();
                    client.questions.retain(|question| question["id"] != *id);
                    assert_eq!(client.questions.len() + 1, before, "{message}");
                } else if message["method"].is_string() {
                    assert!(ours(&message["params"]["message"]), "{message}");
                    client.questions.push(message);
                } else {
                    let id = message["id"].as_u64().unwrap() as usize;
                    assert!(client.open.remove(&id), "{message}");
                    self.finished += 1;
                    let name = &message["result"]["content"][0]["text"];
                    assert!(message["error"]["code"] == -32603 || ours(name), "{message}");
                }
            }
        }
    }
}

/// A call that is made again has an answer to each question of its state, to just that one, or its cancel.
fn check_answers(params: &Value) {
    let Some(state) = params["requestState"].as_str() else {
        return assert!(params.get("inputResponses").is_none(), "{params}");
    };
    let (name, rest) = state.split_once('/').unwrap();
    assert_eq!(params["name"], name);
    let count: usize = rest.trim_end_matches('/').parse().unwrap();
    assert_eq!(params["inputResponses"].as_object().map_or(0, |answers| answers.len()), count, "{params}");
    for n in 0..count {
        let answer = &params["inputResponses"][n.to_string()];
        let cancelled = n == 0 && *answer == json!({ "action": "cancel" });
        assert!(cancelled || answer["to"] == format!("{state}?{n}"), "{params}");
    }
}

/// P49 over random lives: nothing crosses, every call ends, and nothing is left in any table.
#[test]
fn random_rounds_never_cross_and_all_end() {
    let mut finished = 0;
    for seed in 1..=60 {
        let mut walk = Walk::new(seed);
        for _ in 0..400 {
            walk.step(false);
        }
        for _ in 0..100_000 {
            if walk.clients.iter().all(|client| client.open.is_empty()) {
                break;
            }
            walk.step(true);
        }
        for client in &walk.clients {
            assert!(client.open.is_empty() && client.questions.is_empty(), "seed {seed}: {:?}", client.open);
        }
        finished += walk.finished;
        let Walk { mut world, .. } = walk;
        world.advance(700_000);
        nothing_open(&world);
    }
    assert!(finished > 500, "{finished}");
}
