//! Whatever happened: every request is answered once or not at all, to its asker; when all clients
//! have left and all children ended, nothing is left in any table (M-invariants of `mux::mod`).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{EraPolicy, Heartbeat, Interactive, ServerPolicy};
use crate::mux::status::Sizes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Draws what happens next; xorshift64.
pub(super) struct Chance(pub u64);

impl Chance {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// A modern request of a client of these capabilities.
fn modern_with(id: u64, method: &str, params: Value, capabilities: &str) -> Value {
    let mut message = modern(id, method, params);
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        serde_json::from_str(capabilities).expect("JSON");
    message
}

/// A client, and what it may still hear an answer to.
struct Client {
    link: Key,
    modern: bool,
    ended: bool,
    open: BTreeSet<u64>,
    /// Cancelled ones, which may be answered or not, and listens, which stay open.
    optional: BTreeSet<u64>,
    questions: Vec<Value>,
    /// Answers that ask it to come again.
    told: Vec<Value>,
}

/// A random life of one server, its clients and its children.
struct Life {
    world: World,
    chance: Chance,
    clients: Vec<Client>,
    children: Vec<Child>,
    /// What each child was asked and did not answer.
    asked: BTreeMap<Key, Vec<Value>>,
    next_id: u64,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let heartbeat = Heartbeat { interval_ms: 5_000, timeout_ms: 1_000, failures_max: 2 };
        let policy = ServerPolicy {
            interactive: chance.of(&[Interactive::Off, Interactive::Serialize, Interactive::PerClient]),
            era: chance.of(&[EraPolicy::Auto, EraPolicy::Auto, EraPolicy::Legacy, EraPolicy::Modern]),
            lazy_start: chance.below(2) == 0,
            heartbeat: (chance.below(2) == 0).then_some(heartbeat),
            idle_stop_ms: (chance.below(3) == 0).then_some(3_000),
            max_in_flight_per_client: chance.of(&[1, 2, 32]),
            max_restarts: chance.of(&[0, 3]),
            ..policy()
        };
        Life {
            world: World::new([policy]),
            chance,
            clients: Vec::new(),
            children: Vec::new(),
            asked: BTreeMap::new(),
            next_id: 0,
        }
    }

    fn step(&mut self) {
        match self.chance.below(12) {
            0 if self.clients.len() < 7 => self.connect(),
            1..=5 if !self.clients.is_empty() => self.client_acts(),
            6..=9 if !self.children.is_empty() => self.child_acts(),
            10 => {
                let ms = self.chance.of(&[1, 100, 600, 2_000, 31_000]);
                self.world.advance(ms);
            }
            _ => {}
        }
        self.platform_acts();
        self.everybody_listens();
    }

    fn connect(&mut self) {
        let modern = self.chance.below(3) == 0;
        let is_guest = modern && self.chance.below(2) == 0;
        let link = if is_guest { self.world.guest() } else { self.world.client() };
        self.clients.push(Client {
            link,
            modern,
            ended: false,
            open: BTreeSet::new(),
            optional: BTreeSet::new(),
            questions: Vec::new(),
            told: Vec::new(),
        });
        if !modern {
            let version = self.chance.of(&["2025-03-26", "2025-06-18"]);
            let capabilities = self.chance.of(&["{}", r#"{"sampling":{},"elicitation":{},"roots":{}}"#]);
            let mut hello = initialize(version, serde_json::from_str(capabilities).unwrap());
            hello["id"] = self.new_id(self.clients.len() - 1).into();
            self.world.says(link, hello);
            self.world.says(link, note("notifications/initialized", json!({})));
        }
    }

    fn new_id(&mut self, client: usize) -> u64 {
        self.next_id += 1;
        self.clients[client].open.insert(self.next_id);
        self.next_id
    }

    fn client_acts(&mut self) {
        let at = self.chance.below(self.clients.len());
        let link = self.clients[at].link;
        let uri = self.chance.of(&["x:1", "x:2"]);
        let filter = json!({ "notifications": { "toolsListChanged": true, "resourceSubscriptions": [uri] } });
        let (method, params) = match self.chance.below(16) {
            0 => return self.leave(at, true),
            1 => return self.leave(at, false),
            2 | 3 => {
                let Some(id) = self.clients[at].open.iter().next().copied() else { return };
                self.clients[at].open.remove(&id);
                self.clients[at].optional.insert(id);
                return self.world.says(link, cancel(id));
            }
            4 => {
                let Some(question) = self.clients[at].questions.pop() else { return };
                return self.world.says(link, json!({ "id": question["id"], "result": {} }));
            }
            5 => return self.world.says(link, note("notifications/vendor", json!({}))),
            6 | 7 if !self.clients[at].told.is_empty() => return self.come_again(at),
            6 => ("resources/subscribe", json!({ "uri": uri })),
            7 => ("resources/unsubscribe", json!({ "uri": uri })),
            8 => {
                let level = self.chance.of(&["debug", "error"]);
                ("logging/setLevel", json!({ "level": level }))
            }
            9 => ("subscriptions/listen", filter),
            10 => ("server/discover", json!({})),
            11 => ("tools/call", json!({ "name": "t", "task": {} })),
            12 => ("tools/list", json!({})),
            _ => ("tools/call", json!({ "name": "t", "_meta": { "progressToken": "p" } })),
        };
        let id = self.new_id(at);
        if method == "subscriptions/listen" {
            self.clients[at].open.remove(&id);
            self.clients[at].optional.insert(id);
        }
        let message = if self.clients[at].modern {
            let capabilities = self.chance.of(&["{}", r#"{"elicitation":{}}"#]);
            modern_with(id, method, params, capabilities)
        } else {
            request(id, method, params)
        };
        self.world.says(link, message);
    }

    /// A client goes on with a call, as it should or not.
    fn come_again(&mut self, at: usize) {
        let place = self.chance.below(self.clients[at].told.len());
        let told = match self.chance.below(4) {
            0 => self.clients[at].told[place].clone(),
            _ => self.clients[at].told.swap_remove(place),
        };
        let requests = told["result"]["inputRequests"].as_object().expect("questions");
        let answer = match self.chance.below(8) {
            0 => json!("wrong"),
            _ => json!({ "action": "accept" }),
        };
        let answers: serde_json::Map<_, _> = requests
            .keys()
            .filter(|_| self.chance.below(8) > 0)
            .map(|key| (key.clone(), answer.clone()))
            .collect();
        let name = if self.chance.below(8) == 0 { "another" } else { "t" };
        let state = &told["result"]["requestState"];
        let id = self.new_id(at);
        let params = json!({ "name": name, "inputResponses": answers, "requestState": state,
            "_meta": { "progressToken": "p" } });
        let message = modern_with(id, "tools/call", params, r#"{"elicitation":{}}"#);
        self.world.says(self.clients[at].link, message);
    }

    fn leave(&mut self, at: usize, at_once: bool) {
        let link = self.clients[at].link;
        if at_once {
            self.world.leaves(link);
            self.clients.remove(at);
        } else {
            self.world.ends_input(link);
            self.clients[at].ended = true;
        }
    }

    fn child_acts(&mut self) {
        let child = self.children[self.chance.below(self.children.len())];
        let asked = self.asked.entry(child.link).or_default();
        match self.chance.below(16) {
            0 => self.exit(child),
            1 => self.world.leaves(child.link),
            2 => self.world.says(child, note("notifications/tools/list_changed", json!({}))),
            3 => {
                self.world.says(child, request("q", "elicitation/create", json!({ "message": "?" })));
                self.world.advance(self.chance.of(&[0, 25]));
            }
            4 => self.world.says(child, cancel("q")),
            5 => self.world.says_raw(child, "not MCP"),
            6 => self.world.congests(child),
            7 => self.world.drains(child),
            8 => {
                let Some(last) = asked.last() else { return };
                let params = json!({ "progressToken": last["id"], "progress": 1 });
                self.world.says(child, note("notifications/progress", params));
            }
            _ if asked.is_empty() => {}
            n => {
                let message = asked.remove(self.chance.below(asked.len()));
                let answer = match n {
                    9 => json!({ "id": message["id"], "error": { "code": -32601, "message": "no" } }),
                    10 => json!({ "id": message["id"], "result": input_required(self.chance.below(4)) }),
                    _ => self.good_answer(&message),
                };
                self.world.says(child, answer);
            }
        }
    }

    fn exit(&mut self, child: Child) {
        self.children.retain(|other| *other != child);
        self.world.exits(child, "ended");
    }

    /// Starts what is to be started, or fails to; ends what was killed.
    fn platform_acts(&mut self) {
        while self.world.wants_start() {
            if self.chance.below(8) == 0 {
                self.world.start_fails("no such file");
            } else {
                let child = self.world.child();
                self.children.push(child);
            }
        }
        for child in self.children.clone() {
            if self.world.stops(child).len() > self.chance.below(3) {
                self.exit(child);
            }
        }
    }

    fn everybody_listens(&mut self) {
        for child in &self.children {
            let heard = self.world.hears_all(*child).into_iter().filter(|m| !m["id"].is_null());
            self.asked.entry(child.link).or_default().extend(heard.filter(|m| m["method"].is_string()));
        }
        for at in (0..self.clients.len()).rev() {
            let link = self.clients[at].link;
            for message in self.world.hears_all(link) {
                match (message["id"].as_u64(), message["method"].is_string()) {
                    (Some(_), true) => self.clients[at].questions.push(message),
                    (Some(id), false) => {
                        let client = &mut self.clients[at];
                        if message["result"]["requestState"].is_string() {
                            client.told.push(message.clone());
                        }
                        let known = client.open.remove(&id) || client.optional.remove(&id);
                        assert!(known, "an answer to nothing, or a second one: {message}");
                    }
                    _ => {}
                }
            }
            if self.world.closed(link).is_some() {
                self.clients.remove(at);
            }
        }
    }

    /// Faults stop, everybody answers what it is asked: all that is open ends, and what is asked then is
    /// answered long before its deadline.
    fn calm(&mut self, seed: u64) {
        for child in self.children.clone() {
            self.world.drains(child);
        }
        self.calm_rounds(1_000, 700);
        for at in (0..self.clients.len()).filter(|at| !self.clients[*at].ended).collect::<Vec<_>>() {
            for _ in 0..5 {
                let id = self.new_id(at);
                let (link, call) = (self.clients[at].link, call(id, "t"));
                let call = if self.clients[at].modern { modern(id, "tools/list", json!({})) } else { call };
                self.world.says(link, call);
            }
        }
        // Under `serialize` one after the other.
        self.calm_rounds(60, 100);
        for client in &self.clients {
            assert_eq!(client.open, BTreeSet::new(), "seed {seed}: unanswered");
            assert!(!self.world.is_paused(client.link), "seed {seed}: not read from any more");
            assert!(!client.ended || !client.optional.is_empty(), "seed {seed}: to be closed");
        }
    }

    fn calm_rounds(&mut self, rounds: usize, ms: u64) {
        for _ in 0..rounds {
            self.world.advance(ms);
            while self.world.wants_start() {
                let child = self.world.child();
                self.children.push(child);
            }
            for child in self.children.clone() {
                if !self.world.stops(child).is_empty() {
                    self.exit(child);
                }
            }
            self.everybody_listens();
            for child in self.children.clone() {
                for message in self.asked.remove(&child.link).unwrap_or_default() {
                    let answer = self.good_answer(&message);
                    self.world.says(child, answer);
                }
            }
            for at in 0..self.clients.len() {
                while !self.clients[at].ended && !self.clients[at].told.is_empty() {
                    self.come_again(at);
                }
            }
            for client in &mut self.clients {
                for question in client.questions.drain(..) {
                    self.world.says(client.link, json!({ "id": question["id"], "result": {} }));
                }
            }
        }
        self.everybody_listens();
    }

    fn good_answer(&self, message: &Value) -> Value {
        let result = match message["method"].as_str() {
            Some("server/discover") => discover_result(1_000),
            Some("initialize") => {
                json!({ "protocolVersion": "2025-03-26", "capabilities": all_capabilities() })
            }
            _ => json!({ "task": { "taskId": "T" } }),
        };
        json!({ "id": message["id"], "result": result })
    }

    /// Lets every client leave and every child end.
    fn end(mut self) -> (World, Sizes) {
        for client in std::mem::take(&mut self.clients) {
            self.world.leaves(client.link);
        }
        let is_shared = self.world.mux.servers[0].shared.is_some();
        self.world.with(|mux, now, out| mux.shutdown(now, out));
        while self.world.wants_start() {
            let child = self.world.child();
            self.children.push(child);
        }
        for child in std::mem::take(&mut self.children) {
            self.exit(child);
        }
        self.world.advance(700_000);
        let has_guests = self.world.mux.servers[0].for_guests.is_some();
        let instances = usize::from(is_shared) + usize::from(has_guests);
        let expected = Sizes { instances, ..Sizes::default() };
        (self.world, expected)
    }
}

/// A modern child wants to hear so much of the client first.
fn input_required(questions: usize) -> Value {
    let all = [
        json!({ "method": "elicitation/create", "params": {} }),
        json!({ "method": "sampling/createMessage", "params": {} }),
        json!({ "method": "roots/list" }),
    ];
    let asked: serde_json::Map<_, _> =
        all.into_iter().take(questions).enumerate().map(|(n, question)| (n.to_string(), question)).collect();
    json!({ "resultType": "input_required", "inputRequests": asked, "requestState": "s" })
}

/// No entry outlives its cause, over random lives of all policies and eras.
#[test]
fn when_everybody_has_left_the_tables_are_empty() {
    for seed in 1..=150 {
        let mut life = Life::new(seed);
        for _ in 0..400 {
            life.step();
        }
        if seed % 3 == 0 {
            life.calm(seed);
        }
        let (world, expected) = life.end();
        let sizes = world.mux.sizes();
        assert_eq!(sizes, expected, "seed {seed}");
        assert!(world.mux.is_finished(), "seed {seed}");
        assert!(world.mux.links.is_empty(), "seed {seed}");
        for (_, instance) in world.mux.instances.iter() {
            assert!(instance.queue.is_empty() && instance.subscriptions.is_empty(), "seed {seed}");
            assert!(instance.replays.is_empty() && instance.stalled.is_empty(), "seed {seed}");
            let listens = (&instance.listen.current, &instance.listen.opening);
            assert!(listens.0.is_none() && listens.1.is_none(), "seed {seed}");
            assert_eq!((instance.holder, instance.holding, instance.reverse), (None, 0, 0), "seed {seed}");
        }
    }
}
