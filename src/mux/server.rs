//! A configured server, and its instances: the life cycle of a child process.
//!
//! ```text
//!            start             handshake done
//!  Stopped ────────▶ Starting ────────────────▶ Ready
//!     ▲  ▲               │ exit, failure, timeout  │ exit, closed pipe, missed heartbeats
//!     │  │ idle, stop    ▼                         ▼
//!     │  └────────── Stopping ◀───── (process still lives: stdin, SIGTERM, SIGKILL)
//!     │                  │ exited
//!     │                  ▼ unwanted                        too many in a row
//!     └── (removed)   Backoff ──── time is up ──▶ Starting ───────────▶ Failed
//! ```

use crate::base::{Key, SortedMap, Time, TimerKey};
use crate::mux::bridge::Floor;
use crate::mux::era::Search;
use crate::mux::listen::{ListenKey, Upstream};
use crate::mux::lists::Lists;
use crate::mux::method::{Level, ListKind};
use crate::mux::policy::{Found, ServerPolicy};
use crate::mux::rate::Meter;
use crate::mux::retry::Repeatable;
use crate::mux::sink::StopStep;
use crate::mux::sponsor::Sponsored;
use crate::mux::tally::Tally;
use crate::mux::tasks::Owners;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// The two families of protocol revisions (protocol.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Era {
    /// 2024-11-05 to 2025-11-25: `initialize` handshake.
    Legacy,
    /// 2026-07-28: every request stands alone.
    Modern,
}

impl Era {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Era::Legacy => "the legacy era (2024-11-05 to 2025-11-25, with `initialize`)",
            Era::Modern => "the modern era (2026-07-28, without `initialize`)",
        }
    }
}

/// One entry of the configuration.
#[derive(Debug)]
pub(super) struct Server {
    pub policy: ServerPolicy,
    /// The instance that all clients share; `None` where each has its own.
    pub shared: Option<Key>,
    /// The newest answer to a handshake, where processes live for one request.
    pub hello: Option<Rc<Hello>>,
    /// Whether a timer will see to its spare processes.
    pub topping_up: bool,
    /// Restarts of processes that are forgotten.
    pub past_restarts: u64,
    /// Where each client has its own: that of all requests that stand for themselves, whose client nobody
    /// can tell from another of the same right (protocol.md §4.2).
    pub for_guests: Option<Key>,
    /// What it has for clients of merged endpoints.
    pub sponsored: Vec<Sponsored>,
    /// Clients connected, refused ones not counted.
    pub clients: usize,
    /// Requests of all clients, where they are limited, and those refused so far.
    pub meter: Meter,
    pub limited: u64,
    /// Those of its clients that no limit counts.
    pub guests: usize,
    /// The era its process was found to speak.
    pub verdict: Option<Found>,
    /// Tools whose calls may be made twice.
    pub repeatable: Repeatable,
    /// Stopped by its operator: stays down until it is started again.
    pub held: bool,
    /// Taken out of the configuration: takes no new clients, and its place is free once all is over.
    pub retired: bool,
    /// What is known of its lists.
    pub lists: Lists,
    pub tally: Tally,
}

/// One process of a server, running or not.
#[derive(Debug)]
pub(super) struct Instance {
    pub server: usize,
    /// The only client, where each has its own process.
    pub owner: Option<Key>,
    /// Started ahead of its client: runs, and is told nothing yet.
    pub spare: bool,
    /// The request it was made for, where each has its own process: it ends with it.
    pub only: Option<Key>,
    pub phase: Phase,
    /// Its stdin and stdout, while it runs.
    pub link: Option<Key>,
    /// The era it is spoken to in; `None` until the first client tells.
    pub era: Option<Era>,
    /// Its last answer to the handshake; outlives the process, so that `initialize` can be answered
    /// while it restarts.
    pub hello: Option<Rc<Hello>>,
    /// `hello` is of a process that was started otherwise than the next one: nobody is told it any more.
    pub outdated: bool,
    /// The handshake that is under way.
    pub handshake: Option<Key>,
    /// How its era is being found out.
    pub search: Search,
    /// Clients' requests at the child.
    pub in_flight: usize,
    /// Clients with waiting requests that it could serve, in the order of their turns (B10).
    pub queue: VecDeque<Key>,
    /// Whether the turns of `queue` are being given at this moment.
    pub dispatching: bool,
    /// Whose interactive requests are at a legacy child that may ask something during them.
    pub holder: Option<Holder>,
    /// How many they are.
    pub holding: usize,
    /// How many more the holder may send although somebody else waits.
    pub allowance: usize,
    /// A cancel that the child may not have read yet.
    pub fence: Option<Fence>,
    /// Somebody else waits for the holder to be done.
    pub contended: bool,
    /// Clients that are not read from until it takes more.
    pub stalled: Vec<Key>,
    /// Requests of the child that wait for a client.
    pub reverse: usize,
    /// The log level it was last told.
    pub level: Option<Level>,
    /// Whether its answer to that is still out.
    pub setting_level: bool,
    /// What modern requests need of a legacy child's level.
    pub floor: Floor,
    /// What its clients want of single resources, whatever its era.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// Subscriptions that a restarted child does not know yet.
    pub replays: VecDeque<String>,
    pub listen: Upstream,
    /// Owners of its tasks and of its URL elicitations (P20, P21).
    pub owners: Owners,
    pub changed: SortedMap<ListKind, Changed>,
    /// Restarts in a row; forgotten after a sustained uptime.
    pub attempts: u32,
    /// Restarts since muxloop started.
    pub restarts: u64,
    pub ready_since: Option<Time>,
    /// When the last message came from it.
    pub heard: Time,
    /// When a client last needed it.
    pub used: Time,
    pub missed_heartbeats: u32,
    /// Due while it is ready, one of each at most.
    pub heartbeat_timer: Option<TimerKey>,
    pub idle_timer: Option<TimerKey>,
    /// Round trip of the last answered heartbeat.
    pub heartbeat_ms: Option<u64>,
    /// Why it last went down, in words.
    pub last_failure: Option<String>,
}

/// Where an instance stands.
#[derive(Debug)]
pub(super) enum Phase {
    Stopped,
    /// Asked for, or running without a finished handshake. The timer bounds the handshake.
    Starting {
        timer: Option<TimerKey>,
    },
    Ready,
    Stopping {
        step: StopStep,
        timer: TimerKey,
        then: Then,
    },
    /// Waits before the next start. `spawn_failed`: there was no process at all.
    Backoff {
        until: Time,
        timer: TimerKey,
        spawn_failed: bool,
    },
    /// Given up after `max_restarts`.
    Failed,
}

/// What follows the end of a process that was told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Stay down until needed.
    Rest,
    /// Start again at once, in another era.
    Respawn(Era),
    /// Start again at once, as it was.
    Restart,
    /// Something went wrong: start again after a pause.
    Backoff,
    /// As `Backoff`, but nobody was told yet: its output ended, and its exit, which usually follows at once,
    /// says more about why.
    BackoffAsExited,
    /// Forget the instance.
    Remove,
}

/// A child's answer to the handshake.
#[derive(Debug)]
pub(super) struct Hello {
    pub era: Era,
    /// Its word on itself as an `InitializeResult`, and as a `DiscoverResult`: the one as it wrote it, the
    /// other made of that.
    pub initialized: Vec<u8>,
    pub discovered: Vec<u8>,
    /// Its name and version, a JSON object.
    pub server_info: Vec<u8>,
    pub logging: bool,
    pub subscribe: bool,
    pub tools_changed: bool,
    pub prompts_changed: bool,
    pub resources_changed: bool,
    /// Modern: until when it may be given to clients.
    pub fresh_until: Time,
}

impl Hello {
    /// Its word on itself as it wrote it, but for the versions.
    pub(super) fn as_written(&self) -> &[u8] {
        if self.era == Era::Legacy { &self.initialized } else { &self.discovered }
    }

    /// Whether the server declares that this list can change.
    pub(super) fn announces(&self, kind: ListKind) -> bool {
        match kind {
            ListKind::Tools => self.tools_changed,
            ListKind::Prompts => self.prompts_changed,
            ListKind::Resources => self.resources_changed,
        }
    }
}

/// A resource subscription shared by its holders: at a legacy child one of its own, at a modern one a part
/// of the merged listen (there only legacy clients are counted here).
#[derive(Debug, Default)]
pub(super) struct Subscription {
    pub holders: BTreeSet<Subscriber>,
    /// Requests that wait for the child's answer to the one that was forwarded.
    pub joined: Vec<Key>,
    /// Listens that wait for it.
    pub listens: Vec<ListenKey>,
    /// Whether the child's answer is still out.
    pub pending: bool,
}

/// Who is told of a resource's updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subscriber {
    /// A legacy client.
    Client(Key),
    /// A modern client's listen, at a legacy child.
    Listen(ListenKey),
}

impl Subscription {
    /// The legacy clients among the holders.
    pub(super) fn clients(&self) -> impl Iterator<Item = Key> + '_ {
        self.holders.iter().filter_map(|holder| match holder {
            Subscriber::Client(peer) => Some(*peer),
            Subscriber::Listen(_) => None,
        })
    }
}

/// Until a child has read a cancel, its questions and log lines may still mean the client whose request
/// was cancelled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    /// The ping behind the cancel: its answer says that it was read.
    pub request: Key,
    /// That client; `None` if it is several.
    pub peer: Option<Key>,
}

/// For whom a legacy child is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A client's requests: that client is asked.
    Peer(Key),
    /// One request of a client that is asked by way of its answer. Until it ended at the child, also while
    /// it is suspended.
    Call(Key),
}

/// Coalescing of `list_changed` bursts.
#[derive(Debug, Default)]
pub(super) struct Changed {
    pub last: Option<Time>,
    pub scheduled: bool,
}

impl Server {
    /// Its clients that `max_active_clients` counts.
    pub(super) fn counted(&self) -> usize {
        self.clients - self.guests
    }

    pub(super) fn is_full(&self) -> bool {
        self.counted() >= self.policy.max_active_clients
    }

    pub(super) fn new(policy: ServerPolicy) -> Self {
        let verdict = policy.found.clone();
        Server {
            policy,
            shared: None,
            hello: None,
            topping_up: false,
            past_restarts: 0,
            for_guests: None,
            sponsored: Vec::new(),
            clients: 0,
            meter: Meter::default(),
            limited: 0,
            guests: 0,
            verdict,
            repeatable: Repeatable::default(),
            held: false,
            retired: false,
            lists: Lists::default(),
            tally: Tally::default(),
        }
    }
}

impl Instance {
    pub(super) fn new(server: usize, owner: Option<Key>) -> Self {
        Instance {
            server,
            owner,
            spare: false,
            only: None,
            phase: Phase::Stopped,
            link: None,
            era: None,
            hello: None,
            outdated: false,
            search: Search::default(),
            in_flight: 0,
            queue: VecDeque::new(),
            dispatching: false,
            holder: None,
            holding: 0,
            allowance: 0,
            fence: None,
            contended: false,
            handshake: None,
            stalled: Vec::new(),
            reverse: 0,
            level: None,
            setting_level: false,
            floor: Floor::default(),
            subscriptions: BTreeMap::new(),
            replays: VecDeque::new(),
            listen: Upstream::default(),
            owners: Owners::default(),
            changed: SortedMap::new(),
            attempts: 0,
            restarts: 0,
            ready_since: None,
            heard: Time::ZERO,
            used: Time::ZERO,
            missed_heartbeats: 0,
            heartbeat_timer: None,
            idle_timer: None,
            heartbeat_ms: None,
            last_failure: None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// The link if requests may go to it now.
    pub(super) fn open_link(&self) -> Option<Key> {
        if self.is_ready() { self.link } else { None }
    }

    /// Whether a process exists or was asked for.
    pub(super) fn has_process(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. } | Phase::Ready | Phase::Stopping { .. })
    }
}

/// The pause before restart number `attempt` (from 1): doubled each time up to the maximum, less up to
/// a quarter by chance, so that servers that fell together do not rise together.
pub(super) fn backoff_ms(policy: &ServerPolicy, attempt: u32, random: u64) -> u64 {
    let doubled = policy
        .restart_backoff_ms
        .saturating_mul(1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX));
    let capped = doubled.min(policy.restart_backoff_max_ms);
    capped - random % (capped / 4 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_maximum_less_at_most_a_quarter() {
        let policy = ServerPolicy::new("x");
        for (attempt, full) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (5, 16_000), (6, 30_000), (64, 30_000), (400, 30_000)]
        {
            for random in [0, 1, 12_345, u64::MAX] {
                let ms = backoff_ms(&policy, attempt, random);
                assert!(ms <= full && ms >= full - full / 4, "attempt {attempt}: {ms}");
            }
        }
    }
}
