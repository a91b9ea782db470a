//! The server behind every relay: answers `tools/call` with the text it got, by byte search, in
//! batches, so that it is never the bottleneck (it shows its own rate at the start of a run). With a
//! delay it becomes a server that works: it spins that long per request and writes each answer at once.
//! With a number of tools it lists so many, described at usual length.
//!
//! It accepts any id, number or string, and any order of keys, because relays differ in both.

use std::io;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::lines::{Inbox, Outbox, Pool};
use crate::sys;

/// What it offers besides `echo`.
#[derive(Clone, Copy, Default)]
pub struct Offer {
    /// How many tools are listed, if not only `echo`.
    pub tools: Option<usize>,
    /// Changes of the list would be announced, so that it need not be asked for again.
    pub announces: bool,
}

/// Serves standard input until it ends.
pub fn run(delay: Duration, offer: Offer) -> io::Result<()> {
    let list = offer.tools.map(tools_of);
    let (input, output) = sys::stdio();
    let (mut inbox, mut outbox, mut pool) = (Inbox::default(), Outbox::default(), Pool::default());
    while inbox.read(input, &mut pool)? != Some(0) {
        while let Some(line) = inbox.next_line() {
            if !delay.is_zero() {
                spin(delay);
            }
            match &list {
                Some(list) if memmem::find(line, b"\"tools/list\"").is_some() => {
                    answer_with(line, list, &mut outbox.buffer);
                }
                _ if offer.announces && memmem::find(line, b"\"initialize\"").is_some() => {
                    answer_with(line, ANNOUNCING, &mut outbox.buffer);
                }
                _ => answer(line, &mut outbox.buffer),
            }
            if !delay.is_zero() {
                while !outbox.flush(output)? {}
            }
        }
        while !outbox.flush(output)? {}
        inbox.settle(&mut pool);
    }
    Ok(())
}

/// Appends the answer to `line`, with its newline; nothing for a notification.
pub fn answer(line: &[u8], out: &mut Vec<u8>) {
    let Some(id) = memmem::find(line, b"\"id\":").map(|at| id_token(&line[at + 5..])) else {
        return;
    };
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id);
    let text = memmem::find(line, b"\"text\":\"").map(|at| &line[at + 8..]);
    match text.and_then(|rest| Some(&rest[..string_end(rest)?])) {
        Some(text) => {
            out.extend_from_slice(b",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\"}],\"isError\":false}}\n");
        }
        None if memmem::find(line, b"\"initialize\"").is_some() => out.extend_from_slice(INITIALIZE_RESULT),
        // Python's SDK looks a tool up before it believes the tool's answer.
        None if memmem::find(line, b"\"tools/list\"").is_some() => out.extend_from_slice(TOOLS),
        None => out.extend_from_slice(b",\"result\":{}}\n"),
    }
}

fn answer_with(line: &[u8], rest: &[u8], out: &mut Vec<u8>) {
    let Some(id) = memmem::find(line, b"\"id\":").map(|at| id_token(&line[at + 5..])) else { return };
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id);
    out.extend_from_slice(rest);
}

/// The rest of an answer to `tools/list`: so many tools of about 600 bytes each.
fn tools_of(count: usize) -> Vec<u8> {
    let property = |name| {
        format!(
            "\"{name}\":{{\"type\":\"string\",\"description\":\"What the {name} of the thing is to be, as text.\"}}"
        )
    };
    let properties = ["owner", "name", "title", "body"].map(property).join(",");
    let tool = |n| {
        format!(
            "{{\"name\":\"tool_{n:02}\",\"title\":\"Tool {n}\",\"description\":\"Creates the thing of kind {n} and \
             returns what became of it. Use it when the user asks for one, and look first whether there is one.\",\
             \"inputSchema\":{{\"type\":\"object\",\"properties\":{{{properties}}},\"required\":[\"owner\",\"name\"]}}}}"
        )
    };
    let tools: Vec<String> = (0..count).map(tool).collect();
    format!(",\"result\":{{\"tools\":[{}]}}}}\n", tools.join(",")).into_bytes()
}

const INITIALIZE_RESULT: &[u8] = b",\"result\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"round_trip-echo\",\"version\":\"1\"}}}\n";

const ANNOUNCING: &[u8] = b",\"result\":{\"protocolVersion\":\"2025-06-18\",\"capabilities\":{\"tools\":{\"listChanged\":true}},\"serverInfo\":{\"name\":\"round_trip-echo\",\"version\":\"1\"}}}\n";

const TOOLS: &[u8] = b",\"result\":{\"tools\":[{\"name\":\"echo\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"}}}}]}}\n";

/// The id as it stands: a string with its quotes, or everything up to the comma or brace.
fn id_token(bytes: &[u8]) -> &[u8] {
    let len = match bytes.first() {
        Some(b'"') => memchr::memchr(b'"', &bytes[1..]).map(|at| at + 2),
        _ => memchr::memchr2(b',', b'}', bytes),
    };
    &bytes[..len.unwrap_or(bytes.len())]
}

/// Where the string ends that `rest` starts in. Our own requests end in a known way, as sent or with
/// sorted keys, which needs no search; anything else is searched quote by quote.
fn string_end(rest: &[u8]) -> Option<usize> {
    for tail in [&b"\"}}}"[..], b"\"},\"name\":\"echo\"}}"] {
        if rest.ends_with(tail) && rest.get(rest.len() - tail.len() - 1) != Some(&b'\\') {
            return Some(rest.len() - tail.len());
        }
    }
    memchr::memchr_iter(b'"', rest)
        .find(|&quote| rest[..quote].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 0)
}

fn spin(delay: Duration) {
    let start = Instant::now();
    while start.elapsed() < delay {
        std::hint::spin_loop();
    }
}
