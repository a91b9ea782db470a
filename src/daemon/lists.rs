//! What servers said of themselves in earlier runs (row B08): a file per server in the user's cache.
//!
//! ```text
//! muxloop-lists 1 91f0a3c2b5d4e687                       the version, and a hash of what follows
//! {"era":"Legacy","hello":{…},"pages":[{"method":"tools/list","cursor":null,"era":"Legacy","result":{…}}]}
//! ```
//!
//! Its name is a hash of how the server is started: command, arguments, folder, the names of its environment
//! variables, and 16 bits of a hash of their values: enough to notice other credentials, too little to find
//! one out. Which version of the server it was is in `hello`; another one is noticed when it runs.
//!
//! A file is read when its server is set up and written a second after something in it changed, and at the
//! end. Whatever is wrong with one costs a question to the server: it counts as none, and is written anew.
//! Only its user can read it. While a recording is made, none is read or written: a replay has none.

use super::cached;
use crate::base::hash::{fnv1a, fnv1a_of_parts};
use crate::base::{SortedMap, Time, sorted};
use crate::engine::Engine;
use crate::engine::port::SpawnSpec;
use crate::mux::memory::{Memory, MemoryPage};
use crate::mux::{Era, ServerId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The files of all servers.
#[derive(Debug)]
pub(super) struct ListFiles {
    /// `None`: nothing is kept.
    folder: Option<PathBuf>,
    /// When news of a server are to be written.
    due: SortedMap<ServerId, Time>,
}

#[derive(Serialize, Deserialize)]
struct Document<T> {
    era: Era,
    hello: T,
    pages: Vec<PageOf<T>>,
}

#[derive(Serialize, Deserialize)]
struct PageOf<T> {
    method: String,
    cursor: Option<T>,
    era: Era,
    result: T,
}

impl ListFiles {
    /// Those in a part of the cache folder.
    pub(super) fn open(cache: Option<PathBuf>) -> ListFiles {
        let folder = cache.map(|cache| cache.join("lists"));
        if let Some(folder) = &folder {
            sweep(folder, FILES_MAX);
        }
        ListFiles { folder, due: SortedMap::new() }
    }

    /// Tells the engine what is known of a server that has not been started yet.
    pub(super) fn recall(&mut self, now: Time, engine: &mut Engine, id: ServerId) {
        let (Some(folder), Some(spawn)) = (&self.folder, engine.spawn_of(id)) else { return };
        let path = folder.join(name_of(spawn));
        if !engine.keeps_lists(id) {
            let _ = fs::remove_file(&path);
            return;
        }
        let memory = match read(&path) {
            Ok(memory) => memory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return complain(&path, &error.to_string()),
        };
        if let Err(why) = engine.recall(now, id, &memory) {
            complain(&path, &why);
        }
    }

    /// What is known of a server that runs or ran in this way.
    #[cfg(feature = "gateway")]
    pub(super) fn known(&self, engine: &Engine, server: &crate::config::ServerConfig) -> Option<Memory> {
        let running = engine.server_named(&server.policy.name);
        let running = running.filter(|id| engine.spawn_of(*id) == Some(&server.spawn));
        let kept = || {
            let folder = self.folder.as_ref().filter(|_| !server.policy.no_cache)?;
            read(&folder.join(name_of(&server.spawn))).ok()
        };
        running.and_then(|id| engine.memory(id)).or_else(kept)
    }

    /// Where it is kept.
    #[cfg(feature = "gateway")]
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Writes what is due. To be called after each turn.
    pub(super) fn keep(&mut self, now: Time, engine: &mut Engine) {
        for id in engine.take_learnt() {
            self.due.get_or_insert(id, now + WRITE_AFTER_MS);
        }
        let next =
            |due: &SortedMap<ServerId, Time>| due.iter().find(|(_, at)| **at <= now).map(|(id, _)| *id);
        while let Some(id) = next(&self.due) {
            self.due.remove(&id);
            self.write_one(engine, id);
        }
    }

    /// When [`ListFiles::keep`] has something to write.
    pub(super) fn due(&self) -> Option<Time> {
        self.due.values().min().copied()
    }

    /// Writes what is due of a server that is to be another one.
    pub(super) fn settle(&mut self, engine: &mut Engine, id: ServerId) {
        self.due.extend(engine.take_learnt().into_iter().map(|id| (id, Time::ZERO)));
        if self.due.remove(&id).is_some() {
            self.write_one(engine, id);
        }
    }

    /// Writes everything that is not written yet.
    pub(super) fn last(&mut self, engine: &mut Engine) {
        self.due.extend(engine.take_learnt().into_iter().map(|id| (id, Time::ZERO)));
        for (id, _) in std::mem::take(&mut self.due) {
            self.write_one(engine, id);
        }
    }

    fn write_one(&self, engine: &Engine, id: ServerId) {
        let (Some(folder), Some(spawn), Some(memory)) =
            (&self.folder, engine.spawn_of(id), engine.memory(id))
        else {
            return;
        };
        let path = folder.join(name_of(spawn));
        if let Err(error) = write(&path, &memory) {
            complain(&path, &error.to_string());
        }
    }
}

fn read(path: &Path) -> io::Result<Memory> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut text = Vec::new();
    File::open(path)?.take(BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    let line = text.iter().position(|byte| *byte == b'\n').ok_or_else(|| invalid("no first line"))?;
    let (head, body) = (&text[..line], &text[line + 1..]);
    if text.len() > BYTES_MAX || head != head_of(body).as_bytes() {
        return Err(invalid("of another version, or spoilt"));
    }
    let document: Document<Box<RawValue>> = serde_json::from_slice(body)?;
    let page = |page: PageOf<Box<RawValue>>| MemoryPage {
        method: page.method,
        cursor: page.cursor.map(|cursor| cursor.get().to_owned()),
        era: page.era,
        result: page.result.get().to_owned(),
    };
    Ok(Memory {
        era: document.era,
        hello: document.hello.get().to_owned(),
        pages: document.pages.into_iter().map(page).collect(),
    })
}

/// Puts a new file in the place of the old one.
fn write(path: &Path, memory: &Memory) -> io::Result<()> {
    let raw = |text: &str| RawValue::from_string(text.to_owned());
    let mut document = Document { era: memory.era, hello: raw(&memory.hello)?, pages: Vec::new() };
    for page in &memory.pages {
        document.pages.push(PageOf {
            method: page.method.clone(),
            cursor: page.cursor.as_deref().map(raw).transpose()?,
            era: page.era,
            result: raw(&page.result)?,
        });
    }
    let body = serde_json::to_vec(&document)?;
    let head = head_of(&body);
    if head.len() + 1 + body.len() > BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{} bytes are too many", body.len()),
        ));
    }
    cached::replace(path, &[head.as_bytes(), b"\n", &body])
}

fn head_of(body: &[u8]) -> String {
    format!("muxloop-lists {VERSION} {:016x}", fnv1a(body))
}

/// Removes the files that were not written for longest, while there are too many.
fn sweep(folder: &Path, most: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let age = |entry: &fs::DirEntry| entry.metadata().and_then(|data| data.modified());
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .map(|entry| (age(&entry).unwrap_or(SystemTime::UNIX_EPOCH), entry.path()))
        .collect();
    sorted::sort_by(&mut files, Ord::cmp);
    for (_, path) in files.iter().take(files.len().saturating_sub(most)) {
        let _ = fs::remove_file(path);
    }
}

/// A server by what is started, and with what right.
fn name_of(spawn: &SpawnSpec) -> String {
    let folder = spawn.cwd.as_ref().map_or(&b""[..], |folder| folder.as_os_str().as_bytes());
    let mut variables: Vec<(&str, &str)> =
        spawn.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    sorted::sort_by(&mut variables, Ord::cmp);
    let names = variables.iter().map(|(name, _)| name.as_bytes());
    let count = spawn.args.len().to_string();
    let fixed = [spawn.program.as_bytes(), folder, count.as_bytes()];
    let how = fnv1a_of_parts(fixed.into_iter().chain(spawn.args.iter().map(String::as_bytes)).chain(names));
    let values = fnv1a_of_parts(variables.iter().map(|(_, value)| value.as_bytes()));
    format!("{how:016x}-{:04x}", (values >> 48) ^ (values & 0xffff))
}

fn complain(path: &Path, what: &str) {
    log::debug!(target: "muxloop", "{}: {what}", path.display());
}

const VERSION: u32 = 1;
/// Longest file: the lists of a server, and room for the rest.
const BYTES_MAX: usize = crate::base::limits::LIST_BYTES_PER_SERVER + (4 << 20);
/// Most files.
const FILES_MAX: usize = 256;
/// How long news wait for more of them.
const WRITE_AFTER_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("muxloop-lists-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn memory() -> Memory {
        Memory {
            era: Era::Modern,
            hello: r#"{"capabilities":{}, "n":1.50}"#.into(),
            pages: vec![MemoryPage {
                method: "tools/list".into(),
                cursor: Some(r#""\u00e9""#.into()),
                era: Era::Legacy,
                result: r#"{"tools":[{"name":"ü"}]}"#.into(),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = folder("read");
        let path = folder.join("f");
        write(&path, &memory()).unwrap();
        assert_eq!(read(&path).unwrap(), memory(), "as it was written, to the last digit");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Every byte of it counts, and nothing that is cut off passes.
    #[test]
    fn a_spoilt_file_is_none() {
        let folder = folder("spoilt");
        let path = folder.join("f");
        write(&path, &memory()).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(read(&path).is_err(), "byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(&path).is_err(), "cut at {at}");
        }
        for body in ["", "{}", "[]", r#"{"era":"Odd","hello":1,"pages":[]}"#] {
            fs::write(&path, format!("{}\n{body}", head_of(body.as_bytes()))).unwrap();
            assert!(read(&path).is_err(), "{body}");
        }
        let newer = String::from_utf8(good.clone()).unwrap().replacen("lists 1 ", "lists 2 ", 1);
        fs::write(&path, newer).unwrap();
        assert!(read(&path).is_err());
        write(&path, &memory()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), good, "it is written anew");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let folder = folder("long");
        let path = folder.join("f");
        let mut memory = memory();
        memory.pages[0].result = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(BYTES_MAX));
        assert!(write(&path, &memory).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn servers_are_told_apart_by_how_they_are_started() {
        let spawn = |args: &[&str], env: &[(&str, &str)], cwd: Option<&str>| SpawnSpec {
            program: "npx".into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            cwd: cwd.map(PathBuf::from),
            ..SpawnSpec::default()
        };
        let names = [
            spawn(&[], &[], None),
            spawn(&["a"], &[], None),
            spawn(&["a", ""], &[], None),
            spawn(&[], &[("a", "")], None),
            spawn(&[], &[("a", "1")], None),
            spawn(&[], &[("a", "2")], None),
            spawn(&[], &[], Some("/a")),
        ]
        .map(|spawn| name_of(&spawn));
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{names:?}");
        }
        let (one, two) = ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")]);
        assert_eq!(name_of(&spawn(&[], &one, None)), name_of(&spawn(&[], &two, None)));
        // What is told apart by values alone has the rest of its name in common.
        assert_eq!(names[4][..16], names[5][..16]);
    }

    #[test]
    fn the_oldest_files_go() {
        let folder = folder("sweep");
        fs::create_dir_all(&folder).unwrap();
        for number in 0..5u64 {
            let file = File::create(folder.join(number.to_string())).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(100 - number)).unwrap();
        }
        sweep(&folder, 2);
        let mut left: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["0", "1"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
