//! What nobody should send: states that are not the client's, answers to nothing, two eras on one connection.
//! Children of the wrong era are in `strange`.

use serde_json::{Value, json};

use crate::cell::{Kind, SERIALIZE, refused, station};
use crate::client::{Client, Front, META, Reply, Version, obliging};
use crate::support::{Ask, Server, Session, Station, code, modern, rpc};

const WRONG: &str = "refused -32602";

fn ask(question: &str) -> Value {
    json!({ "name": "ask", "arguments": { "via": "sampling", "question": question } })
}

/// A call that has been answered with a question; that result.
fn suspended(client: &mut Client, question: &str) -> Value {
    let answer = client.ask("tools/call", ask(question));
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    answer["result"].clone()
}

/// The repetition of a call with the answers to this result.
fn again(result: &Value, mut params: Value) -> Value {
    params["requestState"] = result["requestState"].clone();
    for (key, question) in result["inputRequests"].as_object().expect("questions") {
        let Reply::Result(said) = obliging(question) else { unreachable!("it obliges") };
        params["inputResponses"][key] = said;
    }
    params
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

/// No call of anybody at this server breaks the protocol of the child.
fn assert_in_order(station: &Station) {
    let mut client = Client::open(station, SERIALIZE, Front::Unix, Version::V11);
    let me = client.call("whoami", json!({}))["result"]["structuredContent"].clone();
    assert_eq!(me["violations"], json!([]), "{me}");
}

#[test]
fn a_state_is_good_for_one_request_of_its_client() {
    let station = station(Kind::Legacy);
    for front in [Front::Unix, Front::Http, Front::WebSocket] {
        let mut client = Client::open(&station, SERIALIZE, front, Version::V26);
        let first = suspended(&mut client, "mine");
        let state = first["requestState"].as_str().expect("a state");
        assert!(state.len() >= 22, "128 bits: {state}");
        let good = again(&first, ask("mine"));
        // Forged.
        let mut flipped = state.to_owned();
        let last = if flipped.pop() == Some('0') { '1' } else { '0' };
        flipped.push(last);
        let cut = state[..state.len() - 1].to_owned();
        for forged in ["", "x", &flipped, &cut, &format!("{state}0"), &state.to_uppercase(), "muxloop."] {
            let mut params = good.clone();
            params["requestState"] = json!(forged);
            assert_eq!(refused(&client.ask("tools/call", params)), WRONG, "{front:?} {forged}");
        }
        // Of another request.
        let mut params = again(&first, ask("yours"));
        assert_eq!(refused(&client.ask("tools/call", params)), WRONG, "other arguments");
        params = again(&first, ask("mine"));
        params["name"] = json!("echo");
        assert_eq!(refused(&client.ask("tools/call", params)), WRONG, "another tool");
        let params = again(&first, json!({ "name": "survey" }));
        assert_eq!(refused(&client.ask("prompts/get", params)), WRONG, "another method");
        // Of another client: a connection, where there are some.
        if front != Front::Http {
            let mut thief = Client::open(&station, SERIALIZE, front, Version::V26);
            assert_eq!(refused(&thief.ask("tools/call", good.clone())), WRONG, "foreign");
        }
        let other = if front == Front::Unix { Front::Http } else { Front::Unix };
        let mut thief = Client::open(&station, SERIALIZE, other, Version::V26);
        assert_eq!(refused(&thief.ask("tools/call", good.clone())), WRONG, "foreign");
        // None of that has hurt it; used, it is gone.
        assert_eq!(text(&client.ask("tools/call", good.clone())), "S: mine");
        assert_eq!(refused(&client.ask("tools/call", good)), WRONG, "replayed");
    }
    assert_in_order(&station);
}

#[test]
fn each_round_has_a_state_of_its_own() {
    let station = station(Kind::Legacy);
    for front in [Front::Unix, Front::Http] {
        let mut client = Client::open(&station, SERIALIZE, front, Version::V26);
        let questions = json!([{ "via": "sampling", "question": "q" }]);
        let params = json!({ "name": "interview", "arguments": { "questions": questions, "rounds": 2 } });
        let first = client.ask("tools/call", params.clone())["result"].clone();
        let second = client.ask("tools/call", again(&first, params.clone()))["result"].clone();
        assert_ne!(first["requestState"], second["requestState"]);
        assert_eq!(refused(&client.ask("tools/call", again(&first, params.clone()))), WRONG, "replayed");
        assert_eq!(text(&client.ask("tools/call", again(&second, params))), "S: q | S: q #2");
    }
    assert_in_order(&station);
}

/// A client that does not come back holds the others up for so long and no longer.
#[test]
fn a_state_expires() {
    let keys =
        "interactive = \"serialize\"\nera = \"legacy\"\nrequest_timeout_ms = 200\nanswer_timeout_ms = 400";
    let station = Station::start(
        crate::support::station::PLAIN,
        &[Server::demo(SERIALIZE, &["--era", "legacy"]).keys(keys)],
    );
    for front in [Front::Unix, Front::Http] {
        let mut client = Client::open(&station, SERIALIZE, front, Version::V26);
        let before = station.mux.methods(SERIALIZE);
        let first = suspended(&mut client, "for nobody");
        // The child is told, by an answer to its question and by a cancel; only then is it another's turn, who
        // may have run out of patience in the queue.
        let mut other = Client::open(&station, SERIALIZE, Front::Unix, Version::V11);
        let me = loop {
            let answer = other.call("whoami", json!({}));
            match answer.get("error") {
                Some(_) => assert_eq!(refused(&answer), "refused -32603"),
                None => break answer["result"]["structuredContent"].clone(),
            }
        };
        assert_eq!(me["violations"], json!([]), "{me}");
        let after = station.mux.methods(SERIALIZE);
        for method in ["-", "notifications/cancelled"] {
            let count = |methods: &[String]| methods.iter().filter(|name| *name == method).count();
            assert!(count(&after) > count(&before), "{method} in {after:?}");
        }
        let late = client.ask("tools/call", again(&first, ask("for nobody")));
        assert_eq!(refused(&late), WRONG, "expired");
        let dialog = client.converse("tools/call", ask("again"), obliging);
        assert_eq!(text(&dialog.answer), "S: again");
    }
}

#[test]
fn answers_to_nothing_reach_nobody() {
    for kind in Kind::ALL {
        let station = station(kind);
        for front in [Front::Unix, Front::Http, Front::Sse, Front::WebSocket] {
            let mut client = Client::open(&station, SERIALIZE, front, Version::V11);
            let mut stranger = Client::open(&station, SERIALIZE, front, Version::V11);
            let id = client.request("tools/call", ask("mine"));
            let question = client.incoming("sampling/createMessage");
            let said =
                json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "lie" } });
            for wrong in [&question["id"], &json!(question["id"].to_string()), &json!(0), &json!("x")] {
                stranger.send(&json!({ "jsonrpc": "2.0", "id": wrong, "result": said }));
                let error = json!({ "code": -1, "message": "no" });
                stranger.send(&json!({ "jsonrpc": "2.0", "id": wrong, "error": error }));
            }
            let pong = stranger.ask("ping", json!({}));
            assert_eq!(pong["result"], json!({}), "{pong}");
            let Reply::Result(said) = obliging(&question) else { unreachable!("it obliges") };
            // Once is enough.
            for _ in 0..2 {
                client.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": said }));
            }
            assert_eq!(text(&client.answer(&id)), "S: mine", "{kind:?} {front:?}");
        }
        // 2026-07-28 has no such answers at all.
        let posted = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
        let path = format!("/servers/{SERIALIZE}/mcp");
        let ask = Ask::post(&path, &posted).header("MCP-Protocol-Version", "2026-07-28");
        assert!((400..500).contains(&station.ask(&ask).status()), "{kind:?}");
        let mut client = Client::open(&station, SERIALIZE, Front::Unix, Version::V26);
        client.send(&posted);
        assert_eq!(text(&client.call("echo", json!({ "text": "on" }))), "on");
        assert_in_order(&station);
    }
}

#[test]
fn meta_that_contradicts_the_headers_is_refused() {
    for kind in Kind::ALL {
        let station = station(kind);
        let path = format!("/servers/{SERIALIZE}/mcp");
        let arguments = json!({ "name": "echo", "arguments": { "text": "x" } });
        let good = || modern(&path, 7, "tools/call", arguments.clone());
        for ask in [
            good().header("MCP-Protocol-Version", "2025-11-25"),
            good().header("MCP-Protocol-Version", "2026-07-29"),
            good().header("MCP-Protocol-Version", ""),
            good().header("Mcp-Method", "tools/list"),
            good().header("Mcp-Name", "ask"),
        ] {
            let reply = station.ask(&ask).expect(400);
            assert_eq!((code(&reply.json()), &reply.json()["id"]), (-32020, &json!(7)), "P40");
        }
        // The header alone says nothing of the sender.
        let bare = Ask::post(&path, &rpc(7, "tools/call", arguments.clone()))
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", "tools/call")
            .header("Mcp-Name", "echo");
        assert_eq!(code(&station.ask(&bare).expect(400).json()), -32602, "P38");
        // Within a session of the old era no more than without.
        let session = Session::of(&station, SERIALIZE, "2025-11-25", json!({}));
        let dressed = bare.header("Mcp-Session-Id", &session.id);
        assert_eq!(code(&station.ask(&dressed).expect(400).json()), -32602, "P38");
        // A session's id is no contradiction: it means nothing here.
        let reply = station.ask(&good().header("Mcp-Session-Id", &session.id)).expect(200).json();
        assert_eq!((text(&reply), &reply["result"]["resultType"]), ("x", &json!("complete")));
        let version = format!("{META}protocolVersion");
        let old = json!({ "_meta": { version: "2025-11-25", format!("{META}clientCapabilities"): {} } });
        let ask = modern(&path, 7, "tools/list", old).header("MCP-Protocol-Version", "2025-11-25");
        assert_eq!(code(&station.ask(&ask).expect(400).json()), -32022, "P39");
        let called = station.mux.methods(SERIALIZE).iter().filter(|method| *method == "tools/call").count();
        assert_eq!(called, 1, "only the good one came through");
        assert_in_order(&station);
    }
}

/// On a socket, a client may speak both eras, one message so and the next so: each is answered in its own.
#[test]
fn one_connection_may_speak_both_eras() {
    for kind in Kind::ALL {
        let station = station(kind);
        for front in [Front::Unix, Front::Stdio, Front::WebSocket] {
            let mut client = Client::open(&station, SERIALIZE, front, Version::V11);
            for round in 0..4 {
                client.version = if round % 2 == 0 { Version::V11 } else { Version::V26 };
                let question = format!("round {round}");
                let dialog = client.converse("tools/call", ask(&question), obliging);
                assert_eq!(text(&dialog.answer), format!("S: {question}"));
                let by_request = dialog.by_request.len() == 1;
                assert_eq!(by_request, round % 2 == 0, "{kind:?} {front:?} {round}");
                assert_eq!(dialog.answer["result"].get("resultType").is_none(), by_request);
            }
            // Both at once.
            client.version = Version::V11;
            let old = client.request("tools/call", ask("old"));
            let question = client.incoming("sampling/createMessage");
            client.version = Version::V26;
            let new = client.request("tools/call", ask("new"));
            let Reply::Result(said) = obliging(&question) else { unreachable!("it obliges") };
            client.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": said }));
            assert_eq!(text(&client.answer(&old)), "S: old", "{kind:?} {front:?}");
            let asked = client.answer(&new)["result"].clone();
            let last = client.ask("tools/call", again(&asked, ask("new")));
            assert_eq!(text(&last), "S: new", "{kind:?} {front:?}");

            // The other way round: it only opens after it has asked.
            let mut client = Client::open(&station, SERIALIZE, front, Version::V26);
            assert_eq!(text(&client.call("echo", json!({ "text": "new" }))), "new");
            client.version = Version::V11;
            assert_eq!(refused(&client.call("echo", json!({ "text": "early" }))), WRONG, "no `_meta` yet");
            let greeting = client.ask("initialize", client.introduction());
            assert_eq!(greeting["result"]["protocolVersion"], "2025-11-25", "{greeting}");
            client.notify("notifications/initialized", json!({}));
            let dialog = client.converse("tools/call", ask("late"), obliging);
            assert_eq!((text(&dialog.answer), dialog.by_request.len()), ("S: late", 1), "{kind:?} {front:?}");
        }
        assert_in_order(&station);
    }
}
