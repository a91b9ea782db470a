//! The control plane (`docs/control.md`): what operators ask over the control socket, answered between the
//! turns of everybody else, and what they follow.

mod follow;

use super::Engine;
use super::journal::Journal;
use super::port::Platform;
use crate::base::limits::{CONTROL_CLIENTS, CONTROL_SEND_MAX, TAP_MESSAGE_MAX};
use crate::base::{Key, KeyMap, Time};
use crate::codec::Message;
use crate::control::call::{Call, shown};
use crate::control::{CONTROL_VERSION, Report, Verb};
use crate::mux::{CloseReason, ServerId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the engine needs to be told about the program around it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    pub version: String,
    pub pid: u32,
    /// Absolute path of the configuration.
    pub config: String,
    /// Milliseconds since 1970 at `Time::ZERO`.
    pub unix_ms: u64,
}

/// What only the program around the engine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read the configuration again; the answer goes to this call, if one asked.
    Reload(Option<Ticket>),
    /// Open log files again.
    Reopen,
}

/// A call that is answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(usize);

/// Everybody at the control socket.
#[derive(Debug, Default)]
pub(super) struct ControlPlane {
    sessions: KeyMap<Session>,
    keys: Vec<Key>,
    inbox: Vec<(Key, Result<Vec<u8>, usize>)>,
    pub wishes: Vec<Wish>,
    /// Calls of open tickets.
    tickets: Vec<Option<(Key, String)>>,
    /// A ticket was answered since the last turn.
    has_answered: bool,
    pub taps: Taps,
    pub journal: Journal,
    pub host: Host,
}

/// One connection.
#[derive(Debug, Default)]
struct Session {
    watch: Option<Watch>,
    /// Follows the lines of this server, or of all.
    logs: Option<Option<String>>,
    /// By name, which a reload may give to another server.
    taps: Vec<String>,
    /// Lines and taps it missed.
    dropped: u64,
    /// Sent its last call.
    ended: bool,
}

#[derive(Debug)]
struct Watch {
    interval_ms: u64,
    due: Time,
    last: Report,
}

/// Messages that somebody watches.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// Whether anybody does: looked at for each message.
    pub on: bool,
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    link: Key,
    received: bool,
    len: usize,
    bytes: Vec<u8>,
}

impl Taps {
    /// Notes a message; who it concerns is found out later.
    #[cold]
    pub fn note(&mut self, link: Key, received: bool, message: &Message<'_>) {
        let len = message.len();
        let bytes = if len <= TAP_MESSAGE_MAX { message.to_vec() } else { Vec::new() };
        self.seen.push(Seen { link, received, len, bytes });
    }
}

impl ControlPlane {
    pub fn end(&mut self, key: Key) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.ended = true;
        }
    }

    pub fn forget(&mut self, key: Key) {
        self.sessions.remove(key);
        self.keys.retain(|known| *known != key);
        for ticket in &mut self.tickets {
            if ticket.as_ref().is_some_and(|(asker, _)| *asker == key) {
                *ticket = None;
            }
        }
        self.count_taps();
    }

    pub fn is_busy(&self) -> bool {
        self.has_answered || !self.inbox.is_empty() || !self.taps.seen.is_empty()
    }

    pub fn deadline(&self) -> Option<Time> {
        let due = |key: &Key| Some(self.sessions.get(*key)?.watch.as_ref()?.due);
        self.keys.iter().filter_map(due).min()
    }

    fn count_taps(&mut self) {
        let taps = |key: &Key| self.sessions.get(*key).is_some_and(|session| !session.taps.is_empty());
        self.taps.on = self.keys.iter().any(taps);
    }
}

impl Engine {
    /// Makes connections of this listener control connections.
    pub fn open_control(&mut self, listener: usize, host: Host) {
        self.control.host = host;
        self.set_door(listener, super::Door::Control);
    }

    /// What is to be done by the program around, since the last call.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.control.wishes)
    }

    /// Ends a reload: a result, or why nothing has changed.
    pub fn answer_reload(&mut self, ticket: Option<Ticket>, outcome: Result<Value, String>) {
        let asker = ticket.and_then(|Ticket(at)| self.control.tickets.get_mut(at)?.take());
        if let Some((key, id)) = asker {
            match outcome {
                Ok(result) => self.answer(key, &id, &result),
                Err(why) => self.refuse(key, &id, -32000, &why),
            }
            self.control.has_answered = true;
        }
    }

    /// The place of a server that is gone is given to another one.
    pub(super) fn forget_journal(&mut self, id: ServerId) {
        self.control.journal.forget(id);
    }

    /// A line of a control connection, or the length of one that is too long. The next one is read once this
    /// one is answered: whoever sends thousands at once has one in each turn.
    pub(super) fn hear_call(&mut self, key: Key, line: Result<Vec<u8>, usize>) {
        self.control.inbox.push((key, line));
        if let Some(conn) = self.conns.get_mut(key) {
            conn.paused = true;
        }
    }

    /// A new connection at the control socket.
    pub(super) fn attach_control(&mut self, now: Time, key: Key) {
        if self.control.keys.len() >= CONTROL_CLIENTS {
            let text = format!("more than {CONTROL_CLIENTS} control connections");
            self.refuse(key, "null", -32000, &text);
            return self.conns.close(now, key);
        }
        self.control.sessions.insert(key, Session::default());
        self.control.keys.push(key);
    }

    /// Answers what was asked, and tells followers what is new.
    pub(super) fn operate(&mut self, now: Time, platform: &dyn Platform) {
        for (key, line) in std::mem::take(&mut self.control.inbox) {
            self.answer_line(now, key, line, platform);
            if let Some(conn) = self.conns.get_mut(key) {
                conn.paused = false;
            }
            self.conns.wake(key);
        }
        self.control.has_answered = false;
        self.show_taps(now);
        for key in self.control.keys.clone() {
            self.tell_watcher(now, key, platform);
            let Some(session) = self.control.sessions.get(key) else { continue };
            let follows = session.watch.is_some() || session.logs.is_some() || !session.taps.is_empty();
            let waits = self.control.tickets.iter().flatten().any(|(asker, _)| *asker == key);
            if (session.ended && !follows && !waits) || self.stopping {
                self.conns.close(now, key);
                self.control.forget(key);
            }
        }
    }

    fn answer_line(&mut self, now: Time, key: Key, line: Result<Vec<u8>, usize>, platform: &dyn Platform) {
        let line = match line {
            Ok(line) => line,
            Err(len) => {
                return self.refuse(key, "null", -32600, &format!("a line of {len} bytes is too long"));
            }
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match Call::parse(&line) {
            Ok(call) => {
                if let Err((code, text)) = self.carry_out(now, key, &call, platform) {
                    self.refuse(key, &call.id, code, &text);
                }
            }
            Err(refusal) => self.refuse(key, &refusal.id, refusal.code, &refusal.text),
        }
    }

    fn carry_out(
        &mut self,
        now: Time,
        key: Key,
        call: &Call,
        platform: &dyn Platform,
    ) -> Result<(), (i32, String)> {
        let result = match &call.verb {
            Verb::Hello => json!({
                "control": CONTROL_VERSION,
                "version": self.control.host.version,
                "pid": self.control.host.pid,
                "config": self.control.host.config,
            }),
            Verb::Status => {
                let mut value = report_value(&self.report(now, platform));
                value["tables"] = self.tables();
                value
            }
            Verb::Watch { interval_ms } => {
                let report = self.report(now, platform);
                let value = report_value(&report);
                let watch =
                    Watch { interval_ms: *interval_ms, due: now + *interval_ms, last: steady(report) };
                self.session(key, |session| session.watch = Some(watch));
                value
            }
            Verb::Start { server } => self.steer(now, server, Engine::start_server)?,
            Verb::Stop { server } => self.steer(now, server, Engine::stop_server)?,
            Verb::Restart { server } => self.steer(now, server, Engine::restart_server)?,
            Verb::Reload => {
                let tickets = &mut self.control.tickets;
                let at = tickets.iter().position(Option::is_none).unwrap_or(tickets.len());
                tickets.resize(tickets.len().max(at + 1), None);
                tickets[at] = Some((key, call.id.clone()));
                self.control.wishes.push(Wish::Reload(Some(Ticket(at))));
                return Ok(());
            }
            Verb::Drain { timeout_ms } => {
                self.drain_clients(now, *timeout_ms);
                json!({ "clients": self.mux.clients() })
            }
            Verb::Shutdown => {
                self.answer(key, &call.id, &json!({}));
                self.stop(now);
                return Ok(());
            }
            Verb::Logs { server, lines, follow } => {
                let id = server.as_deref().map(|name| self.find_server(name)).transpose()?;
                let newest: Vec<Value> = self
                    .control
                    .journal
                    .tail(id, *lines)
                    .into_iter()
                    .map(|line| self.line_value(line))
                    .collect();
                if *follow {
                    self.session(key, |session| session.logs = Some(server.clone()));
                }
                json!({ "lines": newest })
            }
            Verb::Tap { server } => {
                self.find_server(server)?;
                self.session(key, |session| {
                    if !session.taps.contains(server) {
                        session.taps.push(server.clone());
                    }
                });
                self.control.count_taps();
                json!({})
            }
            Verb::Unwatch => self.session(key, |session| session.watch = None),
            Verb::Unlog => self.session(key, |session| session.logs = None),
            Verb::Untap => {
                self.session(key, |session| session.taps.clear());
                self.control.count_taps();
                json!({})
            }
        };
        self.answer(key, &call.id, &result);
        Ok(())
    }

    fn session(&mut self, key: Key, change: impl FnOnce(&mut Session)) -> Value {
        if let Some(session) = self.control.sessions.get_mut(key) {
            change(session);
        }
        json!({})
    }

    fn find_server(&self, name: &str) -> Result<ServerId, (i32, String)> {
        self.server_named(name).ok_or_else(|| {
            let known: Vec<&str> = self
                .order
                .iter()
                .filter(|id| self.mux.is_serving(**id))
                .map(|id| self.setups[*id].policy.name.as_str())
                .collect();
            (-32602, format!("no server '{}'; there are {}", shown(name), known.join(", ")))
        })
    }

    fn steer(
        &mut self,
        now: Time,
        server: &str,
        verb: impl FnOnce(&mut Engine, Time, ServerId),
    ) -> Result<Value, (i32, String)> {
        let id = self.find_server(server)?;
        if self.stopping {
            return Err((-32000, "muxloop is stopping".into()));
        }
        verb(self, now, id);
        let standing = self.mux.server_status(now, id).map(|status| status.standing);
        let state = standing.map_or("stopped", |standing| super::report::state_of(&standing).word());
        Ok(json!({ "server": server, "state": state }))
    }

    fn answer(&mut self, key: Key, id: &str, result: &Value) {
        self.say(key, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
    }

    fn refuse(&mut self, key: Key, id: &str, code: i32, text: &str) {
        let error = json!({ "code": code, "message": text });
        self.say(key, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#));
    }

    fn say(&mut self, key: Key, text: String) {
        self.conns.send(key, &Message::new(text.as_bytes()));
        if self.conns.get(key).is_some_and(|conn| conn.send.len() > CONTROL_SEND_MAX) {
            self.conns.fail(key, CloseReason::SlowReader);
        }
    }
}

fn report_value(report: &Report) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}

/// A report without what changes by itself.
fn steady(mut report: Report) -> Report {
    report.uptime_ms = 0;
    report.rss_bytes = None;
    for server in &mut report.servers {
        server.uptime_ms = None;
        server.rss_bytes = None;
        server.recent.iter_mut().for_each(|recent| recent.ago_ms = 0);
    }
    report
}
