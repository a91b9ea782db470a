//! Which era a child is spoken to in, and what modern clients are told (P38–P47, P50).

use super::world::*;
use crate::mux::StopStep;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy};
use serde_json::{Value, json};

const DAY_MS: u64 = 24 * 3_600_000;

fn auto() -> ServerPolicy {
    era(EraPolicy::Auto)
}

/// protocol.md §3.6: a shared child is asked for the modern era first, before anybody needs it.
#[test]
fn a_shared_child_is_asked_for_the_modern_era_first() {
    let mut world = World::new([auto()]);
    let child = world.child();
    world.discover(child, 0);
    let a = world.client();
    world.greet(a, json!({}));
    world.hears_of(child, "subscriptions/listen");
    world.silent(child);
}

/// A child of one's own is greeted in the era of its client, and not before that has said something.
#[test]
fn the_only_client_decides_the_era() {
    for is_modern in [false, true] {
        let mut world = World::new([ServerPolicy { interactive: Interactive::PerClient, ..auto() }]);
        world.no_start();
        let a = world.client();
        let (first, greeting) = match is_modern {
            false => (initialize("2025-11-25", json!({})), "initialize"),
            true => (modern(1, "tools/list", json!({})), "server/discover"),
        };
        world.says(a, first);
        let child = world.child();
        world.hears_of(child, greeting);
    }
}

/// `era` in the configuration overrides what clients speak; the child is greeted without waiting.
#[test]
fn the_operator_decides_the_era() {
    for (policy, greeting) in
        [(era(EraPolicy::Legacy), "initialize"), (era(EraPolicy::Modern), "server/discover")]
    {
        let mut world = World::new([policy]);
        let child = world.child();
        let asked = world.hears_of(child, greeting);
        world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
        assert_eq!(world.stops(child), [StopStep::CloseInput]);
        world.exits(child, "exited with 0");
        world.advance(1_000);
        let child = world.child();
        world.hears_of(child, greeting);
    }
}

/// P50: a legacy server that ends on `server/discover` is started anew and greeted with `initialize`; its
/// modern client is served.
#[test]
fn a_child_that_ends_on_discover_is_respawned_as_legacy() {
    for closes_first in [false, true] {
        let mut world = World::new([auto()]);
        let a = world.client();
        world.says(a, modern(1, "tools/list", json!({})));
        let child = world.child();
        world.hears_of(child, "server/discover");
        if closes_first {
            world.leaves(child.link);
            assert_eq!(world.stops(child), [StopStep::CloseInput]);
            world.no_start();
        }
        world.exits(child, "exited with 0");
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        world.hears_of(child, "tools/list");
        world.silent(a);
    }
}

/// P50: -32022 that offers a modern version is not the word of a legacy server.
#[test]
fn an_offer_of_a_modern_version_never_triggers_initialize() {
    let mut world = World::new([auto()]);
    let a = world.client();
    world.says(a, modern(1, "tools/list", json!({})));
    let child = world.child();
    let asked = world.hears(child);
    let error = json!({ "code": -32022, "message": "no", "data": { "supported": ["2027-01-01"] } });
    world.says(child, json!({ "id": asked["id"], "error": error }));
    world.hears_failure(a, 1, "handshake");
    world.exits(child, "exited with 0");
    world.advance(1_000);
    let child = world.child();
    world.hears_of(child, "server/discover");
}

/// A server that refuses `initialize` is tried in the modern era, once.
#[test]
fn a_child_that_refuses_initialize_is_respawned_as_modern() {
    let mut world = World::new([ServerPolicy { interactive: Interactive::PerClient, ..auto() }]);
    let a = world.client();
    world.says(a, initialize("2025-11-25", json!({})));
    let child = world.child();
    let asked = world.hears_of(child, "initialize");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32022, "message": "no" } }));
    world.exits(child, "exited with 0");
    let child = world.child();
    world.discover(child, 0);
    assert_eq!(world.hears(a)["result"]["protocolVersion"], "2025-11-25");
    world.says(a, request(2, "tools/list", json!({})));
    let asked = world.hears_of(child, "tools/list");
    assert_eq!(asked["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
}

/// The finding outlives the process and its clients, until it expires.
#[test]
fn the_finding_about_an_era_is_kept_for_a_day() {
    for (wait_ms, greeting) in [(DAY_MS - 20_000, "initialize"), (DAY_MS + 1, "server/discover")] {
        let mut world = World::new([auto()]);
        let child = world.child();
        world.hears_of(child, "server/discover");
        world.exits(child, "exited with 1");
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        world.advance(wait_ms);
        world.exits(child, "died");
        world.advance(1_000);
        let child = world.child();
        world.hears_of(child, greeting);
    }
}

/// A server known to be modern may start slowly: the short patience is for guesses.
#[test]
fn a_known_modern_server_gets_its_whole_startup_time() {
    let mut world = World::new([auto()]);
    let a = world.client();
    let child = world.child();
    world.discover(child, 0);
    world.exits(child, "died");
    world.advance(1_000);
    let child = world.child();
    world.says(a, modern(1, "tools/list", json!({})));
    world.advance(20_000);
    assert_eq!(world.stops(child), []);
    world.discover(child, 0);
    world.hears_of(child, "tools/list");
}

/// A listen that came before the child turned out to be legacy is served by that child.
#[test]
fn a_listen_is_served_once_the_child_is_known_to_be_legacy() {
    let mut world = World::new([auto()]);
    let a = world.client();
    world.says(
        a,
        modern("l", "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })),
    );
    let child = world.child();
    world.hears_of(child, "server/discover");
    world.exits(child, "exited with 1");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    let told = world.hears_of(a, "notifications/subscriptions/acknowledged");
    assert_eq!(told["params"]["notifications"], json!({ "toolsListChanged": true }));
    world.says(child, note("notifications/tools/list_changed", json!({})));
    let told = world.hears_of(a, "notifications/tools/list_changed");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "l");
}

/// P38, P39, P41: the checks of a modern request, in their order; a missing clientInfo is fine.
#[test]
fn modern_requests_are_checked() {
    let (mut world, child, [a]) = World::modern(policy());
    let meta = |version: Value, capabilities: Value| {
        let mut meta = json!({ "io.modelcontextprotocol/protocolVersion": version });
        if !capabilities.is_null() {
            meta["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        }
        json!({ "_meta": meta })
    };
    world.says(a, request(1, "tools/list", meta(json!("2026-07-28"), Value::Null)));
    world.hears_error(a, 1, -32602);
    world.says(a, request(2, "tools/list", json!({})));
    world.hears_error(a, 2, -32602);
    world.says(a, request(3, "tools/list", meta(json!(7), json!({}))));
    world.hears_error(a, 3, -32602);
    for version in ["2027-01-01", "2025-11-25", "nonsense"] {
        world.says(a, request("v", "tools/list", meta(json!(version), json!({}))));
        let error = world.hears_error(a, "v", -32022);
        let data = json!({ "supported": ["2026-07-28"], "requested": version });
        assert_eq!(error["error"]["data"], data);
    }
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
    ] {
        world.says(a, modern(method, method, json!({})));
        world.hears_error(a, method, -32601);
    }
    world.silent(child);
    world.says(a, modern(4, "x/unknown", json!({})));
    world.hears_of(child, "x/unknown");
}

/// P43, P44: `server/discover` is answered here while it is fresh and asked again after, and offers
/// what muxloop speaks.
#[test]
fn discover_is_answered_from_the_cache_while_fresh() {
    let (mut world, child, [a, b]) = World::modern(policy());
    world.says(b, modern("d", "server/discover", json!({})));
    let hello = world.hears(b);
    assert_eq!(hello["id"], "d");
    let result = &hello["result"];
    assert_eq!((&result["supportedVersions"], &result["ttlMs"]), (&json!(["2026-07-28"]), &json!(60_000)));
    assert!(result["resultType"].is_string() && result["cacheScope"].is_string());
    world.silent(child);
    world.advance(60_000);
    world.says(a, modern("e", "server/discover", json!({})));
    let asked = world.hears_of(child, "server/discover");
    let mut newer = discover_result(1_000);
    newer["supportedVersions"] = json!(["2025-11-25", "2026-07-28", "2030-01-01"]);
    newer["x"] = json!("new");
    world.answers(child, &asked, newer);
    let told = world.hears(a);
    assert_eq!((&told["id"], &told["result"]["x"]), (&json!("e"), &json!("new")));
    assert_eq!(told["result"]["supportedVersions"], json!(["2026-07-28"]));
    world.says(b, modern("f", "server/discover", json!({})));
    assert_eq!(world.hears(b)["result"]["x"], "new");
    world.silent(child);
}

/// Clients that all ask before the child is ready, of a server whose answer is never fresh.
#[test]
fn several_waiting_discovers_are_all_answered() {
    let mut world = World::new([auto()]);
    let clients = [world.client(), world.client(), world.client()];
    for client in clients {
        world.says(client, modern("d", "server/discover", json!({})));
    }
    let child = world.child();
    world.discover(child, 0);
    for asked in world.hears_all(child) {
        assert_eq!(asked["method"], "server/discover");
        world.answers(child, &asked, discover_result(0));
    }
    for client in clients {
        assert_eq!(world.hears(client)["id"], "d");
        world.silent(client);
    }
}

/// P42 in-band: a request of a modern child is ignored, its clients hear nothing.
#[test]
fn a_modern_child_asks_nobody() {
    let (mut world, child, [a]) = World::modern(policy());
    world.says(a, modern(1, "tools/call", json!({ "name": "t" })));
    world.hears(child);
    world.says(child, request(1, "elicitation/create", json!({ "message": "?" })));
    world.silent(a);
    world.silent(child);
}

/// P47: a log line goes to the one request that wants its level, or to nobody.
#[test]
fn modern_log_lines_are_for_the_request_that_wants_them() {
    let (mut world, child, [a, b]) = World::modern(ServerPolicy { max_active_clients: 9, ..policy() });
    let wanting = |id: u32, level: &str| {
        let mut call = modern(id, "tools/call", json!({ "name": "t" }));
        call["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = level.into();
        call
    };
    let line = |level: &str| note("notifications/message", json!({ "level": level, "data": "x" }));
    world.says(b, modern(1, "tools/call", json!({ "name": "t" })));
    world.says(child, line("emergency"));
    world.silent(b);
    world.says(a, wanting(1, "warning"));
    world.says(child, line("error"));
    world.hears_of(a, "notifications/message");
    world.says(child, line("info"));
    world.silent(a);
    world.says(b, wanting(2, "debug"));
    world.says(child, line("info"));
    world.hears_of(b, "notifications/message");
    world.says(child, line("error"));
    world.silent(a);
    world.silent(b);
}

/// The child that is started first, after it refused the question for the modern era.
fn child_found_legacy(world: &mut World) -> Child {
    let child = world.child();
    let probe = world.hears_of(child, "server/discover");
    world.says(child, json!({ "id": probe["id"], "error": { "code": -32601, "message": "no" } }));
    world.shake_hands(child, all_capabilities());
    child
}

/// A legacy child ends, and comes back as a newer version of itself.
fn comes_back_modern(world: &mut World, child: Child) -> Child {
    world.exits(child, "exited with 0");
    world.advance(60_000);
    let child = world.child();
    let asked = world.hears_of(child, "initialize");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32022, "message": "no" } }));
    world.exits(child, "exited with 0");
    let child = world.child();
    world.discover(child, 0);
    child
}

/// A child that was started anew in the other era does not know what was subscribed before.
#[test]
fn a_subscription_of_the_era_before_is_not_taken_back() {
    let mut world = World::new([auto()]);
    let (child, a) = (child_found_legacy(&mut world), world.client());
    world.greet(a, json!({}));
    world.says(a, json!({ "id": 1, "method": "resources/subscribe", "params": { "uri": "u:1" } }));
    let asked = world.hears_of(child, "resources/subscribe");
    world.answers(child, &asked, json!({}));
    world.hears_all(a);
    let child = comes_back_modern(&mut world, child);
    world.hears_all(child);
    world.leaves(a);
    assert!(world.hears_all(child).iter().all(|said| said["method"] != "resources/unsubscribe"));
}

/// The same of a listen: what a legacy child was subscribed to for it, a modern one never was.
#[test]
fn what_a_listen_held_in_the_era_before_is_not_taken_back() {
    let mut world = World::new([auto()]);
    let (child, a) = (child_found_legacy(&mut world), world.client());
    let wants = json!({ "notifications": { "resourceSubscriptions": ["u:1"] } });
    world.says(a, modern("l", "subscriptions/listen", wants));
    let asked = world.hears_of(child, "resources/subscribe");
    world.answers(child, &asked, json!({}));
    world.hears_of(a, "notifications/subscriptions/acknowledged");
    let child = comes_back_modern(&mut world, child);
    world.hears_of(child, "subscriptions/listen");
    world.says(a, cancel("l"));
    assert!(world.hears_all(child).iter().all(|said| said["method"] != "resources/unsubscribe"));
    assert!(world.mux.instances.iter().all(|(_, instance)| instance.subscriptions.is_empty()));
}

/// The process of the other era could not even be started: after the pause it is tried again.
#[test]
fn the_other_era_is_tried_anew_after_each_pause() {
    let mut world = World::new([auto()]);
    let client = world.client();
    world.says(client, modern(1, "tools/list", json!({})));
    for _ in 0..3 {
        let child = world.child();
        world.hears_of(child, "server/discover");
        world.exits(child, "exited with status 1");
        let child = world.child();
        world.hears_of(child, "initialize");
        world.exits(child, "exited with status 1");
        world.no_start();
        world.advance(10_000);
    }
}

/// A legacy client's `initialize` comes to nothing while its next request waits: what a modern child would have
/// to be told of it is not known, so it is asked to begin again, and can.
#[test]
fn no_request_is_put_to_a_modern_child_without_a_handshake() {
    let mut world = World::new([era(EraPolicy::Modern)]);
    let (child, client) = (world.child(), world.client());
    world.says(client, initialize("2025-11-25", json!({})));
    world.advance(40_000);
    world.exits(child, "exited with status 1");
    world.says(client, call(2, "t"));
    world.advance(20_001);
    let child = world.child();
    let failed = world.hears(client);
    assert_eq!(failed["error"]["data"]["muxloop"]["reason"], "timeout", "{failed}");
    world.discover(child, 0);
    world.hears_error(client, 2, -32602);
    assert!(world.hears_all(child).iter().all(|said| said["method"] != "tools/call"));
    world.says(client, initialize("2025-11-25", json!({})));
    let asked = world.hears_all(child);
    assert!(asked.iter().all(|said| said["method"] == "server/discover"), "{asked:?}");
    for asked in asked {
        world.answers(child, &asked, discover_result(0));
    }
    assert!(world.hears(client)["result"].is_object());
}
