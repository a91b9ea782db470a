//! What a server asks its clients (row B04): the one who is meant, or nobody.

use serde_json::{Value, json};

use crate::support::{Client, Mux, Server, text};

fn everything() -> Value {
    json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} }, "roots": {} })
}

/// Takes the next question of this method and answers it.
fn reply(client: &mut Client, method: &str, result: Value) -> Value {
    let question = client.incoming(method);
    client.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }));
    question
}

fn word(word: &str) -> Value {
    json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": word } })
}

#[test]
fn a_servers_questions_reach_the_client_that_is_meant() {
    // rmcp-mux dropped them.
    let mux = Mux::demo(&[], "interactive = \"serialize\"");
    let (mut one, mut two) = (mux.client_of("a", everything()), mux.client_of("a", everything()));
    let mut plain = mux.client();
    // Both ask at once; each is asked by its own call, with ids that collide.
    let mine = one.start("ask", json!({ "question": "one?", "via": "sampling", "progress": true }));
    one.near_fence();
    let theirs = two.start("ask", json!({ "question": "two?", "via": "sampling" }));
    let question = one.incoming("sampling/createMessage");
    assert!(question.to_string().contains("one?"), "{question}");
    // While it is asked, what asks nobody is served; a tool might ask, whoever calls it, so it waits.
    assert!(plain.ask("tools/list", json!({}))["result"]["tools"].is_array());
    let later = plain.start("echo", json!({ "text": "later" }));
    let token = &question["params"]["_meta"]["progressToken"];
    one.notify("notifications/progress", json!({ "progressToken": token, "progress": 1 }));
    // Nobody else can answer in its place.
    two.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": word("forged") }));
    two.near_fence();
    one.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": word("I") }));
    let answer = one.answer(&mine);
    assert_eq!(text(&answer), "I");
    assert_eq!(crate::support::structured(&answer)["progress"], 1);
    let question = reply(&mut two, "sampling/createMessage", word("II"));
    assert!(question.to_string().contains("two?"), "{question}");
    assert_eq!(text(&two.answer(&theirs)), "II");
    assert_eq!(text(&plain.answer(&later)), "later");

    let asked = one.start("ask", json!({ "question": "sure?" }));
    reply(&mut one, "elicitation/create", json!({ "action": "accept", "content": { "answer": "yes" } }));
    assert_eq!(text(&one.answer(&asked)), "yes");
    let asked = two.start("ask", json!({ "question": "where?", "via": "roots" }));
    reply(&mut two, "roots/list", json!({ "roots": [{ "uri": "file:///two" }] }));
    assert_eq!(text(&two.answer(&asked)), "file:///two");
    let asked = one.start("elicit_url", json!({ "complete_ms": 1 }));
    let question = reply(&mut one, "elicitation/create", json!({ "action": "accept" }));
    assert_eq!(text(&one.answer(&asked)), "accept");
    let done = one.incoming("notifications/elicitation/complete");
    assert_eq!(done["params"]["elicitationId"], question["params"]["elicitationId"]);
    for client in [&mut one, &mut two, &mut plain] {
        assert_eq!(client.fence(), [] as [Value; 0]);
    }
    assert_eq!(plain.violations(), json!([]));
}

#[test]
fn the_server_is_told_if_nobody_can_be_asked() {
    let mux = Mux::start(&[
        Server::demo("off", &[]),
        Server::demo("serial", &["--asks-unprompted"]).keys("interactive = \"serialize\""),
    ]);
    // Off: the server knows from the handshake; if it asks nevertheless it gets an error, and so does its caller.
    let mut client = mux.client_of("off", everything());
    let answer = client.call("ask", json!({ "question": "?", "via": "sampling" }));
    assert!(text(&answer).contains("did not declare"), "{answer}");
    let answer = client.call("ask", json!({ "question": "?", "via": "sampling", "force": true }));
    assert!(text(&answer).contains("interactive"), "{answer}");
    // Serialize: without a request in flight of somebody who could answer, it is nobody's question.
    let (mut able, mut unable) = (mux.client_of("serial", everything()), mux.client_of("serial", json!({})));
    let asked = unable.call("ask", json!({ "question": "?", "via": "elicitation" }));
    assert!(text(&asked).contains("answered with an error"), "{asked}");
    assert_eq!(able.fence(), [] as [Value; 0]);
    assert_eq!(unable.fence(), [] as [Value; 0]);
}

#[test]
fn a_question_ends_with_its_client_or_its_server() {
    let mux = Mux::demo(&[], "interactive = \"serialize\"\nrestart_backoff_ms = 1");
    let (mut one, mut two) = (mux.client_of("a", everything()), mux.client_of("a", everything()));
    one.start("ask", json!({ "question": "?", "via": "sampling" }));
    one.incoming("sampling/createMessage");
    drop(one);
    // The next in line has its turn.
    let asked = two.start("ask", json!({ "question": "next", "via": "sampling" }));
    let question = reply(&mut two, "sampling/createMessage", word("mine"));
    assert!(question.to_string().contains("next"), "{question}");
    assert_eq!(text(&two.answer(&asked)), "mine");
    assert_eq!(two.violations(), json!([]));
    // The server dies while it asks: the question is taken back.
    let asked = two.start("ask", json!({ "question": "?", "via": "sampling" }));
    let question = two.incoming("sampling/createMessage");
    two.start("crash", json!({}));
    assert_eq!(crate::support::reason(&two.answer(&asked)), "restarting");
    let taken_back = two.incoming("notifications/cancelled");
    assert_eq!(taken_back["params"]["requestId"], question["id"]);
    two.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": word("late") }));
    two.fence();
    assert_eq!(two.violations(), json!([]), "a late answer does not reach the next process");
}

#[test]
fn an_answer_that_cannot_be_passed_on_ends_the_question() {
    let mux = Mux::demo(&[], "interactive = \"serialize\"\nmax_request_bytes = 4096");
    let mut client = mux.client_of("a", everything());
    let big = "x".repeat(5000);
    for spoiled in [
        format!(r#"{{"jsonrpc":"2.0","id":ID,"result":{{"content":{{"type":"text","text":"{big}"}}}}}}"#),
        r#"{"jsonrpc":"2.0","id":ID,"result":{"content":{"type":"text","text":"cut off}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"both"}}"#.to_owned(),
    ] {
        let asked = client.start("ask", json!({ "question": "?", "via": "sampling" }));
        let question = client.incoming("sampling/createMessage");
        client.send_line(&spoiled.replace("ID", &question["id"].to_string()));
        let answer = client.answer(&asked);
        assert!(text(&answer).contains("answered with an error"), "{answer}");
        assert_eq!(client.fence(), [] as [Value; 0], "an answer is not answered");
    }
    assert_eq!(client.violations(), json!([]));
}

#[test]
fn a_process_per_client_is_asked_nothing_of_others() {
    let mux = Mux::demo(&[], "interactive = \"per-client\"");
    let (mut one, mut two) = (mux.client_of("a", everything()), mux.client_of("a", json!({ "roots": {} })));
    let (first, second) = (one.server_pid(), two.server_pid());
    assert_ne!(first, second);
    let asked = one.start("ask", json!({ "question": "?", "via": "sampling" }));
    reply(&mut one, "sampling/createMessage", word("me"));
    assert_eq!(text(&one.answer(&asked)), "me");
    let refused = two.call("ask", json!({ "question": "?", "via": "sampling" }));
    assert!(text(&refused).contains("did not declare"), "its own capabilities count: {refused}");
    assert_eq!(two.fence(), [] as [Value; 0]);
    // Its process goes with it.
    let process = crate::support::Watched::new(first);
    drop(one);
    process.assert_ends();
    assert_eq!(two.server_pid(), second);
}
