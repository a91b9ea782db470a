//! Where the front listens, from the start on and after a reload.

use crate::support::base::mux::Scratch;
use crate::support::station::{PLAIN, port};
use crate::support::{Ask, Http, Mux, Server, Session, Station, initialize, rpc, text};
use muxloop::reactor::sys::signal_process;
use serde_json::json;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

const PATH: &str = "/servers/a/mcp";

fn hello() -> Ask {
    Ask::post(PATH, &initialize("2025-11-25", json!({})))
}

fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// A port that nobody listens at.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn several_addresses_lead_to_the_same_sessions() {
    let head = "http = [\"127.0.0.1:0\", \"[::1]:0\", \"unix:DIR/http.sock\"]";
    let station = Station::start(head, &[Server::demo("a", &[])]);
    let session = Session::open(&station);
    let six = port(&station.mux.wait_log("listening on http://[::1]"));
    let socket = station.mux.path("http.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600, "nobody else's");
    for mut http in [station.connect(), Http::connect(six), Http::connect_unix(&socket)] {
        let ask = session.asks(&crate::support::call(1, "echo", json!({ "text": "here" })));
        assert_eq!(text(&http.ask(&ask).expect(200).json()), "here");
        http.ask(&Ask::get("/health").header("Host", "[::1]:1")).expect(200);
    }
    let mut station = station;
    station.mux.stop();
    assert!(!socket.exists());
    assert!(!is_open(station.address) && !is_open(six));
}

#[test]
fn the_command_line_says_where_and_whether() {
    let with = |head: &str, args: &[&str], wanted: &str| {
        let dir = Arc::new(Scratch::new());
        let text = format!("{head}\n{}", Server::demo("a", &[]).toml(&dir.0));
        fs::write(dir.0.join("mux.toml"), text).unwrap();
        let mux = Mux::run(dir, &[&["-c", "mux.toml"], args].concat(), |_| {});
        mux.wait_log("a: listening on");
        mux.wait_log(wanted);
        mux
    };
    let mux = with("", &["--http", "127.0.0.1:0"], "http: listening on");
    Http::connect(port(&mux.wait_log("http: listening on"))).ask(&hello()).expect(200);
    // It stands above the file, and can turn it off.
    let elsewhere = free();
    let mux = with(&format!("http = \"{elsewhere}\""), &["--http", "127.0.0.1:0"], "http: listening on");
    assert!(!is_open(elsewhere));
    Http::connect(port(&mux.wait_log("http: listening on"))).ask(&hello()).expect(200);
    let mut mux = with(&format!("http = \"{elsewhere}\""), &["--http", "off"], "started");
    assert!(!is_open(elsewhere));
    mux.stop();
    assert_eq!(mux.logged("http"), 0);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = Arc::new(Scratch::new());
    let text = format!("http = \"{address}\"\n{}", Server::demo("a", &[]).toml(&dir.0));
    fs::write(dir.0.join("mux.toml"), text).unwrap();
    let mut mux = Mux::run(dir, &["-c", "mux.toml"], |_| {});
    assert!(!mux.ended().success());
    assert!(mux.log().contains(&address.to_string()), "{}", mux.log());
    assert!(!mux.socket("a").exists());
}

#[test]
fn a_reload_adds_and_removes_servers() {
    let station = Station::start(PLAIN, &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let (kept, lost) = (Session::open(&station), Session::of(&station, "b", "2025-11-25", json!({})));
    let (mut of_kept, mut of_lost) = (kept.listen(), lost.listen());
    let hello_c = Ask::post("/servers/c/mcp", &initialize("2025-11-25", json!({})));
    station.ask(&hello_c).expect(404);
    station.write(PLAIN, &[Server::demo("a", &[]), Server::demo("c", &[])]);
    station.control("reload", json!({}));
    // What is gone ends, with its streams; what stays is not touched.
    assert_eq!(of_lost.rest(), [] as [serde_json::Value; 0]);
    assert_eq!(lost.post(&rpc(1, "ping", json!({}))).status(), 404);
    assert_eq!(station.ask(&Ask::get("/sse/b").header("Accept", "text/event-stream")).status(), 404);
    kept.call("add_tool", json!({}));
    assert_eq!(of_kept.message()["method"], "notifications/tools/list_changed");
    station.ask(&hello_c).expect(200);
    let reply = station.ask(&Ask::get("/nowhere"));
    assert!(reply.text().contains("/servers/c/mcp") && !reply.text().contains("/servers/b/mcp"));
}

#[test]
fn a_reload_opens_and_closes_addresses() {
    let (one, two) = (free(), free());
    let servers = || [Server::demo("a", &[])];
    let station = Station::start(&format!("http = \"{one}\""), &servers());
    let session = Session::open(&station);
    let mut open = session.listen();
    station.write(&format!("http = [\"{one}\", \"{two}\"]"), &servers());
    station.control("reload", json!({}));
    // The same sessions everywhere.
    Http::connect(two).ask(&session.asks(&rpc(1, "ping", json!({})))).expect(200);
    station.write(&format!("http = \"{two}\""), &servers());
    station.control("reload", json!({}));
    assert!(!is_open(one), "closed");
    // Who has come by it stays.
    let ask = session.asks(&crate::support::call(1, "add_tool", json!({})));
    Http::connect(two).ask(&ask).expect(200);
    assert_eq!(open.message()["method"], "notifications/tools/list_changed");
    // An address that cannot be had leaves everything as it is.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wrong = format!("http = [\"{one}\", \"{}\"]", taken.local_addr().unwrap());
    station.write(&wrong, &servers());
    signal_process(station.mux.pid, libc::SIGHUP).unwrap();
    station.mux.wait_log("cannot listen on");
    assert!(!is_open(one));
    Http::connect(two).ask(&session.asks(&rpc(2, "ping", json!({})))).expect(200);
    // And back again.
    station.write(&format!("http = \"{one}\""), &servers());
    station.control("reload", json!({}));
    Http::connect(one).ask(&session.asks(&rpc(3, "ping", json!({})))).expect(200);
    assert!(!is_open(two));
}

#[test]
fn a_reload_changes_limits_and_guards_for_what_comes() {
    let head = |token: &str, most: u32| {
        format!("[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"{token}\"\n[session]\nmax_sessions = {most}")
    };
    let station = Station::start(&head("old", 1), &[Server::demo("a", &[])]);
    let with = |token: &str| hello().header("Authorization", &format!("Bearer {token}"));
    let id = station.ask(&with("old")).expect(200).header("mcp-session-id").to_owned();
    // Who listens keeps the place.
    let listen = |id: &str, token: &str| {
        let ask = Ask::get(PATH).header("Accept", "text/event-stream").header("Mcp-Session-Id", id);
        let mut http = station.connect();
        assert_eq!(http.start(&ask.header("Authorization", &format!("Bearer {token}"))).status, 200);
        http
    };
    let _first = listen(&id, "old");
    station.ask(&with("old")).expect(503);
    station.write(&head("new", 2), &[Server::demo("a", &[])]);
    station.control("reload", json!({}));
    station.ask(&with("old")).expect(401);
    let second = station.ask(&with("new")).expect(200);
    let _second = listen(second.header("mcp-session-id"), "new");
    station.ask(&with("new")).expect(503);
    // The session of before is still there, for whoever has the new token.
    let ping = Ask::post(PATH, &rpc(1, "ping", json!({}))).header("Mcp-Session-Id", &id);
    station.ask(&ping.clone().header("Authorization", "Bearer old")).expect(401);
    station.ask(&ping.header("Authorization", "Bearer new")).expect(200);
}
