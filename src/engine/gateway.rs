//! Merged endpoints on the engine, that of all servers and those of profiles: each a child of the mux without a
//! process, and the peers in whose name it asks the servers (see [`crate::gateway`]).

use super::conn::{Conns, Role};
use super::operate::Taps;
use super::port::{Nowhere, Platform};
use super::{Action, Engine, Outbox, ServerSetup};
use crate::base::{Key, Time};
use crate::codec::{Incoming, Message};
#[cfg(feature = "control")]
use crate::control::{MemberReport, MergedReport};
#[cfg(any(feature = "http", feature = "control"))]
use crate::gateway::status::Status;
use crate::gateway::{Floor, Gateway, Setup};
use crate::mux::{CloseReason, Mux, ServerId, StopStep};

/// A gateway and its place among the servers.
pub(super) struct Merged {
    server: ServerId,
    gateway: Gateway,
    /// While the mux has it started: its instance, and the link that is its standard input and output.
    running: Option<(Key, Key)>,
}

impl Merged {
    /// Its server, and what can be had there.
    #[cfg(any(feature = "http", feature = "control"))]
    pub(super) fn status(&self, now: Time) -> (ServerId, Status) {
        (self.server, self.gateway.status(now))
    }
}

/// What the gateway sees of the engine while it works.
struct Below<'a> {
    now: Time,
    server: ServerId,
    child: Option<Key>,
    mux: &'a mut Mux,
    conns: &'a mut Conns,
    actions: &'a mut Vec<Action>,
    taps: &'a mut Taps,
    platform: &'a mut dyn Platform,
}

/// Calls the gateway at a place of `merged` with the rest of the engine below it.
macro_rules! gateway {
    ($engine:expr, $now:expr, $platform:expr, $at:expr, $method:ident $(, $argument:expr)*) => {
        if let Some(merged) = $engine.merged.get_mut($at) {
            merged.gateway.$method(
                $($argument,)*
                &mut Below {
                    now: $now,
                    server: merged.server,
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
    /// there. Another call for the same name replaces what it is made of.
    pub fn merge(
        &mut self,
        now: Time,
        setup: ServerSetup,
        parts: Setup,
        platform: &mut dyn Platform,
    ) -> ServerId {
        if let Some((server, at)) = self.merged_named(&setup.policy.name) {
            gateway!(self, now, platform, at, change, now, parts);
            return server;
        }
        let server = self.place_server(setup);
        self.merged.push(Merged { server, gateway: Gateway::new(parts), running: None });
        server
    }

    /// A server does other things than before.
    pub fn on_server_changed(&mut self, now: Time, server: ServerId, platform: &mut dyn Platform) {
        for at in 0..self.merged.len() {
            gateway!(self, now, platform, at, on_server_changed, now, server);
        }
    }

    /// The endpoint of this name takes no more clients; those it has are served to their end.
    pub fn unmerge(&mut self, now: Time, name: &str) {
        if let Some((server, _)) = self.merged_named(name) {
            self.retire_server(now, server);
        }
    }

    /// The server that is the merged endpoint of this name.
    pub fn merged_server(&self, name: &str) -> Option<ServerId> {
        Some(self.merged_named(name)?.0)
    }

    /// With its place, and only while it takes clients.
    fn merged_named(&self, name: &str) -> Option<(ServerId, usize)> {
        let server = self.server_named(name)?;
        Some((server, self.merged_at(server)?))
    }

    /// Whether a server is a merged endpoint.
    pub(crate) fn is_merged(&self, server: ServerId) -> bool {
        self.merged_at(server).is_some()
    }

    fn merged_at(&self, server: ServerId) -> Option<usize> {
        self.merged.iter().position(|merged| merged.server == server)
    }

    /// What a report says of a merged endpoint, and the bytes of its list of tools as clients are shown it.
    #[cfg(feature = "control")]
    pub(super) fn merged_report(&self, now: Time, server: ServerId) -> Option<(MergedReport, u64)> {
        let (_, status) = self.merged[self.merged_at(server)?].status(now);
        let members = status.members.into_iter().map(|member| {
            let [tools, prompts, resources, templates] =
                member.offered.map(|count| count.map(|count| count as u64));
            MemberReport { name: member.key, tools, prompts, resources, templates, missing: member.missing }
        });
        let [tools, prompts, resources, templates] = status.offered.map(|count| count as u64);
        let report = MergedReport {
            names: if status.is_plain { "plain" } else { "prefix" }.into(),
            lazy: status.is_lazy,
            tools,
            prompts,
            resources,
            templates,
            collisions: status.clash_count as u64,
            collided: status.clashes,
            servers: members.collect(),
        };
        Some((report, status.tool_bytes as u64))
    }

    /// The place of a server was given to another one.
    pub(super) fn forget_merged(&mut self, server: ServerId) {
        self.merged.retain(|merged| merged.server != server);
    }

    /// The mux starts a server: true if that is a gateway, which has no process.
    pub(super) fn start_merged(&mut self, now: Time, instance: Key, server: ServerId) -> bool {
        let Some(merged) = self.merged.iter_mut().find(|merged| merged.server == server) else {
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

    /// The mux stops an instance: true if that is a gateway.
    pub(super) fn stop_merged(
        &mut self,
        now: Time,
        instance: Key,
        step: StopStep,
        platform: &mut dyn Platform,
    ) -> bool {
        let is_it = |merged: &Merged| merged.running.is_some_and(|(own, _)| own == instance);
        let Some(at) = self.merged.iter().position(is_it) else { return false };
        if step == StopStep::CloseInput {
            gateway!(self, now, platform, at, rest);
            if let Some((_, link)) = self.merged[at].running.take() {
                self.conns.remove(link, platform);
            }
            tell!(self, now, handle_exited, instance, "stopped");
        }
        true
    }

    /// What is due of the gateways' own.
    pub(super) fn serve_merged(&mut self, now: Time, platform: &mut dyn Platform) {
        for at in 0..self.merged.len() {
            if self.merged[at].gateway.poll_timeout().is_some_and(|due| due <= now) {
                gateway!(self, now, platform, at, on_timeout, now);
            }
        }
        self.conns.flush();
    }

    pub(super) fn merged_deadline(&self) -> Option<Time> {
        self.merged.iter().filter_map(|merged| merged.gateway.poll_timeout()).min()
    }

    /// Lines that the mux sent to the gateway of this server (`is_child`), or to one of its peers.
    pub(super) fn hear_merged(
        &mut self,
        now: Time,
        (link, server): (Key, ServerId),
        is_child: bool,
        sent: &[u8],
        platform: &mut dyn Platform,
    ) {
        let Some(at) = self.merged_at(server) else { return };
        for line in sent.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(msg) = Incoming::scan(line) else { continue };
            match is_child {
                true => gateway!(self, now, platform, at, on_client, now, &msg),
                false => gateway!(self, now, platform, at, on_server, now, link, &msg),
            }
        }
        if is_child {
            self.conns.drained.push(link);
        }
    }

    /// A peer of the gateway of this server was closed by the mux.
    pub(super) fn asker_closed(
        &mut self,
        now: Time,
        link: Key,
        server: ServerId,
        platform: &mut dyn Platform,
    ) {
        if let Some(at) = self.merged_at(server) {
            gateway!(self, now, platform, at, on_server_closed, now, link);
        }
    }
}

impl Below<'_> {
    fn outbox(&mut self) -> (&mut Mux, Outbox<'_>) {
        let out = Outbox { now: self.now, conns: self.conns, actions: self.actions, taps: self.taps };
        (self.mux, out)
    }

    fn attach(&mut self, server: ServerId, watches: bool, on_behalf: Option<&[u8]>) -> Option<Key> {
        if self.conns.is_full() {
            return None;
        }
        let link = self.conns.insert(Box::new(Nowhere), Role::Asker(self.server), 0);
        let asked = self.child.zip(on_behalf);
        let (mux, mut out) = self.outbox();
        let number = match asked {
            _ if watches => mux.attach_watcher(out.now, link, server, &mut out),
            Some(asked) => mux.attach_guest_for(out.now, link, server, asked, &mut out),
            None => mux.attach_guest(out.now, link, server, &mut out),
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
    fn open(&mut self, server: usize, on_behalf: Option<&[u8]>) -> Option<Key> {
        self.attach(server, false, on_behalf)
    }
    fn watch(&mut self, server: usize) -> Option<Key> {
        self.attach(server, true, None)
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
    fn renew(&mut self) {
        let Some(child) = self.child else { return };
        let (mux, mut out) = self.outbox();
        mux.renew_hello(out.now, child, &mut out);
    }
    fn tell_log(&mut self, id: &[u8], message: &[u8]) {
        let Some(child) = self.child else { return };
        let (mux, mut out) = self.outbox();
        mux.tell_log_of(child, id, message, &mut out);
    }
}
