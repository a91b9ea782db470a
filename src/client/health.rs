//! `muxloop health`: is a server usable? A real MCP client asks it over its socket: handshake, ping, and one
//! list of what the server says it has, which muxloop does not answer by itself.
//!
//! A server that speaks only the modern era has neither `initialize` nor `ping` (protocol.md §1); it is asked
//! `server/discover` instead.

use super::Failure;
#[cfg(feature = "inspect")]
use super::HealthOptions;
use super::link::{Incoming, Link};
use super::text::{duration, plain};
use crate::base::limits::CHILD_MESSAGE_MAX;
#[cfg(feature = "inspect")]
use crate::cli;
use crate::codec::Incoming as Scanned;
#[cfg(feature = "inspect")]
use crate::config::nearest::suggestion;
#[cfg(feature = "inspect")]
use crate::config::{Config, ServerConfig, Surroundings};
use crate::control::Json;
use std::path::Path;
#[cfg(feature = "inspect")]
use std::path::PathBuf;
#[cfg(feature = "inspect")]
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Asks, and prints a line for each server. Exit code 0: all healthy.
///
/// # Errors
/// The first failure: nobody listens (3), or one is not healthy (1).
#[cfg(feature = "inspect")]
pub fn run(options: &HealthOptions, surroundings: &Surroundings) -> Result<ExitCode, Failure> {
    let mut worst: Option<Failure> = None;
    for (name, socket) in targets(options, surroundings)? {
        match ask(&socket, Duration::from_millis(options.timeout_ms)) {
            Ok(found) => {
                if !cli::print_all(&format!("{}: {}\n", plain(&name), found.words()))? {
                    break;
                }
            }
            Err(failure) => {
                cli::complain(&format!("{}: {failure}", plain(&name)));
                // Somebody who hangs is worse than nobody who listens.
                let code = worst.map_or(failure.code, |worst| worst.code.min(failure.code));
                worst = Some(Failure { code, text: String::new() });
            }
        }
    }
    worst.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Name and socket of each.
#[cfg(feature = "inspect")]
fn targets(options: &HealthOptions, surroundings: &Surroundings) -> Result<Vec<(String, PathBuf)>, Failure> {
    if let Some(socket) = &options.socket {
        let path = match socket.to_str() {
            Some(text) => {
                surroundings.expand(text).map_err(|why| Failure::usage(format!("--socket {text}: {why}")))?
            }
            None => socket.clone(),
        };
        return Ok(vec![(path.display().to_string(), path)]);
    }
    let path = cli::find_config(options.config.as_deref(), surroundings).map_err(Failure::usage)?;
    let loaded =
        Config::load(&path, surroundings).map_err(|problems| Failure::usage(cli::report(&problems)))?;
    let servers = loaded.config.servers;
    let named = |server: ServerConfig| (server.policy.name, server.socket);
    let Some(service) = &options.service else {
        return Ok(servers.into_iter().filter(|server| server.enabled).map(named).collect());
    };
    let known: Vec<&str> = servers.iter().map(|server| server.policy.name.as_str()).collect();
    let unknown = format!(
        "no server '{service}', the file has: {}{}",
        known.join(", "),
        suggestion(service, known.iter().copied())
    );
    let found =
        servers.into_iter().find(|server| &server.policy.name == service || &server.service_name == service);
    found.map(|server| vec![named(server)]).ok_or_else(|| Failure::usage(unknown))
}

/// What a server said, and how long it took.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Name and version.
    pub(crate) server: String,
    pub(crate) protocol: String,
    /// What was asked, and the milliseconds until the answer.
    pub(crate) asked: Vec<(&'static str, u64)>,
}

impl Found {
    #[cfg(feature = "inspect")]
    fn words(&self) -> String {
        let mut words = format!("ok, {} speaks {}", plain(&self.server), plain(&self.protocol));
        for (method, ms) in &self.asked {
            words.push_str(&format!(", {method} {}", duration(*ms)));
        }
        words
    }
}

/// Asks the server behind a socket.
///
/// # Errors
/// Nobody listens (code 3), or it is not healthy (1).
pub(crate) fn ask(socket: &Path, patience: Duration) -> Result<Found, Failure> {
    let deadline = Instant::now() + patience;
    let mut client =
        Client { link: Link::connect(socket, CHILD_MESSAGE_MAX)?, deadline, last_id: 0, meta: "" };
    let mut found = Found::default();
    let mut opened = client.ask(&mut found, "initialize", INITIALIZE)?;
    let is_legacy = opened.is_ok();
    if let Err(why) = opened {
        client.meta = META;
        // If this fails as well, the first error is the one that tells more.
        opened = match client.ask(&mut found, "server/discover", "") {
            Ok(Ok(result)) => Ok(result),
            _ => Err(why),
        };
    }
    let opening = opened.map_err(|why| Failure::other(format!("refuses a client: {}", plain(&why))))?;
    let opening = Json::new(opening.as_bytes());
    let [name, version] = ["name", "version"].map(|key| opening.member("serverInfo").member(key).text());
    found.server = if name.is_empty() { "a server".to_owned() } else { format!("{name} {version}") };
    found.protocol = match is_legacy {
        true => opening.member("protocolVersion").text(),
        false => opening.member("supportedVersions").texts().join(", "),
    };
    if is_legacy {
        let line = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        client.link.send(line, deadline)?;
        must(client.ask(&mut found, "ping", "")?)?;
    }
    let has = |what: &&&str| opening.member("capabilities").member(what).is_object();
    let lists =
        ["tools", "resources", "prompts"].iter().zip(["tools/list", "resources/list", "prompts/list"]);
    if let Some((_, method)) = lists.into_iter().find(|(what, _)| has(what)) {
        must(client.ask(&mut found, method, "")?)?;
    }
    Ok(found)
}

fn must(answer: Result<String, String>) -> Result<(), Failure> {
    answer.map(drop).map_err(|why| Failure::other(plain(&why)))
}

struct Client {
    link: Link,
    deadline: Instant,
    last_id: u64,
    /// What the modern era wants in every request.
    meta: &'static str,
}

impl Client {
    /// One request. The inner error is the server's, with the method.
    fn ask(
        &mut self,
        found: &mut Found,
        method: &'static str,
        params: &str,
    ) -> Result<Result<String, String>, Failure> {
        self.last_id += 1;
        let id = self.last_id;
        let params = if params.is_empty() { self.meta } else { params };
        let asked = Instant::now();
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#);
        self.link.send(&line, self.deadline)?;
        loop {
            let line = match self.link.line(Some(self.deadline))? {
                Incoming::Line(line) => line,
                Incoming::End => {
                    return Err(Failure::other(format!(
                        "closed the connection instead of answering {method}"
                    )));
                }
                Incoming::Nothing => {
                    let waited = duration(asked.elapsed().as_millis() as u64);
                    return Err(Failure::other(format!("has not answered {method} for {waited}")));
                }
            };
            let scanned = Scanned::scan(&line)
                .map_err(|_| Failure::other(format!("answered {method} with a line that is no message")))?;
            let part = |span| Json::new(scanned.text(span));
            let of = &scanned.envelope;
            let is_ours = of.id.is_none_or(|found| part(found).written() == id.to_string());
            // Requests and notifications are for clients that stay longer.
            match (of.method.is_none() && is_ours, of.result, of.error) {
                (true, Some(result), _) => {
                    found.asked.push((method, asked.elapsed().as_millis() as u64));
                    return Ok(Ok(part(result).written()));
                }
                (true, _, Some(error)) => {
                    return Ok(Err(format!("{method}: {}", part(error).member("message").text())));
                }
                _ => {}
            }
        }
    }
}

const INITIALIZE: &str = concat!(
    r#""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"muxloop-health","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}"#
);

const META: &str = concat!(
    r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"muxloop-health","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}"#
);
