//! Where a head ends, and whether its bytes may be believed; then its fields, by `httparse`.
//!
//! `httparse` takes lines that end in LF alone, bytes beyond ASCII and leading empty lines; [`HeadScan`]
//! has refused them before. It goes over each byte once, in the order of their coming, and refuses at the
//! first wrong byte: so it cannot matter how the stream is cut.

use super::headers::{Field, Headers};
use super::{HttpError, Limits, TLS_ON_PLAIN_PORT};
use crate::base::RecvBuf;

/// What kind of head it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// Request line and headers. One empty line before it is skipped (RFC 9112 §2.2).
    Request,
    /// Status line and headers.
    Response,
    /// Trailers after the last chunk: maybe nothing before the empty line.
    Trailers,
}

/// The search for the empty line that ends a head. How far it has come is the buffer's `searched`.
#[derive(Debug)]
pub(super) struct HeadScan {
    section: Section,
    /// Whole lines before this one.
    lines: usize,
    /// Bytes of this line so far.
    line_len: usize,
    after_cr: bool,
    skipped_empty_line: bool,
}

impl HeadScan {
    pub(super) fn new(section: Section) -> HeadScan {
        HeadScan { section, lines: 0, line_len: 0, after_cr: false, skipped_empty_line: false }
    }

    /// Whether no byte of the head has come yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.lines == 0 && self.line_len == 0 && !self.after_cr
    }

    /// Header lines of a head that has ended.
    pub(super) fn header_count(&self) -> usize {
        self.lines - usize::from(self.section != Section::Trailers)
    }

    /// Length of the whole head with its empty line, or `None` if that has not come yet.
    pub(super) fn find_end(
        &mut self,
        buf: &mut RecvBuf,
        limits: &Limits,
    ) -> Result<Option<usize>, HttpError> {
        let mut at = buf.searched();
        while let Some(&byte) = buf.filled().get(at) {
            if at >= limits.head_bytes {
                return Err(HttpError::fatal(431, format!("the head exceeds {} bytes", limits.head_bytes)));
            }
            at += 1;
            if byte != b'\n' {
                self.take(byte, limits)?;
                continue;
            }
            if !self.after_cr {
                return Err(HttpError::fatal(400, "a line of the head ends in LF without CR"));
            }
            self.after_cr = false;
            if self.line_len == 0 && (self.lines > 0 || self.section == Section::Trailers) {
                return Ok(Some(at));
            }
            if self.line_len == 0 {
                self.skip_empty_line()?;
                buf.consume(at);
                at = 0;
                continue;
            }
            self.line_len = 0;
            self.lines += 1;
            if self.header_count() > limits.headers {
                return Err(HttpError::fatal(431, format!("more than {} headers", limits.headers)));
            }
        }
        buf.set_searched(at);
        Ok(None)
    }

    /// A byte other than LF.
    fn take(&mut self, byte: u8, limits: &Limits) -> Result<(), HttpError> {
        if self.after_cr {
            return Err(HttpError::fatal(400, "a CR in the head without LF"));
        }
        match byte {
            b'\r' => {
                self.after_cr = true;
                return Ok(());
            }
            b' ' | b'\t' if self.line_len == 0 => {
                return Err(HttpError::fatal(400, "a line of the head starts with white space"));
            }
            b'\t' | b' '..=b'~' => self.line_len += 1,
            TLS_HANDSHAKE if self.lines == 0 && self.line_len == 0 && self.section == Section::Request => {
                return Err(HttpError::fatal(400, TLS_ON_PLAIN_PORT));
            }
            0 => return Err(HttpError::fatal(400, "a NUL byte in the head")),
            _ => return Err(HttpError::fatal(400, format!("byte 0x{byte:02x} in the head"))),
        }
        if self.lines == 0 && self.section == Section::Request && self.line_len > limits.head_bytes / 2 {
            let most = limits.head_bytes / 2;
            return Err(HttpError::fatal(414, format!("the request line exceeds {most} bytes")));
        }
        Ok(())
    }

    fn skip_empty_line(&mut self) -> Result<(), HttpError> {
        if self.section != Section::Request || self.skipped_empty_line {
            return Err(HttpError::fatal(400, "an empty line where a message starts"));
        }
        self.skipped_empty_line = true;
        Ok(())
    }
}

/// First byte of what a TLS client says first (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// First line and headers of a request that [`HeadScan`] has passed.
pub(super) struct RequestHead {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version_minor: u8,
    pub(super) headers: Headers,
}

pub(super) fn parse_request(head: &[u8], header_count: usize) -> Result<RequestHead, HttpError> {
    let text = ascii(head)?;
    check_version(&text)?;
    let mut fields = vec![httparse::EMPTY_HEADER; header_count];
    let mut parsed = httparse::Request::new(&mut fields);
    let whole = parsed.parse(text.as_bytes()).map_err(refuse)?;
    let (Some(method), Some(target), Some(version_minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(HttpError::fatal(400, "the request line is not complete"));
    };
    require_whole(whole, &text)?;
    let (method, target) = (method.to_owned(), target.to_owned());
    let fields = places(&text, parsed.headers);
    Ok(RequestHead { method, target, version_minor, headers: Headers::new(text, fields) })
}

/// Status, minor version and headers of an answer that [`HeadScan`] has passed.
pub(super) fn parse_response(head: &[u8], header_count: usize) -> Result<(u16, u8, Headers), HttpError> {
    let text = ascii(head)?;
    let mut fields = vec![httparse::EMPTY_HEADER; header_count];
    let mut parsed = httparse::Response::new(&mut fields);
    let whole = parsed.parse(text.as_bytes()).map_err(refuse)?;
    let (Some(status), Some(version_minor)) = (parsed.code, parsed.version) else {
        return Err(HttpError::fatal(400, "the status line is not complete"));
    };
    require_whole(whole, &text)?;
    if !(100..600).contains(&status) {
        return Err(HttpError::fatal(400, "a status that is none"));
    }
    let fields = places(&text, parsed.headers);
    Ok((status, version_minor, Headers::new(text, fields)))
}

/// Trailers that [`HeadScan`] has passed: checked, then forgotten, for they must not change a request
/// that guards have judged by its headers.
pub(super) fn check_trailers(section: &[u8], count: usize) -> Result<(), HttpError> {
    let mut fields = vec![httparse::EMPTY_HEADER; count];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((len, _))) if len == section.len() => Ok(()),
        Ok(_) => Err(HttpError::fatal(400, "malformed trailers")),
        Err(error) => Err(refuse(error)),
    }
}

fn ascii(head: &[u8]) -> Result<String, HttpError> {
    String::from_utf8(head.to_vec()).map_err(|_| HttpError::fatal(400, "the head is not ASCII"))
}

/// Two readers of one head must agree where it ends.
fn require_whole(parsed: httparse::Status<usize>, text: &str) -> Result<(), HttpError> {
    match parsed {
        httparse::Status::Complete(len) if len == text.len() => Ok(()),
        _ => Err(HttpError::fatal(400, "the head ends where it should not")),
    }
}

/// 505 for a version that exists but is not ours; what is no version at all is left to the parser.
fn check_version(head: &str) -> Result<(), HttpError> {
    let line = head.split_once("\r\n").map_or(head, |(line, _)| line);
    let Some((_, version)) = line.rsplit_once(" HTTP/") else { return Ok(()) };
    match version.as_bytes() {
        b"1.0" | b"1.1" => Ok(()),
        [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(HttpError::fatal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"))
        }
        _ => Ok(()),
    }
}

fn refuse(error: httparse::Error) -> HttpError {
    let reason = match error {
        httparse::Error::HeaderName => "a header name that is no token before its colon",
        httparse::Error::HeaderValue => "a header value that is not allowed",
        httparse::Error::Token => "a first line that does not have its parts",
        httparse::Error::Version => "no version of HTTP in the first line",
        httparse::Error::Status => "a status that is none",
        httparse::Error::NewLine => "a line that does not end where it should",
        httparse::Error::TooManyHeaders => return HttpError::fatal(431, "too many headers"),
    };
    HttpError::fatal(400, reason)
}

/// Where in `text` the names and values are.
fn places(text: &str, fields: &[httparse::Header<'_>]) -> Vec<Field> {
    let base = text.as_ptr().addr();
    let place = |bytes: &[u8]| {
        // Where an empty value points to is nobody's promise.
        let start = if bytes.is_empty() { 0 } else { bytes.as_ptr().addr() - base };
        start..start + bytes.len()
    };
    let field = |field: &httparse::Header<'_>| Field {
        name: place(field.name.as_bytes()),
        value: place(field.value.trim_ascii()),
    };
    fields.iter().map(field).collect()
}
