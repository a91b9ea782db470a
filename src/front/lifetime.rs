//! How sessions begin and end: room for them, their use, what an end leaves of their connections (P29, G06).

use super::answer::Answer;
use super::legacy::session_id;
use super::session::{Kinds, Session};
use super::socket::GOING_AWAY;
use super::{Below, Busy, Due, Front, Owner};
use crate::base::{Key, Time};
use crate::mux::ServerId;
use std::collections::BTreeSet;

impl Front {
    /// A new session with its peer.
    pub(super) fn open_session(
        &mut self,
        now: Time,
        server: ServerId,
        kind: Kinds,
        below: &mut dyn Below,
    ) -> Result<Key, Answer> {
        self.admit(None, below)?;
        self.make_room(now, server, below);
        if self.sessions.len() >= self.settings.max_sessions {
            let text = format!("there are {} sessions already (`session.max_sessions`)", self.sessions.len());
            return Err(unavailable(None, &text));
        }
        let full = || unavailable(None, "muxloop has no room for another client");
        let link = below.attach(server, false).ok_or_else(full)?;
        let id = format!("{:032x}", below.random());
        let session =
            self.sessions.insert(Session { id: id.clone(), server, link, kind, last_used: now, timer: None });
        self.by_id.insert(id, session);
        self.links.insert(link, Owner::Session(session));
        self.look_at(session, now + self.settings.session_timeout_ms.div_ceil(LOOKS));
        Ok(session)
    }

    /// Whether new clients are taken: not during a drain, nor at the end. Others may be ready to serve them, so
    /// they are refused in a way that says so.
    pub(super) fn admit(&self, id: Option<&[u8]>, below: &dyn Below) -> Result<(), Answer> {
        match below.readiness() {
            Ok(()) if !self.stopping => Ok(()),
            _ => Err(unavailable(id, "muxloop is stopping")),
        }
    }

    /// Ends the session that was unused for longest, if there are too many, at all or at this server, and one
    /// is of no use to anybody now: many clients go away without DELETE. If they do come back, it is to a
    /// session that has expired, which they know how to renew (P29).
    fn make_room(&mut self, now: Time, server: ServerId, below: &mut dyn Below) {
        let is_full = self.sessions.len() >= self.settings.max_sessions;
        if !is_full && below.has_room(server) {
            return;
        }
        let held: BTreeSet<&str> = self.held.iter().filter_map(|conn| self.held_for(*conn)).collect();
        let idle = self.sessions.iter().filter(|(_, known)| {
            (is_full || known.server == server) && known.is_idle() && !held.contains(&*known.id)
        });
        let Some((session, last_used)) =
            idle.map(|(key, known)| (key, known.last_used)).min_by_key(|(_, last_used)| *last_used)
        else {
            return;
        };
        let unused = now.since(last_used) / 1_000;
        log::info!(target: "http", "a session ended for a new one to have its place: it was not used for {unused} s");
        self.counts.evicted += 1;
        self.end_session(now, session, below);
    }

    /// The session that a held message is for.
    fn held_for(&self, conn: Key) -> Option<&str> {
        match &self.conns.get(conn)?.busy {
            Busy::Held(_, request, _) => session_id(request),
            _ => None,
        }
    }

    /// Ends a session: its streams, its peer, its id.
    pub(super) fn end_session(&mut self, now: Time, session: Key, below: &mut dyn Below) {
        let Some(known) = self.sessions.remove(session) else { return };
        if let Some(timer) = known.timer {
            self.timers.cancel(timer);
        }
        self.by_id.remove(&known.id);
        self.links.remove(known.link);
        below.detach(known.link);
        match known.kind {
            Kinds::Events(conn) => self.cut(now, conn, None, below),
            Kinds::Socket(conn) => {
                self.close_socket(conn, GOING_AWAY, "muxloop has ended the session", below)
            }
            Kinds::Streamable(streamable) => {
                for stream in streamable.streams.into_values() {
                    let Some(conn) = stream.conn else { continue };
                    if stream.committed {
                        for id in &stream.pending {
                            self.write_message(conn, &ended(Some(id)).body, below);
                        }
                        self.cut(now, conn, None, below);
                    } else {
                        self.cut(now, conn, Some(&ended(stream.pending.first().map(|id| &**id))), below);
                    }
                }
            }
        }
    }

    /// Ends what a connection carries of a session. The connection stays if that was promised: its client
    /// may send the next request there at once, which would meet a closed socket. `answer`: what it gets in the
    /// place of an event stream that has not begun.
    pub(super) fn cut(&mut self, now: Time, conn: Key, answer: Option<&Answer>, below: &mut dyn Below) {
        let is_read = below.unwritten(conn) == 0;
        if let Some(state) = self.conns.get_mut(conn) {
            state.busy = Busy::Free;
            state.manner.keep_alive &= is_read;
        }
        match answer {
            None => self.end_stream(now, conn, below),
            Some(answer) => self.respond(now, conn, answer, below),
        }
    }

    /// When a session was not used for long: a session with an open stream is used as long as somebody reads
    /// that, and one that waits for answers is (G06).
    pub(super) fn session_due(&mut self, now: Time, session: Key, below: &mut dyn Below) {
        let timeout = self.settings.session_timeout_ms;
        let Some(known) = self.sessions.get_mut(session) else { return };
        let is_read = |conn: &Key| below.unwritten(*conn) == 0;
        let is_used = match &known.kind {
            Kinds::Events(conn) | Kinds::Socket(conn) => is_read(conn),
            Kinds::Streamable(streamable) => {
                streamable.is_asked()
                    || streamable.streams.values().any(|stream| stream.conn.as_ref().is_some_and(is_read))
            }
        };
        if is_used {
            known.last_used = now;
        }
        let until = known.last_used + timeout;
        if until > now {
            // Looked at once only, a reader that is behind just then would seem not to read at all.
            return self.look_at(session, until.min(now + timeout.div_ceil(LOOKS)));
        }
        log::info!(target: "http", "a session ended: it was not used for {} s", timeout / 1_000);
        self.end_session(now, session, below);
    }

    /// Sets when it is found out next whether a session is used.
    fn look_at(&mut self, session: Key, at: Time) {
        if let Some(known) = self.sessions.get_mut(session) {
            known.timer = Some(self.timers.schedule(at, Due::Session(session)));
        }
    }
}

/// What a request is told whose session is over.
fn ended(id: Option<&[u8]>) -> Answer {
    Answer::error(404, id, -32001, "the session ended before the answer came")
}

/// An answer to somebody who may have more luck later, or elsewhere.
pub(super) fn unavailable(id: Option<&[u8]>, text: &str) -> Answer {
    Answer::error(503, id, -32603, text).with("Retry-After", RETRY_S)
}

/// When to come again, in seconds.
const RETRY_S: &str = "5";

/// How often within its time a session is looked at.
const LOOKS: u64 = 4;
