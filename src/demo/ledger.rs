//! What the client has sent so far, and what of it the protocol forbids.
//!
//! The tools `journal` and `whoami` show it. Leaves the answering of bad messages to the server.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Value, json};

/// Counts per method, ids in use or used, and the violations found.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: u64,
    methods: BTreeMap<String, u64>,
    seen_ids: HashSet<String>,
    live_tokens: BTreeSet<String>,
    violations: Vec<String>,
}

impl Ledger {
    /// One received line, whatever is in it.
    pub fn note_line(&mut self) {
        self.lines += 1;
    }

    /// One received message: its method, or `(response)`.
    pub fn note_method(&mut self, method: &str) {
        match self.methods.get_mut(method) {
            Some(count) => *count += 1,
            None => {
                self.methods.insert(method.to_owned(), 1);
            }
        }
    }

    /// Checks a new request. An id may not come back as long as the process lives (protocol.md §1.1, §2.1), a
    /// progress token not while its request is open.
    pub fn open_request(&mut self, id: &Value, token: Option<&Value>) {
        if self.seen_ids.len() < IDS_MAX && !self.seen_ids.insert(id.to_string()) {
            self.violate(format!("request id {id} used twice"));
        }
        if let Some(token) = token
            && !self.live_tokens.insert(token.to_string())
        {
            self.violate(format!("progress token {token} used by two open requests"));
        }
    }

    /// The request that brought this token is over.
    pub fn close_token(&mut self, token: Option<&Value>) {
        if let Some(token) = token {
            self.live_tokens.remove(&token.to_string());
        }
    }

    /// Whether a request with this id was ever received.
    pub fn has_seen(&self, id: &Value) -> bool {
        self.seen_ids.contains(&id.to_string())
    }

    /// Notes something the client may not do; also on stderr, for people.
    pub fn violate(&mut self, what: String) {
        eprintln!("demo-server: protocol violation: {what}");
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(what);
        }
    }

    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// `{ lines, methods: { method: count } }`.
    pub fn counts(&self) -> Value {
        json!({ "lines": self.lines, "methods": self.methods })
    }
}

/// Enough for every test; a benchmark of hours shall not fill the memory.
const IDS_MAX: usize = 4_000_000;
/// A broken client breaks every message; the first hundred tell the story.
const VIOLATIONS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_compared_with_their_type_for_life() {
        let mut ledger = Ledger::default();
        ledger.open_request(&json!(1), None);
        ledger.open_request(&json!("1"), None);
        assert!(ledger.violations().is_empty());
        ledger.open_request(&json!(1), None);
        assert_eq!(ledger.violations(), ["request id 1 used twice"]);
    }

    #[test]
    fn tokens_may_come_back_after_their_request() {
        let mut ledger = Ledger::default();
        ledger.open_request(&json!(1), Some(&json!("t")));
        ledger.close_token(Some(&json!("t")));
        ledger.open_request(&json!(2), Some(&json!("t")));
        assert!(ledger.violations().is_empty());
        ledger.open_request(&json!(3), Some(&json!("t")));
        assert_eq!(ledger.violations().len(), 1);
    }
}
