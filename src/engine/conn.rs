//! [`Conns`]: the table of connections: readiness, send, flush, pause, close.
//!
//! Readiness is state: an event only sets a bit, only `WouldBlock` (or what `port::Io` says is as good)
//! clears it, and a connection that can go on stands in the runnable list. Buffers live in a pool while
//! they are empty, so an idle connection holds none.

mod backlog;
mod buffers;
#[cfg(test)]
mod tests;

use super::pool::{keep_buffer, take_buffer, take_larger};
use crate::base::limits::{CHILD_SEND_HIGH, CHILD_SEND_LOW, CLIENT_SEND_MAX};
use crate::base::{Arena, Key, RecvBuf, SendBuf, SortedMap, Time, TimerKey, TimerWheel};
use crate::codec::{LineFramer, Message};
use crate::engine::port::{Io, Platform};
use crate::mux::CloseReason;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// What a connection is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    /// Stdin and stdout of an instance's process.
    Child(Key),
    /// Stderr of an instance's process.
    Stderr(Key),
    /// Somebody at the control socket.
    Control,
    /// An HTTP connection.
    Http,
    /// A peer of the mux that speaks HTTP: has no stream of its own. What is sent to it is for the front.
    Link,
    /// The merged endpoint as the mux sees it: a child without a process. What is sent to it is for the gateway.
    #[cfg_attr(not(feature = "gateway"), expect(dead_code))]
    Merged,
    /// A peer of the mux that asks for the gateway that is this server.
    #[cfg_attr(not(feature = "gateway"), expect(dead_code))]
    Asker(usize),
}

impl Role {
    /// Whether it is a client from outside.
    pub fn is_visitor(self) -> bool {
        matches!(self, Role::Client | Role::Link | Role::Http)
    }
}

pub(super) struct Conn {
    pub io: Box<dyn Io>,
    pub role: Role,
    /// The server it belongs to (clients, children).
    pub server: usize,
    /// What people call a client.
    pub number: u64,
    /// Bytes from and to it.
    pub read: u64,
    pub written: u64,
    pub framer: LineFramer,
    /// Bytes that are not a whole line yet, or wait for a pause to end.
    pub recv: Option<RecvBuf>,
    pub send: SendBuf,
    pub readable: bool,
    pub writable: bool,
    /// The other side will write no more.
    pub ended: bool,
    /// The other side will not read any more either.
    pub hangup: bool,
    /// Its directions are streams of their own, whose ends say nothing about each other.
    pub is_pair: bool,
    pub paused: bool,
    /// `recv` may hold whole lines: decoding stopped before it ran out of them.
    pub undecoded: bool,
    /// Its end was read and told.
    pub finished: bool,
    runnable: bool,
    dirty: bool,
    /// Passed the high mark and not yet below the low one.
    congested: bool,
    /// Since when nothing of `send` was taken (HTTP).
    stuck_since: Time,
    /// To be closed once `send` is empty.
    pub closing: bool,
    /// Its last moment, while it is closing.
    linger: Option<TimerKey>,
    /// Bytes were written since `linger` was set.
    progressed: bool,
    /// How often `linger` was set again.
    extensions: u32,
    /// To be closed now; told to the mux if it does not know.
    pub broken: Option<CloseReason>,
    /// `shutdown_write` is due once `send` is empty.
    pub close_input: bool,
    /// Its writing direction has ended; what still comes is read for nothing.
    pub discards: bool,
}

#[derive(Default)]
pub(super) struct Conns {
    table: Arena<Conn>,
    pub runnable: VecDeque<Key>,
    dirty: Vec<Key>,
    /// Links that something was sent to.
    heard: Vec<Key>,
    /// Connections to look at in the reap phase.
    doomed: Vec<Key>,
    /// Links that fell below the low mark.
    pub drained: Vec<Key>,
    /// Last moment for closing connections that nobody reads.
    pub linger: TimerWheel<Key>,
    recv_pool: Vec<RecvBuf>,
    send_pool: Vec<SendBuf>,
    /// What HTTP clients have not read.
    pub backlog: backlog::Backlog,
    /// A large buffer came back to a pool since the last `trim`.
    grown: bool,
    /// Clients that came, and that went.
    pub turnover: u64,
    /// Bytes from and to clients of each server that have gone.
    pub past: SortedMap<usize, (u64, u64)>,
    trim_at: Option<Time>,
}

impl Conn {
    /// A TCP connection that is closed with bytes unread is reset, and the other side may lose what it was
    /// told last: so its direction is ended, and it is closed once it ends, too. False: it can be closed.
    pub fn must_be_heard_out(&mut self) -> bool {
        if self.discards {
            return !self.hangup && !self.finished;
        }
        self.discards = true;
        !self.hangup && !self.finished && self.io.shutdown_write().is_ok() && !self.discard()
    }

    /// Reads what there is for nothing. True at the end of the stream.
    pub fn discard(&mut self) -> bool {
        let mut scrap = [0; 4_096];
        for _ in 0..DISCARD_READS {
            match self.io.read(&mut scrap) {
                Ok(0) => self.finished = true,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => self.finished = true,
            }
            return true;
        }
        // It will not stop.
        self.finished = true;
        true
    }

    /// Writes a large piece past the send buffer, after what is in there, as far as the stream takes it
    /// now: most of the time that saves its one copy.
    fn send_large(&mut self, part: &[u8], pool: &mut Vec<SendBuf>) {
        let mut rest = part;
        if part.len() >= DIRECT_MIN && self.writable {
            let pending = self.send.len();
            let pieces = [IoSlice::new(self.send.pending()), IoSlice::new(part)];
            // An error meets the flush again.
            if let Ok(n) = self.io.write(&pieces) {
                self.writable = n == pending + part.len();
                self.send.consume(n.min(pending));
                rest = &part[n.saturating_sub(pending)..];
            }
        }
        if self.send.is_empty()
            && self.send.capacity() < rest.len()
            && let Some(larger) = take_larger(pool, rest.len(), SendBuf::capacity)
        {
            let smaller = std::mem::replace(&mut self.send, larger);
            keep_buffer(pool, smaller, SendBuf::capacity);
        }
        self.send.reserve(rest.len());
        self.send.extend(rest);
    }
}

impl Conns {
    pub fn insert(&mut self, io: Box<dyn Io>, role: Role, limit: usize) -> Key {
        self.turnover += u64::from(role.is_visitor());
        self.table.insert(Conn {
            io,
            role,
            server: 0,
            number: 0,
            read: 0,
            written: 0,
            framer: LineFramer::new(limit),
            recv: None,
            send: SendBuf::new(),
            // A new stream is tried before its first event: the event may come before the bytes.
            readable: true,
            writable: true,
            ended: false,
            hangup: false,
            is_pair: false,
            paused: false,
            undecoded: false,
            finished: false,
            runnable: false,
            dirty: false,
            congested: false,
            stuck_since: Time(0),
            closing: false,
            linger: None,
            progressed: false,
            extensions: 0,
            broken: None,
            close_input: false,
            discards: false,
        })
    }

    pub fn get(&self, key: Key) -> Option<&Conn> {
        self.table.get(key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Conn> {
        self.table.get_mut(key)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    #[cfg(feature = "control")]
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Conn)> {
        self.table.iter()
    }

    /// Connections of a kind.
    #[cfg(feature = "http")]
    pub fn count(&self, role: Role) -> usize {
        self.table.iter().filter(|(_, conn)| conn.role == role).count()
    }

    /// Bytes in all send buffers.
    pub fn unwritten(&self) -> usize {
        self.table.iter().map(|(_, conn)| conn.send.len()).sum()
    }

    pub fn is_full(&self) -> bool {
        self.table.len() >= crate::base::limits::CONNECTIONS_MAX
    }

    /// Puts a connection that has something to read or decode into the runnable list.
    pub fn wake(&mut self, key: Key) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let can_go_on = (conn.readable || conn.undecoded) && !conn.paused && !conn.closing && !conn.finished;
        if can_go_on && conn.broken.is_none() && !conn.runnable {
            conn.runnable = true;
            self.runnable.push_back(key);
        }
    }

    /// The next runnable connection of this turn.
    pub fn next_runnable(&mut self) -> Option<Key> {
        let key = self.runnable.pop_front()?;
        if let Some(conn) = self.table.get_mut(key) {
            conn.runnable = false;
        }
        Some(key)
    }

    /// Appends a message to a connection's unwritten bytes.
    #[inline]
    pub fn send(&mut self, key: Key, message: &Message<'_>) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.closing || conn.broken.is_some() {
            return;
        }
        let size = message.len() + 1;
        conn.written += size as u64;
        if conn.send.capacity() == 0
            && let Some(pooled) = take_buffer(&mut self.send_pool, size.min(DIRECT_MIN), SendBuf::capacity)
        {
            conn.send = pooled;
        }
        if size < DIRECT_MIN {
            conn.send.reserve(size);
            message.for_each_part(|part| conn.send.extend(part));
        } else {
            message.for_each_part(|part| conn.send_large(part, &mut self.send_pool));
        }
        conn.send.extend(b"\n");
        let len = conn.send.len();
        conn.congested |= len >= CHILD_SEND_HIGH;
        if len > CLIENT_SEND_MAX {
            conn.broken = Some(CloseReason::SlowReader);
            self.doomed.push(key);
        }
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Appends bytes that are no message of their own.
    #[cfg(any(feature = "http", test))]
    pub fn write(&mut self, key: Key, bytes: &[u8]) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.closing || conn.broken.is_some() {
            return;
        }
        let before = conn.send.len();
        conn.written += bytes.len() as u64;
        if conn.send.capacity() == 0
            && let Some(pooled) =
                take_buffer(&mut self.send_pool, bytes.len().min(DIRECT_MIN), SendBuf::capacity)
        {
            conn.send = pooled;
        }
        conn.send_large(bytes, &mut self.send_pool);
        if conn.send.len() > CLIENT_SEND_MAX {
            conn.broken = Some(CloseReason::SlowReader);
            self.doomed.push(key);
        }
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
        self.count_backlog(key, before);
    }

    /// Links that something was sent to, which [`Conns::take_sent`] gives.
    pub fn take_heard(&mut self) -> Vec<Key> {
        let mut heard = std::mem::take(&mut self.heard);
        heard.sort_unstable_by_key(|key| key.as_u64());
        heard.dedup();
        heard
    }

    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// Takes everything that was sent to a link.
    pub fn take_sent(&mut self, key: Key) -> SendBuf {
        let Some(conn) = self.table.get_mut(key) else { return SendBuf::new() };
        let sent = std::mem::take(&mut conn.send);
        conn.congested = false;
        if conn.closing {
            self.doomed.push(key);
        }
        sent
    }

    /// Gives such a buffer back.
    pub fn put_sent(&mut self, mut sent: SendBuf) {
        sent.clear();
        self.grown |= keep_buffer(&mut self.send_pool, sent, SendBuf::capacity);
    }

    pub fn is_congested(&self, key: Key) -> bool {
        self.table.get(key).is_some_and(|conn| conn.congested)
    }

    /// Closes once everything is written; at the latest after a while.
    pub fn close(&mut self, now: Time, key: Key) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if !std::mem::replace(&mut conn.closing, true) {
            conn.recv = None;
            conn.progressed = false;
            conn.linger = Some(self.linger.schedule(now + LINGER_MS, key));
            self.doomed.push(key);
        }
    }

    /// The last moment of a closing connection has come; whether it may stay a little longer, because it is
    /// being read.
    pub fn extend(&mut self, now: Time, key: Key) -> bool {
        let Some(conn) = self.table.get_mut(key) else { return false };
        conn.linger = None;
        if !std::mem::take(&mut conn.progressed) || conn.extensions == LINGER_EXTENSIONS {
            return false;
        }
        conn.extensions += 1;
        conn.linger = Some(self.linger.schedule(now + LINGER_MS, key));
        true
    }

    pub fn fail(&mut self, key: Key, why: CloseReason) {
        let Some(conn) = self.table.get_mut(key) else { return };
        if conn.broken.is_none() {
            conn.broken = Some(why);
            self.doomed.push(key);
        }
    }

    /// Marks a connection for the flush phase.
    pub fn touch(&mut self, key: Key) {
        let Some(conn) = self.table.get_mut(key) else { return };
        let has_work = !conn.send.is_empty() || conn.closing || conn.close_input;
        if has_work && !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Writes what can be written.
    pub fn flush(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            self.flush_one(key);
        }
    }

    pub fn flush_one(&mut self, key: Key) {
        let Some(conn) = self.table.get_mut(key) else { return };
        conn.dirty = false;
        if matches!(conn.role, Role::Link | Role::Merged | Role::Asker(_)) {
            return self.heard.push(key);
        }
        let before = conn.send.len();
        while conn.writable && !conn.send.is_empty() && conn.broken.is_none() {
            let pending = conn.send.pending();
            match conn.io.write(&[IoSlice::new(pending)]) {
                Ok(n) => {
                    conn.writable = n == pending.len();
                    conn.progressed = true;
                    conn.send.consume(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.writable = false,
                Err(error) => {
                    conn.broken = Some(write_failure(&error));
                    self.doomed.push(key);
                }
            }
        }
        if conn.congested && conn.send.len() <= CHILD_SEND_LOW {
            conn.congested = false;
            self.drained.push(key);
        }
        if conn.send.len() != before {
            self.count_backlog(key, before);
        }
        let Some(conn) = self.table.get_mut(key).filter(|conn| conn.send.is_empty()) else { return };
        let empty = std::mem::take(&mut conn.send);
        self.grown |= keep_buffer(&mut self.send_pool, empty, SendBuf::capacity);
        if std::mem::take(&mut conn.close_input) {
            let _ = conn.io.shutdown_write();
        }
        if conn.closing {
            self.doomed.push(key);
        }
    }

    /// Connections whose end may have come.
    pub fn take_doomed(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.doomed)
    }

    /// Has the reap phase look at a connection.
    pub fn doom(&mut self, key: Key) {
        self.doomed.push(key);
    }

    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Takes a connection out and closes it.
    pub fn remove(&mut self, key: Key, platform: &mut dyn Platform) {
        self.drop_backlog(key);
        if let Some(mut conn) = self.table.remove(key) {
            self.turnover += u64::from(conn.role.is_visitor());
            if matches!(conn.role, Role::Client | Role::Link) {
                let (read, written) = self.past.get_or_insert(conn.server, (0, 0));
                *read += conn.read;
                *written += conn.written;
            }
            if let Some(timer) = conn.linger {
                self.linger.cancel(timer);
            }
            if !matches!(conn.role, Role::Link | Role::Merged | Role::Asker(_)) {
                platform.deregister(key, &mut *conn.io);
            }
        }
    }
}

fn write_failure(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => CloseReason::PeerClosed,
        _ => CloseReason::Io(format!("cannot be written to: {error}")),
    }
}

/// How long a closing connection may go without reading of its last messages, in milliseconds.
const LINGER_MS: u64 = 5_000;
/// How often it gets that time again because it does read.
const LINGER_EXTENSIONS: u32 = 11;
/// Most reads of a stream whose bytes nobody wants, at a time.
const DISCARD_READS: usize = 256;
/// Smallest piece that is worth a write of its own, in bytes.
const DIRECT_MIN: usize = 32 << 10;
