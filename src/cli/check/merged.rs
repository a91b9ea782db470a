//! `muxloop check`: what a file says of the merged endpoint.

use crate::config::gateway::{Profile, Tools};
use crate::config::{Config, ServerConfig};
use crate::gateway::catalogue::{Change, Naming};
use crate::gateway::filter::{Filter, Filters};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The endpoint and its profiles for a person.
pub(super) fn words(text: &mut String, config: &Config) {
    if config.gateway != Default::default() {
        part(text, &format!("gateway ({})", manner(config)), config, None, &config.gateway.filters);
    }
    for profile in &config.profiles {
        part(text, &format!("profile {}", profile.name), config, Some(profile), &profile.filters);
    }
}

/// What a server offers there, below its line.
pub(super) fn server_words(text: &mut String, server: &ServerConfig) {
    for (kind, filter) in kinds(&server.offer.tools, &server.offer.prompts, &server.offer.resources) {
        let _ = writeln!(text, "    {kind}: {}", filter_words(filter));
    }
    for (tool, change) in &server.offer.changes {
        let _ = writeln!(text, "    tool {tool}: {}", change_words(change));
    }
}

/// The endpoint and its profiles for programs, as members of the whole.
pub(super) fn add(config: &Config, value: &mut Value) {
    let profiles = config.profiles.iter().map(|profile| {
        let mut value = json!({ "servers": names(config, Some(profile)) });
        add_filters(&profile.filters, &mut value);
        (profile.name.clone(), value)
    });
    value["profiles"] = profiles.collect::<Map<String, Value>>().into();
    let mut gateway = json!({
        "servers": names(config, None),
        "names": naming(config),
        "mode": if config.gateway.tools == Tools::Lazy { "lazy" } else { "all" },
        "list_timeout_ms": config.gateway.list_timeout_ms,
    });
    add_filters(&config.gateway.filters, &mut gateway);
    value["gateway"] = gateway;
}

/// What a server offers there, as members of it.
pub(super) fn add_server(server: &ServerConfig, value: &mut Value) {
    let offer = &server.offer;
    value["gateway"] = server.gateway.into();
    let filters = Filters {
        tools: offer.tools.clone(),
        prompts: offer.prompts.clone(),
        resources: offer.resources.clone(),
    };
    add_filters(&filters, value);
    let changes = offer.changes.iter().map(|(tool, change)| {
        let list = |is_fixed| hidden(change, is_fixed).collect::<Vec<_>>();
        let change = json!({
            "name": change.name, "description": change.description, "hide": list(false), "set": list(true),
        });
        (tool.clone(), change)
    });
    value["tool"] = changes.collect::<Map<String, Value>>().into();
}

/// The gateway or a profile of it.
fn part(text: &mut String, title: &str, config: &Config, profile: Option<&Profile>, filters: &Filters) {
    let _ = writeln!(text, "  {title}: {}", names(config, profile).join(", "));
    for (kind, filter) in kinds(&filters.tools, &filters.prompts, &filters.resources) {
        let _ = writeln!(text, "    {kind}: {}", filter_words(filter));
    }
}

fn manner(config: &Config) -> String {
    let gateway = &config.gateway;
    let lazy = if gateway.tools == Tools::Lazy { ", lazy tools" } else { "" };
    format!("{} names, lists within {} ms{lazy}", naming(config), gateway.list_timeout_ms)
}

fn naming(config: &Config) -> &'static str {
    match config.gateway.naming {
        Naming::Prefix => "prefix",
        Naming::Plain => "plain",
    }
}

fn names<'c>(config: &'c Config, profile: Option<&Profile>) -> Vec<&'c str> {
    config.gateway_servers(profile).into_iter().map(|server| server.policy.name.as_str()).collect()
}

/// The filters that are set.
fn kinds<'f>(
    tools: &'f Filter,
    prompts: &'f Filter,
    resources: &'f Filter,
) -> impl Iterator<Item = (&'static str, &'f Filter)> {
    let all = [("tools", tools), ("prompts", prompts), ("resources", resources)];
    all.into_iter().filter(|(_, filter)| !filter.is_open())
}

fn filter_words(filter: &Filter) -> String {
    let list = |word: &str, patterns: Vec<String>| match patterns.is_empty() {
        true => None,
        false => Some(format!("{word} {}", patterns.join(" ").escape_debug())),
    };
    let (allow, deny) = patterns(filter);
    [list("allow", allow), list("deny", deny)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What may be passed and what not, as written.
fn patterns(filter: &Filter) -> (Vec<String>, Vec<String>) {
    let texts = |all: &[wildmatch::WildMatch]| all.iter().map(|pattern| pattern.pattern()).collect();
    (texts(&filter.allow), texts(&filter.deny))
}

fn change_words(change: &Change) -> String {
    let mut parts = Vec::new();
    parts.extend(change.name.as_ref().map(|name| format!("named {name}")));
    parts.extend(change.description.as_ref().map(|_| "described anew".to_owned()));
    for (what, is_fixed) in [("hides", false), ("sets", true)] {
        let names: Vec<String> =
            hidden(change, is_fixed).map(|name| name.escape_debug().to_string()).collect();
        if !names.is_empty() {
            parts.push(format!("{what} {}", names.join(", ")));
        }
    }
    parts.join("; ")
}

fn hidden(change: &Change, is_fixed: bool) -> impl Iterator<Item = &String> {
    change.hidden.iter().filter(move |(_, value)| value.is_some() == is_fixed).map(|(name, _)| name)
}

fn add_filters(filters: &Filters, value: &mut Value) {
    for (kind, filter) in kinds(&filters.tools, &filters.prompts, &filters.resources) {
        let (allow, deny) = patterns(filter);
        value[kind] = json!({ "allow": allow, "deny": deny });
    }
}
