//! A host that starts the shim, and a daemon that the shim connects to.

use muxloop::reactor::poll::{Interest, poll};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let path = env::temp_dir().join(format!("muxloop-proxy-{}-{nanos}", std::process::id()));
        fs::create_dir(&path).unwrap();
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

/// This program as the shim: `args` are the socket, `--wait`'s value, and how long it reconnects.
pub fn shim(socket: &Path, wait_ms: &str, reconnect_ms: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg("proxy").arg(socket).args([wait_ms, reconnect_ms]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A host with its shim.
pub struct Host {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Host {
    pub fn start(socket: &Path) -> Host {
        Host::with(&mut shim(socket, "0", "10000"))
    }

    pub fn with(command: &mut Command) -> Host {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let stdin = child.stdin.take();
        Host { child, stdin, lines: lines_of(stdout) }
    }

    pub fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line from the shim")
    }

    /// All lines until the shim closes its stdout.
    pub fn rest(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => rest.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return rest,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the shim goes on: {rest:?}"),
            }
        }
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The exit code, and what was said on stderr.
    pub fn end(mut self) -> (Option<i32>, String) {
        self.rest();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }

    /// Figures of the shim in KiB.
    pub fn rss_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let stream = BufReader::new(stream);
        stream.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    lines
}

/// Where the shim connects to.
pub struct Daemon {
    listener: UnixListener,
    path: PathBuf,
}

impl Daemon {
    pub fn listen(path: &Path) -> Daemon {
        Daemon { listener: UnixListener::bind(path).unwrap(), path: path.to_owned() }
    }

    pub fn accept(&self) -> Peer {
        let ask = Interest { descriptor: self.listener.as_raw_fd(), readable: true, writable: false };
        let ready = poll([ask], PATIENCE.as_millis() as i32).unwrap();
        assert!(ready[0].readable, "nobody connects");
        let stream = self.listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The shim as the daemon sees it.
pub struct Peer {
    pub reader: BufReader<UnixStream>,
    pub stream: UnixStream,
}

impl Peer {
    /// The next line, `None` at the end.
    pub fn try_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line or the end");
        line.strip_suffix('\n').map(str::to_owned)
    }

    pub fn line(&mut self) -> String {
        self.try_line().expect("a line before the end")
    }

    pub fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Both ends of a socket, as Node gives them to its children for pipes.
pub fn socket_pair() -> (UnixStream, OwnedFd) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (ours, theirs.into())
}
