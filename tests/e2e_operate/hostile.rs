//! A control client that floods, lies, half-closes or sends garbage harms nobody.

use serde_json::json;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::station::{Station, error, result};
use crate::support::process::{figure, holds_within};
use crate::support::{Client, PATIENCE, text};

/// Longest time that one echo may take beside whatever a control client does.
const DISTURBED: Duration = Duration::from_millis(1_500);

/// Asks `count` times; how long the slowest answer took.
fn slowest(client: &mut Client, count: usize) -> Duration {
    let one = |_| {
        let start = Instant::now();
        assert_eq!(text(&client.call("echo", json!({ "text": "x" }))), "x");
        start.elapsed()
    };
    (0..count).map(one).max().unwrap()
}

fn raw(station: &Station) -> UnixStream {
    let stream = UnixStream::connect(station.mux.path("control.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn thousands_of_calls_at_once_are_answered_in_turn() {
    let station = Station::demo(&[], "");
    let mut client = station.mux.client();
    let mut flood = raw(&station);
    let mut reader = flood.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let calls = "{\"id\":1,\"method\":\"status\"}\n".repeat(5_000);
        flood.write_all(calls.as_bytes()).unwrap();
        flood.shutdown(Shutdown::Write).unwrap();
    });
    let read = std::thread::spawn(move || {
        let (mut lines, mut chunk) = (0, vec![0; 1 << 16]);
        loop {
            match reader.read(&mut chunk).unwrap() {
                0 => return lines,
                n => lines += chunk[..n].iter().filter(|byte| **byte == b'\n').count(),
            }
        }
    });
    let slowest = slowest(&mut client, 50);
    writer.join().unwrap();
    assert_eq!(read.join().unwrap(), 5_000);
    assert!(slowest < DISTURBED, "{slowest:?}");
}

/// It asks and asks and reads nothing: it is closed, and costs no more than its bound.
#[test]
fn a_client_that_never_reads_its_answers_is_closed() {
    let station = Station::demo(&[], "");
    let mut client = station.mux.client();
    let before = figure(station.mux.pid, "VmRSS");
    let mut flood = raw(&station);
    let calls = "{\"id\":1,\"method\":\"status\"}\n".repeat(1_000);
    let end = (0..200).find(|_| flood.write_all(calls.as_bytes()).is_err());
    assert!(end.is_some(), "200,000 calls were taken");
    assert!(slowest(&mut client, 20) < DISTURBED);
    let grown = figure(station.mux.pid, "VmRSS").saturating_sub(before);
    assert!(grown < 16_000, "{grown} KiB more");
    assert_eq!(station.status()["state"], "up");
}

#[test]
fn garbage_gets_errors_and_the_connection_lives() {
    let station = Station::demo(&[], "");
    let mut control = station.control();
    for (line, code) in [
        (b"garbage".to_vec(), -32700),
        (b"\xff\xfe\x00".to_vec(), -32700),
        (b"[]".to_vec(), -32600),
        (b"null".to_vec(), -32600),
        (b"{\"id\":null,\"method\":\"hello\"}".to_vec(), -32600),
        (vec![b'['; 100_000], -32700),
        (format!("{{\"id\":1,\"method\":\"{}\"}}", "m".repeat(500_000)).into_bytes(), -32601),
        (vec![b'x'; 2 << 20], -32600),
    ] {
        control.send_bytes(&line);
        control.send_bytes(b"\n");
        let answer = control.message();
        assert_eq!(error(&answer).0, code, "{:.300}", answer.to_string());
        let len = answer.to_string().len();
        assert!(len < 4_000, "an answer of {len} bytes");
    }
    control.send_line("");
    control.send_line("   ");
    assert_eq!(result(control.ask("hello", json!({})))["control"], 1);
}

#[test]
fn a_line_without_end_is_bounded() {
    let station = Station::demo(&[], "");
    let mut client = station.mux.client();
    let mut flood = raw(&station);
    slowest(&mut client, 5);
    let before = figure(station.mux.pid, "VmRSS");
    let chunk = vec![b'x'; 1 << 20];
    (0..64).for_each(|_| flood.write_all(&chunk).unwrap());
    assert!(slowest(&mut client, 20) < DISTURBED);
    let grown = figure(station.mux.pid, "VmRSS").saturating_sub(before);
    assert!(grown < 16_000, "{grown} KiB more");
}

#[test]
fn half_a_call_and_half_a_connection_are_answered() {
    let station = Station::demo(&[], "");
    for (last, expected) in [
        ("{\"id\":1,\"method\":\"hello\"}\n", "\"control\":1"),
        ("{\"id\":1,\"method\":\"hello\"}", "\"control\":1"),
        ("{\"id\":1,\"method\":\"reload\"}\n", "\"unchanged\":[\"a\"]"),
        ("{\"id\":1,\"meth", "-32700"),
    ] {
        let mut control = raw(&station);
        control.write_all(last.as_bytes()).unwrap();
        control.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        control.read_to_string(&mut all).unwrap_or_else(|error| panic!("{last}: {error}"));
        assert!(all.contains(expected), "{last}: {all}");
        assert_eq!(all.lines().count(), 1, "{all}");
    }
    // Half-closed, it may follow on.
    let mut control = station.control();
    control.ask("watch", json!({ "interval_ms": 100 }));
    control.half_close();
    let _client = station.mux.client();
    assert_eq!(control.incoming("status")["params"]["control"], 1);
}

#[test]
fn a_hundred_connections_at_once_are_served_or_refused() {
    let station = Station::demo(&[], "");
    let mut client = station.mux.client();
    let mut crowd: Vec<Client> = (0..100).map(|_| station.control()).collect();
    let mut refused = 0;
    for control in &mut crowd {
        // A refused one may be closed before it has said anything.
        let _ = control.stream.write_all(b"{\"id\":1,\"method\":\"hello\"}\n");
        let answer = control.message();
        match answer.get("error") {
            None => assert_eq!(answer["result"]["control"], 1),
            Some(error) => {
                assert!(error["message"].as_str().unwrap().contains("32 control connections"), "{answer}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 68);
    assert!(slowest(&mut client, 5) < DISTURBED);
    drop(crowd);
    comes_free(&station);
}

/// Followers that have gone take no place, however they went and although nothing happens that they could be told.
#[test]
fn followers_that_leave_make_room() {
    let station = Station::demo(&[], "lazy_start = true");
    for call in [("watch", json!({})), ("logs", json!({ "follow": true })), ("tap", json!({ "server": "a" }))]
    {
        for _ in 0..32 {
            let mut control = station.control();
            control.ask(call.0, call.1.clone());
            control.half_close();
            drop(control);
        }
        comes_free(&station);
    }
}

/// All control connections but the one that asks have gone.
fn comes_free(station: &Station) {
    let connections = || {
        let mut control = station.control();
        // A refusal has no id and may come before the question.
        let _ = control.stream.write_all(b"{\"id\":1,\"method\":\"status\"}\n");
        let answer = control.message();
        let report = answer.get("result")?;
        let children = report["servers"][0]["instances"].as_u64()?;
        Some(report["connections"].as_u64()? - 2 * children - report["clients"].as_u64()?)
    };
    assert!(holds_within(PATIENCE, || connections() == Some(1)), "{:?}", connections());
}
