//! How modern clients come again with a suspended call: what the second request says of itself counts, and
//! nothing keeps it from being read (protocol.md §4.2).

use super::suspended::*;
use super::world::*;
use crate::base::limits::{REQUESTS_PER_CLIENT, WAITING_BYTES_PER_CLIENT};
use serde_json::{Value, json};

/// A request with these capabilities instead.
fn declaring(mut message: Value, capabilities: Value) -> Value {
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    message
}

/// P48: each request says anew what its client can be asked. What the second one does not declare is refused at
/// the child instead of being asked, shown before or not.
#[test]
fn what_the_second_request_does_not_declare_is_not_asked_again() {
    let (mut world, child, [a]) = stage(serialize());
    let (told, call) = interrupted(&mut world, child, a);
    world.says(child, request("s", "sampling/createMessage", json!({ "messages": [] })));
    world.says(a, declaring(again(2, &told, json!({})), json!({ "roots": {} })));
    world.advance(25);
    world.hears_error(child, "e", -32602);
    world.hears_error(child, "s", -32602);
    world.silent(a);
    let error = json!({ "code": -32602, "message": "no" });
    world.says(child, json!({ "id": call["id"], "error": error }));
    let refused = world.hears_error(a, 2, -32021);
    assert_eq!(refused["error"]["data"]["requiredCapabilities"], json!({ "sampling": {} }));
    is_over(&world);
}

/// The level of the second request counts from then on.
#[test]
fn the_level_of_the_second_request_is_heard() {
    let (mut world, child, [a]) = stage(serialize());
    let (told, call) = interrupted(&mut world, child, a);
    let mut retry = again(2, &told, json!({ "q1": accept() }));
    retry["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = "debug".into();
    world.says(a, retry);
    assert_eq!(world.hears_of(child, "logging/setLevel")["params"]["level"], "debug");
    assert_eq!(world.hears(child)["id"], "e");
    world.says(child, note("notifications/message", json!({ "level": "debug", "data": 1 })));
    world.hears_of(a, "notifications/message");
    world.answers(child, &call, json!({}));
    world.hears(a);
}

/// A client that is full with requests which wait for its suspended call is read from all the same: it has to
/// come again for them to go on.
#[test]
fn a_client_with_a_suspended_call_is_read_from() {
    for big in [false, true] {
        let (mut world, child, [a]) = stage(serialize());
        world.says(a, ask(1, json!({ "name": "t" })));
        let call = world.hears_of(child, "tools/call");
        let text = "x".repeat(if big { WAITING_BYTES_PER_CLIENT / 2 } else { 0 });
        let count = if big { 3 } else { REQUESTS_PER_CLIENT };
        for n in 0..count {
            world.says(a, ask(100 + n, json!({ "name": "u", "arguments": { "text": text } })));
        }
        assert!(world.is_paused(a));
        world.says(child, elicit("e"));
        world.advance(25);
        let told = world.hears(a);
        assert!(!world.is_paused(a));
        world.says(a, ask(99, json!({ "name": "u", "arguments": { "text": text } })));
        assert!(!world.is_paused(a));
        world.says(a, again(2, &told, json!({ "q1": accept() })));
        world.answers(child, &call, json!({}));
        assert!(world.hears_all(a).iter().any(|message| message["id"] == 2));
    }
}

/// A question that could not be read by its client is the child's fault, which is told so (protocol.md §1.2.6).
#[test]
fn a_question_that_cannot_be_read_is_refused() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, ask(1, json!({ "name": "t" })));
    let call = world.hears(child);
    for method in ["elicitation/create", "sampling/createMessage"] {
        world.says(child, json!({ "id": "bare", "method": method }));
        world.hears_error(child, "bare", -32602);
        world.says(child, request("list", method, json!([1])));
        world.hears_error(child, "list", -32602);
    }
    // A mode that no client can have declared (protocol.md §2.4).
    world.says(child, request("m", "elicitation/create", json!({ "mode": "voice", "message": "?" })));
    world.hears_error(child, "m", -32602);
    world.says(child, json!({ "id": "v", "method": "vendor/ask" }));
    world.hears_error(child, "v", -32601);
    world.says(child, request("r", "roots/list", json!([1])));
    world.advance(25);
    let told = world.hears(a);
    assert_eq!(told["result"]["inputRequests"], json!({ "q1": { "method": "roots/list" } }));
    world.answers(child, &call, json!({}));
    world.hears_error(child, "r", -32603);
}

/// protocol.md §2.4: what needs a capability needs it however it is written.
#[test]
fn a_question_needs_what_it_says() {
    let (mut world, child, [a]) = stage(serialize());
    let little = json!({ "sampling": {}, "elicitation": {} });
    world.says(a, declaring(ask(1, json!({ "name": "t" })), little));
    world.hears(child);
    world.says(child, request("s", "sampling/createMessage", json!({ "toolChoice": { "mode": "auto" } })));
    world.hears_error(child, "s", -32602);
    let page = r#"{"jsonrpc":"2.0","id":"u","method":"elicitation/create","params":{"mode":"\u0075rl","url":"https://x"}}"#;
    world.says_raw(child, page);
    world.hears_error(child, "u", -32602);
    world.advance(25);
    world.silent(a);
}
