//! Strings, many bytes at a time: where one ends, and whether all in between is allowed there.

/// Bytes looked at by [`short`].
pub(super) const SHORT: usize = 16;

/// Where a string ended.
pub(super) struct StringEnd {
    /// Offset after the closing quote.
    pub(super) after: usize,
    /// Whether it holds escapes.
    pub(super) escaped: bool,
    /// Whether bytes of 0x80 or more may be in it.
    pub(super) high: bool,
}

/// A bit for each byte that is not a plain character of a string: a quote, a backslash or a control
/// character; and whether there may be bytes of 0x80 or more.
#[inline(always)]
pub(super) fn short(chunk: &[u8; SHORT]) -> (u32, bool) {
    let mut stops = 0;
    let mut high = 0;
    for (i, &byte) in chunk.iter().enumerate() {
        stops |= u32::from(byte == b'"' || byte == b'\\' || byte < 0x20) << i;
        high |= byte;
    }
    (stops, high >= 0x80)
}

/// Finds the end of the string whose opening quote is before `from`.
///
/// # Errors
/// The offset of the first byte that may not be there; the length of `bytes` or more if the string
/// does not end.
pub(super) fn string(bytes: &[u8], from: usize) -> Result<StringEnd, usize> {
    let mut pos = from;
    let mut escaped = false;
    let mut high = 0;
    loop {
        let &byte = bytes.get(pos).ok_or(pos)?;
        high |= byte;
        pos += 1;
        match byte {
            b'"' => return Ok(StringEnd { after: pos, escaped, high: high >= 0x80 }),
            b'\\' => {
                escaped = true;
                let &kind = bytes.get(pos).ok_or(pos)?;
                match kind {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => pos += 1,
                    b'u' => pos = hex_end(bytes, pos + 1)?,
                    _ => return Err(pos),
                }
            }
            0..0x20 => return Err(pos - 1),
            _ => {}
        }
    }
}

/// The offset after the four hexadecimal digits at `from`.
fn hex_end(bytes: &[u8], from: usize) -> Result<usize, usize> {
    for at in from..from + 4 {
        if !bytes.get(at).is_some_and(u8::is_ascii_hexdigit) {
            return Err(at);
        }
    }
    Ok(from + 4)
}
