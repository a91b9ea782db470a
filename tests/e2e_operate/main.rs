//! The control plane of the built binary (`docs/control.md`) over its raw socket, while clients use the servers.
//! The commands that speak to it are left to `e2e_client`, the routing itself to `e2e_mux`.
//!
//! | row | shown by |
//! |---|---|
//! | A08 | `reload::*` |
//! | E01 | `report::*`, `verbs::*`, `hostile::*`, `follow::*` |
//! | E02 | `verbs::*` |
//! | E03 | `snapshot::*` |

mod follow;
mod hostile;
mod reload;
mod report;
mod snapshot;
mod station;
#[allow(dead_code, unused_imports)]
#[path = "../e2e_mux/support/mod.rs"]
mod support;
mod verbs;
