//! How a trial ends: deadlines, silence, the stop, and a process that ends by itself.

use super::{ANSWER_MAX, CLEARING, LINES_SHOWN, PUMPS_AT_END, RUNG, Rung, Step, Trial};
use crate::client::text;
use crate::doctor::advice;
use crate::doctor::finding::Finding;
use crate::doctor::handshake::Era;
use crate::doctor::runner::Stage;
use crate::engine::port::ExitStatus;
use crate::mux::policy::EraPolicy;
use std::time::{Duration, Instant};

impl Trial<'_> {
    /// Begins the stop ladder.
    pub(super) fn stop(&mut self) {
        self.unanswered.extend(self.asked.take().map(|(id, _)| id));
        self.step = Step::Stopping(Rung::Stdin);
        self.due = Instant::now() + RUNG;
        if let Some(process) = &mut self.process {
            process.wire.close_stdin();
        }
    }

    /// The time of the step is over.
    pub fn on_due(&mut self, stage: &mut Stage<'_>) {
        if let Some(process) = &self.process
            && process.stdout_over
            && self.is_asking()
        {
            let cure = "Keep stdout open and for messages alone, as long as stdin is.";
            self.tried.findings.add(Finding::error(
                "stdout-closed",
                "it closed its stdout, and lives on",
                cure,
            ));
            return self.kill(stage);
        }
        match self.step {
            Step::Greeting => self.on_silence(stage),
            Step::Pinging if !self.is_over_time() => {
                let cure =
                    "Have it answer `ping`, or set heartbeat_enabled = false: muxloop restarts it else.";
                let message = format!("it did not answer `ping` within {} s", ANSWER_MAX.as_secs());
                self.tried.findings.add(Finding::warning("ping-silent", message, cure));
                self.next_list();
            }
            Step::Listing if !self.is_over_time() => {
                let method = self.asked.map_or("", |(_, method)| method);
                self.list_failed(method, &format!("did not answer within {} s", ANSWER_MAX.as_secs()), "");
                self.next_list();
            }
            Step::Pinging | Step::Listing => {
                let message = format!("it was not done after {} s", self.patience.as_secs());
                let cure = "See what slows it down, or give it more with --timeout.";
                self.tried.findings.add(Finding::error("timeout", message, cure));
                self.kill(stage);
            }
            Step::Stopping(_) | Step::Switching => self.next_rung(stage),
            Step::Clearing(_) => self.clear(stage),
            Step::Done => {}
        }
    }

    pub(super) fn is_over_time(&self) -> bool {
        Instant::now() >= self.deadline
    }

    pub(super) fn on_silence(&mut self, stage: &mut Stage<'_>) {
        let Some(process) = &self.process else { return };
        let waited = text::duration(process.started.elapsed().as_millis() as u64);
        let message = format!("it did not answer `{}` within {waited}", self.era.opening());
        let cure = match (self.odd.has_noise(), advice::launcher(self.server)) {
            (false, None) => format!(
                "See whether '{}' with its `args` is an MCP server over stdio; some need an argument such as 'stdio'.",
                self.server.spawn.program
            ),
            (false, Some(_)) => advice::on_slowness(self.server),
            _ => "What it writes is no MCP: see whether `args` start the server, and over stdio.".to_owned(),
        };
        let is_cut_short = self.patience < Duration::from_millis(self.server.policy.startup_timeout_ms);
        let cure = if is_cut_short { format!("{cure} Or give it more time with --timeout.") } else { cure };
        let evidence = process.stderr.last_lines(LINES_SHOWN).join("\n");
        self.tried.findings.add(Finding::error("start-silent", message, cure).seen(evidence));
        self.kill(stage);
    }

    /// It ended. What it wrote before has precedence.
    pub fn on_exit(&mut self, status: ExitStatus, stage: &mut Stage<'_>) {
        if let Some(process) = &mut self.process {
            process.exit = Some(status);
        }
        // Bounded: who inherited its pipes may write for ever.
        for _ in 0..PUMPS_AT_END {
            if !self.is_readable() {
                break;
            }
            self.pump(stage);
        }
        match self.step {
            Step::Switching => {
                stage.discard(self.process.take());
                return self.start(stage);
            }
            Step::Greeting | Step::Pinging | Step::Listing => self.on_early_end(status),
            Step::Stopping(rung) => self.judge_stop(rung),
            Step::Clearing(_) | Step::Done => {}
        }
        self.step = Step::Clearing(Instant::now() + CLEARING);
        self.clear(stage);
    }

    pub(super) fn on_early_end(&mut self, status: ExitStatus) {
        let Some(process) = &self.process else { return };
        let lines = process.stderr.last_lines(LINES_SHOWN);
        let how = advice::ending(status);
        let method = self.asked.map_or(self.era.opening(), |(_, method)| method);
        let finding = match self.step {
            Step::Greeting => {
                let after = text::duration(process.started.elapsed().as_millis() as u64);
                let message = format!("it ended {how} after {after}, without an answer to `{method}`");
                let cure = match (self.era, self.server.policy.era) {
                    (Era::Modern, EraPolicy::Modern) => {
                        "Set era = \"auto\": older servers end when they are asked this.".to_owned()
                    }
                    _ => advice::on_early_end(self.server, status, &lines),
                };
                Finding::error("start-exited", message, cure)
            }
            _ => {
                let message =
                    format!("it answered the handshake, and ended {how} when it was asked `{method}`");
                let cure = "Its last words may tell; update it, or report it to its authors.";
                Finding::error("handshake-died", message, cure)
            }
        };
        let finding = finding.seen(lines.join("\n"));
        self.asked = None;
        self.tried.findings.add(self.refusal.take().unwrap_or(finding));
    }
}
