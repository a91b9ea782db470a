//! What `/proc` tells about processes (Linux). Elsewhere every function finds nothing.
//!
//! All of it is a snapshot: a process may be gone, and its number be another's, by the time the answer is
//! read. Whoever kills on it checks again with the process held by a descriptor ([`super::sweep`]).

use super::sys::Pid;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Figures of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` for a zombie, and so on.
    pub state: u8,
    pub parent: Pid,
    pub group: Pid,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
}

impl Stat {
    /// Whether it has ended and only waits to be reaped.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Figures of a process, `None` if there is none.
pub fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `1 (name) S 0 1 1 …`, where the name may contain anything, also parentheses and newlines.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let after_name = text.iter().rposition(|byte| *byte == b')')? + 2;
    let mut fields = std::str::from_utf8(text.get(after_name..)?).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // Field 22 of proc_pid_stat(5); the group was field 5.
    let start = fields.nth(16)?.parse().ok()?;
    Some(Stat { state, parent, group, start })
}

/// All processes that this one can see.
pub fn all() -> Vec<Pid> {
    numbers("/proc")
}

/// The children of a process, zombies included.
pub fn children(parent: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for thread in numbers(&format!("/proc/{parent}/task")) {
        match fs::read_to_string(format!("/proc/{parent}/task/{thread}/children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<Pid>().ok())),
            // A kernel without that file (CONFIG_PROC_CHILDREN): ask everyone for their parent.
            Err(error) if error.kind() == io::ErrorKind::NotFound && thread == parent => {
                let is_child = |pid: &Pid| stat(*pid).is_some_and(|stat| stat.parent == parent);
                return all().into_iter().filter(is_child).collect();
            }
            Err(_) => {}
        }
    }
    found
}

/// A variable of the environment that a process was started with. `None` too if it is a zombie, has
/// overwritten its environment, or is another user's.
pub fn variable(pid: Pid, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let is_it =
        |entry: &&[u8]| entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    let entry = environment.split(|byte| *byte == 0).find(is_it)?;
    String::from_utf8(entry[name.len() + 1..].to_vec()).ok()
}

/// The command line of a process, shortened, for people.
pub fn command(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let line: String = words.join(" ").trim_end().chars().take(COMMAND_MAX).collect();
    line.replace(char::is_control, " ")
}

/// The user a process runs as.
pub fn user(pid: Pid) -> Option<u32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    fs::metadata(format!("/proc/{pid}")).ok().map(|found| found.uid())
}

/// What tells one numbering of processes from another's: those of a container are not ours.
pub fn namespace(pid: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * super::sys::page_bytes())
}

/// Whether a process has a TCP socket that listens at this port, at any address (Linux).
pub fn listens(pid: Pid, port: u16) -> bool {
    let own = |inode: &str| {
        let name = format!("socket:[{inode}]");
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let mut targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| target.as_os_str() == name.as_str())
    };
    ["tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        listening_inodes(&table, port).any(own)
    })
}

/// Whether any process has a TCP socket that listens at this port; `None` where that is not told.
pub fn is_listened(port: u16) -> Option<bool> {
    let table = |name: &str| fs::read_to_string(format!("/proc/self/net/{name}"));
    let (four, six) = (table("tcp").ok()?, table("tcp6").unwrap_or_default());
    Some([four, six].iter().any(|table| listening_inodes(table, port).next().is_some()))
}

/// Inodes of the sockets that listen at a port, in a table as `/proc/net/tcp`: the second field is the local
/// address, the fourth the state, the tenth the inode.
fn listening_inodes(table: &str, port: u16) -> impl Iterator<Item = &str> {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).copied()).flatten()
    })
}

/// Whether `/proc` tells anything.
pub fn is_there() -> bool {
    stat(std::process::id() as Pid).is_some()
}

fn numbers(directory: &str) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Longest piece of a command line that is shown, in characters.
const COMMAND_MAX: usize = 80;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_the_figures() {
        let tail = "S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999";
        for name in ["sh", "a) R 1 1 1", "(((", "x\ny", ") S 1"] {
            let text = format!("42 ({name}) {tail}");
            let want = Stat { state: b'S', parent: 7, group: 8, start: 12345 };
            assert_eq!(parse_stat(text.as_bytes()), Some(want), "{name:?}");
        }
        for damaged in ["", "42", "42 (sh)", "42 (sh) ", "42 (sh) S 7 8", "42 (sh) S x 8 9"] {
            assert_eq!(parse_stat(damaged.as_bytes()), None, "{damaged:?}");
        }
    }

    #[test]
    fn who_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(is_listened(port), Some(true));
        assert!(listens(std::process::id() as Pid, port));
        assert!(!listens(std::process::id() as Pid, 0));
        assert_eq!(is_listened(0), Some(false));
    }

    #[test]
    fn this_process_finds_itself() {
        let own = std::process::id() as Pid;
        let stat = stat(own).unwrap();
        assert!(children(stat.parent).contains(&own));
        assert!(all().contains(&own));
        assert_eq!(user(own), Some(super::super::sys::effective_uid()));
        assert_eq!(variable(own, "PATH"), std::env::var("PATH").ok());
        assert_eq!(variable(own, "PAT"), None);
        assert!(namespace(own).is_some());
    }
}
