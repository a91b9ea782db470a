//! Notifications of a legacy child to the clients they concern (protocol.md §2.5, §2.7).

use crate::base::{Key, Time};
use crate::codec::{Incoming, Message, json};
use crate::mux::listen::is_sub_resource;
use crate::mux::method::{Level, ListKind};
use crate::mux::peer::Peer;
use crate::mux::request::Origin;
use crate::mux::{Mux, Sink, Timer, reply};
use serde_json::json;

impl Mux {
    fn open_peers(&self, instance: Key) -> impl Iterator<Item = (Key, &Peer)> {
        self.peers.iter().filter(move |(key, peer)| peer.is_open_legacy() && self.serves(instance, *key))
    }

    /// To every client that is ready for unsolicited messages.
    pub(super) fn fan_out(&self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        for (_, peer) in self.open_peers(instance) {
            out.send(peer.link, &Message::new(msg.bytes));
        }
    }

    /// To every client that wants lines of this level (P18).
    pub(super) fn fan_out_log(&self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let level = msg.envelope.level.and_then(|span| Level::parse(msg.text(span))).unwrap_or(Level::Info);
        for (_, peer) in self.open_peers(instance) {
            if level >= peer.level.unwrap_or(Level::DEFAULT) {
                out.send(peer.link, &Message::new(msg.bytes));
            }
        }
    }

    /// Rule L of protocol.md §2.6: a modern child's log line belongs to a request it does not name. If
    /// just one request in flight wants it, it is that one's; else it is nobody's.
    pub(super) fn route_modern_log(&self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let level = msg.envelope.level.and_then(|span| Level::parse(msg.text(span))).unwrap_or(Level::Info);
        let mut wanting = self.requests.iter().filter(|(_, request)| {
            request.instance == instance
                && request.is_sent()
                && request.log_level.is_some_and(|wanted| wanted <= level)
        });
        let fence = self.instances.get(instance).and_then(|instance| instance.fence);
        match (wanting.next(), wanting.next()) {
            (Some((_, request)), None) if fence.is_none_or(|fence| fence.peer == request.peer()) => {
                if let Origin::Peer { link, .. } = request.origin {
                    out.send(link, &Message::new(msg.bytes));
                }
            }
            _ => log::debug!(target: &self.target_of(instance), "log: {}", reply::quote(msg.bytes)),
        }
    }

    /// A resource changed: exact subscribers, else subscribers of a parent, else all subscribers (P17).
    pub(super) fn fan_out_update(&self, instance_key: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(instance_key) else { return };
        let Some(uri) = msg.envelope.uri.and_then(|span| json::unescape(msg.text(span))) else { return };
        let mut holders: Vec<Key> = Vec::new();
        if let Some(exact) = instance.subscriptions.get(uri.as_ref()) {
            holders.extend(&exact.holders);
        }
        if holders.is_empty() {
            let parents = instance.subscriptions.iter().filter(|(parent, _)| is_sub_resource(parent, &uri));
            holders.extend(parents.flat_map(|(_, subscription)| &subscription.holders));
        }
        if holders.is_empty() {
            holders.extend(instance.subscriptions.values().flat_map(|subscription| &subscription.holders));
        }
        holders.sort_unstable();
        holders.dedup();
        for peer in holders.into_iter().filter_map(|key| self.peers.get(key)) {
            out.send(peer.link, &Message::new(msg.bytes));
        }
    }

    /// After a restart: subscribed resources may have changed unseen.
    pub(super) fn announce_updates(&self, instance: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(instance) else { return };
        for (uri, subscription) in &instance.subscriptions {
            let text = reply::notification("notifications/resources/updated", Some(json!({ "uri": uri })));
            for peer in subscription.holders.iter().filter_map(|key| self.peers.get(*key)) {
                out.send(peer.link, &Message::new(&text));
            }
        }
    }

    /// A list changed (P19). The first of a burst passes at once, the rest of it as one.
    pub(super) fn on_list_changed(&mut self, now: Time, key: Key, kind: ListKind, out: &mut dyn Sink) {
        // A process of one request has another list with each start, and tells nobody about it.
        let Some(instance) = self.instances.get_mut(key).filter(|instance| instance.only.is_none()) else {
            return;
        };
        let changed = instance.changed.entry(kind).or_default();
        if changed.scheduled {
            return;
        }
        match changed.last {
            Some(last) if now.since(last) < COALESCE_MS => {
                changed.scheduled = true;
                self.timers.schedule(last + COALESCE_MS, Timer::Changed(key, kind));
            }
            _ => self.announce_list(now, key, kind, out),
        }
    }

    pub(super) fn on_changed_timeout(&mut self, now: Time, key: Key, kind: ListKind, out: &mut dyn Sink) {
        self.announce_list(now, key, kind, out);
    }

    fn announce_list(&mut self, now: Time, key: Key, kind: ListKind, out: &mut dyn Sink) {
        if let Some(instance) = self.instances.get_mut(key) {
            let changed = instance.changed.entry(kind).or_default();
            changed.scheduled = false;
            changed.last = Some(now);
        }
        let text = reply::notification(&format!("notifications/{}/list_changed", kind.name()), None);
        for (_, peer) in self.open_peers(key) {
            out.send(peer.link, &Message::new(&text));
        }
    }
}

/// Bursts of `list_changed` closer than this become one.
const COALESCE_MS: u64 = 100;
