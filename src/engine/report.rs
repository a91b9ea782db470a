//! [`Engine::report`]: the state of everything as plain values (`docs/control.md`, Report).

use super::Engine;
use super::port::Platform;
use crate::base::Time;
use crate::base::date::rfc3339;
use crate::codec::json;
use crate::control::{CONTROL_VERSION, Latency, Recent, Report, ServerReport, State};
use crate::mux::status::{ServerStatus, Standing};
use crate::mux::{Era, ServerId};

impl Engine {
    /// The state of muxloop and of every server.
    pub fn report(&self, now: Time, platform: &dyn Platform) -> Report {
        let servers: Vec<ServerReport> =
            self.order.iter().filter_map(|id| self.server_report(now, *id, platform)).collect();
        let counters = self.mux.counters();
        let is_degraded = servers.iter().any(|server| server.state.is_degraded());
        let state = match () {
            () if self.stopping => "stopping",
            () if self.drain_until.is_some() => "draining",
            () if is_degraded => "degraded",
            () => "up",
        };
        Report {
            control: CONTROL_VERSION,
            version: self.control.host.version.clone(),
            pid: self.control.host.pid,
            config: self.control.host.config.clone(),
            state: state.into(),
            started_at: rfc3339(self.control.host.unix_ms),
            uptime_ms: now.0,
            rss_bytes: platform.resident_bytes(self.control.host.pid),
            connections: self.conns.len(),
            clients: servers.iter().map(|server| server.clients).sum(),
            requests: servers.iter().map(|server| server.requests).sum(),
            errors: servers.iter().map(|server| server.errors).sum(),
            malformed: counters.malformed,
            servers,
        }
    }

    /// Entries of muxloop's tables, for those who look for leaks.
    pub(super) fn tables(&self) -> serde_json::Value {
        let sizes = self.mux.sizes();
        serde_json::json!({
            "peers": sizes.peers,
            "instances": sizes.instances,
            "requests": sizes.requests,
            "questions": sizes.reverse,
            "owners": sizes.owners,
            "links": sizes.links,
            "timers": sizes.timers,
            "processes": self.processes.iter().count(),
            "unwritten": self.conns.unwritten(),
        })
    }

    fn server_report(&self, now: Time, id: ServerId, platform: &dyn Platform) -> Option<ServerReport> {
        let status = self.mux.server_status(now, id)?;
        let setup = &self.setups[id];
        let process = status.instance.and_then(|instance| self.processes.get(instance));
        let pid = process.map(|process| process.pid);
        let (protocol, server_name, server_version) = introduced(&status);
        let traffic = self.traffic(id);
        #[cfg(feature = "gateway")]
        let merged = self.merged_report(now, id);
        #[cfg(not(feature = "gateway"))]
        let merged: Option<(crate::control::MergedReport, u64)> = None;
        let tools = match &merged {
            Some((merged, bytes)) => Some((merged.tools as usize, *bytes as usize)),
            None => status.tools,
        };
        Some(ServerReport {
            name: setup.policy.name.clone(),
            service_name: setup.service_name.clone(),
            socket: setup.socket.clone(),
            state: state_of(&status.standing),
            words: match status.standing {
                Standing::Lazy if setup.policy.is_per_request() => "each request starts a process".into(),
                _ => words(&setup.policy.name, setup.policy.max_restarts, heartbeats(setup), &status),
            },
            pid,
            uptime_ms: status.up_ms,
            rss_bytes: pid.and_then(|pid| platform.resident_bytes(pid)),
            instances: status.processes,
            spares: status.spares,
            era: status.era.map(|era| if era == Era::Legacy { "legacy" } else { "modern" }.into()),
            protocol,
            server_name,
            server_version,
            tools: tools.map(|(count, _)| count as u64),
            tool_tokens: tools.map(|(_, bytes)| (bytes as u64).div_ceil(BYTES_PER_TOKEN)),
            clients: status.clients,
            max_active_clients: setup.policy.max_active_clients,
            pending: status.pending,
            queued: status.queued,
            requests: status.requests,
            errors: status.errors,
            bytes_in: traffic.0,
            bytes_out: traffic.1,
            latency_ms: status.latency_ms.map(|(p50, p99)| Latency { p50, p99 }),
            restarts: status.restarts,
            attempt: status.attempts,
            max_restarts: setup.policy.max_restarts,
            next_attempt_in_ms: match status.standing {
                Standing::Backoff { next_in_ms } => Some(next_in_ms),
                _ => None,
            },
            last_failure: status.last_failure,
            heartbeat_ms: status.heartbeat_ms,
            heartbeat_misses: status.heartbeat_misses,
            recent: status
                .recent
                .iter()
                .map(|ended| Recent {
                    method: ended.method.into(),
                    name: ended.name.as_ref().map(|name| String::from_utf8_lossy(name).into_owned()),
                    client: ended.client,
                    ms: ended.ms,
                    outcome: ended.outcome.word().into(),
                    ago_ms: now.since(ended.at),
                })
                .collect(),
            stderr: self.said(id),
            merged: merged.map(|(merged, _)| merged),
        })
    }

    /// The newest lines that a server wrote to stderr, also those of an earlier process.
    fn said(&self, id: ServerId) -> Vec<String> {
        let lines = self.control.journal.tail(Some(id), 4 * STDERR_LINES);
        let mut newest: Vec<String> = lines
            .iter()
            .rev()
            .filter(|line| !line.ours)
            .take(STDERR_LINES)
            .map(|line| line.text.clone())
            .collect();
        newest.reverse();
        newest
    }
}

pub(super) fn state_of(standing: &Standing) -> State {
    match standing {
        Standing::Lazy => State::Lazy,
        Standing::Starting => State::Starting,
        Standing::Ready | Standing::Ungreeted => State::Ready,
        Standing::Stopping => State::Stopping,
        Standing::Held => State::Stopped,
        Standing::Backoff { .. } => State::Backoff,
        Standing::Failed => State::Failed,
    }
}

fn heartbeats(setup: &super::ServerSetup) -> u32 {
    setup.policy.heartbeat.map_or(0, |heartbeat| heartbeat.failures_max)
}

/// What is wrong and what happens next; empty if all is well.
fn words(name: &str, max_restarts: u32, heartbeats: u32, status: &ServerStatus) -> String {
    let why = || status.last_failure.as_deref().unwrap_or("it failed");
    match status.standing {
        Standing::Ready if status.heartbeat_misses > 0 => {
            format!("has not answered {} of {heartbeats} heartbeats", status.heartbeat_misses)
        }
        Standing::Ready => String::new(),
        Standing::Ungreeted if status.spares > 1 => {
            format!("{} spare processes run, and wait for their clients", status.spares)
        }
        Standing::Ungreeted => "runs, and waits for its first client".into(),
        Standing::Lazy => "starts with the first request".into(),
        Standing::Starting if status.attempts > 0 => format!("starting again after: {}", why()),
        Standing::Starting => "starting".into(),
        Standing::Stopping => "stopping".into(),
        Standing::Held => format!("stopped by request; 'muxloop start {name}' starts it"),
        Standing::Backoff { next_in_ms } => {
            let of = if max_restarts == 0 { String::new() } else { format!(" of {max_restarts}") };
            let (seconds, tenths) = (next_in_ms / 1_000, next_in_ms % 1_000 / 100);
            format!("restarting, attempt {}{of} in {seconds}.{tenths} s: {}", status.attempts, why())
        }
        Standing::Failed => {
            format!(
                "given up after {} restarts: {}; 'muxloop start {name}' tries again",
                status.attempts,
                why()
            )
        }
    }
}

/// Protocol version, name and version as the server's handshake said them.
fn introduced(status: &ServerStatus) -> (Option<String>, Option<String>, Option<String>) {
    let Some(hello) = status.hello.as_deref().filter(|hello| !hello.is_empty()) else {
        return (None, None, None);
    };
    let whole = crate::codec::Span::new(0, hello.len());
    let text = |span: crate::codec::Span| json::unescape(span.of(hello)).map(|text| text.into_owned());
    let of = |parent, key| json::member(hello, parent, key);
    let info = of(whole, "serverInfo")
        .or_else(|| of(whole, "_meta").and_then(|meta| of(meta, "io.modelcontextprotocol/serverInfo")));
    let protocol = match status.era {
        Some(Era::Modern) => Some("2026-07-28".to_owned()),
        _ => of(whole, "protocolVersion").and_then(text),
    };
    (
        protocol,
        info.and_then(|info| of(info, "name")).and_then(text),
        info.and_then(|info| of(info, "version")).and_then(text),
    )
}

/// What a list of tools costs a model that is shown it, estimated: English and JSON come at about so many bytes
/// per token with the tokenizers in use.
const BYTES_PER_TOKEN: u64 = 4;
/// Lines of stderr in a report.
const STDERR_LINES: usize = 20;
