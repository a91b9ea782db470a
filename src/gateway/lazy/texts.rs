//! What a tool says about itself, out of its JSON as listed.

use super::index::{Field, Texts};
use super::words::cut;
use crate::codec::{Span, edit, json};

/// The texts by which a tool is found. `spoken`: its name without its server.
pub fn of_tool(tool: &[u8], spoken: &str, server: String) -> Texts {
    let mut texts = Texts::default();
    for (name, _, at) in json::object_members(tool, edit::whole(tool)) {
        match &*name {
            "title" => put(&mut texts, Field::Title, tool, at),
            "description" => put(&mut texts, Field::Description, tool, at),
            "annotations" => {
                if let Some(title) = json::member(tool, at, "title") {
                    put(&mut texts, Field::Title, tool, title);
                }
            }
            "inputSchema" => {
                let depth = if at.len() > SCHEMA_MAX { 1 } else { SCHEMA_DEPTH };
                each_parameter(tool, at, depth, &mut |name, text| {
                    add(&mut texts, Field::Parameters, name);
                    if let Some(text) = text {
                        put(&mut texts, Field::ParameterTexts, tool, text);
                    }
                });
            }
            _ => {}
        }
    }
    add(&mut texts, Field::Name, spoken);
    texts[Field::Server as usize] = server;
    texts
}

/// What a tool is for, in its own words: its description, or else its title.
pub fn description(tool: &[u8]) -> String {
    let text = |name| json::member(tool, edit::whole(tool), name).and_then(|at| json::unescape(at.of(tool)));
    let description = text("description").filter(|text| !text.trim().is_empty());
    description.or_else(|| text("title")).unwrap_or_default().into_owned()
}

fn put(texts: &mut Texts, field: Field, tool: &[u8], at: Span) {
    if let Some(text) = json::unescape(at.of(tool)) {
        add(texts, field, &text);
    }
}

fn add(texts: &mut Texts, field: Field, text: &str) {
    let whole = &mut texts[field as usize];
    whole.push_str(cut(text, TEXT_MAX.saturating_sub(whole.len())));
    whole.push('\n');
}

/// Calls `each` with the names and descriptions of the properties of a schema, and of theirs, so deep.
fn each_parameter(bytes: &[u8], schema: Span, depth: usize, each: &mut impl FnMut(&str, Option<Span>)) {
    if depth == 0 {
        return;
    }
    for (name, _, at) in json::object_members(bytes, schema) {
        match &*name {
            "properties" => {
                for (name, _, property) in json::object_members(bytes, at) {
                    each(&name, json::member(bytes, property, "description"));
                    each_parameter(bytes, property, depth - 1, each);
                }
            }
            "items" => each_parameter(bytes, at, depth - 1, each),
            "anyOf" | "oneOf" | "allOf" => {
                for schema in json::array_elements(bytes, at) {
                    each_parameter(bytes, schema, depth - 1, each);
                }
            }
            _ => {}
        }
    }
}

/// Most bytes of one field: descriptions can be books.
const TEXT_MAX: usize = 16 << 10;
/// How deep parameters within parameters are looked for, and in how many bytes of a schema at most.
const SCHEMA_DEPTH: usize = 6;
const SCHEMA_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(tool: &serde_json::Value) -> [Vec<String>; 6] {
        of_tool(tool.to_string().as_bytes(), "spoken", "key".into())
            .map(|text| text.lines().map(String::from).collect())
    }

    #[test]
    fn all_that_a_tool_says_is_found() {
        let tool = json!({
            "name": "key__spoken", "title": "T", "description": "D \"quoted\"", "annotations": { "title": "A" },
            "inputSchema": { "description": "not a parameter", "properties": {
                "one": { "description": "first" },
                "two": { "type": "object", "properties": { "inner": { "description": "second" } } },
                "three": { "items": { "properties": { "item": {} } } },
                "four": { "anyOf": [{ "properties": { "any": true } }, 1] },
                "five": 5,
                "properties": { "description": ["no text"] },
            } },
            "outputSchema": { "properties": { "out": {} } },
        });
        let [name, mut title, server, description, mut parameters, mut texts] = said(&tool);
        for list in [&mut title, &mut parameters, &mut texts] {
            list.sort();
        }
        assert_eq!(
            (name, title, server),
            (vec!["spoken".into()], vec!["A".into(), "T".into()], vec!["key".into()])
        );
        assert_eq!(description, ["D \"quoted\""]);
        assert_eq!(parameters, ["any", "five", "four", "inner", "item", "one", "properties", "three", "two"]);
        assert_eq!(texts, ["first", "second"]);
        for odd in
            [json!({}), json!({ "description": 1, "title": null, "inputSchema": [], "annotations": "x" })]
        {
            assert_eq!(said(&odd).map(|list| list.len()), [1, 0, 1, 0, 0, 0]);
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let mut schema = json!({ "properties": { "deepest": {} } });
        for _ in 0..100 {
            schema = json!({ "properties": { "deep": schema } });
        }
        assert_eq!(said(&json!({ "inputSchema": schema }))[Field::Parameters as usize].len(), SCHEMA_DEPTH);
        let long = "ä".repeat(SCHEMA_MAX);
        let schema = json!({ "properties": { "a": { "description": long, "properties": { "b": {} } } } });
        let [.., parameters, texts] = said(&json!({ "inputSchema": schema }));
        assert_eq!((parameters, texts[0].len()), (vec!["a".into()], TEXT_MAX));
    }

    #[test]
    fn a_tool_without_a_description_has_a_title() {
        let of = |tool: serde_json::Value| description(tool.to_string().as_bytes());
        assert_eq!(of(json!({ "title": "T", "description": "D" })), "D");
        assert_eq!(of(json!({ "title": "T", "description": " " })), "T");
        assert_eq!(of(json!({ "name": "n" })), "");
    }
}
