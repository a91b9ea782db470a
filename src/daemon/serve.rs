//! `muxloop serve` (H01, H05): who reaches the merged endpoint besides by HTTP, and when that is over.

#[cfg(feature = "control")]
use super::project::Keeper;
use crate::base::{Key, Time};
use crate::cli::ServeOptions;
use crate::config::gateway::NAME;
use crate::config::{Config, Surroundings};
use crate::engine::Engine;
use crate::reactor::Reactor;
use crate::reactor::logfile::LogFile;
use crate::reactor::standard::Standard;
use std::path::{Path, PathBuf};

/// Makes the options final, and a daemon of this process, before it has opened anything: nothing that it has
/// inherited but its standard streams stays open, and what it is started in may be deleted or unmounted.
///
/// # Errors
/// In words: there is no such project, or a path is wrong.
pub fn prepare(
    options: &mut ServeOptions,
    config: Option<&Path>,
    surroundings: &Surroundings,
) -> Result<(), String> {
    let absolute = |path: &mut Option<PathBuf>, option: &str| -> Result<(), String> {
        let Some(text) = path.as_deref().and_then(Path::to_str).filter(|text| *text != "-") else {
            return Ok(());
        };
        let expanded = surroundings.expand(text).map_err(|why| format!("--{option} {text}: {why}"))?;
        *path = Some(std::path::absolute(&expanded).unwrap_or(expanded));
        Ok(())
    };
    absolute(&mut options.socket, "socket")?;
    absolute(&mut options.log, "log")?;
    #[cfg(feature = "control")]
    {
        use crate::reactor::sys;
        if options.daemon {
            sys::close_from(3);
            // Whoever leads a process group, since a shell started it, stays in its session.
            let _ = sys::new_session();
        }
        options.find(config, surroundings)?;
        if options.daemon {
            std::env::set_current_dir("/").map_err(|error| format!("/: {error}"))?;
        }
        Ok(())
    }
    #[cfg(not(feature = "control"))]
    {
        let _ = config;
        match options.daemon || options.project.is_some() {
            true => Err("--daemon-mode, --project: need the feature `control` when muxloop is built".into()),
            false => Ok(()),
        }
    }
}

/// From here on, what would be said on standard error is in the log file, if there is to be one.
///
/// # Errors
/// In words, to be said on standard error.
pub fn redirect_log(options: &ServeOptions) -> Result<(), String> {
    open_log(options).map(|_| ())
}

fn open_log(options: &ServeOptions) -> Result<Option<LogFile>, String> {
    let Some(path) = options.log_file() else { return Ok(None) };
    let said = |error| format!("--log {}: {error}", path.display());
    #[cfg(feature = "control")]
    if options.log.is_none()
        && let Some(folder) = path.parent()
    {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(said)?;
    }
    LogFile::take_over(&path).map(Some).map_err(said)
}

/// The ways in.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// The host on standard input and output.
    host: Option<Key>,
    log: Option<LogFile>,
    #[cfg(feature = "control")]
    keeper: Option<Keeper>,
}

impl Serving {
    /// Opens them; the merged endpoint is there.
    ///
    /// # Errors
    /// In words that name what cannot be had.
    pub(super) fn open(
        options: Option<&ServeOptions>,
        config: &Config,
        engine: &mut Engine,
        reactor: &mut Reactor,
    ) -> Result<Serving, String> {
        let Some(options) = options else { return Ok(Serving::default()) };
        let merged = engine.server_named(NAME).ok_or("there is no endpoint of all servers")?;
        engine.take_requests_up_to(merged, largest_request(config));
        let mut serving = Serving { log: open_log(options)?, ..Serving::default() };
        if let Some(path) = &options.socket {
            let listener = reactor.listen(path).map_err(|error| format!("--socket: {error}"))?;
            log::info!(target: "gateway", "listening on {}", path.display());
            engine.open_door(listener, merged);
        }
        #[cfg(feature = "control")]
        if let Some(project) = options.found.as_ref().filter(|_| options.daemon) {
            let idle_exit_ms = config.idle_exit.ms;
            serving.keeper = Some(Keeper::open(project, idle_exit_ms, engine, reactor)?);
        }
        if options.has_host() {
            let host = Standard::open().map_err(|error| format!("standard input and output: {error}"))?;
            let now = reactor.clock.now();
            let host = engine.admit_host(now, Box::new(host), merged, reactor);
            serving.host = Some(host.ok_or("standard input and output cannot be watched")?);
        }
        Ok(serving)
    }

    /// After a reload.
    pub(super) fn change(&mut self, config: &Config, engine: &mut Engine) {
        if let Some(merged) = engine.server_named(NAME) {
            engine.take_requests_up_to(merged, largest_request(config));
        }
        #[cfg(feature = "control")]
        if let Some(keeper) = &mut self.keeper {
            keeper.idle_exit_ms = config.idle_exit.ms;
        }
    }

    /// At the end, while all sockets are still there: nobody else has the files then.
    pub(super) fn last(&mut self) {
        #[cfg(feature = "control")]
        drop(self.keeper.take());
    }

    /// All sockets listen and the servers that are not lazy were started; `port` is that of HTTP.
    ///
    /// # Errors
    /// It cannot be told.
    pub(super) fn ready(&mut self, port: Option<u16>) -> Result<(), String> {
        #[cfg(feature = "control")]
        if let Some(keeper) = &mut self.keeper {
            keeper.ready(port)?;
        }
        let _ = port;
        Ok(())
    }

    /// After a turn: without its host or its clients, the process has nothing to do.
    pub(super) fn keep(&mut self, now: Time, engine: &mut Engine) {
        if self.host.is_some_and(|host| !engine.is_connected(host)) {
            self.host = None;
            log::info!(target: "muxloop", "the host has closed standard input and has all answers");
            engine.stop(now);
        }
        #[cfg(feature = "control")]
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(now, engine);
        }
    }

    /// When [`Serving::keep`] has something to do although nothing else happens.
    pub(super) fn due(&self, now: Time) -> Option<Time> {
        #[cfg(feature = "control")]
        return self.keeper.as_ref()?.due(now);
        #[cfg(not(feature = "control"))]
        {
            let _ = now;
            None
        }
    }

    /// Log lines are about to be written.
    pub(super) fn keep_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.keep();
        }
    }
}

/// What the largest of the servers takes.
fn largest_request(config: &Config) -> usize {
    config.servers.iter().map(|server| server.policy.max_request_bytes).max().unwrap_or_default()
}
