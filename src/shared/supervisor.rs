//! The supervisor: starts the server for the first caller and stops it after the last.
//!
//! ```text
//!             a caller, port free               answers
//!   ┌▶ Down ────────────────────▶ Starting ──────────────▶ Ready
//!   │   ▲                            │ died, never ready      │ died
//!   │   └── restart, after a pause ──┼────────────────────────┤
//!   │                                │ too late, no caller    │ no caller for idle_exit
//!   │                                ▼                        ▼
//!   └──────────── ended ───────── Stopping: SIGTERM, stop_grace, SIGKILL
//! ```
//!
//! Down without callers, or with a reason why there will be no server (`over`), is the end. While it stops,
//! it listens on: who comes then is served by the next server. A server that dies before it was ever ready
//! is not started again: what is wrong with it is wrong the second time, and the callers should know now.

use super::clients::{self, Client, Heard};
use super::join::{ANOTHER_LISTENS, LISTENS};
use super::place::{Place, What};
use super::probe::{self, Busy, Probe};
use super::server::{Journal, Server, in_words};
use super::wire::{End, Event};
use crate::base::{Arena, Key};
use crate::cli;
use crate::config::LogFormat;
use crate::engine::port::{ExitStatus, Kill, Platform, Ready, Signal};
use crate::reactor::{Reactor, sys};
use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::exit;
use std::time::{Duration, Instant};

/// Runs the supervisor and never returns, if that is what this process was started for. Belongs at the very
/// start of `main`, after the guard's.
pub fn main_if_requested() {
    let mut args = env::args_os().skip(1);
    if args.next().is_none_or(|arg| arg != ARGUMENT) {
        return;
    }
    // What the first caller was given by its parent is nothing that should stay open for the last one.
    sys::close_from(3);
    let directory = args.next().unwrap_or_default();
    match supervise(&Place::at(Path::new(&directory))) {
        Ok(()) => exit(0),
        Err(why) => {
            log::error!("{why}");
            let _ = writeln!(io::stdout(), "{}", why.replace('\n', " "));
            exit(1);
        }
    }
}

/// The first argument of the supervisor; the directory is the second, and what it does comes on stdin.
pub const ARGUMENT: &str = "--mux-daemon";

fn supervise(place: &Place) -> Result<(), String> {
    let levels = cli::log::Levels { filter: "warn".to_owned(), servers: Vec::new() };
    cli::log::init(&levels, LogFormat::Text, cli::log::Mode::Immediate);
    let what: What = serde_json::from_reader(io::stdin().lock())
        .map_err(|error| format!("the daemon was not told what to do: {error}"))?;
    let in_place = |error: io::Error| format!("{}: {error}", place.directory.display());
    let journal = Journal::open(place).map_err(in_place)?;
    let mut reactor = Reactor::for_daemon().map_err(|error| error.to_string())?;
    let Some(listener) = listen(&mut reactor, place)? else {
        let _ = writeln!(io::stdout(), "{ANOTHER_LISTENS}");
        return Ok(());
    };
    fs::write(place.pid(), format!("{}\n", std::process::id())).map_err(in_place)?;
    let mut supervisor = Supervisor::new(reactor, listener, place.clone(), what, journal);
    // The caller that waits for this may be gone, and others may have come.
    let _ = writeln!(io::stdout(), "{LISTENS}");
    supervisor.run().map_err(|error| error.to_string())
}

/// Listens at the socket, which a supervisor that is just ending may hold for a moment. `None` if there is
/// one that is not: a caller that was killed may have started it an instant before.
fn listen(reactor: &mut Reactor, place: &Place) -> Result<Option<usize>, String> {
    let deadline = Instant::now() + PREDECESSOR_MAX;
    loop {
        match reactor.listen(&place.socket()) {
            Ok(listener) => return Ok(Some(listener)),
            Err(_) if UnixStream::connect(place.socket()).is_ok() => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(TICK);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Whose an event is.
enum Source {
    Server,
    Client(Box<Client>),
}

enum State {
    /// No process; one is started when it is due and there is a caller.
    Down {
        due: Instant,
    },
    Starting {
        probe: Probe,
        deadline: Instant,
    },
    Ready {
        since: Instant,
    },
    /// `kill_at`: when SIGTERM is followed by SIGKILL; `None` afterwards.
    Stopping {
        kill_at: Option<Instant>,
    },
}

struct Supervisor {
    reactor: Reactor,
    listener: usize,
    place: Place,
    what: What,
    journal: Journal,
    sources: Arena<Source>,
    server: Option<Server>,
    state: State,
    /// When the server stops unless a caller comes; `None` while there is one.
    idle_until: Option<Instant>,
    /// Why there will be no server any more.
    over: Option<(End, String)>,
    /// Whether the server, or one that it replaces, was ready since there were callers.
    was_ready: bool,
    /// In a row.
    restarts: u32,
    /// Since when the port is found taken.
    taken_since: Option<Instant>,
    /// Whether `clients.json` is behind.
    is_changed: bool,
    /// Whether the server wrote more than was read.
    has_more: bool,
}

impl Supervisor {
    fn new(reactor: Reactor, listener: usize, place: Place, what: What, journal: Journal) -> Supervisor {
        let now = Instant::now();
        Supervisor {
            reactor,
            listener,
            place,
            what,
            journal,
            sources: Arena::new(),
            server: None,
            state: State::Down { due: now },
            idle_until: Some(now + HELLO_MAX),
            over: None,
            was_ready: false,
            restarts: 0,
            taken_since: None,
            is_changed: true,
            has_more: false,
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            let now = Instant::now();
            self.advance(now);
            if std::mem::take(&mut self.is_changed) {
                self.write_registry();
            }
            if self.is_done(now) {
                break;
            }
            self.reactor.wait(self.pause(now), &mut ready)?;
            for event in ready.drain(..) {
                self.handle(event);
            }
            self.has_more = self.server.as_mut().is_some_and(|server| server.hear(&mut self.journal));
        }
        self.end();
        Ok(())
    }

    /// What the time brings.
    fn advance(&mut self, now: Instant) {
        let is_silent = |client: &Client| !client.counts && client.is_older_than(HELLO_MAX, now);
        for key in self.clients(is_silent) {
            self.drop_client(key);
        }
        if self.idle_until.is_none() && self.clients(|client| client.counts).is_empty() {
            self.idle_until = Some(now + Duration::from_millis(self.what.idle_exit_ms));
        }
        let is_idle = self.idle_until.is_some_and(|until| until <= now);
        match &self.state {
            State::Down { due } if *due <= now && self.idle_until.is_none() && self.over.is_none() => {
                self.start(now);
            }
            State::Starting { probe, .. } if probe.is_answered() => self.on_ready(now),
            State::Starting { deadline, .. } if *deadline <= now => {
                let (ms, last) = (self.what.ready_timeout_ms, self.journal.last_words());
                let what = match self.what.ready_path.is_empty() {
                    true => format!("nobody listened at {}", self.what.url()),
                    false => format!("{}{} was not answered with 2xx", self.what.url(), self.what.ready_path),
                };
                self.fail(End::Failed, format!("the server was not ready within {ms} ms: {what}{last}"), now);
            }
            State::Starting { .. } | State::Ready { .. } if is_idle => {
                self.journal.note("the last caller has left");
                self.stop(now);
            }
            State::Stopping { kill_at: Some(at) } if *at <= now => self.kill(),
            _ => {}
        }
    }

    /// Until something is due.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let of_state = match self.state {
            _ if self.has_more => Some(now),
            State::Down { due } => self.idle_until.is_none().then_some(due),
            State::Starting { deadline, .. } => Some(deadline.min(now + TICK)),
            State::Ready { .. } => None,
            State::Stopping { kill_at } => kill_at,
        };
        // What was to happen then has happened; now the server stops, or a connection may become a caller.
        let idle = self.idle_until.filter(|until| *until > now);
        let silent = self.clients(|client| !client.counts).first().map(|_| now + HELLO_MAX);
        let until = [of_state, idle, silent].into_iter().flatten().min();
        until.map(|until| until.saturating_duration_since(now))
    }

    fn handle(&mut self, event: Ready) {
        let now = Instant::now();
        match event {
            Ready::Accept { .. } => self.accept(),
            Ready::Exited { process, status } => {
                if self.server.as_ref().is_some_and(|server| server.keys[0] == process) {
                    self.on_exit(status, now);
                }
            }
            Ready::Stream { key, .. } => self.on_stream(key),
            Ready::Signal(Signal::Stop) if self.over.is_some() => self.kill(),
            Ready::Signal(Signal::Stop) => {
                self.fail(End::Stopped, "the daemon was stopped by a signal".to_owned(), now);
            }
            Ready::Signal(_) => {}
        }
    }

    fn accept(&mut self) {
        while let Ok(accepted) = self.reactor.accept(self.listener) {
            let client = Client::new(accepted.io, accepted.peer_pid);
            let key = self.sources.insert(Source::Client(Box::new(client)));
            let Some(Source::Client(client)) = self.sources.get_mut(key) else { continue };
            if self.reactor.register(key, client.io.as_mut()).is_err() {
                self.drop_client(key);
            }
        }
    }

    fn on_stream(&mut self, key: Key) {
        // The server's streams are looked at in every turn.
        let Some(Source::Client(client)) = self.sources.get_mut(key) else { return };
        match client.hear() {
            Heard::Nothing => {}
            Heard::Gone => self.drop_client(key),
            Heard::Hello(wanted) => {
                let over = |why: String| Event::Over { end: End::Different, why };
                let event = match (self.what.refuses(&wanted).map(over), &self.state, &self.server) {
                    (Some(event), ..) => event,
                    (None, State::Ready { .. }, Some(server)) => ready_event(server),
                    _ => return self.on_joined(key),
                };
                let is_refused = matches!(event, Event::Over { .. });
                if !client.tell(&event) || is_refused {
                    return self.drop_client(key);
                }
                self.on_joined(key);
            }
        }
    }

    fn on_joined(&mut self, key: Key) {
        if let Some(Source::Client(client)) = self.sources.get_mut(key) {
            client.counts = true;
            self.journal.note(&format!("a caller has come: {}", client.name()));
        }
        self.idle_until = None;
        self.is_changed = true;
    }

    fn drop_client(&mut self, key: Key) {
        let Some(Source::Client(mut client)) = self.sources.remove(key) else { return };
        self.reactor.deregister(key, client.io.as_mut());
        if client.counts {
            self.journal.note(&format!("a caller has left: {}", client.name()));
            self.is_changed = true;
        }
    }

    /// The connections of which something holds.
    fn clients(&self, wanted: impl Fn(&Client) -> bool) -> Vec<Key> {
        let is_wanted = |source: &Source| matches!(source, Source::Client(client) if wanted(client));
        self.sources.iter().filter(|(_, source)| is_wanted(source)).map(|(key, _)| key).collect()
    }

    fn tell_all(&mut self, event: &Event) {
        for key in self.clients(|client| client.counts) {
            if let Some(Source::Client(client)) = self.sources.get_mut(key)
                && !client.tell(event)
            {
                self.drop_client(key);
            }
        }
    }

    fn start(&mut self, now: Instant) {
        match probe::check_free(&self.what) {
            Ok(()) => self.taken_since = None,
            Err(Busy::Impossible(why)) => return self.fail(End::Failed, why, now),
            Err(Busy::Taken) if now - *self.taken_since.get_or_insert(now) < TAKEN_MAX => {
                // It may be the end of a predecessor's server.
                self.state = State::Down { due: now + TICK };
                return;
            }
            Err(Busy::Taken) => {
                let (port, holder) = (self.what.port, probe::holder(self.what.port));
                let why = format!("port {port} is taken by {holder}; stop it, or choose another --port");
                return self.fail(End::PortTaken, why, now);
            }
        }
        self.journal.forget();
        let keys = [(); 3].map(|()| self.sources.insert(Source::Server));
        let started = Server::start(&mut self.reactor, keys, &self.what);
        let probe = Probe::start(&self.what).map_err(|error| format!("no thread can be started: {error}"));
        match (started, probe) {
            (Ok(server), Ok(probe)) => {
                self.journal.note(&format!("process {} was started", server.pid));
                let deadline = now + Duration::from_millis(self.what.ready_timeout_ms);
                self.state = State::Starting { probe, deadline };
                self.server = Some(server);
                self.is_changed = true;
            }
            (Ok(server), Err(why)) => {
                server.kill(&mut self.reactor, Kill::Kill);
                self.server = Some(server);
                self.state = State::Stopping { kill_at: None };
                self.over = Some((End::Failed, why));
            }
            (Err(why), _) => {
                for key in keys {
                    self.sources.remove(key);
                }
                self.fail(End::Failed, why, now);
            }
        }
    }

    fn on_ready(&mut self, now: Instant) {
        self.state = State::Ready { since: now };
        self.was_ready = true;
        self.journal.note("the server is ready");
        if let Some(server) = &self.server {
            let event = ready_event(server);
            self.tell_all(&event);
        }
    }

    fn on_exit(&mut self, status: ExitStatus, now: Instant) {
        let Some(server) = self.server.take() else { return };
        let (pid, keys) = (server.pid, server.keys);
        server.bury(&mut self.reactor, &mut self.journal);
        for key in keys {
            self.sources.remove(key);
        }
        self.is_changed = true;
        let how = in_words(status);
        self.journal.note(&format!("process {pid} ended: {how}"));
        let last = self.journal.last_words();
        let (was_stopping, was_ready_since) = match self.state {
            State::Stopping { .. } => (true, None),
            State::Ready { since } => (false, Some(since)),
            _ => (false, None),
        };
        self.state = State::Down { due: now };
        if was_stopping {
            // Whoever comes now begins from the beginning.
            (self.restarts, self.was_ready) = (0, false);
        } else if !self.was_ready {
            self.over = Some((End::Failed, format!("the server ended before it was ready: {how}{last}")));
        } else {
            if was_ready_since.is_some_and(|since| now - since >= PROVEN) {
                self.restarts = 0;
            }
            self.restart(&how, &last, now);
        }
    }

    fn restart(&mut self, how: &str, last: &str, now: Instant) {
        let max = self.what.restarts_max;
        if max > 0 && self.restarts >= max {
            let why = format!("the server died and was restarted {max} times: {how}{last}");
            self.over = Some((End::Failed, why));
            return;
        }
        let pause = RESTART_PAUSE * 2u32.pow(self.restarts.min(RESTART_DOUBLINGS));
        self.restarts += 1;
        self.state = State::Down { due: now + pause };
        self.tell_all(&Event::Restarting { why: format!("the server died: {how}{last}") });
    }

    /// There will be no server any more.
    fn fail(&mut self, end: End, why: String, now: Instant) {
        self.journal.note(&why);
        self.over = Some((end, why));
        self.stop(now);
    }

    fn stop(&mut self, now: Instant) {
        let Some(server) = &self.server else { return };
        if !matches!(self.state, State::Stopping { .. }) {
            server.kill(&mut self.reactor, Kill::Terminate);
            let kill_at = Some(now + Duration::from_millis(self.what.stop_grace_ms));
            self.state = State::Stopping { kill_at };
        }
    }

    fn kill(&mut self) {
        if let Some(server) = &self.server {
            server.kill(&mut self.reactor, Kill::Kill);
            self.state = State::Stopping { kill_at: None };
        }
    }

    /// Whether there is nothing left to do. Whoever connects in this moment is still heard.
    fn is_done(&mut self, now: Instant) -> bool {
        let is_idle = self.idle_until.is_some_and(|until| until <= now);
        if !matches!(self.state, State::Down { .. }) || !(is_idle || self.over.is_some()) {
            return false;
        }
        self.accept();
        self.over.is_some() || self.clients(|_| true).is_empty()
    }

    /// Takes the files away, and says why. Whoever connects now meets the end of the connection, and looks
    /// again; whoever is told finds a place where everything can begin anew.
    fn end(&mut self) {
        self.journal.note("the end");
        for file in [self.place.pid(), self.place.clients()] {
            let _ = fs::remove_file(file);
        }
        self.reactor.stop_listening(self.listener);
        if let Some((end, why)) = self.over.take() {
            let event = Event::Over { end, why };
            for key in self.clients(|_| true) {
                if let Some(Source::Client(client)) = self.sources.get_mut(key) {
                    client.tell(&event);
                }
            }
        }
    }

    fn write_registry(&mut self) {
        let clients = self.sources.iter().filter_map(|(_, source)| match source {
            Source::Client(client) => Some(client.as_ref()),
            Source::Server => None,
        });
        let server = self.server.as_ref().map(|server| server.pid);
        if let Err(error) = clients::write_registry(&self.place, &self.what, server, clients) {
            self.journal.note(&format!("{}: {error}", self.place.clients().display()));
        }
    }
}

fn ready_event(server: &Server) -> Event {
    Event::Ready { server: server.pid, supervisor: std::process::id() }
}

/// How often what tells nobody is looked at.
const TICK: Duration = Duration::from_millis(25);
/// How long a connection may be silent before it says hello, and the first caller may take to connect.
const HELLO_MAX: Duration = Duration::from_secs(5);
/// How long a supervisor that is ending may take to do so.
const PREDECESSOR_MAX: Duration = Duration::from_secs(10);
/// How long the port may be taken by what is about to end.
const TAKEN_MAX: Duration = Duration::from_millis(1_500);
/// Before the first restart in a row; doubled for each further one, up to 6.4 s.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
const RESTART_DOUBLINGS: u32 = 5;
/// A server that was ready for so long starts its count of restarts anew.
const PROVEN: Duration = Duration::from_secs(60);
