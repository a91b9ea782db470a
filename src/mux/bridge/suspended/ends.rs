//! How suspended calls end other than by their client's coming again.

use super::{Principal, Stage, Suspended};
use crate::base::{Key, Time};
use crate::codec::Message;
use crate::mux::bridge::inputs::Question;
use crate::mux::request::{Origin, Request};
use crate::mux::server::Holder;
use crate::mux::sink::ServerId;
use crate::mux::{Mux, Sink};

impl Mux {
    /// Nobody will answer what a child asked because of a request that ends.
    pub(in crate::mux) fn refuse_questions(&self, request: &mut Request, out: &mut dyn Sink) {
        if let Some(call) = &mut request.call {
            self.tell_withdrawn(request.instance, &std::mem::take(&mut call.questions), out);
        }
    }

    /// The same, of a client's requests that do not end: it cannot come again.
    pub(in crate::mux) fn refuse_questions_of(&mut self, peer: Key, out: &mut dyn Sink) {
        let requests = self.peers.get(peer).map(|peer| peer.requests.clone()).unwrap_or_default();
        for key in requests {
            let Some(request) = self.requests.get_mut(key) else { continue };
            let Some(call) = &mut request.call else { continue };
            let (instance, questions) = (request.instance, std::mem::take(&mut call.questions));
            self.tell_withdrawn(instance, &questions, out);
        }
    }

    pub(super) fn tell_withdrawn(&self, instance: Key, questions: &[Question], out: &mut dyn Sink) {
        let Some(link) = self.instances.get(instance).and_then(|i| i.open_link()) else { return };
        for question in questions {
            out.send(link, &Message::new(&question.withdrawn()));
        }
    }

    /// The client of a suspended call did not come again in time.
    pub(in crate::mux) fn on_suspended_expired(&mut self, now: Time, place: Key, out: &mut dyn Sink) {
        let Some(call) = self.suspended.calls.get(place) else { return };
        let principal = call.principal;
        log::info!(target: &self.target(call.server), "a suspended {} was given up: its client did not come again", call.method.text());
        self.abandon(now, place, "the client did not come again", out);
        if let Principal::Client(peer) = principal {
            self.settle(now, peer, out);
        }
    }

    /// A client is gone, or says nothing more.
    pub(in crate::mux) fn abandon_calls_of(&mut self, now: Time, peer: Key, out: &mut dyn Sink) {
        for place in self.suspended.keys_where(|call| call.principal == Principal::Client(peer)) {
            self.abandon(now, place, "the client disconnected", out);
        }
    }

    /// These servers take no more requests that stand for themselves.
    pub(in crate::mux) fn abandon_calls_of_guests(
        &mut self,
        now: Time,
        whose: &impl Fn(ServerId) -> bool,
        out: &mut dyn Sink,
    ) {
        let is_lost = |call: &Suspended| call.principal == Principal::Guests && whose(call.server);
        for place in self.suspended.keys_where(is_lost) {
            self.abandon(now, place, "no more clients are served", out);
        }
    }

    /// Ends a suspended call at the child.
    fn abandon(&mut self, now: Time, place: Key, why: &str, out: &mut dyn Sink) {
        let Some(call) = self.suspended.remove(place) else { return };
        self.timers.cancel(call.timer);
        let Stage::Open(key) = call.stage else { return };
        let Some(mut request) = self.take(key) else { return };
        self.counters.cancelled += 1;
        self.call_off(now, key, &mut request, why, out);
        self.end_if_served(now, request.instance, out);
        self.dispatch(now, request.instance, out);
    }

    /// All is over: nothing is kept for anybody.
    pub(in crate::mux) fn forget_suspended(&mut self) {
        self.forget_where(|_| true);
    }

    pub(in crate::mux) fn forget_suspended_of(&mut self, server: ServerId) {
        self.forget_where(|call| call.server == server);
    }

    fn forget_where(&mut self, which: impl Fn(&Suspended) -> bool) {
        for place in self.suspended.keys_where(which) {
            if let Some(call) = self.suspended.remove(place) {
                self.timers.cancel(call.timer);
            }
        }
    }

    /// Whether a client may still come again with a call.
    pub(in crate::mux) fn has_suspended(&self, peer: Key) -> bool {
        let Some(server) = self.peers.get(peer).map(|peer| peer.server) else { return false };
        let is_own = |call: &Suspended| call.server == server && call.principal == Principal::Client(peer);
        self.suspended.calls.iter().any(|(_, call)| is_own(call))
    }

    /// Whether a child waits for something that only this client can say: it is read from, however much it has
    /// unanswered, since what it has may wait for that child.
    pub(in crate::mux) fn is_awaited(&self, peer: Key) -> bool {
        let is_asked = self.peers.get(peer).is_some_and(|peer| !peer.reverse.is_empty());
        let is_of = |call: &Suspended| {
            call.principal == Principal::Client(peer) && matches!(call.stage, Stage::Open(_))
        };
        is_asked || self.suspended.calls.iter().any(|(_, call)| is_of(call))
    }

    /// Whether [`Mux::feed_random`] is due.
    pub fn lacks_random(&self) -> bool {
        self.suspended.thirsty && self.suspended.random.is_empty()
    }

    /// Gives the mux bits that nobody can guess; each word becomes one secret.
    pub fn feed_random(&mut self, words: &[u128]) {
        self.suspended.random.extend_from_slice(words);
    }

    pub(in crate::mux) fn assert_suspended(&self) {
        let mut kept = 0;
        let mut open = 0;
        for (place, call) in self.suspended.calls.iter() {
            match &call.stage {
                Stage::Ended(answer) => kept += answer.len(),
                Stage::Open(key) => {
                    open += 1;
                    let request = self.requests.get(*key).expect("a suspended call is open");
                    assert!(matches!(request.origin, Origin::Suspended(at) if at == place));
                    let holder = self.instances.get(request.instance).and_then(|i| i.holder);
                    assert_eq!(holder, Some(Holder::Call(*key)), "a suspended call has the child");
                }
            }
        }
        assert_eq!(kept, self.suspended.kept, "bytes of kept answers");
        let suspended = self.requests.iter().filter(|(_, r)| matches!(r.origin, Origin::Suspended(_)));
        assert_eq!(suspended.count(), open, "open suspended calls");
    }
}
