//! Listens of modern clients on a legacy child (protocol.md §2.5, §2.7, §4.2; P16, P17, P19, P22, P45, P46): who
//! hears of what, who is told first that it will, and what the child is asked for that.

use super::suspended::stage;
use super::world::*;
use crate::base::Key;
use crate::mux::policy::ServerPolicy;
use serde_json::{Value, json};

pub(super) fn listen(id: impl Into<Value>, notifications: Value) -> Value {
    modern(id, "subscriptions/listen", json!({ "notifications": notifications }))
}

pub(super) fn subscribe(id: impl Into<Value>, uri: &str) -> Value {
    request(id, "resources/subscribe", json!({ "uri": uri }))
}

pub(super) fn unsubscribe(id: impl Into<Value>, uri: &str) -> Value {
    request(id, "resources/unsubscribe", json!({ "uri": uri }))
}

pub(super) fn updated(uri: &str) -> Value {
    note("notifications/resources/updated", json!({ "uri": uri }))
}

pub(super) fn list_changed(kind: &str) -> Value {
    note(&format!("notifications/{kind}/list_changed"), json!({}))
}

pub(super) fn tag(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

pub(super) fn tagged(id: &Value, mut message: Value) -> Value {
    message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] = id.clone();
    message
}

/// What a client is told next is that this listen is open for this.
#[track_caller]
pub(super) fn acknowledged(world: &mut World, client: Key, id: Value, honoured: Value) {
    let message = world.hears_of(client, "notifications/subscriptions/acknowledged");
    assert_eq!((tag(&message), &message["params"]["notifications"]), (&id, &honoured));
}

/// The legacy child accepts what it is asked next, which is this.
#[track_caller]
pub(super) fn child_accepts(world: &mut World, child: Child, method: &str, uri: &str) {
    let asked = world.hears_of(child, method);
    assert_eq!(asked["params"]["uri"], uri);
    world.answers(child, &asked, json!({}));
}

/// The modern child opens the listen that it is asked for next, in full or for `honoured`. Its id.
#[track_caller]
pub(super) fn child_listens(world: &mut World, child: Child, wants: Value, honoured: Option<Value>) -> Value {
    let asked = world.hears_of(child, "subscriptions/listen");
    assert_eq!(asked["params"]["notifications"], wants);
    let params = json!({ "notifications": honoured.unwrap_or(wants) });
    world.says(child, tagged(&asked["id"], note("notifications/subscriptions/acknowledged", params)));
    asked["id"].clone()
}

/// The modern child is told that a listen is over.
#[track_caller]
pub(super) fn child_forgets(world: &mut World, child: Child, listen: &Value) {
    assert_eq!(&world.hears_of(child, "notifications/cancelled")["params"]["requestId"], listen);
}

pub(super) fn all_lists() -> Value {
    json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true })
}

pub(super) fn lists_and(uris: &[&str]) -> Value {
    let mut wants = all_lists();
    wants["resourceSubscriptions"] = json!(uris);
    wants
}

/// P45: acknowledged first, once the child has answered for all of it, with what it accepted; then what was asked
/// for and nothing else, under the listen's own id and type.
#[test]
fn a_listen_on_a_legacy_child_gets_what_it_asked_for() {
    let (mut world, child, [old]) = World::legacy(policy());
    let (a, b) = (world.client(), world.client());
    world.says(a, listen(1, json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1", "x:no"] })));
    world.silent(a);
    child_accepts(&mut world, child, "resources/subscribe", "x:1");
    world.says(child, updated("x:1"));
    world.silent(a);
    let refused = world.hears_of(child, "resources/subscribe");
    world.says(child, json!({ "id": refused["id"], "error": { "code": -32002, "message": "no" } }));
    acknowledged(
        &mut world,
        a,
        json!(1),
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1"] }),
    );
    world.says(b, listen("1", json!({ "promptsListChanged": true, "resourceSubscriptions": ["x:1"] })));
    acknowledged(
        &mut world,
        b,
        json!("1"),
        json!({ "promptsListChanged": true, "resourceSubscriptions": ["x:1"] }),
    );
    world.silent(child);
    for (said, by_a, by_b) in [
        (list_changed("tools"), true, false),
        (list_changed("prompts"), false, true),
        (list_changed("resources"), false, false),
        (updated("x:1"), true, true),
        (updated("x:1/part"), true, true),
        (updated("x:12"), false, false),
    ] {
        world.says(child, said.clone());
        for (client, id, hears) in [(a, json!(1), by_a), (b, json!("1"), by_b)] {
            if hears {
                assert_eq!(world.hears(client), {
                    let mut said = tagged(&id, said.clone());
                    said["jsonrpc"] = "2.0".into();
                    said
                });
            }
            world.silent(client);
        }
    }
    let lists = world.hears_all(old);
    assert_eq!(lists.len(), 3, "list changes go to every legacy client, and no update to it: {lists:?}");
    assert!(lists.iter().all(|message| tag(message).is_null()));
}

/// P19: what a child does not announce is omitted, not an error; a listen for nothing is one.
#[test]
fn a_listen_is_honoured_as_far_as_the_legacy_child_goes() {
    let mut world = World::new([policy()]);
    let client = world.client();
    world.says(client, listen(1, lists_and(&["x:1"])));
    world.says(client, listen(2, json!({})));
    let mut tasks = listen(3, json!({ "taskIds": ["T"] }));
    world.says(client, tasks.clone());
    world.hears_error(client, 3, -32021);
    tasks["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    world.says(client, tasks);
    let child = world.child();
    world.silent(client);
    world.shake_hands(child, json!({ "tools": { "listChanged": true }, "resources": {}, "prompts": {} }));
    acknowledged(&mut world, client, json!(1), json!({ "toolsListChanged": true }));
    acknowledged(&mut world, client, json!(2), json!({}));
    acknowledged(&mut world, client, json!(3), json!({}));
    world.silent(child);
}

/// P16 over both eras: a resource is subscribed to once, and taken back by the last who wants it.
#[test]
fn listens_and_clients_share_a_subscription() {
    let (mut world, child, [old]) = World::legacy(policy());
    let new = world.client();
    let wants = json!({ "resourceSubscriptions": ["x:1"] });
    world.says(old, subscribe(1, "x:1"));
    world.says(new, listen("l", wants.clone()));
    world.silent(new);
    child_accepts(&mut world, child, "resources/subscribe", "x:1");
    assert_eq!(world.hears(old)["result"], json!({}));
    acknowledged(&mut world, new, json!("l"), wants.clone());
    world.says(new, listen("m", wants.clone()));
    acknowledged(&mut world, new, json!("m"), wants.clone());
    world.says(old, unsubscribe(2, "x:1"));
    world.says(new, cancel("l"));
    world.silent(child);
    world.says(old, subscribe(3, "x:1"));
    world.says(new, cancel("m"));
    world.silent(child);
    world.says(new, listen("n", wants.clone()));
    world.leaves(old);
    world.silent(child);
    world.leaves(new);
    child_accepts(&mut world, child, "resources/unsubscribe", "x:1");
    // Gone before the child has answered: taken back when it does.
    let new = world.client();
    world.says(new, listen("o", wants));
    let asked = world.hears_of(child, "resources/subscribe");
    world.leaves(new);
    world.silent(child);
    world.answers(child, &asked, json!({}));
    child_accepts(&mut world, child, "resources/unsubscribe", "x:1");
    assert_eq!(world.mux.sizes().requests, 0);
}

/// P17: the last step, everybody with a subscription, is for legacy clients, and not taken where a listen says whom
/// the update concerns.
#[test]
fn an_update_of_an_unknown_resource_is_for_legacy_clients() {
    let (mut world, child, [old]) = World::legacy(policy());
    let new = world.client();
    world.says(old, subscribe(1, "x:1"));
    child_accepts(&mut world, child, "resources/subscribe", "x:1");
    world.hears(old);
    world.says(new, listen("l", json!({ "resourceSubscriptions": ["y:1", "x:1/a"] })));
    for uri in ["x:1/a", "y:1"] {
        child_accepts(&mut world, child, "resources/subscribe", uri);
    }
    world.hears(new);
    for (uri, by_old, by_new) in [("z:1", 1, 0), ("y:1", 0, 1), ("x:1/a", 1, 1), ("x:1", 1, 0)] {
        world.says(child, updated(uri));
        let heard = [old, new].map(|client| world.hears_all(client).len());
        assert_eq!(heard, [by_old, by_new], "{uri}");
    }
}

/// A burst of list changes is two, for listens on a legacy child as for clients of either.
#[test]
fn bursts_are_merged() {
    let (mut world, child, [old]) = World::legacy(policy());
    let new = world.client();
    world.says(new, listen(1, json!({ "toolsListChanged": true })));
    world.hears(new);
    for _ in 0..50 {
        world.says(child, list_changed("tools"));
    }
    world.advance(1_000);
    assert_eq!((world.hears_all(old).len(), world.hears_all(new).len()), (2, 2));
    let (mut world, child, [new, old]) = World::modern(policy());
    world.greet(old, json!({}));
    let id = child_listens(&mut world, child, all_lists(), None);
    world.says(new, listen(1, json!({ "toolsListChanged": true })));
    world.hears(new);
    for _ in 0..50 {
        world.says(child, tagged(&id, list_changed("tools")));
    }
    world.advance(1_000);
    assert_eq!(
        (world.hears_all(old).len(), world.hears_all(new).len()),
        (2, 50),
        "its own era's is as it was"
    );
}

/// P22: a restarted child is subscribed anew, acknowledged listens are told to look again, others are served now.
#[test]
fn a_restart_of_a_legacy_child_serves_its_listens_again() {
    let (mut world, child, [old]) = World::legacy(policy());
    let new = world.client();
    let wants = json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1"] });
    world.says(new, listen(1, wants.clone()));
    child_accepts(&mut world, child, "resources/subscribe", "x:1");
    world.says(new, listen(2, json!({ "resourceSubscriptions": ["x:1", "x:2"] })));
    world.hears_all(new);
    world.exits(child, "died");
    world.silent(new);
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let told = world.hears_all(new);
    let told: Vec<_> = told.iter().map(|m| (m["method"].as_str().unwrap(), tag(m).clone())).collect();
    let [list, update] = ["notifications/tools/list_changed", "notifications/resources/updated"];
    assert_eq!(told, [(list, json!(1)), (update, json!(1))]);
    assert_eq!(world.hears_all(old).len(), 3);
    child_accepts(&mut world, child, "resources/subscribe", "x:1");
    world.silent(new);
    child_accepts(&mut world, child, "resources/subscribe", "x:2");
    acknowledged(&mut world, new, json!(2), json!({ "resourceSubscriptions": ["x:1", "x:2"] }));
    world.says(child, updated("x:1"));
    assert_eq!(world.hears_all(new).len(), 2);
    // One that the next process does not take is lost, the other one is not.
    world.exits(child, "died");
    world.advance(5_000);
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_all(new);
    let asked = world.hears_of(child, "resources/subscribe");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32002, "message": "no" } }));
    child_accepts(&mut world, child, "resources/subscribe", "x:2");
    for (uri, count) in [("x:1", 0), ("x:2", 1)] {
        world.says(child, updated(uri));
        assert_eq!(world.hears_all(new).len(), count, "{uri}");
    }
}

/// A child that is given up, or stopped by its operator, ends its listens with an error; shutdown with a result
/// (P46).
#[test]
fn listens_on_a_legacy_child_end_with_it() {
    let begin = || {
        let (mut world, child, [_old]) = World::legacy(ServerPolicy { max_restarts: 1, ..policy() });
        let new = world.client();
        world.says(new, listen(1, json!({ "resourceSubscriptions": ["x:1"] })));
        child_accepts(&mut world, child, "resources/subscribe", "x:1");
        world.hears(new);
        (world, child, new)
    };
    let (mut world, child, new) = begin();
    world.exits(child, "died");
    world.advance(2_000);
    world.start_fails("no such file");
    world.hears_failure(new, 1, "failed");
    world.with(|mux, now, out| mux.start_server(now, 0, out));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.silent(child);

    let (mut world, child, new) = begin();
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    world.hears_failure(new, 1, "stopped");
    world.silent(child);

    let (mut world, child, new) = begin();
    world.with(|mux, now, out| mux.shutdown(now, out));
    let result = world.hears(new);
    assert_eq!((&result["id"], &result["result"]["resultType"]), (&json!(1), &json!("complete")));
    assert_eq!(world.hears_of(new, "notifications/cancelled")["params"]["requestId"], 1);
    assert!(world.closed(new).is_some());
    world.silent(child);
}

/// An open listen keeps a child from being idle, a legacy client that is merely there does not.
#[test]
fn listens_are_a_use() {
    let idle = ServerPolicy { idle_stop_ms: Some(3_000), ..policy() };
    let (mut world, child, [_old]) = World::legacy(idle.clone());
    let new = world.client();
    world.says(new, listen(1, json!({ "toolsListChanged": true })));
    world.advance(60_000);
    assert_eq!(world.stops(child), []);
    world.says(new, cancel(1));
    world.advance(10_000);
    assert_ne!(world.stops(child), []);

    let (mut world, child, [_new, old]) = World::modern(idle);
    world.greet(old, json!({}));
    child_listens(&mut world, child, all_lists(), None);
    world.advance(10_000);
    assert_ne!(world.stops(child), []);
}

/// A listen that comes while an idle child ends starts the next one, of either era; it is not left without a
/// word.
#[test]
fn a_listen_at_a_child_that_goes_to_rest_starts_another() {
    let idle = ServerPolicy { idle_stop_ms: Some(3_000), ..policy() };
    let (mut world, child, [new]) = stage(idle.clone());
    world.advance(3_000);
    assert_ne!(world.stops(child), []);
    world.says(new, listen(1, json!({ "resourceSubscriptions": ["x:1"] })));
    world.exits(child, "exited");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let asked = world.hears_of(child, "resources/subscribe");
    world.answers(child, &asked, json!({}));
    acknowledged(&mut world, new, json!(1), json!({ "resourceSubscriptions": ["x:1"] }));

    let (mut world, child, [new]) = World::modern(idle);
    world.advance(3_000);
    assert_ne!(world.stops(child), []);
    world.says(new, listen(1, all_lists()));
    world.exits(child, "exited");
    let child = world.child();
    world.discover(child, 60_000);
    child_listens(&mut world, child, all_lists(), Some(all_lists()));
    acknowledged(&mut world, new, json!(1), all_lists());
}

/// A child that is silent on a resource delays an acknowledgement for as long as a request may take.
#[test]
fn a_silent_child_does_not_leave_a_listen_open() {
    let (mut world, child, [_old]) = World::legacy(policy());
    let new = world.client();
    world.says(new, listen(1, json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1"] })));
    world.advance(30_000);
    acknowledged(&mut world, new, json!(1), json!({ "toolsListChanged": true }));
    world.hears_all(child);
    assert_eq!(world.mux.sizes().requests, 0);
}

/// A client's listens hold as many resources as its subscriptions may, and the child is asked for few at once.
#[test]
fn what_a_listen_asks_of_a_child_is_bounded() {
    let (mut world, child, [_old]) = World::legacy(policy());
    let new = world.client();
    let uris: Vec<String> = (0..1_024).map(|n| format!("x:{n}")).collect();
    world.says(new, listen(1, json!({ "resourceSubscriptions": uris })));
    world.says(new, listen(2, json!({ "resourceSubscriptions": ["x:1"] })));
    world.hears_failure(new, 2, "overload");
    let mut asked = 0;
    loop {
        let batch = world.hears_all(child);
        assert!(batch.len() <= 64, "{} at once", batch.len());
        asked += batch.len();
        for message in &batch {
            world.answers(child, message, json!({}));
        }
        if batch.is_empty() {
            break;
        }
    }
    assert_eq!(asked, 1_024);
    let told = world.hears_of(new, "notifications/subscriptions/acknowledged");
    assert_eq!(told["params"]["notifications"]["resourceSubscriptions"].as_array().unwrap().len(), 1_024);
}

/// D: what a legacy child says beside the rules is for legacy clients.
#[test]
fn other_notifications_stay_in_their_era() {
    let (mut world, child, [old]) = World::legacy(policy());
    let new = world.client();
    world.says(new, listen(1, all_lists()));
    world.says(new, modern(2, "tools/call", json!({ "name": "t" })));
    world.hears_all(new);
    for said in [
        note("notifications/vendor", json!({})),
        note("notifications/tasks/status", json!({ "taskId": "T", "status": "working" })),
        note("notifications/message", json!({ "level": "emergency", "data": 1 })),
        note("notifications/elicitation/complete", json!({ "elicitationId": "e" })),
    ] {
        world.says(child, said);
    }
    world.silent(new);
    assert_eq!(world.hears_all(old).len(), 2);

    let (mut world, child, [new, old]) = World::modern(policy());
    world.greet(old, json!({}));
    let id = child_listens(&mut world, child, all_lists(), None);
    world.says(new, listen("n", all_lists()));
    world.hears(new);
    for said in [
        note("notifications/vendor", json!({})),
        note("notifications/tasks", json!({ "taskId": "T", "status": "working" })),
        note("notifications/message", json!({ "level": "emergency", "data": 1 })),
        updated("x:1"),
    ] {
        world.says(child, said.clone());
        world.says(child, tagged(&id, said));
    }
    world.says(child, list_changed("tools"));
    world.silent(old);
    world.silent(new);
}
