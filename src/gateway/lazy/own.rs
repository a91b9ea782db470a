//! The three tools as clients list them. What they say teaches a model how to use them, and which servers there
//! are; it changes only with the servers, so that what a host has cached stays good.

use serde_json::{Value, json};

/// One of the three tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Own {
    Search,
    Schema,
    Invoke,
}

impl Own {
    const ALL: [Own; 3] = [Own::Search, Own::Schema, Own::Invoke];

    pub fn name(self) -> &'static str {
        match self {
            Own::Search => "tool_search",
            Own::Schema => "tool_schema",
            Own::Invoke => "tool_invoke",
        }
    }

    pub fn by_name(name: &str) -> Option<Own> {
        Own::ALL.into_iter().find(|own| own.name() == name)
    }

    /// Whether no server is asked.
    pub fn is_answered_here(self) -> bool {
        self != Own::Invoke
    }
}

/// What the endpoint's instructions begin with.
pub(in crate::gateway) const INSTRUCTIONS: &str = "The tools of these servers are not listed one by one: find \
    them with `tool_search`, read their arguments with `tool_schema`, run them with `tool_invoke`.\n\n";

const SEARCH: &str = "Finds tools by what they do. The tools of the servers below are not listed; this is how to \
    find them. Search before you say that something cannot be done. Give a few key words (\"create github \
    issue\"), not a sentence; narrow the search with `server`; an empty `query` lists all tools. Gives the best \
    matches first, each with name, one-line description, server and score. Next, read the tool's arguments with \
    `tool_schema`, then run it with `tool_invoke`.";

const SCHEMA: &str = "Gives the full definitions of tools found with `tool_search`: description, input schema, \
    output schema. Read a tool's definition before its first `tool_invoke`; do not guess argument names. Ask for \
    several tools at once.";

const INVOKE: &str = "Runs a tool of any server, by its `name` as `tool_search` gives it and with `arguments` as \
    its input schema in `tool_schema` asks for. The result is the tool's own.";

/// The list of the three as JSON, with servers (key, instructions) in their order.
pub(super) fn listing<'a>(servers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let tools = json!([search(&server_lines(&servers.collect::<Vec<_>>())), schema(), invoke()]);
    tools.to_string().into_bytes()
}

fn search(servers: &str) -> Value {
    json!({
        "name": Own::Search.name(),
        "title": "Find tools",
        "description": format!("{SEARCH}{servers}"),
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "Key words: what the tool does, or its name." },
                "server": { "type": "string", "description": "Only tools of this server, one of those above." },
                "limit": { "type": "integer", "minimum": 1, "maximum": super::HITS_MAX,
                    "default": super::HITS, "description": "Most tools to give." },
            },
            "required": ["query"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "tools": { "type": "array", "items": {
                    "type": "object",
                    "properties": { "name": { "type": "string" }, "description": { "type": "string" },
                        "server": { "type": "string" }, "score": { "type": "number" } },
                    "required": ["name", "description", "server", "score"],
                } },
                "found": { "type": "integer", "description": "How many there are, with those not given." },
            },
            "required": ["tools", "found"],
        },
        "annotations": { "readOnlyHint": true, "openWorldHint": false },
    })
}

fn schema() -> Value {
    json!({
        "name": Own::Schema.name(),
        "title": "Read tool definitions",
        "description": SCHEMA,
        "inputSchema": {
            "type": "object",
            "properties": {
                "names": { "type": "array", "items": { "type": "string" }, "minItems": 1,
                    "maxItems": super::SCHEMAS_MAX, "description": "Names as `tool_search` gives them." },
            },
            "required": ["names"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "tools": { "type": "array", "items": { "type": "object" } },
                "unknown": { "type": "array", "items": { "type": "string" },
                    "description": "For names that no tool has: the nearest ones." },
            },
            "required": ["tools"],
        },
        "annotations": { "readOnlyHint": true, "openWorldHint": false },
    })
}

fn invoke() -> Value {
    json!({
        "name": Own::Invoke.name(),
        "title": "Run a tool",
        "description": INVOKE,
        "inputSchema": {
            "type": "object",
            "properties": {
                "name": { "type": "string", "description": "The tool's name as `tool_search` gives it." },
                "arguments": { "type": "object", "description": "The tool's arguments, by its input schema." },
            },
            "required": ["name"],
            "additionalProperties": false,
        },
    })
}

/// One line for each server, all together bounded: with many servers each says less, and in the end nothing but
/// its key.
fn server_lines(servers: &[(&str, &str)]) -> String {
    let mut lines = String::new();
    let room = (SERVERS_MAX / servers.len().max(1)).min(LINE_MAX);
    for (n, (key, instructions)) in servers.iter().enumerate() {
        let line = one_line(instructions, room.saturating_sub(key.len() + "\n- : ".len()));
        let line = if line.is_empty() { format!("\n- {key}") } else { format!("\n- {key}: {line}") };
        if lines.len() + line.len() > SERVERS_MAX {
            lines += &format!("\n- and {} more", servers.len() - n);
            break;
        }
        lines += &line;
    }
    if lines.is_empty() { lines } else { format!("\n\nServers:{lines}") }
}

/// The first line that says something, in at most so many bytes; nothing, if these are too few for a word.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let line = text.lines().map(|line| line.trim_matches(|char: char| char == '#' || char.is_whitespace()));
    let words = line.clone().find(|line| !line.is_empty()).unwrap_or_default();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() <= max {
        return line;
    }
    let start = super::words::cut(&line, max.saturating_sub("…".len()));
    // A word is cut only if the line is nothing but it.
    let start = if line[start.len()..].starts_with(' ') {
        start
    } else {
        start.rsplit_once(' ').map_or(start, |(start, _)| start)
    };
    if start.len() < SHORTEST { String::new() } else { format!("{start}…") }
}

/// Most bytes of the lines about servers, and of one of them.
const SERVERS_MAX: usize = 4_096;
const LINE_MAX: usize = 160;
/// A line that is cut to fewer bytes says nothing.
const SHORTEST: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_first_that_says_something() {
        assert_eq!(one_line("\n  # \n## Files \t and  such\nmore", 80), "Files and such");
        assert_eq!(one_line("one two three four five", 20), "one two three…");
        assert_eq!(one_line("one two three four five", 17), "one two three…");
        assert_eq!(one_line(&"ä".repeat(50), 21), format!("{}…", "ä".repeat(9)));
        assert_eq!(one_line("one two three four five", 10), "");
        assert_eq!(one_line("", 10), "");
    }

    #[test]
    fn servers_are_told_in_bounds() {
        assert_eq!(
            server_lines(&[("a", "Does things.\nMore."), ("b", "")]),
            "\n\nServers:\n- a: Does things.\n- b"
        );
        assert_eq!(server_lines(&[]), "");
        let long = "word ".repeat(100);
        let keys: Vec<String> = (0..2_000).map(|n| format!("server{n}")).collect();
        for count in [1, 20, 40, 200, 2_000] {
            let servers: Vec<(&str, &str)> = keys[..count].iter().map(|key| (&**key, &*long)).collect();
            let lines = server_lines(&servers);
            assert!(lines.len() < SERVERS_MAX + 50, "{count}: {}", lines.len());
            assert_eq!(lines.contains(": word"), count <= 100, "{count}");
            assert_eq!(lines.contains("more"), count > 200, "{count}");
        }
    }
}
