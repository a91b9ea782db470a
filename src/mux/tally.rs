//! [`Tally`]: what a server did for its clients, for status and dashboards.

use crate::base::{ShortBytes, Time};
use crate::codec::{Incoming, json};
use crate::mux::method::Method;
use crate::mux::sink::ServerId;
use std::collections::VecDeque;

/// Counts since the start, and the newest requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub requests: u64,
    /// Requests whose answer was an error, the server's or muxloop's.
    pub errors: u64,
    /// Durations of the newest answers in milliseconds, a ring.
    durations: Vec<u32>,
    next: usize,
    recent: VecDeque<Ended>,
    #[cfg(feature = "http")]
    pub series: super::series::ByMethod,
}

/// A request that has come to its end.
#[derive(Clone, Debug)]
pub struct Ended {
    pub method: &'static str,
    /// Of the tool or prompt, or the URI; cut.
    pub name: Option<ShortBytes>,
    /// Number of the client.
    pub client: u64,
    pub ms: u64,
    pub outcome: Outcome,
    pub at: Time,
}

/// What an audit says of a request on top of [`Ended`].
#[derive(Clone, Debug)]
pub struct Audited {
    pub server: ServerId,
    pub ended: Ended,
    /// The client's process, if its end of the socket told it.
    pub pid: Option<u32>,
    pub request_bytes: usize,
    /// 0 if there was no answer.
    pub answer_bytes: usize,
    /// `params.arguments` as written, where they are wanted and not too long.
    pub arguments: Option<Box<[u8]>>,
}

/// Ended requests that wait to be written down.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Whether anybody wants them, and with their arguments.
    pub wanted: Option<bool>,
    waiting: VecDeque<Audited>,
    /// Lost because nobody took them.
    lost: u64,
}

impl Audit {
    pub(super) fn push(&mut self, audited: Audited) {
        if self.waiting.len() == AUDIT_MAX {
            self.lost += 1;
        } else {
            self.waiting.push_back(audited);
        }
    }

    /// Everything that waits, and how many were lost before it.
    pub(super) fn take(&mut self) -> (VecDeque<Audited>, u64) {
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.lost))
    }
}

/// The arguments of a call, as far as an audit keeps them.
pub(super) fn arguments_of(msg: &Incoming<'_>) -> Option<Box<[u8]>> {
    let arguments = json::member(msg.bytes, msg.envelope.params?, "arguments")?;
    Some(msg.text(arguments)).filter(|text| text.len() <= ARGUMENTS_MAX).map(Into::into)
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Error,
    Cancelled,
    Timeout,
    /// Its process ended, or could not be had.
    Lost,
}

impl Outcome {
    /// As the control socket says it.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Error => "error",
            Outcome::Cancelled => "cancelled",
            Outcome::Timeout => "timeout",
            Outcome::Lost => "lost",
        }
    }
}

impl Tally {
    pub(super) fn note(&mut self, ended: Ended) {
        self.errors += u64::from(!matches!(ended.outcome, Outcome::Ok | Outcome::Cancelled));
        if matches!(ended.outcome, Outcome::Ok | Outcome::Error) {
            let ms = u32::try_from(ended.ms).unwrap_or(u32::MAX);
            match self.durations.get_mut(self.next) {
                Some(slot) => *slot = ms,
                None => self.durations.push(ms),
            }
            self.next = (self.next + 1) % DURATIONS;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_back();
        }
        self.recent.push_front(ended);
    }

    /// The duration that half of the newest answers kept under, and 99 of 100; `None` before the first.
    pub(super) fn latency_ms(&self) -> Option<(u64, u64)> {
        let mut sorted = self.durations.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| u64::from(sorted[last * percent / 100]);
        Some((at(50), at(99)))
    }

    /// Newest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Ended> {
        self.recent.iter()
    }
}

/// What a request is about, as far as it says so in one word.
pub(super) fn name_of(method: Method, msg: &Incoming<'_>) -> Option<ShortBytes> {
    let span = match method {
        Method::ToolsCall | Method::PromptsGet => msg.envelope.name?,
        Method::ResourcesRead | Method::Subscribe | Method::Unsubscribe => msg.envelope.uri?,
        _ => return None,
    };
    let text = msg.text(span);
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        let plain = json::unescape(text)?;
        return Some(ShortBytes::new(&plain.as_bytes()[..plain.len().min(NAME_MAX)]));
    }
    Some(ShortBytes::new(&inner[..inner.len().min(NAME_MAX)]))
}

/// Ended requests kept until they are taken, which is after each turn.
const AUDIT_MAX: usize = 65_536;
/// Longest arguments kept for an audit, in bytes.
const ARGUMENTS_MAX: usize = 16 << 10;
/// Number of durations kept.
const DURATIONS: usize = 1_024;
/// Number of requests kept.
const RECENT: usize = 16;
/// Longest name kept, in bytes.
const NAME_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(ms: u64, outcome: Outcome) -> Ended {
        Ended { method: "tools/call", name: None, client: 1, ms, outcome, at: Time(ms) }
    }

    #[test]
    fn percentiles_are_of_the_newest_answers() {
        let mut tally = Tally::default();
        assert_eq!(tally.latency_ms(), None);
        for _ in 0..DURATIONS {
            tally.note(ended(9_999, Outcome::Ok));
        }
        for ms in 0..DURATIONS as u64 {
            tally.note(ended(ms, if ms % 2 == 0 { Outcome::Ok } else { Outcome::Error }));
        }
        assert_eq!(tally.latency_ms(), Some((511, 1_012)));
        assert_eq!(tally.errors, 512);
        assert_eq!(tally.recent().map(|ended| ended.ms).collect::<Vec<_>>().len(), RECENT);
        assert_eq!(tally.recent().next().unwrap().ms, 1_023);
    }

    #[test]
    fn what_was_never_answered_has_no_duration() {
        let mut tally = Tally::default();
        tally.note(ended(30_000, Outcome::Timeout));
        tally.note(ended(5, Outcome::Cancelled));
        tally.note(ended(5, Outcome::Lost));
        assert_eq!((tally.latency_ms(), tally.errors), (None, 2));
    }
}
