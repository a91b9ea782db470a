//! Where HTTP is to be served: can a muxloop listen there, and who else could call?
//!
//! An address is tried by listening at it for a moment, without taking a connection.

use super::finding::{Finding, Findings};
use super::sockets;
use crate::config::http::{Address, HttpConfig};
use crate::reactor::procfs;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// What is wrong with the addresses; `daemon` is a muxloop of this configuration, which may listen there.
pub fn check(http: &HttpConfig, daemon: Option<u32>, findings: &mut Findings) {
    for address in &http.listen {
        match address {
            Address::Unix(path) => sockets::check(path, daemon, findings),
            Address::Tcp(address) => check_port(*address, daemon, findings),
        }
    }
    check_exposure(http, findings);
}

fn check_port(address: SocketAddr, daemon: Option<u32>, findings: &mut Findings) {
    let Err(error) = TcpListener::bind(address) else { return };
    match error.kind() {
        io::ErrorKind::AddrInUse if daemon.is_some_and(|pid| may_listen(pid, address.port())) => {}
        io::ErrorKind::AddrInUse => {
            let message = format!("another program listens at {address}, so HTTP cannot be served there");
            let cure = "Stop it, or choose another port: http = \"127.0.0.1:PORT\".";
            findings.add(Finding::error("http-taken", message, cure));
        }
        kind => {
            let message = format!("HTTP cannot be served at {address}: {error}");
            let cure = match kind {
                io::ErrorKind::PermissionDenied => "Choose a port from 1024 on; lower ones need rights.",
                io::ErrorKind::AddrNotAvailable => {
                    "Choose an address that this machine has: 127.0.0.1, or one that `ip address` shows."
                }
                _ => "Choose another address.",
            };
            findings.add(Finding::error("http-address", message, cure));
        }
    }
}

/// Whether that process is who listens at a port, as far as can be told.
fn may_listen(pid: u32, port: u16) -> bool {
    !procfs::is_there() || procfs::listens(pid as i32, port)
}

/// Whoever can reach an address without a token can call every tool.
fn check_exposure(http: &HttpConfig, findings: &mut Findings) {
    let cure = "Set http.token, or listen on 127.0.0.1 only.";
    if let Some(why) = http.exposure() {
        let message = format!("muxloop does not start like this: {why}");
        return findings.add(Finding::error("http-exposed", message, cure));
    }
    let open = http.listen.iter().find(|address| !address.is_local());
    if let (Some(address), None) = (open, &http.token) {
        let message =
            format!("{address} has no token: whoever reaches it can call every tool of every server");
        findings.add(Finding::warning("http-exposed", message, cure));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Surroundings;

    fn codes(http: &HttpConfig, daemon: Option<u32>) -> Vec<String> {
        let mut findings = Findings::default();
        check(http, daemon, &mut findings);
        findings
            .sorted()
            .iter()
            .map(|finding| format!("{} {}", finding.severity.word(), finding.code))
            .collect()
    }

    fn at(address: &str) -> HttpConfig {
        let address = Address::parse(address, &Surroundings::default()).unwrap();
        HttpConfig { listen: vec![address], ..HttpConfig::default() }
    }

    #[test]
    fn addresses_that_cannot_be_had() {
        assert_eq!(codes(&HttpConfig::default(), None), [""; 0]);
        assert_eq!(codes(&at("127.0.0.1:0"), None), [""; 0]);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = at(&taken.local_addr().unwrap().to_string());
        assert_eq!(codes(&http, None), ["error http-taken"]);
        assert_eq!(codes(&http, Some(1)), ["error http-taken"], "a muxloop that listens elsewhere");
        // Of TEST-NET-1: no machine has it.
        let http = HttpConfig { token: Some("t".into()), ..at("192.0.2.1:5151") };
        assert_eq!(codes(&http, None), ["error http-address"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_muxloop_may_be_there_already() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(taken) = TcpListener::bind(address) else { continue };
            let http = at(&taken.local_addr().unwrap().to_string());
            assert_eq!(codes(&http, Some(std::process::id())), [""; 0], "{address}");
        }
    }

    #[test]
    fn addresses_that_others_can_reach() {
        let open = at("0.0.0.0:0");
        assert_eq!(codes(&open, None), ["error http-exposed"]);
        assert_eq!(codes(&HttpConfig { insecure: true, ..open.clone() }, None), ["warning http-exposed"]);
        assert_eq!(codes(&HttpConfig { token: Some("t".into()), ..open }, None), [""; 0]);
    }
}
