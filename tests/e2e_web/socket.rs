//! WebSocket at `/servers/NAME/ws` (row G10, protocol.md §3.5, RFC 6455).

use crate::support::{
    Ask, Session, Station, call, call_with_progress, code, initialize, reason, rpc, structured, text,
};
use crate::websocket::{PATH, WebSocket, frame, station, upgrade};
use muxloop::codec::ws::Frame;
use serde_json::{Value, json};

/// The first byte of a frame: whether it is the last of its message, and what it is.
const LAST: u8 = 0x80;
const TEXT: u8 = 1;
const MORE: u8 = 0;

#[test]
fn upgrades_that_are_none_are_refused() {
    let station = station(&[], "");
    let good = upgrade(PATH);
    let plain = Ask::get(PATH);
    for (why, ask, status) in [
        ("no upgrade", plain.clone(), 426),
        ("no Connection", good.clone().header("Connection", ""), 426),
        ("another protocol", good.clone().header("Upgrade", "h2c"), 426),
        ("no version", good.clone().header("Sec-WebSocket-Version", ""), 426),
        ("old version", good.clone().header("Sec-WebSocket-Version", "8"), 426),
        ("no key", good.clone().header("Sec-WebSocket-Key", ""), 400),
        ("short key", good.clone().header("Sec-WebSocket-Key", "c2hvcnQ="), 400),
        ("two keys", good.clone().another("Sec-WebSocket-Key", "c2l4dGVlbiBieXRlcyBvaw=="), 400),
        ("no subprotocol", good.clone().header("Sec-WebSocket-Protocol", ""), 400),
        ("another subprotocol", good.clone().header("Sec-WebSocket-Protocol", "soap, MCP"), 400),
        ("a foreign page", good.clone().header("Origin", "https://evil.example"), 403),
        ("no page", good.clone().header("Origin", "null"), 403),
        ("a foreign name", good.clone().header("Host", "evil.example"), 403),
        ("no server", upgrade("/servers/b/ws"), 404),
    ] {
        let reply = station.ask(&ask);
        assert_eq!(reply.status(), status, "{why}: {}", reply.text());
        assert!(reply.json()["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{why}");
        if status == 426 {
            assert_eq!(reply.header("sec-websocket-version"), "13", "{why}");
            assert!(reply.header("upgrade").eq_ignore_ascii_case("websocket"), "{why}");
        }
    }
    let reply = station.ask(&Ask::post(PATH, &rpc(1, "ping", json!({})))).expect(405);
    assert_eq!(reply.header("allow"), "GET, OPTIONS");
    // The connection is none the worse for a refusal.
    let mut http = station.connect();
    assert_eq!(http.ask(&plain).status(), 426);
    assert_eq!(http.ask(&Ask::get("/health")).status(), 200);
    // Pages of this machine may, and lists of tokens are lists.
    let local =
        good.clone().header("Origin", "http://localhost:3000").header("Connection", "keep-alive, UPGRADE");
    WebSocket::open_by(station.address, &local.header("Sec-WebSocket-Protocol", "soap, mcp"));
    let methods = station.mux.methods("a");
    let is_greeting = |method: &String| method.contains("initialize");
    assert!(methods.iter().all(is_greeting), "nothing of that concerned the server: {methods:?}");
}

#[test]
fn a_token_is_needed_where_one_is_set() {
    let head = "http = { listen = \"127.0.0.1:0\", token = \"s3cret\" }";
    let station = crate::support::Station::start(head, &[crate::support::Server::demo("a", &[])]);
    let reply = station.ask(&upgrade(PATH)).expect(401);
    assert!(reply.header("www-authenticate").starts_with("Bearer"));
    station.ask(&upgrade(PATH).header("Authorization", "Bearer s3cre")).expect(401);
    let with = upgrade(PATH).header("Authorization", "Bearer s3cret");
    let mut socket = WebSocket::open_by(station.address, &with);
    socket.send(&initialize("2025-11-25", json!({})));
    assert!(socket.message()["result"].is_object());
}

#[test]
fn clients_with_equal_ids_share_one_server() {
    let station = station(&[], "");
    let (mut one, mut two) = (WebSocket::client(&station), WebSocket::client(&station));
    for round in 0..50 {
        one.send(&call(7, "echo", json!({ "text": format!("one {round}") })));
        two.send(&call(7, "echo", json!({ "text": format!("two {round}") })));
        for (socket, name) in [(&mut one, "one"), (&mut two, "two")] {
            let answer = socket.message();
            assert_eq!(answer["id"], 7);
            assert_eq!(text(&answer), format!("{name} {round}"));
        }
    }
    let pid = |socket: &mut WebSocket| structured(&socket.call("whoami", json!({})))["pid"].clone();
    assert_eq!(pid(&mut one), pid(&mut two));
    // Clients of all transports do.
    let mut unix = station.mux.client();
    assert_eq!(json!(unix.server_pid()), pid(&mut one));
    assert_eq!(structured(&Session::open(&station).call("whoami", json!({})))["pid"], pid(&mut one));
    let greetings = station.mux.methods("a").iter().filter(|method| *method == "initialize").count();
    assert_eq!(greetings, 1, "P05");
    assert_eq!(structured(&one.call("whoami", json!({})))["violations"], json!([]));
}

#[test]
fn messages_in_fragments_and_frames_in_pieces_are_joined() {
    let station = station(&[], "");
    let mut socket = WebSocket::client(&station);
    let long = "ü".repeat(40_000);
    let ask = call("f", "echo", json!({ "text": long })).to_string();
    let (first, rest) = ask.as_bytes().split_at(101);
    let (second, third) = rest.split_at(70_001);
    // Each under another mask, a ping between them, an empty one at the end.
    socket.send_bytes(&frame(TEXT, first, Some([1, 2, 3, 4])));
    socket.send_ping(b"between");
    socket.send_bytes(&frame(MORE, second, Some([0xff, 0, 0x80, 7])));
    socket.send_bytes(&frame(MORE, third, Some([0; 4])));
    socket.send_bytes(&frame(LAST | MORE, b"", Some([9; 4])));
    assert_eq!(socket.frame(), Some(Frame::Pong(b"between".to_vec())));
    assert_eq!(text(&socket.message()), long);
    // Byte by byte.
    let whole =
        frame(LAST | TEXT, call(1, "echo", json!({ "text": "x" })).to_string().as_bytes(), Some([7; 4]));
    for byte in &whole {
        socket.send_bytes(&[*byte]);
    }
    assert_eq!(text(&socket.message()), "x");
    // Several frames in one write, and line ends within a message.
    let lines = "{\r\n\"jsonrpc\":\"2.0\",\n\"id\":2.50e1,\"method\":\"ping\"}\n";
    let two = [frame(LAST | TEXT, lines.as_bytes(), Some([3; 4])), whole].concat();
    socket.send_bytes(&two);
    let Some(Frame::Text(answer)) = socket.frame() else { panic!("an answer") };
    assert!(String::from_utf8(answer).unwrap().contains("2.50e1"));
    assert_eq!(text(&socket.message()), "x");
    assert_eq!(structured(&socket.call("whoami", json!({})))["violations"], json!([]));
}

#[test]
fn breaks_of_the_protocol_close_with_their_code() {
    let station = station(&[], "max_request_bytes = 2000\n");
    let mask = Some([1, 2, 3, 4]);
    let long = call(1, "echo", json!({ "text": "x".repeat(3_000) })).to_string();
    for (why, bytes, expected) in [
        ("no mask", frame(LAST | TEXT, b"{}", None), 1002),
        ("a reserved bit", frame(LAST | 0x40 | TEXT, b"{}", mask), 1002),
        ("a continuation of nothing", frame(LAST | MORE, b"{}", mask), 1002),
        ("an unknown opcode", frame(LAST | 3, b"{}", mask), 1002),
        ("a ping in fragments", frame(9, b"", mask), 1002),
        ("a long ping", frame(LAST | 9, &[0; 126], mask), 1002),
        ("bytes", frame(LAST | 2, b"{}", mask), 1003),
        ("no UTF-8", frame(LAST | TEXT, b"{\"\xff\"}", mask), 1007),
        ("too long", frame(LAST | TEXT, long.as_bytes(), mask), 1009),
        (
            "too long in sum",
            [frame(TEXT, &long.as_bytes()[..1_500], mask), frame(MORE, &long.as_bytes()[1_500..], mask)]
                .concat(),
            1009,
        ),
        ("half a close code", frame(LAST | 8, &[3], mask), 1002),
        ("a reserved close code", frame(LAST | 8, &1005u16.to_be_bytes(), mask), 1002),
    ] {
        let mut socket = WebSocket::client(&station);
        socket.send_bytes(&bytes);
        let (code, reason) = socket.closed();
        assert_eq!(code, expected, "{why}: {reason}");
        assert!(reason.len() > 5, "{why}: {reason}");
    }
    // Nobody else is hurt, and their sessions are gone.
    let mut socket = WebSocket::client(&station);
    assert_eq!(text(&socket.call("echo", json!({ "text": "on" }))), "on");
    station.until_clients("a", 1);
}

/// More than fits the buffers of a socket: the close frame must arrive although much is left unread.
#[test]
fn a_flood_beyond_the_limit_is_told_why_it_ends() {
    let station = station(&[], "max_request_bytes = 2000\n");
    let mut socket = WebSocket::client(&station);
    let mut bytes = frame(LAST | TEXT, &vec![b' '; 300_000], Some([1, 2, 3, 4]));
    bytes.truncate(200_000);
    socket.send_bytes(&bytes);
    assert_eq!(socket.closed().0, 1009);
}

#[test]
fn texts_that_are_no_message_are_answered_as_on_a_socket() {
    let station = station(&[], "");
    let mut socket = WebSocket::client(&station);
    for (text, expected) in
        [("nonsense", -32700), ("", -32700), ("{}", -32600), ("[]", -32600), ("7", -32600)]
    {
        socket.send_bytes(&frame(LAST | TEXT, text.as_bytes(), Some([5; 4])));
        let answer = socket.message();
        assert_eq!((code(&answer), &answer["id"]), (expected, &Value::Null), "{text}");
    }
    assert_eq!(text(&socket.call("echo", json!({ "text": "on" }))), "on");
}

#[test]
fn pings_are_answered_and_closes_returned() {
    let station = station(&[], "");
    let mut socket = WebSocket::client(&station);
    for payload in [&b""[..], b"x", &[0xff; 125]] {
        socket.send_ping(payload);
        assert_eq!(socket.frame(), Some(Frame::Pong(payload.to_vec())));
    }
    socket.send_close(1000, "done");
    assert_eq!(socket.closed().0, 1000);
    station.until_clients("a", 0);
    // A close without a code.
    let mut socket = WebSocket::client(&station);
    socket.send_bytes(&frame(LAST | 8, b"", Some([1; 4])));
    assert_eq!(socket.closed().0, 1000);
    station.until_clients("a", 0);
}

#[test]
fn progress_questions_and_cancels_go_both_ways() {
    // A server of 2026-07-28 asks in another way, of which the client notices nothing (protocol.md §4.3).
    for era in ["legacy", "modern"] {
        goes_both_ways(&station(&["--era", era], "interactive = \"serialize\""));
    }
}

fn goes_both_ways(station: &Station) {
    let mut socket = WebSocket::client_with(station, json!({ "elicitation": {} }));
    let token = "mine";
    socket.send(&call_with_progress(1, "sleep", json!({ "ms": 3, "steps": 3 }), token));
    for step in 1..=3 {
        let progress = socket.until(|message| message["method"] == "notifications/progress");
        assert_eq!(
            (&progress["params"]["progressToken"], &progress["params"]["progress"]),
            (&json!(token), &json!(step))
        );
    }
    assert_eq!(socket.message()["id"], 1);
    socket.send(&call(2, "ask", json!({ "question": "?", "via": "elicitation" })));
    let question = socket.until(|message| message["method"].is_string());
    assert_eq!(question["method"], "elicitation/create");
    socket.send(&crate::support::answer(&question, json!({ "action": "decline" })));
    assert_eq!(socket.until(|message| message["id"] == 2)["result"]["isError"], Value::Null);
    socket.send(&call(3, "sleep", json!({ "ms": 600_000 })));
    socket.send(
        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 3 } }),
    );
    socket.send(&rpc(4, "ping", json!({})));
    assert_eq!(socket.message()["id"], 4, "a cancelled request gets no answer (P10)");
}

#[test]
fn requests_of_a_client_that_vanishes_are_cancelled_at_the_server() {
    let station = station(&[], "");
    let mut other = WebSocket::client(&station);
    let mut socket = WebSocket::client(&station);
    socket.send(&call_with_progress(5, "sleep", json!({ "ms": 600_000, "steps": 600_000 }), "t"));
    // The child is at it.
    assert_eq!(socket.message()["method"], "notifications/progress");
    drop(socket);
    station.until_clients("a", 1);
    other.call("echo", json!({ "text": "fence" }));
    let methods = station.mux.methods("a");
    assert!(methods.iter().any(|method| method == "notifications/cancelled"), "{methods:?}");
    // In the middle of a frame.
    let mut socket = WebSocket::client(&station);
    socket.send_bytes(&frame(TEXT, b"{\"jsonrpc", Some([1; 4])));
    drop(socket);
    station.until_clients("a", 1);
}

#[test]
fn a_stop_says_goodbye() {
    let mut station = station(&[], "");
    let (mut idle, mut greeted) = (WebSocket::open(station.address, PATH), WebSocket::client(&station));
    greeted.call("echo", json!({ "text": "x" }));
    station.until_clients("a", 2);
    station.mux.signal(libc::SIGTERM);
    assert_eq!(idle.closed().0, 1001);
    assert_eq!(greeted.closed().0, 1001);
    assert!(station.mux.ended().success());
}

#[test]
fn a_stop_answers_what_waits() {
    let mut station = station(&[], "");
    let mut socket = WebSocket::client(&station);
    socket.send(&call_with_progress(1, "sleep", json!({ "ms": 600_000, "steps": 600_000 }), "t"));
    assert_eq!(socket.message()["method"], "notifications/progress");
    station.mux.signal(libc::SIGTERM);
    let answer = socket.until(|message| message["id"] == 1);
    assert_eq!(reason(&answer), "stopped");
    assert_eq!(socket.closed().0, 1001);
    assert!(station.mux.ended().success());
}

#[test]
fn a_drain_answers_what_waits_and_says_goodbye() {
    let mut station = station(&[], "");
    let (mut idle, mut busy) = (WebSocket::client(&station), WebSocket::client(&station));
    busy.send(&call_with_progress(1, "sleep", json!({ "ms": 1_000, "steps": 100 }), "t"));
    assert_eq!(busy.message()["method"], "notifications/progress");
    station.control("drain", json!({ "timeout_ms": 600_000 }));
    assert_eq!(idle.closed().0, 1001);
    assert_ne!(station.ask(&upgrade(PATH)).expect(503).header("retry-after"), "");
    assert_eq!(text(&busy.until(|message| message["id"] == 1)), "slept 1000 ms");
    assert_eq!(busy.closed().0, 1001);
    assert!(station.mux.ended().success());
}

#[test]
fn a_crash_of_the_server_is_told_and_the_next_request_served() {
    let station = station(&[], "restart_backoff_ms = 1");
    let mut socket = WebSocket::client(&station);
    let answer = socket.call("crash", json!({}));
    assert_eq!(reason(&answer), "restarting", "{answer}");
    assert_eq!(text(&socket.call("echo", json!({ "text": "again" }))), "again");
}

#[test]
fn sockets_count_as_sessions() {
    let head = "http = \"127.0.0.1:0\"\n[session]\nmax_sessions = 2";
    let station = crate::support::Station::start(head, &[crate::support::Server::demo("a", &[])]);
    let (first, _second) = (WebSocket::client(&station), WebSocket::client(&station));
    let reply = station.ask(&upgrade(PATH)).expect(503);
    assert_ne!(reply.header("retry-after"), "");
    assert!(reply.text().contains("session.max_sessions"), "{}", reply.text());
    drop(first);
    station.until_clients("a", 1);
    WebSocket::client(&station);
}
