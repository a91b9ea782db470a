//! The HTTP front: requests in, peers of the mux out, and back. Bytes, keys and [`Time`] only.
//!
//! ```text
//!   bytes ─▶ RequestDecoder ─▶ guard ─▶ route ─┬▶ legacy   sessions: POST, GET, DELETE     ─▶ a peer each
//!                                              ├▶ modern   each POST for itself            ─▶ a peer per connection
//!                                              ├▶ events   HTTP+SSE                         ─▶ a peer each
//!                                              └▶ health
//!   a peer's messages ─▶ hear ─▶ the answer, or an event of the one stream that it belongs on
//! ```
//!
//! A peer here is a *link* of the mux that has no connection of its own. What the mux says to links comes
//! by [`Front::hear`], never from within a call, so nothing is entered twice. One connection serves one
//! request at a time; what was sent ahead waits in its buffer (so pipelined requests are answered in
//! order).

mod alone;
mod answer;
mod ask;
mod below;
mod cancel;
mod conn;
mod dashboard;
mod events;
mod guard;
mod legacy;
mod lifetime;
mod modern;
mod params;
mod post;
mod route;
mod session;
mod sizes;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

pub use below::Below;
pub use guard::Guard;
pub use route::{Routes, Target};
pub use session::about;
pub use sizes::Sizes;

use crate::base::{Arena, Key, KeyMap, RecvBuf, Time, TimerKey, TimerWheel};
use crate::codec::http::{HttpEvent, Limits, Phase, Request, RequestDecoder, percent_decode, write_continue};
use crate::codec::ws::Decoder;
use crate::mux::ServerId;
use answer::{Answer, Manner};
use conn::{HEAD_MS, patience};
use guard::Reach;
use lifetime::unavailable;
use serde::{Deserialize, Serialize};
use session::{ABOUT, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a front is told at its start, and at a reload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub routes: Routes,
    pub guard: Guard,
    /// Longest body, in bytes, by server.
    pub body_max: BTreeMap<ServerId, usize>,
    /// How long a session may be without use, in milliseconds (G06).
    pub session_timeout_ms: u64,
    /// Most sessions at a time (G06).
    pub max_sessions: usize,
    /// Servers that have a process per request, and no sessions (G05).
    pub stateless: BTreeSet<ServerId>,
}

/// Everything that speaks HTTP.
#[derive(Debug)]
pub struct Front {
    settings: Settings,
    /// Paths of before a reload to servers that have sessions.
    former: BTreeSet<(String, ServerId)>,
    conns: KeyMap<Conn>,
    sessions: Arena<Session>,
    by_id: BTreeMap<String, Key>,
    /// Connections from addresses of a network.
    by_address: BTreeMap<IpAddr, usize>,
    links: KeyMap<Owner>,
    annotated: params::Annotated,
    timers: TimerWheel<Due>,
    /// Connections with a message that the mux does not want yet.
    held: Vec<Key>,
    /// Connections that may go on with what they had sent ahead.
    resumed: Vec<Key>,
    stopping: bool,
    counts: Counts,
    /// Connections of the dashboard, and whether they are to get new figures.
    watchers: Vec<Key>,
    figures_due: bool,
    /// A [`Due::Dashboard`] is to come.
    figures_timed: bool,
}

/// What is counted here.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    refused: u64,
    limited: u64,
    lost: u64,
    evicted: u64,
}

/// Whose link it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Session(Key),
    /// The connection's own, for requests of 2026-07-28.
    Conn(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Conn(Key),
    Session(Key),
    Dashboard,
}

/// One HTTP connection.
#[derive(Debug)]
struct Conn {
    decoder: RequestDecoder,
    request: Option<Request>,
    busy: Busy,
    manner: Manner,
    /// Who can come by its listener.
    reach: Reach,
    /// Where it comes from, if that counts.
    address: Option<IpAddr>,
    timer: Option<TimerKey>,
    /// The server and the link of its 2026-07-28 requests.
    modern: Option<(ServerId, Key)>,
}

/// What a connection is at.
#[derive(Debug)]
enum Busy {
    Free,
    /// A request of 2026-07-28 waits for its answer.
    Single(modern::Single),
    /// It carries a stream of a session: the session, the number.
    Stream(Key, u32),
    /// It carries a session of HTTP+SSE.
    Events(Key),
    /// It has become a WebSocket, of that session.
    Socket(Key, Box<Decoder>),
    /// It is given the figures of the dashboard.
    Dashboard,
    /// The mux is to take this first.
    Held(ServerId, Request, Vec<u8>),
    Closing,
}

impl Front {
    /// A front without connections.
    pub fn new(settings: Settings) -> Front {
        Front {
            settings,
            former: BTreeSet::new(),
            conns: KeyMap::new(),
            sessions: Arena::new(),
            by_id: BTreeMap::new(),
            by_address: BTreeMap::new(),
            links: KeyMap::new(),
            annotated: params::Annotated::default(),
            timers: TimerWheel::new(),
            held: Vec::new(),
            resumed: Vec::new(),
            stopping: false,
            counts: Counts::default(),
            watchers: Vec::new(),
            figures_due: false,
            figures_timed: false,
        }
    }

    /// Other servers, other limits; what is open stays, and sessions of servers that are gone can still be
    /// reached until they end.
    pub fn configure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let used: BTreeSet<ServerId> = self.sessions.iter().map(|(_, known)| known.server).collect();
        for (server, limit) in before.body_max.into_iter().filter(|(server, _)| used.contains(server)) {
            self.settings.body_max.entry(server).or_insert(limit);
        }
        self.former.extend(before.routes.servers());
        self.former.retain(|(_, server)| used.contains(server));
        self.annotated.clear();
    }

    /// What answers a request.
    fn target_of(&self, request: &Request) -> Option<Target> {
        let path = percent_decode(&request.target)?;
        let session = legacy::session_id(request).and_then(|id| self.sessions.get(*self.by_id.get(id)?));
        match session.map(|session| session.server) {
            Some(server) if self.former.contains(&(path.trim_end_matches('/').to_owned(), server)) => {
                Some(Target::Mcp(server))
            }
            _ => self.settings.routes.find(&path),
        }
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A connection was accepted; `loopback`: its listener can be reached from this machine only; `address`: where
    /// it comes from, if that is no Unix socket. Beyond so many from one address of a network
    /// it is not taken: others come, too.
    pub fn open(
        &mut self,
        now: Time,
        conn: Key,
        loopback: bool,
        address: Option<IpAddr>,
        below: &mut dyn Below,
    ) {
        let reach = match (loopback, address) {
            (true, None) => Reach::Socket,
            (true, Some(_)) => Reach::Loopback,
            (false, _) => Reach::Network,
        };
        let address = address.filter(|address| !address.is_loopback());
        if let Some(address) = address {
            let count = self.by_address.entry(address).or_default();
            if *count >= CONNECTIONS_PER_ADDRESS {
                log::warn!(target: "http", "a connection was refused: {address} has {CONNECTIONS_PER_ADDRESS} already");
                let text = "there are too many connections from this address";
                below.write(conn, &Answer::error(503, None, -32603, text).bytes(&Manner::default()));
                return below.close(conn);
            }
            *count += 1;
        }
        let body = self.settings.body_max.values().copied().max().unwrap_or(0);
        let fresh = Conn {
            decoder: RequestDecoder::new(Limits::for_body(body)),
            request: None,
            busy: Busy::Free,
            manner: Manner::default(),
            reach,
            address,
            timer: None,
            modern: None,
        };
        self.conns.insert(conn, fresh);
        self.set_timer(conn, Some(now + HEAD_MS));
    }

    /// Takes what a connection has received, as far as it can be taken now. False: it is at a request, and
    /// the rest is to stay in `buf` until [`Front::take_resumed`] names it.
    pub fn feed(&mut self, now: Time, conn: Key, buf: &mut RecvBuf, below: &mut dyn Below) -> bool {
        let mut before = None;
        loop {
            let Some(state) = self.conns.get_mut(conn) else { return true };
            match state.busy {
                Busy::Free => {}
                Busy::Socket(..) => return self.feed_socket(now, conn, buf, below),
                _ => return false,
            }
            let timed = *before.get_or_insert(state.decoder.phase());
            match state.decoder.next(buf) {
                Ok(Some(HttpEvent::Head(request))) => self.begin(now, conn, request, below),
                Ok(Some(HttpEvent::Continue)) => {
                    let mut bytes = Vec::new();
                    write_continue(&mut bytes);
                    below.write(conn, &bytes);
                }
                Ok(Some(HttpEvent::Body(body))) => {
                    before = None;
                    self.ask(now, conn, body, below);
                }
                Ok(None) => {
                    let phase = state.decoder.phase();
                    if phase != timed {
                        self.set_timer(conn, Some(now + patience(phase)));
                    }
                    return true;
                }
                Err(error) => self.refuse_bytes(conn, &error, below),
            }
        }
    }

    /// The other side of a connection has ended its direction.
    pub fn ended(&mut self, conn: Key, below: &mut dyn Below) {
        let Some(state) = self.conns.get(conn) else { return };
        match state.busy {
            // Its answer may still be read, and what was sent ahead answered.
            Busy::Stream(session, number) if self.is_awaited(session, number) => {}
            Busy::Held(..) => {}
            // Dropping the stream is how a 2026-07-28 client cancels (protocol.md §3.3); a stream without
            // an end has nobody left to read it.
            _ => self.close(conn, below),
        }
    }

    /// A connection is gone.
    pub fn gone(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        let Some(state) = self.conns.remove(conn) else { return };
        if let Some(timer) = state.timer {
            self.timers.cancel(timer);
        }
        if let Some(address) = state.address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        if let Some((_, link)) = state.modern {
            self.links.remove(link);
            below.detach(link);
        }
        match state.busy {
            Busy::Stream(session, number) => self.lose_stream(now, session, number, conn, below),
            Busy::Events(session) | Busy::Socket(session, _) => self.end_session(now, session, below),
            _ => {}
        }
        self.held.retain(|held| *held != conn);
        self.watchers.retain(|watcher| *watcher != conn);
    }

    /// What the mux said to a link: whole messages, one a line, and in front of a question a line [`about`] what
    /// it is asked for, if that is known.
    pub fn hear(&mut self, now: Time, link: Key, lines: &[u8], below: &mut dyn Below) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match self.links.get(link).copied() {
                Some(Owner::Session(session)) if line[0] == ABOUT => self.note_about(session, &line[1..]),
                Some(Owner::Conn(conn)) => self.hear_single(now, conn, line, below),
                Some(Owner::Session(session)) => self.hear_session(now, session, line, below),
                None => {}
            }
        }
    }

    /// The mux has ended a link.
    pub fn link_closed(&mut self, now: Time, link: Key, below: &mut dyn Below) {
        match self.links.get(link).copied() {
            Some(Owner::Session(session)) => self.end_session(now, session, below),
            Some(Owner::Conn(conn)) => {
                self.links.remove(link);
                self.lose_link(now, conn, below);
            }
            None => {}
        }
    }

    /// Offers held messages again.
    pub fn retry_held(&mut self, now: Time, below: &mut dyn Below) {
        for conn in std::mem::take(&mut self.held) {
            let Some(state) = self.conns.get_mut(conn) else { continue };
            match std::mem::replace(&mut state.busy, Busy::Free) {
                Busy::Held(server, request, body) => {
                    match self.target_of(&request) {
                        Some(Target::Message) => self.post_message(now, conn, request, body, below),
                        _ => self.post(now, conn, server, request, body, below),
                    }
                    self.resume(now, conn);
                }
                Busy::Socket(session, decoder) => {
                    state.busy = Busy::Socket(session, decoder);
                    let link = self.sessions.get(session).map(|known| known.link);
                    match link.is_some_and(|link| below.is_paused(link)) {
                        true => self.held.push(conn),
                        false => self.resumed.push(conn),
                    }
                }
                other => state.busy = other,
            }
        }
    }

    /// Connections that may go on.
    pub fn take_resumed(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.resumed)
    }

    /// Whether there is something to do without an event.
    pub fn is_busy(&self) -> bool {
        !self.resumed.is_empty()
    }

    /// When [`Front::handle_timeout`] is worth calling next.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next_deadline()
    }

    /// Everything that is due.
    pub fn handle_timeout(&mut self, now: Time, below: &mut dyn Below) {
        while let Some(due) = self.timers.pop_expired(now) {
            match due {
                Due::Conn(conn) => self.conn_due(now, conn, below),
                Due::Session(session) => self.session_due(now, session, below),
                Due::Dashboard => self.dashboard_due(now),
            }
        }
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Takes no more requests; what is asked is still answered.
    pub fn stop(&mut self, now: Time, below: &mut dyn Below) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let conns: Vec<Key> = self.conns.iter().map(|(key, _)| key).collect();
        for conn in conns {
            let Some(state) = self.conns.get_mut(conn) else { continue };
            state.manner.keep_alive = false;
            match state.busy {
                Busy::Free if state.decoder.phase() == Phase::Idle => self.close(conn, below),
                Busy::Free | Busy::Held(..) => {
                    self.respond(now, conn, &unavailable(None, "muxloop is stopping"), below);
                }
                Busy::Dashboard => self.end_stream(now, conn, below),
                _ => {}
            }
        }
    }
}

/// Connections from one address of a network.
const CONNECTIONS_PER_ADDRESS: usize = 256;
