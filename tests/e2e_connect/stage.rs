//! A home, projects in it, and clients of the built binary.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

pub const MUXLOOP: &str = env!("CARGO_BIN_EXE_muxloop");
/// For anything that is to happen.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// How long daemons of the tests stay without clients.
pub const IDLE_MS: u64 = 700;

/// A home that is gone at the end of the test, with all daemons in it.
pub struct Home(pub PathBuf);

impl Home {
    /// Its path is short, since sockets are in it.
    pub fn new(name: &str) -> Home {
        let path = std::env::temp_dir().join(format!("mlc-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Home(path.canonicalize().unwrap())
    }

    /// A folder with a configuration of two demo servers, `one` and `two`.
    pub fn project(&self, name: &str) -> PathBuf {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).unwrap();
        let text = format!("idle_exit_ms = {IDLE_MS}\n{}{}", server("one", "[]"), server("two", "[]"));
        fs::write(folder.join("mux.toml"), text).unwrap();
        folder
    }

    pub fn muxloop(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(MUXLOOP);
        command.args(args).current_dir(folder).env_clear().env("HOME", &self.0);
        command
    }

    pub fn connect(&self, folder: &Path) -> Client {
        Client::start(&mut self.muxloop(folder, &["connect", "-v"]))
    }

    /// Folders of the daemons' state.
    pub fn states(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join(".muxloop/projects")).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    /// The one there is.
    pub fn state(&self) -> PathBuf {
        let mut states = self.states();
        assert_eq!(states.len(), 1, "{states:?}");
        states.remove(0)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for state in self.states() {
            if let Some(pid) = pid(&state).filter(|pid| is_daemon(*pid)) {
                signal(pid, libc::SIGKILL);
            }
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One demo server as text of a configuration.
pub fn server(name: &str, args: &str) -> String {
    let args = args.trim_start_matches('[').trim_end_matches(']');
    let comma = if args.is_empty() { "" } else { ", " };
    format!("[servers.{name}]\ncmd = \"{MUXLOOP}\"\nargs = [\"demo-server\"{comma}{args}]\n")
}

/// Names in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What `daemon.pid` says.
pub fn pid(state: &Path) -> Option<i32> {
    fs::read_to_string(state.join("daemon.pid")).ok()?.trim().parse().ok()
}

fn is_daemon(pid: i32) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.windows(13).any(|window| window == b"--daemon-mode")
}

pub fn signal(pid: i32, signal: i32) {
    // SAFETY: a plain system call; the process is a daemon of this test.
    unsafe { libc::kill(pid, signal) };
}

/// Waits for `is_so`, as it is looked at every few milliseconds.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

pub fn wait_gone(state: &Path) {
    wait_until("only the log is left", || names(state) == ["daemon.log"]);
}

/// An MCP host with its child.
pub struct Client {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
    errors: thread::JoinHandle<String>,
    next: u64,
}

impl Client {
    pub fn start(command: &mut Command) -> Client {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut error = child.stderr.take().unwrap();
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                let value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no message: {line}"));
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = error.read_to_string(&mut text);
            text
        });
        Client { child, input, lines, errors, next: 0 }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{message}").unwrap();
    }

    /// Sends a request and gives its id.
    pub fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let id = self.next;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// The answer to a request, without what comes before it.
    pub fn answer(&mut self, id: u64) -> Value {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(message) if message["id"] == id && message.get("method").is_none() => return message,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no answer to {id}"),
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.child.kill();
                    panic!("the end instead of an answer to {id}")
                }
            }
        }
    }

    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.answer(id)
    }

    pub fn greet(&mut self) -> Value {
        let info = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info });
        let answer = self.request("initialize", params);
        assert!(answer["result"].is_object(), "{answer}");
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        answer
    }

    /// Calls the tool `echo` of a server, and checks what comes back.
    pub fn echo(&mut self, tool: &str, text: &str) {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": { "text": text } }));
        assert_eq!(answer["result"]["content"][0]["text"], text, "{answer}");
    }

    pub fn tools(&mut self) -> Vec<String> {
        let answer = self.request("tools/list", json!({}));
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Closes its input and waits for its end: exit code, or signal as a negative number, and stderr.
    pub fn end(mut self) -> (i32, String) {
        self.close_input();
        let mut status = None;
        wait_until("the end of a client", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        (code, self.errors.join().unwrap())
    }
}
