//! What a server writes to its stdout beside the answers it owes: counted, with the first of each kind.

use super::finding::{Finding, Findings};
use crate::client::text;
use serde_json::Value;

/// What should not be on stdout.
#[derive(Debug, Default)]
pub struct Oddities {
    noise: usize,
    noise_lines: Vec<String>,
    strays: usize,
    stray: String,
    asks: Vec<String>,
    overlong: u64,
}

impl Oddities {
    /// A line that is no message.
    pub fn noise(&mut self, line: String) {
        self.noise += 1;
        if self.noise_lines.len() < SHOWN && !self.noise_lines.contains(&line) {
            self.noise_lines.push(line);
        }
    }

    pub fn has_noise(&self) -> bool {
        self.noise > 0
    }

    /// A line of so many bytes, which is more than muxloop takes.
    pub fn overlong(&mut self, bytes: u64) {
        self.overlong = self.overlong.max(bytes);
    }

    /// An answer to nothing.
    pub fn stray(&mut self, message: &Value) {
        self.strays += 1;
        if self.strays == 1 {
            self.stray = message.to_string();
        }
    }

    /// A request to the client, which offered nothing.
    pub fn asked(&mut self, method: &str) {
        if self.asks.len() < SHOWN && !self.asks.iter().any(|known| known == method) {
            self.asks.push(method.to_owned());
        }
    }

    /// Files what was counted.
    pub fn judge(self, findings: &mut Findings) {
        if self.noise > 0 {
            let is = if self.noise == 1 { "is" } else { "are" };
            let message = format!("{} on stdout that {is} no MCP message", text::counted(self.noise, "line"));
            let cure = "Have it log to stderr: muxloop skips such lines, and other clients fail on them.";
            findings.add(Finding::warning("stdout-noise", message, cure).seen(self.noise_lines.join("\n")));
        }
        if self.overlong > 0 {
            let message =
                format!("a line of {} on stdout, longer than muxloop takes", text::bytes(self.overlong));
            let cure = "Have it answer in pages, or with links to resources.";
            findings.add(Finding::error("stdout-overlong", message, cure));
        }
        if self.strays > 0 {
            let message = format!("{} to requests that nobody made", text::counted(self.strays, "answer"));
            let cure = "Have it answer each request once, and with its own id.";
            findings.add(Finding::warning("answer-stray", message, cure).seen(self.stray));
        }
        if !self.asks.is_empty() {
            let message =
                format!("it asks the client what the client did not offer: {}", self.asks.join(", "));
            let cure = "Have it look at the client's capabilities before it asks.";
            findings.add(Finding::warning("asks-unoffered", message, cure));
        }
    }
}

/// Most that is shown of a kind.
const SHOWN: usize = 5;
