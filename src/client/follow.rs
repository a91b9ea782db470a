//! `logs` and `tap`: lines of servers and messages of clients, as they come.

use super::control::PATIENCE;
use super::text::{bytes, plain};
use super::verbs::{params, quoted};
use super::{Failure, FollowOptions, Target, What};
use crate::cli;
use crate::config::Surroundings;
use crate::control::Json;
use std::process::ExitCode;

/// Shows it, until the end or until nobody reads on.
///
/// # Errors
/// The daemon can't be asked, refuses, or ended meanwhile (3).
pub fn run(
    target: &Target,
    options: &FollowOptions,
    surroundings: &Surroundings,
) -> Result<ExitCode, Failure> {
    let mut control = target.open(surroundings)?;
    let method = match &options.what {
        What::Logs { server, lines, follow } => {
            let mut params = format!(r#""lines":{lines},"follow":{follow}}}"#);
            match server {
                Some(name) => params.insert_str(0, &format!("{{\"server\":{},", quoted(name))),
                None => params.insert(0, '{'),
            }
            let answer = control.call("logs", &params, PATIENCE)?;
            let mut out = String::new();
            for line in Json::new(answer.as_bytes()).member("lines").elements() {
                append(&mut out, line, options.json, log_line);
            }
            if !cli::print_all(&out)? || !follow {
                return Ok(ExitCode::SUCCESS);
            }
            "log"
        }
        What::Tap { server } => {
            control.call("tap", &params(server), PATIENCE)?;
            "tap"
        }
    };
    let show = if method == "log" { log_line } else { tap_line };
    while let Some((noticed, params)) = control.notice()? {
        let mut out = String::new();
        if noticed == method {
            append(&mut out, Json::new(params.as_bytes()), options.json, show);
        }
        if !cli::print_all(&out)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    Err(Failure::not_running(format!("{} ended", control.link.name())))
}

fn append(out: &mut String, json: Json<'_>, raw: bool, show: fn(Json<'_>) -> String) {
    let dropped = json.member("dropped").number();
    if raw {
        out.push_str(&json.written());
    } else {
        if dropped > 0 {
            out.push_str(&format!("({dropped} left out here: they came faster than they were read)\n"));
        }
        out.push_str(&show(json));
    }
    out.push('\n');
}

/// A line of a server, or of muxloop about it.
fn log_line(json: Json<'_>) -> String {
    let [ts, server, from, text] =
        ["ts", "server", "from", "text"].map(|key| plain(&json.member(key).text()));
    let from = if from.is_empty() { from } else { format!(" ({from})") };
    format!("{ts} {server}{from}: {text}")
}

/// A message on its way.
fn tap_line(json: Json<'_>) -> String {
    let [ts, from, to, kind, method, text] =
        ["ts", "from", "to", "kind", "method", "text"].map(|key| plain(&json.member(key).text()));
    let method = if method.is_empty() { method } else { format!(" {method}") };
    let id = match json.member("id").written() {
        none if none == "null" => String::new(),
        id => format!(" id {}", plain(&id)),
    };
    let size = bytes(json.member("bytes").number());
    format!("{ts} {from} -> {to}: {kind}{method}{id}, {size}: {text}")
}
