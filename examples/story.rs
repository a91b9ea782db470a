//! `make run`: two embedded servers, three clients through `muxloop proxy`, and what each of them got.
//!
//! Usage: `story PATH-TO-MUXLOOP`. Starts everything in a scratch folder and leaves nothing behind.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, error::Error, fs, process, thread};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let Some(muxloop) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: story PATH-TO-MUXLOOP");
        return ExitCode::from(2);
    };
    match tell(&muxloop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the story broke off: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole story, with this binary. (Tests tell it too.)
pub fn tell(muxloop: &Path) -> Result<()> {
    Stage::set(&fs::canonicalize(muxloop)?)?.play()
}

/// A running muxloop in a scratch folder; both end with it.
struct Stage {
    muxloop: PathBuf,
    folder: PathBuf,
    daemon: Child,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The polite way out, so that muxloop ends its servers; the hard way if it does not go.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.daemon.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Stage {
    fn set(muxloop: &Path) -> Result<Stage> {
        let folder = env::temp_dir().join(format!("muxloop-story-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let config = folder.join("mux.toml");
        let mut text = String::new();
        for name in SERVERS {
            text += &format!(
                "[servers.{name}]\nsocket = {:?}\ncmd = {:?}\nargs = [\"demo-server\", \"--era\", \"legacy\", \"--name\", {name:?}]\n\n",
                folder.join(format!("{name}.sock")),
                muxloop
            );
        }
        fs::write(&config, &text)?;
        println!("The configuration, two servers that are built into muxloop:\n");
        text.lines().for_each(|line| println!("    {line}"));
        let log = fs::File::create(folder.join("muxloop.log"))?;
        let daemon = Command::new(muxloop).arg("-c").arg(&config).stdin(Stdio::null()).stderr(log).spawn()?;
        println!("started: muxloop -c mux.toml (pid {})", daemon.id());
        let stage = Stage { muxloop: muxloop.to_owned(), folder, daemon };
        for name in SERVERS {
            let deadline = Instant::now() + Duration::from_secs(10);
            while UnixStream::connect(stage.socket(name)).is_err() {
                if Instant::now() > deadline {
                    return Err(format!("nobody listens on {}", stage.socket(name).display()).into());
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(stage)
    }

    fn socket(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.sock"))
    }

    fn play(&self) -> Result<()> {
        println!(
            "\nThree clients connect, each by its own `muxloop proxy --socket P`, as a host would start it:\n"
        );
        let mut clients = Vec::new();
        for (name, server) in [("Ada", "notes"), ("Bob", "notes"), ("Eve", "tools")] {
            let mut client = Client::start(&self.muxloop, &self.socket(server))?;
            let hello = client.ask(json!({"method": "initialize", "id": 1, "params": {
                "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}}))?;
            client.tell(json!({"method": "notifications/initialized"}))?;
            let server_name = &hello["result"]["serverInfo"]["name"];
            println!(
                "  {name}: initialize answered by {server_name}, protocol {}",
                hello["result"]["protocolVersion"]
            );
            clients.push((name, server, client));
        }
        println!("\nAll three now send the same request id, 7, at once:\n");
        for (name, _, client) in &mut clients {
            let text = format!("for {name} only");
            client.tell(json!({"method": "tools/call", "id": 7, "params": {"name": "echo", "arguments": {"text": text}}}))?;
        }
        for (name, _, client) in &mut clients {
            let answer = client.answer(&json!(7))?;
            println!("  {name} got: {}", answer["result"]["content"][0]["text"]);
            if answer["result"]["content"][0]["text"] != format!("for {name} only") {
                return Err(format!("{name} got an answer that was not meant for it").into());
            }
        }
        println!("\nWho served them?\n");
        let mut seen = Vec::new();
        for (name, server, client) in &mut clients {
            let answer = client.ask(
                json!({"method": "tools/call", "id": 8, "params": {"name": "whoami", "arguments": {}}}),
            )?;
            let me = &answer["result"]["structuredContent"];
            println!(
                "  {name}: server '{server}', pid {}, {} handshake in its life",
                me["pid"], me["initializeCount"]
            );
            seen.push((*server, me["pid"].as_u64(), me["initializeCount"].as_u64()));
        }
        if seen[0] != seen[1] || seen[0].1 == seen[2].1 || seen.iter().any(|one| one.2 != Some(1)) {
            return Err("two clients of one server must share one process with one handshake".into());
        }
        println!("\nAda and Bob shared one process with one handshake; every answer went to its own asker.");
        println!("\nTo use it with a real host, put your servers into a mux.toml (see examples/), run");
        println!("`muxloop -c mux.toml`, and give the host this instead of each server's command:\n");
        println!(
            "    {}",
            json!({"mcpServers": {"notes": {"command": "muxloop", "args": ["proxy", "--socket", "~/mcp/notes.sock"]}}})
        );
        println!("\nStopping: muxloop ends its servers and removes its sockets.");
        Ok(())
    }
}

/// One client behind a `muxloop proxy` of its own.
struct Client {
    shim: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(muxloop: &Path, socket: &Path) -> Result<Client> {
        let mut shim = Command::new(muxloop)
            .args(["proxy", "--socket"])
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = shim.stdin.take();
        let output = BufReader::new(shim.stdout.take().ok_or("the shim has no output")?);
        Ok(Client { shim, input, output })
    }

    fn tell(&mut self, mut message: Value) -> Result<()> {
        message["jsonrpc"] = "2.0".into();
        writeln!(self.input.as_mut().ok_or("the shim has no input")?, "{message}")?;
        Ok(())
    }

    fn ask(&mut self, message: Value) -> Result<Value> {
        let id = message["id"].clone();
        self.tell(message)?;
        self.answer(&id)
    }

    /// The answer with this id; whatever else arrives before it is passed over.
    fn answer(&mut self, id: &Value) -> Result<Value> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err("the connection ended before the answer".into());
            }
            let message: Value = serde_json::from_str(&line)?;
            if message["id"] == *id {
                return Ok(message);
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // End of input is how a host says goodbye.
        self.input = None;
        let _ = self.shim.wait();
    }
}

const SERVERS: [&str; 2] = ["notes", "tools"];
