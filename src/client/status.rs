//! `muxloop status`: one look at a running muxloop, as a table that fits 80 columns, as JSON, or again at each
//! change.

mod merged;

use super::control::{Control, PATIENCE};
use super::text::{self, bytes, count, counted, cut, duration, plain};
use super::{EXIT_DEGRADED, Failure, Target};
use crate::cli;
use crate::config::Surroundings;
use crate::config::nearest::suggestion;
use crate::control::{Json, Report, ServerReport, State};
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

/// How it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Everything about this server.
    pub server: Option<String>,
    /// The report as it came.
    pub json: bool,
    /// Again at each change.
    pub watch: bool,
}

/// Shows it. Exit code 0: all up, 4: some server is not.
///
/// # Errors
/// It could not be asked.
pub fn run(target: &Target, options: &Options, surroundings: &Surroundings) -> Result<ExitCode, Failure> {
    let mut control = target.open(surroundings)?;
    let method = if options.watch { "watch" } else { "status" };
    let answer = control.call(method, "{}", PATIENCE)?;
    let (code, printed) = show(&answer, options, &control)?;
    if options.watch && printed {
        return watch(control, options);
    }
    Ok(ExitCode::from(code))
}

/// Shows each further report, until muxloop or the reader is gone.
fn watch(mut control: Control, options: &Options) -> Result<ExitCode, Failure> {
    while let Some((method, params)) = control.notice()? {
        if method == "status" && !show(&params, options, &control)?.1 {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Failure::not_running(format!("{} ended", control.link.name())))
}

/// Prints a report. Returns the exit code it stands for, and whether somebody reads on.
fn show(answer: &str, options: &Options, control: &Control) -> Result<(u8, bool), Failure> {
    let report = Report::read(Json::new(answer.as_bytes())).ok_or_else(|| {
        Failure::other(format!("{} sent a report that cannot be read", control.link.name()))
    })?;
    let degraded = match &options.server {
        Some(name) => find(&report, name)?.state.is_degraded(),
        None => !report.is_all_up(),
    };
    let mut out = String::new();
    if options.watch && !options.json && io::stdout().is_terminal() {
        // To the upper left, and nothing below: no line is blank in between.
        out.push_str("\x1b[H\x1b[J");
    }
    match (options.json, &options.server) {
        (true, _) => {
            out.push_str(answer);
            out.push('\n');
        }
        #[cfg(any(feature = "inspect", feature = "tui"))]
        (false, Some(name)) => detail(&mut out, find(&report, name)?, text::colours()),
        #[cfg(not(any(feature = "inspect", feature = "tui")))]
        (false, Some(name)) => {
            let mut report = report.clone();
            report.servers.retain(|server| &server.name == name);
            table(&mut out, &report, text::colours());
        }
        (false, None) => table(&mut out, &report, text::colours()),
    }
    Ok((if degraded { EXIT_DEGRADED } else { 0 }, cli::print_all(&out)?))
}

/// The server of that name.
///
/// # Errors
/// There is none; the known ones are listed.
fn find<'r>(report: &'r Report, name: &str) -> Result<&'r ServerReport, Failure> {
    let known = || report.servers.iter().map(|server| server.name.as_str());
    report.servers.iter().find(|server| server.name == name).ok_or_else(|| {
        let list = known().collect::<Vec<_>>().join(", ");
        Failure::usage(format!("no server '{name}', there are: {list}{}", suggestion(name, known())))
    })
}

/// The whole report for a person.
pub fn table(out: &mut String, report: &Report, colours: bool) {
    let _ = write!(out, "muxloop {} ", plain(&report.version));
    if report.state != "up" {
        let _ = write!(out, "is {}, ", plain(&report.state));
    }
    let _ = write!(out, "up {}, process {}", duration(report.uptime_ms), report.pid);
    if let Some(rss) = report.rss_bytes {
        let _ = write!(out, ", {}", bytes(rss));
    }
    let (servers, clients) = (counted(report.servers.len(), "server"), counted(report.clients, "client"));
    let _ = writeln!(out, "; {servers}, {clients}");
    let _ = writeln!(out, "{}\n", plain(&report.config));
    let longest = report.servers.iter().map(|server| text::width(&server.name)).max().unwrap_or(0);
    let width = longest.clamp("SERVER".len(), NAME_MAX);
    let _ =
        writeln!(out, "{:width$} STATE    CLIENTS PENDING   REQS ERRS  P50/P99 RESTARTS     PID", "SERVER");
    for server in &report.servers {
        row(out, server, width, colours);
    }
    if let Some(tools) = tools(report) {
        out.push('\n');
        for line in text::wrap(&tools, WIDTH) {
            let _ = writeln!(out, "{line}");
        }
    }
    for line in merged::lines(report).iter().flat_map(|line| text::wrap(line, WIDTH)) {
        let _ = writeln!(out, "{line}");
    }
    let mut first = true;
    for server in &report.servers {
        let Some(words) = words(server) else { continue };
        if std::mem::take(&mut first) {
            out.push('\n');
        }
        for line in text::wrap(&format!("{}: {words}", plain(&server.name)), WIDTH) {
            let _ = writeln!(out, "{line}");
        }
    }
}

/// What the tools of all servers cost a model, as far as that is known: `fs 12 (2.1k), git 7 (900)`.
fn tools(report: &Report) -> Option<String> {
    // A merged endpoint has the same tools once more.
    let servers = || report.servers.iter().filter(|server| server.merged.is_none());
    let known: Vec<String> = servers()
        .filter_map(|server| {
            let (tools, tokens) = (server.tools?, server.tool_tokens?);
            Some(format!("{} {} ({})", plain(&server.name), count(tools), count(tokens)))
        })
        .collect();
    let all: u64 = servers().filter_map(|server| server.tool_tokens).sum();
    (!known.is_empty()).then(|| {
        format!(
            "tools, and the tokens (estimated, bytes / 4) that a model is shown for them: {}; together {}",
            known.join(", "),
            count(all)
        )
    })
}

fn row(out: &mut String, server: &ServerReport, width: usize, colours: bool) {
    let state = text::painted(&format!("{:8}", server.state), server.state, colours);
    let clients = format!("{}/{}", count(server.clients as u64), count(server.max_active_clients as u64));
    let _ = writeln!(
        out,
        "{:width$} {state} {clients:>7} {:>7} {:>6} {:>4} {:>8} {:>8} {:>7}",
        cut(&plain(&server.name), width),
        pending(server),
        count(server.requests),
        count(server.errors),
        latency(server),
        count(server.restarts),
        server.pid.map_or("-".to_owned(), |pid| pid.to_string()),
    );
}

/// `3`, or `3+2` if two more wait in muxloop (`3+99`: or more than that).
pub fn pending(server: &ServerReport) -> String {
    match server.queued {
        0 => count(server.pending as u64),
        // Seven characters are for both.
        queued @ 1..=99 => format!("{}+{queued}", count(server.pending as u64)),
        _ => format!("{}+99", count(server.pending as u64)),
    }
}

/// `2/18ms`, `1/40s`, `2/5min`.
pub fn latency(server: &ServerReport) -> String {
    match server.latency_ms {
        None => "-".to_owned(),
        Some(latency) if latency.p99 < 1_000 => format!("{}/{}ms", latency.p50, latency.p99),
        Some(latency) if latency.p99 < 1_000_000 => {
            format!("{}/{}s", latency.p50 / 1_000, latency.p99 / 1_000)
        }
        Some(latency) => {
            let minutes = |ms: u64| (ms / 60_000).min(99);
            format!("{}/{}min", minutes(latency.p50), minutes(latency.p99))
        }
    }
}

/// What is wrong with a server and what happens next; `None` if nothing is to be said.
pub fn words(server: &ServerReport) -> Option<String> {
    let said = plain(&server.words);
    if !said.is_empty() {
        return Some(said);
    }
    // A daemon that says nothing about it still says what is known.
    let why = server.last_failure.as_deref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
    match server.state {
        State::Backoff => {
            let limit = match server.max_restarts {
                0 => String::new(),
                limit => format!(" of {limit}"),
            };
            let next =
                server.next_attempt_in_ms.map(|ms| format!(" in {}", duration(ms))).unwrap_or_default();
            Some(format!("restarting, attempt {}{limit}{next}{why}", server.attempt))
        }
        State::Failed => Some(format!("failed, and not started again until 'muxloop start'{why}")),
        _ => None,
    }
}

/// Everything about one server, for a person.
#[cfg(any(feature = "inspect", feature = "tui"))]
fn detail(out: &mut String, server: &ServerReport, colours: bool) {
    let state = text::painted(server.state.word(), server.state, colours);
    let _ = writeln!(out, "{}: {state}", plain(&server.name));
    if let Some(words) = words(server) {
        for line in text::wrap(&words, WIDTH) {
            let _ = writeln!(out, "{line}");
        }
    }
    out.push('\n');
    for (label, value) in facts(server) {
        let _ = writeln!(out, "{label:<10}{value}");
    }
    if !server.recent.is_empty() {
        out.push_str("\nlast requests, newest first\n");
    }
    for request in &server.recent {
        let _ = writeln!(out, "  {}", recent(request));
    }
    if !server.stderr.is_empty() {
        out.push_str("\nstderr, newest last\n");
    }
    for line in &server.stderr {
        let _ = writeln!(out, "  {}", plain(line));
    }
}

/// One request: `tools/call echo: ok in 12 ms, client 3, 4.0 s ago`.
#[cfg(any(feature = "inspect", feature = "tui"))]
pub fn recent(request: &crate::control::Recent) -> String {
    let name = request.name.as_deref().map(|name| format!(" {}", plain(name))).unwrap_or_default();
    format!(
        "{}{name}: {} in {}, client {}, {} ago",
        plain(&request.method),
        plain(&request.outcome),
        duration(request.ms),
        request.client,
        duration(request.ago_ms)
    )
}

/// What is known about a server, as label and value.
#[cfg(any(feature = "inspect", feature = "tui"))]
pub fn facts(server: &ServerReport) -> Vec<(&'static str, String)> {
    let mut facts = vec![("socket", plain(&server.socket))];
    if let Some(pid) = server.pid {
        let mut value = pid.to_string();
        if server.instances > 1 {
            let _ = write!(value, ", the first of {}", server.instances);
        }
        if server.spares > 0 {
            let _ = write!(value, ", {} spare", server.spares);
        }
        if let Some(ms) = server.uptime_ms {
            let _ = write!(value, ", up {}", duration(ms));
        }
        if let Some(rss) = server.rss_bytes {
            let _ = write!(value, ", {}", bytes(rss));
        }
        facts.push(("process", value));
    }
    let said = [&server.server_name, &server.server_version, &server.protocol, &server.era];
    if said.iter().any(|part| part.is_some()) {
        let parts: Vec<String> = said.into_iter().flatten().map(|part| plain(part)).collect();
        facts.push(("server", parts.join(" ")));
    }
    if let (Some(tools), Some(tokens)) = (server.tools, server.tool_tokens) {
        facts.push(("tools", format!("{tools}, about {tokens} tokens for a model (estimated, bytes / 4)")));
    }
    if let Some(merged) = &server.merged {
        facts.extend(merged::facts(merged));
    }
    facts.push(("clients", format!("{} of {}", server.clients, server.max_active_clients)));
    facts.push((
        "requests",
        format!(
            "{}, {} with an error; {} at the server, {} waiting",
            server.requests, server.errors, server.pending, server.queued
        ),
    ));
    facts.push(("bytes", format!("{} in, {} out", bytes(server.bytes_in), bytes(server.bytes_out))));
    if let Some(latency) = server.latency_ms {
        let (p50, p99) = (duration(latency.p50), duration(latency.p99));
        facts.push(("answers", format!("half within {p50}, 99 of 100 within {p99}")));
    }
    let mut restarts = server.restarts.to_string();
    if let Some(why) = &server.last_failure {
        let _ = write!(restarts, ", the last: {}", plain(why));
    }
    facts.push(("restarts", restarts));
    if let Some(ms) = server.heartbeat_ms {
        facts.push(("heartbeat", format!("{}, {} missed", duration(ms), server.heartbeat_misses)));
    }
    facts
}

/// Columns of a terminal that nobody made wider.
const WIDTH: usize = 80;
/// What is left of them for the name.
const NAME_MAX: usize = 17;

#[cfg(all(test, feature = "inspect"))]
mod tests;
