//! [`Feed`]: the dashboard's connection to the daemon. It never waits: it is asked when its descriptor is
//! ready or its time has come, and it looks for the daemon again when that is gone.
//!
//! A report is asked for each second, rather than watched: the answer also tells that the daemon is alive.

use super::app::{Action, App};
use crate::client::control::{Control, HELLO_ID, Message, Refusal};
use crate::client::link::Incoming;
use crate::client::text::{duration, plain};
use crate::client::{EXIT_NOT_RUNNING, Failure, Target};
use crate::config::Surroundings;
use crate::control::{Json, Report};
use std::time::{Duration, Instant};

/// Where reports come from.
#[derive(Debug)]
pub struct Feed {
    target: Target,
    surroundings: Surroundings,
    state: State,
}

#[derive(Debug)]
enum State {
    Down { retry_at: Instant },
    Up(Box<Up>),
}

#[derive(Debug)]
struct Up {
    control: Control,
    greeted: bool,
    /// Number of the request for a report that is not answered yet, or of the hello.
    waiting: Option<u64>,
    /// When that was asked.
    asked_at: Instant,
    /// What the user asked for, and its number.
    actions: Vec<(u64, String)>,
}

impl Feed {
    pub fn new(target: Target, surroundings: Surroundings) -> Feed {
        Feed { target, surroundings, state: State::Down { retry_at: Instant::now() } }
    }

    /// Negative while there is no connection.
    pub fn descriptor(&self) -> i32 {
        match &self.state {
            State::Up(up) => up.control.link.descriptor(),
            State::Down { .. } => -1,
        }
    }

    /// How long nothing is to be done unless the descriptor is ready.
    pub fn wait(&self) -> Duration {
        let now = Instant::now();
        let until = match &self.state {
            State::Down { retry_at } => *retry_at,
            State::Up(up) if up.waiting.is_none() => up.asked_at + INTERVAL,
            State::Up(up) if up.asked_at + SILENCE > now => up.asked_at + SILENCE,
            // How long it is silent is shown, and nothing else is to be done.
            State::Up(_) => now + RETRY,
        };
        until.saturating_duration_since(now)
    }

    /// Connects, reads and asks, as far as that is possible now.
    pub fn turn(&mut self, app: &mut App) {
        let now = Instant::now();
        if let State::Down { retry_at } = self.state {
            if retry_at > now {
                return;
            }
            match self.connect(now) {
                Ok(up) => self.state = State::Up(Box::new(up)),
                Err(failure) => return self.lose(app, &failure),
            }
        }
        let State::Up(up) = &mut self.state else { return };
        if let Err(failure) = up.turn(now, app) {
            self.lose(app, &failure);
        }
    }

    /// Has something done to a server.
    pub fn ask(&mut self, action: Action, app: &mut App) {
        let (verb, name) = match &action {
            Action::Quit => return,
            Action::Start(name) => ("start", name),
            Action::Stop(name) => ("stop", name),
            Action::Restart(name) => ("restart", name),
        };
        let State::Up(up) = &mut self.state else { return };
        match up.control.send(verb, &crate::client::verbs::params(name), Instant::now()) {
            Ok(id) => {
                up.actions.push((id, format!("{verb} {}", plain(name))));
                app.say(format!("{verb} {} …", plain(name)), false);
            }
            Err(failure) => self.lose(app, &failure),
        }
    }

    fn connect(&self, now: Instant) -> Result<Up, Failure> {
        let mut first = None;
        for place in self.target.places(&self.surroundings)? {
            match Control::begin(&place) {
                Ok(control) => {
                    let waiting = Some(HELLO_ID);
                    return Ok(Up { control, greeted: false, waiting, asked_at: now, actions: Vec::new() });
                }
                Err(failure) if failure.code == EXIT_NOT_RUNNING => first = first.or(Some(failure)),
                Err(failure) => return Err(failure),
            }
        }
        Err(first.unwrap_or_else(|| Failure::not_running("no place to look for it")))
    }

    fn lose(&mut self, app: &mut App, failure: &Failure) {
        app.on_gone(&failure.text);
        self.state = State::Down { retry_at: Instant::now() + RETRY };
    }
}

impl Up {
    fn turn(&mut self, now: Instant, app: &mut App) -> Result<(), Failure> {
        for _ in 0..LINES_MAX {
            match self.control.link.look()? {
                Incoming::Nothing => break,
                Incoming::End => {
                    let name = self.control.link.name();
                    return Err(Failure::not_running(format!("{name} ended")));
                }
                Incoming::Line(line) => {
                    if let Message::Answer { id, result } = self.control.read(&line)? {
                        self.on_answer(id, result, app)?;
                    }
                }
            }
        }
        if self.waiting.is_some() && now.duration_since(self.asked_at) >= SILENCE {
            let silence = duration(now.duration_since(self.asked_at).as_secs() * 1_000);
            app.on_gone(&format!("{} has not answered for {silence}", self.control.link.name()));
        }
        if self.waiting.is_none() && now.duration_since(self.asked_at) >= INTERVAL {
            self.ask_status(now)?;
        }
        Ok(())
    }

    fn ask_status(&mut self, now: Instant) -> Result<(), Failure> {
        self.waiting = Some(self.control.send("status", "{}", now)?);
        self.asked_at = now;
        Ok(())
    }

    fn on_answer(&mut self, id: u64, result: Result<String, Refusal>, app: &mut App) -> Result<(), Failure> {
        let now = Instant::now();
        if let Some(at) = self.actions.iter().position(|(asked, _)| *asked == id) {
            let (_, what) = self.actions.remove(at);
            match result {
                Ok(_) => app.say(format!("{what}: done"), false),
                Err(why) => app.say(format!("{what}: {}", plain(&why.message)), true),
            }
            // What came of it is shown at once.
            if self.waiting.is_none() {
                self.ask_status(now)?;
            }
            return Ok(());
        }
        if !self.greeted {
            self.control.greet(result)?;
            self.greeted = true;
            return self.ask_status(now);
        }
        if self.waiting == Some(id) || id == 0 {
            self.waiting = None;
            let text = result.map_err(|refusal| Failure::other(plain(&refusal.message)))?;
            let report = Report::read(Json::new(text.as_bytes()))
                .ok_or_else(|| Failure::other("the report cannot be read"))?;
            app.on_report(report);
        }
        Ok(())
    }
}

/// Between an answer and the next question.
const INTERVAL: Duration = Duration::from_millis(1_000);
/// After so long without an answer the daemon hangs, as far as one can tell.
const SILENCE: Duration = Duration::from_millis(2_500);
/// Between two attempts to find a daemon that is gone.
const RETRY: Duration = Duration::from_millis(500);
/// Lines of one turn.
const LINES_MAX: usize = 32;
