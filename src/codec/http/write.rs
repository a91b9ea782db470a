//! The heads and chunks that we write.

/// How the receiver will know where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes follow. An empty body is `Sized(0)`.
    Sized(usize),
    /// Chunks follow, by [`write_chunk`] and [`write_last_chunk`]. Not for an HTTP/1.0 client.
    Chunked,
    /// No body, and nothing said about one: an answer of 204 or 304, or to HEAD.
    None,
    /// The body ends with the connection: says `Connection: close`. For streams to an HTTP/1.0 client.
    UntilClose,
}

/// Appends the head of an answer: status line, `headers`, and those that `body` asks for.
///
/// Names must be tokens, and none of them `Content-Length` or `Transfer-Encoding`. A byte of a value
/// that is not visible ASCII, space or tab becomes `?`: so no value, wherever it came from, can start a
/// header line or an answer of its own.
pub fn write_head(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], body: Framing) {
    debug_assert!((100..1000).contains(&status));
    out.extend_from_slice(format!("HTTP/1.1 {status} {}\r\n", reason(status)).as_bytes());
    write_headers(out, headers, body);
}

/// Appends the head of a request to a server; `host` is the authority of its URL, `target` path and
/// query. A request without a body has `None`, but a POST always has a length.
///
/// The same holds for headers as in [`write_head`]; bytes that a request line cannot have become `?`.
pub fn write_request_head(
    out: &mut Vec<u8>,
    method: &str,
    target: &str,
    host: &str,
    headers: &[(&str, &str)],
    body: Framing,
) {
    debug_assert!(is_token(method));
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend(target.bytes().map(|byte| if byte.is_ascii_graphic() { byte } else { b'?' }));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_header(out, "Host", host);
    write_headers(out, headers, body);
}

fn write_headers(out: &mut Vec<u8>, headers: &[(&str, &str)], body: Framing) {
    for (name, value) in headers {
        debug_assert!(!name.eq_ignore_ascii_case("content-length"));
        debug_assert!(!name.eq_ignore_ascii_case("transfer-encoding"));
        write_header(out, name, value);
    }
    match body {
        Framing::Sized(len) => write_header(out, "Content-Length", &len.to_string()),
        Framing::Chunked => write_header(out, "Transfer-Encoding", "chunked"),
        Framing::UntilClose => write_header(out, "Connection", "close"),
        Framing::None => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    debug_assert!(is_token(name), "a header name from outside");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let harmless = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
    out.extend(value.bytes().map(|byte| if harmless(byte) { byte } else { b'?' }));
    out.extend_from_slice(b"\r\n");
}

/// Whether headers and methods can have this name (RFC 9110 §5.6.2).
pub fn is_token(name: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(of_token)
}

/// Appends `100 Continue`, the answer to [`super::HttpEvent::Continue`] before the real one.
pub fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends one chunk. Nothing for no bytes: an empty chunk would end the body.
pub fn write_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// What a status is called (RFC 9110 §15); empty for one that we never send.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
