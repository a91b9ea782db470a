//! Where the HTTP front listens: opened at the start, changed by a reload.

use crate::capture::Tape;
#[cfg(feature = "gateway")]
use crate::config::gateway::{NAME, of_profile};
use crate::config::http::{Address, HttpConfig};
use crate::config::{Config, ServerConfig};
use crate::engine::Engine;
use crate::front::{Guard, Routes, Settings};
use crate::reactor::Reactor;
use std::collections::{BTreeMap, BTreeSet};

/// The listeners of the front.
#[derive(Debug, Default)]
pub(super) struct HttpDoors {
    open: Vec<(Address, usize)>,
}

impl HttpDoors {
    /// Opens what the configuration names and is not open yet, then closes what it does not name any more;
    /// nothing changes if one cannot be opened.
    ///
    /// # Errors
    /// In words that name the address and what is wrong with it.
    pub(super) fn change(
        &mut self,
        engine: &mut Engine,
        reactor: &mut Reactor,
        config: &Config,
        tape: &Tape,
    ) -> Result<(), String> {
        let wanted = &config.http.listen;
        let mut fresh = Vec::new();
        for address in wanted.iter().filter(|address| !self.open.iter().any(|(open, _)| open == *address)) {
            match listen(reactor, address) {
                Ok(listener) => fresh.push((address.clone(), listener)),
                Err(why) => {
                    fresh.iter().for_each(|(_, listener)| reactor.stop_listening(*listener));
                    return Err(why);
                }
            }
        }
        if !wanted.is_empty() || !self.open.is_empty() {
            let settings = settings(config, engine);
            tape.open_http(&settings);
            engine.open_http(settings);
        }
        for (address, listener) in &fresh {
            tape.open_http_door(*listener, address.is_local());
            engine.open_http_door(*listener, address.is_local());
        }
        let (kept, gone) = std::mem::take(&mut self.open)
            .into_iter()
            .partition::<Vec<_>, _>(|(address, _)| wanted.contains(address));
        for (_, listener) in gone {
            tape.close_http_door(listener);
            engine.close_http_door(listener);
            reactor.stop_listening(listener);
        }
        self.open = kept;
        self.open.extend(fresh);
        Ok(())
    }

    /// The first port on which it listens.
    #[cfg(all(feature = "control", feature = "gateway"))]
    pub(super) fn port(&self, reactor: &Reactor) -> Option<u16> {
        self.open.iter().find_map(|(_, listener)| reactor.port(*listener))
    }

    /// Lets nobody else connect: at the end, clients and load balancers are to go elsewhere at once, and the
    /// next muxloop can have the address.
    pub(super) fn close(&mut self, reactor: &mut Reactor) {
        for (_, listener) in std::mem::take(&mut self.open) {
            reactor.stop_listening(listener);
        }
    }
}

pub(super) fn listen(reactor: &mut Reactor, address: &Address) -> Result<usize, String> {
    let refused = |error: std::io::Error| format!("http: cannot listen on {address}: {error}");
    let (listener, shown) = match address {
        Address::Tcp(address) => {
            let (listener, bound) = reactor.listen_tcp(*address).map_err(refused)?;
            (listener, Address::Tcp(bound))
        }
        Address::Unix(path) => {
            (reactor.listen(path).map_err(|error| format!("http: {error}"))?, address.clone())
        }
    };
    log::info!(target: "http", "listening on {shown}");
    Ok(listener)
}

/// What the front is to know.
fn settings(config: &Config, engine: &Engine) -> Settings {
    let HttpConfig { token, origins, hosts, session_timeout_ms, max_sessions, .. } = config.http.clone();
    let id = |server: &ServerConfig| engine.server_named(&server.policy.name);
    let known = || config.servers.iter().filter_map(|server| Some((server, id(server)?)));
    #[cfg_attr(not(feature = "gateway"), expect(unused_mut))]
    let mut routes = Routes::of_servers(known().map(|(server, id)| (server.policy.name.as_str(), id)));
    #[cfg_attr(not(feature = "gateway"), expect(unused_mut))]
    let mut body_max: BTreeMap<_, _> =
        known().map(|(server, id)| (id, server.policy.max_request_bytes)).collect();
    #[cfg(feature = "gateway")]
    {
        // What the largest of the servers takes.
        let largest = body_max.values().copied().max().unwrap_or_default();
        let mut add = |merged| _ = body_max.insert(merged, largest);
        if let Some(merged) = engine.merged_server(NAME) {
            routes.add_merged(merged);
            add(merged);
        }
        for profile in &config.profiles {
            if let Some(merged) = engine.merged_server(&of_profile(&profile.name)) {
                routes.add_profile(&profile.name, merged);
                add(merged);
            }
        }
    }
    Settings {
        routes,
        guard: Guard { token, origins, hosts },
        body_max,
        session_timeout_ms,
        max_sessions: max_sessions as usize,
        stateless: BTreeSet::new(),
    }
}

/// Says aloud what is open to everybody.
pub(super) fn warn_of_exposure(http: &HttpConfig) {
    let open = http.listen.iter().find(|address| !address.is_local());
    if let (Some(address), None) = (open, &http.token) {
        log::warn!(
            target: "http",
            "{address} has no token: whoever reaches it can call every tool of every server"
        );
    }
}
