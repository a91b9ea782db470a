//! muxloop: every MCP server runs once, every client shares it.
//!
//! One process, one thread, one poll loop. See `docs/architecture.md`.
//!
//! # As a library
//!
//! [`spawn_mux_server`] and [`run_mux_server`] run a server for the clients of a Unix socket,
//! [`check_health`] asks one. Blocking, without a runtime; see [`library`] for an example.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `cli` | yes | the program `muxloop`: command line, daemon, logging |
//! | `control` | yes | the control socket, status files, `muxloop status` and the like |
//! | `http` | yes | HTTP, event streams and WebSocket |
//! | `inspect` | yes | `muxloop logs`, `tap`, `health` and `doctor` |
//! | `shared` | yes | `muxloop daemon`: one HTTP server for several processes |
//! | `tui` | yes | the dashboard `muxloop tui` |
//! | `demo` | yes | `muxloop demo-server` |
//!
//! `default-features = false` leaves the library.

pub mod base;
pub mod capture;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
pub mod codec;
pub mod config;
#[cfg(all(feature = "control", feature = "gateway"))]
pub mod connect;
pub mod control;
#[cfg(feature = "cli")]
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(feature = "inspect")]
pub mod doctor;
pub mod engine;
#[cfg(feature = "http")]
pub mod front;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod library;
pub mod mux;
pub mod proxy;
pub mod reactor;
#[cfg(feature = "cli")]
pub mod shared;
#[doc(hidden)]
pub mod sim;
#[cfg(feature = "tui")]
pub mod tui;

pub use library::{Health, MuxConfig, MuxError, MuxHandle, check_health, run_mux_server, spawn_mux_server};
