//! Status files (E03): the state as JSON, under the names that rmcp-mux's had, written whole or not at all.

use crate::base::Time;
use crate::config::Config;
use crate::control::{Report, ServerReport, State};
use crate::engine::Engine;
use crate::engine::port::Platform;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files that a configuration asks for.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Of all servers.
    all: Option<PathBuf>,
    /// Of single ones, by name.
    single: Vec<(String, PathBuf)>,
    limits: Vec<Limits>,
    /// What the files say, without what changes by itself.
    written: Option<Value>,
    /// When they may be written again.
    next: Time,
    /// Something may have changed since.
    waits: bool,
    /// The last failure was told.
    complained: bool,
}

/// Policy that rmcp-mux's snapshots have in them.
#[derive(Debug)]
struct Limits {
    name: String,
    max_request_bytes: usize,
    restart_backoff_ms: u64,
    restart_backoff_max_ms: u64,
    heartbeat: bool,
}

impl Snapshots {
    pub(super) fn of(config: &Config) -> Snapshots {
        let single = config
            .servers
            .iter()
            .filter_map(|server| Some((server.policy.name.clone(), server.status_file.clone()?)))
            .collect();
        let limits = config.servers.iter().map(|server| Limits {
            name: server.policy.name.clone(),
            max_request_bytes: server.policy.max_request_bytes,
            restart_backoff_ms: server.policy.restart_backoff_ms,
            restart_backoff_max_ms: server.policy.restart_backoff_max_ms,
            heartbeat: server.policy.heartbeat.is_some(),
        });
        Snapshots {
            all: config.status_file.clone(),
            single,
            limits: limits.collect(),
            ..Snapshots::default()
        }
    }

    /// After a reload: other files, the same rate.
    pub(super) fn change(&mut self, config: &Config) {
        *self = Snapshots { next: self.next, waits: true, ..Snapshots::of(config) };
    }

    fn is_wanted(&self) -> bool {
        self.all.is_some() || !self.single.is_empty()
    }

    /// When [`Snapshots::keep`] has something to do although nothing else happens.
    pub(super) fn due(&self) -> Option<Time> {
        (self.waits && self.is_wanted()).then_some(self.next)
    }

    /// After a turn: writes what has changed, at most ten times a second.
    pub(super) fn keep(&mut self, now: Time, engine: &Engine, platform: &dyn Platform) {
        if !self.is_wanted() {
            return;
        }
        if now < self.next {
            self.waits = true;
            return;
        }
        self.waits = false;
        self.write(now, engine, platform);
    }

    /// The state at the end.
    pub(super) fn last(&mut self, now: Time, engine: &Engine, platform: &dyn Platform) {
        if self.is_wanted() {
            self.write(now, engine, platform);
        }
    }

    fn write(&mut self, now: Time, engine: &Engine, platform: &dyn Platform) {
        let report = engine.report(now, platform);
        let steady = self.value(&report, true);
        if self.written.as_ref() == Some(&steady) {
            return;
        }
        self.next = now + INTERVAL_MS;
        self.written = Some(steady);
        let value = self.value(&report, false);
        if let Some(path) = &self.all {
            self.complained = told(path, replace(path, &value), self.complained);
        }
        for (name, path) in &self.single {
            let of = |server: &&Value| server["name"] == name.as_str();
            if let Some(server) = value["servers"].as_array().and_then(|servers| servers.iter().find(of)) {
                self.complained = told(path, replace(path, server), self.complained);
            }
        }
    }

    fn value(&self, report: &Report, steady: bool) -> Value {
        let is_ending = report.state == "stopping";
        let servers: Vec<Value> =
            report.servers.iter().map(|server| self.server_value(server, is_ending, steady)).collect();
        json!({
            "version": report.version,
            "pid": report.pid,
            "config": report.config,
            "state": report.state,
            "started_at": report.started_at,
            "servers": servers,
        })
    }

    /// One server under rmcp-mux's names.
    fn server_value(&self, server: &ServerReport, is_ending: bool, steady: bool) -> Value {
        let limits = self.limits.iter().find(|limits| limits.name == server.name);
        let failure = server.last_failure.clone().unwrap_or_default();
        let (status, level) = match server.state {
            State::Ready => (json!("Running"), "Ok"),
            State::Starting if server.restarts > 0 => (json!("Restarting"), "Warn"),
            State::Starting => (json!("Starting"), "Warn"),
            // At the end nothing will start it.
            State::Lazy if is_ending => (json!("Stopped"), "Warn"),
            State::Lazy => (json!("Lazy"), "Lazy"),
            State::Backoff => (json!("Backoff"), "Warn"),
            State::Failed => (json!({ "Failed": failure }), "Error"),
            State::Stopping | State::Stopped | State::Unknown => (json!("Stopped"), "Warn"),
        };
        let text = match &status {
            Value::String(word) => word.clone(),
            _ => format!("Failed({failure:?})"),
        };
        json!({
            "service_name": server.service_name,
            "name": server.name,
            "server_status": status,
            "status_text": text,
            "level": level,
            "restarts": server.restarts,
            "connected_clients": server.clients,
            "active_clients": server.clients,
            "max_active_clients": server.max_active_clients,
            "pending_requests": server.pending + server.queued,
            "cached_initialize": server.protocol.is_some(),
            "initializing": server.state == State::Starting,
            "last_reset": server.last_failure,
            "queue_depth": server.queued,
            "child_pid": server.pid,
            "max_request_bytes": limits.map(|limits| limits.max_request_bytes),
            "heartbeat_latency_ms": server.heartbeat_ms,
            "heartbeat": {
                "enabled": limits.is_some_and(|limits| limits.heartbeat),
                "latency_ms": server.heartbeat_ms,
                "consecutive_failures": server.heartbeat_misses,
            },
            "uptime_ms": if steady { None } else { server.uptime_ms.or(Some(0)) },
            "in_backoff": server.state == State::Backoff,
            "restart_backoff_ms": limits.map(|limits| limits.restart_backoff_ms),
            "restart_backoff_max_ms": limits.map(|limits| limits.restart_backoff_max_ms),
            "max_restarts": server.max_restarts,
            "words": if steady { None } else { Some(&server.words) },
        })
    }
}

/// Whether the last failure has been told by now.
fn told(path: &Path, outcome: io::Result<()>, before: bool) -> bool {
    match outcome {
        Ok(()) => false,
        Err(error) => {
            if !before {
                log::warn!(target: "muxloop", "status file {}: {error}", path.display());
            }
            true
        }
    }
}

/// Puts a new file in the place of the old one; whoever reads sees one or the other.
fn replace(path: &Path, value: &Value) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    fs::write(&beside, format!("{value:#}\n"))?;
    fs::rename(&beside, path)
}

/// Shortest time between two writes, in milliseconds.
const INTERVAL_MS: u64 = 100;
