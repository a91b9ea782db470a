//! One handshake per child, answered to clients from its result (protocol.md §2.2, §3.6, P05, P06).

use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind, Message, Span, Value, json};
use crate::mux::alone::confine;
use crate::mux::method::{ListKind, Method};
use crate::mux::peer::{MODERN_VERSION, Version};
use crate::mux::policy::{EraPolicy, Interactive};
use crate::mux::queue::Asked;
use crate::mux::request::Own;
use crate::mux::server::{Era, Hello, Phase, Then};
use crate::mux::{Mux, Sink, Timer, quote, reply};
use serde_json::json;
use std::rc::Rc;

impl Mux {
    /// Greets a running child in its era; waits for the first client where that is not known yet.
    pub(super) fn begin_handshake(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(key) else { return };
        let (Some(link), Some(era)) = (instance.link, instance.era) else { return };
        if !matches!(instance.phase, Phase::Starting { .. }) || instance.handshake.is_some() {
            return;
        }
        let policy = &self.servers[instance.server].policy;
        // A child that knows no `server/discover` may ignore it: do not wait as long as for a slow start.
        let is_known = self.fresh_verdict(now, instance.server) == Some(era);
        let guess = era == Era::Modern && policy.era == EraPolicy::Auto && !is_known;
        let patience =
            if guess { policy.startup_timeout_ms.min(PROBE_MS) } else { policy.startup_timeout_ms };
        let request = self.file_own(now, key, Own::Handshake, Method::Initialize, None);
        let timer = self.timers.schedule(now + patience, Timer::Handshake(key));
        let text = match era {
            Era::Legacy => self.initialize_request(key, request),
            Era::Modern => reply::request(request.as_u64(), "server/discover", self.own_meta(json!({}))),
        };
        if let Some(instance) = self.instances.get_mut(key) {
            instance.phase = Phase::Starting { timer: Some(timer) };
            instance.handshake = Some(request);
        }
        out.send(link, &Message::new(&text));
    }

    /// `initialize` in muxloop's name; in the client's own words where the child is its alone.
    fn initialize_request(&self, key: Key, request: Key) -> Vec<u8> {
        let instance = self.instances.get(key);
        let owner = instance
            .and_then(|i| i.owner)
            .and_then(|peer| self.peers.get(peer))
            .and_then(|peer| peer.legacy.as_ref());
        if let Some(legacy) = owner {
            let mut text = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"initialize\",\"params\":",
                request.as_u64()
            )
            .into_bytes();
            text.extend_from_slice(&legacy.params);
            text.push(b'}');
            return text;
        }
        let policy = self.policy_of(key);
        let mut capabilities = json!({});
        if policy.is_some_and(|policy| policy.interactive == Interactive::Serialize) {
            capabilities =
                json!({ "sampling": { "tools": {} }, "elicitation": { "form": {}, "url": {} }, "roots": {} });
        } else if policy.is_some_and(|policy| !policy.roots.is_empty()) {
            capabilities["roots"] = json!({});
        }
        let params = json!({
            "protocolVersion": Version::LATEST.name(),
            "capabilities": capabilities,
            "clientInfo": { "name": "muxloop", "version": env!("CARGO_PKG_VERSION") },
        });
        reply::request(request.as_u64(), "initialize", params)
    }

    /// Forgets a handshake that is under way.
    pub(super) fn clear_handshake(&mut self, key: Key) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        if let Phase::Starting { timer: Some(timer) } = instance.phase {
            self.timers.cancel(timer);
        }
        if let Some(request) = instance.handshake.take() {
            self.take(request);
        }
    }

    pub(super) fn on_handshake_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Phase::Starting { timer } = &mut instance.phase else { return };
        *timer = None;
        if instance.era == Some(Era::Modern) && self.may_try_other_era(key) {
            log::info!(target: &self.target_of(key), "no answer to `server/discover`: trying `initialize`");
            return self.stop(now, key, Then::Respawn(Era::Legacy), out);
        }
        let ms = self.policy_of(key).map_or(0, |policy| policy.startup_timeout_ms);
        self.handshake_failed(
            now,
            key,
            &format!("no answer to the handshake within {ms} ms (`startup_timeout_ms`)"),
            out,
        );
    }

    pub(super) fn on_handshake_answer(
        &mut self,
        now: Time,
        key: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        instance.handshake = None;
        if let Phase::Starting { timer } = &mut instance.phase {
            if let Some(timer) = timer.take() {
                self.timers.cancel(timer);
            }
        } else {
            return;
        }
        let Some(era) = self.instances.get(key).and_then(|i| i.era) else { return };
        if msg.envelope.kind == Kind::Error {
            return self.on_handshake_error(now, key, era, msg, out);
        }
        match read_hello(now, era, msg) {
            Ok(hello) => self.on_ready(now, key, hello, out),
            Err(why) if self.may_try_other_era(key) => {
                log::info!(target: &self.target_of(key), "{why}: trying the other era");
                self.stop(now, key, Then::Respawn(era.other()), out);
            }
            Err(why) => self.handshake_failed(now, key, &why, out),
        }
    }

    /// An error says that the child is of the other era, unless it names a modern version (P50).
    fn on_handshake_error(&mut self, now: Time, key: Key, era: Era, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let error = msg.envelope.error.map_or(&b"{}"[..], |span| msg.text(span));
        let value: serde_json::Value = serde_json::from_slice(error).unwrap_or_default();
        let names_modern = value["code"] == reply::UNSUPPORTED_VERSION
            && value["data"]["supported"]
                .as_array()
                .is_some_and(|list| list.iter().any(|v| v.as_str() >= Some(MODERN_VERSION)));
        let may_switch = self.may_try_other_era(key) && !(era == Era::Modern && names_modern);
        if may_switch {
            log::info!(target: &self.target_of(key), "it refused the handshake of {}: trying the other era", era.describe());
            return self.stop(now, key, Then::Respawn(era.other()), out);
        }
        self.handshake_failed(now, key, &format!("it refused the handshake: {}", quote(error)), out);
    }

    fn handshake_failed(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        log::warn!(target: &self.target_of(key), "{why}");
        let text = format!("server '{}': {why}", self.name_of(key));
        let failure = reply::Failure::new("handshake", text);
        self.fail_all(now, key, &failure, out);
        self.give_up_on_process(now, key, why, out);
    }

    /// A modern child said anew what it can do: clients are told this from now on.
    pub(super) fn refresh_hello(&mut self, now: Time, key: Key, msg: &Incoming<'_>) -> Option<Rc<Hello>> {
        let instance = self.instances.get_mut(key)?;
        if instance.era != Some(Era::Modern) || msg.envelope.kind == Kind::Error {
            return None;
        }
        let mut hello = read_hello(now, Era::Modern, msg).ok()?;
        let server = &mut self.servers[instance.server];
        if server.policy.is_per_request() {
            confine(&mut hello);
        }
        let hello = Rc::new(hello);
        instance.hello = Some(hello.clone());
        if server.policy.is_per_request() {
            server.hello = Some(hello.clone());
        }
        Some(hello)
    }

    fn on_ready(&mut self, now: Time, key: Key, mut hello: Hello, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Some(link) = instance.link else { return };
        let server = &mut self.servers[instance.server];
        if server.policy.is_per_request() {
            confine(&mut hello);
        }
        let hello = Rc::new(hello);
        if server.policy.is_per_request() {
            server.hello = Some(hello.clone());
        }
        let era = hello.era;
        let again =
            instance.hello.as_ref().is_some_and(|old| old.era == era) && instance.ready_since.is_none();
        instance.phase = Phase::Ready;
        instance.ready_since = Some(now);
        instance.tried_other_era = false;
        instance.missed_heartbeats = 0;
        instance.used = now;
        instance.hello = Some(hello);
        let server = instance.server;
        self.servers[server].verdict = Some((era, now + VERDICT_MS));
        log::info!(target: &self.target(server), "ready, speaking {}", era.describe());
        if era == Era::Legacy {
            out.send(link, &Message::new(&reply::notification("notifications/initialized", None)));
        }
        self.revive_spares(now, server, out);
        self.arm_heartbeat(now, key);
        self.arm_idle_stop(now, key);
        if era == Era::Legacy {
            let failure = self.era_failure(key, Era::Modern);
            self.refuse_listens(now, key, &failure, |_| true, out);
        }
        self.sync_level(now, key, out);
        self.replay_subscriptions(now, key, out);
        self.dispatch(now, key, out);
        self.sync_listen(now, key, out);
        if again {
            self.announce_restart(now, key, out);
        }
    }

    /// After a restart every client is told to look at the lists again (P22).
    fn announce_restart(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(hello) = self.instances.get(key).and_then(|i| i.hello.clone()) else { return };
        if hello.era == Era::Modern {
            return self.announce_to_listens(key, out);
        }
        for kind in ListKind::ALL.into_iter().filter(|kind| hello.announces(*kind)) {
            self.on_list_changed(now, key, kind, out);
        }
        self.announce_updates(key, out);
    }

    /// `initialize` from the cache, at the version the client asked for.
    pub(super) fn greet(&mut self, asked: Asked<'_, '_>, hello: &Hello, out: &mut dyn Sink) {
        let Some(legacy) = self.peers.get(asked.peer).and_then(|peer| peer.legacy.as_ref()) else { return };
        let version = format!("\"{}\"", legacy.version.name());
        let mut result = Message::new(&hello.result);
        if let Some(span) = hello.version {
            result.replace(span, Value::Raw(version.as_bytes()));
        }
        let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
        out.send(asked.link, &Message::new(&reply::result(id, &result.to_vec())));
    }
}

/// Reads what a child says of itself.
fn read_hello(now: Time, era: Era, msg: &Incoming<'_>) -> Result<Hello, String> {
    let text = msg.envelope.result.map_or(&b"null"[..], |span| msg.text(span));
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let whole = Span::new(0, text.len());
    let capabilities = &value["capabilities"];
    if !capabilities.is_object() {
        return Err(format!("its answer to the handshake has no capabilities: {}", quote(text)));
    }
    let list_changed = |name: &str| capabilities[name]["listChanged"] == true;
    let mut result = text.to_vec();
    let (version, fresh_until) = match era {
        Era::Legacy => {
            let version = json::member(text, whole, "protocolVersion");
            if version.is_none_or(|span| !span.of(text).starts_with(b"\"")) {
                return Err(format!("its answer to `initialize` has no protocolVersion: {}", quote(text)));
            }
            (version, Time(u64::MAX))
        }
        Era::Modern => {
            let supported = value["supportedVersions"].as_array();
            if !supported.is_some_and(|list| list.iter().any(|v| v == MODERN_VERSION)) {
                return Err(format!("it does not speak {MODERN_VERSION}: {}", quote(text)));
            }
            // Clients are offered what works through muxloop (P43).
            if let Some(span) = json::member(text, whole, "supportedVersions") {
                let mut edited = Message::new(text);
                let only = format!("[\"{MODERN_VERSION}\"]");
                edited.replace(span, Value::Raw(only.as_bytes()));
                result = edited.to_vec();
            }
            (None, now + value["ttlMs"].as_u64().unwrap_or(0))
        }
    };
    Ok(Hello {
        era,
        result,
        version,
        logging: capabilities["logging"].is_object(),
        subscribe: capabilities["resources"]["subscribe"] == true,
        tools_changed: list_changed("tools"),
        prompts_changed: list_changed("prompts"),
        resources_changed: list_changed("resources"),
        fresh_until,
    })
}

/// How long `server/discover` may stay unanswered while the era is a guess.
const PROBE_MS: u64 = 10_000;
/// How long a finding about a server's era is believed: a server may be updated (protocol.md §3.6).
const VERDICT_MS: u64 = 24 * 3_600_000;
