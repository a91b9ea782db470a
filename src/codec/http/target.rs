//! What a request asks for: path and query of its target, and their escapes (RFC 3986 §2.1).

/// `text` with its percent escapes resolved. `None` if one is not two hexadecimal digits, or if the
/// result holds a NUL or is not UTF-8.
///
/// Decode once, and only after splitting: `%2F` and `%26` are not delimiters.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (&[high, low], after) = rest.split_first_chunk::<2>()?;
        bytes.push(hex(high)? << 4 | hex(low)?);
        rest = after;
    }
    if bytes.contains(&0) {
        return None;
    }
    String::from_utf8(bytes).ok()
}

/// Names and values of a query, decoded, `+` standing for a space as forms have it; a pair without `=`
/// has an empty value. A pair that [`percent_decode`] refuses gives `None`.
pub fn query_pairs(query: &str) -> impl Iterator<Item = Option<(String, String)>> {
    let decode = |text: &str| percent_decode(&text.replace('+', " "));
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    })
}

/// The value of a hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Splits the target of a request (RFC 9112 §3.2) into path and query; `None` if it is malformed.
///
/// `*` is for OPTIONS, and an absolute `http://host/path` must name the same host as the header: to
/// let one of them win would be to guess what the guard before us has judged.
pub(super) fn split<'a>(
    target: &'a str,
    method: &str,
    host: Option<&str>,
) -> Option<(&'a str, Option<&'a str>)> {
    // Of the bytes that no URI has, browsers send some in queries; these they escape.
    if target.contains(['#', '\\', '"', '<', '>']) {
        return None;
    }
    // A tunnel is refused by its method; its target is an authority.
    if method == "CONNECT" || (target == "*" && method == "OPTIONS") {
        return Some((target, None));
    }
    let path = if target.starts_with('/') { target } else { absolute_path(target, host?)? };
    Some(path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query))))
}

/// What follows the authority, which must be `host`.
fn absolute_path<'a>(target: &'a str, host: &str) -> Option<&'a str> {
    let (scheme, rest) = target.split_once("://")?;
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    (is_http && path.starts_with('/') && authority.eq_ignore_ascii_case(host)).then_some(path)
}

/// Whether `host` has only bytes that a host and a port can have. Whose it is, guards judge.
pub(super) fn is_host(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte))
}
