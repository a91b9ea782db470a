//! A legacy client's request, for which a modern child wants to hear something of that client first
//! (protocol.md §4.3, P49).
//!
//! ```text
//!   client           muxloop                                  child
//!   call 7 ───────▶  call K1 ───────────────────────────────▶
//!                          ◀──── K1: input_required {a, b}, requestState
//!          ◀──── question R1   K2 is filed: not at the child, its clock stands still
//!          ◀──── question R2
//!   answers ──────▶  call K2 with inputResponses {a, b}, requestState ─▶
//!   7: result ◀──────────────────────────────────────────── K2: complete
//! ```
//!
//! That is a round; a request has some at most. The child keeps nothing of it, so its process may end in the
//! middle. A question stands in the table of children's questions like any other (`reverse`), but knows the
//! request it belongs to; it goes to that request's client and to nobody else.

use super::question::{Question, again};
use crate::base::limits::{KEPT_BYTES_PER_CLIENT, REVERSE_PER_CHILD};
use crate::base::{Key, ShortBytes, Time, TimerKey};
use crate::codec::{Incoming, Kind, Message, Value, json};
use crate::mux::bridge::edit::is_object;
use crate::mux::method::Method;
use crate::mux::peer::Reverse;
use crate::mux::policy::ServerPolicy;
use crate::mux::request::{Origin, Request, State};
use crate::mux::reverse::configured_roots;
use crate::mux::server::Era;
use crate::mux::{Mux, Sink, Timer, quote, reply};

/// What a child wants to hear, and what of it is there.
#[derive(Debug)]
pub(in crate::mux) struct Round {
    slots: Vec<Slot>,
    /// `requestState` as written.
    state: Option<Box<[u8]>>,
    /// The child is not asked again before that.
    pub pause: Option<TimerKey>,
}

/// An entry of `inputRequests`, in its order.
#[derive(Debug)]
struct Slot {
    /// Its key as written.
    key: Box<[u8]>,
    method: Method,
    /// The question to the client, while it is open.
    question: Option<Key>,
    answer: Option<Box<[u8]>>,
}

impl Round {
    /// Bytes that are kept of it.
    pub(in crate::mux) fn kept_bytes(&self) -> usize {
        let of_slot = |slot: &Slot| slot.key.len() + slot.answer.as_ref().map_or(0, |answer| answer.len());
        self.state.as_ref().map_or(0, |state| state.len()) + self.slots.iter().map(of_slot).sum::<usize>()
    }

    fn is_answered(&self) -> bool {
        self.slots.iter().all(|slot| slot.answer.is_some())
    }

    fn open(&self) -> impl Iterator<Item = Key> + '_ {
        self.slots.iter().filter_map(|slot| slot.question)
    }
}

impl Request {
    /// The round it is in.
    fn round(&self) -> Option<&Round> {
        match &self.state {
            State::Asking(round) => Some(round),
            _ => None,
        }
    }

    /// Whether its client owes it the answer to this question.
    pub(in crate::mux) fn is_asked(&self, question: Key) -> bool {
        self.round().is_some_and(|round| round.open().any(|open| open == question))
    }
}

/// Whether a 2026-07-28 server may want to hear something for such a request, and muxloop has to see to it.
pub(in crate::mux) fn may_ask(request: &Request) -> bool {
    request.era == Era::Legacy && request.peer().is_some() && request.method.may_ask_by_answer()
}

/// Whether so many bytes more may be kept of one client. One request always may.
pub(in crate::mux) fn has_room(kept: usize, more: usize, policy: &ServerPolicy) -> bool {
    kept == 0 || kept + more <= KEPT_BYTES_PER_CLIENT.max(4 * policy.max_request_bytes)
}

impl Mux {
    /// Whether an answer of a child is none yet, but wants to hear something of a client that does not know
    /// such answers.
    pub(in crate::mux) fn begins_round(&self, key: Key, msg: &Incoming<'_>) -> bool {
        let Some(kind) = msg.envelope.result_type else { return false };
        let Some(request) = self.requests.get(key) else { return false };
        let era = self.instances.get(request.instance).and_then(|instance| instance.era);
        era == Some(Era::Modern) && may_ask(request) && msg.text(kind) == b"\"input_required\""
    }

    /// Asks the client what the child wants to hear.
    pub(in crate::mux) fn begin_round(
        &mut self,
        now: Time,
        key: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(peer) = self.requests.get(key).and_then(Request::peer) else { return };
        match self.read_round(key, peer, msg) {
            Ok((round, questions)) => {
                let Some(key) = self.refile(now, key, round) else { return };
                for (number, question) in &questions {
                    self.ask_for(now, key, *number, question, out);
                }
                let is_state_only = self
                    .requests
                    .get(key)
                    .and_then(Request::round)
                    .is_some_and(|round| round.slots.is_empty());
                if is_state_only {
                    self.pause_round(now, key);
                } else {
                    self.ask_again_if_answered(now, key, out);
                }
                self.settle(now, peer, out);
            }
            Err(why) => self.fail_round(now, key, &why, out),
        }
    }

    /// The round that an answer begins, and what the client is to be asked for it, by slot.
    fn read_round(
        &mut self,
        key: Key,
        peer_key: Key,
        msg: &Incoming<'_>,
    ) -> Result<(Round, Vec<(usize, Question)>), String> {
        let member = |name| msg.envelope.result.and_then(|result| json::member(msg.bytes, result, name));
        let state = member("requestState").filter(|state| msg.text(*state) != b"null");
        if state.is_some_and(|state| !json::is_string(msg.text(state))) {
            return Err("its `requestState` is no string".into());
        }
        let inputs = member("inputRequests").filter(|inputs| msg.text(*inputs) != b"null");
        if inputs.is_some_and(|inputs| !is_object(msg.bytes, inputs)) {
            return Err("its `inputRequests` is no object".into());
        }
        let state = state.map(|state| msg.text(state).into());
        let mut round = Round { slots: Vec::new(), state, pause: None };
        let mut questions = Vec::new();
        for (name, at, entry) in inputs.into_iter().flat_map(|inputs| json::object_members(msg.bytes, inputs))
        {
            let number = round.slots.len();
            if number == INPUTS_MAX {
                return Err(format!("it asks more than {INPUTS_MAX} questions at once"));
            }
            let mut question = self
                .read_question(key, peer_key, msg.bytes, entry)
                .map_err(|why| format!("its question {} {why}", quote(name.as_bytes())))?;
            let key: Box<[u8]> = msg.text(at).into();
            if round.slots.iter().any(|slot| slot.key == key) {
                return Err(format!("it asks two questions {}", quote(name.as_bytes())));
            }
            let answer = question.answer.take();
            round.slots.push(Slot { key, method: question.method, question: None, answer });
            if round.slots[number].answer.is_none() {
                questions.push((number, question));
            }
        }
        self.check_round(key, peer_key, &round, questions.len())?;
        Ok((round, questions))
    }

    /// A question that this client can be asked, or that needs not be asked as its answer is known.
    fn read_question(
        &mut self,
        key: Key,
        peer_key: Key,
        bytes: &[u8],
        entry: crate::codec::Span,
    ) -> Result<Question, String> {
        let gone = || "comes too late";
        let version =
            self.requests.get(key).map(|request| self.version_of(peer_key, request)).ok_or_else(gone)?;
        let id = || u128::from(self.next_random()) << 64 | u128::from(self.next_random());
        let mut question = Question::read(bytes, entry, version, id)?;
        let peer = self.peers.get(peer_key).ok_or_else(gone)?;
        if question.method == Method::RootsList
            && let Some(roots) = configured_roots(&self.servers[peer.server].policy)
        {
            question.answer = Some(roots.into());
            return Ok(question);
        }
        if peer.draining {
            return Err("comes after the client said all it will say".into());
        }
        if !question.is_known_to(version) || !question.need.met_by_client(peer) {
            let name = version.name();
            return Err(format!(
                "is for a client that {}, which this one ({name}) is not",
                question.need.refusal()
            ));
        }
        Ok(question)
    }

    /// Whether one more round, with so many questions to the client, is within all bounds.
    fn check_round(&self, key: Key, peer: Key, round: &Round, questions: usize) -> Result<(), String> {
        let gone = || "it comes too late";
        let request = self.requests.get(key).ok_or_else(gone)?;
        let instance = self.instances.get(request.instance).ok_or_else(gone)?;
        let peer = self.peers.get(peer).ok_or_else(gone)?;
        if round.slots.is_empty() && round.state.is_none() {
            return Err("it has neither questions nor a `requestState`".into());
        }
        if request.rounds >= ROUNDS_MAX {
            return Err(format!("it is its answer for more than {ROUNDS_MAX} times in a row"));
        }
        let policy = &self.servers[instance.server].policy;
        if request.again.is_none() || !has_room(peer.kept_bytes, round.kept_bytes(), policy) {
            return Err("more would have to be kept of this client's requests than is allowed".into());
        }
        if instance.reverse + questions > REVERSE_PER_CHILD || self.reverse.is_full() {
            return Err(format!("more than {REVERSE_PER_CHILD} questions to clients are open"));
        }
        Ok(())
    }

    /// Files a request under the key that it will have at the child next time, as one that is not there.
    fn refile(&mut self, now: Time, key: Key, round: Round) -> Option<Key> {
        let mut request = self.take(key)?;
        request.rounds += 1;
        request.pauses = if round.slots.is_empty() { request.pauses.saturating_add(1) } else { 0 };
        request.state = State::Asking(Box::new(round));
        let kept = request.kept_bytes();
        let Origin::Peer { peer, position, .. } = &mut request.origin else { return None };
        let peer = self.peers.get_mut(*peer)?;
        *position = peer.requests.len();
        peer.kept_bytes += kept;
        let instance = request.instance;
        let new = self.requests.insert(request);
        peer.requests.push(new);
        if let Some(instance) = self.instances.get_mut(instance).filter(|instance| instance.only == Some(key))
        {
            instance.only = Some(new);
        }
        self.wind(now, new);
        Some(new)
    }

    /// Gives a request the time of a new one, within its absolute maximum.
    fn wind(&mut self, now: Time, key: Key) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let Some(instance) = self.instances.get(request.instance) else { return };
        let policy = &self.servers[instance.server].policy;
        let latest = request.started + policy.request_timeout_max_ms;
        request.deadline = (now + policy.request_timeout_ms).min(latest).max(request.deadline);
        if let Some(timer) = request.timer.take() {
            self.timers.cancel(timer);
        }
        request.timer = Some(self.timers.schedule(request.deadline, Timer::Request(key)));
    }

    /// Asks the client one question of a round.
    fn ask_for(&mut self, now: Time, call: Key, number: usize, question: &Question, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(call) else { return };
        let (Some(peer_key), State::Asking(round)) = (request.peer(), &mut request.state) else { return };
        let Some(instance) = self.instances.get_mut(request.instance) else { return };
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        let Ok(msg) = Incoming::scan(&question.text) else { return };
        let policy = &self.servers[instance.server].policy;
        // What comes of silence must still reach the child in time.
        let latest = request.started + policy.request_timeout_max_ms;
        let until = Time(latest.0.saturating_sub(policy.request_timeout_ms));
        let until = until.max(now + policy.request_timeout_ms).min(latest);
        let key = self.reverse.next_key();
        self.reverse.insert(Reverse {
            instance: request.instance,
            peer: peer_key,
            id: ShortBytes::new(b""),
            token: None,
            timer: self.timers.schedule(until, Timer::Reverse(key)),
            call: Some((call, number)),
        });
        round.slots[number].question = Some(key);
        instance.reverse += 1;
        peer.reverse.push(key);
        let mut message = Message::new(msg.bytes);
        if let Some(id) = msg.envelope.id {
            message.replace(id, Value::Integer(key.as_u64()));
        }
        if let Origin::Peer { id, .. } = &request.origin {
            out.send_about(peer.link, &message, id);
        }
    }

    /// The child has no question: it is asked again after a pause, longer each time.
    fn pause_round(&mut self, now: Time, key: Key) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let State::Asking(round) = &mut request.state else { return };
        let doubled = PAUSE_MS << request.pauses.saturating_sub(1).min(16);
        round.pause = Some(self.timers.schedule(now + doubled.min(PAUSE_MAX_MS), Timer::Round(key)));
    }

    pub(in crate::mux) fn on_pause_over(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let State::Asking(round) = &mut request.state else { return };
        round.pause = None;
        self.ask_again_if_answered(now, key, out);
    }

    /// A client's answer to a question of a round, which is no longer open. A refused elicitation is an answer
    /// too; for any other refusal there is no place in `inputResponses`.
    pub(in crate::mux) fn on_round_answer(
        &mut self,
        now: Time,
        call: Key,
        number: usize,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let result = msg.envelope.result.filter(|result| is_object(msg.bytes, *result));
        match (result, msg.envelope.error) {
            (Some(result), _) if msg.envelope.kind == Kind::Response => {
                self.fill(now, call, number, msg.text(result), out);
            }
            (_, Some(error)) => {
                let said =
                    json::member(msg.bytes, error, "message").and_then(|m| json::unescape(msg.text(m)));
                let said = said.unwrap_or_default();
                self.without_answer(
                    now,
                    call,
                    number,
                    &format!("it refused: {}", quote(said.as_bytes())),
                    out,
                );
            }
            _ => self.without_answer(now, call, number, "its result is no object", out),
        }
    }

    /// A question of a round, which is no longer open, will not be answered.
    pub(in crate::mux) fn without_answer(
        &mut self,
        now: Time,
        call: Key,
        number: usize,
        why: &str,
        out: &mut dyn Sink,
    ) {
        let slot = self.requests.get(call).and_then(Request::round).and_then(|round| round.slots.get(number));
        let Some((method, key)) = slot.map(|slot| (slot.method, quote(&slot.key))) else { return };
        if method == Method::Elicit {
            return self.fill(now, call, number, b"{\"action\":\"cancel\"}", out);
        }
        let name = if method == Method::Sampling { "sampling/createMessage" } else { "roots/list" };
        self.fail_round(
            now,
            call,
            &format!("the client did not answer its question {key} ({name}): {why}"),
            out,
        );
    }

    fn fill(&mut self, now: Time, call: Key, number: usize, answer: &[u8], out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(call) else { return };
        let Some(peer) = request.peer().and_then(|peer| self.peers.get_mut(peer)) else { return };
        let State::Asking(round) = &mut request.state else { return };
        let Some(slot) = round.slots.get_mut(number) else { return };
        slot.question = None;
        if !has_room(peer.kept_bytes, answer.len(), &self.servers[peer.server].policy) {
            let why = "the answers are longer than what is kept of one client's requests";
            return self.fail_round(now, call, why, out);
        }
        peer.kept_bytes += answer.len();
        slot.answer = Some(answer.into());
        self.ask_again_if_answered(now, call, out);
    }

    /// Asks the child again once everything is there that it wants to hear.
    fn ask_again_if_answered(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let (State::Asking(round), Some(call)) = (&request.state, &request.again) else { return };
        if !round.is_answered() {
            return;
        }
        let answers = round.slots.iter().filter_map(|slot| Some((&slot.key[..], slot.answer.as_deref()?)));
        let text = again(call, answers, round.state.as_deref());
        if let Err(error) = Incoming::scan(&text) {
            return self.fail_round(now, key, &format!("the answers cannot be told: {error}"), out);
        }
        let Some(peer_key) = request.peer() else { return };
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        peer.kept_bytes -= request.kept_bytes();
        peer.waiting_bytes += text.len();
        request.again = None;
        request.state = State::Waiting(text.into());
        let instance = request.instance;
        let is_only = self.instances.get(instance).is_some_and(|instance| instance.only.is_some());
        if !is_only {
            // It came before all that waits.
            peer.waiting.push_front(key);
        }
        self.wind(now, key);
        if let Some(failure) = self.need(now, instance, out) {
            return self.fail_request(now, instance, key, &failure, out);
        }
        if is_only {
            self.dispatch(now, instance, out);
        }
        self.settle(now, peer_key, out);
        self.pause_if_full(peer_key, out);
    }

    fn fail_round(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        let Some(instance) = self.requests.get(key).map(|request| request.instance) else { return };
        let text = format!("server '{}' asked for input of the client: {why}", self.name_of(instance));
        log::info!(target: &self.target_of(instance), "a request failed: {text}");
        self.fail_request(now, instance, key, &reply::Failure::new("input_required", text), out);
    }

    /// Why a request cannot be sent, as it is in a round that began with a process of another era.
    pub(in crate::mux) fn lost_its_round(&self, key: Key) -> Option<reply::Failure> {
        let request = self.requests.get(key).filter(|request| request.rounds > 0)?;
        let instance = self.instances.get(request.instance)?;
        (instance.era != Some(Era::Modern)).then(|| {
            let name = self.name_of(request.instance);
            let text = format!("server '{name}' speaks another version of MCP than when it asked for input");
            reply::Failure::new("era", text)
        })
    }

    /// A request that was taken out of the tables takes its questions with it. Gives those that were open.
    pub(in crate::mux) fn forget_questions(&mut self, request: &Request) -> Vec<Key> {
        let open: Vec<Key> = request.round().map(|round| round.open().collect()).unwrap_or_default();
        open.into_iter().filter(|question| self.take_reverse(*question).is_some()).collect()
    }

    /// The same, and the client is told so.
    pub(in crate::mux) fn withdraw_questions(&mut self, request: &Request, why: &str, out: &mut dyn Sink) {
        let open = self.forget_questions(request);
        let Some(peer) = request.peer().and_then(|peer| self.peers.get(peer)) else { return };
        for question in open {
            out.send(peer.link, &Message::new(&reply::cancelled(question.as_u64(), why)));
        }
    }
}

/// Most entries of `inputRequests`.
const INPUTS_MAX: usize = 16;
/// Most rounds of one request (protocol.md §4.3).
const ROUNDS_MAX: u8 = 16;
/// The first pause before a child is asked again that has no question; doubled each time …
const PAUSE_MS: u64 = 100;
/// … up to this.
const PAUSE_MAX_MS: u64 = 5_000;
