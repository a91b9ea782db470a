//! Content that came after a client's version, as what the client can read (protocol.md §4.1): a note in its
//! place, so that it is not lost silently. Members that are new to a client are left; it ignores them.

use super::edit::{self, Member, array, object, object_of, replaced};
use crate::codec::{Incoming, Span, json};
use crate::mux::peer::Version;

/// A result of `tools/call` or `prompts/get` for a client of this version; `None` if it reads it as it is.
pub(super) fn for_version(msg: &Incoming<'_>, version: Version) -> Option<Vec<u8>> {
    let result = msg.envelope.result?;
    let has = |what: &[u8]| memchr::memmem::find(msg.text(result), what).is_some();
    let audio = version < Version::V2025_03_26 && has(b"\"audio\"");
    let links = version < Version::V2025_06_18 && has(b"\"resource_link\"");
    let structured = version < Version::V2025_06_18 && has(b"\"structuredContent\"");
    let said = if structured { structured_as_text(msg.bytes, result) } else { None };
    if !audio && !links && said.is_none() {
        return None;
    }
    let block = |at: Span| match note(msg.bytes, at, version) {
        Some(text) => Member::Put(text),
        None => Member::Keep,
    };
    let message = |at: Span| {
        Member::Put(object(
            msg.bytes,
            at,
            |name, value| match (name, note(msg.bytes, value, version)) {
                ("content", Some(text)) => Member::Put(text),
                _ => Member::Keep,
            },
            &[],
        ))
    };
    let each = |name: &str, value: Span| match name {
        "content" => Member::Put(with_block(array(msg.bytes, value, block), said.as_deref())),
        "messages" => Member::Put(array(msg.bytes, value, message)),
        _ => Member::Keep,
    };
    let text = object(msg.bytes, result, each, &[]);
    Some(replaced(msg.bytes, result, &text))
}

/// `messages` of `sampling/createMessage` for a client of this version. Before 2025-11-25 a message has one
/// block, so one of several is several messages of the same role.
pub(super) fn messages_for(bytes: &[u8], messages: Span, version: Version) -> Vec<u8> {
    let one = |message: Span, block: Span| {
        let text = note(bytes, block, version).unwrap_or_else(|| block.of(bytes).to_vec());
        let each = |name: &str, _| match name {
            "content" => Member::Put(text.clone()),
            _ => Member::Keep,
        };
        object(bytes, message, each, &[])
    };
    array(bytes, messages, |message| match json::member(bytes, message, "content") {
        Some(content) if bytes[content.start()] == b'[' => {
            let each: Vec<_> =
                json::array_elements(bytes, content).map(|block| one(message, block)).collect();
            if each.is_empty() { Member::Drop } else { Member::Put(each.join(&b","[..])) }
        }
        Some(content) => Member::Put(one(message, content)),
        None => Member::Keep,
    })
}

/// `structuredContent` as a text block, for clients that cannot read it; `None` if a text in `content` stands
/// for it already, as it should.
pub(super) fn structured_as_text(bytes: &[u8], result: Span) -> Option<Vec<u8>> {
    let value = json::member(bytes, result, "structuredContent")?;
    let content = json::member(bytes, result, "content")?;
    let is_text =
        |block| json::member(bytes, block, "type").is_some_and(|kind| kind.of(bytes) == b"\"text\"");
    let is_array = bytes[content.start()] == b'[';
    if !is_array || value.of(bytes) == b"null" || json::array_elements(bytes, content).any(is_text) {
        return None;
    }
    let text = edit::string(&String::from_utf8_lossy(value.of(bytes)));
    Some(object_of(&[("type", b"\"text\""), ("text", &text)]))
}

/// An array of blocks with one more.
pub(super) fn with_block(blocks: Vec<u8>, more: Option<&[u8]>) -> Vec<u8> {
    match (more, blocks.strip_suffix(b"]")) {
        (Some(more), Some(b"[")) => [b"[", more, b"]"].concat(),
        (Some(more), Some(others)) => [others, b",", more, b"]"].concat(),
        _ => blocks,
    }
}

/// The text block that stands for a block that this version does not know.
fn note(bytes: &[u8], block: Span, version: Version) -> Option<Vec<u8>> {
    let text_of = |key| json::unescape(json::member(bytes, block, key)?.of(bytes));
    let kind = text_of("type")?;
    let text = match &*kind {
        "audio" if version < Version::V2025_03_26 => {
            let kind = text_of("mimeType").unwrap_or("audio".into());
            format!("[audio, {kind}: this client's version of MCP has no audio content]")
        }
        "resource_link" if version < Version::V2025_06_18 => {
            let uri = text_of("uri")?;
            match text_of("title").or_else(|| text_of("name")) {
                Some(name) => format!("{name}: {uri}"),
                None => uri.into_owned(),
            }
        }
        _ => return None,
    };
    let text = edit::string(&text);
    let mut added: Vec<(&str, &[u8])> = vec![("type", b"\"text\""), ("text", &text)];
    let annotations = json::member(bytes, block, "annotations");
    if let Some(annotations) = annotations {
        added.push(("annotations", annotations.of(bytes)));
    }
    Some(object_of(&added))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: &str, version: Version) -> Option<String> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":4,"result":{result}}}"#);
        let out = for_version(&Incoming::scan(text.as_bytes()).unwrap(), version)?;
        let text = String::from_utf8(out).unwrap();
        Some(text[r#"{"jsonrpc":"2.0","id":4,"result":"#.len()..text.len() - 1].to_string())
    }

    const BLOCKS: &str = r#"{"content":[{"type":"text","text":"a \"audio\""},{"type":"audio","mimeType":"audio/wav","data":"AA"},{"type":"resource_link","uri":"a:b","name":"n","annotations":{"priority":1.0}}],"x":1.10}"#;

    #[test]
    fn structured_content_is_said_in_text_where_nothing_else_says_it() {
        let said = r#"{"type":"text","text":"{\"a\":1.10}"}"#;
        let structured = r#""structuredContent":{"a":1.10}}"#;
        for (content, expected) in [
            ("[]", Some(format!("[{said}]"))),
            (r#"[{"type":"image"}]"#, Some(format!(r#"[{{"type":"image"}},{said}]"#))),
            (r#"[{"type":"text","text":"a is 1.10"}]"#, None),
        ] {
            let result = |content: &str| format!(r#"{{"content":{content},{structured}"#);
            assert_eq!(told(&result(content), Version::V2025_03_26), expected.map(|it| result(&it)));
            assert_eq!(told(&result(content), Version::V2025_06_18), None);
        }
        assert_eq!(told(r#"{"content":[],"structuredContent":null}"#, Version::V2024_11_05), None);
    }

    #[test]
    fn messages_of_a_sampling_have_one_block_each_for_old_clients() {
        let told = |messages: &str, version| {
            let bytes = messages.as_bytes();
            String::from_utf8(messages_for(bytes, edit::whole(bytes), version)).unwrap()
        };
        let text = r#"{"type":"text","text":"t"}"#;
        let audio = r#"{"type":"audio","mimeType":"audio/wav","data":"AA"}"#;
        let several = format!(
            r#"[{{"role":"user","content":[{text},{audio}],"_meta":{{"n":1.10}}}},{{"role":"assistant","content":{audio}}},{{"role":"user","content":[]}}]"#
        );
        let split = |audio: &str| {
            format!(
                r#"[{{"role":"user","content":{text},"_meta":{{"n":1.10}}}},{{"role":"user","content":{audio},"_meta":{{"n":1.10}}}},{{"role":"assistant","content":{audio}}}]"#
            )
        };
        assert_eq!(told(&several, Version::V2025_06_18), split(audio));
        let note = r#"{"type":"text","text":"[audio, audio/wav: this client's version of MCP has no audio content]"}"#;
        assert_eq!(told(&several, Version::V2024_11_05), split(note));
        assert_eq!(told("7", Version::V2024_11_05), "7");
    }

    #[test]
    fn what_an_old_client_cannot_read_is_named_in_text() {
        let link = r#"{"type":"text","text":"n: a:b","annotations":{"priority":1.0}}"#;
        assert_eq!(
            told(BLOCKS, Version::V2024_11_05).unwrap(),
            format!(
                r#"{{"content":[{{"type":"text","text":"a \"audio\""}},{{"type":"text","text":"[audio, audio/wav: this client's version of MCP has no audio content]"}},{link}],"x":1.10}}"#
            )
        );
        let with_audio = told(BLOCKS, Version::V2025_03_26).unwrap();
        assert!(with_audio.contains(r#""type":"audio""#) && with_audio.contains(link), "{with_audio}");
        assert_eq!(told(BLOCKS, Version::V2025_06_18), None);
        let prompt = r#"{"messages":[{"role":"user","content":{"type":"resource_link","uri":"a:b"}}]}"#;
        assert_eq!(
            told(prompt, Version::V2024_11_05).unwrap(),
            r#"{"messages":[{"role":"user","content":{"type":"text","text":"a:b"}}]}"#
        );
    }
}
