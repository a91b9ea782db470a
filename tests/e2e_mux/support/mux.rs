//! The daemon under test, with a `mux.toml` of its own in a directory of its own.

use muxloop::reactor::sys;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::{Client, PATIENCE, Watched};

/// The built binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_muxloop");

/// One `[servers.NAME]` of the file.
pub struct Server {
    name: String,
    cmd: String,
    args: Vec<String>,
    keys: String,
    is_legacy: bool,
}

impl Server {
    /// A demo server with these options, which journals what it receives. It is a legacy one, as most are, and
    /// muxloop knows that, unless the options name an era.
    pub fn demo(name: &str, options: &[&str]) -> Server {
        let is_any = options.contains(&"--era");
        let args = ["demo-server", "--name", name, "--journal", "DIR/NAME.journal"];
        let args = args.iter().chain(options).map(|word| word.replace("NAME", name)).collect();
        Server { name: name.into(), cmd: BINARY.into(), args, keys: String::new(), is_legacy: !is_any }
    }

    /// A shell script as the server. `DIR` and `BINARY` in it are replaced.
    pub fn script(name: &str, script: &str) -> Server {
        // The variables are the shell's, not those of the file.
        let args = vec!["-c".into(), script.replace("BINARY", BINARY).replace("${", "$${")];
        Server { name: name.into(), cmd: "/bin/sh".into(), args, keys: String::new(), is_legacy: false }
    }

    /// Any command.
    pub fn command(name: &str, cmd: &str) -> Server {
        Server { name: name.into(), cmd: cmd.into(), args: Vec::new(), keys: String::new(), is_legacy: false }
    }

    /// Further lines of its table.
    pub fn keys(mut self, lines: &str) -> Server {
        self.keys += lines;
        self.keys.push('\n');
        self
    }

    /// Its table of the file.
    pub fn toml(&self, dir: &Path) -> String {
        let dir = dir.display().to_string();
        // A JSON string is a TOML string.
        let args: Vec<Value> = self.args.iter().map(|word| json!(word.replace("DIR", &dir))).collect();
        let socket = if self.keys.contains("socket =") {
            String::new()
        } else {
            format!("socket = \"{dir}/{}.sock\"\n", self.name)
        };
        let era = if self.is_legacy && !self.keys.contains("era =") { "era = \"legacy\"\n" } else { "" };
        format!(
            "[servers.{}]\n{socket}{era}cmd = {}\nargs = {}\n{}",
            self.name,
            json!(self.cmd),
            json!(args),
            self.keys.replace("DIR", &dir)
        )
    }
}

/// A directory that goes with its owner.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("muxloop-mux-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `muxloop -c mux.toml`, running. Its end is a SIGTERM; a test that has not failed then also checks that
/// muxloop did not panic.
pub struct Mux {
    pub dir: Arc<Scratch>,
    pub pid: i32,
    child: Child,
    log: Arc<Log>,
}

impl Mux {
    pub fn start(servers: &[Server]) -> Mux {
        Mux::start_in(Arc::new(Scratch::new()), servers)
    }

    /// One demo server, `a`.
    pub fn demo(options: &[&str], keys: &str) -> Mux {
        Mux::start(&[Server::demo("a", options).keys(keys)])
    }

    pub fn start_in(dir: Arc<Scratch>, servers: &[Server]) -> Mux {
        let text: String = servers.iter().map(|server| server.toml(&dir.0)).collect();
        fs::write(dir.0.join("mux.toml"), text).unwrap();
        let mux = Mux::run(dir, &["-c", "mux.toml", "--log-level", "debug"], |_| {});
        mux.wait_logs(servers.len(), "listening on");
        mux
    }

    /// Starts the binary with these arguments in `dir` and waits for nothing.
    pub fn run(dir: Arc<Scratch>, args: &[&str], adjust: impl FnOnce(&mut Command)) -> Mux {
        let mut command = command(&dir.0);
        command.args(args);
        adjust(&mut command);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the built binary starts");
        let log = Arc::new(Log::default());
        let (lines, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            stderr.split(b'\n').map_while(Result::ok).for_each(|line| lines.add(&line));
            lines.close();
        });
        Mux { dir, pid: child.id() as i32, child, log }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.0.join(name)
    }

    pub fn socket(&self, server: &str) -> PathBuf {
        self.path(&format!("{server}.sock"))
    }

    /// A connection to a server that has said nothing yet.
    pub fn connect(&self, server: &str) -> Client {
        Client::connect(&self.socket(server))
    }

    /// A client of server `a` after its handshake, without capabilities.
    pub fn client(&self) -> Client {
        self.client_of("a", json!({}))
    }

    /// A client after its handshake.
    pub fn client_of(&self, server: &str, capabilities: Value) -> Client {
        let mut client = self.connect(server);
        client.greet(capabilities);
        client
    }

    /// What the processes of a demo server received so far, line by line. A line is here before the demo
    /// server acts on it, so an answer tells that everything up to its request can be read.
    pub fn journal(&self, server: &str) -> Vec<Value> {
        let text = self.raw_journal(server);
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap_or(Value::Null)).collect()
    }

    pub fn raw_journal(&self, server: &str) -> Vec<u8> {
        fs::read(self.path(&format!("{server}.journal"))).unwrap_or_default()
    }

    /// The methods of the journal in their order, `-` for answers.
    pub fn methods(&self, server: &str) -> Vec<String> {
        let name = |message: &Value| message["method"].as_str().unwrap_or("-").to_owned();
        self.journal(server).iter().map(name).collect()
    }

    /// Waits until so many log lines contain `needle`; the last of them.
    pub fn wait_logs(&self, count: usize, needle: &str) -> String {
        self.log.wait(count, needle)
    }

    pub fn wait_log(&self, needle: &str) -> String {
        self.wait_logs(1, needle)
    }

    /// So many log lines contain `needle`, and no more: waits for them, as the log comes through a pipe.
    #[track_caller]
    pub fn assert_logged(&self, count: usize, needle: &str) {
        if count > 0 {
            self.wait_logs(count, needle);
        }
        assert_eq!(self.logged(needle), count, "{needle}: {}", self.log());
    }

    /// How many log lines contain `needle` so far.
    pub fn logged(&self, needle: &str) -> usize {
        self.log.lines.lock().unwrap().0.iter().filter(|line| line.contains(needle)).count()
    }

    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().0.join("\n")
    }

    pub fn signal(&self, signal: i32) {
        sys::signal_process(self.pid, signal).unwrap();
    }

    /// Waits for the end and for the last log line.
    pub fn ended(&mut self) -> ExitStatus {
        let watched = Watched::new(self.pid);
        watched.assert_ends();
        self.log.wait_end();
        self.child.wait().unwrap()
    }

    /// SIGTERM, and the graceful end that must follow.
    pub fn stop(&mut self) {
        self.signal(libc::SIGTERM);
        let status = self.ended();
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let watched = Watched::new(self.pid);
            self.signal(libc::SIGTERM);
            if !watched.ends_within(Duration::from_secs(10)) {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
        self.log.wait_end();
        let log = self.log();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- the end of muxloop's log\n{}\n---", tail.join("\n"));
        } else {
            assert!(!log.contains("panicked at"), "muxloop panicked:\n{log}");
        }
    }
}

/// The binary in `dir`, with nothing of the user's in its environment.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().env("HOME", dir).current_dir(dir);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The lines of a stderr, and whether it has ended.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Log {
    fn add(&self, line: &[u8]) {
        self.lines.lock().unwrap().0.push(String::from_utf8_lossy(line).into_owned());
        self.changed.notify_all();
    }

    fn close(&self) {
        self.lines.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn wait(&self, count: usize, needle: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.0.iter().filter(|line| line.contains(needle)).nth(count - 1) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.1 {
                let text = lines.0.join("\n");
                drop(lines);
                panic!("not logged {count} times: {needle}\n{text}");
            }
            lines = self.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn wait_end(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.lines.lock().unwrap();
        while !lines.1 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            lines = self.changed.wait_timeout(lines, left).unwrap().0;
        }
    }
}
