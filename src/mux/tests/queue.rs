//! Turns, bounds and pauses: no client stands in another's way (B10, P58).

use super::world::*;
use crate::base::limits::{REQUESTS_PER_CLIENT, WAITING_BYTES_PER_CLIENT};
use crate::mux::policy::{EraPolicy, ServerPolicy};
use crate::mux::rate::{Rate, RateLimits};
use serde_json::{Value, json};

fn names(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|m| m["params"]["name"].as_str().unwrap_or_default().to_string()).collect()
}

fn narrow(in_flight: usize) -> ServerPolicy {
    ServerPolicy { max_in_flight_per_client: in_flight, max_active_clients: 9, ..policy() }
}

/// B10: what waited for a congested child leaves in turns, one request of each client.
#[test]
fn clients_take_turns() {
    let (mut world, child, [a, b, c]) = World::legacy(narrow(32));
    world.congests(child);
    for n in 0..4 {
        world.says(a, call(n, &format!("a{n}")));
    }
    world.says(b, call(0, "b0"));
    world.says(b, call(1, "b1"));
    world.says(c, call(0, "c0"));
    world.silent(child);
    world.drains(child);
    assert_eq!(names(&world.hears_all(child)), ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]);
}

/// B10: a flooding client has a bounded number of requests at the child; others pass at once, and its
/// waiting ones follow one by one as answers come.
#[test]
fn a_flood_waits_behind_itself() {
    let (mut world, child, [a, b]) = World::legacy(narrow(2));
    for n in 0..5 {
        world.says(a, call(n, &format!("a{n}")));
    }
    world.says(b, call(0, "b0"));
    let mut sent = world.hears_all(child);
    assert_eq!(names(&sent), ["a0", "a1", "b0"]);
    for next in ["a2", "a3", "a4"] {
        world.answers(child, &sent.remove(0), json!({}));
        let more = world.hears_all(child);
        assert_eq!(names(&more), [next]);
        sent.insert(1, more[0].clone());
    }
    let order: Vec<Value> = world.hears_all(a).iter().map(|m| m["id"].clone()).collect();
    assert_eq!(order, [0, 1, 2]);
}

/// A slot that is freed by a cancel, a timeout or an error wakes what waits, as an answer does.
#[test]
fn every_end_of_a_request_frees_its_slot() {
    type End = fn(&mut World, Child, crate::base::Key, &Value);
    let ends: [End; 4] = [
        |world, _, a, _| world.says(a, cancel(1)),
        |world, child, _, asked| {
            world.says(child, json!({ "id": asked["id"], "error": { "code": 1, "message": "" } }));
        },
        |world, _, _, _| world.advance(30_000),
        |world, child, _, asked| {
            let line = format!(r#"{{"jsonrpc":"2.0","id":{},"result":"\x"}}"#, asked["id"]);
            world.says_raw(child, &line);
        },
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let policy = ServerPolicy { era: EraPolicy::Legacy, ..narrow(1) };
        let (mut world, child, [a]) = World::legacy(policy);
        world.says(a, call(1, "first"));
        world.says(a, call(2, "second"));
        let asked = world.hears(child);
        world.silent(child);
        end(&mut world, child, a, &asked);
        let heard = names(&world.hears_all(child));
        assert!(heard.contains(&"second".to_string()), "end {n}: {heard:?}");
    }
}

/// Requests that take long stop counting against their client, so that one slow tool does not lock it.
#[test]
fn long_requests_make_room() {
    let (mut world, child, [a]) = World::legacy(narrow(1));
    world.says(a, call(1, "slow"));
    world.says(a, call(2, "quick"));
    assert_eq!(names(&world.hears_all(child)), ["slow"]);
    world.advance(499);
    world.silent(child);
    world.advance(1);
    assert_eq!(names(&world.hears_all(child)), ["quick"]);
}

/// P58: a client with too much unanswered is not read from until it is well below its limit.
#[test]
fn a_flooding_client_is_paused_and_resumed() {
    let (mut world, child, [a, b]) = World::legacy(narrow(REQUESTS_PER_CLIENT));
    for n in 0..REQUESTS_PER_CLIENT {
        world.says(a, call(n, "t"));
    }
    assert!(!world.is_paused(a), "all of them are at the child");
    for n in 0..REQUESTS_PER_CLIENT {
        world.says(a, call(n, "what was read already"));
    }
    assert!(world.is_paused(a) && !world.is_paused(b));
    world.silent(a);
    world.says(a, call("more", "t"));
    world.hears_failure(a, "more", "overload");
    let mut unanswered = 2 * REQUESTS_PER_CLIENT;
    while unanswered > REQUESTS_PER_CLIENT / 2 {
        assert!(world.is_paused(a), "{unanswered} unanswered");
        let asked = world.hears(child);
        world.answers(child, &asked, json!({}));
        unanswered -= 1;
    }
    assert!(!world.is_paused(a));
}

/// P58: waiting bytes are bounded too.
#[test]
fn large_waiting_requests_pause_their_client() {
    let mut world = World::new([policy()]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    let text = "x".repeat(WAITING_BYTES_PER_CLIENT / 4);
    for n in 0..4 {
        assert!(!world.is_paused(a), "{n}");
        world.says(a, request(n, "tools/call", json!({ "name": "t", "text": text })));
    }
    assert!(world.is_paused(a));
    let child = world.child();
    world.shake_hands(child, json!({}));
    assert_eq!(world.hears_all(child).len(), 4);
    assert!(!world.is_paused(a));
}

/// P58: requests that were asked and taken back while the child is down leave nothing behind.
#[test]
fn cancelled_waiting_requests_leave_no_trace() {
    let (mut world, child, [a]) = World::legacy(policy());
    world.exits(child, "died");
    for n in 0..10_000 {
        world.says(a, call(n, "t"));
        world.says(a, cancel(n));
    }
    let waiting: usize = world.mux.peers.iter().map(|(_, peer)| peer.waiting.len()).sum();
    assert!(waiting <= 100, "{waiting} keys of nothing");
    world.says(a, call("last", "t"));
    world.advance(1_000);
    let child = world.child();
    world.shake_hands(child, json!({}));
    assert_eq!(world.hears_all(child).len(), 1);
}

/// A client whose notifications stall a child is read from again when the child takes more, or is gone.
#[test]
fn a_stalled_client_is_resumed() {
    let stalled = || {
        let (mut world, child, [a]) = World::legacy(policy());
        world.congests(child);
        world.says(a, note("notifications/vendor", json!({})));
        assert!(world.is_paused(a));
        (world, child, a)
    };
    let (mut world, child, a) = stalled();
    world.drains(child);
    assert!(!world.is_paused(a));
    let (mut world, child, a) = stalled();
    world.exits(child, "died");
    assert!(!world.is_paused(a), "the child is gone");
}

/// P58: subscriptions and leavings of many clients never overflow the table of requests, however
/// silent the child is.
#[test]
fn a_silent_child_cannot_make_the_table_overflow() {
    let (mut world, child, clients) =
        World::legacy::<70>(ServerPolicy { max_active_clients: 99, ..policy() });
    let mut id = 0;
    for client in clients {
        for _ in 0..600 {
            id += 1;
            let uri = format!("x:{id}");
            world.says(client, request(id, "resources/subscribe", json!({ "uri": uri })));
        }
        let refused = world.hears_all(client);
        assert!(refused.iter().all(|m| m["error"]["data"]["muxloop"]["reason"] == "overload"));
        assert!(!refused.is_empty());
    }
    for asked in world.hears_all(child) {
        world.answers(child, &asked, json!({}));
    }
    for client in clients {
        world.leaves(client);
    }
    assert!(world.hears_all(child).len() > 10_000, "unsubscribed");
}

/// G09: a client over its rate is told so at once, in words and with a time, and others are not touched.
#[test]
fn a_rate_is_each_clients_own() {
    let rate = RateLimits { client: Rate::parse("2/s"), ..RateLimits::default() };
    let (mut world, child, [a, b]) = World::legacy(ServerPolicy { rate, ..narrow(32) });
    for n in 0..3 {
        world.says(a, call(n, &format!("a{n}")));
    }
    world.says(b, call(0, "b0"));
    assert_eq!(names(&world.hears_all(child)), ["a0", "a1", "b0"]);
    let refused = world.hears(a);
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(2), &json!(-32603)));
    let muxloop = &refused["error"]["data"]["muxloop"];
    assert_eq!(muxloop["reason"], "rate_limited");
    let wait = muxloop["retryInMs"].as_u64().unwrap();
    assert_eq!(wait, 500);
    world.advance(wait);
    world.says(a, call(3, "a3"));
    assert_eq!(names(&world.hears_all(child)), ["a3"]);
}

/// G09: what muxloop answers itself costs the server nothing, so it does not count.
#[test]
fn a_rate_of_a_server_is_of_all_clients_together() {
    let rate = RateLimits { server: Rate::parse("2/s"), ..RateLimits::default() };
    let (mut world, child, [a, b]) = World::legacy(ServerPolicy { rate, ..narrow(32) });
    world.says(a, json!({ "id": 9, "method": "ping" }));
    world.says(a, call(0, "a0"));
    world.says(b, call(0, "b0"));
    world.says(b, call(1, "b1"));
    assert_eq!(names(&world.hears_all(child)), ["a0", "b0"]);
    assert!(world.hears(b)["error"]["message"].as_str().unwrap().contains("all clients' requests together"));
}
