//! The daemon: composes configuration, engine and reactor, and runs their loop to its end.

mod login;
mod reload;
#[cfg(feature = "control")]
mod snapshot;
#[cfg(not(feature = "control"))]
#[path = "without_snapshots.rs"]
mod snapshot;

use crate::cli::RunOptions;
use crate::cli::log as journal;
use crate::config::{Config, ServerConfig, Surroundings};
#[cfg(feature = "control")]
use crate::control::path::{Place, absolute, place};
#[cfg(feature = "control")]
use crate::engine::operate::Host;
use crate::engine::operate::Wish;
use crate::engine::port::Platform;
use crate::engine::{Engine, ServerSetup};
use crate::reactor::{Reactor, resident};
use login::LoginPath;
use snapshot::Snapshots;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Runs the servers of `config`, which came by these options, until a signal or a request to stop. Exit
/// code 1 if they cannot be run at all.
pub fn run(options: &RunOptions, surroundings: &Surroundings, config: Config) -> ExitCode {
    match Daemon::open(options, surroundings, config) {
        Ok(mut daemon) => {
            daemon.serve();
            ExitCode::SUCCESS
        }
        Err(why) => {
            log::error!(target: "muxloop", "{why}");
            ExitCode::FAILURE
        }
    }
}

/// A muxloop that runs.
struct Daemon<'o> {
    options: &'o RunOptions,
    surroundings: &'o Surroundings,
    /// As it is in effect.
    config: Config,
    /// By the servers' names.
    listeners: BTreeMap<String, usize>,
    engine: Engine,
    reactor: Reactor,
    snapshots: Snapshots,
    login: LoginPath,
}

impl<'o> Daemon<'o> {
    /// Opens every socket before any process is started: what cannot be had is known at once.
    fn open(
        options: &'o RunOptions,
        surroundings: &'o Surroundings,
        mut config: Config,
    ) -> Result<Daemon<'o>, String> {
        let mut reactor =
            Reactor::for_daemon().map_err(|error| format!("the poll loop cannot be set up: {error}"))?;
        let mut login = LoginPath::default();
        login.fill(&mut config, login::AT_START);
        let mut setups = Vec::new();
        let mut listeners = BTreeMap::new();
        for server in &config.servers {
            let listener = listen(&mut reactor, server)?;
            listeners.insert(server.policy.name.clone(), listener);
            setups.push(setup(server));
        }
        let mut seed = [0; 8];
        reactor.random(&mut seed);
        #[cfg_attr(not(feature = "control"), allow(unused_mut))]
        let mut engine = Engine::new(setups, u64::from_le_bytes(seed));
        #[cfg(feature = "control")]
        open_control(&mut engine, &mut reactor, options, surroundings, &config)?;
        let snapshots = Snapshots::of(&config);
        Ok(Daemon { options, surroundings, config, listeners, engine, reactor, snapshots, login })
    }

    fn serve(&mut self) {
        let mut ready = Vec::new();
        self.engine.begin(self.reactor.clock.now(), &mut self.reactor);
        resident::forget_start();
        while !self.engine.is_finished() {
            self.keep_journal();
            let now = self.reactor.clock.now();
            self.snapshots.keep(now, &self.engine, &self.reactor);
            let due = [self.engine.deadline(now), self.snapshots.due()].into_iter().flatten().min();
            let mut wait = due.map(|at| Duration::from_millis(at.since(now)));
            if journal::pending() {
                // A stalled stderr that reads on wakes nobody.
                wait = Some(wait.map_or(LOG_RETRY, |wait| wait.min(LOG_RETRY)));
            }
            if let Err(error) = self.reactor.wait(wait, &mut ready) {
                log::error!(target: "muxloop", "the kernel refuses to be polled: {error}");
                return;
            }
            self.engine.turn(self.reactor.clock.now(), &ready, &mut self.reactor);
            for wish in self.engine.take_wishes() {
                match wish {
                    Wish::Reload(ticket) => self.reload(ticket),
                    Wish::Reopen => {}
                }
            }
        }
        self.snapshots.last(self.reactor.clock.now(), &self.engine, &self.reactor);
        log::info!(target: "muxloop", "stopped");
    }

    /// Writes log lines, and keeps them for `muxloop logs`.
    fn keep_journal(&mut self) {
        journal::flush();
        #[cfg(feature = "control")]
        for news in journal::take_news() {
            let server = news.server.as_deref().map(|name| self.engine.server_named(name));
            if let Some(None) = server {
                continue;
            }
            self.engine.note_log(self.reactor.clock.now(), server.flatten(), news.text);
        }
    }
}

/// Listens for the clients of a server.
fn listen(reactor: &mut Reactor, server: &ServerConfig) -> Result<usize, String> {
    let name = &server.policy.name;
    let listener = reactor.listen(&server.socket).map_err(|error| format!("server '{name}': {error}"))?;
    log::info!(target: &format!("server::{name}"), "listening on {}", server.socket.display());
    Ok(listener)
}

fn setup(server: &ServerConfig) -> ServerSetup {
    ServerSetup {
        policy: server.policy.clone(),
        spawn: server.spawn.clone(),
        socket: server.socket.display().to_string(),
        service_name: server.service_name.clone(),
    }
}

#[cfg(feature = "control")]
fn open_control(
    engine: &mut Engine,
    reactor: &mut Reactor,
    options: &RunOptions,
    surroundings: &Surroundings,
    config: &Config,
) -> Result<(), String> {
    let given = options.control.as_deref();
    let path = match place(given, config.control.as_deref(), &config.path, surroundings)? {
        Place::At(path) => path,
        Place::Off => return Ok(()),
    };
    let listener = reactor.listen(&path).map_err(|error| format!("control socket: {error}"))?;
    log::debug!(target: "muxloop", "control socket at {}", path.display());
    let host = Host {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        config: absolute(&config.path).display().to_string(),
        unix_ms: reactor.clock.unix_ms_at_start(),
    };
    engine.open_control(listener, host);
    Ok(())
}

/// Pause between attempts to write log lines to a stderr that nobody reads.
const LOG_RETRY: Duration = Duration::from_millis(100);
