//! A process for each request (`share = "request"`, row B06): started, greeted as its client would greet
//! it, asked once, ended.
//!
//! ```text
//!   request ─▶ filed, kept ─▶ process (a spare if there is one) ─▶ handshake ─▶ sent ─▶ answer ─▶ stop
//! ```
//!
//! A client has at most `max_in_flight_per_client` of these processes, those that are still stopping
//! included; its further requests wait. What a process cannot do that does not outlive a request is not
//! offered: subscriptions, tasks, notices that a list changed. The answer to `initialize` and
//! `server/discover` comes from the newest handshake, whichever request it was made for.

use crate::base::{Key, Time};
use crate::codec::{Incoming, Message};
use crate::mux::method::Method;
use crate::mux::queue::Asked;
use crate::mux::request::{Origin, Request, State};
use crate::mux::server::{Era, Hello, Instance, Phase, Then};
use crate::mux::{Mux, Sink, reply};
use std::rc::Rc;

impl Mux {
    pub(super) fn is_per_request(&self, peer: Key) -> bool {
        self.peers.get(peer).is_some_and(|peer| self.servers[peer.server].policy.is_per_request())
    }

    /// A request that is in order: to a process of its own, or to what muxloop knows.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn route_alone(
        &mut self,
        now: Time,
        peer_key: Key,
        link: Key,
        method: Method,
        era: Era,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let (Some(id), Some(peer)) = (msg.envelope.id.map(|span| msg.text(span)), self.peers.get(peer_key))
        else {
            return;
        };
        let server = peer.server;
        if let Some((code, why)) = cannot_outlive(method, msg) {
            let text =
                format!("{why}: server '{}' has a process per request", self.servers[server].policy.name);
            return out.send(link, &Message::new(&reply::error(id, code, &text)));
        }
        let instance = self.instances.insert(Instance::new(server, Some(peer_key)));
        let asked = Asked { peer: peer_key, link, instance, method, era, since: now, msg };
        let known = self.servers[server].hello.clone().filter(|hello| now < hello.fresh_until);
        if let Some(failure) = self.cannot_wait(now, asked) {
            self.instances.remove(instance);
            return self.answer_failure(link, msg, &failure, out);
        }
        if let Some(hello) = known.filter(|_| is_known_without_process(method)) {
            self.answer_known(now, asked, &hello, out);
            self.instances.remove(instance);
            return;
        }
        if let Some(peer) = self.peers.get_mut(peer_key) {
            peer.alone.push(instance);
        }
        self.park(now, asked, out);
        self.start_alone(now, peer_key, out);
    }

    fn answer_known(&mut self, now: Time, asked: Asked<'_, '_>, hello: &Rc<Hello>, out: &mut dyn Sink) {
        let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
        match asked.method {
            Method::Initialize => self.greet(asked, hello, out),
            Method::SetLevel => self.on_set_level(now, asked, hello, out),
            _ => out.send(asked.link, &Message::new(&reply::result(id, &hello.discovered))),
        }
    }

    /// Starts processes for the requests of a client that wait for one, as many as it may have.
    pub(super) fn start_alone(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        loop {
            let Some(peer) = self.peers.get(peer_key) else { return };
            let server = &self.servers[peer.server];
            if server.held || self.draining {
                return;
            }
            let rests = |key: &&Key| {
                self.instances.get(**key).is_some_and(|instance| matches!(instance.phase, Phase::Stopped))
            };
            let Some(at) = peer.alone.iter().position(|key| rests(&key)) else { return };
            let running = peer.alone.iter().filter(|key| !rests(key)).count();
            if running >= server.policy.max_in_flight_per_client {
                return;
            }
            let id = peer.server;
            let key = self.take_spare_instead(now, id, peer_key, at);
            let Some(request) = self.instances.get(key).and_then(|instance| instance.only) else { return };
            if let Some(failure) = self.need(now, key, out) {
                self.fail_request(now, key, request, &failure, out);
            }
            // Nothing was started, so nothing would end this either.
            if self.instances.get(key).is_some_and(|instance| matches!(instance.phase, Phase::Stopped)) {
                return;
            }
        }
    }

    /// Moves a request from the instance that was made for it to a spare, if there is one.
    fn take_spare_instead(&mut self, now: Time, server: usize, peer_key: Key, at: usize) -> Key {
        let spare = self.take_spare(now, server, peer_key);
        let Some(place) = self.peers.get_mut(peer_key).and_then(|peer| peer.alone.get_mut(at)) else {
            unreachable!("the place was found in this list")
        };
        let Some(spare) = spare else { return *place };
        let old = std::mem::replace(place, spare);
        let only = self.instances.remove(old).and_then(|instance| instance.only);
        if let Some(instance) = self.instances.get_mut(spare) {
            instance.only = only;
        }
        if let Some(request) = only.and_then(|key| self.requests.get_mut(key)) {
            request.instance = spare;
        }
        spare
    }

    /// The process of one request has shaken hands: it gets its request.
    pub(super) fn release_only(&mut self, now: Time, key: Key, request: Key, out: &mut dyn Sink) {
        let Some(link) = self.instances.get(key).and_then(Instance::open_link) else { return };
        let Some(filed) = self.requests.get(request) else { return };
        let peer = filed.peer().filter(|_| matches!(filed.state, State::Waiting(_)));
        self.release(now, request, link, out);
        // It may have been answered from the handshake.
        if let Some(peer) = peer.filter(|_| !self.requests.contains(request)) {
            self.settle(now, peer, out);
        }
    }

    /// Ends the processes whose request is answered or taken back.
    pub(super) fn end_served(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get(peer_key).filter(|peer| !peer.alone.is_empty()) else { return };
        for key in peer.alone.clone() {
            self.end_if_served(now, key, out);
        }
    }

    /// Ends the process of one request that is over.
    pub(super) fn end_if_served(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let only = self.instances.get(key).and_then(|instance| instance.only);
        if only.is_some_and(|request| !self.requests.contains(request)) {
            self.forget_reverse(key, out);
            return self.stop(now, key, Then::Remove, out);
        }
        let owner = self.instances.get(key).and_then(|instance| instance.owner);
        if owner.is_some_and(|owner| !self.peers.contains(owner)) {
            self.end_unowned(now, key, out);
        }
    }

    /// A process of one client that has left ends, unless a suspended call of it may still need it.
    pub(super) fn end_unowned(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let is_suspended =
            |(_, r): (Key, &Request)| r.instance == key && matches!(r.origin, Origin::Suspended(_));
        if !self.requests.iter().any(is_suspended) {
            self.stop(now, key, Then::Remove, out);
        }
    }

    /// A client leaves: its processes end, but for those that a suspended call of it may still need.
    pub(super) fn end_alone(&mut self, now: Time, keys: Vec<Key>, out: &mut dyn Sink) {
        for key in keys {
            let only = self.instances.get(key).and_then(|instance| instance.only);
            let request = only.and_then(|request| self.requests.get(request));
            if !request.is_some_and(|request| matches!(request.origin, Origin::Suspended(_))) {
                self.stop(now, key, Then::Remove, out);
            }
        }
    }

    /// Whether an instance has nothing left to do without its process: its one request was there already, or
    /// is told at once that there is none.
    pub(super) fn ends_with_process(&self, key: Key, spawn_failed: bool) -> bool {
        let only = self.instances.get(key).and_then(|instance| instance.only);
        let request = only.and_then(|request| self.requests.get(request));
        request.is_some_and(|request| spawn_failed || (request.is_sent() && request.again.is_none()))
    }

    /// A process of one request is gone: its client may have another one.
    pub(super) fn forget_alone(&mut self, now: Time, key: Key, owner: Option<Key>, out: &mut dyn Sink) {
        let Some((owner, peer)) = owner.and_then(|owner| Some((owner, self.peers.get_mut(owner)?))) else {
            return;
        };
        if let Some(at) = peer.alone.iter().position(|own| *own == key) {
            peer.alone.remove(at);
            self.start_alone(now, owner, out);
        }
    }

    /// A notification that only the client's own processes want to know: those that are at work get it.
    pub(super) fn tell_alone(&mut self, peer_key: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get(peer_key).filter(|peer| peer.legacy.is_some()) else { return };
        for key in peer.alone.clone() {
            if let Some(link) = self.instances.get(key).and_then(Instance::open_link) {
                out.send(link, &Message::new(msg.bytes));
                self.stall_if_congested(key, peer_key, link, out);
            }
        }
    }

    /// Whether an instance works for this client: shared by it, its own, or at its request.
    pub(super) fn serves(&self, instance_key: Key, peer_key: Key) -> bool {
        if self.peers.get(peer_key).is_some_and(|peer| peer.instance == Some(instance_key)) {
            return true;
        }
        let instance = self.instances.get(instance_key).filter(|i| i.owner == Some(peer_key));
        instance.and_then(|i| i.only).is_some_and(|request| self.requests.contains(request))
    }
}

/// Why a request needs a process that lives on, if it does: its code, and words.
fn cannot_outlive(method: Method, msg: &Incoming<'_>) -> Option<(i32, &'static str)> {
    match method {
        Method::Subscribe | Method::Unsubscribe => {
            Some((reply::METHOD_NOT_FOUND, "no subscriptions to resources"))
        }
        Method::TasksGet
        | Method::TasksResult
        | Method::TasksCancel
        | Method::TasksUpdate
        | Method::TasksList => Some((reply::METHOD_NOT_FOUND, "no tasks")),
        _ if msg.envelope.task.is_some() => Some((reply::INVALID_PARAMS, "no tasks")),
        _ => None,
    }
}

/// Whether the newest handshake answers it.
fn is_known_without_process(method: Method) -> bool {
    matches!(method, Method::Initialize | Method::Discover | Method::SetLevel)
}

/// Takes out of an answer to a handshake what needs a process that lives on.
pub(super) fn confine(hello: &mut Hello) {
    for text in [&mut hello.initialized, &mut hello.discovered] {
        let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(text) else { continue };
        let Some(capabilities) = value["capabilities"].as_object_mut() else { continue };
        capabilities.remove("tasks");
        for kind in ["tools", "prompts", "resources"] {
            if let Some(members) = capabilities.get_mut(kind).and_then(|kind| kind.as_object_mut()) {
                members.remove("listChanged");
                members.remove("subscribe");
            }
        }
        if let Some(extensions) = capabilities.get_mut("extensions").and_then(|value| value.as_object_mut()) {
            extensions.remove("io.modelcontextprotocol/tasks");
        }
        *text = value.to_string().into_bytes();
    }
    hello.subscribe = false;
    hello.tools_changed = false;
    hello.prompts_changed = false;
    hello.resources_changed = false;
}
