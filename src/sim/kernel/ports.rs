//! The engine's port traits on the kernel in memory.

use super::{Handle, Holder, Process, Stream, Task};
use crate::base::Key;
use crate::engine::port::{Accepted, ExitStatus, Io, Kill, Platform, Ready, SpawnSpec, Spawned};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr};

impl Io for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut kernel = self.kernel.0.borrow_mut();
        self.reads.map_or(Ok(0), |id| kernel.engine_read(id, buf))
    }
    fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut kernel = self.kernel.0.borrow_mut();
        self.writes.map_or(Err(io::ErrorKind::BrokenPipe.into()), |id| kernel.engine_write(id, pieces))
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut kernel = self.kernel.0.borrow_mut();
        if let Some(id) = self.writes {
            kernel.end(id);
        }
        Ok(())
    }
    fn descriptors(&self) -> [i32; 2] {
        [self.reads, self.writes].map(|id| id.map_or(-1, |id| id as i32))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Borrowed only while the kernel itself panics: then nothing matters any more.
        let Ok(mut kernel) = self.kernel.0.try_borrow_mut() else { return };
        if let Some(id) = self.reads {
            let pipe = &mut kernel.pipes[id];
            pipe.reader_closed = true;
            pipe.flight.clear();
            pipe.arrived.clear();
        }
        if let Some(id) = self.writes {
            kernel.end(id);
        }
    }
}

impl Platform for Handle {
    fn accept(&mut self, listener: usize) -> io::Result<Accepted> {
        let mut kernel = self.0.borrow_mut();
        let Some([reads, writes]) = kernel.backlogs[listener].front().copied() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let failure = kernel.weather.accept_failure;
        if kernel.choice.chance(failure) {
            // Out of descriptors, say: told again after a while, as the reactor does.
            let at = kernel.now + 5;
            kernel.ready.push(Ready::Accept { listener });
            kernel.schedule(at, Task::Wake);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        kernel.backlogs[listener].pop_front();
        kernel.work += 1;
        let io = Stream { kernel: self.clone(), reads: Some(reads), writes: Some(writes) };
        // The last listener is the front's, on TCP.
        let is_tcp = listener + 1 == kernel.backlogs.len();
        let address = is_tcp.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(Accepted { io: Box::new(io), peer_pid: None, address })
    }

    fn register(&mut self, key: Key, io: &mut dyn Io) -> io::Result<()> {
        let mut kernel = self.0.borrow_mut();
        let [reads, writes] = io.descriptors().map(|id| usize::try_from(id).ok());
        let known = kernel.registered.insert(key, [reads, writes]);
        assert!(known.is_none(), "{key:?} was registered twice");
        if let Some(id) = reads {
            kernel.pipes[id].reader = Holder::Engine(Some(key));
            if !kernel.pipes[id].arrived.is_empty() || kernel.pipes[id].ended {
                kernel.tell_reader(id);
            }
        }
        if let Some(id) = writes {
            kernel.pipes[id].writer = Holder::Engine(Some(key));
            kernel.tell_writer(id);
        }
        Ok(())
    }

    fn deregister(&mut self, key: Key, _io: &mut dyn Io) {
        let mut kernel = self.0.borrow_mut();
        assert!(kernel.registered.remove(&key).is_some(), "{key:?} was deregistered but is not there");
        kernel.work += 1;
    }

    fn spawn(&mut self, process: Key, spec: &SpawnSpec) -> Result<Spawned, String> {
        let mut kernel = self.0.borrow_mut();
        kernel.work += 1;
        let failure = kernel.weather.spawn_failure;
        if kernel.choice.chance(failure) {
            let now = kernel.now;
            kernel.trace.add(now, format_args!("{} cannot be started", spec.program));
            return Err(format!("`{}` cannot be started: no such file", spec.program));
        }
        let server = spec.args[0].parse().expect("the server's index is its argument");
        let id = kernel.processes.len();
        let capacities = [kernel.capacity(), kernel.capacity(), 4096];
        let stdin = kernel.pipe(Holder::Engine(None), Holder::Process(id), capacities[0]);
        let stdout = kernel.pipe(Holder::Process(id), Holder::Engine(None), capacities[1]);
        let stderr = kernel.pipe(Holder::Process(id), Holder::Engine(None), capacities[2]);
        let leaves_orphan = kernel.weather.split > 0 && kernel.choice.chance(15);
        kernel.processes.push(Process {
            key: process,
            server,
            stdin,
            stdout,
            stderr,
            alive: true,
            leaves_orphan,
            terminated: false,
            swept: false,
        });
        let now = kernel.now;
        kernel.trace.add(now, format_args!("process {id} of server {server} starts ({process:?})"));
        kernel.schedule(now, Task::Process(id));
        drop(kernel);
        let stdio = Stream { kernel: self.clone(), reads: Some(stdout), writes: Some(stdin) };
        let stderr = Stream { kernel: self.clone(), reads: Some(stderr), writes: None };
        Ok(Spawned { pid: 1000 + id as u32, stdio: Box::new(stdio), stderr: Box::new(stderr) })
    }

    fn kill(&mut self, process: Key, how: Kill) {
        let mut kernel = self.0.borrow_mut();
        kernel.work += 1;
        let found = kernel.processes.iter().position(|known| known.key == process && known.alive);
        let Some(id) = found else { return };
        match how {
            Kill::Kill => kernel.exit(id, ExitStatus::Signal(9)),
            Kill::Terminate => {
                kernel.processes[id].terminated = true;
                let now = kernel.now;
                kernel.schedule(now, Task::Process(id));
            }
        }
    }

    fn sweep(&mut self, process: Key) {
        let mut kernel = self.0.borrow_mut();
        for known in kernel.processes.iter_mut().filter(|known| known.key == process && !known.alive) {
            known.swept = true;
        }
    }

    fn random(&mut self, bytes: &mut [u8]) {
        let mut kernel = self.0.borrow_mut();
        bytes.fill_with(|| kernel.choice.next() as u8);
    }
}
