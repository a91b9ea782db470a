//! The configuration: `mux.toml` in, final and checked values out; nothing is checked again later.
//!
//! ```text
//! file ─▶ read (TOML with positions) ─▶ keys (the one table: name, type, default, doc, setter) ─▶ Config
//!                    │                          └─▶ reference: `muxloop help config`, docs/configuration.md
//!                    └─▶ Problem: file:line:column: servers.NAME.key: what is wrong, what was expected
//! ```
//!
//! All problems of a file are collected, not only the first. Which of the servers run (`--only`,
//! `--except`) is decided by [`Config::select`]; starting them is left to the daemon.

mod choices;
mod finish;
mod format;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "cli")]
mod hosts;
#[cfg(feature = "http")]
pub mod http;
pub mod keys;
pub mod path;
mod problem;
mod rate;
mod read;
pub mod reference;
mod roots;
#[cfg(feature = "sandbox")]
pub mod sandbox;
mod select;
mod variables;

pub use crate::base::nearest;
pub use path::Surroundings;
pub use problem::{Place, Problem};
pub use variables::Variables;

use crate::engine::port::SpawnSpec;
#[cfg(feature = "gateway")]
use crate::gateway::catalogue::Offer;
use crate::mux::policy::ServerPolicy;
#[cfg(feature = "gateway")]
use gateway::{GatewayConfig, Profile};
#[cfg(feature = "http")]
use http::HttpConfig;
use log::LevelFilter;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A whole configuration, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// In the order of the file; those with `enabled = false` are among them until [`Config::select`].
    pub servers: Vec<ServerConfig>,
    pub log_level: Option<LevelFilter>,
    pub log_format: Option<LogFormat>,
    /// Where a snapshot of the state of all servers is written.
    pub status_file: Option<PathBuf>,
    pub audit: Audit,
    /// PATH of the servers that name none; each has it as its own by now.
    pub search_path: Option<SearchPath>,
    pub idle_exit: IdleExit,
    /// The control socket; `off` for none (see [`crate::control::path`]).
    pub control: Option<PathBuf>,
    #[cfg(feature = "http")]
    pub http: HttpConfig,
    #[cfg(feature = "gateway")]
    pub gateway: GatewayConfig,
    #[cfg(feature = "gateway")]
    pub profiles: Vec<Profile>,
}

/// How long a daemon that starts by itself stays without clients (row H05); 0: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleExit {
    pub ms: u64,
}

impl Default for IdleExit {
    fn default() -> Self {
        IdleExit { ms: 10_000 }
    }
}

/// The audit log (row E10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub path: Option<PathBuf>,
    pub arguments: bool,
    pub max_bytes: u64,
    /// Older files kept.
    pub keep: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Audit { path: None, arguments: false, max_bytes: 10 << 20, keep: 3 }
    }
}

/// One `[servers.NAME]`. Its `Debug` shows no values of the environment ([`SpawnSpec`] hides them).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Name and behaviour.
    pub policy: ServerPolicy,
    /// Where clients connect; `~` is expanded.
    pub socket: PathBuf,
    pub spawn: SpawnSpec,
    /// Where PATH comes from; `None`: from muxloop's environment.
    pub search_path: Option<SearchPath>,
    pub status_file: Option<PathBuf>,
    /// What people are shown; by default the socket's file name up to its first dot, as in rmcp-mux.
    pub service_name: String,
    pub tray: bool,
    pub enabled: bool,
    /// Level of the log lines about this server, where it differs from the rest.
    pub log_level: Option<LevelFilter>,
    /// Names in its environment whose values came of variables: the file does not have them.
    pub env_of_variables: Vec<String>,
    /// The same of its arguments, by their places.
    pub args_of_variables: Vec<usize>,
    /// Whether it is on the merged endpoint.
    #[cfg(feature = "gateway")]
    pub gateway: bool,
    /// What of it is, and how.
    #[cfg(feature = "gateway")]
    pub offer: Offer,
}

/// Where the PATH of a server comes from. The daemon puts it into the server's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchPath {
    /// From the user's login shell.
    Login,
    /// These directories, separated by `:`.
    These(String),
}

impl SearchPath {
    fn of(text: String) -> SearchPath {
        if text == "login" { SearchPath::Login } else { SearchPath::These(text) }
    }

    /// Expands `~` in each directory.
    ///
    /// # Errors
    /// A directory that is not a full path, in words.
    fn expand(&mut self, surroundings: &Surroundings) -> Result<(), String> {
        let SearchPath::These(text) = self else { return Ok(()) };
        let mut directories = Vec::new();
        for part in text.split(':') {
            let directory = surroundings.expand(part)?;
            if !directory.is_absolute() {
                return Err("expected \"login\" or full paths separated by ':'".to_owned());
            }
            directories.push(directory.to_string_lossy().into_owned());
        }
        *text = directories.join(":");
        Ok(())
    }
}

/// Shape of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-11-21T06:00:00.123Z INFO  server memory: started`
    #[default]
    Text,
    /// One JSON object per line: `ts`, `level`, `target`, `message`.
    Json,
}

/// A configuration and what should be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub config: Config,
    /// Keys that are accepted but change nothing yet.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every problem of the file, in its order; a file that cannot be read is one problem.
    pub fn load(path: &Path, surroundings: &Surroundings) -> Result<Loaded, Vec<Problem>> {
        let name = path.display().to_string();
        let text = read_file(path)
            .map_err(|text| vec![Problem { file: name.clone(), place: None, key: String::new(), text }])?;
        let mut loaded = Config::parse(&name, &text, surroundings)?;
        loaded.config.path = path.to_owned();
        Ok(loaded)
    }

    /// Checks a text; `file` is how problems call it.
    ///
    /// # Errors
    /// Every problem of the text, in its order. If it is not TOML, only that.
    pub fn parse(file: &str, text: &[u8], surroundings: &Surroundings) -> Result<Loaded, Vec<Problem>> {
        read::parse(file, text, surroundings)
    }
}

/// The bytes of a file, which may be a pipe.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => {
            Err(format!("is larger than {FILE_BYTES_MAX} bytes; a configuration was expected"))
        }
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("no such file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            Err("is a directory, expected a file".to_owned())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// Longest configuration file in bytes: what is longer was named by mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests;
