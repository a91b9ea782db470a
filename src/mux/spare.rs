//! Processes that are started before anybody needs them (row B06): a client, or a request, that has a
//! process of its own finds one that has loaded already.
//!
//! A spare is an instance without an owner. It is told nothing: what `initialize` says is the client's to
//! say, and a 2026-07-28 server may take its first message for its era. So a spare hides the start of a
//! process and not the handshake, which takes one round trip. Everything else is as with any instance: one
//! that ends is started again with backoff, up to `max_restarts`.

use crate::base::{Key, Time};
use crate::mux::server::{Instance, Phase, Then};
use crate::mux::sink::ServerId;
use crate::mux::{Mux, Sink, Timer};

impl Mux {
    /// Starts the spares that a server lacks and stops those it has too many of.
    pub(super) fn top_up(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        let Some(server) = self.servers.get_mut(id) else { return };
        server.topping_up = false;
        if server.retired || self.draining || self.closing {
            return;
        }
        let is_held = server.held;
        let wanted = if server.policy.is_per_client() { server.policy.spare } else { 0 };
        let spares = self.spares_of(id);
        for key in spares.iter().skip(wanted) {
            self.stop(now, *key, Then::Remove, out);
        }
        if is_held {
            return;
        }
        for _ in spares.len()..wanted {
            let spare = Instance { spare: true, ..Instance::new(id, None) };
            let key = self.instances.insert(spare);
            self.start(now, key, out);
        }
    }

    pub(super) fn on_top_up(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        if self.servers.get(id).is_some_and(|server| server.topping_up) {
            self.top_up(now, id, out);
        }
    }

    /// A spare for this client: one that runs rather than one that was only asked for, the oldest first. In
    /// its place another one is started once the client's request is on its way.
    pub(super) fn take_spare(&mut self, now: Time, id: ServerId, owner: Key) -> Option<Key> {
        if self.servers[id].policy.spare == 0 {
            return None;
        }
        self.want_spares(now, id);
        let ready = |instance: &Instance| instance.spare && matches!(instance.phase, Phase::Starting { .. });
        let mine = self.instances.iter().filter(|(_, instance)| instance.server == id && ready(instance));
        let (key, _) = mine.min_by_key(|(_, instance)| (instance.link.is_none(), instance.heard))?;
        let instance = self.instances.get_mut(key)?;
        instance.spare = false;
        instance.owner = Some(owner);
        instance.attempts = 0;
        instance.used = now;
        Some(key)
    }

    /// A client's process has shaken hands, so the server can be started after all: spares that were given
    /// up are tried again.
    pub(super) fn revive_spares(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        let failed = |key: &Key| self.instances.get(*key).is_some_and(|i| matches!(i.phase, Phase::Failed));
        let failed: Vec<Key> = self.spares_of(id).into_iter().filter(failed).collect();
        for key in failed {
            self.stop(now, key, Then::Remove, out);
            self.want_spares(now, id);
        }
    }

    /// Another look at the spares, once what is at hand is done.
    fn want_spares(&mut self, now: Time, id: ServerId) {
        if !std::mem::replace(&mut self.servers[id].topping_up, true) {
            self.timers.schedule(now + TOP_UP_MS, Timer::TopUp(id));
        }
    }

    /// Stops and forgets the spares of a server.
    pub(super) fn end_spares(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        for key in self.spares_of(id) {
            self.stop(now, key, Then::Remove, out);
        }
    }

    /// The spares that are not on their way out, whether they run or not.
    pub(super) fn spares_of(&self, id: ServerId) -> Vec<Key> {
        let leaves = |instance: &Instance| matches!(&instance.phase, Phase::Stopping { then, .. } if *then == Then::Remove);
        let mine = self.instances.iter().filter(|(_, i)| i.server == id && i.spare && !leaves(i));
        mine.map(|(key, _)| key).collect()
    }
}

/// How long after a spare was taken another one is started: a new process would compete with the taken one
/// for the processor while its client waits.
const TOP_UP_MS: u64 = 20;
