//! [`Stopper`]: how other threads ask a loop to stop.

use mio::{Registry, Token, Waker};
use std::io;
use std::sync::Arc;

/// Asks a loop to stop gracefully, from any thread. Copies ask the same loop.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Waker>);

impl Stopper {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Stopper> {
        Ok(Stopper(Arc::new(Waker::new(registry, token)?)))
    }

    /// Asks. A loop that has ended meanwhile hears nothing, which is fine.
    pub fn stop(&self) {
        // Fails only if the counter of the descriptor is full, and then it is readable.
        let _ = self.0.wake();
    }
}
