//! A project's daemon: started once, found by all, gone after the last.

use crate::stage::{Client, Home, PATIENCE, names, pid, signal, wait_gone, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

fn log(state: &Path) -> String {
    fs::read_to_string(state.join("daemon.log")).unwrap_or_default()
}

/// How often a daemon became one.
fn starts(state: &Path) -> usize {
    log(state).matches("daemon of the project").count()
}

#[test]
fn fifty_connects_from_cold_have_one_daemon_that_leaves_nothing_but_its_log() {
    let home = Home::new("fifty");
    let folder = home.project("web");
    let mut clients: Vec<Client> = (0..50).map(|_| home.connect(&folder)).collect();
    // Not one after the other: all at once.
    let asked: Vec<u64> = clients
        .iter_mut()
        .map(|client| {
            let info = json!({ "name": "test", "version": "1" });
            let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
            client.ask("initialize", params)
        })
        .collect();
    for (client, id) in clients.iter_mut().zip(asked) {
        assert!(client.answer(id)["result"].is_object());
        client.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.echo("one__echo", &format!("client {n}"));
    }
    let state = home.state();
    assert_eq!(starts(&state), 1, "{}", log(&state));
    let pids: Vec<u32> = clients.iter().map(Client::id).collect();
    wait_until("all are in clients.json", || {
        let list = fs::read(state.join("clients.json")).unwrap_or_default();
        let list: Value = serde_json::from_slice(&list).unwrap_or_default();
        let listed =
            |pid: &u32| list["clients"].as_array().is_some_and(|all| all.iter().any(|c| c["pid"] == *pid));
        assert!(list.is_null() || list["daemon"]["version"] == env!("CARGO_PKG_VERSION"), "{list}");
        pids.iter().all(listed)
    });
    let first = clients.pop().unwrap();
    for client in clients {
        assert_eq!(client.end().0, 0);
    }
    let daemon = pid(&state).unwrap();
    let left = Instant::now();
    let (code, err) = first.end();
    assert_eq!(code, 0, "{err}");
    wait_gone(&state);
    assert!(left.elapsed() >= Duration::from_millis(crate::stage::IDLE_MS - 100), "{:?}", left.elapsed());
    wait_until("its process is gone", || !Path::new(&format!("/proc/{daemon}/stat")).exists());
    assert_eq!(starts(&state), 1);
    assert!(log(&state).ends_with("stopped\n"), "{}", log(&state));
}

#[test]
fn the_next_client_has_the_next_daemon_at_any_moment() {
    let home = Home::new("next");
    let folder = home.project("web");
    // Around the moment at which the daemon ends, from before to after.
    for early_ms in [40, 20, 10, 5, 2, 0] {
        let mut client = home.connect(&folder);
        client.greet();
        client.echo("one__echo", "x");
        assert_eq!(client.end().0, 0);
        thread::park_timeout(Duration::from_millis(crate::stage::IDLE_MS.saturating_sub(early_ms)));
    }
    wait_gone(&home.state());
}

#[cfg(target_os = "linux")]
#[test]
fn the_daemon_is_nobodys_child_and_holds_nothing_of_whoever_started_it() {
    let home = Home::new("alone");
    let folder = home.project("web");
    let mut first = home.connect(&folder);
    first.greet();
    let state = home.state();
    let daemon = pid(&state).unwrap();
    assert_eq!(fs::read_link(format!("/proc/{daemon}/cwd")).unwrap(), Path::new("/"));
    for entry in fs::read_dir(format!("/proc/{daemon}/fd")).unwrap().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let number = entry.file_name().into_string().unwrap();
        match number.as_str() {
            "0" | "1" => assert_eq!(target, Path::new("/dev/null")),
            "2" => assert_eq!(target, state.join("daemon.log")),
            // Its own: sockets, pipes of its servers, files in its folder and in the cache.
            _ => assert!(
                target.starts_with(&state)
                    || target.starts_with(home.0.join(".cache"))
                    || target.to_string_lossy().contains(':'),
                "{number} is {}",
                target.display()
            ),
        }
    }
    let stat = fs::read_to_string(format!("/proc/{daemon}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], daemon.to_string(), "it leads its session");
    assert_eq!(fields[4], "0", "without a terminal");
    // Servers are where the project is.
    let children = fs::read_to_string(format!("/proc/{daemon}/task/{daemon}/children")).unwrap();
    let cwds: Vec<_> = children
        .split_whitespace()
        .filter_map(|pid| fs::read_link(format!("/proc/{pid}/cwd")).ok())
        .collect();
    assert!(cwds.contains(&folder), "{cwds:?}");
    // The next client is served although the one that started it was killed.
    signal(first.id() as i32, libc::SIGKILL);
    let mut second = home.connect(&folder);
    second.greet();
    second.echo("two__echo", "y");
    assert_eq!(pid(&state), Some(daemon));
    let environment = fs::read(format!("/proc/{daemon}/environ")).unwrap();
    assert!(!environment.windows(13).any(|window| window == b"MUXLOOP_OWNER"));
    drop(first.end());
    assert_eq!(second.end().0, 0);
}

#[test]
fn projects_of_one_name_are_two_and_folders_may_be_called_anything() {
    let home = Home::new("names");
    let folders = ["a/web", "b/web", "a/my web ünï'\"$"].map(|name| home.project(name));
    let inner = folders[2].join("deep/er");
    fs::create_dir_all(&inner).unwrap();
    let mut clients: Vec<Client> = folders.iter().map(|folder| home.connect(folder)).collect();
    clients.push(home.connect(&inner));
    for client in &mut clients {
        client.greet();
        client.echo("one__echo", "x");
    }
    assert_eq!(home.states().len(), 3);
    for client in clients {
        assert_eq!(client.end().0, 0);
    }
    home.states().iter().for_each(|state| wait_gone(state));
}

#[test]
fn stale_files_of_every_kind_are_replaced() {
    let home = Home::new("stale");
    let folder = home.project("web");
    let mut client = home.connect(&folder);
    client.greet();
    assert_eq!(client.end().0, 0);
    let state = home.state();
    wait_gone(&state);
    for name in ["daemon.sock", "control.sock"] {
        drop(UnixListener::bind(state.join(name)).unwrap());
        fs::write(state.join(format!("{name}.lock")), "1\n").unwrap();
    }
    // A process that runs, and is another.
    fs::write(state.join("daemon.pid"), "1\n").unwrap();
    fs::write(state.join("daemon.port"), "1\n").unwrap();
    fs::write(state.join("clients.json"), "{ half").unwrap();
    fs::write(state.join("clients.json.new"), "{ half").unwrap();
    let mut client = home.connect(&folder);
    client.greet();
    client.echo("one__echo", "x");
    assert_ne!(pid(&state), Some(1));
    assert!(!state.join("daemon.port").exists(), "it serves no HTTP");
    assert_eq!(client.end().0, 0);
    wait_gone(&state);
}

#[test]
fn a_state_folder_that_cannot_be_had_is_an_error_in_words() {
    let home = Home::new("state");
    let folder = home.project("web");
    fs::create_dir_all(home.0.join(".muxloop")).unwrap();
    fs::write(home.0.join(".muxloop/projects"), "a file").unwrap();
    let (code, err) = home.connect(&folder).end();
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("muxloop connect: ") && err.contains("/.muxloop/projects/web-"), "{err}");
    fs::remove_file(home.0.join(".muxloop/projects")).unwrap();
    // Root may write anywhere.
    let is_root = fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nUid:\t0\t"));
    if !is_root {
        let closed = home.0.join(".muxloop");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        let (code, err) = home.connect(&folder).end();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("ermission denied"), "{err}");
    }
    let mut homeless = home.muxloop(&folder, &["connect"]);
    let (code, err) = Client::start(homeless.env_remove("HOME")).end();
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("connect: HOME is not set to an absolute path"), "{err}");
}

#[test]
fn a_daemon_that_cannot_start_is_quoted_and_the_host_gets_an_answer() {
    let home = Home::new("broken");
    let folder = home.project("web");
    fs::write(folder.join("mux.toml"), "[servers.one]\ncmmd = \"x\"\n").unwrap();
    let mut client = home.connect(&folder);
    let id = client.ask("initialize", json!({}));
    let answer = client.answer(id);
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("unknown key")), "{answer}");
    let (code, err) = client.end();
    assert_eq!(code, 1, "{err}");
    for part in
        ["the daemon ended at its start (exit status: 2)", "daemon.log, says:", "unknown key", "mux.toml:2:1"]
    {
        assert!(err.contains(part), "{part} is not in:\n{err}");
    }
    assert_eq!(names(&home.state()), ["daemon.log"]);
    fs::remove_file(folder.join("mux.toml")).unwrap();
    let (code, err) = home.connect(&folder).end();
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("connect: no configuration: looked for mux.toml, mux.json, "), "{err}");
}

#[test]
fn a_daemon_that_is_started_by_hand_says_where_it_is() {
    let home = Home::new("hand");
    let folder = home.project("web");
    let mut command = home.muxloop(&folder, &["serve", "--daemon-mode", "--http", "127.0.0.1:0"]);
    let mut daemon = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut word = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut word).unwrap();
    let word: Value = serde_json::from_str(&word).unwrap();
    let state = home.state();
    assert_eq!(word["pid"], daemon.id());
    assert_eq!(word["socket"], state.join("daemon.sock").to_str().unwrap());
    let port = fs::read_to_string(state.join("daemon.port")).unwrap();
    assert_eq!(word["port"].to_string(), port.trim_end());
    let mut http = TcpStream::connect(("127.0.0.1", port.trim_end().parse().unwrap())).unwrap();
    http.set_read_timeout(Some(PATIENCE)).unwrap();
    http.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(http);
    // A second one leaves the first alone.
    let second = home.muxloop(&folder, &["serve", "--daemon-mode", "--log", "-"]).output().unwrap();
    let err = String::from_utf8(second.stderr).unwrap();
    assert_eq!((second.status.code(), second.stdout), (Some(1), Vec::new()), "{err}");
    assert!(err.contains(&format!("another muxloop (process {}) listens there", daemon.id())), "{err}");
    let mut client = home.connect(&folder);
    client.greet();
    client.echo("one__echo", "x");
    assert_eq!(pid(&state), Some(daemon.id() as i32));
    // The commands that ask a muxloop find it, in the project and without any.
    for (place, args) in [(&folder, ["status", "--json"]), (&home.0, ["status", "--json"])] {
        let status = home.muxloop(place, &args).output().unwrap();
        let report: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        assert_eq!(report["pid"], daemon.id(), "{}", String::from_utf8_lossy(&status.stderr));
    }
    assert_eq!(client.end().0, 0);
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    wait_gone(&state);
}

#[test]
fn the_log_is_bounded() {
    let home = Home::new("log");
    let folder = home.project("web");
    let mut client = home.connect(&folder);
    client.greet();
    let state = home.state();
    let log = state.join("daemon.log");
    let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(&vec![b'x'; 1 << 20]).unwrap();
    // With -v, each request of a client that comes has a line.
    wait_until("a new one is begun", || {
        let mut other = home.connect(&folder);
        other.greet();
        other.end();
        state.join("daemon.log.1").exists()
    });
    assert!(fs::metadata(&log).unwrap().len() < 1 << 20);
    client.echo("one__echo", "x");
    assert_eq!(client.end().0, 0);
    wait_until("only the log is left", || names(&state) == ["daemon.log", "daemon.log.1"]);
    wait_until("its last word", || fs::read_to_string(&log).unwrap().ends_with("stopped\n"));
}

#[test]
fn another_configuration_of_a_folder_is_another_daemon() {
    let home = Home::new("other");
    let folder = home.project("web");
    let text =
        fs::read_to_string(folder.join("mux.toml")).unwrap().replace("[servers.two]", "[servers.three]");
    fs::write(folder.join("other.toml"), text).unwrap();
    let mut own = home.connect(&folder);
    let mut other = Client::start(&mut home.muxloop(&home.0, &["connect", "-c", "web/other.toml"]));
    let mut same = Client::start(&mut home.muxloop(&home.0, &["connect", "-c", "web/mux.toml"]));
    for (client, tool) in [(&mut own, "two__echo"), (&mut other, "three__echo"), (&mut same, "two__echo")] {
        client.greet();
        client.echo(tool, "x");
    }
    assert_eq!(home.states().len(), 2);
    for client in [own, other, same] {
        assert_eq!(client.end().0, 0);
    }
}
