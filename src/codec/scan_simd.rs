//! Finds the end of a run of plain string bytes, 16 at a time where the machine can.
//!
//! The only file of the codec with `unsafe`: unaligned SIMD loads. The portable twin is compiled
//! everywhere and tested against it.

/// Index of the first byte at or after `at` that is a quote, a backslash or a control character
/// (below 0x20); `bytes.len()` if there is none.
#[inline]
pub(super) fn plain_end(bytes: &[u8], at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        sse2::plain_end(bytes, at)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        portable(bytes, at)
    }
}

/// The same, eight bytes at a time in a plain register.
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
pub(super) fn portable(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        let quotes = zero_bytes(word ^ (ONES * u64::from(b'"')));
        let slashes = zero_bytes(word ^ (ONES * u64::from(b'\\')));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let hits = quotes | slashes | controls;
        if hits != 0 {
            // The lowest hit is exact: borrows only travel upwards.
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    tail(bytes, at)
}

fn tail(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).map_or(bytes.len(), |n| at + n)
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_max_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    #[inline]
    pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
        while at + 64 <= bytes.len() {
            let [a, b, c, d] = [0, 16, 32, 48].map(|n| hits(bytes, at + n));
            if a | b | c | d != 0 {
                let mask = u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48;
                return at + mask.trailing_zeros() as usize;
            }
            at += 64;
        }
        while at + 16 <= bytes.len() {
            let mask = hits(bytes, at);
            if mask != 0 {
                return at + mask.trailing_zeros() as usize;
            }
            at += 16;
        }
        super::tail(bytes, at)
    }

    /// One bit per byte of `bytes[at..at + 16]` that ends a plain run. The range must be in bounds.
    #[inline(always)]
    fn hits(bytes: &[u8], at: usize) -> u32 {
        let chunk = &bytes[at..at + 16];
        // SAFETY: `chunk` is 16 readable bytes and the load asks for no alignment; SSE2 is part of
        // every x86_64 machine.
        unsafe {
            let block = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
            let quote = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'"' as i8));
            let slash = _mm_cmpeq_epi8(block, _mm_set1_epi8(b'\\' as i8));
            let limit = _mm_set1_epi8(0x1f);
            // Unsigned `byte <= 0x1f` is `max(byte, 0x1f) == 0x1f`.
            let control = _mm_cmpeq_epi8(_mm_max_epu8(block, limit), limit);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control)) as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_twins_find_what_a_plain_search_finds() {
        let mut seed = 7u32;
        for len in 0..200 {
            let mut bytes = vec![b'a'; len];
            for round in 0..40 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if len > 0 {
                    let at = seed as usize / 256 % len;
                    bytes[at] = [b'"', b'\\', 0x1f, 0x20, 0x7f, 0x80, 0xff, 0, b'a', b'#', b'!'][round % 11];
                }
                for at in [0, len / 3, len] {
                    let plain = tail(&bytes, at);
                    assert_eq!(plain_end(&bytes, at), plain);
                    assert_eq!(portable(&bytes, at), plain);
                }
            }
        }
    }
}
