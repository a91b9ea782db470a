//! The gateway with its clients and servers played by the test.

use super::catalogue::{Change, Naming, Offer};
use super::filter::{Filter, Filters};
use super::{Floor, Gateway, Setup};
use crate::base::{Arena, Key, Time};
use crate::codec::Incoming;
use serde_json::{Value, json};
use std::collections::VecDeque;

mod abilities;
mod lazy;
mod parts;

/// What was asked of the engine.
#[derive(Default)]
struct Stage {
    links: Arena<usize>,
    watches: Vec<Key>,
    /// Link and message, oldest first.
    asked: VecDeque<(Key, Value)>,
    told: VecDeque<Value>,
    logs: Vec<(String, Value)>,
    closed: Vec<Key>,
    /// The last message to a server, as written.
    bytes: Vec<u8>,
    /// Servers that take no link.
    full: Vec<usize>,
    /// How often the abilities were to be asked for again.
    renewals: usize,
}

impl Floor for Stage {
    fn open(&mut self, server: usize, _: Option<&[u8]>) -> Option<Key> {
        (!self.full.contains(&server)).then(|| self.links.insert(server))
    }
    fn watch(&mut self, server: usize) -> Option<Key> {
        let link = self.links.insert(server);
        self.watches.push(link);
        Some(link)
    }
    fn close(&mut self, link: Key) {
        assert!(self.links.remove(link).is_some(), "closed twice");
        self.closed.push(link);
    }
    fn ask(&mut self, link: Key, message: &[u8]) {
        assert!(self.links.contains(link), "asked on a closed link");
        Incoming::scan(message).expect("a message");
        self.bytes = message.to_vec();
        self.asked.push_back((link, serde_json::from_slice(message).unwrap()));
    }
    fn tell(&mut self, message: &[u8]) {
        Incoming::scan(message).expect("a message");
        self.told.push_back(serde_json::from_slice(message).unwrap());
    }
    fn renew(&mut self) {
        self.renewals += 1;
    }
    fn tell_log(&mut self, id: &[u8], message: &[u8]) {
        self.logs.push((String::from_utf8(id.to_vec()).unwrap(), serde_json::from_slice(message).unwrap()));
    }
}

struct World {
    gateway: Gateway,
    stage: Stage,
    now: Time,
}

const LIST_MS: u64 = 5_000;

impl World {
    /// Servers `a`, `b`, … with the numbers 10, 11, …
    fn new(servers: usize) -> World {
        World::of(Naming::Prefix, servers)
    }

    fn of(naming: Naming, servers: usize) -> World {
        let servers = (0..servers)
            .map(|n| (10 + n, char::from(b'a' + n as u8).to_string(), Offer::default()))
            .collect();
        let gateway = Gateway::new(Setup { naming, servers, list_timeout_ms: LIST_MS, ..Setup::default() });
        World { gateway, stage: Stage::default(), now: Time(1_000) }
    }

    /// A world whose servers have said what they can do and offer.
    fn known(servers: usize) -> World {
        let mut world = World::new(servers);
        for (n, method) in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]
            .into_iter()
            .enumerate()
        {
            world.says(n as u64, method, json!({}));
            world.serve();
            world.hears(n as u64);
        }
        world
    }

    fn says(&mut self, id: u64, method: &str, params: Value) {
        let text = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        self.client(&text);
    }

    fn client(&mut self, text: &str) {
        self.gateway.on_client(self.now, &Incoming::scan(text.as_bytes()).unwrap(), &mut self.stage);
    }

    fn server(&mut self, link: Key, message: Value) {
        let text = message.to_string();
        self.gateway.on_server(self.now, link, &Incoming::scan(text.as_bytes()).unwrap(), &mut self.stage);
    }

    /// The next request to a server.
    #[track_caller]
    fn asked(&mut self, server: usize, method: &str) -> (Key, Value) {
        let at = self.stage.asked.iter().position(|(link, asked)| {
            self.stage.links.get(*link) == Some(&server) && asked["method"] == method
        });
        let at = at.unwrap_or_else(|| panic!("{method} was asked of {server}: {:?}", self.stage.asked));
        self.stage.asked.remove(at).unwrap()
    }

    fn answers(&mut self, (link, asked): &(Key, Value), result: Value) {
        self.server(*link, json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }));
    }

    #[track_caller]
    fn hears(&mut self, id: u64) -> Value {
        let told = self.stage.told.pop_front().expect("something was told");
        assert_eq!(told["id"], id, "{told}");
        told
    }

    #[track_caller]
    fn silent(&self) {
        assert!(self.stage.told.is_empty(), "{:?}", self.stage.told);
    }

    fn advance(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.gateway.on_timeout(self.now, &mut self.stage);
    }

    /// Answers all that is asked of servers as good ones do.
    fn serve(&mut self) {
        self.serve_but(&[]);
    }

    /// The same, but these servers stay silent.
    fn serve_but(&mut self, silent: &[usize]) {
        let mut rest = VecDeque::new();
        while let Some((link, asked)) = self.stage.asked.pop_front() {
            let Some(server) = self.stage.links.get(link).copied() else { continue };
            if silent.contains(&server) || asked["method"] == "tools/call" {
                rest.push_back((link, asked));
                continue;
            }
            let letter = char::from(b'a' + (server - 10) as u8);
            let result = match asked["method"].as_str().unwrap() {
                "server/discover" => json!({ "capabilities": {
                    "tools": { "listChanged": true }, "prompts": {}, "resources": { "listChanged": true, "subscribe": true },
                    "completions": {}, "tasks": {} }, "instructions": format!("use {letter}") }),
                "tools/list" => {
                    json!({ "tools": [{ "name": "same" }, { "name": format!("only_{letter}") }], "ttlMs": 0 })
                }
                "prompts/list" => json!({ "prompts": [{ "name": "p" }], "ttlMs": 60_000 }),
                "resources/list" => {
                    json!({ "resources": [{ "uri": "x:1" }, { "uri": format!("{letter}:1") }] })
                }
                "resources/templates/list" => {
                    json!({ "resourceTemplates": [{ "uriTemplate": format!("{letter}://{{id}}") }] })
                }
                "subscriptions/listen" => {
                    let note = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                        "params": { "notifications": asked["params"]["notifications"] } });
                    self.server(link, note);
                    continue;
                }
                method => panic!("{method}"),
            };
            self.answers(&(link, asked), result);
        }
        self.stage.asked = rest;
    }

    /// No link is left but for watching.
    fn quiet(&self) {
        let open =
            self.stage.links.keys().into_iter().filter(|link| !self.stage.watches.contains(link)).count();
        assert_eq!((open, self.gateway.jobs.len()), (0, 0));
    }
}

fn names(told: &Value, list: &str, key: &str) -> Vec<String> {
    let items = told["result"][list].as_array().unwrap_or_else(|| panic!("{told}"));
    items.iter().map(|item| item[key].as_str().unwrap().to_string()).collect()
}

#[test]
fn lists_are_those_of_all_servers() {
    let mut world = World::new(2);
    world.says(1, "tools/list", json!({}));
    world.silent();
    world.serve();
    let told = world.hears(1);
    assert_eq!(names(&told, "tools", "name"), ["a__same", "a__only_a", "b__same", "b__only_b"]);
    assert_eq!(told["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "muxloop");
    world.says(2, "resources/list", json!({}));
    world.serve();
    assert_eq!(names(&world.hears(2), "resources", "uri"), ["x:1", "a:1", "mux+b:x:1", "b:1"]);
    world.says(3, "tools/list", json!({ "cursor": "m1.9" }));
    assert_eq!(world.hears(3)["error"]["code"], -32602);
    world.quiet();
}

/// What does not change unsaid is not asked for again; the rest is, and asked for once by all.
#[test]
fn lists_are_asked_for_when_they_may_have_changed() {
    let mut world = World::known(1);
    world.says(1, "tools/list", json!({}));
    world.hears(1);
    world.says(2, "prompts/list", json!({}));
    world.hears(2);
    world.advance(60_000);
    for id in [3, 4] {
        world.says(id, "prompts/list", json!({}));
    }
    assert_eq!(world.stage.asked.len(), 1, "one for both");
    world.serve();
    world.hears(3);
    world.hears(4);
    let watch = world.stage.watches[0];
    world.server(watch, json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    assert!(world.stage.asked.is_empty(), "nobody listens");
    world.says(5, "tools/list", json!({}));
    world.asked(10, "tools/list");
}

/// H03, P59: a server that hangs delays a list once and by so much, one that fails not at all.
#[test]
fn a_list_waits_so_long_and_no_longer() {
    let mut world = World::new(3);
    world.says(1, "tools/list", json!({}));
    let failing = world.asked(12, "server/discover");
    world.server(
        failing.0,
        json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": -32603, "message": "no" } }),
    );
    world.serve_but(&[11]);
    world.silent();
    world.advance(LIST_MS);
    assert_eq!(names(&world.hears(1), "tools", "name"), ["a__same", "a__only_a"]);
    world.says(2, "tools/list", json!({}));
    let again = world.asked(12, "server/discover");
    world.server(again.0, json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": -32603, "message": "no" } }));
    world.hears(2);
    // The slow one is there in the end, and whoever listens hears of it.
    world.says(3, "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    let told = world.stage.told.pop_front().unwrap();
    assert_eq!(told["params"]["notifications"], json!({ "toolsListChanged": true }));
    world.serve();
    let told = world.stage.told.pop_front().expect("a change");
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 3);
}

#[test]
fn a_call_goes_to_its_server_under_its_own_name() {
    let mut world = World::known(2);
    world.client(r#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"b__same","arguments":{"n":1.50},"_meta":{"progressToken":77}}}"#);
    let call = world.asked(11, "tools/call");
    assert_eq!((&call.1["id"], &call.1["params"]["name"]), (&json!(77), &json!("same")));
    let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": 77, "progress": 1 } });
    world.server(call.0, progress.clone());
    assert_eq!(world.stage.told.pop_front(), Some(progress));
    let line = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": 1 } });
    world.server(call.0, line.clone());
    assert_eq!(world.stage.logs, [("77".to_string(), line)]);
    let meta = json!({ "io.modelcontextprotocol/serverInfo": { "name": "x", "version": "1" }, "k": 1 });
    world.answers(&call, json!({ "content": [], "_meta": meta }));
    let told = world.hears(77);
    assert_eq!(told["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "muxloop");
    assert_eq!(told["result"]["_meta"]["k"], 1);
    world.quiet();
    world.says(78, "tools/call", json!({ "name": "same" }));
    world.serve();
    let told = world.hears(78);
    assert_eq!(
        (&told["error"]["code"], &told["error"]["message"]),
        (&json!(-32602), &json!("unknown tool: \"same\""))
    );
}

/// A client that remembers a name may call it before anybody asked for the lists.
/// H07, H08: what the configuration takes away cannot be had by a call.
#[test]
fn calls_are_held_to_what_is_offered() {
    let hidden = [("key".to_string(), Some("\"k\"".into()))].into();
    let change = Change { name: Some("renamed".into()), hidden, ..Change::default() };
    let offer = Offer { changes: [("same".to_string(), change)].into(), ..Offer::default() };
    let filters = Filters { tools: Filter::new([], ["*__only_a"]), ..Filters::default() };
    let mut world = World::new(0);
    let servers = vec![(10, "a".to_string(), offer)];
    world.gateway =
        Gateway::new(Setup { servers, list_timeout_ms: LIST_MS, filters: vec![filters], ..Setup::default() });
    world.says(1, "tools/list", json!({}));
    world.serve();
    assert_eq!(names(&world.hears(1), "tools", "name"), ["a__renamed"]);
    for (given, sent) in [
        (r#","arguments":{"x":1.50,"key":"mine"}"#, r#"{"x":1.50,"key":"k"}"#),
        (r#","arguments":null"#, r#"{"key":"k"}"#),
        ("", r#"{"key":"k"}"#),
    ] {
        world.client(&format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"a__renamed"{given}}} }}"#
        ));
        let call = world.asked(10, "tools/call");
        let sent: Value = serde_json::from_str(sent).unwrap();
        assert_eq!(call.1["params"], json!({ "name": "same", "arguments": sent }));
        world.answers(&call, json!({ "content": [] }));
        world.hears(2);
    }
    let refused = [
        r#""name":"a__only_a""#,
        r#""name":"a__same""#,
        r#""name":"same""#,
        r#""name":"a__renamed","arguments":{"key":1},"argument\u0073":{}"#,
    ];
    for params in refused {
        world.client(&format!(r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{{params}}}}}"#));
        world.serve();
        assert_eq!(world.hears(3)["error"]["code"], -32602, "{params}");
        assert!(world.stage.asked.is_empty(), "{params}");
    }
    let twice =
        br#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"a__renamed","name":"only_a"}}"#;
    assert!(Incoming::scan(twice).is_err());
    world.quiet();
}

#[test]
fn a_call_before_any_list_waits_for_the_lists() {
    let mut world = World::new(2);
    world.says(1, "tools/call", json!({ "name": "b__only_b" }));
    world.serve();
    world.asked(11, "tools/call");
    world.silent();
}

#[test]
fn a_call_that_is_cancelled_or_lost_is_over() {
    let mut world = World::known(1);
    world.says(1, "tools/call", json!({ "name": "a__same" }));
    let call = world.asked(10, "tools/call");
    world.client(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!(world.stage.closed.last(), Some(&call.0));
    world.quiet();
    world.says(2, "tools/call", json!({ "name": "a__same" }));
    let call = world.asked(10, "tools/call");
    world.stage.links.remove(call.0);
    world.gateway.on_server_closed(world.now, call.0, &mut world.stage);
    assert_eq!(world.hears(2)["error"]["code"], -32603);
    world.stage.full.push(10);
    world.says(3, "tools/call", json!({ "name": "a__same" }));
    assert_eq!(world.hears(3)["error"]["code"], -32603);
    world.quiet();
}

#[test]
fn uris_are_the_clients_on_the_way_back() {
    let mut world = World::known(2);
    world.says(1, "resources/read", json!({ "uri": "mux+b:x:1" }));
    let read = world.asked(11, "resources/read");
    assert_eq!(read.1["params"]["uri"], "x:1");
    world.answers(&read, json!({ "contents": [{ "uri": "x:1", "text": "t" }] }));
    assert_eq!(world.hears(1)["result"]["contents"][0]["uri"], "mux+b:x:1");
    world.says(2, "tools/call", json!({ "name": "b__same" }));
    let call = world.asked(11, "tools/call");
    world.answers(&call, json!({ "content": [
        { "type": "resource_link", "uri": "x:1" }, { "type": "resource", "resource": { "uri": "fresh:1" } } ] }));
    let told = world.hears(2);
    assert_eq!(told["result"]["content"][0]["uri"], "mux+b:x:1");
    assert_eq!(told["result"]["content"][1]["resource"]["uri"], "fresh:1");
    world.says(3, "resources/read", json!({ "uri": "fresh:1" }));
    world.asked(11, "resources/read");
    world.says(4, "resources/read", json!({ "uri": "b://9" }));
    world.asked(11, "resources/read");
    world.says(5, "resources/read", json!({ "uri": "nobody:1" }));
    world.serve();
    let error =
        json!({ "code": -32602, "message": "resource not found: nobody:1", "data": { "uri": "nobody:1" } });
    assert_eq!(world.hears(5)["error"], error);
}

/// protocol.md §5.11: who is asked can tell by which server.
#[test]
fn a_question_names_its_server() {
    let mut world = World::known(2);
    world.says(1, "tools/call", json!({ "name": "b__same" }));
    let call = world.asked(11, "tools/call");
    let requests = json!({ "q": { "method": "elicitation/create", "params": { "message": "Name?", "x": 1 } },
        "r": { "method": "roots/list" } });
    world.answers(
        &call,
        json!({ "resultType": "input_required", "inputRequests": requests, "requestState": "s" }),
    );
    let told = world.hears(1);
    assert_eq!(told["result"]["inputRequests"]["q"]["params"], json!({ "message": "[b] Name?", "x": 1 }));
    assert_eq!(
        (&told["result"]["inputRequests"]["r"], &told["result"]["requestState"]),
        (&requests["r"], &json!("s"))
    );
}

#[test]
fn completions_go_to_the_owner() {
    let mut world = World::known(2);
    let asks = |reference: Value| json!({ "ref": reference, "argument": { "name": "n", "value": "v" } });
    world.says(1, "completion/complete", asks(json!({ "type": "ref/prompt", "name": "b__p" })));
    assert_eq!(world.asked(11, "completion/complete").1["params"]["ref"]["name"], "p");
    world.says(2, "completion/complete", asks(json!({ "type": "ref/resource", "uri": "a://{id}" })));
    assert_eq!(world.asked(10, "completion/complete").1["params"]["ref"]["uri"], "a://{id}");
    for (id, reference) in [(3, json!({ "type": "ref/prompt", "name": "p" })), (4, json!({})), (5, json!(1))]
    {
        world.says(id, "completion/complete", asks(reference));
        world.serve();
        assert_eq!(world.hears(id)["error"]["code"], -32602);
    }
}

/// protocol.md §5.5, §5.7: the union of what the servers can do, tasks left out.
#[test]
fn the_endpoint_can_do_what_any_server_can() {
    let mut world = World::new(3);
    world.says(1, "server/discover", json!({}));
    let plain = world.asked(11, "server/discover");
    world.answers(&plain, json!({ "capabilities": { "logging": {} } }));
    world.serve_but(&[12]);
    world.silent();
    world.advance(LIST_MS);
    let told = world.hears(1);
    assert_eq!(
        told["result"]["capabilities"],
        json!({ "tools": { "listChanged": true }, "prompts": { "listChanged": true }, "completions": {}, "logging": {},
            "resources": { "listChanged": true, "subscribe": true } })
    );
    assert_eq!(told["result"]["instructions"], "## a\n\nuse a");
    world.says(2, "server/discover", json!({}));
    world.hears(2);
}

/// P45: acknowledged first, what the servers honour; tagged with the id; under the client's URIs.
#[test]
fn resources_are_listened_for_at_their_servers() {
    let mut world = World::known(2);
    let wanted = json!({ "resourcesListChanged": true, "resourceSubscriptions": ["x:1", "mux+b:x:1", "b:1", "nobody:1"] });
    world.says(9, "subscriptions/listen", json!({ "notifications": wanted }));
    let at_a = world.asked(10, "subscriptions/listen");
    let at_b = world.asked(11, "subscriptions/listen");
    assert_eq!(at_b.1["params"]["notifications"], json!({ "resourceSubscriptions": ["b:1", "x:1"] }));
    let acknowledges = |uris: Value| {
        json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": { "notifications": { "resourceSubscriptions": uris } } })
    };
    world.server(at_a.0, acknowledges(json!(["x:1"])));
    world.silent();
    world.server(at_b.0, acknowledges(json!(["x:1"])));
    let told = world.stage.told.pop_front().unwrap();
    assert_eq!(
        told["params"]["notifications"],
        json!({ "resourcesListChanged": true, "resourceSubscriptions": ["x:1", "mux+b:x:1"] })
    );
    let updated = |uri: &str| json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } });
    world.server(at_b.0, updated("x:1"));
    let told = world.stage.told.pop_front().unwrap();
    assert_eq!(told["params"]["uri"], "mux+b:x:1");
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 9);
    world.server(at_b.0, updated("b:1/part"));
    assert_eq!(world.stage.told.pop_front().unwrap()["params"]["uri"], "b:1/part");
    world.server(at_a.0, json!({ "jsonrpc": "2.0", "id": 0, "result": {} }));
    world.advance(5_000);
    world.asked(10, "subscriptions/listen");
    world.client(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#);
    world.silent();
    world.quiet();
}

/// Cyclic and endless lists end.
#[test]
fn a_list_without_end_ends() {
    let mut world = World::new(1);
    world.says(1, "tools/list", json!({}));
    let hello = world.asked(10, "server/discover");
    world.answers(&hello, json!({ "capabilities": { "tools": {} } }));
    let mut pages = 0;
    while !world.stage.asked.is_empty() {
        let page = world.asked(10, "tools/list");
        world.answers(
            &page,
            json!({ "tools": [{ "name": format!("t{pages}") }], "nextCursor": format!("{}", pages % 3) }),
        );
        pages += 1;
    }
    assert_eq!(pages, 4, "the fourth repeats a cursor");
    assert_eq!(names(&world.hears(1), "tools", "name").len(), 4);
    world.quiet();
}

#[test]
fn a_rest_leaves_nothing() {
    let mut world = World::known(2);
    world.says(1, "tools/call", json!({ "name": "a__same" }));
    world.says(2, "subscriptions/listen", json!({ "notifications": { "resourceSubscriptions": ["x:1"] } }));
    world.gateway.rest(&mut world.stage);
    assert_eq!(world.stage.links.len(), 0);
    assert_eq!(world.gateway.poll_timeout(), None);
    world.says(3, "tools/call", json!({ "name": "b__same" }));
    world.asked(11, "tools/call");
}
