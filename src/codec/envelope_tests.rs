use super::*;

fn scan(text: &str) -> Result<Envelope, ScanError> {
    Incoming::scan(text.as_bytes()).map(|incoming| incoming.envelope)
}

fn kind_of(text: &str) -> ScanErrorKind {
    scan(text).expect_err(text).kind
}

#[test]
fn sorts_the_four_kinds_whatever_the_order_of_keys() {
    let kinds = [
        (r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#, Kind::Request),
        (r#" {"method":"m","params":{},"jsonrpc":"2.0","id":"a"} "#, Kind::Request),
        (r#"{"method":"m","jsonrpc":"2.0"}"#, Kind::Notification),
        (r#"{"result":null,"jsonrpc":"2.0","id":1}"#, Kind::Response),
        (r#"{"jsonrpc":"2.0","id":1,"error":{}}"#, Kind::Error),
        (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, Kind::Error),
        (r#"{"jsonrpc":"2.0","error":{}}"#, Kind::Error),
        (r#"{"\u006asonrpc":"2.0","\u0069d":1,"method":"m"}"#, Kind::Request),
    ];
    for (text, kind) in kinds {
        assert_eq!(scan(text).expect(text).kind, kind, "{text}");
    }
}

#[test]
fn finds_what_the_mux_routes_by() {
    let text = r#"{"jsonrpc":"2.0","method":"tools/call","params":{"_meta":{"progressToken":12345678901234567890,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/logLevel":"info","vendor":1},"name":"x","arguments":{"id":5,"_meta":{"progressToken":1}}},"id":"7"}"#;
    let incoming = Incoming::scan(text.as_bytes()).unwrap();
    let env = &incoming.envelope;
    let text_of =
        |span: Option<Span>| span.map(|span| String::from_utf8(incoming.text(span).to_vec()).unwrap());
    assert_eq!(text_of(env.id).unwrap(), "\"7\"");
    assert_eq!(incoming.method(), b"tools/call");
    assert_eq!(text_of(env.meta_token).unwrap(), "12345678901234567890");
    assert_eq!(text_of(env.meta_protocol_version).unwrap(), "\"2026-07-28\"");
    assert_eq!(text_of(env.meta_log_level).unwrap(), "\"info\"");
    assert_eq!(text_of(env.name).unwrap(), "\"x\"");
    assert!(text_of(env.meta).unwrap().ends_with("\"vendor\":1}"));
}

#[test]
fn members_of_results_are_not_taken_for_those_of_params() {
    let env = scan(
        r#"{"jsonrpc":"2.0","id":1,"result":{"name":"x","uri":"y","nextCursor":"","task":{"taskId":"t"}}}"#,
    )
    .unwrap();
    assert!(env.name.is_none() && env.uri.is_none());
    assert!(env.next_cursor.is_some() && env.task.is_some());
}

#[test]
fn ambiguous_and_wrong_messages_are_refused() {
    use ScanErrorKind::*;
    let cases = [
        ("", Syntax),
        ("{", Syntax),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m"} x"#, Syntax),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m"}{}"#, Syntax),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":tru}}"#, Syntax),
        ("\u{feff}{}", Syntax),
        ("[1]", Batch),
        ("3", NotAnObject),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#, DuplicateKey),
        (r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"m"}"#, DuplicateKey),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"name":"a","name":"b"}}"#, DuplicateKey),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":1,"_meta":{}}}"#, DuplicateKey),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":1,"progressToken":2}}}"#,
            DuplicateKey,
        ),
        (r#"{"id":1,"method":"m"}"#, Version),
        (r#"{"jsonrpc":2.0,"id":1,"method":"m"}"#, Version),
        (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, BadId),
        (r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#, BadId),
        (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, BadId),
        (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":5}"#, BadParams),
        (r#"{"jsonrpc":"2.0","id":1}"#, Shape),
        (r#"{"jsonrpc":"2.0","result":1}"#, Shape),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, Shape),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","result":1}"#, Shape),
    ];
    for (text, kind) in cases {
        assert_eq!(kind_of(text), kind, "{text}");
    }
    let bad = Incoming::scan(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}").unwrap_err();
    assert_eq!((bad.kind, bad.code(), bad.id), (InvalidUtf8, -32700, None));
}

#[test]
fn an_error_is_addressed_where_the_id_is_certain() {
    let id = |text: &'static str| {
        scan(text).unwrap_err().id.map(|span| std::str::from_utf8(span.of(text.as_bytes())).unwrap())
    };
    assert_eq!(id(r#"{"jsonrpc":"1.0","id":"x","method":"m"}"#), Some("\"x\""));
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":3,"method":"m","params":{"#), Some("3"));
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":3,"id":4,"method":"m"}"#), None);
    assert_eq!(id(r#"{"jsonrpc":"2.0","method":"m","params":{},"id":3,"x":}"#), Some("3"));
    assert!(scan(r#"{"jsonrpc":"2.0","id":3,"method":5}"#).unwrap_err().has_method);
    assert!(!scan(r#"{"jsonrpc":"2.0","id":3}"#).unwrap_err().has_method);
}

#[test]
fn every_cut_of_a_message_is_refused_without_a_panic() {
    let text = r#"{"jsonrpc":"2.0","id":-1.5e3,"method":"a\u00e9","params":{"_meta":{"progressToken":"t"},"x":[true,null,"é"]}}"#;
    for end in 0..text.len() {
        assert!(Incoming::scan(&text.as_bytes()[..end]).is_err());
    }
    assert!(scan(text).is_ok());
}
