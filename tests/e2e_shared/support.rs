//! A directory and a port, callers there, and the processes behind them.

#[allow(dead_code, unused_imports)]
#[path = "../e2e_mux/support/mod.rs"]
pub mod base;

pub use base::PATIENCE;
pub use base::mux::{BINARY, Scratch};
pub use base::process::{Watched, descendants, holds_within};

use muxloop::reactor::{procfs, sys};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// Where a shared server is tried.
pub struct Station {
    pub dir: Scratch,
    pub port: u16,
}

impl Station {
    pub fn new() -> Station {
        // Free a moment ago, which is as good as it gets.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Station { dir: Scratch::new(), port }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.0.join(name)
    }

    /// A caller of an HTTP server that is `muxloop proxy --stdio`, which notes each of its starts.
    pub fn caller(&self, options: &[&str]) -> Caller {
        self.caller_of(options, &format!("exec {}", self.server()))
    }

    /// The command line of that server, for the shell.
    pub fn server(&self) -> String {
        format!(
            "'{BINARY}' proxy --stdio '{BINARY} demo-server' --outputTransport streamableHttp \
             -p {{host}}:{{port}}"
        )
    }

    /// A caller of a shell script, which notes that it was started.
    pub fn caller_of(&self, options: &[&str], script: &str) -> Caller {
        Caller::start(self.command(options, script).stdin(Stdio::piped()))
    }

    pub fn command(&self, options: &[&str], script: &str) -> Command {
        let script = format!("echo $$ >> '{}'; {script}", self.path("starts").display());
        let mut command = self.bare();
        command.args(["--json", "--dir"]).arg(self.path("d")).args(["--idle-exit", "0"]).args(options);
        command.args(["--", "/bin/sh", "-c", &script]);
        command
    }

    /// A command line that says nothing but the port.
    pub fn bare(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["daemon", "--port", &self.port.to_string()]);
        command.env(MARK, &self.dir.0).env("HOME", &self.dir.0).stdin(Stdio::null());
        command
    }

    /// How often the server was started.
    pub fn starts(&self) -> usize {
        fs::read_to_string(self.path("starts")).unwrap_or_default().lines().count()
    }

    /// What `clients.json` says.
    pub fn registry(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("d/clients.json")).expect("there is a registry")).unwrap()
    }

    /// Process ids of the callers that it lists; of none while there is no registry.
    pub fn registered(&self) -> Vec<i32> {
        let registry = fs::read(self.path("d/clients.json")).unwrap_or_else(|_| b"{\"clients\":[]}".into());
        let registry: Value = serde_json::from_slice(&registry).expect("all of it or nothing");
        let clients = registry["clients"].as_array().unwrap();
        let mut pids: Vec<i32> =
            clients.iter().map(|client| client["pid"].as_i64().unwrap() as i32).collect();
        pids.sort_unstable();
        pids
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("d/log")).unwrap_or_default()
    }

    /// Whether the server answers.
    pub fn answers(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        ask().is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
    }

    /// Processes that descend from a caller of this station, and are none.
    fn left(&self) -> Vec<String> {
        let is_ours = |pid: &i32| procfs::variable(*pid, MARK).is_some_and(|dir| *self.dir.0 == *dir);
        procfs::all()
            .into_iter()
            .filter(is_ours)
            .map(|pid| format!("{pid} {}", procfs::command(pid)))
            .collect()
    }

    /// Nobody is there any more, no file that says otherwise, and the port is free.
    pub fn assert_over(&self) {
        assert!(holds_within(PATIENCE, || self.left().is_empty()), "{:?}\n{}", self.left(), self.log());
        for file in ["sock", "sock.lock", "pid", "clients.json", "clients.json.new"] {
            assert!(!self.path("d").join(file).exists(), "{file} is left\n{}", self.log());
        }
        TcpListener::bind(("127.0.0.1", self.port)).expect("the port is free");
    }

    /// The same after a kill -9 of the supervisor with nobody left to start another.
    pub fn assert_no_process(&self) {
        assert!(holds_within(PATIENCE, || self.left().is_empty()), "{:?}\n{}", self.left(), self.log());
        TcpListener::bind(("127.0.0.1", self.port)).expect("the port is free");
    }
}

/// A `muxloop daemon`. One that is left over at the end of a test is killed.
pub struct Caller {
    pub child: Child,
    pub pid: i32,
    out: Receiver<String>,
    err: Receiver<String>,
}

/// What a caller prints when the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub url: String,
    pub server: i32,
    pub supervisor: i32,
    pub started: bool,
}

impl Caller {
    pub fn start(command: &mut Command) -> Caller {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Caller { pid: child.id() as i32, child, out, err }
    }

    /// Waits until the server answers.
    pub fn told(&self) -> Told {
        let line = self.out.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("nothing printed; on stderr: {:?}", self.err.try_iter().collect::<Vec<_>>())
        });
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        Told {
            url: told["url"].as_str().unwrap().to_owned(),
            server: told["server"].as_i64().unwrap() as i32,
            supervisor: told["supervisor"].as_i64().unwrap() as i32,
            started: told["started"].as_bool().unwrap(),
        }
    }

    pub fn line(&self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    /// Waits for a line of stderr.
    pub fn complains(&self, needle: &str) -> String {
        let mut others = Vec::new();
        loop {
            let line = self.err.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error} for '{needle}' after {others:?}"));
            if line.contains(needle) {
                return line;
            }
            others.push(line);
        }
    }

    /// What it wrote to stderr and was not looked at yet.
    pub fn complaints(&self) -> Vec<String> {
        self.err.try_iter().collect()
    }

    pub fn signal(&self, signal: i32) {
        sys::signal_process(self.pid, signal).unwrap();
    }

    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Its exit status, and what is left of its stderr.
    pub fn ended(&mut self) -> (ExitStatus, String) {
        Watched::new(self.pid).assert_ends();
        let status = self.child.wait().unwrap();
        (status, self.err.iter().collect::<Vec<_>>().join("\n"))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn leave(&mut self) {
        self.signal(libc::SIGTERM);
        assert_eq!(self.ended().0.code(), Some(0));
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Told {
    /// The supervisor, its guard, the server and all below it.
    pub fn processes(&self) -> Vec<Watched> {
        let below = descendants(self.supervisor);
        assert!(below.contains(&self.server), "{below:?}");
        below.into_iter().chain([self.supervisor]).map(Watched::new).collect()
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Carried by all that descends from a station's callers.
const MARK: &str = "E2E_SHARED";
