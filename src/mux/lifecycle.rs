//! Starting, restarting, stopping: the phases of an instance (picture in `server.rs`).

use crate::base::{Key, Time};
use crate::mux::request::{Origin, Request, State};
use crate::mux::server::{Era, Phase, Then, backoff_ms};
use crate::mux::{CloseReason, LinkOf, Mux, Sink, StopStep, Timer, reply};

impl Mux {
    /// Asks for the process of an instance that has none.
    pub(super) fn start(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let era = self.choose_era(now, key);
        self.search_anew(key, era);
        self.start_in(now, key, era, out);
    }

    pub(super) fn start_in(&mut self, now: Time, key: Key, era: Option<Era>, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let server = &self.servers[instance.server];
        // Of a server that was taken out nobody needs a process once its last client has left.
        let is_over = server.retired && server.clients == 0;
        if instance.has_process() || self.draining || server.held || is_over {
            return;
        }
        instance.era = era;
        instance.phase = Phase::Starting { timer: None };
        instance.heard = now;
        out.start(key, instance.server);
    }

    /// The engine started the process of an instance; `link` is its stdin and stdout.
    pub fn handle_started(&mut self, now: Time, key: Key, link: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else {
            return out.close(link, CloseReason::Shutdown);
        };
        instance.link = Some(link);
        self.links.insert(link, LinkOf::Child(key));
        self.begin_handshake(now, key, out);
        self.check_invariants();
    }

    /// The engine could not start it; `why` says so in words.
    pub fn handle_start_failed(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        match self.instances.get(key).map(|instance| &instance.phase) {
            Some(Phase::Stopping { timer, then, .. }) => {
                let (timer, then) = (*timer, then.clone());
                self.timers.cancel(timer);
                self.after_stop(now, key, then, why, out);
            }
            _ => {
                log::error!(target: &self.target_of(key), "{why}");
                self.after_failure(now, key, why.to_string(), true, out);
            }
        }
        self.check_invariants();
    }

    /// The process of an instance has ended and its output was read to the end; `why` says how.
    pub fn handle_exited(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        if let Some(link) = instance.link.take() {
            self.links.remove(link);
            out.close(link, CloseReason::ProcessEnded);
        }
        let Some(instance) = self.instances.get_mut(key) else { return };
        let then = match &instance.phase {
            Phase::Stopping { timer, then, .. } => {
                let (timer, then) = (*timer, then.clone());
                self.timers.cancel(timer);
                Some(then)
            }
            _ => None,
        };
        match then {
            Some(then) => self.after_stop(now, key, then, why, out),
            None => self.on_unexpected_exit(now, key, why, out),
        }
        self.check_invariants();
    }

    fn on_unexpected_exit(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        let target = self.target_of(key);
        if let Some(next) = self.next_era(key) {
            log::info!(target: &target, "{why} during its handshake: trying {}", next.describe());
            return self.respawn(now, key, next, out);
        }
        log::warn!(target: &target, "{why}");
        self.after_failure(now, key, why.to_string(), false, out);
    }

    /// Its process is gone, or never was, against our will: a pause, then another start.
    fn after_failure(&mut self, now: Time, key: Key, why: String, spawn_failed: bool, out: &mut dyn Sink) {
        self.forget_if_unready(key, out);
        self.clear_handshake(key);
        self.disarm(key);
        self.note_rest(key, false);
        self.fall_back_on_memory(key);
        let random = self.next_random();
        let Some(instance) = self.instances.get_mut(key) else { return };
        let policy = &self.servers[instance.server].policy;
        let sustained_ms = policy.restart_backoff_max_ms.max(SUSTAINED_MS);
        // A spare was never greeted, so it never got ready: it has served if it lived.
        let lived_since = instance.ready_since.take().or(instance.spare.then_some(instance.heard));
        if lived_since.is_some_and(|since| now.since(since) >= sustained_ms) {
            instance.attempts = 0;
        }
        instance.attempts += 1;
        instance.last_failure = Some(why.clone());
        let name = policy.name.clone();
        let server = instance.server;
        if policy.max_restarts > 0 && instance.attempts > policy.max_restarts {
            instance.attempts = policy.max_restarts;
            instance.phase = Phase::Failed;
            let text = format!(
                "server '{name}' is down and was given up after {} restarts: {why}",
                policy.max_restarts
            );
            log::error!(target: &self.target(server), "given up after {} restarts: {why}", self.servers[server].policy.max_restarts);
            let failure = reply::Failure::new("failed", text);
            self.fail_all(now, key, &failure, out);
            return self.refuse_listens(now, key, &failure, |_| true, out);
        }
        let pause = backoff_ms(policy, instance.attempts, random);
        let attempt = instance.attempts;
        let timer = self.timers.schedule(now + pause, Timer::Restart(key));
        instance.phase = Phase::Backoff { until: now + pause, timer, spawn_failed };
        let mut failure = reply::Failure {
            reason: if spawn_failed { "spawn" } else { "restarting" },
            message: format!("server '{name}': {why}; next start in {pause} ms"),
            retry_in_ms: Some(pause),
        };
        if self.ends_with_process(key, spawn_failed) {
            failure = reply::Failure::new(failure.reason, format!("server '{name}': {why}"));
        } else {
            log::info!(target: &self.target(server), "next start in {pause} ms (attempt {attempt})");
        }
        self.fail_in_flight(now, key, &failure, out);
        if spawn_failed {
            // Waiting would not help: whoever asked learns at once what is wrong.
            self.fail_all(now, key, &failure, out);
        }
    }

    pub(super) fn on_restart_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        if !matches!(instance.phase, Phase::Backoff { .. }) {
            return;
        }
        instance.phase = Phase::Stopped;
        instance.restarts += 1;
        self.start(now, key, out);
    }

    /// Its standard output ended, or a pipe broke: whatever it still is, it is no server any more.
    pub(super) fn on_output_closed(&mut self, now: Time, key: Key, why: &CloseReason, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        if let Some(link) = instance.link.take() {
            self.links.remove(link);
            out.close(link, CloseReason::ProcessEnded);
        }
        if matches!(self.instances.get(key).map(|i| &i.phase), Some(Phase::Stopping { .. })) {
            return;
        }
        let text = match why {
            CloseReason::Io(error) => format!("it {error}"),
            CloseReason::SlowReader => format!("it {why}"),
            _ => "its output was closed".to_string(),
        };
        if let Some(next) = self.next_era(key) {
            log::info!(target: &self.target_of(key), "{text} during its handshake: trying {}", next.describe());
            return self.stop(now, key, Then::Respawn(next), out);
        }
        self.forget_if_unready(key, out);
        log::warn!(target: &self.target_of(key), "{text}");
        if let Some(instance) = self.instances.get_mut(key) {
            instance.last_failure = Some(text);
        }
        self.stop(now, key, Then::BackoffAsExited, out);
    }

    /// The process runs but does not serve: ends it and starts another one after a pause.
    pub(super) fn give_up_on_process(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.last_failure = Some(why.to_string());
        }
        // First of all it is no longer ready: what waits must not follow what failed.
        self.stop(now, key, Then::Backoff, out);
        self.fail_before_restart(now, key, out);
    }

    /// Tells those whose requests are at a process that will not answer them, before its end is known.
    fn fail_before_restart(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let why = self.instances.get(key).and_then(|i| i.last_failure.as_deref()).unwrap_or("it failed");
        let text = format!("server '{}': {why}; it is being restarted", self.name_of(key));
        self.fail_in_flight(now, key, &reply::Failure::new("restarting", text), out);
    }

    /// Walks the stop ladder (P23): stdin closed, SIGTERM, SIGKILL, with a pause at each step.
    pub(super) fn stop(&mut self, now: Time, key: Key, then: Then, out: &mut dyn Sink) {
        self.clear_handshake(key);
        self.disarm(key);
        let Some(instance) = self.instances.get_mut(key) else { return };
        if let Phase::Stopping { then: old, .. } = &mut instance.phase {
            if *old != Then::Remove {
                *old = then;
            }
            return;
        }
        if let Phase::Backoff { timer, .. } = instance.phase {
            self.timers.cancel(timer);
        }
        if !instance.has_process() {
            instance.phase = Phase::Stopped;
            return self.after_stop(now, key, then, "stopped", out);
        }
        let grace = self.servers[instance.server].policy.stop_grace_ms;
        let timer = self.timers.schedule(now + grace, Timer::Stop(key));
        instance.phase = Phase::Stopping { step: StopStep::CloseInput, timer, then };
        out.stop(key, StopStep::CloseInput);
    }

    pub(super) fn on_stop_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let grace = self.servers[instance.server].policy.stop_grace_ms;
        let Phase::Stopping { step, timer, then } = &mut instance.phase else { return };
        let lingers = *then == Then::BackoffAsExited;
        if lingers {
            *then = Then::Backoff;
        }
        *step = match step {
            StopStep::CloseInput => StopStep::Terminate,
            StopStep::Terminate | StopStep::Kill => StopStep::Kill,
        };
        *timer = self.timers.schedule(now + grace, Timer::Stop(key));
        out.stop(key, *step);
        if lingers {
            self.fail_before_restart(now, key, out);
        }
    }

    fn after_stop(&mut self, now: Time, key: Key, then: Then, why: &str, out: &mut dyn Sink) {
        let failure = reply::Failure::new("stopped", format!("server '{}' was stopped", self.name_of(key)));
        match then {
            Then::Rest => {
                log::debug!(target: &self.target_of(key), "stopped: {why}");
                self.note_rest(key, true);
                if let Some(instance) = self.instances.get_mut(key) {
                    instance.phase = Phase::Stopped;
                    instance.ready_since = None;
                }
                self.fail_in_flight(now, key, &failure, out);
                if !self.draining && self.someone_waits(key) {
                    self.start(now, key, out);
                }
            }
            Then::Respawn(era) => self.respawn(now, key, era, out),
            Then::Restart => {
                if let Some(instance) = self.instances.get_mut(key) {
                    instance.phase = Phase::Stopped;
                    instance.ready_since = None;
                    instance.restarts += 1;
                }
                self.fail_in_flight(now, key, &failure, out);
                self.start(now, key, out);
            }
            Then::Backoff => {
                let last = self
                    .instances
                    .get(key)
                    .and_then(|i| i.last_failure.clone())
                    .unwrap_or_else(|| why.to_string());
                self.after_failure(now, key, last, false, out);
            }
            Then::BackoffAsExited => {
                // That its output was closed is in the log already, which says nothing of the cause.
                log::warn!(target: &self.target_of(key), "{why}");
                self.after_failure(now, key, why.to_string(), false, out);
            }
            Then::Remove => {
                self.fail_all(now, key, &failure, out);
                let Some(instance) = self.instances.remove(key) else { return };
                self.servers[instance.server].past_restarts += instance.restarts;
                self.forget_alone(now, key, instance.owner, out);
            }
        }
    }

    /// Whether a request or a listen cannot be served without a process.
    fn someone_waits(&self, key: Key) -> bool {
        let waits = |r: &Request| r.instance == key && matches!(r.state, State::Waiting(_));
        self.requests.iter().any(|(_, request)| waits(request)) || self.is_waited_for(key)
    }

    /// Makes sure that an instance is up or coming up, or says why it cannot be.
    pub(super) fn need(&mut self, now: Time, key: Key, out: &mut dyn Sink) -> Option<reply::Failure> {
        if self.draining {
            return Some(reply::Failure::new("stopped", "muxloop is stopping"));
        }
        let instance = self.instances.get_mut(key)?;
        instance.used = now;
        if matches!(instance.phase, Phase::Stopped) {
            self.start(now, key, out);
        } else if instance.era.is_none() {
            let era = self.choose_era(now, key);
            self.search_anew(key, era);
            self.instances.get_mut(key)?.era = era;
            self.begin_handshake(now, key, out);
        }
        None
    }

    /// Ends every request that is at the child: it will not be answered.
    pub(super) fn fail_in_flight(&mut self, now: Time, key: Key, why: &reply::Failure, out: &mut dyn Sink) {
        self.requeue_lost(key, why);
        self.ground_all(key);
        self.forget_floor(key);
        self.fail_where(now, key, why, out, |state| matches!(state, State::Sent { .. } | State::Joined));
        self.forget_reverse(key, out);
        let stalled = self.instances.get_mut(key).map(|instance| std::mem::take(&mut instance.stalled));
        for peer in stalled.unwrap_or_default() {
            self.unpause_if_small(peer, out);
        }
        if let Some(instance) = self.instances.get_mut(key) {
            instance.level = None;
            instance.setting_level = false;
            instance.replays.clear();
            instance.holder = None;
            instance.holding = 0;
            instance.contended = false;
            instance.fence = None;
            instance.listen = Default::default();
            for subscription in instance.subscriptions.values_mut() {
                subscription.pending = false;
                subscription.joined.clear();
                subscription.listens.clear();
            }
            instance.subscriptions.retain(|_, subscription| !subscription.holders.is_empty());
            instance.owners.clear();
        }
    }

    /// Ends every request of an instance.
    pub(super) fn fail_all(&mut self, now: Time, key: Key, why: &reply::Failure, out: &mut dyn Sink) {
        self.fail_in_flight(now, key, why, out);
        self.fail_where(now, key, why, out, |_| true);
        self.refuse_listens(now, key, why, |listen| listen.honoured.is_none(), out);
    }

    fn fail_where(
        &mut self,
        now: Time,
        key: Key,
        why: &reply::Failure,
        out: &mut dyn Sink,
        which: impl Fn(&State) -> bool,
    ) {
        let doomed: Vec<Key> = self
            .requests
            .iter()
            .filter(|(_, r)| r.instance == key && which(&r.state))
            .map(|(key, _)| key)
            .collect();
        let mut peers = Vec::new();
        let mut were_suspended = false;
        for request in doomed {
            let Some(mut request) = self.take(request) else { continue };
            self.answer_taken(now, &mut request, why, out);
            peers.extend(request.peer());
            were_suspended |= matches!(request.origin, Origin::Suspended(_));
        }
        for peer in peers {
            self.settle(now, peer, out);
        }
        if were_suspended {
            self.end_if_served(now, key, out);
        }
    }

    /// Log target of a server's lines.
    pub(super) fn target(&self, server: usize) -> String {
        format!("server::{}", self.servers[server].policy.name)
    }

    pub(super) fn target_of(&self, instance: Key) -> String {
        format!("server::{}", self.name_of(instance))
    }
}

/// Uptime after which earlier restarts are forgotten, at least.
const SUSTAINED_MS: u64 = 30_000;
