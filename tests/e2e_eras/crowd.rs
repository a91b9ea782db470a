//! Clients of all versions on one child, all asked at the same time: each question and each answer goes where
//! it belongs.

use serde_json::json;
use std::sync::Barrier;
use std::thread;

use crate::cell::{Kind, SERIALIZE, station};
use crate::client::{Client, Front, Question, Reply, Version, obliging};
use crate::support::{Server, Station};
use crate::wire::MERGED;

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
fn ask_away(mut client: Client, name: &str, tools: [&str; 2]) {
    let can_elicit = client.capabilities.get("elicitation").is_some();
    for round in 0..ROUNDS {
        let nonces = [format!("{name}/{round}/a"), format!("{name}/{round}/b")];
        let vias = [if can_elicit { "elicitation" } else { "sampling" }, "sampling"];
        let calls: Vec<_> = nonces
            .iter()
            .zip(vias)
            .zip(tools)
            .map(|((nonce, via), tool)| {
                let arguments = json!({ "via": via, "question": nonce });
                ("tools/call", json!({ "name": tool, "arguments": arguments }))
            })
            .collect();
        let mut seen = Vec::new();
        let dialogs = client.converse_all(&calls, |question: &Question| -> Reply {
            let params = &question["params"];
            let words = params["message"].as_str().or(params["messages"][0]["content"]["text"].as_str());
            let words = words.unwrap_or_else(|| panic!("{question}"));
            // The merged endpoint says who asks (protocol.md §5.11).
            let words = words.split_once("] ").map_or(words, |(_, words)| words);
            assert!(nonces.iter().any(|nonce| nonce == words), "{name} is asked for another: {question}");
            seen.push(words.to_owned());
            obliging(question)
        });
        for (((dialog, nonce), via), tool) in dialogs.iter().zip(&nonces).zip(vias).zip(tools) {
            let asker = match tool.split_once("__") {
                Some((server, _)) if via == "elicitation" => format!("[{server}] "),
                _ => String::new(),
            };
            let prefix = if via == "sampling" { "S" } else { "E" };
            let text = &dialog.answer["result"]["content"][0]["text"];
            assert_eq!(*text, format!("{prefix}: {asker}{nonce}"), "{name}: {}", dialog.answer);
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
                    ask_away(client, &format!("{} {n}", version.name()), ["ask"; 2]);
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

/// All fronts of the merged endpoint, each client at both kinds of server at once; one of them is killed again and
/// again, which costs calls under way an error and no one a foreign answer.
#[test]
fn everybody_at_the_merged_endpoint() {
    const FRONTS: [Front; 3] = [Front::Http, Front::Sse, Front::WebSocket];
    let keys = |era| {
        format!("interactive = \"serialize\"\nera = \"{era}\"\nrestart_backoff_ms = 1\nmax_restarts = 0")
    };
    let server = |era: &'static str| Server::demo(era, &["--era", era]).keys(&keys(era));
    let station = Station::start(
        crate::support::station::PLAIN,
        &[server("legacy"), server("modern"), Server::demo("mortal", &[]).keys(&keys("auto"))],
    );
    let versions = [Version::V24, Version::V03, Version::V06, Version::V11, Version::V26];
    let ways = versions.into_iter().flat_map(|version| FRONTS.map(|front| (version, front)));
    let ways: Vec<_> = ways.filter(|(version, front)| front.serves(*version)).collect();
    let start = Barrier::new(ways.len());
    thread::scope(|scope| {
        for (n, (version, front)) in ways.into_iter().enumerate() {
            let (station, start) = (&station, &start);
            scope.spawn(move || {
                let name = format!("{} {n}", version.name());
                let mut other = Client::open(station, MERGED, front, version);
                let client = Client::open(station, MERGED, front, version);
                start.wait();
                thread::scope(|scope| {
                    scope.spawn(|| ask_away(client, &name, ["legacy__ask", "modern__ask"]));
                    for round in 0..4 {
                        let text = format!("{name}: {round}");
                        let told = other.call("mortal__echo", json!({ "text": text }));
                        let is_lost = told["error"]["code"] == -32603;
                        assert!(is_lost || told["result"]["content"][0]["text"] == text, "{told}");
                        if n == 0 {
                            other.call("mortal__crash", json!({}));
                        }
                    }
                });
            });
        }
    });
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
