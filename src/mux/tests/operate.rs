//! What an operator does with servers in use (E02, A08).

use super::world::*;
use crate::mux::StopStep;
use crate::mux::policy::{ServerPolicy, Share};
use crate::mux::status::Standing;
use serde_json::{Value, json};

fn standing(world: &World, id: usize) -> Standing {
    world.mux.server_status(world.now, id).expect("the server is there").standing
}

fn listen(id: &str) -> Value {
    modern(id, "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }))
}

#[test]
fn a_stop_answers_everybody_and_a_start_serves_them_again() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.hears(child);
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.hears_failure(a, 1, "stopped");
    world.silent(b);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    // While it goes, and after that, it takes nothing.
    world.says(b, call(2, "t"));
    world.hears_failure(b, 2, "stopped");
    world.exits(child, "exited with status 0");
    assert_eq!(standing(&world, 0), Standing::Held);
    world.says(b, call(3, "t"));
    world.hears_failure(b, 3, "stopped");
    world.advance(120_000);
    world.no_start();
    assert!(world.closed(a).is_none() && world.closed(b).is_none());
    world.with(|mux, now, out| mux.start_server(now, 0, out));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_all(b);
    world.says(b, call(4, "t"));
    let asked = world.hears_of(child, "tools/call");
    world.answers(child, &asked, json!({ "content": [] }));
    assert_eq!(world.hears(b)["id"], 4);
}

#[test]
fn a_stop_reaches_what_waits_for_a_start() {
    let mut world = World::new([policy()]);
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.hears_failure(client, "init", "stopped");
    // The process that was asked for comes all the same, and goes.
    let child = world.child();
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.exits(child, "exited with status 0");
    world.no_start();
    assert_eq!(standing(&world, 0), Standing::Held);
}

#[test]
fn a_stop_ends_the_pause_before_a_restart() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.exits(child, "died");
    world.says(a, call(1, "t"));
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.hears_failure(a, 1, "stopped");
    world.advance(120_000);
    world.no_start();
}

/// A start while the process is still ending: another one follows.
#[test]
fn a_start_overtakes_a_stop() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.with(|mux, now, out| mux.start_server(now, 0, out));
    world.says(a, call(1, "t"));
    world.no_start();
    world.exits(child, "exited with status 0");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    assert_eq!(world.hears_of(child, "tools/call")["params"]["name"], "t");
}

#[test]
fn a_stop_refuses_open_listens() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, listen("l"));
    let asked = world.hears_of(child, "subscriptions/listen");
    let meta = json!({ "io.modelcontextprotocol/subscriptionId": asked["id"] });
    let honoured = json!({ "_meta": meta, "notifications": { "toolsListChanged": true } });
    world.says(child, note("notifications/subscriptions/acknowledged", honoured));
    world.hears_of(a, "notifications/subscriptions/acknowledged");
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.hears_failure(a, "l", "stopped");
    world.says(a, listen("m"));
    world.hears_failure(a, "m", "stopped");
}

/// What waited for a place at the old process is served by the new one.
#[test]
fn a_restart_fails_what_is_at_the_process_and_keeps_what_waits() {
    let policy = ServerPolicy { max_in_flight_per_client: 1, ..policy() };
    let (mut world, old, [a]) = World::legacy(policy);
    world.says(a, call(1, "first"));
    world.says(a, call(2, "second"));
    assert_eq!(world.hears(old)["params"]["name"], "first");
    world.silent(old);
    world.with(|mux, now, out| mux.restart_server(now, 0, out));
    world.hears_failure(a, 1, "restarting");
    world.silent(a);
    world.says(a, call(3, "third"));
    world.exits(old, "exited with status 0");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let asked = world.hears_of(child, "tools/call");
    assert_eq!(asked["params"]["name"], "second");
    world.answers(child, &asked, json!({ "content": [] }));
    assert_eq!(world.hears_of(child, "tools/call")["params"]["name"], "third");
    let status = world.mux.server_status(world.now, 0).unwrap();
    assert_eq!((status.restarts, status.attempts), (1, 0));
}

#[test]
fn a_restart_wakes_what_was_given_up_and_what_was_stopped() {
    let policy = ServerPolicy { max_restarts: 1, ..policy() };
    let (mut world, child, [_]) = World::legacy(policy);
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.exits(child, "died");
    assert_eq!(standing(&world, 0), Standing::Failed);
    world.with(|mux, now, out| mux.restart_server(now, 0, out));
    let child = world.child();
    world.shake_hands(child, json!({}));
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.exits(child, "exited with status 0");
    world.with(|mux, now, out| mux.restart_server(now, 0, out));
    let child = world.child();
    world.shake_hands(child, json!({}));
    assert_eq!(standing(&world, 0), Standing::Ready);
}

/// A task lives in a process: after a restart nobody owns it any more.
#[test]
fn a_restart_forgets_tasks() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, request(1, "tools/call", json!({ "name": "t", "task": {} })));
    let asked = world.hears(child);
    world.answers(child, &asked, json!({ "task": { "taskId": "T", "status": "working" } }));
    world.hears(a);
    assert_eq!(world.mux.sizes().owners, 1);
    world.with(|mux, now, out| mux.restart_server(now, 0, out));
    assert_eq!(world.mux.sizes().owners, 0);
    world.exits(child, "exited with status 0");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_all(a);
    world.says(a, request(2, "tasks/get", json!({ "taskId": "T" })));
    assert!(world.hears(a)["error"].is_object());
}

#[test]
fn a_change_restarts_what_runs_and_leaves_what_rests() {
    let lazy = ServerPolicy { lazy_start: true, ..policy() };
    let mut world = World::new([lazy.clone()]);
    world.with(|mux, now, out| mux.change_server(now, 0, lazy.clone(), out));
    world.no_start();
    // No longer lazy: it is due.
    world.with(|mux, now, out| mux.change_server(now, 0, policy(), out));
    let child = world.child();
    world.with(|mux, now, out| mux.change_server(now, 0, policy(), out));
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.exits(child, "exited with status 0");
    let child = world.child();
    // A stopped one stays so, under its new policy.
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.exits(child, "exited with status 0");
    world.with(|mux, now, out| mux.change_server(now, 0, lazy, out));
    world.no_start();
    assert_eq!(standing(&world, 0), Standing::Held);
}

/// A08: the idle are closed at once, the busy after their last answer, then the process goes, then the
/// place is free for another server.
#[test]
fn a_retired_server_runs_out_and_its_place_is_used_again() {
    let (mut world, child, [idle, busy]) = World::legacy(policy());
    world.says(busy, call(1, "t"));
    let asked = world.hears(child);
    world.with(|mux, now, out| mux.retire_server(now, 0, out));
    assert!(world.closed(idle).is_some() && world.closed(busy).is_none());
    world.leaves(idle);
    assert!(world.mux.server_status(world.now, 0).is_none() && !world.mux.is_serving(0));
    let another = |world: &mut World| {
        let mut id = 0;
        world.with(|mux, _, _| id = mux.add_server(ServerPolicy { name: "next".into(), ..policy() }));
        id
    };
    assert_eq!(another(&mut world), 1, "the first place is in use");
    world.answers(child, &asked, json!({ "content": [] }));
    assert_eq!(world.hears(busy)["id"], 1);
    assert!(world.closed(busy).is_some());
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    assert!(!world.mux.is_over(0));
    world.exits(child, "exited with status 0");
    assert!(world.mux.is_over(0));
    assert_eq!(another(&mut world), 0);
    // The new one in the old place serves.
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    assert!(world.hears(client)["result"].is_object());
    assert_eq!(world.mux.sizes().instances, 2);
}

/// The process of a retired server dies before its last answer: whoever waits is told and closed.
#[test]
fn a_retired_server_may_crash() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, call(1, "t"));
    world.with(|mux, now, out| mux.retire_server(now, 0, out));
    world.exits(child, "died");
    world.hears_failure(a, 1, "restarting");
    assert!(world.closed(a).is_some());
    world.leaves(a);
    world.advance(120_000);
    world.no_start();
    assert!(world.mux.is_over(0));
}

/// The same where it never got ready: its last clients leave with the handshake that fails, and nothing is
/// started again for nobody.
#[test]
fn a_retired_server_that_does_not_get_ready_is_not_started_again() {
    let mut world = World::new([ServerPolicy { startup_timeout_ms: 20_000, ..policy() }]);
    let (a, guest) = (world.client(), world.guest());
    world.says(a, initialize("2025-11-25", json!({})));
    world.says(guest, modern(1, "tools/list", json!({})));
    let child = world.child();
    world.with(|mux, now, out| mux.retire_server(now, 0, out));
    world.advance(20_000);
    world.hears_failure(a, "init", "handshake");
    assert!(world.closed(a).is_some() && world.closed(guest).is_some());
    assert!(!world.stops(child).is_empty());
    world.exits(child, "killed");
    world.advance(120_000);
    world.no_start();
    assert!(world.mux.is_over(0));
}

/// A client that comes between is told.
#[test]
fn a_retired_server_takes_no_clients() {
    let (mut world, child, [busy]) = World::legacy(policy());
    world.says(busy, call(1, "t"));
    world.hears(child);
    world.with(|mux, now, out| mux.retire_server(now, 0, out));
    let late = world.client();
    world.says(late, initialize("2025-11-25", json!({})));
    let refusal = world.hears(late);
    assert!(refusal["error"]["message"].as_str().unwrap().contains("taken out"), "{refusal}");
    assert!(world.closed(late).is_some());
}

#[test]
fn listens_do_not_keep_a_retired_server() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, listen("l"));
    world.hears_of(child, "subscriptions/listen");
    world.with(|mux, now, out| mux.retire_server(now, 0, out));
    assert!(world.closed(a).is_some());
    world.leaves(a);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
}

#[test]
fn processes_of_single_clients_are_steered_together() {
    let policy = ServerPolicy { share: Share::Session, ..policy() };
    let mut world = World::new([policy]);
    let clients = [world.client(), world.client()];
    let mut children = Vec::new();
    for client in clients {
        world.says(client, initialize("2025-11-25", json!({})));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        world.hears(client);
        world.says(client, note("notifications/initialized", json!({})));
        children.push(child);
    }
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    for child in children {
        assert_eq!(world.stops(child), [StopStep::CloseInput]);
        world.exits(child, "exited with status 0");
    }
    assert_eq!(standing(&world, 0), Standing::Held);
    for client in clients {
        world.says(client, call(1, "t"));
        world.hears_failure(client, 1, "stopped");
    }
    world.with(|mux, now, out| mux.start_server(now, 0, out));
    let children = [world.child(), world.child()];
    children.iter().for_each(|child| world.shake_hands(*child, all_capabilities()));
    for client in clients {
        world.hears_all(client);
        world.says(client, call(2, "t"));
    }
    children.iter().for_each(|child| assert_eq!(world.hears_of(*child, "tools/call")["params"]["name"], "t"));
    world.with(|mux, now, out| mux.retire_server(now, 0, out));
    for (client, child) in clients.into_iter().zip(children) {
        assert!(world.closed(client).is_none());
        world.exits(child, "died");
        assert!(world.closed(client).is_some());
        world.leaves(client);
    }
    assert!(world.mux.is_over(0));
    assert_eq!(world.mux.sizes().instances, 0);
}

#[test]
fn a_drain_closes_each_client_after_its_last_answer() {
    let (mut world, child, [idle, busy]) = World::legacy(policy());
    world.says(busy, call(1, "t"));
    let asked = world.hears(child);
    world.with(|mux, now, out| mux.drain(now, out));
    assert!(world.closed(idle).is_some() && world.closed(busy).is_none());
    let late = world.client();
    world.says(late, initialize("2025-11-25", json!({})));
    assert!(world.hears(late)["error"]["message"].as_str().unwrap().contains("stopping"));
    world.answers(child, &asked, json!({ "content": [] }));
    world.hears(busy);
    assert!(world.closed(busy).is_some());
    // One more that is silent keeps nobody.
    world.client();
    assert_eq!(world.mux.clients(), 0);
}
