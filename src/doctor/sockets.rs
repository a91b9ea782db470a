//! The sockets: can a muxloop listen there, and does one already? Looks only; nothing is made or removed.
//!
//! What refuses a start is in [`crate::reactor::listener`]; here each of its reasons is found beforehand.

use super::finding::{Finding, Findings};
use crate::client::{Control, EXIT_NOT_RUNNING, Target};
use crate::config::Surroundings;
use crate::reactor::procfs;
use crate::reactor::sys::{self, Pid};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Process id of the muxloop that runs this configuration, if one does and answers.
pub fn daemon(config: &Path, surroundings: &Surroundings, findings: &mut Findings) -> Option<u32> {
    let target = Target { config: Some(config.to_owned()), control: None };
    let Ok(places) = target.places(surroundings) else { return None };
    for place in places {
        match Control::open(&place) {
            Ok(control) => {
                let hello = control.hello;
                let message =
                    format!("muxloop {} runs this configuration (process {})", hello.version, hello.pid);
                let cure = "Nothing to do: the servers are tried in processes of their own beside it.";
                findings.add(Finding::note("daemon-runs", message, cure));
                return Some(hello.pid);
            }
            Err(failure) if failure.code == EXIT_NOT_RUNNING => {}
            Err(failure) => {
                let cure = "Look at its log; if it hangs, end its process and start it again.";
                let message = "the muxloop that runs this configuration does not answer";
                findings.add(Finding::warning("daemon-silent", message, cure).seen(failure.text));
            }
        }
    }
    None
}

/// What is wrong with the socket of a server; `daemon` is a muxloop whose sockets may be there.
pub fn check(socket: &Path, daemon: Option<u32>, findings: &mut Findings) {
    let directory = match socket.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if check_directory(directory, findings) {
        check_file(socket, daemon, findings);
    }
}

/// Says whether the directory is there.
fn check_directory(directory: &Path, findings: &mut Findings) -> bool {
    let shown = directory.display();
    let found = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_ancestor(directory, findings);
            return false;
        }
        Err(error) => {
            let cure = format!("See to it that you may enter '{shown}', or choose another `socket`.");
            let message = format!("the directory '{shown}' cannot be looked at: {error}");
            findings.add(Finding::error("socket-directory", message, cure));
            return false;
        }
        Ok(found) => found,
    };
    let (own, mode) = (sys::effective_uid(), found.mode() & 0o7777);
    let is_sticky = mode & 0o1000 != 0;
    let elsewhere = "choose a `socket` in a directory of your own";
    if !found.is_dir() {
        let cure = format!("Remove the file '{shown}', or {elsewhere}.");
        findings.add(Finding::error("socket-directory", format!("'{shown}' is not a directory"), cure));
        return false;
    }
    if found.uid() != own && found.uid() != 0 {
        let message = format!("the directory '{shown}' belongs to another user ({})", found.uid());
        findings.add(Finding::error("socket-directory", message, format!("Please {elsewhere}.")));
    } else if mode & 0o022 != 0 && !is_sticky {
        let message =
            format!("other users can write to the directory '{shown}' (mode {mode:04o}); muxloop refuses it");
        findings.add(Finding::error(
            "socket-directory",
            message,
            format!("Take that right away: chmod go-w {shown}"),
        ));
    } else if !sys::may_write(directory) {
        let message = format!("you may not create files in the directory '{shown}'");
        findings.add(Finding::error("socket-directory", message, format!("Get that right, or {elsewhere}.")));
    } else if is_sticky && mode & 0o002 != 0 {
        let message =
            format!("other users can put a file where the socket shall be ('{shown}' is everyone's)");
        findings.add(Finding::warning("socket-shared", message, format!("Better {elsewhere}.")));
    } else if mode & 0o077 != 0 {
        let message = format!("other users can look into the directory '{shown}' (mode {mode:04o})");
        let cure = format!("The socket itself is yours alone; for more, chmod 700 {shown}");
        findings.add(Finding::note("socket-shared", message, cure));
    }
    true
}

/// A directory that is not there is made at the start, if it can be.
fn check_ancestor(directory: &Path, findings: &mut Findings) {
    let ancestors = directory.ancestors().skip(1);
    let ancestors = ancestors.map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(existing) = ancestors.into_iter().find(|path| fs::metadata(path).is_ok()) else { return };
    if !sys::may_write(existing) {
        let (wanted, there) = (directory.display(), existing.display());
        let message =
            format!("the directory '{wanted}' is not there, and you may not create it in '{there}'");
        let cure = "Create it, or choose a `socket` in a directory of your own.";
        findings.add(Finding::error("socket-directory", message, cure));
    }
}

fn check_file(socket: &Path, daemon: Option<u32>, findings: &mut Findings) {
    let shown = socket.display();
    let Ok(found) = fs::symlink_metadata(socket) else { return };
    if !found.file_type().is_socket() {
        let message =
            format!("'{shown}' is there, and is not a socket; muxloop leaves it alone and does not start");
        findings.add(Finding::error(
            "socket-blocked",
            message,
            format!("Remove it (rm {shown}), or choose another `socket`."),
        ));
        return;
    }
    match listener(socket) {
        Listener::None => {
            let message = format!("'{shown}' is left from a process that has ended");
            findings.add(Finding::note(
                "socket-stale",
                message,
                "Nothing to do: the next start replaces it.",
            ));
        }
        Listener::Muxloop(pid) if daemon == Some(pid) => {}
        Listener::Muxloop(pid) => {
            let message = format!("another muxloop (process {pid}) listens at '{shown}'");
            let cure = format!(
                "Stop it (kill {pid}) before you start this configuration, or choose another `socket`."
            );
            findings.add(Finding::warning("socket-taken", message, cure));
        }
        Listener::Other(pid) => {
            let who = pid.map_or(String::new(), |pid| format!(" (process {pid})"));
            let message = format!("another program{who} listens at '{shown}'");
            findings.add(Finding::error("socket-taken", message, "Stop it, or choose another `socket`."));
        }
        Listener::Unknown(error) => {
            let message = format!("whether somebody listens at '{shown}' cannot be told: {error}");
            let cure = "See to it that the file is yours, or choose another `socket`.";
            findings.add(Finding::warning("socket-taken", message, cure));
        }
    }
}

enum Listener {
    None,
    Muxloop(u32),
    Other(Option<u32>),
    Unknown(io::Error),
}

/// Who listens. A muxloop is told by its lock file, so that it meets no client of ours.
fn listener(socket: &Path) -> Listener {
    if let Some(pid) = owner(socket) {
        return Listener::Muxloop(pid);
    }
    let connect = || -> io::Result<Option<u32>> {
        let probe = sys::unix_socket()?;
        sys::connect(probe.as_fd(), socket)?;
        Ok(sys::peer(probe.as_fd()).ok().and_then(|(_, pid)| pid))
    };
    match connect() {
        Ok(pid) => Listener::Other(pid),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Listener::None,
        // Its queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Listener::Other(None),
        Err(error) => Listener::Unknown(error),
    }
}

/// The living muxloop whose number is in the lock file beside the socket.
fn owner(socket: &Path) -> Option<u32> {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    let pid: Pid = fs::read_to_string(PathBuf::from(lock)).ok()?.trim().parse().ok()?;
    let lives = procfs::stat(pid).is_some_and(|stat| !stat.is_zombie());
    (lives && procfs::command(pid).contains("muxloop")).then_some(pid as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    /// Codes of the findings about a socket in a directory of that mode.
    fn codes(name: &str, mode: u32, prepare: impl FnOnce(&Path)) -> Vec<&'static str> {
        let directory = std::env::temp_dir().join(format!("muxloop-dsock-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let socket = directory.join("a.sock");
        prepare(&socket);
        let mut findings = Findings::default();
        check(&socket, None, &mut findings);
        let _ = fs::remove_dir_all(&directory);
        findings.sorted().iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn directories_are_judged_as_the_listener_does() {
        assert_eq!(codes("private", 0o700, |_| {}), Vec::<&str>::new());
        assert_eq!(codes("open", 0o755, |_| {}), ["socket-shared"]);
        assert_eq!(codes("group", 0o770, |_| {}), ["socket-directory"]);
        assert_eq!(codes("sticky", 0o1777, |_| {}), ["socket-shared"]);
    }

    #[test]
    fn files_in_the_way_are_told_apart() {
        assert_eq!(codes("file", 0o700, |path| fs::write(path, "").unwrap()), ["socket-blocked"]);
        assert_eq!(codes("stale", 0o700, |path| drop(UnixListener::bind(path).unwrap())), ["socket-stale"]);
        let mut kept = None;
        assert_eq!(
            codes("live", 0o700, |path| kept = Some(UnixListener::bind(path).unwrap())),
            ["socket-taken"]
        );
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_found() {
        let mut findings = Findings::default();
        check(Path::new("/proc/none/a.sock"), None, &mut findings);
        let found = findings.sorted();
        // Whoever may do anything is told by the kernel at the start.
        assert!(found.iter().all(|finding| finding.code == "socket-directory"), "{found:?}");
    }
}
