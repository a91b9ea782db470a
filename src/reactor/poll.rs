//! poll(2): for a loop of three descriptors, one of which may be a regular file (epoll refuses those).

use std::io;

/// One descriptor to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interest {
    /// Negative: not asked about.
    pub descriptor: i32,
    pub readable: bool,
    pub writable: bool,
}

/// What is known of one descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// A read gives bytes, the end, or an error, at once.
    pub readable: bool,
    /// A write takes something, or fails, at once.
    pub writable: bool,
    /// The other end is gone, or the descriptor is not open.
    pub broken: bool,
}

/// Waits until one of them is ready, a signal came, or `timeout_ms` (negative: for ever) have passed. A
/// broken descriptor is told even if it was asked nothing; leave it out to be spared.
///
/// # Errors
/// From the kernel; none is expected.
pub fn poll<const N: usize>(interests: [Interest; N], timeout_ms: i32) -> io::Result<[Readiness; N]> {
    let mut fds = interests.map(|interest| libc::pollfd {
        fd: interest.descriptor,
        events: if interest.readable { libc::POLLIN } else { 0 }
            | if interest.writable { libc::POLLOUT } else { 0 },
        revents: 0,
    });
    // SAFETY: `fds` is an array of exactly N valid entries.
    let count = unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, timeout_ms) };
    if count < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok([Readiness::default(); N]),
            _ => Err(error),
        };
    }
    Ok(fds.map(|fd| {
        let has = |events: i16| fd.revents & events != 0;
        let broken = has(libc::POLLERR | libc::POLLHUP | libc::POLLNVAL);
        Readiness { readable: has(libc::POLLIN) || broken, writable: has(libc::POLLOUT) || broken, broken }
    }))
}
