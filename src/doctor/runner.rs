//! The loop: trials side by side, in the order of the file, under one [`Reactor`].

use super::stop::time_to_stop;
use super::trial::{Process, Trial, Tried};
use super::wire::{Stderr, Wire};
use crate::base::Arena;
use crate::engine::port::{Kill, Platform, Ready, Signal, SpawnSpec};
use crate::reactor::Reactor;
use std::io;
use std::time::{Duration, Instant};

/// What the trials share: the kernel, and whose its events are.
pub struct Stage<'r> {
    pub reactor: &'r mut Reactor,
    sources: &'r mut Arena<(usize, Part)>,
    /// The trial that is on.
    trial: usize,
}

/// What of a process an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Process,
    Stdio,
    Stderr,
}

/// Why not all servers were tried.
#[derive(Debug)]
pub enum Interrupted {
    /// SIGINT, SIGTERM or SIGHUP.
    BySignal,
    ByKernel(io::Error),
}

impl Stage<'_> {
    /// Starts a process for the trial that is on.
    ///
    /// # Errors
    /// Why it does not start, in words.
    pub fn spawn(&mut self, spec: &SpawnSpec) -> Result<Process, String> {
        let keys =
            [Part::Process, Part::Stdio, Part::Stderr].map(|part| self.sources.insert((self.trial, part)));
        let [key, stdio, stderr] = keys;
        let spawned = self.reactor.spawn(key, spec).inspect_err(|_| {
            for key in keys {
                self.sources.remove(key);
            }
        })?;
        let mut process = Process::new(keys, Wire::new(spawned.stdio), Stderr::new(spawned.stderr));
        let registered = self
            .reactor
            .register(stdio, process.wire.io())
            .and_then(|()| self.reactor.register(stderr, process.stderr.io()));
        match registered {
            Ok(()) => Ok(process),
            Err(error) => {
                self.discard(Some(process));
                Err(format!("its pipes cannot be watched: {error}"))
            }
        }
    }

    pub fn kill(&mut self, process: Option<&Process>, how: Kill) {
        if let Some(process) = process {
            self.reactor.kill(process.key, how);
        }
    }

    /// Ends what is left of a process and forgets it.
    pub fn discard(&mut self, process: Option<Process>) {
        let Some(mut process) = process else { return };
        self.reactor.deregister(process.stdio_key, process.wire.io());
        self.reactor.deregister(process.stderr_key, process.stderr.io());
        self.reactor.sweep(process.key);
        for key in [process.key, process.stdio_key, process.stderr_key] {
            self.sources.remove(key);
        }
    }
}

/// Runs all trials; `each` gets what was found in their order, as soon as it can.
///
/// # Errors
/// A signal came: every process ends with the reactor.
pub fn run(
    reactor: &mut Reactor,
    trials: Vec<Trial<'_>>,
    each: &mut dyn FnMut(&Tried),
) -> Result<Vec<Tried>, Interrupted> {
    let mut sources = Arena::new();
    let mut ready = Vec::new();
    let mut waiting: Vec<Option<Trial<'_>>> = trials.into_iter().map(Some).collect();
    let mut active: Vec<(usize, Trial<'_>)> = Vec::new();
    let mut done: Vec<Option<Tried>> = waiting.iter().map(|_| None).collect();
    let (mut next, mut told) = (0, 0);
    loop {
        while active.len() < AT_ONCE && next < waiting.len() {
            if let Some(mut trial) = waiting[next].take() {
                trial.begin(&mut Stage { reactor, sources: &mut sources, trial: next });
                active.push((next, trial));
            }
            next += 1;
        }
        for (index, trial) in active.extract_if(.., |(_, trial)| trial.is_done()) {
            done[index] = Some(trial.tried);
        }
        while let Some(Some(tried)) = done.get(told) {
            each(tried);
            told += 1;
        }
        if told == done.len() {
            return Ok(done.into_iter().flatten().collect());
        }
        if active.len() < AT_ONCE && next < waiting.len() {
            continue;
        }
        reactor.wait(Some(pause(&active)), &mut ready).map_err(Interrupted::ByKernel)?;
        for event in ready.drain(..) {
            if matches!(event, Ready::Signal(Signal::Stop | Signal::Reload)) {
                return Err(Interrupted::BySignal);
            }
            handle(event, &mut active, reactor, &mut sources);
        }
        for (index, trial) in &mut active {
            let mut stage = Stage { reactor, sources: &mut sources, trial: *index };
            trial.pump(&mut stage);
            if trial.due <= Instant::now() {
                trial.on_due(&mut stage);
            }
        }
    }
}

/// Until the next deadline, and not at all if somebody has more to read.
fn pause(active: &[(usize, Trial<'_>)]) -> Duration {
    if active.iter().any(|(_, trial)| trial.is_readable()) {
        return Duration::ZERO;
    }
    let due = active.iter().map(|(_, trial)| trial.due).min();
    due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
}

fn handle(
    event: Ready,
    active: &mut [(usize, Trial<'_>)],
    reactor: &mut Reactor,
    sources: &mut Arena<(usize, Part)>,
) {
    let key = match event {
        Ready::Stream { key, .. } => key,
        Ready::Exited { process, .. } => process,
        _ => return,
    };
    let Some((index, part)) = sources.get(key).copied() else { return };
    let Some((_, trial)) = active.iter_mut().find(|(active, _)| *active == index) else { return };
    match event {
        Ready::Stream { readable, writable, .. } => trial.on_stream(part, readable, writable),
        Ready::Exited { status, .. } => {
            trial.on_exit(status, &mut Stage { reactor, sources, trial: index });
        }
        _ => {}
    }
}

/// The longest time that so many servers take.
pub fn time_bound(servers: usize, patience: Duration) -> Duration {
    (patience + time_to_stop()) * servers.div_ceil(AT_ONCE) as u32
}

/// Servers that are tried at once: most of their starts is waiting.
const AT_ONCE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_at_once_take_as_long_as_one() {
        let patience = Duration::from_secs(60);
        let bounds = [1, 4, 5, 9].map(|servers| time_bound(servers, patience).as_millis());
        assert_eq!(bounds, [66_500, 66_500, 133_000, 199_500]);
    }
}
