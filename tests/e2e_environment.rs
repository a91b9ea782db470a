//! Options of the built binary by environment (A11): a flag goes before a variable, that before the file, the
//! file before the default. That every option has a variable is shown in `src/cli/parse/tests.rs`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MUXLOOP: &str = env!("CARGO_BIN_EXE_muxloop");

/// An empty directory that is gone at the end of the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("muxloop-env-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// The binary with a home of its own and these variables only.
    fn muxloop(&self, args: &str, env: &[(&str, &str)]) -> Command {
        let mut command = Command::new(MUXLOOP);
        command.args(args.split_whitespace()).current_dir(&self.0).env_clear().env("HOME", &self.0);
        command.envs(env.iter().copied()).stdin(Stdio::null());
        command
    }

    /// Exit code, and both outputs as one text.
    fn run(&self, args: &str, env: &[(&str, &str)]) -> (Option<i32>, String) {
        let output = self.muxloop(args, env).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SERVER: &str = "[servers.a]\ncmd = \"x\"\nsocket = \"a.sock\"\n";

#[test]
fn the_configuration() {
    let dir = Dir::new("config");
    for name in ["mux.toml", "variable.toml", "flag.toml"] {
        dir.write(name, SERVER);
    }
    let variable = [("MUXLOOP_CONFIG", "variable.toml")];
    let first_line = |args, env| dir.run(args, env).1.lines().next().unwrap_or_default().to_owned();
    assert_eq!(first_line("check -c flag.toml", &variable), "flag.toml: ok, 1 server");
    assert_eq!(first_line("check", &variable), "variable.toml: ok, 1 server");
    assert_eq!(first_line("check", &[]), "mux.toml: ok, 1 server");
}

#[test]
fn the_level_of_the_log() {
    let dir = Dir::new("level");
    // The second socket cannot be had, so that muxloop ends once it has logged something of each level.
    let impossible = "[servers.b]\ncmd = \"x\"\nsocket = \"/dev/null/b.sock\"\n";
    let levels = |args: &str, env: &[(&str, &str)]| {
        let (code, text) = dir.run(args, env);
        assert_eq!(code, Some(1), "{text}");
        ["ERROR", "INFO", "TRACE"].map(|level| text.contains(&format!("Z {level}")))
    };
    let (error, info, trace) = ([true, false, false], [true, true, false], [true, true, true]);
    dir.write("mux.toml", &format!("{SERVER}{impossible}"));
    assert_eq!(levels("run", &[]), info, "the default");
    dir.write("mux.toml", &format!("log_level = \"error\"\n{SERVER}{impossible}"));
    assert_eq!(levels("run", &[]), error, "the file");
    assert_eq!(levels("run", &[("MUXLOOP_LOG", "trace")]), trace, "the variable");
    assert_eq!(levels("run", &[("RUST_LOG", "info")]), info, "before the file");
    let both = [("MUXLOOP_LOG", "trace"), ("RUST_LOG", "error"), ("MUXLOOP_VERBOSE", "1")];
    assert_eq!(levels("run", &both), trace, "after the variable");
    assert_eq!(levels("run --log-level info", &both), info, "the flag");
}

#[test]
fn the_control_socket() {
    let dir = Dir::new("control");
    let asks = |args: &str, env: &[(&str, &str)], at: &str| {
        let (code, text) = dir.run(args, env);
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains(at), "expected {at}: {text}");
    };
    let variable = [("MUXLOOP_CONTROL", "variable.sock")];
    dir.write("mux.toml", SERVER);
    asks("status", &[], ".muxloop/run/mux-");
    dir.write("mux.toml", &format!("control = \"file.sock\"\n{SERVER}"));
    asks("status", &[], "/file.sock");
    asks("status", &variable, "variable.sock");
    asks("status --control flag.sock", &variable, "flag.sock");
    // The words instead of a command, by their variables.
    asks("", &[("MUXLOOP_STATUS", "true"), variable[0]], "variable.sock");
    asks("", &[("MUXLOOP_RESTART_SERVICE", "a"), variable[0]], "variable.sock");
    let (code, text) = dir.run("status", &[("MUXLOOP_WATCH", "perhaps")]);
    assert_eq!(code, Some(2));
    assert!(
        text.starts_with("muxloop: status: $MUXLOOP_WATCH is 'perhaps', expected true or false\n"),
        "{text}"
    );
}

#[test]
fn the_socket_and_the_wait_of_the_shim() {
    let dir = Dir::new("shim");
    let nobody = |args: &str, env: &[(&str, &str)], at: &str| {
        let (code, text) = dir.run(args, env);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(&format!("nobody listens at {at} ")), "{text}");
    };
    let long = ("MUXLOOP_WAIT", "600000");
    nobody("proxy", &[("MUXLOOP_SOCKET", "variable.sock")], "variable.sock");
    // Ten minutes that the flag takes back, so that this ends at all.
    nobody("proxy -s flag.sock --wait 0", &[("MUXLOOP_SOCKET", "variable.sock"), long], "flag.sock");
    let (code, text) = dir.run("proxy -s a", &[("MUXLOOP_WAIT", "soon")]);
    assert_eq!(code, Some(2));
    assert!(text.starts_with("muxloop: proxy: $MUXLOOP_WAIT is 'soon', expected milliseconds"), "{text}");
    let begun = Instant::now();
    nobody("proxy", &[("MUXLOOP_SOCKET", "variable.sock"), ("MUXLOOP_WAIT", "400")], "variable.sock");
    assert!(begun.elapsed() >= Duration::from_millis(400), "it waited {:?} only", begun.elapsed());
}
