//! Starts, deaths, restarts, stops (P22, P23, features C01, C02, C05).

use super::world::*;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy};
use crate::mux::{CloseReason, StopStep};
use serde_json::{Value, json};

/// C01, P22: what was at a dead child gets an error that says what happened and when it is tried
/// again; what came later waits for the restart; the restart is announced.
#[test]
fn a_crash_fails_what_was_in_flight_and_nothing_else() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.hears(child);
    world.exits(child, "killed by signal 9 (SIGKILL)");
    let failure = world.hears_failure(a, 1, "restarting");
    let pause = failure["error"]["data"]["muxloop"]["retryInMs"].as_u64().unwrap();
    assert!((750..=1_000).contains(&pause), "{pause}");
    let text = failure["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("'s'") && text.contains("SIGKILL") && text.contains(&format!("{pause} ms")),
        "{text}"
    );
    world.says(b, call(2, "t"));
    world.silent(b);
    world.advance(pause - 1);
    world.no_start();
    world.advance(1);
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    assert_eq!(world.hears_of(child, "tools/call")["params"]["name"], "t");
    for client in [a, b] {
        let told: Vec<Value> = world.hears_all(client).iter().map(|m| m["method"].clone()).collect();
        assert_eq!(
            told,
            ["tools", "prompts", "resources"].map(|kind| format!("notifications/{kind}/list_changed"))
        );
    }
    world.silent(child);
}

/// C01: a request that waits for a restart waits up to its own deadline.
#[test]
fn a_waiting_request_has_its_own_deadline() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.exits(child, "exited with 3");
    world.says(a, call(1, "t"));
    world.advance(1_000);
    let child = world.child();
    world.advance(28_999);
    world.silent(a);
    world.advance(1);
    let failure = world.hears_failure(a, 1, "timeout");
    assert!(failure["error"]["message"].as_str().unwrap().contains("exited with 3"), "{failure}");
    world.shake_hands(child, all_capabilities());
    world.silent(child);
}

/// C01: the pause doubles up to its maximum, with jitter; the limit gives the server up, and says so.
#[test]
fn restarts_back_off_and_end() {
    let policy = ServerPolicy { restart_backoff_max_ms: 4_000, max_restarts: 4, ..policy() };
    let (mut world, mut child, [a]) = World::legacy(policy);
    for full in [1_000, 2_000, 4_000, 4_000] {
        world.says(a, call(1, "t"));
        world.hears_all(child);
        world.exits(child, "exited with 1");
        world.hears_all(a);
        world.advance(full * 3 / 4 - 1);
        world.no_start();
        world.advance(full / 4 + 1);
        child = world.child();
        world.shake_hands(child, json!({}));
        world.hears_all(a);
    }
    world.says(a, call(5, "t"));
    world.exits(child, "exited with 1");
    let failure = world.hears_failure(a, 5, "failed");
    let text = failure["error"]["message"].as_str().unwrap();
    assert!(text.contains("given up after 4 restarts") && text.contains("exited with 1"), "{text}");
    assert_eq!(world.state(), "failed");
    world.says(a, call(6, "t"));
    world.hears_failure(a, 6, "failed");
    world.advance(60_000);
    world.no_start();
    assert_eq!(world.mux.poll_timeout(), None);
}

/// C01: a sustained uptime forgives earlier restarts, a short one does not.
#[test]
fn a_sustained_uptime_resets_the_backoff() {
    for (uptime, least, most) in [(29_999, 1_500, 2_000), (30_000, 750, 1_000)] {
        let (mut world, child, [a]) = World::legacy(policy());
        world.exits(child, "died");
        world.advance(1_000);
        let child = world.child();
        world.shake_hands(child, json!({}));
        world.hears_all(a);
        world.advance(uptime);
        world.exits(child, "died");
        let pause = world.mux.status(world.now)[0].next_attempt_in_ms.unwrap();
        assert!((least..=most).contains(&pause), "{uptime}: {pause}");
    }
}

/// Two servers that fall together do not rise together.
#[test]
fn the_pause_is_jittered() {
    let mut world = World::new([era(EraPolicy::Legacy), era(EraPolicy::Legacy)]);
    let children = [world.child(), world.child()];
    for child in children {
        world.exits(child, "died");
    }
    let status = world.mux.status(world.now);
    assert_ne!(status[0].next_attempt_in_ms, status[1].next_attempt_in_ms);
}

/// A process that cannot be started: who asks learns at once why, and the next attempt is made.
#[test]
fn a_start_that_fails_is_told_at_once() {
    let mut world = World::new([era(EraPolicy::Modern)]);
    let a = world.client();
    world.says(a, modern(1, "tools/list", json!({})));
    world.says(a, modern("l", "subscriptions/listen", json!({ "notifications": {} })));
    world.start_fails("command not found: 'sreve'");
    for id in [json!(1), json!("l")] {
        let failure = world.hears_failure(a, id, "spawn");
        assert!(failure["error"]["message"].as_str().unwrap().contains("not found: 'sreve'"), "{failure}");
    }
    world.says(a, modern(2, "tools/list", json!({})));
    let failure = world.hears_failure(a, 2, "spawn");
    assert!(failure["error"]["data"]["muxloop"]["retryInMs"].as_u64().unwrap() > 0);
    world.advance(1_000);
    let child = world.child();
    world.says(a, modern(3, "tools/list", json!({})));
    world.discover(child, 0);
    world.hears_of(child, "tools/list");
}

/// P23: stdin closed, SIGTERM, SIGKILL, with a pause at each step.
#[test]
fn a_stop_walks_down_the_ladder() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.with(|mux, now, out| mux.shutdown(now, out));
    world.hears_failure(a, 1, "stopped");
    assert_eq!(world.closed(a), Some(&CloseReason::Shutdown));
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.advance(1_999);
    assert_eq!(world.stops(child), []);
    world.advance(1);
    assert_eq!(world.stops(child), [StopStep::Terminate]);
    world.advance(2_000);
    assert_eq!(world.stops(child), [StopStep::Kill]);
    assert!(!world.mux.is_finished());
    world.exits(child, "killed");
    assert!(world.mux.is_finished());
    world.advance(60_000);
    world.no_start();
}

/// A stop hands no waiting request to the child that is being stopped.
#[test]
fn a_shutdown_sends_nothing_more_to_the_child() {
    let (mut world, child, [a]) = World::legacy(ServerPolicy { max_in_flight_per_client: 1, ..policy() });
    world.says(a, call(1, "sent"));
    world.says(a, call(2, "waits"));
    world.hears(child);
    world.with(|mux, now, out| mux.shutdown(now, out));
    world.hears_failure(a, 1, "stopped");
    world.hears_failure(a, 2, "stopped");
    world.silent(child);
}

/// P46: open listens get their `complete` result, then the cancel that stdio asks for (§8.1).
#[test]
fn a_shutdown_completes_open_listens() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, modern("L", "subscriptions/listen", json!({ "notifications": {} })));
    world.hears_of(a, "notifications/subscriptions/acknowledged");
    world.with(|mux, now, out| mux.shutdown(now, out));
    let end = world.hears(a);
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!("L"), &json!("complete")));
    assert_eq!(end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "L");
    assert_eq!(world.hears_of(a, "notifications/cancelled")["params"]["requestId"], "L");
    assert_eq!(world.closed(a), Some(&CloseReason::Shutdown));
    world.exits(child, "exited");
}

/// A pipe that closes is the end of a server, whether its process lives or not; its exit, if that comes
/// soon, says more about why.
#[test]
fn a_child_whose_output_ends_is_replaced() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.leaves(child.link);
    world.silent(a);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.says(a, call(2, "t"));
    world.exits(child, "exited with 0");
    let failure = world.hears_failure(a, 1, "restarting");
    assert!(failure["error"]["message"].as_str().unwrap().contains("exited with 0"), "{failure}");
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, json!({}));
    world.hears_of(child, "tools/call");
}

/// A process that lives on without output is not waited for.
#[test]
fn a_child_that_lives_on_without_output_fails_its_requests_too() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.leaves(child.link);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.advance(policy().stop_grace_ms);
    world.hears_failure(a, 1, "restarting");
}

/// A handshake that is not answered is a failure that waiting clients hear of.
#[test]
fn a_silent_child_is_given_up_after_its_startup_time() {
    let mut world = World::new([era(EraPolicy::Legacy)]);
    let child = world.child();
    let a = world.client();
    world.advance(10_000);
    world.says(a, initialize("2025-11-25", json!({})));
    world.advance(49_999);
    world.silent(a);
    world.advance(1);
    let failure = world.hears_failure(a, "init", "handshake");
    assert!(failure["error"]["message"].as_str().unwrap().contains("startup_timeout_ms"), "{failure}");
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
}

/// C05: a lazy server starts with the first request, and stops when it was not used for a while; an
/// `initialize` and the next request are served again.
#[test]
fn a_lazy_server_starts_and_stops_with_its_use() {
    let mut world = World::new([ServerPolicy { lazy_start: true, idle_stop_ms: Some(5_000), ..policy() }]);
    world.no_start();
    let a = world.client();
    world.no_start();
    world.says(a, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears(a);
    world.says(a, note("notifications/initialized", json!({})));
    world.says(a, call(1, "long"));
    let asked = world.hears(child);
    world.advance(29_000);
    assert_eq!(world.stops(child), [], "a request in flight");
    world.answers(child, &asked, json!({}));
    world.hears(a);
    world.advance(4_999);
    assert_eq!(world.stops(child), [], "used until the answer");
    world.advance(1);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.says(a, call(2, "while it stops"));
    world.no_start();
    world.exits(child, "exited with 0");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_of(child, "tools/call");
    world.silent(child);
}

/// C05: a subscription keeps a child up.
#[test]
fn a_subscribed_child_is_not_idle() {
    let (mut world, child, [a]) = World::legacy(ServerPolicy { idle_stop_ms: Some(5_000), ..policy() });
    world.says(a, request(1, "resources/subscribe", json!({ "uri": "x:1" })));
    let asked = world.hears(child);
    world.answers(child, &asked, json!({}));
    world.advance(60_000);
    assert_eq!(world.stops(child), []);
    world.leaves(a);
    world.hears_of(child, "resources/unsubscribe");
    world.advance(4_999);
    assert_eq!(world.stops(child), []);
    world.advance(1);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
}

/// C05: a task keeps a child up: its process is where it runs, and where its result is.
#[test]
fn a_child_with_a_task_is_not_idle() {
    let (mut world, child, [a]) = World::legacy(ServerPolicy { idle_stop_ms: Some(5_000), ..policy() });
    world.says(a, request(1, "tools/call", json!({ "name": "t", "task": {} })));
    let asked = world.hears(child);
    world.answers(child, &asked, json!({ "task": { "taskId": "T", "status": "working" } }));
    world.advance(60_000);
    assert_eq!(world.stops(child), []);
    world.leaves(a);
    world.advance(5_000);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
}

/// A child per client lives and ends with its client, in whatever phase it is.
#[test]
fn a_child_of_one_client_ends_with_it() {
    let own = || interactive(Interactive::PerClient);
    let mut world = World::new([own()]);
    world.no_start();
    let (a, b) = (world.client(), world.client());
    world.says(a, initialize("2025-11-25", json!({ "roots": {} })));
    world.says(b, initialize("2025-11-25", json!({})));
    let (first, second) = (world.child(), world.child());
    assert_ne!(first.instance, second.instance);
    world.shake_hands(first, json!({}));
    world.leaves(a);
    assert_eq!(world.stops(first), [StopStep::CloseInput]);
    world.leaves(b);
    assert_eq!(world.stops(second), [StopStep::CloseInput]);
    world.exits(first, "exited");
    world.exits(second, "exited");
    let c = world.client();
    world.says(c, initialize("2025-11-25", json!({})));
    world.leaves(c);
    world.start_fails("no such file");
    world.advance(60_000);
    world.no_start();
    assert_eq!(world.mux.sizes(), Default::default());
}
