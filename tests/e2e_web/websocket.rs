//! [`WebSocket`]: a blocking client that looks at every frame it gets.

use crate::support::{Ask, PATIENCE, Server, Station};
use muxloop::base::RecvBuf;
use muxloop::codec::http::{Limits, Response, ResponseDecoder, ResponseEvent};
use muxloop::codec::ws::{self, Decoder, Frame, Role};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub const PATH: &str = "/servers/a/ws";
/// Of no meaning; a client that can be attacked through a proxy draws one per frame.
const MASK: Option<[u8; 4]> = Some([0x5a, 0x01, 0xff, 0x80]);

pub struct WebSocket {
    stream: TcpStream,
    received: RecvBuf,
    decoder: Decoder,
    next_id: u64,
}

/// A request for a WebSocket, as the client under test would send it.
pub fn upgrade(path: &str) -> Ask {
    Ask::get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", &ws::request_key(*b"sixteen bytes ok"))
        .header("Sec-WebSocket-Protocol", "mcp")
}

/// A station with one demo server.
pub fn station(options: &[&str], keys: &str) -> Station {
    Station::start(crate::support::station::PLAIN, &[Server::demo("a", options).keys(keys)])
}

impl WebSocket {
    /// A connection that has said nothing yet.
    pub fn open(address: SocketAddr, path: &str) -> WebSocket {
        WebSocket::open_by(address, &upgrade(path))
    }

    pub fn open_by(address: SocketAddr, ask: &Ask) -> WebSocket {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&ask.bytes()).unwrap();
        let mut received = RecvBuf::new();
        let mut head = ResponseDecoder::new(Limits::for_body(1 << 20));
        head.expect(false);
        let response: Response = loop {
            match head.next(&mut received).unwrap() {
                Some(ResponseEvent::Head(response)) => break response,
                Some(other) => panic!("a head was expected: {other:?}"),
                None => assert!(read(&mut stream, &mut received) > 0, "the connection ended"),
            }
        };
        ws::check_accepted(&response, &ws::request_key(*b"sixteen bytes ok"))
            .unwrap_or_else(|why| panic!("{why}: {response:?}"));
        WebSocket { stream, received, decoder: Decoder::new(Role::Client, usize::MAX), next_id: 1 }
    }

    /// A client of server `a` after its handshake.
    pub fn client(station: &Station) -> WebSocket {
        WebSocket::client_with(station, json!({}))
    }

    pub fn client_with(station: &Station, capabilities: Value) -> WebSocket {
        let mut socket = WebSocket::open(station.address, PATH);
        socket.send(&crate::support::initialize("2025-11-25", capabilities));
        let answer = socket.message();
        assert_eq!((&answer["id"], answer["result"].is_object()), (&json!(0), true), "{answer}");
        socket.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        socket
    }

    // Sending.

    pub fn send(&mut self, message: &Value) {
        let mut frame = Vec::new();
        ws::write_text(&mut frame, message.to_string().as_bytes(), MASK);
        self.send_bytes(&frame);
    }

    pub fn send_ping(&mut self, payload: &[u8]) {
        let mut frame = Vec::new();
        ws::write_ping(&mut frame, payload, MASK);
        self.send_bytes(&frame);
    }

    pub fn send_close(&mut self, code: u16, reason: &str) {
        let mut frame = Vec::new();
        ws::write_close(&mut frame, code, reason, MASK);
        self.send_bytes(&frame);
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("muxloop reads");
    }

    // Receiving.

    /// The next frame; none at the end of the connection.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.received).unwrap() {
                return Some(frame);
            }
            if read(&mut self.stream, &mut self.received) == 0 {
                return None;
            }
        }
    }

    pub fn message(&mut self) -> Value {
        match self.frame() {
            Some(Frame::Text(text)) => serde_json::from_slice(&text).unwrap(),
            other => panic!("a message was expected: {other:?}"),
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

    /// Calls a tool and waits for its answer.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = format!("call {}", self.next_id);
        self.next_id += 1;
        self.send(&crate::support::call(id.as_str(), tool, arguments));
        self.until(|message| message["id"] == id.as_str())
    }

    /// Waits for the other side's close frame and then for the end of the connection; its code and reason.
    pub fn closed(&mut self) -> (u16, String) {
        let close = loop {
            match self.frame() {
                Some(Frame::Close(close)) => break close.expect("a code"),
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        };
        assert_eq!(self.frame(), None, "nothing follows a close frame");
        (close.code, close.reason)
    }
}

fn read(stream: &mut TcpStream, into: &mut RecvBuf) -> usize {
    match stream.read(into.spare(64 << 10)) {
        Ok(n) => {
            into.advance(n);
            n
        }
        Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
        Err(error) => panic!("nothing comes: {error}"),
    }
}

/// A frame by hand: its first byte, and its payload unmasked or masked.
pub fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let marked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..126 => bytes.push(marked | len as u8),
        len @ ..0x1_0000 => {
            bytes.push(marked | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(marked | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.unwrap_or_default().iter().take(if mask.is_some() { 4 } else { 0 }));
    let mask = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
