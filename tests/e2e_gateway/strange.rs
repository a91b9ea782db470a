//! Servers that are slow, silent, dead or odd behind the merged endpoint (H03, issue "Bad input"): each costs
//! its own things at most, is named in the log, and nothing waits for it longer than said.

use crate::support::{PATIENCE, Server, Session, Station, modern, text};
use crate::{HTTP, ask, is_tools_change, list, refused, session, tools};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// A list waits 400 ms for a server.
const IMPATIENT: &str = "http = \"127.0.0.1:0\"\n[gateway]\nlist_timeout_ms = 400\n";

/// The server that must not be disturbed.
fn good() -> Server {
    Server::demo("good", &[])
}

fn with_tools(name: &str, result: Value) -> Server {
    Server::demo(name, &["--answer", &format!("tools/list={result}")])
}

/// Starts them, and looks whether the good one is there and works.
fn beside(odd: Server) -> (Station, Session) {
    let station = Station::start(IMPATIENT, &[odd, good()]);
    let session = session(&station, "/mcp");
    assert!(tools(&session).contains("good__echo"));
    assert_good_works(&session);
    (station, session)
}

fn assert_good_works(session: &Session) {
    assert_eq!(text(&session.call("good__echo", json!({ "text": "x" }))), "x");
}

fn of_odd(session: &Session) -> Vec<String> {
    tools(session).into_iter().filter(|name| name.starts_with("odd__")).collect()
}

#[test]
fn pages_that_go_in_circles_end() {
    let tools =
        json!({ "tools": [{ "name": "t", "inputSchema": { "type": "object" } }], "nextCursor": "again" });
    let (station, session) = beside(with_tools("odd", tools));
    assert_eq!(of_odd(&session), ["odd__t"]);
    station.mux.wait_log("server 'odd': tools/list goes in circles");
}

#[test]
fn odd_tools_do_not_spoil_the_list() {
    let tools = json!({ "tools": [
        7, null, {}, { "name": 7 }, { "name": "twice", "description": "first", "inputSchema": { "type": "object" } },
        { "name": "twice", "description": "second" }, { "name": "typo", "inputSchema": { "type": "strng" } },
        { "name": "bare", "description": null, "annotations": 5 }, { "name": "", "inputSchema": { "type": "object" } },
        { "name": "sp ace/ü", "inputSchema": { "type": "object" } },
    ] });
    let (station, session) = beside(with_tools("odd", tools));
    let told = session.request(3, "tools/list", json!({}));
    let all = told["result"]["tools"].as_array().expect("tools").clone();
    let odd: Vec<&Value> = all
        .iter()
        .filter(|tool| tool["name"].as_str().is_some_and(|name| name.starts_with("odd__")))
        .collect();
    assert_eq!(odd.len(), 5, "{odd:?}");
    for tool in &all {
        let name = tool["name"].as_str().expect("a name");
        let fits = |char: char| char.is_ascii_alphanumeric() || "_-".contains(char);
        assert!(!name.is_empty() && name.len() <= 64 && name.chars().all(fits), "{name}");
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        assert!(tool.get("description").is_none_or(Value::is_string), "{tool}");
        assert!(tool.get("annotations").is_none_or(Value::is_object), "{tool}");
    }
    assert_eq!(odd[0]["description"], "first");
    for flaw in ["an item without `name`", "\"twice\" is there twice", "\"typo\" has no valid inputSchema"] {
        station.mux.wait_log(flaw);
    }
    // What is listed can be called, whatever it is called.
    for tool in odd {
        let told = session.call(tool["name"].as_str().unwrap(), json!({}));
        let why = told["error"]["message"].as_str().unwrap_or_default();
        assert!(
            !why.contains("on the merged endpoint") && why.contains("unknown tool"),
            "by its server: {told}"
        );
    }
}

#[test]
fn lists_that_are_none_are_left_out() {
    for (odd, logged) in [
        (with_tools("odd", json!({ "tools": "none" })), "gave no list for tools/list"),
        (with_tools("odd", json!({})), "gave no list for tools/list"),
        (Server::demo("odd", &["--refuse", "tools/list"]), "gave no list for tools/list"),
    ] {
        let (station, session) = beside(odd);
        assert_eq!(of_odd(&session), Vec::<String>::new());
        station.mux.wait_log(logged);
    }
}

#[test]
fn a_list_of_ten_megabytes_is_served_in_pages() {
    let station = Station::start_with(HTTP, &[good(), huge()], &[]);
    let tool = |n: usize| json!({ "name": format!("t{n}"), "description": "d".repeat(1_000), "inputSchema": { "type": "object" } });
    let all: Vec<Value> = (0..10_000).map(tool).collect();
    fs::write(station.mux.path("huge.json"), json!(all).to_string()).unwrap();
    station.control("restart", json!({ "server": "huge" }));
    let session = session(&station, "/mcp");
    let mut params = json!({});
    let mut seen = 0;
    let mut pages = 0;
    loop {
        let page = session.request(2, "tools/list", params);
        assert!(page.to_string().len() < 5 << 20);
        let all = page["result"]["tools"].as_array().expect("tools").clone();
        seen += all.iter().filter(|tool| tool["name"].as_str().unwrap().starts_with("huge__t")).count();
        pages += 1;
        match page["result"].get("nextCursor") {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
    }
    assert!(seen == 10_000 && pages > 2, "{seen} in {pages}");
    assert_good_works(&session);
}

/// A server whose list of tools is a file.
fn huge() -> Server {
    let script = r#"while read -r line; do
        id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
        case $line in
        *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"huge","version":"1"}}}\n' "$id" ;;
        *tools/list*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":' "$id"; cat DIR/huge.json || printf '[]'; printf '}}\n' ;;
        esac
    done"#;
    Server::script("huge", script).keys("era = \"legacy\"")
}

#[test]
fn nobody_waits_long_for_a_server_that_never_answers() {
    for options in [&["--no-answer", "tools/list"][..], &["--hang-initialize"], &["--slow-start", "600000"]] {
        let station = Station::start(IMPATIENT, &[Server::demo("odd", options), good()]);
        let session = session(&station, "/mcp");
        let before = Instant::now();
        assert!(tools(&session).contains("good__echo"), "{options:?}");
        // Once for what it can do, once for its list, and not again for the next list.
        assert!(before.elapsed() < Duration::from_millis(5_000), "{options:?}: {:?}", before.elapsed());
        let again = Instant::now();
        for id in 5..10 {
            session.request(id, "tools/list", json!({}));
        }
        assert!(again.elapsed() < Duration::from_millis(1_500), "{options:?}: {:?}", again.elapsed());
        assert_good_works(&session);
        let told = session.call("odd__echo", json!({ "text": "x" }));
        assert_eq!(refused(&told), -32602, "{options:?}: {told}");
    }
}

#[test]
fn a_server_that_comes_late_is_told() {
    let late = Server::demo("late", &["--slow-start", "1500", "--instructions", "come late"]);
    let station = Station::start(IMPATIENT, &[late, good()]);
    let early = session(&station, "/mcp");
    let mut stream = early.listen();
    assert!(!tools(&early).contains("late__echo"));
    while !tools(&early).contains("late__echo") {
        stream.until(is_tools_change);
    }
    assert_eq!(text(&early.call("late__echo", json!({ "text": "x" }))), "x");
    // Clients that come now are told of it in the handshake.
    let reply =
        station.ask(&crate::support::Ask::post("/mcp", &crate::support::initialize("2025-11-25", json!({}))));
    let told = reply.expect(200).message();
    assert!(told["result"]["instructions"].as_str().unwrap_or_default().contains("come late"), "{told}");
}

#[test]
fn a_server_that_cannot_start_is_told_when_it_can() {
    let script = "test -e DIR/ok && exec BINARY demo-server; exit 1";
    let station = Station::start(IMPATIENT, &[Server::script("sick", script), good()]);
    let session = session(&station, "/mcp");
    let mut stream = session.listen();
    assert!(!tools(&session).contains("sick__echo"));
    let told = session.call("sick__echo", json!({ "text": "x" }));
    assert_eq!(refused(&told), -32602, "{told}");
    assert_good_works(&session);
    fs::write(station.mux.path("ok"), "").unwrap();
    let until = Instant::now() + 2 * PATIENCE;
    while !tools(&session).contains("sick__echo") {
        assert!(Instant::now() < until, "it is never back");
        stream.until(is_tools_change);
    }
    assert_eq!(text(&session.call("sick__echo", json!({ "text": "x" }))), "x");
}

#[test]
fn a_killed_server_is_back_and_the_other_never_noticed() {
    let (_station, session) = beside(Server::demo("odd", &[]));
    let before = of_odd(&session);
    for _ in 0..3 {
        let told = session.call("odd__crash", json!({}));
        assert!(refused(&told) != 0, "{told}");
        assert_good_works(&session);
        assert_eq!(of_odd(&session), before, "its tools stay listed");
        assert_eq!(text(&session.call("odd__echo", json!({ "text": "x" }))), "x");
    }
}

#[test]
fn bad_cursors_and_unknown_names_are_refused() {
    let (station, session) = beside(Server::demo("odd", &[]));
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        for cursor in [
            json!(""),
            json!("m"),
            json!("m1.0x"),
            json!("m0.99"),
            json!("m99.0"),
            json!("\u{0}é"),
            json!(7),
            json!([]),
        ] {
            let told = session.request(3, method, json!({ "cursor": cursor }));
            assert_eq!(refused(&told), -32602, "{method} {cursor}: {told}");
            let told = ask(&station, "/mcp", method, json!({ "cursor": cursor }));
            assert_eq!(refused(&told), -32602, "{method} {cursor}: {told}");
        }
    }
    for (method, params) in [
        ("tools/call", json!({ "name": "echo" })),
        ("tools/call", json!({ "name": "odd__" })),
        ("tools/call", json!({ "name": "x".repeat(100_000) })),
        ("tools/call", json!({})),
        ("prompts/get", json!({ "name": "greet" })),
        ("prompts/get", json!({ "name": ["odd__greet"] })),
        ("resources/read", json!({ "uri": "nothing://here" })),
        ("resources/read", json!({ "uri": "mux+nobody:demo://counter" })),
        ("resources/read", json!({ "uri": "mux+odd:" })),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "n", "value": "" } }),
        ),
        ("completion/complete", json!({ "ref": 5, "argument": { "name": "n", "value": "" } })),
    ] {
        let told = session.request(4, method, params.clone());
        assert!(matches!(refused(&told), -32602 | -32002), "{method} {params}: {told}");
        assert!(told["error"]["message"].to_string().len() < 1_000, "{method}: a short one");
    }
    assert_good_works(&session);
}

#[test]
fn the_same_resource_of_two_servers_can_be_had_of_both() {
    let (_station, session) = beside(Server::demo("odd", &[]));
    let uris = list(&session, "resources/list");
    assert!(uris.contains("demo://counter") && uris.contains("mux+good:demo://counter"), "{uris:?}");
    session.call("good__counter_add", json!({ "by": 5 }));
    let read = |uri: &str| {
        let told = session.request(5, "resources/read", json!({ "uri": uri }));
        assert_eq!(told["result"]["contents"][0]["uri"], uri, "{told}");
        told["result"]["contents"][0]["text"].clone()
    };
    assert_ne!(read("demo://counter"), read("mux+good:demo://counter"));
}

/// P40, SEP-2243: what a schema wants to see in headers is checked at the merged endpoint too, once a client has
/// read it there.
#[test]
fn arguments_are_mirrored_in_headers() {
    let schema = json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } });
    let listed = json!({ "tools": [{ "name": "echo", "inputSchema": schema }] });
    let station = Station::start(HTTP, &[with_tools("a", listed)]);
    let told = ask(&station, "/mcp", "tools/list", json!({}));
    assert_eq!(told["result"]["tools"][0]["inputSchema"], schema);
    let arguments = json!({ "region": "eu", "text": "x" });
    let call = || modern("/mcp", 1, "tools/call", json!({ "name": "a__echo", "arguments": arguments }));
    for (asked, status) in [
        (call(), 400),
        (call().header("Mcp-Param-Region", "us"), 400),
        (call().header("Mcp-Param-Region", "eu"), 200),
    ] {
        let reply = station.ask(&asked);
        assert_eq!(reply.status(), status, "{reply:?}");
        let code = if status == 400 { -32020 } else { 0 };
        assert_eq!(refused(&reply.message()), code, "{reply:?}");
    }
}
