//! The five ways to a server. Each sends JSON and puts whatever comes into one inbox, in the order of its
//! stream; of messages on two streams nobody knows which was first.

use muxloop::base::RecvBuf;
use muxloop::codec::http::{Limits, ResponseDecoder, ResponseEvent};
use muxloop::codec::sse;
use muxloop::codec::ws::{self, Decoder, Frame, Role};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::base::mux::BINARY;
use crate::support::{Ask, Http, PATIENCE};

/// What comes in.
#[derive(Debug)]
pub enum Event {
    Message(Value),
    /// A stream began with this, and is no stream of messages (HTTP).
    Refused(u16),
    /// What the transport may not do.
    Wrong(String),
}

pub type Inbox = Sender<Event>;

/// One client's transport.
pub trait Wire: Send {
    fn send(&mut self, message: &Value);

    /// Takes a request back by the end of its stream, where that is the way.
    fn hang_up(&mut self, _id: &Value) -> bool {
        false
    }

    /// The handshake is done; there may be a stream for what belongs to no request.
    fn listen(&mut self) {}
}

// Lines.

struct Lines {
    out: Box<dyn Write + Send>,
    /// The end of the connection.
    end: Box<dyn FnMut() + Send>,
}

impl Wire for Lines {
    fn send(&mut self, message: &Value) {
        self.out.write_all(format!("{message}\n").as_bytes()).expect("muxloop reads");
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        (self.end)();
    }
}

/// A Unix socket.
pub fn unix(socket: &Path, inbox: Inbox) -> Box<dyn Wire> {
    let stream = UnixStream::connect(socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    read_lines(stream.try_clone().unwrap(), inbox);
    let out = stream.try_clone().unwrap();
    Box::new(Lines { out: Box::new(out), end: Box::new(move || drop(stream.shutdown(Shutdown::Both))) })
}

/// `muxloop proxy --socket` as a host starts it.
pub fn stdio(socket: &Path, inbox: Inbox) -> Box<dyn Wire> {
    let mut child = Command::new(BINARY)
        .args(["proxy", "--socket"])
        .arg(socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the built binary starts");
    read_lines(child.stdout.take().unwrap(), inbox);
    Box::new(Shim { stdin: child.stdin.take(), child })
}

struct Shim {
    stdin: Option<ChildStdin>,
    child: Child,
}

impl Wire for Shim {
    fn send(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().expect("open until the end");
        stdin.write_all(format!("{message}\n").as_bytes()).expect("the proxy reads");
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, inbox: Inbox) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            tell(&inbox, line.as_bytes());
        }
    });
}

fn tell(inbox: &Inbox, text: &[u8]) {
    let event = match serde_json::from_slice(text) {
        Ok(message) => Event::Message(message),
        Err(error) => Event::Wrong(format!("{error}: {}", String::from_utf8_lossy(text))),
    };
    // Nobody listens any more after the end of a test.
    let _ = inbox.send(event);
}

// WebSocket.

struct Socket(TcpStream);

/// In place of a server's name: all of them.
pub const MERGED: &str = "";

fn path(server: &str, end: &str) -> String {
    if server == MERGED { format!("/{end}") } else { format!("/servers/{server}/{end}") }
}

/// `/servers/NAME/ws`.
pub fn websocket(address: SocketAddr, server: &str, inbox: Inbox) -> Box<dyn Wire> {
    let ask = Ask::get(&path(server, "ws"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", &ws::request_key(*b"sixteen bytes ok"))
        .header("Sec-WebSocket-Protocol", "mcp");
    let mut stream = connect(address, &ask);
    let mut received = RecvBuf::new();
    let (status, _) = head(&mut stream, &mut decoder(), &mut received).expect("an answer");
    assert_eq!(status, 101);
    let reading = stream.try_clone().unwrap();
    thread::spawn(move || read_frames(reading, received, &inbox));
    Box::new(Socket(stream))
}

fn read_frames(mut stream: TcpStream, mut received: RecvBuf, inbox: &Inbox) {
    let mut frames = Decoder::new(Role::Client, usize::MAX);
    loop {
        match frames.next(&mut received) {
            Ok(Some(Frame::Text(text))) => tell(inbox, &text),
            Ok(Some(_)) => {}
            Ok(None) if !receive(&mut stream, &mut received) => return,
            Ok(None) => {}
            Err(error) => return drop(inbox.send(Event::Wrong(error.to_string()))),
        }
    }
}

impl Wire for Socket {
    fn send(&mut self, message: &Value) {
        let mut frame = Vec::new();
        ws::write_text(&mut frame, message.to_string().as_bytes(), Some([0x5a, 0x01, 0xff, 0x80]));
        self.0.write_all(&frame).expect("muxloop reads");
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

// HTTP.

/// HTTP+SSE: everything comes on one stream.
struct Events {
    address: SocketAddr,
    stream: TcpStream,
    endpoint: String,
}

/// `/sse/NAME`.
pub fn events(address: SocketAddr, server: &str, inbox: Inbox) -> Box<dyn Wire> {
    let ask = Ask::get(&if server == MERGED { "/sse".to_owned() } else { format!("/sse/{server}") })
        .header("Accept", "text/event-stream");
    let stream = connect(address, &ask);
    let (tell_endpoint, endpoint) = std::sync::mpsc::channel();
    let reading = stream.try_clone().unwrap();
    thread::spawn(move || {
        let mut on_event = |event: &sse::Event| match event.event.as_deref() {
            Some("endpoint") => {
                drop(tell_endpoint.send(String::from_utf8_lossy(&event.data).into_owned()));
            }
            _ => tell(&inbox, &event.data),
        };
        read_reply(reading, &inbox, &mut on_event);
    });
    let endpoint = endpoint.recv_timeout(PATIENCE).expect("the endpoint");
    Box::new(Events { address, stream, endpoint })
}

impl Wire for Events {
    fn send(&mut self, message: &Value) {
        Http::connect(self.address).ask(&Ask::post(&self.endpoint, message)).expect(202);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Streamable HTTP: each message a POST on a connection of its own.
struct Posts {
    address: SocketAddr,
    path: String,
    inbox: Inbox,
    manner: Manner,
    /// The connections of requests by their ids, and of the session's own stream.
    open: Arc<Mutex<HashMap<String, TcpStream>>>,
}

enum Manner {
    /// Up to 2025-11-25: the session and its version, once there is one.
    Session { id: String, version: String },
    /// 2026-07-28.
    Single,
}

/// `/servers/NAME/mcp`, 2025-03-26 to 2025-11-25 (and 2024-11-05, which muxloop does not mind).
pub fn session(address: SocketAddr, server: &str, version: &str, inbox: Inbox) -> Box<dyn Wire> {
    let manner = Manner::Session { id: String::new(), version: version.into() };
    Box::new(Posts::new(address, server, manner, inbox))
}

/// `/servers/NAME/mcp`, 2026-07-28.
pub fn single(address: SocketAddr, server: &str, inbox: Inbox) -> Box<dyn Wire> {
    Box::new(Posts::new(address, server, Manner::Single, inbox))
}

impl Posts {
    fn new(address: SocketAddr, server: &str, manner: Manner, inbox: Inbox) -> Posts {
        Posts { address, path: path(server, "mcp"), inbox, manner, open: Arc::default() }
    }

    fn dress(&self, ask: Ask, message: &Value) -> Ask {
        match &self.manner {
            Manner::Session { id, .. } if id.is_empty() => ask,
            Manner::Session { id, version } => {
                ask.header("Mcp-Session-Id", id).header("MCP-Protocol-Version", version)
            }
            Manner::Single => {
                let params = &message["params"];
                let name = params["name"].as_str().or(params["uri"].as_str()).unwrap_or("");
                ask.header("MCP-Protocol-Version", "2026-07-28")
                    .header("Mcp-Method", message["method"].as_str().unwrap_or(""))
                    .header("Mcp-Name", name)
            }
        }
    }

    /// Sends and lets a thread read the answer, be it JSON or a stream.
    fn start(&self, key: String, ask: &Ask, is_single: bool) {
        let stream = connect(self.address, ask);
        let reading = stream.try_clone().unwrap();
        self.open.lock().unwrap().insert(key.clone(), stream);
        let (open, inbox) = (Arc::clone(&self.open), self.inbox.clone());
        thread::spawn(move || {
            let mut on_event = |event: &sse::Event| {
                if is_single && event.id.is_some() {
                    let _ = inbox.send(Event::Wrong("an event with an id (P42)".into()));
                }
                if !event.data.is_empty() {
                    tell(&inbox, &event.data);
                }
            };
            read_reply(reading, &inbox, &mut on_event);
            open.lock().unwrap().remove(&key);
        });
    }
}

impl Wire for Posts {
    fn send(&mut self, message: &Value) {
        let ask = self.dress(Ask::post(&self.path, message), message);
        let is_first = message["method"] == "initialize";
        if let (Manner::Session { id, .. }, true) = (&mut self.manner, is_first) {
            let reply = Http::connect(self.address).ask(&ask);
            reply.header("mcp-session-id").clone_into(id);
            let _ = self.inbox.send(Event::Message(reply.message()));
        } else if message.is_array() || message.get("id").is_some() && message.get("method").is_some() {
            self.start(message["id"].to_string(), &ask, matches!(self.manner, Manner::Single));
        } else {
            Http::connect(self.address).ask(&ask).expect(202);
        }
    }

    fn hang_up(&mut self, id: &Value) -> bool {
        if !matches!(self.manner, Manner::Single) {
            return false;
        }
        let stream = self.open.lock().unwrap().remove(&id.to_string());
        stream.expect("an open request").shutdown(Shutdown::Both).unwrap();
        true
    }

    fn listen(&mut self) {
        if matches!(self.manner, Manner::Session { .. }) {
            let ask = Ask::get(&self.path).header("Accept", "text/event-stream");
            self.start("the session's own".into(), &self.dress(ask, &Value::Null), false);
        }
    }
}

impl Drop for Posts {
    fn drop(&mut self) {
        if matches!(&self.manner, Manner::Session { id, .. } if !id.is_empty()) {
            let ask = self.dress(Ask::new("DELETE", &self.path), &Value::Null);
            Http::connect(self.address).ask(&ask);
        }
        for stream in self.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn connect(address: SocketAddr, ask: &Ask) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&ask.bytes()).unwrap();
    stream
}

fn decoder() -> ResponseDecoder {
    let mut decoder = ResponseDecoder::new(Limits::for_body(usize::MAX));
    decoder.expect(false);
    decoder
}

/// Status, and whether it is a stream of events; none at the end of the connection.
fn head(
    stream: &mut TcpStream,
    decoder: &mut ResponseDecoder,
    received: &mut RecvBuf,
) -> Option<(u16, bool)> {
    loop {
        match decoder.next(received).expect("HTTP") {
            Some(ResponseEvent::Head(head)) => {
                let kind = head.headers.get("content-type").unwrap_or("");
                return Some((head.status, kind == "text/event-stream"));
            }
            Some(_) => {}
            None if !receive(stream, received) => return None,
            None => {}
        }
    }
}

/// Reads one answer to its end.
fn read_reply(mut stream: TcpStream, inbox: &Inbox, on_event: &mut dyn FnMut(&sse::Event)) {
    let (mut decoder, mut received) = (decoder(), RecvBuf::new());
    let Some((status, is_stream)) = head(&mut stream, &mut decoder, &mut received) else { return };
    let (mut events, mut text, mut body) = (sse::Decoder::new(usize::MAX), RecvBuf::new(), Vec::new());
    loop {
        match decoder.next(&mut received) {
            Ok(Some(ResponseEvent::Body(part))) if is_stream => {
                text.spare(part.len())[..part.len()].copy_from_slice(&part);
                text.advance(part.len());
                while let Some(event) = events.next(&mut text).expect("short events") {
                    on_event(&event);
                }
            }
            Ok(Some(ResponseEvent::Body(part))) => body.extend_from_slice(&part),
            Ok(Some(ResponseEvent::End)) => break,
            Ok(Some(ResponseEvent::Head(_))) => {}
            Ok(None) if !receive(&mut stream, &mut received) => return,
            Ok(None) => {}
            Err(error) => return drop(inbox.send(Event::Wrong(error.to_string()))),
        }
    }
    if !is_stream {
        on_body(status, &body, inbox);
    }
}

/// A plain answer: a message, several of them in an array, or a refusal.
fn on_body(status: u16, body: &[u8], inbox: &Inbox) {
    if status != 200 {
        let _ = inbox.send(Event::Refused(status));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Array(messages)) => {
            messages.into_iter().for_each(|message| drop(inbox.send(Event::Message(message))));
        }
        _ => tell(inbox, body),
    }
}

/// Reads once; whether anything came.
fn receive(stream: &mut TcpStream, received: &mut RecvBuf) -> bool {
    match stream.read(received.spare(16 << 10)) {
        Ok(n) => {
            received.advance(n);
            n > 0
        }
        // Hung up here or there.
        Err(_) => false,
    }
}
