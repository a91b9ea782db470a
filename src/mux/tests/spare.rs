//! Spare processes (B06): started ahead, told nothing, taken by who needs a process of its own.

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{EraPolicy, ServerPolicy, Share};
use crate::mux::{CloseReason, StopStep};
use serde_json::json;

fn spares(spare: usize) -> ServerPolicy {
    ServerPolicy { share: Share::Session, spare, era: EraPolicy::Auto, ..policy() }
}

/// Longer than a server waits before it starts another spare.
const SOON: u64 = 100;

fn running(world: &World) -> (usize, usize) {
    let status = world.mux.server_status(world.now, 0).expect("the server is there");
    (status.processes, status.spares)
}

/// The client's `initialize` reaches this process, in the client's own words.
fn greets(world: &mut World, client: Key, child: Child) {
    world.says(client, initialize("2025-06-18", json!({ "roots": {} })));
    let asked = world.hears_of(child, "initialize");
    assert_eq!(asked["params"]["capabilities"], json!({ "roots": {} }));
    assert_eq!(asked["params"]["protocolVersion"], "2025-06-18");
    world.says(
        child,
        json!({ "id": asked["id"], "result": { "protocolVersion": "2025-06-18", "capabilities": {},
        "serverInfo": { "name": "child", "version": "1" } } }),
    );
    world.hears_of(child, "notifications/initialized");
    assert!(world.hears(client)["result"].is_object());
}

#[test]
fn a_spare_runs_ungreeted_and_is_the_first_clients() {
    for era in [EraPolicy::Auto, EraPolicy::Legacy] {
        let mut world = World::new([ServerPolicy { era, ..spares(1) }]);
        let spare = world.child();
        world.advance(3_600_000);
        world.silent(spare);
        world.no_start();
        assert_eq!((running(&world), world.mux.clients()), ((1, 1), 0));
        let client = world.client();
        greets(&mut world, client, spare);
        world.no_start();
        assert_eq!(running(&world), (1, 0));
        world.advance(SOON);
        let next = world.child();
        world.no_start();
        assert_eq!(running(&world), (2, 1));
        let other = world.client();
        greets(&mut world, other, next);
        world.leaves(other);
        assert_eq!(world.stops(next), [StopStep::CloseInput]);
    }
}

#[test]
fn a_modern_client_takes_a_spare_as_well() {
    let mut world = World::new([spares(1)]);
    let (spare, client) = (world.child(), world.client());
    world.says(client, modern(1, "tools/list", json!({})));
    world.discover(spare, 1_000);
    assert_eq!(world.hears(spare)["method"], "tools/list");
}

/// What the operator says of the era holds for a spare that runs already.
#[test]
fn a_spare_is_greeted_in_the_era_of_its_server() {
    let mut world = World::new([ServerPolicy { era: EraPolicy::Modern, ..spares(1) }]);
    let (spare, client) = (world.child(), world.client());
    world.says(client, initialize("2025-11-25", json!({})));
    world.discover(spare, 60_000);
    assert_eq!(world.hears(client)["result"]["protocolVersion"], "2025-11-25");
}

/// Clients that come at once find the spares there are, and start what is lacking.
#[test]
fn more_clients_than_spares() {
    let mut world = World::new([spares(2)]);
    let spares = [world.child(), world.child()];
    let clients: [Key; 3] = std::array::from_fn(|_| world.client());
    greets(&mut world, clients[0], spares[0]);
    greets(&mut world, clients[1], spares[1]);
    world.says(clients[2], initialize("2025-11-25", json!({})));
    let own = world.child();
    world.shake_hands(own, json!({}));
    world.no_start();
    world.advance(SOON);
    let again = [world.child(), world.child()];
    world.no_start();
    again.iter().for_each(|spare| world.silent(*spare));
    assert_eq!(running(&world), (5, 2));
}

/// One that was only asked for is better than another one, and one that runs is better still.
#[test]
fn a_spare_that_starts_is_taken_too() {
    let mut world = World::new([spares(1)]);
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    let child = world.child();
    world.no_start();
    assert_eq!(world.hears(child)["method"], "initialize");
}

#[test]
fn a_lazy_server_has_spares_from_its_first_client_on() {
    let mut world = World::new([ServerPolicy { lazy_start: true, ..spares(1) }]);
    world.no_start();
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    let own = world.child();
    world.shake_hands(own, json!({}));
    world.advance(SOON);
    let spare = world.child();
    world.silent(spare);
    world.leaves(client);
    world.with(|mux, now, out| mux.change_spare(now, 0, 2, out));
    let another = world.child();
    world.with(|mux, now, out| mux.change_spare(now, 0, 1, out));
    assert_eq!((world.stops(spare), world.stops(another)), (vec![], vec![StopStep::CloseInput]));

    let mut world = World::new([ServerPolicy { lazy_start: true, ..spares(1) }]);
    world.with(|mux, now, out| mux.change_spare(now, 0, 2, out));
    world.no_start();
}

#[test]
fn a_spare_that_dies_is_replaced_with_backoff_until_it_is_given_up() {
    let mut world = World::new([ServerPolicy { max_restarts: 2, ..spares(1) }]);
    for restarts in 1..=2 {
        let spare = world.child();
        world.exits(spare, "exited with status 1");
        world.no_start();
        assert_eq!(world.state(), "backoff");
        world.advance(2_000);
        assert_eq!(world.mux.server_status(world.now, 0).unwrap().restarts, restarts);
    }
    world.start_fails("no such program");
    world.advance(3_600_000);
    world.no_start();
    assert_eq!(world.state(), "failed");
    // Who comes is not told of that: its own process may well start. If so, there are spares again.
    let client = world.client();
    world.says(client, initialize("2025-11-25", json!({})));
    let own = world.child();
    world.shake_hands(own, json!({}));
    assert!(world.hears(client)["result"].is_object());
    world.advance(SOON);
    let spare = world.child();
    world.no_start();
    world.silent(spare);
    assert_eq!(running(&world), (2, 1));
}

/// Servers that end when nothing is said for some time: each such end is not one of a row.
#[test]
fn a_spare_that_lived_long_is_not_given_up() {
    let mut world = World::new([ServerPolicy { max_restarts: 1, ..spares(1) }]);
    for _ in 0..5 {
        let spare = world.child();
        world.advance(600_000);
        world.exits(spare, "exited with status 0");
        world.advance(2_000);
    }
    world.child();
}

#[test]
fn a_spare_that_closes_its_output_is_replaced() {
    let mut world = World::new([spares(1)]);
    let spare = world.child();
    world.with(|mux, now, out| mux.handle_closed(now, spare.link, CloseReason::PeerClosed, out));
    assert_eq!(world.stops(spare), [StopStep::CloseInput]);
    world.exits(spare, "exited with status 0");
    world.advance(2_000);
    world.child();
}

#[test]
fn spares_are_stopped_and_started_with_their_server() {
    let mut world = World::new([spares(2)]);
    let spares = [world.child(), world.child()];
    world.with(|mux, now, out| mux.stop_server(now, 0, out));
    for spare in spares {
        assert_eq!(world.stops(spare), [StopStep::CloseInput]);
        world.exits(spare, "exited with status 0");
    }
    world.advance(60_000);
    world.no_start();
    world.with(|mux, now, out| mux.start_server(now, 0, out));
    let spares = [world.child(), world.child()];
    world.no_start();
    world.with(|mux, now, out| mux.restart_server(now, 0, out));
    for spare in spares {
        assert_eq!(world.stops(spare), [StopStep::CloseInput]);
        world.exits(spare, "exited with status 0");
        world.child();
    }
    world.no_start();
}

#[test]
fn another_number_of_spares_disturbs_nobody() {
    let mut world = World::new([spares(1)]);
    let (own, client) = (world.child(), world.client());
    greets(&mut world, client, own);
    world.advance(SOON);
    let first = world.child();
    world.with(|mux, now, out| mux.change_spare(now, 0, 3, out));
    let more = [world.child(), world.child()];
    world.no_start();
    assert_eq!(running(&world), (4, 3));
    world.with(|mux, now, out| mux.change_spare(now, 0, 0, out));
    for spare in [first, more[0], more[1]] {
        assert_eq!(world.stops(spare), [StopStep::CloseInput]);
        world.exits(spare, "exited with status 0");
    }
    world.advance(60_000);
    world.no_start();
    assert_eq!((running(&world), world.mux.sizes().instances), ((1, 0), 1));
    world.says(client, call(1, "t"));
    world.hears_of(own, "tools/call");
}

/// Those that a stopped server will not need are not started first.
#[test]
fn fewer_spares_of_a_stopped_server() {
    for only_spare in [true, false] {
        let mut world = World::new([spares(3)]);
        for spare in [world.child(), world.child(), world.child()] {
            world.with(|mux, now, out| mux.stop_server(now, 0, out));
            world.exits(spare, "exited with status 0");
        }
        world.with(|mux, now, out| match only_spare {
            true => mux.change_spare(now, 0, 1, out),
            false => mux.change_server(now, 0, ServerPolicy { max_restarts: 1, ..spares(1) }, out),
        });
        world.no_start();
        assert_eq!(world.mux.sizes().instances, 1);
        world.with(|mux, now, out| mux.start_server(now, 0, out));
        world.child();
        world.no_start();
    }
}

#[test]
fn spares_end_when_their_server_is_taken_out_although_clients_stay() {
    let mut world = World::new([spares(1)]);
    let (own, client) = (world.child(), world.client());
    greets(&mut world, client, own);
    world.says(client, call(1, "t"));
    let asked = world.hears(own);
    world.advance(SOON);
    let spare = world.child();
    world.with(|mux, now, out| mux.retire_server(now, 0, out));
    assert_eq!(world.stops(spare), [StopStep::CloseInput]);
    world.exits(spare, "exited with status 0");
    world.answers(own, &asked, json!({}));
    assert!(world.closed(client).is_some());
    world.leaves(client);
    world.exits(own, "exited with status 0");
    assert!(world.mux.is_over(0));
    assert_eq!(world.mux.sizes().instances, 0);
    world.advance(60_000);
    world.no_start();
}

#[test]
fn a_drain_and_a_shutdown_end_the_spares() {
    let mut world = World::new([spares(1)]);
    let spare = world.child();
    world.with(|mux, now, out| mux.drain(now, out));
    assert_eq!(world.stops(spare), [StopStep::CloseInput]);
    world.exits(spare, "exited with status 0");
    let mut world = World::new([spares(1)]);
    let (own, client) = (world.child(), world.client());
    greets(&mut world, client, own);
    world.with(|mux, now, out| mux.shutdown(now, out));
    world.exits(own, "exited with status 0");
    world.advance(60_000);
    world.no_start();
    assert!(world.mux.is_finished());
}

/// A spare is not idle, however long nobody comes, and is not asked whether it lives.
#[test]
fn a_spare_is_neither_stopped_as_idle_nor_pinged() {
    let policy = ServerPolicy { idle_stop_ms: Some(1_000), ..spares(1) };
    let heartbeat = ServerPolicy::new("s").heartbeat;
    let mut world = World::new([ServerPolicy { heartbeat, ..policy }]);
    let spare = world.child();
    world.advance(600_000);
    assert_eq!(world.stops(spare), []);
    world.silent(spare);
}

/// It asks something before it was told that it may: nobody is there who could be meant.
#[test]
fn a_spare_that_asks_is_refused() {
    let mut world = World::new([spares(1)]);
    let (spare, client) = (world.child(), world.client());
    world.says(spare, request("r", "roots/list", json!({})));
    assert!(world.hears(spare)["error"].is_object());
    world.says(spare, note("notifications/message", json!({ "level": "error", "data": 1 })));
    world.silent(client);
    greets(&mut world, client, spare);
}

#[test]
fn shared_processes_have_no_spares() {
    let mut world = World::new([ServerPolicy { spare: 3, ..policy() }]);
    world.child();
    world.no_start();
    world.advance(1_000);
    world.no_start();
}
