//! [`Beside`]: the daemon as a child of the dashboard (`run --tui`).

use super::app::App;
use crate::base::RecvBuf;
use crate::cli::{RunOptions, TUI_VARIABLE};
use crate::client::text::plain;
use crate::client::{Failure, Target};
use crate::codec::line::{Line, LineFramer};
use crate::config::Surroundings;
use crate::control::path::{self, Place};
use crate::reactor::sys;
use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};

/// The child, and what it said.
#[derive(Debug)]
pub struct Beside {
    child: Child,
    stderr: ChildStderr,
    received: RecvBuf,
    framer: LineFramer,
    /// Its end was asked for.
    stopping: bool,
    /// Its stderr has ended.
    is_silent: bool,
    /// The newest lines, for who has no screen any more.
    last_lines: VecDeque<String>,
}

/// Checks the configuration while there is still a terminal to complain to, and tells where the daemon will
/// listen.
///
/// # Errors
/// The configuration is wrong, or has no control socket.
pub fn target(options: &RunOptions, surroundings: &Surroundings) -> Result<Target, Failure> {
    let config = options.load(surroundings).map_err(Failure::usage)?.config;
    let place =
        path::place(options.control.as_deref(), config.control.as_deref(), &config.path, surroundings);
    match place.map_err(Failure::usage)? {
        Place::At(socket) => Ok(Target { config: None, control: Some(socket) }),
        Place::Off => Err(Failure::usage("--tui needs the control socket, and control is \"off\"")),
    }
}

impl Beside {
    /// Starts this program as the daemon.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(options: &RunOptions) -> Result<Beside, Failure> {
        let failed = |error| Failure::other(format!("muxloop cannot start itself: {error}"));
        let mut child = daemon(options).and_then(|mut daemon| daemon.spawn()).map_err(failed)?;
        let stderr = child.stderr.take().ok_or_else(|| Failure::other("the daemon has no stderr"))?;
        sys::set_nonblocking(stderr.as_fd()).map_err(failed)?;
        Ok(Beside {
            child,
            stderr,
            received: RecvBuf::new(),
            framer: LineFramer::new(LINE_MAX),
            stopping: false,
            is_silent: false,
            last_lines: VecDeque::new(),
        })
    }

    /// Negative once it says nothing more.
    pub fn descriptor(&self) -> i32 {
        if self.is_silent { -1 } else { self.stderr.as_raw_fd() }
    }

    /// Takes what it said.
    pub fn turn(&mut self, app: &mut App) {
        app.log.get_or_insert_default();
        self.read(|line| app.on_log(line));
    }

    /// Its exit code, once it has ended and all it said was read.
    pub fn ended(&mut self) -> Option<u8> {
        let status = self.child.try_wait().ok()??;
        // The rest is in the pipe by now.
        self.read(|_| {});
        Some(status.code().map_or(1, |code| code as u8))
    }

    /// Ends it; asked for once more, at once.
    pub fn stop(&mut self, app: &mut App) {
        if std::mem::replace(&mut self.stopping, true) {
            // It may have ended by itself.
            let _ = self.child.kill();
            return;
        }
        self.signal();
        app.say("muxloop and its servers are stopping; q once more kills it".to_owned(), false);
    }

    /// Ends it and waits for that, without a screen.
    pub fn finish(mut self) {
        self.signal();
        // Nobody reads what it says, and it must not wait for that.
        let _ = self.child.wait();
    }

    /// What it said last, to the terminal.
    pub fn say_why(&self) {
        for line in &self.last_lines {
            eprintln!("{line}");
        }
    }

    fn signal(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended by itself; not reaped yet, its number is still its own.
            let _ = sys::signal_process(pid, libc::SIGTERM);
        }
    }

    fn read(&mut self, mut each: impl FnMut(String)) {
        for _ in 0..READS_MAX {
            match self.stderr.read(self.received.spare(READ)) {
                Ok(n) if n > 0 => self.received.advance(n),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => {
                    self.is_silent = true;
                    break;
                }
            }
        }
        while let Some(line) = self.framer.next(&mut self.received) {
            let Line::Line(line) = line else { continue };
            let line = plain(&String::from_utf8_lossy(line));
            if self.last_lines.len() == LAST_LINES {
                self.last_lines.pop_front();
            }
            self.last_lines.push_back(line.clone());
            each(line);
        }
    }
}

impl Drop for Beside {
    /// A dashboard that fails does not leave behind what it started.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal();
        }
    }
}

/// This program as the daemon.
fn daemon(options: &RunOptions) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments(options)).env_remove(TUI_VARIABLE);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // A key of the terminal must not reach it, only what the dashboard decides.
    command.process_group(0);
    Ok(command)
}

/// The daemon's command line.
fn arguments(options: &RunOptions) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["run".into()];
    let mut give = |option: &str, value: OsString| {
        arguments.extend([option.into(), value]);
    };
    if let Some(path) = &options.config {
        give("--config", path.into());
    }
    if let Some(path) = &options.control {
        give("--control", path.into());
    }
    if !options.only.is_empty() {
        give("--only", options.only.join(",").into());
    }
    if !options.except.is_empty() {
        give("--except", options.except.join(",").into());
    }
    if let Some(level) = options.level {
        give("--log-level", level.as_str().to_lowercase().into());
    }
    if let Some(format) = options.format {
        let json = format == crate::config::LogFormat::Json;
        give("--log-format", if json { "json" } else { "text" }.into());
    }
    arguments
}

const LINE_MAX: usize = 16 << 10;
const READ: usize = 16 << 10;
/// Reads of one turn: a daemon that logs without end must not keep the keys waiting.
const READS_MAX: usize = 16;
const LAST_LINES: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Invocation};

    #[test]
    fn the_daemon_is_told_what_the_dashboard_was() {
        let line = "muxloop run -c m.toml --control c.sock --only a,b --except b -vv --log-format json";
        let parse = |args: Vec<OsString>| match cli::parse(args, |_| None) {
            Ok(Invocation::Run(options)) => options,
            other => panic!("{other:?}"),
        };
        let options = parse(line.split(' ').map(OsString::from).collect());
        let again = [vec![OsString::from("muxloop")], arguments(&options)].concat();
        assert_eq!(parse(again), options);
        assert_eq!(arguments(&RunOptions::default()), ["run"]);
        let daemon = daemon(&options).unwrap();
        assert!(daemon.get_envs().any(|variable| variable == ("MUXLOOP_TUI".as_ref(), None)));
    }
}
