//! Equal list requests of several clients, as one at the child.
//!
//! The first one goes to the child as any request does; others like it that come while it is there wait for
//! its answer ([`State::Joined`]), each with its own id and its own deadline. If the first one is taken back
//! or times out, the next one takes its place under the same key, so the child notices nothing. Only when the
//! last one goes is it told.
//!
//! [`State::Joined`]: crate::mux::request::State::Joined

use super::PageKey;
use crate::base::{Key, Time};
use crate::codec::{Incoming, Message, Value};
use crate::mux::queue::Asked;
use crate::mux::request::{Held, Origin, Request, State};
use crate::mux::tally::Outcome;
use crate::mux::{Kind, Mux, Sink, Timer, reply};

/// A page that the child is asked for.
#[derive(Debug)]
pub(super) struct Flight {
    pub key: PageKey,
    /// The request that is at the child; of a client, or muxloop's own.
    pub leader: Key,
    /// How often its list had been said to have changed when it was sent.
    pub changes: u64,
    /// Requests that wait for the same answer, oldest first. Keys of finished ones are skipped.
    pub followers: Vec<Key>,
}

impl Mux {
    /// Lets a request that has just come wait for the answer to another one. Says whether it does.
    pub(in crate::mux) fn join_list(&mut self, now: Time, asked: Asked<'_, '_>, out: &mut dyn Sink) -> bool {
        let Some(key) = self.page_wanted(asked) else { return false };
        if self.flight_for(asked.instance, &key).is_none() {
            return false;
        }
        if let Some(failure) = self.cannot_wait(now, asked) {
            self.answer_failure(asked.link, asked.msg, &failure, out);
            return true;
        }
        let filed = self.file(now, asked);
        self.follow(asked.instance, &key, filed);
        self.pause_if_full(asked.peer, out);
        true
    }

    /// A list request that waited has its turn: it may be answered by now, or wait for another one's answer.
    /// Says whether that is so.
    pub(in crate::mux) fn spares_list(&mut self, now: Time, filed: Key, out: &mut dyn Sink) -> bool {
        let Some(request) = self.requests.get(filed) else { return false };
        let (Some(key), instance) = (request.list.clone(), request.instance) else { return false };
        if let Some(page) = self.page_for(now, instance, &key) {
            self.give(now, filed, &page, out);
            return true;
        }
        self.follow(instance, &key, filed)
    }

    fn follow(&mut self, instance: Key, key: &PageKey, filed: Key) -> bool {
        let Some(flight) = self.flight_for(instance, key) else { return false };
        flight.followers.push(filed);
        true
    }

    /// The flight that may bring what is asked for now: none that took off before the list changed.
    pub(super) fn flight_for(&mut self, instance: Key, key: &PageKey) -> Option<&mut Flight> {
        let id = self.keeps_lists_of(instance)?;
        let lists = &mut self.servers[id].lists;
        let changes = lists.changes(key.list);
        lists.flights.iter_mut().find(|flight| flight.key == *key && flight.changes == changes)
    }

    /// A list request was sent.
    pub(in crate::mux) fn take_off(&mut self, instance: Key, leader: Key, key: PageKey) {
        let Some(id) = self.keeps_lists_of(instance) else { return };
        let lists = &mut self.servers[id].lists;
        let changes = lists.changes(key.list);
        lists.flights.push(Flight { key, leader, changes, followers: Vec::new() });
    }

    /// Forgets the flight of a request.
    fn ground(&mut self, instance: Key, leader: Key) -> Option<Flight> {
        let id = self.keeps_lists_of(instance)?;
        let flights = &mut self.servers[id].lists.flights;
        let at = flights.iter().position(|flight| flight.leader == leader)?;
        Some(flights.remove(at))
    }

    /// Forgets all flights of a process that will not answer.
    pub(in crate::mux) fn ground_all(&mut self, instance: Key) {
        if let Some(id) = self.keeps_lists_of(instance) {
            self.servers[id].lists.flights.clear();
        }
    }

    /// The child answered: everyone who waited for it is, too.
    pub(in crate::mux) fn land(
        &mut self,
        now: Time,
        instance: Key,
        leader: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(flight) = self.ground(instance, leader) else { return };
        self.learn(now, instance, &flight, msg, out);
        let is_whole = msg.envelope.result_type.is_none_or(|kind| msg.text(kind) == b"\"complete\"");
        if !is_whole && msg.envelope.kind != Kind::Error {
            // What it wants to hear is between it and the one who asked.
            let why = reply::Failure::new("result_type", "the server's answer was no list; try again");
            return self.fail_all_of(now, flight.followers, &why, out);
        }
        for follower in flight.followers {
            let Some(mut request) = self.take(follower) else { continue };
            self.tell_follower(now, &mut request, msg, out);
            if let Some(peer) = request.peer() {
                self.settle(now, peer, out);
            }
        }
    }

    fn tell_follower(&mut self, now: Time, request: &mut Request, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Origin::Peer { link, id, .. } = &request.origin else { return };
        let crossed = self.cross_answer(request, msg);
        let crossed = crossed.as_deref().and_then(|text| Incoming::scan(text).ok());
        let told = crossed.as_ref().unwrap_or(msg);
        let mut message = Message::new(told.bytes);
        if let Some(at) = told.envelope.id {
            message.replace(at, Value::Raw(id));
        }
        out.send(*link, &message);
        self.counters.answers += 1;
        let outcome = if msg.envelope.kind == Kind::Error { Outcome::Error } else { Outcome::Ok };
        self.note_end(now, request, outcome, msg.bytes.len());
    }

    /// The answer to a request was lost: for everyone who waited for it.
    pub(in crate::mux) fn crash_land(
        &mut self,
        now: Time,
        instance: Key,
        leader: Key,
        why: &reply::Failure,
        out: &mut dyn Sink,
    ) {
        let Some(flight) = self.ground(instance, leader) else { return };
        self.could_not_look(now, instance, &flight.key, out);
        self.fail_all_of(now, flight.followers, why, out);
    }

    fn fail_all_of(&mut self, now: Time, keys: Vec<Key>, why: &reply::Failure, out: &mut dyn Sink) {
        for key in keys {
            let Some(mut request) = self.take(key) else { continue };
            self.answer_taken(now, &mut request, why, out);
            if let Some(peer) = request.peer() {
                self.settle(now, peer, out);
            }
        }
    }

    /// Takes a request out of the tables as [`Mux::take`] does. If others wait for its answer, the first of
    /// them takes its place at the child, and what is given back is none that is there.
    pub(in crate::mux) fn take_or_hand_over(&mut self, now: Time, key: Key) -> Option<Request> {
        let request = self.requests.get(key)?;
        if request.list.is_none() || !request.is_sent() {
            return self.take(key);
        }
        let instance = request.instance;
        let heir = self.heir_of(instance, key);
        let Some(heir) = heir else {
            self.ground(instance, key);
            return self.take(key);
        };
        let heir = self.take(heir)?;
        Some(self.replace(now, key, heir))
    }

    /// The first of those who wait for the answer to a request.
    fn heir_of(&mut self, instance: Key, leader: Key) -> Option<Key> {
        let id = self.keeps_lists_of(instance)?;
        let flight = self.servers[id].lists.flights.iter_mut().find(|flight| flight.leader == leader)?;
        let at = flight.followers.iter().position(|key| self.requests.contains(*key))?;
        flight.followers.drain(..=at).next_back()
    }

    /// Puts a request, taken out of the tables, in the place of one that is at the child. Gives that one
    /// back, as one that is not there.
    fn replace(&mut self, now: Time, key: Key, mut heir: Request) -> Request {
        let Some(place) = self.requests.get_mut(key) else { return heir };
        heir.state = State::Sent { since: now, aged: false };
        heir.timer = Some(self.timers.schedule(heir.deadline, Timer::Request(key)));
        let mut old = std::mem::replace(place, heir);
        if let Some(timer) = old.timer.take() {
            self.timers.cancel(timer);
        }
        if let Origin::Peer { peer, position, .. } = old.origin {
            self.uncount(peer, old.instance, old.method, Held::of(&old.state));
            self.unlist(peer, position);
        }
        old.state = State::Joined;
        let Some(Origin::Peer { peer, position, .. }) =
            self.requests.get_mut(key).map(|heir| &mut heir.origin)
        else {
            return old;
        };
        if let Some(peer) = self.peers.get_mut(*peer) {
            *position = peer.requests.len();
            peer.requests.push(key);
            peer.in_flight += 1;
        }
        if let Some(instance) = self.instances.get_mut(old.instance) {
            instance.in_flight += 1;
        }
        old
    }

    /// Debug builds: whoever waits for an answer is in a flight, whose request is at the child.
    pub(in crate::mux) fn assert_flights(&self) {
        let mut followers = 0;
        for server in &self.servers {
            for flight in &server.lists.flights {
                let leader = self.requests.get(flight.leader).expect("a flight has its request");
                assert!(leader.is_sent(), "a flight whose request is not at the child");
                followers += flight.followers.iter().filter(|key| self.requests.contains(**key)).count();
            }
        }
        let joined = |request: &Request| request.list.is_some() && matches!(request.state, State::Joined);
        let all = self.requests.iter().filter(|(_, request)| joined(request)).count();
        assert_eq!(all, followers, "requests that wait for an answer to another one");
    }
}
