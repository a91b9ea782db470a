//! FNV-1a, 64 bits: names of files and folders, the same on every machine and for ever. Nothing that a stranger
//! must not be able to meet.

/// Of the bytes.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    hash(bytes.iter().copied())
}

/// Of texts, each ended by a byte that UTF-8 has not, so that where one ends counts.
pub fn fnv1a_of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    hash(parts.into_iter().flat_map(|part| part.iter().copied().chain([0xff])))
}

fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Published test vectors of the function.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn where_a_part_ends_counts() {
        assert_eq!(fnv1a_of_parts([&b"foo"[..], b"bar"]), fnv1a(b"foo\xffbar\xff"));
        assert_ne!(fnv1a_of_parts([&b"ab"[..], b""]), fnv1a_of_parts([&b"a"[..], b"b"]));
    }
}
