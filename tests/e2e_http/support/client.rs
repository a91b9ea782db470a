//! [`Http`]: a blocking HTTP client that looks at everything it gets. One connection each.

use muxloop::base::RecvBuf;
use muxloop::codec::http::{Framing, Headers, Limits, ResponseDecoder, ResponseEvent, write_request_head};
use muxloop::codec::sse::{self, Event};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use super::PATIENCE;

/// One request, to be sent as it is.
#[derive(Clone)]
pub struct Ask {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Ask {
    pub fn new(method: &'static str, target: &str) -> Ask {
        Ask { method, target: target.into(), headers: Vec::new(), body: None }
    }

    pub fn get(target: &str) -> Ask {
        Ask::new("GET", target)
    }

    /// A POST of JSON that accepts both kinds of answer.
    pub fn post(target: &str, body: &Value) -> Ask {
        Ask::post_text(target, &body.to_string())
    }

    pub fn post_text(target: &str, body: &str) -> Ask {
        let mut ask = Ask::new("POST", target)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream");
        ask.body = Some(body.as_bytes().to_vec());
        ask
    }

    /// Sets a header, or takes it away if the value is empty.
    pub fn header(mut self, name: &str, value: &str) -> Ask {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name.into(), value.into()));
        }
        self
    }

    /// Adds a header, even if there is one of this name.
    pub fn another(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let host = self.headers.iter().find(|(name, _)| name == "Host");
        let host = host.map_or("127.0.0.1", |(_, value)| value);
        let named = |(name, value): &'_ (String, String)| (name.clone(), value.clone());
        let others: Vec<_> = self.headers.iter().filter(|(name, _)| name != "Host").map(named).collect();
        let others: Vec<_> = others.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut out = Vec::new();
        let framing = self.body.as_ref().map_or(Framing::None, |body| Framing::Sized(body.len()));
        write_request_head(&mut out, self.method, &self.target, host, &others, framing);
        out.extend_from_slice(self.body.as_deref().unwrap_or_default());
        out
    }
}

/// Status and headers of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Headers,
    pub keep_alive: bool,
}

impl Head {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or("")
    }

    pub fn is_stream(&self) -> bool {
        self.header("content-type") == "text/event-stream"
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn header(&self, name: &str) -> &str {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The last message: the body, or the last event of the stream.
    pub fn message(&self) -> Value {
        self.messages().pop().unwrap_or_else(|| panic!("no message: {self:?}"))
    }

    /// All messages: the body, or the events of the stream.
    pub fn messages(&self) -> Vec<Value> {
        if !self.head.is_stream() {
            return vec![self.json()];
        }
        let (mut decoder, mut buf) = (sse::Decoder::new(usize::MAX), RecvBuf::new());
        buf.spare(self.body.len())[..self.body.len()].copy_from_slice(&self.body);
        buf.advance(self.body.len());
        let mut messages = Vec::new();
        while let Some(event) = decoder.next(&mut buf).unwrap() {
            if !event.data.is_empty() {
                messages.push(data(&event));
            }
        }
        messages
    }

    /// Asserts a status; for chains.
    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status(), status, "{:?} {}", self.head, self.text());
        self
    }
}

/// The message in an event.
pub fn data(event: &Event) -> Value {
    serde_json::from_slice(&event.data).unwrap_or_else(|error| panic!("{error}: {event:?}"))
}

trait Duplex: Read + Write + Send {
    fn end(&self);
}

impl Duplex for TcpStream {
    fn end(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

impl Duplex for UnixStream {
    fn end(&self) {
        self.shutdown(Shutdown::Write).unwrap();
    }
}

/// A connection.
pub struct Http {
    stream: Box<dyn Duplex>,
    received: RecvBuf,
    decoder: ResponseDecoder,
    /// Body bytes of an event stream that are no whole event yet.
    text: RecvBuf,
    events: sse::Decoder,
    /// The answer at hand has come to its end.
    over: bool,
}

impl Http {
    pub fn connect(address: SocketAddr) -> Http {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Http::on(Box::new(stream))
    }

    pub fn connect_unix(path: &Path) -> Http {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Http::on(Box::new(stream))
    }

    fn on(stream: Box<dyn Duplex>) -> Http {
        Http {
            stream,
            received: RecvBuf::new(),
            decoder: ResponseDecoder::new(Limits::for_body(usize::MAX)),
            text: RecvBuf::new(),
            events: sse::Decoder::new(usize::MAX),
            over: true,
        }
    }

    // Sending.

    /// Sends bytes as they are; the answers are yet to be expected.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("muxloop reads");
    }

    /// An answer will come. `to_head`: without a body.
    pub fn expect_answer(&mut self, to_head: bool) {
        self.decoder.expect(to_head);
    }

    pub fn send(&mut self, ask: &Ask) {
        self.expect_answer(ask.method == "HEAD");
        self.send_bytes(&ask.bytes());
    }

    /// Says no more, but still reads.
    pub fn half_close(&self) {
        self.stream.end();
    }

    // Receiving.

    /// Sends a request and reads the whole answer.
    pub fn ask(&mut self, ask: &Ask) -> Reply {
        self.send(ask);
        self.reply()
    }

    /// Sends a request and reads the head of the answer.
    pub fn start(&mut self, ask: &Ask) -> Head {
        self.send(ask);
        self.head()
    }

    pub fn reply(&mut self) -> Reply {
        let head = self.head();
        let mut body = Vec::new();
        while let Some(part) = self.part() {
            body.extend_from_slice(&part);
        }
        Reply { head, body }
    }

    pub fn head(&mut self) -> Head {
        (self.text, self.events, self.over) = (RecvBuf::new(), sse::Decoder::new(usize::MAX), false);
        match self.next().expect("an answer before the end") {
            ResponseEvent::Head(head) => {
                Head { status: head.status, headers: head.headers, keep_alive: head.keep_alive }
            }
            other => panic!("a head was expected: {other:?}"),
        }
    }

    /// The next bytes of the body; none at its end.
    fn part(&mut self) -> Option<Vec<u8>> {
        if self.over {
            return None;
        }
        match self.next() {
            Some(ResponseEvent::Body(part)) => return Some(part),
            Some(ResponseEvent::End) => {}
            other => panic!("a body was expected: {other:?}"),
        }
        self.over = true;
        None
    }

    /// The next event of a stream; none at its end, which must be a proper one.
    pub fn event(&mut self) -> Option<Event> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Signs of life come again and again.
            assert!(Instant::now() < deadline, "no event comes");
            if let Some(event) = self.events.next(&mut self.text).unwrap() {
                return Some(event);
            }
            let part = self.part()?;
            self.text.spare(part.len())[..part.len()].copy_from_slice(&part);
            self.text.advance(part.len());
        }
    }

    /// The next message of a stream, events without one skipped.
    pub fn message(&mut self) -> Value {
        loop {
            let event = self.event().expect("a message before the end of the stream");
            if !event.data.is_empty() {
                return data(&event);
            }
        }
    }

    /// The next message that is wanted; others before it are lost.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.message();
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The messages to the end of the stream.
    pub fn rest(&mut self) -> Vec<Value> {
        let mut messages = Vec::new();
        while let Some(event) = self.event() {
            if !event.data.is_empty() {
                messages.push(data(&event));
            }
        }
        messages
    }

    /// The last event id so far, for a resume.
    pub fn last_event_id(&self) -> String {
        self.events.last_event_id().expect("an event with an id").to_owned()
    }

    fn next(&mut self) -> Option<ResponseEvent> {
        loop {
            match self.decoder.next(&mut self.received) {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => panic!("{error}"),
            }
            if self.receive() == 0 {
                return self.decoder.finish().unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    /// Reads once; 0 at the end of the connection.
    pub fn receive(&mut self) -> usize {
        match self.stream.read(self.received.spare(64 << 10)) {
            Ok(n) => {
                self.received.advance(n);
                n
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing comes: {error}"),
        }
    }

    /// Everything to the end of the connection, as it comes.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.receive() > 0 {}
        self.take_received()
    }

    /// What was received and not looked at.
    pub fn take_received(&mut self) -> Vec<u8> {
        let all = self.received.filled().to_vec();
        self.received.consume(all.len());
        all
    }

    /// Waits for the end of the connection; nothing may come before it.
    pub fn assert_ends(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
}
