//! `cargo bench --bench round_trip`: muxloop beside the least that a relay can be (`floor`), beside no
//! relay at all (`direct`) and beside rmcp-mux 0.4.0, in one run, on one machine.
//!
//! ```text
//!                        ┌ direct    the server's own pipes ┐
//!  load client ─ socket ─┼ floor     swaps ids, no more     ┼─ pipes ─ echo server
//!  (checks every answer) ├ muxloop                          │
//!                        └ rmcp-mux                         ┘
//! ```
//!
//! Every part is this one binary in another role, so a bench needs nothing installed but rmcp-mux:
//! `--echo` is the server, `--floor` the floor relay, `--load` a load client for a socket.
//! The comparison is `compare.rs`, that of the HTTP front with other proxies `http/`, the shares of a
//! flooded child `fairness.rs`, memory and start times `footprint.rs`, the lists of many servers `lists.rs`. Run without `cargo bench` (as `cargo test --benches` does) it tests itself.

mod compare;
mod echo;
mod fairness;
mod floor;
mod footprint;
mod histogram;
mod http;
mod lines;
mod lists;
mod load;
mod options;
mod payload;
mod processes;
mod relays;
mod report;
mod self_test;
mod sys;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::compare::{Comparison, Effort};
use crate::fairness::Fairness;
use crate::load::{End, Failure, Moment};
use crate::options::{Bench, LoadClient, Role, USAGE};
use crate::payload::Timing;
use crate::relays::{Binaries, Relay};
use crate::report::{LOADS, QUICK_BUSY_ALONE, QUICK_BUSY_AMONG_IDLE};

fn main() -> ExitCode {
    let done = match options::parse() {
        Ok(Role::Help) => {
            print!("{USAGE}");
            Ok(true)
        }
        Ok(Role::Echo { delay, offer }) => echo::run(delay, offer).map(|()| true).map_err(Failure::from),
        Ok(Role::Floor { socket, command }) => {
            floor::run(&socket, &command).map(|()| true).map_err(Failure::from)
        }
        Ok(Role::Load(client)) => run_load_client(&client),
        Ok(Role::SelfTest) => self_test::run().map(|()| true),
        Ok(Role::Footprint { json }) => prepare().and_then(|()| footprint::run(json.as_deref())),
        Ok(Role::Lists) => prepare().and_then(|()| lists::run()),
        Ok(Role::Http(bench)) => prepare().and_then(|()| http::run(&bench)),
        Ok(Role::Bench(bench)) => prepare().and_then(|()| run_bench(&bench)),
        Err(message) => Err(Failure(message)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("round_trip: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn prepare() -> Result<(), Failure> {
    sys::raise_descriptor_limit(DESCRIPTORS);
    Ok(processes::catch_interrupts()?)
}

/// Runs all that was asked for and prints it. False if a relay failed.
fn run_bench(bench: &Bench) -> Result<bool, Failure> {
    let binaries = Binaries::find();
    let relays = choose_relays(bench, &binaries)?;
    let (effort, loads) = if bench.quick {
        let timing = Timing { warm_up: Duration::from_millis(50), window: Duration::from_millis(150) };
        let loads = [&LOADS[..LOADS.len() - 2], &[QUICK_BUSY_ALONE, QUICK_BUSY_AMONG_IDLE]].concat();
        (Effort { rounds: 1, timing }, loads)
    } else {
        let timing = Timing { warm_up: Duration::from_millis(300), window: Duration::from_secs(1) };
        (Effort { rounds: bench.rounds, timing }, LOADS.to_vec())
    };
    let loads = bench.only.as_ref().map_or(loads, |only| only.shapes.clone());

    println!("muxloop is {}", shown(&binaries.muxloop));
    println!("{} rounds of {} ms each, relays in turn", effort.rounds, effort.timing.window.as_millis());
    print!("{}", self_test::echo_rate()?);
    let mut comparisons = Vec::new();
    for shape in loads {
        let comparison = Comparison::run(shape, &relays, effort, &binaries);
        if processes::interrupted() {
            return Err(Failure("interrupted".into()));
        }
        print!("{}", report::comparison_table(&comparison));
        io::stdout().flush()?;
        comparisons.push(comparison);
    }
    let wants_fairness = bench.only.as_ref().is_none_or(|only| only.fairness);
    let fairness = wants_fairness.then(|| Fairness::run(&relays, effort, &binaries));
    if let Some(fairness) = &fairness {
        print!("{}", report::fairness_table(fairness));
    }
    let verdicts = report::verdicts(&comparisons, fairness.as_ref());
    print!("{}", report::verdict_table(&verdicts));
    if let Some(path) = &bench.json {
        let value = json!({
            "rounds": effort.rounds,
            "window_ms": effort.timing.window.as_millis() as u64,
            "loads": comparisons.iter().map(Comparison::to_json).collect::<Vec<_>>(),
            "fairness": fairness.as_ref().map(Fairness::to_json),
            "verdicts": verdicts.iter().map(report::Verdict::to_json).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{value:#}\n"))?;
    }
    let compared = comparisons.iter().flat_map(|each| &each.entries).all(|entry| entry.rounds.is_ok());
    let shared = fairness.iter().flat_map(|each| &each.relays).all(|(_, shares)| shares.is_ok());
    Ok(compared && shared)
}

fn choose_relays(bench: &Bench, binaries: &Binaries) -> Result<Vec<Relay>, Failure> {
    let mut relays = bench.relays.clone();
    if relays.contains(&Relay::RmcpMux) && !binaries.rmcp_mux.is_file() {
        let line = format!(
            "rmcp-mux is left out: {} is not there (make bench installs it)",
            shown(&binaries.rmcp_mux)
        );
        if bench.require_rmcp_mux {
            return Err(Failure(line));
        }
        println!("{line}");
        relays.retain(|relay| *relay != Relay::RmcpMux);
    }
    Ok(relays)
}

fn run_load_client(client: &LoadClient) -> Result<bool, Failure> {
    processes::catch_interrupts()?;
    let shape = client.plan.shape;
    sys::raise_descriptor_limit(DESCRIPTORS);
    let ends = (0..shape.clients + shape.idle).map(|_| End::socket(&client.socket));
    let ends = ends.collect::<io::Result<Vec<_>>>()?;
    let outcome = load::run(ends, client.plan, |moment| {
        if moment == Moment::WindowStarts {
            println!("started");
        }
    });
    let (value, passed) = match outcome {
        Ok(outcome) => {
            let value = json!({
                "requests_per_s": outcome.answers as f64 / outcome.elapsed.as_secs_f64(),
                "answers": outcome.answers,
                "refused": outcome.refused,
                "p50_us": outcome.latency.quantile_us(0.5),
                "p99_us": outcome.latency.quantile_us(0.99),
                "p999_us": outcome.latency.quantile_us(0.999),
            });
            (value, true)
        }
        Err(failure) => (json!({ "failure": failure.0 }), false),
    };
    println!("{value}");
    Ok(passed)
}

/// `path` as seen from the project, which is where the bench is run.
fn shown(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display().to_string()
}

/// 11,000 connections in this process, as many in the relay, and room.
const DESCRIPTORS: u64 = 16_384;
