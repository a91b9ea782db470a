//! State of a child that its legacy clients share by counting: log level and resource subscriptions
//! (protocol.md §2.7, P16–P18).

use crate::base::limits::{REPLAYS_AT_ONCE, REQUESTS_IN_ALL, SUBSCRIPTIONS_PER_CLIENT};
use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind, Message, Value, json};
use crate::mux::method::{Level, Method};
use crate::mux::queue::Asked;
use crate::mux::request::{Origin, Own};
use crate::mux::server::{Era, Hello, Subscriber};
use crate::mux::{Mux, Sink, reply};
use serde_json::json;

impl Mux {
    /// `logging/setLevel` of one client.
    pub(super) fn on_set_level(
        &mut self,
        now: Time,
        asked: Asked<'_, '_>,
        hello: &Hello,
        out: &mut dyn Sink,
    ) {
        let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
        let level = asked.msg.envelope.level.and_then(|span| Level::parse(asked.msg.text(span)));
        let text = match level {
            _ if !hello.logging => reply::error(id, reply::METHOD_NOT_FOUND, "this server has no logging"),
            None => reply::error(
                id,
                reply::INVALID_PARAMS,
                "`level` must be one of debug, info, notice, warning, error, critical, alert, emergency",
            ),
            Some(level) => {
                if let Some(peer) = self.peers.get_mut(asked.peer) {
                    peer.level = Some(level);
                }
                self.sync_level(now, asked.instance, out);
                reply::result(id, b"{}")
            }
        };
        out.send(asked.link, &Message::new(&text));
    }

    /// Sets the child's level to the most verbose one that a client wants. One that never asked is due
    /// the default, whatever less another asks for; while nobody ever asked, the child chooses.
    pub(super) fn sync_level(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let mut wanted = instance.floor.level();
        let mut asked = instance.level.is_some() || wanted.is_some();
        for (_, peer) in self.peers.iter().filter(|(peer, _)| self.serves(key, *peer)) {
            asked |= peer.level.is_some();
            let due = peer.level.or(peer.is_open_legacy().then_some(Level::DEFAULT));
            wanted = wanted.into_iter().chain(due).min();
        }
        let has_logging =
            instance.hello.as_ref().is_some_and(|hello| hello.logging && hello.era == Era::Legacy);
        // Once a verbose client has left, the child is quiet again, even with nobody there.
        let wanted = wanted.unwrap_or(Level::DEFAULT);
        let (Some(link), true) = (instance.open_link(), has_logging && asked) else { return };
        // More is told at once: a request may follow that wants it. Less waits for the last answer.
        let is_raise = instance.level.is_none_or(|level| wanted < level);
        if instance.level == Some(wanted) || (instance.setting_level && !is_raise) {
            return;
        }
        let timeout = self.servers[instance.server].policy.request_timeout_ms;
        let request = self.file_own(now, key, Own::SetLevel, Method::SetLevel, Some(timeout));
        if let Some(instance) = self.instances.get_mut(key) {
            instance.level = Some(wanted);
            instance.setting_level = true;
        }
        out.send(
            link,
            &Message::new(&reply::request(
                request.as_u64(),
                "logging/setLevel",
                json!({ "level": wanted.name() }),
            )),
        );
    }

    pub(super) fn on_set_level_answer(
        &mut self,
        now: Time,
        key: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        self.on_set_level_lost(key);
        if msg.envelope.kind == Kind::Error {
            log::warn!(target: &self.target_of(key), "logging/setLevel failed: {}", reply::quote(msg.bytes));
        }
        self.sync_level(now, key, out);
    }

    /// The child never answered: the next change is told again.
    pub(super) fn on_set_level_lost(&mut self, key: Key) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.setting_level = false;
        }
    }

    /// `resources/subscribe`: the first of a URI is forwarded, the others join it.
    pub(super) fn on_subscribe(
        &mut self,
        now: Time,
        asked: Asked<'_, '_>,
        hello: &Hello,
        out: &mut dyn Sink,
    ) {
        let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
        let uri = asked.msg.envelope.uri.and_then(|span| json::unescape(asked.msg.text(span)));
        let held = self.peers.get(asked.peer).map_or(0, |peer| peer.subscriptions.len());
        let refusal = if !hello.subscribe {
            reply::error(id, reply::METHOD_NOT_FOUND, "this server has no resource subscriptions")
        } else if uri.is_none() {
            reply::error(id, reply::INVALID_PARAMS, "`uri` must be a string")
        } else if held >= SUBSCRIPTIONS_PER_CLIENT {
            let why = format!("more than {SUBSCRIPTIONS_PER_CLIENT} subscriptions of one client");
            reply::Failure::new("overload", why).answer(id)
        } else if let Some(failure) = self.cannot_wait(now, asked) {
            failure.answer(id)
        } else {
            return self.join_subscription(now, asked, &uri.unwrap_or_default(), out);
        };
        out.send(asked.link, &Message::new(&refusal));
    }

    fn join_subscription(&mut self, now: Time, asked: Asked<'_, '_>, uri: &str, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(asked.instance) else { return };
        let subscription = instance.subscriptions.entry(uri.to_string()).or_default();
        if !subscription.pending && !subscription.holders.is_empty() {
            subscription.holders.insert(Subscriber::Client(asked.peer));
            if let Some(peer) = self.peers.get_mut(asked.peer) {
                peer.subscriptions.insert(uri.to_string());
            }
            let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
            return out.send(asked.link, &Message::new(&reply::result(id, b"{}")));
        }
        let first = !std::mem::replace(&mut subscription.pending, true);
        let key = self.file(now, asked);
        if let Some(subscription) =
            self.instances.get_mut(asked.instance).and_then(|i| i.subscriptions.get_mut(uri))
        {
            subscription.joined.push(key);
        }
        self.pause_if_full(asked.peer, out);
        match self.instances.get(asked.instance).and_then(|instance| instance.era) {
            Some(Era::Modern) => self.sync_listen(now, asked.instance, out),
            _ if first => self.send_subscribe(now, asked.instance, uri, out),
            _ => {}
        }
    }

    fn send_subscribe(&mut self, now: Time, key: Key, uri: &str, out: &mut dyn Sink) {
        let Some((link, timeout)) = self
            .instances
            .get(key)
            .and_then(|i| Some((i.open_link()?, self.servers[i.server].policy.request_timeout_ms)))
        else {
            return;
        };
        let request =
            self.file_own(now, key, Own::Subscribe(uri.to_string()), Method::Subscribe, Some(timeout));
        out.send(
            link,
            &Message::new(&reply::request(request.as_u64(), "resources/subscribe", json!({ "uri": uri }))),
        );
    }

    /// The child's word on a subscription is the word to everyone who joined it.
    pub(super) fn on_subscribe_answer(
        &mut self,
        now: Time,
        key: Key,
        uri: &str,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let accepted = msg.envelope.kind == Kind::Response;
        let Some(subscription) = self.instances.get_mut(key).and_then(|i| i.subscriptions.get_mut(uri))
        else {
            return;
        };
        subscription.pending = false;
        let joined = std::mem::take(&mut subscription.joined);
        let listens = std::mem::take(&mut subscription.listens);
        if accepted {
            subscription.holders.extend(listens.iter().copied().map(Subscriber::Listen));
        }
        if !accepted {
            self.lose_holders(key, uri, msg.bytes);
        }
        let mut settled = Vec::new();
        for request in joined {
            let Some(request) = self.take(request) else { continue };
            let Origin::Peer { peer: peer_key, link, id, .. } = request.origin else { continue };
            if accepted {
                if let Some(subscription) =
                    self.instances.get_mut(key).and_then(|i| i.subscriptions.get_mut(uri))
                {
                    subscription.holders.insert(Subscriber::Client(peer_key));
                }
                if let Some(peer) = self.peers.get_mut(peer_key) {
                    peer.subscriptions.insert(uri.to_string());
                }
            }
            let mut message = Message::new(msg.bytes);
            if let Some(span) = msg.envelope.id {
                message.replace(span, Value::Raw(&id));
            }
            out.send(link, &message);
            settled.push(peer_key);
        }
        self.on_listened_resource(key, uri, listens, out);
        self.drop_empty_subscription(now, key, uri, accepted, out);
        for peer in settled {
            self.settle(now, peer, out);
        }
        self.replay_more(now, key, out);
    }

    /// A restarted child refuses what was held: nobody holds it any more, so that whoever asks next is
    /// not told otherwise.
    pub(super) fn lose_holders(&mut self, key: Key, uri: &str, why: &[u8]) {
        let Some(subscription) = self.instances.get_mut(key).and_then(|i| i.subscriptions.get_mut(uri))
        else {
            return;
        };
        let holders = std::mem::take(&mut subscription.holders);
        for holder in &holders {
            match holder {
                Subscriber::Client(peer) => {
                    self.peers.get_mut(*peer).map(|peer| peer.subscriptions.remove(uri));
                }
                Subscriber::Listen(listen) => {
                    let honoured = self.listen_mut(*listen).and_then(|listen| listen.honoured.as_mut());
                    honoured.map(|filter| filter.uris.remove(uri));
                }
            }
        }
        if !holders.is_empty() {
            let text = reply::quote(why);
            log::warn!(target: &self.target_of(key), "a subscription is lost by the restart, {uri}: {text}");
        }
    }

    /// The child never answered; those who joined run into their own deadlines.
    pub(super) fn on_subscribe_lost(&mut self, now: Time, key: Key, uri: &str, out: &mut dyn Sink) {
        if let Some(subscription) = self.instances.get_mut(key).and_then(|i| i.subscriptions.get_mut(uri)) {
            subscription.pending = false;
            subscription.joined.clear();
            let listens = std::mem::take(&mut subscription.listens);
            self.on_listened_resource(key, uri, listens, out);
        }
        self.drop_empty_subscription(now, key, uri, false, out);
        self.replay_more(now, key, out);
    }

    /// A subscription that nobody holds is forgotten, and taken back at the child if it is known there.
    pub(super) fn drop_empty_subscription(
        &mut self,
        now: Time,
        key: Key,
        uri: &str,
        at_child: bool,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let empty = instance.subscriptions.get(uri).is_some_and(|s| s.holders.is_empty() && !s.pending);
        if !empty {
            return;
        }
        instance.subscriptions.remove(uri);
        let timeout = self.servers[instance.server].policy.request_timeout_ms;
        // At a modern child the merged listen follows, see `sync_listen`.
        let at_child = at_child && instance.era == Some(Era::Legacy);
        if let (true, Some(link)) = (at_child, instance.open_link()) {
            let request = self.file_own(now, key, Own::Unsubscribe, Method::Unsubscribe, Some(timeout));
            if self.requests.len() > REQUESTS_IN_ALL {
                // Its answer matters to nobody; its place may.
                self.take(request);
            }
            let text = reply::request(request.as_u64(), "resources/unsubscribe", json!({ "uri": uri }));
            out.send(link, &Message::new(&text));
        }
    }

    /// `resources/unsubscribe`: answered here; the last holder's leaving is forwarded.
    pub(super) fn on_unsubscribe(
        &mut self,
        now: Time,
        asked: Asked<'_, '_>,
        hello: &Hello,
        out: &mut dyn Sink,
    ) {
        let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
        let uri = asked.msg.envelope.uri.and_then(|span| json::unescape(asked.msg.text(span)));
        let text = match uri {
            _ if !hello.subscribe => {
                reply::error(id, reply::METHOD_NOT_FOUND, "this server has no resource subscriptions")
            }
            None => reply::error(id, reply::INVALID_PARAMS, "`uri` must be a string"),
            Some(uri) => {
                self.leave_subscription(now, asked.peer, asked.instance, &uri, out);
                self.sync_listen(now, asked.instance, out);
                reply::result(id, b"{}")
            }
        };
        out.send(asked.link, &Message::new(&text));
    }

    fn leave_subscription(&mut self, now: Time, peer_key: Key, key: Key, uri: &str, out: &mut dyn Sink) {
        if let Some(peer) = self.peers.get_mut(peer_key) {
            peer.subscriptions.remove(uri);
        }
        if let Some(subscription) = self.instances.get_mut(key).and_then(|i| i.subscriptions.get_mut(uri))
            && subscription.holders.remove(&Subscriber::Client(peer_key))
        {
            self.drop_empty_subscription(now, key, uri, true, out);
        }
    }

    /// A client is leaving.
    pub(super) fn release_subscriptions(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        let Some(instance) = peer.instance else { return };
        for uri in std::mem::take(&mut peer.subscriptions) {
            self.leave_subscription(now, peer_key, instance, &uri, out);
        }
    }

    /// After a restart the child is subscribed to all that is held (P22).
    pub(super) fn replay_subscriptions(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        for (uri, subscription) in instance.subscriptions.iter_mut().filter(|(_, held)| !held.pending) {
            subscription.pending = true;
            if instance.era == Some(Era::Legacy) {
                instance.replays.push_back(uri.clone());
            }
        }
        self.fill_replays(now, key, out);
    }

    /// Sends as many of those that wait for it as may be at the child at once.
    pub(super) fn fill_replays(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let pending = instance.subscriptions.values().filter(|subscription| subscription.pending).count();
        let sent = pending.saturating_sub(instance.replays.len());
        for _ in sent..REPLAYS_AT_ONCE {
            self.replay_more(now, key, out);
        }
    }

    /// The next of the subscriptions that a restarted child does not know yet.
    fn replay_more(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        if let Some(uri) = self.instances.get_mut(key).and_then(|instance| instance.replays.pop_front()) {
            self.send_subscribe(now, key, &uri, out);
        }
    }
}
