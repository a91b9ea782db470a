//! The configuration: what any text may promise about the problems that are found in it.

use crate::config::{Config, Loaded, Place, Problem, Surroundings};
use crate::engine::sandbox::{Abilities, Landlock};

/// Any bytes as a `mux.toml`. Problems have a place inside the text and show nothing of an `env` table;
/// what is accepted is TOML, and reads the same below a comment. Gives whether it was accepted.
///
/// The oracle of what is TOML is `toml`'s own table type, which is another way through that crate.
pub fn config(data: &[u8]) -> bool {
    let outcome = parse(data);
    assert_eq!(outcome, parse(data), "two readings differ");
    let text = readable(data);
    let table = std::str::from_utf8(data).ok().and_then(|_| text.parse::<toml::Table>().ok());
    let problems = match &outcome {
        Ok(loaded) => {
            assert!(table.is_some(), "accepted, but no TOML");
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
    if let Some(table) = &table {
        check_secrets(table, text, problems);
        check_below_a_comment(text, &outcome);
    }
    outcome.is_ok()
}

fn parse(data: &[u8]) -> Result<Loaded, Vec<Problem>> {
    // A kernel that can do everything, so that sandboxes are accepted.
    let abilities = Abilities { landlock: Landlock::Abi(7), filters_sockets: true, ..Abilities::default() };
    let surroundings = Surroundings { home: Some("/home/ana".into()), abilities, ..Surroundings::default() };
    Config::parse("f", data, &surroundings)
}

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
}

/// No value of an `env` table is in a message, unless the text has it somewhere else too.
fn check_secrets(table: &toml::Table, text: &str, problems: &[Problem]) {
    let servers = table.get("servers").and_then(toml::Value::as_table).into_iter().flatten();
    let environments = servers.filter_map(|(_, server)| server.get("env")?.as_table());
    for secret in environments.flat_map(|env| env.values()).filter_map(toml::Value::as_str) {
        // Short ones are found in any sentence.
        if secret.len() >= 6 && text.matches(secret).count() == 1 {
            for problem in problems {
                assert!(!problem.text.contains(secret), "{problem} tells a secret");
            }
        }
    }
}

/// A comment in front moves every place one line down and changes nothing else.
fn check_below_a_comment(text: &str, outcome: &Result<Loaded, Vec<Problem>>) {
    let mut below = parse(format!("# a comment\n{text}").as_bytes());
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
