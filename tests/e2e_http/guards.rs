//! Who may ask (protocol.md §3.3, P26–P28, P56): origins, hosts, tokens, addresses.

use crate::support::base::mux::Scratch;
use crate::support::{
    Ask, Http, Mux, Reply, Server, Session, Station, code, initialize, modern, rpc, station::PLAIN,
};
use serde_json::json;
use std::fs;
use std::sync::Arc;

const PATH: &str = "/servers/a/mcp";

fn hello() -> Ask {
    Ask::post(PATH, &initialize("2025-11-25", json!({})))
}

#[test]
fn web_pages_of_elsewhere_are_turned_away() {
    let station = Station::demo(&["--era", "both"], "");
    let discover = modern(PATH, 1, "server/discover", json!({}));
    for origin in ["https://evil.example", "http://localhost.evil.example", "null", "http://127.0.0.2"] {
        for ask in [hello(), discover.clone(), Ask::get(PATH), Ask::get("/sse/a"), Ask::new("OPTIONS", PATH)]
        {
            let reply = station.ask(&ask.header("Origin", origin));
            assert_eq!(reply.status(), 403, "P26: {origin}");
            assert_eq!(reply.header("access-control-allow-origin"), "", "{origin}");
        }
    }
    for origin in ["", "http://localhost:3000", "https://127.0.0.1", "http://[::1]:8080"] {
        let reply = station.ask(&hello().header("Origin", origin)).expect(200);
        assert_eq!(reply.header("access-control-allow-origin"), origin, "P26");
    }
    assert_eq!(
        station.ask(&hello().header("Origin", "http://localhost").another("Origin", "null")).status(),
        403
    );
}

#[test]
fn a_foreign_host_is_a_web_page_in_disguise() {
    let head = "[http]\nlisten = \"127.0.0.1:0\"\nhosts = [\"mux.example\"]";
    let station = Station::start(head, &[Server::demo("a", &[])]);
    for host in ["evil.example", "127.0.0.1.nip.io:80", "localhost.evil.example", "[::2]:80"] {
        let reply = station.ask(&hello().header("Host", host));
        assert_eq!(reply.status(), 403, "P27: {host}");
        assert_eq!(station.ask(&Ask::get("/health").header("Host", host)).status(), 403, "{host}");
    }
    for host in ["localhost", "LocalHost:1", "127.0.0.1:9", "[::1]:9", "mux.example", "Mux.Example:443"] {
        station.ask(&hello().header("Host", host)).expect(200);
    }
}

#[test]
fn on_a_unix_socket_the_host_may_be_anything() {
    let head = "[http]\nlisten = [\"unix:DIR/http.sock\", \"127.0.0.1:0\"]\nhosts = [\"mux.example\"]";
    let station = Station::start(head, &[Server::demo("a", &[])]);
    let socket = station.mux.path("http.sock");
    for host in ["docker", "localhost", "", "evil.example", "%2Frun%2Fmux.sock", "_"] {
        Http::connect_unix(&socket).ask(&hello().header("Host", host)).expect(200);
    }
    station.ask(&hello().header("Host", "docker")).expect(403);
    // A page that comes by a proxy is a page all the same.
    for (origin, status) in [("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200)] {
        let reply =
            Http::connect_unix(&socket).ask(&hello().header("Host", "docker").header("Origin", origin));
        assert_eq!(reply.status(), status, "P26: {origin}");
    }
}

#[test]
fn browsers_are_told_what_they_may_send() {
    let head = "[http]\nlisten = \"127.0.0.1:0\"\norigins = [\"https://app.example\"]\ntoken = \"s3cret\"";
    let station = Station::start(head, &[Server::demo("a", &[])]);
    // The preflight carries no token.
    let preflight = Ask::new("OPTIONS", PATH)
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization,content-type,mcp-session-id");
    let reply = station.ask(&preflight).expect(204);
    assert_eq!(reply.header("access-control-allow-origin"), "https://app.example");
    assert!(reply.header("access-control-allow-methods").contains("DELETE"));
    assert_eq!(reply.header("access-control-allow-headers"), "authorization,content-type,mcp-session-id");
    assert!(reply.header("vary").contains("Origin"));
    assert_eq!(station.ask(&preflight.header("Origin", "https://other.example")).status(), 403);
    // The answer lets the page read its session, and a refusal lets it see why.
    let ask = hello().header("Origin", "https://app.example");
    let reply = station.ask(&ask).expect(401);
    assert_eq!(reply.header("access-control-allow-origin"), "https://app.example");
    let reply = station.ask(&ask.header("Authorization", "Bearer s3cret")).expect(200);
    assert!(reply.header("access-control-expose-headers").contains("Mcp-Session-Id"));
}

#[test]
fn a_token_is_asked_for_before_anything_else() {
    let head = "[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"s3cret\"";
    let station = Station::start(head, &[Server::demo("a", &["--era", "both"])]);
    let challenge = |reply: &Reply| {
        assert_eq!((reply.status(), code(&reply.json())), (401, -32600));
        reply.header("www-authenticate").to_owned()
    };
    for ask in [
        hello(),
        modern(PATH, 1, "server/discover", json!({})),
        Ask::get(PATH),
        Ask::get("/sse/a"),
        Ask::new("DELETE", PATH),
        Ask::post("/message?sessionId=x", &rpc(1, "ping", json!({}))),
        // Not even which paths there are is told.
        Ask::get("/nowhere"),
    ] {
        assert_eq!(challenge(&station.ask(&ask)), "Bearer realm=\"muxloop\"", "P56");
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer", "Basic czNjcmV0", "s3cret", "Bearer S3CRET"]
        {
            let said = challenge(&station.ask(&ask.clone().header("Authorization", wrong)));
            assert!(said.starts_with("Bearer realm=\"muxloop\""), "P56: {wrong} {said}");
        }
    }
    assert!(challenge(&station.ask(&hello().header("Authorization", "Bearer x"))).contains("invalid_token"));
    let reply = station.ask(&hello().header("Authorization", "bearer  s3cret")).expect(200);
    let id = reply.header("mcp-session-id").to_owned();
    // The token is asked for on every request of a session, and is nobody's to log or to pass on.
    let ping = Ask::post(PATH, &rpc(1, "ping", json!({}))).header("Mcp-Session-Id", &id);
    station.ask(&ping).expect(401);
    station.ask(&ping.header("Authorization", "Bearer s3cret")).expect(200);
    station.ask(&Ask::get("/health")).expect(200);
    station.ask(&Ask::get("/ready")).expect(200);
    assert!(!station.mux.log().contains("s3cret"));
    assert!(!String::from_utf8_lossy(&station.mux.raw_journal("a")).contains("s3cret"));
}

/// Runs with such a file until it ends; its log.
fn refusal(head: &str, args: &[&str]) -> String {
    let dir = Arc::new(Scratch::new());
    let text = format!("{head}\n{}", Server::demo("a", &[]).toml(&dir.0));
    fs::write(dir.0.join("mux.toml"), text).unwrap();
    let mut mux = Mux::run(dir, &[&["-c", "mux.toml"], args].concat(), |_| {});
    let status = mux.ended();
    assert!(!status.success(), "{status} {}", mux.log());
    mux.log()
}

#[test]
fn it_does_not_listen_to_all_the_world_without_a_token() {
    for open in ["0.0.0.0:0", "[::]:0"] {
        assert!(refusal(&format!("http = \"{open}\""), &[]).contains("token"), "P28");
        assert!(refusal("", &["--http", open]).contains("token"), "P28");
    }
    let open = "[http]\nlisten = \"0.0.0.0:0\"";
    let station = Station::start(&format!("{open}\ntoken = \"t\""), &[Server::demo("a", &[])]);
    station.ask(&hello()).expect(401);
    assert_eq!(station.mux.logged("has no token"), 0);
    for station in [
        Station::start_with("http = \"0.0.0.0:0\"", &[Server::demo("a", &[])], &["--insecure-listen"]),
        Station::start(&format!("{open}\ninsecure = true"), &[Server::demo("a", &[])]),
    ] {
        station.mux.wait_log("has no token");
        // It goes by many names there, so `Host` is nobody's business; pages are still turned away.
        station.ask(&hello().header("Host", "box.lan:80")).expect(200);
        station.ask(&hello().header("Origin", "http://box.lan")).expect(403);
        station.ask(&hello().header("Origin", "http://localhost")).expect(403);
    }
}

#[test]
fn a_session_id_is_not_enough_at_another_server() {
    let station = Station::start(PLAIN, &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let mut session = Session::open(&station);
    session.path = "/servers/b/mcp".into();
    assert_eq!(session.post(&rpc(1, "ping", json!({}))).status(), 404, "P30");
}
