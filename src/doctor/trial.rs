//! [`Trial`]: one server in a process of its own, from its start to its end, step by step.
//!
//! ```text
//! start ─▶ Greeting ─▶ Pinging ─▶ Listing … ─▶ Stopping: stdin closed, SIGTERM, SIGKILL ─▶ Clearing ─▶ Done
//!             │ refused, era = "auto"                        ▲
//!             └▶ Switching: a new process, the other era     └─ from anywhere, without a finding
//! ```
//!
//! Driven by events, as everything that waits is one of several ([`super::runner`]). What answers mean is in
//! `handshake.rs` and `lists.rs`.

mod ends;

use super::advice;
use super::finding::{Finding, Findings};
use super::handshake::{self, Era, Hello};
use super::lists::{List, Pages};
use super::oddities::Oddities;
use super::runner::{Part, Stage};
use super::wire::{Heard, Stderr, Wire};
use crate::base::Key;
use crate::client::text;
use crate::config::ServerConfig;
use crate::engine::port::{ExitStatus, Kill};
use crate::mux::policy::EraPolicy;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What became known of a server.
#[derive(Debug, Default)]
pub struct Tried {
    pub name: String,
    pub findings: Findings,
    pub era: Option<Era>,
    pub hello: Option<Hello>,
    /// Milliseconds from the start of the process to its answer to the handshake.
    pub start_ms: Option<u64>,
    /// The entries of each list that could be read to its end.
    pub lists: Vec<(List, Vec<Value>)>,
}

impl Tried {
    pub fn list(&self, list: List) -> Option<&[Value]> {
        self.lists.iter().find(|(known, _)| *known == list).map(|(_, entries)| entries.as_slice())
    }
}

/// A server that is being tried.
pub struct Trial<'c> {
    server: &'c ServerConfig,
    pub tried: Tried,
    pub(super) step: Step,
    /// When the step has taken long enough.
    pub(super) due: Instant,
    /// When everything up to the stop has.
    deadline: Instant,
    patience: Duration,
    pub(super) process: Option<Process>,
    era: Era,
    may_switch: bool,
    /// How it refused the first era.
    refusal: Option<Finding>,
    /// Id and method of the request that waits for its answer.
    asked: Option<(u64, &'static str)>,
    /// Ids of those whose answer was not waited for any longer.
    unanswered: Vec<u64>,
    last_id: u64,
    pages: Option<Pages>,
    lists_left: VecDeque<List>,
    pub(super) odd: Oddities,
    /// Whether how it stops says something about it.
    pub(super) is_stop_judged: bool,
    may_start: bool,
}

/// Where a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Greeting,
    /// Ending the process that refused, to start one for the other era.
    Switching,
    Pinging,
    Listing,
    Stopping(Rung),
    /// Waiting for what it left behind, until then.
    Clearing(Instant),
    Done,
}

/// A step of the stop ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    Stdin,
    Terminate,
    Kill,
}

/// A started process.
pub struct Process {
    pub key: Key,
    pub stdio_key: Key,
    pub stderr_key: Key,
    pub wire: Wire,
    pub stderr: Stderr,
    pub started: Instant,
    pub exit: Option<ExitStatus>,
    /// Whether the end of its stdout was noticed.
    stdout_over: bool,
}

impl<'c> Trial<'c> {
    /// A trial whose `findings` are those from before the start, which may forbid it.
    pub fn new(
        server: &'c ServerConfig,
        findings: Findings,
        patience: Duration,
        may_start: bool,
    ) -> Trial<'c> {
        let now = Instant::now();
        let era = if server.policy.era == EraPolicy::Modern { Era::Modern } else { Era::Legacy };
        Trial {
            server,
            tried: Tried { name: server.policy.name.clone(), findings, ..Tried::default() },
            step: Step::Done,
            due: now,
            deadline: now,
            patience,
            process: None,
            era,
            may_switch: server.policy.era == EraPolicy::Auto,
            refusal: None,
            asked: None,
            unanswered: Vec::new(),
            last_id: 0,
            pages: None,
            lists_left: VecDeque::new(),
            odd: Oddities::default(),
            is_stop_judged: true,
            may_start,
        }
    }

    pub fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// Starts the process and asks the first question.
    pub fn begin(&mut self, stage: &mut Stage<'_>) {
        self.deadline = Instant::now() + self.patience;
        if self.may_start {
            self.start(stage);
        }
    }

    fn start(&mut self, stage: &mut Stage<'_>) {
        match stage.spawn(&self.server.spawn) {
            Ok(process) => self.process = Some(process),
            Err(why) => {
                let cure = "Correct `cmd`, `args` and `cwd`, or install the program.";
                self.tried.findings.add(Finding::error("command-unusable", why, cure));
                self.step = Step::Done;
                return;
            }
        }
        self.step = Step::Greeting;
        let startup = Duration::from_millis(self.server.policy.startup_timeout_ms);
        self.ask(self.era.opening(), self.era.opening_params(), startup);
    }

    /// Sends a request. Without an answer by the end of the limit [`Trial::on_due`] goes on.
    fn ask(&mut self, method: &'static str, params: Value, limit: Duration) {
        self.last_id += 1;
        self.unanswered.extend(self.asked.map(|(id, _)| id));
        self.asked = Some((self.last_id, method));
        self.due = (Instant::now() + limit).min(self.deadline);
        self.say(&json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params }));
    }

    fn say(&mut self, message: &Value) {
        if let Some(process) = &mut self.process {
            process.wire.send(message);
        }
    }

    /// Something may be read, or written on.
    pub fn on_stream(&mut self, part: Part, readable: bool, writable: bool) {
        let Some(process) = &mut self.process else { return };
        match part {
            Part::Stdio => {
                process.wire.readable |= readable;
                if writable {
                    process.wire.flush();
                }
            }
            Part::Stderr => process.stderr.readable |= readable,
            Part::Process => {}
        }
    }

    /// Whether [`Trial::pump`] would find something.
    pub fn is_readable(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.wire.readable || process.stderr.readable)
    }

    /// Reads a piece of what is there, and answers it.
    pub fn pump(&mut self, stage: &mut Stage<'_>) {
        let Some(process) = &mut self.process else { return };
        process.stderr.read();
        let mut heard = Vec::new();
        process.wire.read(&mut |line| heard.push(line));
        for line in heard {
            self.hear(line, stage);
        }
        let is_asking = self.is_asking();
        if let Some(process) = &mut self.process
            && process.wire.ended
            && !process.stdout_over
            && process.exit.is_none()
        {
            process.stdout_over = true;
            if is_asking {
                // Most likely its end, which then follows at once.
                self.due = self.due.min(Instant::now() + END_FOLLOWS);
            }
        }
    }

    fn is_asking(&self) -> bool {
        matches!(self.step, Step::Greeting | Step::Pinging | Step::Listing)
    }

    fn hear(&mut self, heard: Heard, stage: &mut Stage<'_>) {
        match heard {
            Heard::Noise(line) => self.odd.noise(line),
            Heard::Overlong(bytes) => self.odd.overlong(bytes),
            Heard::Message(message) => match (message["method"].as_str(), message.get("id")) {
                (Some(method), Some(id)) => self.answer(method, id),
                (Some(_), None) => {}
                (None, Some(id)) => match self.asked {
                    Some((asked, method)) if *id == asked => {
                        self.asked = None;
                        self.on_answer(method, &message, stage);
                    }
                    _ if id.as_u64().is_some_and(|id| self.unanswered.contains(&id)) => {}
                    _ => self.odd.stray(&message),
                },
                (None, None) => {}
            },
        }
    }

    /// A request of the server: only `ping` was announced.
    fn answer(&mut self, method: &str, id: &Value) {
        if method == "ping" && self.era == Era::Legacy {
            return self.say(&json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
        }
        self.odd.asked(method);
        let error = json!({ "code": -32601, "message": "muxloop doctor cannot be asked that" });
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "error": error }));
    }

    fn on_answer(&mut self, method: &'static str, message: &Value, stage: &mut Stage<'_>) {
        let result = match (message.get("result"), message.get("error")) {
            (Some(result), None) => Ok(result),
            (_, error) => Err(error.unwrap_or(message)),
        };
        match (self.step, result) {
            (Step::Greeting, Ok(result)) => self.on_hello(result),
            (Step::Greeting, Err(error)) => self.on_refusal(error, stage),
            (Step::Pinging, result) => {
                if let Err(error) = result {
                    let cure =
                        "Have it answer `ping` with {}; muxloop's heartbeat counts any answer as life.";
                    let finding = Finding::note("ping-refused", "it refuses `ping`", cure);
                    self.tried.findings.add(finding.seen(error.to_string()));
                }
                self.next_list();
            }
            (Step::Listing, Ok(result)) => self.on_page(result),
            (Step::Listing, Err(error)) => {
                self.list_failed(method, "announces it, and refuses", &error.to_string());
                self.next_list();
            }
            _ => {}
        }
    }

    fn on_hello(&mut self, result: &Value) {
        let took = self.process.as_ref().map_or(Duration::ZERO, |process| process.started.elapsed());
        self.tried.start_ms = Some(took.as_millis() as u64);
        self.tried.era = Some(self.era);
        if took > START_SLOW {
            let message = format!(
                "it took {} to answer `{}`",
                text::duration(took.as_millis() as u64),
                self.era.opening()
            );
            let cure = advice::on_slowness(self.server);
            self.tried.findings.add(Finding::warning("start-slow", message, cure));
        }
        let Some(hello) = handshake::judge(self.era, result, &mut self.tried.findings) else {
            return self.stop();
        };
        self.lists_left = hello.lists.iter().copied().collect();
        self.tried.hello = Some(hello);
        match self.era {
            Era::Legacy => {
                self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
                self.step = Step::Pinging;
                self.ask("ping", json!({}), ANSWER_MAX);
            }
            Era::Modern => self.next_list(),
        }
    }

    /// An error as the answer to the handshake: with `era = "auto"` the other era is tried in a new process.
    fn on_refusal(&mut self, error: &Value, stage: &mut Stage<'_>) {
        let message = format!("it refuses `{}`", self.era.opening());
        let cure = match self.server.policy.era {
            EraPolicy::Auto => {
                "Update the server or its MCP SDK, so that it speaks a version that clients know.".to_owned()
            }
            _ => format!(
                "Set era = \"auto\" or \"{}\" for this server, or update it.",
                self.era.other().word()
            ),
        };
        let finding = Finding::error("handshake-refused", message, cure).seen(error.to_string());
        if std::mem::take(&mut self.may_switch) {
            self.refusal = Some(finding);
            self.era = self.era.other();
            self.step = Step::Switching;
            self.due = Instant::now() + RUNG;
            return stage.kill(self.process.as_ref(), Kill::Kill);
        }
        // How it refused the era that clients try first says more.
        let finding = self.refusal.take().unwrap_or(finding);
        self.tried.findings.add(finding);
        self.stop();
    }

    fn on_page(&mut self, result: &Value) {
        let Some(pages) = &mut self.pages else { return };
        if self.era == Era::Modern && pages.entries.is_empty() {
            handshake::check_cacheable(pages.list.method(), result, &mut self.tried.findings);
        }
        match pages.take(result) {
            Ok(Some(cursor)) => {
                let method = pages.list.method();
                self.ask(method, self.era.params(json!({ "cursor": cursor })), ANSWER_MAX);
            }
            Ok(None) => {
                pages.judge(&mut self.tried.findings);
                if let Some(pages) = self.pages.take() {
                    self.tried.lists.push((pages.list, pages.entries));
                }
                self.next_list();
            }
            Err(finding) => {
                self.tried.findings.add(finding);
                self.next_list();
            }
        }
    }

    /// A list that is announced and not to be had. Of templates many servers with resources know nothing.
    fn list_failed(&mut self, method: &str, what: &str, evidence: &str) {
        let message = format!("it {what} `{method}`");
        let finding = match self.pages.as_ref().map(|pages| pages.list) {
            Some(List::Templates) => {
                let cure = "Answer with an empty list: clients ask each server that has resources.";
                Finding::note("list-refused", message, cure)
            }
            _ => {
                let cure = "Implement the method, or leave its capability out of the handshake.";
                Finding::error("list-refused", message, cure)
            }
        };
        self.tried.findings.add(finding.seen(evidence));
    }

    fn next_list(&mut self) {
        let Some(list) = self.lists_left.pop_front() else { return self.stop() };
        self.pages = Some(Pages::new(list));
        self.step = Step::Listing;
        self.ask(list.method(), self.era.params(json!({})), ANSWER_MAX);
    }
}

impl Process {
    pub fn new(keys: [Key; 3], wire: Wire, stderr: Stderr) -> Process {
        let [key, stdio_key, stderr_key] = keys;
        let started = Instant::now();
        Process { key, stdio_key, stderr_key, wire, stderr, started, exit: None, stdout_over: false }
    }
}

/// A later answer to the handshake is slow.
const START_SLOW: Duration = Duration::from_secs(5);
/// For the answer to any other request.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// For each rung of the stop ladder, the default of `stop_grace_ms`.
pub const RUNG: Duration = Duration::from_secs(2);
/// Between the end of stdout and that of the process.
const END_FOLLOWS: Duration = Duration::from_millis(500);
/// For what a server left behind to end by itself.
pub const CLEARING: Duration = Duration::from_millis(500);
/// Most lines quoted in one finding.
const LINES_SHOWN: usize = 5;
/// Most pieces read after the end of a process.
const PUMPS_AT_END: usize = 256;
