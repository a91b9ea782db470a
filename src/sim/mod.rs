//! The simulator: the real engine, mux and codecs over a kernel in memory, and a model that knows who
//! must get what.
//!
//! ```text
//!   Client ─▶ pipe ─▶ ┌────────┐ ─▶ pipe ─▶ Child         every choice: one seed, or a fuzzer's bytes
//!   Client ◀─ pipe ◀─ │ Engine │ ◀─ pipe ◀─ Child         every check:  Ledger
//!                     └────────┘
//! ```
//!
//! Clients speak lines on a socket, or HTTP to the front by any of its ways (`web`); what they mean, and what
//! must hold for them, is the same.
//!
//! Both are of every version, in all pairs (protocol.md §4). Children ask their clients by requests or by
//! `input_required`; each question has a secret which its answer says again. A client of 2026-07-28 makes its call
//! again rightly, partly, wrongly, late or never, with states that are forged, used, or another client's.
//!
//! A world has three ages. In the first everything goes wrong that can: bytes come in pieces and late,
//! readiness comes in any order, processes die, clients misbehave. Then it is calm: every request still
//! owed must be answered. Then all leave and muxloop stops: nothing may remain.
//!
//! Time is virtual, there are no threads, and the same choices give the same world to the last byte.

mod child;
mod choice;
mod client;
mod kernel;
mod ledger;
mod setup;
mod trace;
#[cfg(feature = "http")]
mod web;
mod wire;
mod world;

pub use world::{Failure, Report, Sabotage, run, run_recorded, run_sabotaged, world_from_bytes};

/// How often what happened: a world where nothing does proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests of clients.
    pub requests: u64,
    /// Answers that clients got, errors of muxloop's not counted.
    pub answers: u64,
    /// Errors of muxloop's that clients got.
    pub errors: u64,
    pub progress: u64,
    /// Cancels that reached a child in time.
    pub cancels: u64,
    /// Questions that children asked, and how many reached a client.
    pub questions: u64,
    pub asked: u64,
    /// Answers of modern children that were questions, and how many were made again with what was answered.
    pub rounds: u64,
    pub resolved: u64,
    /// Calls that 2026-07-28 clients were told to make again for a legacy child, and how many that did.
    pub suspended: u64,
    pub continued: u64,
    /// States that were tried by those who must not.
    pub attacks: u64,
    /// Notifications that clients got.
    pub broadcasts: u64,
    /// What came on listens.
    pub listened: u64,
    /// Log lines of single requests.
    pub logs: u64,
    /// What an operator did.
    pub orders: u64,
    /// Messages that came over HTTP.
    pub web: u64,
    /// Of these, those on streams that were taken up again.
    pub resumed: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.requests += other.requests;
        self.answers += other.answers;
        self.errors += other.errors;
        self.progress += other.progress;
        self.cancels += other.cancels;
        self.questions += other.questions;
        self.asked += other.asked;
        self.rounds += other.rounds;
        self.resolved += other.resolved;
        self.suspended += other.suspended;
        self.continued += other.continued;
        self.attacks += other.attacks;
        self.broadcasts += other.broadcasts;
        self.listened += other.listened;
        self.logs += other.logs;
        self.orders += other.orders;
        self.web += other.web;
        self.resumed += other.resumed;
    }
}
