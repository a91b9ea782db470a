//! Ids, tokens, cancels, and what passes through untouched.

use super::world::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// P03: equal ids of two clients, and ids of both types, each get their own answer.
#[test]
fn answers_go_to_their_asker_under_the_id_as_it_was_written() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    for (client, id) in [(a, json!(1)), (b, json!(1)), (a, json!("1")), (b, json!(-7)), (a, json!(""))] {
        world.says(client, call(id, "t"));
    }
    let asked: Vec<Value> = world.hears_all(child);
    let ids: BTreeSet<u64> = asked.iter().map(|m| m["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids.len(), 5, "all different at the child");
    for (n, message) in asked.iter().enumerate().rev() {
        world.answers(child, message, json!({ "n": n }));
    }
    let heard = |messages: Vec<Value>| -> Vec<(Value, Value)> {
        messages.iter().map(|m| (m["id"].clone(), m["result"]["n"].clone())).collect()
    };
    assert_eq!(
        heard(world.hears_all(a)),
        [(json!(""), json!(4)), (json!("1"), json!(2)), (json!(1), json!(0))]
    );
    assert_eq!(heard(world.hears_all(b)), [(json!(-7), json!(3)), (json!(1), json!(1))]);
}

/// Ids and tokens are kept until the answer, so they have a bound (P58).
#[test]
fn ids_and_tokens_have_a_longest_length() {
    let (mut world, child, [a]) = World::legacy(policy());
    let (fits, too_long) = ("x".repeat(4 << 10).split_off(2), "x".repeat(4 << 10));
    world.says(a, call(json!(fits), "t"));
    let asked = world.hears(child);
    world.says(a, call(json!(too_long), "t"));
    world.hears_error(a, too_long.as_str(), -32600);
    world.says(a, request(2, "tools/call", json!({ "name": "t", "_meta": { "progressToken": too_long } })));
    world.hears_error(a, 2, -32602);
    world.silent(child);
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(a)["id"], fits);
}

/// P03: a client that repeats an id at once gets one answer for each.
#[test]
fn an_id_used_twice_at_once_is_answered_twice() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, call(1, "first"));
    world.says(a, call(1, "second"));
    for message in world.hears_all(child) {
        world.answers(child, &message, message["params"].clone());
    }
    let names: Vec<Value> = world.hears_all(a).iter().map(|m| m["result"]["name"].clone()).collect();
    assert_eq!(names, ["first", "second"]);
}

/// P04: an id at the child is never used again, after a restart neither; a late or invented answer
/// reaches nobody.
#[test]
fn ids_at_the_child_are_never_reused() {
    let (mut world, child, [a]) = World::legacy(policy());
    let mut seen = BTreeSet::new();
    let mut last = Value::Null;
    for n in 0..100 {
        world.says(a, call(n, "t"));
        let asked = world.hears(child);
        assert!(seen.insert(asked["id"].as_u64().unwrap()));
        world.answers(child, &asked, json!({}));
        world.hears(a);
        last = asked;
    }
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_all(a);
    world.says(a, call("new", "t"));
    let asked = world.hears(child);
    assert!(seen.insert(asked["id"].as_u64().unwrap()), "not reused after a restart");
    for id in [last["id"].clone(), json!(0), json!("x"), json!(u64::MAX), Value::Null, json!(1.5)] {
        world.says(child, json!({ "id": id, "result": {} }));
    }
    let id = asked["id"].to_string();
    world.says(child, json!({ "id": id, "result": { "a": "string is not our id" } }));
    world.silent(a);
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(a)["id"], "new");
    world.answers(child, &asked, json!({}));
    world.silent(a);
}

/// P08: equal progress tokens are kept apart, restored in their own type, and dead after the answer.
#[test]
fn progress_reaches_the_holder_of_its_token_only() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    let with_token = |id: u32, token: Value| {
        request(id, "tools/call", json!({ "name": "t", "_meta": { "progressToken": token } }))
    };
    world.says(a, with_token(1, json!("tok")));
    world.says(b, with_token(1, json!("tok")));
    world.says(b, with_token(2, json!(5)));
    let asked = world.hears_all(child);
    let progress = |of: &Value| {
        note(
            "notifications/progress",
            json!({ "progressToken": of["params"]["_meta"]["progressToken"], "progress": 1 }),
        )
    };
    for message in &asked {
        assert_eq!(message["params"]["_meta"]["progressToken"], message["id"], "unique at the child");
        world.says(child, progress(message));
    }
    assert_eq!(world.hears(a)["params"]["progressToken"], "tok");
    assert_eq!(world.hears(b)["params"]["progressToken"], "tok");
    assert_eq!(world.hears(b)["params"]["progressToken"], 5);
    world.answers(child, &asked[0], json!({}));
    world.hears(a);
    world.says(child, progress(&asked[0]));
    world.says(child, note("notifications/progress", json!({ "progressToken": "tok", "progress": 2 })));
    world.silent(a);
    world.silent(b);
}

/// P09: a cancel goes to the child under its id, the late answer to nobody.
#[test]
fn a_cancel_is_mapped_and_its_late_answer_dropped() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.says(b, call(1, "t"));
    let (first, second) = (world.hears(child), world.hears(child));
    world.says(b, cancel("1"));
    world.says(b, cancel(77));
    world.silent(child);
    world.says(b, note("notifications/cancelled", json!({ "requestId": 1, "reason": "changed my mind" })));
    let cancelled = world.hears_of(child, "notifications/cancelled");
    assert_eq!(cancelled["params"], json!({ "requestId": second["id"], "reason": "changed my mind" }));
    world.answers(child, &second, json!({}));
    world.silent(b);
    world.answers(child, &first, json!({}));
    assert_eq!(world.hears(a)["id"], 1);
    assert_eq!(world.mux.sizes().requests, 0);
}

/// P09: a request that still waits in muxloop is taken back without the child's knowing.
#[test]
fn a_cancel_of_a_waiting_request_never_reaches_the_child() {
    let mut world = World::new([policy()]);
    let a = world.client();
    world.says(a, initialize("2025-06-18", json!({})));
    world.says(a, call(1, "cancelled"));
    world.says(a, call(2, "kept"));
    world.says(a, cancel("init"));
    world.says(a, cancel(1));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    assert_eq!(world.hears(a)["id"], "init", "`initialize` must not be cancelled");
    assert_eq!(world.hears(child)["params"]["name"], "kept");
    world.silent(child);
}

/// P10: what a client that left had asked for is cancelled at the child.
#[test]
fn a_client_that_leaves_cancels_its_requests() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.says(a, call(2, "t"));
    world.says(b, call(1, "t"));
    let asked = world.hears_all(child);
    world.leaves(a);
    let gone: BTreeSet<u64> = (0..2)
        .map(|_| world.hears_of(child, "notifications/cancelled")["params"]["requestId"].as_u64().unwrap())
        .collect();
    assert_eq!(gone, asked[..2].iter().map(|m| m["id"].as_u64().unwrap()).collect());
    world.silent(child);
    for message in &asked {
        world.answers(child, message, json!({}));
    }
    world.silent(a);
    assert_eq!(world.hears(b)["id"], 1);
}

/// P57: a forwarded message differs from what was received at its ids and tokens only.
#[test]
fn what_is_not_an_id_passes_byte_for_byte() {
    let (mut world, child, [a]) = World::legacy(policy());
    let params = r#"{ "n":12345678901234567890123.10, "_meta":{"x/y":1e400,"progressToken":"T"},"name":"\u00e4\/" ,"z":-0.0}"#;
    world.says_raw(
        a,
        &format!(r#"{{"method":"tools/call" ,"params":{params}, "id":"I","jsonrpc":"2.0","extra":[1.0]}}"#),
    );
    let got = world.hears_raw(child);
    let id = serde_json::from_str::<Value>(&got.replace("1e400", "0")).unwrap()["id"].to_string();
    let expected = params.replace("\"T\"", &id);
    assert_eq!(
        got,
        format!(r#"{{"method":"tools/call" ,"params":{expected}, "id":{id},"jsonrpc":"2.0","extra":[1.0]}}"#)
    );
    let result = r#"{"_meta":{"a":1.50},"content":[{"_meta":{"k":9007199254740993}}],"unknown":1E+2}"#;
    world.says_raw(child, &format!(r#"{{"jsonrpc":"2.0","result":{result},"id": {id} }}"#));
    assert_eq!(world.hears_raw(a), format!(r#"{{"jsonrpc":"2.0","result":{result},"id": "I" }}"#));
}

/// P02: what is not MCP on a child's output is skipped, everything around it arrives.
#[test]
fn garbage_of_a_child_disturbs_nothing() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    let asked = world.hears(child);
    for line in ["Listening on port 3000", "{", "{}", "[]", "null", "{\"jsonrpc\":\"2.0\",\"id\":1", "\u{0}"]
    {
        world.says_raw(child, line);
    }
    world.says(child, json!({ "error": { "code": -32700, "message": "no id" }, "id": null }));
    world.silent(child);
    world.silent(a);
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(a)["id"], 1);
    assert!(world.mux.counters().malformed >= 6);
}

/// A client's broken line is answered where it has an id, and harms nobody else.
#[test]
fn garbage_of_a_client_is_answered_to_it() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(b, call(1, "t"));
    let asked = world.hears(child);
    world.says_raw(a, "nonsense");
    world.hears_error(a, Value::Null, -32700);
    world.says_raw(a, r#"{"jsonrpc":"2.0","id":5,"method":7}"#);
    world.hears_error(a, 5, -32600);
    world.says_raw(a, r#"{"jsonrpc":"2.0","id":6,"method":"m","method":"n"}"#);
    world.hears_error(a, 6, -32600);
    world.says(a, json!({ "id": 9, "result": {} }));
    world.silent(a);
    world.silent(child);
    world.answers(child, &asked, json!({}));
    world.hears(b);
}
