//! The simulator over many seeds: `make test` takes some, `make sim SEEDS=n` as many as wanted.

use muxloop::sim::{self, Counts, Report, Sabotage};

/// Seeds of a plain test run.
const SEEDS: u64 = 250;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// Lives through one world; a failure names the command that shows it again.
fn live(seed: u64) -> Report {
    let replay = format!("MUXLOOP_SEED={seed} cargo test --test sim seeds -- --nocapture");
    let result = std::panic::catch_unwind(|| sim::run(seed));
    match result {
        Ok(Ok(report)) => report,
        Ok(Err(failure)) => panic!("seed {seed}:\n{failure}again: {replay}"),
        Err(_) => panic!("seed {seed}: muxloop panicked, see above\nagain: {replay}"),
    }
}

#[test]
fn seeds_hold_what_muxloop_promises() {
    if let Some(seed) = variable("MUXLOOP_SEED") {
        println!("{:#?}", live(seed));
        return;
    }
    let seeds = variable("MUXLOOP_SEEDS").unwrap_or(SEEDS);
    let mut total = Counts::default();
    let (mut clients, mut processes, mut turns, mut virtual_ms) = (0, 0, 0, 0);
    for seed in 0..seeds {
        let report = live(seed);
        total += report.counts;
        clients += report.clients;
        processes += report.processes;
        turns += report.turns;
        virtual_ms += report.virtual_ms;
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
        ("broadcasts", total.broadcasts, 5),
        ("notifications on listens", total.listened, 1),
    ];
    for (what, count, each) in enough {
        assert!(count >= each * seeds / 2, "only {count} {what} in {seeds} worlds");
    }
}

#[test]
fn equal_seeds_give_equal_worlds() {
    for seed in [3, 77, 1_000_003] {
        assert_eq!(live(seed), live(seed));
    }
    assert_ne!(live(1).trace_hash, live(2).trace_hash);
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
