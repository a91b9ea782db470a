//! The way to a project's daemon, which is started if there is none.
//!
//! ```text
//! lock the folder ─▶ hello at control.sock ─┬─ ours ─────────────▶ connect to daemon.sock ─▶ unlock
//!       ▲                                   ├─ nobody ───────────▶ start one, wait for its word ─┐
//!       │                                   └─ other version, no clients ─▶ end it ──────────────┤
//!       └────────────────────────────────────────────────────────────────── again ◀─────────────┘
//! ```
//!
//! The lock is on the state folder itself, held from before the look until the connection is in the
//! daemon's queue. A daemon takes it to end for lack of clients, so it never ends under one that has just come.
//! Process ids are never asked: a number may be another's by now.

use super::project::Project;
use crate::client::control::Control;
use crate::client::{EXIT_NOT_RUNNING, Failure};
use crate::control::{Json, Report};
use crate::proxy::way::{Way, connect};
use crate::reactor::logfile;
use crate::reactor::poll::{Interest, poll};
use crate::reactor::process::in_own_session;
use crate::reactor::sys;
use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The daemon of a project, as the shim reaches for it.
#[derive(Debug)]
pub struct Daemon {
    project: Project,
    /// Of the daemon if it is started here, as an option of `serve`.
    level: Option<String>,
    /// Those that were started here, until they are collected.
    started: Vec<Child>,
    /// What was said already of one of another version.
    warned: Option<String>,
}

impl Daemon {
    pub fn of(project: Project, level: Option<String>) -> Daemon {
        Daemon { project, level, started: Vec::new(), warned: None }
    }

    /// A connection to the daemon.
    ///
    /// # Errors
    /// In words that say where the log is.
    pub fn reach(&mut self) -> Result<UnixStream, String> {
        self.started.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
        let _lock = lock(&self.project.state.folder)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.look(deadline)? {
                Found::Daemon => match connect(&self.project.state.socket()) {
                    Ok(socket) => return Ok(socket),
                    Err(error) if Instant::now() >= deadline => {
                        let path = self.project.state.socket();
                        return Err(self.with_log(&format!("cannot connect to {}: {error}", path.display())));
                    }
                    // It is ending.
                    Err(_) => sleep(PAUSE),
                },
                Found::Nobody => self.start()?,
                Found::Ended => {}
            }
        }
    }

    /// Who is there.
    fn look(&mut self, deadline: Instant) -> Result<Found, String> {
        let path = self.project.state.control();
        let is_ours = |control: &Control| control.hello.version == VERSION;
        loop {
            match Control::open(&path) {
                Ok(control) if is_ours(&control) => return Ok(Found::Daemon),
                Ok(control) => return Ok(self.replace(control, deadline)),
                Err(failure) if failure.code == EXIT_NOT_RUNNING => return Ok(Found::Nobody),
                // It may be busy, or about to end.
                Err(failure) if Instant::now() >= deadline => return Err(self.with_log(&failure.text)),
                Err(_) => sleep(PAUSE),
            }
        }
    }

    /// A daemon of another version ends, unless it has clients.
    fn replace(&mut self, mut control: Control, deadline: Instant) -> Found {
        let other = control.hello.version.clone();
        match clients(&mut control) {
            Ok(0) if control.call("shutdown", "{}", ANSWER_MAX).is_ok() => {
                log::info!(target: "connect", "the daemon was of version {other}, without clients: it is replaced");
                // Its sockets are gone a moment later, if the connection ends first.
                control.wait_end(deadline.max(Instant::now() + STOP_MAX));
                sleep(PAUSE);
                Found::Ended
            }
            _ => {
                let text = format!(
                    "the project's daemon is muxloop {other} and has clients, so this one, muxloop {VERSION}, \
                     joins them; it is replaced once they are gone"
                );
                if self.warned.as_ref() != Some(&text) {
                    log::warn!(target: "connect", "{text}");
                    self.warned = Some(text);
                }
                Found::Daemon
            }
        }
    }

    /// Starts one and waits for its word.
    fn start(&mut self) -> Result<(), String> {
        let log = self.project.state.log();
        let file = logfile::open(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let before = file.metadata().map_or(0, |found| found.len());
        let mut child =
            self.command(file).spawn().map_err(|error| format!("cannot start a daemon: {error}"))?;
        let word = child.stdout.take().map(|mut stdout| wait_for_word(&mut stdout)).unwrap_or(Word::None);
        match word {
            Word::Ready => {
                log::info!(target: "connect", "started the project's daemon, process {}", child.id());
                self.started.push(child);
                Ok(())
            }
            Word::None => {
                let _ = child.kill();
                let status = child.wait().map(|status| status.to_string()).unwrap_or_default();
                Err(format!("the daemon ended at its start ({status})\n{}", quote_log(&log, before)))
            }
            Word::Late => {
                let _ = child.kill();
                let _ = child.wait();
                let waited = START_MAX.as_secs();
                Err(format!("the daemon was not ready after {waited} s\n{}", quote_log(&log, before)))
            }
        }
    }

    fn command(&self, log: File) -> Command {
        // The running program itself, even if its file was replaced meanwhile.
        let own = if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { env::current_exe() };
        let mut command = Command::new(own.unwrap_or_else(|_| "muxloop".into()));
        command.arg0("muxloop").args(["serve", "--daemon-mode"]);
        command.arg("--project").arg(&self.project.folder);
        if self.project.is_named {
            command.arg("-c").arg(&self.project.config);
        }
        if let Some(level) = &self.level {
            command.args(["--log-level", level]);
        }
        NOT_INHERITED.iter().for_each(|name| _ = command.env_remove(name));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        in_own_session(&mut command);
        command
    }

    fn with_log(&self, text: &str) -> String {
        format!("{text}\nits log is {}", self.project.state.log().display())
    }
}

/// For the shim, which reaches for it at the start and whenever the connection is lost.
impl Way for Daemon {
    fn open(&mut self) -> io::Result<UnixStream> {
        self.reach().map_err(io::Error::other)
    }

    fn explain(&self, error: &io::Error, _was_up: bool) -> String {
        error.to_string()
    }

    fn name(&self) -> String {
        format!("of the project {}", self.project.folder.display())
    }
}

enum Found {
    /// One to connect to.
    Daemon,
    Nobody,
    /// One has just ended.
    Ended,
}

/// Clients of the merged endpoint.
fn clients(control: &mut Control) -> Result<usize, Failure> {
    let answer = control.call("status", "{}", ANSWER_MAX)?;
    let report = Report::read(Json::new(answer.as_bytes())).unwrap_or_default();
    let merged = report.servers.iter().find(|server| server.name == "gateway");
    Ok(merged.map_or(report.clients, |server| server.clients))
}

/// Locks the folder, which is made if it is not there.
fn lock(folder: &Path) -> Result<File, String> {
    let said = |error: io::Error| format!("{}: {error}", folder.display());
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(said)?;
    let found = fs::metadata(folder).map_err(said)?;
    if found.uid() != sys::effective_uid() {
        return Err(format!("{} belongs to another user ({})", folder.display(), found.uid()));
    }
    if !sys::may_write(folder) {
        return Err(format!("{}: cannot be written to", folder.display()));
    }
    let file = File::open(folder).map_err(said)?;
    let deadline = Instant::now() + LOCK_MAX;
    loop {
        match sys::lock(file.as_fd()) {
            Ok(()) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                sleep(PAUSE);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let waited = LOCK_MAX.as_secs();
                return Err(format!(
                    "{} has been locked by another process for {waited} s",
                    folder.display()
                ));
            }
            Err(error) => return Err(format!("{} cannot be locked: {error}", folder.display())),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Ready,
    /// It has closed its output, so it ends.
    None,
    Late,
}

/// A line on standard output is the daemon's word that it is ready.
fn wait_for_word(stdout: &mut (impl Read + AsRawFd)) -> Word {
    let deadline = Instant::now() + START_MAX;
    let ask = Interest { descriptor: stdout.as_raw_fd(), readable: true, writable: false };
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as i32;
        match poll([ask], left) {
            Ok([ready]) if ready.readable || ready.broken => {
                let mut buf = [0; 512];
                match stdout.read(&mut buf) {
                    Ok(n) if buf[..n].contains(&b'\n') => return Word::Ready,
                    Ok(0) | Err(_) => return Word::None,
                    Ok(_) => {}
                }
            }
            _ if left == 0 => return Word::Late,
            _ => {}
        }
    }
}

/// Where the log is, and its last lines since `from`.
fn quote_log(path: &Path, from: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        // A log that was begun anew is shorter.
        let from = if from > len { 0 } else { from }.max(len.saturating_sub(QUOTE_BYTES));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(QUOTE_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(QUOTE_LINES)..];
    match last {
        [] => format!("its log, {}, says nothing", path.display()),
        _ => format!("its log, {}, says:\n  {}", path.display(), last.join("\n  ")),
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Variables that are about the shim's own process, or would make the daemon another than it is to be.
const NOT_INHERITED: [&str; 17] = [
    "MUXLOOP_CHILD",
    "MUXLOOP_CONFIG",
    "MUXLOOP_CONTROL",
    "MUXLOOP_DAEMON_MODE",
    "MUXLOOP_LOG_FILE",
    "MUXLOOP_OWNER",
    "MUXLOOP_PROFILE",
    "MUXLOOP_PROJECT",
    "MUXLOOP_SERVE_SOCKET",
    "MUXLOOP_SERVE_STDIO",
    "MUXLOOP_TRANSPORT",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// How long the first look may take: a daemon that ends, or is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long others may be at it: a start, or an end with its servers.
const LOCK_MAX: Duration = Duration::from_secs(60);
/// How long a daemon may take until it is ready. A login shell may be asked for its PATH first.
const START_MAX: Duration = Duration::from_secs(30);
/// How long one may take to end with its servers.
const STOP_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);
/// Of the log, in an error.
const QUOTE_LINES: usize = 10;
const QUOTE_BYTES: u64 = 4 << 10;
