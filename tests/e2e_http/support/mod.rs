//! What the tests stand on: the daemon, HTTP connections, and the clients of each era on top of them.

pub mod client;
pub mod session;
pub mod station;

#[allow(dead_code, unused_imports)]
#[path = "../../e2e_mux/support/mod.rs"]
pub mod base;

pub use base::mux::{Mux, Server};
pub use base::process::{descendants, descriptors, figure, holds_within};
pub use base::{PATIENCE, Watched, reason, structured, text};
pub use client::{Ask, Http, Reply, data};
pub use session::{Session, answer, call, call_with_progress, code, initialize, modern, rpc};
pub use station::Station;
