//! Where the control socket is (`docs/control.md`, Where): one rule for the daemon that makes it and for
//! everything that looks for it.
//!
//! Only names are made here. Who listens at them is found out by the reactor and by [`crate::client`].

use crate::base::hash::fnv1a;
use crate::config::Surroundings;
use crate::config::path::{SOCKET_PATH_MAX, normalize};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A control socket's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    At(PathBuf),
    /// There is none, by `off`.
    Off,
}

/// The control socket of the configuration at `config`: `given` (`--control`, `MUXLOOP_CONTROL`), else
/// `key` (`control` of the file, relative to the file), else the default place. `off` makes none.
///
/// # Errors
/// In words: `~` without a home, no default place, or a path that the system doesn't take.
pub fn place(
    given: Option<&Path>,
    key: Option<&Path>,
    config: &Path,
    surroundings: &Surroundings,
) -> Result<Place, String> {
    let path = match (given, key) {
        (Some(path), _) | (None, Some(path)) if path.as_os_str() == OFF => return Ok(Place::Off),
        (Some(path), _) => expand(path, surroundings)?,
        (None, Some(path)) => beside(config).join(expand(path, surroundings)?),
        (None, None) => {
            let directories = run_directories(surroundings);
            let Some(directory) = directories.first() else {
                return Err("neither XDG_RUNTIME_DIR nor HOME tells a place for the control socket; \
                            name one with --control PATH"
                    .to_owned());
            };
            directory.join(file_name(config))
        }
    };
    match path.as_os_str().len() {
        0 => Err("the control socket's path is empty".to_owned()),
        1..=SOCKET_PATH_MAX => Ok(Place::At(path)),
        len => Err(format!(
            "the control socket {} is a path of {len} bytes, and the system takes at most {SOCKET_PATH_MAX}; \
             name a shorter one with --control PATH",
            path.display()
        )),
    }
}

/// `NAME-HASH.sock` for the configuration at `config`.
pub fn file_name(config: &Path) -> PathBuf {
    let path = absolute(config);
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = file.split('.').next().filter(|name| !name.is_empty()).unwrap_or("mux");
    PathBuf::from(format!("{name}-{:08x}.sock", fnv1a(path.as_os_str().as_bytes()) as u32))
}

/// Directories that hold control sockets by default. The first is where one is made; who looks for one looks
/// into all, since the variables of a login, a timer and a remote shell differ.
pub fn run_directories(surroundings: &Surroundings) -> Vec<PathBuf> {
    let runtime = surroundings.runtime_dir.as_ref().map(|dir| dir.join("muxloop"));
    let home = surroundings.home.as_ref().map(|dir| dir.join(".muxloop/run"));
    runtime.into_iter().chain(home).collect()
}

/// Folder of the state of projects' daemons, in the home directory.
pub const PROJECTS: &str = ".muxloop/projects";
/// Name of the control socket there.
pub const PROJECT_CONTROL: &str = "control.sock";

/// Whether a file in such a directory has the name of a control socket, which servers' sockets beside it
/// normally don't.
pub fn is_control_name(file: &str) -> bool {
    file.strip_suffix(".sock").and_then(|name| name.rsplit_once('-')).is_some_and(|(name, hash)| {
        !name.is_empty() && hash.len() == 8 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// With links resolved as far as the file exists.
pub fn absolute(config: &Path) -> PathBuf {
    config.canonicalize().unwrap_or_else(|_| normalize(config))
}

fn beside(config: &Path) -> PathBuf {
    absolute(config).parent().unwrap_or(Path::new("/")).to_owned()
}

/// `~` is the home directory.
pub fn expand(path: &Path, surroundings: &Surroundings) -> Result<PathBuf, String> {
    match path.to_str() {
        Some(text) => surroundings.expand(text).map_err(|why| format!("control socket {text}: {why}")),
        None => Ok(path.to_owned()),
    }
}

/// The word that makes none.
const OFF: &str = "off";

#[cfg(test)]
mod tests {
    use super::*;

    fn ana() -> Surroundings {
        Surroundings { home: Some("/home/ana".into()), ..Default::default() }
    }

    fn at(given: Option<&str>, key: Option<&str>) -> Result<Place, String> {
        place(given.map(Path::new), key.map(Path::new), Path::new("/etc/mux.d/my.mux.toml"), &ana())
    }

    #[test]
    fn the_first_that_applies_counts() {
        let default = format!("my-{:08x}.sock", fnv1a(b"/etc/mux.d/my.mux.toml") as u32);
        assert_eq!(
            at(None, None),
            Ok(Place::At(Path::new("/home/ana/.muxloop/run").join(&default))),
            "the default place"
        );
        let login = Surroundings { runtime_dir: Some("/run/user/7".into()), ..ana() };
        assert_eq!(
            place(None, None, Path::new("/etc/mux.d/my.mux.toml"), &login),
            Ok(Place::At(Path::new("/run/user/7/muxloop").join(&default)))
        );
        assert_eq!(at(None, Some("~/c.sock")), Ok(Place::At("/home/ana/c.sock".into())));
        assert_eq!(at(None, Some("c.sock")), Ok(Place::At("/etc/mux.d/c.sock".into())), "beside the file");
        assert_eq!(at(Some("~/d.sock"), Some("/c.sock")), Ok(Place::At("/home/ana/d.sock".into())));
        assert_eq!(at(Some("off"), Some("/c.sock")), Ok(Place::Off));
        assert_eq!(at(None, Some("off")), Ok(Place::Off));
        assert_eq!(at(Some("/d.sock"), Some("off")), Ok(Place::At("/d.sock".into())));
    }

    #[test]
    fn a_path_that_cannot_be_is_refused_in_words() {
        let long = format!("/{}", "x".repeat(SOCKET_PATH_MAX));
        assert!(at(Some(&long), None).unwrap_err().contains("takes at most"));
        assert!(at(Some(""), None).unwrap_err().contains("is empty"));
        assert!(at(Some("~bob/s"), None).unwrap_err().contains("not supported"));
        let nowhere = place(None, None, Path::new("/m.toml"), &Surroundings::default());
        assert!(nowhere.unwrap_err().contains("XDG_RUNTIME_DIR"));
    }

    #[test]
    fn two_files_of_one_name_have_two_sockets_and_a_link_has_its_targets() {
        assert_ne!(file_name(Path::new("/a/mux.toml")), file_name(Path::new("/b/mux.toml")));
        let dir = std::env::temp_dir().join(format!("muxloop-control-path-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, link) = (dir.join("real.toml"), dir.join("link.toml"));
        std::fs::write(&file, "").unwrap();
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(file_name(&link), file_name(&file));
        assert!(file_name(&link).to_str().unwrap().starts_with("real-"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn names_of_control_sockets_are_told_from_servers() {
        let made = file_name(Path::new("/a/my-mux.toml"));
        assert!(is_control_name(made.to_str().unwrap()));
        assert!(is_control_name(file_name(Path::new("/a/.toml")).to_str().unwrap()));
        for other in ["memory.sock", "brave-search.sock", "-12345678.sock", "a-1234567g.sock", "a-12345678"] {
            assert!(!is_control_name(other), "{other}");
        }
    }
}
