//! A process for each request (B06).

use super::world::*;
use crate::base::Key;
use crate::mux::StopStep;
use crate::mux::policy::{EraPolicy, Heartbeat, ServerPolicy, Share};
use serde_json::{Value, json};

fn per_request() -> ServerPolicy {
    ServerPolicy { share: Share::Request, era: EraPolicy::Auto, ..policy() }
}

/// A server with a process per request and a legacy client that has said hello; that process is gone.
fn greeted(policy: ServerPolicy, capabilities: Value) -> (World, Key) {
    let mut world = World::new([policy]);
    let client = world.client();
    world.says(client, initialize("2025-06-18", capabilities));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    assert!(world.hears(client)["result"].is_object());
    ended(&mut world, child);
    world.says(client, note("notifications/initialized", json!({})));
    (world, client)
}

/// The process has been told to stop, and ends.
#[track_caller]
fn ended(world: &mut World, child: Child) {
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.exits(child, "exited with status 0");
}

/// The process for the next request, greeted.
fn next(world: &mut World) -> Child {
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    child
}

#[test]
fn each_request_has_its_own_process_which_ends_with_its_answer() {
    let (mut world, client) = greeted(per_request(), json!({}));
    world.no_start();
    for id in 1..=3 {
        world.says(client, call(id, "t"));
        let child = next(&mut world);
        let asked = world.hears_of(child, "tools/call");
        assert_eq!(world.stops(child), []);
        world.answers(child, &asked, json!({ "content": [] }));
        assert_eq!(world.hears(client), json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [] } }));
        ended(&mut world, child);
        assert_eq!(world.mux.sizes().instances, 0);
    }
    world.no_start();
}

/// Each process is greeted as the client that it is for would greet it.
#[test]
fn each_process_hears_its_own_clients_initialize() {
    let (mut world, first) = greeted(per_request(), json!({ "sampling": {} }));
    let second = world.client();
    // The second client's is answered without a process.
    world.says(second, initialize("2024-11-05", json!({ "roots": {} })));
    world.no_start();
    assert_eq!(world.hears(second)["result"]["protocolVersion"], "2024-11-05");
    for (client, capabilities, version) in
        [(second, json!({ "roots": {} }), "2024-11-05"), (first, json!({ "sampling": {} }), "2025-06-18")]
    {
        world.says(client, call(1, "t"));
        let child = world.child();
        let asked = world.hears_of(child, "initialize");
        assert_eq!(asked["params"]["capabilities"], capabilities);
        assert_eq!(asked["params"]["protocolVersion"], version);
    }
}

/// What outlives a request is not offered (P07 does not hold for it).
#[test]
fn nothing_is_offered_that_outlives_a_request() {
    let mut world = World::new([per_request()]);
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    next(&mut world);
    let hello = world.hears(client);
    assert_eq!(
        hello["result"]["capabilities"],
        json!({ "logging": {}, "tools": {}, "prompts": {}, "resources": {}, "completions": {} })
    );
    assert_eq!(hello["result"]["serverInfo"]["name"], "child");
    let subscribe = |method: &str| request(1, method, json!({ "uri": "file:///a" }));
    for refused in [
        subscribe("resources/subscribe"),
        subscribe("resources/unsubscribe"),
        request(1, "tasks/list", json!({})),
        request(1, "tasks/get", json!({ "taskId": "t" })),
    ] {
        world.says(client, refused);
        world.hears_error(client, 1, -32601);
    }
    world.says(client, request(1, "tools/call", json!({ "name": "t", "task": {} })));
    world.hears_error(client, 1, -32602);
    world.no_start();
}

/// The answer goes to the one who asked, also where ids are the same and processes answer in any order.
#[test]
fn answers_and_progress_are_the_askers_alone() {
    let (mut world, first) = greeted(per_request(), json!({}));
    let second = world.client();
    world.greet(second, json!({}));
    let mut at = Vec::new();
    for client in [first, second] {
        world.says(
            client,
            request("x", "tools/call", json!({ "name": "t", "_meta": { "progressToken": "p" } })),
        );
        let child = next(&mut world);
        at.push((client, child, world.hears(child)));
    }
    for (client, child, asked) in at.into_iter().rev() {
        let token = &asked["params"]["_meta"]["progressToken"];
        world.says(child, note("notifications/progress", json!({ "progressToken": token, "progress": 1 })));
        world.says(child, note("notifications/message", json!({ "level": "error", "data": "d" })));
        world.says(child, note("notifications/tools/list_changed", json!({})));
        assert_eq!(world.hears(client)["params"]["progressToken"], "p");
        assert_eq!(world.hears(client)["params"]["data"], "d");
        world.answers(child, &asked, json!({}));
        assert_eq!(world.hears(client)["id"], "x");
        // It says on, but its request is over.
        world.says(child, note("notifications/message", json!({ "level": "error", "data": "late" })));
        world.silent(first);
        world.silent(second);
    }
}

#[test]
fn a_cancelled_request_takes_its_process_along() {
    let (mut world, client) = greeted(per_request(), json!({}));
    world.says(client, call(1, "t"));
    world.says(client, call(2, "t"));
    let (one, two) = (next(&mut world), next(&mut world));
    let asked = world.hears(one);
    world.hears(two);
    world.says(client, cancel(1));
    assert_eq!(world.hears_of(one, "notifications/cancelled")["params"]["requestId"], asked["id"]);
    ended(&mut world, one);
    assert_eq!(world.stops(two), []);
    world.silent(client);
    // One that has not even started.
    world.says(client, call(3, "t"));
    let three = world.child();
    world.says(client, cancel(3));
    ended(&mut world, three);
    world.leaves(client);
    world.hears_of(two, "notifications/cancelled");
    ended(&mut world, two);
    assert_eq!(world.mux.sizes().instances, 0);
}

#[test]
fn a_request_without_an_answer_ends_with_its_deadline() {
    let (mut world, client) = greeted(per_request(), json!({}));
    world.says(client, call(1, "t"));
    let child = next(&mut world);
    world.hears(child);
    world.advance(30_000);
    world.hears_failure(client, 1, "timeout");
    world.hears_of(child, "notifications/cancelled");
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.advance(2_000);
    assert_eq!(world.stops(child), [StopStep::Terminate]);
    world.advance(2_000);
    assert_eq!(world.stops(child), [StopStep::Kill]);
    world.exits(child, "was killed by signal 9");
    assert_eq!(world.mux.sizes().instances, 0);
}

/// A request fails with its process; one that was not asked yet waits for another.
#[test]
fn the_death_of_a_process_is_that_of_its_request() {
    let (mut world, client) = greeted(per_request(), json!({}));
    world.says(client, call(1, "t"));
    let child = next(&mut world);
    world.hears(child);
    world.exits(child, "was killed by signal 11");
    let failure = world.hears_failure(client, 1, "restarting");
    assert_eq!(failure["error"]["message"], "server 's': was killed by signal 11");
    assert_eq!(world.mux.sizes().instances, 0);
    world.advance(60_000);
    world.no_start();

    world.says(client, call(2, "t"));
    let child = world.child();
    world.exits(child, "exited with status 1");
    world.silent(client);
    world.advance(1_000);
    let child = world.child();
    // Why the one before ended on `initialize` is not known.
    let asked = world.hears_of(child, "server/discover");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.shake_hands(child, all_capabilities());
    let asked = world.hears_of(child, "tools/call");
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(client)["id"], 2);
    ended(&mut world, child);

    world.says(client, call(3, "t"));
    world.start_fails("no such program");
    world.hears_failure(client, 3, "spawn");
    assert_eq!(world.mux.sizes().instances, 0);
}

/// Harmless calls are made again (C02), by another process.
#[test]
fn a_harmless_call_is_made_again() {
    let (mut world, client) = greeted(per_request(), json!({}));
    world.says(client, request(1, "tools/list", json!({})));
    let child = next(&mut world);
    let asked = world.hears(child);
    let tool = json!({ "name": "t", "annotations": { "readOnlyHint": true } });
    world.answers(child, &asked, json!({ "tools": [tool] }));
    world.hears(client);
    ended(&mut world, child);
    world.says(client, call(2, "t"));
    let child = next(&mut world);
    world.hears(child);
    world.exits(child, "was killed by signal 9");
    world.silent(client);
    world.advance(1_000);
    let child = next(&mut world);
    let asked = world.hears_of(child, "tools/call");
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(client)["id"], 2);
    ended(&mut world, child);
}

#[test]
fn a_client_has_so_many_processes_at_once_and_the_rest_waits() {
    let (mut world, client) =
        greeted(ServerPolicy { max_in_flight_per_client: 2, ..per_request() }, json!({}));
    (1..=4).for_each(|id| world.says(client, call(id, "t")));
    let (one, two) = (next(&mut world), next(&mut world));
    world.no_start();
    let asked = world.hears(one);
    world.hears(two);
    // A cancelled one is not started at all.
    world.says(client, cancel(3));
    world.answers(one, &asked, json!({}));
    assert_eq!(world.hears(client)["id"], 1);
    // The one that is on its way out is still a process.
    world.no_start();
    ended(&mut world, one);
    let four = next(&mut world);
    world.no_start();
    let asked = world.hears(four);
    world.answers(four, &asked, json!({}));
    assert_eq!(world.hears(client)["id"], 4);
    // Another client has its own share.
    let other = world.client();
    world.greet(other, json!({}));
    world.says(other, call(1, "t"));
    next(&mut world);
}

#[test]
fn questions_reach_the_asker_and_are_taken_back_with_its_answer() {
    let (mut world, client) = greeted(per_request(), json!({ "elicitation": {} }));
    world.says(client, call(1, "t"));
    let child = next(&mut world);
    let asked = world.hears(child);
    let elicit = |id: &str| request(id, "elicitation/create", json!({ "message": "m" }));
    world.says(child, elicit("a"));
    let question = world.hears_of(client, "elicitation/create");
    world.says(client, json!({ "id": question["id"], "result": { "action": "accept" } }));
    assert_eq!(world.hears(child)["id"], "a");
    world.says(child, elicit("b"));
    world.hears_of(client, "elicitation/create");
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(client)["id"], 1);
    world.hears_of(client, "notifications/cancelled");
    world.says(client, note("notifications/roots/list_changed", json!({})));
    world.silent(child);
    ended(&mut world, child);
}

#[test]
fn roots_that_changed_are_told_to_the_processes_at_work() {
    let (mut world, client) = greeted(per_request(), json!({ "roots": {} }));
    let other = world.client();
    world.greet(other, json!({}));
    let children = [client, other].map(|client| {
        world.says(client, call(1, "t"));
        let child = next(&mut world);
        world.hears(child);
        child
    });
    world.says(client, note("notifications/roots/list_changed", json!({})));
    world.hears_of(children[0], "notifications/roots/list_changed");
    world.silent(children[1]);
}

/// A log level is told to each process before its request (P16).
#[test]
fn each_process_is_told_the_log_level_of_its_client() {
    let (mut world, client) = greeted(per_request(), json!({}));
    world.says(client, request(1, "logging/setLevel", json!({ "level": "error" })));
    world.no_start();
    assert_eq!(world.hears(client)["result"], json!({}));
    world.says(client, call(2, "t"));
    let child = next(&mut world);
    assert_eq!(world.hears_of(child, "logging/setLevel")["params"]["level"], "error");
    world.hears_of(child, "tools/call");
    world.says(child, note("notifications/message", json!({ "level": "info", "data": 1 })));
    world.silent(client);
}

#[test]
fn modern_requests_have_processes_of_their_own() {
    let mut world = World::new([per_request()]);
    let client = world.client();
    world.says(client, modern(1, "server/discover", json!({})));
    let child = world.child();
    world.discover(child, 60_000);
    let hello = world.hears(client);
    assert_eq!(hello["result"]["capabilities"]["tools"], json!({}));
    ended(&mut world, child);
    world.says(client, modern(2, "server/discover", json!({})));
    world.no_start();
    assert_eq!(world.hears(client)["id"], 2);
    for id in 3..5 {
        world.says(client, modern(id, "tools/call", json!({ "name": "t" })));
        let child = world.child();
        world.discover(child, 60_000);
        let asked = world.hears_of(child, "tools/call");
        world.answers(child, &asked, json!({ "resultType": "complete" }));
        assert_eq!(world.hears(client)["id"], id);
        ended(&mut world, child);
    }
    // A listen is taken, and nothing of it is honoured.
    world.says(
        client,
        modern("l", "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })),
    );
    world.no_start();
    let taken = world.hears_of(client, "notifications/subscriptions/acknowledged");
    assert_eq!(taken["params"]["notifications"], json!({}));
    // A client of the other era is greeted without a process.
    let other = world.client();
    world.says(other, initialize("2025-11-25", json!({})));
    world.no_start();
    assert_eq!(world.hears(other)["result"]["capabilities"]["tools"], json!({}));
}

#[test]
fn a_request_takes_a_spare() {
    let mut world = World::new([ServerPolicy { spare: 1, ..per_request() }]);
    let spare = world.child();
    world.no_start();
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    world.no_start();
    world.shake_hands(spare, all_capabilities());
    world.hears(client);
    ended(&mut world, spare);
    for id in 1..4 {
        world.advance(100);
        let spare = world.child();
        world.silent(spare);
        world.says(client, call(id, "t"));
        world.no_start();
        world.shake_hands(spare, all_capabilities());
        let asked = world.hears_of(spare, "tools/call");
        world.answers(spare, &asked, json!({}));
        assert_eq!(world.hears(client)["id"], id);
        ended(&mut world, spare);
    }
    // What needs no process takes no spare.
    world.advance(100);
    world.child();
    world.says(client, request(9, "ping", json!({})));
    world.hears(client);
    world.advance(100);
    world.no_start();
}

#[test]
fn a_stopped_server_fails_what_is_asked() {
    let (mut world, client) =
        greeted(ServerPolicy { max_in_flight_per_client: 1, ..per_request() }, json!({}));
    world.says(client, call(1, "t"));
    world.says(client, call(2, "t"));
    let child = next(&mut world);
    world.hears(child);
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    let mut failed: Vec<_> = world.hears_all(client).iter().map(|answer| answer["id"].clone()).collect();
    failed.sort_by_key(Value::to_string);
    assert_eq!(failed, [1, 2]);
    ended(&mut world, child);
    world.says(client, call(3, "t"));
    world.hears_failure(client, 3, "stopped");
    world.no_start();
    world.with(|mux, now, out| mux.start_server(now, 0, out));
    world.no_start();
    world.says(client, call(4, "t"));
    next(&mut world);
}

/// What waits is kept for the new process, as with shared ones.
#[test]
fn a_restart_fails_what_is_at_work_and_keeps_what_waits() {
    let (mut world, client) =
        greeted(ServerPolicy { max_in_flight_per_client: 1, ..per_request() }, json!({}));
    world.says(client, call(1, "t"));
    world.says(client, call(2, "t"));
    let child = next(&mut world);
    world.hears(child);
    world.with(|mux, now, out| mux.restart_server(now, 0, out));
    world.hears_failure(client, 1, "restarting");
    world.no_start();
    ended(&mut world, child);
    let child = next(&mut world);
    world.no_start();
    world.hears_of(child, "tools/call");
}

/// A client that has ended its side gets its answers, then it is closed and nothing is left.
#[test]
fn the_last_answer_closes_a_client_that_has_said_all() {
    let policy = ServerPolicy {
        heartbeat: Some(Heartbeat { interval_ms: 100, timeout_ms: 100, failures_max: 1 }),
        ..per_request()
    };
    let (mut world, client) = greeted(policy, json!({}));
    world.says(client, call(1, "t"));
    world.ends_input(client);
    let child = next(&mut world);
    let asked = world.hears(child);
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(client)["id"], 1);
    assert!(world.closed(client).is_some());
    ended(&mut world, child);
    world.advance(60_000);
    let sizes = world.mux.sizes();
    assert_eq!((sizes.instances, sizes.requests, sizes.timers, sizes.links), (0, 0, 0, 0), "{sizes:?}");
}

/// P49: a process of one request goes on with it once its client has answered.
#[test]
fn a_call_that_asks_first_goes_on_with_its_process() {
    let mut world = World::new([ServerPolicy { era: EraPolicy::Modern, ..per_request() }]);
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({ "elicitation": {} })));
    let child = world.child();
    world.discover(child, 60_000);
    world.hears(client);
    ended(&mut world, child);
    world.says(client, note("notifications/initialized", json!({})));
    world.says(client, call(1, "t"));
    let child = world.child();
    world.discover(child, 60_000);
    let asked = world.hears_of(child, "tools/call");
    let params = json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } });
    let requests = json!({ "q": { "method": "elicitation/create", "params": params } });
    world.answers(child, &asked, json!({ "resultType": "input_required", "inputRequests": requests }));
    let question = world.hears_of(client, "elicitation/create");
    assert_eq!(world.stops(child), []);
    world.says(client, json!({ "id": question["id"], "result": { "action": "decline" } }));
    let again = world.hears_of(child, "tools/call");
    assert_eq!(again["params"]["inputResponses"]["q"]["action"], "decline");
    world.answers(child, &again, json!({ "resultType": "complete", "content": [] }));
    assert_eq!(world.hears(client)["id"], 1);
    ended(&mut world, child);
}

/// P48: a process of one request outlives the connection of a 2026-07-28 request that it asked something, goes
/// on for whoever comes with the answer, and ends with the call: answered, or given up.
#[test]
fn a_process_waits_for_the_answer_to_its_question() {
    use super::suspended::{EXPIRY_MS, accept, again, ask, elicit, is_over};
    for (comes_again, ends_early) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut world = World::new([ServerPolicy { era: EraPolicy::Legacy, ..per_request() }]);
        let first = world.guest();
        world.says(first, ask(1, json!({ "name": "t" })));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        let called = world.hears_of(child, "tools/call");
        world.says(child, elicit("e"));
        world.advance(25);
        let told = world.hears(first);
        assert_eq!(told["result"]["resultType"], "input_required", "{told}");
        world.leaves(first);
        assert_eq!(world.stops(child), []);
        if ends_early {
            world.answers(child, &called, json!({ "content": [] }));
            ended(&mut world, child);
        }
        if comes_again {
            let second = world.guest();
            world.says(second, again(2, &told, json!({ "q1": accept() })));
            if !ends_early {
                assert_eq!(world.hears(child)["id"], "e");
                world.answers(child, &called, json!({ "content": [] }));
                ended(&mut world, child);
            }
            assert_eq!(world.hears(second)["result"]["resultType"], "complete");
        } else {
            world.advance(EXPIRY_MS);
            if !ends_early {
                ended(&mut world, child);
            }
        }
        is_over(&world);
        world.no_start();
    }
}
