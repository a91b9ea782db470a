//! What a client asks and a child answers, without questions in between.

use serde_json::{Value, json};

use crate::cell::{Cell, Kind, OFF, none, refused};
use crate::client::{META, Version};

pub fn initialize(cell: &mut Cell) -> String {
    if cell.is_modern() {
        return cell.outcome("initialize", cell.client.introduction(), |_| false);
    }
    let greeting = &cell.client.greeting;
    assert_eq!(greeting["protocolVersion"], cell.version().name());
    assert_eq!(
        (&greeting["serverInfo"]["name"], &greeting["instructions"]),
        (&json!(cell.server), &json!("be brief"))
    );
    for capability in ["tools", "prompts", "resources", "completions", "logging"] {
        assert!(greeting["capabilities"][capability].is_object(), "{greeting}");
    }
    assert!(greeting["capabilities"].get("extensions").is_none(), "{greeting}");
    "works".into()
}

pub fn second_initialize(cell: &mut Cell) -> String {
    if cell.is_modern() {
        return none();
    }
    // Over HTTP it would be another session's first.
    if cell.client.front == crate::client::Front::Http {
        return "refused -32600".into();
    }
    cell.outcome("initialize", cell.client.introduction(), |_| false)
}

pub fn discover(cell: &mut Cell) -> String {
    let is_modern_child = cell.kind == Kind::Modern;
    cell.outcome("server/discover", json!({}), |result| {
        let capabilities = &result["capabilities"];
        result["supportedVersions"] == json!(["2026-07-28"])
            && result["instructions"] == "be brief"
            && result.get("serverInfo").is_none()
            && ["tools", "prompts", "resources", "completions", "logging"]
                .iter()
                .all(|name| capabilities[name].is_object())
            && (is_modern_child || capabilities.get("tasks").is_none())
    })
}

pub fn ping(cell: &mut Cell) -> String {
    cell.outcome("ping", json!({}), |result| *result == json!({}))
}

pub fn lists(cell: &mut Cell) -> String {
    let mut outcomes = Vec::new();
    for (method, member, name) in [
        ("tools/list", "tools", "echo"),
        ("prompts/list", "prompts", "greet"),
        ("resources/list", "resources", "counter"),
        ("resources/templates/list", "resourceTemplates", "text"),
    ] {
        outcomes.push(cell.outcome(method, json!({}), |result| {
            result[member].as_array().is_some_and(|list| list.iter().any(|entry| entry["name"] == name))
        }));
    }
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
    outcomes.swap_remove(0)
}

pub fn pages(cell: &mut Cell) -> String {
    let mut client = cell.another(OFF, cell.client.capabilities.clone());
    let (mut names, mut params) = (Vec::new(), json!({}));
    loop {
        let answer = client.ask("tools/list", params);
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert!(tools.len() <= 4, "{answer}");
        names.extend(tools.iter().map(|tool| tool["name"].to_string()));
        match answer["result"].get("nextCursor") {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert!(names.len() == count && count > 8, "{names:?}");
    let wrong = client.ask("tools/list", json!({ "cursor": "" }));
    assert_eq!(refused(&wrong), "refused -32602");
    "works".into()
}

pub fn get_prompt(cell: &mut Cell) -> String {
    let params = json!({ "name": "greet", "arguments": { "name": "Ada" } });
    cell.outcome("prompts/get", params, |result| {
        result["messages"][0]["content"]["text"] == "Please greet Ada in one friendly sentence."
    })
}

pub fn read_resource(cell: &mut Cell) -> String {
    cell.outcome("resources/read", json!({ "uri": "demo://text/pipes" }), |result| {
        result["contents"][0]["text"] == "Text about pipes."
    })
}

pub fn complete(cell: &mut Cell) -> String {
    let params = json!({
        "ref": { "type": "ref/prompt", "name": "greet" },
        "argument": { "name": "name", "value": "a" },
    });
    cell.outcome("completion/complete", params, |result| {
        result["completion"]["values"] == json!(["Ada", "Alan"])
    })
}

pub fn call(cell: &mut Cell) -> String {
    let params = json!({ "name": "echo", "arguments": { "text": "ü\n\u{1f600}" } });
    cell.outcome("tools/call", params, |result| {
        result["content"][0]["text"] == "ü\n\u{1f600}"
            && result["structuredContent"] == json!({ "text": "ü\n\u{1f600}" })
    })
}

/// A number as structured content; a legacy server puts it into an object.
pub fn structured(cell: &mut Cell) -> String {
    let tools = cell.client.ask("tools/list", json!({}))["result"]["tools"].clone();
    let measure = tools.as_array().unwrap().iter().find(|tool| tool["name"] == "measure").unwrap().clone();
    let answer = cell.client.call("measure", json!({}));
    assert_eq!(answer["result"]["content"][0]["text"], "36.6", "{answer}");
    match (&measure["outputSchema"]["type"], &answer["result"]["structuredContent"]) {
        (Value::Null, Value::Null) => "left out".into(),
        (kind, Value::Object(_)) if kind == "object" => "works".into(),
        (kind, Value::Number(_)) if kind == "number" => "works".into(),
        (kind, content) => panic!("{kind} but {content}"),
    }
}

fn kind_of_content(cell: &mut Cell, kind: &str) -> String {
    let answer = cell.client.call("content", json!({ "kinds": ["text", kind, "text"] }));
    let content = &answer["result"]["content"];
    assert_eq!(content.as_array().map(Vec::len), Some(3), "{answer}");
    for at in [0, 2] {
        assert_eq!(content[at], json!({ "type": "text", "text": "a text" }), "{answer}");
    }
    match content[1]["type"].as_str() {
        Some(told) if told == kind => "works".into(),
        Some("text") => {
            let note = content[1]["text"].as_str().unwrap_or_default();
            assert!(note.contains("audio/wav") || note.contains("demo://counter"), "{answer}");
            "as text".into()
        }
        _ => panic!("{answer}"),
    }
}

pub fn images(cell: &mut Cell) -> String {
    let image = kind_of_content(cell, "image");
    assert_eq!(image, kind_of_content(cell, "resource"));
    image
}

pub fn audio(cell: &mut Cell) -> String {
    kind_of_content(cell, "audio")
}

pub fn links(cell: &mut Cell) -> String {
    kind_of_content(cell, "resource_link")
}

pub fn unknown_tool(cell: &mut Cell) -> String {
    cell.outcome("tools/call", json!({ "name": "nothing", "arguments": {} }), |_| false)
}

pub fn unknown_resource(cell: &mut Cell) -> String {
    cell.outcome("resources/read", json!({ "uri": "demo://nothing" }), |_| false)
}

pub fn unknown_method(cell: &mut Cell) -> String {
    cell.outcome("nothing/at/all", json!({}), |_| false)
}

/// A method that only this server has.
pub fn vendor_method(cell: &mut Cell) -> String {
    let mut client = cell.another(OFF, cell.client.capabilities.clone());
    let answer = client.ask("vendor/method", json!({ "x": 1 }));
    if answer.get("error").is_some() {
        return refused(&answer);
    }
    assert_eq!(answer["result"]["said"], json!(1.5), "{answer}");
    "works".into()
}

pub fn progress(cell: &mut Cell) -> String {
    for token in [json!("7"), json!(7)] {
        let params = json!({
            "name": "sleep", "arguments": { "ms": 3, "steps": 3 }, "_meta": { "progressToken": token },
        });
        let id = cell.client.request("tools/call", params);
        for step in 1..=3 {
            let told = cell.client.incoming("notifications/progress");
            let (of, progress) = (&told["params"]["progressToken"], &told["params"]["progress"]);
            assert_eq!((of, progress), (&token, &json!(step)), "{told}");
        }
        let answer = cell.client.answer(&id);
        assert!(answer["result"].is_object(), "{answer}");
    }
    "works".into()
}

/// A request is taken back, and the child told so.
pub fn cancel(cell: &mut Cell) -> String {
    let before = cell.received("notifications/cancelled");
    let params = json!({
        "name": "sleep",
        "arguments": { "ms": 600_000, "steps": 600_000 },
        "_meta": { "progressToken": "long" },
    });
    let id = cell.client.request("tools/call", params);
    cell.client.incoming("notifications/progress");
    cell.client.cancel(&id);
    cell.until_received("notifications/cancelled", before);
    assert!(!cell.client.has(|message| message["id"] == id), "an answer to what was cancelled (P09)");
    "works".into()
}

/// Several messages in one: in 2025-03-26 only.
pub fn batch(cell: &mut Cell) -> String {
    let params = |text: &str| cell.client.dress(json!({ "name": "echo", "arguments": { "text": text } }));
    let one = json!({ "jsonrpc": "2.0", "id": "b1", "method": "tools/call", "params": params("one") });
    let two = json!({ "jsonrpc": "2.0", "id": "b2", "method": "tools/call", "params": params("two") });
    cell.client.send(&json!([one, two]));
    let first = cell.client.until(|message| message.get("id").is_some());
    if first.get("error").is_some() {
        assert_eq!(first["id"], Value::Null, "{first}");
        return refused(&first);
    }
    let second = cell.client.until(|message| message.get("id").is_some());
    let mut texts = [&first, &second].map(|answer| answer["result"]["content"][0]["text"].to_string());
    texts.sort();
    assert_eq!(texts, ["\"one\"", "\"two\""]);
    "works".into()
}

/// The keys of `_meta` that are nobody's business reach the child.
pub fn trace(cell: &mut Cell) -> String {
    let mark = format!("00-{}-{:?}", cell.client.front.name(), cell.version());
    let arguments = json!({ "text": "traced" });
    let meta = json!({ "traceparent": mark, "example.com/x": { "n": 1.50 } });
    let answer =
        cell.client.ask("tools/call", json!({ "name": "echo", "arguments": arguments, "_meta": meta }));
    assert_eq!(answer["result"]["content"][0]["text"], "traced", "{answer}");
    let journal = cell.station.mux.journal(cell.server);
    let got = journal.iter().find(|message| message["params"]["_meta"]["traceparent"] == json!(mark));
    let got = &got.expect("the trace")["params"]["_meta"];
    assert_eq!(got["example.com/x"], meta["example.com/x"], "{got}");
    for name in ["protocolVersion", "clientInfo", "clientCapabilities"] {
        assert_eq!(got.get(format!("{META}{name}")).is_some(), cell.kind == Kind::Modern, "{got}");
    }
    "works".into()
}

/// Whether the child knows who asks.
pub fn identity(cell: &mut Cell) -> String {
    let me = cell.whoami();
    assert_eq!(me["violations"], json!([]), "{me}");
    assert_eq!(me["era"], cell.kind.name(), "{me}");
    if me["clientInfo"] == cell.client.info() { "works".into() } else { "muxloop's own".into() }
}

/// A tool that runs as a task only (2025-11-25).
pub fn tasks(cell: &mut Cell) -> String {
    let is_newest_legacy = cell.version() == Version::V11;
    if !is_newest_legacy && !cell.is_modern() {
        return none();
    }
    let tools = cell.client.ask("tools/list", json!({}))["result"]["tools"].clone();
    let tools = tools.as_array().unwrap();
    if cell.is_modern() {
        assert!(tools.iter().all(|tool| tool.get("execution").is_none()), "{tools:?}");
    }
    let is_listed = tools.iter().any(|tool| tool["name"] == "task_only");
    let is_offered = cell.client.greeting["capabilities"].get("tasks").is_some();
    assert_eq!(is_listed, is_offered, "{:?}", cell.client.greeting);
    if !is_offered {
        return "not offered".into();
    }
    let params = json!({ "name": "task_only", "arguments": { "ms": 1 }, "task": { "ttl": 60_000 } });
    let created = cell.client.ask("tools/call", params);
    let id = &created["result"]["task"]["taskId"];
    cell.outcome("tasks/result", json!({ "taskId": id }), |result| {
        result["content"][0]["text"] == "done after 1 ms"
    })
}
