//! The routing core: decides who gets what. Bytes, keys and [`Time`] in; the verbs of [`Sink`] out.
//!
//! ```text
//!   client message ─▶ client ──▶ queue ─▶ child            requests: id becomes its key in the table
//!   child message  ─▶ child ───▶ the one who asked          answers: key finds who asked
//!                        ├─────▶ fanout, listen              notifications: by subscription or level
//!                        └─────▶ reverse ─▶ the one client   requests of the child, attributed or refused
//! ```
//!
//! Knows nothing of descriptors and framing. Equal inputs give equal outputs in equal order.

mod alone;
mod bridge;
mod child;
mod client;
mod clock;
mod era;
mod fanout;
mod fence;
#[cfg(feature = "gateway")]
mod filters;
mod handshake;
mod hold;
mod lifecycle;
mod listen;
mod lists;
pub mod memory;
mod method;
mod operate;
mod peer;
pub mod policy;
mod queue;
pub mod rate;
mod reply;
mod request;
mod retry;
mod reverse;
#[cfg(feature = "http")]
pub mod series;
mod server;
pub mod sink;
mod spare;
mod sponsor;
pub mod status;
mod subscribe;
mod tally;
mod tasks;
#[cfg(test)]
mod tests;

use crate::base::{Arena, Key, KeyMap, Time, TimerWheel};
use crate::codec::{Incoming, Kind, Message, Overlong, ScanError, ScanErrorKind, batch};
use method::ListKind;
use peer::{Peer, Reverse, Version};
use policy::ServerPolicy;
pub(crate) use reply::quote;
use request::{Origin, Own, Request, State};
pub use server::Era;
use server::{Instance, Server, Then};
pub use sink::{CloseReason, Recorder, ServerId, Sink, StopStep, Verb};

/// What a link that is attached belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkOf {
    Peer(Key),
    Child(Key),
}

/// What falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Request(Key),
    Reverse(Key),
    Handshake(Key),
    Stop(Key),
    Restart(Key),
    Heartbeat(Key),
    IdleStop(Key),
    Changed(Key, ListKind),
    /// A client's requests may have been at the child for long.
    Aged(Key),
    Relisten(Key),
    /// Modern requests may need less of a legacy child's log level.
    Level(Key),
    /// A refused client that says nothing.
    Refused(Key),
    /// Spares of a server may be lacking.
    TopUp(ServerId),
    /// A request whose child wants to be asked again later.
    Round(Key),
    /// A request has been asked something, and its client is to be told.
    Gather(Key),
    /// A suspended call waits for its client no longer.
    Suspended(Key),
}

/// The state of everything that is routed.
#[derive(Debug)]
pub struct Mux {
    servers: Vec<Server>,
    instances: Arena<Instance>,
    peers: Arena<Peer>,
    links: KeyMap<LinkOf>,
    requests: Arena<Request>,
    reverse: Arena<Reverse>,
    timers: TimerWheel<Timer>,
    random: u64,
    /// Set by `shutdown`: nothing new is taken on.
    draining: bool,
    /// Set by `drain`: no new clients, the present ones run out.
    closing: bool,
    counters: status::Counters,
    /// Clients since the start; the newest one's number.
    clients_ever: u64,
    /// Listens since the start.
    listens_ever: u64,
    /// Pages of lists since the start.
    pages_ever: u64,
    audit: tally::Audit,
    suspended: bridge::suspended::Table,
}

impl Mux {
    /// A mux for these servers; starts nothing before [`Mux::begin`]. `seed` feeds the jitter.
    pub fn new(policies: Vec<ServerPolicy>, seed: u64) -> Mux {
        let mut mux = Mux {
            servers: Vec::new(),
            instances: Arena::new(),
            peers: Arena::new(),
            links: KeyMap::new(),
            requests: Arena::new(),
            reverse: Arena::new(),
            timers: TimerWheel::new(),
            random: seed | 1,
            draining: false,
            closing: false,
            counters: status::Counters::default(),
            clients_ever: 0,
            listens_ever: 0,
            pages_ever: 0,
            audit: tally::Audit::default(),
            suspended: bridge::suspended::Table::default(),
        };
        for policy in policies {
            mux.add_server(policy);
        }
        mux
    }

    /// Starts every server that is not lazy: its process, or its spares.
    pub fn begin(&mut self, now: Time, out: &mut dyn Sink) {
        for server in 0..self.servers.len() {
            if self.servers[server].policy.lazy_start {
                continue;
            }
            match self.servers[server].shared {
                Some(shared) => self.start(now, shared, out),
                None => self.top_up(now, server, out),
            }
        }
    }

    /// A client connected to a server's socket. Gives the number that people know it by.
    pub fn attach_peer(&mut self, now: Time, link: Key, server: ServerId, out: &mut dyn Sink) -> u64 {
        self.attach(now, link, server, false, out)
    }

    /// A link for requests that stand each for itself, as over HTTP in 2026-07-28. One client has several of
    /// those at a time, so they are none of the `max_active_clients`.
    pub fn attach_guest(&mut self, now: Time, link: Key, server: ServerId, out: &mut dyn Sink) -> u64 {
        self.attach(now, link, server, true, out)
    }

    /// A link that only listens to how the server's lists change: it does not start the server, and does not keep
    /// it from resting.
    pub fn attach_watcher(&mut self, now: Time, link: Key, server: ServerId, out: &mut dyn Sink) -> u64 {
        let number = self.attach(now, link, server, true, out);
        if let Some(LinkOf::Peer(peer)) = self.links.get(link)
            && let Some(peer) = self.peers.get_mut(*peer)
        {
            peer.watches = true;
        }
        number
    }

    fn attach(&mut self, now: Time, link: Key, server: ServerId, guest: bool, out: &mut dyn Sink) -> u64 {
        let refused = {
            let server = &self.servers[server];
            (!guest && server.is_full())
                || self.draining
                || self.closing
                || server.retired
                || self.peers.is_full()
        };
        self.clients_ever += 1;
        let mut peer = Peer::new(server, link, refused, self.clients_ever);
        peer.instance = self.servers[server].shared;
        peer.guest = guest;
        if self.peers.is_full() {
            out.close(link, CloseReason::Refused);
            return self.clients_ever;
        }
        let key = self.peers.insert(peer);
        self.links.insert(link, LinkOf::Peer(key));
        if refused {
            log::warn!(target: &self.target(server), "a client was refused: {}", self.refusal(server));
            self.timers.schedule(now + REFUSED_MS, Timer::Refused(key));
        } else {
            self.servers[server].clients += 1;
            self.servers[server].guests += usize::from(guest);
            log::debug!(target: &self.target(server), "client {} connected", self.clients_ever);
        }
        self.clients_ever
    }

    /// One message of a link.
    pub fn handle_message(&mut self, now: Time, link: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        match self.links.get(link) {
            Some(LinkOf::Peer(peer)) => self.on_client_message(now, *peer, link, msg, out),
            Some(LinkOf::Child(instance)) => self.on_child_message(now, *instance, link, msg, out),
            None => {}
        }
        self.check_invariants();
    }

    /// A line that is not a JSON-RPC message: a batch where the version allows it, an error otherwise.
    pub fn handle_malformed(
        &mut self,
        now: Time,
        link: Key,
        bytes: &[u8],
        error: ScanError,
        out: &mut dyn Sink,
    ) {
        if error.kind == ScanErrorKind::Batch && self.allows_batch(link) {
            match batch::elements(bytes) {
                Ok(elements) if !elements.is_empty() => {
                    for element in elements {
                        let text = element.of(bytes);
                        match Incoming::scan(text) {
                            Ok(msg) => self.handle_message(now, link, &msg, out),
                            Err(error) => self.report_malformed(now, link, text, error, out),
                        }
                    }
                    return;
                }
                Ok(_) => return self.report_malformed(now, link, bytes, error, out),
                Err(error) => return self.report_malformed(now, link, bytes, error, out),
            }
        }
        self.report_malformed(now, link, bytes, error, out);
        self.check_invariants();
    }

    /// A line over the limit, skipped by the framer.
    pub fn handle_overlong(&mut self, now: Time, link: Key, line: &Overlong, out: &mut dyn Sink) {
        let what = format!("a message of {} bytes exceeds the limit of {} bytes", line.len, line.limit);
        match self.links.get(link) {
            Some(LinkOf::Peer(peer)) => {
                let peer = *peer;
                let (server, number) = self.peers.get(peer).map_or((0, 0), |peer| (peer.server, peer.number));
                log::warn!(target: &self.target(server), "client {number}: {what}");
                if self.turn_away(peer, line.id(), out) {
                    return;
                }
                let why = format!("{what} (`max_request_bytes` of this server)");
                if line.has_method() == Some(false) {
                    return self.refuse_answered(now, peer, line.id(), &why, out);
                }
                let text = reply::Failure::new("too_large", why).answer(line.id().unwrap_or(b"null"));
                out.send(link, &Message::new(&text));
            }
            Some(LinkOf::Child(instance)) => {
                let instance = *instance;
                log::warn!(target: &self.target_of(instance), "{what}, skipped: {}", quote(&line.head));
                let asked = line.id().and_then(parse_key).filter(|_| line.has_method() != Some(true));
                if let Some(key) = asked {
                    let why = format!("the server's answer was lost: {what}");
                    self.fail_request(now, instance, key, &reply::Failure::new("too_large", why), out);
                }
            }
            None => {}
        }
    }

    /// The other side said all it will say, but may still read.
    pub fn handle_eof(&mut self, now: Time, link: Key, out: &mut dyn Sink) {
        match self.links.get(link) {
            Some(LinkOf::Peer(peer)) => {
                let peer_key = *peer;
                let Some(peer) = self.peers.get_mut(peer_key) else { return };
                peer.draining = true;
                self.refuse_reverse_of(now, peer_key, out);
                // It will not ask again with an answer.
                self.refuse_questions_of(peer_key, out);
                self.abandon_calls_of(now, peer_key, out);
                self.settle(now, peer_key, out);
            }
            Some(LinkOf::Child(_)) => self.handle_closed(now, link, CloseReason::PeerClosed, out),
            None => {}
        }
        self.check_invariants();
    }

    /// A link is gone. For a child that means its output; its process may still live.
    pub fn handle_closed(&mut self, now: Time, link: Key, why: CloseReason, out: &mut dyn Sink) {
        match self.links.get(link) {
            Some(LinkOf::Peer(peer)) => self.drop_peer(now, *peer, &why, out),
            Some(LinkOf::Child(instance)) => self.on_output_closed(now, *instance, &why, out),
            None => {}
        }
        self.check_invariants();
    }

    /// A link that was congested takes more.
    pub fn handle_drained(&mut self, now: Time, link: Key, out: &mut dyn Sink) {
        let Some(LinkOf::Child(instance)) = self.links.get(link) else { return };
        let instance = *instance;
        self.dispatch(now, instance, out);
        let stalled = self.instances.get_mut(instance).map(|i| std::mem::take(&mut i.stalled));
        for peer in stalled.unwrap_or_default() {
            self.unpause_if_small(peer, out);
        }
    }

    /// Everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Time, out: &mut dyn Sink) {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Request(key) => self.on_request_timeout(now, key, out),
                Timer::Reverse(key) => self.on_reverse_timeout(now, key, out),
                Timer::Handshake(instance) => self.on_handshake_timeout(now, instance, out),
                Timer::Stop(instance) => self.on_stop_timeout(now, instance, out),
                Timer::Restart(instance) => self.on_restart_timeout(now, instance, out),
                Timer::Heartbeat(instance) => self.on_heartbeat(now, instance, out),
                Timer::IdleStop(instance) => self.on_idle(now, instance, out),
                Timer::Changed(instance, kind) => self.on_changed_timeout(now, instance, kind, out),
                Timer::Aged(peer) => self.on_aged(now, peer, out),
                Timer::Relisten(instance) => self.sync_listen(now, instance, out),
                Timer::Level(instance) => self.on_level_timeout(now, instance, out),
                Timer::Refused(peer) => self.close_refused(peer, out),
                Timer::TopUp(server) => self.on_top_up(now, server, out),
                Timer::Round(key) => self.on_pause_over(now, key, out),
                Timer::Gather(request) => self.on_gathered(now, request, out),
                Timer::Suspended(call) => self.on_suspended_expired(now, call, out),
            }
        }
        self.check_invariants();
    }

    /// When [`Mux::handle_timeout`] is worth calling next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next_deadline()
    }

    /// Stops everything: clients are told, children walk down the stop ladder.
    pub fn shutdown(&mut self, now: Time, out: &mut dyn Sink) {
        self.draining = true;
        let failure = reply::Failure::new("stopped", "muxloop is stopping");
        for instance in self.instances.keys() {
            self.stop(now, instance, Then::Rest, out);
            self.fail_all(now, instance, &failure, out);
        }
        for peer_key in self.peers.keys() {
            self.end_listens(now, peer_key, out);
            if let Some(peer) = self.peers.get(peer_key) {
                out.close(peer.link, CloseReason::Shutdown);
                self.forget_peer(peer_key);
            }
        }
        self.forget_suspended();
        self.check_invariants();
    }

    /// After `shutdown`: whether every child has ended.
    pub fn is_finished(&self) -> bool {
        self.instances.iter().all(|(_, instance)| !instance.has_process())
    }

    /// Whether a client that leaves a server would make no difference to the next one: there is a place, or
    /// none is given at all.
    pub fn has_room(&self, id: ServerId) -> bool {
        !self.takes_clients() || self.servers.get(id).is_none_or(|server| !server.is_full())
    }

    /// Whether new clients are taken at all.
    pub fn takes_clients(&self) -> bool {
        !self.draining && !self.closing
    }

    fn allows_batch(&self, link: Key) -> bool {
        match self.links.get(link) {
            Some(LinkOf::Peer(peer)) => {
                let legacy = self.peers.get(*peer).and_then(|peer| peer.legacy.as_ref());
                legacy.is_some_and(|legacy| legacy.version == Version::V2025_03_26)
            }
            // What a child may send depends on the version it speaks; an array of messages is at any
            // rate better understood than dropped.
            Some(LinkOf::Child(_)) => true,
            None => false,
        }
    }

    fn report_malformed(&mut self, now: Time, link: Key, bytes: &[u8], error: ScanError, out: &mut dyn Sink) {
        let id = error.id.map(|span| span.of(bytes));
        match self.links.get(link) {
            Some(LinkOf::Peer(peer)) => {
                let peer = *peer;
                let (server, number) = self.peers.get(peer).map_or((0, 0), |peer| (peer.server, peer.number));
                log::warn!(target: &self.target(server), "client {number}: {error}: {}", quote(bytes));
                self.counters.malformed += 1;
                if self.turn_away(peer, id, out) {
                    return;
                }
                // An answer must never be answered, but anything else is, an id or none.
                if id.is_none() || error.has_method || !error.is_answer {
                    let text = reply::error(id.unwrap_or(b"null"), error.code(), &error.to_string());
                    out.send(link, &Message::new(&text));
                } else {
                    self.refuse_answered(now, peer, id, &format!("the client's answer is {error}"), out);
                }
            }
            Some(LinkOf::Child(instance)) => {
                let instance = *instance;
                self.counters.malformed += 1;
                log::warn!(
                    target: &self.target_of(instance),
                    "a line on its standard output is not MCP ({error}), skipped: {}",
                    quote(bytes)
                );
                if let Some(key) = id.and_then(parse_key).filter(|_| !error.has_method) {
                    let why = format!("the server's answer was lost: it is {error}");
                    self.lose_answer(now, instance, key, &reply::Failure::new("malformed", why), out);
                }
            }
            None => {}
        }
    }

    fn name_of(&self, instance: Key) -> &str {
        match self.instances.get(instance) {
            Some(instance) => &self.servers[instance.server].policy.name,
            None => "(gone)",
        }
    }

    fn policy_of(&self, instance: Key) -> Option<&ServerPolicy> {
        Some(&self.servers[self.instances.get(instance)?.server].policy)
    }

    fn refusal(&self, server: ServerId) -> String {
        let policy = &self.servers[server].policy;
        if self.draining || self.closing {
            return "muxloop is stopping and takes no more clients".into();
        }
        if self.servers[server].retired {
            return format!("server '{}' was taken out of the configuration", policy.name);
        }
        format!(
            "server '{}' already serves {} clients (`max_active_clients` = {}); raise it or close one",
            policy.name,
            self.servers[server].counted(),
            policy.max_active_clients
        )
    }

    fn next_random(&mut self) -> u64 {
        // xorshift64: spreads restarts, guards nothing.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Debug builds re-count what the tables claim, while that is quick.
    fn check_invariants(&self) {
        if cfg!(debug_assertions) && self.requests.len() < 1_024 {
            self.assert_invariants();
        }
    }

    fn assert_invariants(&self) {
        for (key, peer) in self.peers.iter() {
            assert_eq!(self.links.get(peer.link), Some(&LinkOf::Peer(key)));
            let sent = peer
                .requests
                .iter()
                .filter(|key| self.requests.get(**key).is_some_and(Request::is_sent))
                .count();
            assert_eq!(sent, peer.in_flight, "in-flight count of a client");
            for (at, request) in peer.requests.iter().enumerate() {
                match &self.requests.get(*request).expect("a listed request exists").origin {
                    Origin::Peer { peer, position, .. } => assert_eq!((*peer, *position), (key, at)),
                    _ => panic!("a request in the list of a client that is not its asker"),
                }
            }
            let is_aged = |key: &&Key| {
                matches!(self.requests.get(**key).map(|r| &r.state), Some(State::Sent { aged: true, .. }))
            };
            assert_eq!(peer.requests.iter().filter(is_aged).count(), peer.aged, "aged count of a client");
            let bytes: usize = peer.requests.iter().map(|key| waiting_len(&self.requests, *key)).sum();
            assert_eq!(bytes, peer.waiting_bytes, "waiting bytes of a client");
            let kept = |key: &Key| self.requests.get(*key).map_or(0, Request::kept_bytes);
            assert_eq!(
                peer.requests.iter().map(kept).sum::<usize>(),
                peer.kept_bytes,
                "kept bytes of a client"
            );
        }
        for (key, instance) in self.instances.iter() {
            let sent = self
                .requests
                .iter()
                .filter(|(_, r)| r.instance == key && r.is_sent() && !matches!(r.origin, Origin::Own(_)))
                .count();
            assert_eq!(sent, instance.in_flight, "in-flight count of a child");
            let reverse = self.reverse.iter().filter(|(_, r)| r.instance == key).count();
            assert_eq!(reverse, instance.reverse, "reverse count of a child");
        }
        for (key, reverse) in self.reverse.iter() {
            let is_for = |call| self.requests.get(call).is_some_and(|call| call.is_asked(key));
            assert!(reverse.call.is_none_or(|(call, _)| is_for(call)), "a question without its call");
        }
        self.assert_suspended();
        self.assert_flights();
        for (_, request) in self.requests.iter() {
            let own_handshake = matches!(request.origin, Origin::Own(Own::Handshake));
            assert!(
                own_handshake || self.instances.contains(request.instance),
                "a request without its instance"
            );
        }
    }
}

fn waiting_len(requests: &Arena<Request>, key: Key) -> usize {
    match requests.get(key).map(|request| &request.state) {
        Some(State::Waiting(bytes)) => bytes.len(),
        _ => 0,
    }
}

/// The key that an id token of ours names.
#[inline]
fn parse_key(token: &[u8]) -> Option<Key> {
    if token.is_empty() || token.len() > 16 {
        return None;
    }
    let mut value = 0u64;
    for byte in token {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(byte - b'0');
    }
    Key::from_u64(value)
}

/// How long a refused client may stay silent before it is closed.
const REFUSED_MS: u64 = 10_000;
