//! muxloop inside another program (L03): this test process, with the demo server as its servers.

use muxloop::reactor::{procfs, sys};
use muxloop::{MuxConfig, MuxError, check_health, run_mux_server, spawn_mux_server};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A directory for one test, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("muxloop-library-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    /// A demo server at `NAME.sock`.
    fn demo(&self, name: &str) -> MuxConfig {
        MuxConfig::new(self.0.join(format!("{name}.sock")), env!("CARGO_BIN_EXE_muxloop")).with_args([
            "demo-server",
            "--name",
            name,
        ])
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Processes of a demo server of this name that this process has started.
fn processes(name: &str) -> usize {
    let own = procfs::children(std::process::id() as i32);
    own.iter().filter(|pid| procfs::command(**pid).contains(&format!("--name {name}"))).count()
}

/// One request, and the line that answers it.
fn ask(socket: &Path, line: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn two_muxes_share_a_process_and_end_one_by_one() {
    let scratch = Scratch::new("two");
    let left = spawn_mux_server(scratch.demo("left-two")).unwrap();
    let right = spawn_mux_server(scratch.demo("right-two").with_env("RUST_LOG", "off")).unwrap();
    let (left_socket, right_socket) = (scratch.0.join("left-two.sock"), scratch.0.join("right-two.sock"));
    let health = check_health(&left_socket).unwrap();
    assert!(health.server.starts_with("left-two "), "{health:?}");
    assert_eq!(health.protocol, "2025-11-25");
    assert!(check_health(&right_socket).unwrap().server.starts_with("right-two "));
    assert_eq!((processes("left-two"), processes("right-two")), (1, 1), "one process each, for all clients");

    left.shutdown();
    left.wait().unwrap();
    assert!(!left_socket.exists());
    assert_eq!(processes("left-two"), 0, "ended and reaped");
    assert!(matches!(check_health(&left_socket), Err(MuxError::NotRunning(_))));
    assert!(right.is_running());
    check_health(&right_socket).expect("undisturbed");

    drop(right);
    assert!(!right_socket.exists(), "whoever drops the handle waits for the end");
    assert_eq!(processes("right-two"), 0);
}

#[test]
fn a_socket_that_is_in_use_is_an_error_and_can_be_had_later() {
    let scratch = Scratch::new("taken");
    let first = spawn_mux_server(scratch.demo("taken")).unwrap();
    let error = spawn_mux_server(scratch.demo("taken")).unwrap_err();
    assert!(matches!(error, MuxError::Listen(_)), "{error:?}");
    assert!(error.to_string().contains("listens there"), "{error}");
    check_health(scratch.0.join("taken.sock")).expect("the first one is undisturbed");
    first.shutdown();
    first.wait().unwrap();
    let second = spawn_mux_server(scratch.demo("taken")).unwrap();
    check_health(scratch.0.join("taken.sock")).unwrap();
    second.stopper().stop();
    second.wait().unwrap();
}

#[test]
fn what_the_configuration_says_holds() {
    let scratch = Scratch::new("config");
    let config = scratch.demo("config").with_max_clients(1).with_lazy_start(true);
    let mux = spawn_mux_server(config).unwrap();
    let socket = scratch.0.join("config.sock");
    assert_eq!(processes("config"), 0, "lazy");
    let _first = UnixStream::connect(&socket).unwrap();
    let refused = ask(&socket, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    assert!(refused.contains(r#""id":1"#) && refused.contains("error"), "{refused}");
    assert!(mux.is_running());
}

#[test]
fn a_server_that_does_not_start_is_unhealthy_and_the_mux_goes_on() {
    let scratch = Scratch::new("sick");
    let socket = scratch.0.join("sick.sock");
    let config = MuxConfig::new(&socket, "/no/such/server").with_max_restarts(1);
    let config = config.with_restart_backoff(Duration::from_millis(1), Duration::from_millis(1));
    let mux = spawn_mux_server(config).unwrap();
    let Err(MuxError::Unhealthy(why)) = check_health(&socket) else { panic!("it cannot be healthy") };
    assert!(why.contains("/no/such/server"), "{why}");
    assert!(mux.is_running());
}

#[test]
fn a_blocking_mux_ends_by_sigterm() {
    let scratch = Scratch::new("blocking");
    let (config, socket) = (scratch.demo("blocking"), scratch.0.join("blocking.sock"));
    let thread = std::thread::spawn(move || run_mux_server(config));
    let served = loop {
        match check_health(&socket) {
            Err(MuxError::NotRunning(_)) if !thread.is_finished() => std::thread::yield_now(),
            other => break other,
        }
    };
    served.expect("it is served, so the loop runs and signals are caught");
    sys::signal_process(std::process::id() as i32, libc::SIGTERM).unwrap();
    thread.join().unwrap().unwrap();
    assert!(!socket.exists());
    assert_eq!(processes("blocking"), 0);
}
