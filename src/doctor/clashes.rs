//! What concerns several servers: the same tool twice, the same server twice.

use super::finding::{Finding, named};
use super::lists::List;
use super::trial::Tried;
use crate::config::ServerConfig;
use std::collections::BTreeMap;

/// The same name of a tool in several servers; one note for each set of servers.
pub fn tools(tried: &[Tried]) -> Vec<Finding> {
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for server in tried {
        let names =
            server.list(List::Tools).unwrap_or_default().iter().filter_map(|tool| tool["name"].as_str());
        for name in names {
            let owners = owners.entry(name).or_default();
            if owners.last() != Some(&server.name.as_str()) {
                owners.push(&server.name);
            }
        }
    }
    let mut sets: BTreeMap<Vec<&str>, Vec<String>> = BTreeMap::new();
    for (name, owners) in owners.into_iter().filter(|(_, owners)| owners.len() > 1) {
        sets.entry(owners).or_default().push(name.to_owned());
    }
    let note = |(owners, names): (Vec<&str>, Vec<String>)| {
        let message =
            format!("the servers {} have tools of the same name: {}", owners.join(", "), named(&names));
        let cure = "Nothing to do while clients see each server for itself; one endpoint for all has to rename them.";
        Finding::note("clash-tools", message, cure)
    };
    sets.into_iter().map(note).collect()
}

/// Servers that are the same program with the same arguments and environment.
pub fn twins(servers: &[&ServerConfig]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut is_told = vec![false; servers.len()];
    for (index, server) in servers.iter().enumerate() {
        if is_told[index] {
            continue;
        }
        let mut names = vec![server.policy.name.clone()];
        for (other, twin) in servers.iter().enumerate().skip(index + 1) {
            if twin.spawn == server.spawn {
                names.push(twin.policy.name.clone());
                is_told[other] = true;
            }
        }
        if names.len() > 1 {
            let message =
                format!("these servers are the same command with the same arguments: {}", named(&names));
            let cure = "If that is not on purpose, keep one: any number of clients share it.";
            found.push(Finding::note("clash-twins", message, cure));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shared_names_are_grouped_by_their_servers() {
        let tried = |name: &str, tools: &[&str]| Tried {
            name: name.to_owned(),
            lists: vec![(List::Tools, tools.iter().map(|tool| json!({ "name": tool })).collect())],
            ..Tried::default()
        };
        let all = [tried("a", &["x", "y", "z", "z"]), tried("b", &["x", "y"]), tried("c", &["w", "x"])];
        let messages: Vec<String> = tools(&all).into_iter().map(|finding| finding.message).collect();
        assert_eq!(
            messages,
            [
                "the servers a, b have tools of the same name: 'y'",
                "the servers a, b, c have tools of the same name: 'x'"
            ]
        );
    }

    #[test]
    fn twins_are_told_once() {
        let text = "[servers.a]\ncmd='x'\nsocket='/a'\n[servers.b]\ncmd='x'\nargs=['1']\nsocket='/b'\n\
                    [servers.c]\ncmd='x'\nsocket='/c'\n[servers.d]\ncmd='x'\nsocket='/d'\n";
        let loaded = crate::config::Config::parse("m", text.as_bytes(), &Default::default()).unwrap();
        let servers: Vec<&ServerConfig> = loaded.config.servers.iter().collect();
        let found = twins(&servers);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.ends_with(": 'a', 'c', 'd'"), "{found:?}");
    }
}
