use super::*;

/// A session and what it has written.
#[derive(Default)]
struct Shim {
    session: Session,
    to_client: SendBuf,
    to_daemon: SendBuf,
}

impl Shim {
    fn connected() -> Shim {
        let mut shim = Shim::default();
        shim.found();
        shim
    }
    fn found(&mut self) -> Vec<String> {
        self.session.found(&mut self.to_client, &mut self.to_daemon);
        lines(&mut self.to_daemon)
    }
    fn lost(&mut self) -> Vec<String> {
        self.session.lost(&mut self.to_client);
        lines(&mut self.to_client)
    }
    fn client(&mut self, line: &str) -> Verdict {
        self.session.from_client(line.as_bytes())
    }
    /// The verdict, and what the line made the shim send to the daemon.
    fn daemon(&mut self, line: &str) -> (Verdict, Vec<String>) {
        let verdict = self.session.from_daemon(line.as_bytes(), &mut self.to_client, &mut self.to_daemon);
        (verdict, lines(&mut self.to_daemon))
    }
    /// A request of the client and its success.
    fn call(&mut self, line: &str, answer: &str) {
        assert_eq!(self.client(line), Verdict::Forward);
        assert_eq!(self.daemon(answer), (Verdict::Forward, vec![]));
    }
    fn handshaken() -> Shim {
        let mut shim = Shim::connected();
        shim.call(INITIALIZE, INITIALIZED);
        shim.client(READY);
        shim
    }
}

fn lines(buf: &mut SendBuf) -> Vec<String> {
    let text = String::from_utf8(buf.pending().to_vec()).unwrap();
    buf.clear();
    assert!(text.is_empty() || text.ends_with('\n'), "whole lines: {text}");
    text.lines().map(str::to_owned).collect()
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"prompts":{},"resources":{"listChanged":true,"subscribe":true}},"serverInfo":{"name":"s","version":"1"}}}"#;
const READY: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

fn request(id: &str, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#)
}

fn result(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

fn error(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"x"}}}}"#)
}

fn restarted(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"{RESTARTED}","data":{{"muxloop":{{"reason":"restarted"}}}}}}}}"#
    )
}

#[test]
fn open_requests_are_answered_under_their_raw_ids_and_answered_ones_are_not() {
    let mut shim = Shim::handshaken();
    for id in ["1", r#""one""#, "1.0", r#""\u0031""#, "12345678901234567890"] {
        shim.client(&request(id, "tools/call"));
    }
    shim.daemon(&result("1"));
    shim.daemon(&error(r#""\u0031""#));
    shim.client(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"one"}}"#);
    assert_eq!(shim.session.open(), 2);
    assert_eq!(shim.lost(), [restarted("1.0"), restarted("12345678901234567890")]);
    assert_eq!(shim.session.open(), 0);
    assert_eq!(shim.lost(), [""; 0]);
}

#[test]
fn the_same_id_twice_is_two_requests() {
    let mut shim = Shim::handshaken();
    shim.client(&request("1", "tools/call"));
    shim.client(&request("1", "tools/call"));
    shim.daemon(&result("1"));
    assert_eq!(shim.lost(), [restarted("1")]);
}

#[test]
fn a_new_connection_is_brought_to_the_state_of_the_old_one() {
    let mut shim = Shim::handshaken();
    let level = |id: &str, level: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"logging/setLevel","params":{{"level":"{level}"}}}}"#)
    };
    let on = |id: &str, verb: &str, uri: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"resources/{verb}","params":{{"uri":"{uri}"}}}}"#)
    };
    shim.call(&level("1", "info"), &result("1"));
    shim.call(&level("2", "debug"), &result("2"));
    shim.call(&level("3", "nonsense"), &error("3"));
    for (id, uri) in [("4", "a"), ("5", "b"), ("6", "c")] {
        shim.call(&on(id, "subscribe", uri), &result(id));
    }
    shim.call(&on("7", "subscribe", "refused"), &error("7"));
    shim.call(&on("8", "unsubscribe", "b"), &result("8"));
    shim.client(&on("9", "subscribe", "open"));
    assert_eq!(shim.lost(), [restarted("9")]);

    for n in [1, 5] {
        let own = |n: u32| format!("\"muxloop-proxy-replay-{n}\"");
        let initialize = INITIALIZE.replace("\"id\":0", &format!("\"id\":{}", own(n)));
        assert_eq!(shim.found(), [initialize]);
        assert!(!shim.session.is_ready(), "the client's lines wait for the handshake");
        let rest = shim.daemon(&INITIALIZED.replace("\"id\":0", &format!("\"id\":{}", own(n))));
        let want = vec![
            READY.to_owned(),
            level(&own(n + 1), "debug"),
            on(&own(n + 2), "subscribe", "a"),
            on(&own(n + 3), "subscribe", "c"),
        ];
        assert_eq!(rest, (Verdict::Drop, want));
        assert!(shim.session.is_ready());
        let news: Vec<_> = lines(&mut shim.to_client).iter().map(|line| line[27..].to_owned()).collect();
        assert_eq!(
            news,
            [
                r#"notifications/tools/list_changed"}"#,
                r#"notifications/resources/list_changed"}"#,
                r#"notifications/resources/updated","params":{"uri":"a"}}"#,
                r#"notifications/resources/updated","params":{"uri":"c"}}"#,
            ]
        );
        // Their answers, good or bad, are not the client's.
        for answer in [result(&own(n + 1)), error(&own(n + 2)), result(&own(n + 3))] {
            assert_eq!(shim.daemon(&answer), (Verdict::Drop, vec![]));
        }
        assert_eq!(shim.daemon(&result(&own(n + 3))).0, Verdict::Forward, "only once");
        assert_eq!(shim.lost(), [""; 0]);
    }
}

#[test]
fn an_unanswered_initialize_is_sent_again_as_it_was() {
    let mut shim = Shim::connected();
    shim.client(INITIALIZE);
    assert_eq!(shim.lost(), [""; 0], "no error: it is still under way");
    assert_eq!(shim.found(), [INITIALIZE]);
    assert!(shim.session.is_ready());
    assert_eq!(shim.daemon(INITIALIZED), (Verdict::Forward, vec![]));
    assert_eq!(lines(&mut shim.to_client), [""; 0]);
    shim.lost();
    assert!(shim.found()[0].contains("muxloop-proxy-replay-1"), "from here on the shim does it");
}

#[test]
fn a_refused_replay_is_told() {
    let mut shim = Shim::handshaken();
    shim.lost();
    shim.found();
    assert_eq!(shim.daemon(&error(r#""muxloop-proxy-replay-1""#)), (Verdict::Drop, vec![]));
    assert!(shim.session.is_refused() && !shim.session.is_ready());
    shim.lost();
    shim.found();
    assert!(!shim.session.is_refused());
}

#[test]
fn a_modern_client_has_only_its_listens_opened_again() {
    let mut shim = Shim::connected();
    let listen = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{"notifications":{{}}}}}}"#
        )
    };
    for id in ["1", "2", "3"] {
        shim.client(&listen(id));
    }
    shim.client(&request("4", "tools/call"));
    shim.daemon(&result("2"));
    shim.client(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}"#);
    assert_eq!(shim.lost(), [restarted("4")]);
    assert_eq!(shim.found(), [listen("1")]);
    assert!(shim.session.is_ready());
    assert_eq!(lines(&mut shim.to_client), [""; 0]);
}

#[test]
fn an_answer_to_the_old_server_never_reaches_the_new_one() {
    let mut shim = Shim::handshaken();
    for id in ["7", "8", "9"] {
        assert_eq!(shim.daemon(&request(id, "sampling/createMessage")).0, Verdict::Forward);
    }
    assert_eq!(shim.client(&result("8")), Verdict::Forward);
    shim.daemon(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#);
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"muxloop restarted"}}"#;
    assert_eq!(shim.lost(), [cancelled]);
    shim.found();
    shim.daemon(&result(r#""muxloop-proxy-replay-1""#));
    shim.daemon(&request("7", "elicitation/create"));
    assert_eq!(shim.client(&result("7")), Verdict::Drop, "the answer to the old question");
    assert_eq!(shim.client(&result("7")), Verdict::Forward, "the answer to the new one");
    assert_eq!(shim.client(&result("8")), Verdict::Forward, "nobody's: muxloop will say so");
}

#[test]
fn what_is_no_message_passes_and_a_batch_counts_each() {
    let mut shim = Shim::handshaken();
    for odd in ["", "nonsense", "{", "[]", "42", r#"{"jsonrpc":"2.0"}"#] {
        assert_eq!(shim.client(odd), Verdict::Forward, "{odd}");
        assert_eq!(shim.daemon(odd), (Verdict::Forward, vec![]), "{odd}");
    }
    assert_eq!(shim.session.open(), 0);
    let batch = format!("[{}, {}]", request("1", "tools/call"), request("2", "tools/call"));
    assert_eq!(shim.client(&batch), Verdict::Forward);
    shim.daemon(&format!("[{}]", result("1")));
    assert_eq!(shim.lost(), [restarted("2")]);
}

#[test]
fn errors_alone_are_a_refusal() {
    let mut shim = Shim::connected();
    assert!(!shim.session.was_turned_away());
    shim.client(INITIALIZE);
    shim.daemon(&error("0"));
    assert!(shim.session.was_turned_away() && !shim.session.has_heard());
    shim.daemon(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#);
    assert!(!shim.session.was_turned_away() && shim.session.has_heard());
}

#[test]
fn giving_up_answers_everything() {
    let mut shim = Shim::connected();
    shim.client(INITIALIZE);
    shim.client(&request("1", "subscriptions/listen"));
    shim.client(&request("2", "tools/call"));
    shim.session.give_up(&mut shim.to_client);
    let told = lines(&mut shim.to_client);
    assert_eq!(told.len(), 3);
    assert_eq!(told[0], restarted("2"));
    assert!(told[1..].iter().all(|line| line.contains("\"unreachable\"")), "{told:?}");
}
