//! The children of this process: started, signalled, swept, reaped; adopted ones too.
//!
//! ```text
//!   spawn ──▶ running ──▶ ended (told once, unreaped: its id and group are still its own)
//!                            │ sweep: SIGKILL to the rest of the group and to marked descendants
//!                            ▼
//!                         reaped, forgotten          orphans: reaped when they end, killed when
//!                                                    the child they descend from is no more
//! ```

use super::guard::Guard;
use super::process::{self, CHILD_VARIABLE, Owner, Process};
use super::stream::Pipes;
use super::sweep;
use super::sys::{self, Pid};
use super::{guard, procfs};
use crate::base::{Key, KeyMap};
use crate::engine::port::{ExitStatus, Kill, SpawnSpec};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Every child that was started and not yet swept.
#[derive(Debug)]
pub(super) struct Children {
    pub processes: KeyMap<Process>,
    owner: Owner,
    /// Whether every child of this process is ours, adopted descendants included.
    pub adopts: bool,
    /// What children get back of the limit of open descriptors that was raised.
    pub descriptor_limit: Option<libc::rlimit>,
    guard: Option<Guard>,
}

impl Children {
    pub fn new() -> Children {
        Children {
            processes: KeyMap::new(),
            owner: Owner::this(),
            adopts: false,
            descriptor_limit: None,
            guard: None,
        }
    }

    /// Starts a child under `key`. Its end is not watched yet.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn spawn(&mut self, key: Key, spec: &SpawnSpec) -> Result<(Pid, Pipes, Pipes), String> {
        self.sweep(key);
        if self.processes.get(key).is_some() {
            return Err(format!("cannot start '{}': its predecessor still runs", spec.program));
        }
        // One count for the whole process: the markers of two reactors must differ.
        let serial = CHILDREN_STARTED.fetch_add(1, Ordering::Relaxed) + 1;
        let marker = self.marker(serial);
        let (pid, stdio, stderr) = process::start(spec, self.owner, &marker, self.descriptor_limit)?;
        if let Some(guard) = &mut self.guard {
            guard.add(pid);
        }
        self.processes.insert(key, Process { pid, serial, descriptor: None, ended: false });
        Ok((pid, stdio, stderr))
    }

    /// How a child ended if it has and that was not told yet. It stays unreaped until it is swept.
    pub fn check_exit(&mut self, key: Key) -> Option<ExitStatus> {
        let process = self.processes.get_mut(key).filter(|process| !process.ended)?;
        let status = match sys::exit_of(process.pid) {
            Ok(status) => status?,
            Err(error) => {
                // Somebody else reaped it (SIGCHLD was ignored): gone it is, how is not known.
                log::warn!("how process {} ended is not known: {error}", process.pid);
                ExitStatus::Code(-1)
            }
        };
        process.ended = true;
        Some(status)
    }

    pub fn kill(&self, key: Key, how: Kill) {
        let Some(process) = self.processes.get(key) else { return };
        let signals: &[i32] = match how {
            // A stopped process gets round to it only when continued.
            Kill::Terminate => &[libc::SIGTERM, libc::SIGCONT],
            Kill::Kill => &[libc::SIGKILL],
        };
        for signal in signals {
            // Without members left in the group there is nothing to do.
            let _ = sys::signal_group(process.pid, *signal);
        }
    }

    /// Ends what is left of a child, and forgets it if it has ended.
    pub fn sweep(&mut self, key: Key) {
        let Some(process) = self.processes.get(key) else { return };
        let (pid, marker) = (process.pid, self.marker(process.serial));
        let _ = sys::signal_group(pid, libc::SIGKILL);
        for _ in 0..sweep::PASSES_MAX {
            let ended = match self.adopts {
                // What the child left behind was adopted here, so there is no need to look at everyone.
                true => self.end_orphans(|child| child == marker),
                false => sweep::marked(CHILD_VARIABLE, &marker),
            };
            if ended == 0 {
                break;
            }
        }
        if self.processes.get(key).is_some_and(|process| process.ended) {
            self.processes.remove(key);
            let _ = sys::reap(pid);
            if let Some(guard) = &mut self.guard {
                guard.remove(pid);
            }
        }
    }

    /// Living processes of a child's group or with its marker, but for the child itself.
    pub fn descendants(&self, key: Key) -> Vec<Pid> {
        let Some(process) = self.processes.get(key) else { return Vec::new() };
        let marker = self.marker(process.serial);
        let is_it = |pid: &Pid| {
            let is_meant = |stat: procfs::Stat| {
                let is_marked =
                    || procfs::variable(*pid, CHILD_VARIABLE).is_some_and(|child| child == marker);
                !stat.is_zombie() && (stat.group == process.pid || is_marked())
            };
            *pid != process.pid && procfs::stat(*pid).is_some_and(is_meant)
        };
        let mut found = procfs::all();
        found.retain(is_it);
        found
    }

    /// Reaps adopted processes that have ended, and ends those whose child was swept already.
    pub fn tend_orphans(&self) {
        if !self.adopts {
            return;
        }
        for orphan in self.orphans() {
            if procfs::stat(orphan).is_some_and(|stat| stat.is_zombie()) {
                let _ = sys::reap(orphan);
            }
        }
        self.end_orphans(|child| {
            let serial = child.strip_prefix(&format!("{}.", self.owner)).and_then(|text| text.parse().ok());
            let is_known = |serial: u64| self.processes.iter().any(|(_, process)| process.serial == serial);
            serial.is_some_and(|serial| !is_known(serial))
        });
    }

    /// Ends adopted processes by their marker, with all below them; gives how many.
    fn end_orphans(&self, is_meant: impl Fn(&str) -> bool) -> usize {
        let is_it = |pid: Pid| procfs::variable(pid, CHILD_VARIABLE).is_some_and(|child| is_meant(&child));
        self.orphans().into_iter().filter(|pid| is_it(*pid) && sweep::tree(*pid, || is_it(*pid))).count()
    }

    /// Children of this process that it did not start.
    fn orphans(&self) -> Vec<Pid> {
        let is_started = |pid: Pid| self.processes.iter().any(|(_, process)| process.pid == pid);
        let guard = self.guard.as_ref().map(|guard| guard.pid);
        let mut found = procfs::children(std::process::id() as Pid);
        found.retain(|pid| !is_started(*pid) && Some(*pid) != guard);
        found
    }

    fn marker(&self, serial: u64) -> String {
        format!("{}.{serial}", self.owner)
    }

    /// Starts the guard and tells it what runs; gives its process id.
    ///
    /// # Errors
    /// From the kernel; or the program has none ([`guard::main_if_requested`]).
    pub fn start_guard(&mut self) -> io::Result<Pid> {
        if !guard::is_available() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this program has none"));
        }
        let mut guard = Guard::start(self.owner)?;
        self.processes.iter().for_each(|(_, process)| guard.add(process.pid));
        let pid = guard.pid;
        self.guard = Some(guard);
        Ok(pid)
    }

    /// Whether the guard has died; then it is reaped and forgotten.
    pub fn has_lost_guard(&mut self) -> bool {
        let is_gone = |guard: &Guard| !matches!(sys::reap(guard.pid), Ok(None));
        let lost = self.guard.as_ref().is_some_and(is_gone);
        if lost {
            self.guard = None;
        }
        lost
    }

    /// Process id of the guard.
    pub fn guard(&self) -> Option<Pid> {
        self.guard.as_ref().map(|guard| guard.pid)
    }
}

impl Drop for Children {
    /// Nothing that descends from here lives on, and the guard is sent home.
    fn drop(&mut self) {
        let keys: Vec<Key> = self.processes.iter().map(|(key, _)| key).collect();
        keys.iter().for_each(|key| self.kill(*key, Kill::Kill));
        let deadline = Instant::now() + END_MAX;
        loop {
            for key in &keys {
                self.check_exit(*key);
            }
            if self.processes.iter().all(|(_, process)| process.ended) || Instant::now() >= deadline {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        keys.iter().for_each(|key| self.sweep(*key));
        while self.adopts && Instant::now() < deadline {
            let orphans = self.orphans();
            if orphans.is_empty() {
                break;
            }
            for orphan in orphans {
                if !sweep::tree(orphan, || true) {
                    let _ = sys::reap(orphan);
                }
            }
            sleep(Duration::from_millis(1));
        }
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

static CHILDREN_STARTED: AtomicU64 = AtomicU64::new(0);
/// How long the end of this process waits for that of its killed descendants.
const END_MAX: Duration = Duration::from_secs(1);
