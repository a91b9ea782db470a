//! Servers that keep their clients apart (B06), behind the merged endpoint: what belongs to one session of the
//! endpoint belongs to it alone there too.

use crate::support::{
    PATIENCE, Server, Session, Station, answer, call, call_with_progress, holds_within, reason, structured,
    text,
};
use crate::{HTTP, session};
use muxloop::reactor::sys::signal_process;
use serde_json::json;

fn station(keys: &str) -> Station {
    Station::start(HTTP, &[Server::demo("a", &[]).keys(keys), Server::demo("b", &[])])
}

fn pid(session: &Session, tool: &str) -> i32 {
    let told = session.call(tool, json!({}));
    structured(&told)["pid"].as_u64().unwrap_or_else(|| panic!("no pid: {told}")) as i32
}

fn ends(pid: i32) -> bool {
    holds_within(PATIENCE, || signal_process(pid, 0).is_err())
}

#[test]
fn each_session_has_a_process_of_its_own_until_it_ends() {
    for keys in ["share = \"session\"", "share = \"session\"\nspare = 1", "interactive = \"per-client\""] {
        let station = station(keys);
        let (one, two) = (session(&station, "/mcp"), session(&station, "/mcp"));
        let (first, second) = (pid(&one, "a__whoami"), pid(&two, "a__whoami"));
        assert_ne!(first, second, "{keys}");
        assert_eq!((pid(&one, "a__whoami"), pid(&two, "a__whoami")), (first, second), "{keys}");
        // The other server is shared as before.
        assert_eq!(pid(&one, "b__whoami"), pid(&two, "b__whoami"));
        one.delete().expect(200);
        assert!(ends(first), "{keys}: the process of a session that has ended is still there");
        assert_eq!(pid(&two, "a__whoami"), second);
        two.delete().expect(200);
        assert!(ends(second));
    }
}

#[test]
fn a_call_that_ends_with_its_session_takes_the_process_along() {
    let station = station("share = \"session\"");
    let one = session(&station, "/mcp");
    let first = pid(&one, "a__whoami");
    let slow = json!({ "steps": 1_000, "ms": 25_000 });
    let mut http = one.start(&call_with_progress(9, "a__sleep", slow, "p"));
    http.until(|message| message["method"] == "notifications/progress");
    one.delete().expect(200);
    assert!(ends(first));
    assert_eq!(pid(&session(&station, "/mcp"), "b__whoami"), pid(&session(&station, "/mcp"), "b__whoami"));
}

#[test]
fn a_process_per_request_stays_one_per_request() {
    let station = station("share = \"request\"");
    let one = session(&station, "/mcp");
    assert_ne!(pid(&one, "a__whoami"), pid(&one, "a__whoami"));
}

/// A question of a session's process is for that session.
#[test]
fn each_session_is_asked_by_its_own_process() {
    let station = station("share = \"session\"");
    let sessions = ["Ada", "Bob", "Eve"].map(|name| (name, session(&station, "/mcp")));
    std::thread::scope(|scope| {
        for (name, session) in &sessions {
            scope.spawn(move || {
                for round in 0..5 {
                    let what = format!("{name} {round}");
                    let mut http = session.start(&call(
                        round,
                        "a__ask",
                        json!({ "question": what, "via": "elicitation" }),
                    ));
                    let asked = http.until(|message| message["method"] == "elicitation/create");
                    assert!(
                        asked["params"]["message"].as_str().expect("a message").ends_with(&what),
                        "{asked}"
                    );
                    let said = json!({ "action": "accept", "content": { "answer": what } });
                    session.post(&answer(&asked, said)).expect(202);
                    let told = http.until(|message| message["id"] == round);
                    assert_eq!(text(&told), what);
                }
            });
        }
    });
}

/// G09: a rate that each client has is not gone round by the merged endpoint.
#[test]
fn what_a_client_may_ask_for_counts_behind_the_endpoint_too() {
    let station = station("rate_limit = { client = \"2/h\" }");
    let (one, two) = (session(&station, "/mcp"), session(&station, "/mcp"));
    for session in [&one, &two] {
        let echo = |_| session.post(&call(1, "a__echo", json!({ "text": "x" })));
        let mut told: Vec<_> = (0..4).map(echo).collect();
        let limited = told.split_off(2);
        assert!(told.iter().all(|told| text(&told.message()) == "x"), "{told:?}");
        for limited in limited {
            // The status was said already if the stream of an answer was begun.
            assert!([200, 429].contains(&limited.status()), "{limited:?}");
            assert_eq!(reason(&limited.message()), "rate_limited", "{limited:?}");
        }
        assert_eq!(text(&session.call("b__echo", json!({ "text": "y" }))), "y");
    }
}
