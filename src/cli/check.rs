//! `muxloop check`: what a file says, for a person and for programs.

#[cfg(feature = "gateway")]
mod merged;

use super::invocation::{counted, find, report};
use crate::config::{Config, Loaded, Problem, ServerConfig, Surroundings};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// `muxloop check`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    pub config: Option<PathBuf>,
    pub json: bool,
}

/// What is said of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub is_good: bool,
    /// For stdout.
    pub summary: String,
    /// For stderr: with `json`, they are in the summary.
    pub warnings: Vec<Problem>,
}

impl CheckOptions {
    /// Checks the file.
    ///
    /// # Errors
    /// Lines for a person: every problem, or that there is no file. With `json`, problems of a file are a verdict.
    pub fn check(&self, surroundings: &Surroundings) -> Result<Verdict, String> {
        let path = find(self.config.as_deref(), surroundings)?;
        let loaded = Config::load(&path, surroundings).and_then(|loaded| match exposure(&loaded.config) {
            None => Ok(loaded),
            Some(text) => {
                let file = path.display().to_string();
                Err(vec![Problem { file, place: None, key: "http".into(), text }])
            }
        });
        match loaded {
            Ok(loaded) if self.json => {
                Ok(Verdict { is_good: true, summary: lines(&value(&loaded)), warnings: Vec::new() })
            }
            Ok(loaded) => {
                Ok(Verdict { is_good: true, summary: words(&loaded.config), warnings: loaded.warnings })
            }
            Err(problems) if self.json => {
                let problems: Vec<Value> = problems.iter().map(problem).collect();
                let summary =
                    lines(&json!({ "ok": false, "file": path.display().to_string(), "problems": problems }));
                Ok(Verdict { is_good: false, summary, warnings: Vec::new() })
            }
            Err(problems) => Err(report(&problems)),
        }
    }
}

#[cfg(feature = "http")]
fn exposure(config: &Config) -> Option<String> {
    config.http.exposure()
}

#[cfg(not(feature = "http"))]
fn exposure(_: &Config) -> Option<String> {
    None
}

fn lines(value: &Value) -> String {
    format!("{value:#}\n")
}

fn words(config: &Config) -> String {
    let servers = &config.servers;
    let mut text = format!("{}: ok, {}\n", config.path.display(), counted(servers.len(), "server"));
    for server in servers {
        let disabled = if server.enabled { "" } else { " (disabled)" };
        let (name, socket) = (&server.policy.name, server.socket.display());
        let sandbox = if server.spawn.sandbox.is_some() { " (sandbox)" } else { "" };
        #[cfg(feature = "gateway")]
        let gateway = if server.gateway { "" } else { " (not on the gateway)" };
        #[cfg(not(feature = "gateway"))]
        let gateway = "";
        let program = &server.spawn.program;
        let _ = writeln!(text, "  {name}: {program} on {socket}{sandbox}{disabled}{gateway}");
        #[cfg(feature = "gateway")]
        merged::server_words(&mut text, server);
    }
    #[cfg(feature = "http")]
    config.http.listen.iter().for_each(|address| text.push_str(&format!("  HTTP on {address}\n")));
    #[cfg(feature = "gateway")]
    merged::words(&mut text, config);
    text
}

/// Fixed values, arguments and environments are not in it: they may be secret.
fn value(loaded: &Loaded) -> Value {
    let config = &loaded.config;
    #[cfg(feature = "http")]
    let http: Vec<String> = config.http.listen.iter().map(ToString::to_string).collect();
    #[cfg(not(feature = "http"))]
    let http: Vec<String> = Vec::new();
    #[cfg_attr(not(feature = "gateway"), expect(unused_mut))]
    let mut value = json!({
        "ok": true,
        "file": config.path.display().to_string(),
        "servers": config.servers.iter().map(server).collect::<Vec<_>>(),
        "http": http,
        "warnings": loaded.warnings.iter().map(problem).collect::<Vec<_>>(),
    });
    #[cfg(feature = "gateway")]
    merged::add(config, &mut value);
    value
}

fn server(server: &ServerConfig) -> Value {
    #[cfg_attr(not(feature = "gateway"), expect(unused_mut))]
    let mut value = json!({
        "name": server.policy.name,
        "command": server.spawn.program,
        "socket": server.socket.display().to_string(),
        "enabled": server.enabled,
        "sandbox": server.spawn.sandbox.is_some(),
    });
    #[cfg(feature = "gateway")]
    merged::add_server(server, &mut value);
    value
}

fn problem(problem: &Problem) -> Value {
    let place = |number: Option<usize>| number.map_or(Value::Null, Value::from);
    json!({
        "file": problem.file,
        "line": place(problem.place.map(|place| place.line)),
        "column": place(problem.place.map(|place| place.column)),
        "key": problem.key,
        "text": problem.text,
    })
}
