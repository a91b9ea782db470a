//! The options of all commands, each once.

use super::Opt;

pub(super) const CONFIG: Opt = Opt {
    short: Some('c'),
    is_path: true,
    ..opt("config", "FILE", "MUXLOOP_CONFIG", "configuration to read")
};
pub(super) const HTTP: Opt = opt("http", "ADDRESS", "MUXLOOP_HTTP", "PORT, HOST:PORT, unix:PATH, off");
pub(super) const INSECURE_LISTEN: Opt =
    opt("insecure-listen", "", "MUXLOOP_INSECURE_LISTEN", "HTTP for all, no token");
pub(super) const STDIO: Opt =
    Opt { required: true, ..opt("stdio", "CMD", "MUXLOOP_STDIO", "command line of the server") };
pub(super) const OUTPUT_TRANSPORT: Opt = Opt {
    words: &["streamableHttp", "sse"],
    ..opt("outputTransport", "T", "MUXLOOP_OUTPUT_TRANSPORT", "sse, streamableHttp")
};
pub(super) const PORT: Opt =
    Opt { short: Some('p'), ..opt("port", "PORT", "MUXLOOP_PORT", "or HOST:PORT; default 8000") };
pub(super) const BASE_PATH: Opt = opt("basePath", "P", "MUXLOOP_BASE_PATH", "before the next three");
pub(super) const SSE_PATH: Opt = opt("ssePath", "P", "MUXLOOP_SSE_PATH", "default /sse");
pub(super) const MESSAGE_PATH: Opt = opt("messagePath", "P", "MUXLOOP_MESSAGE_PATH", "default /message");
pub(super) const STREAMABLE_HTTP_PATH: Opt =
    opt("streamableHttpPath", "P", "MUXLOOP_STREAMABLE_HTTP_PATH", "default /mcp");
pub(super) const STATEFUL: Opt = opt("stateful", "", "MUXLOOP_STATEFUL", "sessions, with a process each");
pub(super) const SPARE: Opt = opt("spare", "N", "MUXLOOP_SPARE", "ready; default 1 if stateless");
pub(super) const SESSION_TIMEOUT: Opt =
    opt("sessionTimeout", "MS", "MUXLOOP_SESSION_TIMEOUT", "default 60000");
pub(super) const HEALTH_ENDPOINT: Opt =
    opt("healthEndpoint", "P", "MUXLOOP_HEALTH_ENDPOINT", "default /health");
pub(super) const CORS: Opt = opt("cors", "", "MUXLOOP_CORS", "pages of all origins may ask");
pub(super) const NO_CORS: Opt = opt("no-cors", "", "MUXLOOP_NO_CORS", "local pages only (default)");
pub(super) const MAX_RESTARTS: Opt =
    opt("maxRestarts", "N", "MUXLOOP_MAX_RESTARTS", "default 3; 0: no limit");
pub(super) const DAEMON_PORT: Opt =
    Opt { short: Some('p'), ..opt("port", "PORT", "MUXLOOP_DAEMON_PORT", "default 47127") };
pub(super) const DAEMON_HOST: Opt = opt("host", "HOST", "MUXLOOP_DAEMON_HOST", "default 127.0.0.1");
pub(super) const DAEMON_DIR: Opt = Opt {
    short: Some('d'),
    is_path: true,
    ..opt("dir", "DIR", "MUXLOOP_DAEMON_DIR", "~/.muxloop/daemons/PORT")
};
pub(super) const IDLE_EXIT: Opt = opt("idle-exit", "MS", "MUXLOOP_DAEMON_IDLE_EXIT", "after the last (1000)");
pub(super) const READY_PATH: Opt = opt("ready-path", "P", "MUXLOOP_DAEMON_READY_PATH", "ready if 200 there");
pub(super) const READY_TIMEOUT: Opt =
    opt("ready-timeout", "MS", "MUXLOOP_DAEMON_READY_TIMEOUT", "default 60000");
pub(super) const STOP_GRACE: Opt =
    opt("stop-grace", "MS", "MUXLOOP_DAEMON_STOP_GRACE", "until SIGKILL (5000)");
pub(super) const DAEMON_RESTARTS: Opt = Opt {
    aliases: &["maxRestarts"],
    ..opt("max-restarts", "N", "MUXLOOP_DAEMON_MAX_RESTARTS", "in a row (3; 0: any)")
};
pub(super) const STDIN_LIFE: Opt = opt("stdin-life", "", "MUXLOOP_DAEMON_STDIN_LIFE", "stdin's end ends it");
pub(super) const NO_STDIN_LIFE: Opt =
    opt("no-stdin-life", "", "MUXLOOP_DAEMON_NO_STDIN_LIFE", "stdin is no matter");
pub(super) const ONLY: Opt = opt("only", "A,B", "MUXLOOP_ONLY", "run only these servers");
pub(super) const EXCEPT: Opt = opt("except", "C,D", "MUXLOOP_EXCEPT", "run all but these");
pub(super) const LOG_LEVEL: Opt = Opt {
    words: &["off", "error", "warn", "info", "debug", "trace"],
    ..opt("log-level", "LEVEL", "MUXLOOP_LOG", "off, error, warn, info, debug, trace")
};
pub(super) const VERBOSE: Opt =
    Opt { short: Some('v'), ..opt("verbose", "", "MUXLOOP_VERBOSE", "log level debug; -vv: trace") };
pub(super) const LOG_FORMAT: Opt =
    Opt { words: &["text", "json"], ..opt("log-format", "FORMAT", "MUXLOOP_LOG_FORMAT", "text or json") };
pub(super) const SOCKET: Opt = Opt {
    short: Some('s'),
    is_path: true,
    required: true,
    ..opt("socket", "PATH", "MUXLOOP_SOCKET", "socket of the server")
};
pub(super) const WAIT: Opt = opt("wait", "MS", "MUXLOOP_WAIT", "wait up to MS ms for the socket");
pub(super) const CONTROL: Opt = Opt {
    aliases: &["socket"],
    is_path: true,
    ..opt("control", "PATH", "MUXLOOP_CONTROL", "control socket")
};
pub(super) const JSON: Opt = opt("json", "", "MUXLOOP_JSON", "as JSON, for programs");
pub(super) const WATCH: Opt =
    Opt { short: Some('w'), ..opt("watch", "", "MUXLOOP_WATCH", "again at each change, until Ctrl-C") };
pub(super) const FOLLOW_ON: Opt =
    Opt { short: Some('f'), ..opt("follow", "", "MUXLOOP_FOLLOW", "then each new line, until Ctrl-C") };
pub(super) const LINES: Opt =
    Opt { short: Some('n'), ..opt("lines", "LINES", "MUXLOOP_LINES", "begin with so many (100)") };
pub(super) const SERVICE: Opt = opt("service", "NAME", "MUXLOOP_SERVICE", "server of the configuration");
pub(super) const SERVER_SOCKET: Opt = Opt { required: false, ..SOCKET };
pub(super) const TIMEOUT_HEALTH: Opt =
    opt("timeout", "MS", "MUXLOOP_HEALTH_TIMEOUT", "limit per server (10000)");
pub(super) const TIMEOUT_DOCTOR: Opt =
    opt("timeout", "S", "MUXLOOP_DOCTOR_TIMEOUT", "seconds per server (60)");
pub(super) const TIMEOUT_DRAIN: Opt = opt("timeout", "MS", "MUXLOOP_DRAIN_TIMEOUT", "most to wait (30000)");
pub(super) const TUI: Opt = opt("tui", "", TUI_VARIABLE, "with the dashboard: muxloop help tui");
pub(super) const STATUS_INSTEAD: Opt =
    Opt { aliases: &["show-status"], ..opt("status", "", "MUXLOOP_STATUS", "instead: muxloop status") };
pub(super) const RESTART_INSTEAD: Opt =
    opt("restart-service", "NAME", "MUXLOOP_RESTART_SERVICE", "instead: restart NAME");
pub(super) const SERVE_STDIO: Opt = opt("stdio", "", "MUXLOOP_SERVE_STDIO", "on stdin and stdout");
pub(super) const TRANSPORT: Opt = Opt {
    words: &["stdio", "http", "sse"],
    ..opt("transport", "T", "MUXLOOP_TRANSPORT", "stdio, http or sse")
};
pub(super) const SERVE_SOCKET: Opt =
    Opt { is_path: true, ..opt("socket", "PATH", "MUXLOOP_SERVE_SOCKET", "on a Unix socket") };
pub(super) const SERVE_CONTROL: Opt = Opt { aliases: &[], ..CONTROL };
pub(super) const PROFILE: Opt = opt("profile", "NAME", "MUXLOOP_PROFILE", "what [profiles.NAME] has");
pub(super) const DAEMON_MODE: Opt = opt("daemon-mode", "", "MUXLOOP_DAEMON_MODE", "as connect starts it");
pub(super) const PROJECT: Opt =
    Opt { is_path: true, ..opt("project", "DIR", "MUXLOOP_PROJECT", "folder of the project") };
pub(super) const LOG_FILE: Opt =
    Opt { is_path: true, ..opt("log", "FILE", "MUXLOOP_LOG_FILE", "of the log, or - for stderr") };
pub(super) const MAN: Opt = opt("man", "", "MUXLOOP_MAN", "print the man page (roff)");

/// Not for the daemon that the dashboard starts: it would start one, too.
pub const TUI_VARIABLE: &str = "MUXLOOP_TUI";

pub(super) const fn opt(
    long: &'static str,
    value: &'static str,
    env: &'static str,
    doc: &'static str,
) -> Opt {
    Opt { long, aliases: &[], short: None, value, env, required: false, doc, words: &[], is_path: false }
}
