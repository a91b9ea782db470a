//! A log file in the place of standard error: everything that would be said there is in it, also by a panic.
//!
//! At [`BYTES_MAX`] it is renamed to `FILE.1`, whose place it takes, and begun anew: twice that much at most.

use super::sys;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size at which the file is begun anew, in bytes.
pub const BYTES_MAX: u64 = 1 << 20;

/// Standard error, in a file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Has everything from here on written to the end of the file at `path`; others may not read it.
    ///
    /// # Errors
    /// From the kernel; standard error is as it was.
    pub fn take_over(path: &Path) -> io::Result<LogFile> {
        let file = open(path)?;
        sys::replace(2, file.as_fd())?;
        let mut log = LogFile { path: path.to_owned(), file };
        log.keep();
        Ok(log)
    }

    /// Begins it anew if it is large by now. A file that cannot be renamed grows on.
    pub fn keep(&mut self) {
        if self.file.metadata().map_or(0, |found| found.len()) < BYTES_MAX {
            return;
        }
        if fs::rename(&self.path, older(&self.path)).is_ok()
            && let Ok(file) = open(&self.path)
            && sys::replace(2, file.as_fd()).is_ok()
        {
            self.file = file;
        }
    }
}

/// Opens a log file to write at its end.
///
/// # Errors
/// From the kernel.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path)
}

/// `FILE.1`.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}
