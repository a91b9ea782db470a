//! A text as the words by which it is found.
//!
//! Names are written in many ways (`read_file`, `readFile`, `read-file`), and are asked for in plain words: so a
//! word ends at whatever is no letter or digit, between a letter and a digit, and where capitals begin. A word
//! written together out of several is found as a whole, too: `GitHub` is asked for as `github`.

/// Longest word in bytes; what is longer is cut (it is no word, but it may begin like one).
pub const WORD_MAX: usize = 64;

/// Calls `each` with the words of `text`, in lower case.
pub fn each_word(text: &str, mut each: impl FnMut(&str)) {
    let mut room = String::new();
    for run in text.split(|char: char| !char.is_alphanumeric()).filter(|run| !run.is_empty()) {
        // Most words are plain.
        if run.bytes().all(|byte| byte.is_ascii_lowercase()) {
            each(cut(run, WORD_MAX));
            continue;
        }
        let mut parts = 0;
        let mut start = 0;
        for end in ends(run) {
            parts += 1;
            give(&run[start..end], &mut room, &mut each);
            start = end;
        }
        let is_written_together = parts > 1 && run.len() <= WORD_MAX && !run.chars().any(is_word_alone);
        if is_written_together {
            give(run, &mut room, &mut each);
        }
    }
}

fn give(word: &str, room: &mut String, each: &mut impl FnMut(&str)) {
    let word = cut(word, WORD_MAX);
    if !word.is_ascii() {
        return each(&word.to_lowercase());
    }
    room.clear();
    room.push_str(word);
    room.make_ascii_lowercase();
    each(room);
}

/// The beginning of a text, of at most so many bytes.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Where the words of a run of letters and digits end.
fn ends(run: &str) -> impl Iterator<Item = usize> {
    let next = |at: usize| run[at..].chars().next();
    let mut before: Option<char> = None;
    let inner = run.char_indices().filter_map(move |(at, char)| {
        let left = before.replace(char)?;
        let after = next(at + char.len_utf8());
        ends_between(left, char, after).then_some(at)
    });
    inner.chain([run.len()])
}

fn ends_between(left: char, right: char, after: Option<char>) -> bool {
    if is_word_alone(left) || is_word_alone(right) || left.is_numeric() != right.is_numeric() {
        return true;
    }
    // `readFile`, and `HTTPServer` before its last capital.
    right.is_uppercase() && (!left.is_uppercase() || after.is_some_and(char::is_lowercase))
}

/// Letters of languages that put no space between words: each is found by itself.
fn is_word_alone(char: char) -> bool {
    matches!(char, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Words of English sentences that say nothing about a tool: a query is searched without them.
pub fn says_nothing(word: &str) -> bool {
    const NOTHING: [&str; 40] = [
        "a", "am", "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "for", "from", "how", "i",
        "if", "in", "into", "is", "it", "its", "me", "my", "need", "of", "on", "or", "our", "some", "that",
        "the", "this", "to", "want", "we", "what", "which", "with", "you",
    ];
    NOTHING.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        each_word(text, |word| words.push(word.to_string()));
        words
    }

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(words("read_file"), ["read", "file"]);
        assert_eq!(words("readFile"), ["read", "file", "readfile"]);
        assert_eq!(words("HTTPServer"), ["http", "server", "httpserver"]);
        assert_eq!(words("getURL"), ["get", "url", "geturl"]);
        assert_eq!(words("sha256sum"), ["sha", "256", "sum", "sha256sum"]);
        assert_eq!(words("a.b/c-d:e"), ["a", "b", "c", "d", "e"]);
        assert_eq!(words("GET"), ["get"]);
        assert_eq!(words("  "), [""; 0]);
    }

    #[test]
    fn letters_are_those_of_all_languages() {
        assert_eq!(words("Größe ÄNDERN"), ["größe", "ändern"]);
        assert_eq!(words("ΣΊΣΥΦΟΣ"), ["σίσυφος"]);
        assert_eq!(words("İ"), ["i̇"]);
        assert_eq!(words("文件 read"), ["文", "件", "read"]);
        assert_eq!(words("읽기_파일"), ["읽기", "파일"]);
    }

    #[test]
    fn a_word_has_an_end() {
        assert_eq!(words(&"x".repeat(500)), ["x".repeat(WORD_MAX)]);
        assert_eq!(words(&"ä".repeat(500)), ["ä".repeat(WORD_MAX / 2)]);
        assert_eq!(words(&format!("a{}", "ä".repeat(500))), [format!("a{}", "ä".repeat(31))]);
        let long = "aB".repeat(WORD_MAX);
        assert!(words(&long).iter().all(|word| word.len() <= 2), "not as a whole");
    }

    #[test]
    fn what_says_nothing_is_sorted() {
        for word in ["a", "you", "need", "the", "with"] {
            assert!(says_nothing(word), "{word}");
        }
        assert!(!says_nothing("file") && !says_nothing(""));
    }
}
