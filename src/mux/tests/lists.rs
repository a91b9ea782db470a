//! Lists that are given without asking the child, and asked for once for everybody (rows B08, C05; P55).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{EraPolicy, ServerPolicy};
use serde_json::{Value, json};

pub(super) fn list(id: impl Into<Value>) -> Value {
    request(id, "tools/list", json!({}))
}

pub(super) fn tools(names: &[&str]) -> Value {
    let tools: Vec<Value> = names.iter().map(|name| json!({ "name": name, "inputSchema": {} })).collect();
    json!({ "tools": tools })
}

pub(super) fn modern_tools(names: &[&str], ttl_ms: u64) -> Value {
    let mut result = tools(names);
    result["resultType"] = "complete".into();
    result["ttlMs"] = ttl_ms.into();
    result["cacheScope"] = "private".into();
    result
}

/// The names in an answer.
#[track_caller]
pub(super) fn names(answer: &Value) -> Vec<&str> {
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

/// A client asks and is answered without anybody being asked.
#[track_caller]
pub(super) fn knows(world: &mut World, client: Key, expected: &[&str]) {
    world.says(client, list("known"));
    let answer = world.hears(client);
    assert_eq!((&answer["id"], names(&answer)), (&json!("known"), expected.to_vec()));
}

/// A client asks, and so is the child.
#[track_caller]
pub(super) fn fetches(world: &mut World, child: Child, client: Key, result: Value) -> Value {
    world.says(client, list("fetched"));
    let asked = world.hears_of(child, "tools/list");
    world.silent(client);
    world.answers(child, &asked, result);
    let answer = world.hears(client);
    assert_eq!(answer["id"], "fetched");
    answer
}

pub(super) fn changed(world: &mut World, child: Child) {
    world.says(child, note("notifications/tools/list_changed", json!({})));
}

#[test]
fn a_list_is_asked_for_once_until_it_changes() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    fetches(&mut world, child, a, tools(&["x"]));
    knows(&mut world, a, &["x"]);
    knows(&mut world, b, &["x"]);
    world.silent(child);
    changed(&mut world, child);
    world.hears_of(a, "notifications/tools/list_changed");
    world.hears_of(b, "notifications/tools/list_changed");
    fetches(&mut world, child, b, tools(&["y"]));
    knows(&mut world, a, &["y"]);
    // Of another kind of list nothing was said.
    world.says(a, request(1, "prompts/list", json!({})));
    let asked = world.hears_of(child, "prompts/list");
    world.answers(child, &asked, json!({ "prompts": [] }));
    world.hears(a);
    changed(&mut world, child);
    world.says(b, request(2, "prompts/list", json!({})));
    world.silent(child);
}

/// Templates change with the resources.
#[test]
fn resources_and_their_templates_change_together() {
    let (mut world, child, [a]) = World::legacy(policy());
    for (method, member) in
        [("resources/list", "resources"), ("resources/templates/list", "resourceTemplates")]
    {
        for turn in 0..2 {
            world.says(a, request(turn, method, json!({})));
            if turn == 0 {
                let asked = world.hears_of(child, method);
                world.answers(child, &asked, json!({ member: [] }));
            }
            assert_eq!(world.hears(a)["id"], turn);
        }
    }
    world.says(child, note("notifications/resources/list_changed", json!({})));
    world.hears(a);
    for method in ["resources/list", "resources/templates/list"] {
        world.says(a, request(9, method, json!({})));
        world.hears_of(child, method);
    }
}

#[test]
fn a_server_that_announces_no_changes_is_asked_each_time() {
    let mut world = World::new([policy()]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.shake_hands(child, json!({ "tools": {} }));
    world.hears(a);
    for _ in 0..3 {
        fetches(&mut world, child, a, tools(&["x"]));
    }
}

#[test]
fn no_cache_asks_each_time_and_for_each() {
    let (mut world, child, [a, b]) = World::legacy(ServerPolicy { no_cache: true, ..policy() });
    fetches(&mut world, child, a, tools(&["x"]));
    world.says(a, list(1));
    world.says(b, list(2));
    assert_eq!(world.hears_all(child).len(), 2);
    assert_eq!(world.mux.memory(0), None);
}

#[test]
fn pages_are_told_apart_by_their_cursors() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    let page = |cursor: &str| request(cursor, "tools/list", json!({ "cursor": cursor }));
    fetches(&mut world, child, a, json!({ "tools": [{ "name": "1" }], "nextCursor": "" }));
    for cursor in ["", "b"] {
        world.says(a, page(cursor));
        let asked = world.hears_of(child, "tools/list");
        assert_eq!(asked["params"]["cursor"], cursor);
        world.answers(child, &asked, tools(&[&format!("of {cursor}")]));
        world.hears(a);
        world.says(b, page(cursor));
        assert_eq!(names(&world.hears(b)), [format!("of {cursor}")]);
    }
    knows(&mut world, b, &["1"]);
    // Whatever else a request says may make a difference.
    for params in [json!({ "filter": 1 }), json!({ "cursor": 1 }), json!({ "requestState": "s" })] {
        world.says(b, request(1, "tools/list", params));
        world.hears_of(child, "tools/list");
    }
}

#[test]
fn what_is_no_list_is_not_kept() {
    let (mut world, child, [a]) = World::legacy(policy());
    fetches(&mut world, child, a, json!({}));
    fetches(&mut world, child, a, json!({ "tools": 7 }));
    world.says(a, list(1));
    let asked = world.hears(child);
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32602, "message": "no" } }));
    world.hears_error(a, 1, -32602);
    fetches(&mut world, child, a, tools(&[]));
    knows(&mut world, a, &[]);
}

/// A change that was announced while the answer was on its way may not be in it.
#[test]
fn an_answer_that_a_change_overtook_is_not_fresh() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, list(1));
    let old = world.hears(child);
    changed(&mut world, child);
    world.hears_all(a);
    world.hears_all(b);
    // Whoever asks after the change does not get an answer from before it.
    world.says(b, list(2));
    let new = world.hears_of(child, "tools/list");
    world.answers(child, &old, tools(&["old"]));
    assert_eq!(names(&world.hears(a)), ["old"]);
    world.silent(b);
    world.answers(child, &new, tools(&["new"]));
    assert_eq!(names(&world.hears(b)), ["new"]);
    knows(&mut world, a, &["new"]);
}

/// The answers may come in the other order.
#[test]
fn a_late_answer_does_not_replace_a_newer_list() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, list(1));
    let old = world.hears(child);
    changed(&mut world, child);
    world.hears_all(a);
    world.hears_all(b);
    world.says(b, list(2));
    let new = world.hears_of(child, "tools/list");
    world.answers(child, &new, tools(&["new"]));
    world.answers(child, &old, tools(&["old"]));
    assert_eq!(names(&world.hears(a)), ["old"]);
    assert_eq!(names(&world.hears(b)), ["new"]);
    knows(&mut world, a, &["new"]);
}

#[test]
fn equal_requests_share_one_answer() {
    let (mut world, child, [a, b, c]) = World::legacy(policy());
    world.says(a, request("x", "tools/list", json!({ "_meta": { "progressToken": 1 } })));
    let asked = world.hears_of(child, "tools/list");
    world.says(b, request(2, "tools/list", json!({})));
    world.says(b, json!({ "id": 3, "method": "tools/list" }));
    world.says(c, request(2.5, "tools/list", json!({ "_meta": { "k": 1 } })));
    world.silent(child);
    world.answers(child, &asked, tools(&["t"]));
    let ids = |world: &mut World, client: Key| -> Vec<Value> {
        world
            .hears_all(client)
            .iter()
            .map(|answer| {
                assert_eq!(names(answer), ["t"]);
                answer["id"].clone()
            })
            .collect()
    };
    assert_eq!(ids(&mut world, a), [json!("x")]);
    assert_eq!(ids(&mut world, b), [json!(2), json!(3)]);
    assert_eq!(ids(&mut world, c), [json!(2.5)]);
    assert_eq!(world.mux.sizes().requests, 0);
}

#[test]
fn an_error_is_everybodys() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, list(1));
    world.says(b, list(2));
    let asked = world.hears(child);
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32000, "message": "no" } }));
    world.hears_error(a, 1, -32000);
    world.hears_error(b, 2, -32000);
}

/// The child is told only when nobody waits any more, whoever leaves first and however.
#[test]
fn one_that_goes_does_not_cancel_the_others() {
    for leaves in [true, false] {
        let (mut world, child, [a, b, c]) = World::legacy(policy());
        for client in [a, b, c] {
            world.says(client, list(1));
        }
        let asked = world.hears(child);
        let go = |world: &mut World, client: Key| match leaves {
            true => world.leaves(client),
            false => world.says(client, cancel(1)),
        };
        go(&mut world, a);
        go(&mut world, b);
        world.silent(child);
        if leaves {
            go(&mut world, c);
            let told = world.hears_of(child, "notifications/cancelled");
            assert_eq!(told["params"]["requestId"], asked["id"]);
        } else {
            world.answers(child, &asked, tools(&["t"]));
            assert_eq!(names(&world.hears(c)), ["t"]);
            world.silent(a);
            world.silent(b);
        }
        assert_eq!(world.mux.sizes().requests, 0);
    }
}

/// One client's requests among themselves, too.
#[test]
fn a_client_that_leaves_takes_all_its_requests_along() {
    let (mut world, child, [a, _b]) = World::legacy(policy());
    for id in 0..4 {
        world.says(a, list(id));
    }
    world.hears(child);
    world.leaves(a);
    world.hears_of(child, "notifications/cancelled");
    world.silent(child);
    assert_eq!(world.mux.sizes().requests, 0);
}

#[test]
fn everybody_waits_for_as_long_as_their_own_deadline() {
    let (mut world, child, [a, b]) = World::legacy(ServerPolicy { request_timeout_ms: 1_000, ..policy() });
    world.says(a, list(1));
    let asked = world.hears(child);
    world.advance(600);
    world.says(b, list(2));
    world.advance(400);
    world.hears_failure(a, 1, "timeout");
    world.silent(child);
    world.advance(599);
    world.silent(b);
    world.advance(1);
    world.hears_failure(b, 2, "timeout");
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], asked["id"]);
    world.answers(child, &asked, tools(&["late"]));
    world.silent(b);
}

#[test]
fn a_lost_answer_is_lost_for_everybody() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    world.says(a, list(1));
    world.says(b, list(2));
    let asked = world.hears(child);
    world.says_raw(child, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}"#, asked["id"]));
    world.hears_failure(a, 1, "malformed");
    world.hears_failure(b, 2, "malformed");
    assert_eq!(world.mux.sizes().requests, 0);
}

#[test]
fn requests_that_waited_for_the_start_become_one() {
    let mut world = World::new([policy()]);
    let clients = [world.client(), world.client(), world.client()];
    for client in clients {
        world.says(client, modern(1, "tools/list", json!({})));
    }
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let asked = world.hears_all(child);
    assert_eq!(asked.len(), 1, "{asked:?}");
    world.answers(child, &asked[0], tools(&["t"]));
    for client in clients {
        assert_eq!(names(&world.hears(client)), ["t"]);
    }
}

/// Each is told in its own words, live and from what is known.
#[test]
fn clients_of_both_eras_share_a_list() {
    let (mut world, child, [old]) = World::legacy(policy());
    let new = world.client();
    let told = |world: &mut World| {
        let answer = world.hears(new);
        let result = &answer["result"];
        assert_eq!((&result["resultType"], &result["ttlMs"]), (&json!("complete"), &json!(0)), "{answer}");
        assert_eq!(names(&answer), ["t"]);
        let answer = world.hears(old);
        assert_eq!(names(&answer), ["t"]);
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
    };
    for is_known in [false, true] {
        world.says(new, modern(1, "tools/list", json!({})));
        world.says(old, list(1));
        if !is_known {
            let asked = world.hears_of(child, "tools/list");
            world.answers(child, &asked, tools(&["t"]));
        }
        world.silent(child);
        told(&mut world);
    }
}

#[test]
fn a_modern_server_says_how_long_its_list_holds() {
    let (mut world, child, [a, b]) = World::modern::<2>(policy());
    let old = world.client();
    world.greet(old, json!({}));
    let listen = world.hears_of(child, "subscriptions/listen");
    world.says(a, modern(1, "tools/list", json!({})));
    let asked = world.hears_of(child, "tools/list");
    world.answers(child, &asked, modern_tools(&["t"], 5_000));
    assert_eq!(world.hears(a)["result"]["ttlMs"], 5_000);
    world.advance(2_000);
    world.says(b, modern(2, "tools/list", json!({})));
    assert_eq!(world.hears(b)["result"]["ttlMs"], 3_000, "what is left of it");
    knows(&mut world, old, &["t"]);
    world.advance(3_000);
    world.says(b, modern(3, "tools/list", json!({})));
    let asked = world.hears_of(child, "tools/list");
    world.answers(child, &asked, modern_tools(&["t"], 5_000));
    world.hears(b);
    // P55: a change ends it at once.
    let tag = json!({ "_meta": { "io.modelcontextprotocol/subscriptionId": listen["id"] } });
    world.says(child, note("notifications/tools/list_changed", tag));
    world.says(a, modern(4, "tools/list", json!({})));
    world.hears_of(child, "tools/list");
}

/// A process of one's own has no lists that others could be given.
#[test]
fn processes_of_one_client_share_nothing() {
    let policy =
        ServerPolicy { share: crate::mux::policy::Share::Session, era: EraPolicy::Legacy, ..policy() };
    let mut world = World::new([policy]);
    let clients = [world.client(), world.client()];
    for client in clients {
        world.says(client, initialize("2025-11-25", json!({})));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        world.hears(client);
        for _ in 0..2 {
            fetches(&mut world, child, client, tools(&["t"]));
        }
    }
    assert_eq!(world.mux.memory(0), None);
}
