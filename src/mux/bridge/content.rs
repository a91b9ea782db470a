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
    if !audio && !links {
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
        "content" => Member::Put(array(msg.bytes, value, block)),
        "messages" => Member::Put(array(msg.bytes, value, message)),
        _ => Member::Keep,
    };
    let text = object(msg.bytes, result, each, &[]);
    Some(replaced(msg.bytes, result, &text))
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
