//! The real binary as a daemon, its clients, and the processes that it starts.
//!
//! Nothing here sleeps: a test waits for a line, an answer, the end of a stream or of a process, each with
//! [`PATIENCE`], which only a failed test uses up.

pub mod client;
pub mod mux;
pub mod process;

use std::time::Duration;

pub use client::{Client, INITIALIZED, MODERN, initialize, modern, reason, structured, text};
pub use mux::{Mux, Server};
pub use process::{Watched, holds_within};

/// Longer than any machine needs for one step of a test.
pub const PATIENCE: Duration = Duration::from_secs(20);
