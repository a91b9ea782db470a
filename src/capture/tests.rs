//! Recordings of the simulator's worlds, replayed: whole, damaged, and changed.

use super::{Outcome, Tape, replay};
use crate::base::Time;
use crate::sim;
use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

/// A file in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorded(seed: u64) -> (sim::Report, String) {
    let file = Memory::default();
    let report =
        sim::run_recorded(seed, Box::new(file.clone())).unwrap_or_else(|failure| panic!("{failure}"));
    let bytes = file.0.take();
    (report, String::from_utf8(bytes).unwrap())
}

fn replayed(text: &str) -> Outcome {
    replay(Box::new(Cursor::new(text.to_owned()))).0
}

/// The number of the first line in which this stands, from 1, after so many others.
fn line_with(text: &str, what: &str, skip: usize) -> usize {
    let found = text.lines().enumerate().filter(|(_, line)| line.contains(what)).nth(skip);
    found.unwrap_or_else(|| panic!("no {what}")).0 + 1
}

fn with_line(text: &str, number: usize, change: impl Fn(&str) -> String) -> String {
    let lines = text.lines().enumerate();
    lines.map(|(at, line)| if at + 1 == number { change(line) } else { line.to_owned() } + "\n").collect()
}

#[test]
fn worlds_replay_to_the_last_byte_and_recording_changes_nothing() {
    let mut bytes_in_all = 0;
    for seed in 0..12 {
        let (report, text) = recorded(seed);
        assert_eq!(report, sim::run(seed).unwrap(), "seed {seed}");
        match replayed(&text) {
            Outcome::Same { turns, bytes_out } => {
                assert_eq!(turns, report.turns, "seed {seed}");
                bytes_in_all += bytes_out;
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(bytes_in_all > 100_000, "{bytes_in_all} bytes");
}

#[test]
fn a_changed_output_is_found_in_its_line() {
    let (_, text) = recorded(1);
    let writes =
        text.lines().filter(|line| line.starts_with("{\"write\"") && line.contains("jsonrpc")).count();
    for skip in [0, writes / 2, writes - 1] {
        let lines: Vec<usize> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.starts_with("{\"write\"") && line.contains("jsonrpc"))
            .map(|(at, _)| at + 1)
            .collect();
        let number = lines[skip];
        let changed = with_line(&text, number, |line| line.replacen("jsonrpc", "jsonRpc", 1));
        match replayed(&changed) {
            Outcome::Different { line, text: told } => {
                assert!(line == number && told.contains("\nother bytes to "), "{line}: {told}");
                assert!(
                    told.contains("  recorded: ") && told.contains("jsonRpc") && told.contains("jsonrpc"),
                    "{told}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_changed_input_is_found_no_earlier_than_it_came() {
    let (_, text) = recorded(2);
    let nonces = |line: &str| line.starts_with("{\"read\"") && line.contains("\\\"nonce\\\":");
    let numbers: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| nonces(line)).map(|(at, _)| at + 1).step_by(3).collect();
    let mut found = 0;
    for number in &numbers {
        let changed = with_line(&text, *number, |line| line.replacen("\\\"nonce\\\":", "\\\"nonse\\\":", 1));
        match replayed(&changed) {
            Outcome::Different { line, text: told } => {
                assert!(line > *number, "{line}: {told}");
                assert!(told.contains("nonse") && told.contains("nonce"), "{told}");
                found += 1;
            }
            // Answers that nobody waits for any more go nowhere.
            Outcome::Same { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(numbers.len() > 10 && 2 * found > numbers.len(), "{found} of {}", numbers.len());
}

#[test]
fn a_missing_or_an_additional_call_is_told() {
    let (_, text) = recorded(1);
    let number = line_with(&text, "{\"read\"", 5);
    let without: String = text
        .lines()
        .enumerate()
        .filter(|(at, _)| at + 1 != number)
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    assert!(matches!(replayed(&without), Outcome::Different { .. }));
    let turn = line_with(&text, "{\"turn\"", 3);
    let twice = with_line(&text, turn, |line| format!("{{\"sweep\":{{\"process\":1}}}}\n{line}"));
    match replayed(&twice) {
        Outcome::Different { text: told, .. } => {
            assert!(told.contains("recorded: the end of what a process left behind"), "{told}");
            assert!(told.contains("now:      nothing more here"), "{told}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recording_that_was_cut_off_is_replayed_as_far_as_it_goes() {
    let (_, text) = recorded(3);
    let whole_lines: String = text.lines().take(200).map(|line| format!("{line}\n")).collect();
    match replayed(&whole_lines) {
        Outcome::CutOff { line: 201, why, turns, .. } => {
            assert!(turns > 0 && why.contains("without its last line"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let (mut half, _) = text.split_at(text.len() / 2);
    half = half.trim_end_matches('\n');
    match replayed(half) {
        Outcome::CutOff { line, why, .. } => {
            assert_eq!(line, half.lines().count());
            assert!(why.contains("in the middle"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// Takes so many bytes and then no more, as a full disk does.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let report = sim::run_recorded(4, Box::new(Full(150_000))).unwrap();
    assert_eq!(report, sim::run(4).unwrap());
}

#[test]
fn a_panic_finds_everything_in_the_file() {
    let path = std::env::temp_dir().join(format!("muxloop-tape-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let tape = Tape::create(&path).unwrap();
    tape.header(&[], 7, 0);
    tape.begin(Time(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "still in the buffer");
    std::panic::catch_unwind(|| panic!("on purpose")).unwrap_err();
    let text = std::fs::read_to_string(&path).unwrap();
    let again = Tape::create(&path).err().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(text.ends_with("{\"begin\":{\"now\":1}}\n"), "{text}");
    assert!(again.contains("exists already"), "{again}");
    assert!(matches!(replayed(&text), Outcome::CutOff { line: 3, turns: 0, .. }));
}

#[test]
fn what_is_no_recording_is_told_with_its_line() {
    let (_, text) = recorded(3);
    let bad = |text: &str| match replayed(text) {
        Outcome::Bad { line, why } => (line, why),
        other => panic!("{other:?}"),
    };
    assert_eq!(bad("").0, 1);
    assert!(bad("hello\n").1.contains("no recording of muxloop"));
    assert!(bad("{\"a\":1}\n").1.contains("no recording of muxloop"));
    assert_eq!(bad("{\"muxloop_capture\":99}\n").1, "a recording of format 99, expected 1");
    assert!(bad("{\"muxloop_capture\":1}\n").1.starts_with("not understood: missing field"));
    let damaged = [
        "garbage",
        "{}",
        "{\"unheard\":{}}",
        "{\"read\":{\"link\":1}}",
        "{\"kill\":{\"process\":1,\"how\":\"politely\"}}",
        "{\"write\":{\"link\":1,\"of\":1,\"data\":{\"hex\":\"f\"},\"error\":null}}",
    ];
    for line in damaged {
        let (at, why) = bad(&with_line(&text, 100, |_| line.to_owned()));
        assert_eq!(at, 100, "{line}: {why}");
        assert!(why.starts_with("not understood: "), "{line}: {why}");
    }
    let turn = line_with(&text, "{\"turn\"", 30);
    for (line, words) in [
        ("{\"turn\":{\"now\":0,\"ready\":[]}}", "time goes back"),
        ("{\"turn\":{\"now\":15457986161782149,\"ready\":[]}}", "more than muxloop can have run"),
        (
            "{\"open_control\":{\"listener\":9,\"host\":{\"version\":\"\",\"pid\":1,\"config\":\"\",\"unix_ms\":18446744073709551615}}}",
            "are no date",
        ),
        (
            "{\"open_control\":{\"listener\":999999999,\"host\":{\"version\":\"\",\"pid\":1,\"config\":\"\",\"unix_ms\":1}}}",
            "no listener",
        ),
        ("{\"retire_server\":{\"now\":999999,\"server\":77}}", "there is no server 77"),
        ("{\"log\":{\"now\":999999,\"server\":77,\"text\":\"\"}}", "there is no server 77"),
        ("{\"turn\":{\"now\":999999,\"ready\":[{\"stream\":{\"key\":18446744073709551615}}]}}", "is no key"),
    ] {
        let (at, why) = bad(&with_line(&text, turn, |_| line.to_owned()));
        assert_eq!(at, turn, "{why}");
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn random_damage_never_ends_the_program() {
    let (_, text) = recorded(1);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let header = text.find('\n').unwrap();
    let cut = text.len().min(300_000);
    for _ in 0..40 {
        let mut bytes = text.as_bytes()[..cut].to_vec();
        let at = header + 1 + draw(cut - header - 1);
        bytes[at] = b" 0129\"{}[]:,xe"[draw(14)];
        let outcome = replay(Box::new(Cursor::new(bytes.clone()))).0;
        // A change may be none, or come after all that was compared.
        assert!(!matches!(outcome, Outcome::Same { .. }) || cut == text.len(), "{outcome:?}");
    }
}

/// Without the feature, what needs it is refused in words, as is what never can be.
#[test]
fn merged_endpoints_that_cannot_be_are_refused() {
    let (_, text) = recorded(3);
    let refused = |lines: &[&str], words: &str| {
        let (header, rest) = text.split_once('\n').unwrap();
        let changed = format!("{header}\n{}\n{rest}", lines.join("\n"));
        match replayed(&changed) {
            Outcome::Bad { line, why } => {
                assert!(line == lines.len() + 1 && why.contains(words), "{line}: {why}")
            }
            other => panic!("{words}: {other:?}"),
        }
    };
    let unmerge = r#"{"unmerge":{"now":5,"name":"no such"}}"#;
    #[cfg(not(feature = "gateway"))]
    for line in [unmerge, r#"{"merge":{"now":0}}"#, r#"{"on_server_changed":{"now":0,"server":0}}"#] {
        refused(&[line], "a merged endpoint is recorded here, and that needs the feature `gateway`");
    }
    #[cfg(feature = "gateway")]
    {
        let header: super::event::Header = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let count = header.servers.len();
        let merge = |now: u64, server: usize| {
            let parts = crate::gateway::Setup {
                servers: vec![(server, "a".into(), Default::default())],
                list_timeout_ms: u64::MAX,
                ..Default::default()
            };
            let file = Memory::default();
            let tape = Tape::to(Box::new(file.clone()));
            tape.merge(Time(now), &header.servers[0].for_replay(), &parts);
            tape.flush();
            String::from_utf8(file.0.take()).unwrap().trim_end().to_owned()
        };
        let (fits, itself, unknown) = (merge(5, 0), merge(5, count), merge(5, count + 1));
        refused(&[&unknown], &format!("there is no server {}", count + 1));
        refused(&[&fits, &itself], &format!("server {count} is a merged endpoint itself"));
        refused(&[unmerge, &merge(4, 0)], "time goes back");
        refused(&[&fits, r#"{"on_server_changed":{"now":5,"server":99}}"#], "there is no server 99");
        refused(&[&fits.replace("naming", "renaming")], "not understood: unknown field `renaming`");
    }
}
