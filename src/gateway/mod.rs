//! The merged endpoint: all servers behind one, for clients of either era.
//!
//! Towards its clients it is one more server of 2026-07-28, whose "process" is this module; towards the
//! servers it is a client of 2026-07-28, with a link of its own for each request, so that whatever comes on a
//! link belongs to that request. Sharing, eras, restarts and limits are the mux's, on both sides.

pub mod catalogue;
pub mod filter;
pub mod names;
mod template;
