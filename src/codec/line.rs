//! Newline framing over a [`RecvBuf`]: never searches a byte twice, never copies a line.
//!
//! ```text
//!             LF, length ≤ limit: Line             more than limit bytes without LF
//!           ┌────────────────────┐            ┌──────────────────────────────────────┐
//!           └──────────────► collecting ──────┘──► skipping (keeps head and tail) ─────┐
//!                                ▲                  └── LF: Overlong ──┐  any bytes ───┘
//!                                └─────────────────────────────────────┘
//! ```
//!
//! What a line means is left to others, but for the id of one that was too long to keep.

use crate::base::RecvBuf;
use crate::codec::Span;
use crate::codec::scan::{self, Glimpse};

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
    /// Length of the whole line in bytes, without its LF or CRLF.
    pub len: u64,
    /// The limit it exceeded.
    pub limit: usize,
    /// Its first bytes (at most 512).
    pub head: Vec<u8>,
    /// Its last bytes (at most 128).
    pub tail: Vec<u8>,
}

impl Overlong {
    /// Most bytes of `head`.
    pub const HEAD_MAX: usize = 512;
    /// Most bytes of `tail`.
    pub const TAIL_MAX: usize = 128;

    /// The message's JSON-RPC id as written, where head or tail show it beyond doubt, provided that the
    /// line is a JSON text at all.
    ///
    /// *Head*: it is read member by member from the outermost brace on, and only an `id` whose value
    /// is followed by a comma or brace counts, so it cannot be cut or belong to an inner object.
    ///
    /// *Tail*: the text ends with `,"id":` string or number `}`. In a JSON text that starts with `{`
    /// the last `}` closes the outermost object, and what is before it is its last member. That the
    /// member is what it looks like, and not the end of some string: neither the quote of the
    /// value nor the one of the key has a backslash before it, so each opens a string.
    ///
    /// If both show one and they differ, neither is believed.
    pub fn id(&self) -> Option<&[u8]> {
        let head = self.glimpse();
        let by_head = head.id.map(|span| span.of(&self.head));
        let starts_object = self.head.trim_ascii_start().first() == Some(&b'{');
        let by_tail = id_at_end(&self.tail).filter(|_| starts_object);
        match (by_head, by_tail) {
            (Some(head), Some(tail)) => (head == tail).then_some(head),
            (head, tail) => head.or(tail),
        }
    }

    /// Whether it is a request or notification (`Some(true)`) or an answer, if its head shows that.
    pub fn has_method(&self) -> Option<bool> {
        let head = self.glimpse();
        (head.has_method != head.is_answer).then_some(head.has_method)
    }

    fn glimpse(&self) -> Glimpse {
        scan::glimpse(&self.head)
    }

    fn of(line: &[u8], limit: usize) -> Overlong {
        let mut skipped = Overlong { len: 0, limit, head: Vec::new(), tail: Vec::new() };
        skipped.extend(line);
        skipped.finish();
        skipped
    }

    /// Takes note of more bytes of the line. Until `finish`, head and tail have a byte more than their
    /// maximum, for a CR that may turn out to belong to the delimiter.
    fn extend(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        let head_room = Self::HEAD_MAX + 1 - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(head_room)]);
        let tail_max = Self::TAIL_MAX + 1;
        let last = &bytes[bytes.len().saturating_sub(tail_max)..];
        let surplus = (self.tail.len() + last.len()).saturating_sub(tail_max);
        self.tail.drain(..surplus);
        self.tail.extend_from_slice(last);
    }

    /// The line ended: drops a CR at its end and the spare bytes.
    fn finish(&mut self) {
        if self.tail.last() == Some(&b'\r') {
            self.tail.pop();
            self.len -= 1;
        }
        let head_len = usize::try_from(self.len).unwrap_or(usize::MAX).min(Self::HEAD_MAX);
        self.head.truncate(head_len);
        self.tail.drain(..self.tail.len().saturating_sub(Self::TAIL_MAX));
    }
}

/// The value of `"id"` if that is the last member before the brace that ends `tail`; see [`Overlong::id`].
fn id_at_end(tail: &[u8]) -> Option<&[u8]> {
    let space: &[char] = &[' ', '\t', '\n', '\r'];
    let end_of =
        |bytes: &[u8]| bytes.iter().rposition(|&byte| !space.contains(&char::from(byte))).map(|at| at + 1);
    let before = |bytes: &[u8], suffix: &[u8]| -> Option<usize> {
        let end = end_of(bytes)?;
        Some(bytes[..end].strip_suffix(suffix)?.len())
    };
    let value_end = end_of(&tail[..before(tail, b"}")?])?;
    let value_start = match tail[value_end - 1] {
        b'"' => tail[..value_end - 1].iter().rposition(|&byte| byte == b'"')?,
        _ => tail[..value_end].iter().rposition(|byte| !b"+-.eE0123456789".contains(byte))? + 1,
    };
    let key_end = before(&tail[..value_start], b":")?;
    let key_start = before(&tail[..key_end], b"\"id\"")?;
    before(&tail[..key_start], b",")?;
    // What was found is a whole scalar: read as a member, it is that member.
    let value = &tail[value_start..value_end];
    let member = [b"{\"id\":", value, b"}"].concat();
    let found = scan::glimpse(&member);
    let plain = !value.contains(&b'\\');
    (plain && found.fault.is_none() && found.id.map(Span::len) == Some(value.len())).then_some(value)
}

/// Splits a byte stream into lines of bounded length.
#[derive(Debug)]
pub struct LineFramer {
    limit: usize,
    /// The line that is being skipped.
    skipping: Option<Overlong>,
}

impl LineFramer {
    /// Lines of at most `limit` bytes, delimiter not counted.
    pub fn new(limit: usize) -> Self {
        LineFramer { limit, skipping: None }
    }

    /// The next complete line, consumed from `buf`; `None` asks for more bytes. Lines that are empty or
    /// only white space are skipped.
    ///
    /// `buf` never has to hold more than the limit, a CR and what came with one read.
    pub fn next<'b>(&mut self, buf: &'b mut RecvBuf) -> Option<Line<'b>> {
        loop {
            let searched = buf.searched();
            let Some(found) = memchr::memchr(b'\n', &buf.filled()[searched..]) else {
                self.wait(buf);
                return None;
            };
            let end = searched + found;
            if let Some(mut skipped) = self.skipping.take() {
                skipped.extend(&buf.filled()[..end]);
                skipped.finish();
                buf.consume(end + 1);
                return Some(Line::Overlong(skipped));
            }
            let line = &buf.filled()[..end];
            let len = line.strip_suffix(b"\r").unwrap_or(line).len();
            if len > self.limit {
                let skipped = Overlong::of(line, self.limit);
                buf.consume(end + 1);
                return Some(Line::Overlong(skipped));
            }
            if line.trim_ascii().is_empty() {
                buf.consume(end + 1);
                continue;
            }
            return Some(Line::Line(&mut buf.take(end + 1)[..len]));
        }
    }

    /// What is left when the stream ended without a delimiter: the line that a delimiter there would have
    /// given, or nothing.
    pub fn last<'b>(&mut self, buf: &'b mut RecvBuf) -> Option<Line<'b>> {
        let len = buf.len();
        if let Some(mut skipped) = self.skipping.take() {
            skipped.extend(buf.filled());
            skipped.finish();
            buf.consume(len);
            return Some(Line::Overlong(skipped));
        }
        if buf.filled().trim_ascii().is_empty() {
            buf.consume(len);
            return None;
        }
        let line = buf.take(len);
        let len = line.strip_suffix(b"\r").unwrap_or(line).len();
        Some(Line::Line(&mut line[..len]))
    }

    /// No delimiter yet: remembers how far was searched, or lets go of a line that is too long by now.
    fn wait(&mut self, buf: &mut RecvBuf) {
        let line = buf.filled();
        let longest = self.limit + usize::from(line.last() == Some(&b'\r'));
        if self.skipping.is_none() && line.len() <= longest {
            buf.set_searched(buf.len());
            return;
        }
        let limit = self.limit;
        let skipped = self.skipping.get_or_insert_with(|| Overlong {
            len: 0,
            limit,
            head: Vec::new(),
            tail: Vec::new(),
        });
        skipped.extend(buf.filled());
        buf.consume(buf.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of `stream` when it arrives in pieces of `step` bytes; overlong ones start with `!`.
    fn lines(stream: &[u8], limit: usize, step: usize) -> Vec<String> {
        let mut framer = LineFramer::new(limit);
        let mut buf = RecvBuf::new();
        let mut out = Vec::new();
        for piece in stream.chunks(step) {
            buf.spare(piece.len())[..piece.len()].copy_from_slice(piece);
            buf.advance(piece.len());
            while let Some(line) = framer.next(&mut buf) {
                out.push(match line {
                    Line::Line(bytes) => bytes.escape_ascii().to_string(),
                    Line::Overlong(o) => {
                        assert_eq!(o.limit, limit);
                        format!("!{} {} {}", o.len, o.head.escape_ascii(), o.tail.escape_ascii())
                    }
                });
            }
            assert_eq!(buf.searched(), buf.len(), "all was looked at");
            assert!(buf.len() <= limit + 1, "a line in the making is bounded");
        }
        out
    }

    fn lines_however_cut(stream: &[u8], limit: usize) -> Vec<String> {
        let whole = lines(stream, limit, stream.len().max(1));
        for step in 1..stream.len().min(40) {
            assert_eq!(lines(stream, limit, step), whole, "in pieces of {step}");
        }
        whole
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        assert_eq!(lines_however_cut(b"", 9), [""; 0]);
        assert_eq!(lines_however_cut(b"abc", 9), [""; 0]);
        assert_eq!(lines_however_cut(b"abc\nde\r\nf\0\xff\n", 9), ["abc", "de", "f\\x00\\xff"]);
        assert_eq!(lines_however_cut(b"\n\n \t \r\n\r\na\n\r\r\nb\r\r\n c \n", 9), ["a", "b\\r", " c "]);
        assert_eq!(lines_however_cut(b"a\nunfinished", 10), ["a"]);
    }

    #[test]
    fn the_end_of_the_stream_ends_the_last_line() {
        let mut framer = LineFramer::new(9);
        let mut buf = RecvBuf::new();
        let cases = [(&b"rest"[..], Some("rest")), (b"x\r", Some("x")), (b" \r", None), (b"", None)];
        for (text, last) in cases {
            buf.spare(10)[..text.len()].copy_from_slice(text);
            buf.advance(text.len());
            assert_eq!(framer.next(&mut buf), None);
            let found = framer.last(&mut buf);
            assert_eq!(
                found,
                last.map(|text| text.to_owned().into_bytes()).as_mut().map(|text| Line::Line(text))
            );
        }
        buf.spare(20)[..20].fill(b'x');
        buf.advance(20);
        assert_eq!(framer.next(&mut buf), None);
        assert!(matches!(framer.last(&mut buf), Some(Line::Overlong(skipped)) if skipped.len == 20));
        assert!(buf.is_empty());
    }

    #[test]
    fn the_limit_counts_the_line_without_its_delimiter() {
        let stream = b"12345\n12345\r\n123456\n123456\r\n12345\r6\n1234\r5\r\n1\n";
        assert_eq!(
            lines_however_cut(stream, 5),
            [
                "12345",
                "12345",
                "!6 123456 123456",
                "!6 123456 123456",
                "!7 12345\\r6 12345\\r6",
                "!6 1234\\r5 1234\\r5",
                "1"
            ]
        );
        assert_eq!(lines_however_cut(b"\na\n\n", 0), ["!1 a a"]);
    }

    #[test]
    fn a_long_line_leaves_head_and_tail_only() {
        let long: Vec<u8> = (0..100_000u32).map(|i| b'a' + (i % 26) as u8).collect();
        let stream = [b"x\n", &long[..], b"\r\ny\n", &long[..513], b"\n", &long[..512], b"\n"].concat();
        for step in [1, 2, 100, 511, 512, 513, 4096, stream.len()] {
            let found = lines(&stream, 100, step);
            let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
            let expected = |line: &[u8]| {
                let head = &line[..line.len().min(512)];
                format!("!{} {} {}", line.len(), text(head), text(&line[line.len() - 128..]))
            };
            assert_eq!(
                found,
                [
                    "x".to_owned(),
                    expected(&long),
                    "y".to_owned(),
                    expected(&long[..513]),
                    expected(&long[..512])
                ]
            );
        }
    }

    #[test]
    fn the_buffer_stays_small_while_a_line_is_skipped() {
        let mut framer = LineFramer::new(1000);
        let mut buf = RecvBuf::new();
        for _ in 0..10_000 {
            buf.spare(1000)[..1000].fill(b'x');
            buf.advance(1000);
            assert_eq!(framer.next(&mut buf), None);
        }
        assert!(buf.capacity() <= 4000, "{}", buf.capacity());
        buf.spare(1)[0] = b'\n';
        buf.advance(1);
        let Some(Line::Overlong(skipped)) = framer.next(&mut buf) else { panic!("the line ended") };
        assert_eq!((skipped.len, skipped.head.len(), skipped.tail.len()), (10_000_000, 512, 128));
    }

    fn overlong(line: &[u8]) -> Overlong {
        Overlong::of(line, 10)
    }

    /// What `Overlong` says of `{start}{padding}{end}`.
    fn told(start: &str, end: &str) -> (Option<String>, Option<bool>) {
        let line = [start, &"p".repeat(2000), end].concat();
        let skipped = overlong(line.as_bytes());
        (skipped.id().map(|id| String::from_utf8(id.to_vec()).unwrap()), skipped.has_method())
    }

    #[test]
    fn the_id_is_found_in_head_or_tail() {
        let id = |id: &str| Some(id.to_owned());
        let head = r#"{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":""#;
        assert_eq!(told(head, r#""}}"#), (id("7"), Some(true)));
        assert_eq!(
            told(" { \"\\u0069d\" : \"a\\nb\" , \"result\" : \"", "\"}"),
            (id(r#""a\nb""#), Some(false))
        );
        let head = r#"{"method":"x","params":{"id":1,"a":{},"b":[2]},"id":-1.5e3,"c":""#;
        assert_eq!(told(head, r#""}"#), (id("-1.5e3"), Some(true)));

        let head = r#"{"method":"x","params":{"a":""#;
        assert_eq!(told(head, r#""},"jsonrpc":"2.0","id":12}"#), (id("12"), Some(true)));
        assert_eq!(told(r#"{"result":{"a":""#, r#""},"id":"q-1"}"#), (id(r#""q-1""#), Some(false)));
        assert_eq!(told(r#"{"error":{"a":""#, "\"} , \"id\" : 0 } \t"), (id("0"), Some(false)));
        assert_eq!(told(r#"{"id":7,"error":{"a":""#, r#""},"id":7}"#), (id("7"), Some(false)));
    }

    #[test]
    fn what_only_looks_like_an_id_is_not_believed() {
        let ends = [
            // Inside of a string, or in an inner object.
            r#"\",\"id\":7}"}"#,
            r#",\"id\":7}"#,
            r#"\"id\":"7"}"#,
            r#"","x,\"id":7}"#,
            r#"","x,\\\"id":7}"#,
            r#"","id":7}}"#,
            r#"","id":7}]}"#,
            r#"","id":"a\"b"}"#,
            r#"","id":"a,\"id\":7"}"#,
            r#"","x":"\"id\":7"}"#,
            // The value is cut out of something else, or is not an id.
            r#"","id":null}"#,
            r#"","id":[7]}"#,
            r#"","id":07}"#,
            r#"","id":1e}"#,
            r#"","id":}"#,
            r#"","xid":7}"#,
            r#""id":7}"#,
            r#","id":7"#,
            r#"","id":7}x"#,
            "\",\"id\":\"\u{1}\"}",
        ];
        for end in ends {
            assert_eq!(told(r#"{"method":"x","params":{"a":""#, end), (None, Some(true)), "{end}");
        }
        let heads = [
            r#"{"params":{"id":7,"a":""#,
            r#"{"id":null,"a":""#,
            r#"{"id":[7],"a":""#,
            r#"{"x":"\",\"id\":7,","a":""#,
            r#"{"id":7 "a":""#,
            r#"{"id":7"#,
            r#"{"id":"7"#,
            r#"{"id":7,"id":8,"a":""#,
            r#"{"id":07,"a":""#,
            r#"["id",7,{"id":7,"a":""#,
            r#""id":7,"#,
            "",
        ];
        for head in heads {
            assert_eq!(told(head, r#""}"#), (None, None), "{head}");
        }
        assert_eq!(told(r#"{"id":7,"a":""#, r#"","id":8}"#).0, None, "two ids");
        assert_eq!(told(r#"[{"a":""#, r#"","id":8}"#).0, None, "not an object");
        assert_eq!(told(r#"{"id":7,"method":1,"result":""#, "\"}"), (Some("7".to_owned()), None), "both");
        assert_eq!(overlong(br#"{"id":"\xff","a":1"#).id(), None);
    }

    #[test]
    fn a_number_cut_at_the_end_of_the_head_is_not_an_id() {
        for room in 0..8 {
            let start = format!(r#"{{"x":"{}","id":"#, "y".repeat(512 - 13 - room));
            let line = format!(r#"{start}1234,"method":"m","p":"{}"}}"#, "z".repeat(500));
            let expected = (room >= 5).then_some(&b"1234"[..]);
            assert_eq!(overlong(line.as_bytes()).id(), expected, "{room}");
        }
    }
}
