//! What a server says of itself: the answer to `initialize` (legacy) or `server/discover` (2026-07-28), judged
//! (protocol.md §1).

use super::finding::{Finding, Findings};
use super::lists::List;
use super::schema::kind;
use serde_json::{Value, json};

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Legacy,
    Modern,
}

impl Era {
    pub fn word(self) -> &'static str {
        match self {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
    }

    /// The request that opens.
    pub fn opening(self) -> &'static str {
        match self {
            Era::Legacy => "initialize",
            Era::Modern => "server/discover",
        }
    }

    pub fn other(self) -> Era {
        match self {
            Era::Legacy => Era::Modern,
            Era::Modern => Era::Legacy,
        }
    }

    /// Parameters of that request.
    pub fn opening_params(self) -> Value {
        match self {
            Era::Legacy => json!({
                "protocolVersion": LEGACY_VERSIONS[LEGACY_VERSIONS.len() - 1],
                "capabilities": {},
                "clientInfo": client_info(),
            }),
            Era::Modern => self.params(json!({})),
        }
    }

    /// Parameters of any other request.
    pub fn params(self, mut params: Value) -> Value {
        if self == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
                "io.modelcontextprotocol/clientInfo": client_info(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        params
    }
}

fn client_info() -> Value {
    json!({ "name": "muxloop-doctor", "version": env!("CARGO_PKG_VERSION") })
}

/// What a usable answer says.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    pub protocol: String,
    /// `name` and `version`, as they came; null if there are none.
    pub server_info: Value,
    /// The lists it has.
    pub lists: Vec<List>,
}

/// Judges the answer; `None` if nothing can be asked after it.
pub fn judge(era: Era, result: &Value, findings: &mut Findings) -> Option<Hello> {
    let answer = format!("the answer to `{}`", era.opening());
    let mut invalid = |what: String| {
        let cure = format!("Correct {answer} in the server, or update the server or its MCP SDK.");
        findings.add(
            Finding::error("handshake-invalid", format!("{answer} {what}"), cure).seen(result.to_string()),
        );
    };
    let capabilities = &result["capabilities"];
    if !capabilities.is_object() {
        invalid(format!("has {} as `capabilities`, expected an object", kind(capabilities)));
        return None;
    }
    for (name, value) in capabilities.as_object().into_iter().flatten() {
        if !value.is_object() && !value.is_null() {
            invalid(format!("has {} as the capability `{name}`, expected an object", kind(value)));
        }
    }
    let server_info = match era {
        Era::Legacy => result["serverInfo"].clone(),
        Era::Modern => result["_meta"]["io.modelcontextprotocol/serverInfo"].clone(),
    };
    let is_named = server_info["name"].is_string() && server_info["version"].is_string();
    // A modern server only SHOULD say who it is.
    if !is_named && (era == Era::Legacy || !server_info.is_null()) {
        invalid("has no `serverInfo` with `name` and `version` as strings".to_owned());
    }
    let instructions = result.get("instructions").unwrap_or(&Value::Null);
    if !instructions.is_string() && !instructions.is_null() {
        invalid(format!("has {} as `instructions`, expected a string", kind(instructions)));
    }
    let protocol = match era {
        Era::Legacy => legacy_version(result, findings)?,
        Era::Modern => modern_version(result, findings)?,
    };
    let length = instructions.as_str().map_or(0, str::len);
    if length > INSTRUCTIONS_MAX {
        let message = format!("its instructions are {length} bytes long");
        let cure = "Shorten them: every client puts them before its model, and some cut them off.";
        findings.add(Finding::warning("instructions-long", message, cure));
    }
    let lists: Vec<List> =
        List::ALL.into_iter().filter(|list| capabilities[list.capability()].is_object()).collect();
    if lists.is_empty() {
        let cure = "If it should have some, see whether a key or an argument is missing; else nothing to do.";
        let finding = Finding::note("handshake-empty", "it has no tools, prompts or resources", cure);
        findings.add(finding.seen(capabilities.to_string()));
    }
    Some(Hello { protocol, server_info, lists })
}

fn legacy_version(result: &Value, findings: &mut Findings) -> Option<String> {
    let cure = format!(
        "Update the server or its MCP SDK: known are {} and {MODERN_VERSION}.",
        LEGACY_VERSIONS.join(", ")
    );
    match result["protocolVersion"].as_str() {
        Some(version) if LEGACY_VERSIONS.contains(&version) => Some(version.to_owned()),
        Some(version) => {
            let message = format!("it speaks protocol version '{version}', which no client knows");
            findings.add(Finding::error("handshake-version", message, cure));
            Some(version.to_owned())
        }
        None => {
            let message = "the answer to `initialize` has no `protocolVersion`";
            findings.add(Finding::error("handshake-version", message, cure).seen(result.to_string()));
            None
        }
    }
}

fn modern_version(result: &Value, findings: &mut Findings) -> Option<String> {
    let speaks =
        |versions: &Value| versions.as_array().is_some_and(|list| list.iter().any(|v| v == MODERN_VERSION));
    let versions = &result["supportedVersions"];
    if !speaks(versions) {
        let message = format!("its `supportedVersions` do not have {MODERN_VERSION}");
        let cure = "Update the server or its MCP SDK, or set era = \"legacy\" if it has `initialize`.";
        findings.add(Finding::error("handshake-version", message, cure).seen(versions.to_string()));
        return None;
    }
    check_cacheable("server/discover", result, findings);
    Some(MODERN_VERSION.to_owned())
}

/// What each cacheable result must have in the modern era (protocol.md §1.2, P44).
pub fn check_cacheable(method: &str, result: &Value, findings: &mut Findings) {
    let mut lacks = Vec::new();
    if result["resultType"] != "complete" {
        lacks.push("resultType");
    }
    if result["ttlMs"].as_u64().is_none() {
        lacks.push("ttlMs");
    }
    if result["cacheScope"] != "public" && result["cacheScope"] != "private" {
        lacks.push("cacheScope");
    }
    if !lacks.is_empty() {
        let message =
            format!("the answer to `{method}` lacks {}, or has something else there", lacks.join(", "));
        let cure = "Update the server or its MCP SDK: protocol version 2026-07-28 asks for them.";
        findings.add(Finding::warning("modern-fields", message, cure));
    }
}

/// Versions with `initialize`, oldest first.
pub const LEGACY_VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// The version with `server/discover`.
pub const MODERN_VERSION: &str = "2026-07-28";
/// Longest instructions, in bytes, that are not mentioned.
const INSTRUCTIONS_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(era: Era, result: Value) -> (Option<Hello>, Vec<String>) {
        let mut findings = Findings::default();
        let hello = judge(era, &result, &mut findings);
        (
            hello,
            findings
                .sorted()
                .into_iter()
                .map(|finding| format!("{}: {}", finding.code, finding.message))
                .collect(),
        )
    }

    fn legacy() -> Value {
        json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "resources": {}, "logging": {}},
            "serverInfo": {"name": "a", "version": "1"}})
    }

    fn modern() -> Value {
        json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "supportedVersions": [MODERN_VERSION],
            "capabilities": {"prompts": {}}})
    }

    #[test]
    fn good_answers_are_understood() {
        let (hello, found) = judged(Era::Legacy, legacy());
        let hello = hello.unwrap();
        assert_eq!(found, Vec::<String>::new());
        assert_eq!((hello.protocol.as_str(), &hello.server_info["name"]), ("2025-06-18", &json!("a")));
        assert_eq!(hello.lists, [List::Tools, List::Resources, List::Templates]);
        let (hello, found) = judged(Era::Modern, modern());
        assert_eq!((hello.unwrap().lists, found), (vec![List::Prompts], Vec::new()));
    }

    #[test]
    fn each_mistake_is_told() {
        let edited = |mut value: Value, key: &str, new: Value| {
            value[key] = new;
            value
        };
        for (era, result, usable, word) in [
            (Era::Legacy, json!("ok"), false, "null as `capabilities`"),
            (Era::Legacy, edited(legacy(), "capabilities", json!([])), false, "an array as `capabilities`"),
            (
                Era::Legacy,
                edited(legacy(), "capabilities", json!({"tools": {}, "prompts": true})),
                true,
                "`prompts`",
            ),
            (Era::Legacy, edited(legacy(), "capabilities", json!({"logging": {}})), true, "no tools"),
            (Era::Legacy, edited(legacy(), "serverInfo", json!({"name": "a"})), true, "`serverInfo`"),
            (Era::Legacy, edited(legacy(), "instructions", json!(["a"])), true, "`instructions`"),
            (Era::Legacy, edited(legacy(), "instructions", json!("a".repeat(9000))), true, "9000 bytes"),
            (Era::Legacy, edited(legacy(), "protocolVersion", json!("2023-01-01")), true, "'2023-01-01'"),
            (Era::Legacy, edited(legacy(), "protocolVersion", json!(1)), false, "no `protocolVersion`"),
            (Era::Modern, edited(modern(), "supportedVersions", json!(["x"])), false, "supportedVersions"),
            (Era::Modern, edited(modern(), "ttlMs", json!(-1)), true, "ttlMs"),
            (Era::Modern, edited(modern(), "cacheScope", json!("all")), true, "cacheScope"),
        ] {
            let (hello, found) = judged(era, result.clone());
            assert_eq!(hello.is_some(), usable, "{result}");
            assert!(found.len() == 1 && found[0].contains(word), "{result}: {found:?}");
        }
    }
}
