//! [`Session`]: a client of the revisions with sessions; and requests of 2026-07-28.

use super::{Ask, Http, Reply, Station};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A client of Streamable HTTP before 2026-07-28, after its handshake. A connection for each request.
pub struct Session {
    pub address: SocketAddr,
    pub path: String,
    pub id: String,
    pub version: String,
}

impl Session {
    /// A session of server `a`, of the latest revision.
    pub fn open(station: &Station) -> Session {
        Session::of(station, "a", "2025-11-25", json!({}))
    }

    pub fn of(station: &Station, server: &str, version: &str, capabilities: Value) -> Session {
        Session::at(station, &format!("/servers/{server}/mcp"), version, capabilities)
    }

    /// A session at any path.
    pub fn at(station: &Station, path: &str, version: &str, capabilities: Value) -> Session {
        let path = path.to_owned();
        let ask = Ask::post(&path, &initialize(version, capabilities));
        let reply = station.ask(&ask).expect(200);
        assert_eq!(reply.message()["result"]["protocolVersion"], version, "{}", reply.text());
        let id = reply.header("mcp-session-id").to_owned();
        let session = Session { address: station.address, path, id, version: version.into() };
        let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(session.post(&ready).expect(202).body, b"");
        session
    }

    pub fn connect(&self) -> Http {
        Http::connect(self.address)
    }

    /// With what every request of the session carries.
    pub fn dress(&self, ask: Ask) -> Ask {
        ask.header("Mcp-Session-Id", &self.id).header("MCP-Protocol-Version", &self.version)
    }

    pub fn asks(&self, message: &Value) -> Ask {
        self.dress(Ask::post(&self.path, message))
    }

    pub fn post(&self, message: &Value) -> Reply {
        self.connect().ask(&self.asks(message))
    }

    /// Sends a request; the answer.
    pub fn request(&self, id: impl Into<Value>, method: &str, params: Value) -> Value {
        self.post(&rpc(id, method, params)).expect(200).message()
    }

    /// Calls a tool under the id 1; the answer.
    pub fn call(&self, tool: &str, arguments: Value) -> Value {
        self.request(1, "tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    /// A GET for a stream.
    pub fn get(&self) -> Ask {
        self.dress(Ask::get(&self.path).header("Accept", "text/event-stream"))
    }

    /// The session's own stream, its priming event read.
    pub fn listen(&self) -> Http {
        self.stream(&self.get())
    }

    /// A GET that resumes.
    pub fn resume(&self, last_event_id: &str) -> Http {
        let mut http = self.connect();
        let head = http.start(&self.get().header("Last-Event-ID", last_event_id));
        assert!(head.status == 200 && head.is_stream(), "{head:?}");
        http
    }

    fn stream(&self, ask: &Ask) -> Http {
        let mut http = self.connect();
        let head = http.start(ask);
        assert!(head.status == 200 && head.is_stream(), "{head:?}");
        if self.version.as_str() >= "2025-11-25" {
            let priming = http.event().expect("the priming event");
            assert!(priming.data.is_empty() && priming.id.is_some(), "{priming:?}");
        }
        http
    }

    /// Sends a request whose answer is a stream; that, its priming event read.
    pub fn start(&self, message: &Value) -> Http {
        self.stream(&self.asks(message))
    }

    pub fn delete(&self) -> Reply {
        self.connect().ask(&self.dress(Ask::new("DELETE", &self.path)))
    }
}

/// A request.
pub fn rpc(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

/// A call of a tool.
pub fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    rpc(id, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// A call of a tool that wants progress.
pub fn call_with_progress(id: impl Into<Value>, tool: &str, arguments: Value, token: &str) -> Value {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": token } });
    rpc(id, "tools/call", params)
}

/// An answer to a request of the server.
pub fn answer(question: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })
}

pub fn initialize(version: &str, capabilities: Value) -> Value {
    let params = json!({
        "protocolVersion": version,
        "capabilities": capabilities,
        "clientInfo": { "name": "HTTP test", "version": "1" },
    });
    rpc(0, "initialize", params)
}

/// The code of an error.
pub fn code(message: &Value) -> i64 {
    message["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {message}"))
}

/// A request of 2026-07-28 with its `_meta` and headers. What `params._meta` holds already is kept.
pub fn modern(path: &str, id: impl Into<Value>, method: &str, mut params: Value) -> Ask {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    for (name, value) in meta.as_object().unwrap() {
        if params["_meta"].get(name).is_none() {
            params["_meta"][name] = value.clone();
        }
    }
    let name = params["name"].as_str().or(params["uri"].as_str()).unwrap_or("").to_owned();
    Ask::post(path, &rpc(id, method, params))
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", method)
        .header("Mcp-Name", &name)
}
