//! What is known of a server, to be kept for the next run (row B08).

use super::store::{Page, Pages};
use super::{Down, PageKey, down};
use crate::base::{Time, sorted};
use crate::codec::Incoming;
use crate::codec::List;
use crate::mux::handshake::read_hello;
use crate::mux::memory::{Memory, MemoryPage};
use crate::mux::method::Method;
use crate::mux::server::{Era, Phase};
use crate::mux::sink::ServerId;
use crate::mux::{Mux, Sink, reply};
use std::rc::Rc;

impl Mux {
    /// What is known of a server: the answer to its handshake, and its lists. `None` where nothing is, or is
    /// to be kept.
    pub fn memory(&self, id: ServerId) -> Option<Memory> {
        let server = self.servers.get(id).filter(|server| !server.retired && !server.policy.no_cache)?;
        let instance = self.instances.get(server.shared?)?;
        let hello = instance.hello.as_ref().or(server.lists.remembered.as_ref())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let mut pages: Vec<&Page> = server.lists.pages.iter().filter(|page| !page.outdated).collect();
        sorted::sort_by(&mut pages, |a, b| a.key.cmp(&b.key));
        let page = |page: &&Page| {
            Some(MemoryPage {
                method: page.key.list.method().to_owned(),
                cursor: match &page.key.cursor {
                    Some(cursor) => Some(text(cursor)?),
                    None => None,
                },
                era: page.era,
                result: text(&page.result)?,
            })
        };
        Some(Memory {
            era: hello.era,
            hello: text(hello.as_written())?,
            pages: pages.iter().filter_map(page).collect(),
        })
    }

    /// Takes what an earlier run knew of a server that has not been started yet. A lazy one is answered for
    /// with it at once; of others it is used if they cannot be started.
    ///
    /// # Errors
    /// It is not what [`Mux::memory`] gave: nothing of it is taken.
    pub fn recall(&mut self, now: Time, id: ServerId, memory: &Memory) -> Result<(), String> {
        let Some(server) = self.servers.get(id).filter(|server| !server.policy.no_cache) else {
            return Ok(());
        };
        let (Some(key), name) = (server.shared, &server.policy.name) else { return Ok(()) };
        let answer = reply::result(b"0", memory.hello.as_bytes());
        let msg = one_value(&answer, &memory.hello)?;
        let mut hello = read_hello(now, memory.era, name, &msg)?;
        if hello.era == Era::Modern {
            // How long ago that was said is not known.
            hello.fresh_until = Time::ZERO;
        }
        let hello = Rc::new(hello);
        let mut pages = Pages::default();
        for page in &memory.pages {
            pages.put(read_page(now, page)?);
        }
        let Some(instance) = self.instances.get_mut(key) else { return Ok(()) };
        if !matches!(instance.phase, Phase::Stopped) || instance.hello.is_some() {
            return Ok(());
        }
        let server = &mut self.servers[id];
        match server.policy.lazy_start {
            true => {
                instance.hello = Some(hello);
                server.lists.is_recalled = true;
            }
            false => server.lists.remembered = Some(hello),
        }
        for page in pages.iter() {
            let number = self.next_page_number();
            self.servers[id].lists.pages.put(Page { number, ..page.clone() });
        }
        self.make_room();
        Ok(())
    }

    /// A server could not be started: what an earlier run knew of it has to do.
    pub(in crate::mux) fn fall_back_on_memory(&mut self, key: crate::base::Key) {
        let Some(id) = self.keeps_lists_of(key) else { return };
        let remembered = self.servers[id].lists.remembered.take();
        if let Some(instance) = self.instances.get_mut(key)
            && instance.hello.is_none()
        {
            self.servers[id].lists.is_recalled = remembered.is_some();
            instance.hello = remembered;
        }
    }

    /// A server is started in another way from now on: nothing of what it said holds.
    pub(in crate::mux) fn forget_lists(&mut self, now: Time, id: ServerId, out: &mut dyn Sink) {
        let lists = &mut self.servers[id].lists;
        lists.pages = Pages::default();
        lists.remembered = None;
        let Some(key) = self.servers[id].shared else { return };
        let Some(instance) = self.instances.get_mut(key) else { return };
        if down(instance) != Some(Down::Rests) {
            return;
        }
        // Nothing follows that would tell its clients.
        let Some(hello) = instance.hello.take() else { return };
        for kind in crate::mux::method::ListKind::ALL.into_iter().filter(|kind| hello.announces(*kind)) {
            self.announce_change(now, key, kind, out);
        }
    }
}

fn read_page(now: Time, page: &MemoryPage) -> Result<Page, String> {
    let Method::List(list) = Method::parse(page.method.as_bytes()) else {
        return Err(format!("no list: {}", page.method));
    };
    let cursor = page.cursor.as_ref().map(|cursor| cursor.as_bytes().into());
    one_value(&reply::result(b"0", page.result.as_bytes()), &page.result)?;
    if let Some(cursor) = &page.cursor {
        one_value(&reply::result(b"0", cursor.as_bytes()), cursor)?;
        if !cursor.starts_with('"') {
            return Err("a cursor that is no string".into());
        }
    }
    let key = PageKey { list, cursor };
    let read = Page::read(now, key, page.era, page.result.as_bytes());
    let page = read.ok_or_else(|| format!("no {}", List::member(list)))?;
    Ok(Page { confirmed: false, given: false, ..page })
}

/// An answer with this result, which must be one JSON text that can be written on a line (P01).
fn one_value<'a>(answer: &'a [u8], result: &str) -> Result<Incoming<'a>, String> {
    if result.contains(['\n', '\r']) {
        return Err("more than one line".into());
    }
    let msg = Incoming::scan(answer).map_err(|error| error.to_string())?;
    match msg.envelope.result.is_some_and(|at| at.len() == result.len()) {
        true => Ok(msg),
        false => Err("more than one value".into()),
    }
}
