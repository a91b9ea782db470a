//! The comparison: every load on every relay, in rounds that take turns (direct, floor, muxloop,
//! rmcp-mux, direct, …), each time with a fresh relay and server, so that a slow minute of the machine
//! meets all of them. The figures of a load are the medians of its rounds.

use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{self, Failure, Moment, Plan};
use crate::payload::{Shape, Timing};
use crate::processes::{cpu_ns, status_kib};
use crate::relays::{Binaries, Purpose, Relay, Running};

/// How thoroughly to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub timing: Timing,
}

/// What one run measured, or the medians of several.
#[derive(Clone, Copy)]
pub struct Figures {
    pub requests_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// CPU time of the relay process alone. `None` without a relay.
    pub cpu_us: Option<f64>,
    /// Resident memory of the relay at the end of the window.
    pub rss_kib: Option<f64>,
}

/// One relay under one load.
pub struct Entry {
    pub relay: Relay,
    pub result: Result<Figures, Failure>,
    /// Lowest and highest requests per second of the rounds.
    pub spread: (f64, f64),
}

/// One load on all relays.
pub struct Comparison {
    pub shape: Shape,
    pub entries: Vec<Entry>,
}

impl Comparison {
    pub fn run(shape: Shape, relays: &[Relay], effort: Effort, binaries: &Binaries) -> Self {
        let relays: Vec<Relay> = relays.iter().copied().filter(|relay| relay.takes_part(shape)).collect();
        let mut runs: Vec<Result<Vec<Figures>, Failure>> = relays.iter().map(|_| Ok(Vec::new())).collect();
        for _ in 0..effort.rounds {
            for (relay, runs) in relays.iter().zip(&mut runs) {
                // One failure voids a relay's figures for this load: its other rounds are not worth the time.
                let Ok(done) = runs else { continue };
                match measure(*relay, shape, effort.timing, binaries) {
                    Ok(figures) => done.push(figures),
                    Err(failure) => *runs = Err(failure),
                }
            }
        }
        let entries = relays.into_iter().zip(runs).map(|(relay, runs)| Entry::new(relay, runs)).collect();
        Self { shape, entries }
    }

    /// The figures of a relay, if it took part and passed.
    pub fn figures(&self, relay: Relay) -> Option<&Figures> {
        self.entries.iter().find(|entry| entry.relay == relay)?.result.as_ref().ok()
    }

    pub fn to_json(&self) -> Value {
        let entries = self.entries.iter().map(|entry| match &entry.result {
            Ok(figures) => json!({
                "relay": entry.relay.name(),
                "requests_per_s": figures.requests_per_s,
                "requests_per_s_min": entry.spread.0,
                "requests_per_s_max": entry.spread.1,
                "p50_us": figures.p50_us,
                "p99_us": figures.p99_us,
                "p999_us": figures.p999_us,
                "relay_cpu_us_per_request": figures.cpu_us,
                "relay_rss_kib": figures.rss_kib,
            }),
            Err(failure) => json!({ "relay": entry.relay.name(), "failure": failure.0 }),
        });
        json!({ "load": self.shape.to_string(), "relays": entries.collect::<Vec<_>>() })
    }
}

impl Entry {
    fn new(relay: Relay, runs: Result<Vec<Figures>, Failure>) -> Self {
        let runs = match runs {
            Ok(runs) => runs,
            Err(failure) => return Self { relay, result: Err(failure), spread: (0.0, 0.0) },
        };
        let of = |field: fn(&Figures) -> f64| median(runs.iter().map(field).collect());
        let of_relay = |field: fn(&Figures) -> Option<f64>| {
            let values: Vec<f64> = runs.iter().filter_map(field).collect();
            (!values.is_empty()).then(|| median(values))
        };
        let figures = Figures {
            requests_per_s: of(|f| f.requests_per_s),
            p50_us: of(|f| f.p50_us),
            p99_us: of(|f| f.p99_us),
            p999_us: of(|f| f.p999_us),
            cpu_us: of_relay(|f| f.cpu_us),
            rss_kib: of_relay(|f| f.rss_kib),
        };
        let rates = || runs.iter().map(|f| f.requests_per_s);
        let spread = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        Self { relay, result: Ok(figures), spread }
    }
}

/// One run of one load on a fresh relay.
fn measure(relay: Relay, shape: Shape, timing: Timing, binaries: &Binaries) -> Result<Figures, Failure> {
    let clients = shape.clients + shape.idle;
    let purpose = Purpose { clients, bytes: shape.bytes, delay: Duration::ZERO };
    let mut running = Running::start(relay, purpose, binaries)?;
    let pid = running.relay_pid();
    let ends = (0..clients).map(|_| running.connect()).collect::<Result<Vec<_>, _>>()?;
    let (mut cpu, mut rss_kib) = ([0u64; 2], 0);
    let outcome = load::run(ends, Plan::timed(shape, timing), |moment| {
        let Some(pid) = pid else { return };
        match moment {
            Moment::Ready => {}
            Moment::WindowStarts => cpu[0] = cpu_ns(pid),
            Moment::WindowEnds => {
                cpu[1] = cpu_ns(pid);
                rss_kib = status_kib(pid, "VmRSS");
            }
        }
    })
    .map_err(|failure| {
        let words = running.last_words();
        if words.is_empty() { failure } else { Failure(format!("{failure}; {relay} said: {words}")) }
    })?;
    let answers = outcome.answers as f64;
    Ok(Figures {
        requests_per_s: answers / outcome.elapsed.as_secs_f64(),
        p50_us: outcome.latency.quantile_us(0.5),
        p99_us: outcome.latency.quantile_us(0.99),
        p999_us: outcome.latency.quantile_us(0.999),
        cpu_us: pid.map(|_| cpu[1].saturating_sub(cpu[0]) as f64 / 1000.0 / answers),
        rss_kib: pid.map(|_| rss_kib as f64),
    })
}

/// The middle value, or the mean of the two middle ones. 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}
