//! What a person reads of the HTTP part: a table per load, and the verdict on row M06.

use std::fmt::Write;

use super::{Front, Load};
use crate::report::{Target, Verdict, optional};

pub fn table(load: &Load) -> String {
    let mut text = format!(
        "\nHTTP, {} sessions, one request of {} bytes in flight each\n{:<14} {:>8} {:>7} {:>9} {:>9} {:>9} {:>9} | {:>11} {:>6}\n",
        load.sessions,
        super::REQUEST_LEN,
        "",
        "req/s",
        "spread",
        "p50 us",
        "p99 us",
        "CPU us/rq",
        "RSS MiB",
        "CPU/muxloop",
        "req/s"
    );
    for entry in &load.entries {
        let ratio = |figure, decimals| optional(load.ratio(entry.relay, Front::Muxloop, figure), decimals);
        let _ = match (&entry.rounds, entry.medians()) {
            (Err(failure), _) => writeln!(text, "{:<14} FAILED: {failure}", entry.relay),
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(f)) => writeln!(
                text,
                "{:<14} {:>8.0} {:>6.0}% {:>9.0} {:>9.0} {:>9} {:>9} | {:>11} {:>6}",
                entry.relay,
                f.requests_per_s,
                entry.spread() * 100.0,
                f.p50_us,
                f.p99_us,
                optional(f.cpu_us, 1),
                optional(f.rss_kib.map(|kib| kib / 1024.0), 1),
                ratio(|f| f.cpu_us, 1),
                ratio(|f| Some(f.requests_per_s), 2),
            ),
        };
    }
    text
}

/// Row M06, by its worst load and its best rival, once for each of muxloop's two ways to serve.
pub fn verdicts(loads: &[Load]) -> Vec<Verdict> {
    let whats = [
        "CPU per tools/call of the best rival / muxloop -c, worst load",
        "the same / muxloop -c, all servers at one endpoint",
        "the same / muxloop proxy --stdio",
    ];
    Front::OWN
        .into_iter()
        .zip(whats)
        .map(|(own, what)| {
            let rivals = || Front::ALL.into_iter().filter(|front| front.is_rival());
            let ratios =
                loads.iter().flat_map(|load| rivals().map(move |rival| load.ratio(rival, own, |f| f.cpu_us)));
            Verdict::new("M06", what, ratios.flatten().reduce(f64::min), Target::AtLeast(CPU_RATIO_MIN))
        })
        .collect()
}

/// Row M06: how many times the CPU time of muxloop a Node or Python proxy needs.
const CPU_RATIO_MIN: f64 = 10.0;
