//! An entry of `inputRequests` as a request to a legacy client, and a request that is made again with the
//! answers (protocol.md §1.2.6, §4.3). Text only; who is asked and when is `rounds`' part.

use super::content;
use super::edit::{self, Member, is_object, object};
use crate::codec::{Incoming, Message, Span, Value, json};
use crate::mux::method::Method;
use crate::mux::peer::Version;
use crate::mux::quote;
use crate::mux::reverse::Need;

/// What a client is to be asked.
#[derive(Debug)]
pub(super) struct Question {
    pub method: Method,
    /// What the client must have declared for it.
    pub need: Need,
    /// The request; its id is to be replaced.
    pub text: Vec<u8>,
    /// Its answer, if the client needs not be asked.
    pub answer: Option<Box<[u8]>>,
}

impl Question {
    /// Reads an entry for a client of this version; `id` gives the `elicitationId` where one is due.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence about it.
    pub(super) fn read(
        bytes: &[u8],
        entry: Span,
        version: Version,
        id: impl FnOnce() -> u128,
    ) -> Result<Question, String> {
        if !is_object(bytes, entry) {
            return Err("is not an object".into());
        }
        let method = json::member(bytes, entry, "method").map(|method| method.of(bytes));
        let name = method.and_then(json::unescape).ok_or("has no `method`")?;
        let method = match Method::parse(name.as_bytes()) {
            known @ (Method::Elicit | Method::Sampling | Method::RootsList) => known,
            _ => return Err(format!("is `{}`, which no client can be asked", quote(name.as_bytes()))),
        };
        let params = json::member(bytes, entry, "params");
        let params = match params {
            Some(params) if is_object(bytes, params) => Some(params_for(bytes, params, method, version, id)),
            None if method == Method::RootsList => None,
            _ => return Err("has no object `params`".into()),
        };
        let mut text = format!("{{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"{name}\"").into_bytes();
        if let Some(params) = params {
            text.extend_from_slice(b",\"params\":");
            text.extend_from_slice(&params);
        }
        text.push(b'}');
        let need = match Incoming::scan(&text) {
            Ok(msg) => Need::of(method, &msg),
            Err(error) => return Err(format!("cannot be read: {error}")),
        };
        Ok(Question { method, need, text, answer: None })
    }

    /// Whether a client of this version can be asked, if it says so: whoever declares forms can show them, but
    /// pages came with rules of their own.
    pub(super) fn is_known_to(&self, version: Version) -> bool {
        self.need != Need::ElicitUrl || version >= Version::V2025_11_25
    }
}

/// `params` of an entry as the client's version has them. A token would ask for progress, for which a modern
/// child has no use.
fn params_for(
    bytes: &[u8],
    params: Span,
    method: Method,
    version: Version,
    id: impl FnOnce() -> u128,
) -> Vec<u8> {
    let elicits = method == Method::Elicit;
    let mode = json::member(bytes, params, "mode").map(|mode| mode.of(bytes));
    let is_page = elicits && mode == Some(b"\"url\"");
    let each = |name: &str, value: Span| match name {
        "elicitationId" if is_page => Member::Drop,
        // Forms were all there was before 2025-11-25.
        "mode" if elicits && !is_page && version < Version::V2025_11_25 => Member::Drop,
        "messages" if method == Method::Sampling && version < Version::V2025_11_25 => {
            Member::Put(content::messages_for(bytes, value, version))
        }
        "_meta" => {
            let meta = object(
                bytes,
                value,
                |name, _| if name == "progressToken" { Member::Drop } else { Member::Keep },
                &[],
            );
            if meta == b"{}" { Member::Drop } else { Member::Put(meta) }
        }
        _ => Member::Keep,
    };
    let id = is_page.then(|| edit::string(&format!("{:032x}", id())));
    let added: Vec<(&str, &[u8])> = id.iter().map(|id| ("elicitationId", &id[..])).collect();
    object(bytes, params, each, &added)
}

/// A request as it was made, with these answers (key and value as written) and this state, and none of
/// earlier rounds.
pub(super) fn again<'a>(
    call: &[u8],
    answers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    state: Option<&[u8]>,
) -> Vec<u8> {
    let mut responses = b"{".to_vec();
    for (key, answer) in answers {
        if responses.len() > 1 {
            responses.push(b',');
        }
        responses.extend_from_slice(key);
        responses.push(b':');
        responses.extend_from_slice(answer);
    }
    responses.push(b'}');
    let mut added: Vec<(&str, &[u8])> = Vec::new();
    if responses != b"{}" {
        added.push(("inputResponses", &responses));
    }
    added.extend(state.map(|state| ("requestState", state)));
    let Ok(msg) = Incoming::scan(call) else { return call.to_vec() };
    let each = |name: &str, _| match name {
        "inputResponses" | "requestState" => Member::Drop,
        _ => Member::Keep,
    };
    let mut message = Message::new(call);
    let params = match msg.envelope.params {
        Some(params) => object(call, params, each, &added),
        None => [b",\"params\":", &object(b"{}", edit::whole(b"{}"), each, &added)[..]].concat(),
    };
    match msg.envelope.params {
        Some(at) => message.replace(at, Value::Raw(&params)),
        None => {
            let end = call.iter().rposition(|byte| *byte == b'}').unwrap_or(call.len());
            message.insert(end, Value::Raw(&params));
        }
    }
    message.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entry: &str, version: Version) -> Result<(String, Need), String> {
        let bytes = entry.as_bytes();
        let question = Question::read(bytes, edit::whole(bytes), version, || 0xabc)?;
        Ok((String::from_utf8(question.text).unwrap(), question.need))
    }

    const HEAD: &str = r#"{"jsonrpc":"2.0","id":0,"method":"#;

    #[test]
    fn an_entry_is_a_request_in_the_words_of_its_client() {
        let form = r#"{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{"n":1.10},"_meta":{"progressToken":1}}}"#;
        assert_eq!(
            read(form, Version::V2025_06_18).unwrap().0,
            format!(
                r#"{HEAD}"elicitation/create","params":{{"message":"?","requestedSchema":{{"n":1.10}}}}}}"#
            )
        );
        let (told, need) = read(form, Version::V2025_11_25).unwrap();
        assert!(told.contains(r#""mode":"form""#) && need == Need::ElicitForm, "{told}");
        let page =
            r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://a/","elicitationId":7}}"#;
        let (told, need) = read(page, Version::V2025_11_25).unwrap();
        assert_eq!(need, Need::ElicitUrl);
        assert_eq!(
            told,
            format!(
                r#"{HEAD}"elicitation/create","params":{{"mode":"url","url":"https://a/","elicitationId":"{:032x}"}}}}"#,
                0xabc
            )
        );
        let sampling = r#"{"method":"sampling/createMessage","id":9,"params":{"tools":[],"mode":"url","_meta":{"k":1,"progressToken":1}}}"#;
        let (told, need) = read(sampling, Version::V2025_06_18).unwrap();
        assert_eq!(need, Need::SamplingWithTools);
        assert!(told.ends_with(r#""params":{"tools":[],"mode":"url","_meta":{"k":1}}}"#), "{told}");
        let choosing = r#"{"method":"sampling/createMessage","params":{"toolChoice":{"mode":"none"}}}"#;
        assert_eq!(read(choosing, Version::V2025_11_25).unwrap().1, Need::SamplingWithTools);
        let several = r#"{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}}"#;
        let (told, _) = read(several, Version::V2025_06_18).unwrap();
        assert_eq!(told.matches(r#""role":"user""#).count(), 2, "{told}");
        assert!(read(several, Version::V2025_11_25).unwrap().0.contains(r#""content":[{"#));
        assert_eq!(
            read(r#"{"method":"roots\/list"}"#, Version::V2024_11_05).unwrap(),
            (format!(r#"{HEAD}"roots/list"}}"#), Need::Roots)
        );
    }

    #[test]
    fn what_is_no_question_is_refused_in_words() {
        for (entry, why) in [
            ("7", "is not an object"),
            ("{}", "has no `method`"),
            (r#"{"method":7}"#, "has no `method`"),
            (r#"{"method":"tools/call","params":{}}"#, "is `tools/call`"),
            (r#"{"method":"elicitation/create"}"#, "has no object `params`"),
            (r#"{"method":"sampling/createMessage","params":[]}"#, "has no object `params`"),
            (r#"{"method":"roots/list","params":null}"#, "has no object `params`"),
        ] {
            let told = read(entry, Version::LATEST).unwrap_err();
            assert!(told.contains(why), "{entry}: {told}");
        }
    }

    #[test]
    fn a_request_is_made_again_with_answers_and_state_of_this_round_only() {
        let made = |call: &str, answers: &[(&str, &str)], state: Option<&str>| {
            let answers = answers.iter().map(|(key, answer)| (key.as_bytes(), answer.as_bytes()));
            String::from_utf8(again(call.as_bytes(), answers, state.map(str::as_bytes))).unwrap()
        };
        let first =
            r#"{"id":1,"params":{"name":"t","arguments":{"n":1.10}},"method":"tools/call","jsonrpc":"2.0"}"#;
        let second = made(first, &[(r#""a\u0062""#, r#"{"x":1e2}"#), (r#""b""#, "{}")], Some(r#""s\/""#));
        assert_eq!(
            second,
            r#"{"id":1,"params":{"name":"t","arguments":{"n":1.10},"inputResponses":{"a\u0062":{"x":1e2},"b":{}},"requestState":"s\/"},"method":"tools/call","jsonrpc":"2.0"}"#
        );
        assert_eq!(made(&second, &[], None), first);
        assert!(made(&second, &[], Some("\"z\"")).contains(r#""arguments":{"n":1.10},"requestState":"z"}"#));
        assert_eq!(
            made(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call" }"#, &[], Some("\"z\"")),
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call" ,"params":{"requestState":"z"}}"#
        );
    }
}
