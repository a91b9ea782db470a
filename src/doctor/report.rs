//! How findings are shown: for people in 80 columns, for programs as one JSON object (`docs/doctor.md`).

use super::finding::{Finding, Severity};
use super::lists::List;
use super::trial::Tried;
use crate::client::text::{self, counted, duration, plain};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;

/// One server, or what concerns all of them (`name` is `None`).
#[derive(Debug, Default)]
pub struct Block {
    pub name: Option<String>,
    /// What became known of a server that answered.
    pub words: String,
    pub findings: Vec<Finding>,
    /// For programs; null for what is no server.
    pub facts: Value,
}

impl Block {
    /// What is known of a server at the end of its trial.
    pub fn of(tried: &Tried) -> Block {
        let (words, facts) = (words(tried), facts(tried));
        Block { name: Some(tried.name.clone()), words, findings: tried.findings.sorted(), facts }
    }

    /// Findings without a server; `title` is what the block is called.
    pub fn about_all(title: &str, findings: Vec<Finding>) -> Block {
        Block { words: title.to_owned(), findings, ..Block::default() }
    }

    /// Lines for a terminal.
    pub fn text(&self, colours: bool) -> String {
        let worst = self.findings.iter().map(|finding| finding.severity).max();
        let mut shown = match (&self.name, worst) {
            (None, _) => format!("{}\n", plain(&self.words)),
            (Some(name), Some(Severity::Error)) => headline(name, "failed", &self.words, colours),
            (Some(name), _) => headline(name, "ok", &self.words, colours),
        };
        for finding in &self.findings {
            shown.push_str(&finding_text(finding, colours));
        }
        shown
    }
}

fn headline(name: &str, state: &str, words: &str, colours: bool) -> String {
    let before = format!("{}: ", plain(name));
    let line = format!("{before}{state}  {}", plain(words));
    let mut shown = text::wrap(line.trim_end(), WIDTH).join("\n");
    shown.push('\n');
    // Painted after it was broken into lines: what paints has no width. A long name may have put it elsewhere.
    if colours && shown.get(before.len()..).is_some_and(|rest| rest.starts_with(state)) {
        let code = if state == "ok" { "32" } else { "31" };
        shown.replace_range(before.len()..before.len() + state.len(), &format!("\x1b[{code}m{state}\x1b[0m"));
    }
    shown
}

fn finding_text(finding: &Finding, colours: bool) -> String {
    let severity = finding.severity;
    let said =
        format!("{}: {} [{}]", severity.word(), plain(&finding.message.replace('\n', " ")), finding.code);
    let mut shown = String::new();
    for (index, line) in text::wrap(&said, WIDTH - 2).into_iter().enumerate() {
        let line = match index {
            0 => line.replacen(severity.word(), &painted(severity.word(), severity, colours), 1),
            _ => line,
        };
        shown.push_str(&format!("  {line}\n"));
    }
    for line in finding.evidence.lines() {
        for line in text::wrap(&plain(line), WIDTH - 6) {
            shown.push_str(&format!("    | {line}\n"));
        }
    }
    for line in text::wrap(&format!("cure: {}", plain(&finding.cure)), WIDTH - 4) {
        shown.push_str(&format!("    {line}\n"));
    }
    shown
}

/// The last line: how many findings of each kind.
pub fn summary(servers: usize, findings: &[Finding], took_ms: u64) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    format!(
        "{} tried in {}: {}, {}, {}\n",
        counted(servers, "server"),
        duration(took_ms),
        counted(count(Severity::Error), "error"),
        counted(count(Severity::Warning), "warning"),
        counted(count(Severity::Note), "note"),
    )
}

/// The whole report as one JSON object.
pub fn json(config: &Path, blocks: &[Block]) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        version: u32,
        config: String,
        findings: Vec<Value>,
        servers: Vec<&'a Value>,
    }
    let report = Report {
        version: REPORT_VERSION,
        config: config.display().to_string(),
        findings: blocks.iter().flat_map(|block| &block.findings).map(finding_json).collect(),
        servers: blocks.iter().map(|block| &block.facts).filter(|facts| !facts.is_null()).collect(),
    };
    // Plain values always have a text.
    let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
    text.push('\n');
    text
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "severity": finding.severity.word(),
        "server": finding.server,
        "code": finding.code,
        "message": finding.message,
        "evidence": finding.evidence,
        "cure": finding.cure,
    })
}

fn facts(tried: &Tried) -> Value {
    let count = |list| tried.list(list).map(<[Value]>::len);
    let hello = tried.hello.as_ref();
    json!({
        "name": tried.name,
        "ok": !tried.findings.has_error(),
        "era": tried.era.map(super::handshake::Era::word),
        "protocol_version": hello.map(|hello| &hello.protocol),
        "server_info": hello.map(|hello| &hello.server_info),
        "tools": count(List::Tools),
        "prompts": count(List::Prompts),
        "resources": count(List::Resources),
        "start_ms": tried.start_ms,
    })
}

/// `muxloop-demo 0.1.0, protocol 2025-11-25, 13 tools, 1 prompt, 2 resources, 12 ms`.
fn words(tried: &Tried) -> String {
    let Some(hello) = &tried.hello else { return String::new() };
    let part = |key: &str| hello.server_info[key].as_str().unwrap_or_default().to_owned();
    let mut words = vec![format!("{} {}", part("name"), part("version")).trim().to_owned()];
    words.retain(|words| !words.is_empty());
    words.push(format!("protocol {}", hello.protocol));
    for (list, thing) in [(List::Tools, "tool"), (List::Prompts, "prompt"), (List::Resources, "resource")] {
        if let Some(entries) = tried.list(list) {
            words.push(counted(entries.len(), thing));
        }
    }
    words.extend(tried.start_ms.map(|ms| format!("start {}", duration(ms))));
    words.join(", ")
}

fn painted(word: &str, severity: Severity, colours: bool) -> String {
    let code = match severity {
        _ if !colours => return word.to_owned(),
        Severity::Error => "31",
        Severity::Warning => "33",
        Severity::Note => "36",
    };
    format!("\x1b[{code}m{word}\x1b[0m")
}

/// Columns of a report.
const WIDTH: usize = 80;
/// Of the JSON object; a member more does not change it.
const REPORT_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Block {
        let mut finding =
            Finding::warning("stdout-noise", format!("a line {}", "is long ".repeat(20)), "Do that.");
        finding.evidence = format!("one\n\x1b[31m{}", "x".repeat(200));
        Block {
            name: Some("web".into()),
            words: "w 1".into(),
            findings: vec![finding],
            facts: json!({"name": "web"}),
        }
    }

    #[test]
    fn a_report_fits_eighty_columns_and_steers_no_terminal() {
        let shown = block().text(false);
        assert!(shown.lines().all(|line| line.chars().count() <= 80 && !line.contains('\x1b')), "{shown}");
        assert!(shown.starts_with("web: ok  w 1\n  warning: a line is long"), "{shown}");
        assert!(shown.contains("[stdout-noise]") && shown.contains("    | one\n"), "{shown}");
        assert!(shown.ends_with("    cure: Do that.\n"), "{shown}");
        let painted = block().text(true);
        assert!(painted.starts_with("web: \x1b[32mok\x1b[0m  w 1\n"), "{painted}");
        assert!(painted.contains("\x1b[33mwarning\x1b[0m: a line"));
        let long = Block { name: Some("n".repeat(200)), words: "w ".repeat(50), ..Block::default() };
        assert!(long.text(false).lines().all(|line| line.chars().count() <= 80));
        assert!(long.text(true).contains("ok"));
    }

    #[test]
    fn programs_get_every_member() {
        let report: Value = serde_json::from_str(&json(Path::new("m.toml"), &[block()])).unwrap();
        assert_eq!(report["version"], 1);
        assert_eq!(report["servers"], json!([{"name": "web"}]));
        let finding = &report["findings"][0];
        assert_eq!((&finding["severity"], &finding["code"]), (&json!("warning"), &json!("stdout-noise")));
        assert_eq!(finding.as_object().unwrap().len(), 6);
    }
}
