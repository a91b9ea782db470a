//! The messages of the bench: how a request looks, and the proof that an answer is the one due.
//!
//! A request is a `tools/call` of the tool `echo` with one argument, `text`; the answer returns that
//! text as its content and is as long as the request (16 bytes apart at most). The text starts with
//! a nonce of client number and request id. All clients count their ids from 1, so ids collide on
//! purpose, and an answer that reaches a wrong client has the right id but another nonce.
//!
//! Texts under 1 KiB are plain ASCII. Longer ones are what tools tend to return: indented JSON inside
//! a string, with `\"`, `\n` and some non-ASCII (an escape about every nine bytes).

use std::fmt;
use std::time::Duration;

use memchr::memmem;

use crate::lines::push_integer;

pub const INITIALIZE: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{},\"clientInfo\":{\"name\":\"round_trip\",\"version\":\"1\"}}}\n";
pub const INITIALIZED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";

const HEAD: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":";
const MIDDLE: &[u8] = b",\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"text\":\"";
const TAIL: &[u8] = b"\"}}}\n";
/// `c` + five digits + `r` + nine digits + `;`
const NONCE_LEN: usize = 17;
/// Digits of a typical id, so that a request has the length asked for.
const ID_LEN: usize = 4;

/// An answer without its id and text.
const ANSWER_FIXED_LEN: usize =
    r#"{"jsonrpc":"2.0","id":,"result":{"content":[{"type":"text","text":""}],"isError":false}}"#.len();

/// What an answer turned out to be.
#[derive(Debug)]
pub enum Answer {
    /// The right text for the request with this id.
    Right(u64),
    /// A JSON-RPC error for the request with this id.
    Refused(u64),
}

/// Why an answer is wrong.
pub struct Mismatch(String);

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Requests of one length.
pub struct Payload {
    /// Added to a client's index, so that two load clients on one relay have nonces of their own.
    first_client: usize,
    filler: Vec<u8>,
    find_id: memmem::Finder<'static>,
    find_text: memmem::Finder<'static>,
}

impl Payload {
    /// Requests of `len` bytes with their newline (exact for ids of four digits) by clients that are
    /// numbered from `first_client` on.
    pub fn new(len: usize, first_client: usize) -> Self {
        let fixed = HEAD.len() + ID_LEN + MIDDLE.len() + NONCE_LEN + TAIL.len();
        Self {
            first_client,
            filler: filler(len.saturating_sub(fixed)),
            find_id: memmem::Finder::new(b"\"id\":"),
            find_text: memmem::Finder::new(b"\"text\":\""),
        }
    }

    pub fn write_request(&self, out: &mut Vec<u8>, client: usize, id: u64) {
        out.reserve(HEAD.len() + MIDDLE.len() + NONCE_LEN + self.filler.len() + TAIL.len() + 20);
        out.extend_from_slice(HEAD);
        push_integer(out, id);
        out.extend_from_slice(MIDDLE);
        out.extend_from_slice(&nonce(self.first_client + client, id));
        out.extend_from_slice(&self.filler);
        out.extend_from_slice(TAIL);
    }

    /// Checks that `line` is the answer to one of `client`'s requests: its id, its nonce and every byte
    /// of its text, and that nothing else was lost or won. Whether that request is outstanding is the
    /// caller's to check.
    pub fn check_answer(&self, line: &[u8], client: usize) -> Result<Answer, Mismatch> {
        let answer = self.check_text(line, client)?;
        if let Answer::Right(id) = answer {
            // Whatever the order of its keys, an answer that lost or won a byte has another length.
            let id_len = id.checked_ilog10().unwrap_or(0) as usize + 1;
            let len = ANSWER_FIXED_LEN + id_len + NONCE_LEN + self.filler.len();
            if line.len() != len || line.last() != Some(&b'}') {
                let what = "bytes lost or won around the text";
                return Err(Mismatch(format!("client {client}: {what}: {}", excerpt(line))));
            }
        }
        Ok(answer)
    }

    /// The same, but further keys beside the text and spaces between keys are none of its business:
    /// a proxy that reads and rebuilds every message may have its own.
    pub fn check_text(&self, line: &[u8], client: usize) -> Result<Answer, Mismatch> {
        let wrong = |what: &str| Mismatch(format!("client {client}: {what}: {}", excerpt(line)));
        let id = self
            .find_id
            .find(line)
            .and_then(|at| parse_integer(&line[at + 5..]))
            .ok_or_else(|| wrong("no integer id"))?;
        let Some(text) = self.find_text.find(line) else {
            let is_error = memmem::find(line, b"\"error\":").is_some();
            return if is_error { Ok(Answer::Refused(id)) } else { Err(wrong("neither text nor error")) };
        };
        let rest = &line[text + 8..];
        if rest.get(..NONCE_LEN) != Some(&nonce(self.first_client + client, id)[..]) {
            return Err(wrong("the nonce of another request"));
        }
        let Some(rest) = rest[NONCE_LEN..].strip_prefix(&self.filler[..]) else {
            return Err(wrong("a changed text"));
        };
        if rest.first() != Some(&b'"') {
            return Err(wrong("bytes won at the end of the text"));
        }
        Ok(Answer::Right(id))
    }
}

/// The shape of one load.
#[derive(Clone, Copy, PartialEq)]
pub struct Shape {
    pub clients: usize,
    pub in_flight: usize,
    pub bytes: usize,
    /// Further connections that are initialised and then silent.
    pub idle: usize,
    /// Client, relay and server share one CPU. At one request in flight only one of them runs at a
    /// time, so this takes away how long an idle CPU needs to wake up, which is most of the latency
    /// on virtual machines and most of its noise.
    pub one_cpu: bool,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.clients, self.in_flight, self.bytes)?;
        if self.idle > 0 {
            write!(f, "+{}idle", self.idle)?;
        }
        if self.one_cpu { write!(f, "@1cpu") } else { Ok(()) }
    }
}

/// How long a load warms up and is measured.
#[derive(Clone, Copy)]
pub struct Timing {
    pub warm_up: Duration,
    pub window: Duration,
}

fn nonce(client: usize, id: u64) -> [u8; NONCE_LEN] {
    let mut nonce = *b"c00000r000000000;";
    digits(&mut nonce[1..6], client as u64);
    digits(&mut nonce[7..16], id);
    nonce
}

fn digits(field: &mut [u8], mut value: u64) {
    for place in field.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

pub fn parse_integer(bytes: &[u8]) -> Option<u64> {
    let len = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&bytes[..len]).ok()?.parse().ok()
}

fn filler(len: usize) -> Vec<u8> {
    if len < 800 {
        return b"The quick brown fox jumps over the lazy dog. ".iter().copied().cycle().take(len).collect();
    }
    let mut filler = Vec::with_capacity(len);
    for line in 1u64.. {
        let block = format!(
            "{{\\n  \\\"path\\\": \\\"src/caf\u{e9}/module_{line}.rs\\\",\\n  \\\"line\\\": {line},\\n  \
             \\\"text\\\": \\\"let gr\u{f6}\u{df}e = {}; // \u{6f22}\u{5b57}\\\"\\n}},\\n",
            line * 37
        );
        if filler.len() + block.len() > len {
            break;
        }
        filler.extend_from_slice(block.as_bytes());
    }
    filler.resize(len, b'x');
    filler
}

fn excerpt(line: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&line[..line.len().min(160)]);
    format!("{shown}{} ({} bytes)", if line.len() > 160 { "…" } else { "" }, line.len())
}

/// Shows that the check accepts what is right and refuses each kind of wrong answer. Run by the self test.
pub fn self_test() {
    for len in [200, 4096, 100_000] {
        let payload = Payload::new(len, 40);
        let mut request = Vec::new();
        payload.write_request(&mut request, 7, 1234);
        assert_eq!(request.len(), len);
        serde_json::from_slice::<serde_json::Value>(&request).expect("a request is JSON");
        let mut echoed = Vec::new();
        crate::echo::answer(&request[..len - 1], &mut echoed);
        assert!(echoed.len().abs_diff(len) <= 16, "{} for {len}", echoed.len());
        let value: serde_json::Value = serde_json::from_slice(&echoed).expect("an answer is JSON");
        let line = &echoed[..echoed.len() - 1];
        assert!(matches!(payload.check_answer(line, 7), Ok(Answer::Right(1234))));
        // Another order of keys is still right: serde_json sorts them.
        assert!(matches!(payload.check_answer(value.to_string().as_bytes(), 7), Ok(Answer::Right(1234))));

        let change = |from: &str, to: &str| {
            let text = std::str::from_utf8(line).expect("an answer is UTF-8");
            assert!(text.contains(from), "{from}");
            payload.check_answer(text.replacen(from, to, 1).as_bytes(), 7).is_err()
        };
        assert!(payload.check_answer(line, 8).is_err(), "an answer for another client");
        assert!(change("\"id\":1234", "\"id\":1235"), "an answer under another id");
        assert!(change("\"id\":1234", "\"id\":\"1234\""), "an id that became a string");
        assert!(change("r000001234", "r000001233"), "another nonce");
        assert!(payload.check_answer(&line[..line.len() - 1], 7).is_err(), "a cut end");
        assert!(payload.check_answer(&[line, line].concat(), 7).is_err(), "two answers on one line");
        let mut flipped = line.to_vec();
        flipped[len - 40] ^= 1;
        assert!(payload.check_answer(&flipped, 7).is_err(), "a flipped bit");
        let refused = b"{\"jsonrpc\":\"2.0\",\"id\":9,\"error\":{\"code\":-32603,\"message\":\"busy\"}}";
        assert!(matches!(payload.check_answer(refused, 7), Ok(Answer::Refused(9))));
    }
}
