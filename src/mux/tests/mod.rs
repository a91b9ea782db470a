//! Scenarios of the routing core: clients and children say things, time passes, and what everybody
//! hears is compared. Each test names the rule it checks (`Pnn`: protocol.md §7).
//!
//! [`world::World`] is the stage; it plays the engine, so nothing here touches a descriptor or waits.

mod alone;
mod away;
mod bindings;
mod bridge;
mod clock;
mod cross_level;
mod cross_listen;
mod cross_subscribe;
mod cross_walk;
mod eras;
mod handshake;
mod ids;
mod interactive;
mod ladder;
mod lifecycle;
mod listen;
mod lists;
mod lists_down;
mod lists_walk;
mod operate;
mod queue;
mod retry;
mod rounds;
mod shared;
mod spare;
mod suspended;
mod suspended_again;
mod suspended_ends;
mod tables;
mod world;
