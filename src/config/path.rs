//! Paths of a configuration: `~`, default places, and what the system allows as a socket path.

use super::variables::Variables;
use crate::engine::sandbox::Abilities;
use crate::reactor::sandbox;
use std::path::{Path, PathBuf};

/// Longest path of a Unix socket in bytes: `sun_path` less its terminating NUL.
pub const SOCKET_PATH_MAX: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// What the configuration takes from its environment; handed in, so that a test has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: private to the user, emptied at logout.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub cache_home: Option<PathBuf>,
    /// What the kernel can hold servers to.
    pub abilities: Abilities,
    /// What texts of the file may name.
    pub variables: Variables,
}

impl Surroundings {
    /// Those of this process. Empty and relative values count as unset (XDG base directory specification).
    pub fn from_env() -> Self {
        let dir = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Surroundings {
            home: dir("HOME"),
            runtime_dir: dir("XDG_RUNTIME_DIR"),
            config_home: dir("XDG_CONFIG_HOME"),
            cache_home: dir("XDG_CACHE_HOME"),
            abilities: sandbox::abilities(),
            variables: Variables::from_env(),
        }
    }

    /// `~` and `~/x` become the home directory and what is in it; anything else stays as it is.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn expand(&self, path: &str) -> Result<PathBuf, String> {
        let Some(rest) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
        let home = || {
            self.home.as_ref().ok_or("starts with '~', but HOME is not set to an absolute path".to_owned())
        };
        match rest.strip_prefix('/') {
            Some(inside) => Ok(home()?.join(inside.trim_start_matches('/'))),
            None if rest.is_empty() => Ok(home()?.clone()),
            None => {
                Err("starts with '~NAME', which is not supported; expected '~/…' or a full path".to_owned())
            }
        }
    }

    /// Where the socket of a server is that names none: `$XDG_RUNTIME_DIR/muxloop/NAME.sock`, else
    /// `~/.muxloop/run/NAME.sock`.
    ///
    /// # Errors
    /// Neither variable is set.
    pub fn default_socket(&self, server: &str) -> Result<PathBuf, String> {
        let dir = match (&self.runtime_dir, &self.home) {
            (Some(dir), _) => dir.join("muxloop"),
            (None, Some(home)) => home.join(".muxloop/run"),
            (None, None) => {
                return Err(
                    "has no 'socket', and neither XDG_RUNTIME_DIR nor HOME tells a default place".into()
                );
            }
        };
        Ok(dir.join(format!("{server}.sock")))
    }

    /// Where what may be lost is kept between runs: `$XDG_CACHE_HOME/muxloop`, else `~/.cache/muxloop`; `None`
    /// if neither variable is set.
    pub fn cache_folder(&self) -> Option<PathBuf> {
        let cache_home = self.cache_home.clone().or_else(|| Some(self.home.as_ref()?.join(".cache")));
        cache_home.map(|dir| dir.join("muxloop"))
    }

    /// Where a configuration is looked for when none is named, in this order: `./mux.toml`, the user's
    /// configuration directory, the place where rmcp-mux's wizard writes. The files that hosts have of their own
    /// are not among them: muxloop itself may stand in one.
    pub fn default_configs(&self) -> Vec<PathBuf> {
        let config_home =
            self.config_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".config")));
        let mut places: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
        places.extend(config_home.iter().flat_map(|dir| FILES.map(|file| dir.join("muxloop").join(file))));
        places.extend(self.home.as_ref().map(|home| home.join(".codex/mcp-mux.toml")));
        places
    }
}

/// Why a name cannot stand in the path of a URL, and what could.
pub fn unfit_for_url(name: &str, path: &str) -> Option<String> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    let is_dots = matches!(name, "" | "." | "..");
    if name.chars().all(is_fit) && !is_dots {
        return None;
    }
    let fit: String = name.chars().map(|c| if is_fit(c) { c } else { '-' }).take(40).collect();
    let fit = if is_dots { "server" } else { &fit };
    Some(format!(
        "becomes part of a URL ({path}), expected letters, digits, '-', '_', '.' and '~' only; rename it, to \
         '{fit}' for example"
    ))
}

/// Names of configurations, the first that exists counts.
#[cfg(feature = "cli")]
const FILES: [&str; 3] = ["mux.toml", "mux.json", "mux.jsonc"];
#[cfg(not(feature = "cli"))]
const FILES: [&str; 1] = ["mux.toml"];

/// One spelling for each path, without looking at the disk: absolute, without `.` and doubled slashes.
pub fn normalize(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ana() -> Surroundings {
        Surroundings { home: Some("/home/ana".into()), ..Default::default() }
    }

    #[test]
    fn tilde_is_the_home_directory() {
        let expand = |path| ana().expand(path);
        assert_eq!(expand("~"), Ok("/home/ana".into()));
        assert_eq!(expand("~/a.sock"), Ok("/home/ana/a.sock".into()));
        assert_eq!(expand("~//a"), Ok("/home/ana/a".into()));
        assert_eq!(expand("/x/~/y"), Ok("/x/~/y".into()));
        assert_eq!(expand("rel"), Ok("rel".into()));
        assert!(expand("~bob/a").unwrap_err().contains("not supported"));
        assert!(Surroundings::default().expand("~/a").unwrap_err().contains("HOME is not set"));
    }

    #[test]
    fn sockets_and_configs_have_default_places() {
        assert_eq!(ana().default_socket("m"), Ok("/home/ana/.muxloop/run/m.sock".into()));
        let run = Surroundings { runtime_dir: Some("/run/user/7".into()), ..ana() };
        assert_eq!(run.default_socket("m"), Ok("/run/user/7/muxloop/m.sock".into()));
        assert!(Surroundings::default().default_socket("m").is_err());
        assert_eq!(ana().cache_folder(), Some("/home/ana/.cache/muxloop".into()));
        assert_eq!(Surroundings::default().cache_folder(), None);
        let places: Vec<String> = ana().default_configs().iter().map(|p| p.display().to_string()).collect();
        let files = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let mine = FILES.map(|file| format!("/home/ana/.config/muxloop/{file}"));
        assert_eq!(
            places,
            [files(&FILES), mine.to_vec(), files(&["/home/ana/.codex/mcp-mux.toml"])].concat()
        );
        assert_eq!(Surroundings::default().default_configs(), FILES.map(PathBuf::from));
    }

    #[test]
    fn spellings_of_one_path_are_equal() {
        assert_eq!(normalize(Path::new("/a//b/./c")), normalize(Path::new("/a/b/c")));
        assert_eq!(normalize(Path::new("c")), std::env::current_dir().unwrap().join("c"));
    }
}
