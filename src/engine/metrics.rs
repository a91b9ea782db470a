//! The text of `/metrics` (row E06), in the exposition format of Prometheus 0.0.4.

use super::conn::{Conns, Role};
use super::{Processes, ServerSetup};
use crate::base::Time;
use crate::mux::Mux;
use crate::mux::series::{BOUNDS_MS, ByMethod};
use crate::mux::status::{Outcome, ServerStatus, Standing};
use std::fmt::{Display, Write};

/// Metrics that are a figure of a server each: name, type, help, value.
type OfServer = (&'static str, &'static str, &'static str, fn(&ServerStatus) -> u64);

const OF_SERVERS: &[OfServer] = &[
    ("up", "gauge", "1 if the server is ready, or starts with its first request.", |server| {
        u64::from(matches!(server.standing, Standing::Ready | Standing::Lazy | Standing::Ungreeted))
    }),
    ("clients", "gauge", "Clients that are connected.", |server| server.clients as u64),
    ("processes", "gauge", "Processes that run.", |server| server.processes as u64),
    ("spare_processes", "gauge", "Processes that wait to be needed.", |server| server.spares as u64),
    ("requests_in_flight", "gauge", "Requests that the processes work on.", |server| server.pending as u64),
    ("requests_queued", "gauge", "Requests that wait in muxloop.", |server| server.queued as u64),
    ("restarts_total", "counter", "Restarts of processes.", |server| server.restarts),
    ("rate_limited_total", "counter", "Requests refused by `rate_limit`.", |server| server.limited),
];

/// Everything that is counted.
pub(super) fn text(
    now: Time,
    mux: &Mux,
    conns: &Conns,
    processes: &Processes,
    setups: &[ServerSetup],
) -> String {
    let mut out = String::new();
    let statuses: Vec<(String, usize, ServerStatus)> = setups
        .iter()
        .enumerate()
        .filter_map(|(id, setup)| Some((label(&setup.policy.name), id, mux.server_status(now, id)?)))
        .collect();
    for (name, kind, help, value) in OF_SERVERS {
        head(&mut out, name, kind, help);
        for (server, _, status) in &statuses {
            line(&mut out, name, &format!("server=\"{server}\""), value(status));
        }
    }
    requests(&mut out, mux, &statuses);
    let roles =
        [("unix", Role::Client), ("control", Role::Control), ("http", Role::Http), ("http_peer", Role::Link)];
    head(&mut out, "connections", "gauge", "Open connections by kind; http_peer: clients by HTTP.");
    for (kind, role) in roles {
        line(&mut out, "connections", &format!("kind=\"{kind}\""), conns.count(role));
    }
    let counters = mux.counters();
    for (name, help, value) in [
        ("malformed_messages_total", "Messages that were not JSON-RPC.", counters.malformed),
        ("unrequested_answers_total", "Answers of servers that nobody waited for.", counters.unrequested),
        ("cancelled_requests_total", "Requests that clients took back.", counters.cancelled),
    ] {
        head(&mut out, name, "counter", help);
        line(&mut out, name, "", value);
    }
    head(&mut out, "child_processes", "gauge", "Processes of all servers.");
    line(&mut out, "child_processes", "", processes.len());
    head(&mut out, "build_info", "gauge", "Always 1.");
    line(&mut out, "build_info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    out
}

/// What can be had on merged endpoints.
#[cfg(feature = "gateway")]
pub(super) fn merged(
    out: &mut String,
    now: Time,
    mux: &Mux,
    merged: &[super::gateway::Merged],
    setups: &[ServerSetup],
) {
    let all: Vec<_> = merged
        .iter()
        .map(|merged| merged.status(now))
        .filter(|(id, _)| mux.is_serving(*id))
        .map(|(id, status)| (format!("endpoint=\"{}\"", label(&setups[id].policy.name)), status))
        .collect();
    if all.is_empty() {
        return;
    }
    head(out, "merged_items", "gauge", "What a merged endpoint offers of a server, by kind.");
    for (endpoint, status) in &all {
        for member in &status.members {
            for (kind, count) in ["tool", "prompt", "resource", "template"].iter().zip(member.offered) {
                let labels = format!("{endpoint},server=\"{}\",kind=\"{kind}\"", label(&member.key));
                line(out, "merged_items", &labels, count.unwrap_or(0));
            }
        }
    }
    head(
        out,
        "merged_missing",
        "gauge",
        "1 if something of a server may be missing on a merged endpoint, or old.",
    );
    for (endpoint, status) in &all {
        for member in &status.members {
            let labels = format!("{endpoint},server=\"{}\"", label(&member.key));
            line(out, "merged_missing", &labels, u8::from(member.missing.is_some()));
        }
    }
    head(out, "merged_tool_list_bytes", "gauge", "Bytes of the list of tools that clients are shown.");
    for (endpoint, status) in &all {
        line(out, "merged_tool_list_bytes", endpoint, status.tool_bytes);
    }
    head(out, "merged_collisions", "gauge", "Names of two servers, which are offered of neither.");
    for (endpoint, status) in &all {
        line(out, "merged_collisions", endpoint, status.clash_count);
    }
}

fn requests(out: &mut String, mux: &Mux, statuses: &[(String, usize, ServerStatus)]) {
    let all = || {
        statuses.iter().flat_map(|(server, id, _)| {
            let series = mux.series(*id).map(ByMethod::by_name).unwrap_or_default();
            series.into_iter().map(move |(method, series)| {
                (format!("server=\"{server}\",method=\"{}\"", label(method)), series)
            })
        })
    };
    head(out, "requests_total", "counter", "Requests that have come to their end, by outcome.");
    for (labels, series) in all() {
        for outcome in OUTCOMES {
            let count = series.outcomes[outcome as usize];
            if count > 0 {
                line(out, "requests_total", &format!("{labels},outcome=\"{}\"", outcome.word()), count);
            }
        }
    }
    head(out, "request_duration_seconds", "histogram", "Time from a request to its answer.");
    for (labels, series) in all() {
        let mut below = 0;
        for (bound, count) in BOUNDS_MS.iter().zip(series.buckets) {
            below += count;
            let bound = *bound as f64 / 1_000.0;
            line(out, "request_duration_seconds_bucket", &format!("{labels},le=\"{bound}\""), below);
        }
        let count = series.count();
        line(out, "request_duration_seconds_bucket", &format!("{labels},le=\"+Inf\""), count);
        line(out, "request_duration_seconds_sum", &labels, series.sum_ms as f64 / 1_000.0);
        line(out, "request_duration_seconds_count", &labels, count);
    }
    for (name, help) in
        [("request_bytes_total", "Bytes of requests."), ("answer_bytes_total", "Bytes of their answers.")]
    {
        head(out, name, "counter", help);
        for (labels, series) in all() {
            let value =
                if name == "request_bytes_total" { series.request_bytes } else { series.answer_bytes };
            line(out, name, &labels, value);
        }
    }
}

/// What stands before the lines of a metric.
pub(super) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP muxloop_{name} {help}\n# TYPE muxloop_{name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = match labels {
        "" => writeln!(out, "muxloop_{name} {value}"),
        _ => writeln!(out, "muxloop_{name}{{{labels}}} {value}"),
    };
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Ok, Outcome::Error, Outcome::Cancelled, Outcome::Timeout, Outcome::Lost];

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn names_with_quotes_and_backslashes_are_escaped() {
        assert_eq!(label("we\"ird\\n\nä {}"), "we\\\"ird\\\\n\\nä {}");
    }
}
