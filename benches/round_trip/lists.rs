//! `cargo bench --bench round_trip -- --lists`: the endpoint of all servers with 50 of them, 40 tools each.
//!
//! How long the first `tools/list` takes while all servers run but nothing is known of them, and what each of
//! the next ones costs: time, CPU of muxloop, and its memory. A list is all its pages, over HTTP on one
//! connection. The servers are echo servers (`echo.rs`), whose tools are described at usual length.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::compare::median;
use crate::load::Failure;
use crate::processes::{Process, Scratch, cpu_ns, last_words, rss_kib};
use crate::relays::{Binaries, mux_config};

pub const SERVERS: usize = 50;
pub const TOOLS: usize = 40;
const LISTS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

/// What was measured.
struct Figures {
    bytes: usize,
    first_ms: f64,
    next_ms: f64,
    next_cpu_ms: f64,
    rss_kib: [u64; 3],
}

/// Measures and prints. Each list is checked to have all tools.
pub fn run() -> Result<bool, Failure> {
    let binaries = Binaries::find();
    println!("muxloop is {}", crate::shown(&binaries.muxloop));
    println!("{SERVERS} servers of {TOOLS} tools; each of the next {LISTS} lists: medians, CPU their mean\n");
    println!(
        "servers         MiB   first ms   next ms   CPU ms   RSS MiB before, after the first, at the end"
    );
    for announces in [true, false] {
        let figures = measure(&binaries, SERVERS, announces)?;
        let [before, after, later] = figures.rss_kib.map(|kib| kib as f64 / 1024.0);
        println!(
            "{:<12} {:>6.1} {:>10.1} {:>9.2} {:>8.2} {before:>9.1} {after:.1} {later:.1}",
            if announces { "announce" } else { "are asked" },
            figures.bytes as f64 / f64::from(1 << 20),
            figures.first_ms,
            figures.next_ms,
            figures.next_cpu_ms,
        );
    }
    Ok(true)
}

/// `announces`: whether the servers would announce changes of their lists; if not, each list asks them all.
fn measure(binaries: &Binaries, servers: usize, announces: bool) -> Result<Figures, Failure> {
    let scratch = Scratch::new()?;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let names: Vec<String> = (0..servers).map(|n| format!("server{n:02}")).collect();
    let sockets: Vec<_> =
        names.iter().map(|name| (name.as_str(), scratch.path().join(format!("{name}.sock")))).collect();
    let tools = TOOLS.to_string();
    let own = std::env::current_exe()?;
    let mut args = vec!["--echo", "--tools", &tools];
    args.extend(announces.then_some("--announces"));
    let config = mux_config(&sockets, &own, &args, 8, 1 << 20, false);
    let path = scratch.path().join("mux.toml");
    fs::write(&path, format!("http = \"{address}\"\n[gateway]\nlist_timeout_ms = 60000\n{config}"))?;
    let log = scratch.path().join("stderr.log");
    let mut command = Command::new(&binaries.muxloop);
    command.arg("-c").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
    command.env("HOME", scratch.path()).env("XDG_RUNTIME_DIR", scratch.path()).env("RUST_LOG", "info");
    command.env("XDG_CACHE_HOME", scratch.path().join("cache"));
    let process = Process::spawn(&mut command)?;
    let pid = process.pid();
    await_servers(&log, servers)?;
    let run = || {
        let mut client = Client::new(address)?;
        let before = rss_kib(pid);
        let started = Instant::now();
        let bytes = client.list(servers * TOOLS)?;
        let first_ms = started.elapsed().as_secs_f64() * 1e3;
        let after = rss_kib(pid);
        let cpu = cpu_ns(pid);
        let mut each_ms = Vec::new();
        for _ in 0..LISTS {
            let started = Instant::now();
            client.list(servers * TOOLS)?;
            each_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let next_cpu_ms = cpu_ns(pid).saturating_sub(cpu) as f64 / 1e6 / LISTS as f64;
        Ok(Figures {
            bytes,
            first_ms,
            next_ms: median(each_ms),
            next_cpu_ms,
            rss_kib: [before, after, rss_kib(pid)],
        })
    };
    run().map_err(|failure: Failure| Failure(format!("{failure}; muxloop said: {}", last_words(&log))))
}

/// Waits until all servers have shaken hands, so that a list does not wait for their start.
fn await_servers(log: &std::path::Path, servers: usize) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        let said = fs::read(log).unwrap_or_default();
        if memmem::find_iter(&said, b": ready").count() >= servers {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Failure(format!("not all servers are ready; muxloop said: {}", last_words(log))));
        }
        // Only the log tells.
        thread::sleep(Duration::from_millis(10));
    }
}

/// A client of 2026-07-28, which needs neither handshake nor session.
struct Client {
    stream: TcpStream,
    address: SocketAddr,
}

impl Client {
    fn new(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, address })
    }

    /// All pages of `tools/list`, which must have so many tools: their length in bytes.
    fn list(&mut self, tools: usize) -> Result<usize, Failure> {
        let (mut count, mut bytes, mut cursor) = (0, 0, String::new());
        loop {
            let answer = self.ask(&cursor)?;
            count += memmem::find_iter(&answer, b"\"inputSchema\":").count();
            bytes += answer.len();
            let key = b"\"nextCursor\":\"";
            let Some(at) = memmem::find(&answer, key) else { break };
            let rest = &answer[at + key.len()..];
            let end = memchr::memchr(b'"', rest).ok_or_else(|| Failure("half a cursor".into()))?;
            cursor = format!("\"cursor\":\"{}\",", String::from_utf8_lossy(&rest[..end]));
        }
        if count == tools { Ok(bytes) } else { Err(Failure(format!("{count} tools instead of {tools}"))) }
    }

    fn ask(&mut self, cursor: &str) -> Result<Vec<u8>, Failure> {
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{{{cursor}\"_meta\":{{\
             \"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
             \"io.modelcontextprotocol/clientInfo\":{{\"name\":\"bench\",\"version\":\"1\"}},\
             \"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}"
        );
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/list\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.stream.write_all((head + &body).as_bytes())?;
        let mut inbox = Vec::new();
        let mut part = vec![0; 64 << 10];
        loop {
            if let Some(answer) = crate::http::whole_message(&inbox)? {
                return Ok(answer);
            }
            match self.stream.read(&mut part)? {
                0 => return Err(Failure("the connection was closed in front of an answer".into())),
                len => inbox.extend_from_slice(&part[..len]),
            }
        }
    }
}

/// Run by the self test: all tools of a few servers are counted.
pub fn self_test() -> Result<(), Failure> {
    if cfg!(all(feature = "http", feature = "gateway")) {
        let muxloop = env!("CARGO_BIN_EXE_muxloop").into();
        let binaries = Binaries { muxloop, ..Binaries::find() };
        for announces in [true, false] {
            let figures = measure(&binaries, 3, announces)?;
            assert!(figures.bytes > 3 * TOOLS * 100 && figures.first_ms > 0.0, "nothing was measured");
        }
    }
    Ok(())
}
