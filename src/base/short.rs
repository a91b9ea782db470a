//! [`ShortBytes`]: a small byte string that needs no allocation.

use std::fmt;

/// With it, a [`ShortBytes`] and an `Option` of one fill 24 bytes.
const INLINE_MAX: usize = 22;

/// Bytes kept inline up to 22 of them; ids and tokens nearly always fit.
#[derive(Clone)]
pub struct ShortBytes(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(Box<[u8]>),
}

impl ShortBytes {
    /// A copy of `bytes`.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE_MAX {
            let mut inline = [0; INLINE_MAX];
            copy(&mut inline, bytes);
            ShortBytes(Repr::Inline { len: bytes.len() as u8, bytes: inline })
        } else {
            ShortBytes(Repr::Heap(bytes.into()))
        }
    }
}

/// Copies by two pieces of fixed size that may overlap, which needs no call of `memcpy`.
#[inline(always)]
fn copy(to: &mut [u8; INLINE_MAX], bytes: &[u8]) {
    match bytes.len() {
        0..4 => {
            for (to, &from) in to.iter_mut().zip(bytes).take(3) {
                *to = from;
            }
        }
        4..8 => two_pieces::<4>(to, bytes),
        8..16 => two_pieces::<8>(to, bytes),
        _ => two_pieces::<16>(to, bytes),
    }
}

#[inline(always)]
fn two_pieces<const N: usize>(to: &mut [u8; INLINE_MAX], bytes: &[u8]) {
    let n = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        to[..N].copy_from_slice(first);
        to[n - N..n].copy_from_slice(last);
    }
}

impl std::ops::Deref for ShortBytes {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for ShortBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ShortBytes {}

impl fmt::Debug for ShortBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_short_and_long_bytes() {
        for len in [0, 1, 22, 23, 24, 1000] {
            let bytes = vec![b'x'; len];
            assert_eq!(*ShortBytes::new(&bytes), bytes[..]);
        }
    }
}
