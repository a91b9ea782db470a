//! The daemon of a project (H05): its files, and its end some time after its last client.
//!
//! | in `~/.muxloop/projects/NAME-HASH/` | what |
//! |---|---|
//! | `daemon.sock`, `control.sock` | the merged endpoint, the control socket; with a `.lock` each, which `kill -9` frees |
//! | `daemon.pid`, `daemon.port` | a number and a line's end; the port of HTTP, if that is served |
//! | `clients.json` | `{"daemon":{"pid":1,"version":"…"},"clients":[{"id":1,"pid":2}]}` |
//! | `daemon.log`, `daemon.log.1` | what stays |
//!
//! The way here is [`crate::connect::reach`]'s, and so is what the folder's lock means.

use crate::base::Time;
use crate::config::gateway::NAME;
use crate::connect::project::{Project, State};
use crate::engine::Engine;
use crate::reactor::{Reactor, sys};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The files and the clock.
#[derive(Debug)]
pub(super) struct Keeper {
    state: State,
    /// 0: it stays.
    pub(super) idle_exit_ms: u64,
    idle_since: Option<Time>,
    /// When the lock is tried again.
    retry_at: Time,
    /// Nobody is on the way here while it is held; if nobody is here by then, it is over.
    lock: Option<File>,
    /// The engine's count of connections come and gone, as of the last look.
    seen: Option<u64>,
    visitors: usize,
    /// `clients.json` is not true any more, and may be written from then on.
    stale: bool,
    write_at: Time,
}

impl Keeper {
    /// Listens for the project's clients and writes what says so. What a daemon left behind that was killed is
    /// replaced.
    ///
    /// # Errors
    /// In words: another daemon is there, or the files cannot be written.
    pub(super) fn open(
        project: &Project,
        idle_exit_ms: u64,
        engine: &mut Engine,
        reactor: &mut Reactor,
    ) -> Result<Keeper, String> {
        let state = project.state.clone();
        let merged = engine.server_named(NAME).ok_or("there is no endpoint of all servers")?;
        let listener = reactor.listen(&state.socket()).map_err(|error| format!("daemon: {error}"))?;
        engine.open_door(listener, merged);
        let keeper = Keeper {
            state,
            idle_exit_ms,
            idle_since: None,
            retry_at: Time(0),
            lock: None,
            seen: None,
            visitors: 0,
            stale: true,
            write_at: Time(0),
        };
        keeper.remove_files();
        let pid = std::process::id();
        write(&keeper.state.pid(), format!("{pid}\n").as_bytes())?;
        log::info!(
            target: "muxloop",
            "daemon of the project {}, version {}, process {pid}",
            project.folder.display(),
            env!("CARGO_PKG_VERSION")
        );
        Ok(keeper)
    }

    /// Everything listens: tells whoever started it, by a line on standard output, which is closed then.
    ///
    /// # Errors
    /// The port cannot be written down.
    pub(super) fn ready(&mut self, port: Option<u16>) -> Result<(), String> {
        if let Some(port) = port {
            write(&self.state.port(), format!("{port}\n").as_bytes())?;
        }
        let word = json!({
            "ready": true,
            "pid": std::process::id(),
            "socket": self.state.socket().to_string_lossy(),
            "control": self.state.control().to_string_lossy(),
            "port": port,
        });
        // Whoever has gone meanwhile does not need to know.
        let _ = writeln!(io::stdout(), "{word}");
        let nothing = OpenOptions::new().read(true).write(true).open("/dev/null");
        if let Ok(nothing) = nothing {
            let _ = sys::replace(0, nothing.as_fd());
            let _ = sys::replace(1, nothing.as_fd());
        }
        Ok(())
    }

    /// After a turn.
    pub(super) fn keep(&mut self, now: Time, engine: &mut Engine) {
        if self.seen != Some(engine.turnover()) {
            self.seen = Some(engine.turnover());
            self.visitors = engine.visitors();
            self.stale = true;
        }
        if self.stale && now >= self.write_at {
            self.stale = false;
            self.write_at = now + WRITE_PAUSE_MS;
            if let Err(why) = self.write_clients(engine) {
                log::warn!(target: "muxloop", "{why}");
            }
        }
        self.end_if_idle(now, engine);
    }

    fn end_if_idle(&mut self, now: Time, engine: &mut Engine) {
        if self.visitors > 0 || engine.is_stopping() {
            self.idle_since = None;
            self.lock = if engine.is_stopping() { self.lock.take() } else { None };
            return;
        }
        let since = *self.idle_since.get_or_insert(now);
        if self.lock.is_some() {
            // A turn has passed since nobody can be on the way.
            log::info!(target: "muxloop", "no client for {} ms: the daemon ends", now.since(since));
            engine.stop(now);
        } else if self.idle_exit_ms > 0 && now >= self.ends_at(since) {
            let lock = File::open(&self.state.folder).and_then(|folder| {
                sys::lock(folder.as_fd())?;
                Ok(folder)
            });
            match lock {
                Ok(lock) => self.lock = Some(lock),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.retry_at = now + RETRY_MS,
                Err(error) => {
                    // Its folder was deleted under it: nobody can find it any more.
                    log::warn!(target: "muxloop", "{}: {error}", self.state.folder.display());
                    engine.stop(now);
                }
            }
        }
    }

    fn ends_at(&self, since: Time) -> Time {
        (since + self.idle_exit_ms).max(self.retry_at)
    }

    /// When [`Keeper::keep`] has something to do although nothing else happens.
    pub(super) fn due(&self, now: Time) -> Option<Time> {
        let write = self.stale.then_some(self.write_at);
        let end = match (&self.lock, self.idle_since) {
            (Some(_), _) => Some(now),
            (None, Some(since)) if self.idle_exit_ms > 0 => Some(self.ends_at(since)),
            _ => None,
        };
        [write, end].into_iter().flatten().min()
    }

    fn write_clients(&self, engine: &Engine) -> Result<(), String> {
        let clients: Vec<_> = engine
            .visitors_on_sockets()
            .into_iter()
            .map(|(id, pid)| json!({ "id": id, "pid": pid }))
            .collect();
        let daemon = json!({ "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION") });
        let text = json!({ "daemon": daemon, "clients": clients }).to_string();
        let (new, path) = (self.state.new_clients(), self.state.clients());
        write(&new, text.as_bytes())?;
        fs::rename(&new, &path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn remove_files(&self) {
        for path in self.state.passing() {
            let _ = fs::remove_file(path);
        }
    }
}

/// Before the sockets are gone: until then nobody else has the files.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.remove_files();
    }
}

/// Writes a small file that is the user's alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// Shortest time between two lists of clients, in milliseconds.
const WRITE_PAUSE_MS: u64 = 100;
/// Until the lock is tried again, in milliseconds.
const RETRY_MS: u64 = 100;
