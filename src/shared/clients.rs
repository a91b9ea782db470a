//! Who is connected: the callers that keep the server, and `clients.json`, which tells people.

use super::place::{Place, What};
use super::wire::{self, Event, Hello, LINE_MAX, Lines};
use crate::base::date::rfc3339;
use crate::engine::port::Io;
use crate::reactor::process::Owner;
use crate::reactor::procfs;
use serde::Serialize;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A connection; a caller from its first line on.
pub struct Client {
    pub io: Box<dyn Io>,
    lines: Lines,
    /// Whom the kernel says it is of.
    pid: Option<u32>,
    /// When that process started, in clock ticks since the boot: with it, the number is nobody else's.
    start: Option<u64>,
    since: String,
    accepted: Instant,
    /// Whether it said what it wants, and keeps the server.
    pub counts: bool,
}

/// What a look at a connection brought.
pub enum Heard {
    Nothing,
    Hello(Box<What>),
    Gone,
}

impl Client {
    pub fn new(io: Box<dyn Io>, pid: Option<u32>) -> Client {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = pid.and_then(|pid| procfs::stat(pid as i32)).map(|stat| stat.start);
        let since = rfc3339(now.as_millis() as u64);
        Client { io, lines: Lines::default(), pid, start, since, accepted: Instant::now(), counts: false }
    }

    pub fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.accepted) >= age
    }

    /// Whose it is, for people.
    pub fn name(&self) -> String {
        self.pid.map_or("of an unknown process".to_owned(), |pid| format!("process {pid}"))
    }

    /// Reads what is there. A caller says one line in its life, and closes at its end.
    pub fn hear(&mut self) -> Heard {
        let mut heard = Heard::Nothing;
        let mut piece = [0; 4096];
        loop {
            match self.io.read(&mut piece) {
                Ok(0) => return Heard::Gone,
                Ok(n) => {
                    let is_known = self.counts;
                    let mut is_wrong = is_known;
                    self.lines.hear(&piece[..n], LINE_MAX, |line| match serde_json::from_slice(line) {
                        Ok(Hello { what }) if !is_known => heard = Heard::Hello(Box::new(what)),
                        _ => is_wrong = true,
                    });
                    if is_wrong {
                        return Heard::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return heard,
                Err(_) => return Heard::Gone,
            }
        }
    }

    /// Whether it took the line. One that lets so little pile up is as good as gone.
    pub fn tell(&mut self, event: &Event) -> bool {
        let line = wire::line(event);
        self.io.write(&[IoSlice::new(&line)]).is_ok_and(|written| written == line.len())
    }
}

#[derive(Serialize)]
struct Registry<'a> {
    url: String,
    command: Vec<String>,
    supervisor: Process,
    server: Option<Process>,
    clients: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Process {
    pid: u32,
    start: Option<u64>,
}

#[derive(Serialize)]
struct Entry<'a> {
    pid: Option<u32>,
    start: Option<u64>,
    since: &'a str,
}

/// Writes `clients.json`, all of it or nothing.
///
/// # Errors
/// From the kernel.
pub fn write_registry<'a>(
    place: &Place,
    what: &What,
    server: Option<u32>,
    clients: impl Iterator<Item = &'a Client>,
) -> io::Result<()> {
    let process = |pid: u32| Process { pid, start: procfs::stat(pid as i32).map(|stat| stat.start) };
    let registry = Registry {
        url: what.url(),
        command: what.command_line(),
        supervisor: process(Owner::this().pid as u32),
        server: server.map(process),
        clients: clients
            .filter(|client| client.counts)
            .map(|client| Entry { pid: client.pid, start: client.start, since: &client.since })
            .collect(),
    };
    let new = place.clients().with_extension("json.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    serde_json::to_writer_pretty(&mut file, &registry)?;
    fs::rename(new, place.clients())
}
