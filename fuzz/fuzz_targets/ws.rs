//! See `muxloop::fuzzing::ws`; and another implementation must read the same.
#![no_main]

use std::io::{self, Read, Write};

use muxloop::codec::ws::{Frame, Role, WsError};
use tungstenite::protocol::{WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message, protocol};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (frames, error) = muxloop::fuzzing::ws(data);
    if let [choice, _, stream @ ..] = data {
        compare(*choice, stream, &frames, error);
    }
});

/// The stream, and nothing that is ever written.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self.0.read(to)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the other one reads, up to the end, a close, or a refusal (`true`).
fn read(choice: u8, stream: &[u8]) -> (Vec<Frame>, bool) {
    let (role, limit) = muxloop::fuzzing::ws_settings(choice);
    let role = if role == Role::Server { protocol::Role::Server } else { protocol::Role::Client };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit.max(125)));
    let mut context = WebSocketContext::new(role, Some(config));
    let mut wire = Wire(stream);
    let mut frames = Vec::new();
    loop {
        match context.read(&mut wire) {
            Ok(Message::Text(text)) => frames.push(Frame::Text(text.as_bytes().to_vec())),
            Ok(Message::Ping(bytes)) => frames.push(Frame::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => frames.push(Frame::Pong(bytes.to_vec())),
            Ok(Message::Close(_)) => {
                // Its code and reason are told in other words; that there is a close is enough.
                frames.push(Frame::Close(None));
                return (frames, false);
            }
            // We refuse these.
            Ok(Message::Binary(_) | Message::Frame(_)) => return (frames, true),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (frames, false),
            Err(_) => return (frames, true),
        }
    }
}

fn compare(choice: u8, stream: &[u8], ours: &[Frame], error: Option<WsError>) {
    let (theirs, refused) = read(choice, stream);
    let ours: Vec<Frame> = ours
        .iter()
        .map(|frame| match frame {
            Frame::Close(_) => Frame::Close(None),
            other => other.clone(),
        })
        .collect();
    let common = ours.len().min(theirs.len());
    assert_eq!(ours[..common], theirs[..common]);
    // Who refuses sees no more than the other: they refuse bad UTF-8 before the message ends, we
    // refuse lengths in more bytes than needed.
    assert!(error.is_some() || ours.len() >= theirs.len(), "we miss {:?}", &theirs[common..]);
    assert!(refused || theirs.len() >= ours.len(), "we make up {:?}", &ours[common..]);
}
