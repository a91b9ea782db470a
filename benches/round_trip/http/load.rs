//! The HTTP load client: one thread, one epoll set, a keep-alive connection per session. Each session
//! shakes hands (`initialize`, `notifications/initialized`) and then calls the tool `echo` again and
//! again, one call in flight. Every answer is checked for id, nonce, owner and text (`payload.rs`).
//!
//! A latency runs from just before the write that carried the request to just after the read that
//! brought the last byte of the HTTP answer, because only then the connection is free for the next.
//! An error of HTTP or JSON-RPC, a wrong answer and a connection that ends early end the run.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use memchr::memmem;

use super::reply::Reply;
use crate::histogram::Histogram;
use crate::lines::{Outbox, push_integer};
use crate::load::{Failure, Moment, Outcome};
use crate::payload::{Answer, INITIALIZE, INITIALIZED, Payload, Timing};
use crate::processes::interrupted;
use crate::sys::{self, Interest, Poll};

/// How long nothing may happen before the front counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// A front that starts a process per session is slow to greet; all at once would time out.
const GREETINGS_AT_ONCE: usize = 10;

/// Bytes of one read.
const READ_LEN: usize = 16 * 1024;

/// What to ask, and whom.
#[derive(Clone, Copy)]
pub struct Plan {
    pub address: SocketAddr,
    pub path: &'static str,
    pub sessions: usize,
    /// Of a request's body.
    pub bytes: usize,
    pub timing: Timing,
}

/// Runs `plan`; `at` is told the moments of the run.
pub fn run(plan: Plan, mut at: impl FnMut(Moment)) -> Result<Outcome, Failure> {
    let mut load = Load::new(plan)?;
    for first in (0..plan.sessions).step_by(GREETINGS_AT_ONCE) {
        let end = plan.sessions.min(first + GREETINGS_AT_ONCE);
        for index in first..end {
            load.send(index, INITIALIZE.trim_ascii_end())?;
        }
        load.drive(None, |load| load.ready >= end)?;
    }
    at(Moment::Ready);
    load.asking = true;
    for index in 0..plan.sessions {
        load.call(index)?;
    }
    let warm = load.now + plan.timing.warm_up;
    load.drive(Some(warm), |_| false)?;
    at(Moment::WindowStarts);
    load.answers = 0;
    load.latency.clear();
    let started = Instant::now();
    load.drive(Some(started + plan.timing.window), |_| false)?;
    // At least one answer, however slow: a window without any says nothing.
    load.drive(None, |load| load.answers > 0)?;
    let elapsed = started.elapsed();
    at(Moment::WindowEnds);
    let (answers, latency) = (load.answers, load.latency.clone());
    load.asking = false;
    load.drive(None, |load| load.in_flight == 0)?;
    Ok(Outcome { answers, refused: 0, elapsed, latency })
}

struct Load {
    poll: Poll,
    sessions: Vec<Session>,
    plan: Plan,
    payload: Payload,
    /// Sessions whose handshake is over.
    ready: usize,
    in_flight: usize,
    /// Every answer is followed by the next call.
    asking: bool,
    now: Instant,
    answers: u64,
    latency: Histogram,
}

struct Session {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Outbox,
    blocked: bool,
    stage: Stage,
    /// The head of every request up to the number of its `Content-Length`.
    head: String,
    /// The id of the call in flight, or of the last one.
    id: u64,
    sent: Option<Instant>,
}

/// What the next answer is for.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Initialize,
    Initialized,
    Call,
}

impl Load {
    fn new(plan: Plan) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let mut sessions = Vec::with_capacity(plan.sessions);
        for index in 0..plan.sessions {
            let stream = connect(plan.address)?;
            poll.add(&stream, index as u64, Interest::Read)?;
            sessions.push(Session {
                stream,
                inbox: Vec::new(),
                outbox: Outbox::default(),
                blocked: false,
                stage: Stage::Initialize,
                head: head(plan, ""),
                id: 0,
                sent: None,
            });
        }
        Ok(Self {
            poll,
            sessions,
            plan,
            payload: Payload::new(plan.bytes, 0),
            ready: 0,
            in_flight: 0,
            asking: false,
            now: Instant::now(),
            answers: 0,
            latency: Histogram::new(),
        })
    }

    /// Handles events until `done` says so after a batch, or until `deadline`.
    fn drive(&mut self, deadline: Option<Instant>, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        self.now = Instant::now();
        let mut last_progress = self.now;
        while !done(self) {
            let limit = deadline.unwrap_or(self.now + Duration::from_millis(100));
            let count = self.poll.wait(Some(limit.saturating_duration_since(self.now)))?;
            for index in 0..count {
                let ready = self.poll.ready(index);
                if ready.writable {
                    self.flush(ready.token as usize)?;
                }
                if ready.readable {
                    self.receive(ready.token as usize)?;
                }
            }
            self.now = Instant::now();
            if count > 0 {
                last_progress = self.now;
            }
            if deadline.is_some_and(|deadline| self.now >= deadline) {
                return Ok(());
            }
            if interrupted() {
                return Err(Failure("interrupted".into()));
            }
            if self.now - last_progress > PATIENCE {
                let (seconds, ready, in_flight) = (PATIENCE.as_secs(), self.ready, self.in_flight);
                return Err(Failure(format!(
                    "stuck: nothing came for {seconds} s with {in_flight} requests in flight, {ready} sessions ready"
                )));
            }
        }
        Ok(())
    }

    /// One read, and what follows from the answer if it is whole.
    fn receive(&mut self, index: usize) -> Result<(), Failure> {
        let session = &mut self.sessions[index];
        let void = |why: String| Failure(format!("session {index}: {why}"));
        match sys::read_onto(&session.stream, &mut session.inbox, READ_LEN) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
            // A front may close what was idle for a while; the next request connects again.
            Ok(0) if session.sent.is_none() => return self.reconnect(index),
            Ok(0) => return Err(void("the connection was closed in front of an answer".into())),
            Ok(_) => {}
        }
        let Some((reply, len)) = Reply::read(&session.inbox).map_err(void)? else { return Ok(()) };
        let now = Instant::now();
        if len != session.inbox.len() {
            return Err(void("more than one answer".into()));
        }
        session.inbox.clear();
        let sent = session.sent.take().ok_or_else(|| void("an answer nobody waits for".into()))?;
        self.in_flight -= 1;
        if !reply.keep_alive {
            self.reconnect(index)?;
        }
        self.take(index, &reply, now - sent).map_err(|why| void(format!("{why}; it was {}", reply.excerpt())))
    }

    /// An answer: checks it and does what comes next.
    fn take(&mut self, index: usize, reply: &Reply, latency: Duration) -> Result<(), Failure> {
        let session = &mut self.sessions[index];
        let message = || reply.message().ok_or_else(|| Failure("no JSON-RPC answer".into()));
        match (session.stage, reply.status) {
            (Stage::Initialize, 200) => {
                if memmem::find(&message()?, b"\"serverInfo\"").is_none() {
                    return Err(Failure("`initialize` failed".into()));
                }
                let id = reply.session.as_deref().map(String::from_utf8_lossy);
                session.head = head(self.plan, &id.ok_or_else(|| Failure("no session".into()))?);
                session.stage = Stage::Initialized;
                self.send(index, INITIALIZED.trim_ascii_end())
            }
            (Stage::Initialized, 202) => {
                session.stage = Stage::Call;
                self.ready += 1;
                Ok(())
            }
            (Stage::Call, 200) => {
                let answer = self.payload.check_text(&message()?, index);
                match answer.map_err(|wrong| Failure(wrong.to_string()))? {
                    Answer::Right(id) if id == session.id => {}
                    Answer::Right(id) => return Err(Failure(format!("an answer to {id}"))),
                    Answer::Refused(_) => return Err(Failure("refused".into())),
                }
                self.answers += 1;
                self.latency.record(latency);
                if self.asking { self.call(index) } else { Ok(()) }
            }
            (_, status) => Err(Failure(format!("status {status}"))),
        }
    }

    /// The next `tools/call` of a session.
    fn call(&mut self, index: usize) -> Result<(), Failure> {
        let mut body = Vec::with_capacity(self.plan.bytes + 16);
        self.sessions[index].id += 1;
        self.payload.write_request(&mut body, index, self.sessions[index].id);
        self.send(index, body.trim_ascii_end())
    }

    fn send(&mut self, index: usize, body: &[u8]) -> Result<(), Failure> {
        let session = &mut self.sessions[index];
        let out = &mut session.outbox.buffer;
        out.extend_from_slice(session.head.as_bytes());
        push_integer(out, body.len() as u64);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
        session.sent = Some(Instant::now());
        self.in_flight += 1;
        self.flush(index)
    }

    fn flush(&mut self, index: usize) -> Result<(), Failure> {
        let session = &mut self.sessions[index];
        if session.outbox.is_empty() {
            return Ok(());
        }
        let flushed = session
            .outbox
            .flush(&session.stream)
            .map_err(|error| Failure(format!("writing for session {index}: {error}")))?;
        if session.blocked == flushed {
            session.blocked = !flushed;
            let interest = if flushed { Interest::Read } else { Interest::ReadWrite };
            self.poll.modify(&session.stream, index as u64, interest)?;
        }
        Ok(())
    }

    fn reconnect(&mut self, index: usize) -> Result<(), Failure> {
        let session = &mut self.sessions[index];
        // The old one leaves the epoll set as it is closed.
        session.stream = connect(self.plan.address)?;
        session.blocked = false;
        self.poll.add(&session.stream, index as u64, Interest::Read)?;
        Ok(())
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// What the SDKs' clients send, up to the number of `Content-Length`.
fn head(plan: Plan, session: &str) -> String {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: round_trip\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n",
        plan.path, plan.address
    );
    if !session.is_empty() {
        let _ = write!(head, "Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-06-18\r\n");
    }
    head + "Content-Length: "
}
