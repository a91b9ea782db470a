//! Common mistakes in a JSON Schema, found by hand: the shape of each keyword, names that must exist,
//! references that must lead somewhere.
//!
//! Not a validator of the meta schema: what clients and models never trip over is let pass. Drafts 7 to
//! 2020-12 are understood (protocol.md §1.1: MCP has the latter by default).

use serde_json::{Map, Value};

/// A mistake: where, as a JSON Pointer from the schema's root, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub at: String,
    pub what: String,
    /// Whether hosts refuse the tool for it; else the schema only says less than was meant.
    pub is_fatal: bool,
}

/// The mistakes of the input schema of a tool: of all schemas, and that its root describes an object.
pub fn mistakes_of_input(schema: &Value) -> Vec<Mistake> {
    let mut walk = Walk { root: schema, found: Vec::new() };
    if !schema.is_object() {
        walk.fatal("", format!("is {}, expected an object", kind(schema)));
        return walk.found;
    }
    match &schema["type"] {
        Value::String(name) if name == "object" => {}
        Value::Null => walk.fatal("/type", "is missing, expected \"object\"".to_owned()),
        other => walk.fatal("/type", format!("is {other}, expected \"object\"")),
    }
    walk.schema(schema, "", 0);
    // Of a root's type that is no type at all, the first words are the better ones.
    let mut is_said = false;
    walk.found.retain(|mistake| mistake.at != "/type" || !std::mem::replace(&mut is_said, true));
    walk.found
}

/// The mistakes of any schema.
pub fn mistakes(schema: &Value) -> Vec<Mistake> {
    let mut walk = Walk { root: schema, found: Vec::new() };
    walk.schema(schema, "", 0);
    walk.found
}

struct Walk<'a> {
    root: &'a Value,
    found: Vec<Mistake>,
}

impl Walk<'_> {
    fn fatal(&mut self, at: &str, what: String) {
        self.found.push(Mistake { at: at.to_owned(), what, is_fatal: true });
    }

    fn slip(&mut self, at: &str, what: String) {
        self.found.push(Mistake { at: at.to_owned(), what, is_fatal: false });
    }

    fn schema(&mut self, schema: &Value, at: &str, depth: usize) {
        if self.found.len() >= MISTAKES_MAX || depth > DEPTH_MAX || schema.is_boolean() {
            return;
        }
        let Value::Object(members) = schema else {
            return self.fatal(at, format!("is {}, expected a schema, which is an object", kind(schema)));
        };
        for (name, value) in members {
            let at = format!("{at}/{}", escape(name));
            self.keyword(name, value, &at, depth);
        }
        self.required(members, at);
    }

    fn keyword(&mut self, name: &str, value: &Value, at: &str, depth: usize) {
        match name {
            "type" => self.types(value, at),
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                match value {
                    Value::Object(schemas) => {
                        for (name, schema) in schemas {
                            self.schema(schema, &format!("{at}/{}", escape(name)), depth + 1);
                        }
                    }
                    _ => self.fatal(at, format!("is {}, expected an object of schemas", kind(value))),
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => match value {
                Value::Array(schemas) if !schemas.is_empty() => self.each(schemas, at, depth),
                Value::Array(_) => self.fatal(at, "is empty, expected some schemas".to_owned()),
                _ => self.fatal(at, format!("is {}, expected an array of schemas", kind(value))),
            },
            // An array up to draft 2019-09.
            "items" if value.is_array() => {
                if let Value::Array(schemas) = value {
                    self.each(schemas, at, depth);
                }
            }
            "items"
            | "not"
            | "if"
            | "then"
            | "else"
            | "contains"
            | "propertyNames"
            | "additionalItems"
            | "additionalProperties"
            | "unevaluatedItems"
            | "unevaluatedProperties" => {
                self.schema(value, at, depth + 1);
            }
            "enum" if !value.is_array() => {
                self.fatal(at, format!("is {}, expected an array of values", kind(value)));
            }
            "enum" if value.as_array().is_some_and(Vec::is_empty) => {
                self.slip(at, "is empty, so no value fits".to_owned());
            }
            "$ref" => self.reference(value, at),
            "pattern" | "description" | "title" | "format" if !value.is_string() => {
                self.fatal(at, format!("is {}, expected a string", kind(value)));
            }
            "minimum" | "maximum" | "multipleOf" if !value.is_number() => {
                self.fatal(at, format!("is {}, expected a number", kind(value)));
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties"
                if !is_count(value) =>
            {
                self.fatal(at, format!("is {value}, expected a whole number from 0 on"));
            }
            _ => {}
        }
    }

    fn each(&mut self, schemas: &[Value], at: &str, depth: usize) {
        for (index, schema) in schemas.iter().enumerate() {
            self.schema(schema, &format!("{at}/{index}"), depth + 1);
        }
    }

    fn types(&mut self, value: &Value, at: &str) {
        let list = match value {
            Value::String(_) => std::slice::from_ref(value),
            Value::Array(list) if !list.is_empty() => list.as_slice(),
            _ => return self.fatal(at, format!("is {}, expected the name of a type", kind(value))),
        };
        for name in list {
            if !name.as_str().is_some_and(|name| TYPES.contains(&name)) {
                self.fatal(at, format!("is {name}, expected one of {}", TYPES.join(", ")));
            }
        }
    }

    /// `required`: an array of strings, each of them among the properties where these are listed beside it.
    fn required(&mut self, members: &Map<String, Value>, at: &str) {
        let Some(required) = members.get("required") else { return };
        let at = format!("{at}/required");
        let Value::Array(names) = required else {
            let what = format!("is {}, expected an array of names of properties", kind(required));
            return self.fatal(&at, what);
        };
        let known = members.get("properties").and_then(Value::as_object);
        // Elsewhere the properties may be named: in a sibling of an `allOf`, by a pattern, behind a `$ref`.
        let is_whole = ["$ref", "allOf", "anyOf", "oneOf", "patternProperties"]
            .iter()
            .all(|keyword| !members.contains_key(*keyword));
        let is_root = at == "/required";
        for name in names {
            match name.as_str() {
                None => self.fatal(&at, format!("has {name} in it, expected names of properties")),
                Some(name) if is_whole && known.map_or(is_root, |known| !known.contains_key(name)) => {
                    self.slip(&at, format!("names '{name}', which is not among the properties"));
                }
                Some(_) => {}
            }
        }
    }

    fn reference(&mut self, value: &Value, at: &str) {
        let Some(target) = value.as_str() else {
            return self.fatal(at, format!("is {}, expected a string", kind(value)));
        };
        let Some(fragment) = target.strip_prefix('#') else {
            let what = format!("is '{target}', which is not in this document: hosts do not fetch it");
            return self.slip(at, what);
        };
        // A client decodes %XX before it follows the pointer; the few that need it are let pass.
        let leads = match fragment.is_empty() || fragment.starts_with('/') {
            true => fragment.contains('%') || self.root.pointer(fragment).is_some(),
            false => has_anchor(self.root, fragment, 0),
        };
        if !leads {
            self.fatal(at, format!("is '{target}', and there is nothing in this schema"));
        }
    }
}

fn has_anchor(value: &Value, anchor: &str, depth: usize) -> bool {
    match value {
        _ if depth > DEPTH_MAX => false,
        Value::Object(members) => {
            ["$anchor", "$dynamicAnchor"].iter().any(|key| members.get(*key).is_some_and(|v| v == anchor))
                || members.values().any(|member| has_anchor(member, anchor, depth + 1))
        }
        Value::Array(elements) => elements.iter().any(|element| has_anchor(element, anchor, depth + 1)),
        _ => false,
    }
}

/// What a value is, for people.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn is_count(value: &Value) -> bool {
    value.as_u64().is_some() || value.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0)
}

/// A member's name in a JSON Pointer (RFC 6901).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "string", "integer"];
/// More mistakes of one schema tell nothing new.
const MISTAKES_MAX: usize = 20;
/// Deeper schemas are not looked at.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `at: what` of each mistake of an input schema.
    fn found(schema: Value) -> Vec<String> {
        mistakes_of_input(&schema).into_iter().map(|m| format!("{}: {}", m.at, m.what)).collect()
    }

    #[test]
    fn good_schemas_have_no_mistakes() {
        for schema in [
            json!({"type": "object"}),
            json!({"type": "object", "properties": {}, "additionalProperties": false}),
            json!({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#", "required": ["type"],
                "properties": {"type": {"type": ["string", "null"], "enum": ["a"]}, "required": true,
                    "list": {"type": "array", "items": {"$ref": "#/$defs/n"}, "minItems": 1.0},
                    "a/b~": {"$ref": "#/properties/a~1b~0"}, "self": {"$ref": "#"}, "named": {"$ref": "#node"}},
                "$defs": {"n": {"type": "integer", "$anchor": "node"}}}),
            json!({"type": "object", "properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"type": "object", "required": ["a"], "allOf": [{"properties": {"a": {}}}]}),
        ] {
            assert_eq!(found(schema.clone()), Vec::<String>::new(), "{schema}");
        }
    }

    #[test]
    fn each_mistake_is_told_with_its_place() {
        for (schema, want) in [
            (json!("object"), ": is a string, expected an object"),
            (json!(true), ": is a boolean, expected an object"),
            (json!({}), "/type: is missing, expected \"object\""),
            (json!({"type": "array"}), "/type: is \"array\", expected \"object\""),
            (
                json!({"type": "object", "properties": []}),
                "/properties: is an array, expected an object of schemas",
            ),
            (
                json!({"type": "object", "properties": {"a": "string"}}),
                "/properties/a: is a string, expected a schema, which is an object",
            ),
            (
                json!({"type": "object", "properties": {"a/b": {"type": "strng"}}}),
                "/properties/a~1b/type: is \"strng\", expected one of null, boolean, object, array, number, string, integer",
            ),
            (
                json!({"type": "object", "required": "a"}),
                "/required: is a string, expected an array of names of properties",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "string", "required": true}}}),
                "/properties/a/required: is a boolean, expected an array of names of properties",
            ),
            (
                json!({"type": "object", "required": [1]}),
                "/required: has 1 in it, expected names of properties",
            ),
            (
                json!({"type": "object", "required": ["b"], "properties": {"a": {}}}),
                "/required: names 'b', which is not among the properties",
            ),
            (
                json!({"type": "object", "required": ["b"]}),
                "/required: names 'b', which is not among the properties",
            ),
            (
                json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}),
                "/properties/a/$ref: is '#/$defs/x', and there is nothing in this schema",
            ),
            (
                json!({"type": "object", "properties": {"a": {"$ref": "#x"}}}),
                "/properties/a/$ref: is '#x', and there is nothing in this schema",
            ),
            (json!({"type": "object", "allOf": []}), "/allOf: is empty, expected some schemas"),
            (
                json!({"type": "object", "properties": {"a": {"enum": "x"}}}),
                "/properties/a/enum: is a string, expected an array of values",
            ),
            (
                json!({"type": "object", "properties": {"a": {"minLength": -1}}}),
                "/properties/a/minLength: is -1, expected a whole number from 0 on",
            ),
        ] {
            assert_eq!(found(schema.clone()), [want], "{schema}");
        }
        assert!(mistakes(&json!({"type": ["string"], "items": [{"type": []}]})).len() == 1);
    }

    #[test]
    fn a_schema_cannot_make_it_work_for_ever() {
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({"not": deep});
        }
        assert!(mistakes(&deep).is_empty());
        let many: Map<String, Value> = (0..10_000).map(|n| (format!("p{n}"), json!(1))).collect();
        assert!(mistakes(&json!({"properties": many})).len() <= MISTAKES_MAX + 1);
    }
}
