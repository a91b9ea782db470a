//! One handshake per child, answered to clients from its result (protocol.md §2.2, §3.6, P05, P06).

use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind, Message, Span, Value, json};
use crate::mux::alone::confine;
use crate::mux::era::{Refusal, Search};
use crate::mux::method::{ListKind, Method};
use crate::mux::peer::{MODERN_VERSION, Version};
use crate::mux::policy::{Interactive, ServerPolicy};
use crate::mux::queue::Asked;
use crate::mux::request::Own;
use crate::mux::server::{Era, Hello, Phase};
use crate::mux::{Mux, Sink, Timer, bridge, quote, reply};
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
        let patience = self.patience_of(now, key, era);
        let until = now + self.policy_of(key).map_or(0, |policy| policy.startup_timeout_ms);
        if let Some(instance) = self.instances.get_mut(key) {
            instance.search.until = until;
            instance.search.unheard = era == Era::Legacy;
        }
        self.send_greeting(now, key, link, era, now + patience, out);
    }

    /// Asks a child who it is, in the words of an era; it may think about that until `until`.
    pub(super) fn send_greeting(
        &mut self,
        now: Time,
        key: Key,
        link: Key,
        era: Era,
        until: Time,
        out: &mut dyn Sink,
    ) {
        let request = self.file_own(now, key, Own::Handshake, Method::Initialize, None);
        let timer = self.timers.schedule(until, Timer::Handshake(key));
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
        // A client of 2026-07-28 says what it can be asked with each request.
        let asks =
            |policy: &ServerPolicy| policy.interactive == Interactive::Serialize || policy.is_per_client();
        if policy.is_some_and(asks) {
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
        let asked = [instance.handshake.take(), instance.search.probe.take()];
        for request in asked.into_iter().flatten() {
            self.take(request);
        }
    }

    pub(super) fn on_handshake_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Phase::Starting { timer } = &mut instance.phase else { return };
        *timer = None;
        if self.on_silence(now, key, out) {
            return;
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
        request: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let name = self.name_of(key);
        let Some(instance) = self.instances.get(key) else { return };
        if !matches!(instance.phase, Phase::Starting { .. }) {
            return;
        }
        let is_probe = instance.search.probe == Some(request);
        let Some(era) = (if is_probe { Some(Era::Modern) } else { instance.era }) else { return };
        let answer = read_answer(now, era, name, msg);
        if is_probe {
            return self.on_late_probe(now, key, answer, out);
        }
        if let Some(instance) = self.instances.get_mut(key) {
            instance.handshake = None;
        }
        match answer {
            Ok(hello) if self.is_final(now, key, out) => self.on_ready(now, key, hello, out),
            Ok(_) => {}
            Err(refusal) => self.on_refusal(now, key, era, &refusal, out),
        }
    }

    pub(super) fn handshake_failed(&mut self, now: Time, key: Key, why: &str, out: &mut dyn Sink) {
        log::warn!(target: &self.target_of(key), "{why}");
        self.forget_verdict(key, out);
        let text = format!("server '{}': {why}", self.name_of(key));
        let failure = reply::Failure::new("handshake", text);
        self.fail_all(now, key, &failure, out);
        self.give_up_on_process(now, key, why, out);
    }

    /// A modern child said anew what it can do: clients are told this from now on.
    pub(super) fn refresh_hello(&mut self, now: Time, key: Key, msg: &Incoming<'_>) -> Option<Rc<Hello>> {
        let instance = self.instances.get(key)?;
        if instance.era != Some(Era::Modern) || msg.envelope.kind == Kind::Error {
            return None;
        }
        let mut hello = read_hello(now, Era::Modern, self.name_of(key), msg).ok()?;
        let instance = self.instances.get_mut(key)?;
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

    pub(super) fn on_ready(&mut self, now: Time, key: Key, mut hello: Hello, out: &mut dyn Sink) {
        self.clear_handshake(key);
        self.note_verdict(now, key, &hello, out);
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
        let old = instance.hello.clone();
        let again = instance.hello.is_some() && instance.ready_since.is_none();
        instance.phase = Phase::Ready;
        instance.ready_since = Some(now);
        instance.search = Search::default();
        instance.missed_heartbeats = 0;
        instance.used = now;
        instance.hello = Some(hello);
        instance.outdated = false;
        let server = instance.server;
        log::info!(target: &self.target(server), "ready, speaking {}", era.describe());
        if era == Era::Legacy {
            out.send(link, &Message::new(&reply::notification("notifications/initialized", None)));
        }
        self.renew_lists(key, old.as_ref(), out);
        self.revive_spares(now, server, out);
        self.arm_heartbeat(now, key);
        self.arm_idle_stop(now, key);
        if era == Era::Legacy {
            self.read_capabilities(key);
        }
        self.sync_level(now, key, out);
        self.hold_anew(key);
        self.replay_subscriptions(now, key, out);
        self.serve_listens(now, key, out);
        self.dispatch(now, key, out);
        self.sync_listen(now, key, out);
        if again {
            self.announce_restart(now, key, out);
        }
    }

    /// After a restart every client is told to look at the lists again (P22).
    fn announce_restart(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(hello) = self.instances.get(key).and_then(|i| i.hello.clone()) else { return };
        for kind in ListKind::ALL.into_iter().filter(|kind| hello.announces(*kind)) {
            if !self.looks_again(now, key, kind, out) {
                self.announce_change(now, key, kind, out);
            }
        }
        self.end_recall(key);
        self.announce_updates(key, out);
        self.announce_updates_to_listens(key, out);
    }

    /// `initialize` from the cache, at the version the client asked for.
    pub(super) fn greet(&mut self, asked: Asked<'_, '_>, hello: &Hello, out: &mut dyn Sink) {
        let Some(legacy) = self.peers.get(asked.peer).and_then(|peer| peer.legacy.as_ref()) else { return };
        let result = bridge::hello::at_version(&hello.initialized, legacy.version);
        let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
        out.send(asked.link, &Message::new(&reply::result(id, &result)));
    }
}

/// Reads a child's answer to the handshake.
fn read_answer(now: Time, era: Era, name: &str, msg: &Incoming<'_>) -> Result<Hello, Refusal> {
    if msg.envelope.kind != Kind::Error {
        return read_hello(now, era, name, msg).map_err(|why| Refusal { why, names_modern: false });
    }
    let error = msg.envelope.error.map_or(&b"{}"[..], |span| msg.text(span));
    let value: serde_json::Value = serde_json::from_slice(error).unwrap_or_default();
    let names_modern = value["code"] == reply::UNSUPPORTED_VERSION
        && value["data"]["supported"]
            .as_array()
            .is_some_and(|list| list.iter().any(|v| v.as_str() >= Some(MODERN_VERSION)));
    Err(Refusal { why: format!("it refused the handshake: {}", quote(error)), names_modern })
}

/// Reads what a child says of itself.
pub(super) fn read_hello(now: Time, era: Era, name: &str, msg: &Incoming<'_>) -> Result<Hello, String> {
    let text = msg.envelope.result.map_or(&b"null"[..], |span| msg.text(span));
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let whole = Span::new(0, text.len());
    let capabilities = &value["capabilities"];
    if !capabilities.is_object() {
        return Err(format!("its answer to the handshake has no capabilities: {}", quote(text)));
    }
    let list_changed = |name: &str| capabilities[name]["listChanged"] == true;
    let (initialized, discovered, server_info, fresh_until) = match era {
        Era::Legacy => {
            let version = json::member(text, whole, "protocolVersion");
            if version.is_none_or(|span| !span.of(text).starts_with(b"\"")) {
                return Err(format!("its answer to `initialize` has no protocolVersion: {}", quote(text)));
            }
            let info = bridge::hello::legacy_server_info(text, name);
            (text.to_vec(), bridge::hello::discovered(text, name), info, Time(u64::MAX))
        }
        Era::Modern => {
            let supported = value["supportedVersions"].as_array();
            if !supported.is_some_and(|list| list.iter().any(|v| v == MODERN_VERSION)) {
                return Err(format!("it does not speak {MODERN_VERSION}: {}", quote(text)));
            }
            // Clients are offered what works through muxloop (P43).
            let mut discovered = text.to_vec();
            if let Some(span) = json::member(text, whole, "supportedVersions") {
                let mut edited = Message::new(text);
                let only = format!("[\"{MODERN_VERSION}\"]");
                edited.replace(span, Value::Raw(only.as_bytes()));
                discovered = edited.to_vec();
            }
            let info = bridge::hello::modern_server_info(text, name);
            let initialized = bridge::hello::initialized(text, name);
            (initialized, discovered, info, now + value["ttlMs"].as_u64().unwrap_or(0))
        }
    };
    Ok(Hello {
        era,
        initialized,
        discovered,
        server_info,
        logging: capabilities["logging"].is_object(),
        subscribe: capabilities["resources"]["subscribe"] == true,
        tools_changed: list_changed("tools"),
        prompts_changed: list_changed("prompts"),
        resources_changed: list_changed("resources"),
        fresh_until,
    })
}
