//! What the gateway is made of, changed while it runs.

use super::*;
use crate::codec::List;

/// Servers by their letters; `b` is number 11.
fn setup(letters: &str) -> Setup {
    let server = |letter: char| (10 + usize::from(letter as u8 - b'a'), letter.to_string(), Offer::default());
    Setup { servers: letters.chars().map(server).collect(), list_timeout_ms: LIST_MS, ..Setup::default() }
}

impl World {
    fn change(&mut self, setup: Setup) {
        self.gateway.change(self.now, setup, &mut self.stage);
    }

    /// Methods of all that was told without an id since the last call.
    fn notes(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.stage.told);
        told.iter().map(|note| note["method"].as_str().unwrap_or_else(|| panic!("{note}")).into()).collect()
    }

    /// A world with a listen for all lists and these resources.
    fn listening(servers: usize, uris: &[&str]) -> World {
        let mut world = World::known(servers);
        let wanted = json!({ "toolsListChanged": true, "promptsListChanged": true,
            "resourcesListChanged": true, "resourceSubscriptions": uris });
        world.says(50, "subscriptions/listen", json!({ "notifications": wanted }));
        world.serve();
        assert_eq!(world.notes(), ["notifications/subscriptions/acknowledged"]);
        world
    }

    fn tools(&mut self) -> Vec<String> {
        self.says(60, "tools/list", json!({}));
        self.serve();
        names(&self.hears(60), "tools", "name")
    }
}

const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";

#[test]
fn what_stays_goes_on_and_what_has_gone_is_answered() {
    let mut world = World::listening(3, &[]);
    for (id, tool) in [(1, "a__same"), (2, "b__same"), (3, "c__same")] {
        world.says(id, "tools/call", json!({ "name": tool }));
    }
    // Another order, and `b` is gone.
    world.change(setup("ca"));
    let told = world.stage.told.pop_front().expect("an answer");
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!(2), &json!(-32603)), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("'b'"), "{told}");
    assert_eq!(world.notes(), [TOOLS, PROMPTS, RESOURCES, RESOURCES]);
    for (id, server) in [(1, 10), (3, 12)] {
        let call = world.asked(server, "tools/call");
        world.answers(&call, json!({ "content": [] }));
        assert!(world.hears(id)["result"].is_object());
    }
    assert_eq!(world.tools(), ["c__same", "c__only_c", "a__same", "a__only_a"]);
    world.says(4, "tools/call", json!({ "name": "b__same" }));
    world.serve();
    assert_eq!(world.hears(4)["error"]["code"], -32602);
    // The watches moved with their servers.
    let watch = world.stage.watches[0];
    world.server(watch, json!({ "jsonrpc": "2.0", "method": TOOLS }));
    world.asked(10, "tools/list");
    assert!(world.stage.closed.contains(&world.stage.watches[1]), "b is not watched any more");
}

#[test]
fn what_is_the_same_disturbs_nobody() {
    let mut world = World::listening(2, &["a:1"]);
    let links = world.stage.links.len();
    world.change(setup("ab"));
    world.serve();
    assert_eq!(world.notes(), Vec::<String>::new());
    assert_eq!(world.stage.links.len(), links);
}

#[test]
fn a_new_server_is_told_once_it_has_answered() {
    let mut world = World::listening(1, &[]);
    world.change(setup("ab"));
    world.silent();
    world.serve();
    let notes = world.notes();
    for name in [TOOLS, PROMPTS, RESOURCES] {
        assert!(notes.iter().any(|note| note == name), "{notes:?}");
    }
    assert_eq!(world.tools().len(), 4);
}

#[test]
fn other_filters_hold_at_once() {
    let mut world = World::listening(1, &["x:1", "a:1"]);
    let deny = |pattern| Filter::new([], [pattern]);
    let filters = Filters { tools: deny("a__same"), resources: deny("x:*"), ..Filters::default() };
    world.change(Setup { filters: vec![filters], ..setup("a") });
    world.serve();
    assert_eq!(world.notes(), [TOOLS, RESOURCES]);
    world.says(1, "tools/call", json!({ "name": "a__same" }));
    world.serve();
    assert_eq!(world.hears(1)["error"]["code"], -32602);
    assert_eq!(world.tools(), ["a__only_a"]);
    // What is listened for at the server is what is offered still.
    let listens: Vec<_> = world.gateway.listens.iter().flat_map(|listen| listen.uris()).collect();
    assert_eq!(listens, ["a:1"]);
}

#[test]
fn resources_of_one_that_has_gone_are_listened_for_at_who_has_them_now() {
    let mut world = World::listening(2, &["x:1", "a:1"]);
    world.change(setup("b"));
    let (_, asked) = world.asked(11, "subscriptions/listen");
    assert_eq!(asked["params"]["notifications"]["resourceSubscriptions"], json!(["x:1"]));
}

#[test]
fn lazy_tools_come_and_go() {
    let mut world = World::listening(1, &[]);
    world.change(Setup { lazy: true, ..setup("a") });
    assert_eq!(world.notes(), [TOOLS]);
    assert_eq!(world.tools(), ["tool_search", "tool_schema", "tool_invoke"]);
    world.change(setup("a"));
    assert_eq!(world.notes(), [TOOLS]);
    assert_eq!(world.tools(), ["a__same", "a__only_a"]);
}

#[test]
fn a_server_that_became_another_is_asked_anew() {
    let mut world = World::listening(2, &[]);
    world.says(9, "server/discover", json!({}));
    world.hears(9);
    world.gateway.on_server_changed(world.now, 11, &mut world.stage);
    assert_eq!(world.gateway.catalogue().names(List::Tools).count(), 4, "the last lists stay meanwhile");
    let hello = world.asked(11, "server/discover");
    world.answers(&hello, json!({ "capabilities": { "tools": {} } }));
    assert_eq!(world.stage.renewals, 1, "it has no instructions any more");
    world.serve();
    assert_eq!(world.notes(), [PROMPTS, RESOURCES, RESOURCES]);
    world.gateway.on_server_changed(world.now, 99, &mut world.stage);
    assert!(world.stage.asked.is_empty());
}

/// One that waits for lists is answered, however the servers change.
#[test]
fn who_waits_is_answered() {
    for after in ["a", "ab", "bc", ""] {
        let mut world = World::new(2);
        world.says(1, "tools/list", json!({}));
        world.serve_but(&[10, 11]);
        world.change(setup(after));
        world.serve();
        assert_eq!(names(&world.hears(1), "tools", "name").len(), 2 * after.len(), "{after}");
    }
}
