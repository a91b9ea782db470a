//! [`Reader`]: event streams as muxloop writes them, no more lenient than that.

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The stream, and the place in it.
    pub id: Option<(u32, u32)>,
    pub name: Option<String>,
    pub retry: bool,
    pub data: String,
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing is begun.
    pub fn is_whole(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next event; comments are passed over.
    pub fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            let Some(at) = self.bytes.windows(2).position(|two| two == b"\n\n") else { return Ok(None) };
            let block: Vec<u8> = self.bytes.drain(..at + 2).collect();
            let text = std::str::from_utf8(&block[..at]).map_err(|_| "an event that is no text")?;
            if text.contains(['\r', '\0']) || text.is_empty() {
                return Err(format!("the event {text:?}"));
            }
            if text.starts_with(':') {
                match text.contains('\n') {
                    true => return Err(format!("a comment within an event: {text:?}")),
                    false => continue,
                }
            }
            return Event::parse(text).map(Some).ok_or_else(|| format!("the event {text:?}"));
        }
    }
}

impl Event {
    fn parse(text: &str) -> Option<Event> {
        let mut event = Event { id: None, name: None, retry: false, data: String::new() };
        let mut has_data = false;
        for line in text.split('\n') {
            let (field, value) = line.split_once(": ")?;
            match field {
                "id" if event.id.is_none() => {
                    let (stream, place) = value.split_once('-')?;
                    event.id = Some((number(stream)?, number(place)?));
                }
                "event" if event.name.is_none() && !value.is_empty() => event.name = Some(value.to_string()),
                "retry" if !event.retry => {
                    number(value)?;
                    event.retry = true;
                }
                // A JSON text of one line needs no second line.
                "data" if !has_data => {
                    has_data = true;
                    event.data = value.to_string();
                }
                _ => return None,
            }
        }
        has_data.then_some(event)
    }
}

/// Digits only.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Event>, String> {
        let mut reader = Reader::default();
        let mut events = Vec::new();
        for byte in text.bytes() {
            reader.feed(&[byte]);
            while let Some(event) = reader.next()? {
                events.push(event);
            }
        }
        if reader.is_whole() { Ok(events) } else { Err("half an event".into()) }
    }

    #[test]
    fn events_are_read_whole() {
        let events =
            read(": \n\nid: 3-0\nretry: 10\ndata: \n\nevent: message\nid: 3-1\ndata: {}\n\n").unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].id, events[0].retry, events[0].data.as_str()), (Some((3, 0)), true, ""));
        assert_eq!((events[1].name.as_deref(), events[1].data.as_str()), (Some("message"), "{}"));
    }

    #[test]
    fn what_is_not_quite_an_event_is_a_failure() {
        for wrong in [
            "data: {}\r\n\r\n\n\n",
            "data: {}\n",
            "data:{}\n\n",
            "id: 3\ndata: {}\n\n",
            "id: +3-1\ndata: {}\n\n",
            "event: message\n\n",
            "data: {\ndata: }\n\n",
            "\n\ndata: {}\n\n",
            "what: {}\n\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
