//! Sandboxes of the built binary's children, for real (C10): files, network, limits, what descends from them,
//! and a refusal where the kernel has no Landlock. The servers are this program itself, see [`Probes`].
#![cfg(target_os = "linux")]

#[allow(dead_code, unused_imports)]
#[path = "e2e_mux/support/mod.rs"]
mod support;

use muxloop::engine::sandbox::Landlock;
use muxloop::reactor::sandbox::abilities;
use serde_json::json;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use support::mux::{Scratch, command};
use support::{Mux, Server, Watched, holds_within, text};

/// A server that does what the lines say, tells on stderr how each went, and waits for its end. A line is a
/// verb and its words; `DIR` is the directory of the test.
struct Probes<'a> {
    lines: &'a [&'a str],
    sandbox: &'a str,
}

impl Probes<'_> {
    fn toml(&self, name: &str, dir: &Scratch) -> String {
        let dir = dir.0.display().to_string();
        let program = std::env::current_exe().unwrap();
        let lines = self.lines.join("\n").replace("DIR", &dir);
        format!(
            "[servers.{name}]\nsocket = \"{dir}/{name}.sock\"\ncmd = {}\n\
             args = [\"--exact\", \"child_that_probes\", \"--nocapture\"]\nenv = {{ {VARIABLE} = {} }}\n{}\n",
            json!(program),
            json!(lines),
            self.sandbox.replace("DIR", &dir)
        )
    }
}

const VARIABLE: &str = "MUXLOOP_TEST_PROBES";

/// Not a test of its own: the server of the others.
#[test]
fn child_that_probes() {
    let Ok(lines) = std::env::var(VARIABLE) else { return };
    let mut lines = lines.lines();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "descend" {
            // What follows is done two processes further down, the first of which left the session.
            let rest: Vec<&str> = lines.by_ref().collect();
            descend(&rest.join("\n"));
            break;
        }
        let outcome = match probe(&words) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.raw_os_error().map_or_else(|| error.to_string(), |code| code.to_string()),
        };
        eprintln!("probe {line}: {outcome}");
    }
    eprintln!("probe done");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn descend(lines: &str) {
    let program = std::env::current_exe().unwrap();
    let script = format!("'{}' --exact child_that_probes --nocapture </dev/null; exit 0", program.display());
    let mut command = Command::new("setsid");
    command.args(["-w", "sh", "-c", &script]).env(VARIABLE, lines).stdout(Stdio::null());
    eprintln!("probe descend: {}", command.status().is_ok_and(|status| status.success()));
}

fn probe(words: &[&str]) -> std::io::Result<()> {
    match words {
        ["read", path] => fs::read(path).map(drop),
        ["list", path] => fs::read_dir(path).map(drop),
        ["write", path] => fs::OpenOptions::new().write(true).open(path).map(drop),
        ["create", path] => fs::OpenOptions::new().write(true).create_new(true).open(path).map(drop),
        ["truncate", path] => fs::OpenOptions::new().write(true).truncate(true).open(path).map(drop),
        ["remove", path] => fs::remove_file(path),
        ["rename", from, to] => fs::rename(from, to),
        ["link", from, to] => fs::hard_link(from, to),
        ["symlink", from, to] => std::os::unix::fs::symlink(from, to),
        ["run", path] => Command::new(path).arg("true").status().map(drop),
        ["connect", address] => TcpStream::connect(address).map(drop),
        ["listen", address] => TcpListener::bind(address).map(drop),
        ["udp", address] => UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", address).map(drop),
        ["io_uring"] => {
            let none = std::ptr::null::<u8>();
            // SAFETY: a null pointer is EFAULT, and one entry a plain number.
            checked(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, none) })
        }
        ["netlink"] => {
            // SAFETY: plain numbers. The socket is closed with the process.
            checked(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0) }.into())
        }
        ["abstract", name] => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop),
        ["unix", path] => UnixStream::connect(path).map(drop),
        ["terminate", pid] => muxloop::reactor::sys::signal_process(pid.parse().unwrap(), libc::SIGTERM),
        ["open", count] => {
            let count: usize = count.parse().unwrap();
            (0..count).map(|_| fs::File::open("/dev/null")).collect::<Result<Vec<_>, _>>().map(drop)
        }
        ["allocate", bytes] => {
            let mut vec: Vec<u8> = Vec::new();
            vec.try_reserve_exact(bytes.parse().unwrap()).map_err(std::io::Error::other)
        }
        ["spin"] => loop {
            std::hint::spin_loop();
        },
        ["limit", name] => {
            let limits = fs::read_to_string("/proc/self/limits")?;
            let line =
                limits.lines().find(|line| line.starts_with(&name.replace('_', " "))).unwrap_or("none");
            let numbers: Vec<&str> =
                line.split_whitespace().filter(|word| word.parse::<u64>().is_ok()).collect();
            Err(std::io::Error::other(numbers.join(" ")))
        }
        _ => panic!("unknown probe {words:?}"),
    }
}

fn checked(result: i64) -> std::io::Result<()> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs one such server and waits until it has done everything.
fn probed(dir: Arc<Scratch>, probes: Probes<'_>) -> Mux {
    fs::write(dir.0.join("mux.toml"), probes.toml("a", &dir)).unwrap();
    let mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "debug"], |_| {});
    mux.wait_log("probe done");
    mux
}

/// Whether the kernel has this version; if not, `check` must say so of such a server.
fn has_landlock(wanted: u32, key: &str, value: &str) -> bool {
    let landlock = abilities().landlock;
    if matches!(landlock, Landlock::Abi(abi) if abi >= wanted) {
        return true;
    }
    let dir = Scratch::new();
    fs::write(dir.0.join("mux.toml"), format!("[servers.a]\ncmd = \"x\"\nsandbox.{key} = {value}\n"))
        .unwrap();
    let output = command(&dir.0).args(["check"]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("servers.a.sandbox.{key}: needs Landlock ABI")), "{said}");
    eprintln!("only the refusal was tested: {said}");
    false
}

/// `work` may be changed, `open` be read, `closed` neither; each with a file `f` that says so.
fn three_directories() -> Arc<Scratch> {
    let dir = Arc::new(Scratch::new());
    for name in ["work", "open", "closed"] {
        fs::create_dir(dir.0.join(name)).unwrap();
        fs::write(dir.0.join(name).join("f"), name).unwrap();
    }
    dir
}

const FILES: &str = "sandbox = { fs_read = [\"DIR/open\"], fs_write = [\"DIR/work\"] }";

#[track_caller]
fn assert_outcomes(mux: &Mux, outcomes: &[(&str, &str)]) {
    let log = mux.log();
    for (line, outcome) in outcomes {
        let line = line.replace("DIR", &mux.dir.0.display().to_string());
        let found = log.lines().find_map(|found| found.split_once(&format!("probe {line}: ")));
        assert_eq!(found.map(|(_, outcome)| outcome), Some(*outcome), "{line}\n{log}");
    }
}

/// EACCES.
const DENIED: &str = "13";
/// EXDEV, which linking and renaming give where the target lacks rights of the source.
const OTHER_PLACE: &str = "18";
/// ENOSYS.
const NOT_BUILT: &str = "38";
/// EPERM.
const NOT_PERMITTED: &str = "1";

#[test]
fn files_outside_cannot_be_read_or_changed() {
    if !has_landlock(3, "fs_read", "[\"/\"]") {
        return;
    }
    let outcomes = [
        ("read DIR/open/f", "ok"),
        ("list DIR/open", "ok"),
        ("write DIR/open/f", DENIED),
        ("truncate DIR/open/f", DENIED),
        ("create DIR/open/new", DENIED),
        ("remove DIR/open/f", DENIED),
        ("read DIR/closed/f", DENIED),
        ("list DIR/closed", DENIED),
        ("list DIR", DENIED),
        ("write DIR/closed/f", DENIED),
        ("truncate DIR/closed/f", DENIED),
        ("remove DIR/closed/f", DENIED),
        ("read DIR/mux.toml", DENIED),
        ("read DIR/work/f", "ok"),
        ("create DIR/work/new", "ok"),
        ("rename DIR/work/new DIR/work/newer", "ok"),
        ("truncate DIR/work/newer", "ok"),
        ("rename DIR/work/newer DIR/closed/newer", DENIED),
        ("link DIR/closed/f DIR/work/closed", OTHER_PLACE),
        ("symlink DIR/closed/f DIR/work/symbolic", "ok"),
        ("read DIR/work/symbolic", DENIED),
        ("remove DIR/work/f", "ok"),
        ("read /etc/passwd", "ok"),
        ("read /proc/self/status", "ok"),
        ("write /dev/null", "ok"),
        ("list /", DENIED),
        ("run sh", "ok"),
    ];
    let lines: Vec<&str> = outcomes.iter().map(|(line, _)| *line).collect();
    let mux = probed(three_directories(), Probes { lines: &lines, sandbox: FILES });
    assert_outcomes(&mux, &outcomes);
    let content = |path: &str| fs::read_to_string(mux.path(path)).unwrap();
    assert_eq!((content("open/f"), content("closed/f")), ("open".into(), "closed".into()));
    assert!(!mux.path("work/f").exists() && mux.path("work/newer").exists());
}

#[test]
fn what_descends_from_a_server_is_held_as_well() {
    if !has_landlock(4, "net", "false") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = format!("connect {}", listener.local_addr().unwrap());
    let lines = ["descend", "read DIR/open/f", "read DIR/closed/f", &connect, "limit Max_open_files"];
    let sandbox = "sandbox = { fs_read = [\"DIR/open\"], net = false, files = 77 }";
    let mux = probed(three_directories(), Probes { lines: &lines, sandbox });
    assert_outcomes(
        &mux,
        &[
            ("read DIR/open/f", "ok"),
            ("read DIR/closed/f", DENIED),
            (&connect, DENIED),
            ("limit Max_open_files", "77 77"),
        ],
    );
    mux.wait_log("probe descend: true");
}

#[test]
fn without_net_nothing_connects_or_listens() {
    if !has_landlock(4, "net", "false") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = format!("connect {}", listener.local_addr().unwrap());
    // Those outside are out of reach since ABI 6.
    let new = matches!(abilities().landlock, Landlock::Abi(6..));
    let name = format!("muxloop-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let abstract_socket = format!("abstract {name}");
    let outcomes = [
        (connect.as_str(), DENIED, "ok"),
        ("listen 127.0.0.1:0", DENIED, "ok"),
        ("udp 127.0.0.1:9", DENIED, "ok"),
        ("io_uring", NOT_BUILT, ""),
        // What is within the machine.
        ("netlink", "ok", "ok"),
        ("unix DIR/a.sock", "ok", "ok"),
        (&abstract_socket, if new { NOT_PERMITTED } else { "ok" }, "ok"),
        ("read DIR/closed/f", "ok", "ok"),
    ];
    let lines = outcomes.map(|(line, _, _)| line);
    let mux = probed(three_directories(), Probes { lines: &lines, sandbox: "sandbox = { net = false }" });
    assert_outcomes(&mux, &outcomes.map(|(line, without, _)| (line, without)));
    // The same without the key, so that it is the key that did it. io_uring may be off in the whole system.
    let mux = probed(three_directories(), Probes { lines: &lines, sandbox: "sandbox = { files = 99 }" });
    let with = outcomes.iter().filter(|(_, _, with)| !with.is_empty());
    assert_outcomes(&mux, &with.map(|(line, _, with)| (*line, *with)).collect::<Vec<_>>());
}

#[test]
fn what_muxloop_has_open_is_closed() {
    if !has_landlock(3, "fs_read", "[\"/\"]") {
        return;
    }
    let run = |sandbox| {
        let dir = three_directories();
        let lines = ["read /proc/self/fd/99"];
        fs::write(dir.0.join("mux.toml"), Probes { lines: &lines, sandbox }.toml("a", &dir)).unwrap();
        let file = fs::File::open(dir.0.join("closed/f")).unwrap();
        let mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "debug"], |command| {
            // SAFETY: dup2(2) is async-signal-safe, and `file` is open until the program has started.
            unsafe {
                command.pre_exec(move || checked(libc::dup2(file.as_raw_fd(), 99).into()));
            }
        });
        mux.wait_log("probe done");
        mux
    };
    assert_outcomes(&run(FILES), &[("read /proc/self/fd/99", "2")]);
    // Without a sandbox it is passed on, so that the line above shows something.
    assert_outcomes(&run(""), &[("read /proc/self/fd/99", "ok")]);
}

#[test]
fn a_server_cannot_signal_what_is_outside() {
    if !matches!(abilities().landlock, Landlock::Abi(6..)) {
        return;
    }
    let mut outside = Command::new("sleep").arg("1000").spawn().unwrap();
    let line = format!("terminate {}", outside.id());
    let mux = probed(three_directories(), Probes { lines: &[&line], sandbox: FILES });
    let lives = outside.try_wait();
    outside.kill().unwrap();
    outside.wait().unwrap();
    assert_outcomes(&mux, &[(&line, NOT_PERMITTED)]);
    assert!(matches!(lives, Ok(None)), "{lives:?}");
}

#[test]
fn limits_bite() {
    let lines = ["limit Max_open_files", "open 20", "open 60", "allocate 8000000", "allocate 80000000"];
    let sandbox = "[servers.a.sandbox]\nfiles = 40\nmemory = \"48 MiB\"\ncpu_seconds = 100";
    let mux = probed(Arc::new(Scratch::new()), Probes { lines: &lines, sandbox });
    assert_outcomes(
        &mux,
        &[
            ("limit Max_open_files", "40 40"),
            ("open 20", "ok"),
            ("open 60", "24"),
            ("allocate 8000000", "ok"),
            ("allocate 80000000", "memory allocation failed because the memory allocator returned an error"),
        ],
    );
}

#[test]
fn the_number_of_processes_is_limited_unless_it_is_root() {
    let dir = Arc::new(Scratch::new());
    let probes = Probes { lines: &["limit Max_processes"], sandbox: "sandbox = { processes = 4321 }" };
    if !abilities().is_root {
        let mux = probed(dir, probes);
        return assert_outcomes(&mux, &[("limit Max_processes", "4321 4321")]);
    }
    fs::write(dir.0.join("mux.toml"), probes.toml("a", &dir)).unwrap();
    let output = command(&dir.0).args(["check"]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("servers.a.sandbox.processes: does not bind root"), "{said}");
}

#[test]
fn a_process_that_used_up_its_time_ends_and_muxloop_says_how() {
    let dir = Arc::new(Scratch::new());
    let probes = Probes { lines: &["limit Max_cpu_time", "spin"], sandbox: "sandbox = { cpu_seconds = 1 }" };
    fs::write(dir.0.join("mux.toml"), probes.toml("a", &dir)).unwrap();
    let mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "debug"], |_| {});
    mux.wait_log("probe limit Max_cpu_time: 1 2");
    // Whether the end of its output or its own is seen first is not certain.
    mux.wait_log(&format!("was killed by signal {}", libc::SIGXCPU));
}

#[test]
fn a_real_server_works_in_a_sandbox() {
    if !has_landlock(4, "net", "false") {
        return;
    }
    let sandbox = "sandbox = { fs_write = [\"DIR\"], net = false, memory = \"256MiB\", files = 64 }";
    let mux = Mux::start(&[Server::demo("a", &[]).keys(sandbox)]);
    let mut client = mux.client();
    assert_eq!(text(&client.call("echo", json!({ "text": "inside" }))), "inside");
    let status = fs::read_to_string(format!("/proc/{}/status", client.server_pid())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[test]
fn a_script_starts_with_all_that_it_is_run_by() {
    if !has_landlock(3, "fs_read", "[\"/\"]") {
        return;
    }
    let dir = three_directories();
    let write = |name: &str, text: &str| {
        let path = dir.0.join(name);
        fs::write(&path, text.replace("DIR", &dir.0.display().to_string())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    write("inner", "#!/bin/sh\ncat DIR/closed/f \"$1\" >&2\necho both ran >&2\nexec cat >/dev/null\n");
    let outer = write("outer", "#!DIR/inner\nread by inner\n");
    let mux = Mux::start_in(dir, &[Server::command("a", &outer).keys("sandbox = { fs_read = [] }")]);
    mux.wait_log("both ran");
    assert_eq!((mux.logged("stderr: read by inner"), mux.logged("stderr: closed")), (1, 0), "{}", mux.log());
}

#[test]
fn nothing_in_a_sandbox_outlives_muxloop() {
    if !has_landlock(3, "fs_read", "[\"/\"]") {
        return;
    }
    let script = "setsid sh -c 'echo sleeper $$ >&2; exec sleep 1000' & exec cat >/dev/null";
    let mut mux = Mux::start(&[Server::script("a", script).keys("sandbox = { fs_read = [], net = true }")]);
    let line = mux.wait_log("sleeper ");
    let sleeper = Watched::new(line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).unwrap());
    assert!(sleeper.lives());
    mux.signal(libc::SIGKILL);
    mux.ended();
    sleeper.assert_ends();
}

#[test]
fn a_reload_with_another_sandbox_restarts_that_server_only() {
    let server = |name: &str, files: u32| Server::demo(name, &[]).keys(&format!("sandbox.files = {files}"));
    let mux = Mux::start(&[server("a", 64), server("b", 64)]);
    let (mut a, mut b) = (mux.client(), mux.client_of("b", json!({})));
    let before = (a.server_pid(), b.server_pid());
    let files = |pid| fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    assert!(files(before.0).contains("Max open files            64 "), "{}", files(before.0));
    let toml = server("a", 80).toml(&mux.dir.0) + &server("b", 64).toml(&mux.dir.0);
    fs::write(mux.path("mux.toml"), toml).unwrap();
    mux.signal(libc::SIGHUP);
    mux.wait_log("reloaded: changed a; 1 unchanged");
    let after = (a.server_pid(), b.server_pid());
    assert!(after.0 != before.0 && after.1 == before.1, "{before:?} {after:?}");
    assert!(holds_within(support::PATIENCE, || files(after.0).contains("Max open files            80 ")));
}

#[test]
fn check_names_a_path_that_is_not_there() {
    let dir = Scratch::new();
    let text = "[servers.a]\ncmd = \"x\"\n[servers.a.sandbox]\nfs_read = [\"~/gone\"]\n";
    fs::write(dir.0.join("mux.toml"), text).unwrap();
    let output = command(&dir.0).args(["check"]).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains(
            "mux.toml:4:12: servers.a.sandbox.fs_read[0]: '~/gone' does not exist, expected a file"
        ),
        "{said}"
    );
}
