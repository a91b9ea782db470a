//! Reload (A08): the configuration is read again, and only what changed is touched.

use super::audit::AuditLog;
use super::{Daemon, listen, login, setup};
#[cfg(feature = "gateway")]
use super::{collisions, gateway};
use crate::base::{SortedMap, Time};
use crate::config::{Config, ServerConfig};
use crate::engine::ServerSetup;
use crate::engine::operate::Ticket;
use crate::mux::ServerId;
use serde_json::{Value, json};

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
        if self.engine.is_stopping() {
            return self.engine.answer_reload(ticket, Err("muxloop is stopping".into()));
        }
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
        let outcome = outcome.map(|changes| changes.value());
        self.tape.answer_reload(&outcome);
        self.engine.answer_reload(ticket, outcome);
    }

    fn apply(&mut self, new: Config) -> Result<Changes, String> {
        let fates: SortedMap<&str, Fate> = new
            .servers
            .iter()
            .filter_map(|server| Some((server.policy.name.as_str(), fate(self.current(server)?, server))))
            .collect();
        #[cfg(feature = "gateway")]
        collisions::check(&new, &self.engine, &self.lists)?;
        let mut changes = Changes::default();
        let audit = if self.config.audit == new.audit { None } else { Some(AuditLog::open(&new.audit)?) };
        let listeners = self.open_doors(&new, &fates)?;
        if let Some(audit) = audit {
            self.engine.set_audit(audit.as_ref().map(AuditLog::wants_arguments));
            self.audit = audit;
        }
        let now = self.reactor.clock.now();
        // First all that go, then all that come: a socket may pass from one to the other.
        for old in self.config.servers.clone() {
            let name = &old.policy.name;
            let fate = fates.get(name.as_str());
            if matches!(fate, None | Some(Fate::Replace)) {
                self.retire(now, name, &listeners);
            }
            if fate.is_none() {
                changes.removed.push(name.clone());
            }
        }
        let mut others = Vec::new();
        for server in &new.servers {
            let name = server.policy.name.clone();
            let fate = fates.get(name.as_str());
            match fate {
                None | Some(Fate::Replace) => self.add(now, server, listeners.get(&name).copied()),
                Some(Fate::Unchanged) => {}
                Some(Fate::Renamed | Fate::Restart) => {
                    if let Some(id) = self.engine.server_named(&name) {
                        let setup = setup(server, &self.findings);
                        self.change(now, id, setup, fate == Some(&Fate::Restart));
                    }
                }
            }
            if matches!(fate, None | Some(Fate::Replace | Fate::Restart)) {
                others.extend(self.engine.server_named(&name));
            }
            match fate {
                None => changes.added.push(name),
                Some(Fate::Unchanged) => changes.unchanged.push(name),
                Some(_) => changes.changed.push(name),
            }
        }
        let order: Vec<&str> = new.servers.iter().map(|server| server.policy.name.as_str()).collect();
        self.tape.arrange_servers(&order);
        self.engine.arrange_servers(&order);
        changes.warnings.extend(needs_restart(&self.config, &new));
        #[cfg(feature = "gateway")]
        {
            self.endpoints.change(now, &mut self.engine, &mut self.reactor, &new, &self.tape);
            gateway::ask_again(now, others, &mut self.engine, &mut self.reactor, &self.tape);
            self.serving.change(&new, &mut self.engine);
        }
        #[cfg(feature = "http")]
        if let Err(why) = self.http.change(&mut self.engine, &mut self.reactor, &new, &self.tape) {
            changes.warnings.push(format!("{why}; it stays as it was"));
        }
        self.snapshots.change(&new);
        self.config = new;
        Ok(changes)
    }

    fn current(&self, server: &ServerConfig) -> Option<&ServerConfig> {
        self.config.servers.iter().find(|old| old.policy.name == server.policy.name)
    }

    /// A listener for each server that is added: one of ours that is there already, or a new one. Opens all
    /// of them or none.
    fn open_doors(
        &mut self,
        new: &Config,
        fates: &SortedMap<&str, Fate>,
    ) -> Result<SortedMap<String, usize>, String> {
        let mut doors = SortedMap::new();
        let mut opened = Vec::new();
        if self.options.serve.is_some() {
            return Ok(doors);
        }
        for server in &new.servers {
            let name = &server.policy.name;
            if !matches!(fates.get(name.as_str()), None | Some(Fate::Replace)) {
                continue;
            }
            let owner = self.config.servers.iter().find(|old| old.socket == server.socket);
            // Sockets are different in one file, so that its owner gives it up.
            if let Some(listener) = owner.and_then(|old| self.listeners.get(&old.policy.name)) {
                doors.insert(name.clone(), *listener);
                continue;
            }
            match listen(&mut self.reactor, server) {
                Ok(listener) => {
                    doors.insert(name.clone(), listener);
                    opened.push(listener);
                }
                Err(why) => {
                    opened.into_iter().for_each(|listener| self.reactor.stop_listening(listener));
                    return Err(why);
                }
            }
        }
        Ok(doors)
    }

    /// Takes a server out; its listener is closed unless it is one of those that stay.
    fn retire(&mut self, now: Time, name: &str, staying: &SortedMap<String, usize>) {
        if let Some(id) = self.engine.server_named(name) {
            self.lists.settle(&mut self.engine, id);
            self.tape.retire_server(now, id);
            self.engine.retire_server(now, id);
        }
        if let Some(listener) = self.listeners.remove(name)
            && !staying.values().any(|stays| *stays == listener)
        {
            self.reactor.stop_listening(listener);
        }
    }

    fn add(&mut self, now: Time, server: &ServerConfig, listener: Option<usize>) {
        let setup = setup(server, &self.findings);
        let id = match listener {
            Some(listener) => {
                self.tape.add_server(&setup, listener);
                self.listeners.insert(server.policy.name.clone(), listener);
                self.engine.add_server(setup, listener)
            }
            None => self.engine.place_server(setup),
        };
        self.lists.recall(now, &mut self.engine, id);
        self.tape.begin_server(now, id);
        self.engine.begin_server(now, id);
    }

    fn change(&mut self, now: Time, id: ServerId, setup: ServerSetup, restart: bool) {
        if restart {
            self.lists.settle(&mut self.engine, id);
            self.tape.change_server(now, id, &setup);
            self.engine.change_server(now, id, setup);
            self.lists.recall(now, &mut self.engine, id);
        } else {
            self.tape.rename_server(id, &setup);
            self.engine.rename_server(id, setup);
        }
    }
}

fn fate(old: &ServerConfig, new: &ServerConfig) -> Fate {
    if old == new {
        return Fate::Unchanged;
    }
    if old.socket != new.socket || !old.policy.shares_as(&new.policy) {
        return Fate::Replace;
    }
    if old.policy == new.policy && old.spawn == new.spawn { Fate::Renamed } else { Fate::Restart }
}

/// What only a start puts in effect.
fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let level_of = |server: &ServerConfig| {
        let before = old.servers.iter().find(|old| old.policy.name == server.policy.name);
        before.and_then(|old| old.log_level)
    };
    let has_new_level = |server: &ServerConfig| server.log_level != level_of(server);
    let mut keys = Vec::new();
    if old.log_level != new.log_level || new.servers.iter().any(has_new_level) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Surroundings;

    fn config(text: &str) -> Config {
        let surroundings = Surroundings { home: Some("/home/ana".into()), ..Default::default() };
        Config::parse("mux.toml", text.as_bytes(), &surroundings).unwrap().config
    }

    #[test]
    #[cfg(feature = "sandbox")]
    fn another_sandbox_is_another_process() {
        let server = |key: &str| config(&format!("[servers.a]\ncmd='x'\n{key}\n")).servers.remove(0);
        let (none, few, more) = (server(""), server("sandbox.files = 64"), server("sandbox.files = 65"));
        assert_eq!(fate(&few, &few), Fate::Unchanged);
        for (old, new) in [(&none, &few), (&few, &more), (&few, &none)] {
            assert_eq!(fate(old, new), Fate::Restart);
        }
    }

    #[test]
    fn only_what_was_changed_needs_a_restart() {
        let one = config("[servers.a]\ncmd='x'\n");
        let two = config("[servers.a]\ncmd='x'\n[servers.b]\ncmd='x'\n");
        let quiet = config("[servers.a]\ncmd='x'\nlog_level='warn'\n");
        assert_eq!(needs_restart(&one, &two), Vec::<String>::new());
        assert_eq!(needs_restart(&two, &one), Vec::<String>::new());
        assert_eq!(needs_restart(&one, &quiet), ["log_level: takes effect when muxloop is started again"]);
    }
}
