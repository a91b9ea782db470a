//! start, stop, restart, drain, shutdown while clients use the servers.

use serde_json::json;

use crate::station::{Station, part, result};
use crate::support::mux::Server;
use crate::support::{Watched, reason, text};

#[test]
fn a_stopped_server_keeps_its_clients_until_it_is_started() {
    let station = Station::demo(&[], "");
    let mut client = station.mux.client();
    let process = Watched::new(client.server_pid());
    let open = client.start("sleep", json!({ "ms": 600_000 }));
    station.until(|report| part(report, "a")["pending"] == 1);
    assert_eq!(station.ask("stop", json!({ "server": "a" }))["server"], "a");
    assert_eq!(reason(&client.answer(&open)), "stopped");
    process.assert_ends();
    let server = station.until_state("a", "stopped");
    assert!(server["words"].as_str().unwrap().contains("muxloop start a"), "{server}");
    assert_eq!((&server["clients"], &server["instances"]), (&json!(1), &json!(0)), "{server}");
    assert_eq!(station.status()["state"], "up");
    let answer = client.call("echo", json!({ "text": "hear" }));
    assert_eq!(reason(&answer), "stopped");
    assert!(answer["error"]["message"].as_str().unwrap().contains("stopped"), "{answer}");
    // A new client is greeted from memory and told the same.
    let mut late = station.mux.client();
    assert_eq!(reason(&late.call("echo", json!({}))), "stopped");

    station.ask("start", json!({ "server": "a" }));
    station.until_state("a", "ready");
    assert_eq!(text(&client.call("echo", json!({ "text": "again" }))), "again");
    assert_eq!(text(&late.call("echo", json!({ "text": "late" }))), "late");
    assert_ne!(client.server_pid(), process.pid);
    assert_eq!(client.violations(), json!([]));
    // Starting what runs changes nothing.
    let pid = client.server_pid();
    assert_eq!(station.ask("start", json!({ "server": "a" }))["state"], "ready");
    assert_eq!(client.server_pid(), pid);
}

#[test]
fn a_restart_tells_those_in_flight_and_serves_those_who_wait() {
    let station = Station::demo(&["--slow-start", "200"], "");
    let mut clients = [station.mux.client(), station.mux.client()];
    let process = Watched::new(clients[0].server_pid());
    let open = clients[0].start("sleep", json!({ "ms": 600_000 }));
    station.until(|report| part(report, "a")["pending"] == 1);
    station.ask("restart", json!({ "server": "a" }));
    let waiting = clients[1].start("echo", json!({ "text": "waited" }));
    assert_eq!(reason(&clients[0].answer(&open)), "restarting");
    assert_eq!(text(&clients[1].answer(&waiting)), "waited");
    process.assert_ends();
    for client in &mut clients {
        assert_ne!(client.server_pid(), process.pid);
        assert_eq!(client.violations(), json!([]));
    }
    let server = station.server("a");
    assert_eq!((&server["restarts"], &server["attempt"]), (&json!(1), &json!(0)), "{server}");
}

#[test]
fn servers_with_a_process_per_client_are_steered_as_one() {
    let station = Station::demo(&[], "share = \"session\"");
    let mut clients = [station.mux.client(), station.mux.client(), station.mux.client()];
    let pids: Vec<i32> = clients.iter_mut().map(|client| client.server_pid()).collect();
    let processes: Vec<Watched> = pids.iter().map(|pid| Watched::new(*pid)).collect();
    assert_eq!(station.server("a")["instances"], 3);
    station.ask("restart", json!({ "server": "a" }));
    processes.iter().for_each(Watched::assert_ends);
    for (client, old) in clients.iter_mut().zip(&pids) {
        assert_eq!(text(&client.call("echo", json!({ "text": "new" }))), "new");
        assert_ne!(client.server_pid(), *old);
    }
    station.ask("stop", json!({ "server": "a" }));
    station.until_state("a", "stopped");
    for client in &mut clients {
        assert_eq!(reason(&client.call("echo", json!({}))), "stopped");
    }
    station.ask("start", json!({ "server": "a" }));
    for client in &mut clients {
        assert_eq!(text(&client.call("echo", json!({ "text": "back" }))), "back");
    }
    assert_eq!(station.server("a")["clients"], 3);
}

#[test]
fn starting_a_server_that_was_given_up_counts_its_attempts_anew() {
    let flag = "test -e DIR/cured || exit 4; exec BINARY demo-server --name a";
    let keys = "max_restarts = 1\nrestart_backoff_ms = 10\nrestart_backoff_max_ms = 10";
    let station = Station::start("", &[Server::script("a", flag).keys(keys)]);
    let server = station.until_state("a", "failed");
    assert_eq!((&server["attempt"], &server["restarts"]), (&json!(1), &json!(1)));
    // Still broken: the attempts begin again and end again.
    station.ask("start", json!({ "server": "a" }));
    let report = station.until(|report| {
        let server = part(report, "a");
        server["state"] == "failed" && server["restarts"] == 2
    });
    assert_eq!(part(&report, "a")["attempt"], 1);
    std::fs::write(station.mux.path("cured"), "").unwrap();
    station.ask("start", json!({ "server": "a" }));
    let server = station.until_state("a", "ready");
    assert_eq!(server["attempt"], 0, "{server}");
    assert_eq!(text(&station.mux.client().call("echo", json!({ "text": "cured" }))), "cured");
}

#[test]
fn a_lazy_server_can_be_started_stopped_and_restarted_without_a_client() {
    let station = Station::demo(&[], "lazy_start = true");
    for (verb, state) in [("start", "ready"), ("restart", "ready"), ("stop", "stopped"), ("start", "ready")] {
        station.ask(verb, json!({ "server": "a" }));
        let server = station.until_state("a", state);
        assert_eq!(server["instances"], usize::from(state == "ready"), "{verb}: {server}");
    }
}

#[test]
fn a_drain_waits_for_the_busy_and_closes_the_idle() {
    let mut station = Station::demo(&[], "");
    let (mut idle, mut busy) = (station.mux.client(), station.mux.client());
    let process = Watched::new(busy.server_pid());
    let open = busy.start("sleep", json!({ "ms": 1_500 }));
    station.until(|report| part(report, "a")["pending"] == 1);
    let mut control = station.control();
    // The idle one has gone by then.
    assert_eq!(result(control.ask("drain", json!({ "timeout_ms": 60_000 })))["clients"], 1);
    assert_eq!(result(control.ask("status", json!({})))["state"], "draining");
    assert!(idle.rest().is_empty());
    // One that comes too late is told when it asks; while it is silent it holds nothing up.
    let (mut late, _silent) = (station.mux.connect("a"), station.mux.connect("a"));
    late.send(&crate::support::initialize(0, json!({})));
    let refusal = late.message();
    assert!(refusal["error"]["message"].as_str().unwrap().contains("stopping"), "{refusal}");
    assert!(busy.answer(&open)["result"].is_object());
    assert!(busy.rest().is_empty());
    let answered = std::time::Instant::now();
    assert!(station.mux.ended().success());
    assert!(answered.elapsed().as_secs() < 4, "it waited for something else");
    process.assert_ends();
    assert!(!station.mux.socket("a").exists() && !station.mux.path("control.sock").exists());
}

#[test]
fn a_drain_ends_at_its_timeout_and_an_endless_one_does_not() {
    let mut station = Station::demo(&[], "");
    let mut busy = station.mux.client();
    let open = busy.start("sleep", json!({ "ms": 600_000 }));
    station.until(|report| part(report, "a")["pending"] == 1);
    station.ask("drain", json!({ "timeout_ms": u64::MAX }));
    assert_eq!(station.status()["state"], "draining");
    station.ask("drain", json!({ "timeout_ms": 200 }));
    assert_eq!(reason(&busy.answer(&open)), "stopped");
    assert!(station.mux.ended().success());
}

#[test]
fn shutdown_is_answered_and_ends_it() {
    let mut station = Station::demo(&[], "");
    let process = Watched::new(station.mux.client().server_pid());
    let mut control = station.control();
    station.write(&[Server::demo("a", &[]), Server::demo("b", &[])]);
    // What comes after it in the same breath neither starts anything nor keeps it alive.
    control.send_line(concat!(
        "{\"id\":1,\"method\":\"shutdown\"}\n{\"id\":2,\"method\":\"reload\"}\n",
        "{\"id\":3,\"method\":\"start\",\"params\":{\"server\":\"a\"}}"
    ));
    assert_eq!(control.answer(&json!(1))["result"], json!({}));
    control.rest();
    assert!(station.mux.ended().success());
    process.assert_ends();
    assert!(!station.mux.path("control.sock").exists());
}
