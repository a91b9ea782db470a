//! HTTP answers.

use crate::codec::http::{Framing, write_head};
use serde_json::{Value, json};

/// One answer, not yet written.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// How the connection wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    pub keep_alive: bool,
    /// Asked by HEAD: the body stays away.
    pub head_only: bool,
    /// Asked in HTTP/1.0, which knows no chunks.
    pub http10: bool,
    /// Origin of the web page that asked.
    pub origin: Option<String>,
}

impl Answer {
    /// Without a body.
    pub fn empty(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    /// JSON text.
    pub fn json(status: u16, body: Vec<u8>) -> Answer {
        Answer { status, headers: vec![("Content-Type", "application/json".into())], body }
    }

    /// An error of JSON-RPC without an id, or with one.
    pub fn error(status: u16, id: Option<&[u8]>, code: i32, text: &str) -> Answer {
        Answer::failure(status, id, json!({ "code": code, "message": text }))
    }

    /// The same with a whole error object.
    pub fn failure(status: u16, id: Option<&[u8]>, error: Value) -> Answer {
        let mut body = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
        body.extend_from_slice(id.unwrap_or(b"null"));
        body.extend_from_slice(format!(",\"error\":{error}}}").as_bytes());
        Answer::json(status, body)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// The bytes of the whole answer.
    pub fn bytes(&self, manner: &Manner) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        let framing = match self.status {
            204 | 304 => Framing::None,
            _ => Framing::Sized(self.body.len()),
        };
        write(&mut out, self.status, &self.headers, framing, manner);
        if !manner.head_only {
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// The head of an event stream.
pub fn stream_head(headers: &[(&'static str, String)], manner: &Manner) -> Vec<u8> {
    let mut all = vec![
        ("Content-Type", "text/event-stream".to_owned()),
        ("Cache-Control", "no-cache, no-transform".to_owned()),
        // Proxies such as nginx keep events back otherwise (protocol.md §3.3).
        ("X-Accel-Buffering", "no".to_owned()),
    ];
    all.extend_from_slice(headers);
    let mut out = Vec::with_capacity(256);
    let framing = if manner.http10 { Framing::UntilClose } else { Framing::Chunked };
    write(&mut out, 200, &all, framing, manner);
    out
}

fn write(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&'static str, String)],
    framing: Framing,
    manner: &Manner,
) {
    let mut all: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if let Some(origin) = &manner.origin {
        all.push(("Access-Control-Allow-Origin", origin));
        all.push(("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After"));
        all.push(("Vary", "Origin"));
    }
    if framing == Framing::UntilClose {
        // The framing says what becomes of the connection.
    } else if !manner.keep_alive {
        all.push(("Connection", "close"));
    } else if manner.http10 {
        all.push(("Connection", "keep-alive"));
    }
    write_head(out, status, &all, framing);
}
