//! After a start: whether what clients were given is still so.

use super::PageKey;
use crate::base::{Key, Time};
use crate::codec::List;
use crate::codec::Message;
use crate::mux::method::{ListKind, Method};
use crate::mux::request::Own;
use crate::mux::server::{Era, Hello};
use crate::mux::{Mux, Sink, reply};
use serde_json::json;
use std::rc::Rc;

impl Mux {
    /// Another process is ready. What it says of itself is worth keeping if it is news; `old` is what the one
    /// before it said.
    pub(in crate::mux) fn renew_lists(&mut self, instance: Key, old: Option<&Rc<Hello>>, out: &mut dyn Sink) {
        let Some(id) = self.keeps_lists_of(instance) else { return };
        let hello = self.instances.get(instance).and_then(|instance| instance.hello.as_ref());
        let is_news = match (old, hello) {
            (Some(old), Some(new)) => old.era != new.era || old.as_written() != new.as_written(),
            _ => true,
        };
        let lists = &mut self.servers[id].lists;
        lists.pages.unconfirm();
        lists.remembered = None;
        if is_news {
            out.learnt(id);
        }
    }

    /// Asks a child that rested, or that an earlier run had, again for the lists of this kind that clients have. `false`: there is nothing to
    /// compare, so they have to be told that it may be another one.
    pub(in crate::mux) fn looks_again(
        &mut self,
        now: Time,
        instance: Key,
        kind: ListKind,
        out: &mut dyn Sink,
    ) -> bool {
        let Some(id) = self.keeps_lists_of(instance) else { return false };
        let lists = &self.servers[id].lists;
        if !lists.is_recalled && !lists.is_rested {
            // It went down under its clients: they are told in any case (P22).
            return false;
        }
        let mut all_known = false;
        for list in List::ALL.into_iter().filter(|list| ListKind::of(*list) == kind) {
            let key = PageKey::first(list);
            let Some(page) = self.servers[id].lists.pages.get(&key) else { continue };
            if page.outdated {
                return false;
            }
            all_known = true;
            self.look_again(now, instance, key, out);
        }
        // Of a process that an earlier run had, nobody was given more than what is known.
        all_known || self.servers[id].lists.is_recalled
    }

    /// What was to be compared after a start is on its way.
    pub(in crate::mux) fn end_recall(&mut self, instance: Key) {
        if let Some(id) = self.keeps_lists_of(instance) {
            self.servers[id].lists.is_recalled = false;
            self.servers[id].lists.is_rested = false;
        }
    }

    /// A process is gone: because nobody needed it, or against our will.
    pub(in crate::mux) fn note_rest(&mut self, instance: Key, rests: bool) {
        if let Some(id) = self.keeps_lists_of(instance) {
            self.servers[id].lists.is_rested = rests;
        }
    }

    /// Asks a child for a page that clients were given, unless it is asked for already.
    pub(super) fn look_again(&mut self, now: Time, instance: Key, key: PageKey, out: &mut dyn Sink) {
        let Some(id) = self.keeps_lists_of(instance) else { return };
        let server = &self.servers[id];
        let is_due =
            server.lists.pages.get(&key).is_some_and(|page| page.given && !page.confirmed && !page.outdated);
        if !is_due || self.flight_for(instance, &key).is_some() {
            return;
        }
        let Some(child) = self.instances.get(instance) else { return };
        let (Some(link), era) = (child.open_link(), child.era) else { return };
        let mut params = json!({});
        if let Some(cursor) = &key.cursor {
            params["cursor"] = serde_json::from_slice(cursor).unwrap_or_default();
        }
        if era == Some(Era::Modern) {
            params = self.own_meta(params);
        }
        let timeout = self.servers[id].policy.request_timeout_ms;
        let request = self.file_own(now, instance, Own::List, Method::List(key.list), Some(timeout));
        if let Some(request) = self.requests.get_mut(request) {
            request.list = Some(Box::new(key.clone()));
        }
        out.send(link, &Message::new(&reply::request(request.as_u64(), key.list.method(), params)));
        self.take_off(instance, request, key);
    }

    /// The child did not answer muxloop's own request in time. Whoever waits for the same goes on waiting.
    pub(in crate::mux) fn on_look_timeout(&mut self, now: Time, request: Key, out: &mut dyn Sink) {
        let Some(filed) = self.requests.get(request) else { return };
        let (instance, key) = (filed.instance, filed.list.clone());
        let Some(taken) = self.take_or_hand_over(now, request) else { return };
        if let (true, Some(link)) =
            (taken.is_sent(), self.instances.get(instance).and_then(|instance| instance.link))
        {
            out.send(link, &Message::new(&reply::cancelled(request.as_u64(), "timed out")));
        }
        if let Some(key) = key {
            self.could_not_look(now, instance, &key, out);
        }
    }

    /// Whether a page that clients were given is still so could not be found out: they may look themselves.
    pub(super) fn could_not_look(&mut self, now: Time, instance: Key, key: &PageKey, out: &mut dyn Sink) {
        let Some(id) = self.keeps_lists_of(instance) else { return };
        let page = self.servers[id].lists.pages.get(key);
        let is_unsure = page.is_some_and(|page| page.given && !page.confirmed && !page.outdated);
        if is_unsure && self.instances.get(instance).is_some_and(|instance| instance.is_ready()) {
            // Once is enough.
            self.servers[id].lists.pages.outdate(ListKind::of(key.list));
            self.announce_change(now, instance, ListKind::of(key.list), out);
        }
    }

    /// Tells everybody that a list is another one.
    pub(in crate::mux) fn announce_change(
        &mut self,
        now: Time,
        key: Key,
        kind: ListKind,
        out: &mut dyn Sink,
    ) {
        self.on_list_changed(now, key, kind, out);
        if self.instances.get(key).is_some_and(|instance| instance.era == Some(Era::Modern)) {
            self.announce_list_to_listens(key, kind, out);
        }
    }
}
