//! The bench tests itself: its checks must be able to fail, its parts must fit together, and the echo
//! server must be fast enough not to be what is measured.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::compare::{Comparison, Effort};
use crate::load::Failure;
use crate::payload::{Payload, Shape, Timing};
use crate::processes::{Process, catch_interrupts, cpu_ns, own_binary};
use crate::relays::{Binaries, Relay};
use crate::{histogram, http, lists, load, payload};

/// Panics or returns a failure if a part is broken. Takes about a second.
pub fn run() -> Result<(), Failure> {
    histogram::self_test();
    payload::self_test();
    load::self_test();
    catch_interrupts()?;
    let timing = Timing { warm_up: Duration::from_millis(10), window: Duration::from_millis(30) };
    let effort = Effort { rounds: 1, timing };
    for (clients, in_flight, bytes, idle) in
        [(8, 8, 200, 0), (2, 2, 100_000, 0), (1, 1, 5_000_000, 0), (4, 1, 200, 100)]
    {
        let shape = Shape { clients, in_flight, bytes, idle, one_cpu: clients == 1 };
        let relays = [Relay::Direct, Relay::Floor];
        for entry in Comparison::run(shape, &relays, effort, &Binaries::find()).entries {
            let rounds = entry.rounds.map_err(|failure| Failure(format!("{shape}: {failure}")))?;
            let figures = rounds[0];
            assert!(figures.requests_per_s > 0.0 && figures.p50_us > 0.0, "{shape} measured nothing");
            assert_eq!(figures.cpu_us.is_some(), entry.relay != Relay::Direct);
        }
    }
    http::self_test()?;
    lists::self_test()?;
    println!("round_trip: self test passed");
    Ok(())
}

/// Pushes requests of 200 bytes through the echo server as fast as it takes them. A line that says
/// how many it answers per second, by the clock and by its CPU time.
pub fn echo_rate() -> Result<String, Failure> {
    const REQUESTS: usize = 500_000;
    let mut batch = Vec::new();
    let payload = Payload::new(200, 0);
    for id in 1000..2000 {
        payload.write_request(&mut batch, 0, id);
    }
    let mut server = Process::spawn(&mut own_binary(&["--echo"])?)?;
    let mut input = server.child().stdin.take().expect("stdin is piped");
    let mut output = server.child().stdout.take().expect("stdout is piped");
    crate::sys::widen_pipe(&input);
    crate::sys::widen_pipe(&output);
    let start = Instant::now();
    let writer = thread::spawn(move || {
        for _ in 0..REQUESTS / 1000 {
            input.write_all(&batch)?;
        }
        // The server ends with its input, and its CPU time with it: keep it until all is read.
        Ok::<_, std::io::Error>(input)
    });
    let (mut answers, mut buffer) = (0, vec![0; 1 << 18]);
    while answers < REQUESTS {
        let count = output.read(&mut buffer)?;
        if count == 0 {
            return Err(Failure("the echo server ended early".into()));
        }
        answers += memchr::memchr_iter(b'\n', &buffer[..count]).count();
    }
    let elapsed = start.elapsed().as_secs_f64();
    let cpu_s = cpu_ns(server.pid()) as f64 / 1e9;
    let _input = writer.join().map_err(|_| Failure("the writer panicked".into()))??;
    let rate = |seconds: f64| REQUESTS as f64 / seconds / 1e6;
    Ok(format!(
        "echo server: {:.1} M requests of 200 bytes per second, {:.1} M per second of its CPU time\n",
        rate(elapsed),
        rate(cpu_s)
    ))
}
