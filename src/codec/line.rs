//! Newline framing over a [`RecvBuf`]: never searches a byte twice, never copies a line.

use crate::base::RecvBuf;

/// What a line stream gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'b> {
    /// One line without its LF or CRLF, lent from the buffer.
    Line(&'b mut [u8]),
    /// A line over the limit, now completely skipped.
    Overlong(Overlong),
}

/// What is left of a line that was too long: enough to tell whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlong {
    /// Length of the whole line in bytes.
    pub len: u64,
    /// The limit it exceeded.
    pub limit: usize,
    /// Its first bytes (at most 512).
    pub head: Vec<u8>,
    /// Its last bytes (at most 128).
    pub tail: Vec<u8>,
}

impl Overlong {
    /// The message's JSON-RPC id as written, where head or tail show it beyond doubt (see `line.rs`).
    pub fn id(&self) -> Option<&[u8]> {
        todo!("the codec helper fills this in")
    }
}

/// Splits a byte stream into lines of bounded length.
#[derive(Debug)]
pub struct LineFramer {
    limit: usize,
}

impl LineFramer {
    /// Lines of at most `limit` bytes, delimiter not counted.
    pub fn new(limit: usize) -> Self {
        LineFramer { limit }
    }

    /// The next complete line, consumed from `buf`; `None` asks for more bytes. Empty lines are skipped.
    pub fn next<'b>(&mut self, buf: &'b mut RecvBuf) -> Option<Line<'b>> {
        let _ = (buf, self.limit);
        todo!("the codec helper fills this in")
    }
}
