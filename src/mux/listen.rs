//! `subscriptions/listen` (protocol.md §1.2.7, §2.7): each client's listens end here and are served
//! from one merged listen at the child, whose filter is the union of theirs and of what legacy clients want.
//! What a legacy child has instead is `bridge::listens`.
//!
//! A filter cannot be edited in place: when the union changes, a new listen is opened and the old one
//! is cancelled once the new one is acknowledged, so that no notification falls between the two. What changes
//! meanwhile waits for that, so that a hundred changes at once make two listens.

mod filter;

use crate::base::limits::{LISTENS_PER_CLIENT, SUBSCRIPTIONS_PER_CLIENT};
use crate::base::{Key, ShortBytes, Time};
use crate::codec::{Incoming, Message, Span, Value, json};
use crate::mux::method::Method;
use crate::mux::peer::MODERN_VERSION;
use crate::mux::queue::Asked;
use crate::mux::request::Own;
use crate::mux::server::Era;
use crate::mux::{Mux, Sink, Timer, reply};
pub(super) use filter::{Filter, is_sub_resource};
use serde_json::json;
use std::collections::BTreeSet;

/// One client's open listen.
#[derive(Debug)]
pub(super) struct Listen {
    /// Tells it from all others, whatever ids clients choose.
    pub serial: u64,
    /// The id of its request, as written: the tag of everything sent on it.
    pub id: ShortBytes,
    pub link: Key,
    pub wants: Filter,
    /// URIs that a legacy child has not answered for yet.
    pub waits: BTreeSet<String>,
    /// What was acknowledged; `None` until then.
    pub honoured: Option<Filter>,
}

/// Names one listen of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListenKey {
    pub peer: Key,
    pub serial: u64,
}

/// The merged listen of an instance.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    pub current: Option<Open>,
    /// Asked for, not yet acknowledged.
    pub opening: Option<(Key, Filter)>,
    /// The child ended the last one: until the next is acknowledged nobody hears of changes.
    lapsed: bool,
    /// How many it ended soon, one after another.
    short: u8,
}

/// An acknowledged upstream listen.
#[derive(Debug)]
pub(super) struct Open {
    pub request: Key,
    pub asked: Filter,
    pub honoured: Filter,
    since: Time,
}

impl Mux {
    /// A modern client's `subscriptions/listen`.
    pub(super) fn on_listen(
        &mut self,
        now: Time,
        peer_key: Key,
        link: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(id) = msg.envelope.id.map(|span| msg.text(span)) else { return };
        let filter = match msg.envelope.notifications {
            Some(span) => Filter::parse(msg.text(span)),
            None => Err("`notifications` is missing".into()),
        };
        let mut wants = match filter {
            Ok(wants) => wants,
            Err(why) => {
                let text = reply::error(id, reply::INVALID_PARAMS, &format!("subscriptions/listen: {why}"));
                return out.send(link, &Message::new(&text));
            }
        };
        if !wants.tasks.is_empty() && !declares_tasks(msg) {
            let what = "`taskIds` needs the tasks extension in the request's capabilities";
            let data = json!({ "requiredCapabilities": tasks_extension() });
            let text = reply::error_with_data(id, reply::MISSING_CAPABILITY, what, data);
            return out.send(link, &Message::new(&text));
        }
        if self.is_per_request(peer_key) {
            return self.listen_to_nothing(peer_key, link, id, msg, out);
        }
        let Some(instance) = self.instance_for(now, peer_key) else { return };
        if let Some(instance) = self.instances.get(instance) {
            wants.tasks.retain(|id| instance.owners.owns(peer_key, id));
        }
        #[cfg(feature = "gateway")]
        if let Some(filters) = self.filters_of(peer_key) {
            wants.uris.retain(|uri| filters.resources.passes(uri));
        }
        let method = Method::Listen;
        let asked = Asked { peer: peer_key, link, instance, method, era: Era::Modern, since: now, msg };
        let watches = self.peers.get(peer_key).is_some_and(|peer| peer.watches);
        let failure = match watches {
            true => None,
            false => self.need(now, instance, out).or_else(|| self.cannot_wait(now, asked)),
        };
        if let Some(failure) = failure {
            return self.answer_failure(link, msg, &failure, out);
        }
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        let uris: usize = peer.listens.iter().map(|listen| listen.wants.uris.len()).sum();
        let failure = if peer.listens.len() >= LISTENS_PER_CLIENT {
            too_many_listens()
        } else if uris + wants.uris.len() > SUBSCRIPTIONS_PER_CLIENT {
            let why = format!("more than {SUBSCRIPTIONS_PER_CLIENT} subscriptions of one client");
            reply::Failure::new("overload", why)
        } else {
            self.listens_ever += 1;
            let serial = self.listens_ever;
            let (id, waits) = (ShortBytes::new(id), BTreeSet::new());
            peer.listens.push(Listen { serial, id, link, wants, waits, honoured: None });
            self.serve_listen(now, instance, ListenKey { peer: peer_key, serial }, out);
            return self.sync_listen(now, instance, out);
        };
        self.answer_failure(link, msg, &failure, out);
    }

    /// A listen where no process lives longer than a request: nothing of it is honoured.
    fn listen_to_nothing(
        &mut self,
        peer_key: Key,
        link: Key,
        id: &[u8],
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        if peer.listens.len() >= LISTENS_PER_CLIENT {
            return self.answer_failure(link, msg, &too_many_listens(), out);
        }
        let (id, nothing) = (ShortBytes::new(id), Filter::default());
        let member = format!(",\"notifications\":{}", nothing.to_json());
        let text = tagged("notifications/subscriptions/acknowledged", &id, &member);
        self.listens_ever += 1;
        let (serial, waits) = (self.listens_ever, BTreeSet::new());
        peer.listens.push(Listen {
            serial,
            id,
            link,
            wants: nothing.clone(),
            waits,
            honoured: Some(nothing),
        });
        out.send(link, &Message::new(&text));
    }

    /// Ends clients' listens with an error: nothing will come on them.
    pub(super) fn refuse_listens(
        &mut self,
        now: Time,
        instance_key: Key,
        why: &reply::Failure,
        which: impl Fn(&Listen) -> bool,
        out: &mut dyn Sink,
    ) {
        let mut concerned = Vec::new();
        for (key, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.instance == Some(instance_key)) {
            for listen in peer.listens.extract_if(.., |listen| which(listen)) {
                self.counters.failures += 1;
                out.send(listen.link, &Message::new(&why.answer(&listen.id)));
                concerned.push((key, listen));
            }
        }
        for (peer, listen) in concerned {
            self.release_listen(now, instance_key, peer, &listen, out);
            self.settle(now, peer, out);
        }
    }

    /// The client took a listen back. True if `id` named one.
    pub(super) fn cancel_listen(&mut self, now: Time, peer_key: Key, id: &[u8], out: &mut dyn Sink) -> bool {
        let Some(peer) = self.peers.get_mut(peer_key) else { return false };
        let Some(at) = peer.listens.iter().position(|listen| *listen.id == *id) else { return false };
        let listen = peer.listens.remove(at);
        if let Some(instance) = peer.instance {
            self.release_listen(now, instance, peer_key, &listen, out);
            self.sync_listen(now, instance, out);
        }
        self.close_if_finished(now, peer_key, out);
        true
    }

    /// Brings the child's listen in line with what its clients want, and acknowledges those it covers.
    pub(super) fn sync_listen(&mut self, now: Time, instance_key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(instance_key) else { return };
        if instance.era != Some(Era::Modern) || !instance.is_ready() {
            return;
        }
        let mut union = self.wants_of_clients(instance_key);
        for (_, peer) in self.peers.iter().filter(|(_, peer)| peer.instance == Some(instance_key)) {
            peer.listens.iter().for_each(|listen| union.merge(&listen.wants));
        }
        let Some(instance) = self.instances.get_mut(instance_key) else { return };
        match (&instance.listen.opening, &instance.listen.current) {
            // What is new follows once this is acknowledged; what is covered already need not wait.
            (Some(_), _) if !union.is_empty() => self.acknowledge(now, instance_key, out),
            (Some(_), _) | (_, Some(_)) if union.is_empty() => {
                let Upstream { current, opening, .. } = std::mem::take(&mut instance.listen);
                let opening = opening.map(|(request, _)| request);
                for request in current.map(|open| open.request).into_iter().chain(opening) {
                    self.cancel_own(request, "no listener left", out);
                }
                self.acknowledge(now, instance_key, out);
            }
            (None, Some(open)) if open.asked == union => self.acknowledge(now, instance_key, out),
            (None, None) if union.is_empty() => self.acknowledge(now, instance_key, out),
            _ => self.open_listen(now, instance_key, union, out),
        }
    }

    fn open_listen(&mut self, now: Time, instance_key: Key, union: Filter, out: &mut dyn Sink) {
        let Some(link) = self.instances.get(instance_key).and_then(|i| i.open_link()) else { return };
        // For the acknowledgement; its end has no deadline.
        let patience = self.policy_of(instance_key).map(|policy| policy.request_timeout_ms);
        let key = self.file_own(now, instance_key, Own::Listen, Method::Listen, patience);
        let extensions = if union.tasks.is_empty() { json!({}) } else { tasks_extension() };
        let mut params = self.own_meta(extensions);
        params["notifications"] = union.to_json();
        let text = reply::request(key.as_u64(), "subscriptions/listen", params);
        if let Some(instance) = self.instances.get_mut(instance_key) {
            instance.listen.opening = Some((key, union));
        }
        out.send(link, &Message::new(&text));
    }

    /// The child acknowledged a listen.
    pub(super) fn on_acknowledged(
        &mut self,
        now: Time,
        instance_key: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let key = msg.envelope.meta_subscription_id.and_then(|span| super::parse_key(msg.text(span)));
        let honoured = msg
            .envelope
            .notifications
            .and_then(|span| Filter::parse(msg.text(span)).ok())
            .unwrap_or_default();
        let Some(instance) = self.instances.get_mut(instance_key) else { return };
        match instance.listen.opening.take() {
            Some((request, asked)) if key == Some(request) => {
                let has_lapsed = std::mem::take(&mut instance.listen.lapsed);
                self.unbind(request);
                self.replace_listen(now, instance_key, Open { request, asked, honoured, since: now }, out);
                if has_lapsed {
                    self.announce_lapse(now, instance_key, out);
                }
            }
            other => instance.listen.opening = other,
        }
    }

    fn replace_listen(&mut self, now: Time, instance_key: Key, open: Open, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(instance_key) else { return };
        if let Some(old) = instance.listen.current.replace(open) {
            self.cancel_own(old.request, "replaced by another one", out);
        }
        self.acknowledge(now, instance_key, out);
        self.sync_listen(now, instance_key, out);
    }

    /// Tells every client whose listen or subscription is covered now what is honoured of it.
    fn acknowledge(&mut self, now: Time, instance_key: Key, out: &mut dyn Sink) {
        let current = self.instances.get(instance_key).and_then(|i| i.listen.current.as_ref());
        let (asked, honoured) = match current {
            Some(open) => (open.asked.clone(), open.honoured.clone()),
            None => Default::default(),
        };
        for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.instance == Some(instance_key)) {
            for listen in peer.listens.iter_mut().filter(|listen| asked.covers(&listen.wants)) {
                listen.acknowledge(listen.wants.intersection(&honoured), out);
            }
        }
        self.settle_subscriptions(now, instance_key, &asked, &honoured, out);
    }

    /// The child's listen ended: by a result, an error, or a cancel.
    pub(super) fn on_listen_ended(
        &mut self,
        now: Time,
        instance_key: Key,
        request: Key,
        refused: bool,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get_mut(instance_key) else { return };
        match instance.listen.opening.take() {
            Some((key, asked)) if key == request => {
                if refused {
                    // It has no listen: nothing is honoured, which is an answer, not an error.
                    let open = Open { request, asked, honoured: Filter::default(), since: now };
                    return self.replace_listen(now, instance_key, open, out);
                }
            }
            other => instance.listen.opening = other,
        }
        let Some(instance) = self.instances.get_mut(instance_key) else { return };
        let upstream = &mut instance.listen;
        if let Some(open) = upstream.current.take_if(|open| open.request == request) {
            upstream.lapsed = true;
            let is_short = now.since(open.since) < STEADY_MS;
            upstream.short = if is_short { upstream.short.saturating_add(1) } else { 0 };
        }
        let pause = RELISTEN_MS << upstream.short.saturating_sub(1).min(RELISTEN_DOUBLINGS);
        self.timers.schedule(now + pause, Timer::Relisten(instance_key));
    }

    /// A tagged notification of a modern child, for the listens that asked for it (P45).
    pub(super) fn route_to_listens(
        &mut self,
        now: Time,
        instance_key: Key,
        method: Method,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get(instance_key) else { return };
        let tag = msg.envelope.meta_subscription_id;
        let key = tag.and_then(|span| super::parse_key(msg.text(span)));
        let current = instance.listen.current.as_ref().map(|open| open.request);
        let (Some(tag), true) = (tag, key.is_some() && key == current) else {
            let target = self.target_of(instance_key);
            return log::debug!(target: &target, "a notification on no open listen was dropped");
        };
        let uri = msg.envelope.uri.and_then(|span| json::unescape(msg.text(span)));
        let task = msg.envelope.task_id.and_then(|span| json::unescape(msg.text(span)));
        let mut was_wanted = false;
        for (_, peer) in self.peers.iter().filter(|(_, peer)| peer.instance == Some(instance_key)) {
            for listen in &peer.listens {
                let Some(filter) = &listen.honoured else { continue };
                let wanted = match method {
                    Method::ListChanged(kind) => filter.lists.contains(&kind),
                    Method::ResourceUpdated => uri.as_ref().is_some_and(|uri| filter.has_uri(uri)),
                    Method::TaskStatus => {
                        task.as_ref().is_some_and(|task| filter.tasks.contains(task.as_ref()))
                    }
                    _ => false,
                };
                if wanted {
                    send_tagged(msg, tag, &listen.id, listen.link, out);
                    was_wanted = true;
                }
            }
        }
        self.route_to_clients(now, instance_key, method, was_wanted, msg, out);
    }

    /// After a restart: whoever listens is told to look again (protocol.md §2.8).
    pub(super) fn announce_updates_to_listens(&self, instance_key: Key, out: &mut dyn Sink) {
        for (_, peer) in self.peers.iter().filter(|(_, peer)| peer.instance == Some(instance_key)) {
            for listen in &peer.listens {
                for uri in listen.honoured.iter().flat_map(|filter| &filter.uris) {
                    let member = format!(",\"uri\":{}", json!(uri));
                    let text = tagged("notifications/resources/updated", &listen.id, &member);
                    out.send(listen.link, &Message::new(&text));
                }
            }
        }
    }

    /// Ends a client's listens with a result, then the cancel that stdio asks for (P46, §8.1).
    pub(super) fn end_listens(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        for listen in self.release_listens(now, peer_key, out) {
            let mut result =
                b"{\"resultType\":\"complete\",\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":"
                    .to_vec();
            result.extend_from_slice(&listen.id);
            result.extend_from_slice(b"}}");
            out.send(listen.link, &Message::new(&reply::result(&listen.id, &result)));
            let mut cancel =
                b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":"
                    .to_vec();
            cancel.extend_from_slice(&listen.id);
            cancel.extend_from_slice(b",\"reason\":\"muxloop is stopping\"}}");
            out.send(listen.link, &Message::new(&cancel));
        }
    }

    /// `params` of muxloop's own modern requests.
    pub(super) fn own_meta(&self, capabilities: serde_json::Value) -> serde_json::Value {
        json!({ "_meta": {
            "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
            "io.modelcontextprotocol/clientInfo": { "name": "muxloop", "version": env!("CARGO_PKG_VERSION") },
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        }})
    }
}

impl Listen {
    /// Says what is honoured of it, once.
    pub(super) fn acknowledge(&mut self, honoured: Filter, out: &mut dyn Sink) {
        if self.honoured.is_none() {
            let member = format!(",\"notifications\":{}", honoured.to_json());
            let text = tagged("notifications/subscriptions/acknowledged", &self.id, &member);
            out.send(self.link, &Message::new(&text));
        }
        self.honoured = Some(honoured);
    }
}

fn send_tagged(msg: &Incoming<'_>, tag: Span, id: &[u8], link: Key, out: &mut dyn Sink) {
    let mut message = Message::new(msg.bytes);
    message.replace(tag, Value::Raw(id));
    out.send(link, &message);
}

fn declares_tasks(msg: &Incoming<'_>) -> bool {
    let capabilities = msg.envelope.meta_client_capabilities.map_or(&b"{}"[..], |span| msg.text(span));
    let capabilities: serde_json::Value = serde_json::from_slice(capabilities).unwrap_or_default();
    capabilities["extensions"]["io.modelcontextprotocol/tasks"].is_object()
}

fn too_many_listens() -> reply::Failure {
    reply::Failure::new("overload", format!("more than {LISTENS_PER_CLIENT} open listens of one client"))
}

/// The capability to deal with tasks, as a `ClientCapabilities` object.
fn tasks_extension() -> serde_json::Value {
    json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })
}

/// A notification under a listen's id; `members` are further ones of its params, each after a comma.
pub(super) fn tagged(method: &str, id: &[u8], members: &str) -> Vec<u8> {
    let mut text = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{{\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":"
    )
    .into_bytes();
    text.extend_from_slice(id);
    text.push(b'}');
    text.extend_from_slice(members.as_bytes());
    text.extend_from_slice(b"}}");
    text
}

/// Pause before a listen that the child ended is opened again, doubled with each that it ends soon …
const RELISTEN_MS: u64 = 1_000;
/// … so often at most.
const RELISTEN_DOUBLINGS: u8 = 6;
/// How long a listen has to last that was not ended soon.
const STEADY_MS: u64 = 60_000;
