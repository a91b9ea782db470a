//! Byte-level tables: what is taken, what is refused, and that neither depends on how the bytes are cut.

mod chunks;
mod clients;
mod request;
mod response;
mod write;

use super::*;
use crate::base::RecvBuf;

/// Bounds small enough to exceed in a test.
const LIMITS: Limits = Limits { head_bytes: 400, headers: 8, body_bytes: 100 };

fn receive(buf: &mut RecvBuf, bytes: &[u8]) {
    buf.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
    buf.advance(bytes.len());
}

/// All that `next` gives when `stream` comes in pieces of `step` bytes, up to a refusal.
fn cut<E: PartialEq + fmt::Debug>(
    stream: &[u8],
    step: usize,
    mut next: impl FnMut(&mut RecvBuf) -> Result<Option<E>, HttpError>,
) -> (Vec<E>, Option<HttpError>) {
    let mut buf = RecvBuf::new();
    let mut events = Vec::new();
    for piece in stream.chunks(step.max(1)) {
        receive(&mut buf, piece);
        loop {
            match next(&mut buf) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(next(&mut buf).as_ref(), Err(&error), "it stays failed");
                    return (events, Some(error));
                }
            }
        }
        assert_eq!(buf.searched(), buf.len(), "all was looked at");
        assert!(buf.len() <= LIMITS.head_bytes, "what waits for its end is bounded");
    }
    (events, None)
}
