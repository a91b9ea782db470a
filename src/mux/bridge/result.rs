//! A child's result in its client's words (protocol.md §4.2, §4.3).

use super::content;
use super::edit::{Member, SERVER_INFO, array, is_object, object, object_of, replaced};
use crate::codec::List;
use crate::codec::{Incoming, Span, json};
use crate::mux::method::Method;
use crate::mux::{quote, reply};

const COMPLETE: &[u8] = b"\"complete\"";

/// A legacy child's result for a modern client: said to be complete, with the server's name and, where it is
/// due, how long it may be kept (P44): not at all. Tools that can only be called as tasks are left out, as
/// such a client cannot.
pub(super) fn to_modern(msg: &Incoming<'_>, method: Method, server_info: &[u8]) -> Vec<u8> {
    let Some(result) = msg.envelope.result.filter(|result| is_object(msg.bytes, *result)) else {
        return super::not_an_object(msg);
    };
    let meta = match msg.envelope.meta {
        Some(meta) => object(
            msg.bytes,
            meta,
            |name, _| Member::drop_if(name == SERVER_INFO),
            &[(SERVER_INFO, server_info)],
        ),
        None => object_of(&[(SERVER_INFO, server_info)]),
    };
    let mut added: Vec<(&str, &[u8])> = vec![("resultType", b"\"complete\"")];
    if is_cacheable(method) {
        added.extend([("ttlMs", &b"0"[..]), ("cacheScope", b"\"private\"")]);
    }
    added.push(("_meta", &meta));
    let each = |name: &str, value: Span| match name {
        "resultType" | "ttlMs" | "cacheScope" | "_meta" => Member::Drop,
        "tools" if method == Method::List(List::Tools) => {
            Member::Put(array(msg.bytes, value, |tool| without_tasks(msg.bytes, tool)))
        }
        _ => Member::Keep,
    };
    replaced(msg.bytes, result, &object(msg.bytes, result, each, &added))
}

/// A modern child's result for a legacy client: without what 2026-07-28 added to each result, and without
/// structured content that is no object, which such a client does not allow (it is said in text, if no text
/// says it already).
pub(super) fn to_legacy(msg: &Incoming<'_>, method: Method) -> Vec<u8> {
    let Some(result) = msg.envelope.result.filter(|result| is_object(msg.bytes, *result)) else {
        return msg.bytes.to_vec();
    };
    if let Some(kind) = msg.envelope.result_type.map(|kind| msg.text(kind)).filter(|kind| *kind != COMPLETE) {
        let why =
            format!("the server's result is of a type that this client cannot be told of: {}", quote(kind));
        return reply::Failure::new("result_type", why).answer(super::id_of(msg));
    }
    let called = if method == Method::ToolsCall { Some(result) } else { None };
    let structured = called.and_then(|result| json::member(msg.bytes, result, "structuredContent"));
    let lost = structured.filter(|value| !is_object(msg.bytes, *value));
    let said = lost.and_then(|_| content::structured_as_text(msg.bytes, result));
    let each = |name: &str, value: Span| match name {
        "resultType" | "ttlMs" | "cacheScope" => Member::Drop,
        "_meta" => {
            let meta = object(msg.bytes, value, |name, _| Member::drop_if(name == SERVER_INFO), &[]);
            if meta == b"{}" { Member::Drop } else { Member::Put(meta) }
        }
        "structuredContent" => Member::drop_if(lost.is_some()),
        "content" if said.is_some() => {
            let blocks = array(msg.bytes, value, |_| Member::Keep);
            Member::Put(content::with_block(blocks, said.as_deref()))
        }
        "tools" if method == Method::List(List::Tools) => {
            Member::Put(array(msg.bytes, value, |tool| with_object_schema(msg.bytes, tool)))
        }
        _ => Member::Keep,
    };
    replaced(msg.bytes, result, &object(msg.bytes, result, each, &[]))
}

/// A tool without its `execution`; none at all if it has to be called as a task.
fn without_tasks(bytes: &[u8], tool: Span) -> Member {
    let Some(execution) = json::member(bytes, tool, "execution") else { return Member::Keep };
    let support = json::member(bytes, execution, "taskSupport").map(|support| support.of(bytes));
    if support == Some(b"\"required\"") {
        return Member::Drop;
    }
    Member::Put(object(bytes, tool, |name, _| Member::drop_if(name == "execution"), &[]))
}

/// A tool without an `outputSchema` that describes something else than an object.
fn with_object_schema(bytes: &[u8], tool: Span) -> Member {
    let Some(schema) = json::member(bytes, tool, "outputSchema") else { return Member::Keep };
    let kind = json::member(bytes, schema, "type").map(|kind| kind.of(bytes));
    if kind == Some(b"\"object\"") {
        return Member::Keep;
    }
    Member::Put(object(bytes, tool, |name, _| Member::drop_if(name == "outputSchema"), &[]))
}

/// Whether a result of this method says how long it may be kept (protocol.md §1.2.9).
fn is_cacheable(method: Method) -> bool {
    matches!(method, Method::Discover | Method::List(_) | Method::ResourcesRead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(result: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":4,"result":{result}}}"#)
    }

    fn modern(method: Method, result: &str) -> String {
        let text = answer(result);
        let info = br#"{"name":"s","version":"1"}"#;
        String::from_utf8(to_modern(&Incoming::scan(text.as_bytes()).unwrap(), method, info)).unwrap()
    }

    fn legacy(method: Method, result: &str) -> String {
        let text = answer(result);
        String::from_utf8(to_legacy(&Incoming::scan(text.as_bytes()).unwrap(), method)).unwrap()
    }

    const INFO: &str = r#""io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}"#;

    #[test]
    fn a_modern_client_is_told_that_a_result_is_complete() {
        assert_eq!(
            modern(Method::ToolsCall, r#"{"content":[],"n":1.10,"_meta":{"k":1}}"#),
            answer(&format!(r#"{{"content":[],"n":1.10,"resultType":"complete","_meta":{{"k":1,{INFO}}}}}"#))
        );
        assert_eq!(
            modern(Method::ResourcesRead, r#"{"contents":[]}"#),
            answer(&format!(
                r#"{{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{{{INFO}}}}}"#
            ))
        );
        let refused = modern(Method::ToolsCall, "[]");
        assert!(refused.contains("-32603") && refused.contains("\"id\":4"), "{refused}");
    }

    #[test]
    fn a_modern_client_does_not_see_tools_that_need_tasks() {
        let tools = r#"{"tools":[{"name":"a"},{"name":"b","execution":{"taskSupport":"required"}},{"name":"c","execution":{"taskSupport":"optional"},"x":1}]}"#;
        let told = modern(Method::List(List::Tools), tools);
        assert!(told.contains(r#""tools":[{"name":"a"},{"name":"c","x":1}]"#), "{told}");
    }

    #[test]
    fn a_legacy_client_sees_nothing_of_the_new_members() {
        assert_eq!(
            legacy(
                Method::ToolsCall,
                &format!(
                    r#"{{"resultType":"complete","content":[ ],"structuredContent":[1],"ttlMs":1,"cacheScope":"public","_meta":{{{INFO}}}}}"#
                )
            ),
            answer(r#"{"content":[{"type":"text","text":"[1]"}]}"#)
        );
        assert_eq!(
            legacy(Method::ToolsCall, r#"{"content":[{"type":"text","text":"one"}],"structuredContent":1}"#),
            answer(r#"{"content":[{"type":"text","text":"one"}]}"#)
        );
        assert_eq!(
            legacy(
                Method::ToolsCall,
                &format!(r#"{{"structuredContent":{{"a":1e1}},"_meta":{{"k":1,{INFO}}}}}"#)
            ),
            answer(r#"{"structuredContent":{"a":1e1},"_meta":{"k":1}}"#)
        );
        let tools = r#"{"tools":[{"name":"a","outputSchema":{"type":"array"}},{"name":"b","outputSchema":{"type":"object"}}],"resultType":"complete"}"#;
        assert_eq!(
            legacy(Method::List(List::Tools), tools),
            answer(r#"{"tools":[{"name":"a"},{"name":"b","outputSchema":{"type":"object"}}]}"#)
        );
    }
}
