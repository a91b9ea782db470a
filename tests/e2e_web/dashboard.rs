//! `/ui` and its events (row E12). What the page makes of them is for a browser to see.

use crate::support::station::PLAIN;
use crate::support::{Ask, Http, Server, Station, data, figure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const TOKEN: &str = "http = { listen = \"127.0.0.1:0\", token = \"s3cret\" }";

/// A watcher of the figures.
fn watch(station: &Station) -> Http {
    let mut http = station.connect();
    let head = http.start(&Ask::get("/ui/events"));
    assert!(head.status == 200 && head.is_stream(), "{head:?}");
    http
}

#[test]
fn the_page_loads_nothing_and_is_framed_by_nobody() {
    let station = Station::demo(&[], "");
    for path in ["/ui", "/ui/"] {
        let reply = station.ask(&Ask::get(path)).expect(200);
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        let policy = reply.header("content-security-policy");
        for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        let page = reply.text();
        assert!(page.starts_with("<!doctype html>"));
        // The one address in it is that of a namespace, if any.
        for outside in ["src=", "href=", "@import", "url(", "https://", "innerHTML"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
    let head = station.ask(&Ask::new("HEAD", "/ui")).expect(200);
    assert!(head.header("content-length").parse::<usize>().unwrap() > 1_000 && head.body.is_empty());
    station.ask(&Ask::new("POST", "/ui")).expect(405);
}

#[test]
fn figures_are_those_of_the_status_command() {
    let station =
        Station::start(PLAIN, &[Server::demo("a", &[]), Server::command("gone", "/no/such/program")]);
    let mut client = station.mux.client();
    for _ in 0..5 {
        client.call("echo", json!({ "text": "x" }));
    }
    let status = station.control("status", json!({}));
    let figures = watch(&station).message();
    let names = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let mut expected = names(&status);
    // For tests of muxloop itself.
    expected.retain(|name| name != "tables");
    assert_eq!(names(&figures), expected);
    let (shown, said) = (&figures["servers"], &status["servers"]);
    for server in 0..2 {
        assert_eq!(names(&shown[server]), names(&said[server]));
        for field in
            ["name", "clients", "requests", "errors", "max_active_clients", "server_name", "restarts"]
        {
            assert_eq!(shown[server][field], said[server][field], "{field}");
        }
    }
    // A handshake is one, too, if it had to wait for the server's own.
    let requests = shown[0]["requests"].as_u64().unwrap();
    assert!((5..=6).contains(&requests) && shown[0]["state"] == "ready", "{}", shown[0]);
}

#[test]
fn figures_come_every_second_and_change_with_traffic() {
    let station = Station::demo(&[], "");
    let mut http = watch(&station);
    let first = http.message();
    assert_eq!(first["servers"][0]["requests"], 0);
    station.mux.client().call("echo", json!({ "text": "x" }));
    let later = http.until(|figures| figures["servers"][0]["requests"] != 0);
    assert!(later["uptime_ms"].as_u64() > first["uptime_ms"].as_u64());
}

/// However often somebody comes and goes, figures are made once a second, and none when nobody watches.
#[test]
fn watchers_that_come_and_go_do_not_speed_it_up() {
    let station = Station::demo(&[], "");
    for _ in 0..15 {
        // An end that is told: muxloop closes its side when it has seen ours.
        let mut http = watch(&station);
        http.message();
        http.half_close();
        http.read_to_end();
    }
    let mut http = watch(&station);
    http.message();
    let since = Instant::now();
    for _ in 0..4 {
        http.message();
    }
    // The one that was due when it came may come at once.
    assert!(since.elapsed() >= Duration::from_millis(2_500), "{:?}", since.elapsed());
}

#[test]
fn nothing_is_told_without_the_token() {
    let station = Station::start(TOKEN, &[Server::demo("secretive", &[])]);
    let page = station.ask(&Ask::get("/ui")).expect(200);
    assert!(!page.text().contains("secretive") && !page.text().contains("s3cret"));
    for ask in [Ask::get("/ui/events"), Ask::get("/ui/events").header("Authorization", "Bearer s3cre")] {
        let reply = station.ask(&ask).expect(401);
        assert!(reply.header("www-authenticate").starts_with("Bearer"));
        assert!(!reply.text().contains("secretive"), "{}", reply.text());
    }
    // Neither by a path that does not exist.
    station.ask(&Ask::get("/ui/x")).expect(401);
    let mut http = station.connect();
    assert_eq!(http.start(&Ask::get("/ui/events").header("Authorization", "Bearer s3cret")).status, 200);
    assert_eq!(http.message()["servers"][0]["name"], "secretive");
}

#[test]
fn pages_of_others_see_nothing() {
    let station = Station::demo(&[], "");
    for path in ["/ui", "/ui/events", "/metrics"] {
        station.ask(&Ask::get(path).header("Origin", "https://evil.example")).expect(403);
        station.ask(&Ask::get(path).header("Host", "evil.example")).expect(403);
    }
}

/// A report of some size, and watchers that read none of it.
#[test]
fn watchers_that_do_not_read_harm_nobody() {
    let station = Station::demo(&[], "");
    let deaf: Vec<Http> = (0..50).map(|_| watch(&station)).collect();
    let mut http = watch(&station);
    http.message();
    let before = figure(station.mux.pid, "VmRSS:");
    let mut client = station.mux.client();
    for _ in 0..3 {
        assert_eq!(http.message()["servers"][0]["clients"], 1);
        client.call("echo", json!({ "text": "x" }));
    }
    let grown = figure(station.mux.pid, "VmRSS:").saturating_sub(before);
    assert!(grown < 8_192, "{grown} KiB");
    drop(deaf);
}

#[test]
fn a_stop_ends_the_stream() {
    let mut station = Station::demo(&[], "");
    let mut http = watch(&station);
    http.message();
    station.mux.signal(libc::SIGTERM);
    while let Some(event) = http.event() {
        data(&event);
    }
    http.assert_ends();
    assert!(station.mux.ended().success());
}
