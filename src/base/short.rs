//! [`ShortBytes`]: a small byte string that needs no allocation.

use std::fmt;

const INLINE_MAX: usize = 23;

/// Bytes kept inline up to 23 of them; ids and tokens nearly always fit.
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
            inline[..bytes.len()].copy_from_slice(bytes);
            ShortBytes(Repr::Inline { len: bytes.len() as u8, bytes: inline })
        } else {
            ShortBytes(Repr::Heap(bytes.into()))
        }
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
