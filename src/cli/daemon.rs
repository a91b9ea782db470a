//! The options of `muxloop daemon`, in final types.

use super::values::Values;
use crate::shared::{Options, What};

/// What the command line says, for a command (the program and its arguments).
///
/// # Errors
/// One line for a person.
pub(super) fn options(values: &Values, command: Vec<String>) -> Result<Options, String> {
    let ready_path = match values.text("ready-path")? {
        Some(path) => format!("/{}", path.trim_start_matches('/')),
        None => String::new(),
    };
    if ready_path.contains(|c: char| c.is_control() || c == ' ') {
        return Err(format!("--ready-path is '{ready_path}', expected a path without spaces"));
    }
    let host = values.text("host")?.unwrap_or_else(|| "127.0.0.1".to_owned());
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host).to_owned();
    let (stdin_life, no_stdin_life) = (values.flag("stdin-life")?, values.flag("no-stdin-life")?);
    Ok(Options {
        what: What {
            host,
            port: values.number("port", 1..=65_535)?.unwrap_or(47_127) as u16,
            command,
            idle_exit_ms: values.milliseconds("idle-exit")?.unwrap_or(1_000),
            stop_grace_ms: values.milliseconds("stop-grace")?.unwrap_or(5_000),
            ready_timeout_ms: values.milliseconds("ready-timeout")?.unwrap_or(60_000),
            ready_path,
            restarts_max: values.number("max-restarts", 0..=1_000)?.unwrap_or(3) as u32,
        },
        directory: values.text("dir")?,
        stdin_life: if no_stdin_life { Some(false) } else { stdin_life.then_some(true) },
        json: values.flag("json")?,
    })
}
