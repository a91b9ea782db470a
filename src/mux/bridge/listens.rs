//! Changes across the eras (protocol.md §2.7, §4.2, §4.3).
//!
//! ```text
//! legacy child                                  modern child
//!   resources/subscribe ◀─ listens + clients      merged listen ◀─ listens + clients
//!   list_changed, updated ─▶ listens, tagged      list_changed, updated ─▶ clients, without the tag
//! ```
//!
//! What is of one era is in `listen` (the merged listen) and `subscribe` (counting at a legacy child).

use super::edit::{Member, object};
use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind, Message, Value, json};
use crate::mux::listen::{Filter, Listen, ListenKey, tagged};
use crate::mux::method::{ListKind, Method};
use crate::mux::peer::Peer;
use crate::mux::request::Origin;
use crate::mux::server::{Era, Subscriber};
use crate::mux::{Mux, Sink, reply};
use serde_json::json;

const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

impl Mux {
    pub(in crate::mux) fn listen_mut(&mut self, key: ListenKey) -> Option<&mut Listen> {
        self.peers.get_mut(key.peer)?.listens.iter_mut().find(|listen| listen.serial == key.serial)
    }

    /// Whether a client has an open listen on this child.
    pub(in crate::mux) fn is_listened_to(&self, instance: Key) -> bool {
        self.listeners(instance).any(|peer| !peer.listens.is_empty())
    }

    /// Whether a client has a listen on this child that is not acknowledged yet.
    pub(in crate::mux) fn is_waited_for(&self, instance: Key) -> bool {
        self.listeners(instance).any(|peer| peer.listens.iter().any(|listen| listen.honoured.is_none()))
    }

    /// Clients of this child, but for those that only watch it while it is there.
    fn listeners(&self, instance: Key) -> impl Iterator<Item = &Peer> {
        let clients = self.peers.iter().map(|(_, peer)| peer);
        clients.filter(move |peer| peer.instance == Some(instance) && !peer.watches)
    }

    fn listens_of(&self, instance: Key) -> impl Iterator<Item = (ListenKey, &Listen)> {
        let peers = self.peers.iter().filter(move |(_, peer)| peer.instance == Some(instance));
        peers.flat_map(|(peer, state)| {
            state.listens.iter().map(move |listen| (ListenKey { peer, serial: listen.serial }, listen))
        })
    }

    // --- modern clients of a legacy child ---

    /// A child is ready that may be of another era than the last one: whoever holds what, as its era counts it.
    pub(in crate::mux) fn hold_anew(&mut self, key: Key) {
        let honoured: Vec<(String, ListenKey)> = self
            .listens_of(key)
            .flat_map(|(listen, state)| {
                state.honoured.iter().flat_map(|filter| &filter.uris).map(move |uri| (uri.clone(), listen))
            })
            .collect();
        let Some(instance) = self.instances.get_mut(key) else { return };
        if instance.era == Some(Era::Legacy) {
            for (uri, listen) in honoured {
                instance.subscriptions.entry(uri).or_default().holders.insert(Subscriber::Listen(listen));
            }
        } else {
            for subscription in instance.subscriptions.values_mut() {
                subscription.holders.retain(|holder| matches!(holder, Subscriber::Client(_)));
            }
            instance.subscriptions.retain(|_, subscription| !subscription.holders.is_empty());
        }
    }

    /// Begins with all listens that wait for a legacy child.
    pub(in crate::mux) fn serve_listens(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let waiting = self.listens_of(key).filter(|(_, listen)| listen.honoured.is_none());
        for listen in waiting.map(|(listen, _)| listen).collect::<Vec<_>>() {
            self.serve_listen(now, key, listen, out);
        }
    }

    /// Subscribes to what a listen wants of a legacy child that is ready; acknowledged when all is answered.
    pub(in crate::mux) fn serve_listen(
        &mut self,
        now: Time,
        key: Key,
        listen: ListenKey,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        if instance.era != Some(Era::Legacy) || !instance.is_ready() {
            return;
        }
        let can_subscribe = instance.hello.as_ref().is_some_and(|hello| hello.subscribe);
        let peer = self.peers.get_mut(listen.peer);
        let state = peer.and_then(|peer| peer.listens.iter_mut().find(|own| own.serial == listen.serial));
        let Some(state) = state else { return };
        state.waits.clear();
        for uri in state.wants.uris.iter().filter(|_| can_subscribe) {
            let subscription = instance.subscriptions.entry(uri.clone()).or_default();
            if !subscription.pending && !subscription.holders.is_empty() {
                subscription.holders.insert(Subscriber::Listen(listen));
                continue;
            }
            subscription.listens.push(listen);
            state.waits.insert(uri.clone());
            if !std::mem::replace(&mut subscription.pending, true) {
                instance.replays.push_back(uri.clone());
            }
        }
        self.fill_replays(now, key, out);
        self.acknowledge_if_answered(key, listen, out);
    }

    /// The child's word on a resource, or its silence, is the word to the listens that wait for it.
    pub(in crate::mux) fn on_listened_resource(
        &mut self,
        key: Key,
        uri: &str,
        listens: Vec<ListenKey>,
        out: &mut dyn Sink,
    ) {
        for listen in listens {
            if let Some(state) = self.listen_mut(listen) {
                state.waits.remove(uri);
            }
            self.acknowledge_if_answered(key, listen, out);
        }
    }

    fn acknowledge_if_answered(&mut self, key: Key, listen: ListenKey, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let Some(hello) = &instance.hello else { return };
        let peer = self.peers.get_mut(listen.peer);
        let state = peer.and_then(|peer| peer.listens.iter_mut().find(|own| own.serial == listen.serial));
        let Some(state) = state.filter(|state| state.waits.is_empty() && state.honoured.is_none()) else {
            return;
        };
        let is_held = |uri: &&String| {
            let subscription = instance.subscriptions.get(*uri);
            subscription.is_some_and(|held| held.holders.contains(&Subscriber::Listen(listen)))
        };
        let mut honoured = Filter {
            lists: state.wants.lists.iter().copied().filter(|kind| hello.announces(*kind)).collect(),
            ..Filter::default()
        };
        honoured.uris.extend(state.wants.uris.iter().filter(is_held).cloned());
        state.acknowledge(honoured, out);
    }

    /// A listen is over: the resources that nobody else wants are taken back at the child.
    pub(in crate::mux) fn release_listen(
        &mut self,
        now: Time,
        key: Key,
        peer: Key,
        listen: &Listen,
        out: &mut dyn Sink,
    ) {
        let own = ListenKey { peer, serial: listen.serial };
        for uri in &listen.wants.uris {
            let Some(instance) = self.instances.get_mut(key) else { return };
            let Some(subscription) = instance.subscriptions.get_mut(uri) else { continue };
            subscription.listens.retain(|other| *other != own);
            if subscription.holders.remove(&Subscriber::Listen(own)) {
                self.drop_empty_subscription(now, key, uri, true, out);
            }
        }
    }

    /// Takes all listens from a client that leaves or is to leave.
    pub(in crate::mux) fn release_listens(
        &mut self,
        now: Time,
        peer_key: Key,
        out: &mut dyn Sink,
    ) -> Vec<Listen> {
        let Some(peer) = self.peers.get_mut(peer_key) else { return Vec::new() };
        let (instance, listens) = (peer.instance, std::mem::take(&mut peer.listens));
        for listen in &listens {
            if let Some(instance) = instance {
                self.release_listen(now, instance, peer_key, listen, out);
            }
        }
        listens
    }

    /// A list changed, for the listens that want to know.
    pub(in crate::mux) fn announce_list_to_listens(&self, key: Key, kind: ListKind, out: &mut dyn Sink) {
        let method = format!("notifications/{}/list_changed", kind.name());
        for (_, listen) in self.listens_of(key) {
            if listen.honoured.as_ref().is_some_and(|filter| filter.lists.contains(&kind)) {
                out.send(listen.link, &Message::new(&tagged(&method, &listen.id, "")));
            }
        }
    }

    /// A resource of a legacy child changed, for listens and clients.
    pub(in crate::mux) fn route_update(&self, key: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(at) = msg.envelope.uri else { return };
        let Some(uri) = json::unescape(msg.text(at)) else { return };
        let mut is_heard = false;
        for (_, listen) in self.listens_of(key) {
            if listen.honoured.as_ref().is_some_and(|filter| filter.has_uri(&uri)) {
                is_heard = true;
                out.send(listen.link, &Message::new(&with_tag(msg, &listen.id)));
            }
        }
        self.fan_out_update(key, &uri, is_heard, msg.bytes, out);
    }

    // --- legacy clients of a modern child ---

    /// What the legacy clients of a modern child want of its merged listen: every list that it announces, and
    /// the resources they are subscribed to or ask for.
    pub(in crate::mux) fn wants_of_clients(&self, key: Key) -> Filter {
        let mut wants = Filter::default();
        let Some(instance) = self.instances.get(key) else { return wants };
        if let (Some(hello), true) = (&instance.hello, self.open_peers(key).next().is_some()) {
            wants.lists.extend(ListKind::ALL.into_iter().filter(|kind| hello.announces(*kind)));
        }
        for (uri, subscription) in &instance.subscriptions {
            let is_asked_for = subscription.joined.iter().any(|request| self.requests.contains(*request));
            if is_asked_for || !subscription.holders.is_empty() {
                wants.uris.insert(uri.clone());
            }
        }
        wants
    }

    /// A modern child acknowledged a listen for `asked`: what it honours of the resources is the answer to
    /// whoever subscribed to them, and those who were subscribed before.
    pub(in crate::mux) fn settle_subscriptions(
        &mut self,
        now: Time,
        key: Key,
        asked: &Filter,
        honoured: &Filter,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let mut requests = Vec::new();
        let mut refused = Vec::new();
        for (uri, subscription) in &mut instance.subscriptions {
            if !asked.uris.contains(uri) {
                continue;
            }
            let is_honoured = honoured.uris.contains(uri);
            subscription.pending = false;
            requests.extend(subscription.joined.drain(..).map(|request| (request, uri.clone(), is_honoured)));
            if !is_honoured {
                refused.push(uri.clone());
            }
        }
        for uri in refused {
            self.lose_holders(key, &uri, b"its listen does not honour it");
        }
        let mut settled = Vec::new();
        for (request, uri, is_honoured) in requests {
            settled.extend(self.answer_subscribe(key, request, &uri, is_honoured, out));
        }
        if let Some(instance) = self.instances.get_mut(key) {
            let requests = &self.requests;
            instance.subscriptions.retain(|_, subscription| {
                !subscription.holders.is_empty()
                    || subscription.joined.iter().any(|key| requests.contains(*key))
            });
        }
        for peer in settled {
            self.settle(now, peer, out);
        }
    }

    /// Answers a `resources/subscribe` that waited for the merged listen. Its client.
    fn answer_subscribe(
        &mut self,
        key: Key,
        request: Key,
        uri: &str,
        is_honoured: bool,
        out: &mut dyn Sink,
    ) -> Option<Key> {
        let Origin::Peer { peer, link, id, .. } = self.take(request)?.origin else { return None };
        let text = if is_honoured {
            let subscription = self.instances.get_mut(key)?.subscriptions.get_mut(uri)?;
            subscription.holders.insert(Subscriber::Client(peer));
            self.peers.get_mut(peer)?.subscriptions.insert(uri.to_string());
            reply::result(&id, b"{}")
        } else {
            let why = format!("the server does not tell of updates of {}", json!(uri));
            reply::error(&id, reply::INVALID_PARAMS, &why)
        };
        out.send(link, &Message::new(&text));
        Some(peer)
    }

    /// A notification on the merged listen, for legacy clients, who know nothing of its tag. A burst of list
    /// changes is two of them.
    pub(in crate::mux) fn route_to_clients(
        &mut self,
        now: Time,
        key: Key,
        method: Method,
        is_heard: bool,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        match method {
            Method::ListChanged(kind) => {
                if self.open_peers(key).next().is_none() || !self.begins_burst(now, key, kind) {
                    return;
                }
                let text = without_tag(msg);
                for (_, peer) in self.open_peers(key) {
                    out.send(peer.link, &Message::new(&text));
                }
            }
            Method::ResourceUpdated => {
                let uri = msg.envelope.uri.and_then(|span| json::unescape(msg.text(span)));
                let Some(uri) = uri else { return };
                if self.instances.get(key).is_some_and(|instance| !instance.subscriptions.is_empty()) {
                    self.fan_out_update(key, &uri, is_heard, &without_tag(msg), out);
                }
            }
            _ => {}
        }
    }
}

/// A legacy child's notification under a listen's id.
fn with_tag(msg: &Incoming<'_>, id: &[u8]) -> Vec<u8> {
    let Some(params) = msg.envelope.params else { return msg.bytes.to_vec() };
    let each = |name: &str, _| if name == SUBSCRIPTION_ID { Member::Drop } else { Member::Keep };
    let tag: [(&str, &[u8]); 1] = [(SUBSCRIPTION_ID, id)];
    let meta = match msg.envelope.meta {
        Some(meta) => object(msg.bytes, meta, each, &tag),
        None => object(b"{}", super::edit::whole(b"{}"), each, &tag),
    };
    let each = |name: &str, _| if name == "_meta" { Member::Drop } else { Member::Keep };
    let params_text = object(msg.bytes, params, each, &[("_meta", &meta)]);
    let mut message = Message::new(msg.bytes);
    message.replace(params, Value::Raw(&params_text));
    message.to_vec()
}

/// A modern child's notification without its listen's id.
fn without_tag(msg: &Incoming<'_>) -> Vec<u8> {
    debug_assert_eq!(msg.envelope.kind, Kind::Notification);
    let Some(params) = msg.envelope.params else { return msg.bytes.to_vec() };
    let untagged = |name: &str, _| if name == SUBSCRIPTION_ID { Member::Drop } else { Member::Keep };
    let each = |name: &str, value| match name {
        "_meta" => {
            let meta = object(msg.bytes, value, untagged, &[]);
            if meta == b"{}" { Member::Drop } else { Member::Put(meta) }
        }
        _ => Member::Keep,
    };
    let params_text = object(msg.bytes, params, each, &[]);
    let mut message = Message::new(msg.bytes);
    message.replace(params, Value::Raw(&params_text));
    message.to_vec()
}
