//! Who has a legacy child that may ask something (protocol.md §2.6): one client, or one request of a client
//! that is asked by way of its answer. Everybody else's turn comes when that is over; turns are `queue`'s.

use crate::base::Key;
use crate::codec::Incoming;
use crate::mux::Mux;
use crate::mux::bridge::suspended::Call;
use crate::mux::method::Method;
use crate::mux::peer::{Capabilities, Peer};
use crate::mux::policy::{Interactive, ServerPolicy};
use crate::mux::request::Request;
use crate::mux::server::{Era, Holder, Instance};

impl Mux {
    /// A request that is being sent takes the child for its client, or for itself.
    pub(super) fn hold(&mut self, key: Key, instance: Key, msg: &Incoming<'_>) {
        let (Some(request), Some(instance)) = (self.requests.get_mut(key), self.instances.get_mut(instance))
        else {
            return;
        };
        if !serializes(&self.servers[instance.server].policy, instance, request.method) {
            return;
        }
        let Some(peer) = request.peer().and_then(|peer| self.peers.get(peer)) else { return };
        let own = holder_of(key, request, peer);
        if own == Holder::Call(key) {
            request.call = Some(Box::new(Call::new(self.suspended.binding(msg))));
        }
        if instance.holder != Some(own) {
            instance.holder = Some(own);
            instance.contended = false;
            // What it has waiting now is its turn; what it asks later is not.
            instance.allowance = peer.waiting.len() + 1;
        }
        instance.allowance = instance.allowance.saturating_sub(1);
        instance.holding += 1;
    }

    /// A child has one request less.
    pub(super) fn let_go(&mut self, peer: Option<Key>, instance: Key, method: Method) {
        let Some(instance) = self.instances.get_mut(instance) else { return };
        instance.in_flight -= 1;
        let is_of_holder = match instance.holder {
            Some(Holder::Peer(holder)) => peer == Some(holder),
            // It has the child alone.
            Some(Holder::Call(_)) => true,
            None => false,
        };
        if method.is_interactive() && is_of_holder {
            instance.holding -= 1;
            if instance.holding == 0 {
                instance.holder = None;
                instance.contended = false;
            }
        }
    }
}

/// For whom a child is at work once it has this request. One whose client can be asked by way of its answer
/// has the child alone: two of them, of one client even, would be told apart by nothing.
pub(super) fn holder_of(key: Key, request: &Request, peer: &Peer) -> Holder {
    let can_be_asked = request.capabilities != Capabilities::default() || peer.legacy.is_some();
    match (request.era, request.peer()) {
        (Era::Legacy, Some(peer)) => Holder::Peer(peer),
        (Era::Modern, Some(peer)) if !can_be_asked => Holder::Peer(peer),
        _ => Holder::Call(key),
    }
}

/// Whether a request has to have the child for its client alone: the child may ask something during it,
/// and does not say whom it means. That holds for clients that cannot be asked as well, and for a child that
/// one client has alone, who may ask in both eras.
pub(super) fn serializes(policy: &ServerPolicy, instance: &Instance, method: Method) -> bool {
    (policy.interactive == Interactive::Serialize || policy.is_per_client())
        && instance.era == Some(Era::Legacy)
        && method.is_interactive()
}
