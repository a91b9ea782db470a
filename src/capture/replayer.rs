//! [`replay`]: a new engine is given what the recorded one was given, and must do what that did.

use super::difference;
use super::event::{Bytes, Event, Fault, KillWord, ReadyLine, Started};
use super::script::{Ending, Script};
use crate::base::{Key, Time};
use crate::engine::Engine;
use crate::engine::operate::{Ticket, Wish};
use crate::engine::port::{Accepted, Io, Kill, Platform, Ready, SpawnSpec, Spawned};
#[cfg(feature = "gateway")]
use crate::gateway;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, BufRead, IoSlice};
use std::rc::Rc;

/// What a replay came to. `turns` and `bytes_out`: how much was compared, and the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Same {
        turns: u64,
        bytes_out: u64,
    },
    /// The line of the recording, and in lines for a person when and where it was, and both texts.
    Different {
        line: usize,
        text: String,
    },
    /// The same up to this line, where the file ends too early.
    CutOff {
        line: usize,
        why: String,
        turns: u64,
        bytes_out: u64,
    },
    /// This line cannot be replayed.
    Bad {
        line: usize,
        why: String,
    },
}

/// Replays a recording; the second is the version of the muxloop that made it, as far as it is known.
pub fn replay(input: Box<dyn BufRead>) -> (Outcome, Option<String>) {
    let (script, header) = match Script::open(input) {
        Ok(opened) => opened,
        Err(why) => return (Outcome::Bad { line: 1, why }, None),
    };
    let Ok(seed) = header.seed.parse() else {
        return (Outcome::Bad { line: 1, why: "the seed is no number".into() }, Some(header.version));
    };
    let setups = header.servers.iter().map(|setup| setup.for_replay()).collect();
    let script = Rc::new(RefCell::new(script));
    let mut replay = Replay {
        engine: Engine::new(setups, seed),
        platform: Replayer { script: script.clone() },
        reloads: VecDeque::new(),
    };
    loop {
        let input = script.borrow_mut().next_input();
        let Some(input) = input else { break };
        if let Err(why) = replay.feed(input) {
            script.borrow_mut().end(Ending::Bad(why));
        }
    }
    (outcome(&script.borrow()), Some(header.version))
}

fn outcome(script: &Script) -> Outcome {
    let (line, turns, bytes_out) = (script.line_number(), script.turns, script.bytes_out);
    match script.ending().cloned() {
        Some(Ending::Different(text)) => Outcome::Different { line, text },
        Some(Ending::CutOff(why)) => Outcome::CutOff { line, why, turns, bytes_out },
        Some(Ending::Bad(why)) => Outcome::Bad { line, why },
        Some(Ending::Whole) | None => Outcome::Same { turns, bytes_out },
    }
}

struct Replay {
    engine: Engine,
    platform: Replayer,
    /// Reloads that were asked for and not answered yet.
    reloads: VecDeque<Option<Ticket>>,
}

impl Replay {
    /// Has the engine do what the program around it did.
    fn feed(&mut self, input: Event<'static>) -> Result<(), String> {
        match input {
            Event::OpenControl { listener, host } => {
                self.door(listener, None)?;
                if host.unix_ms > DATE_MAX {
                    return Err(format!("{} ms are no date", host.unix_ms));
                }
                self.engine.open_control(listener, host);
            }
            #[cfg(feature = "http")]
            Event::OpenHttp { settings } => self.engine.open_http(settings),
            #[cfg(feature = "http")]
            Event::OpenHttpDoor { listener, loopback } => {
                self.door(listener, None)?;
                self.engine.open_http_door(listener, loopback);
            }
            #[cfg(feature = "http")]
            Event::CloseHttpDoor { listener } => self.engine.close_http_door(listener),
            Event::Begin { now } => {
                let now = self.time(now)?;
                self.engine.begin(now, &mut self.platform);
            }
            Event::Turn { now, ready } => self.turn(now, &ready)?,
            Event::Log { now, server, text } => {
                let now = self.time(now)?;
                server.map_or(Ok(()), |server| self.known(server))?;
                self.engine.note_log(now, server, text.into_owned());
            }
            Event::AddServer { listener, setup } => {
                self.door(listener, Some(&setup.policy.name))?;
                self.engine.add_server(setup.for_replay(), listener);
            }
            Event::BeginServer { now, server } => {
                let now = self.time(now)?;
                self.known(server)?;
                self.engine.begin_server(now, server);
            }
            Event::ChangeServer { now, server, setup } => {
                let now = self.time(now)?;
                self.known(server)?;
                self.engine.change_server(now, server, setup.for_replay());
            }
            Event::RenameServer { server, setup } => {
                self.known(server)?;
                self.engine.rename_server(server, setup.for_replay());
            }
            Event::RetireServer { now, server } => {
                let now = self.time(now)?;
                self.known(server)?;
                self.engine.retire_server(now, server);
            }
            #[cfg(feature = "gateway")]
            Event::Merge { now, setup, parts } => {
                let now = self.time(now)?;
                parts.servers.iter().try_for_each(|(server, ..)| self.mergeable(*server))?;
                let list_timeout_ms = parts.list_timeout_ms.min(WAIT_MAX);
                let parts = gateway::Setup { list_timeout_ms, ..parts };
                self.engine.merge(now, setup.for_replay(), parts, &mut self.platform);
            }
            #[cfg(feature = "gateway")]
            Event::Unmerge { now, name } => {
                let now = self.time(now)?;
                self.engine.unmerge(now, &name);
            }
            #[cfg(feature = "gateway")]
            Event::OnServerChanged { now, server } => {
                let now = self.time(now)?;
                self.known(server)?;
                self.engine.on_server_changed(now, server, &mut self.platform);
            }
            Event::ArrangeServers { names } => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.engine.arrange_servers(&names);
            }
            Event::Steer { now, server, verb } => {
                let now = self.time(now)?;
                self.known(server)?;
                match verb.as_str() {
                    "start" => self.engine.start_server(now, server),
                    "stop" => self.engine.stop_server(now, server),
                    "restart" => self.engine.restart_server(now, server),
                    _ => return Err(format!("there is no verb '{}'", verb.escape_debug())),
                }
            }
            Event::Drain { now, timeout_ms } => {
                let now = self.time(now)?;
                self.engine.drain_clients(now, timeout_ms.min(WAIT_MAX));
            }
            Event::AnswerReload { outcome } => match self.reloads.pop_front() {
                Some(ticket) => self.engine.answer_reload(ticket, outcome),
                None => self.platform.script.borrow_mut().end_different(
                    "a reload",
                    "  recorded: it was asked for and is done\n  now:      nobody has asked for one",
                ),
            },
            Event::Stop { now } => {
                let now = self.time(now)?;
                self.engine.stop(now);
            }
            other => return Err(format!("out of place: {other:?}")),
        }
        Ok(())
    }

    fn turn(&mut self, now: u64, ready: &[ReadyLine]) -> Result<(), String> {
        let now = self.time(now)?;
        let ready: Vec<Ready> = ready.iter().map(|line| line.to_ready()).collect::<Result<_, _>>()?;
        self.platform.script.borrow_mut().turns += 1;
        self.engine.turn(now, &ready, &mut self.platform);
        self.reloads.extend(self.engine.take_wishes().into_iter().filter_map(|wish| match wish {
            Wish::Reload(ticket) => Some(ticket),
            Wish::Reopen => None,
        }));
        Ok(())
    }

    fn time(&self, now: u64) -> Result<Time, String> {
        let mut script = self.platform.script.borrow_mut();
        if now < script.now {
            return Err(format!("time goes back, from {} to {now} ms", script.now));
        }
        if now > TIME_MAX {
            return Err(format!("{now} ms are more than muxloop can have run"));
        }
        script.now = now;
        Ok(Time(now))
    }

    fn door(&self, listener: usize, server: Option<&str>) -> Result<(), String> {
        if listener > LISTENERS_MAX {
            return Err(format!("there is no listener {listener}"));
        }
        self.platform.script.borrow_mut().open_door(listener, server);
        Ok(())
    }

    /// A merged endpoint is made of servers that have processes.
    #[cfg(feature = "gateway")]
    fn mergeable(&self, server: usize) -> Result<(), String> {
        self.known(server)?;
        match self.engine.is_merged(server) {
            true => Err(format!("server {server} is a merged endpoint itself")),
            false => Ok(()),
        }
    }

    fn known(&self, server: usize) -> Result<(), String> {
        if server < self.engine.places() { Ok(()) } else { Err(format!("there is no server {server}")) }
    }
}

/// A platform that plays a script. Once that has ended it has nothing more to give.
struct Replayer {
    script: Rc<RefCell<Script>>,
}

impl Replayer {
    /// What answered this call, if it is the one of the recording.
    fn answer<T>(
        &self,
        now: &Event<'_>,
        fits: impl FnOnce(&mut Script, &Event<'static>) -> Option<T>,
    ) -> Option<T> {
        answer(&self.script, now, fits)
    }

    fn stream(&self, link: u32) -> Box<dyn Io> {
        Box::new(Stream { script: self.script.clone(), link })
    }
}

fn answer<T>(
    script: &RefCell<Script>,
    now: &Event<'_>,
    fits: impl FnOnce(&mut Script, &Event<'static>) -> Option<T>,
) -> Option<T> {
    let script = &mut *script.borrow_mut();
    let recorded = script.next_call(now)?;
    let answer = fits(script, &recorded);
    if answer.is_none() {
        script.differ(Some(&recorded), Some(now));
    }
    answer
}

impl Platform for Replayer {
    fn accept(&mut self, listener: usize) -> io::Result<Accepted> {
        let now = Event::Accept { listener, link: None, address: None, error: None };
        let link = self.answer(&now, |script, recorded| match recorded {
            Event::Accept { listener: at, error: Some(error), .. } if *at == listener => {
                Some(Err(error.to_error()))
            }
            Event::Accept { listener: at, link: Some(link), address, .. } if *at == listener => {
                script.accepted(*link, listener);
                Some(Ok((*link, *address)))
            }
            _ => None,
        });
        let (link, address) = link.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
        Ok(Accepted { io: self.stream(link), peer_pid: None, address })
    }

    fn register(&mut self, key: Key, io: &mut dyn Io) -> io::Result<()> {
        let [number, _] = io.descriptors();
        let now = Event::Register { key: key.as_u64(), link: number as u32, error: None };
        let outcome = self.answer(&now, |script, recorded| match recorded {
            Event::Register { key: k, link, error } if (*k, *link as i32) == (key.as_u64(), number) => {
                if error.is_none() {
                    script.registered(*link);
                }
                Some(outcome_of(error))
            }
            _ => None,
        });
        outcome.unwrap_or(Ok(()))
    }

    fn deregister(&mut self, key: Key, io: &mut dyn Io) {
        let [number, _] = io.descriptors();
        let now = Event::Deregister { key: key.as_u64(), link: number as u32 };
        self.answer(&now, |_, recorded| match recorded {
            Event::Deregister { key: k, link } => {
                ((*k, *link as i32) == (key.as_u64(), number)).then_some(())
            }
            _ => None,
        });
    }

    fn spawn(&mut self, process: Key, spec: &SpawnSpec) -> Result<Spawned, String> {
        // As `Setup::for_replay` made it.
        let number: usize = spec.args.first().and_then(|number| number.parse().ok()).unwrap_or(0);
        let server = spec.args.get(1).map_or("", String::as_str);
        let now = Event::Spawn { process: process.as_u64(), spec: number, outcome: Err(String::new()) };
        let started = self.answer(&now, |script, recorded| match recorded {
            Event::Spawn { process: p, spec, outcome } if (*p, *spec) == (process.as_u64(), number) => {
                if let Ok(Started { pid, stdio, stderr }) = outcome {
                    let name = format!("server '{server}' (pid {pid})");
                    script.link(*stdio).name = name.clone();
                    script.link(*stderr).name = format!("stderr of {name}");
                }
                Some(outcome.clone())
            }
            _ => None,
        });
        let Started { pid, stdio, stderr } = started.unwrap_or_else(|| Err("the replay has ended".into()))?;
        Ok(Spawned { pid, stdio: self.stream(stdio), stderr: self.stream(stderr) })
    }

    fn kill(&mut self, process: Key, how: Kill) {
        let now = Event::Kill { process: process.as_u64(), how: KillWord::from(how) };
        self.answer(&now, |_, recorded| match recorded {
            Event::Kill { process: p, how: h } => {
                ((*p, *h) == (process.as_u64(), KillWord::from(how))).then_some(())
            }
            _ => None,
        });
    }

    fn sweep(&mut self, process: Key) {
        let now = Event::Sweep { process: process.as_u64() };
        self.answer(&now, |_, recorded| match recorded {
            Event::Sweep { process: p } => (*p == process.as_u64()).then_some(()),
            _ => None,
        });
    }

    fn random(&mut self, bytes: &mut [u8]) {
        let now = Event::Random { data: Bytes::NONE };
        let wanted = bytes.len();
        let drawn = self.answer(&now, |_, recorded| match recorded {
            Event::Random { data } => (data.0.len() == wanted).then(|| data.0.to_vec()),
            _ => None,
        });
        bytes.copy_from_slice(&drawn.unwrap_or_else(|| vec![0; wanted]));
    }

    fn resident_bytes(&self, pid: u32) -> Option<u64> {
        let now = Event::Resident { pid, bytes: None };
        let found = self.answer(&now, |_, recorded| match recorded {
            Event::Resident { pid: p, bytes } => (*p == pid).then_some(*bytes),
            _ => None,
        });
        found.flatten()
    }
}

/// A stream of the recording.
struct Stream {
    script: Rc<RefCell<Script>>,
    link: u32,
}

impl Io for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let now = Event::Read { link: self.link, data: Bytes::NONE, error: None };
        let data = answer(&self.script, &now, |_, recorded| match recorded {
            Event::Read { link, error: Some(error), .. } => {
                (*link == self.link).then(|| Err(error.to_error()))
            }
            Event::Read { link, data, .. } if *link == self.link && data.0.len() <= buf.len() => {
                buf[..data.0.len()].copy_from_slice(&data.0);
                Some(Ok(data.0.len()))
            }
            _ => None,
        });
        data.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let now =
            Event::Write { link: self.link, of: offered.len(), data: Bytes((&offered).into()), error: None };
        let taken = answer(&self.script, &now, |script, recorded| match recorded {
            Event::Write { link, of, data, error } if *link == self.link => Some(
                compared(script, *link, *of, &data.0, &offered).and_then(|n| outcome_of(error).map(|()| n)),
            ),
            _ => None,
        });
        taken.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let now = Event::Shutdown { link: self.link, error: None };
        let outcome = answer(&self.script, &now, |_, recorded| match recorded {
            Event::Shutdown { link, error } => (*link == self.link).then(|| outcome_of(error)),
            _ => None,
        });
        outcome.unwrap_or(Ok(()))
    }

    /// Its number: a played stream has nothing else.
    fn descriptors(&self) -> [i32; 2] {
        [self.link as i32; 2]
    }
}

/// How many of the offered bytes are taken, if they are those of the recording.
fn compared(script: &mut Script, link: u32, of: usize, recorded: &[u8], now: &[u8]) -> io::Result<usize> {
    let place = difference::first(recorded, now).or((of != now.len()).then_some(recorded.len()));
    let Some(at) = place else {
        script.bytes_out += recorded.len() as u64;
        script.link(link).advance(recorded);
        return Ok(recorded.len());
    };
    let name = script.name(link).to_owned();
    let known = script.link(link);
    let (byte, mut text) = (known.sent + at as u64, difference::around(&known.line, recorded, now, at));
    if of != now.len() {
        text.push_str(&format!("\n  ({of} bytes were written at once then, {} now)", now.len()));
    }
    script.end_different(&format!("other bytes to {name}, from byte {byte} of all it was sent"), &text);
    Err(io::ErrorKind::WouldBlock.into())
}

fn outcome_of(error: &Option<Fault>) -> io::Result<()> {
    error.as_ref().map_or(Ok(()), |error| Err(error.to_error()))
}

/// 69 years, in milliseconds; timers can be set for twice that.
const TIME_MAX: u64 = 1 << 41;
/// 34 years, the longest wait for anything.
const WAIT_MAX: u64 = 1 << 40;
/// The year 10889, in milliseconds since 1970.
const DATE_MAX: u64 = 1 << 48;
/// More than any process can have.
const LISTENERS_MAX: usize = 1 << 16;
