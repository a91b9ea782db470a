//! Newline framing over a [`RecvBuf`]: never searches a byte twice, never copies a line.

use crate::base::RecvBuf;
use crate::codec::json::{skip_space, skip_value, walk_object};
use crate::codec::{ScanErrorKind, json::JsonError};
use memchr::memchr;

/// What a line stream gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'b> {
    /// One line without its LF or CRLF, lent from the buffer.
    Line(&'b mut [u8]),
    /// A line over the limit, now completely skipped.
    Overlong(Overlong),
}

/// What is left of a line that was too long: enough to tell whose it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// The message's JSON-RPC id as written, where head or tail show it beyond doubt.
    ///
    /// The head shows it if it is a member before the first one that is too long to be seen whole. The
    /// tail shows it if the line ends in `,"id":<scalar>}`: the one brace that ends a line closes the
    /// top level, and a string cannot hold the unescaped quotes of `"id"`.
    pub fn id(&self) -> Option<&[u8]> {
        self.head_members().0.or_else(|| self.tail_id())
    }

    /// Whether the message has a `method`, if its head tells.
    pub fn has_method(&self) -> Option<bool> {
        self.head_members().1
    }

    fn head_members(&self) -> (Option<&[u8]>, Option<bool>) {
        let start = skip_space(&self.head, 0);
        let (mut id, mut method) = (None, None);
        if self.head.get(start) == Some(&b'{') {
            let _ = walk_object(&self.head, start, |key, _, at| {
                match key {
                    b"method" => method = Some(true),
                    b"result" | b"error" => method = Some(false),
                    _ => {}
                }
                let end = skip_value(&self.head, at, 1)?;
                if end == self.head.len() {
                    // A number may go on in what was not kept.
                    return Err(JsonError { kind: ScanErrorKind::Syntax, at });
                }
                if key == b"id" && matches!(self.head[at], b'"' | b'-' | b'0'..=b'9') {
                    id = Some(&self.head[at..end]);
                }
                Ok(end)
            });
        }
        (id, method)
    }

    fn tail_id(&self) -> Option<&[u8]> {
        let body = self.tail.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
        let at = body.windows(5).rposition(|window| window == b",\"id\"")?;
        let after = skip_space(body, at + 5);
        if body.get(after) != Some(&b':') {
            return None;
        }
        let value = skip_space(body, after + 1);
        let token = &body[value..];
        let scalar = matches!(token.first(), Some(b'"' | b'-' | b'0'..=b'9'));
        (scalar && skip_value(body, value, 1) == Ok(body.len())).then_some(token)
    }
}

/// Splits a byte stream into lines of bounded length.
#[derive(Debug)]
pub struct LineFramer {
    limit: usize,
    /// Set while a line over the limit is being skipped.
    skipping: Option<Overlong>,
}

impl LineFramer {
    /// Lines of at most `limit` bytes, delimiter not counted.
    pub fn new(limit: usize) -> Self {
        LineFramer { limit, skipping: None }
    }

    /// The next complete line, consumed from `buf`; `None` asks for more bytes. Empty lines are skipped.
    pub fn next<'b>(&mut self, buf: &'b mut RecvBuf) -> Option<Line<'b>> {
        loop {
            let searched = buf.searched();
            let Some(found) = memchr(b'\n', &buf.filled()[searched..]) else {
                self.wait(buf);
                return None;
            };
            let len = searched + found;
            if self.skipping.is_some() || len > self.limit {
                self.skip(buf, len);
                buf.consume(1);
                return self.skipping.take().map(Line::Overlong);
            }
            let is_blank = buf.filled()[..len].trim_ascii().is_empty();
            if is_blank {
                buf.consume(len + 1);
                continue;
            }
            let line = buf.take(len + 1);
            let end = if line[..len].ends_with(b"\r") { len - 1 } else { len };
            return Some(Line::Line(&mut line[..end]));
        }
    }

    /// What is left when the stream ended without a newline: a last line, or nothing.
    pub fn last<'b>(&mut self, buf: &'b mut RecvBuf) -> Option<Line<'b>> {
        let len = buf.len();
        if self.skipping.is_some() || len > self.limit {
            self.skip(buf, len);
            return self.skipping.take().map(Line::Overlong);
        }
        if buf.filled().trim_ascii().is_empty() {
            buf.consume(len);
            return None;
        }
        Some(Line::Line(buf.take(len)))
    }

    /// No newline yet: remember that, or start to drop what is too long already.
    fn wait(&mut self, buf: &mut RecvBuf) {
        let len = buf.len();
        // One more byte than the limit may be the CR of a CRLF.
        if self.skipping.is_some() || len > self.limit + 1 {
            self.skip(buf, len);
        } else {
            buf.set_searched(len);
        }
    }

    /// Drops `len` bytes of the current line, but for what identifies it.
    fn skip(&mut self, buf: &mut RecvBuf, len: usize) {
        let limit = self.limit;
        let line = self.skipping.get_or_insert_with(|| Overlong { limit, ..Overlong::default() });
        let bytes = &buf.filled()[..len];
        line.len += len as u64;
        let room = HEAD_MAX - line.head.len();
        line.head.extend_from_slice(&bytes[..len.min(room)]);
        line.tail.extend_from_slice(&bytes[len.saturating_sub(TAIL_MAX)..]);
        let surplus = line.tail.len().saturating_sub(TAIL_MAX);
        line.tail.drain(..surplus);
        buf.consume(len);
    }
}

const HEAD_MAX: usize = 512;
const TAIL_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `step` bytes; lines as strings, overlong ones as their length.
    fn frames(input: &[u8], step: usize, limit: usize) -> Vec<Result<String, u64>> {
        let mut buf = RecvBuf::new();
        let mut framer = LineFramer::new(limit);
        let mut out = Vec::new();
        for chunk in input.chunks(step) {
            buf.spare(chunk.len())[..chunk.len()].copy_from_slice(chunk);
            buf.advance(chunk.len());
            while let Some(line) = framer.next(&mut buf) {
                out.push(match line {
                    Line::Line(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
                    Line::Overlong(line) => Err(line.len),
                });
            }
            assert!(buf.len() <= limit + 1 + step, "memory is bounded");
        }
        out
    }

    #[test]
    fn lines_are_the_same_in_whatever_pieces_they_come() {
        let input = b"one\r\n\n  \ntwo\n\r\nthree is too long\nfour\nincomplete";
        let expected = vec![Ok("one".into()), Ok("two".into()), Err(17), Ok("four".into())];
        for step in 1..=input.len() {
            assert_eq!(frames(input, step, 10), expected, "in pieces of {step}");
        }
    }

    #[test]
    fn the_limit_is_exact() {
        for step in [1, 3, 100] {
            assert_eq!(
                frames(b"1234567890\n12345678901\nx\n", step, 10),
                [Ok("1234567890".into()), Err(11), Ok("x".into())]
            );
        }
    }

    fn overlong(text: &str) -> Overlong {
        let mut buf = RecvBuf::new();
        let mut framer = LineFramer::new(10);
        let bytes = format!("{text}\n");
        buf.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes.as_bytes());
        buf.advance(bytes.len());
        match framer.next(&mut buf) {
            Some(Line::Overlong(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_overlong_line_tells_its_id_only_where_that_is_certain() {
        let big = "x".repeat(1_000);
        let id = |text: String| overlong(&text).id().map(|id| String::from_utf8(id.to_vec()).unwrap());
        assert_eq!(id(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"t":"{big}"}}}}"#)), Some("7".into()));
        assert_eq!(
            id(format!(r#"{{"result":{{"t":"{big}"}},"jsonrpc":"2.0","id":"a"}}"#)),
            Some("\"a\"".into())
        );
        assert_eq!(id(format!(r#"{{"result":{{"t":"{big}","id":7}}}}"#)), None, "a nested id");
        assert_eq!(id(format!(r#"{{"result":"{big},\"id\":7"}}"#)), None, "an id within a string");
        assert_eq!(id(format!(r#"{{"id":{{"t":"{big}"}}}}"#)), None);
        assert_eq!(id(format!(r#"{{"id":{}}}"#, "1".repeat(600))), None, "an id that is not seen whole");
        assert_eq!(
            overlong(&format!(r#"{{"method":"m","params":{{"t":"{big}"}},"id":1}}"#)).has_method(),
            Some(true)
        );
        assert_eq!(overlong(&format!(r#"{{"id":1,"result":{{"t":"{big}"}}}}"#)).has_method(), Some(false));
    }
}
