//! Notifications of a legacy child to the clients they concern, and what is told without one (protocol.md §2.5,
//! §2.7).

use crate::base::{Key, Time};
use crate::codec::{Incoming, Message};
use crate::mux::listen::is_sub_resource;
use crate::mux::method::ListKind;
use crate::mux::peer::Peer;
use crate::mux::server::Era;
use crate::mux::{Mux, Sink, Timer, reply};
use serde_json::json;

impl Mux {
    pub(super) fn open_peers(&self, instance: Key) -> impl Iterator<Item = (Key, &Peer)> {
        self.peers.iter().filter(move |(key, peer)| peer.is_open_legacy() && self.serves(instance, *key))
    }

    /// To every client that is ready for unsolicited messages.
    pub(super) fn fan_out(&self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        for (_, peer) in self.open_peers(instance) {
            out.send(peer.link, &Message::new(msg.bytes));
        }
    }

    /// A resource changed: exact subscribers, else subscribers of a parent, else all subscribers (P17), but
    /// those only if no listen wants it (`is_heard`): then it is known whom it concerns. `text` is what they
    /// are told of `uri`.
    pub(super) fn fan_out_update(
        &self,
        instance_key: Key,
        uri: &str,
        is_heard: bool,
        text: &[u8],
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get(instance_key) else { return };
        let mut holders: Vec<Key> = Vec::new();
        if let Some(exact) = instance.subscriptions.get(uri) {
            holders.extend(exact.clients());
        }
        if holders.is_empty() {
            let parents = instance.subscriptions.iter().filter(|(parent, _)| is_sub_resource(parent, uri));
            holders.extend(parents.flat_map(|(_, subscription)| subscription.clients()));
        }
        if holders.is_empty() && !is_heard {
            holders.extend(instance.subscriptions.values().flat_map(|subscription| subscription.clients()));
        }
        holders.sort_unstable();
        holders.dedup();
        for peer in holders.into_iter().filter_map(|key| self.peers.get(key)) {
            out.send(peer.link, &Message::new(text));
        }
    }

    /// After a restart: subscribed resources may have changed unseen.
    pub(super) fn announce_updates(&self, instance: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(instance) else { return };
        for (uri, subscription) in &instance.subscriptions {
            let text = reply::notification("notifications/resources/updated", Some(json!({ "uri": uri })));
            for peer in subscription.clients().filter_map(|key| self.peers.get(key)) {
                out.send(peer.link, &Message::new(&text));
            }
        }
    }

    /// A modern child listens again after it had ended the last listen: whoever wants to know of changes is told
    /// to look, as nobody knows what was missed.
    pub(super) fn announce_lapse(&mut self, now: Time, instance_key: Key, out: &mut dyn Sink) {
        let hello = self.instances.get(instance_key).and_then(|instance| instance.hello.clone());
        let Some(hello) = hello else { return };
        for kind in ListKind::ALL.into_iter().filter(|kind| hello.announces(*kind)) {
            self.outdate_lists(instance_key, kind);
            self.announce_change(now, instance_key, kind, out);
        }
        self.announce_updates(instance_key, out);
        self.announce_updates_to_listens(instance_key, out);
    }

    /// A list changed (P19). The first of a burst passes at once, the rest of it as one.
    pub(super) fn on_list_changed(&mut self, now: Time, key: Key, kind: ListKind, out: &mut dyn Sink) {
        if self.begins_burst(now, key, kind) {
            self.announce_list(now, key, kind, out);
        }
    }

    /// Whether a change of a list is the first for a while, to be told at once. Otherwise it is told by a timer.
    pub(super) fn begins_burst(&mut self, now: Time, key: Key, kind: ListKind) -> bool {
        // A process of one request has another list with each start, and tells nobody about it.
        let instance = self.instances.get_mut(key).filter(|instance| instance.only.is_none());
        let Some(instance) = instance else { return false };
        let changed = instance.changed.get_or_insert(kind, Default::default());
        match changed.last {
            _ if changed.scheduled => false,
            Some(last) if now.since(last) < COALESCE_MS => {
                changed.scheduled = true;
                self.timers.schedule(last + COALESCE_MS, Timer::Changed(key, kind));
                false
            }
            _ => {
                changed.last = Some(now);
                true
            }
        }
    }

    pub(super) fn on_changed_timeout(&mut self, now: Time, key: Key, kind: ListKind, out: &mut dyn Sink) {
        self.announce_list(now, key, kind, out);
    }

    fn announce_list(&mut self, now: Time, key: Key, kind: ListKind, out: &mut dyn Sink) {
        if let Some(instance) = self.instances.get_mut(key) {
            let changed = instance.changed.get_or_insert(kind, Default::default());
            changed.scheduled = false;
            changed.last = Some(now);
        }
        let text = reply::notification(&format!("notifications/{}/list_changed", kind.name()), None);
        for (_, peer) in self.open_peers(key) {
            out.send(peer.link, &Message::new(&text));
        }
        // Those at a modern child were told as it said it.
        if self.instances.get(key).is_some_and(|instance| instance.era == Some(Era::Legacy)) {
            self.announce_list_to_listens(key, kind, out);
        }
    }
}

/// Bursts of `list_changed` closer than this become one.
const COALESCE_MS: u64 = 100;
