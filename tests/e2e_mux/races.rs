//! Moments that are easily got wrong: things that happen while something else is under way.

use muxloop::reactor::{procfs, sys};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::support::mux::{Mux, Scratch, Server};
use crate::support::{Client, PATIENCE, Watched, holds_within, initialize, reason, text};

#[test]
fn kill_9_at_any_moment_of_the_start_leaves_nobody() {
    let tree = "BINARY demo-server --spawn-grandchild; exit $?";
    let moments = [("listening on", 1), ("listening on", 3), ("started, pid", 1), ("started, pid", 2)];
    let moments = moments.iter().chain(&[("started, pid", 3), ("is up", 1), ("is up", 2), ("is up", 3)]);
    for (what, count) in moments.cycle().take(24) {
        let dir = Arc::new(Scratch::new());
        // What the daemon starts inherits this.
        let home = dir.0.to_str().unwrap().to_owned();
        let mut mux = Mux::start_in(
            dir,
            &["a", "b", "c"].map(|name| Server::script(name, tree).keys("era = \"legacy\"")),
        );
        let mine = || -> Vec<String> {
            let all = procfs::all().into_iter();
            let mine = all.filter(|pid| procfs::variable(*pid, "HOME").as_ref() == Some(&home));
            mine.map(|pid| format!("{pid} {}", procfs::command(pid))).collect()
        };
        mux.wait_logs(*count, what);
        // Itself, and of each complete tree a shell, a server and a grandchild.
        let complete = if *what == "is up" { 3 * count } else { 0 };
        assert!(mine().len() > complete, "{:?}", mine());
        mux.signal(libc::SIGKILL);
        mux.ended();
        assert!(
            holds_within(Duration::from_secs(2), || mine().is_empty()),
            "after {what} {count}: {:?}",
            mine()
        );
    }
}

#[test]
fn requests_that_meet_an_idle_stop_are_served_by_the_next_process() {
    let mux = Mux::demo(&[], "idle_stop_ms = 1");
    let (mut one, mut two) = (mux.client(), mux.client());
    for round in 0..60 {
        let mine = one.start("echo", json!({ "text": round.to_string() }));
        assert_eq!(text(&two.call("echo", json!({ "text": "x" }))), "x");
        assert_eq!(text(&one.answer(&mine)), round.to_string());
        if round % 3 == 0 {
            // Now it is down or about to be.
            mux.wait_logs(mux.logged("started, pid"), "without use");
        }
    }
    mux.wait_logs(20, "started, pid");
    assert_eq!(one.violations(), json!([]));
}

#[test]
fn clients_that_leave_before_the_handshake_is_done_disturb_nobody() {
    for era in ["auto", "legacy"] {
        let mux = Mux::demo(&["--slow-start", "150"], &format!("lazy_start = true\nera = \"{era}\""));
        for _ in 0..4 {
            let mut hasty = mux.connect("a");
            hasty.send(&initialize(1, json!({})));
            hasty.near_fence();
        }
        mux.wait_logs(4, "left:");
        let mut client = mux.client();
        assert_eq!(client.fence(), [] as [Value; 0]);
        assert_eq!(client.violations(), json!([]));
        let is_greeting = |method: &&String| matches!(method.as_str(), "initialize" | "server/discover");
        assert_eq!(mux.methods("a").iter().filter(is_greeting).count(), 1);
    }
}

#[test]
fn a_request_that_waits_for_a_start_has_its_own_deadline() {
    let mux = Mux::demo(
        &["--die-at-start", "5"],
        "request_timeout_ms = 300\nstartup_timeout_ms = 300\nrestart_backoff_ms = 60000\nrestart_backoff_max_ms = 60000\nlazy_start = true",
    );
    let mut client = mux.connect("a");
    client.send(&initialize(1, json!({})));
    let answer = client.answer(&json!(1));
    assert_eq!(reason(&answer), "timeout");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("was not ready within") && message.contains("exited with status 5"),
        "{message}"
    );
}

#[test]
fn a_process_of_ones_own_is_replaced_for_its_client_only() {
    let mux = Mux::demo(&[], "share = \"session\"\nrestart_backoff_ms = 1");
    let (mut one, mut two) = (mux.client(), mux.client());
    let (first, second) = (one.server_pid(), two.server_pid());
    assert_eq!(reason(&one.call("crash", json!({ "code": 4 }))), "restarting");
    assert_ne!(one.server_pid(), first);
    assert_eq!(one.violations(), json!([]));
    assert_eq!(two.server_pid(), second);
    assert_eq!(two.fence(), [] as [Value; 0]);
    // Gone in the middle of a restart: nothing is started for nobody.
    one.start("crash", json!({}));
    drop(one);
    mux.wait_log("left:");
    two.fence();
    assert!(
        holds_within(PATIENCE, || procfs::children(mux.pid).len() <= 2),
        "{:?}",
        procfs::children(mux.pid)
    );
}

#[test]
fn an_idle_modern_server_is_asked_in_its_own_words() {
    let mux = Mux::demo(&["--era", "modern"], "era = \"modern\"\nheartbeat_interval_ms = 20");
    let asked = || mux.methods("a").iter().filter(|method| *method == "server/discover").count();
    assert!(holds_within(PATIENCE, || asked() >= 4));
    assert_eq!(mux.methods("a").iter().filter(|method| *method == "ping").count(), 0);
    mux.assert_logged(1, "started, pid");
}

#[test]
fn a_crowd_is_refused_one_by_one_and_leaves_no_trace() {
    let mux = Mux::demo(&[], "max_active_clients = 2");
    let (mut one, mut two) = (mux.client(), mux.client());
    one.fence();
    let before = crate::support::process::descriptors(mux.pid);
    let mut crowd: Vec<Client> = (0..300).map(|_| mux.connect("a")).collect();
    for (at, client) in crowd.iter_mut().enumerate() {
        // Some say nothing useful, some nothing at all.
        match at % 3 {
            0 => client.send(&initialize(1, json!({}))),
            1 => client.send_line("x"),
            _ => {}
        }
    }
    for client in crowd.iter_mut().step_by(3) {
        assert_eq!(reason(&client.answer(&json!(1))), "max_active_clients");
    }
    drop(crowd);
    assert_eq!(two.fence(), [] as [Value; 0]);
    assert!(holds_within(PATIENCE, || crate::support::process::descriptors(mux.pid) == before));
    assert_eq!(one.violations(), json!([]));
}

#[test]
fn a_stopped_server_process_goes_on_where_it_was() {
    // A laptop's lid, a debugger: nothing is lost if it is shorter than the timeouts.
    let mux = Mux::demo(&[], "");
    let mut client = mux.client();
    let pid = client.server_pid();
    sys::signal_process(pid, libc::SIGSTOP).unwrap();
    let asked: Vec<Value> = (0..50).map(|n| client.start("echo", json!({ "text": n.to_string() }))).collect();
    client.near_fence();
    sys::signal_process(pid, libc::SIGCONT).unwrap();
    for (n, id) in asked.iter().enumerate() {
        assert_eq!(text(&client.answer(id)), n.to_string());
    }
    // The same for the daemon itself.
    sys::signal_process(mux.pid, libc::SIGSTOP).unwrap();
    let asked = client.start("echo", json!({ "text": "meanwhile" }));
    sys::signal_process(mux.pid, libc::SIGCONT).unwrap();
    assert_eq!(text(&client.answer(&asked)), "meanwhile");
    assert_eq!(client.server_pid(), pid);
    assert!(Watched::new(pid).lives());
}

#[test]
fn what_is_cancelled_before_it_was_sent_is_never_sent() {
    let mux = Mux::demo(&["--slow-start", "200"], "era = \"legacy\"");
    let mut client = mux.connect("a");
    client.send(&initialize(0, json!({})));
    let asked = client.start("echo", json!({ "text": "never mind" }));
    let kept = client.start("echo", json!({ "text": "do" }));
    client.notify("notifications/cancelled", json!({ "requestId": asked }));
    client.answer(&json!(0));
    assert_eq!(text(&client.answer(&kept)), "do");
    assert_eq!(client.fence(), [] as [Value; 0]);
    let journal = String::from_utf8(mux.raw_journal("a")).unwrap();
    assert!(!journal.contains("never mind") && !journal.contains("cancelled"), "{journal}");
}

#[test]
fn a_child_that_asks_without_end_and_reads_nothing_is_replaced() {
    // Its questions are answered by muxloop itself, and the answers pile up.
    let server = r#"
IFS= read -r line
id=${line#*\"id\":}; id=${id%%[,\}]*}
printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}\n' "$id"
pad=$(head -c 20000 /dev/zero | tr '\0' x)
yes "{\"jsonrpc\":\"2.0\",\"id\":\"$pad\",\"method\":\"ping\"}""#;
    let mux = Mux::start(&[
        Server::script("greedy", server).keys("era = \"legacy\"\nrestart_backoff_ms = 60000"),
        Server::demo("a", &[]),
    ]);
    let mut other = mux.client();
    mux.wait_log("server greedy: it does not read its messages");
    assert_eq!(other.fence(), [] as [Value; 0]);
    let peak_kb = crate::support::process::figure(mux.pid, "VmHWM");
    assert!(peak_kb < 150 << 10, "{peak_kb} KiB were held");
    mux.wait_log("server greedy: next start in");
}
