//! Deadlines, progress, heartbeats (P24, features C03, C04).

use super::world::*;
use crate::base::Key;
use crate::mux::StopStep;
use crate::mux::policy::{EraPolicy, Heartbeat, Interactive, ServerPolicy};
use serde_json::json;

/// P24, C03: a request that is not answered in time is cancelled at the child and failed.
#[test]
fn a_request_times_out() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    let asked = world.hears(child);
    world.advance(29_999);
    world.silent(a);
    world.advance(1);
    let failure = world.hears_failure(a, 1, "timeout");
    assert!(failure["error"]["message"].as_str().unwrap().contains("30000 ms"), "{failure}");
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], asked["id"]);
    world.answers(child, &asked, json!({}));
    world.silent(a);
    assert_eq!(world.mux.sizes().requests, 0);
}

/// P24: progress gives a request more time, up to the absolute maximum.
#[test]
fn progress_extends_a_request_up_to_a_maximum() {
    let policy = ServerPolicy { request_timeout_max_ms: 100_000, ..policy() };
    let (mut world, child, [a]) = World::legacy(policy);
    world.says(a, request(1, "tools/call", json!({ "name": "t", "_meta": { "progressToken": 0 } })));
    let asked = world.hears(child);
    for n in 0..4 {
        world.advance(24_000);
        let progress = json!({ "progressToken": asked["id"], "progress": n });
        world.says(child, note("notifications/progress", progress));
        assert_eq!(world.hears(a)["params"], json!({ "progressToken": 0, "progress": n }));
    }
    world.advance(3_999);
    world.silent(a);
    world.advance(1);
    world.hears_failure(a, 1, "timeout");
    world.hears_of(child, "notifications/cancelled");
}

/// protocol.md §2.8: the clock of a request stands still while its client is asked something, and
/// runs on from the answer.
#[test]
fn a_question_to_the_client_stops_the_clock() {
    let mut world = World::new([interactive(Interactive::Serialize)]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({ "elicitation": {} })));
    let child = world.child();
    world.shake_hands(child, json!({}));
    world.hears(a);
    world.says(a, call(1, "t"));
    let asked = world.hears(child);
    world.says(child, request("q", "elicitation/create", json!({ "message": "?" })));
    let question = world.hears_of(a, "elicitation/create");
    world.advance(59_990);
    world.silent(a);
    world.says(a, json!({ "id": question["id"], "result": { "action": "decline" } }));
    assert_eq!(world.hears(child)["id"], "q");
    world.advance(29_999);
    world.silent(a);
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(a)["id"], 1);
}

fn beating() -> ServerPolicy {
    let heartbeat = Heartbeat { interval_ms: 10_000, timeout_ms: 4_000, failures_max: 3 };
    ServerPolicy { heartbeat: Some(heartbeat), ..policy() }
}

/// C04: an idle child is asked once an interval; an error is an answer too.
#[test]
fn an_idle_child_is_asked_whether_it_lives() {
    let (mut world, child, [a]) = World::legacy(beating());
    for n in 0..6 {
        world.advance(9_999);
        world.silent(child);
        world.advance(1);
        let ping = world.hears_of(child, "ping");
        match n % 2 {
            0 => world.answers(child, &ping, json!({})),
            _ => world.says(child, json!({ "id": ping["id"], "error": { "code": -32601, "message": "?" } })),
        }
    }
    assert_eq!(world.stops(child), []);
    world.silent(a);
    assert_eq!(world.mux.status(world.now)[0].heartbeat_ms, Some(0));
}

/// C04: a busy child is not asked, however long it takes.
#[test]
fn a_busy_child_is_left_alone() {
    let (mut world, child, [a]) = World::legacy(beating());
    world.says(a, call(1, "slow"));
    world.hears(child);
    world.advance(29_000);
    world.silent(child);
    assert_eq!(world.stops(child), []);
}

/// C04: three misses in a row are a restart; what waits then goes to the new process.
#[test]
fn missed_heartbeats_restart_the_child() {
    let (mut world, child, [a]) = World::legacy(ServerPolicy { max_in_flight_per_client: 1, ..beating() });
    world.advance(10_000);
    for _ in 0..2 {
        world.hears_of(child, "ping");
        world.advance(4_000);
    }
    world.hears_of(child, "ping");
    world.advance(3_900);
    world.says(a, call(1, "sent"));
    world.says(a, call(2, "waits"));
    world.hears_of(child, "tools/call");
    assert_eq!(world.stops(child), []);
    world.advance(100);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    let failure = world.hears_failure(a, 1, "restarting");
    assert!(failure["error"]["message"].as_str().unwrap().contains("3 heartbeats"), "{failure}");
    let after: Vec<_> = world.hears_all(child).into_iter().filter(|m| m["method"] == "tools/call").collect();
    assert_eq!(after, Vec::<serde_json::Value>::new(), "nothing more goes to a child that was given up");
    world.exits(child, "killed");
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, json!({}));
    assert_eq!(world.hears_of(child, "tools/call")["params"]["name"], "waits");
}

/// C04: misses count in a row only: any message in between is life.
#[test]
fn a_message_between_two_misses_forgives_the_first() {
    let (mut world, child, [_a]) = World::legacy(beating());
    for _ in 0..12 {
        while world.hears_all(child).iter().all(|m| m["method"] != "ping") {
            world.advance(1_000);
        }
        world.advance(4_000);
        world.advance(3_000);
        world.says(child, note("notifications/whatever", json!({})));
    }
    assert_eq!(world.stops(child), []);
}

/// A restarted child is asked as often as the first one, and idles as long.
#[test]
fn restarts_leave_no_clock_behind() {
    let mut world = World::new([ServerPolicy {
        idle_stop_ms: Some(60_000),
        era: EraPolicy::Legacy,
        max_restarts: 0,
        ..beating()
    }]);
    let mut child = world.child();
    for _ in 0..5 {
        world.shake_hands(child, json!({}));
        assert_eq!(world.mux.sizes().timers, 2, "heartbeat and idle stop");
        world.advance(1_000);
        world.exits(child, "died");
        world.advance(30_000);
        child = world.child();
    }
    world.shake_hands(child, json!({}));
    assert_eq!(world.mux.sizes().timers, 2, "heartbeat and idle stop");
    pings_are_apart(&mut world, child, 10_000);
}

fn pings_are_apart(world: &mut World, child: Child, interval_ms: u64) {
    for _ in 0..3 {
        world.advance(interval_ms - 1);
        world.silent(Key::from(child));
        world.advance(1);
        let ping = world.hears_of(child, "ping");
        world.answers(child, &ping, json!({}));
    }
}

/// 2026-07-28 has no `ping`: a modern child is asked what it can do.
#[test]
fn a_modern_child_is_asked_by_discover() {
    let (mut world, child, [_a]) = World::modern(beating());
    world.advance(10_000);
    world.discover(child, 0);
    world.advance(9_999);
    world.silent(child);
    world.advance(1);
    world.hears_of(child, "server/discover");
}
