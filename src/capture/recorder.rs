//! [`Recorder`]: the platform as it is, with a [`Tape`] that runs along.

use super::Tape;
use super::event::{Bytes, Event, Fault, Started};
use crate::base::Key;
use crate::engine::port::{Accepted, Io, Kill, Platform, SpawnSpec, Spawned};
use std::borrow::Cow;
use std::io::{self, IoSlice};

/// Passes everything on, and writes down what came back. Made anew for each call of the engine: it borrows
/// what it stands before.
pub struct Recorder<'a> {
    inner: &'a mut dyn Platform,
    tape: &'a Tape,
}

impl<'a> Recorder<'a> {
    pub fn new(inner: &'a mut dyn Platform, tape: &'a Tape) -> Recorder<'a> {
        Recorder { inner, tape }
    }

    fn wrap(&self, io: Box<dyn Io>) -> (u32, Box<dyn Io>) {
        let link = self.tape.new_link(&*io);
        (link, Box::new(Recorded { inner: io, link, tape: self.tape.clone() }))
    }
}

impl Platform for Recorder<'_> {
    fn accept(&mut self, listener: usize) -> io::Result<Accepted> {
        match self.inner.accept(listener) {
            Ok(Accepted { io, peer_pid, address }) => {
                let (link, io) = self.wrap(io);
                self.tape.event(&Event::Accept { listener, link: Some(link), address, error: None });
                Ok(Accepted { io, peer_pid, address })
            }
            Err(error) => {
                let fault = Some(Fault::of(&error));
                self.tape.event(&Event::Accept { listener, link: None, address: None, error: fault });
                Err(error)
            }
        }
    }

    fn register(&mut self, key: Key, io: &mut dyn Io) -> io::Result<()> {
        let outcome = self.inner.register(key, io);
        self.tape.register(key, io, outcome.as_ref().err().map(Fault::of));
        outcome
    }

    fn deregister(&mut self, key: Key, io: &mut dyn Io) {
        self.tape.deregister(key);
        self.inner.deregister(key, io);
    }

    fn spawn(&mut self, process: Key, spec: &SpawnSpec) -> Result<Spawned, String> {
        let spawned = self.inner.spawn(process, spec).map(|spawned| {
            let (stdio_link, stdio) = self.wrap(spawned.stdio);
            let (stderr_link, stderr) = self.wrap(spawned.stderr);
            let started = Started { pid: spawned.pid, stdio: stdio_link, stderr: stderr_link };
            (Spawned { pid: spawned.pid, stdio, stderr }, started)
        });
        let outcome = spawned.as_ref().map(|(_, started)| *started).map_err(Clone::clone);
        self.tape.event(&Event::Spawn { process: process.as_u64(), spec: self.tape.spec(spec), outcome });
        spawned.map(|(spawned, _)| spawned)
    }

    fn kill(&mut self, process: Key, how: Kill) {
        self.tape.event(&Event::Kill { process: process.as_u64(), how: how.into() });
        self.inner.kill(process, how);
    }

    fn sweep(&mut self, process: Key) {
        self.tape.event(&Event::Sweep { process: process.as_u64() });
        self.inner.sweep(process);
    }

    fn random(&mut self, bytes: &mut [u8]) {
        self.inner.random(bytes);
        self.tape.event(&Event::Random { data: Bytes((&*bytes).into()) });
    }

    fn resident_bytes(&self, pid: u32) -> Option<u64> {
        let bytes = self.inner.resident_bytes(pid);
        self.tape.event(&Event::Resident { pid, bytes });
        bytes
    }
}

/// A stream of the platform's.
struct Recorded {
    inner: Box<dyn Io>,
    link: u32,
    tape: Tape,
}

impl Io for Recorded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let outcome = self.inner.read(buf);
        let (data, error) = match &outcome {
            Ok(n) => (Bytes(Cow::Borrowed(&buf[..*n])), None),
            Err(error) => (Bytes::NONE, Some(Fault::of(error))),
        };
        self.tape.event(&Event::Read { link: self.link, data, error });
        outcome
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let outcome = self.inner.write(pieces);
        let of = pieces.iter().map(|piece| piece.len()).sum();
        match (&outcome, pieces) {
            (Ok(n), [piece]) => self.tape.write(self.link, of, &piece[..*n]),
            (Ok(n), pieces) => {
                let mut taken = Vec::with_capacity(*n);
                for piece in pieces {
                    taken.extend_from_slice(&piece[..piece.len().min(n - taken.len())]);
                }
                self.tape.write(self.link, of, &taken);
            }
            (Err(error), _) => {
                let error = Some(Fault::of(error));
                self.tape.event(&Event::Write { link: self.link, of, data: Bytes::NONE, error });
            }
        }
        outcome
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let outcome = self.inner.shutdown_write();
        let error = outcome.as_ref().err().map(Fault::of);
        self.tape.event(&Event::Shutdown { link: self.link, error });
        outcome
    }

    fn descriptors(&self) -> [i32; 2] {
        self.inner.descriptors()
    }
}
