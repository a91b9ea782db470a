//! The commands that ask a running muxloop, as the built binary, against a daemon that answers as it is told.

mod commands;
mod fake;
mod health;
mod status;
