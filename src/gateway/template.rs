//! Whether a URI is one of a template's (RFC 6570): to find the server that a resource is read from when it
//! is in nobody's list.
//!
//! A match is enough, the values are the server's matter: an expression stands for any text that can come of
//! it. So `{a}` is anything without a slash, `{+a}` and `{#a}` anything, `{?a,b}` nothing or a query.

/// Whether `uri` can be an expansion of `template`. A template that is not well-formed matches only itself.
pub fn matches(template: &str, uri: &str) -> bool {
    match parts(template) {
        Some(parts) => fits(&parts, uri.as_bytes()),
        None => template == uri,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a [u8]),
    /// Any text without these bytes, which begins with this one if there is any.
    Any {
        without: &'static [u8],
        prefix: Option<u8>,
    },
}

fn parts(template: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Literal(&rest.as_bytes()[..open]));
        }
        let close = open + rest[open..].find('}')?;
        let expression = &rest[open + 1..close];
        parts.push(match expression.bytes().next()? {
            b'+' => Part::Any { without: b"", prefix: None },
            b'#' => Part::Any { without: b"", prefix: Some(b'#') },
            b'.' => Part::Any { without: b"/?#", prefix: Some(b'.') },
            // With an asterisk a list is spread over several segments.
            b'/' => Part::Any { without: b"?#", prefix: Some(b'/') },
            b';' => Part::Any { without: b"/?#", prefix: Some(b';') },
            b'?' => Part::Any { without: b"#", prefix: Some(b'?') },
            b'&' => Part::Any { without: b"#", prefix: Some(b'&') },
            _ => Part::Any { without: b"/?#", prefix: None },
        });
        rest = &rest[close + 1..];
    }
    if rest.contains('}') {
        return None;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.as_bytes()));
    }
    Some(parts)
}

/// Positions of the text that can be reached after each part: no backtracking, so at most parts × bytes
/// steps whatever the template.
fn fits(parts: &[Part<'_>], text: &[u8]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in parts {
        let mut next = vec![false; text.len() + 1];
        match part {
            Part::Literal(literal) => {
                for at in 0..=text.len() {
                    if reached[at] && text[at..].starts_with(literal) {
                        next[at + literal.len()] = true;
                    }
                }
            }
            Part::Any { without, prefix } => {
                let mut inside = false;
                for at in 0..=text.len() {
                    if inside && at > 0 && without.contains(&text[at - 1]) {
                        inside = false;
                    }
                    next[at] |= inside || reached[at];
                    if reached[at] {
                        inside |= match prefix {
                            None => true,
                            Some(prefix) => text.get(at) == Some(prefix),
                        };
                    }
                }
            }
        }
        reached = next;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_a_template_are_known() {
        for (template, yes, no) in [
            ("a://b", &["a://b"][..], &["a://", "a://bc"][..]),
            ("demo://{id}", &["demo://1", "demo://x-y", "demo://"], &["demo://1/2", "demo:/1"]),
            ("demo://{id}/text", &["demo://1/text"], &["demo://1/blob", "demo://1/2/text", "demo://1/text/"]),
            ("file:///{+path}", &["file:///a/b/c", "file:///"], &["file://x"]),
            (
                "db://{table}{?limit,offset}",
                &["db://t", "db://t?limit=1&offset=2"],
                &["db://t#x", "db://t/u"],
            ),
            ("x:{/a,b}", &["x:", "x:/1", "x:/1/2"], &["x:1"]),
            ("x:{a}{.ext}", &["x:1.png", "x:1"], &["x:1/2.png"]),
            ("{scheme}://{host}", &["a://b"], &["a:/b"]),
            ("a{b", &["a{b"], &["ab"]),
            ("a}b", &["a}b"], &["ab"]),
            ("a{}b", &["a{}b"], &["ab"]),
        ] {
            for uri in yes {
                assert!(matches(template, uri), "{template} {uri}");
            }
            for uri in no {
                assert!(!matches(template, uri), "{template} {uri}");
            }
        }
    }

    #[test]
    fn a_hostile_template_costs_parts_times_bytes() {
        let template = "{a}".repeat(1_000);
        let uri = "x".repeat(1_000) + "/";
        assert!(!matches(&template, &uri));
    }
}
