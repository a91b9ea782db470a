//! Questions that are asked by way of an answer (`input_required`), and requests that are made again with what
//! was answered.
//!
//! Either muxloop asks so, for a legacy child, or a modern child does. Who has which call, and which state was
//! made for it, is known here; so is what each answer should be.

use super::Ledger;
use crate::base::Time;
use crate::sim::wire::Body;
use std::collections::BTreeMap;

/// What a modern child asked by an answer.
#[derive(Debug)]
pub(super) struct Round {
    nonce: u64,
    /// Each question's key and secret.
    secrets: BTreeMap<String, u64>,
    used: bool,
}

/// A state of muxloop's that somebody else might try.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Loot {
    pub client: usize,
    pub server: usize,
    pub method: &'static str,
    pub params: String,
    pub state: String,
}

impl Ledger {
    #[cfg(feature = "http")]
    /// A client that comes by requests which stand for themselves: nothing tells it from another of them.
    #[cfg(feature = "http")]
    pub fn add_guest(&mut self, client: usize) {
        self.guests.insert(client);
    }

    pub fn is_guest(&self, client: usize) -> bool {
        self.guests.contains(&client)
    }

    /// Whose a process of this client's is, where each has its own.
    pub(super) fn owner(&self, server: usize, client: usize) -> usize {
        let policy = &self.policies[server];
        if policy.guests_apart || policy.is_per_request() { client } else { self.principal(client) }
    }

    /// Whoever this client is to muxloop.
    fn principal(&self, client: usize) -> usize {
        if self.is_guest(client) { GUESTS } else { client }
    }

    /// A number that one question and its answer have.
    pub fn new_secret(&mut self) -> u64 {
        self.secrets += 1;
        self.secrets
    }

    /// A modern child asks `nonce` back, with this state.
    pub fn open_round(&mut self, state: &str, nonce: u64, secrets: BTreeMap<String, u64>) {
        self.counts.rounds += 1;
        self.rounds.insert(state.to_string(), Round { nonce, secrets, used: false });
    }

    /// A modern child gets a state. Whether it is one that it takes.
    pub fn round_at_child(
        &mut self,
        process: usize,
        nonce: u64,
        state: &str,
        answers: &[(String, Body<'_>)],
    ) -> bool {
        let Some(asked) = self.asked.get(&nonce) else { return false };
        let (client, modern) = (asked.client, asked.modern);
        let Some(round) = self.rounds.get_mut(state) else {
            if !modern {
                self.fail(format!(
                    "process {process} got the state {state:?} for {nonce}, which nobody made"
                ));
            }
            return false;
        };
        if modern && round.used {
            return false;
        }
        let mut wrong = Vec::new();
        if std::mem::replace(&mut round.used, true) {
            wrong.push(format!("process {process} got the state {state:?} twice"));
        }
        if round.nonce != nonce {
            wrong.push(format!("process {process} got the state of {} for {nonce}", round.nonce));
        }
        for key in round.secrets.keys().filter(|key| !modern && answers.iter().all(|(own, _)| own != *key)) {
            wrong.push(format!("process {process} got no answer to {key:?} for {nonce}"));
        }
        for (key, answer) in answers {
            let known = round.secrets.get(key);
            if known.is_none() || answer.secret.is_some_and(|secret| known != Some(&secret)) {
                wrong.push(format!("process {process} got {answer:?} as the answer to {key:?}"));
            }
            if answer.by.is_some_and(|by| by != client) {
                wrong.push(format!("process {process} asked client {client}, but {:?} answered", answer.by));
            }
        }
        self.counts.resolved += 1;
        self.violations.extend(wrong);
        true
    }

    /// A client got questions instead of an answer, which it may have been sent long ago.
    pub fn interim(&mut self, now: Time, client: usize, id: &str, nonce: u64) {
        self.judge(now, client, id, Some(nonce), false);
    }

    /// Since when it was its client's turn.
    pub fn asked_at(&self, nonce: u64) -> Time {
        self.asked.get(&nonce).map_or(Time::ZERO, |asked| asked.since)
    }

    /// A client makes a request again. `owned`: the state it has is muxloop's. `renews`: it answers something.
    pub fn ask_again(
        &mut self,
        now: Time,
        nonce: u64,
        id: &str,
        token: Option<&str>,
        owned: bool,
        renews: bool,
    ) {
        self.counts.requests += 1;
        let Some(asked) = self.asked.get_mut(&nonce) else { return };
        asked.id = id.to_string();
        asked.token = token.map(String::from);
        asked.at = now;
        asked.since = if renews { now } else { asked.since };
        asked.answered = false;
        asked.cancelled = false;
        asked.void &= owned;
        let client = asked.client;
        self.tally(client, id).asked += 1;
    }

    /// A client asks something that must fail.
    pub fn ask_in_vain(&mut self, client: usize, id: &str) {
        self.counts.requests += 1;
        self.tally(client, id).asked += 1;
    }

    /// From now on suspended calls of a server may be forgotten.
    pub fn may_forget(&mut self, server: usize) {
        self.forgetful.insert(server);
    }

    /// Whether a server of this name was replaced.
    pub fn may_have_forgotten(&self, name: &str) -> bool {
        self.forgetful.iter().any(|server| self.policies[*server].name == name)
    }

    /// A client made a call again as it should, and was told that its state is unknown. It had the state of a
    /// call that it waits for since `since`.
    pub fn forgotten(&mut self, now: Time, client: usize, server: usize, nonce: u64, since: Time) {
        let policy = &self.policies[server];
        let in_time = now.since(since) < policy.request_timeout_max_ms.min(policy.answer_timeout_ms);
        if in_time && !self.forgetful.contains(&server) {
            self.fail(format!("client {client} made {nonce} again in time, but its state was unknown"));
        }
    }

    /// Whether two clients are the same to muxloop.
    pub fn is_same_principal(&self, one: usize, other: usize) -> bool {
        self.principal(one) == self.principal(other)
    }
}

/// All guests of a server.
const GUESTS: usize = usize::MAX;
