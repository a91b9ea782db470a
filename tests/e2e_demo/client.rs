//! A client that talks to one demo server over pipes and waits for everything with a deadline.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Longer than any machine needs for one line; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Client {
    pub pid: u32,
    stdin: Option<ChildStdin>,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    exit: Receiver<Option<i32>>,
    exited: bool,
    next_id: u64,
    /// Messages that were read while waiting for another one.
    early: VecDeque<Value>,
}

impl Client {
    /// Starts a demo server with these options and says nothing to it.
    pub fn start(options: &[&str]) -> Client {
        let mut child = Command::new(env!("CARGO_BIN_EXE_muxloop"))
            .arg("demo-server")
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let stdout = lines_of(child.stdout.take().expect("piped"));
        let stderr = lines_of(child.stderr.take().expect("piped"));
        let (pid, stdin) = (child.id(), child.stdin.take());
        let (tell, exit) = channel();
        thread::spawn(move || tell.send(child.wait().expect("our own child").code()));
        Client { pid, stdin, stdout, stderr, exit, exited: false, next_id: 1, early: VecDeque::new() }
    }

    /// As [`Client::start`], and a legacy handshake with these client capabilities.
    pub fn legacy(options: &[&str], version: &str, capabilities: Value) -> Client {
        let mut client = Client::start(options);
        let id = client.initialize(version, capabilities);
        assert_eq!(client.response(&id)["result"]["protocolVersion"], version);
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    /// A legacy client of the latest revision without capabilities.
    pub fn plain(options: &[&str]) -> Client {
        Client::legacy(options, "2025-11-25", json!({}))
    }

    pub fn initialize(&mut self, version: &str, capabilities: Value) -> Value {
        let info = json!({ "name": "pipe test", "version": "1" });
        let params = json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": info });
        self.request("initialize", params)
    }

    // Sending.

    pub fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    pub fn send_line(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Writes these bytes at once, wherever a line ends in them.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("stdin is open").write_all(bytes).expect("the server reads");
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a request with a fresh id, which is returned.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = json!(self.next_id);
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// Sends a `tools/call`.
    pub fn start_call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// Answers a request of the server.
    pub fn reply(&mut self, request: &Value, result: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }));
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    // Receiving.

    /// The next line as it is, without its newline; `None` when stdout has ended.
    pub fn line(&mut self) -> Option<Vec<u8>> {
        match self.stdout.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the server wrote nothing for {DEADLINE:?}"),
        }
    }

    /// The next message, in the order of the wire.
    pub fn message(&mut self) -> Value {
        if let Some(message) = self.early.pop_front() {
            return message;
        }
        let line = self.line().expect("a message, but stdout ended");
        serde_json::from_slice(&line).expect("every line is a message")
    }

    /// The first message that fits; others stay for later.
    pub fn wait_for(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let mut others = VecDeque::new();
        let found = loop {
            let message = self.message();
            if fits(&message) {
                break message;
            }
            others.push_back(message);
        };
        others.append(&mut self.early);
        self.early = others;
        found
    }

    pub fn response(&mut self, id: &Value) -> Value {
        self.wait_for(|message| message.get("method").is_none() && message["id"] == *id)
    }

    pub fn notification(&mut self, method: &str) -> Value {
        self.wait_for(|message| message.get("id").is_none() && message["method"] == method)
    }

    /// The next request of the server.
    pub fn asked(&mut self, method: &str) -> Value {
        self.wait_for(|message| message.get("id").is_some() && message["method"] == method)
    }

    /// Sends a request and waits for its whole response.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.response(&id)
    }

    /// Calls a tool and waits for its result.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.start_call(tool, arguments);
        let response = self.response(&id);
        assert!(response.get("error").is_none(), "{tool}: {response}");
        response["result"].clone()
    }

    pub fn whoami(&mut self) -> Value {
        self.call("whoami", json!({}))["structuredContent"].clone()
    }

    /// Messages that were read but not asked for so far.
    pub fn leftovers(&mut self) -> Vec<Value> {
        self.early.drain(..).collect()
    }

    pub fn stderr_line(&mut self) -> String {
        let line = self.stderr.recv_timeout(DEADLINE).expect("a line on stderr");
        String::from_utf8(line).expect("stderr is text")
    }

    // The process.

    /// Waits for the end of the process; `None` if a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        let code = self.exit.recv_timeout(DEADLINE).expect("the server ends");
        self.exited = true;
        code
    }

    /// Whether the process has ended already. Proves nothing about what is still to come.
    pub fn has_exited(&mut self) -> bool {
        self.exit.try_recv().is_ok_and(|_| {
            self.exited = true;
            true
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.exited && self.exit.try_recv().is_err() {
            signal("KILL", self.pid);
        }
    }
}

/// Sends a signal by name. Only to processes that a test has started.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
    status.expect("there is a kill program");
}

/// Reads lines in a thread of their own, so that waiting for one can have a deadline.
fn lines_of(stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            match line.map(|line| tell.send(line)) {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    });
    lines
}

/// The text of a tool result.
pub fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("a text")
}

/// Params with a complete modern `_meta`.
pub fn modern(mut params: Value, capabilities: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    params
}
