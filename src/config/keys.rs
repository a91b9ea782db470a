//! The one table of configuration keys: name, type with its setter, default, example, one-line doc.
//!
//! Reading, `muxloop help config`, `docs/configuration.md` and the tests all walk it. A new key is one
//! more entry. Checks that concern several keys are in `finish.rs`.

mod merged;
mod server;

use super::choices::{LEVELS, LOG_FORMATS};
#[cfg(feature = "http")]
use super::http::{Address, HttpConfig};
use super::read::{Reader, Value};
use super::{Config, SearchPath};
#[cfg(feature = "sandbox")]
use crate::engine::sandbox::Sandbox;
#[cfg(feature = "gateway")]
use crate::gateway::filter::Filter;
use crate::mux::policy::Root;
use crate::mux::rate::{Rate, RateLimits};
pub use server::SERVER;
use std::path::PathBuf;

/// One key of a table whose values land in `T`.
pub struct Key<T: 'static> {
    pub name: &'static str,
    pub kind: Kind<T>,
    /// The default as TOML; empty if there is none or it is computed (the doc says how).
    pub default: &'static str,
    /// A value as TOML that is not the default.
    pub example: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// What others call it: suggested when met.
    pub near: &'static [&'static str],
    /// Not empty: the key is accepted for compatibility but changes nothing yet, and why.
    pub inert: &'static str,
}

/// The type of a value, its range, and where it goes.
pub enum Kind<T: 'static> {
    Flag(fn(&mut T, bool)),
    Integer {
        min: u64,
        max: u64,
        set: fn(&mut T, u64),
    },
    /// Not empty, no NUL.
    Text(fn(&mut T, String)),
    /// Not empty, no NUL, `~` expanded.
    Path(fn(&mut T, PathBuf)),
    /// An array of strings without NUL.
    Texts(fn(&mut T, Vec<String>)),
    /// A table of strings; names without `=`. Values are secret.
    Variables(fn(&mut T, Vec<(String, String)>)),
    /// One of some words.
    Choice(&'static [Choice<T>]),
    Roots(fn(&mut T, Vec<Root>)),
    /// An array of full paths that exist, `~` expanded.
    #[cfg(feature = "sandbox")]
    Paths(fn(&mut T, Vec<PathBuf>)),
    /// A number, or a text with a binary unit.
    #[cfg(feature = "sandbox")]
    Bytes {
        min: u64,
        max: u64,
        set: fn(&mut T, u64),
    },
    /// A table of the keys in `sandbox.rs`.
    #[cfg(feature = "sandbox")]
    Sandbox(fn(&mut T, Sandbox)),
    /// So many per second, minute or hour.
    Rate(fn(&mut T, Rate)),
    /// A table of keys about rates.
    RateLimit(fn(&mut T) -> &mut RateLimits),
    /// A port, an address, or several.
    #[cfg(feature = "http")]
    Addresses(fn(&mut T, Vec<Address>)),
    /// Addresses, or a table of the keys in `http.rs`.
    #[cfg(feature = "http")]
    Http(fn(&mut T) -> &mut HttpConfig),
    /// A table of keys about HTTP.
    #[cfg(feature = "http")]
    Session(fn(&mut T) -> &mut HttpConfig),
    /// A table of patterns (`gateway.rs`).
    #[cfg(feature = "gateway")]
    Filter(fn(&mut T) -> &mut Filter),
    /// What is read in a way of its own.
    Own {
        /// What a value is called in an error, with its article.
        expected: &'static str,
        /// The type in the reference.
        word: &'static str,
        /// Reads a value with its path; answers whether it has that type.
        read: Read<T>,
    },
    /// Known, but no released behaviour yet: refused, so that nobody relies on it. Says what it will do.
    Later(&'static str),
}

type Read<T> = fn(&mut Reader<'_>, &Value<'_>, &str, &mut T) -> bool;

/// One word of a [`Kind::Choice`].
pub struct Choice<T: 'static> {
    pub name: &'static str,
    pub doc: &'static str,
    /// `None`: known, but not in this version.
    pub set: Option<fn(&mut T)>,
}

/// Keys at the top of the file, beside `[servers.NAME]`.
pub const TOP: &[Key<Config>] = &[
    Key {
        near: &["loglevel", "level", "log"],
        ..key("log_level", Kind::Choice(LEVELS), "\"info\"", "\"debug\"", "How much is logged to stderr.")
    },
    key("log_format", Kind::Choice(LOG_FORMATS), "\"text\"", "\"json\"", "Shape of the log lines."),
    Key {
        ..key(
            "status_file",
            Kind::Path(|top, path| top.status_file = Some(path)),
            "",
            "\"~/.muxloop/status.json\"",
            "JSON snapshot of all servers, rewritten at each change.",
        )
    },
    Key {
        near: &["control_socket", "status_socket"],
        ..key(
            "control",
            Kind::Path(|top, path| top.control = Some(path)),
            "",
            "\"~/.muxloop/mux.sock\"",
            "Control socket, beside the file if relative; \"off\": none.",
        )
    },
    key(
        "idle_exit_ms",
        Kind::Integer { min: 0, max: MS_MAX, set: |top, ms| top.idle_exit.ms = ms },
        "10000",
        "60000",
        "How long a project's daemon (connect) stays without clients; 0: for ever.",
    ),
    Key {
        near: &["audit_log", "audit_file"],
        ..key(
            "audit",
            Kind::Path(|top, path| top.audit.path = Some(path)),
            "",
            "\"~/.muxloop/audit.jsonl\"",
            "File for a line about each request: who, what, outcome, time.",
        )
    },
    key(
        "audit_arguments",
        Kind::Flag(|top, on| top.audit.arguments = on),
        "false",
        "true",
        "Write the arguments of calls, too, secrets left out.",
    ),
    key(
        "audit_max_bytes",
        Kind::Integer { min: 4_096, max: 1 << 40, set: |top, bytes| top.audit.max_bytes = bytes },
        "10485760",
        "1048576",
        "Size at which a new audit file is begun.",
    ),
    key(
        "audit_keep",
        Kind::Integer { min: 0, max: 1_000, set: |top, count| top.audit.keep = count as u32 },
        "3",
        "10",
        "How many older audit files are kept: FILE.1, FILE.2, ….",
    ),
    key(
        "path",
        Kind::Text(|top, text| top.search_path = Some(SearchPath::of(text))),
        "",
        "\"login\"",
        "PATH of all servers that name none of their own; see there.",
    ),
    merged::GATEWAY,
    merged::PROFILES,
    HTTP_KEY,
    SESSION_KEY,
];

#[cfg(feature = "http")]
const HTTP_KEY: Key<Config> = key(
    "http",
    Kind::Http(|top| &mut top.http),
    "",
    "\"127.0.0.1:5151\"",
    "Where HTTP is served; a table of the keys below, or an address only.",
);
#[cfg(not(feature = "http"))]
const HTTP_KEY: Key<Config> = later("http", "5151", "it needs the feature `http` when muxloop is built");

#[cfg(feature = "http")]
const SESSION_KEY: Key<Config> = key(
    "session",
    Kind::Session(|top| &mut top.http),
    "",
    "{ timeout = 3600 }",
    "Sessions of HTTP clients; its keys are below.",
);
#[cfg(not(feature = "http"))]
const SESSION_KEY: Key<Config> =
    later("session", "{ timeout = 60 }", "it needs the feature `http` when muxloop is built");

/// Longest time in milliseconds: a year.
const MS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;

pub(super) const fn key<T>(
    name: &'static str,
    kind: Kind<T>,
    default: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Key<T> {
    Key { name, kind, default, example, doc, near: &[], inert: "" }
}

const fn later<T>(name: &'static str, example: &'static str, doc: &'static str) -> Key<T> {
    key(name, Kind::Later(doc), "", example, doc)
}

pub(super) const fn choice<T>(name: &'static str, doc: &'static str, set: fn(&mut T)) -> Choice<T> {
    Choice { name, doc, set: Some(set) }
}
