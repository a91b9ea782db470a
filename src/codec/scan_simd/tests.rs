//! All three ways against the rules read byte by byte.

use super::*;

/// The rules of RFC 8259 §7 byte by byte.
fn reference(bytes: &[u8], from: usize) -> Result<(usize, bool), usize> {
    let mut pos = from;
    let mut escaped = false;
    loop {
        let &byte = bytes.get(pos).ok_or(pos)?;
        pos += 1;
        match byte {
            b'"' => return Ok((pos, escaped)),
            b'\\' => {
                escaped = true;
                match *bytes.get(pos).ok_or(pos)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => pos += 1,
                    b'u' => match not_four_digits(bytes, pos + 1) {
                        Some(at) => return Err(at),
                        None => pos += 5,
                    },
                    _ => return Err(pos),
                }
            }
            0..0x20 => return Err(pos - 1),
            _ => {}
        }
    }
}

/// All ways give what the reference gives.
fn check(bytes: &[u8], from: usize) {
    let expected = reference(bytes, from);
    let mut ways = vec![("portable", walk::<portable::Block>(bytes, from)), ("best", string(bytes, from))];
    #[cfg(target_arch = "x86_64")]
    ways.push(("sse2", x86::string_sse2(bytes, from)));
    for (way, found) in ways {
        let shown = bytes.escape_ascii();
        if let (Ok(end), Ok((after, _))) = (&found, expected) {
            assert!(end.high || bytes[from..after].is_ascii(), "{way}: {shown}");
            assert!(!end.high || !bytes[from..].is_ascii(), "{way}: {shown}");
        }
        let found = found.map(|end| (end.after, end.escaped));
        assert_eq!(found.map_err(|at| at.min(bytes.len())), expected, "{way} from {from}: {shown}");
    }
}

#[test]
fn each_byte_at_each_place_of_a_block() {
    for byte in 0..=255 {
        for at in [0, 1, 15, 16, 17, 31, 32, 62, 63, 64, 65, 127, 128, 140] {
            let mut text = [b'a'; 150];
            text[at] = byte;
            check(&text, 0);
            text[149] = b'"';
            check(&text, 0);
            if at > 0 {
                text[at - 1] = b'\\';
                check(&text, 0);
                check(&text[..at], 0);
                check(&text, at);
            }
        }
    }
}

#[test]
fn runs_of_backslashes_across_blocks() {
    for start in (0..10).chain(50..70).chain(120..130) {
        for run in 0..140 {
            for last in [b'"', b'n', b'x', b'u', b'\\', 0] {
                let text =
                    [&vec![b'a'; start][..], &vec![b'\\'; run], &[last], br#"00e9 tail" more "#].concat();
                check(&text, 0);
            }
        }
    }
}

#[test]
fn random_text_that_is_dense_in_what_matters() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % bound
    };
    let alphabets: [&[u8]; 4] = [
        br#"\\\\"nu0Ff/ab"#,
        b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\n\xc3\xa9",
        b"\\u00e9\\uDEADabc",
        b"\\n\\\\\\\"abcdefgh\x1f\x20\x7f\x80",
    ];
    for round in 0..20_000 {
        let alphabet = alphabets[round % alphabets.len()];
        let mut text: Vec<u8> = Vec::new();
        for _ in 0..next(300) {
            match next(20) {
                0 => text.extend_from_slice(b"\\u12aB"),
                1 => text.extend_from_slice(b"\\\""),
                _ => text.push(alphabet[next(alphabet.len())]),
            }
        }
        text.extend_from_slice(if next(4) == 0 { b"" } else { b"\"," });
        check(&text, next(text.len() + 1));
    }
}

#[test]
fn a_short_chunk() {
    for byte in 0..=255u8 {
        for at in 0..SHORT {
            let mut chunk = [b' '; SHORT];
            chunk[at] = byte;
            let stop = byte == b'"' || byte == b'\\' || byte < 0x20;
            let expected = (u32::from(stop) << at, byte >= 0x80);
            assert_eq!(short(&chunk), expected);
            assert_eq!(portable::short(&chunk), expected);
        }
    }
}
