//! The merged endpoints of the daemon: that of all servers (H01) and those of the profiles (H08), each one more
//! server of the engine, made of the configured ones.

use crate::base::{Time, limits};
use crate::capture::{Recorder, Tape};
use crate::config::Config;
use crate::config::gateway::{NAME, of_profile};
use crate::engine::port::SpawnSpec;
use crate::engine::{Engine, ServerSetup};
use crate::gateway::Setup;
use crate::mux::ServerId;
use crate::mux::policy::{EraPolicy, ServerPolicy};
use crate::reactor::Reactor;
use std::collections::BTreeMap;

/// The endpoints by the names of their servers, with what each is made of.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    made_of: BTreeMap<String, Setup>,
}

impl Endpoints {
    /// Makes the endpoints that the configuration has, once the engine has its servers; makes one anew only if
    /// it is of other things than before. Those that it has no more take no more clients.
    pub(super) fn change(
        &mut self,
        now: Time,
        engine: &mut Engine,
        reactor: &mut Reactor,
        config: &Config,
        tape: &Tape,
    ) {
        let wanted = wanted(config, engine);
        for name in self.made_of.keys().filter(|name| !wanted.contains_key(*name)) {
            tape.unmerge(now, name);
            engine.unmerge(now, name);
        }
        for (name, parts) in &wanted {
            if self.made_of.get(name) == Some(parts) {
                continue;
            }
            let setup = server(name);
            tape.merge(now, &setup, parts);
            match tape.is_on() {
                false => engine.merge(now, setup, parts.clone(), reactor),
                true => engine.merge(now, setup, parts.clone(), &mut Recorder::new(reactor, tape)),
            };
        }
        self.made_of = wanted;
    }
}

/// Tells the endpoints that these servers do other things than before.
pub(super) fn ask_again(
    now: Time,
    servers: Vec<ServerId>,
    engine: &mut Engine,
    reactor: &mut Reactor,
    tape: &Tape,
) {
    for id in servers {
        tape.on_server_changed(now, id);
        match tape.is_on() {
            false => engine.on_server_changed(now, id, reactor),
            true => engine.on_server_changed(now, id, &mut Recorder::new(reactor, tape)),
        }
    }
}

/// What each endpoint is to be made of.
fn wanted(config: &Config, engine: &Engine) -> BTreeMap<String, Setup> {
    let setup = |profile| config.gateway_setup(profile, |name| engine.server_named(name));
    let endpoints = config.endpoints().into_iter();
    let endpoints = endpoints
        .filter_map(|profile| Some((profile.map_or_else(|| NAME.to_owned(), of_profile), setup(profile)?)));
    endpoints.collect()
}

/// An endpoint as a server.
fn server(name: &str) -> ServerSetup {
    let policy = ServerPolicy {
        max_active_clients: CLIENTS_MAX,
        max_in_flight_per_client: limits::REQUESTS_PER_CLIENT,
        lazy_start: true,
        startup_timeout_ms: DAY_MS,
        // The servers behind it have times of their own.
        request_timeout_ms: DAY_MS,
        request_timeout_max_ms: DAY_MS,
        heartbeat: None,
        era: EraPolicy::Modern,
        ..ServerPolicy::new(name)
    };
    ServerSetup {
        policy,
        spawn: SpawnSpec::default(),
        socket: String::new(),
        service_name: match name {
            NAME => "All servers".into(),
            _ => "A profile".into(),
        },
    }
}

const CLIENTS_MAX: usize = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
