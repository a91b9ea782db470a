//! [`Ledger`]: the model. It knows who asked what, and says so where something else arrives.
//!
//! Every request that goes to a child carries a nonce that names it; children say it again in whatever
//! concerns the request. What muxloop answers itself is known by its id alone, so those are counted.

mod rounds;

pub(super) use rounds::Loot;

use super::Counts;
use crate::base::Time;
use crate::mux::policy::{Interactive, ServerPolicy};
use crate::sim::wire::Body;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The model of a world.
#[derive(Debug)]
pub(super) struct Ledger {
    pub violations: Vec<String>,
    pub counts: Counts,
    policies: Vec<ServerPolicy>,
    asked: BTreeMap<u64, Asked>,
    tallies: BTreeMap<(usize, String), Tally>,
    questions: BTreeMap<(usize, String), Question>,
    /// Whose a process is, where each client has its own.
    owners: BTreeMap<usize, usize>,
    /// What a process was asked, where each request has its own.
    only: BTreeMap<usize, u64>,
    /// Clients that are gone, or on their way out.
    gone: BTreeSet<usize>,
    guests: BTreeSet<usize>,
    /// Requests whose questions may reach another client.
    strays: BTreeSet<u64>,
    /// What modern children asked, by the state they gave.
    rounds: BTreeMap<String, rounds::Round>,
    secrets: u64,
    /// Servers whose suspended calls may be forgotten.
    forgetful: BTreeSet<usize>,
    /// The newest states of muxloop's.
    pub loot: VecDeque<Loot>,
}

/// A request that a child can see.
#[derive(Debug)]
struct Asked {
    client: usize,
    server: usize,
    id: String,
    token: Option<String>,
    at: Time,
    /// Since when it was its client's turn to say something about it.
    since: Time,
    cancelled: bool,
    answered: bool,
    /// The process that has it.
    process: Option<usize>,
    /// A child was told that nobody waits for it any more.
    void: bool,
    interactive: bool,
    modern: bool,
}

/// How often one id of one client was asked and answered.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    /// Those of them that muxloop answers by itself.
    local: usize,
    cancels: usize,
    results: usize,
    locals: usize,
    errors: usize,
}

/// What a child asked a client.
#[derive(Debug)]
struct Question {
    nonce: u64,
    secret: u64,
    at: Time,
    asked: usize,
    taken_back: bool,
    answers: usize,
}

/// What a client asks.
pub(super) struct Request<'a> {
    pub nonce: u64,
    pub client: usize,
    pub server: usize,
    pub id: &'a str,
    pub token: Option<&'a str>,
    /// A server may ask something back.
    pub interactive: bool,
    /// Its client is of 2026-07-28.
    pub modern: bool,
}

impl Ledger {
    pub fn new(policies: Vec<ServerPolicy>) -> Ledger {
        Ledger {
            violations: Vec::new(),
            counts: Counts::default(),
            policies,
            asked: BTreeMap::new(),
            tallies: BTreeMap::new(),
            questions: BTreeMap::new(),
            owners: BTreeMap::new(),
            only: BTreeMap::new(),
            gone: BTreeSet::new(),
            guests: BTreeSet::new(),
            strays: BTreeSet::new(),
            rounds: BTreeMap::new(),
            secrets: 0,
            forgetful: BTreeSet::new(),
            loot: VecDeque::new(),
        }
    }

    pub fn fail(&mut self, what: String) {
        self.violations.push(what);
    }

    /// The longest that an answer may take: starting, waiting and being served each have a limit.
    pub fn patience_ms(&self, server: usize) -> u64 {
        let policy = &self.policies[server];
        policy.request_timeout_max_ms.max(policy.startup_timeout_ms) + policy.startup_timeout_ms + 4_000
    }

    /// A client asks something that carries a nonce.
    pub fn ask(&mut self, now: Time, request: Request<'_>) {
        self.counts.requests += 1;
        self.tally(request.client, request.id).asked += 1;
        let asked = Asked {
            client: request.client,
            server: request.server,
            id: request.id.to_string(),
            token: request.token.map(String::from),
            at: now,
            since: now,
            cancelled: false,
            answered: false,
            process: None,
            void: false,
            interactive: request.interactive,
            modern: request.modern,
        };
        self.asked.insert(request.nonce, asked);
    }

    /// Only now a request can be read: it stood behind another of its client.
    pub fn restart(&mut self, now: Time, nonce: u64) {
        if let Some(asked) = self.asked.get_mut(&nonce) {
            asked.at = now;
        }
    }

    /// A client asks something that muxloop answers by itself.
    pub fn ask_local(&mut self, client: usize, id: &str) {
        self.counts.requests += 1;
        let tally = self.tally(client, id);
        tally.asked += 1;
        tally.local += 1;
    }

    fn tally(&mut self, client: usize, id: &str) -> &mut Tally {
        self.tallies.entry((client, id.to_string())).or_default()
    }

    /// A client takes back what it asked under this id; if that is several requests, one of them.
    pub fn cancel(&mut self, client: usize, id: &str) {
        self.tally(client, id).cancels += 1;
        for asked in self.asked.values_mut().filter(|asked| asked.client == client && asked.id == id) {
            asked.cancelled = true;
        }
    }

    /// A client no longer waits for anything.
    pub fn leave(&mut self, client: usize) {
        self.gone.insert(client);
    }

    /// A client got a result, or an error that carries a nonce.
    pub fn result(&mut self, now: Time, client: usize, id: &str, nonce: Option<u64>) {
        self.judge(now, client, id, nonce, true);
    }

    /// `last`: the child has ended it.
    fn judge(&mut self, now: Time, client: usize, id: &str, nonce: Option<u64>, last: bool) {
        self.counts.answers += 1;
        let Some(nonce) = nonce else {
            let tally = self.tally(client, id);
            tally.locals += 1;
            if tally.locals > tally.local {
                self.fail(format!(
                    "client {client} got an answer of muxloop's under id {id} that it did not ask"
                ));
            }
            return self.check_count(client, id);
        };
        self.tally(client, id).results += 1;
        self.check_count(client, id);
        let Some(asked) = self.asked.get_mut(&nonce) else {
            return self.fail(format!("client {client} got an answer to nonce {nonce}, which nobody asked"));
        };
        let mut wrong = Vec::new();
        if asked.client != client {
            wrong.push(format!("client {client} got the answer to nonce {nonce} of client {}", asked.client));
        }
        if asked.id != id {
            wrong.push(format!("client {client} asked nonce {nonce} as {} and got it as {id}", asked.id));
        }
        if std::mem::replace(&mut asked.answered, true) {
            wrong.push(format!("client {client} got two answers to nonce {nonce}"));
        }
        if asked.void && last {
            wrong.push(format!(
                "client {client} got an answer to nonce {nonce}, which was cancelled at the child"
            ));
        }
        let (took, server) = (now.since(asked.at), asked.server);
        if took > self.patience_ms(server) {
            wrong.push(format!("client {client} waited {took} ms for nonce {nonce}"));
        }
        self.violations.extend(wrong);
    }

    /// A client got an error of muxloop's making.
    pub fn error(&mut self, client: usize, id: &str) {
        self.counts.errors += 1;
        self.tally(client, id).errors += 1;
        self.check_count(client, id);
    }

    fn check_count(&mut self, client: usize, id: &str) {
        let tally = self.tally(client, id);
        let answers = tally.results + tally.locals + tally.errors;
        let asked = tally.asked;
        if answers > asked {
            self.fail(format!("client {client} asked {asked} times under id {id} and got {answers} answers"));
        }
    }

    /// A client got progress.
    pub fn progress(&mut self, client: usize, token: Option<&str>, nonce: Option<u64>) {
        self.counts.progress += 1;
        let Some(asked) = nonce.and_then(|nonce| self.asked.get(&nonce)) else {
            return self.fail(format!("client {client} got progress of nobody's request ({nonce:?})"));
        };
        let (owner, late, right) = (asked.client, asked.answered, asked.token.as_deref() == token);
        if owner != client {
            self.fail(format!("client {client} got progress of a request of client {owner}"));
        }
        if late {
            self.fail(format!("client {client} got progress of {nonce:?} after its answer"));
        }
        if !right {
            self.fail(format!("client {client} got progress of {nonce:?} under the token {token:?}"));
        }
    }

    /// A 2026-07-28 client got a log line, which belongs to one request.
    pub fn log_line(&mut self, client: usize, nonce: Option<u64>) {
        self.counts.logs += 1;
        if nonce.is_none() {
            return;
        }
        let Some(asked) = nonce.and_then(|nonce| self.asked.get(&nonce)) else {
            return self.fail(format!("client {client} got a log line of nobody's request ({nonce:?})"));
        };
        // Lines of a request that has ended early cannot be told from those of the one that goes on: this
        // era has no message behind a cancel whose answer would say that it was read.
        let errors = self.tallies.get(&(asked.client, asked.id.clone())).map_or(0, |tally| tally.errors);
        let ended = asked.cancelled || errors > 0 || self.gone.contains(&asked.client);
        let owner = asked.client;
        if owner != client && !ended {
            self.fail(format!("client {client} got a log line of a request of client {owner} ({nonce:?})"));
        }
    }

    /// A request reached a child; `again`: as the child wanted it.
    pub fn at_child(&mut self, process: usize, server: usize, nonce: u64, again: bool) {
        let Some(asked) = self.asked.get_mut(&nonce) else {
            return self.fail(format!("process {process} was asked nonce {nonce}, which nobody asked"));
        };
        let (client, meant) = (asked.client, asked.server);
        if self.policies[server].is_per_request()
            && let Some(other) = self.only.insert(process, nonce)
            && !(again && other == nonce)
        {
            self.violations.push(format!("process {process} got nonce {nonce} after {other}"));
        }
        let before = asked.process.replace(process);
        if meant != server {
            self.fail(format!("a request to server {meant} reached server {server}"));
        }
        if let Some(before) = before.filter(|_| !again) {
            self.fail(format!("nonce {nonce} reached process {process} after process {before}"));
        }
        if self.policies[server].is_per_client() {
            let own = self.owner(server, client);
            let owner = *self.owners.entry(process).or_insert(own);
            if owner != own {
                self.fail(format!("process {process} of client {owner} got a request of client {client}"));
            }
        }
    }

    /// A child read that nobody waits for a request any more.
    pub fn cancelled_at_child(&mut self, nonce: u64) {
        if let Some(asked) = self.asked.get_mut(&nonce) {
            asked.void = true;
        }
        self.counts.cancels += 1;
    }

    /// Whose a process is, where that is known.
    pub fn owner_of(&self, process: usize) -> Option<usize> {
        self.owners.get(&process).copied()
    }

    /// A child asks something for the one who asked `nonce`.
    pub fn question(&mut self, now: Time, process: usize, id: &str, nonce: u64, secret: u64) {
        self.counts.questions += 1;
        let question = self.questions.entry((process, id.to_string())).or_insert(Question {
            nonce,
            secret,
            at: now,
            asked: 0,
            taken_back: false,
            answers: 0,
        });
        question.asked += 1;
        (question.nonce, question.secret, question.at) = (nonce, secret, now);
    }

    pub fn take_back(&mut self, process: usize, id: &str) {
        if let Some(question) = self.questions.get_mut(&(process, id.to_string())) {
            question.taken_back = true;
        }
    }

    fn has_timed_out(&self, now: Time, nonce: Option<u64>) -> bool {
        let asked = nonce.and_then(|nonce| self.asked.get(&nonce));
        asked.is_some_and(|asked| now.since(asked.at) >= self.policies[asked.server].request_timeout_ms)
    }

    /// A question reached a client.
    pub fn question_at_client(
        &mut self,
        now: Time,
        client: usize,
        server: usize,
        nonce: Option<u64>,
        capable: bool,
        of_round: bool,
    ) {
        self.counts.asked += 1;
        let Some(asked) = nonce.and_then(|nonce| self.asked.get(&nonce)) else {
            return self.fail(format!("client {client} was asked something of nobody's ({nonce:?})"));
        };
        let (owner, interactive) = (asked.client, asked.interactive);
        // Where the operator wants no pings, nothing says how far a child has read.
        let unfenced = self.policies[server].heartbeat.is_none() && self.has_timed_out(now, nonce);
        if owner != client && unfenced {
            self.strays.extend(nonce);
        }
        if owner != client && !unfenced {
            self.fail(format!("client {client} was asked what is for client {owner} ({nonce:?})"));
        }
        if !interactive {
            self.fail(format!(
                "client {client} was asked something during {nonce:?}, which does not allow it"
            ));
        }
        let policy = &self.policies[server];
        let (is_off, alone) = (policy.interactive == Interactive::Off, policy.is_per_client());
        if is_off && !alone && !of_round {
            self.fail(format!("client {client} was asked something by a server that must not ask"));
        }
        // Through a process of one's own everything passes.
        if !capable && (!alone || of_round) {
            self.fail(format!("client {client} was asked what it cannot answer"));
        }
    }

    /// A child got the answer to what it asked: `by` is the client that gave it.
    pub fn question_answered(&mut self, process: usize, id: &str, body: &Body<'_>) {
        let Body { nonce, by, secret, .. } = *body;
        let Some(question) = self.questions.get_mut(&(process, id.to_string())) else {
            return self.fail(format!("process {process} got an answer under id {id}, which it did not ask"));
        };
        question.answers += 1;
        let (asked, answers, own) = (question.asked, question.answers, question.nonce);
        if let Some(secret) = secret.filter(|secret| *secret != question.secret) {
            let why =
                format!("process {process} asked {id} as {} and got the answer to {secret}", question.secret);
            self.violations.push(why);
        }
        if answers > asked {
            self.fail(format!("process {process} asked {asked} times under {id} and got {answers} answers"));
        }
        if let Some(nonce) = nonce.filter(|nonce| *nonce != own) {
            self.fail(format!("process {process} asked {id} for nonce {own} and got the answer for {nonce}"));
        }
        if body.misshapen.is_some() {
            self.fail(format!("process {process} got an answer to {id} that has the wrong shape"));
        }
        let owner = self.asked.get(&own).map(|asked| asked.client);
        if by.is_some() && by != owner && !self.strays.contains(&own) {
            self.fail(format!("process {process} asked client {owner:?} under {id}, but {by:?} answered"));
        }
    }

    /// A client got what is for many; `process` says who sent it.
    pub fn broadcast(&mut self, client: usize, at: usize, server: Option<usize>, process: Option<usize>) {
        self.counts.broadcasts += 1;
        if server != Some(at) {
            self.fail(format!("client {client} of server {at} got a notification of server {server:?}"));
        }
        if let Some(owner) = process.and_then(|process| self.owner_of(process))
            && owner != self.owner(at, client)
        {
            self.fail(format!("client {client} got a notification of the process of client {owner}"));
        }
    }

    /// After the calm: everybody who still waits, waits in vain.
    pub fn check_answered(&mut self) {
        let owed: Vec<String> = self
            .tallies
            .iter()
            .filter(|((client, _), _)| !self.gone.contains(client))
            .filter(|(_, tally)| tally.results + tally.locals + tally.errors + tally.cancels < tally.asked)
            .map(|((client, id), tally)| format!("client {client} waits in vain under id {id}: {tally:?}"))
            .collect();
        self.violations.extend(owed);
    }

    /// Whether a client has all its answers.
    pub fn is_served(&self, client: usize) -> bool {
        let mine = self.tallies.iter().filter(|((owner, _), _)| *owner == client);
        let mut owed = mine.filter(|(_, t)| t.results + t.locals + t.errors + t.cancels < t.asked);
        owed.next().is_none()
    }

    /// After the calm: every question of a process that runs and serves has its answer.
    pub fn check_questions(&mut self, now: Time, process: usize, server: usize) {
        let patience = self.patience_ms(server);
        let owed: Vec<String> = self
            .questions
            .range((process, String::new())..(process + 1, String::new()))
            .filter(|(_, question)| !question.taken_back && now.since(question.at) > patience)
            .filter(|(_, question)| question.answers < question.asked)
            .map(|((_, id), question)| format!("process {process} waits in vain under {id}: {question:?}"))
            .collect();
        self.violations.extend(owed);
    }
}
