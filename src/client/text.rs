//! Numbers, and texts of strangers, as a person reads them in a terminal.

use crate::control::State;
use std::env;
use std::io::{self, IsTerminal};

/// `850 ms`, `4.0 s`, `12 min 3 s`, `3 h 12 min`, `2 d 4 h`.
pub fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// At most four characters: `850`, `9999`, `12k`, `3M`.
pub fn count(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    let mut rest = number / 1_000;
    for unit in ['k', 'M', 'G', 'T', 'P'] {
        if rest < 1_000 {
            return format!("{rest}{unit}");
        }
        rest /= 1_000;
    }
    format!("{rest}E")
}

/// `512 B`, `2.1 kB`, `34 MB`.
pub fn bytes(number: u64) -> String {
    let mut unit = 1;
    let mut names = ["kB", "MB", "GB", "TB"].iter();
    let mut name = "B";
    while number / unit >= 1_000 {
        let Some(next) = names.next() else { break };
        (unit, name) = (unit * 1_000, next);
    }
    match number / unit {
        whole @ 0..10 if unit > 1 => format!("{whole}.{} {name}", number % unit * 10 / unit),
        whole => format!("{whole} {name}"),
    }
}

/// `1 client`, `2 clients`.
pub fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// On one line and without what steers a terminal: escape sequences go, other controls become spaces.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.trim_end().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.next_if_eq(&'[').is_some() => {
                // A sequence ends with its first byte from @ to ~.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
            '\x1b' => {}
            // Marks that turn the direction of what follows could make a line say something else.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    plain
}

/// Number of characters. Each has a column of its own here, which is not so for all of Unicode.
#[inline(never)]
pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// Cut to `max` characters, the last of which then is `…`.
pub fn cut(text: &str, max: usize) -> String {
    let mut text = text.to_owned();
    if width(&text) > max {
        let end = text.char_indices().nth(max.saturating_sub(1)).map_or(0, |(at, _)| at);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// In lines of at most `max` characters, broken at spaces where there are any; all but the first begin with
/// two spaces.
pub fn wrap(text: &str, max: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    // Characters of it, and whether a word is among them.
    let (mut used, mut has_word) = (0, false);
    for word in text.split(' ') {
        let mut word = word;
        if has_word && used + width(word) >= max {
            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
            used = 2;
        } else if has_word {
            line.push(' ');
            used += 1;
        }
        // A word longer than a line.
        while width(word) > max - used {
            let at = word.char_indices().nth(max - used).map_or(word.len(), |(at, _)| at);
            line.push_str(&word[..at]);
            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
            (word, used) = (&word[at..], 2);
        }
        line.push_str(word);
        used += width(word);
        has_word = true;
    }
    if !line.trim().is_empty() {
        lines.push(line);
    }
    lines
}

/// Whether standard output gets colours: a terminal that has some, and nobody who minds
/// (<https://no-color.org>).
pub fn colours() -> bool {
    io::stdout().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// `text` in the colour of a state.
pub fn painted(text: &str, state: State, colours: bool) -> String {
    let code = match state {
        _ if !colours => return text.to_owned(),
        State::Ready => "32",
        State::Starting | State::Stopping => "36",
        State::Backoff => "33",
        State::Failed => "31",
        State::Lazy | State::Stopped | State::Unknown => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let durations = [(0, "0 ms"), (999, "999 ms"), (4_000, "4.0 s"), (59_999, "59.9 s")];
        let longer = [(723_000, "12 min 3 s"), (11_520_000, "3 h 12 min"), (187_200_000, "2 d 4 h")];
        for (ms, words) in durations.into_iter().chain(longer) {
            assert_eq!(duration(ms), words);
        }
        for (number, words) in [(9_999, "9999"), (10_000, "10k"), (3_400_000, "3M"), (u64::MAX, "18E")] {
            assert_eq!(count(number), words);
        }
        for (number, words) in [(0, "0 B"), (999, "999 B"), (2_150, "2.1 kB"), (34_000_000, "34 MB")] {
            assert_eq!(bytes(number), words);
        }
        assert_eq!((counted(1, "client"), counted(0, "client")), ("1 client".into(), "0 clients".into()));
    }

    #[test]
    fn texts_of_strangers_cannot_steer_a_terminal() {
        assert_eq!(plain("a\x1b[31mred\x1b[0m\tb\x07\u{9b}2J\n"), "ared b  2J");
        assert_eq!(plain("\x1b]0;title\x07x\u{202e}y\x1b["), "]0;title xy");
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrap("one two three four", 10), ["one two", "  three", "  four"]);
        assert_eq!(wrap("abcdefghijkl mn", 6), ["abcdef", "  ghij", "  kl", "  mn"]);
        assert_eq!(wrap("", 10), Vec::<String>::new());
        for text in ["a b c d e f g h", "aaaaaaaa bbbbbbbb cccccccccc dd", "äöü äöüäöüäöüäöü ä"]
        {
            for width in 4..20 {
                let lines = wrap(text, width);
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
                let joined: String = lines.concat().replace(' ', "");
                assert_eq!(joined, text.replace(' ', ""), "nothing is lost");
            }
        }
        assert_eq!((cut("abcdef", 4), cut("abcd", 4)), ("abc…".to_owned(), "abcd".to_owned()));
    }

    #[test]
    fn colours_are_only_for_those_who_want_them() {
        assert_eq!(painted("x", State::Ready, false), "x");
        assert_eq!(painted("x", State::Failed, true), "\x1b[31mx\x1b[0m");
    }
}
