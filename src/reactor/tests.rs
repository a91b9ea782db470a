//! The reactor against the real kernel: sockets, pipes and processes.

use super::process::Owner;
use super::*;
use crate::base::Arena;
use crate::engine::port::ExitStatus;
use crate::engine::port::{Io, Kill, Platform, SpawnSpec};
use std::fs;
use std::io::{IoSlice, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of one test, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("muxloop-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Scratch(path)
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn keys(count: usize) -> Vec<Key> {
    let mut arena = Arena::new();
    (0..count).map(|_| arena.insert(())).collect()
}

fn shell(script: &str) -> SpawnSpec {
    SpawnSpec { program: "sh".into(), args: vec!["-c".into(), script.into()], ..SpawnSpec::default() }
}

/// A reactor and the exits that it told while something else was waited for.
struct Turns {
    reactor: Reactor,
    exited: Vec<(Key, ExitStatus)>,
}

impl std::ops::Deref for Turns {
    type Target = Reactor;
    fn deref(&self) -> &Reactor {
        &self.reactor
    }
}

impl std::ops::DerefMut for Turns {
    fn deref_mut(&mut self) -> &mut Reactor {
        &mut self.reactor
    }
}

impl Turns {
    fn new() -> Turns {
        Turns { reactor: Reactor::new().unwrap(), exited: Vec::new() }
    }

    fn turn(&mut self) -> Vec<Ready> {
        let mut ready = Vec::new();
        self.reactor.wait(Some(Duration::from_millis(500)), &mut ready).unwrap();
        for event in &ready {
            if let Ready::Exited { process, status } = event {
                self.exited.push((*process, *status));
            }
        }
        ready
    }
}

/// Waits until `found` gives something for an event.
fn until<T>(reactor: &mut Turns, mut found: impl FnMut(&Ready) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(value) = reactor.turn().iter().find_map(&mut found) {
            return value;
        }
    }
    panic!("nothing came");
}

fn until_exit(reactor: &mut Turns, key: Key) -> ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(at) = reactor.exited.iter().position(|(process, _)| *process == key) {
            return reactor.exited.remove(at).1;
        }
        reactor.turn();
    }
    panic!("{key} did not end");
}

/// Reads to the end of a stream registered under `key`, as [`Io`] promises: after a short read there is
/// nothing, unless the stream has ended.
fn read_all(reactor: &mut Turns, key: Key, io: &mut dyn Io) -> Vec<u8> {
    let (mut all, mut buf, mut has_ended) = (Vec::new(), [0; 4096], false);
    loop {
        let is_empty = match io.read(&mut buf) {
            Ok(0) => return all,
            Ok(n) => {
                all.extend_from_slice(&buf[..n]);
                n < buf.len() && !has_ended
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => panic!("{error}"),
        };
        if is_empty {
            has_ended |= until(reactor, |ready| match ready {
                Ready::Stream { key: k, readable: true, ended, .. } if *k == key => Some(*ended),
                _ => None,
            });
        }
    }
}

fn write_all(reactor: &mut Turns, key: Key, io: &mut dyn Io, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match io.write(&[IoSlice::new(bytes)]) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => until(reactor, |ready| {
                matches!(ready, Ready::Stream { key: k, writable: true, .. } if *k == key).then_some(())
            }),
            Err(error) => panic!("{error}"),
        }
    }
}

fn accept(reactor: &mut Turns, listener: usize) -> Accepted {
    until(reactor, |ready| (*ready == Ready::Accept { listener }).then_some(()));
    reactor.accept(listener).unwrap()
}

#[test]
fn a_connection_carries_bytes_both_ways_and_its_ends_one_by_one() {
    let scratch = Scratch::new();
    let mut reactor = Turns::new();
    let listener = reactor.listen(&scratch.path("s")).unwrap();
    assert_eq!(reactor.accept(listener).err().unwrap().kind(), io::ErrorKind::WouldBlock);
    let mut client = UnixStream::connect(scratch.path("s")).unwrap();
    let mut accepted = accept(&mut reactor, listener);
    let key = keys(1)[0];
    reactor.register(key, &mut *accepted.io).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(accepted.peer_pid, Some(std::process::id()));
    }

    client.write_all(b"ping").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut reactor, key, &mut *accepted.io), b"ping");
    assert_eq!(accepted.io.write(&[IoSlice::new(b"po"), IoSlice::new(b"ng")]).unwrap(), 4);
    accepted.io.shutdown_write().unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "pong");

    drop(client);
    let broken = accepted.io.write(&[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    reactor.deregister(key, &mut *accepted.io);
}

#[test]
fn last_bytes_and_the_end_may_come_as_one_event() {
    let scratch = Scratch::new();
    let mut reactor = Turns::new();
    let listener = reactor.listen(&scratch.path("s")).unwrap();
    for goodbye in ["x", "", &"y".repeat(5000)] {
        let mut client = UnixStream::connect(scratch.path("s")).unwrap();
        client.write_all(goodbye.as_bytes()).unwrap();
        drop(client);
        let mut accepted = accept(&mut reactor, listener);
        let key = keys(1)[0];
        reactor.register(key, &mut *accepted.io).unwrap();
        let event = until(&mut reactor, |ready| Some(*ready));
        assert_eq!(event, Ready::Stream { key, readable: true, writable: true, ended: true, hangup: true });
        let (mut all, mut buf) = (Vec::new(), [0; 4096]);
        while let n @ 1.. = accepted.io.read(&mut buf).unwrap() {
            all.extend_from_slice(&buf[..n]);
        }
        assert_eq!(all, goodbye.as_bytes());
        reactor.deregister(key, &mut *accepted.io);
    }
}

#[test]
fn a_full_connection_tells_when_there_is_room_again() {
    let scratch = Scratch::new();
    let mut reactor = Turns::new();
    let listener = reactor.listen(&scratch.path("s")).unwrap();
    let mut client = UnixStream::connect(scratch.path("s")).unwrap();
    let mut accepted = accept(&mut reactor, listener);
    let key = keys(1)[0];
    reactor.register(key, &mut *accepted.io).unwrap();
    let sent: Vec<u8> = (0..5_000_000u32).map(|i| i as u8).collect();
    let want = sent.clone();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    });
    write_all(&mut reactor, key, &mut *accepted.io, &sent);
    accepted.io.shutdown_write().unwrap();
    assert!(reader.join().unwrap() == want);
}

#[test]
fn the_socket_file_is_private_and_goes_with_its_listener() {
    let scratch = Scratch::new();
    let path = scratch.path("made/on/demand/s");
    let mut reactor = Turns::new();
    let listener = reactor.listen(&path).unwrap();
    let file = fs::symlink_metadata(&path).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.mode() & 0o777, 0o600);
    for directory in ["made", "made/on", "made/on/demand"] {
        assert_eq!(fs::metadata(scratch.path(directory)).unwrap().mode() & 0o777, 0o700, "{directory}");
    }
    reactor.stop_listening(listener);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0, "nothing is left");
    assert_eq!(reactor.accept(listener).err().unwrap().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn what_is_not_a_dead_socket_is_left_alone() {
    let scratch = Scratch::new();
    let mut reactor = Turns::new();
    let mut refused = |path: &Path, want: &str| {
        let error = reactor.listen(path).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains(&path.display().to_string()), "{error}");
    };
    let file = scratch.path("file");
    fs::write(&file, "precious").unwrap();
    refused(&file, "a file that is not a socket");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    std::os::unix::fs::symlink(&file, scratch.path("link")).unwrap();
    refused(&scratch.path("link"), "a file that is not a socket");
    refused(&scratch.path("file/s"), "is not a directory");
    refused(&scratch.path(&"x".repeat(120)), "the kernel takes at most");

    let open = scratch.path("open");
    fs::create_dir(&open).unwrap();
    for (mode, is_fine) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true)] {
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        match is_fine {
            true => drop(Listener::bind(&open.join("s")).unwrap()),
            false => refused(&open.join("s"), "other users can write to directory"),
        }
    }
}

#[test]
fn a_file_that_somebody_else_put_there_survives_the_listener() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let listener = Listener::bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(UnixStream::connect(&path).is_ok());
    drop(other);
}

#[test]
fn a_child_echoes_through_its_pipes_and_its_end_is_told() {
    let mut reactor = Turns::new();
    let keys = keys(3);
    let mut child = reactor.spawn(keys[0], &shell("cat; echo done >&2; exit 7")).unwrap();
    reactor.register(keys[1], &mut *child.stdio).unwrap();
    reactor.register(keys[2], &mut *child.stderr).unwrap();
    let sent: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    let mut got = Vec::new();
    let mut left = &sent[..];
    let mut buf = vec![0; 65536];
    while got.len() < sent.len() {
        match child.stdio.write(&[IoSlice::new(left)]) {
            Ok(n) => left = &left[n..],
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        match child.stdio.read(&mut buf) {
            Ok(n) => got.extend_from_slice(&buf[..n]),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                until(&mut reactor, |ready| {
                    matches!(ready, Ready::Stream { key, .. } if *key == keys[1]).then_some(())
                });
            }
        }
    }
    assert!(got == sent);
    child.stdio.shutdown_write().unwrap();
    assert_eq!(child.stdio.descriptors()[1], -1);
    assert_eq!(child.stdio.write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(read_all(&mut reactor, keys[2], &mut *child.stderr), b"done\n");
    assert_eq!(until_exit(&mut reactor, keys[0]), ExitStatus::Code(7));
    assert_eq!(child.stdio.read(&mut buf).unwrap(), 0);
    reactor.deregister(keys[1], &mut *child.stdio);
    reactor.sweep(keys[0]);
    assert!(procfs::stat(child.pid as Pid).is_none(), "reaped");
}

#[test]
fn a_child_gets_its_environment_directory_and_markers() {
    let scratch = Scratch::new();
    let mut reactor = Turns::new();
    let keys = keys(2);
    let mut spec = shell("pwd; echo $GREETING; echo $MUXLOOP_OWNER $MUXLOOP_CHILD; kill -PIPE $$; echo deaf");
    spec.env = vec![("GREETING".into(), "hello".into())];
    spec.cwd = Some(scratch.0.clone());
    let mut child = reactor.spawn(keys[0], &spec).unwrap();
    reactor.register(keys[1], &mut *child.stdio).unwrap();
    let text = String::from_utf8(read_all(&mut reactor, keys[1], &mut *child.stdio)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let directory = fs::canonicalize(&scratch.0).unwrap();
    assert_eq!(lines[..2], [directory.to_str().unwrap(), "hello"]);
    let owner = Owner::this();
    assert_eq!(Owner::parse(&owner.to_string()), Some(owner));
    let (one, child) = lines[2].split_once(' ').unwrap();
    assert_eq!(one, owner.to_string());
    assert!(child.strip_prefix(one).is_some_and(|rest| rest[1..].parse::<u64>().is_ok()), "{child}");
    // SIGPIPE is ignored here and must not be there, or `yes | head` never ends.
    assert_eq!(until_exit(&mut reactor, keys[0]), ExitStatus::Signal(libc::SIGPIPE));
    assert_eq!(lines.len(), 3);
    reactor.sweep(keys[0]);
}

#[test]
fn a_group_dies_as_a_whole() {
    let mut reactor = Turns::new();
    let keys = keys(3);
    for (how, want) in [(Kill::Terminate, libc::SIGTERM), (Kill::Kill, libc::SIGKILL)] {
        let mut child = reactor.spawn(keys[0], &shell("sh -c 'sleep 1000' & echo $!; wait")).unwrap();
        reactor.register(keys[1], &mut *child.stdio).unwrap();
        let mut buf = [0; 64];
        until(&mut reactor, |ready| matches!(ready, Ready::Stream { readable: true, .. }).then_some(()));
        let n = child.stdio.read(&mut buf).unwrap();
        assert!(std::str::from_utf8(&buf[..n]).unwrap().trim().parse::<Pid>().is_ok());
        reactor.kill(keys[0], how);
        assert_eq!(until_exit(&mut reactor, keys[0]), ExitStatus::Signal(want));
        // The pipe ends when the last process that holds it has ended.
        assert_eq!(read_all(&mut reactor, keys[1], &mut *child.stdio), b"");
        reactor.deregister(keys[1], &mut *child.stdio);
        reactor.sweep(keys[0]);
        reactor.kill(keys[0], Kill::Kill); // A child that is gone is fine.
    }
}

#[test]
fn sigchld_tells_the_end_where_descriptors_cannot() {
    let mut reactor = Turns::new();
    reactor.has_process_descriptors = false;
    let keys = keys(8);
    // The first ends before SIGCHLD is caught, or right after; the others end in any order.
    for (code, key) in keys.iter().enumerate() {
        reactor.spawn(*key, &shell(&format!("exit {code}"))).unwrap();
    }
    for (code, key) in keys.iter().enumerate() {
        assert_eq!(until_exit(&mut reactor, *key), ExitStatus::Code(code as i32));
        reactor.sweep(*key);
    }
}

#[test]
fn dropping_the_reactor_ends_its_children() {
    let mut reactor = Turns::new();
    let key = keys(1)[0];
    let mut child =
        reactor.spawn(key, &shell("trap '' TERM; sleep 1000 & setsid sleep 1000 & wait")).unwrap();
    drop(reactor);
    assert!(procfs::stat(child.pid as Pid).is_none(), "ended and reaped");
    // The pipe has an end only when the last of them has let go of it.
    let mut poll = Turns::new();
    poll.register(key, &mut *child.stdio).unwrap();
    assert_eq!(read_all(&mut poll, key, &mut *child.stdio), b"");
}

#[test]
fn what_kept_a_child_from_starting_is_said_in_words() {
    let scratch = Scratch::new();
    let script = |name: &str, text: &str, mode: u32| {
        fs::write(scratch.path(name), text).unwrap();
        fs::set_permissions(scratch.path(name), fs::Permissions::from_mode(mode)).unwrap();
        scratch.path(name).to_str().unwrap().to_owned()
    };
    let mut reactor = Turns::new();
    let key = keys(1)[0];
    let mut error = |program: &str, path: Option<&str>, cwd: Option<&str>| {
        let env = path.map(|path| ("PATH".to_owned(), path.to_owned())).into_iter().collect();
        let spec =
            SpawnSpec { program: program.into(), env, cwd: cwd.map(Into::into), ..SpawnSpec::default() };
        reactor.spawn(key, &spec).err().unwrap_or_else(|| panic!("{program} started"))
    };
    let here = scratch.0.to_str().unwrap();
    assert_eq!(
        error("no-such-thing", Some("/a:/b"), None),
        "cannot start 'no-such-thing': no such command; searched the server's PATH: /a:/b"
    );
    let own = error("no-such-thing", None, None);
    assert!(
        own.contains("searched muxloop's PATH (path = \"login\" takes that of the login shell): "),
        "{own}"
    );
    assert_eq!(error("/no/such/thing", None, None), "cannot start '/no/such/thing': no such file");
    assert_eq!(
        error("sh", None, Some("/no/such/place")),
        "cannot start 'sh': working directory '/no/such/place' does not exist"
    );
    let plain = script("plain", "", 0o644);
    assert_eq!(
        error(&plain, None, None),
        format!("cannot start '{plain}': '{plain}' is not executable; chmod +x {plain}")
    );
    assert_eq!(
        error("plain", Some(here), None),
        format!("cannot start 'plain': '{plain}' is not executable; chmod +x {plain}")
    );
    assert_eq!(
        error("sh", None, Some(&plain)),
        format!("cannot start 'sh': working directory '{plain}' is not a directory")
    );
    let orphan = script("orphan", "#! /no/such/interpreter -x\n", 0o755);
    assert_eq!(
        error(&orphan, None, None),
        format!("cannot start '{orphan}': its interpreter '/no/such/interpreter' does not exist")
    );
    assert_eq!(error(here, None, None), format!("cannot start '{here}': '{here}' is a directory"));
    assert!(error("s\0h", None, None).starts_with("cannot start 's\0h': "));
}

#[test]
fn without_descriptors_accepting_rests_and_goes_on() {
    let scratch = Scratch::new();
    let mut reactor = Turns::new();
    let listener = reactor.listen(&scratch.path("s")).unwrap();
    let _client = UnixStream::connect(scratch.path("s")).unwrap();
    until(&mut reactor, |ready| (*ready == Ready::Accept { listener }).then_some(()));
    reactor.rest(listener, &io::Error::from_raw_os_error(libc::EMFILE));
    let (mut ready, started) = (Vec::new(), Instant::now());
    reactor.wait(None, &mut ready).unwrap();
    assert!(started.elapsed() >= Duration::from_millis(REST_MS), "it rested");
    assert_eq!(ready, [Ready::Accept { listener }]);
    reactor.accept(listener).unwrap();
    reactor.wait(Some(Duration::ZERO), &mut ready).unwrap();
    assert_eq!(ready, []);
}

#[test]
fn the_clock_and_the_timeout_agree() {
    let mut reactor = Turns::new();
    let (before, mut ready) = (reactor.clock.now(), vec![Ready::Accept { listener: 9 }]);
    reactor.wait(Some(Duration::from_millis(20)), &mut ready).unwrap();
    assert!(reactor.clock.now() - before >= 20);
    assert_eq!(ready, [], "old content goes");
}

#[test]
fn random_bytes_differ() {
    let mut reactor = Turns::new();
    let mut bytes = [[0; 600]; 2];
    bytes.iter_mut().for_each(|bytes| reactor.random(bytes));
    assert_ne!(bytes[0], bytes[1]);
    assert!(bytes.iter().all(|bytes| bytes[500..].iter().any(|byte| *byte != 0)), "filled to the end");
}
