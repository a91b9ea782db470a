//! [`Platform`] on the kernel: what the engine asks of the reactor.

use super::sys::{self, Pid};
use super::{PROCESS, Reactor, procfs};
use crate::base::Key;
use crate::engine::port::{Accepted, Io, Kill, Platform, SpawnSpec, Spawned};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::io;

impl Platform for Reactor {
    fn accept(&mut self, listener: usize) -> io::Result<Accepted> {
        let Some(Some(open)) = self.listeners.get_mut(listener) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        match open.accept() {
            Ok(accepted) => Ok(accepted),
            Err(error) if is_shortage(&error) => {
                self.rest(listener, &error);
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }

    fn register(&mut self, key: Key, io: &mut dyn Io) -> io::Result<()> {
        let token = Token(key.as_u64() as usize);
        let registry = self.poll.registry();
        match io.descriptors() {
            [-1, -1] => Ok(()),
            [reads, writes] if reads == writes => {
                registry.register(&mut SourceFd(&reads), token, Interest::READABLE | Interest::WRITABLE)
            }
            [reads, writes] => {
                if reads >= 0 {
                    registry.register(&mut SourceFd(&reads), token, Interest::READABLE)?;
                }
                if writes >= 0 {
                    registry.register(&mut SourceFd(&writes), token, Interest::WRITABLE)?;
                }
                Ok(())
            }
        }
    }

    fn deregister(&mut self, _key: Key, io: &mut dyn Io) {
        let [reads, writes] = io.descriptors();
        for descriptor in [Some(reads), Some(writes).filter(|writes| *writes != reads)] {
            if let Some(descriptor) = descriptor.filter(|descriptor| *descriptor >= 0) {
                let _ = self.poll.registry().deregister(&mut SourceFd(&descriptor));
            }
        }
    }

    fn spawn(&mut self, process: Key, spec: &SpawnSpec) -> Result<Spawned, String> {
        let (pid, stdio, stderr) = self.children.spawn(process, spec)?;
        match self.watch(Token(PROCESS | process.as_u64() as usize), pid) {
            Ok(descriptor) => {
                if let Some(process) = self.children.processes.get_mut(process) {
                    process.descriptor = Some(descriptor);
                }
            }
            Err(_) => {
                self.unwatched.push(process);
                if let Err(error) = self.catch_signals(&[libc::SIGCHLD]) {
                    log::error!("the end of process {pid} cannot be watched: {error}");
                }
            }
        }
        Ok(Spawned { pid: pid as u32, stdio: Box::new(stdio), stderr: Box::new(stderr) })
    }

    fn kill(&mut self, process: Key, how: Kill) {
        self.children.kill(process, how);
    }

    fn sweep(&mut self, process: Key) {
        self.children.sweep(process);
    }

    fn random(&mut self, bytes: &mut [u8]) {
        // Without randomness ids could be guessed: there is no going on.
        sys::random(bytes).expect("the kernel has random bytes");
    }

    fn resident_bytes(&self, pid: u32) -> Option<u64> {
        procfs::resident_bytes(pid as Pid)
    }
}

/// No descriptor or memory is free, now.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&code))
}
