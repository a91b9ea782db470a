use super::*;

/// All events of `stream` when it comes in pieces of `step` bytes, and whether it was refused.
fn events(stream: &[u8], limit: usize, step: usize) -> (Vec<Event>, bool, Decoder) {
    let mut decoder = Decoder::new(limit);
    let mut buf = RecvBuf::new();
    let mut out = Vec::new();
    for piece in stream.chunks(step) {
        buf.spare(piece.len())[..piece.len()].copy_from_slice(piece);
        buf.advance(piece.len());
        loop {
            match decoder.next(&mut buf) {
                Ok(Some(event)) => out.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error, TooLong { limit });
                    assert_eq!(decoder.next(&mut buf), Err(error), "it stays failed");
                    return (out, true, decoder);
                }
            }
        }
        assert!(buf.len() <= limit.max(2), "what waits for its end is bounded");
    }
    (out, false, decoder)
}

fn events_however_cut(stream: &[u8], limit: usize) -> (Vec<Event>, bool, Decoder) {
    let whole = events(stream, limit, stream.len().max(1));
    for step in 1..stream.len().min(60) {
        let cut = events(stream, limit, step);
        assert_eq!((&cut.0, cut.1), (&whole.0, whole.1), "in pieces of {step}");
        assert_eq!(cut.2.last_event_id(), whole.2.last_event_id());
        assert_eq!(cut.2.reconnect_ms(), whole.2.reconnect_ms());
    }
    whole
}

fn event(id: &str, name: &str, data: &str) -> Event {
    let option = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Event { id: option(id), event: option(name), data: data.as_bytes().to_vec(), retry: None }
}

fn taken(stream: &str) -> Vec<Event> {
    let (events, refused, _) = events_however_cut(stream.as_bytes(), 1000);
    assert!(!refused);
    events
}

#[test]
fn events_are_read_as_the_standard_says() {
    assert_eq!(taken("data: a\n\n"), [event("", "", "a")]);
    assert_eq!(taken("data: a\ndata:b\n\n"), [event("", "", "a\nb")]);
    assert_eq!(taken("data\n\n"), [event("", "", "")], "a name alone is a field with an empty value");
    assert_eq!(taken("data\ndata\n\n"), [event("", "", "\n")]);
    assert_eq!(taken("data:  two spaces\n\n"), [event("", "", " two spaces")]);
    assert_eq!(taken(":comment\ndata: a:b\n: \n\n"), [event("", "", "a:b")]);
    assert_eq!(taken("event: x\n\n"), [], "no data, no event");
    assert_eq!(taken("event: x\n\ndata: a\n\n"), [event("", "", "a")], "its name went with it");
    assert_eq!(taken("data: unfinished\n"), []);
    assert_eq!(taken("Data: a\n data: b\nother: c\n\n"), [], "names are exact");
    assert_eq!(taken("\n\n\n"), []);
}

#[test]
fn lines_end_in_lf_cr_or_crlf() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = ["event: e", "data: a", "data: b", "", "data: c", "", ""].join(end);
        assert_eq!(taken(&stream), [event("", "e", "a\nb"), event("", "", "c")], "{end:?}");
    }
    assert_eq!(taken("data: a\r\rdata: b\n\r\n"), [event("", "", "a"), event("", "", "b")]);
}

#[test]
fn an_event_is_given_as_soon_as_a_cr_ends_it() {
    let mut decoder = Decoder::new(100);
    let mut buf = RecvBuf::new();
    for (bytes, expected) in [(&b"data: a\r\n\r"[..], true), (b"\n", false), (b"data: b\r\r", true)] {
        buf.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        buf.advance(bytes.len());
        assert_eq!(decoder.next(&mut buf).unwrap().is_some(), expected, "{}", bytes.escape_ascii());
        assert_eq!(decoder.next(&mut buf), Ok(None));
    }
}

#[test]
fn a_byte_order_mark_is_left_out_once() {
    assert_eq!(taken("\u{feff}data: a\n\n"), [event("", "", "a")]);
    assert_eq!(taken("\u{feff}\u{feff}data: a\n\n"), [], "the second one is part of a name");
    assert_eq!(taken("data: a\n\n\u{feff}data: b\n\n"), [event("", "", "a")]);
}

#[test]
fn the_last_id_stays_until_the_next() {
    let stream = "id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid\ndata: d\n\n";
    assert_eq!(
        taken(stream),
        [event("1", "", "a"), event("1", "", "b"), event("2", "", "c"), event("", "", "d")]
    );
    assert_eq!(taken("id: 1\nid: x\0y\ndata: a\n\n"), [event("1", "", "a")], "an id with NUL is ignored");
    let (events, _, decoder) = events_however_cut(b"data: a\n\nid: 7\n\n", 100);
    assert_eq!((events.len(), decoder.last_event_id()), (1, Some("7")));
}

#[test]
fn retry_is_a_number_or_nothing() {
    let retry = |text: &str| {
        let (_, _, decoder) = events_however_cut(text.as_bytes(), 100);
        decoder.reconnect_ms()
    };
    assert_eq!(retry("retry: 1500\n"), Some(1500));
    assert_eq!(retry("retry: 1500\nretry: x\nretry: -1\nretry:\nretry: 1 \nretry: +2\n"), Some(1500));
    assert_eq!(retry("retry: 99999999999999999999999\n"), None);
    assert_eq!(taken("retry: 5\ndata: a\n\ndata: b\n\n")[0].retry, Some(5));
    assert_eq!(taken("retry: 5\ndata: a\n\ndata: b\n\n")[1].retry, None);
}

#[test]
fn what_is_too_long_is_refused_for_good() {
    let fits = ["data: ", &"x".repeat(94), "\n\n"].concat();
    assert!(!events_however_cut(fits.as_bytes(), 100).1);
    let line = ["data: ", &"x".repeat(95), "\n\n"].concat();
    assert!(events_however_cut(line.as_bytes(), 100).1);
    let unended = "y".repeat(101);
    assert!(events_however_cut(unended.as_bytes(), 100).1);
    let lines = "data: xxxxxxxxxxxxxxxxxxx\n".repeat(6);
    let (events, refused, _) = events_however_cut(["data: a\n\n", &lines].concat().as_bytes(), 100);
    assert_eq!((events, refused), (vec![event("", "", "a")], true));
    let empty_lines = "data\n".repeat(102);
    assert!(events_however_cut(empty_lines.as_bytes(), 100).1, "LFs count, too");
}

#[test]
fn what_is_written_is_read_back() {
    let datas: [&[u8]; 9] = [
        b"",
        b"{\"a\":1}",
        b" x",
        b":",
        b"a\nb",
        b"a\r\nb\rc\n\nd",
        b"\n",
        b"\xff\xfe",
        "\u{feff}".as_bytes(),
    ];
    for data in datas {
        for id in [None, Some("7"), Some("stream/9 x:y")] {
            for name in [None, Some("message"), Some(" x")] {
                let mut out = Vec::new();
                write_comment(&mut out, "a\nb\r\nc");
                write_event(&mut out, id, name, Some(20), data);
                write_event(&mut out, None, None, None, b"next");
                let (events, refused, _) = events_however_cut(&out, 1000);
                let text = String::from_utf8_lossy(data).replace("\r\n", "\n").replace('\r', "\n");
                let expected = match std::str::from_utf8(data) {
                    Ok(_) => text.into_bytes(),
                    Err(_) => data.to_vec(),
                };
                assert!(!refused);
                assert_eq!(events.len(), 2, "{}", out.escape_ascii());
                assert_eq!(events[0].data, expected);
                assert_eq!((events[0].id.as_deref(), events[0].event.as_deref()), (id, name));
                assert_eq!((events[0].retry, &events[1].data[..]), (Some(20), &b"next"[..]));
            }
        }
    }
}

#[test]
fn a_field_cannot_start_another() {
    let mut out = Vec::new();
    write_event(&mut out, Some("1\n\ndata: evil\r"), Some("x\r\nid: 9\0"), None, b"good");
    let (events, _, _) = events_however_cut(&out, 1000);
    assert_eq!(events, [event("1data: evil", "xid: 9", "good")]);
}

#[test]
fn the_bytes_on_the_wire() {
    let mut out = Vec::new();
    write_event(&mut out, Some("1"), Some("message"), Some(3000), b"{}");
    write_event(&mut out, Some("2"), None, None, b"");
    write_comment(&mut out, "");
    let expected = "event: message\nid: 1\nretry: 3000\ndata: {}\n\nid: 2\ndata: \n\n: \n\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
