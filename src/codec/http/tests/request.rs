//! Requests.

use super::*;

/// All events of `stream`, which must be the same however it is cut.
pub(super) fn decode(stream: &[u8]) -> (Vec<HttpEvent>, Option<HttpError>) {
    let run = |step| {
        let mut decoder = RequestDecoder::new(LIMITS);
        cut(stream, step, |buf| decoder.next(buf))
    };
    let whole = run(stream.len());
    for step in 1..stream.len().min(80) {
        assert_eq!(run(step), whole, "in pieces of {step}: {}", stream.escape_ascii());
    }
    whole
}

fn taken(stream: &[u8]) -> Vec<HttpEvent> {
    let (events, error) = decode(stream);
    assert_eq!(error, None, "{}", stream.escape_ascii());
    events
}

/// The status with which `stream` is refused before anything of it is taken, and why.
fn refused(stream: &[u8]) -> (u16, String) {
    let (events, error) = decode(stream);
    assert_eq!(events, [], "{}", stream.escape_ascii());
    let error = error.unwrap_or_else(|| panic!("taken: {}", stream.escape_ascii()));
    assert!(error.close, "where the next request starts is unknown");
    (error.status, error.reason)
}

fn head(stream: &[u8]) -> Request {
    match taken(stream).swap_remove(0) {
        HttpEvent::Head(request) => request,
        event => panic!("{event:?}"),
    }
}

/// The bodies of the requests in `stream`.
fn bodies(stream: &[u8]) -> Vec<String> {
    let body = |event| match event {
        HttpEvent::Body(body) => Some(body.escape_ascii().to_string()),
        _ => None,
    };
    taken(stream).into_iter().filter_map(body).collect()
}

/// A request whose head has these lines after the request line.
pub(super) fn post(lines: &str, body: &str) -> Vec<u8> {
    [b"POST /x HTTP/1.1\r\nHost: h\r\n", lines.as_bytes(), b"\r\n", body.as_bytes()].concat()
}

#[test]
fn a_head_is_read() {
    let request = head(
        b"POST /servers/a%20b/mcp?x=1&y=?2 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAccept:a\r\nX-Empty:\r\n\
          accept: \t b , c;q=1\t \r\nAuthorization: Bearer secret\r\n\r\n",
    );
    assert_eq!(request.method, Method::Post);
    assert_eq!((&request.target[..], request.query.as_deref()), ("/servers/a%20b/mcp", Some("x=1&y=?2")));
    assert_eq!((request.version_minor, request.keep_alive), (1, true));
    let headers = &request.headers;
    assert_eq!(headers.get("ACCEPT"), Some("a"));
    assert_eq!(headers.get_all("Accept").collect::<Vec<_>>(), ["a", "b , c;q=1"]);
    assert_eq!(headers.list("accept").collect::<Vec<_>>(), ["a", "b", "c;q=1"]);
    assert!(headers.list_has("accept", "B") && !headers.list_has("accept", "c"));
    assert_eq!((headers.get("x-empty"), headers.get("none")), (Some(""), None));
    assert!(headers.is_duplicated("accept") && !headers.is_duplicated("host"));
    assert_eq!((headers.len(), headers.is_empty()), (5, false));
    let shown = format!("{request:?}");
    assert!(shown.contains("127.0.0.1:80") && !shown.contains("secret"), "{shown}");
}

#[test]
fn methods_are_case_sensitive() {
    for (name, method) in [
        ("GET", Method::Get),
        ("POST", Method::Post),
        ("DELETE", Method::Delete),
        ("HEAD", Method::Head),
        ("OPTIONS", Method::Options),
        ("get", Method::Other("get".to_owned())),
        ("PATCH", Method::Other("PATCH".to_owned())),
    ] {
        let request = head(format!("{name} / HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!((request.method.as_str(), &request.method), (name, &method));
    }
}

#[test]
fn targets_in_all_their_forms() {
    let target = |line: &str| {
        let (events, error) = decode(format!("{line} HTTP/1.1\r\nHost: Ex.org:80\r\n\r\n").as_bytes());
        match (events.into_iter().next(), error) {
            (Some(HttpEvent::Head(request)), None) => Ok((request.target, request.query)),
            (None, Some(error)) => Err(error.status),
            other => panic!("{other:?}"),
        }
    };
    let is = |path: &str, query: Option<&str>| Ok((path.to_owned(), query.map(str::to_owned)));
    assert_eq!(target("GET /"), is("/", None));
    assert_eq!(target("GET /a?"), is("/a", Some("")));
    assert_eq!(target("GET //a/../b"), is("//a/../b", None));
    assert_eq!(target("GET /a|b?{c}^`'"), is("/a|b", Some("{c}^`'")), "as browsers send it");
    assert_eq!(target("GET http://ex.org:80/a?b"), is("/a", Some("b")));
    assert_eq!(target("GET HTTP://ex.org:80"), is("/", None));
    assert_eq!(target("OPTIONS *"), is("*", None));
    assert_eq!(target("CONNECT ex.org:80"), is("ex.org:80", None));
    for bad in [
        "GET *",
        "GET a",
        "GET /a#b",
        "GET /\\a",
        "GET /\"",
        "GET /<",
        "GET /a?>",
        "GET ?a",
        "GET ftp://ex.org:80/",
    ] {
        assert_eq!(target(bad), Err(400), "{bad}");
    }
    // Host and target that name different hosts: a guard would judge one, another would be served.
    for bad in ["http://evil/a", "http://ex.org/a", "http://u@ex.org:80/a", "http://ex.org:80?x", "http:/a"] {
        assert_eq!(target(&format!("GET {bad}")), Err(400), "{bad}");
    }
}

#[test]
fn connections_are_kept_or_not() {
    let kept = |version: u8, lines: &str| {
        head(format!("GET / HTTP/1.{version}\r\nHost: h\r\n{lines}\r\n").as_bytes()).keep_alive
    };
    assert!(kept(1, "") && !kept(0, ""));
    assert!(!kept(1, "Connection: close\r\n") && !kept(1, "Connection: x\r\nconnection: a, CLOSE\r\n"));
    assert!(kept(0, "Connection: Keep-Alive\r\n") && !kept(0, "Connection: keep-alive, close\r\n"));
}

#[test]
fn requests_follow_one_another() {
    let stream = [
        &b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        &post("Content-Length: 5\r\n", "hello"),
        b"\r\n",
        &post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n2;x=\"y\"\r\nde\r\n0\r\n\r\n"),
        &post("Content-Length: 0\r\n", ""),
        b"GET /2 HTTP/1.0\r\n\r\n",
    ]
    .concat();
    assert_eq!(bodies(&stream), ["", "hello", "abcde", "", ""]);
    let heads = taken(&stream).into_iter().filter(|event| matches!(event, HttpEvent::Head(_)));
    assert_eq!(heads.count(), 5);
}

#[test]
fn what_another_protocol_sends_is_left_in_the_buffer() {
    let mut decoder = RequestDecoder::new(LIMITS);
    let mut buf = RecvBuf::new();
    receive(&mut buf, b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n\x81\x00");
    assert!(matches!(decoder.next(&mut buf), Ok(Some(HttpEvent::Head(_)))));
    assert_eq!(decoder.next(&mut buf), Ok(Some(HttpEvent::Body(Vec::new()))));
    assert_eq!(buf.filled(), b"\x81\x00");
}

#[test]
fn one_who_waits_is_told_to_continue_once() {
    let stream = post("Expect: 100-Continue\r\nContent-Length: 2\r\n", "{}");
    let events = taken(&stream);
    assert!(matches!(events[0], HttpEvent::Head(_)));
    assert_eq!(events[1..], [HttpEvent::Continue, HttpEvent::Body(b"{}".to_vec())]);
    // The head alone is enough: the body would never come.
    let mut decoder = RequestDecoder::new(LIMITS);
    let mut buf = RecvBuf::new();
    receive(&mut buf, &stream[..stream.len() - 2]);
    assert!(matches!(decoder.next(&mut buf), Ok(Some(HttpEvent::Head(_)))));
    assert_eq!(decoder.next(&mut buf), Ok(Some(HttpEvent::Continue)));
    assert_eq!(decoder.next(&mut buf), Ok(None));

    for nothing_to_wait_for in [
        post("Expect: 100-continue\r\n", ""),
        post("Expect: 100-continue\r\nContent-Length: 0\r\n", ""),
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
        b"POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
    ] {
        assert!(!taken(&nothing_to_wait_for).contains(&HttpEvent::Continue));
    }
}

#[test]
fn what_is_asked_for_can_lower_the_limit_of_its_body() {
    let sized = post("Expect: 100-continue\r\nContent-Length: 11\r\n", "01234567890");
    let chunked = post("Transfer-Encoding: chunked\r\n", "6\r\n012345\r\n5\r\n67890\r\n0\r\n\r\n");
    for (stream, limit, status) in [
        (&sized, 11, None),
        (&sized, 10, Some(413)),
        (&chunked, 11, None),
        (&chunked, 10, Some(413)),
        // The connection's limit of 100 stays.
        (&post("Content-Length: 101\r\n", ""), 1000, Some(413)),
    ] {
        for step in 1..stream.len() {
            let mut decoder = RequestDecoder::new(LIMITS);
            // The second request has the connection's limit again.
            let stream = [&stream[..], &post("Content-Length: 100\r\n", &"x".repeat(100))].concat();
            let mut limits = [limit].into_iter();
            let (events, error) = cut(&stream, step, |buf| {
                let event = decoder.next(buf);
                if matches!(event, Ok(Some(HttpEvent::Head(_)))) {
                    limits.next().into_iter().for_each(|limit| decoder.limit_body(limit));
                }
                event
            });
            assert_eq!(error.map(|error| error.status), status);
            if status.is_some() {
                assert!(events.len() < 2, "no Continue for a body that is refused: {events:?}");
            }
        }
    }
}

#[test]
fn a_wrong_byte_is_refused_before_the_head_ends() {
    for (start, reason) in [
        ("GET / HTTP/1.1\r\nA: b\rC", "a CR in the head without LF"),
        ("GET / HTTP/1.1\r\nA: b\n", "a line of the head ends in LF without CR"),
        ("GET / HTTP/1.1\r\nA: b\r\n\t", "a line of the head starts with white space"),
        ("GET / HTTP/1.1\r\nA: \0", "a NUL byte in the head"),
        ("GET /\u{e4}", "byte 0xc3 in the head"),
        ("\u{16}\u{3}\u{1}", crate::codec::http::TLS_ON_PLAIN_PORT),
        ("GET \u{16}", "byte 0x16 in the head"),
        ("GET / HTTP/1.1\r\n\u{16}", "byte 0x16 in the head"),
    ] {
        assert_eq!(refused(start.as_bytes()), (400, reason.to_owned()), "{start:?}");
    }
}

#[test]
fn phases_tell_which_deadline_runs() {
    let mut decoder = RequestDecoder::new(LIMITS);
    let mut buf = RecvBuf::new();
    assert_eq!(decoder.phase(), Phase::Idle);
    for (bytes, phase) in [
        (&b"\r\n"[..], Phase::Idle),
        (b"P", Phase::Head),
        (b"OST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n", Phase::Body),
        (b"{", Phase::Body),
        (b"}", Phase::Idle),
        (b"\0", Phase::Failed),
    ] {
        receive(&mut buf, bytes);
        while let Ok(Some(_)) = decoder.next(&mut buf) {}
        assert_eq!(decoder.phase(), phase, "{}", bytes.escape_ascii());
    }
}

#[test]
fn heads_that_are_refused() {
    let with = |line: &str| post(&format!("{line}\r\n"), "");
    let line = |line: &str| format!("{line}\r\nHost: h\r\n\r\n").into_bytes();
    let table: &[(&str, Vec<u8>, u16)] = &[
        ("bare LF", b"GET / HTTP/1.1\nHost: h\n\n".to_vec(), 400),
        ("bare LF in a header", with("A: b\nC: d"), 400),
        ("bare LF at the end", b"GET / HTTP/1.1\r\nHost: h\r\n\n".to_vec(), 400),
        ("bare CR in a value", with("A: b\rC: d"), 400),
        ("CR CR LF", b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n".to_vec(), 400),
        ("bare CR in the request line", line("GET /\r HTTP/1.1"), 400),
        ("NUL in a value", with("A: b\0c"), 400),
        ("NUL in a name", with("A\0: b"), 400),
        ("DEL in a value", with("A: b\x7fc"), 400),
        ("control in a value", with("A: b\x01c"), 400),
        ("UTF-8 in a value", with("A: bäc"), 400),
        ("UTF-8 in the target", line("GET /ä HTTP/1.1"), 400),
        ("folded line", with("A: b\r\n c"), 400),
        ("folded line by tab", with("A: b\r\n\tc"), 400),
        ("white space before the first header", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n".to_vec(), 400),
        ("space before the colon", with("A : b"), 400),
        ("tab before the colon", with("A\t: b"), 400),
        ("space in a name", with("A B: c"), 400),
        ("no name", with(": b"), 400),
        ("no colon", with("Ab"), 400),
        ("a separator in a name", with("A(b): c"), 400),
        ("no Host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("two Hosts", with("host: h"), 400),
        ("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n".to_vec(), 400),
        ("path in Host", b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n".to_vec(), 400),
        ("user in Host", b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n".to_vec(), 400),
        ("space in Host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_vec(), 400),
        ("HTTP/0.9", line("GET /"), 400),
        ("two spaces", line("GET  / HTTP/1.1"), 400),
        ("two spaces before the version", line("GET /  HTTP/1.1"), 400),
        ("space at the end", line("GET / HTTP/1.1 "), 400),
        ("tab for space", line("GET\t/ HTTP/1.1"), 400),
        ("space in the target", line("GET /a b HTTP/1.1"), 400),
        ("space first", line(" GET / HTTP/1.1"), 400),
        ("no token for a method", line("GE(T / HTTP/1.1"), 400),
        ("no target", line("GET HTTP/1.1"), 400),
        ("lower-case version", line("GET / http/1.1"), 400),
        ("no version", line("GET / HTTP/x.y"), 400),
        ("long version", line("GET / HTTP/1.10"), 400),
        ("two empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec(), 400),
        ("JSON", b"{\"jsonrpc\":\"2.0\"}\n".to_vec(), 400),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        ("HTTP/1.2", line("GET / HTTP/1.2"), 505),
        ("HTTP/3.0", line("GET / HTTP/3.0"), 505),
        ("unknown expectation", with("Expect: 200-ok"), 417),
        ("two expectations", with("Expect: 100-continue, x"), 417),
    ];
    for (what, stream, status) in table {
        assert_eq!(refused(stream).0, *status, "{what}");
    }
}

#[test]
fn lengths_that_are_refused() {
    for (what, lines, status) in [
        ("both", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("both, the other way round", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", 400),
        ("both, of no known coding", "Content-Length: 1\r\nTransfer-Encoding: x\r\n", 400),
        ("two lengths", "Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("a length twice", "Content-Length: 1\r\ncontent-length: 1\r\n", 400),
        ("a list of lengths", "Content-Length: 1, 1\r\n", 400),
        ("signed", "Content-Length: +1\r\n", 400),
        ("negative", "Content-Length: -1\r\n", 400),
        ("hexadecimal", "Content-Length: 0x1\r\n", 400),
        ("fraction", "Content-Length: 1.0\r\n", 400),
        ("with a space", "Content-Length: 1 0\r\n", 400),
        ("empty", "Content-Length:\r\n", 400),
        ("a word", "Content-Length: chunked\r\n", 400),
        ("one too many", "Content-Length: 101\r\n", 413),
        ("more than any number", "Content-Length: 99999999999999999999999999\r\n", 413),
        ("gzip", "Transfer-Encoding: gzip\r\n", 501),
        ("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", 501),
        ("chunked, identity", "Transfer-Encoding: chunked, identity\r\n", 501),
        ("chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n", 501),
        ("a word that ends so", "Transfer-Encoding: xchunked\r\n", 501),
        ("quoted", "Transfer-Encoding: \"chunked\"\r\n", 501),
        ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", 400),
        ("chunked twice in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("one good and one bad", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", 501),
        ("no coding", "Transfer-Encoding:\r\n", 400),
        ("no coding in a list", "Transfer-Encoding: ,\r\n", 400),
    ] {
        assert_eq!(refused(&post(lines, "")).0, status, "{what}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refused(old), (400, "Transfer-Encoding in HTTP/1.0".to_owned()));
}

#[test]
fn bounds_are_exact() {
    let line = |len: usize| {
        let path = "x".repeat(len - "GET / HTTP/1.1".len());
        format!("GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes()
    };
    assert_eq!(taken(&line(200)).len(), 2);
    assert_eq!(refused(&line(201)).0, 414);
    assert_eq!(refused(&line(3000)).0, 414);

    let head = |len: usize| {
        let rest = len - "GET / HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "x".repeat(rest)).into_bytes()
    };
    assert_eq!(head(400).len(), 400);
    assert_eq!(taken(&head(400)).len(), 2);
    assert_eq!(refused(&head(401)).0, 431);
    assert_eq!(refused(&head(9000)).0, 431);

    assert_eq!(taken(&post(&"A: b\r\n".repeat(7), "")).len(), 2);
    assert_eq!(refused(&post(&"A: b\r\n".repeat(8), "")), (431, "more than 8 headers".to_owned()));

    assert_eq!(bodies(&post("Content-Length: 100\r\n", &"x".repeat(100))), ["x".repeat(100)]);
    assert_eq!(refused(&post("Content-Length: 101\r\n", &"x".repeat(101))).0, 413);
}

#[test]
fn a_smuggled_request_is_never_seen() {
    // The known ways to hide a second request: each must end with the first refusal, not with two heads.
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    for lines in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 33\r\n",
        "Content-Length: 0,33\r\n",
        "\0Content-Length: 33\r\n",
        "Content-Length\0: 33\r\n",
    ] {
        let (events, error) = decode(&post(lines, &format!("0\r\n\r\n{hidden}")));
        assert_eq!((events.len(), error.is_some()), (0, true), "{lines:?}");
    }
    let (events, error) = decode(&post("Content-Length: 33\r\n", hidden));
    assert_eq!((events.len(), error), (2, None), "{events:?}");
}

#[test]
fn memory_follows_what_came_not_what_was_claimed() {
    let limits = Limits::for_body(1 << 30);
    let mut decoder = RequestDecoder::new(limits);
    let mut buf = RecvBuf::new();
    receive(&mut buf, &post("Content-Length: 1000000000\r\n", "x"));
    while let Some(event) = decoder.next(&mut buf).unwrap() {
        assert!(matches!(event, HttpEvent::Head(_)));
    }
    for _ in 0..1000 {
        receive(&mut buf, &[b'x'; 1000]);
        assert_eq!(decoder.next(&mut buf), Ok(None));
        assert!(buf.is_empty());
    }
    assert!(buf.capacity() < 4000, "a body does not pile up in the buffer: {}", buf.capacity());
}

#[test]
fn escapes_and_queries() {
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(percent_decode(""), is(""));
    assert_eq!(percent_decode("/a%20b%2Fc%c3%A4+"), is("/a b/cä+"));
    for bad in ["%", "%1", "a%1", "%zz", "%1g", "%+1", "%00", "%c3", "%ff"] {
        assert_eq!(percent_decode(bad), None, "{bad}");
    }
    let pairs = |query: &str| query_pairs(query).collect::<Vec<_>>();
    let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    assert_eq!(pairs(""), []);
    assert_eq!(pairs("&&"), []);
    assert_eq!(
        pairs("a=1&b&=c&d=e=f&g+h=%26+i&a=2"),
        [pair("a", "1"), pair("b", ""), pair("", "c"), pair("d", "e=f"), pair("g h", "& i"), pair("a", "2")]
    );
    assert_eq!(pairs("a=%&b=1"), [None, pair("b", "1")]);
}
