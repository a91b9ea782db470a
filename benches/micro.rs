//! Micro-benches of what each message passes: framer, scan, splice, timer wheel.
//!
//! `cargo bench --bench micro [-- WORD…]` runs those whose name holds one of the words. Each line is the
//! fastest of several rounds, since on a shared machine noise only ever adds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use muxloop::base::{RecvBuf, SendBuf, Time, TimerWheel};
use muxloop::codec::{Incoming, Line, LineFramer, Message, Value, batch};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let bench = Bench { words };
    println!("{:<34} {:>10} {:>12} {:>8}", "", "bytes", "ns each", "GB/s");
    scans(&bench);
    frames(&bench);
    splices(&bench);
    wheel(&bench);
}

struct Bench {
    words: Vec<String>,
}

impl Bench {
    const ROUNDS: usize = 12;
    const ROUND: Duration = Duration::from_millis(25);

    /// Times `f`, which handles `bytes` bytes (0: none to speak of) in `units` equal steps.
    fn run(&self, name: &str, bytes: usize, units: usize, mut f: impl FnMut()) {
        if !self.words.is_empty() && !self.words.iter().any(|word| name.contains(&word[..])) {
            return;
        }
        let started = Instant::now();
        let mut calls = 0;
        while calls == 0 || started.elapsed() < Self::ROUND {
            f();
            calls += 1;
        }
        let fastest = (0..Self::ROUNDS)
            .map(|_| {
                let started = Instant::now();
                for _ in 0..calls {
                    f();
                }
                started.elapsed()
            })
            .min()
            .expect("there are rounds");
        let ns = fastest.as_nanos() as f64 / (calls * units) as f64;
        if bytes == 0 {
            println!("{name:<34} {:>10} {ns:>12.1}", "");
        } else {
            println!("{name:<34} {bytes:>10} {ns:>12.1} {:>8.2}", bytes as f64 / ns / units as f64);
        }
    }
}

/// A `tools/call` of about 200 bytes.
fn request() -> String {
    let text = r#"{"jsonrpc":"2.0","id":1234,"method":"tools/call","params":{"name":"search_documents","arguments":{"query":"how do I rotate logs","limit":10,"exact":false},"_meta":{"progressToken":"tok-77","trace":"00"}}}"#;
    assert_eq!(text.len(), 204);
    text.to_owned()
}

/// The same call as a 2026-07-28 client writes it.
fn modern_request() -> String {
    request().replace(
        r#""trace":"00""#,
        r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}"#,
    )
}

fn response(result: &str) -> String {
    format!(r#"{{"result":{result},"jsonrpc":"2.0","id":4503599627370497}}"#)
}

fn text_result(text: &str) -> String {
    response(&format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#))
}

fn prose(len: usize) -> String {
    "The quick brown fox jumps over the lazy dog, then rests. ".chars().cycle().take(len).collect()
}

/// An array of records, as list tools answer.
fn records(len: usize) -> String {
    let mut out = "[".to_owned();
    let mut i = 0u64;
    while out.len() < len {
        let comma = if i == 0 { "" } else { "," };
        out += &format!(
            r#"{comma}{{"id":{},"name":"file-{i}.txt","size":{},"tags":["a","draft"],"ok":{},"score":{}.5,"parent":null}}"#,
            i * 7919,
            i * 104_729 % 65_537,
            i.is_multiple_of(3),
            i % 17
        );
        i += 1;
    }
    out + "]"
}

fn scans(bench: &Bench) {
    let in_string = |len| text_result(&records(len).replace('"', "\\\""));
    let twice_in_string = |len| text_result(&records(len).replace('"', r#"\\\""#));
    let pretty = |len| response(&records(len).replace(',', ",\n      ").replace(':', ": "));
    let umlauts = |len: usize| text_result(&"Übergrößenträger für Äpfel, ".repeat(len / 34));
    let cases = [
        ("scan request", request()),
        ("scan modern request", modern_request()),
        ("scan 4k text", text_result(&prose(4_000))),
        ("scan 4k structured", response(&records(4_000))),
        ("scan 100k text", text_result(&prose(100_000))),
        ("scan 100k lines (\\n)", text_result(&prose(100_000).replace("rests. ", "rests.\\n"))),
        ("scan 100k json in string (\\\")", in_string(80_000)),
        ("scan 100k json twice in string", twice_in_string(60_000)),
        ("scan 100k only escapes", text_result(&"\\n".repeat(50_000))),
        ("scan 100k \\u escapes", text_result(&"\\u00e9".repeat(17_000))),
        ("scan 100k umlauts", umlauts(100_000)),
        ("scan 100k structured", response(&records(100_000))),
        ("scan 100k pretty structured", pretty(60_000)),
        ("scan 5M text", text_result(&prose(5_000_000))),
        ("scan 5M json in string (\\\")", in_string(4_000_000)),
        ("scan 5M structured", response(&records(5_000_000))),
    ];
    for (name, text) in cases {
        bench.run(name, text.len(), 1, || {
            let incoming = Incoming::scan(black_box(text.as_bytes())).expect("well-formed");
            black_box(&incoming.envelope);
        });
    }
    let many = format!("[{}]", vec![request(); 100].join(","));
    bench.run("batch of 100 requests", many.len(), 1, || {
        black_box(batch::elements(black_box(many.as_bytes())).expect("well-formed"));
    });
}

fn frames(bench: &Bench) {
    for (name, line, lines, read) in [
        ("frame 64k of requests", request(), 300, 64 << 10),
        ("frame 5M line in 64k reads", prose(5_000_000), 1, 64 << 10),
    ] {
        let stream = (line + "\n").repeat(lines);
        let mut buf = RecvBuf::new();
        let mut framer = LineFramer::new(32 << 20);
        bench.run(name, stream.len(), lines, || {
            let mut found = 0;
            for piece in stream.as_bytes().chunks(read) {
                buf.spare(read)[..piece.len()].copy_from_slice(piece);
                buf.advance(piece.len());
                while let Some(Line::Line(line)) = framer.next(&mut buf) {
                    found += 1;
                    black_box(line);
                }
            }
            assert_eq!(found, lines);
        });
    }
}

fn splices(bench: &Bench) {
    for (name, text) in [
        ("splice request, 2 edits", request()),
        ("splice 4k text, 1 edit", text_result(&prose(4_000))),
        ("splice 100k text, 1 edit", text_result(&prose(100_000))),
    ] {
        let envelope = Incoming::scan(text.as_bytes()).expect("well-formed").envelope;
        let mut send = SendBuf::new();
        bench.run(name, text.len(), 1, || {
            let mut message = Message::new(black_box(text.as_bytes()));
            message.replace(envelope.id.expect("an id"), Value::Integer(black_box(4503599627370497)));
            if let Some(token) = envelope.meta_token {
                message.replace(token, Value::Integer(black_box(4503599627370497)));
            }
            message.write_to(&mut send);
            send.extend(b"\n");
            black_box(send.pending());
            send.clear();
        });
    }
    let text = request();
    let mut send = SendBuf::new();
    bench.run("scan and splice request", text.len(), 1, || {
        let incoming = Incoming::scan(black_box(text.as_bytes())).expect("well-formed");
        let mut message = Message::new(incoming.bytes);
        message.replace(incoming.envelope.id.expect("an id"), Value::Integer(black_box(4503599627370497)));
        message.write_to(&mut send);
        black_box(send.pending());
        send.clear();
    });
}

fn wheel(bench: &Bench) {
    // A hundred thousand deadlines stand; requests come and go among them.
    let mut wheel = TimerWheel::new();
    let mut now = 0;
    for i in 0..100_000u64 {
        wheel.schedule(Time(60_000 + i * 37 % 300_000), i);
    }
    let mut keys = Vec::with_capacity(1000);
    bench.run("wheel schedule+cancel at 100k", 0, 1000, || {
        keys.extend((0..1000).map(|i| wheel.schedule(Time(30_000 + i * 7), i)));
        for key in keys.drain(..) {
            black_box(wheel.cancel(key));
        }
    });
    bench.run("wheel expire+schedule at 100k", 0, 1000, || {
        // The walk over the milliseconds in which nothing expires belongs to the price.
        let mut expired = 0;
        while expired < 1000 {
            let Some(value) = wheel.pop_expired(Time(now)) else {
                now += 1;
                black_box(wheel.next_deadline());
                continue;
            };
            wheel.schedule(Time(now + 60_000 + value * 37 % 300_000), value);
            expired += 1;
        }
    });
}
