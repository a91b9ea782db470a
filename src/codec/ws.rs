//! WebSocket (RFC 6455), both sides: messages out of frames, frames, and the handshake.
//!
//! ```text
//!   RecvBuf ─▶ Decoder ─▶ Text (whole, valid UTF-8), Ping, Pong, Close      write_text, write_ping, … ─▶ Vec<u8>
//! ```
//!
//! Made for the subprotocol `mcp`, one JSON-RPC message per text message (`protocol.md` §3.5): binary
//! messages are refused and extensions are never agreed to. Answering pings and closing is left to
//! others, as is the randomness of masks and keys.

use std::fmt;

use crate::base::RecvBuf;

mod handshake;

pub use handshake::{
    UPGRADE_HEADERS, UpgradeInfo, accept_key, check_accepted, check_upgrade, request_key, write_upgrade,
    write_upgrade_request,
};

/// Which end of the connection we are: a client masks what it sends, a server must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection.
    Server,
    /// We opened the connection.
    Client,
}

/// What the peer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A whole text message, joined from its frames; valid UTF-8.
    Text(Vec<u8>),
    /// To be answered with a pong of the same bytes, at most 125.
    Ping(Vec<u8>),
    /// An answer to a ping, or nothing of importance.
    Pong(Vec<u8>),
    /// The peer will send nothing more: to be answered by [`write_close`], unless that was sent before.
    /// Whatever comes after it is dropped.
    Close(Option<Close>),
}

/// Why a peer closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// 1000 to 1014 or 3000 to 4999 (RFC 6455 §7.4).
    pub code: u16,
    /// Words for a log; at most 123 bytes.
    pub reason: String,
}

/// A break of the protocol: say so by [`write_close`], then close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WsError {
    /// 1002 malformed, 1003 a binary message, 1007 text that is not UTF-8, 1009 too long.
    pub code: u16,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for WsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.reason, self.code)
    }
}

impl std::error::Error for WsError {}

const fn malformed(reason: &'static str) -> WsError {
    WsError { code: 1002, reason }
}

/// Most bytes of a control frame's payload.
const CONTROL_MAX: usize = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Messages out of the bytes of one connection.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    max: usize,
    state: State,
    /// The text message so far, if one has begun and not ended.
    message: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    Header,
    Payload(Payload),
    /// The peer has closed.
    Closed,
    Failed(WsError),
}

/// The frame that is being received.
#[derive(Debug)]
struct Payload {
    opcode: u8,
    fin: bool,
    left: usize,
    mask: [u8; 4],
    /// What has come of a control frame.
    control: Vec<u8>,
}

impl Decoder {
    /// A decoder right after the handshake; `max` bounds a text message, in bytes.
    pub fn new(role: Role, max: usize) -> Decoder {
        Decoder { role, max, state: State::Header, message: None }
    }

    /// The next message or control frame, its bytes consumed from `buf`; `None` asks for more bytes. An
    /// error is given again by every later call.
    pub fn next(&mut self, buf: &mut RecvBuf) -> Result<Option<Frame>, WsError> {
        let frame = self.advance(buf);
        if let Err(error) = frame {
            self.state = State::Failed(error);
            self.message = None;
        }
        frame
    }

    fn advance(&mut self, buf: &mut RecvBuf) -> Result<Option<Frame>, WsError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(*error),
                State::Closed => {
                    buf.consume(buf.len());
                    return Ok(None);
                }
                State::Header => {
                    let Some((payload, len)) = self.header(buf.filled())? else { return Ok(None) };
                    buf.consume(len);
                    self.state = State::Payload(payload);
                }
                State::Payload(payload) => {
                    let into = match payload.opcode {
                        CONTINUATION | TEXT => self.message.get_or_insert_default(),
                        _ => &mut payload.control,
                    };
                    let n = buf.len().min(payload.left);
                    let start = into.len();
                    into.extend_from_slice(buf.take(n));
                    apply_mask(&mut into[start..], payload.mask);
                    payload.mask.rotate_left(n % 4);
                    payload.left -= n;
                    if payload.left > 0 {
                        return Ok(None);
                    }
                    if let Some(frame) = self.finish()? {
                        return Ok(Some(frame));
                    }
                }
            }
        }
    }

    /// The header of a frame and its length, once it is there.
    fn header(&self, bytes: &[u8]) -> Result<Option<(Payload, usize)>, WsError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let (fin, opcode, masked, short) =
            (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0, second & 0x7f);
        if first & 0x70 != 0 {
            return Err(malformed("a reserved bit, of no extension that was agreed on"));
        }
        match opcode {
            CLOSE | PING | PONG if !fin => return Err(malformed("a control frame in fragments")),
            CLOSE | PING | PONG if short > 125 => return Err(malformed("a control frame of over 125 bytes")),
            CLOSE | PING | PONG => {}
            BINARY => {
                return Err(WsError { code: 1003, reason: "a binary message, where only text is spoken" });
            }
            TEXT if self.message.is_some() => return Err(malformed("a message within another")),
            CONTINUATION if self.message.is_none() => return Err(malformed("a continuation of nothing")),
            TEXT | CONTINUATION => {}
            _ => return Err(malformed("an opcode that does not exist")),
        }
        match (self.role, masked) {
            (Role::Server, false) => return Err(malformed("a client's frame without a mask")),
            (Role::Client, true) => return Err(malformed("a server's frame with a mask")),
            _ => {}
        }
        let Some((len, rest)) = payload_len(short, rest)? else { return Ok(None) };
        let so_far = self.message.as_ref().map_or(0, Vec::len);
        if opcode < CLOSE && len > (self.max - so_far) as u64 {
            return Err(WsError { code: 1009, reason: "a message over the limit" });
        }
        let (mask, rest) = match masked {
            false => ([0; 4], rest),
            true => match rest.split_first_chunk::<4>() {
                Some((mask, rest)) => (*mask, rest),
                None => return Ok(None),
            },
        };
        // It fits: control frames are short, the others below the limit.
        let payload = Payload { opcode, fin, left: len as usize, mask, control: Vec::new() };
        Ok(Some((payload, bytes.len() - rest.len())))
    }

    /// All of a frame has come.
    fn finish(&mut self) -> Result<Option<Frame>, WsError> {
        let State::Payload(payload) = std::mem::replace(&mut self.state, State::Header) else {
            return Ok(None);
        };
        match payload.opcode {
            PING => Ok(Some(Frame::Ping(payload.control))),
            PONG => Ok(Some(Frame::Pong(payload.control))),
            CLOSE => {
                let close = close_of(&payload.control)?;
                self.state = State::Closed;
                self.message = None;
                Ok(Some(Frame::Close(close)))
            }
            _ if !payload.fin => Ok(None),
            _ => {
                let message = self.message.take().unwrap_or_default();
                match simdutf8::basic::from_utf8(&message) {
                    Ok(_) => Ok(Some(Frame::Text(message))),
                    Err(_) => Err(WsError { code: 1007, reason: "text that is not UTF-8" }),
                }
            }
        }
    }
}

/// The length that the seven bits `short` and the bytes after them give, and what follows those. It must
/// be written as briefly as can be (RFC 6455 §5.2).
fn payload_len(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, WsError> {
    let (len, least, rest) = match short {
        126 => {
            let Some((bytes, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*bytes)), 126, rest)
        }
        127 => {
            let Some((bytes, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*bytes), 1 << 16, rest)
        }
        _ => (u64::from(short), 0, rest),
    };
    if len < least {
        return Err(malformed("a length in more bytes than it needs"));
    }
    if len >> 63 != 0 {
        return Err(malformed("a length beyond 63 bits"));
    }
    Ok(Some((len, rest)))
}

/// Code and reason of a close frame.
fn close_of(payload: &[u8]) -> Result<Option<Close>, WsError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => Err(malformed("half a close code")),
        };
    };
    let code = u16::from_be_bytes(*code);
    // 1004 to 1006 and 1015 are never sent (RFC 6455 §7.4.1).
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(malformed("a close code that does not exist"));
    }
    match String::from_utf8(reason.to_vec()) {
        Ok(reason) => Ok(Some(Close { code, reason })),
        Err(_) => Err(WsError { code: 1007, reason: "a close reason that is not UTF-8" }),
    }
}

/// Puts a mask on, or takes it off, eight bytes at once.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    if mask == [0; 4] {
        return;
    }
    let twice = u64::from_ne_bytes(std::array::from_fn(|i| mask[i % 4]));
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends one text message, unbroken. `text` must be UTF-8; `mask` is a client's, fresh and random for
/// each frame, and `None` a server's.
pub fn write_text(out: &mut Vec<u8>, text: &[u8], mask: Option<[u8; 4]>) {
    write_frame(out, TEXT, text, mask);
}

/// Appends a ping of at most 125 bytes; what is beyond is cut.
pub fn write_ping(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    write_frame(out, PING, &payload[..payload.len().min(CONTROL_MAX)], mask);
}

/// Appends a pong, the answer to a ping with the same bytes.
pub fn write_pong(out: &mut Vec<u8>, payload: &[u8], mask: Option<[u8; 4]>) {
    write_frame(out, PONG, &payload[..payload.len().min(CONTROL_MAX)], mask);
}

/// Appends a close frame: 1000 done, 1001 going away, 1008 not allowed, 1011 our fault, or the code of a
/// [`WsError`]. The reason is cut at 123 bytes, between characters.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: Option<[u8; 4]>) {
    debug_assert!(matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999));
    let mut len = reason.len().min(CONTROL_MAX - 2);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    let reason = &reason[..len];
    write_frame(out, CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat(), mask);
}

fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.reserve(payload.len() + 14);
    out.push(0x80 | opcode);
    match payload.len() {
        len @ ..126 => out.push(masked | len as u8),
        len @ ..0x1_0000 => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| out.extend_from_slice(mask)).unwrap_or_default();
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

#[cfg(test)]
mod tests;
