//! `muxloop check`: what a file says, for a person and for programs.

use super::invocation::{counted, find, report};
use crate::config::gateway::{Profile, Tools};
use crate::config::{Config, Loaded, Problem, ServerConfig, Surroundings};
use crate::gateway::catalogue::{Change, Naming};
use crate::gateway::filter::{Filter, Filters};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// `muxloop check`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    pub config: Option<PathBuf>,
    pub json: bool,
}

/// What is said of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub is_good: bool,
    /// For stdout.
    pub summary: String,
    /// For stderr: with `json`, they are in the summary.
    pub warnings: Vec<Problem>,
}

impl CheckOptions {
    /// Checks the file.
    ///
    /// # Errors
    /// Lines for a person: every problem, or that there is no file. With `json`, problems of a file are a verdict.
    pub fn check(&self, surroundings: &Surroundings) -> Result<Verdict, String> {
        let path = find(self.config.as_deref(), surroundings)?;
        let loaded = Config::load(&path, surroundings).and_then(|loaded| match exposure(&loaded.config) {
            None => Ok(loaded),
            Some(text) => {
                let file = path.display().to_string();
                Err(vec![Problem { file, place: None, key: "http".into(), text }])
            }
        });
        match loaded {
            Ok(loaded) if self.json => {
                Ok(Verdict { is_good: true, summary: lines(&value(&loaded)), warnings: Vec::new() })
            }
            Ok(loaded) => {
                Ok(Verdict { is_good: true, summary: words(&loaded.config), warnings: loaded.warnings })
            }
            Err(problems) if self.json => {
                let problems: Vec<Value> = problems.iter().map(problem).collect();
                let summary =
                    lines(&json!({ "ok": false, "file": path.display().to_string(), "problems": problems }));
                Ok(Verdict { is_good: false, summary, warnings: Vec::new() })
            }
            Err(problems) => Err(report(&problems)),
        }
    }
}

#[cfg(feature = "http")]
fn exposure(config: &Config) -> Option<String> {
    config.http.exposure()
}

#[cfg(not(feature = "http"))]
fn exposure(_: &Config) -> Option<String> {
    None
}

fn lines(value: &Value) -> String {
    format!("{value:#}\n")
}

fn words(config: &Config) -> String {
    let servers = &config.servers;
    let mut text = format!("{}: ok, {}\n", config.path.display(), counted(servers.len(), "server"));
    for server in servers {
        let disabled = if server.enabled { "" } else { " (disabled)" };
        let (name, socket) = (&server.policy.name, server.socket.display());
        let sandbox = if server.spawn.sandbox.is_some() { " (sandbox)" } else { "" };
        let gateway = if server.gateway { "" } else { " (not on the gateway)" };
        let program = &server.spawn.program;
        let _ = writeln!(text, "  {name}: {program} on {socket}{sandbox}{disabled}{gateway}");
        for (kind, filter) in kinds(&server.offer.tools, &server.offer.prompts, &server.offer.resources) {
            let _ = writeln!(text, "    {kind}: {}", filter_words(filter));
        }
        for (tool, change) in &server.offer.changes {
            let _ = writeln!(text, "    tool {tool}: {}", change_words(change));
        }
    }
    #[cfg(feature = "http")]
    config.http.listen.iter().for_each(|address| text.push_str(&format!("  HTTP on {address}\n")));
    if config.gateway != Default::default() {
        part(&mut text, &format!("gateway ({})", manner(config)), config, None, &config.gateway.filters);
    }
    for profile in &config.profiles {
        part(&mut text, &format!("profile {}", profile.name), config, Some(profile), &profile.filters);
    }
    text
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

/// Fixed values, arguments and environments are not in it: they may be secret.
fn value(loaded: &Loaded) -> Value {
    let config = &loaded.config;
    let profiles: Map<String, Value> = config
        .profiles
        .iter()
        .map(|profile| {
            let mut value = filters_value(&profile.filters);
            value["servers"] = json!(names(config, Some(profile)));
            (profile.name.clone(), value)
        })
        .collect();
    let mut gateway = filters_value(&config.gateway.filters);
    gateway["servers"] = json!(names(config, None));
    gateway["names"] = naming(config).into();
    gateway["mode"] = if config.gateway.tools == Tools::Lazy { "lazy" } else { "all" }.into();
    gateway["list_timeout_ms"] = config.gateway.list_timeout_ms.into();
    #[cfg(feature = "http")]
    let http: Vec<String> = config.http.listen.iter().map(ToString::to_string).collect();
    #[cfg(not(feature = "http"))]
    let http: Vec<String> = Vec::new();
    json!({
        "ok": true,
        "file": config.path.display().to_string(),
        "servers": config.servers.iter().map(server).collect::<Vec<_>>(),
        "http": http,
        "gateway": gateway,
        "profiles": profiles,
        "warnings": loaded.warnings.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn server(server: &ServerConfig) -> Value {
    let offer = &server.offer;
    let filters = Filters {
        tools: offer.tools.clone(),
        prompts: offer.prompts.clone(),
        resources: offer.resources.clone(),
    };
    let mut value = filters_value(&filters);
    value["name"] = server.policy.name.as_str().into();
    value["command"] = server.spawn.program.as_str().into();
    value["socket"] = server.socket.display().to_string().into();
    value["enabled"] = server.enabled.into();
    value["sandbox"] = server.spawn.sandbox.is_some().into();
    value["gateway"] = server.gateway.into();
    let changes = offer.changes.iter().map(|(tool, change)| {
        let list = |is_fixed| hidden(change, is_fixed).collect::<Vec<_>>();
        let change = json!({
            "name": change.name, "description": change.description, "hide": list(false), "set": list(true),
        });
        (tool.clone(), change)
    });
    value["tool"] = changes.collect::<Map<String, Value>>().into();
    value
}

fn filters_value(filters: &Filters) -> Value {
    let mut value = json!({});
    for (kind, filter) in kinds(&filters.tools, &filters.prompts, &filters.resources) {
        let (allow, deny) = patterns(filter);
        value[kind] = json!({ "allow": allow, "deny": deny });
    }
    value
}

fn problem(problem: &Problem) -> Value {
    let place = |number: Option<usize>| number.map_or(Value::Null, Value::from);
    json!({
        "file": problem.file,
        "line": place(problem.place.map(|place| place.line)),
        "column": place(problem.place.map(|place| place.column)),
        "key": problem.key,
        "text": problem.text,
    })
}
