//! Paths and where they lead.

use crate::mux::ServerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What answers at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Streamable HTTP of a server, all versions (protocol.md §3.2, §3.3).
    Mcp(ServerId),
    /// The event stream of HTTP+SSE (§3.4).
    Events(ServerId),
    /// WebSocket (§3.5).
    Socket(ServerId),
    /// Where HTTP+SSE clients post to.
    Message,
    /// Whether the process lives.
    Health,
    /// Whether it can serve.
    Ready,
    /// Figures for Prometheus.
    Metrics,
    /// The dashboard, and its figures.
    Page,
    Figures,
}

/// All paths of a front.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    by_path: BTreeMap<String, Target>,
    /// Path that `endpoint` events name.
    message: String,
}

impl Routes {
    /// `/servers/NAME/mcp`, `/servers/NAME/ws`, `/sse/NAME`, `/message`, `/health`, `/ready`, `/metrics`, `/ui`.
    pub fn of_servers<'a>(servers: impl IntoIterator<Item = (&'a str, ServerId)>) -> Routes {
        let mut routes = Routes::default();
        for (name, server) in servers {
            routes.add(&format!("/servers/{name}/mcp"), Target::Mcp(server));
            routes.add(&format!("/servers/{name}/ws"), Target::Socket(server));
            routes.add(&format!("/sse/{name}"), Target::Events(server));
        }
        routes.add("/message", Target::Message);
        routes.add("/health", Target::Health);
        routes.add("/ready", Target::Ready);
        routes.add("/metrics", Target::Metrics);
        if cfg!(feature = "control") {
            routes.add("/ui", Target::Page);
            routes.add("/ui/events", Target::Figures);
        }
        routes
    }

    /// `/mcp`, `/ws` and `/sse` lead to the server that is all servers.
    #[cfg(feature = "gateway")]
    pub fn add_merged(&mut self, server: ServerId) {
        self.add("/mcp", Target::Mcp(server));
        self.add("/ws", Target::Socket(server));
        self.add("/sse", Target::Events(server));
    }

    /// The same for a part of them: `/profiles/NAME/mcp`, `/profiles/NAME/ws` and `/profiles/NAME/sse`.
    #[cfg(feature = "gateway")]
    pub fn add_profile(&mut self, name: &str, server: ServerId) {
        self.add(&format!("{PROFILES}{name}/mcp"), Target::Mcp(server));
        self.add(&format!("{PROFILES}{name}/ws"), Target::Socket(server));
        self.add(&format!("{PROFILES}{name}/sse"), Target::Events(server));
    }

    /// Adds a path; a later one of the same name replaces it.
    pub fn add(&mut self, path: &str, target: Target) {
        if target == Target::Message {
            path.clone_into(&mut self.message);
        }
        self.by_path.insert(path.to_owned(), target);
    }

    /// Paths of Streamable HTTP, with their servers.
    pub fn servers(self) -> impl Iterator<Item = (String, ServerId)> {
        self.by_path.into_iter().filter_map(|(path, target)| match target {
            Target::Mcp(server) => Some((path, server)),
            _ => None,
        })
    }

    /// What answers at a decoded path; one slash at its end makes no difference.
    pub fn find(&self, path: &str) -> Option<Target> {
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(path);
        self.by_path.get(path).or_else(|| self.by_path.get(bare)).copied()
    }

    /// Where HTTP+SSE clients post to.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// For somebody who asked for a path, as it was written, that does not exist.
    pub fn hint(&self, path: &str) -> String {
        if let Some(rest) = path.strip_prefix(PROFILES) {
            return self.profile_hint(rest.split('/').next().unwrap_or_default());
        }
        let mut paths: Vec<&str> = self.by_path.keys().map(String::as_str).collect();
        let more = paths.len().saturating_sub(SHOWN);
        paths.truncate(SHOWN);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("nothing is here; there are {}{rest}", paths.join(", "))
    }

    fn profile_hint(&self, wrong: &str) -> String {
        let of_path = |path: &'_ String| Some(path.strip_prefix(PROFILES)?.strip_suffix("/mcp")?.to_owned());
        let mut names: Vec<String> = self.by_path.keys().filter_map(of_path).collect();
        if names.iter().any(|name| name == wrong) {
            return format!("nothing is here; profile '{wrong}' is at {PROFILES}{wrong}/mcp, /ws and /sse");
        }
        let wrong: String = wrong.chars().filter(|char| !char.is_control()).take(NAME_SHOWN).collect();
        if names.is_empty() {
            return format!("there is no profile '{wrong}': the configuration has none");
        }
        let more = names.len().saturating_sub(SHOWN);
        names.truncate(SHOWN);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("there is no profile '{wrong}'; there are {}{rest}", names.join(", "))
    }
}

/// Where the paths of profiles begin.
const PROFILES: &str = "/profiles/";
/// Most paths or names in a hint, and most characters of one that was asked for.
const SHOWN: usize = 12;
const NAME_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_servers() {
        let routes = Routes::of_servers([("memory", 0), ("files", 7)]);
        assert_eq!(routes.find("/servers/files/mcp"), Some(Target::Mcp(7)));
        assert_eq!(routes.find("/servers/files/mcp/"), Some(Target::Mcp(7)));
        assert_eq!(routes.find("/sse/memory"), Some(Target::Events(0)));
        assert_eq!(routes.find("/message"), Some(Target::Message));
        for wrong in
            ["/", "", "/servers/files", "/servers//mcp", "/Servers/files/mcp", "/servers/files/mcp//"]
        {
            assert_eq!(routes.find(wrong), None, "{wrong}");
        }
        assert!(routes.hint("/").contains("/servers/memory/mcp"));
    }

    #[test]
    #[cfg(feature = "gateway")]
    fn a_hint_names_the_profiles() {
        let mut routes = Routes::of_servers([("memory", 0)]);
        let none = "there is no profile 'x': the configuration has none";
        assert_eq!(routes.hint("/profiles/x/mcp"), none);
        routes.add_profile("read", 3);
        routes.add_profile("all", 4);
        assert_eq!(routes.find("/profiles/read/mcp"), Some(Target::Mcp(3)));
        assert_eq!(routes.find("/profiles/all/sse"), Some(Target::Events(4)));
        assert_eq!(routes.find("/profiles/all/ws/"), Some(Target::Socket(4)));
        assert_eq!(routes.hint("/profiles/x/mcp"), "there is no profile 'x'; there are all, read");
        assert!(routes.hint("/profiles/read/nothing").contains("/profiles/read/mcp"));
        assert!(routes.hint(&format!("/profiles/{}", "x".repeat(9_000))).len() < 200);
    }

    #[test]
    fn a_hint_stays_short() {
        let names: Vec<String> = (0..100).map(|n| format!("server{n}")).collect();
        let routes = Routes::of_servers(names.iter().enumerate().map(|(id, name)| (name.as_str(), id)));
        assert!(routes.hint("/").len() < 600, "{}", routes.hint("/"));
        assert!(routes.hint("/").contains("and 294 more"), "{}", routes.hint("/"));
    }
}
