//! The guard: a second, tiny process that outlives a `kill -9` of muxloop and ends what it left behind.
//!
//! The kernel signals direct children at their parent's death, and nobody below them. So muxloop starts its
//! own program once more as the guard, and tells it through a pipe which process groups it has:
//!
//! ```text
//!   muxloop ── "+4711\n"  a group was started ──▶ guard, reading
//!           ── "-4711\n"  it was swept        ──▶
//!           ── "bye\n"    all is well         ──▶ exits
//!           ── end of the pipe (muxloop died) ──▶ SIGKILL to those groups and to every process that
//!                                                 carries muxloop's marker, until none is found (2 s); exits
//! ```
//!
//! Only muxloop holds the writing end, so the kernel tells its death whatever the reason. The guard sits in
//! a session of its own, ignores SIGINT, SIGTERM and SIGHUP, and its name and command line are
//! `mux-guard --mux-guard PID.START`: a `pkill -f muxloop` or `killall` that ends the daemon spares it. Its
//! environment is empty, so it never carries a marker itself.

use super::process::{OWNER_VARIABLE, Owner};
use super::sweep;
use super::sys::{self, Pid};
use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs the guard and never returns, if that is what this process was started for. Belongs at the very
/// start of `main`: a program that does not call it gets no guard.
pub fn main_if_requested() {
    let mut args = env::args_os().skip(1);
    if args.next().is_some_and(|arg| arg == ARGUMENT) {
        let owner = args.next().and_then(|arg| Owner::parse(arg.to_str()?));
        // Nothing is kept busy for its sake: no descriptor that muxloop was given by its parent, no mount.
        sys::close_from(3);
        let _ = env::set_current_dir("/");
        sys::set_name(c"mux-guard");
        watch(io::stdin(), owner);
        exit(0);
    }
    IS_AVAILABLE.store(true, Ordering::Relaxed);
}

/// Whether this program can run as its own guard.
pub fn is_available() -> bool {
    IS_AVAILABLE.load(Ordering::Relaxed)
}

static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);
const ARGUMENT: &str = "--mux-guard";

/// Reads what muxloop says to its end, and acts on it.
fn watch(mut pipe: impl Read, owner: Option<Owner>) {
    let mut said = Said::default();
    let mut buf = [0; 512];
    loop {
        match pipe.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => said.hear(&buf[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    if !said.bye {
        clear(&said.groups, owner);
    }
}

/// What muxloop has said so far.
#[derive(Debug, Default)]
struct Said {
    groups: Vec<Pid>,
    bye: bool,
    /// An unfinished line.
    line: String,
}

impl Said {
    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(char::from(*byte));
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let (verb, group) = line.split_at(line.len().min(1));
            match (verb, group.parse()) {
                ("+", Ok(group)) => self.groups.push(group),
                ("-", Ok(group)) => self.groups.retain(|known| *known != group),
                _ => self.bye |= line == "bye",
            }
        }
    }
}

/// Ends the groups and whoever carries the marker, until there is nobody.
fn clear(groups: &[Pid], owner: Option<Owner>) {
    let deadline = Instant::now() + CLEAR_MAX;
    let marker = owner.map(|owner| owner.to_string());
    loop {
        for group in groups.iter().filter(|group| **group > 1) {
            let _ = sys::signal_group(*group, libc::SIGKILL);
        }
        let ended = marker.as_deref().map_or(0, |marker| sweep::marked(OWNER_VARIABLE, marker));
        // One that was just killed may have forked before it died.
        if ended == 0 || Instant::now() >= deadline {
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

/// How long the guard goes on killing.
const CLEAR_MAX: Duration = Duration::from_secs(2);

/// The guard process as muxloop sees it.
#[derive(Debug)]
pub(super) struct Guard {
    pub pid: Pid,
    /// The writing end that nobody else has.
    pipe: File,
}

impl Guard {
    /// Starts the guard of `owner`.
    ///
    /// # Errors
    /// From the kernel.
    pub fn start(owner: Owner) -> io::Result<Guard> {
        let (reads, writes) = io::pipe()?;
        let writes = OwnedFd::from(writes);
        sys::set_nonblocking(writes.as_fd())?;
        // The running program itself, even if its file was replaced meanwhile.
        let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { env::current_exe()? };
        let mut command = Command::new(program);
        command.arg0("mux-guard").arg(ARGUMENT).arg(owner.to_string()).env_clear();
        command.stdin(Stdio::from(OwnedFd::from(reads))).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: the closure only makes system calls that are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
                    sys::ignore(signal);
                }
                sys::new_session()
            });
        }
        // Its end is collected by id, like every child's.
        Ok(Guard { pid: command.spawn()?.id() as Pid, pipe: writes.into() })
    }

    /// Tells of a group that was started.
    pub fn add(&mut self, group: Pid) {
        self.say(&format!("+{group}\n"));
    }

    /// Tells that a group is no more.
    pub fn remove(&mut self, group: Pid) {
        self.say(&format!("-{group}\n"));
    }

    /// Sends the guard home and collects it.
    pub fn dismiss(mut self) {
        self.say("bye\n");
        drop(self.pipe);
        let deadline = Instant::now() + DISMISS_MAX;
        while Instant::now() < deadline && matches!(sys::reap(self.pid), Ok(None)) {
            sleep(Duration::from_millis(1));
        }
    }

    /// A guard that does not read is as good as dead: it is ended, and its end brings the next one.
    fn say(&mut self, line: &str) {
        if self.pipe.write(line.as_bytes()).is_err() {
            let _ = sys::signal_process(self.pid, libc::SIGKILL);
        }
    }
}

/// How long muxloop waits at its end for the guard's.
const DISMISS_MAX: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_heard_in_any_pieces() {
        let text = b"+10\n+20\n+30\n-20\nnonsense\n+x\n\n-99\n";
        for size in 1..=text.len() {
            let mut said = Said::default();
            text.chunks(size).for_each(|piece| said.hear(piece));
            assert_eq!((&said.groups[..], said.bye), (&[10, 30][..], false), "pieces of {size}");
            said.hear(b"by");
            assert!(!said.bye);
            said.hear(b"e\n");
            assert!(said.bye);
        }
    }
}
