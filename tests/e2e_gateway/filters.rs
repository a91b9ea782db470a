//! Filters (H07) by every route: what a server's filter denies is neither listed nor reached at its own socket,
//! over HTTP in both eras, or through a merged endpoint.

use crate::support::{Server, Station, call, text};
use crate::{HTTP, ask, is_tools_change, list, refused, session, tools};
use serde_json::{Value, json};

const KEYS: &str = r#"tools = { allow = ["echo", "w*"], deny = ["whoami"] }
prompts.deny = ["survey"]
resources.deny = ["demo://asked", "demo://text/*"]"#;

fn requests() -> Vec<(&'static str, Value)> {
    let complete = |of: Value| json!({ "ref": of, "argument": { "name": "name", "value": "A" } });
    vec![
        ("tools/call", json!({ "name": "whoami", "arguments": {} })),
        ("tools/call", json!({ "name": "add", "arguments": { "a": 1, "b": 2 } })),
        ("prompts/get", json!({ "name": "survey" })),
        ("resources/read", json!({ "uri": "demo://asked" })),
        ("resources/read", json!({ "uri": "demo://text/x" })),
        ("completion/complete", complete(json!({ "type": "ref/prompt", "name": "survey" }))),
        ("completion/complete", complete(json!({ "type": "ref/resource", "uri": "demo://text/{name}" }))),
    ]
}

#[test]
fn what_a_server_denies_is_had_by_no_route() {
    for options in [&[][..], &["--era", "modern"]] {
        let station =
            Station::start(HTTP, &[Server::demo("a", options).keys(KEYS), Server::demo("free", options)]);
        for path in ["/servers/a/mcp", "/mcp"] {
            let prefix = if path == "/mcp" { "a__" } else { "" };
            let session = session(&station, path);
            let of_a = |names: std::collections::BTreeSet<String>| -> Vec<String> {
                names.into_iter().filter(|name| name.starts_with(prefix)).collect()
            };
            assert_eq!(of_a(tools(&session)), [format!("{prefix}echo")], "{path}");
            assert_eq!(of_a(list(&session, "prompts/list")), [format!("{prefix}greet")], "{path}");
            if path != "/mcp" {
                assert_eq!(list(&session, "resources/list"), ["demo://counter".to_owned()].into());
                assert_eq!(list(&session, "resources/templates/list"), [].into());
                let told = session.request(4, "resources/subscribe", json!({ "uri": "demo://asked" }));
                assert_eq!(refused(&told), -32002, "{told}");
            }
            assert_eq!(text(&session.call(&format!("{prefix}echo"), json!({ "text": "x" }))), "x");
            for (method, mut params) in requests() {
                // On the merged endpoint the resources are those of the other server.
                if path == "/mcp" && params.to_string().contains("demo://") {
                    continue;
                }
                for name in ["/name", "/ref/name"] {
                    if let Some(Value::String(name)) = params.pointer_mut(name) {
                        *name = format!("{prefix}{name}");
                    }
                }
                let told = session.request(3, method, params.clone());
                assert!(matches!(refused(&told), -32602 | -32002), "{path} {method} {params}: {told}");
                let told = ask(&station, path, method, params.clone());
                assert_eq!(refused(&told), -32602, "{path} {method} {params}: {told}");
            }
        }
        let mut socket = station.mux.client_of("a", json!({}));
        let all = socket.ask("tools/list", json!({}))["result"]["tools"].clone();
        assert_eq!(all.as_array().expect("tools").len(), 1, "{all}");
        for (method, params) in requests() {
            let told = socket.ask(method, params.clone());
            assert!(matches!(refused(&told), -32602 | -32002), "{method} {params}: {told}");
        }
        assert!(tools(&session(&station, "/servers/free/mcp")).contains("whoami"));
        let called = station.mux.raw_journal("a");
        for denied in ["whoami", "survey", "demo://asked", "demo://text"] {
            assert!(!String::from_utf8_lossy(&called).contains(denied), "{denied} came to the server");
        }
    }
}

#[test]
fn other_filters_hold_at_once_and_the_process_stays() {
    let station = Station::start(HTTP, &[Server::demo("a", &[])]);
    let direct = session(&station, "/servers/a/mcp");
    let mut stream = direct.listen();
    let pid = direct.call("whoami", json!({}))["result"]["structuredContent"]["pid"].clone();
    assert!(pid.is_u64() && tools(&direct).contains("add"));
    station.write(HTTP, &[Server::demo("a", &[]).keys("tools.deny = [\"add\"]")]);
    station.control("reload", json!({}));
    stream.until(is_tools_change);
    assert!(!tools(&direct).contains("add"));
    assert_eq!(refused(&direct.call("add", json!({ "a": 1, "b": 2 }))), -32602);
    station.write(HTTP, &[Server::demo("a", &[])]);
    station.control("reload", json!({}));
    stream.until(is_tools_change);
    assert!(tools(&direct).contains("add"));
    assert_eq!(direct.call("whoami", json!({}))["result"]["structuredContent"]["pid"], pid, "it ran on");
}

/// A name that stands twice could be read one way here and another way by the server.
#[test]
fn a_name_that_stands_twice_is_no_way_around() {
    const FEW: &str = "[profiles.few]\ntools.allow = [\"*__echo\"]\nprompts.deny = [\"*__survey\"]\n";
    let head = format!("{HTTP}{FEW}");
    for (path, keys) in [("/servers/a/mcp", KEYS), ("/mcp", KEYS), ("/profiles/few/mcp", "")] {
        let station = Station::start(&head, &[Server::demo("a", &[]).keys(keys)]);
        let session = session(&station, path);
        let name = if path == "/servers/a/mcp" { "echo" } else { "a__echo" };
        let survey = name.replace("echo", "survey");
        let plain = call(1, name, json!({ "text": "x" })).to_string();
        let greet = name.replace("echo", "greet");
        let complete = |of: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{{{of},"argument":{{"name":"name","value":"A"}}}}}}"#
            )
        };
        for twice in [
            plain.replacen("\"name\":", "\"name\":\"whoami\",\"name\":", 1),
            plain.replacen("\"name\":", "\"n\\u0061me\":\"whoami\",\"name\":", 1),
            plain.replacen("\"params\":", "\"params\":{\"name\":\"whoami\"},\"params\":", 1),
            complete(&format!(r#""ref":{{"type":"ref/prompt","name":"{greet}","name":"{survey}"}}"#)),
            complete(&format!(r#""ref":{{"type":"ref/prompt","name":"{survey}","name":"{greet}"}}"#)),
            complete(&format!(
                r#""ref":{{"type":"ref/prompt","name":"{greet}"}},"ref":{{"type":"ref/prompt","name":"{survey}"}}"#
            )),
        ] {
            let asks = session.dress(crate::support::Ask::post_text(path, &twice));
            let told = station.ask(&asks).text();
            assert!(told.contains("error"), "{path} {twice}: {told}");
        }
        let journal = station.mux.raw_journal("a");
        let journal = String::from_utf8_lossy(&journal);
        assert!(!journal.contains("whoami") && !journal.contains("survey"), "{path}: {journal}");
    }
}
