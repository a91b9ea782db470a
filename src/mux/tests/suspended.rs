//! A legacy child's questions during calls of modern clients (P48, protocol.md §4.2).

use super::world::*;
use crate::base::Key;
use crate::mux::policy::{EraPolicy, Interactive, ServerPolicy, Share};
use serde_json::{Value, json};

pub(super) const EXPIRY_MS: u64 = 300_000;

pub(super) fn serialize() -> ServerPolicy {
    ServerPolicy { interactive: Interactive::Serialize, ..policy() }
}

pub(super) fn everything() -> Value {
    json!({ "sampling": { "tools": {} }, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

/// `tools/call` of a modern client that can be asked everything.
pub(super) fn ask(id: impl Into<Value>, params: Value) -> Value {
    let mut message = modern(id, "tools/call", params);
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = everything();
    message
}

/// The same call again, with its state and answers.
pub(super) fn again(id: impl Into<Value>, told: &Value, answers: Value) -> Value {
    let state = &told["result"]["requestState"];
    ask(id, json!({ "name": "t", "inputResponses": answers, "requestState": state }))
}

pub(super) fn elicit(id: impl Into<Value>) -> Value {
    request(id, "elicitation/create", json!({ "message": "?", "requestedSchema": {} }))
}

pub(super) fn accept() -> Value {
    json!({ "action": "accept", "content": { "n": 1 } })
}

/// A legacy child under this policy and modern clients of it. The first call makes sure of that.
pub(super) fn stage<const N: usize>(policy: ServerPolicy) -> (World, Child, [Key; N]) {
    let mut world = World::new([policy]);
    let clients = std::array::from_fn(|_| world.client());
    world.says(clients[0], modern("d", "server/discover", json!({})));
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears(clients[0]);
    (world, child, clients)
}

/// A client's call that its child has interrupted with one question; what it was told, and the call at the
/// child.
pub(super) fn interrupted(world: &mut World, child: Child, client: Key) -> (Value, Value) {
    world.says(client, ask(1, json!({ "name": "t" })));
    let call = world.hears_of(child, "tools/call");
    world.says(child, elicit("e"));
    world.advance(25);
    let told = world.hears(client);
    assert_eq!(told["result"]["resultType"], "input_required", "{told}");
    (told, call)
}

/// Nothing is suspended any more, and nobody has the child.
pub(super) fn is_over(world: &World) {
    let sizes = world.mux.sizes();
    assert_eq!((sizes.suspended, sizes.requests), (0, 0));
    assert!(world.mux.instances.iter().all(|(_, i)| i.holder.is_none() && i.holding == 0));
}

/// P48: the child's questions become `input_required` within 25 ms, the answers return under the child's own
/// ids, and the result under the id of the second request.
#[test]
fn a_question_is_asked_by_way_of_the_answer() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, ask("first", json!({ "name": "t", "_meta": { "progressToken": "p" } })));
    let call = world.hears_of(child, "tools/call");
    let token = call["params"]["_meta"]["progressToken"].clone();
    world.says(child, elicit("0"));
    world.advance(20);
    world.says(child, request(0, "sampling/createMessage", json!({ "messages": [], "maxTokens": 1.50 })));
    world.says(child, request(7, "roots/list", json!({})));
    world.silent(a);
    world.advance(5);
    let told = world.hears(a);
    assert_eq!((&told["id"], &told["result"]["resultType"]), (&json!("first"), &json!("input_required")));
    assert_eq!(
        told["result"]["inputRequests"],
        json!({
            "q1": { "method": "elicitation/create", "params": { "message": "?", "requestedSchema": {} } },
            "q2": { "method": "sampling/createMessage", "params": { "messages": [], "maxTokens": 1.50 } },
            "q3": { "method": "roots/list", "params": {} },
        })
    );
    assert_eq!(told["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "child");
    // Nobody is there to be told of progress.
    world.says(child, note("notifications/progress", json!({ "progressToken": token, "progress": 1 })));
    world.silent(a);
    world.silent(child);
    let sampled = json!({ "role": "assistant", "content": { "type": "text", "text": "x" }, "model": "m" });
    let roots = json!({ "roots": [{ "uri": "file:///" }] });
    let answers = json!({ "q1": accept(), "q2": sampled, "q3": roots, "extra": 1 });
    let mut retry = again(2, &told, answers);
    retry["params"]["_meta"]["progressToken"] = json!(9);
    world.says(a, retry);
    for (id, result) in [(json!("0"), accept()), (json!(0), sampled), (json!(7), roots)] {
        assert_eq!(world.hears(child), json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }
    world.says(child, note("notifications/progress", json!({ "progressToken": token, "progress": 2 })));
    assert_eq!(world.hears(a)["params"], json!({ "progressToken": 9, "progress": 2 }));
    world.answers(child, &call, json!({ "content": [] }));
    let told = world.hears(a);
    assert_eq!((&told["id"], &told["result"]["resultType"]), (&json!(2), &json!("complete")));
    world.silent(child);
    is_over(&world);
}

/// P48: a state is good once, for the same client, method, name and arguments; a wrong one harms nobody.
#[test]
fn a_state_that_is_not_the_calls_own_is_refused() {
    let (mut world, child, [a, b]) = stage(serialize());
    let (told, call) = interrupted(&mut world, child, a);
    let good = again(2, &told, json!({ "q1": accept() }));
    let state = told["result"]["requestState"].as_str().unwrap();
    assert!(state.len() >= 32 + 8, "128 bits: {state}");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut message = good.clone();
        change(&mut message["params"]);
        message
    };
    let flipped = format!("{}{}", &state[..state.len() - 1], if state.ends_with('0') { '1' } else { '0' });
    for wrong in [
        with(&|params| params["requestState"] = json!(flipped)),
        with(&|params| params["requestState"] = json!("")),
        with(&|params| params["requestState"] = json!("muxloop.0.0")),
        with(&|params| params["requestState"] = json!(null)),
        with(&|params| params["requestState"] = json!({ "a": 1 })),
        with(&|params| params["name"] = json!("u")),
        with(&|params| params["arguments"] = json!({})),
        {
            let mut m = good.clone();
            m["method"] = "prompts/get".into();
            m
        },
        with(&|params| params["inputResponses"] = json!([])),
        with(&|params| params["inputResponses"]["q1"] = json!({ "action": "perhaps" })),
    ] {
        world.says(a, wrong);
        world.hears_error(a, 2, -32602);
    }
    world.says(b, good.clone());
    world.hears_error(b, 2, -32602);
    world.silent(child);
    world.says(a, good.clone());
    assert_eq!(world.hears(child)["id"], "e");
    world.says(a, good);
    world.hears_error(a, 2, -32602);
    world.answers(child, &call, json!({}));
    assert_eq!(world.hears(a)["id"], 2);
    is_over(&world);
}

/// P48: what is missing is asked again with a new state; what was given has reached the child.
#[test]
fn a_missing_answer_is_asked_for_again() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, ask(1, json!({ "name": "t" })));
    let call = world.hears(child);
    world.says(child, elicit("x"));
    world.says(child, elicit("y"));
    world.advance(25);
    let first = world.hears(a);
    world.says(a, again(2, &first, json!({ "q2": accept() })));
    assert_eq!(world.hears(child)["id"], "y");
    world.advance(25);
    let second = world.hears(a);
    assert_eq!((&second["id"], second["result"]["inputRequests"].as_object().unwrap().len()), (&json!(2), 1));
    assert!(second["result"]["inputRequests"]["q1"].is_object());
    assert_ne!(first["result"]["requestState"], second["result"]["requestState"]);
    world.says(a, again(3, &first, json!({ "q1": accept() })));
    world.hears_error(a, 3, -32602);
    let mut bare = again(4, &second, json!(null));
    bare["params"].as_object_mut().unwrap().remove("inputResponses");
    world.says(a, bare);
    world.advance(25);
    let third = world.hears(a);
    world.says(a, again(5, &third, json!({ "q1": { "action": "decline" } })));
    assert_eq!(world.hears(child)["id"], "x");
    world.answers(child, &call, json!({}));
    assert_eq!(world.hears(a)["id"], 5);
    is_over(&world);
}

/// P48: what the client did not declare with this request is refused, not asked; so is everything during a
/// completion, whose answer cannot be a question.
#[test]
fn an_undeclared_capability_is_never_asked() {
    let (mut world, child, [a]) = stage(serialize());
    let mut call = ask(1, json!({ "name": "t" }));
    call["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    world.says(a, call);
    let call = world.hears(child);
    world.says(child, request("s", "sampling/createMessage", json!({})));
    world.hears_error(child, "s", -32602);
    world.says(child, request("r", "roots/list", json!({})));
    world.hears_error(child, "r", -32601);
    world.says(child, request("u", "elicitation/create", json!({ "mode": "url", "url": "https://x" })));
    world.hears_error(child, "u", -32602);
    world.says(child, request("v", "vendor/ask", json!({})));
    world.hears_error(child, "v", -32601);
    world.advance(100);
    world.silent(a);
    world.answers(child, &call, json!({}));
    world.hears(a);
    let mut complete = ask(2, json!({ "ref": {} }));
    complete["method"] = "completion/complete".into();
    world.says(a, complete);
    let complete = world.hears(child);
    world.says(child, elicit("c"));
    world.hears_error(child, "c", -32602);
    world.answers(child, &complete, json!({}));
    world.hears(a);
    // One that declares nothing is not asked either, whoever else could be.
    world.says(a, modern(3, "tools/call", json!({ "name": "t" })));
    let call = world.hears(child);
    world.says(child, elicit("d"));
    world.hears_error(child, "d", -32602);
    world.answers(child, &call, json!({}));
    world.hears(a);
    is_over(&world);
}

/// What the child asks while its client is away is asked next; what it takes back is not asked any more.
#[test]
fn questions_come_and_go_while_the_client_is_away() {
    let (mut world, child, [a]) = stage(serialize());
    let (told, call) = interrupted(&mut world, child, a);
    world.says(child, elicit("late"));
    world.says(child, elicit("gone"));
    world.says(child, cancel("gone"));
    world.says(a, again(2, &told, json!({ "q1": accept(), "q2": "guessed" })));
    assert_eq!(world.hears(child)["id"], "e");
    world.advance(25);
    let told = world.hears(a);
    assert_eq!(told["result"]["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["q2"]);
    world.says(child, cancel("late"));
    world.says(a, again(3, &told, json!({ "q2": accept() })));
    world.silent(child);
    // Taken back before anybody was told: nobody is.
    world.says(child, elicit("brief"));
    world.says(child, cancel("brief"));
    world.advance(100);
    world.silent(a);
    world.answers(child, &call, json!({}));
    assert_eq!(world.hears(a)["id"], 3);
    is_over(&world);
}

/// protocol.md §2.6: the call has the child alone, before and after its questions, against others and against
/// its own client in either era; what asks nothing passes.
#[test]
fn a_call_has_the_child_for_itself() {
    let (mut world, child, [a, b]) = stage(serialize());
    world.greet(b, everything());
    world.says(a, ask(1, json!({ "name": "one" })));
    let one = world.hears(child);
    world.says(b, request(4, "tools/list", json!({})));
    let list = world.hears_of(child, "tools/list");
    world.answers(child, &list, json!({}));
    assert_eq!(world.hears(b)["id"], 4);
    world.says(a, ask(2, json!({ "name": "two" })));
    world.says(b, call(3, "three"));
    world.silent(child);
    world.says(child, elicit("e"));
    world.advance(25);
    let state = world.hears(a)["result"]["requestState"].clone();
    world.silent(b);
    world.silent(child);
    let answers = json!({ "q1": accept() });
    world.says(a, ask(5, json!({ "name": "one", "inputResponses": answers, "requestState": state })));
    world.hears(child);
    world.answers(child, &one, json!({}));
    assert_eq!(world.hears(a)["id"], 5);
    let mut served = Vec::new();
    for _ in 0..2 {
        let asked = world.hears_of(child, "tools/call");
        world.says(child, elicit("q"));
        let three = asked["params"]["name"] == "three";
        world.advance(25);
        let (told, mute) = if three { (b, a) } else { (a, b) };
        world.silent(mute);
        let question = world.hears(told);
        if three {
            world.says(b, json!({ "id": question["id"], "result": accept() }));
        } else {
            let state = &question["result"]["requestState"];
            let answers = json!({ "q1": accept() });
            world.says(a, ask(6, json!({ "name": "two", "inputResponses": answers, "requestState": state })));
        }
        assert_eq!(world.hears(child)["id"], "q");
        world.answers(child, &asked, json!({}));
        served.push(asked["params"]["name"].clone());
        assert_eq!((world.hears_all(a).len() + world.hears_all(b).len()), 1);
    }
    served.sort_by_key(|name| name.to_string());
    assert_eq!(served, ["three", "two"]);
    is_over(&world);
}

/// After a cancel not even the same client has the child before that has read it, in whichever era it asked:
/// a question could still be about the cancelled call.
#[test]
fn nobody_has_the_child_before_it_has_read_a_cancel() {
    for old in [false, true] {
        let (mut world, child, [a]) = stage(serialize());
        world.greet(a, everything());
        world.says(a, if old { call(1, "t") } else { ask(1, json!({ "name": "t" })) });
        let first = world.hears(child);
        world.says(a, ask(2, json!({ "name": "u" })));
        world.says(a, cancel(1));
        assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], first["id"]);
        let ping = world.hears_of(child, "ping");
        world.silent(child);
        world.says(child, elicit("stray"));
        world.hears_error(child, "stray", -32602);
        world.answers(child, &ping, json!({}));
        assert_eq!(world.hears_of(child, "tools/call")["params"]["name"], "u");
        world.advance(100);
        world.silent(a);
    }
}

/// Without heartbeats a child may be at work for as long as it likes: a ping that it does not answer shows
/// nothing, it may have to be asked for a list as well. Who waits is told why in time, and nobody else gets its questions.
#[test]
fn a_child_that_reads_late_has_its_late_question_to_itself() {
    let (mut world, child, [a, b]) = stage(serialize());
    world.says(a, ask(1, json!({ "name": "t" })));
    let first = world.hears_of(child, "tools/call");
    world.says(a, cancel(1));
    world.hears_of(child, "notifications/cancelled");
    world.hears_of(child, "ping");
    world.says(b, ask(1, json!({ "name": "u" })));
    world.advance(30_000);
    let failure = world.hears_failure(b, 1, "timeout");
    assert!(failure["error"]["message"].as_str().unwrap().contains("taken back"), "{failure}");
    world.hears_of(child, "notifications/cancelled");
    let list = world.hears_of(child, "tools/list");
    world.advance(1_000);
    world.says(b, ask(2, json!({ "name": "v" })));
    world.says(child, elicit("late"));
    world.hears_error(child, "late", -32602);
    world.answers(child, &first, json!({}));
    world.advance(25_000);
    world.silent(child);
    world.says(child, json!({ "id": list["id"], "error": { "code": -32603, "message": "no" } }));
    assert_eq!(world.hears_of(child, "tools/call")["params"]["name"], "v");
    world.silent(a);
    world.silent(b);
}

/// One connection may mix eras: its legacy calls are asked by requests, its modern ones by their answers, and
/// never both at a time.
#[test]
fn one_connection_may_mix_eras() {
    for policy in [serialize(), interactive(Interactive::PerClient)] {
        let mut world = World::new([policy]);
        let a = world.client();
        world.says(a, initialize("2025-11-25", everything()));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        world.hears(a);
        world.says(a, note("notifications/initialized", json!({})));
        world.says(a, call(1, "old"));
        let old = world.hears(child);
        world.says(a, ask(2, json!({ "name": "t" })));
        world.silent(child);
        world.says(child, elicit("o"));
        let question = world.hears_of(a, "elicitation/create");
        world.says(a, json!({ "id": question["id"], "result": accept() }));
        world.hears(child);
        world.answers(child, &old, json!({}));
        assert_eq!(world.hears(a)["id"], 1);
        let new = world.hears(child);
        world.says(a, call(3, "old"));
        world.silent(child);
        world.says(child, elicit("n"));
        world.advance(25);
        let told = world.hears(a);
        assert_eq!((&told["id"], &told["result"]["resultType"]), (&json!(2), &json!("input_required")));
        world.says(a, again(4, &told, json!({ "q1": accept() })));
        assert_eq!(world.hears(child)["id"], "n");
        world.answers(child, &new, json!({}));
        assert_eq!(world.hears(a)["id"], 4);
        let old = world.hears(child);
        world.answers(child, &old, json!({}));
        assert_eq!(world.hears(a)["id"], 3);
        is_over(&world);
    }
}

/// protocol.md §4.2: requests that stand for themselves go on from any connection, as one client has several.
#[test]
fn a_guest_goes_on_from_another_connection() {
    let per_session = ServerPolicy { share: Share::Session, ..policy() };
    for policy in [serialize(), interactive(Interactive::PerClient), per_session] {
        let mut world = World::new([policy]);
        let first = world.guest();
        world.says(first, ask(1, json!({ "name": "t" })));
        let child = world.child();
        let offered = world.hears_of(child, "initialize");
        assert!(offered["params"]["capabilities"]["elicitation"]["url"].is_object());
        let result = json!({ "protocolVersion": "2025-11-25", "capabilities": all_capabilities() });
        world.answers(child, &offered, result);
        world.hears(child);
        let call = world.hears(child);
        world.says(child, elicit("e"));
        world.advance(25);
        let told = world.hears(first);
        world.leaves(first);
        assert_eq!(world.stops(child), []);
        world.silent(child);
        let second = world.guest();
        world.says(second, again(1, &told, json!({ "q1": accept() })));
        world.no_start();
        assert_eq!(world.hears(child)["id"], "e");
        // The end of that connection is a cancel again.
        world.leaves(second);
        assert_eq!(world.hears_of(child, "notifications/cancelled")["params"]["requestId"], call["id"]);
        let ping = world.hears_of(child, "ping");
        world.answers(child, &ping, json!({}));
        is_over(&world);
    }
}

/// protocol.md §2.6 rule 1: a question about another client's task is that client's, whoever has the child.
#[test]
fn a_question_about_a_task_is_its_owners() {
    let (mut world, child, [a, b]) = stage(serialize());
    world.greet(b, everything());
    world.says(b, request(1, "tools/call", json!({ "name": "t", "task": {} })));
    let call = world.hears(child);
    world.answers(child, &call, json!({ "task": { "taskId": "T", "status": "working" } }));
    world.hears(b);
    world.says(a, ask(1, json!({ "name": "t" })));
    world.hears(child);
    for (task, known) in [("T", true), ("U", false)] {
        let mut question = elicit(task);
        question["params"]["_meta"]["io.modelcontextprotocol/related-task"] = json!({ "taskId": task });
        world.says(child, question);
        match known {
            true => _ = world.hears_of(b, "elicitation/create"),
            false => _ = world.hears_error(child, task, -32602),
        }
    }
    world.advance(100);
    world.silent(a);
}

/// -32042 is a question without state: the call is made anew, without what its first round has to say.
#[test]
fn a_page_to_be_seen_first_makes_the_call_anew() {
    let (mut world, child, [a]) = stage(serialize());
    world.says(a, ask(1, json!({ "name": "t" })));
    let call = world.hears(child);
    let page = json!({ "mode": "url", "message": "look", "url": "https://x", "elicitationId": "e" });
    let error = json!({ "code": -32042, "message": "see", "data": { "elicitations": [page] } });
    world.says(child, json!({ "id": call["id"], "error": error }));
    let told = world.hears(a);
    assert!(
        told["result"]["inputRequests"]["page-1"].is_object() && told["result"]["requestState"].is_null()
    );
    world.says(a, ask(2, json!({ "name": "t", "inputResponses": { "page-1": { "action": "accept" } } })));
    let call = world.hears(child);
    assert_eq!(call["params"], json!({ "name": "t" }));
    world.answers(child, &call, json!({}));
    assert_eq!(world.hears(a)["id"], 2);
    is_over(&world);
}

/// A state that comes before the child is up is refused once it is known to be none of a modern child's.
#[test]
fn a_state_of_an_earlier_life_is_refused() {
    let mut world = World::new([ServerPolicy { era: EraPolicy::Auto, lazy_start: true, ..serialize() }]);
    let a = world.client();
    world.says(a, ask(1, json!({ "name": "t", "requestState": "muxloop.1.2" })));
    let child = world.child();
    let probe = world.hears_of(child, "server/discover");
    world.says(child, json!({ "id": probe["id"], "error": { "code": -32601, "message": "?" } }));
    world.exits(child, "ended");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_error(a, 1, -32602);
    world.silent(child);
    is_over(&world);
}

/// What a client can be asked counts also if the child seemed to be of the modern era when it was said.
#[test]
fn capabilities_are_known_whatever_the_child_seemed_to_be() {
    let mut world = World::new([ServerPolicy { era: EraPolicy::Auto, lazy_start: true, ..serialize() }]);
    let a = world.client();
    world.says(a, ask(1, json!({ "name": "t" })));
    let child = world.child();
    world.hears_of(child, "server/discover");
    world.exits(child, "ended");
    let child = world.child();
    world.shake_hands(child, all_capabilities());
    world.hears_of(child, "tools/call");
    world.says(child, elicit("e"));
    world.advance(25);
    assert_eq!(world.hears(a)["result"]["resultType"], "input_required");
}

/// A modern child's states are its own and pass.
#[test]
fn a_modern_childs_state_passes() {
    let (mut world, child, [a]) = World::modern(serialize());
    world.says(a, ask(1, json!({ "name": "t", "requestState": "its own", "inputResponses": {} })));
    let asked = world.hears(child);
    assert_eq!(asked["params"]["requestState"], "its own");
    world.answers(child, &asked, json!({ "resultType": "input_required", "requestState": "next" }));
    assert_eq!(world.hears(a)["result"]["requestState"], "next");
}

/// Where each request over HTTP has a process of its own, that waits for the answer to what it asked, goes on for
/// whoever comes with it, and ends with the call.
#[test]
fn a_guests_own_process_waits_for_its_answer() {
    for comes_again in [true, false] {
        let policy = ServerPolicy { share: Share::Session, guests_apart: true, ..policy() };
        let mut world = World::new([policy]);
        let (first, other) = (world.guest(), world.guest());
        world.says(first, ask(1, json!({ "name": "t" })));
        let child = world.child();
        world.shake_hands(child, all_capabilities());
        let call = world.hears_of(child, "tools/call");
        world.says(other, ask(1, json!({ "name": "t" })));
        let another = world.child();
        world.leaves(other);
        assert!(!world.stops(another).is_empty());
        world.exits(another, "exited with status 0");
        world.says(child, elicit("e"));
        world.advance(25);
        let told = world.hears(first);
        world.leaves(first);
        assert_eq!(world.stops(child), []);
        if comes_again {
            let second = world.guest();
            world.says(second, again(1, &told, json!({ "q1": accept() })));
            assert_eq!(world.hears(child)["id"], "e");
            world.answers(child, &call, json!({ "content": [] }));
            assert_eq!(world.hears(second)["result"]["resultType"], "complete");
            assert_eq!(world.stops(child), []);
            world.leaves(second);
        } else {
            world.advance(EXPIRY_MS);
        }
        assert_eq!(world.stops(child)[0], crate::mux::StopStep::CloseInput);
        world.exits(child, "exited with status 0");
        is_over(&world);
        world.no_start();
    }
}
