//! Scenarios of the routing core: clients and children say things, time passes, and what everybody
//! hears is compared. Each test names the rule it checks (`Pnn`: protocol.md §7).
//!
//! [`world::World`] is the stage; it plays the engine, so nothing here touches a descriptor or waits.

mod bridge;
mod clock;
mod eras;
mod handshake;
mod ids;
mod interactive;
mod ladder;
mod lifecycle;
mod listen;
mod operate;
mod queue;
mod retry;
mod shared;
mod tables;
mod world;
