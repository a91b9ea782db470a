//! Tools that are searched instead of listed (K02), and lists of servers that do not run (B08).

use crate::support::base::mux::Mux;
use crate::support::{Server, Station, answer, call, structured, text};
use crate::{HTTP, ask, session, tools};
use serde_json::{Value, json};

const LAZY: &str = "http = \"127.0.0.1:0\"\n[gateway]\ntools = \"lazy\"\n";

/// From a few words to the answer, as a model would go: in both eras, with questions on the way.
#[test]
fn a_tool_is_found_described_and_run() {
    let servers =
        [Server::demo("a", &[]).keys("interactive = \"serialize\""), Server::demo("b", &["--era", "modern"])];
    let station = Station::start(LAZY, &servers);
    let session = session(&station, "/mcp");
    let own = ["tool_invoke", "tool_schema", "tool_search"].map(String::from);
    assert_eq!(tools(&session), own.into());
    let told = session.call("tool_search", json!({ "query": "add numbers", "server": "b" }));
    let found = structured(&told);
    assert_eq!(found["tools"][0]["name"], "b__add", "{found}");
    let told = session.call("tool_schema", json!({ "name": "b__add" }));
    let schema = structured(&told);
    assert_eq!(schema["tools"][0]["inputSchema"]["required"], json!(["a", "b"]), "{schema}");
    let invoked = json!({ "name": "b__add", "arguments": { "a": 2, "b": 40 } });
    assert_eq!(structured(&session.call("tool_invoke", invoked.clone()))["sum"], 42);
    let told = ask(&station, "/mcp", "tools/call", json!({ "name": "tool_invoke", "arguments": invoked }));
    assert_eq!(told["result"]["structuredContent"]["sum"], 42, "{told}");

    for server in ["a", "b"] {
        let asks = json!({ "name": format!("{server}__ask"), "arguments": { "question": "Q", "via": "elicitation" } });
        let mut http = session.start(&call(9, "tool_invoke", asks));
        let asked = http.until(|message| message["method"] == "elicitation/create");
        assert_eq!(asked["params"]["message"], format!("[{server}] Q"));
        session
            .post(&answer(&asked, json!({ "action": "accept", "content": { "answer": "A" } })))
            .expect(202);
        assert_eq!(text(&http.until(|message| message["id"] == 9)), "A");
    }
    // Three tools instead of all of them are what this is for.
    let report = station.control("status", json!({}));
    let tokens = |name: &str| {
        let all = report["servers"].as_array().expect("servers");
        let server = all.iter().find(|server| server["name"] == name).expect("this one");
        server["tool_tokens"].as_u64().unwrap_or_else(|| panic!("no tokens: {server}"))
    };
    assert!(tokens("gateway") < tokens("a"), "{report}");
}

/// What the servers have is known from the run before: their lists come at once, and start nobody.
#[test]
fn lists_of_servers_that_have_not_run_are_there() {
    let server = |name: &'static str| {
        Server::script(name, "exec BINARY demo-server --name slow")
            .keys("lazy_start = true\nera = \"legacy\"")
    };
    let servers = [server("a"), server("b")];
    let mut station = Station::start(HTTP, &servers);
    let known = tools(&session(&station, "/mcp"));
    assert!(known.contains("a__echo") && known.contains("b__echo"), "{known:?}");
    station.mux.stop();
    let mux = Mux::run(station.mux.dir.clone(), &["-c", "mux.toml"], |_| {});
    let address = crate::support::station::port(&mux.wait_log("listening on http://"));
    let station = Station { mux, address };
    let session = session(&station, "/mcp");
    assert_eq!(tools(&session), known);
    let told: Value = ask(&station, "/mcp", "tools/list", json!({}));
    assert_eq!(told["result"]["tools"].as_array().expect("tools").len(), known.len());
    station.mux.assert_logged(0, "started, pid");
    assert_eq!(text(&session.call("b__echo", json!({ "text": "x" }))), "x");
    station.mux.assert_logged(1, "started, pid");
}
