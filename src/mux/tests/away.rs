//! Random lives of clients of both eras on one legacy child that asks (P12, P48): whatever happens, a question
//! is put to the client whose call it is about, once answered at most, and all that is open ends.

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{Interactive, ServerPolicy};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Draws what happens next; xorshift64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

struct Client {
    link: Key,
    guest: bool,
    legacy: bool,
    /// Requests without an answer: what each is about.
    open: BTreeMap<u64, u64>,
    /// Those that were cancelled.
    cancelled: BTreeMap<u64, u64>,
    /// What those were about that ended without a result: the child may still ask because of them.
    past: Vec<u64>,
    /// Requests of the child to it, and what they are about.
    asked: Vec<Value>,
}

/// A call that is suspended: what it is about, and what its client was told.
struct Away {
    client: Option<Key>,
    about: u64,
    told: Value,
}

#[derive(Default)]
struct Process {
    /// Calls at it, by their ids.
    calls: BTreeMap<u64, u64>,
    /// Its open questions: id, the call it is in, what it is about.
    questions: BTreeMap<u64, (u64, u64)>,
    /// What it has not read yet.
    unread: VecDeque<Value>,
}

struct Life {
    world: World,
    chance: Chance,
    clients: Vec<Client>,
    away: Vec<Away>,
    children: Vec<(Child, Process)>,
    next: u64,
    /// How often what came to pass.
    resumed: u64,
    answered: u64,
}

impl Life {
    fn new(seed: u64, policy: ServerPolicy) -> Life {
        Life {
            world: World::new([policy]),
            chance: Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            clients: Vec::new(),
            away: Vec::new(),
            children: Vec::new(),
            next: 0,
            resumed: 0,
            answered: 0,
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn step(&mut self) {
        match self.chance.below(20) {
            0 if self.clients.len() < 5 => self.connect(),
            1..=4 if !self.clients.is_empty() => self.call(),
            5..=8 => self.come_again(),
            9..=11 => self.ask(),
            12 | 13 => self.answer(),
            14 if !self.clients.is_empty() => self.cancel_or_leave(),
            15 => self.answer_requests(),
            16 if self.chance.below(12) == 0 => self.crash(),
            17 if self.chance.below(10) == 0 => {
                self.world.advance(601_000);
                self.everybody_listens();
            }
            18 => self.read_all(),
            _ => {
                let ms = [1, 10, 25, 200][self.chance.below(4)];
                self.world.advance(ms);
            }
        }
        self.everybody_listens();
    }

    fn connect(&mut self) {
        let kind = self.chance.below(3);
        let link = if kind == 0 { self.world.guest() } else { self.world.client() };
        if kind == 1 {
            let mut hello = initialize("2025-11-25", json!({ "elicitation": {} }));
            hello["id"] = json!("init");
            self.world.says(link, hello);
        }
        self.clients.push(Client {
            link,
            guest: kind == 0,
            legacy: kind == 1,
            open: BTreeMap::new(),
            cancelled: BTreeMap::new(),
            asked: Vec::new(),
            past: Vec::new(),
        });
    }

    fn says(&mut self, at: usize, about: u64, extra: Value) {
        let id = self.fresh();
        let client = &mut self.clients[at];
        let mut params = json!({ "name": "t", "arguments": { "n": about } });
        params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        // A client that has greeted may speak either way.
        let message = if client.legacy && extra["requestState"].is_null() && self.chance.below(2) == 0 {
            request(id, "tools/call", params)
        } else {
            let mut message = modern(id, "tools/call", params);
            let declared = if self.chance.below(8) == 0 && extra["requestState"].is_null() {
                json!({})
            } else {
                json!({ "elicitation": {} })
            };
            message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = declared;
            message
        };
        client.open.insert(id, about);
        self.world.says(client.link, message);
    }

    fn call(&mut self) {
        let at = self.chance.below(self.clients.len());
        let about = self.fresh();
        self.says(at, about, json!({}));
    }

    fn come_again(&mut self) {
        if self.away.is_empty() {
            return;
        }
        let place = self.chance.below(self.away.len());
        let may = |client: &Client, away: &Away| match away.client {
            Some(link) => client.link == link,
            None => client.guest,
        };
        let Some(at) = self.clients.iter().position(|client| may(client, &self.away[place])) else { return };
        let away = self.away.remove(place);
        let requests = away.told["inputRequests"].as_object().expect("questions").clone();
        let mut answers = json!({});
        for key in requests.keys().filter(|_| self.chance.below(5) > 0) {
            answers[key] = json!({ "action": "accept", "content": { "n": away.about } });
        }
        self.resumed += 1;
        let extra = json!({ "requestState": away.told["requestState"], "inputResponses": answers });
        self.says(at, away.about, extra);
    }

    fn ask(&mut self) {
        let with_calls: Vec<usize> =
            (0..self.children.len()).filter(|at| !self.children[*at].1.calls.is_empty()).collect();
        if with_calls.is_empty() {
            return;
        }
        let at = with_calls[self.chance.below(with_calls.len())];
        let id = self.fresh();
        let calls: Vec<(u64, u64)> = self.children[at].1.calls.iter().map(|(id, n)| (*id, *n)).collect();
        let (call, about) = calls[self.chance.below(calls.len())];
        let (child, process) = &mut self.children[at];
        process.questions.insert(id, (call, about));
        let child = *child;
        self.world.says(child, request(id, "elicitation/create", json!({ "message": about })));
        if self.chance.below(8) == 0 {
            self.everybody_listens();
            if self.children[at].1.questions.remove(&id).is_some() {
                self.world.says(child, cancel(id));
            }
        }
    }

    fn answer(&mut self) {
        for at in 0..self.children.len() {
            let calls: Vec<(u64, u64)> = self.children[at].1.calls.iter().map(|(id, n)| (*id, *n)).collect();
            if calls.is_empty() {
                continue;
            }
            let (id, about) = calls[self.chance.below(calls.len())];
            // A server waits for what it asked, but not each one does.
            let waits = self.children[at].1.questions.values().any(|(call, _)| *call == id);
            if !waits || self.chance.below(6) == 0 {
                self.children[at].1.calls.remove(&id);
                let child = self.children[at].0;
                self.world.says(child, json!({ "id": id, "result": { "n": about } }));
            }
        }
    }

    fn cancel_or_leave(&mut self) {
        let at = self.chance.below(self.clients.len());
        match self.clients[at].open.pop_first() {
            Some((id, about)) if self.chance.below(3) > 0 => {
                self.clients[at].cancelled.insert(id, about);
                self.world.says(self.clients[at].link, cancel(id));
            }
            Some((id, about)) => _ = self.clients[at].open.insert(id, about),
            None if self.chance.below(3) == 0 => self.leave(at),
            None => {}
        }
    }

    fn leave(&mut self, at: usize) {
        let client = self.clients.remove(at);
        self.away.retain(|away| away.client != Some(client.link));
        self.world.leaves(client.link);
    }

    fn answer_requests(&mut self) {
        for client in &mut self.clients {
            for question in client.asked.drain(..) {
                let content = json!({ "n": question["params"]["message"] });
                let result = json!({ "action": "accept", "content": content });
                self.world.says(client.link, json!({ "id": question["id"], "result": result }));
            }
        }
    }

    fn crash(&mut self) {
        if !self.children.is_empty() {
            let at = self.chance.below(self.children.len());
            let (child, _) = self.children.remove(at);
            self.world.exits(child, "crashed");
        }
    }

    fn everybody_listens(&mut self) {
        while self.world.wants_start() {
            let child = self.world.child();
            self.children.push((child, Process::default()));
        }
        for at in (0..self.children.len()).rev() {
            if !self.world.stops(self.children[at].0).is_empty() {
                let (child, _) = self.children.remove(at);
                self.world.exits(child, "ended");
            }
        }
        for (child, process) in &mut self.children {
            process.unread.extend(self.world.hears_all(*child));
        }
        self.read(2);
        for at in 0..self.clients.len() {
            for message in self.world.hears_all(self.clients[at].link) {
                self.client_hears(at, message);
            }
        }
    }

    /// Every child reads on, up to so many messages.
    fn read(&mut self, most: usize) -> bool {
        let mut some = false;
        for at in 0..self.children.len() {
            let (child, process) = &mut self.children[at];
            let child = *child;
            process.unread.extend(self.world.hears_all(child));
            let count = process.unread.len().min(self.chance.below(most + 1));
            for message in process.unread.drain(..count).collect::<Vec<_>>() {
                some = true;
                self.child_hears(at, child, &message);
            }
        }
        some
    }

    /// Every child has read all there is.
    fn read_all(&mut self) {
        while self.read(1_000) || self.children.iter().any(|(_, process)| !process.unread.is_empty()) {}
    }

    fn child_hears(&mut self, at: usize, child: Child, message: &Value) {
        let process = &mut self.children[at].1;
        match message["method"].as_str() {
            Some("initialize") => {
                let result = json!({ "protocolVersion": "2025-11-25", "capabilities": all_capabilities() });
                self.world.answers(child, message, result);
            }
            Some("ping" | "tools/list") => self.world.answers(child, message, json!({})),
            Some("tools/call") => {
                let about = message["params"]["arguments"]["n"].as_u64().expect("a number");
                process.calls.insert(message["id"].as_u64().expect("an id"), about);
            }
            Some("notifications/cancelled") => {
                process.calls.remove(&message["params"]["requestId"].as_u64().expect("an id"));
            }
            Some(_) => {}
            None => {
                let id = message["id"].as_u64().expect("an id");
                let known = process.questions.remove(&id);
                if let Some(content) = message["result"].get("content") {
                    let (_, about) = known.expect("asked, and not answered yet");
                    assert_eq!(content["n"], about, "the answer of another client");
                    self.answered += 1;
                }
            }
        }
    }

    fn client_hears(&mut self, at: usize, message: Value) {
        let client = &mut self.clients[at];
        if message["method"] == "elicitation/create" {
            let about = message["params"]["message"].as_u64().expect("a number");
            let mut own = client.open.values().chain(client.cancelled.values()).chain(&client.past);
            assert!(own.any(|own| *own == about), "a question about another's call: {message}");
            return client.asked.push(message);
        }
        let Some(id) = message["id"].as_u64() else { return };
        let about = client.open.remove(&id).or_else(|| client.cancelled.remove(&id));
        let about = about.unwrap_or_else(|| panic!("an answer to nothing, or a second one: {message}"));
        let result = &message["result"];
        if result["resultType"] == "input_required" {
            for request in result["inputRequests"].as_object().expect("questions").values() {
                assert_eq!(request["params"]["message"], about, "a question about another call: {message}");
            }
            client.past.push(about);
            let client = (!client.guest).then_some(client.link);
            self.away.push(Away { client, about, told: result.clone() });
        } else if result.is_object() {
            assert_eq!(result["n"], about, "the answer to another call: {message}");
        } else {
            client.past.push(about);
        }
    }

    /// Everybody does what is to be done: all ends.
    fn calm(&mut self, seed: u64) {
        for _ in 0..400 {
            self.come_again();
            self.answer_requests();
            self.world.advance(30);
            self.everybody_listens();
            self.read_all();
            for at in 0..self.children.len() {
                // What nobody will answer any more is not waited for.
                let (child, process) = &mut self.children[at];
                let child = *child;
                let done = |id: &u64| !process.questions.values().any(|(call, _)| call == id);
                let ended: Vec<(u64, u64)> =
                    process.calls.iter().filter(|(id, _)| done(id)).map(|(id, n)| (*id, *n)).collect();
                for (id, about) in ended {
                    self.children[at].1.calls.remove(&id);
                    self.world.says(child, json!({ "id": id, "result": { "n": about } }));
                }
            }
            self.everybody_listens();
        }
        self.world.advance(601_000);
        self.everybody_listens();
        self.read_all();
        for client in &self.clients {
            assert_eq!(client.open, BTreeMap::new(), "seed {seed}: unanswered");
        }
        for (_, process) in &self.children {
            assert_eq!(process.calls, BTreeMap::new(), "seed {seed}: forgotten calls");
            assert_eq!(process.questions, BTreeMap::new(), "seed {seed}: unanswered questions");
        }
        let sizes = self.world.mux.sizes();
        assert_eq!((sizes.suspended, sizes.requests, sizes.reverse), (0, 0, 0), "seed {seed}");
        for (_, instance) in self.world.mux.instances.iter() {
            assert_eq!((instance.holder, instance.holding, instance.in_flight), (None, 0, 0), "seed {seed}");
            assert!(instance.fence.is_none(), "seed {seed}");
        }
    }
}

/// P12, P48: under both policies, over random lives.
#[test]
fn every_question_is_its_calls_own() {
    let (mut resumed, mut answered) = (0, 0);
    for seed in 1..=60 {
        let policy = match seed % 3 {
            0 => interactive(Interactive::PerClient),
            _ => interactive(Interactive::Serialize),
        };
        let mut life = Life::new(seed, ServerPolicy { max_restarts: 0, ..policy });
        for _ in 0..500 {
            life.step();
        }
        life.calm(seed);
        resumed += life.resumed;
        answered += life.answered;
    }
    assert!(resumed > 500 && answered > 500, "{resumed} went on, {answered} questions were answered");
}
