//! [`Journal`]: the newest lines of each server, its own from stderr and muxloop's about it, for
//! `muxloop logs`.

use crate::base::limits::JOURNAL_BYTES;
use crate::mux::ServerId;
use std::collections::VecDeque;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `None`: about muxloop as a whole.
    pub server: Option<ServerId>,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// Whether muxloop says it.
    pub ours: bool,
    pub text: String,
}

/// Lines of all servers in their order, bounded in bytes for each.
#[derive(Debug, Default)]
pub(super) struct Journal {
    lines: VecDeque<LogLine>,
    /// Bytes kept of each server; the last one is of those without.
    bytes: Vec<usize>,
}

impl Journal {
    pub fn push(&mut self, line: LogLine) {
        let slot = line.server.map_or(0, |server| server + 1);
        if self.bytes.len() <= slot {
            self.bytes.resize(slot + 1, 0);
        }
        self.bytes[slot] += cost(&line);
        let server = line.server;
        self.lines.push_back(line);
        while self.bytes[slot] > JOURNAL_BYTES {
            let Some(at) = self.lines.iter().position(|line| line.server == server) else { break };
            if let Some(old) = self.lines.remove(at) {
                self.bytes[slot] -= cost(&old);
            }
        }
    }

    /// The newest `count` lines of a server, or of all; the newest last.
    pub fn tail(&self, server: Option<ServerId>, count: usize) -> Vec<&LogLine> {
        let wanted = |line: &&LogLine| server.is_none() || line.server == server;
        let mut newest: Vec<&LogLine> = self.lines.iter().rev().filter(wanted).take(count).collect();
        newest.reverse();
        newest
    }

    /// Forgets a server's lines: its place may be another's soon.
    pub fn forget(&mut self, server: ServerId) {
        self.lines.retain(|line| line.server != Some(server));
        if let Some(bytes) = self.bytes.get_mut(server + 1) {
            *bytes = 0;
        }
    }
}

fn cost(line: &LogLine) -> usize {
    line.text.len() + std::mem::size_of::<LogLine>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(server: Option<ServerId>, text: String) -> LogLine {
        LogLine { server, unix_ms: 0, ours: false, text }
    }

    #[test]
    fn a_talkative_server_displaces_only_its_own_lines() {
        let mut journal = Journal::default();
        journal.push(line(Some(0), "quiet".into()));
        journal.push(line(None, "general".into()));
        for n in 0..20_000 {
            journal.push(line(Some(1), format!("line {n}")));
        }
        assert!(journal.lines.iter().map(cost).sum::<usize>() <= JOURNAL_BYTES + 1_000);
        assert_eq!(journal.tail(Some(0), 5).len(), 1);
        let newest: Vec<&str> = journal.tail(Some(1), 2).iter().map(|line| line.text.as_str()).collect();
        assert_eq!(newest, ["line 19998", "line 19999"]);
        journal.forget(1);
        assert_eq!(journal.tail(None, 9).len(), 2);
    }
}
