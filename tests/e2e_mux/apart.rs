//! Processes that are not shared (row B06): one for each request, and spares that were started before.

use muxloop::reactor::procfs;
use serde_json::{Value, json};

use crate::support::process::descendants;
use crate::support::{Client, Mux, PATIENCE, Watched, holds_within, reason, structured, text};

/// The processes of demo servers below muxloop; it keeps one of its own, which ends them should it be killed.
fn processes(mux: &Mux) -> Vec<i32> {
    let is_server = |pid: &i32| procfs::command(*pid).contains("demo-server");
    descendants(mux.pid).into_iter().filter(is_server).collect()
}

#[track_caller]
fn assert_left(mux: &Mux, count: usize) {
    assert!(holds_within(PATIENCE, || processes(mux).len() == count), "{:?}", processes(mux));
}

/// The process that muxloop started as number `count`, counted from 1.
fn started(mux: &Mux, count: usize) -> i32 {
    let line = mux.wait_logs(count, "started, pid");
    let pid = line.rsplit("pid ").next().unwrap();
    pid.trim().parse().unwrap_or_else(|_| panic!("no pid: {line}"))
}

#[test]
fn each_request_has_a_process_of_its_own_and_none_is_left() {
    let mux = Mux::demo(&[], "share = \"request\"");
    let mut clients = [mux.client(), mux.client()];
    let mut seen = Vec::new();
    for _ in 0..3 {
        for client in &mut clients {
            let pid = client.server_pid();
            assert!(!seen.contains(&pid), "{pid} again");
            seen.push(pid);
        }
    }
    // Many at once, under the same ids, and each gets its own.
    let calls: Vec<Value> =
        (0..2).flat_map(|_| clients.each_mut().map(|client| client.start("whoami", json!({})))).collect();
    for (at, id) in calls.iter().enumerate() {
        let answer = clients[at % 2].answer(id);
        let pid = structured(&answer)["pid"].as_i64().unwrap() as i32;
        assert!(!seen.contains(&pid), "{pid} again");
        seen.push(pid);
    }
    assert!(clients.iter_mut().all(|client| client.fence().is_empty()));
    assert_left(&mux, 0);
    // What one request leaves in a process is not there for the next.
    for _ in 0..2 {
        let answer = clients[0].call("counter_add", json!({ "by": 5 }));
        assert_eq!(structured(&answer)["value"], 5);
    }
    // Each was greeted, once, before it was asked.
    let greetings = mux.methods("a").iter().filter(|method| *method == "initialize").count();
    mux.wait_logs(greetings, "started, pid");
    assert_eq!(greetings, mux.logged("started, pid"));
}

#[test]
fn questions_and_cancels_find_the_process_of_their_request() {
    let mux = Mux::demo(&[], "share = \"request\"");
    let (mut asked, mut other) = (mux.client_of("a", json!({ "roots": {} })), mux.client());
    let id = asked.start("ask", json!({ "via": "roots" }));
    let question = asked.incoming("roots/list");
    asked.send(&json!({ "jsonrpc": "2.0", "id": question["id"],
        "result": { "roots": [{ "uri": "file:///mine" }] } }));
    assert_eq!(text(&asked.answer(&id)), "file:///mine");
    assert_left(&mux, 0);

    let long = asked.start("sleep", json!({ "ms": 600_000 }));
    let short = other.start("sleep", json!({ "ms": 600_000 }));
    assert!(holds_within(PATIENCE, || processes(&mux).len() == 2));
    asked.notify("notifications/cancelled", json!({ "requestId": long }));
    assert_left(&mux, 1);
    assert!(asked.fence().is_empty());
    // A client that is gone.
    drop(other);
    assert_left(&mux, 0);
    assert!(short.is_number());
}

#[test]
fn a_request_whose_process_dies_fails_alone() {
    let mux = Mux::demo(&[], "share = \"request\"");
    let mut client = mux.client();
    let long = client.start("sleep", json!({ "ms": 600_000 }));
    assert!(holds_within(PATIENCE, || processes(&mux).len() == 1));
    let answer = client.call("crash", json!({}));
    assert_eq!(reason(&answer), "restarting", "{answer}");
    assert_left(&mux, 1);
    client.server_pid();
    client.notify("notifications/cancelled", json!({ "requestId": long }));
    assert_left(&mux, 0);
}

#[test]
fn clients_and_requests_find_a_process_that_runs_already() {
    let mux = Mux::demo(&[], "share = \"session\"\nspare = 1");
    for client in 1..=3 {
        let spare = started(&mux, client);
        assert_eq!(mux.client().server_pid(), spare);
    }
    let mux = Mux::demo(&[], "share = \"request\"\nspare = 1");
    let first = Watched::new(started(&mux, 1));
    let mut client = mux.client();
    // `initialize` took that one.
    first.assert_ends();
    for request in 2..=4 {
        let spare = started(&mux, request);
        assert_eq!(client.server_pid(), spare);
    }
    started(&mux, 5);
    assert_left(&mux, 1);
    drop(client);
    assert_left(&mux, 1);
}

#[test]
fn a_spare_is_told_nothing_and_is_no_client() {
    let mux = Mux::demo(&[], "share = \"session\"\nspare = 2\nmax_active_clients = 1");
    let (one, two) = (Watched::new(started(&mux, 1)), Watched::new(started(&mux, 2)));
    let mut client = mux.client();
    let taken = client.server_pid();
    assert!(one.lives() && two.lives() && [one.pid, two.pid].contains(&taken));
    let greetings = mux.methods("a").iter().filter(|method| *method == "initialize").count();
    assert_eq!(greetings, 1, "{:?}", mux.methods("a"));
    assert_eq!(client.violations(), json!([]));
}

#[test]
fn a_spare_that_dies_is_replaced() {
    let mux = Mux::demo(&[], "share = \"session\"\nspare = 1\nrestart_backoff_ms = 1");
    for restart in 1..=3 {
        let spare = Watched::new(started(&mux, restart));
        muxloop::reactor::sys::signal_process(spare.pid, libc::SIGKILL).unwrap();
        spare.assert_ends();
    }
    let spare = started(&mux, 4);
    assert_eq!(mux.client().server_pid(), spare);
}

#[test]
fn no_spare_outlives_muxloop() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let mut mux = Mux::demo(&["--ignore-term"], "share = \"request\"\nspare = 3\nstop_grace_ms = 50");
        let spares: Vec<Watched> = (1..=3).map(|count| Watched::new(started(&mux, count))).collect();
        let mut client = mux.client();
        client.start("sleep", json!({ "ms": 600_000 }));
        started(&mux, 5);
        let all: Vec<Watched> = descendants(mux.pid).into_iter().map(Watched::new).collect();
        assert!(all.len() > 3);
        mux.signal(signal);
        mux.ended();
        spares.iter().chain(&all).for_each(Watched::assert_ends);
    }
}

/// Every request is answered, although each needs a process and there may be four of them at once.
#[test]
fn many_requests_at_once_wait_their_turn() {
    let mux = Mux::demo(&[], "share = \"request\"\nspare = 2\nmax_in_flight_per_client = 4");
    let mut client = mux.client();
    let ids: Vec<Value> = (0..40).map(|n| client.start("echo", json!({ "text": n.to_string() }))).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(text(&client.answer(id)), n.to_string());
        // Four of this client's, and two spares.
        assert!(processes(&mux).len() <= 6);
    }
    assert_left(&mux, 2);
    assert!(mux.connect("a").greet(json!({}))["capabilities"]["resources"].get("subscribe").is_none());
    assert_eq!(Client::fence(&mut client), [] as [Value; 0]);
}
