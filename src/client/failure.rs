//! [`Failure`]: why a command could not do what it was asked.

use super::EXIT_NOT_RUNNING;
#[cfg(feature = "cli")]
use crate::cli::EXIT_USAGE;
use std::fmt;

/// One or more lines for a person, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    /// Empty: nothing is left to be said.
    pub text: String,
}

impl Failure {
    /// Something went wrong; exit code 1.
    pub fn other(text: impl Into<String>) -> Failure {
        Failure { code: 1, text: text.into() }
    }

    /// The command was wrong; exit code 2.
    #[cfg(feature = "cli")]
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { code: EXIT_USAGE, text: text.into() }
    }

    /// Nobody is there; exit code 3.
    pub fn not_running(text: impl fmt::Display) -> Failure {
        Failure { code: EXIT_NOT_RUNNING, text: format!("not running: {text}") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
