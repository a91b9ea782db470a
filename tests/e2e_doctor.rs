//! `muxloop doctor` on servers with one fault each: every family of findings is found, with its cure; a good
//! server has none; nothing that was started lives on (E08).

use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const MUXLOOP: &str = env!("CARGO_BIN_EXE_muxloop");

/// Longer than any machine needs for one step.
const PATIENCE: Duration = Duration::from_secs(30);

/// A private directory with a `mux.toml` in it, gone at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("muxloop-doctor-e2e-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, mode: u32, text: &str) {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MUXLOOP);
        command.arg("doctor").args(args).current_dir(&self.0).env_clear().stdin(Stdio::null());
        command.env("HOME", &self.0).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    /// The report for programs on such servers, and the exit code.
    fn report(&self, servers: &[String], args: &[&str]) -> (Option<i32>, Value) {
        self.write("mux.toml", 0o600, &servers.concat());
        let (code, out, err) = self.run(&[&["--json"], args].concat());
        let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
        (code, report)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A `[servers.NAME]`; `more` are further keys.
fn server(name: &str, program: &str, args: &[&str], more: &str) -> String {
    let (program, args) = (json!(program), json!(args));
    format!("[servers.{name}]\ncmd = {program}\nargs = {args}\nsocket = \"{name}.sock\"\n{more}\n")
}

fn demo(name: &str, faults: &[&str]) -> String {
    server(name, MUXLOOP, &[&["demo-server"], faults].concat(), "")
}

fn shell(name: &str, script: &str) -> String {
    server(name, "sh", &["-c", script], "")
}

/// `code` of each finding about a server, `null` for the configuration; each has its words and a cure.
fn codes(report: &Value, server: Value) -> Vec<String> {
    let findings =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["server"] == server);
    let code = |finding: &Value| {
        for member in ["message", "cure"] {
            assert!(finding[member].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
        }
        finding["code"].as_str().unwrap().to_owned()
    };
    findings.map(code).collect()
}

fn finding<'a>(report: &'a Value, server: &str, code: &str) -> &'a Value {
    let all = report["findings"].as_array().unwrap();
    let is_it = |finding: &&Value| finding["server"] == server && finding["code"] == code;
    all.iter().find(is_it).unwrap_or_else(|| panic!("{server}: no {code} in {all:?}"))
}

/// That each server has exactly these findings, in this order.
fn assert_codes(report: &Value, wanted: &[(&str, &[&str])]) {
    for (server, codes_wanted) in wanted {
        assert_eq!(codes(report, json!(server)), *codes_wanted, "{server}: {:?}", report["findings"]);
    }
}

#[test]
fn a_good_server_of_either_era_has_no_findings() {
    let dir = Dir::new("good");
    let servers = [
        demo("legacy", &["--name", "old", "--page-size", "3"]),
        demo("modern", &["--era", "modern"]),
        server("told", MUXLOOP, &["demo-server", "--era", "modern"], "era = \"modern\""),
    ];
    let (code, report) = dir.report(&servers[..1], &[]);
    assert_eq!((code, &report["findings"]), (Some(0), &json!([])));
    let (code, report) = dir.report(&servers, &[]);
    assert_eq!(code, Some(0));
    assert_codes(&report, &[("legacy", &[]), ("modern", &[]), ("told", &[])]);
    let legacy = &report["servers"][0];
    for (member, value) in [
        ("name", json!("legacy")),
        ("ok", json!(true)),
        ("era", json!("legacy")),
        ("protocol_version", json!("2025-11-25")),
        ("prompts", json!(2)),
        ("resources", json!(2)),
    ] {
        assert_eq!(legacy[member], value, "{member}");
    }
    assert!(legacy["tools"].as_u64() > Some(10) && legacy["start_ms"].is_u64(), "{legacy}");
    assert_eq!(legacy["server_info"]["name"], "old");
    for modern in &report["servers"].as_array().unwrap()[1..] {
        assert_eq!((&modern["era"], &modern["protocol_version"]), (&json!("modern"), &json!("2026-07-28")));
    }
    // Tools of three servers have the same names, and two are the same program: worth notes, and no more.
    assert_eq!(codes(&report, Value::Null), ["clash-twins", "clash-tools"]);
}

#[test]
fn programs_that_do_not_start_are_told_apart() {
    let dir = Dir::new("command");
    dir.write("plain", 0o644, "");
    dir.write("lost", 0o755, "#!/no/such/interpreter\n");
    let long = "x".repeat(2_000_000);
    let servers = [
        server("missing", "muxloop-no-such-command", &[], ""),
        server("plain", "./plain", &[], ""),
        server("lost", "./lost", &[], ""),
        server("long", "sh", &["-c", "true", &long], ""),
        server("nowhere", "sh", &[], "cwd = \"/no/such/directory\""),
        server("empty", MUXLOOP, &["demo-server"], "env = { A = \"\", B = \"$HOME\", C_KEY = \"<key>\" }"),
    ];
    let (code, report) = dir.report(&servers, &[]);
    assert_eq!(code, Some(1));
    assert_codes(
        &report,
        &[
            ("missing", &["command-missing"]),
            ("plain", &["command-not-executable"]),
            ("lost", &["command-interpreter"]),
            ("long", &["command-unusable"]),
            ("nowhere", &["cwd"]),
            ("empty", &["env-empty", "env-reference", "env-placeholder"]),
        ],
    );
    let missing = finding(&report, "missing", "command-missing");
    assert!(missing["evidence"].as_str().unwrap().starts_with("searched: "), "{missing}");
    assert_eq!(report["servers"][0]["ok"], false);
    assert_eq!(report["servers"][5]["ok"], true, "warnings are no errors");
}

#[test]
fn starts_that_fail_say_why() {
    let dir = Dir::new("start");
    let secret = "s3cret-of-the-server";
    let exits = "echo \"fatal: bad API key $MY_KEY\" >&2; echo '{\"token\":\"deep-secret\"}' >&2; exit 3";
    let servers = [
        server("exits", "sh", &["-c", exits], &format!("env = {{ MY_KEY = \"{secret}\" }}")),
        shell("signal", "kill -SEGV $$"),
        demo("silent", &["--hang-initialize"]),
        demo("closed", &["--close-stdout-after", "1", "--lifetime", "60000"]),
        shell("flood", "exec yes"),
        shell("noise", "echo Server running on stdio; echo listening; while read -r line; do :; done"),
    ];
    let (code, report) = dir.report(&servers, &["--timeout", "2"]);
    assert_eq!(code, Some(1));
    assert_codes(
        &report,
        &[
            ("exits", &["start-exited"]),
            ("signal", &["start-exited"]),
            ("silent", &["start-silent"]),
            ("closed", &["stdout-closed"]),
            ("flood", &["start-silent", "stdout-noise"]),
            ("noise", &["start-silent", "stdout-noise"]),
        ],
    );
    let exited = finding(&report, "exits", "start-exited");
    assert_eq!(exited["evidence"], "fatal: bad API key [redacted]\n{\"token\":\"[redacted]\"}");
    assert!(exited["message"].as_str().unwrap().contains("exit code 3"), "{exited}");
    assert!(exited["cure"].as_str().unwrap().contains("`env`"), "{exited}");
    assert!(!report.to_string().contains(secret) && !report.to_string().contains("deep-secret"));
    let signal = finding(&report, "signal", "start-exited");
    assert!(signal["message"].as_str().unwrap().contains("(SIGSEGV)"), "{signal}");
    let noise = finding(&report, "noise", "stdout-noise");
    assert_eq!(noise["evidence"], "Server running on stdio\nlistening");
}

#[test]
fn a_slow_start_is_a_warning() {
    let dir = Dir::new("slow");
    let (code, report) = dir.report(&[demo("slow", &["--slow-start", "5100"])], &[]);
    assert_eq!((code, codes(&report, json!("slow"))), (Some(0), vec!["start-slow".to_owned()]));
    let cure = &finding(&report, "slow", "start-slow")["cure"];
    assert!(cure.as_str().unwrap().contains("startup_timeout_ms"), "{cure}");
    assert!(report["servers"][0]["start_ms"].as_u64() >= Some(5100), "{report}");
}

#[test]
fn handshakes_are_judged() {
    let dir = Dir::new("handshake");
    let hello = |capabilities: Value, version: &str| {
        let info = json!({ "name": "x", "version": "1" });
        let result = json!({ "protocolVersion": version, "capabilities": capabilities, "serverInfo": info });
        format!("initialize={result}")
    };
    let huge = "please ".repeat(2000);
    let servers = [
        demo("refuses", &["--refuse", "initialize", "--refuse", "server/discover"]),
        server("older", MUXLOOP, &["demo-server", "--era", "legacy"], "era = \"modern\""),
        server("newer", MUXLOOP, &["demo-server", "--era", "modern"], "era = \"legacy\""),
        demo("shape", &["--answer", "initialize=[1]"]),
        demo("version", &["--answer", &hello(json!({}), "1999-01-01")]),
        demo("unnamed", &["--answer", r#"initialize={"protocolVersion":"2025-06-18","capabilities":{}}"#]),
        demo("long", &["--instructions", &huge]),
        demo("dies", &["--die-after", "2"]),
        demo("fields", &["--era", "modern", "--answer", r#"tools/list={"tools":[]}"#]),
    ];
    let (code, report) = dir.report(&servers, &[]);
    assert_eq!(code, Some(1));
    assert_codes(
        &report,
        &[
            ("refuses", &["handshake-refused"]),
            ("older", &["handshake-refused"]),
            ("newer", &["handshake-refused"]),
            ("shape", &["handshake-invalid"]),
            ("version", &["handshake-version", "handshake-empty"]),
            ("unnamed", &["handshake-invalid", "handshake-empty"]),
            ("long", &["instructions-long"]),
            ("dies", &["handshake-died"]),
            ("fields", &["modern-fields", "list-empty"]),
        ],
    );
    let refused = finding(&report, "refuses", "handshake-refused");
    assert!(refused["evidence"].as_str().unwrap().contains("-32601"), "{refused}");
    for server in ["older", "newer"] {
        let cure = &finding(&report, server, "handshake-refused")["cure"];
        assert!(cure.as_str().unwrap().contains("era = \"auto\""), "{cure}");
    }
}

#[test]
fn lists_are_judged() {
    let dir = Dir::new("lists");
    let tool = |name: &str, schema: Value| json!({ "name": name, "description": "d", "inputSchema": schema });
    let tools = |tools: Value| format!("tools/list={}", json!({ "tools": tools }));
    let object = json!({ "type": "object" });
    let bad = json!({ "type": "object", "required": ["b"], "properties": { "a": { "type": "strnig" } } });
    let bare = json!({ "name": "bare" });
    let long = "x".repeat(70);
    let odd = [tool("a b", object.clone()), tool(&long, object.clone()), bare];
    let servers = [
        demo("refused", &["--refuse", "tools/list"]),
        demo("shape", &["--answer", "tools/list={}"]),
        demo("endless", &["--answer", r#"tools/list={"tools":[],"nextCursor":"again"}"#]),
        demo("twice", &["--answer", &tools(json!([tool("t", object.clone()), tool("t", object)]))]),
        demo("schema", &["--answer", &tools(json!([tool("t", bad)]))]),
        demo("odd", &["--answer", &tools(json!(odd))]),
        demo("nameless", &["--answer", r#"prompts/list={"prompts":[{"title":"x"}]}"#]),
        demo("ping", &["--no-ping"]),
    ];
    let (code, report) = dir.report(&servers, &[]);
    assert_eq!(code, Some(1));
    assert_codes(
        &report,
        &[
            ("refused", &["list-refused"]),
            ("shape", &["list-invalid"]),
            ("endless", &["list-endless"]),
            ("twice", &["entry-duplicate"]),
            ("schema", &["schema-invalid", "schema-doubtful"]),
            ("odd", &["schema-missing", "tool-name-long", "tool-name-characters", "tool-undescribed"]),
            ("nameless", &["entry-invalid"]),
            ("ping", &["ping-refused"]),
        ],
    );
    let schema = finding(&report, "schema", "schema-invalid");
    assert!(schema["message"].as_str().unwrap().contains("inputSchema/properties/a/type"), "{schema}");
}

#[test]
fn what_is_odd_on_stdout_is_told() {
    let dir = Dir::new("stdout");
    let servers = [
        demo("noise", &["--noise"]),
        demo("broken", &["--garbage-json"]),
        demo("utf8", &["--invalid-utf8"]),
        demo("twice", &["--duplicate-answers"]),
        demo("unknown", &["--answer-unknown"]),
        demo("asks", &["--asks-unprompted"]),
        demo("batch", &["--batch"]),
        demo("crlf", &["--crlf"]),
        demo("giant", &["--giant-line", "34000000"]),
    ];
    let (_, giant) = dir.report(&servers[8..], &[]);
    assert_codes(&giant, &[("giant", &["stdout-overlong"])]);
    let (code, report) = dir.report(&servers[..8], &[]);
    assert_eq!(code, Some(0), "muxloop gets on with all of it: {report}");
    for (server, code) in [
        ("noise", "stdout-noise"),
        ("broken", "stdout-noise"),
        ("utf8", "stdout-noise"),
        ("twice", "answer-stray"),
        ("unknown", "answer-stray"),
        ("asks", "asks-unoffered"),
    ] {
        assert!(codes(&report, json!(server)).contains(&code.to_owned()), "{server}: {report}");
    }
    assert_codes(&report, &[("batch", &[]), ("crlf", &[])]);
}

#[test]
fn stops_are_judged_and_what_is_left_is_ended() {
    let dir = Dir::new("stop");
    let lives = ["--lifetime", "60000"];
    let servers = [
        demo("stays", &[&["--exit-on-eof", "no"], &lives[..]].concat()),
        demo("ignores", &[&["--ignore-term"], &lives[..]].concat()),
        demo("leaves", &[&["--spawn-grandchild"], &lives[..]].concat()),
        demo("escapes", &[&["--spawn-grandchild", "--setsid"], &lives[..]].concat()),
    ];
    let (code, report) = dir.report(&servers, &[]);
    assert_eq!(code, Some(0));
    assert_codes(&report, &[("stays", &["stop-stdin"]), ("ignores", &["stop-sigterm"])]);
    if cfg!(target_os = "linux") {
        assert_codes(&report, &[("leaves", &["stop-descendants"]), ("escapes", &["stop-descendants"])]);
        let left = finding(&report, "escapes", "stop-descendants")["evidence"].as_str().unwrap();
        let pids = left.lines().filter_map(|line| line.split_once("(process ")?.1.strip_suffix(')'));
        let pids: Vec<&str> = pids.collect();
        assert!(!pids.is_empty(), "{left}");
        for pid in pids {
            assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "process {pid} lives on");
        }
    }
}

#[test]
fn sockets_are_looked_at_and_left_alone() {
    let dir = Dir::new("sockets");
    for (name, mode) in [("open", 0o755), ("writable", 0o777), ("private", 0o700)] {
        fs::create_dir(dir.0.join(name)).unwrap();
        fs::set_permissions(dir.0.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let place = |name: &str| dir.0.join("private").join(name);
    fs::write(place("file.sock"), "").unwrap();
    drop(UnixListener::bind(place("stale.sock")).unwrap());
    let taken = UnixListener::bind(place("taken.sock")).unwrap();
    let at = |name: &str, place: &str| {
        let path = json!(dir.0.join(place));
        format!("[servers.{name}]\ncmd = {}\nargs = [\"demo-server\"]\nsocket = {path}\n", json!(MUXLOOP))
    };
    let servers = [
        at("open", "open/a.sock"),
        at("writable", "writable/a.sock"),
        at("blocked", "private/file.sock"),
        at("stale", "private/stale.sock"),
        at("taken", "private/taken.sock"),
        at("new", "not/there/yet/a.sock"),
    ];
    let (code, report) = dir.report(&servers, &[]);
    assert_eq!(code, Some(1));
    assert_codes(
        &report,
        &[
            ("open", &["socket-shared"]),
            ("writable", &["socket-directory"]),
            ("blocked", &["socket-blocked"]),
            ("stale", &["socket-stale"]),
            ("taken", &["socket-taken"]),
            ("new", &[]),
        ],
    );
    assert!(codes(&report, Value::Null).contains(&"clash-twins".to_owned()), "{report}");
    assert!(place("file.sock").exists() && place("stale.sock").exists() && !dir.0.join("not").exists());
    drop(taken);
}

/// A muxloop that runs `mux.toml`, until it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(dir: &Dir) -> Daemon {
        let mut command = Command::new(MUXLOOP);
        command.args(["-c", "mux.toml"]).current_dir(&dir.0).env_clear().env("HOME", &dir.0);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("ready, speaking") {
                    let _ = tell.send(());
                }
            }
        });
        let daemon = Daemon(child);
        told.recv_timeout(PATIENCE).expect("the daemon's server is ready");
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_muxloop_that_runs_is_told_and_goes_on() {
    let dir = Dir::new("daemon");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = format!("http = [\"{address}\", \"unix:{}/http.sock\"]\n", dir.0.display());
    let web = || http.clone() + &server("web", MUXLOOP, &["demo-server"], "era = \"legacy\"");
    dir.write("mux.toml", 0o600, &web());
    let mut daemon = Daemon::start(&dir);
    let (code, report) = dir.report(&[web()], &[]);
    assert_eq!((code, codes(&report, Value::Null)), (Some(0), vec!["daemon-runs".to_owned()]));
    assert_eq!(codes(&report, json!("web")), Vec::<String>::new(), "its sockets are its own");
    let pid = format!("(process {})", daemon.0.id());
    assert!(report["findings"][0]["message"].as_str().unwrap().ends_with(&pid), "{report}");
    assert_eq!(daemon.0.try_wait().unwrap(), None);
    let health =
        Command::new(MUXLOOP).args(["health", "-c", "mux.toml"]).current_dir(&dir.0).output().unwrap();
    assert!(health.status.success(), "{health:?}");
    // From another configuration's view it is in the way.
    fs::rename(dir.0.join("mux.toml"), dir.0.join("other.toml")).unwrap();
    let (_, out, _) = dir.run(&["-c", "other.toml", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(codes(&report, json!("web")), ["socket-taken"]);
    assert_eq!(codes(&report, Value::Null), ["http-taken", "socket-taken"]);
}

#[test]
fn http_that_cannot_be_served_or_is_open_to_all_is_told() {
    let dir = Dir::new("http");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for (http, status, wanted) in [
        (format!("http = \"{}\"", taken.local_addr().unwrap()), 1, &["http-taken"][..]),
        ("http = \"0.0.0.0:0\"".into(), 1, &["http-exposed"]),
        ("http = { listen = \"0.0.0.0:0\", insecure = true }".into(), 0, &["http-exposed"]),
        ("http = { listen = \"192.0.2.1:1\", token = \"t\" }".into(), 1, &["http-address"]),
        ("http = { listen = \"[::1]:0\", token = \"t\" }".into(), 0, &[]),
    ] {
        let (code, report) = dir.report(&[format!("{http}\n"), demo("a", &[])], &[]);
        assert_eq!(
            (code, codes(&report, Value::Null)),
            (Some(status), wanted.iter().map(|code| (*code).to_owned()).collect()),
            "{http}"
        );
        assert_eq!(report["servers"][0]["ok"], true, "its servers are tried all the same");
    }
}

#[test]
fn a_wrong_command_line_or_file_is_code_2() {
    let dir = Dir::new("config");
    let (code, report) = dir.report(&["[servers.a]\ncmd = 1\nnonsense = 2\n".to_owned()], &[]);
    assert_eq!((code, codes(&report, Value::Null)), (Some(2), vec!["config".to_owned(); 2]));
    assert_eq!(report["servers"], json!([]));
    let twice = [demo("a", &[]), demo("b", &[]).replace("b.sock", "a.sock")];
    let (code, report) = dir.report(&twice, &[]);
    assert_eq!((code, codes(&report, Value::Null)), (Some(2), vec!["config".to_owned()]), "one socket");
    let (code, report) = dir.report(&[demo("a", &[]).replace("a.sock", &"a".repeat(200))], &[]);
    assert_eq!((code, codes(&report, Value::Null)), (Some(2), vec!["config".to_owned()]), "a path too long");
    let (code, report) = dir.report(&[demo("web", &[])], &["wbe"]);
    assert_eq!((code, codes(&report, Value::Null)), (Some(2), vec!["server-unknown".to_owned()]));
    assert!(report["findings"][0]["cure"].as_str().unwrap().contains("did you mean 'web'"), "{report}");
    let (code, out, _) = dir.run(&["-c", "none.toml"]);
    assert!(code == Some(2) && out.contains("none.toml: no such file") && out.contains("cure: "), "{out}");
    let (code, _, err) = dir.run(&["--timeout", "soon"]);
    assert!(code == Some(2) && err.contains("--timeout is 'soon'"), "{err}");
    fs::remove_file(dir.0.join("mux.toml")).unwrap();
    let (code, out, err) = dir.run(&[]);
    assert!(code == Some(2) && out.is_empty() && err.contains("no configuration"), "{out}{err}");
}

#[test]
fn secrets_in_a_file_for_all_are_a_warning() {
    let dir = Dir::new("mode");
    let secret = "env = { API_KEY = \"k-12345678\" }";
    let text =
        [server("a", MUXLOOP, &["demo-server"], secret), demo("off", &[]) + "enabled = false\n"].concat();
    dir.write("mux.toml", 0o644, &text);
    let (code, out, _) = dir.run(&[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("[config-readable]") && out.contains("cure: chmod 600 "), "{out}");
    assert!(out.contains("1 server (not off: disabled), each tried alone, within"), "{out}");
    assert!(out.contains("\na: ok  muxloop-demo ") && !out.contains("k-12345678"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80) && !out.contains('\x1b'), "{out}");
    assert!(out.contains("1 server tried in ") && out.ends_with(": 0 errors, 1 warning, 0 notes\n"), "{out}");
    // The file has only its name.
    dir.write("mux.toml", 0o644, &text.replace("k-12345678", "${HOME}"));
    let (code, out, _) = dir.run(&[]);
    assert!(code == Some(0) && !out.contains("[config-readable]"), "{out}");
    // And a file of a host is one of muxloop's too.
    let host = format!(
        "{{\"mcpServers\": {{\"h\": {{\"command\": \"{MUXLOOP}\", \"args\": [\"demo-server\"], \"x\": 1}}}}}}"
    );
    dir.write("host.json", 0o644, &host);
    let (code, out, _) = dir.run(&["-c", "host.json"]);
    assert!(
        code == Some(0) && out.contains("\nh: ok  muxloop-demo ") && out.contains("[config-inert]"),
        "{out}"
    );
}

/// The end of every process of a server: it holds a named pipe open, as does all that descends from it.
struct Witness(mpsc::Receiver<&'static str>);

impl Witness {
    /// A server that never answers, has a descendant in a session of its own, and is watched.
    fn new(dir: &Dir) -> (Witness, String) {
        let fifo = dir.0.join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let script = format!(
            "exec 3>'{}'; exec '{MUXLOOP}' demo-server --hang-initialize --ignore-term --spawn-grandchild \
             --setsid --lifetime 60000",
            fifo.display()
        );
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            // Waits for the server to open the other end, and then for the last process to close it.
            let mut pipe = fs::File::open(fifo).unwrap();
            let _ = tell.send("begun");
            let _ = pipe.read_to_end(&mut Vec::new());
            let _ = tell.send("ended");
        });
        (Witness(told), shell("hung", &script))
    }

    fn wait(&self, what: &str) {
        assert_eq!(self.0.recv_timeout(PATIENCE), Ok(what));
    }
}

#[test]
fn no_process_outlives_the_command() {
    for signal in ["none", "TERM", "INT", "HUP", "KILL"] {
        let dir = Dir::new(&format!("signal-{signal}"));
        let (witness, server) = Witness::new(&dir);
        dir.write("mux.toml", 0o600, &server);
        let timeout = if signal == "none" { "1" } else { "60" };
        let mut doctor = dir.command(&["--timeout", timeout]);
        let mut doctor = doctor.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        witness.wait("begun");
        if signal != "none" {
            let pid = doctor.id().to_string();
            assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        }
        let mut said = String::new();
        doctor.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let code = doctor.wait().unwrap().code();
        match signal {
            "none" => assert_eq!((code, said.as_str()), (Some(1), "")),
            "KILL" => assert_eq!(code, None),
            _ => assert!(code == Some(1) && said.contains("interrupted"), "{signal}: {code:?} {said}"),
        }
        witness.wait("ended");
    }
}
