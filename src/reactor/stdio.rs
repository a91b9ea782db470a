//! Standard input and output as they are found: a pipe, a socket, a terminal or a file.
//!
//! Their non-blocking flag belongs to the open file that the parent shares, so it is never set. Reading waits
//! for poll(2) first and then takes what is there. Writing must not wait for a reader who is slow:
//!
//! | standard output | how |
//! |---|---|
//! | socket | send(2) with a flag of its own |
//! | pipe, terminal (Linux) | opened once more, that open file is non-blocking |
//! | else | poll(2), then at most as much as a pipe takes in one piece |

use super::poll::{Interest, poll};
use super::sys;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

/// Descriptor 0.
pub const INPUT: i32 = 0;

/// Whether standard input is a pipe or a socket: somebody holds the other end.
pub fn is_held() -> bool {
    let kind = borrow(INPUT).metadata().map(|found| found.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
}

/// Reads what is there. To be called when poll(2) says so; else it waits.
///
/// # Errors
/// From the kernel.
pub fn read(buf: &mut [u8]) -> io::Result<usize> {
    borrow(INPUT).read(buf)
}

/// Standard output, written to without waiting.
#[derive(Debug)]
pub enum Output {
    Socket,
    /// An open file of our own.
    Own(File),
    Shared,
}

impl Output {
    /// Finds out what descriptor 1 is.
    pub fn open() -> Output {
        let Ok(kind) = borrow(1).metadata().map(|found| found.file_type()) else { return Output::Shared };
        if kind.is_socket() {
            return Output::Socket;
        }
        let may_open = cfg!(target_os = "linux") && (kind.is_fifo() || kind.is_char_device());
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let own = may_open.then(|| options.open("/proc/self/fd/1"));
        own.and_then(Result::ok).map_or(Output::Shared, Output::Own)
    }

    /// What to ask poll(2) about.
    pub fn descriptor(&self) -> i32 {
        match self {
            Output::Own(file) => file.as_raw_fd(),
            _ => 1,
        }
    }

    /// Writes as much as is taken now.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is taken now; `BrokenPipe` without a reader.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Own(file) => file.write(bytes),
            Output::Socket => sys::send(io::stdout().as_fd(), bytes),
            Output::Shared => {
                let ask = Interest { descriptor: 1, writable: true, ..Interest::default() };
                match poll([ask], 0)?[0].writable {
                    true => borrow(1).write(&bytes[..bytes.len().min(libc::PIPE_BUF)]),
                    false => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }
}

/// The file behind a descriptor that is not ours to close.
fn borrow(descriptor: i32) -> ManuallyDrop<File> {
    // SAFETY: std opens 0 to 2 before `main` if they are not open, nothing here closes them, and
    // `ManuallyDrop` keeps this from closing them.
    ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) })
}
