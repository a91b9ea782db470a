//! HTTP/1.1 as byte slices, both directions and both sides (RFC 9110, RFC 9112).
//!
//! ```text
//!   server:  RecvBuf ─▶ RequestDecoder ─▶ Head, Continue, Body …      write_head, write_chunk ─▶ Vec<u8>
//!   client:  RecvBuf ─▶ ResponseDecoder ─▶ Head, Body, Body, … End    write_request_head      ─▶ Vec<u8>
//! ```
//!
//! Two readers that see different messages in the same bytes are how requests are smuggled past a
//! guard, so what is ambiguous is refused, also where a lenient reader would cope: a bare CR or LF, a
//! folded line, a space before a colon, a byte that is not ASCII, two lengths. After a refusal the
//! connection's bytes mean nothing any more: the decoder stays failed, and the connection is to close.
//!
//! No byte is searched twice, whatever pieces it comes in, and the same bytes give the same events
//! however they are cut. What a path or a header means, time, and the order of answers are left to
//! others; so are `Date` and `Server` headers, which nobody here needs.

mod body;
mod head;
mod headers;
mod request;
mod response;
mod target;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;

pub use headers::Headers;
pub use request::{HttpEvent, Method, Phase, Request, RequestDecoder};
pub use response::{Response, ResponseDecoder, ResponseEvent};
pub use target::{percent_decode, query_pairs};
pub use write::{
    Framing, is_token, reason, write_chunk, write_continue, write_head, write_last_chunk, write_request_head,
};

/// Bounds of one message. Each has its own status when exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest head in bytes, first line and empty line included (431). Half of it is the longest first
    /// line (414). The trailers of a chunked body have as much again.
    pub head_bytes: usize,
    /// Most header lines (431).
    pub headers: usize,
    /// Longest body in bytes, without the framing of its chunks (413).
    pub body_bytes: usize,
}

impl Limits {
    /// The bounds of a message whose body has at most `body_bytes`: a head of 16 KiB, 64 headers.
    pub fn for_body(body_bytes: usize) -> Limits {
        Limits { head_bytes: 16 << 10, headers: 64, body_bytes }
    }
}

/// Why bytes are not taken as a message.
///
/// The same for answers to our own requests: there the status is the one that a server would have given
/// a request with that fault, and tells faults apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    /// What to answer, 400 or above.
    pub status: u16,
    /// What is wrong, for people; never holds bytes of the peer.
    pub reason: String,
    /// Whether it is unknown where the next message would start, so that the connection must be closed.
    pub close: bool,
}

impl HttpError {
    /// A refusal after which the connection is closed.
    pub(super) fn fatal(status: u16, reason: impl Into<String>) -> HttpError {
        HttpError { status, reason: reason.into(), close: true }
    }
}

/// Why a request that begins as TLS does is refused.
pub const TLS_ON_PLAIN_PORT: &str = "TLS on a plain HTTP port; the address begins with http://, not https://";

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, reason(self.status), self.reason)
    }
}

impl std::error::Error for HttpError {}
