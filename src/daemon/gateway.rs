//! The merged endpoint of the daemon (H01): one more server of the engine, made of the configured ones.

use crate::base::limits;
use crate::capture::Tape;
use crate::cli::RunOptions;
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
    /// Whatever the configuration says.
    is_wanted: bool,
    /// The profile that it is of.
    profile: Option<String>,
}

impl Endpoint {
    /// What `muxloop serve` makes of it; none yet.
    ///
    /// # Errors
    /// There is no such profile; the known ones are listed.
    pub(super) fn of(options: &RunOptions, config: &Config) -> Result<Endpoint, String> {
        let Some(serve) = &options.serve else { return Ok(Endpoint::default()) };
        let known = || config.profiles.iter().map(|profile| profile.name.as_str());
        if let Some(name) = serve.profile.as_deref().filter(|name| !known().any(|known| known == *name)) {
            let list = known().collect::<Vec<_>>().join(", ");
            let list = if list.is_empty() { "none".to_owned() } else { list };
            return Err(format!("--profile: no profile '{name}', the file has: {list}"));
        }
        Ok(Endpoint { made_of: None, is_wanted: true, profile: serve.profile.clone() })
    }

    /// Makes the endpoint if the configuration has one, once the engine has its servers; makes it anew only if
    /// it is of other things than before, since its clients are cut off then.
    pub(super) fn change(
        &mut self,
        engine: &mut Engine,
        reactor: &mut Reactor,
        config: &Config,
        tape: &Tape,
    ) {
        if !(self.is_wanted || config.has_merged_endpoint()) && self.made_of.is_none() {
            return;
        }
        if tape.is_on() {
            log::warn!(target: "gateway", "a recording has no merged endpoint, so there is none now");
            return;
        }
        let Some(setup) = config.gateway_setup(self.profile.as_deref(), |name| engine.server_named(name))
        else {
            return;
        };
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
