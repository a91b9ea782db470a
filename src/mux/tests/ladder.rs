//! Finding out a server's era (P50): whatever a server does when it is greeted in an era that is not its own.

use super::world::*;
use crate::base::{Key, Time};
use crate::mux::policy::{EraPolicy, Found, Interactive, ServerPolicy};
use crate::mux::{Era, StopStep};
use serde_json::{Value, json};

/// What a server does when it is greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    Welcomes,
    Refuses,
    /// -32022 that names a version to come.
    OffersModern,
    /// A result that is none.
    Babbles,
    Exits,
    IsSilent,
}
use Reaction::*;

#[derive(Clone, Copy, Debug)]
struct Habits {
    /// How long its process takes until it reads.
    boot_ms: u64,
    discover: Reaction,
    /// On `initialize` after `server/discover`, and in a process of its own.
    initialize_second: Reaction,
    initialize_first: Reaction,
}

/// What came of it.
#[derive(Debug, Default)]
struct Course {
    processes: usize,
    initialized: usize,
    served_ms: Option<u64>,
    failed: bool,
}

/// Runs servers of these habits until the client has an answer.
fn run(habits: Habits) -> Course {
    let patient = ServerPolicy { request_timeout_ms: 900_000, request_timeout_max_ms: 900_000, ..auto() };
    let mut world = World::new([patient]);
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    let mut course = Course::default();
    for _ in 0..2 {
        if !world.wants_start() {
            break;
        }
        course.processes += 1;
        run_process(&mut world, client, habits, &mut course);
    }
    if course.served_ms.is_some() {
        assert_eq!(world.mux.status(world.now)[0].restarts, 0, "{habits:?}");
    }
    course
}

/// One process of it, to its end or to an answer.
fn run_process(world: &mut World, client: Key, habits: Habits, course: &mut Course) {
    let child = world.child();
    let mut asked_before = false;
    let mut inbox: Vec<Value> = Vec::new();
    for step in 0..200 {
        inbox.extend(world.hears_all(child));
        course.initialized +=
            inbox.iter().filter(|m| m["method"] == "initialize" && m["seen"].is_null()).count();
        inbox.iter_mut().for_each(|message| message["seen"] = true.into());
        if step * 500 >= habits.boot_ms {
            for message in std::mem::take(&mut inbox) {
                let reaction = match (message["method"].as_str(), asked_before) {
                    (Some("server/discover"), _) => habits.discover,
                    (Some("initialize"), true) => habits.initialize_second,
                    (Some("initialize"), false) => habits.initialize_first,
                    _ => IsSilent,
                };
                asked_before = true;
                if !react(world, child, &message, reaction) {
                    return;
                }
            }
        }
        for told in world.hears_all(client) {
            match told["result"].is_object() {
                true => course.served_ms = Some(world.now.since(Time(1_000))),
                false => course.failed = true,
            }
        }
        if course.served_ms.is_some() || course.failed {
            return;
        }
        if world.stops(child).contains(&StopStep::CloseInput) {
            return world.exits(child, "exited with 0");
        }
        world.advance(500);
    }
}

/// Says whether the process lives on.
fn react(world: &mut World, child: Child, message: &Value, reaction: Reaction) -> bool {
    let id = &message["id"];
    match reaction {
        Welcomes if message["method"] == "initialize" => world.says(
            child,
            json!({ "id": id, "result": { "protocolVersion": "2025-11-25", "capabilities": {},
                "serverInfo": { "name": "c", "version": "1" } } }),
        ),
        Welcomes => world.answers(child, message, discover_result(0)),
        Refuses => world.says(child, json!({ "id": id, "error": { "code": -32601, "message": "?" } })),
        OffersModern => world.says(
            child,
            json!({ "id": id, "error": { "code": -32022, "message": "no", "data": { "supported": ["2027-01-01"] } } }),
        ),
        Babbles => world.answers(child, message, json!({})),
        Exits => {
            world.stops(child);
            world.exits(child, "exited with 1");
            return false;
        }
        IsSilent => {}
    }
    true
}

/// P50, protocol.md §3.6: whoever welcomes its client in any era in a process of its own serves it, within two
/// processes and without a restart being counted; most in one; a modern server is never initialised.
#[test]
fn every_server_that_welcomes_anybody_serves() {
    let all = [Welcomes, Refuses, OffersModern, Babbles, Exits, IsSilent];
    for boot_ms in [0, 2_000, 6_000] {
        for discover in all {
            for (second, first) in all.into_iter().flat_map(|a| all.map(|b| (a, b))) {
                let habits = Habits { boot_ms, discover, initialize_second: second, initialize_first: first };
                let course = run(habits);
                let is_slow = boot_ms > 4_000;
                let serves = match discover {
                    Welcomes => true,
                    OffersModern => false,
                    Exits => first == Welcomes,
                    _ => second == Welcomes || first == Welcomes && second != OffersModern,
                };
                assert_eq!(course.served_ms.is_some(), serves, "{habits:?} {course:?}");
                if matches!(discover, Welcomes | OffersModern) && !is_slow {
                    assert_eq!(course.initialized, 0, "{habits:?}");
                }
                let at_once = match discover {
                    Welcomes => !is_slow || matches!(second, Refuses | Babbles | OffersModern),
                    Refuses | Babbles | IsSilent => second == Welcomes,
                    OffersModern | Exits => false,
                };
                if serves {
                    assert_eq!(course.processes == 1, at_once, "{habits:?} {course:?}");
                    let patience = if discover == IsSilent { 4_000 } else { 0 };
                    let second_start = match second {
                        IsSilent if discover == Welcomes => boot_ms + 4_000,
                        IsSilent => 60_000,
                        Refuses | Babbles => patience.max(boot_ms) + patience,
                        _ => patience.max(boot_ms),
                    };
                    let latest = if at_once { patience.max(boot_ms) } else { second_start + boot_ms };
                    assert!(course.served_ms <= Some(latest + 1_000), "{habits:?} {course:?}");
                }
            }
        }
    }
}

/// A server that is down for good is given up as any other: the search is repeated with each restart.
#[test]
fn the_search_begins_anew_with_each_restart() {
    let mut world = World::new([auto()]);
    for _ in 0..3 {
        let child = world.child();
        world.hears_of(child, "server/discover");
        world.exits(child, "exited with 1");
        let child = world.child();
        world.hears_of(child, "initialize");
        world.exits(child, "exited with 1");
        assert_eq!(world.state(), "backoff");
        world.advance(30_000);
    }
}

/// A finding of an earlier run is used at once; a wrong one costs one more process at most.
#[test]
fn a_finding_is_believed_until_it_fails() {
    let found = |era| Found { era, is_sole: true, until: Time(1 << 40), server: "child 1".into() };
    let with = |era| World::new([ServerPolicy { found: Some(found(era)), ..auto() }]);
    let mut world = with(Era::Legacy);
    let child = world.child();
    world.shake_hands(child, all_capabilities());

    let mut world = with(Era::Legacy);
    let child = world.child();
    let asked = world.hears_of(child, "initialize");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32022, "message": "no" } }));
    world.exits(child, "exited with 0");
    let child = world.child();
    world.discover(child, 0);

    let mut world = with(Era::Modern);
    let child = world.child();
    let asked = world.hears_of(child, "server/discover");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.shake_hands(child, all_capabilities());
    assert_eq!(world.state(), "ready");
}

/// What is told to be kept for the next run: each finding once, and that it was wrong.
#[test]
fn findings_are_told_when_they_change() {
    let mut world = World::new([auto()]);
    let (a, b) = (world.child(), Some(Era::Modern));
    world.discover(a, 0);
    assert_eq!(world.found, [b]);
    world.exits(a, "died");
    world.advance(1_000);
    let a = world.child();
    world.discover(a, 0);
    world.exits(a, "died");
    world.advance(3_000);
    assert_eq!(world.found, [b]);
    let a = world.child();
    let asked = world.hears(a);
    world.says(a, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.shake_hands(a, all_capabilities());
    assert_eq!(world.found, [b, None, Some(Era::Legacy)]);
}

/// An updated server may offer the modern era: a legacy finding is not held against another version.
#[test]
fn a_legacy_finding_ends_with_the_version_it_was_made_for() {
    let mut world = World::new([auto()]);
    let child = world.child();
    world.hears(child);
    world.exits(child, "exited with 1");
    for (version, greeting) in [("1", "initialize"), ("2", "initialize")] {
        let child = world.child();
        let asked = world.hears_of(child, greeting);
        let info = json!({ "name": "c", "version": version });
        let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info });
        world.answers(child, &asked, result);
        world.exits(child, "died");
        world.advance(5_000);
    }
    let child = world.child();
    world.hears_of(child, "server/discover");
}

/// Children of one's own are greeted as each client speaks, unless the server was seen to refuse that.
#[test]
fn one_clients_era_says_nothing_of_anothers() {
    let own = ServerPolicy { interactive: Interactive::PerClient, ..auto() };
    let mut world = World::new([own.clone()]);
    let (old, new, newer) = (world.client(), world.client(), world.client());
    world.says(old, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    for client in [new, newer] {
        world.says(client, modern(1, "tools/list", json!({})));
        let child = world.child();
        world.discover(child, 0);
    }
    let another = world.client();
    world.says(another, initialize("2025-11-25", json!({})));
    let child = world.child();
    let asked = world.hears_of(child, "initialize");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.exits(child, "exited with 0");
    let child = world.child();
    world.discover(child, 0);
    let last = world.client();
    world.says(last, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.hears_of(child, "server/discover");
}

/// A child of one's own that ends on `initialize`, or keeps silent, may be one that knows nothing but the modern
/// era: its next process is asked that, and whoever comes later is served at once.
#[test]
fn an_own_child_that_says_nothing_to_initialize_is_asked_for_the_modern_era() {
    for exits in [true, false] {
        let mut world = World::new([ServerPolicy { interactive: Interactive::PerClient, ..auto() }]);
        let client = world.client();
        world.says(client, initialize("2025-11-25", json!({})));
        let child = world.child();
        world.hears_of(child, "initialize");
        if !exits {
            world.advance(60_000);
            let failed = world.hears(client);
            assert_eq!(failed["error"]["data"]["muxloop"]["reason"], "timeout", "{failed}");
            assert_eq!(world.stops(child), [StopStep::CloseInput]);
        }
        world.exits(child, "exited with 1");
        world.advance(1_000);
        let child = world.child();
        if !exits {
            world.says(client, initialize("2025-11-25", json!({})));
        }
        world.discover(child, 0);
        assert_eq!(world.hears(client)["result"]["protocolVersion"], "2025-11-25");
        let another = world.client();
        world.says(another, initialize("2025-11-25", json!({})));
        let child = world.child();
        world.discover(child, 0);
        assert_eq!(world.hears(another)["result"]["protocolVersion"], "2025-11-25");
    }
}

/// The same of one that only had a bad start: the question for the other era costs it nothing.
#[test]
fn an_own_child_that_had_a_bad_start_is_served_in_its_own_era() {
    let mut world = World::new([ServerPolicy { interactive: Interactive::PerClient, ..auto() }]);
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.hears_of(child, "initialize");
    world.exits(child, "exited with 1");
    world.advance(1_000);
    let child = world.child();
    let asked = world.hears_of(child, "server/discover");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.shake_hands(child, all_capabilities());
    assert!(world.hears(client)["result"].is_object());
    // It was welcomed: what ends it later says nothing of its era.
    world.exits(child, "died");
    world.advance(5_000);
    let child = world.child();
    world.hears_of(child, "initialize");
}

/// A probe that is not answered is forgotten with the handshake; nothing of the search is left.
#[test]
fn an_unanswered_probe_is_forgotten() {
    let mut world = World::new([auto()]);
    let child = world.child();
    let probe = world.hears_of(child, "server/discover");
    world.advance(4_000);
    world.shake_hands(child, json!({}));
    let sizes = world.mux.sizes();
    assert_eq!(sizes.requests, 0);
    world.answers(child, &probe, discover_result(0));
    assert_eq!(world.state(), "ready");
    world.silent(child);
}

/// The time of the first process is not held against the second one.
#[test]
fn the_second_process_has_the_whole_startup_time() {
    let mut world = World::new([auto()]);
    let child = world.child();
    world.hears_of(child, "server/discover");
    world.advance(4_000);
    let asked = world.hears_of(child, "initialize");
    world.says(child, json!({ "id": asked["id"], "error": { "code": -32601, "message": "no" } }));
    world.advance(4_000);
    assert_eq!(world.stops(child), [StopStep::CloseInput]);
    world.exits(child, "exited with 0");
    let child = world.child();
    world.advance(55_000);
    assert_eq!(world.stops(child), []);
    world.shake_hands(child, all_capabilities());
    assert_eq!(world.state(), "ready");
}

/// A modern finding lasts for as long as it is found again.
#[test]
fn a_modern_finding_is_renewed() {
    let mut world = World::new([auto()]);
    for _ in 0..3 {
        let child = world.child();
        world.discover(child, 0);
        world.advance(4 * 24 * 3_600_000);
        world.exits(child, "died");
        world.advance(5_000);
    }
    assert_eq!(world.found, [Some(Era::Modern); 3]);
}

fn auto() -> ServerPolicy {
    era(EraPolicy::Auto)
}
