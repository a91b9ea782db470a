//! [`Station`]: a daemon with a control socket beside its `mux.toml`.

use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;

use crate::support::client::Client;
use crate::support::mux::{Mux, Scratch, Server};

/// The daemon, and the directory with `mux.toml` and `control.sock`.
pub struct Station {
    pub mux: Mux,
}

impl Station {
    /// `head` are the lines before the servers.
    pub fn start(head: &str, servers: &[Server]) -> Station {
        let dir = Arc::new(Scratch::new());
        write(&dir, head, servers);
        let mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "debug"], |_| {});
        mux.wait_logs(servers.len(), "listening on");
        mux.wait_log("control socket at");
        Station { mux }
    }

    /// One demo server, `a`.
    pub fn demo(options: &[&str], keys: &str) -> Station {
        Station::start("", &[Server::demo("a", options).keys(keys)])
    }

    /// Replaces the file; muxloop is not told.
    pub fn write(&self, servers: &[Server]) {
        self.write_with("", servers);
    }

    pub fn write_with(&self, head: &str, servers: &[Server]) {
        write(&self.mux.dir, head, servers);
    }

    /// A control connection that has said nothing yet.
    pub fn control(&self) -> Client {
        Client::connect(&self.mux.path("control.sock"))
    }

    /// The result of one call on a connection of its own.
    pub fn ask(&self, method: &str, params: Value) -> Value {
        result(self.control().ask(method, params))
    }

    pub fn status(&self) -> Value {
        self.ask("status", json!({}))
    }

    /// A server's part of the report.
    pub fn server(&self, name: &str) -> Value {
        part(&self.status(), name)
    }

    /// Waits for a report of which `wanted` holds.
    pub fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut control = self.control();
        let mut report = result(control.ask("watch", json!({ "interval_ms": 100 })));
        while !wanted(&report) {
            report = control.incoming("status")["params"].clone();
        }
        report
    }

    /// Waits until a server is in this state; its part of the report.
    pub fn until_state(&self, name: &str, state: &str) -> Value {
        part(&self.until(|report| part(report, name)["state"] == state), name)
    }
}

/// The part of a server in a report; null if it has none.
pub fn part(report: &Value, name: &str) -> Value {
    let servers = report["servers"].as_array().expect("a list of servers");
    servers.iter().find(|server| server["name"] == name).cloned().unwrap_or(Value::Null)
}

/// The result of an answer, which must not be an error.
pub fn result(answer: Value) -> Value {
    assert!(answer.get("error").is_none(), "{answer}");
    answer["result"].clone()
}

/// Code and text of the error of an answer.
pub fn error(answer: &Value) -> (i64, &str) {
    let error = &answer["error"];
    (error["code"].as_i64().unwrap_or_else(|| panic!("{answer}")), error["message"].as_str().unwrap())
}

fn write(dir: &Scratch, head: &str, servers: &[Server]) {
    let head = head.replace("DIR", &dir.0.display().to_string());
    let servers: String = servers.iter().map(|server| server.toml(&dir.0)).collect();
    fs::write(dir.0.join("mux.toml"), format!("control = \"control.sock\"\n{head}\n{servers}")).unwrap();
}
