//! Buffers of connections: lent while there is something in them, given back and in the end freed.

use super::Conns;
use crate::base::limits::READ_CHUNK;
use crate::base::{Key, RecvBuf, Time};
use crate::engine::pool::{SMALL_MAX, keep_buffer, take_buffer, take_larger};

impl Conns {
    /// A buffer to read into.
    pub fn take_recv(&mut self, key: Key) -> RecvBuf {
        let own = self.table.get_mut(key).and_then(|conn| conn.recv.take());
        own.or_else(|| take_buffer(&mut self.recv_pool, READ_CHUNK, RecvBuf::capacity)).unwrap_or_default()
    }

    /// Moves what was received of a long line into the largest buffer at hand, rather than have its own grow
    /// step by step.
    pub fn enlarge(&mut self, buf: &mut RecvBuf) {
        if buf.len() > SMALL_MAX
            && let Some(mut larger) = take_larger(&mut self.recv_pool, 4 * buf.len(), RecvBuf::capacity)
        {
            buf.move_to(&mut larger);
            let smaller = std::mem::replace(buf, larger);
            self.grown |= keep_buffer(&mut self.recv_pool, smaller, RecvBuf::capacity);
        }
    }

    /// Gives it back: to the connection if something is in it, else to the pool.
    pub fn put_recv(&mut self, key: Key, buf: RecvBuf) {
        if !buf.is_empty() {
            if let Some(conn) = self.table.get_mut(key).filter(|conn| !conn.closing) {
                conn.recv = Some(buf);
            }
        } else {
            self.grown |= keep_buffer(&mut self.recv_pool, buf, RecvBuf::capacity);
        }
    }

    /// Gives back the memory of buffers that grew for large messages, once none has come for a while.
    pub fn trim(&mut self, now: Time) {
        if std::mem::take(&mut self.grown) {
            self.trim_at = Some(now + TRIM_MS);
        } else if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            self.recv_pool.retain(|buf| buf.capacity() <= SMALL_MAX);
            self.send_pool.retain(|buf| buf.capacity() <= SMALL_MAX);
        }
    }

    /// When `trim` is due.
    pub fn trim_at(&self) -> Option<Time> {
        self.trim_at
    }
}

/// How long large buffers stay when no large message comes, in milliseconds.
const TRIM_MS: u64 = 1_000;
