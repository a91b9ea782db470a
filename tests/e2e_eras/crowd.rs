//! Clients of all versions on one child, all asked at the same time: each question and each answer goes where
//! it belongs.

use serde_json::json;
use std::sync::Barrier;
use std::thread;

use crate::cell::{Kind, SERIALIZE, station};
use crate::client::{Client, Front, Question, Reply, Version, obliging};
use crate::support::{Server, Station};

const ROUNDS: usize = 10;

/// Two clients of each version, on different fronts.
fn crowd() -> Vec<(Version, Front)> {
    vec![
        (Version::V24, Front::Sse),
        (Version::V24, Front::Unix),
        (Version::V03, Front::Http),
        (Version::V03, Front::Stdio),
        (Version::V06, Front::WebSocket),
        (Version::V06, Front::Http),
        (Version::V11, Front::Unix),
        (Version::V11, Front::Http),
        (Version::V26, Front::Http),
        (Version::V26, Front::Unix),
    ]
}

/// Calls of one client, two at a time, each with a question of its own; no question of another is seen.
fn ask_away(mut client: Client, name: &str) {
    let can_elicit = client.capabilities.get("elicitation").is_some();
    for round in 0..ROUNDS {
        let nonces = [format!("{name}/{round}/a"), format!("{name}/{round}/b")];
        let vias = [if can_elicit { "elicitation" } else { "sampling" }, "sampling"];
        let calls: Vec<_> = nonces
            .iter()
            .zip(vias)
            .map(|(nonce, via)| {
                let arguments = json!({ "via": via, "question": nonce });
                ("tools/call", json!({ "name": "ask", "arguments": arguments }))
            })
            .collect();
        let mut seen = Vec::new();
        let dialogs = client.converse_all(&calls, |question: &Question| -> Reply {
            let params = &question["params"];
            let words = params["message"].as_str().or(params["messages"][0]["content"]["text"].as_str());
            let words = words.unwrap_or_else(|| panic!("{question}"));
            assert!(nonces.iter().any(|nonce| nonce == words), "{name} is asked for another: {question}");
            seen.push(words.to_owned());
            obliging(question)
        });
        for ((dialog, nonce), via) in dialogs.iter().zip(&nonces).zip(vias) {
            let prefix = if via == "sampling" { "S" } else { "E" };
            let text = &dialog.answer["result"]["content"][0]["text"];
            assert_eq!(*text, format!("{prefix}: {nonce}"), "{name}: {}", dialog.answer);
        }
        seen.sort();
        assert_eq!(seen, nonces, "each asked once");
    }
}

fn run(station: &Station) {
    let crowd = crowd();
    let start = Barrier::new(crowd.len());
    thread::scope(|scope| {
        let clients: Vec<_> = crowd
            .iter()
            .enumerate()
            .map(|(n, (version, front))| {
                let start = &start;
                scope.spawn(move || {
                    let client = Client::open(station, SERIALIZE, *front, *version);
                    start.wait();
                    ask_away(client, &format!("{} {n}", version.name()));
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let mut last = Client::open(station, SERIALIZE, Front::Unix, Version::V11);
    let me = last.call("whoami", json!({}))["result"]["structuredContent"].clone();
    assert_eq!(me["violations"], json!([]), "{me}");
    let opened = station.mux.methods(SERIALIZE).iter().filter(|method| *method == "initialize").count();
    assert!(opened <= 1, "one child for all of them");
}

#[test]
fn everybody_at_one_legacy_child() {
    run(&station(Kind::Legacy));
}

#[test]
fn everybody_at_one_modern_child() {
    run(&station(Kind::Modern));
}

/// Nobody says of what era the server is.
#[test]
fn everybody_at_children_whose_era_has_to_be_found_out() {
    const ERAS: [&str; 5] = ["legacy", "legacy-exit", "modern", "both", "auto"];
    let keys = "interactive = \"serialize\"\nera = \"auto\"\nmax_active_clients = 64\nrestart_backoff_ms = 1";
    let servers = ERAS.map(|era| Server::demo(era, &["--era", era]).keys(keys));
    let station = Station::start(crate::support::station::PLAIN, &servers);
    thread::scope(|scope| {
        for (n, (version, front)) in crowd().into_iter().enumerate() {
            let station = &station;
            scope.spawn(move || {
                for era in ERAS {
                    let mut client = Client::open(station, era, front, version);
                    let question = format!("{n} of {era}");
                    let arguments = json!({ "via": "sampling", "question": question });
                    let params = json!({ "name": "ask", "arguments": arguments });
                    let answer = client.converse("tools/call", params, obliging).answer;
                    assert_eq!(answer["result"]["content"][0]["text"], format!("S: {question}"), "{answer}");
                }
            });
        }
    });
}
