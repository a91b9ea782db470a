//! The lines of a recording: a [`Header`], then [`Event`]s (`docs/capture.md`).

pub use super::bytes::Bytes;
use crate::base::Key;
use crate::engine::operate::Host;
use crate::engine::port::{ExitStatus, Kill, Ready, Signal, SpawnSpec};
use crate::engine::{ServerSetup, port};
#[cfg(feature = "http")]
use crate::front::Settings;
#[cfg(feature = "gateway")]
use crate::gateway;
use crate::mux::policy::ServerPolicy;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::io;
use std::net::IpAddr;

/// Version of the format; another one is refused.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub muxloop_capture: u32,
    /// Of the muxloop that recorded.
    pub version: String,
    /// RFC 3339, UTC.
    pub recorded_at: String,
    /// What the engine's jitter comes from; decimal, because it needs all 64 bits.
    pub seed: String,
    /// Their clients come in by the listener of the same index.
    pub servers: Vec<Setup>,
}

/// A server without what may be secret about its process: arguments and values of the environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    pub policy: ServerPolicy,
    pub program: String,
    /// Names only.
    pub env: Vec<String>,
    /// Equal for servers whose processes are started alike.
    pub spec: usize,
    pub socket: String,
    pub service_name: String,
}

/// Everything after the header: what was asked of the engine, and what it then asked of its platform, with
/// the answers. Times are the loop's milliseconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event<'a> {
    // What the program around the engine calls.
    OpenControl {
        listener: usize,
        host: Host,
    },
    /// The front is told, at the start or by a reload.
    #[cfg(feature = "http")]
    OpenHttp {
        settings: Settings,
    },
    #[cfg(feature = "http")]
    OpenHttpDoor {
        listener: usize,
        loopback: bool,
    },
    #[cfg(feature = "http")]
    CloseHttpDoor {
        listener: usize,
    },
    Begin {
        now: u64,
    },
    Turn {
        now: u64,
        ready: Vec<ReadyLine>,
    },
    Log {
        now: u64,
        server: Option<usize>,
        text: Cow<'a, str>,
    },
    AddServer {
        listener: usize,
        setup: Setup,
    },
    BeginServer {
        now: u64,
        server: usize,
    },
    ChangeServer {
        now: u64,
        server: usize,
        setup: Setup,
    },
    RenameServer {
        server: usize,
        setup: Setup,
    },
    RetireServer {
        now: u64,
        server: usize,
    },
    /// A merged endpoint comes to be, or is made of other parts.
    #[cfg(feature = "gateway")]
    Merge {
        now: u64,
        setup: Setup,
        /// Without the texts of fixed values (`capture::merged`).
        parts: gateway::Setup,
    },
    #[cfg(feature = "gateway")]
    Unmerge {
        now: u64,
        name: String,
    },
    #[cfg(feature = "gateway")]
    OnServerChanged {
        now: u64,
        server: usize,
    },
    /// Names in their order.
    ArrangeServers {
        names: Vec<String>,
    },
    /// `start`, `stop` or `restart`.
    Steer {
        now: u64,
        server: usize,
        verb: String,
    },
    Drain {
        now: u64,
        timeout_ms: u64,
    },
    AnswerReload {
        outcome: Result<Value, String>,
    },
    Stop {
        now: u64,
    },
    /// The recording is whole.
    End {
        turns: u64,
        bytes_out: u64,
    },

    // What the engine then calls. Without `error` it succeeded.
    Accept {
        listener: usize,
        link: Option<u32>,
        /// Where it comes from, if that is a network.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        error: Option<Fault>,
    },
    Register {
        key: u64,
        link: u32,
        error: Option<Fault>,
    },
    Deregister {
        key: u64,
        link: u32,
    },
    /// `data` of no bytes is the end of the stream.
    Read {
        link: u32,
        data: Bytes<'a>,
        error: Option<Fault>,
    },
    /// `data` is what was taken of `of` offered bytes.
    Write {
        link: u32,
        of: usize,
        data: Bytes<'a>,
        error: Option<Fault>,
    },
    Shutdown {
        link: u32,
        error: Option<Fault>,
    },
    Spawn {
        process: u64,
        spec: usize,
        outcome: Result<Started, String>,
    },
    Kill {
        process: u64,
        how: KillWord,
    },
    Sweep {
        process: u64,
    },
    Random {
        data: Bytes<'a>,
    },
    Resident {
        pid: u32,
        bytes: Option<u64>,
    },
}

/// A process that could be started.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    pub pid: u32,
    pub stdio: u32,
    pub stderr: u32,
}

/// A failed call. The words may end up in messages, so they are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    kind: FaultKind,
    text: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FaultKind {
    WouldBlock,
    ConnectionReset,
    BrokenPipe,
    Other,
}

/// One of [`Ready`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ReadyLine {
    Stream {
        key: u64,
        #[serde(default, skip_serializing_if = "is_false")]
        readable: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        writable: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        ended: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        hangup: bool,
    },
    Accept {
        listener: usize,
    },
    Exited {
        process: u64,
        /// Exit code.
        code: Option<i32>,
        /// Or the signal that ended it.
        signal: Option<i32>,
    },
    Signal(SignalWord),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalWord {
    Stop,
    Reload,
    Reopen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillWord {
    Terminate,
    Kill,
}

impl Setup {
    /// What is recorded of a server. `spec` tells apart how processes are started.
    pub fn of(setup: &ServerSetup, spec: usize) -> Setup {
        Setup {
            policy: setup.policy.clone(),
            program: setup.spawn.program.clone(),
            env: setup.spawn.env.iter().map(|(name, _)| name.clone()).collect(),
            spec,
            socket: setup.socket.clone(),
            service_name: setup.service_name.clone(),
        }
    }

    /// The server for an engine whose processes are only played: their arguments are `spec` and its name,
    /// so that it can be told which one is started.
    pub fn for_replay(&self) -> ServerSetup {
        let spawn = SpawnSpec {
            program: self.program.clone(),
            args: vec![self.spec.to_string(), self.policy.name.clone()],
            env: self.env.iter().map(|name| (name.clone(), String::new())).collect(),
            ..SpawnSpec::default()
        };
        ServerSetup {
            policy: self.policy.clone(),
            spawn,
            socket: self.socket.clone(),
            service_name: self.service_name.clone(),
        }
    }
}

impl Event<'_> {
    /// Whether the program around the engine did it, not the engine.
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Event::Accept { .. }
                | Event::Register { .. }
                | Event::Deregister { .. }
                | Event::Read { .. }
                | Event::Write { .. }
                | Event::Shutdown { .. }
                | Event::Spawn { .. }
                | Event::Kill { .. }
                | Event::Sweep { .. }
                | Event::Random { .. }
                | Event::Resident { .. }
        )
    }
}

impl Fault {
    pub fn of(error: &io::Error) -> Fault {
        let kind = match error.kind() {
            io::ErrorKind::WouldBlock => FaultKind::WouldBlock,
            io::ErrorKind::ConnectionReset => FaultKind::ConnectionReset,
            io::ErrorKind::BrokenPipe => FaultKind::BrokenPipe,
            _ => FaultKind::Other,
        };
        Fault { kind, text: error.to_string() }
    }

    pub fn to_error(&self) -> io::Error {
        let kind = match self.kind {
            FaultKind::WouldBlock => io::ErrorKind::WouldBlock,
            FaultKind::ConnectionReset => io::ErrorKind::ConnectionReset,
            FaultKind::BrokenPipe => io::ErrorKind::BrokenPipe,
            FaultKind::Other => io::ErrorKind::Other,
        };
        io::Error::new(kind, self.text.clone())
    }
}

impl ReadyLine {
    pub fn of(event: &Ready) -> ReadyLine {
        match *event {
            Ready::Stream { key, readable, writable, ended, hangup } => {
                ReadyLine::Stream { key: key.as_u64(), readable, writable, ended, hangup }
            }
            Ready::Accept { listener } => ReadyLine::Accept { listener },
            Ready::Exited { process, status } => {
                let (code, signal) = match status {
                    ExitStatus::Code(code) => (Some(code), None),
                    ExitStatus::Signal(signal) => (None, Some(signal)),
                };
                ReadyLine::Exited { process: process.as_u64(), code, signal }
            }
            Ready::Signal(signal) => ReadyLine::Signal(match signal {
                Signal::Stop => SignalWord::Stop,
                Signal::Reload => SignalWord::Reload,
                Signal::Reopen => SignalWord::Reopen,
            }),
        }
    }

    /// # Errors
    /// It says what cannot be.
    pub fn to_ready(self) -> Result<Ready, String> {
        let key_of = |raw: u64| Key::from_u64(raw).ok_or_else(|| format!("{raw} is no key"));
        Ok(match self {
            ReadyLine::Stream { key, readable, writable, ended, hangup } => {
                Ready::Stream { key: key_of(key)?, readable, writable, ended, hangup }
            }
            ReadyLine::Accept { listener } => Ready::Accept { listener },
            ReadyLine::Exited { process, code, signal } => {
                let status = match (code, signal) {
                    (Some(code), None) => ExitStatus::Code(code),
                    (None, Some(signal)) => ExitStatus::Signal(signal),
                    _ => return Err("a process ends with a code or by a signal".into()),
                };
                Ready::Exited { process: key_of(process)?, status }
            }
            ReadyLine::Signal(word) => Ready::Signal(match word {
                SignalWord::Stop => Signal::Stop,
                SignalWord::Reload => Signal::Reload,
                SignalWord::Reopen => Signal::Reopen,
            }),
        })
    }
}

impl From<Kill> for KillWord {
    fn from(how: Kill) -> KillWord {
        match how {
            port::Kill::Terminate => KillWord::Terminate,
            port::Kill::Kill => KillWord::Kill,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_comes_back() {
        let key = Key::from_u64(65_537).unwrap();
        let events = [
            Ready::Stream { key, readable: true, writable: false, ended: true, hangup: false },
            Ready::Accept { listener: 3 },
            Ready::Exited { process: key, status: ExitStatus::Code(-1) },
            Ready::Exited { process: key, status: ExitStatus::Signal(9) },
            Ready::Signal(Signal::Reload),
        ];
        for event in events {
            let text = serde_json::to_string(&ReadyLine::of(&event)).unwrap();
            let back: ReadyLine = serde_json::from_str(&text).unwrap();
            assert_eq!(back.to_ready(), Ok(event), "{text}");
        }
        let none = ReadyLine::Exited { process: 1, code: None, signal: None };
        assert!(none.to_ready().is_err());
        let no_key =
            ReadyLine::Stream { key: u64::MAX, readable: true, writable: true, ended: false, hangup: false };
        assert!(no_key.to_ready().is_err());
    }
}
