//! Lists of a server that rests or is down, what is made of them when it runs again, and what the next run
//! knows of them (rows B08, C05).

use super::lists::{changed, fetches, knows, list, modern_tools, names, tools};
use super::world::*;
use crate::base::limits::{LIST_BYTES_IN_ALL, LIST_BYTES_PER_SERVER};
use crate::mux::StopStep;
use crate::mux::policy::{EraPolicy, ServerPolicy};
use serde_json::{Value, json};

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

/// What a modern server said holds for no time in the next run, and for legacy clients it is in their words.
#[test]
fn memory_of_a_modern_server_holds_for_no_time() {
    let (mut world, child, [a]) = World::modern(idle());
    world.says(a, modern(1, "tools/list", json!({})));
    let asked = world.hears_of(child, "tools/list");
    world.answers(child, &asked, modern_tools(&["t"], 60_000));
    world.hears(a);
    let memory = world.mux.memory(0).unwrap();
    let mut world = World::new([ServerPolicy { era: EraPolicy::Modern, ..idle() }]);
    world.with(|mux, now, _| mux.recall(now, 0, &memory).unwrap());
    let (new, old) = (world.client(), world.client());
    for method in ["server/discover", "tools/list"] {
        world.says(new, modern(1, method, json!({})));
        assert_eq!(world.hears(new)["result"]["ttlMs"], 0, "{method}");
    }
    world.greet(old, json!({}));
    knows(&mut world, old, &["t"]);
    world.no_start();
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

/// All servers together keep no more than a bound; what was learnt first goes first.
#[test]
fn the_lists_of_all_servers_are_bounded() {
    let (mut world, child, [a]) = World::legacy(idle());
    fetches(&mut world, child, a, tools(&["t"]));
    let mut memory = world.mux.memory(0).unwrap();
    let long = LIST_BYTES_PER_SERVER - 4_096;
    memory.pages[0].result = json!({ "tools": [{ "name": "x".repeat(long) }] }).to_string();
    let fit = LIST_BYTES_IN_ALL / long;
    let mut world = World::new((0..fit + 2).map(|_| idle()));
    for id in 0..fit + 2 {
        world.with(|mux, now, _| mux.recall(now, id, &memory).unwrap());
    }
    let kept: Vec<bool> = (0..fit + 2).map(|id| !world.mux.memory(id).unwrap().pages.is_empty()).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), fit);
    assert_eq!(kept[..2], [false, false]);
}
