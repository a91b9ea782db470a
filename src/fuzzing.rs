//! Bodies of the fuzz targets in `fuzz/`: each takes any bytes and panics where a promise is broken.
//!
//! They live in the crate so that `cargo test` replays the corpora on stable Rust (`tests/corpus.rs`).
//! The oracle of all that concerns JSON is `serde_json`, see `model`; that of the world is the simulator's
//! ledger.

use crate::base::{RecvBuf, SendBuf};
use crate::codec::{Envelope, Incoming, Kind, Line, LineFramer, Message, Overlong, ScanErrorKind, Span};
use crate::codec::{Value, batch, json};

mod config;
mod model;
#[cfg(feature = "http")]
mod wire;

pub use config::config;
#[cfg(feature = "http")]
pub use wire::{http, sse, ws, ws_settings};

/// The whole of it: the engine in a simulated world whose every accident is one of these bytes.
pub fn world(data: &[u8]) {
    crate::sim::world_from_bytes(data);
}

/// The framer: a byte of limit, a byte of piece length, then the stream. Lines must be what splitting at
/// LF gives, however the stream is cut, and its end ends the last; gives the number of lines.
pub fn line(data: &[u8]) -> usize {
    let [limit, step, stream @ ..] = data else { return 0 };
    let limit = usize::from(*limit) * 4;
    let expected = split_lines(stream, limit);
    for step in [usize::from(*step) + 1, 1, stream.len().max(1)] {
        let found = framed_lines(stream, limit, step);
        assert_eq!(found, expected, "in pieces of {step}");
    }
    for line in stream.split(|&byte| byte == b'\n') {
        check_overlong(line);
    }
    expected.len()
}

/// A line as it was; or length, head and tail.
#[derive(Debug, PartialEq)]
enum Found {
    Line(Vec<u8>),
    Overlong(u64, Vec<u8>, Vec<u8>),
}

fn split_lines(stream: &[u8], limit: usize) -> Vec<Found> {
    let lines = stream.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines
        .filter(|line| line.len() > limit || !line.trim_ascii().is_empty())
        .map(|line| {
            if line.len() <= limit {
                return Found::Line(line.to_vec());
            }
            let head = &line[..line.len().min(Overlong::HEAD_MAX)];
            let tail = &line[line.len().saturating_sub(Overlong::TAIL_MAX)..];
            Found::Overlong(line.len() as u64, head.to_vec(), tail.to_vec())
        })
        .collect()
}

fn framed_lines(stream: &[u8], limit: usize, step: usize) -> Vec<Found> {
    let mut framer = LineFramer::new(limit);
    let mut buf = RecvBuf::new();
    let mut found = Vec::new();
    for piece in stream.chunks(step) {
        buf.spare(piece.len())[..piece.len()].copy_from_slice(piece);
        buf.advance(piece.len());
        while let Some(line) = framer.next(&mut buf) {
            found.push(line.into());
        }
        assert!(buf.len() <= limit + 1, "what waits for its end is bounded");
    }
    found.extend(framer.last(&mut buf).map(Found::from));
    assert_eq!(buf.len(), 0, "nothing stays behind");
    found
}

impl From<Line<'_>> for Found {
    fn from(line: Line<'_>) -> Found {
        match line {
            Line::Line(line) => Found::Line(line.to_vec()),
            Line::Overlong(line) => Found::Overlong(line.len, line.head, line.tail),
        }
    }
}

/// What head and tail of a long line tell of its id and method must be so in the whole line.
fn check_overlong(line: &[u8]) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(members) = model::object(line) else { return };
    for (head_max, tail_max) in [(Overlong::HEAD_MAX, Overlong::TAIL_MAX), (40, 0), (0, 30), (25, 25)] {
        let overlong = Overlong {
            len: line.len() as u64,
            limit: 0,
            // Without any head it is not even known that the line is an object.
            head: line[..line.len().min(head_max.max(1))].to_vec(),
            tail: line[line.len().saturating_sub(tail_max)..].to_vec(),
        };
        let is_id = |id: &[u8]| members.iter().any(|(key, value)| key == b"id" && value.of(line) == id);
        assert!(overlong.id().is_none_or(is_id), "an id from nowhere");
        let has = |name: &[u8]| members.iter().any(|(key, _)| key == name);
        match overlong.has_method() {
            Some(true) => assert!(has(b"method")),
            Some(false) => assert!(has(b"result") || has(b"error")),
            None => {}
        }
    }
}

/// The scan, batches and the cold JSON functions against the model; gives whether the text was accepted.
pub fn envelope(data: &[u8]) -> bool {
    let text = model::Text::read(data);
    check_batch(data, &text);
    check_json(data);
    match Incoming::scan(data) {
        Ok(incoming) => {
            let expected = text.envelope().unwrap_or_else(|why| panic!("accepted, but {why}"));
            assert_eq!(model::fields(&incoming.envelope), model::fields(&expected));
            assert_eq!(incoming.envelope.kind, expected.kind);
            check_method(&incoming);
            true
        }
        Err(error) => {
            assert!(error.at <= data.len());
            if error.kind == ScanErrorKind::Batch {
                assert!(data.trim_ascii().starts_with(b"["));
                return false;
            }
            assert!(text.envelope().is_err(), "{error:?}, but the model accepts");
            assert_eq!(error.code() == -32700, !text.is_json() || text.is_too_deep(), "{error:?}");
            if text.is_json() {
                assert_eq!(error.id, text.id(), "{error:?}");
                assert_eq!(error.has_method, text.has(b"method"));
            }
            false
        }
    }
}

fn check_method(incoming: &Incoming<'_>) {
    let Some(written) = incoming.envelope.method else {
        return assert_eq!(incoming.method(), b"");
    };
    let written = incoming.text(written);
    let plain = json::unescape(written);
    let inner = &written[1..written.len() - 1];
    match plain {
        Some(plain) if crate::codec::envelope::METHODS.contains(&&*plain) => {
            assert_eq!(incoming.method(), plain.as_bytes());
        }
        _ => assert_eq!(incoming.method(), inner),
    }
    assert!(matches!(incoming.envelope.kind, Kind::Request | Kind::Notification));
}

fn check_batch(data: &[u8], text: &model::Text<'_>) {
    let expected = model::array(data).filter(|_| !text.is_too_deep());
    assert_eq!(batch::elements(data).ok(), expected);
}

/// Members, elements and strings are what `serde_json` reads.
fn check_json(data: &[u8]) {
    assert_eq!(json::is_string(data), model::is_string(data));
    if data.is_empty() {
        return;
    }
    // A string alone; trailing space is not part of a token.
    if !data[data.len() - 1].is_ascii_whitespace() && data[0] == b'"' {
        let expected = serde_json::from_slice::<String>(data).ok();
        assert_eq!(json::unescape(data).as_deref(), expected.as_deref());
    }
    let start = data.iter().position(|byte| !b" \t\r\n".contains(byte)).unwrap_or(0);
    let whole = Span::new(start, data.len());
    let members: Vec<_> = json::object_members(data, whole).collect();
    let elements: Vec<_> = json::array_elements(data, whole).collect();
    if let Some(expected) = model::object(data) {
        let found: Vec<_> = members.iter().map(|(_, _, value)| *value).collect();
        let values: Vec<_> = expected.iter().map(|(_, value)| *value).collect();
        assert_eq!(found, values);
        for ((name, _, _), (key, _)) in members.iter().zip(&expected) {
            let expected = std::str::from_utf8(key).unwrap_or("\u{fffd}");
            assert_eq!(name, expected);
            assert!(json::member(data, whole, name).is_some());
        }
    }
    if let Some(expected) = model::array(data) {
        assert_eq!(elements, expected);
    }
}

/// Splicing: eight bytes choose edits, the rest is the text. A message's own id and token are replaced
/// and everything else must stay; any other text gets edits anywhere. Gives whether it was a message.
pub fn splice(data: &[u8]) -> bool {
    let Some((choice, text)) = data.split_first_chunk::<8>() else { return false };
    splice_anywhere(*choice, text);
    let Ok(incoming) = Incoming::scan(text) else { return false };
    splice_message(u64::from_le_bytes(*choice), &incoming);
    true
}

fn splice_message(number: u64, incoming: &Incoming<'_>) {
    let before = &incoming.envelope;
    let mut message = Message::new(incoming.bytes);
    // Later places first: the order of the calls must not matter.
    for span in [before.token, before.meta_token, before.request_id, before.id].into_iter().flatten() {
        message.replace(span, Value::Integer(number));
    }
    let out = message.to_vec();
    assert_eq!(out.len(), message.len());
    let mut send = SendBuf::new();
    message.write_to(&mut send);
    assert_eq!(send.pending(), out);

    let after = Incoming::scan(&out).expect("a spliced message is a message");
    assert_eq!(after.envelope.kind, before.kind);
    let number = number.to_string();
    let number = number.as_bytes();
    let fields = model::fields(before).into_iter().zip(model::fields(&after.envelope));
    for ((name, old), (_, new)) in fields {
        let (old, new) = (old.map(|span| incoming.text(span)), new.map(|span| after.text(span)));
        match name {
            "id" | "token" | "meta_token" | "request_id" => assert_eq!(new, old.map(|_| number), "{name}"),
            // They hold what was edited.
            "params" | "result" | "meta" => assert_eq!(new.is_some(), old.is_some(), "{name}"),
            _ => assert_eq!(new, old, "{name}"),
        }
    }
    // Put back, the text is what it was.
    assert_eq!(put_back(before, &after, incoming.bytes), incoming.bytes);
}

fn put_back(before: &Envelope, after: &Incoming<'_>, original: &[u8]) -> Vec<u8> {
    let envelope = &after.envelope;
    let mut message = Message::new(after.bytes);
    for (new, old) in [
        (envelope.id, before.id),
        (envelope.meta_token, before.meta_token),
        (envelope.token, before.token),
        (envelope.request_id, before.request_id),
    ] {
        if let (Some(new), Some(old)) = (new, old) {
            message.replace(new, Value::Raw(old.of(original)));
        }
    }
    message.to_vec()
}

/// Edits at places made of `choice`, in an order made of it, against a text built piece by piece.
fn splice_anywhere(choice: [u8; 8], text: &[u8]) {
    let mut edits: Vec<(usize, usize, Value<'_>)> = Vec::new();
    let mut at = 0;
    for (i, byte) in choice.into_iter().enumerate() {
        let start = at + usize::from(byte & 7);
        let end = start + usize::from(byte >> 3 & 3);
        let value = match byte >> 5 {
            0 => Value::Raw(b""),
            1 => Value::Raw(b"\"raw\""),
            _ => Value::Integer(u64::MAX >> (byte & 63)),
        };
        // Two insertions at one place would swap with their calls.
        if end > text.len() || edits.last().is_some_and(|last| last.0 == start) || i >= Message::EDITS_MAX {
            break;
        }
        edits.push((start, end, value));
        at = end;
    }
    let mut expected = Vec::new();
    let mut copied = 0;
    for (start, end, value) in &edits {
        expected.extend_from_slice(&text[copied..*start]);
        match value {
            Value::Raw(bytes) => expected.extend_from_slice(bytes),
            Value::Integer(value) => expected.extend_from_slice(value.to_string().as_bytes()),
        }
        copied = *end;
    }
    expected.extend_from_slice(&text[copied..]);

    let rotation = if edits.is_empty() { 0 } else { usize::from(choice[7]) % edits.len() };
    edits.rotate_left(rotation);
    let mut message = Message::new(text);
    for (start, end, value) in edits {
        if start == end {
            message.insert(start, value);
        } else {
            message.replace(Span::new(start, end), value);
        }
    }
    assert_eq!(message.to_vec(), expected);
    assert_eq!(message.len(), expected.len());
}
