//! Strings, many bytes at a time: where one ends, and whether all in between may stand there.
//!
//! One algorithm over blocks of 64 bytes, each turned into one bit per byte; three ways to make the
//! bits: AVX2, SSE2 and plain integers. The last one is the reference that the others are tested
//! against, and what other architectures run.
//!
//! ```text
//!   bytes      say \"hi\\" , "id"      (the string starts before the first byte)
//!   quote      .....1....1...1..1
//!   backslash  ....1...11........
//!   escaped    .....1...1........      after a backslash that is not escaped itself
//!   end        ..........1.......      first quote that is not escaped
//! ```

/// Bytes looked at by [`short`].
pub(super) const SHORT: usize = 16;

/// Bytes of a block: one bit of a `u64` for each.
const BLOCK: usize = 64;

/// Where a string ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StringEnd {
    /// Offset after the closing quote.
    pub(super) after: usize,
    /// Whether escapes are in it.
    pub(super) escaped: bool,
    /// Whether bytes of 0x80 or more may be in it (a block may show what comes after the end).
    pub(super) high: bool,
}

/// A bit for each byte that is not a plain character of a string: a quote, a backslash or a control
/// character; and whether there are bytes of 0x80 or more.
#[inline(always)]
pub(super) fn short(chunk: &[u8; SHORT]) -> (u32, bool) {
    #[cfg(target_arch = "x86_64")]
    return x86::short(chunk);
    #[cfg(not(target_arch = "x86_64"))]
    return portable::short(chunk);
}

/// Finds the end of the string whose opening quote is before `from`.
///
/// # Errors
/// The offset of the first byte that may not be there; the length of `bytes` or more if the string
/// does not end.
pub(super) fn string(bytes: &[u8], from: usize) -> Result<StringEnd, usize> {
    #[cfg(target_arch = "x86_64")]
    return x86::string(bytes, from);
    #[cfg(not(target_arch = "x86_64"))]
    return walk::<portable::Block>(bytes, from);
}

/// 64 bytes of text.
trait Block: Copy {
    fn load(bytes: &[u8; BLOCK]) -> Self;
    /// Whether any byte is a quote, a backslash or a control character.
    fn any_stop(self) -> bool;
    /// The bytes equal to `byte`.
    fn equal(self, byte: u8) -> u64;
    /// The bytes that may follow a backslash, but for `u`.
    ///
    /// The parts are to be joined before they become bits: from several such masks joined the compiler
    /// makes code that moves byte by byte, at a twentieth of the speed. Letters that differ in one bit
    /// are found in pairs.
    fn escape_letter(self) -> u64;
    /// The bytes below 0x20.
    fn control(self) -> u64;
    /// Whether any byte is 0x80 or more.
    fn any_high(self) -> bool;
}

#[inline(always)]
fn walk<B: Block>(bytes: &[u8], from: usize) -> Result<StringEnd, usize> {
    let mut pos = from;
    let mut escaped = false;
    let mut high = false;
    // Whether the next block starts with an escaped byte.
    let mut carry = 0;
    loop {
        let rest = bytes.get(pos..).unwrap_or_default();
        let block = match rest.first_chunk() {
            Some(chunk) => B::load(chunk),
            None => {
                // Zeroes are control characters: the end of the text is where they are found.
                let mut padded = [0; 2 * BLOCK];
                match bytes.last_chunk::<BLOCK>() {
                    // Most texts are long enough to copy a whole block, which needs no call.
                    Some(last) => padded[..BLOCK].copy_from_slice(last),
                    None => padded[BLOCK - rest.len()..BLOCK].copy_from_slice(rest),
                }
                B::load(padded[BLOCK - rest.len()..].first_chunk().expect("a block"))
            }
        };
        high |= block.any_high();
        if block.any_stop() || carry != 0 {
            let quote = block.equal(b'"');
            let backslash = block.equal(b'\\');
            let mut after_backslash = 0;
            if backslash | carry != 0 {
                (after_backslash, carry) = escaped_bytes(backslash, carry);
            }
            let end = quote & !after_backslash;
            // All bytes before the end, or all.
            let inside = end.wrapping_sub(1) & !end;
            let mut wrong = block.control() & inside;
            let mut wrong_digit = None;
            if after_backslash & inside != 0 {
                escaped = true;
                let other = after_backslash & inside & !block.escape_letter();
                if other != 0 {
                    let unicode = block.equal(b'u') & other;
                    wrong |= other & !unicode;
                    wrong_digit = not_digits_after(bytes, pos, unicode);
                }
            }
            if wrong != 0 || wrong_digit.is_some() {
                let letter = (wrong != 0).then(|| pos + wrong.trailing_zeros() as usize);
                return Err(letter.into_iter().chain(wrong_digit).min().expect("one of them"));
            }
            if end != 0 {
                return Ok(StringEnd { after: pos + end.trailing_zeros() as usize + 1, escaped, high });
            }
        }
        pos += BLOCK;
    }
}

/// The bytes after a backslash that is not escaped itself, and whether the next block starts with one.
/// `carry` is 1 if this block does.
#[inline(always)]
fn escaped_bytes(backslash: u64, carry: u64) -> (u64, u64) {
    let mut escaped = carry;
    let mut escaping = backslash & !carry;
    if escaping & (escaping << 1) != 0 {
        // Some are neighbours: in each run, every second one is escaped.
        let mut rest = escaping;
        escaping = 0;
        while rest != 0 {
            let first = rest & rest.wrapping_neg();
            escaping |= first;
            rest &= !(first | first << 1);
        }
    }
    escaped |= escaping << 1;
    (escaped, escaping >> 63)
}

/// The first byte that is not a digit of a `\u` escape whose `u` is in `unicode`, bit 0 being at `pos`.
#[inline(always)]
fn not_digits_after(bytes: &[u8], pos: usize, mut unicode: u64) -> Option<usize> {
    while unicode != 0 {
        let wrong = not_four_digits(bytes, pos + unicode.trailing_zeros() as usize + 1);
        if wrong.is_some() {
            return wrong;
        }
        unicode &= unicode - 1;
    }
    None
}

/// The first of the four bytes at `from` that is not a hexadecimal digit.
#[inline(always)]
fn not_four_digits(bytes: &[u8], from: usize) -> Option<usize> {
    if let Some(digits) = bytes.get(from..).and_then(|rest| rest.first_chunk::<4>())
        && digits.iter().all(u8::is_ascii_hexdigit)
    {
        return None;
    }
    (from..from + 4).find(|&at| !bytes.get(at).is_some_and(u8::is_ascii_hexdigit))
}

/// Eight bytes in each integer.
#[cfg_attr(all(target_arch = "x86_64", not(test)), allow(dead_code))]
mod portable {
    use super::BLOCK;

    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const LOW7: u64 = u64::from_ne_bytes([0x7f; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

    #[derive(Clone, Copy)]
    pub(super) struct Block([u64; BLOCK / 8]);

    impl Block {
        /// One bit for each byte whose highest bit is set by `mark`.
        #[inline(always)]
        fn bits(self, mark: impl Fn(u64) -> u64) -> u64 {
            self.0.iter().rev().fold(0, |bits, &word| {
                // The product gathers bit 7 of byte i in bit 56 + i; no two partial products meet.
                let eight = ((mark(word) & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
                bits << 8 | eight
            })
        }
    }

    /// Marks the zero bytes of `word`, exactly.
    #[inline(always)]
    fn zero(word: u64) -> u64 {
        !(((word & LOW7) + LOW7) | word)
    }

    #[inline(always)]
    fn equal(word: u64, byte: u8) -> u64 {
        zero(word ^ (ONES * u64::from(byte)))
    }

    #[inline(always)]
    fn control(word: u64) -> u64 {
        zero(word & (ONES * 0xe0))
    }

    impl super::Block for Block {
        #[inline(always)]
        fn load(bytes: &[u8; BLOCK]) -> Self {
            let (words, _) = bytes.as_chunks::<8>();
            Block(std::array::from_fn(|i| u64::from_le_bytes(words[i])))
        }
        #[inline(always)]
        fn any_stop(self) -> bool {
            let stop = |word: u64| equal(word, b'"') | equal(word, b'\\') | control(word);
            self.0.iter().fold(0, |all, &word| all | stop(word)) & HIGH != 0
        }
        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            self.bits(|word| equal(word, byte))
        }
        #[inline(always)]
        fn escape_letter(self) -> u64 {
            self.bits(|word| {
                let pair = |one: u8, other: u8| equal(word | (ONES * u64::from(one ^ other)), one | other);
                let plain = equal(word, b'"') | equal(word, b'\\') | equal(word, b'/');
                plain | equal(word, b't') | pair(b'n', b'f') | pair(b'b', b'r')
            })
        }
        #[inline(always)]
        fn control(self) -> u64 {
            self.bits(control)
        }
        #[inline(always)]
        fn any_high(self) -> bool {
            self.0.iter().fold(0, |all, word| all | word) & HIGH != 0
        }
    }

    #[inline(always)]
    pub(super) fn short(chunk: &[u8; super::SHORT]) -> (u32, bool) {
        let mut padded = [b' '; BLOCK];
        padded[..super::SHORT].copy_from_slice(chunk);
        let block: Block = super::Block::load(&padded);
        let stops = super::Block::equal(block, b'"') | super::Block::equal(block, b'\\');
        ((stops | super::Block::control(block)) as u32, super::Block::any_high(block))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{BLOCK, SHORT, StringEnd, walk};

    pub(super) fn string(bytes: &[u8], from: usize) -> Result<StringEnd, usize> {
        // The answer is cached by the standard library: a load and a test each.
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
            // SAFETY: the processor has AVX2 and BMI1, which is all the function asks for.
            unsafe { string_avx2(bytes, from) }
        } else {
            string_sse2(bytes, from)
        }
    }

    #[target_feature(enable = "avx2,bmi1")]
    fn string_avx2(bytes: &[u8], from: usize) -> Result<StringEnd, usize> {
        walk::<Avx2>(bytes, from)
    }

    pub(super) fn string_sse2(bytes: &[u8], from: usize) -> Result<StringEnd, usize> {
        walk::<Sse2>(bytes, from)
    }

    #[inline(always)]
    pub(super) fn short(chunk: &[u8; SHORT]) -> (u32, bool) {
        let block = load16(chunk);
        let stops = stops16(block);
        // SAFETY: SSE2 is part of x86_64.
        unsafe { (_mm_movemask_epi8(stops) as u32, _mm_movemask_epi8(block) != 0) }
    }

    #[inline(always)]
    fn load16(chunk: &[u8; SHORT]) -> __m128i {
        // SAFETY: 16 bytes may be read there, at any alignment; SSE2 is part of x86_64.
        unsafe { _mm_loadu_si128(chunk.as_ptr().cast()) }
    }

    /// All bits of the bytes that are quotes, backslashes or control characters.
    #[inline(always)]
    fn stops16(block: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86_64.
        unsafe {
            let quote = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\\' as i8));
            _mm_or_si128(_mm_or_si128(quote, backslash), control16(block))
        }
    }

    #[inline(always)]
    fn control16(block: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86_64.
        unsafe {
            let last = _mm_set1_epi8(0x1f);
            _mm_cmpeq_epi8(_mm_max_epu8(block, last), last)
        }
    }

    #[inline(always)]
    fn escape_letter16(block: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86_64.
        unsafe {
            let equal = |bytes, byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
            let or = |a, b| _mm_or_si128(a, b);
            let pair = |one: u8, other: u8| equal(or(block, _mm_set1_epi8((one ^ other) as i8)), one | other);
            let plain = or(or(equal(block, b'"'), equal(block, b'\\')), equal(block, b'/'));
            or(plain, or(or(equal(block, b't'), pair(b'n', b'f')), pair(b'b', b'r')))
        }
    }

    #[derive(Clone, Copy)]
    struct Sse2([__m128i; 4]);

    impl Sse2 {
        #[inline(always)]
        fn bits(self, mark: impl Fn(__m128i) -> __m128i) -> u64 {
            self.0.iter().rev().fold(0, |bits, &part| {
                // SAFETY: SSE2 is part of x86_64.
                bits << 16 | u64::from(unsafe { _mm_movemask_epi8(mark(part)) } as u16)
            })
        }
        /// Whether the highest bit of any byte is set in the union of the parts.
        #[inline(always)]
        fn any(self, mark: impl Fn(__m128i) -> __m128i) -> bool {
            let [a, b, c, d] = self.0.map(mark);
            // SAFETY: SSE2 is part of x86_64.
            unsafe { _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) != 0 }
        }
    }

    impl super::Block for Sse2 {
        #[inline(always)]
        fn load(bytes: &[u8; BLOCK]) -> Self {
            let (chunks, _) = bytes.as_chunks::<SHORT>();
            Sse2([load16(&chunks[0]), load16(&chunks[1]), load16(&chunks[2]), load16(&chunks[3])])
        }
        #[inline(always)]
        fn any_stop(self) -> bool {
            self.any(stops16)
        }
        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            // SAFETY: SSE2 is part of x86_64.
            self.bits(|part| unsafe { _mm_cmpeq_epi8(part, _mm_set1_epi8(byte as i8)) })
        }
        #[inline(always)]
        fn escape_letter(self) -> u64 {
            self.bits(escape_letter16)
        }
        #[inline(always)]
        fn control(self) -> u64 {
            self.bits(control16)
        }
        #[inline(always)]
        fn any_high(self) -> bool {
            self.any(|part| part)
        }
    }

    /// Only made, and its methods only called, in `string_avx2`: there the processor has AVX2. They are
    /// inlined into it, and so compiled for it; a closure in here would not be.
    #[derive(Clone, Copy)]
    struct Avx2(__m256i, __m256i);

    impl Avx2 {
        #[inline(always)]
        fn bits(self) -> u64 {
            // SAFETY: the processor has AVX2, see `Avx2`.
            let (low, high) = unsafe { (_mm256_movemask_epi8(self.0), _mm256_movemask_epi8(self.1)) };
            u64::from(low as u32) | u64::from(high as u32) << 32
        }
        #[inline(always)]
        fn any(self) -> bool {
            // SAFETY: the processor has AVX2, see `Avx2`.
            unsafe { _mm256_movemask_epi8(_mm256_or_si256(self.0, self.1)) != 0 }
        }
        #[inline(always)]
        fn or(self, other: Avx2) -> Avx2 {
            // SAFETY: the processor has AVX2, see `Avx2`.
            unsafe { Avx2(_mm256_or_si256(self.0, other.0), _mm256_or_si256(self.1, other.1)) }
        }
        #[inline(always)]
        fn mark_equal(self, byte: u8) -> Avx2 {
            // SAFETY: the processor has AVX2, see `Avx2`.
            unsafe {
                let byte = _mm256_set1_epi8(byte as i8);
                Avx2(_mm256_cmpeq_epi8(self.0, byte), _mm256_cmpeq_epi8(self.1, byte))
            }
        }
        #[inline(always)]
        fn mark_control(self) -> Avx2 {
            // SAFETY: the processor has AVX2, see `Avx2`.
            unsafe {
                let last = _mm256_set1_epi8(0x1f);
                let greatest = (_mm256_max_epu8(self.0, last), _mm256_max_epu8(self.1, last));
                Avx2(_mm256_cmpeq_epi8(greatest.0, last), _mm256_cmpeq_epi8(greatest.1, last))
            }
        }
    }

    /// All bits of the bytes that are none of `"` `/` `\` `b` `f` `n` `r` `t`, by two tables: one tells by
    /// its low half which high halves a letter may have, as a set; the other makes a set of the high half.
    #[inline(always)]
    unsafe fn no_escape_letter(block: __m256i) -> __m256i {
        const HIGH_2: i8 = 1;
        const HIGH_5: i8 = 2;
        const HIGH_6: i8 = 4;
        const HIGH_7: i8 = 8;
        // SAFETY: the processor has AVX2, see `Avx2`.
        unsafe {
            let by_low = _mm_setr_epi8(
                0,
                0,
                HIGH_2 | HIGH_6 | HIGH_7,
                0,
                HIGH_7,
                0,
                HIGH_6,
                0, //
                0,
                0,
                0,
                0,
                HIGH_5,
                0,
                HIGH_6,
                HIGH_2,
            );
            let by_high = _mm_setr_epi8(0, 0, HIGH_2, 0, 0, HIGH_5, HIGH_6, HIGH_7, 0, 0, 0, 0, 0, 0, 0, 0);
            // A byte of 0x80 or more selects zero.
            let allowed = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_low), block);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(block), _mm256_set1_epi8(0x0f));
            let is = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_high), high);
            _mm256_cmpeq_epi8(_mm256_and_si256(allowed, is), _mm256_setzero_si256())
        }
    }

    impl super::Block for Avx2 {
        #[inline(always)]
        fn load(bytes: &[u8; BLOCK]) -> Self {
            let start: *const __m256i = bytes.as_ptr().cast();
            // SAFETY: 64 bytes may be read there, at any alignment; the processor has AVX2, see `Avx2`.
            unsafe { Avx2(_mm256_loadu_si256(start), _mm256_loadu_si256(start.add(1))) }
        }
        #[inline(always)]
        fn any_stop(self) -> bool {
            self.mark_equal(b'"').or(self.mark_equal(b'\\')).or(self.mark_control()).any()
        }
        #[inline(always)]
        fn equal(self, byte: u8) -> u64 {
            self.mark_equal(byte).bits()
        }
        #[inline(always)]
        fn escape_letter(self) -> u64 {
            // SAFETY: the processor has AVX2, see `Avx2`.
            !Avx2(unsafe { no_escape_letter(self.0) }, unsafe { no_escape_letter(self.1) }).bits()
        }
        #[inline(always)]
        fn control(self) -> u64 {
            self.mark_control().bits()
        }
        #[inline(always)]
        fn any_high(self) -> bool {
            self.any()
        }
    }
}

#[cfg(test)]
mod tests;
