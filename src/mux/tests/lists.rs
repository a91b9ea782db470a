//! Lists that are given without asking the child, and asked for once for everybody (rows B08, C05; P55).

use super::world::*;
use crate::base::Key;
use crate::mux::StopStep;
use crate::mux::policy::{EraPolicy, ServerPolicy};
use serde_json::{Value, json};

fn list(id: impl Into<Value>) -> Value {
    request(id, "tools/list", json!({}))
}

fn tools(names: &[&str]) -> Value {
    let tools: Vec<Value> = names.iter().map(|name| json!({ "name": name, "inputSchema": {} })).collect();
    json!({ "tools": tools })
}

fn modern_tools(names: &[&str], ttl_ms: u64) -> Value {
    let mut result = tools(names);
    result["resultType"] = "complete".into();
    result["ttlMs"] = ttl_ms.into();
    result["cacheScope"] = "private".into();
    result
}

/// The names in an answer.
#[track_caller]
fn names(answer: &Value) -> Vec<&str> {
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

/// A client asks and is answered without anybody being asked.
#[track_caller]
fn knows(world: &mut World, client: Key, expected: &[&str]) {
    world.says(client, list("known"));
    let answer = world.hears(client);
    assert_eq!((&answer["id"], names(&answer)), (&json!("known"), expected.to_vec()));
}

/// A client asks, and so is the child.
#[track_caller]
fn fetches(world: &mut World, child: Child, client: Key, result: Value) -> Value {
    world.says(client, list("fetched"));
    let asked = world.hears_of(child, "tools/list");
    world.silent(client);
    world.answers(child, &asked, result);
    let answer = world.hears(client);
    assert_eq!(answer["id"], "fetched");
    answer
}

fn changed(world: &mut World, child: Child) {
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

/// A lazy server that has never run, and one that was stopped while idle.
fn idle() -> ServerPolicy {
    ServerPolicy { idle_stop_ms: Some(1_000), lazy_start: true, ..policy() }
}

/// Lets the child be stopped while idle.
fn rest(world: &mut World, child: Child) {
    world.advance(1_500);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.exits(child, "exited with status 0");
    assert_eq!(world.state(), "stopped");
}

/// C05.
#[test]
fn a_server_that_rests_is_not_started_for_its_lists() {
    let (mut world, child, [a]) = World::legacy(idle());
    fetches(&mut world, child, a, tools(&["t"]));
    world.advance(1_500);
    // Also while it goes.
    knows(&mut world, a, &["t"]);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.exits(child, "exited with status 0");
    let (old, new) = (world.client(), world.client());
    world.greet(old, json!({}));
    world.says(old, request(5, "logging/setLevel", json!({ "level": "debug" })));
    assert_eq!(world.hears(old)["result"], json!({}));
    knows(&mut world, old, &["t"]);
    world.says(new, modern(1, "server/discover", json!({})));
    assert_eq!(world.hears(new)["result"]["ttlMs"], 0);
    world.says(new, modern(2, "tools/list", json!({})));
    assert_eq!(names(&world.hears(new)), ["t"]);
    world.no_start();
    // What is not known is asked for.
    world.says(old, request(6, "prompts/list", json!({})));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let asked: Vec<Value> = world.hears_all(child).iter().map(|said| said["method"].clone()).collect();
    assert!(
        asked.contains(&json!("prompts/list")) && asked.contains(&json!("logging/setLevel")),
        "{asked:?}"
    );
}

/// After the next start clients hear of it if the list is another one, and only then.
#[test]
fn a_list_is_compared_after_the_next_start() {
    for is_same in [true, false] {
        let (mut world, child, [a]) = World::legacy(idle());
        fetches(&mut world, child, a, tools(&["t"]));
        rest(&mut world, child);
        world.says(a, call(1, "t"));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        let said = world.hears_all(child);
        let asked = said.iter().find(|said| said["method"] == "tools/list").expect("it is asked again");
        world.answers(child, asked, tools(&[if is_same { "t" } else { "u" }]));
        let heard = world.hears_all(a);
        let is_told = heard.iter().any(|said| said["method"] == "notifications/tools/list_changed");
        assert_eq!(is_told, !is_same, "{heard:?}");
        knows(&mut world, a, &[if is_same { "t" } else { "u" }]);
    }
}

/// Page after page, as long as nothing is new.
#[test]
fn all_pages_are_compared() {
    let (mut world, child, [a]) = World::legacy(idle());
    let first = json!({ "tools": [{ "name": "1" }], "nextCursor": "c" });
    fetches(&mut world, child, a, first.clone());
    world.says(a, request(2, "tools/list", json!({ "cursor": "c" })));
    let asked = world.hears(child);
    world.answers(child, &asked, tools(&["2"]));
    world.hears(a);
    rest(&mut world, child);
    world.says(a, call(1, "t"));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let said = world.hears_all(child);
    let asked = said.iter().find(|said| said["method"] == "tools/list").unwrap();
    world.answers(child, asked, first);
    let asked = world.hears_of(child, "tools/list");
    assert_eq!(asked["params"]["cursor"], "c");
    world.hears_all(a);
    world.answers(child, &asked, tools(&["3"]));
    world.hears_of(a, "notifications/tools/list_changed");
}

/// If it does not say, clients are told to look themselves, and they can.
#[test]
fn a_child_that_does_not_say_its_list_again_counts_as_changed() {
    for is_silent in [true, false] {
        let (mut world, child, [a]) = World::legacy(idle());
        fetches(&mut world, child, a, tools(&["t"]));
        rest(&mut world, child);
        world.says(a, call(1, "t"));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        let said = world.hears_all(child);
        let asked = said.iter().find(|said| said["method"] == "tools/list").unwrap();
        world.hears_all(a);
        if is_silent {
            world.advance(30_000);
        } else {
            world.says(child, json!({ "id": asked["id"], "error": { "code": -32603, "message": "no" } }));
        }
        let heard = world.hears_all(a);
        let told = heard.iter().filter(|said| said["method"] == "notifications/tools/list_changed");
        assert_eq!(told.count(), 1, "{heard:?}");
        world.hears_all(child);
        fetches(&mut world, child, a, tools(&["t"]));
    }
}

/// Whoever asks while muxloop looks again waits for the same answer, also if muxloop's own patience ends.
#[test]
fn clients_share_muxloops_own_look() {
    let (mut world, child, [a, b]) = World::legacy(idle());
    fetches(&mut world, child, a, tools(&["t"]));
    rest(&mut world, child);
    world.says(a, call(1, "t"));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let said = world.hears_all(child);
    let asked = said.iter().find(|said| said["method"] == "tools/list").unwrap();
    world.advance(20_000);
    world.says(b, list(2));
    world.silent(child);
    world.advance(15_000);
    let told = world.hears_all(child);
    assert!(told.iter().all(|said| said["params"]["requestId"] != asked["id"]), "{told:?}");
    world.hears_all(b);
    world.answers(child, asked, tools(&["u"]));
    assert_eq!(names(&world.hears(b)), ["u"]);
}

/// A list that is known to have changed is not given by a server that can be started.
#[test]
fn what_changed_before_the_rest_is_asked_for() {
    let (mut world, child, [a]) = World::legacy(idle());
    fetches(&mut world, child, a, tools(&["t"]));
    changed(&mut world, child);
    world.hears(a);
    rest(&mut world, child);
    world.says(a, list(1));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let asked = world.hears_of(child, "tools/list");
    world.answers(child, &asked, tools(&["u"]));
    assert!(world.hears_all(a).iter().any(|said| said["result"]["tools"][0]["name"] == "u"));
}

/// §5.6: what is old may be given if asking fails; the operator's word stands.
#[test]
fn a_server_that_is_down_gives_its_last_good_lists() {
    let policy = ServerPolicy { max_restarts: 1, ..policy() };
    let (mut world, child, [a, b]) = World::legacy(policy);
    fetches(&mut world, child, a, tools(&["t"]));
    changed(&mut world, child);
    world.hears_all(a);
    world.hears_all(b);
    world.says(a, list(1));
    world.says(b, list(2));
    world.exits(child, "died");
    assert_eq!(names(&world.hears(a)), ["t"], "what was in flight");
    assert_eq!(names(&world.hears(b)), ["t"]);
    assert_eq!(world.state(), "backoff");
    knows(&mut world, a, &["t"]);
    world.advance(1_000);
    world.start_fails("no such file");
    assert_eq!(world.state(), "failed");
    knows(&mut world, a, &["t"]);
    let late = world.client();
    world.greet(late, json!({}));
    knows(&mut world, late, &["t"]);
    world.says(late, call(3, "t"));
    world.hears_failure(late, 3, "failed");
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.says(a, list(4));
    world.hears_failure(a, 4, "stopped");
}

#[test]
fn a_silent_server_gives_its_last_good_list_at_the_deadline() {
    let (mut world, child, [a]) = World::legacy(policy());
    fetches(&mut world, child, a, tools(&["t"]));
    changed(&mut world, child);
    world.hears(a);
    world.says(a, list(1));
    world.hears(child);
    world.advance(30_000);
    assert_eq!(names(&world.hears(a)), ["t"]);
    world.hears_of(child, "notifications/cancelled");
}

/// A new command is another server: nothing of the old one is given.
#[test]
fn another_policy_is_another_server() {
    let (mut world, child, [a]) = World::legacy(idle());
    fetches(&mut world, child, a, tools(&["t"]));
    rest(&mut world, child);
    let policy = world_policy(idle());
    world.with(|mux, now, out| mux.change_server(now, 0, policy, out));
    assert_eq!(world.hears_all(a).len(), 3, "its clients look at all three lists again");
    world.says(a, list(1));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_of(child, "tools/list");
}

fn world_policy(policy: ServerPolicy) -> ServerPolicy {
    ServerPolicy { request_timeout_ms: 12_345, ..policy }
}

/// What one run knew, the next one knows.
#[test]
fn memory_outlasts_the_run() {
    let (mut world, child, [a]) = World::legacy(idle());
    let result = json!({ "tools": [{ "name": "1", "n": 1.50 }], "nextCursor": "c\u{e9}" });
    fetches(&mut world, child, a, result);
    let memory = world.mux.memory(0).expect("something is known");
    assert_eq!(memory.pages.len(), 1);

    let mut world = World::new([idle()]);
    world.with(|mux, now, _| mux.recall(now, 0, &memory).unwrap());
    assert_eq!(world.mux.memory(0).as_ref(), Some(&memory), "nothing is lost or added");
    let a = world.client();
    world.greet(a, json!({}));
    knows(&mut world, a, &["1"]);
    world.no_start();
    // Its next process says something else.
    world.says(a, call(1, "1"));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let said = world.hears_all(child);
    let asked = said.iter().find(|said| said["method"] == "tools/list").expect("it is asked again");
    world.answers(child, asked, tools(&["2"]));
    world.hears_of(a, "notifications/tools/list_changed");
    knows(&mut world, a, &["2"]);
}

/// One that is not lazy is started, and its own word awaited; memory is for when that fails.
#[test]
fn memory_of_a_server_that_starts_is_for_when_it_fails() {
    let (mut world, child, [a]) = World::legacy(idle());
    fetches(&mut world, child, a, tools(&["t"]));
    let memory = world.mux.memory(0).unwrap();
    let mut world = World::new([ServerPolicy { lazy_start: true, ..policy() }]);
    let eager = ServerPolicy { lazy_start: false, ..policy() };
    world.with(|mux, now, out| {
        mux.change_server(now, 0, ServerPolicy { lazy_start: true, ..eager.clone() }, out);
        let id = mux.add_server(eager);
        mux.recall(now, id, &memory).unwrap();
        mux.start_server(now, id, out);
    });
    let a = world.client_of(1);
    world.says(a, initialize("2025-11-25", json!({})));
    world.silent(a);
    world.start_fails("no such file");
    world.hears_failure(a, "init", "spawn");
    world.greet(a, json!({}));
    knows(&mut world, a, &["t"]);
}

#[test]
fn spoilt_memory_is_refused_as_a_whole() {
    let (mut world, child, [a]) = World::legacy(idle());
    fetches(&mut world, child, a, tools(&["t"]));
    let good = world.mux.memory(0).unwrap();
    let spoil: [fn(&mut crate::mux::memory::Memory); 9] = [
        |memory| memory.hello.clear(),
        |memory| memory.hello = "{}".into(),
        |memory| memory.hello.push('\n'),
        |memory| memory.hello.push('}'),
        |memory| memory.era = crate::mux::Era::Modern,
        |memory| memory.pages[0].method = "tools/call".into(),
        |memory| memory.pages[0].result = "{\"tools\":\n[]}".into(),
        |memory| memory.pages[0].result.push_str(",\"x\":1"),
        |memory| memory.pages[0].cursor = Some("7".into()),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad);
        let mut world = World::new([idle()]);
        world.with(|mux, now, _| {
            assert!(mux.recall(now, 0, &bad).is_err(), "{number}");
            assert_eq!(mux.memory(0), None, "{number}");
        });
    }
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
