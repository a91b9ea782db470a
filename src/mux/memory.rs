//! [`Memory`]: what is known of a server, as plain values that outlast a run (row B08).

use crate::mux::Era;

/// The answer of a server to its handshake, and its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The era of `hello`.
    pub era: Era,
    /// `InitializeResult` or `DiscoverResult`, JSON text.
    pub hello: String,
    pub pages: Vec<MemoryPage>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPage {
    /// `tools/list`, `prompts/list`, `resources/list` or `resources/templates/list`.
    pub method: String,
    /// The cursor it was asked for with, a JSON string as it was written; `None`: the first page.
    pub cursor: Option<String>,
    /// The era of `result`.
    pub era: Era,
    /// The result, JSON text.
    pub result: String,
}
