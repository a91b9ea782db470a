//! Calls that are made again of the next process (C02).

use super::suspended::{accept, again, interrupted, is_over, serialize, stage};
use super::world::*;
use crate::mux::policy::ServerPolicy;
use serde_json::{Value, json};

/// One client of a legacy server whose tools `read` and `write` are known.
fn listed() -> (World, Child, crate::base::Key) {
    let policy = ServerPolicy { restart_backoff_ms: 1_000, ..policy() };
    let (mut world, child, [a]) = World::legacy(policy);
    world.says(a, request("l", "tools/list", json!({})));
    let asked = world.hears(child);
    let tools = json!([
        { "name": "re\u{e4}d", "annotations": { "readOnlyHint": true } },
        { "name": "again", "annotations": { "idempotentHint": true } },
        { "name": "write", "annotations": { "readOnlyHint": false } },
        { "name": "plain" },
    ]);
    world.answers(child, &asked, json!({ "tools": tools }));
    world.hears(a);
    (world, child, a)
}

fn named(message: &Value) -> &str {
    message["params"]["name"].as_str().unwrap()
}

#[test]
fn calls_of_harmless_tools_outlive_their_process() {
    let (mut world, child, a) = listed();
    for (id, tool) in [(1, "re\u{e4}d"), (2, "write"), (3, "again"), (4, "plain")] {
        world.says(a, call(id, tool));
        world.hears(child);
    }
    world.exits(child, "exited with status 1");
    world.hears_failure(a, 2, "restarting");
    world.hears_failure(a, 4, "restarting");
    world.silent(a);
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, json!({}));
    let first = world.hears(child);
    let second = world.hears(child);
    assert_eq!((named(&first), named(&second)), ("re\u{e4}d", "again"));
    world.answers(child, &second, json!({ "content": [] }));
    world.answers(child, &first, json!({ "content": [] }));
    assert_eq!(world.hears(a)["id"], 3);
    assert_eq!(world.hears(a)["id"], 1);
}

#[test]
fn a_call_is_made_again_once() {
    let (mut world, child, a) = listed();
    world.says(a, call(1, "again"));
    world.hears(child);
    world.exits(child, "crashed");
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, json!({}));
    world.hears(child);
    world.exits(child, "crashed again");
    let failure = world.hears_failure(a, 1, "restarting");
    assert!(failure["error"]["message"].as_str().unwrap().contains("crashed again"), "{failure}");
}

#[test]
fn a_call_that_waits_to_be_made_again_can_be_cancelled() {
    let (mut world, child, a) = listed();
    world.says(a, call(1, "again"));
    world.hears(child);
    world.exits(child, "crashed");
    world.says(a, cancel(1));
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, json!({}));
    world.silent(child);
    world.silent(a);
}

#[test]
fn a_tool_that_takes_its_word_back_is_not_called_again() {
    let (mut world, child, a) = listed();
    world.says(child, note("notifications/tools/list_changed", json!({})));
    world.hears_of(a, "notifications/tools/list_changed");
    world.says(a, request("l", "tools/list", json!({})));
    let asked = world.hears(child);
    world.answers(child, &asked, json!({ "tools": [{ "name": "again" }] }));
    world.hears(a);
    world.says(a, call(1, "again"));
    world.hears(child);
    world.exits(child, "crashed");
    world.hears_failure(a, 1, "restarting");
}

/// What its client has answered once it would be asked again, and might answer otherwise.
#[test]
fn a_harmless_call_that_asked_its_client_is_not_made_again() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, modern("l", "tools/list", json!({})));
    let asked = world.hears(child);
    let tool = json!({ "name": "t", "annotations": { "readOnlyHint": true } });
    world.answers(child, &asked, json!({ "tools": [tool] }));
    world.hears(a);
    let (told, _) = interrupted(&mut world, child, a);
    world.says(a, again(2, &told, json!({ "q1": accept() })));
    assert_eq!(world.hears(child)["result"], accept());
    world.exits(child, "crashed");
    world.hears_failure(a, 2, "restarting");
    is_over(&world);
}
