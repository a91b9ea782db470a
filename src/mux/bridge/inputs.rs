//! Questions of a legacy child as entries of an `input_required` result, and their answers back (protocol.md
//! §4.2). Who asked whom, and when, is `suspended`'s.

use super::edit::{self, Member, SERVER_INFO, is_object, object, object_of};
use crate::base::{ShortBytes, sorted};
use crate::codec::{Incoming, Span, json};
use crate::mux::method::Method;
use crate::mux::reply;
use crate::mux::reverse::Need;
use serde_json::Value;
use std::hash::{BuildHasher, Hasher};

/// What a child asked, and waits for.
#[derive(Debug)]
pub(super) struct Question {
    /// Its name in `inputRequests`.
    pub key: String,
    /// The child's own id, as written.
    pub id: ShortBytes,
    pub method: Method,
    /// What a client must have declared to be asked it.
    pub need: Need,
    /// As its client reads them, JSON text; empty if it had none.
    pub params: Box<[u8]>,
    /// Whether its client was told of it.
    pub shown: bool,
}

impl Question {
    /// Reads a child's request. Its progress token is left out, as nobody reports progress on such a
    /// question, and so is the `elicitationId`, which 2026-07-28 does not have.
    pub(super) fn read(key: String, method: Method, msg: &Incoming<'_>) -> Question {
        let each = |name: &str, value: Span| match name {
            "elicitationId" if method == Method::Elicit => Member::Drop,
            "_meta" => {
                let meta = object(
                    msg.bytes,
                    value,
                    |name, _| if name == "progressToken" { Member::Drop } else { Member::Keep },
                    &[],
                );
                if meta == b"{}" { Member::Drop } else { Member::Put(meta) }
            }
            _ => Member::Keep,
        };
        let params = msg.envelope.params.filter(|params| is_object(msg.bytes, *params));
        let params = params.map(|params| object(msg.bytes, params, each, &[]));
        Question {
            key,
            id: ShortBytes::new(msg.envelope.id.map_or(b"null", |id| msg.text(id))),
            method,
            need: Need::of(method, msg),
            params: params.unwrap_or_default().into(),
            shown: false,
        }
    }

    /// Checks a client's answer, JSON text: it has the shape of the result that the child waits for.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn check(&self, answer: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
        let wrong = |what: &str| Err(format!("`inputResponses.{}` {what}", self.key));
        match self.method {
            Method::Elicit if !matches!(value["action"].as_str(), Some("accept" | "decline" | "cancel")) => {
                wrong("must be an object with `action`: \"accept\", \"decline\" or \"cancel\"")
            }
            Method::Elicit if value.get("content").is_some_and(|content| !content.is_object()) => {
                wrong("must have an object as its `content`, if any")
            }
            Method::Sampling
                if !matches!(value["role"].as_str(), Some("user" | "assistant"))
                    || !(value["content"].is_object() || value["content"].is_array())
                    || !value["model"].is_string() =>
            {
                wrong("must be an object with `role`, `content` and `model`")
            }
            Method::RootsList if !is_list_of_roots(&value["roots"]) => {
                wrong("must be an object with `roots`, an array of objects with `uri`")
            }
            _ => Ok(()),
        }
    }

    /// What the child is told of a client that declares too little for it.
    pub(super) fn refused(&self) -> Vec<u8> {
        reply::error(&self.id, self.need.unsupported(), &self.need.nobody())
    }

    /// What the child is told if nobody will answer.
    pub(super) fn withdrawn(&self) -> Vec<u8> {
        let why = "the client does not answer";
        match self.method {
            Method::Elicit => reply::result(&self.id, b"{\"action\":\"cancel\"}"),
            // The code for a user who does not want to (protocol.md §1.3).
            Method::Sampling => reply::error(&self.id, -1, why),
            _ => reply::error(&self.id, reply::INTERNAL, why),
        }
    }
}

fn is_list_of_roots(roots: &Value) -> bool {
    roots.as_array().is_some_and(|roots| roots.iter().all(|root| root["uri"].is_string()))
}

/// The answer that asks a client these questions.
pub(super) fn input_required(id: &[u8], questions: &[Question], state: &str, server_info: &[u8]) -> Vec<u8> {
    let mut requests = Vec::new();
    for question in questions {
        let mut entry = format!("{{\"method\":\"{}\"", method_name(question.method)).into_bytes();
        if !question.params.is_empty() {
            entry.extend_from_slice(b",\"params\":");
            entry.extend_from_slice(&question.params);
        }
        entry.push(b'}');
        requests.push((question.key.as_str(), entry));
    }
    let members: Vec<(&str, &[u8])> = requests.iter().map(|(key, entry)| (*key, &entry[..])).collect();
    let result = object_of(&[
        ("resultType", b"\"input_required\""),
        ("inputRequests", &object_of(&members)),
        ("requestState", &edit::string(state)),
        ("_meta", &object_of(&[(SERVER_INFO, server_info)])),
    ]);
    reply::result(id, &result)
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Sampling => "sampling/createMessage",
        Method::Elicit => "elicitation/create",
        _ => "roots/list",
    }
}

/// `requestState` of a request.
pub(super) fn state_of(msg: &Incoming<'_>) -> Option<Span> {
    json::member(msg.bytes, msg.envelope.params?, "requestState")
}

/// `inputResponses` of a request.
///
/// # Errors
/// It is no object.
pub(super) fn responses_of(msg: &Incoming<'_>) -> Result<Option<Span>, String> {
    let Some(params) = msg.envelope.params else { return Ok(None) };
    match json::member(msg.bytes, params, "inputResponses") {
        Some(responses) if !is_object(msg.bytes, responses) => {
            Err("`inputResponses` must be an object".into())
        }
        responses => Ok(responses),
    }
}

/// A number for what a request asks for: equal for equal method and params, however they are written, but for
/// what may differ between its rounds.
pub(super) fn binding(msg: &Incoming<'_>, keys: &impl BuildHasher) -> u64 {
    let mut hasher = keys.build_hasher();
    hasher.write(msg.method());
    hasher.write_u8(0);
    if let Some(params) = msg.envelope.params {
        let is_same = |name: &str| !matches!(name, "_meta" | "requestState" | "inputResponses");
        digest(msg.bytes, params, &mut hasher, &is_same);
    }
    hasher.finish()
}

/// Feeds a value to a hasher: members in the order of their names, strings as what they say, numbers as they
/// are written. `which` are the members that count, at this depth.
fn digest(bytes: &[u8], at: Span, hasher: &mut impl Hasher, which: &dyn Fn(&str) -> bool) {
    let text = at.of(bytes);
    let count = |hasher: &mut dyn Hasher, n: usize| hasher.write_u64(n as u64);
    match text[0] {
        b'{' => {
            let mut members: Vec<_> = json::object_members(bytes, at)
                .filter(|(name, _, _)| which(name))
                .map(|(name, _, value)| (name, value))
                .collect();
            sorted::sort_by(&mut members, |(a, _), (b, _)| a.cmp(b));
            hasher.write_u8(b'{');
            count(hasher, members.len());
            for (name, value) in members {
                count(hasher, name.len());
                hasher.write(name.as_bytes());
                digest(bytes, value, hasher, &|_| true);
            }
        }
        b'[' => {
            hasher.write_u8(b'[');
            for element in json::array_elements(bytes, at) {
                hasher.write_u8(b',');
                digest(bytes, element, hasher, &|_| true);
            }
            hasher.write_u8(b']');
        }
        _ => {
            let said = json::unescape(text);
            let said = said.as_ref().map_or(text, |said| said.as_bytes());
            hasher.write_u8(text[0]);
            count(hasher, said.len());
            hasher.write(said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::RandomState;

    fn question(method: Method, text: &str) -> Question {
        Question::read("q1".into(), method, &Incoming::scan(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_question_is_asked_without_what_only_its_child_knows() {
        let asked = [
            question(
                Method::Elicit,
                r#"{"jsonrpc":"2.0","id":"a","method":"elicitation/create","params":{"mode":"url","url":"https://x","elicitationId":"e","n":1.10,"_meta":{"progressToken":1}}}"#,
            ),
            Question {
                key: "q2".into(),
                ..question(Method::RootsList, r#"{"jsonrpc":"2.0","id":2,"method":"roots/list"}"#)
            },
        ];
        assert_eq!(
            String::from_utf8(input_required(b"\"7\"", &asked, "s", b"{}")).unwrap(),
            r#"{"jsonrpc":"2.0","id":"7","result":{"resultType":"input_required","inputRequests":{"q1":{"method":"elicitation/create","params":{"mode":"url","url":"https://x","n":1.10}},"q2":{"method":"roots/list"}},"requestState":"s","_meta":{"io.modelcontextprotocol/serverInfo":{}}}}"#
        );
    }

    #[test]
    fn answers_have_the_shape_of_the_result() {
        let ask = |method| question(method, r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#);
        for (method, good, bad) in [
            (
                Method::Elicit,
                &[r#"{"action":"accept","content":{}}"#, r#"{"action":"cancel"}"#][..],
                &[r#"{"action":"yes"}"#, r#"{"action":"accept","content":[]}"#, "{}", "null", "[]", "1"][..],
            ),
            (
                Method::Sampling,
                &[r#"{"role":"assistant","content":{"type":"text"},"model":"m"}"#],
                &[
                    r#"{"role":"assistant","content":{"type":"text"}}"#,
                    r#"{"role":"x","content":[],"model":""}"#,
                    "{}",
                ],
            ),
            (
                Method::RootsList,
                &[r#"{"roots":[]}"#, r#"{"roots":[{"uri":"file:///"}]}"#],
                &[r#"{"roots":{}}"#, r#"{"roots":[{}]}"#, r#"{"roots":["file:///"]}"#, "{}"],
            ),
        ] {
            for answer in good {
                assert_eq!(ask(method).check(answer.as_bytes()), Ok(()), "{answer}");
            }
            for answer in bad {
                assert!(ask(method).check(answer.as_bytes()).is_err(), "{answer}");
            }
        }
    }

    #[test]
    fn a_request_is_the_same_however_it_is_written_and_no_other() {
        let keys = RandomState::new();
        let of = |method: &str, params: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            binding(&Incoming::scan(text.as_bytes()).unwrap(), &keys)
        };
        let first = of("tools/call", r#"{"name":"t","arguments":{"a":[1,"b"],"c":{}}}"#);
        for same in [
            r#"{"arguments":{"c":{ },"a":[1 ,"\u0062"]},"\u006eame":"t","_meta":{"x":1},"requestState":"s"}"#,
            r#"{"inputResponses":{"q1":{}},"name":"t","arguments":{"a":[1,"b"],"c":{}}}"#,
        ] {
            assert_eq!(of("tools/call", same), first, "{same}");
        }
        for other in [
            r#"{"name":"t","arguments":{"a":[1,"b"],"c":{"_meta":1}}}"#,
            r#"{"name":"t","arguments":{"a":["1","b"],"c":{}}}"#,
            r#"{"name":"t","arguments":{"a":[[1],"b"],"c":{}}}"#,
            r#"{"name":"u","arguments":{"a":[1,"b"],"c":{}}}"#,
            r#"{"name":"t","arguments":{"a":[1,"b"],"c":[]}}"#,
            "{}",
        ] {
            assert_ne!(of("tools/call", other), first, "{other}");
        }
        assert_ne!(of("prompts/get", r#"{"name":"t","arguments":{"a":[1,"b"],"c":{}}}"#), first);
    }
}
