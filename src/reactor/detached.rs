//! Starting a process that is nobody's child: it lives on when this one ends, however that happens.

use super::process::{CHILD_VARIABLE, OWNER_VARIABLE};
use super::sys;
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Starts this program once more, detached: in a session of its own, without a controlling terminal, without
/// the markers of a muxloop that this process may descend from, its standard error being `log`. Gives what
/// writes to its standard input and what reads its standard output.
///
/// # Errors
/// From the kernel.
pub fn start(args: &[&OsStr], log: File) -> io::Result<(File, File)> {
    // The running program itself, even if its file was replaced meanwhile.
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { env::current_exe()? };
    let mut command = Command::new(program);
    command.arg0("muxloop").args(args).env_remove(OWNER_VARIABLE).env_remove(CHILD_VARIABLE);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::from(log));
    // SAFETY: the closure only makes system calls that are async-signal-safe.
    unsafe { command.pre_exec(sys::leave_parent) };
    let mut between = command.spawn()?;
    let (stdin, stdout) = (between.stdin.take(), between.stdout.take());
    // It has ended already: what runs on is its child. (Where SIGCHLD is ignored, nobody waits.)
    let _ = between.wait();
    match (stdin, stdout) {
        (Some(stdin), Some(stdout)) => Ok((OwnedFd::from(stdin).into(), OwnedFd::from(stdout).into())),
        _ => Err(io::ErrorKind::BrokenPipe.into()),
    }
}
