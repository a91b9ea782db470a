//! `/metrics` (row E06): the text format of Prometheus, read as strictly as it is defined, and what it counts.

use crate::support::station::PLAIN;
use crate::support::{Ask, Server, Session, Station, Watched, call, rpc};
use crate::websocket::WebSocket;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Labels of a sample, as given.
type Labels = BTreeMap<String, String>;

/// A text of the exposition format 0.0.4.
#[derive(Default)]
struct Exposition {
    /// Kind by name.
    kinds: BTreeMap<String, String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    /// Fetches it, checks its headers, and reads it.
    fn of(station: &Station) -> Exposition {
        let reply = station.ask(&Ask::get("/metrics")).expect(200);
        assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Exposition::read(&String::from_utf8(reply.body).expect("UTF-8"))
    }

    fn read(text: &str) -> Exposition {
        assert!(text.ends_with('\n'), "the last line must end");
        let mut found = Exposition::default();
        let (mut helped, mut current) = (BTreeSet::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(helped.insert(name.to_owned()), "HELP twice: {line}");
                assert!(!help.trim().is_empty(), "{line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(helped.contains(name), "HELP comes first: {line}");
                assert!(found.kinds.insert(name.into(), kind.into()).is_none(), "TYPE twice: {line}");
                current = name.to_owned();
            } else {
                let (name, labels, value) = sample(line);
                let base = match found.kinds.get(&current).map(String::as_str) {
                    Some("histogram") => {
                        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end))
                    }
                    _ => Some(&name[..]),
                };
                assert_eq!(base, Some(&current[..]), "the samples of a metric stand together: {line}");
                found.samples.push((name, labels, value));
            }
        }
        found.check();
        found
    }

    /// What holds of every text.
    fn check(&self) {
        let mut known = BTreeSet::new();
        for (name, labels, value) in &self.samples {
            assert!(known.insert((name, labels)), "twice: {name} {labels:?}");
            assert!(value.is_finite() && *value >= 0.0, "{name} {labels:?} {value}");
        }
        for (name, kind) in &self.kinds {
            assert!(name.starts_with("muxloop_"), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            if kind == "histogram" {
                self.check_histogram(name);
            }
        }
    }

    fn check_histogram(&self, name: &str) {
        let mut by_labels: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (_, labels, value) in self.samples.iter().filter(|(own, ..)| *own == format!("{name}_bucket")) {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bound");
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            by_labels.entry(labels).or_default().push((bound, *value));
        }
        let counts = self.samples.iter().filter(|(own, ..)| *own == format!("{name}_count")).count();
        assert_eq!(counts, by_labels.len(), "{name}");
        for (labels, buckets) in by_labels {
            for pair in buckets.windows(2) {
                assert!(pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1, "not cumulative: {name} {labels:?}");
            }
            let (bound, most) = *buckets.last().unwrap();
            assert!(bound.is_infinite(), "{name} {labels:?}");
            assert_eq!(most, self.with(&format!("{name}_count"), &labels), "{name} {labels:?}");
            assert!(self.with(&format!("{name}_sum"), &labels) >= 0.0);
        }
    }

    fn with(&self, name: &str, labels: &Labels) -> f64 {
        let mut found = self.samples.iter().filter(|(own, known, _)| own == name && known == labels);
        found.next().unwrap_or_else(|| panic!("no {name} {labels:?}")).2
    }

    /// A sample, its labels as `name=value` words.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.with(&format!("muxloop_{name}"), &labels)
    }
}

/// One line: name, labels, value.
fn sample(line: &str) -> (String, Labels, f64) {
    let is_name = |text: &str| {
        !text.is_empty()
            && !text.starts_with(|first: char| first.is_ascii_digit())
            && text.chars().all(|char| char.is_ascii_alphanumeric() || "_:".contains(char))
    };
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, after) = inner.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (value, after) = unescape(after);
            assert!(labels.insert(label.into(), value).is_none(), "a label twice: {line}");
            match after.strip_prefix(',') {
                Some(after) => inner = after,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("no end of the labels: {line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
    (name.into(), labels, value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
}

/// A label's value, and what follows its closing quote.
fn unescape(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => panic!("an unknown escape: {other:?}"),
            }),
            _ => value.push(char),
        }
    }
    panic!("a label without its end: {text}");
}

#[test]
fn known_traffic_is_counted_exactly() {
    let station =
        Station::start(PLAIN, &[Server::demo("a", &[]), Server::demo("idle", &[]).keys("lazy_start = true")]);
    let session = Session::open(&station);
    for _ in 0..7 {
        session.call("echo", json!({ "text": "x" }));
    }
    session.call("sleep", json!({ "ms": 30 }));
    session.request(1, "tools/call", json!({ "name": "no such tool" }));
    session.request(2, "tools/list", json!({}));
    let socket = WebSocket::client(&station);
    let unix = station.mux.client();

    let found = Exposition::of(&station);
    let server = ("server", "a");
    let method = ("method", "tools/call");
    assert_eq!(found.value("requests_total", &[server, method, ("outcome", "ok")]), 8.0);
    assert_eq!(found.value("requests_total", &[server, method, ("outcome", "error")]), 1.0);
    assert_eq!(found.value("requests_total", &[server, ("method", "tools/list"), ("outcome", "ok")]), 1.0);
    assert_eq!(found.value("request_duration_seconds_count", &[server, method]), 9.0);
    assert!(found.value("request_duration_seconds_sum", &[server, method]) >= 0.03);
    let slow = found.value("request_duration_seconds_bucket", &[server, method, ("le", "0.025")]);
    assert!(slow <= 8.0, "30 ms are not 25 ms: {slow}");
    let sent = call(1, "echo", json!({ "text": "x" })).to_string().len() as f64;
    let bytes = found.value("request_bytes_total", &[server, method]);
    assert!((sent * 7.0..sent * 30.0).contains(&bytes), "{bytes}");
    assert!(found.value("answer_bytes_total", &[server, method]) > 100.0);
    for (name, value) in [
        ("up", 1.0),
        ("clients", 3.0),
        ("processes", 1.0),
        ("requests_in_flight", 0.0),
        ("requests_queued", 0.0),
        ("restarts_total", 0.0),
    ] {
        assert_eq!(found.value(name, &[server]), value, "{name}");
    }
    let idle = ("server", "idle");
    for (name, value) in [("up", 1.0), ("clients", 0.0), ("processes", 0.0)] {
        assert_eq!(found.value(name, &[idle]), value, "{name}");
    }
    assert_eq!(found.value("connections", &[("kind", "unix")]), 1.0);
    assert_eq!(found.value("http_sessions", &[]), 2.0);
    assert_eq!(found.value("child_processes", &[]), 1.0);
    assert_eq!(found.value("build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    drop((socket, unix));
}

#[test]
fn requests_at_work_refused_and_taken_back_are_counted() {
    let station = Station::demo(&[], "");
    let mut client = station.mux.client();
    let asleep = client.start("sleep", json!({ "ms": 600_000 }));
    client.near_fence();
    let found = Exposition::of(&station);
    assert_eq!(found.value("requests_in_flight", &[("server", "a")]), 1.0);
    client.notify("notifications/cancelled", json!({ "requestId": asleep }));
    client.send_line("nonsense");
    client.near_fence();
    let before = Exposition::of(&station);
    assert_eq!(before.value("requests_in_flight", &[("server", "a")]), 0.0);
    assert_eq!(before.value("cancelled_requests_total", &[]), 1.0);
    assert_eq!(before.value("malformed_messages_total", &[]), 1.0);
    let labels = [("server", "a"), ("method", "tools/call"), ("outcome", "cancelled")];
    assert_eq!(before.value("requests_total", &labels), 1.0);
    station.ask(&Ask::get("/nothing")).expect(404);
    station.ask(&Ask::get("/health").header("Host", "evil.example")).expect(403);
    let after = Exposition::of(&station);
    let more = |name| after.value(name, &[]) - before.value(name, &[]);
    assert_eq!((more("http_requests_total"), more("http_refused_total")), (3.0, 2.0));
}

/// A method is whatever a client makes up; it must not become a series of its own.
#[test]
fn made_up_methods_do_not_grow_the_text() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    for number in 0..50 {
        session.post(&rpc(number, &format!("made/up_{number}\"\\\n"), json!({})));
    }
    let methods: BTreeSet<_> = Exposition::of(&station)
        .samples
        .into_iter()
        .filter_map(|(_, labels, _)| labels.get("method").cloned())
        .collect();
    assert!(methods.len() < 10, "{methods:?}");
}

#[test]
fn restarts_are_counted_after_a_kill() {
    let station = Station::demo(&[], "restart_backoff_ms = 1");
    let mut client = station.mux.client();
    let pid = client.server_pid();
    let asleep = client.start("sleep", json!({ "ms": 600_000 }));
    client.near_fence();
    let watched = Watched::new(pid);
    muxloop::reactor::sys::signal_process(pid, libc::SIGKILL).unwrap();
    watched.assert_ends();
    assert!(client.answer(&asleep)["error"].is_object());
    assert_ne!(client.server_pid(), pid);
    let found = Exposition::of(&station);
    assert_eq!(found.value("restarts_total", &[("server", "a")]), 1.0);
    assert_eq!(found.value("up", &[("server", "a")]), 1.0);
    let labels = [("server", "a"), ("method", "tools/call"), ("outcome", "lost")];
    assert_eq!(found.value("requests_total", &labels), 1.0);
}

#[test]
fn a_server_that_cannot_start_is_not_up() {
    let station =
        Station::start(PLAIN, &[Server::demo("a", &[]), Server::command("gone", "/no/such/program")]);
    station.until(|report| {
        report["servers"][1]["state"] == "failed" || report["servers"][1]["state"] == "backoff"
    });
    let found = Exposition::of(&station);
    assert_eq!(found.value("up", &[("server", "gone")]), 0.0);
    assert_eq!(found.value("processes", &[("server", "gone")]), 0.0);
}

#[test]
fn refusals_by_rate_limit_are_counted() {
    let station = Station::demo(&[], "rate_limit = { client = \"1/h\" }");
    let session = Session::open(&station);
    session.call("echo", json!({ "text": "x" }));
    for _ in 0..3 {
        session.post(&call(1, "echo", json!({ "text": "x" }))).expect(429);
    }
    let mut client = station.mux.client();
    client.call("echo", json!({ "text": "x" }));
    client.call("echo", json!({ "text": "x" }));
    let found = Exposition::of(&station);
    assert_eq!(found.value("rate_limited_total", &[("server", "a")]), 4.0);
    assert_eq!(found.value("http_rate_limited_total", &[]), 3.0);
}

#[test]
fn the_token_is_needed() {
    let head = "http = { listen = \"127.0.0.1:0\", token = \"s3cret\" }";
    let station = Station::start(head, &[Server::demo("a", &[])]);
    let reply = station.ask(&Ask::get("/metrics")).expect(401);
    assert!(!reply.text().contains("muxloop_"), "{}", reply.text());
    let reply = station.ask(&Ask::get("/metrics").header("Authorization", "Bearer s3cret")).expect(200);
    Exposition::read(&reply.text());
    let head =
        station.ask(&Ask::new("HEAD", "/metrics").header("Authorization", "Bearer s3cret")).expect(200);
    assert_eq!(head.body, b"");
}
