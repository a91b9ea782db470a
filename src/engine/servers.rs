//! The set of servers while muxloop runs: doors of listeners, servers added, changed and retired, and the
//! end of a drain.

use super::conn::Role;
use super::port::{Io, Platform, SpawnSpec};
use super::{Door, Engine, ServerSetup};
use crate::base::{Key, SortedSet, Time};
use crate::mux::ServerId;
use crate::mux::memory::Memory;
use crate::mux::policy::{Found, ServerPolicy};

impl Engine {
    /// Whether [`Engine::stop`] was asked for.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Takes a server on, whose clients come in by this listener. [`Engine::begin_server`] starts it.
    pub fn add_server(&mut self, setup: ServerSetup, listener: usize) -> ServerId {
        let id = self.place_server(setup);
        self.set_door(listener, Door::Server(id));
        id
    }

    /// Takes on a client of a server whose stream is there from the start. `None`: it cannot be watched.
    pub fn admit_host(
        &mut self,
        now: Time,
        io: Box<dyn Io>,
        server: ServerId,
        platform: &mut dyn Platform,
    ) -> Option<Key> {
        let [reads, writes] = io.descriptors();
        let key = self.admit(now, io, server, platform)?;
        if let Some(conn) = self.conns.get_mut(key) {
            conn.is_pair = reads != writes;
            // Without events it is read to its end.
            conn.ended |= reads < 0;
        }
        Some(key)
    }

    /// A client of a server.
    pub(super) fn admit(
        &mut self,
        now: Time,
        io: Box<dyn Io>,
        server: ServerId,
        platform: &mut dyn Platform,
    ) -> Option<Key> {
        let limit = self.setups[server].policy.max_request_bytes;
        let key = self.open(io, Role::Client, limit, platform)?;
        let number = tell!(self, now, attach_peer, key, server);
        if let Some(conn) = self.conns.get_mut(key) {
            (conn.server, conn.number) = (server, number);
        }
        self.conns.wake(key);
        Some(key)
    }

    /// Longest message of a client that comes from here on, in bytes.
    pub fn take_requests_up_to(&mut self, server: ServerId, bytes: usize) {
        self.setups[server].policy.max_request_bytes = bytes;
    }

    /// Whether a connection is still there.
    pub fn is_connected(&self, key: Key) -> bool {
        self.conns.get(key).is_some()
    }

    /// Clients from outside: on sockets and streams, with sessions, and HTTP connections. The merged endpoint's
    /// own at the servers are none.
    #[cfg(all(feature = "control", feature = "gateway"))]
    pub fn visitors(&self) -> usize {
        self.conns.iter().filter(|(_, conn)| conn.role.is_visitor()).count()
    }

    /// Changes whenever such a client comes or goes.
    #[cfg(all(feature = "control", feature = "gateway"))]
    pub fn turnover(&self) -> u64 {
        self.conns.turnover
    }

    /// Clients on sockets and streams: the number by which people know each, and its process, if that is known.
    #[cfg(all(feature = "control", feature = "gateway"))]
    pub fn visitors_on_sockets(&self) -> Vec<(u64, Option<u32>)> {
        let clients = self.conns.iter().filter(|(_, conn)| conn.role == Role::Client && !conn.closing);
        clients.map(|(key, conn)| (conn.number, self.mux.client_pid(key))).collect()
    }

    /// The clients of a server come by this listener, too.
    pub fn open_door(&mut self, listener: usize, server: ServerId) {
        self.set_door(listener, Door::Server(server));
    }

    /// The same without a listener.
    pub fn place_server(&mut self, setup: ServerSetup) -> ServerId {
        let id = self.mux.add_server(setup.policy.clone());
        match self.setups.get_mut(id) {
            Some(place) => {
                *place = setup;
                self.forget_journal(id);
                #[cfg(feature = "gateway")]
                self.forget_merged(id);
                self.conns.past.remove(&id);
            }
            None => self.setups.push(setup),
        }
        self.order.retain(|known| *known != id);
        self.order.push(id);
        id
    }

    /// Puts the servers into the order of these names, in which they are reported.
    pub fn arrange_servers(&mut self, names: &[&str]) {
        let named: Vec<ServerId> = names.iter().filter_map(|name| self.server_named(name)).collect();
        self.order.retain(|id| !named.contains(id));
        self.order.splice(0..0, named);
    }

    /// Starts a server that is not lazy.
    pub fn begin_server(&mut self, now: Time, id: ServerId) {
        if !self.setups[id].policy.lazy_start {
            tell!(self, now, start_server, id);
        }
    }

    /// What was found out about servers' eras since the last call, with how each is started: the latest for each.
    pub fn take_found(&mut self) -> Vec<(SpawnSpec, Option<Found>)> {
        let news = std::mem::take(&mut self.found).into_iter();
        news.filter_map(|(id, found)| Some((self.setups.get(id)?.spawn.clone(), found))).collect()
    }

    /// Servers of which more is known than at the last call, see [`Engine::memory`].
    pub fn take_learnt(&mut self) -> SortedSet<ServerId> {
        std::mem::take(&mut self.learnt)
    }

    /// What is known of a server, see [`crate::mux::Mux::memory`].
    pub fn memory(&self, id: ServerId) -> Option<Memory> {
        // What a merged endpoint has is what its servers have.
        #[cfg(feature = "gateway")]
        if self.is_merged(id) {
            return None;
        }
        self.mux.memory(id)
    }

    /// Takes what an earlier run knew of a server.
    ///
    /// # Errors
    /// See [`crate::mux::Mux::recall`].
    pub fn recall(&mut self, now: Time, id: ServerId, memory: &Memory) -> Result<(), String> {
        self.mux.recall(now, id, memory)
    }

    /// Whether what is known of a server may be kept.
    pub fn keeps_lists(&self, id: ServerId) -> bool {
        self.setups.get(id).is_some_and(|setup| !setup.policy.no_cache)
    }

    /// How a server is started.
    pub fn spawn_of(&self, id: ServerId) -> Option<&SpawnSpec> {
        Some(&self.setups.get(id)?.spawn)
    }

    /// Keeps what becomes of each request, see [`crate::mux::Mux::set_audit`].
    pub fn set_audit(&mut self, wanted: Option<bool>) {
        self.mux.set_audit(wanted);
    }

    /// The requests that ended since the last call, and how many were lost before them.
    pub fn take_audited(&mut self) -> (std::collections::VecDeque<crate::mux::status::Audited>, u64) {
        self.mux.take_audited()
    }

    /// Servers, and places of those that are gone.
    pub fn places(&self) -> usize {
        self.setups.len()
    }

    /// Name of a server, also of one that is gone while its place is free.
    pub fn name_of(&self, id: ServerId) -> &str {
        self.setups.get(id).map_or("", |setup| &setup.policy.name)
    }

    /// Starts a server whatever its configuration says, also one that failed or was stopped.
    pub fn start_server(&mut self, now: Time, id: ServerId) {
        tell!(self, now, start_server, id);
    }

    /// Stops a server until it is started again; its clients stay.
    pub fn stop_server(&mut self, now: Time, id: ServerId) {
        tell!(self, now, stop_server, id);
    }

    /// Replaces the processes of a server; its clients stay.
    pub fn restart_server(&mut self, now: Time, id: ServerId) {
        tell!(self, now, restart_server, id);
    }

    /// Gives a server another setup and restarts it if it runs and more than its spares are others. Whether
    /// clients share its process must stay as it is.
    pub fn change_server(&mut self, now: Time, id: ServerId, setup: ServerSetup) {
        let policy = setup.policy.clone();
        let old = std::mem::replace(&mut self.setups[id], setup);
        let spare = policy.spare;
        #[cfg(feature = "gateway")]
        let filters = policy.filters.clone();
        let same = ServerPolicy {
            spare,
            #[cfg(feature = "gateway")]
            filters: filters.clone(),
            ..old.policy.clone()
        };
        if old.policy != policy && old.spawn == self.setups[id].spawn && same == policy {
            if old.policy.spare != spare {
                tell!(self, now, change_spare, id, spare);
            }
            #[cfg(feature = "gateway")]
            tell!(self, now, change_filters, id, filters);
            return;
        }
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

    /// Process ids of running children, with their servers.
    pub fn pids(&self) -> Vec<(ServerId, u32)> {
        self.processes.iter().map(|(_, process)| (process.server, process.pid)).collect()
    }

    /// The newest lines that a server's processes wrote to stderr.
    pub fn stderr_tail(&self, server: ServerId) -> Vec<String> {
        let mine = self.processes.iter().filter(|(_, process)| process.server == server);
        mine.flat_map(|(_, process)| process.last_words.lines().map(String::from)).collect()
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

    /// No new clients; the present ones are closed once nothing of theirs is open, and then muxloop stops.
    pub fn drain_clients(&mut self, now: Time, timeout_ms: u64) {
        let until = now + timeout_ms;
        self.drain_until = Some(self.drain_until.map_or(until, |earlier| earlier.min(until)));
        tell!(self, now, drain);
    }

    /// Whether the last client of a drain has gone.
    pub(super) fn has_drained(&self) -> bool {
        self.drain_until.is_some() && self.mux.clients() == 0
    }

    /// After a drain: stops once the last client has gone, or the time is up.
    pub(super) fn end_drain(&mut self, now: Time) {
        let Some(until) = self.drain_until else { return };
        if self.has_drained() || now >= until {
            self.drain_until = None;
            if !self.stopping {
                self.stop(now);
            }
        }
    }
}
