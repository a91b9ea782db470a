//! What a child tells without being asked: log messages, changed lists, updated resources.

use serde_json::{Value, json};

use crate::cell::{Cell, Kind, PER_CLIENT, none, refused};
use crate::client::META;

const COUNTER: &str = "demo://counter";

pub fn set_level(cell: &mut Cell) -> String {
    let outcome = cell.outcome("logging/setLevel", json!({ "level": "info" }), |result| *result == json!({}));
    if outcome == "works" {
        let wrong = cell.client.ask("logging/setLevel", json!({ "level": "loud" }));
        assert_eq!(refused(&wrong), "refused -32602");
    }
    outcome
}

fn log(cell: &mut Cell, level: &str, text: &str) {
    let answer = cell.client.call("log", json!({ "level": level, "text": text }));
    assert!(answer["result"].is_object(), "{answer}");
}

fn is_log(message: &Value, text: &str) -> bool {
    message["method"] == "notifications/message" && message["params"]["data"] == text
}

/// With a level: what is above it comes, what is below does not.
pub fn logs(cell: &mut Cell) -> String {
    if cell.is_modern() {
        cell.client.log_level = Some("warning");
    } else {
        cell.client.ask("logging/setLevel", json!({ "level": "warning" }));
    }
    log(cell, "info", "below");
    log(cell, "error", "above");
    let above = cell.client.until(|message| is_log(message, "above"));
    assert_eq!(above["params"]["level"], "error", "{above}");
    assert!(!cell.client.has(|message| is_log(message, "below")), "below the level");
    cell.client.log_level = None;
    if !cell.is_modern() {
        cell.client.ask("logging/setLevel", json!({ "level": "info" }));
    }
    "works".into()
}

/// Without any level: a legacy child tells what it thinks worth telling, a modern one nothing (P47).
pub fn logs_unasked(cell: &mut Cell) -> String {
    let capabilities = cell.client.capabilities.clone();
    cell.client = cell.another(cell.server, capabilities);
    log(cell, "error", "unasked");
    // What comes on the same stream after it.
    if cell.is_modern() {
        cell.client.log_level = Some("info");
    } else {
        cell.client.ask("logging/setLevel", json!({ "level": "info" }));
    }
    log(cell, "error", "asked");
    cell.client.until(|message| is_log(message, "asked"));
    cell.client.log_level = None;
    let told = cell.client.has(|message| is_log(message, "unasked"));
    if told { "works".into() } else { "nothing".into() }
}

pub fn subscribe(cell: &mut Cell) -> String {
    let uri = json!({ "uri": COUNTER });
    let outcome = cell.outcome("resources/subscribe", uri.clone(), |result| *result == json!({}));
    if outcome != "works" {
        assert_eq!(outcome, cell.outcome("resources/unsubscribe", uri, |_| false));
        return outcome;
    }
    cell.client.call("counter_add", json!({}));
    let updated = cell.client.incoming("notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], COUNTER, "{updated}");
    assert!(updated["params"]["_meta"].get(format!("{META}subscriptionId")).is_none(), "{updated}");
    let unknown = cell.client.ask("resources/subscribe", json!({ "uri": "demo://nothing" }));
    assert!(unknown.get("error").is_some(), "{unknown}");
    assert_eq!("works", cell.outcome("resources/unsubscribe", uri, |result| *result == json!({})));
    "works".into()
}

/// Lists change, and nobody asked to be told.
pub fn lists_unasked(cell: &mut Cell) -> String {
    cell.client.call("add_tool", json!({}));
    if !cell.is_modern() {
        let changed = cell.client.incoming("notifications/tools/list_changed");
        assert!(changed["params"]["_meta"].get(format!("{META}subscriptionId")).is_none(), "{changed}");
        return "works".into();
    }
    cell.client.call("echo", json!({ "text": "fence" }));
    let is_change = |message: &Value| message["method"] == "notifications/tools/list_changed";
    assert!(!cell.client.has(is_change), "P19");
    "nothing".into()
}

pub fn listen(cell: &mut Cell) -> String {
    let filter = json!({
        "toolsListChanged": true,
        // The demo server does not say that its prompts change.
        "promptsListChanged": true,
        "resourceSubscriptions": [COUNTER, "demo://nothing"],
    });
    let id = cell.client.request("subscriptions/listen", json!({ "notifications": filter }));
    if !cell.is_modern() {
        return refused(&cell.client.answer(&id));
    }
    let first = cell.client.until(|message| subscription(message) == &id || message["id"] == id);
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "P45: {first}");
    let honoured = json!({ "toolsListChanged": true, "resourceSubscriptions": [COUNTER] });
    assert_eq!(first["params"]["notifications"], honoured, "P45");
    cell.client.call("add_tool", json!({}));
    let changed = cell.client.incoming("notifications/tools/list_changed");
    assert_eq!(subscription(&changed), &id, "P45: {changed}");
    cell.client.call("counter_add", json!({}));
    let updated = cell.client.incoming("notifications/resources/updated");
    assert_eq!((subscription(&updated), &updated["params"]["uri"]), (&id, &json!(COUNTER)), "P45: {updated}");
    cell.client.cancel(&id);
    "works".into()
}

fn subscription(message: &Value) -> &Value {
    &message["params"]["_meta"][format!("{META}subscriptionId")]
}

/// What a client says of its roots is for the child only that is its own.
pub fn roots_changed(cell: &mut Cell) -> String {
    if cell.is_modern() {
        return none();
    }
    const CHANGED: &str = "notifications/roots/list_changed";
    let before = cell.received(CHANGED);
    cell.client.notify(CHANGED, json!({}));
    let passed = cell.received(CHANGED) > before;
    assert_eq!(passed, cell.server == PER_CLIENT && cell.kind == Kind::Legacy, "only the owner's");
    if passed { "works".into() } else { "kept here".into() }
}
