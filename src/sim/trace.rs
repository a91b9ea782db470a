//! [`Trace`]: what happened, its newest events in words and all of them in one number.

use crate::base::Time;
use std::collections::VecDeque;
use std::fmt;

/// The events of a world.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    newest: VecDeque<String>,
    /// How many of the newest are kept.
    shown: usize,
    pub events: u64,
}

impl Trace {
    pub fn new() -> Trace {
        let wanted = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
        let shown = wanted.unwrap_or(SHOWN);
        Trace { hash: 0xcbf2_9ce4_8422_2325, newest: VecDeque::new(), shown, events: 0 }
    }

    /// Adds an event.
    pub fn add(&mut self, now: Time, event: fmt::Arguments<'_>) {
        let text = format!("{now:?} {event}");
        for byte in text.bytes() {
            // FNV-1a.
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.events += 1;
        if self.newest.len() >= self.shown {
            self.newest.pop_front();
        }
        self.newest.push_back(text);
    }

    /// A number that differs as soon as one event does.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The newest events, oldest first.
    pub fn newest(&self) -> Vec<String> {
        self.newest.iter().map(|text| cut(text)).collect()
    }
}

/// So much of a text as is worth showing.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_string(),
    }
}

/// Events that are shown when a world fails, unless `MUXLOOP_SIM_EVENTS` says how many.
const SHOWN: usize = 40;
const VARIABLE: &str = "MUXLOOP_SIM_EVENTS";
/// Longest event that is shown in full, in characters.
const LINE_MAX: usize = 480;
