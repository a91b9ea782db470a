//! [`Finding`]: one thing that is wrong, what was seen, and what to do about it.

use super::secrets::Secrets;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing fails.
    Note,
    /// Some clients or some situations fail.
    Warning,
    /// The server is of no use as it is.
    Error,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One finding. Every text may be shown: values of secrets are gone once it is filed ([`Findings::add`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// `None`: the configuration as a whole.
    pub server: Option<String>,
    /// Stable name of the kind of finding, one of those in `docs/doctor.md`.
    pub code: &'static str,
    /// What is wrong, one sentence.
    pub message: String,
    /// What was seen, as it was seen, perhaps in several lines; may be empty.
    pub evidence: String,
    /// What to do about it, one sentence; empty only where nothing has to be done.
    pub cure: String,
}

impl Finding {
    pub fn error(code: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding::new(Severity::Error, code, message.into(), cure.into())
    }

    pub fn warning(code: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding::new(Severity::Warning, code, message.into(), cure.into())
    }

    pub fn note(code: &'static str, message: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding::new(Severity::Note, code, message.into(), cure.into())
    }

    /// With what was seen.
    pub fn seen(self, evidence: impl Into<String>) -> Finding {
        Finding { evidence: evidence.into(), ..self }
    }

    fn new(severity: Severity, code: &'static str, message: String, cure: String) -> Finding {
        Finding { severity, server: None, code, message, evidence: String::new(), cure }
    }
}

/// The findings about one server, or about the configuration.
#[derive(Debug, Default)]
pub struct Findings {
    server: Option<String>,
    secrets: Secrets,
    list: Vec<Finding>,
}

impl Findings {
    /// Those about a server, whose secrets no finding shall show.
    pub fn of(server: &str, secrets: Secrets) -> Findings {
        Findings { server: Some(server.to_owned()), secrets, list: Vec::new() }
    }

    pub fn add(&mut self, mut finding: Finding) {
        for text in [&mut finding.message, &mut finding.evidence, &mut finding.cure] {
            *text = self.secrets.hide(text).lines().map(shortened).collect::<Vec<_>>().join("\n");
        }
        finding.server = finding.server.or_else(|| self.server.clone());
        self.list.push(finding);
    }

    pub fn has_error(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All of them, the worst first, otherwise as they came.
    pub fn sorted(&self) -> Vec<Finding> {
        let mut list = self.list.clone();
        list.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        list
    }
}

/// A line of a text, cut in its middle if it is long: of a message, beginning and end tell most.
fn shortened(line: &str) -> String {
    let count = line.chars().count();
    if count <= LINE_MAX {
        return line.to_owned();
    }
    let head: String = line.chars().take(LINE_MAX * 3 / 4).collect();
    let tail: String = line.chars().skip(count - LINE_MAX / 4 + 1).collect();
    format!("{head}…{tail}")
}

/// `'a', 'b', 'c' and 4 more`.
pub fn named(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|name| format!("'{name}'")).collect();
    match names.len().checked_sub(NAMES_MAX) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Longest line of a finding, in characters.
const LINE_MAX: usize = 400;
/// Most names in one finding.
const NAMES_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn long_lines_lose_their_middle_and_the_worst_comes_first() {
        let mut findings = Findings::of("web", Secrets::default());
        findings.add(Finding::note("a", "m", "c"));
        findings.add(Finding::error("b", format!("<{}>", "ä".repeat(1000)), "c").seen("one\ntwo"));
        assert!(findings.has_error());
        let sorted = findings.sorted();
        assert_eq!((sorted[0].code, sorted[1].code), ("b", "a"));
        assert_eq!(sorted[0].message.chars().count(), LINE_MAX);
        assert!(sorted[0].message.starts_with("<ä") && sorted[0].message.ends_with("ä>"));
        assert_eq!((sorted[0].evidence.as_str(), sorted[0].server.as_deref()), ("one\ntwo", Some("web")));
    }

    /// The codes in a module, as they stand behind the functions that make findings.
    fn codes(module: &str) -> Vec<String> {
        let module = module.split("#[cfg(test)]").next().unwrap_or_default();
        let calls = ["error", "warning", "note"].map(|severity| format!("Finding::{severity}("));
        let after = calls.iter().flat_map(|call| module.split(call.as_str()).skip(1));
        let literals = after.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
        literals.map(str::to_owned).collect()
    }

    #[test]
    fn every_code_is_documented_and_no_other() {
        let modules = [
            include_str!("clashes.rs"),
            include_str!("command.rs"),
            include_str!("handshake.rs"),
            include_str!("http.rs"),
            include_str!("lists.rs"),
            include_str!("mod.rs"),
            include_str!("oddities.rs"),
            include_str!("settings.rs"),
            include_str!("sockets.rs"),
            include_str!("stop.rs"),
            include_str!("trial.rs"),
            include_str!("trial/ends.rs"),
        ];
        let made: BTreeSet<String> = modules.into_iter().flat_map(codes).collect();
        let (_, table) = include_str!("../../docs/doctor.md").split_once("## What is found").unwrap();
        let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        let documented =
            cells.flat_map(|cell| cell.split(", ").map(|code| code.trim_matches('`').to_owned()));
        assert_eq!(documented.collect::<BTreeSet<_>>(), made);
        assert!(made.len() > 40, "{made:?}");
    }

    #[test]
    fn names_are_bounded() {
        let names: Vec<String> = (1..=7).map(|n| format!("t{n}")).collect();
        assert_eq!(named(&names[..2]), "'t1', 't2'");
        assert_eq!(named(&names[..5]), "'t1', 't2', 't3', 't4', 't5'");
        assert_eq!(named(&names), "'t1', 't2', 't3', 't4', 't5' and 2 more");
    }
}
