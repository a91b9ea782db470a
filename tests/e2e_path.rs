//! `path`: the daemon asks a login shell, a false one here, and says what it searched.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A running muxloop in a directory of its own.
struct Subject {
    dir: PathBuf,
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Subject {
    /// Runs one server, `no-such-thing` unless the configuration says otherwise, under this shell script.
    fn start(name: &str, shell: &str, keys: &str) -> Subject {
        let dir = std::env::temp_dir().join(format!("muxloop-path-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("bin")).unwrap();
        let script = |path: &str, text: &str| {
            fs::write(dir.join(path), text).unwrap();
            fs::set_permissions(dir.join(path), fs::Permissions::from_mode(0o755)).unwrap();
        };
        script("shell", shell);
        script("bin/only-here", "#!/bin/sh\necho \"found with $PATH\" >&2\nexec cat >/dev/null\n");
        fs::write(
            dir.join("mux.toml"),
            format!("control = \"off\"\n[servers.s]\nsocket = \"s.sock\"\n{keys}"),
        )
        .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_muxloop"));
        command.args(["-c", "mux.toml"]).current_dir(&dir).env_clear().env("HOME", &dir);
        command.env("SHELL", dir.join("shell")).env("PATH", "/usr/bin:/bin").env("MUXLOOP_LOG", "debug");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        Subject { dir, child, log }
    }

    /// The next log line with this in it.
    fn line(&self, part: &str) -> String {
        let until = Instant::now() + Duration::from_secs(30);
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with '{part}': {error}; seen: {seen:#?}"),
            }
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn the_login_shells_path_finds_the_command_and_reaches_it() {
    let shell =
        "#!/bin/sh\necho 'Welcome, PATH=/wrong'\nPATH=$HOME/bin:/usr/bin:/bin\neval \"$2\"\necho bye\n";
    let subject = Subject::start("login", shell, "cmd = \"only-here\"\npath = \"login\"\n");
    let bin = subject.dir.join("bin");
    subject.line(&format!("found with {}:/usr/bin:/bin", bin.display()));
}

#[test]
fn a_literal_path_does_as_well_and_is_told_when_nothing_is_there() {
    let subject = Subject::start("these", "", "cmd = \"only-here\"\npath = \"~/bin:/usr/bin:/bin\"\n");
    subject.line("found with ");
    let subject = Subject::start("missing", "", "cmd = \"no-such-thing\"\npath = \"/a:/b\"\n");
    subject.line("no such command; searched the server's PATH: /a:/b");
}

#[test]
fn a_shell_that_hangs_is_given_up_and_muxloops_own_path_is_searched() {
    let subject =
        Subject::start("hang", "#!/bin/sh\nexec sleep 600\n", "cmd = \"no-such-thing\"\npath = \"login\"\n");
    subject.line("did not answer within 5000 ms; servers get muxloop's own PATH");
    subject.line("no such command; searched muxloop's PATH");
}

#[test]
fn a_reload_asks_again_while_nothing_is_known() {
    let shell = "#!/bin/sh\nPATH=$HOME/bin:/usr/bin:/bin\n[ -e \"$HOME/ready\" ] && eval \"$2\"\n";
    let subject = Subject::start("reload", shell, "cmd = \"only-here\"\npath = \"login\"\n");
    subject.line("did not tell its PATH; servers get muxloop's own PATH");
    subject.line("no such command; searched muxloop's PATH");
    fs::write(subject.dir.join("ready"), "").unwrap();
    let hangup = format!("kill -HUP {}", subject.child.id());
    assert!(Command::new("sh").args(["-c", &hangup]).status().unwrap().success());
    subject.line("reloaded: changed s");
    subject.line(&format!("found with {}", subject.dir.join("bin").display()));
}
