//! [`Incoming::scan`]: the JSON-RPC spans muxloop cares about, in one pass and without a DOM.
//!
//! Two parsers that read one text differently are how a proxy is fooled, so what is ambiguous is
//! refused: duplicate keys that muxloop acts on, invalid UTF-8, trailing bytes, too much depth. Keys
//! are unescaped before they are compared. Numbers are never converted.

use crate::codec::json::{self, JsonError, skip_space, skip_value, walk_object};
use std::fmt;
use std::num::NonZeroU32;

/// A piece of a message: byte offsets `start..end`, never empty.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u32,
    /// Non-zero, so that an `Option<Span>` is as small as a `Span`.
    end: NonZeroU32,
}

impl Span {
    /// `start < end ≤ u32::MAX`; panics otherwise (callers bound a message well below 4 GiB).
    pub fn new(start: usize, end: usize) -> Span {
        assert!(start < end && end <= u32::MAX as usize, "an empty or huge span");
        Span { start: start as u32, end: NonZeroU32::new(end as u32).expect("start < end") }
    }
    /// First byte.
    pub fn start(self) -> usize {
        self.start as usize
    }
    /// One past the last byte.
    pub fn end(self) -> usize {
        self.end.get() as usize
    }
    /// Number of bytes, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        self.end() - self.start()
    }
    /// The bytes of `text` that the span names.
    pub fn of(self, text: &[u8]) -> &[u8] {
        &text[self.start()..self.end()]
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start(), self.end())
    }
}

/// What a JSON-RPC message is (protocol.md §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `method` and `id`.
    Request,
    /// `method` without `id`.
    Notification,
    /// `result` and `id`.
    Response,
    /// `error`, and `id` unless the sender could not tell it.
    Error,
}

/// Spans of one message. Every span covers a whole JSON value as written: strings with their quotes,
/// objects with their braces, no surrounding white space.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub kind: Kind,
    /// The id, a string or a number. `None` on notifications, and on errors without id or with `null`.
    pub id: Option<Span>,
    /// The method, with its quotes.
    pub method: Option<Span>,
    pub params: Option<Span>,
    pub result: Option<Span>,
    pub error: Option<Span>,

    // Members of `params`, or of `result`, if that is an object:
    /// `_meta`, if it is an object.
    pub meta: Option<Span>,
    /// `progressToken` (of `notifications/progress`).
    pub token: Option<Span>,
    /// `requestId` (of `notifications/cancelled`).
    pub request_id: Option<Span>,
    pub name: Option<Span>,
    pub uri: Option<Span>,
    pub level: Option<Span>,
    /// `ref` (of `completion/complete`).
    pub reference: Option<Span>,
    pub cursor: Option<Span>,
    pub next_cursor: Option<Span>,
    pub protocol_version: Option<Span>,
    pub capabilities: Option<Span>,
    pub client_info: Option<Span>,
    pub server_info: Option<Span>,
    /// `task` (of a task-augmented request, or of the result that creates a task).
    pub task: Option<Span>,
    pub task_id: Option<Span>,
    pub elicitation_id: Option<Span>,
    /// `mode` (of `elicitation/create`).
    pub mode: Option<Span>,
    /// `status` (of `notifications/tasks/status`).
    pub status: Option<Span>,
    /// `notifications` (of `subscriptions/listen`, and of its acknowledgement).
    pub notifications: Option<Span>,
    pub result_type: Option<Span>,

    // Members of that `_meta`:
    /// `_meta.progressToken`.
    pub meta_token: Option<Span>,
    /// `_meta["io.modelcontextprotocol/protocolVersion"]`, and so on.
    pub meta_protocol_version: Option<Span>,
    pub meta_client_capabilities: Option<Span>,
    pub meta_client_info: Option<Span>,
    pub meta_log_level: Option<Span>,
    pub meta_subscription_id: Option<Span>,
    /// `_meta["io.modelcontextprotocol/related-task"]`, an object `{"taskId": …}`.
    pub meta_related_task: Option<Span>,
}

/// One received message: its bytes and the spans in them.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    pub bytes: &'a [u8],
    pub envelope: Envelope,
}

impl<'a> Incoming<'a> {
    /// Scans one complete JSON text (surrounding white space allowed).
    ///
    /// # Errors
    /// [`ScanError`] with the place; its `id` is set where the message's id could still be told.
    pub fn scan(bytes: &'a [u8]) -> Result<Incoming<'a>, ScanError> {
        match Envelope::scan(bytes) {
            Ok(envelope) => Ok(Incoming { bytes, envelope }),
            Err(error) => Err(ScanError::addressed(bytes, error)),
        }
    }

    /// The bytes of `span`.
    pub fn text(&self, span: Span) -> &'a [u8] {
        span.of(self.bytes)
    }

    /// The method without its quotes, as written (an escaped method compares unequal to every known
    /// one, and is forwarded as written); empty for responses.
    pub fn method(&self) -> &'a [u8] {
        match self.envelope.method {
            Some(span) => &self.bytes[span.start() + 1..span.end() - 1],
            None => b"",
        }
    }
}

/// Why a text is not a JSON-RPC message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanErrorKind {
    /// Not one JSON text, or not UTF-8: -32700.
    Syntax,
    InvalidUtf8,
    TooDeep,
    /// JSON, but an array: a 2025-03-26 batch, see [`crate::codec::batch`].
    Batch,
    /// JSON, but not a JSON-RPC message: -32600.
    NotAnObject,
    DuplicateKey,
    /// `jsonrpc` is missing or not `"2.0"`.
    Version,
    /// `id` is neither a string nor a number (nor `null` in an error).
    BadId,
    /// `method` is not a string.
    BadMethod,
    /// `params` is neither an object nor an array.
    BadParams,
    /// Neither a request, a notification, a result nor an error, or several of them at once.
    Shape,
}

/// A refused text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    pub kind: ScanErrorKind,
    /// Byte offset of the first offending byte.
    pub at: usize,
    /// The id, where it was found and is a string or a number: the error can be addressed.
    pub id: Option<Span>,
    /// Whether the text is a request or notification as far as it was read (has a `method`); an
    /// error must never be sent in answer to a response.
    pub has_method: bool,
}

impl ScanError {
    /// The JSON-RPC code: -32700 for text that is not JSON, -32600 for JSON that is not JSON-RPC.
    pub fn code(&self) -> i32 {
        match self.kind {
            ScanErrorKind::Syntax | ScanErrorKind::InvalidUtf8 | ScanErrorKind::TooDeep => -32700,
            _ => -32600,
        }
    }
}

impl ScanError {
    /// Adds what can still be told of the sender's intent: a cold path, so a second walk is fine.
    fn addressed(bytes: &[u8], error: JsonError) -> ScanError {
        let (id, has_method) = recognise(bytes);
        ScanError { kind: error.kind, at: error.at, id, has_method }
    }
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ScanErrorKind::Syntax => "not valid JSON",
            ScanErrorKind::InvalidUtf8 => "not valid UTF-8",
            ScanErrorKind::TooDeep => "nested deeper than 128 levels",
            ScanErrorKind::Batch => {
                "an array of messages (batches exist in protocol version 2025-03-26 only)"
            }
            ScanErrorKind::NotAnObject => "not a JSON object",
            ScanErrorKind::DuplicateKey => "a key that occurs twice",
            ScanErrorKind::Version => "`jsonrpc` must be \"2.0\"",
            ScanErrorKind::BadId => "`id` must be a string or a number",
            ScanErrorKind::BadMethod => "`method` must be a string",
            ScanErrorKind::BadParams => "`params` must be an object",
            ScanErrorKind::Shape => "neither a request, a notification, a result nor an error",
        };
        write!(f, "{what}, at byte {}", self.at)
    }
}

type Scan<T> = Result<T, JsonError>;

fn fail<T>(kind: ScanErrorKind, at: usize) -> Scan<T> {
    Err(JsonError { kind, at })
}

/// Notes a member; a second one of its name is refused.
#[inline]
fn put(slot: &mut Option<Span>, span: Span) -> Scan<()> {
    match slot.replace(span) {
        None => Ok(()),
        Some(_) => fail(ScanErrorKind::DuplicateKey, span.start()),
    }
}

impl Envelope {
    const EMPTY: Envelope = Envelope {
        kind: Kind::Notification,
        id: None,
        method: None,
        params: None,
        result: None,
        error: None,
        meta: None,
        token: None,
        request_id: None,
        name: None,
        uri: None,
        level: None,
        reference: None,
        cursor: None,
        next_cursor: None,
        protocol_version: None,
        capabilities: None,
        client_info: None,
        server_info: None,
        task: None,
        task_id: None,
        elicitation_id: None,
        mode: None,
        status: None,
        notifications: None,
        result_type: None,
        meta_token: None,
        meta_protocol_version: None,
        meta_client_capabilities: None,
        meta_client_info: None,
        meta_log_level: None,
        meta_subscription_id: None,
        meta_related_task: None,
    };

    fn scan(bytes: &[u8]) -> Scan<Envelope> {
        if let Err(error) = std::str::from_utf8(bytes) {
            return fail(ScanErrorKind::InvalidUtf8, error.valid_up_to());
        }
        let start = skip_space(bytes, 0);
        match bytes.get(start) {
            Some(b'{') => {}
            Some(b'[') => return fail(ScanErrorKind::Batch, start),
            _ => {
                let end = skip_value(bytes, start, 0)?;
                let whole = skip_space(bytes, end) == bytes.len();
                return fail(if whole { ScanErrorKind::NotAnObject } else { ScanErrorKind::Syntax }, start);
            }
        }
        let mut env = Envelope::EMPTY;
        let mut jsonrpc = None;
        // Meaning is judged only once the text is known to be JSON: -32700 goes before -32600.
        let mut verdict = Ok(());
        let end = walk_object(bytes, start, |key, _, at| {
            let (slot, tracked) = match key {
                b"jsonrpc" => (&mut jsonrpc, false),
                b"id" => (&mut env.id, false),
                b"method" => (&mut env.method, false),
                b"params" => (&mut env.params, true),
                b"result" => (&mut env.result, true),
                b"error" => (&mut env.error, false),
                _ => return skip_value(bytes, at, 1),
            };
            let twice = slot.is_some();
            let end = if tracked && bytes.get(at) == Some(&b'{') {
                let (end, seen) = env.members(bytes, at, key == b"result")?;
                verdict = verdict.and(seen);
                end
            } else {
                skip_value(bytes, at, 1)?
            };
            if twice {
                verdict = verdict.and(fail(ScanErrorKind::DuplicateKey, at));
            }
            let span = Some(Span::new(at, end));
            match key {
                b"jsonrpc" => jsonrpc = span,
                b"id" => env.id = span,
                b"method" => env.method = span,
                b"params" => env.params = span,
                b"result" => env.result = span,
                _ => env.error = span,
            }
            Ok(end)
        })?;
        if skip_space(bytes, end) != bytes.len() {
            return json::syntax(end);
        }
        verdict?;
        env.judge(bytes, start, jsonrpc)?;
        Ok(env)
    }

    /// Sorts out what kind of message the members make.
    #[inline]
    fn judge(&mut self, bytes: &[u8], start: usize, jsonrpc: Option<Span>) -> Scan<()> {
        if jsonrpc.is_none_or(|span| span.of(bytes) != b"\"2.0\"") {
            return fail(ScanErrorKind::Version, jsonrpc.map_or(start, Span::start));
        }
        let mut null_id = false;
        if let Some(id) = self.id {
            match bytes[id.start()] {
                b'"' | b'-' | b'0'..=b'9' => {}
                b'n' if self.error.is_some() => {
                    null_id = true;
                    self.id = None;
                }
                _ => return fail(ScanErrorKind::BadId, id.start()),
            }
        }
        if let Some(method) = self.method {
            if bytes[method.start()] != b'"' {
                return fail(ScanErrorKind::BadMethod, method.start());
            }
        }
        // `null` is how some writers leave params out.
        if let Some(params) = self.params {
            if !matches!(bytes[params.start()], b'{' | b'[' | b'n') {
                return fail(ScanErrorKind::BadParams, params.start());
            }
        }
        self.kind = match (self.method, self.result, self.error, self.id) {
            (Some(_), None, None, Some(_)) => Kind::Request,
            (Some(_), None, None, None) if !null_id => Kind::Notification,
            (None, Some(_), None, Some(_)) => Kind::Response,
            (None, None, Some(_), _) => Kind::Error,
            _ => return fail(ScanErrorKind::Shape, start),
        };
        Ok(())
    }

    /// The tracked members of `params` or `result`; the verdict on duplicates comes beside the end.
    #[inline]
    fn members(&mut self, bytes: &[u8], at: usize, is_result: bool) -> Scan<(usize, Scan<()>)> {
        let mut verdict = Ok(());
        let mut meta_seen = false;
        let end = walk_object(bytes, at, |key, _, at| {
            if key == b"_meta" {
                if std::mem::replace(&mut meta_seen, true) {
                    verdict = verdict.and(fail(ScanErrorKind::DuplicateKey, at));
                }
                if bytes.get(at) != Some(&b'{') {
                    return skip_value(bytes, at, 2);
                }
                let (end, seen) = self.meta_members(bytes, at)?;
                verdict = verdict.and(seen);
                self.meta = Some(Span::new(at, end));
                return Ok(end);
            }
            let end = skip_value(bytes, at, 2)?;
            if let Some(slot) = self.member_slot(key, is_result) {
                verdict = verdict.and(put(slot, Span::new(at, end)));
            }
            Ok(end)
        })?;
        Ok((end, verdict))
    }

    #[inline]
    fn member_slot(&mut self, key: &[u8], is_result: bool) -> Option<&mut Option<Span>> {
        Some(match (key, is_result) {
            (b"task", _) => &mut self.task,
            (b"taskId", _) => &mut self.task_id,
            (b"status", _) => &mut self.status,
            (b"protocolVersion", _) => &mut self.protocol_version,
            (b"capabilities", _) => &mut self.capabilities,
            (b"nextCursor", true) => &mut self.next_cursor,
            (b"serverInfo", true) => &mut self.server_info,
            (b"resultType", true) => &mut self.result_type,
            (b"name", false) => &mut self.name,
            (b"uri", false) => &mut self.uri,
            (b"level", false) => &mut self.level,
            (b"ref", false) => &mut self.reference,
            (b"cursor", false) => &mut self.cursor,
            (b"mode", false) => &mut self.mode,
            (b"requestId", false) => &mut self.request_id,
            (b"progressToken", false) => &mut self.token,
            (b"clientInfo", false) => &mut self.client_info,
            (b"elicitationId", false) => &mut self.elicitation_id,
            (b"notifications", false) => &mut self.notifications,
            _ => return None,
        })
    }

    fn meta_members(&mut self, bytes: &[u8], at: usize) -> Scan<(usize, Scan<()>)> {
        let mut verdict = Ok(());
        let end = walk_object(bytes, at, |key, _, at| {
            let end = skip_value(bytes, at, 3)?;
            let slot = match key.strip_prefix(b"io.modelcontextprotocol/") {
                None if key == b"progressToken" => &mut self.meta_token,
                Some(b"protocolVersion") => &mut self.meta_protocol_version,
                Some(b"clientCapabilities") => &mut self.meta_client_capabilities,
                Some(b"clientInfo") => &mut self.meta_client_info,
                Some(b"logLevel") => &mut self.meta_log_level,
                Some(b"subscriptionId") => &mut self.meta_subscription_id,
                Some(b"related-task") => &mut self.meta_related_task,
                _ => return Ok(end),
            };
            verdict = verdict.and(put(slot, Span::new(at, end)));
            Ok(end)
        })?;
        Ok((end, verdict))
    }
}

/// The id and whether there is a method, as far as a refused text can be read from its start.
fn recognise(bytes: &[u8]) -> (Option<Span>, bool) {
    let mut ids = Vec::new();
    let mut has_method = false;
    let start = skip_space(bytes, 0);
    if std::str::from_utf8(bytes).is_err() || bytes.get(start) != Some(&b'{') {
        return (None, false);
    }
    let _ = walk_object(bytes, start, |key, _, at| {
        let end = skip_value(bytes, at, 1)?;
        match (key, bytes[at]) {
            (b"id", b'"' | b'-' | b'0'..=b'9') => ids.push(Some(Span::new(at, end))),
            (b"id", _) => ids.push(None),
            (b"method", _) => has_method = true,
            _ => {}
        }
        Ok(end)
    });
    // Two ids are no id: whichever we believed, the sender might mean the other.
    (if ids.len() == 1 { ids[0] } else { None }, has_method)
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
