//! What is tested, each in a process of its own.

use crate::support::PATIENCE;
use muxloop::base::{Arena, Key};
use muxloop::engine::port::{Io, Kill, Platform, Ready, Signal, SpawnSpec};
use muxloop::reactor::sys::{self, Pid};
use muxloop::reactor::{Reactor, procfs};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A daemon that starts one child per script, prints what happens, and ends at SIGTERM.
pub fn daemon(socket: &Path, scripts: &[&str]) {
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
pub fn cycles(count: usize) {
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
pub fn starve(socket: &Path) {
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
pub fn client(socket: &Path) {
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
