//! The envelope scan: fields, kinds, refusals.

use super::*;
use crate::base::limits::DEPTH_MAX;
use crate::codec::Incoming;

fn ok(text: &str) -> Incoming<'_> {
    Incoming::scan(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {text}"))
}

/// Kind of the error, its place, the id as written and whether there is a method.
type Refused<'a> = (ScanErrorKind, usize, Option<&'a [u8]>, bool);

fn refused(text: &[u8]) -> Refused<'_> {
    let error = Incoming::scan(text).map(|incoming| incoming.envelope).expect_err("refused");
    (error.kind, error.at, error.id.map(|id| id.of(text)), error.has_method)
}

#[test]
fn a_request_in_any_order_of_keys() {
    let members = [
        r#""jsonrpc" : "2.0""#,
        r#""id":9007199254740993"#,
        r#""method":"tools/call""#,
        r#""params":{"name":"x","_meta":{"progressToken":"t","id":2},"arguments":{"name":1,"_meta":3}}"#,
    ];
    for order in 0..256 {
        let picks = [order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6];
        if (0..4).any(|pick| !picks.contains(&pick)) {
            continue;
        }
        let text = format!(" {{{} }}\r", picks.map(|pick| members[pick]).join(" ,\t"));
        let message = ok(&text);
        let e = &message.envelope;
        assert_eq!(e.kind, Kind::Request);
        assert_eq!(message.method(), b"tools/call");
        assert_eq!(message.text(e.id.unwrap()), b"9007199254740993");
        assert_eq!(message.text(e.name.unwrap()), br#""x""#);
        assert_eq!(message.text(e.meta.unwrap()), br#"{"progressToken":"t","id":2}"#);
        assert_eq!(message.text(e.meta_token.unwrap()), br#""t""#);
        assert_eq!(message.text(e.params.unwrap()).len(), members[3].len() - 9);
        assert_eq!((e.result, e.error, e.token, e.request_id), (None, None, None, None));
    }
}

#[test]
fn each_tracked_member_has_its_own_field() {
    type Field = fn(&Envelope) -> Option<Span>;
    let inner: [(&str, Field); 17] = [
        ("progressToken", |e| e.token),
        ("requestId", |e| e.request_id),
        ("name", |e| e.name),
        ("uri", |e| e.uri),
        ("level", |e| e.level),
        ("ref", |e| e.reference),
        ("cursor", |e| e.cursor),
        ("protocolVersion", |e| e.protocol_version),
        ("capabilities", |e| e.capabilities),
        ("clientInfo", |e| e.client_info),
        ("task", |e| e.task),
        ("taskId", |e| e.task_id),
        ("elicitationId", |e| e.elicitation_id),
        ("mode", |e| e.mode),
        ("status", |e| e.status),
        ("notifications", |e| e.notifications),
        ("resultType", |e| e.result_type),
    ];
    let meta: [(&str, Field); 7] = [
        ("progressToken", |e| e.meta_token),
        ("io.modelcontextprotocol/protocolVersion", |e| e.meta_protocol_version),
        ("io.modelcontextprotocol/clientCapabilities", |e| e.meta_client_capabilities),
        ("io.modelcontextprotocol/clientInfo", |e| e.meta_client_info),
        ("io.modelcontextprotocol/logLevel", |e| e.meta_log_level),
        ("io.modelcontextprotocol/subscriptionId", |e| e.meta_subscription_id),
        ("io.modelcontextprotocol/related-task", |e| e.meta_related_task),
    ];
    let object = |fields: &[(&str, Field)]| {
        let members = fields.iter().enumerate().map(|(i, (key, _))| format!(r#""{key}":[{i}]"#));
        members.collect::<Vec<_>>().join(",")
    };
    for outer in [r#""method":"m","params""#, r#""id":1,"result""#] {
        let text =
            format!(r#"{{"jsonrpc":"2.0",{outer}:{{{},"_meta":{{{}}}}}}}"#, object(&inner), object(&meta));
        let message = ok(&text);
        for (i, (key, field)) in inner.iter().enumerate().chain(meta.iter().enumerate()) {
            let span = field(&message.envelope).unwrap_or_else(|| panic!("{key}"));
            assert_eq!(message.text(span), format!("[{i}]").as_bytes(), "{key}");
        }
    }
}

#[test]
fn kinds() {
    let kind = |text| ok(text).envelope.kind;
    assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"a"}"#), Kind::Notification);
    assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"a","params":[1],"id":"x"}"#), Kind::Request);
    assert_eq!(kind(r#"{"result":null,"jsonrpc":"2.0","id":1e999}"#), Kind::Response);
    assert_eq!(kind(r#"{"jsonrpc":"\u0032.0","error":{},"id":-1}"#), Kind::Error);
    assert_eq!(ok(r#"{"jsonrpc":"2.0","error":{},"id":null}"#).envelope.id, None);
    assert_eq!(ok(r#"{"jsonrpc":"2.0","error":{}}"#).envelope.id, None);
    assert_eq!(ok(r#"{"jsonrpc":"2.0","error":{},"id":""}"#).envelope.id, Some(Span::new(33, 35)));
    assert_eq!(ok(r#"{"jsonrpc":"2.0","method":"a","params":{"_meta":1}}"#).envelope.meta, None);
    let mixed = r#"{"jsonrpc":"2.0","\u006dethod":"a","x":{"id":1},"":0,"\ud800":1,"\ud800":2}"#;
    assert_eq!(kind(mixed), Kind::Notification);
}

#[test]
fn known_methods_are_recognised_behind_escapes() {
    let method = |written: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{written}"}}"#);
        String::from_utf8(ok(&text).method().to_vec()).unwrap()
    };
    assert_eq!(method(r"notifications\/cancelled"), "notifications/cancelled");
    assert_eq!(method(r"\u0070ing"), "ping");
    assert_eq!(method(r"vendor\/x"), r"vendor\/x");
    assert_eq!(method(r"\ud800"), r"\ud800");
    assert_eq!(method(&r"\u0070".repeat(100)), r"\u0070".repeat(100));
    assert_eq!(ok(r#"{"jsonrpc":"2.0","id":1,"result":0}"#).method(), b"");
}

#[test]
fn broken_rules_of_json_rpc_name_rule_place_and_id() {
    use ScanErrorKind::*;
    let some = |id: &'static str| Some(id.as_bytes());
    let cases: [(&str, Refused); 28] = [
        ("[1,", (Batch, 0, None, false)),
        (" [] ", (Batch, 1, None, false)),
        ("1", (NotAnObject, 0, None, false)),
        (" \"\\ud800\"", (NotAnObject, 1, None, false)),
        ("{}", (Version, 0, None, false)),
        (r#"{"id":1,"method":"a"}"#, (Version, 0, some("1"), true)),
        (r#"{"jsonrpc":2.0,"method":"a","id":"x"}"#, (Version, 11, some("\"x\""), true)),
        (r#"{"jsonrpc":"2.00","result":1,"id":2}"#, (Version, 11, some("2"), false)),
        (r#"{"jsonrpc":"2.0"}"#, (Shape, 0, None, false)),
        (r#"{"jsonrpc":"2.0","id":1}"#, (Shape, 0, some("1"), false)),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, (Shape, 0, some("1"), false)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":1}"#, (Shape, 0, some("1"), true)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","error":1}"#, (Shape, 0, some("1"), true)),
        (r#"{"jsonrpc":"2.0","result":1}"#, (Shape, 0, None, false)),
        (r#"{"jsonrpc":"2.0","id":1,"result":1,"params":{}}"#, (Shape, 44, some("1"), false)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, (BadId, 22, None, true)),
        (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, (BadId, 22, None, true)),
        (r#"{"jsonrpc":"2.0","id":true,"method":"a"}"#, (BadId, 22, None, true)),
        (r#"{"jsonrpc":"2.0","id":null,"result":1}"#, (BadId, 22, None, false)),
        (r#"{"jsonrpc":"2.0","id":[],"error":1}"#, (BadId, 22, None, false)),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, (BadMethod, 33, some("1"), true)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":"x"}"#, (BadParams, 46, some("1"), true)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":null}"#, (BadParams, 46, some("1"), true)),
        (r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"a"}"#, (DuplicateKey, 24, None, true)),
        (r#"{"id":1,"method":"a","\u006dethod":"a"}"#, (DuplicateKey, 21, some("1"), true)),
        (r#"{"params":{"uri":1,"ur\u0069":1},"id":3}"#, (DuplicateKey, 19, some("3"), false)),
        (r#"{"result":{"_meta":1,"_meta":{}},"id":3}"#, (DuplicateKey, 21, some("3"), false)),
        (
            r#"{"params":{"_meta":{"progressToken":1,"x":1,"x":2,"\u0070rogressToken":1}},"id":3}"#,
            (DuplicateKey, 50, some("3"), false),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text.as_bytes()), expected, "{text}");
        assert_eq!(Incoming::scan(text.as_bytes()).unwrap_err().code(), -32600);
    }
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    use ScanErrorKind::*;
    let cases: [(&[u8], Refused); 22] = [
        (b"", (Syntax, 0, None, false)),
        (b" ", (Syntax, 1, None, false)),
        (b"hello", (Syntax, 0, None, false)),
        (b"\xef\xbb\xbf{}", (Syntax, 0, None, false)),
        (b"{\"method\":\"a\",\"id\":7,\"params\":{", (Syntax, 31, Some(b"7"), true)),
        (b"{\"method\":\"a\",\"id\":7", (Syntax, 20, None, true)),
        (b"{\"id\":7,\"params\":{}}}", (Syntax, 20, Some(b"7"), false)),
        (b"{\"id\":7,\"params\":{]}", (Syntax, 18, Some(b"7"), false)),
        (b"{\"id\":7,\"id\":7,\"x\":nul}", (Syntax, 22, None, false)),
        (b"{\"id\":7,}", (Syntax, 8, Some(b"7"), false)),
        (b"{\"x\":01,\"id\":7}", (Syntax, 6, None, false)),
        (b"{\"id\":7,\"x\":1.}", (Syntax, 14, Some(b"7"), false)),
        (b"{\"id\":7,\"x\":-}", (Syntax, 13, Some(b"7"), false)),
        (b"{\"id\":7,\"x\":+1}", (Syntax, 12, Some(b"7"), false)),
        (b"{\"id\":7,\"x\":\"a\nb\"}", (Syntax, 14, Some(b"7"), false)),
        (b"{\"id\":7,\"x\":\"\\x\"}", (Syntax, 14, Some(b"7"), false)),
        (b"{\"id\":7,\"x\":\"\\u12g4\"}", (Syntax, 17, Some(b"7"), false)),
        (b"{\"id\":7}\0", (Syntax, 8, Some(b"7"), false)),
        (b"{\"id\":7,\0}", (Syntax, 8, Some(b"7"), false)),
        (b"{\"x\":\"ab\xff\",\"id\":7}", (InvalidUtf8, 8, Some(b"7"), false)),
        (b"{\"x\":\"ab\xed\xa0\x80\",\"id\":7,}", (InvalidUtf8, 8, Some(b"7"), false)),
        (b"{\"id\":\"\xff\",\"method\":\"a\"}", (InvalidUtf8, 7, None, true)),
    ];
    for (text, expected) in cases {
        let shown = text.escape_ascii();
        assert_eq!(refused(text), expected, "{shown}");
        assert_eq!(Incoming::scan(text).unwrap_err().code(), -32700);
    }
}

#[test]
fn depth_is_bounded_at_each_level_and_the_id_is_still_found() {
    for (before, after, around) in [
        (r#"{"jsonrpc":"2.0","method":"a","x":"#, r#","id":7}"#, 1),
        (r#"{"jsonrpc":"2.0","method":"a","params":{"x":"#, r#"},"id":7}"#, 2),
        (r#"{"jsonrpc":"2.0","method":"a","params":{"_meta":{"x":"#, r#"}},"id":7}"#, 3),
    ] {
        let nested = |levels: usize| {
            let open: String = (0..levels).map(|i| ["[", r#"{"k":"#][i % 2]).collect();
            let close: String = (0..levels).rev().map(|i| ["]", "}"][i % 2]).collect();
            format!("{before}{open}1{close}{after}")
        };
        ok(&nested(DEPTH_MAX - around));
        let text = nested(DEPTH_MAX - around + 1);
        let (kind, _, id, has_method) = refused(text.as_bytes());
        assert_eq!((kind, id, has_method), (ScanErrorKind::TooDeep, Some(&b"7"[..]), true));
        let text = nested(100_000);
        assert_eq!(refused(text.as_bytes()).2, Some(&b"7"[..]));
    }
    let bomb = vec![b'['; 1_000_000];
    let text = [&br#"{"id":7,"params":"#[..], &bomb].concat();
    let (kind, at, id, _) = refused(&text);
    assert_eq!((kind, at, id), (ScanErrorKind::TooDeep, 17 + DEPTH_MAX - 1, Some(&b"7"[..])));
}
