//! Standard input and output as one stream of the loop: the host of `muxloop serve`.
//!
//! | what it is | how it is read and written |
//! |---|---|
//! | socket | recv(2) and send(2), each with a flag of its own |
//! | pipe, terminal | opened once more where the system can (Linux), so that the flag is ours alone |
//! | else: a file, `/dev/null` | as it is: it never waits, and has no events |
//!
//! A pipe or terminal that cannot be opened once more is made non-blocking as it is.

use super::sys;
use crate::engine::port::Io;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

/// The two streams.
#[derive(Debug)]
pub struct Standard {
    input: Half,
    output: Half,
}

#[derive(Debug)]
enum Half {
    Socket(File),
    /// Does not block.
    Stream(File),
    /// Never has to wait.
    Plain(File),
}

impl Standard {
    /// Those of this process.
    ///
    /// # Errors
    /// One of them is closed, or from the kernel.
    pub fn open() -> io::Result<Standard> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        Ok(Standard {
            input: Half::open(stdin.as_fd(), stdin.is_terminal(), OpenOptions::new().read(true))?,
            output: Half::open(stdout.as_fd(), stdout.is_terminal(), OpenOptions::new().write(true))?,
        })
    }
}

impl Half {
    fn open(descriptor: BorrowedFd<'_>, is_terminal: bool, how: &mut OpenOptions) -> io::Result<Half> {
        let own = File::from(descriptor.try_clone_to_owned()?);
        let kind = own.metadata()?.file_type();
        if kind.is_socket() {
            return Ok(Half::Socket(own));
        }
        if !kind.is_fifo() && !is_terminal {
            return Ok(Half::Plain(own));
        }
        if cfg!(target_os = "linux") {
            let again = how.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            if let Ok(again) = again.open(format!("/proc/self/fd/{}", descriptor.as_raw_fd())) {
                return Ok(Half::Stream(again));
            }
        }
        sys::set_nonblocking(own.as_fd())?;
        Ok(Half::Stream(own))
    }

    fn file(&mut self) -> &mut File {
        let (Half::Socket(file) | Half::Stream(file) | Half::Plain(file)) = self;
        file
    }

    fn descriptor(&self) -> i32 {
        match self {
            Half::Socket(file) | Half::Stream(file) => file.as_raw_fd(),
            Half::Plain(_) => -1,
        }
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self {
            Half::Socket(file) => sys::send(file.as_fd(), piece),
            Half::Stream(file) => file.write(piece),
            Half::Plain(file) => file.write_all(piece).map(|()| piece.len()),
        }
    }
}

impl Io for Standard {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        retry(|| match &mut self.input {
            Half::Socket(file) => sys::receive(file.as_fd(), buf),
            other => other.file().read(buf),
        })
    }
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut written = 0;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            match retry(|| self.output.write(piece)) {
                Ok(n) => {
                    written += n;
                    if n < piece.len() {
                        break;
                    }
                }
                // An error meets the next write again.
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
    /// The process ends soon after, and its output with it.
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn descriptors(&self) -> [i32; 2] {
        [self.input.descriptor(), self.output.descriptor()]
    }
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
