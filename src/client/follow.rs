//! `logs` and `tap`: lines of servers and messages of clients, as they come.

use super::control::{Control, PATIENCE};
use super::text::{bytes, plain};
use super::verbs::{params, unreadable};
use super::{Failure, Target};
use crate::cli;
use crate::config::Surroundings;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::process::ExitCode;

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub what: What,
    /// Each as it came, one per line.
    pub json: bool,
}

/// What is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Logs {
        /// `None`: all servers.
        server: Option<String>,
        lines: u64,
        follow: bool,
    },
    Tap {
        server: String,
    },
}

/// Shows it, until the end or until nobody reads on.
///
/// # Errors
/// The daemon can't be asked, refuses, or ended meanwhile (3).
pub fn run(target: &Target, options: &Options, surroundings: &Surroundings) -> Result<ExitCode, Failure> {
    let mut control = target.open(surroundings)?;
    let (method, show): (_, Show) = match &options.what {
        What::Logs { server, lines, follow } => {
            let mut params = format!(r#"{{"lines":{lines},"follow":{follow}"#);
            if let Some(name) = server {
                let _ = write!(params, r#","server":{}"#, serde_json::Value::from(name.as_str()));
            }
            params.push('}');
            let answer = control.call("logs", &params, PATIENCE)?;
            let lines: Lines =
                serde_json::from_str(answer.get()).map_err(|error| unreadable(&control, &error))?;
            let mut out = String::new();
            for line in &lines.lines {
                append(&mut out, line, options.json, log_line)
                    .map_err(|error| unreadable(&control, &error))?;
            }
            if !cli::print_all(&out)? || !follow {
                return Ok(ExitCode::SUCCESS);
            }
            ("log", log_line)
        }
        What::Tap { server } => {
            control.call("tap", &params(server), PATIENCE)?;
            ("tap", tap_line)
        }
    };
    follow(&mut control, method, options.json, show)
}

#[derive(Deserialize)]
struct Lines {
    lines: Vec<Box<RawValue>>,
}

type Show = fn(&mut String, &RawValue) -> Result<(), serde_json::Error>;

fn follow(control: &mut Control, method: &str, json: bool, show: Show) -> Result<ExitCode, Failure> {
    while let Some((noticed, params)) = control.notice()? {
        if noticed != method {
            continue;
        }
        let mut out = String::new();
        append(&mut out, &params, json, show).map_err(|error| unreadable(control, &error))?;
        if !cli::print_all(&out)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Failure::not_running(format!("{} ended", control.link.name())))
}

fn append(out: &mut String, raw: &RawValue, json: bool, show: Show) -> Result<(), serde_json::Error> {
    match json {
        true => out.push_str(raw.get()),
        false => {
            let Dropped { dropped } = serde_json::from_str(raw.get())?;
            if dropped > 0 {
                let _ = writeln!(out, "({dropped} left out here: they came faster than they were read)");
            }
            show(out, raw)?;
        }
    }
    out.push('\n');
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Dropped {
    dropped: u64,
}

/// A line of a server, or of muxloop about it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct LogLine {
    server: String,
    ts: String,
    text: String,
    from: String,
}

fn log_line(out: &mut String, raw: &RawValue) -> Result<(), serde_json::Error> {
    let line: LogLine = serde_json::from_str(raw.get())?;
    let from = if line.from.is_empty() { String::new() } else { format!(" ({})", plain(&line.from)) };
    let _ = write!(out, "{} {}{from}: {}", plain(&line.ts), plain(&line.server), plain(&line.text));
    Ok(())
}

/// A message on its way.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tapped {
    ts: String,
    from: String,
    to: String,
    kind: String,
    method: Option<String>,
    id: Option<Box<RawValue>>,
    bytes: u64,
    text: String,
}

fn tap_line(out: &mut String, raw: &RawValue) -> Result<(), serde_json::Error> {
    let message: Tapped = serde_json::from_str(raw.get())?;
    let [ts, from, to, kind] =
        [&message.ts, &message.from, &message.to, &message.kind].map(|text| plain(text));
    let _ = write!(out, "{ts} {from} -> {to}: {kind}");
    if let Some(method) = &message.method {
        let _ = write!(out, " {}", plain(method));
    }
    if let Some(id) = message.id {
        let _ = write!(out, " id {}", plain(id.get()));
    }
    let _ = write!(out, ", {}: {}", bytes(message.bytes), plain(&message.text));
    Ok(())
}
