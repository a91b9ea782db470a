//! [`Stream`]: what one request, or the session itself, says to its client, kept for a resume.

use crate::base::Key;
use crate::codec::sse;
use std::collections::VecDeque;

/// An event that may have to be sent again.
#[derive(Debug)]
struct Kept {
    sequence: u32,
    data: Box<[u8]>,
}

/// One stream of a session (protocol.md §3.2): of a POST, or number 0, which GET opens.
#[derive(Debug, Default)]
pub struct Stream {
    /// The connection it is written to; none after that broke.
    pub conn: Option<Key>,
    /// Raw ids that are still to be answered on it.
    pub pending: Vec<Box<[u8]>>,
    /// Raw progress tokens of its requests.
    pub tokens: Vec<Box<[u8]>>,
    /// Answers of a batch, while it may still be answered as one array.
    pub collected: Option<Vec<Vec<u8>>>,
    /// It has become an event stream; before, one JSON text can answer.
    pub committed: bool,
    /// A request of it was taken back: without an answer it has no end.
    pub withdrawn: bool,
    /// Which of its session's streams it was to come to its end, counted from 1.
    pub ended: u32,
    kept: VecDeque<Kept>,
    bytes: usize,
    sequence: u32,
    /// Highest sequence number that was written to a connection.
    written: u32,
}

impl Stream {
    /// The stream that GET opens.
    pub fn standalone() -> Stream {
        Stream { committed: true, ..Stream::default() }
    }

    /// The stream of a POST with these requests.
    pub fn of_post(conn: Key, pending: Vec<Box<[u8]>>, tokens: Vec<Box<[u8]>>, is_batch: bool) -> Stream {
        let collected = is_batch.then(Vec::new);
        Stream { conn: Some(conn), pending, tokens, collected, ..Stream::default() }
    }

    /// Keeps an event, and gives it as bytes for the connection.
    pub fn push(&mut self, number: u32, data: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        self.bytes += data.len();
        self.kept.push_back(Kept { sequence: self.sequence, data: data.into() });
        if self.conn.is_some() {
            self.written = self.sequence;
        }
        event(number, self.sequence, data)
    }

    /// Forgets oldest events until at most `limit` bytes are kept. How many of them nobody has got.
    pub fn shrink(&mut self, limit: usize) -> usize {
        let mut lost = 0;
        while self.bytes > limit {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.data.len();
            lost += usize::from(oldest.sequence > self.written);
        }
        lost
    }

    /// Whether the answer to a request with this raw id is still to come on it.
    pub fn awaits(&self, id: &[u8]) -> bool {
        self.pending.iter().any(|own| **own == *id)
    }

    /// Whether what is said on it can be read: now, or after a resume.
    pub fn is_reachable(&self) -> bool {
        self.conn.is_some() || self.committed
    }

    /// Whether it has events that nobody has got.
    pub fn is_unread(&self) -> bool {
        self.sequence > self.written
    }

    /// Bytes of the events that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The event that comes first on a connection, so that a client can resume even if it gets nothing else
    /// (P36): what was written to connections before is not to come again.
    pub fn priming(&self, number: u32) -> Vec<u8> {
        let mut out = Vec::new();
        sse::write_event(&mut out, Some(&id(number, self.written)), None, Some(RETRY_MS), b"");
        out
    }

    /// What is to be written to a connection that takes over: everything after `seen`, or what nobody has
    /// got. The second figure: events in between that are not kept any more.
    pub fn replay(&mut self, number: u32, seen: Option<u32>) -> (Vec<u8>, u32) {
        let after = seen.unwrap_or(self.written);
        let mut bytes = Vec::new();
        for kept in self.kept.iter().filter(|kept| kept.sequence > after) {
            bytes.extend_from_slice(&event(number, kept.sequence, &kept.data));
        }
        let first = self.kept.front().map_or(self.sequence + 1, |kept| kept.sequence);
        self.written = self.sequence;
        (bytes, first.saturating_sub(after.saturating_add(1)))
    }

    /// Whether it was given such a sequence number (0: the priming event).
    pub fn has_said(&self, sequence: u32) -> bool {
        sequence <= self.sequence
    }
}

fn event(number: u32, sequence: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 48);
    sse::write_event(&mut out, Some(&id(number, sequence)), Some("message"), None, data);
    out
}

/// Event ids name the stream, then the place in it.
fn id(number: u32, sequence: u32) -> String {
    format!("{number}-{sequence}")
}

/// Reads a `Last-Event-ID`.
pub fn parse_id(id: &str) -> Option<(u32, u32)> {
    let (number, sequence) = id.split_once('-')?;
    Some((number.parse().ok()?, sequence.parse().ok()?))
}

/// How long clients wait before they reconnect, in milliseconds.
const RETRY_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_resume_gives_what_was_missed_in_order() {
        let mut stream = Stream { conn: Some(Key::from_u64(1).unwrap()), ..Stream::default() };
        assert_eq!(text(stream.push(3, b"{1}")), "event: message\nid: 3-1\ndata: {1}\n\n");
        stream.push(3, b"{2}");
        stream.conn = None;
        stream.push(3, b"{3}");
        let (bytes, missing) = stream.replay(3, Some(1));
        assert_eq!(missing, 0);
        assert_eq!(
            text(bytes),
            "event: message\nid: 3-2\ndata: {2}\n\nevent: message\nid: 3-3\ndata: {3}\n\n"
        );
        assert_eq!(stream.replay(3, None), (Vec::new(), 0));
    }

    #[test]
    fn a_new_connection_gets_what_nobody_has_got() {
        let mut stream = Stream::default();
        stream.push(0, b"a");
        stream.push(0, b"b");
        let (bytes, _) = stream.replay(0, None);
        assert_eq!(text(bytes).matches("data:").count(), 2);
        assert_eq!(stream.replay(0, None).0, b"");
    }

    #[test]
    fn the_store_is_bounded_and_counts_its_losses() {
        let mut stream = Stream { conn: Some(Key::from_u64(1).unwrap()), ..Stream::default() };
        stream.push(1, &[b'x'; 60]);
        stream.conn = None;
        stream.push(1, &[b'y'; 60]);
        stream.push(1, &[b'z'; 60]);
        assert_eq!(stream.shrink(130), 0, "the first was written");
        assert_eq!(stream.shrink(100), 1);
        assert_eq!(stream.bytes(), 60);
        assert_eq!(stream.replay(1, Some(1)).1, 1, "one of them is missing");
    }

    #[test]
    fn ids_are_read_strictly() {
        assert_eq!(parse_id("7-12"), Some((7, 12)));
        for wrong in ["", "7", "7-", "-1", "a-1", "1-2-3", "99999999999-1", "7-+"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}
