//! Calls of 2026-07-28 clients that a legacy child has interrupted with a question (protocol.md §4.2, P48).
//!
//! ```text
//! client           muxloop                          child
//!   │── call ────────▶│── call (key) ────────────────▶│
//!   │                 │◀───────────── question ───────│   questions are gathered for a moment
//!   │◀ input_required │                               │   the call stays open at the child, which it has
//!   │   requestState  │   suspended                   │   alone: whatever that asks, it asks because of it
//!   │── call, answers ▶── answer ───────────────────▶ │
//!   │◀── result ──────│◀────────── result (key) ──────│
//! ```
//!
//! The state that a client is given is the place of the call in this table and 128 bits from the system's
//! random source. It is good for one request: of the same client, for the same thing, in time. A call that
//! ends while its client is away leaves its answer here until it is fetched or too old.

mod ends;

use super::inputs::{self, Question};
use crate::base::limits::{
    KEPT_ANSWER_MAX, KEPT_ANSWERS_IN_ALL, QUESTION_BYTES_PER_CALL, QUESTIONS_PER_CALL, SUSPENDED_IN_ALL,
    SUSPENDED_PER_SERVER,
};
use crate::base::{Arena, Key, ShortBytes, Time, TimerKey};
use crate::codec::{Incoming, Kind, Message, Span, Value, json};
use crate::mux::method::{Level, Method};
use crate::mux::operate::Asker;
use crate::mux::peer::Capabilities;
use crate::mux::request::{Origin, State};
use crate::mux::reverse::Need;
use crate::mux::server::{Era, Holder, Then};
use crate::mux::sink::ServerId;
use crate::mux::tally::{self, Outcome};
use crate::mux::{Mux, Sink, Timer, reply};
use std::hash::RandomState;

/// What a child has asked because of the one request that it is at work for.
#[derive(Debug)]
pub(in crate::mux) struct Call {
    /// What the request asks for, as a number (see [`Table::binding`]).
    binding: u128,
    /// Not answered yet, in the order they came.
    questions: Vec<Question>,
    /// How many there were.
    count: u64,
    /// Set while more are gathered, and its client is there to be told.
    pub gather: Option<TimerKey>,
    /// Until when its client may stay away; set anew only if that answers something.
    until: Option<Time>,
}

impl Call {
    pub(in crate::mux) fn new(binding: u128) -> Call {
        Call { binding, questions: Vec::new(), count: 0, gather: None, until: None }
    }
}

/// A call whose client was told to ask again.
#[derive(Debug)]
struct Suspended {
    secret: u128,
    server: ServerId,
    principal: Principal,
    method: Method,
    binding: u128,
    stage: Stage,
    timer: TimerKey,
}

#[derive(Debug)]
enum Stage {
    /// Open at the child, as this request.
    Open(Key),
    /// Its answer, under some id.
    Ended(Box<[u8]>),
}

/// Who may go on with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Principal {
    Client(Key),
    /// Whoever may send requests that stand for themselves: nothing tells one from another.
    Guests,
}

/// Suspended calls of all servers.
#[derive(Debug, Default)]
pub(in crate::mux) struct Table {
    calls: Arena<Suspended>,
    /// Bytes of kept answers.
    kept: usize,
    /// Bits for secrets, each for one.
    random: Vec<u128>,
    /// Whether some will be needed.
    thirsty: bool,
    /// They only tell equal from unequal, so nothing that is done depends on which they are.
    keys: [RandomState; 2],
}

impl Table {
    pub(in crate::mux) fn len(&self) -> usize {
        self.calls.len()
    }

    /// What a request asks for, as a number (see `inputs::binding`).
    pub(in crate::mux) fn binding(&self, msg: &Incoming<'_>) -> u128 {
        let [high, low] = self.keys.each_ref().map(|keys| u128::from(inputs::binding(msg, keys)));
        high << 64 | low
    }

    fn has_room(&self, server: ServerId) -> bool {
        let of_server = self.calls.iter().filter(|(_, call)| call.server == server).count();
        of_server < SUSPENDED_PER_SERVER && self.calls.len() < SUSPENDED_IN_ALL
    }

    /// The call that a client's state stands for.
    fn find(&self, state: &[u8], server: ServerId, principal: Principal) -> Option<Key> {
        let state = json::unescape(state)?;
        let (key, secret) = state.strip_prefix(PREFIX)?.split_once('.')?;
        let key = Key::from_u64(u64::from_str_radix(key, 16).ok()?)?;
        let secret = u128::from_str_radix(secret, 16).ok()?;
        let call = self.calls.get(key)?;
        // The one comparison takes the same time for any two secrets.
        let known = std::hint::black_box(call.secret ^ secret) == 0;
        (known && call.server == server && call.principal == principal).then_some(key)
    }

    fn remove(&mut self, key: Key) -> Option<Suspended> {
        let call = self.calls.remove(key)?;
        if let Stage::Ended(answer) = &call.stage {
            self.kept -= answer.len();
        }
        Some(call)
    }

    fn keys_where(&self, which: impl Fn(&Suspended) -> bool) -> Vec<Key> {
        self.calls.iter().filter(|(_, call)| which(call)).map(|(key, _)| key).collect()
    }
}

/// Asking.
impl Mux {
    /// Whether the request that has a child alone can be asked something of that method; `None`: its client
    /// cannot, otherwise the error for the child.
    pub(in crate::mux) fn may_ask_call(
        &self,
        key: Key,
        method: Method,
        need: Need,
        len: usize,
    ) -> Result<(), Option<(i32, String)>> {
        let request = self.requests.get(key).ok_or(None)?;
        if !matches!(method, Method::Sampling | Method::Elicit | Method::RootsList) {
            return Err(Some((reply::METHOD_NOT_FOUND, "no client can be asked that".into())));
        }
        let can_be_told = request.method.may_ask_by_answer()
            && request.peer().and_then(|peer| self.peers.get(peer)).is_none_or(|peer| !peer.draining);
        if !can_be_told || !need.met_by(request.capabilities) {
            return Err(None);
        }
        let open = request.call.as_ref().map_or(&[][..], |call| &call.questions);
        let bytes: usize = open.iter().map(|question| question.params.len()).sum();
        if open.len() >= QUESTIONS_PER_CALL || bytes + len > QUESTION_BYTES_PER_CALL {
            let why = format!("more than {QUESTIONS_PER_CALL} unanswered questions, or too long ones");
            return Err(Some((reply::INTERNAL, why)));
        }
        Ok(())
    }

    /// The child asks something because of a request; it may ask more at once.
    pub(in crate::mux) fn ask_call(&mut self, now: Time, key: Key, method: Method, msg: &Incoming<'_>) {
        let Some(request) = self.requests.get_mut(key) else { return };
        // It cannot be made again unnoticed any more.
        let kept = request.again.take().map_or(0, |again| again.len());
        if let Some(peer) = request.peer().and_then(|peer| self.peers.get_mut(peer)) {
            peer.kept_bytes -= kept;
        }
        let Some(call) = &mut request.call else { return };
        call.count += 1;
        call.questions.push(Question::read(format!("q{}", call.count), method, msg));
        let is_there = matches!(request.origin, Origin::Peer { .. });
        if is_there && call.gather.is_none() {
            call.gather = Some(self.timers.schedule(now + GATHER_MS, Timer::Gather(key)));
            self.suspended.thirsty = true;
        }
    }

    /// A question of the child's was refused: kept in mind if it was asked because of one request, whose client
    /// cannot be asked that.
    pub(in crate::mux) fn note_refused(&mut self, instance: Key, method: Method, msg: &Incoming<'_>) {
        let is_question = matches!(method, Method::Sampling | Method::Elicit | Method::RootsList);
        if !is_question || msg.envelope.meta_related_task.is_some() {
            return;
        }
        let about = match self.instances.get(instance).and_then(|i| i.holder) {
            Some(Holder::Call(key)) => Some(key),
            Some(Holder::Peer(_)) => {
                let mut held = self.requests.iter().filter(|(_, request)| {
                    request.instance == instance && request.is_sent() && request.method.is_interactive()
                });
                held.next().map(|(key, _)| key).filter(|_| held.next().is_none())
            }
            None => None,
        };
        let need = Need::of(method, msg);
        if let Some(request) = about.and_then(|key| self.requests.get_mut(key))
            && request.era == Era::Modern
            && !need.met_by(request.capabilities)
        {
            request.lacks = Some(need);
        }
    }

    /// Its questions are together: its client is told, unless it is too late for that.
    pub(in crate::mux) fn on_gathered(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let (instance, Origin::Peer { peer, .. }) = (request.instance, &request.origin) else { return };
        let Some(call) = &mut request.call else { return };
        call.gather = None;
        if call.questions.is_empty() {
            return;
        }
        let Some(peer) = self.peers.get(*peer) else { return };
        if peer.draining || !self.suspended.has_room(peer.server) {
            let questions = std::mem::take(&mut call.questions);
            log::warn!(target: &self.target_of(instance), "its questions were refused: its client leaves, or too many calls are suspended");
            return self.tell_withdrawn(instance, &questions, out);
        }
        let Some(secret) = self.suspended.random.pop() else {
            call.gather = Some(self.timers.schedule(now + 1, Timer::Gather(key)));
            return self.suspended.thirsty = true;
        };
        self.suspended.thirsty = false;
        self.suspend(now, key, secret, out);
    }

    fn suspend(&mut self, now: Time, key: Key, secret: u128, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let Some(instance) = self.instances.get(request.instance) else { return };
        let Origin::Peer { peer: peer_key, link, id, position } = &request.origin else { return };
        let (peer_key, link, position, server) = (*peer_key, *link, *position, instance.server);
        let Some(call) = &mut request.call else { return };
        let binding = call.binding;
        let place = self.suspended.calls.next_key();
        let info = instance.hello.as_ref().map_or(&b"{}"[..], |hello| &hello.server_info);
        let state = format!("{PREFIX}{:x}.{secret:032x}", place.as_u64());
        let text = inputs::input_required(id, &call.questions, &state, info);
        out.send(link, &Message::new(&text));
        call.questions.iter_mut().for_each(|question| question.shown = true);
        let policy = &self.servers[server].policy;
        let patience = policy.answer_timeout_ms.min(policy.request_timeout_max_ms);
        let until = *call.until.get_or_insert(now + patience);
        let (method, name, since) = (request.method, request.name.clone(), request.started);
        let (bytes, arguments) = (request.bytes, request.arguments.take());
        request.origin = Origin::Suspended(place);
        let state = std::mem::replace(&mut request.state, State::Sent { since: now, aged: false });
        if let Some(timer) = request.timer.take() {
            self.timers.cancel(timer);
        }
        self.unlist(peer_key, position);
        if let (Some(peer), State::Sent { aged, .. }) = (self.peers.get_mut(peer_key), state) {
            peer.in_flight -= 1;
            peer.aged -= usize::from(aged);
        }
        let timer = self.timers.schedule(until.max(now + 1), Timer::Suspended(place));
        let (principal, stage) = (self.principal_of(peer_key), Stage::Open(key));
        self.suspended.calls.insert(Suspended { secret, server, principal, method, binding, stage, timer });
        self.counters.answers += 1;
        let asker = Asker { peer: peer_key, method, name, since };
        self.note_ended(now, asker, bytes, arguments, Outcome::Ok, text.len());
        self.settle(now, peer_key, out);
    }

    fn principal_of(&self, peer: Key) -> Principal {
        let Some(found) = self.peers.get(peer).filter(|peer| peer.guest) else {
            return Principal::Client(peer);
        };
        found.sponsor.map_or(Principal::Guests, Principal::Client)
    }

    /// The child takes back what it asked.
    pub(in crate::mux) fn take_back_question(&mut self, instance: Key, id: &[u8]) {
        if let Some(Holder::Call(call)) = self.instances.get(instance).and_then(|i| i.holder)
            && let Some(call) = self.requests.get_mut(call).and_then(|request| request.call.as_mut())
        {
            call.questions.retain(|question| *question.id != *id);
        }
    }
}

/// Going on.
impl Mux {
    /// A 2026-07-28 request that goes on with a suspended call, or says it does. Whether that is all there is
    /// to do with it.
    pub(in crate::mux) fn resume(
        &mut self,
        now: Time,
        peer_key: Key,
        link: Key,
        method: Method,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) -> bool {
        let Some(peer) = self.peers.get(peer_key) else { return false };
        let (server, guest, mut instance) = (peer.server, peer.guest, peer.instance);
        if instance.is_none() && guest {
            instance = self.instance_of_guest(now, peer_key, false);
        }
        let is_legacy =
            instance.and_then(|key| self.instances.get(key)).is_some_and(|i| i.era == Some(Era::Legacy));
        // What a modern child makes of its own states is its own business, and not looked at.
        let may_be_ours = is_legacy || self.suspended.calls.iter().any(|(_, call)| call.server == server);
        if !may_be_ours || !method.may_ask_by_answer() {
            return false;
        }
        let Some(state) = inputs::state_of(msg) else { return false };
        let call = self.suspended.find(msg.text(state), server, self.principal_of(peer_key));
        let found = call.and_then(|key| Some((key, self.suspended.calls.get(key)?)));
        let Some((key, call)) = found else {
            if is_legacy {
                refuse(link, msg, UNKNOWN, out);
            }
            return is_legacy;
        };
        if call.method != method || call.binding != self.suspended.binding(msg) {
            let why = "`requestState` belongs to another request: method, name and arguments must stay as they were";
            refuse(link, msg, why, out);
        } else if let Stage::Open(request) = call.stage {
            match self.answers_in(request, msg) {
                Ok(answers) => self.go_on(now, key, request, peer_key, link, msg, answers, out),
                Err(why) => refuse(link, msg, &why, out),
            }
        } else {
            self.give_kept(now, key, peer_key, link, method, msg, out);
        }
        true
    }

    /// The answers to the questions that a request's client was told of, by their place; some may be missing.
    fn answers_in(&self, request: Key, msg: &Incoming<'_>) -> Result<Vec<(usize, Span)>, String> {
        let call = self.requests.get(request).and_then(|request| request.call.as_ref());
        let Some(responses) = inputs::responses_of(msg)? else { return Ok(Vec::new()) };
        let mut answers = Vec::new();
        for (at, question) in call.map_or(&[][..], |call| &call.questions).iter().enumerate() {
            let answer = json::member(msg.bytes, responses, &question.key).filter(|_| question.shown);
            if let Some(answer) = answer {
                question.check(msg.text(answer))?;
                answers.push((at, answer));
            }
        }
        Ok(answers)
    }

    /// A suspended call is this request's from now on, and the child gets its answers. What is missing, and
    /// what the child asked meanwhile, is asked next.
    #[allow(clippy::too_many_arguments)]
    fn go_on(
        &mut self,
        now: Time,
        place: Key,
        key: Key,
        peer_key: Key,
        link: Key,
        msg: &Incoming<'_>,
        answers: Vec<(usize, Span)>,
        out: &mut dyn Sink,
    ) {
        let Some(call) = self.suspended.remove(place) else { return };
        self.timers.cancel(call.timer);
        if let Some(unused) = self.rebind(now, key, peer_key, link, msg) {
            self.stop(now, unused, Then::Remove, out);
        }
        self.cross_level(now, key, out);
        let Some(request) = self.requests.get_mut(key) else { return };
        let child = self.instances.get(request.instance).and_then(|instance| instance.open_link());
        let Some(call) = &mut request.call else { return };
        if !answers.is_empty() {
            call.until = None;
        }
        for (at, answer) in &answers {
            let text = reply::result(&call.questions[*at].id, msg.text(*answer));
            if let Some(child) = child {
                out.send(child, &Message::new(&text));
            }
        }
        for (at, _) in answers.into_iter().rev() {
            call.questions.remove(at);
        }
        // Each request says anew what its client can be asked.
        let capabilities = request.capabilities;
        for question in call.questions.extract_if(.., |question| !question.need.met_by(capabilities)) {
            if let Some(child) = child {
                out.send(child, &Message::new(&question.refused()));
            }
            request.lacks = Some(question.need);
        }
        if !call.questions.is_empty() {
            call.gather = Some(self.timers.schedule(now + GATHER_MS, Timer::Gather(key)));
            self.suspended.thirsty = true;
        }
    }

    /// Puts an open call into the name of another request. Gives the process that its client had so far, if it
    /// has that of the call instead.
    fn rebind(&mut self, now: Time, key: Key, peer_key: Key, link: Key, msg: &Incoming<'_>) -> Option<Key> {
        let env = &msg.envelope;
        let owner = self.requests.get(key).and_then(|r| self.instances.get(r.instance)).and_then(|i| i.owner);
        let is_owned = owner.is_some_and(|owner| self.peers.contains(owner));
        let (Some(request), Some(peer)) = (self.requests.get_mut(key), self.peers.get_mut(peer_key)) else {
            return None;
        };
        let mut unused = None;
        let server = &mut self.servers[peer.server];
        let short = |span: Span| ShortBytes::new(msg.text(span));
        let id = env.id.map_or(ShortBytes::new(b"null"), short);
        request.origin = Origin::Peer { peer: peer_key, link, id, position: peer.requests.len() };
        request.state = State::Sent { since: now, aged: false };
        request.name = tally::name_of(request.method, msg);
        request.bytes = msg.bytes.len() as u32;
        request.arguments = if self.audit.wanted == Some(true) { tally::arguments_of(msg) } else { None };
        request.token = env.meta_token.map(short);
        request.capabilities = env
            .meta_client_capabilities
            .map_or_else(Capabilities::default, |at| Capabilities::parse(msg.text(at)));
        request.log_level = env.meta_log_level.and_then(|span| Level::parse(msg.text(span)));
        request.started = now;
        request.deadline = now + server.policy.request_timeout_ms;
        request.timer = Some(self.timers.schedule(request.deadline, Timer::Request(key)));
        peer.requests.push(key);
        peer.in_flight += 1;
        // A process of one request goes on for whoever came with the answer.
        match self.instances.get_mut(request.instance) {
            Some(instance) if instance.only.is_some() => {
                instance.owner = Some(peer_key);
                if !peer.alone.contains(&request.instance) {
                    peer.alone.push(request.instance);
                }
            }
            // That of a connection which is there has it still.
            Some(instance) if instance.owner.is_some() && !is_owned => {
                instance.owner = Some(peer_key);
                unused = peer.instance.replace(request.instance).filter(|old| *old != request.instance);
            }
            Some(instance) if instance.owner.is_some() => {}
            _ => _ = peer.instance.get_or_insert(request.instance),
        }
        server.tally.requests += 1;
        self.counters.requests += 1;
        unused
    }

    /// The call has ended meanwhile: its answer is told.
    #[allow(clippy::too_many_arguments)]
    fn give_kept(
        &mut self,
        now: Time,
        place: Key,
        peer_key: Key,
        link: Key,
        method: Method,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(call) = self.suspended.remove(place) else { return };
        self.timers.cancel(call.timer);
        let Stage::Ended(answer) = call.stage else { return };
        let (Ok(told), Some(id)) = (Incoming::scan(&answer), msg.envelope.id) else { return };
        let mut message = Message::new(told.bytes);
        if let Some(at) = told.envelope.id {
            message.replace(at, Value::Raw(msg.text(id)));
        }
        out.send(link, &message);
        self.servers[call.server].tally.requests += 1;
        self.counters.requests += 1;
        self.counters.answers += 1;
        let outcome = if told.envelope.kind == Kind::Error { Outcome::Error } else { Outcome::Ok };
        let asker = Asker { peer: peer_key, method, name: tally::name_of(method, msg), since: now };
        let arguments = if self.audit.wanted == Some(true) { tally::arguments_of(msg) } else { None };
        self.note_ended(now, asker, msg.bytes.len() as u32, arguments, outcome, answer.len());
        self.settle(now, peer_key, out);
    }

    /// A call has ended while its client is away: with this answer, under any id.
    pub(in crate::mux) fn keep_answer(&mut self, place: Key, answer: Vec<u8>) {
        let table = &mut self.suspended;
        let Some(call) = table.calls.get_mut(place) else { return };
        let fits = answer.len() <= KEPT_ANSWER_MAX && table.kept + answer.len() <= KEPT_ANSWERS_IN_ALL;
        let answer = if fits {
            answer
        } else {
            let why =
                "the server's answer came while nobody was there to get it, and is too large to be kept";
            reply::Failure::new("too_large", why).answer(b"0")
        };
        table.kept += answer.len();
        call.stage = Stage::Ended(answer.into());
    }
}

fn refuse(link: Key, msg: &Incoming<'_>, why: &str, out: &mut dyn Sink) {
    let id = msg.envelope.id.map_or(&b"null"[..], |id| msg.text(id));
    out.send(link, &Message::new(&reply::error(id, reply::INVALID_PARAMS, why)));
}

/// What a client is told whose state means nothing here. That it may be another's is not said.
pub(super) const UNKNOWN: &str =
    "`requestState` is unknown, was used before or has expired; make the call again without it";
/// With what the states begin that muxloop makes.
const PREFIX: &str = "muxloop.";
/// How long more questions are waited for (protocol.md §4.2).
const GATHER_MS: u64 = 25;
