//! The merged endpoint on the engine: a child of the mux without a process, and the peers in whose name it
//! asks the servers (see [`crate::gateway`]).

use super::conn::{Conns, Role};
use super::operate::Taps;
use super::port::{Nowhere, Platform};
use super::{Action, Engine, Outbox, ServerSetup};
use crate::base::{Key, Time};
use crate::codec::{Incoming, Message};
use crate::gateway::{Floor, Gateway, Setup};
use crate::mux::{CloseReason, Mux, ServerId, StopStep};

/// The gateway and its place among the servers.
pub(super) struct Merged {
    server: ServerId,
    gateway: Gateway,
    /// While the mux has it started: its instance, and the link that is its standard input and output.
    running: Option<(Key, Key)>,
}

/// What the gateway sees of the engine while it works.
struct Below<'a> {
    now: Time,
    child: Option<Key>,
    mux: &'a mut Mux,
    conns: &'a mut Conns,
    actions: &'a mut Vec<Action>,
    taps: &'a mut Taps,
    platform: &'a mut dyn Platform,
}

/// Calls the gateway with the rest of the engine below it.
macro_rules! gateway {
    ($engine:expr, $now:expr, $platform:expr, $method:ident $(, $argument:expr)*) => {
        if let Some(merged) = &mut $engine.merged {
            merged.gateway.$method(
                $($argument,)*
                &mut Below {
                    now: $now,
                    child: merged.running.map(|(_, link)| link),
                    mux: &mut $engine.mux,
                    conns: &mut $engine.conns,
                    actions: &mut $engine.actions,
                    taps: &mut $engine.control.taps,
                    platform: $platform,
                },
            )
        }
    };
}

impl Engine {
    /// Offers these servers behind one endpoint too, which is a server of its own: this number of it leads
    /// there. Another call replaces what it is made of.
    pub fn merge(
        &mut self,
        now: Time,
        setup: ServerSetup,
        parts: Setup,
        platform: &mut dyn Platform,
    ) -> ServerId {
        if let Some(merged) = &self.merged {
            let server = merged.server;
            gateway!(self, now, platform, rest);
            if let Some(merged) = &mut self.merged {
                merged.gateway = Gateway::new(parts);
            }
            // Whoever uses it learns that everything may have changed.
            self.restart_server(now, server);
            return server;
        }
        let server = self.place_server(setup);
        self.merged = Some(Merged { server, gateway: Gateway::new(parts), running: None });
        server
    }

    /// The server that is the merged endpoint.
    pub fn merged_server(&self) -> Option<ServerId> {
        self.merged.as_ref().map(|merged| merged.server)
    }

    /// The mux starts a server: true if that is the gateway, which has no process.
    pub(super) fn start_merged(&mut self, now: Time, instance: Key, server: ServerId) -> bool {
        let Some(merged) = self.merged.as_mut().filter(|merged| merged.server == server) else {
            return false;
        };
        let link = self.conns.insert(Box::new(Nowhere), Role::Merged, 0);
        merged.running = Some((instance, link));
        if let Some(conn) = self.conns.get_mut(link) {
            conn.server = server;
        }
        tell!(self, now, handle_started, instance, link);
        true
    }

    /// The mux stops an instance: true if that is the gateway.
    pub(super) fn stop_merged(
        &mut self,
        now: Time,
        instance: Key,
        step: StopStep,
        platform: &mut dyn Platform,
    ) -> bool {
        let running = self.merged.as_ref().and_then(|merged| merged.running);
        let Some((_, link)) = running.filter(|(own, _)| *own == instance) else { return false };
        if step == StopStep::CloseInput {
            gateway!(self, now, platform, rest);
            if let Some(merged) = &mut self.merged {
                merged.running = None;
            }
            self.conns.remove(link, platform);
            tell!(self, now, handle_exited, instance, "stopped");
        }
        true
    }

    /// What is due of the gateway's own.
    pub(super) fn serve_merged(&mut self, now: Time, platform: &mut dyn Platform) {
        let due = self.merged.as_ref().and_then(|merged| merged.gateway.poll_timeout());
        if due.is_some_and(|at| at <= now) {
            gateway!(self, now, platform, on_timeout, now);
        }
        self.conns.flush();
    }

    pub(super) fn merged_deadline(&self) -> Option<Time> {
        self.merged.as_ref()?.gateway.poll_timeout()
    }

    /// Lines that the mux sent to the gateway, or to one of its peers.
    pub(super) fn hear_merged(
        &mut self,
        now: Time,
        link: Key,
        role: Role,
        sent: &[u8],
        platform: &mut dyn Platform,
    ) {
        for line in sent.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(msg) = Incoming::scan(line) else { continue };
            match role {
                Role::Merged => gateway!(self, now, platform, on_client, now, &msg),
                _ => gateway!(self, now, platform, on_server, now, link, &msg),
            }
        }
        if role == Role::Merged {
            self.conns.drained.push(link);
        }
    }

    /// A peer of the gateway was closed by the mux.
    pub(super) fn asker_closed(&mut self, now: Time, link: Key, platform: &mut dyn Platform) {
        gateway!(self, now, platform, on_server_closed, now, link);
    }
}

impl Below<'_> {
    fn outbox(&mut self) -> (&mut Mux, Outbox<'_>) {
        let out = Outbox { now: self.now, conns: self.conns, actions: self.actions, taps: self.taps };
        (self.mux, out)
    }

    fn attach(&mut self, server: ServerId, watches: bool) -> Option<Key> {
        if self.conns.is_full() {
            return None;
        }
        let link = self.conns.insert(Box::new(Nowhere), Role::Asker, 0);
        let (mux, mut out) = self.outbox();
        let number = match watches {
            true => mux.attach_watcher(out.now, link, server, &mut out),
            false => mux.attach_guest(out.now, link, server, &mut out),
        };
        if let Some(conn) = self.conns.get_mut(link) {
            (conn.server, conn.number) = (server, number);
        }
        Some(link)
    }

    fn hand_in(&mut self, link: Key, message: &[u8]) {
        if self.taps.on {
            self.taps.note(link, true, &Message::new(message));
        }
        let scanned = Incoming::scan(message);
        let (mux, mut out) = self.outbox();
        match scanned {
            Ok(message) => mux.handle_message(out.now, link, &message, &mut out),
            Err(error) => mux.handle_malformed(out.now, link, message, error, &mut out),
        }
    }
}

impl Floor for Below<'_> {
    fn open(&mut self, server: usize) -> Option<Key> {
        self.attach(server, false)
    }
    fn watch(&mut self, server: usize) -> Option<Key> {
        self.attach(server, true)
    }
    fn close(&mut self, link: Key) {
        if self.conns.get(link).is_some_and(|conn| !conn.closing) {
            let (mux, mut out) = self.outbox();
            mux.handle_closed(out.now, link, CloseReason::PeerClosed, &mut out);
        }
        self.conns.remove(link, self.platform);
    }
    fn ask(&mut self, link: Key, message: &[u8]) {
        self.hand_in(link, message);
    }
    fn tell(&mut self, message: &[u8]) {
        if let Some(child) = self.child {
            self.hand_in(child, message);
        }
    }
    fn tell_log(&mut self, id: &[u8], message: &[u8]) {
        let Some(child) = self.child else { return };
        let (mux, mut out) = self.outbox();
        mux.tell_log_of(child, id, message, &mut out);
    }
}
