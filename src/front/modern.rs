//! Streamable HTTP of 2026-07-28: each POST for itself (protocol.md §3.3, P38–P42).

use super::answer::Answer;
use super::conn::COMMIT_MS;
use super::lifetime::unavailable;
use super::post::MODERN_VERSION;
use super::{Below, Busy, Front, Owner};
use crate::base::{Key, Time};
use crate::codec::http::Request;
use crate::codec::{Incoming, Kind};
use crate::mux::ServerId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Single {
    /// Raw id.
    id: Box<[u8]>,
    /// Its `_meta` lacks what it must have: an error about that is the client's fault (P38).
    incomplete: bool,
    /// Its answer says which headers calls must have.
    lists_tools: bool,
    pub committed: bool,
}

impl Single {
    /// A request with this raw id.
    pub(super) fn new(id: Box<[u8]>) -> Single {
        Single { id, incomplete: false, lists_tools: false, committed: false }
    }
}

impl Front {
    pub(super) fn post_modern(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        message: &Incoming<'_>,
        below: &mut dyn Below,
    ) {
        let id: Box<[u8]> = message.envelope.id.map_or(&b"null"[..], |id| message.text(id)).into();
        let incomplete = message.envelope.meta_client_capabilities.is_none();
        let check = || {
            check_headers(request, message)?;
            match message.method() {
                b"tools/call" => self.annotated.check(server, request, message),
                _ => Ok(()),
            }
        };
        if !incomplete && let Err(why) = check() {
            return self.respond(now, conn, &Answer::error(400, Some(&id), -32020, &why), below);
        }
        let link = match self.own_link(conn, server, &id, below) {
            Ok(link) => link,
            Err(answer) => return self.respond(now, conn, &answer, below),
        };
        if let Some(state) = self.conns.get_mut(conn) {
            let lists_tools = message.method() == b"tools/list";
            state.busy = Busy::Single(Single { id, incomplete, lists_tools, committed: false });
        }
        self.set_timer(conn, Some(now + COMMIT_MS));
        below.deliver(link, message);
    }

    /// The peer of a connection, at this server.
    pub(super) fn own_link(
        &mut self,
        conn: Key,
        server: ServerId,
        id: &[u8],
        below: &mut dyn Below,
    ) -> Result<Key, Answer> {
        match self.conns.get(conn).and_then(|state| state.modern) {
            Some((own, link)) if own == server => return Ok(link),
            Some((_, link)) => {
                self.links.remove(link);
                below.detach(link);
            }
            None => {}
        }
        self.admit(Some(id), below)?;
        let full = || unavailable(Some(id), "muxloop has no room for another client");
        let link = below.attach(server, true).ok_or_else(full)?;
        self.links.insert(link, Owner::Conn(conn));
        if let Some(state) = self.conns.get_mut(conn) {
            state.modern = Some((server, link));
        }
        Ok(link)
    }

    /// The mux has ended the peer of a connection; whoever still waits there is told.
    pub(super) fn lose_link(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        state.modern = None;
        let Busy::Single(single) = &state.busy else { return };
        let (id, committed) = (single.id.clone(), single.committed);
        state.manner.keep_alive = false;
        let answer = Answer::error(502, Some(&id), -32603, "the server's side ended before the answer came");
        if committed {
            self.write_message(conn, &answer.body, below);
            return self.end_stream(now, conn, below);
        }
        self.respond(now, conn, &answer, below);
    }

    /// A message of the mux to a connection's own peer.
    pub(super) fn hear_single(&mut self, now: Time, conn: Key, line: &[u8], below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let Busy::Single(single) = &state.busy else { return };
        let Ok(message) = Incoming::scan(line) else { return };
        let (incomplete, committed) = (single.incomplete, single.committed);
        match message.envelope.kind {
            Kind::Response | Kind::Error => {
                if message.envelope.id.is_none_or(|id| message.text(id) != &*single.id) {
                    return;
                }
                if single.lists_tools
                    && let Some((server, _)) = state.modern
                {
                    self.annotated.learn(server, &message);
                }
                if committed {
                    self.write_message(conn, line, below);
                    return self.end_stream(now, conn, below);
                }
                let error = message.envelope.error.map(|error| message.text(error));
                let status = error.map_or(200, |error| status(error, incomplete));
                let answer = limited(error, Answer::json(status, line.to_vec()));
                self.counts.limited += u64::from(answer.status == 429);
                self.respond(now, conn, &answer, below);
            }
            // Its end by notification is for pipes and sockets; here the stream ends.
            Kind::Notification if message.method() == b"notifications/cancelled" => {}
            Kind::Notification => {
                self.commit_single(now, conn, below);
                self.write_message(conn, line, below);
            }
            // There are none in this version.
            Kind::Request => {}
        }
    }

    /// Makes the answer an event stream, if it is not one yet.
    pub(super) fn commit_single(&mut self, now: Time, conn: Key, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let Busy::Single(single) = &mut state.busy else { return };
        if !std::mem::replace(&mut single.committed, true) {
            self.start_stream(now, conn, &[], below);
        }
    }
}

/// An answer that says "too many requests" says so in HTTP's words, too (G09).
pub(super) fn limited(error: Option<&[u8]>, answer: Answer) -> Answer {
    #[derive(Deserialize)]
    struct Failure {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        muxloop: Muxloop,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Muxloop {
        reason: String,
        retry_in_ms: Option<u64>,
    }
    let failure = error.and_then(|error| serde_json::from_slice::<Failure>(error).ok());
    match failure.map(|failure| failure.data.muxloop) {
        Some(Muxloop { reason, retry_in_ms }) if reason == "rate_limited" => {
            let seconds = retry_in_ms.unwrap_or(1_000).div_ceil(1_000).to_string();
            Answer { status: 429, ..answer }.with("Retry-After", seconds)
        }
        _ => answer,
    }
}

/// HTTP status of an error that nothing was streamed before (protocol.md §1.3, §8 item 9).
fn status(error: &[u8], incomplete: bool) -> u16 {
    #[derive(Deserialize)]
    struct Failure {
        code: i64,
    }
    match serde_json::from_slice(error).map(|failure: Failure| failure.code) {
        Ok(-32601) => 404,
        Ok(-32020 | -32021 | -32022 | -32600 | -32700) => 400,
        Ok(-32602) if incomplete => 400,
        _ => 200,
    }
}

/// Headers that repeat what the body says must say the same (P40).
fn check_headers(request: &Request, message: &Incoming<'_>) -> Result<(), String> {
    let headers = &request.headers;
    for name in ["mcp-protocol-version", "mcp-method", "mcp-name"] {
        if headers.is_duplicated(name) {
            return Err(format!("the {name} header is there more than once"));
        }
    }
    let text = |span| serde_json::from_slice::<String>(message.text(span)).unwrap_or_default();
    let version = message.envelope.meta_protocol_version.map(text).unwrap_or_default();
    same("MCP-Protocol-Version", headers.get("mcp-protocol-version"), &version)?;
    if version != MODERN_VERSION {
        // The mux says which versions there are.
        return Ok(());
    }
    let method = String::from_utf8_lossy(message.method()).into_owned();
    same("Mcp-Method", headers.get("mcp-method"), &method)?;
    let name = match method.as_str() {
        "tools/call" | "prompts/get" => message.envelope.name,
        "resources/read" => message.envelope.uri,
        "tasks/get" | "tasks/update" | "tasks/cancel" => message.envelope.task_id,
        _ => return Ok(()),
    };
    // Without it the params are wrong, which is for the server to say.
    let Some(name) = name.map(text) else { return Ok(()) };
    let given = headers.get("mcp-name").map(|given| decode("Mcp-Name", given)).transpose()?;
    same("Mcp-Name", given.as_deref(), &name)
}

fn same(header: &str, given: Option<&str>, body: &str) -> Result<(), String> {
    match given {
        Some(given) if given == body => Ok(()),
        Some(given) => Err(format!("the {header} header says '{given}', the body '{body}'")),
        None => Err(format!("the {header} header is missing (the body says '{body}')")),
    }
}

/// A value as written, or within `=?base64?…?=`.
pub(super) fn decode(header: &str, value: &str) -> Result<String, String> {
    let value = value.trim();
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(value.to_owned());
    };
    let bytes = BASE64.decode(encoded).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| format!("the {header} header cannot be decoded: '{value}'"))
}
