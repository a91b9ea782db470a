//! The front over a faked floor: requests as bytes, messages of the mux as lines.

use crate::codec::{Incoming, ScanError};
use crate::front::*;

/// What the front did below itself.
#[derive(Default)]
struct Fake {
    written: BTreeMap<u64, Vec<u8>>,
    closed: Vec<Key>,
    unread: Vec<Key>,
    links: u64,
}

impl Below for Fake {
    fn attach(&mut self, _: ServerId, _: bool) -> Option<Key> {
        self.links += 1;
        Key::from_u64(LINKS + self.links)
    }
    fn deliver(&mut self, _: Key, _: &Incoming<'_>) {}
    fn deliver_malformed(&mut self, _: Key, _: &[u8], _: ScanError) {}
    fn detach(&mut self, _: Key) {}
    fn is_paused(&self, _: Key) -> bool {
        false
    }
    fn write(&mut self, conn: Key, bytes: &[u8]) {
        self.written.entry(conn.as_u64()).or_default().extend_from_slice(bytes);
    }
    fn unwritten(&self, conn: Key) -> usize {
        usize::from(self.unread.contains(&conn))
    }
    fn close(&mut self, conn: Key) {
        self.closed.push(conn);
    }
    fn random(&mut self) -> u128 {
        u128::from(self.links)
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A front with one server, and one session with an open GET stream.
struct Stage {
    front: Front,
    fake: Fake,
}

impl Stage {
    fn new() -> Stage {
        let settings = Settings {
            routes: Routes::of_servers([("a", 0)]),
            body_max: BTreeMap::from([(0, 1 << 16)]),
            session_timeout_ms: 60_000,
            max_sessions: 10,
            ..Settings::default()
        };
        let mut stage = Stage { front: Front::new(settings), fake: Fake::default() };
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
        let kinds = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n";
        stage.open(1);
        stage.send(
            1,
            &format!("POST {PATH}Host: localhost\r\n{kinds}Content-Length: {}\r\n\r\n{body}", body.len()),
        );
        let answer = br#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#;
        stage.front.hear(NOW, Key::from_u64(LINKS + 1).unwrap(), answer, &mut stage.fake);
        assert!(stage.said(1).starts_with("HTTP/1.1 200 OK\r\n"), "{}", stage.said(1));
        stage.open(2);
        stage.listen(2);
        stage
    }

    fn open(&mut self, conn: u64) {
        self.front.open(NOW, Key::from_u64(conn).unwrap(), true, None, &mut self.fake);
    }

    fn send(&mut self, conn: u64, bytes: &str) {
        let mut buf = RecvBuf::new();
        buf.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes.as_bytes());
        buf.advance(bytes.len());
        self.front.feed(NOW, Key::from_u64(conn).unwrap(), &mut buf, &mut self.fake);
    }

    fn listen(&mut self, conn: u64) {
        self.send(conn, &format!("GET {PATH}Host: localhost\r\nAccept: text/event-stream\r\n{SESSION}\r\n"));
        assert!(self.said(conn).contains("Content-Type: text/event-stream"), "{}", self.said(conn));
    }

    fn delete(&mut self) {
        self.send(1, &format!("DELETE {PATH}Host: localhost\r\n{SESSION}\r\n"));
    }

    /// What was written to a connection.
    fn said(&mut self, conn: u64) -> String {
        String::from_utf8(self.fake.written.get(&conn).cloned().unwrap_or_default()).unwrap()
    }
}

#[test]
fn a_stream_that_ends_with_its_session_leaves_the_connection_as_it_was_promised() {
    let mut stage = Stage::new();
    assert!(!stage.said(2).contains("Connection: close"));
    stage.delete();
    assert!(stage.said(2).ends_with("0\r\n\r\n"), "{}", stage.said(2));
    assert_eq!(stage.fake.closed, [], "its client sends the next request there");
    stage.fake.written.clear();
    stage.send(2, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(stage.said(2).starts_with("HTTP/1.1 200 OK\r\n"), "{}", stage.said(2));
}

#[test]
fn a_connection_that_nobody_reads_ends_with_its_session() {
    let mut stage = Stage::new();
    stage.fake.unread.push(Key::from_u64(2).unwrap());
    stage.delete();
    assert_eq!(stage.fake.closed, [Key::from_u64(2).unwrap()]);
}

#[test]
fn a_connection_whose_stream_goes_on_elsewhere_is_closed() {
    let mut stage = Stage::new();
    stage.open(3);
    stage.listen(3);
    assert_eq!(stage.fake.closed, [Key::from_u64(2).unwrap()]);
}

const NOW: Time = Time(1_000);
const PATH: &str = "/servers/a/mcp HTTP/1.1\r\n";
/// The first session's id, as [`Fake::random`] has it.
const SESSION: &str = "Mcp-Session-Id: 00000000000000000000000000000001\r\n";
/// Numbers of links, apart from those of connections.
const LINKS: u64 = 1 << 40;

/// One address cannot take all places; a connection that ends gives its back.
#[test]
fn connections_of_one_address_are_bounded() {
    let mut stage = Stage::new();
    let (crowd, other) = ("203.0.113.7".parse().ok(), "203.0.113.8".parse().ok());
    let open = |stage: &mut Stage, conn: u64, address| {
        let key = Key::from_u64(conn).unwrap();
        stage.front.open(NOW, key, false, address, &mut stage.fake);
        !stage.fake.closed.contains(&key)
    };
    let first = 1_000;
    let last = first + CONNECTIONS_PER_ADDRESS as u64;
    assert!((first..last).all(|conn| open(&mut stage, conn, crowd)));
    assert!(!open(&mut stage, last, crowd));
    assert!(stage.said(last).starts_with("HTTP/1.1 503 "), "{}", stage.said(last));
    assert!(open(&mut stage, last + 1, other));
    stage.front.gone(NOW, Key::from_u64(first).unwrap(), &mut stage.fake);
    assert!(open(&mut stage, last + 2, crowd));
    let here = "127.0.0.1".parse().ok();
    assert!((5_000..6_000).all(|conn| open(&mut stage, conn, here)), "this machine has no such limit");
}
