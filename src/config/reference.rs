//! The annotated reference, made from the table of keys: as a `mux.toml` for `muxloop help config`, and
//! as Markdown for `docs/configuration.md`.

#[cfg(feature = "gateway")]
use super::gateway::{CHANGE, FILTER, GATEWAY, PROFILE};
#[cfg(feature = "http")]
use super::http::{HTTP, SESSION};
use super::keys::{Key, Kind, SERVER, TOP};
use super::rate::RATE_LIMIT;
#[cfg(feature = "sandbox")]
use super::sandbox::SANDBOX;
use std::fmt::Write;

/// A `mux.toml` with every key, its default and its doc. It is valid itself.
pub fn annotated() -> String {
    let mut text = String::from(
        "# mux.toml: every key with its default. Times are milliseconds, '~' is your home.\n\
         # Keys without a default stand in a comment, with an example.\n\n",
    );
    annotate(&mut text, TOP);
    text.push_str("\n[servers.NAME]          # one table per MCP server; a name has no '/'\n");
    annotate(&mut text, SERVER);
    text.push_str("\n# [servers.NAME.rate_limit]\n");
    comment(&mut text, RATE_LIMIT);
    #[cfg(feature = "sandbox")]
    {
        text.push_str("\n# [servers.NAME.sandbox]  # or in one line, see there; Linux only\n");
        comment(&mut text, SANDBOX);
    }
    #[cfg(feature = "gateway")]
    annotate_merged(&mut text);
    text.push_str("\n# Known, but refused until a later version:\n");
    for (name, doc) in later(TOP) {
        let _ = writeln!(text, "#   {name}: {doc}");
    }
    for (name, doc) in later(SERVER) {
        let _ = writeln!(text, "#   servers.NAME.{name}: {doc}");
    }
    text
}

#[cfg(feature = "gateway")]
fn annotate_merged(text: &mut String) {
    text.push_str("\n# [servers.NAME.tool.TOOL]  # how one tool is offered on the merged endpoint\n");
    comment(text, CHANGE);
    text.push_str("\n# [servers.NAME.tools]      # a filter; prompts and resources are like it\n");
    comment(text, FILTER);
    text.push_str("\n# [gateway]                 # the merged endpoint\n");
    comment(text, GATEWAY);
    text.push_str("\n# [profiles.NAME]           # a part of it, at /profiles/NAME/mcp\n");
    comment(text, PROFILE);
}

/// Keys of a table that is not there, with their examples.
fn comment<T>(text: &mut String, keys: &[Key<T>]) {
    for key in keys {
        let _ = writeln!(text, "# # {}\n# {} = {}", key.doc, key.name, key.example);
    }
}

fn annotate<T>(text: &mut String, keys: &[Key<T>]) {
    for key in released(keys) {
        let _ = writeln!(text, "# {}", key.doc);
        if let Kind::Choice(choices) = key.kind {
            for choice in choices.iter().filter(|choice| choice.set.is_some()) {
                let _ = writeln!(text, "#   \"{}\": {}", choice.name, choice.doc);
            }
        }
        if !key.inert.is_empty() {
            let _ = writeln!(text, "# No effect: {}.", key.inert);
        }
        // A required key must be there for the text to be valid.
        let _ = match (key.default, key.name) {
            ("", "cmd") => writeln!(text, "{} = {}", key.name, key.example),
            ("", _) => writeln!(text, "# {} = {}", key.name, key.example),
            (default, _) => writeln!(text, "{} = {default}", key.name),
        };
    }
}

/// `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    text.push_str("\n## Keys at the top of the file\n\n");
    rows(&mut text, TOP);
    #[cfg(feature = "http")]
    {
        text.push_str("\n## Keys of `[http]`\n\n`http = \"127.0.0.1:5151\"` says the address alone.\n\n");
        rows(&mut text, HTTP);
        text.push_str("\n## Keys of `[session]`\n\n");
        rows(&mut text, SESSION);
    }
    text.push_str("\n## Keys of `[servers.NAME]`\n\n");
    rows(&mut text, SERVER);
    text.push_str("\n## Keys of `[servers.NAME.rate_limit]`\n\n");
    rows(&mut text, RATE_LIMIT);
    #[cfg(feature = "sandbox")]
    {
        text.push_str("\n## Keys of `[servers.NAME.sandbox]`\n\n");
        rows(&mut text, SANDBOX);
        text.push_str("\nLinux only. What they mean to the letter, and recipes: [sandbox.md](sandbox.md).\n");
    }
    #[cfg(feature = "gateway")]
    merged(&mut text);
    text.push_str("\n## Words\n");
    words(&mut text, TOP);
    words(&mut text, SERVER);
    #[cfg(feature = "gateway")]
    words(&mut text, GATEWAY);
    text.push_str(LISTS);
    text.push_str(SHARING);
    text.push_str(SEARCH_PATH);
    text.push_str(
        "\n## Keys of later versions\n\nKnown, but refused until a version honours them, so that nobody relies \
         on what does not happen:\n\n",
    );
    for (name, doc) in later(TOP) {
        let _ = writeln!(text, "- `{name}`: {doc}");
    }
    for (name, doc) in later(SERVER) {
        let _ = writeln!(text, "- `servers.NAME.{name}`: {doc}");
    }
    text
}

#[cfg(feature = "gateway")]
fn merged(text: &mut String) {
    text.push_str("\n## Keys of `[gateway]`\n\n");
    rows(text, GATEWAY);
    text.push_str("\n## Keys of `[profiles.NAME]`\n\n");
    rows(text, PROFILE);
    text.push_str("\n## Keys of filters: `tools`, `prompts`, `resources`\n\n");
    rows(text, FILTER);
    text.push_str("\n## Keys of `[servers.NAME.tool.TOOL]`\n\n");
    rows(text, CHANGE);
    text.push_str(MERGED);
}

/// What one line of the table has no room for.
#[cfg(feature = "gateway")]
const MERGED: &str = "
## The merged endpoint

A server's filters and changes go by its own names, those of `[gateway]` and of profiles by the names that clients
see; resources go by URI everywhere. What does not pass is neither listed nor reached by a call. A server's filters hold
wherever it is asked, also at its own socket and URLs; changes of single tools are of the merged endpoint only. A profile
is a part of the gateway: the gateway's filters hold in it, and a server with `gateway = false` is in neither.

A parameter in `hide` is taken out of the tool's schema and out of calls; one in `set` goes to the server with that
value, whatever a client sends. Hide only what the tool does not need, or set it.
";

/// What one line of the table has no room for.
const SEARCH_PATH: &str = "
## Where commands are searched

A program started from a desktop often has the system's PATH only, in which `npx` or `uvx` is not found.
`path = \"login\"`, of one server or at the top for all, asks the login shell (`$SHELL -lc`, else `/bin/sh`)
for its PATH before any server starts; the answer finds `cmd` and is the server's PATH. `path =
\"~/bin:/usr/bin:/bin\"` says it outright: full paths, `~` is expanded. A PATH in the server's `env` goes
before both.

The shell has 5 seconds. Without an answer a warning says why, and muxloop's own PATH holds. A known answer is
kept until muxloop is started again; a reload asks only if there is none and a server wants one. All clients
wait for that, so the shell has 1 second then; with the answer, servers that lacked it restart. A change in a
profile takes effect when muxloop is started again.
";

/// What is answered without asking a server.
const LISTS: &str = "
## Lists that are known

A shared server is asked for its tools, prompts and resources once, and again after it says that they changed
(`list_changed`, or its `ttlMs` is over); one that announces no changes is asked each time. Several clients that ask for
the same at the same time share one answer. A server that rests (`lazy_start`, `idle_stop_ms`) is not started for
`initialize` and lists that are known, and one that is down gives its last good lists. When it runs again after a rest
it is asked whether they still hold; clients hear `list_changed` if not.

What is known outlasts muxloop, in `$XDG_CACHE_HOME/muxloop/lists` or `~/.cache/muxloop/lists`: a file per command,
arguments, folder and environment, which only you can read. It may be deleted at any time. `no_cache = true` keeps
nothing of a server and has each request for a list go to it. `muxloop record` neither reads nor writes these files.
";

/// What the words of `share` mean to the letter.
const SHARING: &str = "
## Who shares a process

With `share = \"shared\"` all clients have one process and muxloop keeps them apart. With `\"session\"` each client
has one that starts with its first request and ends when it leaves; everything passes through.

With `\"request\"` each request has a process that is greeted in the words of its client's `initialize`, asked, and
stopped with the answer, a cancel, or its client. Answers, progress, log lines and questions during a request reach its
client only; the client's log level is set before each request. A client has at most `max_in_flight_per_client` of these
processes, those that are stopping included; more requests wait. `initialize`, `server/discover` and `logging/setLevel`
are answered from the newest handshake, so the first of them starts a process and later ones do not; `ping` never does.
What a process that ends cannot do is left out of the handshake and refused: resource subscriptions and tasks (-32601,
a call that asks for a task -32602). A `subscriptions/listen` is acknowledged with nothing.

`spare = N` starts N processes before they are needed, with muxloop or, if `lazy_start`, after the first client. A
client, or a request, takes the oldest; another one is started 20 ms later. A spare is told nothing before it is taken,
so what it hides is its start, not its handshake. It is no client, is neither pinged nor stopped as idle, and is started
again like any process if it ends. A reload that changes `spare` only restarts nothing.
";

fn rows<T>(text: &mut String, keys: &[Key<T>]) {
    text.push_str("| key | type | default | example | |\n|---|---|---|---|---|\n");
    for key in released(keys) {
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let inert = if key.inert.is_empty() { String::new() } else { format!(" No effect: {}.", key.inert) };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | `{}` | {}{inert} |",
            key.name,
            type_name(&key.kind),
            key.example,
            key.doc
        );
    }
}

fn words<T>(text: &mut String, keys: &[Key<T>]) {
    for key in released(keys) {
        // A server's log level has the words of the whole program's.
        if let (Kind::Choice(choices), false) = (&key.kind, key.name == "log_level" && key.default.is_empty())
        {
            let _ = writeln!(text, "\n`{}`:\n", key.name);
            for choice in choices.iter().filter(|choice| choice.set.is_some()) {
                let _ = writeln!(text, "- `{}`: {}", choice.name, choice.doc);
            }
        }
    }
}

fn type_name<T>(kind: &Kind<T>) -> String {
    match kind {
        Kind::Flag(_) => "flag".to_owned(),
        Kind::Integer { min, max, .. } => format!("integer, {min} to {max}"),
        Kind::Text(_) => "string".to_owned(),
        Kind::Path(_) => "path".to_owned(),
        Kind::Texts(_) => "strings".to_owned(),
        Kind::Variables(_) => "table of strings".to_owned(),
        Kind::Choice(_) => "word".to_owned(),
        Kind::Roots(_) => "URIs or tables".to_owned(),
        #[cfg(feature = "sandbox")]
        Kind::Paths(_) => "full paths".to_owned(),
        #[cfg(feature = "sandbox")]
        Kind::Bytes { .. } => "bytes".to_owned(),
        #[cfg(feature = "sandbox")]
        Kind::Sandbox(_) => "table".to_owned(),
        Kind::Rate(_) => "rate".to_owned(),
        Kind::RateLimit(_) => "table".to_owned(),
        #[cfg(feature = "http")]
        Kind::Addresses(_) => "address".to_owned(),
        #[cfg(feature = "http")]
        Kind::Http(_) => "address or table".to_owned(),
        #[cfg(feature = "http")]
        Kind::Session(_) => "table".to_owned(),
        #[cfg(feature = "gateway")]
        Kind::Filter(_) => "filter".to_owned(),
        Kind::Own { word, .. } => (*word).to_owned(),
        Kind::Later(_) => String::new(),
    }
}

fn released<T>(keys: &[Key<T>]) -> impl Iterator<Item = &Key<T>> {
    keys.iter().filter(|key| !matches!(key.kind, Kind::Later(_)))
}

fn later<T>(keys: &[Key<T>]) -> impl Iterator<Item = (&'static str, &'static str)> {
    keys.iter().filter(|key| matches!(key.kind, Kind::Later(_))).map(|key| (key.name, key.doc))
}

const INTRODUCTION: &str = "\
<!-- Made from the table in src/config/keys.rs: `MUXLOOP_WRITE_DOCS=1 cargo test docs_` writes it. -->

# Configuration

muxloop reads one file: the one of `-c FILE` (or `MUXLOOP_CONFIG`), else the first that exists of `./mux.toml`,
`./mux.json`, `./mux.jsonc`, the same in `~/.config/muxloop` (`$XDG_CONFIG_HOME` is honoured) and
`~/.codex/mcp-mux.toml`, where rmcp-mux's wizard writes. It is TOML as below, or a [file of a host](#files-of-hosts).
An rmcp-mux file runs unchanged.

```toml
[servers.memory]
cmd = \"npx\"
args = [\"-y\", \"@modelcontextprotocol/server-memory\"]
socket = \"~/mcp-sockets/memory.sock\"
```

`muxloop check` finds every mistake in a file without starting anything; `muxloop help config` prints these keys as an
annotated file. Unknown keys are errors. Times are in milliseconds. `~` and `~/…` in paths are the home directory. A name
is any text without `/` and control characters, with HTTP only letters, digits, `-`, `_`, `.` and `~`; two servers cannot
have one socket. Values of `env` are never shown.

## Variables

In every text, `${NAME}` and `${env:NAME}` are replaced by a variable of muxloop's environment, `${NAME:-text}` by the
text if it is not set or empty. A variable that is not set is an error. `$${` is a literal `${`; any other dollar is only
that. A reload replaces them anew. Errors show the text as it is in the file; of what a variable holds, only paths and
programs are shown.

## Files of hosts

A JSON file of a host is read as it is, and never written: an object `mcpServers` (VS Code: `servers`, Zed:
`context_servers`) with `command`, `args`, `env`, `cwd`, `type`, `enabled` and `disabled` of each server. Comments and
commas at the end of lists are fine. The beginning of the text tells the format, the name of the file only where that
leaves it open. What else the file has is ignored with a warning. So is a server with a `url`: remote servers are not
supported yet. All other settings of muxloop have their defaults; for others write a mux.toml.

```json
{ \"mcpServers\": { \"memory\": { \"command\": \"npx\", \"args\": [\"-y\", \"@modelcontextprotocol/server-memory\"] } } }
```

## Order

A value on the command line wins over its variable, that over the file, the file over the default. Every option has a
variable ([environment.md](environment.md)). `RUST_LOG` is a filter of log lines in the syntax of env_logger
(`info,server::memory=debug`), if neither an option nor `MUXLOOP_LOG` sets a level.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Surroundings};

    #[test]
    fn the_annotated_file_is_a_valid_configuration_with_every_default() {
        let surroundings = Surroundings { home: Some("/home/ana".into()), ..Default::default() };
        let of = |text: &str| Config::parse("help", text.as_bytes(), &surroundings).unwrap();
        let annotated = of(&annotated());
        assert_eq!(annotated.warnings, []);
        let mut expected = of("log_level='info'\nlog_format='text'\n[servers.NAME]\ncmd='npx'\n").config;
        expected.path = annotated.config.path.clone();
        assert_eq!(annotated.config, expected);
    }

    #[test]
    fn lines_fit_a_terminal() {
        let text = annotated();
        let long = text.lines().find(|line| line.chars().count() > 90);
        assert_eq!(long, None);
    }

    // A smaller build has fewer keys.
    #[test]
    #[cfg(all(feature = "gateway", feature = "sandbox"))]
    fn docs_are_in_step_with_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("MUXLOOP_WRITE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(
            written,
            markdown(),
            "docs/configuration.md is stale: MUXLOOP_WRITE_DOCS=1 cargo test docs_"
        );
    }
}
