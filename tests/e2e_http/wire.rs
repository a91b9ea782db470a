//! HTTP/1.1 itself on a real socket: connections, bodies, bounds, and what must not be taken for a request.

use crate::support::{Ask, Http, Server, Session, Station, call, descriptors, holds_within, rpc, text};
use crate::support::{PATIENCE, station::PLAIN};
use serde_json::json;
use std::time::Instant;

fn ping_bytes(session: &Session) -> Vec<u8> {
    session.asks(&rpc(1, "ping", json!({}))).bytes()
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut http = session.connect();
    for n in 0..50 {
        let reply = http.ask(&session.asks(&call(n, "echo", json!({ "text": n.to_string() })))).expect(200);
        assert!(reply.head.keep_alive);
        assert_eq!(text(&reply.json()), n.to_string());
    }
    let reply = http.ask(&Ask::get("/health").header("Connection", "close")).expect(200);
    assert_eq!(reply.header("connection"), "close");
    http.assert_ends();
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut http = session.connect();
    // The first takes longest; a refusal, a stream and a look at the health stand between.
    let slow = session.asks(&call(1, "sleep", json!({ "ms": 200 })));
    let fast = session.asks(&call(2, "echo", json!({ "text": "fast" })));
    let wrong = session.asks(&rpc(3, "ping", json!({}))).header("Mcp-Session-Id", "nobody");
    let last = session.asks(&call(4, "echo", json!({ "text": "last" })));
    let asks = [&slow, &fast, &Ask::get("/health"), &Ask::get("/nowhere"), &wrong, &last];
    let mut bytes = Vec::new();
    for ask in asks {
        http.expect_answer(false);
        bytes.extend(ask.bytes());
    }
    http.send_bytes(&bytes);
    assert_eq!(text(&http.reply().expect(200).json()), "slept 200 ms");
    assert_eq!(text(&http.reply().expect(200).json()), "fast");
    assert_eq!(http.reply().expect(200).json()["status"], "healthy");
    http.reply().expect(404);
    http.reply().expect(404);
    assert_eq!(text(&http.reply().expect(200).json()), "last");
}

#[test]
fn requests_may_come_byte_by_byte_and_in_chunks() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut http = session.connect();
    http.expect_answer(false);
    for byte in ping_bytes(&session) {
        http.send_bytes(&[byte]);
    }
    assert_eq!(http.reply().expect(200).json()["result"], json!({}));
    let body = call(7, "echo", json!({ "text": "in chunks" })).to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\n\
         Mcp-Session-Id: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        session.path, session.id
    );
    let mut bytes = head.into_bytes();
    for chunk in body.as_bytes().chunks(7) {
        bytes.extend(format!("{:x};note=\"x\"\r\n", chunk.len()).bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\nX-Trailer: yes\r\n\r\n");
    http.expect_answer(false);
    http.send_bytes(&bytes);
    assert_eq!(text(&http.reply().expect(200).json()), "in chunks");
}

#[test]
fn an_expectation_is_met_before_the_body() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let ask = session.asks(&rpc(1, "ping", json!({}))).header("Expect", "100-continue").bytes();
    let body_at = ask.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut http = session.connect();
    http.send_bytes(&ask[..body_at]);
    let mut interim = Vec::new();
    while !interim.ends_with(b"\r\n\r\n") {
        assert!(http.receive() > 0);
        interim.extend(http.take_received());
    }
    assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    http.expect_answer(false);
    http.send_bytes(&ask[body_at..]);
    http.reply().expect(200);
    // What is refused by its head is not asked to go on.
    let ask = session.asks(&json!({})).header("Expect", "100-continue").header("Content-Type", "text/plain");
    let mut http = session.connect();
    http.expect_answer(false);
    let bytes = ask.bytes();
    http.send_bytes(&bytes[..bytes.len() - 2]);
    let reply = http.reply().expect(415);
    assert!(!reply.head.keep_alive);
    http.assert_ends();
}

#[test]
fn clients_of_http_1_0_are_served() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let old = |ask: &Ask| String::from_utf8(ask.bytes()).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    let mut http = session.connect();
    http.expect_answer(false);
    http.send_bytes(old(&session.asks(&rpc(1, "ping", json!({})))).as_bytes());
    assert_eq!(http.reply().expect(200).json()["id"], 1);
    http.assert_ends();
    // Who wants to stay may.
    let mut http = session.connect();
    for _ in 0..2 {
        http.expect_answer(false);
        let stay = Ask::get("/health").header("Connection", "keep-alive");
        http.send_bytes(old(&stay).as_bytes());
        assert_eq!(http.reply().expect(200).header("connection"), "keep-alive");
    }
    // There are no chunks: a stream ends with the connection, and says so.
    for connection in ["", "keep-alive"] {
        let mut http = session.connect();
        http.expect_answer(false);
        let ask = call(2, "sleep", json!({ "ms": 40, "steps": 2 }));
        let mut ask = ask;
        ask["params"]["_meta"] = json!({ "progressToken": 5 });
        http.send_bytes(old(&session.asks(&ask).header("Connection", connection)).as_bytes());
        let head = http.head();
        assert!(head.is_stream(), "{head:?}");
        let said: Vec<&str> = head.headers.get_all("connection").collect();
        assert_eq!(said, ["close"]);
        assert_eq!(head.header("transfer-encoding"), "");
        assert_eq!(text(http.rest().last().unwrap()), "slept 40 ms");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let station = Station::start(
        PLAIN,
        &[Server::demo("a", &[]).keys("max_request_bytes = 4096"), Server::demo("b", &[])],
    );
    let session = Session::open(&station);
    let fill = |bytes: usize| {
        let empty = call(1, "echo", json!({ "text": "" })).to_string().len();
        call(1, "echo", json!({ "text": "x".repeat(bytes - empty) }))
    };
    session.post(&fill(4_096)).expect(200);
    let mut http = session.connect();
    let reply = http.ask(&session.asks(&fill(4_097))).expect(413);
    assert!(reply.text().contains("max_request_bytes"), "{}", reply.text());
    http.assert_ends();
    // In chunks it is known at the end only.
    let mut http = session.connect();
    let body = fill(5_000).to_string();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\n\
         Mcp-Session-Id: {}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        session.path,
        session.id,
        body.len()
    );
    http.expect_answer(false);
    http.send_bytes(head.as_bytes());
    http.reply().expect(413);
    // Beyond what any server takes, nothing is read.
    let mut http = session.connect();
    http.expect_answer(false);
    let head =
        format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", session.path);
    http.send_bytes(head.as_bytes());
    http.reply().expect(413);
    for (line, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(9_000)), 414),
        (format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(17_000)), 431),
        (format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(65)), 431),
        ("GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n".to_owned(), 505),
        (
            "GET /health HTTP/1.1\r\nHost: localhost\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx".into(),
            417,
        ),
        (
            format!("POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", session.path),
            501,
        ),
    ] {
        let mut http = station.connect();
        http.expect_answer(false);
        http.send_bytes(line.as_bytes());
        assert_eq!(http.reply().status(), status, "{}", &line[..40]);
        http.assert_ends();
    }
}

/// Requests whose end two readers could see in different places. Each is followed by one that must never
/// be answered.
#[test]
fn nothing_can_be_smuggled_past_a_proxy() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\n\
         Mcp-Session-Id: {}\r\n",
        session.path, session.id
    );
    let body = rpc(1, "ping", json!({})).to_string();
    let n = body.len();
    let cases = [
        format!("Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n\r\n{n:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("Content-Length: {n}\r\nContent-Length: 5\r\n\r\n{body}"),
        format!("Content-Length: {n}, 5\r\n\r\n{body}"),
        format!("Content-Length: +{n}\r\n\r\n{body}"),
        format!("Content-Length: -1\r\n\r\n{body}"),
        format!("Content-Length: 0x{n:x}\r\n\r\n{body}"),
        format!("Content-Length : {n}\r\n\r\n{body}"),
        format!("Content-Length: {n}\r\n folded: yes\r\n\r\n{body}"),
        format!("Content-Length:\r\n {n}\r\n\r\n{body}"),
        format!("X: a\nContent-Length: {n}\r\n\r\n{body}"),
        format!("X: a\rY: b\r\nContent-Length: {n}\r\n\r\n{body}"),
        format!("Content-Length: {n}\n\n{body}"),
        format!("X: a\0b\r\nContent-Length: {n}\r\n\r\n{body}"),
        format!("Host: other\r\nContent-Length: {n}\r\n\r\n{body}"),
        format!("Transfer-Encoding: chunked, chunked\r\n\r\n{n:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n{n:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: \x0bchunked\r\n\r\n{n:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n0x{n:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n+{n:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{n:x} \r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{n:x}\n{body}\n0\n\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{n:x}\r\n{body}X\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n{n:x};a\rb\r\n{body}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n\r\n{body}\r\n0\r\n\r\n"),
    ];
    for case in &cases {
        let mut http = station.connect();
        http.send_bytes(format!("{head}{case}GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let all = String::from_utf8(http.read_to_end()).unwrap();
        let status: u16 = all.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        assert!(matches!(status, 400 | 413 | 501), "{case:?} got {all:?}");
        assert!(all.contains("Connection: close"), "{case:?} got {all:?}");
        assert!(!all.contains("healthy"), "{case:?} got {all:?}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{case:?} got {all:?}");
    }
    session.post(&rpc(1, "ping", json!({}))).expect(200);
}

#[test]
fn other_protocols_are_turned_away() {
    let station = Station::demo(&[], "");
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n",
        b"\r\n\r\n\r\nGET / HTTP/1.1\nHost: a\n\n",
        b"SSH-2.0-OpenSSH_9\r\n",
    ] {
        let mut http = station.connect();
        http.send_bytes(bytes);
        let all = http.read_to_end();
        assert!(all.starts_with(b"HTTP/1.1 4") || all.starts_with(b"HTTP/1.1 505"), "{all:?}");
    }
}

/// A TLS client waits for an answer; nothing but its first bytes comes.
#[test]
fn tls_on_a_plain_port_is_told_at_once() {
    let station = Station::demo(&[], "");
    let begun = Instant::now();
    let mut http = station.connect();
    http.send_bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let all = String::from_utf8(http.read_to_end()).unwrap();
    assert!(begun.elapsed().as_secs() < 5, "not only when the time for a head is over");
    assert!(all.starts_with("HTTP/1.1 400") && all.contains("TLS on a plain HTTP port"), "{all}");
    station.ask(&Ask::get("/health")).expect(200);
    station.mux.assert_logged(1, "TLS on a plain HTTP port");
}

#[test]
fn a_client_that_says_no_more_still_gets_its_answers() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let mut http = session.connect();
    http.send(&session.asks(&call(1, "sleep", json!({ "ms": 50 }))));
    http.send(&session.asks(&call(2, "echo", json!({ "text": "later" }))));
    http.half_close();
    assert_eq!(text(&http.reply().message()), "slept 50 ms");
    assert_eq!(text(&http.reply().message()), "later");
    http.assert_ends();
}

#[test]
fn connections_that_end_anywhere_leave_nothing() {
    let station = Station::demo(&[], "");
    let session = Session::open(&station);
    let bytes = ping_bytes(&session);
    station.connect().ask(&Ask::get("/health"));
    let before = descriptors(station.mux.pid);
    for at in (0..bytes.len()).step_by(3) {
        let mut http = Http::connect(station.address);
        http.send_bytes(&bytes[..at]);
    }
    session.post(&rpc(1, "ping", json!({}))).expect(200);
    let gone = holds_within(PATIENCE, || descriptors(station.mux.pid) <= before);
    assert!(gone, "{} descriptors, {before} before", descriptors(station.mux.pid));
}
