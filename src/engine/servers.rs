//! The set of servers while muxloop runs: doors of listeners, servers added, changed and retired, and the
//! end of a drain.

use super::{Door, Engine, ServerSetup};
use crate::base::Time;
use crate::mux::ServerId;

impl Engine {
    /// Whether [`Engine::stop`] was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Takes a server on, whose clients come in by this listener. [`Engine::begin_server`] starts it.
    pub fn add_server(&mut self, setup: ServerSetup, listener: usize) -> ServerId {
        let id = self.mux.add_server(setup.policy.clone());
        match self.setups.get_mut(id) {
            Some(place) => {
                *place = setup;
                self.control.forget_server(id);
                self.forget_journal(id);
                self.conns.past.remove(&id);
            }
            None => self.setups.push(setup),
        }
        self.set_door(listener, Door::Server(id));
        id
    }

    /// Starts a server that is not lazy.
    pub fn begin_server(&mut self, now: Time, id: ServerId) {
        if !self.setups[id].policy.lazy_start {
            tell!(self, now, start_server, id);
        }
    }

    /// Keeps what becomes of each request, see [`crate::mux::Mux::set_audit`].
    pub fn set_audit(&mut self, wanted: Option<bool>) {
        self.mux.set_audit(wanted);
    }

    /// The requests that ended since the last call, and how many were lost before them.
    pub fn take_audited(&mut self) -> (std::collections::VecDeque<crate::mux::status::Audited>, u64) {
        self.mux.take_audited()
    }

    /// Name of a server, also of one that is gone while its place is free.
    pub fn name_of(&self, id: ServerId) -> &str {
        self.setups.get(id).map_or("", |setup| &setup.policy.name)
    }

    /// Gives a server another setup and restarts it if it runs. Whether clients share its process must stay
    /// as it is.
    pub fn change_server(&mut self, now: Time, id: ServerId, setup: ServerSetup) {
        let policy = setup.policy.clone();
        self.setups[id] = setup;
        tell!(self, now, change_server, id, policy);
    }

    /// Gives a server another name for people, or another socket path to tell.
    pub fn rename_server(&mut self, id: ServerId, setup: ServerSetup) {
        self.setups[id] = setup;
    }

    /// Takes a server out: its listener gives no more clients, those it has are served to their end.
    pub fn retire_server(&mut self, now: Time, id: ServerId) {
        for door in self.doors.iter_mut().filter(|door| **door == Door::Server(id)) {
            *door = Door::Closed;
        }
        tell!(self, now, retire_server, id);
    }

    /// The server of that name.
    pub fn server_named(&self, name: &str) -> Option<ServerId> {
        (0..self.setups.len()).find(|id| self.mux.is_serving(*id) && self.setups[*id].policy.name == name)
    }

    pub(super) fn set_door(&mut self, listener: usize, door: Door) {
        if self.doors.len() <= listener {
            self.doors.resize(listener + 1, Door::Closed);
            self.accepting.resize(listener + 1, false);
        }
        self.doors[listener] = door;
    }

    /// Bytes from and to the clients of a server.
    #[cfg(feature = "control")]
    pub(super) fn traffic(&self, id: ServerId) -> (u64, u64) {
        let past = self.conns.past.get(&id).copied().unwrap_or_default();
        let clients =
            self.conns.iter().filter(|(_, conn)| conn.server == id && conn.role == super::Role::Client);
        clients.fold(past, |(read, written), (_, conn)| (read + conn.read, written + conn.written))
    }

    /// After a drain: stops once the last client has gone, or the time is up.
    pub(super) fn end_drain(&mut self, now: Time) {
        let Some(until) = self.drain_until else { return };
        if self.mux.clients() == 0 || now >= until {
            self.drain_until = None;
            if !self.stopping {
                self.stop(now);
            }
        }
    }
}
