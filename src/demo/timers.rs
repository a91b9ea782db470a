//! What is to happen later, by deadline. Leaves the waiting to the main loop.

use std::collections::BTreeMap;
use std::time::Instant;

/// A queue of jobs ordered by deadline; jobs of one deadline keep the order in which they were added.
#[derive(Debug)]
pub struct Timers<T> {
    jobs: BTreeMap<(Instant, u64), T>,
    added: u64,
}

impl<T> Timers<T> {
    pub fn new() -> Timers<T> {
        Timers { jobs: BTreeMap::new(), added: 0 }
    }

    pub fn add(&mut self, deadline: Instant, job: T) {
        self.added += 1;
        self.jobs.insert((deadline, self.added), job);
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.jobs.keys().next().map(|(deadline, _)| *deadline)
    }

    /// The earliest job whose deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.jobs.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn jobs_come_due_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        for (ms, job) in [(20, "late"), (10, "first"), (10, "second")] {
            timers.add(at(ms), job);
        }
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.next_deadline(), Some(at(10)));
        assert_eq!(timers.pop_due(at(10)), Some("first"));
        assert_eq!(timers.pop_due(at(10)), Some("second"));
        assert_eq!(timers.pop_due(at(10)), None);
        assert_eq!(timers.pop_due(at(30)), Some("late"));
        assert_eq!(timers.next_deadline(), None);
    }
}
