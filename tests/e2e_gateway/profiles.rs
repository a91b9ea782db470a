//! Profiles (H08): parts of the merged endpoint at paths of their own, of which nothing else can be had.

use crate::support::{Ask, Server, Station, initialize, text};
use crate::{HTTP, ask, list, refused, session, tools};
use serde_json::{Value, json};

const PROFILES: &str = r#"
[profiles.few]
servers = ["a"]
tools.allow = ["*__echo", "*__add"]
prompts.deny = ["*__survey"]
resources.deny = ["demo://asked", "demo://text/*"]
[profiles.most]
tools.deny = ["b__*"]
"#;

fn station(more: &str) -> Station {
    let head = format!("{HTTP}{PROFILES}{more}");
    Station::start(&head, &[Server::demo("a", &[]), Server::demo("b", &["--era", "modern"])])
}

#[test]
fn a_profile_has_what_it_names_and_nothing_else_in_both_eras() {
    let station = station("");
    let few = session(&station, "/profiles/few/mcp");
    assert_eq!(tools(&few), ["a__add", "a__echo"].map(String::from).into());
    assert_eq!(list(&few, "prompts/list"), ["a__greet"].map(String::from).into());
    assert_eq!(list(&few, "resources/list"), ["demo://counter"].map(String::from).into());
    assert_eq!(list(&few, "resources/templates/list"), [].into());
    assert_eq!(text(&few.call("a__echo", json!({ "text": "x" }))), "x");
    let most = session(&station, "/profiles/most/mcp");
    let known = tools(&most);
    assert!(known.contains("a__whoami") && !known.iter().any(|name| name.starts_with("b__")), "{known:?}");
    assert!(list(&most, "prompts/list").contains("b__greet"));
    // The endpoint of all servers is the same as without profiles.
    let all = tools(&session(&station, "/mcp"));
    assert!(all.contains("a__whoami") && all.contains("b__whoami"), "{all:?}");

    for (method, params) in [
        ("tools/call", json!({ "name": "a__whoami", "arguments": {} })),
        ("tools/call", json!({ "name": "whoami", "arguments": {} })),
        ("tools/call", json!({ "name": "b__echo", "arguments": { "text": "x" } })),
        ("tools/call", json!({ "name": "tool_invoke", "arguments": { "name": "a__whoami" } })),
        ("prompts/get", json!({ "name": "a__survey" })),
        ("prompts/get", json!({ "name": "b__greet", "arguments": { "name": "x" } })),
        ("resources/read", json!({ "uri": "demo://asked" })),
        ("resources/read", json!({ "uri": "mux+a:demo://asked" })),
        ("resources/read", json!({ "uri": "mux+b:demo://counter" })),
        ("resources/read", json!({ "uri": "demo://text/x" })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "a__survey" },
            "argument": { "name": "topic", "value": "p" } }),
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/resource", "uri": "demo://text/{name}" },
            "argument": { "name": "name", "value": "A" } }),
        ),
    ] {
        let told = ask(&station, "/profiles/few/mcp", method, params.clone());
        assert_eq!(refused(&told), -32602, "{method} {params}: {told}");
        let told = few.request(3, method, params.clone());
        assert!(matches!(refused(&told), -32602 | -32002), "{method} {params}: {told}");
    }
    let told = few.request(4, "resources/subscribe", json!({ "uri": "demo://asked" }));
    assert!(refused(&told) < 0, "{told}");
    assert_eq!(station.mux.methods("b").iter().filter(|method| *method == "tools/call").count(), 0);
}

#[test]
fn an_unknown_profile_is_told_which_there_are() {
    let station = station("");
    for path in ["/profiles/fwe/mcp", "/profiles/fwe", "/profiles/fwe/sse", "/profiles/Few/mcp"] {
        let reply = station.ask(&Ask::post(path, &initialize("2025-11-25", json!({})))).expect(404);
        let why = reply.message()["error"]["message"].as_str().expect("why").to_owned();
        assert!(why.contains("there are few, most"), "{path}: {why}");
    }
    // Names that servers and profiles share are no way around.
    station.ask(&Ask::post("/servers/gateway/mcp", &initialize("2025-11-25", json!({})))).expect(404);
    let plain = Station::demo(&[], "");
    let reply = plain.ask(&Ask::post("/profiles/few/mcp", &json!({}))).expect(404);
    assert!(reply.text().contains("the configuration has none"), "{}", reply.text());
}

#[test]
fn searched_tools_are_those_of_the_profile() {
    let station = station("[gateway]\ntools = \"lazy\"\n");
    let few = session(&station, "/profiles/few/mcp");
    let names = tools(&few);
    assert_eq!(names, ["tool_invoke", "tool_schema", "tool_search"].map(String::from).into());
    let found = few.call("tool_search", json!({ "query": "", "limit": 50 }));
    let found = found["result"]["structuredContent"]["tools"].as_array().expect("tools").clone();
    let found: Vec<&Value> = found.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(found, ["a__echo", "a__add"]);
    for (tool, arguments) in [
        ("tool_schema", json!({ "names": ["a__whoami"] })),
        ("tool_invoke", json!({ "name": "a__whoami", "arguments": {} })),
        ("tool_invoke", json!({ "name": "b__echo", "arguments": { "text": "x" } })),
        ("tool_search", json!({ "query": "echo", "server": "b" })),
    ] {
        let told = few.call(tool, arguments);
        assert_eq!(told["result"]["isError"], true, "{told}");
    }
    let told = few.call("tool_invoke", json!({ "name": "a__echo", "arguments": { "text": "y" } }));
    assert_eq!(text(&told), "y");
}
