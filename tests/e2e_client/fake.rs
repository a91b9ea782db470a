//! A daemon that is none: it listens at a control socket and answers as the test wants it to.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// An empty directory, HOME of what runs in it, that is gone at the end of the test.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("muxloop-client-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path.canonicalize().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The binary, with this home and nothing else in its environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muxloop"));
        command.args(args).current_dir(&self.0).env_clear().env("HOME", &self.0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Exit code, standard output and standard error.
    pub fn run(&self, args: &[&str]) -> (i32, String, String) {
        told(self.command(args).output().unwrap())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

/// What was asked, in order.
pub struct Daemon {
    pub requests: Receiver<Value>,
}

impl Daemon {
    /// Listens at `path`; `answer` gets each request and the connection, and returns whether to read on.
    pub fn start(
        path: &Path,
        answer: impl Fn(&Value, &mut UnixStream) -> bool + Send + Sync + 'static,
    ) -> Daemon {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(path).unwrap();
        let (sender, requests) = mpsc::channel();
        // It lives until the test's process ends; each test has a socket of its own.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut out = stream.unwrap();
                let lines = BufReader::new(out.try_clone().unwrap()).lines();
                for line in lines.map_while(Result::ok) {
                    let request: Value = serde_json::from_str(&line).expect("JSON");
                    let _ = sender.send(request.clone());
                    if !answer(&request, &mut out) {
                        break;
                    }
                }
            }
        });
        Daemon { requests }
    }

    /// Answers hello, and everything else by `results`.
    pub fn usual(
        path: &Path,
        results: impl Fn(&str, &Value) -> Result<Value, (i64, String)> + Send + Sync + 'static,
    ) -> Daemon {
        Daemon::start(path, move |request, out| {
            let method = request["method"].as_str().unwrap();
            answer(
                out,
                request,
                if method == "hello" { Ok(hello()) } else { results(method, &request["params"]) },
            );
            true
        })
    }

    /// Method and parameters of the next request that is no hello.
    pub fn asked(&self) -> (String, Value) {
        loop {
            let mut request = self.requests.recv_timeout(PATIENCE).expect("a request");
            let method = request["method"].as_str().unwrap().to_owned();
            if method != "hello" {
                return (method, request["params"].take());
            }
        }
    }
}

pub fn answer(out: &mut UnixStream, request: &Value, result: Result<Value, (i64, String)>) {
    let id = &request["id"];
    say(
        out,
        &match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err((code, message)) => {
                json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
            }
        },
    );
}

pub fn notify(out: &mut UnixStream, method: &str, params: Value) {
    say(out, &json!({"jsonrpc": "2.0", "method": method, "params": params}));
}

/// One line; a client that is gone is no failure of the daemon.
fn say(out: &mut UnixStream, message: &Value) {
    let _ = out.write_all(format!("{message}\n").as_bytes());
}

pub fn hello() -> Value {
    json!({"control": 1, "version": "0.1.0", "pid": 4711, "config": "/home/ana/mux.toml"})
}

/// Two servers; `web` is in `state`.
pub fn report(state: &str) -> Value {
    json!({
        "control": 1, "version": "0.1.0", "pid": 4711, "config": "/home/ana/mux.toml",
        "state": if state == "ready" { "up" } else { "degraded" },
        "started_at": "2026-11-21T06:00:00.000Z", "uptime_ms": 723_000, "rss_bytes": 2_100_000, "clients": 2,
        "servers": [
            {"name": "memory", "state": "ready", "socket": "/run/memory.sock", "pid": 4712, "clients": 2,
             "max_active_clients": 5, "requests": 12, "latency_ms": {"p50": 2, "p99": 18}, "heartbeat_ms": 3,
             "words": ""},
            {"name": "web", "state": state, "max_active_clients": 5, "restarts": 2, "attempt": 3,
             "max_restarts": 5, "next_attempt_in_ms": 4000, "last_failure": "exited with status 1",
             "words": if state == "backoff" {
                 "restarting, attempt 3 of 5 in 4.0 s: exited with status 1: Cannot find module 'x'"
             } else { "" }},
        ],
        "a_later_field": [1, 2],
    })
}
