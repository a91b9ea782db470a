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
            (choice.below(self.setups.len()), choice.below(6))
        };
        let Some(id) = self.engine.server_named(&self.setups[server].policy.name) else {
            return self.ledger.fail(format!("server {server} is not there"));
        };
        let words = ["start", "stop", "restart", "change", "replace", "restart all"];
        self.kernel.borrow_mut().trace.add(now, format_args!("operator: {} server {server}", words[verb]));
        self.ledger.counts.orders += 1;
        match verb {
            0 => self.engine.start_server(now, id),
            1 => self.engine.stop_server(now, id),
            2 => self.engine.restart_server(now, id),
            3 => self.engine.change_server(now, id, self.setups[server].for_engine(server)),
            4 => self.replace(now, server),
            _ => self.restart_all(now),
        }
    }

    fn restart_all(&mut self, now: Time) {
        for server in 0..self.setups.len() {
            if let Some(id) = self.engine.server_named(&self.setups[server].policy.name) {
                self.engine.restart_server(now, id);
            }
        }
    }

    /// A server is taken out, and another of the same name comes in its place.
    fn replace(&mut self, now: Time, server: usize) {
        let Some(id) = self.engine.server_named(&self.setups[server].policy.name) else { return };
        self.released.extend((0..self.clients.len()).filter(|at| self.clients[*at].server == server));
        self.engine.retire_server(now, id);
        let id = self.engine.add_server(self.setups[server].for_engine(server), server);
        self.engine.begin_server(now, id);
    }

    /// Before the calm: some of what was stopped is started again.
    pub(super) fn make_up(&mut self) {
        let now = self.kernel.borrow().now;
        for server in 0..self.setups.len() {
            let starts = self.kernel.borrow_mut().choice.chance(50);
            if let Some(id) = self.engine.server_named(&self.setups[server].policy.name).filter(|_| starts) {
                self.engine.start_server(now, id);
            }
        }
    }

    /// The stop: at once, or by a drain.
    pub(super) fn dismiss(&mut self, now: Time) {
        if self.kernel.borrow_mut().choice.chance(30) {
            let timeout_ms = self.kernel.borrow_mut().choice.between(0, 1_000);
            self.kernel.borrow_mut().trace.add(now, format_args!("operator: drain in {timeout_ms} ms"));
            self.engine.drain_clients(now, timeout_ms);
        } else {
            self.engine.stop(now);
        }
    }
}
