//! [`Client`]: a client that does what clients do, and sometimes what they should not.

mod hear;
mod transport;

use super::kernel::{Kernel, Task, Weather};
use super::ledger::{Ledger, Request};
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
        let line = Line { reads, writes, line: Vec::new() };
        Client::begin(kernel, index, server, era, Transport::Line(line))
    }

    /// The same over HTTP.
    #[cfg(feature = "http")]
    pub fn browse(kernel: &mut Kernel, index: usize, server: usize, era: Era, terms: Terms) -> Client {
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
        let lines = self.read(kernel, ledger, excused);
        let due: Vec<String> =
            self.answers.extract_if(.., |(at, _)| *at <= kernel.now).map(|(_, text)| text).collect();
        for text in due {
            if self.phase != Phase::Finishing {
                self.say(kernel, &text);
            }
        }
        if active && kernel.now >= self.next_action && self.phase != Phase::Finishing && !self.is_gone() {
            self.act(kernel, ledger);
            let pause = if kernel.choice.chance(30) { 0 } else { kernel.choice.between(1, 400) };
            self.next_action = kernel.now + pause;
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

    fn greet(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        self.count += 1;
        // Unlike any other, so that no cancel means it.
        let id = format!("\"hello {}\"", self.count);
        let capabilities: Vec<&str> = [r#""sampling":{}"#, r#""elicitation":{}"#, r#""roots":{}"#]
            .into_iter()
            .zip(self.can)
            .filter_map(|(text, can)| can.then_some(text))
            .collect();
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{}","capabilities":{{{}}},"clientInfo":{{"name":"c{}","version":"1"}}}}}}"#,
            self.version,
            capabilities.join(","),
            self.index,
        );
        ledger.ask_local(self.index, &id);
        self.initialize = Some(id);
        self.phase = Phase::Greeting;
        self.say(kernel, &text);
    }

    /// An id as clients make them: all small numbers, or all alike.
    fn new_id(&mut self, kernel: &mut Kernel) -> String {
        self.count += 1;
        if self.transport.tells_apart() {
            return self.new_id_apart(kernel);
        }
        let id = match kernel.choice.below(8) {
            0 | 1 => "1".to_string(),
            2 => format!("\"{}\"", self.count % 3),
            3 => kernel.choice.pick(&ODD_IDS).to_string(),
            4 if !self.recent.is_empty() => {
                let at = kernel.choice.below(self.recent.len());
                self.recent[at].clone()
            }
            _ => self.count.to_string(),
        };
        self.recent.push_back(id.clone());
        if self.recent.len() > 6 {
            self.recent.pop_front();
        }
        id
    }

    /// An id that no other request has, or now and then one that is being answered.
    fn new_id_apart(&mut self, kernel: &mut Kernel) -> String {
        let count = self.count;
        #[cfg(feature = "http")]
        if kernel.choice.chance(3)
            && let Some(id) = self.transport.web().and_then(Web::an_open_id)
        {
            return id;
        }
        match kernel.choice.below(4) {
            0 => format!("\"{count}\""),
            1 => format!("\"\\u0041 {count}\""),
            2 => format!("-{count}"),
            _ => count.to_string(),
        }
    }

    /// A request with a nonce, under an id made for it.
    fn request_text(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, padding: usize) -> String {
        let id = self.new_id(kernel);
        let nonce = self.index as u64 * 1_000_000 + self.count;
        let token = kernel.choice.chance(50).then(|| match self.transport.tells_apart() {
            true => nonce.to_string(),
            false => kernel.choice.pick(&TOKENS).to_string(),
        });
        let (method, interactive) = kernel.choice.pick(&METHODS);
        ledger.ask(
            kernel.now,
            Request {
                nonce,
                client: self.index,
                server: self.server,
                id: &id,
                token: token.as_deref(),
                interactive,
            },
        );
        let mut meta: Vec<String> = Vec::new();
        meta.extend(token.as_ref().map(|token| format!(r#""progressToken":{token}"#)));
        if self.era == Era::Modern {
            meta.push(format!(r#""io.modelcontextprotocol/protocolVersion":"{MODERN}""#));
            meta.push(r#""io.modelcontextprotocol/clientCapabilities":{}"#.to_string());
            if kernel.choice.chance(30) {
                meta.push(r#""io.modelcontextprotocol/logLevel":"info""#.to_string());
            }
        }
        let meta =
            if meta.is_empty() { String::new() } else { format!(r#","_meta":{{{}}}"#, meta.join(",")) };
        let text = "x".repeat(padding);
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"name":"n","nonce":{nonce},"arguments":{{"text":"{text}"}}{meta}}}}}"#
        )
    }

    fn request(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let text = self.request_text(kernel, ledger, 0);
        self.say(kernel, &text);
    }

    /// Large, and often too large.
    fn large(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let padding = kernel.choice.pick(&[3_000, 40_000, 90_000]);
        let text = self.request_text(kernel, ledger, padding);
        self.say(kernel, &text);
    }

    /// More than muxloop holds of one client, in number or in bytes.
    fn flood(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let Weather { delay_ms, stall, .. } = kernel.weather;
        // Over a slow line it would last longer than muxloop waits for those who are leaving.
        if self.phase != Phase::Ready || delay_ms > 0 || stall > 0 || !kernel.choice.chance(30) {
            return;
        }
        let (count, padding) = match self.transport.is_ordered() {
            true => kernel.choice.pick(&[(400, 0), (60, 30_000)]),
            false => (40, 0),
        };
        for _ in 0..count {
            let text = self.request_text(kernel, ledger, padding);
            self.say(kernel, &text);
        }
    }

    fn batch(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        // Before the handshake no version is agreed on, so an array is nothing but garbage.
        if self.version != "2025-03-26" || self.phase != Phase::Ready {
            return;
        }
        let texts: Vec<String> = (0..3).map(|_| self.request_text(kernel, ledger, 0)).collect();
        self.say(kernel, &format!("[{}]", texts.join(",")));
    }

    fn cancel(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        #[cfg(feature = "http")]
        if let Some(web) = self.transport.web_mut().filter(|web| web.way == Way::Stateless) {
            return web.cut(kernel);
        }
        let open: Vec<String> =
            self.listens.iter().filter(|(_, listen)| !listen.over).map(|(id, _)| id.clone()).collect();
        let id = if !open.is_empty() && kernel.choice.chance(30) {
            let id = open[kernel.choice.below(open.len())].clone();
            if let Some(listen) = self.listens.get_mut(&id) {
                listen.over = true;
            }
            id
        } else if self.recent.is_empty() {
            "77".to_string()
        } else {
            let at = kernel.choice.below(self.recent.len());
            self.recent[at].clone()
        };
        ledger.cancel(self.index, &id);
        self.say(
            kernel,
            &format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"why"}}}}"#),
        );
    }

    fn local(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, method: &str, params: &str) {
        let id = self.new_id(kernel);
        self.local_as(kernel, ledger, &id, method, params);
    }

    fn local_as(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, id: &str, method: &str, params: &str) {
        ledger.ask_local(self.index, id);
        let meta = match self.era {
            Era::Legacy => String::new(),
            Era::Modern => format!(
                r#","_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}"#
            ),
        };
        self.say(
            kernel,
            &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}{meta}}}}}"#),
        );
    }

    fn subscribe(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let uri = kernel.choice.pick(&URIS);
        if self.era == Era::Modern {
            return self.listen(kernel);
        }
        let method = kernel.choice.pick(&["resources/subscribe", "resources/unsubscribe"]);
        if method == "resources/subscribe" {
            self.uris.insert(uri.to_string());
        }
        self.local(kernel, ledger, method, &format!(r#""uri":"{uri}""#));
    }

    fn listen(&mut self, kernel: &mut Kernel) {
        self.count += 1;
        let id = format!("\"listen {}\"", self.count);
        let filter = kernel.choice.pick(&FILTERS);
        self.listens.insert(id.clone(), Listen { filter, acknowledged: false, over: false, at: kernel.now });
        self.say(
            kernel,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{"notifications":{{{filter}}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
            ),
        );
    }

    fn set_level(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let level = kernel.choice.below(LEVELS.len());
        self.count += 1;
        // Unlike any other, so that its answer says from when on it holds.
        let id = format!("\"level {}\"", self.count);
        let params = format!(r#""level":"{}""#, LEVELS[level]);
        self.local_as(kernel, ledger, &id, "logging/setLevel", &params);
        self.level_ids.insert(id, level);
        self.level = None;
    }

    fn ping(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let method = if self.era == Era::Modern { "server/discover" } else { "ping" };
        let meta = if self.era == Era::Modern { r#""x":1"# } else { r#""_meta":{}"# };
        self.local(kernel, ledger, method, meta);
    }

    fn garbage(&mut self, kernel: &mut Kernel) {
        let text = kernel.choice.pick(&GARBAGE);
        self.say(kernel, text);
    }

    /// Answers nobody asked for, and notifications.
    fn say_unasked(&mut self, kernel: &mut Kernel) {
        let number = kernel.choice.pick(&[0, 1, 65_536, 65_537, 131_072]);
        let text = match kernel.choice.below(4) {
            0 => format!(r#"{{"jsonrpc":"2.0","id":{number},"result":{{"by":{}}}}}"#, self.index),
            1 => r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_string(),
            2 => format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{number},"progress":1}}}}"#
            ),
            _ => format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/custom","params":{{"by":{}}}}}"#,
                self.index
            ),
        };
        self.say(kernel, &text);
    }
}

pub(super) const MODERN: &str = "2026-07-28";
/// The last one is unknown to muxloop.
const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2099-01-01"];
const ODD_IDS: [&str; 7] = [
    "9007199254740993",
    "-5",
    "\"\"",
    "\"a \\u0041 \\\"b\\\"\"",
    "1.50",
    "123456789012345678901234567890",
    "65536",
];
const TOKENS: [&str; 6] = ["1", "\"1\"", "0", "\"tok\\u0065n\"", "9007199254740993", "65537"];
const METHODS: [(&str, bool); 6] = [
    ("tools/call", true),
    ("tools/call", true),
    ("prompts/get", true),
    ("resources/read", true),
    ("tools/list", false),
    ("x/custom", false),
];
pub(super) const URIS: [&str; 3] = ["sim://a", "sim://b", "sim://c"];
const FILTERS: [&str; 5] = [
    r#""toolsListChanged":true"#,
    r#""promptsListChanged":true,"resourceSubscriptions":["sim://a"]"#,
    r#""resourceSubscriptions":["sim://a","sim://b"]"#,
    r#""toolsListChanged":true,"resourceSubscriptions":["sim://c"]"#,
    "",
];
pub(super) const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
const INFO: usize = 1;
pub(super) const QUESTIONS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];
/// None of it carries an id that could be answered under.
const GARBAGE: [&str; 10] = [
    "",
    "hello",
    "{",
    "[]",
    "null",
    "{\"jsonrpc\":\"2.0\"}",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}",
    "{\"method\":\"notifications/x\",\"method\":\"ping\"}",
    "\u{0}\u{1}",
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":424242}}",
];
