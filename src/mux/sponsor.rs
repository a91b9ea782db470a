//! Clients of a merged endpoint at the servers behind it: each of their requests comes on a link of its own,
//! as a guest's, but what a server keeps for each client — a process (`share = "session"`, row B06), a rate —
//! it keeps for the client that the guest stands for, its sponsor.
//!
//! A sponsor that is a guest itself, as over HTTP in 2026-07-28, cannot be told from others: its requests have
//! the process of all guests.

use crate::base::{Key, Time};
use crate::mux::rate::Meter;
use crate::mux::server::{Instance, Then};
use crate::mux::sink::ServerId;
use crate::mux::{LinkOf, Mux, Sink, parse_key};

/// What a server has for one sponsor.
#[derive(Debug)]
pub(super) struct Sponsored {
    sponsor: Key,
    instance: Option<Key>,
    pub meter: Meter,
}

impl Sponsored {
    /// The entry of a sponsor, made if there is none. (There are as many as clients of merged endpoints that
    /// use the server.)
    pub fn of(all: &mut Vec<Sponsored>, sponsor: Key) -> &mut Sponsored {
        let at = all.iter().position(|entry| entry.sponsor == sponsor).unwrap_or_else(|| {
            all.push(Sponsored { sponsor, instance: None, meter: Meter::default() });
            all.len() - 1
        });
        &mut all[at]
    }
}

impl Mux {
    /// A guest that stands for the client whose request a merged endpoint, the child with the link `child`, was
    /// given under this id.
    pub fn attach_guest_for(
        &mut self,
        now: Time,
        link: Key,
        server: ServerId,
        (child, id): (Key, &[u8]),
        out: &mut dyn Sink,
    ) -> u64 {
        let sponsor = self.sponsor_of(child, id);
        let number = self.attach_guest(now, link, server, out);
        if let Some(LinkOf::Peer(peer)) = self.links.get(link)
            && let Some(peer) = self.peers.get_mut(*peer)
        {
            peer.sponsor = sponsor;
        }
        number
    }

    fn sponsor_of(&self, child: Key, id: &[u8]) -> Option<Key> {
        let Some(LinkOf::Child(instance)) = self.links.get(child) else { return None };
        // A listen's id is its number; everything else has the key of its request.
        let of_request = parse_key(id)
            .and_then(|key| self.requests.get(key))
            .filter(|request| request.instance == *instance)
            .and_then(|request| request.peer());
        of_request.filter(|key| self.peers.get(*key).is_some_and(|peer| !peer.guest))
    }

    /// The instance of a guest where each client has its own; with `make`, it is made if there is none.
    pub(super) fn instance_of_guest(&mut self, now: Time, peer_key: Key, make: bool) -> Option<Key> {
        let peer = self.peers.get(peer_key)?;
        let (server, sponsor) = (peer.server, peer.sponsor.filter(|key| self.peers.contains(*key)));
        let known = match sponsor {
            Some(sponsor) => Sponsored::of(&mut self.servers[server].sponsored, sponsor).instance,
            None => self.servers[server].for_guests,
        };
        if known.is_some() || !make {
            return known;
        }
        let spare = sponsor.and_then(|sponsor| self.take_spare(now, server, sponsor));
        if let Some(spare) = spare.and_then(|key| self.instances.get_mut(key)) {
            // It is not the sponsor that it answers and asks, but those who stand for it.
            spare.owner = None;
        }
        let key = spare.unwrap_or_else(|| self.instances.insert(Instance::new(server, None)));
        match sponsor {
            Some(sponsor) => Sponsored::of(&mut self.servers[server].sponsored, sponsor).instance = Some(key),
            None => self.servers[server].for_guests = Some(key),
        }
        Some(key)
    }

    /// A client has left, or a guest that stood for it: what servers had for it ends, once nobody stands for it
    /// any more.
    pub(super) fn end_sponsored(&mut self, now: Time, sponsor: Key, out: &mut dyn Sink) {
        if self.peers.contains(sponsor) || self.servers.iter().all(|server| server.sponsored.is_empty()) {
            return;
        }
        for id in 0..self.servers.len() {
            let Some(at) = self.servers[id].sponsored.iter().position(|entry| entry.sponsor == sponsor)
            else {
                continue;
            };
            if self.peers.iter().any(|(_, peer)| peer.server == id && peer.sponsor == Some(sponsor)) {
                continue;
            }
            if let Some(key) = self.servers[id].sponsored.swap_remove(at).instance {
                self.stop(now, key, Then::Remove, out);
            }
        }
    }
}
