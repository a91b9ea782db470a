//! A random walk over everything that can happen to a list, beside a model of what each client must see.
//!
//! The server's truth is a number, its only tool. It announces each change while it runs; while it is down it
//! may come back as another version. The model says:
//!
//! - every request gets one answer, with a number that was once true and is no older than what had been
//!   announced when it was asked, unless the server went down before it was answered;
//! - a server that rests is not started for a list that is known and was not announced to have changed;
//! - whenever the server runs and all is answered, each client that keeps a list has the truth, or was told
//!   to look again.

use super::world::*;
use crate::base::{Key, Time};
use crate::mux::policy::ServerPolicy;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Client {
    link: Option<Key>,
    is_modern: bool,
    next_id: u64,
    /// Requests without answer: what had been announced then, how often the server had gone down, and when.
    open: BTreeMap<u64, (u64, u64, Time)>,
    /// The last number it saw, and whether it was told since that it may be another one.
    seen: Option<u64>,
    is_told: bool,
    /// Its last request before it was told: what that brings may be old.
    told_at: u64,
}

struct Walk {
    world: World,
    random: u64,
    clients: Vec<Client>,
    child: Option<Child>,
    /// What the child was asked and has not answered.
    asked: Vec<Value>,
    truth: u64,
    announced: u64,
    /// What had been announced when muxloop asked for the newest list that it was told.
    answered: Option<u64>,
    downs: u64,
    rests: u64,
    shared: u64,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let policy = ServerPolicy {
            lazy_start: true,
            idle_stop_ms: Some(5_000),
            restart_backoff_ms: 400,
            restart_backoff_max_ms: 400,
            max_restarts: 0,
            ..policy()
        };
        let mut walk = Walk {
            world: World::new([policy]),
            random: seed * 2 + 1,
            clients: Vec::new(),
            child: None,
            asked: Vec::new(),
            truth: 1,
            announced: 0,
            answered: None,
            downs: 0,
            rests: 0,
            shared: 0,
        };
        for number in 0..4 {
            let client = Client { is_modern: number == 3, ..Client::default() };
            walk.clients.push(client);
            walk.connect(number);
        }
        walk
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % n
    }

    fn connect(&mut self, number: usize) {
        let is_modern = self.clients[number].is_modern;
        let link = self.world.client();
        self.clients[number] = Client { link: Some(link), is_modern, ..Client::default() };
        if is_modern {
            return;
        }
        self.world.says(link, initialize("2025-11-25", json!({})));
        for _ in 0..200 {
            self.everybody_listens();
            if self.clients[number].next_id > 0 {
                break;
            }
            self.world.advance(100);
        }
        assert_eq!(self.clients[number].next_id, 1, "greeted");
        self.world.says(link, note("notifications/initialized", json!({})));
    }

    fn ask(&mut self, number: usize) {
        let (announced, downs) = (self.announced, self.downs);
        let rests = self.world.state() == "stopped";
        let is_down = self.world.state() == "backoff";
        let is_known = self.answered.is_some_and(|number| number >= self.announced);
        let before = self.asked.len();
        let client = &mut self.clients[number];
        client.next_id += 1;
        let (id, link) = (client.next_id, client.link.unwrap());
        // Whoever asks a server that is down may get what is old.
        let announced = if is_down { 0 } else { announced };
        client.open.insert(id, (announced, downs, self.world.now));
        let asks = match client.is_modern {
            true => modern(id, "tools/list", json!({})),
            false => request(id, "tools/list", json!({})),
        };
        let in_flight = self.asked.iter().any(|asked| asked["method"] == "tools/list");
        self.world.says(link, asks);
        if rests && is_known {
            assert!(!self.world.wants_start(), "started for a list that is known");
            self.rests += 1;
        }
        self.everybody_listens();
        self.shared += u64::from(in_flight && before == self.asked.len());
    }

    fn everybody_listens(&mut self) {
        if self.world.wants_start() {
            let child = self.world.child();
            self.child = Some(child);
        }
        if let Some(child) = self.child {
            if !self.world.stops(child).is_empty() {
                self.goes_down(|world| world.exits(child, "exited with status 0"));
                return self.everybody_listens();
            }
            for mut said in self.world.hears_all(child) {
                match said["method"].as_str() {
                    Some("initialize") => {
                        let result = json!({ "protocolVersion": "2025-11-25",
                            "capabilities": { "tools": { "listChanged": true } },
                            "serverInfo": { "name": "child", "version": self.truth.to_string() } });
                        self.world.answers(child, &said, result);
                        return self.everybody_listens();
                    }
                    Some("notifications/cancelled") => {
                        self.asked.retain(|asked| asked["id"] != said["params"]["requestId"]);
                    }
                    Some(_) if !said["id"].is_null() => {
                        (said["announced"], said["truth"]) = (self.announced.into(), self.truth.into());
                        self.asked.push(said);
                    }
                    _ => {}
                }
            }
        }
        for number in 0..self.clients.len() {
            for message in self.world.hears_all(self.clients[number].link.unwrap()) {
                self.hears(number, &message);
            }
        }
    }

    fn hears(&mut self, number: usize, message: &Value) {
        let (truth, downs, now) = (self.truth, self.downs, self.world.now);
        let is_late = |since: Time| now.since(since) >= 30_000;
        let client = &mut self.clients[number];
        if message["method"] == "notifications/tools/list_changed" {
            (client.is_told, client.told_at) = (true, client.next_id);
            return;
        }
        if message["id"] == "init" {
            assert!(message["result"].is_object(), "{message}");
            client.next_id = 1;
            return;
        }
        let Some(id) = message["id"].as_u64() else { return };
        if id == CALL {
            return;
        }
        let (announced, downs_then, since) = client.open.remove(&id).expect("one answer to what was asked");
        let Some(name) = message["result"]["tools"][0]["name"].as_str() else {
            assert!(downs > downs_then || is_late(since), "only a server that went down fails: {message}");
            return;
        };
        let seen: u64 = name.parse().unwrap();
        assert!(seen <= truth);
        assert!(
            seen >= announced || downs > downs_then || is_late(since),
            "{seen} was given, {announced} had been announced"
        );
        client.seen = Some(seen);
        client.is_told &= id <= client.told_at;
    }

    fn goes_down(&mut self, how: impl FnOnce(&mut World)) {
        self.child = None;
        self.asked.clear();
        self.downs += 1;
        how(&mut self.world);
        if self.below(3) == 0 {
            self.truth += 1;
        }
    }

    fn answers_one(&mut self) {
        let (Some(child), false) = (self.child, self.asked.is_empty()) else { return };
        let at = self.below(self.asked.len() as u64) as usize;
        let asked = self.asked.remove(at);
        if asked["method"] == "tools/list" {
            self.answered = self.answered.max(asked["announced"].as_u64());
            // It may have looked when it was asked, or just now.
            let now = self.below(2) == 0;
            let name = if now { self.truth.to_string() } else { asked["truth"].to_string() };
            self.world.answers(child, &asked, json!({ "tools": [{ "name": name, "inputSchema": {} }] }));
        } else {
            self.world.answers(child, &asked, json!({ "content": [] }));
        }
        self.everybody_listens();
    }

    fn step(&mut self) {
        let number = self.below(4) as usize;
        match self.below(20) {
            0..8 => self.ask(number),
            8..13 => self.answers_one(),
            13 => {
                if let (Some(child), "ready") = (self.child, self.world.state()) {
                    self.truth += 1;
                    self.announced = self.truth;
                    self.world.says(child, note("notifications/tools/list_changed", json!({})));
                }
            }
            14 => {
                if let Some(child) = self.child {
                    self.goes_down(|world| world.exits(child, "died"));
                }
            }
            15 => {
                let link = self.clients[number].link.unwrap();
                self.world.says(
                    link,
                    if number == 3 {
                        modern(CALL, "tools/call", json!({ "name": "t" }))
                    } else {
                        call(CALL, "t")
                    },
                );
            }
            16 => {
                let open: Vec<u64> = self.clients[number].open.keys().copied().collect();
                if let Some(id) = open.first() {
                    self.world.says(self.clients[number].link.unwrap(), cancel(*id));
                    self.clients[number].open.remove(id);
                }
            }
            17 => {
                self.world.leaves(self.clients[number].link.unwrap());
                self.connect(number);
            }
            18 => self.advance(6_000),
            _ => {
                let ms = self.below(400);
                self.advance(ms);
            }
        }
        self.everybody_listens();
    }

    fn advance(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            self.world.advance(100);
            self.everybody_listens();
        }
    }

    /// The server runs, and all is answered.
    fn calm(&mut self, seed: u64) {
        let link = self.clients[0].link.unwrap();
        self.world.says(link, call(CALL, "t"));
        for _ in 0..20 {
            self.advance(100);
            while !self.asked.is_empty() {
                self.answers_one();
            }
        }
        assert_eq!(self.world.state(), "ready");
        assert_eq!(self.world.mux.sizes().requests, 0, "seed {seed}");
        for (number, client) in self.clients.iter().enumerate() {
            assert!(client.open.is_empty(), "seed {seed}: {client:?}");
            // What a modern client was given holds for no time.
            let has_truth =
                client.is_modern || client.is_told || client.seen.is_none_or(|seen| seen == self.truth);
            assert!(has_truth, "seed {seed}: client {number} has an old list: {client:?}, {}", self.truth);
        }
    }
}

/// The id of all calls: their answers are of no interest here.
const CALL: u64 = u64::MAX >> 1;

#[test]
fn every_client_has_the_truth_or_knows_that_it_may_not() {
    let (mut rests, mut shared) = (0, 0);
    for seed in 0..40 {
        let mut walk = Walk::new(seed);
        for _ in 0..8 {
            for _ in 0..30 {
                walk.step();
            }
            walk.calm(seed);
        }
        rests += walk.rests;
        shared += walk.shared;
    }
    // It went everywhere.
    assert!(rests > 20 && shared > 20, "{rests} {shared}");
}
