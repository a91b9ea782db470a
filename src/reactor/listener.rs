//! A listening Unix socket that nobody else can reach, steal or lose (row D01).
//!
//! | found at the path | what happens |
//! |---|---|
//! | nothing | bound, mode 0600 from birth |
//! | a socket somebody answers on, or whose lock a muxloop holds | error, untouched |
//! | a socket nobody answers on | replaced |
//! | anything else | error, untouched |
//!
//! `PATH.lock` is locked from before the look until the listener is dropped, so of two daemons that start
//! at once one wins and the other is told who. Both files are removed at the end if they are still ours.
//! A socket that a service manager handed over (see [`super::activation`]) stays the manager's: no lock, and
//! its file is left alone.

use super::activation::Handed;
use super::sys;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket and the files that belong to it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket file, if it was made here.
    identity: Option<(u64, u64)>,
    /// Connections refused because of their user.
    refused: u64,
    _lock: Option<Lock>,
}

impl Listener {
    /// Listens at `path`; a missing directory is created with mode 0700.
    ///
    /// # Errors
    /// In words that name the path and what is wrong with it.
    pub fn bind(path: &Path) -> io::Result<Listener> {
        Self::try_bind(path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen at {}: {error}", path.display()))
        })
    }

    fn try_bind(path: &Path) -> io::Result<Listener> {
        prepare_directory(path)?;
        let lock = Lock::take(path)?;
        remove_stale(path)?;
        let socket = sys::unix_socket()?;
        sys::bind_private(socket.as_fd(), path)?;
        let identity = Some(identity(&fs::symlink_metadata(path)?));
        let socket = socket.into();
        Ok(Listener { socket, path: path.to_owned(), identity, refused: 0, _lock: Some(lock) })
    }

    /// Listens at a socket that a service manager opened.
    pub fn take_over(handed: Handed) -> Listener {
        let path = handed.path.unwrap_or_else(|| PathBuf::from(handed.name));
        Listener { socket: handed.socket, path, identity: None, refused: 0, _lock: None }
    }

    /// The next connection of a permitted user, with the process id of its other end.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; EMFILE and its like as the kernel gives them.
    pub fn accept(&mut self) -> io::Result<(UnixStream, Option<u32>)> {
        loop {
            let stream = match self.socket.accept() {
                Ok((stream, _)) => stream,
                // That connection is gone already; the next one may be fine.
                Err(error) if is_of_connection(&error) => continue,
                Err(error) => return Err(error),
            };
            match sys::peer(stream.as_fd()) {
                Ok((uid, pid)) if is_permitted(uid, sys::effective_uid()) => return Ok((stream, pid)),
                Ok((uid, _)) => {
                    self.refused += 1;
                    let (path, times) = (self.path.display(), self.refused);
                    log::warn!("{path}: connection of user {uid} refused ({times} so far)");
                }
                Err(error) => log::warn!("{}: connection without a user: {error}", self.path.display()),
            }
        }
    }

    /// Connections refused so far because of their user.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What a poll registers.
    pub fn descriptor(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    /// Removes the socket file if it was made here, unless somebody put another one there.
    fn drop(&mut self) {
        if let Some(own) = self.identity
            && fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == own)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Root may do anything anyway, and supervisors that run as root ask for health.
fn is_permitted(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

pub(super) fn is_of_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
        || error.raw_os_error() == Some(libc::EPROTO)
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Makes the directory of `path`, or checks that no other user can exchange files in it.
fn prepare_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => return Err(refusal("that is no file name".to_owned())),
    };
    let found = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut private = fs::DirBuilder::new();
            return private.recursive(true).mode(0o700).create(directory).map_err(|error| {
                let text = format!("cannot create directory {}: {error}", directory.display());
                io::Error::new(error.kind(), text)
            });
        }
        result => result?,
    };
    let (name, own) = (directory.display(), sys::effective_uid());
    let is_sticky = found.mode() & 0o1000 != 0;
    if !found.is_dir() {
        return Err(refusal(format!("{name} is not a directory")));
    }
    if found.mode() & 0o022 != 0 && !is_sticky {
        let mode = found.mode() & 0o7777;
        let cure = format!("chmod go-w {name}");
        return Err(refusal(format!("other users can write to directory {name} (mode {mode:04o}); {cure}")));
    }
    if found.uid() != own && found.uid() != 0 {
        return Err(refusal(format!("directory {name} belongs to another user ({})", found.uid())));
    }
    Ok(())
}

/// Removes the socket of a process that is gone. Called under the lock.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    if !found.file_type().is_socket() {
        return Err(refusal("there is a file that is not a socket; it was left alone".to_owned()));
    }
    let probe = sys::unix_socket()?;
    match sys::connect(probe.as_fd(), path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Somebody's queue is full.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use("another process")),
        Err(error) => Err(error),
        Ok(()) => Err(in_use("another process")),
    }
}

fn in_use(who: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, format!("{who} listens there; it was left alone"))
}

fn refusal(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The lock file beside a socket, locked; holds the process id of its owner for people to read.
#[derive(Debug)]
struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    fn take(socket: &Path) -> io::Result<Lock> {
        let mut name = socket.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        // The file may be removed by its last owner between open and lock; then look again.
        for _ in 0..LOCK_TRIES {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
            let mut file = options.open(&path).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot open {}: {error}", path.display()))
            })?;
            match sys::lock(file.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut owner = String::new();
                    // A name to show, nothing more.
                    let _ = file.read_to_string(&mut owner);
                    return Err(in_use(&format!("another muxloop (process {})", owner.trim())));
                }
                result => result?,
            }
            if fs::symlink_metadata(&path)
                .is_ok_and(|found| file.metadata().is_ok_and(|opened| identity(&found) == identity(&opened)))
            {
                file.set_len(0)?;
                writeln!(file, "{}", std::process::id())?;
                return Ok(Lock { file, path });
            }
        }
        Err(in_use("somebody"))
    }
}

impl Drop for Lock {
    /// Removes the file while the lock is still held; whoever has it open meanwhile looks again.
    fn drop(&mut self) {
        let ours = self.file.metadata().map(|opened| identity(&opened));
        if fs::symlink_metadata(&self.path).is_ok_and(|found| ours.is_ok_and(|own| own == identity(&found))) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

const LOCK_TRIES: usize = 100;
