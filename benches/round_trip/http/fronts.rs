//! The HTTP fronts that run side by side, and how each is started in front of the echo server.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::Failure;
use crate::processes::{Process, Scratch, last_words};
use crate::relays::{Binaries, mux_config};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Front {
    /// `muxloop -c`: all sessions share one server.
    Muxloop,
    /// The same, but the sessions are at the endpoint of all servers.
    MuxloopMerged,
    /// `muxloop proxy --stdio … --stateful`: a server for each session.
    MuxloopProxy,
    /// npm; a server for each session.
    Supergateway,
    /// npm; one server.
    McpProxyNode,
    /// PyPI; one server.
    McpProxyPython,
}

impl Front {
    pub const ALL: [Front; 6] = [
        Front::Muxloop,
        Front::MuxloopMerged,
        Front::MuxloopProxy,
        Front::Supergateway,
        Front::McpProxyNode,
        Front::McpProxyPython,
    ];
    pub const OWN: [Front; 3] = [Front::Muxloop, Front::MuxloopMerged, Front::MuxloopProxy];

    pub fn name(self) -> &'static str {
        match self {
            Front::Muxloop => "muxloop -c",
            Front::MuxloopMerged => "muxloop merged",
            Front::MuxloopProxy => "muxloop proxy",
            Front::Supergateway => "supergateway",
            Front::McpProxyNode => "mcp-proxy/npm",
            Front::McpProxyPython => "mcp-proxy/PyPI",
        }
    }

    pub fn is_rival(self) -> bool {
        !Front::OWN.contains(&self)
    }

    /// The program, where `tools/rivals.sh` installs it or `binaries` has it.
    pub fn program(self, binaries: &Binaries) -> PathBuf {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".bench/rivals");
        match self {
            Front::Muxloop | Front::MuxloopMerged | Front::MuxloopProxy => binaries.muxloop.clone(),
            Front::Supergateway => installed.join("node_modules/.bin/supergateway"),
            Front::McpProxyNode => installed.join("node_modules/.bin/mcp-proxy"),
            Front::McpProxyPython => installed.join("python/bin/mcp-proxy"),
        }
    }
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A front with its servers. Gone when dropped.
pub struct Running {
    // Dropped before the folder of its log.
    process: Process,
    scratch: Scratch,
    pub address: SocketAddr,
    /// Of the URL that speaks Streamable HTTP.
    pub path: &'static str,
}

impl Running {
    /// Starts `front` for as many sessions and waits until it takes connections.
    pub fn start(front: Front, sessions: usize, binaries: &Binaries) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let address = free_address()?;
        let (mut command, path) = command(front, address, sessions, scratch.path(), binaries)?;
        // Whatever a front keeps in a home folder goes with the scratch folder.
        command.env("HOME", scratch.path()).env("XDG_RUNTIME_DIR", scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(log(&scratch))?);
        let mut running = Self { process: Process::spawn(&mut command)?, scratch, address, path };
        running
            .await_listener()
            .map_err(|why| Failure(format!("{front} {why}; it said: {}", running.last_words())))?;
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What the front said last on standard error, for failures.
    pub fn last_words(&self) -> String {
        last_words(&log(&self.scratch))
    }

    fn await_listener(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let Err(error) = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)) else {
                return Ok(());
            };
            if let Ok(Some(status)) = self.process.exited() {
                return Err(format!("ended before it listened ({status})"));
            }
            if Instant::now() >= deadline {
                return Err(format!("does not listen: {error}"));
            }
            // Nothing tells that a foreign process began to listen: ask again.
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn command(
    front: Front,
    address: SocketAddr,
    sessions: usize,
    scratch: &Path,
    binaries: &Binaries,
) -> io::Result<(Command, &'static str)> {
    let own = std::env::current_exe()?;
    let port = address.port().to_string();
    // Two of them take the server as one text for a shell.
    let echo = format!("'{}' --echo", own.display());
    let mut command = Command::new(front.program(binaries));
    let at_all = front == Front::MuxloopMerged;
    let path = match front {
        Front::Muxloop | Front::MuxloopMerged => {
            let config = scratch.join("mux.toml");
            let servers = [("bench", scratch.join("bench.sock"))];
            let servers = mux_config(&servers, &own, &["--echo"], sessions + 8, 1 << 20, false);
            let front = format!("http = \"{address}\"\n[session]\nmax_sessions = {}\n", sessions + 8);
            // The load calls the tool by its own name.
            fs::write(&config, front + "[gateway]\nnames = \"plain\"\n" + &servers)?;
            command.arg("-c").arg(config);
            if at_all { "/mcp" } else { "/servers/bench/mcp" }
        }
        Front::MuxloopProxy => {
            command.args(["proxy", "--stdio", &echo, "--port", &port]);
            command.args(["--outputTransport", "streamableHttp", "--stateful"]);
            "/mcp"
        }
        Front::Supergateway => {
            command.args(["--stdio", &echo, "--port", &port, "--logLevel", "none"]);
            command.args(["--outputTransport", "streamableHttp", "--stateful"]);
            "/mcp"
        }
        Front::McpProxyNode => {
            command.args(["--host", "127.0.0.1", "--port", &port, "--server", "stream", "--"]);
            command.arg(own).arg("--echo");
            "/mcp"
        }
        Front::McpProxyPython => {
            command.args(["--port", &port, "--log-level", "ERROR", "--"]).arg(own).arg("--echo");
            "/mcp"
        }
    };
    Ok((command, path))
}

/// An address on this machine that nobody listened on a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn log(scratch: &Scratch) -> PathBuf {
    scratch.path().join("stderr.log")
}

/// Python takes seconds to load on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);
