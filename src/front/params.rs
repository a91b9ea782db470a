//! [`Annotated`]: which headers a call must carry, and whether it does (`Mcp-Param-…`, protocol.md §3.3).
//!
//! A tool's schema names, by `x-mcp-header`, arguments that a client repeats in headers; a server behind
//! pipes has no headers, so the front checks them. It learns from the answers to `tools/list` that pass by.
//! A tool that nobody listed here is not checked: its callers could not know its headers either.

use super::modern::decode;
use crate::codec::http::{Request, is_token};
use crate::codec::{Incoming, json};
use crate::mux::ServerId;
use memchr::memmem;
use serde_json::Value;
use std::collections::BTreeMap;

/// The annotated tools of all servers, by name.
#[derive(Debug, Default)]
pub(super) struct Annotated(BTreeMap<ServerId, BTreeMap<String, Vec<Mirrored>>>);

/// An argument that a header repeats.
#[derive(Debug, PartialEq, Eq)]
struct Mirrored {
    /// Names of the properties that lead to it.
    path: Vec<String>,
    /// The header's whole name.
    header: String,
    is_integer: bool,
}

impl Annotated {
    /// Learns from an answer to `tools/list`, that is one page of the server's tools.
    pub(super) fn learn(&mut self, server: ServerId, answer: &Incoming<'_>) {
        let is_annotated = |text: &[u8]| memmem::find(text, ANNOTATION.as_bytes()).is_some();
        let known = self.0.get(&server).is_some_and(|tools| !tools.is_empty());
        if !known && !is_annotated(answer.bytes) {
            return;
        }
        let tools = answer.envelope.result.and_then(|result| json::member(answer.bytes, result, "tools"));
        let Some(tools) = tools else { return };
        let own = self.0.entry(server).or_default();
        for tool in json::array_elements(answer.bytes, tools) {
            let member = |key| json::member(answer.bytes, tool, key);
            let Some(name) = member("name").and_then(|name| json::unescape(answer.text(name))) else {
                continue;
            };
            let schema = member("inputSchema").map(|schema| answer.text(schema));
            let mirrored = schema.filter(|schema| is_annotated(schema)).map(mirrored).unwrap_or_default();
            if mirrored.is_empty() {
                own.remove(&*name);
            } else if own.len() < TOOLS_MAX {
                own.insert(name.into_owned(), mirrored);
            }
        }
    }

    /// Whether a `tools/call` has the headers that its tool asks for, each with the value of its argument
    /// (SEP-2243).
    ///
    /// # Errors
    /// In words, for -32020.
    pub(super) fn check(
        &self,
        server: ServerId,
        request: &Request,
        call: &Incoming<'_>,
    ) -> Result<(), String> {
        let Some(own) = self.0.get(&server).filter(|own| !own.is_empty()) else { return Ok(()) };
        let name = call.envelope.name.and_then(|name| json::unescape(call.text(name)));
        let Some(mirrored) = name.and_then(|name| own.get(&*name)) else { return Ok(()) };
        let arguments = call.envelope.params.and_then(|params| json::member(call.bytes, params, "arguments"));
        let Some(arguments) = arguments else { return Ok(()) };
        mirrored.iter().try_for_each(|argument| {
            let value = argument
                .path
                .iter()
                .try_fold(arguments, |object, name| json::member(call.bytes, object, name));
            match value.map(|value| call.text(value)) {
                // The header of an argument that is not there is not looked at.
                None | Some(b"null") => Ok(()),
                Some(value) => argument.check(request, value),
            }
        })
    }

    /// Forgets everything, as servers may be others now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Mirrored {
    /// `value`: the argument as written.
    fn check(&self, request: &Request, value: &[u8]) -> Result<(), String> {
        let header = &self.header;
        let expected = match value.first() {
            Some(b'"') => json::unescape(value),
            // Wrong by its schema, which is for the server to say.
            Some(b'{' | b'[') | None => return Ok(()),
            Some(_) => Some(String::from_utf8_lossy(value)),
        };
        let Some(expected) = expected else { return Ok(()) };
        if request.headers.is_duplicated(header) {
            return Err(format!("the {header} header is there more than once"));
        }
        let Some(given) = request.headers.get(header) else {
            return Err(format!("the {header} header is missing (the argument is '{expected}')"));
        };
        let given = decode(header, given)?;
        let is_same = given == expected || self.is_integer && is_same_number(&given, &expected);
        match is_same {
            true => Ok(()),
            false => Err(format!("the {header} header says '{given}', the argument '{expected}'")),
        }
    }
}

/// `42` and `42.0` are one number; integers beyond 2^53 are compared digit by digit before this.
fn is_same_number(given: &str, expected: &str) -> bool {
    let is_decimal = given.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let is_small = |number: &f64| number.abs() < 9_007_199_254_740_992.0;
    let [given, expected] = [given, expected].map(|text| text.parse::<f64>().ok().filter(is_small));
    is_decimal && given.is_some() && given == expected
}

/// The annotated arguments of a tool's `inputSchema`. None if one is annotated wrongly: clients must not
/// see such a tool (P52), so what they do about its headers is undefined.
fn mirrored(schema: &[u8]) -> Vec<Mirrored> {
    let mut found = Vec::new();
    let is_sound =
        serde_json::from_slice(schema).is_ok_and(|schema| collect(&schema, &mut Vec::new(), &mut found));
    if is_sound { found } else { Vec::new() }
}

/// Annotations are reached through `properties` only.
fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Mirrored>) -> bool {
    if let Some(name) = schema.get(ANNOTATION) {
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("");
        let Some(name) = name.as_str().filter(|name| is_token(name)) else { return false };
        let header = format!("Mcp-Param-{name}");
        let is_new = !found.iter().any(|other| other.header.eq_ignore_ascii_case(&header));
        if path.is_empty() || !is_new || !matches!(kind, "string" | "integer" | "boolean") {
            return false;
        }
        found.push(Mirrored { path: path.clone(), header, is_integer: kind == "integer" });
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return true };
    properties.iter().all(|(name, property)| {
        path.push(name.clone());
        let is_sound = collect(property, path, found);
        path.pop();
        is_sound
    })
}

const ANNOTATION: &str = "x-mcp-header";
/// Most annotated tools of a server; further ones are not checked.
const TOOLS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::RecvBuf;
    use crate::codec::http::{HttpEvent, Limits, RequestDecoder};

    const SCHEMA: &str = r#"{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
        "dry":{"type":"boolean","x-mcp-header":"Dry"}}}"#;

    fn page(tools: &str) -> Vec<u8> {
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}]}}}}"#)
            .replace('\n', " ")
            .into_bytes()
    }

    fn learned(schema: &str) -> Annotated {
        let mut annotated = Annotated::default();
        let page =
            page(&format!(r#"{{"name":"plain","inputSchema":{{}}}},{{"name":"t","inputSchema":{schema}}}"#));
        annotated.learn(7, &Incoming::scan(&page).unwrap());
        annotated
    }

    fn call(
        annotated: &Annotated,
        server: ServerId,
        headers: &str,
        tool: &str,
        arguments: &str,
    ) -> Result<(), String> {
        let mut buf = RecvBuf::new();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        buf.spare(head.len())[..head.len()].copy_from_slice(head.as_bytes());
        buf.advance(head.len());
        let event = RequestDecoder::new(Limits::for_body(0)).next(&mut buf);
        let Ok(Some(HttpEvent::Head(request))) = event else { panic!("{event:?}") };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        );
        annotated.check(server, &request, &Incoming::scan(body.as_bytes()).unwrap())
    }

    #[test]
    fn headers_must_say_what_the_arguments_say() {
        let known = learned(SCHEMA);
        for (headers, arguments, is_fine) in [
            ("Mcp-Param-Region: Hello\r\n", r#"{"region":"Hello"}"#, true),
            ("mcp-param-REGION:  Hello \r\n", r#"{"region":"H\u0065llo"}"#, true),
            ("Mcp-Param-Region: =?base64?SGVsbG8=?=\r\n", r#"{"region":"Hello"}"#, true),
            ("Mcp-Param-Region: SGVsbG8=\r\n", r#"{"region":"SGVsbG8="}"#, true),
            ("Mcp-Param-Region: =?base64?SGVsbG8=\r\n", r#"{"region":"=?base64?SGVsbG8="}"#, true),
            ("Mcp-Param-Region: =?base64?SGVsbG8?=\r\n", r#"{"region":"Hello"}"#, false),
            ("Mcp-Param-Region: =?base64?SGVs!!!bG8=?=\r\n", r#"{"region":"Hello"}"#, false),
            ("Mcp-Param-Region: hello\r\n", r#"{"region":"Hello"}"#, false),
            ("", r#"{"region":"Hello"}"#, false),
            ("Mcp-Param-Region: a\r\nMcp-Param-Region: a\r\n", r#"{"region":"a"}"#, false),
            ("", r#"{"region":null}"#, true),
            ("", "{}", true),
            ("Mcp-Param-Region: a\r\nMcp-Param-Other: b\r\n", "{}", true),
            ("Mcp-Param-N: 42\r\n", r#"{"deep":{"n":42}}"#, true),
            ("Mcp-Param-N: 42\r\n", r#"{"deep":{"n":42.0}}"#, true),
            ("Mcp-Param-N: 43\r\n", r#"{"deep":{"n":42}}"#, false),
            ("Mcp-Param-N: 9007199254740993\r\n", r#"{"deep":{"n":9007199254740992}}"#, false),
            ("", r#"{"deep":{"n":42}}"#, false),
            ("Mcp-Param-N: 42\r\n", r#"{"deep":[]}"#, true),
            ("Mcp-Param-Dry: true\r\n", r#"{"dry":true}"#, true),
            ("Mcp-Param-Dry: 1\r\n", r#"{"dry":true}"#, false),
        ] {
            let outcome = call(&known, 7, headers, "t", arguments);
            assert_eq!(outcome.is_ok(), is_fine, "{headers:?} {arguments}: {outcome:?}");
        }
    }

    #[test]
    fn other_tools_and_servers_are_not_checked() {
        let known = learned(SCHEMA);
        assert!(call(&known, 7, "", "t", r#"{"region":"x"}"#).is_err());
        assert!(call(&known, 7, "", "plain", r#"{"region":"x"}"#).is_ok());
        assert!(call(&known, 8, "", "t", r#"{"region":"x"}"#).is_ok());
    }

    #[test]
    fn the_newest_list_counts() {
        let mut known = learned(SCHEMA);
        let next = page(r#"{"name":"t","inputSchema":{"type":"object"}}"#);
        known.learn(8, &Incoming::scan(&next).unwrap());
        assert!(call(&known, 7, "", "t", r#"{"region":"x"}"#).is_err(), "that was another server");
        known.learn(7, &Incoming::scan(&next).unwrap());
        assert!(call(&known, 7, "", "t", r#"{"region":"x"}"#).is_ok());
    }

    #[test]
    fn wrong_annotations_ask_for_nothing() {
        for annotation in [
            r#"{"type":"string","x-mcp-header":""}"#,
            r#"{"type":"string","x-mcp-header":"a b"}"#,
            r#"{"type":"string","x-mcp-header":7}"#,
            r#"{"type":"number","x-mcp-header":"A"}"#,
            r#"{"type":"array","x-mcp-header":"A","items":{}}"#,
            r#"{"type":"string","x-mcp-header":"same"}"#,
        ] {
            let schema = format!(
                r#"{{"properties":{{"a":{annotation},"b":{{"type":"string","x-mcp-header":"Same"}}}}}}"#
            );
            let outcome = call(&learned(&schema), 7, "", "t", r#"{"a":"x","b":"y"}"#);
            assert!(outcome.is_ok(), "{annotation}: {outcome:?}");
        }
        let unreachable = r#"{"properties":{"a":{"items":{"type":"string","x-mcp-header":"A"}}}}"#;
        assert!(call(&learned(unreachable), 7, "", "t", r#"{"a":"x"}"#).is_ok());
    }
}
