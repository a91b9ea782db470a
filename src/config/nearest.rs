//! The nearest of some known words: what a misspelt key, option or name probably meant.

/// The nearest of `known` to `word`, if it is near enough to be worth suggesting.
///
/// Near is a third of the word's length in insertions, deletions, replacements and swaps of
/// neighbours (at least one), ignoring case and the difference between `-` and `_`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalize(word);
    let limit = (word.len() / 3).max(1);
    // A word much longer than any key is no typo; the table below must not grow with it.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(&word, &normalize(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count().max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean 'X'?`, or nothing.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or(String::new(), |near| format!("; did you mean '{near}'?"))
}

fn normalize(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Edit distance with swaps of neighbours (optimal string alignment), three rows of the table at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, right) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(left != right);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        let of = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!(of("", ""), 0);
        assert_eq!(of("abc", ""), 3);
        assert_eq!(of("", "abc"), 3);
        assert_eq!(of("socket", "sokcet"), 1, "a swap is one edit");
        assert_eq!(of("kitten", "sitting"), 3);
    }

    #[test]
    fn suggests_only_what_is_near() {
        let known = ["socket", "cmd", "args", "max_active_clients", "cwd"];
        assert_eq!(nearest("sokcet", known), Some("socket"));
        assert_eq!(nearest("max-active-client", known), Some("max_active_clients"));
        assert_eq!(nearest("CMD", known), Some("cmd"));
        assert_eq!(nearest("arg", known), Some("args"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest(&"m".repeat(10_000), known), None);
        assert_eq!(suggestion("cdm", known), "; did you mean 'cmd'?");
        assert_eq!(suggestion("banana", known), "");
    }
}
