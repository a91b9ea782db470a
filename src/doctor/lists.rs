//! Tools, prompts and resources: their pages put together, and each entry judged (protocol.md §5).

use super::finding::{Finding, Findings, named};
use super::schema::{self, Mistake};
use crate::client::text;
pub use crate::codec::List;
use serde_json::Value;
use std::collections::BTreeSet;

/// One list, page after page.
#[derive(Debug)]
pub struct Pages {
    pub list: List,
    pub entries: Vec<Value>,
    cursors: BTreeSet<String>,
}

impl Pages {
    pub fn new(list: List) -> Pages {
        Pages { list, entries: Vec::new(), cursors: BTreeSet::new() }
    }

    /// Takes a page, and gives the cursor of the next one.
    ///
    /// # Errors
    /// The list cannot be read on.
    pub fn take(&mut self, result: &Value) -> Result<Option<String>, Finding> {
        let (method, member) = (self.list.method(), self.list.member());
        let invalid = |what: String| {
            let cure = format!("Correct `{method}` in the server, or update the server or its MCP SDK.");
            Finding::error("list-invalid", format!("the answer to `{method}` {what}"), cure)
                .seen(result.to_string())
        };
        let Value::Array(entries) = &result[member] else {
            return Err(invalid(format!(
                "has {} as `{member}`, expected an array",
                schema::kind(&result[member])
            )));
        };
        self.entries.extend(entries.iter().cloned());
        let cursor = match &result["nextCursor"] {
            Value::Null => return Ok(None),
            Value::String(cursor) => cursor.clone(),
            other => {
                return Err(invalid(format!(
                    "has {} as `nextCursor`, expected a string",
                    schema::kind(other)
                )));
            }
        };
        let endless = |what: String| {
            let cure = "Leave `nextCursor` out of the last page, and give each page a cursor of its own.";
            Finding::error("list-endless", format!("`{method}` {what}"), cure)
        };
        if !self.cursors.insert(cursor.clone()) {
            return Err(endless(format!("gives the cursor '{cursor}' again, so its pages go in a circle")));
        }
        if self.cursors.len() >= PAGES_MAX || self.entries.len() > ENTRIES_MAX {
            let (pages, entries) = (self.cursors.len(), self.entries.len());
            return Err(endless(format!("has no end: {pages} pages, {entries} entries so far")));
        }
        Ok(Some(cursor))
    }

    /// Judges the whole list.
    pub fn judge(&self, findings: &mut Findings) {
        keys(self.list, &self.entries, findings);
        match self.list {
            List::Tools => tools(&self.entries, findings),
            List::Prompts => prompts(&self.entries, findings),
            // Their names are for people, and a client shows the URI if there is none.
            List::Resources | List::Templates => {}
        }
    }
}

/// That each entry is an object with a key of its own.
fn keys(list: List, entries: &[Value], findings: &mut Findings) {
    let (one, key) = (list.item(), list.key());
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    let mut broken = None;
    for entry in entries {
        match entry[key].as_str().filter(|key| !key.is_empty()) {
            None => broken = broken.or(Some(entry)),
            Some(name) => {
                if !seen.insert(name) {
                    twice.insert(name.to_owned());
                }
            }
        }
    }
    if let Some(entry) = broken {
        let message = format!("`{}` has a {one} without `{key}`", list.method());
        let cure = format!("Give each {one} a `{key}` that is a string and not empty.");
        findings.add(Finding::error("entry-invalid", message, cure).seen(entry.to_string()));
    }
    let twice: Vec<String> = twice.into_iter().collect();
    if !twice.is_empty() {
        let message = format!("more than one {one} has the same `{key}`: {}", named(&twice));
        let cure = format!(
            "Rename one of them: clients cannot tell them apart, and some refuse the whole list of {one}s."
        );
        findings.add(Finding::error("entry-duplicate", message, cure));
    }
}

fn tools(entries: &[Value], findings: &mut Findings) {
    let names = |wanted: &dyn Fn(&str, &Value) -> bool| -> Vec<String> {
        let with_name = entries.iter().filter_map(|tool| Some((tool["name"].as_str()?, tool)));
        with_name.filter(|(name, tool)| wanted(name, tool)).map(|(name, _)| name.to_owned()).collect()
    };
    let long = names(&|name, _| name.chars().count() > NAME_MAX);
    if !long.is_empty() {
        let message = format!(
            "{} of tools are longer than {NAME_MAX} characters: {}",
            counted(&long, "name"),
            named(&long)
        );
        let cure =
            "Shorten them: hosts on the OpenAI and Gemini APIs refuse longer ones, and many add a prefix.";
        findings.add(Finding::warning("tool-name-long", message, cure));
    }
    let odd =
        names(&|name, _| !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')));
    if !odd.is_empty() {
        let message = format!(
            "{} of tools have other characters than A-Z a-z 0-9 _ - . in them: {}",
            counted(&odd, "name"),
            named(&odd)
        );
        let cure = "Rename them: the protocol allows no others, and hosts on the Anthropic and OpenAI APIs refuse \
                    them (and the dot).";
        findings.add(Finding::warning("tool-name-characters", message, cure));
    }
    let is_blank = |text: &Value| text.as_str().is_none_or(|text| text.trim().is_empty());
    let mute = names(&|_, tool| is_blank(&tool["description"]));
    if !mute.is_empty() {
        let message = format!("{} without a description: {}", counted(&mute, "tool"), named(&mute));
        let cure = "Describe what each is for: a model chooses a tool by its description.";
        findings.add(Finding::warning("tool-undescribed", message, cure));
    }
    schemas(entries, findings);
    if entries.is_empty() {
        let cure = "If it should have some, see whether a key, a permission or an argument is missing.";
        findings.add(Finding::note("list-empty", "it announces tools, and has none", cure));
    }
    if entries.len() > TOOLS_MANY {
        let message = format!("it has {} tools", entries.len());
        let cure = "Offer fewer at once if you can: hosts have limits (40 to 128), and models choose worse among many.";
        findings.add(Finding::note("tools-many", message, cure));
    }
    let bytes: usize = entries.iter().map(|tool| tool.to_string().len()).sum();
    if bytes > TOOLS_BYTES {
        let message = format!("its list of tools is {} long", text::bytes(bytes as u64));
        let cure =
            "Shorten descriptions and schemas: the whole list is put before the model with each request.";
        findings.add(Finding::note("tools-large", message, cure));
    }
}

/// The schemas of all tools; the same mistake of many tools is one finding.
fn schemas(entries: &[Value], findings: &mut Findings) {
    let mut groups: Vec<(String, bool, Vec<String>)> = Vec::new();
    let mut missing = Vec::new();
    for tool in entries {
        let Some(name) = tool["name"].as_str() else { continue };
        let input = match tool.get("inputSchema") {
            None | Some(Value::Null) => {
                missing.push(name.to_owned());
                Vec::new()
            }
            Some(input) => schema::mistakes_of_input(input),
        };
        let output = tool.get("outputSchema").map(schema::mistakes).unwrap_or_default();
        let input = input.into_iter().map(|mistake| ("inputSchema", mistake));
        let output = output.into_iter().map(|mistake| ("outputSchema", mistake));
        for (whose, Mistake { at, what, is_fatal }) in input.chain(output) {
            let text = format!("{whose}{at} {what}");
            if let Some((.., names)) = groups.iter_mut().find(|(known, ..)| *known == text) {
                names.push(name.to_owned());
            } else if groups.len() < SCHEMA_FINDINGS {
                groups.push((text, is_fatal, vec![name.to_owned()]));
            }
        }
    }
    if !missing.is_empty() {
        let message = format!("{} without an inputSchema: {}", counted(&missing, "tool"), named(&missing));
        let cure = "Add one, {\"type\":\"object\"} for a tool without arguments: clients refuse the list without it.";
        findings.add(Finding::error("schema-missing", message, cure));
    }
    for (text, is_fatal, names) in groups {
        let of = format!("{} {}", if names.len() == 1 { "tool" } else { "tools" }, named(&names));
        let finding = match is_fatal {
            true => Finding::error(
                "schema-invalid",
                format!("{of}: {text}"),
                "Correct the schema in the server: hosts refuse the tool, some the whole server.",
            ),
            false => Finding::warning(
                "schema-doubtful",
                format!("{of}: {text}"),
                "Correct the schema in the server: strict hosts refuse the tool, and models call it wrongly.",
            ),
        };
        findings.add(finding);
    }
}

fn prompts(entries: &[Value], findings: &mut Findings) {
    for prompt in entries {
        let arguments = &prompt["arguments"];
        let is_good = match arguments {
            Value::Null => true,
            Value::Array(list) => list.iter().all(|argument| argument["name"].is_string()),
            _ => false,
        };
        if !is_good {
            let message = format!(
                "the arguments of the prompt {} are not a list of objects with `name`",
                prompt["name"]
            );
            let cure = "Correct them in the server: clients refuse the list of prompts.";
            findings.add(Finding::error("entry-invalid", message, cure).seen(arguments.to_string()));
            return;
        }
    }
}

fn counted(names: &[String], thing: &str) -> String {
    text::counted(names.len(), thing)
}

/// Longest name of a tool that no host refuses, in characters.
const NAME_MAX: usize = 64;
/// More tools than this are mentioned.
const TOOLS_MANY: usize = 100;
/// So are more bytes of them.
const TOOLS_BYTES: usize = 100_000;
/// Most findings about schemas of one server.
const SCHEMA_FINDINGS: usize = 10;
/// Most pages of one list.
const PAGES_MAX: usize = 200;
/// Most entries of one list.
const ENTRIES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn judged(list: List, entries: Value) -> Vec<String> {
        let mut pages = Pages::new(list);
        assert_eq!(pages.take(&json!({ list.member(): entries })), Ok(None));
        let mut findings = Findings::default();
        pages.judge(&mut findings);
        findings
            .sorted()
            .into_iter()
            .map(|finding| format!("{}: {}", finding.code, finding.message))
            .collect()
    }

    fn tool(name: &str) -> Value {
        json!({"name": name, "description": "d", "inputSchema": {"type": "object"}})
    }

    #[test]
    fn good_entries_are_not_mentioned() {
        assert_eq!(judged(List::Tools, json!([tool("a"), tool("b.c-D_1")])), Vec::<String>::new());
        assert_eq!(
            judged(List::Prompts, json!([{"name": "a"}, {"name": "b", "arguments": [{"name": "x"}]}])),
            Vec::<String>::new()
        );
        assert_eq!(judged(List::Resources, json!([{"uri": "a:b", "name": "n"}])), Vec::<String>::new());
        assert_eq!(judged(List::Prompts, json!([])), Vec::<String>::new());
        assert_eq!(judged(List::Tools, json!([])), ["list-empty: it announces tools, and has none"]);
    }

    #[test]
    fn each_mistake_of_an_entry_is_told() {
        let broken = |key: &str, value: Value| {
            let mut tool = tool("a");
            tool[key] = value;
            json!([tool])
        };
        for (list, entries, want) in [
            (
                List::Tools,
                json!([tool("a"), tool("b"), tool("a")]),
                "entry-duplicate: more than one tool has the same `name`: 'a'",
            ),
            (
                List::Resources,
                json!([{"uri": "x"}, {"uri": "x"}]),
                "entry-duplicate: more than one resource has the same `uri`: 'x'",
            ),
            (List::Prompts, json!([{}]), "entry-invalid: `prompts/list` has a prompt without `name`"),
            (
                List::Prompts,
                json!([{"name": "p", "arguments": {}}]),
                "entry-invalid: the arguments of the prompt \"p\" are not a list of objects with `name`",
            ),
            (
                List::Tools,
                json!([tool("a b")]),
                "tool-name-characters: 1 name of tools have other characters than A-Z a-z 0-9 _ - . in them: 'a b'",
            ),
            (
                List::Tools,
                broken("description", json!(" ")),
                "tool-undescribed: 1 tool without a description: 'a'",
            ),
            (
                List::Tools,
                broken("inputSchema", Value::Null),
                "schema-missing: 1 tool without an inputSchema: 'a'",
            ),
            (
                List::Tools,
                broken("inputSchema", json!("x")),
                "schema-invalid: tool 'a': inputSchema is a string, expected an object",
            ),
            (
                List::Tools,
                broken("outputSchema", json!({"type": 1})),
                "schema-invalid: tool 'a': outputSchema/type is a number, expected the name of a type",
            ),
        ] {
            assert_eq!(judged(list, entries), [want]);
        }
        let long = judged(List::Tools, json!([tool(&"x".repeat(65))]));
        assert!(long.len() == 1 && long[0].starts_with("tool-name-long: 1 name of tools"), "{long:?}");
        let many: Vec<Value> = (0..101).map(|n| tool(&format!("t{n}"))).collect();
        assert_eq!(judged(List::Tools, json!(many)), ["tools-many: it has 101 tools"]);
        let large = judged(List::Tools, broken("description", json!("d".repeat(200_000))));
        assert_eq!(large, ["tools-large: its list of tools is 200 kB long"]);
    }

    #[test]
    fn the_same_mistake_of_many_tools_is_one_finding() {
        let tools: Vec<Value> =
            ["a", "b"].map(|name| json!({"name": name, "description": "d", "inputSchema": {}})).into();
        let found = judged(List::Tools, json!(tools));
        assert_eq!(
            found,
            ["schema-invalid: tools 'a', 'b': inputSchema/type is missing, expected \"object\""]
        );
    }

    #[test]
    fn pages_come_to_an_end() {
        let mut pages = Pages::new(List::Tools);
        assert_eq!(pages.take(&json!({"tools": [], "nextCursor": ""})), Ok(Some(String::new())));
        assert_eq!(pages.take(&json!({"tools": [], "nextCursor": "a"})), Ok(Some("a".into())));
        assert_eq!(pages.take(&json!({"tools": [], "nextCursor": ""})).unwrap_err().code, "list-endless");
        let mut pages = Pages::new(List::Tools);
        let endless =
            (0..1000).find_map(|n| pages.take(&json!({"tools": [], "nextCursor": n.to_string()})).err());
        assert_eq!(endless.unwrap().code, "list-endless");
        for result in [json!({}), json!({"tools": {}}), json!({"tools": [], "nextCursor": 1})] {
            assert_eq!(Pages::new(List::Tools).take(&result).unwrap_err().code, "list-invalid");
        }
    }
}
