//! Requests of a session that its client takes back: no answer is owed to them any more (protocol.md §2.3), so
//! nothing may wait for one, neither a POST nor the end of the session.

use super::session::Kinds;
use super::{Below, Front};
use crate::base::{Key, Time};
use crate::codec::{Incoming, Kind};

impl Front {
    /// The mux was told that a request is taken back.
    ///
    /// A POST that has said nothing ends without an event. A stream that has begun stays with its client: those
    /// that can resume would come again and again for one that ends without an answer.
    pub(super) fn forget(&mut self, now: Time, session: Key, id: &[u8], below: &mut dyn Below) {
        let Some(known) = self.sessions.get_mut(session) else { return };
        let Kinds::Streamable(streamable) = &mut known.kind else { return };
        let Some(number) = streamable.stream_of(id) else { return };
        streamable.settle(number, id);
        let Some(stream) = streamable.streams.get_mut(&number) else { return };
        stream.withdrawn = true;
        if !stream.pending.is_empty() || stream.committed {
            return;
        }
        if stream.collected.as_ref().is_some_and(|collected| !collected.is_empty()) {
            return self.answer_collected(now, session, number, false, below);
        }
        let conn = stream.conn;
        streamable.streams.remove(&number);
        let id = known.id.clone();
        if let Some(conn) = conn {
            self.start_stream(now, conn, &[("Mcp-Session-Id", id)], below);
            self.end_stream(now, conn, below);
        }
    }

    /// A client may ask again under an id whose connection it has lost. What it asked there is taken back: the
    /// server's answer to that would be taken for the answer to this.
    pub(super) fn give_up_unread(&mut self, now: Time, session: Key, id: &[u8], below: &mut dyn Below) {
        let Some(known) = self.sessions.get(session) else { return };
        let Kinds::Streamable(streamable) = &known.kind else { return };
        if !streamable.waits_unread(id) {
            return;
        }
        let text = cancel(id);
        if let Ok(message) = Incoming::scan(&text) {
            below.deliver(known.link, &message);
        }
        self.forget(now, session, id, below);
    }

    /// Whether an answer is still to come on a stream.
    pub(super) fn is_awaited(&self, session: Key, number: u32) -> bool {
        match self.sessions.get(session).map(|known| &known.kind) {
            Some(Kinds::Streamable(streamable)) => {
                streamable.streams.get(&number).is_some_and(|stream| !stream.pending.is_empty())
            }
            _ => false,
        }
    }
}

/// The raw id of the request that a message takes back, if it does.
pub(super) fn taken_back<'m>(message: &Incoming<'m>) -> Option<&'m [u8]> {
    let cancels =
        message.envelope.kind == Kind::Notification && message.method() == b"notifications/cancelled";
    message.envelope.request_id.filter(|_| cancels).map(|id| id.of(message.bytes))
}

/// What takes back a request with this raw id.
fn cancel(id: &[u8]) -> Vec<u8> {
    let before = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"#;
    [&before[..], id, br#","reason":"asked again on another connection"}}"#].concat()
}
