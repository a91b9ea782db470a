//! [`Report`]: the state of a running muxloop at one moment (`docs/control.md`, Report).

use super::{Json, MergedReport};
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
    /// Those of them that wait for a client or request of their own.
    pub spares: usize,
    /// `legacy` or `modern`, once known.
    pub era: Option<String>,
    pub protocol: Option<String>,
    pub server_name: Option<String>,
    pub server_version: Option<String>,
    /// Number of its tools, once a client has asked for them.
    pub tools: Option<u64>,
    /// What their list costs a model, estimated: a token for 4 bytes.
    pub tool_tokens: Option<u64>,
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
    /// If it is a merged endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged: Option<MergedReport>,
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
    /// Reads what a muxloop answered, of a neighbouring version maybe. `None`: it is no report.
    pub fn read(json: Json<'_>) -> Option<Report> {
        let mut report = Report::default();
        let mut has_servers = false;
        json.members(&mut |key, value| match key {
            "control" => report.control = value.number() as u32,
            "version" => report.version = value.text(),
            "pid" => report.pid = value.number() as u32,
            "config" => report.config = value.text(),
            "state" => report.state = value.text(),
            "started_at" => report.started_at = value.text(),
            "uptime_ms" => report.uptime_ms = value.number(),
            "rss_bytes" => report.rss_bytes = value.maybe_number(),
            "connections" => report.connections = value.number() as usize,
            "clients" => report.clients = value.number() as usize,
            "requests" => report.requests = value.number(),
            "errors" => report.errors = value.number(),
            "malformed" => report.malformed = value.number(),
            "servers" => {
                has_servers = value.is_array();
                report.servers = value.elements().into_iter().map(ServerReport::read).collect();
            }
            _ => {}
        });
        has_servers.then_some(report)
    }

    /// Whether every server is as it should be.
    pub fn is_all_up(&self) -> bool {
        self.servers.iter().all(|server| !server.state.is_degraded())
    }
}

impl ServerReport {
    fn read(json: Json<'_>) -> ServerReport {
        let mut server = ServerReport::default();
        json.members(&mut |key, value| match key {
            "name" => server.name = value.text(),
            "service_name" => server.service_name = value.text(),
            "socket" => server.socket = value.text(),
            "state" => server.state = State::of(&value.text()),
            "words" => server.words = value.text(),
            "pid" => server.pid = value.maybe_number().map(|pid| pid as u32),
            "uptime_ms" => server.uptime_ms = value.maybe_number(),
            "rss_bytes" => server.rss_bytes = value.maybe_number(),
            "instances" => server.instances = value.number() as usize,
            "spares" => server.spares = value.number() as usize,
            "era" => server.era = value.maybe_text(),
            "protocol" => server.protocol = value.maybe_text(),
            "tools" => server.tools = value.maybe_number(),
            "tool_tokens" => server.tool_tokens = value.maybe_number(),
            "server_name" => server.server_name = value.maybe_text(),
            "server_version" => server.server_version = value.maybe_text(),
            "clients" => server.clients = value.number() as usize,
            "max_active_clients" => server.max_active_clients = value.number() as usize,
            "pending" => server.pending = value.number() as usize,
            "queued" => server.queued = value.number() as usize,
            "requests" => server.requests = value.number(),
            "errors" => server.errors = value.number(),
            "bytes_in" => server.bytes_in = value.number(),
            "bytes_out" => server.bytes_out = value.number(),
            "latency_ms" => server.latency_ms = Latency::read(value),
            "restarts" => server.restarts = value.number(),
            "attempt" => server.attempt = value.number() as u32,
            "max_restarts" => server.max_restarts = value.number() as u32,
            "last_failure" => server.last_failure = value.maybe_text(),
            "next_attempt_in_ms" => server.next_attempt_in_ms = value.maybe_number(),
            "heartbeat_ms" => server.heartbeat_ms = value.maybe_number(),
            "heartbeat_misses" => server.heartbeat_misses = value.number() as u32,
            "recent" => server.recent = value.elements().into_iter().map(Recent::read).collect(),
            "stderr" => server.stderr = value.texts(),
            "merged" => server.merged = MergedReport::read(value),
            _ => {}
        });
        server
    }
}

impl State {
    fn of(word: &str) -> State {
        State::ALL.into_iter().find(|state| state.word() == word).unwrap_or(State::Unknown)
    }

    /// All that this version has a word for.
    const ALL: [State; 7] = [
        State::Lazy,
        State::Starting,
        State::Ready,
        State::Stopping,
        State::Stopped,
        State::Backoff,
        State::Failed,
    ];
}

impl Latency {
    fn read(json: Json<'_>) -> Option<Latency> {
        let part = |key| json.member(key).number();
        json.is_object().then(|| Latency { p50: part("p50"), p99: part("p99") })
    }
}

impl Recent {
    fn read(json: Json<'_>) -> Recent {
        let mut recent = Recent::default();
        json.members(&mut |key, value| match key {
            "method" => recent.method = value.text(),
            "name" => recent.name = value.maybe_text(),
            "client" => recent.client = value.number(),
            "ms" => recent.ms = value.number(),
            "outcome" => recent.outcome = value.text(),
            "ago_ms" => recent.ago_ms = value.number(),
            _ => {}
        });
        recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_a_later_version_can_be_read() {
        let text = r#"{"control":1,"news":[1],"servers":[{"name":"a","state":"hibernating","mood":"good"}]}"#;
        let report = Report::read(Json::new(text.as_bytes())).unwrap();
        assert_eq!(report.servers[0].state, State::Unknown);
        assert_eq!(report.servers[0].name, "a");
        assert!(report.is_all_up());
        assert_eq!(serde_json::from_str::<Report>(text).unwrap(), report);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["null", "[]", "{}", r#"{"servers":{}}"#, r#"{"servers":7}"#, ""] {
            assert_eq!(Report::read(Json::new(text.as_bytes())), None, "{text}");
        }
    }

    #[test]
    fn a_report_reads_as_it_is_written() {
        // Every number and text is another one, so that no two fields can be mixed up.
        let text = r#"{"control":1,"version":"v","pid":2,"config":"c","state":"up","started_at":"t",
            "uptime_ms":3,"rss_bytes":4,"connections":5,"clients":6,"requests":7,"errors":8,"malformed":9,
            "servers":[{"name":"n","service_name":"sn","socket":"so","state":"backoff","words":"w","pid":10,
            "uptime_ms":11,"rss_bytes":12,"instances":13,"spares":6,"era":"e","protocol":"p","server_name":"s1",
            "server_version":"s2","tools":33,"tool_tokens":34,"clients":14,"max_active_clients":15,"pending":16,"queued":17,"requests":18,
            "errors":19,"bytes_in":20,"bytes_out":21,"latency_ms":{"p50":22,"p99":23},"restarts":24,"attempt":25,
            "max_restarts":26,"last_failure":"l","next_attempt_in_ms":27,"heartbeat_ms":28,"heartbeat_misses":29,
            "recent":[{"method":"m","name":"rn","client":30,"ms":31,"outcome":"ok","ago_ms":32}],
            "stderr":["x","y"],"merged":{"names":"plain","lazy":true,"tools":35,"prompts":36,"resources":37,
            "templates":38,"collisions":39,"collided":["z"],"servers":[{"name":"mn","tools":40,"prompts":41,
            "resources":42,"templates":43,"missing":"mm"}]}}]}"#;
        let by_serde: Report = serde_json::from_str(text).unwrap();
        assert_eq!(Report::read(Json::new(text.as_bytes())), Some(by_serde.clone()));
        let written = serde_json::to_string(&by_serde).unwrap();
        assert_eq!(Report::read(Json::new(written.as_bytes())), Some(by_serde));
        assert_eq!(
            written.len(),
            text.split_whitespace().collect::<String>().len(),
            "the example has every field"
        );
        let empty = Report { servers: vec![ServerReport::default()], ..Default::default() };
        let written = serde_json::to_string(&empty).unwrap();
        assert_eq!(Report::read(Json::new(written.as_bytes())), Some(empty));
    }

    #[test]
    fn every_state_reads_as_it_is_written() {
        for state in State::ALL {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(text, format!("\"{}\"", state.word()));
            assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
            assert_eq!(State::of(state.word()), state);
        }
    }
}
