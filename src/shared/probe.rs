//! Whether the server answers, and whose the port is if it is not free.

use super::place::What;
use crate::reactor::procfs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A thread that asks until it gets the answer or nobody waits for it any more: a server that accepts and
/// does not answer holds up nothing else.
#[derive(Debug)]
pub struct Probe(Arc<AtomicBool>);

impl Probe {
    /// Begins to ask.
    ///
    /// # Errors
    /// From the kernel, which has no thread left.
    pub fn start(what: &What) -> io::Result<Probe> {
        let answered = Arc::new(AtomicBool::new(false));
        let (what, tell) = (what.clone(), Arc::downgrade(&answered));
        thread::Builder::new().name("probe".into()).spawn(move || {
            while !answers(&what) {
                if tell.strong_count() == 0 {
                    return;
                }
                thread::sleep(PAUSE);
            }
            if let Some(answered) = tell.upgrade() {
                answered.store(true, Ordering::Release);
            }
        })?;
        Ok(Probe(answered))
    }

    /// Whether the server has answered.
    pub fn is_answered(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Whether somebody answers at the address.
fn answers(what: &What) -> bool {
    // To connect to a port of the ephemeral range where nobody listens may, once in a while, connect a socket
    // to itself, and take the port from the server. So the kernel is asked first, where it tells.
    if procfs::is_listened(what.port) == Some(false) {
        return false;
    }
    let Some(mut stream) = connect(what) else { return false };
    what.ready_path.is_empty() || answers_well(&mut stream, what).unwrap_or(false)
}

fn connect(what: &What) -> Option<TcpStream> {
    let open = |address: SocketAddr| TcpStream::connect_timeout(&address, ANSWER_MAX).ok();
    let stream = addresses(what.reachable_host(), what.port).ok()?.into_iter().find_map(open)?;
    let is_itself = stream.local_addr().ok()? == stream.peer_addr().ok()?;
    (!is_itself).then_some(stream)
}

/// Whether a GET of the path is answered with 2xx.
fn answers_well(stream: &mut TcpStream, what: &What) -> io::Result<bool> {
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let host = what.url();
    let host = host.trim_start_matches("http://");
    let path = what.ready_path.trim_start_matches('/');
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n")?;
    // `HTTP/1.1 200`
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.starts_with(b"HTTP/1.") && head[8] == b' ' && head[9] == b'2')
}

fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Why the server cannot have its port.
#[derive(Debug, PartialEq, Eq)]
pub enum Busy {
    /// Somebody listens there.
    Taken,
    /// No server on this machine can listen there.
    Impossible(String),
}

/// Whether the port is free for a server.
///
/// # Errors
/// Why not.
pub fn check_free(what: &What) -> Result<(), Busy> {
    let at = format!("{}:{}", what.host, what.port);
    let addresses = addresses(&what.host, what.port)
        .map_err(|error| Busy::Impossible(format!("--host {}: {error}", what.host)))?;
    let mut refused = None;
    for address in &addresses {
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(Busy::Taken),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        // `localhost` is two addresses, and not every machine has both.
        Some(error) if addresses.len() == 1 => {
            Err(Busy::Impossible(format!("nobody can listen at {at}: {error}")))
        }
        _ => Ok(()),
    }
}

/// Who has the port, for people.
pub fn holder(port: u16) -> String {
    match procfs::all().into_iter().find(|pid| procfs::listens(*pid, port)) {
        Some(pid) => format!("process {pid} ({})", procfs::command(pid)),
        None => "another program (of another user, or in a container)".to_owned(),
    }
}

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(25);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
