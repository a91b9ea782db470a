//! Ending what outlived its parent: by ancestry where the kernel keeps it, else by the markers of
//! [`super::process`] that every descendant carries in its environment (Linux; elsewhere nothing is found).
//!
//! | who calls | what it ends |
//! |---|---|
//! | [`marked`] | every process with a marker, and what descends from it |
//! | [`leftovers`] | processes whose muxloop is dead: what a crash left, unless its guard was faster |
//! | [`tree`] | a process and its descendants |
//!
//! Out of reach is a process that left its group, lost its parent *and* wiped its environment while its
//! siblings live; it ends with the daemon at the latest, unless that is killed by -9 as well.

use super::process::{OWNER_VARIABLE, Owner};
use super::procfs;
use super::sys::{self, Pid};

/// Ends every process whose variable `name` is `value`, with all its descendants. One look at all
/// processes; gives how many were ended, so that the caller looks again until nothing is found.
pub fn marked(name: &str, value: &str) -> usize {
    let own = std::process::id() as Pid;
    let is_it = |pid: &Pid| *pid != own && procfs::variable(*pid, name).as_deref() == Some(value);
    procfs::all().iter().filter(|pid| is_it(pid) && tree(**pid, || is_it(pid))).count()
}

/// Ends every process of this user whose muxloop is dead, with all its descendants; logs each and gives
/// how many.
pub fn leftovers() -> usize {
    let own = std::process::id() as Pid;
    let (user, namespace) = (procfs::user(own), procfs::namespace(own));
    // A shell that a crashed muxloop's server opened may well be where this muxloop was started.
    let ancestors = ancestors(own);
    let is_left = |pid: Pid| {
        let owner = procfs::variable(pid, OWNER_VARIABLE).and_then(|value| Owner::parse(&value))?;
        // The numbers of a container are not ours, hence say nothing about who is dead.
        let is_ours = procfs::user(pid) == user && procfs::namespace(pid) == namespace;
        (is_ours && !is_alive(owner)).then_some(owner)
    };
    let mut ended = 0;
    for _ in 0..PASSES_MAX {
        let before = ended;
        for pid in procfs::all() {
            let Some(owner) = is_left(pid).filter(|_| !ancestors.contains(&pid)) else { continue };
            let command = procfs::command(pid);
            if tree(pid, || is_left(pid) == Some(owner)) {
                log::warn!("ended process {pid} ({command}), which the dead muxloop {owner} left behind");
                ended += 1;
            }
        }
        if ended == before {
            break;
        }
    }
    ended
}

/// Ends a process and its descendants if `is_it` still holds while nobody else can have its number;
/// says whether it did. A process that has ended already is not ended again.
pub fn tree(pid: Pid, is_it: impl Fn() -> bool) -> bool {
    // Descendants first: without their parent they could not be found.
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(procfs::children(parent));
        at += 1;
    }
    let stats: Vec<_> = found.iter().map(|pid| procfs::stat(*pid)).collect();
    if !end(pid, is_it) {
        return false;
    }
    for (pid, before) in found.into_iter().zip(stats).skip(1) {
        let start = |stat: procfs::Stat| stat.start;
        end(pid, || before.is_some() && procfs::stat(pid).map(start) == before.map(start));
    }
    true
}

/// SIGKILL to one process if it lives and `is_it` holds for it.
fn end(pid: Pid, is_it: impl Fn() -> bool) -> bool {
    let is_alive = || procfs::stat(pid).is_some_and(|stat| !stat.is_zombie());
    if pid <= 1 || pid == std::process::id() as Pid {
        return false;
    }
    #[cfg(target_os = "linux")]
    if let Ok(process) = sys::open_process(pid) {
        use std::os::fd::AsFd;
        return is_alive() && is_it() && sys::kill_open_process(process.as_fd()).is_ok();
    }
    is_alive() && is_it() && sys::signal_process(pid, libc::SIGKILL).is_ok()
}

fn is_alive(owner: Owner) -> bool {
    procfs::stat(owner.pid).is_some_and(|stat| stat.start == owner.start && !stat.is_zombie())
}

fn ancestors(pid: Pid) -> Vec<Pid> {
    std::iter::successors(Some(pid), |pid| procfs::stat(*pid).map(|stat| stat.parent).filter(|up| *up > 0))
        .collect()
}

/// Looks at all processes until one finds nothing; a process that forks faster than that wins here, and
/// meets the next sweep.
pub(super) const PASSES_MAX: usize = 8;
