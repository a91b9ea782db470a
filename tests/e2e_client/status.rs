//! `muxloop status`: what it shows, whom it asks, and every way not to get an answer.

use crate::fake::{Daemon, Dir, answer, hello, notify, report};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// More than the second that a person is promised, since the machine of a test may be busy.
const SECOND: Duration = Duration::from_millis(10_000);

fn daemon(path: &Path, state: &'static str) -> Daemon {
    Daemon::usual(path, move |method, _| match method {
        "status" => Ok(report(state)),
        other => panic!("nobody asked for {other}"),
    })
}

#[test]
fn all_up_is_0_and_some_down_is_4() {
    let dir = Dir::new("codes");
    let up = daemon(&dir.path("up.sock"), "ready");
    let (code, out, err) = dir.run(&["status", "--control", "up.sock"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.starts_with("muxloop 0.1.0 up 12 min 3 s, process 4711, 2.1 MB; 2 servers, 2 clients\n"),
        "{out}"
    );
    assert!(
        out.contains("\nmemory ready        2/5       0     12    0   2/18ms        0    4712\n"),
        "{out}"
    );
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    assert!(!out.contains('\x1b'), "no colours into a pipe");
    assert_eq!(up.asked(), ("status".to_owned(), json!({})));
    let _down = daemon(&dir.path("down.sock"), "backoff");
    let (code, out, _) = dir.run(&["status", "--socket", "down.sock"]);
    assert_eq!(code, 4);
    assert!(
        out.contains("\nweb: restarting, attempt 3 of 5 in 4.0 s: exited with status 1: Cannot find\n"),
        "{out}"
    );
    // A stopped server is as somebody wanted it.
    let _stopped = daemon(&dir.path("stopped.sock"), "stopped");
    assert_eq!(dir.run(&["status", "--control", "stopped.sock"]).0, 0);
}

#[test]
fn every_spelling_of_the_command_is_understood() {
    let dir = Dir::new("spellings");
    let _daemon = daemon(&dir.path("c.sock"), "ready");
    let expected = dir.run(&["status", "--control", "c.sock"]);
    assert_eq!(expected.0, 0);
    for args in [
        ["daemon-status", "--socket", "c.sock"],
        ["--status", "--control", "c.sock"],
        ["--show-status", "--socket", "c.sock"],
    ] {
        assert_eq!(dir.run(&args), expected, "{args:?}");
    }
    let output = dir.command(&["status"]).env("MUXLOOP_CONTROL", "c.sock").output().unwrap();
    assert_eq!(crate::fake::told(output), expected);
}

#[test]
fn json_is_the_report_as_it_came() {
    let dir = Dir::new("json");
    let _daemon = daemon(&dir.path("c.sock"), "failed");
    let (code, out, _) = dir.run(&["status", "--json", "--control", "c.sock"]);
    assert_eq!(code, 4);
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        report("failed"),
        "with fields of later versions"
    );
    assert_eq!(out.lines().count(), 1);
}

#[test]
fn one_server_can_be_asked_for() {
    let dir = Dir::new("one");
    let _daemon = daemon(&dir.path("c.sock"), "backoff");
    let (code, out, _) = dir.run(&["status", "memory", "--control", "c.sock"]);
    assert_eq!(code, 0, "of this server");
    assert!(out.starts_with("memory: ready\n\nsocket    /run/memory.sock\n"), "{out}");
    let (code, out, _) = dir.run(&["status", "web", "--control", "c.sock"]);
    assert_eq!(code, 4);
    assert!(out.starts_with("web: backoff\nrestarting, attempt 3 of 5"), "{out}");
    let (code, out, err) = dir.run(&["status", "wbe", "--control", "c.sock"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(err, "muxloop: no server 'wbe', there are: memory, web; did you mean 'web'?\n");
}

#[test]
fn the_configuration_says_where_the_socket_is() {
    let dir = Dir::new("config");
    let servers = "[servers.a]\ncmd = \"x\"\n";
    dir.write("mux.toml", servers);
    let (code, out, err) = dir.run(&["status"]);
    assert_eq!((code, out.as_str()), (3, ""));
    let run = dir.path(".muxloop/run");
    assert!(
        err.starts_with(&format!("muxloop: not running: there is no socket at {}/mux-", run.display())),
        "{err}"
    );
    let socket = Path::new(err.trim_end().rsplit(' ').next().unwrap()).to_owned();
    let _daemon = daemon(&socket, "ready");
    assert_eq!(dir.run(&["status"]).0, 0);
    // From elsewhere, by name, through a link, with a runtime directory that the daemon did not have, and
    // while the file is being edited.
    let path = dir.path("mux.toml");
    fs::create_dir(dir.path("sub")).unwrap();
    std::os::unix::fs::symlink(&path, dir.path("sub/link.toml")).unwrap();
    let from = |file: &str| {
        dir.command(&["status", "-c", file])
            .current_dir(dir.path("sub"))
            .env("XDG_RUNTIME_DIR", dir.path("sub"))
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(
        (from(path.to_str().unwrap()), from("../mux.toml"), from("link.toml")),
        (Some(0), Some(0), Some(0))
    );
    dir.write("mux.toml", "[servers.a\n");
    assert_eq!(dir.run(&["status"]).0, 0);
    // Its key, relative to the file.
    dir.write("sub/own.toml", &format!("control = \"own.sock\"\n{servers}"));
    let _own = daemon(&dir.path("sub/own.sock"), "ready");
    assert_eq!(dir.run(&["status", "-c", "sub/own.toml"]).0, 0);
    dir.write("sub/own.toml", &format!("control = \"off\"\n{servers}"));
    let (code, _, err) = dir.run(&["status", "-c", "sub/own.toml"]);
    assert_eq!(
        (code, err.as_str()),
        (1, "muxloop: sub/own.toml has control = \"off\": whether it runs cannot be told\n")
    );
    let (code, _, err) = dir.run(&["status", "-c", "none.toml"]);
    assert_eq!((code, err.as_str()), (2, "muxloop: none.toml: no such file\n"));
}

#[test]
fn without_a_configuration_the_only_one_that_runs_is_meant() {
    let dir = Dir::new("only");
    let run = dir.path(".muxloop/run");
    let (code, _, err) = dir.run(&["status"]);
    assert_eq!((code, err), (3, format!("muxloop: not running: no muxloop in {}\n", run.display())));
    fs::create_dir_all(&run).unwrap();
    // A server's socket, and one that is left over, are none.
    let _server = UnixListener::bind(run.join("memory.sock")).unwrap();
    drop(UnixListener::bind(run.join("old-00000000.sock")).unwrap());
    assert_eq!(dir.run(&["status"]).0, 3);
    let _a = daemon(&run.join("a-00000001.sock"), "backoff");
    let (code, out, err) = dir.run(&["status"]);
    assert_eq!((code, err.as_str()), (4, ""));
    assert!(out.contains("\nweb    backoff"), "{out}");
    let _b = daemon(&run.join("b-00000002.sock"), "ready");
    let (code, out, err) = dir.run(&["status"]);
    assert_eq!((code, out.as_str()), (2, ""));
    let list = format!("\n  {0}/a-00000001.sock\n  {0}/b-00000002.sock\n", run.display());
    assert_eq!(err, format!("muxloop: 2 of them run; name one with -c FILE or --control PATH: {list}"));
    // Those that run are named to somebody who asks for one that doesn't.
    dir.write("c.toml", "[servers.a]\ncmd = \"x\"\n");
    let (code, _, err) = dir.run(&["status", "-c", "c.toml"]);
    assert_eq!(code, 3);
    assert!(err.ends_with(&format!("; others run: {list}")), "{err}");
}

/// Every way not to get an answer: a line that says what is wrong, a code, and no waiting.
#[test]
fn a_daemon_that_cannot_be_asked_gives_a_line_and_a_code_at_once() {
    let dir = Dir::new("wrong");
    let fails = |socket: &str, code: i32, words: &str| {
        let started = Instant::now();
        let (found, out, err) = dir.run(&["status", "--control", socket]);
        assert!(started.elapsed() < SECOND, "{socket}: {:?}", started.elapsed());
        assert_eq!((found, out.as_str()), (code, ""), "{socket}: {err}");
        assert!(err.starts_with("muxloop: ") && err.lines().count() == 1, "{socket}: {err}");
        assert!(err.contains(words), "{socket}: {err}");
    };
    fails("absent.sock", 3, "not running: there is no socket at absent.sock");
    drop(UnixListener::bind(dir.path("stale.sock")).unwrap());
    fails(
        "stale.sock",
        3,
        "not running: nobody listens at stale.sock, which is left over from a muxloop that was killed",
    );
    dir.write("file.sock", "");
    fails("file.sock", 1, "file.sock is no socket");
    fails(&"x".repeat(200), 2, "is a path of 200 bytes");
    // It accepts nothing and reads nothing: what a stopped process looks like.
    let _hung = UnixListener::bind(dir.path("hung.sock")).unwrap();
    let me = format!("muxloop at hung.sock (process {}) has not answered for ", std::process::id());
    fails("hung.sock", 1, &me);
    // It greets, and hangs later.
    let _later = Daemon::start(&dir.path("later.sock"), |request, out| {
        if request["method"] == "hello" {
            answer(out, request, Ok(hello()));
        }
        true
    });
    fails("later.sock", 1, "has not answered for ");
    // It sends a byte now and then, and never a line.
    let slow = UnixListener::bind(dir.path("slow.sock")).unwrap();
    std::thread::spawn(move || {
        let (mut out, _) = slow.accept().unwrap();
        out.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // The read is the pause, and ends it all when the client has gone.
        while out.write_all(b" ").is_ok() && !matches!(out.read(&mut [0; 100]), Ok(0)) {}
    });
    fails("slow.sock", 1, "has not answered for ");
    let _newer = Daemon::start(&dir.path("newer.sock"), |request, out| {
        answer(out, request, Ok(json!({"control": 2, "version": "9.0.0", "pid": 1, "mood": "good"})));
        true
    });
    fails("newer.sock", 1, "is of version 9.0.0, and its control protocol 2 is newer than this program's 1");
    let _server = Daemon::start(&dir.path("server.sock"), |request, out| {
        answer(out, request, Err((-32600, "initialize comes first".into())));
        true
    });
    fails("server.sock", 1, "server.sock is not a control socket; is it the socket of a server?");
    let _closes = Daemon::start(&dir.path("closes.sock"), |_, _| false);
    fails("closes.sock", 1, "closed the connection without an answer");
    let _garbage = Daemon::start(&dir.path("garbage.sock"), |_, out| {
        out.write_all(b"HTTP/1.1 400 \x1b[31mBad\n").is_ok()
    });
    fails("garbage.sock", 1, "garbage.sock is not a control socket: it sent \"HTTP/1.1 400 Bad\"");
    let _flood = Daemon::start(&dir.path("flood.sock"), |_, out| {
        while out.write_all(&[b'x'; 65536]).is_ok() {}
        false
    });
    fails("flood.sock", 1, "has not answered for ");
    let _broken = Daemon::usual(&dir.path("broken.sock"), |_, _| Ok(json!({"servers": "many"})));
    fails("broken.sock", 1, "sent a report that cannot be read");
}

#[test]
fn watch_shows_each_change_until_the_end() {
    let dir = Dir::new("watch");
    let _daemon =
        Daemon::start(&dir.path("c.sock"), |request, out| match request["method"].as_str().unwrap() {
            "hello" => {
                answer(out, request, Ok(hello()));
                true
            }
            "watch" => {
                answer(out, request, Ok(report("ready")));
                notify(out, "status", report("backoff"));
                notify(out, "unheard-of", json!({}));
                notify(out, "status", report("failed"));
                false
            }
            other => panic!("{other}"),
        });
    let (code, out, err) = dir.run(&["status", "--watch", "--json", "--control", "c.sock"]);
    let states: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["servers"][1]["state"].take())
        .collect();
    assert_eq!(states, ["ready", "backoff", "failed"]);
    assert_eq!(code, 3);
    assert!(err.starts_with("muxloop: not running: muxloop at c.sock") && err.ends_with("ended\n"), "{err}");
    let (_, out, _) = dir.run(&["status", "-w", "--control", "c.sock"]);
    assert_eq!(out.matches("\nSERVER ").count(), 3, "{out}");
    assert!(!out.contains('\x1b'));
}

#[test]
fn a_reader_that_has_enough_ends_a_watch() {
    let dir = Dir::new("head");
    let _daemon =
        Daemon::start(&dir.path("c.sock"), |request, out| match request["method"].as_str().unwrap() {
            "hello" => {
                answer(out, request, Ok(hello()));
                true
            }
            _ => {
                answer(out, request, Ok(report("ready")));
                while out
                    .write_all(
                        format!(
                            "{}\n",
                            json!({"jsonrpc": "2.0", "method": "status", "params": report("ready")})
                        )
                        .as_bytes(),
                    )
                    .is_ok()
                {}
                false
            }
        });
    let mut child = dir.command(&["status", "-w", "--control", "c.sock"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("muxloop 0.1.0 up"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
