//! The audit log (row E10).

use crate::support::mux::Scratch;
use crate::support::{Mux, text};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn audited(keys: &str) -> Mux {
    let dir = Arc::new(Scratch::new());
    let server = json!(env!("CARGO_BIN_EXE_muxloop"));
    let here = dir.0.display();
    let config = format!(
        "audit = \"{here}/audit\"\n{keys}\n[servers.a]\nsocket = \"{here}/a.sock\"\ncmd = {server}\nargs = [\"demo-server\"]\n"
    );
    fs::write(dir.0.join("mux.toml"), config).unwrap();
    let mux = Mux::run(dir, &["-c", "mux.toml"], |_| {});
    mux.wait_log("listening on");
    mux
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The lines once there are so many.
fn wait_lines(path: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = lines(path);
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < deadline, "{count} lines, not {found:?}");
        std::thread::yield_now();
    }
}

#[test]
fn each_request_is_written_down_with_its_outcome() {
    let mux = audited("audit_arguments = true");
    let mut client = mux.client();
    let arguments = json!({ "text": "hi", "password": "hunter2" });
    assert_eq!(text(&client.call("echo", arguments)), "hi");
    client.call("no_such_tool", json!({}));
    client.call("crash", json!({}));
    let found = wait_lines(&mux.path("audit"), 3);
    let told: Vec<(&Value, &Value, &Value)> =
        found.iter().map(|line| (&line["method"], &line["name"], &line["outcome"])).collect();
    let call = |name: &str, outcome: &str| (json!("tools/call"), json!(name), json!(outcome));
    for wanted in [call("echo", "ok"), call("no_such_tool", "error"), call("crash", "lost")] {
        assert!(told.contains(&(&wanted.0, &wanted.1, &wanted.2)), "{wanted:?} in {told:?}");
    }
    let echo = found.iter().find(|line| line["name"] == "echo").unwrap();
    assert_eq!(echo["server"], "a");
    assert_eq!(echo["pid"], std::process::id());
    assert_eq!(echo["arguments"], json!({ "text": "hi", "password": "[redacted]" }));
    assert!(echo["request_bytes"].as_u64() > Some(50) && echo["answer_bytes"].as_u64() > Some(20), "{echo}");
    assert!(!fs::read_to_string(mux.path("audit")).unwrap().contains("hunter2"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(mux.path("audit")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn audit_files_are_rotated_and_opened_again() {
    let mux = audited("audit_max_bytes = 4096\naudit_keep = 2");
    let mut client = mux.client();
    for n in 0..100 {
        client.call("echo", json!({ "text": n.to_string() }));
    }
    // Lines are written at the end of each turn, so those of earlier turns are there.
    client.near_fence();
    let files = ["audit", "audit.1", "audit.2"].map(|name| mux.path(name));
    assert!(!mux.path("audit.3").exists());
    assert!(files.iter().flat_map(|path| lines(path)).all(|line| line["arguments"].is_null()));
    assert!(files.iter().all(|path| fs::metadata(path).unwrap().len() < 4096 + 400));
    // Somebody else's rotation: the file is moved away, and a signal tells.
    fs::rename(&files[0], mux.path("moved")).unwrap();
    mux.signal(10);
    mux.wait_log("the audit file was opened again");
    client.call("echo", json!({ "text": "after" }));
    assert_eq!(wait_lines(&files[0], 1).len(), 1);
}
