//! Greeting: one handshake per child, versions, what may come before it, batches, who is refused.

use super::world::*;
use crate::mux::CloseReason;
use crate::mux::policy::ServerPolicy;
use serde_json::{Value, json};

/// P05: any number of clients, before and after it is ready, cause one handshake at the child.
#[test]
fn a_child_is_greeted_once() {
    let mut world = World::new([policy()]);
    let early = [world.client(), world.client(), world.client()];
    for client in early {
        world.says(client, initialize("2025-06-18", json!({})));
    }
    let child = world.child();
    for client in early {
        world.silent(client);
    }
    world.shake_hands(child, all_capabilities());
    for client in early {
        let hello = world.hears(client);
        assert_eq!((&hello["id"], &hello["result"]["serverInfo"]["name"]), (&json!("init"), &json!("child")));
        world.says(client, note("notifications/initialized", json!({})));
    }
    let late = world.client();
    world.greet(late, json!({}));
    world.silent(child);
    world.no_start();
}

/// P06: a known version is echoed, an unknown one gets the latest of the era.
#[test]
fn the_version_is_negotiated_with_each_client() {
    let (mut world, child, [_a]) = World::legacy(ServerPolicy { max_active_clients: 9, ..policy() });
    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
    ] {
        let client = world.client();
        world.says(client, initialize(asked, json!({})));
        assert_eq!(world.hears(client)["result"]["protocolVersion"], answered, "{asked}");
    }
    world.silent(child);
}

/// P06: an older version of the child is not what a client is told that asked for a newer one.
#[test]
fn a_child_of_an_older_version_serves_clients_of_newer_ones() {
    let mut world = World::new([policy()]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    let child = world.child();
    let asked = world.hears(child);
    let result = r#"{"capabilities":{},"protocolVersion":"2024-11-05","x":1.0,"serverInfo":{"name":"old","version":"1"}}"#;
    world.says_raw(child, &format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, asked["id"]));
    let expected = result.replace("2024-11-05", "2025-11-25");
    assert_eq!(world.hears_raw(a), format!(r#"{{"jsonrpc":"2.0","id":"init","result":{expected}}}"#));
}

/// P07: `ping` is answered here, both ways, at any time.
#[test]
fn ping_is_answered_without_forwarding() {
    let (mut world, child, [a]) = World::legacy(policy());
    let fresh = world.client();
    for client in [a, fresh] {
        world.says(client, request("p", "ping", json!({})));
        assert_eq!(world.hears(client), json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
    }
    world.silent(child);
    world.says(child, request("c", "ping", json!({})));
    assert_eq!(world.hears(child), json!({ "jsonrpc": "2.0", "id": "c", "result": {} }));
    world.silent(a);
}

/// A request before `initialize`, and a second `initialize`, are refused (protocol.md §2.2).
#[test]
fn the_order_of_a_greeting_is_enforced() {
    let (mut world, child, [a]) = World::legacy(policy());
    let fresh = world.client();
    world.says(fresh, call(1, "t"));
    world.hears_error(fresh, 1, -32600);
    world.says(fresh, note("notifications/whatever", json!({})));
    world.says(a, initialize("2025-11-25", json!({})));
    world.hears_error(a, "init", -32600);
    world.says(a, call(2, "t"));
    assert_eq!(world.hears(child)["params"]["name"], "t", "it is still served");
    world.silent(child);
}

/// Requests before `notifications/initialized` are tolerated (features B02), its child not ready either.
#[test]
fn requests_right_behind_initialize_are_served_in_order() {
    let mut world = World::new([policy()]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    world.says(a, request(1, "tools/list", json!({})));
    world.says(a, call(2, "t"));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    assert_eq!(world.hears(a)["id"], "init");
    let methods: Vec<Value> = world.hears_all(child).iter().map(|m| m["method"].clone()).collect();
    assert_eq!(methods, ["tools/list", "tools/call"]);
}

/// An `initialize` that fails may be sent again on the same connection, whatever made it fail.
#[test]
fn a_failed_initialize_can_be_repeated() {
    let mut world = World::new([policy()]);
    let a = world.client();
    for _ in 0..2 {
        world.says(a, initialize("2025-11-25", json!({})));
        if world.state() == "starting" {
            world.start_fails("no such file: s");
        }
        world.hears_failure(a, "init", "spawn");
    }
    world.advance(2_000);
    let child = world.child();
    world.says(a, initialize("2025-11-25", json!({})));
    world.shake_hands(child, json!({}));
    assert!(world.hears(a)["result"].is_object());
}

/// 2025-03-26 batches are answered element by element; other versions refuse them (protocol.md §3.1).
#[test]
fn batches_are_for_the_one_version_that_has_them() {
    let (mut world, child, [a]) = World::legacy(policy());
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"},7,
        {"jsonrpc":"2.0","method":"notifications/initialized"}]"#;
    world.says_raw(a, batch);
    world.hears_error(a, Value::Null, -32600);
    world.silent(a);
    let old = world.client();
    world.says_raw(old, r#"[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}]"#);
    world.hears_error(old, Value::Null, -32600);
    world.says(old, initialize("2025-03-26", json!({})));
    world.hears(old);
    world.says_raw(old, batch);
    assert_eq!(world.hears(old)["result"], json!({}));
    world.hears_error(old, Value::Null, -32600);
    let asked = world.hears_of(child, "tools/list");
    world.says_raw(child, &format!(r#"[{{"jsonrpc":"2.0","id":{},"result":{{"tools":[]}}}}]"#, asked["id"]));
    assert_eq!(world.hears(old), json!({ "jsonrpc": "2.0", "id": 2, "result": { "tools": [] } }));
    world.says_raw(old, "[]");
    world.hears_error(old, Value::Null, -32600);
}

/// D03: the client past `max_active_clients` is told so at once and closed; a place that becomes free
/// is given away.
#[test]
fn one_client_too_many_is_told_so() {
    let (mut world, _child, [a, _b]) = World::legacy(ServerPolicy { max_active_clients: 2, ..policy() });
    // A request that stands for itself is no client that counts.
    let guest = world.guest();
    let third = world.client();
    world.says(third, initialize("2025-11-25", json!({})));
    let failure = world.hears_failure(third, "init", "max_active_clients");
    let why = failure["error"]["message"].as_str().unwrap();
    assert!(why.contains("serves 2 clients (`max_active_clients` = 2)"), "{why}");
    world.leaves(guest);
    assert_eq!(world.closed(third), Some(&CloseReason::Refused));
    let silent = world.client();
    world.advance(9_999);
    assert_eq!(world.closed(silent), None);
    world.advance(1);
    assert_eq!(world.closed(silent), Some(&CloseReason::Refused));
    // Whatever is wrong with what it says: that it has no place is what it has to know.
    let garbled = world.client();
    world.says_raw(garbled, r#"{"jsonrpc":"2.0","id":5,"method":7}"#);
    world.hears_failure(garbled, 5, "max_active_clients");
    assert_eq!(world.closed(garbled), Some(&CloseReason::Refused));
    let long = world.client();
    let head = br#"{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"x":""#.to_vec();
    let line = crate::codec::Overlong { len: 9_999, limit: 1_000, head, tail: b"}}".to_vec() };
    world.with(|mux, now, out| mux.handle_overlong(now, long, &line, out));
    world.hears_failure(long, 6, "max_active_clients");
    assert_eq!(world.closed(long), Some(&CloseReason::Refused));
    world.leaves(a);
    let fourth = world.client();
    world.greet(fourth, json!({}));
    assert_eq!(world.mux.sizes().peers, 2);
}

/// A client that has said all gets its answers, then its connection is closed: whether the answer
/// came from the child, from muxloop once the child was ready, or is a failure.
#[test]
fn a_client_that_ended_its_input_is_closed_with_its_last_answer() {
    let mut world = World::new([policy()]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    world.ends_input(a);
    let child = world.child();
    assert_eq!(world.closed(a), None);
    world.shake_hands(child, all_capabilities());
    assert!(world.hears(a)["result"].is_object());
    assert_eq!(world.closed(a), Some(&CloseReason::Finished), "answered by muxloop");
    let b = world.client();
    world.greet(b, json!({}));
    world.says(b, call(1, "t"));
    world.ends_input(b);
    let asked = world.hears(child);
    assert_eq!(world.closed(b), None);
    world.answers(child, &asked, json!({}));
    world.hears(b);
    assert_eq!(world.closed(b), Some(&CloseReason::Finished), "answered by the child");
    let idle = world.client();
    world.ends_input(idle);
    assert_eq!(world.closed(idle), Some(&CloseReason::Finished), "nothing asked");
    assert_eq!(world.mux.sizes().peers, 0);
}

/// The same where its request is refused because the child turned out to be of the other era.
#[test]
fn a_client_that_ended_its_input_is_closed_with_a_refusal() {
    let mut world = World::new([policy()]);
    let b = world.client();
    world.says(b, initialize("2025-11-25", json!({})));
    world.ends_input(b);
    world.start_fails("no such command");
    world.hears_failure(b, "init", "spawn");
    assert_eq!(world.closed(b), Some(&CloseReason::Finished));
}
