//! What happens because nothing happened: deadlines of requests (P24), heartbeats, the stop of an idle
//! child. When a child is started again after its end is `lifecycle`'s.

use crate::base::{Key, Time};
use crate::codec::Message;
use crate::mux::method::Method;
use crate::mux::request::{Origin, Own, State};
use crate::mux::server::{Era, Then};
use crate::mux::{Mux, Sink, Timer, reply};

impl Mux {
    pub(super) fn on_request_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let instance_key = request.instance;
        let policy = &self.servers[self.instances.get(instance_key).map_or(0, |i| i.server)].policy;
        // While the client is being asked something, its request's clock stands still, within the
        // absolute maximum (protocol.md §2.8).
        if let Origin::Peer { peer, .. } = &request.origin {
            let is_about = |question: &Key| {
                self.reverse.get(*question).is_some_and(|q| q.call.is_none_or(|(call, _)| call == key))
            };
            let asked = self.peers.get(*peer).is_some_and(|peer| peer.reverse.iter().any(is_about));
            if asked && (request.is_sent() || request.is_asking()) {
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
            Origin::Peer { .. } | Origin::Suspended(_) => None,
        };
        match own {
            Some(Own::Heartbeat) => {
                self.take(key);
                self.on_heartbeat_missed(now, instance_key, out);
            }
            Some(Own::List) => self.on_look_timeout(now, key, out),
            Some(own) => {
                log::warn!(target: &self.target_of(instance_key), "no answer to muxloop's own request {own:?}");
                self.cancel_own(key, "timed out", out);
                match own {
                    Own::Subscribe(uri) => self.on_subscribe_lost(now, instance_key, &uri, out),
                    Own::Fence => self.on_fence_unanswered(now, instance_key, key, out),
                    Own::SetLevel => self.on_set_level_lost(instance_key),
                    Own::Listen => self.on_listen_ended(now, instance_key, key, true, out),
                    _ => {}
                }
            }
            None => self.time_out(now, key, out),
        }
    }

    /// A client was asked something and answered: the clocks of its requests, which stood still for
    /// that, run on from here (protocol.md §2.8).
    pub(super) fn wind_clocks(&mut self, now: Time, peer_key: Key) {
        let Some(peer) = self.peers.get(peer_key) else { return };
        let policy = &self.servers[peer.server].policy;
        for key in &peer.requests {
            if let Some(request) = self.requests.get_mut(*key).filter(|request| request.is_sent()) {
                let latest = request.started + policy.request_timeout_max_ms;
                request.deadline = (now + policy.request_timeout_ms).min(latest).max(request.deadline);
            }
        }
    }

    /// A request that may stay open for as long as it likes.
    pub(super) fn unbind(&mut self, key: Key) {
        let Some(request) = self.requests.get_mut(key) else { return };
        request.deadline = Time(u64::MAX);
        if let Some(timer) = request.timer.take() {
            self.timers.cancel(timer);
        }
    }

    fn time_out(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(mut request) = self.take_or_hand_over(now, key) else { return };
        let after = now.since(request.started);
        let instance = self.instances.get(request.instance);
        let state = instance.and_then(|i| (!i.is_ready()).then(|| i.last_failure.clone()).flatten());
        let is_held = instance.is_some_and(|i| i.is_ready() && i.holder.is_some());
        let is_fenced = instance.is_some_and(|i| i.is_ready() && i.fence.is_some());
        let name = self.name_of(request.instance).to_string();
        let text = match (&request.state, state) {
            (State::Asking(_), _) => {
                format!(
                    "server '{name}' asked the client something, and it did not come to an end within {after} ms"
                )
            }
            (State::Sent { .. } | State::Joined, _) => {
                format!("server '{name}' did not answer within {after} ms")
            }
            (_, Some(why)) => format!("server '{name}' was not ready within {after} ms: {why}"),
            (_, None) if is_held => format!(
                "server '{name}' had no turn for it within {after} ms: another call has it alone (`interactive`)"
            ),
            (_, None) if is_fenced => format!(
                "server '{name}' had no turn for it within {after} ms: it has not yet heard that another call was taken back"
            ),
            (_, None) => format!("server '{name}' was not ready within {after} ms"),
        };
        log::warn!(target: &self.target_of(request.instance), "{text} ({:?})", request.method);
        self.call_off(now, key, &mut request, "timed out", out);
        self.answer_taken(now, &mut request, &reply::Failure::new("timeout", text), out);
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
        self.schedule_heartbeat(key, now + heartbeat.interval_ms);
    }

    fn schedule_heartbeat(&mut self, key: Key, at: Time) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let timer = self.timers.schedule(at, Timer::Heartbeat(key));
        if let Some(old) = instance.heartbeat_timer.replace(timer) {
            self.timers.cancel(old);
        }
    }

    /// A child that is not ready any more is neither asked nor idle.
    pub(super) fn disarm(&mut self, key: Key) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        for timer in [instance.heartbeat_timer.take(), instance.idle_timer.take()].into_iter().flatten() {
            self.timers.cancel(timer);
        }
    }

    /// Asks an idle child whether it lives. A busy one is judged by its requests' own deadlines.
    pub(super) fn on_heartbeat(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        instance.heartbeat_timer = None;
        let Some(heartbeat) = self.servers[instance.server].policy.heartbeat else { return };
        let (Some(link), in_flight, heard, era) =
            (instance.open_link(), instance.in_flight, instance.heard, instance.era)
        else {
            return;
        };
        if in_flight > 0 || now.since(heard) < heartbeat.interval_ms {
            let next = if in_flight > 0 { now } else { heard };
            return self.schedule_heartbeat(key, (next + heartbeat.interval_ms).max(now + 1));
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
        if !instance.is_ready() {
            return;
        }
        if now.since(instance.heard) < heartbeat.timeout_ms {
            // It said something else meanwhile.
            instance.missed_heartbeats = 0;
            return self.arm_heartbeat(now, key);
        }
        instance.missed_heartbeats += 1;
        let missed = instance.missed_heartbeats;
        log::warn!(target: &self.target_of(key), "no answer to heartbeat {missed} of {}", heartbeat.failures_max);
        if missed >= heartbeat.failures_max {
            let why = format!("did not answer {missed} heartbeats in a row");
            return self.give_up_on_process(now, key, &why, out);
        }
        self.schedule_heartbeat(key, now);
    }

    pub(super) fn arm_idle_stop(&mut self, now: Time, key: Key) {
        let Some(idle_ms) = self.idle_ms(key) else { return };
        self.schedule_idle_stop(key, now + idle_ms);
    }

    /// How long an instance may be of no use. One that no client has for its own ends at some time.
    fn idle_ms(&self, key: Key) -> Option<u64> {
        let server = &self.servers[self.instances.get(key)?.server];
        server.policy.idle_stop_ms.or((server.for_guests == Some(key)).then_some(GUESTS_IDLE_MS))
    }

    fn schedule_idle_stop(&mut self, key: Key, at: Time) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let timer = self.timers.schedule(at, Timer::IdleStop(key));
        if let Some(old) = instance.idle_timer.replace(timer) {
            self.timers.cancel(old);
        }
    }

    /// Stops a child nobody needed for a while: no request, no subscription, no client's listen, no task.
    pub(super) fn on_idle(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let is_listened_to = self.is_listened_to(key);
        let Some(instance) = self.instances.get_mut(key) else { return };
        instance.idle_timer = None;
        if !instance.is_ready() {
            return;
        }
        let Some(idle_ms) = self.idle_ms(key) else { return };
        let Some(instance) = self.instances.get(key) else { return };
        let needed = instance.in_flight > 0
            || !instance.subscriptions.is_empty()
            || is_listened_to
            || instance.owners.has_tasks()
            || self.requests.iter().any(|(_, request)| request.instance == key && request.is_asking());
        let used = if needed { now } else { instance.used };
        if now.since(used) < idle_ms {
            return self.schedule_idle_stop(key, used + idle_ms);
        }
        log::info!(target: &self.target_of(key), "stopped after {idle_ms} ms without use; the next request starts it");
        self.stop(now, key, Then::Rest, out);
    }
}

/// How long the process of requests that stand for themselves may be of no use, where each other client has
/// its own, unless the policy says.
const GUESTS_IDLE_MS: u64 = 300_000;
