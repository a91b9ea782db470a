//! Requests of a legacy child to clients, under the three policies (P12–P15, protocol.md §2.6).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{Interactive, Root, ServerPolicy};
use serde_json::{Value, json};

fn everything() -> Value {
    json!({ "sampling": { "tools": {} }, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

/// A server under this policy, its child ready and what it was offered, clients of these capabilities.
pub(super) fn stage<const N: usize>(
    policy: ServerPolicy,
    capabilities: [Value; N],
) -> (World, Child, [Key; N], Value) {
    let mut world = World::new([policy]);
    let clients = std::array::from_fn(|_| world.client());
    world.says(clients[0], initialize("2025-11-25", capabilities[0].clone()));
    let child = world.child();
    let asked = world.hears_of(child, "initialize");
    let result = json!({ "protocolVersion": "2025-11-25", "capabilities": all_capabilities() });
    world.answers(child, &asked, result);
    world.hears(child);
    world.hears(clients[0]);
    for (client, capabilities) in clients.into_iter().zip(capabilities).skip(1) {
        world.greet(client, capabilities);
    }
    (world, child, clients, asked["params"]["capabilities"].clone())
}

fn serialize() -> ServerPolicy {
    interactive(Interactive::Serialize)
}

fn elicit(id: impl Into<Value>) -> Value {
    request(id, "elicitation/create", json!({ "message": "?", "requestedSchema": {} }))
}

/// P13: `off` declares nothing, and whatever is asked all the same is refused.
#[test]
fn off_declares_nothing_and_asks_nobody() {
    let (mut world, child, [a], offered) = stage(policy(), [everything()]);
    assert_eq!(offered, json!({}));
    world.says(a, call(1, "t"));
    world.hears(child);
    for (method, code) in
        [("sampling/createMessage", -32602), ("elicitation/create", -32602), ("roots/list", -32601)]
    {
        world.says(child, request(method, method, json!({})));
        world.hears_error(child, method, code);
    }
    world.silent(a);
}

/// P14: configured roots are answered here, under any policy.
#[test]
fn configured_roots_are_told_without_asking() {
    let roots = vec![
        Root { uri: "file:///a".into(), name: Some("A".into()) },
        Root { uri: "file:///b".into(), name: None },
    ];
    let (mut world, child, [a], offered) = stage(ServerPolicy { roots, ..policy() }, [everything()]);
    assert_eq!(offered, json!({ "roots": {} }));
    world.says(child, request(1, "roots/list", json!({})));
    let told = world.hears(child);
    assert_eq!(told["result"]["roots"], json!([{ "uri": "file:///a", "name": "A" }, { "uri": "file:///b" }]));
    world.silent(a);
}

/// A child that knows a newer version than its client asks in the words of the client (protocol.md §4.1).
#[test]
fn an_older_client_is_asked_in_its_own_words() {
    let (mut world, child, [_], _) = stage(serialize(), [everything()]);
    let old = world.client();
    world.says(old, initialize("2024-11-05", everything()));
    world.hears(old);
    world.says(old, note("notifications/initialized", json!({})));
    world.says(old, call(1, "t"));
    world.hears(child);
    let block = json!({ "type": "audio", "data": "AA", "mimeType": "audio/wav" });
    let messages = json!([{ "role": "user", "content": [{ "type": "text", "text": "this" }, block] }]);
    world
        .says(child, request("q", "sampling/createMessage", json!({ "messages": messages, "maxTokens": 1 })));
    let asked = world.hears_of(old, "sampling/createMessage");
    let told = asked["params"]["messages"].as_array().unwrap();
    assert_eq!((&told[0]["content"]["text"], &told[1]["content"]["type"]), (&json!("this"), &json!("text")));
    world.says(old, json!({ "id": asked["id"], "result": { "role": "assistant" } }));
    assert_eq!(world.hears(child)["id"], "q");
}

/// P12, P15: the only candidate is asked, and its answer returns under the child's own id and type.
#[test]
fn the_only_candidate_is_asked() {
    let (mut world, child, [a, b], offered) = stage(serialize(), [everything(), everything()]);
    assert!(offered["sampling"].is_object() && offered["tasks"].is_null());
    world.says(a, call(1, "t"));
    world.hears(child);
    world.says(b, request(1, "tools/list", json!({})));
    world.hears(child);
    for id in [json!(0), json!("0"), json!("x")] {
        world.says(child, elicit(id.clone()));
        let asked = world.hears_of(a, "elicitation/create");
        world.silent(b);
        world.says(b, json!({ "id": asked["id"], "result": { "action": "not yours" } }));
        world.silent(child);
        world.says(a, json!({ "id": asked["id"], "result": { "action": "accept" } }));
        assert_eq!(
            world.hears(child),
            json!({ "jsonrpc": "2.0", "id": id, "result": { "action": "accept" } })
        );
        world.says(a, json!({ "id": asked["id"], "result": { "action": "again" } }));
        world.silent(child);
    }
    world.says(child, elicit("e"));
    let asked = world.hears(a);
    world.says(a, json!({ "id": asked["id"], "error": { "code": -1, "message": "no" } }));
    world.hears_error(child, "e", -1);
    assert_eq!(world.mux.sizes().reverse, 0);
}

/// P14: nobody with a fitting request in flight and capability means nobody is asked.
#[test]
fn without_a_candidate_the_child_is_refused() {
    let (mut world, child, [a], _) = stage(serialize(), [json!({ "elicitation": {}, "sampling": {} })]);
    world.says(child, elicit(1));
    world.hears_error(child, 1, -32602);
    world.says(a, call(1, "t"));
    world.hears(child);
    world.says(child, request(2, "roots/list", json!({})));
    world.hears_error(child, 2, -32601);
    world.says(child, request(3, "elicitation/create", json!({ "mode": "url", "url": "https://x" })));
    world.hears_error(child, 3, -32602);
    world.says(child, request(4, "sampling/createMessage", json!({ "tools": [] })));
    world.hears_error(child, 4, -32602);
    world.says(child, request(5, "vendor/ask", json!({})));
    world.hears_error(child, 5, -32601);
    world.silent(a);
    world.says(child, request(6, "sampling/createMessage", json!({})));
    world.hears_of(a, "sampling/createMessage");
}

/// P12: under `serialize` interactive requests of two clients are never at the child together, and the
/// second one's turn comes. A client that cannot be asked waits as well: a question during its call would
/// be taken for one to the other.
#[test]
fn serialize_keeps_the_candidate_unique() {
    let (mut world, child, [a, b, mute], _) = stage(serialize(), [everything(), everything(), json!({})]);
    world.says(a, call(1, "a"));
    world.says(b, call(1, "b"));
    world.says(mute, call(1, "mute"));
    let first = world.hears(child);
    assert_eq!(first["params"]["name"], "a");
    world.silent(child);
    world.says(child, elicit(1));
    let asked = world.hears(a);
    world.says(a, json!({ "id": asked["id"], "result": {} }));
    world.hears(child);
    world.answers(child, &first, json!({}));
    let second = world.hears(child);
    assert_eq!(second["params"]["name"], "b");
    world.says(child, elicit(2));
    let asked = world.hears_of(b, "elicitation/create");
    assert_eq!(world.hears(a)["id"], 1);
    world.silent(a);
    world.says(b, json!({ "id": asked["id"], "result": {} }));
    world.hears(child);
    world.answers(child, &second, json!({}));
    assert_eq!(world.hears(child)["params"]["name"], "mute");
    world.says(child, elicit(3));
    world.hears_error(child, 3, -32602);
    world.silent(a);
}

/// Under `serialize` a cancel bars the child to others until it has read it; any number of cancels
/// leaves one ping to be answered (P58).
#[test]
fn cancels_of_a_silent_child_do_not_pile_up() {
    let (mut world, child, [a, b], _) = stage(serialize(), [everything(), everything()]);
    for n in 0..100 {
        world.says(a, call(n, "a"));
        world.says(a, cancel(n));
    }
    world.says(b, call(1, "b"));
    assert_eq!(world.mux.sizes().requests, 2, "a ping and what waits behind it");
    let pings = world.hears_all(child).into_iter().filter(|m| m["method"] == "ping").collect::<Vec<_>>();
    for (n, ping) in pings.iter().enumerate() {
        world.silent(child);
        assert!(n < 100);
        world.answers(child, ping, json!({}));
    }
    assert_eq!(world.hears(child)["params"]["name"], "b");
}

/// `serialize`: the holder that keeps asking lets the one that waits have its turn.
#[test]
fn serialize_lets_everybody_have_a_turn() {
    let (mut world, child, [a, b], _) = stage(serialize(), [everything(), everything()]);
    world.says(a, call(0, "a"));
    world.says(b, call(0, "b"));
    let mut at_child = world.hears_all(child);
    for n in 1..20 {
        world.says(a, call(n, "a"));
        at_child.extend(world.hears_all(child));
        let asked = at_child.remove(0);
        world.answers(child, &asked, json!({}));
        at_child.extend(world.hears_all(child));
        if at_child.iter().any(|m| m["params"]["name"] == "b") {
            return;
        }
    }
    panic!("b never had a turn");
}

/// protocol.md §2.6 rule 1: a request that names its task goes to the task's owner.
#[test]
fn a_request_for_a_task_goes_to_its_owner() {
    let (mut world, child, [a, b], _) = stage(serialize(), [everything(), everything()]);
    world.says(a, request(1, "tools/call", json!({ "name": "t", "task": {} })));
    let asked = world.hears(child);
    world.answers(child, &asked, json!({ "task": { "taskId": "T", "status": "working" } }));
    world.hears(a);
    world.says(b, call(1, "t"));
    world.hears(child);
    let mut question = elicit(1);
    question["params"]["_meta"] = json!({ "io.modelcontextprotocol/related-task": { "taskId": "T" } });
    world.says(child, question);
    world.hears_of(a, "elicitation/create");
    world.silent(b);
}

/// A question's cancel, its progress and its timeout find their way (protocol.md §2.3, §2.5).
#[test]
fn what_belongs_to_a_question_follows_it() {
    let (mut world, child, [a], _) = stage(serialize(), [everything()]);
    world.says(a, call(1, "t"));
    world.hears(child);
    let mut question = request("q", "sampling/createMessage", json!({}));
    question["params"]["_meta"]["progressToken"] = json!("q");
    world.says(child, question);
    let asked = world.hears(a);
    let token = &asked["params"]["_meta"]["progressToken"];
    assert_eq!(token, &asked["id"]);
    world.says(a, note("notifications/progress", json!({ "progressToken": token, "progress": 1 })));
    assert_eq!(world.hears(child)["params"]["progressToken"], "q");
    world.says(child, cancel("other"));
    world.silent(a);
    world.says(child, cancel("q"));
    assert_eq!(world.hears_of(a, "notifications/cancelled")["params"]["requestId"], asked["id"]);
    world.says(a, json!({ "id": asked["id"], "result": {} }));
    world.silent(child);
    assert_eq!(world.mux.sizes().reverse, 0);
    world.says(child, elicit("r"));
    world.hears(a);
    world.advance(600_000);
    let told = world.hears_all(child);
    assert!(told.iter().any(|m| m["id"] == "r" && m["error"]["code"] == -32603), "{told:?}");
}

/// protocol.md §2.8: a client that leaves, or can say no more, leaves no question unanswered.
#[test]
fn questions_to_a_client_that_left_are_refused() {
    for half_close in [false, true] {
        let (mut world, child, [a], _) = stage(serialize(), [everything()]);
        world.says(a, call(1, "t"));
        world.hears(child);
        world.says(child, elicit(1));
        world.hears(a);
        if half_close {
            world.ends_input(a);
        } else {
            world.leaves(a);
            world.hears_of(child, "notifications/cancelled");
            // Nobody else's questions before the child has read that.
            world.hears_of(child, "ping");
        }
        world.hears_error(child, 1, -32603);
        if half_close {
            world.says(child, elicit(2));
            world.hears_error(child, 2, -32602);
            world.silent(a);
        }
        assert_eq!(world.mux.sizes().reverse, 0);
    }
}

/// The questions of a process that died are taken back; their answers reach no other process.
#[test]
fn questions_of_a_dead_child_are_taken_back() {
    let (mut world, child, [a], _) = stage(serialize(), [everything()]);
    world.says(a, call(1, "t"));
    world.hears(child);
    world.says(child, elicit(1));
    let asked = world.hears(a);
    world.exits(child, "died");
    world.hears_failure(a, 1, "restarting");
    assert_eq!(world.hears_of(a, "notifications/cancelled")["params"]["requestId"], asked["id"]);
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, json!({}));
    world.says(a, json!({ "id": asked["id"], "result": {} }));
    world.silent(child);
}

/// A client's answer that cannot be passed on (too long, broken) is a refusal, not silence.
#[test]
fn a_broken_answer_is_a_refusal() {
    let (mut world, child, [a], _) = stage(serialize(), [everything()]);
    world.says(a, call(1, "t"));
    world.hears(child);
    world.says(child, elicit(1));
    let asked = world.hears(a);
    world.says_raw(a, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":"\x"}}"#, asked["id"]));
    world.hears_error(child, 1, -32603);
    world.silent(a);
    world.says(child, elicit(2));
    let asked = world.hears(a);
    let head = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"#, asked["id"]).into_bytes();
    let line = crate::codec::Overlong { len: 9_999, limit: 1_000, head, tail: b"}}".to_vec() };
    world.with(|mux, now, out| mux.handle_overlong(now, a, &line, out));
    world.hears_error(child, 2, -32603);
    world.silent(a);
}

/// `per-client`: each client's own words go to its own child, and everything passes 1:1.
#[test]
fn per_client_passes_everything() {
    let mut world = World::new([interactive(Interactive::PerClient)]);
    let (a, b) = (world.client(), world.client());
    world.says(a, initialize("2025-06-18", json!({ "roots": { "listChanged": true }, "tasks": {} })));
    let first = world.child();
    let asked = world.hears_of(first, "initialize");
    assert_eq!(asked["params"]["capabilities"], json!({ "roots": { "listChanged": true }, "tasks": {} }));
    assert_eq!(asked["params"]["protocolVersion"], "2025-06-18");
    assert_eq!(asked["params"]["clientInfo"]["name"], "client");
    world.answers(first, &asked, json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    world.hears(first);
    world.says(b, initialize("2025-11-25", json!({})));
    let second = world.child();
    world.shake_hands(second, json!({}));
    world.hears(a);
    world.hears(b);
    world.says(first, request(1, "roots/list", json!({})));
    let asked = world.hears_of(a, "roots/list");
    world.silent(b);
    world.says(a, json!({ "id": asked["id"], "result": { "roots": [] } }));
    assert_eq!(world.hears(first)["id"], 1);
    world.says(a, note("notifications/roots/list_changed", json!({})));
    world.hears_of(first, "notifications/roots/list_changed");
    world.silent(second);
    world.exits(first, "died");
    world.advance(1_000);
    let first = world.child();
    let again = world.hears_of(first, "initialize");
    assert_eq!(again["params"]["protocolVersion"], "2025-06-18");
}
