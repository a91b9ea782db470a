//! What a caller and the supervisor say to each other: JSON, a line each.

use super::place::What;
use super::{EXIT_FAILED, EXIT_PORT};
use serde::{Deserialize, Serialize};

/// The first line of a caller, and its only one. Who it is, the kernel tells.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    pub what: What,
}

/// A line of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The server answers. Told again after each restart.
    Ready { server: u32, supervisor: u32 },
    /// The server died and is started again.
    Restarting { why: String },
    /// There will be no server; the supervisor closes the connection.
    Over { end: End, why: String },
}

/// Why there will be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It did not start, never got ready, or died too often.
    Failed,
    /// The port is a stranger's.
    PortTaken,
    /// The supervisor runs something else.
    Different,
    /// Somebody stopped the supervisor.
    Stopped,
}

impl End {
    /// What a caller exits with.
    pub fn exit_code(self) -> u8 {
        match self {
            End::Failed | End::Stopped => EXIT_FAILED,
            End::PortTaken | End::Different => EXIT_PORT,
        }
    }
}

/// A value as a line.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Lines out of pieces of a stream.
#[derive(Debug, Default)]
pub struct Lines {
    unfinished: Vec<u8>,
}

impl Lines {
    /// Takes a piece and gives the lines it completes. One that grows beyond `len_max` bytes is given in parts.
    pub fn hear(&mut self, piece: &[u8], len_max: usize, mut each: impl FnMut(&[u8])) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(part);
            if let Some(line) = self.unfinished.strip_suffix(b"\n") {
                each(line);
                self.unfinished.clear();
            } else if self.unfinished.len() > len_max {
                self.finish(&mut each);
            }
        }
    }

    /// Gives what is left at the end of the stream.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.unfinished.is_empty() {
            each(&self.unfinished);
            self.unfinished.clear();
        }
    }
}

/// Longest line that either of the two says, in bytes: a command line is the longest part of it.
pub const LINE_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_of_any_pieces() {
        let text = b"one\n\ntwo\nlast";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut heard = Vec::new();
            let mut each = |line: &[u8]| heard.push(String::from_utf8(line.to_vec()).unwrap());
            text.chunks(size).for_each(|piece| lines.hear(piece, 100, &mut each));
            lines.finish(&mut each);
            assert_eq!(heard, ["one", "", "two", "last"], "pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_bounded() {
        let mut lines = Lines::default();
        let mut longest = 0;
        for _ in 0..1000 {
            lines.hear(&[b'x'; 10], 64, |part| longest = longest.max(part.len()));
        }
        assert!((64..=74).contains(&longest), "{longest}");
    }

    #[test]
    fn events_read_as_they_are_written() {
        for event in [
            Event::Ready { server: 1, supervisor: 2 },
            Event::Restarting { why: "ä\n\"".into() },
            Event::Over { end: End::PortTaken, why: String::new() },
        ] {
            let line = line(&event);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(serde_json::from_slice::<Event>(&line).unwrap(), event);
        }
    }
}
