//! The life of a child (rows C01 to C08): its start, its end, and what its clients notice of both.

use serde_json::json;
use std::os::unix::fs::PermissionsExt;

use crate::support::mux::BINARY;
use crate::support::{Mux, Server, Watched, reason, structured, text};

/// Restarts at once, and again and again.
const QUICK: &str = "restart_backoff_ms = 1\nrestart_backoff_max_ms = 1\nmax_restarts = 0";

#[test]
fn a_healthy_child_is_not_restarted_by_its_heartbeat() {
    // rmcp-mux pinged with an id it then did not know, and restarted whoever answered. Here: busy for longer than
    // all misses together, then idle; and a child that knows no ping answers it all the same.
    for options in [&[][..], &["--no-ping"]] {
        let mux = Mux::demo(
            options,
            "heartbeat_interval_ms = 20\nheartbeat_timeout_ms = 5000\nheartbeat_max_failures = 1",
        );
        let mut client = mux.client();
        let pid = client.server_pid();
        assert_eq!(text(&client.call("sleep", json!({ "ms": 400 }))), "slept 400 ms");
        // Each further ping follows the answer to the one before.
        let pings = || mux.methods("a").iter().filter(|method| *method == "ping").count();
        assert!(crate::support::holds_within(crate::support::PATIENCE, || pings() >= 5));
        assert_eq!(client.server_pid(), pid);
        assert_eq!(client.fence().len(), 0, "a ping of muxloop's own is nobody else's business");
        mux.assert_logged(1, "started, pid");
        assert_eq!(mux.logged("no answer to heartbeat"), 0);
    }
}

#[test]
fn a_child_that_answers_no_heartbeat_is_restarted() {
    let mux = Mux::demo(
        &["--ignore-ping"],
        &format!(
            "heartbeat_interval_ms = 20\nheartbeat_timeout_ms = 30\nheartbeat_max_failures = 3\nstop_grace_ms = 50\n{QUICK}"
        ),
    );
    let first = mux.client().server_pid();
    mux.wait_log("no answer to heartbeat 3 of 3");
    mux.wait_logs(2, "ready, speaking");
    assert_ne!(mux.client().server_pid(), first);
}

#[test]
fn a_restarted_child_is_initialised_before_anything_else() {
    let mux = Mux::demo(&[], QUICK);
    let mut client = mux.client();
    client.ask("logging/setLevel", json!({ "level": "error" }));
    client.ask("resources/subscribe", json!({ "uri": "demo://counter" }));
    let first = client.server_pid();
    let before = mux.methods("a").len();

    let failed = client.call("crash", json!({ "code": 7 }));
    assert_eq!(reason(&failed), "restarting");
    assert!(failed["error"]["data"]["muxloop"]["retryInMs"].is_u64(), "{failed}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("exited with status 7"), "{failed}");

    let second = client.server_pid();
    assert_ne!(second, first);
    assert_eq!(client.violations(), json!([]));
    let methods = mux.methods("a");
    assert_eq!(methods[before], "tools/call", "the crash itself");
    assert_eq!(methods[before + 1..before + 3], ["initialize", "notifications/initialized"]);
    // What clients had set up is set up again, and they are told to look again.
    let replayed = &methods[before + 3..];
    assert!(replayed.iter().any(|method| method == "logging/setLevel"), "{replayed:?}");
    assert!(replayed.iter().any(|method| method == "resources/subscribe"), "{replayed:?}");
    client.incoming("notifications/tools/list_changed");
    let mut other = mux.client();
    other.call("counter_add", json!({}));
    // One after the restart, and one for the change.
    for _ in 0..2 {
        let update = client.incoming("notifications/resources/updated");
        assert_eq!(update["params"]["uri"], "demo://counter");
    }
}

#[test]
fn a_call_of_a_harmless_tool_outlives_the_process() {
    let mux = Mux::demo(&[], "restart_backoff_ms = 1");
    let (mut one, mut two) = (mux.client(), mux.client());
    one.ask("tools/list", json!({}));
    let slept = one.start("sleep", json!({ "ms": 300 }));
    one.near_fence();
    assert_eq!(reason(&two.call("crash", json!({}))), "restarting");
    assert!(text(&one.answer(&slept)).contains("300"), "answered by the next process");
    // What else it hears is that lists may have changed with the process.
    one.incoming("notifications/tools/list_changed");
    assert_eq!(one.fence(), [] as [serde_json::Value; 0]);
    mux.wait_logs(2, "started, pid");
}

#[test]
fn requests_wait_for_a_restart_and_those_in_flight_are_told_of_it() {
    let mux = Mux::demo(&[], "restart_backoff_ms = 300\nrestart_backoff_max_ms = 300");
    let (mut one, mut two) = (mux.client(), mux.client());
    let slept = one.start("sleep", json!({ "ms": 60_000 }));
    one.near_fence();
    // In flight beside it, and never to be answered by a process.
    assert_eq!(reason(&two.call("crash", json!({ "code": 3 }))), "restarting");
    assert_eq!(reason(&one.answer(&slept)), "restarting");
    // It is down for 225 ms at least: this waits.
    assert_eq!(text(&two.call("echo", json!({ "text": "later" }))), "later");
    mux.wait_log("next start in");
    mux.wait_logs(2, "started, pid");
}

#[test]
fn requests_are_answered_at_once_after_the_last_restart() {
    let mux = Mux::demo(
        &["--die-at-start", "9"],
        "restart_backoff_ms = 1\nrestart_backoff_max_ms = 1\nmax_restarts = 2\nlazy_start = true\nera = \"legacy\"",
    );
    let mut client = mux.connect("a");
    let answer = client.ask(
        "initialize",
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } }),
    );
    // It waited through all attempts, well within its own deadline.
    assert_eq!(reason(&answer), "failed");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("after 2 restarts") && message.contains("exited with status 9"), "{message}");
    mux.wait_logs(3, "started, pid");
    for _ in 0..2 {
        let id = client.request(
            "initialize",
            json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } }),
        );
        assert_eq!(reason(&client.answer(&id)), "failed");
    }
    // Nobody tries again unasked.
    mux.assert_logged(3, "started, pid");
}

#[test]
fn pauses_between_restarts_grow_to_their_maximum() {
    let mux = Mux::demo(
        &["--die-at-start", "1"],
        "restart_backoff_ms = 16\nrestart_backoff_max_ms = 64\nmax_restarts = 5\nera = \"legacy\"",
    );
    mux.wait_log("given up after 5 restarts");
    for (attempt, full) in [(1, 16), (2, 32), (3, 64), (4, 64), (5, 64)] {
        let line = mux.wait_log(&format!("(attempt {attempt})"));
        let pause = line.split("next start in ").nth(1).unwrap().split(' ').next().unwrap();
        let pause: u64 = pause.parse().unwrap();
        assert!((full - full / 4..=full).contains(&pause), "{line}");
    }
}

#[test]
fn a_killed_child_is_replaced_and_a_mute_one_too() {
    let mux = Mux::start(&[
        Server::demo("a", &[]).keys(QUICK),
        Server::demo("mute", &["--close-stdout-after", "3"]).keys(QUICK).keys("stop_grace_ms = 100"),
    ]);
    let mut client = mux.client();
    for _ in 0..3 {
        let pid = client.server_pid();
        let watched = Watched::new(pid);
        muxloop::reactor::sys::signal_process(pid, libc::SIGKILL).unwrap();
        watched.assert_ends();
        // muxloop may not know yet: an error that says so, or an answer of the next process.
        let answer = client.call("whoami", json!({}));
        match answer.get("result") {
            Some(_) => assert_ne!(structured(&answer)["pid"], pid),
            None => assert_eq!(reason(&answer), "restarting"),
        }
        assert_ne!(client.server_pid(), pid);
    }
    let mut client = mux.client_of("mute", json!({}));
    let pid = client.server_pid();
    // Its third request; after it its output is closed, but the process lives on.
    let third = client.call("echo", json!({ "text": "x" }));
    assert!(third.get("result").is_some() || reason(&third) == "restarting", "{third}");
    mux.wait_log("server mute: its output was closed");
    assert_ne!(client.server_pid(), pid);
}

#[test]
fn a_request_times_out_is_cancelled_and_forgotten() {
    let mux = Mux::demo(&[], "request_timeout_ms = 150");
    let mut client = mux.client();
    let answer = client.call("sleep", json!({ "ms": 60_000 }));
    assert_eq!(reason(&answer), "timeout");
    assert!(answer["error"]["message"].as_str().unwrap().contains("did not answer within 15"), "{answer}");
    assert_eq!(client.fence().len(), 0);
    let journal = mux.journal("a");
    let sent = journal.iter().find(|message| message["params"]["name"] == "sleep").unwrap();
    let cancel = journal.iter().find(|message| message["method"] == "notifications/cancelled").unwrap();
    assert_eq!(cancel["params"]["requestId"], sent["id"]);
    assert_eq!(client.violations(), json!([]));
}

#[test]
fn progress_extends_a_request_but_not_for_ever() {
    let mux = Mux::start(&[
        Server::demo("a", &[]).keys("request_timeout_ms = 700"),
        Server::demo("b", &[]).keys("request_timeout_ms = 500\nrequest_timeout_max_ms = 800"),
    ]);
    let sleep = |ms: u64, steps: u64| {
        json!({
            "name": "sleep", "arguments": { "ms": ms, "steps": steps }, "_meta": { "progressToken": "p" },
        })
    };
    let mut client = mux.client();
    let answer = client.ask("tools/call", sleep(1200, 24));
    assert_eq!(text(&answer), "slept 1200 ms");
    let mut client = mux.client_of("b", json!({}));
    let answer = client.ask("tools/call", sleep(60_000, 1200));
    assert_eq!(reason(&answer), "timeout");
    let seen = client.fence();
    assert!(seen.iter().all(|message| message["params"]["progressToken"] == "p"), "{seen:?}");
    assert!(seen.len() >= 3, "progress had come");
}

#[test]
fn a_lazy_server_starts_with_its_first_request_and_stops_when_idle() {
    let mux = Mux::demo(&[], "lazy_start = true\nidle_stop_ms = 100");
    let mut client = mux.connect("a");
    client.near_fence();
    assert_eq!(mux.logged("started, pid"), 0, "neither a connection nor a ping needs it");
    client.greet(json!({}));
    let pid = client.server_pid();
    let first = Watched::new(pid);
    first.assert_ends();
    mux.wait_log("stopped after 100 ms without use");
    let second = client.server_pid();
    assert_ne!(second, pid);
    assert_eq!(mux.methods("a").iter().filter(|method| *method == "initialize").count(), 2);
    // A subscription needs the process.
    client.ask("resources/subscribe", json!({ "uri": "demo://counter" }));
    let watched = Watched::new(client.server_pid());
    assert!(!watched.ends_within(std::time::Duration::from_millis(400)), "it is needed");
}

#[test]
fn what_cannot_be_started_is_explained_to_whoever_asks() {
    let mux = Mux::start(&[
        Server::command("missing", "muxloop-no-such-program"),
        Server::command("plain", "DIR-plain"),
        Server::command("nowhere", BINARY).keys("cwd = \"DIR/none\""),
    ]);
    std::fs::write(mux.path("DIR-plain"), "text").unwrap();
    std::fs::set_permissions(mux.path("DIR-plain"), std::fs::Permissions::from_mode(0o644)).unwrap();
    for (server, words) in
        [("missing", &["muxloop-no-such-program"][..]), ("plain", &["DIR-plain"]), ("nowhere", &["none"])]
    {
        let mut client = mux.connect(server);
        client.send(&crate::support::initialize(1, json!({})));
        let answer = client.answer(&json!(1));
        assert_eq!(reason(&answer), "spawn");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(&format!("'{server}'")), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        println!("{message}");
    }
}

#[test]
fn a_handshake_that_stays_unanswered_is_an_error_that_says_so() {
    let mux = Mux::demo(
        &["--hang-initialize"],
        "startup_timeout_ms = 200\nera = \"legacy\"\nlazy_start = true\nstop_grace_ms = 50",
    );
    let mut client = mux.connect("a");
    client.send(&crate::support::initialize(1, json!({})));
    let answer = client.answer(&json!(1));
    assert_eq!(reason(&answer), "handshake");
    assert!(answer["error"]["message"].as_str().unwrap().contains("startup_timeout_ms"), "{answer}");
}

#[test]
fn a_child_that_writes_what_is_not_mcp_goes_on_serving() {
    // One line that is not JSON ended rmcp-mux's reader. Each row: the fault, and what the log must quote.
    let table: &[(&[&str], &str)] = &[
        (&["--noise"], "is not MCP"),
        (&["--garbage-json"], "is not MCP"),
        (&["--invalid-utf8"], "not valid UTF-8"),
        (&["--giant-line", "40000000"], "exceeds the limit of 33554432 bytes"),
        (&["--crlf"], "ready, speaking"),
        (&["--batch"], "ready, speaking"),
        (&["--duplicate-answers"], "an answer nobody waits for was dropped"),
        (&["--answer-unknown"], "an answer nobody waits for was dropped"),
        (&["--stderr-flood", "2000"], "server i: stderr: "),
    ];
    let servers: Vec<Server> = (0..table.len())
        .map(|row| {
            let name = ["a", "b", "c", "d", "e", "f", "g", "h", "i"][row];
            Server::demo(name, table[row].0).keys("heartbeat_enabled = false")
        })
        .collect();
    let mux = Mux::start(&servers);
    for (row, (options, _)) in table.iter().enumerate() {
        let name = ["a", "b", "c", "d", "e", "f", "g", "h", "i"][row];
        let mut client = mux.client_of(name, json!({}));
        let mut other = mux.client_of(name, json!({}));
        let pid = client.server_pid();
        for round in 0..20 {
            let (mine, theirs) = (format!("mine {round}"), format!("theirs {round}"));
            let asked = client.start("echo", json!({ "text": mine }));
            assert_eq!(text(&other.call("echo", json!({ "text": theirs }))), theirs, "{options:?}");
            assert_eq!(text(&client.answer(&asked)), mine, "{options:?}");
        }
        assert_eq!(client.server_pid(), pid, "{options:?}");
        assert_eq!(client.fence(), [] as [serde_json::Value; 0], "{options:?}");
        assert_eq!(client.violations(), json!([]), "{options:?}");
    }
    for (_, logged) in table {
        mux.wait_log(logged);
    }
}
