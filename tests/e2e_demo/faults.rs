//! Every fault option does what its help says.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::client::{Client, signal, text};

/// All lines until stdout ends, after a handshake, one echo, and the end of stdin.
fn lines_of_a_short_life(options: &[&str], version: &str) -> Vec<Vec<u8>> {
    let mut client = Client::start(options);
    client.initialize(version, json!({}));
    client.notify("notifications/initialized", json!({}));
    client.start_call("echo", json!({ "text": "hello" }));
    client.close_stdin();
    let lines = std::iter::from_fn(|| client.line()).collect();
    assert_eq!(client.exit_code(), Some(0));
    lines
}

/// The ids of the responses among the lines, in order.
fn ids(lines: &[Vec<u8>]) -> Vec<Value> {
    let messages = lines.iter().filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    messages
        .filter(|message| message.get("jsonrpc").is_some())
        .filter(|message| message.get("result").is_some() != message.get("error").is_some())
        .map(|message| message["id"].clone())
        .collect()
}

#[test]
fn disturbing_lines_stand_between_whole_messages() {
    for option in ["--noise", "--garbage-json", "--invalid-utf8"] {
        let lines = lines_of_a_short_life(&[option], "2025-11-25");
        assert_eq!(ids(&lines), [1, 2], "{option}");
        assert!(lines.len() >= 4, "{option}: {}", lines.len());
        if option == "--invalid-utf8" {
            assert_eq!(lines.iter().filter(|line| std::str::from_utf8(line).is_err()).count(), 2);
        }
    }
}

#[test]
fn lines_can_end_with_crlf() {
    let lines = lines_of_a_short_life(&["--crlf"], "2025-11-25");
    assert!(lines.iter().all(|line| line.ends_with(b"\r")));
    assert_eq!(ids(&lines), [1, 2]);
}

#[test]
fn a_giant_line_follows_the_first_request() {
    let lines = lines_of_a_short_life(&["--giant-line", "300001"], "2025-11-25");
    assert_eq!(lines.iter().map(Vec::len).filter(|len| *len > 10_000).collect::<Vec<_>>(), [300_001]);
    assert_eq!(lines[1].len(), 300_001);
    let giant: Value = serde_json::from_slice(&lines[1]).expect("valid JSON");
    assert_eq!(giant["method"], "notifications/message");
}

#[test]
fn messages_come_in_arrays_after_the_handshake() {
    let lines = lines_of_a_short_life(&["--batch"], "2025-03-26");
    assert_eq!(ids(&lines[..1]), [1]);
    let array: Value = serde_json::from_slice(&lines[1]).expect("valid JSON");
    assert_eq!(array[0]["id"], 2);
}

#[test]
fn responses_can_be_repeated_or_invented() {
    assert_eq!(ids(&lines_of_a_short_life(&["--duplicate-answers"], "2025-11-25")), [1, 1, 2, 2]);
    let ids = ids(&lines_of_a_short_life(&["--answer-unknown"], "2025-11-25"));
    assert_eq!(ids.len(), 8);
    assert_eq!((&ids[0], &ids[4]), (&json!(1), &json!(2)));
    assert!(ids[1].as_u64().is_some_and(|id| id > 1 << 50));
    assert_eq!((&ids[2], &ids[3]), (&json!("never asked"), &Value::Null));
}

#[test]
fn an_unprompted_question_comes_when_nothing_is_in_flight() {
    let mut client = Client::plain(&["--asks-unprompted"]);
    let asked = client.asked("sampling/createMessage");
    client
        .send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "error": { "code": -32602, "message": "no" } }));
    let me = client.whoami();
    assert_eq!(me["unprompted"][0]["error"]["code"], -32602);
    assert_eq!(me["violations"], json!([]));
    assert!(client.leftovers().is_empty(), "asked once");
}

#[test]
fn pings_can_be_refused_or_ignored() {
    let mut client = Client::plain(&["--no-ping"]);
    assert_eq!(client.ask("ping", json!({}))["error"]["code"], -32601);
    for options in [["--ignore-ping", "--crlf"], ["--no-answer", "ping"]] {
        let mut client = Client::plain(&options);
        client.request("ping", json!({}));
        let echo = client.start_call("echo", json!({}));
        assert_eq!(client.message()["id"], echo, "{options:?}");
    }
}

#[test]
fn a_handshake_can_stay_unanswered() {
    let mut client = Client::start(&["--hang-initialize"]);
    client.initialize("2025-11-25", json!({}));
    let ping = client.request("ping", json!({}));
    assert_eq!(client.message()["id"], ping);
}

#[test]
fn a_hung_server_neither_answers_nor_leaves() {
    let mut client = Client::plain(&["--hang-after", "2"]);
    assert_eq!(text(&client.call("echo", json!({ "text": "second" }))), "second");
    while !client.stderr_line().contains("hanging") {}
    client.start_call("echo", json!({}));
    client.close_stdin();
    assert!(!client.has_exited());
    signal("TERM", client.pid);
    assert_eq!(client.exit_code(), None, "SIGTERM works");
    assert_eq!(client.line(), None, "and there was no answer");
}

#[test]
fn a_server_can_die_at_any_time() {
    let mut client = Client::start(&["--die-at-start", "7"]);
    assert_eq!(client.exit_code(), Some(7));

    let mut client = Client::start(&["--die-after", "0"]);
    client.initialize("2025-11-25", json!({}));
    assert_eq!(client.exit_code(), Some(1));
    assert_eq!(client.line(), None);

    let mut client = Client::plain(&["--die-after", "3"]);
    let sleep = client.start_call("sleep", json!({ "ms": 60_000 }));
    let echo = client.start_call("echo", json!({}));
    assert_eq!(client.message()["id"], echo);
    assert_eq!(client.exit_code(), Some(1));
    assert_eq!(client.line(), None, "{sleep} stays unanswered");

    let mut client = Client::plain(&[]);
    client.start_call("crash", json!({ "code": 42 }));
    assert_eq!(client.exit_code(), Some(42));
    assert_eq!(client.line(), None);
}

#[test]
fn stdout_can_close_while_the_process_lives() {
    let path = std::env::temp_dir().join(format!("muxloop-mute-{}", std::process::id()));
    let mut client =
        Client::plain(&["--close-stdout-after", "2", "--journal", path.to_str().expect("UTF-8")]);
    client.call("echo", json!({}));
    assert_eq!(client.line(), None, "stdout has ended");
    assert!(!client.has_exited());
    client.request("ping", json!({ "after": true }));
    client.close_stdin();
    assert_eq!(client.exit_code(), Some(0));
    let journal = std::fs::read_to_string(&path).expect("the journal");
    std::fs::remove_file(&path).expect("the journal is ours");
    assert!(journal.lines().last().is_some_and(|line| line.contains("\"after\":true")), "{journal}");
}

#[test]
fn start_and_answers_can_be_slow() {
    let begun = std::time::Instant::now();
    let mut client = Client::start(&["--slow-start", "150", "--slow-answer", "100"]);
    let id = client.initialize("2025-11-25", json!({}));
    client.response(&id);
    assert!(begun.elapsed().as_millis() >= 250);
    client.notify("notifications/initialized", json!({}));
    let asked = std::time::Instant::now();
    let echoes: Vec<Value> = (0..20).map(|_| client.start_call("echo", json!({}))).collect();
    for id in &echoes {
        assert_eq!(client.message()["id"], *id);
    }
    let took = asked.elapsed().as_millis();
    assert!((100..1900).contains(&took), "20 answers, each 100 ms late, together: {took} ms");
}

#[test]
fn stderr_is_flooded_before_anything_else() {
    let mut client = Client::start(&["--stderr-flood", "5000"]);
    for number in 0..5000 {
        let line = client.stderr_line();
        assert_eq!(line.len(), 99, "100 with its newline");
        assert!(line.trim_start().starts_with(&number.to_string()));
    }
    client.ask("ping", json!({}));
}

#[test]
fn termination_can_be_ignored() {
    let mut client = Client::plain(&["--ignore-term"]);
    signal("TERM", client.pid);
    assert_eq!(text(&client.call("echo", json!({ "text": "still here" }))), "still here");
    let last = client.start_call("sleep", json!({ "ms": 50 }));
    client.close_stdin();
    client.response(&last);
    assert!(!client.has_exited());
}

#[test]
fn an_ignoring_server_ends_with_its_lifetime() {
    let mut client = Client::plain(&["--ignore-term", "--lifetime", "100"]);
    client.close_stdin();
    assert_eq!(client.exit_code(), Some(0));
}

/// Kills a grandchild whatever happens to its test.
struct Grandchild(u32);

impl Drop for Grandchild {
    fn drop(&mut self) {
        signal("KILL", self.0);
    }
}

/// Fields of /proc/PID/stat after the command: state, ppid, pgrp, session, …
#[cfg(target_os = "linux")]
fn stat(pid: u32) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let (_, fields) = stat.rsplit_once(") ").expect("a command in parentheses");
    fields.split(' ').map(str::to_owned).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_grandchild_outlives_its_parent_and_ignores_sigterm() {
    for options in [&["--spawn-grandchild"][..], &["--spawn-grandchild", "--setsid"]] {
        let mut client = Client::plain(options);
        while !client.stderr_line().contains("is up") {}
        let pid = client.whoami()["grandchildPid"].as_u64().expect("a pid") as u32;
        let _guard = Grandchild(pid);
        let session = stat(pid)[3].clone();
        assert_eq!(session == pid.to_string(), options.len() == 2, "a session of its own");

        client.close_stdin();
        assert_eq!(client.exit_code(), Some(0));
        signal("TERM", pid);
        assert_ne!(stat(pid)[0], "Z", "it lives");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask").trim();
        let caught = u64::from_str_radix(caught, 16).expect("hexadecimal");
        assert_ne!(caught & 1 << (15 - 1), 0, "SIGTERM has a handler");
    }
}

#[test]
fn help_and_wrong_options() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muxloop"));
        command.arg("demo-server").args(args).stdin(Stdio::null()).output().expect("the binary runs")
    };
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("--spawn-grandchild"));
    let wrong = run(&["--die-after", "never"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--die-after expects"));
}

#[test]
fn the_bench_echo_answers_every_request_in_order() {
    let mut client = Client::start(&["--bench-echo"]);
    let id = client.initialize("2025-06-18", json!({}));
    assert_eq!(client.response(&id)["result"]["protocolVersion"], "2025-06-18");
    client.notify("notifications/initialized", json!({}));
    assert_eq!(client.ask("ping", json!({}))["result"], json!({}));
    assert_eq!(client.ask("tools/list", json!({}))["result"]["tools"][0]["name"], "echo");
    let long = "y".repeat(3_000_000);
    let asked: Vec<(Value, String)> = (0..2000)
        .map(|number| {
            let text = if number == 1000 { long.clone() } else { format!("\"nonce\" {number}") };
            (client.start_call("echo", json!({ "text": text })), text)
        })
        .collect();
    for (id, said) in asked {
        let answer = client.message();
        assert_eq!(answer["id"], id);
        assert_eq!(text(&answer["result"]), said);
    }
    client.close_stdin();
    assert_eq!(client.exit_code(), Some(0));
}

#[test]
fn the_bench_echo_reads_lines_that_come_in_pieces() {
    let mut client = Client::start(&["--bench-echo"]);
    let line = |id: u64, text: &str| {
        let params = json!({ "name": "echo", "arguments": { "text": text } });
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string() + "\n"
    };
    let (first, second) = (line(1, "one"), line(2, "two"));
    let (head, tail) = second.split_at(second.len() / 2);
    client.send_bytes(format!("{first}{head}").as_bytes());
    assert_eq!(text(&client.response(&json!(1))["result"]), "one");
    client.send_bytes(tail.as_bytes());
    assert_eq!(text(&client.response(&json!(2))["result"]), "two");
}
