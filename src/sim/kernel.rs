//! [`Kernel`]: pipes, sockets, processes and a clock in memory, behind the engine's port traits.
//!
//! ```text
//!   writer ──▶ flight ──(delivered in pieces, late)──▶ arrived ──▶ reader
//! ```
//!
//! It keeps the promises of `engine::port` and no more: readiness is told when it begins, together with
//! spurious and delayed tellings in any order; a read that was not filled is told on again only when more
//! arrives; a write that was cut short only when there is room.

mod ports;

use super::choice::Choice;
use super::trace::Trace;
use crate::base::{Key, Time};
use crate::engine::port::{ExitStatus, Ready};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::rc::Rc;

pub(super) type PipeId = usize;

/// Who holds an end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// muxloop; the key once it is registered.
    Engine(Option<Key>),
    Client(usize),
    Process(usize),
}

/// What the clock has waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Bytes in flight arrive.
    Deliver(PipeId),
    /// A writer that was cut short may go on.
    Room(PipeId),
    Client(usize),
    Process(usize),
    /// Nothing but another turn.
    Wake,
}

/// How rough the kernel is; all zero is calm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub delay_ms: u64,
    pub split: u64,
    pub stall: u64,
    pub stall_ms: u64,
    pub hold: u64,
    pub short_write: u64,
    pub spawn_failure: u64,
    pub accept_failure: u64,
}

/// One direction of a stream.
#[derive(Debug)]
struct Pipe {
    flight: VecDeque<u8>,
    arrived: VecDeque<u8>,
    capacity: usize,
    reader: Holder,
    writer: Holder,
    writer_closed: bool,
    /// The reader gets the end after what has arrived.
    ended: bool,
    reader_closed: bool,
    /// The reader gets `ConnectionReset`, once.
    reset: bool,
    scheduled: bool,
    starved: bool,
}

/// A process of the kernel; what it does is `child`'s business.
#[derive(Debug)]
pub(super) struct Process {
    pub key: Key,
    pub server: usize,
    pub stdin: PipeId,
    pub stdout: PipeId,
    pub stderr: PipeId,
    pub alive: bool,
    /// A descendant keeps its output open until it is swept.
    pub leaves_orphan: bool,
    pub terminated: bool,
    pub swept: bool,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub now: Time,
    pub choice: Choice,
    pub trace: Trace,
    pub weather: Weather,
    pub processes: Vec<Process>,
    /// Counts what the engine gets done: a turn without any has been idle.
    pub work: u64,
    pipes: Vec<Pipe>,
    tasks: BTreeMap<(Time, u64), Task>,
    sequence: u64,
    ready: Vec<Ready>,
    /// Connections that wait to be accepted: what muxloop reads and what it writes.
    backlogs: Vec<VecDeque<[PipeId; 2]>>,
    registered: BTreeMap<Key, [Option<PipeId>; 2]>,
}

/// The kernel as its users share it.
#[derive(Clone, Debug)]
pub(super) struct Handle(pub Rc<RefCell<Kernel>>);

/// A stream as the engine holds it.
struct Stream {
    kernel: Handle,
    reads: Option<PipeId>,
    writes: Option<PipeId>,
}

impl Kernel {
    pub fn new(choice: Choice, weather: Weather, listeners: usize) -> Kernel {
        Kernel {
            now: Time::ZERO,
            choice,
            trace: Trace::new(),
            weather,
            processes: Vec::new(),
            work: 0,
            pipes: Vec::new(),
            tasks: BTreeMap::new(),
            sequence: 0,
            ready: Vec::new(),
            backlogs: vec![VecDeque::new(); listeners],
            registered: BTreeMap::new(),
        }
    }

    pub fn schedule(&mut self, at: Time, task: Task) {
        self.sequence += 1;
        self.tasks.insert((at.max(self.now), self.sequence), task);
    }

    pub fn next_task_at(&self) -> Option<Time> {
        self.tasks.keys().next().map(|(at, _)| *at)
    }

    /// The next task that is due.
    pub fn pop_task(&mut self) -> Option<Task> {
        let entry = self.tasks.first_entry().filter(|entry| entry.key().0 <= self.now)?;
        Some(entry.remove())
    }

    /// Streams that the engine has registered.
    pub fn registered(&self) -> usize {
        self.registered.len()
    }

    /// The events of a turn, in any order; some are told later.
    pub fn take_ready(&mut self) -> Vec<Ready> {
        let mut ready = std::mem::take(&mut self.ready);
        for at in (1..ready.len()).rev() {
            let other = self.choice.below(at + 1);
            ready.swap(at, other);
        }
        let hold = self.weather.hold;
        let (told, held): (Vec<_>, Vec<_>) = ready.into_iter().partition(|_| !self.choice.chance(hold));
        self.ready = held;
        if !self.ready.is_empty() {
            let at = self.now + self.choice.between(1, 2);
            self.schedule(at, Task::Wake);
        }
        told
    }

    fn pipe(&mut self, writer: Holder, reader: Holder, capacity: usize) -> PipeId {
        self.pipes.push(Pipe {
            flight: VecDeque::new(),
            arrived: VecDeque::new(),
            capacity,
            reader,
            writer,
            writer_closed: false,
            ended: false,
            reader_closed: false,
            reset: false,
            scheduled: false,
            starved: false,
        });
        self.pipes.len() - 1
    }

    fn capacity(&mut self) -> usize {
        self.choice.pick(&[64 << 10, 64 << 10, 4096, 700, 100])
    }

    /// A client connects: gives what it reads from and what it writes to.
    pub fn connect(&mut self, client: usize, listener: usize) -> [PipeId; 2] {
        let (there, back) = (self.capacity(), self.capacity());
        let up = self.pipe(Holder::Client(client), Holder::Engine(None), there);
        let down = self.pipe(Holder::Engine(None), Holder::Client(client), back);
        self.backlogs[listener].push_back([up, down]);
        self.ready.push(Ready::Accept { listener });
        [down, up]
    }

    /// An actor writes; to a closed pipe that is lost.
    pub fn send(&mut self, id: PipeId, bytes: &[u8]) {
        if !self.pipes[id].reader_closed && !self.pipes[id].writer_closed {
            self.pipes[id].flight.extend(bytes);
            self.launch(id);
        }
    }

    /// An actor reads what has arrived; whether the end has.
    pub fn recv(&mut self, id: PipeId) -> (Vec<u8>, bool) {
        let pipe = &mut self.pipes[id];
        let bytes: Vec<u8> = pipe.arrived.drain(..).collect();
        let ended = pipe.ended;
        if !bytes.is_empty() {
            self.make_room(id);
        }
        (bytes, ended)
    }

    /// Whether everything that was sent has been read.
    pub fn is_read(&self, id: PipeId) -> bool {
        let pipe = &self.pipes[id];
        pipe.flight.is_empty() && pipe.arrived.is_empty()
    }

    /// An actor says no more.
    pub fn end(&mut self, id: PipeId) {
        self.pipes[id].writer_closed = true;
        self.launch(id);
    }

    /// An actor leaves: `down` is what it read. With `reset` it left bytes unread.
    pub fn leave(&mut self, down: PipeId, up: PipeId, reset: bool) {
        self.pipes[down].reader_closed = true;
        self.pipes[down].arrived.clear();
        self.pipes[down].flight.clear();
        if reset {
            let pipe = &mut self.pipes[up];
            (pipe.reset, pipe.ended, pipe.writer_closed) = (true, true, true);
            pipe.flight.clear();
            pipe.arrived.clear();
            self.tell_reader(up);
        } else if self.pipes[up].ended {
            // It had ended its side before; now it does not even wait.
            self.tell_reader(up);
        }
        self.tell_writer(down);
        self.end(up);
    }

    fn launch(&mut self, id: PipeId) {
        let pipe = &self.pipes[id];
        let has_work = !pipe.flight.is_empty() || (pipe.writer_closed && !pipe.ended);
        if pipe.scheduled || !has_work {
            return;
        }
        self.pipes[id].scheduled = true;
        let Weather { delay_ms, stall, stall_ms, .. } = self.weather;
        let mut delay = self.choice.between(0, delay_ms);
        if self.choice.chance(stall) {
            delay += self.choice.between(1, stall_ms.max(1));
        }
        self.schedule(self.now + delay, Task::Deliver(id));
    }

    pub fn deliver(&mut self, id: PipeId) {
        let split = self.choice.chance(self.weather.split);
        let pipe = &mut self.pipes[id];
        pipe.scheduled = false;
        let engine_writes = matches!(pipe.writer, Holder::Engine(_));
        let room = if engine_writes { usize::MAX } else { pipe.capacity.saturating_sub(pipe.arrived.len()) };
        let mut n = pipe.flight.len().min(room);
        if split && n > 1 {
            n = 1 + self.choice.below(n);
        }
        let pipe = &mut self.pipes[id];
        pipe.arrived.extend(pipe.flight.drain(..n));
        let ends = pipe.flight.is_empty() && pipe.writer_closed && !pipe.ended;
        pipe.ended |= ends;
        if n > 0 || ends {
            self.tell_reader(id);
        }
        if room > n {
            self.launch(id);
        }
    }

    /// The reader took something: the writer may go on.
    fn make_room(&mut self, id: PipeId) {
        if std::mem::take(&mut self.pipes[id].starved) {
            self.tell_writer(id);
        }
        self.launch(id);
    }

    pub fn room(&mut self, id: PipeId) {
        if std::mem::take(&mut self.pipes[id].starved) {
            self.tell_writer(id);
        }
    }

    fn tell_reader(&mut self, id: PipeId) {
        let pipe = &self.pipes[id];
        let ended = pipe.ended;
        match pipe.reader {
            Holder::Engine(Some(key)) => {
                let back = self.registered.get(&key).and_then(|pipes| pipes[1]);
                let hangup = ended && back.is_some_and(|back| self.pipes[back].reader_closed);
                self.tell(key, true, hangup, ended, hangup);
            }
            Holder::Engine(None) => {}
            Holder::Client(client) => self.schedule(self.now, Task::Client(client)),
            Holder::Process(process) => self.schedule(self.now, Task::Process(process)),
        }
    }

    fn tell_writer(&mut self, id: PipeId) {
        if let Holder::Engine(Some(key)) = self.pipes[id].writer {
            let hangup = self.pipes[id].reader_closed;
            // A socket whose other end is gone is over both ways; a pipe is not.
            let is_socket = matches!(self.pipes[id].reader, Holder::Client(_));
            self.tell(key, false, true, false, hangup && !is_socket);
        }
    }

    fn tell(&mut self, key: Key, readable: bool, writable: bool, ended: bool, hangup: bool) {
        for event in &mut self.ready {
            if let Ready::Stream { key: known, readable: r, writable: w, ended: e, hangup: h } = event
                && *known == key
            {
                (*r, *w, *e, *h) = (*r | readable, *w | writable, *e | ended, *h | hangup);
                return;
            }
        }
        self.ready.push(Ready::Stream { key, readable, writable, ended, hangup });
    }

    /// A process ends: its ends of the pipes close, what it wrote is all there.
    pub fn exit(&mut self, process: usize, status: ExitStatus) {
        let Process { key, stdin, stdout, stderr, leaves_orphan, .. } = self.processes[process];
        if !std::mem::replace(&mut self.processes[process].alive, false) {
            return;
        }
        self.trace.add(self.now, format_args!("process {process} ends: {status:?}"));
        self.pipes[stdin].reader_closed = true;
        self.tell_writer(stdin);
        for id in [stdout, stderr] {
            let pipe = &mut self.pipes[id];
            let rest: Vec<u8> = pipe.flight.drain(..).collect();
            pipe.arrived.extend(rest);
            if !leaves_orphan {
                (pipe.writer_closed, pipe.ended) = (true, true);
            }
            self.tell_reader(id);
        }
        self.ready.push(Ready::Exited { process: key, status });
    }

    fn engine_read(&mut self, id: PipeId, buf: &mut [u8]) -> io::Result<usize> {
        let pipe = &mut self.pipes[id];
        if std::mem::take(&mut pipe.reset) {
            self.work += 1;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if pipe.arrived.is_empty() {
            if !pipe.ended {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.work += 1;
            return Ok(0);
        }
        let mut n = pipe.arrived.len().min(buf.len());
        if pipe.ended && n > 1 && self.choice.chance(self.weather.split) {
            n = 1 + self.choice.below(n);
        }
        let pipe = &mut self.pipes[id];
        for (to, byte) in buf.iter_mut().zip(pipe.arrived.drain(..n)) {
            *to = byte;
        }
        self.work += 1;
        self.make_room(id);
        Ok(n)
    }

    fn engine_write(&mut self, id: PipeId, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let pipe = &self.pipes[id];
        if pipe.reader_closed || pipe.writer_closed {
            self.work += 1;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let room = pipe.capacity.saturating_sub(pipe.flight.len() + pipe.arrived.len());
        let mut n = total.min(room);
        if n > 1 && self.choice.chance(self.weather.short_write) {
            n = 1 + self.choice.below(n);
        }
        if n < total {
            self.pipes[id].starved = true;
            if room > n {
                let at = self.now + self.choice.between(0, 5);
                self.schedule(at, Task::Room(id));
            }
            if n == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let bytes = pieces.iter().flat_map(|piece| piece.iter().copied()).take(n);
        self.pipes[id].flight.extend(bytes);
        self.work += 1;
        self.launch(id);
        Ok(n)
    }
}
