//! Starting, restarting, stopping: the phases of an instance (picture in `server.rs`), and the clocks
//! of its requests.

use crate::base::{Key, Time};
use crate::codec::Message;
use crate::mux::method::Method;
use crate::mux::peer::Version;
use crate::mux::request::{Origin, Own, State};
use crate::mux::server::{Era, Phase, Then, backoff_ms};
use crate::mux::{CloseReason, LinkOf, Mux, Sink, StopStep, Timer, reply};

impl Mux {
    /// Asks for the process of an instance that has none.
    pub(super) fn start(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let era = self.choose_era(now, key);
        let Some(instance) = self.instances.get_mut(key) else { return };
        if instance.has_process() || self.draining {
            return;
        }
        instance.era = era;
        instance.phase = Phase::Starting { timer: None };
        instance.heard = now;
        out.start(key, instance.server);
    }

    /// The era to start in: the operator's word, a fresh finding, or that of the clients at hand.
    fn choose_era(&self, now: Time, key: Key) -> Option<Era> {
        let instance = self.instances.get(key)?;
        let server = &self.servers[instance.server];
        let decided = match server.policy.era {
            crate::mux::policy::EraPolicy::Legacy => Some(Era::Legacy),
            crate::mux::policy::EraPolicy::Modern => Some(Era::Modern),
            crate::mux::policy::EraPolicy::Auto => None,
        };
        let found = server.verdict.filter(|(_, until)| now < *until).map(|(era, _)| era);
        let mut mine = self.peers.iter().map(|(_, peer)| peer).filter(|peer| peer.instance == Some(key));
        let present = mine.find_map(|peer| match (&peer.legacy, peer.modern) {
            (Some(_), _) => Some(Era::Legacy),
            (None, true) => Some(Era::Modern),
            (None, false) => None,
        });
        decided.or(found).or(present)
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
        log::error!(target: &self.target_of(key), "{why}");
        self.after_failure(now, key, why.to_string(), true, out);
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
            None => {
                log::warn!(target: &self.target_of(key), "{why}");
                self.on_unexpected_exit(now, key, why, out);
            }
        }
        self.check_invariants();
    }

    fn on_unexpected_exit(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let probing = instance.handshake.is_some() && instance.era == Some(Era::Modern);
        if probing && self.may_try_other_era(key) {
            log::info!(target: &self.target_of(key), "{why} on `server/discover`: trying `initialize`");
            return self.respawn(now, key, Era::Legacy, out);
        }
        self.after_failure(now, key, why.to_string(), false, out);
    }

    pub(super) fn may_try_other_era(&self, key: Key) -> bool {
        let auto =
            self.policy_of(key).is_some_and(|policy| policy.era == crate::mux::policy::EraPolicy::Auto);
        auto && self.instances.get(key).is_some_and(|instance| !instance.tried_other_era)
    }

    /// Starts again at once in the other era; its process is gone.
    pub(super) fn respawn(&mut self, now: Time, key: Key, era: Era, out: &mut dyn Sink) {
        self.clear_handshake(key);
        if let Some(instance) = self.instances.get_mut(key) {
            instance.tried_other_era = true;
            instance.phase = Phase::Stopped;
        }
        self.start(now, key, out);
        if let Some(instance) = self.instances.get_mut(key) {
            instance.era = Some(era);
        }
    }

    /// Its process is gone, or never was, against our will: a pause, then another start.
    fn after_failure(&mut self, now: Time, key: Key, why: String, spawn_failed: bool, out: &mut dyn Sink) {
        self.clear_handshake(key);
        let random = self.next_random();
        let Some(instance) = self.instances.get_mut(key) else { return };
        let policy = &self.servers[instance.server].policy;
        let sustained_ms = policy.restart_backoff_max_ms.max(SUSTAINED_MS);
        if instance.ready_since.take().is_some_and(|since| now.since(since) >= sustained_ms) {
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
            return self.fail_all(now, key, &reply::Failure::new("failed", text), out);
        }
        let pause = backoff_ms(policy, instance.attempts, random);
        let attempt = instance.attempts;
        let timer = self.timers.schedule(now + pause, Timer::Restart(key));
        instance.phase = Phase::Backoff { until: now + pause, timer, spawn_failed };
        log::info!(target: &self.target(server), "next start in {pause} ms (attempt {attempt})");
        let failure = reply::Failure {
            reason: if spawn_failed { "spawn" } else { "restarting" },
            message: format!("server '{name}': {why}; next start in {pause} ms"),
            retry_in_ms: Some(pause),
        };
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
        let probing =
            self.instances.get(key).is_some_and(|i| i.handshake.is_some() && i.era == Some(Era::Modern));
        if probing && self.may_try_other_era(key) {
            return self.stop(now, key, Then::Respawn(Era::Legacy), out);
        }
        let text = format!("its output was {why}");
        log::warn!(target: &self.target_of(key), "{text}");
        self.give_up_on_process(now, key, &text, out);
    }

    /// The process runs but does not serve: ends it and starts another one after a pause.
    pub(super) fn give_up_on_process(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        let name = self.name_of(key).to_string();
        if let Some(instance) = self.instances.get_mut(key) {
            instance.last_failure = Some(why.to_string());
        }
        let failure =
            reply::Failure::new("restarting", format!("server '{name}': {why}; it is being restarted"));
        self.fail_in_flight(now, key, &failure, out);
        self.stop(now, key, Then::Backoff, out);
    }

    /// Walks the stop ladder (P23): stdin closed, SIGTERM, SIGKILL, with a pause at each step.
    pub(super) fn stop(&mut self, now: Time, key: Key, then: Then, out: &mut dyn Sink) {
        self.clear_handshake(key);
        let Some(instance) = self.instances.get_mut(key) else { return };
        if let Phase::Stopping { then: old, .. } = &mut instance.phase {
            *old = then;
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
        let Phase::Stopping { step, timer, .. } = &mut instance.phase else { return };
        *step = match step {
            StopStep::CloseInput => StopStep::Terminate,
            StopStep::Terminate | StopStep::Kill => StopStep::Kill,
        };
        *timer = self.timers.schedule(now + grace, Timer::Stop(key));
        out.stop(key, *step);
    }

    fn after_stop(&mut self, now: Time, key: Key, then: Then, why: &str, out: &mut dyn Sink) {
        let failure = reply::Failure::new("stopped", format!("server '{}' was stopped", self.name_of(key)));
        match then {
            Then::Rest => {
                log::debug!(target: &self.target_of(key), "stopped: {why}");
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
            Then::Backoff => {
                let last = self
                    .instances
                    .get(key)
                    .and_then(|i| i.last_failure.clone())
                    .unwrap_or_else(|| why.to_string());
                self.after_failure(now, key, last, false, out);
            }
            Then::Remove => {
                self.fail_all(now, key, &failure, out);
                self.instances.remove(key);
            }
        }
    }

    pub(super) fn someone_waits(&self, key: Key) -> bool {
        self.requests.iter().any(|(_, r)| r.instance == key && matches!(r.state, State::Waiting(_)))
    }

    /// Makes sure that an instance is up or coming up in this era, or says why it cannot be.
    pub(super) fn need(
        &mut self,
        now: Time,
        key: Key,
        era: Era,
        out: &mut dyn Sink,
    ) -> Option<reply::Failure> {
        if self.draining {
            return Some(reply::Failure::new("stopped", "muxloop is stopping"));
        }
        let instance = self.instances.get_mut(key)?;
        instance.used = now;
        let is_down = matches!(instance.phase, Phase::Stopped);
        if is_down {
            let chosen = self.choose_era(now, key).or(Some(era));
            let instance = self.instances.get_mut(key)?;
            instance.era = chosen;
        }
        let instance = self.instances.get_mut(key)?;
        match instance.era {
            None => {
                instance.era = Some(era);
                self.begin_handshake(now, key, out);
            }
            // An era that is still being tried is not an answer yet.
            Some(actual)
                if actual != era && instance.hello.as_ref().is_some_and(|hello| hello.era == actual) =>
            {
                return Some(self.era_failure(key, era));
            }
            Some(_) => {}
        }
        if is_down {
            let keep = self.instances.get(key).and_then(|instance| instance.era);
            self.start(now, key, out);
            if let Some(instance) = self.instances.get_mut(key) {
                instance.era = keep;
            }
        }
        None
    }

    pub(super) fn era_failure(&self, key: Key, asked: Era) -> reply::Failure {
        let actual = self.instances.get(key).and_then(|instance| instance.era).unwrap_or(asked.other());
        let text = format!(
            "server '{}' speaks MCP of {}, but this client asked in {}; this version of muxloop does not translate between them",
            self.name_of(key),
            actual.describe(),
            asked.describe(),
        );
        reply::Failure::new("era", text)
    }

    /// Ends every request that is at the child: it will not be answered.
    pub(super) fn fail_in_flight(&mut self, now: Time, key: Key, why: &reply::Failure, out: &mut dyn Sink) {
        self.fail_where(now, key, why, out, |state| !matches!(state, State::Waiting(_)));
        self.forget_reverse(key, out);
        if let Some(instance) = self.instances.get_mut(key) {
            instance.level = None;
            instance.holder = None;
            instance.holding = 0;
            instance.contended = false;
            instance.fence = None;
            instance.listen = Default::default();
            for subscription in instance.subscriptions.values_mut() {
                subscription.pending = false;
                subscription.joined.clear();
            }
            instance.subscriptions.retain(|_, subscription| !subscription.holders.is_empty());
            let server = instance.server;
            if self.servers[server].shared.is_some() {
                self.servers[server].owners.clear();
            }
        }
    }

    /// Ends every request of an instance.
    pub(super) fn fail_all(&mut self, now: Time, key: Key, why: &reply::Failure, out: &mut dyn Sink) {
        self.fail_in_flight(now, key, why, out);
        self.fail_where(now, key, why, out, |_| true);
        self.refuse_listens(now, key, why, out);
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
        for request in doomed {
            let Some(request) = self.take(request) else { continue };
            self.answer_taken(&request, why, out);
            peers.extend(request.peer());
        }
        for peer in peers {
            self.settle(now, peer, out);
        }
    }

    pub(super) fn on_request_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let instance_key = request.instance;
        let policy = &self.servers[self.instances.get(instance_key).map_or(0, |i| i.server)].policy;
        // While the client is being asked something, its request's clock stands still, within the
        // absolute maximum (protocol.md §2.8).
        if let Origin::Peer { peer, .. } = &request.origin {
            let asked = self.peers.get(*peer).is_some_and(|peer| !peer.reverse.is_empty());
            if asked && request.is_sent() {
                let latest = request.started + policy.request_timeout_max_ms;
                request.deadline = (now + policy.request_timeout_ms).min(latest).max(request.deadline);
            }
        }
        if now < request.deadline {
            request.timer = Some(self.timers.schedule(request.deadline, Timer::Request(key)));
            return;
        }
        request.timer = None;
        let own = match &request.origin {
            Origin::Own(own) => Some(own.clone()),
            Origin::Peer { .. } => None,
        };
        match own {
            Some(Own::Heartbeat) => {
                self.take(key);
                self.on_heartbeat_missed(now, instance_key, out);
            }
            Some(own) => {
                log::warn!(target: &self.target_of(instance_key), "no answer to muxloop's own request {own:?}");
                self.cancel_own(key, "timed out", out);
                match own {
                    Own::Subscribe(uri) => self.on_subscribe_lost(now, instance_key, &uri, out),
                    Own::Fence => self.on_fence_unanswered(now, instance_key, key, out),
                    _ => {}
                }
            }
            None => self.time_out(now, key, out),
        }
    }

    fn time_out(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(request) = self.take(key) else { return };
        let after = now.since(request.started);
        let instance = self.instances.get(request.instance);
        let state = instance.and_then(|i| (!i.is_ready()).then(|| i.last_failure.clone()).flatten());
        let name = self.name_of(request.instance).to_string();
        let text = match (&request.state, state) {
            (State::Sent { .. }, _) => format!("server '{name}' did not answer within {after} ms"),
            (_, Some(why)) => format!("server '{name}' was not ready within {after} ms: {why}"),
            (_, None) => format!("server '{name}' was not ready within {after} ms"),
        };
        log::warn!(target: &self.target_of(request.instance), "{text} ({:?})", request.method);
        if let (true, Some(link)) =
            (request.is_sent(), self.instances.get(request.instance).and_then(|i| i.link))
        {
            out.send(link, &Message::new(&reply::cancelled(key.as_u64(), "timed out")));
            self.raise_fence(now, &request, out);
        }
        self.answer_taken(&request, &reply::Failure::new("timeout", text), out);
        if let Some(peer) = request.peer() {
            self.settle(now, peer, out);
        }
    }

    /// Takes one of muxloop's own requests back.
    pub(super) fn cancel_own(&mut self, key: Key, why: &str, out: &mut dyn Sink) {
        let Some(request) = self.take(key) else { return };
        if let Some(link) = self.instances.get(request.instance).and_then(|i| i.link) {
            out.send(link, &Message::new(&reply::cancelled(key.as_u64(), why)));
        }
    }

    pub(super) fn arm_heartbeat(&mut self, now: Time, key: Key) {
        let Some(heartbeat) = self.policy_of(key).and_then(|policy| policy.heartbeat) else { return };
        self.schedule_heartbeat(now + heartbeat.interval_ms, key);
    }

    /// In place of the one scheduled before: each start of a process would add another one else.
    fn schedule_heartbeat(&mut self, at: Time, key: Key) {
        let timer = self.timers.schedule(at, Timer::Heartbeat(key));
        let before = self.instances.get_mut(key).and_then(|i| i.heartbeat_timer.replace(timer));
        before.and_then(|before| self.timers.cancel(before));
    }

    /// Asks an idle child whether it lives. A busy one is judged by its requests' own deadlines.
    pub(super) fn on_heartbeat(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let Some(heartbeat) = self.servers[instance.server].policy.heartbeat else { return };
        let (Some(link), in_flight, heard, era) =
            (instance.open_link(), instance.in_flight, instance.heard, instance.era)
        else {
            return;
        };
        if in_flight > 0 || now.since(heard) < heartbeat.interval_ms {
            let next = if in_flight > 0 { now } else { heard };
            return self.schedule_heartbeat((next + heartbeat.interval_ms).max(now + 1), key);
        }
        let request = self.file_own(now, key, Own::Heartbeat, Method::Ping, Some(heartbeat.timeout_ms));
        let (method, params) = match era {
            // 2026-07-28 has no ping.
            Some(Era::Modern) => ("server/discover", self.own_meta(serde_json::json!({}))),
            _ => ("ping", serde_json::json!({})),
        };
        out.send(link, &Message::new(&reply::request(request.as_u64(), method, params)));
    }

    /// Any answer counts as life, an error too.
    pub(super) fn on_heartbeat_answer(&mut self, now: Time, key: Key, latency_ms: u64) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.missed_heartbeats = 0;
            instance.heartbeat_ms = Some(latency_ms);
        }
        self.arm_heartbeat(now, key);
    }

    fn on_heartbeat_missed(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Some(heartbeat) = self.servers[instance.server].policy.heartbeat else { return };
        if now.since(instance.heard) < heartbeat.timeout_ms {
            // It said something else meanwhile.
            return self.arm_heartbeat(now, key);
        }
        instance.missed_heartbeats += 1;
        let missed = instance.missed_heartbeats;
        log::warn!(target: &self.target_of(key), "no answer to heartbeat {missed} of {}", heartbeat.failures_max);
        if missed >= heartbeat.failures_max {
            let why = format!("did not answer {missed} heartbeats in a row");
            return self.give_up_on_process(now, key, &why, out);
        }
        self.schedule_heartbeat(now, key);
    }

    pub(super) fn arm_idle_stop(&mut self, now: Time, key: Key) {
        let Some(idle_ms) = self.policy_of(key).and_then(|policy| policy.idle_stop_ms) else { return };
        self.schedule_idle_stop(now + idle_ms, key);
    }

    /// As [`Mux::schedule_heartbeat`].
    fn schedule_idle_stop(&mut self, at: Time, key: Key) {
        let timer = self.timers.schedule(at, Timer::IdleStop(key));
        let before = self.instances.get_mut(key).and_then(|i| i.idle_timer.replace(timer));
        before.and_then(|before| self.timers.cancel(before));
    }

    /// Stops a child nobody needed for a while: no request, no subscription, no listen.
    pub(super) fn on_idle(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let Some(idle_ms) = self.servers[instance.server].policy.idle_stop_ms else { return };
        if !instance.is_ready() {
            return;
        }
        let needed =
            instance.in_flight > 0 || !instance.subscriptions.is_empty() || instance.listen.current.is_some();
        let used = if needed { now } else { instance.used };
        if now.since(used) < idle_ms {
            return self.schedule_idle_stop(used + idle_ms, key);
        }
        log::info!(target: &self.target_of(key), "stopped after {idle_ms} ms without use; the next request starts it");
        self.stop(now, key, Then::Rest, out);
    }

    /// Log target of a server's lines.
    pub(super) fn target(&self, server: usize) -> String {
        format!("server::{}", self.servers[server].policy.name)
    }

    pub(super) fn target_of(&self, instance: Key) -> String {
        format!("server::{}", self.name_of(instance))
    }

    pub(super) fn latest_version(&self) -> &'static str {
        Version::LATEST.name()
    }
}

/// Uptime after which earlier restarts are forgotten, at least.
const SUSTAINED_MS: u64 = 30_000;
