//! muxloop inside another program: one server, shared by the clients of one socket, in a thread of its own.
//!
//! Blocking calls and threads; no async runtime is needed, and none is in the way. Several muxes may run in
//! one process, each with its own loop. Log lines go to the [`log`] facade.
//!
//! ```
//! use muxloop::{MuxConfig, spawn_mux_server};
//!
//! # let dir = std::env::temp_dir().join(format!("muxloop-doc-{}", std::process::id()));
//! let config = MuxConfig::new(dir.join("memory.sock"), "npx")
//!     .with_args(["-y", "@modelcontextprotocol/server-memory"])
//!     .with_env("MEMORY_FILE_PATH", "/tmp/memory.json")
//!     .with_lazy_start(true)
//!     .with_max_clients(10);
//! let mux = spawn_mux_server(config)?;
//! // Clients connect to the socket from here on.
//! assert!(mux.is_running());
//! mux.shutdown();
//! mux.wait()?;
//! # std::fs::remove_dir_all(&dir).unwrap();
//! # Ok::<(), muxloop::MuxError>(())
//! ```
//!
//! What a program that is nothing but muxloop has on top (a control socket, a guard against kill -9,
//! descendants that left their group) is made by
//! [`Reactor::for_daemon`].

use crate::client::health::{Found, ask};
use crate::client::{EXIT_NOT_RUNNING, Failure};
use crate::engine::port::{Platform, SpawnSpec};
use crate::engine::{Engine, ServerSetup};
use crate::mux::policy::ServerPolicy;
use crate::reactor::Reactor;
use crate::reactor::waker::Stopper;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// One server, and the socket at which its clients find it. Made with [`MuxConfig::new`] and the `with_…`
/// methods; what is not said has the defaults of `mux.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MuxConfig {
    socket: PathBuf,
    service_name: Option<String>,
    spawn: SpawnSpec,
    policy: ServerPolicy,
}

impl MuxConfig {
    /// A server that is started as `cmd` (searched in `PATH`), for the clients of `socket`. Its name in log
    /// lines and errors is the socket's file name up to its first dot.
    pub fn new(socket: impl Into<PathBuf>, cmd: impl Into<String>) -> MuxConfig {
        let socket = socket.into();
        let file = socket.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = file.split('.').next().filter(|name| !name.is_empty()).unwrap_or("server").to_owned();
        let spawn = SpawnSpec { program: cmd.into(), ..SpawnSpec::default() };
        MuxConfig { socket, service_name: None, spawn, policy: ServerPolicy::new(name) }
    }

    /// The arguments of the command, in place of those given before.
    pub fn with_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> MuxConfig {
        self.spawn.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// One more variable of the server's environment, which is otherwise this process's.
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> MuxConfig {
        self.spawn.env.push((name.into(), value.into()));
        self
    }

    /// The directory in which the server is started.
    pub fn with_cwd(mut self, directory: impl Into<PathBuf>) -> MuxConfig {
        self.spawn.cwd = Some(directory.into());
        self
    }

    /// What log lines and errors call the server.
    pub fn with_service_name(mut self, name: impl Into<String>) -> MuxConfig {
        let name = name.into();
        self.policy.name.clone_from(&name);
        self.service_name = Some(name);
        self
    }

    /// Most clients at once; the next one is refused with an error that says so.
    pub fn with_max_clients(mut self, count: usize) -> MuxConfig {
        self.policy.max_active_clients = count;
        self
    }

    /// Whether the server is started by its first client's first request instead of at once.
    pub fn with_lazy_start(mut self, lazy: bool) -> MuxConfig {
        self.policy.lazy_start = lazy;
        self
    }

    /// Longest line that a client may send, in bytes.
    pub fn with_max_request_bytes(mut self, bytes: usize) -> MuxConfig {
        self.policy.max_request_bytes = bytes;
        self
    }

    /// How long an answer may take. Progress extends that up to the policy's `request_timeout_max_ms`, which
    /// is raised if it is less.
    pub fn with_request_timeout(mut self, timeout: Duration) -> MuxConfig {
        self.policy.request_timeout_ms = millis(timeout);
        self.policy.request_timeout_max_ms = self.policy.request_timeout_max_ms.max(millis(timeout));
        self
    }

    /// Pause before the first restart, which doubles from one to the next up to `max`.
    pub fn with_restart_backoff(mut self, first: Duration, max: Duration) -> MuxConfig {
        self.policy.restart_backoff_ms = millis(first);
        self.policy.restart_backoff_max_ms = millis(max.max(first));
        self
    }

    /// Restarts in a row before the server is given up; 0 means no limit.
    pub fn with_max_restarts(mut self, count: u32) -> MuxConfig {
        self.policy.max_restarts = count;
        self
    }

    /// Anything else that `mux.toml` can say of a server.
    ///
    /// ```
    /// use muxloop::{MuxConfig, mux::policy::Share};
    ///
    /// let config = MuxConfig::new("/tmp/git.sock", "mcp-server-git").with_policy(|policy| {
    ///     policy.share = Share::Session;
    ///     policy.idle_stop_ms = Some(60_000);
    /// });
    /// # drop(config);
    /// ```
    pub fn with_policy(mut self, change: impl FnOnce(&mut ServerPolicy)) -> MuxConfig {
        change(&mut self.policy);
        self
    }

    /// Where clients connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn setup(&self) -> ServerSetup {
        ServerSetup {
            policy: self.policy.clone(),
            spawn: self.spawn.clone(),
            socket: self.socket.display().to_string(),
            service_name: self.service_name.clone().unwrap_or_else(|| self.policy.name.clone()),
        }
    }
}

/// Runs a server in this thread until SIGINT or SIGTERM asks for its end; a second one ends it at once. From
/// the call on, these two signals no longer end the process by themselves. A program that decides on its
/// end in another way wants [`spawn_mux_server`].
///
/// ```no_run
/// use muxloop::{MuxConfig, run_mux_server};
///
/// fn main() -> Result<(), muxloop::MuxError> {
///     run_mux_server(MuxConfig::new("/run/user/1000/git.sock", "mcp-server-git"))
/// }
/// ```
///
/// # Errors
/// It cannot be started: see [`MuxError`].
pub fn run_mux_server(config: MuxConfig) -> Result<(), MuxError> {
    let mut running = Running::open(&config)?;
    running.reactor.catch_stop_signals().map_err(MuxError::System)?;
    running.serve()
}

/// Runs a server in a thread of its own. When this returns, clients can connect. Signals are left alone.
///
/// # Errors
/// It cannot be started: see [`MuxError`]. That the server's command does not start is no such error: it is
/// logged, tried again, and told to whoever asks the server something.
pub fn spawn_mux_server(config: MuxConfig) -> Result<MuxHandle, MuxError> {
    // The loop is made where it runs: a child dies with the thread that started it.
    let (tell, started) = sync_channel(1);
    let thread = thread::Builder::new().name(format!("mux-{}", config.policy.name)).spawn(move || {
        let opened = Running::open(&config)
            .and_then(|running| Ok((running.reactor.stopper().map_err(MuxError::System)?, running)));
        match opened {
            Ok((stopper, running)) => {
                // The caller waits for this.
                let _ = tell.send(Ok(stopper));
                running.serve()
            }
            Err(error) => {
                let _ = tell.send(Err(error));
                Ok(())
            }
        }
    });
    let thread = thread.map_err(MuxError::System)?;
    match started.recv() {
        Ok(Ok(stopper)) => Ok(MuxHandle { stopper, thread: Some(thread) }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(joined(thread).err().unwrap_or(MuxError::Panicked(String::new()))),
    }
}

/// A server that runs in its own thread. Dropping it shuts the server down and waits for its end.
#[derive(Debug)]
pub struct MuxHandle {
    stopper: Stopper,
    thread: Option<JoinHandle<Result<(), MuxError>>>,
}

impl MuxHandle {
    /// Asks for the graceful end, and does not wait for it: the server's stdin is closed, then come SIGTERM
    /// and SIGKILL, with `stop_grace_ms` between them. Asking again, once that has begun, ends it at once.
    pub fn shutdown(&self) {
        self.stopper.stop();
    }

    /// What [`MuxHandle::shutdown`] does, for other threads.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Whether clients are served, or are still being served to their end.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Waits for the end. Its socket and its processes are gone then.
    ///
    /// # Errors
    /// It came by itself: the kernel refused something, or muxloop panicked.
    pub fn wait(mut self) -> Result<(), MuxError> {
        self.thread.take().map_or(Ok(()), joined)
    }
}

impl Drop for MuxHandle {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stopper.stop();
            // Whoever wants to know how it ended calls `wait`.
            let _ = joined(thread);
        }
    }
}

/// What a healthy server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its name and version.
    pub server: String,
    /// The protocol version that it speaks.
    pub protocol: String,
    /// How long all of it took.
    pub latency: Duration,
}

/// Asks the server behind a socket as a client would: handshake, ping, one list. Starts the server if it is
/// lazy. Gives up after ten seconds.
///
/// ```
/// use muxloop::{MuxError, check_health};
///
/// match check_health("/nonexistent/memory.sock") {
///     Err(MuxError::NotRunning(why)) => assert!(why.contains("no socket"), "{why}"),
///     other => panic!("{other:?}"),
/// }
/// ```
///
/// # Errors
/// [`MuxError::NotRunning`]: nobody listens there. [`MuxError::Unhealthy`]: whoever does cannot be used.
pub fn check_health(socket: impl AsRef<Path>) -> Result<Health, MuxError> {
    match ask(socket.as_ref(), HEALTH_PATIENCE) {
        Ok(Found { server, protocol, asked }) => {
            let latency = Duration::from_millis(asked.iter().map(|(_, ms)| ms).sum());
            Ok(Health { server, protocol, latency })
        }
        Err(Failure { code: EXIT_NOT_RUNNING, text }) => Err(MuxError::NotRunning(text)),
        Err(failure) => Err(MuxError::Unhealthy(failure.text)),
    }
}

/// What went wrong. `Display` is one line for a person.
#[derive(Debug)]
#[non_exhaustive]
pub enum MuxError {
    /// The configuration cannot be used.
    Config(String),
    /// The socket cannot be listened at; the text names it and says why.
    Listen(io::Error),
    /// The kernel refuses what the loop needs.
    System(io::Error),
    /// Nobody listens at the socket.
    NotRunning(String),
    /// A server listens and cannot be used.
    Unhealthy(String),
    /// A mistake in muxloop.
    Panicked(String),
}

impl fmt::Display for MuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MuxError::Config(text) | MuxError::NotRunning(text) | MuxError::Unhealthy(text) => {
                f.write_str(text)
            }
            MuxError::Listen(error) => error.fmt(f),
            MuxError::System(error) => write!(f, "the poll loop cannot run: {error}"),
            MuxError::Panicked(text) => write!(f, "muxloop panicked: {text}"),
        }
    }
}

impl std::error::Error for MuxError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MuxError::Listen(error) | MuxError::System(error) => Some(error),
            _ => None,
        }
    }
}

/// One loop with its server.
struct Running {
    engine: Engine,
    reactor: Reactor,
}

impl Running {
    fn open(config: &MuxConfig) -> Result<Running, MuxError> {
        if config.spawn.program.is_empty() {
            return Err(MuxError::Config(format!("server '{}' has no command", config.policy.name)));
        }
        let mut reactor = Reactor::new().map_err(MuxError::System)?;
        reactor.listen(&config.socket).map_err(MuxError::Listen)?;
        let mut seed = [0; 8];
        reactor.random(&mut seed);
        let engine = Engine::new(vec![config.setup()], u64::from_le_bytes(seed));
        Ok(Running { engine, reactor })
    }

    fn serve(mut self) -> Result<(), MuxError> {
        let mut ready = Vec::new();
        self.engine.begin(self.reactor.clock.now(), &mut self.reactor);
        while !self.engine.is_finished() {
            let now = self.reactor.clock.now();
            let wait = self.engine.deadline(now).map(|at| Duration::from_millis(at.since(now)));
            self.reactor.wait(wait, &mut ready).map_err(MuxError::System)?;
            self.engine.turn(self.reactor.clock.now(), &ready, &mut self.reactor);
            // There is no file to read again, and no log file to open again.
            self.engine.take_wishes();
        }
        Ok(())
    }
}

fn joined(thread: JoinHandle<Result<(), MuxError>>) -> Result<(), MuxError> {
    thread.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(MuxError::Panicked(text.unwrap_or_default()))
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For all that a health check asks, a start of the server included.
const HEALTH_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_what_was_said_and_the_defaults() {
        let config = MuxConfig::new("/run/me/brave.search.sock", "node")
            .with_args(["a", "b"])
            .with_env("KEY", "value")
            .with_cwd("/srv")
            .with_max_clients(7)
            .with_request_timeout(Duration::from_secs(3_600))
            .with_restart_backoff(Duration::from_secs(9), Duration::from_secs(1));
        let setup = config.setup();
        assert_eq!((&*setup.policy.name, &*setup.service_name), ("brave", "brave"));
        assert_eq!(setup.socket, "/run/me/brave.search.sock");
        assert_eq!(setup.spawn.args, ["a", "b"]);
        assert_eq!(setup.spawn.env, [("KEY".to_owned(), "value".to_owned())]);
        assert_eq!(setup.policy.max_active_clients, 7);
        assert_eq!(
            (setup.policy.request_timeout_ms, setup.policy.request_timeout_max_ms),
            (3_600_000, 3_600_000)
        );
        assert_eq!((setup.policy.restart_backoff_ms, setup.policy.restart_backoff_max_ms), (9_000, 9_000));
        assert_eq!(setup.policy.max_restarts, ServerPolicy::new("x").max_restarts);
        let named = config.with_service_name("search").setup();
        assert_eq!((&*named.policy.name, &*named.service_name), ("search", "search"));
        assert!(!format!("{:?}", named.spawn).contains("value"), "no secret is shown");
    }

    #[test]
    fn what_cannot_be_is_an_error_value() {
        let error = spawn_mux_server(MuxConfig::new("/tmp/x.sock", "")).unwrap_err();
        assert!(matches!(error, MuxError::Config(_)), "{error:?}");
        let long = format!("/tmp/{}", "x".repeat(200));
        let error = spawn_mux_server(MuxConfig::new(long, "true")).unwrap_err();
        assert!(matches!(error, MuxError::Listen(_)), "{error:?}");
        assert!(error.to_string().contains("cannot listen at /tmp/xxx"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
}
