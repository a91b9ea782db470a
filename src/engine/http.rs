//! The HTTP front on the engine: its connections' bytes, its peers' messages.

use super::conn::{Conns, Role};
use super::operate::Taps;
use super::port::{Nowhere, Platform};
use super::{Action, Door, Engine, Outbox, Processes, ServerSetup};
use crate::base::limits::{READ_BUDGET, READ_CHUNK};
use crate::base::{Key, Time};
use crate::codec::{Incoming, Message, ScanError};
use crate::front::{Below, Front, Settings, Sizes};
use crate::mux::{CloseReason, Mux, ServerId};
use std::io;
use std::net::IpAddr;

/// The front's view of an engine whose front was taken out for a call.
struct Floor<'a> {
    now: Time,
    mux: &'a mut Mux,
    conns: &'a mut Conns,
    actions: &'a mut Vec<Action>,
    taps: &'a mut Taps,
    setups: &'a [ServerSetup],
    processes: &'a Processes,
    #[cfg(feature = "gateway")]
    merged: &'a [super::gateway::Merged],
    platform: &'a mut dyn Platform,
}

/// Calls the front with the rest of the engine below it.
macro_rules! front {
    ($engine:expr, $now:expr, $platform:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $engine.front {
            Some(front) => Some(front.$method(
                $($argument,)*
                &mut Floor {
                    now: $now,
                    mux: &mut $engine.mux,
                    conns: &mut $engine.conns,
                    actions: &mut $engine.actions,
                    taps: &mut $engine.control.taps,
                    setups: &$engine.setups,
                    processes: &$engine.processes,
                    #[cfg(feature = "gateway")]
                    merged: &$engine.merged,
                    platform: $platform,
                },
            )),
            None => None,
        }
    };
}

impl Engine {
    /// Serves HTTP with these settings. Listeners are given by [`Engine::open_http_door`].
    pub fn open_http(&mut self, settings: Settings) {
        match &mut self.front {
            Some(front) => front.configure(settings),
            None => self.front = Some(Box::new(Front::new(settings))),
        }
    }

    /// HTTP connections come by this listener; `loopback`: only from programs of this machine.
    pub fn open_http_door(&mut self, listener: usize, loopback: bool) {
        if self.doors.len() <= listener {
            self.doors.resize(listener + 1, Door::Closed);
            self.accepting.resize(listener + 1, false);
        }
        self.doors[listener] = Door::Http(loopback);
        self.accepting[listener] = true;
    }

    /// No more connections come by this listener; those that have come stay.
    pub fn close_http_door(&mut self, listener: usize) {
        if let Some(door) = self.doors.get_mut(listener) {
            *door = Door::Closed;
        }
    }

    /// What the front holds, to look at.
    #[doc(hidden)]
    pub fn http_sizes(&self) -> Sizes {
        self.front.as_ref().map(|front| front.sizes()).unwrap_or_default()
    }

    /// A connection was accepted.
    pub(super) fn greet_http(
        &mut self,
        now: Time,
        key: Key,
        loopback: bool,
        address: Option<IpAddr>,
        platform: &mut dyn Platform,
    ) {
        front!(self, now, platform, open, now, key, loopback, address);
    }

    /// Reads a connection of any kind.
    pub(super) fn read_any(&mut self, now: Time, key: Key, platform: &mut dyn Platform) {
        match self.conns.get(key).map(|conn| conn.role) {
            Some(Role::Http) => self.read_http(now, key, platform),
            _ => self.read(now, key),
        }
    }

    fn read_http(&mut self, now: Time, key: Key, platform: &mut dyn Platform) {
        let mut buf = self.conns.take_recv(key);
        let mut budget = READ_BUDGET as isize;
        loop {
            let is_starved = front!(self, now, platform, feed, now, key, &mut buf).unwrap_or(true);
            let Some(conn) = self.conns.get_mut(key) else { return };
            conn.undecoded = false;
            if !is_starved {
                // One request at a time: the next stays in the socket until this is answered.
                let was_paused = std::mem::replace(&mut conn.paused, true);
                if conn.ended && !was_paused {
                    // Its end came with the request, and no other event will tell.
                    self.http_ended.push(key);
                }
            }
            if !conn.readable || conn.paused || conn.closing || conn.broken.is_some() || budget <= 0 {
                break;
            }
            let spare = buf.spare(READ_CHUNK);
            let room = spare.len();
            match conn.io.read(spare) {
                Ok(0) => {
                    conn.readable = false;
                    conn.finished = true;
                    self.http_ended.push(key);
                    break;
                }
                Ok(n) => {
                    conn.read += n as u64;
                    buf.advance(n);
                    budget -= n as isize;
                    conn.readable = n == room || conn.ended;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.readable = false,
                Err(_) => {
                    conn.readable = false;
                    self.conns.fail(key, CloseReason::PeerClosed);
                    break;
                }
            }
        }
        self.conns.put_recv(key, buf);
    }

    /// Hands the front what its peers were told and what is due, until nothing is left.
    pub(super) fn serve_http(&mut self, now: Time, platform: &mut dyn Platform) {
        if self.front.is_none() {
            return;
        }
        if self.stopping {
            front!(self, now, platform, stop, now);
        }
        for key in std::mem::take(&mut self.http_ended) {
            match self.conns.get(key) {
                Some(conn) if conn.hangup => self.conns.fail(key, CloseReason::PeerClosed),
                // Otherwise what it sent before is read first.
                Some(conn) if conn.paused || conn.finished => _ = front!(self, now, platform, ended, key),
                _ => {}
            }
        }
        if self.front.as_ref().and_then(|front| front.deadline()).is_some_and(|at| at <= now) {
            front!(self, now, platform, handle_timeout, now);
        }
        front!(self, now, platform, retry_held, now);
        #[cfg(feature = "control")]
        if self.front.as_mut().is_some_and(|front| front.wants_figures()) {
            let figures = serde_json::to_vec(&self.report(now, platform)).unwrap_or_default();
            front!(self, now, platform, show, &figures);
        }
        self.conns.flush();
        self.serve_links(now, platform);
        for key in self.front.as_mut().map(|front| front.take_resumed()).unwrap_or_default() {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.paused = false;
                conn.undecoded = conn.recv.is_some();
                self.conns.wake(key);
            }
        }
    }

    /// What a peer of the front was sent.
    pub(super) fn hear_link(&mut self, now: Time, link: Key, sent: &[u8], platform: &mut dyn Platform) {
        front!(self, now, platform, hear, now, link, sent);
    }

    pub(super) fn http_deadline(&self) -> Option<Time> {
        // A stop that comes between turns has nothing else that leads to one where everybody is idle.
        let must_stop = self.stopping && self.front.as_ref().is_some_and(|front| !front.is_stopping());
        if must_stop || !self.http_ended.is_empty() {
            return Some(Time(0));
        }
        self.front.as_ref()?.deadline()
    }

    /// Takes a connection or link out of the table.
    pub(super) fn take_out(&mut self, now: Time, key: Key, platform: &mut dyn Platform) {
        let role = self.conns.get(key).map(|conn| conn.role);
        self.conns.remove(key, platform);
        match role {
            Some(Role::Http) => _ = front!(self, now, platform, gone, now, key),
            Some(Role::Link) => _ = front!(self, now, platform, link_closed, now, key),
            #[cfg(feature = "gateway")]
            Some(Role::Asker(server)) => self.asker_closed(now, key, server, platform),
            _ => {}
        }
    }
}

impl Floor<'_> {
    fn outbox(&mut self) -> (&mut Mux, Outbox<'_>) {
        let out = Outbox { now: self.now, conns: self.conns, actions: self.actions, taps: self.taps };
        (self.mux, out)
    }
}

impl Below for Floor<'_> {
    fn attach(&mut self, server: ServerId, guest: bool) -> Option<Key> {
        if self.conns.is_full() || server >= self.setups.len() {
            return None;
        }
        let link = self.conns.insert(Box::new(Nowhere), Role::Link, 0);
        let (mux, mut out) = self.outbox();
        let number = match guest {
            true => mux.attach_guest(out.now, link, server, &mut out),
            false => mux.attach_peer(out.now, link, server, &mut out),
        };
        if let Some(conn) = self.conns.get_mut(link) {
            (conn.server, conn.number) = (server, number);
        }
        Some(link)
    }
    fn has_room(&self, server: ServerId) -> bool {
        self.mux.has_room(server)
    }
    fn deliver(&mut self, link: Key, message: &Incoming<'_>) {
        if self.taps.on {
            self.taps.note(link, true, &Message::new(message.bytes));
        }
        if let Some(conn) = self.conns.get_mut(link) {
            conn.read += message.bytes.len() as u64;
        }
        let (mux, mut out) = self.outbox();
        mux.handle_message(out.now, link, message, &mut out);
    }
    fn deliver_malformed(&mut self, link: Key, bytes: &[u8], error: ScanError) {
        if self.taps.on {
            self.taps.note(link, true, &Message::new(bytes));
        }
        let (mux, mut out) = self.outbox();
        mux.handle_malformed(out.now, link, bytes, error, &mut out);
    }
    fn detach(&mut self, link: Key) {
        let is_known = self.conns.get(link).is_some_and(|conn| !conn.closing);
        if is_known {
            let (mux, mut out) = self.outbox();
            mux.handle_closed(out.now, link, CloseReason::PeerClosed, &mut out);
        }
        self.conns.remove(link, self.platform);
    }
    fn is_paused(&self, link: Key) -> bool {
        self.conns.get(link).is_some_and(|conn| conn.paused)
    }
    fn write(&mut self, conn: Key, bytes: &[u8]) {
        self.conns.write(conn, bytes);
    }
    fn unwritten(&self, conn: Key) -> usize {
        self.conns.get(conn).map_or(0, |conn| conn.send.len())
    }
    fn close(&mut self, conn: Key) {
        self.conns.close(self.now, conn);
    }
    fn random(&mut self) -> u128 {
        let mut bytes = [0; 16];
        self.platform.random(&mut bytes);
        u128::from_le_bytes(bytes)
    }
    fn metrics(&self) -> String {
        #[cfg_attr(not(feature = "gateway"), expect(unused_mut))]
        let mut text = super::metrics::text(self.now, self.mux, self.conns, self.processes, self.setups);
        #[cfg(feature = "gateway")]
        super::metrics::merged(&mut text, self.now, self.mux, self.merged, self.setups);
        text
    }
    fn readiness(&self) -> Result<(), String> {
        match self.mux.takes_clients() {
            true => Ok(()),
            false => Err("muxloop takes no more clients".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::port::{Accepted, Io, Kill, Ready, SpawnSpec, Spawned};

    /// A kernel with one connection, on which nothing ever comes.
    struct Quiet(bool);

    impl Platform for Quiet {
        fn accept(&mut self, _: usize) -> io::Result<Accepted> {
            match std::mem::take(&mut self.0) {
                true => Ok(Accepted { io: Box::new(Nowhere), peer_pid: None, address: None }),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        fn register(&mut self, _: Key, _: &mut dyn Io) -> io::Result<()> {
            Ok(())
        }
        fn deregister(&mut self, _: Key, _: &mut dyn Io) {}
        fn spawn(&mut self, _: Key, _: &SpawnSpec) -> Result<Spawned, String> {
            Err("there are no processes here".into())
        }
        fn kill(&mut self, _: Key, _: Kill) {}
        fn sweep(&mut self, _: Key) {}
        fn random(&mut self, _: &mut [u8]) {}
    }

    #[test]
    fn a_stop_between_turns_reaches_idle_connections() {
        let (mut engine, mut platform) = (Engine::new(Vec::new(), 1), Quiet(true));
        engine.open_http(Settings::default());
        engine.open_http_door(0, true);
        engine.begin(Time(0), &mut platform);
        engine.turn(Time(0), &[Ready::Accept { listener: 0 }], &mut platform);
        assert_eq!(engine.connections(), 1);
        assert!(engine.deadline(Time(1)).is_none_or(|at| at > Time(1)), "nothing is to be done");
        engine.stop(Time(1));
        assert!(engine.deadline(Time(1)).is_some_and(|at| at <= Time(1)), "a turn is due at once");
        engine.turn(Time(1), &[], &mut platform);
        assert!(engine.http_sizes().timers == 0, "it is being closed");
    }
}
