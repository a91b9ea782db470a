//! WebSocket frames, as a client writes and a server must write them (RFC 6455 §5).

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Close,
    Ping,
    Pong,
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no frame is begun.
    pub fn is_whole(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next frame: of a server, so unmasked; in one piece, since muxloop writes none in several.
    pub fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, String> {
        let [first, second, ..] = self.bytes[..] else { return Ok(None) };
        let kind = match first {
            0x81 => Kind::Text,
            0x88 => Kind::Close,
            0x89 => Kind::Ping,
            0x8a => Kind::Pong,
            other => return Err(format!("a frame that begins with {other:#x}")),
        };
        let (at, least) = match second {
            0..=125 => (2, 0),
            126 => (4, 126),
            127 => (10, 1 << 16),
            _ => return Err("a masked frame of a server".into()),
        };
        if kind != Kind::Text && second > 125 {
            return Err(format!("a long frame of kind {kind:?}"));
        }
        if self.bytes.len() < at {
            return Ok(None);
        }
        let length = match at {
            2 => usize::from(second),
            _ => self.bytes[2..at].iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)),
        };
        if length < least {
            return Err(format!("a length of {length} in {at} bytes"));
        }
        if self.bytes.len() < at + length {
            return Ok(None);
        }
        let payload = self.bytes.drain(..at + length).skip(at).collect();
        Ok(Some((kind, payload)))
    }
}

/// A message of a client, masked, in frames that end where `cuts` say.
pub(super) fn message(text: &[u8], mask: [u8; 4], cut: usize) -> Vec<u8> {
    let cut = cut.min(text.len());
    if cut == 0 {
        return frame(0x81, text, mask);
    }
    // A control frame may come between the pieces.
    [frame(0x01, &text[..cut], mask), frame(0x89, b"?", mask), frame(0x80, &text[cut..], mask)].concat()
}

/// One masked frame.
pub(super) fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(0x80 | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_server_are_read_strictly() {
        let mut reader = Reader::default();
        reader.feed(b"\x81\x02{}\x89\x00\x88\x02\x03\xe8");
        assert_eq!(reader.next(), Ok(Some((Kind::Text, b"{}".to_vec()))));
        assert_eq!(reader.next(), Ok(Some((Kind::Ping, Vec::new()))));
        assert_eq!(reader.next(), Ok(Some((Kind::Close, vec![3, 0xe8]))));
        assert!(reader.is_whole());
        for wrong in
            [&b"\x82\x00"[..], b"\x01\x00", b"\xc1\x00", b"\x81\x80", b"\x81\x7e\x00\x7d", b"\x89\x7e"]
        {
            let mut reader = Reader::default();
            reader.feed(wrong);
            assert!(reader.next().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn frames_of_a_client_are_masked() {
        assert_eq!(frame(0x81, b"ab", [1, 2, 3, 4]), b"\x81\x82\x01\x02\x03\x04\x60\x60");
        assert_eq!(message(b"ab", [0; 4], 1), b"\x01\x81\0\0\0\0a\x89\x81\0\0\0\0?\x80\x81\0\0\0\0b");
    }
}
