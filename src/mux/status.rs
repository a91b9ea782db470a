//! What the mux can tell about itself: plain values for status, tests and the simulator.

use crate::base::{Key, Time};
use crate::mux::Mux;
use crate::mux::server::{Era, Instance, Phase};
use crate::mux::sink::ServerId;
pub use crate::mux::tally::{Audited, Ended, Outcome};

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub answers: u64,
    pub failures: u64,
    pub cancelled: u64,
    pub malformed: u64,
    /// Answers of children that nobody was waiting for (late, repeated, invented).
    pub unrequested: u64,
}

/// Sizes of the tables: all zero but `instances` when nothing is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub peers: usize,
    pub instances: usize,
    pub requests: usize,
    pub reverse: usize,
    pub timers: usize,
    pub owners: usize,
    /// Links to clients and children.
    pub links: usize,
    /// Calls that wait for their clients to ask again.
    pub suspended: usize,
}

/// Where one instance stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceStatus {
    pub server: String,
    /// `stopped`, `starting`, `ready`, `stopping`, `backoff`, `failed`.
    pub state: &'static str,
    pub clients: usize,
    pub in_flight: usize,
    pub restarts: u64,
    pub next_attempt_in_ms: Option<u64>,
    pub heartbeat_ms: Option<u64>,
    pub last_failure: Option<String>,
}

/// Where a server stands: that of its process, or the worst where clients have their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not started yet, or stopped while idle.
    Lazy,
    Starting,
    /// Runs, and waits for its first client, who tells the era.
    Ungreeted,
    Ready,
    Stopping,
    /// By its operator.
    Held,
    Backoff {
        next_in_ms: u64,
    },
    Failed,
}

/// One server, for people.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    pub standing: Standing,
    /// The instance that speaks for the server, if it has any.
    pub instance: Option<Key>,
    /// Processes, running or about to.
    pub processes: usize,
    /// Those of them that nobody has needed yet.
    pub spares: usize,
    pub clients: usize,
    /// Requests at the processes, and waiting in muxloop.
    pub pending: usize,
    pub queued: usize,
    pub requests: u64,
    pub errors: u64,
    /// Median and 99th percentile of the newest answers.
    pub latency_ms: Option<(u64, u64)>,
    /// Since the start, and in a row.
    pub restarts: u64,
    /// Requests refused as too many.
    pub limited: u64,
    pub attempts: u32,
    pub up_ms: Option<u64>,
    pub last_failure: Option<String>,
    pub heartbeat_ms: Option<u64>,
    pub heartbeat_misses: u32,
    pub era: Option<Era>,
    /// The answer to its handshake: `InitializeResult` or `DiscoverResult`.
    pub hello: Option<Vec<u8>>,
    /// Its tools, and the bytes of their list, as last heard.
    pub tools: Option<(usize, usize)>,
    /// Newest first.
    pub recent: Vec<Ended>,
}

impl Mux {
    /// One server, by its index in the order of their addition; `None` where none is.
    pub fn server_status(&self, now: Time, id: ServerId) -> Option<ServerStatus> {
        let server = self.servers.get(id).filter(|server| !server.retired)?;
        let mine: Vec<Key> = self.instances_of(id);
        let instances = || mine.iter().filter_map(|key| Some((*key, self.instances.get(*key)?)));
        let worst = instances().max_by_key(|(_, instance)| concern(instance));
        let speaker = worst.map(|(_, instance)| instance);
        let hello = speaker.and_then(|instance| instance.hello.as_ref()).or(server.hello.as_ref());
        let waiting = self.requests.iter().filter(|(_, request)| {
            !request.is_sent() && request.peer().is_some() && mine.contains(&request.instance)
        });
        Some(ServerStatus {
            standing: match speaker {
                _ if server.held && !instances().any(|(_, i)| i.has_process()) => Standing::Held,
                Some(instance) => standing(now, instance),
                None => Standing::Lazy,
            },
            instance: worst.map(|(key, _)| key),
            processes: instances().filter(|(_, instance)| instance.has_process()).count(),
            spares: instances().filter(|(_, instance)| instance.spare && instance.has_process()).count(),
            clients: server.clients,
            pending: instances().map(|(_, instance)| instance.in_flight).sum(),
            queued: waiting.count(),
            requests: server.tally.requests,
            errors: server.tally.errors,
            latency_ms: server.tally.latency_ms(),
            restarts: server.past_restarts + instances().map(|(_, i)| i.restarts).sum::<u64>(),
            limited: server.limited,
            attempts: speaker.map_or(0, |instance| instance.attempts),
            up_ms: speaker.and_then(|instance| instance.ready_since).map(|since| now.since(since)),
            last_failure: speaker.and_then(|instance| instance.last_failure.clone()),
            heartbeat_ms: speaker.and_then(|instance| instance.heartbeat_ms),
            heartbeat_misses: speaker.map_or(0, |instance| instance.missed_heartbeats),
            era: speaker.and_then(|i| i.era).or(hello.map(|hello| hello.era)),
            hello: hello.map(|hello| hello.as_written().to_vec()),
            tools: server.lists.tools(),
            recent: server.tally.recent().cloned().collect(),
        })
    }

    /// Requests of a server by method.
    #[cfg(feature = "http")]
    pub fn series(&self, id: ServerId) -> Option<&super::series::ByMethod> {
        Some(&self.servers.get(id)?.tally.series)
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How full the tables are.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            peers: self.peers.len(),
            instances: self.instances.len(),
            requests: self.requests.len(),
            reverse: self.reverse.len(),
            timers: self.timers.len(),
            owners: self.instances.iter().map(|(_, instance)| instance.owners.len()).sum(),
            links: self.links.iter().count(),
            suspended: self.suspended.len(),
        }
    }

    /// Every instance, in the order of their creation slots.
    pub fn status(&self, now: Time) -> Vec<InstanceStatus> {
        self.instances
            .iter()
            .map(|(_, instance)| InstanceStatus {
                server: self.servers[instance.server].policy.name.clone(),
                state: match instance.phase {
                    Phase::Stopped => "stopped",
                    Phase::Starting { .. } => "starting",
                    Phase::Ready => "ready",
                    Phase::Stopping { .. } => "stopping",
                    Phase::Backoff { .. } => "backoff",
                    Phase::Failed => "failed",
                },
                clients: self.servers[instance.server].clients,
                in_flight: instance.in_flight,
                restarts: instance.restarts,
                next_attempt_in_ms: match instance.phase {
                    Phase::Backoff { until, .. } => Some(until.since(now)),
                    _ => None,
                },
                heartbeat_ms: instance.heartbeat_ms,
                last_failure: instance.last_failure.clone(),
            })
            .collect()
    }
}

fn standing(now: Time, instance: &Instance) -> Standing {
    match instance.phase {
        Phase::Stopped => Standing::Lazy,
        // It runs, and what it is greeted with depends on who comes first.
        Phase::Starting { .. } if instance.link.is_some() && instance.era.is_none() => Standing::Ungreeted,
        Phase::Starting { .. } => Standing::Starting,
        Phase::Ready => Standing::Ready,
        Phase::Stopping { .. } => Standing::Stopping,
        Phase::Backoff { until, .. } => Standing::Backoff { next_in_ms: until.since(now) },
        Phase::Failed => Standing::Failed,
    }
}

/// How much an instance deserves to be looked at.
fn concern(instance: &Instance) -> u8 {
    match instance.phase {
        Phase::Stopped => 0,
        // As long as it runs it says nothing of how clients fare.
        Phase::Starting { .. } if instance.spare => 0,
        Phase::Ready => 1,
        Phase::Stopping { .. } => 2,
        Phase::Starting { .. } => 3,
        Phase::Backoff { .. } => 4,
        Phase::Failed => 5,
    }
}
