//! The four that run side by side, and how each is started in front of an echo server.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{End, Failure};
use crate::payload::Shape;
use crate::processes::{Process, Scratch, last_words, own_binary};
use crate::sys;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relay {
    /// No relay: each client has an echo server of its own and talks to it through its two pipes.
    Direct,
    Floor,
    Muxloop,
    RmcpMux,
}

impl Relay {
    pub const ALL: [Relay; 4] = [Relay::Direct, Relay::Floor, Relay::Muxloop, Relay::RmcpMux];

    pub fn name(self) -> &'static str {
        match self {
            Relay::Direct => "direct",
            Relay::Floor => "floor",
            Relay::Muxloop => "muxloop",
            Relay::RmcpMux => "rmcp-mux",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|relay| relay.name() == name)
    }

    /// Every client of `direct` costs a process of its own, which says nothing at a thousand clients.
    pub fn takes_part(self, shape: Shape) -> bool {
        self != Relay::Direct || shape.clients + shape.idle <= 64
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where the binaries under test are.
pub struct Binaries {
    pub muxloop: PathBuf,
    pub rmcp_mux: PathBuf,
}

impl Binaries {
    /// `MUXLOOP_BIN`, else the static release build, else the host's release build, else the one
    /// that cargo built for this bench; rmcp-mux from `.bench`, where `make bench` installs it.
    pub fn find() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let named = std::env::var_os("MUXLOOP_BIN").map(PathBuf::from);
        let built = ["target/x86_64-unknown-linux-musl/release/muxloop", "target/release/muxloop"];
        let built = built.iter().map(|path| root.join(path)).find(|path| path.is_file());
        let muxloop = named.or(built).unwrap_or_else(|| env!("CARGO_BIN_EXE_muxloop").into());
        Self { muxloop, rmcp_mux: root.join(".bench/bin/rmcp-mux") }
    }
}

/// What a relay is started for.
#[derive(Clone, Copy)]
pub struct Purpose {
    pub clients: usize,
    pub bytes: usize,
    /// How long the server works on each request.
    pub delay: Duration,
}

/// A relay with its server, or for `direct` the servers alone. Gone when dropped.
pub struct Running {
    // Dropped in this order: processes before the folder their socket is in.
    servers: Vec<Process>,
    relay: Option<Process>,
    scratch: Scratch,
}

impl Running {
    pub fn start(relay: Relay, purpose: Purpose, binaries: &Binaries) -> Result<Self, Failure> {
        let scratch = Scratch::new()?;
        let mut running = Self { servers: Vec::new(), relay: None, scratch };
        if relay != Relay::Direct {
            let mut command = running.command(relay, purpose, binaries)?;
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(File::create(running.log())?);
            let mut process = Process::spawn(&mut command)?;
            listening(&running.socket(), &mut process)
                .map_err(|why| Failure(format!("{relay} {why}; it said: {}", running.last_words())))?;
            running.relay = Some(process);
        }
        Ok(running)
    }

    /// The process id of the relay alone, without its server.
    pub fn relay_pid(&self) -> Option<u32> {
        self.relay.as_ref().map(Process::pid)
    }

    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("bench.sock")
    }

    /// One more connection: to the relay's socket, or to a server started for it.
    pub fn connect(&mut self) -> Result<End, Failure> {
        if self.relay.is_some() {
            return Ok(End::socket(&self.socket())?);
        }
        let mut server = Process::spawn(&mut own_binary(&["--echo"])?)?;
        let output = server.child().stdout.take().expect("stdout is piped");
        let input = server.child().stdin.take().expect("stdin is piped");
        self.servers.push(server);
        Ok(End::pipes(OwnedFd::from(output), OwnedFd::from(input))?)
    }

    /// What the relay said last on standard error, for failures.
    pub fn last_words(&self) -> String {
        last_words(&self.log())
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("stderr.log")
    }

    fn command(&self, relay: Relay, purpose: Purpose, binaries: &Binaries) -> io::Result<Command> {
        let own = std::env::current_exe()?;
        let delay_us = purpose.delay.as_micros().to_string();
        let echo = ["--echo", "--delay-us", &delay_us];
        // Room for the probe that waits for the socket, and for keys that a relay adds to a message.
        let (clients, bytes) = (purpose.clients + 8, purpose.bytes.max(1 << 20) + 65_536);
        let mut command = match relay {
            Relay::Direct => unreachable!("direct has no relay"),
            Relay::Floor => {
                let mut command = Command::new(&own);
                command.arg("--floor").arg(self.socket()).arg("--").arg(&own).args(echo);
                command
            }
            Relay::Muxloop => {
                let config = self.scratch.path().join("mux.toml");
                let servers = [("bench", self.socket())];
                fs::write(&config, mux_config(&servers, &own, &echo, clients, bytes, false))?;
                let mut command = Command::new(&binaries.muxloop);
                command.arg("-c").arg(config);
                command
            }
            Relay::RmcpMux => {
                let mut command = Command::new(&binaries.rmcp_mux);
                command.arg("--socket").arg(self.socket()).arg("--cmd").arg(&own);
                command.arg("--max-active-clients").arg(clients.to_string());
                command.arg("--max-request-bytes").arg(bytes.to_string());
                command.args(["--heartbeat-enabled", "false", "--lazy-start", "false"]);
                command.args(["--log-level", "error", "--"]).args(echo);
                command
            }
        };
        // Whatever a relay keeps in a home folder goes with the scratch folder.
        command.env("HOME", self.scratch.path()).env("XDG_RUNTIME_DIR", self.scratch.path());
        Ok(command)
    }
}

/// Waits up to ten seconds for `socket` to take connections; the error says what became of `process`.
pub fn listening(socket: &Path, process: &mut Process) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let error = match sys::connect_unix(socket, Duration::from_secs(1)) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if let Ok(Some(status)) = process.exited() {
            return Err(format!("ended before it listened ({status})"));
        }
        if Instant::now() >= deadline {
            return Err(format!("does not listen: {error}"));
        }
        // Nothing tells that a foreign process began to listen: ask again.
        thread::sleep(Duration::from_millis(2));
    }
}

/// A `mux.toml`, read by muxloop and rmcp-mux, with a server per `(name, socket)`, each running
/// `command args`. A heartbeat, if any, beats every second.
pub fn mux_config(
    servers: &[(&str, PathBuf)],
    command: &Path,
    args: &[&str],
    clients: usize,
    bytes: usize,
    heartbeat: bool,
) -> String {
    let mut config = String::new();
    for (name, socket) in servers {
        // Rust's string escapes are TOML's for the characters that paths hold. The load speaks the old era and the
        // echo either: it is to be asked in the same, as the measure is what passes through unchanged.
        config += &format!(
            "[servers.{name}]\nsocket = {socket:?}\ncmd = {command:?}\nargs = {args:?}\n\
             max_active_clients = {clients}\nmax_request_bytes = {bytes}\n\
             heartbeat_enabled = {heartbeat}\nheartbeat_interval_ms = 1000\nlazy_start = false\n\
             era = \"legacy\"\n\n"
        );
    }
    config
}
