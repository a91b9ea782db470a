//! Daemons that end under their clients, and those of other versions.

use crate::stage::{Client, Home, pid, signal, wait_gone, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Ends a daemon under clients with requests on the way.
fn lose(name: &str, by: i32) {
    let home = Home::new(name);
    let folder = home.project("web");
    let mut clients: Vec<Client> = (0..8).map(|_| home.connect(&folder)).collect();
    clients.iter_mut().for_each(|client| _ = client.greet());
    let state = home.state();
    for round in 0..3 {
        let daemon = pid(&state).unwrap();
        let under_way: Vec<u64> = clients
            .iter_mut()
            .map(|client| {
                client.ask("tools/call", json!({ "name": "one__echo", "arguments": { "text": "x" } }))
            })
            .collect();
        signal(daemon, by);
        for (client, id) in clients.iter_mut().zip(under_way) {
            // Answered, or told that nobody knows.
            let answer = client.answer(id);
            let is_told = answer["error"]["data"]["muxloop"]["reason"].is_string();
            assert!(answer["result"]["content"][0]["text"] == "x" || is_told, "{answer}");
        }
        // Nobody has to ask for it: the shims see the end.
        wait_until("another daemon", || pid(&state).is_some_and(|pid| pid != daemon));
        for client in &mut clients {
            client.echo("one__echo", &format!("round {round}"));
        }
    }
    let log = fs::read_to_string(state.join("daemon.log")).unwrap();
    assert_eq!(log.matches("daemon of the project").count(), 4, "{log}");
    for client in clients {
        let (code, err) = client.end();
        assert_eq!(code, 0, "{err}");
    }
    wait_gone(&state);
}

#[test]
fn after_kill_9_of_the_daemon_the_next_request_works() {
    lose("kill", libc::SIGKILL);
}

#[test]
fn after_its_end_by_a_signal_as_well() {
    lose("term", libc::SIGTERM);
}

/// What stands in for a daemon of another version at a state folder's sockets.
struct Impostor {
    clients: Arc<AtomicUsize>,
    was_ended: Arc<AtomicBool>,
}

impl Impostor {
    fn start(state: &Path, clients: usize) -> Impostor {
        fs::create_dir_all(state).unwrap();
        let this = Impostor {
            clients: Arc::new(AtomicUsize::new(clients)),
            was_ended: Arc::new(AtomicBool::new(false)),
        };
        let [control, mcp] = ["control.sock", "daemon.sock"].map(|name| state.join(name));
        let (listener, served) = (UnixListener::bind(&control).unwrap(), UnixListener::bind(&mcp).unwrap());
        let (clients, was_ended) = (this.clients.clone(), this.was_ended.clone());
        thread::spawn(move || {
            for socket in served.incoming().flatten() {
                thread::spawn(move || answer(socket, |_| json!({ "ok": "an old daemon" })));
            }
        });
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let paths: [PathBuf; 2] = [control.clone(), mcp.clone()];
                let (clients, was_ended) = (clients.clone(), was_ended.clone());
                thread::spawn(move || {
                    answer(socket, |method| match method {
                        "hello" => json!({ "control": 1, "version": "0.0.9", "pid": 1, "config": "/x" }),
                        "status" => json!({ "servers": [
                            { "name": "gateway", "clients": clients.load(Ordering::SeqCst) },
                            { "name": "one", "clients": 7 },
                        ] }),
                        _ => {
                            was_ended.store(true, Ordering::SeqCst);
                            paths.iter().for_each(|path| _ = fs::remove_file(path));
                            Value::Null
                        }
                    });
                });
            }
        });
        this
    }
}

/// Answers each request until `result` gives none, and ends then.
fn answer(socket: UnixStream, result: impl Fn(&str) -> Value) {
    let mut writer = socket.try_clone().unwrap();
    for line in BufReader::new(socket).lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["id"].is_null() {
            continue;
        }
        let result = result(message["method"].as_str().unwrap());
        let reply = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        if writeln!(writer, "{reply}").is_err() || result.is_null() {
            return;
        }
    }
}

/// The state folder of a project, which only muxloop knows.
fn state_of(home: &Home, folder: &Path) -> PathBuf {
    let mut client = home.connect(folder);
    client.greet();
    client.end();
    wait_gone(&home.state());
    home.state()
}

#[test]
fn an_idle_daemon_of_another_version_is_replaced() {
    let home = Home::new("older");
    let folder = home.project("web");
    let state = state_of(&home, &folder);
    let impostor = Impostor::start(&state, 0);
    let mut client = home.connect(&folder);
    let hello = client.greet();
    assert!(hello["result"]["serverInfo"].is_object(), "{hello}");
    client.echo("one__echo", "x");
    assert!(impostor.was_ended.load(Ordering::SeqCst));
    let (code, err) = client.end();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("was of version 0.0.9, without clients: it is replaced"), "{err}");
}

#[test]
fn a_busy_one_is_joined_with_a_warning() {
    let home = Home::new("busy");
    let folder = home.project("web");
    let state = state_of(&home, &folder);
    let impostor = Impostor::start(&state, 2);
    let mut client = Client::start(&mut home.muxloop(&folder, &["connect"]));
    let answer = client.request("ping", json!({}));
    assert_eq!(answer["result"]["ok"], "an old daemon");
    assert!(!impostor.was_ended.load(Ordering::SeqCst));
    let id = client.id();
    signal(id as i32, libc::SIGTERM);
    let (_, err) = client.end();
    assert!(err.contains("the project's daemon is muxloop 0.0.9 and has clients"), "{err}");
    // Once they are gone, it goes, too.
    impostor.clients.store(0, Ordering::SeqCst);
    let mut client = home.connect(&folder);
    client.greet();
    client.echo("one__echo", "x");
    assert!(impostor.was_ended.load(Ordering::SeqCst));
    assert_eq!(client.end().0, 0);
}
