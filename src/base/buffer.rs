//! [`RecvBuf`] and [`SendBuf`]: the two ends of a message's journey.
//!
//! ```text
//!   RecvBuf   0 ≤ start ≤ searched ≤ end ≤ capacity
//!             ┌────────┬───────────┬──────────┬────────┐
//!             │consumed│ searched  │ new bytes│ spare  │   read() fills spare, decoders consume
//!             └────────┴───────────┴──────────┴────────┘
//!   SendBuf   ┌────────┬──────────────────────┐
//!             │ sent   │ pending              │           encode appends, flush consumes
//!             └────────┴──────────────────────┘
//! ```

/// Bytes received and not yet decoded.
#[derive(Debug, Default)]
pub struct RecvBuf {
    bytes: Vec<u8>,
    start: usize,
    /// Offset from `start` up to which a decoder has already looked for its delimiter.
    searched: usize,
    end: usize,
}

impl RecvBuf {
    /// An empty buffer that allocates on first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for at least `min` more bytes; moves or grows the content as needed.
    pub fn spare(&mut self, min: usize) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.searched = 0;
        }
        if self.bytes.len() - self.end < min {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.bytes.len() - self.end < min {
                // Doubling keeps the total copied for one large message linear in its size.
                let want = (self.end + min).max(self.bytes.len() * 2);
                self.bytes.resize(want, 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Whether `min` more bytes fit without growing.
    pub fn has_room(&self, min: usize) -> bool {
        self.capacity() - self.len() >= min
    }

    /// Moves the content to an empty buffer.
    pub fn move_to(&mut self, other: &mut RecvBuf) {
        let searched = self.searched;
        let content = self.filled();
        other.spare(content.len())[..content.len()].copy_from_slice(content);
        other.advance(content.len());
        other.searched = searched;
        *self = RecvBuf { bytes: std::mem::take(&mut self.bytes), ..RecvBuf::default() };
    }

    /// Declares `n` bytes of `spare` as received.
    pub fn advance(&mut self, n: usize) {
        self.end += n;
        assert!(self.end <= self.bytes.len(), "advance past the spare room");
    }

    /// Received bytes that nobody has consumed.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Received bytes that nobody has consumed.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// How far into `filled` a decoder has searched in vain.
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Remembers that the first `n` bytes of `filled` hold no delimiter.
    pub fn set_searched(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.searched = n;
    }

    /// Drops the first `n` bytes of `filled`; the bytes stay in place until the next `spare`.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len(), "consume past the end");
        self.start += n;
        self.searched = self.searched.saturating_sub(n);
    }

    /// Takes the first `n` bytes of `filled` out and lends them.
    pub fn take(&mut self, n: usize) -> &mut [u8] {
        let start = self.start;
        self.consume(n);
        &mut self.bytes[start..start + n]
    }

    /// Number of unconsumed bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether everything received was consumed.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

/// Copies `bytes` to `to`, which is as long, by two pieces of fixed size that may overlap, if they are few: the
/// pieces of a message are short, and for these a call of `memcpy` costs more than the copy (musl's, above all).
#[inline(always)]
fn copy_short(to: &mut [u8], bytes: &[u8]) {
    match bytes.len() {
        0 => {}
        1..4 => to.iter_mut().zip(bytes).take(3).for_each(|(to, from)| *to = *from),
        4..8 => two_pieces::<4>(to, bytes),
        8..16 => two_pieces::<8>(to, bytes),
        16..32 => two_pieces::<16>(to, bytes),
        32..64 => two_pieces::<32>(to, bytes),
        64..128 => two_pieces::<64>(to, bytes),
        128..=256 => two_pieces::<128>(to, bytes),
        _ => to.copy_from_slice(bytes),
    }
}

/// Copies `bytes`, of which there are `N` to `2 * N`.
#[inline(always)]
fn two_pieces<const N: usize>(to: &mut [u8], bytes: &[u8]) {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else { return };
    if let Some(to) = to.first_chunk_mut::<N>() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut::<N>() {
        *to = *last;
    }
}

/// Room for one message at the end of a [`SendBuf`].
#[derive(Debug)]
pub struct Room<'a> {
    left: &'a mut [u8],
}

impl Room<'_> {
    /// Puts the next piece. (Panics if there are more bytes than room.)
    #[inline]
    pub fn put(&mut self, part: &[u8]) {
        let (to, left) = std::mem::take(&mut self.left).split_at_mut(part.len());
        copy_short(to, part);
        self.left = left;
    }

    /// Panics unless it is full: what is left would be bytes of an older message, maybe another client's.
    #[inline]
    pub fn finish(self) {
        assert!(self.left.is_empty(), "less was put than was said");
    }
}

/// Bytes encoded and not yet written.
#[derive(Debug, Default)]
pub struct SendBuf {
    /// Initialised as far as it was ever used, so that most messages go into room that is there.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl SendBuf {
    /// An empty buffer that allocates on first use.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `bytes`.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        match self.bytes.get_mut(self.end..end) {
            Some(room) => copy_short(room, bytes),
            None => {
                self.bytes.truncate(self.end);
                self.bytes.extend_from_slice(bytes);
            }
        }
        self.end = end;
    }

    /// Appends `len` bytes, which are put into the room that this gives, all of them.
    #[inline]
    pub fn room(&mut self, len: usize) -> Room<'_> {
        if self.bytes.len() - self.end < len {
            self.make_room(len);
            self.bytes.resize(self.end + len, 0);
        }
        let start = self.end;
        self.end += len;
        Room { left: &mut self.bytes[start..self.end] }
    }

    /// Makes room for `additional` bytes at once, reusing what was sent already.
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        if self.bytes.len() - self.end < additional {
            self.make_room(additional);
        }
    }

    #[cold]
    fn make_room(&mut self, additional: usize) {
        if self.start > 0 && self.bytes.capacity() - self.end < additional {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.bytes.truncate(self.end);
        self.bytes.reserve(additional);
    }

    /// What is still to be written.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Drops the first `n` pending bytes.
    pub fn consume(&mut self, n: usize) {
        self.start += n;
        assert!(self.start <= self.end, "consume past the end");
        if self.start == self.end {
            self.clear();
        }
    }

    /// Number of pending bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops everything pending.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buf: &mut RecvBuf, bytes: &[u8]) {
        buf.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        buf.advance(bytes.len());
    }

    #[test]
    fn recv_keeps_unconsumed_bytes_across_growth_and_moves() {
        let mut buf = RecvBuf::new();
        let mut expected = Vec::new();
        for round in 0..200usize {
            let chunk: Vec<u8> = (0..round % 37).map(|i| (round + i) as u8).collect();
            put(&mut buf, &chunk);
            expected.extend_from_slice(&chunk);
            assert_eq!(buf.filled(), &expected[..]);
            buf.set_searched(buf.len());
            let n = (round * 13) % (expected.len() + 1);
            assert_eq!(buf.take(n).to_vec(), expected.drain(..n).collect::<Vec<_>>());
            assert_eq!(buf.searched(), buf.len());
        }
        assert!(buf.capacity() < 2_000, "consumed room is used again: {}", buf.capacity());
    }

    #[test]
    fn content_moves_to_another_buffer_with_what_was_searched() {
        let (mut from, mut to) = (RecvBuf::new(), RecvBuf::new());
        from.spare(10)[..5].copy_from_slice(b"hello");
        from.advance(5);
        from.consume(1);
        from.set_searched(3);
        to.spare(100);
        from.move_to(&mut to);
        assert_eq!((to.filled(), to.searched(), to.has_room(90)), (&b"ello"[..], 3, true));
        assert_eq!((from.len(), from.searched(), from.capacity() >= 10), (0, 0, true));
    }

    #[test]
    fn room_is_filled_with_pieces_of_any_length() {
        let mut buf = SendBuf::new();
        let mut expected = Vec::new();
        for round in 0..300usize {
            let bytes: Vec<u8> = (0..round).map(|i| (round + i) as u8).collect();
            let (first, rest) = bytes.split_at(round * 7 % (round + 1));
            let mut room = buf.room(round);
            room.put(first);
            room.put(rest);
            room.finish();
            expected.extend_from_slice(&bytes);
            assert_eq!(buf.pending(), &expected[..]);
            let n = (round * 13) % (expected.len() + 1);
            buf.consume(n);
            expected.drain(..n);
        }
    }

    #[test]
    #[should_panic = "less was put"]
    fn room_that_is_not_filled_is_noticed() {
        let mut buf = SendBuf::new();
        let mut room = buf.room(3);
        room.put(b"ab");
        room.finish();
    }

    #[test]
    fn send_gives_bytes_in_order_and_forgets_what_was_sent() {
        let mut buf = SendBuf::new();
        let mut expected = Vec::new();
        for round in 0..100u8 {
            let chunk = vec![round; 50];
            buf.reserve(chunk.len());
            buf.extend(&chunk);
            expected.extend_from_slice(&chunk);
            let n = (usize::from(round) * 31) % (expected.len() + 1);
            assert_eq!(buf.pending(), &expected[..]);
            buf.consume(n);
            expected.drain(..n);
        }
        buf.consume(buf.len());
        assert!(buf.is_empty());
        assert!(buf.capacity() < 10_000);
    }
}
