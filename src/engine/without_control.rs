//! In place of `operate.rs` in a build without the feature `control`: nobody asks, nobody follows.

use super::Engine;
use super::port::Platform;
use crate::base::{Key, Time};
use crate::codec::Message;
use crate::mux::ServerId;

/// What only the program around the engine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read the configuration again.
    Reload(Option<Ticket>),
    /// Open log files again.
    Reopen,
}

/// Nobody waits for the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {}

#[derive(Debug, Default)]
pub(super) struct ControlPlane {
    pub wishes: Vec<Wish>,
    pub taps: Taps,
}

#[derive(Debug, Default)]
pub(super) struct Taps {
    pub on: bool,
}

impl Taps {
    pub fn note(&mut self, _link: Key, _received: bool, _message: &Message<'_>) {}
}

impl ControlPlane {
    pub fn hear(&mut self, _key: Key, _line: Result<Vec<u8>, usize>) {}
    pub fn end(&mut self, _key: Key) {}
    pub fn forget(&mut self, _key: Key) {}
    pub fn forget_server(&mut self, _id: ServerId) {}
    pub fn is_busy(&self) -> bool {
        false
    }
    pub fn deadline(&self) -> Option<Time> {
        None
    }
}

impl Engine {
    /// What is to be done by the program around, since the last call.
    pub fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.control.wishes)
    }

    pub(super) fn log_stderr(&mut self, _now: Time, _server: ServerId, _text: String) {}
    pub(super) fn forget_journal(&mut self, _id: ServerId) {}
    pub(super) fn attach_control(&mut self, _now: Time, _key: Key) {}
    pub(super) fn operate(&mut self, _now: Time, _platform: &dyn Platform) {}
}
