//! The last step from read keys to a [`ServerConfig`]: required keys, defaults that depend on others,
//! and what must hold between keys and between servers.

use super::ServerConfig;
use super::path::{SOCKET_PATH_MAX, normalize};
use super::read::Reader;
use crate::base::SortedMap;
use crate::engine::port::SpawnSpec;
#[cfg(feature = "gateway")]
use crate::gateway::catalogue::Offer;
use crate::mux::policy::ServerPolicy;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The keys a table has, and the byte offset of each value.
pub(super) type Given = SortedMap<&'static str, usize>;

/// A server as read, before the last checks.
pub(super) struct Draft {
    pub(super) server: ServerConfig,
    pub(super) given: Given,
    /// `servers.NAME`.
    pub(super) prefix: String,
    /// Offset of the name.
    pub(super) at: usize,
}

/// A server of that name with every default.
pub(super) fn blank(name: &str) -> ServerConfig {
    ServerConfig {
        policy: ServerPolicy::new(name),
        socket: PathBuf::new(),
        spawn: SpawnSpec::default(),
        search_path: None,
        status_file: None,
        service_name: String::new(),
        tray: false,
        enabled: true,
        log_level: None,
        env_of_variables: Vec::new(),
        args_of_variables: Vec::new(),
        #[cfg(feature = "gateway")]
        gateway: true,
        #[cfg(feature = "gateway")]
        offer: Offer::default(),
    }
}

/// Checks and completes all servers. Problems go to the reader; the result counts only without any.
pub(super) fn servers(reader: &mut Reader<'_>, mut drafts: Vec<Draft>) -> Vec<ServerConfig> {
    for draft in &mut drafts {
        draft.program(reader);
        draft.socket(reader);
        draft.times(reader);
        draft.spare(reader);
        draft.search_path(reader);
        #[cfg(feature = "gateway")]
        draft.filters();
    }
    one_socket_each(reader, &drafts);
    drafts.into_iter().map(|draft| draft.server).collect()
}

impl Draft {
    fn search_path(&mut self, reader: &mut Reader<'_>) {
        let surroundings = reader.surroundings;
        if let Some(Err(text)) = self.server.search_path.as_mut().map(|path| path.expand(surroundings)) {
            self.problem(reader, "path", text);
        }
    }

    fn program(&mut self, reader: &mut Reader<'_>) {
        if !self.given.contains_key("cmd") {
            let text = format!("has no '{}', expected the program of the MCP server", reader.spelling.cmd);
            reader.problem(self.at, &self.prefix, text);
        }
        if self.server.spawn.program.starts_with("~/") {
            match reader.surroundings.expand(&self.server.spawn.program) {
                Ok(path) => self.server.spawn.program = path.to_string_lossy().into_owned(),
                Err(text) => self.problem(reader, "cmd", text),
            }
        }
    }

    fn socket(&mut self, reader: &mut Reader<'_>) {
        let server = &mut self.server;
        if !self.given.contains_key("socket") {
            match reader.surroundings.default_socket(&server.policy.name) {
                Ok(path) => server.socket = path,
                Err(text) => reader.problem(self.at, &self.prefix, text),
            }
        }
        let len = server.socket.as_os_str().as_bytes().len();
        if server.service_name.is_empty() {
            let file =
                server.socket.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let stem = file.split('.').next().filter(|stem| !stem.is_empty());
            server.service_name = stem.unwrap_or(&server.policy.name).to_owned();
        }
        if len > SOCKET_PATH_MAX {
            let text = format!(
                "is a path of {len} bytes, expected at most {SOCKET_PATH_MAX} (a limit of the system)"
            );
            self.problem(reader, "socket", text);
        }
    }

    /// A bound that was left to its default follows the value it bounds; one that was written must fit.
    fn times(&mut self, reader: &mut Reader<'_>) {
        let policy = &mut self.server.policy;
        let mut wrong = Vec::new();
        let mut pair = |low: &str, low_ms: u64, high: &'static str, high_ms: &mut u64| {
            if *high_ms >= low_ms {
            } else if self.given.contains_key(high) {
                wrong.push((high, format!("is {high_ms}, expected at least {low}, which is {low_ms}")));
            } else {
                *high_ms = low_ms;
            }
        };
        let backoff_ms = policy.restart_backoff_ms;
        pair("restart_backoff_ms", backoff_ms, "restart_backoff_max_ms", &mut policy.restart_backoff_max_ms);
        let timeout_ms = policy.request_timeout_ms;
        pair("request_timeout_ms", timeout_ms, "request_timeout_max_ms", &mut policy.request_timeout_max_ms);
        for (key, text) in wrong {
            self.problem(reader, key, text);
        }
    }

    /// Nobody would ever take a spare where all clients share one process.
    fn spare(&mut self, reader: &mut Reader<'_>) {
        let policy = &self.server.policy;
        if policy.spare > 0 && !policy.is_per_client() {
            let text = "has no effect: all clients share one process; share = \"session\" or \"request\" \
                        would give each its own";
            let at = self.given.get("spare").copied().unwrap_or(self.at);
            reader.warn(at, &format!("{}.spare", self.prefix), text.to_owned());
        }
    }

    /// A problem of a key of this server, or of the server if the key was not written.
    fn problem(&self, reader: &mut Reader<'_>, key: &str, text: String) {
        let at = self.given.get(key).copied().unwrap_or(self.at);
        let key = reader.spelling.key(key);
        reader.problem(at, &format!("{}.{key}", self.prefix), text);
    }
}

#[cfg(feature = "gateway")]
impl Draft {
    /// What is filtered holds at the server itself, too.
    fn filters(&mut self) {
        let filters = self.server.offer.filters();
        self.server.policy.filters = (filters != Default::default()).then(|| Box::new(filters));
    }
}

/// With HTTP, a name is a part of a URL.
#[cfg(feature = "http")]
pub(super) fn url_names(reader: &mut Reader<'_>, drafts: &[Draft]) {
    for draft in drafts.iter().filter(|draft| draft.server.enabled) {
        if let Some(why) = super::path::unfit_for_url(&draft.server.policy.name, "/servers/NAME/mcp") {
            reader.problem(draft.at, &draft.prefix, why + ", or serve no HTTP");
        }
    }
}

/// The endpoint of all servers is a server, too.
#[cfg(feature = "gateway")]
pub(super) fn merged_name(reader: &mut Reader<'_>, drafts: &[Draft]) {
    let is_taken = |draft: &&Draft| draft.server.enabled && draft.server.policy.name == super::gateway::NAME;
    for draft in drafts.iter().filter(is_taken) {
        let text = "is what the endpoint of all servers is called; give this server another name";
        reader.problem(draft.at, &draft.prefix, text);
    }
}

/// Two servers cannot listen at one path. Disabled ones do not listen.
fn one_socket_each(reader: &mut Reader<'_>, drafts: &[Draft]) {
    let mut owners: SortedMap<PathBuf, &Draft> = SortedMap::new();
    for draft in drafts {
        let path = &draft.server.socket;
        if !draft.server.enabled || path.as_os_str().is_empty() {
            continue;
        }
        if let Some(owner) = owners.insert(normalize(path), draft) {
            let text = format!(
                "'{}' is also the socket of {}, expected one for each server",
                path.display(),
                owner.prefix
            );
            draft.problem(reader, "socket", text);
        }
    }
}
