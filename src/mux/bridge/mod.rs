//! Clients of one era on a child of the other (protocol.md §4): what is said is put into the other era's
//! words, in both directions.
//!
//! Who asks, who answers and under which ids is decided elsewhere, and is the same for all eras. Here is
//! what has to be written anew on the way:
//!
//! ```text
//! edit      objects, member by member, numbers and unknown members as written
//! request   a client's request  ─▶ child      hello    the child's word on itself ─▶ clients
//! result    a child's result    ─▶ client     error    a child's error           ─▶ client
//! rounds    what a modern child wants to hear first ─▶ questions to its legacy client, and asking again
//! content   what older clients cannot read ─▶ what they can
//! suspended a legacy child's questions during a modern client's call, asked by way of its answer
//! inputs    those questions and their answers, as they are written
//! listens   changes at the child  ─▶ clients, and what they want to hear of ─▶ child
//! levels    log levels of clients ─▶ child, its lines ─▶ clients
//! ```
//!
//! Traffic within one era never comes here; it is spliced, not parsed.

mod content;
use crate::codec::edit;
mod error;
pub(super) mod hello;
mod inputs;
mod levels;
mod listens;
mod question;
mod request;
mod result;
pub(super) mod rounds;
pub(super) mod suspended;

use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind, json};
use crate::mux::method::Method;
use crate::mux::peer::{Capabilities, Version};
use crate::mux::request::{Origin, Request, State};
use crate::mux::server::Era;
use crate::mux::{Mux, Sink, reply};
pub(super) use levels::Floor;
pub(super) use request::legacy_identity;

impl Mux {
    /// A client's request in the words of its child's era; `None` where it is in them already. An error is
    /// the text to refuse it with (-32602).
    pub(super) fn cross_request(
        &mut self,
        now: Time,
        key: Key,
        msg: &Incoming<'_>,
        out: &mut dyn Sink,
    ) -> Option<Result<Vec<u8>, String>> {
        let request = self.requests.get(key)?;
        let actual = self.instances.get(request.instance)?.era?;
        if actual == request.era {
            return None;
        }
        self.cross_level(now, key, out);
        if actual == Era::Legacy {
            let method = self.requests.get(key)?.method;
            // A call that is suspended is not made anew.
            let state = inputs::state_of(msg).filter(|_| method.may_ask_by_answer());
            return Some(
                state.map_or_else(|| Ok(request::to_legacy(msg, method)), |_| Err(suspended::UNKNOWN.into())),
            );
        }
        let request = self.requests.get(key)?;
        let peer = request.peer().and_then(|peer| self.peers.get(peer))?;
        // Its `initialize` came to nothing while this waited.
        let Some(legacy) = &peer.legacy else { return Some(Err(NO_HANDSHAKE.into())) };
        Some(request::to_modern(msg, &legacy.identity, request.log_level))
    }

    /// A child turned out to be one that may ask: what can be asked of those who wait for it was not looked at
    /// while it seemed to be none.
    pub(super) fn read_capabilities(&mut self, instance: Key) {
        for (_, request) in self.requests.iter_mut().filter(|(_, r)| r.instance == instance) {
            let State::Waiting(bytes) = &request.state else { continue };
            let Ok(msg) = Incoming::scan(bytes) else { continue };
            if let Some(capabilities) = msg.envelope.meta_client_capabilities {
                request.capabilities = Capabilities::parse(msg.text(capabilities));
            }
        }
    }

    /// A child's answer in the words of its client, or as it is where the client reads it so.
    pub(super) fn cross_answer(&self, request: &Request, msg: &Incoming<'_>) -> Option<Vec<u8>> {
        let era = self.instances.get(request.instance)?.era?;
        // Most are said here already.
        if era == request.era
            && (era == Era::Modern || !may_be_newer(msg, request.method))
            && !self.is_filtered(request)
        {
            return None;
        }
        self.cross_answer_of(era, request, msg)
    }

    /// Without merged endpoints there are no filters.
    #[cfg(not(feature = "gateway"))]
    fn is_filtered(&self, _request: &Request) -> bool {
        false
    }

    /// The same of an answer that is in the words of this era.
    pub(super) fn cross_answer_of(&self, era: Era, request: &Request, msg: &Incoming<'_>) -> Option<Vec<u8>> {
        let crossed = self.in_words_of_client(era, request, msg);
        #[cfg(feature = "gateway")]
        if let Some(text) = self.without_denied(request, crossed.as_deref().unwrap_or(msg.bytes)) {
            return Some(text);
        }
        crossed
    }

    fn in_words_of_client(&self, era: Era, request: &Request, msg: &Incoming<'_>) -> Option<Vec<u8>> {
        let version = match &request.origin {
            Origin::Peer { peer, .. } => self.version_of(*peer, request),
            Origin::Suspended(_) => Version::LATEST,
            Origin::Own(_) => return None,
        };
        match (era, request.era) {
            (Era::Legacy, Era::Modern) => {
                let hello = self.instances.get(request.instance)?.hello.as_ref()?;
                let (method, info) = (request.method, &hello.server_info);
                if msg.envelope.kind == Kind::Error {
                    return error::to_modern(msg, method, request.capabilities, request.lacks, info);
                }
                Some(result::to_modern(msg, method, info))
            }
            (Era::Modern, Era::Legacy) if msg.envelope.kind == Kind::Error => error::to_legacy(msg),
            (Era::Modern, Era::Legacy) => {
                let text = result::to_legacy(msg, request.method);
                let older = Incoming::scan(&text).ok().and_then(|msg| older(&msg, request.method, version));
                Some(older.unwrap_or(text))
            }
            (Era::Legacy, Era::Legacy) => older(msg, request.method, version),
            (Era::Modern, Era::Modern) => None,
        }
    }

    /// A legacy child's question in the words of a client that is older; `None` if it is in them already.
    pub(super) fn older_question(&self, peer: Key, method: Method, msg: &Incoming<'_>) -> Option<Vec<u8>> {
        let version = self.peers.get(peer)?.legacy.as_ref()?.version;
        if method != Method::Sampling || version == Version::LATEST {
            return None;
        }
        let messages = json::member(msg.bytes, msg.envelope.params?, "messages")?;
        let told = content::messages_for(msg.bytes, messages, version);
        (told != msg.text(messages)).then(|| edit::replaced(msg.bytes, messages, &told))
    }

    fn version_of(&self, peer: Key, request: &Request) -> Version {
        let legacy = self.peers.get(peer).and_then(|peer| peer.legacy.as_ref());
        legacy.filter(|_| request.era == Era::Legacy).map_or(Version::LATEST, |legacy| legacy.version)
    }
}

/// A result without what came after the client's version (protocol.md §4.1); `None` if nothing is in it.
fn older(msg: &Incoming<'_>, method: Method, version: Version) -> Option<Vec<u8>> {
    if version >= Version::V2025_06_18 || !may_be_newer(msg, method) {
        return None;
    }
    content::for_version(msg, version)
}

/// Whether something of a later version can be in it.
fn may_be_newer(msg: &Incoming<'_>, method: Method) -> bool {
    matches!(method, Method::ToolsCall | Method::PromptsGet) && msg.envelope.kind != Kind::Error
}

/// What a legacy client is told of whom a modern child would have to be told more.
const NO_HANDSHAKE: &str = "`initialize` has failed: say it again before other requests";

/// The id of a message, as written.
fn id_of<'m>(msg: &'m Incoming<'_>) -> &'m [u8] {
    msg.envelope.id.map_or(b"null", |id| msg.text(id))
}

/// What a modern client is told where a server's result is no object, which 2026-07-28 does not allow.
fn not_an_object(msg: &Incoming<'_>) -> Vec<u8> {
    let why = "the server's result is not an object, which 2026-07-28 does not allow";
    reply::Failure::new("malformed", why).answer(id_of(msg))
}
