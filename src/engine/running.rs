//! Processes of the engine: started and stopped as the mux says, and read to their end once they are dead.

use super::conn::Role;
use super::port::{Kill, Platform};
use super::process::{Process, Ring};
use super::{Action, Engine};
use crate::base::limits::{CHILD_MESSAGE_MAX, STDERR_RING};
use crate::base::{Key, Time};
use crate::mux::{ServerId, StopStep};

impl Engine {
    /// Starts and stops processes, and tells of those that ended, until nothing is left to do.
    pub(super) fn act(&mut self, now: Time, platform: &mut dyn Platform) {
        loop {
            for process in std::mem::take(&mut self.exited) {
                self.bury(now, process, platform);
            }
            if self.actions.is_empty() {
                return;
            }
            for action in std::mem::take(&mut self.actions) {
                match action {
                    Action::Start(instance, server) => self.start_process(now, instance, server, platform),
                    #[cfg(feature = "gateway")]
                    Action::Stop(instance, step) if self.stop_merged(now, instance, step, platform) => {}
                    Action::Stop(instance, step) => self.stop_process(instance, step, platform),
                    Action::Found(server, found) => {
                        self.found.insert(server, found);
                    }
                    Action::Learnt(server) => {
                        self.learnt.insert(server);
                    }
                }
            }
        }
    }

    pub(super) fn start_process(
        &mut self,
        now: Time,
        instance: Key,
        server: ServerId,
        platform: &mut dyn Platform,
    ) {
        #[cfg(feature = "gateway")]
        if self.start_merged(now, instance, server) {
            return;
        }
        let spawned = match platform.spawn(instance, &self.setups[server].spawn) {
            Ok(spawned) => spawned,
            Err(why) => return tell!(self, now, handle_start_failed, instance, &why),
        };
        let name = &self.setups[server].policy.name;
        log::info!(target: &format!("server::{name}"), "started, pid {}", spawned.pid);
        let stderr = self.open(spawned.stderr, Role::Stderr(instance), STDERR_RING / 4, platform);
        let link = self.open(spawned.stdio, Role::Child(instance), CHILD_MESSAGE_MAX, platform);
        let (Some(link), Some(stderr)) = (link, stderr) else {
            platform.kill(instance, Kill::Kill);
            return;
        };
        if let Some(conn) = self.conns.get_mut(link) {
            conn.server = server;
        }
        let process =
            Process { pid: spawned.pid, link, stderr, server, exited: None, last_words: Ring::default() };
        self.processes.insert(instance, process);
        self.conns.wake(link);
        self.conns.wake(stderr);
        tell!(self, now, handle_started, instance, link);
    }

    pub(super) fn stop_process(&mut self, instance: Key, step: StopStep, platform: &mut dyn Platform) {
        match step {
            StopStep::CloseInput => {
                let Some(process) = self.processes.get(instance) else { return };
                let link = process.link;
                if let Some(conn) = self.conns.get_mut(link) {
                    conn.close_input = true;
                }
                self.conns.touch(link);
            }
            StopStep::Terminate => platform.kill(instance, Kill::Terminate),
            StopStep::Kill => platform.kill(instance, Kill::Kill),
        }
    }

    /// A process has ended: what it still had written is read, then the mux learns of it, then whatever it
    /// left behind is ended.
    pub(super) fn bury(&mut self, now: Time, instance: Key, platform: &mut dyn Platform) {
        let Some((link, stderr)) = self.processes.get(instance).map(|process| (process.link, process.stderr))
        else {
            return;
        };
        for key in [stderr, link] {
            self.drain(now, key);
        }
        let Some(process) = self.processes.remove(instance) else { return };
        tell!(self, now, handle_exited, instance, &process.epitaph());
        for key in [stderr, link] {
            self.conns.remove(key, platform);
        }
        platform.sweep(instance);
    }

    /// Reads a dead process's stream to what is there; a descendant may hold it open for ever.
    pub(super) fn drain(&mut self, now: Time, key: Key) {
        for _ in 0..DRAIN_READS {
            let Some(conn) = self.conns.get_mut(key) else { return };
            if conn.finished || conn.broken.is_some() || conn.closing {
                return;
            }
            conn.paused = false;
            conn.ended = true;
            conn.readable = true;
            self.read(now, key);
            if self.conns.get(key).is_none_or(|conn| !conn.readable) {
                return;
            }
        }
    }
}

/// Most budgets of bytes that are read from a process that has ended.
const DRAIN_READS: usize = 512;
