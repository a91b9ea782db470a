//! Options of `muxloop demo-server`: one table that parses and prints the help.
//!
//! Leaves what an option does to the module that has it; see [`Faults`] for the ways to misbehave.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The MCP server.
    Server,
    /// The echo for benchmarks.
    BenchEcho,
    /// A grandchild that ignores the end of stdin and SIGTERM.
    Sleeper,
    /// A server whose stdout is closed: it reads stdin to its end and says nothing.
    Mute,
}

/// Which eras the server speaks (protocol.md §1.2, §3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EraChoice {
    Auto,
    Legacy,
    LegacyExit,
    Modern,
    Both,
}

/// Ways to misbehave. `*_after` count received requests of every method, `initialize` included.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub noise: bool,
    pub crlf: bool,
    pub slow_start: Duration,
    pub slow_answer: Duration,
    pub die_after: Option<u64>,
    pub die_at_start: Option<u8>,
    pub hang_after: Option<u64>,
    pub hang_initialize: bool,
    pub no_ping: bool,
    pub ignore_ping: bool,
    pub close_stdout_after: Option<u64>,
    pub ignore_term: bool,
    pub spawn_grandchild: bool,
    pub setsid: bool,
    /// Lines of 100 bytes.
    pub stderr_flood: u64,
    /// Bytes of the one giant line, newline not counted.
    pub giant_line: Option<usize>,
    pub invalid_utf8: bool,
    pub duplicate_answers: bool,
    pub answer_unknown: bool,
    pub garbage_json: bool,
    pub no_answer: Vec<String>,
    pub refuse: Vec<String>,
    /// Method and result.
    pub answers: Vec<(String, serde_json::Value)>,
    pub asks_unprompted: bool,
    pub batch: bool,
}

/// Everything the command line says.
#[derive(Debug, Clone)]
pub struct Options {
    pub role: Role,
    pub era: EraChoice,
    pub name: String,
    pub instructions: Option<String>,
    pub page_size: Option<usize>,
    pub journal: Option<PathBuf>,
    pub exit_on_eof: bool,
    /// How long a process lives that nobody can ask to end; bounds what a failed test leaves behind.
    pub lifetime: Duration,
    pub faults: Faults,
}

/// The outcome of [`parse`].
pub enum Parsed {
    Run(Box<Options>),
    Help,
}

/// Reads the arguments after `demo-server`. The error is one line for a person.
pub fn parse(args: Vec<OsString>) -> Result<Parsed, String> {
    let mut options = Options {
        role: Role::Server,
        era: EraChoice::Auto,
        name: "muxloop-demo".to_owned(),
        instructions: None,
        page_size: None,
        journal: None,
        exit_on_eof: true,
        lifetime: Duration::from_secs(600),
        faults: Faults::default(),
    };
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        let name = match arg {
            lexopt::Arg::Short('h') => return Ok(Parsed::Help),
            lexopt::Arg::Long("help") => return Ok(Parsed::Help),
            lexopt::Arg::Long(name) => name.to_owned(),
            other => return Err(other.unexpected().to_string()),
        };
        let Some(option) = TABLE.iter().find(|option| option.name == name) else {
            return Err(format!("unknown option --{name}"));
        };
        let value = match option.value {
            "" => OsString::new(),
            _ => parser.value().map_err(|error| error.to_string())?,
        };
        (option.set)(&mut options, Argument(value))
            .map_err(|expected| format!("--{name} expects {expected}"))?;
    }
    Ok(Parsed::Run(Box::new(options)))
}

/// The text of `--help`, from the same table.
pub fn help() -> String {
    let mut text = String::from(HELP_HEAD);
    for option in TABLE {
        if option.name == FIRST_FAULT {
            text.push_str("\nFaults (N counts received requests, `initialize` included):\n");
        }
        let left = format!("--{} {}", option.name, option.value);
        text.push_str(&format!("  {:<26}{}\n", left.trim_end(), option.help));
    }
    text
}

/// The value of one option, still as the shell gave it.
struct Argument(OsString);

type Set = Result<(), &'static str>;

impl Argument {
    fn text(self) -> Result<String, &'static str> {
        self.0.into_string().map_err(|_| "UTF-8 text")
    }

    fn number<T: std::str::FromStr>(self) -> Result<T, &'static str> {
        self.text()?.parse().map_err(|_| "a whole number in range")
    }

    fn millis(self) -> Result<Duration, &'static str> {
        self.number().map(Duration::from_millis)
    }
}

struct Opt {
    name: &'static str,
    /// What its value is called; empty for a flag.
    value: &'static str,
    help: &'static str,
    set: fn(&mut Options, Argument) -> Set,
}

/// A row for an option with a value.
const fn opt(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    set: fn(&mut Options, Argument) -> Set,
) -> Opt {
    Opt { name, value, help, set }
}

fn set_era(options: &mut Options, value: Argument) -> Set {
    options.era = match value.text()?.as_str() {
        "auto" => EraChoice::Auto,
        "legacy" => EraChoice::Legacy,
        "legacy-exit" => EraChoice::LegacyExit,
        "modern" => EraChoice::Modern,
        "both" => EraChoice::Both,
        _ => return Err("auto, legacy, legacy-exit, modern or both"),
    };
    Ok(())
}

fn set_role(options: &mut Options, value: Argument) -> Set {
    options.role = match value.text()?.as_str() {
        "server" => Role::Server,
        "sleeper" => Role::Sleeper,
        "mute" => Role::Mute,
        _ => return Err("server, sleeper or mute"),
    };
    Ok(())
}

fn set_exit_on_eof(options: &mut Options, value: Argument) -> Set {
    options.exit_on_eof = match value.text()?.as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err("yes or no"),
    };
    Ok(())
}

fn set_page_size(options: &mut Options, value: Argument) -> Set {
    match value.number()? {
        0 => Err("a page size of at least 1"),
        size => {
            options.page_size = Some(size);
            Ok(())
        }
    }
}

fn set_answer(options: &mut Options, value: Argument) -> Set {
    let text = value.text()?;
    let (method, result) = text.split_once('=').ok_or("METHOD=JSON")?;
    let result = serde_json::from_str(result).map_err(|_| "JSON after METHOD=")?;
    options.faults.answers.push((method.to_owned(), result));
    Ok(())
}

/// A row whose setter is a short expression over the options and the value.
macro_rules! opt {
    ($name:literal, $help:literal, |$o:ident| $set:expr) => {
        opt($name, "", $help, |$o, _| {
            $set;
            Ok(())
        })
    };
    ($name:literal $value:literal, $help:literal, |$o:ident, $v:ident| $set:expr) => {
        opt($name, $value, $help, |$o, $v| {
            $set;
            Ok(())
        })
    };
}

const HELP_HEAD: &str = "\
muxloop demo-server: an MCP server over stdio, to try muxloop with and to test it against

Usage: muxloop demo-server [OPTION]...

Tools: echo, add, sleep, ask, interview, elicit_url, log, big, content, measure, whoami, journal, crash,
       counter_add, add_tool, task, task_only.
Resources: demo://counter, demo://asked, demo://text/{name}. Prompts: greet, survey.

Options:
  --help                    print this text
";

const FIRST_FAULT: &str = "noise";

static TABLE: &[Opt] = &[
    opt(
        "era",
        "ERA",
        "auto (default: by the first message), legacy, modern, both, legacy-exit (exits if probed)",
        set_era,
    ),
    opt("role", "ROLE", "server (default), sleeper or mute: used by this program itself", set_role),
    opt!("name" "NAME", "name in serverInfo (default muxloop-demo)", |o, v| o.name = v.text()?),
    opt!("instructions" "TEXT", "instructions for the model", |o, v| o.instructions = Some(v.text()?)),
    opt("page-size", "N", "split tools/list into pages of N tools", set_page_size),
    opt!("journal" "FILE", "append every received line to FILE, at once", |o, v| o.journal = Some(v.0.into())),
    opt("exit-on-eof", "yes|no", "no: stay when stdin ends (default yes)", set_exit_on_eof),
    opt!("lifetime" "MS", "longest life of a sleeper or of a server that ignores signals (600000)", |o, v| {
        o.lifetime = v.millis()?
    }),
    opt!("bench-echo", "only echo, as fast as can be: for benchmarks, ignores all other options", |o| {
        o.role = Role::BenchEcho
    }),
    opt!("noise", "lines that are not JSON around every message", |o| o.faults.noise = true),
    opt!("garbage-json", "broken or foreign JSON after every message, six kinds in turn", |o| {
        o.faults.garbage_json = true
    }),
    opt!("invalid-utf8", "a message with bytes that are not UTF-8 after every message", |o| {
        o.faults.invalid_utf8 = true
    }),
    opt!("crlf", "end lines with CR LF", |o| o.faults.crlf = true),
    opt!("giant-line" "BYTES", "after the first request one notification of so many bytes", |o, v| {
        o.faults.giant_line = Some(v.number()?)
    }),
    opt!("batch", "write messages in arrays (2025-03-26), the handshake excepted", |o| o.faults.batch = true),
    opt!("duplicate-answers", "write every response twice", |o| o.faults.duplicate_answers = true),
    opt!("answer-unknown", "after every response, responses to ids that nobody used", |o| {
        o.faults.answer_unknown = true
    }),
    opt!("asks-unprompted", "sampling/createMessage while no request is in flight", |o| {
        o.faults.asks_unprompted = true
    }),
    opt!("no-answer" "METHOD", "take requests of METHOD and never answer (repeatable)", |o, v| {
        o.faults.no_answer.push(v.text()?)
    }),
    opt!("refuse" "METHOD", "answer METHOD with -32601 (repeatable)", |o, v| {
        o.faults.refuse.push(v.text()?)
    }),
    opt("answer", "METHOD=JSON", "answer METHOD with this as the whole result (repeatable)", set_answer),
    opt!("no-ping", "answer ping with -32601", |o| o.faults.no_ping = true),
    opt!("ignore-ping", "never answer ping", |o| o.faults.ignore_ping = true),
    opt!("hang-initialize", "never answer initialize or server/discover", |o| {
        o.faults.hang_initialize = true
    }),
    opt!("hang-after" "N", "after N requests stop reading and answering, and live on", |o, v| {
        o.faults.hang_after = Some(v.number()?)
    }),
    opt!("slow-start" "MS", "wait before reading anything", |o, v| o.faults.slow_start = v.millis()?),
    opt!("slow-answer" "MS", "delay every response; requests still run side by side", |o, v| {
        o.faults.slow_answer = v.millis()?
    }),
    opt!("die-at-start" "CODE", "exit at once with CODE", |o, v| o.faults.die_at_start = Some(v.number()?)),
    opt!("die-after" "N", "exit with code 1 after N requests", |o, v| o.faults.die_after = Some(v.number()?)),
    opt!("close-stdout-after" "N", "after N requests close stdout and read on in silence", |o, v| {
        o.faults.close_stdout_after = Some(v.number()?)
    }),
    opt!("ignore-term", "ignore SIGTERM and the end of stdin", |o| {
        o.faults.ignore_term = true;
        o.exit_on_eof = false
    }),
    opt!("spawn-grandchild", "start a sleeper that inherits stdio and ignores SIGTERM", |o| {
        o.faults.spawn_grandchild = true
    }),
    opt!("setsid", "the grandchild gets a session of its own", |o| o.faults.setsid = true),
    opt!("stderr-flood" "N", "write N lines of 100 bytes to stderr before reading anything", |o, v| {
        o.faults.stderr_flood = v.number()?
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, String> {
        match parse(args.iter().map(OsString::from).collect())? {
            Parsed::Run(options) => Ok(*options),
            Parsed::Help => Err("help".to_owned()),
        }
    }

    #[test]
    fn options_and_faults_are_read() {
        let options = parsed(&[
            "--era",
            "both",
            "--slow-answer=250",
            "--no-answer",
            "ping",
            "--no-answer=x",
            "--ignore-term",
        ])
        .expect("valid");
        assert_eq!(options.era, EraChoice::Both);
        assert_eq!(options.faults.slow_answer, Duration::from_millis(250));
        assert_eq!(options.faults.no_answer, ["ping", "x"]);
        assert!(!options.exit_on_eof);
    }

    #[test]
    fn wrong_options_say_what_was_expected() {
        let error = |args: &[&str]| parsed(args).expect_err("invalid");
        assert_eq!(error(&["--nois"]), "unknown option --nois");
        assert_eq!(error(&["--die-after", "soon"]), "--die-after expects a whole number in range");
        assert_eq!(error(&["--page-size", "0"]), "--page-size expects a page size of at least 1");
        assert!(error(&["--era", "stone"]).contains("legacy-exit"));
        assert!(error(&["--era"]).contains("missing argument"));
        assert_eq!(error(&["--answer", "ping"]), "--answer expects METHOD=JSON");
        assert_eq!(error(&["--answer", "ping={"]), "--answer expects JSON after METHOD=");
        assert!(error(&["--noise=1"]).contains("unexpected argument"));
        assert!(error(&["stray"]).contains("stray"));
    }

    #[test]
    fn help_names_every_option() {
        let help = help();
        for option in TABLE {
            assert!(help.contains(&format!("  --{}", option.name)), "{} is missing", option.name);
        }
        assert!(help.lines().all(|line| line.chars().count() <= 120), "a line is too wide");
    }
}
