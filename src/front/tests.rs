//! Scenarios of the front with a floor that only records, in a time that only the test moves. The same over
//! real sockets, as far as timing allows, is in `tests/e2e_http`.

mod cancel;
mod connections;
mod drain;
mod held;
mod legacy;
mod patience;
mod resume;
mod room;
mod walk;

use super::conn::*;
use super::*;
use crate::codec::{Incoming, ScanError};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What is below, as a record.
#[derive(Default)]
struct Floor {
    keys: Arena<()>,
    /// Links with what they delivered.
    links: BTreeMap<u64, Vec<String>>,
    detached: Vec<Key>,
    /// Links that the mux wants nothing from.
    paused: BTreeSet<u64>,
    written: BTreeMap<u64, Vec<u8>>,
    closed: BTreeSet<u64>,
    /// A drain has begun.
    draining: bool,
    /// Servers that take no more clients.
    full: BTreeSet<ServerId>,
    /// Bytes that connections have not taken.
    unwritten: BTreeMap<u64, usize>,
    random: u128,
}

impl Below for Floor {
    fn attach(&mut self, _: ServerId, _: bool) -> Option<Key> {
        let link = self.keys.insert(());
        self.links.insert(link.as_u64(), Vec::new());
        Some(link)
    }
    fn has_room(&self, server: ServerId) -> bool {
        !self.full.contains(&server)
    }
    fn deliver(&mut self, link: Key, message: &Incoming<'_>) {
        assert!(!self.paused.contains(&link.as_u64()), "the mux wants nothing from this link");
        let text = String::from_utf8(message.bytes.to_vec()).unwrap();
        self.links.get_mut(&link.as_u64()).expect("an attached link").push(text);
    }
    fn deliver_malformed(&mut self, link: Key, bytes: &[u8], _: ScanError) {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.links.get_mut(&link.as_u64()).expect("an attached link").push(text);
    }
    fn detach(&mut self, link: Key) {
        self.detached.push(link);
        self.links.remove(&link.as_u64());
    }
    fn is_paused(&self, link: Key) -> bool {
        self.paused.contains(&link.as_u64())
    }
    fn write(&mut self, conn: Key, bytes: &[u8]) {
        assert!(!self.closed.contains(&conn.as_u64()), "written after the end");
        self.written.entry(conn.as_u64()).or_default().extend_from_slice(bytes);
    }
    fn unwritten(&self, conn: Key) -> usize {
        self.unwritten.get(&conn.as_u64()).copied().unwrap_or(0)
    }
    fn close(&mut self, conn: Key) {
        self.closed.insert(conn.as_u64());
    }
    fn random(&mut self) -> u128 {
        self.random += 1;
        self.random
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn readiness(&self) -> Result<(), String> {
        if self.draining { Err("a drain".into()) } else { Ok(()) }
    }
}

/// A front, what is below it, and the time.
struct Bench {
    front: Front,
    floor: Floor,
    now: Time,
    received: BTreeMap<u64, RecvBuf>,
}

impl Bench {
    /// The mux ends a link.
    fn end(&mut self, link: Key) {
        self.front.link_closed(self.now, link, &mut self.floor);
        self.settle();
    }

    /// Serves `a` (0) and `b` (1), bodies up to 2,000 bytes, 8 sessions of [`SESSION_MS`].
    fn new() -> Bench {
        let front = Front::new(settings(&[("a", 0), ("b", 1)]));
        Bench { front, floor: Floor::default(), now: Time(1_000), received: BTreeMap::new() }
    }

    fn conn(&mut self) -> Key {
        let conn = self.floor.keys.insert(());
        self.front.open(self.now, conn, true, None, &mut self.floor);
        conn
    }

    /// Bytes of a connection; what it sent ahead is taken when its turn has come.
    fn send(&mut self, conn: Key, bytes: &str) {
        let buf = self.received.entry(conn.as_u64()).or_default();
        buf.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes.as_bytes());
        buf.advance(bytes.len());
        self.front.feed(self.now, conn, buf, &mut self.floor);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let resumed = self.front.take_resumed();
            if resumed.is_empty() {
                return;
            }
            for conn in resumed {
                let Some(buf) = self.received.get_mut(&conn.as_u64()) else { continue };
                self.front.feed(self.now, conn, buf, &mut self.floor);
            }
        }
    }

    /// A request on a new connection.
    fn ask(&mut self, request: &str) -> Key {
        let conn = self.conn();
        self.send(conn, request);
        conn
    }

    fn hear(&mut self, link: Key, message: &Value) {
        self.hear_line(link, &message.to_string());
    }

    fn hear_line(&mut self, link: Key, line: &str) {
        self.front.hear(self.now, link, format!("{line}\n").as_bytes(), &mut self.floor);
        self.settle();
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.front.handle_timeout(self.now, &mut self.floor);
        self.settle();
    }

    /// The other side goes away.
    fn vanish(&mut self, conn: Key) {
        self.front.gone(self.now, conn, &mut self.floor);
        self.settle();
    }

    /// What was written to a connection since.
    fn take(&mut self, conn: Key) -> String {
        String::from_utf8(self.floor.written.remove(&conn.as_u64()).unwrap_or_default()).unwrap()
    }

    fn is_closed(&self, conn: Key) -> bool {
        self.floor.closed.contains(&conn.as_u64())
    }

    /// What a link delivered since.
    fn delivered(&mut self, link: Key) -> Vec<String> {
        std::mem::take(self.floor.links.get_mut(&link.as_u64()).expect("an attached link"))
    }

    /// The newest link.
    fn link(&self) -> Key {
        let newest = self.floor.links.keys().max().expect("a link");
        Key::from_u64(*newest).unwrap()
    }

    /// A session of server `a` that speaks this version.
    fn session(&mut self, version: &str) -> Opened {
        let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} });
        let conn = self.ask(&post("/servers/a/mcp", "", &hello));
        let link = self.link();
        self.delivered(link);
        self.hear(link, &json!({ "jsonrpc": "2.0", "id": 0, "result": { "protocolVersion": version } }));
        let head = self.take(conn);
        let (_, rest) = head.split_once("Mcp-Session-Id: ").expect("a session");
        Opened { id: rest.split("\r\n").next().unwrap().to_owned(), link }
    }
}

/// 8 sessions of [`SESSION_MS`], bodies up to 2,000 bytes.
fn settings(servers: &[(&str, ServerId)]) -> Settings {
    Settings {
        routes: Routes::of_servers(servers.iter().copied()),
        body_max: servers.iter().map(|(_, id)| (*id, 2_000)).collect(),
        session_timeout_ms: SESSION_MS,
        max_sessions: 8,
        ..Settings::default()
    }
}

/// How long a session may be without use.
const SESSION_MS: u64 = 300_000;

/// A session and its link.
struct Opened {
    id: String,
    link: Key,
}

impl Opened {
    fn post(&self, message: &Value) -> String {
        post("/servers/a/mcp", &format!("Mcp-Session-Id: {}\r\n", self.id), message)
    }

    fn get(&self, headers: &str) -> String {
        format!(
            "GET /servers/a/mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
             Mcp-Session-Id: {}\r\n{headers}\r\n",
            self.id
        )
    }
}

fn post(target: &str, headers: &str, message: &Value) -> String {
    let body = message.to_string();
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn modern(id: u32, method: &str) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "_meta": meta } });
    let headers = format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n");
    post("/servers/a/mcp", &headers, &message)
}

/// A call that wants progress under this token.
fn call(id: u32, token: &str) -> Value {
    let params = json!({ "name": "x", "_meta": { "progressToken": token } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

fn result(id: u32, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": text })
}

fn progress(token: &str, progress: u32) -> Value {
    let params = json!({ "progressToken": token, "progress": progress });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

fn changed() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" })
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("")
}
