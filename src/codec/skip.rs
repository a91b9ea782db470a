//! [`Skipper`]: walks over JSON text, checks all of its grammar (RFC 8259), and keeps nothing but its
//! place.
//!
//! No recursion and no allocation: the kinds of the open containers are one bit each. UTF-8 is left to
//! the caller, who learns from [`Skipper::high`] whether there is anything to check: outside strings
//! every byte is ASCII, and inside them a byte of 0x80 or more is never a quote or a backslash.

use crate::base::limits::DEPTH_MAX;
use crate::codec::scan_simd;

/// Why the text is refused, and the offset of the byte where that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Syntax(usize),
    TooDeep(usize),
}

impl Fault {
    pub(super) fn at(self) -> usize {
        match self {
            Fault::Syntax(at) | Fault::TooDeep(at) => at,
        }
    }
}

/// The kinds of the containers that are open, innermost last.
pub(super) trait Nesting {
    /// Opens a container; `false` if that is too deep.
    fn push(&mut self, object: bool) -> bool;
    /// Closes the innermost one.
    fn pop(&mut self);
    /// Whether the innermost one is an object; `None` if none is open.
    fn innermost(&self) -> Option<bool>;
}

/// At most [`DEPTH_MAX`] levels, those around the value included.
pub(super) struct Bounded {
    /// Bit 0 is the innermost container; set for objects.
    objects: u128,
    open: usize,
    left: usize,
}

impl Bounded {
    /// For a value inside of `depth` containers.
    #[inline]
    pub(super) fn inside(depth: usize) -> Bounded {
        Bounded { objects: 0, open: 0, left: DEPTH_MAX - depth }
    }
}

// One bit for each level.
const _: () = assert!(DEPTH_MAX <= 128);

impl Nesting for Bounded {
    #[inline(always)]
    fn push(&mut self, object: bool) -> bool {
        self.objects = self.objects << 1 | u128::from(object);
        self.open += 1;
        self.open <= self.left
    }
    #[inline(always)]
    fn pop(&mut self) {
        self.objects >>= 1;
        self.open -= 1;
    }
    #[inline(always)]
    fn innermost(&self) -> Option<bool> {
        (self.open > 0).then_some(self.objects & 1 != 0)
    }
}

/// Any depth, for finding out whose a text was that is refused for its depth: one bit for each level.
#[derive(Default)]
pub(super) struct Unbounded {
    objects: Vec<u64>,
    open: usize,
}

impl Nesting for Unbounded {
    fn push(&mut self, object: bool) -> bool {
        let (word, bit) = (self.open / 64, self.open % 64);
        if word == self.objects.len() {
            self.objects.push(0);
        }
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.open += 1;
        true
    }
    fn pop(&mut self) {
        self.open -= 1;
    }
    fn innermost(&self) -> Option<bool> {
        let last = self.open.checked_sub(1)?;
        Some(self.objects[last / 64] >> (last % 64) & 1 != 0)
    }
}

/// A place in a JSON text.
pub(super) struct Skipper<'a> {
    bytes: &'a [u8],
    /// Offset of the next byte.
    pub(super) pos: usize,
    /// Whether a skipped string may hold bytes of 0x80 or more (`false` is certain).
    pub(super) high: bool,
}

impl<'a> Skipper<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Skipper { bytes, pos: 0, high: false }
    }

    /// At an offset inside of `bytes`.
    pub(super) fn at(bytes: &'a [u8], pos: usize) -> Self {
        Skipper { bytes, pos, high: false }
    }

    /// The next byte; 0, which no grammar rule accepts, at the end.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.pos).copied().unwrap_or(0)
    }

    /// Whether all bytes are used up.
    pub(super) fn at_end(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    #[inline(always)]
    pub(super) fn fault<T>(&self) -> Result<T, Fault> {
        Err(Fault::Syntax(self.pos))
    }

    /// Skips white space, if any.
    #[inline(always)]
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.pos += 1;
        }
    }

    /// Skips `byte`, which must be next.
    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != byte {
            return self.fault();
        }
        self.pos += 1;
        Ok(())
    }

    /// Skips a string. `Ok(true)`: it holds escapes.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<bool, Fault> {
        self.expect(b'"')?;
        // Most strings are short and plain: a few looks at 16 bytes do.
        for _ in 0..3 {
            let Some((stops, high)) = self.stops() else { break };
            self.high |= high;
            if stops == 0 {
                self.pos = (self.pos + scan_simd::SHORT).min(self.bytes.len());
                continue;
            }
            self.pos += stops.trailing_zeros() as usize;
            if self.peek() == b'"' {
                self.pos += 1;
                return Ok(false);
            }
            break;
        }
        self.long_string()
    }

    /// Which of the next 16 bytes, or of those that are left, are no plain characters of a string, and
    /// whether there may be bytes of 0x80 or more. `None`: the text is too short to be looked at so.
    #[inline(always)]
    fn stops(&self) -> Option<(u32, bool)> {
        let rest = &self.bytes[self.pos..];
        if let Some(chunk) = rest.first_chunk::<{ scan_simd::SHORT }>() {
            return Some(scan_simd::short(chunk));
        }
        let (stops, high) = scan_simd::short(self.bytes.last_chunk::<{ scan_simd::SHORT }>()?);
        Some((stops >> (scan_simd::SHORT - rest.len()), high))
    }

    /// The rest of a string, whatever is in it.
    fn long_string(&mut self) -> Result<bool, Fault> {
        match scan_simd::string(self.bytes, self.pos) {
            Ok(end) => {
                self.pos = end.after;
                self.high |= end.high;
                Ok(end.escaped)
            }
            Err(at) => Err(Fault::Syntax(at.min(self.bytes.len()))),
        }
    }

    /// Skips a key, its colon and the space around it; gives the key's start and end (quotes included)
    /// and whether it holds escapes.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<(usize, usize, bool), Fault> {
        let start = self.pos;
        let escaped = self.string()?;
        let end = self.pos;
        if self.peek() != b':' {
            self.space();
        }
        self.expect(b':')?;
        self.space();
        Ok((start, end, escaped))
    }

    /// After a value in a container: `true` after a comma, with a further value or key next; `false`
    /// after the closing bracket `close`.
    #[inline(always)]
    pub(super) fn another(&mut self, close: u8) -> Result<bool, Fault> {
        let mut byte = self.peek();
        if byte != b',' && byte != close {
            self.space();
            byte = self.peek();
            if byte != b',' && byte != close {
                return self.fault();
            }
        }
        self.pos += 1;
        if byte == b',' {
            self.space();
        }
        Ok(byte == b',')
    }

    /// Skips a number: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
    #[inline(always)]
    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == b'-' {
            self.pos += 1;
        }
        if self.peek() == b'0' {
            self.pos += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.pos += 1;
            self.digits()?;
        }
        if self.peek() | 0x20 == b'e' {
            self.pos += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.pos += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips one digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_ascii_digit() {
            return self.fault();
        }
        while self.peek().is_ascii_digit() {
            self.pos += 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if self.bytes[self.pos..].starts_with(word) {
            self.pos += word.len();
            return Ok(());
        }
        let same = self.bytes[self.pos..].iter().zip(word).take_while(|(a, b)| a == b).count();
        Err(Fault::Syntax(self.pos + same))
    }

    /// Skips a string, a number, `true`, `false` or `null`.
    #[inline(always)]
    pub(super) fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.fault(),
        }
    }

    /// Skips one value of any kind, which starts at the next byte, inside of `depth` containers.
    #[inline]
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            b'{' | b'[' => self.container(Bounded::inside(depth)),
            _ => self.scalar(),
        }
    }

    /// Skips one value of any kind and depth (cold).
    pub(super) fn value_of_any_depth(&mut self) -> Result<(), Fault> {
        match self.peek() {
            b'{' | b'[' => self.container(Unbounded::default()),
            _ => self.scalar(),
        }
    }

    /// Skips the container that starts at the next byte.
    fn container(&mut self, mut nesting: impl Nesting) -> Result<(), Fault> {
        loop {
            // A value starts here.
            let byte = self.peek();
            if byte == b'{' || byte == b'[' {
                let object = byte == b'{';
                if !nesting.push(object) {
                    return Err(Fault::TooDeep(self.pos));
                }
                self.pos += 1;
                self.space();
                // `{` and `[` precede their closing bracket by two in ASCII.
                if self.peek() == byte + 2 {
                    self.pos += 1;
                    nesting.pop();
                } else {
                    if object {
                        self.key()?;
                    }
                    continue;
                }
            } else {
                self.scalar()?;
            }
            // A value ended here.
            loop {
                let Some(object) = nesting.innermost() else { return Ok(()) };
                if !self.another(if object { b'}' } else { b']' })? {
                    nesting.pop();
                    continue;
                }
                if object {
                    self.key()?;
                }
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    /// The text is accepted as one value by both kinds of nesting, or by none, as `serde_json` says.
    fn check(text: &[u8]) -> bool {
        let expected = serde_json::from_slice::<IgnoredAny>(text).is_ok();
        let trimmed = text.trim_ascii();
        for any_depth in [false, true] {
            let mut skipper = Skipper::new(trimmed);
            let skipped = if any_depth { skipper.value_of_any_depth() } else { skipper.value(0) };
            let accepted = skipped.is_ok() && skipper.at_end();
            assert_eq!(accepted, expected, "any depth {any_depth}: {}", text.escape_ascii());
        }
        expected
    }

    /// Checks all texts of up to `longest` bytes of `alphabet`; gives how many were accepted.
    fn check_all(alphabet: &[u8], longest: u32) -> usize {
        let mut accepted = 0;
        for length in 0..=longest {
            for number in 0..alphabet.len().pow(length) {
                let letters = (0..length).map(|i| alphabet[number / alphabet.len().pow(i) % alphabet.len()]);
                let text: Vec<u8> = letters.collect();
                accepted += usize::from(check(&text));
            }
        }
        accepted
    }

    #[test]
    fn all_short_numbers() {
        assert!(check_all(b"-0.1eE+", 6) > 500);
    }

    #[test]
    fn all_short_structures() {
        assert!(check_all(b"[]{},:1 ", 6) > 100);
        assert!(check_all(b"[]{},:\"", 6) > 100);
    }

    #[test]
    fn all_short_strings() {
        // Inside of quotes, since otherwise hardly one is a string.
        let alphabet = b"\\\"ua0G\x1f\xc3";
        let mut accepted = 0;
        for number in 0..8usize.pow(6) {
            let inner: Vec<u8> = (0..6).map(|i| alphabet[number >> (3 * i) & 7]).collect();
            accepted += usize::from(check(&[b"\"", &inner[..], b"\""].concat()));
        }
        assert!(accepted > 1000);
    }

    #[test]
    fn literals_cut_and_changed() {
        for literal in ["true", "false", "null"] {
            assert!(check(literal.as_bytes()));
            for at in 0..literal.len() {
                assert!(!check(&literal.as_bytes()[..at]));
                let mut other = literal.as_bytes().to_vec();
                other[at] ^= 0x20;
                assert!(!check(&other));
            }
            assert!(!check(format!("{literal}s").as_bytes()));
        }
    }

    #[test]
    fn nesting_is_remembered_at_any_depth() {
        for levels in [1, 63, 64, 65, 127, 128, 129, 1000] {
            let open: String = (0..levels).map(|i| if i % 3 == 0 { "[" } else { "{\"\":" }).collect();
            let close: String = (0..levels).rev().map(|i| if i % 3 == 0 { "]" } else { "}" }).collect();
            let text = format!("{open}0{close}");
            let mut skipper = Skipper::new(text.as_bytes());
            assert_eq!(skipper.value_of_any_depth(), Ok(()));
            assert!(skipper.at_end());
            let bounded = Skipper::new(text.as_bytes()).value(0);
            assert_eq!(bounded.is_ok(), levels <= DEPTH_MAX);
            for at in 0..close.len() {
                let mut other = text.clone().into_bytes();
                other[text.len() - 1 - at] ^= b']' ^ b'}';
                let fault = Skipper::new(&other).value_of_any_depth();
                assert_eq!(fault, Err(Fault::Syntax(text.len() - 1 - at)));
            }
        }
    }
}
