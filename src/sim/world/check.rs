//! What must be there, and what must not be left.

use super::World;

impl World {
    pub(super) fn check_end(&mut self) {
        let kernel = self.kernel.borrow();
        let running = kernel.processes.iter().filter(|process| process.alive).count();
        let unswept = kernel.processes.iter().filter(|process| !process.alive && !process.swept).count();
        let sizes = self.engine.mux().sizes();
        let leftovers = [
            ("unfinished", usize::from(!self.engine.is_finished())),
            ("processes", running),
            ("processes that were not swept", unswept),
            ("connections", self.engine.connections()),
            ("registered streams", kernel.registered()),
            ("peers", sizes.peers),
            ("requests", sizes.requests),
            ("questions", sizes.reverse),
            ("suspended calls", sizes.suspended),
            ("owners", sizes.owners),
            ("links", sizes.links),
            ("timers", sizes.timers),
            ("unwritten bytes", self.engine.unwritten()),
        ];
        for (what, count) in leftovers.into_iter().filter(|(_, count)| *count > 0) {
            self.ledger.violations.push(format!("after the stop there remain: {what}, {count}"));
        }
        #[cfg(feature = "http")]
        self.ledger.violations.extend(self.http_leftovers());
    }

    /// Tables hold what is there and no more. `alone`: no client is left.
    pub(super) fn check_sizes(&mut self, alone: bool) {
        if self.broken() {
            return;
        }
        let sizes = self.engine.mux().sizes();
        let children = self.engine.pids().len();
        let clients = self.engine.connections() - 2 * children;
        let mut wrong = Vec::new();
        if sizes.peers > clients || (alone && clients > 0) {
            wrong.push(format!("{} peers, {clients} connections of clients", sizes.peers));
        }
        if sizes.links > sizes.peers + children {
            wrong.push(format!("{} links of {} peers and {children} children", sizes.links, sizes.peers));
        }
        // Own requests: a heartbeat, a level, a listen and its successor, a subscription's end.
        let own = 8 * sizes.instances;
        if alone && sizes.requests > own {
            wrong.push(format!("{} requests without a client", sizes.requests));
        }
        if alone && sizes.reverse + sizes.owners + sizes.suspended > 0 {
            wrong.push(format!("without a client: {sizes:?}"));
        }
        for setup in self.setups.iter().filter(|setup| alone && setup.policy.is_per_client()) {
            let status = self.engine.mux().status(self.kernel.borrow().now);
            // What guests had in common of a server that was replaced has its place until that is taken.
            let rests = |state| {
                state == "stopping"
                    || state == "stopped" && self.ledger.may_have_forgotten(&setup.policy.name)
            };
            let mine = status.iter().filter(|i| i.server == setup.policy.name && !rests(i.state));
            let (count, spare) = (mine.count(), setup.policy.spare);
            // Clients whose requests stand for themselves have one in common, which stays for a while.
            let for_guests = usize::from(!setup.policy.is_per_request() && !setup.policy.guests_apart);
            if count > spare + for_guests {
                wrong.push(format!("without a client: {count} instances, {spare} spares: {status:?}"));
            }
        }
        let unwritten = self.engine.unwritten();
        if unwritten > 0 {
            wrong.push(format!("{unwritten} bytes are unwritten, though everybody reads"));
        }
        let surplus = self.surplus_timers(alone);
        if surplus > 0 {
            wrong.push(format!("{surplus} timers too many: {sizes:?}"));
        }
        #[cfg(feature = "http")]
        if alone {
            wrong.extend(self.http_leftovers());
        }
        self.ledger.violations.extend(wrong);
    }

    /// Timers beyond those that are accounted for.
    pub(super) fn surplus_timers(&self, alone: bool) -> usize {
        let sizes = self.engine.mux().sizes();
        // A heartbeat, an idle stop and a level to be lowered each; a restart, a step of a stop, or a list that changed now and then.
        let status = self.engine.mux().status(self.kernel.borrow().now);
        let unsettled = status.iter().filter(|instance| instance.state != "ready").count();
        let regular = |server: &str| {
            let policy = self.setups.iter().map(|setup| &setup.policy).find(|policy| policy.name == server);
            policy.map_or(0, |p| {
                // What guests have in common is stopped when it is idle.
                let stops = p.idle_stop_ms.is_some() || p.is_per_client();
                1 + usize::from(p.heartbeat.is_some()) + usize::from(stops)
            })
        };
        let regular: usize = status.iter().map(|instance| regular(&instance.server)).sum();
        let now_and_then = 2 * unsettled + if alone { 0 } else { 4 * sizes.instances };
        let timers = sizes.requests + sizes.reverse + regular + now_and_then + 2 * sizes.peers;
        sizes.timers.saturating_sub(timers)
    }
}
