//! The system calls that `std` does not offer: epoll, reads into spare capacity, pipe sizes,
//! a `connect` with a deadline, the descriptor limit, and the death signal of a child.
//!
//! All `unsafe` of this bench is in this file. The bench talks to the kernel directly, not through
//! muxloop's reactor: the yardstick must not share code with what it measures.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A level-triggered epoll set.
pub struct Poll {
    set: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// What a descriptor waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
    ReadWrite,
}

/// One descriptor that can make progress. A hang-up or error counts as readable and writable: the
/// read or write that follows says what it is.
#[derive(Clone, Copy)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked and owned by nobody else.
        let set = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        // SAFETY: an all-zero epoll_event is a valid value (two integers).
        let empty: libc::epoll_event = unsafe { mem::zeroed() };
        Ok(Self { set, events: vec![empty; 512] })
    }

    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::Read)
    }

    fn control(&self, what: i32, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        let events = match interest {
            Interest::Read => libc::EPOLLIN,
            Interest::Write => libc::EPOLLOUT,
            Interest::ReadWrite => libc::EPOLLIN | libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` lives for the call; the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.set.as_raw_fd(), what, fd.as_fd().as_raw_fd(), &mut event) })?;
        Ok(())
    }

    /// Waits for readiness and returns how many entries [`Poll::ready`] has. A signal or the end of
    /// `timeout` returns 0.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let millis = timeout.map_or(-1, |t| t.as_micros().div_ceil(1000).min(60_000) as i32);
        // SAFETY: the pointer and length are those of a live, initialised vector.
        let count = unsafe {
            libc::epoll_wait(self.set.as_raw_fd(), self.events.as_mut_ptr(), self.events.len() as i32, millis)
        };
        match check(count) {
            Ok(count) => Ok(count as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub fn ready(&self, index: usize) -> Ready {
        let libc::epoll_event { events, u64: token } = self.events[index];
        let broken = events & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0;
        Ready {
            token,
            readable: broken || events & libc::EPOLLIN as u32 != 0,
            writable: broken || events & libc::EPOLLOUT as u32 != 0,
        }
    }
}

/// One `read` of up to `room` bytes onto the end of `buffer`, without zeroing first. 0 is the end.
pub fn read_onto(fd: impl AsFd, buffer: &mut Vec<u8>, room: usize) -> io::Result<usize> {
    buffer.reserve(room);
    let spare = buffer.spare_capacity_mut();
    // SAFETY: the pointer and length are those of the vector's own spare capacity.
    let count = unsafe { libc::read(fd.as_fd().as_raw_fd(), spare.as_mut_ptr().cast(), spare.len()) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel wrote `count` bytes at the old end, and `count` is at most the spare capacity.
    unsafe { buffer.set_len(buffer.len() + count as usize) };
    Ok(count as usize)
}

/// One `write`; how many bytes it took.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of a live slice.
    let count = unsafe { libc::write(fd.as_fd().as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// Asks for a pipe of 1 MiB, the most an unprivileged process may have; a smaller one also works.
pub fn widen_pipe(fd: impl AsFd) {
    // SAFETY: no pointers. A refusal is harmless, so the result is not looked at.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20) };
}

/// Connects to the Unix socket at `path`. Waits up to `patience` if the listener's queue is full.
pub fn connect_unix(path: &Path, patience: Duration) -> io::Result<OwnedFd> {
    let bytes = path.as_os_str().as_bytes();
    // SAFETY: an all-zero sockaddr_un is a valid value.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "socket path too long"));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: no pointers; the result is checked and owned by nobody else.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: an all-zero timeval is a valid value.
    let mut limit: libc::timeval = unsafe { mem::zeroed() };
    limit.tv_sec = patience.as_secs() as libc::time_t;
    limit.tv_usec = patience.subsec_micros() as libc::suseconds_t;
    // SAFETY: pointer and length are those of `limit`, which lives for the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            (&raw const limit).cast(),
            mem::size_of_val(&limit) as libc::socklen_t,
        )
    })?;
    // SAFETY: pointer and length are those of `address`, which lives for the call.
    check(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            mem::size_of_val(&address) as libc::socklen_t,
        )
    })?;
    Ok(socket)
}

/// Raises the soft limit of open descriptors to `wanted` (children inherit it), the hard limit too
/// where that is allowed. Returns the limit reached.
pub fn raise_descriptor_limit(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives for the call and has the type the call writes.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    if limit.rlim_cur >= wanted {
        return limit.rlim_cur;
    }
    for maximum in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let next = libc::rlimit { rlim_cur: wanted.min(maximum), rlim_max: maximum };
        // SAFETY: `next` lives for the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &next) } == 0 {
            return next.rlim_cur;
        }
    }
    limit.rlim_cur
}

/// Binds this thread, and whatever it starts, to one CPU until dropped.
pub struct OneCpu(libc::cpu_set_t);

impl OneCpu {
    /// Chooses the last CPU that is allowed: interrupts tend to go to the first.
    pub fn bind() -> io::Result<Self> {
        // SAFETY: an all-zero cpu_set_t is the empty set.
        let (mut allowed, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { mem::zeroed() };
        let len = mem::size_of::<libc::cpu_set_t>();
        // SAFETY: pointer and length are those of `allowed`; 0 is the calling thread.
        check(unsafe { libc::sched_getaffinity(0, len, &mut allowed) })?;
        // SAFETY: every index is below the size of the set.
        let last = (0..len * 8).rev().find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &allowed) });
        // SAFETY: as above.
        unsafe { libc::CPU_SET(last.unwrap_or(0), &mut one) };
        // SAFETY: pointer and length are those of `one`.
        check(unsafe { libc::sched_setaffinity(0, len, &one) })?;
        Ok(Self(allowed))
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        // SAFETY: pointer and length are those of the set that was read before.
        unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &self.0) };
    }
}

/// Has the kernel kill the child of `command` when this thread dies, whatever kills it.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure only makes one async-signal-safe system call between fork and exec.
    unsafe {
        command.pre_exec(|| {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            Ok(())
        });
    }
}

/// Sends SIGKILL to the process group `group` (a child started with `process_group(0)`).
pub fn kill_group(group: u32) {
    // SAFETY: no pointers. The group's leader has not been reaped yet, so the number is still its own.
    unsafe { libc::kill(-(group as i32), libc::SIGKILL) };
}

/// Standard input and output as plain descriptors, without std's buffers.
pub fn stdio() -> (BorrowedFd<'static>, BorrowedFd<'static>) {
    // SAFETY: nobody in this program closes descriptors 0 and 1.
    unsafe { (BorrowedFd::borrow_raw(0), BorrowedFd::borrow_raw(1)) }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
