//! `start`, `stop`, `restart`, `reload`, `drain`, `shutdown`: one request, one line about what came of it.

use super::control::{Control, PATIENCE};
use super::text::{counted, duration, plain};
use super::{Failure, Target};
use crate::cli;
use crate::config::Surroundings;
use crate::control::Json;
use crate::reactor::poll::{Interest, poll};
use crate::reactor::sys;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Start(String),
    Stop(String),
    Restart(String),
    Reload,
    Drain { timeout_ms: u64 },
    Shutdown,
}

/// Has it done.
///
/// # Errors
/// The daemon can't be asked (1, 3), refuses (1), or knows no such server (2).
pub fn run(target: &Target, verb: &Verb, surroundings: &Surroundings) -> Result<ExitCode, Failure> {
    let mut control = target.open(surroundings)?;
    match verb {
        Verb::Start(name) => server(&mut control, "start", name)?,
        Verb::Stop(name) => server(&mut control, "stop", name)?,
        Verb::Restart(name) => server(&mut control, "restart", name)?,
        Verb::Reload => reload(&mut control)?,
        Verb::Drain { timeout_ms } => drain(&mut control, *timeout_ms)?,
        Verb::Shutdown => {
            let process = Process::of(&control);
            control.call("shutdown", "{}", PATIENCE)?;
            process.wait_end(&mut control, STOP_MAX)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn server(control: &mut Control, verb: &str, name: &str) -> Result<(), Failure> {
    let answer = control.call(verb, &params(name), ANSWER_MAX)?;
    let now = |key| plain(&Json::new(answer.as_bytes()).member(key).text());
    say(&format!("{}: {}\n", now("server"), now("state")))
}

fn reload(control: &mut Control) -> Result<(), Failure> {
    let answer = control.call("reload", "{}", ANSWER_MAX)?;
    let list = |key| Json::new(answer.as_bytes()).member(key).texts();
    list("warnings").iter().for_each(|warning| cli::complain(&plain(warning)));
    let mut text = String::from("reloaded: ");
    for word in ["added", "removed", "changed"] {
        let names = list(word).join(", ");
        if !names.is_empty() {
            text.push_str(&format!("{word} {}; ", plain(&names)));
        }
    }
    say(&format!("{text}{} unchanged\n", counted(list("unchanged").len(), "server")))
}

fn drain(control: &mut Control, timeout_ms: u64) -> Result<(), Failure> {
    let process = Process::of(control);
    let answer = control.call("drain", &format!(r#"{{"timeout_ms":{timeout_ms}}}"#), ANSWER_MAX)?;
    let clients = Json::new(answer.as_bytes()).member("clients").number() as usize;
    say(&format!("draining: {}, at most {}\n", counted(clients, "client"), duration(timeout_ms)))?;
    process.wait_end(control, Duration::from_millis(timeout_ms) + STOP_MAX)
}

/// The daemon's process, held before it is told to end: its number may be another's afterwards.
struct Process(Option<OwnedFd>);

impl Process {
    fn of(control: &Control) -> Process {
        let pid = i32::try_from(control.hello.pid).ok().filter(|pid| *pid > 1);
        Process(pid.and_then(|pid| sys::open_process(pid).ok()))
    }

    /// Waits for its end; where the kernel does not tell, for that of the connection.
    fn wait_end(self, control: &mut Control, most: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + most;
        let ended = match self.0 {
            Some(process) => readable(&process, deadline),
            None => control.wait_end(deadline),
        };
        match ended {
            true => say("stopped\n"),
            false => Err(Failure::other(format!(
                "{} still runs after {}",
                control.link.name(),
                duration(most.as_millis() as u64)
            ))),
        }
    }
}

/// Whether the process behind `process` ended before `deadline`.
fn readable(process: &OwnedFd, deadline: Instant) -> bool {
    let interest = Interest { descriptor: process.as_raw_fd(), readable: true, writable: false };
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        match poll([interest], left.min(60_000) as i32) {
            Ok([ready]) if ready.readable => return true,
            Ok(_) if left > 0 => {}
            _ => return false,
        }
    }
}

/// `{"server":"memory"}`.
pub fn params(server: &str) -> String {
    format!(r#"{{"server":{}}}"#, quoted(server))
}

/// As a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Somebody who reads no further does not mind.
fn say(text: &str) -> Result<(), Failure> {
    cli::print_all(text).map(|_| ())
}

/// For what takes the daemon more than a turn of its loop: reading a file, telling processes.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest time for the servers' processes to end.
const STOP_MAX: Duration = Duration::from_secs(30);
