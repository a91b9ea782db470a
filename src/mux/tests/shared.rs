//! What clients of a legacy child share by counting or owning: subscriptions, log levels, lists,
//! elicitations by URL, tasks (P16–P22).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{Interactive, ServerPolicy};
use serde_json::{Value, json};

fn subscribe(world: &mut World, client: Key, uri: &str) {
    world.says(client, request(uri, "resources/subscribe", json!({ "uri": uri })));
}

fn unsubscribe(world: &mut World, client: Key, uri: &str) {
    world.says(client, request(uri, "resources/unsubscribe", json!({ "uri": uri })));
    assert_eq!(world.hears(client)["result"], json!({}));
}

/// A client subscribes and the child, if it is asked, agrees.
fn hold(world: &mut World, child: Child, client: Key, uri: &str) {
    subscribe(world, client, uri);
    for asked in world.hears_all(child) {
        assert_eq!((&asked["method"], &asked["params"]["uri"]), (&json!("resources/subscribe"), &json!(uri)));
        world.answers(child, &asked, json!({}));
    }
    assert_eq!(world.hears(client), json!({ "jsonrpc": "2.0", "id": uri, "result": {} }));
}

fn updated(uri: &str) -> Value {
    note("notifications/resources/updated", json!({ "uri": uri }))
}

/// P16: the first subscriber is forwarded, the others join; the last one to go is forwarded, whether
/// it unsubscribes or disconnects.
#[test]
fn a_resource_is_subscribed_once_and_left_once() {
    let (mut world, child, [a, b, c]) = World::legacy(policy());
    subscribe(&mut world, a, "x:1");
    let asked = world.hears_of(child, "resources/subscribe");
    subscribe(&mut world, b, "x:1");
    world.silent(child);
    world.silent(b);
    world.answers(child, &asked, json!({}));
    assert_eq!(world.hears(a)["id"], "x:1");
    assert_eq!(world.hears(b)["result"], json!({}));
    subscribe(&mut world, c, "x:1");
    assert_eq!(world.hears(c)["result"], json!({}), "known: answered at once");
    unsubscribe(&mut world, a, "x:1");
    unsubscribe(&mut world, a, "x:1");
    unsubscribe(&mut world, a, "never:held");
    world.leaves(b);
    world.silent(child);
    world.leaves(c);
    assert_eq!(world.hears_of(child, "resources/unsubscribe")["params"], json!({ "uri": "x:1" }));
    world.silent(child);
}

/// P16: a refusal reaches everyone who joined, under their own ids, and is not remembered.
#[test]
fn a_refused_subscription_is_refused_to_all_who_joined() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    subscribe(&mut world, a, "x:1");
    subscribe(&mut world, b, "x:1");
    let asked = world.hears(child);
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32002, "message": "no such" } }));
    world.hears_error(a, "x:1", -32002);
    world.hears_error(b, "x:1", -32002);
    world.silent(child);
    hold(&mut world, child, b, "x:1");
}

/// P16: whoever left or cancelled while the child was asked holds nothing.
#[test]
fn a_subscriber_that_went_meanwhile_holds_nothing() {
    for leaves in [true, false] {
        let (mut world, child, [a, _b]) = World::legacy(policy());
        subscribe(&mut world, a, "x:1");
        let asked = world.hears(child);
        if leaves {
            world.leaves(a);
        } else {
            world.says(a, cancel("x:1"));
        }
        world.answers(child, &asked, json!({}));
        world.hears_of(child, "resources/unsubscribe");
        world.silent(a);
    }
}

/// P17: an update goes to the exact subscribers, else to those of a parent, else to all subscribers; to
/// nobody without a subscription.
#[test]
fn updates_find_their_subscribers() {
    let (mut world, child, [a, b, c]) = World::legacy(policy());
    hold(&mut world, child, a, "file:///d");
    hold(&mut world, child, b, "file:///d/f");
    let reached = |world: &mut World, uri: &str| {
        world.says(child, updated(uri));
        [a, b, c].map(|client| world.hears_all(client).len())
    };
    assert_eq!(reached(&mut world, "file:///d"), [1, 0, 0]);
    assert_eq!(reached(&mut world, "file:///d/f"), [0, 1, 0]);
    assert_eq!(reached(&mut world, "file:///d/g"), [1, 0, 0]);
    assert_eq!(reached(&mut world, "other:x"), [1, 1, 0]);
}

/// P22: a restarted child learns the level and the subscriptions again, its clients look again.
#[test]
fn a_restart_replays_what_was_shared() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    hold(&mut world, child, a, "x:1");
    hold(&mut world, child, b, "x:2");
    world.says(a, request(9, "logging/setLevel", json!({ "level": "debug" })));
    world.hears_all(a);
    world.hears_all(child);
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let replayed = world.hears_all(child);
    let methods: Vec<&Value> = replayed.iter().map(|m| &m["method"]).collect();
    assert_eq!(methods, ["logging/setLevel", "resources/subscribe", "resources/subscribe"]);
    let told = world.hears_all(b);
    assert_eq!(told.last().unwrap()["params"]["uri"], "x:2", "{told:?}");
    world.answers(child, &replayed[1], json!({}));
    world.says(child, json!({ "id": replayed[2]["id"], "error": { "code": -32002, "message": "gone" } }));
    subscribe(&mut world, a, "x:1");
    world.silent(child);
    subscribe(&mut world, a, "x:2");
    world.hears_of(child, "resources/subscribe");
}

/// Many subscriptions are replayed a few at a time, and all of them.
#[test]
fn many_subscriptions_are_replayed_in_portions() {
    let (mut world, child, [a]) = World::legacy(policy());
    for n in 0..200 {
        hold(&mut world, child, a, &format!("x:{n}"));
    }
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let mut count = 0;
    loop {
        let asked = world.hears_all(child);
        assert!(asked.len() <= 64);
        if asked.is_empty() {
            break;
        }
        count += asked.len();
        for message in asked {
            world.answers(child, &message, json!({}));
        }
    }
    assert_eq!(count, 200);
}

fn set_level(world: &mut World, client: Key, level: &str) {
    world.says(client, request(level, "logging/setLevel", json!({ "level": level })));
    assert_eq!(world.hears(client)["result"], json!({}));
}

/// What the child is told, each change answered.
fn levels(world: &mut World, child: Child) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let asked = world.hears_all(child);
        if asked.is_empty() {
            return told;
        }
        for message in asked {
            assert_eq!(message["method"], "logging/setLevel");
            world.answers(child, &message, json!({}));
            told.push(message["params"]["level"].clone());
        }
    }
}

/// P18: the child is told the most verbose level wanted, each client hears its own and above, and the
/// child is quiet again when the verbose one has left.
#[test]
fn the_log_level_is_the_most_verbose_one_wanted() {
    let (mut world, child, [a, b, c]) = World::legacy(policy());
    set_level(&mut world, a, "error");
    assert_eq!(levels(&mut world, child), ["info"], "b and c are due the default");
    set_level(&mut world, b, "debug");
    assert_eq!(levels(&mut world, child), ["debug"]);
    set_level(&mut world, c, "warning");
    assert_eq!(levels(&mut world, child), [] as [&str; 0]);
    for (level, reached) in
        [("debug", [0, 1, 0]), ("info", [0, 1, 0]), ("warning", [0, 1, 1]), ("alert", [1, 1, 1])]
    {
        world.says(child, note("notifications/message", json!({ "level": level, "data": "x" })));
        assert_eq!([a, b, c].map(|client| world.hears_all(client).len()), reached, "{level}");
    }
    world.leaves(b);
    assert_eq!(levels(&mut world, child), ["warning"]);
    world.leaves(c);
    assert_eq!(levels(&mut world, child), ["error"]);
    let d = world.client();
    world.greet(d, json!({}));
    assert_eq!(levels(&mut world, child), ["info"], "the newcomer never asked");
}

/// A level is told once the change before is answered, and only the last one then.
#[test]
fn a_level_that_is_toggled_waits_for_its_answer() {
    let (mut world, child, [a]) = World::legacy(policy());
    for level in ["debug", "info", "debug", "error", "critical"] {
        set_level(&mut world, a, level);
    }
    assert_eq!(levels(&mut world, child), ["debug", "critical"]);
    set_level(&mut world, a, "debug");
    world.advance(30_000);
    world.hears_all(child);
    set_level(&mut world, a, "alert");
    assert_eq!(levels(&mut world, child), ["alert"], "an answer that never came blocks nothing");
}

/// protocol.md §2.7: a level that is none, and a server without logging or subscriptions.
#[test]
fn what_the_server_cannot_do_is_said_here() {
    let (mut world, child, [a]) = World::legacy(policy());
    for level in [json!("loud"), json!(3), Value::Null] {
        world.says(a, request(1, "logging/setLevel", json!({ "level": level })));
        world.hears_error(a, 1, -32602);
    }
    world.says(a, request(2, "resources/subscribe", json!({})));
    world.hears_error(a, 2, -32602);
    world.silent(child);
    let mut world = World::new([policy()]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.shake_hands(child, json!({ "tools": {} }));
    world.hears(a);
    world.says(a, request(1, "logging/setLevel", json!({ "level": "info" })));
    world.says(a, request(2, "resources/subscribe", json!({ "uri": "x:1" })));
    world.says(a, request(3, "resources/unsubscribe", json!({ "uri": "x:1" })));
    for id in 1..=3 {
        world.hears_error(a, id, -32601);
    }
    world.silent(child);
}

/// P19: a change of a list reaches every initialised client and nobody else; a burst becomes one.
#[test]
fn list_changes_are_fanned_out_and_coalesced() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    let (shy, silent) = (world.client(), world.client());
    world.says(shy, initialize("2025-11-25", json!({})));
    world.hears(shy);
    let count = |world: &mut World| [a, b, shy, silent].map(|client| world.hears_all(client).len());
    for _ in 0..50 {
        world.says(child, note("notifications/tools/list_changed", json!({})));
    }
    world.says(child, note("notifications/prompts/list_changed", json!({})));
    assert_eq!(count(&mut world), [2, 2, 0, 0], "the first of each at once");
    world.advance(99);
    assert_eq!(count(&mut world), [0; 4]);
    world.advance(1);
    assert_eq!(count(&mut world), [1, 1, 0, 0], "the rest of the burst as one");
    world.advance(1_000);
    world.says(child, note("notifications/tools/list_changed", json!({})));
    assert_eq!(count(&mut world), [1, 1, 0, 0]);
    world.says(child, note("notifications/vendor", json!({ "x": 1.50 })));
    assert_eq!(count(&mut world), [1, 1, 0, 0], "what is unknown is passed to all");
}

/// P20: the end of an elicitation by URL reaches the client that was sent there, however it was.
#[test]
fn the_end_of_an_elicitation_reaches_the_elicited() {
    let mut world = World::new([interactive(Interactive::Serialize)]);
    let (a, b) = (world.client(), world.client());
    world.says(a, initialize("2025-11-25", json!({ "elicitation": { "url": {} } })));
    let child = world.child();
    world.shake_hands(child, json!({}));
    world.hears(a);
    world.greet(b, json!({}));
    world.says(a, call(1, "t"));
    let first = world.hears(child);
    let params = json!({ "mode": "url", "url": "https://x", "elicitationId": "e1", "message": "?" });
    world.says(child, request(1, "elicitation/create", params));
    assert_eq!(world.hears(a)["params"]["elicitationId"], "e1", "not rewritten");
    world.says(b, call(2, "t"));
    world.answers(child, &first, json!({}));
    assert_eq!(world.hears(a)["id"], 1);
    let asked = world.hears(child);
    let data = json!({ "elicitations": [{ "mode": "url", "elicitationId": "e2", "url": "https://y" }] });
    let error = json!({ "code": -32042, "message": "go there", "data": data });
    world.says(child, json!({ "id": asked["id"], "error": error }));
    world.hears_error(b, 2, -32042);
    for (id, reached) in [("e1", [1, 0]), ("e2", [0, 1]), ("e3", [0, 0])] {
        world.says(child, note("notifications/elicitation/complete", json!({ "elicitationId": id })));
        assert_eq!([a, b].map(|client| world.hears_all(client).len()), reached, "{id}");
    }
}

fn create_task(world: &mut World, child: Child, client: Key, task: &str) -> Value {
    let params = json!({ "name": "t", "task": { "ttl": 60_000 }, "_meta": { "progressToken": "p" } });
    world.says(client, request("create", "tools/call", params));
    let asked = world.hears_of(child, "tools/call");
    world.answers(child, &asked, json!({ "task": { "taskId": task, "status": "working" } }));
    assert_eq!(world.hears(client)["result"]["task"]["taskId"], task);
    asked
}

/// P21: a task is its owner's alone: its state, its end, its notifications, its place in the list.
#[test]
fn tasks_belong_to_the_client_that_made_them() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    create_task(&mut world, child, a, "A");
    create_task(&mut world, child, b, "B");
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        world.says(a, request(1, method, json!({ "taskId": "B" })));
        world.hears_error(a, 1, -32602);
        world.says(a, request(2, method, json!({ "taskId": "nobody's" })));
        world.hears_error(a, 2, -32602);
        world.silent(child);
        world.says(a, request(3, method, json!({ "taskId": "A" })));
        world.hears_of(child, method);
    }
    world.says(child, note("notifications/tasks/status", json!({ "taskId": "B", "status": "working" })));
    world.silent(a);
    world.hears_of(b, "notifications/tasks/status");
    world.says(b, request(4, "tasks/list", json!({})));
    let asked = world.hears_of(child, "tasks/list");
    let result = r#"{"nextCursor":"c","tasks":[{"taskId":"A","n":1.0},{"n":12345678901234567890.10,"taskId":"\u0042"},{"taskId":"C"}],"x":1E+2}"#;
    world.says_raw(child, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, asked["id"]));
    let own = r#"{"nextCursor":"c","tasks":[{"n":12345678901234567890.10,"taskId":"\u0042"}],"x":1E+2}"#;
    assert_eq!(world.hears_raw(b), format!(r#"{{"jsonrpc":"2.0","id":4,"result":{own}}}"#));
}

/// protocol.md §2.5: the progress token of a task lives until the task ends.
#[test]
fn progress_of_a_task_outlives_its_request() {
    let (mut world, child, [a, b]) = World::legacy(policy());
    let asked = create_task(&mut world, child, a, "A");
    let progress = note("notifications/progress", json!({ "progressToken": asked["id"], "progress": 1 }));
    world.says(child, progress.clone());
    assert_eq!(world.hears(a)["params"]["progressToken"], "p");
    world.says(child, note("notifications/tasks/status", json!({ "taskId": "A", "status": "completed" })));
    world.hears(a);
    world.says(child, progress);
    world.silent(a);
    world.silent(b);
}

/// P21: children of their own may give equal ids to the tasks of different clients.
#[test]
fn equal_task_ids_of_two_children_are_two_tasks() {
    let own = ServerPolicy { ..interactive(Interactive::PerClient) };
    let mut world = World::new([own]);
    let clients = [world.client(), world.client()];
    let children = clients.map(|client| {
        world.says(client, initialize("2025-11-25", json!({})));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        world.hears(client);
        create_task(&mut world, child, client, "1");
        child
    });
    for (client, child) in clients.into_iter().zip(children) {
        world.says(client, request(1, "tasks/get", json!({ "taskId": "1" })));
        world.hears_of(child, "tasks/get");
        world.says(child, note("notifications/tasks/status", json!({ "taskId": "1", "status": "working" })));
        world.hears_of(client, "notifications/tasks/status");
    }
    world.silent(clients[0]);
}
