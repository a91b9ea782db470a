//! What of a server is offered at all (H07): allow and deny, exact names or patterns.
//!
//! A denied tool is neither listed nor callable, by no route: not at its server (`mux/filters`), and not on the
//! merged endpoints, whose lists and routing both come from what passed here.

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

/// Patterns of names: `*` stands for any text, `?` for one character; all else is exact, case included. An
/// empty `allow` allows everything; `deny` wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub allow: Vec<WildMatch>,
    pub deny: Vec<WildMatch>,
}

impl Eq for Filter {}

/// One filter for each kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    pub tools: Filter,
    pub prompts: Filter,
    /// By URI (templates by their template).
    pub resources: Filter,
}

impl Filter {
    /// A filter of patterns as written.
    pub fn new<'a>(
        allow: impl IntoIterator<Item = &'a str>,
        deny: impl IntoIterator<Item = &'a str>,
    ) -> Filter {
        let read = |text: &str| WildMatch::new(text);
        Filter { allow: allow.into_iter().map(read).collect(), deny: deny.into_iter().map(read).collect() }
    }

    /// Whether a thing of this name is offered.
    pub fn passes(&self, name: &str) -> bool {
        let is_allowed = self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.matches(name));
        is_allowed && !self.denies(name)
    }

    /// Whether a thing of this name is denied, whatever is allowed.
    pub fn denies(&self, name: &str) -> bool {
        self.deny.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_out_and_what_is_allowed_is_all() {
        let filter = Filter::new(["read_*", "list", "a?c"], ["read_secret*"]);
        for (name, passes) in [
            ("read_a", true),
            ("read_", true),
            ("list", true),
            ("lists", false),
            ("List", false),
            ("abc", true),
            ("ac", false),
            ("write", false),
            ("read_secrets", false),
            ("", false),
        ] {
            assert_eq!(filter.passes(name), passes, "{name}");
        }
        assert!(Filter::default().passes("anything"));
        assert!(!Filter::new([], ["*"]).passes("anything"));
    }
}
