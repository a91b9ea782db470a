//! Resources, prompts and completion: the counter, the text template, the greeting.
//!
//! Leaves subscriptions and their notifications to `listen`.

use serde_json::{Value, json};

use super::interview::{self, Goal, Plan};
use super::rpc::{Handled, Request, RpcError};
use super::server::Server;

/// The subscribable resource.
pub const COUNTER_URI: &str = "demo://counter";
/// Reading it asks the user.
const ASKED_URI: &str = "demo://asked";
const TEXT_PREFIX: &str = "demo://text/";
const TEXT_TEMPLATE: &str = "demo://text/{name}";

const NAMES: [&str; 6] = ["Ada", "Alan", "Barbara", "Edsger", "Grace", "Katherine"];
const TOPICS: [&str; 4] = ["pipes", "polling", "sharing", "sockets"];

pub fn list_resources() -> Value {
    let counter = json!({
        "uri": COUNTER_URI,
        "name": "counter",
        "description": "A number that the tool counter_add changes; can be subscribed to.",
        "mimeType": "text/plain",
    });
    let asked = json!({
        "uri": ASKED_URI,
        "name": "asked",
        "description": "A text that the user is asked for.",
        "mimeType": "text/plain",
    });
    json!({ "resources": [counter, asked] })
}

pub fn list_templates() -> Value {
    let text = json!({
        "uriTemplate": TEXT_TEMPLATE,
        "name": "text",
        "description": "A line of text about a name of your choice.",
        "mimeType": "text/plain",
    });
    json!({ "resourceTemplates": [text] })
}

pub fn list_prompts() -> Value {
    let name = json!({ "name": "name", "description": "Who is greeted.", "required": true });
    let greet = json!({ "name": "greet", "description": "Greets somebody.", "arguments": [name] });
    json!({ "prompts": [greet, { "name": "survey", "description": "Asks the user what it is about." }] })
}

/// `resources/read`. An unknown URI is -32002 for legacy and -32602 for modern callers (protocol.md §1.3).
pub fn read_resource(server: &mut Server, request: &Request) -> Handled {
    let uri = uri_of(request)?;
    let text = if uri == COUNTER_URI {
        server.counter.to_string()
    } else if uri == ASKED_URI {
        let goal = Goal::Resource(uri.to_owned());
        return interview::hold(server, request, Plan::one("What shall be in it?", goal));
    } else if let Some(name) = uri.strip_prefix(TEXT_PREFIX).filter(|name| !name.is_empty()) {
        format!("Text about {name}.")
    } else {
        return Err(unknown_resource(request, uri));
    };
    Ok(Some(json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": text }] })))
}

/// Whether `resources/subscribe` may name this URI.
pub fn check_subscribable(request: &Request) -> Result<&str, RpcError> {
    let uri = uri_of(request)?;
    if is_subscribable(uri) { Ok(uri) } else { Err(unknown_resource(request, uri)) }
}

pub fn is_subscribable(uri: &str) -> bool {
    uri == COUNTER_URI
}

pub fn get_prompt(server: &mut Server, request: &Request) -> Handled {
    match request.params.get("name").and_then(Value::as_str) {
        Some("greet") => {}
        Some("survey") => {
            return interview::hold(server, request, Plan::one("What is it about?", Goal::Prompt));
        }
        _ => return Err(RpcError::invalid_params("unknown prompt; there are `greet` and `survey`")),
    }
    let arguments = request.params.get("arguments");
    let Some(name) = arguments.and_then(|arguments| arguments.get("name")).and_then(Value::as_str) else {
        return Err(RpcError::invalid_params("the prompt `greet` needs the argument `name`"));
    };
    let text = format!("Please greet {name} in one friendly sentence.");
    let message = json!({ "role": "user", "content": { "type": "text", "text": text } });
    Ok(Some(json!({ "description": "Greets somebody.", "messages": [message] })))
}

/// `completion/complete` for the prompt's `name` and for the template's `name`.
pub fn complete(request: &Request) -> Handled {
    let at = |pointer: &str| {
        let (first, rest) = pointer.split_once('/').unwrap_or((pointer, ""));
        request.params.get(first)?.get(rest)?.as_str()
    };
    let candidates: &[&str] = match (at("ref/type"), at("ref/name"), at("ref/uri")) {
        (Some("ref/prompt"), Some("greet"), _) => &NAMES,
        (Some("ref/resource"), _, Some(TEXT_TEMPLATE)) => &TOPICS,
        _ => return Err(RpcError::invalid_params("nothing to complete for this ref")),
    };
    let (Some(argument), Some(prefix)) = (at("argument/name"), at("argument/value")) else {
        return Err(RpcError::invalid_params("completion needs argument.name and argument.value"));
    };
    let prefix = prefix.to_lowercase();
    let values: Vec<&str> = candidates
        .iter()
        .copied()
        .filter(|value| argument == "name" && value.to_lowercase().starts_with(&prefix))
        .collect();
    Ok(Some(json!({ "completion": { "total": values.len(), "hasMore": false, "values": values } })))
}

fn uri_of(request: &Request) -> Result<&str, RpcError> {
    let uri = request.params.get("uri").and_then(Value::as_str);
    uri.ok_or_else(|| RpcError::invalid_params("uri (a string) is missing"))
}

fn unknown_resource(request: &Request, uri: &str) -> RpcError {
    let code = if request.caller.modern { -32602 } else { -32002 };
    RpcError::new(code, "resource not found").with_data(json!({ "uri": uri }))
}
