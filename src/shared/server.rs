//! The server's process: started, heard, ended. When, the supervisor decides.

use super::place::{Place, What};
use super::wire::Lines;
use crate::base::Key;
use crate::base::date::rfc3339;
use crate::engine::port::{ExitStatus, Io, Kill, Platform, SpawnSpec};
use crate::reactor::Reactor;
use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// A server that runs, or has ended and was not swept yet.
pub struct Server {
    pub pid: u32,
    /// Of the process, of its stdin and stdout, of its stderr.
    pub keys: [Key; 3],
    streams: [Stream; 2],
}

struct Stream {
    io: Box<dyn Io>,
    lines: Lines,
}

impl Server {
    /// Starts it, with `PORT` and `HOST` in its environment.
    ///
    /// # Errors
    /// Why it does not start, in words.
    pub fn start(reactor: &mut Reactor, keys: [Key; 3], what: &What) -> Result<Server, String> {
        let mut words = what.command_line().into_iter();
        // The search path is the first caller's; to be told so makes it "the server's" in an error.
        let path = env::var("PATH").ok().map(|path| ("PATH", path));
        let env = [("PORT", what.port.to_string()), ("HOST", what.host.clone())].into_iter().chain(path);
        let spec = SpawnSpec {
            program: words.next().unwrap_or_default(),
            args: words.collect(),
            env: env.map(|(name, value)| (name.to_owned(), value)).collect(),
            ..SpawnSpec::default()
        };
        let spawned = reactor.spawn(keys[0], &spec)?;
        let streams = [spawned.stdio, spawned.stderr].map(|io| Stream { io, lines: Lines::default() });
        let mut server = Server { pid: spawned.pid, keys, streams };
        for (stream, key) in server.streams.iter_mut().zip(&keys[1..]) {
            if let Err(error) = reactor.register(*key, stream.io.as_mut()) {
                server.discard(reactor);
                return Err(format!("what it writes cannot be watched: {error}"));
            }
        }
        Ok(server)
    }

    /// Reads what it wrote; says whether there may be more, of which no event will tell.
    pub fn hear(&mut self, journal: &mut Journal) -> bool {
        let mut piece = [0; 8192];
        let mut is_emptied = [false; 2];
        for (stream, is_emptied) in self.streams.iter_mut().zip(&mut is_emptied) {
            // A server that writes without end must not keep the supervisor from all else.
            for _ in 0..READS_MAX {
                match stream.io.read(&mut piece) {
                    Ok(n) if n > 0 => stream.lines.hear(&piece[..n], LINE_MAX, |line| journal.server(line)),
                    _ => {
                        *is_emptied = true;
                        break;
                    }
                }
            }
        }
        is_emptied != [true; 2]
    }

    pub fn kill(&self, reactor: &mut Reactor, how: Kill) {
        reactor.kill(self.keys[0], how);
    }

    /// Hears its last words, once it has ended, and ends what it left behind.
    pub fn bury(mut self, reactor: &mut Reactor, journal: &mut Journal) {
        self.hear(journal);
        self.streams.iter_mut().for_each(|stream| stream.lines.finish(|line| journal.server(line)));
        self.discard(reactor);
    }

    fn discard(&mut self, reactor: &mut Reactor) {
        for (stream, key) in self.streams.iter_mut().zip(&self.keys[1..]) {
            reactor.deregister(*key, stream.io.as_mut());
        }
        reactor.sweep(self.keys[0]);
    }
}

/// How it ended, in words.
pub fn in_words(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exit code {code}"),
        ExitStatus::Signal(signal) => format!("signal {signal}"),
    }
}

/// The file `log`, and the last lines of the server for those who want to know why it died.
pub struct Journal {
    file: File,
    len: u64,
    place: Place,
    tail: VecDeque<String>,
}

impl Journal {
    /// # Errors
    /// From the kernel.
    pub fn open(place: &Place) -> io::Result<Journal> {
        let file = place.open_log()?;
        let len = file.metadata()?.len();
        Ok(Journal { file, len, place: place.clone(), tail: VecDeque::new() })
    }

    /// A line of the server's.
    fn server(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r').replace(char::is_control, " ");
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text.chars().take(TAIL_CHARS).collect());
        self.write(&format!("server: {text}"));
    }

    /// A line of the supervisor's.
    pub fn note(&mut self, text: &str) {
        self.write(&format!("muxloop: {text}"));
    }

    /// The last lines that the server wrote since it was started, for an error.
    pub fn last_words(&self) -> String {
        match self.tail.is_empty() {
            true => "; it wrote nothing".to_owned(),
            false => {
                let lines: Vec<String> = self.tail.iter().map(|line| format!("\n    {line}")).collect();
                format!("; the last it wrote:{}", lines.concat())
            }
        }
    }

    /// What follows is of the next one.
    pub fn forget(&mut self) {
        self.tail.clear();
    }

    /// A log that cannot be written is no reason to end what works.
    fn write(&mut self, text: &str) {
        if self.len > LOG_MAX {
            // The file stays the same one, since it is standard error, too.
            let mut old = self.place.log().into_os_string();
            old.push(".1");
            if fs::copy(self.place.log(), old).is_ok() && self.file.set_len(0).is_ok() {
                self.len = 0;
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!("{} {text}\n", rfc3339(now.as_millis() as u64));
        if self.file.write_all(line.as_bytes()).is_ok() {
            self.len += line.len() as u64;
        }
    }
}

/// Reads of one stream in a row.
const READS_MAX: usize = 64;
/// Longest line that is kept in one piece, in bytes.
const LINE_MAX: usize = 16 << 10;
/// Lines that an error shows, and how many characters of each.
const TAIL_LINES: usize = 10;
const TAIL_CHARS: usize = 500;
/// Length of `log` from which on it becomes `log.1`, in bytes.
const LOG_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_the_last_words_are_kept() {
        let directory = env::temp_dir().join(format!("muxloop-journal-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let place = Place::at(&directory);
        let mut journal = Journal::open(&place).unwrap();
        assert_eq!(journal.last_words(), "; it wrote nothing");
        journal.note("first");
        let line = [b'x'; 8 << 10];
        for _ in 0..700 {
            journal.server(&line);
        }
        for number in 0..20 {
            journal.server(format!("line {number}\x1b[2J\r").as_bytes());
        }
        let len = |name: &str| fs::metadata(directory.join(name)).unwrap().len();
        assert!((LOG_MAX..LOG_MAX + (16 << 10)).contains(&len("log.1")), "{}", len("log.1"));
        assert!(len("log") > 100 * (8 << 10) && len("log") < LOG_MAX, "{}", len("log"));
        assert!(fs::read_to_string(directory.join("log.1")).unwrap().contains("Z muxloop: first\n"));
        assert!(fs::read_to_string(place.log()).unwrap().ends_with("Z server: line 19 [2J\n"));
        let words = journal.last_words();
        assert!(words.contains("\n    line 10 [2J\n") && words.ends_with("line 19 [2J"), "{words}");
        assert!(!words.contains("line 9 "), "{words}");
        journal.forget();
        assert_eq!(journal.last_words(), "; it wrote nothing");
        fs::remove_dir_all(directory).unwrap();
    }
}
