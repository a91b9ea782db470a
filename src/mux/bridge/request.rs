//! A client's request in the other era's words (protocol.md §4.2, §4.3).

use super::edit::{self, Member, is_object, object, object_of, replaced, whole};
use crate::codec::{Incoming, Message, Span, Value, json};
use crate::mux::method::{Level, Method};
use crate::mux::peer::MODERN_VERSION;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A 2026-07-28 request as a legacy child reads it: without what each request says of its sender, and without
/// the parts of a second round, which such a child does not know. `task` is a word of 2025-11-25 that its client
/// cannot mean: it has no use for the task that would be the result.
pub(super) fn to_legacy(msg: &Incoming<'_>, method: Method) -> Vec<u8> {
    let Some(params) = msg.envelope.params else { return msg.bytes.to_vec() };
    let each = |name: &str, value: Span| match name {
        "_meta" => {
            let meta = object(msg.bytes, value, |name, _| Member::drop_if(is_of_sender(name)), &[]);
            if meta == b"{}" { Member::Drop } else { Member::Put(meta) }
        }
        "inputResponses" | "requestState" if method.may_ask_by_answer() => Member::Drop,
        "task" if method == Method::ToolsCall => Member::Drop,
        _ => Member::Keep,
    };
    replaced(msg.bytes, params, &object(msg.bytes, params, each, &[]))
}

/// A legacy request as a 2026-07-28 child reads it: `identity` (see [`legacy_identity`]) and the level of its
/// client in `_meta`.
///
/// # Errors
/// `params` is no object: there is no place for `_meta`.
pub(super) fn to_modern(
    msg: &Incoming<'_>,
    identity: &[u8],
    level: Option<Level>,
) -> Result<Vec<u8>, String> {
    let mut members: Vec<(&str, &[u8])> = json::object_members(identity, whole(identity))
        .filter_map(|(name, _, value)| {
            let known = [VERSION, CLIENT_INFO, CLIENT_CAPABILITIES].into_iter().find(|known| *known == name);
            Some((known?, value.of(identity)))
        })
        .collect();
    let level = level.map(|level| edit::string(level.name()));
    if let Some(level) = &level {
        members.push((LOG_LEVEL, level));
    }
    let Some(params) = msg.envelope.params else {
        let meta = object_of(&members);
        let mut text = b",\"params\":{\"_meta\":".to_vec();
        text.extend_from_slice(&meta);
        text.push(b'}');
        let end = msg.bytes.iter().rposition(|byte| *byte == b'}').unwrap_or(msg.bytes.len());
        let mut message = Message::new(msg.bytes);
        message.insert(end, Value::Raw(&text));
        return Ok(message.to_vec());
    };
    if !is_object(msg.bytes, params) {
        return Err("`params` must be an object".into());
    }
    let meta = match msg.envelope.meta {
        Some(meta) => object(msg.bytes, meta, |name, _| Member::drop_if(is_of_sender(name)), &members),
        None => object_of(&members),
    };
    let each = |name: &str, _| Member::drop_if(name == "_meta");
    Ok(replaced(msg.bytes, params, &object(msg.bytes, params, each, &[("_meta", &meta)])))
}

/// What a legacy client said of itself in `initialize`, as the `_meta` of a modern request: an object with
/// version, clientInfo and capabilities. Roots cannot announce changes there, and tasks are neither asked of
/// clients nor told to them, as a capability or as an extension (protocol.md §4.3). A capability is an object:
/// `null`, as some write what they do not have, would be claimed, or have the server refuse every request.
pub(in crate::mux) fn legacy_identity(params: &[u8]) -> Box<[u8]> {
    let at = whole(params);
    let member = |key| (!params.is_empty()).then(|| json::member(params, at, key)).flatten();
    let info = member("clientInfo").filter(|info| is_object(params, *info));
    let info = info.map_or(&b"{\"name\":\"unknown\",\"version\":\"0\"}"[..], |info| info.of(params));
    let each = |name: &str, value: Span| match name {
        _ if !is_object(params, value) => Member::Drop,
        "roots" => Member::Put(b"{}".to_vec()),
        "tasks" => Member::Drop,
        _ => {
            let known =
                |name: &str, value: Span| Member::drop_if(name == TASKS || value.of(params) == b"null");
            Member::Put(object(params, value, known, &[]))
        }
    };
    let capabilities = member("capabilities").filter(|capabilities| is_object(params, *capabilities));
    let capabilities = capabilities.map_or(b"{}".to_vec(), |at| object(params, at, each, &[]));
    let version = edit::string(MODERN_VERSION);
    let members: [(&str, &[u8]); 3] =
        [(VERSION, &version), (CLIENT_INFO, info), (CLIENT_CAPABILITIES, &capabilities)];
    object_of(&members).into()
}

fn is_of_sender(name: &str) -> bool {
    [VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legacy(text: &str) -> String {
        let msg = Incoming::scan(text.as_bytes()).unwrap();
        String::from_utf8(to_legacy(&msg, Method::parse(msg.method()))).unwrap()
    }

    fn modern(text: &str, level: Option<Level>) -> Result<String, String> {
        let identity = legacy_identity(
            br#"{"clientInfo":{"name":"c","version":"1"},"capabilities":{"roots":{"listChanged":true},"tasks":{},"sampling":{}}}"#,
        );
        let msg = Incoming::scan(text.as_bytes()).unwrap();
        to_modern(&msg, &identity, level).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_legacy_child_sees_nothing_of_the_sender_but_all_else_as_written() {
        assert_eq!(
            legacy(
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"n":1.10},"inputResponses":{},"requestState":"s","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","traceparent":"00-1","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{},"io.modelcontextprotocol/logLevel":"info","progressToken":7}}}"#
            ),
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"n":1.10},"_meta":{"traceparent":"00-1","progressToken":7}}}"#
        );
        assert_eq!(
            legacy(
                r#"{"params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}},"id":1,"method":"x","jsonrpc":"2.0"}"#
            ),
            r#"{"params":{},"id":1,"method":"x","jsonrpc":"2.0"}"#
        );
        assert_eq!(
            legacy(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#),
            r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#
        );
    }

    /// Methods of the server's own have parameters of their own.
    #[test]
    fn a_task_is_not_asked_for_and_other_methods_keep_what_is_theirs() {
        let own = r#"{"task":{},"requestState":"s","inputResponses":{},"n":1}"#;
        let text = |method: &str, params: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
        };
        assert_eq!(legacy(&text("x", own)), text("x", own));
        assert_eq!(legacy(&text("tools/call", own)), text("tools/call", r#"{"n":1}"#));
    }

    const META: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"roots":{},"sampling":{}}"#;

    #[test]
    fn a_modern_child_is_told_who_asks_in_each_request() {
        for (asked, told) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{{META}}}}}}}"#
                ),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":""}}"#,
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"cursor":"","_meta":{{{META}}}}}}}"#
                ),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":7,"io.modelcontextprotocol/clientInfo":"forged"}}}"#,
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"_meta":{{"progressToken":7,{META}}}}}}}"#
                ),
            ),
        ] {
            assert_eq!(modern(asked, None).unwrap(), told);
        }
        let told = modern(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#, Some(Level::Notice)).unwrap();
        assert!(told.ends_with(r#","io.modelcontextprotocol/logLevel":"notice"}}}"#), "{told}");
        assert!(modern(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#, None).is_err());
    }

    #[test]
    fn a_capability_is_an_object() {
        let identity = legacy_identity(
            br#"{"capabilities":{"roots":null,"sampling":null,"elicitation":{"form":{},"url":null},"tasks":{},"experimental":{"e":{"n":1.10}},"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{}}}}"#,
        );
        let text = String::from_utf8(identity.into()).unwrap();
        let told = r#"{"elicitation":{"form":{}},"experimental":{"e":{"n":1.10}},"extensions":{"x/y":{}}}}"#;
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn an_identity_is_made_of_whatever_a_client_said() {
        for params in ["", "{}", r#"{"clientInfo":3,"capabilities":[]}"#] {
            let identity = legacy_identity(params.as_bytes());
            let value: serde_json::Value = serde_json::from_slice(&identity).unwrap();
            assert_eq!(value[CLIENT_INFO]["name"], "unknown", "{params}");
            assert_eq!(value[CLIENT_CAPABILITIES], serde_json::json!({}), "{params}");
        }
    }
}
