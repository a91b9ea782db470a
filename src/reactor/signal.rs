//! The signals that mean something to the daemon, as events of the poll loop.

use crate::engine::port::Signal;
use libc::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// Signals of a daemon: stop, reload, reopen, and the end of a child.
pub(super) const OF_DAEMON: [i32; 5] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD];

/// What the engine is told of a signal; `None` for SIGCHLD, which stays inside the reactor.
pub(super) fn meaning(signal: i32) -> Option<Signal> {
    match signal {
        SIGINT | SIGTERM => Some(Signal::Stop),
        SIGHUP => Some(Signal::Reload),
        SIGUSR1 => Some(Signal::Reopen),
        _ => None,
    }
}
