//! What children say: answers, notifications, requests (protocol.md §2.4, §2.5).

use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind, Message, Value};
use crate::mux::method::Method;
use crate::mux::request::{Origin, Own, Request};
use crate::mux::server::Era;
use crate::mux::tally::Outcome;
use crate::mux::{Mux, Sink, parse_key, quote, reply};

impl Mux {
    pub(super) fn on_child_message(
        &mut self,
        now: Time,
        instance: Key,
        link: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        if let Some(instance) = self.instances.get_mut(instance) {
            instance.heard = now;
        }
        match msg.envelope.kind {
            Kind::Response | Kind::Error => self.on_child_answer(now, instance, msg, out),
            Kind::Notification => self.on_child_notification(now, instance, msg, out),
            Kind::Request => self.on_child_request(now, instance, link, msg, out),
        }
    }

    /// An answer goes to the one who asked, under the id as it was written, or nowhere.
    fn on_child_answer(&mut self, now: Time, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(id) = msg.envelope.id else {
            return log::warn!(target: &self.target_of(instance), "an error without an id: {}", quote(msg.bytes));
        };
        let key = parse_key(msg.text(id));
        let known = key.and_then(|key| Some((key, self.requests.get(key)?)));
        let Some((key, _)) = known.filter(|(_, request)| request.instance == instance && request.is_sent())
        else {
            self.counters.unrequested += 1;
            let text = quote(msg.bytes);
            return log::debug!(target: &self.target_of(instance), "an answer nobody waits for was dropped: {text}");
        };
        if self.begins_round(key, msg) {
            return self.begin_round(now, key, msg, out);
        }
        let Some(mut request) = self.take(key) else { return };
        // It does not wait for what it asked.
        if request.call.is_some() {
            self.refuse_questions(&mut request, out);
        }
        let (peer, link, raw_id) = match &request.origin {
            Origin::Own(own) => {
                let own = own.clone();
                return self.on_own_answer(now, instance, key, &request, &own, msg, out);
            }
            Origin::Peer { peer, link, id, .. } => (*peer, *link, id.clone()),
            Origin::Suspended(call) => {
                let told = self.cross_answer(&request, msg).unwrap_or_else(|| msg.bytes.to_vec());
                self.keep_answer(*call, told);
                self.end_if_served(now, instance, out);
                return self.dispatch(now, instance, out);
            }
        };
        self.counters.answers += 1;
        let outcome = if msg.envelope.kind == Kind::Error { Outcome::Error } else { Outcome::Ok };
        self.note_end(now, &mut request, outcome, msg.bytes.len());
        let crossed = self.cross_answer(&request, msg);
        let crossed = crossed.as_deref().and_then(|text| Incoming::scan(text).ok());
        let told = crossed.as_ref().unwrap_or(msg);
        let mut message = Message::new(told.bytes);
        if let Some(id) = told.envelope.id {
            message.replace(id, Value::Raw(&raw_id));
        }
        let ours = match request.method {
            Method::TasksList => self.own_tasks_only(instance, peer, msg),
            Method::Discover => self
                .refresh_hello(now, instance, msg)
                .zip(msg.envelope.result)
                .map(|(hello, at)| (at, hello.discovered.clone())),
            _ => None,
        };
        if let Some((at, ours)) = &ours {
            message.replace(*at, Value::Raw(ours));
        }
        out.send(link, &message);
        if request.list.is_some() {
            self.land(now, instance, key, msg, out);
        }
        self.note_repeatable(instance, request.method, msg);
        self.note_ownership(instance, peer, key, &mut request, msg);
        self.settle(now, peer, out);
    }

    #[allow(clippy::too_many_arguments)]
    fn on_own_answer(
        &mut self,
        now: Time,
        instance: Key,
        key: Key,
        request: &Request,
        own: &Own,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        match own {
            Own::Handshake => self.on_handshake_answer(now, instance, key, msg, out),
            Own::Hello => {
                self.refresh_hello(now, instance, msg);
                // There may be more to listen for.
                self.sync_listen(now, instance, out);
            }
            Own::Heartbeat => {
                self.refresh_hello(now, instance, msg);
                self.on_heartbeat_answer(now, instance, now.since(request.started));
            }
            Own::Subscribe(uri) => self.on_subscribe_answer(now, instance, uri, msg, out),
            Own::List => {
                self.note_repeatable(instance, request.method, msg);
                self.land(now, instance, key, msg, out);
            }
            Own::Listen => self.on_listen_ended(now, instance, key, msg.envelope.kind == Kind::Error, out),
            Own::SetLevel => self.on_set_level_answer(now, instance, msg, out),
            Own::Unsubscribe => {}
            Own::Fence => self.lift_fence(now, instance, key, out),
        }
    }

    fn on_child_notification(&mut self, now: Time, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let method = Method::parse(msg.method());
        let is_modern = self.instances.get(instance).is_some_and(|i| i.era == Some(Era::Modern));
        if let Method::ListChanged(kind) = method {
            self.outdate_lists(instance, kind);
        }
        match method {
            Method::Progress => self.on_child_progress(now, instance, msg, out),
            Method::Cancelled => self.on_child_cancel(now, instance, msg, out),
            Method::Acknowledged => self.on_acknowledged(now, instance, msg, out),
            Method::ListChanged(_) | Method::ResourceUpdated | Method::TaskStatus if is_modern => {
                self.route_to_listens(now, instance, method, msg, out);
            }
            Method::LogMessage if is_modern => self.route_modern_log(instance, msg, out),
            Method::LogMessage => self.route_legacy_log(instance, msg, out),
            Method::ListChanged(kind) => self.on_list_changed(now, instance, kind, out),
            Method::ResourceUpdated => self.route_update(instance, msg, out),
            Method::ElicitComplete => self.on_elicit_complete(instance, msg, out),
            Method::TaskStatus => self.on_task_status(instance, msg, out),
            Method::Other if !is_modern => self.fan_out(instance, msg, out),
            _ => log::debug!(target: &self.target_of(instance), "dropped: {}", quote(msg.bytes)),
        }
    }

    /// Progress goes to the one who holds the token (P08), and gives the request more time (P24).
    fn on_child_progress(&mut self, now: Time, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(span) = msg.envelope.token else { return };
        let Some(key) = parse_key(msg.text(span)) else { return };
        if let Some(request) = self.requests.get_mut(key).filter(|r| r.instance == instance && r.is_sent()) {
            let policy = &self.servers[self.instances.get(instance).map_or(0, |i| i.server)].policy;
            let latest = request.started + policy.request_timeout_max_ms;
            request.deadline = (now + policy.request_timeout_ms).min(latest).max(request.deadline);
            if let (Some(token), Origin::Peer { link, .. }) = (&request.token, &request.origin) {
                let mut message = Message::new(msg.bytes);
                message.replace(span, Value::Raw(token));
                out.send(*link, &message);
            }
            return;
        }
        // The token of a task outlives the request that created it (protocol.md §2.5).
        let owners = self.instances.get(instance).map(|instance| &instance.owners);
        let Some((owner, token)) = owners.and_then(|owners| owners.task_by_token(key)) else { return };
        if let Some(peer) = self.peers.get(owner) {
            let mut message = Message::new(msg.bytes);
            message.replace(span, Value::Raw(&token));
            out.send(peer.link, &message);
        }
    }

    /// Fails one request by its key, if it belongs to this child.
    pub(super) fn fail_request(
        &mut self,
        now: Time,
        instance: Key,
        key: Key,
        why: &reply::Failure,
        out: &mut dyn Sink,
    ) {
        if self.requests.get(key).is_none_or(|request| request.instance != instance) {
            return;
        }
        let Some(mut request) = self.take(key) else { return };
        self.refuse_questions(&mut request, out);
        self.fail_taken(now, key, request, why, out);
    }

    /// The same, of one whose answer could not be read: that the child has done with it is not known, so it is
    /// told to, and what it asks until it has read that is nobody else's.
    pub(super) fn lose_answer(
        &mut self,
        now: Time,
        instance: Key,
        key: Key,
        why: &reply::Failure,
        out: &mut dyn Sink,
    ) {
        let is_at_child = |request: &Request| {
            request.instance == instance && request.is_sent() && !matches!(request.origin, Origin::Own(_))
        };
        if !self.requests.get(key).is_some_and(is_at_child) {
            return self.fail_request(now, instance, key, why, out);
        }
        let Some(mut request) = self.take(key) else { return };
        self.call_off(now, key, &mut request, "its answer could not be read", out);
        self.fail_taken(now, key, request, why, out);
    }

    fn fail_taken(
        &mut self,
        now: Time,
        key: Key,
        mut request: Request,
        why: &reply::Failure,
        out: &mut dyn Sink,
    ) {
        let instance = request.instance;
        self.answer_taken(now, &mut request, why, out);
        if request.list.is_some() {
            self.crash_land(now, instance, key, why, out);
        }
        match request.peer() {
            Some(peer) => self.settle(now, peer, out),
            None => {
                self.end_if_served(now, instance, out);
                self.dispatch(now, instance, out);
            }
        }
    }

    /// Tells the asker of a request that was taken out of the tables why there is no answer.
    pub(super) fn answer_taken(
        &mut self,
        now: Time,
        request: &mut Request,
        why: &reply::Failure,
        out: &mut dyn Sink,
    ) {
        if let Origin::Suspended(call) = &request.origin {
            let why = reply::Failure { retry_in_ms: None, ..why.clone() };
            return self.keep_answer(*call, why.answer(b"0"));
        }
        if self.give_instead(now, request, why, out) {
            return;
        }
        self.withdraw_questions(request, &why.message, out);
        let outcome = if why.reason == "timeout" { Outcome::Timeout } else { Outcome::Lost };
        self.note_end(now, request, outcome, 0);
        if let Origin::Peer { peer, link, id, .. } = &request.origin {
            self.counters.failures += 1;
            out.send(*link, &Message::new(&why.answer(id)));
            if request.method == Method::Initialize
                && let Some(peer) = self.peers.get_mut(*peer)
            {
                // It may try again on the same connection.
                peer.legacy = None;
            }
        }
    }
}
