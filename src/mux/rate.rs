//! Rate limits (row G09): how many requests may go to a server, in all and of each client.
//!
//! | algorithm | allows | keeps |
//! |---|---|---|
//! | bucket | `burst` at once, then one each time its share of the period has passed | the moment from which the bucket is full again |
//! | window | `requests` in any period, the one before it counted by the part that still overlaps | two counts |
//!
//! The window is the usual approximation of a sliding one: requests of the period before are taken as spread
//! evenly, so at most a few more or fewer pass than an exact log would let, at two numbers per client.

use crate::base::Time;
use serde::{Deserialize, Serialize};

/// What a server's clients may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// Of each client.
    pub client: Option<Rate>,
    /// Of all clients together.
    pub server: Option<Rate>,
    pub algorithm: Algorithm,
    /// Requests at once, with `bucket`; the rate's own number if `None`.
    pub burst: Option<u32>,
}

/// So many requests per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    pub requests: u32,
    pub period_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[default]
    Bucket,
    Window,
}

/// What is remembered of one client, or of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meter {
    /// `bucket`: when it is full again, in nanoseconds.
    full_at: u64,
    /// `window`: which period, requests in it and in the one before.
    period: u64,
    current: u32,
    before: u32,
}

impl Rate {
    /// Reads `10/s`, `600/m`, `5000/h`.
    pub fn parse(text: &str) -> Option<Rate> {
        let (requests, unit) = text.split_once('/')?;
        let requests =
            requests.trim().parse().ok().filter(|requests| (1..=1_000_000_000).contains(requests))?;
        let period_ms = match unit.trim() {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        Some(Rate { requests, period_ms })
    }
}

impl Meter {
    /// Milliseconds until a request may pass; 0: now.
    pub(super) fn wait_ms(&self, now: Time, rate: Rate, limits: &RateLimits) -> u64 {
        match limits.algorithm {
            Algorithm::Bucket => {
                let interval = interval_ns(rate);
                let depth = interval * u64::from(limits.burst.unwrap_or(rate.requests).max(1));
                let now = now.0 * NS_PER_MS;
                (self.full_at.max(now) + interval).saturating_sub(now + depth).div_ceil(NS_PER_MS)
            }
            Algorithm::Window => {
                let (before, current) = self.counts(now, rate);
                let into = now.0 % rate.period_ms;
                let overlap = u64::from(before) * (rate.period_ms - into);
                let room = |current: u32| {
                    u64::from(rate.requests.saturating_sub(1).saturating_sub(current)) * rate.period_ms
                };
                // An overlap falls by the count of the period before, each millisecond.
                if current >= rate.requests {
                    // With this period full, it has to become the one before, and some of it to pass.
                    let next = u64::from(current) * rate.period_ms;
                    return rate.period_ms - into + next.saturating_sub(room(0)).div_ceil(u64::from(current));
                }
                match overlap.saturating_sub(room(current)) {
                    0 => 0,
                    excess => excess.div_ceil(u64::from(before)),
                }
            }
        }
    }

    /// Counts a request that passes.
    pub(super) fn note(&mut self, now: Time, rate: Rate, limits: &RateLimits) {
        match limits.algorithm {
            Algorithm::Bucket => self.full_at = self.full_at.max(now.0 * NS_PER_MS) + interval_ns(rate),
            Algorithm::Window => {
                (self.before, self.current) = self.counts(now, rate);
                self.period = now.0 / rate.period_ms;
                self.current += 1;
            }
        }
    }

    /// Requests of the period before and of this one.
    fn counts(&self, now: Time, rate: Rate) -> (u32, u32) {
        match (now.0 / rate.period_ms).checked_sub(self.period) {
            Some(0) => (self.before, self.current),
            Some(1) => (self.current, 0),
            _ => (0, 0),
        }
    }
}

fn interval_ns(rate: Rate) -> u64 {
    (rate.period_ms * NS_PER_MS).div_ceil(u64::from(rate.requests))
}

const NS_PER_MS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(algorithm: Algorithm, burst: Option<u32>) -> RateLimits {
        RateLimits { algorithm, burst, ..RateLimits::default() }
    }

    /// Requests that pass when one comes each millisecond.
    fn passed(rate: Rate, limits: &RateLimits, from: u64, to: u64, meter: &mut Meter) -> u32 {
        let mut passed = 0;
        for ms in from..to {
            if meter.wait_ms(Time(ms), rate, limits) == 0 {
                meter.note(Time(ms), rate, limits);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn rates_are_read() {
        assert_eq!(Rate::parse("10/s"), Some(Rate { requests: 10, period_ms: 1_000 }));
        assert_eq!(Rate::parse("5 / m"), Some(Rate { requests: 5, period_ms: 60_000 }));
        for wrong in ["", "10", "/s", "0/s", "-1/s", "1/d", "1/s/s", "9999999999/s"] {
            assert_eq!(Rate::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (rate, limits) = (Rate { requests: 10, period_ms: 1_000 }, limits(Algorithm::Bucket, Some(3)));
        let mut meter = Meter::default();
        assert_eq!(passed(rate, &limits, 50_000, 50_010, &mut meter), 3);
        assert_eq!(passed(rate, &limits, 50_010, 51_010, &mut meter), 10);
        assert_eq!(passed(rate, &limits, 99_000, 99_010, &mut meter), 3, "it is full again, not fuller");
    }

    #[test]
    fn no_window_of_the_period_has_many_more_than_allowed() {
        let (rate, limits) = (Rate { requests: 100, period_ms: 1_000 }, limits(Algorithm::Window, None));
        let mut meter = Meter::default();
        let mut at = Vec::new();
        for ms in 0..10_000 {
            if meter.wait_ms(Time(ms), rate, &limits) == 0 {
                meter.note(Time(ms), rate, &limits);
                at.push(ms);
            }
        }
        let most =
            at.iter().map(|from| at.iter().filter(|ms| (*from..from + 1_000).contains(*ms)).count()).max();
        assert!((100..=110).contains(&most.unwrap()), "{most:?}");
        assert!((900..=1_000).contains(&at.len()), "{}", at.len());
    }

    /// Whoever waits as long as it was told passes then.
    #[test]
    fn the_wait_that_is_told_is_enough() {
        for algorithm in [Algorithm::Bucket, Algorithm::Window] {
            for (requests, period_ms) in [(1, 1_000), (3, 1_000), (7, 60_000), (1_000, 1_000)] {
                let (rate, limits) = (Rate { requests, period_ms }, limits(algorithm, None));
                let (mut meter, mut now) = (Meter::default(), 12_345);
                for _ in 0..5_000 {
                    let wait = meter.wait_ms(Time(now), rate, &limits);
                    assert!(wait <= 2 * period_ms, "{wait}");
                    now += wait;
                    assert_eq!(meter.wait_ms(Time(now), rate, &limits), 0, "{algorithm:?} {rate:?} at {now}");
                    meter.note(Time(now), rate, &limits);
                }
            }
        }
    }
}
