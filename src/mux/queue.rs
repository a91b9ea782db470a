//! Requests on their way to a child: filed, kept or sent, in turns that are fair (B10).
//!
//! A client has at most so many requests at the child; its further ones wait here, so another client's
//! request stands behind a bounded number of them. When the child is full, down, or busy with somebody
//! else's interactive request, clients take turns, one request each.

use crate::base::limits::{REQUESTS_IN_ALL, REQUESTS_PER_CLIENT, WAITING_BYTES_PER_CLIENT};
use crate::base::{Key, ShortBytes, Time};
use crate::codec::{Incoming, Message, Value};
use crate::mux::hold::{holder_of, serializes};
use crate::mux::method::{Level, Method};
use crate::mux::peer::Capabilities;
use crate::mux::request::{Held, Origin, Own, Request, State};
use crate::mux::server::{Era, Holder, Phase};
use crate::mux::{CloseReason, LinkOf, Mux, Sink, Timer, reply, tally};

/// A client's request as it came.
#[derive(Clone, Copy)]
pub(super) struct Asked<'m, 'a> {
    pub peer: Key,
    pub link: Key,
    pub instance: Key,
    pub method: Method,
    pub era: Era,
    /// When it came: its deadline counts from here, however long it waited.
    pub since: Time,
    pub msg: &'m Incoming<'a>,
}

impl Mux {
    /// Sends a client's request to the child, or keeps it until the child can take it.
    pub(super) fn forward(&mut self, now: Time, asked: Asked<'_, '_>, out: &mut dyn Sink) {
        if let Some(failure) = self.cannot_wait(now, asked) {
            return self.answer_failure(asked.link, asked.msg, &failure, out);
        }
        let key = self.file(now, asked);
        match self.can_send(asked.instance, asked.peer, key, out) {
            Some(child) if self.first_in_line(asked) => self.send_request(now, key, child, asked.msg, out),
            _ => self.keep(now, key, asked, out),
        }
    }

    /// Keeps a request that muxloop answers itself once the child is up.
    pub(super) fn park(&mut self, now: Time, asked: Asked<'_, '_>, out: &mut dyn Sink) {
        if let Some(failure) = self.cannot_wait(now, asked) {
            return self.answer_failure(asked.link, asked.msg, &failure, out);
        }
        let key = self.file(now, asked);
        self.keep(now, key, asked, out);
    }

    pub(super) fn answer_failure(
        &mut self,
        link: Key,
        msg: &Incoming<'_>,
        failure: &reply::Failure,
        out: &mut dyn Sink,
    ) {
        let Some(id) = msg.envelope.id else { return };
        self.counters.failures += 1;
        out.send(link, &Message::new(&failure.answer(msg.text(id))));
        if let (Method::Initialize, Some(LinkOf::Peer(peer))) =
            (Method::parse(msg.method()), self.links.get(link))
            && let Some(peer) = self.peers.get_mut(*peer)
        {
            // It may try again on the same connection.
            peer.legacy = None;
        }
    }

    /// Why a new request has to be refused at once, if it has.
    pub(super) fn cannot_wait(&self, now: Time, asked: Asked<'_, '_>) -> Option<reply::Failure> {
        let instance = self.instances.get(asked.instance)?;
        let peer = self.peers.get(asked.peer)?;
        let name = &self.servers[instance.server].policy.name;
        if self.servers[instance.server].held {
            let text =
                format!("server '{name}' was stopped by its operator ('muxloop start {name}' starts it)");
            return Some(reply::Failure::new("stopped", text));
        }
        match &instance.phase {
            Phase::Failed => {
                let why = instance.last_failure.as_deref().unwrap_or("it failed");
                let text = format!(
                    "server '{name}' is down and was given up after {} restarts: {why}",
                    instance.attempts
                );
                return Some(reply::Failure::new("failed", text));
            }
            Phase::Backoff { until, spawn_failed: true, .. } => {
                let why = instance.last_failure.as_deref().unwrap_or("it cannot be started");
                let mut failure = reply::Failure::new("spawn", format!("server '{name}': {why}"));
                failure.retry_in_ms = Some(until.since(now));
                return Some(failure);
            }
            _ => {}
        }
        if self.requests.len() >= REQUESTS_IN_ALL {
            return Some(reply::Failure::new("overload", "too many requests at once; try again later"));
        }
        // A full client is not read from, unless the child waits for its answer to something.
        if peer.is_full() && (self.is_awaited(asked.peer) || peer.requests.len() >= 2 * REQUESTS_PER_CLIENT) {
            let text =
                format!("more than {REQUESTS_PER_CLIENT} unanswered requests of one client; try again later");
            return Some(reply::Failure::new("overload", text));
        }
        None
    }

    /// Files a client's request as waiting, its bytes not kept yet.
    pub(super) fn file(&mut self, now: Time, asked: Asked<'_, '_>) -> Key {
        let env = &asked.msg.envelope;
        let id = env.id.map_or(ShortBytes::new(b"null"), |span| ShortBytes::new(asked.msg.text(span)));
        let server = &mut self.servers[self.instances.get(asked.instance).map_or(0, |i| i.server)];
        server.tally.requests += 1;
        let policy = &server.policy;
        let mut timeout = policy.request_timeout_ms;
        if matches!(asked.method, Method::Initialize | Method::Discover) {
            timeout = timeout.max(policy.startup_timeout_ms);
        }
        let (position, level) =
            self.peers.get(asked.peer).map_or((0, None), |peer| (peer.requests.len(), peer.level));
        // Before the handshake its era is a guess.
        let is_modern_child =
            self.instances.get(asked.instance).is_some_and(|i| i.era == Some(Era::Modern) && i.is_ready());
        // A modern child is told with the request; a legacy one may ask, and then it matters.
        let capabilities = match env.meta_client_capabilities {
            Some(span) if !is_modern_child => Capabilities::parse(asked.msg.text(span)),
            _ => Capabilities::default(),
        };
        let list = self.page_wanted(asked);
        let key = self.requests.insert(Request {
            instance: asked.instance,
            origin: Origin::Peer { peer: asked.peer, link: asked.link, id, position },
            method: asked.method,
            name: tally::name_of(asked.method, asked.msg),
            bytes: asked.msg.bytes.len() as u32,
            arguments: if self.audit.wanted == Some(true) { tally::arguments_of(asked.msg) } else { None },
            era: asked.era,
            state: State::Joined,
            list,
            token: env.meta_token.map(|span| ShortBytes::new(asked.msg.text(span))),
            capabilities,
            call: None,
            lacks: None,
            // 2026-07-28: what the request says. Before: what its client said last.
            log_level: match asked.era {
                Era::Modern => env.meta_log_level.and_then(|span| Level::parse(asked.msg.text(span))),
                Era::Legacy => level,
            },
            task: env.task.is_some(),
            again: None,
            may_repeat: false,
            rounds: 0,
            pauses: 0,
            was_lost: false,
            started: asked.since,
            deadline: asked.since + timeout,
            timer: None,
        });
        let timer = self.timers.schedule(asked.since + timeout, Timer::Request(key));
        if let Some(request) = self.requests.get_mut(key) {
            request.timer = Some(timer);
        }
        if let Some(peer) = self.peers.get_mut(asked.peer) {
            peer.requests.push(key);
        }
        if let Some(instance) = self.instances.get_mut(asked.instance) {
            instance.used = now;
            if self.servers[instance.server].policy.is_per_request() {
                instance.only = Some(key);
            }
        }
        self.counters.requests += 1;
        key
    }

    /// Files a request of muxloop's own.
    pub(super) fn file_own(
        &mut self,
        now: Time,
        instance: Key,
        own: Own,
        method: Method,
        timeout_ms: Option<u64>,
    ) -> Key {
        let timeout = timeout_ms.map(|ms| now + ms);
        let key = self.requests.insert(Request {
            instance,
            origin: Origin::Own(own),
            method,
            name: None,
            bytes: 0,
            arguments: None,
            era: Era::Legacy,
            state: State::Sent { since: now, aged: false },
            list: None,
            token: None,
            capabilities: Capabilities::default(),
            lacks: None,
            call: None,
            log_level: None,
            task: false,
            again: None,
            may_repeat: false,
            rounds: 0,
            pauses: 0,
            was_lost: false,
            started: now,
            deadline: timeout.unwrap_or(Time(u64::MAX)),
            timer: None,
        });
        let timer = timeout.map(|at| self.timers.schedule(at, Timer::Request(key)));
        if let Some(request) = self.requests.get_mut(key) {
            request.timer = timer;
        }
        key
    }

    /// Keeps the bytes of a filed request until its turn.
    fn keep(&mut self, now: Time, key: Key, asked: Asked<'_, '_>, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        request.state = State::Waiting(asked.msg.bytes.into());
        let in_flight_max =
            self.policy_of(asked.instance).map_or(0, |policy| policy.max_in_flight_per_client);
        let is_only = self.instances.get(asked.instance).is_some_and(|instance| instance.only.is_some());
        let Some(peer) = self.peers.get_mut(asked.peer) else { return };
        if is_only {
            peer.waiting_bytes += asked.msg.bytes.len();
            return self.pause_if_full(asked.peer, out);
        }
        peer.waiting.push_back(key);
        peer.waiting_bytes += asked.msg.bytes.len();
        let has_room = peer.has_room(in_flight_max);
        if !peer.queued && has_room {
            peer.queued = true;
            if let Some(instance) = self.instances.get_mut(asked.instance) {
                instance.queue.push_back(asked.peer);
            }
        }
        if !has_room && !std::mem::replace(&mut peer.aging, true) {
            self.timers.schedule(now + AGED_MS, Timer::Aged(asked.peer));
        }
        self.pause_if_full(asked.peer, out);
    }

    /// Does not read on from a client at its limits, unless its answer to a question must get through.
    pub(super) fn pause_if_full(&mut self, peer_key: Key, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get(peer_key) else { return };
        if peer.is_full()
            && !peer.paused
            && !self.is_awaited(peer_key)
            && let Some(peer) = self.peers.get_mut(peer_key)
        {
            peer.paused = true;
            out.pause(peer.link, true);
        }
    }

    /// Whether nobody, the client itself included, has waited longer.
    fn first_in_line(&self, asked: Asked<'_, '_>) -> bool {
        let peer_first = self.peers.get(asked.peer).is_some_and(|peer| peer.waiting.is_empty());
        peer_first
            && self.instances.get(asked.instance).is_some_and(|i| i.queue.is_empty() || i.holder.is_some())
    }

    /// The child's link, if it can take this kind of request of this client now.
    fn can_send(&self, instance: Key, peer_key: Key, key: Key, out: &dyn Sink) -> Option<Key> {
        let request = self.requests.get(key)?;
        let instance = self.instances.get(instance)?;
        let peer = self.peers.get(peer_key)?;
        let link = instance.open_link()?;
        let policy = &self.servers[instance.server].policy;
        if !peer.has_room(policy.max_in_flight_per_client) || out.is_congested(link) {
            return None;
        }
        if serializes(policy, instance, request.method) {
            let own = holder_of(key, request, peer);
            let fenced = instance.fence.is_some_and(|f| f.peer.is_none_or(|p| own != Holder::Peer(p)));
            let held_by_other = fenced || instance.holder.is_some_and(|holder| holder != own);
            // A client that holds the child lets others in, unless it is being asked something.
            let turn_is_over = instance.contended && instance.allowance == 0;
            let must_yield = turn_is_over && instance.holder == Some(own) && peer.reverse.is_empty();
            if held_by_other || must_yield {
                return None;
            }
        }
        Some(link)
    }

    /// Hands a filed request to the child, under its key.
    fn send_request(&mut self, now: Time, key: Key, child: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(request) = self.requests.get(key) else { return };
        let instance_key = request.instance;
        let era = self.instances.get(instance_key).and_then(|instance| instance.era);
        if request.rounds > 0
            && let Some(failure) = self.lost_its_round(key)
        {
            return self.fail_request(now, instance_key, key, &failure, out);
        }
        let mut crossed = None;
        if era.is_some_and(|era| era != request.era) {
            crossed = match self.cross_request(now, key, msg, out) {
                Some(Ok(text)) => Some(text),
                Some(Err(why)) => return self.refuse_request(now, key, &why, out),
                None => None,
            };
        }
        let is_crossed = crossed.is_some();
        let crossed = crossed.as_deref().and_then(|text| Incoming::scan(text).ok());
        let (original, msg) = (msg, crossed.as_ref().unwrap_or(msg));
        let Some(request) = self.requests.get_mut(key) else { return };
        request.state = State::Sent { since: now, aged: false };
        let Origin::Peer { peer: peer_key, .. } = request.origin else { return };
        let mut message = Message::new(msg.bytes);
        if let Some(id) = msg.envelope.id {
            message.replace(id, Value::Integer(key.as_u64()));
        }
        if let Some(token) = msg.envelope.meta_token {
            message.replace(token, Value::Integer(key.as_u64()));
        }
        out.send(child, &message);
        if let Some(page) = &request.list {
            let page = (**page).clone();
            self.take_off(instance_key, key, page);
        }
        self.hold(key, instance_key, original);
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        peer.in_flight += 1;
        let Some(instance) = self.instances.get_mut(instance_key) else { return };
        instance.in_flight += 1;
        let server = instance.server;
        self.keep_for_retry(key, server, is_crossed, original);
    }

    /// A request that no child of this era can be asked.
    fn refuse_request(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        let Some(mut request) = self.take(key) else { return };
        self.note_end(now, &mut request, tally::Outcome::Error, 0);
        let Origin::Peer { peer, link, id, .. } = &request.origin else { return };
        out.send(*link, &Message::new(&reply::error(id, reply::INVALID_PARAMS, why)));
        self.settle(now, *peer, out);
    }

    /// Takes a request out of every table it is in.
    pub(super) fn take(&mut self, key: Key) -> Option<Request> {
        // It is moved once, at the end: it is large.
        let request = self.requests.get_mut(key)?;
        if let Some(timer) = request.timer {
            self.timers.cancel(timer);
        }
        if let Some(gather) = request.call.as_ref().and_then(|call| call.gather) {
            self.timers.cancel(gather);
        }
        if let State::Asking(round) = &mut request.state
            && let Some(timer) = round.pause.take()
        {
            self.timers.cancel(timer);
        }
        let (instance, method) = (request.instance, request.method);
        match request.origin {
            Origin::Peer { peer: peer_key, position, .. } => {
                let (held, kept) = (Held::of(&request.state), request.kept_bytes());
                self.uncount(peer_key, instance, method, held);
                if kept > 0
                    && let Some(peer) = self.peers.get_mut(peer_key)
                {
                    peer.kept_bytes -= kept;
                }
                self.unlist(peer_key, position);
            }
            Origin::Suspended(_) => self.let_go(None, instance, method),
            Origin::Own(_) => {}
        }
        self.requests.remove(key)
    }

    /// Takes a request out of the list of its client.
    pub(super) fn unlist(&mut self, peer_key: Key, position: usize) {
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        peer.requests.swap_remove(position);
        // Those that ended while they waited are skipped at their turn, which may be far off.
        if peer.waiting.len() > 2 * peer.requests.len() + 64 {
            peer.waiting.retain(|key| self.requests.contains(*key));
        }
        if let Some(moved) = peer.requests.get(position).copied()
            && let Some(Origin::Peer { position: at, .. }) =
                self.requests.get_mut(moved).map(|r| &mut r.origin)
        {
            *at = position;
        }
    }

    /// Undoes what sending or keeping a request counted.
    pub(super) fn uncount(&mut self, peer_key: Key, instance: Key, method: Method, held: Held) {
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        match held {
            Held::Waiting(bytes) => peer.waiting_bytes -= bytes,
            Held::Sent { aged } => {
                peer.in_flight -= 1;
                peer.aged -= usize::from(aged);
                self.let_go(Some(peer_key), instance, method);
            }
            Held::Nothing => {}
        }
    }

    /// What follows when a client has one request less: its next one, others' turns, its end.
    pub(super) fn settle(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        self.end_served(now, peer_key, out);
        self.unpause_if_small(peer_key, out);
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        let instance_key = peer.instance;
        if let Some(instance) = instance_key.and_then(|key| self.instances.get_mut(key)) {
            instance.used = now;
            if !peer.waiting.is_empty() && !std::mem::replace(&mut peer.queued, true) {
                instance.queue.push_back(peer_key);
            }
        }
        self.close_if_finished(now, peer_key, out);
        if let Some(instance) = instance_key {
            self.dispatch(now, instance, out);
        }
    }

    /// Closes a client that has ended its side and got its last answer.
    pub(super) fn close_if_finished(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get(peer_key) else { return };
        let is_finished = peer.draining && peer.requests.is_empty() && peer.listens.is_empty();
        if is_finished && !self.has_suspended(peer_key) {
            let link = peer.link;
            self.drop_peer(now, peer_key, &CloseReason::Finished, out);
            out.close(link, CloseReason::Finished);
        }
    }

    /// Reads on from a client that was paused, once it is well below its limits.
    pub(super) fn unpause_if_small(&mut self, peer_key: Key, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get(peer_key) else { return };
        let small = peer.requests.len() <= REQUESTS_PER_CLIENT / 2
            && peer.waiting_bytes <= WAITING_BYTES_PER_CLIENT / 2;
        if peer.paused
            && (small || self.is_awaited(peer_key))
            && let Some(peer) = self.peers.get_mut(peer_key)
        {
            peer.paused = false;
            out.pause(peer.link, false);
        }
    }

    /// A client waits behind its own requests: those that the child has had for long make room.
    pub(super) fn on_aged(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        peer.aging = false;
        for key in &peer.requests {
            let Some(request) = self.requests.get_mut(*key) else { continue };
            if let State::Sent { since, aged: aged @ false } = &mut request.state
                && now.since(*since) >= AGED_MS
            {
                *aged = true;
                peer.aged += 1;
            }
        }
        if !peer.waiting.is_empty() {
            self.settle(now, peer_key, out);
        }
    }

    /// Gives waiting requests to a child in turns, as many as it takes.
    pub(super) fn dispatch(&mut self, now: Time, instance_key: Key, out: &mut dyn Sink) {
        match self.instances.get_mut(instance_key) {
            // A turn may end a client, whose end asks for a dispatch: the one under way will do.
            Some(instance) if !instance.dispatching => instance.dispatching = true,
            _ => return,
        }
        match self.instances.get(instance_key).and_then(|instance| instance.only) {
            Some(request) => self.release_only(now, instance_key, request, out),
            None => self.take_turns(now, instance_key, out),
        }
        if let Some(instance) = self.instances.get_mut(instance_key) {
            instance.dispatching = false;
        }
    }

    fn take_turns(&mut self, now: Time, instance_key: Key, out: &mut dyn Sink) {
        let mut idle_turns = 0;
        while let Some(instance) = self.instances.get_mut(instance_key) {
            let Some(link) = instance.open_link() else { return };
            if idle_turns >= instance.queue.len() || out.is_congested(link) {
                return;
            }
            let Some(peer_key) = instance.queue.pop_front() else { return };
            let turn = self.take_turn(now, instance_key, peer_key, out);
            let Some(instance) = self.instances.get_mut(instance_key) else { return };
            match turn {
                Turn::Left => continue,
                Turn::Served(_) => idle_turns = 0,
                Turn::Blocked => {
                    idle_turns += 1;
                    instance.contended |= instance.holder.is_some_and(|h| h != Holder::Peer(peer_key));
                }
            }
            instance.queue.push_back(peer_key);
            match turn {
                // Answered here, not sent: the client has one request less.
                Turn::Served(key) if !self.requests.contains(key) => self.settle(now, peer_key, out),
                _ => self.unpause_if_small(peer_key, out),
            }
        }
    }

    fn take_turn(&mut self, now: Time, instance_key: Key, peer_key: Key, out: &mut dyn Sink) -> Turn {
        let policy_max = self.policy_of(instance_key).map_or(0, |policy| policy.max_in_flight_per_client);
        let Some(peer) = self.peers.get_mut(peer_key) else { return Turn::Left };
        while peer.waiting.front().is_some_and(|key| !self.requests.contains(*key)) {
            peer.waiting.pop_front();
        }
        let Some(key) = peer.waiting.front().copied() else {
            peer.queued = false;
            return Turn::Left;
        };
        if !peer.has_room(policy_max) {
            // Comes back with its next answer, or when the child takes its time.
            peer.queued = false;
            if !std::mem::replace(&mut peer.aging, true) {
                self.timers.schedule(now + AGED_MS, Timer::Aged(peer_key));
            }
            return Turn::Left;
        }
        let Some(child) = self.can_send(instance_key, peer_key, key, out) else { return Turn::Blocked };
        self.peers.get_mut(peer_key).map(|peer| peer.waiting.pop_front());
        self.release(now, key, child, out);
        Turn::Served(key)
    }

    /// A kept request has its turn.
    pub(super) fn release(&mut self, now: Time, key: Key, child: Key, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        // One whose client is being asked something may have got a new process meanwhile.
        if !matches!(request.state, State::Waiting(_)) {
            return;
        }
        let State::Waiting(bytes) = std::mem::replace(&mut request.state, State::Joined) else { return };
        let (instance_key, method, era, since) =
            (request.instance, request.method, request.era, request.started);
        let Origin::Peer { peer: peer_key, link, .. } = request.origin else { return };
        if let Some(peer) = self.peers.get_mut(peer_key) {
            peer.waiting_bytes -= bytes.len();
        }
        let Ok(msg) = Incoming::scan(&bytes) else { return };
        let Some(instance) = self.instances.get(instance_key) else { return };
        // What muxloop knows may be stale by now: then the child is asked, in this same turn.
        let is_stale = method == Method::Discover
            && instance.hello.as_ref().is_none_or(|hello| now >= hello.fresh_until);
        if method.is_answered_here() && !is_stale {
            self.take(key);
            let asked = Asked { peer: peer_key, link, instance: instance_key, method, era, since, msg: &msg };
            return self.answer_here(now, asked, out);
        }
        if !matches!(method, Method::List(_)) || !self.spares_list(now, key, out) {
            self.send_request(now, key, child, &msg, out);
        }
    }
}

/// What came of a client's turn.
enum Turn {
    /// This request of it left the queue.
    Served(Key),
    /// It waits for something that is not its own.
    Blocked,
    /// It has nothing to send, or comes back by itself.
    Left,
}

/// How long a request is at the child until it no longer counts as one that others have to wait behind.
const AGED_MS: u64 = 500;
