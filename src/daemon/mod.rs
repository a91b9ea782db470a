//! The daemon: composes configuration, engine and reactor, and runs their loop to its end.

mod audit;
mod cached;
#[cfg(feature = "gateway")]
mod collisions;
#[cfg(feature = "http")]
pub mod expose;
mod findings;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "http")]
mod http;
mod lists;
pub(crate) mod login;
#[cfg(all(feature = "control", feature = "gateway"))]
mod project;
mod reload;
#[cfg(feature = "gateway")]
pub mod serve;
mod service;
#[cfg(feature = "control")]
mod snapshot;
#[cfg(not(feature = "control"))]
#[path = "without_snapshots.rs"]
mod snapshot;

use crate::base::{SortedMap, Time};
use crate::capture::{Recorder, Tape};
use crate::cli::RunOptions;
use crate::cli::log as journal;
use crate::config::{Config, ServerConfig, Surroundings};
#[cfg(feature = "control")]
use crate::control::path::{Place, absolute, place};
#[cfg(feature = "control")]
use crate::engine::operate::Host;
use crate::engine::operate::Wish;
use crate::engine::port::{Platform, Ready};
use crate::engine::{Engine, ServerSetup};
use crate::mux::policy::ServerPolicy;
use crate::reactor::activation::{Handed, is_same_place};
use crate::reactor::{Reactor, resident};
use audit::AuditLog;
use findings::Findings;
use lists::ListFiles;
use login::LoginPath;
use service::{Doors, Service};
use snapshot::Snapshots;
#[cfg(feature = "control")]
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Runs the servers of `config`, which came by these options, until a signal or a request to stop. Exit
/// code 1 if they cannot be run at all.
pub fn run(options: &RunOptions, surroundings: &Surroundings, config: Config) -> ExitCode {
    match Daemon::open(options, surroundings, config) {
        Ok(mut daemon) => match daemon.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                log::error!(target: "muxloop", "{why}");
                ExitCode::FAILURE
            }
        },
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
    listeners: SortedMap<String, usize>,
    /// Every call that changes it is told to `tape` first: a replay makes the same calls.
    engine: Engine,
    reactor: Reactor,
    snapshots: Snapshots,
    service: Service,
    audit: Option<AuditLog>,
    findings: Findings,
    lists: ListFiles,
    unix_ms_at_start: u64,
    /// Where everything is recorded, with `muxloop record`.
    tape: Tape,
    login: LoginPath,
    #[cfg(feature = "gateway")]
    endpoints: gateway::Endpoints,
    #[cfg(feature = "gateway")]
    serving: serve::Serving,
    #[cfg(feature = "http")]
    http: http::HttpDoors,
}

impl<'o> Daemon<'o> {
    /// Opens every socket before any process is started: what cannot be had is known at once.
    fn open(
        options: &'o RunOptions,
        surroundings: &'o Surroundings,
        mut config: Config,
    ) -> Result<Daemon<'o>, String> {
        #[cfg(feature = "control")]
        let control = control_path(options, surroundings, &config)?;
        #[cfg(not(feature = "control"))]
        let control: Option<PathBuf> = None;
        let mut doors = Doors::take(&config, control.as_deref());
        let mut reactor =
            Reactor::for_daemon().map_err(|error| format!("the poll loop cannot be set up: {error}"))?;
        let mut login = LoginPath::default();
        login.fill(&mut config, login::AT_START);
        let unix_ms_at_start = reactor.clock.unix_ms_at_start();
        let findings = Findings::open(surroundings.cache_folder(), unix_ms_at_start);
        let mut setups = Vec::new();
        let mut listeners = SortedMap::new();
        for server in &config.servers {
            setups.push(setup(server, &findings));
            if options.serve.is_some() {
                continue;
            }
            let listener = match doors.servers.remove(&server.policy.name) {
                Some(socket) => take_over(&mut reactor, server, socket)?,
                None => listen(&mut reactor, server)?,
            };
            listeners.insert(server.policy.name.clone(), listener);
        }
        let mut seed = [0; 8];
        reactor.random(&mut seed);
        let seed = u64::from_le_bytes(seed);
        let tape = match &options.record {
            #[cfg(feature = "inspect")]
            Some(path) => record(path)?,
            _ => Tape::default(),
        };
        tape.header(&setups, seed, unix_ms_at_start);
        let mut engine = Engine::new(setups, seed);
        let cache = if tape.is_on() { None } else { surroundings.cache_folder() };
        let mut lists = ListFiles::open(cache);
        #[cfg(feature = "gateway")]
        collisions::check(&config, &engine, &lists)?;
        for id in 0..engine.places() {
            lists.recall(reactor.clock.now(), &mut engine, id);
        }
        #[cfg(feature = "control")]
        if let Some(path) = control {
            open_control(&mut engine, &mut reactor, &path, doors.control, &config, &tape)?;
        }
        #[cfg(feature = "gateway")]
        let endpoints = {
            let mut endpoints = gateway::Endpoints::default();
            endpoints.change(reactor.clock.now(), &mut engine, &mut reactor, &config, &tape);
            endpoints
        };
        #[cfg(feature = "http")]
        let http = {
            let mut doors = http::HttpDoors::default();
            http::warn_of_exposure(&config.http);
            doors.change(&mut engine, &mut reactor, &config, &tape)?;
            doors
        };
        #[cfg(feature = "gateway")]
        let serving = serve::Serving::open(options.serve.as_ref(), &config, &mut engine, &mut reactor)?;
        let (snapshots, service) = (Snapshots::of(&config), Service::from_env());
        let audit = AuditLog::open(&config.audit)?;
        engine.set_audit(audit.as_ref().map(AuditLog::wants_arguments));
        Ok(Daemon {
            options,
            surroundings,
            config,
            listeners,
            engine,
            reactor,
            snapshots,
            service,
            audit,
            findings,
            lists,
            unix_ms_at_start,
            tape,
            login,
            #[cfg(feature = "gateway")]
            endpoints,
            #[cfg(feature = "gateway")]
            serving,
            #[cfg(feature = "http")]
            http,
        })
    }

    /// Until the end. An error before anybody was served.
    fn serve(&mut self) -> Result<(), String> {
        let mut ready = Vec::new();
        self.begin();
        self.service.ready(self.reactor.clock.now(), &self.engine, &self.reactor);
        #[cfg(feature = "gateway")]
        self.serving.ready(self.http_port())?;
        resident::forget_start();
        let mut at_rest = false;
        while !self.engine.is_finished() {
            self.keep_journal();
            let now = self.reactor.clock.now();
            self.snapshots.keep(now, &self.engine, &self.reactor);
            self.service.keep(now, &self.engine, &self.reactor);
            let due = [
                self.engine.deadline(now),
                self.snapshots.due(),
                self.service.due(now),
                self.lists.due(),
                self.serving_due(now),
            ];
            let due = due.into_iter().flatten().min();
            let mut wait = due.map(|at| Duration::from_millis(at.since(now)));
            if !at_rest && wait.is_none_or(|wait| wait >= REST) {
                // Now the servers have been started, too.
                at_rest = true;
                resident::forget_start();
            }
            if journal::pending() {
                // A stalled stderr that reads on wakes nobody.
                wait = Some(wait.map_or(LOG_RETRY, |wait| wait.min(LOG_RETRY)));
            }
            if let Err(error) = self.reactor.wait(wait, &mut ready) {
                log::error!(target: "muxloop", "the kernel refuses to be polled: {error}");
                return Ok(());
            }
            self.turn(&ready);
            #[cfg(feature = "gateway")]
            self.serving.keep(self.reactor.clock.now(), &mut self.engine);
            self.findings.keep(self.reactor.clock.now(), &mut self.engine);
            self.lists.keep(self.reactor.clock.now(), &mut self.engine);
            #[cfg(feature = "http")]
            if self.engine.is_stopping() {
                self.http.close(&mut self.reactor);
            }
            for wish in self.engine.take_wishes() {
                match wish {
                    Wish::Reload(ticket) => {
                        self.service.reloading();
                        self.reload(ticket);
                        self.service.reloaded();
                    }
                    Wish::Reopen => self.reopen(),
                }
            }
            self.keep_audit();
        }
        #[cfg(feature = "gateway")]
        self.serving.last();
        self.snapshots.last(self.reactor.clock.now(), &self.engine, &self.reactor);
        self.lists.last(&mut self.engine);
        self.tape.end();
        log::info!(target: "muxloop", "stopped");
        Ok(())
    }

    fn serving_due(&self, _now: Time) -> Option<Time> {
        #[cfg(feature = "gateway")]
        return self.serving.due(_now);
        #[cfg(not(feature = "gateway"))]
        None
    }

    #[cfg(feature = "gateway")]
    fn http_port(&self) -> Option<u16> {
        #[cfg(all(feature = "control", feature = "http"))]
        return self.http.port(&self.reactor);
        #[cfg(not(all(feature = "control", feature = "http")))]
        None
    }

    fn keep_audit(&mut self) {
        if let Some(audit) = &mut self.audit {
            audit.keep(&mut self.engine, self.unix_ms_at_start);
        }
    }

    /// SIGUSR1: log files may have been moved away.
    fn reopen(&mut self) {
        if let Some(audit) = &mut self.audit {
            match audit.reopen() {
                Ok(()) => log::info!(target: "muxloop", "the audit file was opened again"),
                Err(error) => {
                    log::error!(target: "muxloop", "the audit file cannot be opened again: {error}")
                }
            }
        }
    }

    fn begin(&mut self) {
        let now = self.reactor.clock.now();
        self.tape.begin(now);
        match self.tape.is_on() {
            false => self.engine.begin(now, &mut self.reactor),
            true => self.engine.begin(now, &mut Recorder::new(&mut self.reactor, &self.tape)),
        }
    }

    fn turn(&mut self, ready: &[Ready]) {
        let now = self.reactor.clock.now();
        if !self.tape.is_on() {
            return self.engine.turn(now, ready, &mut self.reactor);
        }
        self.tape.turn(now, ready);
        self.engine.turn(now, ready, &mut Recorder::new(&mut self.reactor, &self.tape));
        self.tape.flush();
    }

    /// Writes log lines, and keeps them for `muxloop logs`.
    fn keep_journal(&mut self) {
        #[cfg(feature = "gateway")]
        if journal::pending() {
            self.serving.keep_log();
        }
        journal::flush();
        #[cfg(feature = "control")]
        for news in journal::take_news() {
            let server = news.server.as_deref().map(|name| self.engine.server_named(name));
            if let Some(None) = server {
                continue;
            }
            let now = self.reactor.clock.now();
            self.tape.log(now, server.flatten(), &news.text);
            self.engine.note_log(now, server.flatten(), news.text);
        }
    }
}

/// Opens the file of a recording.
#[cfg(feature = "inspect")]
fn record(path: &Path) -> Result<Tape, String> {
    let tape = Tape::create(path).map_err(|why| format!("record: {why}"))?;
    let file = path.display();
    log::warn!(target: "muxloop", "recording to {file}: every message will be in it, with all arguments");
    Ok(tape)
}

/// Listens for the clients of a server.
fn listen(reactor: &mut Reactor, server: &ServerConfig) -> Result<usize, String> {
    let name = &server.policy.name;
    let listener = reactor.listen(&server.socket).map_err(|error| format!("server '{name}': {error}"))?;
    log::info!(target: &format!("server::{name}"), "listening on {}", server.socket.display());
    Ok(listener)
}

/// Serves a server's clients at a socket that the service manager opened.
fn take_over(reactor: &mut Reactor, server: &ServerConfig, socket: Handed) -> Result<usize, String> {
    let name = &server.policy.name;
    let target = &format!("server::{name}");
    log::info!(target: target, "listening on {socket}, opened by the service manager");
    if socket.path.as_deref().is_some_and(|path| !is_same_place(path, &server.socket)) {
        let path = server.socket.display();
        log::warn!(target: target, "its clients don't find it at {path}, which the configuration names");
    }
    reactor.listen_at(socket).map_err(|error| format!("server '{name}': {error}"))
}

fn setup(server: &ServerConfig, findings: &Findings) -> ServerSetup {
    ServerSetup {
        policy: ServerPolicy { found: findings.of(&server.spawn), ..server.policy.clone() },
        spawn: server.spawn.clone(),
        socket: server.socket.display().to_string(),
        service_name: server.service_name.clone(),
    }
}

/// Where the control socket is to be, if there is to be one.
#[cfg(feature = "control")]
fn control_path(
    options: &RunOptions,
    surroundings: &Surroundings,
    config: &Config,
) -> Result<Option<PathBuf>, String> {
    let given = options.control.as_deref();
    #[cfg(feature = "gateway")]
    if let Some(project) =
        options.serve.as_ref().filter(|serve| serve.daemon).and_then(|serve| serve.found.as_ref())
    {
        return Ok(Some(project.state.control()));
    }
    // Each host has one of its own, and only one of them could have the place.
    if given.is_none() && options.serve.as_ref().is_some_and(|serve| serve.has_host()) {
        return Ok(None);
    }
    match place(given, config.control.as_deref(), &config.path, surroundings)? {
        Place::At(path) => Ok(Some(path)),
        Place::Off => Ok(None),
    }
}

#[cfg(feature = "control")]
fn open_control(
    engine: &mut Engine,
    reactor: &mut Reactor,
    path: &Path,
    handed: Option<Handed>,
    config: &Config,
    tape: &Tape,
) -> Result<(), String> {
    let opened = match handed {
        Some(socket) => reactor.listen_at(socket),
        None => reactor.listen(path),
    };
    let listener = opened.map_err(|error| format!("control socket: {error}"))?;
    log::debug!(target: "muxloop", "control socket at {}", path.display());
    let host = Host {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        config: absolute(&config.path).display().to_string(),
        unix_ms: reactor.clock.unix_ms_at_start(),
    };
    tape.open_control(listener, &host);
    engine.open_control(listener, host);
    Ok(())
}

/// With nothing to do for so long, muxloop is at rest.
const REST: Duration = Duration::from_millis(500);
/// Pause between attempts to write log lines to a stderr that nobody reads.
const LOG_RETRY: Duration = Duration::from_millis(100);
