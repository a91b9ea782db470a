//! The commands that change something, and those that follow what happens.

use crate::fake::{Daemon, Dir, PATIENCE, answer, hello, notify, told};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;

#[test]
fn servers_are_started_stopped_and_restarted_by_name() {
    let dir = Dir::new("verbs");
    let daemon =
        Daemon::usual(&dir.path("c.sock"), |method, params| match (method, params["server"].as_str()) {
            ("stop", Some("memory")) => Ok(json!({"server": "memory", "state": "stopping"})),
            (_, Some("memory")) => Ok(json!({"server": "memory", "state": "starting", "later": 1})),
            (_, Some("busy")) => Err((-32000, "busy: is starting already".into())),
            (_, name) => Err((-32602, format!("no server '{}', there are: memory, web", name.unwrap()))),
        });
    let to = ["--control", "c.sock"];
    for (args, method, state) in [
        (&["start", "memory"][..], "start", "starting"),
        (&["stop", "memory"], "stop", "stopping"),
        (&["restart", "memory"], "restart", "starting"),
        (&["--restart-service", "memory"], "restart", "starting"),
    ] {
        let found = dir.run(&[args, &to].concat());
        assert_eq!(found, (0, format!("memory: {state}\n"), String::new()), "{args:?}");
        assert_eq!(daemon.asked(), (method.to_owned(), json!({"server": "memory"})));
    }
    let refused = dir.run(&[&["stop", "busy"][..], &to].concat());
    assert_eq!(refused, (1, String::new(), "muxloop: busy: is starting already\n".to_owned()));
    // Whatever a name holds, it arrives as it is.
    let name = "a\"b\\\u{7}ä";
    let (code, _, err) = dir.run(&[&["start", name][..], &to].concat());
    assert_eq!((code, err.as_str()), (2, "muxloop: no server 'a\"b\\ ä', there are: memory, web\n"));
    assert_eq!(daemon.requests.try_iter().last().unwrap()["params"]["server"], name);
    let (code, _, err) = dir.run(&["start"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("muxloop: start: NAME is missing, expected the name of a server\n"), "{err}");
    assert_eq!(dir.run(&["start", "memory", "--control", "none.sock"]).0, 3);
}

#[test]
fn reload_tells_what_changed() {
    let dir = Dir::new("reload");
    let result = Mutex::new(vec![
        Err((-32000, "mux.toml:3:1: servers.a.cmmd: unknown key; did you mean 'cmd'?".to_owned())),
        Ok(
            json!({"added": ["c", "d"], "removed": [], "changed": ["a"], "unchanged": ["b"], "warnings": ["w: has no effect"]}),
        ),
    ]);
    let _daemon = Daemon::usual(&dir.path("c.sock"), move |method, _| {
        assert_eq!(method, "reload");
        result.lock().unwrap().pop().unwrap()
    });
    let done = dir.run(&["reload", "--control", "c.sock"]);
    let text = "reloaded: added c, d; changed a; 1 server unchanged\n";
    assert_eq!(done, (0, text.to_owned(), "muxloop: w: has no effect\n".to_owned()));
    let (code, out, err) = dir.run(&["reload", "--control", "c.sock"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "muxloop: mux.toml:3:1: servers.a.cmmd: unknown key; did you mean 'cmd'?\n");
}

/// A daemon whose process is another one, which ends once it was told to.
fn mortal(dir: &Dir, method: &'static str, result: Value) -> Daemon {
    let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let child = Mutex::new(Some(child));
    Daemon::start(&dir.path("c.sock"), move |request, out| {
        let asked = request["method"].as_str().unwrap();
        if asked == "hello" {
            answer(out, request, Ok(json!({"control": 1, "version": "0.1.0", "pid": pid, "config": ""})));
        } else {
            assert_eq!(asked, method);
            answer(out, request, Ok(result.clone()));
            // With the end of its stdin it ends; what is left of it is collected.
            let mut child = child.lock().unwrap().take().unwrap();
            child.stdin.take();
            child.wait().unwrap();
        }
        true
    })
}

#[test]
fn drain_and_shutdown_return_when_it_has_ended() {
    let dir = Dir::new("drain");
    let daemon = mortal(&dir, "drain", json!({"clients": 3}));
    let done = dir.run(&["drain", "--timeout", "5000", "--control", "c.sock"]);
    assert_eq!(done, (0, "draining: 3 clients, at most 5.0 s\nstopped\n".to_owned(), String::new()));
    assert_eq!(daemon.asked(), ("drain".to_owned(), json!({"timeout_ms": 5000})));
    let dir = Dir::new("shutdown");
    let _daemon = mortal(&dir, "shutdown", json!({}));
    let done = dir.run(&["shutdown", "--control", "c.sock"]);
    assert_eq!(done, (0, "stopped\n".to_owned(), String::new()));
}

fn line(server: &str, text: &str) -> Value {
    json!({"server": server, "ts": "2026-11-21T06:00:00.123Z", "text": text})
}

#[test]
fn logs_are_shown_and_followed() {
    let dir = Dir::new("logs");
    let daemon = Daemon::start(&dir.path("c.sock"), |request, out| {
        if request["method"] == "hello" {
            answer(out, request, Ok(hello()));
            return true;
        }
        let own =
            json!({"server": "web", "ts": "2026-11-21T06:00:01.000Z", "text": "started", "from": "muxloop"});
        answer(out, request, Ok(json!({"lines": [line("memory", "\u{1b}[31mred\u{1b}[0m alert"), own]})));
        if request["params"]["follow"] == true {
            let mut late = line("memory", "late");
            late["dropped"] = json!(7);
            notify(out, "log", late);
            notify(out, "status", json!({}));
        }
        false
    });
    let shown =
        "2026-11-21T06:00:00.123Z memory: red alert\n2026-11-21T06:00:01.000Z web (muxloop): started\n";
    assert_eq!(dir.run(&["logs", "--control", "c.sock"]), (0, shown.to_owned(), String::new()));
    assert_eq!(daemon.asked(), ("logs".to_owned(), json!({"lines": 100, "follow": false})));
    let (code, out, err) = dir.run(&["logs", "memory", "-f", "-n", "5", "--control", "c.sock"]);
    assert_eq!(daemon.asked(), ("logs".to_owned(), json!({"lines": 5, "follow": true, "server": "memory"})));
    let more =
        "(7 left out here: they came faster than they were read)\n2026-11-21T06:00:00.123Z memory: late\n";
    assert_eq!((code, out), (3, format!("{shown}{more}")));
    assert!(err.contains("not running: muxloop at c.sock") && err.ends_with(" ended\n"), "{err}");
    let (_, out, _) = dir.run(&["logs", "-f", "--json", "--control", "c.sock"]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines.len(), &lines[0], &lines[2]["dropped"]),
        (3, &line("memory", "\u{1b}[31mred\u{1b}[0m alert"), &json!(7))
    );
    let (code, _, err) = dir.run(&["logs", "-n", "1001", "--control", "c.sock"]);
    assert_eq!(code, 2);
    assert!(
        err.starts_with("muxloop: logs: --lines is '1001', expected an integer from 0 to 1000\n"),
        "{err}"
    );
}

#[test]
fn tap_shows_each_message_as_it_comes() {
    let dir = Dir::new("tap");
    let (go_on, shown) = mpsc::channel::<()>();
    let shown = Mutex::new(shown);
    let tapped = |text: &str| {
        json!({"server": "memory", "ts": "2026-11-21T06:00:00.123Z", "from": "client 3", "to": "server",
               "kind": "request", "method": "tools/call", "id": "x-1", "bytes": 2150, "text": text})
    };
    let daemon = Daemon::start(&dir.path("c.sock"), move |request, out| {
        if request["method"] == "hello" {
            answer(out, request, Ok(hello()));
            return true;
        }
        answer(out, request, Ok(json!({})));
        notify(out, "tap", tapped("{\"a\":1}"));
        // The first must be seen before there is a second.
        shown.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let result = json!({"ts": "T", "from": "server", "to": "client 3", "kind": "result", "bytes": 2});
        notify(out, "tap", result);
        false
    });
    let mut child = dir.command(&["tap", "memory", "--control", "c.sock"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "2026-11-21T06:00:00.123Z client 3 -> server: request tools/call id \"x-1\", 2.1 kB: {\"a\":1}"
    );
    go_on.send(()).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "T server -> client 3: result, 2 B: ");
    assert!(lines.next().is_none());
    assert_eq!(told(child.wait_with_output().unwrap()).0, 3);
    assert_eq!(daemon.asked(), ("tap".to_owned(), json!({"server": "memory"})));
    go_on.send(()).unwrap();
    let (_, out, _) = dir.run(&["tap", "memory", "--json", "--control", "c.sock"]);
    assert_eq!(serde_json::from_str::<Value>(out.lines().next().unwrap()).unwrap(), tapped("{\"a\":1}"));
}

#[test]
fn the_dashboard_wants_a_terminal() {
    let dir = Dir::new("tui");
    let found = dir.run(&["tui", "--control", "c.sock"]);
    #[cfg(feature = "tui")]
    let words = "the dashboard needs a terminal; without one: muxloop status --watch";
    #[cfg(not(feature = "tui"))]
    let words = "tui: not in this build of muxloop; build it with the feature `tui`";
    assert_eq!(found, (2, String::new(), format!("muxloop: {words}\n")));
    // The terminal comes first: a mistake in the file would not be seen behind the dashboard.
    dir.write("mux.toml", "[servers.a\n");
    assert_eq!(dir.run(&["run", "--tui"]).0, 2);
}
