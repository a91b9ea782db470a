//! What earlier runs found out about the eras of servers (protocol.md §3.6): a small file in the user's cache.
//!
//! ```json
//! {"version":1,"servers":{"<key>":{"era":"Modern","is_sole":false,"until":1767225600000,"server":"memory 0.6.3"}}}
//! ```
//!
//! The key is a hash of the command, its arguments and folder, and of muxloop's version, so that nothing of a command
//! line is in the file. It is read at the start, and written anew when a finding changes. Whatever is wrong with
//! it costs nothing but a question to a server: it counts as empty, and one debug line says so.

use super::cached;
use crate::base::hash::fnv1a_of_parts;
use crate::base::{SortedMap, Time};
use crate::engine::Engine;
use crate::engine::port::SpawnSpec;
use crate::mux::Era;
use crate::mux::policy::Found;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// All findings that are known, of any configuration.
#[derive(Debug)]
pub(super) struct Findings {
    /// `None`: they last as long as the process.
    folder: Option<PathBuf>,
    known: SortedMap<String, Entry>,
    unix_ms_at_start: u64,
    complained: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    servers: SortedMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    era: Era,
    is_sole: bool,
    /// Unix milliseconds.
    until: u64,
    server: String,
}

impl Findings {
    /// Those in the file of this folder. `unix_ms_at_start` is when the loop's clock began.
    pub(super) fn open(folder: Option<PathBuf>, unix_ms_at_start: u64) -> Findings {
        let mut findings = Findings { folder, known: SortedMap::new(), unix_ms_at_start, complained: false };
        findings.known = findings.read();
        findings
    }

    /// What is believed of the server that this starts.
    pub(super) fn of(&self, spawn: &SpawnSpec) -> Option<Found> {
        let entry = self.known.get(&key_of(spawn))?;
        // A clock that was set back makes nothing last for ever.
        let left = entry.until.checked_sub(self.unix_ms_at_start)?.min(LONGEST_MS);
        Some(Found {
            era: entry.era,
            is_sole: entry.is_sole,
            until: Time(left),
            server: entry.server.clone(),
        })
    }

    /// Keeps what was found since the last time.
    pub(super) fn keep(&mut self, now: Time, engine: &mut Engine) {
        let news = engine.take_found();
        if news.is_empty() {
            return;
        }
        let changes: Vec<(String, Option<Entry>)> = news
            .into_iter()
            .map(|(spawn, found)| (key_of(&spawn), found.map(|found| self.entry(found))))
            .collect();
        // Another muxloop may have written since.
        let mut known = self.read();
        for (key, entry) in changes {
            for map in [&mut known, &mut self.known] {
                match entry.clone() {
                    Some(entry) => map.insert(key.clone(), entry),
                    None => map.remove(&key),
                };
            }
        }
        let unix_ms = self.unix_ms_at_start + now.0;
        known.retain(|_, entry| entry.until > unix_ms);
        while known.len() > ENTRIES_MAX {
            let oldest = known.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone());
            oldest.map(|key| known.remove(&key));
        }
        if let Err(error) = self.write(known) {
            self.complain(&format!("cannot be written: {error}"));
        }
    }

    fn entry(&self, found: Found) -> Entry {
        let until = self.unix_ms_at_start.saturating_add(found.until.0);
        Entry { era: found.era, is_sole: found.is_sole, until, server: found.server }
    }

    fn read(&mut self) -> SortedMap<String, Entry> {
        let Some(folder) = &self.folder else { return SortedMap::new() };
        let mut text = Vec::new();
        let whole =
            File::open(folder.join(FILE)).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text));
        if let Err(error) = whole {
            if error.kind() != io::ErrorKind::NotFound {
                self.complain(&format!("cannot be read: {error}"));
            }
            return SortedMap::new();
        }
        match serde_json::from_slice::<Document>(&text) {
            Ok(document) if document.version == VERSION => document.servers,
            Ok(_) => SortedMap::new(),
            Err(error) => {
                self.complain(&format!("is not understood: {error}"));
                SortedMap::new()
            }
        }
    }

    /// Puts a new file in the place of the old one.
    fn write(&self, servers: SortedMap<String, Entry>) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        cached::replace(&folder.join(FILE), &[&serde_json::to_vec(&Document { version: VERSION, servers })?])
    }

    fn complain(&mut self, what: &str) {
        if let (Some(folder), false) = (&self.folder, std::mem::replace(&mut self.complained, true)) {
            log::debug!(target: "muxloop", "{}: {what}", folder.join(FILE).display());
        }
    }
}

/// A server by what is started, and by whom.
fn key_of(spawn: &SpawnSpec) -> String {
    let folder = spawn.cwd.as_ref().map_or(&b""[..], |folder| folder.as_os_str().as_bytes());
    let fixed = [env!("CARGO_PKG_VERSION").as_bytes(), spawn.program.as_bytes(), folder];
    let parts = fixed.into_iter().chain(spawn.args.iter().map(String::as_bytes));
    format!("{:016x}", fnv1a_of_parts(parts))
}

const FILE: &str = "eras.json";
const VERSION: u32 = 1;
/// Servers in the file, and the most that is read of it.
const ENTRIES_MAX: usize = 256;
const BYTES_MAX: u64 = 512 << 10;
/// No finding lasts longer than this.
const LONGEST_MS: u64 = 7 * 24 * 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const START: u64 = 1_700_000_000_000;

    fn spawn(args: &[&str]) -> SpawnSpec {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        SpawnSpec { program: "npx".into(), args, ..SpawnSpec::default() }
    }

    fn entry(until: u64) -> Entry {
        Entry { era: Era::Modern, is_sole: false, until, server: "s 1".into() }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("muxloop-findings-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn commands_are_told_apart_word_by_word() {
        let keys: Vec<String> =
            [&["ab"][..], &["a", "b"], &["a"], &["a", ""], &[]].map(|a| key_of(&spawn(a))).into();
        for (n, key) in keys.iter().enumerate() {
            assert!(!keys[..n].contains(key));
            assert_eq!(key.len(), 16);
        }
    }

    /// Nothing outlasts its time or the longest one, also if a clock was set back meanwhile.
    #[test]
    fn what_is_written_is_found_by_the_next_run_while_it_lasts() {
        let folder = folder("kept");
        let key = key_of(&spawn(&["a"]));
        let findings = Findings::open(Some(folder.clone()), START);
        assert_eq!(findings.of(&spawn(&["a"])), None);
        findings.write([(key, entry(START + 5_000))].into()).unwrap();
        let until =
            |unix_ms| Findings::open(Some(folder.clone()), unix_ms).of(&spawn(&["a"])).map(|f| f.until);
        assert_eq!(until(START + 1_000), Some(Time(4_000)));
        assert_eq!(until(START + 5_001), None);
        assert_eq!(until(0), Some(Time(LONGEST_MS)));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    /// However servers call themselves, what is written is not too long to be read.
    #[test]
    fn the_longest_file_is_read_again() {
        let folder = folder("longest");
        let mut findings = Findings::open(Some(folder.clone()), START);
        let longest = |n: usize| {
            let entry = Entry { server: "\u{1}".repeat(200), ..entry(START + 1) };
            (format!("{n:016x}"), entry)
        };
        let all: SortedMap<String, Entry> = (0..ENTRIES_MAX).map(longest).collect();
        findings.write(all.clone()).unwrap();
        assert_eq!(findings.read(), all);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_spoilt_file_counts_as_empty_and_is_replaced() {
        let folder = folder("spoilt");
        fs::create_dir_all(&folder).unwrap();
        let newer = br#"{"version":2,"servers":{}}"#;
        for text in [&b""[..], b"{", b"\xff\x00", br#"{"version":1,"servers":{"x":{"era":"Odd"}}}"#, newer] {
            fs::write(folder.join(FILE), text).unwrap();
            let mut findings = Findings::open(Some(folder.clone()), START);
            assert!(findings.known.is_empty());
            findings.write([("k".to_owned(), entry(START + 1))].into()).unwrap();
            assert_eq!(findings.read(), [("k".to_owned(), entry(START + 1))].into());
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
