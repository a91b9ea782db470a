//! [`Pages`]: what is known of one server's lists, bounded.

use crate::base::Time;
use crate::base::limits::{LIST_BYTES_PER_SERVER, LIST_PAGES_PER_SERVER};
use crate::codec::List;
use crate::codec::{Incoming, Span, json};
use crate::mux::method::ListKind;
use crate::mux::server::Era;
use std::rc::Rc;

/// What a list request asks for, apart from who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::mux) struct PageKey {
    pub list: List,
    /// A JSON string as it was written; `None`: the first page.
    pub cursor: Option<Box<[u8]>>,
}

impl PageKey {
    pub(in crate::mux) fn first(list: List) -> PageKey {
        PageKey { list, cursor: None }
    }

    /// That of a request; `None` if its `params` have anything but a cursor that its result may depend on
    /// (so results of requests with `inputResponses` or `requestState` are never kept, P55).
    pub(in crate::mux) fn of(list: List, msg: &Incoming<'_>) -> Option<PageKey> {
        let mut key = PageKey::first(list);
        let Some(params) = msg.envelope.params else { return Some(key) };
        if !msg.text(params).starts_with(b"{") {
            return None;
        }
        for (name, _, value) in json::object_members(msg.bytes, params) {
            match &*name {
                "_meta" => {}
                "cursor" if key.cursor.is_none() && json::is_string(msg.text(value)) => {
                    key.cursor = Some(msg.text(value).into());
                }
                _ => return None,
            }
        }
        Some(key)
    }
}

/// One page of a list, as the server answered.
#[derive(Clone, Debug)]
pub(in crate::mux) struct Page {
    pub key: PageKey,
    /// The era whose words it is in.
    pub era: Era,
    /// The result, JSON text of one line.
    pub result: Rc<[u8]>,
    /// Modern: until when the server said that it holds.
    pub until: Time,
    /// The process that runs, or ran last, has said so: not only one before it.
    pub confirmed: bool,
    /// `list_changed` came since it was asked for.
    pub outdated: bool,
    /// Clients may have it: it was not only read from what an earlier run kept.
    pub given: bool,
    /// When it was learnt, among all pages.
    pub number: u64,
    /// Entries of the list, and the bytes of them.
    pub entries: usize,
    pub entries_bytes: usize,
}

impl Page {
    /// Reads a result; `None` if it is none that can be kept.
    pub(in crate::mux) fn read(now: Time, key: PageKey, era: Era, result: &[u8]) -> Option<Page> {
        let whole = Span::new(0, result.len());
        let list = json::member(result, whole, key.list.member())?;
        if !list.of(result).starts_with(b"[") || result.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return None;
        }
        let mut until = Time(u64::MAX);
        if era == Era::Modern {
            let kind = json::member(result, whole, "resultType").map(|kind| kind.of(result));
            if kind.is_some_and(|kind| kind != b"\"complete\"") {
                return None;
            }
            let ttl = json::member(result, whole, "ttlMs").and_then(|ttl| {
                let digits = std::str::from_utf8(ttl.of(result)).ok()?;
                digits.parse::<u64>().ok()
            });
            until = now + ttl.unwrap_or(0);
        }
        Some(Page {
            entries: json::array_elements(result, list).count(),
            entries_bytes: list.len(),
            key,
            era,
            result: result.into(),
            until,
            confirmed: true,
            outdated: false,
            given: true,
            number: 0,
        })
    }

    /// The cursor of the page behind it.
    pub(in crate::mux) fn next(&self) -> Option<PageKey> {
        let cursor = json::member(&self.result, Span::new(0, self.result.len()), "nextCursor")?;
        let cursor = cursor.of(&self.result);
        json::is_string(cursor).then(|| PageKey { list: self.key.list, cursor: Some(cursor.into()) })
    }

    /// Whether it says the same as another one, whatever the order of members and for how long it holds.
    pub(in crate::mux) fn says_as(&self, other: &Page) -> bool {
        self.era == other.era && (self.result == other.result || words(&self.result) == words(&other.result))
    }

    fn bytes(&self) -> usize {
        self.result.len() + self.key.cursor.as_ref().map_or(0, |cursor| cursor.len()) + PAGE_COST
    }
}

/// What a result says, apart from its era's members on how it may be kept.
fn words(result: &[u8]) -> Option<serde_json::Value> {
    let mut value: serde_json::Value = serde_json::from_slice(result).ok()?;
    let members = value.as_object_mut()?;
    for name in ["ttlMs", "cacheScope", "_meta"] {
        members.remove(name);
    }
    Some(value)
}

/// The pages of one server.
#[derive(Debug, Default)]
pub(in crate::mux) struct Pages {
    pages: Vec<Page>,
    bytes: usize,
}

impl Pages {
    pub(in crate::mux) fn get(&self, key: &PageKey) -> Option<&Page> {
        self.pages.iter().find(|page| page.key == *key)
    }

    pub(in crate::mux) fn iter(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter()
    }

    /// Size of all of them, with what keeping them costs.
    pub(in crate::mux) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the oldest.
    pub(in crate::mux) fn oldest(&self) -> Option<u64> {
        self.pages.iter().map(|page| page.number).min()
    }

    /// Keeps a page in the place of what was known; the oldest ones make room. Returns the one before it.
    pub(in crate::mux) fn put(&mut self, page: Page) -> Option<Page> {
        let old = self.take(&page.key);
        if page.bytes() > LIST_BYTES_PER_SERVER {
            return old;
        }
        self.bytes += page.bytes();
        self.pages.push(page);
        while self.bytes > LIST_BYTES_PER_SERVER || self.pages.len() > LIST_PAGES_PER_SERVER {
            self.drop_oldest();
        }
        old
    }

    fn take(&mut self, key: &PageKey) -> Option<Page> {
        let at = self.pages.iter().position(|page| page.key == *key)?;
        let page = self.pages.remove(at);
        self.bytes -= page.bytes();
        Some(page)
    }

    pub(in crate::mux) fn drop_oldest(&mut self) {
        let oldest = self.oldest();
        self.retain(|page| Some(page.number) != oldest);
    }

    /// Keeps those that `keeps` says.
    pub(in crate::mux) fn retain(&mut self, mut keeps: impl FnMut(&Page) -> bool) {
        self.pages.retain(|page| keeps(page));
        self.bytes = self.pages.iter().map(Page::bytes).sum();
    }

    /// A list changed at the server.
    pub(in crate::mux) fn outdate(&mut self, kind: ListKind) {
        for page in self.pages.iter_mut().filter(|page| ListKind::of(page.key.list) == kind) {
            page.outdated = true;
        }
    }

    /// Clients are given a page.
    pub(in crate::mux) fn note_given(&mut self, key: &PageKey) {
        if let Some(page) = self.pages.iter_mut().find(|page| page.key == *key) {
            page.given = true;
        }
    }

    /// Another process runs: nothing is its word yet.
    pub(in crate::mux) fn unconfirm(&mut self) {
        self.pages.iter_mut().for_each(|page| page.confirmed = false);
    }

    /// Entries of a list and their bytes, as far as its pages are known from the first one on.
    pub(in crate::mux) fn extent(&self, list: List) -> Option<(usize, usize)> {
        let mut page = self.get(&PageKey::first(list))?;
        let (mut entries, mut bytes) = (page.entries, page.entries_bytes);
        // A server may lead in circles.
        for _ in 1..self.pages.len() {
            let Some(next) = page.next().and_then(|key| self.get(&key)) else { break };
            page = next;
            entries += page.entries;
            bytes += page.entries_bytes;
        }
        Some((entries, bytes))
    }
}

/// Bytes that keeping a page costs besides its text, at least.
const PAGE_COST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(params: &str) -> Option<PageKey> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"{params}}}"#);
        PageKey::of(List::Tools, &Incoming::scan(text.as_bytes()).unwrap())
    }

    fn page(number: u64, cursor: &str, result: &str) -> Page {
        let cursor = (!cursor.is_empty()).then(|| format!("\"{cursor}\"").into_bytes().into());
        let key = PageKey { list: List::Tools, cursor };
        Page { number, ..Page::read(Time(5), key, Era::Legacy, result.as_bytes()).unwrap() }
    }

    #[test]
    fn requests_are_equal_but_for_who_asks() {
        let first = Some(PageKey::first(List::Tools));
        assert_eq!(key(""), first);
        assert_eq!(key(r#","params":{}"#), first);
        assert_eq!(key(r#","params":{"_meta":{"progressToken":1,"x":2}}"#), first);
        let second = key(r#","params":{"cursor":"","_meta":{}}"#).unwrap();
        assert_eq!(second.cursor.as_deref(), Some(&b"\"\""[..]), "an empty cursor is one (P54)");
        for odd in [r#"{"cursor":7}"#, r#"{"cursor":null}"#, r#"{"x":1}"#, "[]"] {
            assert_eq!(key(&format!(r#","params":{odd}"#)), None, "{odd}");
        }
        for round in [r#"{"inputResponses":{}}"#, r#"{"requestState":"s"}"#] {
            assert_eq!(key(&format!(r#","params":{round}"#)), None, "P55: {round}");
        }
    }

    #[test]
    fn only_whole_lists_are_kept() {
        let read = |era, text: &str| Page::read(Time(5), PageKey::first(List::Tools), era, text.as_bytes());
        for text in ["[]", "7", "{}", r#"{"prompts":[]}"#, r#"{"tools":{}}"#, "{\"tools\":\n[]}"] {
            assert!(read(Era::Legacy, text).is_none(), "{text}");
        }
        assert!(read(Era::Modern, r#"{"tools":[],"resultType":"input_required"}"#).is_none());
        let until = |text: &str| read(Era::Modern, text).unwrap().until;
        assert_eq!(until(r#"{"tools":[],"resultType":"complete","ttlMs":7}"#), Time(12));
        for ttl in ["-1", "1.5", "\"9\"", "null"] {
            assert_eq!(until(&format!(r#"{{"tools":[],"ttlMs":{ttl}}}"#)), Time(5), "{ttl}");
        }
        assert_eq!(until(r#"{"tools":[],"ttlMs":18446744073709551615}"#), Time(u64::MAX));
    }

    #[test]
    fn what_is_said_is_compared_not_how() {
        let says = |a: &str, b: &str| page(0, "", a).says_as(&page(1, "", b));
        assert!(says(r#"{"tools":[{"a":1,"b":2}]}"#, r#"{"ttlMs":4,"tools":[{"b":2,"a":1}],"_meta":{}}"#));
        assert!(!says(r#"{"tools":[1,2]}"#, r#"{"tools":[2,1]}"#));
        assert!(!says(r#"{"tools":[]}"#, r#"{"tools":[],"nextCursor":"n"}"#));
    }

    #[test]
    fn a_list_is_counted_along_its_pages_and_never_for_ever() {
        let mut pages = Pages::default();
        assert_eq!(pages.extent(List::Tools), None);
        pages.put(page(0, "", r#"{"tools":[1,2],"nextCursor":"b"}"#));
        assert_eq!(pages.extent(List::Tools), Some((2, 5)));
        pages.put(page(1, "b", r#"{"tools":[3],"nextCursor":"b"}"#));
        assert_eq!(pages.extent(List::Tools), Some((3, 8)));
    }

    #[test]
    fn the_oldest_pages_make_room() {
        let mut pages = Pages::default();
        let big = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(LIST_BYTES_PER_SERVER / 3));
        for (number, cursor) in ["", "a", "b"].iter().enumerate() {
            pages.put(page(number as u64, cursor, &big));
        }
        let cursors: Vec<bool> = pages.iter().map(|page| page.key.cursor.is_some()).collect();
        assert_eq!(cursors, [true, true]);
        assert!(pages.bytes() <= LIST_BYTES_PER_SERVER);
        let huge = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(LIST_BYTES_PER_SERVER));
        pages.put(page(9, "a", &huge));
        assert_eq!(
            pages.iter().count(),
            1,
            "what is too long replaces what it would replace, and is not kept"
        );
        for number in 10..10 + 2 * LIST_PAGES_PER_SERVER {
            pages.put(page(number as u64, &number.to_string(), r#"{"tools":[]}"#));
        }
        assert_eq!(pages.iter().count(), LIST_PAGES_PER_SERVER);
        assert_eq!(pages.bytes(), pages.iter().map(Page::bytes).sum::<usize>());
    }
}
