//! [`Report`]: the state of a running muxloop at one moment (`docs/control.md`, Report).

use serde::{Deserialize, Serialize};
use std::fmt;

/// State of muxloop and of each server. Unknown fields are ignored and missing ones empty when read, so
/// that programs of neighbouring versions understand each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub control: u32,
    pub version: String,
    pub pid: u32,
    /// Absolute path of the configuration.
    pub config: String,
    /// `up`, `degraded`, `draining`, `stopping`.
    pub state: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub uptime_ms: u64,
    pub rss_bytes: Option<u64>,
    pub connections: usize,
    pub clients: usize,
    pub requests: u64,
    pub errors: u64,
    pub malformed: u64,
    pub servers: Vec<ServerReport>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerReport {
    pub name: String,
    pub service_name: String,
    pub socket: String,
    pub state: State,
    /// What is wrong and what happens next, in one line for a person.
    pub words: String,
    pub pid: Option<u32>,
    pub uptime_ms: Option<u64>,
    pub rss_bytes: Option<u64>,
    /// Number of processes.
    pub instances: usize,
    /// `legacy` or `modern`, once known.
    pub era: Option<String>,
    pub protocol: Option<String>,
    pub server_name: Option<String>,
    pub server_version: Option<String>,
    pub clients: usize,
    pub max_active_clients: usize,
    /// Requests at the server.
    pub pending: usize,
    /// Requests that wait in muxloop.
    pub queued: usize,
    pub requests: u64,
    pub errors: u64,
    /// From and to clients.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub latency_ms: Option<Latency>,
    /// Since the start.
    pub restarts: u64,
    /// In a row.
    pub attempt: u32,
    /// 0: no limit.
    pub max_restarts: u32,
    pub last_failure: Option<String>,
    pub next_attempt_in_ms: Option<u64>,
    pub heartbeat_ms: Option<u64>,
    pub heartbeat_misses: u32,
    /// Newest first.
    pub recent: Vec<Recent>,
    /// Newest last.
    pub stderr: Vec<String>,
}

/// Where a server stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not started yet, or stopped while idle; the next request starts it.
    #[default]
    Lazy,
    Starting,
    Ready,
    Stopping,
    /// By request; only `start` starts it again.
    Stopped,
    Backoff,
    Failed,
    /// A word of a later version.
    #[serde(other)]
    Unknown,
}

impl State {
    /// Whether a person should look at it.
    pub fn is_degraded(self) -> bool {
        matches!(self, State::Backoff | State::Failed)
    }

    /// As in the JSON.
    pub fn word(self) -> &'static str {
        match self {
            State::Lazy => "lazy",
            State::Starting => "starting",
            State::Ready => "ready",
            State::Stopping => "stopping",
            State::Stopped => "stopped",
            State::Backoff => "backoff",
            State::Failed => "failed",
            State::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Durations of answers in milliseconds: half of them were faster, and 99 of 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    pub p50: u64,
    pub p99: u64,
}

/// A request that was answered, or was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    pub method: String,
    /// Of the tool or prompt, or the URI.
    pub name: Option<String>,
    /// Number of the client.
    pub client: u64,
    pub ms: u64,
    /// `ok`, `error`, `cancelled`, `timeout`, `lost`.
    pub outcome: String,
    pub ago_ms: u64,
}

impl Report {
    /// Whether every server is as it should be.
    pub fn is_all_up(&self) -> bool {
        self.servers.iter().all(|server| !server.state.is_degraded())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_a_later_version_can_be_read() {
        let text = r#"{"control":1,"news":[1],"servers":[{"name":"a","state":"hibernating","mood":"good"}]}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        assert_eq!(report.servers[0].state, State::Unknown);
        assert_eq!(report.servers[0].name, "a");
        assert!(report.is_all_up());
    }

    #[test]
    fn every_state_reads_as_it_is_written() {
        for state in [State::Lazy, State::Starting, State::Ready, State::Stopping, State::Stopped] {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(text, format!("\"{}\"", state.word()));
            assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        }
    }
}
