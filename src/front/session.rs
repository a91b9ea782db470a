//! [`Session`]: one client of Streamable HTTP before 2026-07-28, or of HTTP+SSE.

use super::stream::Stream;
use crate::base::{Key, Time, TimerKey, sorted};
use crate::codec::{Incoming, Kind};
use crate::mux::ServerId;
use std::collections::BTreeMap;

/// A client that comes with several connections.
#[derive(Debug)]
pub struct Session {
    pub id: String,
    pub server: ServerId,
    /// Its peer in the mux.
    pub link: Key,
    pub kind: Kinds,
    pub last_used: Time,
    /// When that is looked at next.
    pub timer: Option<TimerKey>,
}

#[derive(Debug)]
pub enum Kinds {
    Streamable(Streamable),
    /// HTTP+SSE: everything goes to this connection.
    Events(Key),
    /// A WebSocket: the same.
    Socket(Key),
}

/// What Streamable HTTP adds.
#[derive(Debug, Default)]
pub struct Streamable {
    /// As negotiated; none before `initialize` was answered.
    pub version: Option<String>,
    pub streams: BTreeMap<u32, Stream>,
    /// Raw id of the client's request that the next question is about, if that is known.
    pub about: Option<Box<[u8]>>,
    newest: u32,
    /// How many streams have come to their end.
    ended: u32,
}

impl Session {
    /// Whether nothing would be lost at once if it ended: nobody waits for an answer, and nobody listens.
    pub fn is_idle(&self) -> bool {
        match &self.kind {
            Kinds::Streamable(streamable) => {
                !streamable.is_asked() && streamable.streams.values().all(|stream| stream.conn.is_none())
            }
            Kinds::Events(_) | Kinds::Socket(_) => false,
        }
    }
}

/// Number of the stream that GET opens.
pub const STANDALONE: u32 = 0;
/// Streams that have ended, the last ones, kept for clients that may have missed the end …
const ENDED_MAX: usize = 8;
/// … and of those that have.
const UNREAD_MAX: usize = 64;
/// Most bytes of events that a session keeps.
const KEPT_MAX: usize = 1 << 20;

/// First byte of a line that says what the question behind it is about; no message begins like that.
pub const ABOUT: u8 = b'@';

/// The line in front of a question that is about a client's request with this raw id.
pub fn about(request: &[u8]) -> Vec<u8> {
    [&[ABOUT], request].concat()
}

impl Streamable {
    pub fn new() -> Streamable {
        let mut streams = BTreeMap::new();
        streams.insert(STANDALONE, Stream::standalone());
        Streamable { version: None, streams, about: None, newest: 0, ended: 0 }
    }

    /// Adds the stream of a POST.
    pub fn add(&mut self, stream: Stream) -> u32 {
        self.newest += 1;
        self.streams.insert(self.newest, stream);
        self.newest
    }

    /// Nobody waits any more for the answer to the request with this raw id on a stream.
    pub fn settle(&mut self, number: u32, id: &[u8]) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let Some(at) = stream.pending.iter().position(|own| **own == *id) else { return };
        stream.pending.swap_remove(at);
        if stream.pending.is_empty() {
            self.ended += 1;
            stream.ended = self.ended;
        }
    }

    /// The stream on which the answer to a request with this raw id is still to come.
    pub fn stream_of(&self, id: &[u8]) -> Option<u32> {
        self.streams.iter().find(|(_, stream)| stream.awaits(id)).map(|(number, _)| *number)
    }

    /// Which stream a message of the server belongs on: each on exactly one (P34).
    pub fn stream_for(&self, message: &Incoming<'_>) -> Option<u32> {
        let envelope = &message.envelope;
        let waiting = || self.streams.iter().filter(|(_, stream)| !stream.pending.is_empty());
        let reachable = || waiting().find(|(_, stream)| stream.is_reachable());
        match envelope.kind {
            Kind::Response | Kind::Error => return self.stream_of(message.text(envelope.id?)),
            // Such a request is asked because of a request of this client (protocol.md §2.6 rule 3), of which is
            // not always known.
            Kind::Request => {
                let about = self.about.as_deref();
                let asked = about
                    .and_then(|id| waiting().find(|(_, stream)| stream.awaits(id) && stream.is_reachable()));
                asked.or_else(reachable).or_else(|| self.streams.first_key_value())
            }
            Kind::Notification => {
                let token = envelope.token.map(|span| message.text(span));
                let asked = token.and_then(|token| {
                    waiting().find(|(_, stream)| stream.tokens.iter().any(|own| **own == *token))
                });
                let standalone = || self.streams.first_key_value();
                let read = |(_, stream): &(&u32, &Stream)| stream.conn.is_some() && stream.committed;
                // The stream of a request that was taken back may still be open, and read.
                asked
                    .or_else(|| standalone().filter(read))
                    .or_else(reachable)
                    .or_else(|| self.streams.iter().find(read))
                    .or_else(standalone)
            }
        }
        .map(|(number, _)| *number)
    }

    /// Whether somebody waits for the answer to a request with this raw id, or may come for it: to another
    /// one with it, nobody could tell whose answer is whose.
    pub fn awaits(&self, id: &[u8]) -> bool {
        self.streams.values().any(|stream| stream.is_reachable() && stream.awaits(id))
    }

    /// Whether a request with this raw id is open whose answer nobody can get any more: its connection broke
    /// before its stream began, so there is nothing to resume from.
    pub fn waits_unread(&self, id: &[u8]) -> bool {
        self.streams.values().any(|stream| !stream.is_reachable() && stream.awaits(id))
    }

    /// Whether anything is still to be answered.
    pub fn is_asked(&self) -> bool {
        self.streams.values().any(|stream| !stream.pending.is_empty())
    }

    /// Whether clients of its version understand the priming event (P36).
    pub fn primes(&self) -> bool {
        self.version.as_deref().is_some_and(|version| version >= "2025-11-25")
    }

    /// Whether arrays of messages are allowed (P33).
    pub fn allows_batch(&self) -> bool {
        self.version.as_deref() == Some("2025-03-26")
    }

    /// Keeps the store within its bound. How many events are lost that nobody has got.
    pub fn shrink(&mut self) -> usize {
        for (unread, most) in [(true, UNREAD_MAX), (false, ENDED_MAX)] {
            let ended = |stream: &Stream| {
                stream.conn.is_none() && stream.pending.is_empty() && stream.is_unread() == unread
            };
            let over = self.streams.iter().filter(|(number, stream)| **number != STANDALONE && ended(stream));
            let mut over: Vec<_> = over.map(|(number, stream)| (stream.ended, *number)).collect();
            sorted::sort_by(&mut over, |a, b| b.cmp(a));
            for (_, number) in over.into_iter().skip(most) {
                self.streams.remove(&number);
            }
        }
        let mut lost = 0;
        let mut total: usize = self.streams.values().map(Stream::bytes).sum();
        while total > KEPT_MAX {
            // The largest has been spared longest.
            let Some(largest) = self.streams.values_mut().max_by_key(|stream| stream.bytes()) else { break };
            let before = largest.bytes();
            lost += largest.shrink(before.saturating_sub(total - KEPT_MAX));
            total -= before - largest.bytes();
        }
        lost
    }
}
