//! Messages on their way to stdout, one per line, and every fault that concerns how they are written.
//!
//! Leaves to the server what is said and when to flush.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use serde_json::{Value, json};

use super::options::Faults;

/// Buffers lines for stdout. Writing blocks: it is the client's business to read.
pub struct Outbox {
    stdout: File,
    lines: Vec<u8>,
    faults: Faults,
    /// Messages that wait for the end of their array; used with `--batch` only.
    batch: Vec<String>,
    /// From the answer to the handshake on, which may not be part of an array (protocol.md §1.1).
    batching: bool,
    /// Counts disturbances, so that each kind gets its turn.
    disturbed: usize,
}

impl Outbox {
    /// Writes to this process's stdout. Errors if it is closed or out of descriptors.
    pub fn new(faults: &Faults) -> io::Result<Outbox> {
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Outbox {
            stdout,
            lines: Vec::new(),
            faults: faults.clone(),
            batch: Vec::new(),
            batching: false,
            disturbed: 0,
        })
    }

    /// Queues a request or notification of ours.
    pub fn send(&mut self, message: &Value) -> io::Result<()> {
        self.push(message.to_string())
    }

    /// Queues a response, with the faults that concern responses.
    pub fn respond(&mut self, response: &Value) -> io::Result<()> {
        let text = response.to_string();
        if self.faults.duplicate_answers {
            self.push(text.clone())?;
        }
        self.push(text)?;
        if self.faults.answer_unknown {
            let never_used = 9_007_199_254_740_991 - self.disturbed as u64;
            self.push(json!({ "jsonrpc": "2.0", "id": never_used, "result": {} }).to_string())?;
            self.push(json!({ "jsonrpc": "2.0", "id": "never asked", "result": {} }).to_string())?;
            let error = json!({ "code": -32603, "message": "about nothing" });
            self.push(json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string())?;
        }
        Ok(())
    }

    /// Ends the handshake: with `--batch`, what follows is written in arrays.
    pub fn start_batching(&mut self) -> io::Result<()> {
        self.flush()?;
        self.batching = self.faults.batch;
        Ok(())
    }

    /// Writes one notification whose line has exactly `len` bytes (at least the length of an empty one).
    pub fn send_giant(&mut self, len: usize) -> io::Result<()> {
        const HEAD: &str =
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":""#;
        const TAIL: &str = r#""}}"#;
        self.flush()?;
        self.stdout.write_all(HEAD.as_bytes())?;
        let mut left = len.saturating_sub(HEAD.len() + TAIL.len());
        let chunk = [b'g'; 16 * 1024];
        while left > 0 {
            let part = left.min(chunk.len());
            self.stdout.write_all(&chunk[..part])?;
            left -= part;
        }
        self.lines.extend_from_slice(TAIL.as_bytes());
        self.end_line();
        self.flush()
    }

    /// Writes all that is queued.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            let array = format!("[{}]", self.batch.join(","));
            self.batch.clear();
            self.write_line(array.as_bytes());
        }
        let written = self.stdout.write_all(&self.lines);
        self.lines.clear();
        self.lines.shrink_to(FLUSH_LEN);
        written
    }

    fn push(&mut self, text: String) -> io::Result<()> {
        if self.batching {
            self.batch.push(text);
        } else {
            self.write_line(text.as_bytes());
        }
        if self.lines.len() >= FLUSH_LEN { self.flush() } else { Ok(()) }
    }

    fn write_line(&mut self, line: &[u8]) {
        if self.faults.noise {
            self.disturb(format!("demo-server says hello, {}", self.disturbed).as_bytes());
        }
        self.lines.extend_from_slice(line);
        self.end_line();
        if self.faults.noise {
            self.disturb(b"> npm notice this line is not JSON");
        }
        if self.faults.invalid_utf8 {
            self.disturb(
                b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"\xff\xc0\x80\"}}",
            );
        }
        if self.faults.garbage_json {
            let kind = self.disturbed % GARBAGE.len();
            self.disturb(GARBAGE[kind].as_bytes());
        }
    }

    fn disturb(&mut self, line: &[u8]) {
        self.disturbed += 1;
        self.lines.extend_from_slice(line);
        self.end_line();
    }

    fn end_line(&mut self) {
        self.lines.extend_from_slice(if self.faults.crlf { b"\r\n" } else { b"\n" });
    }
}

/// Written when this much has gathered even if more is about to come; keeps a turn of big answers bounded.
const FLUSH_LEN: usize = 64 * 1024;

/// Not one of them is a JSON-RPC message.
const GARBAGE: [&str; 6] = [
    r#"{"jsonrpc":"2.0","id":"#,
    r#"{"id":1}"#,
    "[]",
    "null",
    r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"both"}}"#,
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];
