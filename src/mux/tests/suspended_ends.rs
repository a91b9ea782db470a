//! How suspended calls end, and what bounds them (P48, protocol.md §4.2).

use super::suspended::*;
use super::world::*;
use crate::base::limits::{KEPT_ANSWER_MAX, QUESTIONS_PER_CALL, SUSPENDED_PER_SERVER};
use crate::mux::StopStep;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy, Share};
use serde_json::{Value, json};

/// A call that ends while its client is away leaves its answer to the retry, once, for as long as it was to
/// come back.
#[test]
fn an_answer_is_kept_for_the_retry() {
    let (mut world, child, [a, b]) = stage(serialize());
    for error in [false, true] {
        let (told, call) = interrupted(&mut world, child, a);
        world.says(b, ask(5, json!({ "name": "b" })));
        world.silent(child);
        match error {
            false => world.answers(child, &call, json!({ "n": 1 })),
            true => {
                world.says(child, json!({ "id": call["id"], "error": { "code": -32002, "message": "no" } }))
            }
        }
        // It does not wait for the answer, but gets one.
        assert_eq!(world.hears(child)["result"], json!({ "action": "cancel" }));
        // The child is free.
        let other = world.hears_of(child, "tools/call");
        world.answers(child, &other, json!({}));
        world.hears(b);
        world.says(b, again(2, &told, json!({ "q1": accept() })));
        world.hears_error(b, 2, -32602);
        world.says(a, again("late", &told, json!({})));
        let kept = world.hears(a);
        assert_eq!(kept["id"], "late");
        match error {
            false => assert_eq!(
                (&kept["result"]["n"], &kept["result"]["resultType"]),
                (&json!(1), &json!("complete"))
            ),
            true => assert_eq!(kept["error"]["code"], -32602),
        }
        world.says(a, again(3, &told, json!({})));
        world.hears_error(a, 3, -32602);
    }
    let (told, call) = interrupted(&mut world, child, a);
    world.answers(child, &call, json!({ "text": "x".repeat(KEPT_ANSWER_MAX) }));
    world.says(a, again(4, &told, json!({})));
    world.hears_failure(a, 4, "too_large");
    world.hears_all(child);
    let (_, call) = interrupted(&mut world, child, a);
    world.hears_all(child);
    world.answers(child, &call, json!({}));
    assert_eq!(world.mux.sizes().suspended, 1);
    world.advance(EXPIRY_MS);
    world.silent(a);
    is_over(&world);
}

/// A child that dies or is stopped leaves the reason to the retry; its successor is not told of the call.
#[test]
fn a_failure_is_kept_for_the_retry() {
    for (how, reason) in [("exit", "restarting"), ("stop", "stopped"), ("restart", "restarting")] {
        let (mut world, child, [a]) = stage(serialize());
        let (told, _) = interrupted(&mut world, child, a);
        match how {
            "exit" => world.exits(child, "crashed"),
            "stop" => world.with(|mux, now, out| mux.stop_server(now, 0, out)),
            _ => world.with(|mux, now, out| mux.restart_server(now, 0, out)),
        }
        world.silent(a);
        world.says(a, again(2, &told, json!({ "q1": accept() })));
        world.hears_failure(a, 2, reason);
        is_over(&world);
        world.says(a, again(3, &told, json!({ "q1": accept() })));
        let refused = world.hears(a);
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
}

/// A client that does not come again: the child is told, and nobody has the child before it has read that.
#[test]
fn a_client_that_stays_away_is_given_up() {
    let (mut world, child, [a, b]) = stage(serialize());
    let (told, call) = interrupted(&mut world, child, a);
    world.says(child, request("s", "sampling/createMessage", json!({})));
    world.says(child, request("r", "roots/list", json!({})));
    world.advance(EXPIRY_MS - 1_000);
    world.says(b, ask(5, json!({ "name": "b" })));
    world.silent(child);
    world.advance(1_000);
    assert_eq!(world.hears(child)["result"], json!({ "action": "cancel" }));
    world.hears_error(child, "s", -1);
    world.hears_error(child, "r", -32603);
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], call["id"]);
    let ping = world.hears_of(child, "ping");
    world.silent(child);
    world.says(child, elicit("stray"));
    world.hears_error(child, "stray", -32602);
    world.answers(child, &ping, json!({}));
    let other = world.hears_of(child, "tools/call");
    world.says(a, again(2, &told, json!({ "q1": accept() })));
    world.hears_error(a, 2, -32602);
    world.answers(child, &other, json!({}));
    world.hears(b);
    is_over(&world);
}

/// A retry that answers nothing does not buy time.
#[test]
fn asking_again_without_answers_ends_at_the_same_time() {
    let (mut world, child, [a]) = stage(serialize());
    let (mut told, _) = interrupted(&mut world, child, a);
    for id in 2..100 {
        world.advance(10_000);
        world.says(a, again(id, &told, json!({})));
        world.advance(25);
        told = world.hears(a);
        if told["error"].is_object() {
            assert!((29..=31).contains(&id), "{id}");
            world.hears(child);
            world.hears_of(child, "notifications/cancelled");
            return;
        }
    }
    panic!("it never ends");
}

/// A client that disconnects, or can say nothing more, has its calls ended at once; one that cancels before it
/// was told, too.
#[test]
fn a_client_that_leaves_ends_its_calls() {
    for how in ["leaves", "ends", "cancels", "leaves early", "ends early"] {
        let (mut world, child, [a, b]) = stage(serialize());
        let call = if how == "leaves" || how == "ends" {
            interrupted(&mut world, child, a).1
        } else {
            world.says(a, ask(1, json!({ "name": "t" })));
            let call = world.hears(child);
            world.says(child, elicit("e"));
            call
        };
        world.says(b, ask(5, json!({ "name": "b" })));
        match how {
            "cancels" => world.says(a, cancel(1)),
            _ if how.starts_with("leaves") => world.leaves(a),
            _ => world.ends_input(a),
        }
        assert_eq!(world.hears(child)["result"], json!({ "action": "cancel" }), "{how}");
        if how == "ends early" {
            // Its answer is still read.
            world.answers(child, &call, json!({}));
            assert_eq!(world.hears(a)["id"], 1);
        } else {
            assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], call["id"]);
            let ping = world.hears_of(child, "ping");
            world.silent(child);
            world.answers(child, &ping, json!({}));
        }
        assert_eq!(world.closed(a).is_some(), how.starts_with("ends"), "{how}");
        let other = world.hears_of(child, "tools/call");
        world.answers(child, &other, json!({}));
        world.hears(b);
        is_over(&world);
    }
}

/// A process of one's own ends with its client; that of requests that stand for themselves after a while.
#[test]
fn a_process_for_guests_ends_when_it_is_idle() {
    let (mut world, child, [_a]) = stage(interactive(Interactive::PerClient));
    let guest = world.guest();
    world.says(guest, ask(1, json!({ "name": "t" })));
    let own = world.child();
    assert_ne!(own.instance, child.instance);
    world.shake_hands(own, all_capabilities());
    world.hears(own);
    world.says(own, elicit("e"));
    world.advance(25);
    world.hears(guest);
    world.leaves(guest);
    world.advance(EXPIRY_MS - 1_000);
    assert_eq!(world.stops(own), [], "a suspended call needs it");
    world.advance(302_000);
    assert_eq!(world.stops(own)[0], StopStep::CloseInput);
    world.exits(own, "ended");
    assert_eq!(world.stops(child), []);
    let guest = world.guest();
    world.says(guest, ask(1, json!({ "name": "t" })));
    let anew = world.child();
    assert_eq!(anew.instance, own.instance);
}

/// An answer that cannot be read does not show that the child is done with the call: it is told to be, and what
/// it asks before it has read that is nobody's, whoever waits for the child, the same client even.
#[test]
fn an_unreadable_answer_is_not_known_to_be_an_end() {
    for away in [false, true] {
        let (mut world, child, [a, b]) = stage(serialize());
        world.says(a, ask(1, json!({ "name": "t" })));
        let call = world.hears_of(child, "tools/call");
        if away {
            world.says(child, elicit("e"));
            world.advance(25);
            world.hears(a);
        }
        world.says(a, ask(2, json!({ "name": "u" })));
        world.says(b, ask(1, json!({ "name": "v" })));
        world.says_raw(child, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}"#, call["id"]));
        if away {
            assert_eq!(world.hears(child)["result"]["action"], "cancel");
        } else {
            world.hears_failure(a, 1, "malformed");
        }
        assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], call["id"]);
        let fence = world.hears_of(child, "ping");
        world.silent(child);
        world.says(child, elicit("late"));
        assert!(world.hears(child)["error"].is_object());
        world.answers(child, &call, json!({}));
        world.silent(child);
        world.answers(child, &fence, json!({}));
        world.hears_of(child, "tools/call");
        world.silent(child);
        world.silent(a);
        world.silent(b);
    }
}

/// An idle stop does not come while a call is suspended; drain and removal end the calls of those that cannot
/// come again, and wait for the others.
#[test]
fn stops_consider_suspended_calls() {
    let (mut world, child, [a]) = stage(ServerPolicy { idle_stop_ms: Some(1_000), ..serialize() });
    interrupted(&mut world, child, a);
    world.advance(EXPIRY_MS - 100);
    assert_eq!(world.stops(child), []);
    for retire in [false, true] {
        let (mut world, child, [a]) = stage(serialize());
        let (told, call) = interrupted(&mut world, child, a);
        let end = |world: &mut World| {
            world.with(
                |mux, now, out| if retire { mux.retire_server(now, 0, out) } else { mux.drain(now, out) },
            );
        };
        end(&mut world);
        assert!(world.closed(a).is_none());
        world.says(a, again(2, &told, json!({ "q1": accept() })));
        world.hears(child);
        world.answers(child, &call, json!({}));
        assert_eq!(world.hears(a)["id"], 2);
        assert!(world.closed(a).is_some());
        is_over(&world);
        let (mut world, child, [_a]) = stage(serialize());
        let guest = world.guest();
        interrupted(&mut world, child, guest);
        end(&mut world);
        assert_eq!(world.hears(child)["result"], json!({ "action": "cancel" }));
        world.hears_of(child, "notifications/cancelled");
        assert_eq!(world.mux.sizes().suspended, 0);
        let (mut world, child, [a]) = stage(serialize());
        interrupted(&mut world, child, a);
        world.with(|mux, now, out| mux.shutdown(now, out));
        is_over(&world);
    }
}

/// protocol.md §2.8: the clock of a suspended call stands still, and the retry has the whole time.
#[test]
fn the_clock_stands_still_while_the_client_is_away() {
    let (mut world, child, [a]) = stage(serialize());
    let (told, call) = interrupted(&mut world, child, a);
    world.advance(EXPIRY_MS - 1_000);
    world.says(a, again(2, &told, json!({ "q1": accept() })));
    world.hears(child);
    world.advance(29_000);
    world.silent(a);
    world.advance(1_001);
    world.hears_failure(a, 2, "timeout");
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], call["id"]);
}

/// A suspended call is not held against those that wait for it longer than their own time.
#[test]
fn who_waits_behind_a_suspended_call_is_told_so() {
    let (mut world, child, [a, b]) = stage(serialize());
    interrupted(&mut world, child, a);
    world.says(b, ask(5, json!({ "name": "b" })));
    world.advance(30_000);
    let failure = world.hears_failure(b, 5, "timeout");
    assert!(failure["error"]["message"].as_str().unwrap().contains("another call"), "{failure}");
    world.silent(child);
}

/// Everything is bounded: questions of a call, suspended calls of a server.
#[test]
fn questions_and_calls_are_bounded() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, ask(1, json!({ "name": "t" })));
    let call = world.hears(child);
    for n in 0..QUESTIONS_PER_CALL {
        world.says(child, elicit(n));
    }
    world.says(child, elicit("more"));
    world.hears_error(child, "more", -32603);
    world.advance(25);
    world.hears(a);
    world.answers(child, &call, json!({}));
    world.hears_all(child);
    for _ in 1..SUSPENDED_PER_SERVER {
        let (_, call) = interrupted(&mut world, child, a);
        world.answers(child, &call, json!({}));
        world.hears(child);
    }
    world.says(a, ask(1, json!({ "name": "t" })));
    let call = world.hears(child);
    world.says(child, elicit("e"));
    world.advance(25);
    world.silent(a);
    assert_eq!(world.hears(child)["result"], json!({ "action": "cancel" }));
    world.answers(child, &call, json!({}));
    assert_eq!(world.hears(a)["result"]["resultType"], "complete");
    world.advance(EXPIRY_MS);
    is_over(&world);
}

/// A call whose child may not ask, for want of a capability, and fails just as it was refused: the client is
/// told what it would have to declare (-32021, protocol.md §4.2). Any other end is the child's own.
#[test]
fn a_call_that_cannot_do_without_a_question_names_what_it_lacks() {
    let (mut world, child, [a]) = stage(serialize());
    let asking = [
        (request("q", "sampling/createMessage", json!({})), -32602, json!({ "sampling": {} })),
        (
            request("q", "sampling/createMessage", json!({ "tools": [] })),
            -32602,
            json!({ "sampling": { "tools": {} } }),
        ),
        (elicit("q"), -32602, json!({ "elicitation": { "form": {} } })),
        (request("q", "roots/list", json!({})), -32601, json!({ "roots": {} })),
    ];
    let fails = |world: &mut World, asked: &Value, code: i32| {
        let error = json!({ "code": code, "message": "no" });
        world.says(child, json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error }));
    };
    for (question, code, needs) in asking {
        world.says(a, modern(1, "tools/call", json!({ "name": "t" })));
        let call = world.hears(child);
        world.says(child, question.clone());
        world.hears_error(child, "q", code);
        fails(&mut world, &call, code);
        assert_eq!(world.hears_error(a, 1, -32021)["error"]["data"]["requiredCapabilities"], needs);

        world.says(a, modern(2, "tools/call", json!({ "name": "t" })));
        let call = world.hears(child);
        world.says(child, question);
        world.hears_error(child, "q", code);
        fails(&mut world, &call, -32000);
        world.hears_error(a, 2, -32000);
    }
    // One that was asked what it can be asked does not lack anything.
    let (told, call) = interrupted(&mut world, child, a);
    world.says(a, again(2, &told, json!({ "q1": accept() })));
    world.hears(child);
    fails(&mut world, &call, -32602);
    world.hears_error(a, 2, -32602);
}

/// A process of one request that ends while its client is away is not started again: the client is told when
/// it comes, and nothing is left of it.
#[test]
fn a_process_of_one_request_ends_with_its_suspended_call() {
    let mut world = World::new([ServerPolicy { share: Share::Request, ..serialize() }]);
    let guest = world.guest();
    world.says(guest, ask(1, json!({ "name": "t" })));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_of(child, "tools/call");
    world.says(child, elicit("e"));
    world.advance(25);
    let told = world.hears(guest);
    assert_eq!(told["result"]["resultType"], "input_required", "{told}");
    world.leaves(guest);
    world.exits(child, "exited with status 1");
    world.advance(60_000);
    world.no_start();
    assert_eq!(world.mux.sizes().instances, 0);
    let guest = world.guest();
    world.says(guest, again(2, &told, json!({ "q1": accept() })));
    world.hears_failure(guest, 2, "restarting");
    is_over(&world);
}

/// An answer that cannot be read ends the call, with its client there or away: the child is told that nobody
/// answers its questions, and a process of one request ends.
#[test]
fn an_answer_that_cannot_be_read_ends_the_questions() {
    for away in [true, false] {
        let mut world = World::new([ServerPolicy { share: Share::Request, ..serialize() }]);
        let guest = world.guest();
        world.says(guest, ask(1, json!({ "name": "t" })));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        let call = world.hears_of(child, "tools/call");
        world.says(child, elicit("e"));
        let told = away.then(|| {
            world.advance(25);
            world.hears(guest)
        });
        world.says_raw(child, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}"#, call["id"]));
        assert_eq!(world.hears(child)["result"]["action"], "cancel");
        assert_eq!(world.stops(child), [StopStep::CloseInput]);
        world.exits(child, "exited with status 0");
        if let Some(told) = told {
            world.says(guest, again(2, &told, json!({ "q1": accept() })));
            world.hears_failure(guest, 2, "malformed");
        } else {
            world.hears_failure(guest, 1, "malformed");
        }
        assert_eq!(world.mux.sizes().instances, 0);
        is_over(&world);
    }
}

/// A connection with a process of its own that goes on with another one's call: if that is gone it has the
/// call's process from then on, and its own ends; if not each keeps what it has.
#[test]
fn no_process_is_left_by_who_goes_on_with_a_call() {
    for first_leaves in [true, false] {
        let policy = ServerPolicy { share: Share::Session, guests_apart: true, ..policy() };
        let mut world = World::new([policy]);
        let (first, second) = (world.guest(), world.guest());
        let [child, own] = [first, second].map(|guest| {
            world.says(guest, ask(1, json!({ "name": "t" })));
            let child = world.child();
            world.shake_hands(child, all_capabilities());
            child
        });
        let done = world.hears_of(own, "tools/call");
        world.answers(own, &done, json!({ "content": [] }));
        world.hears(second);
        let call = world.hears_of(child, "tools/call");
        world.says(child, elicit("e"));
        world.advance(25);
        let told = world.hears(first);
        if first_leaves {
            world.leaves(first);
        }
        world.says(second, again(2, &told, json!({ "q1": accept() })));
        assert_eq!(world.stops(own).is_empty(), !first_leaves);
        world.hears(child);
        world.answers(child, &call, json!({ "content": [] }));
        assert_eq!(world.hears(second)["id"], 2);
        world.leaves(second);
        assert_eq!(world.stops(child).is_empty(), !first_leaves);
        assert!(first_leaves || !world.stops(own).is_empty());
        world.exits(own, "exited with status 0");
        if !first_leaves {
            // Whose process it is can still use it.
            world.says(first, ask(3, json!({ "name": "t" })));
            let asked = world.hears_of(child, "tools/call");
            world.answers(child, &asked, json!({ "content": [] }));
            assert_eq!(world.hears(first)["id"], 3);
            world.leaves(first);
        }
        world.exits(child, "exited with status 0");
        assert_eq!(world.mux.sizes().instances, 0);
        is_over(&world);
    }
}

/// No request is open for longer than the longest time, whoever may stay away for how long.
#[test]
fn a_client_stays_away_no_longer_than_a_request_may_take() {
    let policy = ServerPolicy { request_timeout_max_ms: 100_000, ..serialize() };
    let (mut world, child, [a]) = stage(policy);
    interrupted(&mut world, child, a);
    world.advance(99_000);
    world.silent(child);
    world.advance(2_000);
    assert_eq!(world.hears(child)["result"]["action"], "cancel");
    world.hears_of(child, "notifications/cancelled");
}

/// A request that waited for a modern child, which needs no look at what its client can be asked, is sent to a
/// legacy one in the end.
#[test]
fn what_waited_for_a_modern_child_can_be_asked_by_a_legacy_one() {
    let policy = ServerPolicy { era: EraPolicy::Auto, max_in_flight_per_client: 1, ..serialize() };
    let mut world = World::new([policy]);
    let (child, client) = (world.child(), world.client());
    world.discover(child, 0);
    world.says(client, modern(0, "tools/call", json!({ "name": "first" })));
    world.hears_of(child, "tools/call");
    world.says(client, ask(1, json!({ "name": "t" })));
    world.exits(child, "updated");
    world.hears_failure(client, 0, "restarting");
    world.advance(1_000);
    let child = world.child();
    let asked = world.hears_of(child, "server/discover");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.shake_hands(child, all_capabilities());
    world.hears_of(child, "tools/call");
    world.says(child, elicit("e"));
    world.advance(25);
    assert_eq!(world.hears_all(client).pop().unwrap()["result"]["resultType"], "input_required");
}
