//! [`Station`]: a daemon with an HTTP front on a free port, and a control socket beside its `mux.toml`.

use super::base::client::Client;
use super::base::mux::{Mux, Scratch, Server};
use super::{Ask, Http, Reply};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

/// The daemon and where it listens.
pub struct Station {
    pub mux: Mux,
    pub address: SocketAddr,
}

/// Lines before the servers if a test needs no others.
pub const PLAIN: &str = "http = \"127.0.0.1:0\"";

impl Station {
    /// `head` are the lines before the servers, among them `http`.
    pub fn start(head: &str, servers: &[Server]) -> Station {
        Station::start_with(head, servers, &[])
    }

    /// With further arguments.
    pub fn start_with(head: &str, servers: &[Server], args: &[&str]) -> Station {
        let dir = Arc::new(Scratch::new());
        write(&dir, head, servers);
        let all = [&["-c", "mux.toml", "--log-level", "debug"], args].concat();
        let mux = Mux::run(dir, &all, |_| {});
        mux.wait_log("control socket at");
        let address = port(&mux.wait_log("listening on http://"));
        Station { mux, address }
    }

    /// One demo server, `a`.
    pub fn demo(options: &[&str], keys: &str) -> Station {
        Station::start(PLAIN, &[Server::demo("a", options).keys(keys)])
    }

    pub fn connect(&self) -> Http {
        Http::connect(self.address)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, ask: &Ask) -> Reply {
        self.connect().ask(ask)
    }

    /// Replaces the file; muxloop is not told.
    pub fn write(&self, head: &str, servers: &[Server]) {
        write(&self.mux.dir, head, servers);
    }

    /// The result of one call on a control connection of its own.
    pub fn control(&self, method: &str, params: Value) -> Value {
        let answer = Client::connect(&self.mux.path("control.sock")).ask(method, params);
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// Waits for a report of which `wanted` holds.
    pub fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut control = Client::connect(&self.mux.path("control.sock"));
        let answer = control.ask("watch", json!({ "interval_ms": 100 }));
        let mut report = answer["result"].clone();
        while !wanted(&report) {
            report = control.incoming("status")["params"].clone();
        }
        report
    }

    /// Clients of a server, in a report.
    pub fn clients(report: &Value, server: &str) -> u64 {
        let servers = report["servers"].as_array().expect("a list of servers");
        let known = servers.iter().find(|known| known["name"] == server).expect("this server");
        known["clients"].as_u64().expect("a number of clients")
    }

    /// Waits until nobody is connected but who asks for this, and until each server's process has only its two
    /// streams.
    pub fn until_alone(&self, servers: u64) {
        self.until(|report| report["connections"] == 2 * servers + 1);
    }

    /// Waits until so many clients are attached to a server.
    pub fn until_clients(&self, server: &str, count: u64) {
        self.until(|report| Station::clients(report, server) == count);
    }
}

/// The address in a log line.
pub fn port(line: &str) -> SocketAddr {
    let address = line.rsplit_once("http://").expect("an address").1;
    address.trim().trim_end_matches(['"', '}']).parse().unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn write(dir: &Scratch, head: &str, servers: &[Server]) {
    let head = head.replace("DIR", &dir.0.display().to_string());
    let servers: String = servers.iter().map(|server| server.toml(&dir.0)).collect();
    fs::write(dir.0.join("mux.toml"), format!("control = \"control.sock\"\n{head}\n{servers}")).unwrap();
}
