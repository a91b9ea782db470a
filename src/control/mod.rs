//! The control plane's language (`docs/control.md`): what may be asked, and the report of a running muxloop.
//!
//! Plain values with serde: the engine answers with them, the commands and the dashboard read them. Nothing
//! here opens a socket or knows a table of the mux.

pub mod call;
pub mod path;
pub mod redact;
pub mod report;

pub use call::{Call, Refusal, Verb};
pub use report::{Latency, Recent, Report, ServerReport, State};

/// Number of the protocol described in `docs/control.md`.
pub const CONTROL_VERSION: u32 = 1;
