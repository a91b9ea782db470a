//! [`Processes`]: what the engine knows of its children's processes: links, exit, and the last words on
//! stderr.

use crate::base::limits::STDERR_RING;
use crate::base::{Key, KeyMap};
use crate::engine::port::ExitStatus;
use std::collections::VecDeque;

/// The process of one instance.
#[derive(Debug)]
pub(super) struct Process {
    pub pid: u32,
    pub link: Key,
    pub stderr: Key,
    pub server: usize,
    pub exited: Option<ExitStatus>,
    pub last_words: Ring,
}

/// Processes under their instances' keys.
pub(super) type Processes = KeyMap<Process>;

/// The newest lines of a child's stderr, bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct Ring {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Ring {
    pub fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > STDERR_RING {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |line| line.len());
        }
    }

    pub fn last(&self) -> Option<&str> {
        self.lines.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty())
    }

    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl Process {
    /// How it ended, with its last words.
    pub fn epitaph(&self) -> String {
        let how = match self.exited {
            Some(ExitStatus::Code(code)) => format!("exited with status {code}"),
            Some(ExitStatus::Signal(signal)) => format!("was killed by signal {signal}"),
            None => "ended".to_string(),
        };
        match self.last_words.last() {
            Some(words) => format!("{how}: {}", crate::mux::quote(words.as_bytes())),
            None => how,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_lines_within_its_bytes() {
        let mut ring = Ring::default();
        for n in 0..10_000 {
            ring.push(format!("line {n}"));
        }
        ring.push("  ".into());
        assert_eq!(ring.last(), Some("line 9999"));
        assert!(ring.lines().map(str::len).sum::<usize>() <= STDERR_RING);
        ring.push("x".repeat(2 * STDERR_RING));
        assert!(ring.bytes <= STDERR_RING);
    }
}
