//! Ports of strangers, servers that fail, and files that mean nothing any more.

use crate::support::{Caller, PATIENCE, Station, Watched, holds_within};
use muxloop::reactor::process::Owner;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

#[test]
fn a_port_of_a_stranger_is_said_to_be_one() {
    let station = Station::new();
    let stranger = TcpListener::bind(("127.0.0.1", station.port)).unwrap();
    let mut callers: Vec<Caller> = (0..2).map(|_| station.caller(&[])).collect();
    for caller in &mut callers {
        let (status, text) = caller.ended();
        assert_eq!(status.code(), Some(3), "{text}");
        let (port, pid) = (station.port, std::process::id());
        assert!(text.contains(&format!("port {port} is taken by process {pid} (")), "{text}");
    }
    assert_eq!(station.starts(), 0);
    drop(stranger);
    station.assert_over();
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let station = Station::new();
    // TEST-NET-1: no machine has it.
    let mut caller = station.caller(&["--host", "192.0.2.1"]);
    let (status, text) = caller.ended();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("nobody can listen at 192.0.2.1:{}", station.port)), "{text}");
    station.assert_over();
}

#[test]
fn another_command_at_the_same_port_is_refused() {
    let station = Station::new();
    let first = station.caller(&[]);
    let told = first.told();
    let mut other = station.caller_of(&[], "exec sleep 600");
    let (status, text) = other.ended();
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("runs another command: /bin/sh -c"), "{text}");
    // Another directory: then the port is a stranger's, who can be named.
    let mut command = station.bare();
    let mut elsewhere = Caller::start(command.arg("-d").arg(station.path("e")).args(["--", "sleep", "600"]));
    let (status, text) = elsewhere.ended();
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains(&format!("port {} is taken by process {} (", station.port, told.server)), "{text}");
    assert!(station.answers());
    drop(first);
    station.assert_over();
}

#[test]
fn a_server_that_does_not_get_ready_is_given_up() {
    let station = Station::new();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; exec sleep 600";
    let mut callers: Vec<Caller> =
        (0..2).map(|_| station.caller_of(&["--ready-timeout", "700"], script)).collect();
    for caller in &mut callers {
        let (status, text) = caller.ended();
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains("not ready within 700 ms: nobody listened at http://127.0.0.1:"), "{text}");
        assert!(text.contains("the last it wrote:") && text.ends_with("line 12"), "{text}");
        assert!(text.contains("line 3") && !text.contains("line 2\n"), "{text}");
    }
    station.assert_over();
}

#[test]
fn ready_is_what_the_ready_path_says() {
    let station = Station::new();
    let mut caller = station.caller(&["--ready-path", "nowhere", "--ready-timeout", "1500"]);
    let (status, text) = caller.ended();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("/nowhere was not answered with 2xx"), "{text}");
    let caller = station.caller(&["--ready-path", "/health"]);
    caller.told();
    drop(caller);
    station.assert_over();
}

#[test]
fn a_server_that_dies_at_its_start_is_not_tried_again() {
    let station = Station::new();
    let mut caller = station.caller_of(&[], "echo no configuration >&2; exit 7");
    let (status, text) = caller.ended();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("ended before it was ready: exit code 7"), "{text}");
    assert!(text.contains("no configuration"), "{text}");
    assert_eq!(station.starts(), 1);
    station.assert_over();
}

#[test]
fn a_command_that_does_not_exist_is_named() {
    let station = Station::new();
    let mut caller = Caller::start(station.bare().args(["--", "no-such-program"]));
    let (status, text) = caller.ended();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(
        text.contains("cannot start 'no-such-program': no such command; searched the server's PATH"),
        "{text}"
    );
    station.assert_over();
}

#[test]
fn a_server_that_dies_again_and_again_is_given_up() {
    let station = Station::new();
    let mut caller = station.caller(&["--max-restarts", "2"]);
    let mut server = caller.told().server;
    for round in 0..3 {
        let process = Watched::new(server);
        muxloop::reactor::sys::signal_process(server, libc::SIGKILL).unwrap();
        process.assert_ends();
        if round < 2 {
            let line = caller.complains("the server answers again");
            server = line.rsplit(' ').next().unwrap().parse().unwrap();
        }
    }
    let (status, text) = caller.ended();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(text.contains("died and was restarted 2 times: signal 9"), "{text}");
    assert_eq!(station.starts(), 3);
    station.assert_over();
}

#[test]
fn stale_files_mean_nothing() {
    let station = Station::new();
    let place = station.path("d");
    fs::create_dir(&place).unwrap();
    // A socket nobody listens at, and numbers of processes that are others' by now: this one's, and init.
    drop(UnixListener::bind(place.join("sock")).unwrap());
    let own = Owner::this();
    fs::write(place.join("pid"), format!("{}\n", own.pid)).unwrap();
    fs::write(place.join("sock.lock"), format!("{}\n", own.pid)).unwrap();
    let stale = serde_json::json!({
        "url": "http://127.0.0.1:1",
        "supervisor": { "pid": own.pid, "start": own.start - 1 },
        "server": { "pid": 1, "start": 1 },
        "clients": [{ "pid": own.pid, "start": own.start, "since": "" }, { "pid": 1, "start": 1, "since": "" }],
    });
    fs::write(place.join("clients.json"), stale.to_string()).unwrap();
    let mut caller = station.caller(&[]);
    let told = caller.told();
    assert!(told.started);
    assert!(holds_within(PATIENCE, || station.registered() == [caller.pid]));
    let registry = station.registry();
    let client = Owner { pid: caller.pid, start: registry["clients"][0]["start"].as_u64().unwrap() };
    let stat = muxloop::reactor::procfs::stat(caller.pid).unwrap();
    assert_eq!(client.start, stat.start);
    assert_eq!(registry["server"]["pid"], told.server);
    caller.leave();
    station.assert_over();
}

#[test]
fn a_damaged_registry_is_replaced() {
    let station = Station::new();
    fs::create_dir(station.path("d")).unwrap();
    fs::write(station.path("d/clients.json"), b"{\"clients\": [").unwrap();
    let caller = station.caller(&[]);
    caller.told();
    assert!(holds_within(PATIENCE, || station.registered() == [caller.pid]));
    drop(caller);
    station.assert_over();
}

#[test]
fn strangers_at_the_socket_keep_nothing_alive() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let station = Station::new();
    let mut caller = station.caller(&[]);
    let told = caller.told();
    let mut talker = UnixStream::connect(station.path("d/sock")).unwrap();
    talker.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let silent = UnixStream::connect(station.path("d/sock")).unwrap();
    let supervisor = Watched::new(told.supervisor);
    assert_eq!(station.registered(), [caller.pid]);
    caller.leave();
    supervisor.assert_ends();
    drop((talker, silent));
    station.assert_over();
}

#[test]
fn directories_that_cannot_be_used_are_refused() {
    let station = Station::new();
    let long = station.path(&"x".repeat(100));
    let file = station.path("file");
    fs::write(&file, "").unwrap();
    let open = station.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    for (directory, needle) in [
        (&long, "choose a shorter one"),
        (&file, "File exists"),
        (&open, "other users can write there"),
        (&"~nobody/x".into(), "starts with '~NAME'"),
    ] {
        let mut command = station.bare();
        command.arg("-d").arg(directory).args(["--", "sleep", "600"]);
        let (status, text) = Caller::start(&mut command).ended();
        assert_eq!(status.code(), Some(2), "{text}");
        assert!(text.contains("daemon: --dir ") && text.contains(needle), "{text}");
    }
}
