//! `--bench-echo`: an echo server that is never the bottleneck of a benchmark.
//!
//! One thread, one read per pipe-full, one write per read. A request is scanned once, by bytes: its id, method
//! and text are found where they stand and copied, nothing is unescaped or checked. It trusts its client and
//! knows `initialize`, `server/discover`, `ping`, `tools/list` and `tools/call`, nothing else.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use memchr::{memchr, memchr2};

use super::rpc::{META_VERSION, MODERN_VERSION};

/// Echoes until stdin ends.
pub fn run() -> ExitCode {
    match echo_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn echo_all() -> io::Result<()> {
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut input = vec![0; READ_LEN];
    let mut output = Vec::with_capacity(WRITE_LEN);
    // input[..filled] is read; input[..searched] holds no newline that is not yet handled.
    let (mut filled, mut searched) = (0, 0);
    loop {
        if filled == input.len() {
            input.resize(input.len() * 2, 0);
        }
        let len = match stdin.read(&mut input[filled..]) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        filled += len;
        let mut start = 0;
        while let Some(at) = memchr(b'\n', &input[searched..filled]) {
            answer(&input[start..searched + at], &mut output);
            searched += at + 1;
            start = searched;
            if output.len() >= WRITE_LEN {
                stdout.write_all(&output)?;
                output.clear();
            }
        }
        stdout.write_all(&output)?;
        output.clear();
        input.copy_within(start..filled, 0);
        filled -= start;
        searched = filled;
    }
}

/// Appends the response to one line; nothing for notifications and what is not understood.
fn answer(line: &[u8], output: &mut Vec<u8>) {
    let mut found = Found::default();
    scan_object(line, skip_space(line, 0), Level::Message, &mut found);
    let (Some(id), Some(method)) = (found.id, found.method) else { return };
    output.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    output.extend_from_slice(id);
    match method {
        br#""tools/call""# => {
            output.extend_from_slice(br#","result":{"content":[{"type":"text","text":"#);
            let text = found.text.unwrap_or(br#""""#);
            let quoted = text.starts_with(b"\"");
            output.extend_from_slice(if quoted { b"" } else { b"\"" });
            output.extend_from_slice(text);
            output.extend_from_slice(if quoted { b"}]" } else { b"\"}]" });
            close_result(&found, output);
        }
        br#""initialize""# => {
            output.extend_from_slice(br#","result":{"protocolVersion":"#);
            output.extend_from_slice(found.version.unwrap_or(br#""2025-11-25""#));
            output.extend_from_slice(
                br#","capabilities":{"tools":{}},"serverInfo":{"name":"muxloop-bench-echo","version":"1"}}}"#,
            );
        }
        br#""server/discover""# => {
            let supported = format!(r#","result":{{"supportedVersions":["{MODERN_VERSION}"]"#);
            output.extend_from_slice(supported.as_bytes());
            output.extend_from_slice(br#","capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public""#);
            close_result(&found, output);
        }
        br#""tools/list""# => {
            output.extend_from_slice(
                br#","result":{"tools":[{"name":"echo","description":"Returns the text.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}]"#,
            );
            if found.modern {
                output.extend_from_slice(br#","ttlMs":0,"cacheScope":"public""#);
            }
            close_result(&found, output);
        }
        br#""ping""# => output.extend_from_slice(br#","result":{}}"#),
        _ => output.extend_from_slice(br#","error":{"code":-32601,"message":"method not found"}}"#),
    }
    output.push(b'\n');
}

/// Ends a result that has members, and its response.
fn close_result(found: &Found, output: &mut Vec<u8>) {
    if found.modern {
        output.extend_from_slice(br#","resultType":"complete""#);
    }
    output.extend_from_slice(b"}}");
}

/// What a request says, as raw JSON values.
#[derive(Default)]
struct Found<'a> {
    id: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    modern: bool,
}

/// Which object is being scanned.
#[derive(Clone, Copy)]
enum Level {
    Message,
    Params,
    Arguments,
    Meta,
}

/// Scans the object that opens at `at` and returns the position after it; `None` if it is not an object.
fn scan_object<'a>(line: &'a [u8], at: usize, level: Level, found: &mut Found<'a>) -> Option<usize> {
    if line.get(at) != Some(&b'{') {
        return None;
    }
    let mut at = at + 1;
    loop {
        at = skip_space(line, at);
        match line.get(at)? {
            b'}' => return Some(at + 1),
            b',' => at += 1,
            b'"' => {
                let key_end = skip_string(line, at)?;
                let key = &line[at + 1..key_end - 1];
                let colon = skip_space(line, key_end);
                at = scan_member(line, key, skip_space(line, colon + 1), level, found)?;
            }
            _ => return None,
        }
    }
}

/// Takes or skips the value at `at` and returns the position after it.
fn scan_member<'a>(
    line: &'a [u8],
    key: &[u8],
    at: usize,
    level: Level,
    found: &mut Found<'a>,
) -> Option<usize> {
    let inner = match (level, key) {
        (Level::Message, b"params") => Some(Level::Params),
        (Level::Params, b"arguments") => Some(Level::Arguments),
        (Level::Params, b"_meta") => Some(Level::Meta),
        _ => None,
    };
    if let (Some(inner), Some(b'{')) = (inner, line.get(at)) {
        return scan_object(line, at, inner, found);
    }
    let end = skip_value(line, at)?;
    let value = &line[at..end];
    match (level, key) {
        (Level::Message, b"id") => found.id = Some(value),
        (Level::Message, b"method") => found.method = Some(value),
        (Level::Arguments, b"text") => found.text = Some(value),
        (Level::Arguments, b"nonce") => found.text = found.text.or(Some(value)),
        (Level::Params, b"protocolVersion") => found.version = Some(value),
        (Level::Meta, key) if key == META_VERSION.as_bytes() => found.modern = true,
        _ => {}
    }
    Some(end)
}

fn skip_space(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

/// The position after the value at `at`. Brackets are only counted: the client is trusted to pair them.
fn skip_value(line: &[u8], mut at: usize) -> Option<usize> {
    match line.get(at)? {
        b'"' => return skip_string(line, at),
        b'{' | b'[' => {}
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r');
            return Some(at + line[at..].iter().position(is_end)?);
        }
    }
    let mut depth = 0_usize;
    loop {
        match line.get(at)? {
            b'"' => {
                at = skip_string(line, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The position after the string whose opening quote is at `at`.
fn skip_string(line: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    // Most strings are short: a loop beats setting up a vector search.
    for _ in 0..SHORT_STRING {
        match line.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    loop {
        at += memchr2(b'"', b'\\', line.get(at..)?)?;
        match line[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

const READ_LEN: usize = 1024 * 1024;
const WRITE_LEN: usize = 1024 * 1024;
const SHORT_STRING: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(line: &str) -> String {
        let mut output = Vec::new();
        answer(line.as_bytes(), &mut output);
        String::from_utf8(output).expect("UTF-8")
    }

    fn echo_of(id: &str, text: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{text}}}]}}}}"#)
            + "\n"
    }

    #[test]
    fn text_and_id_come_back_as_they_were() {
        let line = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"a\"}\\"}}}"#;
        assert_eq!(answered(line), echo_of("7", r#""a\"}\\""#));
        let line =
            r#" { "method" : "tools/call" , "params" : { "arguments" : { "nonce" : 12 } } , "id" : "x" } "#;
        assert_eq!(answered(line), echo_of(r#""x""#, r#""12""#));
        let line = r#"{"method":"tools/call","id":1,"params":{}}"#;
        assert_eq!(answered(line), echo_of("1", r#""""#));
    }

    #[test]
    fn only_the_envelope_counts() {
        let line = r#"{"method":"tools/call","params":{"id":9,"method":"ping","other":{"text":"no","a":[1,{"id":2}]},"arguments":{"deep":{"text":"no"},"text":"yes","id":3}},"id":4}"#;
        assert_eq!(answered(line), echo_of("4", r#""yes""#));
        let long = "l".repeat(100);
        let line = format!(
            r#"{{"method":"tools/call","id":1,"params":{{"arguments":{{"text":"{long}\"{long}"}}}}}}"#
        );
        assert_eq!(answered(&line), echo_of("1", &format!(r#""{long}\"{long}""#)));
    }

    #[test]
    fn results_are_valid_json_in_both_eras() {
        let modern = format!(r#""params":{{"_meta":{{"{META_VERSION}":"{MODERN_VERSION}"}}}}"#);
        for method in ["initialize", "server/discover", "tools/list", "tools/call", "ping", "no/such"] {
            for params in [r#""params":{"protocolVersion":"2025-06-18"}"#, modern.as_str()] {
                let text = answered(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}",{params}}}"#));
                let response: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
                assert_eq!(response["id"], 1, "{text}");
                assert_eq!(response.get("error").is_some(), method == "no/such", "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_request_gets_no_answer() {
        for line in ["", "{", "[]", "null", r#"{"method":"notifications/x"}"#, r#"{"id":1,"result":{}}"#] {
            assert_eq!(answered(line), "", "{line}");
        }
        let request =
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"text":"a\"b"}}}"#;
        (0..request.len()).for_each(|len| drop(answered(&request[..len])));
    }
}
