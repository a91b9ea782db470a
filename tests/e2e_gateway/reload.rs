//! Reload (A08) as clients of the merged endpoints see it: told of what is other, undisturbed otherwise, and
//! never left without an answer.

use crate::support::{Ask, Server, Session, Station, call_with_progress, initialize, text};
use crate::{HTTP, is_tools_change, refused, session, tools};
use serde_json::json;

fn a() -> Server {
    Server::demo("a", &[])
}

fn b() -> Server {
    Server::demo("b", &["--era", "modern"])
}

fn reload(station: &Station, head: &str, servers: &[Server]) {
    station.write(&format!("{HTTP}{head}"), servers);
    station.control("reload", json!({}));
}

/// A call that is at its server when this returns.
fn sleeper(session: &Session, id: u64, tool: &str, ms: u64) -> crate::support::Http {
    let mut http = session.start(&call_with_progress(
        id,
        tool,
        json!({ "ms": ms, "steps": ms / 100 }),
        &format!("p{id}"),
    ));
    http.until(|message| message["method"] == "notifications/progress");
    http
}

#[test]
fn a_call_lasts_while_other_servers_come_and_go() {
    let station = Station::start(HTTP, &[a(), b()]);
    let session = session(&station, "/mcp");
    let mut stream = session.listen();
    tools(&session);
    let mut sleeping = sleeper(&session, 8, "a__sleep", 1_500);
    let mut lost = sleeper(&session, 9, "b__sleep", 60_000);
    reload(&station, "", &[a(), Server::demo("c", &[])]);
    stream.until(is_tools_change);
    let told = lost.until(|message| message["id"] == 9);
    assert!(told["error"]["message"].as_str().expect("an error").contains("'b'"), "{told}");
    let told = session.call("b__echo", json!({ "text": "x" }));
    assert_eq!(refused(&told), -32602, "{told}");
    while !tools(&session).contains("c__echo") {
        stream.until(is_tools_change);
    }
    let told = sleeping.until(|message| message["id"] == 8);
    assert!(told["result"].is_object(), "{told}");
}

#[test]
fn filters_changes_and_names_hold_from_the_reload_on() {
    let station = Station::start(HTTP, &[a(), b()]);
    let session = session(&station, "/mcp");
    let mut stream = session.listen();
    assert!(tools(&session).contains("a__echo"));
    reload(&station, "", &[a().keys("tools.deny = [\"echo\"]"), b()]);
    stream.until(is_tools_change);
    let known = tools(&session);
    assert!(!known.contains("a__echo") && known.contains("b__echo"), "{known:?}");
    assert_eq!(refused(&session.call("a__echo", json!({ "text": "x" }))), -32602);
    reload(&station, "[gateway]\ntools.allow = [\"*__echo\"]\nservers = [\"b\"]\n", &[a(), b()]);
    stream.until(is_tools_change);
    assert_eq!(tools(&session), ["b__echo".to_owned()].into());
    reload(&station, "[gateway]\nnames = \"plain\"\nservers = [\"b\"]\n", &[a(), b()]);
    stream.until(is_tools_change);
    assert_eq!(text(&session.call("echo", json!({ "text": "x" }))), "x");
    // Without a table everything is as if there had never been one.
    reload(&station, "", &[a(), b()]);
    stream.until(is_tools_change);
    assert!(tools(&session).contains("a__echo") && tools(&session).contains("b__echo"));
}

/// Another process may do what the old one did not.
#[test]
fn a_server_that_became_another_is_asked_anew() {
    let bare = Server::demo(
        "b",
        &[
            "--answer",
            "initialize={\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"prompts\":{}},\"serverInfo\":{\"name\":\"b\",\"version\":\"1\"}}",
        ],
    );
    let station = Station::start(HTTP, &[a(), bare]);
    let before = session(&station, "/mcp");
    let mut stream = before.listen();
    assert!(!tools(&before).contains("b__echo"));
    reload(&station, "", &[a(), Server::demo("b", &["--instructions", "use with care"])]);
    while !tools(&before).contains("b__echo") {
        stream.until(is_tools_change);
    }
    assert_eq!(text(&before.call("b__echo", json!({ "text": "x" }))), "x");
    // What is told to clients that come now is of now.
    let reply = station.ask(&Ask::post("/mcp", &initialize("2025-11-25", json!({})))).expect(200).message();
    let told = reply["result"]["instructions"].as_str().expect("instructions").to_owned();
    assert!(told.contains("use with care"), "{told}");
}

#[test]
fn profiles_come_and_go() {
    const FEW: &str = "[profiles.few]\ntools.allow = [\"*__echo\"]\n";
    let station = Station::start(HTTP, &[a()]);
    station.ask(&Ask::post("/profiles/few/mcp", &initialize("2025-11-25", json!({})))).expect(404);
    reload(&station, FEW, &[a()]);
    let few = session(&station, "/profiles/few/mcp");
    assert_eq!(tools(&few), ["a__echo".to_owned()].into());
    let mut stream = few.listen();
    reload(&station, "[profiles.few]\ntools.allow = [\"*__add\"]\n", &[a()]);
    stream.until(is_tools_change);
    assert_eq!(tools(&few), ["a__add".to_owned()].into());
    reload(&station, "[profiles.other]\ntools.allow = [\"*\"]\n", &[a()]);
    stream.rest();
    let reply = few.post(&crate::support::call(1, "a__add", json!({ "a": 1, "b": 2 })));
    assert_eq!(reply.status(), 404, "{}", reply.text());
    let reply =
        station.ask(&Ask::post("/profiles/few/mcp", &initialize("2025-11-25", json!({})))).expect(404);
    assert!(reply.text().contains("there are other"), "{}", reply.text());
    assert!(tools(&session(&station, "/mcp")).contains("a__echo"));
    // A profile of the same name is a new one.
    reload(&station, FEW, &[a()]);
    assert_eq!(tools(&session(&station, "/profiles/few/mcp")), ["a__echo".to_owned()].into());
}
