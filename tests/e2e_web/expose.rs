//! `muxloop proxy --stdio CMD` (row G05): one server over HTTP without a configuration.

use crate::support::base::mux::{BINARY, Mux, Scratch};
use crate::support::station::port;
use crate::support::{
    Ask, Http, PATIENCE, Reply, Watched, call, descendants, holds_within, initialize, rpc, structured, text,
};
use muxloop::reactor::procfs;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// The front of one server, and where it listens.
struct Exposed {
    mux: Mux,
    address: SocketAddr,
}

fn demo(options: &str) -> String {
    format!("'{BINARY}' demo-server {options}")
}

impl Exposed {
    fn start(command: &str, options: &[&str]) -> Exposed {
        let args = [&["proxy", "--stdio", command, "-p", "0", "--log-level", "debug"], options].concat();
        let mux = Mux::run(Arc::new(Scratch::new()), &args, |_| {});
        let address = port(&mux.wait_log("listening on http://"));
        Exposed { mux, address }
    }

    fn streamable(command: &str, options: &[&str]) -> Exposed {
        Exposed::start(command, &[&["--outputTransport", "streamableHttp"], options].concat())
    }

    fn ask(&self, ask: &Ask) -> Reply {
        Http::connect(self.address).ask(ask)
    }

    /// The id of a new session, its handshake done.
    fn session(&self) -> String {
        let reply = self.ask(&Ask::post("/mcp", &initialize("2025-11-25", json!({})))).expect(200);
        let id = reply.header("mcp-session-id").to_owned();
        assert!(!id.is_empty());
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.ask(&Ask::post("/mcp", &ready).header("Mcp-Session-Id", &id)).expect(202);
        id
    }

    fn in_session(&self, id: &str, message: &Value) -> Reply {
        self.ask(&Ask::post("/mcp", message).header("Mcp-Session-Id", id))
    }

    /// The processes of the server; muxloop keeps one of its own, which ends them should it be killed.
    fn processes(&self) -> Vec<i32> {
        let is_server = |pid: &i32| procfs::command(*pid).contains("demo-server");
        descendants(self.mux.pid).into_iter().filter(is_server).collect()
    }

    fn assert_alone(&self) {
        assert!(holds_within(PATIENCE, || self.processes().is_empty()), "{:?}", self.processes());
    }
}

/// The process that answered a call of `whoami`.
fn pid(answer: &Value) -> i32 {
    structured(answer)["pid"].as_i64().unwrap_or_else(|| panic!("no pid: {answer}")) as i32
}

fn whoami(id: u64) -> Value {
    call(id, "whoami", json!({}))
}

/// A client of HTTP+SSE.
struct Events {
    address: SocketAddr,
    stream: Http,
    endpoint: String,
}

impl Events {
    /// After the handshake.
    fn open(exposed: &Exposed, path: &str) -> Events {
        let mut stream = Http::connect(exposed.address);
        let head = stream.start(&Ask::get(path).header("Accept", "text/event-stream"));
        assert!(head.status == 200 && head.is_stream(), "{head:?}");
        let first = stream.event().expect("the endpoint");
        assert_eq!(first.event.as_deref(), Some("endpoint"));
        let endpoint = String::from_utf8(first.data).unwrap();
        let mut events = Events { address: exposed.address, stream, endpoint };
        let answer = events.request(&initialize("2024-11-05", json!({})));
        assert!(answer["result"].is_object(), "{answer}");
        events.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        events
    }

    fn post(&self, message: &Value) {
        Http::connect(self.address).ask(&Ask::post(&self.endpoint, message)).expect(202);
    }

    fn request(&mut self, message: &Value) -> Value {
        self.post(message);
        self.stream.until(|answer| answer["id"] == message["id"])
    }
}

#[test]
fn clients_of_event_streams_share_one_process() {
    let mut exposed = Exposed::start(&demo(""), &[]);
    let (mut one, mut two) = (Events::open(&exposed, "/sse"), Events::open(&exposed, "/sse"));
    assert!(one.endpoint.starts_with("/message?sessionId="), "{}", one.endpoint);
    let first = pid(&one.request(&whoami(1)));
    assert_eq!(pid(&two.request(&whoami(1))), first);
    for round in 0..20 {
        one.post(&call(7, "echo", json!({ "text": format!("one {round}") })));
        two.post(&call(7, "echo", json!({ "text": format!("two {round}") })));
        assert_eq!(text(&one.stream.message()), format!("one {round}"));
        assert_eq!(text(&two.stream.message()), format!("two {round}"));
    }
    // It outlives its clients.
    drop((one, two));
    assert_eq!(pid(&Events::open(&exposed, "/sse").request(&whoami(1))), first);
    let child = Watched::new(first);
    exposed.mux.stop();
    child.assert_ends();
}

#[test]
fn without_sessions_each_request_has_a_process_that_ends_with_it() {
    let exposed = Exposed::streamable(&demo(""), &["--spare", "0"]);
    let mut seen = Vec::new();
    let mut http = Http::connect(exposed.address);
    for id in 0..3 {
        let reply = http.ask(&Ask::post("/mcp", &whoami(id))).expect(200);
        assert_eq!(reply.header("mcp-session-id"), "");
        let process = pid(&reply.message());
        assert!(!seen.contains(&process), "{process} again");
        seen.push(process);
        exposed.assert_alone();
    }
    // At the same time, too.
    let mut many: Vec<Http> = (0..4).map(|_| Http::connect(exposed.address)).collect();
    for (id, http) in many.iter_mut().enumerate() {
        http.send(&Ask::post("/mcp", &whoami(id as u64)));
    }
    for (id, http) in many.iter_mut().enumerate() {
        let answer = http.reply().expect(200).message();
        assert_eq!(answer["id"], id);
        assert!(!seen.contains(&pid(&answer)));
        seen.push(pid(&answer));
    }
    exposed.assert_alone();
    // A handshake is answered, and forgotten.
    let greeting = exposed.ask(&Ask::post("/mcp", &initialize("2025-06-18", json!({})))).expect(200);
    assert_eq!(greeting.message()["result"]["protocolVersion"], "2025-06-18");
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    exposed.ask(&Ask::post("/mcp", &note)).expect(202);
    exposed.ask(&Ask::get("/mcp").header("Accept", "text/event-stream")).expect(405);
    exposed.ask(&Ask::new("DELETE", "/mcp")).expect(405);
    exposed.assert_alone();
}

/// The process that was started as number `count`.
fn started(exposed: &Exposed, count: usize) -> i32 {
    let line = exposed.mux.wait_logs(count, "started, pid");
    line.rsplit("pid ").next().unwrap().trim().parse().unwrap_or_else(|_| panic!("no pid: {line}"))
}

#[test]
fn requests_and_sessions_find_a_process_that_runs_already() {
    let exposed = Exposed::streamable(&demo(""), &[]);
    for id in 1..=3 {
        let spare = started(&exposed, id);
        let answer = exposed.ask(&Ask::post("/mcp", &whoami(id as u64))).expect(200).message();
        assert_eq!(pid(&answer), spare);
    }
    started(&exposed, 4);
    assert!(holds_within(PATIENCE, || exposed.processes().len() == 1), "{:?}", exposed.processes());

    let exposed = Exposed::streamable(&demo(""), &["--stateful", "--spare", "2"]);
    let spares = [started(&exposed, 1), started(&exposed, 2)];
    let id = exposed.session();
    let first = pid(&exposed.in_session(&id, &whoami(1)).expect(200).message());
    assert!(spares.contains(&first), "{first} of {spares:?}");
    assert_eq!(pid(&exposed.in_session(&id, &whoami(2)).expect(200).message()), first);
    started(&exposed, 3);

    // Nobody would take one of a shared process.
    let exposed = Exposed::start(&demo(""), &["--spare", "2"]);
    Events::open(&exposed, "/sse");
    assert_eq!((exposed.mux.logged("started, pid"), exposed.processes().len()), (1, 1));
}

#[test]
fn a_client_that_vanishes_takes_the_process_of_its_request_along() {
    let exposed = Exposed::streamable(&demo(""), &["--spare", "0"]);
    let mut http = Http::connect(exposed.address);
    let ask = crate::support::call_with_progress(1, "sleep", json!({ "ms": 600_000, "steps": 600_000 }), "t");
    let head = http.start(&Ask::post("/mcp", &ask));
    assert!(head.is_stream(), "progress makes it a stream");
    http.message();
    assert!(!exposed.processes().is_empty());
    drop(http);
    exposed.assert_alone();
}

#[test]
fn each_session_has_a_process_that_ends_with_delete() {
    let exposed = Exposed::streamable(&demo(""), &["--stateful"]);
    let (one, two) = (exposed.session(), exposed.session());
    let process = |id: &str| pid(&exposed.in_session(id, &whoami(1)).expect(200).message());
    let (first, second) = (process(&one), process(&two));
    assert_ne!(first, second);
    assert_eq!(process(&one), first, "the same for the whole session");
    exposed.in_session(&one, &call(2, "counter_add", json!({ "by": 5 }))).expect(200);
    let count = |id: &str| {
        let answer =
            exposed.in_session(id, &call(3, "counter_add", json!({ "by": 1 }))).expect(200).message();
        structured(&answer)["value"].clone()
    };
    assert_eq!((count(&one), count(&two)), (json!(6), json!(1)));
    let watched = Watched::new(first);
    exposed.ask(&Ask::new("DELETE", "/mcp").header("Mcp-Session-Id", &one)).expect(200);
    watched.assert_ends();
    exposed.in_session(&one, &whoami(1)).expect(404);
    assert_eq!(process(&two), second);
}

#[test]
fn sessions_end_when_they_are_not_used() {
    let exposed = Exposed::streamable(&demo(""), &["--stateful", "--sessionTimeout", "300"]);
    let id = exposed.session();
    let watched = Watched::new(pid(&exposed.in_session(&id, &whoami(1)).expect(200).message()));
    // A request that takes longer is use.
    let answer = exposed.in_session(&id, &call(2, "sleep", json!({ "ms": 900 }))).expect(200).message();
    assert_eq!(text(&answer), "slept 900 ms");
    assert!(watched.lives());
    watched.assert_ends();
    exposed.in_session(&id, &whoami(1)).expect(404);
    exposed.assert_alone();
}

#[test]
fn a_server_that_crashes_is_started_again_so_many_times() {
    let exposed = Exposed::start(&demo("--die-at-start 3"), &["--maxRestarts", "1"]);
    let mut stream = Http::connect(exposed.address);
    stream.start(&Ask::get("/sse").header("Accept", "text/event-stream"));
    let endpoint = String::from_utf8(stream.event().unwrap().data).unwrap();
    exposed.ask(&Ask::post(&endpoint, &initialize("2024-11-05", json!({})))).expect(202);
    let answer = stream.message();
    assert!(answer["error"]["message"].as_str().unwrap().contains("status 3"), "{answer}");
    exposed.mux.wait_log("given up after 1 restarts: exited with status 3");
    exposed.ask(&Ask::post(&endpoint, &initialize("2024-11-05", json!({})))).expect(202);
    let answer = stream.until(|answer| answer["error"].is_object());
    assert!(answer["error"]["data"]["muxloop"]["reason"].is_string(), "{answer}");
    // It ends on either greeting, so that each start takes two processes.
    exposed.mux.assert_logged(4, "started, pid");
    exposed.ask(&Ask::get("/health")).expect(200);
}

/// 0 is no limit, neither none nor the default of 3.
#[test]
fn a_server_that_crashes_is_started_again_for_ever_if_told_so() {
    let exposed = Exposed::start(&demo("--die-at-start 3"), &["--maxRestarts", "0"]);
    let mut stream = Http::connect(exposed.address);
    stream.start(&Ask::get("/sse").header("Accept", "text/event-stream"));
    let endpoint = String::from_utf8(stream.event().unwrap().data).unwrap();
    exposed.ask(&Ask::post(&endpoint, &initialize("2024-11-05", json!({})))).expect(202);
    // Its handshake waits as long as there is hope.
    exposed.mux.wait_log("(attempt 4)");
    // It ends on either greeting, so that each start takes two processes.
    exposed.mux.assert_logged(8, "started, pid");
    assert_eq!(exposed.mux.logged("given up"), 0);
    exposed.ask(&Ask::get("/health")).expect(200);
}

#[test]
fn a_command_that_does_not_exist_is_told_to_client_and_log() {
    for options in
        [&["--outputTransport", "streamableHttp"][..], &["--outputTransport", "streamableHttp", "--stateful"]]
    {
        let exposed = Exposed::start("/no/such/program --flag", options);
        let reply = exposed.ask(&Ask::post("/mcp", &initialize("2025-11-25", json!({}))));
        let answer = reply.message();
        let words = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {answer}"));
        assert!(words.contains("127"), "{words}");
        let log = exposed.mux.wait_log("/no/such/program");
        assert!(log.contains("not found"), "{log}");
    }
}

#[test]
fn web_pages_may_ask_if_told_so() {
    let preflight = |path: &str| {
        Ask::new("OPTIONS", path)
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type, mcp-session-id")
    };
    let post = Ask::post("/mcp", &rpc(1, "ping", json!({}))).header("Origin", "https://app.example");
    let open = Exposed::streamable(&demo(""), &["--cors"]);
    let reply = open.ask(&preflight("/mcp")).expect(204);
    assert!(reply.header("access-control-allow-methods").contains("POST"));
    assert!(reply.header("access-control-allow-headers").contains("mcp-session-id"));
    let reply = open.ask(&post).expect(200);
    assert!(["*", "https://app.example"].contains(&reply.header("access-control-allow-origin")));
    for options in [&[][..], &["--no-cors"]] {
        let closed = Exposed::streamable(&demo(""), options);
        closed.ask(&preflight("/mcp")).expect(403);
        let reply = closed.ask(&post).expect(403);
        assert_eq!(reply.header("access-control-allow-origin"), "");
        // Without an Origin it is no page.
        closed.ask(&post.clone().header("Origin", "")).expect(200);
    }
}

#[test]
fn paths_are_where_they_are_told_to_be() {
    let options = [
        "--basePath",
        "/base/",
        "--ssePath",
        "/events",
        "--messagePath",
        "post",
        "--healthEndpoint",
        "/alive",
    ];
    let exposed = Exposed::start(&demo(""), &options);
    let mut events = Events::open(&exposed, "/base/events");
    assert!(events.endpoint.starts_with("/base/post?sessionId="), "{}", events.endpoint);
    assert_eq!(events.request(&rpc(3, "ping", json!({})))["result"], json!({}));
    exposed.ask(&Ask::get("/alive")).expect(200);
    for gone in ["/sse", "/message", "/events", "/mcp", "/ui", "/metrics", "/health"] {
        let reply = exposed.ask(&Ask::get(gone)).expect(404);
        assert!(reply.text().contains("/base/events"), "{}", reply.text());
    }
    let options = ["--streamableHttpPath", "/tools", "--basePath", "/v1"];
    let exposed = Exposed::streamable(&demo(""), &options);
    exposed.ask(&Ask::post("/v1/tools", &rpc(1, "ping", json!({})))).expect(200);
    exposed.ask(&Ask::post("/tools", &rpc(1, "ping", json!({})))).expect(404);
}

#[test]
fn a_kill_leaves_no_process() {
    for options in [&[][..], &["--stateful"]] {
        let mut exposed = Exposed::streamable(&demo(""), options);
        let mut streams = Vec::new();
        for _ in 0..3 {
            let message = crate::support::call_with_progress(
                1,
                "sleep",
                json!({ "ms": 600_000, "steps": 600_000 }),
                "t",
            );
            let mut ask = Ask::post("/mcp", &message);
            if !options.is_empty() {
                ask = ask.header("Mcp-Session-Id", &exposed.session());
            }
            let mut http = Http::connect(exposed.address);
            http.start(&ask);
            http.message();
            streams.push(http);
        }
        let children: Vec<Watched> = descendants(exposed.mux.pid).into_iter().map(Watched::new).collect();
        assert!(children.len() >= 3);
        exposed.mux.signal(libc::SIGKILL);
        exposed.mux.ended();
        children.iter().for_each(Watched::assert_ends);
    }
}

#[test]
fn a_stop_ends_everything_and_says_so() {
    let mut exposed = Exposed::streamable(&demo("--ignore-term"), &["--stateful"]);
    let id = exposed.session();
    exposed.in_session(&id, &whoami(1)).expect(200);
    let children: Vec<Watched> = descendants(exposed.mux.pid).into_iter().map(Watched::new).collect();
    assert!(!children.is_empty());
    exposed.mux.stop();
    children.iter().for_each(Watched::assert_ends);
    exposed.mux.wait_log("stopped");
}

/// Runs to its end: exit code and lines on stderr.
fn refused(args: &[&str]) -> (Option<i32>, Vec<String>) {
    let mut mux = Mux::run(Arc::new(Scratch::new()), args, |_| {});
    let code = mux.ended().code();
    (code, mux.log().lines().map(str::to_owned).collect())
}

#[test]
fn a_port_that_is_taken_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, lines) = refused(&["proxy", "--stdio", "cat", "-p", &port]);
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains(&port) && lines[0].contains("in use"), "{lines:?}");
}

#[test]
fn the_world_is_not_let_in_unless_told_so() {
    let (code, lines) = refused(&["proxy", "--stdio", "cat", "-p", "0.0.0.0:0"]);
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("--insecure-listen"), "{lines:?}");
    let dir = Arc::new(Scratch::new());
    let mux = Mux::run(dir, &["proxy", "--stdio", "cat", "-p", "0.0.0.0:0", "--insecure-listen"], |_| {});
    assert!(mux.wait_log("no token").contains("WARN"));
    mux.wait_log("listening on http://0.0.0.0:");
    for wrong in ["65536", "example.com:80", "-1", ""] {
        let (code, lines) = refused(&["proxy", "--stdio", "cat", "--port", wrong]);
        assert!(matches!(code, Some(1 | 2)) && !lines.is_empty(), "{wrong}: {code:?} {lines:?}");
    }
}
