//! Random lives of clients, calls and processes with rounds.

use super::*;
use crate::mux::tests::tables::Chance;
use std::collections::BTreeSet;

/// A random life of calls with rounds: what each child and client hears is checked against what is written in
/// names, states and questions, all of which say whose they are.
struct Walk {
    world: World,
    chance: Chance,
    children: Vec<Child>,
    clients: Vec<Walker>,
    next_id: usize,
    /// Calls at a child.
    asked: Vec<(Child, Value)>,
    finished: usize,
}

struct Walker {
    link: Key,
    /// Unanswered calls by id.
    open: BTreeSet<usize>,
    /// Open questions.
    questions: Vec<Value>,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        let policy = ServerPolicy { max_in_flight_per_client: 2, max_restarts: 0, ..policy() };
        let (world, child, links) =
            stage(policy, std::array::from_fn::<_, 3, _>(|_| ("2025-11-25", everything())));
        let clients = links.map(|link| Walker { link, open: BTreeSet::new(), questions: Vec::new() }).into();
        let chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        Walk { world, chance, children: vec![child], clients, next_id: 0, asked: Vec::new(), finished: 0 }
    }

    fn step(&mut self, calm: bool) {
        match self.chance.below(if calm { 7 } else { 12 }) {
            0..=2 => self.child_answers(calm),
            3..=5 => self.client_answers(),
            6 => self.world.advance(3_000),
            7 | 8 => self.client_calls(),
            9 => self.client_cancels(),
            10 => self.child_dies(),
            _ => self.client_is_replaced(),
        }
        while self.world.wants_start() {
            let child = self.world.child();
            self.world.discover(child, 1_000_000_000);
            self.children.push(child);
        }
        self.everybody_listens();
    }

    fn client_calls(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        self.next_id += 1;
        client.open.insert(self.next_id);
        self.world.says(client.link, call(self.next_id, &format!("{}-{}", client.link, self.next_id)));
    }

    fn child_answers(&mut self, calm: bool) {
        if self.asked.is_empty() {
            return;
        }
        let (child, asked) = self.asked.swap_remove(self.chance.below(self.asked.len()));
        let name = asked["params"]["name"].as_str().unwrap();
        let round = asked["params"]["requestState"].as_str().map_or(0, |state| state.split('/').count());
        if calm || self.chance.below(3) == 0 {
            return self.world.answers(child, &asked, complete(name));
        }
        let count = self.chance.below(4);
        let state = format!("{name}/{count}{}", "/".repeat(round));
        let question = |n: usize| match n {
            0 => form(&format!("{state}?{n}")),
            _ => {
                json!({ "method": "sampling/createMessage", "params": { "message": format!("{state}?{n}") } })
            }
        };
        let questions: serde_json::Map<_, _> = (0..count).map(|n| (n.to_string(), question(n))).collect();
        self.world.answers(child, &asked, input(questions.into(), state.clone()));
    }

    fn client_answers(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        if client.questions.is_empty() {
            return;
        }
        let question = client.questions.swap_remove(self.chance.below(client.questions.len()));
        let link = client.link;
        match self.chance.below(6) {
            0 => refuse(&mut self.world, link, &question, "no"),
            _ => reply(&mut self.world, link, &question, json!({ "to": question["params"]["message"] })),
        }
    }

    fn client_cancels(&mut self) {
        let at = self.chance.below(self.clients.len());
        let client = &mut self.clients[at];
        let Some(id) = client.open.pop_first() else { return };
        self.world.says(client.link, cancel(id));
    }

    fn child_dies(&mut self) {
        let Some(child) = self.children.pop() else { return };
        self.asked.retain(|(other, _)| *other != child);
        self.world.exits(child, "died");
    }

    fn client_is_replaced(&mut self) {
        if self.chance.below(4) > 0 {
            return;
        }
        let at = self.chance.below(self.clients.len());
        self.world.leaves(self.clients[at].link);
        let link = self.world.client();
        self.world.greet(link, everything());
        self.clients[at] = Walker { link, open: BTreeSet::new(), questions: Vec::new() };
    }

    fn everybody_listens(&mut self) {
        for child in self.children.clone() {
            for message in self.world.hears_all(child) {
                if message["method"] == "notifications/cancelled" {
                    let id = &message["params"]["requestId"];
                    self.asked.retain(|(_, asked)| asked["id"] != *id);
                    continue;
                }
                assert_eq!(message["method"], "tools/call", "{message}");
                check_answers(&message["params"]);
                self.asked.push((child, message));
            }
        }
        for client in &mut self.clients {
            for message in self.world.hears_all(client.link) {
                let ours = |name: &Value| name.as_str().unwrap().starts_with(&format!("{}-", client.link));
                if message["method"] == "notifications/cancelled" {
                    let id = &message["params"]["requestId"];
                    let before = client.questions.len();
                    client.questions.retain(|question| question["id"] != *id);
                    assert_eq!(client.questions.len() + 1, before, "{message}");
                } else if message["method"].is_string() {
                    assert!(ours(&message["params"]["message"]), "{message}");
                    client.questions.push(message);
                } else {
                    let id = message["id"].as_u64().unwrap() as usize;
                    assert!(client.open.remove(&id), "{message}");
                    self.finished += 1;
                    let name = &message["result"]["content"][0]["text"];
                    assert!(message["error"]["code"] == -32603 || ours(name), "{message}");
                }
            }
        }
    }
}

/// A call that is made again has an answer to each question of its state, to just that one, or its cancel.
fn check_answers(params: &Value) {
    let Some(state) = params["requestState"].as_str() else {
        return assert!(params.get("inputResponses").is_none(), "{params}");
    };
    let (name, rest) = state.split_once('/').unwrap();
    assert_eq!(params["name"], name);
    let count: usize = rest.trim_end_matches('/').parse().unwrap();
    assert_eq!(params["inputResponses"].as_object().map_or(0, |answers| answers.len()), count, "{params}");
    for n in 0..count {
        let answer = &params["inputResponses"][n.to_string()];
        let cancelled = n == 0 && *answer == json!({ "action": "cancel" });
        assert!(cancelled || answer["to"] == format!("{state}?{n}"), "{params}");
    }
}

/// P49 over random lives: nothing crosses, every call ends, and nothing is left in any table.
#[test]
fn random_rounds_never_cross_and_all_end() {
    let mut finished = 0;
    for seed in 1..=60 {
        let mut walk = Walk::new(seed);
        for _ in 0..400 {
            walk.step(false);
        }
        for _ in 0..100_000 {
            if walk.clients.iter().all(|client| client.open.is_empty()) {
                break;
            }
            walk.step(true);
        }
        for client in &walk.clients {
            assert!(client.open.is_empty() && client.questions.is_empty(), "seed {seed}: {:?}", client.open);
        }
        finished += walk.finished;
        let Walk { mut world, .. } = walk;
        world.advance(700_000);
        nothing_open(&world);
    }
    assert!(finished > 500, "{finished}");
}
