//! How the shim gets a connection: from the listener at a path, or in a way of another's.

use crate::reactor::stream::SEND_BUFFER_BYTES;
use crate::reactor::sys;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// How to get a connection.
pub trait Way: std::fmt::Debug {
    /// Makes one. Does not wait for somebody who listens, unless it is to bring them about.
    ///
    /// # Errors
    /// `NotFound`, `ConnectionRefused` and `WouldBlock` are a matter of time, any other only of somebody who was
    /// there before.
    fn open(&mut self) -> io::Result<UnixStream>;
    /// What the operator is told of such an error.
    fn explain(&self, error: &io::Error, was_up: bool) -> String;
    /// Who is there: "at PATH".
    fn name(&self) -> String;
}

/// The listener at a path.
impl Way for PathBuf {
    fn open(&mut self) -> io::Result<UnixStream> {
        connect(self)
    }

    fn explain(&self, error: &io::Error, was_up: bool) -> String {
        explain(self, error, was_up)
    }

    fn name(&self) -> String {
        format!("at {}", self.display())
    }
}

/// Connects to the listener at `path`. Does not wait.
///
/// # Errors
/// From the kernel; `WouldBlock` if its queue is full.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = sys::unix_socket()?;
    sys::connect(socket.as_fd(), path)?;
    let _ = sys::set_send_buffer(socket.as_fd(), SEND_BUFFER_BYTES);
    Ok(socket.into())
}

fn explain(path: &Path, error: &io::Error, was_up: bool) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused if was_up => {
            format!("muxloop at {path} is gone and did not come back: {error}")
        }
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            format!(
                "nobody listens at {path} ({error}): start muxloop first ('muxloop -c mux.toml'), or let \
                 this wait for it with --wait MS"
            )
        }
        _ => format!("cannot connect to {path}: {error}"),
    }
}
