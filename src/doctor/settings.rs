//! The configuration: read, its findings filed, its servers chosen and completed as the daemon does it.

use super::finding::{Finding, Findings};
use super::secrets::is_secret_variable;
use crate::config::nearest::suggestion;
use crate::config::{Config, ServerConfig, Surroundings};
use crate::control::path;
use crate::daemon::login::{AT_START, LoginPath};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Settings {
    config: Config,
    names: Vec<String>,
}

impl Settings {
    /// Reads the file; `None` if there is nothing that can be tried.
    pub fn load(
        path: &Path,
        names: &[String],
        surroundings: &Surroundings,
        findings: &mut Findings,
    ) -> Option<Settings> {
        let loaded = match Config::load(path, surroundings) {
            Ok(loaded) => loaded,
            Err(problems) => {
                for problem in problems {
                    let cure = match (&problem.place, problem.key.is_empty()) {
                        (None, true) => "Name a file that you may read: -c FILE.",
                        _ => "Correct that place; `muxloop help config` lists every key with its type.",
                    };
                    findings.add(Finding::error("config", problem.to_string(), cure));
                }
                return None;
            }
        };
        for warning in &loaded.warnings {
            let cure = "It does nothing here: remove it, or leave it for whoever else reads the file.";
            findings.add(Finding::warning("config-inert", warning.to_string(), cure));
        }
        let mut settings = Settings { config: loaded.config, names: names.to_vec() };
        if !settings.check_names(findings) {
            return None;
        }
        settings.check_mode(path, findings);
        settings.check_control(path, surroundings, findings);
        if let Err(why) = LoginPath::default().try_fill(&mut settings.config, AT_START) {
            let cure = "See to the login shell ($SHELL), or name the directories in `path`; until then servers get \
                        muxloop's own PATH.";
            findings.add(Finding::warning("path-login", format!("path = \"login\": {why}"), cure));
        }
        Some(settings)
    }

    /// Where HTTP is to be served.
    #[cfg(feature = "http")]
    pub fn http(&self) -> &crate::config::http::HttpConfig {
        &self.config.http
    }

    /// The servers to try: those that were named, else all that are enabled.
    pub fn chosen(&self) -> Vec<&ServerConfig> {
        let is_meant = |server: &&ServerConfig| match self.names.is_empty() {
            true => server.enabled,
            false => self.names.contains(&server.policy.name),
        };
        self.config.servers.iter().filter(is_meant).collect()
    }

    /// Names of those that are left out because the file says so.
    pub fn disabled(&self) -> Vec<&str> {
        let all = self.config.servers.iter().filter(|server| !server.enabled && self.names.is_empty());
        all.map(|server| server.policy.name.as_str()).collect()
    }

    fn check_names(&self, findings: &mut Findings) -> bool {
        let known: Vec<&str> = self.config.servers.iter().map(|server| server.policy.name.as_str()).collect();
        let mut is_good = true;
        for name in self.names.iter().filter(|name| !known.contains(&name.as_str())) {
            let near = suggestion(name, known.iter().copied());
            let cure = format!("Name one of those that the file has: {}{near}", known.join(", "));
            findings.add(Finding::error("server-unknown", format!("there is no server '{name}'"), cure));
            is_good = false;
        }
        if is_good && self.chosen().is_empty() {
            let cure = "Add a [servers.NAME], or set enabled = true for one.";
            findings.add(Finding::error("config", "there is no server to try", cure));
            is_good = false;
        }
        is_good
    }

    /// Keys in a file that others may read.
    fn check_mode(&self, path: &Path, findings: &mut Findings) {
        let Ok(found) = fs::metadata(path) else { return };
        let mode = found.permissions().mode() & 0o7777;
        let mut holders = Vec::new();
        for server in &self.config.servers {
            // PATH may be of the key `path`.
            let is_written = |name: &String| !server.env_of_variables.contains(name);
            let secret = |(name, value): &&(String, String)| {
                is_secret_variable(name) && !value.trim().is_empty() && is_written(name)
            };
            if let Some((name, _)) = server.spawn.env.iter().find(secret) {
                holders.push(format!("{} ({name})", server.policy.name));
            }
        }
        if found.is_file() && mode & 0o044 != 0 && !holders.is_empty() {
            let message = format!(
                "other users can read the file (mode {mode:04o}), and it has secrets: {}",
                holders.join(", ")
            );
            findings.add(Finding::warning(
                "config-readable",
                message,
                format!("chmod 600 {}", path.display()),
            ));
        }
    }

    fn check_control(&self, config: &Path, surroundings: &Surroundings, findings: &mut Findings) {
        if let Err(why) = path::place(None, self.config.control.as_deref(), config, surroundings) {
            let cure = "Set `control` to a short path, or to \"off\".";
            findings.add(Finding::error("control-path", why, cure));
        }
    }
}
