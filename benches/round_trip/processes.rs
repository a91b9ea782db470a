//! Processes and what they use: a scratch folder and child processes that vanish with their guard,
//! also when the bench fails or is interrupted, and figures read from `/proc`.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::sys;

/// A temporary folder, removed with everything in it when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("muxloop-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child process in a group of its own, killed with its group and reaped when dropped.
pub struct Process(Child);

impl Process {
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.process_group(0);
        sys::die_with_parent(command);
        let program = command.get_program().to_owned();
        let child = command.spawn();
        Ok(Self(child.map_err(|error| {
            io::Error::new(error.kind(), format!("starting {}: {error}", program.display()))
        })?))
    }

    /// As [`Process::spawn`], but by `posix_spawn`, which is what a host does and what start times are
    /// measured with. Only for processes that end with their standard input.
    pub fn spawn_fast(command: &mut Command) -> io::Result<Self> {
        command.process_group(0).spawn().map(Self)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            sys::kill_group(self.0.id());
        }
        let _ = self.0.wait();
    }
}

/// Runs this bench's own binary with `args`, its standard streams piped.
pub fn own_binary(args: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// `pid` and everything below it in the tree of processes, as far as it does not run this bench's own
/// binary: a proxy with its helpers (a shell, worker processes), without the echo servers it started.
pub fn tree_without_own(pid: u32) -> Vec<u32> {
    let own = std::env::current_exe().ok();
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut tree = vec![pid];
    let mut next = 0;
    while let Some(&above) = tree.get(next) {
        tree.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| pid));
        next += 1;
    }
    tree.retain(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok() != own);
    tree
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold spaces and brackets; state and parent follow it.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// CPU time of all threads that live, in nanoseconds: the scheduler's own count where the kernel has
/// it (`schedstat`), else the clock ticks of `stat`. 0 if the process is gone.
pub fn cpu_ns(pid: u32) -> u64 {
    let field = |text: String| text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
    let of_threads: u64 =
        threads(pid).filter_map(|path| fs::read_to_string(path.join("schedstat")).ok().and_then(field)).sum();
    if of_threads > 0 {
        return of_threads;
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields 14 and 15, counted after the name, which may hold spaces; a tick is 10 ms on Linux.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks * 10_000_000
}

/// Resident memory in KiB, pages shared with other processes included. Counted page by page: `VmRSS`
/// is a sum of per-processor counters that may be hundreds of KiB behind.
pub fn rss_kib(pid: u32) -> u64 {
    named_figure(format!("/proc/{pid}/smaps_rollup"), "Rss")
}

/// Private memory written to, in KiB: what this process costs beyond pages shared with others.
pub fn private_dirty_kib(pid: u32) -> u64 {
    named_figure(format!("/proc/{pid}/smaps_rollup"), "Private_Dirty")
}

/// How often the threads of a process went to sleep by themselves: each is a wake-up to come.
pub fn voluntary_switches(pid: u32) -> u64 {
    threads(pid).map(|path| named_figure(path.join("status"), "voluntary_ctxt_switches")).sum()
}

pub fn thread_count(pid: u32) -> usize {
    threads(pid).count()
}

fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn named_figure(path: impl AsRef<Path>, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The last lines a process wrote to the file its standard error went to.
pub fn last_words(path: &Path) -> String {
    let mut text = String::new();
    let _ = fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT and SIGTERM only set a flag, so that the guards above run; a second one ends
/// the process at once.
pub fn catch_interrupts() -> io::Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag))?;
        signal_hook::flag::register(signal, Arc::clone(flag))?;
    }
    Ok(())
}

pub fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
