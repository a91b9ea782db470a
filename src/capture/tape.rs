//! [`Tape`]: the file that a recording goes to, as everybody holds it who adds to it.

use super::event::{Bytes, Event, FORMAT, Fault, Header, ReadyLine, Setup};
use crate::base::{Key, Time};
use crate::engine::ServerSetup;
use crate::engine::operate::Host;
use crate::engine::port::{Io, Ready, SpawnSpec};
#[cfg(feature = "http")]
use crate::front::Settings;
#[cfg(feature = "gateway")]
use crate::gateway;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::{Rc, Weak};

/// A recording under way, or none: then every call is nothing.
///
/// The file is written through one buffer, emptied at the end of each turn. A file that cannot be written
/// ends the recording with an error in the log, never muxloop.
#[derive(Clone, Default)]
pub struct Tape(Option<Rc<RefCell<Writer>>>);

struct Writer {
    out: Option<BufWriter<Box<dyn Write>>>,
    /// How processes are started: the place is the number that stands for it.
    specs: Vec<SpawnSpec>,
    /// Numbers of links that are not registered yet, by their descriptors (which may change later).
    new_links: BTreeMap<[i32; 2], u32>,
    /// Numbers of registered links.
    links: BTreeMap<Key, u32>,
    links_ever: u32,
    turns: u64,
    bytes_out: u64,
}

impl Tape {
    /// Makes a file that nobody else may read, and never overwrites one.
    ///
    /// # Errors
    /// In words that name the file.
    pub fn create(path: &Path) -> Result<Tape, String> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} exists already, and a recording overwrites nothing", path.display())
            }
            _ => format!("{} cannot be made: {error}", path.display()),
        })?;
        let tape = Tape::to(Box::new(file));
        tape.keep_in_panic();
        Ok(tape)
    }

    /// Records to anything.
    pub fn to(out: Box<dyn Write>) -> Tape {
        Tape(Some(Rc::new(RefCell::new(Writer {
            out: Some(BufWriter::with_capacity(BUFFER, out)),
            specs: Vec::new(),
            new_links: BTreeMap::new(),
            links: BTreeMap::new(),
            links_ever: 0,
            turns: 0,
            bytes_out: 0,
        }))))
    }

    pub fn is_on(&self) -> bool {
        cfg!(any(test, feature = "inspect")) && self.0.is_some()
    }

    /// The first line. `unix_ms`: at the start of the clock.
    pub fn header(&self, setups: &[ServerSetup], seed: u64, unix_ms: u64) {
        self.with(|writer| {
            let header = Header {
                muxloop_capture: FORMAT,
                version: env!("CARGO_PKG_VERSION").into(),
                recorded_at: crate::base::date::rfc3339(unix_ms),
                seed: seed.to_string(),
                servers: setups.iter().map(|setup| writer.setup(setup)).collect(),
            };
            writer.line(&header);
        });
    }

    pub fn open_control(&self, listener: usize, host: &Host) {
        self.with(|writer| writer.line(&Event::OpenControl { listener, host: host.clone() }));
    }

    #[cfg(feature = "http")]
    pub fn open_http(&self, settings: &Settings) {
        self.with(|writer| writer.line(&Event::OpenHttp { settings: settings.clone() }));
    }

    #[cfg(feature = "http")]
    pub fn open_http_door(&self, listener: usize, loopback: bool) {
        self.with(|writer| writer.line(&Event::OpenHttpDoor { listener, loopback }));
    }

    #[cfg(feature = "http")]
    pub fn close_http_door(&self, listener: usize) {
        self.with(|writer| writer.line(&Event::CloseHttpDoor { listener }));
    }

    pub fn begin(&self, now: Time) {
        self.with(|writer| writer.line(&Event::Begin { now: now.0 }));
    }

    pub fn turn(&self, now: Time, ready: &[Ready]) {
        self.with(|writer| {
            writer.turns += 1;
            writer.line(&Event::Turn { now: now.0, ready: ready.iter().map(ReadyLine::of).collect() });
        });
    }

    pub fn log(&self, now: Time, server: Option<usize>, text: &str) {
        self.with(|writer| writer.line(&Event::Log { now: now.0, server, text: Cow::Borrowed(text) }));
    }

    pub fn add_server(&self, setup: &ServerSetup, listener: usize) {
        self.with(|writer| {
            let setup = writer.setup(setup);
            writer.line(&Event::AddServer { listener, setup });
        });
    }

    pub fn begin_server(&self, now: Time, server: usize) {
        self.with(|writer| writer.line(&Event::BeginServer { now: now.0, server }));
    }

    pub fn change_server(&self, now: Time, server: usize, setup: &ServerSetup) {
        self.with(|writer| {
            let setup = writer.setup(setup);
            writer.line(&Event::ChangeServer { now: now.0, server, setup });
        });
    }

    pub fn rename_server(&self, server: usize, setup: &ServerSetup) {
        self.with(|writer| {
            let setup = writer.setup(setup);
            writer.line(&Event::RenameServer { server, setup });
        });
    }

    pub fn retire_server(&self, now: Time, server: usize) {
        self.with(|writer| writer.line(&Event::RetireServer { now: now.0, server }));
    }

    #[cfg(feature = "gateway")]
    pub fn merge(&self, now: Time, setup: &ServerSetup, parts: &gateway::Setup) {
        self.with(|writer| {
            let setup = writer.setup(setup);
            let parts = super::merged::without_secrets(parts);
            writer.line(&Event::Merge { now: now.0, setup, parts });
        });
    }

    #[cfg(feature = "gateway")]
    pub fn unmerge(&self, now: Time, name: &str) {
        self.with(|writer| writer.line(&Event::Unmerge { now: now.0, name: name.into() }));
    }

    #[cfg(feature = "gateway")]
    pub fn on_server_changed(&self, now: Time, server: usize) {
        self.with(|writer| writer.line(&Event::OnServerChanged { now: now.0, server }));
    }

    pub fn arrange_servers(&self, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.with(|writer| writer.line(&Event::ArrangeServers { names }));
    }

    /// `verb` is `start`, `stop` or `restart`.
    pub fn steer(&self, now: Time, server: usize, verb: &str) {
        self.with(|writer| writer.line(&Event::Steer { now: now.0, server, verb: verb.into() }));
    }

    pub fn drain(&self, now: Time, timeout_ms: u64) {
        self.with(|writer| writer.line(&Event::Drain { now: now.0, timeout_ms }));
    }

    pub fn answer_reload(&self, outcome: &Result<Value, String>) {
        self.with(|writer| writer.line(&Event::AnswerReload { outcome: outcome.clone() }));
    }

    pub fn stop(&self, now: Time) {
        self.with(|writer| writer.line(&Event::Stop { now: now.0 }));
    }

    /// Hands everything to the kernel.
    pub fn flush(&self) {
        self.with(Writer::flush);
    }

    /// The last line: the recording is whole.
    pub fn end(&self) {
        self.with(|writer| {
            writer.line(&Event::End { turns: writer.turns, bytes_out: writer.bytes_out });
            writer.flush();
        });
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        self.with(|writer| writer.line(event));
    }

    pub(super) fn write(&self, link: u32, of: usize, taken: &[u8]) {
        self.with(|writer| {
            writer.bytes_out += taken.len() as u64;
            writer.line(&Event::Write { link, of, data: Bytes(taken.into()), error: None });
        });
    }

    /// Gives a stream its number.
    pub(super) fn new_link(&self, io: &dyn Io) -> u32 {
        let mut number = 0;
        self.with(|writer| {
            writer.links_ever += 1;
            number = writer.links_ever;
            writer.new_links.insert(io.descriptors(), number);
        });
        number
    }

    /// A stream gets its key.
    pub(super) fn register(&self, key: Key, io: &dyn Io, error: Option<Fault>) {
        self.with(|writer| {
            let link = writer.new_links.remove(&io.descriptors()).unwrap_or(0);
            writer.links.insert(key, link);
            writer.line(&Event::Register { key: key.as_u64(), link, error });
        });
    }

    /// And loses it.
    pub(super) fn deregister(&self, key: Key) {
        self.with(|writer| {
            let link = writer.links.remove(&key).unwrap_or(0);
            writer.line(&Event::Deregister { key: key.as_u64(), link });
        });
    }

    pub(super) fn spec(&self, spec: &SpawnSpec) -> usize {
        let mut number = 0;
        self.with(|writer| number = writer.spec(spec));
        number
    }

    fn with(&self, add: impl FnOnce(&mut Writer)) {
        // Where nothing can be recorded, `is_on` is constant, and all of this leaves the binary.
        if self.is_on()
            && let Some(writer) = &self.0
        {
            add(&mut writer.borrow_mut());
        }
    }

    /// What led to a panic is what a recording is for: it goes to the file before the program ends.
    fn keep_in_panic(&self) {
        let Some(writer) = &self.0 else { return };
        NEWEST.with(|newest| *newest.borrow_mut() = Rc::downgrade(writer));
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let writer = NEWEST.try_with(|newest| newest.borrow().upgrade()).ok().flatten();
            if let Some(writer) = writer
                && let Ok(mut writer) = writer.try_borrow_mut()
            {
                writer.flush();
            }
            report(info);
        }));
    }
}

impl Writer {
    fn setup(&mut self, setup: &ServerSetup) -> Setup {
        let spec = self.spec(&setup.spawn);
        Setup::of(setup, spec)
    }

    fn spec(&mut self, spec: &SpawnSpec) -> usize {
        let known = self.specs.iter().position(|known| known == spec);
        known.unwrap_or_else(|| {
            self.specs.push(spec.clone());
            self.specs.len() - 1
        })
    }

    fn line(&mut self, line: &impl Serialize) {
        let Some(out) = &mut self.out else { return };
        let written = serde_json::to_writer(&mut *out, line).map_err(io::Error::from);
        let written = written.and_then(|()| out.write_all(b"\n"));
        self.check(written);
    }

    fn flush(&mut self) {
        let flushed = self.out.as_mut().map_or(Ok(()), Write::flush);
        self.check(flushed);
    }

    fn check(&mut self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            log::error!(target: "muxloop", "the recording ends here, it cannot be written: {error}");
            // What the buffer still holds cannot be written either.
            if let Some(out) = self.out.take() {
                let _ = out.into_parts();
            }
        }
    }
}

thread_local! {
    static NEWEST: RefCell<Weak<RefCell<Writer>>> = const { RefCell::new(Weak::new()) };
}

/// Bytes of the one buffer.
const BUFFER: usize = 64 << 10;
