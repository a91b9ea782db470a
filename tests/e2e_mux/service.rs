//! The daemon under a service manager (D04): sockets that are handed over, and what the manager is told.

use super::support::mux::{BINARY, Scratch};
use super::support::{Mux, PATIENCE, Server, Watched, text};
use muxloop::reactor::procfs;
use serde_json::json;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Writes `mux.toml` for these servers, without starting anything.
fn configure(dir: &Scratch, servers: &[Server]) {
    let text: String = servers.iter().map(|server| server.toml(&dir.0)).collect();
    fs::write(dir.0.join("mux.toml"), text).unwrap();
}

/// Starts the daemon as a service manager would: `sockets` as its descriptors from 3 on.
fn activate(
    dir: &Arc<Scratch>,
    sockets: Vec<UnixListener>,
    names: &str,
    adjust: impl FnOnce(&mut Command),
) -> Mux {
    assert!(sockets.len() <= 2, "one comes as stdin, one as stdout");
    let count = sockets.len();
    Mux::run(dir.clone(), &[], |command| {
        let mut shell = Command::new("/bin/sh");
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        shell.env_clear().envs(environment).current_dir(&dir.0);
        let places = ["3<&0", "4<&1"][..count].join(" ");
        let script = format!(r#"exec {places} 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec "$0" "$@""#);
        shell.args(["-c", &script, BINARY, "-c", "mux.toml", "--log-level", "debug"]);
        shell.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
        let mut sockets = sockets.into_iter().map(|socket| Stdio::from(OwnedFd::from(socket)));
        shell.stdin(sockets.next().unwrap_or_else(Stdio::null));
        shell.stdout(sockets.next().unwrap_or_else(Stdio::null));
        adjust(&mut shell);
        *command = shell;
    })
}

/// A service manager's ear.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager(socket)
    }

    /// The next message in which a line is or begins like that.
    fn hears(&self, line: &str) -> String {
        let mut buf = [0; 4096];
        loop {
            let len = self.0.recv(&mut buf).unwrap_or_else(|error| panic!("never heard {line}: {error}"));
            let message = String::from_utf8(buf[..len].to_vec()).unwrap();
            if message.lines().any(|found| found.starts_with(line)) {
                return message;
            }
        }
    }
}

#[test]
fn sockets_of_a_service_manager_are_served_and_left_to_it() {
    let dir = Arc::new(Scratch::new());
    configure(&dir, &[Server::demo("a", &[]), Server::demo("b", &[]), Server::demo("c", &[])]);
    let listener = |name: &str| UnixListener::bind(dir.0.join(name)).unwrap();
    let (by_path, by_name) = (listener("a.sock"), listener("elsewhere.sock"));
    let before = fs::metadata(dir.0.join("a.sock")).unwrap().ino();
    // Its first client is there before muxloop is.
    let mut early = super::support::Client::connect(&dir.0.join("a.sock"));
    let mut mux = activate(&dir, vec![by_path.try_clone().unwrap(), by_name], "units:b", |_| {});
    early.greet(json!({}));
    assert_eq!(text(&early.call("echo", json!({"text": "early"}))), "early");
    mux.wait_log("its clients don't find it at");
    let mut named = super::support::Client::connect(&dir.0.join("elsewhere.sock"));
    named.greet(json!({}));
    let child = named.server_pid();
    let mut own = mux.client_of("c", json!({}));
    assert_eq!(text(&own.call("echo", json!({"text": "own"}))), "own");
    assert!(!mux.path("b.sock").exists(), "nothing was bound for it");
    let environment = fs::read_to_string(format!("/proc/{child}/environ")).unwrap();
    assert!(!environment.contains("LISTEN_"), "not for children: {environment}");
    let open = fs::read_dir(format!("/proc/{child}/fd")).unwrap().flatten();
    let targets: Vec<_> = open.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    let sockets = targets.iter().filter(|target| target.to_string_lossy().starts_with("socket:"));
    assert_eq!(sockets.count(), 0, "close-on-exec: {targets:?}");
    mux.stop();
    assert_eq!(fs::metadata(dir.0.join("a.sock")).unwrap().ino(), before, "the manager's file stays");
    assert!(!mux.path("c.sock").exists(), "its own goes");
    assert!(!mux.path("a.sock.lock").exists());
    // The manager listens on, and starts muxloop again for the next client.
    let mut next = super::support::Client::connect(&dir.0.join("a.sock"));
    let _again = activate(&dir, vec![by_path], "", |_| {});
    next.greet(json!({}));
}

#[test]
fn a_reload_lets_go_of_a_managers_socket_and_keeps_the_control_socket() {
    let dir = Arc::new(Scratch::new());
    configure(&dir, &[Server::demo("a", &[]), Server::demo("b", &[])]);
    let listener = |name: &str| UnixListener::bind(dir.0.join(name)).unwrap();
    let mut mux = activate(&dir, vec![listener("a.sock"), listener("steer")], "a:control", |_| {});
    let health = |socket: &str| {
        Command::new(BINARY)
            .args(["health", "--socket"])
            .arg(dir.0.join(socket))
            .output()
            .unwrap()
            .status
            .code()
    };
    let steer = |verb: &str| {
        let asked =
            Command::new(BINARY).arg(verb).arg("--control").arg(dir.0.join("steer")).output().unwrap();
        (asked.status.code(), String::from_utf8_lossy(&asked.stdout).into_owned())
    };
    assert_eq!((health("a.sock"), health("b.sock")), (Some(0), Some(0)));
    let (code, table) = steer("status");
    assert!(code == Some(0) && table.contains("ready"), "the control socket was handed over too: {table}");
    configure(&dir, &[Server::demo("b", &[])]);
    assert_eq!(steer("reload").0, Some(0));
    assert!(mux.path("a.sock").exists(), "the manager's");
    assert_eq!((health("a.sock"), health("b.sock")), (Some(3), Some(0)), "nobody listens there any more");
    assert_eq!(steer("shutdown").0, Some(0));
    assert!(mux.ended().success());
    assert!(mux.path("steer").exists() && !mux.path("b.sock").exists());
}

#[test]
fn sockets_for_nobody_are_told_and_closed() {
    let dir = Arc::new(Scratch::new());
    configure(&dir, &[Server::demo("a", &[])]);
    let stranger = UnixListener::bind(dir.0.join("x.sock")).unwrap();
    let file = fs::File::create(dir.0.join("file")).unwrap();
    let mux = activate(&dir, vec![stranger, UnixListener::from(OwnedFd::from(file))], "x:y", |_| {});
    mux.wait_log("no server has the socket x at ");
    mux.wait_log("socket 'y': not a socket that listens for streams; it is closed");
    let mut client = mux.client();
    client.ask("ping", json!({}));
    let refused = std::os::unix::net::UnixStream::connect(dir.0.join("x.sock")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "nobody has it open any more");
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    let dir = Arc::new(Scratch::new());
    configure(&dir, &[Server::demo("a", &[])]);
    let mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "debug"], |command| {
        command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    });
    mux.wait_log("listening on");
    mux.client().ask("ping", json!({}));
    assert_eq!(mux.logged("service manager"), 0, "{}", mux.log());
}

#[test]
fn a_service_manager_is_told_of_start_reload_life_and_stop() {
    let dir = Arc::new(Scratch::new());
    configure(&dir, &[Server::demo("a", &[]), Server::demo("b", &[]).keys("lazy_start = true")]);
    let manager = Manager::at(&dir.0.join("notify"));
    let mut mux = Mux::run(dir.clone(), &["-c", "mux.toml", "--log-level", "debug"], |command| {
        command.env("NOTIFY_SOCKET", dir.0.join("notify")).env("WATCHDOG_USEC", "40000");
    });
    let ready = manager.hears("READY=1");
    assert!(ready.contains("\nSTATUS=2 servers ("), "{ready}");
    // From here on clients are served and eager servers have a process.
    assert_eq!(
        procfs::children(mux.pid).iter().filter(|pid| procfs::command(**pid).contains("demo")).count(),
        1
    );
    let mut client = mux.client();
    let child = client.server_pid();
    let environment = fs::read_to_string(format!("/proc/{child}/environ")).unwrap();
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("WATCHDOG"), "{environment}");
    (0..5).for_each(|_| drop(manager.hears("WATCHDOG=1")));
    manager.hears("STATUS=2 servers (1 lazy, 1 ready), 1 client");
    mux.signal(libc::SIGHUP);
    let reloading = manager.hears("RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    let now = muxloop::reactor::sys::monotonic_us();
    assert!(since.parse::<u64>().unwrap() <= now && since.parse::<u64>().unwrap() + 20_000_000 > now);
    manager.hears("READY=1");
    mux.signal(libc::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(mux.ended().success());
}

#[test]
fn abstract_notify_sockets_are_told_too_and_a_dead_one_disturbs_nobody() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("muxloop-e2e-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager(UnixDatagram::bind_addr(&address).unwrap());
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let dir = Arc::new(Scratch::new());
    configure(&dir, &[Server::demo("a", &[])]);
    let mut mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "debug"], |command| {
        command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "20000");
    });
    manager.hears("READY=1");
    drop(manager);
    mux.wait_log("the service manager cannot be told how muxloop is");
    mux.client().ask("ping", json!({}));
    assert!(Watched::new(mux.pid).lives());
    mux.stop();
    mux.assert_logged(1, "cannot be told");
}
