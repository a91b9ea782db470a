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

fn array(ids: &[u32]) -> Value {
    Value::Array(ids.iter().map(|id| call(*id, "t")).collect())
}

#[test]
fn an_array_for_a_session_that_has_ended_is_told_so() {
    let mut bench = Bench::new();
    let session = bench.session("2025-03-26");
    bench.ask(&session.get("").replacen("GET", "DELETE", 1));
    let conn = bench.ask(&session.post(&array(&[1, 2])));
    assert_eq!(status(&bench.take(conn)), "404");
}

#[test]
fn an_array_repeats_no_id_that_is_being_answered() {
    let mut bench = Bench::new();
    let session = bench.session("2025-03-26");
    bench.ask(&session.post(&call(1, "t")));
    bench.delivered(session.link);
    let conn = bench.ask(&session.post(&array(&[2, 1])));
    assert_eq!(status(&bench.take(conn)), "400");
    assert!(bench.delivered(session.link).is_empty());
}
