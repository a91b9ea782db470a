//! `cargo bench --bench round_trip -- --http`: muxloop's HTTP front beside those of other proxies, in one
//! run, each in front of the same echo server (row M06).
//!
//! ```text
//!                            ┌ muxloop -c             ┐
//!                            ├ the same, all servers  │
//!                            ├ muxloop proxy --stdio  │
//!  load client ─ TCP, HTTP ─ ┼ supergateway (npm)     ┼─ pipes ─ echo server(s)
//!  (checks every answer)     ├ mcp-proxy (npm)        │
//!                            └ mcp-proxy (PyPI)       ┘
//! ```
//!
//! All speak Streamable HTTP of 2025-06-18 with sessions, a keep-alive connection and one `tools/call`
//! in flight each. Fronts take turns within a round, so that a slow minute of the machine meets all of
//! them, and each starts fresh. The CPU time of a front is that of its process and all below it except
//! the echo servers, as the scheduler counts it; time of threads that ended inside the window is
//! missing, which flatters whoever starts some.

mod fronts;
mod load;
mod reply;
mod report;

use std::time::Duration;

use serde_json::{Value, json};

pub use self::fronts::Front;
use self::fronts::Running;
use self::load::Plan;
use self::reply::Reply;
use crate::compare::{Effort, Entry, Figures, ratio};
use crate::load::{Failure, Moment};
use crate::options::Bench;
use crate::payload::Timing;
use crate::processes::{self, cpu_ns};
use crate::relays::Binaries;

/// Sessions of each load.
const LOADS: [usize; 3] = [1, 10, 100];

/// Of a request's body.
const REQUEST_LEN: usize = 200;

/// Runs all loads on all fronts that are installed and prints them. False if a front failed.
pub fn run(bench: &Bench) -> Result<bool, Failure> {
    let binaries = Binaries::find();
    let fronts = choose(bench, &binaries)?;
    let effort = if bench.quick {
        let timing = Timing { warm_up: Duration::from_millis(200), window: Duration::from_millis(300) };
        Effort { rounds: 1, timing }
    } else {
        let timing = Timing { warm_up: Duration::from_millis(500), window: Duration::from_secs(2) };
        Effort { rounds: bench.rounds, timing }
    };
    println!("muxloop is {}", crate::shown(&binaries.muxloop));
    println!("{} rounds of {} ms each, fronts in turn", effort.rounds, effort.timing.window.as_millis());
    let mut loads = Vec::new();
    for sessions in LOADS {
        let load = Load::run(sessions, &fronts, effort, &binaries);
        if processes::interrupted() {
            return Err(Failure("interrupted".into()));
        }
        print!("{}", report::table(&load));
        loads.push(load);
    }
    let verdicts = report::verdicts(&loads);
    print!("{}", crate::report::verdict_table(&verdicts));
    if let Some(path) = &bench.json {
        let value = json!({
            "rounds": effort.rounds,
            "window_ms": effort.timing.window.as_millis() as u64,
            "loads": loads.iter().map(Load::to_json).collect::<Vec<_>>(),
            "verdicts": verdicts.iter().map(crate::report::Verdict::to_json).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{value:#}\n"))?;
    }
    Ok(loads.iter().flat_map(|load| &load.entries).all(|entry| entry.rounds.is_ok()))
}

fn choose(bench: &Bench, binaries: &Binaries) -> Result<Vec<Front>, Failure> {
    let mut fronts = Vec::new();
    for front in Front::ALL {
        let program = front.program(binaries);
        if program.is_file() {
            fronts.push(front);
            continue;
        }
        let line = format!(
            "{front} is left out: {} is not there (tools/rivals.sh installs it)",
            crate::shown(&program)
        );
        if bench.require_rivals {
            return Err(Failure(line));
        }
        println!("{line}");
    }
    Ok(fronts)
}

/// One number of sessions on all fronts.
struct Load {
    sessions: usize,
    entries: Vec<Entry<Front>>,
}

impl Load {
    fn run(sessions: usize, fronts: &[Front], effort: Effort, binaries: &Binaries) -> Self {
        let mut entries: Vec<Entry<Front>> =
            fronts.iter().map(|&front| Entry { relay: front, rounds: Ok(Vec::new()) }).collect();
        for _ in 0..effort.rounds {
            for entry in &mut entries {
                // One failure voids a front's figures for this load: its other rounds are not worth the time.
                let Ok(done) = &mut entry.rounds else { continue };
                match measure(entry.relay, sessions, effort.timing, binaries) {
                    Ok(figures) => done.push(figures),
                    Err(failure) => entry.rounds = Err(failure),
                }
            }
        }
        Self { sessions, entries }
    }

    fn rounds(&self, front: Front) -> Option<&[Figures]> {
        self.entries.iter().find(|entry| entry.relay == front)?.rounds.as_deref().ok()
    }

    /// The median, over the rounds, of `over`'s figure divided by `under`'s.
    fn ratio(&self, over: Front, under: Front, figure: fn(&Figures) -> Option<f64>) -> Option<f64> {
        ratio(self.rounds(over)?, self.rounds(under)?, figure)
    }

    fn to_json(&self) -> Value {
        let entries = self.entries.iter().map(|entry| match &entry.rounds {
            Ok(rounds) => json!({
                "front": entry.relay.name(),
                "median": entry.medians().map(Figures::to_json),
                "rounds": rounds.iter().map(|figures| figures.to_json()).collect::<Vec<_>>(),
            }),
            Err(failure) => json!({ "front": entry.relay.name(), "failure": failure.0 }),
        });
        json!({ "sessions": self.sessions, "fronts": entries.collect::<Vec<_>>() })
    }
}

/// The JSON-RPC message of the answer that `bytes` are; `None`: it is not all there yet.
pub fn whole_message(bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    match Reply::read(bytes).map_err(Failure)? {
        None => Ok(None),
        Some((reply, _)) if reply.status == 200 => Ok(reply.message()),
        Some((reply, _)) => Err(Failure(reply.excerpt())),
    }
}

/// One run of one load on a fresh front.
fn measure(front: Front, sessions: usize, timing: Timing, binaries: &Binaries) -> Result<Figures, Failure> {
    let running = Running::start(front, sessions, binaries)?;
    let (address, path) = (running.address, running.path);
    let (mut processes, mut cpu, mut rss_kib) = (Vec::new(), [0u64; 2], 0);
    let all = |processes: &[u32], figure: fn(u32) -> u64| processes.iter().map(|&pid| figure(pid)).sum();
    let plan = Plan { address, path, sessions, bytes: REQUEST_LEN, timing };
    let outcome = load::run(plan, |moment| match moment {
        Moment::Ready => {}
        Moment::WindowStarts => {
            processes = processes::tree_without_own(running.pid());
            cpu[0] = all(&processes, cpu_ns);
        }
        Moment::WindowEnds => {
            cpu[1] = all(&processes, cpu_ns);
            rss_kib = all(&processes, processes::rss_kib);
        }
    })
    .map_err(|failure| {
        let words = running.last_words();
        if words.is_empty() { failure } else { Failure(format!("{failure}; {front} said: {words}")) }
    })?;
    let answers = outcome.answers as f64;
    Ok(Figures {
        requests_per_s: answers / outcome.elapsed.as_secs_f64(),
        p50_us: outcome.latency.quantile_us(0.5),
        p99_us: outcome.latency.quantile_us(0.99),
        p999_us: outcome.latency.quantile_us(0.999),
        cpu_us: Some(cpu[1].saturating_sub(cpu[0]) as f64 / 1000.0 / answers),
        rss_kib: Some(rss_kib as f64),
    })
}

/// Shows that answers are read as they should be and that muxloop, as built beside this bench, can be
/// measured. Run by the self test.
pub fn self_test() -> Result<(), Failure> {
    reply::self_test();
    if cfg!(feature = "http") {
        let muxloop = env!("CARGO_BIN_EXE_muxloop").into();
        let binaries = Binaries { muxloop, ..Binaries::find() };
        let timing = Timing { warm_up: Duration::from_millis(10), window: Duration::from_millis(30) };
        for front in Front::OWN {
            let figures = measure(front, 12, timing, &binaries)
                .map_err(|failure| Failure(format!("{front}: {failure}")))?;
            assert!(figures.requests_per_s > 0.0 && figures.p50_us > 0.0, "{front} measured nothing");
            assert!(figures.cpu_us > Some(0.0) && figures.rss_kib > Some(0.0), "{front} left no trace");
        }
    }
    Ok(())
}
