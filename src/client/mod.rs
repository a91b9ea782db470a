//! The commands that ask a running muxloop: over its control socket (`docs/control.md`), and `health` over the
//! socket of a server.
//!
//! ```text
//! cli ─▶ Command ─▶ find (-c, --control, or whoever runs) ─▶ Link (lines, deadlines) ─▶ Control (hello, call)
//!                                                     status, verbs, follow, health ─▶ stdout, exit code
//! ```
//!
//! Blocking, one connection, no thread. Every wait has a deadline, so that a muxloop that hangs, or something
//! else that listens there, gives one clear line within a second. What a report says is the engine's matter
//! ([`crate::control`]), what the command line means is the parser's (`crate::cli`). Without the feature `cli`
//! only what a library asks is here.

#[cfg(feature = "cli")]
pub mod control;
pub mod failure;
#[cfg(feature = "cli")]
pub mod find;
#[cfg(feature = "inspect")]
pub mod follow;
pub mod health;
pub mod link;
#[cfg(feature = "cli")]
pub mod status;
pub mod text;
#[cfg(feature = "cli")]
pub mod verbs;

#[cfg(feature = "cli")]
pub use control::{Control, Hello};
pub use failure::Failure;
#[cfg(feature = "cli")]
pub use find::Target;

#[cfg(feature = "cli")]
use crate::cli;
#[cfg(feature = "cli")]
use crate::config::Surroundings;
use std::path::PathBuf;
#[cfg(feature = "cli")]
use std::process::ExitCode;

/// What is asked of whom.
#[cfg(feature = "cli")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Status(Target, status::Options),
    Verb(Target, verbs::Verb),
    Follow(Target, FollowOptions),
    Health(HealthOptions),
}

/// `logs` and `tap`: what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowOptions {
    pub what: What,
    /// Each as it came, one per line.
    pub json: bool,
}

/// What is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Logs {
        /// `None`: all servers.
        server: Option<String>,
        lines: u64,
        follow: bool,
    },
    Tap {
        server: String,
    },
}

/// `health`: who is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthOptions {
    /// The socket of a server, whatever configuration it is of.
    pub socket: Option<PathBuf>,
    pub config: Option<PathBuf>,
    /// Name of one server of the configuration; `None`: each of them.
    pub service: Option<String>,
    /// For all that one server is asked, a start of its process included.
    pub timeout_ms: u64,
}

/// No muxloop runs there.
pub const EXIT_NOT_RUNNING: u8 = 3;
/// It runs, and some server is not as it should be.
pub const EXIT_DEGRADED: u8 = 4;

/// Does it, and says on stderr why it failed.
#[cfg(feature = "cli")]
pub fn run(command: Command, surroundings: &Surroundings) -> ExitCode {
    let done = match &command {
        Command::Status(target, options) => status::run(target, options, surroundings),
        Command::Verb(target, verb) => verbs::run(target, verb, surroundings),
        #[cfg(feature = "inspect")]
        Command::Follow(target, options) => follow::run(target, options, surroundings),
        #[cfg(feature = "inspect")]
        Command::Health(options) => health::run(options, surroundings),
        #[cfg(not(feature = "inspect"))]
        Command::Follow(..) | Command::Health(_) => Err(Failure::usage(
            "logs, tap, health: not in this build of muxloop; build it with the feature `inspect`",
        )),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            if !failure.text.is_empty() {
                cli::complain(&failure.text);
            }
            ExitCode::from(failure.code)
        }
    }
}
