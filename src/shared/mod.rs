//! `muxloop daemon` (row H06): one HTTP server of any kind, shared by processes of any kind.
//!
//! ```text
//!   muxloop daemon (caller) ──┐
//!   muxloop daemon (caller) ──┼── D/sock ── supervisor ── the server, a process group, at HOST:PORT
//!   muxloop daemon (caller) ──┘             (detached)
//! ```
//!
//! A caller is the life token of whoever started it: the connection to the supervisor is what counts it in,
//! and the kernel ends that connection however the caller ends. So nobody is counted by a process number that
//! may be another's; the numbers in `clients.json` are for people. The supervisor is nobody's child, so it
//! makes no difference to it which caller leaves first. It is the parent of the server, with a guard
//! ([`crate::reactor::guard`]): if it is killed, the server ends with it, and the callers, whose connections
//! have ended, start another one. (Were the server handed from caller to caller instead, it would be an orphan
//! between two of them, that nobody can wait for, and that stays if both are killed.)
//!
//! | file | |
//! |---|---|
//! | `place` | what is shared, and the files of its directory |
//! | `caller` | one caller from its start to its end |
//! | `join` | finding the supervisor, or starting exactly one |
//! | `wire` | what the two say to each other |
//! | `supervisor` | when the server starts, restarts and stops |
//! | `server` | its process, and what it writes |
//! | `clients` | who is connected, and `clients.json` |
//! | `probe` | whether the server answers; whose the port is |

mod caller;
mod clients;
mod join;
mod place;
mod probe;
mod server;
mod supervisor;
mod wire;

pub use caller::run;
pub use place::{Options, What};
pub use supervisor::main_if_requested;

/// The server failed for good, or the daemon was stopped.
pub const EXIT_FAILED: u8 = 1;
/// The port is somebody else's.
pub const EXIT_PORT: u8 = 3;
