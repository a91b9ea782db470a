//! [`TimerWheel`]: deadlines with O(1) insert and cancel.
//!
//! A hierarchical timing wheel: seven levels of 64 slots, level 0 one millisecond a slot, each level
//! 64 times coarser. A timer sits on the level of the highest bit in which its deadline differs from
//! the wheel's own time; when that time reaches a coarse slot, its timers move to finer ones. Timers
//! of one slot are a doubly linked list through one vector, so a cancel unlinks in place.

use crate::base::Time;

const LEVELS: usize = 7;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const NIL: u32 = u32::MAX;
/// List index of timers that are due; the slots' lists come before it.
const DUE: usize = LEVELS * SLOTS;
/// The last moment the wheel can tell, 139 years after its start; later deadlines are clamped to it.
const LAST_MS: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;

/// Names one scheduled timer; stale once it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

#[derive(Debug, Clone)]
struct Node<T> {
    value: Option<T>,
    at: u64,
    list: u32,
    prev: u32,
    next: u32,
    generation: u32,
}

#[derive(Debug, Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

/// Values that fall due at a [`Time`].
#[derive(Debug, Clone)]
pub struct TimerWheel<T> {
    /// Every timer at or before this moment is on the due list.
    now: u64,
    lists: Vec<List>,
    /// One bit per slot that holds a timer, per level.
    occupied: [u64; LEVELS],
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
}

impl<T> Default for TimerWheel<T> {
    fn default() -> Self {
        TimerWheel {
            now: 0,
            lists: vec![List { head: NIL, tail: NIL }; DUE + 1],
            occupied: [0; LEVELS],
            nodes: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> TimerWheel<T> {
    /// An empty wheel whose time is zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of timers that have neither fired nor been cancelled.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Whether no timer is scheduled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Schedules `value` for `at`; a moment already past is due at once.
    pub fn schedule(&mut self, at: Time, value: T) -> TimerKey {
        let at = at.0.min(LAST_MS);
        let index = match self.free.pop() {
            Some(index) => {
                let node = &mut self.nodes[index as usize];
                node.value = Some(value);
                node.at = at;
                index
            }
            None => {
                let index = self.nodes.len() as u32;
                self.nodes.push(Node {
                    value: Some(value),
                    at,
                    list: 0,
                    prev: NIL,
                    next: NIL,
                    generation: 0,
                });
                index
            }
        };
        self.link(index);
        TimerKey { index, generation: self.nodes[index as usize].generation }
    }

    /// Takes a timer back; `None` if it fired or was cancelled before.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let node = self.nodes.get(key.index as usize)?;
        if node.generation != key.generation || node.value.is_none() {
            return None;
        }
        self.unlink(key.index);
        self.release(key.index)
    }

    /// When [`TimerWheel::pop_expired`] is worth calling next: never after the earliest deadline,
    /// sometimes before it (a coarse slot that has to be spread over finer ones).
    pub fn next_deadline(&self) -> Option<Time> {
        if self.lists[DUE].head != NIL {
            return Some(Time(self.now));
        }
        self.next_slot().map(|(_, _, start)| Time(start))
    }

    /// The next value whose deadline is at or before `now`, in order of deadlines.
    pub fn pop_expired(&mut self, now: Time) -> Option<T> {
        loop {
            let head = self.lists[DUE].head;
            if head != NIL {
                self.unlink(head);
                return self.release(head);
            }
            match self.next_slot() {
                Some((level, slot, start)) if start <= now.0 => {
                    self.now = start;
                    self.spread(level * SLOTS + slot);
                }
                _ => {
                    self.now = self.now.max(now.0);
                    return None;
                }
            }
        }
    }

    /// Level, slot and first moment of the earliest occupied slot. The lowest occupied level has it:
    /// its timers share all higher bits with `now`, those of coarser levels do not.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = SLOT_BITS * level as u32;
        let above = self.now >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        Some((level, slot, above | ((slot as u64) << shift)))
    }

    /// Moves the timers of one slot to where they belong now that the wheel's time has reached it.
    fn spread(&mut self, list: usize) {
        let mut index = self.lists[list].head;
        self.lists[list] = List { head: NIL, tail: NIL };
        self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        while index != NIL {
            let next = self.nodes[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    fn list_of(&self, at: u64) -> usize {
        if at <= self.now {
            return DUE;
        }
        let highest_bit = 63 - (at ^ self.now).leading_zeros();
        let level = (highest_bit / SLOT_BITS) as usize;
        level * SLOTS + ((at >> (SLOT_BITS * level as u32)) as usize & (SLOTS - 1))
    }

    fn link(&mut self, index: u32) {
        let list = self.list_of(self.nodes[index as usize].at);
        let tail = self.lists[list].tail;
        let node = &mut self.nodes[index as usize];
        node.list = list as u32;
        node.prev = tail;
        node.next = NIL;
        if tail == NIL {
            self.lists[list].head = index;
        } else {
            self.nodes[tail as usize].next = index;
        }
        self.lists[list].tail = index;
        if list < DUE {
            self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
        }
    }

    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (list, prev, next) = (node.list as usize, node.prev, node.next);
        if prev == NIL {
            self.lists[list].head = next;
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next == NIL {
            self.lists[list].tail = prev;
        } else {
            self.nodes[next as usize].prev = prev;
        }
        if list < DUE && self.lists[list].head == NIL {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        self.free.push(index);
        node.value.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The wheel against a sorted map: random deadlines from a millisecond to a year, random cancels,
    /// random steps of time.
    #[test]
    fn fires_exactly_what_a_sorted_map_says_is_due() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut wheel = TimerWheel::new();
        let mut model: BTreeMap<(u64, u64), TimerKey> = BTreeMap::new();
        let mut now = 0;
        for serial in 0..60_000u64 {
            match random() % 10 {
                0..=4 => {
                    let at = now + random() % (1 << (random() % 36));
                    model.insert((at, serial), wheel.schedule(Time(at), (at, serial)));
                }
                5..=6 if !model.is_empty() => {
                    let nth = random() as usize % model.len();
                    let (entry, key) = model.iter().nth(nth).map(|(e, k)| (*e, *k)).unwrap();
                    model.remove(&entry);
                    assert_eq!(wheel.cancel(key), Some(entry));
                    assert_eq!(wheel.cancel(key), None);
                }
                _ => {
                    let earliest = model.keys().next().map(|(at, _)| *at);
                    let promised = wheel.next_deadline().map(|time| time.0);
                    assert_eq!(promised.is_some(), earliest.is_some());
                    assert!(promised <= earliest.map(|at| at.max(now)));
                    now += random() % (1 << (random() % 30));
                    let mut fired = Vec::new();
                    while let Some(entry) = wheel.pop_expired(Time(now)) {
                        fired.push(entry);
                    }
                    assert!(fired.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in order of deadlines");
                    fired.sort_unstable();
                    let later = model.split_off(&(now + 1, 0));
                    let due: Vec<_> = std::mem::replace(&mut model, later).into_keys().collect();
                    assert_eq!(fired, due);
                }
            }
            assert_eq!(wheel.len(), model.len());
            if model.len() > 300 {
                model.retain(|_, key| wheel.cancel(*key).is_none());
            }
        }
    }

    #[test]
    fn a_deadline_beyond_the_last_moment_is_clamped_not_lost() {
        let mut wheel = TimerWheel::new();
        wheel.schedule(Time(u64::MAX), "far");
        assert_eq!(wheel.pop_expired(Time(LAST_MS - 1)), None);
        assert_eq!(wheel.pop_expired(Time(LAST_MS)), Some("far"));
    }

    #[test]
    fn the_past_is_due_at_once() {
        let mut wheel = TimerWheel::new();
        assert_eq!(wheel.pop_expired(Time(1_000)), None);
        wheel.schedule(Time(10), 1);
        assert_eq!(wheel.next_deadline(), Some(Time(1_000)));
        assert_eq!(wheel.pop_expired(Time(1_000)), Some(1));
    }
}
