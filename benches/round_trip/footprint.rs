//! What muxloop costs while it does nothing (M04) and what its shim costs (M05): memory with three
//! servers and no client, memory per idle client, wake-ups, memory and start time of `proxy`, size of
//! the binary. rmcp-mux, if installed, is measured the same way beside it: it reads the same config.
//!
//! Resident memory (`Rss` of smaps) counts pages of the binary that are shared with other processes;
//! private dirty memory is what one more process really costs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::compare::median;
use crate::load::{self, End, Failure, Moment, Plan};
use crate::payload::{INITIALIZE, Shape, Timing};
use crate::processes::{
    Process, Scratch, interrupted, last_words, private_dirty_kib, rss_kib, thread_count, voluntary_switches,
};
use crate::relays::{Binaries, Relay, listening, mux_config};
use crate::report::{Target, Verdict, verdict_table};

const SERVERS: usize = 3;
const IDLE_CLIENTS: usize = 1000;
const PROXY_STARTS: usize = 50;
const WATCH: Duration = Duration::from_secs(5);

/// Measures, prints, and writes the figures to `json` if given. False if something failed.
pub fn run(json: Option<&Path>) -> Result<bool, Failure> {
    let binaries = Binaries::find();
    let mut subjects = vec![Subject {
        relay: Relay::Muxloop,
        binary: binaries.muxloop.clone(),
        config_flag: "-c",
        proxy: (binaries.muxloop.clone(), &["proxy"]),
    }];
    let shim = binaries.rmcp_mux.with_file_name("rmcp-mux-proxy");
    if binaries.rmcp_mux.is_file() && shim.is_file() {
        let binary = binaries.rmcp_mux;
        subjects.push(Subject { relay: Relay::RmcpMux, binary, config_flag: "--config", proxy: (shim, &[]) });
    } else {
        println!("rmcp-mux is left out: it is not in .bench (make bench installs it)");
    }
    let measured: Vec<_> = subjects.iter().map(|subject| (subject.relay, subject.measure())).collect();
    if interrupted() {
        return Err(Failure("interrupted".into()));
    }
    for (relay, figures) in &measured {
        match figures {
            Ok(figures) => print!("{}", figures.table(*relay)),
            Err(failure) => println!("{relay} FAILED: {failure}"),
        }
    }
    let muxloop = measured[0].1.as_ref().ok();
    let verdicts = verdicts(muxloop);
    print!("{}", verdict_table(&verdicts));
    if let Some(path) = json {
        let relays = measured.iter().map(|(relay, figures)| match figures {
            Ok(figures) => figures.to_json(*relay),
            Err(failure) => json!({ "relay": relay.name(), "failure": failure.0 }),
        });
        let value = json!({
            "relays": relays.collect::<Vec<_>>(),
            "verdicts": verdicts.iter().map(Verdict::to_json).collect::<Vec<_>>(),
        });
        fs::write(path, format!("{value:#}\n"))?;
    }
    Ok(measured.iter().all(|(_, figures)| figures.is_ok()))
}

fn verdicts(figures: Option<&Footprint>) -> Vec<Verdict> {
    let of = |field: fn(&Footprint) -> f64| figures.map(field);
    let at_most = Target::AtMost;
    vec![
        Verdict::new(
            "M04",
            "RSS with 3 servers and no client, MiB",
            of(|f| f.idle.rss_kib / 1024.0),
            at_most(2.0),
        ),
        Verdict::new("M04", "RSS per idle Unix client, KiB", of(|f| f.client_rss_kib), at_most(8.0)),
        Verdict::new("M04", "wake-ups in 5 s idle, heartbeat off", of(|f| f.wakeups as f64), at_most(0.0)),
        Verdict::new("M05", "RSS of `muxloop proxy`, MiB", of(|f| f.proxy.rss_kib / 1024.0), at_most(1.0)),
        Verdict::new(
            "M05",
            "start of `muxloop proxy` to first answer, ms",
            of(|f| f.proxy_start_ms),
            at_most(5.0),
        ),
        Verdict::new("M05", "size of the binary measured, MiB", of(|f| f.binary_kib / 1024.0), at_most(1.5)),
    ]
}

/// A multiplexer to measure.
struct Subject {
    relay: Relay,
    binary: PathBuf,
    config_flag: &'static str,
    /// The shim and its arguments before `--socket`.
    proxy: (PathBuf, &'static [&'static str]),
}

#[derive(Clone, Copy)]
struct Memory {
    rss_kib: f64,
    private_dirty_kib: f64,
}

struct Footprint {
    idle: Memory,
    threads: usize,
    client_rss_kib: f64,
    client_dirty_kib: f64,
    /// In [`WATCH`], without and with a heartbeat of one second on each server.
    wakeups: u64,
    wakeups_with_heartbeat: u64,
    proxy: Memory,
    proxy_start_ms: f64,
    binary_kib: f64,
}

impl Memory {
    fn of(pid: u32) -> Self {
        Self { rss_kib: rss_kib(pid) as f64, private_dirty_kib: private_dirty_kib(pid) as f64 }
    }
}

impl Subject {
    fn measure(&self) -> Result<Footprint, Failure> {
        let daemon = self.start(false)?;
        let pid = daemon.process.pid();
        let idle = Memory::of(pid);
        let wakeups = wakeups(pid);
        let threads = thread_count(pid);
        let crowded = self.crowd(&daemon)?;
        let (proxy, proxy_start_ms) = self.proxy(&daemon)?;
        drop(daemon);
        let beating = self.start(true)?;
        let per_client = |crowded: f64, idle: f64| (crowded - idle).max(0.0) / (IDLE_CLIENTS + 1) as f64;
        Ok(Footprint {
            idle,
            threads,
            client_rss_kib: per_client(crowded.rss_kib, idle.rss_kib),
            client_dirty_kib: per_client(crowded.private_dirty_kib, idle.private_dirty_kib),
            wakeups,
            wakeups_with_heartbeat: self::wakeups(beating.process.pid()),
            proxy,
            proxy_start_ms,
            binary_kib: fs::metadata(&self.binary)?.len() as f64 / 1024.0,
        })
    }

    /// The multiplexer in front of three echo servers, up and settled.
    fn start(&self, heartbeat: bool) -> Result<Daemon, Failure> {
        let scratch = Scratch::new()?;
        let sockets = ["one", "two", "three"].map(|name| (name, scratch.path().join(name)));
        assert_eq!(sockets.len(), SERVERS);
        let config = scratch.path().join("mux.toml");
        let own = std::env::current_exe()?;
        fs::write(&config, mux_config(&sockets, &own, &["--echo"], IDLE_CLIENTS + 8, 1 << 20, heartbeat))?;
        let log = scratch.path().join("stderr.log");
        let mut command = Command::new(&self.binary);
        command.arg(self.config_flag).arg(config);
        command.env("HOME", scratch.path()).env("XDG_RUNTIME_DIR", scratch.path()).env("RUST_LOG", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut daemon = Daemon { process: Process::spawn(&mut command)?, sockets: Vec::new(), scratch };
        for (_, socket) in sockets {
            listening(&socket, &mut daemon.process)
                .map_err(|why| Failure(format!("{} {why}; it said: {}", self.relay, last_words(&log))))?;
            daemon.sockets.push(socket);
        }
        settle(daemon.process.pid());
        Ok(daemon)
    }

    /// Memory with a thousand clients that shook hands and are silent.
    fn crowd(&self, daemon: &Daemon) -> Result<Memory, Failure> {
        let shape = Shape { clients: 1, in_flight: 1, bytes: 200, idle: IDLE_CLIENTS, one_cpu: false };
        let ends = (0..=IDLE_CLIENTS).map(|_| End::socket(&daemon.sockets[0]));
        let ends = ends.collect::<Result<Vec<_>, _>>()?;
        let timing = Timing { warm_up: Duration::from_millis(10), window: Duration::from_millis(10) };
        let mut memory = None;
        load::run(ends, Plan::timed(shape, timing), |moment| {
            if moment == Moment::WindowEnds {
                memory = Some(Memory::of(daemon.process.pid()));
            }
        })?;
        memory.ok_or_else(|| Failure("the load had no window".into()))
    }

    /// Memory of the shim, and the median time from its start to the first answer to `initialize`, in ms.
    fn proxy(&self, daemon: &Daemon) -> Result<(Memory, f64), Failure> {
        let mut starts_ms = Vec::new();
        let mut memory = None;
        for start in 1..=PROXY_STARTS {
            let is_last = start == PROXY_STARTS;
            let mut command = Command::new(&self.proxy.0);
            command.args(self.proxy.1).arg("--socket").arg(&daemon.sockets[0]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let start = Instant::now();
            let mut shim = Process::spawn_fast(&mut command)?;
            let mut input = shim.child().stdin.take().expect("stdin is piped");
            let mut output = BufReader::new(shim.child().stdout.take().expect("stdout is piped"));
            input.write_all(INITIALIZE)?;
            let mut answer = String::new();
            output.read_line(&mut answer)?;
            starts_ms.push(start.elapsed().as_secs_f64() * 1e3);
            if !answer.contains("serverInfo") {
                return Err(Failure(format!("the shim of {} answered {answer:?}", self.relay)));
            }
            if is_last {
                settle(shim.pid());
                memory = Some(Memory::of(shim.pid()));
            }
        }
        Ok((memory.expect("the shim was started"), median(starts_ms)))
    }
}

/// A running multiplexer; the process goes before the folder its sockets are in.
struct Daemon {
    process: Process,
    sockets: Vec<PathBuf>,
    #[expect(dead_code, reason = "held for its drop")]
    scratch: Scratch,
}

impl Footprint {
    fn table(&self, relay: Relay) -> String {
        format!(
            "\n{relay}, {} threads\n\
             {SERVERS} servers, no client  {:>9.0} KiB resident {:>9.0} KiB private dirty\n\
             per idle client       {:>9.1} KiB resident {:>9.1} KiB private dirty\n\
             proxy                 {:>9.0} KiB resident {:>9.0} KiB private dirty\n\
             proxy to first answer {:>9.2} ms (median of {PROXY_STARTS})\n\
             wake-ups in {} s       {:>9} without heartbeat, {} with one per second and server\n\
             binary                {:>9.0} KiB\n",
            self.threads,
            self.idle.rss_kib,
            self.idle.private_dirty_kib,
            self.client_rss_kib,
            self.client_dirty_kib,
            self.proxy.rss_kib,
            self.proxy.private_dirty_kib,
            self.proxy_start_ms,
            WATCH.as_secs(),
            self.wakeups,
            self.wakeups_with_heartbeat,
            self.binary_kib,
        )
    }

    fn to_json(&self, relay: Relay) -> Value {
        json!({
            "relay": relay.name(),
            "threads": self.threads,
            "idle_rss_kib": self.idle.rss_kib,
            "idle_private_dirty_kib": self.idle.private_dirty_kib,
            "client_rss_kib": self.client_rss_kib,
            "client_private_dirty_kib": self.client_dirty_kib,
            "proxy_rss_kib": self.proxy.rss_kib,
            "proxy_private_dirty_kib": self.proxy.private_dirty_kib,
            "proxy_start_ms": self.proxy_start_ms,
            "wakeups_in_5_s": self.wakeups,
            "wakeups_in_5_s_with_heartbeat": self.wakeups_with_heartbeat,
            "binary_kib": self.binary_kib,
        })
    }
}

/// How often the threads of `pid` woke up during [`WATCH`].
fn wakeups(pid: u32) -> u64 {
    let before = voluntary_switches(pid);
    thread::sleep(WATCH);
    voluntary_switches(pid) - before
}

/// Waits until start-up is over: no wake-up for half a second, or five seconds at most.
fn settle(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut before = voluntary_switches(pid);
    while Instant::now() < deadline {
        thread::sleep(Duration::from_millis(500));
        let now = voluntary_switches(pid);
        if std::mem::replace(&mut before, now) == now {
            return;
        }
    }
}
