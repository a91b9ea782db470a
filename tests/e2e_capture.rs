//! The built binary records a session with everything in it and replays it; files that were changed, cut off
//! or are something else (E07).

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

#[cfg(all(feature = "http", feature = "gateway"))]
#[path = "e2e_capture/merged.rs"]
mod merged;

const MUXLOOP: &str = env!("CARGO_BIN_EXE_muxloop");

/// Longer than any machine needs for one step.
const PATIENCE: Duration = Duration::from_secs(20);

/// An empty directory that is gone at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("muxloop-capture-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn muxloop(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MUXLOOP);
    command.args(args).current_dir(dir).env_clear().env("HOME", dir).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = muxloop(dir, args).output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A muxloop that records, until it is told to stop.
struct Recording {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Recording {
    fn start(dir: &Path, file: &str) -> Recording {
        let args = ["record", file, "-c", "mux.toml", "--control", "control.sock", "-v"];
        let mut child = muxloop(dir, &args).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Recording { child, lines }
    }

    fn wait_for(&self, what: &str) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return,
                Ok(_) => {}
                Err(error) => panic!("'{what}' was not logged: {error}"),
            }
        }
    }

    /// Waits for its end, which is the end of its log.
    fn ended(mut self) -> Option<i32> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return self.child.wait().unwrap().code(),
                Err(error) => panic!("muxloop does not end: {error}"),
            }
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: PathBuf) -> Client {
        let stream = UnixStream::connect(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client(BufReader::new(stream));
        client.ask(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}));
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.0.get_mut(), "{message}").unwrap();
    }

    /// The answer to a request; what else comes is left out.
    fn ask(&mut self, request: Value) -> Value {
        self.send(&request);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "closed instead of an answer to {request}");
            match serde_json::from_str::<Value>(&line) {
                Ok(answer) if answer["id"] == request["id"] && answer.get("method").is_none() => {
                    return answer;
                }
                _ => {}
            }
        }
    }

    fn call(&mut self, id: u64, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": id}});
        self.ask(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
    }
}

fn config(secret: &str, more: &str) -> String {
    let path = serde_json::to_string(MUXLOOP).unwrap();
    format!(
        "[servers.demo]\ncmd = {path}\nargs = [\"demo-server\", \"--instructions\", \"argument-s3cret\"]\n\
         socket = \"demo.sock\"\nera = \"legacy\"\nrestart_backoff_ms = 10\nenv = {{ DEMO_KEY = \"{secret}\" }}\n\
         [servers.noisy]\ncmd = {path}\nargs = [\"demo-server\", \"--invalid-utf8\"]\nsocket = \"noisy.sock\"\n\
         {more}"
    )
}

/// A session with clients that come and go, a crash, bytes that are no text, a reload, commands, and a stop.
fn record(dir: &Path) {
    fs::write(dir.join("mux.toml"), config("s3cret-value", "")).unwrap();
    let recording = Recording::start(dir, "session.jsonl");
    recording.wait_for("noisy.sock");
    recording.wait_for("started, pid");
    let mut first = Client::connect(dir.join("demo.sock"));
    let mut second = Client::connect(dir.join("demo.sock"));
    let mut noisy = Client::connect(dir.join("noisy.sock"));
    for n in 1..20 {
        let answer = first.call(n, "echo", json!({"text": format!("hello {n} ä"), "password": "hunter2"}));
        assert!(answer["result"].is_object(), "{answer}");
        second.call(n, "add", json!({"a": n, "b": 1}));
        noisy.call(n, "echo", json!({"text": "noise"}));
    }
    let big = first.call(100, "big", json!({"bytes": 700_000}));
    assert!(big["result"].to_string().len() > 500_000);
    let large = second.call(101, "echo", json!({"text": "y".repeat(300_000)}));
    assert!(large["result"].is_object());
    assert!(second.call(102, "crash", json!({"code": 3}))["error"].is_object());
    assert!(second.call(103, "echo", json!({"text": "again"}))["result"].is_object());
    drop(second);
    let control = ["--control", "control.sock"];
    let (code, out, err) = run(dir, &["status", "--json", control[0], control[1]]);
    assert_eq!(code, Some(0), "{out}{err}");
    let third = format!(
        "[servers.third]\ncmd = {}\nargs = [\"demo-server\"]\nsocket = \"third.sock\"\n",
        serde_json::to_string(MUXLOOP).unwrap()
    );
    fs::write(dir.join("mux.toml"), config("other-s3cret", &third)).unwrap();
    let (code, out, err) = run(dir, &["reload", control[0], control[1]]);
    assert_eq!(code, Some(0), "{out}{err}");
    Client::connect(dir.join("third.sock")).call(1, "echo", json!({"text": "new"}));
    first.call(104, "echo", json!({"text": "changed"}));
    let (code, ..) = run(dir, &["restart", "noisy", control[0], control[1]]);
    assert_eq!(code, Some(0));
    noisy.call(105, "echo", json!({"text": "restarted"}));
    assert_eq!(run(dir, &["shutdown", control[0], control[1]]).0, Some(0));
    assert_eq!(recording.ended(), Some(0));
}

/// The one session that the tests look at.
fn session() -> &'static str {
    static SESSION: OnceLock<String> = OnceLock::new();
    SESSION.get_or_init(|| {
        let dir = Dir::new("session");
        record(&dir.0);
        let file = dir.at("session.jsonl");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::read_to_string(file).unwrap()
    })
}

fn replay(dir: &Dir, text: &[u8]) -> (Option<i32>, String, String) {
    fs::write(dir.at("changed.jsonl"), text).unwrap();
    run(&dir.0, &["replay", "changed.jsonl"])
}

/// The first line that begins so and has this in it, with its number.
fn find(begin: &str, what: &str) -> (usize, &'static str) {
    let mut lines = session().lines().enumerate();
    let found = lines.find(|(_, line)| line.starts_with(begin) && line.contains(what));
    let (at, line) = found.unwrap_or_else(|| panic!("no {begin} with {what}"));
    (at + 1, line)
}

#[test]
fn a_session_replays_to_the_last_byte_and_keeps_secrets_of_the_environment() {
    let dir = Dir::new("same");
    let text = session();
    let (code, out, err) = replay(&dir, text.as_bytes());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let turns = text.lines().filter(|line| line.starts_with("{\"turn\"")).count();
    assert!(turns > 50 && out.starts_with(&format!("same: {turns} turns, ")), "{out}");
    let bytes: u64 = out.split([' ', ',']).filter_map(|word| word.parse().ok()).max().unwrap();
    assert!(bytes > 1_300_000, "{out}");
    assert!(text.ends_with(&format!("{{\"end\":{{\"turns\":{turns},\"bytes_out\":{bytes}}}}}\n")));
    assert!(!text.contains("s3cret-value") && !text.contains("other-s3cret"), "values of the environment");
    assert!(text.contains("DEMO_KEY"));
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(!header.to_string().contains("argument-s3cret"), "{header}");
    for kind in
        ["add_server", "change_server", "answer_reload", "\"hex\"", "open_control", "\"exited\"", "\"log\""]
    {
        assert!(text.contains(kind), "nothing of {kind} in the recording");
    }
}

#[test]
fn a_changed_input_and_a_changed_output_are_shown_with_their_place() {
    let dir = Dir::new("changed");
    let (number, line) = find("{\"read\"", "hello 7 ");
    let changed = session().replacen(line, &line.replacen("hello 7 ", "jello 7 ", 1), 1);
    let (code, out, err) = replay(&dir, changed.as_bytes());
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    let place = lines[0].strip_prefix("different: changed.jsonl:").unwrap().split(':').next().unwrap();
    let place: usize = place.parse().unwrap();
    assert!(place > number && place < number + 20, "{number} {out}");
    assert!(lines[0].contains(": turn ") && lines[0].ends_with(" s after the start"), "{out}");
    assert!(lines[1].starts_with("other bytes to server 'demo' (pid "), "{out}");
    assert!(lines[2].starts_with("  recorded: ") && lines[2].contains("hello 7 ä"), "{out}");
    assert!(lines[3].starts_with("  now:      ") && lines[3].contains("jello 7 ä"), "{out}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{out}");
    assert!(!out.contains("hunter2"), "{out}");

    let (number, line) = find("{\"write\"", "hello 9 ");
    let link: Value = serde_json::from_str(line).unwrap();
    let sent: usize =
        session().lines().take(number - 1).filter_map(|line| sent_to(line, &link["write"]["link"])).sum();
    let within = link["write"]["data"].as_str().unwrap().find("hello 9 ").unwrap();
    let changed = session().replacen(line, &line.replacen("hello 9 ", "hellO 9 ", 1), 1);
    let (code, out, _) = replay(&dir, changed.as_bytes());
    assert_eq!(code, Some(1), "{out}");
    let byte = sent + within + 4;
    assert!(out.starts_with(&format!("different: changed.jsonl:{number}: turn ")), "{out}");
    assert!(out.contains(&format!(", from byte {byte} of all it was sent:\n")), "{byte}: {out}");
    let column =
        |start: &str| out.lines().find(|line| line.starts_with(start)).unwrap().chars().collect::<Vec<_>>();
    let caret = out.lines().find(|line| line.trim() == "^").unwrap().chars().count() - 1;
    assert_eq!((column("  recorded: ")[caret], column("  now:      ")[caret]), ('O', 'o'), "{out}");
}

/// Bytes that this line says were written to a link.
fn sent_to(line: &str, link: &Value) -> Option<usize> {
    let event: Value = serde_json::from_str(line).unwrap();
    let write = event.get("write").filter(|write| write["link"] == *link)?;
    Some(match &write["data"] {
        Value::String(text) => text.len(),
        hex => hex["hex"].as_str().unwrap().len() / 2,
    })
}

#[test]
fn files_that_are_cut_off_or_something_else_are_refused_with_their_line() {
    let dir = Dir::new("damaged");
    let half = &session()[..session().len() / 2];
    let half = &half[..half.rfind("\\\"jsonrpc\\\"").unwrap()];
    let (code, out, err) = replay(&dir, half.as_bytes());
    let line = half.lines().count();
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(
        err.starts_with(&format!("muxloop: changed.jsonl:{line}: the recording ends in the middle")),
        "{err}"
    );
    assert!(err.contains("; the same so far: "), "{err}");
    let garbage: [(&[u8], &str); 5] = [
        (b"", "changed.jsonl:1: no recording of muxloop"),
        (b"\xff\xfe\x00garbage", "changed.jsonl:1: no recording of muxloop"),
        (b"{\"muxloop_capture\":7}\n", "changed.jsonl:1: a recording of format 7, expected 1"),
        (b"[1,2]\n[3]\n", "changed.jsonl:1: no recording of muxloop"),
        (b"{\"muxloop_capture\":1}\n", "changed.jsonl:1: not understood"),
    ];
    for (bytes, words) in garbage {
        let (code, out, err) = replay(&dir, bytes);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.starts_with("muxloop: ") && err.contains(words) && err.lines().count() == 1, "{err}");
    }
    let (number, line) = find("{\"turn\"", "accept");
    let (code, _, err) =
        replay(&dir, session().replacen(line, "{\"turn\":{\"now\":tomorrow}}", 1).as_bytes());
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains(&format!("changed.jsonl:{number}: not understood: ")), "{err}");
    let (code, _, err) = run(&dir.0, &["replay", "nowhere.jsonl"]);
    assert!(code == Some(2) && err.contains("nowhere.jsonl: "), "{err}");
}

#[test]
fn a_recording_overwrites_nothing() {
    let dir = Dir::new("exists");
    fs::write(dir.at("mux.toml"), config("x", "")).unwrap();
    let before = fs::read(dir.at("mux.toml")).unwrap();
    let (code, _, err) = run(&dir.0, &["record", "mux.toml", "-c", "mux.toml"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("mux.toml exists already"), "{err}");
    assert_eq!(fs::read(dir.at("mux.toml")).unwrap(), before);
    assert!(!dir.at("demo.sock").exists());
}

/// What was recorded up to `kill -9` is there, and can be replayed so far.
#[test]
fn a_recording_outlives_a_killed_muxloop() {
    let dir = Dir::new("killed");
    fs::write(dir.at("mux.toml"), config("x", "")).unwrap();
    let mut recording = Recording::start(&dir.0, "killed.jsonl");
    recording.wait_for("started, pid");
    let mut client = Client::connect(dir.at("demo.sock"));
    client.call(1, "echo", json!({"text": "last words"}));
    recording.child.kill().unwrap();
    let mut rest = String::new();
    let _ = client.0.read_to_string(&mut rest);
    recording.child.wait().unwrap();
    let text = fs::read_to_string(dir.at("killed.jsonl")).unwrap();
    assert!(text.contains("last words"));
    let (code, out, err) = run(&dir.0, &["replay", "killed.jsonl"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    let line = text.lines().count() + usize::from(text.ends_with('\n'));
    assert!(err.contains(&format!("killed.jsonl:{line}: the recording ends ")), "{err}");
    assert!(err.contains("the same so far: "), "{err}");
}

/// A connection for HTTP, with at most one session.
#[cfg(feature = "http")]
struct Web {
    stream: BufReader<UnixStream>,
    path: String,
    /// A line of the head.
    session: String,
}

#[cfg(feature = "http")]
impl Web {
    fn connect(dir: &Dir, path: &str) -> Web {
        let stream = BufReader::new(UnixStream::connect(dir.at("http.sock")).unwrap());
        stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        Web { stream, path: path.to_owned(), session: String::new() }
    }

    /// The answer, head and all.
    fn post(&mut self, body: Value) -> String {
        let (path, session, body) = (&self.path, &self.session, body.to_string());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{session}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes()).unwrap();
        // To the end of a body with a length, or to what ends a stream.
        let ends = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            length.map_or_else(|| body.ends_with("0\r\n\r\n"), |length| length == body.len().to_string())
        };
        let mut answer = Vec::new();
        while !ends(&answer) {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    }

    fn initialize(&mut self) {
        let head = self.post(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}));
        let line = head.lines().find(|line| line.starts_with("Mcp-Session-Id")).expect(&head);
        self.session = format!("{line}\r\n");
    }

    fn call(&mut self, id: u64, tool: &str, arguments: Value) -> String {
        self.post(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": tool, "arguments": arguments, "_meta": {"progressToken": id}}}))
    }
}

/// A session over HTTP with an event stream in it, and one request without a session.
#[cfg(feature = "http")]
#[test]
fn http_is_recorded_too() {
    records_and_replays("http", "/servers/demo/mcp", "sleep");
}

/// The same through the merged endpoint.
#[cfg(all(feature = "http", feature = "gateway"))]
#[test]
fn the_merged_endpoint_is_recorded_too() {
    records_and_replays("merged", "/mcp", "demo__sleep");
}

#[cfg(feature = "http")]
fn records_and_replays(name: &str, path: &str, tool: &str) {
    let dir = Dir::new(name);
    let http = format!("http = \"unix:{}\"\n", dir.at("http.sock").display());
    fs::write(dir.at("mux.toml"), http + &config("x", "")).unwrap();
    let mut recording = Recording::start(&dir.0, "http.jsonl");
    recording.wait_for("started, pid");
    let mut web = Web::connect(&dir, path);
    web.initialize();
    let streamed = web.call(2, tool, json!({"ms": 10}));
    assert!(streamed.contains("notifications/progress") && streamed.contains("slept 10 ms"), "{streamed}");
    let stop = Command::new("kill").arg(recording.child.id().to_string()).status().unwrap();
    assert!(stop.success());
    assert_eq!(recording.child.wait().unwrap().code(), Some(0));
    let (code, out, err) = run(&dir.0, &["replay", "http.jsonl"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("same: "), "{out}");
}
