//! Streamable HTTP of 2025-03-26 to 2025-11-25: sessions, POST, GET, DELETE, resume (protocol.md §3.2).

use super::answer::Answer;
use super::cancel::taken_back;
use super::conn::COMMIT_MS;
use super::modern::limited;
use super::post::{accepts, flatten};
use super::session::{Kinds, STANDALONE, Streamable};
use super::stream::{self, Stream};
use super::{Below, Busy, Front};
use crate::base::{Key, Time};
use crate::codec::http::Request;
use crate::codec::{Incoming, Kind, ScanError, batch};
use crate::mux::ServerId;

/// Versions with a handshake, newest first.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

impl Front {
    /// A message of the versions with sessions.
    pub(super) fn post_legacy(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        message: &Incoming<'_>,
        below: &mut dyn Below,
    ) {
        let id = message.envelope.id.map(|id| message.text(id));
        let is_request = message.envelope.kind == Kind::Request;
        let greets = is_request && message.method() == b"initialize";
        let session = if greets && session_id(request).is_none() {
            self.open_session(now, server, Kinds::Streamable(Streamable::new()), below)
        } else {
            self.session_of(server, request, is_request.then_some(id).flatten())
        };
        let session = match session {
            Ok(session) => session,
            Err(answer) => return self.respond(now, conn, &answer, below),
        };
        let Some(known) = self.sessions.get_mut(session) else { return };
        known.last_used = now;
        let link = known.link;
        if !is_request {
            below.deliver(link, message);
            if let Some(id) = taken_back(message) {
                self.forget(now, session, id, below);
            }
            return self.respond(now, conn, &Answer::empty(202), below);
        }
        if let (Kinds::Streamable(streamable), Some(id)) = (&known.kind, id)
            && streamable.awaits(id)
        {
            let text = "a request with this id is being answered; ids are used once in a session";
            return self.respond(now, conn, &Answer::error(400, Some(id), -32600, text), below);
        }
        id.into_iter().for_each(|id| self.give_up_unread(now, session, id, below));
        let tokens = message.envelope.meta_token.map(|token| message.text(token).into());
        let asked = vec![id.unwrap_or(b"null").into()];
        let stream = Stream::of_post(conn, asked, tokens.into_iter().collect(), false);
        self.carry(now, conn, session, stream);
        below.deliver(link, message);
    }

    /// An array of messages: fine in sessions of 2025-03-26 (P33).
    #[allow(clippy::too_many_arguments)]
    pub(super) fn post_batch(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        body: &[u8],
        error: ScanError,
        below: &mut dyn Below,
    ) {
        let refuse = |text: &str| Answer::error(400, None, -32600, text);
        let session = match self.session_of(server, request, None) {
            Err(answer) if answer.status == 404 => return self.respond(now, conn, &answer, below),
            session => session.ok(),
        };
        let known = session.and_then(|key| Some((key, self.sessions.get(key)?)));
        let allowed = known.and_then(|(key, known)| match &known.kind {
            Kinds::Streamable(streamable) if streamable.allows_batch() => Some((key, known.link)),
            _ => None,
        });
        let Some((session, link)) = allowed else {
            let answer = refuse("an array of messages is for sessions of 2025-03-26 only");
            return self.respond(now, conn, &answer, below);
        };
        let (mut ids, mut tokens, mut cancelled) = (Vec::<Box<[u8]>>::new(), Vec::new(), Vec::new());
        let elements = match batch::elements(body) {
            Ok(elements) if !elements.is_empty() => elements,
            Ok(_) => return self.respond(now, conn, &refuse("the array is empty"), below),
            Err(error) => {
                let answer = Answer::error(400, None, error.code(), &error.to_string());
                return self.respond(now, conn, &answer, below);
            }
        };
        for element in elements {
            match Incoming::scan(element.of(body)) {
                Ok(message) if message.method() == b"initialize" => {
                    let answer = refuse("`initialize` must not be part of an array");
                    return self.respond(now, conn, &answer, below);
                }
                Ok(message) if message.envelope.kind == Kind::Request => {
                    ids.extend(message.envelope.id.map(|id| message.text(id).into()));
                    tokens.extend(message.envelope.meta_token.map(|token| message.text(token).into()));
                }
                Ok(message) => cancelled.extend(taken_back(&message).map(Box::<[u8]>::from)),
                Err(error) => {
                    let id = error.id.map(|span| span.of(element.of(body)));
                    let text = format!("an element of the array: {error}");
                    return self.respond(now, conn, &Answer::error(400, id, error.code(), &text), below);
                }
            }
        }
        if let Some(known) = self.sessions.get_mut(session) {
            known.last_used = now;
            if let Kinds::Streamable(streamable) = &known.kind
                && ids.iter().any(|id| streamable.awaits(id))
            {
                let text =
                    "a request with one of these ids is being answered; ids are used once in a session";
                return self.respond(now, conn, &refuse(text), below);
            }
        }
        let mut body = body.to_vec();
        flatten(&mut body);
        let is_asked = !ids.is_empty();
        if is_asked {
            ids.iter().for_each(|id| self.give_up_unread(now, session, id, below));
            self.carry(now, conn, session, Stream::of_post(conn, ids, tokens, true));
        }
        below.deliver_malformed(link, &body, error);
        for id in cancelled {
            self.forget(now, session, &id, below);
        }
        if !is_asked {
            self.respond(now, conn, &Answer::empty(202), below);
        }
    }

    /// GET: the session's own stream, or the rest of one that broke (P34–P36).
    pub(super) fn get(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        below: &mut dyn Below,
    ) {
        if request.headers.get("accept").is_none() || !accepts(request, "text/event-stream") {
            let answer = Answer::error(406, None, -32600, "Accept must allow text/event-stream");
            return self.respond(now, conn, &answer, below);
        }
        let session = match self.session_of(server, request, None) {
            Ok(session) => session,
            Err(answer) => return self.respond(now, conn, &answer, below),
        };
        let seen = request.headers.get("last-event-id").map(str::trim).and_then(stream::parse_id);
        let Some(known) = self.sessions.get_mut(session) else { return };
        known.last_used = now;
        let id = known.id.clone();
        let Kinds::Streamable(streamable) = &mut known.kind else { return };
        let resumed = seen.filter(|(number, sequence)| {
            streamable
                .streams
                .get(number)
                .is_some_and(|stream| stream.committed && stream.has_said(*sequence))
        });
        let number = resumed.map_or(STANDALONE, |(number, _)| number);
        let primes = streamable.primes() && resumed.is_none();
        let Some(stream) = streamable.streams.get_mut(&number) else { return };
        let before = stream.conn.replace(conn);
        let priming = stream.priming(number);
        let (missed, lost) = stream.replay(number, resumed.map(|(_, sequence)| sequence));
        let has_ended = number != STANDALONE && stream.pending.is_empty() && !stream.withdrawn;
        if lost > 0 {
            log::warn!(target: "http", "a client resumes too late: {lost} events are not kept any more");
        }
        if let Some(before) = before {
            // Whoever asks again has lost the connection before, whether or not we have noticed.
            if let Some(state) = self.conns.get_mut(before) {
                state.manner.keep_alive = false;
            }
            self.cut(now, before, None, below);
        }
        if let Some(state) = self.conns.get_mut(conn) {
            state.busy = Busy::Stream(session, number);
        }
        self.start_stream(now, conn, &[("Mcp-Session-Id", id)], below);
        if primes {
            self.write_stream(conn, &priming, below);
        }
        if !missed.is_empty() {
            self.write_stream(conn, &missed, below);
        }
        if has_ended {
            self.finish_stream(now, session, number, below);
        }
    }

    /// DELETE: the client is done with its session (P29).
    pub(super) fn delete(
        &mut self,
        now: Time,
        conn: Key,
        server: ServerId,
        request: &Request,
        below: &mut dyn Below,
    ) {
        let answer = match self.session_of(server, request, None) {
            Ok(session) => {
                self.end_session(now, session, below);
                Answer::empty(200)
            }
            Err(answer) => answer,
        };
        self.respond(now, conn, &answer, below);
    }

    /// The next question to a session is about its request with this raw id.
    pub(super) fn note_about(&mut self, session: Key, request: &[u8]) {
        if let Some(Kinds::Streamable(streamable)) =
            self.sessions.get_mut(session).map(|known| &mut known.kind)
        {
            streamable.about = Some(request.into());
        }
    }

    /// A message of the mux to a session.
    pub(super) fn hear_session(&mut self, now: Time, session: Key, line: &[u8], below: &mut dyn Below) {
        let Some(known) = self.sessions.get_mut(session) else { return };
        let streamable = match &mut known.kind {
            Kinds::Events(conn) => {
                let conn = *conn;
                return self.write_message(conn, line, below);
            }
            Kinds::Socket(conn) => {
                let conn = *conn;
                return self.write_text(conn, line, below);
            }
            Kinds::Streamable(streamable) => streamable,
        };
        let Ok(message) = Incoming::scan(line) else { return };
        if matches!(message.envelope.kind, Kind::Response | Kind::Error) {
            known.last_used = now;
        }
        let Some(number) = streamable.stream_for(&message) else {
            return log::debug!(target: "http", "an answer that nobody waits for any more was dropped");
        };
        if message.envelope.kind == Kind::Request {
            streamable.about = None;
        }
        match (message.envelope.kind, message.envelope.id) {
            (Kind::Response | Kind::Error, Some(id)) => {
                let greets = streamable.version.is_none();
                if greets && message.envelope.kind == Kind::Response {
                    streamable.version = Some(negotiated(&message));
                }
                let failed = greets && streamable.version.is_none();
                streamable.settle(number, message.text(id));
                self.answer(now, session, number, line, failed, below);
            }
            _ => self.emit(now, session, number, line, below),
        }
    }

    /// An answer that belongs on a stream.
    fn answer(
        &mut self,
        now: Time,
        session: Key,
        number: u32,
        line: &[u8],
        failed: bool,
        below: &mut dyn Below,
    ) {
        let Some((_, stream)) = self.stream(session, number) else { return };
        let is_last = stream.pending.is_empty();
        if stream.committed {
            self.emit(now, session, number, line, below);
            if is_last {
                self.finish_stream(now, session, number, below);
            }
        } else if let Some(collected) = &mut stream.collected {
            collected.push(line.to_vec());
            if is_last {
                self.answer_collected(now, session, number, failed, below);
            }
        } else {
            self.answer_plainly(now, session, number, line.to_vec(), failed, below);
        }
        if failed {
            self.end_session(now, session, below);
        }
    }

    /// The answers of an array as one.
    pub(super) fn answer_collected(
        &mut self,
        now: Time,
        session: Key,
        number: u32,
        failed: bool,
        below: &mut dyn Below,
    ) {
        let Some((_, stream)) = self.stream(session, number) else { return };
        let collected = stream.collected.take().unwrap_or_default();
        let body = [b"[".to_vec(), collected.join(&b","[..]), b"]".to_vec()].concat();
        self.answer_plainly(now, session, number, body, failed, below);
    }

    /// The answer of a POST as JSON.
    fn answer_plainly(
        &mut self,
        now: Time,
        session: Key,
        number: u32,
        body: Vec<u8>,
        failed: bool,
        below: &mut dyn Below,
    ) {
        let Some((known, stream)) = self.stream(session, number) else { return };
        let (id, conn) = (known, stream.conn);
        self.remove_stream(session, number);
        match conn {
            Some(conn) if failed => self.respond(now, conn, &Answer::json(200, body), below),
            Some(conn) => {
                let error = Incoming::scan(&body).ok().and_then(|message| message.envelope.error);
                let error = error.map(|error| error.of(&body).to_vec());
                let answer = Answer::json(200, body).with("Mcp-Session-Id", id);
                let answer = limited(error.as_deref(), answer);
                self.counts.limited += u64::from(answer.status == 429);
                self.respond(now, conn, &answer, below);
            }
            None => {
                log::debug!(target: "http", "an answer was dropped: its client had left before it knew the stream")
            }
        }
    }

    /// A message on a stream.
    fn emit(&mut self, now: Time, session: Key, number: u32, line: &[u8], below: &mut dyn Below) {
        self.commit(now, session, number, below);
        let Some((_, stream)) = self.stream(session, number) else { return };
        let bytes = stream.push(number, line);
        if let Some(conn) = stream.conn {
            self.write_stream(conn, &bytes, below);
        }
        let Some(Kinds::Streamable(streamable)) = self.sessions.get_mut(session).map(|known| &mut known.kind)
        else {
            return;
        };
        let lost = streamable.shrink();
        self.counts.lost += lost as u64;
        if lost > 0 {
            log::warn!(target: "http", "{lost} events were dropped: nobody fetched them, and a session keeps 1 MiB");
        }
    }

    /// Makes a POST's answer an event stream, if it is not one yet.
    pub(super) fn commit(&mut self, now: Time, session: Key, number: u32, below: &mut dyn Below) {
        let Some(known) = self.sessions.get_mut(session) else { return };
        let Kinds::Streamable(streamable) = &mut known.kind else { return };
        let primes = streamable.primes();
        let Some(stream) = streamable.streams.get_mut(&number) else { return };
        if std::mem::replace(&mut stream.committed, true) {
            return;
        }
        let collected = stream.collected.take().unwrap_or_default();
        let (id, conn, priming) = (known.id.clone(), stream.conn, stream.priming(number));
        if let Some(conn) = conn {
            self.start_stream(now, conn, &[("Mcp-Session-Id", id)], below);
            if primes {
                self.write_stream(conn, &priming, below);
            }
        }
        for line in collected {
            self.emit(now, session, number, &line, below);
        }
    }

    pub(super) fn is_committed(&self, session: Key, number: u32) -> bool {
        match self.sessions.get(session).map(|known| &known.kind) {
            Some(Kinds::Streamable(streamable)) => {
                streamable.streams.get(&number).is_none_or(|stream| stream.committed)
            }
            _ => true,
        }
    }

    /// All is said on a stream.
    fn finish_stream(&mut self, now: Time, session: Key, number: u32, below: &mut dyn Below) {
        let Some((_, stream)) = self.stream(session, number) else { return };
        if let Some(conn) = stream.conn.take() {
            self.end_stream(now, conn, below);
        }
    }

    /// The connection of a stream is gone. What it waits for goes on (P11), but for a session whose id nobody
    /// has got yet.
    pub(super) fn lose_stream(
        &mut self,
        now: Time,
        session: Key,
        number: u32,
        conn: Key,
        below: &mut dyn Below,
    ) {
        let Some(known) = self.sessions.get_mut(session) else { return };
        known.last_used = now;
        let Kinds::Streamable(streamable) = &mut known.kind else { return };
        let is_new = streamable.version.is_none();
        let Some(stream) = streamable.streams.get_mut(&number) else { return };
        if stream.conn != Some(conn) {
            return;
        }
        stream.conn = None;
        if is_new && !stream.committed {
            self.end_session(now, session, below);
        }
    }

    /// Gives a request of a session its stream.
    fn carry(&mut self, now: Time, conn: Key, session: Key, stream: Stream) {
        let Some(Kinds::Streamable(streamable)) = self.sessions.get_mut(session).map(|known| &mut known.kind)
        else {
            return;
        };
        let number = streamable.add(stream);
        if let Some(state) = self.conns.get_mut(conn) {
            state.busy = Busy::Stream(session, number);
        }
        self.set_timer(conn, Some(now + COMMIT_MS));
    }

    /// The session that a request names.
    pub(super) fn session_of(
        &self,
        server: ServerId,
        request: &Request,
        id: Option<&[u8]>,
    ) -> Result<Key, Answer> {
        let Some(name) = session_id(request) else {
            let text = "the Mcp-Session-Id header is missing; `initialize` gives one (or send a 2026-07-28 \
                        request with its `_meta`)";
            return Err(Answer::error(400, id, -32600, text));
        };
        let known = self.by_id.get(name).and_then(|key| Some((*key, self.sessions.get(*key)?)));
        let known =
            known.filter(|(_, known)| known.server == server && matches!(known.kind, Kinds::Streamable(_)));
        let Some((key, _)) = known else {
            let text = "this session is not known (any more); send `initialize` without Mcp-Session-Id";
            return Err(Answer::error(404, id, -32001, text));
        };
        match request.headers.get("mcp-protocol-version").map(str::trim) {
            Some(version) if !VERSIONS.contains(&version) => {
                let text = format!(
                    "MCP-Protocol-Version '{version}' is not supported in a session; supported: {}",
                    VERSIONS.join(", ")
                );
                Err(Answer::error(400, id, -32600, &text))
            }
            _ => Ok(key),
        }
    }

    fn stream(&mut self, session: Key, number: u32) -> Option<(String, &mut Stream)> {
        let known = self.sessions.get_mut(session)?;
        let Kinds::Streamable(streamable) = &mut known.kind else { return None };
        Some((known.id.clone(), streamable.streams.get_mut(&number)?))
    }

    fn remove_stream(&mut self, session: Key, number: u32) {
        if let Some(Kinds::Streamable(streamable)) =
            self.sessions.get_mut(session).map(|known| &mut known.kind)
        {
            streamable.streams.remove(&number);
        }
    }
}

/// The session id that a request carries.
pub(super) fn session_id(request: &Request) -> Option<&str> {
    request.headers.get("mcp-session-id").map(str::trim).filter(|id| !id.is_empty())
}

/// The version in an answer to `initialize`.
fn negotiated(message: &Incoming<'_>) -> String {
    #[derive(serde::Deserialize)]
    struct Initialized {
        #[serde(rename = "protocolVersion")]
        protocol_version: String,
    }
    let result = message.envelope.result.map(|result| message.text(result));
    let parsed = result.and_then(|text| serde_json::from_slice::<Initialized>(text).ok());
    parsed.map_or_else(|| VERSIONS[2].to_owned(), |initialized| initialized.protocol_version)
}
