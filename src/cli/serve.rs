//! `muxloop serve` and `muxloop connect` as they are asked for, and what the former makes of a configuration.

use super::parse::level;
use super::values::Values;
#[cfg(feature = "gateway")]
use crate::config::gateway::Serve;
#[cfg(feature = "http")]
use crate::config::http::Address;
#[cfg(feature = "gateway")]
use crate::config::nearest::suggestion;
use crate::config::{Config, Problem, ServerConfig};
#[cfg(all(feature = "control", feature = "gateway"))]
use crate::connect::project::Project;
use log::LevelFilter;
use std::path::{Path, PathBuf};

/// `muxloop serve`: what it is on top of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeOptions {
    /// On standard input and output, whatever else is asked for.
    pub stdio: bool,
    pub transport: Option<Via>,
    /// On a Unix socket.
    pub socket: Option<PathBuf>,
    /// Whether an address of HTTP is given.
    pub http: bool,
    /// One of the configuration's profiles.
    pub profile: Option<String>,
    /// As the daemon of a project.
    pub daemon: bool,
    /// Folder of the project whose configuration it is.
    pub project: Option<PathBuf>,
    /// Where log lines go; `-` is standard error.
    pub log: Option<PathBuf>,
    /// The project, once it was looked for.
    #[cfg(all(feature = "control", feature = "gateway"))]
    pub found: Option<Project>,
}

/// What others call the ways to speak MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Stdio,
    Http,
    /// The same, since both are served there.
    Sse,
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
    /// Whether there is a host on standard input and output; the process ends with it.
    pub fn has_host(&self) -> bool {
        let elsewhere = self.daemon || self.socket.is_some() || self.http || self.transport.is_some();
        self.stdio || self.transport == Some(Via::Stdio) || !elsewhere
    }

    /// Looks for the project, if one is meant.
    ///
    /// # Errors
    /// See [`Project::find`].
    #[cfg(all(feature = "control", feature = "gateway"))]
    pub fn find(
        &mut self,
        config: Option<&Path>,
        surroundings: &crate::config::Surroundings,
    ) -> Result<(), String> {
        if self.daemon || self.project.is_some() {
            self.found = Some(Project::find(config, self.project.as_deref(), surroundings)?);
        }
        Ok(())
    }

    /// The configuration of the project.
    pub(super) fn config(&self) -> Option<&Path> {
        #[cfg(all(feature = "control", feature = "gateway"))]
        return self.found.as_ref().map(|project| project.config.as_path());
        #[cfg(not(all(feature = "control", feature = "gateway")))]
        return None;
    }

    /// The file that log lines go to instead of standard error.
    pub fn log_file(&self) -> Option<PathBuf> {
        match &self.log {
            Some(path) if path.as_os_str() == "-" => None,
            Some(path) => Some(path.clone()),
            #[cfg(all(feature = "control", feature = "gateway"))]
            None if self.daemon => self.found.as_ref().map(|project| project.state.log()),
            None => None,
        }
    }

    /// Makes a configuration fit: a host that starts this for itself wants no address of it that the next
    /// one needs, too, and a file of a host may have this very command among its servers. Gives what is to be
    /// said about that.
    ///
    /// # Errors
    /// In words: there is no such profile, or nothing is left to run.
    pub(super) fn settle(&self, config: &mut Config) -> Result<Vec<Problem>, String> {
        #[cfg(feature = "http")]
        match self.transport {
            Some(Via::Http | Via::Sse) if config.http.listen.is_empty() => {
                config.http.listen = vec![Address::Tcp(([127, 0, 0, 1], HTTP_PORT).into())];
            }
            _ if self.has_host() => config.http.listen.clear(),
            _ => {}
        }
        #[cfg(all(feature = "control", feature = "gateway"))]
        if let Some(project) = &self.found {
            root_at(config, &project.folder);
        }
        let file = config.path.display().to_string();
        #[cfg(feature = "gateway")]
        self.choose_profile(config, &file)?;
        let (own, others) = std::mem::take(&mut config.servers).into_iter().partition(is_this);
        config.servers = others;
        if config.servers.is_empty() {
            return Err(format!("{file}: no server is left to run besides muxloop itself"));
        }
        // They are reached together, not one by one.
        config.servers.iter_mut().for_each(|server| server.socket = PathBuf::new());
        let own: Vec<ServerConfig> = own;
        let said = own.iter().map(|server| Problem {
            file: file.clone(),
            place: None,
            key: format!("servers.{}", server.policy.name),
            text: "is muxloop itself, and was left out".to_owned(),
        });
        Ok(said.collect())
    }

    #[cfg(feature = "gateway")]
    fn choose_profile(&self, config: &mut Config, file: &str) -> Result<(), String> {
        let known = || config.profiles.iter().map(|profile| profile.name.as_str());
        if let Some(name) = self.profile.as_deref().filter(|name| !known().any(|known| known == *name)) {
            let list = known().collect::<Vec<_>>().join(", ");
            let list = if list.is_empty() { "none".to_owned() } else { list };
            let near = suggestion(name, known());
            return Err(format!("--profile: no profile '{name}', {file} has: {list}{near}"));
        }
        config.gateway.serve = Some(Serve { profile: self.profile.clone() });
        Ok(())
    }
}

/// Servers run in the project's folder, and files that are named relative to where muxloop is are there.
#[cfg(all(feature = "control", feature = "gateway"))]
fn root_at(config: &mut Config, folder: &Path) {
    let files = [&mut config.status_file, &mut config.audit.path].into_iter();
    let of_servers = config.servers.iter_mut().map(|server| &mut server.status_file);
    for file in files.chain(of_servers).flatten() {
        *file = folder.join(&*file);
    }
    for server in &mut config.servers {
        let own = server.spawn.cwd.take().unwrap_or_default();
        // Joined with nothing it would end with a slash.
        server.spawn.cwd =
            Some(if own.as_os_str().is_empty() { folder.to_owned() } else { folder.join(own) });
    }
    #[cfg(feature = "http")]
    for address in &mut config.http.listen {
        if let Address::Unix(path) = address {
            *path = folder.join(&*path);
        }
    }
}

/// Whether a server is all servers of this project again; one that names another configuration is not.
fn is_this(server: &ServerConfig) -> bool {
    let program = Path::new(&server.spawn.program).file_name();
    let mut args = server.spawn.args.iter().map(String::as_str);
    let is_elsewhere = |arg: &str| ["-c", "--config", "--project"].iter().any(|known| arg.starts_with(known));
    program.is_some_and(|name| name == "muxloop")
        && matches!(args.next(), Some("connect" | "serve"))
        && !args.any(is_elsewhere)
}

/// Reads the options of `serve`.
pub(super) fn options(values: &Values) -> Result<ServeOptions, String> {
    let options = ServeOptions {
        stdio: values.flag("stdio")?,
        transport: values.word("transport")?.map(|word| match word {
            "http" => Via::Http,
            "sse" => Via::Sse,
            _ => Via::Stdio,
        }),
        socket: values.path("socket"),
        http: values.has("http"),
        profile: values.text("profile")?,
        daemon: values.flag("daemon-mode")?,
        project: values.path("project"),
        log: values.path("log"),
        #[cfg(all(feature = "control", feature = "gateway"))]
        found: None,
    };
    match options.daemon && options.has_host() {
        true => Err("--daemon-mode has no host on stdin and stdout, expected one of the two".into()),
        false => Ok(options),
    }
}

/// Reads the options of `connect`.
pub(super) fn connect(values: &Values) -> Result<ConnectOptions, String> {
    Ok(ConnectOptions {
        config: values.path("config"),
        project: values.path("project"),
        level: level(values)?,
    })
}

/// As `docs/http.md` has it in its examples.
#[cfg(feature = "http")]
const HTTP_PORT: u16 = 5151;
