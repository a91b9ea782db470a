//! Eras and handshakes: which era a message belongs to, who its caller is, what the server says of itself.
//!
//! Leaves the methods that both eras share to the server and to `tools`, `content`, `tasks`, `listen`.

use std::rc::Rc;

use serde_json::{Value, json};

use super::ledger::Ledger;
use super::options::{EraChoice, Options};
use super::rpc::{
    Caller, LEGACY_VERSIONS, META_CAPABILITIES, META_CLIENT, META_LOG_LEVEL, META_SERVER, META_VERSION,
    MODERN_VERSION, Object, RpcError, level_rank,
};

/// One of the two ways to speak MCP (protocol.md §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    Legacy,
    Modern,
}

impl Era {
    pub fn name(self) -> &'static str {
        match self {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
    }
}

/// What the process remembers of the opening.
#[derive(Debug)]
pub struct Session {
    choice: EraChoice,
    name: String,
    instructions: Option<String>,
    /// Decided by `--era` or by the first message; `None` with `both`, and before that message with `auto`.
    pinned: Option<Era>,
    /// The client of the legacy handshake.
    client: Option<Rc<Caller>>,
    pub initialize_count: u64,
    pub initialized_count: u64,
}

impl Session {
    pub fn new(options: &Options) -> Session {
        let pinned = match options.era {
            EraChoice::Legacy | EraChoice::LegacyExit => Some(Era::Legacy),
            EraChoice::Modern => Some(Era::Modern),
            EraChoice::Auto | EraChoice::Both => None,
        };
        Session {
            choice: options.era,
            name: options.name.clone(),
            instructions: options.instructions.clone(),
            pinned,
            client: None,
            initialize_count: 0,
            initialized_count: 0,
        }
    }

    /// The era of a request or notification; with `auto` the first telling one pins it for good, as the
    /// official SDKs do (protocol.md §3.6). What tells nothing counts as legacy and pins nothing.
    pub fn era_of(&mut self, method: &str, params: &Object) -> Era {
        if let Some(era) = self.pinned {
            return era;
        }
        let meta = params.get("_meta");
        let has = |key| meta.is_some_and(|meta| meta.get(key).is_some());
        let modern = method == "server/discover" || has(META_VERSION) || has(META_CAPABILITIES);
        let era = if modern { Era::Modern } else { Era::Legacy };
        if self.choice == EraChoice::Auto && (modern || method == "initialize") {
            self.pinned = Some(era);
        }
        era
    }

    /// Whether a legacy handshake has happened.
    pub fn is_legacy(&self) -> bool {
        self.client.is_some()
    }

    /// Whether arrays are allowed: 2025-03-26 only (protocol.md §3.1).
    pub fn takes_batches(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.version == "2025-03-26")
    }

    /// Whether this request shall end the process, as it does servers built on the Rust SDK (protocol.md §3.6).
    pub fn dies_of(&self, method: &str) -> bool {
        self.choice == EraChoice::LegacyExit && self.client.is_none() && method != "initialize"
    }

    /// The caller of a request before or outside of any handshake.
    pub fn stranger() -> Rc<Caller> {
        Rc::new(Caller {
            modern: false,
            version: String::new(),
            info: Value::Null,
            capabilities: json!({}),
            log_level: None,
        })
    }

    /// Admits a legacy request other than `initialize`: its caller, or why it may not come yet.
    pub fn admit_legacy(&self, method: &str, ledger: &mut Ledger) -> Result<Rc<Caller>, RpcError> {
        match &self.client {
            Some(client) => {
                if self.initialized_count == 0 && method != "ping" {
                    ledger.violate(format!("{method} before notifications/initialized"));
                }
                Ok(Rc::clone(client))
            }
            None if method == "ping" => Ok(Session::stranger()),
            None if method == "server/discover" => Err(RpcError::method_not_found(method)),
            None => {
                ledger.violate(format!("{method} before initialize"));
                Err(RpcError::invalid_request("the server is not initialized"))
            }
        }
    }

    /// Admits a modern request by its `_meta` (protocol.md §1.2.2, §1.2.5).
    pub fn admit_modern(&self, params: &Object) -> Result<Rc<Caller>, RpcError> {
        let meta = params.get("_meta").unwrap_or(&Value::Null);
        let Some(version) = meta.get(META_VERSION).and_then(Value::as_str) else {
            return Err(RpcError::invalid_params(format!("_meta lacks {META_VERSION} (a string)")));
        };
        if version != MODERN_VERSION {
            return Err(RpcError::unsupported_version(&json!(version)));
        }
        let Some(capabilities) = meta.get(META_CAPABILITIES).filter(|value| value.is_object()) else {
            return Err(RpcError::invalid_params(format!("_meta lacks {META_CAPABILITIES} (an object)")));
        };
        let log_level = match meta.get(META_LOG_LEVEL) {
            None => None,
            Some(level) => Some(level.as_str().and_then(level_rank).ok_or_else(|| {
                RpcError::invalid_params(format!("{META_LOG_LEVEL} is not a log level: {level}"))
            })?),
        };
        Ok(Rc::new(Caller {
            modern: true,
            version: version.to_owned(),
            info: meta.get(META_CLIENT).cloned().unwrap_or(Value::Null),
            capabilities: capabilities.clone(),
            log_level,
        }))
    }

    /// The legacy handshake. A known version is answered with itself, any other with the latest legacy one.
    pub fn initialize(&mut self, params: &Object, ledger: &mut Ledger) -> Result<Value, RpcError> {
        self.initialize_count += 1;
        if self.client.is_some() {
            ledger.violate("initialize twice".to_owned());
            return Err(RpcError::invalid_request("the server is already initialized"));
        }
        let Some(requested) = params.get("protocolVersion").and_then(Value::as_str) else {
            return Err(RpcError::invalid_params("initialize needs protocolVersion"));
        };
        let version =
            LEGACY_VERSIONS.into_iter().find(|version| *version == requested).unwrap_or("2025-11-25");
        let client = Caller {
            modern: false,
            version: version.to_owned(),
            info: params.get("clientInfo").cloned().unwrap_or(Value::Null),
            capabilities: params.get("capabilities").cloned().unwrap_or_else(|| json!({})),
            log_level: None,
        };
        let mut capabilities = self.capabilities();
        if client.has_tasks() {
            capabilities["tasks"] =
                json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
        }
        self.client = Some(Rc::new(client));
        let mut result = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "serverInfo": self.server_info(),
        });
        if let Some(instructions) = &self.instructions {
            result["instructions"] = json!(instructions);
        }
        Ok(result)
    }

    /// `notifications/initialized`, which a legacy client sends once after the handshake.
    pub fn note_initialized(&mut self, era: Era, ledger: &mut Ledger) {
        self.initialized_count += 1;
        if era == Era::Modern {
            ledger.violate("notifications/initialized in the modern era".to_owned());
        } else if self.client.is_none() {
            ledger.violate("notifications/initialized before initialize".to_owned());
        } else if self.initialized_count > 1 {
            ledger.violate("notifications/initialized twice".to_owned());
        }
    }

    /// The result of `server/discover` (protocol.md §1.2.4), not yet decorated.
    pub fn discover(&self) -> Value {
        let mut result =
            json!({ "supportedVersions": [MODERN_VERSION], "capabilities": self.capabilities() });
        if let Some(instructions) = &self.instructions {
            result["instructions"] = json!(instructions);
        }
        result
    }

    /// Adds what every modern result carries and, where the method is one of the six, the cache hints
    /// (protocol.md §1.2.3, §1.2.9).
    pub fn decorate(&self, method: &str, result: &mut Value) {
        if result.get("resultType").is_none() {
            result["resultType"] = json!("complete");
        }
        result["_meta"][META_SERVER] = self.server_info();
        let (ttl_ms, scope) = match method {
            "server/discover" => (60_000, "public"),
            "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
                (5_000, "public")
            }
            "resources/read" => (0, "private"),
            _ => return,
        };
        if result["resultType"] == "complete" {
            result["ttlMs"] = json!(ttl_ms);
            result["cacheScope"] = json!(scope);
        }
    }

    /// What `whoami` says of the handshake.
    pub fn describe(&self, caller: &Caller) -> Value {
        json!({
            "era": if caller.modern { Era::Modern.name() } else { Era::Legacy.name() },
            "protocolVersion": caller.version,
            "clientInfo": caller.info,
            "clientCapabilities": caller.capabilities,
            "initializeCount": self.initialize_count,
            "initializedCount": self.initialized_count,
        })
    }

    fn server_info(&self) -> Value {
        json!({ "name": self.name, "version": env!("CARGO_PKG_VERSION") })
    }

    fn capabilities(&self) -> Value {
        json!({
            "tools": { "listChanged": true },
            "resources": { "subscribe": true },
            "prompts": {},
            "completions": {},
            "logging": {},
        })
    }
}
