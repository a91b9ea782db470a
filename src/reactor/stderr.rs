//! Standard error without blocking: a terminal that was stopped or a pipe that nobody reads must not stop
//! the loop.
//!
//! The flag `O_NONBLOCK` belongs to the open file that descriptor 2 shares with the shell, so it is not
//! set there. Where the kernel lets a process open the same pipe or terminal once more (Linux, `/proc`),
//! that second open file is non-blocking; elsewhere poll(2) is asked before each small write.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

/// Standard error of this process.
#[derive(Debug)]
pub struct Stderr {
    /// A non-blocking open file of our own on the same pipe or terminal.
    own: Option<File>,
}

impl Stderr {
    pub fn open() -> Stderr {
        Stderr { own: open_again(2) }
    }

    /// Writes as much as is taken without waiting, at most [`CHUNK_MAX`] bytes; 0 if nothing is taken now.
    ///
    /// # Errors
    /// The reader is gone, or there is no standard error.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(CHUNK_MAX)];
        match &self.own {
            Some(file) => or_not_now((&mut &*file).write(chunk)),
            None if is_writable(2, 0)? => or_not_now(io::stderr().write(chunk)),
            None => Ok(0),
        }
    }

    /// Waits until something may be written, at most so long; says whether.
    ///
    /// # Errors
    /// There is no standard error.
    pub fn wait(&self, timeout_ms: u16) -> io::Result<bool> {
        is_writable(self.own.as_ref().map_or(2, |file| file.as_raw_fd()), timeout_ms)
    }
}

/// Bytes per write: a pipe that poll(2) calls writable takes at least as many (`PIPE_BUF`), in one piece.
pub const CHUNK_MAX: usize = libc::PIPE_BUF;

/// The pipe or terminal behind a descriptor as a second, non-blocking open file.
fn open_again(fd: i32) -> Option<File> {
    // SAFETY: only its metadata is asked for, which fails on a descriptor that is not open, and
    // `ManuallyDrop` keeps it from being closed here.
    let borrowed = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let kind = borrowed.metadata().ok()?.file_type();
    // A regular file would get a position of its own, and a socket cannot be opened; neither needs it.
    if !cfg!(target_os = "linux") || !(kind.is_fifo() || kind.is_char_device()) {
        return None;
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags).open(format!("/proc/self/fd/{fd}")).ok()
}

/// Asks poll(2) whether a write would be taken.
fn is_writable(fd: i32, timeout_ms: u16) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid pollfd, and the count says one.
    let ready = unsafe { libc::poll(&mut poll, 1, i32::from(timeout_ms)) };
    match ready {
        0 => Ok(false),
        // A signal: nothing is known yet, the caller asks again.
        _ if ready < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => Ok(false),
        _ if ready < 0 => Err(io::Error::last_os_error()),
        _ if poll.revents & libc::POLLNVAL != 0 => Err(io::ErrorKind::NotConnected.into()),
        // A pipe without a reader is writable too, in that a write fails at once.
        _ if poll.revents & libc::POLLERR != 0 => Err(io::ErrorKind::BrokenPipe.into()),
        _ if poll.revents & libc::POLLOUT != 0 => Ok(true),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

fn or_not_now(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pipe() -> (io::PipeReader, io::PipeWriter) {
        io::pipe().unwrap()
    }

    #[test]
    fn a_full_pipe_takes_nothing_and_does_not_block() {
        let (mut reader, writer) = pipe();
        let fd = writer.as_raw_fd();
        let stderr = Stderr { own: open_again(fd) };
        assert_eq!(stderr.own.is_some(), cfg!(target_os = "linux"));
        if stderr.own.is_none() {
            return;
        }
        let mut written = 0;
        while let n @ 1.. = stderr.write(&[b'x'; 10_000]).unwrap() {
            assert!(n <= CHUNK_MAX);
            written += n;
        }
        assert!(written >= CHUNK_MAX);
        assert!(!stderr.wait(0).unwrap() && !is_writable(fd, 0).unwrap());
        let mut some = vec![0; written];
        reader.read_exact(&mut some).unwrap();
        assert!(stderr.wait(1000).unwrap() && is_writable(fd, 0).unwrap());
        assert_eq!(stderr.write(b"y").unwrap(), 1);
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        let (reader, writer) = pipe();
        let own = open_again(writer.as_raw_fd());
        drop(reader);
        assert_eq!(is_writable(writer.as_raw_fd(), 0).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        if let Some(own) = own {
            let stderr = Stderr { own: Some(own) };
            assert_eq!(stderr.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn a_closed_descriptor_is_an_error() {
        assert!(is_writable(1_000_000, 0).is_err());
        assert!(open_again(1_000_000).is_none());
    }

    #[test]
    fn a_file_is_not_opened_again() {
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert!(open_again(file.as_raw_fd()).is_none());
    }
}
