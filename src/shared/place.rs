//! What is shared, and where its files are.

use crate::config::Surroundings;
use crate::reactor::sys;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// `muxloop daemon`, as the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub what: What,
    /// The directory; `None` means `~/.muxloop/daemons/PORT`.
    pub directory: Option<String>,
    /// Whether the end of standard input is the end of the caller; `None`: if it is a pipe or a socket.
    pub stdin_life: Option<bool>,
    pub json: bool,
}

/// What the first caller has the supervisor do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
// A caller and a supervisor of two versions of muxloop may meet.
#[serde(default)]
pub struct What {
    /// The address that the server is told, and is expected at.
    pub host: String,
    pub port: u16,
    /// The program and its arguments, `{port}` and `{host}` not yet replaced.
    pub command: Vec<String>,
    /// How long the server outlives the last caller.
    pub idle_exit_ms: u64,
    /// How long the server has from SIGTERM to SIGKILL.
    pub stop_grace_ms: u64,
    /// How long the server has from its start until it answers.
    pub ready_timeout_ms: u64,
    /// The path that must be answered with a status of 2xx; empty: a connection is enough.
    pub ready_path: String,
    /// Restarts in a row; 0: no limit.
    pub restarts_max: u32,
}

impl What {
    /// The program and its arguments as they are run.
    pub fn command_line(&self) -> Vec<String> {
        let port = self.port.to_string();
        let fill = |word: &String| word.replace("{port}", &port).replace("{host}", &self.host);
        let (program, args) = (self.command.iter().take(1).cloned(), self.command.iter().skip(1).map(fill));
        program.chain(args).collect()
    }

    /// Where clients on this machine reach the server; its paths are its own matter.
    pub fn url(&self) -> String {
        match self.reachable_host() {
            host if host.contains(':') => format!("http://[{host}]:{}", self.port),
            host => format!("http://{host}:{}", self.port),
        }
    }

    /// The host to connect to: "all addresses" is none.
    pub fn reachable_host(&self) -> &str {
        match self.host.parse() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1",
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "::1",
            _ => &self.host,
        }
    }

    /// Why a supervisor that does `self` is not the one for a caller that wants `wanted`.
    pub fn refuses(&self, wanted: &What) -> Option<String> {
        let (own, theirs) = (self.command_line().join(" "), wanted.command_line().join(" "));
        if (&self.host, self.port) != (&wanted.host, wanted.port) {
            return Some(format!("the daemon of this directory is at {}:{}", self.host, self.port));
        }
        let cure = "choose another --port, or let its callers leave first";
        (own != theirs).then(|| format!("the daemon at {} runs another command: {own}; {cure}", self.url()))
    }
}

/// The directory of one shared server.
#[derive(Clone, Debug)]
pub struct Place {
    pub directory: PathBuf,
}

impl Place {
    /// Finds the directory, and makes it, with mode 0700, if there is none.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn prepare(options: &Options, surroundings: &Surroundings) -> Result<Place, String> {
        let directory = match &options.directory {
            Some(named) => surroundings.expand(named).map_err(|why| format!("--dir {named}: {why}"))?,
            None => {
                let home = surroundings.home.as_ref();
                let home = home.ok_or("HOME is not set to an absolute path; name a directory with --dir")?;
                home.join(".muxloop/daemons").join(options.what.port.to_string())
            }
        };
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let failed = |error: io::Error| format!("--dir {}: {error}", directory.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        check_private(&directory).map_err(failed)?;
        let place = Place { directory };
        if place.socket().as_os_str().len() > SOCKET_PATH_MAX {
            let shown = place.directory.display();
            return Err(format!("--dir {shown}: too long for a socket in it; choose a shorter one"));
        }
        Ok(place)
    }

    pub fn at(directory: &Path) -> Place {
        Place { directory: directory.to_owned() }
    }

    /// Where the supervisor listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("sock")
    }

    /// Held by the caller that starts the supervisor.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> PathBuf {
        self.directory.join("pid")
    }

    /// Who is connected.
    pub fn clients(&self) -> PathBuf {
        self.directory.join("clients.json")
    }

    /// What the server wrote, and what became of it.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Opens the log to append to.
    ///
    /// # Errors
    /// From the kernel.
    pub fn open_log(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.log())
    }
}

/// What lies in the directory is believed, and written to, so nobody else may write there; not even where
/// each may only touch his own, as in `/tmp`: what a link there points to is anybody's.
fn check_private(directory: &Path) -> io::Result<()> {
    let found = fs::metadata(directory)?;
    let why = match (found.uid() == sys::effective_uid(), found.mode() & 0o022) {
        (true, 0) => return Ok(()),
        (true, _) => "other users can write there; chmod go-w, or choose another",
        (false, _) => "it belongs to another user; choose another",
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// What all systems take, less `.lock`.
const SOCKET_PATH_MAX: usize = 98;

#[cfg(test)]
mod tests {
    use super::*;

    fn what(host: &str, command: &[&str]) -> What {
        let command = command.iter().map(|word| word.to_string()).collect();
        What { host: host.into(), port: 8100, command, ..Default::default() }
    }

    #[test]
    fn arguments_are_filled_in_and_the_program_is_not() {
        let what = what("::1", &["/opt/{port}/x", "--at={host}:{port}", "{port}{port}", "{ports}"]);
        assert_eq!(what.command_line(), ["/opt/{port}/x", "--at=::1:8100", "81008100", "{ports}"]);
    }

    #[test]
    fn a_url_can_be_connected_to() {
        let urls = ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost"].map(|host| what(host, &[]).url());
        let want = ["127.0.0.1", "127.0.0.1", "[::1]", "[::1]", "localhost"];
        assert_eq!(urls, want.map(|host| format!("http://{host}:8100")));
    }

    #[test]
    fn callers_share_what_is_the_same() {
        let own = what("127.0.0.1", &["x", "{port}"]);
        assert_eq!(own.refuses(&what("127.0.0.1", &["x", "8100"])), None);
        assert_eq!(own.refuses(&What { idle_exit_ms: 5, ..own.clone() }), None);
        let command = own.refuses(&what("127.0.0.1", &["x", "-v"])).unwrap();
        assert!(command.contains("another command: x 8100; choose"), "{command}");
        let port = own.refuses(&What { port: 9, ..own.clone() }).unwrap();
        assert!(port.contains("127.0.0.1:8100"), "{port}");
    }
}
