//! How modern clients come again with a suspended call (protocol.md §4.2).

use super::suspended::*;
use super::world::*;
use crate::base::limits::{REQUESTS_PER_CLIENT, WAITING_BYTES_PER_CLIENT};
use serde_json::json;

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
