//! Processes to watch and to talk to.

use muxloop::reactor::process::Owner;
use muxloop::reactor::procfs;
use muxloop::reactor::sys::{self, Pid};
use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let path = env::temp_dir().join(format!("muxloop-e2e-{}-{nanos}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Scratch(path)
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process of whom the end can be waited for.
pub struct Watched {
    pub pid: Pid,
    process: OwnedFd,
}

impl Watched {
    pub fn new(pid: Pid) -> Watched {
        Watched { pid, process: sys::open_process(pid).unwrap_or_else(|error| panic!("{pid}: {error}")) }
    }
    pub fn ends_within(&self, timeout: Duration) -> bool {
        let mut poll = mio::Poll::new().unwrap();
        let source = &mut mio::unix::SourceFd(&self.process.as_raw_fd());
        poll.registry().register(source, mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, Some(timeout)).unwrap();
        !events.is_empty()
    }
    pub fn assert_ends(&self) {
        assert!(self.ends_within(PATIENCE), "{} lives: {}", self.pid, procfs::command(self.pid));
    }
    pub fn lives(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }
}

/// The daemon of this file in a process of its own.
pub struct Daemon {
    child: Child,
    lines: Receiver<String>,
    /// Lines that were read while another was waited for.
    other: std::cell::RefCell<VecDeque<String>>,
    pub guard: Pid,
}

impl Daemon {
    pub fn start(socket: &Path, scripts: &[&str]) -> Daemon {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("daemon").arg(socket).args(scripts);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut daemon = Daemon { child, lines, other: Default::default(), guard: 0 };
        daemon.guard = daemon.line("guard ").parse().unwrap();
        daemon
    }

    /// The next line that starts so, without that start; other lines stay for others.
    pub fn line(&self, start: &str) -> String {
        let mut other = self.other.borrow_mut();
        if let Some(at) = other.iter().position(|line| line.starts_with(start)) {
            return other.remove(at).unwrap()[start.len()..].to_owned();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line '{start}…'"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
            other.push_back(line);
        }
    }

    /// Waits for so many trees to be complete; all their processes.
    pub fn trees(&self, count: usize) -> Vec<Watched> {
        (0..count).flat_map(|index| self.tree_of(index)).collect()
    }

    /// The five processes of one child that runs [`TREE`], the child itself last.
    pub fn tree_of(&self, index: usize) -> Vec<Watched> {
        self.line(&format!("out {index} complete"));
        let pid = |_| Watched::new(self.line(&format!("out {index} pid ")).parse().unwrap());
        (0..5).map(pid).collect()
    }

    pub fn pid(&self) -> Pid {
        self.child.id() as Pid
    }

    pub fn owner(&self) -> Owner {
        Owner { pid: self.pid(), start: procfs::stat(self.pid()).unwrap().start }
    }

    pub fn kill(mut self, signal: i32) {
        sys::signal_process(self.pid(), signal).unwrap();
        self.child.wait().unwrap();
    }

    pub fn stop(self) {
        sys::signal_process(self.pid(), libc::SIGTERM).unwrap();
        self.ended();
    }

    pub fn ended(mut self) {
        assert!(Watched::new(self.pid()).ends_within(PATIENCE));
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
