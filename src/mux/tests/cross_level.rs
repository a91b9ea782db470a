//! Log levels and lines between the eras (protocol.md §2.6 rule L, §2.7, §4.2, §4.3; P18, P47).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy};
use serde_json::{Value, json};

fn set_level(world: &mut World, client: Key, level: &str) {
    world.says(client, request("level", "logging/setLevel", json!({ "level": level })));
    assert_eq!(world.hears(client)["result"], json!({}));
}

/// A 2026-07-28 call that wants lines of this level.
fn wanting(id: u32, level: &str) -> Value {
    let mut call = modern(id, "tools/call", json!({ "name": "t" }));
    call["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
    call
}

fn line(level: &str) -> Value {
    note("notifications/message", json!({ "level": level, "data": "x" }))
}

/// What a child was told next: the level, or the method.
#[track_caller]
fn told(world: &mut World, child: Child) -> String {
    let message = world.hears(child);
    let level = &message["params"]["level"];
    if message["method"] == "logging/setLevel" {
        world.answers(child, &message, json!({}));
    }
    level.as_str().or(message["method"].as_str()).expect("a method").to_string()
}

/// protocol.md §4.3: a legacy client's level goes along with each of its requests, those that wait already
/// included, and its lines come back to it; to one that set none, none.
#[test]
fn a_legacy_client_has_the_lines_of_its_requests_to_a_modern_child() {
    let (mut world, child, [a, b, new]) = World::modern(policy());
    for client in [b, new] {
        world.greet(client, json!({}));
    }
    world.hears_all(child);
    world.says(b, call(1, "t"));
    let asked = world.hears_of(child, "tools/call");
    assert_eq!(asked["params"]["_meta"]["io.modelcontextprotocol/logLevel"], Value::Null);
    world.says(child, line("emergency"));
    set_level(&mut world, b, "warning");
    world.silent(child);
    world.says(b, call(2, "t"));
    let asked = world.hears_of(child, "tools/call");
    assert_eq!(asked["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "warning");
    for level in ["notice", "error"] {
        world.says(child, line(level));
    }
    assert_eq!(world.hears(b)["params"]["level"], "error");
    // Now it is the one or the other's.
    set_level(&mut world, new, "debug");
    world.says(new, call(1, "t"));
    world.says(child, line("error"));
    world.says(child, line("info"));
    assert_eq!(world.hears(new)["params"]["level"], "info");
    for client in [a, b, new] {
        world.silent(client);
    }
}

/// A level that is set while a request waits holds for that request.
#[test]
fn a_request_that_waited_carries_the_level_of_its_client() {
    let mut world = World::new([era(EraPolicy::Modern)]);
    let client = world.client();
    let child = world.child();
    world.says(client, initialize("2025-11-25", json!({})));
    world.says(client, request(1, "logging/setLevel", json!({ "level": "notice" })));
    world.says(client, call(2, "t"));
    world.discover(child, 0);
    world.hears_all(client);
    let asked = world.hears_of(child, "tools/call");
    assert_eq!(asked["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "notice");
}

/// protocol.md §4.3: no levels at a server without logging.
#[test]
fn a_modern_child_without_logging_has_no_levels() {
    let mut world = World::new([era(EraPolicy::Modern)]);
    let child = world.child();
    let asked = world.hears(child);
    let mut result = discover_result(0);
    result["capabilities"] = json!({ "tools": {} });
    world.answers(child, &asked, result);
    let client = world.client();
    world.greet(client, json!({}));
    world.silent(child);
    world.says(client, request(1, "logging/setLevel", json!({ "level": "info" })));
    world.hears_error(client, 1, -32601);
}

/// protocol.md §4.2: the level is raised before the request that wants it is sent, whether or not the child has
/// answered to the last one, and lowered once no such request came for a while.
#[test]
fn a_modern_request_raises_the_level_of_a_legacy_child() {
    let (mut world, child, [a, new]) = World::legacy(policy());
    set_level(&mut world, a, "error");
    assert_eq!(told(&mut world, child), "info", "the other client is due the default");
    world.says(new, wanting(1, "warning"));
    assert_eq!(told(&mut world, child), "tools/call", "info is more than it wants");
    set_level(&mut world, a, "notice");
    world.says(new, wanting(2, "info"));
    assert_eq!(told(&mut world, child), "tools/call");
    world.says(new, wanting(3, "debug"));
    let raise = world.hears_of(child, "logging/setLevel");
    assert_eq!(raise["params"]["level"], "debug");
    assert_eq!(told(&mut world, child), "tools/call", "not held up by the answer that is still out");
    world.says(new, wanting(4, "debug"));
    assert_eq!(told(&mut world, child), "tools/call");
    world.answers(child, &raise, json!({}));
    // Requests are there: nothing is lowered. What they needed is kept for half a minute at least.
    world.advance(25_000);
    world.silent(child);
    for request in 1..=4 {
        world.says(new, cancel(request));
    }
    let fence = world.hears_all(child).pop().unwrap();
    world.answers(child, &fence, json!({}));
    world.advance(30_000);
    world.silent(child);
    world.advance(10_000);
    assert_eq!(told(&mut world, child), "info");
    world.advance(100_000);
    world.silent(child);
    assert_eq!(world.mux.sizes().timers, 0);
}

/// Calls that want much and come one by one toggle nothing: the child is told twice a minute at most.
#[test]
fn levels_of_many_short_calls_make_few_changes() {
    let (mut world, child, [a, new]) = World::legacy(policy());
    set_level(&mut world, a, "error");
    world.hears_all(child);
    let mut changes = 0;
    for n in 0..600u32 {
        world.says(new, wanting(n, ["debug", "error", "info"][n as usize % 3]));
        for message in world.hears_all(child) {
            changes += u32::from(message["method"] == "logging/setLevel");
            world.answers(child, &message, json!({ "content": [] }));
        }
        world.advance(1_000);
    }
    assert!(changes <= 2, "{changes} changes in ten minutes");
}

/// A raise is not lost where the child is just told something else; the next process is told when it is due there.
#[test]
fn a_raise_follows_what_is_under_way_and_a_restart() {
    let (mut world, child, [a, new]) = World::legacy(policy());
    set_level(&mut world, a, "notice");
    let first = world.hears_of(child, "logging/setLevel");
    world.says(new, wanting(1, "debug"));
    assert_eq!(world.hears_of(child, "logging/setLevel")["params"]["level"], "debug");
    assert_eq!(told(&mut world, child), "tools/call");
    world.answers(child, &first, json!({}));
    world.silent(child);
    world.exits(child, "died");
    world.hears_failure(new, 1, "restarting");
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    assert_eq!(told(&mut world, child), "info", "as for the clients that are there");
    world.says(new, wanting(2, "debug"));
    assert_eq!(told(&mut world, child), "debug");
    assert_eq!(told(&mut world, child), "tools/call");
}

/// Rule L, P47: a legacy child's line goes to the one modern request that wants it, never to another one; legacy
/// clients have theirs by their own level.
#[test]
fn lines_of_a_legacy_child_are_for_the_only_request_that_wants_them() {
    let (mut world, child, [old, x, y, z]) =
        World::legacy(ServerPolicy { max_active_clients: 9, ..policy() });
    // `x` to `z` have greeted as well: on these connections the lines of the old era are asked for in full only
    // where a level says so.
    for client in [x, y, z] {
        set_level(&mut world, client, "emergency");
    }
    set_level(&mut world, old, "error");
    let heard = |world: &mut World, level: &str| {
        world.says(child, line(level));
        [old, x, y, z].map(|client| {
            let lines = world.hears_all(client);
            lines.iter().filter(|m| m["method"] == "notifications/message").count()
        })
    };
    world.says(x, modern(1, "tools/call", json!({ "name": "t" })));
    assert_eq!(heard(&mut world, "critical"), [1, 0, 0, 0]);
    world.says(y, wanting(1, "warning"));
    assert_eq!(heard(&mut world, "warning"), [0, 0, 1, 0]);
    assert_eq!(heard(&mut world, "info"), [0, 0, 0, 0]);
    assert_eq!(heard(&mut world, "error"), [1, 0, 1, 0]);
    world.says(z, wanting(1, "debug"));
    assert_eq!(heard(&mut world, "info"), [0, 0, 0, 1]);
    assert_eq!(heard(&mut world, "error"), [1, 0, 0, 0]);
    assert_eq!(heard(&mut world, "emergency"), [1, 1, 1, 1], "as legacy clients, once each");
    // What was cancelled may still be logged about, until the child has read that.
    world.hears_all(child);
    world.says(z, cancel(1));
    assert_eq!(heard(&mut world, "warning"), [0, 0, 0, 0]);
    world.hears_of(child, "notifications/cancelled");
    let fence = world.hears_of(child, "ping");
    world.answers(child, &fence, json!({}));
    assert_eq!(heard(&mut world, "warning"), [0, 0, 1, 0]);
}

/// The fence of a log level does not keep others from the child, and under `serialize` no longer than its ping.
#[test]
fn the_fence_behind_a_cancel_ends_with_its_ping() {
    for policy in [policy(), interactive(Interactive::Serialize)] {
        let serializes = policy.interactive == Interactive::Serialize;
        let (mut world, child, [_old, x, y]) = World::legacy(policy);
        world.says(x, wanting(1, "debug"));
        world.says(x, cancel(1));
        let fence = world.hears_all(child).pop().unwrap();
        assert_eq!(fence["method"], "ping");
        world.says(y, wanting(1, "debug"));
        if serializes {
            world.silent(child);
        }
        world.answers(child, &fence, json!({}));
        world.hears_of(child, "tools/call");
    }
}

/// A connection that wants a line as a legacy client and for its modern request has it once.
#[test]
fn a_line_is_told_once_to_a_client_of_both_eras() {
    let (mut world, child, [x]) = World::legacy(policy());
    world.says(x, wanting(1, "debug"));
    world.hears_all(child);
    world.says(child, line("error"));
    world.hears_of(x, "notifications/message");
    world.silent(x);
}
