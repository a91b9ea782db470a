//! The command line: one table of commands and options, from which everything about them is made.
//!
//! ```text
//! table ─▶ parse (argv, MUXLOOP_… variables) ─▶ Invocation ─▶ main
//!       └▶ help, complete (bash, zsh, fish), man
//! ```
//!
//! What a command does is left to its module; `log` is where all log lines go.

mod check;
mod complete;
mod daemon;
mod help;
mod invocation;
pub mod log;
mod man;
mod parse;
mod serve;
mod table;
mod values;
#[cfg(test)]
mod variables;

pub use check::{CheckOptions, Verdict};
pub use invocation::{DoctorOptions, ExposeOptions, Invocation, ProxyOptions, RunOptions, Transport};
#[cfg(feature = "inspect")]
pub(crate) use invocation::{find as find_config, report};
pub use parse::parse;
pub use serve::{ConnectOptions, ServeOptions, Via};
#[cfg(feature = "tui")]
pub(crate) use table::options::TUI_VARIABLE;

use crate::client::Failure;
use std::io::{self, Write};
use std::process::ExitCode;

/// The command line or the configuration is wrong.
pub const EXIT_USAGE: u8 = 2;

/// Prints a text to stdout. A reader that closed early (`| head`) is no failure.
pub fn print(text: &str) -> ExitCode {
    match print_all(text) {
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.text);
            ExitCode::FAILURE
        }
    }
}

/// The same for one of several texts: whether somebody reads on.
///
/// # Errors
/// It cannot be written, and somebody should know.
pub fn print_all(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::other(format!("cannot write to standard output: {error}"))),
    }
}

/// Prints lines for a person to stderr. Nothing is left to be done if that fails.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "muxloop: {text}");
}
