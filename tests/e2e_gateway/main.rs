//! The merged endpoints of the built binary, over HTTP: profiles, what a reload does to their clients, filters
//! by every route, and servers that are slow, silent, broken or odd. What is plain use of the endpoint is
//! shown by `e2e_http`, the configuration by `e2e_config`.
//!
//! | row | shown by |
//! |---|---|
//! | B06, G09 behind the endpoint | `apart::*` |
//! | K02, B08 | `lazy::*` |
//! | H02 | `names::*`; `gateway::catalogue::tests::prefixed_names_stay_…` |
//! | H03, P59, bad input | `strange::*` |
//! | H07 | `filters::*` |
//! | H08 (profiles) | `profiles::*` |
//! | K03, E06 for merged endpoints | `status::*` |
//! | A08 for merged endpoints | `reload::*`; `gateway::tests::parts` |

mod apart;
mod filters;
mod lazy;
mod names;
mod profiles;
mod reload;
mod status;
mod strange;
#[allow(dead_code, unused_imports)]
#[path = "../e2e_http/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{Session, Station, modern};

/// Before everything else in a file.
pub const HTTP: &str = "http = \"127.0.0.1:0\"\n";

/// A client with everything at a path.
pub fn session(station: &Station, path: &str) -> Session {
    Session::at(station, path, "2025-11-25", json!({ "elicitation": {}, "sampling": {} }))
}

/// A list, page by page, as the names or URIs in it.
pub fn list(session: &Session, method: &str) -> BTreeSet<String> {
    let (member, name) = match method {
        "tools/list" => ("tools", "name"),
        "prompts/list" => ("prompts", "name"),
        "resources/list" => ("resources", "uri"),
        _ => ("resourceTemplates", "uriTemplate"),
    };
    let mut all = BTreeSet::new();
    let mut params = json!({});
    loop {
        let told = session.request(2, method, params);
        let items = told["result"][member].as_array().unwrap_or_else(|| panic!("no {member}: {told}"));
        all.extend(items.iter().map(|item| item[name].as_str().expect("a name").to_owned()));
        match told["result"].get("nextCursor") {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return all,
        }
    }
}

pub fn tools(session: &Session) -> BTreeSet<String> {
    list(session, "tools/list")
}

/// The answer to a request of 2026-07-28.
pub fn ask(station: &Station, path: &str, method: &str, params: Value) -> Value {
    station.ask(&modern(path, 7, method, params)).messages().pop().expect("an answer")
}

/// The code of an error, or 0.
pub fn refused(message: &Value) -> i64 {
    message["error"]["code"].as_i64().unwrap_or_default()
}

pub fn is_tools_change(message: &Value) -> bool {
    message["method"] == "notifications/tools/list_changed"
}
