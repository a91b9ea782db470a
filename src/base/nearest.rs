//! The nearest of some known words: what a misspelt key, option or name probably meant.

/// The nearest of `known` to `word`, if it is near enough to be worth suggesting.
///
/// Near is a third of the word's length in insertions, deletions, replacements and swaps of
/// neighbours (at least one), ignoring case and the difference between `-` and `_`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (nearest, near) = ranked(word, known);
    nearest.into_iter().take(near).next()
}

/// All of `known`, the nearest to `word` first, and how many of them are near as [`nearest`] has it. None at
/// all if `word` is much longer than any name: it is no typo, and the table must not grow with it.
pub fn ranked<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> (Vec<&'a str>, usize) {
    let word = normalize(word);
    if word.len() > 64 {
        return (Vec::new(), 0);
    }
    let limit = (word.len() / 3).max(1);
    let far =
        |(far, candidate): &(usize, &str)| (*far > limit || *far >= candidate.chars().count().max(2), *far);
    let mut ranked: Vec<(usize, &str)> =
        known.into_iter().map(|candidate| (distance(&word, &normalize(candidate)), candidate)).collect();
    super::sorted::sort_by_key(&mut ranked, far);
    let near = ranked.partition_point(|candidate| !far(candidate).0);
    (ranked.into_iter().map(|(_, candidate)| candidate).collect(), near)
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
    let mut row = vec![0; b.len() + 1];
    for (i, left) in a.iter().enumerate() {
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(left != right);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        std::mem::swap(&mut before, &mut last);
        std::mem::swap(&mut last, &mut row);
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

    #[test]
    fn all_are_ranked_and_the_near_ones_counted() {
        let known = ["socket", "rocket", "locker", "cmd"];
        assert_eq!(ranked("sockt", known), (vec!["socket", "rocket", "locker", "cmd"], 1));
        assert_eq!(ranked("cmdd", known).1, 1);
        assert_eq!(ranked("banana", known).1, 0);
        assert_eq!(ranked(&"x".repeat(65), known), (vec![], 0), "no typing error");
        assert_eq!(ranked("x", []), (vec![], 0));
    }
}
