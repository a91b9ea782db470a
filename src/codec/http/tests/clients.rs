//! Requests as real clients write them, byte for byte but for what they carry.

use super::*;

/// Method, target, whether the connection stays, number of events, and the last body.
fn read(stream: &str) -> (String, String, bool, usize, String) {
    let run = |step| {
        let mut decoder = RequestDecoder::new(Limits::for_body(1 << 20));
        cut(stream.as_bytes(), step, |buf| decoder.next(buf))
    };
    let (events, error) = run(stream.len());
    assert_eq!(run(1), (events.clone(), error.clone()));
    assert_eq!(error, None, "{stream}");
    let Some(HttpEvent::Head(request)) = events.first() else { panic!("{stream}") };
    let body = match events.last() {
        Some(HttpEvent::Body(body)) => String::from_utf8_lossy(body).into_owned(),
        _ => "none".to_owned(),
    };
    (request.method.as_str().to_owned(), request.target.clone(), request.keep_alive, events.len(), body)
}

#[test]
fn requests_of_real_clients_are_taken() {
    let is = |method: &str, target: &str, stays, events, body: &str| {
        (method.to_owned(), target.to_owned(), stays, events, body.to_owned())
    };
    let curl = "Host: 127.0.0.1:1\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n";
    assert_eq!(read(&format!("GET /health HTTP/1.0\r\n{curl}\r\n")), is("GET", "/health", false, 2, ""));
    let sized = format!("POST /mcp HTTP/1.1\r\n{curl}Content-Length: 7\r\n\r\n{{\"a\":1}}");
    assert_eq!(read(&sized), is("POST", "/mcp", true, 2, "{\"a\":1}"));
    let chunked = format!(
        "POST /mcp HTTP/1.1\r\n{curl}Transfer-Encoding: chunked\r\n\r\n7\r\n{{\"a\":1}}\r\n0\r\n\r\n"
    );
    assert_eq!(read(&chunked), is("POST", "/mcp", true, 2, "{\"a\":1}"));
    let waiting =
        format!("PUT /x HTTP/1.1\r\n{curl}Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(read(&waiting), is("PUT", "/x", true, 2, "none"));
    let python = "POST /mcp?x=1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAccept-Encoding: identity\r\n\
                  Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";
    assert_eq!(read(python), is("POST", "/mcp", true, 2, "abcd"));
    let urllib = "GET /a?b HTTP/1.1\r\nAccept-Encoding: identity\r\nHost: 127.0.0.1:1\r\n\
                  User-Agent: Python-urllib/3.11\r\nConnection: close\r\n\r\n";
    assert_eq!(read(urllib), is("GET", "/a", false, 2, ""));
    let node = "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:1\r\nconnection: keep-alive\r\nmcp-session-id: x\r\n\
                content-type: text/plain;charset=UTF-8\r\naccept: */*\r\naccept-language: *\r\n\
                sec-fetch-mode: cors\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\n\
                content-length: 2\r\n\r\n{}";
    assert_eq!(read(node), is("POST", "/mcp", true, 2, "{}"));
    // Java's client offers HTTP/2 with its first request; who does not take the offer answers as usual.
    let java = "GET /mcp HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: h:1\r\n\
                HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(read(java), is("GET", "/mcp", true, 2, ""));
}
