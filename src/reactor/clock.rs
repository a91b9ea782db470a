//! The loop's clock: the only maker of [`Time`] outside the simulator.

use crate::base::Time;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

    /// The calendar's milliseconds since 1970 when this clock showed zero.
    pub fn unix_ms_at_start(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        now.saturating_sub(self.now().0)
    }

    /// Milliseconds since the start, rounded down.
    pub fn now(&self) -> Time {
        Time(self.start.elapsed().as_millis() as u64)
    }
}
