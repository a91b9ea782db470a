//! JSON-RPC and MCP vocabulary: error codes, reserved `_meta` keys, and how requests and errors look in here.
//!
//! Leaves to others what a method means.

use std::rc::Rc;

use serde_json::{Map, Value, json};

/// Parameters of a request or notification, and any other JSON object.
pub type Object = Map<String, Value>;

/// What a method does with a request: a result, an error, or `None` when the answer comes later or never.
pub type Handled = Result<Option<Value>, RpcError>;

/// Legacy revisions, oldest first (protocol.md §1).
pub const LEGACY_VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The one modern revision (protocol.md §1).
pub const MODERN_VERSION: &str = "2026-07-28";

pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
pub const META_TASK: &str = "io.modelcontextprotocol/related-task";

/// RFC 5424 severities, mildest first (protocol.md §2.7).
pub const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Rank of a log level, `None` if there is no such level.
pub fn level_rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// Who sent a request: for legacy requests what `initialize` said, for modern ones what their `_meta` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    pub modern: bool,
    pub version: String,
    pub info: Value,
    pub capabilities: Value,
    /// Rank of `META/logLevel`; always `None` for legacy requests.
    pub log_level: Option<usize>,
}

impl Caller {
    /// Whether the caller declared the capability at this JSON pointer. `elicitation: {}` alone means form mode
    /// (protocol.md §2.4).
    pub fn can(&self, pointer: &str) -> bool {
        let declared = |pointer| self.capabilities.pointer(pointer).is_some_and(|value| !value.is_null());
        match pointer {
            "/elicitation" | "/elicitation/form" => {
                declared("/elicitation") && (declared("/elicitation/form") || !declared("/elicitation/url"))
            }
            _ => declared(pointer),
        }
    }

    /// Whether tasks of revision 2025-11-25 exist for this caller.
    pub fn has_tasks(&self) -> bool {
        self.version == "2025-11-25"
    }
}

/// One request of the client, alive from its line to its answer.
#[derive(Debug)]
pub struct Request {
    /// Our own number for it: unlike `id` never the client's to choose.
    pub serial: u64,
    pub id: Value,
    pub method: String,
    pub params: Object,
    pub token: Option<Value>,
    pub caller: Rc<Caller>,
}

/// A JSON-RPC error on its way to the client.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Option<Value>,
}

impl RpcError {
    pub fn new(code: i64, message: impl Into<String>) -> RpcError {
        RpcError { code, message: message.into(), data: None }
    }

    pub fn with_data(self, data: Value) -> RpcError {
        RpcError { data: Some(data), ..self }
    }

    pub fn invalid_request(message: impl Into<String>) -> RpcError {
        RpcError::new(-32600, message)
    }

    pub fn method_not_found(method: &str) -> RpcError {
        RpcError::new(-32601, format!("method not found: {method}"))
    }

    pub fn invalid_params(message: impl Into<String>) -> RpcError {
        RpcError::new(-32602, message)
    }

    /// -32022 (protocol.md §1.2.5).
    pub fn unsupported_version(requested: &Value) -> RpcError {
        RpcError::new(-32022, "unsupported protocol version")
            .with_data(json!({ "supported": [MODERN_VERSION], "requested": requested }))
    }

    /// -32021; `required` is a ClientCapabilities object (protocol.md §1.3).
    pub fn missing_capability(required: Value) -> RpcError {
        RpcError::new(-32021, "the client did not declare a capability that this needs")
            .with_data(json!({ "requiredCapabilities": required }))
    }

    pub fn to_value(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        error
    }
}

/// A tool result with one text and, unless `Null`, structured content.
pub fn tool_result(text: impl Into<String>, structured: Value) -> Value {
    let mut result = json!({ "content": [{ "type": "text", "text": text.into() }] });
    if !structured.is_null() {
        result["structuredContent"] = structured;
    }
    result
}

/// A failed tool call in the sense of MCP: a result that the model sees, not a JSON-RPC error.
pub fn tool_error(text: impl Into<String>) -> Value {
    let mut result = tool_result(text, Value::Null);
    result["isError"] = json!(true);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(capabilities: Value) -> Caller {
        Caller { modern: false, version: String::new(), info: Value::Null, capabilities, log_level: None }
    }

    #[test]
    fn elicitation_without_a_mode_means_form() {
        let plain = caller(json!({ "elicitation": {} }));
        assert!(plain.can("/elicitation"));
        assert!(!plain.can("/elicitation/url"));
        let url = caller(json!({ "elicitation": { "url": {} } }));
        assert!(!url.can("/elicitation"));
        assert!(url.can("/elicitation/url"));
        assert!(!caller(json!({})).can("/elicitation"));
    }

    #[test]
    fn levels_are_ranked_by_severity() {
        assert!(level_rank("debug") < level_rank("emergency"));
        assert_eq!(level_rank("loud"), None);
    }
}
