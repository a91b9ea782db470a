//! [`Script`]: a recording as it is read back, line by line, and where its replay stands.

use super::difference;
use super::event::{Event, FORMAT, Header};
use crate::base::limits::{CHILD_MESSAGE_MAX, CLIENT_SEND_MAX};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

/// A recording, and what has been compared of it.
pub(super) struct Script {
    input: Box<dyn BufRead>,
    /// The number of the line in `line`, from 1.
    number: usize,
    line: Vec<u8>,
    ending: Option<Ending>,
    pub turns: u64,
    pub bytes_out: u64,
    /// Time of the newest input.
    pub now: u64,
    links: BTreeMap<u32, Link>,
    /// What people call what stands behind a listener.
    doors: BTreeMap<usize, Door>,
    clients: u64,
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// The file ends before the recording does.
    CutOff(String),
    Different(String),
    Bad(String),
}

#[derive(Clone, Debug)]
enum Door {
    Server(String),
    Control,
}

/// A stream of the recording.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub name: String,
    /// Bytes written to it.
    pub sent: u64,
    /// Those since the last line break, of a line that is not too long to be shown.
    pub line: Vec<u8>,
    door: Option<Door>,
}

impl Script {
    /// Reads the header.
    ///
    /// # Errors
    /// Why it is no recording that can be replayed.
    pub fn open(input: Box<dyn BufRead>) -> Result<(Script, Header), String> {
        let mut script = Script {
            input,
            number: 0,
            line: Vec::new(),
            ending: None,
            turns: 0,
            bytes_out: 0,
            now: 0,
            links: BTreeMap::new(),
            doors: BTreeMap::new(),
            clients: 0,
        };
        let is_whole = script.read_line()?;
        // Whatever else it says: another format is known by this one member.
        let value: serde_json::Value = serde_json::from_slice(&script.line)
            .map_err(|_| "no recording of muxloop, its first line is no JSON".to_owned())?;
        match value["muxloop_capture"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(format!("a recording of format {format}, expected {FORMAT}")),
            None => return Err("no recording of muxloop, there is no \"muxloop_capture\" in it".to_owned()),
        }
        if !is_whole {
            return Err("cut off in its first line".to_owned());
        }
        let header: Header =
            serde_json::from_value(value).map_err(|error| format!("not understood: {error}"))?;
        for (listener, setup) in header.servers.iter().enumerate() {
            script.open_door(listener, Some(&setup.policy.name));
        }
        Ok((script, header))
    }

    /// The number of the newest line.
    pub fn line_number(&self) -> usize {
        self.number
    }

    /// What is behind a listener: a server's clients, or (`None`) operators.
    pub fn open_door(&mut self, listener: usize, server: Option<&str>) {
        self.doors.insert(listener, server.map_or(Door::Control, |name| Door::Server(name.to_owned())));
    }

    /// What the program around the engine did next. `None`: the replay has ended.
    pub fn next_input(&mut self) -> Option<Event<'static>> {
        let event = self.take()?;
        if !event.is_input() {
            self.differ(Some(&event), None);
            return None;
        }
        if let Event::End { .. } = event {
            self.ending = Some(Ending::Whole);
            return None;
        }
        Some(event)
    }

    /// What the engine called next in the recording; `now` is what it calls now. `None`: the replay has
    /// ended.
    pub fn next_call(&mut self, now: &Event<'_>) -> Option<Event<'static>> {
        let event = self.take()?;
        if event.is_input() {
            self.differ(None, Some(now));
            return None;
        }
        Some(event)
    }

    /// Ends the replay: the engine did something else, or (`None`) nothing.
    pub fn differ(&mut self, recorded: Option<&Event<'_>>, now: Option<&Event<'_>>) {
        let words = |event: Option<&Event<'_>>| match event {
            Some(event) => difference::words(event, self),
            None => "nothing more here".to_owned(),
        };
        let text = format!("  recorded: {}\n  now:      {}", words(recorded), words(now));
        self.end_different("muxloop did something else", &text);
    }

    pub fn end_different(&mut self, what: &str, text: &str) {
        let seconds = format!("{}.{:03} s", self.now / 1_000, self.now % 1_000);
        let place = format!("turn {}, {seconds} after the start", self.turns);
        self.end(Ending::Different(format!("{place}\n{what}:\n{text}")));
    }

    pub fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// The first one counts.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    pub fn link(&mut self, link: u32) -> &mut Link {
        self.links.entry(link).or_default()
    }

    /// What people call a stream.
    pub fn name(&self, link: u32) -> &str {
        match self.links.get(&link) {
            Some(link) if !link.name.is_empty() => &link.name,
            _ => "an unknown connection",
        }
    }

    /// A connection came in.
    pub fn accepted(&mut self, link: u32, listener: usize) {
        let door = self.doors.get(&listener).cloned();
        let name = match &door {
            Some(Door::Server(server)) => format!("a client of '{server}'"),
            _ => "a control connection".to_owned(),
        };
        *self.link(link) = Link { name, door, ..Link::default() };
    }

    /// It was taken: clients are counted as the engine counts them.
    pub fn registered(&mut self, link: u32) {
        let number = self.clients + 1;
        if let Some(Door::Server(server)) = self.link(link).door.take() {
            self.link(link).name = format!("client {number} of '{server}'");
            self.clients = number;
        }
    }

    fn take(&mut self) -> Option<Event<'static>> {
        if self.ending.is_some() {
            return None;
        }
        match self.read_line() {
            Err(why) => self.end(Ending::Bad(why)),
            Ok(_) if self.line.is_empty() => self.end(Ending::CutOff(
                "the recording ends here without its last line: muxloop was killed, or still records"
                    .to_owned(),
            )),
            Ok(false) => self.end(Ending::CutOff("the recording ends in the middle of this line".to_owned())),
            Ok(true) => match serde_json::from_slice(&self.line) {
                Ok(event) => return Some(event),
                Err(error) => {
                    let why = needed_for(&self.line).unwrap_or_else(|| without_line(&error));
                    self.end(Ending::Bad(format!("not understood: {why}")));
                }
            },
        }
        None
    }

    /// Reads the next line; whether it has its end.
    fn read_line(&mut self) -> Result<bool, String> {
        self.line.clear();
        self.number += 1;
        let read = self.input.by_ref().take(LINE_MAX).read_until(b'\n', &mut self.line);
        read.map_err(|error| format!("cannot be read: {error}"))?;
        if self.line.len() as u64 == LINE_MAX {
            return Err(format!("longer than {LINE_MAX} bytes"));
        }
        Ok(self.line.ends_with(b"\n"))
    }
}

impl Link {
    /// Bytes went out.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.sent += bytes.len() as u64;
        match memchr::memrchr(b'\n', bytes) {
            Some(at) => {
                self.line.clear();
                self.line.extend_from_slice(&bytes[at + 1..]);
            }
            None => self.line.extend_from_slice(bytes),
        }
    }
}

/// Why this muxloop does not know an event that others do.
fn needed_for(line: &[u8]) -> Option<String> {
    let lacks_gateway = cfg!(not(feature = "gateway"));
    let lacks_http = cfg!(not(feature = "http"));
    let events: [(bool, &[&str], &str, &str); 2] = [
        (lacks_gateway, &["merge", "unmerge", "on_server_changed"], "a merged endpoint", "gateway"),
        (lacks_http, &["open_http", "open_http_door", "close_http_door"], "HTTP", "http"),
    ];
    let line = std::str::from_utf8(line).ok()?;
    let is =
        |name: &&str| line.strip_prefix("{\"").is_some_and(|rest| rest.starts_with(&format!("{name}\"")));
    let (.., what, feature) = events.into_iter().find(|(lacks, names, ..)| *lacks && names.iter().any(is))?;
    Some(format!("{what} is recorded here, and that needs the feature `{feature}` when muxloop is built"))
}

/// Each line is one text of its own: the parser's own line number would only mislead.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" at line ").unwrap_or(text.len());
    format!("{} (column {})", &text[..cut], error.column())
}

/// The longest possible write, each byte as six characters.
const LINE_MAX: u64 = 6 * (CHILD_MESSAGE_MAX + CLIENT_SEND_MAX) as u64;
