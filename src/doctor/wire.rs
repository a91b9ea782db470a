//! One process's pipes as lines: messages in and out, and what is no message.
//!
//! Reads a bounded piece at a time, so that a server that floods its stdout takes no more than its share; who
//! drives this comes back while [`Wire::readable`] is set.

use crate::base::limits::{CHILD_MESSAGE_MAX, READ_BUDGET, READ_CHUNK, STDERR_RING};
use crate::base::{RecvBuf, SendBuf};
use crate::codec::line::{Line, LineFramer};
use crate::engine::port::Io;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};

/// A line of a server's stdout.
#[derive(Debug, PartialEq)]
pub enum Heard {
    /// An object that says it is JSON-RPC 2.0.
    Message(Value),
    /// Anything else.
    Noise(String),
    /// A line longer than muxloop takes, in bytes.
    Overlong(u64),
}

/// Stdin and stdout of a process.
pub struct Wire {
    io: Box<dyn Io>,
    received: RecvBuf,
    framer: LineFramer,
    sending: SendBuf,
    /// Whether a read may give something.
    pub readable: bool,
    /// Whether stdout was closed.
    pub ended: bool,
}

impl Wire {
    pub fn new(io: Box<dyn Io>) -> Wire {
        Wire {
            io,
            received: RecvBuf::new(),
            framer: LineFramer::new(CHILD_MESSAGE_MAX),
            sending: SendBuf::new(),
            readable: true,
            ended: false,
        }
    }

    pub fn io(&mut self) -> &mut dyn Io {
        &mut *self.io
    }

    /// Sends a message as far as the pipe takes it; [`Wire::flush`] sends the rest.
    pub fn send(&mut self, message: &Value) {
        self.sending.extend(message.to_string().as_bytes());
        self.sending.extend(b"\n");
        self.flush();
    }

    /// A server that reads no more is told by its silence or its end.
    pub fn flush(&mut self) {
        while !self.sending.is_empty() {
            match self.io.write(&[IoSlice::new(self.sending.pending())]) {
                Ok(count) => self.sending.consume(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.sending.clear(),
            }
        }
    }

    /// Closes stdin.
    pub fn close_stdin(&mut self) {
        self.sending.clear();
        let _ = self.io.shutdown_write();
    }

    /// Reads what is there, up to a budget, and hands over every complete line.
    pub fn read(&mut self, each: &mut dyn FnMut(Heard)) {
        let mut budget = READ_BUDGET;
        while self.readable && budget > 0 {
            match self.io.read(self.received.spare(READ_CHUNK)) {
                Ok(0) => (self.readable, self.ended) = (false, true),
                Ok(count) => {
                    self.received.advance(count);
                    budget = budget.saturating_sub(count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(_) => (self.readable, self.ended) = (false, true),
            }
            while let Some(line) = self.framer.next(&mut self.received) {
                hear(line, each);
            }
        }
        if self.ended
            && let Some(line) = self.framer.last(&mut self.received)
        {
            hear(line, each);
        }
    }
}

fn hear(line: Line<'_>, each: &mut dyn FnMut(Heard)) {
    match line {
        Line::Overlong(line) => each(Heard::Overlong(line.len)),
        Line::Line(bytes) => match serde_json::from_slice(bytes) {
            // Revision 2025-03-26 knows batches.
            Ok(Value::Array(elements)) if elements.iter().all(is_message) && !elements.is_empty() => {
                elements.into_iter().for_each(|element| each(Heard::Message(element)));
            }
            Ok(message) if is_message(&message) => each(Heard::Message(message)),
            _ => {
                let head = &bytes[..bytes.len().min(NOISE_BYTES)];
                each(Heard::Noise(String::from_utf8_lossy(head).into_owned()));
            }
        },
    }
}

fn is_message(value: &Value) -> bool {
    value["jsonrpc"] == "2.0"
        && (value.get("method").is_some_and(Value::is_string) || value.get("id").is_some())
}

/// Stderr of a process: its last lines.
pub struct Stderr {
    io: Box<dyn Io>,
    ring: VecDeque<u8>,
    pub readable: bool,
}

impl Stderr {
    pub fn new(io: Box<dyn Io>) -> Stderr {
        Stderr { io, ring: VecDeque::new(), readable: true }
    }

    pub fn io(&mut self) -> &mut dyn Io {
        &mut *self.io
    }

    /// Reads what is there, up to a budget.
    pub fn read(&mut self) {
        let mut piece = [0; 16 << 10];
        let mut budget = READ_BUDGET;
        while self.readable && budget > 0 {
            match self.io.read(&mut piece) {
                Ok(count @ 1..) => {
                    self.ring.extend(&piece[..count]);
                    self.ring.drain(..self.ring.len().saturating_sub(STDERR_RING));
                    budget = budget.saturating_sub(count);
                }
                _ => self.readable = false,
            }
        }
    }

    /// The last lines that are not empty, at most so many.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let bytes: Vec<u8> = self.ring.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

/// Most that is kept of a line that is no message.
const NOISE_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn heard(line: &str) -> Vec<Heard> {
        let mut found = Vec::new();
        hear(Line::Line(&mut line.as_bytes().to_vec()), &mut |heard| found.push(heard));
        found
    }

    #[test]
    fn messages_are_told_from_noise() {
        for line in [
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message"}"#,
        ] {
            assert_eq!(heard(line), [Heard::Message(serde_json::from_str(line).unwrap())]);
        }
        assert_eq!(
            heard(r#"[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b"}]"#),
            ["a", "b"].map(|name| Heard::Message(json!({"jsonrpc": "2.0", "method": name})))
        );
        for line in
            ["Server running", "{}", "[]", "7", r#"{"level":"info"}"#, r#"{"jsonrpc":"2.0"}"#, "{\"a\":"]
        {
            assert_eq!(heard(line), [Heard::Noise(line.to_owned())]);
        }
        let deep = "[".repeat(1_000_000);
        assert!(matches!(heard(&deep)[..], [Heard::Noise(_)]));
    }
}
