//! The HTTP front of a world.

use super::World;
use crate::front::{Guard, Routes, Settings};
use crate::sim::choice::Choice;
use crate::sim::setup::Setup;
use crate::sim::web::Terms;
use std::collections::BTreeSet;

/// More sessions than there ever are.
const ENOUGH: usize = 20;

/// What its front is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http {
    pub session_timeout_ms: u64,
    max_sessions: usize,
}

impl Http {
    pub fn draw(choice: &mut Choice) -> Http {
        Http { session_timeout_ms: choice.pick(&[2_000, 8_000]), max_sessions: choice.pick(&[2, 25, 25]) }
    }

    /// What clients of a server must know. The front's listener comes after those of the servers.
    pub fn terms(self, setups: &[Setup], server: usize) -> Terms {
        let policy = &setups[server].policy;
        Terms {
            listener: setups.len(),
            body_max: policy.max_request_bytes,
            session_timeout_ms: self.session_timeout_ms,
            crowded: self.max_sessions < ENOUGH || policy.max_active_clients < ENOUGH,
        }
    }
}

impl World {
    pub(super) fn open_http(&mut self) {
        self.configure_http();
        self.tape.open_http_door(self.setups.len(), true);
        self.engine.open_http_door(self.setups.len(), true);
    }

    /// Tells the front which servers there are.
    pub(super) fn configure_http(&mut self) {
        let names =
            self.setups.iter().map(|setup| (setup.policy.name.as_str(), setup.policy.max_request_bytes));
        let known: Vec<_> =
            names.filter_map(|(name, limit)| Some((name, self.engine.server_named(name)?, limit))).collect();
        let settings = Settings {
            routes: Routes::of_servers(known.iter().map(|(name, id, _)| (*name, *id))),
            guard: Guard::default(),
            body_max: known.iter().map(|(_, id, limit)| (*id, *limit)).collect(),
            session_timeout_ms: self.http.session_timeout_ms,
            max_sessions: self.http.max_sessions,
            stateless: BTreeSet::new(),
        };
        self.tape.open_http(&settings);
        self.engine.open_http(settings);
    }

    /// What the front still holds.
    pub(super) fn http_leftovers(&self) -> Option<String> {
        let sizes = self.engine.http_sizes();
        (sizes != Default::default()).then(|| format!("the front still holds {sizes:?}"))
    }
}
