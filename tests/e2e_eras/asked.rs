//! What a child asks its client: elicitation, sampling, roots (protocol.md §2.6, §4.2, §4.3).

use serde_json::{Value, json};

use crate::cell::{Cell, Kind, OFF, none, refused};
use crate::client::{META, Question, Reply, Version, obliging};

fn ask(via: &str) -> Value {
    json!({ "name": "ask", "arguments": { "via": via, "question": "how?" } })
}

fn interview(arguments: Value) -> Value {
    json!({ "name": "interview", "arguments": arguments })
}

fn asked(cell: &mut Cell, method: &str, params: Value, text: &str) -> String {
    let dialog = cell.client.converse(method, params, obliging);
    let outcome = cell.told(&dialog, |told| told == text);
    for question in dialog.by_request.iter().chain(&dialog.by_result) {
        assert!(question.get("id").is_none() && question.get("jsonrpc").is_none(), "{question}");
        let meta = &question["params"]["_meta"];
        assert!(meta.get(format!("{META}subscriptionId")).is_none(), "{question}");
    }
    outcome
}

pub fn form(cell: &mut Cell) -> String {
    asked(cell, "tools/call", ask("elicitation"), "E: how?")
}

pub fn sampling(cell: &mut Cell) -> String {
    asked(cell, "tools/call", ask("sampling"), "S: how?")
}

pub fn roots(cell: &mut Cell) -> String {
    asked(cell, "tools/call", ask("roots"), "file:///home/user")
}

pub fn page(cell: &mut Cell) -> String {
    let params = json!({ "name": "elicit_url", "arguments": { "url": "https://a.example/" } });
    let dialog = cell.client.converse("tools/call", params, obliging);
    for question in &dialog.by_request {
        assert!(question["params"]["elicitationId"].is_string(), "2025-11-25 needs one: {question}");
    }
    for question in &dialog.by_result {
        if cell.kind == Kind::Modern {
            assert!(question["params"].get("elicitationId").is_none(), "2026-07-28 has none: {question}");
        }
    }
    cell.told(&dialog, |text| text == "accept")
}

/// The error that says a page has to be seen first (2025-11-25).
pub fn page_by_error(cell: &mut Cell) -> String {
    if cell.kind == Kind::Modern {
        return none();
    }
    let arguments = json!({ "url": "https://a.example/", "as_error": true, "force": true });
    let answer = cell.client.call("elicit_url", arguments);
    if answer.get("error").is_some() {
        return refused(&answer);
    }
    let result = &answer["result"];
    assert_eq!(
        (&result["resultType"], result.get("requestState")),
        (&json!("input_required"), None),
        "{answer}"
    );
    let requests = result["inputRequests"].as_object().expect("questions");
    for question in requests.values() {
        assert_eq!(question["method"], "elicitation/create", "{answer}");
        assert_eq!(
            (&question["params"]["mode"], &question["params"]["url"]),
            (&json!("url"), &json!("https://a.example/"))
        );
        assert!(question["params"].get("elicitationId").is_none(), "{answer}");
    }
    "asked by `input_required`".into()
}

/// What the user did at the page is told to who was sent there.
pub fn page_seen(cell: &mut Cell) -> String {
    if cell.version() < Version::V11 || cell.kind == Kind::Modern {
        return none();
    }
    let params = json!({ "name": "elicit_url", "arguments": { "complete_ms": 0 } });
    let dialog = cell.client.converse("tools/call", params, obliging);
    cell.told(&dialog, |text| text == "accept");
    const COMPLETE: &str = "notifications/elicitation/complete";
    if !cell.is_modern() {
        // Those of calls before this may still be on their way.
        let asked = &dialog.by_request[0]["params"]["elicitationId"];
        cell.client
            .until(|message| message["method"] == COMPLETE && &message["params"]["elicitationId"] == asked);
        return "works".into();
    }
    cell.client.call("echo", json!({ "text": "fence" }));
    assert!(!cell.client.has(|message| message["method"] == COMPLETE), "2026-07-28 has none");
    "nothing".into()
}

pub fn by_prompt(cell: &mut Cell) -> String {
    asked(cell, "prompts/get", json!({ "name": "survey" }), "E: What is it about?")
}

pub fn by_resource(cell: &mut Cell) -> String {
    asked(cell, "resources/read", json!({ "uri": "demo://asked" }), "E: What shall be in it?")
}

/// Several questions at once.
pub fn several(cell: &mut Cell) -> String {
    let questions = json!([
        { "via": "sampling", "question": "one" },
        { "via": "roots" },
        { "via": "sampling", "question": "two" },
    ]);
    let params = interview(json!({ "questions": questions }));
    let dialog = cell.client.converse("tools/call", params, obliging);
    assert_eq!(dialog.by_request.len() + dialog.by_result.len(), 3);
    if cell.is_modern() {
        assert_eq!(dialog.rounds, 2, "all of them at once");
    }
    cell.told(&dialog, |text| text == "S: one | file:///home/user | S: two")
}

/// Questions after questions.
pub fn rounds(cell: &mut Cell) -> String {
    let questions = json!([{ "via": "sampling", "question": "a" }, { "via": "sampling", "question": "b" }]);
    let params = interview(json!({ "questions": questions, "rounds": 3 }));
    let dialog = cell.client.converse("tools/call", params, obliging);
    assert_eq!(dialog.by_request.len() + dialog.by_result.len(), 6);
    cell.told(&dialog, |text| text == "S: a | S: b | S: a #2 | S: b #2 | S: a #3 | S: b #3")
}

/// A result with nothing but state (2026-07-28): the same again.
pub fn pause(cell: &mut Cell) -> String {
    if cell.kind == Kind::Legacy {
        return none();
    }
    let questions = json!([{ "via": "sampling", "question": "a" }]);
    let params = interview(json!({ "questions": questions, "pause": true }));
    let dialog = cell.client.converse("tools/call", params, obliging);
    if cell.is_modern() {
        assert_eq!(dialog.rounds, 3);
    }
    cell.told(&dialog, |text| text == "S: a")
}

/// The user does not want to.
pub fn declined(cell: &mut Cell) -> String {
    let decline = |_: &Question| Reply::Result(json!({ "action": "decline" }));
    let dialog = cell.client.converse("tools/call", ask("elicitation"), decline);
    cell.told(&dialog, |text| text == "decline")
}

/// The client answers a form with an error.
pub fn form_failed(cell: &mut Cell) -> String {
    if cell.is_modern() {
        return none();
    }
    let dialog = cell.client.converse("tools/call", ask("elicitation"), |_| Reply::Error(-32603));
    if dialog.answer["result"]["content"][0]["text"] == "cancel" {
        return "taken as cancelled".into();
    }
    cell.told(&dialog, |_| false)
}

/// The client answers a request for sampling with an error.
pub fn sampling_failed(cell: &mut Cell) -> String {
    if cell.is_modern() {
        return none();
    }
    let dialog = cell.client.converse("tools/call", ask("sampling"), |_| Reply::Error(-1));
    cell.told(&dialog, |_| false)
}

/// A client that declared nothing.
pub fn undeclared(cell: &mut Cell) -> String {
    let mut outcomes = Vec::new();
    for via in ["elicitation", "sampling", "roots"] {
        let mut client = cell.another(cell.server, json!({}));
        let dialog = client.converse("tools/call", ask(via), |question| panic!("asked: {question}"));
        outcomes.push(cell.told(&dialog, |_| false));
    }
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
    outcomes.swap_remove(0)
}

/// Any client, where the server may not ask.
pub fn not_allowed(cell: &mut Cell) -> String {
    let mut client = cell.another(OFF, cell.client.capabilities.clone());
    let dialog = client.converse("tools/call", ask("sampling"), obliging);
    cell.told(&dialog, |text| text == "S: how?")
}

/// The repetition of a call after this result, with these input responses.
fn again(result: &Value, responses: Value) -> Value {
    let mut params = ask("sampling");
    params["requestState"] = result["requestState"].clone();
    params["inputResponses"] = responses;
    params
}

/// What answers the one question of this result.
fn good_answer(result: &Value) -> Value {
    assert_eq!(result["resultType"], "input_required", "{result}");
    let questions = result["inputRequests"].as_object().expect("questions");
    assert_eq!(questions.len(), 1, "{result}");
    let (key, question) = questions.iter().next().unwrap();
    let Reply::Result(said) = obliging(question) else { unreachable!("it obliges") };
    json!({ key: said, "other": { "x": 1 } })
}

/// A second round without the answer: asked again (P48).
pub fn missing_answers(cell: &mut Cell) -> String {
    if !cell.is_modern() {
        return none();
    }
    let mut result = cell.client.ask("tools/call", ask("sampling"))["result"].clone();
    for responses in [json!({ "other": {} }), json!({})] {
        good_answer(&result);
        result = cell.client.ask("tools/call", again(&result, responses))["result"].clone();
    }
    let last = cell.client.ask("tools/call", again(&result, good_answer(&result)));
    assert_eq!(last["result"]["content"][0]["text"], "S: how?", "{last}");
    "asked again".into()
}

/// A second round with something else than answers. The right ones are still good after it.
pub fn wrong_answers(cell: &mut Cell) -> String {
    if !cell.is_modern() {
        return none();
    }
    let first = cell.client.ask("tools/call", ask("sampling"))["result"].clone();
    let outcome = refused(&cell.client.ask("tools/call", again(&first, json!(["S: how?"]))));
    let last = cell.client.ask("tools/call", again(&first, good_answer(&first)));
    assert_eq!(last["result"]["content"][0]["text"], "S: how?", "{last}");
    outcome
}

/// The client tells how far it is with a question.
pub fn progress(cell: &mut Cell) -> String {
    if cell.is_modern() || cell.kind == Kind::Modern {
        return none();
    }
    let mut params = ask("sampling");
    params["arguments"]["progress"] = json!(true);
    let id = cell.client.request("tools/call", params);
    let question = cell.client.incoming("sampling/createMessage");
    let token = &question["params"]["_meta"]["progressToken"];
    for step in 1..=2 {
        cell.client.notify("notifications/progress", json!({ "progressToken": token, "progress": step }));
    }
    let Reply::Result(said) = obliging(&question) else { unreachable!() };
    cell.client.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": said }));
    let answer = cell.client.answer(&id);
    assert_eq!(answer["result"]["structuredContent"]["progress"], 2, "{answer}");
    "works".into()
}

/// A call is taken back while its question is open. A modern one has ended by then: its client just does not
/// come back.
pub fn cancelled(cell: &mut Cell) -> String {
    if cell.is_modern() {
        return none();
    }
    let before = cell.received("notifications/cancelled");
    let id = cell.client.request("tools/call", ask("sampling"));
    let question = cell.client.incoming("sampling/createMessage");
    cell.client.cancel(&id);
    if cell.kind == Kind::Legacy {
        cell.until_received("notifications/cancelled", before);
    }
    // An answer on its way is no harm.
    let Reply::Result(said) = obliging(&question) else { unreachable!() };
    cell.client.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": said }));
    cell.client.call("echo", json!({ "text": "fence" }));
    assert!(!cell.client.has(|message| message["id"] == id), "P09");
    "works".into()
}
