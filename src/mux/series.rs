//! [`Series`]: durations and sizes of a server's requests by method, for `/metrics` (row E06).

use super::method::Method;
use super::tally::Outcome;
use std::collections::BTreeMap;

/// Upper bounds of the buckets of durations, in milliseconds.
pub const BOUNDS_MS: [u64; 14] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// What was counted of one method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// By [`Outcome`], in its order.
    pub outcomes: [u64; 5],
    /// How many took at most the bound of the same place, and more than the one before it.
    pub buckets: [u64; BOUNDS_MS.len()],
    pub sum_ms: u64,
    pub request_bytes: u64,
    pub answer_bytes: u64,
}

/// By method, in the order of their first request: they are few, and the one that is looked for is mostly among
/// the first.
#[derive(Clone, Debug, Default)]
pub struct ByMethod(Vec<(Method, Series)>);

impl ByMethod {
    pub(super) fn of(&mut self, method: Method) -> &mut Series {
        let at = self.0.iter().position(|(known, _)| *known == method).unwrap_or_else(|| {
            self.0.push((method, Series::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// By the method's name.
    pub fn by_name(&self) -> BTreeMap<&'static str, &Series> {
        self.0.iter().map(|(method, series)| (method.text(), series)).collect()
    }
}

impl Series {
    /// Counts one request that has come to its end.
    pub(super) fn note(&mut self, outcome: Outcome, ms: u64, request_bytes: usize, answer_bytes: usize) {
        self.outcomes[outcome as usize] += 1;
        if let Some(at) = BOUNDS_MS.iter().position(|bound| ms <= *bound) {
            self.buckets[at] += 1;
        }
        self.sum_ms += ms;
        self.request_bytes += request_bytes as u64;
        self.answer_bytes += answer_bytes as u64;
    }

    /// All requests.
    pub fn count(&self) -> u64 {
        self.outcomes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_first_bucket_that_holds_them() {
        let mut series = Series::default();
        for ms in [0, 1, 2, 60_000, 60_001] {
            series.note(Outcome::Ok, ms, 10, 20);
        }
        series.note(Outcome::Timeout, 30_000, 1, 0);
        assert_eq!(series.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((series.count(), series.outcomes), (6, [5, 0, 0, 1, 0]));
        assert_eq!((series.request_bytes, series.answer_bytes), (51, 100));
    }
}
