//! JSON skipper: validates one value and tells where it ends (RFC 8259), without recursion or DOM;
//! and, for cold paths, plain readers of strings and members.

use crate::base::limits::DEPTH_MAX;
use crate::codec::scan_simd::plain_end;
use crate::codec::{ScanErrorKind, Span};
use std::borrow::Cow;

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    pub kind: ScanErrorKind,
    pub at: usize,
}

type Result<T> = std::result::Result<T, JsonError>;

pub(super) fn syntax<T>(at: usize) -> Result<T> {
    Err(JsonError { kind: ScanErrorKind::Syntax, at })
}

/// First index at or after `at` that is not JSON white space.
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// End of the value that starts at `at`, which lies `depth` containers deep.
#[inline]
pub(super) fn skip_value(bytes: &[u8], at: usize, depth: usize) -> Result<usize> {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'{' | b'[') => skip_container(bytes, at, depth),
        Some(b'-' | b'0'..=b'9') => skip_number(bytes, at),
        Some(b't') => skip_literal(bytes, at, b"true"),
        Some(b'f') => skip_literal(bytes, at, b"false"),
        Some(b'n') => skip_literal(bytes, at, b"null"),
        _ => syntax(at),
    }
}

/// The stack is one bit per open container, 1 for an object: `DEPTH_MAX` is what a `u128` holds.
fn skip_container(bytes: &[u8], mut at: usize, depth: usize) -> Result<usize> {
    let mut objects: u128 = 0;
    let mut level = 0;
    loop {
        // `at` is the first byte of a value.
        match bytes.get(at) {
            Some(open @ (b'{' | b'[')) => {
                if depth + level >= DEPTH_MAX {
                    return Err(JsonError { kind: ScanErrorKind::TooDeep, at });
                }
                let is_object = *open == b'{';
                at = skip_space(bytes, at + 1);
                let close = if is_object { b'}' } else { b']' };
                if bytes.get(at) == Some(&close) {
                    at += 1;
                } else {
                    level += 1;
                    objects = objects << 1 | u128::from(is_object);
                    if is_object {
                        at = skip_key(bytes, at)?;
                    }
                    continue;
                }
            }
            _ => at = skip_value(bytes, at, depth)?,
        }
        // `at` is past a value.
        loop {
            if level == 0 {
                return Ok(at);
            }
            at = skip_space(bytes, at);
            let in_object = objects & 1 == 1;
            match bytes.get(at) {
                Some(b',') => {
                    at = skip_space(bytes, at + 1);
                    if in_object {
                        at = skip_key(bytes, at)?;
                    }
                    break;
                }
                Some(b'}') if in_object => {}
                Some(b']') if !in_object => {}
                _ => return syntax(at),
            }
            at += 1;
            level -= 1;
            objects >>= 1;
        }
    }
}

/// From a key to the first byte of its value.
#[inline]
pub(super) fn skip_key(bytes: &[u8], at: usize) -> Result<usize> {
    if bytes.get(at) != Some(&b'"') {
        return syntax(at);
    }
    let at = skip_space(bytes, skip_string(bytes, at)?);
    if bytes.get(at) != Some(&b':') {
        return syntax(at);
    }
    Ok(skip_space(bytes, at + 1))
}

/// End of the string whose opening quote is at `at`.
#[inline]
pub(super) fn skip_string(bytes: &[u8], at: usize) -> Result<usize> {
    let mut at = at + 1;
    // Most keys and many values end within a few bytes: not worth a block.
    for _ in 0..12 {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => break,
            Some(0x20..) => at += 1,
            _ => return syntax(at),
        }
    }
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = skip_escape(bytes, at)?,
            _ => return syntax(at),
        }
    }
}

#[inline]
fn skip_escape(bytes: &[u8], at: usize) -> Result<usize> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => syntax(at),
        },
        _ => syntax(at),
    }
}

fn skip_number(bytes: &[u8], at: usize) -> Result<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while let Some(b'0'..=b'9') = bytes.get(at) {
            at += 1;
        }
        if at == start { syntax(at) } else { Ok(at) }
    };
    let mut end = if bytes[at] == b'-' { at + 1 } else { at };
    end = if bytes.get(end) == Some(&b'0') { end + 1 } else { digits(end)? };
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        end += 1;
        if let Some(b'+' | b'-') = bytes.get(end) {
            end += 1;
        }
        end = digits(end)?;
    }
    Ok(end)
}

fn skip_literal(bytes: &[u8], at: usize, literal: &[u8]) -> Result<usize> {
    if bytes[at..].starts_with(literal) { Ok(at + literal.len()) } else { syntax(at) }
}

/// Walks an object whose brace is at `at`: `on_member(key, value start)` gives the value's end. The key
/// is unescaped. Returns the index past the closing brace.
#[inline]
pub(super) fn walk_object(
    bytes: &[u8],
    at: usize,
    mut on_member: impl FnMut(&[u8], Span, usize) -> Result<usize>,
) -> Result<usize> {
    let mut at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return Ok(at + 1);
    }
    loop {
        let key_at = at;
        if bytes.get(at) != Some(&b'"') {
            return syntax(at);
        }
        let key_end = skip_string(bytes, at)?;
        at = skip_space(bytes, key_end);
        if bytes.get(at) != Some(&b':') {
            return syntax(at);
        }
        at = skip_space(bytes, at + 1);
        let raw = &bytes[key_at + 1..key_end - 1];
        let span = Span::new(key_at, key_end);
        at = if raw.contains(&b'\\') {
            let key = unescape(&bytes[key_at..key_end]).unwrap_or_default();
            on_member(key.as_bytes(), span, at)?
        } else {
            on_member(raw, span, at)?
        };
        at = skip_space(bytes, at);
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(b'}') => return Ok(at + 1),
            _ => return syntax(at),
        }
    }
}

/// The text of a string token (with its quotes); `None` if it is not a string. A lone surrogate, which
/// RFC 8259 lets pass, becomes U+FFFD.
pub fn unescape(token: &[u8]) -> Option<Cow<'_, str>> {
    let inner = token.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !inner.contains(&b'\\') {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = std::str::from_utf8(inner).ok()?;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = *rest.as_bytes().get(at + 1)?;
        rest = &rest[at + 2..];
        match escape {
            b'u' => {
                let (unit, after) = hex_unit(rest)?;
                rest = after;
                let low = rest
                    .strip_prefix("\\u")
                    .and_then(hex_unit)
                    .filter(|(low, _)| (0xdc00..0xe000).contains(low));
                match (unit, low) {
                    (0xd800..0xdc00, Some((low, after))) => {
                        rest = after;
                        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    _ => text.push(char::from_u32(unit).unwrap_or('\u{fffd}')),
                }
            }
            b'n' => text.push('\n'),
            b't' => text.push('\t'),
            b'r' => text.push('\r'),
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            other => text.push(char::from(other)),
        }
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

fn hex_unit(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(..4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, &text[4..]))
}

/// The value of member `name` of the object at `span`, which was scanned before.
pub fn member(bytes: &[u8], span: Span, name: &str) -> Option<Span> {
    if bytes.get(span.start()) != Some(&b'{') {
        return None;
    }
    let mut found = None;
    walk_object(bytes, span.start(), |key, _, at| {
        let end = skip_value(bytes, at, 0)?;
        if key == name.as_bytes() && found.is_none() {
            found = Some(Span::new(at, end));
        }
        Ok(end)
    })
    .ok()?;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        skip_value(text.as_bytes(), 0, 0).is_ok_and(|end| end == text.len())
    }

    #[test]
    fn takes_what_json_is_and_refuses_the_rest() {
        let good = [
            "{}",
            "[]",
            "[[]]",
            "0",
            "-0",
            "1e5",
            "1E+5",
            "-1.25e-3",
            "\"\"",
            "\"\\u00e9\\n\"",
            "true",
            "null",
            "{\"a\" : [ 1 , {\"b\":null} ]}",
            "123456789012345678901234567890",
            "1e999",
            "\"\\ud800\"",
        ];
        for text in good {
            assert!(accepts(text), "{text}");
        }
        let bad = [
            "",
            "{",
            "[",
            "]",
            "{]",
            "[}",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "tru",
            "nul",
            "truee",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\n\"",
            "\"\0\"",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{,}",
            "{\"a\":1 \"b\":2}",
            "'a'",
            "NaN",
            "\u{feff}{}",
        ];
        for text in bad {
            assert!(!accepts(text), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(accepts(&nested(DEPTH_MAX)));
        let deep = nested(DEPTH_MAX + 1);
        assert_eq!(skip_value(deep.as_bytes(), 0, 0).unwrap_err().kind, ScanErrorKind::TooDeep);
        let bomb = "{\"a\":".repeat(1_000_000);
        assert_eq!(skip_value(bomb.as_bytes(), 0, 0).unwrap_err().kind, ScanErrorKind::TooDeep);
    }

    #[test]
    fn unescapes_like_serde() {
        for token in ["\"\"", "\"plain\"", "\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\"", "\"\\u00e9\\ud83d\\ude00é\""] {
            let expected: String = serde_json::from_str(token).unwrap();
            assert_eq!(unescape(token.as_bytes()).unwrap(), expected);
        }
        assert_eq!(unescape(b"\"\\ud800x\"").unwrap(), "\u{fffd}x");
        assert_eq!(unescape(b"12"), None);
    }

    #[test]
    fn finds_members_by_their_unescaped_name() {
        let text = br#"{"x":{"b":1},"\u0062":[2]}"#;
        let span = Span::new(0, text.len());
        assert_eq!(member(text, span, "b").unwrap().of(text), b"[2]");
        assert_eq!(member(text, span, "c"), None);
    }
}
