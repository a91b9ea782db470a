//! `muxloop tui`: the dashboard, a client of the control socket like any other.
//!
//! ```text
//!  keys ──▶ App ──▶ view ──▶ Screen (ratatui; what changed, in one synchronised update)
//!  Feed ──▶  │  ◀── Beside (the daemon's log, with --tui)
//!   ▲────────┘ Action
//! ```
//!
//! One thread, one poll(2): keys, the control socket, signals, and a second's tick for what only the clock
//! changes. `app` and `view` do no I/O and know no clock, so that tests draw them on a buffer.
//!
//! With `run --tui` the dashboard is the process that was started, and the daemon is its child, in a process
//! group of its own, with its standard error in a pipe that is shown here (key `l`). So no log line can tear
//! the screen, the daemon's loop is not disturbed, and a dashboard that dies takes no server with it.

mod app;
mod beside;
mod feed;
mod keys;
mod screen;
mod view;

use crate::cli::{self, RunOptions};
use crate::client::{Failure, Target};
use crate::config::Surroundings;
use crate::reactor::poll::{Interest, poll};
use app::{Action, App};
use beside::Beside;
use feed::Feed;
use keys::Keys;
use screen::{Screen, Signals};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Shows the muxloop that is meant, until the user has seen enough.
pub fn run(target: Target, surroundings: Surroundings) -> ExitCode {
    finish(terminal().and_then(|()| session(Feed::new(target, surroundings), None)))
}

/// Runs the servers of a configuration, and shows them.
pub fn run_beside(options: &RunOptions, surroundings: Surroundings) -> ExitCode {
    finish(terminal().and_then(|()| {
        let target = beside::target(options, &surroundings)?;
        let daemon = Beside::start(options)?;
        session(Feed::new(target, surroundings), Some(daemon))
    }))
}

fn finish(ended: Result<ExitCode, Failure>) -> ExitCode {
    ended.unwrap_or_else(|failure| {
        cli::complain(&failure.text);
        ExitCode::from(failure.code)
    })
}

fn terminal() -> Result<(), Failure> {
    match io::stdin().is_terminal() && io::stdout().is_terminal() {
        true => Ok(()),
        false => Err(Failure::usage("the dashboard needs a terminal; without one: muxloop status --watch")),
    }
}

/// The loop. The screen is as it was before when this returns, by whatever way.
fn session(mut feed: Feed, mut beside: Option<Beside>) -> Result<ExitCode, Failure> {
    let unusable = |error: io::Error| Failure::other(format!("the terminal cannot be used: {error}"));
    let signals = Signals::register().map_err(unusable)?;
    let mut screen = Screen::open().map_err(unusable)?;
    let started = Instant::now();
    let mut app = App::new(screen::colours());
    let mut keys = Keys::default();
    let end = loop {
        app.tick(started.elapsed().as_millis() as u64);
        feed.turn(&mut app);
        if let Some(daemon) = &mut beside {
            daemon.turn(&mut app);
            if let Some(code) = daemon.ended() {
                break End::Daemon(code);
            }
        }
        if app.take_changed() {
            screen.draw(&mut app).map_err(unusable)?;
        }
        let wait = if keys.is_pending() { KEY_REST } else { feed.wait().min(TICK) };
        let ready = poll(
            [
                interest(0),
                interest(feed.descriptor()),
                interest(signals.descriptor()),
                interest(beside.as_ref().map_or(-1, Beside::descriptor)),
            ],
            wait.as_millis() as i32 + 1,
        )
        .map_err(unusable)?;
        if let Some(signal) = signals.take(&mut app) {
            break End::Signal(signal);
        }
        if ready[0].readable && keys.read().is_err() {
            // The terminal is gone, and nothing can be shown or asked any more.
            break End::Signal(libc::SIGHUP);
        }
        let is_quiet = !ready.iter().any(|one| one.readable);
        match next_action(&mut app, &mut keys, is_quiet) {
            None => {}
            Some(Action::Quit) => match &mut beside {
                None => break End::Seen,
                Some(daemon) => daemon.stop(&mut app),
            },
            Some(action) => feed.ask(action, &mut app),
        }
    };
    drop(screen);
    Ok(end.code(beside))
}

/// How a session ends.
enum End {
    /// Enough was seen.
    Seen,
    /// The daemon beside ended, with this exit code.
    Daemon(u8),
    Signal(i32),
}

impl End {
    fn code(self, beside: Option<Beside>) -> ExitCode {
        match self {
            End::Seen => ExitCode::SUCCESS,
            End::Daemon(code) => {
                if let Some(daemon) = beside.filter(|_| code != 0) {
                    daemon.say_why();
                }
                ExitCode::from(code)
            }
            End::Signal(signal) => {
                if let Some(daemon) = beside {
                    daemon.finish();
                }
                ExitCode::from(128 + signal as u8)
            }
        }
    }
}

fn interest(descriptor: i32) -> Interest {
    Interest { descriptor, readable: true, writable: false }
}

/// Has the app take what was typed, up to the first key that wants something done.
fn next_action(app: &mut App, keys: &mut Keys, no_more: bool) -> Option<Action> {
    std::iter::from_fn(|| keys.next(no_more)).find_map(|key| app.on_key(key))
}

/// What only the clock changes is shown so often.
const TICK: Duration = Duration::from_millis(1_000);
/// Between the bytes of one key there is less, even over a slow line.
const KEY_REST: Duration = Duration::from_millis(40);
