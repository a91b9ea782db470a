//! The reactor in processes of its own: what is left after `kill -9`, after SIGTERM, after a thousand children.
//!
//! This program is the test runner, and (by its first argument) also the things under test: a small daemon
//! that is nothing but a reactor, the guard of that daemon, a client of another user.

#![cfg(target_os = "linux")]

use muxloop::base::{Arena, Key};
use muxloop::engine::port::{Io, Kill, Platform, Ready, Signal, SpawnSpec};
use muxloop::reactor::process::{CHILD_VARIABLE, OWNER_VARIABLE, Owner};
use muxloop::reactor::sys::{self, Pid};
use muxloop::reactor::{Reactor, guard, procfs};
use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

fn main() {
    guard::main_if_requested();
    let args: Vec<String> = env::args().collect();
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["daemon", socket, ref scripts @ ..] => daemon(Path::new(socket), scripts),
        ["cycles", count] => cycles(count.parse().unwrap()),
        ["starve", socket] => starve(Path::new(socket)),
        ["client", socket] => client(Path::new(socket)),
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

// ---- tests ----

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
    assert_eq!(procfs::command(guard), format!("mux-guard --mux-guard {}", daemon.owner()));
    assert_eq!(fs::read_to_string(format!("/proc/{guard}/comm")).unwrap(), "mux-guard\n");
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

// ---- what is tested ----

/// A daemon that starts one child per script, prints what happens, and ends at SIGTERM.
fn daemon(socket: &Path, scripts: &[&str]) {
    let mut reactor = Reactor::for_daemon().unwrap();
    let mut keys: Arena<(usize, Option<Box<dyn Io>>)> = Arena::new();
    reactor.listen(socket).unwrap();
    for (index, script) in scripts.iter().enumerate() {
        let process = keys.insert((index, None));
        let mut child = reactor.spawn(process, &shell(script)).unwrap();
        let key = keys.next_key();
        reactor.register(key, &mut *child.stdio).unwrap();
        keys.insert((index, Some(child.stdio)));
    }
    let mut ready = Vec::new();
    let mut guard = None;
    let mut accepted = Vec::new();
    loop {
        if reactor.guard() != guard {
            guard = reactor.guard();
            guard.iter().for_each(|pid| say(&format!("guard {pid}\n")));
        }
        reactor.wait(None, &mut ready).unwrap();
        for event in ready.drain(..) {
            match event {
                Ready::Signal(signal) => {
                    say(&format!("signal {signal:?}\n"));
                    if signal == Signal::Stop {
                        return;
                    }
                }
                Ready::Stream { key, .. } => forward(&mut keys, key),
                Ready::Accept { listener } => {
                    while let Ok(client) = reactor.accept(listener) {
                        accepted.push(client);
                        say(&format!("accepted {}\n", reactor.refused(listener)));
                    }
                }
                Ready::Exited { process, status } => {
                    reactor.sweep(process);
                    say(&format!("exited {} {status:?}\n", keys.get(process).unwrap().0));
                }
            }
        }
    }
}

/// Prints what a child says, each line with the child's number.
fn forward(keys: &mut Arena<(usize, Option<Box<dyn Io>>)>, key: Key) {
    let Some((index, Some(io))) = keys.get_mut(key) else { return };
    let mut buf = [0; 4096];
    while let Ok(n @ 1..) = io.read(&mut buf) {
        String::from_utf8_lossy(&buf[..n]).lines().for_each(|line| say(&format!("out {index} {line}\n")));
    }
}

/// Starts and ends children, by all the ways there are, and compares itself before and after.
fn cycles(count: usize) {
    let mut reactor = Reactor::for_daemon().unwrap();
    let mut keys = Arena::new();
    let mut ready = Vec::new();
    let mut before = None;
    let started = Instant::now();
    for cycle in 0..count {
        // The first ones make the lazy allocations and descriptors of the process.
        if cycle == 10 {
            before = Some((descriptors(), rss_kb()));
        }
        let process = keys.insert(());
        let script =
            ["exit 3", "cat", "setsid sleep 1000 & cat", "sleep 1000 & setsid setsid sleep 1000 & wait"];
        let mut child = reactor.spawn(process, &shell(script[cycle % script.len()])).unwrap();
        let (stdio, stderr) = (keys.insert(()), keys.insert(()));
        reactor.register(stdio, &mut *child.stdio).unwrap();
        reactor.register(stderr, &mut *child.stderr).unwrap();
        match cycle % 4 {
            0 => {}
            1 => child.stdio.shutdown_write().unwrap(),
            2 => reactor.kill(process, Kill::Terminate),
            _ => reactor.kill(process, Kill::Kill),
        }
        let (mut ended, deadline) = (false, Instant::now() + PATIENCE);
        while !ended {
            assert!(Instant::now() < deadline, "cycle {cycle}: child {} did not end", child.pid);
            reactor.wait(Some(PATIENCE), &mut ready).unwrap();
            ended =
                ready.iter().any(|event| matches!(event, Ready::Exited { process: p, .. } if *p == process));
        }
        reactor.sweep(process);
        reactor.deregister(stdio, &mut *child.stdio);
        reactor.deregister(stderr, &mut *child.stderr);
        for key in [process, stdio, stderr] {
            keys.remove(key);
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let guard = reactor.guard().unwrap() as Pid;
    let own = std::process::id() as Pid;
    while procfs::children(own) != [guard] && Instant::now() < deadline {
        reactor.wait(Some(Duration::from_millis(100)), &mut ready).unwrap();
    }
    assert_eq!(procfs::children(own), [guard], "no zombie, no orphan");
    let (fds, rss) = before.unwrap();
    println!("  {count} cycles in {:?}, RSS {rss} -> {} KiB", started.elapsed(), rss_kb());
    assert_eq!(descriptors(), fds);
    assert!(rss_kb() < rss + 512, "{rss} -> {} KiB", rss_kb());
}

/// Runs out of descriptors with connections in the queue.
fn starve(socket: &Path) {
    let mut reactor = Reactor::new().unwrap();
    let listener = reactor.listen(socket).unwrap();
    let free = OwnedFd::from(fs::File::open("/dev/null").unwrap());
    let used = free.as_raw_fd() as u64;
    drop(free);
    let clients: Vec<_> = (0..8).map(|_| UnixStream::connect(socket).unwrap()).collect();
    // Room for three more than the clients took.
    let limit = libc::rlimit { rlim_cur: used + 8 + 3, rlim_max: used + 100 };
    sys::set_descriptor_limit(limit).unwrap();
    let (mut ready, mut accepted, mut turns) = (Vec::new(), Vec::new(), 0);
    let started = Instant::now();
    while accepted.len() < 8 {
        assert!(started.elapsed() < PATIENCE, "{} accepted", accepted.len());
        reactor.wait(Some(PATIENCE), &mut ready).unwrap();
        turns += 1;
        if turns == 6 {
            sys::set_descriptor_limit(libc::rlimit { rlim_cur: used + 100, ..limit }).unwrap();
        }
        while let Some(Ready::Accept { .. }) = ready.pop() {
            loop {
                match reactor.accept(listener) {
                    Ok(client) => accepted.push(client),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(turns >= 6 || (1..=3).contains(&accepted.len()), "{} accepted", accepted.len());
        }
    }
    println!("  {turns} turns in {:?}", started.elapsed());
    assert!(started.elapsed() >= Duration::from_millis(400), "it rested between the turns");
    drop(clients);
}

/// Connects and says what came of it.
fn client(socket: &Path) {
    let mut byte = [0];
    match UnixStream::connect(socket).and_then(|mut stream| stream.read(&mut byte)) {
        Ok(0) => println!("closed"),
        Ok(_) => println!("served"),
        Err(error) => println!("{:?}", error.kind()),
    }
}

fn say(line: &str) {
    // In one write: a reader sees whole lines.
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn shell(script: &str) -> SpawnSpec {
    SpawnSpec { program: "sh".into(), args: vec!["-c".into(), script.into()], ..SpawnSpec::default() }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn rss_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// ---- support ----

const PATIENCE: Duration = Duration::from_secs(20);

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let path = env::temp_dir().join(format!("muxloop-e2e-{}-{nanos}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Scratch(path)
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process of whom the end can be waited for.
struct Watched {
    pid: Pid,
    process: OwnedFd,
}

impl Watched {
    fn new(pid: Pid) -> Watched {
        Watched { pid, process: sys::open_process(pid).unwrap_or_else(|error| panic!("{pid}: {error}")) }
    }
    fn ends_within(&self, timeout: Duration) -> bool {
        let mut poll = mio::Poll::new().unwrap();
        let source = &mut mio::unix::SourceFd(&self.process.as_raw_fd());
        poll.registry().register(source, mio::Token(0), mio::Interest::READABLE).unwrap();
        let mut events = mio::Events::with_capacity(1);
        poll.poll(&mut events, Some(timeout)).unwrap();
        !events.is_empty()
    }
    fn assert_ends(&self) {
        assert!(self.ends_within(PATIENCE), "{} lives: {}", self.pid, procfs::command(self.pid));
    }
    fn lives(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }
}

/// The daemon of this file in a process of its own.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    /// Lines that were read while another was waited for.
    other: std::cell::RefCell<VecDeque<String>>,
    guard: Pid,
}

impl Daemon {
    fn start(socket: &Path, scripts: &[&str]) -> Daemon {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("daemon").arg(socket).args(scripts);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut daemon = Daemon { child, lines, other: Default::default(), guard: 0 };
        daemon.guard = daemon.line("guard ").parse().unwrap();
        daemon
    }

    /// The next line that starts so, without that start; other lines stay for others.
    fn line(&self, start: &str) -> String {
        let mut other = self.other.borrow_mut();
        if let Some(at) = other.iter().position(|line| line.starts_with(start)) {
            return other.remove(at).unwrap()[start.len()..].to_owned();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line '{start}…'"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
            other.push_back(line);
        }
    }

    /// Waits for so many trees to be complete; all their processes.
    fn trees(&self, count: usize) -> Vec<Watched> {
        (0..count).flat_map(|index| self.tree_of(index)).collect()
    }

    /// The five processes of one child that runs [`TREE`], the child itself last.
    fn tree_of(&self, index: usize) -> Vec<Watched> {
        self.line(&format!("out {index} complete"));
        let pid = |_| Watched::new(self.line(&format!("out {index} pid ")).parse().unwrap());
        (0..5).map(pid).collect()
    }

    fn pid(&self) -> Pid {
        self.child.id() as Pid
    }

    fn owner(&self) -> Owner {
        Owner { pid: self.pid(), start: procfs::stat(self.pid()).unwrap().start }
    }

    fn kill(mut self, signal: i32) {
        sys::signal_process(self.pid(), signal).unwrap();
        self.child.wait().unwrap();
    }

    fn stop(self) {
        sys::signal_process(self.pid(), libc::SIGTERM).unwrap();
        self.ended();
    }

    fn ended(mut self) {
        assert!(Watched::new(self.pid()).ends_within(PATIENCE));
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
