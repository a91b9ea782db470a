//! Files of hosts, variables and the merged endpoint's settings, with the built binary: `check`, a run, a reload.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

const MUXLOOP: &str = env!("CARGO_BIN_EXE_muxloop");
/// For one line of the log.
const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "hunter2-hunter2";

/// An empty directory that is gone at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("muxloop-config-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// The binary with a home of its own and nothing else in its environment but a secret.
    fn muxloop(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MUXLOOP);
        command.args(args).current_dir(&self.0).env_clear().env("HOME", &self.0).env("TOKEN", SECRET);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.muxloop(args).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const HOST: &str = r#"{
  // What the host keeps.
  "inputs": [],
  "mcpServers": {
    "notes": { "command": "x", "args": ["${TOKEN}"], "env": { "KEY": "${TOKEN}" }, "alwaysAllow": [], },
    "far": { "url": "https://example.com/mcp" },
  },
}
"#;

#[test]
fn check_reads_the_file_of_a_host_and_leaves_it_alone() {
    let dir = Dir::new("host");
    dir.write("host.json", HOST);
    let (code, out, err) = dir.run(&["check", "-c", "host.json"]);
    let home = dir.0.display();
    assert_eq!(
        (code, out),
        (Some(0), format!("host.json: ok, 1 server\n  notes: x on {home}/.muxloop/run/notes.sock\n"))
    );
    assert_eq!(
        err,
        "muxloop: host.json:3:3: inputs: is not known to muxloop, ignored\n\
         muxloop: host.json:5:84: mcpServers.notes.alwaysAllow: is not known to muxloop, ignored\n\
         muxloop: host.json:6:5: mcpServers.far: remote servers are not supported yet: it is left out\n"
    );
    let (code, out, err) = dir.run(&["check", "-c", "host.json", "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!((&said["ok"], said["warnings"].as_array().unwrap().len()), (&json!(true), 3));
    assert!(!out.contains(SECRET), "{out}");
    assert_eq!(fs::read_to_string(dir.0.join("host.json")).unwrap(), HOST);
    assert_eq!(dir.names(), ["host.json"]);
    let (code, _, err) = dir
        .muxloop(&["check", "-c", "host.json"])
        .env_remove("TOKEN")
        .output()
        .map(|output| (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap()))
        .unwrap();
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("muxloop: host.json:5:41: mcpServers.notes.args[0]: variable 'TOKEN' is not set;"),
        "{err}"
    );
}

#[test]
fn check_shows_what_the_merged_endpoint_has() {
    let dir = Dir::new("gateway");
    dir.write(
        "mux.toml",
        "[gateway]\nnames = \"plain\"\nservers = [\"b\", \"a\"]\ntools.deny = [\"rm_*\"]\n\
         [profiles.safe]\nservers = [\"a\"]\nprompts.allow = [\"p\", \"q\"]\n\
         [servers.a]\ncmd = \"x\"\nresources.deny = [\"file:*\"]\n\
         tool.find = { name = \"search\", description = \"D\", hide = [\"h\"], set = { key = \"${TOKEN}\" } }\n\
         [servers.b]\ncmd = \"y\"\n[servers.c]\ncmd = \"z\"\ngateway = false\n",
    );
    let (code, out, err) = dir.run(&["check"]);
    let run = dir.0.join(".muxloop/run");
    let run = run.display();
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        format!(
            "mux.toml: ok, 3 servers\n  a: x on {run}/a.sock\n    resources: deny file:*\n    \
             tool find: named search; described anew; hides h; sets key\n  b: y on {run}/b.sock\n  \
             c: z on {run}/c.sock (not on the gateway)\n  gateway (plain names, lists within 5000 ms): b, a\n    \
             tools: deny rm_*\n  profile safe: a\n    prompts: allow p q\n"
        )
    );
    let (code, out, _) = dir.run(&["check", "--json"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(
        said["gateway"],
        json!({ "names": "plain", "mode": "all", "list_timeout_ms": 5000, "servers": ["b", "a"],
            "tools": { "allow": [], "deny": ["rm_*"] } })
    );
    assert_eq!(
        said["profiles"],
        json!({ "safe": { "servers": ["a"], "prompts": { "allow": ["p", "q"], "deny": [] } } })
    );
    assert_eq!(
        said["servers"][0]["tool"],
        json!({ "find": { "name": "search", "description": "D", "hide": ["h"], "set": ["key"] } })
    );
    assert!(!out.contains(SECRET), "{out}");
    dir.write("bad.toml", "[gateway]\nservers = [\"zzz\"]\n[servers.a]\ncmd = \"x\"\n");
    let (code, out, err) = dir.run(&["check", "--json", "-c", "bad.toml"]);
    assert_eq!((code, err.as_str()), (Some(2), ""));
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        json!({ "ok": false, "file": "bad.toml", "problems": [{ "file": "bad.toml", "line": 2, "column": 12,
            "key": "gateway.servers[0]", "text": "no server 'zzz', the file has: a" }] })
    );
}

/// A running muxloop with its log.
struct Running {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Running { child, lines, log: Vec::new() }
    }

    /// Waits for a line with this in it.
    #[track_caller]
    fn says(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line =
                line.unwrap_or_else(|why| panic!("no line with {part:?}: {why}\n{}", self.log.join("\n")));
            self.log.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn environment(pid: &str) -> String {
    let bytes = fs::read(Path::new("/proc").join(pid).join("environ")).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_file_of_a_host_runs_with_its_variables_and_is_read_again() {
    let dir = Dir::new("run");
    let server = |name: &str, value: &str| {
        format!(
            "\"{name}\": {{\"command\": \"{MUXLOOP}\", \"args\": [\"demo-server\"], \"env\": {{\"KEY\": \"{value}\"}}}}"
        )
    };
    let file = |servers: &[String]| format!("{{\"mcpServers\": {{{}}}}}", servers.join(",\n"));
    let one = server("one", "<${TOKEN}>");
    dir.write("host.json", &file(std::slice::from_ref(&one)));
    let mut running = Running::start(dir.muxloop(&["-c", "host.json", "--log-level", "trace"]));
    let started = running.says("server one: started, pid ");
    running.says("server one: ready");
    assert!(environment(started.rsplit(' ').next().unwrap()).contains(&format!("KEY=<{SECRET}>")));

    dir.write("host.json", &file(&[one.clone(), server("two", "${NONE:-none}")]));
    running.signal("-HUP");
    let started = running.says("server two: started, pid ");
    assert!(environment(started.rsplit(' ').next().unwrap()).contains("KEY=none"));

    dir.write("host.json", &file(&[one.clone(), server("two", "${NONE}")]));
    running.signal("-HUP");
    let told = running.says("not reloaded, nothing has changed");
    assert!(
        told.contains("host.json:2:") && told.contains("mcpServers.two.env.KEY: variable 'NONE' is not set"),
        "{told}"
    );

    let (code, status, _) = dir.run(&["status", "-c", "host.json", "--json"]);
    assert_eq!(code, Some(0), "{status}");
    assert!(status.contains("\"one\"") && !status.contains(SECRET), "{status}");
    running.signal("-TERM");
    running.says("stopped");
    assert!(running.child.wait().unwrap().success());
    let log = running.log.join("\n");
    assert!(!log.contains(SECRET), "{log}");
}
