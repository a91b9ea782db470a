//! Handshakes, the pinning of an era, and what only the modern era has.

use serde_json::{Value, json};

use crate::client::{Client, modern, text};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

fn modern_call(tool: &str, arguments: Value, capabilities: Value) -> Value {
    modern(json!({ "name": tool, "arguments": arguments }), capabilities)
}

#[test]
fn a_legacy_version_is_answered_with_itself_and_others_with_the_latest() {
    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
    ] {
        let mut client = Client::start(&["--name", "n", "--instructions", "read me"]);
        let id = client.initialize(asked, json!({}));
        let result = client.response(&id)["result"].clone();
        assert_eq!(result["protocolVersion"], answered);
        assert_eq!(result["serverInfo"]["name"], "n");
        assert_eq!(result["instructions"], "read me");
        assert_eq!(result["capabilities"].get("tasks").is_some(), answered == "2025-11-25");
    }
}

#[test]
fn the_first_telling_message_pins_the_era() {
    let mut client = Client::start(&[]);
    assert_eq!(client.ask("ping", json!({}))["result"], json!({}));
    assert_eq!(client.ask("tools/list", json!({}))["error"]["code"], -32600);
    let id = client.initialize("2025-11-25", json!({}));
    assert!(client.response(&id).get("result").is_some());
    assert_eq!(client.ask("server/discover", modern(json!({}), json!({})))["error"]["code"], -32601);

    let mut client = Client::start(&[]);
    assert!(client.ask("server/discover", modern(json!({}), json!({}))).get("result").is_some());
    let id = client.initialize("2025-11-25", json!({}));
    let error = client.response(&id)["error"].clone();
    assert_eq!(error["code"], -32022);
    assert_eq!(error["data"], json!({ "supported": ["2026-07-28"], "requested": "2025-11-25" }));
    assert_eq!(client.ask("ping", modern(json!({}), json!({})))["error"]["code"], -32601);
}

#[test]
fn the_era_can_be_chosen() {
    let mut client = Client::start(&["--era", "legacy"]);
    assert_eq!(client.ask("server/discover", modern(json!({}), json!({})))["error"]["code"], -32601);
    let id = client.initialize("2025-06-18", json!({}));
    assert!(client.response(&id).get("result").is_some());

    let mut client = Client::start(&["--era", "modern"]);
    let id = client.initialize("2025-06-18", json!({}));
    assert_eq!(client.response(&id)["error"]["code"], -32022);

    let mut client = Client::start(&["--era", "both"]);
    assert!(client.ask("server/discover", modern(json!({}), json!({}))).get("result").is_some());
    let id = client.initialize("2025-06-18", json!({}));
    assert!(client.response(&id).get("result").is_some());
    let response = client.ask("tools/call", modern_call("whoami", json!({}), json!({})));
    assert_eq!(response["result"]["structuredContent"]["era"], "modern");
    assert_eq!(client.whoami()["era"], "legacy");
}

#[test]
fn a_probe_ends_a_server_of_the_rust_sdk_kind() {
    let mut client = Client::start(&["--era", "legacy-exit"]);
    client.request("server/discover", modern(json!({}), json!({})));
    assert_eq!(client.exit_code(), Some(1));
    assert_eq!(client.line(), None);
}

#[test]
fn modern_requests_need_their_meta() {
    let mut client = Client::start(&["--era", "modern"]);
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    for (meta, code) in [
        (Value::Null, -32602),
        (json!({}), -32602),
        (json!({ version: "2026-07-28" }), -32602),
        (json!({ capabilities: {} }), -32602),
        (json!({ version: 7, capabilities: {} }), -32602),
        (json!({ version: "2026-07-28", capabilities: [] }), -32602),
        (json!({ version: "2025-11-25", capabilities: {} }), -32022),
    ] {
        let response = client.ask("tools/list", json!({ "_meta": meta }));
        assert_eq!(response["error"]["code"], code, "{meta}");
        if code == -32022 {
            let data = json!({ "supported": ["2026-07-28"], "requested": "2025-11-25" });
            assert_eq!(response["error"]["data"], data);
        }
    }
}

#[test]
fn modern_results_say_their_type_server_and_cache_hints() {
    let mut client = Client::start(&["--name", "n"]);
    for (method, params, cacheable) in [
        ("server/discover", json!({}), true),
        ("tools/list", json!({}), true),
        ("prompts/list", json!({}), true),
        ("resources/list", json!({}), true),
        ("resources/templates/list", json!({}), true),
        ("resources/read", json!({ "uri": "demo://counter" }), true),
        ("tools/call", json!({ "name": "echo", "arguments": { "text": "x" } }), false),
    ] {
        let result = client.ask(method, modern(params, json!({})))["result"].clone();
        assert_eq!(result["resultType"], "complete", "{method}");
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "n", "{method}");
        assert_eq!(result["ttlMs"].is_u64(), cacheable, "{method}");
        assert_eq!(result["cacheScope"].is_string(), cacheable, "{method}");
    }
    let missing = client.ask("resources/read", modern(json!({ "uri": "demo://no" }), json!({})));
    assert_eq!(missing["error"]["code"], -32602);
}

#[test]
fn a_listen_is_acknowledged_first_and_gets_only_what_it_asked_for() {
    let mut client = Client::start(&["--era", "modern"]);
    let filter = |filter: Value| modern(json!({ "notifications": filter }), json!({}));
    let wants = json!({
        "toolsListChanged": true,
        "promptsListChanged": true,
        "resourceSubscriptions": ["demo://counter", "demo://no"],
    });
    let all = client.request("subscriptions/listen", filter(wants));
    let acknowledged = client.message();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(acknowledged["params"]["_meta"][SUBSCRIPTION], all);
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": ["demo://counter"] });
    assert_eq!(acknowledged["params"]["notifications"], honoured);
    let tools = client.request("subscriptions/listen", filter(json!({ "toolsListChanged": true })));
    client.message();

    client.ask("tools/call", modern_call("counter_add", json!({}), json!({})));
    let updated = client.leftovers();
    assert_eq!(updated.len(), 1, "{updated:?}");
    assert_eq!(updated[0]["method"], "notifications/resources/updated");
    assert_eq!(updated[0]["params"]["uri"], "demo://counter");
    assert_eq!(updated[0]["params"]["_meta"][SUBSCRIPTION], all);

    client.notify("notifications/cancelled", json!({ "requestId": all }));
    client.ask("tools/call", modern_call("add_tool", json!({}), json!({})));
    let changed = client.leftovers();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0]["method"], "notifications/tools/list_changed");
    assert_eq!(changed[0]["params"]["_meta"][SUBSCRIPTION], tools);

    client.close_stdin();
    let farewell = client.message();
    assert_eq!(farewell["id"], tools);
    assert_eq!(farewell["result"]["resultType"], "complete");
    assert_eq!(farewell["result"]["_meta"][SUBSCRIPTION], tools);
    assert_eq!(client.message()["params"]["requestId"], tools);
    assert_eq!(client.exit_code(), Some(0));
}

#[test]
fn a_modern_question_is_a_result_and_its_answer_a_second_call() {
    let mut client = Client::start(&[]);
    let can = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    for (via, method, answer, said) in [
        (
            "elicitation",
            "elicitation/create",
            json!({ "action": "accept", "content": { "answer": "yes" } }),
            "yes",
        ),
        (
            "sampling",
            "sampling/createMessage",
            json!({ "content": { "type": "text", "text": "well" } }),
            "well",
        ),
        ("roots", "roots/list", json!({ "roots": [{ "uri": "file:///r" }] }), "file:///r"),
    ] {
        let call = modern_call("ask", json!({ "question": "ok?", "via": via }), can.clone());
        let asked = client.ask("tools/call", call.clone())["result"].clone();
        assert_eq!(asked["resultType"], "input_required");
        assert_eq!(asked["inputRequests"]["answer"]["method"], method);
        assert!(asked.get("ttlMs").is_none());

        let mut retry = call.clone();
        retry["requestState"] = asked["requestState"].clone();
        retry["inputResponses"] = json!({ "ignored": {} });
        assert_eq!(client.ask("tools/call", retry.clone())["result"], asked, "asks again");
        retry["inputResponses"] = json!({ "answer": answer, "ignored": {} });
        let done = client.ask("tools/call", retry.clone())["result"].clone();
        assert_eq!(done["resultType"], "complete");
        assert_eq!(text(&done), said);
        assert_eq!(done["structuredContent"]["answer"], answer);

        retry["requestState"] = json!("demo-0000000000000000");
        assert_eq!(client.ask("tools/call", retry.clone())["error"]["code"], -32602, "altered state");
        let refused = client.ask("tools/call", modern_call("ask", json!({ "via": via }), json!({})));
        assert_eq!(refused["error"]["code"], -32021);
        assert!(refused["error"]["data"]["requiredCapabilities"][via].is_object());
    }
}

#[test]
fn a_modern_url_is_asked_without_an_elicitation_id() {
    let mut client = Client::start(&[]);
    let call = modern_call("elicit_url", json!({}), json!({ "elicitation": { "url": {} } }));
    let asked = client.ask("tools/call", call.clone())["result"]["inputRequests"]["answer"].clone();
    assert_eq!(asked["params"]["mode"], "url");
    assert!(asked["params"].get("elicitationId").is_none());
    let refused =
        client.ask("tools/call", modern_call("elicit_url", json!({}), json!({ "elicitation": {} })));
    assert_eq!(refused["error"]["code"], -32021);
}

#[test]
fn modern_log_messages_need_a_level_in_the_request() {
    let mut client = Client::start(&[]);
    let call = |level: Option<&str>| {
        let mut params = modern_call("log", json!({ "level": "warning", "text": "t" }), json!({}));
        if let Some(level) = level {
            params["_meta"]["io.modelcontextprotocol/logLevel"] = json!(level);
        }
        params
    };
    for (level, sent) in
        [(None, false), (Some("error"), false), (Some("warning"), true), (Some("debug"), true)]
    {
        let result = client.ask("tools/call", call(level));
        assert_eq!(result["result"]["structuredContent"]["sent"], sent, "{level:?}");
        assert_eq!(client.leftovers().len(), usize::from(sent), "{level:?}");
    }
    assert_eq!(client.ask("tools/call", call(Some("loud")))["error"]["code"], -32602);
}
