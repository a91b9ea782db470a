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
        self.space();
        self.expect(b':')?;
        self.space();
        Ok((start, end, escaped))
    }

    /// After a value in a container: `true` after a comma, with a further value or key next; `false`
    /// after the closing bracket `close`.
    #[inline(always)]
    pub(super) fn another(&mut self, close: u8) -> Result<bool, Fault> {
        self.space();
        let byte = self.peek();
        if byte != b',' && byte != close {
            return self.fault();
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
