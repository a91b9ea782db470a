//! Finding the supervisor, or starting exactly one.
//!
//! ```text
//!   connect ── somebody listens ─────────────────────────────▶ joined
//!      │ nobody
//!      ▼
//!   lock D/lock ── somebody has it ── pause ── connect …
//!      │ locked: connect again (it may just have been started), else
//!      ▼
//!   start it, wait until it listens, unlock, connect
//! ```
//!
//! The kernel frees the lock when its holder dies, so a caller that is killed here holds up nobody.

use super::place::{Place, What};
use super::supervisor::ARGUMENT;
use super::wire::{Hello, line};
use crate::reactor::{detached, sys};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A connection to the supervisor, on which the caller has said what it wants.
#[derive(Debug)]
pub struct Joined {
    pub socket: UnixStream,
    /// Whether the supervisor was started for it.
    pub started: bool,
}

/// Connects, if need be to a supervisor that is started for it.
///
/// # Errors
/// In words.
pub fn join(place: &Place, what: &What) -> Result<Joined, String> {
    let deadline = Instant::now() + JOIN_MAX;
    loop {
        if let Some(socket) = connect(place, what)? {
            return Ok(Joined { socket, started: false });
        }
        if let Some(lock) = try_lock(place)? {
            // Whoever had the lock before may have started one.
            let mut socket = connect(place, what)?;
            let mut started = false;
            if socket.is_none() {
                started = start(place, what)?;
                socket = connect(place, what)?;
            }
            drop(lock);
            if let Some(socket) = socket {
                return Ok(Joined { socket, started });
            }
        }
        if Instant::now() >= deadline {
            let seconds = JOIN_MAX.as_secs();
            return Err(format!("no daemon answered within {seconds} s; its log: {}", place.log().display()));
        }
        sleep(PAUSE);
    }
}

/// `None` if nobody listens, or not any more.
fn connect(place: &Place, what: &What) -> Result<Option<UnixStream>, String> {
    let is_nobody = |error: &io::Error| {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound};
        matches!(error.kind(), NotFound | ConnectionRefused | ConnectionReset | BrokenPipe)
    };
    let connected = UnixStream::connect(place.socket()).and_then(|mut socket| {
        socket.write_all(&line(&Hello { what: what.clone() }))?;
        Ok(socket)
    });
    match connected {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if is_nobody(&error) => Ok(None),
        Err(error) => Err(format!("{}: {error}", place.socket().display())),
    }
}

/// `None` if somebody else has it.
fn try_lock(place: &Place) -> Result<Option<File>, String> {
    let failed = |error: io::Error| format!("{}: {error}", place.lock().display());
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(place.lock()).map_err(failed)?;
    match sys::lock(file.as_fd()) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Starts a supervisor and returns when it listens, or when it has found that another does (`false`), which
/// a caller that was killed before it said so has started.
fn start(place: &Place, what: &What) -> Result<bool, String> {
    let failed = |error: io::Error| format!("cannot start the daemon: {error}");
    let log = place.open_log().map_err(|error| format!("{}: {error}", place.log().display()))?;
    let args = [OsStr::new(ARGUMENT), place.directory.as_os_str()];
    let (mut stdin, mut stdout) = detached::start(&args, log).map_err(failed)?;
    // One that dies at once says so, or why, below.
    let _ = stdin.write_all(&line(what));
    drop(stdin);
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\n") && stdout.read(&mut byte).map_err(failed)? > 0 {
        answer.push(byte[0]);
    }
    match String::from_utf8_lossy(&answer).trim_end() {
        LISTENS => Ok(true),
        ANOTHER_LISTENS => Ok(false),
        "" => Err(format!("the daemon died at its start; its log: {}", place.log().display())),
        why => Err(why.to_owned()),
    }
}

/// What the supervisor prints when it listens, and when it finds another that does; anything else is why it
/// does not.
pub const LISTENS: &str = "listens";
pub const ANOTHER_LISTENS: &str = "another listens";
/// How long all of it may take: a supervisor that is just ending may have to be waited for.
const JOIN_MAX: Duration = Duration::from_secs(30);
/// Between two looks whether somebody else has started it.
const PAUSE: Duration = Duration::from_millis(10);
