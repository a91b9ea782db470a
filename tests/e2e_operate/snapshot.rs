//! The status file (E03): rmcp-mux's names, whole at any moment, rarely written, right at the end.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::station::Station;
use crate::support::mux::Server;
use crate::support::{PATIENCE, holds_within, reason};

fn read(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn until(path: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let holds = holds_within(PATIENCE, || read(path).is_some_and(|value| wanted(&value)));
    let value = read(path);
    assert!(holds, "{value:?}");
    value.unwrap()
}

/// Fields of `StatusSnapshot` of rmcp-mux 0.4.0.
const NAMES: [&str; 19] = [
    "service_name",
    "server_status",
    "restarts",
    "connected_clients",
    "active_clients",
    "max_active_clients",
    "pending_requests",
    "cached_initialize",
    "initializing",
    "last_reset",
    "queue_depth",
    "child_pid",
    "max_request_bytes",
    "restart_backoff_ms",
    "restart_backoff_max_ms",
    "max_restarts",
    "heartbeat_latency_ms",
    "uptime_ms",
    "in_backoff",
];

#[test]
fn a_file_for_one_server_and_one_for_all_say_what_happens() {
    let head = "status_file = \"DIR/all.json\"";
    let mut station = Station::start(
        head,
        &[
            Server::demo("a", &[]).keys("status_file = \"DIR/a.json\"\nservice_name = \"notes\""),
            Server::demo("b", &[]).keys("lazy_start = true"),
        ],
    );
    let (all, one) = (station.mux.path("all.json"), station.mux.path("a.json"));
    let mut client = station.mux.client();
    let pid = client.server_pid();
    let open = client.start("sleep", json!({ "ms": 600_000 }));
    let value = until(&one, |value| value["pending_requests"] == 1);
    for name in NAMES {
        assert!(value.get(name).is_some(), "{name} is not in {value}");
    }
    assert_eq!((&value["service_name"], &value["server_status"]), (&json!("notes"), &json!("Running")));
    assert_eq!((&value["child_pid"], &value["connected_clients"]), (&json!(pid), &json!(1)));
    assert_eq!((&value["cached_initialize"], &value["initializing"]), (&json!(true), &json!(false)));
    let whole = until(&all, |value| value["servers"][0]["pending_requests"] == 1);
    assert_eq!(whole["pid"], station.mux.pid);
    assert_eq!(whole["servers"][1]["server_status"], "Lazy");
    station.ask("stop", json!({ "server": "a" }));
    assert_eq!(reason(&client.answer(&open)), "stopped");
    until(&one, |value| value["server_status"] == "Stopped" && value["child_pid"].is_null());
    station.ask("start", json!({ "server": "a" }));
    until(&one, |value| value["server_status"] == "Running");
    drop(client);
    until(&one, |value| value["connected_clients"] == 0);

    station.mux.stop();
    let (whole, value) = (read(&all).unwrap(), read(&one).unwrap());
    assert_eq!(whole["state"], "stopping");
    assert_eq!((&value["server_status"], &value["child_pid"]), (&json!("Stopped"), &Value::Null), "{value}");
    assert!(!station.mux.path("all.json.tmp").exists() && !station.mux.path("a.json.tmp").exists());
}

#[test]
fn under_load_it_is_always_whole_and_written_ten_times_a_second_at_most() {
    let station = Station::start("status_file = \"DIR/all.json\"", &[Server::demo("a", &[])]);
    let path = station.mux.path("all.json");
    until(&path, |value| value["servers"][0]["name"] == "a");
    let watch = Versions::of(path);
    // Every client changes the counts several times.
    for _ in 0..300 {
        station.mux.client().call("echo", json!({}));
        if watch.start.elapsed().as_secs() >= 3 {
            break;
        }
    }
    watch.check();
}

/// Reads a file in a tight loop, and counts how often it was written.
struct Versions {
    start: Instant,
    stop: Arc<AtomicBool>,
    reader: JoinHandle<(u64, u64)>,
}

impl Versions {
    fn of(path: PathBuf) -> Versions {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let reader = std::thread::spawn(move || {
            let mut versions = BTreeSet::new();
            let mut reads = 0;
            while !flag.load(Ordering::Relaxed) {
                read(&path).expect("there is a file at any moment");
                let file = fs::metadata(&path).unwrap();
                versions.insert((file.mtime(), file.mtime_nsec()));
                reads += 1;
            }
            (reads, versions.len() as u64)
        });
        Versions { start: Instant::now(), stop, reader }
    }

    fn check(self) {
        self.stop.store(true, Ordering::Relaxed);
        let tenths = self.start.elapsed().as_millis() as u64 / 100;
        let (reads, versions) = self.reader.join().unwrap();
        assert!(reads > 20 && versions >= 2, "{reads} reads, {versions} versions");
        assert!(versions <= tenths + 2, "{versions} versions in {tenths} tenths of a second");
    }
}

#[test]
fn reloads_in_a_row_keep_the_rate_and_servers_that_are_new() {
    let head = "status_file = \"DIR/all.json\"";
    let set = |n: u32| {
        let b =
            Server::demo("b", &[]).keys(&format!("status_file = \"DIR/b.json\"\nservice_name = \"b{n}\""));
        [Server::demo("a", &[]), b]
    };
    let station = Station::start(head, &set(0)[..1]);
    let path = station.mux.path("all.json");
    until(&path, |value| value["servers"][0]["name"] == "a");
    let watch = Versions::of(path);
    let mut control = station.control();
    for n in 1..=60 {
        station.write_with(head, &set(n));
        assert!(control.ask("reload", json!({}))["result"].is_object());
    }
    until(&station.mux.path("b.json"), |value| {
        value["server_status"] == "Running" && value["service_name"] == "b60"
    });
    watch.check();
}

#[test]
fn a_file_that_cannot_be_written_stops_nothing() {
    let station = Station::start("status_file = \"DIR/none/all.json\"", &[Server::demo("a", &[])]);
    station.mux.wait_log("status file");
    let mut client = station.mux.client();
    for _ in 0..5 {
        assert!(client.call("echo", json!({}))["result"].is_object());
    }
    station.ask("restart", json!({ "server": "a" }));
    station.until_state("a", "ready");
    station.mux.assert_logged(1, "none/all.json");
}
