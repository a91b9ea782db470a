//! What a client puts on its connections.

use super::{Asked, Conn, OWN, Way, Web, What, frames};
use crate::sim::client::MODERN;
use crate::sim::kernel::Kernel;
use crate::sim::wire::Wire;
use serde_json::value::RawValue;

impl Web {
    /// A message of the client.
    pub fn say(&mut self, kernel: &mut Kernel, text: &str) {
        match self.way {
            _ if self.deleting || self.closed => {}
            Way::Socket => self.say_framed(kernel, text),
            Way::Events if self.endpoint.is_none() => self.waiting.push(text.to_string()),
            _ => self.post(kernel, text),
        }
    }

    /// What waited for a stream that is there now.
    pub(super) fn say_waiting(&mut self, kernel: &mut Kernel) {
        for text in std::mem::take(&mut self.waiting) {
            self.say(kernel, &text);
        }
    }

    fn say_framed(&mut self, kernel: &mut Kernel, text: &str) {
        let Some(conn) = self.conns.first().filter(|conn| conn.upgraded) else {
            return self.waiting.push(text.to_string());
        };
        let writes = conn.writes;
        self.spoke = kernel.now;
        self.too_long |= text.len() > self.terms.body_max;
        let mask = (kernel.choice.next() as u32).to_be_bytes();
        let cut = if kernel.choice.chance(20) { kernel.choice.below(text.len().max(1)) } else { 0 };
        kernel.send(writes, &frames::message(text.as_bytes(), mask, cut));
    }

    /// A request with a message.
    fn post(&mut self, kernel: &mut Kernel, text: &str) {
        self.touch(kernel.now);
        let mut asked = Asked::new(What::Post, kernel.now);
        asked.length = text.len();
        let mut method = String::new();
        let texts: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        let texts = if texts.is_empty() { vec![text] } else { texts.iter().map(|text| text.get()).collect() };
        for text in texts {
            let wire = Wire::parse(text).ok();
            let Some((wire, name)) = wire.as_ref().and_then(|wire| Some((wire, wire.method.as_ref()?)))
            else {
                continue;
            };
            asked.waits.extend(wire.id().filter(|id| *id != "null").map(String::from));
            asked.nonces.extend(wire.body().nonce);
            asked.greets |= name == "initialize";
            asked.listens |= name == "subscriptions/listen";
            method.clone_from(name);
        }
        let known = match self.way {
            Way::Streamable => asked.greets || self.session.is_some(),
            _ => true,
        };
        let doubled = asked.waits.iter().any(|id| self.doubles(id));
        asked.clean = known && !doubled && !asked.waits.is_empty();
        let target = self.endpoint.clone().unwrap_or_else(|| self.path.clone());
        let headers = self.headers(kernel, &asked, &method);
        let old = kernel.choice.chance(4);
        let version = if old { "1.0" } else { "1.1" };
        let mut out = format!(
            "POST {target} HTTP/{version}\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}"
        )
        .into_bytes();
        if !old && kernel.choice.chance(10) {
            out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            // Anywhere, in the middle of a character too.
            let (first, rest) = text.as_bytes().split_at(kernel.choice.below(text.len() + 1));
            for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
                out.extend(format!("{:X}\r\n", piece.len()).bytes());
                out.extend_from_slice(piece);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
        } else {
            let expect = if !old && kernel.choice.chance(3) { "Expect: 100-continue\r\n" } else { "" };
            out.extend(format!("{expect}Content-Length: {}\r\n\r\n{text}", text.len()).bytes());
        }
        let ahead = self.way != Way::Stateless && !asked.waits.is_empty();
        self.put(kernel, asked, &out, ahead, old);
    }

    /// Whether an id is waited for. If so, whichever comes second at muxloop is refused.
    fn doubles(&mut self, id: &str) -> bool {
        let open = self.conns.iter_mut().flat_map(|conn| &mut conn.asked);
        let broken = self.broken.iter_mut().map(|(_, asked)| asked);
        let same = open.chain(broken).filter(|asked| asked.waits.iter().any(|own| own == id));
        same.map(|asked| asked.clean = false).count() > 0
    }

    fn headers(&self, kernel: &mut Kernel, asked: &Asked, method: &str) -> String {
        let mut headers = String::from("Accept: application/json, text/event-stream\r\n");
        if self.way == Way::Stateless {
            headers += &format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n");
            if matches!(method, "tools/call" | "prompts/get") {
                headers += "Mcp-Name: n\r\n";
            }
        }
        if let Some(session) = self.session.as_ref().filter(|_| !asked.greets) {
            headers += &format!("Mcp-Session-Id: {session}\r\n");
        }
        if let Some(version) = self.version.as_ref().filter(|_| kernel.choice.chance(80)) {
            headers += &format!("MCP-Protocol-Version: {version}\r\n");
        }
        headers
    }

    /// Puts a request on a connection: a new one, a free one, or behind others if it may go `ahead` of their
    /// answers.
    fn put(&mut self, kernel: &mut Kernel, asked: Asked, bytes: &[u8], ahead: bool, last: bool) {
        let is_open = |conn: &Conn| !conn.closes && !conn.half_closed && !conn.upgraded;
        let free = self.conns.iter().position(|conn| is_open(conn) && conn.asked.is_empty());
        let behind = |conn: &Conn| {
            is_open(conn) && conn.asked.iter().all(|asked| asked.what == What::Post && !asked.greets)
        };
        let busy = self.conns.iter().position(behind);
        let at = match (free, busy) {
            (_, Some(at)) if ahead && kernel.choice.chance(8) => at,
            (Some(at), _) if kernel.choice.chance(70) => at,
            _ => self.connect(kernel),
        };
        let text = String::from_utf8_lossy(bytes).into_owned();
        kernel
            .trace
            .add(kernel.now, format_args!("client {} on {}: {text:?}", self.client, self.conns[at].writes));
        kernel.send(self.conns[at].writes, bytes);
        self.conns[at].closes |= last;
        self.conns[at].asked.push_back(asked);
    }

    fn connect(&mut self, kernel: &mut Kernel) -> usize {
        let [reads, writes] = kernel.connect(self.client, self.terms.listener);
        self.conns.push(Conn::new(reads, writes));
        self.conns.len() - 1
    }

    /// Opens the session's own stream, or takes one up again.
    pub(super) fn get(&mut self, kernel: &mut Kernel, broken: Option<Asked>) {
        self.touch(kernel.now);
        let mut asked = Asked::new(What::Get, kernel.now);
        asked.stream = Some(OWN);
        let mut resume = String::new();
        if let Some(broken) = broken {
            let last = broken.last.map(|last| format!("{}-{last}", broken.stream.unwrap_or(OWN)));
            resume = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
            asked.resumed = broken.last.is_some();
            asked.expects = broken.last;
            asked.last = broken.last;
            asked.stream = broken.stream;
            asked.waits = broken.waits;
            asked.nonces = broken.nonces;
            asked.cut_short = broken.cut_short;
            asked.contested = broken.contested;
        }
        let session = self.session.clone().unwrap_or_default();
        let out = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nMcp-Session-Id: {session}\r\n{resume}\r\n",
            self.path
        );
        self.put(kernel, asked, out.as_bytes(), false, false);
    }

    /// Takes up what is broken and due.
    pub(super) fn take_up(&mut self, kernel: &mut Kernel) {
        if self.closed || self.deleting {
            return;
        }
        let now = kernel.now;
        let due: Vec<Asked> =
            self.broken.extract_if(.., |(at, _)| *at <= now).map(|(_, asked)| asked).collect();
        for asked in due {
            if asked.stream != Some(OWN) || self.own_stream().is_none() {
                self.get(kernel, Some(asked));
            }
        }
    }

    /// Ends the session. What was asked in it is nobody's any more.
    pub fn delete(&mut self, kernel: &mut Kernel) -> bool {
        let Some(session) = self.session.clone().filter(|_| self.way == Way::Streamable) else {
            return false;
        };
        self.touch(kernel.now);
        let out =
            format!("DELETE {} HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: {session}\r\n\r\n", self.path);
        self.put(kernel, Asked::new(What::Delete, kernel.now), out.as_bytes(), false, false);
        self.deleting = true;
        self.broken.clear();
        true
    }

    /// After its end a session must be unknown.
    pub(super) fn ask_for_ghost(&mut self, kernel: &mut Kernel) {
        let session = self.session.clone().unwrap_or_default();
        let body = r#"{"jsonrpc":"2.0","id":"ghost","method":"ping"}"#;
        let out = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nMcp-Session-Id: {session}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.path,
            body.len()
        );
        self.put(kernel, Asked::new(What::Probe(404), kernel.now), out.as_bytes(), false, false);
    }

    /// Something beside MCP.
    pub(super) fn probe(&mut self, kernel: &mut Kernel) {
        let (status, head) = kernel.choice.pick(&[
            (200, "GET /health HTTP/1.1\r\nHost: localhost\r\n"),
            (200, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"),
            (404, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n"),
            (405, "PUT /message HTTP/1.1\r\nHost: localhost\r\n"),
            (403, "GET /health HTTP/1.1\r\nHost: evil.example\r\n"),
            (204, "OPTIONS /message HTTP/1.1\r\nHost: localhost\r\n"),
            (404, "POST /message?sessionId=none HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 0\r\n"),
        ]);
        let asked = Asked::new(What::Probe(status), kernel.now);
        self.put(kernel, asked, format!("{head}\r\n").as_bytes(), false, false);
    }

    pub(super) fn open_events(&mut self, kernel: &mut Kernel, path: &str) {
        let out = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
        self.put(kernel, Asked::new(What::Events, kernel.now), out.as_bytes(), false, true);
    }

    pub(super) fn open_socket(&mut self, kernel: &mut Kernel, path: &str) {
        let out = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: mcp\r\n\r\n"
        );
        self.put(kernel, Asked::new(What::Upgrade, kernel.now), out.as_bytes(), false, true);
    }
}
