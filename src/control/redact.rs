//! [`redacted`]: a message as it may be shown: without the values of members that are named like secrets.

use crate::codec::{Span, json};

/// Parts of names, in lower case without `-` and `_`, whose values are not shown.
const SECRET: [&str; 10] = [
    "authorization",
    "password",
    "passwd",
    "secret",
    "apikey",
    "accesstoken",
    "refreshtoken",
    "cookie",
    "credential",
    "privatekey",
];

/// Whole names of the same kind that are too common as parts.
const SECRET_WHOLE: [&str; 4] = ["token", "auth", "bearer", "jwt"];

/// The JSON text with such values replaced by `"[redacted]"`. Everything else stays byte for byte. Texts
/// that are not an object or array come back as they are.
pub fn redacted(bytes: &[u8]) -> Vec<u8> {
    let mut cuts = Vec::new();
    if let Some(end) = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace()) {
        let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
        collect(bytes, Span::new(start, end + 1), &mut cuts);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for cut in cuts {
        out.extend_from_slice(&bytes[at..cut.start()]);
        out.extend_from_slice(b"\"[redacted]\"");
        at = cut.end();
    }
    out.extend_from_slice(&bytes[at..]);
    out
}

/// The values to be replaced, in order. The scanner has bounded the depth.
fn collect(bytes: &[u8], value: Span, cuts: &mut Vec<Span>) {
    match bytes[value.start()] {
        b'{' => {
            for (name, _, member) in json::object_members(bytes, value) {
                if is_secret(&name) {
                    cuts.push(member);
                } else {
                    collect(bytes, member, cuts);
                }
            }
        }
        b'[' => {
            for element in json::array_elements(bytes, value) {
                collect(bytes, element, cuts);
            }
        }
        _ => {}
    }
}

/// Whether a member of that name is taken for a secret.
pub fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET.iter().any(|part| plain.contains(part)) || SECRET_WHOLE.contains(&plain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        String::from_utf8(redacted(text.as_bytes())).unwrap()
    }

    #[test]
    fn values_of_secret_members_are_replaced_wherever_they_are() {
        assert_eq!(
            shown(r#" {"a":[{"API_Key":"x","b":{"Authorization":{"deep":1}}}],"token" : 5,"t":1.0} "#),
            r#" {"a":[{"API_Key":"[redacted]","b":{"Authorization":"[redacted]"}}],"token" : "[redacted]","t":1.0} "#
        );
        assert_eq!(
            shown(r#"{"to\u006ben":"x","set-cookie":[1,2]}"#),
            r#"{"to\u006ben":"[redacted]","set-cookie":"[redacted]"}"#
        );
    }

    #[test]
    fn what_is_no_secret_stays_byte_for_byte() {
        for text in [r#"{"progressToken":1,"monkey":"k","n":1e999,"s":"\u0041"}"#, "[]", "3", "", "{"] {
            assert_eq!(shown(text), text);
        }
    }
}
