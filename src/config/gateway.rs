//! The merged endpoint as configured: the table `gateway`, the profiles, and what each server offers there
//! (H02, H03, H07, H08).
//!
//! Ends in the plain values that [`crate::gateway`] is made of; running it is the daemon's.

mod keys;

use super::Config;
use super::ServerConfig;
use super::nearest::suggestion;
use super::path::unfit_for_url;
use super::read::{Reader, Scope, Value, in_order, join, quoted, type_of};
use crate::gateway::Setup;
use crate::gateway::catalogue::{Change, Naming};
use crate::gateway::filter::{Filter, Filters};
use keys::TOOLS;
pub use keys::{CHANGE, FILTER, GATEWAY, PROFILE};
use std::collections::BTreeSet;
use toml::de::{DeTable, DeValue};
use wildmatch::WildMatch;

/// The merged endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    pub naming: Naming,
    pub tools: Tools,
    /// How long a list waits for a server.
    pub list_timeout_ms: u64,
    /// Servers in the order in which their things are listed; `None`: all, in the order of the file.
    pub servers: Option<Vec<String>>,
    /// By names of the merged endpoint.
    pub filters: Filters,
    /// Not of the file: there is a merged endpoint in any case, and it is that of this profile.
    pub serve: Option<Serve>,
}

/// What `muxloop serve` makes of the merged endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serve {
    pub profile: Option<String>,
}

/// How tools are offered (K02).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tools {
    /// Each in the list.
    #[default]
    All,
    /// By tools that search for them.
    Lazy,
}

/// A named part of the merged endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    /// As in [`GatewayConfig`]; `None`: those of the gateway.
    pub servers: Option<Vec<String>>,
    /// Besides those of the gateway.
    pub filters: Filters,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        GatewayConfig {
            naming: Naming::Prefix,
            tools: Tools::All,
            list_timeout_ms: 5_000,
            servers: None,
            filters: Filters::default(),
            serve: None,
        }
    }
}

/// What the merged endpoint is called among the servers.
pub const NAME: &str = "gateway";

/// What the endpoint of a profile is called among the servers. With HTTP, no server's name has a slash.
pub fn of_profile(profile: &str) -> String {
    format!("{NAME}/{profile}")
}

impl Config {
    /// Whether there is a merged endpoint: with HTTP, or if anything is said about it.
    pub fn has_merged_endpoint(&self) -> bool {
        #[cfg(feature = "http")]
        if !self.http.listen.is_empty() {
            return true;
        }
        self.gateway != GatewayConfig::default()
    }

    /// Whether profiles have endpoints of their own: they are paths of HTTP.
    pub fn serves_profiles(&self) -> bool {
        #[cfg(feature = "http")]
        let has_http = !self.http.listen.is_empty();
        #[cfg(not(feature = "http"))]
        let has_http = false;
        has_http
    }

    /// The endpoints that there are: names of profiles, `None` for the one of all.
    pub fn endpoints(&self) -> Vec<Option<&str>> {
        if !self.has_merged_endpoint() {
            return Vec::new();
        }
        let profiles = self.profiles.iter().filter(|_| self.serves_profiles());
        std::iter::once(None).chain(profiles.map(|profile| Some(&*profile.name))).collect()
    }

    /// What the merged endpoint, or that of a profile, is made of; `number` gives the mux's number of a server,
    /// or `None` if it does not run. `None`: there is no such profile.
    pub fn gateway_setup(
        &self,
        profile: Option<&str>,
        number: impl Fn(&str) -> Option<usize>,
    ) -> Option<Setup> {
        let served = self.gateway.serve.as_ref().and_then(|serve| serve.profile.as_deref());
        let profile = match profile.or(served) {
            Some(name) => Some(self.profiles.iter().find(|profile| profile.name == name)?),
            None => None,
        };
        let servers = self.gateway_servers(profile).into_iter();
        let servers = servers.filter_map(|server| {
            let name = &server.policy.name;
            Some((number(name)?, name.clone(), server.offer.clone()))
        });
        let filters = std::iter::once(&self.gateway.filters).chain(profile.map(|profile| &profile.filters));
        Some(Setup {
            naming: self.gateway.naming,
            servers: servers.collect(),
            list_timeout_ms: self.gateway.list_timeout_ms,
            lazy: self.gateway.tools == Tools::Lazy,
            filters: filters.filter(|filters| **filters != Filters::default()).cloned().collect(),
        })
    }

    /// The servers of the merged endpoint, or of a profile, in the order in which their things are listed.
    pub fn gateway_servers(&self, profile: Option<&Profile>) -> Vec<&ServerConfig> {
        let named = profile.and_then(|profile| profile.servers.as_ref()).or(self.gateway.servers.as_ref());
        let all = self.servers.iter().filter(|server| server.enabled && server.gateway);
        match named {
            None => all.collect(),
            Some(names) => names
                .iter()
                .filter_map(|name| all.clone().find(|server| server.policy.name == *name))
                .collect(),
        }
    }
}

/// A name of a server somewhere else than at the server: looked up once all servers are read.
pub(super) struct Reference {
    at: usize,
    path: String,
    name: String,
}

/// Each answers whether the value has the type that is expected.
impl Reader<'_> {
    pub(super) fn gateway(&mut self, value: &Value<'_>, path: &str, gateway: &mut GatewayConfig) -> bool {
        let DeValue::Table(table) = value.get_ref() else { return false };
        self.table(table, GATEWAY, Scope::Gateway, path, gateway);
        true
    }

    pub(super) fn filter(&mut self, value: &Value<'_>, path: &str, filter: &mut Filter) -> bool {
        let DeValue::Table(table) = value.get_ref() else { return false };
        self.table(table, FILTER, Scope::Gateway, path, filter);
        if table.is_empty() {
            self.problem(value.span().start, path, "filters nothing, expected 'allow' or 'deny'");
        }
        true
    }

    pub(super) fn profiles(&mut self, value: &Value<'_>, path: &str, profiles: &mut Vec<Profile>) -> bool {
        let DeValue::Table(table) = value.get_ref() else { return false };
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            let path = join(path, name);
            if let Some(why) = unfit_for_url(name, "/profiles/NAME/mcp") {
                self.problem(key.span().start, &path, why);
            }
            let Some(table) = self.inner_table(value, &path) else { continue };
            let mut profile = Profile { name: name.to_owned(), ..Profile::default() };
            self.table(table, PROFILE, Scope::Gateway, &path, &mut profile);
            if table.is_empty() {
                let text = "selects nothing, expected servers, tools, prompts or resources";
                self.problem(key.span().start, &path, text);
            }
            profiles.push(profile);
        }
        true
    }

    /// Tables of [`CHANGE`] by names of tools.
    pub(super) fn changes(&mut self, value: &Value<'_>, path: &str, server: &mut ServerConfig) -> bool {
        let DeValue::Table(table) = value.get_ref() else { return false };
        let mut names = BTreeSet::new();
        for (key, value) in in_order(table) {
            let (at, path) = (key.span().start, join(path, key.get_ref()));
            let Some(table) = self.inner_table(value, &path) else { continue };
            let mut change = Change::default();
            let given = self.table(table, CHANGE, Scope::Gateway, &path, &mut change);
            if table.is_empty() {
                self.problem(at, &path, "changes nothing, expected name, description, hide or set");
            }
            if let Some(name) = &change.name {
                let at = given.get("name").copied().unwrap_or(at);
                let path = format!("{path}.name");
                if !is_tool_name(name) {
                    let text = format!(
                        "is '{}', expected 1 to 128 of letters, digits, '_', '-' and '.'",
                        quoted(name)
                    );
                    self.problem(at, &path, text);
                } else if !names.insert(name.clone()) {
                    self.problem(at, &path, format!("is '{name}', as of another tool of this server"));
                }
            }
            server.offer.changes.insert(key.get_ref().to_string(), change);
        }
        true
    }

    fn inner_table<'t, 'i>(&mut self, value: &'t Value<'i>, path: &str) -> Option<&'t DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                let text = format!("expected a table, found {}", type_of(other));
                self.problem(value.span().start, path, text);
                None
            }
        }
    }

    fn gateway_tools(&mut self, value: &Value<'_>, path: &str, gateway: &mut GatewayConfig) -> bool {
        match value.get_ref() {
            DeValue::String(_) => self.value(&TOOLS[0], value, path, gateway),
            DeValue::Table(table) => {
                self.table(table, TOOLS, Scope::Gateway, path, gateway);
                if table.is_empty() {
                    self.problem(value.span().start, path, "says nothing, expected mode, allow or deny");
                }
            }
            _ => return false,
        }
        true
    }

    fn server_names(&mut self, value: &Value<'_>, path: &str, names: &mut Option<Vec<String>>) -> bool {
        let DeValue::Array(array) = value.get_ref() else { return false };
        if array.is_empty() {
            self.problem(value.span().start, path, "is empty, expected at least one name of a server");
        }
        let mut read: Vec<String> = Vec::new();
        for (i, item) in array.iter().enumerate() {
            let (at, path) = (item.span().start, format!("{path}[{i}]"));
            match item.get_ref() {
                DeValue::String(name) if read.iter().any(|known| known == name) => {
                    self.problem(at, &path, format!("'{}' stands twice in the list", quoted(name)));
                }
                DeValue::String(name) => {
                    read.push(name.to_string());
                    self.references.push(Reference { at, path, name: name.to_string() });
                }
                other => self.problem(at, &path, format!("expected a string, found {}", type_of(other))),
            }
        }
        *names = Some(read);
        true
    }

    /// Names that were read before all servers were.
    pub(super) fn check_references(&mut self, servers: &[ServerConfig]) {
        for Reference { at, path, name } in std::mem::take(&mut self.references) {
            let known = || servers.iter().map(|server| server.policy.name.as_str());
            match servers.iter().find(|server| server.policy.name == name) {
                Some(server) if !server.gateway => {
                    let text = format!("server '{}' has gateway = false; remove one of both", quoted(&name));
                    self.problem(at, &path, text);
                }
                Some(_) => {}
                None => {
                    let list: Vec<String> = known().take(20).map(quoted).collect();
                    let near = suggestion(&name, known());
                    let text =
                        format!("no server '{}', the file has: {}{}", quoted(&name), list.join(", "), near);
                    self.problem(at, &path, text);
                }
            }
        }
    }

    fn patterns(&mut self, value: &Value<'_>, path: &str, patterns: &mut Vec<WildMatch>) -> bool {
        let DeValue::Array(array) = value.get_ref() else { return false };
        for (i, item) in array.iter().enumerate() {
            let (at, path) = (item.span().start, format!("{path}[{i}]"));
            match item.get_ref() {
                DeValue::String(text) if text.is_empty() => {
                    self.problem(at, &path, "is empty, expected a name or a pattern");
                }
                DeValue::String(text) => patterns.push(WildMatch::new(text)),
                other => self.problem(at, &path, format!("expected a string, found {}", type_of(other))),
            }
        }
        true
    }

    fn fixed(&mut self, value: &Value<'_>, path: &str, change: &mut Change) -> bool {
        let DeValue::Table(table) = value.get_ref() else { return false };
        for (key, value) in in_order(table) {
            let name = key.get_ref().as_ref();
            if let Some(json) = self.json_value(value, &join(path, name)) {
                change.hidden.insert(name.to_owned(), Some(json.to_string().into()));
            }
        }
        true
    }

    /// A value as the server of a tool gets it.
    fn json_value(&mut self, value: &Value<'_>, path: &str) -> Option<serde_json::Value> {
        let at = value.span().start;
        let number = match value.get_ref() {
            DeValue::String(text) => return Some(text.as_ref().into()),
            DeValue::Boolean(flag) => return Some((*flag).into()),
            DeValue::Array(array) => {
                let items = array.iter().enumerate();
                let items = items.filter_map(|(i, item)| self.json_value(item, &format!("{path}[{i}]")));
                return Some(items.collect());
            }
            DeValue::Table(table) => {
                let members = in_order(table).into_iter().filter_map(|(key, value)| {
                    let name = key.get_ref();
                    Some((name.to_string(), self.json_value(value, &join(path, name))?))
                });
                return Some(serde_json::Value::Object(members.collect()));
            }
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into)
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                number.map(serde_json::Value::Number)
            }
            DeValue::Datetime(_) => None,
        };
        if number.is_none() {
            let text = format!("is {} that JSON does not have; put it in quotes", type_of(value.get_ref()));
            self.problem(at, path, text);
        }
        number
    }
}

/// As the specification says of tools (protocol.md §5.1).
fn is_tool_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(is_letter)
}

#[cfg(test)]
mod tests;
