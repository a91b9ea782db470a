//! [`Keys`]: what is typed, from the bytes that a terminal sends (ECMA-48 and xterm's control sequences).
//!
//! Read here and not by crossterm, whose reader spins for ever once the terminal has hung up.

use std::io::{self, ErrorKind, Read};

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    /// A letter with Control.
    Control(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    /// None that anything here has a use for.
    Other,
}

/// The beginning of a sequence that is not complete yet.
#[derive(Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
}

impl Keys {
    /// Reads once what is there, from a terminal that poll(2) calls readable.
    ///
    /// # Errors
    /// The terminal has hung up.
    pub fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 1024];
        match io::stdin().lock().read(&mut bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.bytes.extend_from_slice(&bytes[..n]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next key. What may be the beginning of one waits for the rest, unless there is `no_more`: so the
    /// Escape key is told from an arrow, which begins with the same byte.
    pub fn next(&mut self, no_more: bool) -> Option<Key> {
        let (key, len) = match first(&self.bytes) {
            Found::Key(key, len) => (key, len),
            Found::Nothing => return None,
            Found::Part if !no_more => return None,
            Found::Part if self.bytes[0] == ESC => (Key::Escape, 1),
            Found::Part => (Key::Other, 1),
        };
        self.bytes.drain(..len);
        Some(key)
    }

    /// Whether something waits for its rest.
    pub fn is_pending(&self) -> bool {
        !self.bytes.is_empty()
    }
}

enum Found {
    Nothing,
    /// The beginning of something.
    Part,
    /// A key, and its length in bytes.
    Key(Key, usize),
}

/// The key at the beginning of `bytes`.
fn first(bytes: &[u8]) -> Found {
    match bytes {
        [] => Found::Nothing,
        [ESC] => Found::Part,
        [ESC, b'[', rest @ ..] => {
            // Parameters and intermediate bytes, then one that ends it.
            match rest.iter().position(|byte| !(0x20..0x40).contains(byte)) {
                None if rest.len() < SEQUENCE_MAX => Found::Part,
                None => Found::Key(Key::Other, bytes.len()),
                Some(at) => Found::Key(sequence(&rest[..at], rest[at]), at + 3),
            }
        }
        [ESC, b'O'] => Found::Part,
        [ESC, b'O', letter, ..] => Found::Key(sequence(b"", *letter), 3),
        // Escape, and another key after it; or a key with Alt, which means nothing here either.
        [ESC, ..] => Found::Key(Key::Escape, 1),
        [b'\r' | b'\n', ..] => Found::Key(Key::Enter, 1),
        [0x7f | 0x08, ..] => Found::Key(Key::Backspace, 1),
        [byte @ 1..=26, ..] => Found::Key(Key::Control((byte - 1 + b'a') as char), 1),
        [0x20..=0x7e, ..] => Found::Key(Key::Char(bytes[0] as char), 1),
        _ => character(bytes),
    }
}

/// What a control sequence with these parameters and this last byte stands for.
fn sequence(parameters: &[u8], last: u8) -> Key {
    match (parameters, last) {
        (_, b'A') => Key::Up,
        (_, b'B') => Key::Down,
        (_, b'H') | (b"1" | b"7", b'~') => Key::Home,
        (_, b'F') | (b"4" | b"8", b'~') => Key::End,
        (b"5", b'~') => Key::PageUp,
        (b"6", b'~') => Key::PageDown,
        _ => Key::Other,
    }
}

/// A character of several bytes.
fn character(bytes: &[u8]) -> Found {
    let len = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Found::Key(Key::Other, 1),
    };
    let Some(whole) = bytes.get(..len) else { return Found::Part };
    match std::str::from_utf8(whole).ok().and_then(|text| text.chars().next()) {
        Some(c) if !c.is_control() => Found::Key(Key::Char(c), len),
        Some(_) => Found::Key(Key::Other, len),
        None => Found::Key(Key::Other, 1),
    }
}

const ESC: u8 = 0x1b;
/// Longest control sequence that is waited for.
const SEQUENCE_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys { bytes: bytes.to_vec() };
        std::iter::from_fn(|| keys.next(true)).collect()
    }

    #[test]
    fn keys_are_what_terminals_send_for_them() {
        use Key::*;
        assert_eq!(keys(b"jK/ ?"), [Char('j'), Char('K'), Char('/'), Char(' '), Char('?')]);
        assert_eq!(keys(b"\x1b[A\x1b[B\x1bOA\x1bOB\x1b[1;5A"), [Up, Down, Up, Down, Up]);
        assert_eq!(
            keys(b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1b[5~\x1b[6~"),
            [Home, End, Home, End, PageUp, PageDown]
        );
        assert_eq!(keys(b"\r\x7f\x08\x03\x1b"), [Enter, Backspace, Backspace, Control('c'), Escape]);
        assert_eq!(keys("äも🦀".as_bytes()), [Char('ä'), Char('も'), Char('🦀')]);
        assert_eq!(keys(b"\x1b[<0;3;4Mj\x00\xff"), [Other, Char('j'), Other, Other]);
        assert_eq!(keys(b"\x1bx"), [Escape, Char('x')]);
    }

    #[test]
    fn what_comes_in_pieces_waits_for_its_rest() {
        for whole in ["\x1b[A", "\x1bOA", "\x1b[5~", "ä", "🦀"] {
            let mut keys = Keys::default();
            for (at, byte) in whole.bytes().enumerate() {
                assert_eq!(keys.next(false), None, "{whole:?} at {at}");
                keys.bytes.push(byte);
            }
            assert!(keys.is_pending());
            assert_ne!(keys.next(false), None);
            assert!(!keys.is_pending(), "{whole:?}");
        }
        let mut keys = Keys { bytes: b"\x1b".to_vec() };
        assert_eq!((keys.next(false), keys.next(true)), (None, Some(Key::Escape)));
    }

    #[test]
    fn every_byte_is_something_and_nothing_is_kept_for_ever() {
        for a in 0..=255 {
            for b in 0..=255 {
                let found = keys(&[ESC, b'[', a, b]);
                assert!(!found.is_empty() && found.len() <= 4, "{a} {b}");
            }
        }
        assert_eq!(keys(&[&b"\x1b["[..], &[b'1'; 100]].concat()), [Key::Other]);
    }
}
