//! Owners of what outlives a request: tasks, and elicitations by URL (P20, P21).

use crate::base::limits::{ELICITATIONS_PER_SERVER, TASKS_PER_SERVER};
use crate::base::{Key, ShortBytes};
use crate::codec::{Incoming, Message, Span, json};
use crate::mux::method::Method;
use crate::mux::queue::Asked;
use crate::mux::request::Request;
use crate::mux::server::Era;
use crate::mux::{Mux, Sink};
use std::collections::{BTreeMap, VecDeque};

/// Who owns which task and elicitation of one process. Bounded: the oldest is forgotten first.
/// Ids are given as JSON tokens and compared as what they say, however they are escaped.
#[derive(Debug, Default)]
pub(super) struct Owners {
    tasks: Bounded<Task>,
    elicitations: Bounded<Key>,
}

/// A task some client created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub owner: Key,
    /// The request that created it, and its progress token as written: alive until the task ends.
    pub request: Key,
    pub token: Option<ShortBytes>,
}

impl Owners {
    /// Remembers a task.
    pub(super) fn add_task(&mut self, id: &[u8], task: Task) {
        self.tasks.insert(name_of(id), task, TASKS_PER_SERVER);
    }

    pub(super) fn task(&self, id: &[u8]) -> Option<&Task> {
        self.tasks.map.get(&name_of(id))
    }

    /// Whether a client that is still there made a task: running, or not fetched for all that is known.
    pub(super) fn has_tasks(&self) -> bool {
        !self.tasks.map.is_empty()
    }

    /// Whether a client may see the task whose id is this text.
    pub(super) fn owns(&self, peer: Key, id: &str) -> bool {
        self.tasks.map.get(id.as_bytes()).is_some_and(|task| task.owner == peer)
    }

    /// Owner and token of the running task whose creating request had this key.
    pub(super) fn task_by_token(&self, request: Key) -> Option<(Key, ShortBytes)> {
        let task = self.tasks.map.values().find(|task| task.request == request)?;
        Some((task.owner, task.token.clone()?))
    }

    /// The task has ended: its progress token dies, its owner may still fetch it.
    pub(super) fn end_progress(&mut self, id: &[u8]) {
        if let Some(task) = self.tasks.map.get_mut(&name_of(id)) {
            task.token = None;
        }
    }

    /// Remembers which client was sent to a URL.
    pub(super) fn add_elicitation(&mut self, id: &[u8], peer: Key) {
        self.elicitations.insert(name_of(id), peer, ELICITATIONS_PER_SERVER);
    }

    pub(super) fn elicited(&self, id: &[u8]) -> Option<Key> {
        self.elicitations.map.get(&name_of(id)).copied()
    }

    /// Remembers the elicitations that an error sends a client to.
    fn note_url_elicitations(&mut self, peer: Key, error: &[u8]) {
        let error: serde_json::Value = serde_json::from_slice(error).unwrap_or_default();
        for elicitation in error["data"]["elicitations"].as_array().into_iter().flatten() {
            let id = &elicitation["elicitationId"];
            if id.is_string() {
                self.add_elicitation(id.to_string().as_bytes(), peer);
            }
        }
    }

    /// Forgets what belonged to a client that left: nobody can reach it any more.
    pub(super) fn forget_peer(&mut self, peer: Key) {
        self.elicitations.retain(|owner| *owner != peer);
        self.tasks.retain(|task| task.owner != peer);
    }

    /// Forgets everything: the process that held it is gone.
    pub(super) fn clear(&mut self) {
        *self = Owners::default();
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.map.len() + self.elicitations.map.len()
    }
}

#[derive(Debug)]
struct Bounded<T> {
    map: BTreeMap<Box<[u8]>, T>,
    order: VecDeque<Box<[u8]>>,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Bounded { map: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<T> Bounded<T> {
    fn insert(&mut self, id: Box<[u8]>, value: T, max: usize) {
        if self.map.insert(id.clone(), value).is_none() {
            self.order.push_back(id);
            if self.order.len() > max
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
    }

    fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let before = self.map.len();
        self.map.retain(|_, value| keep(value));
        if self.map.len() != before {
            let map = &self.map;
            self.order.retain(|id| map.contains_key(id));
        }
    }
}

impl Mux {
    /// Whether a request about a task comes from its owner.
    pub(super) fn owns_task(&self, asked: Asked<'_, '_>) -> bool {
        let Some(id) = asked.msg.envelope.task_id.map(|span| asked.msg.text(span)) else { return true };
        let task = self.instances.get(asked.instance).and_then(|instance| instance.owners.task(id));
        task.is_some_and(|task| task.owner == asked.peer)
    }

    /// Remembers tasks and URL elicitations that an answer created (P20, P21).
    pub(super) fn note_ownership(
        &mut self,
        instance: Key,
        peer: Key,
        key: Key,
        request: &mut Request,
        msg: &Incoming<'_>,
    ) {
        let env = &msg.envelope;
        let Some(owners) = self.instances.get_mut(instance).map(|instance| &mut instance.owners) else {
            return;
        };
        if let Some(error) = env.error {
            // 2026-07-28 has no word for a page that was seen (protocol.md §1.2.8).
            let is_told = request.era == Era::Legacy;
            if is_told && msg.text(error).windows(6).any(|window| window == b"-32042") {
                owners.note_url_elicitations(peer, msg.text(error));
            }
            return;
        }
        let created = env.task.and_then(|task| json::member(msg.bytes, task, "taskId"));
        let extension =
            env.task_id.filter(|_| env.result_type.is_some() && request.method == Method::ToolsCall);
        let Some(id) = created.filter(|_| request.task).or(extension) else { return };
        owners.add_task(msg.text(id), Task { owner: peer, token: request.token.take(), request: key });
    }

    /// The asker's part of the tasks in a `tasks/list` result, as written, and the place of the whole.
    pub(super) fn own_tasks_only(
        &self,
        instance: Key,
        peer: Key,
        msg: &Incoming<'_>,
    ) -> Option<(Span, Vec<u8>)> {
        let owners = &self.instances.get(instance)?.owners;
        let tasks = json::member(msg.bytes, msg.envelope.result?, "tasks")?;
        let own = json::array_elements(msg.bytes, tasks).filter(|task| {
            let id = json::member(msg.bytes, *task, "taskId");
            id.and_then(|id| owners.task(msg.text(id))).is_some_and(|task| task.owner == peer)
        });
        let own: Vec<&[u8]> = own.map(|task| msg.text(task)).collect();
        Some((tasks, [&b"["[..], &own.join(&b','), b"]"].concat()))
    }

    pub(super) fn on_elicit_complete(&self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(id) = msg.envelope.elicitation_id.map(|span| msg.text(span)) else { return };
        let elicited = self.instances.get(instance).and_then(|instance| instance.owners.elicited(id));
        if let Some(peer) = elicited.and_then(|key| self.peers.get(key)) {
            out.send(peer.link, &Message::new(msg.bytes));
        }
    }

    pub(super) fn on_task_status(&mut self, instance: Key, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(id) = msg.envelope.task_id.map(|span| msg.text(span)) else { return };
        let Some(owners) = self.instances.get_mut(instance).map(|instance| &mut instance.owners) else {
            return;
        };
        let owner = owners.task(id).map(|task| task.owner);
        let status = msg.envelope.status.map(|span| msg.text(span));
        if matches!(status, Some(b"\"completed\"" | b"\"failed\"" | b"\"cancelled\"")) {
            owners.end_progress(id);
        }
        // A modern client knows no such notification.
        if let Some(peer) = owner.and_then(|key| self.peers.get(key)).filter(|peer| peer.legacy.is_some()) {
            out.send(peer.link, &Message::new(msg.bytes));
        }
    }
}

/// What an id token says.
fn name_of(token: &[u8]) -> Box<[u8]> {
    json::unescape(token).map_or_else(|| token.into(), |text| text.as_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Arena;

    #[test]
    fn the_oldest_task_makes_room_and_leavers_take_theirs_along() {
        let mut arena = Arena::new();
        let (peer, other) = (arena.insert(()), arena.insert(()));
        let mut owners = Owners::default();
        for n in 0..=TASKS_PER_SERVER {
            let owner = if n % 2 == 0 { peer } else { other };
            owners.add_task(n.to_string().as_bytes(), Task { owner, request: peer, token: None });
        }
        assert_eq!(owners.len(), TASKS_PER_SERVER);
        assert_eq!(owners.task(b"0"), None);
        assert!(owners.task(b"1").is_some());
        owners.forget_peer(other);
        assert_eq!(owners.len(), TASKS_PER_SERVER / 2);
        assert_eq!(owners.task(b"1"), None);
    }
}
