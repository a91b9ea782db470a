//! Lists that servers gave, kept to be given again (protocol.md §5.6, rows B08 and C05).
//!
//! ```text
//!   a client's list request ─▶ known and fresh, or the child is down? ─▶ answered here
//!                              one like it at the child already?      ─▶ shares its answer (`flights`)
//!                              else to the child, as any request; its answer is learnt
//! ```
//!
//! A page is kept as the child wrote it and given in the client's words. It is *fresh*, and given while the
//! child runs, if the process that runs has said it, no `list_changed` came since it was asked for, and
//! either the child announces such changes (legacy) or its `ttlMs` is not over (modern).
//!
//! While the child is down there is nobody to ask, and nothing that could change:
//!
//! | the child | gives |
//! |---|---|
//! | rests: lazy, or stopped while idle | every page, unless `list_changed` came after it: then it is started |
//! | waits for a restart, was given up | every page: the last good lists |
//! | starts | nothing: its own word is on the way |
//! | was stopped by its operator | nothing: it is said so |
//!
//! The same holds where a request for a list fails because the child went down or is silent. An error that the
//! child answers is its word, and is passed on. After a start, what clients were given is asked for again
//! (`again`), and they hear `list_changed` if it is another list by now.
//!
//! Only what all clients of one process share is kept, so nothing crosses an authorization context (P55): a
//! process has one, that of its environment. Servers with a process per client or request are not concerned.

mod again;
mod flights;
mod recall;
mod store;

pub(super) use store::PageKey;

use crate::base::limits::LIST_BYTES_IN_ALL;
use crate::base::{Key, Time};
use crate::codec::List;
use crate::codec::{Incoming, Message, Span, Value, json};
use crate::mux::method::{ListKind, Method};
use crate::mux::queue::Asked;
use crate::mux::request::{Origin, Request};
use crate::mux::server::{Era, Hello, Instance, Phase, Then};
use crate::mux::sink::ServerId;
use crate::mux::tally::Outcome;
use crate::mux::{Mux, Sink, reply};
use flights::Flight;
use std::rc::Rc;
use store::{Page, Pages};

/// What is known of the lists of one server.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pages: Pages,
    /// Requests for pages that are at the child.
    flights: Vec<Flight>,
    /// How often each kind of list was said to have changed.
    changes: [u64; ListKind::ALL.len()],
    /// What an earlier run knew of a server that is not lazy: for when it cannot be started.
    remembered: Option<Rc<Hello>>,
    /// What the server says of itself is of an earlier run: no process of this one has been asked for a list.
    is_recalled: bool,
    /// The process before was stopped because nobody needed it.
    is_rested: bool,
}

impl Lists {
    /// The tools, and the bytes of their list; of an earlier process or run, if nothing newer is known.
    pub(super) fn tools(&self) -> Option<(usize, usize)> {
        self.pages.extent(List::Tools)
    }

    fn changes(&self, list: List) -> u64 {
        self.changes[ListKind::of(list) as usize]
    }
}

/// A child that cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    /// Nobody needs it.
    Rests,
    /// It should run.
    Fails,
}

impl Mux {
    /// The server whose lists are kept, if this instance is what its clients share.
    fn keeps_lists_of(&self, instance: Key) -> Option<ServerId> {
        let id = self.instances.get(instance)?.server;
        let server = &self.servers[id];
        (server.shared == Some(instance) && !server.policy.no_cache).then_some(id)
    }

    /// What page a request is for, if that can be shared with others.
    pub(super) fn page_wanted(&self, asked: Asked<'_, '_>) -> Option<Box<PageKey>> {
        let Method::List(list) = asked.method else { return None };
        self.keeps_lists_of(asked.instance)?;
        PageKey::of(list, asked.msg).map(Box::new)
    }

    /// Answers what is known and still holds, or has to do while the child is down. Says whether it did.
    pub(super) fn answer_unasked(&mut self, now: Time, asked: Asked<'_, '_>, out: &mut dyn Sink) -> bool {
        let Some(id) = self.keeps_lists_of(asked.instance) else { return false };
        if self.draining || self.servers[id].held {
            return false;
        }
        let Some(instance) = self.instances.get(asked.instance) else { return false };
        let Some(hello) = instance.hello.clone() else { return false };
        let down = down(instance);
        match asked.method {
            Method::List(list) => {
                let Some(key) = PageKey::of(list, asked.msg) else { return false };
                let Some(page) = self.page_for(now, asked.instance, &key) else { return false };
                let filed = self.file(now, asked);
                self.give(now, filed, &page, out);
                true
            }
            Method::Discover if down.is_some() => {
                let left = hello.fresh_until.since(now);
                let text = match hello.era {
                    Era::Legacy => hello.discovered.clone(),
                    Era::Modern => holding_for(&hello.discovered, left),
                };
                let id = asked.msg.envelope.id.map_or(&b"null"[..], |span| asked.msg.text(span));
                out.send(asked.link, &Message::new(&reply::result(id, &text)));
                true
            }
            Method::Initialize | Method::SetLevel if down.is_some() => {
                self.answer_here(now, asked, out);
                true
            }
            _ => false,
        }
    }

    /// A page that may be given to clients now.
    fn page_for(&self, now: Time, instance: Key, key: &PageKey) -> Option<Page> {
        let instance = self.instances.get(instance)?;
        let hello = instance.hello.as_ref()?;
        let page = self.servers[instance.server].lists.pages.get(key)?;
        let may = match down(instance) {
            Some(Down::Fails) => true,
            Some(Down::Rests) => !page.outdated,
            None => instance.is_ready() && is_fresh(now, hello, page),
        };
        may.then(|| page.clone())
    }

    /// Answers a filed request from a page.
    fn give(&mut self, now: Time, filed: Key, page: &Page, out: &mut dyn Sink) {
        let Some(mut request) = self.take(filed) else { return };
        self.give_taken(now, &mut request, page, out);
    }

    fn give_taken(&mut self, now: Time, request: &mut Request, page: &Page, out: &mut dyn Sink) {
        let Some(instance) = self.instances.get(request.instance) else { return };
        let Origin::Peer { link, id, .. } = &request.origin else { return };
        let link = *link;
        let hello = instance.hello.as_ref().filter(|hello| instance.is_ready() && is_fresh(now, hello, page));
        let text = match page.era {
            Era::Legacy => reply::result(id, &page.result),
            Era::Modern => {
                let left = hello.map_or(0, |_| page.until.since(now));
                reply::result(id, &holding_for(&page.result, left))
            }
        };
        let Ok(msg) = Incoming::scan(&text) else { return };
        let crossed = self.cross_answer_of(page.era, request, &msg);
        self.counters.answers += 1;
        self.servers[instance.server].lists.pages.note_given(&page.key);
        self.note_end(now, request, Outcome::Ok, text.len());
        out.send(link, &Message::new(crossed.as_deref().unwrap_or(&text)));
    }

    /// Answers a request that failed from what was known, if anything was. Says whether it did.
    pub(super) fn give_instead(
        &mut self,
        now: Time,
        request: &mut Request,
        why: &reply::Failure,
        out: &mut dyn Sink,
    ) -> bool {
        let Some(key) = request.list.as_deref() else { return false };
        if !matches!(why.reason, "restarting" | "spawn" | "failed" | "handshake" | "timeout") {
            return false;
        }
        let Some(instance) = self.instances.get(request.instance) else { return false };
        let page = self.servers[instance.server].lists.pages.get(key).cloned();
        let (Some(page), true) = (page, instance.hello.is_some()) else { return false };
        self.give_taken(now, request, &page, out);
        true
    }

    /// A child said that a list changed: what was asked for before that is old.
    pub(super) fn outdate_lists(&mut self, instance: Key, kind: ListKind) {
        if let Some(id) = self.keeps_lists_of(instance) {
            let lists = &mut self.servers[id].lists;
            lists.changes[kind as usize] += 1;
            lists.pages.outdate(kind);
        }
    }

    /// A child answered a request for a page.
    fn learn(&mut self, now: Time, instance: Key, flight: &Flight, msg: &Incoming<'_>, out: &mut dyn Sink) {
        let Some(id) = self.keeps_lists_of(instance) else { return };
        let Some(era) = self.instances.get(instance).and_then(|instance| instance.era) else { return };
        let result = msg.envelope.result.map(|result| msg.text(result));
        let page = result.and_then(|text| Page::read(now, flight.key.clone(), era, text));
        let Some(mut page) = page else { return self.could_not_look(now, instance, &flight.key, out) };
        page.number = self.next_page_number();
        let lists = &mut self.servers[id].lists;
        page.outdated = lists.changes(page.key.list) != flight.changes;
        let (key, next) = (page.key.clone(), page.next());
        if page.outdated && lists.pages.get(&key).is_some_and(|known| known.confirmed && !known.outdated) {
            // It was asked for before what is known by now.
            return;
        }
        let was = lists.pages.get(&key).map(|old| Was {
            is_same_text: old.result == page.result,
            is_same: old.confirmed || old.says_as(&page),
            is_unsure: !old.confirmed && !old.outdated && old.given,
        });
        lists.pages.put(page);
        self.make_room();
        if was.as_ref().is_none_or(|was| !was.is_same_text) {
            out.learnt(id);
        }
        match was {
            Some(Was { is_unsure: true, is_same: true, .. }) => {
                if let Some(next) = next {
                    self.look_again(now, instance, next, out);
                }
            }
            Some(Was { is_same: false, is_unsure, .. }) => {
                // Its other pages belong to another list.
                let lists = &mut self.servers[id].lists;
                lists.pages.retain(|page| page.key.list != key.list || page.confirmed);
                if is_unsure {
                    self.announce_change(now, instance, ListKind::of(key.list), out);
                }
            }
            _ => {}
        }
    }

    fn next_page_number(&mut self) -> u64 {
        self.pages_ever += 1;
        self.pages_ever
    }

    /// Drops the oldest pages of all servers while there are too many of them.
    fn make_room(&mut self) {
        while self.servers.iter().map(|server| server.lists.pages.bytes()).sum::<usize>() > LIST_BYTES_IN_ALL
        {
            let oldest = self.servers.iter_mut().filter(|server| server.lists.pages.oldest().is_some());
            let Some(server) = oldest.min_by_key(|server| server.lists.pages.oldest()) else { return };
            server.lists.pages.drop_oldest();
        }
    }
}

/// What was known of a page before.
struct Was {
    is_same_text: bool,
    is_same: bool,
    /// Clients were given it, and whether the process that runs says so too was not known.
    is_unsure: bool,
}

/// Whether, and how, a child is down.
fn down(instance: &Instance) -> Option<Down> {
    match &instance.phase {
        Phase::Stopped | Phase::Stopping { then: Then::Rest, .. } => Some(Down::Rests),
        Phase::Backoff { .. } | Phase::Failed => Some(Down::Fails),
        Phase::Stopping { then: Then::Backoff | Then::BackoffAsExited, .. } => Some(Down::Fails),
        Phase::Stopping { .. } | Phase::Starting { .. } | Phase::Ready => None,
    }
}

fn is_fresh(now: Time, hello: &Hello, page: &Page) -> bool {
    let holds = match page.era {
        Era::Legacy => hello.announces(ListKind::of(page.key.list)),
        Era::Modern => now < page.until,
    };
    page.confirmed && !page.outdated && page.era == hello.era && holds
}

/// A modern result that may be kept for so many milliseconds.
fn holding_for(result: &[u8], ms: u64) -> Vec<u8> {
    let mut edited = Message::new(result);
    if let Some(ttl) = json::member(result, Span::new(0, result.len()), "ttlMs") {
        edited.replace(ttl, Value::Integer(ms));
    }
    edited.to_vec()
}
