//! `muxloop daemon` (row H06) as its callers meet it: real processes, a real HTTP server, real signals.

mod crowd;
mod kills;
mod support;
mod trouble;
