//! What a process gets: what it does about it, and what should never have come.

use super::{Child, Eras, Job, discovered};
use crate::engine::port::ExitStatus;
use crate::mux::Era;
use crate::sim::kernel::{Kernel, Task};
use crate::sim::ledger::Ledger;
use crate::sim::wire::{Body, Wire};

impl Child {
    /// One line that reached it.
    pub fn hear(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, line: &str) {
        if !kernel.processes[self.index].alive {
            return;
        }
        kernel.trace.add(kernel.now, format_args!("process {} ◀ {line}", self.index));
        let wire = match Wire::parse(line) {
            Ok(wire) => wire,
            Err(why) => return ledger.fail(format!("process {} got no message: {why}: {line}", self.index)),
        };
        let body = wire.body();
        match (wire.method.as_deref(), wire.id()) {
            (Some(method), Some(id)) => self.on_request(kernel, ledger, method, id, &body),
            (Some(method), None) => self.on_notification(kernel, ledger, method, &body),
            (None, Some(id)) => {
                if wire.complaint().is_some_and(|words| words.contains("cannot be told")) {
                    ledger.fail(format!("process {} could mean several clients by {id}", self.index));
                }
                self.on_answer(kernel, ledger, id, &body);
            }
            (None, None) => ledger.fail(format!("process {} got {line}", self.index)),
        }
    }

    fn on_request(
        &mut self,
        kernel: &mut Kernel,
        ledger: &mut Ledger,
        method: &str,
        id: &str,
        body: &Body<'_>,
    ) {
        let index = self.index;
        match id.parse::<u64>() {
            Ok(number) if self.ids.insert(number) => {}
            _ => ledger.fail(format!("process {index} got the id {id} again, or one that is not muxloop's")),
        }
        let handshake = matches!(method, "initialize" | "server/discover");
        let era = if method == "initialize" || !body.is_modern() { Era::Legacy } else { Era::Modern };
        if !handshake && self.era != Some(era) {
            ledger.fail(format!("process {index} speaks {:?} and got {method} in {era:?}", self.era));
        }
        if !handshake && !self.initialized {
            ledger.fail(format!("process {index} got {method} before its handshake was done"));
        }
        if let Some(nonce) = body.nonce {
            let server = kernel.processes[index].server;
            let again = match body.request_state.as_deref() {
                Some(state) if !ledger.round_at_child(index, nonce, state, &body.responses()) => {
                    let why = r#""error":{"code":-32602,"message":"unknown state"}"#;
                    return self.say(kernel, &format!(r#"{{"jsonrpc":"2.0","id":{id},{why}}}"#));
                }
                state => state.is_some(),
            };
            if again && self.era != Some(Era::Modern) {
                ledger.fail(format!("process {index} of an older era got a state"));
            }
            ledger.at_child(index, server, nonce, again);
        }
        match method {
            "initialize" | "server/discover" => self.on_handshake(kernel, ledger, era, id),
            "ping" if self.nature.deaf_to_ping => {}
            "resources/subscribe" => {
                self.subscribing.extend(body.uri.clone().map(|uri| (id.to_string(), uri)));
                if body.uri.clone().is_some_and(|uri| !self.subscribed.insert(uri)) {
                    ledger.fail(format!("process {index} was subscribed twice to {:?}", body.uri));
                }
                self.take_on(kernel, ledger, method, id, body);
            }
            "resources/unsubscribe" => {
                if let Some(uri) = &body.uri {
                    self.subscribed.remove(uri);
                }
                self.take_on(kernel, ledger, method, id, body);
            }
            "subscriptions/listen" => {
                let filter = body.notifications.map_or("{}", |filter| filter.get());
                self.listens.push(id.to_string());
                self.say(
                    kernel,
                    &format!(
                        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{filter}}}}}"#
                    ),
                );
            }
            _ => self.take_on(kernel, ledger, method, id, body),
        }
    }

    fn on_handshake(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, era: Era, id: &str) {
        let index = self.index;
        if era == Era::Legacy && std::mem::replace(&mut self.greeted, true) {
            ledger.fail(format!("process {index} was greeted twice"));
        }
        if self.nature.hangs_on_start {
            return;
        }
        let pinned = self.era.is_some_and(|own| own != era);
        let speaks = match self.nature.eras {
            Eras::Both => !pinned,
            Eras::Modern => era == Era::Modern,
            _ => era == Era::Legacy,
        };
        if !speaks {
            match self.nature.eras {
                Eras::LegacySilent => {}
                Eras::LegacyFragile => kernel.exit(index, ExitStatus::Code(1)),
                _ => self.say(
                    kernel,
                    &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"what?"}}}}"#),
                ),
            }
            return;
        }
        self.era = Some(era);
        if era == Era::Modern {
            self.initialized = true;
            return self.say(kernel, &discovered(id));
        }
        self.say(
            kernel,
            &format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"protocolVersion":"2025-11-25","capabilities":{{"logging":{{}},"tools":{{"listChanged":true}},"resources":{{"subscribe":true}}}},"serverInfo":{{"name":"s","version":"1"}}}}}}"#
            ),
        );
    }

    fn take_on(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, method: &str, id: &str, body: &Body<'_>) {
        if body.nonce.is_some() && kernel.choice.chance(self.nature.silent) {
            return;
        }
        let due = kernel.now + kernel.choice.between(0, self.nature.late_ms);
        let mut job = Job {
            id: id.to_string(),
            nonce: body.nonce,
            token: body.token().map(String::from),
            logs: body.meta.as_ref().is_some_and(|meta| meta.log_level.is_some()),
            method: method.to_string(),
            due,
            progress_left: kernel.choice.below(4) as u32,
            waits: Vec::new(),
            more: 0,
            round: None,
            cancelled: false,
        };
        if let Some(nonce) = body.nonce
            && matches!(method, "tools/call" | "prompts/get" | "resources/read")
            && kernel.choice.chance(self.nature.asks)
        {
            match self.era {
                Some(Era::Modern) => job.round = Some(self.ask_by_answer(kernel, ledger, id, nonce, body)),
                _ => {
                    job.more = kernel.choice.pick(&[0, 0, 1, 2]);
                    self.ask_more(kernel, ledger, &mut job);
                }
            }
        }
        self.jobs.push(job);
        kernel.schedule(due, Task::Process(self.index));
    }

    fn on_notification(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, method: &str, body: &Body<'_>) {
        match method {
            "notifications/initialized" => {
                let again = std::mem::replace(&mut self.initialized, true);
                if again || !self.greeted {
                    ledger.fail(format!("process {} got {method} out of place", self.index));
                }
            }
            "notifications/cancelled" => self.on_cancel(kernel, ledger, body),
            _ => {}
        }
    }

    fn on_cancel(&mut self, kernel: &mut Kernel, ledger: &mut Ledger, body: &Body<'_>) {
        let Some(id) = body.request_id() else {
            return ledger.fail(format!("process {} got a cancel of nothing", self.index));
        };
        if id.parse::<u64>().ok().is_none_or(|id| !self.ids.contains(&id)) {
            ledger.fail(format!("process {} got a cancel of {id}, which it does not know", self.index));
        }
        self.listens.retain(|listen| listen != id);
        if let Some(uri) = self.subscribing.remove(id) {
            self.subscribed.remove(&uri);
        }
        let Some(at) = self.jobs.iter().position(|job| job.id == id) else { return };
        if let Some(nonce) = self.jobs[at].nonce {
            ledger.cancelled_at_child(nonce);
        }
        for question in std::mem::take(&mut self.jobs[at].waits) {
            if !kernel.choice.chance(50) {
                continue;
            }
            ledger.take_back(self.index, &question);
            self.say(
                kernel,
                &format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{question}}}}}"#),
            );
        }
        self.jobs[at].cancelled = true;
        if !self.nature.heedless {
            self.jobs.swap_remove(at);
        }
    }
}
