//! The daemon and its service manager (D04): which of its sockets were handed over, and what the manager is
//! told when.
//!
//! ```text
//! sockets listen, eager servers started ─▶ READY=1 ─▶ STATUS=… when it changes, at most once a second
//! reload ─▶ RELOADING=1 … READY=1          WATCHDOG=1 twice in the time that the manager grants
//! stop   ─▶ STOPPING=1
//! ```
//!
//! Without a manager nothing here wakes the loop. The messages' way is [`Notifier`]'s matter.

use crate::base::Time;
use crate::config::Config;
#[cfg(feature = "control")]
use crate::control::{Report, State};
use crate::engine::Engine;
use crate::engine::port::Platform;
use crate::reactor::activation::{Handed, Inherited};
use crate::reactor::notify::Notifier;
use std::collections::BTreeMap;
use std::path::Path;

/// What the service manager was told and is to be told.
#[derive(Debug, Default)]
pub(super) struct Service {
    notifier: Notifier,
    /// The last `STATUS`.
    status: String,
    /// When the next may follow.
    next: Time,
    /// Something may have changed since.
    waits: bool,
    /// Next sign of life.
    alive_at: Option<Time>,
    stopping: bool,
}

impl Service {
    pub(super) fn from_env() -> Service {
        Service { notifier: Notifier::from_env(), ..Service::default() }
    }

    /// All sockets listen and the servers that are not lazy were started.
    pub(super) fn ready(&mut self, now: Time, engine: &Engine, platform: &dyn Platform) {
        if self.notifier.is_on() {
            self.status = status(now, engine, platform);
            self.next = now + STATUS_INTERVAL_MS;
            self.notifier.send(format!("READY=1\nSTATUS={}", self.status));
            self.keep_alive(now);
        }
    }

    pub(super) fn reloading(&mut self) {
        self.notifier.send_reloading();
    }

    pub(super) fn reloaded(&mut self) {
        self.notifier.send("READY=1");
    }

    /// After a turn.
    pub(super) fn keep(&mut self, now: Time, engine: &Engine, platform: &dyn Platform) {
        if !self.notifier.is_on() {
            return;
        }
        self.notifier.flush();
        if engine.is_stopping() && !std::mem::replace(&mut self.stopping, true) {
            self.notifier.send("STOPPING=1");
        }
        if self.alive_at.is_some_and(|at| at <= now) {
            self.keep_alive(now);
        }
        self.waits = now < self.next;
        if !self.waits {
            self.next = now + STATUS_INTERVAL_MS;
            let status = status(now, engine, platform);
            if status != self.status {
                self.notifier.send(format!("STATUS={status}"));
                self.status = status;
            }
        }
    }

    /// When [`Service::keep`] has something to do although nothing else happens.
    pub(super) fn due(&self, now: Time) -> Option<Time> {
        let status = self.waits.then_some(self.next);
        let again = self.notifier.has_unsent().then_some(now + RETRY_MS);
        [status, again, self.alive_at].into_iter().flatten().min()
    }

    fn keep_alive(&mut self, now: Time) {
        if let Some(granted) = self.notifier.watchdog {
            self.notifier.send("WATCHDOG=1");
            self.alive_at = Some(now + (granted.as_millis() as u64 / 2).max(1));
        }
    }
}

/// Sockets that were handed over: those of servers by the servers' names, and that of the control socket.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub servers: BTreeMap<String, Handed>,
    #[cfg_attr(not(feature = "control"), allow(dead_code))]
    pub control: Option<Handed>,
}

impl Doors {
    /// Takes what the manager handed over; what is nobody's is told and closed.
    pub(super) fn take(config: &Config, control: Option<&Path>) -> Doors {
        let servers = config.servers.iter().map(|server| (&*server.policy.name, &*server.socket));
        let mut wanted: Vec<(&str, &Path)> = servers.collect();
        wanted.extend(control.map(|path| (CONTROL, path)));
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let mut inherited = Inherited::take(&names);
        let mut assigned = inherited.assign(&wanted);
        let complaints = std::mem::take(&mut inherited.complaints);
        for complaint in complaints {
            log::warn!(target: "muxloop", "from the service manager: {complaint}");
        }
        for socket in inherited.rest() {
            log::warn!(target: "muxloop", "from the service manager: no server has the socket {socket}; it is closed");
        }
        let control = if control.is_some() { assigned.pop().flatten() } else { None };
        let names = config.servers.iter().map(|server| server.policy.name.clone());
        let servers = names.zip(assigned).filter_map(|(name, socket)| Some((name, socket?)));
        Doors { servers: servers.collect(), control }
    }
}

/// One line for `systemctl status`.
#[cfg(feature = "control")]
fn status(now: Time, engine: &Engine, platform: &dyn Platform) -> String {
    in_words(&engine.report(now, platform))
}

/// Without reports there is nothing to be said that changes.
#[cfg(not(feature = "control"))]
fn status(_now: Time, _engine: &Engine, _platform: &dyn Platform) -> String {
    "running".to_owned()
}

#[cfg(feature = "control")]
fn in_words(report: &Report) -> String {
    let counted = |count: usize, thing: &str| format!("{count} {thing}{}", if count == 1 { "" } else { "s" });
    let mut states: BTreeMap<State, usize> = BTreeMap::new();
    for server in &report.servers {
        *states.entry(server.state).or_default() += 1;
    }
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let mut line = format!(
        "{} ({}), {}",
        counted(report.servers.len(), "server"),
        states.join(", "),
        counted(report.clients, "client")
    );
    if report.state != "up" {
        line = format!("{}: {line}", report.state);
    }
    line
}

/// The control socket's name among those of a service manager.
const CONTROL: &str = "control";
/// Shortest time between two lines of status, in milliseconds.
const STATUS_INTERVAL_MS: u64 = 1_000;
/// Pause before a message that found no room is sent again, in milliseconds.
const RETRY_MS: u64 = 100;

#[cfg(all(test, feature = "control"))]
mod tests {
    use super::*;
    use crate::control::ServerReport;

    #[test]
    fn a_status_counts_servers_and_clients() {
        let server = |state| ServerReport { state, ..ServerReport::default() };
        let servers = [State::Ready, State::Backoff, State::Ready].map(server).to_vec();
        let mut report = Report { state: "degraded".into(), clients: 1, servers, ..Report::default() };
        assert_eq!(in_words(&report), "degraded: 3 servers (2 ready, 1 backoff), 1 client");
        report.servers.truncate(1);
        report.state = "up".into();
        report.clients = 0;
        assert_eq!(in_words(&report), "1 server (1 ready), 0 clients");
    }
}
