//! 2025-03-26 batches: an array is exploded into its elements at the edge (protocol.md §3.1).

use crate::codec::{ScanError, Span};

/// The elements of a JSON array, each a complete JSON text.
///
/// # Errors
/// [`ScanError`] if `bytes` is not exactly one well-formed array.
pub fn elements(bytes: &[u8]) -> Result<Vec<Span>, ScanError> {
    let _ = bytes;
    todo!("the codec helper fills this in")
}
