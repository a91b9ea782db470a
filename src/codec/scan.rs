//! The scan behind [`Incoming::scan`](crate::codec::Incoming::scan): one pass that fills an [`Envelope`],
//! and a second, patient one over texts that were refused, to tell whose they were.
//!
//! A syntax error anywhere in the text wins over a broken JSON-RPC rule, so -32700 means "not JSON"
//! and -32600 means "JSON".

use crate::codec::skip::{Fault, Skipper};
use crate::codec::{Envelope, Kind, ScanError, ScanErrorKind, Span, json};

/// What a [`Span`] can name. The limits on lines and bodies are far below.
pub(super) const LENGTH_MAX: usize = u32::MAX as usize;

/// Why the first pass stopped.
enum Refusal {
    Fault(Fault),
    Rule(ScanErrorKind, usize),
}

impl From<Fault> for Refusal {
    #[inline]
    fn from(fault: Fault) -> Self {
        Refusal::Fault(fault)
    }
}

/// Fills `envelope`, which is [`EMPTY`].
pub(super) fn scan(bytes: &[u8], envelope: &mut Envelope) -> Result<(), ScanError> {
    first_pass(bytes, envelope).map_err(|refusal| diagnose(bytes, &refusal))
}

/// The members of the outermost object that are not in [`Envelope`] as they are.
#[derive(Default)]
struct Outer {
    jsonrpc: Option<Span>,
    id: Option<Span>,
}

fn first_pass(bytes: &[u8], envelope: &mut Envelope) -> Result<(), Refusal> {
    if bytes.len() > LENGTH_MAX {
        return Err(Refusal::Fault(Fault::Syntax(LENGTH_MAX)));
    }
    let mut text = Skipper::new(bytes);
    text.space();
    match text.peek() {
        b'{' => {}
        b'[' => return Err(Refusal::Rule(ScanErrorKind::Batch, text.pos)),
        _ => return Err(Refusal::Rule(ScanErrorKind::NotAnObject, text.pos)),
    }
    let mut outer = Outer::default();
    outermost(bytes, &mut text, envelope, &mut outer)?;
    text.space();
    if !text.at_end() {
        return Err(Refusal::Fault(Fault::Syntax(text.pos)));
    }
    // Accepted by the fast check nearly always; the exact place of a fault is for the slow one.
    if text.high
        && simdutf8::basic::from_utf8(bytes).is_err()
        && let Err(error) = std::str::from_utf8(bytes)
    {
        return Err(Refusal::Rule(ScanErrorKind::InvalidUtf8, error.valid_up_to()));
    }
    check(bytes, envelope, &outer)
}

/// The name in a key token, unescaped; empty, which is no name that is looked for, if it cannot be one.
#[inline(always)]
fn name<'k>(
    bytes: &'k [u8],
    (start, end, escaped): (usize, usize, bool),
    room: &'k mut [u8; NAME_MAX],
) -> &'k [u8] {
    let written = &bytes[start + 1..end - 1];
    if escaped { json::unescape_into(written, room).unwrap_or(b"") } else { written }
}

/// Longer than each name that is looked for.
const NAME_MAX: usize = 64;

#[inline(always)]
fn outermost(
    bytes: &[u8],
    text: &mut Skipper<'_>,
    envelope: &mut Envelope,
    outer: &mut Outer,
) -> Result<(), Refusal> {
    text.expect(b'{')?;
    text.space();
    if text.peek() == b'}' {
        text.pos += 1;
        return Ok(());
    }
    let mut room = [0; NAME_MAX];
    loop {
        let key = text.key()?;
        let start = text.pos;
        let name = name(bytes, key, &mut room);
        let (slot, inner) = match name.len() {
            2 if name == b"id" => (&mut outer.id, false),
            5 if name == b"error" => (&mut envelope.error, false),
            6 if name == b"method" => (&mut envelope.method, false),
            6 if name == b"params" => (&mut envelope.params, true),
            6 if name == b"result" => (&mut envelope.result, true),
            7 if name == b"jsonrpc" => (&mut outer.jsonrpc, false),
            _ => {
                text.value(1)?;
                if text.another(b'}')? {
                    continue;
                }
                return Ok(());
            }
        };
        if slot.is_some() {
            return Err(Refusal::Rule(ScanErrorKind::DuplicateKey, key.0));
        }
        if inner && text.peek() == b'{' {
            let of_params = name == b"params";
            inner_members(bytes, text, envelope)?;
            let span = Some(Span::new(start, text.pos));
            if of_params {
                envelope.params = span;
            } else {
                envelope.result = span;
            }
        } else {
            text.value(1)?;
            *slot = Some(Span::new(start, text.pos));
        }
        if !text.another(b'}')? {
            return Ok(());
        }
    }
}

/// The object `params` or `result`.
#[inline(always)]
fn inner_members(bytes: &[u8], text: &mut Skipper<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    text.pos += 1;
    text.space();
    if text.peek() == b'}' {
        text.pos += 1;
        return Ok(());
    }
    let mut room = [0; NAME_MAX];
    let mut meta_seen = false;
    loop {
        let key = text.key()?;
        let start = text.pos;
        let name = name(bytes, key, &mut room);
        let duplicate;
        if name == b"_meta" {
            duplicate = std::mem::replace(&mut meta_seen, true);
            if text.peek() == b'{' {
                meta_members(bytes, text, envelope)?;
                envelope.meta = Some(Span::new(start, text.pos));
            } else {
                text.value(2)?;
            }
        } else {
            let slot = inner_slot(envelope, name);
            text.value(2)?;
            duplicate = match slot {
                Some(slot) => slot.replace(Span::new(start, text.pos)).is_some(),
                None => false,
            };
        }
        if duplicate {
            return Err(Refusal::Rule(ScanErrorKind::DuplicateKey, key.0));
        }
        if !text.another(b'}')? {
            return Ok(());
        }
    }
}

#[inline(always)]
fn inner_slot<'e>(envelope: &'e mut Envelope, name: &[u8]) -> Option<&'e mut Option<Span>> {
    Some(match name.len() {
        3 if name == b"uri" => &mut envelope.uri,
        3 if name == b"ref" => &mut envelope.reference,
        4 if name == b"name" => &mut envelope.name,
        4 if name == b"task" => &mut envelope.task,
        4 if name == b"mode" => &mut envelope.mode,
        5 if name == b"level" => &mut envelope.level,
        6 if name == b"cursor" => &mut envelope.cursor,
        6 if name == b"taskId" => &mut envelope.task_id,
        6 if name == b"status" => &mut envelope.status,
        9 if name == b"requestId" => &mut envelope.request_id,
        10 if name == b"clientInfo" => &mut envelope.client_info,
        10 if name == b"resultType" => &mut envelope.result_type,
        12 if name == b"capabilities" => &mut envelope.capabilities,
        13 if name == b"progressToken" => &mut envelope.token,
        13 if name == b"elicitationId" => &mut envelope.elicitation_id,
        13 if name == b"notifications" => &mut envelope.notifications,
        15 if name == b"protocolVersion" => &mut envelope.protocol_version,
        _ => return None,
    })
}

/// The object `_meta`.
fn meta_members(bytes: &[u8], text: &mut Skipper<'_>, envelope: &mut Envelope) -> Result<(), Refusal> {
    text.pos += 1;
    text.space();
    if text.peek() == b'}' {
        text.pos += 1;
        return Ok(());
    }
    let mut room = [0; NAME_MAX];
    loop {
        let key = text.key()?;
        let start = text.pos;
        let slot = meta_slot(envelope, name(bytes, key, &mut room));
        text.value(3)?;
        if let Some(slot) = slot
            && slot.replace(Span::new(start, text.pos)).is_some()
        {
            return Err(Refusal::Rule(ScanErrorKind::DuplicateKey, key.0));
        }
        if !text.another(b'}')? {
            return Ok(());
        }
    }
}

#[inline(always)]
fn meta_slot<'e>(envelope: &'e mut Envelope, name: &[u8]) -> Option<&'e mut Option<Span>> {
    if name == b"progressToken" {
        return Some(&mut envelope.meta_token);
    }
    Some(match name.strip_prefix(b"io.modelcontextprotocol/")? {
        b"protocolVersion" => &mut envelope.meta_protocol_version,
        b"clientCapabilities" => &mut envelope.meta_client_capabilities,
        b"clientInfo" => &mut envelope.meta_client_info,
        b"logLevel" => &mut envelope.meta_log_level,
        b"subscriptionId" => &mut envelope.meta_subscription_id,
        b"related-task" => &mut envelope.meta_related_task,
        _ => return None,
    })
}

/// The rules of JSON-RPC 2.0 over what was found; sets `kind` and `id`.
fn check(bytes: &[u8], envelope: &mut Envelope, outer: &Outer) -> Result<(), Refusal> {
    use ScanErrorKind::{BadId, BadMethod, BadParams, Shape, Version};
    let refuse = |kind, span: Option<Span>| Err(Refusal::Rule(kind, span.map_or(0, Span::start)));

    let version = outer.jsonrpc.map_or(&b""[..], |span| span.of(bytes));
    if version != b"\"2.0\"" && json::unescape(version).as_deref() != Some("2.0") {
        return refuse(Version, outer.jsonrpc);
    }
    envelope.kind = match (envelope.method, envelope.result, envelope.error) {
        (Some(_), None, None) if outer.id.is_some() => Kind::Request,
        (Some(_), None, None) => Kind::Notification,
        (None, Some(_), None) => Kind::Response,
        (None, None, Some(_)) => Kind::Error,
        _ => return refuse(Shape, None),
    };
    envelope.id = outer.id.filter(|id| is_id(id.of(bytes)));
    if envelope.id.is_none() {
        let nobodys = outer.id.is_none_or(|id| id.of(bytes) == b"null");
        match envelope.kind {
            Kind::Response if outer.id.is_none() => return refuse(Shape, None),
            Kind::Error if nobodys => {}
            Kind::Notification => {}
            _ => return refuse(BadId, outer.id),
        }
    }
    if let Some(method) = envelope.method
        && bytes[method.start()] != b'"'
    {
        return refuse(BadMethod, envelope.method);
    }
    if let Some(params) = envelope.params {
        if envelope.method.is_none() {
            return refuse(Shape, envelope.params);
        }
        if !matches!(bytes[params.start()], b'{' | b'[') {
            return refuse(BadParams, envelope.params);
        }
    }
    Ok(())
}

/// Whether a JSON value may be an id: a string or a number.
fn is_id(value: &[u8]) -> bool {
    matches!(value[0], b'"' | b'-' | b'0'..=b'9')
}

/// What the outermost object tells as far as it is well-formed.
pub(super) struct Glimpse {
    /// Its `id`, if there is just one and it is a string or a number, followed by a comma or brace.
    pub(super) id: Option<Span>,
    /// Whether the key `method` was seen.
    pub(super) has_method: bool,
    /// Whether the key `result` or `error` was seen.
    pub(super) is_answer: bool,
    /// Why reading ended before the text did.
    pub(super) fault: Option<Fault>,
}

/// Reads the outermost members one by one, any depth, up to the first syntax error.
pub(super) fn glimpse(bytes: &[u8]) -> Glimpse {
    let mut glimpse = Glimpse { id: None, has_method: false, is_answer: false, fault: None };
    let mut text = Skipper::new(bytes);
    glimpse.fault = glimpse_members(bytes, &mut text, &mut glimpse).err();
    glimpse
}

fn glimpse_members(bytes: &[u8], text: &mut Skipper<'_>, glimpse: &mut Glimpse) -> Result<(), Fault> {
    text.space();
    if text.peek() != b'{' {
        text.value_of_any_depth()?;
    } else {
        text.pos += 1;
        text.space();
        if text.peek() == b'}' {
            text.pos += 1;
        } else {
            let mut room = [0; NAME_MAX];
            let mut id_seen = false;
            loop {
                let key = text.key()?;
                let name = name(bytes, key, &mut room);
                glimpse.has_method |= name == b"method";
                glimpse.is_answer |= name == b"result" || name == b"error";
                let is_id_key = name == b"id";
                let start = text.pos;
                text.value_of_any_depth()?;
                let value = Span::new(start, text.pos);
                let more = text.another(b'}')?;
                if is_id_key {
                    let usable = is_id(value.of(bytes)) && std::str::from_utf8(value.of(bytes)).is_ok();
                    glimpse.id = Some(value).filter(|_| usable && !id_seen);
                    id_seen = true;
                }
                if !more {
                    break;
                }
            }
        }
    }
    text.space();
    if text.at_end() { Ok(()) } else { text.fault() }
}

/// Names the fault of a refused text and, where it can be told, the id to answer to.
#[cold]
fn diagnose(bytes: &[u8], refusal: &Refusal) -> ScanError {
    if let Refusal::Rule(kind @ ScanErrorKind::Batch, at) = *refusal {
        return ScanError { kind, at, id: None, has_method: false, is_answer: false };
    }
    if bytes.len() > LENGTH_MAX {
        let (kind, at) = (ScanErrorKind::Syntax, LENGTH_MAX);
        return ScanError { kind, at, id: None, has_method: false, is_answer: false };
    }
    let glimpse = glimpse(bytes);
    let (mut kind, mut at) = match (refusal, glimpse.fault) {
        (Refusal::Fault(Fault::Syntax(at)), _) => (ScanErrorKind::Syntax, *at),
        (Refusal::Fault(Fault::TooDeep(at)), _) => (ScanErrorKind::TooDeep, *at),
        (Refusal::Rule(..), Some(fault)) => (ScanErrorKind::Syntax, fault.at()),
        (Refusal::Rule(kind, at), None) => (*kind, *at),
    };
    if let Err(error) = std::str::from_utf8(bytes)
        && (error.valid_up_to() <= at || matches!(refusal, Refusal::Rule(..)) && glimpse.fault.is_none())
    {
        (kind, at) = (ScanErrorKind::InvalidUtf8, error.valid_up_to());
    }
    ScanError { kind, at, id: glimpse.id, has_method: glimpse.has_method, is_answer: glimpse.is_answer }
}

pub(super) const EMPTY: Envelope = Envelope {
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
    protocol_version: None,
    capabilities: None,
    client_info: None,
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

#[cfg(test)]
mod tests;
