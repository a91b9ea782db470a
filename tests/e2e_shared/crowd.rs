//! Many callers, coming and leaving.

use crate::support::{Caller, PATIENCE, Station, Watched, holds_within};
use std::process::Stdio;

#[test]
fn twenty_callers_at_one_instant_start_one_server() {
    let station = Station::new();
    let mut callers: Vec<Caller> = (0..20).map(|_| station.caller(&[])).collect();
    let told: Vec<_> = callers.iter().map(Caller::told).collect();
    assert_eq!(told.iter().filter(|told| told.started).count(), 1, "{told:?}");
    assert!(told.iter().all(|one| (one.server, one.supervisor) == (told[0].server, told[0].supervisor)));
    assert_eq!(told[0].url, format!("http://127.0.0.1:{}", station.port));
    assert_eq!(station.starts(), 1);
    assert!(station.answers());
    let mut pids: Vec<i32> = callers.iter().map(|caller| caller.pid).collect();
    pids.sort_unstable();
    assert!(holds_within(PATIENCE, || station.registered() == pids), "{:?}", station.registry());

    // The first ones leave first, by all ways there are; one stays.
    let processes = told[0].processes();
    let first = told.iter().position(|told| told.started).unwrap();
    callers.swap(0, first);
    let last = callers.pop().unwrap();
    for (number, caller) in callers.iter_mut().enumerate() {
        match number % 3 {
            0 => caller.kill(),
            1 => caller.leave(),
            _ => {
                caller.close_stdin();
                assert_eq!(caller.ended().0.code(), Some(0));
            }
        }
    }
    assert!(holds_within(PATIENCE, || station.registered() == [last.pid]), "{:?}", station.registry());
    assert!(station.answers());
    assert!(processes.iter().all(Watched::lives));
    drop(last);
    processes.iter().for_each(Watched::assert_ends);
    station.assert_over();
    assert_eq!(station.starts(), 1);
}

#[test]
fn waves_of_callers_always_find_a_server() {
    // The end of one server and the first caller of the next meet at every moment there is.
    let station = Station::new();
    for round in 0..6 {
        let mut callers: Vec<Caller> = (0..3).map(|_| station.caller(&[])).collect();
        for caller in &mut callers {
            caller.told();
            assert!(station.answers(), "round {round}");
            caller.signal(libc::SIGTERM);
        }
    }
    station.assert_over();
}

#[test]
fn who_comes_while_the_server_stops_gets_the_next_one() {
    let station = Station::new();
    // One that takes its time: until a file appears.
    let script = format!(
        "trap 'echo stopping >&2; while ! test -e go; do sleep 0.02; done; kill $!; exit' TERM; cd '{}'; \
         {} & while :; do wait $!; done",
        station.dir.0.display(),
        station.server()
    );
    let mut first = station.caller_of(&["--stop-grace", "60000"], &script);
    let told = first.told();
    first.leave();
    assert!(holds_within(PATIENCE, || station.log().contains("server: stopping")), "{}", station.log());
    let second = station.caller_of(&[], &script);
    assert!(holds_within(PATIENCE, || station.log().matches("a caller has come").count() == 2));
    std::fs::write(station.path("go"), "").unwrap();
    let again = second.told();
    assert_eq!(again.supervisor, told.supervisor);
    assert_ne!(again.server, told.server);
    assert!(!again.started);
    assert_eq!(station.starts(), 2);
    drop(second);
    station.assert_over();
}

#[test]
fn the_server_outlives_the_last_caller_for_a_while() {
    let station = Station::new();
    let mut first = station.caller(&["--idle-exit", "600000"]);
    let told = first.told();
    first.leave();
    let second = station.caller(&["--idle-exit", "0"]);
    let again = second.told();
    assert_eq!((again.server, again.started), (told.server, false));
    drop(second);
    // What the first caller said holds.
    assert!(holds_within(PATIENCE, || station.log().matches("a caller has left").count() == 2));
    assert!(station.answers());
    let supervisor = Watched::new(told.supervisor);
    muxloop::reactor::sys::signal_process(told.supervisor, libc::SIGTERM).unwrap();
    supervisor.assert_ends();
    station.assert_over();
}

#[test]
fn the_end_of_stdin_is_the_end_only_where_somebody_holds_it() {
    let station = Station::new();
    let script = format!("exec {}", station.server());
    let null = Caller::start(station.command(&[], &script).stdin(Stdio::null()));
    let told = null.told();
    let mut forced = Caller::start(station.command(&["--stdin-life"], &script).stdin(Stdio::null()));
    assert_eq!(forced.ended().0.code(), Some(0));
    let mut kept = station.caller_of(&["--no-stdin-life"], &script);
    kept.told();
    kept.close_stdin();
    let mut host = station.caller(&[]);
    host.told();
    // Whatever a host writes is read and means nothing.
    use std::io::Write;
    host.child.stdin.as_mut().unwrap().write_all(&[b'x'; 100_000]).unwrap();
    host.close_stdin();
    assert_eq!(host.ended().0.code(), Some(0));
    let mut want = [null.pid, kept.pid];
    want.sort_unstable();
    assert!(holds_within(PATIENCE, || station.registered() == want), "{:?}", station.registry());
    drop((null, kept));
    Watched::new(told.supervisor).assert_ends();
    station.assert_over();
}

#[test]
fn without_json_the_url_alone_is_printed() {
    let station = Station::new();
    let mut command = station.bare();
    command.args(["--", "/bin/sh", "-c"]);
    command.arg(format!("test $PORT = {{port}} && test $HOST = {{host}} && exec {}", station.server()));
    let mut caller = Caller::start(&mut command);
    assert_eq!(caller.line(), format!("http://127.0.0.1:{}", station.port));
    let place = station.path(".muxloop/daemons").join(station.port.to_string());
    assert!(place.join("sock").exists());
    caller.leave();
    assert!(holds_within(PATIENCE, || !place.join("sock").exists()));
    station.assert_over();
}
