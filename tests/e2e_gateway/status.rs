//! The merged endpoints as operators see them: `muxloop status`, the control socket, `/metrics`.

use crate::support::base::mux::command;
use crate::support::{Ask, Server, Station};
use crate::{session, tools};
use serde_json::{Value, json};
use std::process::Stdio;

const HEAD: &str = "http = \"127.0.0.1:0\"\n[gateway]\nlist_timeout_ms = 300\n[profiles.few]\ntools.allow = [\"good__echo\"]\n";

fn merged(report: &Value, name: &str) -> Option<Value> {
    let servers = report["servers"].as_array().expect("servers");
    let server = servers.iter().find(|server| server["name"] == name)?;
    Some(server["merged"].clone())
}

#[test]
fn what_is_there_and_what_is_missing_is_shown() {
    let mute = Server::demo("mute", &["--no-answer", "tools/list"]);
    let refusing = Server::demo("refusing", &["--refuse", "tools/list"]);
    let station = Station::start(HEAD, &[Server::demo("good", &[]), mute, refusing]);
    let all = tools(&session(&station, "/mcp")).len() as u64;
    tools(&session(&station, "/profiles/few/mcp"));
    let late = |report: &Value| {
        merged(report, "gateway").is_some_and(|merged| merged["servers"][1]["missing"].is_string())
    };
    let report = station.until(late);
    let endpoint = merged(&report, "gateway").expect("the endpoint");
    assert_eq!((&endpoint["names"], &endpoint["tools"]), (&json!("prefix"), &json!(all)), "{endpoint}");
    let [good, mute, refusing] = [0, 1, 2].map(|at| endpoint["servers"][at].clone());
    assert_eq!((&good["tools"], &good["missing"]), (&json!(all), &Value::Null), "{good}");
    assert!(
        mute["tools"].is_null() && mute["missing"].as_str().unwrap().contains("has not answered"),
        "{mute}"
    );
    assert!(refusing["missing"].as_str().expect("why").contains("tools/list"), "{refusing}");
    let few = merged(&report, "gateway/few").expect("the profile");
    assert_eq!(few["tools"], 1, "{few}");
    assert!(merged(&report, "good").expect("the server").is_null());
    let of = |name: &str| {
        report["servers"].as_array().unwrap().iter().find(|server| server["name"] == name).unwrap().clone()
    };
    assert!(
        of("gateway/few")["tool_tokens"].as_u64().unwrap() < of("gateway")["tool_tokens"].as_u64().unwrap()
    );

    let output = command(&station.mux.dir.0)
        .args(["status", "-c", "mux.toml"])
        .stdout(Stdio::piped())
        .output()
        .expect("it runs");
    let shown = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        format!("gateway: {all} tools"),
        "gateway/few: 1 tool".into(),
        "mute is missing there: has not".into(),
    ] {
        assert!(shown.contains(&part), "{part}: {shown}");
    }

    let metrics = station.ask(&Ask::get("/metrics")).expect(200).text();
    for line in [
        format!("muxloop_merged_items{{endpoint=\"gateway\",server=\"good\",kind=\"tool\"}} {all}"),
        "muxloop_merged_items{endpoint=\"gateway/few\",server=\"good\",kind=\"tool\"} 1".into(),
        "muxloop_merged_missing{endpoint=\"gateway\",server=\"good\"} 0".into(),
        "muxloop_merged_missing{endpoint=\"gateway\",server=\"mute\"} 1".into(),
        "muxloop_merged_collisions{endpoint=\"gateway\"} 0".into(),
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}");
    }
}
