//! [`Reader`]: HTTP answers as a client reads them. It takes exactly what RFC 9112 says a server writes and
//! nothing that only a lenient client would understand.

/// The head of an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

/// What comes on a connection.
#[derive(Debug)]
pub(super) enum Part {
    Head(Head),
    Body(Vec<u8>),
    /// The answer is whole.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// The answer has no (more) body.
    Ending,
    Sized(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    LastLine,
    UntilClose,
    /// It is no HTTP any more.
    Upgraded,
}

/// Reads one answer after the other.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    state: State,
}

impl Head {
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn is_stream(&self) -> bool {
        self.get("content-type") == Some("text/event-stream")
    }

    pub fn closes(&self) -> bool {
        self.get("connection") == Some("close")
    }

    fn parse(text: &str) -> Result<Head, String> {
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or("");
        let rest = status_line.strip_prefix("HTTP/1.1 ").ok_or("a status line of another version")?;
        let (code, reason) = rest.split_once(' ').ok_or("a status line without a reason's place")?;
        if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) || reason.is_empty() {
            return Err(format!("the status line {status_line:?}"));
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(": ").ok_or_else(|| format!("the header {line:?}"))?;
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if name.is_empty() || !name.bytes().all(of_name) || value.trim() != value || value.is_empty() {
                return Err(format!("the header {line:?}"));
            }
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return Err(format!("the header {name} twice"));
            }
            headers.push((name.to_string(), value.to_string()));
        }
        let status = code.parse().map_err(|_| format!("the status {code:?}"))?;
        Ok(Head { status, headers })
    }

    /// How its body is framed.
    fn framing(&self) -> Result<State, String> {
        let bodiless = matches!(self.status, 204 | 304);
        match (self.get("content-length"), self.get("transfer-encoding")) {
            _ if self.status == 101 => Ok(State::Upgraded),
            (None, None) if bodiless => Ok(State::Ending),
            _ if bodiless => Err("a body where there can be none".into()),
            (Some(length), None) => match length.parse() {
                Ok(0) => Ok(State::Ending),
                Ok(length) => Ok(State::Sized(length)),
                Err(_) => Err(format!("the length {length:?}")),
            },
            (None, Some("chunked")) => Ok(State::ChunkSize),
            (None, None) if self.closes() => Ok(State::UntilClose),
            _ => Err("a body whose end nobody can tell".into()),
        }
    }
}

impl Reader {
    pub fn new() -> Reader {
        Reader { bytes: Vec::new(), state: State::Head }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next part, if it is there.
    pub fn next(&mut self) -> Result<Option<Part>, String> {
        match self.state {
            State::Head => self.head(),
            State::Ending => {
                self.state = State::Head;
                Ok(Some(Part::End))
            }
            State::Sized(left) => {
                let Some(body) = self.take_some(left) else { return Ok(None) };
                let left = left - body.len();
                self.state = if left == 0 { State::Ending } else { State::Sized(left) };
                Ok(Some(Part::Body(body)))
            }
            State::ChunkSize => {
                let Some(line) = self.line()? else { return Ok(None) };
                let is_hex = line.bytes().all(|byte| byte.is_ascii_hexdigit());
                let size = usize::from_str_radix(&line, 16);
                let Some(size) = size.ok().filter(|_| is_hex && (line.len() == 1 || !line.starts_with('0')))
                else {
                    return Err(format!("the chunk size {line:?}"));
                };
                self.state = if size == 0 { State::LastLine } else { State::Chunk(size) };
                self.next()
            }
            State::Chunk(left) => {
                let Some(body) = self.take_some(left) else { return Ok(None) };
                let left = left - body.len();
                self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                Ok(Some(Part::Body(body)))
            }
            State::ChunkEnd => self.empty_line(State::ChunkSize),
            State::LastLine => self.empty_line(State::Ending),
            State::UntilClose | State::Upgraded => {
                let all = self.bytes.len();
                Ok(self.take_some(all).map(Part::Body))
            }
        }
    }

    fn empty_line(&mut self, then: State) -> Result<Option<Part>, String> {
        match self.line()? {
            None => Ok(None),
            Some(line) if line.is_empty() => {
                self.state = then;
                self.next()
            }
            Some(line) => Err(format!("{line:?} where a line should be empty")),
        }
    }

    fn head(&mut self) -> Result<Option<Part>, String> {
        let Some(at) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return match self.bytes.len() > HEAD_MAX {
                true => Err(format!("a head of more than {HEAD_MAX} bytes")),
                false => Ok(None),
            };
        };
        let head: Vec<u8> = self.bytes.drain(..at + 4).collect();
        let text = std::str::from_utf8(&head[..at]).map_err(|_| "a head that is no text")?;
        if text.replace("\r\n", "").bytes().any(|byte| !matches!(byte, b' '..=b'~')) {
            return Err(format!("a head with bytes that it cannot have: {text:?}"));
        }
        let head = Head::parse(text)?;
        if head.status == 100 {
            return self.head();
        }
        self.state = head.framing()?;
        Ok(Some(Part::Head(head)))
    }

    /// At most `most` bytes, none if there are none.
    fn take_some(&mut self, most: usize) -> Option<Vec<u8>> {
        let n = most.min(self.bytes.len());
        (n > 0).then(|| self.bytes.drain(..n).collect())
    }

    /// A line that ends in CR LF, without that.
    fn line(&mut self) -> Result<Option<String>, String> {
        let Some(at) = self.bytes.iter().position(|&byte| byte == b'\n') else {
            return match self.bytes.len() > LINE_MAX {
                true => Err(format!("{:?} within a chunked body", String::from_utf8_lossy(&self.bytes))),
                false => Ok(None),
            };
        };
        let line: Vec<u8> = self.bytes.drain(..=at).collect();
        match line.strip_suffix(b"\r\n").map(<[u8]>::to_vec).map(String::from_utf8) {
            Some(Ok(line)) => Ok(Some(line)),
            _ => Err(format!("the line {:?} within a chunked body", String::from_utf8_lossy(&line))),
        }
    }

    /// The connection has ended: whether that ends an answer, or an error if one lacks its end.
    pub fn end(&mut self) -> Result<bool, String> {
        match self.state {
            State::UntilClose | State::Upgraded => Ok(true),
            State::Head if self.bytes.is_empty() => Ok(false),
            state => Err(format!("an answer without its end ({state:?})")),
        }
    }
}

const HEAD_MAX: usize = 4_096;
const LINE_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let mut reader = Reader::new();
        let mut out = String::new();
        for byte in text.bytes() {
            reader.feed(&[byte]);
            while let Some(part) = reader.next()? {
                match part {
                    Part::Head(head) => out += &format!("[{}]", head.status),
                    Part::Body(body) => out += std::str::from_utf8(&body).unwrap(),
                    Part::End => out += "|",
                }
            }
        }
        reader.end().map(|ended| if ended { out + "|" } else { out })
    }

    #[test]
    fn answers_are_read_as_they_are_framed() {
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), Ok("[200]abc|".into()));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\na\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(read(chunked), Ok("[200]ab0123456789|".into()));
        let two = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(&two.repeat(2)), Ok("[202]|[202]|".into()));
        assert_eq!(read("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"), Ok("[200]abc|".into()));
    }

    #[test]
    fn what_is_not_quite_http_is_a_failure() {
        for wrong in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n02\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=1\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
