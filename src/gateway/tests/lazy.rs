//! Tools that are searched instead of listed (K02).

use super::*;
use crate::gateway::change::Change;
use crate::gateway::filter::Filter;

/// Servers `github` (10) and `files` (11), whose tool of a name is not offered.
fn lazy(naming: Naming) -> World {
    let offer = Offer { tools: Filter::new([], ["secret_*"]), ..Offer::default() };
    let servers = vec![(10, "github".to_string(), offer), (11, "files".to_string(), Offer::default())];
    let gateway =
        Gateway::new(Setup { naming, servers, list_timeout_ms: LIST_MS, lazy: true, ..Setup::default() });
    World { gateway, stage: Stage::default(), now: Time(1_000) }
}

fn tools_of(server: usize) -> Value {
    let schema = |properties: Value| json!({ "type": "object", "properties": properties });
    match server {
        10 => json!([
            { "name": "create_issue", "title": "New issue", "description": "Opens an issue.\nWith labels.",
                "inputSchema": schema(json!({ "repo": { "type": "string", "description": "Owner and name" },
                    "labels": { "type": "array", "items": schema(json!({ "colour": {} })) } })) },
            { "name": "listIssues", "description": "All issues of a repository", "inputSchema": schema(json!({})) },
            { "name": "secret_issue", "description": "Issue that nobody finds", "inputSchema": schema(json!({})) },
        ]),
        _ => json!([
            { "name": "read_file", "description": "Reads a file", "inputSchema": schema(json!({ "max": { "maximum": 1.50 } })) },
            { "name": "tool_search", "description": "Looks for hammers", "inputSchema": schema(json!({})) },
        ]),
    }
}

impl World {
    /// Answers what is asked about servers, but calls and those servers that are silent.
    fn tells(&mut self, silent: &[usize]) {
        let mut rest = VecDeque::new();
        while let Some((link, asked)) = self.stage.asked.pop_front() {
            let Some(server) = self.stage.links.get(link).copied() else { continue };
            let result = match asked["method"].as_str().unwrap() {
                _ if silent.contains(&server) => json!(null),
                "server/discover" => json!({ "capabilities": { "tools": { "listChanged": true } },
                    "instructions": format!("# Server {server}\nuse it") }),
                "tools/list" => json!({ "tools": tools_of(server) }),
                _ => json!(null),
            };
            match result.is_null() {
                true => rest.push_back((link, asked)),
                false => self.answers(&(link, asked), result),
            }
        }
        self.stage.asked = rest;
    }

    fn calls(&mut self, id: u64, name: &str, arguments: Value) {
        self.says(id, "tools/call", json!({ "name": name, "arguments": arguments }));
    }

    /// The result of a call of a tool of muxloop's own.
    #[track_caller]
    fn own_result(&mut self, name: &str, arguments: Value) -> Value {
        self.calls(50, name, arguments);
        self.tells(&[]);
        let told = self.hears(50);
        assert_eq!(told["result"]["resultType"], "complete", "{told}");
        assert_eq!(told["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "muxloop");
        let text = told["result"]["content"][0]["text"].as_str().unwrap();
        if told["result"]["isError"] == true {
            assert!(told["result"]["structuredContent"].is_null());
        } else {
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), told["result"]["structuredContent"]);
        }
        told["result"].clone()
    }

    #[track_caller]
    fn finds(&mut self, arguments: Value) -> Vec<String> {
        let result = self.own_result("tool_search", arguments);
        names(&json!({ "result": result["structuredContent"] }), "tools", "name")
    }

    /// The text with which a call fails.
    #[track_caller]
    fn own_error(&mut self, name: &str, arguments: Value) -> String {
        let result = self.own_result(name, arguments);
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_string()
    }
}

#[test]
fn three_tools_are_listed_and_tell_of_the_servers() {
    let mut world = lazy(Naming::Prefix);
    world.says(1, "tools/list", json!({}));
    world.silent();
    world.tells(&[]);
    let told = world.hears(1);
    assert_eq!(names(&told, "tools", "name"), ["tool_search", "tool_schema", "tool_invoke"]);
    let text = told["result"]["tools"][0]["description"].as_str().unwrap();
    assert!(text.ends_with("Servers:\n- github: Server 10\n- files: Server 11"), "{text}");
    assert!(told["result"]["nextCursor"].is_null());
    assert!(
        world.stage.asked.iter().all(|(_, asked)| asked["method"] == "subscriptions/listen"),
        "no tools yet"
    );
    world.says(2, "tools/list", json!({ "cursor": "m1.0" }));
    assert_eq!(world.hears(2)["error"]["code"], -32602);
    world.says(3, "server/discover", json!({}));
    let told = world.hears(3);
    let text = told["result"]["instructions"].as_str().unwrap();
    assert!(text.contains("`tool_search`") && text.contains("## github"), "{text}");
    world.quiet();
}

/// A server that cannot be asked is named, one without tools is not; the three are there in any case.
#[test]
fn servers_without_tools_are_not_named() {
    let mut world = lazy(Naming::Prefix);
    world.says(1, "server/discover", json!({}));
    world.says(2, "tools/list", json!({}));
    let hello = world.asked(10, "server/discover");
    world.answers(&hello, json!({ "capabilities": { "prompts": {} } }));
    world.advance(LIST_MS);
    assert_eq!(world.hears(1)["result"]["capabilities"]["tools"], json!({ "listChanged": true }));
    let told = world.hears(2);
    let text = told["result"]["tools"][0]["description"].as_str().unwrap();
    assert!(text.ends_with("Servers:\n- files"), "{text}");
}

#[test]
fn a_search_finds_tools_by_all_that_they_say() {
    let mut world = lazy(Naming::Prefix);
    let result = world.own_result("tool_search", json!({ "query": "create an issue" }));
    let hits = &result["structuredContent"]["tools"];
    assert_eq!(
        (&hits[0]["name"], &hits[0]["description"], &hits[0]["server"]),
        (&json!("github__create_issue"), &json!("Opens an issue."), &json!("github"))
    );
    assert!(hits[0]["score"].as_f64() > hits[1]["score"].as_f64(), "{hits}");
    assert_eq!((&hits[1]["name"], hits.as_array().unwrap().len()), (&json!("github__listIssues"), 2));
    assert_eq!(result["structuredContent"]["found"], 2);
    for query in ["New", "opens", "labels", "colour", "OWNER", "creat"] {
        assert_eq!(world.finds(json!({ "query": query })), ["github__create_issue"], "{query}");
    }
    assert_eq!(world.finds(json!({ "query": "files" }))[0], "files__read_file");
    assert_eq!(world.finds(json!({ "query": "issue read", "server": "files" })), ["files__read_file"]);
    assert_eq!(world.finds(json!({ "query": "issue", "limit": 1, "server": null })).len(), 1);
    assert_eq!(world.finds(json!({ "query": "nothing" })), [""; 0]);
    let all = ["github__create_issue", "github__listIssues", "files__read_file", "files__tool_search"];
    assert_eq!(world.finds(json!({ "query": "" })), all);
    world.quiet();
}

#[test]
fn a_search_follows_the_lists() {
    let mut world = lazy(Naming::Prefix);
    assert_eq!(world.finds(json!({ "query": "hammers" })), ["files__tool_search"]);
    let watch = world.stage.watches[1];
    world.server(watch, json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
    world.calls(1, "tool_search", json!({ "query": "hammers saws" }));
    world.silent();
    let list = world.asked(11, "tools/list");
    world.answers(&list, json!({ "tools": [{ "name": "saws" }] }));
    assert_eq!(world.hears(1)["result"]["structuredContent"]["tools"][0]["name"], "files__saws");
    // After a rest it is made again.
    world.gateway.rest(&mut world.stage);
    assert_eq!(world.finds(json!({ "query": "hammers" })), ["files__tool_search"]);
    world.quiet();
}

/// H03, P59: as a list does, a search waits once, and finds what there is.
#[test]
fn a_search_waits_so_long_and_no_longer() {
    let mut world = lazy(Naming::Prefix);
    world.calls(1, "tool_search", json!({ "query": "issue" }));
    world.tells(&[11]);
    world.silent();
    world.advance(LIST_MS);
    assert_eq!(world.hears(1)["result"]["structuredContent"]["found"], 2);
    world.calls(2, "tool_search", json!({ "query": "file" }));
    assert_eq!(world.hears(2)["result"]["structuredContent"]["found"], 0);
}

#[test]
fn a_schema_is_the_tool_as_it_would_be_listed() {
    let mut world = lazy(Naming::Prefix);
    let result =
        world.own_result("tool_schema", json!({ "names": ["files__read_file", "github__create_issue"] }));
    let tools = &result["structuredContent"]["tools"];
    let mut wanted = [tools_of(11)[0].clone(), tools_of(10)[0].clone()];
    wanted[0]["name"] = json!("files__read_file");
    wanted[1]["name"] = json!("github__create_issue");
    assert_eq!(*tools, json!(wanted));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"maximum\":1.5"), "{text}");
    // One name is enough, and one that is none takes nothing from the others.
    for names in [json!({ "names": "github__listIssues" }), json!({ "name": "github__listIssues" })] {
        assert_eq!(
            world.own_result("tool_schema", names)["structuredContent"]["tools"][0]["name"],
            "github__listIssues"
        );
    }
    let result =
        world.own_result("tool_schema", json!({ "names": ["github__listIssues", "github__craete_issue"] }));
    assert_eq!(
        names(&json!({ "result": result["structuredContent"] }), "tools", "name"),
        ["github__listIssues"]
    );
    let unknown = result["structuredContent"]["unknown"][0].as_str().unwrap();
    assert!(
        unknown.starts_with("unknown tool: github__craete_issue; nearest: github__create_issue, "),
        "{unknown}"
    );
    world.quiet();
}

#[test]
fn an_invocation_is_a_call_of_the_tool() {
    let mut world = lazy(Naming::Prefix);
    world.finds(json!({ "query": "x" }));
    let text = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{"progressToken":7,"k":1},"name":"tool_invoke","arguments":{"arguments":{ "n":1.50,"name":"x" },"name":"github__create_issue"},"requestState":"s","inputResponses":{}}}"#;
    world.client(text);
    let call = world.asked(10, "tools/call");
    let plain = text.replace("tool_invoke", "create_issue").replace(
        r#"{"arguments":{ "n":1.50,"name":"x" },"name":"github__create_issue"}"#,
        r#"{ "n":1.50,"name":"x" }"#,
    );
    assert_eq!(call.1, serde_json::from_str::<Value>(&plain).unwrap());
    assert_eq!(world.stage.bytes, plain.as_bytes(), "to the last byte");
    let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": 7, "progress": 1 } });
    world.server(call.0, progress.clone());
    assert_eq!(world.stage.told.pop_front(), Some(progress));
    let requests = json!({ "q": { "method": "elicitation/create", "params": { "message": "Name?" } } });
    world.answers(
        &call,
        json!({ "resultType": "input_required", "inputRequests": requests, "requestState": "t" }),
    );
    let told = world.hears(7);
    assert_eq!(told["result"]["inputRequests"]["q"]["params"]["message"], "[github] Name?");
    world.quiet();
}

#[test]
fn results_errors_and_cancellation_are_the_tools() {
    let mut world = lazy(Naming::Prefix);
    world.finds(json!({ "query": "x" }));
    world.calls(1, "tool_invoke", json!({ "name": "files__read_file" }));
    let call = world.asked(11, "tools/call");
    assert_eq!(call.1["params"], json!({ "name": "read_file", "arguments": {} }));
    let result =
        json!({ "content": [], "structuredContent": { "a": 1 }, "isError": true, "resultType": "complete" });
    world.answers(&call, result.clone());
    assert_eq!(world.hears(1)["result"], result);
    world.calls(2, "tool_invoke", json!({ "name": "files__read_file", "arguments": null }));
    let call = world.asked(11, "tools/call");
    assert_eq!(call.1["params"]["arguments"], json!({}));
    world.server(call.0, json!({ "jsonrpc": "2.0", "id": 2, "error": { "code": -32001, "message": "no" } }));
    assert_eq!(world.hears(2)["error"], json!({ "code": -32001, "message": "no" }));
    world.calls(3, "tool_invoke", json!({ "name": "files__read_file", "arguments": {} }));
    let call = world.asked(11, "tools/call");
    world.client(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
    assert_eq!(world.stage.closed.last(), Some(&call.0));
    // Who knows a name needs no invocation.
    world.calls(4, "files__read_file", json!({ "max": 1 }));
    world.asked(11, "tools/call");
    world.silent();
}

/// The first call of all may be for a tool of an earlier session.
#[test]
fn an_invocation_before_any_list_waits_for_the_lists() {
    let mut world = lazy(Naming::Prefix);
    world.calls(1, "tool_invoke", json!({ "name": "files__read_file", "arguments": { "max": 1 } }));
    world.tells(&[]);
    let call = world.asked(11, "tools/call");
    assert_eq!(call.1["params"], json!({ "name": "read_file", "arguments": { "max": 1 } }));
    world.silent();
}

/// H07: what is not offered is found and reached by no route, and not told as a nearest name either.
#[test]
fn what_is_denied_does_not_exist() {
    let mut world = lazy(Naming::Prefix);
    assert_eq!(world.finds(json!({ "query": "secret issue that nobody finds", "limit": 50 })).len(), 2);
    assert_eq!(world.finds(json!({ "query": "", "limit": 50 })).len(), 4);
    for (tool, arguments) in [
        ("tool_schema", json!({ "names": ["github__secret_issue"] })),
        ("tool_invoke", json!({ "name": "github__secret_issue", "arguments": {} })),
        ("tool_invoke", json!({ "name": "secret_issue" })),
        ("tool_invoke", json!({ "name": "tool_invoke", "arguments": { "name": "github__secret_issue" } })),
    ] {
        let text = world.own_error(tool, arguments);
        let (_, nearest) = text.split_once("nearest: ").unwrap();
        assert!(!nearest.contains("secret"), "{text}");
    }
    world.calls(1, "github__secret_issue", json!({}));
    world.tells(&[]);
    assert_eq!(world.hears(1)["error"]["code"], -32602);
    assert!(world.stage.asked.iter().all(|(_, asked)| asked["method"] != "tools/call"));
    world.quiet();
}

#[test]
fn unknown_names_get_the_three_nearest() {
    let mut world = lazy(Naming::Prefix);
    for (wrong, nearest) in [
        // A typing error; a name without its server, or with another verb; none at all.
        ("github__craete_issue", "github__create_issue, github__listIssues, files__read_file"),
        ("create_issue", "github__create_issue, github__listIssues, files__read_file"),
        ("file_read", "files__read_file, files__tool_search, github__create_issue"),
    ] {
        for tool in ["tool_invoke", "tool_schema"] {
            let text = world.own_error(tool, json!({ "name": wrong }));
            assert_eq!(
                text,
                format!("unknown tool: {wrong}; nearest: {nearest}; find tools with tool_search")
            );
        }
        world.calls(1, wrong, json!({}));
        world.tells(&[]);
        let error = world.hears(1)["error"].clone();
        assert_eq!(
            (&error["code"], error["message"].as_str().unwrap().contains(nearest)),
            (&json!(-32602), true)
        );
    }
    let text = world.own_error("tool_invoke", json!({ "name": "ä".repeat(5_000) }));
    assert!(text.len() < 400, "{text}");
}

#[test]
fn wrong_arguments_are_told_to_the_model() {
    let mut world = lazy(Naming::Prefix);
    for (tool, arguments, told) in [
        ("tool_search", json!({}), "`query` is missing"),
        ("tool_search", json!({ "query": 1 }), "`query` must be a string"),
        ("tool_search", json!({ "query": "x", "limit": 0 }), "`limit` must be"),
        ("tool_search", json!({ "query": "x", "limit": "2" }), "`limit` must be"),
        (
            "tool_search",
            json!({ "query": "x", "server": "no" }),
            "there is no server 'no'; servers: github, files",
        ),
        ("tool_search", json!({ "query": "x", "more": 1 }), "unknown argument `more`"),
        ("tool_search", json!([]), "`arguments` must be an object"),
        ("tool_schema", json!({}), "`names` must be 1 to 20"),
        ("tool_schema", json!({ "names": [1] }), "`names` must be a list of strings"),
        (
            "tool_schema",
            json!({ "names": (0..21).map(|n| n.to_string()).collect::<Vec<_>>() }),
            "`names` must be 1 to 20",
        ),
        ("tool_invoke", json!({}), "`name` is missing"),
        ("tool_invoke", json!({ "name": ["x"] }), "`name` must be a string"),
        (
            "tool_invoke",
            json!({ "name": "files__read_file", "arguments": "{}" }),
            "`arguments` must be an object with",
        ),
        ("tool_invoke", json!({ "name": "files__read_file", "max": 1 }), "belongs into `arguments`"),
    ] {
        let text = world.own_error(tool, arguments);
        assert!(text.contains(told), "{told}: {text}");
    }
    for name in ["tool_search", "tool_schema", "tool_invoke"] {
        world.says(1, "tools/call", json!({ "name": name }));
        world.tells(&[]);
        assert_eq!(world.hears(1)["result"]["isError"], true, "{name}");
    }
    world.quiet();
}

/// Where names have no prefix, a server's tool may have one of the three names.
#[test]
fn the_three_names_are_taken_first() {
    let mut world = lazy(Naming::Plain);
    assert_eq!(world.finds(json!({ "query": "hammers" })), ["tool_search"]);
    world.calls(1, "tool_invoke", json!({ "name": "tool_search", "arguments": { "size": 3 } }));
    let call = world.asked(11, "tools/call");
    assert_eq!(call.1["params"], json!({ "name": "tool_search", "arguments": { "size": 3 } }));
}

/// The three change with what they say about servers, not with the tools of these.
#[test]
fn changes_are_told_if_the_three_change() {
    let mut world = lazy(Naming::Prefix);
    world.says(1, "tools/list", json!({}));
    world.tells(&[11]);
    world.advance(LIST_MS);
    world.hears(1);
    world.says(2, "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    world.stage.told.pop_front().expect("acknowledged");
    world.calls(3, "tool_search", json!({ "query": "x" }));
    world.tells(&[11]);
    world.hears(3);
    world.silent();
    world.tells(&[]);
    let told = world.stage.told.pop_front().expect("the second server says what it is");
    assert_eq!(told["method"], "notifications/tools/list_changed");
    world.silent();
    world.says(4, "tools/list", json!({}));
    assert!(
        world.hears(4)["result"]["tools"][0]["description"].as_str().unwrap().contains("- files: Server 11")
    );
}

/// Prompts and resources are as without lazy tools, and so are all tools without it.
#[test]
fn nothing_else_is_lazy() {
    let mut world = lazy(Naming::Prefix);
    world.says(1, "prompts/list", json!({}));
    let hello = world.asked(10, "server/discover");
    world.answers(&hello, json!({ "capabilities": { "prompts": {} } }));
    let list = world.asked(10, "prompts/list");
    world.answers(&list, json!({ "prompts": [{ "name": "tool_search" }] }));
    world.tells(&[]);
    assert_eq!(names(&world.hears(1), "prompts", "name"), ["github__tool_search"]);
    world.says(2, "prompts/get", json!({ "name": "github__tool_search" }));
    world.asked(10, "prompts/get");
    let mut world = World::known(1);
    world.calls(1, "tool_search", json!({ "query": "same" }));
    world.serve();
    assert_eq!(world.hears(1)["error"]["message"], "unknown tool: \"tool_search\"");
}

/// H08: a hidden parameter stays hidden, whichever way the tool is called.
#[test]
fn hidden_parameters_are_out_of_what_is_invoked() {
    let hidden = [("key".to_string(), Some("\"k\"".into())), ("max".to_string(), None)].into();
    let change = Change { hidden, ..Change::default() };
    let offer = Offer { changes: [("read_file".to_string(), change)].into(), ..Offer::default() };
    let mut world = lazy(Naming::Prefix);
    let servers = vec![(11, "files".to_string(), offer)];
    world.gateway = Gateway::new(Setup { servers, list_timeout_ms: LIST_MS, lazy: true, ..Setup::default() });
    let told = world.own_result("tool_schema", json!({ "names": ["files__read_file"] }));
    let schema = &told["structuredContent"]["tools"][0]["inputSchema"];
    assert_eq!(*schema, json!({ "type": "object", "properties": {} }));
    for (given, sent) in [
        (json!({ "path": "x", "max": 9, "key": "mine" }), json!({ "path": "x", "key": "k" })),
        (Value::Null, json!({ "key": "k" })),
    ] {
        world.calls(2, "tool_invoke", json!({ "name": "files__read_file", "arguments": given }));
        let call = world.asked(11, "tools/call");
        assert_eq!(call.1["params"], json!({ "name": "read_file", "arguments": sent }));
        world.answers(&call, json!({ "content": [] }));
        world.hears(2);
    }
    world.client(
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"tool_invoke","arguments":{"key":"mine"},"arguments":{"name":"files__read_file"}}}"#,
    );
    assert_eq!(world.hears(3)["error"]["code"], -32602);
    world.quiet();
}
