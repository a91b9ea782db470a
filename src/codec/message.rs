//! [`Message`]: received bytes and a few edits, copied once, into the destination's send buffer.
//!
//! ```text
//!   bytes   {"jsonrpc":"2.0","id":|7|,"method":"tools/call", … ,"progressToken":|"a"|}}}
//!   edits                         4503599627370497                            4503599627370497
//! ```

use std::fmt;

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

/// `value` in place of `start..end`.
#[derive(Clone, Copy)]
struct Edit<'a> {
    start: u32,
    end: u32,
    value: Value<'a>,
}

/// A JSON text that differs from what was received at its edits only (P57).
#[derive(Clone)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Length of the edited text.
    len: usize,
    /// The first `count` of `few` and then `more` are in use, in order and without overlap.
    few: [Edit<'a>; FEW],
    /// Rarely needed, and for that reason not even made before it is.
    more: Option<[Edit<'a>; Message::EDITS_MAX - FEW]>,
    count: usize,
}

/// Edits of a message that is forwarded: its id and its token.
const FEW: usize = 2;

const UNUSED: Edit<'_> = Edit { start: 0, end: 0, value: Value::Raw(b"") };

impl<'a> Message<'a> {
    /// Most edits of one message.
    pub const EDITS_MAX: usize = 12;

    /// The text as it is. (At most `u32::MAX` bytes; panics otherwise.)
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        assert!(bytes.len() <= u32::MAX as usize, "a huge message");
        Message { bytes, len: bytes.len(), few: [UNUSED; FEW], more: None, count: 0 }
    }
    /// Puts `value` in place of `span`. Edits may come in any order; they must not overlap (panics, as
    /// it does at more than [`Message::EDITS_MAX`] edits).
    #[inline]
    pub fn replace(&mut self, span: Span, value: Value<'a>) {
        self.edit(span.start(), span.end(), value);
    }
    /// Puts `value` before the byte at `at`; at one place, in the order of the calls, and before what
    /// is put in place of that byte.
    #[inline]
    pub fn insert(&mut self, at: usize, value: Value<'a>) {
        self.edit(at, at, value);
    }
    /// Leaves `span` out. (A member needs its comma included in the span.)
    #[inline]
    pub fn remove(&mut self, span: Span) {
        self.replace(span, Value::Raw(b""));
    }
    /// Length of the edited text in bytes.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    /// Calls `f` with each piece of the edited text, in order.
    #[inline]
    pub fn for_each_part(&self, mut f: impl FnMut(&[u8])) {
        let mut at = 0;
        let mut step = |edit: &Edit<'_>| {
            let start = edit.start as usize;
            if start > at {
                f(&self.bytes[at..start]);
            }
            at = edit.end as usize;
            match edit.value {
                Value::Raw([]) => {}
                Value::Raw(bytes) => f(bytes),
                Value::Integer(value) => {
                    let mut room = [0; DIGITS_MAX];
                    f(decimal(value, &mut room));
                }
            }
        };
        self.few[..self.count.min(FEW)].iter().for_each(&mut step);
        if let Some(more) = &self.more {
            more[..self.count - FEW].iter().for_each(step);
        }
        if at < self.bytes.len() {
            f(&self.bytes[at..]);
        }
    }
    /// Appends the edited text to `send`.
    pub fn write_to(&self, send: &mut SendBuf) {
        let mut room = send.room(self.len());
        self.for_each_part(|part| room.put(part));
        room.finish();
    }
    /// The edited text as one vector (cold paths, tests).
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.for_each_part(|part| out.extend_from_slice(part));
        out
    }

    #[inline]
    fn edit(&mut self, start: usize, end: usize, value: Value<'a>) {
        assert!(end <= self.bytes.len(), "an edit past the end");
        assert!(self.count < Message::EDITS_MAX, "too many edits");
        let edit = Edit { start: start as u32, end: end as u32, value };
        if self.count == FEW {
            self.more = Some([UNUSED; Message::EDITS_MAX - FEW]);
        }
        // Most come in order. An insertion belongs before a replacement at the same place.
        let mut slot = self.count;
        while slot > 0 && edit.goes_before(self.slot(slot - 1)) {
            *self.slot(slot) = *self.slot(slot - 1);
            slot -= 1;
        }
        let fits_before = slot == 0 || self.slot(slot - 1).end <= edit.start;
        let fits_after = slot == self.count || edit.end <= self.slot(slot + 1).start;
        assert!(fits_before && fits_after, "edits overlap");
        *self.slot(slot) = edit;
        self.count += 1;
        self.len = self.len - (end - start) + value.len();
    }

    #[inline]
    fn slot(&mut self, index: usize) -> &mut Edit<'a> {
        match index.checked_sub(FEW) {
            None => &mut self.few[index],
            Some(index) => &mut self.more.as_mut().expect("made with the first of them")[index],
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({})", self.to_vec().escape_ascii())
    }
}

impl Edit<'_> {
    #[inline]
    fn goes_before(&self, other: &Edit<'_>) -> bool {
        let is_insertion = self.start == self.end;
        self.start < other.start || self.start == other.start && is_insertion && other.end > other.start
    }
}

impl Value<'_> {
    #[inline]
    fn len(&self) -> usize {
        match self {
            Value::Raw(bytes) => bytes.len(),
            Value::Integer(value) => digits(*value),
        }
    }
}

/// Number of decimal digits, at least 1.
#[inline]
fn digits(value: u64) -> usize {
    // 1233 / 4096 is just above log10(2): the product is the number of digits, or one less.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    let guess = (bits * 1233) >> 12;
    guess + usize::from(value >= POWERS[guess] || guess == 0)
}

/// 10⁰ to 10¹⁹.
const POWERS: [u64; DIGITS_MAX] = {
    let mut powers = [1; DIGITS_MAX];
    let mut i = 1;
    while i < DIGITS_MAX {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// `value` in decimal, written to the end of `room`. By four digits, since each division waits for the
/// one before it.
#[inline]
fn decimal(mut value: u64, room: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut start = DIGITS_MAX;
    while value >= 10_000 {
        let four = (value % 10_000) as usize;
        value /= 10_000;
        start -= 4;
        room[start..start + 2].copy_from_slice(&PAIRS[four / 100]);
        room[start + 2..start + 4].copy_from_slice(&PAIRS[four % 100]);
    }
    let mut four = value as usize;
    if four >= 100 {
        start -= 2;
        room[start..start + 2].copy_from_slice(&PAIRS[four % 100]);
        four /= 100;
    }
    if four >= 10 {
        start -= 2;
        room[start..start + 2].copy_from_slice(&PAIRS[four]);
    } else {
        start -= 1;
        room[start] = b'0' + four as u8;
    }
    &room[start..]
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + i as u8 / 10, b'0' + i as u8 % 10];
        i += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, edit: impl FnOnce(&mut Message<'_>)) -> String {
        let mut message = Message::new(text.as_bytes());
        edit(&mut message);
        let out = String::from_utf8(message.to_vec()).unwrap();
        assert_eq!(out.len(), message.len());
        let mut send = SendBuf::new();
        send.extend(b"before");
        message.write_to(&mut send);
        assert_eq!(send.pending()[6..], *out.as_bytes());
        message.for_each_part(|part| assert!(!part.is_empty()));
        out
    }

    #[test]
    fn edits_in_any_order_change_their_place_only() {
        assert_eq!(edited("", |_| ()), "");
        assert_eq!(edited("abc", |_| ()), "abc");
        assert_eq!(
            edited("0123456789", |m| {
                m.replace(Span::new(8, 10), Value::Raw(b"Z"));
                m.remove(Span::new(0, 1));
                m.replace(Span::new(4, 5), Value::Integer(u64::MAX));
                m.insert(5, Value::Raw(b"<"));
                m.replace(Span::new(5, 6), Value::Integer(0));
                m.insert(5, Value::Raw(b">"));
                m.insert(4, Value::Raw(b"|"));
                m.insert(10, Value::Raw(b"."));
                m.insert(0, Value::Raw(b"^"));
            }),
            format!("^123|{}<>067Z.", u64::MAX)
        );
    }

    #[test]
    fn integers_are_written_in_decimal() {
        let powers = (0..20).map(|power| 10u64.pow(power));
        let near =
            powers.flat_map(|power| [power - 1, power, power + 1, power / 7 * 3, power.wrapping_mul(9)]);
        for value in near.chain(0..10_000).chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(edited("[]", |m| m.insert(1, Value::Integer(value))), format!("[{value}]"));
        }
    }

    #[test]
    fn all_orders_of_insertion_give_the_same_text() {
        let edits = [(2, 4, "A"), (4, 4, "B"), (4, 5, ""), (9, 10, "D")];
        for order in 0..256 {
            let picks = [order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6];
            if (0..4).any(|pick| !picks.contains(&pick)) {
                continue;
            }
            let out = edited("0123456789", |m| {
                for pick in picks {
                    let (start, end, value) = edits[pick];
                    match start == end {
                        true => m.insert(start, Value::Raw(value.as_bytes())),
                        false => m.replace(Span::new(start, end), Value::Raw(value.as_bytes())),
                    }
                }
            });
            assert_eq!(out, "01AB5678D", "{picks:?}");
        }
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_edits_are_a_bug() {
        edited("0123456789", |m| {
            m.remove(Span::new(4, 8));
            m.remove(Span::new(2, 5));
        });
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn an_insertion_inside_of_a_replacement_is_a_bug() {
        edited("0123456789", |m| {
            m.remove(Span::new(4, 8));
            m.insert(5, Value::Raw(b"x"));
        });
    }

    #[test]
    #[should_panic(expected = "too many edits")]
    fn more_edits_than_there_is_room_for_are_a_bug() {
        edited("0123456789abcdef", |m| {
            for at in 0..=Message::EDITS_MAX {
                m.insert(at, Value::Integer(1));
            }
        });
    }
}
