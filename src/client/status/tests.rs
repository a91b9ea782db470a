use super::*;
use crate::control::{Latency, Recent};

fn server(name: &str, state: State) -> ServerReport {
    ServerReport { name: name.into(), state, max_active_clients: 5, ..Default::default() }
}

fn report(servers: Vec<ServerReport>) -> Report {
    Report {
        control: 1,
        version: "0.1.0".into(),
        pid: 4711,
        config: "/home/ana/mux.toml".into(),
        state: "up".into(),
        uptime_ms: 11_520_000,
        rss_bytes: Some(2_100_000),
        clients: 5,
        servers,
        ..Default::default()
    }
}

fn shown(report: &Report) -> String {
    let mut out = String::new();
    table(&mut out, report, false);
    out
}

#[test]
fn the_table_says_what_runs_what_is_wrong_and_what_happens_next() {
    let memory = ServerReport {
        pid: Some(4712),
        clients: 2,
        pending: 3,
        queued: 2,
        requests: 12_040,
        errors: 3,
        latency_ms: Some(Latency { p50: 2, p99: 18 }),
        ..server("memory", State::Ready)
    };
    let web = ServerReport {
        restarts: 2,
        words: "restarting, attempt 3 of 5 in 4.0 s: exited with status 1: Cannot find module '/home/ana/web/index.js'"
            .into(),
        ..server("web", State::Backoff)
    };
    let mut report = report(vec![memory, web]);
    report.state = "degraded".into();
    assert_eq!(
        shown(&report),
        "muxloop 0.1.0 is degraded, up 3 h 12 min, process 4711, 2.1 MB; 2 servers, 5 clients\n\
         /home/ana/mux.toml\n\
         \n\
         SERVER STATE    CLIENTS PENDING   REQS ERRS  P50/P99 RESTARTS     PID\n\
         memory ready        2/5     3+2    12k    3   2/18ms        0    4712\n\
         web    backoff      0/5       0      0    0        -        2       -\n\
         \n\
         web: restarting, attempt 3 of 5 in 4.0 s: exited with status 1: Cannot find\n  \
         module '/home/ana/web/index.js'\n"
    );
}

#[test]
fn no_server_makes_a_line_longer_than_a_terminal() {
    let huge = ServerReport {
        clients: usize::MAX,
        max_active_clients: usize::MAX,
        pending: usize::MAX,
        queued: 9_999,
        requests: u64::MAX >> 24,
        errors: u64::MAX >> 24,
        restarts: 123_456,
        pid: Some(4_194_304),
        latency_ms: Some(Latency { p50: 3_600_000, p99: 7_200_000 }),
        words: "x".repeat(300),
        ..server(&"long-name-".repeat(5), State::Starting)
    };
    let report = report(vec![
        ServerReport { clients: 32_000, max_active_clients: 32_000, pending: 60_000, ..huge },
        server("b", State::Lazy),
    ]);
    let text = shown(&report);
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
    }
    assert!(text.contains("\nlong-name-long-n… starting"), "{text}");
    assert!(shown(&super::super::status::tests::report(Vec::new())).contains("; 0 servers"));
}

#[test]
fn what_servers_say_cannot_steer_the_terminal() {
    let mut evil = server("a\x1b[2J", State::Failed);
    evil.words = "\x1b]0;owned\x07 gone\nroot# ".into();
    evil.stderr = vec!["\x1b[31mred".into()];
    evil.last_failure = Some("\u{9b}2J".into());
    evil.recent =
        vec![Recent { method: "tools/call".into(), name: Some("x\ry".into()), ..Default::default() }];
    let mut text = shown(&report(vec![evil.clone()]));
    detail(&mut text, &evil, false);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.contains("a: ]0;owned  gone root#\n"), "{text}");
}

#[test]
fn a_daemon_without_words_is_put_into_words() {
    let mut waiting = server("a", State::Backoff);
    (waiting.attempt, waiting.max_restarts) = (3, 5);
    waiting.next_attempt_in_ms = Some(4_000);
    waiting.last_failure = Some("exited with status 1".into());
    assert_eq!(words(&waiting).unwrap(), "restarting, attempt 3 of 5 in 4.0 s: exited with status 1");
    waiting.max_restarts = 0;
    waiting.next_attempt_in_ms = None;
    assert_eq!(words(&waiting).unwrap(), "restarting, attempt 3: exited with status 1");
    assert!(words(&server("a", State::Failed)).unwrap().contains("'muxloop start'"));
    assert_eq!(words(&server("a", State::Ready)), None);
}

#[test]
fn one_server_is_shown_with_all_that_is_known() {
    let server = ServerReport {
        socket: "/run/memory.sock".into(),
        pid: Some(4712),
        instances: 3,
        uptime_ms: Some(60_000),
        rss_bytes: Some(45_000_000),
        server_name: Some("memory-server".into()),
        server_version: Some("1.2.0".into()),
        protocol: Some("2025-06-18".into()),
        era: Some("legacy".into()),
        clients: 2,
        requests: 1204,
        errors: 3,
        pending: 1,
        bytes_in: 2_100,
        bytes_out: 999,
        latency_ms: Some(Latency { p50: 2, p99: 1_800 }),
        restarts: 1,
        last_failure: Some("exited with status 1".into()),
        heartbeat_ms: Some(3),
        recent: vec![Recent {
            method: "tools/call".into(),
            name: Some("echo".into()),
            client: 3,
            ms: 12,
            outcome: "ok".into(),
            ago_ms: 4_000,
        }],
        stderr: vec!["listening".into()],
        ..server("memory", State::Ready)
    };
    let mut out = String::new();
    detail(&mut out, &server, false);
    assert_eq!(
        out,
        "memory: ready\n\
         \n\
         socket    /run/memory.sock\n\
         process   4712, the first of 3, up 1 min 0 s, 45 MB\n\
         server    memory-server 1.2.0 2025-06-18 legacy\n\
         clients   2 of 5\n\
         requests  1204, 3 with an error; 1 at the server, 0 waiting\n\
         bytes     2.1 kB in, 999 B out\n\
         answers   half within 2 ms, 99 of 100 within 1.8 s\n\
         restarts  1, the last: exited with status 1\n\
         heartbeat 3 ms, 0 missed\n\
         \n\
         last requests, newest first\n  \
         tools/call echo: ok in 12 ms, client 3, 4.0 s ago\n\
         \n\
         stderr, newest last\n  \
         listening\n"
    );
}

#[test]
fn the_tools_of_all_servers_are_summed_up() {
    let server = |name: &str, tools, tool_tokens| ServerReport {
        name: name.into(),
        tools,
        tool_tokens,
        ..ServerReport::default()
    };
    let mut report = Report {
        servers: vec![
            server("fs", Some(12), Some(900)),
            server("git", None, None),
            server("db", Some(3), Some(80)),
        ],
        ..Report::default()
    };
    let shown = |report: &Report| {
        let mut out = String::new();
        table(&mut out, report, false);
        assert!(out.lines().all(|line| text::width(line) <= 80), "{out}");
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let out = shown(&report);
    assert!(out.contains("fs 12 (900), db 3 (80); together 980"), "{out}");
    report.servers.retain(|server| server.tools.is_none());
    assert!(!shown(&report).contains("tokens"), "nothing is known");
}
