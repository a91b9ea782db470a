//! What `muxloop status` says of merged endpoints: what clients can have there, and what is missing.

use super::text::{count, counted, plain};
use crate::control::{MergedReport, Report};
use std::collections::BTreeSet;

/// A paragraph for each endpoint, and one for each thing that is wrong, which several endpoints may share.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let mut wrong = BTreeSet::new();
    for (server, merged) in report.servers.iter().filter_map(|server| Some((server, server.merged.as_ref()?)))
    {
        let name = plain(&server.name);
        let tokens =
            server.tool_tokens.map(|tokens| format!(" ({} tokens)", count(tokens))).unwrap_or_default();
        let lazy = if merged.lazy { ", searched for instead of listed" } else { "" };
        lines.push(format!(
            "{name}: {}{lazy}{tokens}, {}, {}, {} of {}",
            number(merged.tools, "tool"),
            number(merged.prompts, "prompt"),
            number(merged.resources, "resource"),
            number(merged.templates, "template"),
            counted(merged.servers.len(), "server"),
        ));
        let unasked: Vec<String> = merged
            .servers
            .iter()
            .filter(|member| member.tools.is_none() && member.missing.is_none())
            .map(|member| plain(&member.name))
            .collect();
        if !unasked.is_empty() {
            lines.push(format!("{name}: not asked for tools yet: {}", unasked.join(", ")));
        }
        wrong.extend(missing(merged));
        wrong.extend(merged.collided.iter().map(|text| plain(text)));
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines.extend(wrong);
    lines
}

/// Servers of which something may be missing, each in a line.
fn missing(merged: &MergedReport) -> impl Iterator<Item = String> {
    merged.servers.iter().filter_map(|member| {
        let known = if member.tools.is_some() { "may be old there" } else { "is missing there" };
        Some(format!("{} {known}: {}", plain(&member.name), plain(member.missing.as_deref()?)))
    })
}

/// What is known of one endpoint, as label and value.
#[cfg(any(feature = "inspect", feature = "tui"))]
pub(super) fn facts(merged: &MergedReport) -> Vec<(&'static str, String)> {
    let mut facts = vec![("names", plain(&merged.names))];
    for member in &merged.servers {
        let all = [member.tools, member.prompts, member.resources, member.templates];
        let kinds = ["tool", "prompt", "resource", "template"];
        let known = all.into_iter().zip(kinds).filter_map(|(known, kind)| Some(number(known?, kind)));
        let known: Vec<String> = known.collect();
        let known = if known.is_empty() { "nothing known yet".to_owned() } else { known.join(", ") };
        facts.push(("of", format!("{}: {known}", plain(&member.name))));
    }
    facts.extend(missing(merged).map(|line| ("wrong", line)));
    facts.extend(merged.collided.iter().map(|text| ("wrong", plain(text))));
    facts
}

fn number(number: u64, what: &str) -> String {
    counted(number as usize, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{MemberReport, ServerReport};

    #[test]
    fn an_endpoint_says_what_it_has_and_what_it_lacks() {
        let member = |name: &str, tools, missing: Option<&str>| MemberReport {
            name: name.into(),
            tools,
            missing: missing.map(String::from),
            ..MemberReport::default()
        };
        let merged = MergedReport {
            tools: 12,
            prompts: 1,
            collided: vec!["tool 'x' is of two\u{1b}[2J".into()],
            servers: vec![
                member("a", Some(12), None),
                member("b", None, Some("has not answered a list for 3.0 s")),
                member("c", None, None),
            ],
            ..MergedReport::default()
        };
        let server = |name: &str| ServerReport {
            name: name.into(),
            tool_tokens: Some(900),
            merged: Some(merged.clone()),
            ..ServerReport::default()
        };
        let report = Report { servers: vec![server("gateway"), server("gateway/few")], ..Report::default() };
        let lines = lines(&report);
        assert_eq!(
            lines[1],
            "gateway: 12 tools (900 tokens), 1 prompt, 0 resources, 0 templates of 3 servers"
        );
        assert_eq!(lines[2], "gateway: not asked for tools yet: c");
        assert_eq!(lines[5], "b is missing there: has not answered a list for 3.0 s");
        assert!(
            lines.len() == 7 && lines[6].starts_with("tool 'x'") && !lines[6].contains('\u{1b}'),
            "{lines:?}"
        );
        assert!(super::lines(&Report::default()).is_empty());
    }
}
