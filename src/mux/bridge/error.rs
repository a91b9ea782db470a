//! A child's error in its client's words (protocol.md §4.2, §4.3, §1.3).

use super::edit::{Member, array, object};
use crate::codec::{Incoming, Message, Value, json};
use crate::mux::peer::Capabilities;
use crate::mux::reply;
use crate::mux::reverse::Need;
use serde_json::json;

/// Legacy codes that 2026-07-28 does not have.
const RESOURCE_NOT_FOUND: &[u8] = b"-32002";
const URL_ELICITATION_REQUIRED: &[u8] = b"-32042";

/// A legacy child's error for a modern client; `None` if it reads the same. A page that the user has to see
/// first becomes a question (the client asks again afterwards), if the client can show one. `lacks`: the child
/// was refused a question for want of that; an error of the same code says that it cannot do without.
pub(super) fn to_modern(
    msg: &Incoming<'_>,
    capabilities: Capabilities,
    lacks: Option<Need>,
) -> Option<Vec<u8>> {
    let error = msg.envelope.error?;
    let code = json::member(msg.bytes, error, "code")?;
    match msg.text(code) {
        RESOURCE_NOT_FOUND => Some(with_code(msg, reply::INVALID_PARAMS)),
        URL_ELICITATION_REQUIRED if capabilities.elicitation_url => {
            Some(pages(msg).unwrap_or_else(|| with_code(msg, reply::INTERNAL)))
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
/// made anew.
fn pages(msg: &Incoming<'_>) -> Option<Vec<u8>> {
    let data = json::member(msg.bytes, msg.envelope.error?, "data")?;
    let list = json::member(msg.bytes, data, "elicitations")?;
    let mut requests = b"{".to_vec();
    let mut count = 0;
    array(msg.bytes, list, |page| {
        let params = object(
            msg.bytes,
            page,
            |name, _| if name == "elicitationId" { Member::Drop } else { Member::Keep },
            &[],
        );
        count += 1;
        if count > 1 {
            requests.push(b',');
        }
        requests.extend_from_slice(
            format!("\"page-{count}\":{{\"method\":\"elicitation/create\",\"params\":").as_bytes(),
        );
        requests.extend_from_slice(&params);
        requests.push(b'}');
        Member::Keep
    });
    requests.push(b'}');
    let mut result = b"{\"resultType\":\"input_required\",\"inputRequests\":".to_vec();
    result.extend_from_slice(&requests);
    result.push(b'}');
    (count > 0).then(|| reply::result(super::id_of(msg), &result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, data: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":4,"error":{{"code":{code},"message":"m","data":{data}}}}}"#)
    }

    fn modern(text: &str, url: bool) -> Option<String> {
        let capabilities = Capabilities { elicitation_url: url, ..Capabilities::default() };
        let told = to_modern(&Incoming::scan(text.as_bytes()).unwrap(), capabilities, None)?;
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
            r#"{"jsonrpc":"2.0","id":4,"result":{"resultType":"input_required","inputRequests":{"page-1":{"method":"elicitation/create","params":{"mode":"url","message":"look","url":"https://a/"}}}}}"#
        );
        let refused = modern(&error(-32042, data), false).unwrap();
        assert!(refused.contains("-32021") && refused.contains("requiredCapabilities"), "{refused}");
        assert!(modern(&error(-32042, "{}"), true).unwrap().contains("-32603"));
    }
}
