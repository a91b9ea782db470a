//! Calls that may be made twice: when a process dies under a call of a tool that says `readOnlyHint` or
//! `idempotentHint`, the next process is asked once more, and the client does not notice (C02).

use crate::base::{Key, SortedSet};
use crate::codec::List;
use crate::codec::{Incoming, json};
use crate::mux::bridge::rounds;
use crate::mux::method::Method;
use crate::mux::request::{Held, Origin, Request, State};
use crate::mux::{Mux, reply};

/// Names of tools that may be called twice, as their server's lists told, unescaped.
#[derive(Debug, Default)]
pub(super) struct Repeatable(SortedSet<String>);

impl Repeatable {
    /// Learns from one page of `tools/list`.
    fn learn(&mut self, msg: &Incoming<'_>) {
        let Some(tools) = msg.envelope.result.and_then(|result| json::member(msg.bytes, result, "tools"))
        else {
            return;
        };
        if msg.bytes[tools.start()] != b'[' {
            return;
        }
        for tool in json::array_elements(msg.bytes, tools) {
            let member = |of, key| json::member(msg.bytes, of, key);
            let Some(name) = member(tool, "name").and_then(|name| json::unescape(msg.text(name))) else {
                continue;
            };
            let says = |hint| {
                let said = member(tool, "annotations").and_then(|annotations| member(annotations, hint));
                said.is_some_and(|value| msg.text(value) == b"true")
            };
            if says("readOnlyHint") || says("idempotentHint") {
                if self.0.len() < NAMES_MAX {
                    self.0.insert(name.into_owned());
                }
            } else {
                self.0.remove(&*name);
            }
        }
    }

    fn has(&self, msg: &Incoming<'_>) -> bool {
        let name = || json::unescape(msg.text(msg.envelope.name?));
        !self.0.is_empty() && name().is_some_and(|name| self.0.contains(&*name))
    }
}

impl Mux {
    /// A child answered a list: its tools may say which of them can be called twice.
    pub(super) fn note_repeatable(&mut self, instance: Key, method: Method, msg: &Incoming<'_>) {
        if method == Method::List(List::Tools)
            && let Some(server) = self.instances.get(instance).map(|instance| instance.server)
        {
            self.servers[server].repeatable.learn(msg);
        }
    }

    /// Keeps the bytes of a request that is being sent, if it may be made again; `crossed`: to a child of the
    /// other era.
    pub(super) fn keep_for_retry(&mut self, key: Key, server: usize, crossed: bool, msg: &Incoming<'_>) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let is_first = request.method == Method::ToolsCall && !request.was_lost && !request.task;
        let server = &self.servers[server];
        let (len, may_ask) = (msg.bytes.len(), crossed && rounds::may_ask(request));
        request.may_repeat = is_first && len <= CALL_MAX && server.repeatable.has(msg);
        if !request.may_repeat && !may_ask {
            return;
        }
        let Some(peer) = request.peer().and_then(|peer| self.peers.get_mut(peer)) else { return };
        if request.may_repeat || rounds::has_room(peer.kept_bytes, len, &server.policy) {
            request.again = Some(msg.bytes.into());
            peer.kept_bytes += len;
        }
    }

    /// Takes the calls that may be made again back from a process that will not answer them.
    pub(super) fn requeue_lost(&mut self, instance_key: Key, why: &reply::Failure) {
        if why.reason != "restarting" {
            return;
        }
        let is_lost =
            |request: &Request| request.instance == instance_key && request.may_repeat && request.is_sent();
        let lost: Vec<Key> = self.requests.iter().filter(|(_, r)| is_lost(r)).map(|(key, _)| key).collect();
        // Each is put in front of what waits, so the last one first.
        for key in lost.into_iter().rev() {
            let Some(request) = self.requests.get_mut(key) else { continue };
            let (Some(bytes), Origin::Peer { peer: peer_key, .. }) = (request.again.take(), &request.origin)
            else {
                continue;
            };
            let peer_key = *peer_key;
            let len = bytes.len();
            request.was_lost = true;
            let sent = std::mem::replace(&mut request.state, State::Waiting(bytes));
            self.uncount(peer_key, instance_key, Method::ToolsCall, Held::of(&sent));
            let is_only = self.instances.get(instance_key).is_some_and(|instance| instance.only.is_some());
            let Some(peer) = self.peers.get_mut(peer_key) else { continue };
            peer.kept_bytes -= len;
            peer.waiting_bytes += len;
            if is_only {
                continue;
            }
            peer.waiting.push_front(key);
            if !std::mem::replace(&mut peer.queued, true)
                && let Some(instance) = self.instances.get_mut(instance_key)
            {
                instance.queue.push_back(peer_key);
            }
        }
    }
}

/// Longest call that is kept, in bytes.
const CALL_MAX: usize = 64 << 10;
/// Most names kept of one server.
const NAMES_MAX: usize = 4_096;
