//! Objects written anew, member by member: what is kept stays as it was written, numbers to the last digit
//! (P57).

use crate::codec::{Message, Span, Value, json};

/// What becomes of a member.
pub(crate) enum Member {
    Keep,
    Drop,
    /// This value in its place, JSON text.
    Put(Vec<u8>),
}

impl Member {
    pub(crate) fn drop_if(drop: bool) -> Member {
        if drop { Member::Drop } else { Member::Keep }
    }
}

/// Who a server is, in the `_meta` of its results (protocol.md §1.2.3).
pub(crate) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The text with `value` in place of `span`.
pub(crate) fn replaced(bytes: &[u8], span: Span, value: &[u8]) -> Vec<u8> {
    let mut message = Message::new(bytes);
    message.replace(span, Value::Raw(value));
    message.to_vec()
}

/// An object of these members (key, JSON text).
pub(crate) fn object_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    object(b"{}", whole(b"{}"), |_, _| Member::Keep, members)
}

/// The object at `span`, each member as `each` says, with `added` (key, JSON text) behind them. A key of
/// `added` that is there already must have been dropped by `each`. What is no object is given back as it is.
pub(crate) fn object(
    bytes: &[u8],
    span: Span,
    mut each: impl FnMut(&str, Span) -> Member,
    added: &[(&str, &[u8])],
) -> Vec<u8> {
    if !is_object(bytes, span) {
        return span.of(bytes).to_vec();
    }
    let mut out = Vec::with_capacity(span.len() + 64);
    out.push(b'{');
    for (name, key, value) in json::object_members(bytes, span) {
        let text = match each(&name, value) {
            Member::Drop => continue,
            Member::Keep => None,
            Member::Put(text) => Some(text),
        };
        separate(&mut out);
        out.extend_from_slice(key.of(bytes));
        out.push(b':');
        out.extend_from_slice(text.as_deref().unwrap_or(value.of(bytes)));
    }
    for (name, text) in added {
        separate(&mut out);
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        out.extend_from_slice(text);
    }
    out.push(b'}');
    out
}

/// The array at `span`, each element as `each` says. What is no array is given back as it is.
pub(crate) fn array(bytes: &[u8], span: Span, mut each: impl FnMut(Span) -> Member) -> Vec<u8> {
    if bytes[span.start()] != b'[' {
        return span.of(bytes).to_vec();
    }
    let mut out = Vec::with_capacity(span.len());
    out.push(b'[');
    for element in json::array_elements(bytes, span) {
        let text = match each(element) {
            Member::Drop => continue,
            Member::Keep => None,
            Member::Put(text) => Some(text),
        };
        separate(&mut out);
        out.extend_from_slice(text.as_deref().unwrap_or(element.of(bytes)));
    }
    out.push(b']');
    out
}

fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[') | None) {
        out.push(b',');
    }
}

pub(crate) fn is_object(bytes: &[u8], span: Span) -> bool {
    bytes[span.start()] == b'{'
}

/// A JSON text of its own with its span.
pub(crate) fn whole(text: &[u8]) -> Span {
    Span::new(0, text.len().max(1))
}

/// A JSON string as it is written.
pub(crate) fn string(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, added: &[(&str, &[u8])]) -> String {
        let each = |name: &str, _| match name {
            "drop" => Member::Drop,
            "put" => Member::Put(b"7".to_vec()),
            _ => Member::Keep,
        };
        String::from_utf8(object(text.as_bytes(), whole(text.as_bytes()), each, added)).unwrap()
    }

    #[test]
    fn members_are_kept_as_written_dropped_put_and_added() {
        let big = "12345678901234567890.10e-2";
        assert_eq!(
            edited(&format!("{{ \"drop\" : 1, \"a\\u0062\" : {big} , \"put\":[] }}"), &[("new", b"{}")]),
            format!("{{\"a\\u0062\":{big},\"put\":7,\"new\":{{}}}}")
        );
        assert_eq!(edited("{}", &[]), "{}");
        assert_eq!(edited("{}", &[("x", b"1"), ("y", b"2")]), "{\"x\":1,\"y\":2}");
        assert_eq!(edited("{\"drop\":{\"drop\":1},\"drop\":2}", &[("z", b"3")]), "{\"z\":3}");
        assert_eq!(edited("[1]", &[("z", b"3")]), "[1]");
    }

    #[test]
    fn elements_are_kept_dropped_and_put() {
        let text = b"[ 1, \"two\" ,[3], 4 ]";
        let out = array(text, whole(text), |at| match at.of(text) {
            b"1" => Member::Drop,
            b"4" => Member::Put(b"five".to_vec()),
            _ => Member::Keep,
        });
        assert_eq!(out, b"[\"two\",[3],five]");
        assert_eq!(array(b"{}", whole(b"{}"), |_| Member::Drop), b"{}");
    }
}
