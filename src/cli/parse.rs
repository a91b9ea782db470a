//! From command line and environment to an [`Invocation`], along the table.
//!
//! A value comes from the option, else from its `MUXLOOP_…` variable; files and defaults come later.

use super::check::CheckOptions;
use super::daemon;
use super::invocation::{DoctorOptions, ExposeOptions, Invocation, ProxyOptions, RunOptions, Transport};
use super::table::{self, Command, DEFAULT_COMMAND, EXPOSE, PROXY_SUFFIX, Words};
use super::values::Values;
use super::{complete, help, man, serve};
use crate::client::verbs::Verb;
use crate::client::{Command as Ask, FollowOptions, HealthOptions, Target, What, status};
use crate::config::nearest::{nearest, suggestion};
use crate::config::{LogFormat, reference};
use lexopt::Arg;
use log::LevelFilter;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Understands a command line (`args`, with the program's name first).
///
/// # Errors
/// What is wrong and how it was meant, in one or two lines for a person; the exit code is 2.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, String> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let program = if args.is_empty() { OsString::new() } else { args.remove(0) };
    let (command, rest) = choose(&program, &args)?;
    if command.passes_through {
        return Ok(Invocation::DemoServer(rest.to_vec()));
    }
    match read(command, rest, env) {
        // `muxloop --help`, without a word: the whole program.
        Ok(Read::Help) if rest.len() == args.len() && command.name == DEFAULT_COMMAND => {
            Ok(Invocation::Print(help::overview()))
        }
        Ok(Read::Help) => Ok(Invocation::Print(help::of(command))),
        Ok(Read::Version) => Ok(Invocation::Print(version())),
        Ok(Read::Values(values)) => invocation(command, values),
        Err(error) => Err(error),
    }
    .map_err(|error| match command.name {
        DEFAULT_COMMAND => format!("{error}\nTry 'muxloop --help'."),
        name => format!("{name}: {error}\nTry 'muxloop {name} --help'."),
    })
}

/// The command and its arguments: a program called `…-proxy` is the proxy, a first word names a command,
/// and without one the servers run.
fn choose<'a>(program: &OsStr, args: &'a [OsString]) -> Result<(&'static Command, &'a [OsString]), String> {
    let named = |name: &str| table::command(name).ok_or_else(|| unknown_command(name));
    let program = Path::new(program).file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    if program.ends_with(PROXY_SUFFIX) {
        return Ok((named("proxy")?, args));
    }
    match args.first().map(|word| word.to_string_lossy()) {
        Some(word) if word == "proxy" && args[1..].iter().any(is_stdio) => Ok((named(EXPOSE)?, &args[1..])),
        Some(word) if !word.starts_with('-') => Ok((named(&word)?, &args[1..])),
        _ => Ok((named(DEFAULT_COMMAND)?, args)),
    }
}

/// `--stdio`: the proxy from HTTP to a server, not the shim.
fn is_stdio(arg: &OsString) -> bool {
    arg.to_str().is_some_and(|arg| arg == "--stdio" || arg.starts_with("--stdio="))
}

fn unknown_command(name: &str) -> String {
    let near = match name.ends_with(".toml") || name.contains('/') {
        true => format!("; did you mean 'muxloop -c {name}'?"),
        false => suggestion(name, table::COMMANDS.iter().map(|command| command.name)),
    };
    format!("unknown command '{name}'{near}\nTry 'muxloop --help'.")
}

/// What an argument list says.
enum Read {
    Help,
    Version,
    Values(Values),
}

fn read(
    command: &'static Command,
    args: &[OsString],
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Read, String> {
    let mut values = Values::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        let is_long = matches!(arg, Arg::Long(_));
        let opt = match arg {
            Arg::Short(short) => table::options(command).find(|opt| opt.short == Some(short)),
            Arg::Long(long) => table::options(command).find(|opt| opt.is_called(long)),
            Arg::Value(ref word) if command.operand.is_some() && values.operand.is_none() => {
                values.operand = Some(word.clone());
                // What follows a program's name is the program's.
                if takes_program(command) {
                    values.more.extend(parser.raw_args().map_err(|error| error.to_string())?);
                }
                continue;
            }
            Arg::Value(ref word) if takes_many(command) => {
                values.more.push(word.clone());
                continue;
            }
            Arg::Value(_) => None,
        };
        let Some(opt) = opt else { return Err(unexpected(command, &arg)) };
        match opt.long {
            "help" => return Ok(Read::Help),
            "version" => return Ok(Read::Version),
            // `--json` or, against a variable, `--json=false`; after a `-v` may come another short one.
            long if opt.value.is_empty() => {
                let value = if is_long { parser.optional_value() } else { None };
                values.give(opt, format!("--{long}"), value.unwrap_or_default());
            }
            long => {
                let missing = |_| format!("--{long} expects a value: --{long} {}", opt.value);
                values.give(opt, format!("--{long}"), parser.value().map_err(missing)?);
            }
        }
    }
    for opt in command.options {
        if let (false, Some(value)) = (opt.env.is_empty(), env(opt.env)) {
            values.stand_in(opt, value);
        }
        if opt.required && !values.has(opt.long) {
            return Err(format!("--{} {} is missing (or ${})", opt.long, opt.value, opt.env));
        }
    }
    Ok(Read::Values(values))
}

fn takes_many(command: &Command) -> bool {
    command.operand.as_ref().is_some_and(|operand| matches!(operand.words, Words::Servers))
}

fn takes_program(command: &Command) -> bool {
    command.operand.as_ref().is_some_and(|operand| matches!(operand.words, Words::Program))
}

fn unexpected(command: &'static Command, arg: &Arg<'_>) -> String {
    match arg {
        Arg::Short(short) => format!("unknown option '-{short}'"),
        Arg::Long(long) => {
            let near = nearest(long, table::options(command).map(|opt| opt.long));
            let near = near.map_or(String::new(), |near| format!("; did you mean '--{near}'?"));
            format!("unknown option '--{long}'{near}")
        }
        Arg::Value(word) => {
            let word = word.to_string_lossy();
            let hint = if table::command(&word).is_some() { "; a command comes first" } else { "" };
            format!("unexpected argument '{word}'{hint}")
        }
    }
}

fn invocation(command: &'static Command, mut values: Values) -> Result<Invocation, String> {
    let file = match &command.operand {
        Some(operand) if matches!(operand.words, Words::Path) => Some(path(operand, values.operand.take())?),
        Some(operand) if matches!(operand.words, Words::Program) => {
            let command = program(operand, &mut values)?;
            return Ok(Invocation::Daemon(daemon::options(&values, command)?));
        }
        _ => None,
    };
    let operand = operand(command, values.operand.take())?;
    match command.name {
        "run" if values.flag("status")? => {
            Ok(Invocation::Client(Ask::Status(target(&values), Default::default())))
        }
        "run" if values.has("restart-service") => {
            let name = values.text("restart-service")?.unwrap_or_default();
            Ok(Invocation::Client(Ask::Verb(target(&values), Verb::Restart(name))))
        }
        "connect" => Ok(Invocation::Connect(serve::connect(&values)?)),
        "run" | "record" | "serve" => Ok(Invocation::Run(RunOptions {
            config: values.path("config"),
            control: values.path("control"),
            http: values.text("http")?,
            insecure_listen: values.flag("insecure-listen")?,
            only: values.names("only")?,
            except: values.names("except")?,
            level: level(&values)?,
            serve: if command.name == "serve" { Some(serve::options(&values)?) } else { None },
            format: values.word("log-format")?.map(|word| match word {
                "json" => LogFormat::Json,
                _ => LogFormat::Text,
            }),
            tui: values.flag("tui")?,
            record: file,
        })),
        "replay" => Ok(Invocation::Replay(file.unwrap_or_default())),
        "tui" => Ok(Invocation::Tui(target(&values))),
        "proxy" => Ok(Invocation::Proxy(ProxyOptions {
            socket: values.path("socket").unwrap_or_default(),
            wait_ms: values.milliseconds("wait")?.unwrap_or(0),
        })),
        "expose" => Ok(Invocation::Expose(expose(&values)?)),
        "status" => {
            let options =
                status::Options { server: operand, json: values.flag("json")?, watch: values.flag("watch")? };
            Ok(Invocation::Client(Ask::Status(target(&values), options)))
        }
        "start" | "stop" | "restart" | "reload" | "drain" | "shutdown" => {
            let name = operand.unwrap_or_default();
            let verb = match command.name {
                "start" => Verb::Start(name),
                "stop" => Verb::Stop(name),
                "restart" => Verb::Restart(name),
                "reload" => Verb::Reload,
                "drain" => Verb::Drain { timeout_ms: values.milliseconds("timeout")?.unwrap_or(DRAIN_MS) },
                _ => Verb::Shutdown,
            };
            Ok(Invocation::Client(Ask::Verb(target(&values), verb)))
        }
        "logs" => {
            let what = What::Logs {
                server: operand,
                lines: values.number("lines", 0..=1000)?.unwrap_or(100),
                follow: values.flag("follow")?,
            };
            Ok(Invocation::Client(Ask::Follow(
                target(&values),
                FollowOptions { what, json: values.flag("json")? },
            )))
        }
        "tap" => {
            let what = What::Tap { server: operand.unwrap_or_default() };
            Ok(Invocation::Client(Ask::Follow(
                target(&values),
                FollowOptions { what, json: values.flag("json")? },
            )))
        }
        "health" => Ok(Invocation::Client(Ask::Health(HealthOptions {
            socket: values.path("socket"),
            config: values.path("config"),
            service: values.text("service")?,
            timeout_ms: values.milliseconds("timeout")?.unwrap_or(HEALTH_MS),
        }))),
        "doctor" => Ok(Invocation::Doctor(DoctorOptions {
            config: values.path("config"),
            servers: operand
                .into_iter()
                .chain(values.more.iter().map(|name| name.to_string_lossy().into_owned()))
                .collect(),
            json: values.flag("json")?,
            timeout_ms: values.number("timeout", 1..=3600)?.unwrap_or(DOCTOR_S) * 1000,
        })),
        "check" => {
            Ok(Invocation::Check(CheckOptions { config: values.path("config"), json: values.flag("json")? }))
        }
        "completions" => Ok(Invocation::Print(complete::script(operand.as_deref().unwrap_or_default()))),
        "version" => Ok(Invocation::Print(version())),
        "help" if values.flag("man")? => Ok(Invocation::Print(man::page())),
        "help" => Ok(Invocation::Print(match operand.as_deref() {
            None => help::overview(),
            Some("config") => reference::annotated(),
            Some(name) => table::command(name).map(help::of).ok_or_else(|| unknown_command(name))?,
        })),
        other => unreachable!("a command of the table without an invocation: {other}"),
    }
}

/// Which running muxloop is meant.
fn target(values: &Values) -> Target {
    Target { config: values.path("config"), control: values.path("control") }
}

/// `muxloop 0.1.0`.
fn version() -> String {
    concat!("muxloop ", env!("CARGO_PKG_VERSION"), "\n").to_owned()
}

/// A file's name, which need not be text.
fn path(operand: &table::Operand, given: Option<OsString>) -> Result<PathBuf, String> {
    let given = given.filter(|path| !path.is_empty());
    given.map(PathBuf::from).ok_or_else(|| format!("{} is missing, expected a file", operand.name))
}

/// A program and its arguments, which have to be text.
fn program(operand: &table::Operand, values: &mut Values) -> Result<Vec<String>, String> {
    let words = values.operand.take().into_iter().chain(std::mem::take(&mut values.more));
    let words: Result<Vec<String>, _> = words.map(OsString::into_string).collect();
    let words = words.map_err(|word| format!("'{}' is not valid UTF-8", word.to_string_lossy()))?;
    match words.first().is_some_and(|program| !program.is_empty()) {
        true => Ok(words),
        false => Err(format!("{0} is missing, expected -- {0}...", operand.name)),
    }
}

fn operand(command: &'static Command, given: Option<OsString>) -> Result<Option<String>, String> {
    let Some(operand) = &command.operand else { return Ok(None) };
    if matches!(operand.words, Words::Path) {
        return Ok(None);
    }
    let words = table::operand_words(operand);
    let expected = || format!("expected one of: {}", words.join(", "));
    let is_server = matches!(operand.words, Words::Server | Words::Servers);
    let Some(given) = given else {
        return match operand.required {
            true if is_server => Err(format!("{} is missing, expected the name of a server", operand.name)),
            true => Err(format!("{} is missing, {}", operand.name, expected())),
            false => Ok(None),
        };
    };
    let word = given.to_string_lossy().into_owned();
    if is_server {
        return Ok(Some(word));
    }
    let is_alias = matches!(operand.words, Words::Commands) && table::command(&word).is_some();
    match words.contains(&word.as_str()) || is_alias {
        true => Ok(Some(word)),
        false => {
            let near = suggestion(&word, words.iter().copied());
            Err(format!("unknown {} '{word}', {}{near}", operand.name, expected()))
        }
    }
}

/// `--log-level`, else `-v` and `-vv`, else the environment's level, else its `-v`.
fn expose(values: &Values) -> Result<ExposeOptions, String> {
    let path = |long: &str, default: &str| -> Result<String, String> {
        match values.text(long)? {
            None => Ok(default.to_owned()),
            Some(path) => Ok(format!("/{}", path.trim_start_matches('/'))),
        }
    };
    let (cors, no_cors) = (values.flag("cors")?, values.flag("no-cors")?);
    let transport = match values.word("outputTransport")? {
        Some("streamableHttp") => Transport::StreamableHttp,
        _ => Transport::Sse,
    };
    let stateful = values.flag("stateful")?;
    // Without one, every request waits for the start of a process.
    let spare = u64::from(transport == Transport::StreamableHttp && !stateful);
    Ok(ExposeOptions {
        stdio: values.text("stdio")?.unwrap_or_default(),
        transport,
        port: values.text("port")?.unwrap_or_else(|| "8000".to_owned()),
        base_path: path("basePath", "")?,
        sse_path: path("ssePath", "/sse")?,
        message_path: path("messagePath", "/message")?,
        streamable_http_path: path("streamableHttpPath", "/mcp")?,
        stateful,
        spare: values.number("spare", 0..=16)?.unwrap_or(spare) as usize,
        session_timeout_ms: values.milliseconds("sessionTimeout")?.unwrap_or(60_000).max(1),
        health_endpoint: path("healthEndpoint", "/health")?,
        cors: if no_cors { Some(false) } else { cors.then_some(true) },
        max_restarts: values.number("maxRestarts", 0..=1_000)?.unwrap_or(3) as u32,
        insecure_listen: values.flag("insecure-listen")?,
        level: level(values)?,
    })
}

pub(super) fn level(values: &Values) -> Result<Option<LevelFilter>, String> {
    let is_overruled = values.is_given("verbose") && !values.is_given("log-level");
    if values.has("log-level") && !is_overruled {
        return Ok(values.word("log-level")?.and_then(|word| word.parse().ok()));
    }
    Ok(match values.count("verbose")? {
        0 => None,
        1 => Some(LevelFilter::Debug),
        _ => Some(LevelFilter::Trace),
    })
}

/// The daemon's own default (`docs/control.md`).
const DRAIN_MS: u64 = 30_000;
/// As long as the daemon waits for a handshake.
const DOCTOR_S: u64 = 60;
/// Enough for most servers to be started first.
const HEALTH_MS: u64 = 10_000;

#[cfg(test)]
mod tests;
