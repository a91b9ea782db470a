//! The byte streams of the kernel as [`Io`]: a connected socket, a child's pipes.

use super::sys;
use crate::engine::port::Io;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A connected Unix socket.
#[derive(Debug)]
pub struct Socket {
    stream: UnixStream,
}

impl Socket {
    /// Takes over a connected socket and makes it non-blocking.
    ///
    /// # Errors
    /// From the kernel.
    pub fn new(stream: UnixStream) -> io::Result<Socket> {
        stream.set_nonblocking(true)?;
        let _ = sys::set_send_buffer(stream.as_fd(), SEND_BUFFER_BYTES);
        Ok(Socket { stream })
    }
}

impl Io for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        retry(|| self.stream.read(buf))
    }
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        retry(|| self.stream.write_vectored(pieces))
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }
    fn descriptors(&self) -> [i32; 2] {
        [self.stream.as_raw_fd(); 2]
    }
}

/// A TCP connection.
#[derive(Debug)]
pub struct TcpSocket {
    stream: TcpStream,
}

impl TcpSocket {
    /// Takes over a connection and makes it non-blocking. Peers that vanish without a word are noticed.
    ///
    /// # Errors
    /// From the kernel.
    pub fn new(stream: TcpStream) -> io::Result<TcpSocket> {
        stream.set_nonblocking(true)?;
        // Messages are written whole, so waiting for more to fill a packet only costs time.
        let _ = stream.set_nodelay(true);
        let _ = sys::keep_alive(stream.as_fd());
        Ok(TcpSocket { stream })
    }
}

impl Io for TcpSocket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        retry(|| self.stream.read(buf))
    }
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        retry(|| self.stream.write_vectored(pieces))
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }
    fn descriptors(&self) -> [i32; 2] {
        [self.stream.as_raw_fd(); 2]
    }
}

/// One or two pipes as one stream: a child's stdout to read and its stdin to write, or its stderr alone.
#[derive(Debug)]
pub struct Pipes {
    reads: File,
    /// `None` for a read-only stream, and once the writing direction was ended.
    writes: Option<File>,
}

impl Pipes {
    /// The pipes of a child's stdout and stdin, made non-blocking and larger if they may be.
    ///
    /// # Errors
    /// From the kernel.
    pub fn stdio(stdout: OwnedFd, stdin: OwnedFd) -> io::Result<Pipes> {
        for pipe in [&stdout, &stdin] {
            sys::set_nonblocking(pipe.as_fd())?;
            let _ = sys::set_pipe_capacity(pipe.as_fd(), PIPE_BYTES);
        }
        Ok(Pipes { reads: stdout.into(), writes: Some(stdin.into()) })
    }

    /// The pipe of a child's stderr, made non-blocking.
    ///
    /// # Errors
    /// From the kernel.
    pub fn read_only(stderr: OwnedFd) -> io::Result<Pipes> {
        sys::set_nonblocking(stderr.as_fd())?;
        Ok(Pipes { reads: stderr.into(), writes: None })
    }
}

impl Io for Pipes {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        retry(|| self.reads.read(buf))
    }
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.writes {
            Some(pipe) => retry(|| pipe.write_vectored(pieces)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    /// Closes the pipe: the child reads the end of its stdin.
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.writes = None;
        Ok(())
    }
    fn descriptors(&self) -> [i32; 2] {
        [self.reads.as_raw_fd(), self.writes.as_ref().map_or(-1, AsRawFd::as_raw_fd)]
    }
}

/// Capacity asked for a child's pipes, in bytes. Echoing 100 KB over pipes of 64 KiB (the default), 256 KiB and
/// 1 MiB took 175, 84 and 84 us, so the middle one. All pipes of a user share 64 MiB unless the machine's
/// owner says otherwise, and past that they get *smaller* than the default; a refusal is no loss.
const PIPE_BYTES: i32 = 256 << 10;
/// Send buffer asked for a socket, in bytes; the kernel doubles it. Echoing 5 MB took 1.8 ms with the default
/// of 208 KiB and 0.9 ms with this; more changed nothing, and 100 KB take 48 us either way.
pub const SEND_BUFFER_BYTES: i32 = 256 << 10;

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
