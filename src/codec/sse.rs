//! Event streams, `text/event-stream`, both directions (WHATWG HTML §9.2).
//!
//! [`write_event`] and [`write_comment`] write, [`Decoder`] reads. When to reconnect, and what an event
//! means, is left to others.

use std::fmt;

use crate::base::RecvBuf;

/// Appends one event: its `id`, its name, the milliseconds to wait before a reconnect, and its data.
///
/// Data may have any line ends (CR, LF, CRLF): each line becomes a `data:` line, and the receiver gets
/// LF for all of them. A CR of a JSON text is only white space between its tokens, so the text means the
/// same. Empty data is still an event, as the priming event of `protocol.md` P36 needs it.
///
/// An `id` or a name with CR, LF or (`id`) NUL would mean something else; these characters are left out.
pub fn write_event(
    out: &mut Vec<u8>,
    id: Option<&str>,
    event: Option<&str>,
    retry_ms: Option<u64>,
    data: &[u8],
) {
    if let Some(event) = event {
        write_field(out, b"event: ", event);
    }
    if let Some(id) = id {
        write_field(out, b"id: ", id);
    }
    if let Some(retry_ms) = retry_ms {
        out.extend_from_slice(format!("retry: {retry_ms}\n").as_bytes());
    }
    write_lines(out, b"data: ", data);
    out.push(b'\n');
}

/// Appends a comment, which receivers ignore: it keeps a quiet connection alive.
pub fn write_comment(out: &mut Vec<u8>, text: &str) {
    write_lines(out, b": ", text.as_bytes());
    // Ends nothing, but a reader that splits at empty lines would otherwise hold it back.
    out.push(b'\n');
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    out.extend(value.bytes().filter(|byte| !b"\r\n\0".contains(byte)));
    out.push(b'\n');
}

fn write_lines(out: &mut Vec<u8>, name: &[u8], mut text: &[u8]) {
    out.reserve(name.len() + text.len() + 2);
    loop {
        out.extend_from_slice(name);
        let Some(at) = memchr::memchr2(b'\r', b'\n', text) else { break };
        out.extend_from_slice(&text[..at]);
        out.push(b'\n');
        let crlf = text[at..].starts_with(b"\r\n");
        text = &text[at + 1 + usize::from(crlf)..];
    }
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// One event as the receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The last id that the stream gave, in this event or before; what a reconnect would send.
    pub id: Option<String>,
    /// Its name; `None` stands for `message`.
    pub event: Option<String>,
    /// Its data lines, joined by LF. As they came: UTF-8 only if the sender's was.
    pub data: Vec<u8>,
    /// Milliseconds before a reconnect, if this event says so.
    pub retry: Option<u64>,
}

/// A line or an event that exceeds the limit; nothing more is read from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// The limit in bytes.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of the stream exceeds {} bytes", self.limit)
    }
}

impl std::error::Error for TooLong {}

/// Events out of the bytes of one stream.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// A byte order mark may still come.
    at_start: bool,
    /// The last line ended in CR: an LF right after it belongs to it.
    after_cr: bool,
    failed: bool,
    last_id: String,
    reconnect_ms: Option<u64>,
    event: String,
    /// Each data line with an LF.
    data: Vec<u8>,
    retry: Option<u64>,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl Decoder {
    /// A decoder at the start of a stream; `limit` bounds a line, and the data of an event, in bytes.
    pub fn new(limit: usize) -> Decoder {
        Decoder {
            limit,
            at_start: true,
            after_cr: false,
            failed: false,
            last_id: String::new(),
            reconnect_ms: None,
            event: String::new(),
            data: Vec::new(),
            retry: None,
        }
    }

    /// The last id of the stream so far, also of an event without data: for `Last-Event-ID`.
    pub fn last_event_id(&self) -> Option<&str> {
        (!self.last_id.is_empty()).then_some(&self.last_id[..])
    }

    /// The last wish of the stream for how long to wait before a reconnect, in milliseconds.
    pub fn reconnect_ms(&self) -> Option<u64> {
        self.reconnect_ms
    }

    /// The next event, its bytes consumed from `buf`; `None` asks for more bytes. An event that the
    /// stream's end cuts short is none.
    pub fn next(&mut self, buf: &mut RecvBuf) -> Result<Option<Event>, TooLong> {
        if self.failed || !self.skip_start(buf) {
            return if self.failed { Err(TooLong { limit: self.limit }) } else { Ok(None) };
        }
        loop {
            if self.after_cr && !buf.is_empty() {
                self.after_cr = false;
                let is_crlf = buf.filled()[0] == b'\n';
                buf.consume(usize::from(is_crlf));
            }
            let searched = buf.searched();
            let found = memchr::memchr2(b'\r', b'\n', &buf.filled()[searched..]);
            let end = searched + found.unwrap_or(buf.len() - searched);
            if end > self.limit {
                return self.fail();
            }
            if found.is_none() {
                buf.set_searched(end);
                return Ok(None);
            }
            let line = buf.take(end + 1);
            self.after_cr = line[end] == b'\r';
            let line = &line[..end];
            if line.is_empty() {
                if let Some(event) = self.dispatch() {
                    return Ok(Some(event));
                }
            } else if !self.take_line(line) {
                return self.fail();
            }
        }
    }

    /// Leaves out the byte order mark; `false` while it is not known whether there is one.
    fn skip_start(&mut self, buf: &mut RecvBuf) -> bool {
        if self.at_start && buf.len() < BOM.len() && BOM.starts_with(buf.filled()) {
            return false;
        }
        if self.at_start && buf.filled().starts_with(BOM) {
            buf.consume(BOM.len());
        }
        self.at_start = false;
        true
    }

    fn fail(&mut self) -> Result<Option<Event>, TooLong> {
        self.failed = true;
        self.data = Vec::new();
        Err(TooLong { limit: self.limit })
    }

    /// A line that is not empty; `false` if it makes the event too long.
    fn take_line(&mut self, line: &[u8]) -> bool {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.data.len() + value.len() > self.limit {
                    return false;
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.event = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => self.last_id = String::from_utf8_lossy(value).into_owned(),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let digits = std::str::from_utf8(value).unwrap_or_default();
                self.retry = digits.parse().ok();
                self.reconnect_ms = self.retry.or(self.reconnect_ms);
            }
            // Comments have the empty name; other names mean nothing.
            _ => {}
        }
        true
    }

    /// An empty line: the event is complete, if there is any.
    fn dispatch(&mut self) -> Option<Event> {
        let mut data = std::mem::take(&mut self.data);
        let event = std::mem::take(&mut self.event);
        let retry = self.retry.take();
        // Only the last line's LF is left out: a lone `data:` line is an event with empty data.
        data.pop()?;
        let id = self.last_event_id().map(str::to_owned);
        Some(Event { id, event: (!event.is_empty()).then_some(event), data, retry })
    }
}

#[cfg(test)]
mod tests;
