//! Between a cancel and the moment the child has read it: what it asks or logs may still be about the
//! cancelled request, and does not say so. A ping behind the cancel tells when that is over; until then
//! nobody else has the child (legacy, `serialize`), or its log lines (modern).

use crate::base::{Key, Time};
use crate::codec::{List, Message};
use crate::mux::hold::serializes;
use crate::mux::method::Method;
use crate::mux::request::{Own, Request};
use crate::mux::server::{Era, Fence, Hello};
use crate::mux::{Mux, Sink, reply};
use serde_json::json;

impl Mux {
    /// Takes back at the child what was taken out of the tables: nobody answers what it asked because of that, and
    /// what it asks before it has read the cancel is nobody else's.
    pub(super) fn call_off(
        &mut self,
        now: Time,
        key: Key,
        request: &mut Request,
        why: &str,
        out: &mut dyn Sink,
    ) {
        self.refuse_questions(request, out);
        let link = self.instances.get(request.instance).and_then(|i| i.link);
        if let (true, Some(link)) = (request.is_sent(), link) {
            out.send(link, &Message::new(&reply::cancelled(key.as_u64(), why)));
            self.raise_fence(now, request, out);
        }
    }

    /// A request was cancelled at the child, which may not have read that yet. Whether that matters here.
    pub(super) fn raise_fence(&mut self, now: Time, request: &Request, out: &mut dyn Sink) -> bool {
        let key = request.instance;
        // Whoever has the child for one request is nobody that may go on.
        let peer = request.peer().filter(|_| request.call.is_none());
        let Some(instance) = self.instances.get(key) else { return false };
        let policy = &self.servers[instance.server].policy;
        let names_level = instance.era == Some(Era::Modern) || request.era == Era::Modern;
        let logs = names_level && request.log_level.is_some();
        // A client that has the child alone is asked at any rate, unless it can be asked in two ways.
        let owner = instance.owner.and_then(|owner| self.peers.get(owner));
        let is_moot = request.call.is_none() && owner.is_some_and(|owner| !owner.modern);
        let needed = logs || (serializes(policy, instance, request.method) && !is_moot);
        let Some(link) = instance.open_link().filter(|_| needed) else { return false };
        let timeout = policy.request_timeout_ms;
        let before = instance.fence.map_or(peer, |fence| fence.peer);
        let peer = peer.filter(|_| before == peer);
        self.send_fence(now, key, link, peer, None, Some(timeout), out);
        true
    }

    /// Asks the child for something by which it shows that it has read all that was said before; `timeout_ms`
    /// as in [`Mux::file_own`].
    #[allow(clippy::too_many_arguments)]
    fn send_fence(
        &mut self,
        now: Time,
        key: Key,
        link: Key,
        peer: Option<Key>,
        method: Option<&str>,
        timeout_ms: Option<u64>,
        out: &mut dyn Sink,
    ) {
        // The answer to the later one says what the answer to an earlier one would.
        if let Some(earlier) = self.instances.get(key).and_then(|instance| instance.fence) {
            self.take(earlier.request);
        }
        let request = self.file_own(now, key, Own::Fence, Method::Ping, timeout_ms);
        let Some(instance) = self.instances.get_mut(key) else { return };
        instance.fence = Some(Fence { request, peer });
        // 2026-07-28 has no ping.
        let (method, params) = match instance.era {
            Some(Era::Modern) => ("server/discover", self.own_meta(json!({}))),
            _ => (method.unwrap_or("ping"), json!({})),
        };
        out.send(link, &Message::new(&reply::request(request.as_u64(), method, params)));
    }

    /// The ping behind a cancel is not answered: that is a missed heartbeat. A server without heartbeats may
    /// answer no pings, or be at work for long, and is not ended for that: it is asked for a list instead,
    /// which it must answer some day if it has one at all. One that has none has the fence lifted.
    pub(super) fn on_fence_unanswered(&mut self, now: Time, key: Key, request: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Some(fence) = instance.fence.filter(|fence| fence.request == request) else { return };
        let Some(link) = instance.open_link() else { return self.lift_fence(now, key, request, out) };
        if let Some(heartbeat) = self.servers[instance.server].policy.heartbeat {
            instance.missed_heartbeats += 1;
            if instance.missed_heartbeats >= heartbeat.failures_max {
                let why = format!("did not answer {} pings in a row", instance.missed_heartbeats);
                return self.give_up_on_process(now, key, &why, out);
            }
            return self.send_fence(now, key, link, fence.peer, None, Some(heartbeat.timeout_ms), out);
        }
        let list = instance.hello.as_deref().and_then(a_list_of);
        if list.is_none() && instance.era == Some(Era::Legacy) {
            return self.lift_fence(now, key, request, out);
        }
        self.send_fence(now, key, link, fence.peer, list, None, out);
    }

    /// The child has read a cancel.
    pub(super) fn lift_fence(&mut self, now: Time, key: Key, request: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        // A later cancel may have raised it anew.
        if instance.fence.is_some_and(|fence| fence.request == request) {
            instance.fence = None;
            instance.missed_heartbeats = 0;
            self.dispatch(now, key, out);
        }
    }
}

/// The method for a list that a server has; each must answer it.
fn a_list_of(hello: &Hello) -> Option<&'static str> {
    let told: serde_json::Value = serde_json::from_slice(&hello.initialized).ok()?;
    let has = |list: &List| told["capabilities"][list.capability()].is_object();
    List::ALL.into_iter().find(has).map(List::method)
}
