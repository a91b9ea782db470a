//! A child's error in its client's words (protocol.md §4.2, §4.3, §1.3).

use super::edit::{Member, SERVER_INFO, is_object, object, object_of};
use crate::codec::{Incoming, Message, Span, Value, json};
use crate::mux::method::Method;
use crate::mux::peer::Capabilities;
use crate::mux::reply;
use crate::mux::reverse::Need;
use serde_json::json;

/// Legacy codes that 2026-07-28 does not have.
const RESOURCE_NOT_FOUND: &[u8] = b"-32002";
const URL_ELICITATION_REQUIRED: &[u8] = b"-32042";

/// A legacy child's error for a modern client; `None` if it reads the same. A page that the user has to see
/// first becomes a question (the client asks again afterwards), if the client can show one and the answer to
/// this method can be one (protocol.md §1.2.6). `lacks`: the child was refused a question for want of that; an
/// error of the same code says that it cannot do without.
pub(super) fn to_modern(
    msg: &Incoming<'_>,
    method: Method,
    capabilities: Capabilities,
    lacks: Option<Need>,
    server_info: &[u8],
) -> Option<Vec<u8>> {
    let error = msg.envelope.error?;
    let code = json::member(msg.bytes, error, "code")?;
    match msg.text(code) {
        RESOURCE_NOT_FOUND => Some(with_code(msg, reply::INVALID_PARAMS)),
        URL_ELICITATION_REQUIRED if !method.may_ask_by_answer() => Some(with_code(msg, reply::INTERNAL)),
        URL_ELICITATION_REQUIRED if capabilities.elicitation_url => {
            Some(pages(msg, server_info).unwrap_or_else(|| with_code(msg, reply::INTERNAL)))
        }
        URL_ELICITATION_REQUIRED => {
            Some(missing(msg, Need::ElicitUrl, "the server wants to show a page first (elicitation by URL)"))
        }
        code => {
            let lacks = lacks.filter(|need| need.unsupported().to_string().as_bytes() == code)?;
            Some(missing(
                msg,
                lacks,
                "the server asks its client during this request, which declares too little for that",
            ))
        }
    }
}

fn missing(msg: &Incoming<'_>, need: Need, what: &str) -> Vec<u8> {
    let needs = json!({ "requiredCapabilities": need.capabilities() });
    reply::error_with_data(super::id_of(msg), reply::MISSING_CAPABILITY, what, needs)
}

/// A modern child's error for a legacy client; `None` if it reads the same. What only muxloop could have put
/// right is an internal error to the client, with the server's words.
pub(super) fn to_legacy(msg: &Incoming<'_>) -> Option<Vec<u8>> {
    let code = json::member(msg.bytes, msg.envelope.error?, "code")?;
    matches!(msg.text(code), b"-32020" | b"-32021" | b"-32022").then(|| with_code(msg, reply::INTERNAL))
}

fn with_code(msg: &Incoming<'_>, code: i32) -> Vec<u8> {
    let span = msg.envelope.error.and_then(|error| json::member(msg.bytes, error, "code"));
    let code = code.to_string();
    let mut message = Message::new(msg.bytes);
    if let Some(span) = span {
        message.replace(span, Value::Raw(code.as_bytes()));
    }
    message.to_vec()
}

/// `data.elicitations` of -32042 as the questions of an `input_required` result, without state: the call is
/// made anew. `None` if one of them is no page, or there is none.
fn pages(msg: &Incoming<'_>, server_info: &[u8]) -> Option<Vec<u8>> {
    let data = json::member(msg.bytes, msg.envelope.error?, "data")?;
    let list = json::member(msg.bytes, data, "elicitations")?;
    let pages: Option<Vec<_>> =
        json::array_elements(msg.bytes, list).map(|page| read_page(msg.bytes, page)).collect();
    let pages = pages.filter(|pages| !pages.is_empty())?;
    let names: Vec<String> = (1..=pages.len()).map(|number| format!("page-{number}")).collect();
    let requests: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(pages.iter().map(Vec::as_slice)).collect();
    let result = object_of(&[
        ("resultType", b"\"input_required\""),
        ("inputRequests", &object_of(&requests)),
        ("_meta", &object_of(&[(SERVER_INFO, server_info)])),
    ]);
    Some(reply::result(super::id_of(msg), &result))
}

/// A page as an entry of `inputRequests`. The error tells of nothing but pages, so that is what it is, whether
/// it says so or not.
fn read_page(bytes: &[u8], page: Span) -> Option<Vec<u8>> {
    let url = json::member(bytes, page, "url").filter(|url| json::is_string(url.of(bytes)));
    url.filter(|_| is_object(bytes, page))?;
    let each = |name: &str, _| Member::drop_if(matches!(name, "elicitationId" | "mode"));
    let params = object(bytes, page, each, &[("mode", b"\"url\"")]);
    Some(object_of(&[("method", b"\"elicitation/create\""), ("params", &params)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, data: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":4,"error":{{"code":{code},"message":"m","data":{data}}}}}"#)
    }

    fn modern(text: &str, url: bool) -> Option<String> {
        modern_of(Method::ToolsCall, text, url)
    }

    fn modern_of(method: Method, text: &str, url: bool) -> Option<String> {
        let capabilities = Capabilities { elicitation_url: url, ..Capabilities::default() };
        let msg = Incoming::scan(text.as_bytes()).unwrap();
        let told = to_modern(&msg, method, capabilities, None, b"{\"name\":\"s\"}")?;
        Some(String::from_utf8(told).unwrap())
    }

    #[test]
    fn codes_that_the_new_era_lacks_are_replaced() {
        assert_eq!(modern(&error(-32002, "1.0"), false).unwrap(), error(-32602, "1.0"));
        assert_eq!(modern(&error(-32601, "1"), false), None);
        for (code, told) in [(-32021, -32603), (-32022, -32603), (-32020, -32603)] {
            let text = error(code, "{}");
            let out = to_legacy(&Incoming::scan(text.as_bytes()).unwrap()).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), error(told, "{}"));
        }
        assert!(to_legacy(&Incoming::scan(error(-32602, "{}").as_bytes()).unwrap()).is_none());
    }

    #[test]
    fn a_page_that_must_be_seen_first_is_a_question() {
        let data =
            r#"{"elicitations":[{"mode":"url","message":"look","url":"https://a/","elicitationId":"e"}]}"#;
        assert_eq!(
            modern(&error(-32042, data), true).unwrap(),
            r#"{"jsonrpc":"2.0","id":4,"result":{"resultType":"input_required","inputRequests":{"page-1":{"method":"elicitation/create","params":{"message":"look","url":"https://a/","mode":"url"}}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}}"#
        );
        let refused = modern(&error(-32042, data), false).unwrap();
        assert!(refused.contains("-32021") && refused.contains("requiredCapabilities"), "{refused}");
        for broken in ["{}", r#"{"elicitations":[]}"#, r#"{"elicitations":{}}"#] {
            assert_eq!(modern(&error(-32042, broken), true).unwrap(), error(-32603, broken));
        }
    }

    /// Several pages are as many questions, and nothing but pages is asked.
    #[test]
    fn what_is_no_page_is_not_asked() {
        let page = r#"{"url":"https://a/"}"#;
        let told = modern(&error(-32042, &format!(r#"{{"elicitations":[{page},{page}]}}"#)), true).unwrap();
        assert!(told.contains(
            r#""page-2":{"method":"elicitation/create","params":{"url":"https://a/","mode":"url"}}"#
        ));
        let form = r#"{"mode":"form","url":"https://a/","requestedSchema":{}}"#;
        let told = modern(&error(-32042, &format!(r#"{{"elicitations":[{form}]}}"#)), true).unwrap();
        assert!(told.contains(r#""mode":"url""#) && !told.contains("form"), "{told}");
        for wrong in ["7", "null", "{}", "[]", r#"{"url":7}"#, r#"{"mode":"form","requestedSchema":{}}"#] {
            let data = format!(r#"{{"elicitations":[{page},{wrong}]}}"#);
            assert_eq!(modern(&error(-32042, &data), true).unwrap(), error(-32603, &data));
        }
    }

    #[test]
    fn only_the_answers_of_three_methods_can_be_questions() {
        let data = r#"{"elicitations":[{"url":"https://a/"}]}"#;
        for (method, can) in [
            (Method::PromptsGet, true),
            (Method::ResourcesRead, true),
            (Method::Complete, false),
            (Method::Other, false),
        ] {
            for url in [true, false] {
                let told = modern_of(method, &error(-32042, data), url).unwrap();
                assert_eq!(told.contains("-32603"), !can, "{told}");
            }
        }
    }
}
