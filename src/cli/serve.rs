//! `muxloop serve` and `muxloop connect` as they are asked for, and what the former makes of a configuration.

use super::parse::level;
use super::values::Values;
use crate::config::{Config, Problem, ServerConfig};
use log::LevelFilter;
use std::path::{Path, PathBuf};

/// `muxloop serve`: what it is on top of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeOptions {
    /// On standard input and output; the process ends with them.
    pub stdio: bool,
    /// On a Unix socket.
    pub socket: Option<PathBuf>,
    /// One of the configuration's profiles.
    pub profile: Option<String>,
    /// As the daemon of a project.
    pub daemon: bool,
    pub project: Option<PathBuf>,
    /// Where log lines go; `-` is standard error.
    pub log: Option<PathBuf>,
}

/// `muxloop connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    pub config: Option<PathBuf>,
    pub project: Option<PathBuf>,
    /// Of what is said on stderr, and of the daemon if it is started.
    pub level: Option<LevelFilter>,
}

impl ServeOptions {
    /// Makes a configuration fit: a host that starts this for itself wants no address of it that the next
    /// one needs, too, and a file of a host may have this very command among its servers. Gives what is to be
    /// said about that.
    ///
    /// # Errors
    /// In words: nothing is left to run.
    pub(super) fn settle(&self, config: &mut Config, has_address: bool) -> Result<Vec<Problem>, String> {
        #[cfg(feature = "http")]
        if self.stdio && !has_address {
            config.http.listen.clear();
        }
        let _ = has_address;
        let file = config.path.display().to_string();
        let (own, others) = std::mem::take(&mut config.servers).into_iter().partition(is_this);
        config.servers = others;
        if config.servers.is_empty() {
            return Err(format!("{file}: no server is left to run besides muxloop itself"));
        }
        let own: Vec<ServerConfig> = own;
        let said = own.iter().map(|server| Problem {
            file: file.clone(),
            place: None,
            key: format!("servers.{}", server.policy.name),
            text: "is muxloop itself, and was left out".to_owned(),
        });
        Ok(said.collect())
    }
}

/// Whether a server is all servers of this project again; one that names another configuration is not.
fn is_this(server: &ServerConfig) -> bool {
    let program = Path::new(&server.spawn.program).file_name();
    let mut args = server.spawn.args.iter().map(String::as_str);
    let is_elsewhere = |arg: &str| ["-c", "--config", "--project"].iter().any(|known| arg.starts_with(known));
    program.is_some_and(|name| name == "muxloop")
        && matches!(args.next(), Some("connect" | "serve" | "gateway"))
        && !args.any(is_elsewhere)
}

/// Reads the options of `serve`.
pub(super) fn options(values: &Values) -> Result<ServeOptions, String> {
    let transport = values.word("transport")?;
    let daemon = values.flag("daemon-mode")?;
    let socket = values.path("socket");
    let elsewhere = daemon || socket.is_some() || http(values)?.is_some();
    let stdio = values.flag("stdio")? || transport == Some("stdio") || !elsewhere;
    if stdio && daemon {
        return Err("--daemon-mode and --stdio exclude each other: a daemon has no host of its own".into());
    }
    if !daemon && values.is_given("project") {
        return Err("--project is for --daemon-mode".into());
    }
    Ok(ServeOptions {
        stdio,
        socket,
        profile: values.text("profile")?,
        daemon,
        project: values.path("project").filter(|_| daemon),
        log: values.path("log"),
    })
}

/// Where `serve` is to serve HTTP, if it says so.
pub(super) fn http(values: &Values) -> Result<Option<String>, String> {
    let named = values.text("http")?;
    Ok(match values.word("transport")? {
        Some("http" | "sse") => named.or_else(|| Some(HTTP_PORT.to_owned())),
        _ => named,
    })
}

/// Reads the options of `connect`.
pub(super) fn connect(values: &Values) -> Result<ConnectOptions, String> {
    Ok(ConnectOptions {
        config: values.path("config"),
        project: values.path("project"),
        level: level(values)?,
    })
}

/// As in the documentation of the servers that came before.
const HTTP_PORT: &str = "5151";
