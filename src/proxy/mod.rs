//! `muxloop proxy`: the stdio shim (row D02). A host starts it like any MCP server; it connects the host to
//! the Unix socket on which muxloop shares that server.
//!
//! ```text
//!   host ── stdin ──▶ RecvBuf ─ line ─▶ Session::from_client ─▶ SendBuf ──▶ socket ── muxloop
//!        ◀─ stdout ── SendBuf ◀─ line ─ Session::from_daemon ◀─ RecvBuf ◀──
//! ```
//!
//! [`session`] knows what a client has set up and asked, [`bridge`] moves the bytes, [`way`] connects. Nothing else of muxloop
//! runs here: no logger, no config, one poll(2) loop.
//!
//! | exit code | why |
//! |---|---|
//! | 0 | the host closed stdin and has all answers, or stopped reading; SIGINT, SIGTERM |
//! | 1 | nobody listens (any more), or muxloop refused this client; one line on stderr says which |
//! | 2 | wrong usage (from the command line parser) |

pub mod bridge;
pub mod session;
pub mod way;

use crate::reactor::sys;
use bridge::Bridge;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use way::Way;

/// What the shim is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyOptions {
    /// The socket of the server; a leading `~/` is the home directory.
    pub socket: PathBuf,
    /// How long to wait for somebody who listens, in milliseconds. `None`: one attempt at the start, and
    /// [`bridge::RECONNECT_MS`] after a connection was lost.
    pub wait_ms: Option<u64>,
}

/// Runs the shim to its end.
pub fn run(options: ProxyOptions) -> ExitCode {
    let socket = expand(&options.socket, env::home_dir().as_deref());
    run_bridge("proxy", Bridge::new(Box::new(socket), options.wait_ms.unwrap_or(0), bridge::RECONNECT_MS))
}

/// The same for whoever is at the end of `way`, by the name of another command.
pub fn run_by(command: &str, way: Box<dyn Way>, reconnect_ms: u64) -> ExitCode {
    run_bridge(command, Bridge::new(way, 0, reconnect_ms))
}

fn run_bridge(command: &str, bridge: Bridge) -> ExitCode {
    sys::ignore(libc::SIGPIPE);
    sys::exit_on(libc::SIGINT);
    sys::exit_on(libc::SIGTERM);
    match bridge.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // Whoever closed stderr does not want to know.
            let _ = writeln!(std::io::stderr(), "muxloop {command}: {text}");
            ExitCode::from(1)
        }
    }
}

/// `~` and `~/…` in the home directory; everything else as it is.
fn expand(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory() {
        let expand = |path: &str, home: Option<&str>| expand(Path::new(path), home.map(Path::new));
        assert_eq!(expand("~/a/s", Some("/home/x")), PathBuf::from("/home/x/a/s"));
        assert_eq!(expand("~", Some("/home/x")), PathBuf::from("/home/x"));
        for unchanged in ["/a/~/s", "a", "~x/s"] {
            assert_eq!(expand(unchanged, Some("/home/x")), PathBuf::from(unchanged));
        }
        assert_eq!(expand("~/s", None), PathBuf::from("~/s"));
    }
}
