//! The reader thread: stdin to the journal and, line by line, to the main loop.
//!
//! Leaves to the server what is in a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// What stdin brings.
pub enum Event {
    /// A line with its newline, which only the last one may lack.
    Line(Vec<u8>),
    Eof,
}

/// Starts reading. Nothing more is read once `hung` is set, but for what the thread is just waiting for.
pub fn start(journal: Option<File>, hung: Arc<AtomicBool>) -> Receiver<Event> {
    let (sender, events) = sync_channel(LINES_AHEAD);
    std::thread::spawn(move || read_lines(&sender, journal, &hung));
    events
}

/// Reads until stdin ends. A full channel stops it, so a busy server pushes back on its client as any other does.
fn read_lines(sender: &SyncSender<Event>, mut journal: Option<File>, hung: &AtomicBool) {
    let mut stdin = BufReader::with_capacity(64 * 1024, io::stdin());
    while !hung.load(Ordering::Relaxed) {
        let mut line = Vec::new();
        match stdin.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if let Some(journal) = &mut journal
            && let Err(error) = journal.write_all(&line)
        {
            eprintln!("demo-server: cannot write the journal: {error}");
        }
        if sender.send(Event::Line(line)).is_err() {
            return;
        }
    }
    if !hung.load(Ordering::Relaxed) {
        let _ = sender.send(Event::Eof);
    }
}

/// Lines that are read before the main loop takes them.
const LINES_AHEAD: usize = 64;
