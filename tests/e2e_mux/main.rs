//! The built binary as its users meet it: a `mux.toml`, real child processes that misbehave on request, clients
//! on the sockets. What happens inside is left to the unit tests and the simulator.
mod daemon;
mod hostile;
mod life;
mod questions;
mod sharing;
mod shim;
mod support;
mod verbatim;
