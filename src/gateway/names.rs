//! The name a tool or prompt has on the merged endpoint (protocol.md §5.1, P53).
//!
//! `server__tool`, in the letters that models' interfaces accept and no longer than they allow. It depends on
//! the server's key and the tool's own name only, so it stays the same whatever else is configured or running;
//! it is never taken apart again, the catalogue knows where it leads.

/// Longest name that all models' interfaces accept, in bytes.
pub const NAME_MAX: usize = 64;

/// The name of `name` of the server `key`. Where it had to be changed to fit, or could be another server's,
/// it ends in eight hexadecimal digits of a hash over both.
pub fn prefixed(key: &str, name: &str) -> String {
    let plain = format!("{key}__{name}");
    // `a__b` with `c` and `a` with `b__c` must not meet.
    let is_ambiguous = key.contains("__") || key.ends_with('_') || name.starts_with('_');
    if !is_ambiguous && is_accepted(&plain) {
        return plain;
    }
    let hash = format!("_{:08x}", hash(key, name));
    let mut short: String = plain
        .chars()
        .map(|char| if is_letter(char) { char } else { '_' })
        .take(NAME_MAX - hash.len())
        .collect();
    short.push_str(&hash);
    short
}

fn is_accepted(name: &str) -> bool {
    name.len() <= NAME_MAX && name.chars().all(is_letter)
}

fn is_letter(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

/// FNV-1a over both, with a byte between them that neither has; the same on every machine and for ever.
fn hash(key: &str, name: &str) -> u32 {
    key.bytes()
        .chain([0xff])
        .chain(name.bytes())
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_fits_is_prefixed_and_nothing_more() {
        assert_eq!(prefixed("memory", "read_graph"), "memory__read_graph");
        assert_eq!(prefixed("a", "b__c"), "a__b__c");
        let longest = "t".repeat(NAME_MAX - "s__".len());
        assert_eq!(prefixed("s", &longest), format!("s__{longest}"));
    }

    #[test]
    fn what_does_not_fit_or_could_be_another_ends_in_a_hash() {
        let all = [
            ("a__b", "c"),
            ("a_", "b"),
            ("a", "_b"),
            ("a", "b/c"),
            ("a", "b.c"),
            ("a", "b c"),
            ("a", "bücher"),
            ("a", ""),
        ];
        let long: Vec<String> = (0..9).map(|n| format!("{}{n}", "t".repeat(80))).collect();
        let all = all.into_iter().chain(long.iter().map(|name| ("s", name.as_str())));
        let mut names = std::collections::BTreeSet::new();
        for (key, name) in all {
            let public = prefixed(key, name);
            assert!(is_accepted(&public), "{public}");
            assert_eq!(public, prefixed(key, name));
            assert!(names.insert(public.clone()), "{public} twice");
        }
        // Stable for ever: hosts keep permissions under these names.
        assert_eq!(prefixed("a__b", "c"), "a__b__c_173d260a");
    }
}
