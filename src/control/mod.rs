//! The control plane's language (`docs/control.md`): what may be asked, and the report of a running muxloop.
//!
//! Plain values: the engine writes them with serde, the commands and the dashboard read them with [`Json`],
//! which is a tenth of the code that serde makes for so many fields. Nothing here opens a socket or knows a
//! table of the mux.

pub mod call;
pub mod json;
pub mod merged;
pub mod path;
pub mod redact;
pub mod report;

pub use call::{Call, Refusal, Verb};
pub use json::Json;
pub use merged::{MemberReport, MergedReport};
pub use report::{Latency, Recent, Report, ServerReport, State};

/// Number of the protocol described in `docs/control.md`.
pub const CONTROL_VERSION: u32 = 1;
