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
mod below;
mod dashboard;
mod events;
mod guard;
mod legacy;
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
pub use sizes::Sizes;

use crate::base::{Arena, Key, KeyMap, RecvBuf, Time, TimerKey, TimerWheel};
use crate::codec::http::{
    HttpError, HttpEvent, Limits, Method, Phase, Request, RequestDecoder, percent_decode,
};
use crate::codec::http::{write_chunk, write_continue, write_last_chunk};
use crate::codec::sse;
use crate::codec::ws::Decoder;
use crate::mux::ServerId;
use answer::{Answer, Manner};
use serde::{Deserialize, Serialize};
use session::Session;
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
    /// Only programs of this machine can come by its listener.
    loopback: bool,
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

    /// Other servers, other limits; what is open stays.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
        self.annotated.clear();
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// A connection was accepted; `address`: where it comes from. Beyond so many from one address of a network
    /// it is not taken: others come, too.
    pub fn open(
        &mut self,
        now: Time,
        conn: Key,
        loopback: bool,
        address: Option<IpAddr>,
        below: &mut dyn Below,
    ) {
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
            loopback,
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
            Busy::Stream(_, number) if number != session::STANDALONE => {}
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

    /// What the mux said to a link: whole messages, one a line.
    pub fn hear(&mut self, now: Time, link: Key, lines: &[u8], below: &mut dyn Below) {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match self.links.get(link).copied() {
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
                if let Some(state) = self.conns.get_mut(conn) {
                    state.modern = None;
                    if matches!(state.busy, Busy::Single(_)) {
                        self.close(conn, below);
                    }
                }
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
                    let path = percent_decode(&request.target).unwrap_or_default();
                    match self.settings.routes.find(&path) {
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
        self.stopping = true;
        let conns: Vec<Key> = self.conns.iter().map(|(key, _)| key).collect();
        for conn in conns {
            let Some(state) = self.conns.get_mut(conn) else { continue };
            state.manner.keep_alive = false;
            match state.busy {
                Busy::Free => self.close(conn, below),
                Busy::Held(..) => {
                    let answer = Answer::error(503, None, -32603, "muxloop is stopping");
                    self.respond(now, conn, &answer, below);
                }
                Busy::Dashboard => self.end_stream(now, conn, below),
                _ => {}
            }
        }
    }

    /// The head of a request: what can be refused without its body is refused now.
    fn begin(&mut self, now: Time, conn: Key, request: Request, below: &mut dyn Below) {
        let stopping = self.stopping;
        let Some(state) = self.conns.get_mut(conn) else { return };
        let loopback = state.loopback;
        let allowed =
            request.headers.get("origin").filter(|origin| self.settings.guard.allows(origin, loopback));
        state.manner = Manner {
            keep_alive: request.keep_alive && !stopping,
            head_only: request.method == Method::Head,
            http10: request.version_minor == 0,
            origin: allowed.map(str::to_owned),
        };
        let answer = self.precheck(&request, loopback);
        self.counts.requests += 1;
        self.counts.refused += u64::from(answer.is_some());
        let Some(state) = self.conns.get_mut(conn) else { return };
        let has_body = request.headers.get("transfer-encoding").is_some()
            || request.headers.get("content-length").is_some_and(|length| length.trim() != "0");
        match answer {
            // Whoever is refused is not read any more.
            Some(answer) if has_body => {
                state.manner.keep_alive = false;
                self.respond(now, conn, &answer, below);
            }
            _ => state.request = Some(request),
        }
    }

    /// What the head alone decides against, in the order of protocol.md §3.3.
    fn precheck(&self, request: &Request, loopback: bool) -> Option<Answer> {
        let path = percent_decode(&request.target);
        let target = path.as_deref().and_then(|path| self.settings.routes.find(path));
        let public = matches!(target, Some(Target::Health | Target::Ready | Target::Page));
        if let Err(denial) = self.settings.guard.check(request, loopback)
            && !(public && denial.status == 401)
        {
            let answer = Answer::error(denial.status, None, -32600, &denial.text);
            return Some(match denial.challenge {
                Some(challenge) => answer.with("WWW-Authenticate", challenge),
                None => answer,
            });
        }
        let Some(target) = target else {
            return Some(Answer::error(404, None, -32600, &self.settings.routes.hint()));
        };
        if request.method == Method::Options {
            return None;
        }
        let methods = match target {
            Target::Mcp(server) if self.is_stateless(server) => "POST, OPTIONS",
            _ => methods(target),
        };
        if !methods.split(", ").any(|method| method == request.method.as_str()) {
            let text = format!("{} is not offered here, but {methods}", request.method.as_str());
            return Some(Answer::error(405, None, -32600, &text).with("Allow", methods));
        }
        if request.method == Method::Post {
            return self.precheck_post(request, target);
        }
        None
    }

    /// A whole request has come.
    fn ask(&mut self, now: Time, conn: Key, body: Vec<u8>, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let Some(request) = state.request.take() else { return };
        let loopback = state.loopback;
        // Most is known to be fine from `begin`; refusals of requests without a body come here.
        if let Some(answer) = self.precheck(&request, loopback) {
            return self.respond(now, conn, &answer, below);
        }
        let path = percent_decode(&request.target).unwrap_or_default();
        let Some(target) = self.settings.routes.find(&path) else { return };
        if request.method == Method::Options {
            let answer = preflight(&request, target);
            return self.respond(now, conn, &answer, below);
        }
        match (target, &request.method) {
            (Target::Health, _) => {
                let answer = Answer::json(200, b"{\"status\":\"healthy\"}".to_vec());
                self.respond(now, conn, &answer, below);
            }
            (Target::Ready, _) => {
                let answer = match below.readiness() {
                    _ if self.stopping => not_ready("muxloop is stopping"),
                    Ok(()) => Answer::json(200, b"{\"status\":\"ready\"}".to_vec()),
                    Err(why) => not_ready(&why),
                };
                self.respond(now, conn, &answer, below);
            }
            (Target::Page, _) => self.respond(now, conn, &Front::page(), below),
            (Target::Figures, _) => self.open_dashboard(now, conn, below),
            (Target::Metrics, _) => {
                let answer = self.metrics(below);
                self.respond(now, conn, &answer, below);
            }
            (Target::Mcp(server), Method::Post) => self.post(now, conn, server, request, body, below),
            (Target::Mcp(server), Method::Delete) => self.delete(now, conn, server, &request, below),
            (Target::Mcp(server), _) => self.get(now, conn, server, &request, below),
            (Target::Socket(server), _) => self.open_socket(now, conn, server, &request, below),
            (Target::Events(server), _) => self.open_events(now, conn, server, &request, below),
            (Target::Message, _) => self.post_message(now, conn, request, body, below),
        }
    }

    fn metrics(&self, below: &dyn Below) -> Answer {
        let mut text = below.metrics();
        for (name, kind, help, value) in [
            ("http_sessions", "gauge", "Sessions of HTTP clients.", self.sessions.len() as u64),
            ("http_requests_total", "counter", "HTTP requests with a whole head.", self.counts.requests),
            ("http_refused_total", "counter", "HTTP requests refused by their head.", self.counts.refused),
            ("http_rate_limited_total", "counter", "HTTP requests refused as too many.", self.counts.limited),
            (
                "http_lost_events_total",
                "counter",
                "Events dropped because nobody fetched them.",
                self.counts.lost,
            ),
        ] {
            text += &format!(
                "# HELP muxloop_{name} {help}\n# TYPE muxloop_{name} {kind}\nmuxloop_{name} {value}\n"
            );
        }
        Answer {
            status: 200,
            headers: vec![("Content-Type", "text/plain; version=0.0.4; charset=utf-8".into())],
            body: text.into_bytes(),
        }
    }

    fn refuse_bytes(&mut self, conn: Key, error: &HttpError, below: &mut dyn Below) {
        log::debug!(target: "http", "a request was refused: {}", error.reason);
        let manner = Manner::default();
        let answer = Answer::error(error.status, None, -32600, &error.reason);
        below.write(conn, &answer.bytes(&manner));
        self.close(conn, below);
    }

    /// Answers the request of a connection, which is free again then.
    fn respond(&mut self, now: Time, conn: Key, answer: &Answer, below: &mut dyn Below) {
        let Some(state) = self.conns.get(conn) else { return };
        below.write(conn, &answer.bytes(&state.manner));
        self.release(now, conn, below);
    }

    /// Appends to the event stream on a connection.
    fn write_stream(&self, conn: Key, bytes: &[u8], below: &mut dyn Below) {
        let Some(state) = self.conns.get(conn) else { return };
        if state.manner.http10 || bytes.is_empty() {
            return below.write(conn, bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        below.write(conn, &out);
    }

    /// Begins an event stream on a connection.
    fn start_stream(
        &mut self,
        now: Time,
        conn: Key,
        headers: &[(&'static str, String)],
        below: &mut dyn Below,
    ) {
        let Some(state) = self.conns.get(conn) else { return };
        below.write(conn, &answer::stream_head(headers, &state.manner));
        self.set_timer(conn, Some(now + KEEP_ALIVE_MS));
    }

    /// Ends the event stream on a connection.
    fn end_stream(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        if state.manner.http10 {
            state.manner.keep_alive = false;
        } else {
            let mut out = Vec::new();
            write_last_chunk(&mut out);
            below.write(conn, &out);
        }
        self.release(now, conn, below);
    }

    /// A request of a connection has got all it gets.
    fn release(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        self.end_alone(conn, below);
        let Some(state) = self.conns.get_mut(conn) else { return };
        if !state.manner.keep_alive {
            return self.close(conn, below);
        }
        state.busy = Busy::Free;
        self.set_timer(conn, Some(now + IDLE_MS));
        self.resumed.push(conn);
    }

    /// A connection that was held or busy may be free now.
    fn resume(&mut self, _now: Time, conn: Key) {
        if self.conns.get(conn).is_some_and(|state| matches!(state.busy, Busy::Free)) {
            self.resumed.push(conn);
        }
    }

    /// Closes a connection after what is written; its end comes by [`Front::gone`].
    fn close(&mut self, conn: Key, below: &mut dyn Below) {
        self.set_timer(conn, None);
        below.close(conn);
        let Some(state) = self.conns.get_mut(conn) else { return };
        if matches!(state.busy, Busy::Free | Busy::Held(..)) {
            state.busy = Busy::Closing;
        }
    }

    fn set_timer(&mut self, conn: Key, at: Option<Time>) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        if let Some(timer) = state.timer.take() {
            self.timers.cancel(timer);
        }
        state.timer = at.map(|at| self.timers.schedule(at, Due::Conn(conn)));
    }

    fn conn_due(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        if let Some(state) = self.conns.get_mut(conn) {
            state.timer = None;
        }
        let Some(state) = self.conns.get(conn) else { return };
        match &state.busy {
            Busy::Free if state.decoder.phase() == Phase::Idle => self.close(conn, below),
            Busy::Free => {
                let text = "the request did not come to its end in time";
                below.write(conn, &Answer::error(408, None, -32600, text).bytes(&Manner::default()));
                self.close(conn, below);
            }
            Busy::Single(single) if !single.committed => self.commit_single(now, conn, below),
            Busy::Stream(session, number) if !self.is_committed(*session, *number) => {
                let (session, number) = (*session, *number);
                self.commit(now, session, number, below);
            }
            Busy::Single(_) | Busy::Stream(..) | Busy::Events(_) | Busy::Dashboard => {
                let mut comment = Vec::new();
                sse::write_comment(&mut comment, "");
                self.write_stream(conn, &comment, below);
                self.set_timer(conn, Some(now + KEEP_ALIVE_MS));
            }
            Busy::Socket(..) => self.ping_socket(now, conn, below),
            Busy::Held(..) | Busy::Closing => {}
        }
    }
}

/// What may be asked of a target.
fn methods(target: Target) -> &'static str {
    match target {
        Target::Mcp(_) => "GET, POST, DELETE, OPTIONS",
        Target::Events(_) | Target::Socket(_) | Target::Figures => "GET, OPTIONS",
        Target::Message => "POST, OPTIONS",
        Target::Health | Target::Ready | Target::Metrics | Target::Page => "GET, HEAD, OPTIONS",
    }
}

/// The answer to a browser that asks whether it may ask.
fn preflight(request: &Request, target: Target) -> Answer {
    let answer = Answer::empty(204).with("Allow", methods(target));
    if request.headers.get("access-control-request-method").is_none() {
        return answer;
    }
    let asked = request.headers.get("access-control-request-headers");
    let headers =
        asked.unwrap_or("Authorization, Content-Type, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version");
    answer
        .with("Access-Control-Allow-Methods", methods(target))
        .with("Access-Control-Allow-Headers", headers)
        .with("Access-Control-Max-Age", "600")
}

fn not_ready(why: &str) -> Answer {
    let body = serde_json::json!({ "status": "not ready", "why": why });
    Answer::json(503, body.to_string().into_bytes())
}

/// How long a connection may stay in a phase.
fn patience(phase: Phase) -> u64 {
    match phase {
        Phase::Idle => IDLE_MS,
        Phase::Head => HEAD_MS,
        Phase::Body | Phase::Failed => BODY_MS,
    }
}

/// Connections from one address of a network.
const CONNECTIONS_PER_ADDRESS: usize = 256;
/// For the head of a request, in milliseconds.
const HEAD_MS: u64 = 10_000;
/// For a body.
const BODY_MS: u64 = 60_000;
/// For the next request.
const IDLE_MS: u64 = 75_000;
/// Between signs of life on an event stream.
const KEEP_ALIVE_MS: u64 = 15_000;
/// How long an answer may take before its stream begins without it.
const COMMIT_MS: u64 = 5_000;
