//! The simulator over many seeds: `make test` takes some, `make sim SEEDS=n` as many as wanted, from
//! `MUXLOOP_FIRST_SEED` on. A world that fails is lived through again with `MUXLOOP_SEED`, and shows as many of its
//! events as `MUXLOOP_SIM_EVENTS` says.

use muxloop::sim::{self, Counts, Report, Sabotage};

/// Seeds of a plain test run.
const SEEDS: u64 = 250;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// Lives through one world; a failure is told with the command that shows it again.
fn live(seed: u64) -> Result<Report, String> {
    let again = format!(
        "again: MUXLOOP_SEED={seed} cargo test --test sim seeds -- --nocapture (more: MUXLOOP_SIM_EVENTS=10000)"
    );
    match std::panic::catch_unwind(|| sim::run(seed)) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(failure)) => Err(format!("seed {seed}:\n{failure}{again}")),
        Err(_) => Err(format!("seed {seed}: muxloop panicked, the events are on standard error\n{again}")),
    }
}

#[test]
fn seeds_hold_what_muxloop_promises() {
    if let Some(seed) = variable("MUXLOOP_SEED") {
        return println!("{:#?}", live(seed).unwrap_or_else(|why| panic!("{why}")));
    }
    let (first, seeds) =
        (variable("MUXLOOP_FIRST_SEED").unwrap_or(0), variable("MUXLOOP_SEEDS").unwrap_or(SEEDS));
    let mut total = Counts::default();
    let (mut clients, mut processes, mut turns, mut virtual_ms) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    for seed in first..first + seeds {
        match live(seed) {
            Ok(report) => {
                total += report.counts;
                clients += report.clients;
                processes += report.processes;
                turns += report.turns;
                virtual_ms += report.virtual_ms;
            }
            Err(why) => failures.push((seed, why)),
        }
    }
    if let Some((_, first)) = failures.first() {
        let reason =
            |why: &str| why.lines().find(|line| line.starts_with('*')).unwrap_or("* a panic").to_string();
        let others = failures.iter().skip(1).take(20).map(|(seed, why)| format!("{seed} {}", reason(why)));
        let others = others.collect::<Vec<_>>().join("\n");
        panic!("{} of {seeds} seeds failed\n{first}\nothers:\n{others}", failures.len());
    }
    println!(
        "{seeds} worlds, {} s of virtual time, {turns} turns, {clients} clients, {processes} processes: {total:#?}",
        virtual_ms / 1_000
    );
    // The test is worth something only if what it watches happens.
    let enough = [
        ("requests", total.requests, 40),
        ("answers", total.answers, 15),
        ("errors", total.errors, 5),
        ("progress", total.progress, 5),
        ("cancels", total.cancels, 1),
        ("questions", total.questions, 1),
        ("questions that reached a client", total.asked, 1),
        ("answers of children that asked", total.rounds, 1),
        ("of these, those made again", total.resolved, 1),
        ("suspended calls", total.suspended, 1),
        ("states tried that are no good", total.attacks, 1),
        ("broadcasts", total.broadcasts, 5),
        ("notifications on listens", total.listened, 1),
        ("log lines of single requests", total.logs, 1),
        ("orders of an operator", total.orders, 1),
        ("messages over HTTP", total.web, if cfg!(feature = "http") { 20 } else { 0 }),
        ("events on resumed streams", total.resumed, u64::from(cfg!(feature = "http"))),
    ];
    for (what, count, each) in enough {
        assert!(count >= each * seeds / 2, "only {count} {what} in {seeds} worlds");
    }
}

#[test]
fn equal_seeds_give_equal_worlds() {
    for seed in [3, 77, 1_000_003] {
        let world = live(seed).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(live(seed).as_ref(), Ok(&world));
        let other = live(seed + 1).unwrap_or_else(|why| panic!("{why}"));
        assert_ne!(other.trace_hash, world.trace_hash);
    }
}

#[test]
fn damage_done_on_purpose_is_seen() {
    let cases = [
        (Sabotage::SwapAnswers, "got the answer to nonce"),
        (Sabotage::LoseAnswer, "waits in vain"),
        (Sabotage::RepeatAnswer, "two answers"),
        (Sabotage::ChangeId, "asked nonce"),
        (Sabotage::StrayProgress, "got progress of a request of client"),
        (Sabotage::StrayQuestion, "was asked what is for client"),
        (Sabotage::StrayRound, "was asked what is for client"),
        (Sabotage::SwapInputs, "as the answer to"),
        (Sabotage::StrayLog, "got a notification of server"),
        (Sabotage::RepeatRequest, "again, or one that is not muxloop's"),
        (Sabotage::KeepId, "again, or one that is not muxloop's"),
    ];
    for (sabotage, expected) in cases {
        let seen = (0..40).any(|seed| match sim::run_sabotaged(seed, sabotage) {
            Err(failure) => failure.why.iter().any(|why| why.contains(expected)),
            Ok(_) => false,
        });
        assert!(seen, "{sabotage:?} was never seen as {expected:?}");
    }
}

#[test]
fn any_bytes_make_a_world() {
    sim::world_from_bytes(b"");
    for n in 0..8u8 {
        let bytes: Vec<u8> = (0..400u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8 ^ n).collect();
        sim::world_from_bytes(&bytes);
    }
}
