//! Clients of every version at children of both eras, over every front of the built binary (issue "Eras",
//! protocol.md §4).
//!
//! `expected` says what must come of each feature in each cell, `matrix` tries it, `page` makes docs/eras.md
//! of it. `crowd` lets clients of all versions share one child; `hostile` and `strange` are for what no client and no
//! child should send.
//! What timing makes hard to bring about here is left to `src/mux/tests/`.

mod asked;
mod cell;
mod changes;
mod client;
mod crowd;
mod expected;
mod hostile;
mod matrix;
mod page;
mod plain;
mod strange;
#[allow(dead_code, unused_imports)]
#[path = "../e2e_http/support/mod.rs"]
mod support;
mod wire;
