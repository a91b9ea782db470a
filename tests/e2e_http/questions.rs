//! A server of the older revisions asks clients of 2026-07-28 (protocol.md §4.2): the question is the answer,
//! and the answer comes with the next request.

use crate::support::base::Client;
use crate::support::station::PLAIN;
use crate::support::{Ask, Server, Session, Station, answer, code, modern, rpc, text};
use serde_json::{Value, json};
use std::thread;

const PATH: &str = "/servers/a/mcp";

fn everything() -> Value {
    json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

fn station(keys: &str) -> Station {
    Station::demo(&["--era", "legacy"], keys)
}

/// The params of a call of `ask`, with what its client can be asked.
fn params(via: &str, question: &str, further: Value) -> Value {
    let mut params = json!({ "name": "ask", "arguments": { "via": via, "question": question } });
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = everything();
    params.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    params
}

fn call(id: impl Into<Value>, via: &str, question: &str, further: Value) -> Ask {
    modern(PATH, id, "tools/call", params(via, question, further))
}

/// The only question of an answer, its key and the state.
fn question(told: &Value) -> (&Value, &str, &Value) {
    let result = &told["result"];
    assert_eq!(result["resultType"], "input_required", "{told}");
    let requests = result["inputRequests"].as_object().expect("questions");
    let (key, question) = requests.iter().next().expect("a question");
    (question, key, &result["requestState"])
}

/// P48, over HTTP: each round is a request of its own, on a connection of its own.
#[test]
fn a_question_is_answered_with_the_next_request() {
    for keys in ["interactive = \"serialize\"", "interactive = \"per-client\"", "share = \"session\""] {
        let station = station(keys);
        for (via, method, said, heard) in [
            (
                "elicitation",
                "elicitation/create",
                json!({ "action": "accept", "content": { "answer": "A" } }),
                "A",
            ),
            ("elicitation", "elicitation/create", json!({ "action": "decline" }), "decline"),
            (
                "sampling",
                "sampling/createMessage",
                json!({ "role": "assistant", "content": { "type": "text", "text": "S" }, "model": "m" }),
                "S",
            ),
            ("roots", "roots/list", json!({ "roots": [{ "uri": "file:///r" }] }), "file:///r"),
        ] {
            let told = station.ask(&call("first", via, "Q", json!({}))).expect(200).json();
            let (asked, key, state) = question(&told);
            assert_eq!((&told["id"], &asked["method"]), (&json!("first"), &json!(method)));
            let with = |answer: &Value, state: &Value| json!({ "inputResponses": { key: answer }, "requestState": state });
            let forged = station.ask(&call(2, via, "Q", with(&said, &json!("muxloop.10000.0")))).expect(200);
            assert_eq!(code(&forged.json()), -32602);
            let altered = station.ask(&call(3, via, "Another", with(&said, state))).expect(200);
            assert_eq!(code(&altered.json()), -32602);
            let wrong = station.ask(&call(4, via, "Q", with(&json!(1), state))).expect(200);
            assert_eq!(code(&wrong.json()), -32602);
            let done = station.ask(&call(5, via, "Q", with(&said, state))).expect(200).json();
            assert_eq!((text(&done), &done["id"]), (heard, &json!(5)), "{keys}");
            assert_eq!(done["result"]["resultType"], "complete");
            let twice = station.ask(&call(6, via, "Q", with(&said, state))).expect(200);
            assert_eq!(code(&twice.json()), -32602);
        }
    }
}

/// P48: what the client did not declare is not asked.
#[test]
fn what_was_not_declared_is_not_asked() {
    let station = station("interactive = \"serialize\"");
    let mut params = params("sampling", "Q", json!({}));
    params["arguments"]["force"] = json!(true);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    let told = station.ask(&modern(PATH, 1, "tools/call", params)).expect(200).json();
    assert!(text(&told).contains("-32602"), "{told}");
}

/// A page to be seen first (-32042) is a question without state.
#[test]
fn a_page_is_shown_and_the_call_made_anew() {
    let station = station("interactive = \"serialize\"");
    let mut params = json!({ "name": "elicit_url", "arguments": {} });
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = everything();
    let told = station.ask(&modern(PATH, 1, "tools/call", params.clone())).expect(200).json();
    let (asked, key, state) = question(&told);
    assert_eq!((&asked["params"]["mode"], asked["params"].get("elicitationId")), (&json!("url"), None));
    params["inputResponses"] = json!({ key: { "action": "accept" } });
    params["requestState"] = state.clone();
    let done = station.ask(&modern(PATH, 2, "tools/call", params)).expect(200).json();
    assert_eq!((text(&done), &done["result"]["resultType"]), ("accept", &json!("complete")));
}

/// A modern client asks `rounds` times; each question is its own.
fn modern_client(name: &str, mut ask: impl FnMut(Value) -> Value) {
    for round in 0..3 {
        let about = format!("{name} {round}");
        let told = ask(params("elicitation", &about, json!({})));
        let (asked, key, state) = question(&told);
        assert_eq!(asked["params"]["message"], about);
        let answers = json!({ key: { "action": "accept", "content": { "answer": about } } });
        let done =
            ask(params("elicitation", &about, json!({ "inputResponses": answers, "requestState": state })));
        assert_eq!(text(&done), about);
    }
}

/// Ten clients of both eras on one child under `serialize`: each is asked its own questions only.
#[test]
fn ten_clients_of_both_eras_share_a_child_that_asks() {
    let server = Server::demo("a", &["--era", "legacy"]);
    let station =
        Station::start(PLAIN, &[server.keys("interactive = \"serialize\"\nmax_active_clients = 20")]);
    let accept = |about: &str| json!({ "action": "accept", "content": { "answer": about } });
    let socket = station.mux.path("a.sock");
    thread::scope(|scope| {
        for n in 0..4 {
            let station = &station;
            scope.spawn(move || {
                let mut http = station.connect();
                let name = format!("web {n}");
                modern_client(&name, |params| {
                    http.ask(&modern(PATH, 1, "tools/call", params)).expect(200).json()
                });
            });
        }
        for n in 0..2 {
            let socket = &socket;
            scope.spawn(move || {
                let mut client = Client::connect(socket);
                modern_client(&format!("socket {n}"), |mut params| {
                    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
                    client.ask("tools/call", params)
                });
            });
        }
        for n in 0..2 {
            let socket = &socket;
            scope.spawn(move || {
                let mut client = Client::connect(socket);
                client.greet(json!({ "elicitation": {} }));
                for round in 0..3 {
                    let about = format!("old socket {n} {round}");
                    let id = client.start("ask", json!({ "question": about }));
                    let asked = client.incoming("elicitation/create");
                    assert_eq!(asked["params"]["message"], about);
                    client.send(&answer(&asked, accept(&about)));
                    assert_eq!(text(&client.answer(&id)), about);
                }
            });
        }
        for n in 0..2 {
            let station = &station;
            scope.spawn(move || {
                let session = Session::of(station, "a", "2025-06-18", json!({ "elicitation": {} }));
                for round in 0..3 {
                    let about = format!("old web {n} {round}");
                    let call = json!({ "name": "ask", "arguments": { "question": about } });
                    let mut stream = session.start(&rpc(round, "tools/call", call));
                    let asked = stream.until(|message| message["method"] == "elicitation/create");
                    assert_eq!(asked["params"]["message"], about);
                    session.post(&answer(&asked, accept(&about))).expect(202);
                    let done = stream.until(|message| message["id"] == round);
                    assert_eq!(text(&done), about);
                }
            });
        }
    });
}
