//! `muxloop proxy --stdio CMD` (row G05): one stdio server over HTTP, without a configuration.

use crate::cli::log as journal;
use crate::cli::{ExposeOptions, Transport};
use crate::config::Surroundings;
use crate::config::http::{Address, HttpConfig};
use crate::engine::port::{Platform, SpawnSpec};
use crate::engine::{Engine, ServerSetup};
use crate::front::{Guard, Routes, Settings, Target};
use crate::mux::policy::{ServerPolicy, Share};
use crate::reactor::{Reactor, resident};
use std::process::ExitCode;
use std::time::Duration;

/// Serves one server until a signal.
pub fn expose(options: &ExposeOptions, surroundings: &Surroundings) -> ExitCode {
    match serve(options, surroundings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            log::error!(target: "muxloop", "{why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &ExposeOptions, surroundings: &Surroundings) -> Result<(), String> {
    let address = Address::parse(&options.port, surroundings).map_err(|why| format!("--port {why}"))?;
    let exposure = HttpConfig {
        listen: vec![address.clone()],
        insecure: options.insecure_listen,
        ..HttpConfig::default()
    };
    exposure.exposure().map_or(Ok(()), Err)?;
    super::http::warn_of_exposure(&exposure);
    let mut reactor =
        Reactor::for_daemon().map_err(|error| format!("the poll loop cannot be set up: {error}"))?;
    let listener = super::http::listen(&mut reactor, &address)?;
    let mut seed = [0; 8];
    reactor.random(&mut seed);
    let mut engine = Engine::new(vec![setup(options)], u64::from_le_bytes(seed));
    engine.open_http(settings(options));
    engine.open_http_door(listener, address.is_local());
    engine.begin(reactor.clock.now(), &mut reactor);
    resident::forget_start();
    let mut ready = Vec::new();
    while !engine.is_finished() {
        journal::flush();
        let now = reactor.clock.now();
        let mut wait = engine.deadline(now).map(|at| Duration::from_millis(at.since(now)));
        if journal::pending() {
            wait = Some(wait.map_or(super::LOG_RETRY, |wait| wait.min(super::LOG_RETRY)));
        }
        reactor
            .wait(wait, &mut ready)
            .map_err(|error| format!("the kernel refuses to be polled: {error}"))?;
        engine.turn(reactor.clock.now(), &ready, &mut reactor);
        if engine.is_stopping() {
            reactor.stop_listening(listener);
        }
        // There is no configuration that could be read again.
        engine.take_wishes();
    }
    log::info!(target: "muxloop", "stopped");
    Ok(())
}

/// The server; the command is a line for the shell, as hosts write it.
fn setup(options: &ExposeOptions) -> ServerSetup {
    let share = match (options.transport, options.stateful) {
        (Transport::Sse, _) => Share::Shared,
        (Transport::StreamableHttp, _) => Share::Session,
    };
    let policy = ServerPolicy {
        share,
        guests_apart: !options.stateful,
        max_restarts: options.max_restarts,
        max_active_clients: CLIENTS_MAX,
        spare: options.spare,
        lazy_start: options.spare == 0,
        max_request_bytes: 4 << 20,
        ..ServerPolicy::new("stdio")
    };
    let args = vec!["-c".to_owned(), in_place_of_shell(&options.stdio)];
    ServerSetup {
        policy,
        spawn: SpawnSpec { program: "/bin/sh".into(), args, ..SpawnSpec::default() },
        socket: String::new(),
        service_name: "stdio".into(),
    }
}

/// `line`, told to replace the shell where it is one simple command: a shell that only waits costs as much
/// memory as a small server, once per session.
fn in_place_of_shell(line: &str) -> String {
    let line = line.trim();
    let first = line.split_whitespace().next().unwrap_or_default();
    let is_simple = !line.contains([';', '&', '|', '<', '>', '(', ')', '`', '#', '\n'])
        // Keywords and `!` cannot follow `exec`, nor can assignments and the words that run a command themselves.
        && first.starts_with(|c: char| c.is_alphanumeric() || "/._~'\"$".contains(c))
        && !first.contains('=')
        && !SHELL_WORDS.contains(&first);
    if is_simple { format!("exec {line}") } else { line.to_owned() }
}

/// Commands that only the shell has and that a server's line may begin with.
const SHELL_WORDS: [&str; 7] = [".", "builtin", "command", "eval", "exec", "source", "time"];

fn settings(options: &ExposeOptions) -> Settings {
    let mut routes = Routes::default();
    let path =
        |path: &str| format!("{}/{}", options.base_path.trim_end_matches('/'), path.trim_start_matches('/'));
    match options.transport {
        Transport::Sse => {
            routes.add(&path(&options.sse_path), Target::Events(SERVER));
            routes.add(&path(&options.message_path), Target::Message);
        }
        Transport::StreamableHttp => routes.add(&path(&options.streamable_http_path), Target::Mcp(SERVER)),
    }
    routes.add(&options.health_endpoint, Target::Health);
    let is_stateless = options.transport == Transport::StreamableHttp && !options.stateful;
    Settings {
        routes,
        guard: Guard {
            origins: if options.cors == Some(true) { vec!["*".into()] } else { Vec::new() },
            ..Guard::default()
        },
        body_max: [(SERVER, 4 << 20)].into(),
        session_timeout_ms: options.session_timeout_ms,
        max_sessions: CLIENTS_MAX,
        stateless: if is_stateless { [SERVER].into() } else { Default::default() },
    }
}

/// The one server.
const SERVER: usize = 0;
/// Most clients, and processes where each has its own.
const CLIENTS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::in_place_of_shell;

    #[test]
    fn a_simple_command_takes_the_place_of_its_shell() {
        for line in ["npx -y server", " '/a b/server' --flag \"x y\"", "$HOME/server", "~/server", "./server"]
        {
            assert_eq!(in_place_of_shell(line), format!("exec {}", line.trim()));
        }
    }

    #[test]
    fn anything_else_is_left_to_the_shell() {
        let lines = [
            "cd a && server",
            "server | tee log",
            "A=1 server",
            "server 2>log",
            "exec server",
            "! server",
            "",
            "(server)",
            "command server",
            "first\nsecond",
            "time server",
        ];
        for line in lines {
            assert_eq!(in_place_of_shell(line), line);
        }
    }
}
