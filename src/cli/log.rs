//! Logging: the `log` facade with env_logger's filters, over a bounded queue that never blocks the loop.
//!
//! ```text
//! log::info! ─▶ filter ─▶ one line (text or JSON) ─▶ Queue ─ flush(), once per turn ─▶ standard error
//! ```
//!
//! A record whose target is `server::NAME` is about one server. Lines contain no colours and no control
//! characters, so a message that quotes a hostile line cannot forge one or steer a terminal.
//!
//! The loop calls [`flush`] at the end of a turn; while [`pending`] says true, it limits its sleep, since a
//! terminal that is writable again wakes nobody.

use crate::base::date::rfc3339;
use crate::base::limits;
use crate::config::LogFormat;
use crate::reactor::stderr::Stderr;
use log::{Level, LevelFilter, Record};
use serde::Serialize;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is logged: a filter in the syntax of `RUST_LOG`, and levels of single servers on top of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    pub filter: String,
    pub servers: Vec<(String, LevelFilter)>,
}

/// When lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// At once, and the caller waits: for commands that do one thing and end.
    Immediate,
    /// By [`flush`]: for the loop.
    Queued,
}

/// Starts logging. Calls after the first change nothing.
pub fn init(levels: &Levels, format: LogFormat, mode: Mode) {
    let pipe =
        OUTPUT.get_or_init(|| Output { queue: Mutex::default(), stderr: Stderr::open(), format, mode });
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&levels.filter);
    for (name, level) in &levels.servers {
        builder.filter_module(&format!("{SERVER}{name}"), *level);
    }
    builder.format(move |line, record| {
        if mode == Mode::Queued {
            note_news(record);
        }
        line.write_all(format_line(format, SystemTime::now(), record).as_bytes())
    });
    builder.target(env_logger::Target::Pipe(Box::new(pipe)));
    // A second logger would be a mistake of ours, but no reason to stop.
    let _ = builder.try_init();
}

/// A line as `muxloop logs` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Name of the server it is about.
    pub server: Option<String>,
    pub text: String,
}

/// Lines that were logged since the last call; of very many the newest.
pub fn take_news() -> Vec<News> {
    match NEWS.lock() {
        Ok(mut news) => std::mem::take(&mut *news).into(),
        Err(_) => Vec::new(),
    }
}

fn note_news(record: &Record<'_>) {
    let text = record.args().to_string();
    let server = record.target().strip_prefix(SERVER).map(str::to_owned);
    // A server's own words come by another way.
    if (server.is_some() && text.starts_with("stderr: "))
        || !(server.is_some() || record.target() == "muxloop")
    {
        return;
    }
    if let Ok(mut news) = NEWS.lock() {
        if news.len() == NEWS_MAX {
            news.pop_front();
        }
        news.push_back(News { server, text });
    }
}

static NEWS: Mutex<std::collections::VecDeque<News>> = Mutex::new(std::collections::VecDeque::new());
/// Lines kept between two turns of the loop.
const NEWS_MAX: usize = 1_000;

/// Writes queued lines as far as standard error takes them now.
pub fn flush() {
    if let Some(output) = OUTPUT.get() {
        output.flush();
    }
}

/// Whether lines wait.
pub fn pending() -> bool {
    OUTPUT.get().is_some_and(|output| !output.queue().is_empty())
}

/// Writes what is queued before the process ends; gives up after [`EXIT_WAIT_MS`].
pub fn flush_at_exit() {
    let Some(output) = OUTPUT.get() else { return };
    for _ in 0..EXIT_WAIT_MS / EXIT_STEP_MS {
        output.flush();
        if output.queue().is_empty() || output.stderr.wait(EXIT_STEP_MS).is_err() {
            return;
        }
    }
}

/// Longest time that [`flush_at_exit`] takes.
pub const EXIT_WAIT_MS: u16 = 200;
const EXIT_STEP_MS: u16 = 10;

/// Start of the target of records about one server; its name follows.
pub const SERVER: &str = "server::";

static OUTPUT: OnceLock<Output> = OnceLock::new();

/// Where all lines go.
struct Output {
    queue: Mutex<Queue>,
    stderr: Stderr,
    format: LogFormat,
    mode: Mode,
}

impl Output {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic while it was held leaves whole lines behind at worst in a wrong number.
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn flush(&self) {
        self.queue().write_to(|bytes| self.stderr.write(bytes), |lost| lost_line(self.format, lost));
    }
}

/// env_logger hands over one whole line per call.
impl Write for &'static Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.mode {
            Mode::Immediate => io::stderr().write_all(line)?,
            Mode::Queued => self.queue().push(line, |lost| lost_line(self.format, lost)),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that wait, at most [`limits::LOG_QUEUE`] bytes of them.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that are written already.
    written: usize,
    /// Lines that found no room since the last one that did.
    lost: u64,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && self.lost == 0
    }

    /// Takes a line, or counts it as lost; what was lost before is said first.
    fn push(&mut self, line: &[u8], lost_line: impl Fn(u64) -> String) {
        let note = if self.lost > 0 { lost_line(self.lost) } else { String::new() };
        if self.bytes.len() - self.written + note.len() + line.len() > limits::LOG_QUEUE {
            self.lost += 1;
            return;
        }
        self.lost = 0;
        self.bytes.drain(..self.written);
        self.written = 0;
        self.bytes.extend_from_slice(note.as_bytes());
        self.bytes.extend_from_slice(line);
    }

    /// Hands the bytes to `write` until it takes none. If nobody will ever read them, they are dropped.
    fn write_to(&mut self, write: impl Fn(&[u8]) -> io::Result<usize>, lost_line: impl Fn(u64) -> String) {
        loop {
            if self.written == self.bytes.len() {
                self.bytes.clear();
                self.written = 0;
                if self.lost == 0 {
                    break;
                }
                self.bytes.extend_from_slice(lost_line(self.lost).as_bytes());
                self.lost = 0;
            }
            match write(&self.bytes[self.written..]) {
                Ok(0) => return,
                Ok(n) => self.written += n,
                Err(_) => *self = Queue::default(),
            }
        }
        self.bytes.shrink_to(IDLE_CAPACITY);
    }
}

/// Bytes of the queue's memory that are kept while it is empty.
const IDLE_CAPACITY: usize = 4 << 10;

/// The line that stands where others were lost.
fn lost_line(format: LogFormat, lost: u64) -> String {
    let message = format!("{lost} log lines were lost, since standard error was not read");
    line(format, SystemTime::now(), Level::Warn, "muxloop", &message)
}

fn format_line(format: LogFormat, now: SystemTime, record: &Record<'_>) -> String {
    line(format, now, record.level(), record.target(), &record.args().to_string())
}

/// One line with its newline.
fn line(format: LogFormat, now: SystemTime, level: Level, target: &str, message: &str) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        ts: &'a str,
        level: &'a str,
        target: &'a str,
        message: &'a str,
    }
    let ts = timestamp(now);
    match format {
        LogFormat::Text => {
            let mut line = format!("{ts} {level:<5} ");
            match (target.strip_prefix(SERVER), target.strip_prefix("muxloop::")) {
                (Some(name), _) => push_visible(&mut line, &format!("server {name}: ")),
                (None, Some(module)) => push_visible(&mut line, &format!("{module}: ")),
                (None, None) if target == "muxloop" => {}
                (None, None) => push_visible(&mut line, &format!("{target}: ")),
            }
            push_visible(&mut line, message);
            line.push('\n');
            line
        }
        LogFormat::Json => {
            let level = level.as_str().to_ascii_lowercase();
            let line = Line { ts: &ts, level: &level, target, message };
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        }
    }
}

/// Appends text, control characters escaped.
fn push_visible(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\t' => line.push('\t'),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
}

fn timestamp(now: SystemTime) -> String {
    rfc3339(now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(ms)
    }

    #[test]
    fn text_lines_have_their_shape() {
        let text =
            |target, message| line(LogFormat::Text, at(1_795_240_800, 123), Level::Info, target, message);
        assert_eq!(
            text("server::memory", "started"),
            "2026-11-21T06:00:00.123Z INFO  server memory: started\n"
        );
        assert_eq!(text("muxloop", "ready"), "2026-11-21T06:00:00.123Z INFO  ready\n");
        assert_eq!(text("muxloop::engine", "x"), "2026-11-21T06:00:00.123Z INFO  engine: x\n");
        assert_eq!(text("mio::poll", "x"), "2026-11-21T06:00:00.123Z INFO  mio::poll: x\n");
        assert_eq!(
            text("muxloop", "a\n\x1b[2Jb\u{9b}\tc"),
            "2026-11-21T06:00:00.123Z INFO  a\\n\\u{1b}[2Jb\\u{9b}\tc\n"
        );
    }

    #[test]
    fn json_lines_are_one_object_each() {
        let text = line(LogFormat::Json, at(0, 0), Level::Warn, "server::a", "say \"x\"\n");
        assert_eq!(
            text,
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"level\":\"warn\",\"target\":\"server::a\",\
             \"message\":\"say \\\"x\\\"\\n\"}\n"
        );
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    fn note(lost: u64) -> String {
        format!("lost {lost}\n")
    }

    #[test]
    fn a_full_queue_counts_what_it_loses_and_says_so_in_its_place() {
        let mut queue = Queue::default();
        let long = vec![b'x'; limits::LOG_QUEUE - 10];
        queue.push(&long, note);
        queue.push(&[b'y'; 11], note);
        queue.push(b"12345678901", note);
        assert_eq!((queue.lost, queue.bytes.len()), (2, long.len()));
        let taken = std::cell::RefCell::new(Vec::new());
        let take = |bytes: &[u8]| {
            taken.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        };
        queue.write_to(|bytes| take(&bytes[..bytes.len().min(100)]), note);
        assert!(queue.is_empty() && taken.borrow().ends_with(b"xlost 2\n"));
        assert!(queue.bytes.capacity() <= IDLE_CAPACITY, "memory is given back");
        // With room again but not yet flushed, the note stands before the next line.
        queue.push(&long, note);
        queue.push(&[b'y'; 11], note);
        queue.written = queue.bytes.len() - 1;
        queue.push(b"z\n", note);
        assert_eq!(queue.bytes, b"xlost 1\nz\n");
    }

    #[test]
    fn a_stalled_output_keeps_lines_in_order_and_a_broken_one_drops_them() {
        let mut queue = Queue::default();
        queue.push(b"one\n", note);
        let taken = std::cell::RefCell::new(Vec::new());
        let two_bytes = |bytes: &[u8]| {
            let room = 2 - taken.borrow().len().min(2);
            taken.borrow_mut().extend_from_slice(&bytes[..room]);
            Ok(room)
        };
        queue.write_to(two_bytes, note);
        queue.push(b"two\n", note);
        assert_eq!((taken.borrow().as_slice(), queue.bytes.as_slice()), (&b"on"[..], &b"e\ntwo\n"[..]));
        queue.lost = 3;
        queue.write_to(|_| Err(io::ErrorKind::BrokenPipe.into()), note);
        assert!(queue.is_empty());
    }
}
