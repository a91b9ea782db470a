//! How rounds end otherwise: cancels, leavers, time, dead processes, bounds; and that they do not mix.

use super::*;
use crate::mux::policy::{EraPolicy, Share};

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

/// A process of one request that ends while its client is asked is started again, and that one gets the call
/// only once the client has answered.
#[test]
fn a_round_outlives_the_process_of_one_request() {
    let policy = ServerPolicy { share: Share::Request, era: EraPolicy::Modern, ..policy() };
    let mut world = World::new([policy]);
    let client = world.client();
    let started = |world: &mut World| {
        let child = world.child();
        world.discover(child, 0);
        child
    };
    world.says(client, initialize("2025-11-25", everything()));
    let first = started(&mut world);
    world.hears(client);
    world.exits(first, "exited with status 0");
    world.says(client, note("notifications/initialized", json!({})));
    world.says(client, call(1, "t"));
    let child = started(&mut world);
    let asked = world.hears_of(child, "tools/call");
    world.answers(child, &asked, input(json!({ "k": form("?") }), "s"));
    let question = world.hears(client);
    world.exits(child, "exited with status 0");
    world.advance(1_000);
    let child = started(&mut world);
    world.silent(child);
    reply(&mut world, client, &question, accept(1));
    let again = world.hears_of(child, "tools/call");
    assert_eq!(again["params"]["inputResponses"], json!({ "k": accept(1) }));
    world.answers(child, &again, complete("done"));
    assert_eq!(world.hears(client)["id"], 1);
    world.exits(child, "exited with status 0");
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
    // It is not at the child meanwhile, whose end is nothing to it.
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.discover(child, 60_000);
    world.silent(child);
    reply(&mut world, a, &question, accept(1));
    let second = world.hears(child);
    world.exits(child, "died");
    world.silent(a);
    world.advance(2_000);
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
    world.advance(4_000);
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

/// The answers to a modern child's questions mean nothing to a legacy one that came after it.
#[test]
fn a_round_ends_with_the_era_it_began_in() {
    let mut world = World::new([ServerPolicy { era: EraPolicy::Auto, ..policy() }]);
    let (child, client) = (world.child(), world.client());
    world.discover(child, 0);
    world.says(client, initialize("2025-11-25", everything()));
    world.hears_all(child);
    world.hears(client);
    world.says(client, call(1, "t"));
    let asked = world.hears_of(child, "tools/call");
    world.answers(child, &asked, input(json!({ "k": form("?") }), "s"));
    let question = world.hears(client);
    world.exits(child, "updated");
    world.advance(1_000);
    let child = world.child();
    let asked = world.hears_of(child, "server/discover");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.shake_hands(child, json!({}));
    reply(&mut world, client, &question, accept(1));
    let told = world.hears_all(client);
    let failed = told.iter().find(|told| told["id"] == 1).expect("an answer");
    assert_eq!(failed["error"]["data"]["muxloop"]["reason"], "era", "{failed}");
    world.silent(child);
}

/// Two questions of one name could not be told apart in the answer.
#[test]
fn two_questions_of_one_name_fail_the_call() {
    let (mut world, child, [a]) = latest();
    world.says(a, call(1, "t"));
    let asked = world.hears(child);
    let form = form("?");
    world.says_raw(
        child,
        &format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"resultType":"input_required","inputRequests":{{"k":{form},"k":{form}}},"requestState":"s"}}}}"#,
            asked["id"]
        ),
    );
    let failure = world.hears_failure(a, 1, "input_required");
    assert!(failure["error"]["message"].as_str().unwrap().contains("two questions"), "{failure}");
    nothing_open(&world);
}
