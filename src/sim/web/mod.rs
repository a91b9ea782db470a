//! [`Web`]: how a client speaks to the front: connections, requests, streams, and what it does when they break.
//!
//! ```text
//!   Client ─ say ─▶ Web ─▶ POST, frames ─▶ pipes        reply, events, frames: the bytes, strictly
//!   Client ◀ lines ─ Web ◀─ answers, events, frames     judge: which answer may come where
//! ```
//!
//! Everything that a client of MCP means is `client`'s; here is what only HTTP has, and what must hold there:
//! each answer on the request that asked, each event once and in order across connections, no byte out of
//! place.

mod ask;
mod events;
mod frames;
mod judge;
mod reply;

use super::kernel::{Kernel, PipeId, Task};
use crate::base::Time;
use std::collections::{BTreeSet, VecDeque};

/// Which of the front's ways a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Streamable HTTP with a session.
    Streamable,
    /// Streamable HTTP of 2026-07-28.
    Stateless,
    /// HTTP+SSE.
    Events,
    Socket,
}

/// What comes of reading.
#[derive(Debug)]
pub(super) enum Heard {
    Line(String),
    /// An answer that came with a resume.
    Resumed,
    /// Nobody waits for an answer under this id any more.
    Forgiven(String),
    /// Only now a request is read: it waited behind others on its connection.
    Begun(u64),
    Wrong(String),
    /// The front has ended the whole.
    Closed,
}

/// What the front was told about a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub listener: usize,
    pub body_max: usize,
    pub session_timeout_ms: u64,
    /// There may be too many sessions: a new one gets the place of one that is of no use just then.
    pub crowded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Post,
    /// A stream, begun or taken up again.
    Get,
    Delete,
    /// The event stream of HTTP+SSE.
    Events,
    Upgrade,
    /// Something else, which must get this status.
    Probe(u16),
}

/// One request and its answer so far.
#[derive(Debug)]
struct Asked {
    what: What,
    at: Time,
    /// Ids that are answered on it.
    waits: Vec<String>,
    nonces: Vec<u64>,
    /// Nothing is wrong with it.
    clean: bool,
    greets: bool,
    listens: bool,
    length: usize,
    head: Option<reply::Head>,
    body: Vec<u8>,
    events: events::Reader,
    /// The stream's number, once an event has told it.
    stream: Option<u32>,
    /// What a client would resume from.
    last: Option<u32>,
    /// The event that must come next is the one after this.
    expects: Option<u32>,
    resumed: bool,
    /// Its stream has ended before all answers: that can only mean that the session has ended, too.
    cut_short: bool,
    /// Another request for the same stream may come after it, and take over.
    contested: bool,
}

#[derive(Debug)]
struct Conn {
    reads: PipeId,
    writes: PipeId,
    replies: reply::Reader,
    frames: frames::Reader,
    upgraded: bool,
    asked: VecDeque<Asked>,
    /// It takes no more requests: one side has said so.
    closes: bool,
    /// Its client will say no more.
    half_closed: bool,
    /// Another connection was asked for what it carries.
    taken_over: bool,
}

/// The connections of one client.
#[derive(Debug)]
pub(super) struct Web {
    pub way: Way,
    client: usize,
    path: String,
    terms: Terms,
    version: Option<String>,
    session: Option<String>,
    /// Where HTTP+SSE posts to.
    endpoint: Option<String>,
    /// What waits for the stream that must be there first.
    waiting: Vec<String>,
    conns: Vec<Conn>,
    /// Streams to take up again, and when.
    broken: Vec<(Time, Asked)>,
    /// Places on the session's own stream that were heard. An older connection may end after a newer began.
    places: BTreeSet<u32>,
    used: Time,
    /// When it last said something by a WebSocket.
    spoke: Time,
    /// It was not used for so long that its session may have ended.
    quiet: bool,
    too_long: bool,
    /// The front does not know its session any more.
    unknown: bool,
    /// Several requests for its own stream are under way.
    contested: bool,
    deleting: bool,
    closed: bool,
    excused: bool,
    heard: Vec<Heard>,
    /// Requests that muxloop may not have read yet.
    pub unread: Vec<u64>,
}

impl Web {
    pub fn open(kernel: &mut Kernel, client: usize, server: usize, way: Way, terms: Terms) -> Web {
        let mut web = Web {
            way,
            client,
            path: format!("/servers/s{server}/mcp"),
            terms,
            version: None,
            session: None,
            endpoint: None,
            waiting: Vec::new(),
            conns: Vec::new(),
            broken: Vec::new(),
            places: BTreeSet::new(),
            used: kernel.now,
            spoke: kernel.now,
            quiet: false,
            too_long: false,
            unknown: false,
            contested: false,
            deleting: false,
            closed: false,
            excused: false,
            heard: Vec::new(),
            unread: Vec::new(),
        };
        match way {
            Way::Events => web.open_events(kernel, &format!("/sse/s{server}")),
            Way::Socket => web.open_socket(kernel, &format!("/servers/s{server}/ws")),
            _ => {}
        }
        web
    }

    /// Whether everything that was said has been read.
    pub fn is_read(&self, kernel: &Kernel) -> bool {
        self.conns.iter().all(|conn| kernel.is_read(conn.writes))
    }

    /// Whether its session may have ended unused.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether it has sent a message that ends a WebSocket.
    pub fn said_too_much(&self) -> bool {
        self.too_long
    }

    /// Whether answers come in the order in which muxloop gave them.
    pub fn is_ordered(&self) -> bool {
        self.way == Way::Socket
    }

    /// Whether ids and tokens must differ.
    pub fn tells_apart(&self) -> bool {
        matches!(self.way, Way::Streamable | Way::Stateless)
    }

    /// An id that is being answered. Not that of a call made again, of which the client knows by the id alone
    /// what has become of it.
    pub fn an_open_id(&self) -> Option<String> {
        let mut asked = self.conns.iter().flat_map(|conn| &conn.asked);
        asked.find_map(|asked| {
            let first = asked.waits.first().filter(|_| !asked.greets && !asked.listens);
            first.filter(|id| !id.starts_with("\"again ")).cloned()
        })
    }

    /// How long it does nothing but read, to see whether its session stays.
    pub fn rest_ms(&self, kernel: &mut Kernel) -> u64 {
        self.terms.session_timeout_ms.min(2_000) * kernel.choice.between(1, 2) + kernel.choice.between(0, 700)
    }

    /// Notes that the client does something now.
    fn touch(&mut self, now: Time) {
        let carries = |asked: &Asked| asked.stream == Some(OWN) || asked.is_session();
        let reads =
            |conn: &Conn| conn.asked.front().is_some_and(|asked| carries(asked) && asked.head.is_some());
        let watched = self.conns.iter().any(|conn| !conn.half_closed && reads(conn));
        let patience = self.terms.session_timeout_ms.saturating_sub(1_000).max(500);
        self.quiet |= !watched && (self.terms.crowded || now.since(self.used) >= patience);
        self.used = now;
    }

    /// Reads everything that has come; `excused`: muxloop may close what it likes.
    pub fn read(&mut self, kernel: &mut Kernel, excused: bool) -> Vec<Heard> {
        self.excused = excused;
        let mut at = 0;
        while at < self.conns.len() {
            let (bytes, ended) = kernel.recv(self.conns[at].reads);
            if !bytes.is_empty() {
                self.touch(kernel.now);
                self.conns[at].replies.feed(&bytes);
                if let Err(why) = self.take(kernel, at) {
                    let name = self.client;
                    self.heard.push(Heard::Wrong(format!("client {name} got bytes that are wrong: {why}")));
                }
            }
            match ended {
                true => self.on_end(kernel, at),
                false => at += 1,
            }
        }
        self.take_up(kernel);
        std::mem::take(&mut self.heard)
    }

    /// A connection has ended.
    fn on_end(&mut self, kernel: &mut Kernel, at: usize) {
        let mut conn = self.conns.remove(at);
        kernel.leave(conn.reads, conn.writes, false);
        match conn.replies.end() {
            Ok(true) if !conn.upgraded && !conn.half_closed => {
                if let Some(asked) = conn.asked.pop_front() {
                    self.finish(kernel, asked, conn.taken_over);
                }
            }
            Ok(true) if conn.upgraded && !conn.frames.is_whole() => {
                self.wrong("was closed within a frame".into())
            }
            Err(why) if !conn.half_closed => self.wrong(format!("was closed too early: {why}")),
            _ => {}
        }
        let told = conn.closes || conn.half_closed || conn.upgraded;
        for asked in conn.asked {
            if !told && asked.clean && !self.closed && !self.deleting {
                self.wrong(format!("was closed instead of an answer to {:?} {:?}", asked.what, asked.waits));
            }
            self.lose(kernel, asked, conn.taken_over);
        }
    }

    /// Nothing more comes of a request on its connection.
    fn lose(&mut self, kernel: &mut Kernel, mut asked: Asked, taken_over: bool) {
        // What was sent before the break may still be read.
        if asked.what == What::Get && asked.head.is_none() {
            asked.contested = true;
            self.contested |= asked.stream == Some(OWN);
        }
        match asked.what {
            What::Events | What::Upgrade => self.close(),
            _ if taken_over => {}
            What::Get | What::Post if asked.stream.is_some() && !self.deleting => {
                let at = kernel.now + kernel.choice.between(0, 300);
                kernel.schedule(at, Task::Client(self.client));
                self.broken.push((at, asked));
            }
            _ => self.forgive(asked),
        }
    }

    fn forgive(&mut self, asked: Asked) {
        self.heard.extend(asked.waits.into_iter().map(Heard::Forgiven));
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.heard.push(Heard::Closed);
        }
    }

    fn wrong(&mut self, what: String) {
        if !self.excused {
            self.heard.push(Heard::Wrong(format!("client {} {what}", self.client)));
        }
    }

    /// Gives up all connections.
    pub fn leave(&mut self, kernel: &mut Kernel, reset: bool) {
        self.closed = true;
        for conn in self.conns.drain(..) {
            kernel.leave(conn.reads, conn.writes, reset);
        }
    }

    /// Something that clients of HTTP do: open a stream, break one, ask beside the point.
    pub fn stir(&mut self, kernel: &mut Kernel) {
        let has_session = self.session.is_some() && !self.deleting;
        match kernel.choice.weighted(&[40, 25, 8, 6, 10]) {
            0 if has_session => {
                let open = self.own_stream();
                // Two at a time are one too many: the second takes over.
                if open.is_none() || kernel.choice.chance(20) {
                    if let Some(at) = open {
                        self.conns[at].taken_over = true;
                        self.conns[at].closes = true;
                    }
                    self.broken.retain(|(_, asked)| asked.stream != Some(OWN));
                    self.contested |= open.is_some();
                    self.get(kernel, None);
                }
            }
            1 => self.cut(kernel),
            2 => self.half_close(kernel),
            3 => self.probe(kernel),
            _ => {}
        }
    }

    /// Where the session's own stream is carried.
    fn own_stream(&self) -> Option<usize> {
        let carries = |asked: &Asked| asked.what == What::Get && asked.stream == Some(OWN);
        self.conns.iter().position(|conn| conn.asked.iter().any(carries) && !conn.taken_over)
    }

    /// Any connection but one that the whole depends on.
    fn some_conn(&self, kernel: &mut Kernel) -> Option<usize> {
        let matters = |asked: &Asked| asked.greets || asked.is_session();
        let fit = |conn: &Conn| !conn.upgraded && !conn.asked.iter().any(matters);
        let some: Vec<usize> = (0..self.conns.len()).filter(|at| fit(&self.conns[*at])).collect();
        (!some.is_empty()).then(|| kernel.choice.pick(&some))
    }

    /// A connection breaks. Of a 2026-07-28 client that takes back what it asked there.
    pub fn cut(&mut self, kernel: &mut Kernel) {
        let Some(at) = self.some_conn(kernel) else { return };
        self.touch(kernel.now);
        let conn = self.conns.remove(at);
        let reset = kernel.choice.chance(40);
        kernel
            .trace
            .add(kernel.now, format_args!("client {} breaks {:?} (reset: {reset})", self.client, conn.asked));
        kernel.leave(conn.reads, conn.writes, reset);
        for asked in conn.asked {
            self.lose(kernel, asked, conn.taken_over);
        }
    }

    /// Says that no more comes on a connection. Its answers still do.
    fn half_close(&mut self, kernel: &mut Kernel) {
        let Some(at) = self.some_conn(kernel) else { return };
        let conn = &mut self.conns[at];
        if conn.half_closed || conn.asked.iter().any(|asked| asked.what == What::Get) {
            return;
        }
        kernel.trace.add(kernel.now, format_args!("client {} half-closes {:?}", self.client, conn.asked));
        // What is asked in a session is answered all the same.
        conn.half_closed = self.way == Way::Stateless || conn.asked.is_empty();
        conn.closes = true;
        kernel.end(conn.writes);
    }

    /// After the calm: what is still owed beside answers.
    pub fn check(&self, now: Time, patience_ms: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        for asked in self.conns.iter().flat_map(|conn| &conn.asked) {
            let is_stream = asked.listens || asked.what == What::Get || asked.is_session();
            if now.since(asked.at) > patience_ms && !(is_stream && asked.head.is_some()) {
                wrong.push(format!("client {} has no answer to {asked:?}", self.client));
            }
        }
        if self.unknown && !self.closed {
            wrong.push(format!("client {} has a stream without a session", self.client));
        }
        if !self.waiting.is_empty() && now.since(self.used) > patience_ms {
            wrong.push(format!("client {} still waits for its stream", self.client));
        }
        wrong
    }
}

impl Conn {
    fn new(reads: PipeId, writes: PipeId) -> Conn {
        Conn {
            reads,
            writes,
            replies: reply::Reader::new(),
            frames: frames::Reader::default(),
            upgraded: false,
            asked: VecDeque::new(),
            closes: false,
            half_closed: false,
            taken_over: false,
        }
    }
}

impl Asked {
    /// Whether the session is nothing but this.
    fn is_session(&self) -> bool {
        matches!(self.what, What::Events | What::Upgrade)
    }

    fn new(what: What, at: Time) -> Asked {
        Asked {
            what,
            at,
            waits: Vec::new(),
            nonces: Vec::new(),
            clean: true,
            greets: false,
            listens: false,
            length: 0,
            head: None,
            body: Vec::new(),
            events: events::Reader::default(),
            stream: None,
            last: None,
            expects: None,
            resumed: false,
            cut_short: false,
            contested: false,
        }
    }
}

/// Number of the stream that is the session's own.
const OWN: u32 = 0;
