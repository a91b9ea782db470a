//! What is known of a peer: one downstream client context (protocol.md, words).

use crate::base::limits::{REQUESTS_PER_CLIENT, WAITING_BYTES_PER_CLIENT};
use crate::base::{Key, ShortBytes};
use crate::mux::listen::Listen;
use crate::mux::method::Level;
use crate::mux::rate::Meter;
use crate::mux::sink::ServerId;
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};

/// One client.
#[derive(Debug)]
pub(super) struct Peer {
    pub server: ServerId,
    /// Counted from 1: what people call it.
    pub number: u64,
    /// Its process, if that is known.
    pub pid: Option<u32>,
    /// Its connection.
    pub link: Key,
    /// Came when the server had all the clients it may have: is told so and closed (D03).
    pub refused: bool,
    /// Its requests, where they are limited.
    pub meter: Meter,
    /// Is none of the clients that are limited.
    pub guest: bool,
    /// The client of a merged endpoint that it stands for.
    pub sponsor: Option<Key>,
    /// Only listens: the server is neither started nor kept running for it.
    pub watches: bool,
    /// Set by `initialize`.
    pub legacy: Option<Legacy>,
    /// Has sent a 2026-07-28 request.
    pub modern: bool,
    /// The process that serves it, once known; `None` where each request has its own.
    pub instance: Option<Key>,
    /// Those processes, oldest first, until they have ended.
    pub alone: Vec<Key>,
    /// Its unanswered requests, in no order; `Request::position` is the index in here.
    pub requests: Vec<Key>,
    /// Those of them that are at the child.
    pub in_flight: usize,
    /// Those of them that have been there for long: the child is at work on them, so they are not what
    /// another client's request has to stand behind.
    pub aged: usize,
    /// Whether a timer will look for aged ones.
    pub aging: bool,
    /// Those that wait in muxloop, oldest first. Keys of finished ones are skipped.
    pub waiting: VecDeque<Key>,
    /// Bytes kept for the waiting ones.
    pub waiting_bytes: usize,
    /// Bytes kept of those that may have to be asked again.
    pub kept_bytes: usize,
    /// Whether it stands in its instance's queue.
    pub queued: bool,
    /// Requests of the child that it has not answered yet.
    pub reverse: Vec<Key>,
    /// The log level it asked for (legacy).
    pub level: Option<Level>,
    /// URIs it is subscribed to (legacy).
    pub subscriptions: BTreeSet<String>,
    /// Its open `subscriptions/listen` (modern).
    pub listens: Vec<Listen>,
    /// Not read from at the moment.
    pub paused: bool,
    /// Has ended its side; closed with its last answer.
    pub draining: bool,
}

/// What a client said in `initialize`.
#[derive(Debug)]
pub(super) struct Legacy {
    pub version: Version,
    pub capabilities: Capabilities,
    /// Its params as written, for a child of its own.
    pub params: Box<[u8]>,
    /// The same as the `_meta` of a request, for a child of the modern era.
    pub identity: Box<[u8]>,
    /// Has sent `notifications/initialized`: ready for what it did not ask for.
    pub initialized: bool,
}

impl Peer {
    pub(super) fn new(server: ServerId, link: Key, refused: bool, number: u64) -> Self {
        Peer {
            server,
            number,
            pid: None,
            link,
            refused,
            meter: Meter::default(),
            guest: false,
            sponsor: None,
            watches: false,
            legacy: None,
            modern: false,
            instance: None,
            alone: Vec::new(),
            requests: Vec::new(),
            in_flight: 0,
            aged: 0,
            aging: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            kept_bytes: 0,
            queued: false,
            reverse: Vec::new(),
            level: None,
            subscriptions: BTreeSet::new(),
            listens: Vec::new(),
            paused: false,
            draining: false,
        }
    }

    /// A legacy client that is ready for unsolicited messages.
    pub(super) fn is_open_legacy(&self) -> bool {
        self.legacy.as_ref().is_some_and(|legacy| legacy.initialized)
    }

    /// Whether one more request may be at the child without burying others' (B10).
    pub(super) fn has_room(&self, in_flight_max: usize) -> bool {
        self.in_flight - self.aged < in_flight_max
    }

    /// Whether it has as much unanswered as it may have.
    pub(super) fn is_full(&self) -> bool {
        self.requests.len() >= REQUESTS_PER_CLIENT || self.waiting_bytes >= WAITING_BYTES_PER_CLIENT
    }
}

/// Revisions of the protocol with an `initialize` handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
}

/// The revision without one.
pub(super) const MODERN_VERSION: &str = "2026-07-28";

impl Version {
    pub(super) const LATEST: Version = Version::V2025_11_25;

    /// The version to answer a client that asked for `token` with: the same if known, else the latest
    /// (P06).
    pub(super) fn negotiate(token: &[u8]) -> Version {
        [Version::V2024_11_05, Version::V2025_03_26, Version::V2025_06_18]
            .into_iter()
            .find(|version| {
                token.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""))
                    == Some(version.name().as_bytes())
            })
            .unwrap_or(Version::LATEST)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Version::V2024_11_05 => "2024-11-05",
            Version::V2025_03_26 => "2025-03-26",
            Version::V2025_06_18 => "2025-06-18",
            Version::V2025_11_25 => "2025-11-25",
        }
    }
}

/// What a client can be asked (protocol.md §2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub sampling: bool,
    pub sampling_tools: bool,
    pub elicitation_form: bool,
    pub elicitation_url: bool,
    pub roots: bool,
}

impl Capabilities {
    /// Reads a `ClientCapabilities` object.
    pub(super) fn parse(text: &[u8]) -> Capabilities {
        let value: Value = serde_json::from_slice(text).unwrap_or(Value::Null);
        let elicitation = &value["elicitation"];
        let form = !elicitation["form"].is_null();
        let url = !elicitation["url"].is_null();
        Capabilities {
            sampling: value["sampling"].is_object(),
            sampling_tools: !value["sampling"]["tools"].is_null(),
            // `elicitation: {}` means form only (protocol.md §2.4).
            elicitation_form: elicitation.is_object() && (form || !url),
            elicitation_url: url,
            roots: value["roots"].is_object(),
        }
    }
}

/// A request of a child to a client that waits for the client's answer.
#[derive(Debug)]
pub(super) struct Reverse {
    pub instance: Key,
    pub peer: Key,
    /// The child's own id, as written.
    pub id: ShortBytes,
    /// The child's progress token, as written.
    pub token: Option<ShortBytes>,
    pub timer: crate::base::TimerKey,
    /// It is muxloop that asks, for this request of the client, whose question of this number it is
    /// (`bridge::rounds`); `None` if the child itself asked.
    pub call: Option<(Key, usize)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_echoed_if_known_and_else_the_latest() {
        for known in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
            assert_eq!(Version::negotiate(format!("\"{known}\"").as_bytes()).name(), known);
        }
        for unknown in ["\"1999-01-01\"", "\"2026-07-28\"", "7", "\"\""] {
            assert_eq!(Version::negotiate(unknown.as_bytes()), Version::LATEST);
        }
    }

    #[test]
    fn an_empty_elicitation_capability_means_forms_only() {
        let read = |text: &str| Capabilities::parse(text.as_bytes());
        assert_eq!(read("{}"), Capabilities::default());
        assert!(read(r#"{"elicitation":{}}"#).elicitation_form);
        assert!(!read(r#"{"elicitation":{}}"#).elicitation_url);
        assert!(read(r#"{"elicitation":{"url":{}}}"#).elicitation_url);
        assert!(!read(r#"{"elicitation":{"url":{}}}"#).elicitation_form);
        assert!(read(r#"{"sampling":{"tools":{}}}"#).sampling_tools);
        assert!(read(r#"{"roots":{"listChanged":true}}"#).roots);
    }
}
