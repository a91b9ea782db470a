//! Buffers for newline-delimited messages, shared by the floor relay, the echo server and the load
//! client: [`Inbox`] never searches a byte twice, [`Outbox`] gathers a turn's lines for one write,
//! and a [`Pool`] of buffers lets 10,000 silent connections cost nothing.

use std::io;
use std::os::fd::AsFd;

use crate::sys;

/// Most bytes of one read.
pub const READ_LEN: usize = 256 * 1024;

/// Empty buffers that wait for their next user.
#[derive(Default)]
pub struct Pool(Vec<Vec<u8>>);

/// Received bytes. Borrows a buffer from the pool while it holds any.
#[derive(Default)]
pub struct Inbox {
    buffer: Vec<u8>,
    /// The first byte of the next line.
    start: usize,
    /// Bytes before this one hold no newline beyond `start`.
    searched: usize,
}

impl Inbox {
    /// One read. `Ok(None)`: nothing there now. `Ok(Some(0))`: the end.
    pub fn read(&mut self, fd: impl AsFd, pool: &mut Pool) -> io::Result<Option<usize>> {
        if self.buffer.capacity() == 0 {
            self.buffer = pool.0.pop().unwrap_or_default();
        }
        match sys::read_onto(fd, &mut self.buffer, READ_LEN) {
            Ok(count) => Ok(Some(count)),
            Err(error) if is_retry(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next whole line, without its newline.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + found;
        let start = std::mem::replace(&mut self.start, end + 1);
        self.searched = end + 1;
        Some(&self.buffer[start..end])
    }

    /// Call after the last [`Inbox::next_line`] of a turn: drops what was taken, and hands an empty
    /// buffer back to the pool.
    pub fn settle(&mut self, pool: &mut Pool) {
        if self.start == self.buffer.len() {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            pool.0.push(buffer);
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.searched -= self.start;
        self.start = 0;
    }
}

/// Bytes to send. Unbounded: every load is bounded by its requests in flight.
#[derive(Default)]
pub struct Outbox {
    pub buffer: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// One write. True if nothing is left.
    pub fn flush(&mut self, fd: impl AsFd) -> io::Result<bool> {
        if self.sent < self.buffer.len() {
            match sys::write(fd, &self.buffer[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if is_retry(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent < self.buffer.len() {
            return Ok(false);
        }
        self.buffer.clear();
        self.sent = 0;
        Ok(true)
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Appends `value` in decimal, without the machinery of `write!`.
pub fn push_integer(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
