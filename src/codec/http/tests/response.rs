//! Answers.

use super::*;

/// All that `stream` gives after requests of which some were HEAD, pieces of a body joined; the same
/// however it is cut. With `ended`, the connection ends after it.
fn decode(stream: &[u8], heads: &[bool], ended: bool) -> (Vec<String>, Option<u16>) {
    let run = |step| {
        let mut decoder = ResponseDecoder::new(LIMITS);
        heads.iter().for_each(|&is_head| decoder.expect(is_head));
        let (mut events, mut error) = cut(stream, step, |buf| decoder.next(buf));
        if ended && error.is_none() {
            match decoder.finish() {
                Ok(event) => events.extend(event),
                Err(why) => error = Some(why),
            }
        }
        (told(events), error.map(|error| error.status))
    };
    let whole = run(stream.len());
    for step in 1..stream.len().min(80) {
        assert_eq!(run(step), whole, "in pieces of {step}: {}", stream.escape_ascii());
    }
    whole
}

/// `200+` for a head (without the plus if the connection ends), `=text` for a body, `.` for its end.
fn told(events: Vec<ResponseEvent>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for event in events {
        match event {
            ResponseEvent::Head(head) => {
                told.push(format!("{}{}", head.status, if head.keep_alive { "+" } else { "" }));
            }
            ResponseEvent::End => told.push(".".to_owned()),
            ResponseEvent::Body(bytes) => {
                assert!(!bytes.is_empty());
                let text = bytes.escape_ascii().to_string();
                match told.last_mut() {
                    Some(last) if last.starts_with('=') => last.push_str(&text),
                    _ => told.push(format!("={text}")),
                }
            }
        }
    }
    told
}

/// What one answer gives, still open.
fn one(stream: &str) -> (Vec<String>, Option<u16>) {
    decode(stream.as_bytes(), &[false], false)
}

fn taken(stream: &str) -> Vec<String> {
    let (told, error) = one(stream);
    assert_eq!(error, None, "{stream:?}");
    told
}

#[test]
fn bodies_are_sized_chunked_or_until_close() {
    assert_eq!(taken("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), ["200+", "=hi", "."]);
    assert_eq!(taken("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ["200+", "."]);
    let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3;x\r\n!!!\r\n0\r\nA: b\r\n\r\n";
    assert_eq!(taken(&format!("HTTP/1.1 404 Not Found\r\n{chunked}")), ["404+", "=hi!!!", "."]);
    assert_eq!(taken("HTTP/1.1 200 OK\r\n\r\nhi"), ["200", "=hi"]);
    let (told, error) = decode(b"HTTP/1.0 200 OK\r\n\r\nhi", &[false], true);
    assert_eq!((told, error), (vec!["200".into(), "=hi".into(), ".".into()], None));
    assert_eq!(taken("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), ["200+", "."], "no reason phrase");
    assert_eq!(taken("HTTP/1.1 299 Very (good)!\r\nContent-Length: 0\r\n\r\n"), ["299+", "."]);
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    for status in ["204 No Content", "304 Not Modified"] {
        let stream = format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n");
        assert_eq!(taken(&stream)[1..], ["."], "{status}");
    }
    let stream = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let (told, error) = decode(stream.as_bytes(), &[true, false], true);
    assert_eq!((told.join(" "), error), ("200+ . 200+ =x .".to_owned(), None), "HEAD, then GET");
}

#[test]
fn interim_answers_are_skipped() {
    let stream = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
                  HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(taken(stream), ["202+", "."]);
    assert_eq!(one(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(17)), (vec![], Some(400)));
}

#[test]
fn after_a_switch_of_protocols_the_bytes_are_left() {
    let mut decoder = ResponseDecoder::new(LIMITS);
    decoder.expect(false);
    let mut buf = RecvBuf::new();
    receive(&mut buf, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x01a");
    let Ok(Some(ResponseEvent::Head(head))) = decoder.next(&mut buf) else { panic!("a head") };
    assert_eq!((head.status, head.headers.get("upgrade")), (101, Some("websocket")));
    assert_eq!(decoder.next(&mut buf), Ok(Some(ResponseEvent::End)));
    assert_eq!(decoder.next(&mut buf), Ok(None));
    assert_eq!(buf.filled(), b"\x81\x01a");
}

#[test]
fn connections_end_where_the_answer_says() {
    let (told, _) = one("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(told, ["200", "=x", "."]);
    let (told, _) = one("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(told, ["200", "=x", "."]);
    let (told, _) = one("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(told, ["200+", "=x", "."]);
    assert_eq!(decode(b"", &[], true), (vec![], None), "between answers is a good place to end");
}

#[test]
fn an_end_that_cuts_an_answer_short_is_an_error() {
    for stream in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
    ] {
        assert_eq!(decode(stream.as_bytes(), &[false], true).1, Some(400), "{stream:?}");
    }
}

#[test]
fn answers_that_are_refused() {
    for (what, stream, status) in [
        ("no HTTP", "SSH-2.0-x\r\n\r\n", 400),
        ("bare LF", "HTTP/1.1 200 OK\n\n", 400),
        ("empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", 400),
        ("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", 400),
        ("no status", "HTTP/1.1 OK\r\n\r\n", 400),
        ("status 099", "HTTP/1.1 099 X\r\n\r\n", 400),
        ("status 600", "HTTP/1.1 600 X\r\n\r\n", 400),
        ("status 20", "HTTP/1.1 20 X\r\n\r\n", 400),
        ("space before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", 400),
        ("folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 400),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        ("both", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("too large", "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", 413),
    ] {
        assert_eq!(one(stream), (vec![], Some(status)), "{what}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(400));
    assert_eq!(one(&long).1, Some(431));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(9));
    assert_eq!(one(&many).1, Some(431));
    let unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(decode(unasked, &[], false), (vec![], Some(400)));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(101));
    let mut decoder = ResponseDecoder::new(LIMITS);
    decoder.expect(false);
    let (_, error) = cut(endless.as_bytes(), 1, |buf| decoder.next(buf));
    assert_eq!(error.map(|error| error.status), Some(413), "without a length the limit still holds");
}
