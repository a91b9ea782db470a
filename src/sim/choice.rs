//! [`Choice`]: where every decision of a simulated world comes from: a seed, or the bytes of a fuzzer.

/// A source of decisions: equal sources give equal decisions in equal order.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    state: u64,
    /// Decisions made by somebody else, used up first.
    bytes: Option<Vec<u8>>,
    at: usize,
}

impl Choice {
    pub fn from_seed(seed: u64) -> Choice {
        Choice { state: seed, bytes: None, at: 0 }
    }

    /// Takes decisions from `bytes`; once they are used up [`Choice::is_spent`] says so, and a fixed seed
    /// goes on.
    pub fn from_bytes(bytes: &[u8]) -> Choice {
        Choice { state: 0, bytes: Some(bytes.to_vec()), at: 0 }
    }

    /// Whether somebody else's decisions are used up.
    pub fn is_spent(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| self.at >= bytes.len())
    }

    /// splitmix64.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        if n <= 1 {
            return 0;
        }
        let raw = if self.is_spent() || self.bytes.is_none() {
            self.next()
        } else {
            // As few bytes as the range needs, so that a fuzzer's edit means one other decision.
            (0..=usize::from(n > 256)).fold(0, |raw, _| (raw << 8) | u64::from(self.byte()))
        };
        (raw % n as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        let byte = self.bytes.as_ref().and_then(|bytes| bytes.get(self.at)).copied();
        self.at += 1;
        byte.unwrap_or(0)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low + 1) as usize) as u64
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.below(100) < percent as usize
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// An index, as often as its weight says.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if at < *weight {
                return index;
            }
            at -= weight;
        }
        0
    }
}
