//! Recordings of a whole muxloop (`muxloop record`, `muxloop replay`; format: `docs/capture.md`).
//!
//! ```text
//!   record:  engine ─▶ Recorder ─▶ reactor          replay:  engine ─▶ Replayer ─▶ (nothing)
//!                         └▶ Tape ─▶ FILE  ─────────────────────────────▲
//! ```
//!
//! The engine learns of the world only through its port traits and the calls of the program around it, so
//! these, in their order, are all it takes to have it do the same again: same bytes in, same bytes out, or a
//! bug. What crosses the boundary is [`event`]'s; what it means is left to the engine.

mod bytes;
#[cfg(feature = "cli")]
mod command;
mod difference;
pub mod event;
#[cfg(feature = "gateway")]
mod merged;
mod recorder;
mod replayer;
mod script;
mod tape;

#[cfg(feature = "cli")]
pub use command::replay_file;
pub use recorder::Recorder;
pub use replayer::{Outcome, replay};
pub use tape::Tape;

#[cfg(test)]
mod tests;
