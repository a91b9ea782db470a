//! The key `http` and the table `session`: where the HTTP front listens, and whom it serves.

use super::keys::{Key, Kind, key};
use super::path::Surroundings;
use super::read::{Reader, Scope, quoted, type_of};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use toml::de::DeValue;

/// The HTTP front as configured.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens; empty: nowhere.
    pub listen: Vec<Address>,
    /// Bearer token that clients must have.
    pub token: Option<String>,
    /// Web pages that may ask, besides those of this machine.
    pub origins: Vec<String>,
    /// Names of this machine, besides `localhost`.
    pub hosts: Vec<String>,
    /// Whether others than this machine may ask without a token.
    pub insecure: bool,
    /// Milliseconds that a session may be without use.
    pub session_timeout_ms: u64,
    pub max_sessions: u64,
}

/// Where the front listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            listen: Vec::new(),
            token: None,
            origins: Vec::new(),
            hosts: Vec::new(),
            insecure: false,
            session_timeout_ms: 300_000,
            max_sessions: 25,
        }
    }
}

/// The token is nobody's business.
impl std::fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpConfig")
            .field("listen", &self.listen)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("origins", &self.origins)
            .field("hosts", &self.hosts)
            .field("insecure", &self.insecure)
            .field("session_timeout_ms", &self.session_timeout_ms)
            .field("max_sessions", &self.max_sessions)
            .finish()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "http://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Address {
    /// Reads `5151`, `HOST:PORT` with an address or `localhost`, or `unix:PATH`.
    ///
    /// # Errors
    /// In words that say what is expected.
    pub fn parse(text: &str, surroundings: &Surroundings) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = surroundings.expand(path)?;
            return match path.is_absolute() {
                true => Ok(Address::Unix(path)),
                false => Err(format!("is '{}', expected a full path or ~/… after unix:", quoted(text))),
            };
        }
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Address::Tcp(SocketAddr::new(LOOPBACK, port)));
        }
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        numeric.parse().map(Address::Tcp).map_err(|_| {
            format!(
                "is '{}', expected a port, an address as 127.0.0.1:5151 or [::1]:5151, or unix:PATH",
                quoted(text)
            )
        })
    }

    /// Whether only programs of this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Address::Unix(_) => true,
        }
    }
}

impl HttpConfig {
    /// Why it must not be opened so: whoever can reach it could run every tool.
    pub fn exposure(&self) -> Option<String> {
        let open = self.listen.iter().find(|address| !address.is_local())?;
        (self.token.is_none() && !self.insecure).then(|| {
            format!(
                "{open} can be reached from other machines, and everybody there could call every tool: set \
                 http.token, or listen on 127.0.0.1, or say http.insecure = true (--insecure-listen)"
            )
        })
    }
}

/// Keys of `[http]`.
pub const HTTP: &[Key<HttpConfig>] = &[
    Key {
        near: &["address", "bind", "port", "addr"],
        ..key(
            "listen",
            Kind::Addresses(|http, addresses| http.listen = addresses),
            "",
            "\"127.0.0.1:5151\"",
            "Port, address or unix:PATH, or several of them.",
        )
    },
    Key {
        near: &["bearer", "auth", "auth_token"],
        ..key(
            "token",
            Kind::Text(|http, text| http.token = Some(text)),
            "",
            "\"3dPk…\"",
            "Bearer token that clients must send.",
        )
    },
    Key {
        near: &["cors", "allowed_origins"],
        ..key(
            "origins",
            Kind::Texts(|http, texts| http.origins = texts),
            "[]",
            "[\"https://app.example\"]",
            "Web pages that may ask, besides those of this machine; \"*\": all.",
        )
    },
    Key {
        near: &["allowed_hosts"],
        ..key(
            "hosts",
            Kind::Texts(|http, texts| http.hosts = texts),
            "[]",
            "[\"mux.example\"]",
            "Names of this machine in the Host header, besides localhost.",
        )
    },
    key(
        "insecure",
        Kind::Flag(|http, on| http.insecure = on),
        "false",
        "true",
        "Listen beyond this machine without a token.",
    ),
];

/// Keys of `[session]`.
pub const SESSION: &[Key<HttpConfig>] = &[
    key(
        "timeout",
        Kind::Integer { min: 1, max: 31_536_000, set: |http, s| http.session_timeout_ms = s * 1_000 },
        "300",
        "3600",
        "Seconds that a session may be without use.",
    ),
    key(
        "max_sessions",
        Kind::Integer { min: 1, max: 60_000, set: |http, count| http.max_sessions = count },
        "25",
        "200",
        "Most sessions of HTTP clients at a time; a new one takes the place of an idle one.",
    ),
];

impl Reader<'_> {
    /// Reads the value of `http`: an address, or a table.
    pub(super) fn http(&mut self, value: &DeValue<'_>, at: usize, path: &str, http: &mut HttpConfig) {
        match value {
            DeValue::Table(table) => {
                self.table(table, HTTP, Scope::Http, path, http);
                if http.listen.is_empty() {
                    self.problem(at, path, "listens nowhere, expected the key 'listen'");
                }
            }
            DeValue::String(_) | DeValue::Integer(_) | DeValue::Array(_) => {
                http.listen = self.addresses(value, at, path);
            }
            other => {
                let text = format!("expected a port, an address, or a table, found {}", type_of(other));
                self.problem(at, path, text);
            }
        }
    }

    /// One address or several.
    pub(super) fn addresses(&mut self, value: &DeValue<'_>, at: usize, path: &str) -> Vec<Address> {
        let read = match value {
            DeValue::String(text) => Address::parse(text, self.surroundings),
            DeValue::Integer(port) => Address::parse(&port.to_string(), self.surroundings),
            DeValue::Array(array) => {
                let mut all = Vec::new();
                for (i, item) in array.iter().enumerate() {
                    match item.get_ref() {
                        DeValue::Array(_) => {
                            self.problem(
                                item.span().start,
                                &format!("{path}[{i}]"),
                                "is an array in an array",
                            );
                        }
                        item_value => {
                            all.extend(self.addresses(
                                item_value,
                                item.span().start,
                                &format!("{path}[{i}]"),
                            ));
                        }
                    }
                }
                return all;
            }
            other => {
                Err(format!("expected a port, an address, or an array of them, found {}", type_of(other)))
            }
        };
        match read {
            Ok(address) => vec![address],
            Err(text) => {
                self.problem(at, path, text);
                Vec::new()
            }
        }
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let surroundings = Surroundings { home: Some("/home/ana".into()), ..Default::default() };
        let read = |text| Address::parse(text, &surroundings).map(|address| address.to_string());
        for (text, shown) in [
            ("5151", "http://127.0.0.1:5151"),
            ("localhost:80", "http://127.0.0.1:80"),
            ("0.0.0.0:80", "http://0.0.0.0:80"),
            ("[::1]:0", "http://[::1]:0"),
            ("unix:~/mux.sock", "unix:/home/ana/mux.sock"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(shown));
        }
        for wrong in ["", "65536", "example.com:80", "127.0.0.1", "::1:80", "unix:", "unix:a.sock", "-1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_others_can_reach_needs_a_token() {
        let listen = |text: &str| HttpConfig {
            listen: vec![Address::parse(text, &Surroundings::default()).unwrap()],
            ..HttpConfig::default()
        };
        for local in ["5151", "127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(listen(local).exposure(), None, "{local}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "192.168.0.7:1"] {
            assert!(listen(open).exposure().unwrap().contains("http.token"), "{open}");
            assert_eq!(HttpConfig { token: Some("t".into()), ..listen(open) }.exposure(), None);
            assert_eq!(HttpConfig { insecure: true, ..listen(open) }.exposure(), None);
        }
    }
}
