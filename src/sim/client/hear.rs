//! What a client gets: judged by the ledger and by what the client itself asked for.

use super::again::answer_to;
use super::{Client, LEVELS, MODERN, Phase, QUESTIONS, VERSIONS};
use crate::mux::Era;
use crate::sim::kernel::{Kernel, Task};
use crate::sim::ledger::Ledger;
use crate::sim::wire::{Body, Wire};

impl Client {
    /// One line that reached this client.
    pub fn hear(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, line: &str) {
        kernel.trace.add(kernel.now, format_args!("client {} ◀ {line}", self.index));
        let wire = match Wire::parse(line) {
            Ok(wire) => wire,
            Err(why) => return ledger.fail(format!("client {} got no message: {why}: {line}", self.index)),
        };
        let body = wire.body();
        self.refused |= body.muxloop.as_ref().is_some_and(|own| own.reason == "max_active_clients");
        match (wire.method.as_deref(), wire.id()) {
            (Some(method), Some(id)) => self.on_question(kernel, ledger, method, id, &body),
            (Some(method), None) => self.on_notification(ledger, method, &body, line),
            (None, Some(id)) => self.on_answer(kernel, ledger, &wire, id, &body),
            // An error without an id answers something that had none that could be read.
            (None, None) => {}
        }
    }

    fn on_answer(
        &mut self,
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        wire: &Wire<'_>,
        id: &str,
        body: &Body<'_>,
    ) {
        if let Some(listen) = self.listens.get_mut(id) {
            listen.over = true;
            return;
        }
        self.check_form(ledger, wire, id, body);
        if body.result_type.as_deref() == Some("input_required") && self.era == Era::Modern {
            self.on_again(kernel, ledger, id, None, body.nonce);
            return self.on_input_required(kernel, ledger, id, body);
        }
        self.on_again(kernel, ledger, id, wire.complaint(), body.nonce);
        if wire.is_result() || body.nonce.is_some() {
            ledger.result(kernel.now, self.index, id, body.nonce);
        } else {
            ledger.error(self.index, id);
        }
        if let Some(level) = self.level_ids.remove(id) {
            let settled = self.level_ids.is_empty() && wire.is_result() && self.transport.is_ordered();
            self.level = Some(level).filter(|_| settled);
        }
        if self.phase != Phase::Greeting || self.initialize.as_deref() != Some(id) {
            return;
        }
        match body.protocol_version.as_deref() {
            Some(version) => {
                let expected =
                    if VERSIONS[..4].contains(&self.version) { self.version } else { "2025-11-25" };
                if version != expected {
                    ledger.fail(format!("client {} asked for {expected} and got {version}", self.index));
                }
                self.initialize = None;
                self.phase = Phase::Ready;
                self.say(kernel, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
            }
            None if wire.is_result() => {}
            // It may have been another request with the same id; a second `initialize` does no harm.
            None => self.phase = Phase::New,
        }
    }

    /// Results of each era have what it knows, and no more.
    fn check_form(&self, ledger: &mut Ledger, wire: &Wire<'_>, id: &str, body: &Body<'_>) {
        let kind = body.result_type.as_deref();
        let fits = match self.era {
            Era::Legacy => kind.is_none() && body.request_state.is_none() && body.input_requests.is_none(),
            Era::Modern => !wire.is_result() || matches!(kind, Some("complete" | "input_required")),
        };
        if !fits {
            let era = self.era;
            ledger.fail(format!("client {} of {era:?} got a result of another era under {id}", self.index));
        }
    }

    fn on_question(
        &mut self,
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        method: &str,
        id: &str,
        body: &Body<'_>,
    ) {
        if self.era == Era::Modern {
            ledger.fail(format!("client {} of {MODERN} was asked {method}", self.index));
        }
        let kind = QUESTIONS.iter().position(|known| *known == method);
        let capable = kind.is_some_and(|kind| self.can[kind]);
        let of_round = body.round.is_some();
        ledger.question_at_client(kernel.now, self.index, self.server, body.nonce, capable, of_round);
        if kernel.choice.chance(15) {
            return;
        }
        let nonce = body.nonce.unwrap_or(0);
        let by = self.index;
        let secret = body.secret.unwrap_or(0);
        let answer = answer_to(method, &format!(r#""by":{by},"nonce":{nonce},"secret":{secret}"#));
        let text = if kernel.choice.chance(80) {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{{answer}}}}}"#)
        } else {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-1,"message":"no","data":{{"by":{by},"nonce":{nonce}}}}}}}"#
            )
        };
        let at = kernel.now + kernel.choice.between(0, 300);
        self.answers.push((at, text));
        kernel.schedule(at, Task::Client(self.index));
    }

    fn on_notification(&mut self, ledger: &mut Ledger, method: &str, body: &Body<'_>, line: &str) {
        let index = self.index;
        if self.era == Era::Modern && method == "notifications/message" {
            if !self.wants_logs {
                ledger.fail(format!("client {index} never wanted lines, but got {line}"));
            }
            if body.server.is_some() {
                ledger.broadcast(index, self.server, body.server, body.process);
            }
            return ledger.log_line(index, body.nonce);
        }
        if self.era == Era::Modern && method != "notifications/progress" {
            return self.on_listened(ledger, method, body, line);
        }
        match method {
            "notifications/progress" => ledger.progress(index, body.progress_token(), body.nonce),
            "notifications/message" => {
                match body.nonce {
                    Some(_) => ledger.log_line(index, body.nonce),
                    None => ledger.broadcast(index, self.server, body.server, body.process),
                }
                let level = LEVELS.iter().position(|known| Some(*known) == body.level.as_deref());
                // A modern child is told the level with the request.
                if body.nonce.is_none() && self.level.is_some_and(|own| level < Some(own)) {
                    ledger.fail(format!("client {index} at level {:?} got {line}", self.level));
                }
            }
            "notifications/resources/updated" => {
                if body.server.is_some() {
                    ledger.broadcast(index, self.server, body.server, body.process);
                }
                if self.uris.is_empty() {
                    ledger.fail(format!("client {index} has no subscriptions but got {line}"));
                }
            }
            _ if body.subscription().is_some() => {
                ledger.fail(format!("client {index} has no listens but got {line}"));
            }
            "notifications/custom" => ledger.broadcast(index, self.server, body.server, body.process),
            "notifications/cancelled" => {}
            _ if method.ends_with("/list_changed") => {}
            _ => ledger.fail(format!("client {index} got {line}")),
        }
    }

    /// What comes to a 2026-07-28 client comes on a listen, and only what that asked for.
    fn on_listened(&mut self, ledger: &mut Ledger, method: &str, body: &Body<'_>, line: &str) {
        let index = self.index;
        if method == "notifications/cancelled" {
            let known = body.request_id().is_some_and(|id| self.listens.contains_key(id));
            if !known {
                ledger.fail(format!("client {index} got the end of a listen it does not have: {line}"));
            }
            return;
        }
        let Some(listen) = body.subscription().and_then(|id| self.listens.get_mut(id)) else {
            return ledger.fail(format!("client {index} got something on no listen of its own: {line}"));
        };
        ledger.counts.listened += 1;
        if body.server.is_some() {
            ledger.broadcast(index, self.server, body.server, body.process);
        }
        let wanted = match method {
            "notifications/subscriptions/acknowledged" => {
                if std::mem::replace(&mut listen.acknowledged, true) {
                    ledger.fail(format!("client {index} got two acknowledgements: {line}"));
                }
                return;
            }
            "notifications/tools/list_changed" => listen.filter.contains("tools"),
            "notifications/prompts/list_changed" => listen.filter.contains("prompts"),
            "notifications/resources/updated" => {
                body.uri.as_deref().is_some_and(|uri| listen.filter.contains(&format!("\"{uri}\"")))
            }
            _ => false,
        };
        if !wanted || !listen.acknowledged {
            ledger.fail(format!("client {index} did not ask for {line} (asked for {})", listen.filter));
        }
    }
}
