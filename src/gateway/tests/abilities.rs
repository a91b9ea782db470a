//! What none of the servers can do is refused, once all have said what they can (protocol.md §5.5).

use super::World;
use serde_json::json;

#[test]
fn a_list_that_no_server_has_is_no_method() {
    for is_down in [false, true] {
        let mut world = World::new(2);
        world.says(1, "prompts/list", json!({}));
        let [one, two] = [10, 11].map(|server| world.asked(server, "server/discover"));
        world.answers(&one, json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} } }));
        if is_down {
            let error = json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": -32603, "message": "no" } });
            world.server(two.0, error);
            // It may have some.
            assert_eq!(world.hears(1)["result"]["prompts"], json!([]));
            continue;
        }
        world.answers(
            &two,
            json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "resources": {} } }),
        );
        let told = world.hears(1);
        assert_eq!(told["error"]["code"], -32601, "{told}");
        assert_eq!(told["error"]["message"], "no server here offers `prompts/list`");
        world.says(2, "tools/list", json!({}));
        let asked = world.asked(10, "tools/list");
        world.answers(&asked, json!({ "tools": [] }));
        assert_eq!(world.hears(2)["result"]["tools"], json!([]));
    }
}
