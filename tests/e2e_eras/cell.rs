//! [`Cell`]: one client at one child, and the words for what comes of it.

use serde_json::{Value, json};
use std::time::Instant;

use crate::client::{Client, Dialog, Front, META, PATIENCE, Version};
use crate::support::{Server, Station};

/// What the child speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Legacy,
    Modern,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Legacy, Kind::Modern];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Legacy => "legacy",
            Kind::Modern => "modern",
        }
    }
}

/// Which server of the station: all run the same program.
pub const SERIALIZE: &str = "serialize";
pub const PER_CLIENT: &str = "per-client";
pub const OFF: &str = "off";

/// A daemon with a demo server of this kind under each policy. `off` has its list of tools in pages and knows
/// a method of its own.
pub fn station(kind: Kind) -> Station {
    let era = ["--era", kind.name(), "--instructions", "be brief"];
    let odd = ["--page-size", "4", "--answer", r#"vendor/method={"said":1.50}"#];
    let keys = |policy: &str| {
        format!("interactive = \"{policy}\"\nera = \"{}\"\nmax_active_clients = 64", kind.name())
    };
    Station::start(
        crate::support::station::PLAIN,
        &[
            Server::demo(SERIALIZE, &era).keys(&keys("serialize")),
            Server::demo(PER_CLIENT, &era).keys(&keys("per-client")),
            Server::demo(OFF, &[&era[..], &odd].concat()).keys(&keys("off")),
        ],
    )
}

pub struct Cell<'s> {
    pub station: &'s Station,
    pub kind: Kind,
    pub server: &'static str,
    pub client: Client,
}

impl<'s> Cell<'s> {
    pub fn open(
        station: &'s Station,
        kind: Kind,
        server: &'static str,
        front: Front,
        version: Version,
    ) -> Cell<'s> {
        Cell { station, kind, server, client: Client::open(station, server, front, version) }
    }

    pub fn version(&self) -> Version {
        self.client.version
    }

    pub fn is_modern(&self) -> bool {
        self.client.version.is_modern()
    }

    /// Another client of the same version and front.
    pub fn another(&self, server: &str, capabilities: Value) -> Client {
        Client::with(self.station, server, self.client.front, self.client.version, capabilities)
    }

    /// Asks, and says `works` if the result has this shape, or how it is refused.
    pub fn outcome(&mut self, method: &str, params: Value, is_good: impl Fn(&Value) -> bool) -> String {
        let answer = self.client.ask(method, params);
        self.judge(method, &answer, is_good)
    }

    pub fn judge(&self, method: &str, answer: &Value, is_good: impl Fn(&Value) -> bool) -> String {
        if answer.get("error").is_some() {
            return refused(answer);
        }
        self.check_result(method, &answer["result"]);
        assert!(is_good(&answer["result"]), "{answer}");
        "works".into()
    }

    /// What results of each era must and must not carry (protocol.md §1.2, §4.2, §4.3; P44).
    pub fn check_result(&self, method: &str, result: &Value) {
        let info = &result["_meta"][format!("{META}serverInfo")];
        if !self.is_modern() {
            for added in ["resultType", "ttlMs", "cacheScope"] {
                assert!(result.get(added).is_none(), "{added} is unknown to {:?}: {result}", self.version());
            }
            return assert!(info.is_null(), "{result}");
        }
        assert_eq!(result["resultType"], "complete", "{result}");
        assert_eq!(info["name"], self.server, "{result}");
        let cacheable = [
            "server/discover",
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
            "resources/read",
        ];
        let (ttl, scope) = (result.get("ttlMs"), result.get("cacheScope"));
        if !cacheable.contains(&method) {
            return assert_eq!((ttl, scope), (None, None), "{result}");
        }
        assert!(ttl.is_some_and(Value::is_u64), "{result}");
        assert!(scope == Some(&json!("private")) || scope == Some(&json!("public")), "{result}");
        if self.kind == Kind::Legacy {
            assert_eq!((ttl, scope), (Some(&json!(0)), Some(&json!("private"))), "{result}");
        }
    }

    /// How a conversation came to its result; `is_good` is asked of the text at its end.
    pub fn told(&self, dialog: &Dialog, is_good: impl Fn(&str) -> bool) -> String {
        let answer = &dialog.answer;
        if answer.get("error").is_some() {
            return refused(answer);
        }
        let result = &answer["result"];
        if result["isError"] == true {
            return "the server's own error".into();
        }
        let text = result["content"][0]["text"]
            .as_str()
            .or(result["messages"][0]["content"]["text"].as_str())
            .or(result["contents"][0]["text"].as_str());
        assert!(text.is_some_and(is_good), "{answer}");
        match (dialog.by_request.is_empty(), dialog.by_result.is_empty()) {
            (true, true) => "not asked".into(),
            (false, true) => "asked by request".into(),
            (true, false) => "asked by `input_required`".into(),
            (false, false) => panic!("asked in both ways: {answer}"),
        }
    }

    /// The result of the tool `whoami`.
    pub fn whoami(&mut self) -> Value {
        self.client.call("whoami", json!({}))["result"]["structuredContent"].clone()
    }

    /// How many messages of this method the child has received.
    pub fn received(&mut self, method: &str) -> u64 {
        let answer = self.client.call("journal", json!({}));
        answer["result"]["structuredContent"]["methods"][method].as_u64().unwrap_or(0)
    }

    /// Waits until the child has received more than so many.
    pub fn until_received(&mut self, method: &str, more_than: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.received(method) <= more_than {
            assert!(Instant::now() < deadline, "the child never got {method}");
        }
    }
}

pub fn refused(answer: &Value) -> String {
    let code = answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {answer}"));
    assert!(answer["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    format!("refused {code}")
}

/// What a version has no word for.
pub fn none() -> String {
    "–".into()
}
