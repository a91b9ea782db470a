//! What a command line asks for, in final types, and the way from there to a loaded configuration.

use super::check::CheckOptions;
use super::log::Levels;
use super::serve::{ConnectOptions, ServeOptions};
use crate::config::{Config, Loaded, LogFormat, Problem, Surroundings};
use log::LevelFilter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// One understood command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    Run(RunOptions),
    Proxy(ProxyOptions),
    /// The shim in front of a project's daemon.
    Connect(ConnectOptions),
    /// One server over HTTP, without a configuration.
    Expose(ExposeOptions),
    /// One HTTP server, shared by processes.
    Daemon(crate::shared::Options),
    Check(CheckOptions),
    /// Each server is tried.
    Doctor(DoctorOptions),
    /// What is asked of a muxloop that runs.
    Client(crate::client::Command),
    /// The recording to be replayed.
    Replay(PathBuf),
    /// The dashboard, for a muxloop that runs.
    Tui(crate::client::Target),
    /// The arguments after the word, for the demo server's own parser.
    DemoServer(Vec<OsString>),
    /// Text for stdout, then exit code 0: help, version, completions, the man page.
    Print(String),
}

/// `muxloop run`, and what runs servers like it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    pub config: Option<PathBuf>,
    /// Control socket, before what the file says (see [`crate::control::path::place`]).
    pub control: Option<PathBuf>,
    /// Address of the HTTP front, before what the file says.
    pub http: Option<String>,
    /// Serve HTTP beyond this machine without a token.
    pub insecure_listen: bool,
    /// Names of servers; empty means all.
    pub only: Vec<String>,
    pub except: Vec<String>,
    /// From `--log-level`, `-v` or `MUXLOOP_LOG`.
    pub level: Option<LevelFilter>,
    pub format: Option<LogFormat>,
    /// With the dashboard.
    pub tui: bool,
    /// The file to record everything to.
    pub record: Option<PathBuf>,
    /// All servers behind one endpoint, none at a socket of its own.
    pub serve: Option<ServeOptions>,
}

/// `muxloop proxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// As given; `~` is expanded by [`ProxyOptions::expanded`].
    pub socket: PathBuf,
    /// How long to wait for somebody who listens; 0: one attempt.
    pub wait_ms: u64,
}

/// `muxloop proxy --stdio`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposeOptions {
    /// Command line of the server, for the shell.
    pub stdio: String,
    pub transport: Transport,
    /// Port or address.
    pub port: String,
    /// Before the paths of the transport.
    pub base_path: String,
    pub sse_path: String,
    pub message_path: String,
    pub streamable_http_path: String,
    /// A process per session instead of one per request.
    pub stateful: bool,
    /// Processes that are started before they are needed, where they are not shared.
    pub spare: usize,
    pub session_timeout_ms: u64,
    pub health_endpoint: String,
    /// Whether pages of all origins may ask; by default they may not.
    pub cors: Option<bool>,
    pub max_restarts: u32,
    pub insecure_listen: bool,
    pub level: Option<LevelFilter>,
}

/// What `muxloop proxy --stdio` speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    #[default]
    Sse,
    StreamableHttp,
}

/// `muxloop doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoctorOptions {
    pub config: Option<PathBuf>,
    /// Names of servers; empty means all that are enabled.
    pub servers: Vec<String>,
    pub json: bool,
    /// For one server, from its start to the end of its lists.
    pub timeout_ms: u64,
}

impl ExposeOptions {
    /// What is logged: `info` unless told otherwise.
    pub fn levels(&self) -> Levels {
        let level = self.level.unwrap_or(LevelFilter::Info);
        Levels { filter: level.as_str().to_ascii_lowercase(), servers: Vec::new() }
    }
}

impl RunOptions {
    /// The configuration with the servers that shall run.
    ///
    /// # Errors
    /// Lines for a person: every problem of the file, or what is wrong with the selection.
    pub fn load(&self, surroundings: &Surroundings) -> Result<Loaded, String> {
        let path = match self.serve.as_ref().and_then(ServeOptions::config) {
            Some(path) => path.to_owned(),
            None => find(self.config.as_deref(), surroundings)?,
        };
        let mut loaded = Config::load(&path, surroundings).map_err(|problems| report(&problems))?;
        loaded.config.select(&self.only, &self.except)?;
        if let Some(serve) = &self.serve {
            loaded.warnings.extend(serve.settle(&mut loaded.config)?);
        }
        self.apply_http(&mut loaded.config, surroundings)?;
        Ok(loaded)
    }

    #[cfg(feature = "http")]
    fn apply_http(&self, config: &mut Config, surroundings: &Surroundings) -> Result<(), String> {
        use crate::config::http::Address;
        use crate::config::path::unfit_for_url;
        if let Some(text) = &self.http {
            config.http.listen = match text.as_str() {
                "off" => Vec::new(),
                _ => vec![Address::parse(text, surroundings).map_err(|why| format!("--http {why}"))?],
            };
        }
        config.http.insecure |= self.insecure_listen;
        // What the file listens on was checked with it, but not what the command line adds.
        if !config.http.listen.is_empty() {
            let unfit = config.servers.iter().find_map(|server| {
                let name = &server.policy.name;
                Some((name, unfit_for_url(name, "/servers/NAME/mcp")?))
            });
            if let Some((name, why)) = unfit {
                return Err(format!("{}: server '{name}' {why}, or leave --http", config.path.display()));
            }
        }
        config.http.exposure().map_or(Ok(()), Err)
    }

    #[cfg(not(feature = "http"))]
    fn apply_http(&self, _: &mut Config, _: &Surroundings) -> Result<(), String> {
        match (&self.http, self.insecure_listen) {
            (None, false) => Ok(()),
            _ => Err("--http needs the feature `http` when muxloop is built".to_owned()),
        }
    }

    /// Command line and `MUXLOOP_LOG` before `RUST_LOG` before the file before `info`. Levels of single
    /// servers are the file's and yield to whatever comes before it.
    pub fn levels(&self, rust_log: Option<String>, config: &Config) -> Levels {
        let word = |level: LevelFilter| level.as_str().to_ascii_lowercase();
        match (self.level, rust_log.filter(|filter| !filter.trim().is_empty())) {
            (Some(level), _) => Levels { filter: word(level), servers: Vec::new() },
            (None, Some(filter)) => Levels { filter, servers: Vec::new() },
            (None, None) => {
                let rest = config.log_level.unwrap_or(LevelFilter::Info);
                let special = config.servers.iter().any(|server| server.log_level.is_some());
                // If one has its own level all get one: the filter compares beginnings of names, and the
                // longest that fits wins, so 'a' would speak for 'ab' too.
                let server = |server: &crate::config::ServerConfig| {
                    (server.policy.name.clone(), server.log_level.unwrap_or(rest))
                };
                let servers = if special { config.servers.iter().map(server).collect() } else { Vec::new() };
                Levels { filter: word(rest), servers }
            }
        }
    }

    /// Command line and environment before the file before text.
    pub fn format(&self, config: &Config) -> LogFormat {
        self.format.or(config.log_format).unwrap_or_default()
    }
}

impl ProxyOptions {
    /// The path of the socket, for hosts that start the shim without a shell.
    ///
    /// # Errors
    /// One line for a person.
    pub fn expanded(&self, surroundings: &Surroundings) -> Result<PathBuf, String> {
        match self.socket.to_str() {
            Some(path) => surroundings.expand(path).map_err(|text| format!("--socket {path}: {text}")),
            None => Ok(self.socket.clone()),
        }
    }
}

/// The file that was named, with `~` expanded, or the first of the default places that exists.
pub(crate) fn find(named: Option<&Path>, surroundings: &Surroundings) -> Result<PathBuf, String> {
    match named {
        Some(path) => match path.to_str() {
            Some(text) => surroundings.expand(text).map_err(|error| format!("--config {text}: {error}")),
            None => Ok(path.to_owned()),
        },
        None => {
            let places = surroundings.default_configs();
            places.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
                let list: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
                format!("no configuration: name one with -c FILE (looked for {})", list.join(", "))
            })
        }
    }
}

/// All problems, and how many if that is not plain to see.
pub(crate) fn report(problems: &[Problem]) -> String {
    let mut text: Vec<String> = problems.iter().map(Problem::to_string).collect();
    if problems.len() > 1 {
        text.push(counted(problems.len(), "problem"));
    }
    text.join("\n")
}

pub(super) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let surroundings = Surroundings { home: Some("/home/ana".into()), ..Default::default() };
        Config::parse("mux.toml", text.as_bytes(), &surroundings).unwrap().config
    }

    #[test]
    fn levels_come_from_flag_environment_file_default() {
        let plain = config("[servers.a]\ncmd='x'\n");
        let quiet =
            config("log_level='warn'\n[servers.a]\ncmd='x'\nlog_level='trace'\n[servers.ab]\ncmd='x'\n");
        let flag = RunOptions { level: Some(LevelFilter::Trace), ..Default::default() };
        let none = RunOptions::default();
        let filter = |filter: &str| Levels { filter: filter.into(), servers: Vec::new() };
        assert_eq!(flag.levels(Some("mio=debug".into()), &quiet), filter("trace"));
        assert_eq!(none.levels(Some("mio=debug".into()), &quiet), filter("mio=debug"));
        let of_file = Levels {
            filter: "warn".into(),
            servers: vec![("a".into(), LevelFilter::Trace), ("ab".into(), LevelFilter::Warn)],
        };
        assert_eq!(none.levels(Some(" ".into()), &quiet), of_file);
        assert_eq!(none.levels(None, &plain), filter("info"));
    }

    #[test]
    fn formats_come_from_flag_file_default() {
        let json = config("log_format='json'\n[servers.a]\ncmd='x'\n");
        let text = RunOptions { format: Some(LogFormat::Text), ..Default::default() };
        assert_eq!(text.format(&json), LogFormat::Text);
        assert_eq!(RunOptions::default().format(&json), LogFormat::Json);
        assert_eq!(RunOptions::default().format(&Config::default()), LogFormat::Text);
    }

    #[test]
    fn the_socket_of_the_proxy_may_be_in_the_home_directory() {
        let surroundings = Surroundings { home: Some("/home/ana".into()), ..Default::default() };
        let options = ProxyOptions { socket: "~/a.sock".into(), wait_ms: 0 };
        assert_eq!(options.expanded(&surroundings), Ok("/home/ana/a.sock".into()));
        let error = options.expanded(&Surroundings::default()).unwrap_err();
        assert!(error.starts_with("--socket ~/a.sock: starts with '~'"), "{error}");
    }
}
