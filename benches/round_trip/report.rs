//! What a person reads: a table per load, the fairness table, and the verdict on the contract's rows.

use std::fmt::{self, Write};

use serde_json::{Value, json};

use crate::compare::{Comparison, ratio};
use crate::fairness::{FLOOD, Fairness, SERVICE};
use crate::payload::Shape;
use crate::relays::Relay;

/// The loads of a full run.
pub const LOADS: [Shape; 9] = [
    SINGLE,
    SINGLE_ON_ONE_CPU,
    EIGHT,
    shape(64, 4, 200, 0),
    shape(8, 4, 4096, 0),
    LARGE,
    HUGE,
    BUSY_ALONE,
    BUSY_AMONG_IDLE,
];
const SINGLE: Shape = shape(1, 1, 200, 0);
const SINGLE_ON_ONE_CPU: Shape = Shape { one_cpu: true, ..SINGLE };
const EIGHT: Shape = shape(8, 8, 200, 0);
const LARGE: Shape = shape(4, 2, 100_000, 0);
const HUGE: Shape = shape(2, 1, 5_000_000, 0);
/// M07 compares these two: the second has 10,000 silent connections more.
const BUSY_ALONE: Shape = shape(1000, 1, 200, 0);
const BUSY_AMONG_IDLE: Shape = shape(1000, 1, 200, 10_000);

/// The same two, small enough for a quick run.
pub const QUICK_BUSY_ALONE: Shape = shape(100, 1, 200, 0);
pub const QUICK_BUSY_AMONG_IDLE: Shape = shape(100, 1, 200, 1000);

const fn shape(clients: usize, in_flight: usize, bytes: usize, idle: usize) -> Shape {
    Shape { clients, in_flight, bytes, idle, one_cpu: false }
}

pub fn comparison_table(comparison: &Comparison) -> String {
    let mut text = format!(
        "\n{}   (clients x in flight x bytes)\n{:<9} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>8} | {:>5} {:>5} {:>5}\n",
        comparison.shape,
        "",
        "req/s",
        "spread",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "CPU us/rq",
        "RSS MiB",
        "req/s",
        "p50",
        "CPU"
    );
    for entry in &comparison.entries {
        let ratio = |figure| optional(comparison.ratio(entry.relay, Relay::Floor, figure), 2);
        let _ = match (&entry.rounds, entry.medians()) {
            (Err(failure), _) => writeln!(text, "{:<9} FAILED: {failure}", entry.relay),
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(f)) => writeln!(
                text,
                "{:<9} {:>9.0} {:>7.0}% {:>9.1} {:>9.1} {:>9.1} {:>9} {:>8} | {:>5} {:>5} {:>5}",
                entry.relay,
                f.requests_per_s,
                entry.spread() * 100.0,
                f.p50_us,
                f.p99_us,
                f.p999_us,
                optional(f.cpu_us, 2),
                optional(f.rss_kib.map(|kib| kib / 1024.0), 1),
                ratio(|f| Some(f.requests_per_s)),
                ratio(|f| Some(f.p50_us)),
                ratio(|f| f.cpu_us),
            ),
        };
    }
    text
}

pub fn fairness_table(fairness: &Fairness) -> String {
    let mut text = format!(
        "\nfairness: one polite client (1 in flight) beside a flooder ({FLOOD} in flight), server {} us per request\n\
         {:<9} {:>12} {:>12} {:>12} {:>12} {:>12} {:>9} {:>9}\n",
        SERVICE.as_micros(),
        "",
        "alone p50 us",
        "alone p99 us",
        "flood p50 us",
        "flood p99 us",
        "served 1st",
        "flood rq/s",
        "refused"
    );
    for (relay, shares) in &fairness.relays {
        let _ = match shares {
            Err(failure) => writeln!(text, "{relay:<9} FAILED: {failure}"),
            Ok(s) => writeln!(
                text,
                "{relay:<9} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {:>9.0} {:>9}",
                s.alone.p50_us,
                s.alone.p99_us,
                s.flooded.p50_us,
                s.flooded.p99_us,
                s.served_before(),
                s.flooder_per_s,
                s.flooder_refused,
            ),
        };
    }
    text
}

/// One row of the contract: a measured value against its target.
pub struct Verdict {
    pub row: &'static str,
    pub what: &'static str,
    /// `None`: not measured in this run.
    pub value: Option<f64>,
    pub target: Target,
}

#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Verdict {
    pub fn new(row: &'static str, what: &'static str, value: Option<f64>, target: Target) -> Self {
        Self { row, what, value, target }
    }

    fn is_met(&self) -> Option<bool> {
        Some(match (self.value?, self.target) {
            (value, Target::AtMost(limit)) => value <= limit,
            (value, Target::AtLeast(limit)) => value >= limit,
        })
    }

    pub fn to_json(&self) -> Value {
        json!({
            "row": self.row,
            "what": self.what,
            "value": self.value,
            "target": self.target.to_string(),
            "met": self.is_met(),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, limit) = match self {
            Target::AtMost(limit) => ("<=", limit),
            Target::AtLeast(limit) => (">=", limit),
        };
        f.pad(&format!("{sign} {limit}"))
    }
}

pub fn verdict_table(verdicts: &[Verdict]) -> String {
    let mut text = format!("\n{:<4} {:<66} {:>9} {:>9}  verdict\n", "row", "what", "value", "target");
    for verdict in verdicts {
        let word = match (verdict.is_met(), verdict.value, verdict.target) {
            (None, ..) | (_, None, _) => "not measured".to_string(),
            (Some(true), ..) => "met".to_string(),
            (_, _, Target::AtMost(0.0)) => "MISSED".to_string(),
            (_, Some(value), Target::AtMost(limit)) => format!("MISSED by {:.2}x", value / limit),
            (_, Some(value), Target::AtLeast(limit)) => format!("MISSED by {:.2}x", limit / value),
        };
        let value = optional(verdict.value, 2);
        let _ = writeln!(
            text,
            "{:<4} {:<66} {value:>9} {:>9}  {word}",
            verdict.row,
            verdict.what,
            verdict.target.to_string()
        );
    }
    text
}

/// The rows that the comparison and the fairness bench decide.
pub fn verdicts(comparisons: &[Comparison], fairness: Option<&Fairness>) -> Vec<Verdict> {
    let load = |wanted: Shape| comparisons.iter().find(|each| each.shape == wanted);
    let cpu = |wanted| load(wanted)?.ratio(Relay::Muxloop, Relay::Floor, |f| f.cpu_us);
    let throughput = || load(EIGHT)?.ratio(Relay::Muxloop, Relay::RmcpMux, |f| Some(f.requests_per_s));
    let added_latency = |wanted| load(wanted)?.added_latency();
    let growth = |alone, among| {
        let (alone, among) = (load(alone)?.rounds(Relay::Muxloop)?, load(among)?.rounds(Relay::Muxloop)?);
        ratio(among, alone, |f| f.cpu_us)
    };
    let growth =
        growth(BUSY_ALONE, BUSY_AMONG_IDLE).or_else(|| growth(QUICK_BUSY_ALONE, QUICK_BUSY_AMONG_IDLE));
    let wait = fairness.and_then(|fairness| fairness.shares(Relay::Muxloop)).map(|s| s.served_before());
    let (at_most, at_least) = (Target::AtMost, Target::AtLeast);
    let row = Verdict::new;
    vec![
        row("M01", "CPU per request / floor, 8x8x200", cpu(EIGHT), at_most(1.5)),
        row("M01", "requests per second / rmcp-mux, 8x8x200", throughput(), at_least(5.0)),
        row("M02", "p50 added to direct / floor's, 1x1x200", added_latency(SINGLE), at_most(1.3)),
        row("M02", "the same, all on one CPU", added_latency(SINGLE_ON_ONE_CPU), at_most(1.3)),
        row("M03", "CPU per byte / floor, 4x2x100000", cpu(LARGE), at_most(1.5)),
        row("M03", "CPU per byte / floor, 2x1x5000000", cpu(HUGE), at_most(1.5)),
        row("M07", "CPU per request with idle clients / without them", growth, at_most(GROWTH_MAX)),
        row("B10", "flooder's requests served before a polite one, p99", wait, at_most(SERVED_BEFORE_MAX)),
    ]
}

/// "Does not grow" with room for noise.
const GROWTH_MAX: f64 = 1.15;
/// A client may have 256 requests in flight at the child by default, and those are ahead of whoever
/// comes; a quarter more is room for noise. First come, first served lets all 4,096 go ahead.
const SERVED_BEFORE_MAX: f64 = 320.0;

/// `value`, or a dash.
pub fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.decimals$}"))
}
