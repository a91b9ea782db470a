//! The messages that muxloop writes itself: answers, errors, notifications.

use serde_json::{Value, json};

/// JSON-RPC codes (protocol.md §1.3).
pub(super) const INVALID_REQUEST: i32 = -32600;
pub(super) const METHOD_NOT_FOUND: i32 = -32601;
pub(super) const INVALID_PARAMS: i32 = -32602;
pub(super) const INTERNAL: i32 = -32603;
pub(super) const MISSING_CAPABILITY: i32 = -32021;
pub(super) const UNSUPPORTED_VERSION: i32 = -32022;

/// A failure of muxloop's own making: always -32603 with `data.muxloop.reason`, so that it can never
/// be taken for the server's word (protocol.md §1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// One stable word: `timeout`, `restarting`, `stopped`, `overload`, `era`, …
    pub reason: &'static str,
    pub message: String,
    /// When muxloop will try again, milliseconds from now.
    pub retry_in_ms: Option<u64>,
}

impl Failure {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Failure { reason, message: message.into(), retry_in_ms: None }
    }

    /// The error response under the raw id.
    pub(super) fn answer(&self, id: &[u8]) -> Vec<u8> {
        let mut muxloop = json!({ "reason": self.reason });
        if let Some(ms) = self.retry_in_ms {
            muxloop["retryInMs"] = ms.into();
        }
        error_with_data(id, INTERNAL, &self.message, json!({ "muxloop": muxloop }))
    }
}

/// An error response under the raw id (`null` where none is known).
pub(super) fn error(id: &[u8], code: i32, message: &str) -> Vec<u8> {
    error_value(id, json!({ "code": code, "message": message }))
}

/// An error response with `data`.
pub(super) fn error_with_data(id: &[u8], code: i32, message: &str, data: Value) -> Vec<u8> {
    error_value(id, json!({ "code": code, "message": message, "data": data }))
}

fn error_value(id: &[u8], error: Value) -> Vec<u8> {
    let mut out = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
    out.extend_from_slice(id);
    out.extend_from_slice(b",\"error\":");
    out.extend_from_slice(error.to_string().as_bytes());
    out.push(b'}');
    out
}

/// A response whose result is `result`, JSON text as it stands.
pub(super) fn result(id: &[u8], result: &[u8]) -> Vec<u8> {
    let mut out = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
    out.extend_from_slice(id);
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
    out
}

/// A request with an integer id.
pub(super) fn request(id: u64, method: &str, params: Value) -> Vec<u8> {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string().into_bytes()
}

/// A notification.
pub(super) fn notification(method: &str, params: Option<Value>) -> Vec<u8> {
    let mut message = json!({ "jsonrpc": "2.0", "method": method });
    if let Some(params) = params {
        message["params"] = params;
    }
    message.to_string().into_bytes()
}

/// `notifications/cancelled` for an integer id.
pub(super) fn cancelled(id: u64, why: &str) -> Vec<u8> {
    notification("notifications/cancelled", Some(json!({ "requestId": id, "reason": why })))
}

/// `text` cut to a quotable length, on a character boundary, with control characters shown.
pub(crate) fn quote(text: &[u8]) -> String {
    let max = crate::base::limits::QUOTE_MAX;
    let shown = String::from_utf8_lossy(&text[..text.len().min(max)]).escape_debug().to_string();
    if text.len() > max { format!("{shown}… ({} bytes)", text.len()) } else { shown }
}
