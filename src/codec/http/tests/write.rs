//! What we write, read back by the other side's decoder.

use super::*;

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn the_bytes_on_the_wire() {
    let head = |status, body| text(|out| write_head(out, status, &[("A", "b")], body));
    assert_eq!(head(200, Framing::Sized(7)), "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 7\r\n\r\n");
    assert_eq!(head(202, Framing::Sized(0)), "HTTP/1.1 202 Accepted\r\nA: b\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(head(200, Framing::Chunked), "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(head(204, Framing::None), "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n");
    assert_eq!(head(200, Framing::UntilClose), "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n");
    assert_eq!(head(299, Framing::None), "HTTP/1.1 299 \r\nA: b\r\n\r\n");
    assert_eq!(text(write_continue), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(text(|out| write_chunk(out, &[b'x'; 17])), format!("11\r\n{}\r\n", "x".repeat(17)));
    assert_eq!(text(|out| write_chunk(out, b"")), "", "an empty chunk would end the body");
    assert_eq!(text(write_last_chunk), "0\r\n\r\n");
}

#[test]
fn no_value_can_start_a_line() {
    for (value, expected) in [
        ("a\r\nSet-Cookie: x", "a??Set-Cookie: x"),
        ("a\n\nHTTP/1.1 200 OK", "a??HTTP/1.1 200 OK"),
        ("a\0b\x7fc\u{e4}", "a?b?c??"),
        ("a\tb c~!", "a\tb c~!"),
    ] {
        let out = text(|out| write_head(out, 200, &[("X", value)], Framing::Sized(0)));
        assert_eq!(out, format!("HTTP/1.1 200 OK\r\nX: {expected}\r\nContent-Length: 0\r\n\r\n"));
    }
    let out = text(|out| {
        write_request_head(out, "GET", "/a b\r\nX: y", "h\r\nX: z", &[], Framing::None);
    });
    assert_eq!(out, "GET /a?b??X:?y HTTP/1.1\r\nHost: h??X: z\r\n\r\n");
}

#[test]
fn every_framing_is_read_back() {
    let pieces: [&[u8]; 4] = [b"one", b"", b"\r\n0\r\n\r\n", &[0xff; 60]];
    let whole = pieces.concat();
    for framing in [Framing::Sized(whole.len()), Framing::Chunked, Framing::UntilClose] {
        let mut out = Vec::new();
        write_continue(&mut out);
        write_head(&mut out, 200, &[("Content-Type", "text/plain"), ("X", "")], framing);
        for piece in pieces {
            match framing {
                Framing::Chunked => write_chunk(&mut out, piece),
                _ => out.extend_from_slice(piece),
            }
        }
        if framing == Framing::Chunked {
            write_last_chunk(&mut out);
        }
        let mut decoder = ResponseDecoder::new(LIMITS);
        decoder.expect(false);
        let (events, error) = cut(&out, out.len(), |buf| decoder.next(buf));
        assert_eq!(error, None);
        let mut body = Vec::new();
        for event in &events {
            match event {
                ResponseEvent::Head(head) => {
                    assert_eq!((head.status, head.headers.get("content-type")), (200, Some("text/plain")));
                    assert_eq!(head.headers.get("x"), Some(""));
                    assert_eq!(head.keep_alive, framing != Framing::UntilClose);
                }
                ResponseEvent::Body(bytes) => body.extend_from_slice(bytes),
                ResponseEvent::End => {}
            }
        }
        assert_eq!(body, whole);
        let ended = match framing {
            Framing::UntilClose => decoder.finish(),
            _ => Ok(events.last().cloned()),
        };
        assert_eq!(ended, Ok(Some(ResponseEvent::End)));
    }
}

#[test]
fn a_request_is_read_back() {
    let mut out = Vec::new();
    let headers = [("Accept", "application/json, text/event-stream"), ("Connection", "close")];
    write_request_head(&mut out, "POST", "/mcp?a=b", "[::1]:80", &headers, Framing::Sized(2));
    out.extend_from_slice(b"{}");
    write_request_head(&mut out, "GET", "/", "h", &[], Framing::None);
    let mut decoder = RequestDecoder::new(LIMITS);
    let (events, error) = cut(&out, out.len(), |buf| decoder.next(buf));
    assert_eq!((events.len(), error), (4, None));
    let HttpEvent::Head(request) = &events[0] else { panic!("a head") };
    assert_eq!((&request.method, &request.target[..]), (&Method::Post, "/mcp"));
    assert_eq!((request.query.as_deref(), request.keep_alive), (Some("a=b"), false));
    assert_eq!(request.headers.get("host"), Some("[::1]:80"));
    assert!(request.headers.list_has("accept", "text/event-stream"));
    assert_eq!(events[1], HttpEvent::Body(b"{}".to_vec()));
    assert_eq!(events[3], HttpEvent::Body(Vec::new()));
}

#[test]
fn every_status_of_a_refusal_has_a_name() {
    for status in [400, 413, 414, 417, 431, 501, 505] {
        assert!(!reason(status).is_empty(), "{status}");
    }
    let error = HttpError::fatal(413, "the body exceeds 5 bytes");
    assert_eq!(error.to_string(), "413 Content Too Large: the body exceeds 5 bytes");
}
