//! 2025-03-26 batches: an array is exploded into its elements at the edge (protocol.md §3.1).

use crate::codec::json::{self, skip_space, skip_value};
use crate::codec::{ScanError, ScanErrorKind, Span};

/// The elements of a JSON array, each a complete JSON text.
///
/// # Errors
/// [`ScanError`] if `bytes` is not exactly one well-formed array.
pub fn elements(bytes: &[u8]) -> Result<Vec<Span>, ScanError> {
    split(bytes).map_err(|error| ScanError { kind: error.kind, at: error.at, id: None, has_method: false })
}

fn split(bytes: &[u8]) -> Result<Vec<Span>, json::JsonError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(json::JsonError { kind: ScanErrorKind::InvalidUtf8, at: error.valid_up_to() });
    }
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return json::syntax(at);
    }
    let mut elements = Vec::new();
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        at += 1;
    } else {
        loop {
            let end = skip_value(bytes, at, 1)?;
            elements.push(Span::new(at, end));
            at = skip_space(bytes, end);
            match bytes.get(at) {
                Some(b',') => at = skip_space(bytes, at + 1),
                Some(b']') => break,
                _ => return json::syntax(at),
            }
        }
        at += 1;
    }
    if skip_space(bytes, at) == bytes.len() { Ok(elements) } else { json::syntax(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explodes_arrays_and_refuses_broken_ones() {
        let text = br#" [ {"a":[1,2]} , 3,"x" ] "#;
        let parts: Vec<_> = elements(text).unwrap().iter().map(|span| span.of(text).to_vec()).collect();
        assert_eq!(parts, [b"{\"a\":[1,2]}".to_vec(), b"3".to_vec(), b"\"x\"".to_vec()]);
        assert_eq!(elements(b"[]").unwrap(), []);
        for bad in ["", "[", "[1", "[1,]", "[1]]", "{}", "[1] x"] {
            assert!(elements(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
