//! Clients of one era on a child of the other (protocol.md §4).

use super::world::*;
use serde_json::json;

/// protocol.md §4.2: a modern client of a legacy child discovers it, calls it and reads its answers.
#[test]
fn a_modern_client_uses_a_legacy_child() {
    let (mut world, child, [_old, new]) = World::legacy(policy());
    world.says(new, modern("d", "server/discover", json!({})));
    let hello = world.hears(new);
    assert_eq!(hello["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(hello["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "child");
    world.says(new, modern(7, "tools/list", json!({ "cursor": "" })));
    let asked = world.hears_of(child, "tools/list");
    assert_eq!(asked["params"], json!({ "cursor": "" }));
    world.answers(child, &asked, json!({ "tools": [] }));
    let told = world.hears(new);
    assert_eq!((&told["id"], &told["result"]["resultType"]), (&json!(7), &json!("complete")));
    assert_eq!((&told["result"]["ttlMs"], &told["result"]["cacheScope"]), (&json!(0), &json!("private")));
}

/// protocol.md §4.3: a legacy client of a modern child is greeted here, and each of its requests says who asks.
#[test]
fn a_legacy_client_uses_a_modern_child() {
    let (mut world, child, [_new, old]) = World::modern(policy());
    world.says(old, initialize("2025-06-18", json!({ "elicitation": {} })));
    let hello = world.hears(old);
    assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
    world.says(old, note("notifications/initialized", json!({})));
    world.hears_of(child, "subscriptions/listen");
    world.silent(child);
    world.says(old, call(3, "t"));
    let asked = world.hears_of(child, "tools/call");
    let meta = &asked["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({ "elicitation": {} }));
    world.answers(child, &asked, json!({ "resultType": "complete", "content": [] }));
    assert_eq!(world.hears(old), json!({ "jsonrpc": "2.0", "id": 3, "result": { "content": [] } }));
    world.says(old, json!({ "jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": [1] }));
    assert_eq!(world.hears(old)["error"]["code"], -32602);
    world.silent(child);
}

/// P20, protocol.md §1.2.8: that a page was seen is told to the client that was sent there, if its era has the
/// words for it.
#[test]
fn a_page_that_was_seen_is_told_in_the_old_era_only() {
    let (mut world, child, [new, old]) = World::legacy(policy());
    let page = json!({ "mode": "url", "message": "m", "url": "https://a/", "elicitationId": "e" });
    let error = json!({ "code": -32042, "message": "m", "data": { "elicitations": [page] } });
    let mut call_of_new = modern(1, "tools/call", json!({ "name": "t" }));
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    call_of_new["params"]["_meta"][capabilities] = json!({ "elicitation": { "url": {} } });
    for (who, ask) in [(new, call_of_new), (old, call(1, "t"))] {
        world.says(who, ask);
        let asked = world.hears_of(child, "tools/call");
        world.says(child, json!({ "id": asked["id"], "error": error }));
        let told = world.hears(who);
        assert_eq!(told["result"]["resultType"] == "input_required", who == new, "{told}");
        world.says(child, note("notifications/elicitation/complete", json!({ "elicitationId": "e" })));
        world.silent(new);
    }
    assert_eq!(world.hears(old)["params"]["elicitationId"], "e");
}
