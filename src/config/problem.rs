//! A finding in a configuration file: where, which key, what is wrong and what was expected.

use std::fmt;

/// A position in a text file, both counted from 1; columns count characters, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// One error or warning, printed as `file:line:column: key: what is wrong, what was expected`.
///
/// The text never quotes a value of an `env` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// `None`: the file as a whole.
    pub place: Option<Place>,
    /// Full path of the key, as `servers.memory.cmd`; empty if no key is concerned.
    pub key: String,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Turns byte offsets of one text into [`Place`]s.
pub struct Lines<'a> {
    text: &'a str,
    /// Byte offset of the start of each line.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Lines { text, starts: std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect() }
    }

    /// The place of a byte offset; offsets past the end are the end.
    pub fn place(&self, offset: usize) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let column =
            self.text.as_bytes()[start..offset].iter().filter(|byte| !is_continuation(**byte)).count();
        Place { line, column: column + 1 }
    }
}

/// Whether a byte is the second or a later one of a UTF-8 character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let lines = Lines::new("ab\nä = x\r\n\nend");
        let place = |offset| {
            let Place { line, column } = lines.place(offset);
            (line, column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(2), (1, 3));
        assert_eq!(place(3), (2, 1));
        assert_eq!(place(5), (2, 2), "ä is one column");
        assert_eq!(place(11), (3, 1));
        assert_eq!(place(12), (4, 1));
        assert_eq!(place(999), (4, 4));
        assert_eq!(Lines::new("").place(0), Place { line: 1, column: 1 });
    }

    #[test]
    fn a_problem_prints_what_it_has() {
        let mut problem = Problem {
            file: "mux.toml".into(),
            place: Some(Place { line: 3, column: 7 }),
            key: "servers.a.cmd".into(),
            text: "is empty".into(),
        };
        assert_eq!(problem.to_string(), "mux.toml:3:7: servers.a.cmd: is empty");
        problem.key.clear();
        assert_eq!(problem.to_string(), "mux.toml:3:7: is empty");
        problem.place = None;
        assert_eq!(problem.to_string(), "mux.toml: is empty");
    }
}
