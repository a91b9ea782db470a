//! Owners of what outlives a request: tasks, and elicitations by URL (P20, P21).

use crate::base::limits::{ELICITATIONS_PER_SERVER, TASKS_PER_SERVER};
use crate::base::{Key, ShortBytes};
use std::collections::{BTreeMap, VecDeque};

/// Who owns which task and elicitation of one server. Bounded: the oldest is forgotten first.
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
    /// Remembers a task by its raw id token.
    pub(super) fn add_task(&mut self, id: &[u8], task: Task) {
        self.tasks.insert(id, task, TASKS_PER_SERVER);
    }

    pub(super) fn task(&self, id: &[u8]) -> Option<&Task> {
        self.tasks.map.get(id)
    }

    /// Owner and token of the running task whose creating request had this key.
    pub(super) fn task_by_token(&self, request: Key) -> Option<(Key, ShortBytes)> {
        let task = self.tasks.map.values().find(|task| task.request == request)?;
        Some((task.owner, task.token.clone()?))
    }

    /// The task has ended: its progress token dies, its owner may still fetch it.
    pub(super) fn end_progress(&mut self, id: &[u8]) {
        if let Some(task) = self.tasks.map.get_mut(id) {
            task.token = None;
        }
    }

    /// Remembers which client was sent to a URL.
    pub(super) fn add_elicitation(&mut self, id: &[u8], peer: Key) {
        self.elicitations.insert(id, peer, ELICITATIONS_PER_SERVER);
    }

    pub(super) fn elicited(&self, id: &[u8]) -> Option<Key> {
        self.elicitations.map.get(id).copied()
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
    fn insert(&mut self, id: &[u8], value: T, max: usize) {
        if self.map.insert(id.into(), value).is_none() {
            self.order.push_back(id.into());
            if self.order.len() > max {
                if let Some(oldest) = self.order.pop_front() {
                    self.map.remove(&oldest);
                }
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
