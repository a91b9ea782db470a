//! What a child may be held to, and whether a kernel can: plain values and the decision, no calls.
//!
//! [`Sandbox`] is what the configuration asks for, [`Abilities`] what a kernel offers. Whoever starts
//! children asks [`Sandbox::unmet`] first, so that none runs with less than it was promised. The calls
//! are left to the platform, the keys to the configuration; people read `docs/sandbox.md`.

use std::path::PathBuf;

/// The limits of a child and of all its descendants. What is left out is not limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// What may be read and run, beside what programs need to start at all. `None` here and in `fs_write`:
    /// the file system is not restricted.
    pub fs_read: Option<Vec<PathBuf>>,
    /// What may be changed, too.
    pub fs_write: Option<Vec<PathBuf>>,
    /// Whether it may use the network.
    pub net: bool,
    /// Private writable memory of each process, in bytes.
    pub memory: Option<u64>,
    /// Open descriptors of each process.
    pub files: Option<u64>,
    /// Processes and threads of the user, all together.
    pub processes: Option<u64>,
    /// Processor time of each process.
    pub cpu_seconds: Option<u64>,
}

impl Default for Sandbox {
    /// Nothing is limited.
    fn default() -> Self {
        Sandbox {
            fs_read: None,
            fs_write: None,
            net: true,
            memory: None,
            files: None,
            processes: None,
            cpu_seconds: None,
        }
    }
}

/// What a kernel, and this process's place in it, can hold children to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Why there is no sandbox at all, if so; the rest does not count then.
    pub nothing: Option<&'static str>,
    pub landlock: Landlock,
    /// Whether seccomp can tell which sockets are made.
    pub filters_sockets: bool,
    /// The kernel counts no processes of root.
    pub is_root: bool,
}

/// Landlock of a kernel, see landlock(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// Its version: 3 since Linux 6.2, 4 since 6.7, 5 since 6.10, 6 since 6.12.
    Abi(u32),
    /// Why it cannot be used.
    Absent(&'static str),
}

impl Default for Abilities {
    /// A kernel without Landlock.
    fn default() -> Self {
        let landlock = Landlock::Absent(NO_LANDLOCK);
        Abilities { nothing: None, landlock, filters_sockets: false, is_root: false }
    }
}

/// Before Linux 5.13, or left out when the kernel was built.
pub const NO_LANDLOCK: &str = "this kernel has no Landlock";

impl Sandbox {
    /// Whether files are restricted.
    pub fn has_files(&self) -> bool {
        self.fs_read.is_some() || self.fs_write.is_some()
    }

    /// The keys that this kernel cannot honour, and why not.
    pub fn unmet(&self, abilities: &Abilities) -> Vec<(&'static str, String)> {
        if let Some(why) = abilities.nothing {
            return self.keys().into_iter().map(|key| (key, format!("cannot be had: {why}"))).collect();
        }
        let mut unmet = Vec::new();
        let mut needs = |key, wanted: u32, linux: &str| {
            let found = match abilities.landlock {
                Landlock::Abi(abi) if abi >= wanted => return,
                Landlock::Abi(abi) => format!("this kernel has ABI {abi}"),
                Landlock::Absent(why) => why.to_owned(),
            };
            unmet.push((key, format!("needs Landlock ABI {wanted} (Linux {linux}), {found}")));
        };
        if self.fs_read.is_some() {
            needs("fs_read", ABI_FILES, "6.2");
        }
        if self.fs_write.is_some() {
            needs("fs_write", ABI_FILES, "6.2");
        }
        if !self.net {
            needs("net", ABI_NET, "6.7");
            if unmet.is_empty() && !abilities.filters_sockets {
                let text = "needs seccomp filters, which this kernel does not have, or muxloop not on this processor";
                unmet.push(("net", text.to_owned()));
            }
        }
        if self.processes.is_some() && abilities.is_root {
            let text =
                "does not bind root, whose processes Linux does not count; run muxloop as another user";
            unmet.push(("processes", text.to_owned()));
        }
        unmet
    }

    /// The keys that restrict something.
    fn keys(&self) -> Vec<&'static str> {
        let keys = [
            ("fs_read", self.fs_read.is_some()),
            ("fs_write", self.fs_write.is_some()),
            ("net", !self.net),
            ("memory", self.memory.is_some()),
            ("files", self.files.is_some()),
            ("processes", self.processes.is_some()),
            ("cpu_seconds", self.cpu_seconds.is_some()),
        ];
        keys.into_iter().filter(|(_, restricts)| *restricts).map(|(key, _)| key).collect()
    }
}

/// Before it, any file could be emptied (truncate(2)).
const ABI_FILES: u32 = 3;
/// Before it, connections were not Landlock's matter.
const ABI_NET: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn unmet(sandbox: &Sandbox, landlock: Landlock) -> Vec<String> {
        let abilities = Abilities { nothing: None, landlock, filters_sockets: true, is_root: true };
        sandbox.unmet(&abilities).into_iter().map(|(key, why)| format!("{key} {why}")).collect()
    }

    #[test]
    fn each_version_of_landlock_honours_what_it_can() {
        let no_net = Sandbox { net: false, ..Sandbox::default() };
        let unfiltered = Abilities { landlock: Landlock::Abi(9), ..Abilities::default() };
        assert!(no_net.unmet(&unfiltered)[0].1.starts_with("needs seccomp filters"));
        let read = Sandbox { fs_read: Some(Vec::new()), ..Sandbox::default() };
        let write = Sandbox { fs_write: Some(Vec::new()), ..Sandbox::default() };
        for (abi, files, net) in [(1, false, false), (2, false, false), (3, true, false), (4, true, true)] {
            let landlock = Landlock::Abi(abi);
            let holds = |sandbox| unmet(sandbox, landlock).is_empty();
            assert_eq!((holds(&read), holds(&write), holds(&no_net)), (files, files, net), "ABI {abi}");
        }
        assert_eq!(
            unmet(&no_net, Landlock::Abi(3)),
            ["net needs Landlock ABI 4 (Linux 6.7), this kernel has ABI 3"]
        );
        assert_eq!(
            unmet(&Sandbox { fs_read: None, ..write.clone() }, Landlock::Absent(NO_LANDLOCK)),
            ["fs_write needs Landlock ABI 3 (Linux 6.2), this kernel has no Landlock"]
        );
    }

    #[test]
    fn limits_need_no_landlock_and_root_has_no_number_of_processes() {
        let limits = Sandbox { memory: Some(1), files: Some(1), cpu_seconds: Some(1), ..Sandbox::default() };
        assert_eq!(unmet(&limits, Landlock::Absent(NO_LANDLOCK)), Vec::<String>::new());
        let elsewhere = Abilities { nothing: Some("no Linux"), ..Abilities::default() };
        let refused: Vec<_> = limits.unmet(&elsewhere).into_iter().map(|(key, _)| key).collect();
        assert_eq!(refused, ["memory", "files", "cpu_seconds"]);
        let processes = Sandbox { processes: Some(1), ..limits };
        assert!(unmet(&processes, Landlock::Abi(9))[0].starts_with("processes does not bind root"));
        assert_eq!(processes.unmet(&Abilities::default()), []);
    }
}
