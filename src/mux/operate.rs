//! What an operator asks for while muxloop runs: start, stop and restart a server, change the set of
//! servers, let the clients run out.

use crate::base::{Key, ShortBytes, Time};
use crate::mux::method::Method;
use crate::mux::policy::ServerPolicy;
use crate::mux::request::Request;
use crate::mux::server::{Instance, Phase, Server, Then};
use crate::mux::sink::ServerId;
use crate::mux::tally::{Audited, Ended, Outcome};
use crate::mux::{Mux, Sink, reply};

impl Mux {
    /// Takes a server on, in the place of one that is over or in a new one. Does not start it.
    pub fn add_server(&mut self, policy: ServerPolicy) -> ServerId {
        let free = (0..self.servers.len()).find(|id| self.is_over(*id));
        let id = free.unwrap_or(self.servers.len());
        let is_per_client = policy.is_per_client();
        let mut server = Server::new(policy);
        if let Some(id) = free {
            self.forget_suspended_of(id);
            for old in self.instances_of(id) {
                self.instances.remove(old);
            }
        }
        server.shared = (!is_per_client).then(|| self.instances.insert(Instance::new(id, None)));
        match free {
            Some(id) => self.servers[id] = server,
            None => self.servers.push(server),
        }
        id
    }

    /// Starts a server whatever its configuration says, also one that failed: its restarts count anew.
    pub fn start_server(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        self.servers[id].held = false;
        for key in self.instances_of(id) {
            self.wake_up(now, key, out);
        }
        self.top_up(now, id, out);
        self.check_invariants();
    }

    /// Stops a server until it is started again. Its clients stay and are told.
    pub fn stop_server(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        let name = &self.servers[id].policy.name;
        let failure = reply::Failure::new("stopped", format!("server '{name}' was stopped by its operator"));
        self.servers[id].held = true;
        for key in self.instances_of(id) {
            self.stop(now, key, Then::Rest, out);
            self.fail_all(now, key, &failure, out);
            self.refuse_listens(now, key, &failure, |_| true, out);
        }
        self.check_invariants();
    }

    /// Replaces the processes of a server. Its clients stay; what is in flight is answered with an error,
    /// what waits is kept for the new process.
    pub fn restart_server(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        let name = &self.servers[id].policy.name;
        let failure = reply::Failure::new("restarting", format!("server '{name}' is being restarted"));
        self.servers[id].held = false;
        self.servers[id].hello = None;
        for key in self.instances_of(id) {
            if self.instances.get(key).is_some_and(Instance::has_process) {
                if let Some(instance) = self.instances.get_mut(key) {
                    instance.attempts = 0;
                }
                self.stop(now, key, Then::Restart, out);
                self.fail_in_flight(now, key, &failure, out);
            } else {
                self.wake_up(now, key, out);
            }
        }
        self.top_up(now, id, out);
        self.check_invariants();
    }

    /// Gives a server another policy and restarts it if it runs. Whether clients share its process must
    /// stay as it is.
    pub fn change_server(&mut self, now: Time, id: ServerId, policy: ServerPolicy, out: &mut dyn Sink) {
        assert!(policy.shares_as(&self.servers[id].policy), "another kind of sharing");
        let was_lazy = self.servers[id].policy.lazy_start;
        self.servers[id].policy = policy;
        self.servers[id].verdict = self.servers[id].policy.found.clone();
        self.servers[id].hello = None;
        for key in self.instances_of(id) {
            if let Some(instance) = self.instances.get_mut(key) {
                instance.outdated = true;
            }
        }
        self.forget_lists(now, id, out);
        if self.servers[id].held {
            return self.top_up(now, id, out);
        }
        let runs =
            |mux: &Mux, key: Key| mux.instances.get(key).is_some_and(|i| !matches!(i.phase, Phase::Stopped));
        let is_running = self.instances_of(id).into_iter().any(|key| runs(self, key));
        let is_due = !was_lazy || !self.servers[id].policy.lazy_start;
        if is_running || is_due {
            self.restart_server(now, id, out);
        }
    }

    /// Another number of spares, and nothing else is changed: nobody notices.
    pub fn change_spare(&mut self, now: Time, id: ServerId, spare: usize, out: &mut dyn Sink) {
        self.servers[id].policy.spare = spare;
        // A lazy server's spares come with its first client, unless it has some already.
        let is_due = !self.servers[id].policy.lazy_start || self.servers[id].clients > 0;
        if is_due || !self.spares_of(id).is_empty() {
            self.top_up(now, id, out);
        }
        self.check_invariants();
    }

    /// Takes a server out: no new clients; those it has are closed once nothing of theirs is open, and then
    /// its processes end.
    pub fn retire_server(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        self.servers[id].retired = true;
        self.end_spares(now, id, out);
        self.run_out(now, |peer_server| peer_server == id, out);
        self.end_retired(now, id, out);
        self.check_invariants();
    }

    /// Whether a retired server has no client and no process any more.
    pub fn is_over(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        let runs = |key: Key| self.instances.get(key).is_some_and(Instance::has_process);
        server.retired && server.clients == 0 && !self.instances_of(id).into_iter().any(runs)
    }

    /// Whether there is a server of that index that takes clients.
    pub fn is_serving(&self, id: ServerId) -> bool {
        self.servers.get(id).is_some_and(|server| !server.retired)
    }

    /// Takes no more clients, and closes those there are once nothing of theirs is open.
    pub fn drain(&mut self, now: Time, out: &mut dyn Sink) {
        self.closing = true;
        for id in 0..self.servers.len() {
            self.end_spares(now, id, out);
        }
        self.run_out(now, |_| true, out);
        self.check_invariants();
    }

    /// Keeps what becomes of each client's request for [`Mux::take_audited`], with its arguments or without.
    pub fn set_audit(&mut self, wanted: Option<bool>) {
        self.audit.wanted = wanted;
    }

    /// The requests that ended since the last call, and how many were lost before them.
    pub fn take_audited(&mut self) -> (std::collections::VecDeque<Audited>, u64) {
        self.audit.take()
    }

    /// A modern child can do other things than it said: it is asked, and clients are told that from then on.
    #[cfg(feature = "gateway")]
    pub fn renew_hello(&mut self, now: Time, child: Key, out: &mut dyn Sink) {
        let found = self.instances.iter().find(|(_, instance)| instance.open_link() == Some(child));
        let Some((key, _)) = found.filter(|(_, instance)| instance.is_ready()) else { return };
        let request = self.file_own(now, key, crate::mux::request::Own::Hello, Method::Discover, None);
        let params = self.own_meta(serde_json::json!({}));
        let question = reply::request(request.as_u64(), "server/discover", params);
        out.send(child, &crate::codec::Message::new(&question));
    }

    /// The process at the other end of a client's link.
    pub fn note_client_pid(&mut self, link: Key, pid: u32) {
        if let Some(crate::mux::LinkOf::Peer(peer)) = self.links.get(link)
            && let Some(peer) = self.peers.get_mut(*peer)
        {
            peer.pid = Some(pid);
        }
    }

    /// The process at the other end of a client's link, where that is known.
    pub fn client_pid(&self, link: Key) -> Option<u32> {
        match self.links.get(link) {
            Some(crate::mux::LinkOf::Peer(peer)) => self.peers.get(*peer)?.pid,
            _ => None,
        }
    }

    /// Clients that are served. Those that were refused and have not spoken yet are owed nothing.
    pub fn clients(&self) -> usize {
        self.peers.iter().filter(|(_, peer)| !peer.refused).count()
    }

    fn run_out(&mut self, now: Time, whose: impl Fn(ServerId) -> bool, out: &mut dyn Sink) {
        // Their clients would have to come anew.
        self.abandon_calls_of_guests(now, &whose, out);
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key).filter(|peer| whose(peer.server)) else { continue };
            peer.draining = true;
            self.end_listens(now, key, out);
            self.settle(now, key, out);
        }
    }

    /// The last client of a retired server has gone.
    pub(super) fn end_retired(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        if self.servers[id].retired && self.servers[id].clients == 0 {
            for key in self.instances_of(id) {
                self.stop(now, key, Then::Rest, out);
            }
        }
    }

    /// Starts an instance that rests, waits or has failed; one that stops is started after that.
    fn wake_up(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        instance.attempts = 0;
        match &mut instance.phase {
            Phase::Starting { .. } | Phase::Ready => {}
            Phase::Stopping { then, .. } => {
                if *then == Then::Rest {
                    *then = Then::Restart;
                }
            }
            Phase::Backoff { timer, .. } => {
                let timer = *timer;
                instance.phase = Phase::Stopped;
                self.timers.cancel(timer);
                self.start(now, key, out);
            }
            // It waits for its client to have room.
            Phase::Stopped if instance.only.is_some() => {}
            Phase::Stopped | Phase::Failed => {
                instance.phase = Phase::Stopped;
                self.start(now, key, out);
            }
        }
    }

    pub(super) fn instances_of(&self, id: ServerId) -> Vec<Key> {
        self.instances.iter().filter(|(_, instance)| instance.server == id).map(|(key, _)| key).collect()
    }

    /// Counts a client's request that was taken out of the tables.
    pub(super) fn note_end(
        &mut self,
        now: Time,
        request: &mut Request,
        outcome: Outcome,
        answer_bytes: usize,
    ) {
        let Some(peer) = request.peer() else { return };
        let name = request.name.take();
        let asker = Asker { peer, method: request.method, name, since: request.started };
        self.note_ended(now, asker, request.bytes, request.arguments.take(), outcome, answer_bytes);
    }

    /// The same, of a request whose place in the tables is another's now.
    pub(super) fn note_ended(
        &mut self,
        now: Time,
        asker: Asker,
        request_bytes: u32,
        arguments: Option<Box<[u8]>>,
        outcome: Outcome,
        answer_bytes: usize,
    ) {
        let Some(peer) = self.peers.get(asker.peer) else { return };
        let (server, pid) = (peer.server, peer.pid);
        let request_bytes = request_bytes as usize;
        let ended = Ended {
            method: asker.method.text(),
            name: asker.name,
            client: peer.number,
            ms: now.since(asker.since),
            outcome,
            at: now,
        };
        if self.audit.wanted.is_some() {
            let ended = ended.clone();
            self.audit.push(Audited { server, ended, pid, request_bytes, answer_bytes, arguments });
        }
        let tally = &mut self.servers[server].tally;
        #[cfg(feature = "http")]
        tally.series.of(asker.method).note(outcome, ended.ms, request_bytes, answer_bytes);
        tally.note(ended);
    }
}

/// Whose request it was, and which.
pub(super) struct Asker {
    pub peer: Key,
    pub method: Method,
    pub name: Option<ShortBytes>,
    pub since: Time,
}
