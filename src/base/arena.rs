//! [`Key`] and [`Arena`]: a slab whose keys know when they are stale.
//!
//! A key is a slot and the generation of that slot, packed into 53 bits so that it survives a trip
//! through any JSON parser as a number. The id of a request on the wire *is* such a key, hence an
//! answer that comes late, twice, or from a process that has been replaced finds nothing.

use slab::Slab;
use std::fmt;

const SLOT_BITS: u32 = 16;
const GENERATION_BITS: u32 = 37;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// Address of one entry of one [`Arena`]: 16 bits of slot, 37 bits of generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    fn new(slot: usize, generation: u64) -> Key {
        Key(((generation & GENERATION_MASK) << SLOT_BITS) | slot as u64)
    }

    /// The key as an integer below 2^53, exact in every JSON parser.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The key that `as_u64` gave; any other number is a key that finds nothing.
    pub fn from_u64(raw: u64) -> Option<Key> {
        (raw >> (SLOT_BITS + GENERATION_BITS) == 0).then_some(Key(raw))
    }

    /// Index of the entry, dense and reused: good as an index of a side table.
    pub fn slot(self) -> usize {
        (self.0 & SLOT_MASK) as usize
    }

    fn generation(self) -> u64 {
        self.0 >> SLOT_BITS
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot(), self.generation())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot(), self.generation())
    }
}

/// Values under generation-checked keys; at most 65,536 at once.
#[derive(Debug, Clone)]
pub struct Arena<T> {
    slab: Slab<T>,
    /// Generation of each slot ever used; bumped on removal, so a key outlives its value harmlessly.
    generations: Vec<u64>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { slab: Slab::new(), generations: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Most entries that fit at once.
    pub const CAPACITY: usize = 1 << SLOT_BITS;

    /// An empty arena; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether another `insert` would exceed [`Arena::CAPACITY`].
    pub fn is_full(&self) -> bool {
        self.slab.len() == Self::CAPACITY
    }

    /// The key that the next [`Arena::insert`] will give.
    pub fn next_key(&self) -> Key {
        let slot = self.slab.vacant_key();
        // Generations start at 1, so that no key is 0: a 0 on the wire is never ours.
        Key::new(slot, self.generations.get(slot).copied().unwrap_or(1))
    }

    /// Stores `value`. Panics when full: callers hold a lower bound of their own (`limits`).
    pub fn insert(&mut self, value: T) -> Key {
        assert!(!self.is_full(), "arena is full: its owner must bound it");
        let key = self.next_key();
        let slot = self.slab.insert(value);
        if slot == self.generations.len() {
            self.generations.push(1);
        }
        key
    }

    /// The value under `key`, if it is still there.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        if *self.generations.get(key.slot())? != key.generation() {
            return None;
        }
        self.slab.get(key.slot())
    }

    /// The value under `key`, if it is still there.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        if *self.generations.get(key.slot())? != key.generation() {
            return None;
        }
        self.slab.get_mut(key.slot())
    }

    /// Whether `key` still finds its value.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Takes the value out; its key and all copies of it are stale from here on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let generation = &mut self.generations[key.slot()];
        *generation = (*generation + 1) & GENERATION_MASK;
        if *generation == 0 {
            *generation = 1;
        }
        Some(self.slab.remove(key.slot()))
    }

    /// Entries in slot order, which is the same for the same sequence of calls.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slab.iter().map(|(slot, value)| (Key::new(slot, self.generations[slot]), value))
    }

    /// Entries in slot order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        let generations = &self.generations;
        self.slab.iter_mut().map(|(slot, value)| (Key::new(slot, generations[slot]), value))
    }

    /// Keys in slot order, detached from the arena so that it can be changed while walking.
    pub fn keys(&self) -> Vec<Key> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

/// A side table: values of one's own under the keys of somebody else's arena.
#[derive(Debug, Clone)]
pub struct KeyMap<T> {
    slots: Vec<Option<(Key, T)>>,
    len: usize,
}

impl<T> Default for KeyMap<T> {
    fn default() -> Self {
        KeyMap { slots: Vec::new(), len: 0 }
    }
}

impl<T> KeyMap<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` under `key`, dropping what an older key of that slot held.
    pub fn insert(&mut self, key: Key, value: T) {
        if self.slots.len() <= key.slot() {
            self.slots.resize_with(key.slot() + 1, || None);
        }
        if self.slots[key.slot()].replace((key, value)).is_none() {
            self.len += 1;
        }
    }

    /// The value under exactly this key.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.slot()) {
            Some(Some((k, value))) if *k == key => Some(value),
            _ => None,
        }
    }

    /// The value under exactly this key.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.slot()) {
            Some(Some((k, value))) if *k == key => Some(value),
            _ => None,
        }
    }

    /// Takes the value under exactly this key.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.len -= 1;
        self.slots[key.slot()].take().map(|(_, value)| value)
    }

    /// Entries in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().flatten().map(|(key, value)| (*key, value))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_even_when_its_slot_is_taken_again() {
        let mut arena = Arena::new();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(first.slot(), second.slot());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
    }

    #[test]
    fn keys_survive_the_wire_and_foreign_numbers_find_nothing() {
        let mut arena = Arena::new();
        let key = arena.insert(7);
        assert_eq!(Key::from_u64(key.as_u64()), Some(key));
        assert!(key.as_u64() < 1 << 53);
        assert_eq!(Key::from_u64(1 << 53), None);
        for raw in [0, 1, key.as_u64() + 1, (1 << 53) - 1] {
            assert!(Key::from_u64(raw).and_then(|k| arena.get(k)).is_none(), "{raw}");
        }
    }

    #[test]
    fn keys_are_never_given_twice() {
        let mut arena = Arena::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut held = Vec::new();
        for round in 0..10_000u32 {
            let next = arena.next_key();
            let key = arena.insert(round);
            assert_eq!(key, next);
            assert!(seen.insert(key));
            held.push(key);
            if round % 3 != 0 {
                let at = (round as usize * 7919) % held.len();
                arena.remove(held.swap_remove(at));
            }
        }
        assert_eq!(arena.len(), held.len());
    }

    #[test]
    fn a_key_map_answers_to_the_exact_key_only() {
        let mut arena = Arena::new();
        let old = arena.insert(());
        let mut map = KeyMap::new();
        map.insert(old, "old");
        arena.remove(old);
        let new = arena.insert(());
        assert_eq!(map.get(new), None);
        map.insert(new, "new");
        assert_eq!((map.get(old), map.get(new), map.len()), (None, Some(&"new"), 1));
        assert_eq!(map.remove(old), None);
        assert_eq!(map.remove(new), Some("new"));
        assert!(map.is_empty());
    }
}
