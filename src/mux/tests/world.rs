//! [`World`]: a [`Mux`] with its engine, clients and children played by the test.
//!
//! ```text
//! let mut world = World::new([policy("s")]);
//! let client = world.client();                      // a connection to the first server
//! world.says(client, request(1, "initialize", …));  // one message
//! let child = world.child();                        // the process the mux asked for
//! let asked = world.hears(child);                   // the next message it got, and no other order
//! world.silent(client);                             // nothing more was sent to it
//! world.advance(1_000);                             // every timer on the way fires at its own time
//! ```

use crate::base::{Arena, Key, Time};
use crate::codec::Incoming;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy};
use crate::mux::{CloseReason, Era, Mux, Recorder, StopStep, Verb};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// A process: the instance it serves, and its stdin and stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub instance: Key,
    pub link: Key,
}

impl From<Child> for Key {
    fn from(child: Child) -> Key {
        child.link
    }
}

/// The stage: everything outside the mux.
pub(super) struct World {
    pub mux: Mux,
    pub now: Time,
    /// Findings about eras, of all servers.
    pub found: Vec<Option<Era>>,
    recorder: Recorder,
    links: Arena<()>,
    inbox: BTreeMap<Key, VecDeque<String>>,
    /// Instances whose process was asked for and not given yet, oldest first.
    starts: VecDeque<Key>,
    stops: BTreeMap<Key, Vec<StopStep>>,
    closed: BTreeMap<Key, CloseReason>,
    paused: BTreeMap<Key, bool>,
    /// What modern children say that they can do.
    capabilities: Value,
    secrets: u128,
}

impl World {
    /// A mux of these servers that has begun.
    pub(super) fn new(policies: impl IntoIterator<Item = ServerPolicy>) -> World {
        let mut world = World {
            mux: Mux::new(policies.into_iter().collect(), 7),
            now: Time(1_000),
            found: Vec::new(),
            recorder: Recorder::default(),
            links: Arena::new(),
            inbox: BTreeMap::new(),
            starts: VecDeque::new(),
            stops: BTreeMap::new(),
            closed: BTreeMap::new(),
            paused: BTreeMap::new(),
            capabilities: all_capabilities(),
            secrets: 0,
        };
        world.mux.begin(world.now, &mut world.recorder);
        world.sort();
        world
    }

    /// One server `s` of this policy, its legacy child ready, `N` initialised clients.
    pub(super) fn legacy<const N: usize>(policy: ServerPolicy) -> (World, Child, [Key; N]) {
        let mut world = World::new([policy]);
        let clients = std::array::from_fn(|_| world.client());
        world.says(clients[0], initialize("2025-11-25", json!({})));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        world.hears(clients[0]);
        world.says(clients[0], note("notifications/initialized", json!({})));
        for client in clients.into_iter().skip(1) {
            world.greet(client, json!({}));
        }
        (world, child, clients)
    }

    /// One server `s` of this policy, its modern child ready, `N` clients of which the first has asked.
    pub(super) fn modern<const N: usize>(policy: ServerPolicy) -> (World, Child, [Key; N]) {
        World::modern_with(all_capabilities(), policy)
    }

    /// The same with modern children of these capabilities.
    pub(super) fn modern_with<const N: usize>(
        capabilities: Value,
        policy: ServerPolicy,
    ) -> (World, Child, [Key; N]) {
        let mut world = World::new([ServerPolicy { era: EraPolicy::Modern, ..policy }]);
        world.capabilities = capabilities;
        let clients = std::array::from_fn(|_| world.client());
        world.says(clients[0], modern(0, "server/discover", json!({})));
        let child = world.child();
        world.discover(child, 60_000);
        world.hears(clients[0]);
        (world, child, clients)
    }

    // --- what happens outside ---

    /// A connection to the first server.
    pub(super) fn client(&mut self) -> Key {
        self.client_of(0)
    }

    pub(super) fn client_of(&mut self, server: usize) -> Key {
        let link = self.links.insert(());
        self.mux.attach_peer(self.now, link, server, &mut self.recorder);
        self.sort();
        link
    }

    /// A connection whose requests stand each for itself.
    pub(super) fn guest(&mut self) -> Key {
        self.guest_of(0)
    }

    pub(super) fn guest_of(&mut self, server: usize) -> Key {
        let link = self.links.insert(());
        self.mux.attach_guest(self.now, link, server, &mut self.recorder);
        self.sort();
        link
    }

    /// A client's `initialize`, answered from the cache, and its `notifications/initialized`.
    pub(super) fn greet(&mut self, client: Key, capabilities: Value) {
        self.says(client, initialize("2025-11-25", capabilities));
        let hello = self.hears(client);
        assert!(hello["result"].is_object(), "{hello}");
        self.says(client, note("notifications/initialized", json!({})));
    }

    /// The process that was asked for next.
    pub(super) fn child(&mut self) -> Child {
        let instance = self.starts.pop_front().expect("a process was asked for");
        let link = self.links.insert(());
        self.mux.handle_started(self.now, instance, link, &mut self.recorder);
        self.sort();
        Child { instance, link }
    }

    /// The next process that was asked for cannot be started.
    pub(super) fn start_fails(&mut self, why: &str) {
        let instance = self.starts.pop_front().expect("a process was asked for");
        self.mux.handle_start_failed(self.now, instance, why, &mut self.recorder);
        self.sort();
    }

    /// Whether a process was asked for.
    pub(super) fn wants_start(&self) -> bool {
        !self.starts.is_empty()
    }

    pub(super) fn no_start(&self) {
        assert_eq!(self.starts.len(), 0, "no process was to be asked for");
    }

    /// Answers `initialize` and takes `notifications/initialized`.
    pub(super) fn shake_hands(&mut self, child: Child, capabilities: Value) {
        let asked = self.hears(child);
        assert_eq!(asked["method"], "initialize");
        let result = json!({ "protocolVersion": asked["params"]["protocolVersion"],
            "capabilities": capabilities, "serverInfo": { "name": "child", "version": "1" } });
        self.says(child, json!({ "id": asked["id"], "result": result }));
        assert_eq!(self.hears(child)["method"], "notifications/initialized");
    }

    /// Answers `server/discover`.
    pub(super) fn discover(&mut self, child: Child, ttl_ms: u64) {
        let asked = self.hears(child);
        assert_eq!(asked["method"], "server/discover");
        let mut result = discover_result(ttl_ms);
        result["capabilities"] = self.capabilities.clone();
        self.says(child, json!({ "id": asked["id"], "result": result }));
    }

    /// One message of a client or child; `jsonrpc` is added.
    pub(super) fn says(&mut self, who: impl Into<Key>, mut message: Value) {
        message["jsonrpc"] = "2.0".into();
        self.says_raw(who, &message.to_string());
    }

    /// One line as written.
    pub(super) fn says_raw(&mut self, who: impl Into<Key>, line: &str) {
        let bytes = line.as_bytes();
        match Incoming::scan(bytes) {
            Ok(msg) => self.mux.handle_message(self.now, who.into(), &msg, &mut self.recorder),
            Err(error) => {
                self.mux.handle_malformed(self.now, who.into(), bytes, error, &mut self.recorder);
            }
        }
        self.sort();
    }

    /// A child's result for what it was asked.
    pub(super) fn answers(&mut self, child: Child, asked: &Value, result: Value) {
        self.says(child, json!({ "id": asked["id"], "result": result }));
    }

    /// A client disconnects.
    pub(super) fn leaves(&mut self, client: Key) {
        self.mux.handle_closed(self.now, client, CloseReason::PeerClosed, &mut self.recorder);
        self.sort();
    }

    /// A client has said all it will say.
    pub(super) fn ends_input(&mut self, client: Key) {
        self.mux.handle_eof(self.now, client, &mut self.recorder);
        self.sort();
    }

    /// A process ends.
    pub(super) fn exits(&mut self, child: Child, why: &str) {
        self.mux.handle_exited(self.now, child.instance, why, &mut self.recorder);
        self.sort();
    }

    /// Writing to a link becomes slow.
    pub(super) fn congests(&mut self, who: impl Into<Key>) {
        self.recorder.congested.push(who.into());
    }

    /// What was unwritten to a link is written.
    pub(super) fn drains(&mut self, who: impl Into<Key>) {
        let link = who.into();
        self.recorder.congested.retain(|other| *other != link);
        self.mux.handle_drained(self.now, link, &mut self.recorder);
        self.sort();
    }

    /// Everything else that can be handed to the mux.
    pub(super) fn with(&mut self, f: impl FnOnce(&mut Mux, Time, &mut Recorder)) {
        f(&mut self.mux, self.now, &mut self.recorder);
        self.sort();
    }

    /// Lets time pass; each timer fires at its own moment.
    pub(super) fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut turns = 0;
        while let Some(at) = self.mux.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.mux.handle_timeout(self.now, &mut self.recorder);
            self.sort();
            turns += 1;
            assert!(turns < 100_000, "timers fire without end");
        }
        self.now = end;
        self.mux.handle_timeout(end, &mut self.recorder);
        self.sort();
    }

    // --- what the mux did ---

    /// The next message to somebody.
    #[track_caller]
    pub(super) fn hears(&mut self, who: impl Into<Key>) -> Value {
        serde_json::from_str(&self.hears_raw(who)).expect("JSON")
    }

    #[track_caller]
    pub(super) fn hears_raw(&mut self, who: impl Into<Key>) -> String {
        self.inbox.get_mut(&who.into()).and_then(VecDeque::pop_front).expect("a message was sent")
    }

    /// All messages to somebody.
    pub(super) fn hears_all(&mut self, who: impl Into<Key>) -> Vec<Value> {
        let lines = self.inbox.remove(&who.into()).unwrap_or_default();
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The next message to somebody is of this method.
    #[track_caller]
    pub(super) fn hears_of(&mut self, who: impl Into<Key>, method: &str) -> Value {
        let message = self.hears(who);
        assert_eq!(message["method"], method, "{message}");
        message
    }

    /// The next message to somebody is muxloop's own error for this request and reason.
    #[track_caller]
    pub(super) fn hears_failure(&mut self, who: Key, id: impl Into<Value>, reason: &str) -> Value {
        let message = self.hears(who);
        let error = &message["error"];
        assert_eq!((&message["id"], &error["code"]), (&id.into(), &json!(-32603)), "{message}");
        assert_eq!(error["data"]["muxloop"]["reason"], reason, "{message}");
        message
    }

    /// The next message to somebody is an error of this code for this request.
    #[track_caller]
    pub(super) fn hears_error(&mut self, who: impl Into<Key>, id: impl Into<Value>, code: i32) -> Value {
        let message = self.hears(who);
        assert_eq!((&message["id"], &message["error"]["code"]), (&id.into(), &json!(code)), "{message}");
        message
    }

    /// Nothing more was sent to somebody.
    #[track_caller]
    pub(super) fn silent(&self, who: impl Into<Key>) {
        let inbox = self.inbox.get(&who.into()).filter(|inbox| !inbox.is_empty());
        assert_eq!(inbox, None, "nothing was to be sent");
    }

    /// The steps towards the end of a process since the last look.
    pub(super) fn stops(&mut self, child: Child) -> Vec<StopStep> {
        self.stops.remove(&child.instance).unwrap_or_default()
    }

    /// Why a link was closed by the mux, if it was.
    pub(super) fn closed(&self, link: impl Into<Key>) -> Option<&CloseReason> {
        self.closed.get(&link.into())
    }

    pub(super) fn is_paused(&self, link: impl Into<Key>) -> bool {
        self.paused.get(&link.into()).copied().unwrap_or(false)
    }

    /// The phase of the only instance.
    pub(super) fn state(&self) -> &'static str {
        self.mux.status(self.now)[0].state
    }

    fn sort(&mut self) {
        if self.mux.lacks_random() {
            self.secrets += 1;
            self.mux.feed_random(&[self.secrets.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)]);
        }
        for verb in std::mem::take(&mut self.recorder.verbs) {
            match verb {
                Verb::Send(to, text) => {
                    assert!(!text.contains('\n'), "P01: one line: {text}");
                    self.inbox.entry(to).or_default().push_back(text);
                }
                Verb::Close(link, why) => {
                    self.closed.insert(link, why);
                }
                Verb::Pause(link, paused) => {
                    self.paused.insert(link, paused);
                }
                Verb::Start(instance, _) => self.starts.push_back(instance),
                Verb::Found(_, era) => self.found.push(era),
                Verb::Stop(instance, step) => self.stops.entry(instance).or_default().push(step),
            }
        }
    }
}

/// The defaults for a server `s`, without heartbeat.
pub(super) fn policy() -> ServerPolicy {
    ServerPolicy { heartbeat: None, era: EraPolicy::Legacy, ..ServerPolicy::new("s") }
}

pub(super) fn interactive(interactive: Interactive) -> ServerPolicy {
    ServerPolicy { interactive, ..policy() }
}

pub(super) fn era(era: EraPolicy) -> ServerPolicy {
    ServerPolicy { era, ..policy() }
}

/// Capabilities of a server that has everything.
pub(super) fn all_capabilities() -> Value {
    json!({ "logging": {}, "tools": { "listChanged": true }, "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true }, "completions": {},
        "tasks": { "list": {}, "cancel": {} } })
}

pub(super) fn discover_result(ttl_ms: u64) -> Value {
    json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": ttl_ms,
        "cacheScope": "public", "capabilities": all_capabilities() })
}

pub(super) fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({ "id": id.into(), "method": method, "params": params })
}

pub(super) fn note(method: &str, params: Value) -> Value {
    json!({ "method": method, "params": params })
}

/// `tools/call` of a tool by name.
pub(super) fn call(id: impl Into<Value>, tool: &str) -> Value {
    request(id, "tools/call", json!({ "name": tool }))
}

pub(super) fn initialize(version: &str, capabilities: Value) -> Value {
    let client = json!({ "name": "client", "version": "1" });
    request(
        "init",
        "initialize",
        json!({ "protocolVersion": version, "capabilities": capabilities, "clientInfo": client }),
    )
}

/// A 2026-07-28 request with its `_meta`.
pub(super) fn modern(id: impl Into<Value>, method: &str, mut params: Value) -> Value {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    request(id, method, params)
}

/// `notifications/cancelled` of a request.
pub(super) fn cancel(id: impl Into<Value>) -> Value {
    note("notifications/cancelled", json!({ "requestId": id.into() }))
}
