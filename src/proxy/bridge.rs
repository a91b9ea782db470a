//! The shim's loop: standard input, standard output and one socket, which may come and go.
//!
//! ```text
//!   Down ── connected ──▶ Up ── stdin has ended, all was sent ──▶ Draining ── end of the socket ──▶ done
//!    │ ▲                   │ end of the socket
//!    │ └───────────────────┘
//!    └── patience is over ──▶ every open request is answered with an error, exit code 1
//! ```
//!
//! Backpressure is mutual and bounded: the socket is not read while the host leaves [`PENDING_MAX`] bytes
//! unread, stdin is not read while muxloop does. Without a connection, stdin is read up to as much and waits
//! unparsed. Only one message that is longer by itself takes more.

use super::session::{Session, Verdict};
use super::way::Way;
use crate::base::{RecvBuf, SendBuf, Time};
use crate::codec::{Line, LineFramer, Overlong};
use crate::reactor::clock::Clock;
use crate::reactor::poll::{Interest, poll};
use crate::reactor::resident;
use crate::reactor::stdio::{self, Output};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// How long a lost connection is tried again unless `--wait` says longer, in milliseconds.
pub const RECONNECT_MS: u64 = 10_000;
/// How long muxloop may be silent while the host has closed stdin and waits for answers, in milliseconds.
pub const DRAIN_MS: u64 = 30_000;
/// Bytes that wait for a side that does not read.
pub const PENDING_MAX: usize = 1 << 20;
/// Longest message that passes. muxloop's own limits are lower; this one bounds memory.
pub const MESSAGE_MAX: usize = 64 << 20;

/// Room made for each read, in bytes.
const READ_CHUNK: usize = 32 << 10;
/// A buffer that grew beyond this for one message is given back when it is empty.
const KEPT_MAX: usize = 256 << 10;
/// First and longest pause between two attempts to connect, in milliseconds.
const RETRY_MS: (u64, u64) = (20, 1_000);
/// How long a listener may be too busy to take a connection, in milliseconds.
const BUSY_MS: u64 = 5_000;
/// A connection that lasted so long was a good one, even if it was silent, in milliseconds.
const PROVEN_MS: u64 = 5_000;
/// How long the last bytes for the host may take, in milliseconds.
const FLUSH_MS: u64 = 5_000;
/// How long a host may take for its first word while there is nobody who could answer it, in milliseconds.
const FIRST_WORD_MS: i32 = 200;
/// A silence after which what only the start needed is let go, in milliseconds.
const QUIET_MS: u64 = 250;

/// Both sides and all between them.
#[derive(Debug)]
pub struct Bridge {
    way: Box<dyn Way>,
    wait_ms: u64,
    /// How long a lost connection is tried again.
    reconnect_ms: u64,
    clock: Clock,
    session: Session,
    output: Output,
    link: Link,
    /// Whether there ever was a connection.
    was_up: bool,
    /// No quiet moment has come since the connection was made.
    settling: bool,
    /// Whether a connection was ever lost.
    was_lost: bool,
    /// When a lost connection is not tried any more.
    give_up_at: Time,
    from_client: Inbound,
    from_daemon: Inbound,
    to_client: SendBuf,
    to_daemon: SendBuf,
}

#[derive(Debug)]
enum Link {
    Down { retry_at: Time, delay_ms: u64 },
    Up { socket: UnixStream, since: Time, draining: Option<Time> },
}

/// Bytes of one side on their way to become lines.
#[derive(Debug)]
struct Inbound {
    buf: RecvBuf,
    framer: LineFramer,
    /// Nothing more will come.
    ended: bool,
    /// Complete lines may be left, because the other side's buffer is full.
    blocked: bool,
}

impl Inbound {
    fn new() -> Inbound {
        Inbound { buf: RecvBuf::new(), framer: LineFramer::new(MESSAGE_MAX), ended: false, blocked: false }
    }

    /// Reads once; an error other than "not now" is an end.
    fn read(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) {
        match read(self.buf.spare(READ_CHUNK)) {
            Ok(0) => self.ended = true,
            Ok(n) => self.buf.advance(n),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.ended = true,
        }
    }

    /// Whether more bytes are wanted: a line that is not complete needs them, others wait in the kernel.
    fn wants_more(&self) -> bool {
        !self.ended && (!self.blocked || self.buf.len() < PENDING_MAX)
    }
}

impl Bridge {
    /// A shim for whoever is at the end of `way`, who is waited for so long at the start, and so long (or as long,
    /// if that is longer) after the connection was lost.
    pub fn new(way: Box<dyn Way>, wait_ms: u64, reconnect_ms: u64) -> Bridge {
        let clock = Clock::start();
        Bridge {
            way,
            wait_ms,
            reconnect_ms,
            clock,
            session: Session::new(),
            output: Output::open(),
            link: Link::Down { retry_at: clock.now(), delay_ms: RETRY_MS.0 },
            was_up: false,
            settling: false,
            was_lost: false,
            give_up_at: clock.now() + wait_ms,
            from_client: Inbound::new(),
            from_daemon: Inbound::new(),
            to_client: SendBuf::new(),
            to_daemon: SendBuf::new(),
        }
    }

    /// Runs until the host or muxloop is done.
    ///
    /// # Errors
    /// In words for the operator.
    pub fn run(mut self) -> Result<(), String> {
        loop {
            let now = self.clock.now();
            self.connect_if_due(now)?;
            self.forward_client_lines();
            self.forward_daemon_lines();
            self.write_socket();
            if self.write_output().is_err() {
                // The host is gone; nobody is left to tell.
                return Ok(());
            }
            if self.check_ends(now)? {
                return Ok(());
            }
            if self.has_work() {
                continue;
            }
            if self.wait(now).map_err(|error| format!("poll: {error}"))? == Host::Gone {
                return Ok(());
            }
        }
    }

    fn connect_if_due(&mut self, now: Time) -> Result<(), String> {
        let Link::Down { retry_at, delay_ms } = &mut self.link else { return Ok(()) };
        if *retry_at > now {
            return Ok(());
        }
        match self.way.open() {
            Ok(socket) => {
                self.link = Link::Up { socket, since: now, draining: None };
                self.was_up = true;
                self.settling = true;
                self.from_daemon = Inbound::new();
                self.session.found(&mut self.to_client, &mut self.to_daemon);
                Ok(())
            }
            Err(error) => {
                let give_up_at = match error.kind() {
                    // Somebody listens, with a full queue.
                    ErrorKind::WouldBlock => self.give_up_at.max(Time(BUSY_MS)),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused => self.give_up_at,
                    // Not a matter of time, unless it was all right before.
                    _ if !self.was_up => now,
                    _ => self.give_up_at,
                };
                if now >= give_up_at {
                    return Err(self.give_up(&self.way.explain(&error, self.was_up)));
                }
                *retry_at = (now + *delay_ms).min(give_up_at);
                *delay_ms = (*delay_ms * 2).min(RETRY_MS.1);
                Ok(())
            }
        }
    }

    fn forward_client_lines(&mut self) {
        let inbound = &mut self.from_client;
        inbound.blocked = true;
        // Whoever has hung up takes nothing any more: what comes now is for its successor.
        if !matches!(self.link, Link::Up { .. }) || !self.session.is_ready() || self.from_daemon.ended {
            return;
        }
        while self.to_daemon.len() < PENDING_MAX {
            match inbound.framer.next(&mut inbound.buf) {
                Some(Line::Line(line)) => {
                    if self.session.from_client(line) == Verdict::Forward {
                        put(&mut self.to_daemon, line);
                    }
                }
                Some(Line::Overlong(line)) => refuse_long(&line, -32600, &mut self.to_client),
                None => {
                    inbound.blocked = false;
                    give_back(&mut inbound.buf);
                    return;
                }
            }
        }
    }

    fn forward_daemon_lines(&mut self) {
        let inbound = &mut self.from_daemon;
        inbound.blocked = true;
        while self.to_client.len() < PENDING_MAX {
            match inbound.framer.next(&mut inbound.buf) {
                Some(Line::Line(line)) => {
                    let (session, to_client) = (&mut self.session, &mut self.to_client);
                    if session.from_daemon(line, to_client, &mut self.to_daemon) == Verdict::Forward {
                        put(to_client, line);
                    }
                }
                Some(Line::Overlong(line)) => {
                    line.id().into_iter().for_each(|id| self.session.forget(id));
                    refuse_long(&line, -32603, &mut self.to_client);
                }
                None => {
                    inbound.blocked = false;
                    give_back(&mut inbound.buf);
                    return;
                }
            }
        }
    }

    fn write_socket(&mut self) {
        let Link::Up { socket, .. } = &mut self.link else { return };
        while !self.to_daemon.is_empty() {
            match socket.write(self.to_daemon.pending()) {
                Ok(n) => self.to_daemon.consume(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What it sent before it went is still to be read; then comes the end.
                Err(_) => self.to_daemon.clear(),
            }
        }
        shrink(&mut self.to_daemon);
    }

    fn write_output(&mut self) -> io::Result<()> {
        while !self.to_client.is_empty() {
            match self.output.write(self.to_client.pending()) {
                Ok(n) => self.to_client.consume(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        shrink(&mut self.to_client);
        Ok(())
    }

    /// Whether lines that were left have room now: no event would come for them.
    fn has_work(&self) -> bool {
        let may_send =
            matches!(self.link, Link::Up { .. }) && self.session.is_ready() && !self.from_daemon.ended;
        let up = self.from_client.blocked && may_send && self.to_daemon.len() < PENDING_MAX;
        up || (self.from_daemon.blocked && self.to_client.len() < PENDING_MAX)
    }

    /// What the end of one side means for the other. `true`: all is done.
    fn check_ends(&mut self, now: Time) -> Result<bool, String> {
        let client = &self.from_client;
        let has_all = client.ended && client.buf.is_empty() && self.session.open() == 0;
        let Link::Up { socket, since, draining } = &mut self.link else {
            return Ok(self.was_up && has_all && self.to_client.is_empty());
        };
        if self.session.is_refused() {
            self.lose(now, false);
            return Ok(false);
        }
        if self.from_daemon.ended && !self.from_daemon.blocked {
            if draining.is_some() {
                self.session.give_up(&mut self.to_client);
                self.flush();
                return Ok(true);
            }
            let has_lasted = now.since(*since) >= PROVEN_MS;
            if self.session.was_turned_away() && !has_lasted {
                self.flush();
                return Err(format!("the server {} refused this client and hung up", self.way.name()));
            }
            let is_proven = self.session.has_heard() || has_lasted;
            self.lose(now, is_proven);
            return Ok(false);
        }
        let all_sent = client.ended && client.buf.is_empty() && self.to_daemon.is_empty();
        if all_sent && draining.is_none() && self.session.is_ready() {
            // If the end is there already, the next read says so.
            let _ = socket.shutdown(Shutdown::Write);
            *draining = Some(now + DRAIN_MS);
        }
        if draining.is_some_and(|until| until <= now) {
            let open = self.session.open();
            self.session.give_up(&mut self.to_client);
            self.flush();
            return match open {
                0 => Ok(true),
                open => Err(format!("{open} requests were not answered within {} s", DRAIN_MS / 1000)),
            };
        }
        Ok(false)
    }

    /// The connection is gone while the host still needs it.
    fn lose(&mut self, now: Time, is_proven: bool) {
        self.session.lost(&mut self.to_client);
        self.to_daemon.clear();
        // Whoever accepts and hangs up again and again does not start the patience anew.
        if is_proven || !self.was_lost {
            self.give_up_at = now + self.wait_ms.max(self.reconnect_ms);
        }
        self.was_lost = true;
        self.link = Link::Down { retry_at: now + RETRY_MS.0, delay_ms: RETRY_MS.0 };
    }

    /// Nobody will answer: tells the host for each request, also for those that were not sent.
    fn give_up(&mut self, why: &str) -> String {
        if !self.was_up {
            // A host that has just started this is about to say its first word.
            let ask = Interest { descriptor: stdio::INPUT, readable: true, writable: false };
            if poll([ask], FIRST_WORD_MS).is_ok_and(|[input]| input.readable) {
                self.from_client.read(stdio::read);
            }
        }
        let inbound = &mut self.from_client;
        while let Some(line) = inbound.framer.next(&mut inbound.buf) {
            if let Line::Line(line) = line {
                self.session.from_client(line);
            }
        }
        match self.was_up {
            true => self.session.give_up(&mut self.to_client),
            false => self.session.refuse(&mut self.to_client, why),
        }
        self.flush();
        why.to_owned()
    }

    /// Writes what is left for the host, for a while.
    fn flush(&mut self) {
        let deadline = self.clock.now() + FLUSH_MS;
        while self.write_output().is_ok() && !self.to_client.is_empty() && self.clock.now() < deadline {
            let ask = Interest { descriptor: self.output.descriptor(), readable: false, writable: true };
            let _ = poll([ask], FLUSH_MS as i32);
        }
    }

    /// Waits until one of the three is ready, and reads.
    fn wait(&mut self, now: Time) -> io::Result<Host> {
        let wants_input = self.from_client.wants_more();
        let input = Interest {
            descriptor: if wants_input { stdio::INPUT } else { -1 },
            readable: wants_input,
            writable: false,
        };
        let output = Interest {
            descriptor: self.output.descriptor(),
            readable: false,
            writable: !self.to_client.is_empty(),
        };
        let (mut socket, mut until) = (Interest { descriptor: -1, ..Interest::default() }, None);
        match &self.link {
            Link::Down { retry_at, .. } => until = Some(*retry_at),
            Link::Up { socket: stream, draining, .. } => {
                socket.readable = !self.from_daemon.ended && !self.from_daemon.blocked;
                socket.writable = !self.to_daemon.is_empty();
                if socket.readable || socket.writable {
                    socket.descriptor = stream.as_raw_fd();
                }
                until = until.or(*draining);
            }
        }
        if self.settling {
            until = until.or(Some(now + QUIET_MS));
        }
        let timeout = until.map_or(-1, |until| until.since(now).min(i32::MAX as u64) as i32);
        let [input, output, socket] = poll([input, output, socket], timeout)?;
        if self.settling && !(input.readable || output.writable || socket.readable || socket.writable) {
            resident::forget_start();
            self.settling = false;
        }
        if output.broken {
            return Ok(Host::Gone);
        }
        if input.readable {
            self.from_client.read(stdio::read);
            if self.from_client.ended && !self.from_client.buf.is_empty() {
                // A last line without its end is a line.
                self.from_client.buf.spare(1)[0] = b'\n';
                self.from_client.buf.advance(1);
            }
        }
        if let Link::Up { socket: stream, draining, .. } = &mut self.link
            && socket.readable
            && !self.from_daemon.blocked
        {
            self.from_daemon.read(|buf| stream.read(buf));
            if let Some(until) = draining {
                *until = self.clock.now() + DRAIN_MS;
            }
        }
        Ok(Host::There)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    There,
    Gone,
}

fn put(to: &mut SendBuf, line: &[u8]) {
    to.reserve(line.len() + 1);
    to.extend(line);
    to.extend(b"\n");
}

/// Tells the host of a message that was too long to pass, if it can be told whose it was.
fn refuse_long(line: &Overlong, code: i32, to_client: &mut SendBuf) {
    if let Some(id) = line.id() {
        to_client.extend(br#"{"jsonrpc":"2.0","id":"#);
        to_client.extend(id);
        let text = format!(
            r#","error":{{"code":{code},"message":"message of {} bytes is longer than {} bytes","data":{{"muxloop":{{"reason":"too_large"}}}}}}}}"#,
            line.len, line.limit
        );
        put(to_client, text.as_bytes());
    }
}

fn give_back(buf: &mut RecvBuf) {
    if buf.is_empty() && buf.capacity() > KEPT_MAX {
        *buf = RecvBuf::new();
    }
}

fn shrink(buf: &mut SendBuf) {
    if buf.capacity() > KEPT_MAX {
        *buf = SendBuf::new();
    }
}
