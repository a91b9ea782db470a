//! An MCP client on a Unix socket that looks at every message it gets.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use super::PATIENCE;

/// What a client says after its handshake.
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

pub struct Client {
    pub stream: UnixStream,
    reader: BufReader<UnixStream>,
    /// Messages that were read while another was waited for.
    early: VecDeque<Value>,
    next_id: u64,
}

impl Client {
    pub fn connect(socket: &Path) -> Client {
        // A socket is there a moment before it is listened at.
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("{}: {error}", socket.display()),
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Client { stream, reader, early: VecDeque::new(), next_id: 1 }
    }

    /// The legacy handshake; the result of `initialize`.
    pub fn greet(&mut self, capabilities: Value) -> Value {
        self.send(&initialize(0, capabilities));
        let answer = self.answer(&json!(0));
        self.send_line(INITIALIZED);
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    // Sending.

    pub fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    pub fn send_line(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("muxloop reads");
    }

    /// Sends a request under a new id.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = json!(self.next_id);
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Sends a tool call under a new id.
    pub fn start(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    // Receiving.

    /// The next line as it came, `None` at the end of the connection.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(String::from_utf8(line).expect("UTF-8").trim_end_matches('\n').to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("nothing comes: {error}"),
        }
    }

    /// The next message, early ones first.
    pub fn message(&mut self) -> Value {
        match self.early.pop_front() {
            Some(message) => message,
            None => self.read(),
        }
    }

    fn read(&mut self) -> Value {
        let line = self.line().expect("a message before the end");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next message that is wanted; the others stay for later.
    pub fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&mut wanted) {
            return self.early.remove(at).unwrap();
        }
        loop {
            let message = self.read();
            if wanted(&message) {
                return message;
            }
            self.early.push_back(message);
        }
    }

    /// The answer with this id.
    pub fn answer(&mut self, id: &Value) -> Value {
        self.until(|message| message["id"] == *id && message.get("method").is_none())
    }

    /// The next request or notification of this method.
    pub fn incoming(&mut self, method: &str) -> Value {
        self.until(|message| message["method"] == method)
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.answer(&id)
    }

    /// Calls a tool and waits for its answer.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.start(tool, arguments);
        self.answer(&id)
    }

    /// Everything that came before the answer to a request that is sent now and goes to the child: what is
    /// not in it has not been sent by then.
    pub fn fence(&mut self) -> Vec<Value> {
        let answer = self.call("echo", json!({ "text": "fence" }));
        assert_eq!(text(&answer), "fence");
        self.early.drain(..).collect()
    }

    /// As [`Client::fence`], but answered by muxloop itself.
    pub fn near_fence(&mut self) -> Vec<Value> {
        let answer = self.ask("ping", json!({}));
        assert_eq!(answer["result"], json!({}), "{answer}");
        self.early.drain(..).collect()
    }

    /// The process that serves this client.
    pub fn server_pid(&mut self) -> i32 {
        let answer = self.call("whoami", json!({}));
        structured(&answer)["pid"].as_i64().unwrap_or_else(|| panic!("{answer}")) as i32
    }

    /// What the server found wrong with what it was sent.
    pub fn violations(&mut self) -> Value {
        structured(&self.call("whoami", json!({})))["violations"].clone()
    }

    /// Says no more, but still reads.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads to the end of the connection; the messages before it.
    pub fn rest(&mut self) -> Vec<Value> {
        let mut messages: Vec<Value> = self.early.drain(..).collect();
        while let Some(line) = self.line() {
            messages.push(serde_json::from_str(&line).expect("a message"));
        }
        messages
    }
}

/// An `initialize` of the latest legacy revision.
pub fn initialize(id: u64, capabilities: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": capabilities,
        "clientInfo": { "name": "socket test", "version": "1" },
    } })
}

/// Parameters as a 2026-07-28 request has them.
pub fn modern(mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    params
}

pub const MODERN: &str = "2026-07-28";

/// The text of a tool result.
pub fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

/// The structured content of a tool result.
pub fn structured(answer: &Value) -> &Value {
    &answer["result"]["structuredContent"]
}

/// `data.muxloop.reason` of an error of muxloop's own, which must be -32603.
pub fn reason(answer: &Value) -> &str {
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    answer["error"]["data"]["muxloop"]["reason"].as_str().unwrap_or_else(|| panic!("no reason: {answer}"))
}
