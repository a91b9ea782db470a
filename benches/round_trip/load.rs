//! The load client: one thread, one epoll set, any number of connections. Each one shakes hands
//! (`initialize`, `notifications/initialized`); the busy ones then keep N requests in flight, the idle
//! ones stay silent. Every answer is checked for id, nonce, owner and text (`payload.rs`).
//!
//! A latency runs from just before the write that carried the request to just after the read that
//! brought the answer. An answer nobody waits for, a wrong one, an early end of a connection and ten
//! seconds without any answer are errors of the relay and end the run.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::histogram::Histogram;
use crate::lines::{Inbox, Outbox, Pool};
use crate::payload::{Answer, INITIALIZE, INITIALIZED, Payload, Shape, Timing};
use crate::processes::interrupted;
use crate::sys::{self, Interest, Poll};

/// How long nothing may happen before the relay counts as stuck.
const PATIENCE: Duration = Duration::from_secs(10);

const GREETINGS_AT_ONCE: usize = 256;

/// When to measure, and when to stop.
#[derive(Clone, Copy)]
pub enum Until {
    /// Warm up, measure for a window, stop.
    Timed(Timing),
    /// Measure from the first answer on, until standard input ends.
    InputEnds,
}

/// Moments of a run at which the caller reads the relay's figures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Every connection has shaken hands; nothing is in flight.
    Ready,
    WindowStarts,
    WindowEnds,
}

/// What happened inside the window.
pub struct Outcome {
    pub answers: u64,
    /// JSON-RPC errors instead of answers.
    pub refused: u64,
    pub elapsed: Duration,
    pub latency: Histogram,
}

/// Why a run is void: the relay's (or our own) fault in one line.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// One connection to a server or relay: a socket twice, or two pipes.
pub struct End {
    reader: Rc<File>,
    writer: Rc<File>,
}

impl End {
    pub fn socket(path: &Path) -> io::Result<Self> {
        let socket = Rc::new(File::from(sys::connect_unix(path, PATIENCE)?));
        sys::set_nonblocking(&*socket)?;
        Ok(Self { reader: Rc::clone(&socket), writer: socket })
    }

    pub fn pipes(reader: OwnedFd, writer: OwnedFd) -> io::Result<Self> {
        for pipe in [&reader, &writer] {
            sys::set_nonblocking(pipe)?;
            sys::widen_pipe(pipe);
        }
        Ok(Self { reader: Rc::new(reader.into()), writer: Rc::new(writer.into()) })
    }

    fn is_socket(&self) -> bool {
        Rc::ptr_eq(&self.reader, &self.writer)
    }
}

/// What to do over the connections.
#[derive(Clone, Copy)]
pub struct Plan {
    pub shape: Shape,
    pub until: Until,
    /// The number of the first client in its nonces.
    pub first_client: usize,
    /// A JSON-RPC error counts as refused, and is not a failure.
    pub refusals_allowed: bool,
}

impl Plan {
    pub fn timed(shape: Shape, timing: Timing) -> Self {
        Self { shape, until: Until::Timed(timing), first_client: 0, refusals_allowed: false }
    }
}

/// Runs `plan` over `ends`; the first `shape.clients` of them are busy, the rest idle.
pub fn run(ends: Vec<End>, plan: Plan, mut at: impl FnMut(Moment)) -> Result<Outcome, Failure> {
    let Plan { shape, until, .. } = plan;
    let mut load = Load::new(ends, plan)?;
    load.shake_hands()?;
    at(Moment::Ready);
    load.asking = true;
    for client in 0..shape.clients {
        load.fill(client)?;
    }
    match until {
        Until::Timed(timing) => {
            load.drive(Some(Instant::now() + timing.warm_up), |_| false)?;
            at(Moment::WindowStarts);
            load.start_window();
            // At least one answer, however slow: a window without any says nothing.
            let end = load.started + timing.window;
            load.drive(None, |load| load.answers > 0 && load.now >= end)?;
        }
        Until::InputEnds => {
            let (input, _) = sys::stdio();
            load.poll.add(input, INPUT_TOKEN, Interest::Read)?;
            load.drive(None, |load| load.answers > 0)?;
            at(Moment::WindowStarts);
            load.start_window();
            load.drive(None, |load| load.input_ended)?;
        }
    }
    let elapsed = load.started.elapsed();
    at(Moment::WindowEnds);
    let (answers, refused) = (load.answers, load.refused);
    let latency = load.latency.clone();
    // What is still in flight is answered and checked too, outside the window.
    load.asking = false;
    load.drive(None, |load| load.in_flight == 0)?;
    Ok(Outcome { answers, refused, elapsed, latency })
}

struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    payload: Payload,
    pool: Pool,
    refusals_allowed: bool,
    /// Connections whose handshake is not over.
    greeting: usize,
    /// Requests in flight on all connections.
    in_flight: usize,
    /// Every answer is followed by the next request.
    asking: bool,
    input_ended: bool,
    now: Instant,
    started: Instant,
    last_progress: Instant,
    answers: u64,
    refused: u64,
    latency: Histogram,
}

struct Connection {
    end: End,
    inbox: Inbox,
    outbox: Outbox,
    greeted: bool,
    blocked: bool,
    /// One per request in flight. The request's id is `1 + slot + slots * uses`.
    slots: Vec<Slot>,
    /// Slots to ask again with, once this connection's input is read.
    ready: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// The next or outstanding id.
    id: u64,
    /// When its request was sent, if it is outstanding.
    sent: Option<Instant>,
}

impl Load {
    fn new(ends: Vec<End>, plan: Plan) -> io::Result<Self> {
        let shape = plan.shape;
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(ends.len());
        for (index, end) in ends.into_iter().enumerate() {
            poll.add(&*end.reader, index as u64 * 2, Interest::Read)?;
            let busy = index < shape.clients;
            let slots = if busy { shape.in_flight } else { 0 };
            connections.push(Connection {
                end,
                inbox: Inbox::default(),
                outbox: Outbox::default(),
                greeted: false,
                blocked: false,
                slots: (0..slots).map(|slot| Slot { id: 1 + slot as u64, sent: None }).collect(),
                ready: (0..slots as u32).collect(),
            });
        }
        let now = Instant::now();
        Ok(Self {
            poll,
            greeting: connections.len(),
            connections,
            payload: Payload::new(shape.bytes, plan.first_client),
            pool: Pool::default(),
            refusals_allowed: plan.refusals_allowed,
            in_flight: 0,
            asking: false,
            input_ended: false,
            now,
            started: now,
            last_progress: now,
            answers: 0,
            refused: 0,
            latency: Histogram::new(),
        })
    }

    /// Greets in groups: ten thousand handshakes at once are a storm of their own, which rmcp-mux
    /// answers with "overloaded".
    fn shake_hands(&mut self) -> Result<(), Failure> {
        let count = self.connections.len();
        for first in (0..count).step_by(GREETINGS_AT_ONCE) {
            let end = count.min(first + GREETINGS_AT_ONCE);
            for index in first..end {
                self.connections[index].outbox.buffer.extend_from_slice(INITIALIZE);
                self.flush(index)?;
            }
            self.drive(None, |load| load.greeting == count - end)?;
        }
        Ok(())
    }

    fn start_window(&mut self) {
        (self.answers, self.refused) = (0, 0);
        self.latency.clear();
        self.started = Instant::now();
        self.now = self.started;
    }

    /// Handles events until `done` says so after a batch, or until `deadline`.
    fn drive(&mut self, deadline: Option<Instant>, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        self.now = Instant::now();
        self.last_progress = self.now;
        while !done(self) {
            let limit = deadline.unwrap_or(self.now + Duration::from_millis(100));
            let count = self.poll.wait(Some(limit.saturating_duration_since(self.now)))?;
            for index in 0..count {
                let ready = self.poll.ready(index);
                if ready.token == INPUT_TOKEN {
                    self.input_ended = true;
                    self.poll.remove(sys::stdio().0)?;
                    continue;
                }
                let connection = (ready.token / 2) as usize;
                if ready.writable {
                    self.flush(connection)?;
                }
                if ready.readable && ready.token.is_multiple_of(2) {
                    self.receive(connection)?;
                }
            }
            self.now = Instant::now();
            if deadline.is_some_and(|deadline| self.now >= deadline) {
                return Ok(());
            }
            if interrupted() {
                return Err(Failure("interrupted".into()));
            }
            if self.now - self.last_progress > PATIENCE {
                return Err(Failure(format!(
                    "stuck: nothing came for {} s with {} requests in flight and {} handshakes to go",
                    PATIENCE.as_secs(),
                    self.in_flight,
                    self.greeting
                )));
            }
        }
        Ok(())
    }

    /// One read: checks each answer, then asks again with every slot that came free.
    fn receive(&mut self, index: usize) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        match connection.inbox.read(&*connection.end.reader, &mut self.pool)? {
            None => return Ok(()),
            Some(0) => return Err(Failure(format!("the connection of client {index} was closed"))),
            Some(_) => {}
        }
        let now = Instant::now();
        self.last_progress = now;
        while let Some(line) = connection.inbox.next_line() {
            if !connection.greeted {
                check_greeting(line, index)?;
                connection.greeted = true;
                connection.outbox.buffer.extend_from_slice(INITIALIZED);
                self.greeting -= 1;
                continue;
            }
            let answer =
                self.payload.check_answer(line, index).map_err(|wrong| Failure(wrong.to_string()))?;
            let (Answer::Right(id) | Answer::Refused(id)) = answer;
            let Some(sent) = take_outstanding(&mut connection.slots, &mut connection.ready, id) else {
                return Err(Failure(format!("client {index}: an answer to {id}, which is not outstanding")));
            };
            self.in_flight -= 1;
            match answer {
                Answer::Right(_) => {
                    self.answers += 1;
                    self.latency.record(now - sent);
                }
                Answer::Refused(_) if self.refusals_allowed => self.refused += 1,
                Answer::Refused(_) => {
                    let text = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                    return Err(Failure(format!("client {index}: refused: {text}")));
                }
            }
        }
        connection.inbox.settle(&mut self.pool);
        if self.asking { self.fill(index) } else { self.flush(index) }
    }

    /// Asks with every free slot of a connection, in one write.
    fn fill(&mut self, index: usize) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        let now = Instant::now();
        for slot in connection.ready.drain(..) {
            let slot = &mut connection.slots[slot as usize];
            self.payload.write_request(&mut connection.outbox.buffer, index, slot.id);
            slot.sent = Some(now);
            self.in_flight += 1;
        }
        self.flush(index)
    }

    fn flush(&mut self, index: usize) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        if connection.outbox.is_empty() {
            return Ok(());
        }
        let flushed = connection
            .outbox
            .flush(&*connection.end.writer)
            .map_err(|error| Failure(format!("writing for client {index}: {error}")))?;
        if connection.blocked == flushed {
            connection.blocked = !flushed;
            connection.watch_writable(&self.poll, index as u64, !flushed)?;
        }
        Ok(())
    }
}

impl Connection {
    fn watch_writable(&self, poll: &Poll, index: u64, on: bool) -> io::Result<()> {
        match (self.end.is_socket(), on) {
            (true, true) => poll.modify(&*self.end.reader, index * 2, Interest::ReadWrite),
            (true, false) => poll.modify(&*self.end.reader, index * 2, Interest::Read),
            (false, true) => poll.add(&*self.end.writer, index * 2 + 1, Interest::Write),
            (false, false) => poll.remove(&*self.end.writer),
        }
    }
}

/// Frees the slot of `id` for the next request. `None` if nothing is outstanding under that id.
fn take_outstanding(slots: &mut [Slot], ready: &mut Vec<u32>, id: u64) -> Option<Instant> {
    let count = slots.len() as u64;
    let place = id.checked_sub(1)?.checked_rem(count)?;
    let slot = &mut slots[place as usize];
    if slot.id != id {
        return None;
    }
    let sent = slot.sent.take()?;
    slot.id += count;
    ready.push(place as u32);
    Some(sent)
}

fn check_greeting(line: &[u8], index: usize) -> Result<(), Failure> {
    let is_result =
        memmem::find(line, b"\"serverInfo\"").is_some() && memmem::find(line, b"\"id\":0").is_some();
    if is_result {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&line[..line.len().min(200)]);
    Err(Failure(format!("client {index}: `initialize` was answered by {text}")))
}

/// Standard input in the epoll set; connections have their index times two, plus one for a second pipe.
const INPUT_TOKEN: u64 = u64::MAX;

/// Shows that an answer is taken once, and only under an id that is outstanding. Run by the self test.
pub fn self_test() {
    let sent = Some(Instant::now());
    let mut slots = [Slot { id: 1, sent }, Slot { id: 2, sent: None }, Slot { id: 9, sent }];
    let mut ready = Vec::new();
    assert_eq!(take_outstanding(&mut slots, &mut ready, 0), None, "an id nobody uses");
    assert_eq!(take_outstanding(&mut slots, &mut ready, 2), None, "a slot that asked nothing");
    assert_eq!(take_outstanding(&mut slots, &mut ready, 3), None, "an earlier id of a slot");
    assert_eq!(take_outstanding(&mut slots, &mut ready, 9), sent);
    assert_eq!(take_outstanding(&mut slots, &mut ready, 9), None, "a repeated answer");
    assert_eq!(take_outstanding(&mut [], &mut ready, 1), None, "an idle connection");
    assert_eq!((ready, slots[2].id), (vec![2], 12));
    assert!(check_greeting(b"{\"id\":0,\"result\":{\"serverInfo\":{}}}", 0).is_ok());
    assert!(check_greeting(b"{\"id\":0,\"error\":{\"code\":-32603}}", 0).is_err());
}
