//! Every tool, resource, prompt and task of a well-behaved legacy server, and the violations it notes.

use serde_json::{Value, json};

use crate::client::{Client, signal, text};

#[test]
fn echo_and_add_answer_what_they_were_given() {
    let mut client = Client::plain(&[]);
    let result = client.call("echo", json!({ "text": "grüße \u{1f980} \"\\\n" }));
    assert_eq!(text(&result), "grüße \u{1f980} \"\\\n");
    assert_eq!(result["structuredContent"]["text"], "grüße \u{1f980} \"\\\n");
    assert_eq!(text(&client.call("add", json!({ "a": 2, "b": 3 }))), "5");
    assert_eq!(client.call("add", json!({ "a": 0.5, "b": 2 }))["structuredContent"]["sum"], 2.5);
    let max = json!({ "a": i64::MAX, "b": 1 });
    assert!(client.call("add", max)["structuredContent"]["sum"].is_f64());
    for (tool, arguments) in [("add", json!({ "a": 1 })), ("echo", json!({ "text": 1 })), ("nope", json!({}))]
    {
        let params = json!({ "name": tool, "arguments": arguments });
        assert_eq!(client.ask("tools/call", params)["error"]["code"], -32602, "{tool}");
    }
    assert_eq!(client.ask("no/such", json!({}))["error"]["code"], -32601);
}

#[test]
fn a_sleeping_call_reports_progress_and_blocks_nobody() {
    let mut client = Client::plain(&[]);
    let arguments = json!({ "ms": 300, "steps": 3 });
    let params = json!({ "name": "sleep", "arguments": arguments, "_meta": { "progressToken": "t" } });
    let sleep = client.request("tools/call", params);
    let echo = client.start_call("echo", json!({ "text": "me first" }));
    assert_eq!(client.message()["id"], echo);
    for step in 1..=3 {
        let progress = client.message();
        assert_eq!(progress["method"], "notifications/progress");
        assert_eq!(progress["params"], json!({ "progressToken": "t", "progress": step, "total": 3 }));
    }
    assert_eq!(client.message()["id"], sleep);
    let quiet = client.call("sleep", json!({ "ms": 1, "steps": 5 }));
    assert_eq!(text(&quiet), "slept 1 ms");
    assert!(client.leftovers().is_empty(), "no token, no progress");
}

#[test]
fn a_cancelled_call_is_never_answered() {
    let mut client = Client::plain(&[]);
    let params = json!({
        "name": "sleep", "arguments": { "ms": 250, "steps": 2 }, "_meta": { "progressToken": 1 },
    });
    let cancelled = client.request("tools/call", params);
    let other = client.start_call("sleep", json!({ "ms": 400 }));
    client.notify("notifications/cancelled", json!({ "requestId": cancelled }));
    assert_eq!(client.message()["id"], other, "neither progress nor a result of the cancelled call");
    assert_eq!(client.whoami()["violations"], json!([]));
}

#[test]
fn questions_go_to_the_client_and_its_words_come_back() {
    let can = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let mut client = Client::legacy(&[], "2025-06-18", can);
    for (via, method, answer, said) in [
        (
            "elicitation",
            "elicitation/create",
            json!({ "action": "accept", "content": { "answer": "7" } }),
            "7",
        ),
        ("elicitation", "elicitation/create", json!({ "action": "decline" }), "decline"),
        ("sampling", "sampling/createMessage", json!({ "content": { "type": "text", "text": "hm" } }), "hm"),
        (
            "roots",
            "roots/list",
            json!({ "roots": [{ "uri": "file:///a" }, { "uri": "file:///b" }] }),
            "file:///a file:///b",
        ),
    ] {
        let call = client.start_call("ask", json!({ "question": "how many?", "via": via }));
        let asked = client.asked(method);
        assert_eq!(asked.to_string().contains("how many?"), via != "roots", "{asked}");
        client.reply(&asked, answer.clone());
        let result = client.response(&call)["result"].clone();
        assert_eq!(text(&result), said);
        assert_eq!(result["structuredContent"]["answer"], answer);
    }
    let call = client.start_call("ask", json!({ "question": "?", "progress": true }));
    let asked = client.asked("elicitation/create");
    let token = &asked["params"]["_meta"]["progressToken"];
    client.notify("notifications/progress", json!({ "progressToken": token, "progress": 1 }));
    let error = json!({ "code": -1, "message": "user rejected" });
    client.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "error": error }));
    let result = client.response(&call)["result"].clone();
    assert_eq!(result["isError"], true);
    assert_eq!(result["structuredContent"], json!({ "error": error, "progress": 1 }));
    assert_eq!(client.whoami()["violations"], json!([]));
}

#[test]
fn nobody_is_asked_who_cannot_answer_unless_forced() {
    let mut client = Client::plain(&[]);
    for via in ["elicitation", "sampling", "roots"] {
        let refused = client.call("ask", json!({ "via": via }));
        assert_eq!(refused["isError"], true, "{via}");
    }
    assert!(client.leftovers().is_empty());
    client.start_call("ask", json!({ "via": "roots", "force": true }));
    client.asked("roots/list");
}

#[test]
fn a_cancelled_call_takes_its_question_back() {
    let mut client = Client::legacy(&[], "2025-11-25", json!({ "elicitation": {} }));
    let call = client.start_call("ask", json!({ "question": "?" }));
    let asked = client.asked("elicitation/create");
    client.notify("notifications/cancelled", json!({ "requestId": call }));
    assert_eq!(client.notification("notifications/cancelled")["params"]["requestId"], asked["id"]);
    client.reply(&asked, json!({ "action": "cancel" }));
    assert_eq!(client.whoami()["violations"], json!([]), "that answer was on its way");
    assert!(client.leftovers().is_empty());
    client.reply(&asked, json!({ "action": "cancel" }));
    let violations = client.whoami()["violations"].clone();
    assert!(violations[0].as_str().is_some_and(|text| text.contains("nobody waits")), "{violations}");
}

#[test]
fn a_page_is_opened_and_reported_done() {
    let mut client = Client::legacy(&[], "2025-11-25", json!({ "elicitation": { "url": {} } }));
    let call = client.start_call("elicit_url", json!({ "url": "https://a.invalid/x" }));
    let params = client.asked("elicitation/create");
    assert_eq!(params["params"]["mode"], "url");
    assert_eq!(params["params"]["url"], "https://a.invalid/x");
    client.reply(&params, json!({ "action": "accept" }));
    assert_eq!(text(&client.response(&call)["result"]), "accept");
    let complete = client.notification("notifications/elicitation/complete");
    assert_eq!(complete["params"]["elicitationId"], params["params"]["elicitationId"]);

    let call = client.start_call("elicit_url", json!({ "as_error": true }));
    let error = client.response(&call)["error"].clone();
    assert_eq!(error["code"], -32042);
    let complete = client.notification("notifications/elicitation/complete");
    assert_eq!(complete["params"]["elicitationId"], error["data"]["elicitations"][0]["elicitationId"]);
}

#[test]
fn log_messages_obey_the_level() {
    let mut client = Client::plain(&[]);
    client.call("log", json!({ "level": "debug", "text": "one", "count": 2 }));
    assert_eq!(client.leftovers().len(), 2, "before any level everything is sent");
    assert_eq!(client.ask("logging/setLevel", json!({ "level": "error" }))["result"], json!({}));
    client.call("log", json!({ "level": "warning", "text": "two" }));
    assert!(client.leftovers().is_empty());
    client.call("log", json!({ "level": "critical", "text": "three" }));
    let params = json!({ "level": "critical", "logger": "demo", "data": "three" });
    assert_eq!(client.leftovers()[0]["params"], params);
    assert_eq!(client.ask("logging/setLevel", json!({ "level": "loud" }))["error"]["code"], -32602);
}

#[test]
fn big_results_are_whole() {
    let mut client = Client::plain(&[]);
    let result = client.call("big", json!({ "bytes": 3_000_001 }));
    let text = text(&result);
    assert_eq!(text.len(), 3_000_001);
    assert!(text.as_bytes().chunks(16).all(|chunk| b"0123456789abcdef".starts_with(chunk)));
    let params = json!({ "name": "big", "arguments": { "bytes": 64 * 1024 * 1024 + 1 } });
    assert_eq!(client.ask("tools/call", params)["error"]["code"], -32602);
}

#[test]
fn the_counter_is_a_subscribable_resource() {
    let mut client = Client::plain(&[]);
    let read = |client: &mut Client| {
        let response = client.ask("resources/read", json!({ "uri": "demo://counter" }));
        response["result"]["contents"][0]["text"].clone()
    };
    assert_eq!(read(&mut client), "0");
    client.call("counter_add", json!({}));
    assert!(client.leftovers().is_empty(), "nobody has subscribed");
    let counter = json!({ "uri": "demo://counter" });
    assert_eq!(client.ask("resources/subscribe", counter.clone())["result"], json!({}));
    assert_eq!(client.call("counter_add", json!({ "by": 4 }))["structuredContent"]["value"], 5);
    let updated = client.leftovers();
    assert_eq!(updated[0]["method"], "notifications/resources/updated");
    assert_eq!(updated[0]["params"], counter);
    assert_eq!(read(&mut client), "5");
    assert_eq!(client.ask("resources/unsubscribe", counter)["result"], json!({}));
    client.call("counter_add", json!({}));
    assert!(client.leftovers().is_empty());
    for method in ["resources/subscribe", "resources/read"] {
        assert_eq!(client.ask(method, json!({ "uri": "demo://no" }))["error"]["code"], -32002, "{method}");
    }
}

#[test]
fn templates_prompts_and_completion_work() {
    let mut client = Client::plain(&[]);
    let read = client.ask("resources/read", json!({ "uri": "demo://text/pipes" }));
    assert_eq!(read["result"]["contents"][0]["text"], "Text about pipes.");
    let prompt = client.ask("prompts/get", json!({ "name": "greet", "arguments": { "name": "Ada" } }));
    assert!(
        prompt["result"]["messages"][0]["content"]["text"].as_str().is_some_and(|text| text.contains("Ada"))
    );
    assert_eq!(client.ask("prompts/get", json!({ "name": "greet" }))["error"]["code"], -32602);
    for (reference, prefix, values) in [
        (json!({ "type": "ref/prompt", "name": "greet" }), "a", json!(["Ada", "Alan"])),
        (json!({ "type": "ref/resource", "uri": "demo://text/{name}" }), "po", json!(["polling"])),
    ] {
        let argument = json!({ "name": "name", "value": prefix });
        let response = client.ask("completion/complete", json!({ "ref": reference, "argument": argument }));
        assert_eq!(response["result"]["completion"]["values"], values);
    }
    for (method, key, name) in [
        ("resources/list", "resources", "counter"),
        ("resources/templates/list", "resourceTemplates", "text"),
        ("prompts/list", "prompts", "greet"),
    ] {
        assert_eq!(client.ask(method, json!({}))["result"][key][0]["name"], name);
    }
}

#[test]
fn the_list_of_tools_grows_and_comes_in_pages() {
    let mut client = Client::plain(&["--page-size", "5"]);
    assert_eq!(client.call("add_tool", json!({}))["structuredContent"]["name"], "dummy_1");
    assert_eq!(client.leftovers()[0]["method"], "notifications/tools/list_changed");
    assert_eq!(text(&client.call("dummy_1", json!({}))), "I am dummy_1.");
    let mut names = Vec::new();
    let mut params = json!({});
    loop {
        let page = client.ask("tools/list", params)["result"].clone();
        let tools = page["tools"].as_array().expect("tools").clone();
        assert!(tools.iter().all(|tool| tool["inputSchema"]["type"] == "object"));
        names.extend(tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()));
        match page.get("nextCursor") {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
        assert_eq!(tools.len(), 5);
    }
    assert_eq!(names.len(), 18);
    assert_eq!((names[0].as_str(), names[17].as_str()), ("echo", "dummy_1"));
    assert_eq!(client.ask("tools/list", json!({ "cursor": "" }))["error"]["code"], -32602);
}

fn start_task(client: &mut Client, arguments: Value, token: &str) -> Value {
    let params = json!({
        "name": "task", "arguments": arguments, "task": { "ttl": 60_000 }, "_meta": { "progressToken": token },
    });
    let task = client.ask("tools/call", params)["result"]["task"].clone();
    assert_eq!(task["status"], "working");
    assert_eq!(task["ttl"], 60_000);
    task["taskId"].clone()
}

#[test]
fn a_task_answers_at_once_and_yields_its_result_later() {
    let mut client = Client::legacy(&[], "2025-11-25", json!({ "elicitation": {} }));
    for (fail, status) in [(false, "completed"), (true, "failed")] {
        let id = start_task(&mut client, json!({ "ms": 30, "fail": fail }), status);
        let task = json!({ "taskId": id });
        let result = client.ask("tasks/result", task.clone())["result"].clone();
        assert_eq!(result["isError"] == true, fail);
        assert_eq!(result["_meta"]["io.modelcontextprotocol/related-task"], task);
        let told = client.notification("notifications/tasks/status");
        assert_eq!(told["params"]["status"], status);
        assert_eq!(client.ask("tasks/get", task.clone())["result"]["status"], status);
        assert_eq!(client.ask("tasks/cancel", task)["error"]["code"], -32602, "terminal");
        for step in 1..=2 {
            let progress = client.notification("notifications/progress");
            assert_eq!(
                (&progress["params"]["progress"], &progress["params"]["progressToken"]),
                (&json!(step), &json!(status))
            );
        }
    }
    assert_eq!(client.ask("tasks/list", json!({}))["result"]["tasks"].as_array().map(Vec::len), Some(2));
    assert_eq!(client.ask("tasks/get", json!({ "taskId": "no" }))["error"]["code"], -32602);
}

#[test]
fn a_task_can_ask_and_can_be_cancelled() {
    let mut client = Client::legacy(&[], "2025-11-25", json!({ "elicitation": {} }));
    let id = start_task(&mut client, json!({ "question": "sure?" }), "a");
    let asked = client.asked("elicitation/create");
    assert_eq!(asked["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], id);
    assert_eq!(client.notification("notifications/tasks/status")["params"]["status"], "input_required");
    client.reply(&asked, json!({ "action": "accept", "content": { "answer": "sure" } }));
    assert_eq!(text(&client.ask("tasks/result", json!({ "taskId": id }))["result"]), "sure");

    let id = start_task(&mut client, json!({ "ms": 60_000 }), "b");
    let waiting = client.request("tasks/result", json!({ "taskId": id }));
    assert_eq!(client.ask("tasks/cancel", json!({ "taskId": id }))["result"]["status"], "cancelled");
    assert_eq!(client.response(&waiting)["error"]["code"], -32602);

    let echo = json!({ "name": "echo", "arguments": {}, "task": {} });
    assert_eq!(client.ask("tools/call", echo)["error"]["code"], -32601, "echo is no task");
    assert_eq!(text(&client.call("task", json!({ "ms": 1 }))), "done after 1 ms", "nor must `task` be one");
    assert_eq!(client.whoami()["violations"], json!([]));
}

#[test]
fn a_task_is_forgotten_after_its_ttl() {
    let mut client = Client::plain(&[]);
    let params = json!({ "name": "task", "arguments": { "ms": 60_000 }, "task": { "ttl": 1 } });
    let task = json!({ "taskId": client.ask("tools/call", params)["result"]["task"]["taskId"] });
    assert_eq!(client.notification("notifications/tasks/status")["params"]["status"], "cancelled");
    assert_eq!(client.ask("tasks/get", task)["error"]["code"], -32602);
}

#[test]
fn whoami_knows_the_process_and_its_client() {
    let mut client = Client::plain(&["--name", "me"]);
    client.call("echo", json!({}));
    let me = client.whoami();
    assert_eq!(me["pid"], client.pid);
    assert_eq!(me["name"], "me");
    assert_eq!(me["era"], "legacy");
    assert_eq!(me["protocolVersion"], "2025-11-25");
    assert_eq!(me["clientInfo"]["name"], "pipe test");
    assert_eq!((&me["initializeCount"], &me["initializedCount"]), (&json!(1), &json!(1)));
    assert_eq!(me["requestsServed"], 2);
    assert_eq!(me["violations"], json!([]));
}

#[test]
fn violations_are_noted() {
    let mut client = Client::start(&[]);
    client.ask("tools/list", json!({}));
    let id = client.initialize("2025-11-25", json!({}));
    client.response(&id);
    let id = client.initialize("2025-11-25", json!({}));
    assert_eq!(client.response(&id)["error"]["code"], -32600);
    client.ask("tools/list", json!({}));
    client.notify("notifications/initialized", json!({}));
    client.notify("notifications/initialized", json!({}));
    client.send_line("no json");
    assert_eq!(client.response(&Value::Null)["error"]["code"], -32700);
    client.send_line("[]");
    assert_eq!(client.response(&Value::Null)["error"]["code"], -32600);
    client.send_line(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#);
    assert_eq!(client.response(&Value::Null)["error"]["code"], -32600);
    client.send_line(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    client.response(&json!(1));
    client.send_line(r#"{"id":"new","method":"ping"}"#);
    client.response(&json!("new"));
    client.notify("notifications/progress", json!({ "progressToken": 5, "progress": 1 }));
    client.notify("notifications/cancelled", json!({ "requestId": "unheard" }));
    client.notify("notifications/strange", json!({}));
    client.send(&json!({ "jsonrpc": "2.0", "id": 77, "result": {} }));
    for _ in 0..2 {
        let params =
            json!({ "name": "sleep", "arguments": { "ms": 60_000 }, "_meta": { "progressToken": 9 } });
        client.request("tools/call", params);
    }
    let violations = client.whoami()["violations"].clone();
    let noted: Vec<&str> = violations.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let expected = [
        "tools/list before initialize",
        "initialize twice",
        "tools/list before notifications/initialized",
        "notifications/initialized twice",
        "is not JSON",
        "not an object",
        "neither request, notification nor response",
        "request id 1 used twice",
        "without jsonrpc 2.0",
        "unknown token 5",
        "never was: \"unheard\"",
        "unexpected notification notifications/strange",
        "response to id 77",
        "progress token 9 used by two",
    ];
    assert_eq!(noted.len(), expected.len(), "{noted:#?}");
    for (noted, expected) in noted.iter().zip(expected) {
        assert!(noted.contains(expected), "{noted} is not {expected}");
    }
}

#[test]
fn what_arrives_is_journaled_as_it_is() {
    let path = std::env::temp_dir().join(format!("muxloop-journal-{}", std::process::id()));
    let mut client = Client::plain(&["--journal", path.to_str().expect("UTF-8")]);
    client.send_line(r#"  {"jsonrpc":"2.0","id":12345678901234567890, "method":"ping","params":{"n":1.10}}"#);
    client.send_line("junk");
    let counts = client.call("journal", json!({}))["structuredContent"].clone();
    assert_eq!(counts["lines"], 5);
    assert_eq!(counts["methods"]["ping"], 1);
    assert_eq!(counts["methods"]["notifications/initialized"], 1);
    let journal = std::fs::read_to_string(&path).expect("the journal");
    std::fs::remove_file(&path).expect("the journal is ours");
    let lines: Vec<&str> = journal.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].contains("initialize"));
    assert_eq!(
        lines[2],
        r#"  {"jsonrpc":"2.0","id":12345678901234567890, "method":"ping","params":{"n":1.10}}"#
    );
    assert_eq!(lines[3], "junk");
}

#[test]
fn batches_are_taken_in_the_one_revision_that_has_them() {
    let batch = r#"[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","id":"b","method":"ping"}]"#;
    let mut client = Client::legacy(&[], "2025-03-26", json!({}));
    client.send_line(batch);
    client.response(&json!("a"));
    client.response(&json!("b"));
    let mut client = Client::legacy(&[], "2025-06-18", json!({}));
    client.send_line(batch);
    assert_eq!(client.response(&Value::Null)["error"]["code"], -32600);
}

#[test]
fn the_end_of_stdin_and_sigterm_end_the_server() {
    let mut client = Client::plain(&[]);
    client.start_call("sleep", json!({ "ms": 600_000 }));
    let last = client.start_call("echo", json!({ "text": "last" }));
    client.close_stdin();
    client.response(&last);
    assert_eq!(client.exit_code(), Some(0));

    let mut client = Client::plain(&["--exit-on-eof", "no"]);
    client.call("echo", json!({}));
    client.close_stdin();
    signal("TERM", client.pid);
    assert_eq!(client.exit_code(), None);
}
