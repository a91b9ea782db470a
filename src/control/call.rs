//! [`Call`]: what a control connection may ask for (`docs/control.md`).

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// One request, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// As written: a number or a string.
    pub id: String,
    pub verb: Verb,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Hello,
    Status,
    Watch { interval_ms: u64 },
    Unwatch,
    Start { server: String },
    Stop { server: String },
    Restart { server: String },
    Reload,
    Drain { timeout_ms: u64 },
    Shutdown,
    Logs { server: Option<String>, lines: usize, follow: bool },
    Unlog,
    Tap { server: String },
    Untap,
}

/// The names of all methods.
pub const METHODS: [&str; 14] = [
    "hello", "status", "watch", "unwatch", "start", "stop", "restart", "reload", "drain", "shutdown", "logs",
    "unlog", "tap", "untap",
];

/// Why a line was no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As written, `null` if it is not known.
    pub id: String,
    pub code: i32,
    pub text: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Params {
    server: Option<String>,
    interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
    lines: Option<usize>,
    follow: Option<bool>,
}

impl Call {
    /// Reads one line.
    ///
    /// # Errors
    /// An answer that says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Call, Refusal> {
        let refuse = |id: &str, code, text: String| Refusal { id: id.to_owned(), code, text };
        let parsed: Line<'_> = serde_json::from_slice(line).map_err(|error| {
            let code = if error.is_data() { -32600 } else { -32700 };
            refuse("null", code, format!("not a request: {error}"))
        })?;
        let id = parsed.id.map_or("null", RawValue::get);
        if !matches!(id.as_bytes()[0], b'"' | b'-' | b'0'..=b'9') || id.len() > ID_MAX {
            let text = format!("a request needs an id, a string or a number of at most {ID_MAX} bytes");
            return Err(refuse("null", -32600, text));
        }
        let params = match parsed.params {
            None => Params::default(),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|error| {
                refuse(id, -32602, format!("params of {}: {error}", shown(&parsed.method)))
            })?,
        };
        let verb = Verb::of(&parsed.method, params).map_err(|(code, text)| refuse(id, code, text))?;
        Ok(Call { id: id.to_owned(), verb })
    }
}

impl Verb {
    fn of(method: &str, params: Params) -> Result<Verb, (i32, String)> {
        let server = |params: Params| {
            params.server.ok_or_else(|| (-32602, format!("{method} needs `server`, the name of one")))
        };
        Ok(match method {
            "hello" => Verb::Hello,
            "status" => Verb::Status,
            "watch" => {
                let interval_ms = params.interval_ms.unwrap_or(1_000);
                if !(100..=60_000).contains(&interval_ms) {
                    return Err((-32602, format!("interval_ms is {interval_ms}, expected 100 to 60000")));
                }
                Verb::Watch { interval_ms }
            }
            "unwatch" => Verb::Unwatch,
            "start" => Verb::Start { server: server(params)? },
            "stop" => Verb::Stop { server: server(params)? },
            "restart" => Verb::Restart { server: server(params)? },
            "reload" => Verb::Reload,
            "drain" => Verb::Drain { timeout_ms: params.timeout_ms.unwrap_or(30_000) },
            "shutdown" => Verb::Shutdown,
            "logs" => {
                let lines = params.lines.unwrap_or(100).min(LINES_MAX);
                Verb::Logs { server: params.server, lines, follow: params.follow.unwrap_or(false) }
            }
            "unlog" => Verb::Unlog,
            "tap" => Verb::Tap { server: server(params)? },
            "untap" => Verb::Untap,
            _ => {
                let text = format!("no method '{}'; there are {}", shown(method), METHODS.join(", "));
                return Err((-32601, text));
            }
        })
    }
}

/// A name that somebody made up, as it can be shown in an error: in one line and not at length.
pub fn shown(name: &str) -> String {
    name.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect()
}

/// Characters of such a name.
const SHOWN_MAX: usize = 80;
/// Most lines that `logs` gives at once.
const LINES_MAX: usize = 1_000;
/// Longest id, in bytes.
const ID_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_with_their_defaults() {
        let call =
            Call::parse(br#"{"jsonrpc":"2.0","id":"a\n","method":"logs","params":{"lines":5000}}"#).unwrap();
        assert_eq!(call.id, r#""a\n""#);
        assert_eq!(call.verb, Verb::Logs { server: None, lines: 1_000, follow: false });
        for method in METHODS {
            let line = format!(r#"{{"id":-1,"method":"{method}","params":{{"server":"s"}}}}"#);
            Call::parse(line.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        }
    }

    #[test]
    fn what_is_no_call_is_refused_in_words() {
        for (line, id, code, word) in [
            ("{", "null", -32700, "EOF"),
            ("[]", "null", -32600, ""),
            ("{\"id\":1}", "null", -32600, "method"),
            (r#"{"method":"hello"}"#, "null", -32600, "needs an id"),
            (r#"{"id":{},"method":"hello"}"#, "null", -32600, "needs an id"),
            (r#"{"id":1,"method":"stat"}"#, "1", -32601, "status"),
            (r#"{"id":1,"method":"stop"}"#, "1", -32602, "`server`"),
            (r#"{"id":1,"method":"stop","params":{"sever":"a"}}"#, "1", -32602, "sever"),
            (r#"{"id":1,"method":"stop","params":[1]}"#, "1", -32602, "stop"),
            (r#"{"id":1,"method":"watch","params":{"interval_ms":5}}"#, "1", -32602, "100 to 60000"),
        ] {
            let refusal = Call::parse(line.as_bytes()).expect_err(line);
            assert_eq!((refusal.id.as_str(), refusal.code), (id, code), "{line}: {}", refusal.text);
            assert!(refusal.text.contains(word), "{line}: {}", refusal.text);
        }
    }
}
