//! What all POSTs have in common: media types, sizes, JSON, and which era asks (protocol.md §3.2, §3.3, §3.6).

use super::answer::Answer;
use super::{Below, Busy, Front, Target, legacy};
use crate::base::{Key, Time};
use crate::codec::http::Request;
use crate::codec::{Incoming, Kind, ScanErrorKind};
use crate::mux::ServerId;

/// The first version without sessions.
pub const MODERN_VERSION: &str = "2026-07-28";

impl Front {
    /// What the head of a POST decides against.
    pub(super) fn precheck_post(&self, request: &Request, target: Target) -> Option<Answer> {
        let headers = &request.headers;
        let kind = headers.get("content-type").unwrap_or("");
        if !media_type(kind).eq_ignore_ascii_case("application/json") {
            let text = format!("Content-Type must be application/json, not '{kind}'");
            return Some(Answer::error(415, None, -32600, &text));
        }
        if matches!(target, Target::Message) {
            return None;
        }
        let wanted = ["application/json", "text/event-stream"];
        if let Some(missing) = wanted.iter().find(|wanted| !accepts(request, wanted)) {
            let text =
                format!("Accept must allow application/json and text/event-stream, but {missing} is missing");
            return Some(Answer::error(406, None, -32600, &text));
        }
        let (Target::Mcp(server) | Target::Events(server)) = target else { return None };
        let limit = self.settings.body_max.get(&server).copied().unwrap_or(0);
        let length = headers.get("content-length").and_then(|length| length.trim().parse::<usize>().ok());
        length.filter(|length| *length > limit).map(|length| too_large(length, limit))
    }

    /// A POST with its body.
    pub(super) fn post(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: Request,
        mut body: Vec<u8>,
        below: &mut dyn Below,
    ) {
        let limit = self.settings.body_max.get(&server).copied().unwrap_or(0);
        if body.len() > limit {
            return self.respond(now, conn, &too_large(body.len(), limit), below);
        }
        if let Some(link) = self.link_of(conn, server, &request)
            && below.is_paused(link)
        {
            self.held.push(conn);
            self.set_timer(conn, None);
            if let Some(state) = self.conns.get_mut(conn) {
                state.busy = Busy::Held(server, request, body);
            }
            return;
        }
        let envelope = match Incoming::scan(&body) {
            Ok(message) => message.envelope,
            Err(error) if error.kind == ScanErrorKind::Batch => {
                return self.post_batch(now, conn, server, &request, &body, error, below);
            }
            Err(error) => {
                let id = error.id.map(|span| span.of(&body));
                let answer = Answer::error(400, id, error.code(), &error.to_string());
                return self.respond(now, conn, &answer, below);
            }
        };
        // Line ends between tokens are fine in a body, but not where a message is a line.
        flatten(&mut body);
        let message = Incoming { bytes: &body, envelope };
        let version = request.headers.get("mcp-protocol-version").map(str::trim);
        let names_modern = version.is_some_and(|version| version >= MODERN_VERSION && is_date(version));
        match message.envelope.kind {
            Kind::Request if message.envelope.meta_protocol_version.is_some() => {
                self.post_modern(now, conn, server, &request, &message, below);
            }
            Kind::Request if names_modern && message.method() != b"initialize" => {
                let id = message.envelope.id.map(|id| message.text(id));
                let text = "`params._meta[\"io.modelcontextprotocol/protocolVersion\"]` is missing, \
                            which the MCP-Protocol-Version header promises";
                self.respond(now, conn, &Answer::error(400, id, -32602, text), below);
            }
            // None of its notifications means anything over HTTP (protocol.md §3.3).
            Kind::Notification if names_modern => self.respond(now, conn, &Answer::empty(202), below),
            Kind::Response | Kind::Error if names_modern => {
                let text = "clients of 2026-07-28 send no answers";
                self.respond(now, conn, &Answer::error(400, None, -32600, text), below);
            }
            _ if self.is_stateless(server) => self.post_alone(now, conn, server, &request, &message, below),
            _ => self.post_legacy(now, conn, server, &request, &message, below),
        }
    }

    /// The link by which a POST would reach the mux, if there is one yet.
    fn link_of(&self, conn: Key, server: ServerId, request: &Request) -> Option<Key> {
        let session = legacy::session_id(request).and_then(|id| self.by_id.get(id));
        if let Some(session) = session.and_then(|key| self.sessions.get(*key)) {
            return Some(session.link);
        }
        let (own, link) = self.conns.get(conn)?.modern?;
        (own == server).then_some(link)
    }
}

fn too_large(length: usize, limit: usize) -> Answer {
    let text = format!(
        "a body of {length} bytes exceeds the limit of {limit} bytes (`max_request_bytes` of this server)"
    );
    Answer::error(413, None, -32600, &text)
}

/// Line ends become spaces. Only for JSON that was scanned: within its strings there are none.
pub(super) fn flatten(body: &mut [u8]) {
    for byte in body {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or("").trim()
}

/// Whether an `Accept` header allows a media type; none allows all (RFC 9110 §12.5.1).
pub(super) fn accepts(request: &Request, wanted: &str) -> bool {
    let mut given = request.headers.get_all("accept").peekable();
    if given.peek().is_none() {
        return true;
    }
    let (group, _) = wanted.split_once('/').unwrap_or((wanted, ""));
    given.flat_map(|value| value.split(',')).any(|range| {
        let name = media_type(range);
        let refused = range.split(';').skip(1).any(|parameter| {
            parameter.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
        });
        let matches = name == "*/*"
            || name.eq_ignore_ascii_case(wanted)
            || name.strip_suffix("/*").is_some_and(|own| own.eq_ignore_ascii_case(group));
        matches && !refused
    })
}

/// Versions are dates.
pub(super) fn is_date(version: &str) -> bool {
    let bytes = version.as_bytes();
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
