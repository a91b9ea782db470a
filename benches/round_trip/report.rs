//! What a person reads: a table per load, the fairness table, and the verdict on the contract's rows.

use std::fmt::{self, Write};

use serde_json::{Value, json};

use crate::compare::{Comparison, Figures};
use crate::fairness::{FLOOD, Fairness, SERVICE};
use crate::payload::Shape;
use crate::relays::Relay;

/// The loads of a full run.
pub const LOADS: [Shape; 8] = [
    shape(1, 1, 200, 0),
    shape(8, 8, 200, 0),
    shape(64, 4, 200, 0),
    shape(8, 4, 4096, 0),
    shape(4, 2, 100_000, 0),
    shape(2, 1, 5_000_000, 0),
    BUSY_ALONE,
    BUSY_AMONG_IDLE,
];
/// M07 compares these two: the second has 10,000 silent connections more.
const BUSY_ALONE: Shape = shape(1000, 1, 200, 0);
const BUSY_AMONG_IDLE: Shape = shape(1000, 1, 200, 10_000);

/// The same two, small enough for a quick run.
pub const QUICK_BUSY_ALONE: Shape = shape(100, 1, 200, 0);
pub const QUICK_BUSY_AMONG_IDLE: Shape = shape(100, 1, 200, 1000);

const fn shape(clients: usize, in_flight: usize, bytes: usize, idle: usize) -> Shape {
    Shape { clients, in_flight, bytes, idle }
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
    let floor = comparison.figures(Relay::Floor);
    for entry in &comparison.entries {
        let _ = match &entry.result {
            Err(failure) => writeln!(text, "{:<9} FAILED: {failure}", entry.relay),
            Ok(f) => writeln!(
                text,
                "{:<9} {:>9.0} {:>7.0}% {:>9.1} {:>9.1} {:>9.1} {:>9} {:>8} | {:>5} {:>5} {:>5}",
                entry.relay,
                f.requests_per_s,
                (entry.spread.1 - entry.spread.0) / f.requests_per_s * 100.0,
                f.p50_us,
                f.p99_us,
                f.p999_us,
                optional(f.cpu_us, 2),
                optional(f.rss_kib.map(|kib| kib / 1024.0), 1),
                optional(floor.map(|floor| f.requests_per_s / floor.requests_per_s), 2),
                optional(floor.map(|floor| f.p50_us / floor.p50_us), 2),
                optional(ratio(Some(f), floor, |f| f.cpu_us), 2),
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
        "services +",
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
                s.added_services(),
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
    pub what: String,
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
    pub fn new(row: &'static str, what: impl Into<String>, value: Option<f64>, target: Target) -> Self {
        Self { row, what: what.into(), value, target }
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
    let find = |wanted: Shape, relay| {
        comparisons.iter().find(|each| each.shape == wanted).and_then(|each| each.figures(relay))
    };
    let cpu_ratio = |wanted| ratio(find(wanted, Relay::Muxloop), find(wanted, Relay::Floor), |f| f.cpu_us);
    let [single, eight, .., large, huge, _, _] = LOADS;
    let throughput =
        ratio(find(eight, Relay::Muxloop), find(eight, Relay::RmcpMux), |f| Some(f.requests_per_s));
    let growth = |alone, among| {
        ratio(find(among, Relay::Muxloop), find(alone, Relay::Muxloop), |f: &Figures| f.cpu_us)
    };
    let growth =
        growth(BUSY_ALONE, BUSY_AMONG_IDLE).or_else(|| growth(QUICK_BUSY_ALONE, QUICK_BUSY_AMONG_IDLE));
    let added_latency = || {
        let direct = find(single, Relay::Direct)?.p50_us;
        let added = |relay| Some(find(single, relay)?.p50_us - direct);
        let (muxloop, floor) = (added(Relay::Muxloop)?, added(Relay::Floor)?);
        (floor > 0.0).then_some(muxloop / floor)
    };
    let wait = fairness.and_then(|fairness| fairness.shares(Relay::Muxloop)).map(|s| s.added_services());
    vec![
        Verdict::new("M01", "CPU per request / floor, 8x8x200", cpu_ratio(eight), Target::AtMost(1.5)),
        Verdict::new("M01", "requests per second / rmcp-mux, 8x8x200", throughput, Target::AtLeast(5.0)),
        Verdict::new("M02", "p50 added to direct / floor's, 1x1x200", added_latency(), Target::AtMost(1.3)),
        Verdict::new("M03", "CPU per byte / floor, 4x2x100000", cpu_ratio(large), Target::AtMost(1.5)),
        Verdict::new("M03", "CPU per byte / floor, 2x1x5000000", cpu_ratio(huge), Target::AtMost(1.5)),
        Verdict::new(
            "M07",
            "CPU per request with the idle clients / without them",
            growth,
            Target::AtMost(GROWTH_MAX),
        ),
        Verdict::new(
            "B10",
            "service times a flooder adds to a polite client's p99",
            wait,
            Target::AtMost(SERVICES_MAX),
        ),
    ]
}

/// "Does not grow" with room for noise.
const GROWTH_MAX: f64 = 1.15;
/// The default limit of requests in flight per client, 256, and a quarter for what the flooder's
/// process takes from the server's CPU. First come, first served adds all 4,096.
const SERVICES_MAX: f64 = 320.0;

fn ratio(over: Option<&Figures>, under: Option<&Figures>, field: fn(&Figures) -> Option<f64>) -> Option<f64> {
    let (over, under) = (field(over?)?, field(under?)?);
    (under > 0.0).then_some(over / under)
}

fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.decimals$}"))
}
