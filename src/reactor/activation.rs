//! Listening sockets that a service manager opened before it started muxloop (row D04).
//!
//! | manager | how it hands them over |
//! |---|---|
//! | systemd, and what imitates it | descriptors from 3 on; `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES` (`sd_listen_fds(3)`) |
//! | launchd | `launch_activate_socket(3)`, by the names of the plist's `Sockets` |
//!
//! The environment itself is left as it is, since changing it is unsafe in a process with threads; children
//! start without the variables of [`NOT_FOR_CHILDREN`]. Whose socket is whose is decided by
//! [`Inherited::assign`]; what is served at it, by the daemon.

use super::sys;
use std::env;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Variables by which a service manager talks to muxloop and not to what muxloop starts.
pub const NOT_FOR_CHILDREN: [&str; 7] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// One listening Unix socket: close-on-exec, non-blocking.
#[derive(Debug)]
pub struct Handed {
    /// What the manager calls it; `unknown` if it says nothing.
    pub name: String,
    /// Where clients find it; `None` if it has no path (a socket in the abstract namespace).
    pub path: Option<PathBuf>,
    pub(super) socket: UnixListener,
}

/// Everything that was handed over.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Handed>,
    /// What was handed over and cannot be used, in words.
    pub complaints: Vec<String>,
}

impl Inherited {
    /// Takes what the manager of this process handed over, under one of these names where the manager has
    /// to be asked by name. A second call finds nothing.
    pub fn take(names: &[&str]) -> Inherited {
        let mut inherited = Inherited::default();
        inherited.take_listed();
        inherited.take_launched(names);
        inherited
    }

    /// The sockets for these servers (name, path of the socket), in their order: one at the very path, or
    /// else one with the server's name. The rest is left in `self`.
    pub fn assign(&mut self, wanted: &[(&str, &Path)]) -> Vec<Option<Handed>> {
        let by_path = wanted.iter().map(|(_, path)| {
            self.claim(|socket| socket.path.as_deref().is_some_and(|found| is_same_place(found, path)))
        });
        let mut assigned: Vec<Option<Handed>> = by_path.collect();
        for (place, (name, _)) in assigned.iter_mut().zip(wanted) {
            if place.is_none() {
                *place = self.claim(|socket| socket.name == *name);
            }
        }
        assigned
    }

    /// What nobody wanted. Dropping it closes it.
    pub fn rest(self) -> Vec<Handed> {
        self.sockets
    }

    fn claim(&mut self, fits: impl Fn(&Handed) -> bool) -> Option<Handed> {
        let found = self.sockets.iter().position(fits)?;
        Some(self.sockets.remove(found))
    }

    fn take_listed(&mut self) {
        let text = |name: &str| env::var(name).ok();
        let (Some(pid), Some(count)) = (text("LISTEN_PID"), text("LISTEN_FDS")) else { return };
        // Meant for a process that started this one.
        if pid.trim() != std::process::id().to_string() {
            return;
        }
        let Some(count) = count.trim().parse::<i32>().ok().filter(|count| (0..=SOCKETS_MAX).contains(count))
        else {
            return self.complaints.push(format!(
                "LISTEN_FDS is '{count}', expected a number of descriptors up to {SOCKETS_MAX}"
            ));
        };
        let names = text("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        for fd in FIRST..FIRST + count {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
            match sys::inherited(fd) {
                Some(descriptor) => self.adopt(name, descriptor),
                None => self.complaints.push(format!("descriptor {fd} ({name}) was not handed over")),
            }
        }
    }

    fn take_launched(&mut self, names: &[&str]) {
        for name in names {
            match sys::launchd_sockets(name) {
                Ok(descriptors) => {
                    descriptors.into_iter().for_each(|descriptor| self.adopt((*name).to_owned(), descriptor));
                }
                Err(error) => self.complaints.push(format!("launchd keeps the socket '{name}': {error}")),
            }
        }
    }

    fn adopt(&mut self, name: String, descriptor: OwnedFd) {
        match Handed::new(name.clone(), descriptor) {
            Ok(socket) => self.sockets.push(socket),
            Err(error) => self.complaints.push(format!("socket '{name}': {error}; it is closed")),
        }
    }
}

impl Handed {
    fn new(name: String, descriptor: OwnedFd) -> io::Result<Handed> {
        if !sys::is_listening(descriptor.as_fd()) {
            return Err(io::Error::other("not a socket that listens for streams"));
        }
        let socket = UnixListener::from(descriptor);
        // An error says that it is no Unix socket.
        let address = socket.local_addr().map_err(|_| io::Error::other("not a Unix socket"))?;
        socket.set_nonblocking(true)?;
        Ok(Handed { name, path: address.as_pathname().map(Path::to_owned), socket })
    }
}

/// `memory at /run/user/1000/muxloop/memory.sock`.
impl fmt::Display for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} at {}", self.name, path.display()),
            None => write!(f, "{} without a path", self.name),
        }
    }
}

/// Whether these are two spellings of one path; links in its directory are followed.
pub fn is_same_place(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        let path = std::path::absolute(path).ok()?;
        let directory = path.parent()?;
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        Some(directory.join(path.file_name()?))
    };
    a == b || place(a).is_some_and(|place_a| place(b) == Some(place_a))
}

/// The first descriptor that `sd_listen_fds(3)` means.
const FIRST: i32 = 3;
/// More were named by mistake.
const SOCKETS_MAX: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch(name: &str) -> PathBuf {
        let dir = env::temp_dir().join(format!("muxloop-activation-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn handed(name: &str, path: &Path) -> Handed {
        Handed::new(name.into(), UnixListener::bind(path).unwrap().into()).unwrap()
    }

    #[test]
    fn a_path_says_more_than_a_name() {
        let dir = scratch("assign");
        let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
        // Named crosswise: `second` is at the path of the first server.
        let sockets = vec![handed("first", &b), handed("second", &a), handed("other", &c)];
        let mut inherited = Inherited { sockets, complaints: Vec::new() };
        symlink(&dir, dir.join("link")).unwrap();
        let spelled = dir.join("link/./a");
        let got = inherited.assign(&[("first", &spelled), ("x", &dir.join("x")), ("first", &dir.join("y"))]);
        let paths: Vec<_> = got.iter().map(|socket| socket.as_ref().and_then(|s| s.path.clone())).collect();
        assert_eq!(paths, [Some(a), None, Some(b)]);
        let rest: Vec<String> = inherited.rest().iter().map(ToString::to_string).collect();
        assert_eq!(rest, [format!("other at {}", c.display())]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_is_no_listening_unix_socket_is_refused() {
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = Handed::new("s".into(), stream.into()).unwrap_err();
        assert_eq!(error.to_string(), "not a socket that listens for streams");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(Handed::new("t".into(), tcp.into()).unwrap_err().to_string(), "not a Unix socket");
        let (pipe, _other) = io::pipe().unwrap();
        assert!(Handed::new("p".into(), pipe.into()).is_err());
    }

    #[test]
    fn descriptors_of_our_own_are_never_taken() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        assert!(sys::inherited(fd).is_none(), "it is close-on-exec, so it was opened here");
        assert!(sys::inherited(1 << 20).is_none(), "not open");
        file.metadata().expect("still open");
    }
}
