//! What a child said of itself in its handshake, in both eras' words (protocol.md §4.2, §4.3).

use super::edit::{self, Member, SERVER_INFO, object, object_of, whole};
use crate::codec::{Message, Span, Value, json};
use crate::mux::peer::{MODERN_VERSION, Version};

/// A legacy child's `InitializeResult` as a `DiscoverResult`: without tasks, and not to be kept. `name` is the
/// server's where it does not say its own.
pub(in crate::mux) fn discovered(initialized: &[u8], name: &str) -> Vec<u8> {
    let versions = format!("[\"{MODERN_VERSION}\"]").into_bytes();
    let info = legacy_server_info(initialized, name);
    let meta = object_of(&[(SERVER_INFO, &info)]);
    let each = |name: &str, value| match name {
        "capabilities" => {
            Member::Put(object(initialized, value, |name, _| Member::drop_if(name == "tasks"), &[]))
        }
        "instructions" => Member::drop_if(!json::is_string(value.of(initialized))),
        _ => Member::Drop,
    };
    let added: [(&str, &[u8]); 5] = [
        ("resultType", b"\"complete\""),
        ("supportedVersions", &versions),
        ("ttlMs", b"0"),
        ("cacheScope", b"\"private\""),
        ("_meta", &meta),
    ];
    object(initialized, whole(initialized), each, &added)
}

/// A modern child's `DiscoverResult` as an `InitializeResult` of the latest legacy version. `name` is the
/// server's where it does not say its own.
pub(in crate::mux) fn initialized(discovered: &[u8], name: &str) -> Vec<u8> {
    let version = edit::string(Version::LATEST.name());
    let info = modern_server_info(discovered, name);
    let each = |name: &str, value| match name {
        "capabilities" => Member::Put(object(
            discovered,
            value,
            |name, _| Member::drop_if(matches!(name, "tasks" | "extensions")),
            &[],
        )),
        "instructions" => Member::Keep,
        _ => Member::Drop,
    };
    object(discovered, whole(discovered), each, &[("protocolVersion", &version), ("serverInfo", &info)])
}

/// `serverInfo` of an `InitializeResult`, which must have one.
pub(in crate::mux) fn legacy_server_info(initialized: &[u8], name: &str) -> Vec<u8> {
    let info = json::member(initialized, whole(initialized), "serverInfo");
    info_or_name(initialized, info, name)
}

/// `serverInfo` of a `DiscoverResult`'s `_meta`, which should have one.
pub(in crate::mux) fn modern_server_info(discovered: &[u8], name: &str) -> Vec<u8> {
    let meta = json::member(discovered, whole(discovered), "_meta");
    let info = meta.and_then(|meta| json::member(discovered, meta, SERVER_INFO));
    info_or_name(discovered, info, name)
}

/// Who a server is, as it says; else by its name here.
fn info_or_name(bytes: &[u8], info: Option<Span>, name: &str) -> Vec<u8> {
    match info.filter(|info| edit::is_object(bytes, *info)) {
        Some(info) => info.of(bytes).to_vec(),
        None => {
            let name = edit::string(name);
            object_of(&[("name", &name), ("version", b"\"0\"")])
        }
    }
}

/// An `InitializeResult` at another version.
pub(in crate::mux) fn at_version(initialized: &[u8], version: Version) -> Vec<u8> {
    let token = edit::string(version.name());
    let mut message = Message::new(initialized);
    if let Some(at) = json::member(initialized, whole(initialized), "protocolVersion") {
        message.replace(at, Value::Raw(&token));
    }
    message.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_legacy_child_is_discovered() {
        let hello = br#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"tasks":{}},"serverInfo":{"name":"s","version":"1.0"},"instructions":"do"}"#;
        assert_eq!(
            text(discovered(hello, "conf")),
            r#"{"capabilities":{"tools":{"listChanged":true}},"instructions":"do","resultType":"complete","supportedVersions":["2026-07-28"],"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1.0"}}}"#
        );
    }

    /// What a client checks is as it must be, whatever the child left out.
    #[test]
    fn a_legacy_child_that_says_little_is_discovered_under_its_name_here() {
        for hello in [
            r#"{"capabilities":{}}"#,
            r#"{"capabilities":{},"instructions":null,"serverInfo":null}"#,
            r#"{"capabilities":{},"instructions":7,"serverInfo":"s"}"#,
        ] {
            let told = text(discovered(hello.as_bytes(), "conf"));
            let info = r#"{"io.modelcontextprotocol/serverInfo":{"name":"conf","version":"0"}}"#;
            assert!(told.ends_with(&format!(r#""_meta":{info}}}"#)) && !told.contains("instr"), "{told}");
        }
    }

    #[test]
    fn a_modern_child_is_initialized() {
        let hello = br#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"extensions":{"x/y":{}}},"ttlMs":5,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"m","version":"2"}}}"#;
        let told = initialized(hello, "conf");
        assert_eq!(
            text(told.clone()),
            r#"{"capabilities":{"tools":{}},"protocolVersion":"2025-11-25","serverInfo":{"name":"m","version":"2"}}"#
        );
        assert!(text(at_version(&told, Version::V2024_11_05)).contains(r#""protocolVersion":"2024-11-05""#));
        let nameless = initialized(br#"{"capabilities":{}}"#, "conf");
        assert!(text(nameless).contains(r#""serverInfo":{"name":"conf","version":"0"}"#));
    }
}
