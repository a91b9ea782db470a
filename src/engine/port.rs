//! The traits between the engine and a kernel: [`Io`] and [`Platform`], and what they speak of.

use super::sandbox::Sandbox;
use crate::base::Key;
use std::fmt;
use std::io;
#[cfg(any(feature = "gateway", feature = "http"))]
use std::io::IoSlice;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One non-blocking byte stream, both directions.
///
/// `read` returns `Ok(0)` at the end of the stream and `WouldBlock` when nothing is there now.
/// A `read` that filled less than its buffer has emptied the stream for now, and a `write` that took
/// less than it was given has filled it: the next event comes when that changes. (True of Linux and
/// BSD stream sockets and pipes under edge-triggered polling; a layered stream must loop inside.) The one
/// exception: once [`Ready::Stream`] said `ended`, no more events come for reading, so read to `Ok(0)`.
pub trait Io {
    /// Reads into `buf`.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes the pieces in order, as much as fits.
    fn write(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize>;
    /// Ends the writing direction; reading goes on.
    fn shutdown_write(&mut self) -> io::Result<()>;
    /// What a platform registers: the number it reads from and the one it writes to (equal for a
    /// socket, two for a pair of pipes, -1 for a direction that does not exist).
    fn descriptors(&self) -> [i32; 2];
}

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A connection's stream (`Key` given to [`Platform::register`]). `ended`: the other side will write no
    /// more. The last bytes and the end arrive as this one event, so from here on only `WouldBlock` or
    /// `Ok(0)` says that nothing is left to read; a short read does not.
    /// `hangup`: it will not read either, so answers to it are void.
    Stream { key: Key, readable: bool, writable: bool, ended: bool, hangup: bool },
    /// A listener has connections to accept.
    Accept { listener: usize },
    /// A child process ended. Its pipes may still hold bytes.
    Exited { process: Key, status: ExitStatus },
    /// A signal arrived at muxloop.
    Signal(Signal),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
}

/// Signals that mean something to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM: stop gracefully; the second one at once.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGUSR1: reopen files.
    Reopen,
}

/// A step of the stop ladder, to a whole process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    Terminate,
    Kill,
}

/// How to start a child.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SpawnSpec {
    pub program: String,
    pub args: Vec<String>,
    /// Added to muxloop's own environment.
    pub env: Vec<(String, String)>,
    pub cwd: Option<PathBuf>,
    /// What it is held to; a platform that cannot do that starts nothing.
    pub sandbox: Option<Box<Sandbox>>,
}

/// Values of the environment are where keys and tokens live: names only, so that no log shows one.
impl fmt::Debug for SpawnSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("SpawnSpec")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env_names", &names)
            .field("cwd", &self.cwd)
            .field("sandbox", &self.sandbox)
            .finish()
    }
}

/// A started child: its stdin and stdout as one stream, its stderr as a second, read-only one.
pub struct Spawned {
    pub pid: u32,
    pub stdio: Box<dyn Io>,
    pub stderr: Box<dyn Io>,
}

/// An accepted client connection.
pub struct Accepted {
    pub io: Box<dyn Io>,
    /// Process id of the peer, where the kernel tells.
    pub peer_pid: Option<u32>,
    /// Where it comes from, if that is a network.
    pub address: Option<IpAddr>,
}

/// What the engine asks of a kernel. All under the caller's keys; nothing blocks.
pub trait Platform {
    /// The next connection of a listener (index as configured), `WouldBlock` if there is none.
    /// Connections of another uid are refused inside and never seen.
    fn accept(&mut self, listener: usize) -> io::Result<Accepted>;
    /// Asks for readiness events of `io` under `key`.
    fn register(&mut self, key: Key, io: &mut dyn Io) -> io::Result<()>;
    /// Ends that; called before `io` is dropped.
    fn deregister(&mut self, key: Key, io: &mut dyn Io);
    /// Starts a child in a process group of its own; its end arrives as [`Ready::Exited`] with `process`.
    ///
    /// # Errors
    /// What kept it from starting, in words for the operator (the program is named, and what was searched).
    fn spawn(&mut self, process: Key, spec: &SpawnSpec) -> Result<Spawned, String>;
    /// Signals the group of a child; a child that is gone is fine.
    fn kill(&mut self, process: Key, how: Kill);
    /// Ends everything a child left behind once it was reaped: the rest of its group and, on Linux,
    /// descendants that left the group.
    fn sweep(&mut self, process: Key);
    /// Fills `bytes` from the kernel's random source.
    fn random(&mut self, bytes: &mut [u8]);
    /// Resident memory of a process in bytes, where that can be told.
    fn resident_bytes(&self, _pid: u32) -> Option<u64> {
        None
    }
}

/// How long a loop may sleep.
pub type Wait = Option<Duration>;

/// The stream of a link, which has none.
#[cfg(any(feature = "gateway", feature = "http"))]
pub(super) struct Nowhere;

#[cfg(any(feature = "gateway", feature = "http"))]
impl Io for Nowhere {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn descriptors(&self) -> [i32; 2] {
        [-1; 2]
    }
}
