//! Messages pass byte for byte (row B09): what is forwarded differs from what came only at its ids.

use crate::support::{Client, INITIALIZED, Mux, Server, initialize};
use serde_json::json;

/// A server that writes down each line as it is, and answers each request with the lines of `answers`, `@ID@`
/// standing for the id of the request.
const PARROT: &str = r#"
while IFS= read -r line; do
  printf '%s\n' "$line" >> DIR/a.journal
  case $line in
  *'"method":"initialize"'*)
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}\n' "$id";;
  *'"2.0","id":'*)
    id=${line#*\"2.0\",\"id\":}; id=${id%%,*}
    while IFS= read -r answer; do
      case $answer in
      *@ID@*) printf '%s\n' "${answer%%@ID@*}$id${answer#*@ID@}";;
      *) printf '%s\n' "$answer";;
      esac
    done < DIR/answers;;
  esac
done"#;

/// Members that a re-serialising proxy would change.
const ODD: &[&str] = &[
    r#"{"z":1,"a":2,"z":3}"#,
    r#"{"n":[0.10,-0,1E400,-1e-400,123456789012345678901234567890.000,18446744073709551616,1.0e+05]}"#,
    r#"{ "spaces" :	[ 1 , 2 ] , "empty":{ },"none":[ ]  }"#,
    r#"{"s":"\u0041\/\b\f\n\r\t\"\\ \ud83d\ude00 😀 \ud800 \u0000 é \u2028"}"#,
    r#"{"":{"id":99,"method":"x","jsonrpc":"3"},"id":null,"_meta":{"vendor/x":{"deep":[[[{"id":1}]]]}}}"#,
    "{\"raw\":\"\u{2028}\u{7f}\u{feff}\u{10ffff}\"}",
];

#[test]
fn messages_differ_from_what_was_received_only_at_their_ids() {
    let mux = Mux::start(&[Server::script("a", PARROT)]);
    let mut client = mux.connect("a");
    client.send(&initialize(0, json!({})));
    client.answer(&json!(0));
    client.send_line(INITIALIZED);
    for (at, odd) in ODD.iter().enumerate() {
        // Unknown members around and in the envelope, the id in the middle.
        let request = |id: &str| {
            format!(
                r#"{{"x-unknown":{odd}, "jsonrpc" : "2.0","id":{id},"params":{odd},"y":[1.0,{odd}] ,"method":"tools\/call" }}"#
            )
        };
        let answer = |id: &str| format!(r#"{{ "result":{odd},"id":{id},"jsonrpc":"2.0","vendor":{odd}}}"#);
        let failure = |id: &str| {
            format!(
                r#"{{"id":{id},"error":{{"data":{odd},"message":"\u00e9","code":-32000.0}},"jsonrpc":"2.0"}}"#
            )
        };
        let notification =
            format!(r#"{{"method":"notifications/vendor","params":{odd},"jsonrpc":"2.0", "q":0}}"#);
        for (kind, reply) in [("result", &answer as &dyn Fn(&str) -> String), ("error", &failure)] {
            std::fs::write(mux.path("answers"), format!("{notification}\n{}\n", reply("@ID@"))).unwrap();
            let id = format!(r#""\u0069d {at} {kind}""#);
            client.send_line(&request(&id));
            assert_eq!(client.line().as_deref(), Some(&*notification));
            assert_eq!(client.line(), Some(reply(&id)));
            let journal = String::from_utf8(mux.raw_journal("a")).unwrap();
            let forwarded = journal.lines().last().unwrap();
            let sent_id = forwarded.split(r#""2.0","id":"#).nth(1).unwrap().split(',').next().unwrap();
            assert!(sent_id.bytes().all(|byte| byte.is_ascii_digit()), "{sent_id}");
            assert_eq!(forwarded, request(sent_id));
        }
    }
}

#[test]
fn large_messages_pass_whole_in_both_directions() {
    let mux = Mux::demo(&[], "max_request_bytes = 16000000");
    let mut clients: Vec<Client> = (0..2).map(|_| mux.client()).collect();
    let words = |seed: usize| -> String { (0..300_000).map(|n| format!("{} ", n * seed % 7919)).collect() };
    for (at, client) in clients.iter_mut().enumerate() {
        let sent = words(at + 3);
        let answer = client.call("echo", json!({ "text": sent }));
        assert!(crate::support::text(&answer) == sent, "a large text was changed");
    }
    let answer = clients[0].call("big", json!({ "bytes": 5_000_000 }));
    let text = crate::support::text(&answer);
    assert!(
        text.len() == 5_000_000
            && text.as_bytes().chunks(16).all(|chunk| b"0123456789abcdef".starts_with(chunk))
    );
}
