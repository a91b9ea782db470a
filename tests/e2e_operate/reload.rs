//! Reload touches what changed and nothing else (A08).

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use crate::station::{Station, error, part, result};
use crate::support::mux::Server;
use crate::support::process::{descendants, descriptors, figure, holds_within};
use crate::support::{Client, PATIENCE, Watched, text};

fn pids(report: &Value) -> BTreeMap<String, u64> {
    let servers = report["servers"].as_array().unwrap();
    let pid = |server: &Value| Some((server["name"].as_str()?.to_owned(), server["pid"].as_u64()?));
    servers.iter().filter_map(pid).collect()
}

fn names(result: &Value, key: &str) -> Vec<String> {
    result[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// A client that asks without a pause; any error is a panic.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Receiver<()>,
    thread: JoinHandle<Client>,
}

impl Load {
    fn on(mut client: Client) -> Load {
        let (stop, (tell, answers)) = (Arc::new(AtomicBool::new(false)), channel());
        let flag = stop.clone();
        let thread = spawn(move || {
            for n in 0u64.. {
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                let answer = client.call("echo", json!({ "text": n.to_string() }));
                assert_eq!(text(&answer), n.to_string(), "{answer}");
                tell.send(()).unwrap();
            }
            client
        });
        Load { stop, answers, thread }
    }

    /// Waits until it has had so many more answers.
    fn goes_on(&self, more: usize) {
        self.answers.try_iter().for_each(drop);
        for _ in 0..more {
            self.answers.recv_timeout(PATIENCE).expect("the load goes on");
        }
    }

    fn end(self) -> Client {
        self.stop.store(true, Ordering::Relaxed);
        // `answers` lives until the thread has told its last one.
        self.thread.join().expect("no request was lost or failed")
    }
}

#[test]
fn one_change_in_twenty_servers_disturbs_nobody_else() {
    let set = |changed: &str| -> Vec<Server> {
        let options = |n: usize| if n == 7 { vec!["--instructions", changed] } else { Vec::new() };
        (0..20).map(|n| Server::demo(&format!("s{n}"), &options(n))).collect()
    };
    let station = Station::start("", &set("old"));
    let load: Vec<Load> = (0..20)
        .filter(|n| *n != 7)
        .map(|n| Load::on(station.mux.client_of(&format!("s{n}"), json!({}))))
        .collect();
    let mut affected = station.mux.client_of("s7", json!({}));
    let before = pids(&station.until(|report| pids(report).len() == 20));

    load.iter().for_each(|load| load.goes_on(3));
    station.write(&set("new"));
    let changes = station.ask("reload", json!({}));
    assert_eq!(names(&changes, "changed"), ["s7"], "{changes}");
    assert_eq!(names(&changes, "unchanged").len(), 19, "{changes}");
    assert!(names(&changes, "added").is_empty() && names(&changes, "removed").is_empty(), "{changes}");
    assert_eq!(text(&affected.call("echo", json!({ "text": "there" }))), "there");
    load.iter().for_each(|load| load.goes_on(3));

    // The same by a signal.
    station.write(&set("newest"));
    station.mux.signal(libc::SIGHUP);
    station.mux.wait_logs(2, "reloaded: changed s7; 19 unchanged");
    load.iter().for_each(|load| load.goes_on(3));
    assert_eq!(text(&affected.call("echo", json!({ "text": "there" }))), "there");

    let after = pids(&station.until(|report| pids(report).len() == 20));
    for (name, pid) in &before {
        assert_eq!(after[name] == *pid, name != "s7", "{name}");
    }
    let mut late = station.mux.connect("s7");
    assert_eq!(late.greet(json!({}))["instructions"], "newest");
    load.into_iter().for_each(|load| assert_eq!(load.end().violations(), json!([])));
}

#[test]
fn a_removed_server_serves_what_is_open_and_goes() {
    let (a, b) = (|| Server::demo("a", &[]), || Server::demo("b", &[]));
    let station = Station::start("", &[a(), b()]);
    let (mut busy, mut idle) = (station.mux.client_of("b", json!({})), station.mux.client_of("b", json!({})));
    let process = Watched::new(busy.server_pid());
    let load = Load::on(station.mux.client());
    let open = busy.start("sleep", json!({ "ms": 1_000 }));
    station.until(|report| part(report, "b")["pending"] == 1);
    station.write(&[a()]);
    let changes = station.ask("reload", json!({}));
    assert_eq!(names(&changes, "removed"), ["b"], "{changes}");
    assert!(!station.mux.socket("b").exists());
    assert!(idle.rest().is_empty());
    assert!(busy.answer(&open)["result"].is_object());
    assert!(busy.rest().is_empty());
    process.assert_ends();
    assert_eq!(part(&station.status(), "b"), Value::Null);
    // And comes back as a new one.
    station.write(&[b(), a()]);
    assert_eq!(names(&station.ask("reload", json!({})), "added"), ["b"]);
    assert_eq!(text(&station.mux.client_of("b", json!({})).call("echo", json!({ "text": "b" }))), "b");
    load.goes_on(3);
    load.end();
}

#[test]
fn the_report_keeps_the_order_of_the_file() {
    let server = |name: &str| Server::demo(name, &[]).keys("lazy_start = true");
    let station = Station::start("", &[server("m"), server("z")]);
    station.write(&[server("a"), server("z"), server("m")]);
    assert_eq!(station.ask("reload", json!({}))["warnings"], json!([]));
    let report = station.status();
    let order: Vec<&Value> = report["servers"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert_eq!(order, ["a", "z", "m"]);
}

#[test]
fn sockets_can_move_swap_and_be_handed_over() {
    let at =
        |name: &str, socket: &str| Server::demo(name, &[]).keys(&format!("socket = \"DIR/{socket}.sock\""));
    let station = Station::start("", &[at("a", "one"), at("b", "two")]);
    let mut old = Client::connect(&station.mux.path("one.sock"));
    old.greet(json!({}));
    let name = |socket: &str| {
        let mut client = Client::connect(&station.mux.path(&format!("{socket}.sock")));
        client.greet(json!({}))["serverInfo"]["name"].clone()
    };
    station.write(&[at("a", "three"), at("b", "two")]);
    assert_eq!(names(&station.ask("reload", json!({})), "changed"), ["a"]);
    assert!(old.rest().is_empty());
    assert!(!station.mux.path("one.sock").exists());
    assert_eq!((name("three"), name("two")), (json!("a"), json!("b")));
    station.write(&[at("a", "two"), at("b", "three")]);
    assert_eq!(names(&station.ask("reload", json!({})), "changed"), ["a", "b"]);
    assert_eq!((name("two"), name("three")), (json!("a"), json!("b")));
    // A server under another name at the same socket.
    station.write(&[at("c", "two"), at("b", "three")]);
    let changes = station.ask("reload", json!({}));
    assert_eq!((names(&changes, "added"), names(&changes, "removed")), (vec!["c".into()], vec!["a".into()]));
    assert_eq!((name("two"), name("three")), (json!("c"), json!("b")));
}

#[test]
fn clients_share_a_process_or_not_as_the_new_file_says() {
    let station = Station::demo(&[], "");
    let mut old = station.mux.client();
    let process = Watched::new(old.server_pid());
    station.write(&[Server::demo("a", &[]).keys("share = \"session\"")]);
    assert_eq!(names(&station.ask("reload", json!({})), "changed"), ["a"]);
    assert!(old.rest().is_empty());
    process.assert_ends();
    let mut pids: Vec<i32> = Vec::new();
    let mut clients = [station.mux.client(), station.mux.client()];
    pids.extend(clients.iter_mut().map(Client::server_pid));
    assert_ne!(pids[0], pids[1]);
    station.write(&[Server::demo("a", &[])]);
    station.ask("reload", json!({}));
    clients.iter_mut().for_each(|client| assert!(client.rest().is_empty()));
    let mut clients = [station.mux.client(), station.mux.client()];
    assert_eq!(clients[0].server_pid(), clients[1].server_pid());
}

#[test]
fn another_number_of_spares_restarts_nobody() {
    let own = |spare: &str| Server::demo("a", &[]).keys("share = \"request\"").keys(spare);
    let station = Station::start("", &[own("")]);
    let mut client = station.mux.client();
    let long = client.start("sleep", json!({ "ms": 600_000 }));
    station.until(|report| part(report, "a")["pending"] == 1);
    for spares in [2, 3, 1, 0] {
        station.write(&[own(&format!("spare = {spares}"))]);
        assert_eq!(names(&station.ask("reload", json!({})), "changed"), ["a"]);
        let report = station.until(|report| part(report, "a")["spares"] == spares);
        let report = part(&report, "a");
        assert_eq!((&report["pending"], &report["clients"]), (&json!(1), &json!(1)), "{report}");
    }
    station.until(|report| part(report, "a")["instances"] == 1);
    client.notify("notifications/cancelled", json!({ "requestId": long }));
    let report = station.until(|report| part(report, "a")["instances"] == 0);
    assert_eq!(part(&report, "a")["words"], "each request starts a process");
    // From a process per request to a shared one.
    station.write(&[Server::demo("a", &[])]);
    assert_eq!(names(&station.ask("reload", json!({})), "changed"), ["a"]);
    assert!(client.rest().is_empty());
    let mut clients = [station.mux.client(), station.mux.client()];
    assert_eq!(clients[0].server_pid(), clients[1].server_pid());
}

#[test]
fn a_change_of_names_only_restarts_nothing() {
    let station = Station::demo(&[], "");
    let load = Load::on(station.mux.client());
    let before = station.until_state("a", "ready");
    station.write(&[Server::demo("a", &[]).keys("service_name = \"other\"")]);
    station.ask("reload", json!({}));
    let after = station.server("a");
    assert_eq!((&after["service_name"], &after["pid"]), (&json!("other"), &before["pid"]));
    load.goes_on(3);
    load.end();
}

#[test]
fn a_stopped_server_stays_stopped() {
    let station = Station::demo(&[], "");
    station.ask("stop", json!({ "server": "a" }));
    station.until_state("a", "stopped");
    station.write(&[Server::demo("a", &["--instructions", "new"])]);
    station.ask("reload", json!({}));
    assert_eq!(station.server("a")["state"], "stopped");
    station.ask("start", json!({ "server": "a" }));
    assert_eq!(station.mux.connect("a").greet(json!({}))["instructions"], "new");
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_why() {
    let station = Station::demo(&[], "");
    let load = Load::on(station.mux.client());
    let before = station.until_state("a", "ready");
    let mut control = station.control();
    let file = station.mux.path("mux.toml");
    let good = fs::read_to_string(&file).unwrap();
    let foreign = station.mux.path("foreign.sock");
    let _theirs = UnixListener::bind(&foreign).unwrap();
    let taken = format!(
        "{good}\n[servers.new]\nsocket = \"DIR/new.sock\"\ncmd = \"true\"\n[servers.z]\nsocket = \"DIR/foreign.sock\"\ncmd = \"true\""
    )
    .replace("DIR", &station.mux.dir.0.display().to_string());
    for (text, word) in [
        ("[servers.a".to_owned(), "mux.toml:1"),
        (good.replace("[servers.a]", "[servers.a]\nmax_restart = 3"), "max_restart"),
        (good.replace("cmd = ", "# cmd = "), "cmd"),
        (taken, "foreign.sock"),
    ] {
        fs::write(&file, &text).unwrap();
        let answer = control.ask("reload", json!({}));
        let (code, why) = error(&answer);
        assert_eq!(code, -32000, "{answer}");
        assert!(why.contains(word), "{why}");
    }
    fs::remove_file(&file).unwrap();
    let answer = control.ask("reload", json!({}));
    assert!(error(&answer).1.contains("mux.toml"), "{answer}");
    station.mux.signal(libc::SIGHUP);
    station.mux.wait_logs(6, "not reloaded, nothing has changed");
    assert!(!station.mux.path("new.sock").exists() && foreign.exists());
    let after = station.status();
    assert_eq!(part(&after, "a")["pid"], before["pid"]);
    assert_eq!(after["servers"].as_array().unwrap().len(), 1);
    load.goes_on(3);
    load.end();
    fs::write(&file, &good).unwrap();
    assert_eq!(names(&result(control.ask("reload", json!({}))), "unchanged"), ["a"]);
}

#[test]
fn what_only_a_start_puts_in_effect_is_told() {
    let station = Station::demo(&[], "");
    let file = station.mux.path("mux.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("log_format = \"json\"\n{text}")).unwrap();
    let changes = station.ask("reload", json!({}));
    assert!(changes["warnings"].to_string().contains("log_format: takes effect when"), "{changes}");
}

/// 200 times from one set of servers to another: nothing of the one is left in the other.
#[test]
fn reloads_without_end_leave_nothing_behind() {
    let sets = |odd: bool| {
        let keys = if odd { "socket = \"DIR/odd.sock\"" } else { "socket = \"DIR/even.sock\"" };
        let mut set = vec![Server::demo("a", &[]), Server::demo("moves", &[]).keys(keys)];
        if odd {
            set.push(Server::demo("extra", &[]));
        }
        set
    };
    let station = Station::start("", &sets(false));
    let mut client = station.mux.client();
    let mut control = station.control();
    let pid = station.mux.pid;
    let mut turn = |n: usize| {
        station.write(&sets(n % 2 == 1));
        let changes = result(control.ask("reload", json!({})));
        assert_eq!(names(&changes, "unchanged"), ["a"], "{changes}");
        assert_eq!(text(&client.call("echo", json!({ "text": "here" }))), "here");
    };
    (1..=20).for_each(&mut turn);
    let counts = |station: &Station| {
        // The client, four of two children, this watcher, the connection that reloads.
        station.until(|report| report["connections"] == 7 && pids(report).len() == 2);
        (descriptors(pid), descendants(pid).len())
    };
    let before = counts(&station);
    let memory = figure(pid, "VmRSS");
    (1..=180).for_each(&mut turn);
    let same = holds_within(Duration::from_secs(20), || counts(&station) == before);
    assert!(same, "{before:?} became {:?}", counts(&station));
    let grown = figure(pid, "VmRSS").saturating_sub(memory);
    assert!(grown < 3_000, "{grown} KiB more");
}
