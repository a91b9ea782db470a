//! `muxloop proxy --socket` as a host starts it (row D02), before a real daemon. What it does between hosts and
//! daemons that misbehave is in `e2e_proxy`.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::support::mux::{BINARY, Mux, Server};
use crate::support::{Client, INITIALIZED, PATIENCE, initialize, text};

/// A host with its shim.
struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Host {
    fn start(program: &Path, args: &[&str]) -> Host {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line)))
        });
        let stdin = child.stdin.take();
        Host { child, stdin, lines }
    }

    fn send(&mut self, line: &str) {
        self.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn answer(&self, id: &Value) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("an answer");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == *id {
                return message;
            }
        }
    }

    fn greet(&mut self) {
        self.send(&initialize(0, json!({})).to_string());
        assert!(self.answer(&json!(0))["result"].is_object());
        self.send(INITIALIZED);
    }

    fn call(&mut self, id: u64, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        self.send(
            &json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string(),
        );
        self.answer(&json!(id))
    }

    fn end(mut self) -> (Option<i32>, String) {
        self.stdin = None;
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hosts_share_a_server_through_the_shim_and_outlive_the_daemon() {
    let mut mux = Mux::demo(&[], "");
    let socket = mux.socket("a").display().to_string();
    // Under its own name, and under one that ends in `-proxy`.
    let link = mux.path("mcp-proxy");
    symlink(BINARY, &link).unwrap();
    let mut one = Host::start(BINARY.as_ref(), &["proxy", "--socket", &socket]);
    let mut two = Host::start(&link, &["--socket", &socket]);
    let mut pids = Vec::new();
    for host in [&mut one, &mut two] {
        host.greet();
        assert_eq!(text(&host.call(1, "echo", json!({ "text": "x" }))), "x");
        pids.push(host.call(2, "whoami", json!({}))["result"]["structuredContent"]["pid"].clone());
    }
    assert_eq!(pids[0], pids[1]);
    // Another daemon takes over; the hosts notice nothing but a new process.
    let dir = mux.dir.clone();
    mux.stop();
    let mux = Mux::start_in(dir, &[Server::demo("a", &[])]);
    for host in [&mut one, &mut two] {
        let answer = host.call(3, "whoami", json!({}));
        let me = &answer["result"]["structuredContent"];
        assert_ne!(me["pid"], pids[0], "{answer}");
        assert_eq!(me["violations"], json!([]));
    }
    drop(mux);
    drop(one);
    drop(two);
}

#[test]
fn the_shim_ends_with_its_host_and_says_why_it_cannot_serve() {
    let mux = Mux::demo(&[], "max_active_clients = 1");
    let socket = mux.socket("a").display().to_string();
    let mut host = Host::start(BINARY.as_ref(), &["proxy", "--socket", &socket]);
    host.greet();
    // The limit is passed on to the host as the answer, and the shim ends.
    let mut second = Host::start(BINARY.as_ref(), &["proxy", "--socket", &socket]);
    second.send(&initialize(0, json!({})).to_string());
    let refused = second.answer(&json!(0));
    assert_eq!(crate::support::reason(&refused), "max_active_clients");
    let (code, said) = second.end();
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // Answers that are still out arrive after the end of stdin.
    host.send(
        &json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 200 } } })
        .to_string(),
    );
    host.stdin = None;
    assert_eq!(text(&host.answer(&json!(9))), "slept 200 ms");
    assert_eq!(host.end(), (Some(0), String::new()));
    mux.wait_log("left:");
    Client::connect(&mux.socket("a")).greet(json!({}));
    let (code, said) = Host::start(BINARY.as_ref(), &["proxy", "--socket", "/nowhere/a.sock"]).end();
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("/nowhere/a.sock"), "{said}");
}
