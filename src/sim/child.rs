//! [`Child`]: a server process that answers late and out of order, asks, chatters, stalls and dies.

mod hear;
mod question;

use super::client::{LEVELS, MODERN, URIS};
use super::kernel::{Kernel, Process, Task};
use super::ledger::Ledger;
use crate::base::Time;
use crate::engine::port::ExitStatus;
use crate::mux::Era;
use std::collections::{BTreeMap, BTreeSet};

/// One process.
#[derive(Debug)]
pub(super) struct Child {
    pub index: usize,
    nature: Nature,
    /// The era of its first message; what it speaks for the rest of its life.
    era: Option<Era>,
    line: Vec<u8>,
    jobs: Vec<Job>,
    ids: BTreeSet<u64>,
    initialized: bool,
    greeted: bool,
    subscribed: BTreeSet<String>,
    /// Which request asked for which URI: a cancel takes that back.
    subscribing: BTreeMap<String, String>,
    /// Ids of open listens, as written.
    listens: Vec<String>,
    questions: u64,
    next_chatter: Time,
    deaf_until: Time,
}

/// What a process is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    /// What it does with a handshake of the other era.
    pub eras: Eras,
    pub late_ms: u64,
    /// Percentages.
    pub silent: u64,
    pub noisy: u64,
    pub asks: u64,
    pub repeats: u64,
    /// Reads on after a cancel, and answers it.
    pub heedless: bool,
    /// Does not end when told to; has to be killed.
    pub stubborn: bool,
    pub deaf_to_ping: bool,
    pub hangs_on_start: bool,
    pub dies_at: Option<Time>,
    /// Closes its output instead.
    pub dies_quietly: bool,
}

/// Which handshakes a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eras {
    Legacy,
    Modern,
    Both,
    /// Legacy, and does not answer `server/discover`.
    LegacySilent,
    /// Legacy, and ends at `server/discover`.
    LegacyFragile,
}

/// A request it works on.
#[derive(Debug)]
struct Job {
    id: String,
    nonce: Option<u64>,
    token: Option<String>,
    /// Its client wants log lines (2026-07-28).
    logs: bool,
    method: String,
    due: Time,
    progress_left: u32,
    /// The questions whose answers it waits for.
    waits: Vec<String>,
    /// Questions that it asks when those are answered, one after the other.
    more: u32,
    /// The answer that it gives, if that asks something.
    round: Option<String>,
    cancelled: bool,
}

impl Nature {
    /// A random one; benign where the weather is calm.
    pub fn draw(kernel: &mut Kernel, eras: Eras, calm: bool) -> Nature {
        let late_ms = kernel.choice.pick(&[0, 5, 50, 400]);
        let mut nature = Nature {
            eras,
            late_ms,
            silent: 0,
            noisy: 10,
            asks: 20,
            repeats: 0,
            heedless: false,
            stubborn: false,
            deaf_to_ping: false,
            hangs_on_start: false,
            dies_at: None,
            dies_quietly: false,
        };
        if calm {
            return nature;
        }
        nature.silent = kernel.choice.pick(&[0, 0, 3, 15]);
        nature.asks = kernel.choice.pick(&[0, 20, 60]);
        nature.noisy = kernel.choice.pick(&[0, 10, 40]);
        nature.repeats = kernel.choice.pick(&[0, 0, 10]);
        nature.heedless = kernel.choice.chance(40);
        nature.stubborn = kernel.choice.chance(20);
        nature.deaf_to_ping = kernel.choice.chance(10);
        nature.hangs_on_start = kernel.choice.chance(6);
        nature.dies_quietly = kernel.choice.chance(30);
        if kernel.choice.chance(40) {
            nature.dies_at = Some(kernel.now + kernel.choice.between(0, 3_000));
        }
        nature
    }
}

impl Child {
    pub fn new(kernel: &mut Kernel, index: usize, nature: Nature) -> Child {
        kernel.trace.add(kernel.now, format_args!("process {index}: {nature:?}"));
        if let Some(at) = nature.dies_at {
            kernel.schedule(at, Task::Process(index));
        }
        let now = kernel.now;
        Child {
            index,
            nature,
            era: None,
            line: Vec::new(),
            jobs: Vec::new(),
            ids: BTreeSet::new(),
            initialized: false,
            greeted: false,
            subscribed: BTreeSet::new(),
            subscribing: BTreeMap::new(),
            listens: Vec::new(),
            questions: 0,
            next_chatter: now + 50,
            deaf_until: Time::ZERO,
        }
    }

    /// From now on it behaves.
    pub fn calm(&mut self) {
        self.nature.silent = 0;
        self.nature.repeats = 0;
        self.nature.dies_at = None;
        self.nature.deaf_to_ping = false;
    }

    /// Whether it runs, has greeted and behaves.
    pub fn is_serving(&self, kernel: &Kernel) -> bool {
        kernel.processes[self.index].alive && self.initialized
    }

    /// Does what is due; gives the lines that came.
    pub fn wake(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) -> Vec<String> {
        let Process { stdin, stdout, alive, terminated, .. } = kernel.processes[self.index];
        if !alive {
            return Vec::new();
        }
        if self.nature.dies_at.is_some_and(|at| at <= kernel.now) {
            self.nature.dies_at = None;
            if self.nature.dies_quietly {
                kernel.trace.add(kernel.now, format_args!("process {} closes its output", self.index));
                kernel.end(stdout);
                return Vec::new();
            }
            kernel.send(stdout, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"resu");
            kernel.exit(self.index, ExitStatus::Code(1));
            return Vec::new();
        }
        if terminated && !self.nature.stubborn {
            kernel.exit(self.index, ExitStatus::Signal(15));
            return Vec::new();
        }
        let lines = self.read(kernel, ledger, stdin);
        if !kernel.processes[self.index].alive {
            return lines;
        }
        self.work(kernel, ledger);
        lines
    }

    fn read(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, stdin: usize) -> Vec<String> {
        if kernel.now < self.deaf_until {
            kernel.schedule(self.deaf_until, Task::Process(self.index));
            return Vec::new();
        }
        let (bytes, ended) = kernel.recv(stdin);
        self.line.extend(bytes);
        let mut lines = Vec::new();
        while let Some(at) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=at).collect();
            match String::from_utf8(line) {
                Ok(line) => lines.push(line.trim_end_matches('\n').to_string()),
                Err(_) => ledger.fail(format!("process {} got bytes that are not UTF-8", self.index)),
            }
        }
        if ended && !self.nature.stubborn {
            kernel.exit(self.index, ExitStatus::Code(0));
        }
        lines
    }

    fn say(&mut self, kernel: &mut Kernel, text: &str) {
        kernel.trace.add(kernel.now, format_args!("process {} ▶ {text}", self.index));
        let stdout = kernel.processes[self.index].stdout;
        kernel.send(stdout, &[text.as_bytes(), b"\n"].concat());
    }

    /// Answers, progress and questions that are due, and whatever else comes to its mind.
    fn work(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let mut at = 0;
        while at < self.jobs.len() {
            if self.jobs[at].due > kernel.now || !self.jobs[at].waits.is_empty() {
                at += 1;
                continue;
            }
            let mut job = self.jobs.swap_remove(at);
            if job.progress_left > 0 && !job.cancelled {
                job.progress_left -= 1;
                self.log_for(kernel, &job);
                self.report_progress(kernel, &job);
                job.due = kernel.now + kernel.choice.between(0, self.nature.late_ms);
                kernel.schedule(job.due, Task::Process(self.index));
                self.jobs.push(job);
                continue;
            }
            if job.more > 0 && !job.cancelled {
                job.more -= 1;
                self.ask_more(kernel, ledger, &mut job);
                self.jobs.push(job);
                continue;
            }
            self.answer(kernel, &job);
        }
        if kernel.now >= self.next_chatter && self.initialized {
            self.chatter(kernel);
            self.next_chatter = kernel.now + kernel.choice.between(20, 600);
            kernel.schedule(self.next_chatter, Task::Process(self.index));
        }
    }

    fn log_for(&mut self, kernel: &mut Kernel, job: &Job) {
        if let (true, Some(nonce)) = (job.logs, job.nonce) {
            self.say(
                kernel,
                &format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"emergency","data":"x","nonce":{nonce}}}}}"#
                ),
            );
        }
    }

    fn report_progress(&mut self, kernel: &mut Kernel, job: &Job) {
        if let (Some(token), Some(nonce)) = (&job.token, job.nonce) {
            let left = job.progress_left;
            self.say(
                kernel,
                &format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{},"nonce":{nonce}}}}}"#,
                    10 - left
                ),
            );
        }
    }

    fn answer(&mut self, kernel: &mut Kernel, job: &Job) {
        let Job { id, nonce, .. } = job;
        let kind = if self.era == Some(Era::Modern) { r#""resultType":"complete","# } else { "" };
        let text = match (job.method.as_str(), nonce) {
            _ if job.round.is_some() => job.round.clone().unwrap_or_default(),
            ("server/discover", _) => discovered(id),
            (_, None) => {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{}}}}}"#, kind.trim_end_matches(','))
            }
            (_, Some(nonce)) if kernel.choice.chance(85) => {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{kind}"nonce":{nonce},"content":[]}}}}"#)
            }
            (_, Some(nonce)) => format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no","data":{{"nonce":{nonce}}}}}}}"#
            ),
        };
        self.say(kernel, &text);
        if kernel.choice.chance(self.nature.repeats) {
            self.say(kernel, &text);
            self.report_progress(kernel, job);
        }
    }

    fn chatter(&mut self, kernel: &mut Kernel) {
        let server = kernel.processes[self.index].server;
        if kernel.choice.chance(self.nature.noisy) {
            let noise = kernel.choice.pick(&NOISE);
            self.say(kernel, noise);
            let stderr = kernel.processes[self.index].stderr;
            kernel.send(stderr, b"a warning\nand half a line");
            let patience = if kernel.weather.split > 0 { 300 } else { 0 };
            self.deaf_until = kernel.now + kernel.choice.between(0, patience);
        }
        let from = format!(r#""server":{server},"process":{}"#, self.index);
        if self.era == Some(Era::Modern) {
            return self.chatter_on_listens(kernel);
        }
        let (method, params) = match kernel.choice.below(6) {
            0 | 1 => {
                let level = kernel.choice.pick(&LEVELS);
                ("notifications/message", format!(r#"{{"level":"{level}","data":"x",{from}}}"#))
            }
            2 => ("notifications/custom", format!("{{{from}}}")),
            3 => ("notifications/tools/list_changed", "{}".to_string()),
            4 if !self.subscribed.is_empty() => {
                let uri = kernel.choice.pick(&URIS);
                ("notifications/resources/updated", format!(r#"{{"uri":"{uri}",{from}}}"#))
            }
            _ => return,
        };
        self.say(kernel, &format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#));
    }

    fn chatter_on_listens(&mut self, kernel: &mut Kernel) {
        for id in self.listens.clone() {
            let (method, uri) = match kernel.choice.below(3) {
                0 => ("notifications/tools/list_changed", String::new()),
                1 => ("notifications/prompts/list_changed", String::new()),
                _ => {
                    let uri = kernel.choice.pick(&URIS);
                    ("notifications/resources/updated", format!(r#","uri":"{uri}""#))
                }
            };
            self.say(
                kernel,
                &format!(
                    r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}{uri}}}}}"#
                ),
            );
        }
    }
}

fn discovered(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","supportedVersions":["{MODERN}"],"capabilities":{{"tools":{{"listChanged":true}}}},"ttlMs":1000,"cacheScope":"public"}}}}"#
    )
}

const NOISE: [&str; 8] = [
    "Listening on port 3000",
    "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}",
    "{\"jsonrpc\":\"2.0\",\"id\":\"65536\",\"result\":{\"nonce\":1}}",
    "{\"jsonrpc\":\"2.0\",\"id\":65536,\"result\":{}",
    "[1,2]",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":\"nothing\"}}",
    "",
];
