//! Legacy clients of a modern child: lists and resources from its merged listen (protocol.md §2.7, §4.3; P16, P17,
//! P19, P22), and what changes sides when the child or a connection does.

use super::cross_listen::*;
use super::world::*;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy};
use serde_json::{Value, json};

/// P19: legacy clients have all lists from the merged listen, without its tag; modern ones what they asked for.
#[test]
fn legacy_clients_of_a_modern_child_hear_of_its_lists() {
    let (mut world, child, [new, a, b]) = World::modern(policy());
    world.greet(a, json!({}));
    let id = child_listens(&mut world, child, all_lists(), None);
    world.greet(b, json!({}));
    world.says(new, listen(1, json!({ "promptsListChanged": true })));
    acknowledged(&mut world, new, json!(1), json!({ "promptsListChanged": true }));
    world.silent(child);
    world.says(child, tagged(&id, list_changed("prompts")));
    assert_eq!(tag(&world.hears(new)), &json!(1));
    let plain = json!({ "jsonrpc": "2.0", "method": "notifications/prompts/list_changed", "params": {} });
    assert_eq!((world.hears(a), world.hears(b)), (plain.clone(), plain));
    let mut with_more = tagged(&id, list_changed("tools"));
    with_more["params"]["_meta"]["vendor/key"] = 1.into();
    world.says(child, with_more);
    assert_eq!(world.hears(a)["params"], json!({ "_meta": { "vendor/key": 1 } }));
    world.hears(b);
    world.silent(new);
    // Nobody left who wants the other lists.
    world.leaves(a);
    world.silent(child);
    world.leaves(b);
    child_listens(&mut world, child, json!({ "promptsListChanged": true }), None);
    child_forgets(&mut world, child, &id);
}

/// protocol.md §2.7: a subscription is answered when the merged listen covers it, or with an error when the child
/// does not honour it; held by many, it is one; the last who leaves takes it out.
#[test]
fn legacy_clients_subscribe_at_a_modern_child() {
    let (mut world, child, [new, a, b]) = World::modern(policy());
    for client in [a, b] {
        world.greet(client, json!({}));
    }
    let first = child_listens(&mut world, child, all_lists(), None);
    world.says(a, subscribe(1, "x:1"));
    world.silent(a);
    let second = child_listens(&mut world, child, lists_and(&["x:1"]), None);
    child_forgets(&mut world, child, &first);
    assert_eq!(world.hears(a), json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    world.says(b, subscribe(1, "x:1"));
    assert_eq!(world.hears(b)["result"], json!({}));
    world.says(new, listen("l", json!({ "resourceSubscriptions": ["x:1"] })));
    world.hears(new);
    world.silent(child);
    world.says(child, tagged(&second, updated("x:1/part")));
    assert_eq!(world.hears(a)["params"], json!({ "uri": "x:1/part" }));
    assert_eq!(world.hears(b)["params"], json!({ "uri": "x:1/part" }));
    assert_eq!(tag(&world.hears(new)), &json!("l"));
    world.says(child, tagged(&second, updated("z:1")));
    assert_eq!([new, a, b].map(|client| world.hears_all(client).len()), [0, 1, 1]);
    // One that is refused is an error, and asked again when somebody wants it again.
    for _ in 0..2 {
        world.says(a, subscribe(2, "x:no"));
        let wide = child_listens(&mut world, child, lists_and(&["x:1", "x:no"]), Some(lists_and(&["x:1"])));
        world.hears_error(a, 2, -32602);
        world.hears_of(child, "notifications/cancelled");
        let asked = child_listens(&mut world, child, lists_and(&["x:1"]), None);
        child_forgets(&mut world, child, &wide);
        world.says(child, tagged(&asked, updated("x:1")));
        assert_eq!([new, a, b].map(|client| world.hears_all(client).len()), [1, 1, 1]);
    }
    world.says(new, cancel("l"));
    world.says(a, unsubscribe(3, "x:1"));
    assert_eq!(world.hears(a)["result"], json!({}));
    world.silent(child);
    world.leaves(b);
    child_listens(&mut world, child, all_lists(), None);
    world.hears_of(child, "notifications/cancelled");
    world.silent(child);
}

/// Many subscriptions at once make two listens, and what is covered already does not wait for the next.
#[test]
fn subscriptions_at_once_are_one_change() {
    let (mut world, child, [new, a]) = World::modern(policy());
    world.greet(a, json!({}));
    child_listens(&mut world, child, all_lists(), None);
    for n in 0..100 {
        world.says(a, subscribe(n, &format!("x:{n:02}")));
    }
    child_listens(&mut world, child, lists_and(&["x:00"]), None);
    assert_eq!(world.hears_all(a).len(), 1);
    let uris: Vec<String> = (0..100).map(|n| format!("x:{n:02}")).collect();
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    world.hears_of(child, "notifications/cancelled");
    world.says(new, listen("l", json!({ "resourceSubscriptions": ["x:00"] })));
    acknowledged(&mut world, new, json!("l"), json!({ "resourceSubscriptions": ["x:00"] }));
    child_listens(&mut world, child, lists_and(&uris), None);
    assert_eq!(world.hears_all(a).len(), 99);
}

/// A modern child that has no listen, or never acknowledges it, is one whose resources cannot be subscribed to.
#[test]
fn a_modern_child_that_does_not_listen_refuses_subscriptions() {
    for is_silent in [false, true] {
        let (mut world, child, [_new, a]) = World::modern(policy());
        world.says(a, initialize("2025-11-25", json!({})));
        world.hears(a);
        world.says(a, subscribe(1, "x:1"));
        let asked = world.hears_of(child, "subscriptions/listen");
        if is_silent {
            world.advance(30_000);
            world.hears_failure(a, 1, "timeout");
        } else {
            world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
            world.hears_error(a, 1, -32602);
        }
        world.hears_all(child);
        world.leaves(a);
        world.silent(child);
        assert_eq!(world.mux.sizes().requests, 0);
    }
}

/// What a server cannot do is said before it is asked (protocol.md §2.7).
#[test]
fn a_modern_child_without_subscriptions_is_not_asked() {
    let mut world = World::new([era(EraPolicy::Modern)]);
    let child = world.child();
    let asked = world.hears(child);
    let mut result = discover_result(0);
    result["capabilities"] = json!({ "tools": {}, "resources": {} });
    world.answers(child, &asked, result);
    let a = world.client();
    world.greet(a, json!({}));
    world.says(a, subscribe(1, "x:1"));
    world.hears_error(a, 1, -32601);
    world.silent(child);
}

/// P22: the next process is asked to listen for the same, and clients are told to look again.
#[test]
fn a_restart_of_a_modern_child_serves_its_clients_again() {
    let (mut world, child, [_new, a]) = World::modern(policy());
    world.greet(a, json!({}));
    child_listens(&mut world, child, all_lists(), None);
    for uri in ["x:1", "x:2"] {
        world.says(a, subscribe(1, uri));
        let asked = world.hears_of(child, "subscriptions/listen");
        let params = json!({ "notifications": asked["params"]["notifications"] });
        world.says(child, tagged(&asked["id"], note("notifications/subscriptions/acknowledged", params)));
        world.hears_all(child);
    }
    world.hears_all(a);
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.discover(child, 0);
    let told: Vec<Value> = world.hears_all(a).iter().map(|message| message["method"].clone()).collect();
    let lists = ["tools", "prompts", "resources"].map(|kind| format!("notifications/{kind}/list_changed"));
    let updates = ["notifications/resources/updated"; 2].map(String::from);
    assert_eq!(told, lists.into_iter().chain(updates).collect::<Vec<_>>());
    let wants = lists_and(&["x:1", "x:2"]);
    child_listens(&mut world, child, wants, Some(lists_and(&["x:2"])));
    // The one it does not honour any more is lost, and asked for no longer.
    let asked = child_listens(&mut world, child, lists_and(&["x:2"]), None);
    world.hears_of(child, "notifications/cancelled");
    world.says(child, tagged(&asked, updated("x:2")));
    assert_eq!(world.hears(a)["params"]["uri"], "x:2");
    world.says(a, subscribe(5, "x:2"));
    assert_eq!(world.hears(a)["result"], json!({}));
    world.silent(child);
}

/// What changed while a child had ended its listen was told to nobody: clients look again. A child that ends
/// each one soon is asked ever later.
#[test]
fn a_listen_that_a_child_ends_has_clients_look_again() {
    let (mut world, child, [_new, a]) = World::modern(policy());
    world.greet(a, json!({}));
    child_listens(&mut world, child, all_lists(), None);
    world.says(a, subscribe(1, "x:1"));
    let mut open = child_listens(&mut world, child, lists_and(&["x:1"]), None);
    world.hears_all(child);
    world.hears_all(a);
    let lists = ["tools", "prompts", "resources"].map(|kind| format!("notifications/{kind}/list_changed"));
    let everything: Vec<String> =
        lists.into_iter().chain(["notifications/resources/updated".to_owned()]).collect();
    for pause in [1_000, 2_000, 4_000] {
        world.says(child, json!({ "id": open, "result": { "resultType": "complete" } }));
        world.advance(pause - 1);
        world.silent(child);
        world.silent(a);
        world.advance(1);
        open = child_listens(&mut world, child, lists_and(&["x:1"]), None);
        let told: Vec<String> =
            world.hears_all(a).iter().map(|m| m["method"].as_str().unwrap().into()).collect();
        assert_eq!(told, everything, "after {pause} ms");
    }
    world.advance(60_000);
    world.hears_all(child);
    world.says(child, cancel(open));
    world.advance(1_000);
    child_listens(&mut world, child, lists_and(&["x:1"]), None);
    assert_eq!(world.hears_all(a).len(), everything.len());
}

/// A server whose next process is of the other era: what its clients hold goes over, both ways.
#[test]
fn what_is_held_survives_a_change_of_era() {
    let mut world = World::new([era(EraPolicy::Auto)]);
    let child = world.child();
    world.discover(child, 0);
    let (old, new) = (world.client(), world.client());
    world.greet(old, json!({}));
    child_listens(&mut world, child, all_lists(), None);
    world.says(new, listen("l", json!({ "resourceSubscriptions": ["x:1"] })));
    child_listens(&mut world, child, lists_and(&["x:1"]), None);
    world.says(old, subscribe(1, "x:2"));
    world.hears_of(child, "notifications/cancelled");
    child_listens(&mut world, child, lists_and(&["x:1", "x:2"]), None);
    let looked_again = |world: &mut World| {
        let [old, new] = [old, new].map(|client| world.hears_all(client));
        assert_eq!((old.len(), &old[3]["params"]["uri"]), (4, &json!("x:2")), "{old:?}");
        assert_eq!((new.len(), tag(&new[0]), &new[0]["params"]["uri"]), (1, &json!("l"), &json!("x:1")));
    };
    let replaced = |world: &mut World, child: Child| {
        world.advance(200);
        for client in [old, new] {
            world.hears_all(client);
        }
        world.with(|mux, now, out| mux.change_server(now, 0, era(EraPolicy::Auto), out));
        world.exits(child, "replaced");
        world.child()
    };
    let child = replaced(&mut world, child);
    world.hears_of(child, "server/discover");
    world.exits(child, "refused it");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    looked_again(&mut world);
    for uri in ["x:1", "x:2"] {
        child_accepts(&mut world, child, "resources/subscribe", uri);
    }
    for (uri, heard) in [("x:1", [0, 1]), ("x:2", [1, 0])] {
        world.says(child, updated(uri));
        assert_eq!([old, new].map(|client| world.hears_all(client).len()), heard, "{uri}");
    }
    let child = replaced(&mut world, child);
    world.discover(child, 0);
    looked_again(&mut world);
    let id = child_listens(&mut world, child, lists_and(&["x:1", "x:2"]), None);
    for (uri, heard) in [("x:1", [0, 1]), ("x:2", [1, 0])] {
        world.says(child, tagged(&id, updated(uri)));
        assert_eq!([old, new].map(|client| world.hears_all(client).len()), heard, "{uri}");
    }
    world.leaves(old);
    world.leaves(new);
    // The narrower one was just asked for.
    let asked = world.hears_of(child, "subscriptions/listen");
    assert_eq!(asked["params"]["notifications"], json!({ "resourceSubscriptions": ["x:1"] }));
    child_forgets(&mut world, child, &id);
    child_forgets(&mut world, child, &asked["id"]);
    world.silent(child);
}

/// protocol.md §4.3: a modern child asks for roots when it needs them.
#[test]
fn changes_of_roots_are_not_for_a_modern_child() {
    let (mut world, child, [_new, a]) = World::modern(policy());
    world.greet(a, json!({ "roots": { "listChanged": true } }));
    world.hears_all(child);
    world.says(a, note("notifications/roots/list_changed", json!({})));
    world.silent(child);
    let mut world =
        World::new([ServerPolicy { interactive: Interactive::PerClient, ..era(EraPolicy::Modern) }]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.discover(child, 0);
    world.says(a, note("notifications/initialized", json!({})));
    world.hears_all(child);
    world.says(a, note("notifications/roots/list_changed", json!({})));
    world.silent(child);
}

/// One connection of both eras hears each as it asked, the same thing twice if it asked twice.
#[test]
fn a_connection_may_mix_both_eras() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.says(a, listen("l", json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1"] })));
    child_accepts(&mut world, child, "resources/subscribe", "x:1");
    world.hears(a);
    world.says(a, subscribe(1, "x:1"));
    world.hears(a);
    world.says(child, list_changed("tools"));
    world.says(child, updated("x:1"));
    let told = world.hears_all(a);
    assert_eq!((told.len(), told.iter().filter(|message| tag(message) == "l").count()), (4, 2));
    world.says(a, unsubscribe(2, "x:1"));
    world.hears(a);
    world.silent(child);
    world.says(child, updated("x:1"));
    assert_eq!(tag(&world.hears(a)), "l");
    world.silent(a);
    world.says(a, cancel("l"));
    child_accepts(&mut world, child, "resources/unsubscribe", "x:1");
}

/// What a client was subscribed to before a restart is under question until the new process has said its word,
/// and a listen waits for that like the client does.
#[test]
fn a_listen_waits_for_a_subscription_that_is_renewed() {
    for is_refused in [false, true] {
        let (mut world, child, [old, new]) = World::legacy(policy());
        world.says(old, json!({ "id": 1, "method": "resources/subscribe", "params": { "uri": "u:1" } }));
        let asked = world.hears_of(child, "resources/subscribe");
        world.answers(child, &asked, json!({}));
        world.hears(old);
        world.exits(child, "crashed");
        world.advance(1_000);
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        let asked = world.hears_of(child, "resources/subscribe");
        world.says(new, listen("l", json!({ "resourceSubscriptions": ["u:1"] })));
        let told = world.hears_all(new);
        assert!(told.iter().all(|m| m["method"] != "notifications/subscriptions/acknowledged"), "{told:?}");
        let honoured = match is_refused {
            true => {
                let error = json!({ "code": -32602, "message": "gone" });
                world.says(child, json!({ "id": asked["id"], "error": error }));
                json!({})
            }
            false => {
                world.answers(child, &asked, json!({}));
                json!({ "resourceSubscriptions": ["u:1"] })
            }
        };
        let told = world.hears_of(new, "notifications/subscriptions/acknowledged");
        assert_eq!(told["params"]["notifications"], honoured);
    }
}
