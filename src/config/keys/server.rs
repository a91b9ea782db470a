//! Keys of a `[servers.NAME]`.

use super::{Key, Kind, MS_MAX, key, later, merged};
use crate::base::limits;
use crate::config::choices::{ERAS, INTERACTIVES, SERVER_LEVELS, SHARES};
use crate::config::{SearchPath, ServerConfig};

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
    key(
        "answer_timeout_ms",
        Kind::Integer { min: 1, max: MS_MAX, set: |server, ms| server.policy.answer_timeout_ms = ms },
        "300000",
        "60000",
        "A 2026-07-28 client has so long to come again with the answer to a question.",
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
    Key {
        near: &["cache", "nocache", "disable_cache"],
        ..key(
            "no_cache",
            Kind::Flag(|server, on| server.policy.no_cache = on),
            "false",
            "true",
            "Ask it for its lists each time, and keep none of them.",
        )
    },
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
    Key {
        near: &["spares", "prewarm", "warm", "pool"],
        ..key(
            "spare",
            Kind::Integer { min: 0, max: SPARE_MAX, set: |server, n| server.policy.spare = n as usize },
            "0",
            "2",
            "Processes that are started before they are needed, where they are not shared.",
        )
    },
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
    merged::IS_MERGED,
    merged::TOOLS,
    merged::PROMPTS,
    merged::RESOURCES,
    merged::TOOL,
    later("timeouts", "\"patient\"", "sets all timeouts together"),
    later("url", "\"https://example.com/mcp\"", "uses a remote server"),
    later("headers", "{ Authorization = \"…\" }", "sends headers to a remote server"),
];

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

/// Sets part of a heartbeat that is on.
fn with_heartbeat(server: &mut ServerConfig, set: impl FnOnce(&mut crate::mux::policy::Heartbeat)) {
    if let Some(heartbeat) = &mut server.policy.heartbeat {
        set(heartbeat);
    }
}

/// Most processes of a server that wait for somebody.
const SPARE_MAX: u64 = 16;
