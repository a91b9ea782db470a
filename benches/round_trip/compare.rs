//! The comparison: every load on every relay, in rounds that take turns (direct, floor, muxloop,
//! rmcp-mux, direct, …), each time with a fresh relay and server, so that a slow minute of the machine
//! meets all of them. The figures of a load are the medians of its rounds; a ratio of two relays is
//! the median of the ratios within each round.

use std::time::Duration;

use serde_json::{Value, json};

use crate::load::{self, Failure, Moment, Plan};
use crate::payload::{Shape, Timing};
use crate::processes::{self, cpu_ns};
use crate::relays::{Binaries, Purpose, Relay, Running};
use crate::sys::OneCpu;

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

/// One relay, or one HTTP front, under one load.
pub struct Entry<R = Relay> {
    pub relay: R,
    /// The figures of each round.
    pub rounds: Result<Vec<Figures>, Failure>,
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
        let entries = relays.into_iter().zip(runs).map(|(relay, rounds)| Entry { relay, rounds }).collect();
        Self { shape, entries }
    }

    /// The rounds of a relay, if it took part and passed.
    pub fn rounds(&self, relay: Relay) -> Option<&[Figures]> {
        self.entries.iter().find(|entry| entry.relay == relay)?.rounds.as_deref().ok()
    }

    /// The median, over the rounds, of `over`'s figure divided by `under`'s.
    pub fn ratio(&self, over: Relay, under: Relay, figure: fn(&Figures) -> Option<f64>) -> Option<f64> {
        ratio(self.rounds(over)?, self.rounds(under)?, figure)
    }

    /// What muxloop adds to the p50 of `direct`, divided by what the floor adds.
    pub fn added_latency(&self) -> Option<f64> {
        let rounds = |relay| Some(self.rounds(relay)?.iter().map(|figures| figures.p50_us));
        let rounds = rounds(Relay::Direct)?.zip(rounds(Relay::Floor)?).zip(rounds(Relay::Muxloop)?);
        let ratios = rounds.filter(|((direct, floor), _)| floor > direct);
        let ratios: Vec<f64> =
            ratios.map(|((direct, floor), muxloop)| (muxloop - direct) / (floor - direct)).collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }

    pub fn to_json(&self) -> Value {
        let entries = self.entries.iter().map(|entry| match (&entry.rounds, entry.medians()) {
            (Ok(rounds), Some(figures)) => json!({
                "relay": entry.relay.name(),
                "median": figures.to_json(),
                "rounds": rounds.iter().map(|figures| figures.to_json()).collect::<Vec<_>>(),
            }),
            (Err(failure), _) => json!({ "relay": entry.relay.name(), "failure": failure.0 }),
            (Ok(_), None) => json!({ "relay": entry.relay.name() }),
        });
        json!({ "load": self.shape.to_string(), "relays": entries.collect::<Vec<_>>() })
    }
}

impl Figures {
    pub fn to_json(self) -> Value {
        json!({
            "requests_per_s": self.requests_per_s,
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "p999_us": self.p999_us,
            "relay_cpu_us_per_request": self.cpu_us,
            "relay_rss_kib": self.rss_kib,
        })
    }
}

impl<R> Entry<R> {
    /// The median of each figure. `None` without a round that passed.
    pub fn medians(&self) -> Option<Figures> {
        let rounds = self.rounds.as_ref().ok().filter(|rounds| !rounds.is_empty())?;
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure).collect());
        let of_relay = |figure: fn(&Figures) -> Option<f64>| {
            let values: Vec<f64> = rounds.iter().filter_map(figure).collect();
            (!values.is_empty()).then(|| median(values))
        };
        Some(Figures {
            requests_per_s: of(|f| f.requests_per_s),
            p50_us: of(|f| f.p50_us),
            p99_us: of(|f| f.p99_us),
            p999_us: of(|f| f.p999_us),
            cpu_us: of_relay(|f| f.cpu_us),
            rss_kib: of_relay(|f| f.rss_kib),
        })
    }

    /// Highest minus lowest requests per second of the rounds, over their median.
    pub fn spread(&self) -> f64 {
        let (Ok(rounds), Some(medians)) = (&self.rounds, self.medians()) else { return 0.0 };
        let rates = || rounds.iter().map(|figures| figures.requests_per_s);
        (rates().fold(0.0, f64::max) - rates().fold(f64::INFINITY, f64::min)) / medians.requests_per_s
    }
}

/// The median of the ratios of two lists of rounds, pair by pair.
pub fn ratio(over: &[Figures], under: &[Figures], figure: fn(&Figures) -> Option<f64>) -> Option<f64> {
    let pairs = over.iter().zip(under).filter_map(|(over, under)| Some((figure(over)?, figure(under)?)));
    let ratios: Vec<f64> =
        pairs.filter(|(_, under)| *under > 0.0).map(|(over, under)| over / under).collect();
    (!ratios.is_empty()).then(|| median(ratios))
}

/// One run of one load on a fresh relay.
fn measure(relay: Relay, shape: Shape, timing: Timing, binaries: &Binaries) -> Result<Figures, Failure> {
    let _bound = shape.one_cpu.then(OneCpu::bind).transpose()?;
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
                rss_kib = processes::rss_kib(pid);
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
