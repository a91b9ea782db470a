//! A process per request (row B06) of a configured server, by every version of HTTP.

use crate::support::base::mux::Mux;
use crate::support::{
    PATIENCE, Session, Station, answer, call, descendants, holds_within, modern, structured, text,
};
use muxloop::reactor::procfs;
use serde_json::{Value, json};

const PATH: &str = "/servers/a/mcp";

fn processes(mux: &Mux) -> Vec<i32> {
    let is_server = |pid: &i32| procfs::command(*pid).contains("demo-server");
    descendants(mux.pid).into_iter().filter(is_server).collect()
}

#[track_caller]
fn assert_left(station: &Station, count: usize) {
    assert!(
        holds_within(PATIENCE, || processes(&station.mux).len() == count),
        "{:?}",
        processes(&station.mux)
    );
}

fn pid(answer: &Value) -> i64 {
    structured(answer)["pid"].as_i64().unwrap_or_else(|| panic!("no pid: {answer}"))
}

#[test]
fn sessions_and_requests_without_one_share_no_process() {
    let station = Station::demo(&[], "share = \"request\"\nera = \"legacy\"");
    let sessions = ["2025-03-26", "2025-06-18", "2025-11-25"]
        .map(|version| Session::of(&station, "a", version, json!({})));
    let mut seen = Vec::new();
    for session in sessions.iter().chain(&sessions) {
        seen.push(pid(&session.call("whoami", json!({}))));
    }
    assert_left(&station, 0);
    let station = Station::demo(&["--era", "modern"], "share = \"request\"\nera = \"modern\"\nspare = 1");
    let mut http = station.connect();
    for id in 0..3 {
        let ask = modern(PATH, id, "tools/call", json!({ "name": "whoami", "arguments": {} }));
        seen.push(pid(&http.ask(&ask).expect(200).message()));
    }
    let mut unique = seen.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), seen.len(), "{seen:?}");
    // The connection is open, and the spare is all there is.
    assert_left(&station, 1);
}

#[test]
fn questions_of_several_processes_reach_their_client() {
    let station = Station::demo(&[], "share = \"request\"");
    let session = Session::of(&station, "a", "2025-11-25", json!({ "roots": {} }));
    let mut idle = session.listen();
    let asks = |id: u64| call(id, "ask", json!({ "via": "roots" }));
    let (mut first, mut second) = (session.start(&asks(1)), session.connect());
    let mut questions = vec![first.message()];
    second.send(&session.asks(&asks(2)));
    // It comes on the oldest stream that waits for an answer.
    questions.push(first.message());
    for (at, question) in questions.iter().enumerate().rev() {
        assert_eq!(question["method"], "roots/list", "{question}");
        let roots = json!([{ "uri": format!("file:///{at}") }]);
        session.post(&answer(question, json!({ "roots": roots }))).expect(202);
    }
    for (id, heard) in [(1, first.message()), (2, second.reply().expect(200).message())] {
        assert_eq!((&heard["id"], text(&heard)), (&json!(id), format!("file:///{}", id - 1).as_str()));
    }
    assert_left(&station, 0);
    session.delete().expect(200);
    assert!(idle.rest().is_empty());
}
