//! Who may ask at all: Host, Origin, bearer token (protocol.md §3.3 check order, P26–P28, P56).

use crate::codec::http::Request;
use serde::{Deserialize, Serialize};

/// What a front checks before it looks at a path.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// What `Authorization: Bearer` must hold.
    pub token: Option<String>,
    /// Origins of web pages that may ask, besides those of this machine; `*`: all.
    pub origins: Vec<String>,
    /// Names by which a front on the loopback may be called, besides those of this machine.
    pub hosts: Vec<String>,
}

/// Who can come by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Programs of this machine by the path of a socket, which no web page can open.
    Socket,
    /// Programs of this machine, among them browsers.
    Loopback,
    /// Whoever reaches the network.
    Network,
}

/// Why not, and with which status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub status: u16,
    pub text: String,
    /// Value of `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
}

/// The token is nobody's business.
impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("origins", &self.origins)
            .field("hosts", &self.hosts)
            .finish()
    }
}

impl Guard {
    /// Checks a request that came by a listener. On the loopback a foreign name in `Host` betrays a web page that
    /// had the name point here (DNS rebinding); clients of Unix sockets write anything there.
    pub fn check(&self, request: &Request, reach: Reach) -> Result<(), Denial> {
        let headers = &request.headers;
        let names_matter = match reach {
            Reach::Socket => false,
            Reach::Loopback => true,
            Reach::Network => !self.hosts.is_empty(),
        };
        if let Some(host) = headers.get("host").filter(|_| names_matter) {
            let name = host_name(host);
            if !is_local_name(name) && !self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(Denial::new(
                    403,
                    format!(
                        "the Host header names '{name}', which is not this machine; add it to `http.hosts`"
                    ),
                ));
            }
        }
        if let Some(origin) = headers.get("origin")
            && (headers.is_duplicated("origin") || !self.allows(origin, reach))
        {
            return Err(Denial::new(
                403,
                format!("web pages of '{origin}' may not ask here; add it to `http.origins`"),
            ));
        }
        let Some(token) = &self.token else { return Ok(()) };
        // A preflight carries no credentials by design, and tells nothing.
        if request.method == crate::codec::http::Method::Options {
            return Ok(());
        }
        let given = headers.get("authorization").filter(|_| !headers.is_duplicated("authorization"));
        match given.map(bearer) {
            Some(Some(given)) if is_equal(given.as_bytes(), token.as_bytes()) => Ok(()),
            Some(_) => Err(Denial {
                status: 401,
                text: "the bearer token is not the right one".into(),
                challenge: Some("Bearer realm=\"muxloop\", error=\"invalid_token\""),
            }),
            None => Err(Denial {
                status: 401,
                text: "this needs `Authorization: Bearer TOKEN`".into(),
                challenge: Some("Bearer realm=\"muxloop\""),
            }),
        }
    }

    /// Whether web pages of this origin may ask.
    pub fn allows(&self, origin: &str, reach: Reach) -> bool {
        let listed = self.origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin));
        listed || (reach != Reach::Network && is_local_origin(origin))
    }
}

impl Denial {
    fn new(status: u16, text: String) -> Denial {
        Denial { status, text, challenge: None }
    }
}

/// The credentials of a `Bearer` header.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

/// In a time that depends on lengths only.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0 && a.len() == b.len()
}

/// `Host` or authority without its port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => &host[..end + 2],
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_local_name(name: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| name.eq_ignore_ascii_case(local))
}

fn is_local_origin(origin: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| !authority.contains(['/', '@']) && is_local_name(host_name(authority)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:5151", "[::1]", "[::1]:99"] {
            assert!(is_local_name(host_name(host)), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "127.0.0.1.nip.io", "[::2]:1", "", "[::1"] {
            assert!(!is_local_name(host_name(host)), "{host}");
        }
    }

    #[test]
    fn origins_of_this_machine() {
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:1"] {
            assert!(is_local_origin(origin), "{origin}");
        }
        let foreign = [
            "null",
            "http://localhost.evil.example",
            "file://",
            "http://evil@localhost",
            "http://localhost/x",
        ];
        for origin in foreign {
            assert!(!is_local_origin(origin), "{origin}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_equal(b"abc", b"abc") && is_equal(b"", b""));
        for (a, b) in [("abc", "abd"), ("abc", "ab"), ("ab", "abc"), ("", "a")] {
            assert!(!is_equal(a.as_bytes(), b.as_bytes()));
        }
        assert_eq!(bearer("bearer  x "), Some("x"));
        assert_eq!(bearer("Basic x"), None);
    }
}
