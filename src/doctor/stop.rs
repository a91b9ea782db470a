//! The second half of a trial: how a server ends, and what it leaves behind.

use super::finding::Finding;
use super::runner::Stage;
use super::trial::{CLEARING, RUNG, Rung, Step, Trial};
use crate::engine::port::Kill;
use crate::reactor::procfs;
use std::path::Path;
use std::time::{Duration, Instant};

impl Trial<'_> {
    /// Ends it at once; that it does is no finding.
    pub(super) fn kill(&mut self, stage: &mut Stage<'_>) {
        self.is_stop_judged = false;
        self.step = Step::Stopping(Rung::Kill);
        self.due = Instant::now() + RUNG;
        stage.kill(self.process.as_ref(), Kill::Kill);
    }

    /// It did not end by the last step of the ladder.
    pub(super) fn next_rung(&mut self, stage: &mut Stage<'_>) {
        self.due = Instant::now() + RUNG;
        match self.step {
            Step::Stopping(Rung::Stdin) => {
                self.step = Step::Stopping(Rung::Terminate);
                stage.kill(self.process.as_ref(), Kill::Terminate);
            }
            Step::Stopping(Rung::Terminate) => {
                self.step = Step::Stopping(Rung::Kill);
                stage.kill(self.process.as_ref(), Kill::Kill);
            }
            _ => {
                let message = "not even SIGKILL ended it";
                let cure = "It hangs in the kernel, most likely on a file system or a device: see to that.";
                self.tried.findings.add(Finding::error("stop-kill", message, cure));
                self.finish(stage);
            }
        }
    }

    /// It ended at this step of the ladder.
    pub(super) fn judge_stop(&mut self, rung: Rung) {
        if !self.is_stop_judged {
            return;
        }
        let seconds = RUNG.as_secs();
        match rung {
            Rung::Stdin => {}
            Rung::Terminate => {
                let message =
                    format!("it does not end within {seconds} s when its stdin closes; SIGTERM ended it");
                let cure = "Have it end at the end of stdin, as the protocol asks: hosts that only close it leave it behind.";
                self.tried.findings.add(Finding::note("stop-stdin", message, cure));
            }
            Rung::Kill => {
                let message =
                    format!("neither the end of its stdin nor SIGTERM ends it within {seconds} s each");
                let cure = "Have it end at both; until then each stop of muxloop takes that long.";
                self.tried.findings.add(Finding::warning("stop-sigterm", message, cure));
            }
        }
    }

    /// It is gone; waits for the processes that it started, and ends those that stay.
    pub(super) fn clear(&mut self, stage: &mut Stage<'_>) {
        let Step::Clearing(until) = self.step else { return };
        let left =
            self.process.as_ref().map(|process| stage.reactor.descendants(process.key)).unwrap_or_default();
        // After a SIGKILL it had no chance to end them.
        if left.is_empty() || !self.is_stop_judged {
            return self.finish(stage);
        }
        if Instant::now() < until {
            self.due = Instant::now() + CLEARING / 10;
            return;
        }
        let names: Vec<String> = left
            .iter()
            .map(|pid| {
                // The arguments are not shown: keys may be among them.
                let command = procfs::command(*pid);
                let program = command.split(' ').next().unwrap_or_default();
                let program =
                    Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
                format!("{program} (process {pid})")
            })
            .collect();
        let message = format!("it leaves processes behind when it ends ({})", left.len());
        let cure = "Have it end what it starts; muxloop does so for it (and just did), other clients do not.";
        self.tried.findings.add(Finding::warning("stop-descendants", message, cure).seen(names.join("\n")));
        self.finish(stage);
    }

    fn finish(&mut self, stage: &mut Stage<'_>) {
        stage.discard(self.process.take());
        std::mem::take(&mut self.odd).judge(&mut self.tried.findings);
        self.step = Step::Done;
    }
}

/// The most that a trial takes beyond its patience.
pub fn time_to_stop() -> Duration {
    RUNG * 3 + CLEARING
}
