//! The one table of configuration keys: name, type with its setter, default, example, one-line doc.
//!
//! Reading, `muxloop help config`, `docs/configuration.md` and the tests all walk it. A new key is one
//! more entry. Checks that concern several keys are in `finish.rs`.

#[cfg(feature = "http")]
use super::http::{Address, HttpConfig};
use super::{Config, LogFormat, SearchPath, ServerConfig};
use crate::base::limits;
#[cfg(feature = "sandbox")]
use crate::engine::sandbox::Sandbox;
use crate::mux::policy::{EraPolicy, Interactive, Root, Share};
use crate::mux::rate::{Algorithm, Rate, RateLimits};
use log::LevelFilter;
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
    /// Known, but no released behaviour yet: refused, so that nobody relies on it. Says what it will do.
    Later(&'static str),
}

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
    later("gateway", "{ names = \"prefix\" }", "one endpoint for all servers"),
    HTTP_KEY,
    SESSION_KEY,
];

/// Keys of a `[servers.NAME]`.
pub const SERVER: &[Key<ServerConfig>] = &[
    Key {
        near: &["command", "program", "exec"],
        ..key(
            "cmd",
            Kind::Text(|server, text| server.spawn.program = text),
            "",
            "\"npx\"",
            "Program of the MCP server, looked up in PATH. Required.",
        )
    },
    Key {
        near: &["arguments"],
        ..key(
            "args",
            Kind::Texts(|server, texts| server.spawn.args = texts),
            "[]",
            "[\"-y\", \"@modelcontextprotocol/server-memory\"]",
            "Its arguments.",
        )
    },
    Key {
        near: &["environment", "envs", "vars"],
        ..key(
            "env",
            Kind::Variables(|server, variables| server.spawn.env = variables),
            "{}",
            "{ API_KEY = \"…\" }",
            "Added to its environment; the values are never logged.",
        )
    },
    Key {
        near: &["working_directory", "workdir", "directory", "dir"],
        ..key(
            "cwd",
            Kind::Path(|server, path| server.spawn.cwd = Some(path)),
            "",
            "\"~/projects\"",
            "Its working directory; by default that of muxloop.",
        )
    },
    key(
        "path",
        Kind::Text(|server, text| server.search_path = Some(SearchPath::of(text))),
        "",
        "\"login\"",
        "\"/a:/b\" or \"login\": PATH to find cmd and for it; PATH in env wins.",
    ),
    Key {
        near: &["socket_path", "listen"],
        ..key(
            "socket",
            Kind::Path(|server, path| server.socket = path),
            "",
            "\"~/mcp-sockets/memory.sock\"",
            "Where clients connect; else $XDG_RUNTIME_DIR/muxloop or ~/.muxloop/run, NAME.sock.",
        )
    },
    Key {
        near: &["disabled"],
        ..key(
            "enabled",
            Kind::Flag(|s, on| s.enabled = on),
            "true",
            "false",
            "false: as if it were not in the file.",
        )
    },
    Key {
        near: &["name", "title"],
        ..key(
            "service_name",
            Kind::Text(|server, text| server.service_name = text),
            "",
            "\"Memory\"",
            "Name shown to people; by default the socket's file name up to its first dot.",
        )
    },
    Key {
        near: &["max_clients", "clients"],
        ..key(
            "max_active_clients",
            Kind::Integer {
                min: 1,
                max: limits::CONNECTIONS_MAX as u64,
                set: |server, n| server.policy.max_active_clients = n as usize,
            },
            "5",
            "20",
            "Clients at once; the next one gets an error that says so.",
        )
    },
    key(
        "max_in_flight_per_client",
        Kind::Integer {
            min: 1,
            max: limits::REQUESTS_PER_CLIENT as u64,
            set: |server, n| server.policy.max_in_flight_per_client = n as usize,
        },
        "32",
        "8",
        "Requests of one client at the server at once; more wait their turn.",
    ),
    key(
        "max_request_bytes",
        Kind::Integer {
            min: 1024,
            max: 1 << 30,
            set: |server, n| server.policy.max_request_bytes = n as usize,
        },
        "1048576",
        "16777216",
        "Longest message a client may send.",
    ),
    Key {
        near: &["timeout", "timeout_ms", "request_timeout"],
        ..key(
            "request_timeout_ms",
            Kind::Integer { min: 1, max: MS_MAX, set: |server, ms| server.policy.request_timeout_ms = ms },
            "30000",
            "120000",
            "A request without an answer for so long fails and is cancelled.",
        )
    },
    key(
        "request_timeout_max_ms",
        Kind::Integer { min: 1, max: MS_MAX, set: |server, ms| server.policy.request_timeout_max_ms = ms },
        "600000",
        "3600000",
        "Progress extends the timeout, but no further than this.",
    ),
    Key {
        near: &["startup_timeout", "start_timeout_ms"],
        ..key(
            "startup_timeout_ms",
            Kind::Integer { min: 1, max: MS_MAX, set: |server, ms| server.policy.startup_timeout_ms = ms },
            "60000",
            "180000",
            "A started process must finish its handshake within this time.",
        )
    },
    Key {
        near: &["lazy"],
        ..key(
            "lazy_start",
            Kind::Flag(|server, on| server.policy.lazy_start = on),
            "false",
            "true",
            "Start with the first request instead of at once.",
        )
    },
    key(
        "idle_stop_ms",
        Kind::Integer {
            min: 0,
            max: MS_MAX,
            set: |server, ms| server.policy.idle_stop_ms = (ms > 0).then_some(ms),
        },
        "0",
        "900000",
        "Stop the process after so long without requests; 0 means never.",
    ),
    key(
        "stop_grace_ms",
        Kind::Integer { min: 0, max: 600_000, set: |server, ms| server.policy.stop_grace_ms = ms },
        "2000",
        "10000",
        "Time between the steps of a stop: close stdin, SIGTERM, SIGKILL.",
    ),
    key(
        "restart_backoff_ms",
        Kind::Integer { min: 1, max: MS_MAX, set: |server, ms| server.policy.restart_backoff_ms = ms },
        "1000",
        "250",
        "Wait before the first restart; doubles with each failure.",
    ),
    key(
        "restart_backoff_max_ms",
        Kind::Integer { min: 1, max: MS_MAX, set: |server, ms| server.policy.restart_backoff_max_ms = ms },
        "30000",
        "300000",
        "Longest wait before a restart.",
    ),
    key(
        "max_restarts",
        Kind::Integer {
            min: 0,
            max: u32::MAX as u64,
            set: |server, n| server.policy.max_restarts = n as u32,
        },
        "5",
        "0",
        "Restarts in a row before muxloop gives up; 0 means no limit.",
    ),
    Key {
        near: &["heartbeat"],
        ..key(
            "heartbeat_enabled",
            Kind::Flag(|server, on| {
                server.policy.heartbeat = if on { server.policy.heartbeat } else { None };
            }),
            "true",
            "false",
            "Ping the idle server; restart it when it stops answering.",
        )
    },
    key(
        "heartbeat_interval_ms",
        Kind::Integer {
            min: 1,
            max: MS_MAX,
            set: |server, ms| with_heartbeat(server, |heartbeat| heartbeat.interval_ms = ms),
        },
        "30000",
        "10000",
        "Time between two pings.",
    ),
    key(
        "heartbeat_timeout_ms",
        Kind::Integer {
            min: 1,
            max: MS_MAX,
            set: |server, ms| with_heartbeat(server, |heartbeat| heartbeat.timeout_ms = ms),
        },
        "30000",
        "5000",
        "A ping without an answer for so long is a miss.",
    ),
    key(
        "heartbeat_max_failures",
        Kind::Integer {
            min: 1,
            max: 1_000_000,
            set: |server, n| with_heartbeat(server, |heartbeat| heartbeat.failures_max = n as u32),
        },
        "3",
        "10",
        "Misses in a row that cause a restart.",
    ),
    key("share", Kind::Choice(SHARES), "\"shared\"", "\"session\"", "Who shares a process."),
    key(
        "interactive",
        Kind::Choice(INTERACTIVES),
        "\"off\"",
        "\"serialize\"",
        "What happens to the server's questions to a client (sampling, elicitation, roots).",
    ),
    Key {
        near: &["protocol", "protocol_version"],
        ..key("era", Kind::Choice(ERAS), "\"auto\"", "\"modern\"", "Protocol era the server is spoken to in.")
    },
    key(
        "roots",
        Kind::Roots(|server, roots| server.policy.roots = roots),
        "[]",
        "[\"file:///home/ana/projects\"]",
        "Directories that muxloop itself offers: file:// URIs or { uri, name }.",
    ),
    Key {
        near: &["rate", "limit", "throttle"],
        ..key(
            "rate_limit",
            Kind::RateLimit(|server| &mut server.policy.rate),
            "",
            "{ client = \"10/s\" }",
            "How many requests may come; its keys are below.",
        )
    },
    Key {
        near: &["loglevel"],
        ..key("log_level", Kind::Choice(SERVER_LEVELS), "", "\"debug\"", "Log level of this server's lines.")
    },
    Key {
        ..key(
            "status_file",
            Kind::Path(|server, path| server.status_file = Some(path)),
            "",
            "\"~/.muxloop/memory.json\"",
            "JSON snapshot of this server, rewritten at each change.",
        )
    },
    Key {
        inert: "this version has no tray",
        ..key("tray", Kind::Flag(|s, on| s.tray = on), "false", "true", "Show it in the tray.")
    },
    SANDBOX_KEY,
    later("tools", "{ allow = [\"read_*\"], deny = [] }", "filters which tools clients see and call"),
    later("resources", "{ deny = [\"file:///secret/*\"] }", "filters which resources clients see and read"),
    later("prompts", "{ allow = [\"review\"] }", "filters which prompts clients see and use"),
    later("spare", "1", "keeps a started process ready"),
    later("timeouts", "\"patient\"", "sets all timeouts together"),
    later("url", "\"https://example.com/mcp\"", "uses a remote server"),
    later("headers", "{ Authorization = \"…\" }", "sends headers to a remote server"),
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

#[cfg(feature = "sandbox")]
const SANDBOX_KEY: Key<ServerConfig> = key(
    "sandbox",
    Kind::Sandbox(|server, sandbox| server.spawn.sandbox = Some(Box::new(sandbox))),
    "",
    "{ fs_read = [\"/usr/share\"], net = false }",
    "What its processes may do (Linux); its keys are below.",
);
#[cfg(not(feature = "sandbox"))]
const SANDBOX_KEY: Key<ServerConfig> =
    later("sandbox", "{ net = false }", "it needs the feature `sandbox` when muxloop is built");

/// Keys of `[servers.NAME.rate_limit]`.
pub const RATE_LIMIT: &[Key<RateLimits>] = &[
    key("client", Kind::Rate(|limits, rate| limits.client = Some(rate)), "", "\"10/s\"", "Of each client."),
    key("server", Kind::Rate(|limits, rate| limits.server = Some(rate)), "", "\"600/m\"", "Of all together."),
    key("algorithm", Kind::Choice(ALGORITHMS), "\"bucket\"", "\"window\"", "How they are counted."),
    key(
        "burst",
        Kind::Integer { min: 1, max: 1_000_000_000, set: |limits, count| limits.burst = Some(count as u32) },
        "",
        "20",
        "Requests at once with bucket; without it, those of a whole period.",
    ),
];

const ALGORITHMS: &[Choice<RateLimits>] = &[
    choice("bucket", "token bucket: a burst, then evenly", |limits| limits.algorithm = Algorithm::Bucket),
    choice("window", "sliding window: so many in any period", |limits| limits.algorithm = Algorithm::Window),
];

/// Longest time in milliseconds: a year.
const MS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;

const LEVELS: &[Choice<Config>] = &[
    choice("off", "nothing", |top| top.log_level = Some(LevelFilter::Off)),
    choice("error", "what needs a person", |top| top.log_level = Some(LevelFilter::Error)),
    choice("warn", "and what went wrong", |top| top.log_level = Some(LevelFilter::Warn)),
    choice("info", "and what happens", |top| top.log_level = Some(LevelFilter::Info)),
    choice("debug", "and the servers' stderr", |top| top.log_level = Some(LevelFilter::Debug)),
    choice("trace", "and every message", |top| top.log_level = Some(LevelFilter::Trace)),
];

const SERVER_LEVELS: &[Choice<ServerConfig>] = &[
    choice("off", "nothing", |server| server.log_level = Some(LevelFilter::Off)),
    choice("error", "what needs a person", |server| server.log_level = Some(LevelFilter::Error)),
    choice("warn", "and what went wrong", |server| server.log_level = Some(LevelFilter::Warn)),
    choice("info", "and what happens", |server| server.log_level = Some(LevelFilter::Info)),
    choice("debug", "and the server's stderr", |server| server.log_level = Some(LevelFilter::Debug)),
    choice("trace", "and every message", |server| server.log_level = Some(LevelFilter::Trace)),
];

const LOG_FORMATS: &[Choice<Config>] = &[
    choice("text", "for people", |top| top.log_format = Some(LogFormat::Text)),
    choice("json", "one object per line", |top| top.log_format = Some(LogFormat::Json)),
];

const SHARES: &[Choice<ServerConfig>] = &[
    choice("shared", "all clients", |server| server.policy.share = Share::Shared),
    choice("session", "nobody: a process per client", |server| server.policy.share = Share::Session),
    Choice { name: "request", doc: "nobody: a process per request", set: None },
];

const INTERACTIVES: &[Choice<ServerConfig>] = &[
    choice("off", "the server is told that nobody can be asked", |server| {
        server.policy.interactive = Interactive::Off;
    }),
    choice("serialize", "one client's requests at a time", |server| {
        server.policy.interactive = Interactive::Serialize;
    }),
    choice("per-client", "a process per client", |server| server.policy.interactive = Interactive::PerClient),
];

const ERAS: &[Choice<ServerConfig>] = &[
    choice("auto", "modern where the server offers it, else legacy", |server| {
        server.policy.era = EraPolicy::Auto
    }),
    choice("legacy", "initialize, up to 2025-11-25", |server| server.policy.era = EraPolicy::Legacy),
    choice("modern", "stateless, 2026-07-28", |server| server.policy.era = EraPolicy::Modern),
];

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

const fn choice<T>(name: &'static str, doc: &'static str, set: fn(&mut T)) -> Choice<T> {
    Choice { name, doc, set: Some(set) }
}

/// Sets part of a heartbeat that is on.
fn with_heartbeat(server: &mut ServerConfig, set: impl FnOnce(&mut crate::mux::policy::Heartbeat)) {
    if let Some(heartbeat) = &mut server.policy.heartbeat {
        set(heartbeat);
    }
}
