//! [`Request`]: who owes whom an answer.
//!
//! A request is filed here for as long as muxloop owes somebody its answer, and *the id it has at the
//! child is its key in this table*: a response is one bounds check away, and a late, repeated or
//! foreign one finds nothing. The table outlives a restart, so the ids of a dead process stay dead
//! (P04). Progress tokens are the same integer.

use crate::base::{Key, ShortBytes, Time, TimerKey};
use crate::mux::bridge::rounds::Round;
use crate::mux::lists::PageKey;
use crate::mux::method::Method;

/// One request that is not answered yet.
#[derive(Debug)]
pub(super) struct Request {
    pub instance: Key,
    pub origin: Origin,
    pub method: Method,
    /// Of the tool or prompt, or the URI, for people (clients' requests).
    pub name: Option<ShortBytes>,
    /// Length of the request as it came, and its arguments if an audit wants them.
    pub bytes: u32,
    pub arguments: Option<Box<[u8]>>,
    /// The era it was asked in (clients' requests).
    pub era: crate::mux::server::Era,
    pub state: State,
    /// Asks for this page of a list, as others may.
    pub list: Option<Box<PageKey>>,
    /// The progress token as its sender wrote it.
    pub token: Option<ShortBytes>,
    /// What its client can be asked (2026-07-28: each request says so).
    pub capabilities: crate::mux::peer::Capabilities,
    /// Set if it has a legacy child for itself alone: whatever that asks, it asks because of this.
    pub call: Option<Box<crate::mux::bridge::suspended::Call>>,
    /// What its client would have to declare for the last question that the child was refused because of it.
    pub lacks: Option<crate::mux::reverse::Need>,
    /// Is a 2026-07-28 request with this log level (protocol.md §2.6 rule L).
    pub log_level: Option<crate::mux::method::Level>,
    /// Asks for a task (2025-11-25): its token lives until the task ends.
    pub task: bool,
    /// Its bytes, if it is at the child and may have to be asked again: of the next process, or with its
    /// client's answers. Counted in `Peer::kept_bytes`.
    pub again: Option<Box<[u8]>>,
    /// May be asked again of the next process (C02).
    pub may_repeat: bool,
    /// How often its child asked for input, and how often in a row it only wanted to be asked again later
    /// (`bridge::rounds`).
    pub rounds: u8,
    pub pauses: u8,
    /// A process died under it already.
    pub was_lost: bool,
    pub started: Time,
    /// Set anew by progress, up to a maximum (P24); the timer may fire before it and is then wound up.
    pub deadline: Time,
    pub timer: Option<TimerKey>,
}

/// Who asked.
#[derive(Debug)]
pub(super) enum Origin {
    /// A client; `id` as written, `position` is its index in `Peer::requests`.
    Peer { peer: Key, link: Key, id: ShortBytes, position: usize },
    /// muxloop itself.
    Own(Own),
    /// A client that was told to ask again with answers (protocol.md §4.2): a key of the suspended calls.
    Suspended(Key),
}

/// Requests that muxloop makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Own {
    /// `initialize` or `server/discover`.
    Handshake,
    /// `ping`, or `server/discover` where there is no ping.
    Heartbeat,
    /// `server/discover`, since what the child can do has changed.
    #[cfg_attr(not(feature = "gateway"), expect(dead_code))]
    Hello,
    SetLevel,
    /// `resources/subscribe` for this URI.
    Subscribe(String),
    Unsubscribe,
    /// `ping` behind a cancel, under `serialize`: its answer says that the cancel was read.
    Fence,
    /// A page of a list that clients were given before this process.
    List,
    /// The merged `subscriptions/listen`.
    Listen,
}

/// How far it got.
#[derive(Debug)]
pub(super) enum State {
    /// Kept until the child can take it.
    Waiting(Box<[u8]>),
    /// At the child.
    Sent { since: Time, aged: bool },
    /// Waits for something of muxloop's: a subscription that is under way.
    Joined,
    /// Its child wants to hear something of its client before it is asked again.
    Asking(Box<Round>),
}

/// What a state counts for at its client.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    /// This many bytes wait.
    Waiting(usize),
    Sent {
        aged: bool,
    },
    Nothing,
}

impl Held {
    pub(super) fn of(state: &State) -> Held {
        match state {
            State::Waiting(bytes) => Held::Waiting(bytes.len()),
            State::Sent { aged, .. } => Held::Sent { aged: *aged },
            State::Joined | State::Asking(_) => Held::Nothing,
        }
    }
}

impl Request {
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent { .. })
    }

    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(_))
    }

    /// Bytes that are kept for asking again.
    pub(super) fn kept_bytes(&self) -> usize {
        let of_round = match &self.state {
            State::Asking(round) => round.kept_bytes(),
            _ => 0,
        };
        of_round + self.again.as_ref().map_or(0, |call| call.len())
    }

    pub(super) fn peer(&self) -> Option<Key> {
        match self.origin {
            Origin::Peer { peer, .. } => Some(peer),
            Origin::Own(_) | Origin::Suspended(_) => None,
        }
    }
}
