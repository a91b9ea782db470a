//! What a connection is told, and when: answers, event streams, and the time that each of its phases has.

use super::answer::{self, Answer, Manner};
use super::{Below, Busy, Due, Front};
use crate::base::{Key, Time};
use crate::codec::http::{HttpError, Phase, TLS_ON_PLAIN_PORT, write_chunk, write_last_chunk};
use crate::codec::sse;

impl Front {
    pub(super) fn refuse_bytes(&mut self, conn: Key, error: &HttpError, below: &mut dyn Below) {
        match error.reason == TLS_ON_PLAIN_PORT {
            // Whoever set that up looks for the reason here.
            true => log::warn!(target: "http", "a connection was closed: {}", error.reason),
            false => log::debug!(target: "http", "a request was refused: {}", error.reason),
        }
        let manner = Manner::default();
        let answer = Answer::error(error.status, None, -32600, &error.reason);
        below.write(conn, &answer.bytes(&manner));
        self.close(conn, below);
    }

    /// Answers the request of a connection, which is free again then.
    pub(super) fn respond(&mut self, now: Time, conn: Key, answer: &Answer, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        // A drain may have begun since it asked; its next request is for somebody else.
        state.manner.keep_alive &= below.readiness().is_ok();
        below.write(conn, &answer.bytes(&state.manner));
        self.release(now, conn, below);
    }

    /// Appends to the event stream on a connection.
    pub(super) fn write_stream(&self, conn: Key, bytes: &[u8], below: &mut dyn Below) {
        let Some(state) = self.conns.get(conn) else { return };
        if state.manner.http10 || bytes.is_empty() {
            return below.write(conn, bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        write_chunk(&mut out, bytes);
        below.write(conn, &out);
    }

    /// Begins an event stream on a connection.
    pub(super) fn start_stream(
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
    pub(super) fn end_stream(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
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
    pub(super) fn release(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
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
    pub(super) fn resume(&mut self, _now: Time, conn: Key) {
        if self.conns.get(conn).is_some_and(|state| matches!(state.busy, Busy::Free)) {
            self.resumed.push(conn);
        }
    }

    /// Closes a connection after what is written; its end comes by [`Front::gone`].
    pub(super) fn close(&mut self, conn: Key, below: &mut dyn Below) {
        self.set_timer(conn, None);
        below.close(conn);
        let Some(state) = self.conns.get_mut(conn) else { return };
        if matches!(state.busy, Busy::Free | Busy::Held(..)) {
            state.busy = Busy::Closing;
        }
    }

    pub(super) fn set_timer(&mut self, conn: Key, at: Option<Time>) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        if let Some(timer) = state.timer.take() {
            self.timers.cancel(timer);
        }
        state.timer = at.map(|at| self.timers.schedule(at, Due::Conn(conn)));
    }

    pub(super) fn conn_due(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
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

/// How long a connection may stay in a phase.
pub(super) fn patience(phase: Phase) -> u64 {
    match phase {
        Phase::Idle => IDLE_MS,
        Phase::Head => HEAD_MS,
        Phase::Body | Phase::Failed => BODY_MS,
    }
}

/// For the head of a request, in milliseconds.
pub(super) const HEAD_MS: u64 = 10_000;
/// For a body.
pub(super) const BODY_MS: u64 = 60_000;
/// For the next request.
pub(super) const IDLE_MS: u64 = 75_000;
/// Between signs of life on an event stream.
pub(super) const KEEP_ALIVE_MS: u64 = 15_000;
/// How long an answer may take before its stream begins without it.
pub(super) const COMMIT_MS: u64 = 5_000;
