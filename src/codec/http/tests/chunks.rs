//! Chunked bodies of requests.

use super::request::{decode, post};
use super::*;

/// What comes of a chunked body.
fn chunked(body: &str) -> Result<Vec<String>, u16> {
    let (events, error) = decode(&post("Transfer-Encoding: Chunked\r\n", body));
    let bodies = events.into_iter().filter_map(|event| match event {
        HttpEvent::Body(body) => Some(body.escape_ascii().to_string()),
        _ => None,
    });
    let bodies: Vec<String> = bodies.collect();
    match error {
        None => Ok(bodies),
        Some(error) => {
            assert!(bodies.is_empty() && error.close);
            Err(error.status)
        }
    }
}

#[test]
fn chunks_are_joined() {
    let is = |body: &str| Ok(vec![body.to_owned()]);
    assert_eq!(chunked("0\r\n\r\n"), is(""));
    assert_eq!(chunked("000\r\n\r\n"), is(""));
    assert_eq!(chunked("1\r\na\r\n0\r\n\r\n"), is("a"));
    assert_eq!(chunked("0000000000000001\r\na\r\n0\r\n\r\n"), is("a"));
    assert_eq!(chunked("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"), is("01234567890123456789a"));
    assert_eq!(chunked("2\r\n\r\n\r\n0\r\n\r\n"), is("\\r\\n"));
    assert_eq!(chunked("1;a\r\nx\r\n1;b=c;d=\"e\\\"f\"\r\ny\r\n1 ; g\r\nz\r\n0;h\r\n\r\n"), is("xyz"));
    assert_eq!(chunked("0\r\nA: b\r\nHost: evil\r\n\r\n"), is(""), "trailers are dropped");
    assert_eq!(chunked("5\r\nab"), Ok(vec![]), "not complete");
    assert_eq!(chunked("64\r\n"), Ok(vec![]));
    let most = format!("64\r\n{}\r\n0\r\n\r\n", "x".repeat(100));
    assert_eq!(chunked(&most), is(&"x".repeat(100)));
}

#[test]
fn chunks_that_are_refused() {
    for (what, body, status) in [
        ("no size", "\r\n", 400),
        ("no size but an extension", ";a\r\n", 400),
        ("signed", "+1\r\na", 400),
        ("negative", "-1\r\na", 400),
        ("0x", "0x1\r\na", 400),
        ("no digit", "g\r\n", 400),
        ("digits, then none", "1g\r\na", 400),
        ("underscore", "1_0\r\na", 400),
        ("space before", " 1\r\na", 400),
        ("space after", "1 \r\na", 400),
        ("space within", "1 1\r\na", 400),
        ("bare LF after the size", "1\na\r\n", 400),
        ("bare LF after an extension", "1;a\na\r\n", 400),
        ("bare CR in an extension", "1;a\rb\r\na\r\n", 400),
        ("bare CR after the size", "1\ra\r\n", 400),
        ("NUL in an extension", "1;\0\r\na\r\n", 400),
        ("UTF-8 in an extension", "1;ä\r\na\r\n", 400),
        ("17 digits", "00000000000000001\r\na\r\n", 400),
        ("longer than its size", "1\r\nab\r\n", 400),
        ("longer than its size, with LF", "1\r\na\n", 400),
        ("CR CR", "1\r\na\r\r\n", 400),
        ("too large", "65\r\n", 413),
        (
            "too large together",
            "5f\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n6\r\n",
            413,
        ),
        ("more than any number", "ffffffffffffffff\r\n", 413),
        ("overflow", "1\r\na\r\nffffffffffffffff\r\n", 413),
        ("bare LF after the last chunk", "0\r\n\n", 400),
        ("bare LF in trailers", "0\r\nA: b\n\r\n", 400),
        ("no colon in a trailer", "0\r\nab\r\n\r\n", 400),
        ("space before a trailer's colon", "0\r\nA : b\r\n\r\n", 400),
        ("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", 400),
        ("space first in trailers", "0\r\n A: b\r\n\r\n", 400),
        ("NUL in a trailer", "0\r\nA: \0\r\n\r\n", 400),
    ] {
        assert_eq!(chunked(body), Err(status), "{what}");
    }
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(252));
    assert_eq!(chunked(&long), Ok(vec!["a".to_owned()]), "a line of 256 bytes");
    assert_eq!(chunked(&long.replacen(";", ";x", 1)), Err(400));
    let each = format!("1;{}\r\na\r\n", "x".repeat(100));
    assert_eq!(chunked(&each.repeat(5)), Err(400), "400 bytes of extensions in all");
    assert_eq!(chunked(&format!("0\r\nA: {}\r\n\r\n", "x".repeat(400))), Err(431));
    assert_eq!(chunked(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(9))), Err(431));
}
