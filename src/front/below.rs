//! [`Below`]: what the front asks of the engine.

use crate::base::Key;
use crate::codec::{Incoming, ScanError};
use crate::mux::ServerId;

/// The engine as the front sees it: peers of the mux that have no connection of their own (links), and
/// connections that carry raw bytes.
pub trait Below {
    /// A new peer of the mux; a `guest` is none of the clients that a server limits. What the mux says to it
    /// comes by [`super::Front::hear`]. `None`: no room.
    fn attach(&mut self, server: ServerId, guest: bool) -> Option<Key>;
    /// Whether a server takes another client that is no guest.
    fn has_room(&self, server: ServerId) -> bool;
    /// A message of that peer.
    fn deliver(&mut self, link: Key, message: &Incoming<'_>);
    /// Bytes of that peer that are no single message: a batch, or an error for the mux to report.
    fn deliver_malformed(&mut self, link: Key, bytes: &[u8], error: ScanError);
    /// That peer is gone.
    fn detach(&mut self, link: Key);
    /// Whether the mux wants nothing more from that peer for now.
    fn is_paused(&self, link: Key) -> bool;
    /// Appends bytes to a connection.
    fn write(&mut self, conn: Key, bytes: &[u8]);
    /// Bytes that a connection has not taken yet.
    fn unwritten(&self, conn: Key) -> usize;
    /// Closes a connection once everything is written.
    fn close(&mut self, conn: Key);
    /// 128 bits that nobody can guess.
    fn random(&mut self) -> u128;
    /// What everything below counts, as the text of `/metrics`.
    fn metrics(&self) -> String;
    /// Whether this server can answer now; in words if not.
    fn readiness(&self) -> Result<(), String>;
}
