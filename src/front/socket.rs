//! WebSocket with the subprotocol `mcp` (row G10, protocol.md §3.5): one message per text frame, and otherwise
//! as on a Unix socket.

use super::answer::Answer;
use super::conn::KEEP_ALIVE_MS;
use super::post::flatten;
use super::session::Kinds;
use super::{Below, Busy, Front};
use crate::base::{Key, RecvBuf, Time};
use crate::codec::http::Request;
use crate::codec::ws::{self, Decoder, Frame, Role, UPGRADE_HEADERS};
use crate::codec::{Incoming, ScanErrorKind};
use crate::mux::ServerId;

impl Front {
    /// GET that asks for a WebSocket.
    pub(super) fn open_socket(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        below: &mut dyn Below,
    ) {
        let info = match ws::check_upgrade(request) {
            Ok(info) => info,
            Err(error) => {
                let mut answer = Answer::error(error.status, None, -32600, &error.reason);
                if error.status == 426 {
                    answer
                        .headers
                        .extend(UPGRADE_HEADERS.iter().map(|(name, value)| (*name, (*value).to_owned())));
                }
                return self.respond(now, conn, &answer, below);
            }
        };
        let session = match self.open_session(now, server, Kinds::Socket(conn), below) {
            Ok(session) => session,
            Err(answer) => return self.respond(now, conn, &answer, below),
        };
        let limit = self.settings.body_max.get(&server).copied().unwrap_or(0);
        if let Some(state) = self.conns.get_mut(conn) {
            state.busy = Busy::Socket(session, Box::new(Decoder::new(Role::Server, limit)));
        }
        let mut head = Vec::new();
        ws::write_upgrade(&mut head, &info);
        below.write(conn, &head);
        self.set_timer(conn, Some(now + KEEP_ALIVE_MS));
    }

    /// Takes frames as far as they can be taken now. False: the mux wants no more for a while.
    pub(super) fn feed_socket(
        &mut self,
        now: Time,
        conn: Key,
        buf: &mut RecvBuf,
        below: &mut dyn Below,
    ) -> bool {
        loop {
            let Some(state) = self.conns.get_mut(conn) else { return true };
            let Busy::Socket(session, decoder) = &mut state.busy else { return false };
            let Some(known) = self.sessions.get_mut(*session) else { return true };
            let link = known.link;
            if below.is_paused(link) {
                self.held.push(conn);
                return false;
            }
            match decoder.next(buf) {
                Ok(None) => return true,
                Ok(Some(Frame::Text(text))) => {
                    known.last_used = now;
                    hand_over(link, text, below);
                }
                Ok(Some(Frame::Ping(payload))) => {
                    let mut out = Vec::new();
                    ws::write_pong(&mut out, &payload, None);
                    below.write(conn, &out);
                }
                Ok(Some(Frame::Pong(_))) => known.last_used = now,
                Ok(Some(Frame::Close(_))) => {
                    let session = *session;
                    self.close_socket(conn, NORMAL, "", below);
                    self.end_session(now, session, below);
                }
                Err(error) => {
                    log::debug!(target: "http", "a WebSocket was closed: {}", error.reason);
                    let session = *session;
                    self.close_socket(conn, error.code, error.reason, below);
                    self.end_session(now, session, below);
                }
            }
        }
    }

    /// Says goodbye, and closes.
    pub(super) fn close_socket(&mut self, conn: Key, code: u16, reason: &str, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        if !matches!(state.busy, Busy::Socket(..)) {
            return;
        }
        state.busy = Busy::Closing;
        let mut out = Vec::new();
        ws::write_close(&mut out, code, reason, None);
        below.write(conn, &out);
        self.close(conn, below);
    }

    /// A message of the mux.
    pub(super) fn write_text(&self, conn: Key, line: &[u8], below: &mut dyn Below) {
        let mut out = Vec::with_capacity(line.len() + 16);
        ws::write_text(&mut out, line, None);
        below.write(conn, &out);
    }

    pub(super) fn ping_socket(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        let mut out = Vec::new();
        ws::write_ping(&mut out, b"", None);
        below.write(conn, &out);
        self.set_timer(conn, Some(now + KEEP_ALIVE_MS));
    }
}

/// A text frame as a message of a peer.
fn hand_over(link: Key, mut text: Vec<u8>, below: &mut dyn Below) {
    match Incoming::scan(&text).map(|message| message.envelope) {
        Ok(envelope) => {
            flatten(&mut text);
            below.deliver(link, &Incoming { bytes: &text, envelope });
        }
        Err(error) => {
            if error.kind == ScanErrorKind::Batch {
                flatten(&mut text);
            }
            below.deliver_malformed(link, &text, error);
        }
    }
}

/// Close codes (RFC 6455 §7.4.1).
pub(super) const NORMAL: u16 = 1000;
pub(super) const GOING_AWAY: u16 = 1001;
