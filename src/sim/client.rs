//! [`Client`]: a client that does what clients do, and sometimes what they should not.

mod again;
mod ask;
mod hear;
mod transport;

use super::kernel::{Kernel, Task};
use super::ledger::Ledger;
#[cfg(feature = "http")]
use super::web::{Terms, Way, Web};
use crate::base::Time;
use crate::mux::Era;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use transport::{Line, Transport};

/// One client and its connection.
#[derive(Debug)]
pub(super) struct Client {
    pub index: usize,
    pub server: usize,
    era: Era,
    version: &'static str,
    /// Sampling, elicitation, roots.
    can: [bool; 3],
    transport: Transport,
    phase: Phase,
    count: u64,
    /// Ids of its newest requests, to be taken back or used again.
    recent: VecDeque<String>,
    initialize: Option<String>,
    /// Its log level once confirmed; `None` while a change is under way.
    level: Option<usize>,
    level_ids: BTreeMap<String, usize>,
    /// URIs it ever asked for.
    uris: BTreeSet<String>,
    listens: BTreeMap<String, Listen>,
    /// What it will say to questions, and when.
    answers: Vec<(Time, String)>,
    /// Bytes it has not put on the wire yet.
    /// Its newest calls, in case they must be made again.
    calls: BTreeMap<u64, again::Call>,
    agains: BTreeMap<String, again::Again>,
    plans: Vec<(Time, again::Plan)>,
    /// It ever named a level for a request.
    wants_logs: bool,
    deaf_until: Time,
    refused: bool,
    next_action: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Greeting,
    Ready,
    /// Has ended its side.
    Finishing,
    Gone,
}

#[derive(Debug)]
struct Listen {
    filter: &'static str,
    acknowledged: bool,
    over: bool,
    at: Time,
}

impl Client {
    pub fn connect(kernel: &mut Kernel, index: usize, server: usize, era: Era) -> Client {
        let [reads, writes] = kernel.connect(index, server);
        let line = Line { reads, writes, line: Vec::new(), unread: Vec::new() };
        Client::begin(kernel, index, server, era, Transport::Line(line))
    }

    /// The same over HTTP.
    #[cfg(feature = "http")]
    pub fn browse(
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        index: usize,
        server: usize,
        era: Era,
        terms: Terms,
    ) -> Client {
        let way = match era {
            Era::Modern => kernel.choice.pick(&[Way::Stateless, Way::Stateless, Way::Socket]),
            Era::Legacy => kernel.choice.pick(&[
                Way::Streamable,
                Way::Streamable,
                Way::Streamable,
                Way::Events,
                Way::Socket,
            ]),
        };
        if way == Way::Stateless {
            ledger.add_guest(index);
        }
        kernel.trace.add(kernel.now, format_args!("client {index} goes by {way:?}"));
        let web = Web::open(kernel, index, server, way, terms);
        Client::begin(kernel, index, server, era, Transport::Web(Box::new(web)))
    }

    fn begin(kernel: &mut Kernel, index: usize, server: usize, era: Era, transport: Transport) -> Client {
        let can = [(); 3].map(|()| kernel.choice.chance(60));
        let version = match era {
            Era::Modern => MODERN,
            Era::Legacy => kernel.choice.pick(&VERSIONS),
        };
        kernel.trace.add(
            kernel.now,
            format_args!("client {index} ({version}, can {can:?}) connects to server {server}"),
        );
        let now = kernel.now;
        kernel.schedule(now, Task::Client(index));
        Client {
            index,
            server,
            era,
            version,
            can,
            transport,
            phase: Phase::New,
            count: 0,
            recent: VecDeque::new(),
            initialize: None,
            level: Some(INFO),
            level_ids: BTreeMap::new(),
            uris: BTreeSet::new(),
            listens: BTreeMap::new(),
            answers: Vec::new(),
            calls: BTreeMap::new(),
            agains: BTreeMap::new(),
            plans: Vec::new(),
            wants_logs: false,
            deaf_until: Time::ZERO,
            refused: false,
            next_action: now,
        }
    }

    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Reads, answers, and if it is time and `active`, does something.
    /// `excused`: muxloop may close it.
    pub fn wake(
        &mut self,
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        active: bool,
        excused: bool,
    ) -> Vec<String> {
        if self.is_gone() {
            return Vec::new();
        }
        if active {
            self.transport.wait_for_reader(kernel, ledger);
        }
        let lines = self.read(kernel, ledger, excused);
        let due: Vec<String> =
            self.answers.extract_if(.., |(at, _)| *at <= kernel.now).map(|(_, text)| text).collect();
        for text in due {
            if self.phase != Phase::Finishing {
                self.say(kernel, &text);
            }
        }
        let due: Vec<again::Plan> =
            self.plans.extract_if(.., |(at, _)| *at <= kernel.now).map(|(_, plan)| plan).collect();
        for plan in due {
            if self.phase == Phase::Ready {
                self.make_again(kernel, ledger, plan);
            }
        }
        if active && kernel.now >= self.next_action && self.phase != Phase::Finishing && !self.is_gone() {
            self.act(kernel, ledger);
            let pause = if kernel.choice.chance(30) { 0 } else { kernel.choice.between(1, 400) };
            self.next_action = kernel.now + pause;
            #[cfg(feature = "http")]
            if let Some(web) = self.transport.web()
                && kernel.choice.chance(3)
            {
                self.next_action = kernel.now + web.rest_ms(kernel);
            }
            kernel.schedule(self.next_action, Task::Client(self.index));
        }
        lines
    }

    /// Whole messages that have come; an empty one is the end of the connection.
    fn read(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, excused: bool) -> Vec<String> {
        if kernel.now < self.deaf_until {
            return Vec::new();
        }
        let gifts = self.transport.read(kernel, ledger, self.index, excused);
        for id in gifts.forgiven {
            ledger.cancel(self.index, &id);
            if let Some(listen) = self.listens.get_mut(&id) {
                listen.over = true;
            }
        }
        gifts.lines
    }

    /// muxloop closed the connection.
    pub fn on_end(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, stopping: bool) {
        kernel.trace.add(kernel.now, format_args!("client {} is closed", self.index));
        if !self.transport.is_whole() {
            ledger.fail(format!("client {} was closed in the middle of a line", self.index));
        }
        let finished = self.phase == Phase::Finishing;
        // One too many that never asked anything cannot be told; it is let go after a while.
        let silent = self.count == 0;
        if !(finished || self.refused || silent || stopping || self.transport.has_earned_its_end()) {
            ledger.fail(format!("client {} was closed for no reason", self.index));
        }
        if finished && self.transport.is_line() && !stopping && !self.refused && !ledger.is_served(self.index)
        {
            ledger.fail(format!("client {} was closed before its last answer", self.index));
        }
        self.leave(kernel, ledger, false);
    }

    /// Gives up the connection.
    pub fn leave(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, reset: bool) {
        if !self.is_gone() {
            self.phase = Phase::Gone;
            ledger.leave(self.index);
            self.transport.leave(kernel, reset);
        }
    }

    /// After the calm: what is still owed beside answers.
    pub fn check(&self, kernel: &Kernel, ledger: &mut Ledger) {
        if self.is_gone() {
            return;
        }
        let index = self.index;
        #[cfg(feature = "http")]
        if let Some(web) = self.transport.web() {
            let patience = ledger.patience_ms(self.server);
            ledger.violations.extend(web.check(kernel.now, patience));
        }
        let ends = self.phase == Phase::Finishing && self.transport.is_line();
        if ends && self.listens.values().all(|listen| listen.over) {
            ledger.fail(format!("client {index} has ended its side and all answers, but is not closed"));
        }
        for (id, listen) in &self.listens {
            let waits = !listen.acknowledged && !listen.over;
            if waits && kernel.now.since(listen.at) > ledger.patience_ms(self.server) {
                ledger.fail(format!("client {index}: its listen {id} was neither acknowledged nor refused"));
            }
        }
    }

    fn say(&mut self, kernel: &mut Kernel, text: &str) {
        kernel.trace.add(kernel.now, format_args!("client {} ▶ {text}", self.index));
        self.transport.say(kernel, text);
    }

    fn act(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        match (self.era, self.phase) {
            (Era::Legacy, Phase::New) if kernel.choice.chance(90) => return self.greet(kernel, ledger),
            (Era::Modern, Phase::New) => self.phase = Phase::Ready,
            (_, Phase::Greeting) if kernel.choice.chance(70) => return,
            _ => {}
        }
        #[cfg(feature = "http")]
        if let Some(web) = self.transport.web_mut()
            && kernel.choice.chance(25)
        {
            return web.stir(kernel);
        }
        if self.era == Era::Modern && kernel.choice.chance(6) {
            return self.steal(kernel, ledger);
        }
        match kernel.choice.weighted(&[60, 10, 10, 6, 5, 4, 3, 3, 2, 2, 2, 2, 1, 1]) {
            0 => self.request(kernel, ledger),
            1 => (0..kernel.choice.between(2, 6)).for_each(|_| self.request(kernel, ledger)),
            2 => self.cancel(kernel, ledger),
            3 => self.subscribe(kernel, ledger),
            4 => self.set_level(kernel, ledger),
            5 => self.ping(kernel, ledger),
            6 => self.garbage(kernel),
            7 => self.say_unasked(kernel),
            8 => self.batch(kernel, ledger),
            9 => self.deaf_until = kernel.now + kernel.choice.between(1, 900),
            10 if self.phase != Phase::New => {
                kernel.trace.add(kernel.now, format_args!("client {} ends its side", self.index));
                self.phase = Phase::Finishing;
                if !self.transport.end(kernel) {
                    self.leave(kernel, ledger, false);
                } else if !self.transport.is_line() {
                    ledger.leave(self.index);
                }
            }
            11 if self.phase != Phase::New => {
                let reset = kernel.choice.chance(30);
                kernel.trace.add(kernel.now, format_args!("client {} leaves (reset: {reset})", self.index));
                self.leave(kernel, ledger, reset);
            }
            12 => self.large(kernel, ledger),
            13 => self.flood(kernel, ledger),
            _ => {}
        }
        if self.deaf_until > kernel.now {
            kernel.schedule(self.deaf_until, Task::Client(self.index));
        }
    }

    /// What it declares.
    fn capabilities(&self) -> String {
        let known = [r#""sampling":{}"#, r#""elicitation":{}"#, r#""roots":{}"#].into_iter().zip(self.can);
        let known: Vec<&str> = known.filter_map(|(text, can)| can.then_some(text)).collect();
        known.join(",")
    }

    fn greet(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        self.count += 1;
        // Unlike any other, so that no cancel means it.
        let id = format!("\"hello {}\"", self.count);
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{}","capabilities":{{{}}},"clientInfo":{{"name":"c{}","version":"1"}}}}}}"#,
            self.version,
            self.capabilities(),
            self.index,
        );
        ledger.ask_local(self.index, &id);
        self.initialize = Some(id);
        self.phase = Phase::Greeting;
        self.say(kernel, &text);
    }
}

pub(super) const MODERN: &str = "2026-07-28";
/// The last one is unknown to muxloop.
const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2099-01-01"];
pub(super) const URIS: [&str; 3] = ["sim://a", "sim://b", "sim://c"];
pub(super) const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
const INFO: usize = 1;
pub(super) const QUESTIONS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];
