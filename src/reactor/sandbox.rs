//! Sandboxes of children: prepared in the parent, entered between fork and exec.
//!
//! ```text
//!   parent: rules of Sandbox ─▶ open paths, ruleset, limits = Confinement
//!                                                                │ fork
//!   child:  limits · no new privileges · inherited files closed   ◀─┘
//!           · Landlock · seccomp, then exec
//! ```
//!
//! After fork nothing is allocated and nothing opened. What a kernel can do is asked in advance
//! ([`abilities`]); a sandbox that it cannot do whole is not done at all.

use super::landlock::{self, Handled};
use super::seccomp::SocketFilter;
use super::sys;
use crate::engine::sandbox::{Abilities, Landlock, Sandbox};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What this kernel can hold children of this process to.
pub fn abilities() -> Abilities {
    Abilities {
        nothing: None,
        landlock: landlock::probe(),
        filters_sockets: SocketFilter::new().is_some(),
        is_root: sys::effective_uid() == 0,
    }
}

/// A sandbox that is ready to be entered.
#[derive(Debug)]
pub(super) struct Confinement {
    /// `None`: only limits.
    ruleset: Option<OwnedFd>,
    /// Without network.
    filter: Option<SocketFilter>,
    limits: [Option<Limit>; 4],
}

/// A resource as setrlimit(2) names it, its soft and its hard limit.
type Limit = (sys::Resource, u64, u64);

impl Confinement {
    /// Prepares a sandbox for a child that begins with these files: its program, and what that is run by.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    pub fn prepare(sandbox: &Sandbox, programs: &[PathBuf]) -> Result<Confinement, String> {
        let abilities = abilities();
        if let Some((key, why)) = sandbox.unmet(&abilities).into_iter().next() {
            return Err(format!("sandbox.{key} {why}"));
        }
        let ruleset = match abilities.landlock {
            Landlock::Abi(abi) if sandbox.has_files() || !sandbox.net => {
                Some(ruleset(sandbox, abi, programs)?)
            }
            _ => None,
        };
        let filter = if sandbox.net { None } else { SocketFilter::new() };
        Ok(Confinement { ruleset, filter, limits: limits(sandbox) })
    }

    /// Enters it, for a child between fork and exec. Async-signal-safe.
    pub fn enter(&self) -> io::Result<()> {
        for (resource, soft, hard) in self.limits.iter().flatten() {
            sys::lower_limit(*resource, *soft, *hard)?;
        }
        landlock::no_new_privileges()?;
        if self.ruleset.is_some() {
            // What muxloop was started with open would go past every rule. The kernel has the call: it is
            // older than Landlock's ABI 3.
            sys::close_on_exec_from(3)?;
        }
        self.ruleset.as_ref().map_or(Ok(()), |ruleset| landlock::restrict(ruleset.as_fd()))?;
        self.filter.as_ref().map_or(Ok(()), SocketFilter::enter)
    }
}

/// Fixed in number, so that the child needs no memory for them.
fn limits(sandbox: &Sandbox) -> [Option<Limit>; 4] {
    [
        sandbox.memory.map(|bytes| (libc::RLIMIT_DATA, bytes, bytes)),
        sandbox.files.map(|count| (libc::RLIMIT_NOFILE, count, count)),
        sandbox.processes.map(|count| (libc::RLIMIT_NPROC, count, count)),
        // SIGXCPU tells why; who catches it has a second.
        sandbox.cpu_seconds.map(|seconds| (libc::RLIMIT_CPU, seconds, seconds + 1)),
    ]
}

fn ruleset(sandbox: &Sandbox, abi: u32, programs: &[PathBuf]) -> Result<OwnedFd, String> {
    let handled = handled(sandbox, abi);
    let failed = |error: io::Error| format!("the sandbox cannot be made: {error}");
    let ruleset = landlock::ruleset(&handled).map_err(failed)?;
    if sandbox.has_files() {
        for rule in rules(sandbox, programs) {
            let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&rule.path);
            let file = match opened {
                Ok(file) => file,
                Err(_) if rule.key.is_empty() => continue,
                Err(error) => {
                    return Err(format!("sandbox.{}: '{}': {error}", rule.key, rule.path.display()));
                }
            };
            let is_dir = file.metadata().map_err(failed)?.is_dir();
            let allowed = rule.rights & handled.files & if is_dir { u64::MAX } else { landlock::OF_FILES };
            landlock::allow(ruleset.as_fd(), file.as_fd(), allowed).map_err(failed)?;
        }
    }
    Ok(ruleset)
}

/// What is taken away, of what this version knows.
fn handled(sandbox: &Sandbox, abi: u32) -> Handled {
    let mut handled = Handled::default();
    if sandbox.has_files() {
        handled.files = READ | WRITE | NEVER;
        if abi < 5 {
            handled.files &= !landlock::IOCTL_DEV;
        }
    }
    if !sandbox.net {
        handled.net = landlock::BIND_TCP | landlock::CONNECT_TCP;
    }
    if abi >= 6 {
        handled.scopes = landlock::SIGNALS;
        if !sandbox.net {
            handled.scopes |= landlock::ABSTRACT_SOCKETS;
        }
    }
    handled
}

/// A path and the rights to it and to all beneath it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    path: PathBuf,
    rights: u64,
    /// The key that names the path; empty for what is given without being asked for, if it exists.
    key: &'static str,
}

/// What a child may do with files.
fn rules(sandbox: &Sandbox, programs: &[PathBuf]) -> Vec<Rule> {
    let of = |paths: &[&str], rights| -> Vec<Rule> {
        paths.iter().map(|path| Rule { path: Path::new(path).to_owned(), rights, key: "" }).collect()
    };
    let mut rules = of(PROGRAMS, READ);
    rules.extend(of(SETTINGS, READ & !landlock::EXECUTE));
    rules.extend(of(DEVICES, READ_WRITE_FILE));
    rules.extend(programs.iter().map(|path| Rule { path: path.clone(), rights: READ, key: "" }));
    let named = |paths: &Option<Vec<PathBuf>>, rights, key| -> Vec<Rule> {
        paths.iter().flatten().map(|path| Rule { path: path.clone(), rights, key }).collect()
    };
    rules.extend(named(&sandbox.fs_read, READ, "fs_read"));
    rules.extend(named(&sandbox.fs_write, READ | WRITE, "fs_write"));
    rules
}

const READ: u64 = landlock::READ_FILE | landlock::READ_DIR | landlock::EXECUTE;
const READ_WRITE_FILE: u64 = landlock::READ_FILE | landlock::WRITE_FILE | landlock::TRUNCATE;
const WRITE: u64 = landlock::WRITE_FILE
    | landlock::TRUNCATE
    | landlock::REMOVE_DIR
    | landlock::REMOVE_FILE
    | landlock::MAKE_DIR
    | landlock::MAKE_REG
    | landlock::MAKE_SOCK
    | landlock::MAKE_FIFO
    | landlock::MAKE_SYM
    | landlock::REFER
    | landlock::IOCTL_DEV;
/// Devices are not made in a sandbox: to root they would be a way out.
const NEVER: u64 = landlock::MAKE_CHAR | landlock::MAKE_BLOCK;

/// Where programs and their libraries are, also those of Nix and Guix.
const PROGRAMS: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];
/// What programs look up when they start: accounts, names, certificates, themselves, the machine.
const SETTINGS: &[&str] = &[
    "/etc",
    "/proc",
    "/run/systemd/resolve",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/var/lib/ca-certificates",
];
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Sandbox {
        let (read, write) = (vec!["/srv/docs".into()], vec!["/tmp/x".into()]);
        Sandbox { fs_read: Some(read), fs_write: Some(write), ..Sandbox::default() }
    }

    fn no_net() -> Sandbox {
        Sandbox { net: false, ..Sandbox::default() }
    }

    #[test]
    fn each_version_takes_away_what_it_knows() {
        let device = landlock::IOCTL_DEV;
        let all = 0xffff;
        assert_eq!(handled(&files(), 3), Handled { files: all & !device, net: 0, scopes: 0 });
        assert_eq!(handled(&files(), 5), Handled { files: all, net: 0, scopes: 0 });
        assert_eq!(handled(&files(), 6), Handled { files: all, net: 0, scopes: landlock::SIGNALS });
        let tcp = landlock::BIND_TCP | landlock::CONNECT_TCP;
        assert_eq!(handled(&no_net(), 4), Handled { files: 0, net: tcp, scopes: 0 });
        let scopes = landlock::SIGNALS | landlock::ABSTRACT_SOCKETS;
        assert_eq!(handled(&no_net(), 7), Handled { files: 0, net: tcp, scopes });
    }

    #[test]
    fn rules_give_back_what_is_named_and_what_programs_need() {
        let rules = rules(&files(), &["/home/ana/bin/server".into()]);
        let of = |path: &str| {
            let found: Vec<&Rule> = rules.iter().filter(|rule| rule.path == Path::new(path)).collect();
            found.iter().map(|rule| (rule.rights, rule.key)).collect::<Vec<_>>()
        };
        assert_eq!(of("/srv/docs"), [(READ, "fs_read")]);
        assert_eq!(of("/tmp/x"), [(READ | WRITE, "fs_write")]);
        assert_eq!(of("/home/ana/bin/server"), [(READ, "")]);
        assert_eq!(of("/usr"), [(READ, "")]);
        assert_eq!(of("/etc"), [(landlock::READ_FILE | landlock::READ_DIR, "")]);
        assert_eq!(of("/dev/null"), [(READ_WRITE_FILE, "")]);
        // Writing is given by name only, and making devices to nobody.
        for rule in rules.iter().filter(|rule| rule.key != "fs_write" && !rule.path.starts_with("/dev")) {
            assert_eq!(rule.rights & WRITE, 0, "{rule:?}");
        }
        assert!(rules.iter().all(|rule| rule.rights & NEVER == 0));
        assert!(rules.iter().all(|rule| {
            !["/", "/home", "/root", "/tmp", "/var", "/dev"].contains(&rule.path.to_str().unwrap())
        }));
    }

    #[test]
    fn limits_are_those_that_are_named() {
        assert_eq!(limits(&files()), [None; 4]);
        let sandbox = Sandbox {
            memory: Some(1 << 30),
            files: Some(256),
            processes: Some(64),
            cpu_seconds: Some(9),
            ..Sandbox::default()
        };
        assert_eq!(
            limits(&sandbox),
            [
                Some((libc::RLIMIT_DATA, 1 << 30, 1 << 30)),
                Some((libc::RLIMIT_NOFILE, 256, 256)),
                Some((libc::RLIMIT_NPROC, 64, 64)),
                Some((libc::RLIMIT_CPU, 9, 10)),
            ]
        );
    }

    #[test]
    fn a_program_that_cannot_be_run_in_its_sandbox_has_a_hint() {
        use crate::engine::port::SpawnSpec;
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let mut spec = SpawnSpec { program: "/bin/sh".into(), ..SpawnSpec::default() };
        let plain = super::super::process::explain(&spec, &denied);
        assert_eq!(plain, "cannot start '/bin/sh': '/bin/sh': Permission denied (os error 13)");
        spec.sandbox = Some(Box::new(files()));
        let hinted = super::super::process::explain(&spec, &denied);
        assert_eq!(hinted, plain + "; what it is run by may not be in its sandbox's fs_read");
    }

    #[test]
    fn what_vanished_since_the_file_was_read_is_named() {
        let gone = Sandbox { fs_read: Some(vec!["/no/such/place".into()]), ..Sandbox::default() };
        let why = Confinement::prepare(&gone, &[]).unwrap_err();
        let expected = match abilities().landlock {
            Landlock::Abi(3..) => "sandbox.fs_read: '/no/such/place': No such file or directory",
            _ => "sandbox.fs_read needs Landlock ABI 3 (Linux 6.2), ",
        };
        assert!(why.starts_with(expected), "{why}");
    }
}
