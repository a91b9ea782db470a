//! Soak (N04): many requests of clients that come and go, servers that crash all the time; descriptors,
//! processes, memory and tables end where they began. A plain test run takes a few seconds; `make soak` a
//! million requests.

#[allow(dead_code, unused_imports)]
#[path = "e2e_mux/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::mux::{Mux, Scratch, Server};
use support::process::{descendants, descriptors, figure};
use support::{Client, holds_within, text};

/// Requests of a plain test run.
const REQUESTS: u64 = 80_000;
/// Threads with one client each at a time.
const WORKERS: u64 = 4;
/// Requests that a client sends before it reads the answers.
const BATCH: u64 = 20;

#[derive(Default)]
struct Counts {
    /// Sent; the goal is in these.
    requests: AtomicU64,
    answers: AtomicU64,
    /// Told that their process had ended.
    lost: AtomicU64,
    clients: AtomicU64,
    crashes: AtomicU64,
}

/// What must be as it was.
#[derive(Debug, PartialEq)]
struct Figures {
    descriptors: usize,
    processes: usize,
    tables: Value,
}

fn start() -> Mux {
    let keys =
        "restart_backoff_ms = 1\nrestart_backoff_max_ms = 5\nmax_restarts = 0\nmax_active_clients = 50";
    // Without a journal: it would become as long as the soak.
    let server = |name: &str, options: &str, more: &str| {
        let script = format!("exec BINARY demo-server --name {name} {options}");
        Server::script(name, &script).keys(keys).keys(more)
    };
    let servers = [
        server("shared", "", ""),
        server("own", "", "share = \"session\""),
        server("modern", "--era modern", "era = \"modern\""),
    ];
    let dir = Arc::new(Scratch::new());
    let tables: String = servers.iter().map(|server| server.toml(&dir.0)).collect();
    std::fs::write(dir.0.join("mux.toml"), format!("control = \"control.sock\"\n{tables}")).unwrap();
    let mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "error"], |_| {});
    let is_up = || mux.path("control.sock").exists() && mux.socket("modern").exists();
    assert!(holds_within(support::PATIENCE, is_up));
    mux
}

/// One client's life: batches of calls, a crash now and then, sometimes a sudden end.
fn live(mux: &Mux, counts: &Counts, number: u64) {
    let (server, is_modern) = match number % 40 {
        0 => ("own", false),
        n if n % 4 == 1 => ("modern", true),
        _ => ("shared", false),
    };
    counts.clients.fetch_add(1, Ordering::Relaxed);
    let mut client = mux.connect(server);
    if !is_modern && !greet(&mut client) {
        return;
    }
    for batch in 0..(1 + number % 8) {
        let crash = (number.is_multiple_of(9) && batch == 1).then_some(batch * BATCH + 7);
        if crash.is_some() {
            counts.crashes.fetch_add(1, Ordering::Relaxed);
        }
        let ids = batch * BATCH + 1..=(batch + 1) * BATCH;
        let lines: String = ids.clone().map(|id| line(id, is_modern, crash == Some(id))).collect();
        client.stream.write_all(lines.as_bytes()).expect("muxloop reads");
        counts.requests.fetch_add(BATCH, Ordering::Relaxed);
        if number % 11 == 3 && batch == number % 8 {
            return;
        }
        for id in ids {
            let answer = client.answer(&json!(id));
            match answer.get("error") {
                None => assert_eq!(text(&answer), id.to_string(), "{answer}"),
                Some(error) => {
                    assert_eq!(error["data"]["muxloop"]["reason"], "restarting", "{answer}");
                    counts.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            counts.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The legacy handshake; false if the process ended in the middle of it.
fn greet(client: &mut Client) -> bool {
    client.send(&support::initialize(0, json!({})));
    let answer = client.answer(&json!(0));
    client.send_line(support::INITIALIZED);
    answer["result"].is_object()
}

fn line(id: u64, is_modern: bool, crash: bool) -> String {
    let tool = if crash { "crash" } else { "echo" };
    let mut params = json!({ "name": tool, "arguments": { "text": id.to_string() } });
    if crash {
        params["arguments"] = json!({ "code": 3 });
    }
    if is_modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "soak", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }))
}

/// Clients one after the other on every worker until so many requests have been sent.
fn soak(mux: &Mux, counts: &Counts, goal: u64) {
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let mut number = worker;
                while counts.requests.load(Ordering::Relaxed) < goal {
                    live(mux, counts, number);
                    number += WORKERS + 1;
                }
            });
        }
    });
}

fn status(control: &mut Client) -> Value {
    control.ask("status", json!({}))["result"].clone()
}

/// The figures once nobody is connected and every server that should run does.
fn at_rest(mux: &Mux, control: &mut Client) -> Figures {
    // The control connection, and two for each of two servers.
    let rests = |report: &Value| {
        let is_ready = |at: usize| report["servers"][at]["state"] == "ready";
        report["connections"] == 5 && report["clients"] == 0 && is_ready(0) && is_ready(2)
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut report = control.ask("watch", json!({ "interval_ms": 100 }))["result"].clone();
    while !rests(&report) && Instant::now() < deadline {
        report = control.incoming("status")["params"].clone();
    }
    control.ask("unwatch", json!({}));
    report = status(control);
    let rested = rests(&report);
    assert!(rested, "{report}");
    Figures {
        descriptors: descriptors(mux.pid),
        processes: descendants(mux.pid).len(),
        tables: report["tables"].clone(),
    }
}

#[test]
fn a_long_life_leaves_nothing_behind() {
    let goal = std::env::var("MUXLOOP_SOAK").map_or(REQUESTS, |text| text.parse().expect("a number"));
    let (mux, counts, start) = (start(), Counts::default(), Instant::now());
    let mut control = Client::connect(&mux.path("control.sock"));
    soak(&mux, &counts, goal / 5);
    let before = at_rest(&mux, &mut control);
    let memory = figure(mux.pid, "VmRSS");
    soak(&mux, &counts, goal);
    let mut after = at_rest(&mux, &mut control);
    // A last timer may be on its way out.
    holds_within(Duration::from_secs(30), || {
        after = at_rest(&mux, &mut control);
        after == before
    });
    let grown = figure(mux.pid, "VmRSS") as i64 - memory as i64;
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} requests, {} answers ({} lost with their process), {} clients, {} crashes in {:.1} s; \
         resident {memory} KiB after a fifth, {grown:+} KiB at the end; {after:?}",
        of(&counts.requests),
        of(&counts.answers),
        of(&counts.lost),
        of(&counts.clients),
        of(&counts.crashes),
        start.elapsed().as_secs_f64(),
    );
    assert_eq!(after, before);
    assert!(grown < 2_000, "{grown} KiB more");
    assert!(of(&counts.crashes) > 5 && of(&counts.lost) > 0 && of(&counts.clients) > 100);
}
