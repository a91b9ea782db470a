//! Who hears of changes: legacy subscriptions, modern listens, and the notifications to both.
//!
//! A legacy client gets list changes unasked and resource updates by `resources/subscribe`; a modern one gets
//! what a `subscriptions/listen` asked for, tagged with the id of that request (protocol.md §1.2.7).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::content;
use super::rpc::{META_SUBSCRIPTION, Request, RpcError};

/// One open `subscriptions/listen`: the part of its filter that is honoured.
#[derive(Debug)]
struct Listen {
    id: Value,
    tools: bool,
    uris: Vec<String>,
}

/// All subscriptions of the process.
#[derive(Debug, Default)]
pub struct Listeners {
    /// URIs of `resources/subscribe`.
    legacy: BTreeSet<String>,
    /// By serial of the listen request.
    modern: BTreeMap<u64, Listen>,
}

impl Listeners {
    pub fn subscribe(&mut self, uri: &str) {
        self.legacy.insert(uri.to_owned());
    }

    pub fn unsubscribe(&mut self, uri: &str) {
        self.legacy.remove(uri);
    }

    /// Opens a listen. Returns the acknowledgement, which must be the first message on it.
    pub fn open(&mut self, request: &Request) -> Result<Value, RpcError> {
        let Some(filter) = request.params.get("notifications").and_then(Value::as_object) else {
            return Err(RpcError::invalid_params("subscriptions/listen needs notifications (an object)"));
        };
        let tools = filter.get("toolsListChanged") == Some(&json!(true));
        let uris: Vec<String> = filter
            .get("resourceSubscriptions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|uri| content::is_subscribable(uri))
            .map(str::to_owned)
            .collect();
        let mut honoured = json!({});
        if tools {
            honoured["toolsListChanged"] = json!(true);
        }
        if !uris.is_empty() {
            honoured["resourceSubscriptions"] = json!(uris);
        }
        let params = json!({ "notifications": honoured });
        let listen = Listen { id: request.id.clone(), tools, uris };
        let acknowledgement = listen.tag("notifications/subscriptions/acknowledged", params);
        self.modern.insert(request.serial, listen);
        Ok(acknowledgement)
    }

    /// Ends the listen of this request, if it is one.
    pub fn close(&mut self, serial: u64) {
        self.modern.remove(&serial);
    }

    /// What ends all open listens when the server leaves: a result and then a cancellation each (protocol.md §8.1).
    pub fn farewells(&self) -> Vec<Value> {
        let mut messages = Vec::new();
        for listen in self.modern.values() {
            let result = json!({ "resultType": "complete", "_meta": { META_SUBSCRIPTION: listen.id } });
            messages.push(json!({ "jsonrpc": "2.0", "id": listen.id, "result": result }));
            let params = json!({ "requestId": listen.id, "reason": "the server ends" });
            messages.push(notification("notifications/cancelled", params));
        }
        messages
    }

    /// Notifications for a changed list of tools.
    pub fn tools_changed(&self, legacy: bool) -> Vec<Value> {
        let method = "notifications/tools/list_changed";
        let plain = legacy.then(|| json!({ "jsonrpc": "2.0", "method": method }));
        let tagged = self.modern.values().filter(|listen| listen.tools);
        plain.into_iter().chain(tagged.map(|listen| listen.tag(method, json!({})))).collect()
    }

    /// Notifications for a changed resource.
    pub fn resource_updated(&self, uri: &str) -> Vec<Value> {
        let method = "notifications/resources/updated";
        let plain = self.legacy.contains(uri).then(|| notification(method, json!({ "uri": uri })));
        let tagged = self.modern.values().filter(|listen| listen.uris.iter().any(|own| own == uri));
        plain.into_iter().chain(tagged.map(|listen| listen.tag(method, json!({ "uri": uri })))).collect()
    }
}

impl Listen {
    fn tag(&self, method: &str, mut params: Value) -> Value {
        params["_meta"][META_SUBSCRIPTION] = self.id.clone();
        notification(method, params)
    }
}

/// A notification with these params.
pub fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}
