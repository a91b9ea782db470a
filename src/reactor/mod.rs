//! The kernel: the only place with descriptors, clocks and `unsafe`.
//!
//! ```text
//!              ┌ stream.rs    Socket, Pipes           Io
//!   Reactor ───┼ listener.rs  Listener                who may connect, whose socket file it is
//!   one Poll   ├ process.rs   start, words for why not
//!              ├ children.rs  running, ended, swept   by what procfs.rs and sweep.rs find
//!              ├ guard.rs     a second process that outlives kill -9 and clears up
//!              ├ signal.rs, clock.rs, waker.rs
//!              └ sys.rs       system calls as safe functions
//! ```
//!
//! Beside it: standard.rs for a host on stdin and stdout, poll.rs and stdio.rs for the stdio shim, detached.rs
//! for processes that outlive this one, resident.rs for small memory, activation.rs and notify.rs for service
//! managers.
//!
//! Polling is edge-triggered: an event says that something changed, and the engine keeps the state. Nothing
//! here knows MCP, buffers a byte of a stream, or decides when to retry.

pub mod activation;
mod children;
pub mod clock;
pub mod detached;
pub mod guard;
#[cfg(all(feature = "sandbox", target_os = "linux"))]
mod landlock;
pub mod listener;
pub mod logfile;
pub mod notify;
mod platform;
pub mod poll;
pub mod process;
pub mod procfs;
pub mod resident;
#[cfg(all(feature = "sandbox", target_os = "linux"))]
pub mod sandbox;
#[cfg(not(all(feature = "sandbox", target_os = "linux")))]
#[path = "without_sandbox.rs"]
pub mod sandbox;
#[cfg(all(feature = "sandbox", target_os = "linux"))]
mod seccomp;
mod signal;
pub mod standard;
pub mod stderr;
pub mod stdio;
pub mod stream;
pub mod sweep;
pub mod sys;
pub mod waker;

use crate::base::Key;
use crate::engine::port::{Accepted, Ready, Signal, Wait};
use activation::Handed;
use children::Children;
use clock::Clock;
use listener::Listener;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook_mio::v1_0::Signals;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use stream::{Socket, TcpSocket};
use sys::Pid;
use waker::Stopper;

/// Where connections come from.
enum Listening {
    Unix(Listener),
    Tcp(TcpListener),
}

/// The poll loop's kernel side: listeners, streams, children, signals under one `mio::Poll`.
pub struct Reactor {
    poll: Poll,
    events: Events,
    /// The clock of the loop.
    pub clock: Clock,
    listeners: Vec<Option<Listening>>,
    /// When listeners that found no free descriptor are tried again.
    rest_until: Option<Instant>,
    /// Listeners to be tried then.
    resting: Vec<usize>,
    children: Children,
    /// Children whose end only SIGCHLD tells, and may have told before it was caught.
    unwatched: Vec<Key>,
    /// Whether the kernel is asked for descriptors that tell the end of a process (Linux 5.3).
    has_process_descriptors: bool,
    signals: Option<Signals>,
    /// Becomes readable when the guard dies.
    guard_descriptor: Option<OwnedFd>,
    /// When the guard is started again.
    guard_due: Option<Instant>,
}

impl Reactor {
    /// A reactor beside which the process may have other children, signal handlers and threads. (Children
    /// die with the *thread* that started them.) No signals are reported, and descendants that leave
    /// their group are adopted by init.
    ///
    /// # Errors
    /// From the kernel.
    pub fn new() -> io::Result<Reactor> {
        let mut reactor = Reactor {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            clock: Clock::start(),
            listeners: Vec::new(),
            rest_until: None,
            resting: Vec::new(),
            children: Children::new(),
            unwatched: Vec::new(),
            has_process_descriptors: cfg!(target_os = "linux"),
            signals: None,
            guard_descriptor: None,
            guard_due: None,
        };
        if !reactor.has_process_descriptors {
            reactor.catch_signals(&[libc::SIGCHLD])?;
        }
        Ok(reactor)
    }

    /// The reactor of a process that is nothing but muxloop. On top of [`Reactor::new`] it reports signals,
    /// ignores SIGPIPE, may open as many descriptors as the hard limit permits, adopts and reaps every
    /// descendant that lost its parent (Linux; so *all* children must be started through it), first ends
    /// what a crashed muxloop of this user left behind, and has a [`guard`] if the program can be one.
    ///
    /// # Errors
    /// From the kernel.
    pub fn for_daemon() -> io::Result<Reactor> {
        let mut reactor = Reactor::alone()?;
        sweep::leftovers();
        reactor.start_guard();
        Ok(reactor)
    }

    /// The same for a command that starts servers for a while: what others left behind is not its business.
    ///
    /// # Errors
    /// From the kernel.
    pub fn for_command() -> io::Result<Reactor> {
        let mut reactor = Reactor::alone()?;
        reactor.start_guard();
        Ok(reactor)
    }

    fn alone() -> io::Result<Reactor> {
        let mut reactor = Reactor::new()?;
        sys::ignore(libc::SIGPIPE);
        reactor.catch_signals(&signal::OF_DAEMON)?;
        sys::become_subreaper()?;
        reactor.children.adopts = true;
        match sys::raise_descriptor_limit() {
            Ok(before) => reactor.children.descriptor_limit = Some(before),
            Err(error) => log::warn!("the limit of open descriptors stays as it is: {error}"),
        }
        Ok(reactor)
    }

    /// Listens at `path` (row D01: see [`listener`]) and gives the listener's index: 0, 1, 2, …, or that of
    /// one that was ended. A late event of that one is one look for a connection that is not there.
    ///
    /// # Errors
    /// In words that name the path and what is wrong with it.
    pub fn listen(&mut self, path: &Path) -> io::Result<usize> {
        self.add_listener(Listening::Unix(Listener::bind(path)?))
    }

    /// Listens at a socket that a service manager opened; its file is left to the manager.
    ///
    /// # Errors
    /// From the kernel; none is expected.
    pub fn listen_at(&mut self, socket: Handed) -> io::Result<usize> {
        self.add_listener(Listening::Unix(Listener::take_over(socket)))
    }

    /// Listens at a TCP address, whoever may connect; gives the index and the address with its port.
    ///
    /// # Errors
    /// From the kernel.
    pub fn listen_tcp(&mut self, address: SocketAddr) -> io::Result<(usize, SocketAddr)> {
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok((self.add_listener(Listening::Tcp(socket))?, address))
    }

    fn add_listener(&mut self, listener: Listening) -> io::Result<usize> {
        let free = self.listeners.iter().position(Option::is_none);
        let index = free.unwrap_or(self.listeners.len());
        let source = &mut SourceFd(&listener.descriptor());
        self.poll.registry().register(source, Token(LISTENER | index), Interest::READABLE)?;
        match free {
            Some(index) => self.listeners[index] = Some(listener),
            None => self.listeners.push(Some(listener)),
        }
        Ok(index)
    }

    /// Port of a listener at a TCP address.
    pub fn port(&self, index: usize) -> Option<u16> {
        match self.listeners.get(index) {
            Some(Some(Listening::Tcp(socket))) => Some(socket.local_addr().ok()?.port()),
            _ => None,
        }
    }

    /// Ends a listener and removes its socket file if it is still ours.
    pub fn stop_listening(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index).and_then(Option::take) {
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.descriptor()));
        }
    }

    /// Has [`Reactor::wait`] report SIGINT and SIGTERM as [`Signal::Stop`].
    /// From then on neither ends the process by itself, even after this reactor is gone.
    ///
    /// # Errors
    /// From the kernel.
    pub fn catch_stop_signals(&mut self) -> io::Result<()> {
        self.catch_signals(&[libc::SIGINT, libc::SIGTERM])
    }

    /// A handle with which other threads ask this loop to stop. One is made per reactor.
    ///
    /// # Errors
    /// From the kernel.
    pub fn stopper(&self) -> io::Result<Stopper> {
        Stopper::new(self.poll.registry(), Token(STOPPER))
    }

    /// Connections that a listener refused because of their user.
    pub fn refused(&self, index: usize) -> u64 {
        match self.listeners.get(index) {
            Some(Some(Listening::Unix(listener))) => listener.refused(),
            _ => 0,
        }
    }

    /// Process id of the guard, if there is one now.
    pub fn guard(&self) -> Option<u32> {
        self.children.guard().map(|pid| pid as u32)
    }

    /// The processes that a child would leave behind if it ended now (Linux; elsewhere none are found).
    pub fn descendants(&self, process: Key) -> Vec<Pid> {
        self.children.descendants(process)
    }

    /// Waits until something is ready or `timeout` has passed, and replaces the content of `ready` by what
    /// is; that may be nothing, earlier, when something of the reactor's own happened. Events of one key that arrived together are one entry or two; the end of a stream, or an error of
    /// it, counts as readable and writable, so that the next read or write meets it.
    ///
    /// # Errors
    /// From the kernel; none is expected.
    pub fn wait(&mut self, timeout: Wait, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let until = [until, self.rest_until, self.guard_due].into_iter().flatten().min();
        for key in std::mem::take(&mut self.unwatched) {
            self.check_exit(key, ready);
        }
        let until = if ready.is_empty() { until } else { Some(Instant::now()) };
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut self.events, left) {
                // Every caught signal interrupts, and its event comes with the next poll.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            self.handle_event(event, ready);
        }
        self.events = events;
        self.end_rest(ready);
        if self.guard_due.is_some_and(|due| due <= Instant::now()) {
            self.start_guard();
        }
        Ok(())
    }

    fn handle_event(&mut self, event: &Event, ready: &mut Vec<Ready>) {
        let token = event.token().0;
        let value = token & !KIND;
        match token & KIND {
            STREAM => {
                let Some(key) = Key::from_u64(value as u64) else { return };
                let (is_over, ended) = (event.is_error(), event.is_read_closed());
                let readable = event.is_readable() || ended || is_over;
                let writable = event.is_writable() || event.is_write_closed() || is_over;
                let hangup = event.is_write_closed();
                if let Some(Ready::Stream { key: last, readable: r, writable: w, ended: e, hangup: h }) =
                    ready.last_mut()
                    && *last == key
                {
                    (*r, *w, *e, *h) = (*r || readable, *w || writable, *e || ended, *h || hangup);
                    return;
                }
                ready.push(Ready::Stream { key, readable, writable, ended, hangup });
            }
            LISTENER => ready.push(Ready::Accept { listener: value }),
            PROCESS => {
                let Some(key) = Key::from_u64(value as u64) else { return };
                self.check_exit(key, ready);
            }
            SIGNALS => self.handle_signals(ready),
            GUARD => self.check_guard(),
            STOPPER => ready.push(Ready::Signal(Signal::Stop)),
            _ => {}
        }
    }

    fn handle_signals(&mut self, ready: &mut Vec<Ready>) {
        let Some(signals) = &mut self.signals else { return };
        let mut child_ended = false;
        for signal in signals.pending() {
            child_ended |= signal == libc::SIGCHLD;
            ready.extend(signal::meaning(signal).map(Ready::Signal));
        }
        if child_ended {
            let processes = self.children.processes.iter();
            let unwatched = processes.filter(|(_, process)| process.descriptor.is_none());
            for key in unwatched.map(|(key, _)| key).collect::<Vec<_>>() {
                self.check_exit(key, ready);
            }
            self.check_guard();
            self.children.tend_orphans();
        }
    }

    /// Tells the end of a child, once.
    fn check_exit(&mut self, key: Key, ready: &mut Vec<Ready>) {
        let Some(status) = self.children.check_exit(key) else { return };
        if let Some(process) = self.children.processes.get_mut(key)
            && let Some(descriptor) = process.descriptor.take()
        {
            let _ = self.poll.registry().deregister(&mut SourceFd(&descriptor.as_raw_fd()));
        }
        ready.push(Ready::Exited { process: key, status });
    }

    fn start_guard(&mut self) {
        self.guard_due = None;
        match self.children.start_guard() {
            Ok(pid) => {
                // Without a descriptor its end is noticed at the next SIGCHLD.
                self.guard_descriptor = self.watch(Token(GUARD), pid).ok();
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(error) => {
                log::error!("no guard against kill -9 can be started: {error}");
                self.guard_due = Some(Instant::now() + GUARD_PAUSE);
            }
        }
    }

    fn check_guard(&mut self) {
        if self.children.has_lost_guard() {
            log::warn!("the guard process was killed; it is started again");
            if let Some(descriptor) = self.guard_descriptor.take() {
                let _ = self.poll.registry().deregister(&mut SourceFd(&descriptor.as_raw_fd()));
            }
            self.guard_due = Some(Instant::now() + GUARD_PAUSE);
        }
    }

    fn catch_signals(&mut self, signals: &[i32]) -> io::Result<()> {
        match &mut self.signals {
            Some(caught) => signals.iter().try_for_each(|signal| caught.add_signal(*signal)),
            none => {
                let mut caught = Signals::new(signals)?;
                self.poll.registry().register(&mut caught, Token(SIGNALS), Interest::READABLE)?;
                *none = Some(caught);
                Ok(())
            }
        }
    }

    /// No free descriptor: connections wait in the listener's queue, whose event has passed, so accepting is
    /// tried again after a while. (Accepting with a spare descriptor only to close at once would turn a
    /// short shortage into failures that a client sees.)
    fn rest(&mut self, listener: usize, error: &io::Error) {
        if self.rest_until.is_none() {
            log::error!("no connection can be accepted: {error}; tried again every {REST_MS} ms");
            self.rest_until = Some(Instant::now() + Duration::from_millis(REST_MS));
        }
        if !self.resting.contains(&listener) {
            self.resting.push(listener);
        }
    }

    fn end_rest(&mut self, ready: &mut Vec<Ready>) {
        if self.rest_until.is_some_and(|until| until <= Instant::now()) {
            self.rest_until = None;
            ready.extend(self.resting.drain(..).map(|listener| Ready::Accept { listener }));
        }
    }

    /// Watches for the end of a process.
    ///
    /// # Errors
    /// From the kernel, if it gives no descriptor for that.
    fn watch(&self, token: Token, pid: Pid) -> io::Result<OwnedFd> {
        if !self.has_process_descriptors {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let descriptor = sys::open_process(pid)?;
        let source = &mut SourceFd(&descriptor.as_raw_fd());
        self.poll.registry().register(source, token, Interest::READABLE)?;
        Ok(descriptor)
    }
}

impl Listening {
    fn descriptor(&self) -> i32 {
        match self {
            Listening::Unix(listener) => listener.descriptor(),
            Listening::Tcp(socket) => socket.as_raw_fd(),
        }
    }

    fn accept(&mut self) -> io::Result<Accepted> {
        match self {
            Listening::Unix(listener) => {
                let (stream, peer_pid) = listener.accept()?;
                Ok(Accepted { io: Box::new(Socket::new(stream)?), peer_pid, address: None })
            }
            Listening::Tcp(socket) => loop {
                match socket.accept() {
                    Ok((stream, from)) => {
                        let address = Some(from.ip().to_canonical());
                        return Ok(Accepted {
                            io: Box::new(TcpSocket::new(stream)?),
                            peer_pid: None,
                            address,
                        });
                    }
                    // That connection is gone already; the next one may be fine.
                    Err(error) if listener::is_of_connection(&error) => {}
                    Err(error) => return Err(error),
                }
            },
        }
    }
}

// A token is a key (53 bits) or another number, and three bits that say of what.
const STREAM: usize = 0;
const LISTENER: usize = 1 << 60;
const PROCESS: usize = 2 << 60;
const SIGNALS: usize = 3 << 60;
const GUARD: usize = 4 << 60;
const STOPPER: usize = 5 << 60;
const KIND: usize = 7 << 60;
const _: () = assert!(usize::BITS == 64, "a key and its kind fill one 64-bit token");

/// Most events taken from the kernel at once; more wait for the next call.
const EVENTS_PER_WAIT: usize = 1024;
/// Milliseconds until accepting is tried again when no descriptor was free.
const REST_MS: u64 = 100;
/// Before a guard that died is started again: whoever kills it again and again costs little.
const GUARD_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
