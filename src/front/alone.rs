//! Stateless Streamable HTTP (row G05): each POST has a process of its own, and no session.

use super::answer::Answer;
use super::conn::COMMIT_MS;
use super::modern::Single;
use super::{Below, Busy, Front};
use crate::base::{Key, Time};
use crate::codec::http::Request;
use crate::codec::{Incoming, Kind};
use crate::mux::ServerId;

impl Front {
    pub(super) fn is_stateless(&self, server: ServerId) -> bool {
        self.settings.stateless.contains(&server)
    }

    /// A message of the versions with sessions, without one: the handshake is made up for its process.
    pub(super) fn post_alone(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        message: &Incoming<'_>,
        below: &mut dyn Below,
    ) {
        if message.envelope.kind != Kind::Request {
            // Nobody is left whom it could concern.
            return self.respond(now, conn, &Answer::empty(202), below);
        }
        let id: Box<[u8]> = message.envelope.id.map_or(&b"null"[..], |id| message.text(id)).into();
        let link = match self.own_link(conn, server, &id, below) {
            Ok(link) => link,
            Err(answer) => return self.respond(now, conn, &answer, below),
        };
        if let Some(state) = self.conns.get_mut(conn) {
            state.busy = Busy::Single(Single::new(id));
        }
        self.set_timer(conn, Some(now + COMMIT_MS));
        if message.method() != b"initialize" {
            let version = request.headers.get("mcp-protocol-version").map_or("2025-03-26", str::trim);
            for text in greeting(version) {
                if let Ok(greeting) = Incoming::scan(text.as_bytes()) {
                    below.deliver(link, &greeting);
                }
            }
        }
        below.deliver(link, message);
    }

    /// Such a process has served once its request is answered.
    pub(super) fn end_alone(&mut self, conn: Key, below: &mut dyn Below) {
        let Some(state) = self.conns.get_mut(conn) else { return };
        let Some((server, link)) = state.modern else { return };
        if self.settings.stateless.contains(&server) {
            state.modern = None;
            self.links.remove(link);
            below.detach(link);
        }
    }
}

/// What a client would have said at the start of a session.
fn greeting(version: &str) -> [String; 2] {
    let initialize = serde_json::json!({
        "jsonrpc": "2.0",
        "id": "muxloop-initialize",
        "method": "initialize",
        "params": {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": { "name": "muxloop", "version": env!("CARGO_PKG_VERSION") },
        },
    });
    [initialize.to_string(), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned()]
}
