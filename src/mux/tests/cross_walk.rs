//! Random lives of clients of both eras on a child of either: who subscribes, listens, cancels and leaves is drawn;
//! a model says who must hear of what, and what the child must have been asked for (P16, P17, P19, P22, P45).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{EraPolicy, ServerPolicy};
use crate::mux::status::Sizes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const KINDS: [&str; 3] = ["tools", "prompts", "resources"];
/// Resources; the child does not take the last one.
const URIS: [&str; 5] = ["x:1", "x:1/a", "x:1/a/b", "y:1", "x:no"];

type Uris = BTreeSet<&'static str>;

fn is_taken(uri: &str) -> bool {
    uri != "x:no"
}

fn covers(own: &str, uri: &str) -> bool {
    own == uri || uri.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'))
}

/// Something that the child tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    List(&'static str),
    Update(&'static str),
}

impl Event {
    fn message(self) -> Value {
        match self {
            Event::List(kind) => note(&format!("notifications/{kind}/list_changed"), json!({})),
            Event::Update(uri) => note("notifications/resources/updated", json!({ "uri": uri })),
        }
    }

    fn read(message: &Value) -> Event {
        let uri = message["params"]["uri"].as_str();
        let kind = message["method"].as_str().and_then(|method| method.split('/').nth(1));
        match uri {
            Some(uri) => Event::Update(URIS.into_iter().find(|own| *own == uri).expect("a known URI")),
            None => Event::List(KINDS.into_iter().find(|own| Some(*own) == kind).expect("a known list")),
        }
    }
}

#[derive(Debug, Default)]
struct Listen {
    kinds: BTreeSet<&'static str>,
    uris: Uris,
    is_open: bool,
}

impl Listen {
    fn wants(&self, event: Event) -> bool {
        match event {
            Event::List(kind) => self.kinds.contains(kind),
            Event::Update(uri) => self.uris.iter().any(|own| is_taken(own) && covers(own, uri)),
        }
    }

    fn filter(kinds: &BTreeSet<&str>, uris: &Uris) -> Value {
        let mut filter = json!({});
        for kind in kinds {
            filter[format!("{kind}ListChanged")] = true.into();
        }
        if !uris.is_empty() {
            filter["resourceSubscriptions"] = json!(uris);
        }
        filter
    }
}

#[derive(Debug)]
struct Client {
    link: Key,
    is_modern: bool,
    held: Uris,
    asking: BTreeMap<u64, &'static str>,
    listens: BTreeMap<u64, Listen>,
    /// What it heard, under which listen (0: none), since the last look.
    heard: Vec<(u64, Event)>,
}

/// A child that answers what it was asked when it likes.
#[derive(Default)]
struct Played {
    unread: Vec<Value>,
    subscribed: BTreeSet<String>,
    /// Open listens: by id what was asked for.
    listens: BTreeMap<u64, Value>,
}

struct Life {
    world: World,
    child: Child,
    played: Played,
    is_modern: bool,
    clients: Vec<Client>,
    random: u64,
    next_id: u64,
}

impl Life {
    fn new(seed: u64, is_modern: bool) -> Life {
        let era = if is_modern { EraPolicy::Modern } else { EraPolicy::Legacy };
        let mut world = World::new([ServerPolicy { era, max_restarts: 0, ..policy() }]);
        let child = world.child();
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut life = Life {
            child,
            played: Played::default(),
            is_modern,
            clients: Vec::new(),
            random,
            next_id: 0,
            world: {
                shake(&mut world, child, is_modern);
                world
            },
        };
        life.settle();
        life
    }

    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % n as u64) as usize
    }

    fn uri(&mut self) -> &'static str {
        URIS[self.below(URIS.len())]
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn step(&mut self) {
        match self.below(20) {
            0 | 1 if self.clients.len() < 5 => self.connect(),
            2..=13 if !self.clients.is_empty() => self.client_acts(),
            14 | 15 => {
                let some = self.below(3);
                self.child_reads(some);
            }
            16 => self.restart(),
            _ => {
                self.settle();
                self.check_what_the_child_knows();
                self.check_event();
            }
        }
        self.everybody_listens();
    }

    fn connect(&mut self) {
        let link = self.world.client();
        let is_modern = self.below(2) == 0;
        if !is_modern {
            self.world.greet(link, json!({}));
        }
        let (held, asking, listens) = Default::default();
        self.clients.push(Client { link, is_modern, held, asking, listens, heard: Vec::new() });
    }

    fn client_acts(&mut self) {
        let at = self.below(self.clients.len());
        let (id, uri, what) = (self.new_id(), self.uri(), self.below(8));
        let kinds: BTreeSet<_> = KINDS.into_iter().filter(|_| self.below(2) == 0).collect();
        let uris: Uris = (0..self.below(3)).map(|_| self.uri()).collect();
        let client = &mut self.clients[at];
        let link = client.link;
        match (what, client.is_modern) {
            (0, _) => {
                self.clients.remove(at);
                self.world.leaves(link);
            }
            (1..=3, true) => {
                if let Some(id) = client.listens.keys().next().copied() {
                    client.listens.remove(&id);
                    self.world.says(link, cancel(id));
                }
            }
            (_, true) => {
                let params = json!({ "notifications": Listen::filter(&kinds, &uris) });
                client.listens.insert(id, Listen { kinds, uris, is_open: false });
                self.world.says(link, modern(id, "subscriptions/listen", params));
            }
            (1..=3, false) if client.asking.values().all(|other| *other != uri) => {
                client.held.remove(uri);
                self.world.says(link, request(id, "resources/unsubscribe", json!({ "uri": uri })));
            }
            (_, false) => {
                client.asking.insert(id, uri);
                self.world.says(link, request(id, "resources/subscribe", json!({ "uri": uri })));
            }
        }
    }

    /// The process ends and another one follows: who held something is told to look again, others are not.
    fn restart(&mut self) {
        self.settle();
        for client in &mut self.clients {
            client.heard.clear();
        }
        if self.below(2) == 0 && !self.clients.is_empty() {
            // In the middle of something, too.
            self.client_acts();
            self.everybody_listens();
        }
        let expected: Vec<BTreeSet<(u64, Event)>> = self.clients.iter().map(looks_again).collect();
        self.world.exits(self.child, "died");
        self.world.advance(40_000);
        self.child = self.world.child();
        self.played = Played::default();
        shake(&mut self.world, self.child, self.is_modern);
        self.world.advance(200);
        self.everybody_listens();
        for (client, expected) in self.clients.iter_mut().zip(expected) {
            let heard: BTreeSet<_> = client.heard.drain(..).collect();
            assert_eq!(heard, expected, "{client:?}");
        }
    }

    /// The child reads its mail, and answers the first `count` of its questions.
    fn child_reads(&mut self, count: usize) {
        self.played.unread.extend(self.world.hears_all(self.child));
        for _ in 0..count.min(self.played.unread.len()) {
            let message = self.played.unread.remove(0);
            self.child_answers(message);
        }
    }

    fn child_answers(&mut self, message: Value) {
        let uri = message["params"]["uri"].as_str().unwrap_or_default().to_string();
        match message["method"].as_str().unwrap() {
            "resources/subscribe" if is_taken(&uri) => {
                assert!(self.played.subscribed.insert(uri), "P16: subscribed to once: {message}");
                self.world.answers(self.child, &message, json!({}));
            }
            "resources/subscribe" => {
                let error = json!({ "code": -32002, "message": "no" });
                self.world.says(self.child, json!({ "id": message["id"], "error": error }));
            }
            "resources/unsubscribe" => {
                assert!(self.played.subscribed.remove(&uri), "P16: taken back once: {message}");
                self.world.answers(self.child, &message, json!({}));
            }
            "subscriptions/listen" => {
                let mut filter = message["params"]["notifications"].clone();
                self.played.listens.insert(message["id"].as_u64().unwrap(), filter.clone());
                if let Some(uris) = filter["resourceSubscriptions"].as_array_mut() {
                    uris.retain(|uri| is_taken(uri.as_str().unwrap()));
                } else {
                    filter.as_object_mut().unwrap().remove("resourceSubscriptions");
                }
                let mut told =
                    note("notifications/subscriptions/acknowledged", json!({ "notifications": filter }));
                told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] = message["id"].clone();
                self.world.says(self.child, told);
            }
            "notifications/cancelled" => {
                self.played.listens.remove(&message["params"]["requestId"].as_u64().unwrap());
            }
            other => panic!("the child was asked for {other}"),
        }
    }

    /// The child answers until nothing is left to answer.
    fn settle(&mut self) {
        loop {
            self.child_reads(usize::MAX);
            self.played.unread.extend(self.world.hears_all(self.child));
            if self.played.unread.is_empty() {
                break;
            }
        }
        self.everybody_listens();
        for client in &self.clients {
            assert!(client.asking.is_empty(), "unanswered: {client:?}");
            assert!(client.listens.values().all(|listen| listen.is_open), "not acknowledged: {client:?}");
        }
    }

    fn everybody_listens(&mut self) {
        for client in &mut self.clients {
            for message in self.world.hears_all(client.link) {
                client.hears(&message);
            }
        }
    }

    /// Everything that somebody wants is known there, and nothing else.
    fn check_what_the_child_knows(&self) {
        let listens = || self.clients.iter().flat_map(|client| client.listens.values());
        let held = self.clients.iter().flat_map(|client| &client.held);
        let mut uris: Uris = held.chain(listens().flat_map(|listen| &listen.uris)).copied().collect();
        if !self.is_modern {
            uris.retain(|uri| is_taken(uri));
            assert!(self.played.subscribed.iter().map(String::as_str).eq(uris), "P16");
            return;
        }
        let mut kinds: BTreeSet<_> = listens().flat_map(|listen| &listen.kinds).copied().collect();
        if self.clients.iter().any(|client| !client.is_modern) {
            kinds.extend(KINDS);
        }
        let wanted = Listen::filter(&kinds, &uris);
        let expected: Vec<&Value> = if wanted == json!({}) { vec![] } else { vec![&wanted] };
        assert_eq!(self.played.listens.values().collect::<Vec<_>>(), expected, "one listen for all");
    }

    /// Something changes at the child: exactly those hear of it who are to.
    fn check_event(&mut self) {
        self.world.advance(200);
        let event = match self.below(2) {
            0 => Event::List(KINDS[self.below(3)]),
            _ => Event::Update(self.uri()),
        };
        let expected: Vec<BTreeSet<(u64, Event)>> =
            self.clients.iter().map(|client| self.who_hears(client, event)).collect();
        for client in &mut self.clients {
            client.heard.clear();
        }
        if self.is_modern {
            // On a listen that does not ask for it, or on none, nothing comes.
            for (id, _) in self.played.listens.clone() {
                let mut message = event.message();
                message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] = id.into();
                self.world.says(self.child, message);
            }
        } else {
            self.world.says(self.child, event.message());
        }
        self.everybody_listens();
        let said = !self.is_modern || !self.played.listens.is_empty();
        for (client, expected) in self.clients.iter_mut().zip(expected) {
            let expected = if said { expected } else { BTreeSet::new() };
            let heard: Vec<_> = client.heard.drain(..).collect();
            assert_eq!(heard.len(), expected.len(), "{event:?}, {client:?}");
            assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), expected, "{event:?}, {client:?}");
        }
    }

    fn who_hears(&self, client: &Client, event: Event) -> BTreeSet<(u64, Event)> {
        let listens = client.listens.iter().filter(|(_, listen)| listen.wants(event));
        let mut all: BTreeSet<_> = listens.map(|(id, _)| (*id, event)).collect();
        let legacy = || self.clients.iter().filter(|client| !client.is_modern);
        let hears = match event {
            Event::List(_) => true,
            Event::Update(uri) => {
                let has = |own: &Client, test: &dyn Fn(&str) -> bool| own.held.iter().any(|uri| test(uri));
                let is_heard =
                    self.clients.iter().flat_map(|c| c.listens.values()).any(|listen| listen.wants(event));
                if legacy().any(|own| has(own, &|own| own == uri)) {
                    has(client, &|own| own == uri)
                } else if legacy().any(|own| has(own, &|own| covers(own, uri))) {
                    has(client, &|own| covers(own, uri))
                } else {
                    !is_heard && !client.held.is_empty()
                }
            }
        };
        if hears && !client.is_modern {
            all.insert((0, event));
        }
        all
    }

    /// Everybody leaves: nothing is left at the child, and nothing in any table.
    fn end(mut self) {
        self.settle();
        for client in std::mem::take(&mut self.clients) {
            self.world.leaves(client.link);
        }
        self.settle();
        self.check_what_the_child_knows();
        for (_, instance) in self.world.mux.instances.iter() {
            assert!(instance.subscriptions.is_empty() && instance.replays.is_empty());
            assert!(instance.listen.current.is_none() && instance.listen.opening.is_none());
        }
        self.world.advance(700_000);
        let sizes = self.world.mux.sizes();
        assert_eq!(sizes, Sizes { instances: 1, links: 1, ..Sizes::default() });
    }
}

impl Client {
    fn hears(&mut self, message: &Value) {
        if let Some(id) = message["id"].as_u64() {
            let Some(uri) = self.asking.remove(&id) else { return };
            match message["error"]["code"].as_i64() {
                None => {
                    assert!(is_taken(uri), "{message}");
                    self.held.insert(uri);
                }
                // Refused by the child, or lost with it.
                Some(code) => assert!(code == -32603 || !is_taken(uri), "{message}"),
            }
            return;
        }
        let id = match &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] {
            Value::Null => 0,
            id => id.as_u64().expect("an id of its own"),
        };
        assert_eq!(id != 0, self.is_modern, "P45: the tag is for listens: {message}");
        if message["method"] == "notifications/subscriptions/acknowledged" {
            let listen = self.listens.get_mut(&id).expect("an open listen");
            assert!(!std::mem::replace(&mut listen.is_open, true), "P45: acknowledged once");
            let uris = listen.uris.iter().copied().filter(|uri| is_taken(uri)).collect();
            assert_eq!(message["params"]["notifications"], Listen::filter(&listen.kinds, &uris));
            return;
        }
        let event = Event::read(message);
        if self.is_modern {
            let listen = self.listens.get(&id).expect("an open listen");
            assert!(listen.is_open && listen.wants(event), "P45: nothing first, nothing else: {message}");
        }
        self.heard.push((id, event));
    }
}

/// What a client is told once the process of its child was replaced.
fn looks_again(client: &Client) -> BTreeSet<(u64, Event)> {
    let mut all = BTreeSet::new();
    for (id, listen) in client.listens.iter().filter(|(_, listen)| listen.is_open) {
        all.extend(listen.kinds.iter().map(|kind| (*id, Event::List(kind))));
        all.extend(listen.uris.iter().filter(|uri| is_taken(uri)).map(|uri| (*id, Event::Update(uri))));
    }
    if !client.is_modern {
        all.extend(KINDS.map(|kind| (0, Event::List(kind))));
        all.extend(client.held.iter().map(|uri| (0, Event::Update(uri))));
    }
    all
}

fn shake(world: &mut World, child: Child, is_modern: bool) {
    if is_modern {
        world.discover(child, 0);
    } else {
        world.shake_hands(child, all_capabilities());
    }
}

#[test]
fn everybody_hears_what_is_theirs_and_nothing_else() {
    for seed in 1..=60 {
        for is_modern in [false, true] {
            // Shown if it fails.
            println!("seed {seed}, modern child: {is_modern}");
            let mut life = Life::new(seed, is_modern);
            for _ in 0..150 {
                life.step();
            }
            life.end();
        }
    }
}
