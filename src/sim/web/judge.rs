//! Which answer, and which event, may come where.

use super::frames::{self, Kind};
use super::reply::{Head, Part};
use super::{Asked, Heard, OWN, Way, Web, What, events};
use crate::sim::kernel::{Kernel, Task};
use crate::sim::wire::Wire;
use serde_json::value::RawValue;

impl Web {
    /// Everything whole that a connection has got.
    pub(super) fn take(&mut self, kernel: &mut Kernel, at: usize) -> Result<(), String> {
        while let Some(part) = self.conns[at].replies.next()? {
            match part {
                Part::Head(head) => self.on_head(kernel, at, head)?,
                Part::Body(body) if self.conns[at].upgraded => {
                    self.conns[at].frames.feed(&body);
                    self.take_frames(kernel, at)?;
                }
                Part::Body(body) => self.on_body(kernel, at, &body)?,
                Part::End => {
                    let taken_over = self.conns[at].taken_over;
                    if let Some(asked) = self.conns[at].asked.pop_front() {
                        self.finish(kernel, asked, taken_over);
                    }
                    let next = self.conns[at].asked.front();
                    let begun = next.map(|asked| asked.nonces.clone()).unwrap_or_default();
                    self.heard.extend(begun.into_iter().map(Heard::Begun));
                }
            }
        }
        Ok(())
    }

    fn on_head(&mut self, kernel: &mut Kernel, at: usize, head: Head) -> Result<(), String> {
        let (client, way) = (self.client, self.way);
        kernel.trace.add(kernel.now, format_args!("client {client} ◀ {head:?}"));
        let conn = &mut self.conns[at];
        conn.closes |= head.closes();
        let asked = conn.asked.front_mut().ok_or("an answer that nobody asked for")?;
        if head.is_stream() && head.status != 200 {
            return Err(format!("a stream with status {}", head.status));
        }
        if asked.what == What::Upgrade && head.status == 101 {
            let accept = head.get("sec-websocket-accept");
            if accept != Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                || head.get("sec-websocket-protocol") != Some("mcp")
            {
                return Err(format!("an upgrade with {head:?}"));
            }
            conn.upgraded = true;
            asked.head = Some(head);
            self.say_waiting(kernel);
            return Ok(());
        }
        let session = head.get("mcp-session-id");
        match (way, asked.greets, session) {
            (Way::Streamable, true, Some(id)) if head.status == 200 => {
                if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(format!("the session id {id:?}"));
                }
                self.session = Some(id.to_string());
            }
            (_, _, Some(id)) if self.session.as_deref() != Some(id) => {
                return Err(format!("the session id {id:?} of somebody else"));
            }
            _ => {}
        }
        if asked.cut_short && head.status == 200 {
            self.wrong(format!("had a stream ended before its answers: {:?}", self.conns[at].asked.front()));
        }
        if let Some(asked) = self.conns[at].asked.front_mut() {
            asked.head = Some(head);
        }
        Ok(())
    }

    fn on_body(&mut self, kernel: &mut Kernel, at: usize, bytes: &[u8]) -> Result<(), String> {
        let taken_over = self.conns[at].taken_over;
        let asked = self.conns[at].asked.front_mut().ok_or("a body that nobody asked for")?;
        if !asked.head.as_ref().is_some_and(Head::is_stream) {
            asked.body.extend_from_slice(bytes);
            return Ok(());
        }
        asked.events.feed(bytes);
        // Which of two requests for one stream was the later one is muxloop's to say, not ours.
        asked.contested |= taken_over;
        while let Some(mut asked) = self.conns[at].asked.pop_front() {
            let event = asked.events.next();
            let more = match event {
                Ok(Some(event)) => self.on_event(kernel, &mut asked, event).map(|()| true),
                Ok(None) => Ok(false),
                Err(why) => Err(why),
            };
            self.conns[at].asked.push_front(asked);
            if !more? {
                break;
            }
        }
        Ok(())
    }

    fn on_event(
        &mut self,
        kernel: &mut Kernel,
        asked: &mut Asked,
        event: events::Event,
    ) -> Result<(), String> {
        if asked.what == What::Events {
            if self.endpoint.is_none() {
                let is_endpoint = event.name.as_deref() == Some("endpoint")
                    && event.data.strip_prefix("/message?sessionId=").is_some_and(|id| id.len() == 32);
                if !is_endpoint {
                    return Err(format!("{event:?} instead of an endpoint"));
                }
                self.endpoint = Some(event.data);
                self.say_waiting(kernel);
                return Ok(());
            }
            return self.on_message(asked, event.name.as_deref(), event.id.is_none(), event.data);
        }
        if self.way == Way::Stateless {
            return self.on_message(asked, event.name.as_deref(), event.id.is_none(), event.data);
        }
        // What the end of a session leaves unanswered is told where it was asked; nothing is kept of that.
        if event.id.is_none() && event.data.contains("-32001") && !asked.waits.is_empty() {
            return self.on_message(asked, event.name.as_deref(), true, event.data);
        }
        let (stream, place) = event.id.ok_or_else(|| format!("{event:?} without an id"))?;
        if *asked.stream.get_or_insert(stream) != stream || (asked.what == What::Post && stream == OWN) {
            return Err(format!("{event:?} on the stream {:?}", asked.stream));
        }
        let primes = event.data.is_empty();
        let before = asked.last.replace(place);
        if primes {
            let young = self.version.as_deref().is_none_or(|version| version >= "2025-11-25");
            if !young || !event.retry || event.name.is_some() || before.is_some() {
                return Err(format!("{event:?} out of place"));
            }
            asked.expects = Some(place).filter(|_| stream != OWN);
            return Ok(());
        }
        if asked.what == What::Post && asked.expects.is_none() {
            asked.expects = Some(0);
        }
        if asked.expects.is_some_and(|last| place != last + 1) {
            return Err(format!("{event:?} after {:?}", asked.expects));
        }
        asked.expects = Some(place);
        // Only a request that was overtaken by a newer one can get again what that has got.
        let again = stream == OWN && !self.places.insert(place);
        if again && !(self.contested && (asked.resumed || asked.contested)) {
            return Err(format!("{event:?}, which came before"));
        }
        if stream != OWN && asked.waits.is_empty() {
            return Err(format!("{event:?} after the last answer"));
        }
        if asked.resumed {
            self.heard.push(Heard::Resumed);
        }
        self.on_message(asked, event.name.as_deref(), true, event.data)
    }

    /// A message on a stream, or as a whole answer.
    fn on_message(
        &mut self,
        asked: &mut Asked,
        name: Option<&str>,
        plain: bool,
        text: String,
    ) -> Result<(), String> {
        if name != Some("message") || !plain {
            return Err(format!("an event that is no message: {text}"));
        }
        let wire = Wire::parse(&text).map_err(|why| format!("{why}: {text}"))?;
        let body = wire.body();
        match (wire.method.as_deref(), wire.id()) {
            (None, Some(id)) if self.way != Way::Events => {
                let Some(at) = asked.waits.iter().position(|own| own == id) else {
                    return Err(format!("{text} as an answer to {:?}", asked.waits));
                };
                asked.waits.swap_remove(at);
                if asked.greets {
                    self.version = body.protocol_version.clone();
                }
                if asked.greets && !wire.is_result() {
                    self.session = None;
                }
            }
            (Some("notifications/progress"), _)
                if self.tells_apart() && body.nonce.is_none_or(|nonce| !asked.nonces.contains(&nonce)) =>
            {
                return Err(format!("{text} on the stream of {:?}", asked.nonces));
            }
            _ => {}
        }
        self.heard.push(Heard::Line(text));
        Ok(())
    }

    /// A request has got its whole answer.
    pub(super) fn finish(&mut self, kernel: &mut Kernel, mut asked: Asked, taken_over: bool) {
        let Some(head) = asked.head.take() else { return self.lose(kernel, asked, taken_over) };
        if head.is_stream() {
            if !asked.events.is_whole() {
                self.wrong("got a stream that ends within an event".into());
            }
            return self.on_stream_end(kernel, asked, taken_over);
        }
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        if let Some(why) = self.misfit(&asked, head.status, &text) {
            self.wrong(format!("got {} {text} for {:?} {:?}: {why}", head.status, asked.what, asked.waits));
        }
        match (asked.what, head.status) {
            (What::Delete, _) => self.ask_for_ghost(kernel),
            (What::Probe(_), _) if self.deleting => self.close(),
            (What::Probe(_) | What::Upgrade | What::Events, status) => {
                if !matches!(asked.what, What::Probe(_)) {
                    kernel
                        .trace
                        .add(kernel.now, format_args!("client {} is not let in: {status}", self.client));
                    self.quiet = true;
                    self.close();
                }
            }
            (_, 202) => {}
            (_, 200) => self.on_plain(&mut asked, &head, text),
            (_, status) => self.on_refusal(asked, status, &text),
        }
    }

    fn on_stream_end(&mut self, kernel: &mut Kernel, mut asked: Asked, taken_over: bool) {
        if asked.what == What::Events {
            return self.close();
        }
        let done = asked.waits.is_empty() && asked.stream != Some(OWN);
        if done || taken_over || self.deleting {
            return;
        }
        if self.way == Way::Stateless {
            if !asked.listens {
                self.wrong(format!("had its stream ended without an answer to {:?}", asked.waits));
            }
            return self.forgive(asked);
        }
        let is_own = asked.stream == Some(OWN);
        asked.cut_short = !(asked.contested || is_own && self.contested);
        if asked.last.is_none() && !is_own {
            return self.forgive(asked);
        }
        let now = kernel.now;
        kernel.schedule(now, Task::Client(self.client));
        self.broken.push((now, asked));
    }

    /// JSON that answers everything.
    fn on_plain(&mut self, asked: &mut Asked, head: &Head, text: String) {
        if head.get("content-type") != Some("application/json") {
            self.wrong(format!("got JSON as {head:?}"));
        }
        let texts = match text.starts_with('[') {
            true => serde_json::from_str(&text)
                .map(|all: Vec<&RawValue>| all.iter().map(|text| text.get().to_string()).collect())
                .unwrap_or_default(),
            false => vec![text],
        };
        for text in texts {
            if let Err(why) = self.on_message(asked, Some("message"), true, text) {
                self.wrong(format!("got {why}"));
            }
        }
        if !asked.waits.is_empty() {
            self.wrong(format!("got an answer that lacks {:?}", asked.waits));
        }
    }

    /// A refusal: an error for everything that was asked.
    fn on_refusal(&mut self, asked: Asked, status: u16, text: &str) {
        let lost = self.session.is_some() && !asked.greets && text.contains("-32001");
        if status == 404 && (lost || self.way == Way::Events) {
            match self.way {
                // The end of its stream says it as well, after whatever else muxloop has to say.
                Way::Events => self.unknown = true,
                _ if self.deleting => {}
                _ => self.close(),
            }
            return self.forgive(asked);
        }
        for id in asked.waits {
            let line = match Wire::parse(text).ok().and_then(|wire| wire.id().map(|own| own == id)) {
                Some(true) => text.to_string(),
                _ => format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-1,"message":"status {status}"}}}}"#
                ),
            };
            self.heard.push(Heard::Line(line));
        }
    }

    /// Why a request must not get this status.
    fn misfit(&self, asked: &Asked, status: u16, text: &str) -> Option<&'static str> {
        let fits = match (asked.what, status) {
            (What::Probe(expected), _) => {
                return (status != expected).then_some("it should be another status");
            }
            (What::Delete, 200) => true,
            (What::Delete, 404) => self.quiet,
            (What::Get, 404) => text.contains("-32001"),
            (What::Events | What::Upgrade, 503) => true,
            (What::Post, 200) => self.way != Way::Events,
            (What::Post, 202) => self.way == Way::Events || asked.waits.is_empty(),
            // A version that a server does not speak, or arguments that are wrong, but for the headers.
            (What::Post, 400) if self.way == Way::Stateless => !asked.clean || !text.contains("-32020"),
            (What::Post, 400) => !asked.clean,
            (What::Post, 404) if self.way == Way::Stateless => text.contains("-32601"),
            (What::Post, 404) => true,
            (What::Post, 413) => asked.length > self.terms.body_max,
            (What::Post, 503) => asked.greets || self.way == Way::Stateless,
            _ => false,
        };
        (!fits).then_some("that is no answer to it")
    }

    fn take_frames(&mut self, kernel: &mut Kernel, at: usize) -> Result<(), String> {
        while let Some((kind, payload)) = self.conns[at].frames.next()? {
            match kind {
                Kind::Text => {
                    let text = String::from_utf8(payload).map_err(|_| "a message that is no text")?;
                    self.heard.push(Heard::Line(text));
                }
                Kind::Ping => {
                    let mask = (kernel.choice.next() as u32).to_be_bytes();
                    self.spoke = kernel.now;
                    kernel.send(self.conns[at].writes, &frames::frame(0x8a, &payload, mask));
                }
                Kind::Pong if payload == b"?" => {}
                Kind::Pong => return Err(format!("a pong with {payload:?}")),
                Kind::Close => {
                    kernel.trace.add(kernel.now, format_args!("client {} ◀ close {payload:?}", self.client));
                    // Over a slow line a ping may come too late, behind all that came before it.
                    let silent_ms = kernel.now.since(self.spoke) + 500;
                    self.quiet |= kernel.weather.stall > 0 && silent_ms >= self.terms.session_timeout_ms;
                    let known = [[3, 0xe8], [3, 0xe9], [3, 0xf1]];
                    if !known.iter().any(|code| payload.starts_with(code)) {
                        return Err(format!("a close with {payload:?}"));
                    }
                    self.close();
                }
            }
        }
        Ok(())
    }
}
