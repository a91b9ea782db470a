//! The fuzz targets on stable Rust: their corpora again, and as many random messages as a test run bears.

use std::fs;
use std::path::{Path, PathBuf};

use muxloop::fuzzing;

/// Longest corpus of one target in bytes: it is kept with the source.
const CORPUS_BYTES_MAX: usize = 300 << 10;

/// Runs `body` on each file of a corpus; gives how many there were, and for how many it said yes.
fn replay(target: &str, mut body: impl FnMut(&[u8]) -> bool) -> (usize, usize) {
    let (mut count, mut yes, mut bytes) = (0, 0, 0);
    for path in files(&format!("corpus/{target}")) {
        let data = fs::read(&path).expect("a readable corpus file");
        // Shown only if the test fails: the file that did it comes last.
        println!("{}", path.display());
        yes += usize::from(body(&data));
        count += 1;
        bytes += data.len();
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "{target}: {bytes} bytes; tools/fuzz_corpus.sh makes it smaller");
    (count, yes)
}

/// The files of a folder in `fuzz/`, in the order of their names.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// The lines of a file of seeds.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let data = data.strip_suffix(b"\n").unwrap_or(&data);
    data.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn corpus_of_line() {
    let (count, yes) = replay("line", |data| fuzzing::line(data) > 0);
    assert!(count >= 20 && yes >= 10, "{yes} of {count} gave lines");
}

#[test]
fn corpus_of_envelope() {
    let (count, yes) = replay("envelope", fuzzing::envelope);
    assert!(count >= 20 && yes >= 10 && yes < count, "{yes} of {count} were messages");
}

#[test]
fn corpus_of_splice() {
    let (count, yes) = replay("splice", fuzzing::splice);
    assert!(count >= 20 && yes >= 10 && yes < count, "{yes} of {count} were messages");
}

#[test]
fn corpus_of_config() {
    let (count, yes) = replay("config", fuzzing::config);
    assert!(count >= 10 && yes >= 1 && yes < count, "{yes} of {count} were configurations");
}

#[cfg(feature = "http")]
#[test]
fn corpus_of_http() {
    let (count, yes) = replay("http", |data| fuzzing::http(data) > 0);
    assert!(count >= 40 && yes >= 10 && yes < count, "{yes} of {count} were requests or answers");
}

#[cfg(feature = "http")]
#[test]
fn corpus_of_sse() {
    let (count, yes) = replay("sse", |data| fuzzing::sse(data) > 0);
    assert!(count >= 20 && yes >= 10 && yes < count, "{yes} of {count} gave events");
}

#[cfg(feature = "http")]
#[test]
fn corpus_of_ws() {
    let (mut taken, mut refused) = (0, 0);
    let (count, _) = replay("ws", |data| {
        let (frames, error) = fuzzing::ws(data);
        taken += usize::from(!frames.is_empty());
        refused += usize::from(error.is_some());
        !frames.is_empty()
    });
    assert!(count >= 30 && taken >= 10 && refused >= 10, "{taken} taken, {refused} refused of {count}");
}

/// The seeds of the wire formats say by their names what must be refused.
#[cfg(feature = "http")]
#[test]
fn seeds_of_the_wire_formats_are_what_they_are_called() {
    for path in files("seeds/wire/http") {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let data = fs::read(&path).expect("a readable seed");
        assert_eq!(fuzzing::http(&data) > 0, !name.starts_with("bad-"), "{name}");
    }
    for path in files("seeds/wire/ws") {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let data = fs::read(&path).expect("a readable seed");
        let (_, error) = fuzzing::ws(&data);
        assert_eq!(error.is_some(), name.starts_with("bad-"), "{name}: {error:?}");
    }
}

#[test]
fn corpus_of_world() {
    let (count, long) = replay("world", |data| {
        fuzzing::world(data);
        data.len() >= 100
    });
    assert!(
        count >= 20 && long >= 10,
        "{long} of {count} have as many decisions as it takes to meet somebody"
    );
}

#[test]
fn every_seed_message_of_the_protocol_is_taken_and_no_hostile_one() {
    let (messages, hostile) = (seeds("messages.jsonl"), seeds("hostile.jsonl"));
    assert!(messages.len() >= 90 && hostile.len() >= 90, "{} and {}", messages.len(), hostile.len());
    let shown = String::from_utf8_lossy;
    for message in &messages {
        assert!(fuzzing::envelope(message), "refused: {}", shown(message));
        assert!(fuzzing::splice(&[&[7; 8], &message[..]].concat()), "refused: {}", shown(message));
    }
    for line in &hostile {
        assert!(!fuzzing::envelope(line), "taken: {}", shown(line));
        fuzzing::splice(&[&[7; 8], &line[..]].concat());
    }
    // All of them as one stream. Blank lines give none, and 255 is a limit that some exceed.
    let stream = [&messages[..], &hostile[..]].concat().join(&b'\n');
    assert_eq!(fuzzing::line(&[&[255, 60], &stream[..], b"\n"].concat()), messages.len() + hostile.len());
}

#[test]
fn seeds_of_config_say_by_their_names_what_they_are() {
    const VALID: &[&str] =
        &["every-key.toml", "gateway.toml", "mux.toml", "real-servers.toml", "rmcp-mux.toml"];
    for path in files("seeds/config") {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let data = fs::read(&path).expect("a readable seed");
        let is_sandbox = name == "sandbox.toml" && cfg!(feature = "sandbox");
        let is_host = name == "host.jsonc" && cfg!(feature = "cli");
        let is_valid = is_sandbox || is_host || VALID.contains(&&name[..]);
        assert_eq!(fuzzing::config(&data), is_valid, "{name}");
    }
}

#[test]
fn one_byte_anywhere_in_a_long_string() {
    // Longer than what a fuzzer tries: the block-wise code has its edges here, UTF-8 across them too.
    let bytes: [&[u8]; 7] = [b"\0", b"\x1f", b"\"", b"\\", b"\xff", b"\xc3", "\u{1f600}".as_bytes()];
    let (mut taken, mut refused) = (0, 0);
    for (fill, len) in [("a", 130), ("a", 1_030), ("\u{e9}", 600), ("\u{6f22}", 700), ("\\n", 400)] {
        let text = fill.repeat(len);
        for at in (0..300).chain(text.len() - 70..text.len()) {
            let middle = bytes[at % bytes.len()];
            let (before, after) = text.as_bytes().split_at(at.min(text.len()));
            let line = [br#"{"jsonrpc":"2.0","id":1,"result":{"text":""#, before, middle, after, b"\"}}"];
            match fuzzing::envelope(&line.concat()) {
                true => taken += 1,
                false => refused += 1,
            }
        }
    }
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn random_messages_and_mutations_of_them() {
    const ROUNDS: usize = 6_000;
    let mut random = Random(0x6d75_786c_6f6f_7031);
    let (mut whole, mut mutated, mut lines) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let message = random.message();
        whole += usize::from(fuzzing::envelope(&message));
        fuzzing::splice(&[&random.bytes(8), &message[..]].concat());
        let other = random.mutate(message);
        mutated += usize::from(fuzzing::envelope(&other));
        fuzzing::splice(&[&random.bytes(8), &other[..]].concat());
        fuzzing::envelope(&[b"[", &other[..], b"]"].concat());
        lines += fuzzing::line(&[&random.bytes(2), &other[..], b"\n", &random.message(), b"\r\n"].concat());
    }
    // The test is worth something only if both sides of each decision are taken often.
    assert!(whole > ROUNDS / 2 && whole < ROUNDS * 19 / 20, "{whole} whole ones accepted");
    assert!(mutated > ROUNDS / 10 && mutated < ROUNDS / 2, "{mutated} mutated ones accepted");
    assert!(lines > ROUNDS, "{lines} lines");
}

/// A xorshift generator: the same messages in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % bound
    }

    /// True once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }

    fn pick<'p>(&mut self, from: &[&'p str]) -> &'p str {
        from[self.below(from.len())]
    }

    /// Mostly a message, its members in any order; now and then one rule is broken.
    fn message(&mut self) -> Vec<u8> {
        let id =
            self.pick(&["1", "\"1\"", "-0", "9007199254740993", "1.50e+3", "1e999", r#""\u0069\"""#, "\"\""]);
        let version = if self.once_in(40) { "2.0" } else { "\"2.0\"" };
        let mut members = vec![("jsonrpc".to_owned(), version.to_owned())];
        let shape = self.below(4);
        if shape != 1 {
            let odd = ["null", "true", "[1]", "{}"];
            let id = if self.once_in(20) { self.pick(&odd) } else { id };
            members.push(("id".to_owned(), id.to_owned()));
        }
        if shape < 2 {
            let methods =
                ["tools/call", r"tools\/call", "notifications/progress", "x", "", r"\ud800", "\u{e9}"];
            let method = format!("\"{}\"", self.pick(&methods));
            members.push(("method".to_owned(), method));
        }
        let name = ["params", "params", "result", "error"][shape];
        if shape >= 2 || !self.once_in(4) {
            let body = if self.once_in(20) { self.value(2) } else { self.body() };
            members.push((name.to_owned(), body));
        }
        if self.once_in(4) {
            members.push((self.pick(&["x", "", "meta", "idd"]).to_owned(), self.value(3)));
        }
        if self.once_in(40) {
            let again = members[self.below(members.len())].clone();
            members.push(again);
        }
        let text = self.object(members);
        let space = self.space();
        format!("{space}{text}{space}").into_bytes()
    }

    /// `params` or `result`.
    fn body(&mut self) -> String {
        const KEYS: &[&str] = &[
            "progressToken",
            "requestId",
            "name",
            "uri",
            "level",
            "ref",
            "cursor",
            "nextCursor",
            "protocolVersion",
            "capabilities",
            "clientInfo",
            "serverInfo",
            "task",
            "taskId",
            "elicitationId",
            "mode",
            "status",
            "notifications",
            "resultType",
            "arguments",
            "content",
        ];
        const META: &[&str] = &[
            "progressToken",
            "io.modelcontextprotocol/protocolVersion",
            "io.modelcontextprotocol/clientCapabilities",
            "io.modelcontextprotocol/clientInfo",
            "io.modelcontextprotocol/logLevel",
            "io.modelcontextprotocol/subscriptionId",
            "io.modelcontextprotocol/related-task",
            "traceparent",
        ];
        let mut members = self.some_of(KEYS);
        if self.once_in(2) {
            let some = self.some_of(META);
            let meta = if self.once_in(10) { self.value(1) } else { self.object(some) };
            members.push(("_meta".to_owned(), meta));
        }
        self.object(members)
    }

    fn some_of(&mut self, keys: &[&str]) -> Vec<(String, String)> {
        let mut members: Vec<(String, String)> = Vec::new();
        for _ in 0..self.below(6) {
            let key = self.pick(keys);
            if self.once_in(60) || members.iter().all(|(other, _)| other != key) {
                members.push((key.to_owned(), self.value(3)));
            }
        }
        members
    }

    fn object(&mut self, mut members: Vec<(String, String)>) -> String {
        let mut out = "{".to_owned();
        let mut first = true;
        while !members.is_empty() {
            let (mut key, value) = members.swap_remove(self.below(members.len()));
            if !first {
                out.push(',');
            }
            first = false;
            if self.once_in(30) && !key.is_empty() {
                key = format!("\\u{:04x}{}", u32::from(key.as_bytes()[0]), &key[1..]);
            }
            let space = [self.space(), self.space(), self.space(), self.space()];
            out += &format!("{}\"{key}\"{}:{}{value}{}", space[0], space[1], space[2], space[3]);
        }
        out + "}"
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 5 } else { 8 }) {
            0 => self.pick(&["null", "true", "false"]).to_owned(),
            1 => self.pick(&["0", "-1", "12345678901234567890", "1.5", "1E-7", "-0.0e+0"]).to_owned(),
            2..5 => self.string(),
            5 => {
                let elements: Vec<String> = (0..self.below(4)).map(|_| self.value(depth - 1)).collect();
                format!("[{}{}]", self.space(), elements.join(" ,"))
            }
            _ => {
                let keys = ["a", "id", "_meta", "progressToken", "", "a\\\"b"];
                let members =
                    (0..self.below(4)).map(|_| (self.pick(&keys).to_owned(), self.value(depth - 1)));
                let members = members.collect();
                self.object(members)
            }
        }
    }

    fn string(&mut self) -> String {
        let mut out = "\"".to_owned();
        let longest = if self.once_in(8) { 60 } else { 8 };
        for _ in 0..self.below(longest) {
            out += self.pick(&[
                "a",
                "Z ",
                "/",
                "{",
                "}",
                "],[",
                ":",
                "\\\"",
                "\\\\",
                "\\n",
                "\\/",
                "\\u00e9",
                "\\ud83d\\ude00",
                "\\uDC00",
                "\u{e9}",
                "\u{1f600}",
                "\u{7f}",
                "plain text of some length",
            ]);
        }
        out + "\""
    }

    fn space(&mut self) -> &'static str {
        if self.once_in(10) { self.pick(&[" ", "\t", "\r", "  ", " \n "]) } else { "" }
    }

    /// One to three bytes or pieces changed, cut off, doubled or put in.
    fn mutate(&mut self, mut text: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(3) {
            let at = self.below(text.len() + 1);
            let to = (at + self.below(12)).min(text.len());
            match self.below(8) {
                0 => text.truncate(at),
                1 => text.insert(at, self.below(256) as u8),
                2 => drop(text.drain(at..to)),
                3 => drop(text.splice(at..at, text[at..to].to_vec())),
                4 => text.extend_from_within(at..to),
                5 if at < text.len() => text[at] ^= 1 << self.below(8),
                _ => {
                    let bits =
                        ["\"", "\\", ",", "}", "]", "{", "\0", "0", "-", "e", "\u{feff}", " ", "null", "\\u"];
                    drop(text.splice(at..at, self.pick(&bits).bytes()));
                }
            }
        }
        text
    }
}
