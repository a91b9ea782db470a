//! [`Notifier`]: tells a service manager how muxloop is (`sd_notify(3)`, row D04).
//!
//! Datagrams to the socket that `NOTIFY_SOCKET` names, a path or an abstract name. Without the variable
//! nothing is opened and nothing is sent. No failure disturbs: a message that the socket cannot take now
//! is kept and sent later, any other failure is told once. When which message is due is the daemon's matter.

use super::sys;
use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to a service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    way: Option<(UnixDatagram, SocketAddr)>,
    /// Not taken yet, oldest first.
    unsent: VecDeque<String>,
    /// A failure was told.
    complained: bool,
    /// The manager restarts a muxloop that says nothing for so long (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
}

impl Notifier {
    /// By the environment.
    pub fn from_env() -> Notifier {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Notifier::default();
        };
        let watchdog = watchdog(
            env::var("WATCHDOG_USEC").ok().as_deref(),
            env::var("WATCHDOG_PID").ok().as_deref(),
            std::process::id(),
        );
        match open(&name) {
            Ok(way) => Notifier { way: Some(way), watchdog, ..Notifier::default() },
            Err(error) => {
                log::warn!("NOTIFY_SOCKET '{}' cannot be used: {error}", name.display());
                Notifier::default()
            }
        }
    }

    /// Whether anybody listens.
    pub fn is_on(&self) -> bool {
        self.way.is_some()
    }

    /// Whether messages wait for room; [`Notifier::flush`] tries again.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends assignments, one per line: `READY=1`, `STATUS=…`.
    pub fn send(&mut self, message: impl Into<String>) {
        if self.way.is_none() {
            return;
        }
        if self.unsent.len() == UNSENT_MAX {
            self.unsent.pop_front();
        }
        self.unsent.push_back(message.into());
        self.flush();
    }

    /// `RELOADING=1` with the time that systemd compares with that of its request (Type=notify-reload).
    pub fn send_reloading(&mut self) {
        if self.is_on() {
            self.send(format!("RELOADING=1\nMONOTONIC_USEC={}", sys::monotonic_us()));
        }
    }

    /// Sends what could not be sent before.
    pub fn flush(&mut self) {
        let Some((socket, address)) = &self.way else { return };
        while let Some(message) = self.unsent.front() {
            match socket.send_to_addr(message.as_bytes(), address) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The manager reads slowly.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return,
                Err(error) if !self.complained => {
                    self.complained = true;
                    log::warn!("the service manager cannot be told how muxloop is: {error}");
                }
                _ => {}
            }
            self.unsent.pop_front();
        }
    }
}

fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match name.as_bytes() {
        [b'@', name @ ..] => abstract_address(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::other("neither a path nor an abstract name")),
    };
    Ok((socket, address))
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::other("abstract names are known to Linux only"))
}

/// The time that `WATCHDOG_USEC` grants to this process.
fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.trim().parse() != Ok(own)) {
        return None;
    }
    let usec = usec?.trim().parse().ok().filter(|usec| *usec > 0)?;
    Some(Duration::from_micros(usec))
}

/// Most messages that wait for room; the oldest goes first.
const UNSENT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_that_it_names() {
        let of = |usec, pid| watchdog(usec, pid, 42);
        assert_eq!(of(Some("3000000"), None), Some(Duration::from_secs(3)));
        assert_eq!(of(Some("3000000"), Some("42")), Some(Duration::from_secs(3)));
        assert_eq!(of(Some("3000000"), Some("43")), None);
        assert_eq!(of(Some("0"), None), None);
        assert_eq!(of(Some("soon"), None), None);
        assert_eq!(of(None, Some("42")), None);
    }

    #[test]
    fn a_manager_that_does_not_read_loses_nothing_and_holds_up_nobody() {
        let path = env::temp_dir().join(format!("muxloop-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut notifier = Notifier { way: Some(open(path.as_os_str()).unwrap()), ..Notifier::default() };
        let mut sent = 0;
        while !notifier.has_unsent() {
            notifier.send(format!("STATUS={sent}"));
            sent += 1;
        }
        notifier.send("READY=1");
        let mut heard = Vec::new();
        let mut buf = [0; 100];
        loop {
            match manager.recv(&mut buf) {
                Ok(n) => heard.push(String::from_utf8(buf[..n].to_vec()).unwrap()),
                Err(_) if notifier.has_unsent() => notifier.flush(),
                Err(_) => break,
            }
        }
        let mut expected: Vec<String> = (0..sent).map(|n| format!("STATUS={n}")).collect();
        expected.push("READY=1".into());
        assert_eq!(heard, expected);
        drop(manager);
        std::fs::remove_file(&path).unwrap();
        notifier.send("STATUS=to nobody");
        assert!(!notifier.has_unsent() && notifier.complained);
    }

    #[test]
    fn only_paths_and_abstract_names_are_understood() {
        assert!(open(OsStr::new("vsock:2:1234")).is_err());
        assert!(open(OsStr::new("relative")).is_err());
        assert_eq!(open(OsStr::new("@muxloop")).is_ok(), cfg!(target_os = "linux"));
    }
}
