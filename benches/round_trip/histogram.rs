//! A latency histogram with logarithmic buckets: 64 per factor of two, so a percentile is within
//! 1.6 % of the true value. Values are nanoseconds.

use std::time::Duration;

/// Buckets per factor of two, as a power of two.
const PRECISION_BITS: u32 = 6;
const PER_OCTAVE: u64 = 1 << PRECISION_BITS;
/// The largest value told apart: 2^42 ns is over an hour.
const VALUE_BITS: u32 = 42;

#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; bucket_of((1 << VALUE_BITS) - 1) + 1], total: 0 }
    }

    pub fn record(&mut self, latency: Duration) {
        let last = self.counts.len() - 1;
        self.counts[bucket_of(latency.as_nanos() as u64).min(last)] += 1;
        self.total += 1;
    }

    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The value in microseconds below or at which `quantile` (0 to 1) of the records lie; 0 if there are none.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let wanted = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle_of(bucket) / 1000.0;
            }
        }
        0.0
    }
}

/// Values below 64 have a bucket each; above, the bucket is the exponent and the six bits after the leading one.
fn bucket_of(value: u64) -> usize {
    if value < PER_OCTAVE {
        return value as usize;
    }
    let octave = value.ilog2() - PRECISION_BITS;
    (u64::from(octave) * PER_OCTAVE + (value >> octave)) as usize
}

fn middle_of(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < 2 * PER_OCTAVE {
        return bucket as f64;
    }
    let octave = bucket / PER_OCTAVE - 1;
    let low = (bucket - octave * PER_OCTAVE) << octave;
    low as f64 + (1u64 << octave) as f64 / 2.0
}

/// Checks the buckets against a sorted list. Run by the self test.
pub fn self_test() {
    let mut histogram = Histogram::new();
    let mut values = Vec::new();
    let mut state = 1u64;
    for _ in 0..10_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = (state >> 33) >> (state % 20);
        values.push(value);
        histogram.record(Duration::from_nanos(value));
    }
    values.sort_unstable();
    for quantile in [0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
        let exact = values[(values.len() as f64 * quantile).ceil() as usize - 1] as f64 / 1000.0;
        let told = histogram.quantile_us(quantile);
        assert!((told - exact).abs() <= exact * 0.016 + 0.001, "{quantile}: told {told}, is {exact}");
    }
    for value in [0, 63, 64, 65, 127, 128, 1 << 30, (1 << VALUE_BITS) - 1] {
        let middle = middle_of(bucket_of(value));
        assert!((middle - value as f64).abs() <= value as f64 / 64.0, "{value} is in the bucket of {middle}");
    }
    assert_eq!(Histogram::new().quantile_us(0.5), 0.0);
}
