//! HTTP+SSE of 2024-11-05 (protocol.md §3.4, P37).

use crate::support::{Ask, Http, Server, Station, answer, call, code, initialize, rpc, station::PLAIN, text};
use serde_json::{Value, json};

/// A client of HTTP+SSE.
pub struct Client<'a> {
    station: &'a Station,
    stream: Http,
    endpoint: String,
}

impl<'a> Client<'a> {
    fn open(station: &'a Station, server: &str) -> Client<'a> {
        let mut stream = station.connect();
        let head = stream.start(&Ask::get(&format!("/sse/{server}")).header("Accept", "text/event-stream"));
        assert!(head.status == 200 && head.is_stream(), "{head:?}");
        let first = stream.event().expect("the endpoint");
        assert_eq!(first.event.as_deref(), Some("endpoint"), "P37");
        let endpoint = String::from_utf8(first.data).unwrap();
        assert!(endpoint.starts_with("/message?sessionId="), "{endpoint}");
        Client { station, stream, endpoint }
    }

    pub fn greeted(station: &'a Station, server: &str, capabilities: Value) -> Client<'a> {
        let mut client = Client::open(station, server);
        client.post(&initialize("2024-11-05", capabilities));
        assert_eq!(client.next()["result"]["protocolVersion"], "2024-11-05");
        client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    pub fn post(&self, message: &Value) {
        let ask = Ask::post(&self.endpoint, message).header("Accept", "");
        let reply = self.station.ask(&ask).expect(202);
        assert_eq!(reply.text(), "Accepted", "P37");
    }

    pub fn next(&mut self) -> Value {
        let event = self.stream.event().expect("an event");
        assert_eq!(event.event.as_deref(), Some("message"), "P37");
        serde_json::from_slice(&event.data).unwrap()
    }
}

#[test]
fn replies_come_as_events_of_the_stream() {
    let station = Station::demo(&[], "");
    let mut client = Client::greeted(&station, "a", json!({}));
    client.post(&call("x", "echo", json!({ "text": "hello" })));
    let answer = client.next();
    assert_eq!((&answer["id"], text(&answer)), (&json!("x"), "hello"));
    // Several at once, in the order of their answers.
    client.post(&call(1, "sleep", json!({ "ms": 100 })));
    client.post(&rpc(2, "ping", json!({})));
    assert_eq!(client.next()["id"], 2);
    assert_eq!(client.next()["id"], 1);
    client.post(&call(3, "add_tool", json!({})));
    let mut seen =
        [client.next(), client.next()].map(|message| message["method"].as_str().map(str::to_owned));
    seen.sort();
    assert_eq!(seen, [None, Some("notifications/tools/list_changed".to_owned())]);
}

#[test]
fn clients_do_not_see_each_other() {
    let station = Station::start(PLAIN, &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let mut clients: Vec<Client> =
        (0..10).map(|n| Client::greeted(&station, if n % 2 == 0 { "a" } else { "b" }, json!({}))).collect();
    for (n, client) in clients.iter().enumerate() {
        client.post(&call(1, "echo", json!({ "text": n.to_string() })));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(text(&client.next()), n.to_string());
    }
}

#[test]
fn a_server_can_ask() {
    let station = Station::demo(&[], "interactive = \"serialize\"");
    let mut client = Client::greeted(&station, "a", json!({ "elicitation": {} }));
    client.post(&call(1, "ask", json!({ "question": "?" })));
    let question = client.next();
    assert_eq!(question["method"], "elicitation/create");
    client.post(&answer(&question, json!({ "action": "accept", "content": { "answer": "sure" } })));
    assert_eq!(text(&client.next()), "sure");
}

#[test]
fn wrong_posts_are_refused() {
    let station = Station::demo(&[], "max_request_bytes = 2000");
    let client = Client::greeted(&station, "a", json!({}));
    let ping = rpc(1, "ping", json!({}));
    let post = |target: &str, body: &str| station.ask(&Ask::post_text(target, body)).status();
    assert_eq!(post("/message", &ping.to_string()), 400);
    assert_eq!(post("/message?sessionId=", &ping.to_string()), 404);
    assert_eq!(post("/message?sessionId=nobody", &ping.to_string()), 404);
    assert_eq!(post(&client.endpoint, "{"), 400);
    assert_eq!(post(&client.endpoint, "{}"), 400);
    assert_eq!(post(&client.endpoint, &" ".repeat(2_001)), 413);
    let reply = station.ask(&Ask::post(&client.endpoint, &ping).header("Content-Type", "text/plain"));
    assert_eq!(reply.status(), 415);
    assert_eq!(code(&reply.json()), -32600);
    for (method, target) in [("GET", "/message"), ("POST", "/sse/a"), ("DELETE", "/sse/a")] {
        let reply = station.ask(&Ask::new(method, target));
        assert_eq!(reply.status(), 405, "{method} {target}");
        assert!(!reply.header("allow").is_empty());
    }
    assert_eq!(station.ask(&Ask::get("/sse/a").header("Accept", "application/json")).status(), 406);
    // SDKs spell it in two ways.
    let other = client.endpoint.replace("sessionId", "session_id");
    assert_eq!(post(&other, &ping.to_string()), 202);
    // It is no session of the other transport, nor the other way round.
    let id = client.endpoint.split_once('=').unwrap().1;
    let ask = Ask::post("/servers/a/mcp", &ping).header("Mcp-Session-Id", id);
    assert_eq!(station.ask(&ask).status(), 404);
    let session = crate::support::Session::open(&station);
    assert_eq!(post(&format!("/message?sessionId={}", session.id), &ping.to_string()), 404);
}

#[test]
fn the_end_of_the_stream_ends_everything() {
    let station = Station::demo(&[], "");
    let client = Client::greeted(&station, "a", json!({}));
    let endpoint = client.endpoint.clone();
    client.post(&call(1, "sleep", json!({ "ms": 60_000 })));
    // The call is with the server before the stream ends.
    let mut other = Client::greeted(&station, "a", json!({}));
    other.post(&call(1, "echo", json!({ "text": "fence" })));
    other.next();
    drop(client);
    station.until_clients("a", 1);
    assert_eq!(station.ask(&Ask::post(&endpoint, &rpc(1, "ping", json!({})))).status(), 404);
    other.post(&call(1, "echo", json!({ "text": "fence" })));
    other.next();
    assert!(station.mux.methods("a").contains(&"notifications/cancelled".to_owned()), "P10");
}
