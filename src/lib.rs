//! muxloop: every MCP server runs once, every client shares it.
//!
//! One process, one thread, one poll loop. See `docs/architecture.md`.

pub mod base;
pub mod capture;
pub mod cli;
pub mod client;
pub mod codec;
pub mod config;
pub mod control;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
pub mod engine;
#[doc(hidden)]
pub mod fuzzing;
pub mod mux;
pub mod proxy;
pub mod reactor;
#[doc(hidden)]
pub mod sim;
#[cfg(feature = "tui")]
pub mod tui;
