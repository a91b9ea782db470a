//! The one table of commands and options: the parser, every `--help`, the shell completions and the man
//! page walk it. A new command is one entry here and one variant of [`super::Invocation`].

pub mod options;
#[cfg(test)]
mod tests;

use options::*;

/// A command.
#[derive(Debug)]
pub struct Command {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// One line, without a full stop.
    pub summary: &'static str,
    /// What the overview says of it and its neighbours with the same words, on one line; empty: the summary.
    pub group: &'static str,
    /// What a person should know, in lines of at most 78 characters.
    pub about: &'static [&'static str],
    /// The one word after the command, if it takes one.
    pub operand: Option<Operand>,
    /// Whether everything after the command's name is left to its module.
    pub passes_through: bool,
    pub options: &'static [Opt],
    /// A command line and what it does.
    pub examples: &'static [(&'static str, &'static str)],
}

/// The word after a command.
#[derive(Debug)]
pub struct Operand {
    pub name: &'static str,
    pub required: bool,
    pub words: Words,
}

/// What an operand may be.
#[derive(Debug)]
pub enum Words {
    OneOf(&'static [&'static str]),
    /// The name of a command, or `config`.
    Commands,
    /// The name of a server, which only the muxloop that runs it knows.
    Server,
    /// Any number of names of servers.
    Servers,
    /// A file.
    Path,
    /// A program and its arguments, after `--`.
    Program,
}

/// An option.
#[derive(Debug)]
pub struct Opt {
    pub long: &'static str,
    /// Other long names, understood and not shown.
    pub aliases: &'static [&'static str],
    pub short: Option<char>,
    /// Name of its value; empty if it takes none.
    pub value: &'static str,
    /// Variable that stands in where the option is not given; empty for those of [`EVERYWHERE`] only. One that
    /// takes no value is `true` or `false` there.
    pub env: &'static str,
    pub required: bool,
    pub doc: &'static str,
    /// What may be given, where that is a list of words.
    pub words: &'static [&'static str],
    /// Whether the value is a path, for completion.
    pub is_path: bool,
}

/// The command that runs when the command line names none.
pub const DEFAULT_COMMAND: &str = "run";

/// The command that `proxy --stdio` is.
pub const EXPOSE: &str = "expose";

/// The command that a program whose name ends so is.
pub const PROXY_SUFFIX: &str = "-proxy";

pub const COMMANDS: &[Command] = &[
    Command {
        name: "run",
        aliases: &[],
        summary: "run the servers of a configuration (the default)",
        group: "",
        about: &[
            "Runs every [servers.NAME] of the file in the foreground until SIGTERM or Ctrl-C.",
            "Without -c: ./mux.toml, ~/.config/muxloop/mux.toml or ~/.codex/mcp-mux.toml.",
            "Exit codes: 0 stopped, 1 failed, 2 the command line or the file is wrong.",
        ],
        operand: None,
        passes_through: false,
        options: &[
            CONFIG,
            HTTP,
            INSECURE_LISTEN,
            ONLY,
            EXCEPT,
            CONTROL,
            LOG_LEVEL,
            VERBOSE,
            LOG_FORMAT,
            STATUS_INSTEAD,
            RESTART_INSTEAD,
            TUI,
        ],
        examples: &[("muxloop run -c mux.toml --only memory,web -v", "")],
    },
    Command {
        name: "serve",
        aliases: &[],
        summary: "offer all servers as one, to one host or to many",
        group: MERGED,
        about: &[
            "On stdin and stdout until they end (the default), on a socket, over HTTP: /mcp,",
            "/sse. docs/connect.md. Exit codes: 0 stopped, 1 failed, 2 wrong usage or file.",
        ],
        operand: None,
        passes_through: false,
        options: &[
            CONFIG,
            SERVE_STDIO,
            TRANSPORT,
            HTTP,
            INSECURE_LISTEN,
            SERVE_SOCKET,
            PROFILE,
            DAEMON_MODE,
            PROJECT,
            LOG_FILE,
            SERVE_CONTROL,
            LOG_LEVEL,
            VERBOSE,
        ],
        examples: &[("muxloop serve -c mux.toml", "as a host starts it")],
    },
    Command {
        name: "connect",
        aliases: &[],
        summary: "connect stdio to the project's daemon; start it if need be",
        group: MERGED,
        about: &[
            "The command that an MCP host starts for all servers of a project: the nearest",
            "folder upwards with mux.toml, mux.json or .mcp.json. The daemon is shared, and",
            "ends 10 s after its last client; its state: ~/.muxloop/projects/NAME-HASH/.",
            "docs/connect.md. Exit codes: 0 at the end of stdin, 1 no daemon or lost it, 2",
            "the command line is wrong.",
        ],
        operand: None,
        passes_through: false,
        options: &[CONFIG, PROJECT, VERBOSE],
        examples: &[("muxloop connect", ""), ("muxloop connect --project ~/src/web -v", "")],
    },
    Command {
        name: "proxy",
        aliases: &[],
        summary: "connect stdin and stdout to a server's socket",
        group: ONE,
        about: &[
            "The command that an MCP host starts instead of the server itself. A link whose",
            "name ends in \"-proxy\" is this command. Exit codes: 0 at the end of stdin, 1 if",
            "nobody listens or the connection is lost, 2 the command line is wrong.",
        ],
        operand: None,
        passes_through: false,
        options: &[SOCKET, WAIT],
        examples: &[
            ("muxloop proxy --socket ~/mcp-sockets/memory.sock", ""),
            ("muxloop proxy --socket /tmp/web.sock --wait 5000", "while it starts"),
        ],
    },
    Command {
        name: EXPOSE,
        aliases: &[],
        summary: "serve one stdio server over HTTP (also: proxy --stdio CMD)",
        group: ONE,
        about: &[],
        operand: None,
        passes_through: false,
        options: &[
            STDIO,
            OUTPUT_TRANSPORT,
            PORT,
            BASE_PATH,
            SSE_PATH,
            MESSAGE_PATH,
            STREAMABLE_HTTP_PATH,
            STATEFUL,
            SPARE,
            SESSION_TIMEOUT,
            HEALTH_ENDPOINT,
            CORS,
            NO_CORS,
            MAX_RESTARTS,
            INSECURE_LISTEN,
            LOG_LEVEL,
        ],
        examples: &[("muxloop proxy --stdio 'npx -y @modelcontextprotocol/server-memory' -p 8000", "")],
    },
    Command {
        name: "daemon",
        aliases: &[],
        summary: "share one HTTP server; it ends with its last caller",
        group: ONE,
        about: &[
            "Starts CMD, or joins who has; prints the URL; stays until SIGTERM or the end of",
            "stdin. PORT and HOST are set, {port} and {host} replaced. docs/daemon.md. Exit",
            "codes: 0 left, 1 the server failed, 2 the command line is wrong, 3 port taken.",
        ],
        operand: Some(Operand { name: "CMD", required: true, words: Words::Program }),
        passes_through: false,
        options: &[
            DAEMON_PORT,
            DAEMON_HOST,
            DAEMON_DIR,
            IDLE_EXIT,
            READY_PATH,
            READY_TIMEOUT,
            STOP_GRACE,
            DAEMON_RESTARTS,
            STDIN_LIFE,
            NO_STDIN_LIFE,
            JSON,
        ],
        examples: &[("muxloop daemon --port 47127 -- node server.js --port {port}", "")],
    },
    Command {
        name: "check",
        aliases: &["validate"],
        summary: "check a configuration without starting anything",
        group: CHECKS,
        about: &[
            "Prints every problem as FILE:LINE:COLUMN: KEY: what is wrong, what was expected.",
            "Exit codes: 0 the file is fine, 2 it is not.",
        ],
        operand: None,
        passes_through: false,
        options: &[CONFIG, JSON],
        examples: &[("muxloop check -c mux.toml", "")],
    },
    Command {
        name: "doctor",
        aliases: &["diagnose"],
        summary: "try each server alone; say what is wrong, and its cure",
        group: CHECKS,
        about: &[
            "Checks the file, the programs and the sockets, and each server in a process",
            "of its own: start, handshake, lists, schemas, stop. Needs no muxloop that",
            "runs, and leaves one that does alone. Exit codes: 0 no error (there may be",
            "warnings), 1 an error, 2 the command line or the file is wrong. All findings:",
            "docs/doctor.md.",
        ],
        operand: Some(Operand { name: "NAME", required: false, words: Words::Servers }),
        passes_through: false,
        options: &[CONFIG, JSON, TIMEOUT_DOCTOR],
        examples: &[
            ("muxloop doctor", "every server of the default configuration"),
            ("muxloop doctor memory web -c mux.toml --json", "two of them, for programs"),
        ],
    },
    Command {
        name: "status",
        aliases: &["daemon-status"],
        summary: "show what runs, what is wrong and what happens next",
        group: "",
        about: &[
            "Asks the muxloop that runs the configuration; without -c that of the default",
            "configuration, or the only one that runs. With NAME: all about one server.",
            "Exit codes: 0 all up, 3 not running, 4 some server is down, 1 no answer.",
        ],
        operand: Some(Operand { name: "NAME", required: false, words: Words::Server }),
        passes_through: false,
        options: &[CONFIG, CONTROL, JSON, WATCH],
        examples: &[
            ("muxloop status", ""),
            ("muxloop status --json | jq '.servers[].state'", "fields: docs/control.md"),
        ],
    },
    Command {
        name: "tui",
        aliases: &["dashboard"],
        summary: "show and steer what runs, live",
        group: "",
        about: &[
            "A dashboard for a muxloop that runs, found as by status. Keys: j k select,",
            "r restart, s start, S stop, / filter, ? help, q leave. With run --tui muxloop",
            "runs as its child and ends with it. Exit codes: 0 left, 1 failed, 2 no terminal.",
        ],
        operand: None,
        passes_through: false,
        options: &[CONFIG, CONTROL],
        examples: &[("muxloop tui", ""), ("muxloop -c mux.toml --tui", "run the servers and show them")],
    },
    Command {
        name: "start",
        aliases: &[],
        summary: "start a server that is stopped, failed or at rest",
        group: ONE_SERVER,
        about: &[
            "Its restarts count from 0 again. A server that runs is left as it is.",
            "Exit codes: 0 done, 1 refused or no answer, 2 no such server, 3 not running.",
        ],
        operand: Some(Operand { name: "NAME", required: true, words: Words::Server }),
        passes_through: false,
        options: &[CONFIG, CONTROL],
        examples: &[("muxloop start memory", "")],
    },
    Command {
        name: "stop",
        aliases: &[],
        summary: "stop a server until it is started again",
        group: ONE_SERVER,
        about: &[
            "Its clients stay connected; each request is answered with an error that says so.",
            "Exit codes: 0 done, 1 refused or no answer, 2 no such server, 3 not running.",
        ],
        operand: Some(Operand { name: "NAME", required: true, words: Words::Server }),
        passes_through: false,
        options: &[CONFIG, CONTROL],
        examples: &[("muxloop stop memory", "")],
    },
    Command {
        name: "restart",
        aliases: &[],
        summary: "stop a server and start it again",
        group: ONE_SERVER,
        about: &[
            "Its clients stay connected; what is in flight is answered with an error.",
            "Exit codes: 0 done, 1 refused or no answer, 2 no such server, 3 not running.",
        ],
        operand: Some(Operand { name: "NAME", required: true, words: Words::Server }),
        passes_through: false,
        options: &[CONFIG, CONTROL],
        examples: &[("muxloop restart memory", ""), ("muxloop --restart-service memory", "the same")],
    },
    Command {
        name: "reload",
        aliases: &[],
        summary: "read the configuration again",
        group: WHOLE,
        about: &[
            "Servers whose entry has not changed go on undisturbed. A file with a mistake",
            "changes nothing. Exit codes: 0 done, 1 refused or no answer, 3 not running.",
        ],
        operand: None,
        passes_through: false,
        options: &[CONFIG, CONTROL],
        examples: &[("muxloop check && muxloop reload", "")],
    },
    Command {
        name: "drain",
        aliases: &[],
        summary: "let the clients finish what is open, then end muxloop",
        group: WHOLE,
        about: &[
            "Takes no new clients, closes each once nothing of its is open, and waits for the",
            "end. Exit codes: 0 it ended, 1 it did not, or no answer, 3 not running.",
        ],
        operand: None,
        passes_through: false,
        options: &[CONFIG, CONTROL, TIMEOUT_DRAIN],
        examples: &[("muxloop drain --timeout 5000", "")],
    },
    Command {
        name: "shutdown",
        aliases: &[],
        summary: "end muxloop and its servers",
        group: WHOLE,
        about: &[
            "As by SIGTERM; waits for the end. Exit codes: 0 it ended, 1 it did not, or no",
            "answer, 3 not running.",
        ],
        operand: None,
        passes_through: false,
        options: &[CONFIG, CONTROL],
        examples: &[("muxloop shutdown -c mux.toml", "")],
    },
    Command {
        name: "logs",
        aliases: &["log"],
        summary: "show what servers wrote to stderr, and what became of them",
        group: FOLLOW,
        about: &[
            "Of one server or of all. Exit codes: 0 shown, 1 no answer, 2 no such server,",
            "3 not running, or ended meanwhile.",
        ],
        operand: Some(Operand { name: "NAME", required: false, words: Words::Server }),
        passes_through: false,
        options: &[CONFIG, CONTROL, FOLLOW_ON, LINES, JSON],
        examples: &[("muxloop logs memory -f", ""), ("muxloop logs -n 1000 | grep -i error", "")],
    },
    Command {
        name: "tap",
        aliases: &[],
        summary: "show the messages between a server and its clients",
        group: FOLLOW,
        about: &[
            "Each as it passes, cut after 4 KiB, without the values of members whose names",
            "tell of secrets. Exit codes: 1 no answer, 2 no such server, 3 not running.",
        ],
        operand: Some(Operand { name: "NAME", required: true, words: Words::Server }),
        passes_through: false,
        options: &[CONFIG, CONTROL, JSON],
        examples: &[("muxloop tap memory", ""), ("muxloop tap memory --json | jq .method", "")],
    },
    Command {
        name: "health",
        aliases: &[],
        summary: "ask a server as a client would: handshake, ping, a list",
        group: "",
        about: &[
            "Starts a server that is not running yet. Without --socket and --service: every",
            "server of the configuration. Exit codes: 0 healthy, 1 not, 2 the command line is",
            "wrong, 3 nobody listens.",
        ],
        operand: None,
        passes_through: false,
        options: &[CONFIG, SERVICE, SERVER_SOCKET, TIMEOUT_HEALTH],
        examples: &[
            ("muxloop health -c mux.toml --service memory", ""),
            ("muxloop health --socket ~/mcp-sockets/memory.sock", ""),
        ],
    },
    Command {
        name: "record",
        aliases: &[],
        summary: "run, and record all that happens, for replay",
        group: CAPTURE,
        about: &[
            "Runs as run does. FILE must not exist; nobody else may read it: the messages",
            "are in it as they pass, with all arguments and results. Exit codes as of run.",
        ],
        operand: Some(Operand { name: "FILE", required: true, words: Words::Path }),
        passes_through: false,
        options: &[CONFIG, HTTP, INSECURE_LISTEN, ONLY, EXCEPT, CONTROL, LOG_LEVEL, VERBOSE, LOG_FORMAT],
        examples: &[("muxloop record trouble.jsonl -c mux.toml", "format: docs/capture.md")],
    },
    Command {
        name: "replay",
        aliases: &[],
        summary: "do again what was recorded, and compare each byte",
        group: CAPTURE,
        about: &[
            "Starts no process and opens no socket. Prints the first difference, with both",
            "texts. Exit codes: 0 all the same, 1 a difference, 2 the file is damaged, cut",
            "off or no recording.",
        ],
        operand: Some(Operand { name: "FILE", required: true, words: Words::Path }),
        passes_through: false,
        options: &[],
        examples: &[("muxloop replay trouble.jsonl", "")],
    },
    Command {
        name: "demo-server",
        aliases: &[],
        summary: "be a small MCP server on stdin and stdout, for trials",
        group: "",
        about: &[
            "Has tools, resources and a prompt; with fault options it misbehaves on request.",
            "Its options: muxloop demo-server --help",
        ],
        operand: None,
        passes_through: true,
        options: &[],
        examples: &[("muxloop demo-server", "as the cmd and args of a [servers.NAME]")],
    },
    Command {
        name: "completions",
        aliases: &["completion"],
        summary: "print shell completions",
        group: MORE,
        about: &["Prints a script for the shell to read."],
        operand: Some(Operand { name: "SHELL", required: true, words: Words::OneOf(SHELLS) }),
        passes_through: false,
        options: &[],
        examples: &[
            ("source <(muxloop completions bash)", "in ~/.bashrc"),
            ("muxloop completions zsh > \"${fpath[1]}/_muxloop\"", ""),
            ("muxloop completions fish > ~/.config/fish/completions/muxloop.fish", ""),
        ],
    },
    Command {
        name: "version",
        aliases: &[],
        summary: "print the version",
        group: MORE,
        about: &[],
        operand: None,
        passes_through: false,
        options: &[],
        examples: &[("muxloop version", "the same as muxloop --version")],
    },
    Command {
        name: "help",
        aliases: &[],
        summary: "print help for a command, or the reference of mux.toml",
        group: MORE,
        about: &["COMMAND is a command, or \"config\" for every key of mux.toml with its default."],
        operand: Some(Operand { name: "COMMAND", required: false, words: Words::Commands }),
        passes_through: false,
        options: &[MAN],
        examples: &[
            ("muxloop help proxy", "the same as muxloop proxy --help"),
            ("muxloop help config > mux.toml", "a file to start from"),
            ("muxloop help --man | man -l -", "the man page"),
        ],
    },
];

/// Understood after every command that does not pass its arguments through.
pub const EVERYWHERE: &[Opt] = &[
    Opt { short: Some('h'), ..opt("help", "", "", "print this help") },
    Opt { short: Some('V'), ..opt("version", "", "", "print the version") },
];

/// What the overview says of several commands at once.
const CHECKS: &str = "check a file; try each server, and say how to cure it";
const MERGED: &str = "all servers as one; by a daemon that starts itself";
const ONE: &str = "stdio to a socket; a stdio server as HTTP; share HTTP";
const ONE_SERVER: &str = "start, stop or restart one server; its clients stay";
const WHOLE: &str = "read the file again; end when all is done; end now";
const FOLLOW: &str = "what servers write to stderr; messages as they pass";
const CAPTURE: &str = "record all that happens; do it again, and compare";
const MORE: &str = "for the shell; a number; a command, or mux.toml";

pub const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// The command of that name or alias.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name || command.aliases.contains(&name))
}

/// Its own options and those that every command has.
pub fn options(command: &'static Command) -> impl Iterator<Item = &'static Opt> {
    command.options.iter().chain(EVERYWHERE)
}

/// The words that may follow a command.
pub fn operand_words(operand: &'static Operand) -> Vec<&'static str> {
    match operand.words {
        Words::Commands => COMMANDS.iter().map(|command| command.name).chain(["config"]).collect(),
        Words::OneOf(words) => words.to_vec(),
        Words::Server | Words::Servers | Words::Path | Words::Program => Vec::new(),
    }
}

impl Opt {
    /// Whether it is meant by this long name.
    pub fn is_called(&self, long: &str) -> bool {
        self.long == long || self.aliases.contains(&long)
    }
}
