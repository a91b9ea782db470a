//! A client of any version on any front.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support::Station;
use crate::wire::{self, Event, Wire};

/// Longer than any machine needs for one step; only a failed test uses it up.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub const META: &str = "io.modelcontextprotocol/";

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V24,
    V03,
    V06,
    V11,
    V26,
}

impl Version {
    pub const ALL: [Version; 5] = [Version::V24, Version::V03, Version::V06, Version::V11, Version::V26];

    pub fn name(self) -> &'static str {
        match self {
            Version::V24 => "2024-11-05",
            Version::V03 => "2025-03-26",
            Version::V06 => "2025-06-18",
            Version::V11 => "2025-11-25",
            Version::V26 => "2026-07-28",
        }
    }

    pub fn is_modern(self) -> bool {
        self == Version::V26
    }

    /// Everything that a client of this version can declare.
    pub fn capabilities(self) -> Value {
        match self {
            Version::V24 | Version::V03 => json!({ "roots": { "listChanged": true }, "sampling": {} }),
            Version::V06 => json!({ "roots": { "listChanged": true }, "sampling": {}, "elicitation": {} }),
            Version::V11 => json!({
                "roots": { "listChanged": true },
                "sampling": { "tools": {} },
                "elicitation": { "form": {}, "url": {} },
            }),
            Version::V26 => {
                json!({ "roots": {}, "sampling": {}, "elicitation": { "form": {}, "url": {} } })
            }
        }
    }
}

/// How it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Stdio,
    Unix,
    Http,
    Sse,
    WebSocket,
}

impl Front {
    pub const ALL: [Front; 5] = [Front::Stdio, Front::Unix, Front::Http, Front::Sse, Front::WebSocket];

    pub fn name(self) -> &'static str {
        match self {
            Front::Stdio => "stdio",
            Front::Unix => "Unix socket",
            Front::Http => "Streamable HTTP",
            Front::Sse => "HTTP+SSE",
            Front::WebSocket => "WebSocket",
        }
    }

    /// HTTP+SSE has no place for 2026-07-28, Streamable HTTP came with 2025-03-26.
    pub fn serves(self, version: Version) -> bool {
        match self {
            Front::Http => version >= Version::V03,
            Front::Sse => !version.is_modern(),
            _ => true,
        }
    }
}

/// A client after its handshake, if its version has one.
pub struct Client {
    pub version: Version,
    pub front: Front,
    pub capabilities: Value,
    /// The result of `initialize`.
    pub greeting: Value,
    /// `logLevel` of each request (2026-07-28).
    pub log_level: Option<&'static str>,
    wire: Box<dyn Wire>,
    inbox: Receiver<Event>,
    /// Messages that came while another was waited for.
    early: VecDeque<Value>,
    next_id: u64,
    status: Option<u16>,
}

/// What somebody is asked for: `method` and `params`.
pub type Question = Value;

/// What a client says to a question.
pub enum Reply {
    Result(Value),
    /// A JSON-RPC error; as an input response there is none, so nothing is said.
    Error(i64),
}

/// A request with all the questions that it took.
#[derive(Default)]
pub struct Dialog {
    pub answer: Value,
    /// By a request, else by `input_required`.
    pub by_request: Vec<Question>,
    pub by_result: Vec<Question>,
    /// How often the request was made.
    pub rounds: usize,
}

impl Client {
    pub fn open(station: &Station, server: &str, front: Front, version: Version) -> Client {
        Client::with(station, server, front, version, version.capabilities())
    }

    pub fn with(
        station: &Station,
        server: &str,
        front: Front,
        version: Version,
        capabilities: Value,
    ) -> Client {
        let mut client = Client::unopened(station, server, front, version);
        client.capabilities = capabilities;
        if !version.is_modern() {
            client.greet();
        }
        client
    }

    /// A client that has said nothing yet.
    pub fn unopened(station: &Station, server: &str, front: Front, version: Version) -> Client {
        let (tell, inbox) = channel();
        let wire = match front {
            Front::Stdio => wire::stdio(&station.mux.socket(server), tell),
            Front::Unix => wire::unix(&station.mux.socket(server), tell),
            Front::WebSocket => wire::websocket(station.address, server, tell),
            Front::Sse => wire::events(station.address, server, tell),
            Front::Http if version.is_modern() => wire::single(station.address, server, tell),
            Front::Http => wire::session(station.address, server, version.name(), tell),
        };
        Client {
            version,
            front,
            capabilities: version.capabilities(),
            greeting: Value::Null,
            log_level: None,
            wire,
            inbox,
            early: VecDeque::new(),
            next_id: 0,
            status: None,
        }
    }

    fn greet(&mut self) {
        let answer = self.ask("initialize", self.introduction());
        assert!(answer["result"].is_object(), "{answer}");
        self.greeting = answer["result"].clone();
        self.notify("notifications/initialized", json!({}));
        self.wire.listen();
    }

    /// The params of `initialize`.
    pub fn introduction(&self) -> Value {
        json!({
            "protocolVersion": self.version.name(),
            "capabilities": self.capabilities,
            "clientInfo": self.info(),
        })
    }

    pub fn info(&self) -> Value {
        json!({ "name": format!("client of {}", self.version.name()), "version": "1" })
    }

    // Sending.

    /// Params with what each request of this version says of its sender.
    pub fn dress(&self, mut params: Value) -> Value {
        if self.version.is_modern() {
            for (name, value) in [
                ("protocolVersion", json!(self.version.name())),
                ("clientInfo", self.info()),
                ("clientCapabilities", self.capabilities.clone()),
            ] {
                if params["_meta"].get(format!("{META}{name}")).is_none() {
                    params["_meta"][format!("{META}{name}")] = value;
                }
            }
            if let Some(level) = self.log_level {
                params["_meta"][format!("{META}logLevel")] = json!(level);
            }
        }
        params
    }

    pub fn send(&mut self, message: &Value) {
        self.wire.send(message);
    }

    /// An id not used before, a number or a string.
    fn new_id(&mut self) -> Value {
        self.next_id += 1;
        if self.next_id.is_multiple_of(2) { json!(self.next_id) } else { json!(format!("{}", self.next_id)) }
    }

    /// Sends a request; its id.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let params = self.dress(params);
        self.request_bare(method, params)
    }

    /// Sends a request that says nothing of its sender.
    pub fn request_bare(&mut self, method: &str, params: Value) -> Value {
        let id = self.new_id();
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Takes a request back, in the way of its front.
    pub fn cancel(&mut self, id: &Value) {
        if !self.wire.hang_up(id) {
            self.notify("notifications/cancelled", json!({ "requestId": id }));
        }
    }

    // Receiving.

    /// The next message that is wanted; the others stay for later.
    pub fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        if let Some(at) = self.early.iter().position(&mut wanted) {
            return self.early.remove(at).unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.inbox.recv_timeout(left) {
                Ok(Event::Message(message)) => {
                    self.check_status(&message);
                    if wanted(&message) {
                        return message;
                    }
                    self.early.push_back(message);
                }
                Ok(Event::Refused(status)) => self.status = Some(status),
                Ok(Event::Wrong(why)) => panic!("{why}"),
                Err(error) => panic!("{error} while something else came: {:?}", self.early),
            }
        }
    }

    /// What an error of 2026-07-28 is in HTTP (protocol.md §1.3).
    fn check_status(&mut self, message: &Value) {
        let Some(status) = self.status.take() else { return };
        let expected = match message["error"]["code"].as_i64() {
            Some(-32601) => 404,
            Some(_) => 400,
            None => 200,
        };
        assert_eq!(status, expected, "{message}");
    }

    pub fn answer(&mut self, id: &Value) -> Value {
        self.until(|message| message["id"] == *id && message.get("method").is_none())
    }

    /// The next notification or request of this method.
    pub fn incoming(&mut self, method: &str) -> Value {
        self.until(|message| message["method"] == method)
    }

    /// Whether such a message has come already. Only what is on one stream with something that was waited
    /// for is here for sure.
    pub fn has(&self, wanted: impl FnMut(&Value) -> bool) -> bool {
        self.early.iter().any(wanted)
    }

    /// Forgets what nobody waited for.
    pub fn forget(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            if let Event::Wrong(why) = event {
                panic!("{why}");
            }
        }
        self.early.clear();
        self.status = None;
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.answer(&id)
    }

    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    // Questions.

    /// Makes a request and answers what is asked meanwhile, by requests or by results.
    pub fn converse(&mut self, method: &str, params: Value, reply: impl FnMut(&Question) -> Reply) -> Dialog {
        self.converse_all(&[(method, params)], reply).remove(0)
    }

    /// Makes several requests at once. Nothing says of which of them a request of the server is: such questions
    /// are noted with the first.
    pub fn converse_all(
        &mut self,
        calls: &[(&str, Value)],
        mut reply: impl FnMut(&Question) -> Reply,
    ) -> Vec<Dialog> {
        let mut dialogs: Vec<Dialog> = calls.iter().map(|_| Dialog::default()).collect();
        let mut open: Vec<Value> =
            calls.iter().map(|(method, params)| self.request(method, params.clone())).collect();
        while dialogs.iter().any(|dialog| dialog.answer.is_null()) {
            let message = self.until(|message| message.get("id").is_some());
            if message.get("method").is_some() {
                let question = self.reply(&message, &mut reply);
                dialogs[0].by_request.push(question);
                continue;
            }
            let at = open.iter().position(|id| *id == message["id"]);
            let at = at.unwrap_or_else(|| panic!("an answer to nothing: {message}"));
            let dialog = &mut dialogs[at];
            dialog.rounds += 1;
            // Before 2026-07-28 this says nothing.
            if !self.version.is_modern() || message["result"]["resultType"] != "input_required" {
                dialog.answer = message;
                continue;
            }
            assert!(dialog.rounds < 50, "it never ends: {message}");
            let (method, params) = &calls[at];
            let again = self.next_round(&message["result"], params.clone(), dialog, &mut reply);
            open[at] = self.request(method, again);
        }
        dialogs
    }

    /// Answers a request of the server.
    fn reply(&mut self, message: &Value, reply: &mut impl FnMut(&Question) -> Reply) -> Question {
        let question = json!({ "method": message["method"], "params": message["params"] });
        let said = match reply(&question) {
            Reply::Result(result) => json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }),
            Reply::Error(code) => {
                let error = json!({ "code": code, "message": "the user said no" });
                json!({ "jsonrpc": "2.0", "id": message["id"], "error": error })
            }
        };
        self.send(&said);
        question
    }

    /// The params of a request's repetition, with the answers to what its result asks.
    fn next_round(
        &self,
        result: &Value,
        mut params: Value,
        dialog: &mut Dialog,
        reply: &mut impl FnMut(&Question) -> Reply,
    ) -> Value {
        if let Some(requests) = result["inputRequests"].as_object() {
            params["inputResponses"] = json!({});
            for (key, question) in requests {
                if let Reply::Result(said) = reply(question) {
                    params["inputResponses"][key] = said;
                }
                dialog.by_result.push(question.clone());
            }
        }
        if let Some(state) = result.get("requestState") {
            params["requestState"] = state.clone();
        }
        params
    }
}

/// Says yes to everything, in words that tell what was asked.
pub fn obliging(question: &Question) -> Reply {
    let params = &question["params"];
    Reply::Result(match question["method"].as_str() {
        Some("elicitation/create") if params["mode"] == "url" => json!({ "action": "accept" }),
        Some("elicitation/create") => {
            let words = format!("E: {}", params["message"].as_str().unwrap_or("?"));
            json!({ "action": "accept", "content": { "answer": words } })
        }
        Some("sampling/createMessage") => {
            let words = format!("S: {}", params["messages"][0]["content"]["text"].as_str().unwrap_or("?"));
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": words } })
        }
        Some("roots/list") => json!({ "roots": [{ "uri": "file:///home/user", "name": "home" }] }),
        _ => panic!("nobody asks that: {question}"),
    })
}
