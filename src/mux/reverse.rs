//! Requests of children to clients (protocol.md §2.4, §2.6): attributed, serialised, per client, or
//! refused; never guessed.

use crate::base::limits::REVERSE_PER_CHILD;
use crate::base::{Key, ShortBytes, Time};
use crate::codec::edit::is_object;
use crate::codec::{Incoming, Message, Value, json};
use crate::mux::method::Method;
use crate::mux::peer::{Capabilities, Peer, Reverse};
use crate::mux::policy::{Interactive, ServerPolicy};
use crate::mux::server::{Era, Holder};
use crate::mux::{Mux, Sink, Timer, parse_key, quote, reply};
use serde_json::json;
use std::borrow::Cow;

impl Mux {
    pub(super) fn on_child_request(
        &mut self,
        now: Time,
        key: Key,
        link: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(instance) = self.instances.get(key) else { return };
        let Some(id) = msg.envelope.id.map(|span| msg.text(span)) else { return };
        if instance.era == Some(Era::Modern) {
            // A modern server asks by `input_required`; its clients must not send responses.
            return log::warn!(target: &self.target_of(key), "a request of a 2026-07-28 server was ignored: {}", quote(msg.bytes));
        }
        let method = Method::parse(msg.method());
        let policy = &self.servers[instance.server].policy;
        if method == Method::Ping {
            return out.send(link, &Message::new(&reply::result(id, b"{}")));
        }
        if let Some(roots) = configured_roots(policy).filter(|_| method == Method::RootsList) {
            return out.send(link, &Message::new(&reply::result(id, &roots)));
        }
        match self.whom_to_ask(key, method, msg) {
            Ok(Whom::Client(peer)) => self.ask(now, key, peer, method, msg, out),
            Ok(Whom::Call(call)) => self.ask_call(now, call, method, msg),
            Err((code, why)) => {
                log::info!(target: &self.target_of(key), "its request {} was refused: {why}", quote(msg.method()));
                out.send(link, &Message::new(&reply::error(id, code, &why)));
                self.note_refused(key, method, msg);
            }
        }
    }

    /// The one that a request is for (the rules of protocol.md §2.6 in their order).
    fn whom_to_ask(&self, key: Key, method: Method, msg: &Incoming<'_>) -> Result<Whom, (i32, String)> {
        let Some(instance) = self.instances.get(key) else { return Err((reply::INTERNAL, "gone".into())) };
        let server = &self.servers[instance.server];
        if instance.reverse >= REVERSE_PER_CHILD || self.reverse.is_full() {
            return Err((
                reply::INTERNAL,
                format!("more than {REVERSE_PER_CHILD} unanswered requests to clients"),
            ));
        }
        let need = Need::of(method, msg);
        let unsupported = need.unsupported();
        let task = msg.envelope.meta_related_task.and_then(|span| json::member(msg.bytes, span, "taskId"));
        if let (Some(Holder::Call(call)), None) = (instance.holder, task) {
            if let Some(flaw) = flaw(method, msg) {
                return Err((reply::INVALID_PARAMS, flaw.into()));
            }
            return match self.may_ask_call(call, method, need, msg.bytes.len()) {
                Ok(()) => Ok(Whom::Call(call)),
                Err(None) => Err((unsupported, need.nobody())),
                Err(Some(why)) => Err(why),
            };
        }
        if let Some(owner) = instance.owner {
            match self.peers.get(owner) {
                Some(peer) if peer.legacy.is_some() && !peer.draining => return Ok(Whom::Client(owner)),
                Some(peer) if !peer.draining => {}
                _ => return Err((reply::INTERNAL, "the client disconnected".into())),
            }
        }
        if server.policy.interactive == Interactive::Off && !server.policy.is_per_client() {
            let why = "this server's clients cannot be asked (`interactive = \"off\"`; \"serialize\" or \"per-client\" would allow it)";
            return Err((unsupported, why.into()));
        }
        if !matches!(method, Method::Sampling | Method::Elicit | Method::RootsList) {
            return Err((reply::METHOD_NOT_FOUND, format!("no client can be asked {}", quote(msg.method()))));
        }
        if let Some(task) = task.and_then(|id| instance.owners.task(msg.text(id))) {
            let capable = self.peers.get(task.owner).is_some_and(|peer| need.met_by_client(peer));
            let refusal = || (unsupported, need.refusal().into());
            return if capable { Ok(Whom::Client(task.owner)) } else { Err(refusal()) };
        }
        self.only_candidate(key, need).map(Whom::Client).map_err(|code| match code {
            None => (unsupported, need.nobody()),
            Some(count) => {
                log::error!(target: &self.target_of(key), "{count} clients could be meant by a request: none was asked");
                (reply::INTERNAL, "it cannot be told which client is meant".into())
            }
        })
    }

    /// The one client with a request in flight that may be asked this; else how many there are.
    fn only_candidate(&self, key: Key, need: Need) -> Result<Key, Option<usize>> {
        let mut candidates: Vec<Key> = self
            .requests
            .iter()
            .filter(|(_, request)| {
                request.instance == key
                    && request.era == Era::Legacy
                    && request.is_sent()
                    && request.method.is_interactive()
            })
            .filter_map(|(_, request)| request.peer())
            .filter(|peer| self.peers.get(*peer).is_some_and(|peer| need.met_by_client(peer)))
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        match candidates[..] {
            [only] => Ok(only),
            [] => Err(None),
            _ => Err(Some(candidates.len())),
        }
    }

    fn ask(
        &mut self,
        now: Time,
        key: Key,
        peer_key: Key,
        method: Method,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let older = self.older_question(peer_key, method, msg);
        let older = older.as_deref().and_then(|text| Incoming::scan(text).ok());
        let msg = older.as_ref().unwrap_or(msg);
        let Some(instance) = self.instances.get_mut(key) else { return };
        let Some(id) = msg.envelope.id else { return };
        instance.reverse += 1;
        let server = instance.server;
        let patience = self.servers[server].policy.request_timeout_max_ms;
        let reverse = self.reverse.next_key();
        let timer = self.timers.schedule(now + patience, Timer::Reverse(reverse));
        let token = msg.envelope.meta_token;
        self.reverse.insert(Reverse {
            instance: key,
            peer: peer_key,
            id: ShortBytes::new(msg.text(id)),
            token: token.map(|span| ShortBytes::new(msg.text(span))),
            timer,
            call: None,
        });
        if let Some(id) = msg.envelope.elicitation_id.filter(|_| method == Method::Elicit) {
            instance.owners.add_elicitation(msg.text(id), peer_key);
        }
        let Some(peer) = self.peers.get_mut(peer_key) else { return };
        peer.reverse.push(reverse);
        let link = peer.link;
        let mut message = Message::new(msg.bytes);
        message.replace(id, Value::Integer(reverse.as_u64()));
        if let Some(token) = token {
            message.replace(token, Value::Integer(reverse.as_u64()));
        }
        out.send(link, &message);
        // Its answer must get through.
        self.unpause_if_small(peer_key, out);
    }

    /// A client's answer goes back under the child's own id (P15), if that client was asked.
    pub(super) fn on_client_answer(
        &mut self,
        now: Time,
        peer_key: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(id) = msg.envelope.id else { return };
        let key =
            parse_key(msg.text(id)).filter(|key| self.reverse.get(*key).is_some_and(|r| r.peer == peer_key));
        let Some(reverse) = key.and_then(|key| self.take_reverse(key)) else {
            self.counters.unrequested += 1;
            let server = self.peers.get(peer_key).map_or(0, |peer| peer.server);
            let text = quote(msg.bytes);
            return log::debug!(target: &self.target(server), "an answer nobody asked a client for was dropped: {text}");
        };
        if let Some((call, number)) = reverse.call {
            return self.on_round_answer(now, call, number, msg, out);
        }
        if let Some(link) = self.instances.get(reverse.instance).and_then(|i| i.open_link()) {
            let mut message = Message::new(msg.bytes);
            message.replace(id, Value::Raw(&reverse.id));
            out.send(link, &message);
        }
        self.wind_clocks(now, peer_key);
        self.unpause_if_small(peer_key, out);
    }

    pub(super) fn take_reverse(&mut self, key: Key) -> Option<Reverse> {
        let reverse = self.reverse.remove(key)?;
        self.timers.cancel(reverse.timer);
        if let Some(peer) = self.peers.get_mut(reverse.peer) {
            peer.reverse.retain(|other| *other != key);
        }
        if let Some(instance) = self.instances.get_mut(reverse.instance) {
            instance.reverse -= 1;
        }
        Some(reverse)
    }

    /// The child takes back what it asked, or ends a listen (protocol.md §2.5).
    pub(super) fn on_child_cancel(
        &mut self,
        now: Time,
        instance: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) {
        let Some(span) = msg.envelope.request_id else { return };
        let id = msg.text(span);
        if let Some(key) = parse_key(id) {
            let is_listen =
                self.requests.get(key).is_some_and(|r| r.instance == instance && r.method == Method::Listen);
            if is_listen {
                self.take(key);
                return self.on_listen_ended(now, instance, key, false, out);
            }
        }
        self.take_back_question(instance, id);
        let found = self
            .reverse
            .iter()
            .find(|(_, r)| r.instance == instance && r.call.is_none() && *r.id == *id)
            .map(|(key, _)| key);
        let Some((key, reverse)) = found.and_then(|key| Some((key, self.take_reverse(key)?))) else { return };
        if let Some(peer) = self.peers.get(reverse.peer) {
            let mut message = Message::new(msg.bytes);
            message.replace(span, Value::Integer(key.as_u64()));
            out.send(peer.link, &message);
        }
    }

    /// A client that was asked does not answer.
    pub(super) fn on_reverse_timeout(&mut self, now: Time, key: Key, out: &mut dyn Sink) {
        let Some(reverse) = self.take_reverse(key) else { return };
        if let Some(peer) = self.peers.get(reverse.peer) {
            out.send(peer.link, &Message::new(&reply::cancelled(key.as_u64(), "timed out")));
        }
        self.refuse(now, &reverse, "the client did not answer in time", out);
    }

    /// A client's answer cannot be passed on: that is what the child is told, if it was asked.
    pub(super) fn refuse_answered(
        &mut self,
        now: Time,
        peer_key: Key,
        id: Option<&[u8]>,
        why: &str,
        out: &mut dyn Sink,
    ) {
        let key = id.and_then(parse_key);
        let asked = key.filter(|key| self.reverse.get(*key).is_some_and(|r| r.peer == peer_key));
        if let Some(reverse) = asked.and_then(|key| self.take_reverse(key)) {
            self.refuse(now, &reverse, why, out);
        }
    }

    /// A client leaves with questions open (protocol.md §2.8).
    pub(super) fn refuse_reverse_of(&mut self, now: Time, peer_key: Key, out: &mut dyn Sink) {
        let open = self.peers.get(peer_key).map(|peer| peer.reverse.clone()).unwrap_or_default();
        for key in open {
            if let Some(reverse) = self.take_reverse(key) {
                self.refuse(now, &reverse, "the client disconnected", out);
            }
        }
    }

    fn refuse(&mut self, now: Time, reverse: &Reverse, why: &str, out: &mut dyn Sink) {
        if let Some((call, number)) = reverse.call {
            return self.without_answer(now, call, number, why, out);
        }
        if let Some(link) = self.instances.get(reverse.instance).and_then(|i| i.open_link()) {
            out.send(link, &Message::new(&reply::error(&reverse.id, reply::INTERNAL, why)));
        }
    }

    /// The process that asked is gone: its questions are taken back.
    pub(super) fn forget_reverse(&mut self, instance: Key, out: &mut dyn Sink) {
        let open: Vec<Key> = self
            .reverse
            .iter()
            .filter(|(_, r)| r.instance == instance && r.call.is_none())
            .map(|(key, _)| key)
            .collect();
        for key in open {
            let Some(reverse) = self.take_reverse(key) else { continue };
            if let Some(peer) = self.peers.get(reverse.peer) {
                out.send(
                    peer.link,
                    &Message::new(&reply::cancelled(key.as_u64(), "the server was restarted")),
                );
            }
        }
    }
}

/// Why a question could not be read as an entry of `inputRequests` (protocol.md §1.2.6): its client would not
/// come again.
fn flaw(method: Method, msg: &Incoming<'_>) -> Option<&'static str> {
    if !matches!(method, Method::Sampling | Method::Elicit) {
        return None;
    }
    if !msg.envelope.params.is_some_and(|params| is_object(msg.bytes, params)) {
        return Some("`params` must be an object");
    }
    let mode = mode_of(msg).filter(|_| method == Method::Elicit)?;
    (!matches!(&*mode, "form" | "url")).then_some("`mode` must be \"form\" or \"url\"")
}

/// How an elicitation asks, if it says so in a text.
fn mode_of<'m>(msg: &'m Incoming<'_>) -> Option<Cow<'m, str>> {
    json::unescape(msg.text(msg.envelope.mode?))
}

/// Who is asked.
enum Whom {
    /// A client, by a request to it.
    Client(Key),
    /// A client, by the answer to this request of it.
    Call(Key),
}

/// What a client must have declared to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Sampling,
    SamplingWithTools,
    ElicitForm,
    ElicitUrl,
    Roots,
}

impl Need {
    pub(super) fn of(method: Method, msg: &Incoming<'_>) -> Need {
        match method {
            Method::Sampling => {
                let params = msg.envelope.params;
                let has = |name| params.is_some_and(|at| json::member(msg.bytes, at, name).is_some());
                let with_tools = has("tools") || has("toolChoice");
                if with_tools { Need::SamplingWithTools } else { Need::Sampling }
            }
            Method::Elicit if mode_of(msg).as_deref() == Some("url") => Need::ElicitUrl,
            Method::Elicit => Need::ElicitForm,
            _ => Need::Roots,
        }
    }

    /// Whether it can be asked: it declared what is needed, and may still say something.
    pub(super) fn met_by_client(self, peer: &Peer) -> bool {
        !peer.draining && peer.legacy.as_ref().is_some_and(|legacy| self.met_by(legacy.capabilities))
    }

    pub(super) fn met_by(self, capabilities: Capabilities) -> bool {
        match self {
            Need::Sampling => capabilities.sampling,
            Need::SamplingWithTools => capabilities.sampling_tools,
            Need::ElicitForm => capabilities.elicitation_form,
            Need::ElicitUrl => capabilities.elicitation_url,
            Need::Roots => capabilities.roots,
        }
    }

    /// The code of a refusal (protocol.md §2.4).
    pub(super) fn unsupported(self) -> i32 {
        if self == Need::Roots { reply::METHOD_NOT_FOUND } else { reply::INVALID_PARAMS }
    }

    /// As `ClientCapabilities`.
    pub(super) fn capabilities(self) -> serde_json::Value {
        match self {
            Need::Sampling => json!({ "sampling": {} }),
            Need::SamplingWithTools => json!({ "sampling": { "tools": {} } }),
            Need::ElicitForm => json!({ "elicitation": { "form": {} } }),
            Need::ElicitUrl => json!({ "elicitation": { "url": {} } }),
            Need::Roots => json!({ "roots": {} }),
        }
    }

    /// Why nobody is asked.
    pub(super) fn nobody(self) -> String {
        format!("no client with a request in flight {}", self.refusal())
    }

    pub(super) fn refusal(self) -> &'static str {
        match self {
            Need::Sampling => "supports sampling",
            Need::SamplingWithTools => "supports sampling with tools",
            Need::ElicitForm => "supports elicitation by form",
            Need::ElicitUrl => "supports elicitation by URL",
            Need::Roots => "has roots",
        }
    }
}

/// The answer to `roots/list` that the configuration gives, if it gives one.
pub(super) fn configured_roots(policy: &ServerPolicy) -> Option<Vec<u8>> {
    let roots = policy.roots.iter().map(|root| json!({ "uri": root.uri, "name": root.name }));
    let roots: Vec<_> = roots.map(without_null_name).collect();
    (!roots.is_empty()).then(|| json!({ "roots": roots }).to_string().into_bytes())
}

fn without_null_name(mut root: serde_json::Value) -> serde_json::Value {
    if let Some(root) = root.as_object_mut().filter(|root| root["name"].is_null()) {
        root.remove("name");
    }
    root
}
