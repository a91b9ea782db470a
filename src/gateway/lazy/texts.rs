//! What a tool says about itself, out of its JSON as listed.

use super::index::{Builder, Field};
use crate::codec::{Span, edit, json};

/// Gives an index all that a tool says, as one document. `spoken`: its name without its server.
pub fn read(tool: &[u8], spoken: &str, server: &str, index: &mut Builder) {
    index.text(Field::Name, spoken);
    index.text(Field::Server, server);
    for (name, _, at) in json::object_members(tool, edit::whole(tool)) {
        match &*name {
            "title" => put(tool, at, Field::Title, index),
            "description" => put(tool, at, Field::Description, index),
            "annotations" => {
                if let Some(title) = json::member(tool, at, "title") {
                    put(tool, title, Field::Title, index);
                }
            }
            "inputSchema" => {
                let depth = if at.len() > SCHEMA_MAX { 1 } else { SCHEMA_DEPTH };
                read_schema(tool, at, false, depth, index);
            }
            _ => {}
        }
    }
    index.end_document();
}

fn put(bytes: &[u8], at: Span, field: Field, index: &mut Builder) {
    if let Some(text) = json::unescape(at.of(bytes)) {
        index.text(field, &text);
    }
}

/// The properties of a schema, and theirs, so deep. What a parameter's own schema says describes it.
fn read_schema(bytes: &[u8], schema: Span, of_parameter: bool, depth: usize, index: &mut Builder) {
    for (name, _, at) in json::object_members(bytes, schema) {
        match &*name {
            "description" if of_parameter => put(bytes, at, Field::ParameterTexts, index),
            "properties" if depth > 0 => {
                for (name, _, property) in json::object_members(bytes, at) {
                    index.text(Field::Parameters, &name);
                    read_schema(bytes, property, true, depth - 1, index);
                }
            }
            "items" if depth > 0 => read_schema(bytes, at, false, depth - 1, index),
            "anyOf" | "oneOf" | "allOf" if depth > 0 => {
                for schema in json::array_elements(bytes, at) {
                    read_schema(bytes, schema, false, depth - 1, index);
                }
            }
            _ => {}
        }
    }
}

/// What a tool is for, in its own words: its description, or else its title.
pub fn description(tool: &[u8]) -> String {
    let text = |name| json::member(tool, edit::whole(tool), name).and_then(|at| json::unescape(at.of(tool)));
    let description = text("description").filter(|text| !text.trim().is_empty());
    description.or_else(|| text("title")).unwrap_or_default().into_owned()
}

/// How deep parameters within parameters are looked for, and in how many bytes of a schema at most.
const SCHEMA_DEPTH: usize = 6;
const SCHEMA_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::super::index::Index;
    use super::*;
    use serde_json::json;

    fn index_of(tool: &serde_json::Value) -> Index {
        let mut builder = Builder::default();
        read(tool.to_string().as_bytes(), "spoken", "key", &mut builder);
        builder.finish()
    }

    fn words(tool: &serde_json::Value) -> Vec<String> {
        index_of(tool).words().map(String::from).collect()
    }

    #[test]
    fn all_that_a_tool_says_is_found() {
        let tool = json!({
            "name": "key__public", "title": "title1", "description": "say \"quoted\"", "annotations": { "title": "title2" },
            "inputSchema": { "description": "nothing", "properties": {
                "one": { "description": "first", "type": "string" },
                "two": { "type": "object", "properties": { "inner": { "description": "second" } } },
                "three": { "items": { "description": "nothing", "properties": { "item": {} } } },
                "four": { "anyOf": [{ "properties": { "any": true } }, 1] },
                "five": 5,
                "properties": { "description": ["no text"] },
            } },
            "outputSchema": { "properties": { "out": {} } },
        });
        let wanted = "1 2 any first five four inner item key one properties quoted say second spoken three title title1 title2 two";
        assert_eq!(words(&tool).join(" "), wanted);
        for odd in
            [json!({}), json!({ "description": 1, "title": null, "inputSchema": [], "annotations": "x" })]
        {
            assert_eq!(words(&odd), ["key", "spoken"]);
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let mut schema = json!({ "properties": { "level100": {} } });
        for level in (0..100).rev() {
            schema = json!({ "properties": { format!("level{level}"): schema } });
        }
        let levels = words(&json!({ "inputSchema": schema }));
        let levels: Vec<&String> = levels.iter().filter(|word| word.starts_with("level")).collect();
        assert_eq!(levels, ["level", "level0", "level1", "level2", "level3", "level4", "level5"]);
        let long = "ä".repeat(SCHEMA_MAX);
        let schema = json!({ "properties": { "a": { "description": long, "properties": { "b": {} } } } });
        assert_eq!(words(&json!({ "inputSchema": schema })), ["a", "key", "spoken", &"ä".repeat(32)]);
    }

    /// 2,000 tools: what is kept of them, and what a search looks at, whatever the machine's speed. (Such tools
    /// on static musl, optimized for size: 24 ms of CPU to index them, and at most 0.3 ms for a search.)
    #[test]
    fn two_thousand_tools_are_little() {
        let verbs = "create list read delete update search export merge watch assign";
        let things = "issue file page table event user branch message invoice label";
        let word = |words: &'static str, n: usize| words.split(' ').nth(n % 10).unwrap();
        let tools: Vec<(String, Vec<u8>)> = (0..2_000)
            .map(|n| {
                let (verb, thing) = (word(verbs, n), word(things, n / 10));
                let text = format!("{verb} a {thing} of the workspace, given by its id, and return what the server says about the {thing}: its state, its owner, when it was changed and by whom. ");
                let parameters = (0..6).map(|k| (format!("{thing}Param{k}"), json!({ "type": "string", "description": format!("The {thing} parameter number {k}, whether archived ones count, from 1 to 100") })));
                let schema = json!({ "type": "object", "properties": parameters.collect::<serde_json::Map<_, _>>() });
                let tool = json!({ "name": "public", "description": text.repeat(2), "inputSchema": schema });
                (format!("{verb}_{thing}_{}", n / 100), tool.to_string().into_bytes())
            })
            .collect();
        let mut builder = Builder::default();
        for (n, (name, tool)) in tools.iter().enumerate() {
            read(tool, name, &format!("server{}", n / 100), &mut builder);
        }
        let index = builder.finish();
        assert!(index.words().count() < 250, "{}", index.words().count());
        assert!(index.entries() < 2_000 * 80, "{}", index.entries());
        let (hits, effort) =
            index.search("create an issue in the workspace and assign a label", |_| true, 10);
        let names: Vec<&str> = hits.iter().map(|hit| &*tools[hit.document].0).collect();
        let is_meant = |name: &&str| {
            ["create_issue", "assign_issue", "create_label", "assign_label"]
                .iter()
                .any(|meant| name.starts_with(meant))
        };
        assert!(names.len() == 10 && names.iter().all(is_meant), "{names:?}");
        assert!(effort.words < 20 && effort.found < 2_000 * 6, "{effort:?}");
    }

    #[test]
    fn a_tool_without_a_description_has_a_title() {
        let of = |tool: serde_json::Value| description(tool.to_string().as_bytes());
        assert_eq!(of(json!({ "title": "T", "description": "D" })), "D");
        assert_eq!(of(json!({ "title": "T", "description": " " })), "T");
        assert_eq!(of(json!({ "name": "n" })), "");
    }
}
