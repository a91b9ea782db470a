//! [`RequestDecoder`]: requests out of the bytes of one connection.
//!
//! ```text
//!        ┌──────────────── Body ────────────────┐
//!        ▼                                      │
//!      head ── Head ─┬─ Expect ── Continue ──▶ body      any refusal ──▶ failed, for good
//!                    └───────────────────────────▲
//! ```

use super::body::{Body, Piece};
use super::head::{self, HeadScan, RequestHead, Section};
use super::{Headers, HttpError, Limits, target};
use crate::base::RecvBuf;

/// Most memory set aside for a body before any of it has come, in bytes: a length is only a claim.
const BODY_ROOM_AT_FIRST: usize = 64 << 10;

/// What a client wants done. Methods are case-sensitive: `get` is some other method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// Any other token, as written.
    Other(String),
}

impl Method {
    fn of(name: String) -> Method {
        match &name[..] {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "DELETE" => Method::Delete,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            _ => Method::Other(name),
        }
    }

    /// As written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Other(name) => name,
        }
    }
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// The path, with its percent escapes; see [`super::percent_decode`]. Starts with `/`, but for `*` of
    /// OPTIONS and the authority of CONNECT.
    pub target: String,
    /// What follows the first `?`, with its escapes; see [`super::query_pairs`].
    pub query: Option<String>,
    /// 0 or 1, for HTTP/1.0 and HTTP/1.1.
    pub version_minor: u8,
    /// The headers.
    pub headers: Headers,
    /// Whether the client would send another request on this connection (RFC 9112 §9.3).
    pub keep_alive: bool,
}

/// What comes of a connection's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpEvent {
    /// A request; its body follows, even if it is empty.
    Head(Request),
    /// The client waits for `100 Continue` before it sends the body: right after `Head`, once.
    Continue,
    /// The whole body; the next request may follow in the same buffer.
    Body(Vec<u8>),
}

/// Where in a request a decoder is, for deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between requests: nothing of the next one has come.
    Idle,
    /// A head has begun.
    Head,
    /// The head was given, the body was not.
    Body,
    /// A refusal was given; nothing will come.
    Failed,
}

/// Requests, one after the other, out of the bytes of one connection.
///
/// After a request that upgrades the connection to another protocol, do not call `next` again: what is
/// left in the buffer is that protocol's.
#[derive(Debug)]
pub struct RequestDecoder {
    limits: Limits,
    /// The limit of this request's body.
    body_bytes: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(HeadScan),
    /// `Continue` is to be given before the body.
    Expect(Body),
    Body(Body, Vec<u8>),
    Failed(HttpError),
}

impl RequestDecoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> RequestDecoder {
        let state = State::Head(HeadScan::new(Section::Request));
        RequestDecoder { limits, body_bytes: limits.body_bytes, state }
    }

    /// After a `Head`, a limit for its body that is below the connection's, since what is asked for says
    /// how much that may be: a body announced as longer is refused by the next call, before `Continue`.
    pub fn limit_body(&mut self, bytes: usize) {
        self.body_bytes = bytes.min(self.limits.body_bytes);
    }

    /// The next event, its bytes consumed from `buf`; `None` asks for more bytes.
    ///
    /// Statuses of a refusal: 400 malformed or ambiguous, 413 body, 414 request line and 431 head too
    /// long, 417 unknown expectation, 501 unknown transfer coding, 505 unknown version. It is given again
    /// by every later call.
    pub fn next(&mut self, buf: &mut RecvBuf) -> Result<Option<HttpEvent>, HttpError> {
        let event = self.advance(buf);
        if let Err(error) = &event {
            self.state = State::Failed(error.clone());
        }
        event
    }

    /// Where in a request the bytes seen so far end.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Head(scan) if scan.is_untouched() => Phase::Idle,
            State::Head(_) => Phase::Head,
            State::Expect(_) | State::Body(..) => Phase::Body,
            State::Failed(_) => Phase::Failed,
        }
    }

    fn advance(&mut self, buf: &mut RecvBuf) -> Result<Option<HttpEvent>, HttpError> {
        let limits = Limits { body_bytes: self.body_bytes, ..self.limits };
        match &mut self.state {
            State::Failed(error) => Err(error.clone()),
            State::Head(scan) => {
                let Some(len) = scan.find_end(buf, &self.limits)? else { return Ok(None) };
                let parsed = head::parse_request(&buf.filled()[..len], scan.header_count())?;
                buf.consume(len);
                let (request, body) = accept(parsed, &self.limits)?;
                self.body_bytes = self.limits.body_bytes;
                self.state = match expects_continue(&request)? && !body.is_empty() {
                    true => State::Expect(body),
                    false => started(body),
                };
                Ok(Some(HttpEvent::Head(request)))
            }
            State::Expect(body) => {
                body.check_announced(&limits)?;
                let body = std::mem::replace(body, Body::Sized(0));
                self.state = started(body);
                Ok(Some(HttpEvent::Continue))
            }
            State::Body(body, received) => {
                if received.is_empty() {
                    body.check_announced(&limits)?;
                }
                loop {
                    match body.next(buf, &limits)? {
                        Piece::Data(bytes) => received.extend_from_slice(bytes),
                        Piece::Wait => return Ok(None),
                        Piece::End => break,
                    }
                }
                let received = std::mem::take(received);
                self.state = State::Head(HeadScan::new(Section::Request));
                Ok(Some(HttpEvent::Body(received)))
            }
        }
    }
}

fn started(body: Body) -> State {
    let room = body.known_len().min(BODY_ROOM_AT_FIRST);
    State::Body(body, Vec::with_capacity(room))
}

/// Checks what `httparse` leaves to others.
fn accept(head: RequestHead, limits: &Limits) -> Result<(Request, Body), HttpError> {
    let RequestHead { method, target, version_minor, headers } = head;
    let host = headers.get("host");
    if headers.is_duplicated("host") || (host.is_none() && version_minor > 0) {
        return Err(HttpError::fatal(400, "a request has exactly one Host"));
    }
    if host.is_some_and(|host| !target::is_host(host)) {
        return Err(HttpError::fatal(400, "a Host that is none"));
    }
    let Some((path, query)) = target::split(&target, &method, host) else {
        return Err(HttpError::fatal(400, "a request target that is none"));
    };
    let (path, query) = (path.to_owned(), query.map(str::to_owned));
    let body = Body::of_request(&headers, version_minor, limits)?;
    let keep_alive = keeps_alive(&headers, version_minor);
    let method = Method::of(method);
    Ok((Request { method, target: path, query, version_minor, headers, keep_alive }, body))
}

/// Whether the connection outlives the message: HTTP/1.1 unless told otherwise, HTTP/1.0 if told so.
pub(super) fn keeps_alive(headers: &Headers, version_minor: u8) -> bool {
    !headers.list_has("connection", "close")
        && (version_minor > 0 || headers.list_has("connection", "keep-alive"))
}

/// Whether the client waits for `100 Continue`. From an HTTP/1.0 client the header means nothing (RFC
/// 9110 §10.1.1).
fn expects_continue(request: &Request) -> Result<bool, HttpError> {
    if request.version_minor == 0 {
        return Ok(false);
    }
    let mut expects = false;
    for expectation in request.headers.list("expect") {
        if !expectation.eq_ignore_ascii_case("100-continue") {
            return Err(HttpError::fatal(417, "an expectation other than 100-continue"));
        }
        expects = true;
    }
    Ok(expects)
}
