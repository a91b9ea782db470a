//! Which project is meant, and where the state of its daemon is.
//!
//! ```text
//! --project DIR, else that of -c FILE, else the working directory and upwards: the first with a configuration
//!    └▶ NAME-HASH ─▶ ~/.muxloop/projects/NAME-HASH/   daemon.sock, control.sock, daemon.pid, …
//! ```

use crate::base::hash::fnv1a;
use crate::config::Surroundings;
use crate::config::path::SOCKET_PATH_MAX;
use crate::control::path::{PROJECT_CONTROL, PROJECTS};
use crate::reactor::sys;
use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder, its configuration and the state of its daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Without links. Its servers run here unless they have a `cwd`.
    pub folder: PathBuf,
    /// Absolute.
    pub config: PathBuf,
    /// Whether the configuration is another one than that of the folder, so that it must be named.
    pub is_named: bool,
    pub state: State,
}

/// The files of a daemon. All are gone when it has ended, but for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub folder: PathBuf,
}

/// What a project's configuration may be called, in this order. The last is what hosts share with a project.
pub const FILES: [&str; 4] = ["mux.toml", "mux.json", "mux.jsonc", ".mcp.json"];

impl Project {
    /// The project of the folder `project`, or of the configuration `config`, or of the working directory.
    ///
    /// # Errors
    /// In words: a path that is not there, no configuration, one that another user wrote, or no home.
    pub fn find(
        config: Option<&Path>,
        project: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Project, String> {
        let config = config.map(|path| existing("--config", path, surroundings)).transpose()?;
        let from = match (project, &config) {
            (Some(path), _) => existing("--project", path, surroundings)?,
            (None, Some(file)) => file.parent().unwrap_or(Path::new("/")).to_owned(),
            (None, None) => {
                env::current_dir().map_err(|error| format!("there is no working directory: {error}"))?
            }
        };
        if !from.is_dir() {
            return Err(format!("--project {}: not a directory", from.display()));
        }
        let home = surroundings.home.as_ref().ok_or("HOME is not set to an absolute path")?;
        let own = || nearest(&from);
        let (folder, found, named) = match &config {
            // The file that would be found here anyway is no other project.
            Some(file) => match own()?.filter(|found| found == file) {
                Some(_) => (parent(file), file.clone(), None),
                None => (from, file.clone(), Some(file)),
            },
            None => match own()? {
                Some(file) => (parent(&file), file, None),
                None => (from, of_user(surroundings)?, None),
            },
        };
        let state = State::of(home, &id(&folder, named.map(PathBuf::as_path)))?;
        Ok(Project { folder, config: found, is_named: named.is_some(), state })
    }
}

impl State {
    fn of(home: &Path, id: &str) -> Result<State, String> {
        let state = State { folder: home.join(PROJECTS).join(id) };
        // The longest that is listened at.
        let path = state.control();
        match path.as_os_str().len() {
            ..=SOCKET_PATH_MAX => Ok(state),
            len => Err(format!(
                "the daemon's socket {} would be a path of {len} bytes, and the system takes at most \
                 {SOCKET_PATH_MAX}: HOME is too long a path",
                path.display()
            )),
        }
    }

    /// All of them but the log, by path.
    pub fn passing(&self) -> [PathBuf; 4] {
        [self.pid(), self.port(), self.clients(), self.new_clients()]
    }

    /// Where it serves MCP.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("daemon.sock")
    }

    pub fn control(&self) -> PathBuf {
        self.folder.join(PROJECT_CONTROL)
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// Its process id, for people and scripts: muxloop itself never trusts it.
    pub fn pid(&self) -> PathBuf {
        self.folder.join("daemon.pid")
    }

    /// The port of HTTP, if it serves it.
    pub fn port(&self) -> PathBuf {
        self.folder.join("daemon.port")
    }

    pub fn clients(&self) -> PathBuf {
        self.folder.join("clients.json")
    }

    /// The next one while it is written.
    pub fn new_clients(&self) -> PathBuf {
        self.folder.join("clients.json.new")
    }
}

/// An absolute path without links to what is there.
fn existing(option: &str, path: &Path, surroundings: &Surroundings) -> Result<PathBuf, String> {
    let said = |why: String| format!("{option} {}: {why}", path.display());
    let expanded = match path.to_str() {
        Some(text) => surroundings.expand(text).map_err(said)?,
        None => path.to_owned(),
    };
    expanded.canonicalize().map_err(|error| said(error.to_string()))
}

/// The first configuration from `folder` upwards.
fn nearest(folder: &Path) -> Result<Option<PathBuf>, String> {
    let start = &folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    for folder in start.ancestors() {
        let mut files = FILES.iter().map(|name| folder.join(name));
        if let Some(file) = files.find(|file| file.is_file()) {
            return refuse_foreign(&file, start).map(|()| Some(file));
        }
    }
    Ok(None)
}

/// A file upwards from `start` may be anybody's, as in `/tmp`, and what it names is run. Whoever works in another
/// user's folder, as root in a container does, means that user's file.
fn refuse_foreign(file: &Path, start: &Path) -> Result<(), String> {
    let owner = |path: &Path| {
        fs::metadata(path).map(|found| found.uid()).map_err(|error| format!("{}: {error}", path.display()))
    };
    let found = owner(file)?;
    match [sys::effective_uid(), 0, owner(start)?].contains(&found) {
        true => Ok(()),
        false => Err(format!(
            "{} belongs to another user ({found}), and what it names would be run; if that is meant, name it \
             with -c",
            file.display()
        )),
    }
}

/// The configuration of a user whose project has none.
fn of_user(surroundings: &Surroundings) -> Result<PathBuf, String> {
    let places = surroundings.default_configs();
    let mut absolute = places.iter().filter(|path| path.is_absolute());
    let found = absolute.clone().find(|path| path.exists()).and_then(|path| path.canonicalize().ok());
    found.ok_or_else(|| {
        let list: Vec<String> = absolute.by_ref().map(|path| path.display().to_string()).collect();
        format!(
            "no configuration: looked for {} from here upwards, then for {}; name one with -c FILE",
            FILES.join(", "),
            list.join(", ")
        )
    })
}

fn parent(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("/")).to_owned()
}

/// `NAME-HASH`: the folder's name as far as it is plain, and the hash of its path; of the configuration's too
/// if that is not the folder's own.
fn id(folder: &Path, config: Option<&Path>) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let plain = |c: char| if is_plain(&c) { c } else { '-' };
    let name: String = name.trim_start_matches('.').chars().map(plain).take(NAME_MAX).collect();
    let name = if name.is_empty() { "root" } else { &name };
    let mut bytes = folder.as_os_str().as_bytes().to_vec();
    if let Some(config) = config {
        bytes.push(0);
        bytes.extend(config.as_os_str().as_bytes());
    }
    format!("{name}-{:08x}", fnv1a(&bytes) as u32)
}

/// Longest name of a folder in an id, in characters.
const NAME_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let path = env::temp_dir().join(format!("muxloop-project-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("home/.config/muxloop")).unwrap();
            fs::create_dir_all(path.join("web/deep/er")).unwrap();
            Dir(path.canonicalize().unwrap())
        }

        fn find(&self, config: Option<&str>, project: Option<&str>) -> Result<Project, String> {
            let surroundings = Surroundings { home: Some(self.0.join("home")), ..Surroundings::default() };
            let [config, project] = [config, project].map(|path| path.map(|path| self.0.join(path)));
            Project::find(config.as_deref(), project.as_deref(), &surroundings)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_project_is_the_nearest_folder_upwards_with_a_configuration() {
        let dir = Dir::new("nearest");
        fs::write(dir.0.join("web/.mcp.json"), "{}").unwrap();
        let deep = dir.find(None, Some("web/deep/er")).unwrap();
        assert_eq!(
            (deep.folder.clone(), deep.config.clone()),
            (dir.0.join("web"), dir.0.join("web/.mcp.json"))
        );
        assert_eq!(deep, dir.find(None, Some("web")).unwrap(), "from wherever in it");
        assert_eq!(deep, dir.find(Some("web/.mcp.json"), None).unwrap(), "its own file names it");
        fs::write(dir.0.join("web/mux.toml"), "").unwrap();
        let other = dir.find(None, Some("web/deep")).unwrap();
        assert_eq!((other.config, other.state), (dir.0.join("web/mux.toml"), deep.state.clone()));
        let named = dir.find(Some("web/.mcp.json"), None).unwrap();
        assert_ne!(named.state, deep.state, "another file, another daemon");
        assert_eq!(named.folder, dir.0.join("web"));
    }

    #[test]
    fn without_one_it_is_the_folder_itself_with_the_users() {
        let dir = Dir::new("none");
        let error = dir.find(None, Some("web/deep")).unwrap_err();
        assert!(error.starts_with("no configuration: looked for mux.toml, "), "{error}");
        let own = dir.0.join("home/.config/muxloop/mux.toml");
        fs::write(&own, "").unwrap();
        let [web, deep] = ["web", "web/deep"].map(|path| dir.find(None, Some(path)).unwrap());
        assert_eq!((&deep.folder, &deep.config), (&dir.0.join("web/deep"), &own));
        assert_ne!(web.state, deep.state);
        assert!(dir.find(None, Some("nowhere")).unwrap_err().contains("--project"));
        assert!(dir.find(Some("nowhere"), None).unwrap_err().contains("--config"));
    }

    #[test]
    fn ids_are_plain_and_differ_with_the_path() {
        let of = |path: &str| id(Path::new(path), None);
        assert!(of("/src/my web ü").starts_with("my-web---"), "{}", of("/src/my web ü"));
        assert_ne!(of("/a/web"), of("/b/web"));
        assert!(of("/a/web").starts_with("web-") && of("/").starts_with("root-"));
        assert_eq!(of(&format!("/{}", "x".repeat(200))).len(), NAME_MAX + 9);
        assert_ne!(of("/a"), id(Path::new("/a"), Some(Path::new("/a/x.toml"))));
        assert!(of("/a/.hidden").starts_with("hidden-"));
    }

    #[test]
    fn a_home_that_is_too_long_is_refused_at_once() {
        let error = State::of(Path::new(&format!("/{}", "h".repeat(80))), "web-12345678").unwrap_err();
        assert!(error.contains("HOME is too long"), "{error}");
    }
}
