//! From bytes to lines to whom they concern: reading, framing, scanning.

use super::Engine;
use super::conn::Role;
use crate::base::limits::{READ_BUDGET, READ_CHUNK};
use crate::base::{Key, RecvBuf, Time};
use crate::codec::{Incoming, Line, LineFramer, Message};
use crate::mux::{CloseReason, quote};
use std::io;

impl Engine {
    /// Reads and decodes one connection within its budget.
    pub(super) fn read(&mut self, now: Time, key: Key) {
        let mut buf = self.conns.take_recv(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let mut framer = std::mem::replace(&mut conn.framer, LineFramer::new(0));
        let role = conn.role;
        let mut budget = READ_BUDGET as isize;
        loop {
            let is_starved = self.decode(now, key, role, &mut framer, &mut buf);
            if !buf.has_room(READ_CHUNK) {
                self.conns.enlarge(&mut buf);
            }
            let Some(conn) = self.conns.get_mut(key) else { return };
            // Half a line waits for bytes, not for a turn.
            conn.undecoded = !is_starved && !buf.is_empty();
            if !conn.readable || conn.paused || conn.closing || conn.broken.is_some() || budget <= 0 {
                break;
            }
            let spare = buf.spare(READ_CHUNK);
            let room = spare.len();
            match conn.io.read(spare) {
                Ok(0) => {
                    conn.readable = false;
                    self.end_of_stream(now, key, role, &mut framer, &mut buf);
                    break;
                }
                Ok(n) => {
                    conn.read += n as u64;
                    buf.advance(n);
                    budget -= n as isize;
                    conn.readable = n == room || conn.ended;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.readable = false,
                Err(error) => {
                    conn.readable = false;
                    let why = match error.kind() {
                        io::ErrorKind::ConnectionReset => CloseReason::PeerClosed,
                        _ => CloseReason::Io(format!("cannot be read: {error}")),
                    };
                    self.conns.fail(key, why);
                    break;
                }
            }
        }
        if let Some(conn) = self.conns.get_mut(key) {
            conn.framer = framer;
        }
        self.conns.put_recv(key, buf);
    }

    /// Hands over whole lines until there are none (true), or the mux wants no more for now.
    fn decode(
        &mut self,
        now: Time,
        key: Key,
        role: Role,
        framer: &mut LineFramer,
        buf: &mut RecvBuf,
    ) -> bool {
        loop {
            let wanted = self
                .conns
                .get(key)
                .is_some_and(|conn| !conn.paused && !conn.closing && conn.broken.is_none());
            if !wanted {
                return false;
            }
            let Some(line) = framer.next(buf) else { return true };
            self.line(now, key, role, line);
        }
    }

    #[inline]
    fn line(&mut self, now: Time, key: Key, role: Role, line: Line<'_>) {
        match (line, role) {
            (Line::Line(bytes), Role::Client | Role::Child(_)) => {
                if self.control.taps.on {
                    self.control.taps.note(key, true, &Message::new(bytes));
                }
                let mut msg = Incoming::unread(bytes);
                match msg.read() {
                    Ok(()) => tell!(self, now, handle_message, key, &msg),
                    Err(error) => tell!(self, now, handle_malformed, key, bytes, error),
                }
            }
            (Line::Overlong(line), Role::Client | Role::Child(_)) => {
                tell!(self, now, handle_overlong, key, &line)
            }
            (Line::Line(bytes), Role::Stderr(instance)) => self.stderr_line(now, instance, bytes),
            (Line::Overlong(line), Role::Stderr(instance)) => self.stderr_line(now, instance, &line.head),
            (Line::Line(bytes), Role::Control) => self.hear_call(key, Ok(bytes.to_vec())),
            (_, Role::Http | Role::Link | Role::Merged | Role::Asker(_)) => {}
            (Line::Overlong(line), Role::Control) => self.hear_call(key, Err(line.len as usize)),
        }
    }

    fn stderr_line(&mut self, now: Time, instance: Key, bytes: &[u8]) {
        let Some(process) = self.processes.get_mut(instance) else { return };
        let server = process.server;
        let name = &self.setups[server].policy.name;
        log::debug!(target: &format!("server::{name}"), "stderr: {}", quote(bytes));
        let text = String::from_utf8_lossy(bytes).into_owned();
        process.last_words.push(text.clone());
        self.log_stderr(now, server, text);
    }

    fn end_of_stream(&mut self, now: Time, key: Key, role: Role, framer: &mut LineFramer, buf: &mut RecvBuf) {
        if let Some(line) = framer.last(buf) {
            self.line(now, key, role, line);
        }
        buf.consume(buf.len());
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.finished = true;
        match role {
            Role::Client if conn.hangup => self.conns.fail(key, CloseReason::PeerClosed),
            Role::Client => tell!(self, now, handle_eof, key),
            // If its process has ended, that says more than the end of its output does.
            Role::Child(instance) => {
                if self.processes.get(instance).is_some_and(|process| process.exited.is_none()) {
                    tell!(self, now, handle_eof, key);
                }
            }
            Role::Stderr(_) | Role::Http | Role::Link | Role::Merged | Role::Asker(_) => {}
            Role::Control if conn.hangup => self.conns.fail(key, CloseReason::PeerClosed),
            Role::Control => self.control.end(key),
        }
    }
}
