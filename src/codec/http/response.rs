//! [`ResponseDecoder`]: answers out of the bytes of one connection to a server.
//!
//! Unlike a request's, a body is given in pieces as it comes: it may be an event stream without end.

use super::body::{Body, Piece};
use super::head::{self, HeadScan, Section};
use super::request::keeps_alive;
use super::{Headers, HttpError, Limits};
use crate::base::RecvBuf;

/// Most interim answers before the real one.
const INTERIM_MAX: usize = 16;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 101, or 200 to 599.
    pub status: u16,
    /// 0 or 1, for HTTP/1.0 and HTTP/1.1.
    pub version_minor: u8,
    /// The headers.
    pub headers: Headers,
    /// Whether the connection may have another request after this answer.
    pub keep_alive: bool,
}

/// What comes of a connection's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseEvent {
    /// The head of an answer. Interim ones (1xx but 101) are skipped.
    Head(Response),
    /// Some bytes of its body, at least one, without the framing of chunks.
    Body(Vec<u8>),
    /// The answer is complete; the next one may follow in the same buffer.
    End,
}

/// Answers, one after the other, out of the bytes of one connection.
///
/// Whether an answer has a body depends on its request: call [`expect`](Self::expect) for each request
/// in its order. After a 101 the bytes that are left belong to the new protocol.
#[derive(Debug)]
pub struct ResponseDecoder {
    limits: Limits,
    state: State,
    /// For each answer to come, whether its request was a HEAD; the next one first.
    expected: std::collections::VecDeque<bool>,
    interim: usize,
}

#[derive(Debug)]
enum State {
    Head(HeadScan),
    Body {
        body: Body,
        keep_alive: bool,
    },
    /// No more answers on this connection.
    Closed,
    Failed(HttpError),
}

impl ResponseDecoder {
    /// A decoder at the start of a connection. `limits.body_bytes` bounds all of a body: `usize::MAX` for
    /// event streams, whose decoder has a limit for each event.
    pub fn new(limits: Limits) -> ResponseDecoder {
        let state = State::Head(HeadScan::new(Section::Response));
        ResponseDecoder { limits, state, expected: Default::default(), interim: 0 }
    }

    /// A request was sent; `is_head` says that its answer has no body.
    pub fn expect(&mut self, is_head: bool) {
        self.expected.push_back(is_head);
    }

    /// The next event, its bytes consumed from `buf`; `None` asks for more bytes.
    ///
    /// An answer that nobody asked for is refused as well. A refusal is given again by every later call.
    pub fn next(&mut self, buf: &mut RecvBuf) -> Result<Option<ResponseEvent>, HttpError> {
        let event = self.advance(buf);
        if let Err(error) = &event {
            self.state = State::Failed(error.clone());
        }
        event
    }

    /// The connection has ended, and `next` has given all it could: `End` if that is how this body was to
    /// end, nothing between answers, else an error, for what came is cut short.
    pub fn finish(&mut self) -> Result<Option<ResponseEvent>, HttpError> {
        let end = match &self.state {
            State::Failed(error) => return Err(error.clone()),
            State::Body { body: Body::UntilClose { .. }, .. } => Some(ResponseEvent::End),
            State::Head(scan) if scan.is_untouched() && self.expected.is_empty() => None,
            State::Closed => None,
            State::Head(_) | State::Body { .. } => {
                let error = HttpError::fatal(400, "the connection ended before the answer did");
                self.state = State::Failed(error.clone());
                return Err(error);
            }
        };
        self.state = State::Closed;
        Ok(end)
    }

    fn advance(&mut self, buf: &mut RecvBuf) -> Result<Option<ResponseEvent>, HttpError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(error.clone()),
                State::Closed => return Ok(None),
                State::Head(scan) => {
                    if self.expected.is_empty() && !buf.is_empty() {
                        return Err(HttpError::fatal(400, "an answer that nobody asked for"));
                    }
                    let Some(len) = scan.find_end(buf, &self.limits)? else { return Ok(None) };
                    let (status, version_minor, headers) =
                        head::parse_response(&buf.filled()[..len], scan.header_count())?;
                    buf.consume(len);
                    if let Some(response) = self.begin(status, version_minor, headers)? {
                        return Ok(Some(ResponseEvent::Head(response)));
                    }
                }
                State::Body { body, keep_alive } => match body.next(buf, &self.limits)? {
                    Piece::Data(bytes) => return Ok(Some(ResponseEvent::Body(bytes.to_vec()))),
                    Piece::Wait => return Ok(None),
                    Piece::End => {
                        self.state = match keep_alive {
                            true => State::Head(HeadScan::new(Section::Response)),
                            false => State::Closed,
                        };
                        return Ok(Some(ResponseEvent::End));
                    }
                },
            }
        }
    }

    /// The head has come; `None` for an interim answer, which is skipped.
    fn begin(
        &mut self,
        status: u16,
        version_minor: u8,
        headers: Headers,
    ) -> Result<Option<Response>, HttpError> {
        if status < 200 && status != 101 {
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Err(HttpError::fatal(400, "interim answers without end"));
            }
            self.state = State::Head(HeadScan::new(Section::Response));
            return Ok(None);
        }
        self.interim = 0;
        let to_head = self.expected.pop_front().unwrap_or(false);
        let without_body = to_head || matches!(status, 101 | 204 | 304);
        let body = match without_body {
            true => Body::Sized(0),
            false => Body::of_response(&headers, version_minor, &self.limits)?,
        };
        // A body that the end of the connection ends leaves no connection.
        let keep_alive =
            status != 101 && keeps_alive(&headers, version_minor) && !matches!(body, Body::UntilClose { .. });
        self.state = State::Body { body, keep_alive };
        Ok(Some(Response { status, version_minor, headers, keep_alive }))
    }
}
