//! [`Incoming::scan`]: the JSON-RPC spans muxloop cares about, in one pass and without a DOM.
//!
//! Two parsers that read one text differently are how a proxy is fooled, so what is ambiguous is
//! refused: duplicate keys that muxloop acts on, invalid UTF-8, trailing bytes, too much depth. Keys
//! are unescaped before they are compared. Numbers are never converted.

use std::fmt;
use std::num::NonZeroU32;

use crate::codec::{json, scan};

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
    pub protocol_version: Option<Span>,
    pub capabilities: Option<Span>,
    pub client_info: Option<Span>,
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
    /// Scans one complete JSON text (surrounding white space allowed, a byte order mark is not).
    ///
    /// All of the text is checked, what is skipped too: RFC 8259 grammar, UTF-8, at most `DEPTH_MAX`
    /// levels. Lone surrogates (`"\\ud800"`) and numbers of any size are in the grammar and pass.
    ///
    /// # Errors
    /// [`ScanError`] with the place; its `id` is set where the message's id could still be told.
    pub fn scan(bytes: &'a [u8]) -> Result<Incoming<'a>, ScanError> {
        let mut incoming = Incoming::unread(bytes);
        incoming.read()?;
        Ok(incoming)
    }

    /// A message with no spans yet, to be [`read`](Incoming::read) where it stands: an envelope is large
    /// enough that moving it shows.
    #[inline(always)]
    pub fn unread(bytes: &'a [u8]) -> Incoming<'a> {
        Incoming { bytes, envelope: scan::EMPTY }
    }

    /// Fills the envelope of an unread message.
    ///
    /// # Errors
    /// As [`Incoming::scan`]; the envelope is of no use then.
    #[inline]
    pub fn read(&mut self) -> Result<(), ScanError> {
        scan::scan(self.bytes, &mut self.envelope)
    }

    /// The bytes of `span`.
    pub fn text(&self, span: Span) -> &'a [u8] {
        span.of(self.bytes)
    }

    /// The method without its quotes, empty for responses. A method that was written with escapes
    /// (`tools\/call`, as some encoders do) is given plainly if it is one of [`METHODS`], and as written
    /// otherwise.
    #[inline]
    pub fn method(&self) -> &'a [u8] {
        match self.envelope.method {
            Some(span) => {
                let written = &self.bytes[span.start() + 1..span.end() - 1];
                if memchr::memchr(b'\\', written).is_some() { known_method(written) } else { written }
            }
            None => b"",
        }
    }
}

#[cold]
fn known_method(written: &[u8]) -> &[u8] {
    let mut room = [0; 64];
    let plain = json::unescape_into(written, &mut room).unwrap_or(written);
    METHODS.iter().find(|method| method.as_bytes() == plain).map_or(written, |method| method.as_bytes())
}

/// The methods of all protocol versions (protocol.md §2).
pub const METHODS: &[&str] = &[
    "completion/complete",
    "elicitation/create",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/initialized",
    "notifications/message",
    "notifications/progress",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/roots/list_changed",
    "notifications/subscriptions/acknowledged",
    "notifications/tasks",
    "notifications/tasks/status",
    "notifications/tools/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "roots/list",
    "sampling/createMessage",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/update",
    "tools/call",
    "tools/list",
];

/// Why a text is not a JSON-RPC message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanErrorKind {
    /// Not one JSON text, or not UTF-8: -32700.
    Syntax,
    InvalidUtf8,
    TooDeep,
    /// An array as its first byte shows: a 2025-03-26 batch, still to be read by
    /// [`crate::codec::batch`].
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
    /// Neither a request, a notification, a result nor an error, or several of them at once; or an
    /// answer with `params`, or a result without `id`.
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
    /// Whether it has a `result` or `error` as far as it was read.
    pub is_answer: bool,
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
