//! How a difference is told: where in the bytes, and what stands around it. Messages are shown without the
//! values of members whose names tell of secrets.

use super::event::{Event, KillWord};
use super::script::Script;
use crate::codec::Incoming;
use crate::control::redact::redacted;

/// What was called, in words.
pub(super) fn words(event: &Event<'_>, script: &Script) -> String {
    match event {
        Event::Accept { listener, .. } => format!("a look for connections at listener {listener}"),
        Event::Register { link, .. } => format!("{} was taken", script.name(*link)),
        Event::Deregister { link, .. } => format!("{} was closed", script.name(*link)),
        Event::Read { link, .. } => format!("a read from {}", script.name(*link)),
        Event::Write { link, of, data, .. } => {
            let line = data.0.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let shown = shown(line);
            let cut = printable(&shown[..shown.len().min(SHOWN_MAX)]);
            let more = if shown.len() > SHOWN_MAX { "…" } else { "" };
            format!("{of} bytes to {}: {cut}{more}", script.name(*link))
        }
        Event::Shutdown { link, .. } => format!("the end of the input of {}", script.name(*link)),
        Event::Spawn { .. } => "the start of a process".to_owned(),
        Event::Kill { how: KillWord::Terminate, .. } => "SIGTERM to a process".to_owned(),
        Event::Kill { how: KillWord::Kill, .. } => "SIGKILL to a process".to_owned(),
        Event::Sweep { .. } => "the end of what a process left behind".to_owned(),
        Event::Random { .. } => "a draw of random bytes".to_owned(),
        Event::Resident { pid, .. } => format!("a look at the memory of process {pid}"),
        _ => "something from outside".to_owned(),
    }
}

/// The first place where what was offered is not what was taken then, if there is one.
pub(super) fn first(recorded: &[u8], now: &[u8]) -> Option<usize> {
    let common = recorded.iter().zip(now).position(differ);
    common.or((now.len() < recorded.len()).then_some(now.len()))
}

/// Whether a byte is another than that of the recording; what stands for a secret is none.
fn differ((recorded, now): (&u8, &u8)) -> bool {
    recorded != now && *now != STAND_IN
}

/// Both texts around a place, which is marked. `before`: the bytes of the line that went out earlier.
pub(super) fn around(before: &[u8], recorded: &[u8], now: &[u8], at: usize) -> String {
    let whole = |bytes: &[u8]| {
        let start = memchr::memrchr(b'\n', &bytes[..at.min(bytes.len())]);
        let from = start.map_or(0, |newline| newline + 1);
        let end = memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |length| from + length);
        let line = &bytes[from..end];
        shown(&if start.is_none() { [before, line].concat() } else { line.to_vec() })
    };
    let (recorded, now) = (whole(recorded), whole(now));
    let place = recorded.iter().zip(&now).position(differ).unwrap_or(recorded.len().min(now.len()));
    if recorded == now {
        return format!(
            "  both:     {}\n  (the difference is in a value that is not shown)",
            window(&recorded, place).0
        );
    }
    let ((then, column), (now, _)) = (window(&recorded, place), window(&now, place));
    format!("  recorded: {then}\n  now:      {now}\n            {:column$}^", "")
}

/// A line as it may be shown: a message redacted, anything else as it is.
fn shown(line: &[u8]) -> Vec<u8> {
    if Incoming::scan(line).is_ok() { redacted(line) } else { line.to_vec() }
}

/// What stands around a place, and the column of that.
fn window(text: &[u8], at: usize) -> (String, usize) {
    let at = at.min(text.len());
    let (from, to) = (boundary(text, at.saturating_sub(REACH)), boundary(text, (at + REACH).min(text.len())));
    let at = boundary(text, at);
    let mut shown = if from > 0 { "…".to_owned() } else { String::new() };
    shown.push_str(&printable(&text[from..at]));
    let column = shown.chars().count();
    shown.push_str(&printable(&text[at..to]));
    if to < text.len() {
        shown.push('…');
    }
    if shown.is_empty() {
        shown.push_str("(nothing)");
    }
    (shown, column)
}

/// The place, or the start of the character it is in.
fn boundary(text: &[u8], at: usize) -> usize {
    let is_inside = |at: usize| at > 0 && at < text.len() && text[at] & 0xc0 == 0x80;
    (0..4).map(|back| at.saturating_sub(back)).find(|at| !is_inside(*at)).unwrap_or(at)
}

/// Text that does nothing to a terminal.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

/// Written for each byte of a secret that only the recorded muxloop knew. JSON has it unescaped, and nobody
/// writes it.
pub(super) const STAND_IN: u8 = 0x7f;
/// Bytes to either side of a difference.
const REACH: usize = 32;
/// Most bytes shown of a whole write.
const SHOWN_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_are_shown_with_the_place_marked() {
        let (then, now) = (
            &b"first\n{\"id\":1,\"text\":\"hello\"}\nlast"[..],
            &b"first\n{\"id\":1,\"text\":\"jello\"}\n"[..],
        );
        let at = first(then, now).unwrap();
        assert_eq!(at, 22);
        let text = around(b"not this", then, now, at);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"  recorded: {"id":1,"text":"hello"}"#);
        assert_eq!(lines[1], r#"  now:      {"id":1,"text":"jello"}"#);
        assert_eq!(lines[2].find('^'), lines[0].find("hello"));
    }

    #[test]
    fn a_line_that_went_out_in_pieces_is_shown_whole() {
        let text = around(br#"{"jsonrpc":"2.0","id"#, br#"":1}"#, br#"":2}"#, 2);
        assert!(text.starts_with("  recorded: {\"jsonrpc\":\"2.0\",\"id\":1}\n"), "{text}");
    }

    #[test]
    fn secrets_and_control_characters_are_not_shown() {
        let message = |token: &str| {
            format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"token":"{token}"}}}}"#).into_bytes()
        };
        let text = around(b"", &message("abc"), &message("abd"), 50);
        assert!(text.contains("[redacted]") && text.contains("not shown") && !text.contains("ab"), "{text}");
        let text = around(b"", b"\x1b[2Jx", b"\x1b[2Jy", 4);
        assert!(!text.contains('\x1b') && text.contains("[2Jx"), "{text}");
    }

    #[test]
    fn ends_and_long_lines_have_their_place() {
        assert_eq!((first(b"ab", b"abc"), first(b"abc", b"ab"), first(b"", b"")), (None, Some(2), None));
        assert!(around(b"", b"abc", b"", 0).contains("now:      (nothing)"));
        let long = "ä".repeat(1_000);
        let (then, now) = (format!("{long}x{long}"), format!("{long}y{long}"));
        let text = around(b"", then.as_bytes(), now.as_bytes(), 2_000);
        assert!(
            text.contains("äx") && text.contains("äy") && text.lines().all(|line| line.chars().count() < 80)
        );
        assert!(!text.contains('\u{fffd}'), "{text}");
    }
}
