//! kill -9 of each role: the service goes on, or ends and leaves nothing.

use crate::support::{BINARY, Caller, PATIENCE, Station, Told, Watched, holds_within};
use muxloop::reactor::sys;
use std::time::{Duration, Instant};

fn kill(pid: i32) {
    sys::signal_process(pid, libc::SIGKILL).unwrap();
}

/// Two callers, told the same.
fn two(station: &Station) -> (Caller, Caller, Told) {
    let first = station.caller(&[]);
    let told = first.told();
    assert!(told.started);
    let second = station.caller(&[]);
    assert_eq!(second.told(), Told { started: false, ..told.clone() });
    (first, second, told)
}

#[test]
fn the_first_caller() {
    let station = Station::new();
    let (mut first, mut second, told) = two(&station);
    let processes = told.processes();
    first.kill();
    assert!(holds_within(PATIENCE, || station.registered() == [second.pid]));
    assert!(station.answers());
    let third = station.caller(&[]);
    assert_eq!(third.told(), Told { started: false, ..told });
    drop(third);
    second.leave();
    processes.iter().for_each(Watched::assert_ends);
    station.assert_over();
    assert_eq!(station.starts(), 1);
}

#[test]
fn the_supervisor() {
    let station = Station::new();
    let (mut first, second, told) = two(&station);
    let processes = told.processes();
    kill(told.supervisor);
    for caller in [&first, &second] {
        caller.complains("the server answers again");
    }
    processes.iter().for_each(Watched::assert_ends);
    assert!(station.answers());
    assert_eq!(station.starts(), 2);
    let mut want = [first.pid, second.pid];
    want.sort_unstable();
    assert!(holds_within(PATIENCE, || station.registered() == want));
    // The URL was said once; it is the same.
    first.leave();
    drop(second);
    station.assert_over();
}

#[test]
fn the_supervisor_and_its_guard_again_and_again() {
    let station = Station::new();
    let caller = station.caller(&[]);
    let mut supervisor = caller.told().supervisor;
    for _ in 0..3 {
        let processes: Vec<Watched> = crate::support::descendants(supervisor)
            .into_iter()
            .chain([supervisor])
            .map(Watched::new)
            .collect();
        processes.iter().for_each(|process| {
            let _ = sys::signal_process(process.pid, libc::SIGKILL);
        });
        caller.complains("the server answers again");
        processes.iter().for_each(Watched::assert_ends);
        supervisor = station.registry()["supervisor"]["pid"].as_i64().unwrap() as i32;
    }
    assert!(station.answers());
    drop(caller);
    station.assert_over();
}

#[test]
fn the_server() {
    let station = Station::new();
    let (first, mut second, told) = two(&station);
    kill(told.server);
    for caller in [&first, &second] {
        caller.complains("the server died: signal 9");
        caller.complains("the server answers again");
    }
    assert!(station.answers());
    assert_eq!(station.registry()["supervisor"]["pid"], told.supervisor);
    assert_ne!(station.registry()["server"]["pid"], told.server);
    let third = station.caller(&[]);
    assert_eq!(third.told().supervisor, told.supervisor);
    drop((first, third));
    second.leave();
    station.assert_over();
}

#[test]
fn everybody_but_the_server() {
    let station = Station::new();
    let (mut first, mut second, told) = two(&station);
    let processes = told.processes();
    // The supervisor first, or it would end in good order.
    kill(told.supervisor);
    first.kill();
    second.kill();
    processes.iter().for_each(Watched::assert_ends);
    // A caller that had begun to start the next supervisor may have left it; that finds nobody, and ends.
    station.assert_no_process();
    // What files are left mean nothing.
    let third = station.caller(&[]);
    assert!(third.told().started);
    drop(third);
    station.assert_over();
}

#[test]
fn the_only_caller_before_the_server_is_ready() {
    let station = Station::new();
    let mut caller = station.caller_of(&[], "echo here >&2; exec sleep 600");
    assert!(holds_within(PATIENCE, || station.log().contains("server: here")), "{}", station.log());
    caller.kill();
    station.assert_over();
}

#[test]
fn callers_at_any_moment_of_the_start() {
    let station = Station::new();
    for delay in [0, 1, 2, 4, 8, 16, 32, 64].map(Duration::from_millis) {
        let mut callers: Vec<Caller> = (0..3).map(|_| station.caller(&[])).collect();
        let begin = Instant::now();
        while begin.elapsed() < delay {
            std::thread::yield_now();
        }
        // One of them was first, and may be about to start the supervisor, or to wait for it.
        callers[0].kill();
        callers[1].kill();
        let told = callers[2].told();
        assert!(station.answers(), "after {delay:?}");
        let supervisor = Watched::new(told.supervisor);
        callers[2].leave();
        supervisor.assert_ends();
    }
    station.assert_over();
}

#[test]
fn a_second_supervisor_leaves_to_the_first() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let station = Station::new();
    let caller = station.caller(&[]);
    let told = caller.told();
    // What a caller starts that was killed, with the lock, before the first supervisor listened.
    let mut second = Command::new(BINARY);
    second.arg("--mux-daemon").arg(station.path("d"));
    let mut second = second.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let what = serde_json::json!({ "host": "127.0.0.1", "port": station.port, "command": ["sleep", "600"] });
    second.stdin.take().unwrap().write_all(what.to_string().as_bytes()).unwrap();
    let output = second.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "another listens\n");
    assert!(output.status.success());
    assert_eq!(station.registry()["supervisor"]["pid"], told.supervisor);
    assert!(station.answers());
    drop(caller);
    station.assert_over();
}

#[test]
fn anybody_at_any_moment() {
    for seed in 1..=6u64 {
        let station = Station::new();
        let mut callers: Vec<Caller> = (0..4).map(|_| station.caller(&[])).collect();
        let mut state = seed;
        for _ in 0..12 {
            // Knuth's MMIX generator; its upper bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let choice = (state >> 33) as usize;
            match choice % 3 {
                0 => {
                    let at = choice / 3 % callers.len();
                    callers[at].kill();
                    callers[at] = station.caller(&[]);
                }
                1 => callers.push(station.caller(&[])),
                // Whichever there is now, at whatever it is now.
                _ => {
                    let pid = std::fs::read_to_string(station.path("d/pid")).unwrap_or_default();
                    if let Ok(pid) = pid.trim().parse() {
                        let _ = sys::signal_process(pid, libc::SIGKILL);
                    }
                    if (choice / 3).is_multiple_of(2) {
                        let last = station.caller(&[]);
                        last.told();
                        callers.push(last);
                    }
                }
            }
        }
        let last = station.caller(&[]);
        last.told();
        assert!(holds_within(PATIENCE, || station.answers()), "seed {seed}\n{}", station.log());
        let mut all: Vec<i32> = callers.iter().chain([&last]).map(|caller| caller.pid).collect();
        all.sort_unstable();
        let is_right = holds_within(PATIENCE, || station.registered() == all);
        let complaints: Vec<_> = callers.iter().map(|caller| (caller.pid, caller.complaints())).collect();
        assert!(is_right, "seed {seed}, not {all:?}\n{complaints:#?}\n{}", station.log());
        drop((callers, last));
        station.assert_over();
    }
}

#[test]
fn what_the_server_leaves_behind_goes_with_it() {
    let station = Station::new();
    // One child in a session of its own, and a shell that does not care for SIGTERM.
    let script = format!(
        "trap '' TERM; setsid sleep 600 & sleep 600 & {} & wait; while :; do sleep 600; done",
        station.server()
    );
    let mut caller = station.caller_of(&["--stop-grace", "100"], &script);
    let processes = caller.told().processes();
    assert!(processes.len() >= 6, "supervisor, guard, shell, two sleeps, muxloop");
    caller.leave();
    processes.iter().for_each(Watched::assert_ends);
    station.assert_over();
}

#[test]
fn a_stopped_supervisor_ends_all() {
    let station = Station::new();
    let (mut first, mut second, told) = two(&station);
    sys::signal_process(told.supervisor, libc::SIGTERM).unwrap();
    for caller in [&mut first, &mut second] {
        let (status, text) = caller.ended();
        assert_eq!(status.code(), Some(1));
        assert!(text.contains("the daemon was stopped by a signal"), "{text}");
    }
    station.assert_over();
}
