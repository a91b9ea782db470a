//! What is recorded of what a merged endpoint is made of: all but the fixed values of hidden parameters, which
//! may be keys and tokens.
//!
//! A replay sends something else of the same length in their place, and takes that for what was sent then.

use super::difference::STAND_IN;
use crate::gateway::Setup;

/// The same with each text among the fixed values replaced by as many bytes that stand for it.
pub(super) fn without_secrets(parts: &Setup) -> Setup {
    let mut parts = parts.clone();
    for (_, _, offer) in &mut parts.servers {
        let values = offer.changes.values_mut().flat_map(|change| change.hidden.values_mut().flatten());
        values.for_each(|value| *value = without_texts(value));
    }
    parts
}

/// JSON with its strings' content replaced, byte by byte.
fn without_texts(json: &str) -> Box<str> {
    let (mut is_inside, mut is_escaped) = (false, false);
    let bytes = json.bytes().map(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = is_inside && byte == b'\\' && !is_escaped;
        is_inside ^= is_end;
        if is_inside && !is_end { STAND_IN } else { byte }
    });
    String::from_utf8(bytes.collect()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::catalogue::{Change, Offer};

    #[test]
    fn texts_are_replaced_by_as_many_bytes() {
        for (value, recorded) in [
            (r#""s3cr3t""#, "\"\x7f\x7f\x7f\x7f\x7f\x7f\""),
            (r#""a\"\\""#, "\"\x7f\x7f\x7f\x7f\x7f\""),
            (r#""ä""#, "\"\x7f\x7f\""),
            (r#""""#, r#""""#),
            (r#"[1.5,true,null,{"k":"x"}]"#, "[1.5,true,null,{\"\x7f\":\"\x7f\"}]"),
        ] {
            assert_eq!(&*without_texts(value), recorded, "{value}");
            serde_json::from_str::<serde_json::Value>(recorded).unwrap();
        }
    }

    #[test]
    fn parts_come_back_and_only_the_fixed_values_are_missing() {
        let change = Change {
            name: Some("other".into()),
            description: None,
            hidden: [("key".to_owned(), Some("\"s3cr3t\"".into())), ("gone".to_owned(), None)].into(),
        };
        let offer = Offer { changes: [("tool".to_owned(), change)].into(), ..Offer::default() };
        let parts = Setup { servers: vec![(3, "a".into(), offer)], lazy: true, ..Setup::default() };
        let mut recorded = without_secrets(&parts);
        let text = serde_json::to_string(&recorded).unwrap();
        assert!(!text.contains("s3cr3t"), "{text}");
        assert_eq!(serde_json::from_str::<Setup>(&text).unwrap(), recorded);
        let changed = recorded.servers[0].2.changes.get_mut("tool").unwrap();
        changed.hidden.insert("key".to_owned(), Some("\"s3cr3t\"".into()));
        assert_eq!(recorded, parts);
    }
}
