//! [`Message`]: received bytes and a few edits, copied once, into the destination's send buffer.

use crate::base::SendBuf;
use crate::codec::Span;

/// What an edit puts in place.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// These bytes, already JSON.
    Raw(&'a [u8]),
    /// This integer in decimal.
    Integer(u64),
}

#[derive(Clone, Copy, Debug)]
struct Edit<'a> {
    start: usize,
    end: usize,
    value: Value<'a>,
}

/// A JSON text that differs from what was received at its edits only (P57).
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// The first `count`, sorted by `start`, without overlap.
    edits: [Edit<'a>; Message::EDITS_MAX],
    count: usize,
}

impl<'a> Message<'a> {
    /// Most edits of one message.
    pub const EDITS_MAX: usize = 8;

    /// The text as it is.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Message {
            bytes,
            edits: [Edit { start: 0, end: 0, value: Value::Raw(b"") }; Message::EDITS_MAX],
            count: 0,
        }
    }

    /// Puts `value` in place of `span`. Edits may come in any order; they must not overlap (panics).
    #[inline]
    pub fn replace(&mut self, span: Span, value: Value<'a>) {
        self.edit(Edit { start: span.start(), end: span.end(), value });
    }

    /// Puts `value` before the byte at `at`; at one place, in the order of the calls.
    pub fn insert(&mut self, at: usize, value: Value<'a>) {
        self.edit(Edit { start: at, end: at, value });
    }

    /// Leaves `span` out. (A member needs its comma included in the span.)
    pub fn remove(&mut self, span: Span) {
        self.replace(span, Value::Raw(b""));
    }

    #[inline]
    fn edit(&mut self, edit: Edit<'a>) {
        assert!(
            self.count < Self::EDITS_MAX && edit.end <= self.bytes.len(),
            "too many edits, or one outside"
        );
        let mut at = self.count;
        while at > 0 && self.edits[at - 1].start > edit.start {
            self.edits[at] = self.edits[at - 1];
            at -= 1;
        }
        self.edits[at] = edit;
        self.count += 1;
        let clear_before = at == 0 || self.edits[at - 1].end <= edit.start;
        let clear_after = at + 1 == self.count || edit.end <= self.edits[at + 1].start;
        assert!(clear_before && clear_after, "edits overlap");
    }

    /// Length of the edited text in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        let mut len = self.bytes.len();
        for edit in &self.edits[..self.count] {
            len -= edit.end - edit.start;
            len += match edit.value {
                Value::Raw(bytes) => bytes.len(),
                Value::Integer(n) => n.checked_ilog10().unwrap_or(0) as usize + 1,
            };
        }
        len
    }

    /// Calls `f` with each piece of the edited text, in order.
    #[inline]
    pub fn for_each_part(&self, mut f: impl FnMut(&[u8])) {
        let mut at = 0;
        for edit in &self.edits[..self.count] {
            f(&self.bytes[at..edit.start]);
            match edit.value {
                Value::Raw(bytes) => f(bytes),
                Value::Integer(n) => {
                    let mut digits = [0; 20];
                    f(decimal(n, &mut digits));
                }
            }
            at = edit.end;
        }
        f(&self.bytes[at..]);
    }

    /// Appends the edited text to `send`.
    #[inline]
    pub fn write_to(&self, send: &mut SendBuf) {
        send.reserve(self.len());
        self.for_each_part(|part| send.extend(part));
    }

    /// The edited text as one vector (cold paths, tests).
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.for_each_part(|part| out.extend_from_slice(part));
        out
    }
}

fn decimal(mut n: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_apply_in_place_whatever_their_order() {
        let text = b"0123456789";
        let mut message = Message::new(text);
        message.replace(Span::new(8, 9), Value::Integer(0));
        message.remove(Span::new(0, 2));
        message.insert(5, Value::Raw(b"<"));
        message.insert(5, Value::Raw(b">"));
        message.replace(Span::new(3, 4), Value::Integer(u64::MAX));
        let expected = b"2184467440737095516154<>56709";
        assert_eq!(message.to_vec(), expected);
        assert_eq!(message.len(), expected.len());
        let mut send = SendBuf::new();
        message.write_to(&mut send);
        assert_eq!(send.pending(), expected);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_edits_are_a_bug() {
        let mut message = Message::new(b"0123456789");
        message.replace(Span::new(2, 5), Value::Integer(1));
        message.remove(Span::new(4, 6));
    }
}
