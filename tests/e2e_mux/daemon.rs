//! The daemon as a process (rows A01 to A04, A09, A10, C06, D01, M04, N03): its sockets, signals, end, footprint.

use muxloop::reactor::{procfs, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::mux::{Mux, Scratch, Server, command};
use crate::support::process::{Watched, descendants, descriptors, figure, holds_within};
use crate::support::{Client, PATIENCE, reason, structured, text};

/// A tree as `npx` makes it: a shell, under it the server, under that a grandchild in a session of its own that
/// ignores SIGTERM and the end of its stdin.
const TREE: &str = "BINARY demo-server --spawn-grandchild --setsid; exit $?";

/// Everything that the daemon has started, the guard included, once each tree is complete.
fn victims(mux: &Mux, trees: usize) -> Vec<Watched> {
    mux.wait_logs(trees, "is up");
    descendants(mux.pid).into_iter().map(Watched::new).collect()
}

#[test]
fn no_socket_file_or_process_is_left_after_sigterm() {
    // rmcp-mux left its sockets. Here also with a server that ignores SIGTERM and the end of its stdin.
    let mut mux = Mux::start(&[
        Server::script("tree", TREE).keys("stop_grace_ms = 100"),
        Server::demo("deaf", &["--ignore-term"]).keys("stop_grace_ms = 100"),
        Server::demo("a", &[]).keys("socket = \"DIR/run/deep/a.sock\""),
    ]);
    let mut client = mux.client_of("deaf", json!({}));
    let asked = client.start("sleep", json!({ "ms": 60_000 }));
    client.near_fence();
    let victims = victims(&mux, 1);
    assert!(victims.len() >= 5, "the shell, three servers, the grandchild");
    mux.stop();
    assert_eq!(reason(&client.answer(&asked)), "stopped", "who waits is told");
    assert_eq!(client.rest().len(), 0);
    victims.iter().for_each(Watched::assert_ends);
    let mut left: Vec<String> = fs::read_dir(&mux.dir.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // What was found out about the servers is kept for the next run, if there was anything yet.
        .filter(|name| !name.ends_with(".journal") && name != ".cache")
        .collect();
    left.sort();
    assert_eq!(left, [".muxloop", "mux.toml", "run"]);
    // The folders of the servers' sockets and of the control socket stay, empty.
    for folder in ["run/deep", ".muxloop/run"] {
        assert_eq!(fs::read_dir(mux.path(folder)).unwrap().count(), 0, "{folder}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut mux = Mux::demo(&["--ignore-term"], "stop_grace_ms = 600000");
        let mut client = mux.client();
        let child = Watched::new(client.server_pid());
        mux.signal(signal);
        // Clients are let go at the first signal; the child has ten minutes.
        assert_eq!(client.rest().len(), 0);
        assert!(child.lives());
        mux.signal(signal);
        assert!(mux.ended().success());
        child.assert_ends();
        assert!(!mux.socket("a").exists());
    }
}

#[test]
fn sigpipe_and_sighup_do_not_end_it() {
    let mux = Mux::demo(&[], "");
    let mut client = mux.client();
    mux.signal(libc::SIGPIPE);
    mux.signal(libc::SIGHUP);
    client.fence();
}

#[test]
fn kill_9_under_load_leaves_no_process_and_the_next_start_takes_over() {
    let dir = Arc::new(Scratch::new());
    let servers = || ["a", "b", "c"].map(|name| Server::script(name, TREE));
    let mut mux = Mux::start_in(dir.clone(), &servers());
    let victims = victims(&mux, 3);
    assert!(victims.len() >= 9, "{} processes", victims.len());
    // Load on each of them until the connections break.
    let clients: Vec<Client> = ["a", "b", "c", "a", "b"].map(|name| mux.client_of(name, json!({}))).into();
    let (told, busy) = std::sync::mpsc::channel();
    let load: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let told = told.clone();
            std::thread::spawn(move || {
                let mut client = client;
                for round in 0.. {
                    let line = json!({ "jsonrpc": "2.0", "id": round, "method": "tools/call",
                        "params": { "name": "echo", "arguments": { "text": "x".repeat(500) } } });
                    let written =
                        std::io::Write::write_all(&mut client.stream, format!("{line}\n").as_bytes());
                    if written.is_err() || (round >= 8 && client.line().is_none()) {
                        return;
                    }
                    if round == 20 {
                        told.send(()).unwrap();
                    }
                }
            })
        })
        .collect();
    load.iter().for_each(|_| busy.recv_timeout(PATIENCE).expect("load"));
    let killed = Instant::now();
    mux.signal(libc::SIGKILL);
    for victim in &victims {
        let left = Duration::from_secs(2).saturating_sub(killed.elapsed());
        assert!(victim.ends_within(left), "{} lives: {}", victim.pid, procfs::command(victim.pid));
    }
    mux.ended();
    load.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(mux.socket("a").exists(), "nobody removed it");
    let mut heir = Mux::start_in(dir, &servers());
    for name in ["a", "b", "c"] {
        heir.client_of(name, json!({})).fence();
    }
    heir.stop();
}

#[test]
fn a_dead_launcher_takes_its_tree_along_and_is_replaced() {
    let mux = Mux::start(&[Server::script("a", TREE).keys("restart_backoff_ms = 1\nmax_restarts = 0")]);
    let mut known = Vec::new();
    for round in 1..=5 {
        let mut client = mux.client();
        mux.wait_logs(round, "is up");
        let server = client.server_pid();
        let shell = procfs::stat(server).expect("it serves").parent;
        assert!(!known.contains(&server));
        known.push(server);
        let tree: Vec<Watched> = descendants(shell).into_iter().map(Watched::new).collect();
        assert!(tree.len() >= 2, "the server and its grandchild");
        sys::signal_process(shell, libc::SIGKILL).unwrap();
        tree.iter().for_each(Watched::assert_ends);
        drop(client);
    }
}

#[test]
fn killing_children_again_and_again_leaks_nothing() {
    let mux = Mux::demo(&[], "restart_backoff_ms = 1\nrestart_backoff_max_ms = 1\nmax_restarts = 0");
    let mut client = mux.client();
    let mut pid = client.server_pid();
    let before = descriptors(mux.pid);
    let rss_kb = figure(mux.pid, "VmRSS");
    for _ in 0..40 {
        let asked = client.start("sleep", json!({ "ms": 60_000 }));
        let watched = Watched::new(pid);
        sys::signal_process(pid, libc::SIGKILL).unwrap();
        assert_eq!(reason(&client.answer(&asked)), "restarting", "no request is left without an answer");
        watched.assert_ends();
        pid = client.server_pid();
        client.fence();
    }
    assert_eq!(descriptors(mux.pid), before);
    let grown_kb = figure(mux.pid, "VmRSS").saturating_sub(rss_kb);
    assert!(grown_kb < 4096, "{grown_kb} KiB more");
    assert!(holds_within(PATIENCE, || descendants(mux.pid).len() <= 2), "{:?}", descendants(mux.pid));
}

#[test]
fn sockets_are_private_and_never_stolen() {
    let mux = Mux::demo(&[], "socket = \"DIR/run/a.sock\"");
    let mode = |path: &str| fs::metadata(mux.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("run/a.sock")), (0o700, 0o600));
    let connect = || {
        let mut client = Client::connect(&mux.path("run/a.sock"));
        client.greet(json!({}));
        client
    };
    let pid = connect().server_pid();
    // A second one is told who is there, and changes nothing.
    let output = command(&mux.dir.0).args(["-c", "mux.toml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("run/a.sock") && said.contains("server 'a'"), "{said}");
    assert_eq!(connect().server_pid(), pid);
}

#[test]
fn an_idle_daemon_is_not_woken() {
    let mux = Mux::start(&["a", "b", "c"].map(|name| Server::demo(name, &[])));
    let mut clients: Vec<Client> = ["a", "b", "c"].map(|name| mux.client_of(name, json!({}))).into();
    clients.iter_mut().for_each(|client| drop(client.fence()));
    let process = Watched::new(mux.pid);
    let counts: Vec<u64> = (0..4)
        .map(|_| {
            let before = figure(mux.pid, "voluntary_ctxt_switches");
            // The window of a measurement, not a wait.
            assert!(!process.ends_within(Duration::from_millis(700)));
            figure(mux.pid, "voluntary_ctxt_switches") - before
        })
        .take_while(|woken| *woken > 0)
        .collect();
    // Buffers of the last messages may be given back in the first windows; then there is silence.
    assert!(counts.len() < 4, "woken {counts:?} times in 700 ms each");
}

#[test]
fn a_client_that_does_not_read_is_closed_before_it_fills_the_memory() {
    // 4 MiB for each request.
    let server = r#"
head -c 4194304 /dev/zero | tr '\0' x > DIR/pad
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
  *'"method":"initialize"'*)
    printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}\n' "$id";;
  *big*) printf '{"jsonrpc":"2.0","id":%s,"result":{"x":"' "$id"; cat DIR/pad; printf '"}}\n';;
  *'"id":'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"small":1}}\n' "$id";;
  esac
done"#;
    let mux = Mux::start(&[Server::script("a", server), Server::demo("b", &[])]);
    let (mut slow, mut brisk, mut other) = (mux.client(), mux.client(), mux.client_of("b", json!({})));
    for id in 1..=20 {
        slow.send_line(&format!(
            r#"{{"id":{id},"jsonrpc":"2.0","method":"tools/call","params":{{"name":"big"}}}}"#
        ));
    }
    let started = Instant::now();
    while mux.logged("was closed: it") == 0 {
        assert_eq!(other.fence(), [] as [Value; 0]);
        assert!(started.elapsed() < 2 * PATIENCE, "it is kept");
    }
    let peak_kb = figure(mux.pid, "VmHWM");
    assert!(peak_kb < 150 << 10, "80 MiB were asked for, {peak_kb} KiB were held");
    // Its server was not stopped for it: who shares it is served.
    brisk.send_line(r#"{"id":2,"jsonrpc":"2.0","method":"tools/list"}"#);
    assert_eq!(brisk.answer(&json!(2))["result"]["small"], 1);
    assert!(
        holds_within(PATIENCE, || figure(mux.pid, "VmRSS") < 40 << 10),
        "{} KiB are kept",
        figure(mux.pid, "VmRSS")
    );
}

#[test]
fn a_server_that_does_not_read_slows_its_clients_only() {
    let mux = Mux::start(&[
        Server::demo("stuck", &["--hang-after", "1"])
            .keys("request_timeout_ms = 200\nheartbeat_enabled = false"),
        Server::demo("a", &[]),
    ]);
    let mut stuck = mux.client_of("stuck", json!({}));
    let mut other = mux.client();
    let mut writer = stuck.stream.try_clone().unwrap();
    let total = 120;
    // 12 MiB; the pipe to the server takes 64 KiB of it.
    let sender = std::thread::spawn(move || {
        let pad = "x".repeat(100 << 10);
        for id in 1..=total {
            let line =
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": pad } });
            std::io::Write::write_all(&mut writer, format!("{line}\n").as_bytes()).unwrap();
        }
    });
    for id in 1..=total {
        assert_eq!(reason(&stuck.answer(&json!(id))), "timeout");
        assert_eq!(other.fence(), [] as [Value; 0]);
    }
    sender.join().unwrap();
    let peak_kb = figure(mux.pid, "VmHWM");
    assert!(peak_kb < 32 << 10, "{peak_kb} KiB were held");
}

#[test]
fn an_rmcp_mux_file_runs_unchanged() {
    let dir = Arc::new(Scratch::new());
    let file = format!(
        r#"
[servers.memory]
socket = "~/sockets/memory.sock"
cmd = {0:?}
args = ["demo-server", "--name", "memory"]
env = {{ TOKEN = "s3cr3t-value" }}
cwd = "~"
max_active_clients = 5
lazy_start = false
max_request_bytes = 1048576
request_timeout_ms = 30000
restart_backoff_ms = 1000
restart_backoff_max_ms = 30000
max_restarts = 5
tray = false
status_file = "~/status.json"
service_name = "memory"
heartbeat_enabled = true
heartbeat_interval_ms = 30000
heartbeat_timeout_ms = 30000
heartbeat_max_failures = 3

[servers.web]
socket = "~/sockets/web.sock"
cmd = {0:?}
args = ["demo-server", "--name", "web"]

[servers.off]
socket = "~/sockets/off.sock"
cmd = "no-such-program"
enabled = false
"#,
        crate::support::mux::BINARY
    );
    fs::write(dir.0.join("old.toml"), file).unwrap();
    let args = ["--config", "old.toml", "--log-level", "trace"];
    let mux = Mux::run(dir.clone(), &args, |_| {});
    mux.wait_logs(2, "listening on");
    for name in ["memory", "web"] {
        let mut client = Client::connect(&dir.0.join(format!("sockets/{name}.sock")));
        let hello = client.greet(json!({}));
        assert_eq!(hello["serverInfo"]["name"], name);
        assert_eq!(structured(&client.call("whoami", json!({})))["name"], name);
    }
    assert!(!dir.0.join("sockets/off.sock").exists());
    assert!(!mux.log().contains("s3cr3t"), "a value of `env` is never logged");
    drop(mux);
    for (option, kept, left_out) in [("--only", "web", "memory"), ("--except", "memory", "web")] {
        let mux = Mux::run(dir.clone(), &["-c", "old.toml", option, "web"], |_| {});
        mux.wait_log("listening on");
        Client::connect(&dir.0.join(format!("sockets/{kept}.sock"))).greet(json!({}));
        assert!(!dir.0.join(format!("sockets/{left_out}.sock")).exists(), "{option}");
    }
}

#[test]
fn a_process_per_session_and_roots_of_the_operator() {
    let mux = Mux::start(&[
        Server::demo("a", &[]).keys("share = \"session\""),
        Server::demo("b", &[])
            .keys("interactive = \"serialize\"\nroots = [{ uri = \"file:///work\", name = \"work\" }]"),
    ]);
    let (mut one, mut two) = (mux.client(), mux.client());
    let (first, second) = (one.server_pid(), two.server_pid());
    assert_ne!(first, second);
    let process = Watched::new(first);
    drop(one);
    process.assert_ends();
    assert_eq!(two.server_pid(), second);
    // muxloop answers for the client.
    let mut client = mux.client_of("b", json!({ "roots": {} }));
    assert_eq!(text(&client.call("ask", json!({ "via": "roots" }))), "file:///work");
    assert_eq!(client.fence(), [] as [Value; 0]);
}

#[test]
fn log_level_and_format_are_chosen() {
    let dir = Arc::new(Scratch::new());
    let server = json!(crate::support::mux::BINARY);
    let file = format!("[servers.a]\nsocket = \"~/a.sock\"\ncmd = {server}\nargs = [\"demo-server\"]\n");
    fs::write(dir.0.join("mux.toml"), file).unwrap();
    // Options, RUST_LOG, whether INFO and DEBUG show.
    for (args, rust_log, info, debug) in [
        (&[][..], "", true, false),
        (&["-v"], "", true, true),
        (&["--log-level", "warn"], "", false, false),
        (&[], "warn", false, false),
        (&[], "debug", true, true),
        (&["--log-level", "debug"], "warn", true, true),
    ] {
        let mut mux = Mux::run(dir.clone(), &[&["-c", "mux.toml"], args].concat(), |command| {
            command.env("RUST_LOG", rust_log);
        });
        assert!(holds_within(PATIENCE, || dir.0.join("a.sock").exists()));
        Client::connect(&dir.0.join("a.sock")).greet(json!({}));
        mux.stop();
        assert_eq!((mux.logged("INFO") > 0, mux.logged("DEBUG") > 0), (info, debug), "{args:?} {rust_log}");
    }
    let mut mux = Mux::run(dir.clone(), &["-c", "mux.toml", "-v", "--log-format", "json"], |_| {});
    mux.wait_log("started, pid");
    mux.stop();
    for line in mux.log().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string(), "{line}");
    }
}
