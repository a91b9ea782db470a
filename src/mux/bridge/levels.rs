//! Log levels across the eras (protocol.md §2.6 rule L, §2.7, §4.2, §4.3): a legacy child has one level, a
//! modern request has its own; a legacy client has one level, a modern child is told it with each request.

use crate::base::{Key, Time, TimerKey};
use crate::codec::{Incoming, Message};
use crate::mux::method::Level;
use crate::mux::request::{Origin, Request};
use crate::mux::server::Era;
use crate::mux::{Mux, Sink, Timer, reply};

/// The level that modern requests need of a legacy child: the most verbose one of those that are there or were
/// lately. It is raised at once and lowered late, so that calls which come one by one do not toggle it.
#[derive(Debug, Default)]
pub(in crate::mux) struct Floor {
    /// Of all since the last but one look.
    level: Option<Level>,
    /// Of those since the last look.
    recent: Option<Level>,
    /// When the next look is due.
    timer: Option<TimerKey>,
}

impl Floor {
    pub(in crate::mux) fn level(&self) -> Option<Level> {
        self.level
    }
}

impl Mux {
    /// A request goes to a child of the other era: what is said of it is to be logged as its client wants.
    pub(super) fn cross_level(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        if request.era == Era::Legacy {
            // Its client may have said it while the request waited.
            let Origin::Peer { peer, .. } = request.origin else { return };
            request.log_level = self.peers.get(peer).and_then(|peer| peer.level);
            return;
        }
        let (Some(level), instance_key) = (request.log_level, request.instance) else { return };
        let Some(instance) = self.instances.get_mut(instance_key) else { return };
        let floor = &mut instance.floor;
        floor.level = Some(floor.level.map_or(level, |old| old.min(level)));
        floor.recent = Some(floor.recent.map_or(level, |old| old.min(level)));
        if floor.timer.is_none() {
            floor.timer = Some(self.timers.schedule(now + FLOOR_MS, Timer::Level(instance_key)));
        }
        self.sync_level(now, instance_key, out);
    }

    /// Lowers what modern requests need to that of those that are there, or came since the last look.
    pub(in crate::mux) fn on_level_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let present = self.requests.iter().filter(|(_, request)| wants_line(request, key, Level::Emergency));
        let present = present.filter(|(_, request)| request.era == Era::Modern);
        let present = present.filter_map(|(_, request)| request.log_level).min();
        let Some(instance) = self.instances.get_mut(key) else { return };
        let floor = &mut instance.floor;
        floor.level = floor.recent.take().into_iter().chain(present).min();
        floor.timer = floor.level.map(|_| self.timers.schedule(now + FLOOR_MS, Timer::Level(key)));
        self.sync_level(now, key, out);
    }

    /// The process whose level it was is gone.
    pub(in crate::mux) fn forget_floor(&mut self, key: Key) {
        let floor = self.instances.get_mut(key).map(|instance| std::mem::take(&mut instance.floor));
        if let Some(timer) = floor.and_then(|floor| floor.timer) {
            self.timers.cancel(timer);
        }
    }

    /// Rule L of protocol.md §2.6: a child's log line belongs to a request it does not name. If just one
    /// request in flight wants it, it is that one's; else it is nobody's. Where it goes, if it does.
    pub(in crate::mux) fn asker_of_line(&self, instance_key: Key, msg: &Incoming<'_>) -> Option<Key> {
        let instance = self.instances.get(instance_key)?;
        let level = level_of(msg);
        // Legacy clients of a legacy child have its lines by their own level.
        let counts = |request: &Request| instance.era == Some(Era::Modern) || request.era == Era::Modern;
        let mut wanting = self
            .requests
            .iter()
            .filter(|(_, request)| wants_line(request, instance_key, level) && counts(request));
        let (Some((_, request)), None) = (wanting.next(), wanting.next()) else { return None };
        // What was cancelled may still be logged about.
        if instance.fence.is_some_and(|fence| fence.peer != request.peer()) {
            return None;
        }
        match request.origin {
            Origin::Peer { link, .. } => Some(link),
            // Its client is away.
            Origin::Suspended(_) | Origin::Own(_) => None,
        }
    }

    /// A modern child's line.
    pub(in crate::mux) fn route_modern_log(&self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        match self.asker_of_line(instance, msg) {
            Some(link) => out.send(link, &Message::new(msg.bytes)),
            None => log::debug!(target: &self.target_of(instance), "log: {}", reply::quote(msg.bytes)),
        }
    }

    /// A line of a modern child that is known to be about the request of this id there.
    pub fn tell_log_of(&self, link: Key, id: &[u8], text: &[u8], out: &mut dyn Sink) {
        let request = crate::mux::parse_key(id).and_then(|key| self.requests.get(key));
        let instance = request.and_then(|request| self.instances.get(request.instance));
        let Some(request) = request.filter(|_| instance.is_some_and(|i| i.link == Some(link))) else {
            return;
        };
        let Ok(msg) = Incoming::scan(text) else { return };
        let wanted = request.log_level.is_some_and(|wanted| wanted <= level_of(&msg));
        if let (Origin::Peer { link, .. }, true) = (&request.origin, wanted) {
            out.send(*link, &Message::new(text));
        }
    }

    /// A legacy child's line: to every legacy client that wants lines of this level (P18), and to the one modern
    /// request that does.
    pub(in crate::mux) fn route_legacy_log(&self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let level = level_of(msg);
        // Where no modern request named a level lately there is none to look for.
        let is_asked = self.instances.get(instance).is_some_and(|instance| instance.floor.level.is_some());
        let asker = if is_asked { self.asker_of_line(instance, msg) } else { None };
        let mut told = false;
        for (_, peer) in self.open_peers(instance) {
            if level >= peer.level.unwrap_or(Level::DEFAULT) {
                out.send(peer.link, &Message::new(msg.bytes));
                told |= asker == Some(peer.link);
            }
        }
        if let Some(link) = asker.filter(|_| !told) {
            out.send(link, &Message::new(msg.bytes));
        }
    }
}

fn level_of(msg: &Incoming<'_>) -> Level {
    msg.envelope.level.and_then(|span| Level::parse(msg.text(span))).unwrap_or(Level::Info)
}

/// Whether a request is at this child and carries a level that a line of `level` is loud enough for.
fn wants_line(request: &Request, instance: Key, level: Level) -> bool {
    request.instance == instance
        && request.is_sent()
        && request.log_level.is_some_and(|wanted| wanted <= level)
}

/// How long a level is kept for the next request that wants it.
const FLOOR_MS: u64 = 30_000;
