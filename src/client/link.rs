//! [`Link`]: a Unix socket as lines, with deadlines.
//!
//! The socket does not block; waiting is poll(2)'s, so that the dashboard can wait for its keys as well. What
//! a line means is left to others.

use super::Failure;
use crate::base::{RecvBuf, limits::READ_CHUNK};
use crate::codec::line::{Line, LineFramer};
use crate::reactor::poll::{Interest, poll};
use crate::reactor::sys;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A connection.
#[derive(Debug)]
pub struct Link {
    socket: UnixStream,
    received: RecvBuf,
    framer: LineFramer,
    path: PathBuf,
    /// The process at the other end, where the kernel tells.
    pub peer: Option<u32>,
}

/// What a look at the link gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    Line(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The other end has closed.
    End,
}

impl Link {
    /// Connects to the listener at `path`, for lines of at most `line_max` bytes. Does not wait.
    ///
    /// # Errors
    /// Nobody listens (exit code 3), or nobody can be reached.
    pub fn connect(path: &Path, line_max: usize) -> Result<Link, Failure> {
        let connect = || -> io::Result<UnixStream> {
            let socket = sys::unix_socket()?;
            sys::connect(socket.as_fd(), path)?;
            Ok(UnixStream::from(socket))
        };
        let socket = connect().map_err(|error| explain(path, &error))?;
        let peer = sys::peer(socket.as_fd()).ok().and_then(|(_, pid)| pid);
        Ok(Link {
            socket,
            received: RecvBuf::new(),
            framer: LineFramer::new(line_max),
            path: path.to_owned(),
            peer,
        })
    }

    /// Who is at the other end: `muxloop at PATH (process 4711)`.
    pub fn name(&self) -> String {
        match self.peer {
            Some(pid) => format!("muxloop at {} (process {pid})", self.path.display()),
            None => format!("muxloop at {}", self.path.display()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn descriptor(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// Sends a line; its end is added.
    ///
    /// # Errors
    /// The other end is gone or takes nothing until `deadline`.
    pub fn send(&mut self, line: &str, deadline: Instant) -> Result<(), Failure> {
        let line = format!("{line}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait(true, Some(deadline)) {
                        return Err(Failure::other(format!("{} does not read", self.name())));
                    }
                }
                // What it said before it closed may say why, and is still to be read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Failure::other(format!("{}: {error}", self.name()))),
            }
        }
        Ok(())
    }

    /// The next line, `Nothing` if there is none by `deadline` (`None`: waits for ever).
    ///
    /// # Errors
    /// A line that is too long.
    pub fn line(&mut self, deadline: Option<Instant>) -> Result<Incoming, Failure> {
        loop {
            match self.look()? {
                Incoming::Nothing if self.wait(false, deadline) => {}
                found => return Ok(found),
            }
        }
    }

    /// The next line, if it is there (or, after many reads, if it is not there yet).
    ///
    /// # Errors
    /// A line that is too long.
    pub fn look(&mut self) -> Result<Incoming, Failure> {
        // Bounded: whoever sends without end must not keep the caller from its deadline.
        for _ in 0..READS_MAX {
            match self.framer.next(&mut self.received) {
                Some(Line::Line(line)) => return Ok(Incoming::Line(line.to_vec())),
                Some(Line::Overlong(line)) => {
                    let text = format!("{} sent a line of {} bytes", self.name(), line.len);
                    return Err(Failure::other(text));
                }
                None => {}
            }
            match self.socket.read(self.received.spare(READ_CHUNK)) {
                Ok(0) => return Ok(Incoming::End),
                Ok(n) => self.received.advance(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Incoming::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(Incoming::End),
            }
        }
        Ok(Incoming::Nothing)
    }

    /// Waits until it can be read (or written); false if the deadline came first.
    fn wait(&self, writable: bool, deadline: Option<Instant>) -> bool {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return false;
        }
        // Rounded up: a wait that ends a moment too early would be turned into many.
        let timeout_ms = left.map_or(-1, |left| left.as_millis().min(60_000) as i32 + 1);
        let interest = Interest { descriptor: self.descriptor(), readable: !writable, writable };
        // Whether it was the descriptor, a signal or the time that ended the wait, the caller finds out.
        poll([interest], timeout_ms).is_ok()
    }
}

/// Reads of one look.
const READS_MAX: usize = 64;

/// Why nobody could be reached.
fn explain(path: &Path, error: &io::Error) -> Failure {
    let path_shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => Failure::not_running(format!("there is no socket at {path_shown}")),
        ErrorKind::ConnectionRefused => match std::fs::metadata(path) {
            Ok(file) if !file.file_type().is_socket() => Failure::other(format!("{path_shown} is no socket")),
            _ => Failure::not_running(format!(
                "nobody listens at {path_shown}, which is left over from a muxloop that was killed"
            )),
        },
        ErrorKind::WouldBlock => {
            Failure::other(format!("muxloop at {path_shown} accepts no connections: it hangs, or is stopped"))
        }
        ErrorKind::PermissionDenied => {
            Failure::other(format!("no permission to connect to {path_shown}; is it another user's?"))
        }
        _ => Failure::other(format!("cannot connect to {path_shown}: {error}")),
    }
}
