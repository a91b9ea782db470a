//! The reactor in processes of its own: what is left after `kill -9`, after SIGTERM, after a thousand children.
//!
//! This program is the test runner, and (by its first argument) also the things under test: a small daemon
//! that is nothing but a reactor, the guard of that daemon, a client of another user.

#![cfg(target_os = "linux")]

mod subject;
mod support;

use muxloop::reactor::listener::Listener;
use muxloop::reactor::process::{CHILD_VARIABLE, OWNER_VARIABLE, Owner};
use muxloop::reactor::sys::{self, Pid};
use muxloop::reactor::{Reactor, guard, procfs};
use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, exit};
use std::time::{Duration, Instant};
use support::{Daemon, PATIENCE, Scratch, Watched};

fn main() {
    guard::main_if_requested();
    let args: Vec<String> = env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["daemon", socket, ref scripts @ ..] => subject::daemon(Path::new(socket), scripts),
        ["cycles", count] => subject::cycles(count.parse().unwrap()),
        ["starve", socket] => subject::starve(Path::new(socket)),
        ["client", socket] => subject::client(Path::new(socket)),
        _ => run(words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or("")),
    }
}

const TESTS: &[(&str, fn())] = &[
    ("kill_9_leaves_nobody_and_its_socket_is_taken_over", kill_9_leaves_nobody_and_its_socket_is_taken_over),
    ("sigterm_leaves_no_process_and_no_file", sigterm_leaves_no_process_and_no_file),
    ("a_guard_is_hard_to_hit_small_and_replaced", a_guard_is_hard_to_hit_small_and_replaced),
    ("without_its_guard_the_next_start_clears_up", without_its_guard_the_next_start_clears_up),
    ("leftovers_are_only_those_of_the_dead", leftovers_are_only_those_of_the_dead),
    ("a_child_takes_its_own_descendants_along", a_child_takes_its_own_descendants_along),
    ("a_thousand_children_leave_nothing", a_thousand_children_leave_nothing),
    ("a_shortage_of_descriptors_is_sat_out", a_shortage_of_descriptors_is_sat_out),
    (
        "a_live_socket_is_never_stolen_and_a_stale_one_is_replaced",
        a_live_socket_is_never_stolen_and_a_stale_one_is_replaced,
    ),
    (
        "of_many_that_start_at_once_exactly_one_gets_the_socket",
        of_many_that_start_at_once_exactly_one_gets_the_socket,
    ),
    ("another_user_is_refused", another_user_is_refused),
    ("signals_arrive_as_events", signals_arrive_as_events),
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

/// Prints the ids of a child, of a grandchild in its group, of one in a session of its own, and of one that
/// lost its parent there; then waits for the end of its stdin.
const TREE: &str = "sleep 1000 & echo pid $!; setsid sleep 1000 & echo pid $!;
    setsid sh -c 'sleep 1000 & echo pid $!; setsid sleep 1000 & echo pid $!' & wait $!;
    echo pid $$; echo complete; cat >/dev/null";

fn kill_9_leaves_nobody_and_its_socket_is_taken_over() {
    let scratch = Scratch::new();
    let socket = scratch.path("s");
    for _ in 0..20 {
        let daemon = Daemon::start(&socket, &[TREE, TREE]);
        let mut victims = daemon.trees(2);
        assert_eq!(victims.len(), 10);
        victims.push(Watched::new(daemon.guard));
        daemon.kill(libc::SIGKILL);
        let killed = Instant::now();
        victims.iter().for_each(Watched::assert_ends);
        assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
        assert!(socket.exists(), "nobody removed it");
    }
    let heir = Daemon::start(&socket, &[]);
    UnixStream::connect(&socket).unwrap();
    heir.stop();
}

fn sigterm_leaves_no_process_and_no_file() {
    let scratch = Scratch::new();
    let socket = scratch.path("s");
    let daemon = Daemon::start(&socket, &[TREE]);
    let mut victims = daemon.trees(1);
    victims.push(Watched::new(daemon.guard));
    daemon.stop();
    victims.iter().for_each(Watched::assert_ends);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
}

fn a_guard_is_hard_to_hit_small_and_replaced() {
    let scratch = Scratch::new();
    let mut daemon = Daemon::start(&scratch.path("s"), &[TREE]);
    let guard = daemon.guard;
    // It takes its name last of all, when it is ready.
    let (deadline, comm) = (Instant::now() + PATIENCE, format!("/proc/{guard}/comm"));
    while fs::read_to_string(&comm).unwrap() != "mux-guard\n" {
        assert!(Instant::now() < deadline, "{:?}", fs::read_to_string(&comm));
        std::thread::yield_now();
    }
    assert_eq!(procfs::command(guard), format!("mux-guard --mux-guard {}", daemon.owner()));
    assert_eq!(fs::read(format!("/proc/{guard}/environ")).unwrap(), b"");
    let status = fs::read_to_string(format!("/proc/{guard}/status")).unwrap();
    let rss = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    println!("  guard: {}", rss.split_whitespace().collect::<Vec<_>>().join(" "));
    let held: Vec<_> = fs::read_dir(format!("/proc/{guard}/fd")).unwrap().flatten().collect();
    assert_eq!(held.len(), 3, "its pipe and twice /dev/null");

    // Signals that end a daemon, also when they hit its whole session, do not end the guard.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        sys::signal_process(guard, signal).unwrap();
    }
    let stat = procfs::stat(guard).unwrap();
    assert_eq!(stat.group, guard);
    assert!(!stat.is_zombie());

    for _ in 0..3 {
        let old = Watched::new(daemon.guard);
        sys::signal_process(daemon.guard, libc::SIGKILL).unwrap();
        old.assert_ends();
        daemon.guard = daemon.line("guard ").parse().unwrap();
    }
    // The last one knows what was started before its time.
    let mut victims = daemon.trees(1);
    victims.push(Watched::new(daemon.guard));
    daemon.kill(libc::SIGKILL);
    victims.iter().for_each(Watched::assert_ends);
}

fn without_its_guard_the_next_start_clears_up() {
    let scratch = Scratch::new();
    let socket = scratch.path("s");
    let daemon = Daemon::start(&socket, &[TREE]);
    let victims = daemon.trees(1);
    // Stopped, so that it cannot act in between.
    sys::signal_process(daemon.guard, libc::SIGSTOP).unwrap();
    let guard = Watched::new(daemon.guard);
    daemon.kill(libc::SIGKILL);
    sys::signal_process(guard.pid, libc::SIGKILL).unwrap();
    guard.assert_ends();
    assert!(victims.iter().any(Watched::lives), "the test would show nothing");
    let heir = Daemon::start(&socket, &[]);
    victims.iter().for_each(Watched::assert_ends);
    heir.stop();
}

fn leftovers_are_only_those_of_the_dead() {
    let scratch = Scratch::new();
    let sleeper = |owner: Owner| {
        let mut command = Command::new("sleep");
        let child =
            command.arg("1000").env(OWNER_VARIABLE, owner.to_string()).env(CHILD_VARIABLE, "x").spawn();
        child.unwrap()
    };
    let alive = Owner::this();
    let mut dead = Command::new("true").spawn().unwrap();
    let gone = Owner { pid: dead.id() as Pid, start: 1 };
    dead.wait().unwrap();
    let reborn = Owner { start: alive.start + 1, ..alive };
    let mut left = [sleeper(gone), sleeper(reborn)];
    let mut others = [sleeper(alive), Command::new("sleep").arg("1000").spawn().unwrap()];
    let daemon = Daemon::start(&scratch.path("s"), &[]);
    for child in &mut left {
        assert!(!child.wait().unwrap().success());
    }
    for child in &mut others {
        assert!(child.try_wait().unwrap().is_none(), "not a leftover");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    daemon.stop();
}

fn a_child_takes_its_own_descendants_along() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("s"), &[TREE, TREE]);
    let (first, second): (Vec<_>, Vec<_>) = (daemon.tree_of(0), daemon.tree_of(1));
    // Its leader alone dies, as in a crash; its group and the two sessions are left.
    sys::signal_process(first.last().unwrap().pid, libc::SIGKILL).unwrap();
    assert_eq!(daemon.line("exited "), "0 Signal(9)");
    first.iter().for_each(Watched::assert_ends);
    assert!(second.iter().all(Watched::lives), "they belong to another child");
    let zombies = || procfs::children(daemon.pid()).into_iter().filter(|pid| *pid != daemon.guard).count();
    let deadline = Instant::now() + PATIENCE;
    // The second child itself, and its two orphans that the daemon adopted; all else is reaped.
    while zombies() != 3 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(zombies(), 3);
    daemon.stop();
    second.iter().for_each(Watched::assert_ends);
}

fn a_thousand_children_leave_nothing() {
    let out = Command::new(env::current_exe().unwrap()).args(["cycles", "1000"]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    print!("{text}");
    assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
}

fn a_shortage_of_descriptors_is_sat_out() {
    let scratch = Scratch::new();
    let out =
        Command::new(env::current_exe().unwrap()).arg("starve").arg(scratch.path("s")).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    print!("{text}");
    assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
}

fn another_user_is_refused() {
    if sys::effective_uid() != 0 {
        println!("  only root can become another user: nothing shown");
        return;
    }
    let scratch = Scratch::new();
    let program = scratch.path("client");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = scratch.path("s");
    let daemon = Daemon::start(&socket, &[]);
    let connect = || {
        let mut client = Command::new(&program);
        client.arg("client").arg(&socket).uid(65534).gid(65534).output().unwrap()
    };
    let out = connect();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "PermissionDenied\n", "by the mode of the file");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let out = connect();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "closed\n", "by the check at accept");
    UnixStream::connect(&socket).unwrap();
    assert_eq!(daemon.line("accepted "), "1", "the refused one is counted, not seen");
    daemon.stop();
}

fn signals_arrive_as_events() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("s"), &[]);
    for (signal, name) in [(libc::SIGHUP, "Reload"), (libc::SIGUSR1, "Reopen"), (libc::SIGINT, "Stop")] {
        sys::signal_process(daemon.pid(), signal).unwrap();
        assert_eq!(daemon.line("signal "), name);
    }
    daemon.ended();
}

fn a_live_socket_is_never_stolen_and_a_stale_one_is_replaced() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let mut first = Reactor::new().unwrap();
    let mut second = Reactor::new().unwrap();
    let index = first.listen(&path).unwrap();
    let error = second.listen(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let want = format!("another muxloop (process {}) listens there", std::process::id());
    assert!(error.to_string().contains(&want), "{error}");
    assert!(UnixStream::connect(&path).is_ok(), "the first still listens");
    first.stop_listening(index);
    second.listen(&path).unwrap();

    let foreign = scratch.path("foreign");
    let listener = UnixListener::bind(&foreign).unwrap();
    let error = first.listen(&foreign).unwrap_err();
    assert!(error.to_string().contains("another process listens there"), "{error}");
    drop(listener);
    assert!(foreign.exists(), "std leaves the file: it is stale now");
    first.listen(&foreign).unwrap();
    assert!(UnixStream::connect(&foreign).is_ok());
}

fn of_many_that_start_at_once_exactly_one_gets_the_socket() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    for _ in 0..20 {
        drop(UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(8);
        let winners = std::thread::scope(|scope| {
            let start = || {
                barrier.wait();
                let bound = Listener::bind(&path);
                barrier.wait();
                bound.is_ok()
            };
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(winners, 1);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0, "socket and lock are gone");
    }
}
