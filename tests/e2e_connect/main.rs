//! `muxloop serve`, `muxloop connect` and the daemon of a project, with the built binary.

mod daemon;
mod loss;
mod serve;
mod stage;
