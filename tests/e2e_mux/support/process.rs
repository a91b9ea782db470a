//! Processes from the outside: waiting for their end, their figures in `/proc`.

use muxloop::reactor::poll::{Interest, poll};
use muxloop::reactor::{procfs, sys};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A process whose end can be waited for although it is nobody's child here.
pub struct Watched {
    pub pid: i32,
    process: OwnedFd,
}

impl Watched {
    pub fn new(pid: i32) -> Watched {
        Watched { pid, process: sys::open_process(pid).unwrap_or_else(|error| panic!("{pid}: {error}")) }
    }

    pub fn ends_within(&self, timeout: Duration) -> bool {
        let ask = Interest { descriptor: self.process.as_raw_fd(), readable: true, writable: false };
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let [ready] = poll([ask], left.as_millis() as i32).unwrap();
            // A signal may end the call early.
            if ready.readable || left.is_zero() {
                return ready.readable;
            }
        }
    }

    pub fn assert_ends(&self) {
        assert!(self.ends_within(PATIENCE), "{} lives: {}", self.pid, procfs::command(self.pid));
    }

    pub fn lives(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }
}

/// Every process below `pid`, itself not counted.
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut found = procfs::children(pid);
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(procfs::children(parent));
        next += 1;
    }
    found
}

/// A figure of `/proc/PID/status`: the first number of the line that starts so.
pub fn figure(pid: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Open descriptors of a process.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}

/// Whether something becomes true in time that no event tells of. For figures of the kernel only.
pub fn holds_within(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}
