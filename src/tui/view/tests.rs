//! Screens as text: `screens/*.txt`. After a wanted change: `MUXLOOP_WRITE_SCREENS=1 cargo test tui::view`.

use super::*;
use crate::control::{Latency, Recent, Report};
use crate::tui::keys::Key;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::path::Path;

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);

fn server(name: &str, state: State) -> ServerReport {
    ServerReport {
        name: name.into(),
        socket: format!("/run/user/1000/muxloop/{name}.sock"),
        state,
        max_active_clients: 5,
        ..Default::default()
    }
}

fn memory() -> ServerReport {
    let call = |name: &str, ms: u64, outcome: &str, ago_ms: u64| Recent {
        method: "tools/call".into(),
        name: Some(name.into()),
        client: 3,
        ms,
        outcome: outcome.into(),
        ago_ms,
    };
    ServerReport {
        pid: Some(4712),
        instances: 1,
        uptime_ms: Some(11_400_000),
        rss_bytes: Some(45_200_000),
        era: Some("legacy".into()),
        protocol: Some("2025-06-18".into()),
        server_name: Some("memory-server".into()),
        server_version: Some("1.2.0".into()),
        clients: 2,
        pending: 3,
        queued: 1,
        requests: 1204,
        errors: 3,
        bytes_in: 120_400,
        bytes_out: 4_100_000,
        latency_ms: Some(Latency { p50: 2, p99: 18 }),
        heartbeat_ms: Some(3),
        recent: vec![
            call("create_entities", 12, "ok", 400),
            call("read_graph", 1_802, "error", 2_900),
            call("search_nodes", 30_000, "timeout", 64_000),
            Recent { method: "tools/list".into(), client: 4, outcome: "ok".into(), ..Default::default() },
        ],
        stderr: (1..=20)
            .map(|line| format!("line {line} of what the memory server wrote to stderr"))
            .collect(),
        ..server("memory", State::Ready)
    }
}

fn web() -> ServerReport {
    let why = "exited with status 1: Error: Cannot find module '/home/ana/web/index.js'";
    ServerReport {
        clients: 1,
        queued: 2,
        restarts: 2,
        attempt: 3,
        max_restarts: 5,
        next_attempt_in_ms: Some(4_000),
        last_failure: Some(why.into()),
        words: format!("restarting, attempt 3 of 5 in 4.0 s: {why}"),
        stderr: vec!["node:internal/modules/cjs/loader:1078".into(), "\x1b[31m  throw err;\x1b[0m".into()],
        ..server("web", State::Backoff)
    }
}

fn report(servers: Vec<ServerReport>) -> Report {
    Report {
        control: 1,
        version: "0.1.0".into(),
        pid: 4711,
        config: "/home/ana/.config/muxloop/mux.toml".into(),
        state: if servers.iter().any(|server| server.state.is_degraded()) { "degraded" } else { "up" }.into(),
        uptime_ms: 11_520_000,
        rss_bytes: Some(2_100_000),
        clients: servers.iter().map(|server| server.clients).sum(),
        servers,
        ..Default::default()
    }
}

/// With a rate of requests for the first server.
fn app(servers: Vec<ServerReport>) -> App {
    let mut app = App::new(false);
    let mut before = report(servers.clone());
    before.uptime_ms -= 1_000;
    if let Some(first) = before.servers.first_mut() {
        first.requests = first.requests.saturating_sub(14);
    }
    app.on_report(before);
    app.on_report(report(servers));
    app
}

fn three() -> App {
    app(vec![memory(), server("git", State::Lazy), web()])
}

fn forty() -> App {
    let states = [State::Ready, State::Ready, State::Starting, State::Lazy, State::Failed, State::Stopped];
    app((0..40)
        .map(|n| ServerReport { name: format!("server-{n:02}"), ..server("x", states[n % 6]) })
        .collect())
}

fn press(app: &mut App, keys: &str) {
    for key in keys.chars() {
        app.on_key(if key == '\n' { Key::Enter } else { Key::Char(key) });
    }
}

fn drawn(app: &mut App, size: (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| draw(app, frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

fn text_of(buf: &Buffer) -> String {
    let rows = buf.content().chunks(buf.area.width as usize);
    rows.map(|row| format!("{}\n", row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end()))
        .collect()
}

fn screen(app: &mut App, size: (u16, u16)) -> String {
    text_of(&drawn(app, size))
}

#[track_caller]
fn is_like(name: &str, app: &mut App) {
    for size in [SMALL, LARGE] {
        let found = screen(app, size);
        let file = format!("{}/src/tui/screens/{name}-{}x{}.txt", env!("CARGO_MANIFEST_DIR"), size.0, size.1);
        if std::env::var_os("MUXLOOP_WRITE_SCREENS").is_some() {
            std::fs::write(&file, &found).unwrap();
        }
        let wanted = std::fs::read_to_string(Path::new(&file)).expect(&file);
        assert!(found == wanted, "{file} is\n{wanted}\nand it looks like\n{found}");
    }
}

#[test]
fn three_servers() {
    is_like("three", &mut three());
}

#[test]
fn what_is_wrong_with_the_selected_one() {
    let mut app = three();
    press(&mut app, "jj");
    is_like("wrong", &mut app);
}

#[test]
fn no_servers_and_no_muxloop() {
    is_like("none", &mut app(Vec::new()));
    let mut never = App::new(false);
    never.on_gone("not running: there is no socket at /home/ana/.muxloop/run/mux-4f1c90aa.sock");
    is_like("never", &mut never);
}

#[test]
fn forty_servers_and_one_of_the_last() {
    let mut app = forty();
    is_like("forty", &mut app);
    press(&mut app, "GkkS");
    is_like("forty-end", &mut app);
}

#[test]
fn a_daemon_that_is_gone_leaves_what_was_known() {
    let mut app = three();
    app.on_gone("not running: muxloop at /run/c.sock (process 4711) ended");
    is_like("gone", &mut app);
    app.on_report(report(vec![memory()]));
    assert!(!screen(&mut app, SMALL).contains("GONE"), "and it is back");
}

#[test]
fn a_filter_being_typed_and_kept() {
    let mut app = three();
    press(&mut app, "/back");
    let text = screen(&mut app, SMALL);
    assert!(text.contains("\n web    backoff") && !text.contains("\n memory"), "{text}");
    assert!(text.ends_with("\n/back   Enter keep  Esc all\n"), "{text}");
    press(&mut app, "\n");
    assert!(screen(&mut app, SMALL).contains("\n/back  Esc all  j/k move"));
    press(&mut app, "/zzz\n");
    assert!(screen(&mut app, SMALL).contains("\n no server is called so"), "{}", screen(&mut app, SMALL));
}

#[test]
fn help_and_log() {
    let mut app = three();
    press(&mut app, "?");
    is_like("help", &mut app);
    press(&mut app, "x");
    (0..100).for_each(|n| app.on_log(format!("2026-11-21T06:00:00.{n:03}Z INFO  muxloop: line {n}")));
    press(&mut app, "l");
    let text = screen(&mut app, SMALL);
    assert!(text.contains("muxloop: line 99\n") && !text.contains("line 79\n"), "the newest: {text}");
}

#[test]
fn notices_are_where_the_keys_are() {
    let mut app = three();
    app.say("restart memory: done".into(), false);
    assert!(screen(&mut app, SMALL).ends_with("\nrestart memory: done\n"));
}

#[test]
fn the_selected_row_is_reversed_and_in_sight_wherever_it_is() {
    for size in [SMALL, LARGE] {
        let mut app = forty();
        for _ in 0..45 {
            let buf = drawn(&mut app, size);
            let reversed: Vec<String> = text_of(&buf)
                .lines()
                .zip(buf.content().chunks(size.0 as usize))
                .filter(|(_, row)| row.iter().all(|cell| cell.modifier.contains(Modifier::REVERSED)))
                .map(|(line, _)| line.to_owned())
                .collect();
            let name = app.selected.clone().unwrap();
            assert_eq!(reversed.len(), 1);
            assert!(reversed[0].starts_with(&format!(" {name} ")), "{reversed:?} and {name}");
            press(&mut app, "j");
        }
        // Back up the window stays until it must move.
        let top = app.top;
        press(&mut app, "k");
        drawn(&mut app, size);
        assert_eq!(app.top, top);
    }
}

#[test]
fn colours_are_left_out_for_those_who_mind() {
    let coloured = |app: &mut App| drawn(app, SMALL).content().iter().any(|cell| cell.fg != Color::Reset);
    let mut app = three();
    assert!(!coloured(&mut app));
    app.colours = true;
    assert!(coloured(&mut app));
}

#[test]
fn every_size_can_be_drawn_and_nothing_steers_the_terminal() {
    let mut evil = web();
    evil.name = "näme\x1b[2J日本語".into();
    evil.words = "\x1b]0;x\x07".repeat(50);
    evil.latency_ms = Some(Latency { p50: u64::MAX, p99: u64::MAX });
    evil.pending = usize::MAX;
    let mut apps = [three(), forty(), app(vec![evil]), App::new(true)];
    press(&mut apps[0], "jj");
    for app in &mut apps {
        for mode in [Mode::Table, Mode::Filter, Mode::Help, Mode::Log] {
            app.mode = mode;
            for size in
                [(1, 1), (19, 5), (20, 6), (40, 8), (80, 10), (119, 30), (120, 7), (500, 3), (300, 100)]
            {
                let buf = drawn(app, size);
                let is_plain = |cell: &ratatui::buffer::Cell| !cell.symbol().chars().any(char::is_control);
                assert!(buf.content().iter().all(is_plain), "{size:?}");
            }
        }
    }
}
