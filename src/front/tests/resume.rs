//! What a stream that is taken up again gives: everything once. Found by the simulator.

use super::*;

/// Ids of the events on a stream.
fn ids(written: &str) -> Vec<&str> {
    written.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
}

#[test]
fn a_resume_from_the_priming_event_gives_nothing_twice() {
    let mut bench = Bench::new();
    let session = bench.session("2025-11-25");
    let first = bench.ask(&session.get(""));
    bench.hear(session.link, &changed());
    assert_eq!(ids(&bench.take(first)), ["0-0", "0-1"]);
    bench.vanish(first);
    // Missed by nobody: it comes with the next connection, which resumes nothing.
    bench.hear(session.link, &changed());
    let second = bench.ask(&session.get(""));
    let written = bench.take(second);
    assert_eq!(ids(&written), ["0-1", "0-2"], "{written}");
    assert!(written.contains("id: 0-1\nretry: "), "the first is the priming event: {written}");
    bench.vanish(second);
    // The client has got the priming event and nothing else.
    let third = bench.ask(&session.get("Last-Event-ID: 0-1\r\n"));
    assert_eq!(ids(&bench.take(third)), ["0-2"]);
    bench.vanish(third);
    let fourth = bench.ask(&session.get(""));
    assert_eq!(ids(&bench.take(fourth)), ["0-2"], "only the priming event");
}
