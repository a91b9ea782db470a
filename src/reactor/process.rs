//! Starting children, and saying in words why one did not start.
//!
//! A child gets a process group of its own, a signal at muxloop's death (Linux) and two variables that all
//! its descendants inherit, so that what leaves the group can still be told whose it is:
//!
//! | variable | value |
//! |---|---|
//! | `MUXLOOP_OWNER` | `<pid>.<start time>` of muxloop, see [`Owner`] |
//! | `MUXLOOP_CHILD` | `<owner>.<serial>`, unique per child |
//!
//! std's `Child` is dropped at once, which neither waits nor kills: statuses are collected by id in
//! `children.rs`.

use super::activation::NOT_FOR_CHILDREN;
use super::procfs;
use super::sandbox::Confinement;
use super::stream::Pipes;
use super::sys::{self, Pid};
use crate::engine::port::SpawnSpec;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Variable that names the muxloop a process descends from.
pub const OWNER_VARIABLE: &str = "MUXLOOP_OWNER";
/// Variable that names the child of a muxloop a process descends from.
pub const CHILD_VARIABLE: &str = "MUXLOOP_CHILD";

/// One run of muxloop: its process id and the time that process started, in clock ticks since the boot
/// (0 where the system does not tell). Never the same twice between two boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub pid: Pid,
    pub start: u64,
}

impl Owner {
    /// This process.
    pub fn this() -> Owner {
        let pid = std::process::id() as Pid;
        Owner { pid, start: procfs::stat(pid).map_or(0, |stat| stat.start) }
    }

    /// What [`Owner`]'s `Display` wrote.
    pub fn parse(text: &str) -> Option<Owner> {
        let (pid, start) = text.split_once('.')?;
        Some(Owner { pid: pid.parse().ok()?, start: start.parse().ok()? })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pid, self.start)
    }
}

/// A child that was started and not yet swept.
#[derive(Debug)]
pub(super) struct Process {
    /// Also the id of its group.
    pub pid: Pid,
    /// Number of the child within this run, the last part of its marker.
    pub serial: u64,
    /// Becomes readable at its end; `None` where SIGCHLD has to tell.
    pub descriptor: Option<OwnedFd>,
    /// Whether its end was seen and told.
    pub ended: bool,
}

/// Starts a child; its stdin and stdout as one stream, its stderr as another.
///
/// # Errors
/// Why not, in words.
pub(super) fn start(
    spec: &SpawnSpec,
    owner: Owner,
    marker: &str,
    limit: Option<libc::rlimit>,
) -> Result<(Pid, Pipes, Pipes), String> {
    let mut command = Command::new(&spec.program);
    command.args(&spec.args);
    for name in NOT_FOR_CHILDREN {
        command.env_remove(name);
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.env(OWNER_VARIABLE, owner.to_string()).env(CHILD_VARIABLE, marker);
    if let Some(directory) = &spec.cwd {
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let confinement = spec.sandbox.as_deref().map(|sandbox| Confinement::prepare(sandbox, &files(spec)));
    let confinement =
        confinement.transpose().map_err(|why| format!("cannot start '{}': {why}", spec.program))?;
    // SAFETY: the closure only makes system calls that are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            sys::die_with(owner.pid)?;
            limit.map_or(Ok(()), sys::set_descriptor_limit)?;
            confinement.as_ref().map_or(Ok(()), Confinement::enter)
        });
    }
    let mut child = command.spawn().map_err(|error| explain(spec, &error))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let pid = child.id() as Pid;
    let pipes = || {
        let (stdin, stdout) = (OwnedFd::from(stdin?), OwnedFd::from(stdout?));
        Some((Pipes::stdio(stdout, stdin).ok()?, Pipes::read_only(stderr?.into()).ok()?))
    };
    match pipes() {
        Some((stdio, stderr)) => Ok((pid, stdio, stderr)),
        None => {
            let _ = sys::signal_group(pid, libc::SIGKILL);
            let _ = child.wait();
            Err(format!("cannot start '{}': its pipes cannot be set up", spec.program))
        }
    }
}

/// Why a child did not start. The kernel's answer is the same number for a missing directory, a missing
/// program and a missing interpreter, so each is looked at.
pub(super) fn explain(spec: &SpawnSpec, error: &io::Error) -> String {
    let program = &spec.program;
    if let Some(text) = spec.cwd.as_deref().and_then(explain_directory) {
        return format!("cannot start '{program}': {text}");
    }
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {}
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
            return format!(
                "cannot start '{program}': it is neither a program for this machine nor a script \
                 with a first line '#!…'"
            );
        }
        _ => return format!("cannot start '{program}': {error}"),
    }
    let candidates = candidates(spec);
    for path in &candidates {
        let Ok(found) = fs::metadata(path) else { continue };
        let shown = path.display();
        if found.is_dir() {
            return format!("cannot start '{program}': '{shown}' is a directory");
        }
        if found.permissions().mode() & 0o111 == 0 {
            return format!("cannot start '{program}': '{shown}' is not executable; chmod +x {shown}");
        }
        return match interpreter(path) {
            Some(name) if !Path::new(&name).exists() => {
                format!("cannot start '{program}': its interpreter '{name}' does not exist")
            }
            _ => format!("cannot start '{program}': '{shown}': {error}{}", hint(spec)),
        };
    }
    if program.contains('/') {
        return format!("cannot start '{program}': no such file");
    }
    let searched = search_path(spec);
    let whose = match spec.env.iter().any(|(name, _)| name == "PATH") {
        true => "the server's PATH",
        false => "muxloop's PATH (path = \"login\" takes that of the login shell)",
    };
    format!("cannot start '{program}': no such command; searched {whose}: {}", searched.to_string_lossy())
}

/// What else can keep a program from starting that is there and may be run.
fn hint(spec: &SpawnSpec) -> &'static str {
    match &spec.sandbox {
        Some(sandbox) if sandbox.has_files() => "; what it is run by may not be in its sandbox's fs_read",
        _ => "",
    }
}

fn explain_directory(directory: &Path) -> Option<String> {
    let shown = directory.display();
    match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("working directory '{shown}' does not exist"))
        }
        Err(error) => Some(format!("working directory '{shown}': {error}")),
        Ok(found) if !found.is_dir() => Some(format!("working directory '{shown}' is not a directory")),
        Ok(_) => match fs::read_dir(directory.join(".")) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("working directory '{shown}' may not be entered: {error}"))
            }
            _ => None,
        },
    }
}

/// The files that are run first, as far as they exist: the program, and the interpreter of a script, which
/// may be a script again.
fn files(spec: &SpawnSpec) -> Vec<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let program = candidates(spec).into_iter().find(is_program);
    // The kernel follows no more.
    std::iter::successors(program, |file| interpreter(file).map(PathBuf::from)).take(6).collect()
}

/// The files that the program's name may mean, in the order they are tried.
pub fn candidates(spec: &SpawnSpec) -> Vec<PathBuf> {
    let from = spec.cwd.as_deref().unwrap_or(Path::new(""));
    if spec.program.contains('/') {
        return vec![from.join(&spec.program)];
    }
    env::split_paths(&search_path(spec)).map(|directory| from.join(directory).join(&spec.program)).collect()
}

/// Has a command run in a session of its own, so that the end of this one's terminal is nothing to it.
pub fn in_own_session(command: &mut Command) {
    // SAFETY: the closure only makes a system call that is async-signal-safe.
    unsafe {
        command.pre_exec(sys::new_session);
    }
}

/// The `PATH` in which the child's program is searched: the child's own.
pub fn search_path(spec: &SpawnSpec) -> OsString {
    let own = spec.env.iter().rev().find(|(name, _)| name == "PATH");
    // Without PATH, execvp(3) searches these.
    own.map(|(_, value)| value.into())
        .or_else(|| env::var_os("PATH"))
        .unwrap_or_else(|| "/bin:/usr/bin".into())
}

/// The interpreter that a script's first line names.
fn interpreter(script: &Path) -> Option<String> {
    first_line(script)?.split_whitespace().next().map(str::to_owned)
}

/// What a script's first line says after `#!`; `None` if it is no script.
pub fn first_line(script: &Path) -> Option<String> {
    let mut head = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(std::ffi::OsStr::from_bytes(line).to_string_lossy().into_owned())
}
