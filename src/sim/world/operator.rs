//! The operator of a world: starts, stops, restarts, changes and replaces servers while they are used.

use super::World;
use crate::base::Time;

/// When the operator does something next, if there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator {
    next: Option<Time>,
}

impl World {
    /// In half of all worlds somebody operates.
    pub(super) fn hire_operator(&mut self) -> Operator {
        let choice = &mut self.kernel.borrow_mut().choice;
        Operator { next: choice.chance(50).then(|| Time(choice.between(0, 2_000))) }
    }

    /// Does what is due; when the next is.
    pub(super) fn operate(&mut self, operator: &mut Operator) -> Option<Time> {
        let now = self.kernel.borrow().now;
        let due = operator.next.is_some_and(|next| next <= now);
        if due {
            self.meddle(now);
            operator.next = Some(now + self.kernel.borrow_mut().choice.between(1, 1_500));
        }
        operator.next
    }

    fn meddle(&mut self, now: Time) {
        let (server, verb) = {
            let choice = &mut self.kernel.borrow_mut().choice;
            (choice.below(self.setups.len()), choice.below(7))
        };
        let Some(id) = self.engine.server_named(&self.setups[server].policy.name) else {
            return self.ledger.fail(format!("server {server} is not there"));
        };
        let words = ["start", "stop", "restart", "change", "replace", "spares of", "restart all"];
        self.kernel.borrow_mut().trace.add(now, format_args!("operator: {} server {server}", words[verb]));
        self.ledger.counts.orders += 1;
        match verb {
            0 => self.start(now, id),
            1 => {
                self.tape.steer(now, id, "stop");
                self.engine.stop_server(now, id);
            }
            2 => self.restart(now, id),
            3 => {
                let setup = self.setups[server].for_engine(server);
                self.tape.change_server(now, id, &setup);
                self.engine.change_server(now, id, setup);
            }
            4 => self.replace(now, server),
            5 => {
                self.setups[server].policy.spare = self.kernel.borrow_mut().choice.below(4);
                let setup = self.setups[server].for_engine(server);
                self.tape.change_server(now, id, &setup);
                self.engine.change_server(now, id, setup);
            }
            _ => self.restart_all(now),
        }
    }

    fn restart_all(&mut self, now: Time) {
        for server in 0..self.setups.len() {
            if let Some(id) = self.engine.server_named(&self.setups[server].policy.name) {
                self.restart(now, id);
            }
        }
    }

    fn start(&mut self, now: Time, id: usize) {
        self.tape.steer(now, id, "start");
        self.engine.start_server(now, id);
    }

    fn restart(&mut self, now: Time, id: usize) {
        self.tape.steer(now, id, "restart");
        self.engine.restart_server(now, id);
    }

    /// A server is taken out, and another of the same name comes in its place.
    fn replace(&mut self, now: Time, server: usize) {
        let Some(id) = self.engine.server_named(&self.setups[server].policy.name) else { return };
        self.released.extend((0..self.clients.len()).filter(|at| self.clients[*at].server == server));
        self.ledger.may_forget(server);
        self.tape.retire_server(now, id);
        self.engine.retire_server(now, id);
        let setup = self.setups[server].for_engine(server);
        self.tape.add_server(&setup, server);
        let id = self.engine.add_server(setup, server);
        self.tape.begin_server(now, id);
        self.engine.begin_server(now, id);
        #[cfg(feature = "http")]
        self.configure_http();
    }

    /// Before the calm: some of what was stopped is started again.
    pub(super) fn make_up(&mut self) {
        let now = self.kernel.borrow().now;
        for server in 0..self.setups.len() {
            let starts = self.kernel.borrow_mut().choice.chance(50);
            if let Some(id) = self.engine.server_named(&self.setups[server].policy.name).filter(|_| starts) {
                self.start(now, id);
            }
        }
    }

    /// The stop: at once, or by a drain.
    pub(super) fn dismiss(&mut self, now: Time) {
        (0..self.setups.len()).for_each(|server| self.ledger.may_forget(server));
        if self.kernel.borrow_mut().choice.chance(30) {
            let timeout_ms = self.kernel.borrow_mut().choice.between(0, 1_000);
            self.kernel.borrow_mut().trace.add(now, format_args!("operator: drain in {timeout_ms} ms"));
            self.tape.drain(now, timeout_ms);
            self.engine.drain_clients(now, timeout_ms);
        } else {
            self.tape.stop(now);
            self.engine.stop(now);
        }
    }
}
