//! Recordings of merged endpoints: made of other parts by a reload, gone with their profile, and with fixed
//! values that are secrets.

use super::{Dir, PATIENCE, Recording, Web, replay, run};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, Write};
use std::sync::OnceLock;
use std::time::Instant;

/// The endpoint of all servers and those of these profiles. `echo` gets a fixed value, and so would `add`.
fn config(dir: &Dir, secret: &str, profiles: &[&str], more: &str) -> String {
    let profiles: String =
        profiles.iter().map(|name| format!("[profiles.{name}]\ntools.allow = [\"demo__echo\"]\n")).collect();
    let of_demo = "[servers.demo.tool.echo]\nset = { api = \"s3cret-used\" }\n\
                   [servers.demo.tool.add]\nset = { api = \"s3cret-unused\" }\n";
    let http = format!("http = \"unix:{}\"\n", dir.at("http.sock").display());
    http + &super::config(secret, "") + of_demo + &profiles + more
}

/// Lists until a tool is in the list.
fn wait_for_tool(web: &mut Web, name: &str) {
    let wanted = format!("\"{name}\"");
    let until = Instant::now() + PATIENCE;
    for id in 100.. {
        assert!(Instant::now() < until, "no {name} in the list");
        let list = web.post(json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"}));
        if list.contains(&wanted) {
            return;
        }
    }
}

/// The stream of a session on which it is told what changes.
fn listen(dir: &Dir, web: &Web) -> Web {
    let mut stream = Web::connect(dir, &web.path);
    let (path, session) = (&web.path, &web.session);
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{session}\r\n");
    stream.stream.get_mut().write_all(head.as_bytes()).unwrap();
    let mut status = String::new();
    stream.stream.read_line(&mut status).unwrap();
    assert!(status.contains(" 200 "), "{status}");
    stream
}

fn wait_for_news(stream: &mut Web) {
    let mut line = String::new();
    let until = Instant::now() + PATIENCE;
    while !line.contains("notifications/tools/list_changed") {
        // Something comes now and then at least.
        assert!(Instant::now() < until, "nothing was told");
        line.clear();
        assert!(stream.stream.read_line(&mut line).unwrap() > 0, "the stream has ended");
    }
}

/// Two endpoints with clients; then a server comes, another becomes another, and a profile goes. In the end the
/// new server goes, and tools are searched instead of listed.
fn record(dir: &Dir) {
    fs::write(dir.at("mux.toml"), config(dir, "x", &["few", "kept"], "")).unwrap();
    let recording = Recording::start(&dir.0, "merged.jsonl");
    recording.wait_for("started, pid");
    let mut all = Web::connect(dir, "/mcp");
    let mut few = Web::connect(dir, "/profiles/few/mcp");
    all.initialize();
    few.initialize();
    wait_for_tool(&mut all, "noisy__echo");
    wait_for_tool(&mut few, "demo__echo");
    let accepted = all.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert!(accepted.starts_with("HTTP/1.1 202"), "{accepted}");
    let mut stream = listen(dir, &all);
    let echoed = all.call(2, "demo__echo", json!({"text": "hello all"}));
    assert!(echoed.contains("hello all"), "{echoed}");
    assert!(few.call(2, "demo__echo", json!({"text": "hello few"})).contains("hello few"));
    assert!(few.call(3, "demo__add", json!({"a": 1, "b": 2})).contains("\"error\""));
    let path = serde_json::to_string(super::MUXLOOP).unwrap();
    let third = format!("[servers.third]\ncmd = {path}\nargs = [\"demo-server\"]\nsocket = \"third.sock\"\n");
    fs::write(dir.at("mux.toml"), config(dir, "y", &["kept"], &third)).unwrap();
    let control = ["--control", "control.sock"];
    let (code, out, err) = run(&dir.0, &["reload", control[0], control[1]]);
    assert_eq!(code, Some(0), "{out}{err}");
    wait_for_news(&mut stream);
    wait_for_tool(&mut all, "third__echo");
    assert!(all.call(4, "third__echo", json!({"text": "hello third"})).contains("hello third"));
    assert!(all.call(5, "demo__echo", json!({"text": "hello again"})).contains("hello again"));
    let gone =
        Web::connect(dir, "/profiles/few/mcp").post(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}));
    assert!(gone.starts_with("HTTP/1.1 404"), "{gone}");
    fs::write(dir.at("mux.toml"), config(dir, "y", &["kept"], "[gateway]\ntools = \"lazy\"\n")).unwrap();
    let (code, out, err) = run(&dir.0, &["reload", control[0], control[1]]);
    assert_eq!(code, Some(0), "{out}{err}");
    wait_for_news(&mut stream);
    wait_for_tool(&mut all, "tool_search");
    let found = all.call(6, "tool_search", json!({"query": "echo"}));
    assert!(found.contains("demo__echo") && !found.contains("third__echo"), "{found}");
    let params = json!({"name": "demo__echo", "arguments": {"text": "hello lazy"}});
    assert!(all.call(7, "tool_invoke", params).contains("hello lazy"));
    drop((all, few, stream));
    assert_eq!(run(&dir.0, &["shutdown", control[0], control[1]]).0, Some(0));
    assert_eq!(recording.ended(), Some(0));
}

/// The one session that the tests look at.
fn session() -> &'static str {
    static SESSION: OnceLock<String> = OnceLock::new();
    SESSION.get_or_init(|| {
        let dir = Dir::new("merged-session");
        record(&dir);
        fs::read_to_string(dir.at("merged.jsonl")).unwrap()
    })
}

fn lines(kind: &str) -> Vec<&'static str> {
    session().lines().filter(|line| line.starts_with(&format!("{{\"{kind}\""))).collect()
}

#[test]
fn a_reload_of_merged_endpoints_replays_to_the_last_byte() {
    let dir = Dir::new("merged-same");
    let (code, out, err) = replay(&dir, session().as_bytes());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let (all, few, kept) = ("gateway", "gateway/few", "gateway/kept");
    let names: Vec<Value> = lines("merge")
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["merge"]["setup"]["policy"]["name"].clone())
        .collect();
    assert_eq!(names, [all, few, kept, all, kept, all, kept]);
    assert!(matches!(lines("unmerge")[..], [line] if line.contains("\"gateway/few\"")));
    assert_eq!(lines("on_server_changed").len(), 2, "the new server and the changed one");
}

/// Each of these lines counts in a replay.
#[test]
fn an_endpoint_of_other_parts_does_something_else() {
    let dir = Dir::new("merged-other");
    let without = |kind: &str, skip: usize| session().replacen(&format!("{}\n", lines(kind)[skip]), "", 1);
    let first = lines("merge")[0];
    let plain = session().replacen(first, &first.replacen("\"prefix\"", "\"plain\"", 1), 1);
    assert_ne!(plain, session());
    for changed in [
        plain,
        without("merge", 3),
        without("merge", 5),
        without("unmerge", 0),
        without("on_server_changed", 0),
    ] {
        let (code, out, err) = replay(&dir, changed.as_bytes());
        assert_eq!(code, Some(1), "{out}{err}");
    }
}

#[test]
fn fixed_values_are_only_in_what_was_sent_with_them() {
    let text = session();
    assert!(!text.contains("s3cret-unused"));
    let of_parts: Vec<&str> = lines("merge").into_iter().filter(|line| line.contains("\\\"\u{7f}")).collect();
    assert!(of_parts.len() == 7 && !of_parts.iter().any(|line| line.contains("s3cret")), "{of_parts:?}");
    let sent = lines("write").into_iter().find(|line| line.contains("s3cret-used")).unwrap();
    let dir = Dir::new("merged-secret");
    let (code, out, _) =
        replay(&dir, text.replacen(sent, &sent.replace("s3cret-used", "s3cret-uses"), 1).as_bytes());
    assert_eq!(code, Some(0), "its text is not known: {out}");
    let (code, out, _) =
        replay(&dir, text.replacen(sent, &sent.replace("s3cret-used", "s3cret-use"), 1).as_bytes());
    assert_eq!(code, Some(1), "its length is: {out}");
    let (code, out, _) =
        replay(&dir, text.replacen(sent, &sent.replace("hello all", "jello all"), 1).as_bytes());
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("jello all") && out.contains("hello all"), "{out}");
}
