//! `muxloop serve` (H01): who reaches the merged endpoint besides by HTTP, and when that is over.

use crate::base::{Key, Time};
use crate::cli::ServeOptions;
use crate::config::Surroundings;
use crate::engine::Engine;
use crate::reactor::Reactor;
use crate::reactor::standard::Standard;

/// The ways in.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// The host on standard input and output.
    host: Option<Key>,
}

impl Serving {
    /// Opens them; the merged endpoint is there.
    ///
    /// # Errors
    /// In words that name what cannot be had.
    pub(super) fn open(
        options: &ServeOptions,
        surroundings: &Surroundings,
        engine: &mut Engine,
        reactor: &mut Reactor,
    ) -> Result<Serving, String> {
        let merged = engine.merged_server().ok_or("there is no endpoint of all servers")?;
        if let Some(path) = &options.socket {
            let path = match path.to_str() {
                Some(text) => surroundings.expand(text).map_err(|why| format!("--socket {text}: {why}"))?,
                None => path.clone(),
            };
            let listener = reactor.listen(&path).map_err(|error| format!("--socket: {error}"))?;
            log::info!(target: "gateway", "listening on {}", path.display());
            engine.open_door(listener, merged);
        }
        let mut serving = Serving::default();
        if options.stdio {
            let host = Standard::open().map_err(|error| format!("standard input and output: {error}"))?;
            let now = reactor.clock.now();
            let host = engine.admit(now, Box::new(host), merged, reactor);
            serving.host = Some(host.ok_or("standard input and output cannot be watched")?);
        }
        Ok(serving)
    }

    /// After a turn: without its host, the process has nothing to do.
    pub(super) fn keep(&mut self, now: Time, engine: &mut Engine) {
        if self.host.is_some_and(|host| !engine.is_connected(host)) {
            self.host = None;
            log::info!(target: "muxloop", "the host has closed standard input and has all answers");
            engine.stop(now);
        }
    }
}
