//! [`Sizes`]: what a front holds, to be looked at by tests.

use super::Front;

/// Sizes of the tables: all zero when nobody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub connections: usize,
    pub addresses: usize,
    pub sessions: usize,
    /// Session ids.
    pub ids: usize,
    /// Peers of the mux.
    pub links: usize,
    /// Connections with a message that waits for the mux.
    pub held: usize,
    pub watchers: usize,
    /// Whether a timer is set; one that was cancelled counts until its time has come.
    pub timers: usize,
}

impl Front {
    pub fn sizes(&self) -> Sizes {
        Sizes {
            connections: self.conns.len(),
            addresses: self.by_address.len(),
            sessions: self.sessions.len(),
            ids: self.by_id.len(),
            links: self.links.len(),
            held: self.held.len(),
            watchers: self.watchers.len(),
            timers: self.timers.len(),
        }
    }
}
