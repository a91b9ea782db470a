//! Many clients of one process (rows B01 to B03, B05, B07, B09, B10): each gets what is its own, as it was.

use serde_json::{Value, json};

use crate::support::{Client, INITIALIZED, MODERN, Mux, initialize, modern, structured, text};

fn called(id: &Value, tool: &str, arguments: Value, token: Option<Value>) -> Value {
    let mut params = json!({ "name": tool, "arguments": arguments });
    if let Some(token) = token {
        params["_meta"] = json!({ "progressToken": token });
    }
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

#[test]
fn twenty_clients_with_the_same_ids_get_their_own_answers() {
    let mux = Mux::demo(&["--slow-answer", "20"], "max_active_clients = 20");
    let mut clients: Vec<Client> = (0..20).map(|_| mux.client()).collect();
    // Id 1 for everything, and two of it at once.
    for (at, client) in clients.iter_mut().enumerate() {
        for part in 0..2 {
            let words = json!({ "text": format!("{at}/{part}") });
            client.send(&called(&json!(1), "echo", words, Some(json!("same token"))));
        }
    }
    for (at, client) in clients.iter_mut().enumerate() {
        let mut texts: Vec<String> = (0..2).map(|_| text(&client.answer(&json!(1))).to_owned()).collect();
        texts.sort();
        assert_eq!(texts, [format!("{at}/0"), format!("{at}/1")]);
    }
    let pids: Vec<i32> = clients.iter_mut().map(Client::server_pid).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    assert!(clients.iter_mut().all(|client| client.fence().is_empty()));
    assert_eq!(clients[0].violations(), json!([]));
}

#[test]
fn ids_come_back_byte_for_byte() {
    let mux = Mux::demo(&[], "");
    let mut client = mux.client();
    for id in [
        "0",
        "-7",
        "1.0",
        "1e3",
        "18446744073709551616",
        "123456789012345678901234567890",
        r#""""#,
        r#""1""#,
        r#""\u0041\/\"é😀""#,
        r#""a rather long id that fits in no small buffer, 0123456789 0123456789""#,
    ] {
        client.send_line(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"echo","arguments":{{"text":"x"}}}}}}"#
        ));
        let line = client.line().unwrap();
        assert!(line.contains(&format!(r#""id":{id}"#)), "{id}: {line}");
        assert!(line.contains("result"), "{line}");
    }
}

#[test]
fn many_first_clients_share_one_handshake() {
    let mux = Mux::demo(&["--slow-start", "200", "--instructions", "read me"], "max_active_clients = 10");
    let mut clients: Vec<Client> = (0..10).map(|_| mux.connect("a")).collect();
    for client in &mut clients {
        // A request right behind `initialize`, before its own `initialized`, is tolerated.
        client.send(&initialize(7, json!({})));
        client.send(&called(&json!(8), "echo", json!({ "text": "early" }), None));
    }
    for client in &mut clients {
        let hello = client.answer(&json!(7))["result"].clone();
        assert_eq!(hello["serverInfo"]["name"], "a");
        assert_eq!(hello["instructions"], "read me");
        assert_eq!(hello["protocolVersion"], "2025-11-25");
        assert_eq!(text(&client.answer(&json!(8))), "early");
        client.send_line(INITIALIZED);
    }
    // Later ones too, each at its own version.
    for version in ["2024-11-05", "2025-03-26", "2025-06-18"] {
        clients.pop();
        mux.wait_logs(11 - clients.len() - 1, "left:");
        let mut late = mux.connect("a");
        let mut hello = initialize(1, json!({}));
        hello["params"]["protocolVersion"] = json!(version);
        late.send(&hello);
        assert_eq!(late.answer(&json!(1))["result"]["protocolVersion"], version);
        clients.remove(0);
        mux.wait_logs(11 - clients.len() - 1, "left:");
        drop(late);
        mux.wait_logs(11 - clients.len(), "left:");
    }
    clients[0].fence();
    let methods = mux.methods("a");
    assert_eq!(methods.iter().filter(|method| *method == "initialize").count(), 1);
    assert_eq!(methods.iter().filter(|method| *method == "notifications/initialized").count(), 1);
    assert_eq!(methods[..2], ["initialize", "notifications/initialized"]);
    assert_eq!(clients[0].violations(), json!([]));
}

#[test]
fn cancel_and_progress_ids_are_mapped_never_raw() {
    let mux = Mux::demo(&[], "");
    let (mut one, mut two) = (mux.client(), mux.client());
    // The same id and token, of different types even.
    one.send(&called(&json!(5), "sleep", json!({ "ms": 60_000, "steps": 6000 }), Some(json!("5"))));
    one.near_fence();
    two.send(&called(&json!(5), "sleep", json!({ "ms": 300, "steps": 3 }), Some(json!(5))));
    assert_eq!(one.incoming("notifications/progress")["params"]["progressToken"], "5");
    one.notify("notifications/cancelled", json!({ "requestId": 5, "reason": "enough" }));
    assert_eq!(text(&two.answer(&json!(5))), "slept 300 ms", "the other's request goes on");
    let own = |message: &Value| message["params"]["progressToken"] == 5;
    let seen = two.fence();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().all(own), "{seen:?}");

    let before = one.fence();
    assert!(before.iter().all(|message| message["params"]["progressToken"] == "5"), "{before:?}");
    let after: Vec<Value> = one.fence();
    assert_eq!(after, [] as [Value; 0], "silence after the cancellation");

    let journal = mux.journal("a");
    let calls: Vec<&Value> = journal.iter().filter(|message| message["params"]["name"] == "sleep").collect();
    for call in &calls {
        assert_eq!(call["params"]["_meta"]["progressToken"], call["id"], "muxloop's own token");
    }
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    let cancels: Vec<&Value> =
        journal.iter().filter(|message| message["method"] == "notifications/cancelled").collect();
    assert_eq!(cancels.len(), 1);
    assert_eq!(cancels[0]["params"]["requestId"], calls[0]["id"]);
    assert_eq!(cancels[0]["params"]["reason"], "enough");
    assert_eq!(one.violations(), json!([]));

    // An id that names nothing of this client: not passed on, though it is another's and even the server's.
    let asked = two.start("sleep", json!({ "ms": 100 }));
    two.near_fence();
    let theirs = mux.journal("a").last().unwrap()["id"].clone();
    for id in [json!(99), asked.clone(), theirs, json!("5")] {
        one.notify("notifications/cancelled", json!({ "requestId": id }));
    }
    one.near_fence();
    assert_eq!(text(&two.answer(&asked)), "slept 100 ms");
    assert_eq!(mux.methods("a").iter().filter(|method| *method == "notifications/cancelled").count(), 1);
}

#[test]
fn what_a_client_asked_for_is_cancelled_when_it_leaves() {
    let mux = Mux::demo(&[], "");
    let (mut one, mut two) = (mux.client(), mux.client());
    one.start("sleep", json!({ "ms": 60_000 }));
    one.near_fence();
    drop(one);
    mux.wait_log("left:");
    two.fence();
    let journal = mux.journal("a");
    let call = journal.iter().find(|message| message["params"]["name"] == "sleep").unwrap();
    let cancel = journal.iter().find(|message| message["method"] == "notifications/cancelled").unwrap();
    assert_eq!(cancel["params"]["requestId"], call["id"]);

    // One that only ended its side still gets what it asked for, then its connection ends.
    let mut half = mux.client();
    let asked = half.start("sleep", json!({ "ms": 100 }));
    half.half_close();
    assert_eq!(text(&half.answer(&asked)), "slept 100 ms");
    assert_eq!(half.rest().len(), 0);
}

#[test]
fn log_levels_are_each_clients_own() {
    let mux = Mux::demo(&["--era", "legacy"], "");
    let (mut loud, mut quiet, mut usual) = (mux.client(), mux.client(), mux.client());
    loud.ask("logging/setLevel", json!({ "level": "debug" }));
    quiet.ask("logging/setLevel", json!({ "level": "error" }));
    for level in ["debug", "info", "error"] {
        usual.call("log", json!({ "level": level, "text": level }));
    }
    let levels = |client: &mut Client| -> Vec<String> {
        let lines = client.fence();
        lines.iter().map(|line| line["params"]["level"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(levels(&mut loud), ["debug", "info", "error"]);
    assert_eq!(levels(&mut quiet), ["error"]);
    assert_eq!(levels(&mut usual), ["info", "error"], "info unless it says otherwise");
    assert_eq!(loud.ask("logging/setLevel", json!({ "level": "loud" }))["error"]["code"], -32602);
}

#[test]
fn subscriptions_are_counted_and_updates_go_to_subscribers() {
    let mux = Mux::demo(&["--era", "legacy"], "");
    let (mut one, mut two, mut none) = (mux.client(), mux.client(), mux.client());
    let counter = json!({ "uri": "demo://counter" });
    let count = |method: &str| mux.methods("a").iter().filter(|other| *other == method).count();
    assert_eq!(one.ask("resources/subscribe", counter.clone())["result"], json!({}));
    assert_eq!(two.ask("resources/subscribe", counter.clone())["result"], json!({}));
    assert_eq!(count("resources/subscribe"), 1);
    none.call("counter_add", json!({}));
    for client in [&mut one, &mut two] {
        assert_eq!(client.incoming("notifications/resources/updated")["params"], counter);
    }
    assert_eq!(none.fence().len(), 0);
    assert_eq!(one.ask("resources/unsubscribe", counter.clone())["result"], json!({}));
    none.call("counter_add", json!({}));
    two.incoming("notifications/resources/updated");
    assert_eq!(one.fence().len(), 0);
    assert_eq!(count("resources/unsubscribe"), 0, "one still holds it");
    drop(two);
    mux.wait_log("left:");
    none.fence();
    assert_eq!(count("resources/unsubscribe"), 1, "the last holder left");
}

#[test]
fn changed_lists_are_told_to_all_and_bursts_become_one() {
    let mux = Mux::demo(&[], "");
    let (mut one, mut two) = (mux.client(), mux.client());
    for _ in 0..20 {
        one.call("add_tool", json!({}));
    }
    let method = "notifications/tools/list_changed";
    for client in [&mut one, &mut two] {
        // The first of the burst, and one for the rest of it.
        client.incoming(method);
        client.incoming(method);
        let more = client.fence().len();
        assert!(more < 10, "{more} more of 20");
    }
    let tools = two.ask("tools/list", json!({}));
    assert!(tools["result"]["tools"].to_string().contains("dummy_20"));
}

#[test]
fn tasks_belong_to_the_client_that_made_them() {
    let mux = Mux::demo(&[], "");
    let (mut one, mut two) = (mux.client(), mux.client());
    let make = |client: &mut Client, ms: u64| {
        let params = json!({
            "name": "task", "arguments": { "ms": ms }, "task": { "ttl": 60_000 },
            "_meta": { "progressToken": "t" },
        });
        let answer = client.ask("tools/call", params);
        answer["result"]["task"]["taskId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let (mine, theirs) = (make(&mut one, 60_000), make(&mut two, 50));
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        assert_eq!(one.ask(method, json!({ "taskId": theirs }))["error"]["code"], -32602, "{method}");
    }
    let done = two.ask("tasks/result", json!({ "taskId": theirs }));
    assert_eq!(text(&done), "done after 50 ms");
    let list = one.ask("tasks/list", json!({}))["result"]["tasks"].clone();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list[0]["taskId"], mine);
    let foreign = |message: &Value| message.to_string().contains(&theirs);
    assert!(!one.fence().iter().any(foreign), "its progress and status are not the other's");
    let seen = two.fence();
    assert!(seen.iter().all(|message| !message.to_string().contains(&mine)), "{seen:?}");
    assert!(seen.iter().any(|message| message["method"] == "notifications/tasks/status"), "{seen:?}");
    assert!(seen.iter().any(|message| message["params"]["progressToken"] == "t"), "{seen:?}");
    assert_eq!(one.ask("tasks/cancel", json!({ "taskId": mine }))["result"]["status"], "cancelled");
    assert_eq!(one.violations(), json!([]));
}

#[test]
fn a_flooding_client_stands_in_its_own_way_only() {
    let mux = Mux::demo(&["--slow-answer", "100"], "max_in_flight_per_client = 4");
    let (mut flood, mut other) = (mux.client(), mux.client());
    let ids: Vec<Value> = (0..100).map(|n| flood.start("echo", json!({ "text": n.to_string() }))).collect();
    // All of it is in muxloop now, and a few of it at the server.
    flood.near_fence();
    let asked = other.start("echo", json!({ "text": "other" }));
    assert_eq!(text(&other.answer(&asked)), "other");
    let journal = mux.journal("a");
    let texts: Vec<&str> =
        journal.iter().filter_map(|message| message["params"]["arguments"]["text"].as_str()).collect();
    let place = texts.iter().position(|text| *text == "other").unwrap();
    // Four at once; a slow machine may have seen a few of them answered before the other asked.
    assert!(place < 40, "behind {place} of the flood");
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(text(&flood.answer(id)), n.to_string());
    }
}

#[test]
fn no_request_of_a_client_that_asks_without_end_is_lost_or_kept_without_limit() {
    // rmcp-mux queued without a limit. Here: more than muxloop holds of one client, from a server that is not yet
    // there; the client's own socket fills up, and each request is answered in the end.
    let mux = Mux::demo(&["--slow-start", "300"], "");
    let mut client = mux.connect("a");
    client.send(&initialize(0, json!({})));
    let mut writer = client.stream.try_clone().unwrap();
    let pad = "x".repeat(8 << 10);
    let total = 2000;
    let sender = std::thread::spawn(move || {
        for id in 1..=total {
            let mut call = called(&json!(id), "echo", json!({ "text": id.to_string() }), None);
            call["params"]["pad"] = json!(pad);
            std::io::Write::write_all(&mut writer, format!("{call}\n").as_bytes()).unwrap();
        }
    });
    for id in 1..=total {
        assert_eq!(text(&client.answer(&json!(id))), id.to_string());
    }
    sender.join().unwrap();
    let peak_kb = crate::support::process::figure(mux.pid, "VmHWM");
    assert!(peak_kb < 16 << 10, "16 MB were asked, {peak_kb} KiB were held");
}

#[test]
fn modern_clients_share_a_modern_server() {
    for era in ["auto", "modern"] {
        let mux = Mux::demo(&["--era", era], "");
        let (mut one, mut two) = (mux.connect("a"), mux.connect("a"));
        let hello = one.ask("server/discover", modern(json!({})));
        assert_eq!(hello["result"]["supportedVersions"], json!([MODERN]), "{hello}");
        for client in [&mut one, &mut two] {
            let call = modern(json!({ "name": "echo", "arguments": { "text": "new" } }));
            assert_eq!(text(&client.ask("tools/call", call)), "new");
        }
        let asked = one.request(
            "subscriptions/listen",
            modern(json!({ "notifications": { "resourceSubscriptions": ["demo://counter"] } })),
        );
        one.incoming("notifications/subscriptions/acknowledged");
        two.ask("tools/call", modern(json!({ "name": "counter_add", "arguments": {} })));
        let update = one.incoming("notifications/resources/updated");
        assert_eq!(update["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], asked);
        let call = modern(json!({ "name": "whoami", "arguments": {} }));
        assert_eq!(structured(&two.ask("tools/call", call))["violations"], json!([]));
        // A version that nobody speaks is told by name (protocol.md §3.3).
        let mut call = modern(json!({}));
        call["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2031-01-01");
        let refused = two.ask("tools/list", call);
        assert_eq!(refused["error"]["code"], -32022);
        assert_eq!(refused["error"]["data"]["supported"], json!([MODERN]));
    }
}
