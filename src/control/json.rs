//! [`Json`]: a value in a text that was scanned, read by name and without building it.
//!
//! What is missing or of another type reads as empty or zero, so that programs of neighbouring versions
//! understand each other. Every function stands on its own rather than in each of its callers: this is cold
//! code, and a report has fifty fields.

use crate::codec::{Span, json};
use std::borrow::Cow;

/// A value as it is written, without white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// `text` is a whole value, from a message that [`crate::codec::Incoming::scan`] has passed.
    pub fn new(text: &'a [u8]) -> Json<'a> {
        Json(text)
    }

    /// Calls `each` with every member of an object.
    #[inline(never)]
    pub fn members(self, each: &mut dyn FnMut(&str, Json<'a>)) {
        let Some(whole) = self.whole() else { return };
        for (key, _, value) in json::object_members(self.0, whole) {
            each(&key, Json(value.of(self.0)));
        }
    }

    /// The elements of an array.
    #[inline(never)]
    pub fn elements(self) -> Vec<Json<'a>> {
        let Some(whole) = self.whole() else { return Vec::new() };
        json::array_elements(self.0, whole).map(|element| Json(element.of(self.0))).collect()
    }

    /// The member of that name; `null` if there is none.
    #[inline(never)]
    pub fn member(self, key: &str) -> Json<'a> {
        let found = self.whole().and_then(|whole| json::member(self.0, whole, key));
        Json(found.map_or(b"null", |value| value.of(self.0)))
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with(b"{")
    }

    pub fn is_array(self) -> bool {
        self.0.starts_with(b"[")
    }

    /// A string, else an empty one.
    #[inline(never)]
    pub fn text(self) -> String {
        self.maybe_text().unwrap_or_default()
    }

    #[inline(never)]
    pub fn maybe_text(self) -> Option<String> {
        if !json::is_string(self.0) {
            return None;
        }
        Some(match json::unescape(self.0) {
            Some(text) => Cow::into_owned(text),
            // A lone surrogate: better the text as it is written than none.
            None => self.written(),
        })
    }

    /// An integer that is not negative (of others the part before the point), else 0.
    #[inline(never)]
    pub fn number(self) -> u64 {
        self.maybe_number().unwrap_or_default()
    }

    #[inline(never)]
    pub fn maybe_number(self) -> Option<u64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit());
        let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        self.0.first()?.is_ascii_digit().then(|| digits.fold(0, add))
    }

    #[inline(never)]
    pub fn texts(self) -> Vec<String> {
        self.elements().into_iter().map(Json::text).collect()
    }

    /// As it is written.
    pub fn written(self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }

    fn whole(self) -> Option<Span> {
        (!self.0.is_empty()).then(|| Span::new(0, self.0.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_what_they_are() {
        let json =
            Json::new(br#"{"a":"x\n\u00e4","n":12,"f":2.9,"m":-3,"l":["p",1,"q"],"o":{"k":7},"z":null}"#);
        assert_eq!((json.member("a").text(), json.member("n").number()), ("x\nä".to_owned(), 12));
        assert_eq!((json.member("f").number(), json.member("m").number()), (2, 0));
        assert_eq!(json.member("l").texts(), ["p", "", "q"]);
        assert_eq!(json.member("o").member("k").maybe_number(), Some(7));
        for missing in [json.member("z"), json.member("none"), json.member("a").member("b")] {
            assert_eq!(
                (missing.maybe_number(), missing.maybe_text(), missing.written()),
                (None, None, "null".into())
            );
        }
        let mut keys = Vec::new();
        json.members(&mut |key, _| keys.push(key.to_owned()));
        assert_eq!(keys, ["a", "n", "f", "m", "l", "o", "z"]);
    }

    #[test]
    fn what_is_none_of_it_is_empty() {
        for text in ["", "null", "7", "\"x\"", "[", "{", "{\"a\"", "[1,"] {
            let json = Json::new(text.as_bytes());
            assert_eq!(json.member("a").maybe_number(), None, "{text}");
            json.members(&mut |key, _| panic!("{key} in {text}"));
        }
        assert_eq!(Json::new(b"99999999999999999999999").number(), u64::MAX);
        assert_eq!(Json::new(br#""\ud800""#).text(), r#""\ud800""#);
    }
}
