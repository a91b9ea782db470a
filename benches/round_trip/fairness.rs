//! Fairness (B10): a polite client with one request in flight shares a server that works 20 µs per
//! request with a client that always has 4,096 requests waiting. Measured is the polite client's
//! latency, without and with the flooder, which is a process of its own so that its work does not
//! pass for the relay's. A relay that queues first come, first served keeps the polite client waiting
//! for all 4,096.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::compare::{Effort, median};
use crate::load::{self, End, Failure, Plan};
use crate::payload::Shape;
use crate::processes::{Process, own_binary};
use crate::relays::{Binaries, Purpose, Relay, Running};

/// How long the server works on a request.
pub const SERVICE: Duration = Duration::from_micros(20);
/// Requests the flooder keeps waiting.
pub const FLOOD: usize = 4096;
const POLITE: Shape = Shape { clients: 1, in_flight: 1, bytes: 200, idle: 0, one_cpu: false };
/// The flooder's client number in its nonces, apart from the polite client's 0.
const FLOODER_NUMBER: &str = "90000";

/// Medians over the rounds, in microseconds.
pub struct Latency {
    pub p50_us: f64,
    pub p99_us: f64,
}

pub struct Shares {
    pub alone: Latency,
    pub flooded: Latency,
    /// Answers per second the flooder got, and errors instead of answers in all rounds.
    pub flooder_per_s: f64,
    pub flooder_refused: u64,
}

pub struct Fairness {
    pub relays: Vec<(Relay, Result<Shares, Failure>)>,
}

impl Shares {
    /// How many of the flooder's requests are served while a polite one waits, at its p99. Taken from
    /// the rate the flooder got, so that a server slowed down by other work on the machine does not count.
    pub fn served_before(&self) -> f64 {
        (self.flooded.p99_us - self.alone.p99_us).max(0.0) / 1e6 * self.flooder_per_s
    }
}

impl Fairness {
    pub fn run(relays: &[Relay], effort: Effort, binaries: &Binaries) -> Self {
        // With `direct` each client has its own server: nothing is shared.
        let relays: Vec<Relay> = relays.iter().copied().filter(|relay| *relay != Relay::Direct).collect();
        let mut rounds: Vec<Result<Vec<Round>, Failure>> = relays.iter().map(|_| Ok(Vec::new())).collect();
        for _ in 0..effort.rounds {
            for (relay, rounds) in relays.iter().zip(&mut rounds) {
                let Ok(done) = rounds else { continue };
                match measure(*relay, effort, binaries) {
                    Ok(round) => done.push(round),
                    Err(failure) => *rounds = Err(failure),
                }
            }
        }
        let shares = rounds.into_iter().map(|rounds| rounds.map(|rounds| summarise(&rounds)));
        Self { relays: relays.into_iter().zip(shares).collect() }
    }

    pub fn shares(&self, relay: Relay) -> Option<&Shares> {
        self.relays.iter().find(|(each, _)| *each == relay)?.1.as_ref().ok()
    }

    pub fn to_json(&self) -> Value {
        let relays = self.relays.iter().map(|(relay, shares)| match shares {
            Ok(shares) => json!({
                "relay": relay.name(),
                "alone_p50_us": shares.alone.p50_us,
                "alone_p99_us": shares.alone.p99_us,
                "flooded_p50_us": shares.flooded.p50_us,
                "flooded_p99_us": shares.flooded.p99_us,
                "flooder_answers_per_s": shares.flooder_per_s,
                "flooder_refused": shares.flooder_refused,
            }),
            Err(failure) => json!({ "relay": relay.name(), "failure": failure.0 }),
        });
        json!({ "service_us": SERVICE.as_micros() as u64, "flood": FLOOD, "relays": relays.collect::<Vec<_>>() })
    }
}

struct Round {
    alone: Latency,
    flooded: Latency,
    flooder_per_s: f64,
    flooder_refused: u64,
}

fn measure(relay: Relay, effort: Effort, binaries: &Binaries) -> Result<Round, Failure> {
    let purpose = Purpose { clients: 2, bytes: POLITE.bytes, delay: SERVICE };
    let mut running = Running::start(relay, purpose, binaries)?;
    let alone = polite(running.connect()?, effort)?;
    let flooder = Flooder::start(&running.socket())?;
    let flooded = polite(running.connect()?, effort)?;
    let (flooder_per_s, flooder_refused) = flooder.stop()?;
    Ok(Round { alone, flooded, flooder_per_s, flooder_refused })
}

fn polite(end: End, effort: Effort) -> Result<Latency, Failure> {
    let outcome = load::run(vec![end], Plan::timed(POLITE, effort.timing), |_| {})?;
    Ok(Latency { p50_us: outcome.latency.quantile_us(0.5), p99_us: outcome.latency.quantile_us(0.99) })
}

/// A load client in a process of its own.
struct Flooder {
    process: Process,
    output: BufReader<std::process::ChildStdout>,
}

impl Flooder {
    /// Returns once the flood is on: its first answer came.
    fn start(socket: &Path) -> Result<Self, Failure> {
        let in_flight = FLOOD.to_string();
        let mut command = own_binary(&["--load"])?;
        command.arg(socket).args(["--clients", "1", "--in-flight", &in_flight, "--bytes", "200"]);
        command.args(["--first-client", FLOODER_NUMBER, "--until-input-ends", "--refusals-allowed"]);
        let mut process = Process::spawn(&mut command)?;
        let output = BufReader::new(process.child().stdout.take().expect("stdout is piped"));
        let mut flooder = Self { process, output };
        match flooder.read_line()?.as_str() {
            "started\n" => Ok(flooder),
            other => Err(Failure(format!("the flooder did not start: {}", other.trim()))),
        }
    }

    /// Ends the flood; answers per second and refusals.
    fn stop(mut self) -> Result<(f64, u64), Failure> {
        drop(self.process.child().stdin.take());
        let line = self.read_line()?;
        let result: Value = serde_json::from_str(&line)
            .map_err(|_| Failure(format!("the flooder failed: {}", line.trim())))?;
        match (result["requests_per_s"].as_f64(), result["refused"].as_u64()) {
            (Some(rate), Some(refused)) => Ok((rate, refused)),
            _ => Err(Failure(format!("the flooder failed: {}", result["failure"]))),
        }
    }

    fn read_line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }
}

fn summarise(rounds: &[Round]) -> Shares {
    let of = |field: fn(&Round) -> f64| median(rounds.iter().map(field).collect());
    Shares {
        alone: Latency { p50_us: of(|r| r.alone.p50_us), p99_us: of(|r| r.alone.p99_us) },
        flooded: Latency { p50_us: of(|r| r.flooded.p50_us), p99_us: of(|r| r.flooded.p99_us) },
        flooder_per_s: of(|r| r.flooder_per_s),
        flooder_refused: rounds.iter().map(|r| r.flooder_refused).sum(),
    }
}
