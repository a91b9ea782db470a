//! The merged endpoint: all servers behind one, for clients of either era (protocol.md §5).
//!
//! Towards its clients it is one more server of 2026-07-28, whose "process" is this module; towards the
//! servers it is a client of 2026-07-28, with a link of its own for each request, so that whatever comes on a
//! link belongs to that request. Sharing, eras, ids, restarts and limits are the mux's, on both sides; a
//! request keeps its id and progress token on its way through here.
//!
//! ```text
//! serve      a client's request: a list, a call, a listen        catalogue  what is offered, and whose it is
//! learn      muxloop's own requests: hello, lists, changes       answer     results on their way back
//! listens    change notifications                                change, names, filter, template, list, clash, sound
//! parts      what it is made of, changed while it runs                status  for operators
//! lazy       tools that are searched instead of listed
//! ```
//!
//! A server that is down or slow takes nothing from the others (P59, H03): a list waits so long for it and no
//! longer, and the next one not at all, until it has answered.

mod answer;
pub use crate::base::filter;
pub mod catalogue;
pub mod change;
pub mod clash;
pub mod lazy;
mod learn;
mod listens;
pub mod names;
mod parts;
mod serve;
mod sound;
pub mod status;
mod template;
#[cfg(test)]
mod tests;

use crate::base::{Arena, Key, KeyMap, Time, TimerWheel};
use crate::codec::List;
use crate::codec::{Incoming, Kind};
use catalogue::{Catalogue, Naming, Offer};
use filter::Filters;
use lazy::Lazy;
use learn::Member;
use listens::Listen;
use serde::{Deserialize, Serialize};
use serve::Job;
use std::collections::BTreeSet;

/// What the gateway asks of the engine. No message comes back within a call.
pub trait Floor {
    /// A new link as a client of a server, for one request; `None` if there is no room for it. `on_behalf` is the
    /// id of the client's request that it is for.
    fn open(&mut self, server: usize, on_behalf: Option<&[u8]>) -> Option<Key>;
    /// A new link that only listens: it neither starts the server nor keeps it from resting.
    fn watch(&mut self, server: usize) -> Option<Key>;
    /// The link is not needed any more: what was asked on it is cancelled.
    fn close(&mut self, link: Key);
    /// One message on a link, to its server.
    fn ask(&mut self, link: Key, message: &[u8]);
    /// One message to the clients.
    fn tell(&mut self, message: &[u8]);
    /// What all servers together can do is other than what `server/discover` was told: it is to be asked again.
    fn renew(&mut self);
    /// A log line to the client whose request has this id.
    fn tell_log(&mut self, id: &[u8], message: &[u8]);
}

/// What the gateway is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    pub naming: Naming,
    /// In the order in which their things are listed: the mux's number of a server, its key, its offer.
    pub servers: Vec<(usize, String, Offer)>,
    /// How long a list waits for a server, milliseconds.
    pub list_timeout_ms: u64,
    /// What of all that is offered, by names of the merged endpoint; all of these must let it pass.
    pub filters: Vec<Filters>,
    /// Tools are found and called by three tools instead of listed (K02).
    pub lazy: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Gateway {
    list_timeout_ms: u64,
    members: Vec<Member>,
    catalogue: Catalogue,
    lazy: Option<Lazy>,
    jobs: Arena<Job>,
    listens: Vec<Listen>,
    listens_ever: u64,
    links: KeyMap<Use>,
    timers: TimerWheel<Timer>,
    /// What `server/discover` was told last.
    told_hello: Option<Vec<u8>>,
    /// Names of two that were logged.
    logged: BTreeSet<(List, String)>,
}

/// What a link to a server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Call(Key),
    Hello(usize),
    Fetch(usize, List),
    Watch(usize),
    /// Resources of one server for the listen with this number.
    Resources(u64, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// A job has waited long enough for servers.
    Job(Key),
    /// The server of this number, which failed, is asked again.
    Retry(usize),
    /// A listen has waited long enough for its resources' servers.
    Listen(u64),
}

/// Why a server did not answer whose link was closed.
const LOST: &str = "went away before it answered";

impl Gateway {
    /// A gateway that has asked nobody yet.
    pub fn new(setup: Setup) -> Gateway {
        let offers = setup.servers.iter().map(|(_, key, offer)| (key.clone(), offer.clone()));
        Gateway {
            list_timeout_ms: setup.list_timeout_ms,
            catalogue: Catalogue::new(setup.naming, offers).filtered(setup.filters),
            lazy: setup.lazy.then(Lazy::default),
            members: setup.servers.into_iter().map(|(server, key, _)| Member::new(server, key)).collect(),
            jobs: Arena::new(),
            listens: Vec::new(),
            listens_ever: 0,
            links: KeyMap::new(),
            timers: TimerWheel::new(),
            told_hello: None,
            logged: BTreeSet::new(),
        }
    }

    /// What is offered.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// One message of the clients.
    pub fn on_client(&mut self, now: Time, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        match msg.envelope.kind {
            Kind::Request => self.serve(now, msg, floor),
            Kind::Notification if msg.method() == b"notifications/cancelled" => {
                if let Some(id) = msg.envelope.request_id {
                    self.cancel(msg.text(id), floor);
                }
            }
            // 2026-07-28 has no other notification and no answer of a client.
            _ => {}
        }
    }

    /// One message of a server on one of the links.
    pub fn on_server(&mut self, now: Time, link: Key, msg: &Incoming<'_>, floor: &mut dyn Floor) {
        let Some(used) = self.links.get(link).copied() else { return };
        let is_answer = matches!(msg.envelope.kind, Kind::Response | Kind::Error);
        match used {
            Use::Call(job) => self.on_call_message(job, link, msg, floor),
            Use::Hello(member) if is_answer => self.on_hello(now, member, link, msg, floor),
            Use::Fetch(member, list) if is_answer => self.on_page(now, member, list, link, msg, floor),
            Use::Watch(member) => self.on_watched(now, member, link, msg, floor),
            Use::Resources(listen, member) => self.on_resources(now, listen, member, link, msg, floor),
            Use::Hello(_) | Use::Fetch(..) => {}
        }
    }

    /// A link was closed by the other side: no answer will come on it.
    pub fn on_server_closed(&mut self, now: Time, link: Key, floor: &mut dyn Floor) {
        let Some(used) = self.links.remove(link) else { return };
        match used {
            Use::Call(job) => self.on_call_lost(job, floor),
            Use::Hello(member) => self.on_hello_failed(now, member, LOST, floor),
            Use::Fetch(member, list) => self.on_fetch_failed(now, member, list, LOST, floor),
            Use::Watch(member) => self.members[member].watch = None,
            Use::Resources(listen, member) => self.on_resources_lost(now, listen, member, floor),
        }
    }

    /// Everything that is due.
    pub fn on_timeout(&mut self, now: Time, floor: &mut dyn Floor) {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Job(job) => self.finish_waiting(now, job, floor),
                Timer::Retry(server) => {
                    if let Some(member) = self.members.iter().position(|member| member.server == server) {
                        self.retry(now, member, floor);
                    }
                }
                Timer::Listen(number) => self.acknowledge(number, floor),
            }
        }
    }

    /// When [`Gateway::on_timeout`] is worth calling next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next_deadline()
    }

    /// All clients are gone and the endpoint rests: nothing of it is left at the servers.
    pub fn rest(&mut self, floor: &mut dyn Floor) {
        for (link, _) in self.links.iter().map(|(link, used)| (link, *used)).collect::<Vec<_>>() {
            floor.close(link);
        }
        self.links = KeyMap::new();
        self.jobs = Arena::new();
        self.listens.clear();
        self.timers = TimerWheel::new();
        self.told_hello = None;
        for member in &mut self.members {
            member.rest();
        }
        if let Some(lazy) = &mut self.lazy {
            lazy.rest();
        }
    }

    fn drop_link(&mut self, link: Key, floor: &mut dyn Floor) {
        if self.links.remove(link).is_some() {
            floor.close(link);
        }
    }
}
