//! PATH as the user's login shell sets it (C09): a host started from a desktop has only the system's own.
//!
//! The shell is asked once: before the loop starts, and at a reload only while there is no answer yet; the
//! loop stands still for that, so a reload waits much less. Without an answer, muxloop's own PATH holds.

use crate::config::{Config, SearchPath};
use crate::reactor::poll::{Interest, poll};
use crate::reactor::sys;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the shell may take before the loop starts.
pub(crate) const AT_START: Duration = Duration::from_secs(5);
/// How long it may take at a reload, while clients wait.
pub(super) const AT_RELOAD: Duration = Duration::from_secs(1);

/// Stands before and after the value, since a profile may print as well.
const MARKER: &str = "==muxloop:PATH==";
/// More output than this, in bytes, holds no answer.
const OUTPUT_MAX: usize = 1 << 20;

/// What the login shell said, once it did.
#[derive(Debug, Default)]
pub(crate) struct LoginPath {
    known: Option<String>,
}

impl LoginPath {
    /// Puts the PATH of each server that has one into its environment, unless `env` names PATH there.
    pub(super) fn fill(&mut self, config: &mut Config, limit: Duration) {
        if let Err(why) = self.try_fill(config, limit) {
            log::warn!(target: "muxloop", "path = \"login\": {why}; servers get muxloop's own PATH");
        }
    }

    /// The same for who says it in other ways.
    ///
    /// # Errors
    /// Why the login shell's PATH is not known, in words; all others are in place.
    pub(crate) fn try_fill(&mut self, config: &mut Config, limit: Duration) -> Result<(), String> {
        let wants_login = |server: &crate::config::ServerConfig| {
            server.search_path == Some(SearchPath::Login) && !has_own(server)
        };
        let mut asked = Ok(());
        if self.known.is_none() && config.servers.iter().any(wants_login) {
            asked = ask(&shell(), limit).map(|path| self.known = Some(path));
        }
        for server in config.servers.iter_mut().filter(|server| !has_own(server)) {
            let path = match &server.search_path {
                Some(SearchPath::Login) => self.known.clone(),
                Some(SearchPath::These(path)) => Some(path.clone()),
                None => None,
            };
            server.spawn.env.extend(path.map(|path| ("PATH".to_owned(), path)));
        }
        asked
    }
}

fn has_own(server: &crate::config::ServerConfig) -> bool {
    server.spawn.env.iter().any(|(name, _)| name == "PATH")
}

/// The user's shell: `$SHELL`, else the system's.
fn shell() -> PathBuf {
    let named = std::env::var_os("SHELL").map(PathBuf::from);
    named.filter(|path| path.is_absolute()).unwrap_or_else(|| "/bin/sh".into())
}

/// Asks a login shell for its PATH.
///
/// # Errors
/// Why there is no answer, in words.
fn ask(shell: &Path, limit: Duration) -> Result<String, String> {
    let shown = shell.display();
    let until = Instant::now() + limit;
    let mut command = Command::new(shell);
    command.arg("-lc").arg(format!("printf '%s%s%s' '{MARKER}' \"$PATH\" '{MARKER}'"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().map_err(|error| format!("'{shown}' does not start: {error}"))?;
    let mut shell = Asked(child);
    let stdout = shell.0.stdout.take().ok_or_else(|| format!("'{shown}' has no output"))?;
    match listen(stdout, until) {
        Ok(Some(path)) if !path.is_empty() => Ok(path),
        Ok(Some(_)) => Err(format!("PATH is empty in the login shell '{shown}'")),
        Ok(None) => Err(format!("the login shell '{shown}' did not tell its PATH")),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(format!("the login shell '{shown}' did not answer within {} ms", limit.as_millis()))
        }
        Err(error) => Err(format!("the login shell '{shown}' cannot be heard: {error}")),
    }
}

/// Reads until the answer is there; a profile may leave something behind that holds the pipe open.
fn listen(mut stdout: ChildStdout, until: Instant) -> io::Result<Option<String>> {
    sys::set_nonblocking(stdout.as_fd())?;
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        // Rounded up: 0 would ask again and again during the last millisecond.
        let left = until.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        if left == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let interest = Interest { descriptor: stdout.as_raw_fd(), readable: true, writable: false };
        poll([interest], left as i32)?;
        match stdout.read(&mut piece) {
            Ok(0) => return Ok(answer(&heard)),
            Ok(count) => heard.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        let found = answer(&heard);
        if found.is_some() || heard.len() > OUTPUT_MAX {
            return Ok(found);
        }
    }
}

/// What stands between the markers.
fn answer(heard: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(heard);
    let (_, rest) = text.split_once(MARKER)?;
    Some(rest.split_once(MARKER)?.0.to_owned())
}

/// The shell; at the end its group is killed, whatever its profile still does.
struct Asked(Child);

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = sys::signal_group(self.0.id() as sys::Pid, libc::SIGKILL);
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_what_stands_between_the_markers() {
        let heard = format!("Welcome!\n{MARKER}/a:/b{MARKER}bye");
        assert_eq!(answer(heard.as_bytes()).as_deref(), Some("/a:/b"));
        assert_eq!(answer(format!("{MARKER}/a:").as_bytes()), None);
        assert_eq!(answer(b"/a:/b"), None);
    }

    #[test]
    fn a_real_shell_tells_its_path() {
        assert!(ask(Path::new("/bin/sh"), AT_START).unwrap().contains('/'));
    }

    #[test]
    fn what_is_no_shell_is_said() {
        let why = ask(Path::new("/no/such/shell"), AT_START).unwrap_err();
        assert!(why.starts_with("'/no/such/shell' does not start: "), "{why}");
        let why = ask(Path::new("/bin/false"), AT_START).unwrap_err();
        assert_eq!(why, "the login shell '/bin/false' did not tell its PATH");
    }
}
