//! The floor: the least that can be called a relay, and the yardstick of every ratio.
//!
//! One thread, one epoll set. It accepts Unix clients, spawns one child over pipes, replaces the
//! integer after `"id":` by a slot number, puts the old one back on the way home, and forwards whole
//! lines with one write per destination and turn. Nothing else: no JSON, no limits, no timeouts, no
//! backpressure, no handshake cache. The `initialize` of each client goes through to the child like
//! any request, and its `notifications/initialized` too; the echo server answers each the same way.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use memchr::memmem;

use crate::lines::{Inbox, Outbox, Pool, push_integer};
use crate::payload::parse_integer;
use crate::sys::{self, Interest, Poll};

/// Listens on `socket` and relays until the child ends its output.
pub fn run(socket: &Path, command: &[OsString]) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let (program, args) =
        command.split_first().ok_or_else(|| io::Error::other("--floor needs a command after --"))?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    sys::die_with_parent(&mut command);
    let mut child = command.spawn()?;
    let input = child.stdin.take().expect("stdin is piped");
    let output = child.stdout.take().expect("stdout is piped");
    let mut floor = Floor::new(listener, OwnedFd::from(input).into(), OwnedFd::from(output).into())?;
    while floor.turn()? {}
    drop(floor);
    child.wait()?;
    Ok(())
}

struct Floor {
    poll: Poll,
    listener: UnixListener,
    child: Side,
    child_output: File,
    clients: Vec<Option<Side>>,
    free_clients: Vec<usize>,
    /// Who waits for an answer; the index is the id at the child.
    waiting: Vec<Waiting>,
    free_waiting: Vec<usize>,
    /// Clients with something to send this turn.
    dirty: Vec<usize>,
    accepted: u64,
    pool: Pool,
    find_id: memmem::Finder<'static>,
}

/// One destination: a client, or the child's standard input.
struct Side {
    fd: File,
    /// Tells a client from a later one in the same place.
    serial: u64,
    inbox: Inbox,
    outbox: Outbox,
    dirty: bool,
    /// Waits for room to write.
    blocked: bool,
}

#[derive(Clone, Copy)]
struct Waiting {
    client: usize,
    serial: u64,
    id: u64,
}

impl Floor {
    fn new(listener: UnixListener, input: File, output: File) -> io::Result<Self> {
        for pipe in [&input, &output] {
            sys::set_nonblocking(pipe)?;
            sys::widen_pipe(pipe);
        }
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER, Interest::Read)?;
        poll.add(&output, CHILD_OUTPUT, Interest::Read)?;
        Ok(Self {
            poll,
            listener,
            child: Side::new(input, 0),
            child_output: output,
            clients: Vec::new(),
            free_clients: Vec::new(),
            waiting: Vec::new(),
            free_waiting: Vec::new(),
            dirty: Vec::new(),
            accepted: 0,
            pool: Pool::default(),
            find_id: memmem::Finder::new(b"\"id\":"),
        })
    }

    /// Waits, reads whatever is ready, then writes each destination once. False when the child is gone.
    fn turn(&mut self) -> io::Result<bool> {
        let count = self.poll.wait(None)?;
        for index in 0..count {
            let ready = self.poll.ready(index);
            match ready.token {
                LISTENER => self.accept()?,
                CHILD_OUTPUT => {
                    if !self.read_child()? {
                        return Ok(false);
                    }
                }
                CHILD_INPUT => self.child.dirty = true,
                token => {
                    let client = (token - FIRST_CLIENT) as usize;
                    if ready.writable {
                        mark(&mut self.clients, &mut self.dirty, client);
                    }
                    if ready.readable && !self.read_client(client) {
                        self.close(client);
                    }
                }
            }
        }
        self.flush()?;
        Ok(true)
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            let place = self.free_clients.pop().unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            self.poll.add(&stream, FIRST_CLIENT + place as u64, Interest::Read)?;
            self.accepted += 1;
            self.clients[place] = Some(Side::new(from_stream(stream), self.accepted));
        }
        Ok(())
    }

    /// One read of a client; its whole lines go to the child. False when it is gone.
    fn read_client(&mut self, place: usize) -> bool {
        let Some(client) = &mut self.clients[place] else { return true };
        match client.inbox.read(&client.fd, &mut self.pool) {
            Ok(None) => return true,
            Ok(Some(0)) | Err(_) => return false,
            Ok(Some(_)) => {}
        }
        let out = &mut self.child.outbox.buffer;
        while let Some(line) = client.inbox.next_line() {
            if let Some((start, end, id)) = find_integer_id(&self.find_id, line) {
                let waiting = Waiting { client: place, serial: client.serial, id };
                let slot = match self.free_waiting.pop() {
                    Some(slot) => {
                        self.waiting[slot] = waiting;
                        slot
                    }
                    None => {
                        self.waiting.push(waiting);
                        self.waiting.len() - 1
                    }
                };
                push_line(out, line, start, end, slot as u64);
            } else {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
        }
        client.inbox.settle(&mut self.pool);
        self.child.dirty = true;
        true
    }

    /// One read of the child; its answers go to whoever asked. False when it is gone.
    fn read_child(&mut self) -> io::Result<bool> {
        match self.child.inbox.read(&self.child_output, &mut self.pool)? {
            None => return Ok(true),
            Some(0) => return Ok(false),
            Some(_) => {}
        }
        while let Some(line) = self.child.inbox.next_line() {
            let Some((start, end, slot)) = find_integer_id(&self.find_id, line) else { continue };
            let Some(&Waiting { client, serial, id }) = self.waiting.get(slot as usize) else { continue };
            self.free_waiting.push(slot as usize);
            let Some(side) = &mut self.clients[client] else { continue };
            if side.serial == serial {
                push_line(&mut side.outbox.buffer, line, start, end, id);
                mark(&mut self.clients, &mut self.dirty, client);
            }
        }
        self.child.inbox.settle(&mut self.pool);
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.child.dirty) {
            let blocked = !self.child.outbox.flush(&self.child.fd)?;
            if blocked != self.child.blocked {
                match blocked {
                    true => self.poll.add(&self.child.fd, CHILD_INPUT, Interest::Write)?,
                    false => self.poll.remove(&self.child.fd)?,
                }
                self.child.blocked = blocked;
            }
        }
        while let Some(place) = self.dirty.pop() {
            let Some(client) = &mut self.clients[place] else { continue };
            client.dirty = false;
            let Ok(flushed) = client.outbox.flush(&client.fd) else {
                self.close(place);
                continue;
            };
            if client.blocked == flushed {
                let interest = if flushed { Interest::Read } else { Interest::ReadWrite };
                self.poll.modify(&client.fd, FIRST_CLIENT + place as u64, interest)?;
                client.blocked = !flushed;
            }
        }
        Ok(())
    }

    fn close(&mut self, place: usize) {
        // Closing the descriptor takes it out of the epoll set.
        if self.clients[place].take().is_some() {
            self.free_clients.push(place);
        }
    }
}

impl Side {
    fn new(fd: File, serial: u64) -> Self {
        Self { fd, serial, inbox: Inbox::default(), outbox: Outbox::default(), dirty: false, blocked: false }
    }
}

fn mark(clients: &mut [Option<Side>], dirty: &mut Vec<usize>, place: usize) {
    if let Some(client) = &mut clients[place]
        && !std::mem::replace(&mut client.dirty, true)
    {
        dirty.push(place);
    }
}

/// Start and end of the integer after the first `"id":`, and its value.
fn find_integer_id(finder: &memmem::Finder<'_>, line: &[u8]) -> Option<(usize, usize, u64)> {
    let start = finder.find(line)? + 5;
    let len = line[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((start, start + len, parse_integer(&line[start..start + len])?))
}

/// Appends `line` with `id` in the place of the bytes from `start` to `end`, and a newline.
fn push_line(out: &mut Vec<u8>, line: &[u8], start: usize, end: usize, id: u64) {
    out.reserve(line.len() + 24);
    out.extend_from_slice(&line[..start]);
    push_integer(out, id);
    out.extend_from_slice(&line[end..]);
    out.push(b'\n');
}

fn from_stream(stream: UnixStream) -> File {
    OwnedFd::from(stream).into()
}

const LISTENER: u64 = 0;
const CHILD_OUTPUT: u64 = 1;
const CHILD_INPUT: u64 = 2;
const FIRST_CLIENT: u64 = 3;
