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

/// A JSON text that differs from what was received at its edits only (P57).
#[derive(Clone, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Most edits of one message.
    pub const EDITS_MAX: usize = 12;

    /// The text as it is.
    pub fn new(bytes: &'a [u8]) -> Self {
        Message { bytes }
    }
    /// Puts `value` in place of `span`. Edits may come in any order; they must not overlap (panics).
    pub fn replace(&mut self, span: Span, value: Value<'a>) {
        let _ = (span, value);
        todo!("the codec helper fills this in")
    }
    /// Puts `value` before the byte at `at`; at one place, in the order of the calls.
    pub fn insert(&mut self, at: usize, value: Value<'a>) {
        let _ = (at, value);
        todo!("the codec helper fills this in")
    }
    /// Leaves `span` out. (A member needs its comma included in the span.)
    pub fn remove(&mut self, span: Span) {
        self.replace(span, Value::Raw(b""));
    }
    /// Length of the edited text in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        todo!("the codec helper fills this in")
    }
    /// Calls `f` with each piece of the edited text, in order.
    pub fn for_each_part(&self, f: impl FnMut(&[u8])) {
        let _ = (f, self.bytes);
        todo!("the codec helper fills this in")
    }
    /// Appends the edited text to `send`.
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
