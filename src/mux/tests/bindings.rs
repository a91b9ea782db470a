//! Ids, states and fences hold for those they were made for, and for nobody else who names them (P15, P48,
//! protocol.md §2.5, §2.6).

use super::interactive;
use super::suspended::{accept, again, ask, elicit, everything, interrupted, is_over, serialize, stage};
use super::world::*;
use crate::base::Key;
use crate::base::limits::QUESTIONS_PER_CALL;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy};
use serde_json::json;

/// An answer that cannot be read refuses a question only if it comes from whom that was asked.
#[test]
fn a_broken_answer_refuses_nobody_elses_question() {
    let (mut world, child, [a, b], _) = interactive::stage(serialize(), [everything(), everything()]);
    world.says(a, call(1, "t"));
    world.hears(child);
    world.says(child, elicit(1));
    let asked = world.hears(a);
    world.says_raw(b, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":"\x"}}"#, asked["id"]));
    world.silent(child);
    world.says(a, json!({ "id": asked["id"], "result": accept() }));
    assert_eq!(world.hears(child)["result"], accept());
}

/// A client that can be asked everything, and the child of its own.
fn owner(world: &mut World) -> (Key, Child) {
    let client = world.client();
    world.says(client, initialize("2025-11-25", everything()));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears(client);
    (client, child)
}

/// Children count alike: what one takes back under an id is its own question of that id.
#[test]
fn a_child_takes_back_its_own_question() {
    for first_asks in [true, false] {
        let policy = super::world::interactive(Interactive::PerClient);
        let mut world = World::new([policy]);
        let mut own = Vec::new();
        for _ in 0..2 {
            own.push(owner(&mut world));
        }
        for (_, child) in if first_asks { own.clone() } else { own.iter().rev().copied().collect() } {
            world.says(child, elicit(0));
        }
        let asked = own.iter().map(|(client, _)| world.hears(*client)).collect::<Vec<_>>();
        let [(a, of_a), (b, of_b)] = own[..] else { panic!() };
        world.says(of_b, note("notifications/cancelled", json!({ "requestId": 0 })));
        assert_eq!(world.hears_of(b, "notifications/cancelled")["params"]["requestId"], asked[1]["id"]);
        world.silent(a);
        world.says(a, json!({ "id": asked[0]["id"], "result": accept() }));
        assert_eq!(world.hears(of_a)["result"], accept());
    }
}

/// A child may end its listen by a cancel; a call it has to answer, and what another child has.
#[test]
fn a_child_cancels_no_request_but_its_own_listen() {
    let modern_child = || ServerPolicy { era: EraPolicy::Modern, ..policy() };
    let mut world = World::new([modern_child(), modern_child()]);
    let (a, b) = (world.client_of(0), world.client_of(1));
    world.says(b, modern(0, "server/discover", json!({})));
    world.says(
        a,
        modern("l", "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })),
    );
    let (child, other) = (world.child(), world.child());
    world.discover(child, 60_000);
    world.discover(other, 60_000);
    world.hears(b);
    let listen = world.hears_of(child, "subscriptions/listen");
    world.says(a, modern(1, "tools/call", json!({ "name": "t" })));
    let called = world.hears_of(child, "tools/call");
    for (who, request) in [(other, &listen), (other, &called), (child, &called)] {
        world.says(who, note("notifications/cancelled", json!({ "requestId": request["id"] })));
    }
    world.silent(a);
    let tag = json!({ "io.modelcontextprotocol/subscriptionId": listen["id"] });
    let honoured = json!({ "notifications": { "toolsListChanged": true }, "_meta": tag });
    world.says(child, note("notifications/subscriptions/acknowledged", honoured));
    world.hears_of(a, "notifications/subscriptions/acknowledged");
    // Its end is still understood as that.
    world.answers(child, &listen, json!({ "resultType": "complete" }));
    world.advance(60_000);
    world.hears_of(child, "subscriptions/listen");
    world.answers(child, &called, json!({ "resultType": "complete", "content": [] }));
    assert_eq!(world.hears(a)["id"], 1);
}

/// P48: a state is of one server, though nothing tells those apart who ask.
#[test]
fn a_state_means_nothing_at_another_server() {
    let mut world = World::new([serialize(), serialize()]);
    let (a, b) = (world.guest_of(0), world.guest_of(1));
    world.says(a, modern("d", "server/discover", json!({})));
    world.says(b, modern("d", "server/discover", json!({})));
    let (child, other) = (world.child(), world.child());
    world.shake_hands(child, all_capabilities());
    world.shake_hands(other, all_capabilities());
    world.hears(a);
    world.hears(b);
    let (told, call) = interrupted(&mut world, child, a);
    world.says(b, again(2, &told, json!({ "q1": accept() })));
    world.hears_error(b, 2, -32602);
    world.silent(child);
    world.silent(other);
    world.says(a, again(2, &told, json!({ "q1": accept() })));
    assert_eq!(world.hears(child)["result"], accept());
    world.answers(child, &call, json!({}));
    assert_eq!(world.hears(a)["id"], 2);
    is_over(&world);
}

/// What a client was away for leaves no timer behind once it came again.
#[test]
fn a_suspended_call_that_goes_on_no_longer_expires() {
    let (mut world, child, [a]) = stage(serialize());
    let before = world.mux.sizes().timers;
    let (told, call) = interrupted(&mut world, child, a);
    world.says(a, again(2, &told, json!({ "q1": accept() })));
    world.hears(child);
    world.answers(child, &call, json!({}));
    world.hears(a);
    assert_eq!(world.mux.sizes().timers, before);
}

/// A call that had the child alone was cancelled: until the child has read that, nothing follows, not even of
/// its own client what would be sent for the client as a whole.
#[test]
fn nothing_passes_the_cancel_of_a_call_that_has_the_child_alone() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, ask(1, json!({ "name": "t" })));
    world.hears_of(child, "tools/call");
    world.says(a, cancel(1));
    world.hears_of(child, "notifications/cancelled");
    let fence = world.hears_of(child, "ping");
    world.says(a, modern(2, "tools/call", json!({ "name": "u" })));
    world.silent(child);
    world.answers(child, &fence, json!({}));
    world.hears_of(child, "tools/call");
}

/// Two clients' requests are cancelled before the child has read either: its lines may be about both, so they
/// are neither's.
#[test]
fn lines_after_the_cancels_of_two_clients_are_nobodys() {
    let (mut world, child, [a, b]) = World::modern(ServerPolicy { max_active_clients: 9, ..policy() });
    let wanting = |id: u32| {
        let mut call = modern(id, "tools/call", json!({ "name": "t" }));
        call["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "debug".into();
        call
    };
    world.says(a, wanting(1));
    world.says(b, wanting(1));
    world.says(a, cancel(1));
    world.says(b, cancel(1));
    world.says(b, wanting(2));
    let fence = world.hears_all(child).into_iter().rfind(|said| said["method"] == "server/discover").unwrap();
    let line = || note("notifications/message", json!({ "level": "error", "data": "of a's" }));
    world.says(child, line());
    world.silent(a);
    world.silent(b);
    world.answers(child, &fence, discover_result(0));
    world.says(child, line());
    world.hears_of(b, "notifications/message");
}

/// A client that has said all it will say cannot be asked any more, though the child is its alone.
#[test]
fn an_owner_that_says_no_more_is_not_asked() {
    let mut world = World::new([super::world::interactive(Interactive::PerClient)]);
    let (client, child) = owner(&mut world);
    world.says(client, call(1, "t"));
    let called = world.hears_of(child, "tools/call");
    world.ends_input(client);
    world.says(child, elicit(1));
    world.hears_error(child, 1, -32603);
    world.silent(client);
    world.answers(child, &called, json!({}));
    assert_eq!(world.hears(client)["id"], 1);
}

/// The same where a client that speaks both eras has the child alone: a late question of its cancelled request
/// would be taken for one of its next call.
#[test]
fn a_fence_holds_for_an_owner_that_can_be_asked_in_two_ways() {
    let mut world = World::new([super::world::interactive(Interactive::PerClient)]);
    let (client, child) = owner(&mut world);
    world.says(client, modern(1, "prompts/get", json!({ "name": "p" })));
    let asked = world.hears_of(child, "prompts/get");
    world.answers(child, &asked, json!({}));
    world.hears(client);
    world.says(client, call(2, "t"));
    world.hears_of(child, "tools/call");
    world.says(client, cancel(2));
    world.hears_of(child, "notifications/cancelled");
    let fence = world.hears_of(child, "ping");
    world.says(client, ask(3, json!({ "name": "u" })));
    world.silent(child);
    world.answers(child, &fence, json!({}));
    world.hears_of(child, "tools/call");
}

/// A line of a server that names a request is for that one's client only if the request is at this server.
#[test]
fn a_line_about_another_servers_request_is_nobodys() {
    let modern_child = || ServerPolicy { era: EraPolicy::Modern, ..policy() };
    let mut world = World::new([modern_child(), modern_child()]);
    let (a, b) = (world.client_of(0), world.client_of(1));
    for client in [a, b] {
        world.says(client, modern(0, "server/discover", json!({})));
    }
    let (child, other) = (world.child(), world.child());
    for (client, child) in [(a, child), (b, other)] {
        world.discover(child, 60_000);
        world.hears(client);
    }
    let mut call = modern(1, "tools/call", json!({ "name": "t" }));
    call["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "debug".into();
    world.says(a, call);
    let id = world.hears_of(child, "tools/call")["id"].to_string();
    let line = br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"x"}}"#;
    for link in [other.link, child.link] {
        world.with(|mux, _, out| mux.tell_log_of(link, id.as_bytes(), line, out));
        match link == child.link {
            true => _ = world.hears_of(a, "notifications/message"),
            false => world.silent(a),
        }
    }
}

/// A client that could have been asked lacks nothing, whatever else a question was refused for.
#[test]
fn a_question_too_many_is_not_the_clients_lack() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, ask(1, json!({ "name": "t" })));
    let called = world.hears_of(child, "tools/call");
    for id in 0..=QUESTIONS_PER_CALL {
        world.says(child, elicit(id));
    }
    world.hears_error(child, QUESTIONS_PER_CALL, -32603);
    world.says(child, json!({ "id": called["id"], "error": { "code": -32602, "message": "no" } }));
    world.hears_error(a, 1, -32602);
}

/// Nor is it said of one of two calls that it lacks what a question was refused for: it may be of the other.
#[test]
fn a_refused_question_of_two_calls_is_neithers_lack() {
    let (mut world, child, [a]) = stage(serialize());
    let call = |id: u32| modern(id, "tools/call", json!({ "name": "t" }));
    world.says(a, call(1));
    world.says(a, call(2));
    let called = [world.hears_of(child, "tools/call"), world.hears_of(child, "tools/call")];
    world.says(child, elicit(7));
    world.hears_error(child, 7, -32602);
    for (id, called) in (1..).zip(called) {
        world.says(child, json!({ "id": called["id"], "error": { "code": -32602, "message": "no" } }));
        world.hears_error(a, id, -32602);
    }
}
