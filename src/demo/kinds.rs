//! Results of every kind that a revision knows: content blocks and structured content.

use serde_json::{Value, json};

use super::content::COUNTER_URI;
use super::rpc::{Handled, RpcError};
use super::tools::{Arguments, tool};

/// The tool `content`: a block for each of the kinds named, all of them by default.
pub fn content(arguments: &Arguments) -> Handled {
    let all = json!(["text", "image", "audio", "resource", "resource_link"]);
    let kinds = arguments.list("kinds")?.or(all.as_array());
    let blocks: Result<Vec<Value>, RpcError> = kinds.into_iter().flatten().map(block).collect();
    Ok(Some(json!({ "content": blocks? })))
}

fn block(kind: &Value) -> Result<Value, RpcError> {
    Ok(match kind.as_str().unwrap_or_default() {
        "text" => json!({ "type": "text", "text": "a text" }),
        // One transparent dot, and no sound at all.
        "image" => json!({ "type": "image", "data": DOT, "mimeType": "image/gif" }),
        "audio" => json!({ "type": "audio", "data": "UklGRg==", "mimeType": "audio/wav" }),
        "resource" => {
            let resource = json!({ "uri": COUNTER_URI, "mimeType": "text/plain", "text": "0" });
            json!({ "type": "resource", "resource": resource })
        }
        "resource_link" => json!({ "type": "resource_link", "uri": COUNTER_URI, "name": "counter" }),
        other => return Err(RpcError::invalid_params(format!("no kind of content: {other}"))),
    })
}

/// The tool `measure`: a number. Only 2026-07-28 has structured content that is no object.
pub fn measure(modern: bool) -> Value {
    let structured = if modern { json!(36.6) } else { json!({ "value": 36.6 }) };
    json!({ "content": [{ "type": "text", "text": "36.6" }], "structuredContent": structured })
}

pub fn measure_tool(modern: bool) -> Value {
    let number = json!({ "type": "number" });
    let object =
        json!({ "type": "object", "properties": { "value": { "type": "number" } }, "required": ["value"] });
    let mut measure = tool("measure", "Returns a number.", json!({}), &[]);
    measure["outputSchema"] = if modern { number } else { object };
    measure
}

const DOT: &str = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
