//! A tool that is offered otherwise than its server has it (H08): under another name or description, or
//! without some of its parameters.
//!
//! A hidden parameter is in no schema that clients read, and whatever they send for it is taken out of a call;
//! one with a fixed value goes to the server with that, always.

use crate::codec::edit::{self, Member, array, object, whole};
use crate::codec::{Span, json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is changed of a tool.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Instead of the server's own name, before any prefix.
    pub name: Option<String>,
    pub description: Option<String>,
    /// Parameters that clients do not see, with the value that the server gets (JSON text), if any.
    pub hidden: BTreeMap<String, Option<Box<str>>>,
}

/// Fixed values may be keys and tokens.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("name", &self.name)
            .field("description", &self.description)
            .field("hidden", &self.hidden.keys())
            .finish()
    }
}

impl Change {
    /// An `inputSchema` without the hidden parameters: neither described nor required.
    pub(super) fn schema(&self, schema: &[u8]) -> Vec<u8> {
        let parameter = |name: &str, _| match self.hidden.contains_key(name) {
            true => Member::Drop,
            false => Member::Keep,
        };
        let required = |at: Span| match json::unescape(at.of(schema)) {
            Some(name) if self.hidden.contains_key(&*name) => Member::Drop,
            _ => Member::Keep,
        };
        let each = |name: &str, value: Span| match name {
            "properties" => Member::Put(object(schema, value, parameter, &[])),
            "required" => Member::Put(array(schema, value, required)),
            _ => Member::Keep,
        };
        object(schema, whole(schema), each, &[])
    }

    /// The arguments of a call as the server gets them; `None` for none. What is no object stays as it is: the
    /// server refuses it.
    pub(super) fn arguments(&self, bytes: &[u8], arguments: Option<Span>) -> Option<Vec<u8>> {
        let fixed: Vec<(String, &str)> =
            self.hidden.iter().filter_map(|(name, value)| Some((escaped(name), value.as_deref()?))).collect();
        let fixed: Vec<(&str, &[u8])> =
            fixed.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let each = |name: &str, _| match self.hidden.contains_key(name) {
            true => Member::Drop,
            false => Member::Keep,
        };
        match arguments.filter(|at| at.of(bytes) != b"null") {
            Some(at) => Some(object(bytes, at, each, &fixed)),
            None if fixed.is_empty() => None,
            None => Some(object(b"{}", whole(b"{}"), each, &fixed)),
        }
    }
}

/// A name as it stands between the quotes of JSON.
fn escaped(name: &str) -> String {
    let text = String::from_utf8(edit::string(name)).unwrap_or_default();
    text[1..text.len() - 1].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        let fixed = |text: &str| Some(text.into());
        let hidden = [("key", fixed("\"s3cr3t\"")), ("gone", None), ("a\"b", fixed("1.50"))];
        let hidden = hidden.map(|(name, value)| (name.to_string(), value)).into();
        Change { hidden, ..Change::default() }
    }

    #[test]
    fn hidden_parameters_are_neither_described_nor_required() {
        let schema = br#"{"type":"object", "properties":{"x":{"minimum":1.0},"k\u0065y":{},"gone":{"properties":{}}},"required":["key", "x","gone"],"additionalProperties":false}"#;
        assert_eq!(
            String::from_utf8(change().schema(schema)).unwrap(),
            r#"{"type":"object","properties":{"x":{"minimum":1.0}},"required":["x"],"additionalProperties":false}"#
        );
        for odd in ["{}", r#"{"properties":7,"required":{}}"#, "true", r#"{"required":[7,null]}"#] {
            assert_eq!(change().schema(odd.as_bytes()), odd.as_bytes());
        }
    }

    #[test]
    fn what_is_fixed_is_put_in_and_what_is_hidden_left_out() {
        let of = |text: &str| {
            let arguments = (!text.is_empty()).then(|| whole(text.as_bytes()));
            change().arguments(text.as_bytes(), arguments).map(|text| String::from_utf8(text).unwrap())
        };
        let fixed = r#""a\"b":1.50,"key":"s3cr3t""#;
        assert_eq!(
            of(r#"{"x":1e2,"key":"mine","gone":1,"key":2,"a\u0022b":3}"#),
            Some(format!("{{\"x\":1e2,{fixed}}}"))
        );
        assert_eq!(of("{}"), Some(format!("{{{fixed}}}")));
        assert_eq!(of(""), of("{}"));
        assert_eq!(of("null"), of("{}"));
        assert_eq!(of("[1]"), Some("[1]".to_string()));
        let only_hidden = Change { hidden: [("x".to_string(), None)].into(), ..Change::default() };
        assert_eq!(only_hidden.arguments(b"", None), None);
    }

    #[test]
    fn fixed_values_are_not_shown() {
        assert!(!format!("{:?}", change()).contains("s3cr3t"));
    }
}
