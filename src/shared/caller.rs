//! One caller: joins, prints the URL when the server answers, and stays until it is told to leave.
//!
//! | what happens | what the caller does |
//! |---|---|
//! | SIGTERM, SIGINT, or the end of stdin if somebody holds its other end | exits with 0 |
//! | the server answers for the first time | prints the URL |
//! | it dies and is restarted | says so on stderr |
//! | it is gone for good | says why, exits with 1, or 3 if the port is somebody else's |
//! | the supervisor says nothing for too long | exits with 1 |
//! | the supervisor is gone | joins again: the first caller to do so starts another |
//!
//! Leaving needs no word: the kernel closes the connection.

use super::EXIT_FAILED;
use super::join::{Joined, join};
use super::place::{Options, Place};
use super::wire::{Event, LINE_MAX, Lines};
use crate::cli::{self, EXIT_USAGE};
use crate::config::Surroundings;
use crate::reactor::poll::{Interest, poll};
use crate::reactor::{stdio, sys};
use serde::Serialize;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs one caller to its end.
pub fn run(options: &Options, surroundings: &Surroundings) -> ExitCode {
    sys::exit_on(libc::SIGINT);
    sys::exit_on(libc::SIGTERM);
    let (code, why) = match Place::prepare(options, surroundings) {
        Err(why) => (EXIT_USAGE, why),
        Ok(place) => match Caller::new(options, place).stay() {
            Ok(()) => return ExitCode::SUCCESS,
            Err(trouble) => trouble,
        },
    };
    cli::complain(&format!("daemon: {why}"));
    ExitCode::from(code)
}

/// Exit code and why.
type Trouble = (u8, String);

struct Caller<'a> {
    options: &'a Options,
    place: Place,
    /// Whether the end of stdin is the end.
    watches_input: bool,
    /// Whether the URL was printed.
    has_printed: bool,
    /// Supervisors lost in a row.
    losses: u32,
}

/// Why the connection is no more needed, or no more there.
enum Left {
    InputEnded,
    SupervisorGone,
}

impl<'a> Caller<'a> {
    fn new(options: &'a Options, place: Place) -> Caller<'a> {
        let watches_input = options.stdin_life.unwrap_or_else(stdio::is_held);
        Caller { options, place, watches_input, has_printed: false, losses: 0 }
    }

    fn stay(mut self) -> Result<(), Trouble> {
        loop {
            let joined = join(&self.place, &self.options.what).map_err(|why| (EXIT_FAILED, why))?;
            let since = Instant::now();
            match self.follow(joined)? {
                Left::InputEnded => return Ok(()),
                Left::SupervisorGone if since.elapsed() > PROVEN => self.losses = 0,
                Left::SupervisorGone => self.losses += 1,
            }
            if self.losses > LOSSES_MAX {
                let log = self.place.log();
                let why =
                    format!("the daemon was lost {LOSSES_MAX} times in a row; its log: {}", log.display());
                return Err((EXIT_FAILED, why));
            }
            // A supervisor that is being killed closes its connections one after the other, and may still take
            // some that it never hears.
            sleep(LOSS_PAUSE * 2u32.pow(self.losses.min(LOSS_DOUBLINGS)));
        }
    }

    /// Waits for what the supervisor says and for the end of stdin.
    fn follow(&mut self, joined: Joined) -> Result<Left, Trouble> {
        let Joined { mut socket, started } = joined;
        let mut lines = Lines::default();
        let kernel = |error: io::Error| (EXIT_FAILED, error.to_string());
        let mut patience_ends = Instant::now() + self.patience();
        loop {
            let ask = |descriptor| Interest { descriptor, readable: true, writable: false };
            let input = if self.watches_input { stdio::INPUT } else { -1 };
            let [from_host, from_supervisor] =
                poll([ask(input), ask(socket.as_raw_fd())], self.wait_ms(patience_ends)?).map_err(kernel)?;
            if from_supervisor.readable {
                patience_ends = Instant::now() + self.patience();
                let events = read(&mut socket, &mut lines);
                let is_gone = events.is_none();
                for event in events.unwrap_or_default() {
                    self.on_event(event, started)?;
                }
                if is_gone {
                    return Ok(Left::SupervisorGone);
                }
            }
            if from_host.readable && has_input_ended() {
                return Ok(Left::InputEnded);
            }
        }
    }

    /// The longest silence of a supervisor that is well, before the server answers for the first time.
    fn patience(&self) -> Duration {
        let what = &self.options.what;
        Duration::from_millis(what.ready_timeout_ms + what.stop_grace_ms) + SLACK
    }

    /// How long to wait for something to happen. Once the server has answered there may be silence for ever.
    fn wait_ms(&self, patience_ends: Instant) -> Result<i32, Trouble> {
        if self.has_printed {
            return Ok(-1);
        }
        let left = patience_ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let (seconds, log) = (self.patience().as_secs(), self.place.log());
            let why = format!("the daemon has been silent for {seconds} s; its log: {}", log.display());
            return Err((EXIT_FAILED, why));
        }
        Ok(left.as_millis().clamp(1, i32::MAX as u128) as i32)
    }

    fn on_event(&mut self, event: Event, started: bool) -> Result<(), Trouble> {
        match event {
            Event::Ready { server, supervisor } if !self.has_printed => {
                self.has_printed = true;
                self.print(server, supervisor, started).map_err(|why| (EXIT_FAILED, why))
            }
            Event::Ready { server, .. } => {
                cli::complain(&format!("daemon: the server answers again, as process {server}"));
                Ok(())
            }
            Event::Restarting { why } => {
                cli::complain(&format!("daemon: {why}"));
                Ok(())
            }
            Event::Over { end, why } => Err((end.exit_code(), why)),
        }
    }

    fn print(&self, server: u32, supervisor: u32, started: bool) -> Result<(), String> {
        let what = &self.options.what;
        let url = what.url();
        let line = match self.options.json {
            false => url,
            true => {
                let (host, port, directory) = (&what.host, what.port, self.place.directory.display());
                let directory = directory.to_string();
                serde_json::to_string(&Told { url, host, port, server, supervisor, started, directory })
                    .map_err(|error| error.to_string())?
            }
        };
        cli::print_all(&format!("{line}\n")).map_err(|failure| failure.text)?;
        Ok(())
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Told<'a> {
    url: String,
    host: &'a str,
    port: u16,
    /// Process ids.
    server: u32,
    supervisor: u32,
    /// Whether this caller was the first.
    started: bool,
    directory: String,
}

/// The events that have come; `None` at the end of the connection.
fn read(socket: &mut UnixStream, lines: &mut Lines) -> Option<Vec<Event>> {
    let mut piece = [0; 4096];
    let len = match socket.read(&mut piece) {
        Ok(0) => return None,
        Ok(len) => len,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        Err(_) => return None,
    };
    let mut events = Vec::new();
    // What a newer muxloop says beyond these is nothing that this one knows an answer to.
    lines.hear(&piece[..len], LINE_MAX, |line| events.extend(serde_json::from_slice::<Event>(line).ok()));
    Some(events)
}

/// Whether stdin has ended; what is there is read and means nothing.
fn has_input_ended() -> bool {
    match stdio::read(&mut [0; 4096]) {
        Ok(len) => len == 0,
        Err(error) => !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock),
    }
}

/// What a supervisor needs beyond what it waits for.
const SLACK: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one.
const PROVEN: Duration = Duration::from_secs(60);
const LOSSES_MAX: u32 = 10;
/// Before the first attempt to join again; doubled for each further one, up to 1.3 s.
const LOSS_PAUSE: Duration = Duration::from_millis(10);
const LOSS_DOUBLINGS: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::What;

    #[test]
    fn patience_ends_only_before_the_first_answer() {
        let what = What { ready_timeout_ms: 4_000, stop_grace_ms: 1_000, ..Default::default() };
        let options = Options { what, ..Default::default() };
        let place = Place::at("/nowhere".as_ref());
        let mut caller =
            Caller { options: &options, place, watches_input: false, has_printed: false, losses: 0 };
        let now = Instant::now();
        assert_eq!(caller.patience(), Duration::from_secs(35));
        assert!((1..=35_000).contains(&caller.wait_ms(now + caller.patience()).unwrap()));
        let (code, why) = caller.wait_ms(now).unwrap_err();
        assert_eq!(code, EXIT_FAILED);
        assert!(why.contains("silent for 35 s; its log: /nowhere/log"), "{why}");
        caller.has_printed = true;
        assert_eq!(caller.wait_ms(now), Ok(-1));
    }
}
