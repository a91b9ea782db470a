//! Reload (A08): the configuration is read again, and only what changed is touched.

use super::{Daemon, listen, login, setup};
use crate::base::Time;
use crate::config::{Config, ServerConfig};
use crate::engine::operate::Ticket;
#[cfg(feature = "control")]
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a reload did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    unchanged: Vec<String>,
    warnings: Vec<String>,
}

/// What becomes of a server that is in both files.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Unchanged,
    /// Only what muxloop says of it.
    Renamed,
    /// Its processes.
    Restart,
    /// Its socket, or whether clients share a process: another server under the same name.
    Replace,
}

impl Daemon<'_> {
    /// Reads the configuration again. An error leaves everything as it is.
    pub(super) fn reload(&mut self, ticket: Option<Ticket>) {
        let outcome = self.options.load(self.surroundings).and_then(|mut loaded| {
            self.login.fill(&mut loaded.config, login::AT_RELOAD);
            let mut changes = self.apply(loaded.config)?;
            changes.warnings.extend(loaded.warnings.iter().map(ToString::to_string));
            Ok(changes)
        });
        match &outcome {
            Ok(changes) => log::info!(target: "muxloop", "reloaded: {}", changes.words()),
            Err(why) => {
                for line in why.lines() {
                    log::error!(target: "muxloop", "not reloaded, nothing has changed: {line}");
                }
            }
        }
        #[cfg(not(feature = "control"))]
        let _ = ticket;
        #[cfg(feature = "control")]
        self.engine.answer_reload(ticket, outcome.map(|changes| changes.value()));
    }

    fn apply(&mut self, new: Config) -> Result<Changes, String> {
        let fates: BTreeMap<&str, Fate> = new
            .servers
            .iter()
            .filter_map(|server| Some((server.policy.name.as_str(), fate(self.current(server)?, server))))
            .collect();
        let mut changes = Changes::default();
        let listeners = self.open_new_doors(&new, &fates)?;
        let now = self.reactor.clock.now();
        for old in self.config.servers.clone() {
            let name = &old.policy.name;
            if !fates.contains_key(name.as_str()) {
                let is_inherited =
                    self.listeners.get(name).is_some_and(|own| listeners.values().any(|l| l == own));
                self.retire(now, &old, !is_inherited);
                changes.removed.push(name.clone());
            }
        }
        for server in &new.servers {
            let name = server.policy.name.clone();
            match fates.get(name.as_str()) {
                None => {
                    self.add(now, server, listeners[&name]);
                    changes.added.push(name);
                }
                Some(Fate::Unchanged) => changes.unchanged.push(name),
                Some(Fate::Replace) => {
                    let own = listeners.get(&name).copied();
                    let listener = own.unwrap_or(self.listeners[&name]);
                    self.retire(now, server, own.is_some());
                    self.add(now, server, listener);
                    changes.changed.push(name);
                }
                Some(Fate::Renamed | Fate::Restart) => {
                    let restart = fates[name.as_str()] == Fate::Restart;
                    if let Some(id) = self.engine.server_named(&name) {
                        match restart {
                            true => self.engine.change_server(now, id, setup(server)),
                            false => self.engine.rename_server(id, setup(server)),
                        }
                    }
                    changes.changed.push(name);
                }
            }
        }
        changes.warnings.extend(needs_restart(&self.config, &new));
        self.snapshots = super::Snapshots::of(&new);
        self.config = new;
        Ok(changes)
    }

    fn current(&self, server: &ServerConfig) -> Option<&ServerConfig> {
        self.config.servers.iter().find(|old| old.policy.name == server.policy.name)
    }

    /// The listeners of servers that are new or moved; all of them listen, or none.
    fn open_new_doors(
        &mut self,
        new: &Config,
        fates: &BTreeMap<&str, Fate>,
    ) -> Result<BTreeMap<String, usize>, String> {
        let (mut found, mut opened) = (BTreeMap::new(), Vec::new());
        for server in &new.servers {
            let name = &server.policy.name;
            let moves = self.current(server).is_some_and(|old| old.socket != server.socket);
            let is_new = !fates.contains_key(name.as_str());
            if !is_new && !moves {
                continue;
            }
            let heir_of = |old: &&ServerConfig| {
                old.socket == server.socket && !fates.contains_key(old.policy.name.as_str())
            };
            let inherited = self.config.servers.iter().find(heir_of);
            if let Some(listener) = inherited.and_then(|old| self.listeners.get(&old.policy.name)) {
                // The same socket under another name: whoever connects finds the new server.
                found.insert(name.clone(), *listener);
                continue;
            }
            match listen(&mut self.reactor, server) {
                Ok(listener) => {
                    opened.push(listener);
                    found.insert(name.clone(), listener);
                }
                Err(why) => {
                    opened.into_iter().for_each(|listener| self.reactor.stop_listening(listener));
                    return Err(why);
                }
            }
        }
        Ok(found)
    }

    fn retire(&mut self, now: Time, server: &ServerConfig, close_door: bool) {
        let name = &server.policy.name;
        if let Some(id) = self.engine.server_named(name) {
            self.engine.retire_server(now, id);
        }
        if let Some(listener) = self.listeners.remove(name)
            && close_door
        {
            self.reactor.stop_listening(listener);
        }
    }

    fn add(&mut self, now: Time, server: &ServerConfig, listener: usize) {
        let id = self.engine.add_server(setup(server), listener);
        self.listeners.insert(server.policy.name.clone(), listener);
        self.engine.begin_server(now, id);
    }
}

fn fate(old: &ServerConfig, new: &ServerConfig) -> Fate {
    if old == new {
        return Fate::Unchanged;
    }
    if old.socket != new.socket || old.policy.is_per_client() != new.policy.is_per_client() {
        return Fate::Replace;
    }
    if old.policy == new.policy && old.spawn == new.spawn { Fate::Renamed } else { Fate::Restart }
}

/// What only a start puts in effect.
fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let level = |name: &str| old.servers.iter().find(|server| server.policy.name == name)?.log_level;
    let is_new_level = |server: &ServerConfig| server.log_level != level(&server.policy.name);
    let mut keys = Vec::new();
    if old.log_level != new.log_level || new.servers.iter().any(is_new_level) {
        keys.push("log_level");
    }
    if old.log_format != new.log_format {
        keys.push("log_format");
    }
    if old.control != new.control {
        keys.push("control");
    }
    keys.into_iter().map(|key| format!("{key}: takes effect when muxloop is started again")).collect()
}

impl Changes {
    fn words(&self) -> String {
        let mut parts = Vec::new();
        for (what, names) in [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)]
        {
            if !names.is_empty() {
                parts.push(format!("{what} {}", names.join(", ")));
            }
        }
        parts.push(format!("{} unchanged", self.unchanged.len()));
        parts.extend(self.warnings.iter().cloned());
        parts.join("; ")
    }

    #[cfg(feature = "control")]
    fn value(&self) -> Value {
        json!({
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "warnings": self.warnings,
        })
    }
}
