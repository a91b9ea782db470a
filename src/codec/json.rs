//! Looking into JSON text that was scanned already, member by member: for cold paths.
//!
//! What is not well-formed ends an iteration early; nothing here panics on any bytes.

use std::borrow::Cow;

use crate::codec::Span;
use crate::codec::skip::Skipper;

/// Whether `token` is a JSON string as written, with its quotes.
pub fn is_string(token: &[u8]) -> bool {
    let mut text = Skipper::new(token);
    text.string().is_ok() && text.at_end()
}

/// The text of a JSON string, given as written with its quotes. `None` if `token` is not one, or its
/// text is not Unicode (a lone surrogate, which JSON's grammar allows).
pub fn unescape(token: &[u8]) -> Option<Cow<'_, str>> {
    if !is_string(token) {
        return None;
    }
    let written = &token[1..token.len() - 1];
    if !written.contains(&b'\\') {
        return std::str::from_utf8(written).ok().map(Cow::Borrowed);
    }
    let mut text = Vec::with_capacity(written.len());
    each_piece(written, |piece| {
        text.extend_from_slice(piece);
        Some(())
    })?;
    String::from_utf8(text).ok().map(Cow::Owned)
}

/// Like [`unescape`], without the quotes and into `room`; `None` also if it does not fit.
pub(super) fn unescape_into<'r>(written: &[u8], room: &'r mut [u8]) -> Option<&'r [u8]> {
    let mut used = 0;
    each_piece(written, |piece| {
        room.get_mut(used..used + piece.len())?.copy_from_slice(piece);
        used += piece.len();
        Some(())
    })?;
    Some(&room[..used])
}

/// Calls `put` with the pieces of the unescaped text. `None` where `put` or the text says so.
fn each_piece(written: &[u8], mut put: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let mut rest = written;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        put(&rest[..at])?;
        let plain = match rest.get(at + 1)? {
            byte @ (b'"' | b'\\' | b'/') => *byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (char, used) = unicode_escape(&rest[at..])?;
                put(char.encode_utf8(&mut [0; 4]).as_bytes())?;
                rest = &rest[at + used..];
                continue;
            }
            _ => return None,
        };
        put(&[plain])?;
        rest = &rest[at + 2..];
    }
    put(rest)
}

/// The character written as `\uXXXX` or as a pair of those at the start of `written`, and its length
/// there.
fn unicode_escape(written: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = written.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |sum, &digit| Some(sum << 4 | char::from(digit).to_digit(16)?))
    };
    let first = unit(0)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let second = unit(6).filter(|unit| (0xdc00..0xe000).contains(unit))?;
    Some((char::from_u32(0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00)))?, 12))
}

/// The members of the object at `span`, in order: the key's text, the key as written, the value.
/// Empty if there is no object. A key that is not Unicode gets the text U+FFFD.
pub fn object_members(bytes: &[u8], span: Span) -> Members<'_> {
    let (text, more) = enter(bytes, span, b'{');
    Members { bytes, text, more }
}

/// The elements of the array at `span`, in order. Empty if there is no array.
pub fn array_elements(bytes: &[u8], span: Span) -> Elements<'_> {
    let (text, more) = enter(bytes, span, b'[');
    Elements { text, more }
}

/// The value of the member `key` of the object at `span`; of several the last, which is what most
/// parsers take.
pub fn member(bytes: &[u8], span: Span, key: &str) -> Option<Span> {
    object_members(bytes, span).filter(|(name, _, _)| name == key).last().map(|(_, _, value)| value)
}

/// Steps into the container at `span`; `true` if it has that bracket and something is in it.
fn enter(bytes: &[u8], span: Span, bracket: u8) -> (Skipper<'_>, bool) {
    let mut text = Skipper::at(&bytes[..span.end()], span.start());
    let mut more = text.expect(bracket).is_ok();
    text.space();
    // `{` and `[` precede their closing bracket by two in ASCII.
    more &= text.peek() != bracket + 2;
    (text, more)
}

/// See [`object_members`].
pub struct Members<'a> {
    bytes: &'a [u8],
    text: Skipper<'a>,
    more: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Span, Span);

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::take(&mut self.more) {
            return None;
        }
        let (start, end, _) = self.text.key().ok()?;
        let key = Span::new(start, end);
        let start = self.text.pos;
        self.text.value_of_any_depth().ok()?;
        let value = Span::new(start, self.text.pos);
        self.more = self.text.another(b'}').ok()?;
        let name = unescape(key.of(self.bytes)).unwrap_or(Cow::Borrowed("\u{fffd}"));
        Some((name, key, value))
    }
}

/// See [`array_elements`].
pub struct Elements<'a> {
    text: Skipper<'a>,
    more: bool,
}

impl Iterator for Elements<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        if !std::mem::take(&mut self.more) {
            return None;
        }
        let start = self.text.pos;
        self.text.value_of_any_depth().ok()?;
        let value = Span::new(start, self.text.pos);
        self.more = self.text.another(b']').ok()?;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Span {
        Span::new(0, text.len())
    }

    #[test]
    fn strings_are_unescaped_as_serde_json_does() {
        for token in [
            r#""""#,
            r#""plain""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u0041\u00e9\u20AC""#,
            r#""\ud83d\ude00!""#,
            r#""über \u0000""#,
        ] {
            let expected: String = serde_json::from_str(token).unwrap();
            assert_eq!(unescape(token.as_bytes()).as_deref(), Some(&expected[..]), "{token}");
            let mut room = [0; 64];
            let inner = &token.as_bytes()[1..token.len() - 1];
            assert_eq!(unescape_into(inner, &mut room), Some(expected.as_bytes()), "{token}");
        }
        assert!(matches!(unescape(b"\"plain\""), Some(Cow::Borrowed("plain"))));
        for token in [
            "",
            "\"",
            "a",
            "\"a",
            "\"a\" ",
            "1",
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            r#""\x""#,
        ] {
            assert_eq!(unescape(token.as_bytes()), None, "{token}");
        }
        assert_eq!(unescape(b"\"\xff\""), None);
        assert_eq!(unescape_into(br"123\n45", &mut [0; 5]), None, "does not fit");
    }

    #[test]
    fn members_and_elements_come_in_order_with_their_spans() {
        let text = r#" { "a" : [1, {"b":2} ,"]"] , "\u0062":{} , "a" :null } "#;
        let object = Span::new(1, text.len() - 1);
        let found: Vec<_> = object_members(text.as_bytes(), object)
            .map(|(name, key, value)| {
                (name.into_owned(), &text[key.start()..key.end()], value.of(text.as_bytes()))
            })
            .collect();
        assert_eq!(
            found,
            [
                ("a".to_owned(), r#""a""#, &br#"[1, {"b":2} ,"]"]"#[..]),
                ("b".to_owned(), r#""\u0062""#, b"{}"),
                ("a".to_owned(), r#""a""#, b"null"),
            ]
        );
        let array = object_members(text.as_bytes(), object).next().unwrap().2;
        let elements: Vec<_> =
            array_elements(text.as_bytes(), array).map(|span| &text[span.start()..span.end()]).collect();
        assert_eq!(elements, ["1", r#"{"b":2}"#, r#""]""#]);
        assert_eq!(member(text.as_bytes(), object, "a").unwrap().of(text.as_bytes()), b"null");
        assert_eq!(member(text.as_bytes(), object, "c"), None);
    }

    #[test]
    fn what_is_not_there_is_empty() {
        for text in ["{}", "{ }", "[]", "1", "\"{\"", "{1}", "{\"a\"}", "{\"a\":", "[", "{"] {
            assert_eq!(object_members(text.as_bytes(), whole(text)).count(), 0, "{text}");
            assert_eq!(array_elements(text.as_bytes(), whole(text)).count(), 0, "{text}");
        }
        // The part before the fault is seen; the span bounds what is read.
        assert_eq!(array_elements(b"[1,2,x]", Span::new(0, 7)).count(), 2);
        assert_eq!(array_elements(b"[1,2,3]", Span::new(0, 4)).count(), 1);
    }
}
