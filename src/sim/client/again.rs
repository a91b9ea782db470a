//! A 2026-07-28 client whose request was answered by questions: it makes it again with the answers, or does
//! something else.

use super::{Client, MODERN, QUESTIONS};
use crate::sim::kernel::{Kernel, Task};
use crate::sim::ledger::{Ledger, Loot};
use crate::sim::wire::Body;

/// A request that may have to be made again.
#[derive(Debug)]
pub(super) struct Call {
    pub method: &'static str,
    /// What stays as it was.
    pub params: String,
    tries: u32,
}

/// What it means to say in a while.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    nonce: u64,
    how: How,
    state: String,
    /// Key, method and secret of each question.
    questions: Vec<(String, String, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Right,
    /// One answer is missing.
    Partly,
    /// One answer is not what the question wants.
    Misshapen,
    /// With a state that nobody made.
    Forged,
    /// With a state that was used before.
    Replay,
}

/// A request made again, on its way.
#[derive(Debug)]
pub(super) struct Again {
    plan: Plan,
    since: crate::base::Time,
}

impl Call {
    pub(super) fn new(method: &'static str, params: String) -> Call {
        Call { method, params, tries: 0 }
    }
}

impl Client {
    /// Its request is answered by questions.
    pub(super) fn on_input_required(
        &mut self,
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        id: &str,
        body: &Body<'_>,
    ) {
        let (index, server) = (self.index, self.server);
        let inputs = body.input_requests.iter().flatten();
        let questions: Vec<_> =
            inputs.map(|(key, entry)| (key.clone(), entry.method.clone(), entry.params.secret)).collect();
        let first = body.input_requests.iter().flatten().next();
        let Some(nonce) = body.nonce.or(first.map(|(_, entry)| entry.params.nonce)) else {
            return ledger.fail(format!("client {index} was asked nothing under {id}"));
        };
        ledger.interim(kernel.now, index, id, nonce);
        let Some(state) = body.request_state.clone() else {
            return ledger.fail(format!("client {index} was asked for input without a state under {id}"));
        };
        let owned = state.starts_with(OWN);
        ledger.counts.suspended += u64::from(owned);
        for (_, entry) in body.input_requests.iter().flatten() {
            let kind = QUESTIONS.iter().position(|known| *known == entry.method);
            // What a modern child asks a modern client is between them.
            let capable = !owned || kind.is_some_and(|kind| self.can[kind]);
            ledger.question_at_client(kernel.now, index, server, Some(entry.params.nonce), capable, true);
        }
        let Some(call) = self.calls.get_mut(&nonce) else { return };
        call.tries += 1;
        if owned {
            let loot = Loot {
                client: index,
                server,
                method: call.method,
                params: call.params.clone(),
                state: state.clone(),
            };
            ledger.loot.push_back(loot);
            if ledger.loot.len() > LOOT_MAX {
                ledger.loot.pop_front();
            }
        }
        if call.tries > 6 {
            return;
        }
        let how = match kernel.choice.weighted(&[66, 8, 8, 5, 13]) {
            0 => How::Right,
            1 if call.tries == 1 => How::Partly,
            2 => How::Misshapen,
            3 => How::Forged,
            4 => return,
            _ => How::Right,
        };
        let late = if kernel.choice.chance(6) { 4_000 } else { 300 };
        self.plan(kernel, Plan { nonce, how, state, questions }, late);
    }

    fn plan(&mut self, kernel: &mut Kernel, plan: Plan, late: u64) {
        let at = kernel.now + kernel.choice.between(0, late);
        kernel.schedule(at, Task::Client(self.index));
        self.plans.push((at, plan));
    }

    /// Does what it meant to do.
    pub(super) fn make_again(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, plan: Plan) {
        let Some(call) = self.calls.get(&plan.nonce) else { return };
        let (method, params) = (call.method, call.params.clone());
        self.count += 1;
        let id = format!("\"again {}\"", self.count);
        let token = kernel.choice.chance(50).then(|| format!("\"again {}\"", self.count));
        let since = ledger.asked_at(plan.nonce);
        let owned = plan.state.starts_with(OWN);
        if matches!(plan.how, How::Forged | How::Replay) {
            ledger.counts.attacks += 1;
            ledger.ask_in_vain(self.index, &id);
        } else {
            let renews = plan.how == How::Right || plan.how == How::Partly && plan.questions.len() > 1;
            ledger.ask_again(kernel.now, plan.nonce, &id, token.as_deref(), owned, renews);
        }
        let state = match plan.how {
            How::Forged if owned => forged(kernel, &plan.state),
            How::Forged => format!("{}!", plan.state),
            _ => plan.state.clone(),
        };
        let mut answers: Vec<String> = Vec::new();
        for (number, (key, kind, secret)) in plan.questions.iter().enumerate() {
            let key = serde_json::to_string(key).unwrap_or_default();
            match plan.how {
                How::Partly if number == 0 => {}
                How::Misshapen if number == 0 && owned => {
                    let wrong = kernel.choice.pick(&[
                        r#"{"misshapen":true}"#,
                        r#"{"action":"maybe","roots":{},"role":"x","misshapen":true}"#,
                    ]);
                    answers.push(format!("{key}:{wrong}"));
                }
                _ => answers.push(format!(
                    "{key}:{{{}}}",
                    answer_to(
                        kind,
                        &format!(r#""by":{},"nonce":{},"secret":{secret}"#, self.index, plan.nonce)
                    )
                )),
            }
        }
        if kernel.choice.chance(10) && owned {
            answers.push(r#""q99":{"action":"accept","misshapen":true}"#.to_string());
        }
        let state = serde_json::to_string(&state).unwrap_or_default();
        let token = token.map_or(String::new(), |token| format!(r#""progressToken":{token},"#));
        let meta = self.modern_meta();
        let responses = answers.join(",");
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params},"inputResponses":{{{responses}}},"requestState":{state},"_meta":{{{token}{meta}}}}}}}"#
        );
        self.agains.insert(id, Again { plan, since });
        self.say(kernel, &text);
    }

    /// The answer to a request that was made again; whether it is nobody else's to judge.
    pub(super) fn on_again(
        &mut self,
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        id: &str,
        complaint: Option<&str>,
        nonce: Option<u64>,
    ) {
        let Some(Again { plan, since }) = self.agains.remove(id) else { return };
        let owned = plan.state.starts_with(OWN);
        let failed = complaint.is_some() && nonce.is_none();
        let unknown = failed && complaint.is_some_and(|words| words.contains("was used before"));
        let in_vain = matches!(plan.how, How::Forged | How::Replay);
        // What has ended meanwhile is told whatever the answers are, and only once.
        let told_why = plan.how == How::Forged
            || failed && complaint.is_some_and(|words| words.contains("`inputResponses."));
        match plan.how {
            _ if in_vain && !failed => {
                ledger.fail(format!(
                    "client {} had an answer to a state that is no good: {plan:?}",
                    self.index
                ));
            }
            How::Right | How::Partly if unknown && owned => {
                ledger.forgotten(kernel.now, self.index, self.server, plan.nonce, since);
            }
            // The true state is still good.
            How::Forged | How::Misshapen if told_why && kernel.choice.chance(60) => {
                self.plan(kernel, Plan { how: How::Right, ..plan }, 200);
            }
            How::Right if !failed => {
                ledger.counts.continued += u64::from(owned);
                if kernel.choice.chance(20) {
                    self.plan(kernel, Plan { how: How::Replay, ..plan }, 300);
                }
            }
            _ => {}
        }
    }

    /// Tries a state that another client was given.
    pub(super) fn steal(&mut self, kernel: &mut Kernel, ledger: &mut Ledger) {
        let others = ledger
            .loot
            .iter()
            .filter(|loot| loot.server == self.server && !ledger.is_same_principal(loot.client, self.index));
        let others: Vec<Loot> = others.cloned().collect();
        if others.is_empty() {
            return;
        }
        let loot = others[kernel.choice.below(others.len())].clone();
        self.count += 1;
        let id = format!("\"stolen {}\"", self.count);
        ledger.counts.attacks += 1;
        ledger.ask_in_vain(self.index, &id);
        let (method, params, state) = (loot.method, loot.params, loot.state);
        let meta = self.modern_meta();
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params},"inputResponses":{{}},"requestState":"{state}","_meta":{{{meta}}}}}}}"#
        );
        self.say(kernel, &text);
    }

    /// What each of its requests says of it.
    pub(super) fn modern_meta(&self) -> String {
        format!(
            r#""io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{{}}}"#,
            self.capabilities()
        )
    }
}

/// A state like this one that nobody made.
fn forged(kernel: &mut Kernel, state: &str) -> String {
    let last = if state.ends_with('0') { '1' } else { '0' };
    let almost = format!("{}{last}", &state[..state.len() - 1]);
    match kernel.choice.below(3) {
        0 => almost,
        1 => format!("{OWN}0.0"),
        _ => format!("{state}0"),
    }
}

/// Members of a right answer to such a question, and some more.
pub(super) fn answer_to(method: &str, more: &str) -> String {
    let own = match method {
        "elicitation/create" => r#""action":"accept","content":{}"#,
        "sampling/createMessage" => r#""role":"assistant","content":{"type":"text","text":"t"},"model":"m""#,
        _ => r#""roots":[]"#,
    };
    format!("{own},{more}")
}

/// How the states begin that muxloop makes.
const OWN: &str = "muxloop.";
/// So many states are tried by others.
const LOOT_MAX: usize = 12;
