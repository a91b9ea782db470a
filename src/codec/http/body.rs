//! Bodies: how long they are (RFC 9112 §6.3), and their bytes without the framing of chunks.
//!
//! Bytes leave the receive buffer as they come, so that never holds a whole body, and the framing of a
//! chunk, which the peer may make as long as it likes, is never kept at all.

use super::head::{self, HeadScan, Section};
use super::target::hex;
use super::{Headers, HttpError, Limits};
use crate::base::RecvBuf;

/// Longest line with the size of a chunk, in bytes, extensions included.
const CHUNK_LINE_MAX: usize = 256;

/// What comes of a body.
#[derive(Debug)]
pub(super) enum Piece<'b> {
    /// Some of its bytes, at least one, consumed.
    Data(&'b mut [u8]),
    /// It is complete. Only given once.
    End,
    /// More bytes are needed.
    Wait,
}

/// The decoder of one body.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes are still to come.
    Sized(usize),
    /// Chunks of unknown number.
    Chunked(Box<Chunks>),
    /// Everything until the connection ends.
    UntilClose { total: usize },
}

impl Body {
    /// The body that the headers of a request announce.
    pub(super) fn of_request(
        headers: &Headers,
        version_minor: u8,
        limits: &Limits,
    ) -> Result<Body, HttpError> {
        Ok(Body::announced(headers, version_minor, limits)?.unwrap_or(Body::Sized(0)))
    }

    /// The body of an answer that has one.
    pub(super) fn of_response(
        headers: &Headers,
        version_minor: u8,
        limits: &Limits,
    ) -> Result<Body, HttpError> {
        Ok(Body::announced(headers, version_minor, limits)?.unwrap_or(Body::UntilClose { total: 0 }))
    }

    fn announced(headers: &Headers, version_minor: u8, limits: &Limits) -> Result<Option<Body>, HttpError> {
        let coded = headers.get("transfer-encoding").is_some();
        let Some(length) = headers.get("content-length") else {
            if !coded {
                return Ok(None);
            }
            check_codings(headers, version_minor)?;
            return Ok(Some(Body::Chunked(Box::default())));
        };
        if coded {
            return Err(HttpError::fatal(400, "both Content-Length and Transfer-Encoding"));
        }
        if headers.is_duplicated("content-length") {
            return Err(HttpError::fatal(400, "more than one Content-Length"));
        }
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(HttpError::fatal(400, "a Content-Length that is no number"));
        }
        // What does not fit into a number is too large as well.
        let body = Body::Sized(length.parse().unwrap_or(usize::MAX));
        body.check_announced(limits)?;
        Ok(Some(body))
    }

    /// Whether the head said that nothing follows.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Body::Sized(0))
    }

    /// Refuses a length over the limit. Chunks and bodies without an end are refused as they come.
    pub(super) fn check_announced(&self, limits: &Limits) -> Result<(), HttpError> {
        if self.known_len() > limits.body_bytes { Err(too_large(limits)) } else { Ok(()) }
    }

    /// Bytes known to come, for making room.
    pub(super) fn known_len(&self) -> usize {
        if let Body::Sized(len) = self { *len } else { 0 }
    }

    pub(super) fn next<'b>(&mut self, buf: &'b mut RecvBuf, limits: &Limits) -> Result<Piece<'b>, HttpError> {
        let have = buf.len();
        match self {
            Body::Sized(0) => Ok(Piece::End),
            _ if have == 0 => Ok(Piece::Wait),
            Body::Sized(left) => {
                let n = have.min(*left);
                *left -= n;
                Ok(Piece::Data(buf.take(n)))
            }
            Body::Chunked(chunks) => chunks.next(buf, limits),
            Body::UntilClose { total } => {
                *total = total.saturating_add(have);
                if *total > limits.body_bytes {
                    return Err(too_large(limits));
                }
                Ok(Piece::Data(buf.take(have)))
            }
        }
    }
}

fn too_large(limits: &Limits) -> HttpError {
    HttpError::fatal(413, format!("the body exceeds {} bytes", limits.body_bytes))
}

/// The one coding that is understood is `chunked`, once.
fn check_codings(headers: &Headers, version_minor: u8) -> Result<(), HttpError> {
    if version_minor == 0 {
        // Whoever forwards HTTP/1.0 does not know the header, and would see another body (RFC 9112 §6.1).
        return Err(HttpError::fatal(400, "Transfer-Encoding in HTTP/1.0"));
    }
    let mut chunked = 0;
    for coding in headers.list("transfer-encoding") {
        if !coding.eq_ignore_ascii_case("chunked") {
            return Err(HttpError::fatal(501, "a Transfer-Encoding other than chunked"));
        }
        chunked += 1;
    }
    match chunked {
        1 => Ok(()),
        0 => Err(HttpError::fatal(400, "an empty Transfer-Encoding")),
        _ => Err(HttpError::fatal(400, "chunked twice")),
    }
}

/// The decoder of a chunked body (RFC 9112 §7.1).
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: ChunkState,
    /// Bytes of data announced so far.
    total: usize,
    /// Bytes of chunk extensions so far: together at most as long as a head may be.
    extensions: usize,
}

#[derive(Debug)]
enum ChunkState {
    Size(SizeLine),
    /// So many bytes of the chunk are still to come.
    Data(usize),
    /// CR and LF after the data; whether the CR has come.
    DataEnd {
        after_cr: bool,
    },
    Trailers(HeadScan),
}

impl Default for ChunkState {
    fn default() -> Self {
        ChunkState::Size(SizeLine::default())
    }
}

impl Chunks {
    fn next<'b>(&mut self, buf: &'b mut RecvBuf, limits: &Limits) -> Result<Piece<'b>, HttpError> {
        loop {
            match &mut self.state {
                ChunkState::Data(left) => {
                    let n = buf.len().min(*left);
                    if n == 0 {
                        return Ok(Piece::Wait);
                    }
                    *left -= n;
                    if *left == 0 {
                        self.state = ChunkState::DataEnd { after_cr: false };
                    }
                    return Ok(Piece::Data(buf.take(n)));
                }
                ChunkState::Trailers(scan) => {
                    let Some(len) = scan.find_end(buf, limits)? else { return Ok(Piece::Wait) };
                    head::check_trailers(&buf.filled()[..len], scan.header_count())?;
                    buf.consume(len);
                    return Ok(Piece::End);
                }
                _ => {
                    let Some(&byte) = buf.filled().first() else { return Ok(Piece::Wait) };
                    buf.consume(1);
                    self.framing(byte, limits)?;
                }
            }
        }
    }

    /// One byte between the data of two chunks.
    fn framing(&mut self, byte: u8, limits: &Limits) -> Result<(), HttpError> {
        match &mut self.state {
            ChunkState::Size(line) => {
                let extending = line.extending();
                if let Some(size) = line.take(byte)? {
                    self.begin(size, limits)?;
                } else if extending {
                    self.extensions += 1;
                    if self.extensions > limits.head_bytes {
                        return Err(HttpError::fatal(400, "too many chunk extensions"));
                    }
                }
            }
            ChunkState::DataEnd { after_cr } => match (byte, *after_cr) {
                (b'\r', false) => *after_cr = true,
                (b'\n', true) => self.state = ChunkState::default(),
                _ => return Err(HttpError::fatal(400, "a chunk does not end where its size says")),
            },
            ChunkState::Data(_) | ChunkState::Trailers(_) => {}
        }
        Ok(())
    }

    /// A chunk of `size` bytes starts; one of none is the last.
    fn begin(&mut self, size: u64, limits: &Limits) -> Result<(), HttpError> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.total = self.total.saturating_add(size);
        if self.total > limits.body_bytes {
            return Err(too_large(limits));
        }
        self.state = match size {
            0 => ChunkState::Trailers(HeadScan::new(Section::Trailers)),
            _ => ChunkState::Data(size),
        };
        Ok(())
    }
}

/// The line that says how long a chunk is: digits, then maybe extensions, which mean nothing here.
#[derive(Debug, Default)]
struct SizeLine {
    size: u64,
    len: usize,
    digits: usize,
    part: SizePart,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum SizePart {
    #[default]
    Digits,
    /// White space, after which an extension must come.
    Space,
    Extension,
    AfterCr,
}

impl SizeLine {
    fn extending(&self) -> bool {
        self.part == SizePart::Extension
    }

    /// One more byte; the size if that was the end of the line.
    fn take(&mut self, byte: u8) -> Result<Option<u64>, HttpError> {
        let refuse = |reason: &str| Err(HttpError::fatal(400, reason));
        self.len += 1;
        if self.len > CHUNK_LINE_MAX {
            return refuse("the line of a chunk size is too long");
        }
        if let (SizePart::Digits, Some(digit)) = (self.part, hex(byte)) {
            self.digits += 1;
            if self.digits > 16 {
                return refuse("a chunk size of more than 16 digits");
            }
            self.size = self.size << 4 | u64::from(digit);
            return Ok(None);
        }
        if self.digits == 0 {
            return refuse("a chunk without a size");
        }
        self.part = match (byte, self.part) {
            (b'\n', SizePart::AfterCr) => return Ok(Some(self.size)),
            (_, SizePart::AfterCr) => return refuse("a CR in a chunk size without LF"),
            (b'\r', SizePart::Digits | SizePart::Extension) => SizePart::AfterCr,
            (b';', _) => SizePart::Extension,
            (b' ' | b'\t', SizePart::Digits | SizePart::Space) => SizePart::Space,
            (b'\t' | b' '..=b'~', SizePart::Extension) => SizePart::Extension,
            _ => return refuse("a chunk size that is no hexadecimal number"),
        };
        Ok(None)
    }
}
