//! 2025-03-26 batches: an array is exploded into its elements at the edge (protocol.md §3.1).
//!
//! How many elements are too many, and whether batches are allowed at all, is for the caller to say.

use crate::codec::scan::LENGTH_MAX;
use crate::codec::skip::{Fault, Skipper};
use crate::codec::{ScanError, ScanErrorKind, Span};

/// The elements of a JSON array, each a complete JSON text, which still has to be scanned. The array
/// counts as one level of depth.
///
/// # Errors
/// [`ScanError`] if `bytes` is not exactly one well-formed array.
pub fn elements(bytes: &[u8]) -> Result<Vec<Span>, ScanError> {
    let refuse = |kind, at| ScanError { kind, at, id: None, has_method: false, is_answer: false };
    let spans = array(bytes).map_err(|fault| match fault {
        Fault::Syntax(at) => refuse(ScanErrorKind::Syntax, at),
        Fault::TooDeep(at) => refuse(ScanErrorKind::TooDeep, at),
    })?;
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(spans),
        Err(error) => Err(refuse(ScanErrorKind::InvalidUtf8, error.valid_up_to())),
    }
}

fn array(bytes: &[u8]) -> Result<Vec<Span>, Fault> {
    if bytes.len() > LENGTH_MAX {
        return Err(Fault::Syntax(LENGTH_MAX));
    }
    let mut text = Skipper::new(bytes);
    let mut spans = Vec::new();
    text.space();
    text.expect(b'[')?;
    text.space();
    let mut more = text.peek() != b']';
    if !more {
        text.pos += 1;
    }
    while more {
        let start = text.pos;
        text.value(1)?;
        spans.push(Span::new(start, text.pos));
        more = text.another(b']')?;
    }
    text.space();
    if text.at_end() { Ok(spans) } else { text.fault() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::DEPTH_MAX;

    #[test]
    fn each_element_is_named() {
        let text = br#" [ {"id":1} ,[2],"three", null,-4e1 ] "#;
        let found: Vec<_> = elements(text).unwrap().into_iter().map(|span| span.of(text)).collect();
        assert_eq!(found, [&br#"{"id":1}"#[..], b"[2]", b"\"three\"", b"null", b"-4e1"]);
        assert_eq!(elements(b"[]").unwrap(), []);
        assert_eq!(elements(b"\t[ ]\r\n").unwrap(), []);
    }

    #[test]
    fn what_is_not_one_array_is_refused_with_its_place() {
        let cases: [(&[u8], usize); 11] = [
            (b"", 0),
            (b"{}", 0),
            (b"[", 1),
            (b"[1", 2),
            (b"[1,]", 3),
            (b"[,1]", 1),
            (b"[1 2]", 3),
            (b"[1}", 2),
            (b"[1]]", 3),
            (b"[\"\x01\"]", 2),
            (b"[01]", 2),
        ];
        for (text, at) in cases {
            let error = elements(text).unwrap_err();
            assert_eq!((error.kind, error.at), (ScanErrorKind::Syntax, at), "{}", text.escape_ascii());
        }
        let error = elements(b"[\"ab\xff\"]").unwrap_err();
        assert_eq!((error.kind, error.at), (ScanErrorKind::InvalidUtf8, 4));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert_eq!(elements(&nested(DEPTH_MAX)).unwrap().len(), 1);
        let error = elements(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!((error.kind, error.at), (ScanErrorKind::TooDeep, DEPTH_MAX));
    }
}
