//! The loop's clock: the only maker of [`Time`] outside the simulator.

use crate::base::Time;
use std::time::Instant;

/// Counts milliseconds from its own start; never goes back, stands still while the machine sleeps (Linux).
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that shows [`Time::ZERO`] now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Milliseconds since the start, rounded down.
    pub fn now(&self) -> Time {
        Time(self.start.elapsed().as_millis() as u64)
    }
}
