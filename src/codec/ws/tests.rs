use super::*;
use crate::codec::http::{HttpEvent, Request, Response, ResponseEvent};
use crate::codec::http::{Limits, RequestDecoder, ResponseDecoder};

const MASK: [u8; 4] = [0x12, 0xff, 0x00, 0x9a];

fn receive(buf: &mut RecvBuf, bytes: &[u8]) {
    buf.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
    buf.advance(bytes.len());
}

/// All frames of `stream`, the same however it is cut, and the code with which it was refused.
fn decode(stream: &[u8], role: Role, max: usize) -> (Vec<Frame>, Option<u16>) {
    let run = |step: usize| {
        let mut decoder = Decoder::new(role, max);
        let mut buf = RecvBuf::new();
        let mut frames = Vec::new();
        for piece in stream.chunks(step.max(1)) {
            receive(&mut buf, piece);
            loop {
                match decoder.next(&mut buf) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.next(&mut buf), Err(error), "it stays failed");
                        return (frames, Some(error.code));
                    }
                }
            }
            assert!(buf.len() < 14, "only a header waits in the buffer");
        }
        (frames, None)
    };
    let whole = run(stream.len());
    for step in 1..stream.len().min(40) {
        assert_eq!(run(step), whole, "in pieces of {step}: {}", stream.escape_ascii());
    }
    whole
}

fn text(text: &str) -> Frame {
    Frame::Text(text.as_bytes().to_vec())
}

fn closed(code: u16, reason: &str) -> Frame {
    Frame::Close(Some(Close { code, reason: reason.to_owned() }))
}

/// A frame from a client with these first two bytes, the mask's bit added.
fn masked(first: u8, len: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, len[0] | 0x80];
    bytes.extend_from_slice(&len[1..]);
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 6455 §5.7
    let client = |stream: &[u8]| decode(stream, Role::Client, 1 << 20);
    let server = |stream: &[u8]| decode(stream, Role::Server, 1 << 20);
    assert_eq!(client(b"\x81\x05Hello"), (vec![text("Hello")], None));
    assert_eq!(server(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), (vec![text("Hello")], None));
    assert_eq!(client(b"\x01\x03Hel\x80\x02lo"), (vec![text("Hello")], None));
    assert_eq!(client(b"\x89\x05Hello"), (vec![Frame::Ping(b"Hello".to_vec())], None));
    let pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(server(pong), (vec![Frame::Pong(b"Hello".to_vec())], None));
}

#[test]
fn what_is_written_is_read_back() {
    for len in [0, 1, 3, 4, 7, 8, 9, 125, 126, 127, 1000, 65_535, 65_536, 70_001] {
        let payload: Vec<u8> = (0..len).map(|i| b' ' + (i % 90) as u8).collect();
        for (role, mask) in [(Role::Client, None), (Role::Server, Some(MASK))] {
            let mut out = Vec::new();
            write_text(&mut out, &payload, mask);
            let short = &payload[..payload.len().min(125)];
            write_ping(&mut out, &payload, mask);
            write_pong(&mut out, &payload, mask);
            write_close(&mut out, 1000, "bye", mask);
            let frames = vec![
                Frame::Text(payload.clone()),
                Frame::Ping(short.to_vec()),
                Frame::Pong(short.to_vec()),
                closed(1000, "bye"),
            ];
            assert_eq!(decode(&out, role, len), (frames, None), "{len}");
        }
    }
}

#[test]
fn the_bytes_on_the_wire() {
    let bytes = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    assert_eq!(bytes(&|out| write_text(out, b"Hello", None)), b"\x81\x05Hello");
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(bytes(&|out| write_text(out, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]))), masked);
    assert_eq!(bytes(&|out| write_text(out, &[b'x'; 256], None))[..4], *b"\x81\x7e\x01\x00");
    let long = bytes(&|out| write_text(out, &[b'x'; 65_536], None));
    assert_eq!(long[..10], *b"\x81\x7f\0\0\0\0\0\x01\0\0");
    assert_eq!(bytes(&|out| write_ping(out, b"", None)), b"\x89\x00");
    assert_eq!(bytes(&|out| write_close(out, 1001, "a", None)), b"\x88\x03\x03\xe9a");
    // 123 bytes would end within a character.
    let cut = bytes(&|out| write_close(out, 1011, &"ä".repeat(100), None));
    assert_eq!(decode(&cut, Role::Client, 0).0, [closed(1011, &"ä".repeat(61))]);
}

#[test]
fn fragments_are_joined_around_control_frames() {
    let stream = [
        &masked(0x01, &[3], b"{\"a")[..],
        &masked(0x89, &[1], b"p"),
        &masked(0x00, &[0], b""),
        &masked(0x00, &[3], "\":ä".as_bytes().split_at(3).0),
        &masked(0x8a, &[0], b""),
        &masked(0x80, &[2], b"\xa4}"),
        &masked(0x81, &[2], b"{}"),
    ]
    .concat();
    let expected = vec![Frame::Ping(b"p".to_vec()), Frame::Pong(vec![]), text("{\"a\":ä}"), text("{}")];
    assert_eq!(decode(&stream, Role::Server, 100), (expected, None));
}

#[test]
fn after_a_close_the_rest_is_dropped() {
    let stream = [masked(0x01, &[1], b"x"), masked(0x88, &[0], b""), b"anything".to_vec()].concat();
    assert_eq!(decode(&stream, Role::Server, 100), (vec![Frame::Close(None)], None));
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999] {
        let stream = masked(0x88, &[2], &u16::to_be_bytes(code));
        assert_eq!(decode(&stream, Role::Server, 0), (vec![closed(code, "")], None));
    }
}

#[test]
fn frames_that_are_refused() {
    let close = |code: u16| masked(0x88, &[2], &code.to_be_bytes());
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("RSV1", masked(0xc1, &[1], b"x"), 1002),
        ("RSV2", masked(0xa1, &[1], b"x"), 1002),
        ("RSV3", masked(0x91, &[1], b"x"), 1002),
        ("RSV1 of a ping", masked(0xc9, &[0], b""), 1002),
        ("opcode 3", masked(0x83, &[0], b""), 1002),
        ("opcode 7", masked(0x87, &[0], b""), 1002),
        ("opcode 11", masked(0x8b, &[0], b""), 1002),
        ("opcode 15", masked(0x8f, &[0], b""), 1002),
        ("binary", masked(0x82, &[0], b""), 1003),
        ("binary, in fragments", masked(0x02, &[0], b""), 1003),
        ("no mask", b"\x81\x00".to_vec(), 1002),
        ("no mask on a ping", b"\x89\x00".to_vec(), 1002),
        ("ping in fragments", masked(0x09, &[0], b""), 1002),
        ("close in fragments", masked(0x08, &[0], b""), 1002),
        ("long ping", masked(0x89, &[126, 0, 126], &[b'x'; 126]), 1002),
        ("long close", masked(0x88, &[127, 0, 0, 0, 0, 0, 1, 0, 0], &[]), 1002),
        ("continuation of nothing", masked(0x80, &[1], b"x"), 1002),
        ("continuation after the end", [masked(0x81, &[0], b""), masked(0x00, &[0], b"")].concat(), 1002),
        ("message within another", [masked(0x01, &[0], b""), masked(0x81, &[0], b"")].concat(), 1002),
        ("long form of 125", masked(0x81, &[126, 0, 125], &[b'x'; 125]), 1002),
        ("longest form of 65,535", masked(0x81, &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], b""), 1002),
        ("negative length", masked(0x81, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0], b""), 1002),
        ("over the limit", masked(0x81, &[126, 3, 0xe9], b""), 1009),
        ("far over the limit", masked(0x81, &[127, 0x7f, 0, 0, 0, 0, 0, 0, 0], b""), 1009),
        ("not UTF-8", masked(0x81, &[1], b"\xff"), 1007),
        ("a surrogate", masked(0x81, &[3], b"\xed\xa0\x80"), 1007),
        ("half a character at the end", masked(0x81, &[1], b"\xc3"), 1007),
        ("half a close code", masked(0x88, &[1], b"\x03"), 1002),
        ("close 0", close(0), 1002),
        ("close 999", close(999), 1002),
        ("close 1004", close(1004), 1002),
        ("close 1005", close(1005), 1002),
        ("close 1006", close(1006), 1002),
        ("close 1015", close(1015), 1002),
        ("close 2000", close(2000), 1002),
        ("close 5000", close(5000), 1002),
        ("close reason not UTF-8", masked(0x88, &[3], b"\x03\xe8\xff"), 1007),
    ];
    for (what, stream, code) in table {
        let (frames, error) = decode(stream, Role::Server, 1000);
        assert_eq!(error, Some(*code), "{what}: {frames:?}");
        assert!(frames.iter().all(|frame| *frame == text("")), "{what}");
    }
    assert_eq!(decode(&masked(0x81, &[0], b""), Role::Client, 1000), (vec![], Some(1002)), "a masked server");
}

#[test]
fn the_limit_counts_the_whole_message() {
    let fragment = |first, text: &str| masked(first, &[text.len() as u8], text.as_bytes());
    let fits = [fragment(0x01, "12345"), fragment(0x00, "6789"), fragment(0x80, "0")].concat();
    assert_eq!(decode(&fits, Role::Server, 10), (vec![text("1234567890")], None));
    assert_eq!(decode(&fits, Role::Server, 9), (vec![], Some(1009)));
    // Refused by its header: nothing of it is kept.
    let mut decoder = Decoder::new(Role::Server, 10);
    let mut buf = RecvBuf::new();
    receive(&mut buf, &masked(0x81, &[11], b""));
    assert_eq!(decoder.next(&mut buf).map_err(|error| error.code), Err(1009));
}

#[test]
fn memory_follows_what_came_not_what_was_claimed() {
    let mut decoder = Decoder::new(Role::Server, 1 << 40);
    let mut buf = RecvBuf::new();
    receive(&mut buf, &masked(0x81, &[127, 0, 0, 0, 0x80, 0, 0, 0, 0], b""));
    assert_eq!(decoder.next(&mut buf), Ok(None));
    for _ in 0..100 {
        receive(&mut buf, &[b'x'; 1000]);
        assert_eq!(decoder.next(&mut buf), Ok(None));
    }
    assert!(decoder.message.as_ref().is_some_and(|message| message.len() == 100_000));
    assert!(decoder.message.as_ref().is_some_and(|message| message.capacity() < 300_000));
    assert!(buf.capacity() < 3000);
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn request(text: &str) -> Request {
    let mut buf = RecvBuf::new();
    receive(&mut buf, text.as_bytes());
    match RequestDecoder::new(Limits::for_body(100)).next(&mut buf) {
        Ok(Some(HttpEvent::Head(request))) => request,
        other => panic!("{text}: {other:?}"),
    }
}

fn response(text: &[u8]) -> Response {
    let mut buf = RecvBuf::new();
    receive(&mut buf, text);
    let mut decoder = ResponseDecoder::new(Limits::for_body(100));
    decoder.expect(false);
    match decoder.next(&mut buf) {
        Ok(Some(ResponseEvent::Head(response))) => response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_key_of_the_rfc() {
    assert_eq!(accept_key(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(request_key(*b"the sample nonce"), KEY);
}

#[test]
fn both_sides_of_a_handshake_agree() {
    let mut out = Vec::new();
    write_upgrade_request(&mut out, "/servers/a/ws", "h", KEY, &[("Authorization", "Bearer x")]);
    let request = request(std::str::from_utf8(&out).unwrap());
    assert_eq!(request.headers.get("authorization"), Some("Bearer x"));
    let info = check_upgrade(&request).unwrap();
    let mut out = Vec::new();
    write_upgrade(&mut out, &info);
    assert_eq!(check_accepted(&response(&out), KEY), Ok(()));
    assert!(check_accepted(&response(&out), &request_key([0; 16])).is_err());
}

#[test]
fn upgrades_that_are_refused() {
    let good = format!(
        "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: x, mcp\r\n\r\n"
    );
    let status = |from: &str, to: &str| {
        assert!(good.contains(from));
        match check_upgrade(&request(&good.replace(from, to))) {
            Ok(_) => 101,
            Err(error) => {
                assert!(!error.close);
                error.status
            }
        }
    };
    assert_eq!(status("x", "x"), 101);
    assert_eq!(status("x, mcp", "x\r\nSec-WebSocket-Protocol: mcp"), 101, "a list in two lines");
    assert_eq!(status("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"), 101);
    assert_eq!(status("GET", "POST"), 405);
    assert_eq!(status("HTTP/1.1", "HTTP/1.0"), 426);
    assert_eq!(status("keep-alive, Upgrade", "keep-alive"), 426);
    assert_eq!(status("WebSocket\r\n", "h2c\r\n"), 426);
    assert_eq!(status("13", "8"), 426);
    assert_eq!(status("Sec-WebSocket-Version: 13\r\n", ""), 426);
    assert_eq!(status("13\r\n", "13\r\nSec-WebSocket-Version: 8\r\n"), 400);
    assert_eq!(status("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: x\r\nSec-WebSocket-Key: "), 400);
    assert_eq!(status(KEY, ""), 400);
    assert_eq!(status(KEY, "dGhlIHNhbXBsZSBub25jZQ"), 400, "no padding");
    assert_eq!(status(KEY, "dGhlIHNhbXBsZSBub25j"), 400, "15 bytes");
    assert_eq!(status(KEY, "dGhlIHNhbXBsZSBub25jZQ=*"), 400);
    assert_eq!(status("x, mcp", "x, mcp2"), 400);
    assert_eq!(status("x, mcp", "MCP"), 400, "names of subprotocols are case-sensitive");
    assert_eq!(status("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n"), 400);
    assert_eq!(status("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

#[test]
fn answers_that_are_no_websocket() {
    let mut good = Vec::new();
    write_upgrade(&mut good, &UpgradeInfo { accept: accept_key(KEY) });
    let good = String::from_utf8(good).unwrap();
    for (from, to) in [
        ("101 Switching Protocols", "200 OK"),
        ("Connection: Upgrade\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("s3pPL", "s3ppL"),
        ("Protocol: mcp", "Protocol: x"),
        ("Sec-WebSocket-Protocol: mcp\r\n", ""),
        ("Protocol: mcp\r\n", "Protocol: mcp\r\nSec-WebSocket-Protocol: x\r\n"),
        ("Protocol: mcp", "Protocol: mcp\r\nSec-WebSocket-Extensions: permessage-deflate"),
    ] {
        assert!(good.contains(from), "{from}");
        assert!(check_accepted(&response(good.replace(from, to).as_bytes()), KEY).is_err(), "{from}");
    }
}
