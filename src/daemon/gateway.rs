//! The merged endpoint of the daemon (H01): one more server of the engine, made of the configured ones.

use crate::base::limits;
use crate::capture::Tape;
use crate::config::Config;
use crate::config::gateway::NAME;
use crate::engine::port::SpawnSpec;
use crate::engine::{Engine, ServerSetup};
use crate::gateway::Setup;
use crate::mux::policy::{EraPolicy, ServerPolicy};
use crate::reactor::Reactor;

/// What the endpoint is made of.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    made_of: Option<Setup>,
}

impl Endpoint {
    /// Makes the endpoint if the configuration has one, once the engine has its servers; makes it anew only if
    /// it is of other things than before, since its clients are cut off then.
    pub(super) fn change(
        &mut self,
        engine: &mut Engine,
        reactor: &mut Reactor,
        config: &Config,
        tape: &Tape,
    ) {
        if !config.has_merged_endpoint() && self.made_of.is_none() {
            return;
        }
        if tape.is_on() {
            log::warn!(target: "gateway", "a recording has no merged endpoint, so there is none now");
            return;
        }
        let Some(setup) = config.gateway_setup(None, |name| engine.server_named(name)) else { return };
        if self.made_of.as_ref() == Some(&setup) {
            return;
        }
        let now = reactor.clock.now();
        engine.merge(now, server(), setup.clone(), reactor);
        self.made_of = Some(setup);
    }
}

/// The endpoint as a server.
fn server() -> ServerSetup {
    let policy = ServerPolicy {
        max_active_clients: CLIENTS_MAX,
        max_in_flight_per_client: limits::REQUESTS_PER_CLIENT,
        lazy_start: true,
        // The servers behind it have times of their own.
        request_timeout_ms: DAY_MS,
        request_timeout_max_ms: DAY_MS,
        heartbeat: None,
        era: EraPolicy::Modern,
        ..ServerPolicy::new(NAME)
    };
    ServerSetup {
        policy,
        spawn: SpawnSpec::default(),
        socket: String::new(),
        service_name: "All servers".into(),
    }
}

const CLIENTS_MAX: usize = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
