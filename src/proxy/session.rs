//! What the shim must know to let a client survive a restart of muxloop. Bytes only, no I/O.
//!
//! ```text
//!            found                 initialize answered
//!   (lost) ────────▶ Replaying ─────────────────────────▶ Ready ──▶ lines of the client flow
//!      ▲                 │ error, or the connection is lost  │
//!      └─────────────────┴───────────────────────────────────┘
//! ```
//!
//! While all is well every line passes as it is; what is noted here is which requests are open, and what
//! the client has set up. After a loss, open requests are answered with an error (they may or may not have
//! run), and the new connection is brought to the state of the old one: `initialize`,
//! `notifications/initialized`, `logging/setLevel`, `resources/subscribe`, open `subscriptions/listen`. The
//! client's own lines wait meanwhile. Answers to what the client did not send are swallowed.

use crate::base::SendBuf;
use crate::codec::{Incoming, Kind, Message, ScanErrorKind, Span, Value, batch};
use std::collections::BTreeMap;

/// Whether a line goes on to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Forward,
    Drop,
}

/// What one client and its connection have agreed on.
#[derive(Debug, Default)]
pub struct Session {
    /// Requests of the client without an answer, in the order they came.
    open: Vec<Open>,
    /// Requests of the server without an answer, by raw id.
    reverse: Vec<Vec<u8>>,
    /// Requests of a server that is gone: an answer to one must not reach its successor, who may use the
    /// same id for another question.
    stale: Vec<Vec<u8>>,
    /// The client's `initialize`, once it was answered.
    initialize: Option<Vec<u8>>,
    /// The client's `notifications/initialized`.
    initialized: Option<Vec<u8>>,
    /// Notifications that tell the client to read again what may have changed meanwhile.
    resync: Vec<&'static str>,
    /// The last `logging/setLevel` that was answered.
    level: Option<Vec<u8>>,
    /// Subscriptions by raw URI, as they were asked for.
    subscriptions: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Ids of the shim's own requests that are not answered.
    replayed: Vec<Vec<u8>>,
    /// Requests that the shim has made so far.
    replays: u64,
    phase: Phase,
    /// Whether this connection has brought anything but errors, and how many errors.
    heard: Heard,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Between connections.
    #[default]
    Lost,
    /// The replayed `initialize` of this raw id is not answered.
    Replaying(Vec<u8>),
    Ready,
    /// The replayed `initialize` was refused.
    Refused,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    good: bool,
    errors: u32,
}

/// A request of the client.
#[derive(Debug)]
struct Open {
    /// Raw: as it was written.
    id: Vec<u8>,
    effect: Effect,
}

/// What the success of a request changes. The vectors hold its line, the first of two the raw URI.
#[derive(Debug)]
enum Effect {
    None,
    Initialize(Vec<u8>),
    Level(Vec<u8>),
    Subscribe(Vec<u8>, Vec<u8>),
    Unsubscribe(Vec<u8>),
    /// Open as long as the client wants it.
    Listen(Vec<u8>),
}

impl Session {
    /// Nothing sent yet, not connected.
    pub fn new() -> Session {
        Session::default()
    }

    /// A connection is there: writes what brings it to the state of the last one.
    pub fn found(&mut self, to_client: &mut SendBuf, to_daemon: &mut SendBuf) {
        self.heard = Heard::default();
        for open in &self.open {
            if let Effect::Initialize(line) = &open.effect {
                put(to_daemon, line);
            }
        }
        match self.initialize.clone() {
            Some(line) => {
                let id = self.replay(&line, to_daemon);
                self.phase = Phase::Replaying(id);
            }
            None => self.finish_replay(to_client, to_daemon),
        }
    }

    /// The connection is gone: open requests are answered in its stead.
    pub fn lost(&mut self, to_client: &mut SendBuf) {
        self.phase = Phase::Lost;
        self.replayed.clear();
        let is_kept = |open: &Open| matches!(open.effect, Effect::Initialize(_) | Effect::Listen(_));
        self.open.retain(|open| is_kept(open) || fail(to_client, &open.id, RESTARTED, "restarted"));
        for id in &self.reverse {
            to_client
                .extend(br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#);
            to_client.extend(id);
            to_client.extend(b",\"reason\":\"muxloop restarted\"}}\n");
        }
        self.stale.append(&mut self.reverse);
    }

    /// Nobody will answer any more: every open request is told so.
    pub fn give_up(&mut self, to_client: &mut SendBuf) {
        self.lost(to_client);
        self.open.retain(|open| fail(to_client, &open.id, GONE, "unreachable"));
    }

    /// There was nobody from the start: every open request is told why.
    pub fn refuse(&mut self, to_client: &mut SendBuf, why: &str) {
        let quoted = serde_json::Value::from(format!("muxloop cannot be reached: {why}")).to_string();
        let text = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
        self.open.retain(|open| fail(to_client, &open.id, text, "unreachable"));
    }

    /// Takes note of a line of the client. Only in [`Session::is_ready`].
    pub fn from_client(&mut self, line: &[u8]) -> Verdict {
        let mut verdict = Verdict::Forward;
        let count = each_message(line, |message| verdict = self.note_client(message));
        if count == 1 { verdict } else { Verdict::Forward }
    }

    fn note_client(&mut self, message: &Incoming<'_>) -> Verdict {
        let envelope = &message.envelope;
        match (envelope.kind, envelope.id) {
            (Kind::Request, Some(id)) => {
                let effect = effect_of(message);
                self.open.push(Open { id: message.text(id).to_vec(), effect });
            }
            (Kind::Notification, _) => match (message.method(), envelope.request_id) {
                (b"notifications/initialized", _) => self.initialized = Some(message.bytes.to_vec()),
                (b"notifications/cancelled", Some(id)) => {
                    self.close(message.text(id));
                }
                _ => {}
            },
            (Kind::Response | Kind::Error, Some(id)) => {
                let id = message.text(id);
                // Both are checked: one answer to an id that two servers used is kept from the successor,
                // the next one is for it.
                if take(&mut self.stale, id) {
                    return Verdict::Drop;
                }
                take(&mut self.reverse, id);
            }
            _ => {}
        }
        Verdict::Forward
    }

    /// Takes note of a line of the daemon; the first of a connection may let the rest of the replay follow.
    pub fn from_daemon(&mut self, line: &[u8], to_client: &mut SendBuf, to_daemon: &mut SendBuf) -> Verdict {
        let mut verdict = Verdict::Forward;
        let count = each_message(line, |message| verdict = self.note_daemon(message, to_client, to_daemon));
        if count == 1 { verdict } else { Verdict::Forward }
    }

    fn note_daemon(
        &mut self,
        message: &Incoming<'_>,
        to_client: &mut SendBuf,
        to_daemon: &mut SendBuf,
    ) -> Verdict {
        let envelope = &message.envelope;
        match envelope.kind {
            Kind::Error => self.heard.errors += 1,
            _ => self.heard.good = true,
        }
        match (envelope.kind, envelope.id) {
            (Kind::Request, Some(id)) => self.reverse.push(message.text(id).to_vec()),
            (Kind::Notification, _) => {
                if let (b"notifications/cancelled", Some(id)) = (message.method(), envelope.request_id) {
                    take(&mut self.reverse, message.text(id));
                }
            }
            (Kind::Response | Kind::Error, Some(id)) => {
                let (id, is_success) = (message.text(id), envelope.kind == Kind::Response);
                if take(&mut self.replayed, id) {
                    self.note_replayed(id, is_success, to_client, to_daemon);
                    return Verdict::Drop;
                }
                if let Some(open) = self.close(id).filter(|_| is_success) {
                    self.apply(open.effect, message);
                }
            }
            _ => {}
        }
        Verdict::Forward
    }

    fn note_replayed(&mut self, id: &[u8], ok: bool, to_client: &mut SendBuf, to_daemon: &mut SendBuf) {
        if !matches!(&self.phase, Phase::Replaying(awaited) if awaited == id) {
            return;
        }
        match ok {
            true => self.finish_replay(to_client, to_daemon),
            false => self.phase = Phase::Refused,
        }
    }

    /// Everything after `initialize`.
    fn finish_replay(&mut self, to_client: &mut SendBuf, to_daemon: &mut SendBuf) {
        self.phase = Phase::Ready;
        self.initialized.iter().for_each(|line| put(to_daemon, line));
        let (level, subscriptions) = (self.level.take(), std::mem::take(&mut self.subscriptions));
        for line in level.iter().chain(subscriptions.values()) {
            self.replay(line, to_daemon);
        }
        for open in &self.open {
            if let Effect::Listen(line) = &open.effect {
                put(to_daemon, line);
            }
        }
        // A server that is new to the client may differ from the one it knew (protocol.md §2.8).
        if self.initialize.is_some() && self.initialized.is_some() {
            self.resync.iter().for_each(|line| put(to_client, line.as_bytes()));
        }
        for uri in subscriptions.keys() {
            to_client
                .extend(br#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"#);
            to_client.extend(uri);
            to_client.extend(b"}}\n");
        }
        (self.level, self.subscriptions) = (level, subscriptions);
    }

    fn apply(&mut self, effect: Effect, answer: &Incoming<'_>) {
        match effect {
            Effect::None | Effect::Listen(_) => {}
            Effect::Initialize(line) => {
                self.initialize = Some(line);
                self.resync = resync_of(answer);
            }
            Effect::Level(line) => self.level = Some(line),
            Effect::Subscribe(uri, line) => {
                self.subscriptions.insert(uri, line);
            }
            Effect::Unsubscribe(uri) => {
                self.subscriptions.remove(&uri);
            }
        }
    }

    /// Writes a request of the client once more, under an id of the shim's own; gives that id.
    fn replay(&mut self, line: &[u8], to_daemon: &mut SendBuf) -> Vec<u8> {
        self.replays += 1;
        let own = format!("\"muxloop-proxy-replay-{}\"", self.replays).into_bytes();
        if let Ok(message) = Incoming::scan(line)
            && let Some(id) = message.envelope.id
        {
            let mut copy = Message::new(line);
            copy.replace(id, Value::Raw(&own));
            copy.write_to(to_daemon);
            to_daemon.extend(b"\n");
        }
        self.replayed.push(own.clone());
        own
    }

    /// An answer to this raw id came and cannot be forwarded.
    pub fn forget(&mut self, id: &[u8]) {
        self.close(id);
    }

    fn close(&mut self, id: &[u8]) -> Option<Open> {
        // Answers come mostly in the order of the requests: the one that is meant is near the front.
        let at = self.open.iter().position(|open| open.id == id)?;
        Some(self.open.remove(at))
    }

    /// Whether lines of the client may be sent.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether the new muxloop did not accept the client's `initialize`.
    pub fn is_refused(&self) -> bool {
        self.phase == Phase::Refused
    }

    /// Requests of the client that wait for an answer.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether this connection has brought a message that is no error.
    pub fn has_heard(&self) -> bool {
        self.heard.good
    }

    /// Whether this connection has brought errors and nothing else: whoever answers so and hangs up means it.
    pub fn was_turned_away(&self) -> bool {
        !self.heard.good && self.heard.errors > 0
    }
}

/// Calls `note` with every message of a line, also with those of a batch, and gives how many there are
/// (a batch counts as two or more). What is no message goes on as it is: who receives it will say what is
/// wrong with it.
fn each_message(line: &[u8], mut note: impl FnMut(&Incoming<'_>)) -> usize {
    match Incoming::scan(line) {
        Ok(message) => {
            note(&message);
            1
        }
        Err(error) if error.kind == ScanErrorKind::Batch => {
            let elements = batch::elements(line).unwrap_or_default();
            elements.iter().flat_map(|span| Incoming::scan(span.of(line))).for_each(|message| note(&message));
            elements.len().max(2)
        }
        Err(_) => 0,
    }
}

fn effect_of(message: &Incoming<'_>) -> Effect {
    // The message alone, also if it came in a batch.
    let line = || message.bytes.to_vec();
    let uri = |span: Span| message.text(span).to_vec();
    match (message.method(), message.envelope.uri) {
        (b"initialize", _) => Effect::Initialize(line()),
        (b"logging/setLevel", _) => Effect::Level(line()),
        (b"subscriptions/listen", _) => Effect::Listen(line()),
        (b"resources/subscribe", Some(span)) => Effect::Subscribe(uri(span), line()),
        (b"resources/unsubscribe", Some(span)) => Effect::Unsubscribe(uri(span)),
        _ => Effect::None,
    }
}

/// What a server with these capabilities announces when its lists have changed.
fn resync_of(answer: &Incoming<'_>) -> Vec<&'static str> {
    let capabilities = answer.envelope.capabilities.map_or(&b"null"[..], |span| answer.text(span));
    let Ok(capabilities) = serde_json::from_slice::<serde_json::Value>(capabilities) else {
        return Vec::new();
    };
    let announces = |kind: &str| capabilities[kind]["listChanged"] == true;
    LIST_CHANGED.iter().filter(|(kind, _)| announces(kind)).map(|(_, line)| *line).collect()
}

const LIST_CHANGED: [(&str, &str); 3] = [
    ("tools", r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#),
    ("prompts", r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#),
    ("resources", r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#),
];

fn take(ids: &mut Vec<Vec<u8>>, id: &[u8]) -> bool {
    let at = ids.iter().position(|known| known == id);
    at.map(|at| ids.remove(at)).is_some()
}

fn put(to: &mut SendBuf, line: &[u8]) {
    to.extend(line);
    to.extend(b"\n");
}

/// Writes an error in answer to `id`. Gives `false`, for `retain`.
fn fail(to_client: &mut SendBuf, id: &[u8], message: &str, reason: &str) -> bool {
    to_client.extend(br#"{"jsonrpc":"2.0","id":"#);
    to_client.extend(id);
    let tail = format!(
        r#","error":{{"code":-32603,"message":"{message}","data":{{"muxloop":{{"reason":"{reason}"}}}}}}}}"#
    );
    put(to_client, tail.as_bytes());
    false
}

const RESTARTED: &str = "muxloop restarted while this request was open: it may or may not have run";
const GONE: &str = "muxloop is gone: this request was not answered";

#[cfg(test)]
mod tests;
