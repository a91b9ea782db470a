//! HTTP+SSE of 2024-11-05 (protocol.md §3.4, P37).

use super::answer::Answer;
use super::post::{accepts, flatten};
use super::session::Kinds;
use super::{Below, Busy, Front};
use crate::base::{Key, Time};
use crate::codec::http::{Request, query_pairs};
use crate::codec::{Incoming, ScanErrorKind, sse};
use crate::mux::ServerId;

impl Front {
    /// GET on an event stream's path: a session that lives as long as the connection.
    pub(super) fn open_events(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        below: &mut dyn Below,
    ) {
        if !accepts(request, "text/event-stream") {
            let answer = Answer::error(406, None, -32600, "Accept must allow text/event-stream");
            return self.respond(now, conn, &answer, below);
        }
        let session = match self.open_session(now, server, Kinds::Events(conn), below) {
            Ok(session) => session,
            Err(answer) => return self.respond(now, conn, &answer, below),
        };
        if let Some(state) = self.conns.get_mut(conn) {
            state.busy = Busy::Events(session);
        }
        let Some(id) = self.sessions.get(session).map(|known| known.id.clone()) else { return };
        let endpoint = format!("{}?sessionId={id}", self.settings.routes.message());
        self.start_stream(now, conn, &[], below);
        let mut event = Vec::new();
        sse::write_event(&mut event, None, Some("endpoint"), None, endpoint.as_bytes());
        self.write_stream(conn, &event, below);
    }

    /// POST of a message to such a session.
    pub(super) fn post_message(
        &mut self,
        now: Time,
        conn: Key,
        request: Request,
        mut body: Vec<u8>,
        below: &mut dyn Below,
    ) {
        let id = session_id(&request);
        let known = id.as_ref().and_then(|id| self.by_id.get(id)).and_then(|key| self.sessions.get_mut(*key));
        let Some(known) = known.filter(|known| matches!(known.kind, Kinds::Events(_))) else {
            let (status, text) = match id {
                Some(_) => (404, "this session is not known (any more); open the event stream again"),
                None => (400, "the query must say `sessionId=…`, as the event `endpoint` does"),
            };
            return self.respond(now, conn, &Answer::error(status, None, -32600, text), below);
        };
        let limit = self.settings.body_max.get(&known.server).copied().unwrap_or(0);
        if body.len() > limit {
            let text = format!("a body of {} bytes exceeds the limit of {limit} bytes", body.len());
            return self.respond(now, conn, &Answer::error(413, None, -32600, &text), below);
        }
        let (link, server) = (known.link, known.server);
        known.last_used = now;
        if below.is_paused(link) {
            self.held.push(conn);
            self.set_timer(conn, None);
            if let Some(state) = self.conns.get_mut(conn) {
                state.busy = Busy::Held(server, request, body);
            }
            return;
        }
        let scanned = Incoming::scan(&body).map(|message| message.envelope);
        match scanned {
            Ok(envelope) => {
                flatten(&mut body);
                below.deliver(link, &Incoming { bytes: &body, envelope });
            }
            Err(error) if error.kind == ScanErrorKind::Batch => {
                flatten(&mut body);
                below.deliver_malformed(link, &body, error);
            }
            Err(error) => {
                let id = error.id.map(|span| span.of(&body));
                let answer = Answer::error(400, id, error.code(), &error.to_string());
                return self.respond(now, conn, &answer, below);
            }
        }
        let mut answer = Answer::empty(202).with("Content-Type", "text/plain");
        answer.body = b"Accepted".to_vec();
        self.respond(now, conn, &answer, below);
    }

    pub(super) fn write_message(&self, conn: Key, line: &[u8], below: &mut dyn Below) {
        let mut event = Vec::with_capacity(line.len() + 32);
        sse::write_event(&mut event, None, Some("message"), None, line);
        self.write_stream(conn, &event, below);
    }
}

/// The session of a message: SDKs write `sessionId` or `session_id`.
pub(super) fn session_id(request: &Request) -> Option<String> {
    let mut pairs = query_pairs(request.query.as_deref()?).flatten();
    pairs.find(|(name, _)| name == "sessionId" || name == "session_id").map(|(_, value)| value)
}
