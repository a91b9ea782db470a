//! In place of `snapshot.rs` in a build without the feature `control`: no status files.

use crate::base::Time;
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::port::Platform;

pub(super) struct Snapshots;

impl Snapshots {
    pub(super) fn of(config: &Config) -> Snapshots {
        if config.status_file.is_some() || config.servers.iter().any(|server| server.status_file.is_some()) {
            log::warn!(target: "muxloop", "status_file: not in this build of muxloop; it needs the feature `control`");
        }
        Snapshots
    }

    pub(super) fn change(&mut self, config: &Config) {
        *self = Snapshots::of(config);
    }

    pub(super) fn due(&self) -> Option<Time> {
        None
    }

    pub(super) fn keep(&mut self, _now: Time, _engine: &Engine, _platform: &dyn Platform) {}

    pub(super) fn last(&mut self, _now: Time, _engine: &Engine, _platform: &dyn Platform) {}
}
