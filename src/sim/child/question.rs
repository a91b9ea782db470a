//! What a process asks of the client that it works for: by requests if it is of an older era, else by its
//! answer.

use super::{Child, Job};
use crate::sim::client::QUESTIONS;
use crate::sim::kernel::{Kernel, Task};
use crate::sim::ledger::Ledger;
use crate::sim::wire::Body;
use std::collections::BTreeMap;

impl Child {
    /// Asks one or two questions at once, by requests.
    pub(super) fn ask_more(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, job: &mut Job) {
        let Some(nonce) = job.nonce else { return };
        for _ in 0..kernel.choice.pick(&[1, 1, 1, 2, 3]) {
            job.waits.push(self.ask(kernel, ledger, nonce));
        }
        // Not every server waits for ever.
        if kernel.choice.chance(8) {
            job.waits.pop();
        }
    }

    fn ask(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, nonce: u64) -> String {
        self.questions += 1;
        let id = match kernel.choice.below(3) {
            0 => self.questions.to_string(),
            1 => format!("\"{}\"", self.questions),
            _ => format!("\"q \\u0041{}\"", self.questions),
        };
        let method = kernel.choice.pick(&QUESTIONS);
        let secret = ledger.new_secret();
        ledger.question(kernel.now, self.index, &id, nonce, secret);
        self.say(
            kernel,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"nonce":{nonce},"secret":{secret},"message":"?"}}}}"#
            ),
        );
        id
    }

    pub(super) fn on_answer(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, id: &str, body: &Body<'_>) {
        ledger.question_answered(self.index, id, body);
        let due = kernel.now + kernel.choice.between(0, self.nature.late_ms);
        for job in self.jobs.iter_mut().filter(|job| job.waits.iter().any(|own| own == id)) {
            job.waits.retain(|own| own != id);
            job.due = due;
        }
        kernel.schedule(due, Task::Process(self.index));
    }

    /// An answer that asks: what its client says it can be asked, and now and then something else, or nothing
    /// but to come again.
    pub(super) fn ask_by_answer(
        &mut self,
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        id: &str,
        nonce: u64,
        body: &Body<'_>,
    ) -> String {
        let declared: Vec<&str> = [("sampling", 0), ("elicitation", 1), ("roots", 2)]
            .into_iter()
            .filter(|(capability, _)| body.declares(capability))
            .map(|(_, at)| QUESTIONS[at])
            .collect();
        let count = if declared.is_empty() { 0 } else { kernel.choice.pick(&[0, 1, 1, 2, 3]) };
        let mut secrets = BTreeMap::new();
        let mut entries = Vec::new();
        for number in 0..count {
            let method = match kernel.choice.chance(5) {
                true => kernel.choice.pick(&QUESTIONS),
                false => kernel.choice.pick(&declared),
            };
            let key = kernel.choice.pick(&["k", "q", "a b", "\u{e9}\"\\"]);
            let key = format!("{key}{number}");
            let secret = ledger.new_secret();
            let name = serde_json::to_string(&key).unwrap_or_default();
            entries.push(format!(
                r#"{name}:{{"method":"{method}","params":{{"nonce":{nonce},"secret":{secret},"round":true,"message":"?"}}}}"#
            ));
            secrets.insert(key, secret);
        }
        self.questions += 1;
        let state = format!("{}/{} \u{fc}\"{}", self.index, self.questions, kernel.choice.below(1_000));
        ledger.open_round(&state, nonce, secrets);
        let state = serde_json::to_string(&state).unwrap_or_default();
        let inputs = match entries.is_empty() {
            true => String::new(),
            false => format!(r#""inputRequests":{{{}}},"#, entries.join(",")),
        };
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","nonce":{nonce},{inputs}"requestState":{state}}}}}"#
        )
    }
}
