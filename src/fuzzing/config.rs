//! The configuration: what any text may promise about the problems that are found in it.

use crate::config::{Config, Loaded, Place, Problem, Surroundings};
use crate::engine::sandbox::{Abilities, Landlock};
use serde_json::Value;

/// Any bytes as a `mux.toml`, or a file of a host. Problems have a place inside the text and show nothing of an
/// `env` table or of the environment; what is accepted is TOML or JSON, and reads the same below a comment.
/// Gives whether it was accepted.
///
/// The oracle of what is TOML is `toml`'s own table type, which is another way through that crate; that of JSON
/// is `serde_json`.
pub fn config(data: &[u8]) -> bool {
    let outcome = parse(data);
    assert_eq!(outcome, parse(data), "two readings differ");
    let text = readable(data);
    let is_json = text.trim_start().starts_with(['{', '/']);
    let whole = std::str::from_utf8(data).ok();
    let value: Option<Value> = match is_json {
        true => whole.and_then(|_| serde_json::from_str(&without_comments(text)).ok()),
        false => whole.and_then(|_| serde_json::to_value(text.parse::<toml::Table>().ok()?).ok()),
    };
    let problems = match &outcome {
        Ok(loaded) => {
            // Deeper than the oracle reads.
            assert!(
                value.is_some() || text.matches(['[', '{']).count() > 100,
                "accepted, but no TOML or JSON"
            );
            check_servers(&loaded.config);
            &loaded.warnings
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            problems
        }
    };
    for problem in problems {
        check_problem(problem, text);
    }
    // A second mark is taken for one by the TOML parser, but not below a comment.
    if let Some(value) = value.filter(|_| !text.starts_with('\u{feff}')) {
        check_secrets(&value, text, problems);
        check_below_a_comment(text, is_json, &outcome);
    }
    outcome.is_ok()
}

/// JSONC as JSON: without comments and the commas at the ends of lists.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let len = match char {
            '"' => {
                let inside = rest[1..].char_indices().scan(false, |escaped, (at, char)| {
                    let ends = char == '"' && !*escaped;
                    *escaped = char == '\\' && !*escaped;
                    Some((at, ends))
                });
                inside.clone().find(|(_, ends)| *ends).map_or(rest.len(), |(at, _)| at + 2)
            }
            '/' if rest.starts_with("//") => {
                rest = rest.find('\n').map_or("", |at| &rest[at..]);
                continue;
            }
            '/' if rest.starts_with("/*") => {
                rest = rest[2..].find("*/").map_or("", |at| &rest[at + 4..]);
                out.push(' ');
                continue;
            }
            '}' | ']' => {
                let end = out.trim_end().len();
                if out[..end].ends_with(',') {
                    out.truncate(end - 1);
                }
                1
            }
            other => other.len_utf8(),
        };
        // jsonc-parser takes any white space, and lets raw control characters be in strings; JSON does not.
        let odd = |char: char| char.is_control() || char.is_whitespace();
        out.extend(rest[..len].chars().map(|char| if odd(char) { ' ' } else { char }));
        rest = &rest[len..];
    }
    out
}

fn parse(data: &[u8]) -> Result<Loaded, Vec<Problem>> {
    // A kernel that can do everything, so that sandboxes are accepted.
    let abilities = Abilities { landlock: Landlock::Abi(7), filters_sockets: true, ..Abilities::default() };
    let variables = [("A", SECRET)].into_iter().collect();
    let home = Some("/home/ana".into());
    let surroundings = Surroundings { home, abilities, variables, ..Surroundings::default() };
    Config::parse("f", data, &surroundings)
}

/// What a variable holds.
const SECRET: &str = "hunter2-hunter2";

/// What can be read of a file: UTF-8, up to where it ends being that, without a byte order mark.
fn readable(data: &[u8]) -> &str {
    let text = data.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn check_servers(config: &Config) {
    assert!(!config.servers.is_empty());
    for (i, server) in config.servers.iter().enumerate() {
        assert!(!server.spawn.program.is_empty());
        assert!(!server.socket.as_os_str().is_empty());
        let others = &config.servers[..i];
        assert!(others.iter().all(|other| other.policy.name != server.policy.name), "two of one name");
        assert!(others.iter().all(|other| other.socket != server.socket), "two at one socket");
    }
}

/// The place is one that an editor can go to, and the line one that a terminal can print.
fn check_problem(problem: &Problem, text: &str) {
    let Some(Place { line, column }) = problem.place else { panic!("{problem} has no place") };
    assert!(line >= 1 && column >= 1, "{problem}");
    let written = text.split('\n').nth(line - 1).unwrap_or_else(|| panic!("{problem}: no such line"));
    assert!(column <= written.chars().count() + 1, "{problem}: no such column");
    assert!(!problem.text.is_empty());
    let shown = problem.to_string();
    assert!(!shown.chars().any(char::is_control), "{shown:?} steers the terminal");
    assert!(!shown.contains(SECRET) || text.contains("hunter2"), "{shown:?} tells a variable");
}

/// No value of an `env` table is in a message, unless the text has it somewhere else too.
fn check_secrets(value: &Value, text: &str, problems: &[Problem]) {
    let sections = ["servers", "mcpServers", "context_servers"].into_iter();
    let servers = sections.filter_map(|name| value.get(name)?.as_object()).flatten();
    let environments = servers.filter_map(|(_, server)| server.get("env")?.as_object());
    for secret in environments.flat_map(|env| env.values()).filter_map(Value::as_str) {
        // Short ones are found in any sentence.
        if secret.len() >= 6 && text.matches(secret).count() == 1 {
            for problem in problems {
                assert!(!problem.text.contains(secret), "{problem} tells a secret");
            }
        }
    }
}

/// A comment in front moves every place one line down and changes nothing else.
fn check_below_a_comment(text: &str, is_json: bool, outcome: &Result<Loaded, Vec<Problem>>) {
    let mark = if is_json { "//" } else { "#" };
    let mut below = parse(format!("{mark} a comment\n{text}").as_bytes());
    let moved = match &mut below {
        Ok(loaded) => &mut loaded.warnings,
        Err(problems) => problems,
    };
    for place in moved.iter_mut().filter_map(|problem| problem.place.as_mut()) {
        // What concerns the file as a whole stays at its start.
        if *place != (Place { line: 1, column: 1 }) {
            place.line -= 1;
        }
    }
    // Where those stand among the others is a matter of their line.
    let sorted = |outcome: &Result<Loaded, Vec<Problem>>| {
        let mut problems = outcome.as_ref().err().cloned().unwrap_or_default();
        problems.sort_by_key(|problem| problem.to_string());
        (outcome.as_ref().ok().cloned(), problems)
    };
    assert_eq!(sorted(&below), sorted(outcome), "a comment in front changes the outcome");
}
