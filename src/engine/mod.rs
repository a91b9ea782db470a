//! Connections, turns and backpressure, over any kernel: real or simulated.
//!
//! ```text
//!   ready ─▶ mark ─▶ expire ─▶ read ─────▶ act ──────▶ flush ─▶ reap
//!            bits    timers    bytes→mux   spawn/stop   dirty    closed
//! ```
//!
//! [`Engine::turn`] is one pass; it never waits. Leftover work makes [`Engine::deadline`] *now*.

/// Calls the mux with its verbs going to the engine's own parts.
macro_rules! tell {
    ($engine:expr, $now:expr, $method:ident $(, $argument:expr)*) => {
        $engine.mux.$method(
            $now $(, $argument)*,
            &mut $crate::engine::Outbox {
                now: $now,
                conns: &mut $engine.conns,
                actions: &mut $engine.actions,
                taps: &mut $engine.control.taps,
            },
        )
    };
}

mod conn;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "control")]
mod journal;
mod links;
#[cfg(feature = "http")]
mod metrics;
#[cfg(feature = "control")]
pub mod operate;
#[cfg(not(feature = "control"))]
#[path = "without_control.rs"]
pub mod operate;
mod pool;
pub mod port;
mod process;
mod receive;
#[cfg(feature = "control")]
mod report;
mod running;
pub mod sandbox;
mod servers;

use crate::base::limits::{ACCEPT_BUDGET, CONTROL_LINE_MAX};
use crate::base::{Key, SortedMap, SortedSet, Time};
use crate::codec::Message;
use crate::mux::policy::{Found, ServerPolicy};
use crate::mux::{CloseReason, Mux, ServerId, Sink, StopStep};
use conn::{Conns, Role};
use operate::{ControlPlane, Taps, Wish};
use port::{Platform, Ready, Signal, SpawnSpec};
use process::Processes;
use std::io;

/// A server as the engine runs it. Clients come in by the listener of the same index.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    pub policy: ServerPolicy,
    pub spawn: SpawnSpec,
    /// Path of its socket, and what people are shown as its name.
    pub socket: String,
    pub service_name: String,
}

/// Where the connections of a listener go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "control"), allow(dead_code))]
enum Door {
    Closed,
    Server(ServerId),
    Control,
    /// HTTP; whether only programs of this machine can come by it.
    #[cfg(feature = "http")]
    Http(bool),
}

/// Everything below the command line, over a [`Platform`].
pub struct Engine {
    mux: Mux,
    conns: Conns,
    processes: Processes,
    setups: Vec<ServerSetup>,
    /// Servers as people see them listed.
    order: Vec<ServerId>,
    actions: Vec<Action>,
    exited: Vec<Key>,
    /// What is news about servers' eras.
    found: SortedMap<ServerId, Option<Found>>,
    /// Servers of which more is known.
    learnt: SortedSet<ServerId>,
    accepting: Vec<bool>,
    /// By listener.
    doors: Vec<Door>,
    control: ControlPlane,
    #[cfg(feature = "http")]
    front: Option<Box<crate::front::Front>>,
    #[cfg(feature = "gateway")]
    merged: Vec<gateway::Merged>,
    /// Set by a drain: when it stops in any case.
    drain_until: Option<Time>,
    stopping: bool,
    abandoned: bool,
    /// HTTP connections whose other side has ended its direction.
    http_ended: Vec<Key>,
}

/// What the mux asked for that needs the platform.
#[derive(Debug)]
enum Action {
    Start(Key, ServerId),
    Stop(Key, StopStep),
    Found(ServerId, Option<Found>),
    Learnt(ServerId),
}

/// The mux's verbs, applied to the connections or kept for the act phase.
struct Outbox<'a> {
    now: Time,
    conns: &'a mut Conns,
    actions: &'a mut Vec<Action>,
    taps: &'a mut Taps,
}

impl Sink for Outbox<'_> {
    #[inline]
    fn send(&mut self, to: Key, message: &Message<'_>) {
        if self.taps.on {
            self.taps.note(to, false, message);
        }
        self.conns.send(to, message);
    }
    fn send_about(&mut self, to: Key, message: &Message<'_>, request: &[u8]) {
        // The front has it told in front of the message.
        #[cfg(feature = "http")]
        if self.conns.get_mut(to).is_some_and(|conn| conn.role == Role::Link) {
            self.conns.send(to, &Message::new(&crate::front::about(request)));
        }
        #[cfg(not(feature = "http"))]
        let _ = request;
        self.send(to, message);
    }
    fn close(&mut self, link: Key, _why: CloseReason) {
        self.conns.close(self.now, link);
    }
    fn pause(&mut self, link: Key, paused: bool) {
        if let Some(conn) = self.conns.get_mut(link) {
            conn.paused = paused;
            // A link has nothing to read, but the front may hold a message of it: that takes another turn.
            conn.readable |= conn.role == Role::Link && !paused;
            self.conns.wake(link);
        }
    }
    fn is_congested(&self, link: Key) -> bool {
        self.conns.is_congested(link)
    }
    fn start(&mut self, instance: Key, server: ServerId) {
        self.actions.push(Action::Start(instance, server));
    }
    fn stop(&mut self, instance: Key, step: StopStep) {
        self.actions.push(Action::Stop(instance, step));
    }
    fn found(&mut self, server: ServerId, found: Option<&Found>) {
        self.actions.push(Action::Found(server, found.cloned()));
    }
    fn learnt(&mut self, server: ServerId) {
        self.actions.push(Action::Learnt(server));
    }
}

impl Engine {
    /// An engine for these servers. `seed` feeds the jitter of restarts.
    pub fn new(setups: Vec<ServerSetup>, seed: u64) -> Engine {
        let policies = setups.iter().map(|setup| setup.policy.clone()).collect();
        Engine {
            mux: Mux::new(policies, seed),
            conns: Conns::default(),
            processes: Processes::new(),
            accepting: vec![false; setups.len()],
            doors: (0..setups.len()).map(Door::Server).collect(),
            control: ControlPlane::default(),
            #[cfg(feature = "http")]
            front: None,
            #[cfg(feature = "gateway")]
            merged: Vec::new(),
            drain_until: None,
            order: (0..setups.len()).collect(),
            setups,
            actions: Vec::new(),
            exited: Vec::new(),
            found: SortedMap::new(),
            learnt: SortedSet::new(),
            stopping: false,
            abandoned: false,
            http_ended: Vec::new(),
        }
    }

    /// Starts every server that is not lazy.
    pub fn begin(&mut self, now: Time, platform: &mut dyn Platform) {
        tell!(self, now, begin);
        self.act(now, platform);
        self.conns.flush();
    }

    /// One pass over everything that is ready.
    pub fn turn(&mut self, now: Time, ready: &[Ready], platform: &mut dyn Platform) {
        self.conns.backlog.now = now;
        for event in ready {
            self.mark(now, *event);
        }
        if self.mux.lacks_random() {
            let mut bytes = [0; 16 * SECRETS_AT_ONCE];
            platform.random(&mut bytes);
            let (words, _) = bytes.as_chunks::<16>();
            self.mux.feed_random(&words.iter().map(|word| u128::from_le_bytes(*word)).collect::<Vec<_>>());
        }
        if self.mux.poll_timeout().is_some_and(|at| at <= now) {
            tell!(self, now, handle_timeout);
        }
        self.end_drain(now);
        self.accept(now, platform);
        for _ in 0..self.conns.runnable.len() {
            if let Some(key) = self.conns.next_runnable() {
                self.read_any(now, key, platform);
                self.conns.wake(key);
            }
        }
        self.operate(now, platform);
        self.act(now, platform);
        self.conns.flush();
        self.serve_merged(now, platform);
        self.serve_http(now, platform);
        self.serve_links(now, platform);
        self.reap(now, platform);
        self.act(now, platform);
        self.conns.flush();
        self.conns.trim(now);
    }

    /// When the next turn is due even if nothing becomes ready.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let busy = !self.conns.runnable.is_empty()
            || !self.actions.is_empty()
            || self.conns.has_doomed()
            || self.conns.has_heard()
            || self.accepting.contains(&true)
            || self.control.is_busy()
            || self.has_drained()
            || !self.exited.is_empty();
        if busy {
            return Some(now);
        }
        [
            self.mux.poll_timeout(),
            self.conns.linger.next_deadline(),
            self.conns.trim_at(),
            self.control.deadline(),
            self.drain_until,
            self.http_deadline(),
            self.merged_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Asks for the graceful stop; a second time, for the immediate one.
    pub fn stop(&mut self, now: Time) {
        if std::mem::replace(&mut self.stopping, true) {
            self.abandoned = true;
            return;
        }
        tell!(self, now, shutdown);
    }

    /// After [`Engine::stop`]: whether everything has ended, or is to be left as it is.
    pub fn is_finished(&self) -> bool {
        self.abandoned || (self.stopping && self.mux.is_finished() && self.conns.len() == 0)
    }

    /// The routing state, to look at.
    pub fn mux(&self) -> &Mux {
        &self.mux
    }

    /// Open connections: clients, and two of each child.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Bytes that wait to be written, all connections together.
    #[doc(hidden)]
    pub fn unwritten(&self) -> usize {
        self.conns.unwritten()
    }

    fn mark(&mut self, now: Time, event: Ready) {
        match event {
            Ready::Stream { key, readable, writable, ended, hangup } => {
                let Some(conn) = self.conns.get_mut(key) else { return };
                conn.readable |= readable;
                conn.writable |= writable;
                conn.ended |= ended;
                conn.hangup |= hangup && !conn.is_pair;
                if conn.is_pair && hangup && !ended {
                    // It is the other one: nobody reads.
                    self.conns.fail(key, CloseReason::PeerClosed);
                    return;
                }
                if conn.discards && (conn.hangup || conn.discard()) {
                    self.conns.doom(key);
                    return;
                }
                if conn.hangup && conn.role == Role::Client && conn.paused {
                    // Nobody is left who could be slowed down.
                    conn.paused = false;
                }
                let void = conn.hangup && matches!(conn.role, Role::Client | Role::Control) && conn.finished;
                if conn.role == Role::Http && (conn.hangup || (conn.ended && conn.paused)) {
                    self.http_ended.push(key);
                }
                if void {
                    // It had ended its side and waited for answers or news; now it does not even wait.
                    self.conns.fail(key, CloseReason::PeerClosed);
                } else if readable || ended {
                    self.conns.wake(key);
                }
                if writable {
                    self.conns.touch(key);
                }
            }
            Ready::Accept { listener } => {
                if let Some(accepting) = self.accepting.get_mut(listener) {
                    *accepting = true;
                }
            }
            Ready::Exited { process, status } => {
                if let Some(known) = self.processes.get_mut(process) {
                    known.exited = Some(status);
                    self.exited.push(process);
                }
            }
            Ready::Signal(Signal::Stop) => self.stop(now),
            Ready::Signal(Signal::Reload) => self.control.wishes.push(Wish::Reload(None)),
            Ready::Signal(Signal::Reopen) => self.control.wishes.push(Wish::Reopen),
        }
    }

    fn accept(&mut self, now: Time, platform: &mut dyn Platform) {
        for listener in 0..self.accepting.len() {
            for _ in 0..ACCEPT_BUDGET {
                if !self.accepting[listener] {
                    break;
                }
                match platform.accept(listener) {
                    Ok(accepted) => self.accepted(now, listener, accepted, platform),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.accepting[listener] = false
                    }
                    Err(error) => {
                        log::warn!(target: "muxloop", "a connection could not be accepted: {error}");
                        self.accepting[listener] = false;
                    }
                }
            }
        }
    }

    fn accepted(
        &mut self,
        now: Time,
        listener: usize,
        accepted: port::Accepted,
        platform: &mut dyn Platform,
    ) {
        let io = accepted.io;
        if self.stopping || self.conns.is_full() {
            return log::warn!(target: "muxloop", "a connection was refused: too many, or muxloop is stopping");
        }
        match self.doors.get(listener) {
            Some(Door::Server(server)) => {
                let server = *server;
                let Some(key) = self.admit(now, io, server, platform) else { return };
                if let Some(pid) = accepted.peer_pid {
                    self.mux.note_client_pid(key, pid);
                }
            }
            Some(Door::Control) => {
                let Some(key) = self.open(io, Role::Control, CONTROL_LINE_MAX, platform) else { return };
                self.attach_control(now, key);
                self.conns.wake(key);
            }
            #[cfg(feature = "http")]
            Some(Door::Http(loopback)) => {
                let loopback = *loopback;
                let Some(key) = self.open(io, Role::Http, 0, platform) else { return };
                self.greet_http(now, key, loopback, accepted.address, platform);
                self.conns.wake(key);
            }
            Some(Door::Closed) | None => {}
        }
    }

    #[cfg(not(feature = "http"))]
    fn read_any(&mut self, now: Time, key: Key, _platform: &mut dyn Platform) {
        self.read(now, key);
    }

    #[cfg(not(feature = "http"))]
    fn serve_http(&mut self, _now: Time, _platform: &mut dyn Platform) {}

    #[cfg(not(feature = "http"))]
    fn http_deadline(&self) -> Option<Time> {
        None
    }

    fn open(
        &mut self,
        io: Box<dyn port::Io>,
        role: Role,
        limit: usize,
        platform: &mut dyn Platform,
    ) -> Option<Key> {
        let key = self.conns.insert(io, role, limit);
        let conn = self.conns.get_mut(key)?;
        if let Err(error) = platform.register(key, &mut *conn.io) {
            log::error!(target: "muxloop", "a connection cannot be watched: {error}");
            self.conns.remove(key, platform);
            return None;
        }
        Some(key)
    }

    /// Takes out what is closed: after its last byte, at its last moment, or broken.
    fn reap(&mut self, now: Time, platform: &mut dyn Platform) {
        while let Some(key) = self.conns.linger.pop_expired(now) {
            if self.stopping || !self.conns.extend(now, key) {
                self.take_out(now, key, platform);
            }
        }
        for key in self.conns.take_doomed() {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let role = conn.role;
            match (conn.broken.take(), conn.closing) {
                (Some(why), false) => {
                    if matches!(role, Role::Client | Role::Http) && why == CloseReason::SlowReader {
                        log::warn!(target: "muxloop", "client {key} was closed: it {why}");
                    }
                    match role {
                        Role::Control => self.control.forget(key),
                        Role::Http => {}
                        _ => tell!(self, now, handle_closed, key, why),
                    }
                    self.take_out(now, key, platform);
                }
                (Some(_), true) => self.take_out(now, key, platform),
                (None, true)
                    if conn.role == Role::Http && conn.send.is_empty() && conn.must_be_heard_out() => {}
                (None, true) if conn.send.is_empty() => self.take_out(now, key, platform),
                _ => {}
            }
        }
        // `handle_drained` may congest and drain again; what it leaves is for the next turn.
        for key in std::mem::take(&mut self.conns.drained) {
            tell!(self, now, handle_drained, key);
        }
    }
}

#[cfg(not(feature = "gateway"))]
impl Engine {
    fn serve_merged(&mut self, _now: Time, _platform: &mut dyn Platform) {}

    fn merged_deadline(&self) -> Option<Time> {
        None
    }
}

#[cfg(not(feature = "http"))]
impl Engine {
    fn take_out(&mut self, now: Time, key: Key, platform: &mut dyn Platform) {
        #[cfg(feature = "gateway")]
        let role = self.conns.get(key).map(|conn| conn.role);
        self.conns.remove(key, platform);
        #[cfg(feature = "gateway")]
        if let Some(Role::Asker(server)) = role {
            self.asker_closed(now, key, server, platform);
        }
        #[cfg(not(feature = "gateway"))]
        let _ = now;
    }
}

/// Secrets that the mux is given at a time.
const SECRETS_AT_ONCE: usize = 16;
