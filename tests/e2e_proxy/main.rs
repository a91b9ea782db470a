//! The stdio shim in a process of its own, between a host and a daemon that both misbehave (row D02).
//!
//! This program is the test runner and, called with `proxy`, the shim.

mod support;

use muxloop::proxy::bridge::Bridge;
use muxloop::proxy::{self, ProxyOptions};
use muxloop::reactor::sys;
use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::process::{Stdio, exit};
use std::time::{Duration, Instant};
use support::{Daemon, Host, PATIENCE, Scratch, lines_of, shim, socket_pair};

fn main() {
    let args: Vec<String> = env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["proxy", socket, wait_ms, "10000"] => {
            let wait_ms = Some(wait_ms.parse().unwrap()).filter(|wait_ms| *wait_ms > 0);
            let code = proxy::run(ProxyOptions { socket: socket.into(), wait_ms });
            // `ExitCode` only means something as the value of `main`.
            exit(i32::from(code != std::process::ExitCode::SUCCESS))
        }
        ["proxy", socket, wait_ms, reconnect_ms] => {
            let bridge = Bridge::new(
                Box::new(std::path::PathBuf::from(socket)),
                wait_ms.parse().unwrap(),
                reconnect_ms.parse().unwrap(),
            );
            if let Err(text) = bridge.run() {
                eprintln!("{text}");
                exit(1)
            }
        }
        _ => run(words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or("")),
    }
}

const TESTS: &[(&str, fn())] = &[
    ("outstanding_answers_arrive_after_the_end_of_stdin", outstanding_answers_arrive_after_the_end_of_stdin),
    ("sockets_files_and_unfinished_lines_will_do", sockets_files_and_unfinished_lines_will_do),
    ("nobody_listening_is_one_clear_line", nobody_listening_is_one_clear_line),
    ("a_listener_is_waited_for", a_listener_is_waited_for),
    ("a_restart_is_survived", a_restart_is_survived),
    ("what_is_written_meanwhile_arrives_later", what_is_written_meanwhile_arrives_later),
    ("a_muxloop_that_stays_away_is_given_up", a_muxloop_that_stays_away_is_given_up),
    ("being_turned_away_is_final", being_turned_away_is_final),
    ("a_host_that_does_not_read_fills_no_memory", a_host_that_does_not_read_fills_no_memory),
    ("large_messages_pass_both_ways_at_once", large_messages_pass_both_ways_at_once),
    ("signals_and_a_gone_host_end_it_at_once", signals_and_a_gone_host_end_it_at_once),
    ("it_is_small_and_starts_fast", it_is_small_and_starts_fast),
];

fn run(filter: &str) {
    let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| name.contains(filter)).collect();
    println!("\nrunning {} tests", chosen.len());
    let mut failed = 0;
    for (name, test) in &chosen {
        let outcome = std::panic::catch_unwind(test).is_ok();
        failed += usize::from(!outcome);
        println!("test {name} ... {}", if outcome { "ok" } else { "FAILED" });
    }
    println!("\ntest result: {} passed; {failed} failed\n", chosen.len() - failed);
    exit(i32::from(failed > 0) * 101)
}

fn request(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{}}}}"#)
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"}}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

fn outstanding_answers_arrive_after_the_end_of_stdin() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let mut host = Host::start(&scratch.path("s"));
    let mut peer = daemon.accept();
    host.send(&request(1));
    host.send(&request(2));
    host.close_stdin();
    assert_eq!([peer.line(), peer.line()], [request(1), request(2)]);
    assert_eq!(peer.try_line(), None, "the end of stdin is passed on");
    peer.send(&result(2));
    assert_eq!(host.line(), result(2));
    peer.send(&result(1));
    drop(peer);
    assert_eq!(host.rest(), [result(1)]);
    assert_eq!(host.end(), (Some(0), String::new()));
}

fn sockets_files_and_unfinished_lines_will_do() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let (mut ours, theirs) = socket_pair();
    let mut child = shim(&scratch.path("s"), "0", "10000");
    let out = theirs.try_clone().unwrap();
    let mut child = child.stdin(theirs).stdout(out).spawn().unwrap();
    let mut peer = daemon.accept();
    ours.write_all(request(1).as_bytes()).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(peer.line(), request(1));
    peer.send(&result(1));
    drop(peer);
    assert_eq!(lines_of(ours).recv_timeout(PATIENCE).unwrap(), result(1));
    assert!(child.wait().unwrap().success());

    let lines: String = (1..500).map(|id| request(id) + "\r\n").collect();
    fs::write(scratch.path("in"), lines.trim_end()).unwrap();
    let mut child = shim(&scratch.path("s"), "0", "10000");
    child.stdin(File::open(scratch.path("in")).unwrap());
    child.stdout(File::create(scratch.path("out")).unwrap());
    let mut child = child.spawn().unwrap();
    let mut peer = daemon.accept();
    for id in 1..500 {
        assert_eq!(peer.line(), request(id));
        peer.send(&result(id));
    }
    assert_eq!(peer.try_line(), None);
    drop(peer);
    assert!(child.wait().unwrap().success());
    let want: String = (1..500).map(|id| result(id) + "\n").collect();
    assert_eq!(fs::read_to_string(scratch.path("out")).unwrap(), want);
}

fn nobody_listening_is_one_clear_line() {
    let scratch = Scratch::new();
    let stale = scratch.path("stale");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    for path in [scratch.path("missing"), stale] {
        let started = Instant::now();
        let (code, text) = Host::start(&path).end();
        assert_eq!(code, Some(1));
        let want = format!("muxloop proxy: nobody listens at {} (", path.display());
        assert!(text.starts_with(&want) && text.ends_with("--wait MS\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    let long = scratch.path(&"x".repeat(200));
    let (code, text) = Host::start(&long).end();
    assert_eq!((code, text.contains("the kernel takes at most")), (Some(1), true), "{text}");
    let (code, text) = Host::with(&mut shim(&scratch.path("missing"), "300", "10000")).end();
    assert_eq!((code, text.contains("nobody listens")), (Some(1), true), "{text}");
}

fn a_listener_is_waited_for() {
    let scratch = Scratch::new();
    let mut host = Host::with(&mut shim(&scratch.path("s"), "20000", "10000"));
    host.send(&request(1));
    host.close_stdin();
    let mut peer = Daemon::listen(&scratch.path("s")).accept();
    assert_eq!(peer.line(), request(1));
    peer.send(&result(1));
    drop(peer);
    assert_eq!(host.rest(), [result(1)]);
    assert_eq!(host.end().0, Some(0));
}

fn a_restart_is_survived() {
    let scratch = Scratch::new();
    let mut daemon = Daemon::listen(&scratch.path("s"));
    let mut host = Host::start(&scratch.path("s"));
    let mut peer = daemon.accept();
    host.send(INITIALIZE);
    assert_eq!(peer.line(), INITIALIZE);
    peer.send(INITIALIZED);
    assert_eq!(host.line(), INITIALIZED);
    host.send(READY);
    assert_eq!(peer.line(), READY);
    for restart in 1..=3 {
        host.send(&request(7));
        assert_eq!(peer.line(), request(7));
        peer.stream.write_all(br#"{"jsonrpc":"2.0","id":7,"resu"#).unwrap();
        drop(daemon);
        drop(peer);
        let error = host.line();
        let want = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"muxloop restarted"#;
        assert!(error.starts_with(want) && error.contains(r#""muxloop":{"reason":"restarted"}"#), "{error}");
        daemon = Daemon::listen(&scratch.path("s"));
        peer = daemon.accept();
        // A line from between the connections waits until the handshake is done.
        host.send(&request(8));
        let own = format!("\"muxloop-proxy-replay-{restart}\"");
        assert_eq!(peer.line(), INITIALIZE.replace("\"id\":0", &format!("\"id\":{own}")));
        peer.send(&INITIALIZED.replace("\"id\":0", &format!("\"id\":{own}")));
        assert_eq!(peer.line(), READY);
        assert_eq!(peer.line(), request(8));
        assert!(host.line().contains("notifications/tools/list_changed"));
        peer.send(&result(8));
        assert_eq!(host.line(), result(8), "and nothing of the handshake");
    }
    host.close_stdin();
    assert_eq!(peer.try_line(), None);
    drop(peer);
    assert_eq!(host.end(), (Some(0), String::new()));
}

fn what_is_written_meanwhile_arrives_later() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let mut host = Host::start(&scratch.path("s"));
    let mut peer = daemon.accept();
    host.send(&request(0));
    assert_eq!(peer.line(), request(0));
    drop(daemon);
    drop(peer);
    assert!(host.line().contains("restarted"));
    // 3 MiB: more than the shim keeps; the rest waits in the pipe and with the writer.
    let mut stdin = host.stdin.take().unwrap();
    let filler = "x".repeat(1000);
    let line = move |id: u32| request(id).replace("{}", &format!("{{\"f\":\"{filler}\"}}"));
    let sent = line.clone();
    let writer = std::thread::spawn(move || {
        (1..3000).for_each(|id| stdin.write_all((sent(id) + "\n").as_bytes()).unwrap());
    });
    let mut peer = Daemon::listen(&scratch.path("s")).accept();
    for id in 1..3000 {
        assert_eq!(peer.line(), line(id));
    }
    writer.join().unwrap();
    assert_eq!(peer.try_line(), None);
}

fn a_muxloop_that_stays_away_is_given_up() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let mut host = Host::with(&mut shim(&scratch.path("s"), "0", "300"));
    let mut peer = daemon.accept();
    host.send(&request(1));
    assert_eq!(peer.line(), request(1));
    drop(daemon);
    drop(peer);
    assert!(host.line().contains("\"id\":1,"));
    host.send(&request(2));
    let rest = host.rest();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert!(rest[0].starts_with(r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"#), "{rest:?}");
    let (code, text) = host.end();
    assert_eq!(code, Some(1));
    assert!(text.contains("is gone and did not come back"), "{text}");

    // Also one that accepts and hangs up for ever.
    let daemon = Daemon::listen(&scratch.path("s"));
    let host = Host::with(&mut shim(&scratch.path("s"), "0", "300"));
    let started = Instant::now();
    let hangs_up = std::thread::spawn(move || {
        daemon.accept();
        daemon.accept();
        daemon.accept();
    });
    assert_eq!(host.end().0, Some(1));
    assert!(started.elapsed() < Duration::from_secs(10));
    hangs_up.join().unwrap();
}

fn being_turned_away_is_final() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let mut host = Host::start(&scratch.path("s"));
    let mut peer = daemon.accept();
    host.send(INITIALIZE);
    assert_eq!(peer.line(), INITIALIZE);
    let refusal =
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32603,"message":"no room for a sixth client"}}"#;
    peer.send(refusal);
    drop(peer);
    assert_eq!(host.rest(), [refusal]);
    let (code, text) = host.end();
    assert_eq!((code, text.contains("refused this client")), (Some(1), true), "{text}");
}

fn a_host_that_does_not_read_fills_no_memory() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let mut child = shim(&scratch.path("s"), "0", "10000").spawn().unwrap();
    let mut peer = daemon.accept();
    // 20 MB of notifications, until nothing is taken any more.
    let line =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":"{}"}}"#, "x".repeat(990));
    let all = (line.clone() + "\n").repeat(20_000).into_bytes();
    peer.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while sent < all.len() {
        match peer.stream.write(&all[sent..]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < 4 << 20, "{sent} bytes were taken");
    let busy = |pid: u32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.split_whitespace().skip(13).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    };
    assert!(busy(child.id()) < 20, "{} ticks: it spins while nobody reads", busy(child.id()));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("  {} KiB taken, {}", sent >> 10, peak.split_whitespace().collect::<Vec<_>>().join(" "));
    // Then it reads after all, and nothing is missing.
    let lines = lines_of(child.stdout.take().unwrap());
    peer.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    peer.stream.write_all(&all[sent..]).unwrap();
    drop(child.stdin.take());
    drop(peer);
    for at in 0..20_000 {
        assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), line, "line {at}");
    }
    assert!(lines.recv_timeout(PATIENCE).is_err());
    assert!(child.wait().unwrap().success());
}

fn large_messages_pass_both_ways_at_once() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let mut host = Host::start(&scratch.path("s"));
    let mut peer = daemon.accept();
    let text = "é".repeat(2_500_000);
    let up = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"text":"{text}"}}}}"#);
    let down =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"text":"{text}"}}}}"#);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let mut stream = peer.stream.try_clone().unwrap();
        let sent = format!("{down}\n");
        scope.spawn(move || stream.write_all(sent.as_bytes()).unwrap());
        let mut stdin = host.stdin.take().unwrap();
        let sent = format!("{up}\n");
        scope.spawn(move || stdin.write_all(sent.as_bytes()).unwrap());
        assert!(peer.line() == up, "5 MB up");
        assert!(host.line() == down, "5 MB down");
    });
    println!("  2 x 5 MB in {:?}", started.elapsed());
    peer.send(&result(1));
    assert_eq!(host.line(), result(1));
}

fn signals_and_a_gone_host_end_it_at_once() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut host = Host::start(&scratch.path("s"));
        let mut peer = daemon.accept();
        host.send(&request(1));
        assert_eq!(peer.line(), request(1));
        sys::signal_process(host.child.id() as i32, signal).unwrap();
        assert_eq!(host.end().0, Some(0));
        assert_eq!(peer.try_line(), None);
    }
    let mut child = shim(&scratch.path("s"), "0", "10000");
    let mut child = child.stderr(Stdio::null()).spawn().unwrap();
    let mut peer = daemon.accept();
    // It stops reading, but something still holds the shim's stdin.
    drop(child.stdout.take());
    assert_eq!(peer.try_line(), None);
    assert!(child.wait().unwrap().success());
}

fn it_is_small_and_starts_fast() {
    let scratch = Scratch::new();
    let daemon = Daemon::listen(&scratch.path("s"));
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let started = Instant::now();
        let mut host = Host::start(&scratch.path("s"));
        let mut peer = daemon.accept();
        fastest = fastest.min(started.elapsed());
        host.send(&request(1));
        peer.line();
        peer.send(&result(1));
        host.line();
    }
    let mut host = Host::start(&scratch.path("s"));
    let mut peer = daemon.accept();
    for id in 0..1000 {
        host.send(&request(id));
        assert_eq!(peer.line(), request(id));
        peer.send(&result(id));
        assert_eq!(host.line(), result(id));
    }
    println!("  connected {fastest:?} after its start, RSS {} KiB after 1000 requests", host.rss_kb());
    // Row M05 is measured on the release build; this only notices a fall.
    assert!(fastest < Duration::from_millis(50) && host.rss_kb() < 6 << 10);
}
