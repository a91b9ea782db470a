//! The daemon: composes configuration, engine and reactor, and runs their loop to its end.

use crate::cli::log as journal;
use crate::config::Config;
use crate::engine::port::Platform;
use crate::engine::{Engine, ServerSetup};
use crate::reactor::{Reactor, resident};
use std::process::ExitCode;
use std::time::Duration;

/// Runs the servers of `config` until a signal. Exit code 1 if they cannot be run at all.
pub fn run(config: Config) -> ExitCode {
    match open(config) {
        Ok((mut engine, mut reactor)) => {
            serve(&mut engine, &mut reactor);
            ExitCode::SUCCESS
        }
        Err(why) => {
            log::error!(target: "muxloop", "{why}");
            ExitCode::FAILURE
        }
    }
}

/// Opens every socket before any process is started: what cannot be had is known at once.
fn open(config: Config) -> Result<(Engine, Reactor), String> {
    let mut reactor =
        Reactor::for_daemon().map_err(|error| format!("the poll loop cannot be set up: {error}"))?;
    let mut setups = Vec::new();
    for server in config.servers {
        let name = &server.policy.name;
        reactor.listen(&server.socket).map_err(|error| format!("server '{name}': {error}"))?;
        log::info!(target: &format!("server::{name}"), "listening on {}", server.socket.display());
        setups.push(ServerSetup { policy: server.policy, spawn: server.spawn });
    }
    let mut seed = [0; 8];
    reactor.random(&mut seed);
    Ok((Engine::new(setups, u64::from_le_bytes(seed)), reactor))
}

fn serve(engine: &mut Engine, reactor: &mut Reactor) {
    let mut ready = Vec::new();
    engine.begin(reactor.clock.now(), reactor);
    resident::forget_start();
    while !engine.is_finished() {
        journal::flush();
        let now = reactor.clock.now();
        let mut wait = engine.deadline(now).map(|at| Duration::from_millis(at.since(now)));
        if journal::pending() {
            // A stalled stderr that reads on wakes nobody.
            wait = Some(wait.map_or(LOG_RETRY, |wait| wait.min(LOG_RETRY)));
        }
        if let Err(error) = reactor.wait(wait, &mut ready) {
            log::error!(target: "muxloop", "the kernel refuses to be polled: {error}");
            return;
        }
        engine.turn(reactor.clock.now(), &ready, reactor);
    }
    log::info!(target: "muxloop", "stopped");
}

/// Pause between attempts to write log lines to a stderr that nobody reads.
const LOG_RETRY: Duration = Duration::from_millis(100);
