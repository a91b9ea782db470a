//! Drives `muxloop demo-server` over pipes, as a client of it: both eras, every tool, every fault option.
//!
//! The demo server is the child of all other end-to-end tests, so what they rely on is pinned down here.

#[path = "e2e_demo/client.rs"]
mod client;

#[path = "e2e_demo/calls.rs"]
mod calls;
#[path = "e2e_demo/eras.rs"]
mod eras;
#[path = "e2e_demo/faults.rs"]
mod faults;
#[path = "e2e_demo/interviews.rs"]
mod interviews;
#[path = "e2e_demo/story.rs"]
mod story;
