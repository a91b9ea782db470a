//! Processes as such: the grandchild that will not go, stdout that closes, signals that are ignored.
//!
//! Everything here is done with safe means; what needs `unsafe` elsewhere is a fresh program image here.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::options::Options;

/// Makes SIGTERM, SIGINT and SIGHUP without effect on this process.
pub fn ignore_signals() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// `--role sleeper`: ignores the end of stdin and signals, and sleeps for `lifetime`.
pub fn sleep_on(lifetime: Duration) -> ExitCode {
    if let Err(error) = ignore_signals() {
        eprintln!("demo-server: cannot ignore signals: {error}");
        return ExitCode::FAILURE;
    }
    // The parent and its tests know by this line that the handlers are in place.
    eprintln!("demo-server: sleeper {} is up", std::process::id());
    std::thread::sleep(lifetime);
    ExitCode::SUCCESS
}

/// Starts the sleeper as a child of this process. It inherits stdin, stdout and stderr, as the grandchildren
/// of launchers such as `npx` do, so the pipes stay open when this process is gone.
///
/// With `--setsid` it is started by the `setsid` program, in a session of its own; where there is no such
/// program it gets a process group of its own, which escapes a signal to the group as well.
pub fn spawn_sleeper(options: &Options) -> io::Result<Child> {
    let program = std::env::current_exe()?;
    let lifetime = options.lifetime.as_millis().to_string();
    let args = ["demo-server", "--role", "sleeper", "--lifetime", &lifetime];
    if !options.faults.setsid {
        return Command::new(program).args(args).spawn();
    }
    match Command::new("setsid").arg(&program).args(args).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Command::new(program).args(args).process_group(0).spawn()
        }
        spawned => spawned,
    }
}

/// Replaces this process by one of the same pid whose stdout leads nowhere: the client sees stdout close while
/// the process lives and reads on. Returns only if that fails.
pub fn close_stdout(options: &Options) -> io::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut command = Command::new(program);
    command.args(["demo-server", "--role", "mute"]).stdout(Stdio::null());
    if let Some(journal) = &options.journal {
        command.arg("--journal").arg(journal);
    }
    if options.faults.ignore_term {
        command.arg("--ignore-term");
    }
    if !options.exit_on_eof {
        command.args(["--exit-on-eof", "no"]);
    }
    command.exec()
}

/// `--role mute`: reads stdin to its end, journals it, and says nothing.
pub fn swallow_stdin(options: &Options) -> ExitCode {
    if options.faults.ignore_term && ignore_signals().is_err() {
        return ExitCode::FAILURE;
    }
    let mut journal = match open_journal(options) {
        Ok(journal) => journal,
        Err(error) => {
            eprintln!("demo-server: cannot open the journal: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut lines = BufReader::new(io::stdin());
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        if let Some(journal) = &mut journal {
            let _ = journal.write_all(&line);
        }
        line.clear();
    }
    if !options.exit_on_eof {
        std::thread::sleep(options.lifetime);
    }
    ExitCode::SUCCESS
}

/// Opens `--journal` for appending. The file is not buffered: a line is in it as soon as it was read.
pub fn open_journal(options: &Options) -> io::Result<Option<std::fs::File>> {
    let open = |path| std::fs::OpenOptions::new().create(true).append(true).open(path);
    options.journal.as_ref().map(open).transpose()
}

/// `--stderr-flood`: blocks until somebody has read enough of it.
pub fn flood_stderr(lines: u64) -> io::Result<()> {
    let mut stderr = io::BufWriter::new(io::stderr());
    for number in 0..lines {
        writeln!(stderr, "{number:>20} {:-<78}", "")?;
    }
    stderr.flush()
}
