//! One HTTP answer as the load client sees it: status, session, and the JSON-RPC message, which may be
//! the body or one event of a stream. As little of HTTP as the fronts under test need; whatever else
//! one of them sends is an error that ends its run.

use memchr::memmem;

/// A whole answer.
#[derive(Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    /// `Mcp-Session-Id`.
    pub session: Option<Vec<u8>>,
    /// The connection may carry another request.
    pub keep_alive: bool,
    body: Vec<u8>,
    is_stream: bool,
}

impl Reply {
    /// The first answer in `bytes` and its length. `Ok(None)`: it is not all there yet.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let Some(head_len) = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
        let head = std::str::from_utf8(&bytes[..head_len - 4]).map_err(|_| "a head that is not text")?;
        let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| format!("no status line: {first}"))?;
        let mut reply = Self { status, session: None, keep_alive: true, body: Vec::new(), is_stream: false };
        let mut framing = if matches!(status, 204 | 304) { Some(Framing::Sized(0)) } else { None };
        for (name, value) in fields.split("\r\n").filter_map(|field| field.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let len = value.parse().map_err(|_| format!("content-length: {value}"))?;
                framing = Some(Framing::Sized(len));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Some(Framing::Chunked);
            } else if name.eq_ignore_ascii_case("connection") {
                reply.keep_alive = !value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("content-type") {
                reply.is_stream = value.starts_with("text/event-stream");
            } else if name.eq_ignore_ascii_case("mcp-session-id") {
                reply.session = Some(value.as_bytes().to_vec());
            }
        }
        let rest = &bytes[head_len..];
        let body_len = match framing {
            None => return Err(format!("a body without an end: {head}")),
            Some(Framing::Sized(len)) if rest.len() < len => return Ok(None),
            Some(Framing::Sized(len)) => {
                reply.body.extend_from_slice(&rest[..len]);
                len
            }
            Some(Framing::Chunked) => match chunks(rest, &mut reply.body)? {
                None => return Ok(None),
                Some(len) => len,
            },
        };
        Ok(Some((reply, head_len + body_len)))
    }

    /// The JSON-RPC answer: the body, or the last event of the stream that is one.
    pub fn message(&self) -> Option<Vec<u8>> {
        if !self.is_stream {
            return (!self.body.is_empty()).then(|| self.body.clone());
        }
        let (mut found, mut data) = (None, Vec::new());
        for line in self.body.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(text) = line.strip_prefix(b"data:") {
                data.extend_from_slice(text.strip_prefix(b" ").unwrap_or(text));
            } else if line.is_empty() {
                let event = std::mem::take(&mut data);
                if is_answer(&event) {
                    found = Some(event);
                }
            }
        }
        found
    }

    /// What was said, for failures.
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
        format!("status {}: {text}", self.status)
    }
}

enum Framing {
    Sized(usize),
    Chunked,
}

/// Gathers a chunked body. The length of it all with the last chunk; `None` if that is not there yet.
fn chunks(bytes: &[u8], body: &mut Vec<u8>) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line_len) = memmem::find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + line_len]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok()).ok_or("a bad chunk size")?;
        let start = at + line_len + 2;
        let Some(chunk) = bytes.get(start..start + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk longer than its size, or trailers".into());
        }
        body.extend_from_slice(&chunk[..size]);
        at = start + size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

/// Tells an answer from notifications and from the empty event that some servers begin with.
fn is_answer(event: &[u8]) -> bool {
    memmem::find(event, b"\"result\":").is_some() || memmem::find(event, b"\"error\":").is_some()
}

/// Shows that each form of answer is read, at every cut, and that the rest is refused. Run by the self test.
pub fn self_test() {
    let sized = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: s1\r\ncontent-length: 13\r\n\r\n{\"result\":{}}".to_vec();
    // The cut between two chunks is inside an event.
    let chunks = ["id: 1\ndata:\n\ndata: {\"a\":", "1}\n\ndata: {\"result\":\r\ndata:{}}\r\n", "\r\n", ""];
    let mut streamed = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec();
    for chunk in chunks {
        streamed.extend_from_slice(format!("{:X}\r\n{chunk}\r\n", chunk.len()).as_bytes());
    }
    for (bytes, session, keep_alive) in [(&sized, Some(b"s1".to_vec()), true), (&streamed, None, false)] {
        for cut in 0..bytes.len() {
            assert_eq!(Reply::read(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let more = [&bytes[..], b"HTTP/1.1 2"].concat();
        let (reply, len) = Reply::read(&more).expect("read").expect("whole");
        assert_eq!((len, reply.status, reply.keep_alive), (bytes.len(), 200, keep_alive));
        assert_eq!(reply.message().as_deref(), Some(&b"{\"result\":{}}"[..]));
        assert_eq!(reply.session, session);
    }
    let (taken, _) =
        Reply::read(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").expect("read").expect("whole");
    assert_eq!((taken.status, taken.message()), (202, None));
    assert!(Reply::read(b"HTTP/1.1 200 OK\r\n\r\n{}").is_err(), "no end");
    assert!(Reply::read(b"HTTP/1.0 200 OK\r\n\r\n").is_err(), "another version");
    assert!(Reply::read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n").is_err(), "no size");
}
