//! `subscriptions/listen` of modern clients, merged at the child (P19, P45, protocol.md §2.7).

use super::world::*;
use crate::base::Key;
use serde_json::{Value, json};

fn listen(id: impl Into<Value>, notifications: Value) -> Value {
    modern(id, "subscriptions/listen", json!({ "notifications": notifications }))
}

/// The child acknowledges the listen that it is asked for next; its id there.
fn acknowledge(world: &mut World, child: Child, honoured: Value) -> Value {
    let asked = world.hears_of(child, "subscriptions/listen");
    let meta = json!({ "io.modelcontextprotocol/subscriptionId": asked["id"] });
    let params = json!({ "_meta": meta, "notifications": honoured });
    world.says(child, note("notifications/subscriptions/acknowledged", params));
    asked["id"].clone()
}

fn tagged(id: &Value, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/subscriptionId"] = id.clone();
    note(method, params)
}

fn tag(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

#[track_caller]
fn hears_acknowledged(world: &mut World, client: Key, id: Value, honoured: Value) {
    let message = world.hears_of(client, "notifications/subscriptions/acknowledged");
    assert_eq!((tag(&message), &message["params"]["notifications"]), (&id, &honoured));
}

/// P45: acknowledged first, with what is honoured; every notification under the listen's own id and
/// type; nothing that was not asked for.
#[test]
fn each_listen_gets_what_it_asked_for_under_its_own_id() {
    let (mut world, child, [a, b]) = World::modern(policy());
    world.says(a, listen(1, json!({ "toolsListChanged": true, "promptsListChanged": true })));
    let id = acknowledge(&mut world, child, json!({ "toolsListChanged": true }));
    hears_acknowledged(&mut world, a, json!(1), json!({ "toolsListChanged": true }));
    world.says(b, listen("1", json!({ "resourceSubscriptions": ["x:1"] })));
    world.silent(b);
    let asked = world.hears_of(child, "subscriptions/listen");
    let union =
        json!({ "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["x:1"] });
    assert_eq!(asked["params"]["notifications"], union);
    world.says(child, tagged(&id, "notifications/tools/list_changed", json!({})));
    assert_eq!(tag(&world.hears_of(a, "notifications/tools/list_changed")), &json!(1));
    let both = json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1"] });
    let params = json!({ "notifications": both });
    world.says(child, tagged(&asked["id"], "notifications/subscriptions/acknowledged", params));
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], id);
    hears_acknowledged(&mut world, b, json!("1"), json!({ "resourceSubscriptions": ["x:1"] }));
    let id = &asked["id"];
    world.says(child, tagged(id, "notifications/resources/updated", json!({ "uri": "x:1/part" })));
    assert_eq!(tag(&world.hears_of(b, "notifications/resources/updated")), &json!("1"));
    world.says(child, tagged(id, "notifications/resources/updated", json!({ "uri": "x:2" })));
    world.says(child, tagged(id, "notifications/prompts/list_changed", json!({})));
    world.says(child, note("notifications/tools/list_changed", json!({})));
    world.silent(a);
    world.silent(b);
}

/// A child that refuses to listen honours nothing, which is an answer.
#[test]
fn a_child_without_listen_honours_nothing() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, listen(1, json!({ "toolsListChanged": true })));
    let asked = world.hears_of(child, "subscriptions/listen");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    hears_acknowledged(&mut world, a, json!(1), json!({}));
}

/// A child that never acknowledges honours nothing either; one that did may take its time.
#[test]
fn a_listen_that_is_never_acknowledged_is_given_up() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, listen(1, json!({ "toolsListChanged": true })));
    let asked = world.hears_of(child, "subscriptions/listen");
    world.advance(29_999);
    world.silent(a);
    world.advance(1);
    hears_acknowledged(&mut world, a, json!(1), json!({}));
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], asked["id"]);
    world.says(a, listen(2, json!({ "promptsListChanged": true })));
    let id = acknowledge(&mut world, child, json!({ "promptsListChanged": true }));
    hears_acknowledged(&mut world, a, json!(2), json!({ "promptsListChanged": true }));
    world.advance(3_600_000);
    world.silent(child);
    world.says(child, tagged(&id, "notifications/prompts/list_changed", json!({})));
    assert_eq!(tag(&world.hears(a)), &json!(2));
}

/// A listen ends with its cancel, its filter with the last who wanted it, the child's with the last.
#[test]
fn listens_end_with_their_clients() {
    let (mut world, child, [a, b]) = World::modern(policy());
    world.says(a, listen(1, json!({ "toolsListChanged": true })));
    acknowledge(&mut world, child, json!({ "toolsListChanged": true }));
    world.says(b, listen(1, json!({ "promptsListChanged": true })));
    let both = json!({ "toolsListChanged": true, "promptsListChanged": true });
    let wide = acknowledge(&mut world, child, both);
    world.hears_all(a);
    world.hears_all(b);
    world.hears_all(child);
    world.says(a, cancel(1));
    let narrow = acknowledge(&mut world, child, json!({ "promptsListChanged": true }));
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], wide);
    world.says(child, tagged(&narrow, "notifications/tools/list_changed", json!({})));
    world.silent(a);
    world.leaves(b);
    assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], narrow);
    world.silent(child);
    assert_eq!(world.mux.sizes().requests, 0);
}

/// protocol.md §2.7: a restarted child is asked to listen again, its clients are told to look again.
#[test]
fn a_restart_listens_again() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, listen("L", json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1"] })));
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:1"] });
    acknowledge(&mut world, child, honoured.clone());
    world.hears_all(a);
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.discover(child, 0);
    let id = acknowledge(&mut world, child, honoured);
    let told = world.hears_all(a);
    assert!(told.iter().all(|message| tag(message) == "L"));
    let methods: Vec<&Value> = told.iter().map(|m| &m["method"]).collect();
    assert_eq!(methods, ["notifications/tools/list_changed", "notifications/resources/updated"]);
    world.says(child, tagged(&id, "notifications/tools/list_changed", json!({})));
    world.hears(a);
}

/// A child that ends a listen, by a result or a cancel, is asked again after a pause.
#[test]
fn a_listen_that_the_child_ends_is_opened_again() {
    for by_cancel in [false, true] {
        let (mut world, child, [a]) = World::modern(policy());
        world.says(a, listen(1, json!({ "toolsListChanged": true })));
        let id = acknowledge(&mut world, child, json!({ "toolsListChanged": true }));
        world.hears_all(a);
        if by_cancel {
            world.says(child, cancel(id));
        } else {
            world.says(child, json!({ "id": id, "result": { "resultType": "complete" } }));
        }
        world.advance(999);
        world.silent(child);
        world.advance(1);
        acknowledge(&mut world, child, json!({ "toolsListChanged": true }));
        // What it missed, nobody knows.
        assert_eq!(tag(&world.hears_of(a, "notifications/tools/list_changed")), 1);
        world.silent(a);
    }
}

/// What is wrong with a listen is said at once.
#[test]
fn listens_are_checked() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, modern(1, "subscriptions/listen", json!({})));
    world.hears_error(a, 1, -32602);
    world.says(a, listen(2, json!([])));
    world.hears_error(a, 2, -32602);
    world.says(a, listen(3, json!({ "taskIds": ["T"] })));
    let error = world.hears_error(a, 3, -32021);
    let needed = &error["error"]["data"]["requiredCapabilities"];
    assert_eq!(needed, &json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } }));
    for n in 0..64 {
        world.says(a, listen(n, json!({})));
        hears_acknowledged(&mut world, a, json!(n), json!({}));
    }
    world.says(a, listen(64, json!({})));
    world.hears_failure(a, 64, "overload");
    world.silent(child);
}

/// P21: a client hears of its own tasks only, whatever ids its listen names.
#[test]
fn a_listen_hears_of_own_tasks_only() {
    let (mut world, child, [a, b]) = World::modern(policy());
    let extension = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let with_tasks = |mut message: Value| {
        message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = extension.clone();
        message
    };
    world.says(a, with_tasks(modern(1, "tools/call", json!({ "name": "t" }))));
    let asked = world.hears_of(child, "tools/call");
    world.answers(child, &asked, json!({ "resultType": "task", "taskId": "T", "status": "working" }));
    world.hears(a);
    world.says(b, with_tasks(listen("b", json!({ "taskIds": ["T"] }))));
    hears_acknowledged(&mut world, b, json!("b"), json!({}));
    world.silent(child);
    world.says(a, with_tasks(listen("a", json!({ "taskIds": ["T"] }))));
    let id = acknowledge(&mut world, child, json!({ "taskIds": ["T"] }));
    hears_acknowledged(&mut world, a, json!("a"), json!({ "taskIds": ["T"] }));
    world.says(child, tagged(&id, "notifications/tasks", json!({ "taskId": "T", "status": "completed" })));
    assert_eq!(tag(&world.hears_of(a, "notifications/tasks")), "a");
    world.silent(b);
    world.says(b, with_tasks(modern(2, "tasks/get", json!({ "taskId": "T" }))));
    world.hears_error(b, 2, -32602);
}
