//! [`Sabotage`]: what reaches clients and children, whole or damaged on purpose.

use super::World;
use crate::sim::client::Client;

/// Damage done on purpose to what muxloop says, to show that the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// Two clients get each other's answer.
    SwapAnswers,
    /// An answer is lost.
    LoseAnswer,
    RepeatAnswer,
    /// An answer comes under another id.
    ChangeId,
    /// Progress goes to another client.
    StrayProgress,
    /// A question goes to another client.
    StrayQuestion,
    /// An answer that asks goes to another client.
    StrayRound,
    /// The answers to two questions of a modern child change places.
    SwapInputs,
    /// A log line goes to clients of another server.
    StrayLog,
    /// A child gets a request twice.
    RepeatRequest,
    /// A child gets a client's request without its id replaced.
    KeepId,
}

impl World {
    pub(super) fn tell_client(&mut self, index: usize, line: String) {
        if line.is_empty() {
            let mut kernel = self.kernel.borrow_mut();
            let expected = self.stopping || self.released.contains(&index);
            return self.clients[index].on_end(&mut kernel, &mut self.ledger, expected);
        }
        for (client, line) in self.sabotage_client(index, line) {
            if !self.clients[client].is_gone() {
                let mut kernel = self.kernel.borrow_mut();
                self.clients[client].hear(&mut kernel, &mut self.ledger, &line);
            }
        }
    }

    pub(super) fn tell_child(&mut self, index: usize, line: &str) {
        let mut kernel = self.kernel.borrow_mut();
        let child = &mut self.children[index];
        let is_request = line.contains("\"nonce\":") && line.contains("\"method\":");
        match self.sabotage {
            Sabotage::RepeatRequest if is_request && !self.done => {
                self.done = true;
                child.hear(&mut kernel, &mut self.ledger, line);
                child.hear(&mut kernel, &mut self.ledger, line);
            }
            Sabotage::SwapInputs if line.contains("\"inputResponses\"") && !self.done => {
                let Some(swapped) = with_swapped_secrets(line) else {
                    return child.hear(&mut kernel, &mut self.ledger, line);
                };
                self.done = true;
                child.hear(&mut kernel, &mut self.ledger, &swapped);
            }
            Sabotage::KeepId if is_request && !self.done => {
                self.done = true;
                let at = line.find("\"id\":").map_or(0, |at| at + 5);
                let end = line[at..].find(',').map_or(at, |end| at + end);
                let line = format!("{}\"1\"{}", &line[..at], &line[end..]);
                child.hear(&mut kernel, &mut self.ledger, &line);
            }
            _ => child.hear(&mut kernel, &mut self.ledger, line),
        }
    }

    /// What reaches whom instead of `line` reaching `index`.
    fn sabotage_client(&mut self, index: usize, line: String) -> Vec<(usize, String)> {
        let same = vec![(index, line.clone())];
        if self.done || self.sabotage == Sabotage::None {
            return same;
        }
        let is_answer = line.contains("\"result\":") && line.contains("\"nonce\":");
        let is_question = line.contains("\"id\":") && line.contains("\"method\":");
        let is_progress = line.contains("notifications/progress");
        let is_round = line.contains("\"input_required\"") && is_answer;
        let is_log = line.contains("notifications/message");
        let server = self.clients[index].server;
        let present = |other: &&Client| other.index != index && !other.is_gone();
        let other = self.clients.iter().find(present).map(|client| client.index);
        let stranger = self.clients.iter().filter(|client| client.server != server).find(present);
        let stranger = stranger.map(|client| client.index);
        let changed = match self.sabotage {
            Sabotage::SwapAnswers if is_answer => match self.held.take() {
                Some((first, held)) if first != index => vec![(first, line), (index, held)],
                Some(held) => {
                    self.held = Some(held);
                    return same;
                }
                None => {
                    self.held = Some((index, line));
                    return Vec::new();
                }
            },
            Sabotage::LoseAnswer if is_answer => Vec::new(),
            Sabotage::RepeatAnswer if is_answer => vec![same[0].clone(), same[0].clone()],
            Sabotage::ChangeId if is_answer => vec![(index, line.replacen("\"id\":", "\"id\":1", 1))],
            Sabotage::StrayProgress if is_progress && other.is_some() => vec![(other.unwrap_or(0), line)],
            Sabotage::StrayQuestion if is_question && other.is_some() => vec![(other.unwrap_or(0), line)],
            Sabotage::StrayRound if is_round && other.is_some() => vec![(other.unwrap_or(0), line)],
            Sabotage::StrayLog if is_log && stranger.is_some() => vec![(stranger.unwrap_or(0), line)],
            _ => return same,
        };
        self.done = true;
        changed
    }
}

/// A line whose first two secrets have changed places, if it has as many.
fn with_swapped_secrets(line: &str) -> Option<String> {
    let [before, one, rest] = line.splitn(3, SECRET).collect::<Vec<_>>().try_into().ok()?;
    let end = |text: &str| text.find(|c: char| !c.is_ascii_digit());
    let (first, between) = one.split_at(end(one)?);
    let (second, after) = rest.split_at(end(rest)?);
    Some(format!("{before}{SECRET}{second}{between}{SECRET}{first}{after}"))
}

const SECRET: &str = "\"secret\":";
