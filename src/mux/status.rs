//! What the mux can tell about itself: plain values for status, tests and the simulator.

use crate::base::Time;
use crate::mux::Mux;
use crate::mux::server::Phase;

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

impl Mux {
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
            owners: self.servers.iter().map(|server| server.owners.len()).sum(),
            links: self.links.iter().count(),
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
