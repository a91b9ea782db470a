//! `muxloop connect` (row H04): the stdio shim in front of a project's daemon, which is found or started.
//!
//! [`project`] says which project is meant and where its state is, [`reach`] gets a connection, and the shim of
//! [`crate::proxy`] does the rest: it brings a client over the loss of a daemon, and reaches for the next one.
//! What the daemon does with its state is in `daemon/project.rs`.
//!
//! | exit code | why |
//! |---|---|
//! | 0 | as of the shim |
//! | 1 | there is no daemon and none can be started, or it was lost; stderr says why and quotes its log |
//! | 2 | wrong usage, or no project |

pub mod project;
pub mod reach;

use crate::cli::log::{Levels, Mode, init};
use crate::cli::{self, ConnectOptions, EXIT_USAGE};
use crate::config::{LogFormat, Surroundings};
use log::LevelFilter;
use project::Project;
use reach::Daemon;
use std::process::ExitCode;

/// Runs the shim to its end.
pub fn run(options: &ConnectOptions, surroundings: &Surroundings) -> ExitCode {
    let word = |level: LevelFilter| level.as_str().to_ascii_lowercase();
    let filter = word(options.level.unwrap_or(LevelFilter::Warn));
    init(&Levels { filter, servers: Vec::new() }, LogFormat::Text, Mode::Immediate);
    let project = Project::find(options.config.as_deref(), options.project.as_deref(), surroundings);
    match project {
        Ok(project) => {
            log::info!(target: "connect", "project {}, {}", project.folder.display(), project.config.display());
            let daemon = Daemon::of(project, options.level.map(word));
            crate::proxy::run_by("connect", Box::new(daemon), RECONNECT_MS)
        }
        Err(why) => {
            cli::complain(&format!("connect: {why}"));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// How long a lost daemon is tried again, in milliseconds.
const RECONNECT_MS: u64 = 30_000;
