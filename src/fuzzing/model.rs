//! What a message should be found to be: the rules of [`crate::codec::envelope`] once more, slowly, over
//! what `serde_json` reads.
//!
//! `serde_json` skips values without recursion, and as lone surrogates and numbers of any size are in
//! JSON's grammar it takes them when it skips; UTF-8 in skipped strings it leaves to its caller.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::limits::DEPTH_MAX;
use crate::codec::{Envelope, Incoming, Kind, Span};

/// Keys, unescaped (a lone surrogate as WTF-8), and values.
pub(super) type Members = Vec<(Vec<u8>, Span)>;

/// A text as `serde_json` reads it.
pub(super) struct Text<'t> {
    bytes: &'t [u8],
    is_json: bool,
    members: Option<Members>,
}

impl<'t> Text<'t> {
    pub(super) fn read(bytes: &'t [u8]) -> Text<'t> {
        Text { bytes, is_json: is_json(bytes), members: object(bytes) }
    }

    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    pub(super) fn is_too_deep(&self) -> bool {
        depth(self.bytes) > DEPTH_MAX
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.members.iter().flatten().any(|(key, _)| key == name)
    }

    /// The id that an error is to be addressed to.
    pub(super) fn id(&self) -> Option<Span> {
        let ids = self.members.iter().flatten().filter(|(key, _)| key == b"id");
        let ids: Vec<_> = ids.map(|(_, value)| *value).collect();
        let [id] = ids[..] else { return None };
        is_id(id.of(self.bytes)).then_some(id)
    }

    /// The message, or the rule that it breaks.
    pub(super) fn envelope(&self) -> Result<Envelope, &'static str> {
        if !self.is_json || self.is_too_deep() {
            return Err("it is not JSON, or too deep");
        }
        let members = self.members.as_ref().ok_or("it is not an object")?;
        let outer = |name: &str| only(members, name);
        let text = |span: Span| span.of(self.bytes);
        if outer("jsonrpc")?.and_then(|span| serde_json::from_slice(text(span)).ok())
            != Some("2.0".to_owned())
        {
            return Err("the version is another");
        }
        let (id, method, params) = (outer("id")?, outer("method")?, outer("params")?);
        let (result, error) = (outer("result")?, outer("error")?);
        let kind = match [method, result, error].map(|member| member.is_some()) {
            [true, false, false] if id.is_some() => Kind::Request,
            [true, false, false] => Kind::Notification,
            [false, true, false] => Kind::Response,
            [false, false, true] => Kind::Error,
            _ => return Err("it has the shape of nothing"),
        };
        let null = id.is_none_or(|id| text(id) == b"null");
        let good_id = id.filter(|id| is_id(text(*id)));
        match kind {
            Kind::Notification => {}
            Kind::Error if null => {}
            _ if good_id.is_none() => return Err("the id is none"),
            _ => {}
        }
        if method.is_some_and(|method| text(method)[0] != b'"') {
            return Err("the method is not a string");
        }
        if params.is_some_and(|params| method.is_none() || !b"{[".contains(&text(params)[0])) {
            return Err("the params are none, or belong to no method");
        }
        let mut envelope = Envelope { kind, id: good_id, method, params, result, error, ..empty() };
        if let Some(inner) = params.or(result) {
            self.fill_inner(&mut envelope, inner)?;
        }
        Ok(envelope)
    }

    fn fill_inner(&self, envelope: &mut Envelope, span: Span) -> Result<(), &'static str> {
        let Some(members) = self.object_at(span) else { return Ok(()) };
        for (name, field) in [
            ("progressToken", &mut envelope.token),
            ("requestId", &mut envelope.request_id),
            ("name", &mut envelope.name),
            ("uri", &mut envelope.uri),
            ("level", &mut envelope.level),
            ("ref", &mut envelope.reference),
            ("cursor", &mut envelope.cursor),
            ("protocolVersion", &mut envelope.protocol_version),
            ("capabilities", &mut envelope.capabilities),
            ("clientInfo", &mut envelope.client_info),
            ("task", &mut envelope.task),
            ("taskId", &mut envelope.task_id),
            ("elicitationId", &mut envelope.elicitation_id),
            ("mode", &mut envelope.mode),
            ("status", &mut envelope.status),
            ("notifications", &mut envelope.notifications),
            ("resultType", &mut envelope.result_type),
        ] {
            *field = only(&members, name)?;
        }
        let meta = only(&members, "_meta")?.and_then(|meta| Some((meta, self.object_at(meta)?)));
        let Some((span, members)) = meta else { return Ok(()) };
        envelope.meta = Some(span);
        for (name, field) in [
            ("progressToken", &mut envelope.meta_token),
            ("io.modelcontextprotocol/protocolVersion", &mut envelope.meta_protocol_version),
            ("io.modelcontextprotocol/clientCapabilities", &mut envelope.meta_client_capabilities),
            ("io.modelcontextprotocol/clientInfo", &mut envelope.meta_client_info),
            ("io.modelcontextprotocol/logLevel", &mut envelope.meta_log_level),
            ("io.modelcontextprotocol/subscriptionId", &mut envelope.meta_subscription_id),
            ("io.modelcontextprotocol/related-task", &mut envelope.meta_related_task),
        ] {
            *field = only(&members, name)?;
        }
        Ok(())
    }

    /// The members of the object at `span`, with spans in the whole text.
    fn object_at(&self, span: Span) -> Option<Members> {
        let mut members = object(span.of(self.bytes))?;
        for (_, value) in &mut members {
            *value = Span::new(span.start() + value.start(), span.start() + value.end());
        }
        Some(members)
    }
}

/// All spans of `envelope`, by name.
pub(super) fn fields(envelope: &Envelope) -> Vec<(&'static str, Option<Span>)> {
    let Envelope {
        kind: _,
        id,
        method,
        params,
        result,
        error,
        meta,
        token,
        request_id,
        name,
        uri,
        level,
        reference,
        cursor,
        protocol_version,
        capabilities,
        client_info,
        task,
        task_id,
        elicitation_id,
        mode,
        status,
        notifications,
        result_type,
        meta_token,
        meta_protocol_version,
        meta_client_capabilities,
        meta_client_info,
        meta_log_level,
        meta_subscription_id,
        meta_related_task,
    } = envelope;
    vec![
        ("id", *id),
        ("method", *method),
        ("params", *params),
        ("result", *result),
        ("error", *error),
        ("meta", *meta),
        ("token", *token),
        ("request_id", *request_id),
        ("name", *name),
        ("uri", *uri),
        ("level", *level),
        ("reference", *reference),
        ("cursor", *cursor),
        ("protocol_version", *protocol_version),
        ("capabilities", *capabilities),
        ("client_info", *client_info),
        ("task", *task),
        ("task_id", *task_id),
        ("elicitation_id", *elicitation_id),
        ("mode", *mode),
        ("status", *status),
        ("notifications", *notifications),
        ("result_type", *result_type),
        ("meta_token", *meta_token),
        ("meta_protocol_version", *meta_protocol_version),
        ("meta_client_capabilities", *meta_client_capabilities),
        ("meta_client_info", *meta_client_info),
        ("meta_log_level", *meta_log_level),
        ("meta_subscription_id", *meta_subscription_id),
        ("meta_related_task", *meta_related_task),
    ]
}

/// An envelope without any span.
fn empty() -> Envelope {
    let text = br#"{"jsonrpc":"2.0","method":"m"}"#;
    Envelope { method: None, ..Incoming::scan(text).expect("a notification").envelope }
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

pub(super) fn is_string(bytes: &[u8]) -> bool {
    let token = bytes.first() == Some(&b'"') && bytes.last() == Some(&b'"');
    // UTF-8 is not looked at, as in `json::is_string`.
    token && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

fn is_id(value: &[u8]) -> bool {
    b"\"-0123456789".contains(&value[0])
}

/// The value of `name`; an error if there are two.
fn only(members: &Members, name: &str) -> Result<Option<Span>, &'static str> {
    let mut values = members.iter().filter(|(key, _)| key == name.as_bytes()).map(|(_, value)| *value);
    let first = values.next();
    if values.next().is_some() { Err("a key is there twice") } else { Ok(first) }
}

/// Brackets that are open at once, outside of strings, in well-formed JSON.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut in_string = false;
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn span_in(bytes: &[u8], value: &RawValue) -> Span {
    let start = value.get().as_ptr() as usize - bytes.as_ptr() as usize;
    Span::new(start, start + value.get().len())
}

/// The elements, if it is a JSON array.
pub(super) fn array(bytes: &[u8]) -> Option<Vec<Span>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(|value| span_in(bytes, value)).collect())
}

/// The members in order, if it is a JSON object. (Keys read as bytes may hold control characters as far
/// as `serde_json` is concerned, so the text has to be read as a whole before.)
pub(super) fn object(bytes: &[u8]) -> Option<Members> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| is_json(bytes))?;
    let pairs: Pairs<'_> = serde_json::from_str(text).ok()?;
    Some(pairs.0.into_iter().map(|(key, value)| (key.0, span_in(bytes, value))).collect())
}

/// All pairs of an object, duplicates too.
struct Pairs<'a>(Vec<(Key, &'a RawValue)>);

/// A key as bytes: as text, `serde_json` would refuse lone surrogates.
struct Key(Vec<u8>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<Key, &'de RawValue>()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Collect)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(bytes.to_vec()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.as_bytes().to_vec()))
            }
        }
        from.deserialize_bytes(Bytes)
    }
}
