//! Clients that send what they must not (row N05, "Bad input"): each gets a clear error, nobody else notices.

use serde_json::{Value, json};

use crate::support::{Client, INITIALIZED, Mux, Server, initialize, reason, text};

/// Whom a row's client is.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Fresh,
    Greeted,
}
use State::{Fresh, Greeted};

/// What must come back.
enum Want {
    /// This code under this id.
    Error(i64, Value),
    /// -32603 under this id, with this reason and these words.
    Own(Value, &'static str, &'static [&'static str]),
    Silence,
}
use Want::{Error, Own, Silence};

fn table() -> Vec<(&'static str, State, Vec<u8>, Want)> {
    let row = |name, state, text: &str, want| (name, state, text.as_bytes().to_vec(), want);
    let deep = "[".repeat(100_000);
    let nested = format!(
        r#"{{"jsonrpc":"2.0","id":4,"method":"ping","params":{{"x":{0}1{1}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let long = format!(
        r#"{{"jsonrpc":"2.0","id":"big","method":"tools/call","params":{{"name":"echo","arguments":{{"text":"{}"}}}}}}"#,
        "x".repeat(70_000)
    );
    let long_id_last =
        format!(r#"{{"jsonrpc":"2.0","method":"ping","params":{{"x":"{}"}},"id":77}}"#, "x".repeat(70_000));
    vec![
        row("no JSON", Greeted, "GET / HTTP/1.1", Error(-32700, Value::Null)),
        row("cut off", Greeted, r#"{"jsonrpc":"2.0","id":1,"method":"ping""#, Error(-32700, json!(1))),
        row("cut off early", Greeted, r#"{"jsonrpc":"2.0","id":1,"meth"#, Error(-32700, json!(1))),
        row(
            "two in a line",
            Greeted,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#,
            Error(-32700, json!(1)),
        ),
        row("byte order mark", Greeted, "\u{feff}{}", Error(-32700, Value::Null)),
        (
            "not UTF-8",
            Greeted,
            b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\",\"params\":{\"x\":\"\xff\"}}".to_vec(),
            Error(-32700, json!(2)),
        ),
        (
            "UTF-8 of a surrogate",
            Greeted,
            b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\",\"params\":{\"x\":\"\xed\xa0\x80\"}}"
                .to_vec(),
            Error(-32700, json!(2)),
        ),
        (
            "NUL in a string",
            Greeted,
            b"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/list\",\"params\":{\"x\":\"\0\"}}".to_vec(),
            Error(-32700, json!(3)),
        ),
        ("NUL bytes", Greeted, vec![0; 1000], Error(-32700, Value::Null)),
        ("any bytes", Greeted, (1..=255).filter(|byte| *byte != b'\n').collect(), Error(-32700, Value::Null)),
        row("a bomb of brackets", Greeted, &deep[..60_000], Error(-32600, Value::Null)),
        row("too deep", Greeted, &nested, Error(-32700, json!(4))),
        row("a bare value", Greeted, "42", Error(-32600, Value::Null)),
        row(
            "a batch out of its time",
            Greeted,
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            Error(-32600, Value::Null),
        ),
        row("an empty object", Greeted, "{}", Error(-32600, Value::Null)),
        row("no version", Greeted, r#"{"id":5,"method":"ping"}"#, Error(-32600, json!(5))),
        row(
            "another version",
            Greeted,
            r#"{"jsonrpc":"1.0","id":5,"method":"ping"}"#,
            Error(-32600, json!(5)),
        ),
        row(
            "an id that is an object",
            Greeted,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            Error(-32600, Value::Null),
        ),
        row(
            "an id that is null",
            Greeted,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            Error(-32600, Value::Null),
        ),
        row(
            "an id that is true",
            Greeted,
            r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#,
            Error(-32600, Value::Null),
        ),
        row(
            "two ids",
            Greeted,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            Error(-32600, Value::Null),
        ),
        row(
            "an id written twice differently",
            Greeted,
            r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"ping"}"#,
            Error(-32600, Value::Null),
        ),
        row(
            "a method that is a number",
            Greeted,
            r#"{"jsonrpc":"2.0","id":6,"method":7}"#,
            Error(-32600, json!(6)),
        ),
        row(
            "params that are text",
            Greeted,
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":"x"}"#,
            Error(-32600, json!(7)),
        ),
        row(
            "request and answer at once",
            Greeted,
            r#"{"jsonrpc":"2.0","id":8,"method":"ping","result":{}}"#,
            Error(-32600, json!(8)),
        ),
        row("an id and nothing else", Greeted, r#"{"jsonrpc":"2.0","id":9}"#, Error(-32600, json!(9))),
        row("initialize again", Greeted, &initialize(10, json!({})).to_string(), Error(-32600, json!(10))),
        row(
            "unknown method",
            Greeted,
            r#"{"jsonrpc":"2.0","id":11,"method":"no/such"}"#,
            Error(-32601, json!(11)),
        ),
        row(
            "a tool call without a tool",
            Greeted,
            r#"{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{}}"#,
            Error(-32602, json!(12)),
        ),
        row(
            "a level that is none",
            Greeted,
            r#"{"jsonrpc":"2.0","id":13,"method":"logging/setLevel","params":{"level":5}}"#,
            Error(-32602, json!(13)),
        ),
        row(
            "a subscription to a number",
            Greeted,
            r#"{"jsonrpc":"2.0","id":14,"method":"resources/subscribe","params":{"uri":5}}"#,
            Error(-32602, json!(14)),
        ),
        row(
            "a method of the other era",
            Greeted,
            r#"{"jsonrpc":"2.0","id":15,"method":"server/discover"}"#,
            Error(-32601, json!(15)),
        ),
        row("too long", Greeted, &long, Own(json!("big"), "too_large", &["65536", "max_request_bytes"])),
        row("too long, its id at the end", Greeted, &long_id_last, Own(json!(77), "too_large", &["65536"])),
        row("an answer nobody asked for", Greeted, r#"{"jsonrpc":"2.0","id":0,"result":{}}"#, Silence),
        row(
            "an error nobody asked for",
            Greeted,
            r#"{"jsonrpc":"2.0","id":65536,"error":{"code":1,"message":"x"}}"#,
            Silence,
        ),
        row(
            "an error about nothing",
            Greeted,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#,
            Silence,
        ),
        row("a broken answer", Greeted, r#"{"jsonrpc":"2.0","id":0,"result":{"#, Silence),
        row(
            "cancels nothing",
            Greeted,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}"#,
            Silence,
        ),
        row(
            "progress of nothing",
            Greeted,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":65536,"progress":1}}"#,
            Silence,
        ),
        row("initialized again", Greeted, INITIALIZED, Silence),
        row("empty lines", Greeted, "\n\r\n \t \n", Silence),
        row(
            "a request before initialize",
            Fresh,
            r#"{"jsonrpc":"2.0","id":16,"method":"tools/list"}"#,
            Error(-32600, json!(16)),
        ),
        row("a notification before initialize", Fresh, INITIALIZED, Silence),
        row(
            "modern without its meta",
            Fresh,
            r#"{"jsonrpc":"2.0","id":17,"method":"server/discover","params":{}}"#,
            Error(-32602, json!(17)),
        ),
        row(
            "modern without capabilities",
            Fresh,
            r#"{"jsonrpc":"2.0","id":18,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
            Error(-32602, json!(18)),
        ),
    ]
}

#[test]
fn hostile_input_gets_an_error_and_harms_nobody_else() {
    let mux = Mux::demo(&[], "max_request_bytes = 65536\nmax_active_clients = 200");
    let mut bystander = mux.client();
    let pid = bystander.server_pid();
    for (name, state, bytes, want) in table() {
        // One that goes on and one that leaves at once.
        let mut client = mux.connect("a");
        let mut leaver = mux.connect("a");
        if state == Greeted {
            client.greet(json!({}));
            leaver.greet(json!({}));
        }
        leaver.send_bytes(&bytes);
        drop(leaver);
        client.send_bytes(&bytes);
        client.send_bytes(b"\n");
        match want {
            Error(code, id) => {
                let answer = client.message();
                assert_eq!(
                    (&answer["error"]["code"], &answer["id"]),
                    (&json!(code), &id),
                    "{name}: {answer}"
                );
                assert_ne!(answer["error"]["message"], "", "{name}");
            }
            Own(id, why, words) => {
                let answer = client.message();
                assert_eq!((reason(&answer), &answer["id"]), (why, &id), "{name}: {answer}");
                let message = answer["error"]["message"].as_str().unwrap();
                assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
            }
            Silence => {}
        }
        // Nothing else came, and the same connection is as good as new.
        if state == Fresh {
            client.greet(json!({}));
        }
        assert_eq!(client.near_fence(), [] as [Value; 0], "{name}");
        assert_eq!(client.fence(), [] as [Value; 0], "{name}");
        assert_eq!(bystander.fence(), [] as [Value; 0], "{name}");
    }
    assert_eq!(bystander.server_pid(), pid);
    assert_eq!(bystander.violations(), json!([]), "none of it reached the server");
    assert!(mux.journal("a").iter().all(Value::is_object), "nor a line that is not JSON");
}

#[test]
fn half_a_message_then_silence_or_the_end_disturbs_nobody() {
    let mux = Mux::demo(&[], "max_request_bytes = 65536");
    let mut bystander = mux.client();
    let half = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","#;
    let mut silent = mux.client();
    silent.send_bytes(half.as_bytes());
    let mut endless = mux.client();
    endless.send_bytes(&[b'x'; 300_000]);
    let mut ends = mux.client();
    ends.send_bytes(half.as_bytes());
    ends.half_close();
    let answers = ends.rest();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((&answers[0]["error"]["code"], &answers[0]["id"]), (&json!(-32700), &json!(1)));
    let gone = mux.client();
    (&gone.stream).write_half(half);
    drop(gone);
    mux.wait_logs(2, "left:");
    assert_eq!(bystander.fence(), [] as [Value; 0]);
    // The silent one may finish in its own time, the endless one too.
    silent.send_line(r#""arguments":{"text":"at last"}}}"#);
    assert_eq!(text(&silent.answer(&json!(1))), "at last");
    endless.send_line("");
    let answer = endless.message();
    assert_eq!((reason(&answer), &answer["id"]), ("too_large", &Value::Null));
    endless.fence();
    // A whole last line without its newline counts.
    let mut last = mux.client();
    last.send_bytes(br#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"echo","arguments":{"text":"last"}}}"#);
    last.half_close();
    assert_eq!(text(&last.answer(&json!(5))), "last");
}

trait WriteHalf {
    fn write_half(self, text: &str);
}

impl WriteHalf for &std::os::unix::net::UnixStream {
    fn write_half(mut self, text: &str) {
        std::io::Write::write_all(&mut self, text.as_bytes()).unwrap();
    }
}

#[test]
fn a_batch_is_taken_apart_where_its_version_has_them() {
    let mux = Mux::demo(&[], "");
    let mut client = mux.connect("a");
    let mut hello = initialize(1, json!({}));
    hello["params"]["protocolVersion"] = json!("2025-03-26");
    client.send(&hello);
    client.answer(&json!(1));
    client.send_line(
        r#"[{"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"in"}}},{"jsonrpc":"2.0","id":3},{"jsonrpc":"2.0","id":4,"method":"ping"}]"#,
    );
    assert_eq!(text(&client.answer(&json!(2))), "in");
    assert_eq!(client.answer(&json!(3))["error"]["code"], -32600);
    assert_eq!(client.answer(&json!(4))["result"], json!({}));
    assert_eq!(client.violations(), json!([]));
}

#[test]
fn the_sixth_client_is_told_so_at_once() {
    // rmcp-mux let it wait in silence.
    let mux = Mux::start(&[Server::demo("a", &[]), Server::demo("b", &[])]);
    let mut five: Vec<Client> = (0..5).map(|_| mux.client()).collect();
    five.iter_mut().for_each(|client| drop(client.near_fence()));
    let mut sixth = mux.connect("a");
    sixth.send(&initialize(1, json!({})));
    let answer = sixth.answer(&json!(1));
    assert_eq!(reason(&answer), "max_active_clients");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("`max_active_clients` = 5") && message.contains("'a'"), "{message}");
    assert_eq!(sixth.line(), None, "then its connection ends");
    let mut other = mux.client_of("b", json!({}));
    other.fence();
    five.iter_mut().for_each(|client| assert_eq!(client.fence().len(), 0));
    five.pop();
    mux.wait_logs(1, " left: ");
    mux.client().fence();
}
