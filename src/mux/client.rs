//! What clients say: requests, notifications, answers (protocol.md §2.2, §2.3), and how they leave.

use crate::base::limits::ID_MAX;
use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind, Message, Span, Value, json};
use crate::mux::method::Method;
use crate::mux::peer::{Capabilities, Legacy, MODERN_VERSION, Version};
use crate::mux::queue::Asked;
use crate::mux::request::{Origin, Request};
use crate::mux::server::{Era, Holder, Instance};
use crate::mux::sponsor::Sponsored;
use crate::mux::tally::Outcome;
use crate::mux::{CloseReason, Mux, Sink, bridge, parse_key, reply};
use serde_json::json;

impl Mux {
    pub(super) fn on_client_message(
        &mut self,
        now: Time,
        peer: Key,
        link: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        match msg.envelope.kind {
            Kind::Request => self.on_client_request(now, peer, link, msg, out),
            Kind::Notification => self.on_client_notification(now, peer, msg, out),
            Kind::Response | Kind::Error => self.on_client_answer(now, peer, msg, out),
        }
    }

    fn on_client_request(
        &mut self,
        now: Time,
        peer_key: Key,
        link: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        if peer.refused {
            self.turn_away(peer_key, msg.envelope.id.map(|id| msg.text(id)), out);
            return;
        }
        if let Some(id) = msg.envelope.id.filter(|id| id.len() > ID_MAX) {
            let text = format!("an id of {} bytes is longer than the {ID_MAX} that muxloop keeps", id.len());
            return out.send(link, &Message::new(&reply::error(msg.text(id), reply::INVALID_REQUEST, &text)));
        }
        if let (Some(id), Some(token)) = (msg.envelope.id, msg.envelope.meta_token)
            && token.len() > ID_MAX
        {
            let text = format!(
                "a progress token of {} bytes is longer than the {ID_MAX} that muxloop keeps",
                token.len()
            );
            return out.send(link, &Message::new(&reply::error(msg.text(id), reply::INVALID_PARAMS, &text)));
        }
        let method = Method::parse(msg.method());
        match msg.envelope.meta_protocol_version {
            Some(version) => {
                peer.modern = true;
                self.on_modern_request(now, peer_key, link, method, version, msg, out);
            }
            None => self.on_legacy_request(now, peer_key, link, method, msg, out),
        }
    }

    fn on_legacy_request(
        &mut self,
        now: Time,
        peer_key: Key,
        link: Key,
        method: Method,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(peer) = self.peers.get(peer_key) else { return };
        let (Some(id), has_greeted, is_modern) = (msg.envelope.id, peer.legacy.is_some(), peer.modern) else {
            return;
        };
        let refuse = |code, text: &str, out: &mut dyn Sink| {
            out.send(link, &Message::new(&reply::error(msg.text(id), code, text)));
        };
        match method {
            Method::Ping if !is_modern || has_greeted => {
                return out.send(link, &Message::new(&reply::result(msg.text(id), b"{}")));
            }
            Method::Initialize if has_greeted => {
                return refuse(
                    reply::INVALID_REQUEST,
                    "`initialize` was already sent on this connection",
                    out,
                );
            }
            Method::Initialize => self.note_initialize(peer_key, msg),
            _ if has_greeted => {}
            Method::Discover | Method::Listen => {
                let text = format!(
                    "`{}` needs `params._meta` with protocolVersion and clientCapabilities",
                    text_of(msg.method())
                );
                return refuse(reply::INVALID_PARAMS, &text, out);
            }
            _ if is_modern => {
                let text = "`params._meta[\"io.modelcontextprotocol/protocolVersion\"]` is missing";
                return refuse(reply::INVALID_PARAMS, text, out);
            }
            _ => {
                return refuse(
                    reply::INVALID_REQUEST,
                    "send `initialize` first (or a 2026-07-28 request with its `_meta`)",
                    out,
                );
            }
        }
        if matches!(method, Method::Discover | Method::Listen) {
            let text = format!("method not found in this protocol version: {}", text_of(msg.method()));
            return refuse(reply::METHOD_NOT_FOUND, &text, out);
        }
        self.route_request(now, peer_key, link, method, Era::Legacy, msg, out);
    }

    /// Remembers what a client says of itself.
    fn note_initialize(&mut self, peer_key: Key, msg: &Incoming<'_>) {
        let text = |span: Option<Span>| span.map_or(&b"{}"[..], |span| msg.text(span));
        let legacy = Legacy {
            version: Version::negotiate(text(msg.envelope.protocol_version)),
            capabilities: Capabilities::parse(text(msg.envelope.capabilities)),
            params: text(msg.envelope.params).into(),
            identity: bridge::legacy_identity(text(msg.envelope.params)),
            initialized: false,
        };
        if let Some(peer) = self.peers.get_mut(peer_key) {
            peer.legacy = Some(legacy);
        }
    }

    /// Checks of a 2026-07-28 request (protocol.md §3.3 check order, without headers; P38, P39, P41).
    #[allow(clippy::too_many_arguments)]
    fn on_modern_request(
        &mut self,
        now: Time,
        peer_key: Key,
        link: Key,
        method: Method,
        version: Span,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(id) = msg.envelope.id.map(|span| msg.text(span)) else { return };
        let version = msg.text(version);
        let text = if !msg
            .envelope
            .meta_client_capabilities
            .is_some_and(|span| msg.text(span).starts_with(b"{"))
        {
            let what =
                "`params._meta[\"io.modelcontextprotocol/clientCapabilities\"]` is missing or not an object";
            reply::error(id, reply::INVALID_PARAMS, what)
        } else if !version.starts_with(b"\"") {
            reply::error(
                id,
                reply::INVALID_PARAMS,
                "`io.modelcontextprotocol/protocolVersion` must be a string",
            )
        } else if json::unescape(version).as_deref() != Some(MODERN_VERSION) {
            let data = json!({ "supported": [MODERN_VERSION], "requested": json::unescape(version) });
            reply::error_with_data(id, reply::UNSUPPORTED_VERSION, "unsupported protocol version", data)
        } else if method.is_removed_in_modern() {
            let what = format!("method not found in 2026-07-28: {}", text_of(msg.method()));
            reply::error(id, reply::METHOD_NOT_FOUND, &what)
        } else if method == Method::Listen {
            return self.on_listen(now, peer_key, link, msg, out);
        } else {
            return self.route_request(now, peer_key, link, method, Era::Modern, msg, out);
        };
        out.send(link, &Message::new(&text));
    }

    /// A request that is in order: to the child, or to what muxloop knows of it.
    #[allow(clippy::too_many_arguments)]
    fn route_request(
        &mut self,
        now: Time,
        peer: Key,
        link: Key,
        method: Method,
        era: Era,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        if !method.is_answered_here()
            && let Some(failure) = self.limit(now, peer)
        {
            return self.answer_failure(link, msg, &failure, out);
        }
        #[cfg(feature = "gateway")]
        if let Some(text) = self.denial(peer, method, era, msg) {
            return out.send(link, &Message::new(&text));
        }
        if era == Era::Modern && self.resume(now, peer, link, method, msg, out) {
            return;
        }
        if self.is_per_request(peer) {
            return self.route_alone(now, peer, link, method, era, msg, out);
        }
        let Some(instance) = self.instance_for(now, peer) else { return };
        let asked = Asked { peer, link, instance, method, era, since: now, msg };
        if method.may_be_known() && self.answer_unasked(now, asked, out) {
            return;
        }
        if let Some(failure) = self.need(now, instance, out) {
            return self.answer_failure(link, msg, &failure, out);
        }
        match method {
            Method::TasksGet | Method::TasksResult | Method::TasksCancel | Method::TasksUpdate
                if !self.owns_task(asked) =>
            {
                let id = msg.envelope.id.map_or(&b"null"[..], |span| msg.text(span));
                out.send(link, &Message::new(&reply::error(id, reply::INVALID_PARAMS, "no such task")));
            }
            _ if method.is_answered_here() => self.answer_here(now, asked, out),
            Method::List(_) if self.join_list(now, asked, out) => {}
            _ => self.forward(now, asked, out),
        }
    }

    /// Counts a request against the limits of its client and server; a failure if there are too many (G09).
    fn limit(&mut self, now: Time, peer: Key) -> Option<reply::Failure> {
        let peer = self.peers.get_mut(peer)?;
        let server = &mut self.servers[peer.server];
        let limits = &server.policy.rate;
        let meter = match peer.sponsor {
            Some(sponsor) if limits.client.is_some() => {
                &mut Sponsored::of(&mut server.sponsored, sponsor).meter
            }
            _ => &mut peer.meter,
        };
        let client = limits.client.map_or(0, |rate| meter.wait_ms(now, rate, limits));
        let all = limits.server.map_or(0, |rate| server.meter.wait_ms(now, rate, limits));
        if client > 0 || all > 0 {
            server.limited += 1;
            let whose = if client > 0 { "this client's requests" } else { "all clients' requests together" };
            let (wait, name) = (client.max(all), &server.policy.name);
            return Some(reply::Failure {
                retry_in_ms: Some(wait),
                ..reply::Failure::new(
                    "rate_limited",
                    format!("{whose} to server '{name}' are too many (`rate_limit`); try again in {wait} ms"),
                )
            });
        }
        if let Some(rate) = limits.client {
            meter.note(now, rate, limits);
        }
        if let Some(rate) = limits.server {
            server.meter.note(now, rate, limits);
        }
        None
    }

    /// Methods that muxloop answers, or parks until the handshake is done.
    pub(super) fn answer_here(&mut self, now: Time, asked: Asked<'_, '_>, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(asked.instance) else { return };
        let hello = instance.hello.clone().filter(|_| !instance.outdated);
        // The list of what a child can do outlives its process; subscribing needs the process.
        let ready = match asked.method {
            Method::Initialize | Method::SetLevel => hello.is_some(),
            Method::Discover => hello.is_some(),
            _ => instance.is_ready(),
        };
        let Some(hello) = hello.filter(|_| ready) else { return self.park(now, asked, out) };
        match asked.method {
            Method::Initialize => self.greet(asked, &hello, out),
            Method::Discover if now < hello.fresh_until => {
                let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
                out.send(asked.link, &Message::new(&reply::result(id, &hello.discovered)));
            }
            Method::SetLevel => self.on_set_level(now, asked, &hello, out),
            Method::Subscribe => self.on_subscribe(now, asked, &hello, out),
            Method::Unsubscribe => self.on_unsubscribe(now, asked, &hello, out),
            _ => self.forward(now, asked, out),
        }
    }

    /// The instance that serves a client; made on its first request where it has one of its own.
    pub(super) fn instance_for(&mut self, now: Time, peer_key: Key) -> Option<Key> {
        let peer = self.peers.get_mut(peer_key)?;
        if peer.instance.is_some() {
            return peer.instance;
        }
        if peer.guest && !self.servers[peer.server].policy.guests_apart {
            let own = self.instance_of_guest(now, peer_key, true);
            self.peers.get_mut(peer_key)?.instance = own;
            return own;
        }
        let server = peer.server;
        let spare = self.take_spare(now, server, peer_key);
        let own = spare.unwrap_or_else(|| self.instances.insert(Instance::new(server, Some(peer_key))));
        self.peers.get_mut(peer_key)?.instance = Some(own);
        Some(own)
    }

    fn on_client_notification(&mut self, now: Time, peer_key: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        match Method::parse(msg.method()) {
            Method::Initialized => {
                if let Some(legacy) = self.peers.get_mut(peer_key).and_then(|peer| peer.legacy.as_mut()) {
                    legacy.initialized = true;
                }
                if let Some(instance) = self.peers.get(peer_key).and_then(|peer| peer.instance) {
                    self.sync_level(now, instance, out);
                    self.sync_listen(now, instance, out);
                }
            }
            Method::Cancelled => self.on_client_cancel(now, peer_key, msg, out),
            Method::Progress => self.on_client_progress(peer_key, msg, out),
            _ if self.is_per_request(peer_key) => self.tell_alone(peer_key, msg, out),
            // A shared child asks nobody for roots of a client; a child of one's own wants to know, but for a
            // modern one, which asks anew with each call (protocol.md §4.3).
            method => {
                let Some(peer) = self.peers.get(peer_key) else { return };
                let Some((instance_key, instance)) =
                    peer.instance.and_then(|key| Some((key, self.instances.get(key)?)))
                else {
                    return;
                };
                let own = (instance.owner == Some(peer_key)
                    || instance.holder == Some(Holder::Peer(peer_key)))
                    && instance.era == Some(Era::Legacy);
                let passes = if method == Method::RootsChanged { own } else { method == Method::Other };
                if let (true, Some(link)) = (passes && peer.legacy.is_some(), instance.open_link()) {
                    out.send(link, &Message::new(msg.bytes));
                    self.stall_if_congested(instance_key, peer_key, link, out);
                }
            }
        }
    }

    /// Does not read on from a client whose notifications a child cannot take as fast.
    pub(super) fn stall_if_congested(&mut self, instance: Key, peer_key: Key, link: Key, out: &mut dyn Sink) {
        if !out.is_congested(link) {
            return;
        }
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        if !peer.paused {
            peer.paused = true;
            out.pause(peer.link, true);
        }
        if let Some(instance) = self.instances.get_mut(instance)
            && !instance.stalled.contains(&peer_key)
        {
            instance.stalled.push(peer_key);
        }
    }

    /// `notifications/cancelled` (P09): no answer is owed any more.
    fn on_client_cancel(&mut self, now: Time, peer_key: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(span) = msg.envelope.request_id else { return };
        let id = msg.text(span);
        if self.cancel_listen(now, peer_key, id, out) {
            return;
        }
        let Some(key) = self.find_request(peer_key, id) else { return };
        let Some(request) = self.requests.get(key) else { return };
        // `initialize` must not be cancelled (protocol.md §2.2).
        if request.method == Method::Initialize {
            return;
        }
        let Some(mut request) = self.take_or_hand_over(now, key) else { return };
        self.withdraw_questions(&request, "the request was cancelled", out);
        self.note_end(now, &mut request, Outcome::Cancelled, 0);
        self.counters.cancelled += 1;
        let link = self.instances.get(request.instance).and_then(|i| i.link);
        self.refuse_questions(&mut request, out);
        if let (true, Some(link)) = (request.is_sent(), link) {
            let mut message = Message::new(msg.bytes);
            message.replace(span, Value::Integer(key.as_u64()));
            out.send(link, &message);
            self.raise_fence(now, &request, out);
        }
        self.settle(now, peer_key, out);
    }

    fn find_request(&self, peer_key: Key, id: &[u8]) -> Option<Key> {
        let peer = self.peers.get(peer_key)?;
        peer.requests.iter().copied().find(|key| {
            let request = self.requests.get(*key);
            request.is_some_and(
                |request| matches!(&request.origin, Origin::Peer { id: own, .. } if **own == *id),
            )
        })
    }

    /// Progress of a client on something that a child asked of it.
    fn on_client_progress(&mut self, peer_key: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(span) = msg.envelope.token else { return };
        let Some(reverse) = parse_key(msg.text(span)).and_then(|key| self.reverse.get(key)) else { return };
        let Some(token) = &reverse.token else { return };
        let instance_key = reverse.instance;
        if reverse.peer != peer_key {
            return;
        }
        if let Some(link) = self.instances.get(instance_key).and_then(|i| i.open_link()) {
            let mut message = Message::new(msg.bytes);
            message.replace(span, Value::Raw(token));
            out.send(link, &message);
            self.stall_if_congested(instance_key, peer_key, link, out);
        }
    }

    fn refusal_of(&self, peer: Key) -> String {
        if self.draining {
            return "muxloop is stopping".into();
        }
        self.peers.get(peer).map_or_else(String::new, |peer| self.refusal(peer.server))
    }

    /// Tells a client that has no place why, whatever it said, and closes it. Whether it has none.
    pub(super) fn turn_away(&mut self, peer_key: Key, id: Option<&[u8]>, out: &mut dyn Sink) -> bool {
        let Some(peer) = self.peers.get(peer_key).filter(|peer| peer.refused) else { return false };
        let failure = reply::Failure::new("max_active_clients", self.refusal_of(peer_key));
        self.counters.failures += 1;
        out.send(peer.link, &Message::new(&failure.answer(id.unwrap_or(b"null"))));
        self.close_refused(peer_key, out);
        true
    }

    pub(super) fn close_refused(&mut self, peer_key: Key, out: &mut dyn Sink) {
        if let Some(peer) = self.peers.get(peer_key) {
            out.close(peer.link, CloseReason::Refused);
            self.forget_peer(peer_key);
        }
    }

    /// A client is gone: what it asked for is cancelled, what it held is released (P10, protocol.md §2.8).
    pub(super) fn drop_peer(&mut self, now: Time, peer_key: Key, why: &CloseReason, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get(peer_key) else { return };
        let (server, instance_key, sponsor) = (peer.server, peer.instance, peer.sponsor);
        let alone = peer.alone.clone();
        log::debug!(target: &self.target(server), "client {} left: {why}", peer.number);
        if let Some(peer) = self.peers.get_mut(peer_key) {
            peer.paused = false;
        }
        self.cancel_requests(now, peer_key, out);
        self.abandon_calls_of(now, peer_key, out);
        self.refuse_reverse_of(now, peer_key, out);
        self.release_subscriptions(now, peer_key, out);
        self.release_listens(now, peer_key, out);
        self.forget_peer(peer_key);
        self.end_sponsored(now, sponsor.unwrap_or(peer_key), out);
        self.end_alone(now, alone, out);
        self.end_retired(now, server, out);
        let Some(instance_key) = instance_key else { return };
        if self.instances.get(instance_key).is_some_and(|instance| instance.owner == Some(peer_key)) {
            return self.end_unowned(now, instance_key, out);
        }
        if let Some(instance) = self.instances.get_mut(instance_key) {
            instance.used = now;
        }
        self.sync_level(now, instance_key, out);
        self.sync_listen(now, instance_key, out);
        self.dispatch(now, instance_key, out);
    }

    fn cancel_requests(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        let mut sent = Vec::new();
        let mut requests = self.peers.get(peer_key).map(|peer| peer.requests.clone()).unwrap_or_default();
        while !requests.is_empty() {
            for key in requests {
                self.cancel_request(now, key, &mut sent, out);
            }
            // One that is taken back may leave its place at the child to another one of the same client.
            requests = self.peers.get(peer_key).map(|peer| peer.requests.clone()).unwrap_or_default();
        }
        // One fence is behind all of them.
        let _ = sent.iter().any(|request| self.raise_fence(now, request, out));
    }

    fn cancel_request(&mut self, now: Time, key: Key, sent: &mut Vec<Request>, out: &mut dyn Sink) {
        let Some(mut request) = self.take_or_hand_over(now, key) else { return };
        self.forget_questions(&request);
        self.note_end(now, &mut request, Outcome::Cancelled, 0);
        let link = self.instances.get(request.instance).and_then(|i| i.link);
        self.refuse_questions(&mut request, out);
        if let (true, Some(link)) = (request.is_sent(), link) {
            self.counters.cancelled += 1;
            out.send(link, &Message::new(&reply::cancelled(key.as_u64(), "the client disconnected")));
            sent.push(request);
        }
    }

    /// Takes a client out of the tables.
    pub(super) fn forget_peer(&mut self, peer_key: Key) {
        let Some(peer) = self.peers.remove(peer_key) else { return };
        self.links.remove(peer.link);
        let server = &mut self.servers[peer.server];
        if !peer.refused {
            server.clients -= 1;
            server.guests -= usize::from(peer.guest);
        }
        if let Some(instance) = peer.instance.and_then(|key| self.instances.get_mut(key)) {
            instance.owners.forget_peer(peer_key);
            instance.queue.retain(|key| *key != peer_key);
            instance.stalled.retain(|key| *key != peer_key);
            if instance.holder == Some(Holder::Peer(peer_key)) {
                instance.holder = None;
                instance.holding = 0;
                instance.contended = false;
            }
        }
    }
}

fn text_of(bytes: &[u8]) -> String {
    reply::quote(bytes)
}
