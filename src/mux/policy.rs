//! What an operator decided about a server: the final, checked values of its configuration entry.

use crate::base::{Time, limits};
use crate::mux::Era;
use crate::mux::rate::RateLimits;
use serde::{Deserialize, Serialize};

/// How clients share the processes of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// One process for all clients.
    #[default]
    Shared,
    /// One process for each client.
    Session,
    /// One process for each request.
    Request,
}

/// What happens to requests from a server to its clients (protocol.md §2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interactive {
    /// The server is told that nobody can be asked.
    #[default]
    Off,
    /// One client's interactive requests at a time, so that it is always known who is asked.
    Serialize,
    /// One process for each client: everything passes through.
    PerClient,
}

/// Which protocol era a child is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EraPolicy {
    /// Modern where the server offers it, else legacy.
    #[default]
    Auto,
    /// `initialize`: 2024-11-05 to 2025-11-25.
    Legacy,
    /// Stateless: 2026-07-28.
    Modern,
}

/// What was found out about the era of a server with `era = "auto"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub era: Era,
    /// Whether it was seen to refuse the other era.
    pub is_sole: bool,
    /// How long it is believed.
    pub until: Time,
    /// The server's name and version, in its own words.
    pub server: String,
}

/// Liveness checks of an idle child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// Misses in a row that make the child be restarted.
    pub failures_max: u32,
}

/// A root that muxloop itself offers to a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// A `file://` URI.
    pub uri: String,
    pub name: Option<String>,
}

/// Policy of one server; defaults are the contract of `mux.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPolicy {
    pub name: String,
    /// Clients at once; the next one is refused with an error that says so.
    pub max_active_clients: usize,
    /// Requests of one client at the child at once; more wait in muxloop.
    pub max_in_flight_per_client: usize,
    /// Start the process with the first request instead of at once.
    pub lazy_start: bool,
    /// Longest message a client may send, in bytes.
    pub max_request_bytes: usize,
    pub request_timeout_ms: u64,
    /// Latest moment to which progress may extend a request.
    pub request_timeout_max_ms: u64,
    /// How long a client has to come again with the answer to what its call was asked (2026-07-28).
    #[serde(default = "answer_timeout_ms")]
    pub answer_timeout_ms: u64,
    pub startup_timeout_ms: u64,
    pub restart_backoff_ms: u64,
    pub restart_backoff_max_ms: u64,
    /// Restarts in a row before the server is given up; 0 means no limit.
    pub max_restarts: u32,
    pub heartbeat: Option<Heartbeat>,
    /// Stop the process after so long without clients' requests.
    pub idle_stop_ms: Option<u64>,
    /// Time between the steps of a stop: close stdin, SIGTERM, SIGKILL.
    pub stop_grace_ms: u64,
    pub share: Share,
    /// Processes that are started before anybody needs them, where they are not shared.
    #[serde(default)]
    pub spare: usize,
    pub interactive: Interactive,
    pub era: EraPolicy,
    /// What an earlier run found out about its era.
    #[serde(default)]
    pub found: Option<Found>,
    pub roots: Vec<Root>,
    /// Nothing that it says of itself is kept to be given to clients without asking it.
    #[serde(default)]
    pub no_cache: bool,
    /// With a process per client: requests that stand each for itself (HTTP without a session) have one each,
    /// too, rather than one together.
    #[serde(default)]
    pub guests_apart: bool,
    #[serde(default)]
    pub rate: RateLimits,
    /// What clients can have of it; `None`: everything.
    #[cfg(feature = "gateway")]
    #[serde(default)]
    pub filters: Option<Box<crate::base::filter::Filters>>,
}

impl ServerPolicy {
    /// The defaults for a server of that name.
    pub fn new(name: impl Into<String>) -> Self {
        ServerPolicy {
            name: name.into(),
            max_active_clients: 5,
            max_in_flight_per_client: limits::IN_FLIGHT_PER_CLIENT,
            lazy_start: false,
            max_request_bytes: 1 << 20,
            request_timeout_ms: 30_000,
            request_timeout_max_ms: 600_000,
            answer_timeout_ms: answer_timeout_ms(),
            startup_timeout_ms: 60_000,
            restart_backoff_ms: 1_000,
            restart_backoff_max_ms: 30_000,
            max_restarts: 5,
            heartbeat: Some(Heartbeat { interval_ms: 30_000, timeout_ms: 30_000, failures_max: 3 }),
            idle_stop_ms: None,
            stop_grace_ms: 2_000,
            share: Share::Shared,
            spare: 0,
            interactive: Interactive::Off,
            era: EraPolicy::Auto,
            found: None,
            roots: Vec::new(),
            no_cache: false,
            guests_apart: false,
            rate: RateLimits::default(),
            #[cfg(feature = "gateway")]
            filters: None,
        }
    }

    /// Whether no two clients have a process in common.
    pub fn is_per_client(&self) -> bool {
        self.share != Share::Shared || self.interactive == Interactive::PerClient
    }

    /// Whether a server can go over from this policy to `other` with its clients connected.
    pub fn shares_as(&self, other: &ServerPolicy) -> bool {
        self.is_per_client() == other.is_per_client() && self.is_per_request() == other.is_per_request()
    }

    /// Whether each request has a process of its own.
    pub fn is_per_request(&self) -> bool {
        self.share == Share::Request
    }
}

fn answer_timeout_ms() -> u64 {
    300_000
}
