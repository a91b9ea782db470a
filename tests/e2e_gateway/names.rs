//! Plain names (H02): two servers with tools of one name are refused where that is known before the start, and
//! a name that meets another later is nobody's.

use crate::support::base::mux::{Mux, command};
use crate::support::{Server, Station, text};
use crate::{HTTP, ask, is_tools_change, refused, session, tools};
use serde_json::{Value, json};
use std::fs;

const PLAIN: &str = "http = \"127.0.0.1:0\"\n[gateway]\nnames = \"plain\"\n";
const RENAMED: &str = "[servers.b.tool.read]\nname = \"b_read\"\n";

/// A server of these tools only, which answers every call with its name.
fn of(name: &str, tools: &[&str]) -> Server {
    let tools: Vec<Value> =
        tools.iter().map(|name| json!({ "name": name, "inputSchema": { "type": "object" } })).collect();
    let told = json!({ "content": [{ "type": "text", "text": name }] });
    let answers = [
        format!("tools/list={}", json!({ "tools": tools })),
        format!("tools/call={told}"),
        "prompts/list={\"prompts\":[]}".into(),
    ];
    let options: Vec<&str> = answers.iter().flat_map(|answer| ["--answer", answer]).collect();
    Server::demo(name, &options)
}

fn assert_names_both(why: &str) {
    for part in ["'read'", "'a'", "'b'", "names = \"prefix\"", "tool.read] name =", "tools.deny = [\"read\"]"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[test]
fn a_name_of_two_is_nobodys_and_refuses_the_next_start() {
    let mut station = Station::start(PLAIN, &[of("a", &["read", "x"]), of("b", &["read", "y"])]);
    let session = session(&station, "/mcp");
    assert_eq!(tools(&session), ["x", "y"].map(String::from).into());
    for told in
        [session.call("read", json!({})), ask(&station, "/mcp", "tools/call", json!({ "name": "read" }))]
    {
        assert_eq!(refused(&told), -32602, "{told}");
        assert_names_both(told["error"]["message"].as_str().unwrap());
    }
    assert_eq!(text(&session.call("y", json!({}))), "b");
    assert_names_both(&station.mux.wait_log("tool 'read'"));
    station.mux.stop();

    // Their lists are known now; that of the endpoint is nobody's to keep.
    let dir = station.mux.dir.clone();
    assert_eq!(fs::read_dir(dir.0.join(".cache/muxloop/lists")).expect("a folder").count(), 2);
    let output = command(&dir.0).args(["-c", "mux.toml"]).output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert_names_both(&said);
    assert!(said.contains("/lists"), "what to do if it is not so any more: {said}");

    // Each cure cures.
    let head = fs::read_to_string(dir.0.join("mux.toml")).unwrap();
    for (old, new) in [
        ("names = \"plain\"", "names = \"prefix\""),
        ("[servers.b]", "[servers.b]\ntools.deny = [\"read\"]"),
        ("[servers.b]", &format!("{RENAMED}[servers.b]")),
    ] {
        fs::write(dir.0.join("mux.toml"), head.replace(old, new)).unwrap();
        let mut mux = Mux::run(dir.clone(), &["-c", "mux.toml"], |_| {});
        mux.wait_log("listening on http://");
        mux.stop();
    }
}

#[test]
fn a_reload_that_would_make_two_of_one_name_is_refused() {
    let servers = |cure: &str| [of("a", &["read"]), of("b", &["read"]).keys(cure)];
    let station = Station::start(PLAIN, &servers("tool.read.name = \"b_read\""));
    let session = session(&station, "/mcp");
    assert_eq!(tools(&session), ["b_read", "read"].map(String::from).into());
    station.write(PLAIN, &servers(""));
    let mut control = crate::support::base::client::Client::connect(&station.mux.path("control.sock"));
    let told = control.ask("reload", json!({}));
    assert_names_both(told["error"]["message"].as_str().unwrap_or_else(|| panic!("{told}")));
    assert_eq!(text(&session.call("b_read", json!({}))), "b", "nothing has changed");
    station.write(HTTP, &servers(""));
    let mut stream = session.listen();
    station.control("reload", json!({}));
    stream.until(is_tools_change);
    assert_eq!(tools(&session), ["a__read", "b__read"].map(String::from).into());
}

/// A list that changes under way brings the name to a second server: it is nobody's then, and that is told; the
/// first has it again once the second is without it.
#[test]
fn a_name_that_meets_another_later_is_taken_back() {
    let station =
        Station::start(PLAIN, &[of("a", &["dummy_1", "x"]), Server::demo("b", &["--era", "modern"])]);
    let session = session(&station, "/mcp");
    let mut stream = session.listen();
    assert!(tools(&session).contains("dummy_1"));
    session.call("add_tool", json!({}));
    stream.until(is_tools_change);
    let known = tools(&session);
    assert!(!known.contains("dummy_1") && known.contains("x") && known.contains("echo"), "{known:?}");
    let told = session.call("dummy_1", json!({}));
    assert!(told["error"]["message"].as_str().expect("why").contains("server 'b'"), "{told}");
    // Its next process does not have it.
    station.control("restart", json!({ "server": "b" }));
    while !tools(&session).contains("dummy_1") {
        stream.until(is_tools_change);
    }
    assert_eq!(text(&session.call("dummy_1", json!({}))), "a");
}
