//! HTTP, event streams and WebSocket: the same bytes give the same however they are cut, and what was
//! taken is taken again when written anew.

use std::fmt::Debug;

use crate::base::RecvBuf;
use crate::codec::http::{self, Framing, HttpError, HttpEvent, Limits, Method, Request, RequestDecoder};
use crate::codec::http::{ResponseDecoder, ResponseEvent};
use crate::codec::{sse, ws};

/// What `next` gives until it refuses, when `stream` comes in pieces of `step`; and the refusal.
fn cut<T, E>(
    stream: &[u8],
    step: usize,
    mut next: impl FnMut(&mut RecvBuf) -> Result<Option<T>, E>,
) -> (Vec<T>, Option<E>) {
    let mut buf = RecvBuf::new();
    let mut events = Vec::new();
    for piece in stream.chunks(step.max(1)) {
        buf.spare(piece.len())[..piece.len()].copy_from_slice(piece);
        buf.advance(piece.len());
        loop {
            match next(&mut buf) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

/// The same for three cuts: all at once, byte by byte, and pieces of `step`.
fn however_cut<T: PartialEq + Debug>(stream: &[u8], step: u8, mut run: impl FnMut(usize) -> T) -> T {
    let whole = run(stream.len());
    for step in [1, usize::from(step) + 2] {
        assert_eq!(run(step), whole, "in pieces of {step}");
    }
    whole
}

/// HTTP, as server and as client: a byte of limits, a byte of piece length, then the stream. Gives the
/// number of requests and answers that were read to their end.
pub fn http(data: &[u8]) -> usize {
    let [limits, step, stream @ ..] = data else { return 0 };
    let limit = usize::from(*limits);
    let limits = Limits { head_bytes: limit * 16, headers: limit / 8, body_bytes: limit * 4 };
    let (events, error) = however_cut(stream, *step, |step| {
        let mut decoder = RequestDecoder::new(limits);
        cut(stream, step, |buf| decoder.next(buf))
    });
    if let Some(error) = error {
        check_refusal(&error);
    }
    let answers = however_cut(stream, *step, |step| answers(stream, limits, step));
    check_requests(&events, limits) + answers.iter().filter(|told| matches!(told, Told::End)).count()
}

fn check_refusal(error: &HttpError) {
    assert!(error.close && !http::reason(error.status).is_empty(), "{error:?}");
    assert!(error.reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{error:?}");
}

/// Each request has one body within the limit; written anew, it is the same request.
fn check_requests(events: &[HttpEvent], limits: Limits) -> usize {
    let mut whole = 0;
    let mut open: Option<&Request> = None;
    for event in events {
        match (event, open) {
            (HttpEvent::Head(request), None) => open = Some(request),
            (HttpEvent::Continue, Some(request)) => assert!(request.headers.get("expect").is_some()),
            (HttpEvent::Body(body), Some(request)) => {
                assert!(body.len() <= limits.body_bytes);
                check_request(request, body);
                open = None;
                whole += 1;
            }
            _ => panic!("events out of order: {events:?}"),
        }
    }
    whole
}

fn check_request(request: &Request, body: &[u8]) {
    for (name, value) in request.headers.iter() {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
        assert!(value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')));
        assert_eq!(value, value.trim());
        assert_eq!(request.headers.get(name), request.headers.get_all(name).next());
    }
    http::percent_decode(&request.target);
    for pair in request.query.iter().flat_map(|query| http::query_pairs(query)).flatten() {
        assert!(!pair.0.contains('\0') && !pair.1.contains('\0'));
    }
    let target = match &request.query {
        Some(query) => format!("{}?{query}", request.target),
        None => request.target.clone(),
    };
    assert!(target.starts_with('/') || matches!(request.method, Method::Options | Method::Other(_)));
    let framing = ["content-length", "transfer-encoding", "host", "expect"];
    let kept = |name: &str| !framing.iter().any(|other| name.eq_ignore_ascii_case(other));
    let headers: Vec<_> = request.headers.iter().filter(|(name, _)| kept(name)).collect();
    let host = request.headers.get("host").unwrap_or("h");
    let mut out = Vec::new();
    let framing = if body.len().is_multiple_of(2) { Framing::Sized(body.len()) } else { Framing::Chunked };
    http::write_request_head(&mut out, request.method.as_str(), &target, host, &headers, framing);
    if framing == Framing::Chunked {
        http::write_chunk(&mut out, body);
        http::write_last_chunk(&mut out);
    } else {
        out.extend_from_slice(body);
    }
    let limits = Limits { head_bytes: 1 << 20, headers: 1 << 10, body_bytes: body.len() };
    let mut decoder = RequestDecoder::new(limits);
    let (events, error) = cut(&out, out.len(), |buf| decoder.next(buf));
    assert_eq!(error, None, "{}", out.escape_ascii());
    let [HttpEvent::Head(again), HttpEvent::Body(body_again)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&again.method, &again.target, &again.query, &body_again[..]),
        (&request.method, &request.target, &request.query, body)
    );
}

/// An event of an answer; a body's pieces joined, for they come as the stream is cut.
#[derive(Debug, PartialEq)]
enum Told {
    Head(http::Response),
    Body(Vec<u8>),
    End,
    Refused(HttpError),
}

/// The stream as answers to requests, of which every third was a HEAD; then the connection ends.
fn answers(stream: &[u8], limits: Limits, step: usize) -> Vec<Told> {
    let mut decoder = ResponseDecoder::new(limits);
    (0..16).for_each(|i| decoder.expect(i % 3 == 2));
    let (mut events, mut error) = cut(stream, step, |buf| decoder.next(buf));
    if error.is_none() {
        match decoder.finish() {
            Ok(end) => events.extend(end),
            Err(why) => error = Some(why),
        }
    }
    let mut told = Vec::new();
    for event in events {
        match (event, told.last_mut()) {
            (ResponseEvent::Body(bytes), Some(Told::Body(body))) => body.extend_from_slice(&bytes),
            (ResponseEvent::Body(bytes), _) => told.push(Told::Body(bytes)),
            (ResponseEvent::Head(head), _) => told.push(Told::Head(head)),
            (ResponseEvent::End, _) => told.push(Told::End),
        }
    }
    // Nothing is promised of how much of a body is given before the refusal of the rest.
    if let (Some(Told::Body(_)), Some(_)) = (told.last(), &error) {
        told.pop();
    }
    if let Some(error) = error {
        check_refusal(&error);
        told.push(Told::Refused(error));
    }
    told
}

/// Event streams: a byte of limit, a byte of piece length, then the stream, read as the standard words it.
/// The stream is also written as the data of an event, and read back. Gives the number of events.
pub fn sse(data: &[u8]) -> usize {
    let [limit, step, stream @ ..] = data else { return 0 };
    let limit = usize::from(*limit) * 4;
    let (events, error) = however_cut(stream, *step, |step| {
        let mut decoder = sse::Decoder::new(limit);
        cut(stream, step, |buf| decoder.next(buf))
    });
    let expected = standard_events(stream);
    match error {
        None => assert_eq!(events, expected),
        Some(_) => assert_eq!(events[..], expected[..events.len()]),
    }
    check_written(stream);
    events.len()
}

/// The events of a stream, by the wording of WHATWG HTML §9.2.6 and at no speed.
fn standard_events(stream: &[u8]) -> Vec<sse::Event> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut events = Vec::new();
    let (mut id, mut name, mut data, mut retry) = (String::new(), String::new(), None, None);
    let lines = lf_only(stream);
    let mut lines = lines.split(|&byte| byte == b'\n').collect::<Vec<_>>();
    // What follows the last line end is a line that has not ended.
    lines.pop();
    for line in lines {
        if line.is_empty() {
            let event = Some(std::mem::take(&mut name)).filter(|name| !name.is_empty());
            let retry = retry.take();
            if let Some(data) = data.take() {
                events.push(sse::Event {
                    id: Some(id.clone()).filter(|id| !id.is_empty()),
                    event,
                    data,
                    retry,
                });
            }
            continue;
        }
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let field = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        let value = if value.starts_with(b" ") { &value[1..] } else { value };
        let text = String::from_utf8_lossy(value).into_owned();
        match field {
            b"data" => {
                let lines: Vec<u8> =
                    data.take().map_or(Vec::new(), |lines: Vec<u8>| [&lines[..], b"\n"].concat());
                data = Some([&lines[..], value].concat());
            }
            b"event" => name = text,
            b"id" if !text.contains('\0') => id = text,
            b"retry" if !value.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => {
                retry = text.parse().ok()
            }
            _ => {}
        }
    }
    events
}

/// CRLF and CR as LF.
fn lf_only(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, &byte) in text.iter().enumerate() {
        match byte {
            b'\r' => out.push(b'\n'),
            b'\n' if i > 0 && text[i - 1] == b'\r' => {}
            _ => out.push(byte),
        }
    }
    out
}

/// An event is read back with its data, and no comment, id or name becomes anything else.
fn check_written(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut out = Vec::new();
    sse::write_comment(&mut out, &text);
    sse::write_event(&mut out, Some(&text), Some(&text), Some(7), data);
    let mut decoder = sse::Decoder::new(out.len());
    let (events, error) = cut(&out, out.len(), |buf| decoder.next(buf));
    assert_eq!((events.len(), error), (1, None), "{}", out.escape_ascii());
    assert_eq!(events[0].data, lf_only(data));
    let kept = |text: &str| text.replace(['\r', '\n', '\0'], "");
    assert_eq!(events[0].id.clone().unwrap_or_default(), kept(&text));
    assert_eq!(events[0].event.clone().unwrap_or_default(), kept(&text));
}

/// WebSocket: a byte of limit and role, a byte of piece length, then the stream. What was read is
/// written and read again. Gives what was read and whether the stream was refused.
pub fn ws(data: &[u8]) -> (Vec<ws::Frame>, Option<ws::WsError>) {
    let [choice, step, stream @ ..] = data else { return (Vec::new(), None) };
    let (role, limit) = ws_settings(*choice);
    let (frames, error) = however_cut(stream, *step, |step| {
        let mut decoder = ws::Decoder::new(role, limit);
        cut(stream, step, |buf| decoder.next(buf))
    });
    let (mask, mut out) = ((role == ws::Role::Server).then_some([1, *step, 0, 255]), Vec::new());
    let mut written = Vec::new();
    for frame in &frames {
        match frame {
            ws::Frame::Text(text) => {
                assert!(text.len() <= limit && std::str::from_utf8(text).is_ok());
                ws::write_text(&mut out, text, mask);
            }
            ws::Frame::Ping(payload) => ws::write_ping(&mut out, payload, mask),
            ws::Frame::Pong(payload) => ws::write_pong(&mut out, payload, mask),
            ws::Frame::Close(Some(close)) => ws::write_close(&mut out, close.code, &close.reason, mask),
            // We always give a reason.
            ws::Frame::Close(None) => continue,
        }
        written.push(frame);
    }
    let mut decoder = ws::Decoder::new(role, limit);
    let (again, refused) = cut(&out, out.len(), |buf| decoder.next(buf));
    assert_eq!((again.iter().collect::<Vec<_>>(), refused), (written, None));
    (frames, error)
}

/// The role and the limit that the first byte of an input for [`ws`] stands for.
pub fn ws_settings(choice: u8) -> (ws::Role, usize) {
    let role = if choice & 1 == 0 { ws::Role::Server } else { ws::Role::Client };
    (role, usize::from(choice >> 1) * 16)
}
