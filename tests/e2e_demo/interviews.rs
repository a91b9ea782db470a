//! Several questions and several rounds of them, and content of all kinds.

use serde_json::{Value, json};

use crate::client::{Client, modern, text};

fn questions(rounds: u64) -> Value {
    let asked =
        [json!({ "via": "sampling", "question": "one" }), json!({ "via": "elicitation", "question": "two" })];
    json!({ "questions": asked, "rounds": rounds })
}

fn everything() -> Value {
    json!({ "sampling": {}, "elicitation": {} })
}

#[test]
fn a_legacy_client_gets_a_round_at_once_and_the_next_after_it() {
    let mut client = Client::legacy(&[], "2025-11-25", everything());
    let call = client.start_call("interview", questions(2));
    for round in ["", " #2"] {
        let (one, two) = (client.asked("sampling/createMessage"), client.asked("elicitation/create"));
        assert!(one.to_string().contains(&format!("one{round}\"")), "{one}");
        assert!(two.to_string().contains(&format!("two{round}\"")), "{two}");
        client.reply(&two, json!({ "action": "accept", "content": { "answer": format!("b{round}") } }));
        client.reply(&one, json!({ "content": { "type": "text", "text": format!("a{round}") } }));
    }
    assert_eq!(text(&client.response(&call)["result"]), "a | b | a #2 | b #2");
    // One error ends it; the other answer comes too late.
    let call = client.start_call("interview", questions(2));
    let (one, two) = (client.asked("sampling/createMessage"), client.asked("elicitation/create"));
    client.send(&json!({ "jsonrpc": "2.0", "id": one["id"], "error": { "code": -1, "message": "no" } }));
    assert_eq!(client.response(&call)["error"]["code"], -32603);
    client.reply(&two, json!({ "action": "decline" }));
    assert_eq!(client.whoami()["violations"], json!([]));
    let mut mute = Client::plain(&[]);
    for (method, params) in [
        ("prompts/get", json!({ "name": "survey" })),
        ("resources/read", json!({ "uri": "demo://asked" })),
        ("tools/call", json!({ "name": "interview", "arguments": questions(1) })),
    ] {
        assert_eq!(mute.ask(method, params)["error"]["code"], -32603, "{method}");
    }
}

#[test]
fn a_modern_client_carries_the_answers_from_round_to_round() {
    let mut client = Client::start(&["--era", "modern"]);
    let mut arguments = questions(2);
    arguments["pause"] = json!(true);
    let call = |more: Value| {
        let mut params = json!({ "name": "interview", "arguments": arguments });
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        modern(params, everything())
    };
    let mut result = client.ask("tools/call", call(json!({})))["result"].clone();
    assert!(result.get("inputRequests").is_none() && result["requestState"].is_string(), "{result}");
    result =
        client.ask("tools/call", call(json!({ "requestState": result["requestState"] })))["result"].clone();
    for round in ["", " #2"] {
        let asked = &result["inputRequests"];
        assert_eq!(asked["q0"]["method"], "sampling/createMessage", "{result}");
        assert_eq!(asked["q1"]["params"]["message"], format!("two{round}"), "{result}");
        let responses = json!({
            "q0": { "content": { "type": "text", "text": format!("a{round}") } },
            "q1": { "action": "accept", "content": { "answer": format!("b{round}") } },
        });
        let state = result["requestState"].as_str().unwrap();
        let altered = call(json!({ "requestState": format!("{state} "), "inputResponses": responses }));
        assert_eq!(client.ask("tools/call", altered)["error"]["code"], -32602);
        let missing = call(json!({ "requestState": state, "inputResponses": { "q0": responses["q0"] } }));
        let again = client.ask("tools/call", missing)["result"].clone();
        assert_eq!(again["inputRequests"], result["inputRequests"], "asked again");
        let params = call(json!({ "requestState": state, "inputResponses": responses }));
        result = client.ask("tools/call", params)["result"].clone();
    }
    assert_eq!((text(&result), &result["resultType"]), ("a | b | a #2 | b #2", &json!("complete")));
    let error = client.ask("prompts/get", modern(json!({ "name": "survey" }), json!({})))["error"].clone();
    assert_eq!(error["code"], -32021, "{error}");
}

#[test]
fn content_is_of_every_kind() {
    let mut client = Client::plain(&[]);
    let content = client.call("content", json!({}))["content"].clone();
    let kinds: Vec<&str> =
        content.as_array().unwrap().iter().filter_map(|block| block["type"].as_str()).collect();
    assert_eq!(kinds, ["text", "image", "audio", "resource", "resource_link"]);
    assert_eq!(client.call("measure", json!({}))["structuredContent"], json!({ "value": 36.6 }));
    let mut client = Client::start(&["--era", "modern"]);
    let result = client.ask("tools/call", modern(json!({ "name": "measure" }), json!({})))["result"].clone();
    assert_eq!(result["structuredContent"], json!(36.6));
}
